/**
 * Which TCB level a platform has: the rule of Intel's quote verification library (checkTcbLevel, checkTdxModuleTcbStatus,
 * checkForRelaunch), with the same order of levels and the same convergence of platform, module and quoting enclave.
 */
import type { PlatformFacts, TdFacts } from './platform-facts.ts';
import type { SvnLevel, TcbInfo, TcbLevel, TdxModuleIdentity } from './tcb-info.ts';
import { converge, isConfigurationNeeded, type TcbStatus } from './tcb-status.ts';

/** How good the TCB was that made a quote. */
export interface TcbClaims {
  /** The worst of the three below, as Intel converges them. `Unsupported`: no level matches. */
  readonly status: TcbStatus;
  /** Processor, microcode and, for TDX, what the TDX module adds to it. */
  readonly platformStatus: TcbStatus;
  /** The TDX module's own; null for SGX, and where the module is of major version 0 and judged with the platform. */
  readonly moduleStatus: TcbStatus | null;
  /** The quoting enclave's; null where there was no identity to judge it by. */
  readonly qeStatus: TcbStatus | null;
  /** Of the matching platform level: Unix milliseconds; null where none matches. */
  readonly tcbDateMs: number | null;
  /** Of the matching levels of platform, module and quoting enclave, in this order, each once. */
  readonly advisoryIds: readonly string[];
  /** tcbEvaluationDataNumber of the TCB information. */
  readonly evaluationDataNumber: number;
  /** The same of the QE identity; null where there was none. */
  readonly qeEvaluationDataNumber: number | null;
}

interface PartTcb {
  readonly status: TcbStatus;
  readonly advisoryIds: readonly string[];
}

/** What its identity says of the quoting enclave. */
export interface QeTcb extends PartTcb {
  readonly evaluationDataNumber: number;
}

export function evaluateTcb(facts: PlatformFacts, info: TcbInfo, qe: QeTcb | null): TcbClaims {
  const sgxLevel = info.levels.find((level) => meetsSgx(facts, level));
  const { td } = facts;
  const level =
    td === null ? sgxLevel : info.levels.find((each) => meetsSgx(facts, each) && meetsTdx(td, each));
  const module = td === null ? null : moduleTcb(td, info);
  const platformStatus: TcbStatus = level?.status ?? 'Unsupported';
  const moduleStatus = module?.status ?? null;
  let status = moduleStatus === null ? platformStatus : converge(platformStatus, moduleStatus);
  if (td !== null && sgxLevel !== undefined)
    status = relaunch(td, info, { sgx: sgxLevel.status, tdx: status, module: moduleStatus, qe });
  // As the library does: a TDX platform that is revoked stays that, whatever the quoting enclave is.
  if (qe !== null && (td === null || status !== 'Revoked')) status = converge(status, qe.status);
  const advisoryIds = [level, module, qe].flatMap((each) => each?.advisoryIds ?? []);
  return {
    status,
    platformStatus,
    moduleStatus,
    qeStatus: qe?.status ?? null,
    tcbDateMs: level?.tcbDateMs ?? null,
    advisoryIds: [...new Set(advisoryIds)],
    evaluationDataNumber: info.evaluationDataNumber,
    qeEvaluationDataNumber: qe?.evaluationDataNumber ?? null,
  };
}

function meetsSgx({ components, pceSvn }: PlatformFacts, level: TcbLevel): boolean {
  return isAtLeast(components, level.sgxComponents, 0) && pceSvn >= level.pceSvn;
}

/** A module with a major version is judged by its identity, so its two SVNs are left out here. */
function meetsTdx({ teeTcbSvn }: TdFacts, { tdxComponents }: TcbLevel): boolean {
  const first = moduleVersion(teeTcbSvn) > 0 ? 2 : 0;
  return tdxComponents !== null && isAtLeast(teeTcbSvn, tdxComponents, first);
}

function isAtLeast(svns: Uint8Array, least: Uint8Array, first: number): boolean {
  return least.every((svn, i) => i < first || (svns[i] as number) >= svn);
}

export function moduleVersion(teeTcbSvn: Uint8Array): number {
  return teeTcbSvn[1] as number;
}

/** The identity for modules of this major version. */
export function findModuleIdentity(info: TcbInfo, version: number): TdxModuleIdentity | undefined {
  const id = `TDX_${version.toString(16).padStart(2, '0').toUpperCase()}`;
  return info.tdxModuleIdentities.find((identity) => identity.id === id);
}

/** The first level in the order given whose SVN is not above `isvSvn`. */
export function svnLevelOf(levels: readonly SvnLevel[], isvSvn: number): SvnLevel | undefined {
  return levels.find((level) => level.isvSvn <= isvSvn);
}

const MODULE_STATUSES: readonly TcbStatus[] = ['UpToDate', 'OutOfDate', 'Revoked'];

function moduleTcb({ teeTcbSvn }: TdFacts, info: TcbInfo): PartTcb | null {
  const version = moduleVersion(teeTcbSvn);
  if (version === 0) return null;
  const identity = findModuleIdentity(info, version);
  const level = identity && svnLevelOf(identity.levels, teeTcbSvn[0] as number);
  if (level === undefined || !MODULE_STATUSES.includes(level.status))
    return { status: 'Unsupported', advisoryIds: [] };
  return level;
}

interface Statuses {
  readonly sgx: TcbStatus;
  readonly tdx: TcbStatus;
  readonly module: TcbStatus | null;
  readonly qe: QeTcb | null;
}

const GOOD_PLATFORM: readonly TcbStatus[] = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
];
const BAD_QE: readonly TcbStatus[] = ['OutOfDate', 'Revoked', 'Unsupported'];

/**
 * A TD 1.5 launched under an old module on a platform that has the newest by now: launching it again would do. Otherwise the
 * status stays what it is.
 */
function relaunch(td: TdFacts, info: TcbInfo, { sgx, tdx, module, qe }: Statuses): TcbStatus {
  const { teeTcbSvn2 } = td;
  const isOutOfDate = tdx === 'OutOfDate' || tdx === 'OutOfDateConfigurationNeeded';
  const isCandidate =
    teeTcbSvn2 !== null &&
    isOutOfDate &&
    module === 'OutOfDate' &&
    GOOD_PLATFORM.includes(sgx) &&
    !(qe !== null && BAD_QE.includes(qe.status));
  if (!isCandidate) return tdx;
  const latest = info.levels[0]?.tdxComponents;
  if (latest === undefined || latest === null) return 'Unsupported';
  const version = moduleVersion(teeTcbSvn2);
  const latestSvn = version === 0 ? latest[0] : findModuleIdentity(info, version)?.levels[0]?.isvSvn;
  if (latestSvn === undefined) return 'Unsupported';
  const isNewest =
    (teeTcbSvn2[0] as number) >= latestSvn && (teeTcbSvn2[2] as number) >= (latest[2] as number);
  if (!isNewest) return tdx;
  return isConfigurationNeeded(sgx) || isConfigurationNeeded(tdx)
    ? 'RelaunchAdvisedConfigurationNeeded'
    : 'RelaunchAdvised';
}
