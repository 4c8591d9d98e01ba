import type { ErrorCode, Verdict } from '@haca/protocol';
import type { Refusal } from './refusal.ts';

/** Failed checks that have a code of their own, by the last part of their id. */
const CODES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/\.measurement$/, 'E_MEASUREMENT'],
  [/\.timestamp\.(age|future)$/, 'E_FRESHNESS'],
];

/** The first failed check of a verdict that is not ok, or the first that was not made. */
export function verdictRefusal(verdict: Verdict, code: ErrorCode): Refusal {
  const worst = verdict.checks.find(({ status }) => status === 'failed') ?? verdict.checks.find(notPassed);
  const known = code === 'E_EVIDENCE' ? CODES.find(([id]) => id.test(worst?.id ?? ''))?.[1] : undefined;
  const got = worst?.got ?? worst?.reason ?? '';
  return {
    code: known ?? code,
    info: `${worst?.id ?? 'no check'}: expected ${shortText(worst?.expected ?? '')}, got ${shortText(got)}`,
  };
}

const TEXT_MAX = 512;

/** What was expected may name every approved measurement, and every node keeps what it says of a transaction. */
function shortText(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

function notPassed({ status }: Verdict['checks'][number]): boolean {
  return status !== 'passed' && status !== 'not-applicable';
}
