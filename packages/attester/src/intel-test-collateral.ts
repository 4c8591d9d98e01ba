/** What Intel's provisioning service would say about test platforms: TCB information, QE identity and revocation lists. */
import { toHex, utf8Encode } from '@haca/primitives';
import type { Collateral } from '@haca/protocol';
import { signRevocationList } from './crl-writer.ts';
import { TEST_TCB } from './intel-test-platform.ts';
import type { IntelTestRoot } from './intel-test-root.ts';

export type IntelTestStatus =
  | 'UpToDate'
  | 'SWHardeningNeeded'
  | 'ConfigurationNeeded'
  | 'ConfigurationAndSWHardeningNeeded'
  | 'OutOfDate'
  | 'OutOfDateConfigurationNeeded'
  | 'Revoked';

export interface IntelTestCollateralOptions {
  /** Issued then; Unix milliseconds. */
  readonly nowMs: number;
  /** Unix milliseconds; 30 days after `nowMs` without. */
  readonly nextUpdateMs?: number;
  /** 17 without. A TCB recovery has a higher one. */
  readonly tcbEvaluationDataNumber?: number;
  /** Status of the level that test platforms, their TDX module and their quoting enclave have; `UpToDate` without. */
  readonly platformStatus?: IntelTestStatus;
  readonly moduleStatus?: IntelTestStatus;
  readonly qeStatus?: IntelTestStatus;
  readonly advisoryIds?: readonly string[];
  /** Of PCK certificates: `platform.pckSerial` of an enclave. */
  readonly revokedPckSerials?: readonly Uint8Array[];
  /** Of the root's own: `root.serials`. */
  readonly revokedRootSerials?: readonly Uint8Array[];
  /** Of both lists; 1 without. */
  readonly crlNumber?: number;
}

const DAY_MS = 86_400_000;
const ZERO_MRSIGNER = '00'.repeat(48);
const MODULE = {
  mrsigner: ZERO_MRSIGNER,
  attributes: '00'.repeat(8),
  attributesMask: 'FF'.repeat(8),
} as const;

/** All that judging a TDX quote of this root takes, in an order in which each piece rests on those before it. */
export function mintTdxCollateral(
  root: IntelTestRoot,
  options: IntelTestCollateralOptions,
): readonly Collateral[] {
  return [...revocationLists(root, options), tcbInfo(root, 'TDX', options), qeIdentity(root, 'tdx', options)];
}

/** The same for SGX. */
export function mintSgxCollateral(
  root: IntelTestRoot,
  options: IntelTestCollateralOptions,
): readonly Collateral[] {
  return [...revocationLists(root, options), tcbInfo(root, 'SGX', options), qeIdentity(root, 'sgx', options)];
}

function tcbInfo(root: IntelTestRoot, id: 'SGX' | 'TDX', options: IntelTestCollateralOptions): Collateral {
  return signedJson(root, 'intel-tcb-info', {
    id,
    version: 3,
    ...datesOf(options),
    fmspc: toHex(TEST_TCB.fmspc),
    pceId: toHex(TEST_TCB.pceId),
    tcbType: 0,
    tcbEvaluationDataNumber: options.tcbEvaluationDataNumber ?? 17,
    ...(id === 'TDX' ? { tdxModule: MODULE, tdxModuleIdentities: [moduleIdentity(options)] } : {}),
    tcbLevels: platformLevels(id, options),
  });
}

function moduleIdentity(options: IntelTestCollateralOptions) {
  const [svn = 0, major = 0] = TEST_TCB.teeTcbSvn;
  const id = `TDX_${major.toString(16).padStart(2, '0').toUpperCase()}`;
  return { id, ...MODULE, tcbLevels: svnLevels(svn, options.moduleStatus, options) };
}

