/** What a judgement says to people, before its checks: the same on a terminal and in a page. */
import { toHex } from '@haca/primitives';
import { type Check, verdictExitCode } from '@haca/protocol';
import type { AzureClaims } from '../tee/azure/claims.ts';
import type { TeeClaims } from '../tee/claims.ts';
import type { DstackClaims } from '../tee/dstack/claims.ts';
import type { SgxClaims } from '../tee/intel/sgx.ts';
import type { TdxClaims } from '../tee/intel/tdx.ts';
import type { NitroClaims } from '../tee/nitro/claims.ts';
import type { NvidiaClaims } from '../tee/nvidia/claims.ts';
import type { SnpClaims } from '../tee/snp/claims.ts';
import { tcbText } from '../tee/snp/product.ts';
import type { EvidenceFileReport, JudgedEvidence } from './appraise-file.ts';

export type SummaryTone = 'plain' | 'good' | 'bad' | 'unsure';

export interface SummaryRow {
  readonly label: string;
  readonly text: string;
  readonly tone: SummaryTone;
}

type Claims = NitroClaims | TdxClaims | SgxClaims | SnpClaims | NvidiaClaims | DstackClaims | AzureClaims;

const NAMES: Readonly<Record<Claims['kind'], string>> = {
  nitro: 'AWS Nitro Enclaves attestation document',
  tdx: 'Intel TDX quote',
  sgx: 'Intel SGX quote',
  snp: 'AMD SEV-SNP report',
  nvidia: 'NVIDIA device evidence',
  dstack: 'dstack evidence: an Intel TDX quote and the log of what was measured',
  azure: 'Azure confidential VM: a hardware report, the paravisor above it and its TPM quote',
};

/** `timeOf` writes Unix milliseconds for people. */
export function summaryRows(
  report: EvidenceFileReport,
  timeOf: (ms: number) => string,
): readonly SummaryRow[] {
  const { kind, atMs, judged, collateral, notes } = report;
  const [only] = judged.length === 1 ? judged : [];
  return [
    row('evidence', only === undefined ? NAMES[kind] : titleOf(only, NAMES[kind])),
    verdictRow(report),
    row('judged at', timeOf(atMs)),
    ...judged.flatMap((each) => assuranceRows(each, timeOf)),
    ...uncheckedRows(report.verdict.checks),
    ...notes.map((note) => row('note', note, /SIMULATED/.test(note) ? 'bad' : 'unsure')),
    ...judged.flatMap((each) => contentRows(each, timeOf)),
    ...collateral.used.map((origin, i) => row(i === 0 ? 'used' : '', origin)),
  ];
}

function row(label: string, text: string, tone: SummaryTone = 'plain'): SummaryRow {
  return { label, text, tone };
}

function verdictRow({ verdict }: EvidenceFileReport): SummaryRow {
  const count = (status: Check['status']): number =>
    verdict.checks.filter((each) => each.status === status).length;
  switch (verdictExitCode(verdict)) {
    case 0:
      return row('verdict', `ACCEPTED: ${checks(count('passed'))} passed`, 'good');
    case 1:
      return row('verdict', `REJECTED: ${checks(count('failed'))} failed`, 'bad');
    case 3:
      return row(
        'verdict',
        `INCOMPLETE: nothing failed, but ${checks(count('skipped'))} could not be made`,
        'unsure',
      );
  }
}

function checks(count: number): string {
  return count === 1 ? '1 check' : `${count} checks`;
}

function titleOf({ claims }: JudgedEvidence, name: string): string {
  const detail = claims === null ? null : detailOf(claims as Claims);
  return detail === null ? name : `${name}, ${detail}`;
}

function detailOf(claims: Claims): string | null {
  switch (claims.kind) {
    case 'nitro':
      return `module ${claims.moduleId}`;
    case 'tdx':
    case 'sgx':
      return `version ${claims.header.version}`;
    case 'snp':
      return `version ${claims.version}, ${claims.product}, signed by its ${claims.signingKey.toUpperCase()}`;
    case 'nvidia':
      return `${claims.architecture} ${claims.deviceType} ${claims.model}`;
    case 'dstack':
      return `application ${toHex(claims.appId)}`;
    case 'azure':
      return `on ${claims.hardwareKind.toUpperCase()}`;
  }
}

function assuranceRows(
  { label, claims, verdict }: JudgedEvidence,
  timeOf: (ms: number) => string,
): readonly SummaryRow[] {
  const own = row(label, verdict.ok ? 'accepted' : 'not accepted', verdict.ok ? 'good' : 'unsure');
  const device = label === '' ? [] : [own];
  if (claims === null)
    return [...device, row('assurance', 'none: nothing in it is proved to be authentic', 'bad')];
  return [...device, assuranceRow(claims, verdict.ok), ...tcbRows(claims as Claims, timeOf)];
}

