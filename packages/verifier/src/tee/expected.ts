/** Comparing what evidence says with what a caller expects of it. */
import { bytesEqual, toHex, UsageError } from '@haca/primitives';
import { type Check, check, notApplicable, skipped } from '@haca/protocol';

/** A value that the evidence must have; `allow-any` waives it; `not-given` leaves the check skipped, so never ok. */
export type Expected<T> = T | 'allow-any' | 'not-given';

export function isGiven<T>(expected: Expected<T>): expected is T {
  return expected !== 'allow-any' && expected !== 'not-given';
}

/** The check where no value is given: not applicable if it was waived by name, else skipped. */
export function checkWithoutExpectation(id: string, expected: 'allow-any' | 'not-given'): Check {
  return expected === 'allow-any'
    ? notApplicable(id, 'the policy allows any value')
    : skipped(id, 'policy.not-given', 'the policy gives no expected value');
}

/** Code and id are the same text. `null` on either side means absent. */
export function checkBytes(id: string, got: Uint8Array | null, expected: Expected<Uint8Array | null>): Check {
  if (expected === 'allow-any' || expected === 'not-given') return checkWithoutExpectation(id, expected);
  const holds = got === null || expected === null ? got === expected : bytesEqual(got, expected);
  return check(id, id, holds, shortHex(expected), shortHex(got));
}

/** `difference` at most the bound. Throws `UsageError` where that is no safe non-negative integer. */
export function checkBoundMs(id: string, code: string, differenceMs: number, maxMs: Expected<number>): Check {
  if (typeof maxMs === 'string') return checkWithoutExpectation(id, maxMs);
  if (!Number.isSafeInteger(maxMs) || maxMs < 0) throw new UsageError(`${maxMs} is no bound in milliseconds`);
  return check(id, code, differenceMs <= maxMs, `at most ${maxMs} ms`, `${differenceMs} ms`);
}

/** At most 64 bytes of it. */
export function shortHex(bytes: Uint8Array | null): string {
  if (bytes === null) return 'absent';
  const hex = toHex(bytes.subarray(0, 64));
  return bytes.length > 64 ? `${hex}... (${bytes.length} bytes)` : hex;
}