/** Highest first: one above the platform where its own is not up to date, its own, and one below. */
function platformLevels(id: 'SGX' | 'TDX', options: IntelTestCollateralOptions) {
  const { platformStatus = 'UpToDate' } = options;
  const levelAt = (step: number, status: IntelTestStatus) => {
    const sgx = TEST_TCB.components.map((svn, i) => (i === 0 ? svn + step : svn));
    const tdx = TEST_TCB.teeTcbSvn.map((svn, i) => (i === 1 ? 0 : svn));
    const tcb = {
      sgxtcbcomponents: componentsOf(sgx),
      pcesvn: TEST_TCB.pceSvn,
      ...(id === 'TDX' ? { tdxtcbcomponents: componentsOf(tdx) } : {}),
    };
    return { tcb, ...judgement(status, options) };
  };
  return [
    ...(platformStatus === 'UpToDate' ? [] : [levelAt(1, 'UpToDate')]),
    levelAt(0, platformStatus),
    levelAt(-1, 'OutOfDate'),
  ];
}

function componentsOf(svns: Uint8Array) {
  return Array.from(svns, (svn) => ({ svn }));
}

function svnLevels(svn: number, status: IntelTestStatus = 'UpToDate', options: IntelTestCollateralOptions) {
  const levelAt = (isvsvn: number, of: IntelTestStatus) => ({ tcb: { isvsvn }, ...judgement(of, options) });
  return [
    ...(status === 'UpToDate' ? [] : [levelAt(svn + 1, 'UpToDate')]),
    levelAt(svn, status),
    levelAt(svn - 1, 'OutOfDate'),
  ];
}

function judgement(tcbStatus: IntelTestStatus, { nowMs, advisoryIds = [] }: IntelTestCollateralOptions) {
  const isCurrent = tcbStatus === 'UpToDate';
  const tcbDate = dateText(nowMs - (isCurrent ? 90 : 400) * DAY_MS);
  return {
    tcbDate,
    tcbStatus,
    ...(isCurrent || advisoryIds.length === 0 ? {} : { advisoryIDs: advisoryIds }),
  };
}

function qeIdentity(
  root: IntelTestRoot,
  tee: 'sgx' | 'tdx',
  options: IntelTestCollateralOptions,
): Collateral {
  const { mrSigner, isvProdId, isvSvn } = TEST_TCB.qe[tee];
  return signedJson(root, 'intel-qe-identity', {
    id: tee === 'tdx' ? 'TD_QE' : 'QE',
    version: 2,
    ...datesOf(options),
    tcbEvaluationDataNumber: options.tcbEvaluationDataNumber ?? 17,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: toHex(mrSigner).toUpperCase(),
    isvprodid: isvProdId,
    tcbLevels: svnLevels(isvSvn, options.qeStatus, options),
  });
}

function signedJson(
  root: IntelTestRoot,
  kind: 'intel-tcb-info' | 'intel-qe-identity',
  value: object,
): Collateral {
  const body = utf8Encode(JSON.stringify(value));
  const signature = root.tcbSigning.signer.sign(body);
  return { kind, body, signature, issuerChain: [root.der, root.tcbSigning.der] };
}

function revocationLists(root: IntelTestRoot, options: IntelTestCollateralOptions): readonly Collateral[] {
  const { nowMs, crlNumber = 1, revokedPckSerials = [], revokedRootSerials = [] } = options;
  const fields = { thisUpdateMs: nowMs, nextUpdateMs: nextUpdateOf(options), number: crlNumber };
  const rootCrl = signRevocationList(root, { ...fields, revoked: revokedRootSerials });
  const pckCrl = signRevocationList(root.platformCa, { ...fields, revoked: revokedPckSerials });
  return [
    { kind: 'intel-crl', crl: rootCrl, issuerChain: [root.der] },
    { kind: 'intel-crl', crl: pckCrl, issuerChain: [root.der, root.platformCa.der] },
  ];
}

function datesOf(options: IntelTestCollateralOptions) {
  return { issueDate: dateText(options.nowMs), nextUpdate: dateText(nextUpdateOf(options)) };
}

function nextUpdateOf({ nowMs, nextUpdateMs = nowMs + 30 * DAY_MS }: IntelTestCollateralOptions): number {
  return nextUpdateMs;
}

/** Whole seconds, UTC. */
function dateText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
