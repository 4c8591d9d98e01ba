/**
 * Which TCB level a platform has: the rule of Intel's quote verification library (sgxEvaluateTCB, tdxEvaluateTCB, checkForRelaunch,
 * as of 2026), with the same order of levels and the same convergence of platform, module and quoting enclave.
 */
import type { PlatformFacts } from './platform-facts.ts';
import type { SvnLevel, TcbInfo, TcbLevel, TdxModuleIdentity } from './tcb-info.ts';
import { converge, relaunch, type TcbStatus } from './tcb-status.ts';

/** How good the TCB was that made a quote. */
export interface TcbClaims {
  /** The worst of the next three, as Intel converges them, in the light of the fourth. `Unsupported`: no level matches. */
  readonly status: TcbStatus;
  /** Processor, microcode and, for TDX, what the TDX module adds to it, as the TD was launched. */
  readonly platformStatus: TcbStatus;
  /** The TDX module's own; null for SGX, and where the module is of major version 0 and judged with the platform. */
  readonly moduleStatus: TcbStatus | null;
  /** The quoting enclave's; null where there was no identity to judge it by. */
  readonly qeStatus: TcbStatus | null;
  /** What all three come to with the module that ran when the quote was made (TEE_TCB_SVN_2); null where no report says which. */
  readonly currentStatus: TcbStatus | null;
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
  const { td } = facts;
  const launch = evaluateAt(facts, td?.teeTcbSvn ?? null, info, qe);
  const currentSvn = td?.teeTcbSvn2 ?? null;
  const current = currentSvn === null ? null : evaluateAt(facts, currentSvn, info, qe);
  const { level, module } = launch;
  const advisoryIds = [level, module, qe].flatMap((each) => each?.advisoryIds ?? []);
  return {
    status: current === null ? launch.status : relaunch(launch.status, current.status),
    platformStatus: level?.status ?? 'Unsupported',
    moduleStatus: module?.status ?? null,
    qeStatus: qe?.status ?? null,
    currentStatus: current?.status ?? null,
    tcbDateMs: level?.tcbDateMs ?? null,
    advisoryIds: [...new Set(advisoryIds)],
    evaluationDataNumber: info.evaluationDataNumber,
    qeEvaluationDataNumber: qe?.evaluationDataNumber ?? null,
  };
}

interface Evaluation {
  readonly status: TcbStatus;
  /** Undefined where none matches. */
  readonly level: TcbLevel | undefined;
  readonly module: PartTcb | null;
}

/** With these SVNs of TDX; null for SGX. */
function evaluateAt(
  facts: PlatformFacts,
  teeTcbSvn: Uint8Array | null,
  info: TcbInfo,
  qe: QeTcb | null,
): Evaluation {
  const level = info.levels.find(
    (each) => meetsSgx(facts, each) && (teeTcbSvn === null || meetsTdx(teeTcbSvn, each)),
  );
  const module = teeTcbSvn === null ? null : moduleTcb(teeTcbSvn, info);
  const parts = [module, qe].flatMap((each) => (each === null ? [] : [each.status]));
  return { status: parts.reduce(converge, level?.status ?? 'Unsupported'), level, module };
}

function meetsSgx({ components, pceSvn }: PlatformFacts, level: TcbLevel): boolean {
  return isAtLeast(components, level.sgxComponents, 0) && pceSvn >= level.pceSvn;
}

/** A module with a major version is judged by its identity, so its two SVNs are left out here. */
function meetsTdx(teeTcbSvn: Uint8Array, { tdxComponents }: TcbLevel): boolean {
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

function moduleTcb(teeTcbSvn: Uint8Array, info: TcbInfo): PartTcb | null {
  const version = moduleVersion(teeTcbSvn);
  if (version === 0) return null;
  const identity = findModuleIdentity(info, version);
  const level = identity && svnLevelOf(identity.levels, teeTcbSvn[0] as number);
  if (level === undefined || !MODULE_STATUSES.includes(level.status))
    return { status: 'Unsupported', advisoryIds: [] };
  return level;
}