/** What authentic evidence says. */
function contentRows(
  { label, claims, measurement }: JudgedEvidence,
  timeOf: (ms: number) => string,
): readonly SummaryRow[] {
  if (claims === null) return [];
  const prefix = label === '' ? '' : `${label}: `;
  const registers = [...claims.registers].map(([name, value], i) =>
    row(i === 0 ? 'measured' : '', `${prefix}${name} ${registerText(value)}`),
  );
  const ends = [claims.evidenceEndMs, claims.collateralEndMs].filter((end) => end !== null);
  return [
    ...(measurement === null ? [] : [row('release', `${prefix}${measurement}`, 'good')]),
    ...registers,
    ...boundRows(claims as Claims),
    row('good until', timeOf(Math.min(...ends))),
  ];
}

function registerText(value: Uint8Array): string {
  return value.length > 8 && value.every((byte) => byte === 0)
    ? `zero (${value.length} bytes)`
    : toHex(value);
}

function assuranceRow({ isSimulated, isDebug, cloud, hardware }: TeeClaims, isOk: boolean): SummaryRow {
  if (isSimulated)
    return row(
      'assurance',
      "tee-simulated: it hangs on a root that is NOT the vendor's; no proof of hardware",
      'bad',
    );
  if (isDebug) return row('assurance', 'none: debug mode, its host can read the memory', 'bad');
  const where = cloud === null ? '' : `, in a data centre of ${cloud}`;
  const chips = hardware.map(({ vendor, id }) => `${vendor} ${toHex(id.subarray(0, 16))}`).join(', ');
  const text = `genuine hardware by its vendor's root${where}${chips === '' ? '' : ` (${chips})`}`;
  return row(
    'assurance',
    isOk ? `tee: ${text}` : `${text}; not accepted as it stands`,
    isOk ? 'good' : 'unsure',
  );
}

function tcbRows(claims: Claims, timeOf: (ms: number) => string): readonly SummaryRow[] {
  switch (claims.kind) {
    case 'tdx':
    case 'sgx':
      return intelTcbRows(claims, timeOf);
    case 'dstack':
      return intelTcbRows(claims.tdx, timeOf);
    case 'azure':
      return tcbRows(claims.inner, timeOf);
    case 'snp':
      return [row('TCB', tcbText(claims.reportedTcb))];
    case 'nvidia':
      return [row('firmware', `driver ${claims.driverVersion ?? 'none'}, VBIOS ${claims.vbiosVersion}`)];
    case 'nitro':
      return [];
  }
}

function intelTcbRows({ tcb }: TdxClaims | SgxClaims, timeOf: (ms: number) => string): readonly SummaryRow[] {
  if (tcb === null) return [row('TCB', 'not judged: there was no collateral for this platform', 'unsure')];
  const date = tcb.tcbDateMs === null ? '' : `, level of ${timeOf(tcb.tcbDateMs).slice(0, 10)}`;
  const tone = tcb.status === 'UpToDate' ? 'good' : 'unsure';
  const own = row('TCB', `${tcb.status}${date}, evaluation ${tcb.evaluationDataNumber}`, tone);
  return tcb.advisoryIds.length === 0 ? [own] : [own, row('advisories', tcb.advisoryIds.join(' '), 'unsure')];
}

/** What the evidence was made for. */
function boundRows(claims: Claims): readonly SummaryRow[] {
  const bytes = (label: string, value: Uint8Array | null): readonly SummaryRow[] =>
    value === null ? [] : [row(label, value.length === 0 ? 'empty' : registerText(value))];
  switch (claims.kind) {
    case 'tdx':
    case 'sgx':
    case 'snp':
      return bytes('report data', claims.reportData);
    case 'dstack':
      return [...bytes('compose', claims.composeHash), ...bytes('report data', claims.tdx.reportData)];
    case 'azure':
      return [...bytes('extra data', claims.extraData), ...bytes('user data', claims.userData)];
    case 'nvidia':
      return bytes('nonce', claims.nonce);
    case 'nitro':
      return [
        ...bytes('nonce', claims.nonce),
        ...bytes('user data', claims.userData),
        ...bytes('public key', claims.publicKey),
      ];
  }
}

const NOT_REACHED = 'not-reached';

/** Why checks were not made, with how many each. */
function uncheckedRows(all: readonly Check[]): readonly SummaryRow[] {
  const skipped = all.filter(({ status, code }) => status === 'skipped' && code !== NOT_REACHED);
  const reasons = new Map<string, string[]>();
  for (const { id, reason } of skipped) {
    const ids = reasons.get(reason ?? '') ?? [];
    ids.push(id);
    reasons.set(reason ?? '', ids);
  }
  return [...reasons].map(([reason, ids], i) => {
    const shown =
      ids.length > 4 ? `${ids.slice(0, 3).join(', ')} and ${ids.length - 3} more` : ids.join(', ');
    return row(i === 0 ? 'NOT checked' : '', `${shown}: ${reason}`, 'unsure');
  });
}

const TIME_CODES = /(?:expired|not-yet-valid|not-valid|window)$/;

/** A check for people: times are written as times where that is what it compares. */
export function checkForPeople(check: Check, timeOf: (ms: number) => string): Check {
  const { expected, got, code } = check;
  if (expected === undefined || got === undefined || !TIME_CODES.test(code ?? '')) return check;
  const written = (text: string): string =>
    text.replaceAll(/(?<![0-9])[0-9]{9,15}(?![0-9])/g, (digits) => timeOf(Number(digits)));
  return { ...check, expected: written(expected), got: written(got) };
}
