/** How verdicts, amounts and hashes look on a terminal. */
import { toHex } from '@haca/primitives';
import {
  type Assurance,
  type AssuranceTier,
  type Check,
  type CheckStatus,
  formatFixed,
  type Verdict,
} from '@haca/protocol';

const MARK: Readonly<Record<CheckStatus, string>> = {
  passed: '✓',
  failed: '✗',
  skipped: '?',
  'not-applicable': '·',
};

/** Failed and skipped checks in full; the passed ones counted by area, or all of them listed. */
export function checkLines({ checks }: Verdict, all: boolean): string[] {
  const problems = checks.filter(({ status }) => status === 'failed' || status === 'skipped');
  if (all) return checks.map(checkLine);
  const areas = new Map<string, number>();
  for (const { id, status } of checks) {
    if (status !== 'passed') continue;
    const area = id.split('.')[0] as string;
    areas.set(area, (areas.get(area) ?? 0) + 1);
  }
  const summary = [...areas].map(([area, count]) => `${area} ${count}`).join(', ');
  const passedCount = checks.filter(({ status }) => status === 'passed').length;
  return [...problems.map(checkLine), `✓ ${passedCount} checks passed: ${summary}`];
}

export function checkLine({ id, status, code, expected, got, reason }: Check): string {
  const detail =
    status === 'failed'
      ? `${code}: expected ${shorten(expected ?? '')}, got ${shorten(got ?? '')}`
      : (reason ?? (got === undefined ? '' : shorten(got)));
  return `${MARK[status]} ${id}${detail === '' ? '' : `  ${detail}`}`;
}

function shorten(text: string): string {
  return text.length > 160 ? `${text.slice(0, 157)}...` : text;
}

export function credits(amount: bigint): string {
  return `${formatFixed(amount, 9)} credits`;
}

export function shortHex(bytes: Uint8Array): string {
  const text = toHex(bytes);
  return text.length > 16 ? `${text.slice(0, 8)}…${text.slice(-6)}` : text;
}

/** Text out of files on a terminal: no control characters. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');
}

export function sizeText(sizeBytes: number): string {
  return sizeBytes < 10_000
    ? `${sizeBytes} B`
    : `${(sizeBytes / 1_000).toFixed(sizeBytes < 100_000 ? 1 : 0)} kB`;
}

/** An assurance with what is known of the host and of its TCB. */
export function assuranceText(answer: {
  readonly assurance: Assurance;
  readonly tier: AssuranceTier | null;
  readonly tcbStatus: string | null;
}): string {
  const { assurance, tier, tcbStatus } = answer;
  const tcb = tcbStatus === null ? [] : [`TCB ${tcbStatus}`];
  if (assurance === 'tee-simulated')
    return ['tee-simulated (test enclave: no real hardware)', ...tcb].join(', ');
  if (assurance !== 'tee') return assurance;
  return ['tee', `host ${tier ?? 'not judged'}`, ...tcb].join(', ');
}
