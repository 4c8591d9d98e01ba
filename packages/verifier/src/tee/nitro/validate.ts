/**
 * Validation of verified Nitro claims against a policy. Every expected value comes from the caller; a value he did not
 * give is a skipped check, and one he waives by name is not applicable. All checks run, so one look shows all that is wrong.
 */
import { bytesEqual, toHex, UsageError } from '@haca/primitives';
import { type Check, check, failed, notApplicable, skipped } from '@haca/protocol';
import type { NitroClaims } from './claims.ts';

/** A value that the document must have; `allow-any` waives it; `not-given` leaves the check skipped, so never ok. */
export type Expected<T> = T | 'allow-any' | 'not-given';

/** PCR values that must be there exactly. Each names PCR0, PCR1 and PCR2 at least, else it matches nothing. */
export interface NitroMeasurement {
  readonly name: string;
  readonly pcrs: readonly (readonly [index: number, value: Uint8Array])[];
}

export interface NitroPolicy {
  /** Accept enclaves in debug mode, whose memory their host can read. */
  readonly allowDebug: boolean;
  /** Accepted if one of these matches. */
  readonly measurements: Expected<readonly NitroMeasurement[]>;
  /** Bounds on how far the document's own timestamp may lie before and after the time to judge at. */
  readonly maxAgeMs: Expected<number>;
  readonly maxFutureSkewMs: Expected<number>;
  /** `null` demands that the field is absent. */
  readonly userData: Expected<Uint8Array | null>;
  readonly nonce: Expected<Uint8Array | null>;
  readonly publicKey: Expected<Uint8Array | null>;
}

/** Ids of the checks of this step, in order. */
export const NITRO_VALIDATE_CHECKS = [
  'nitro.digest',
  'nitro.timestamp.age',
  'nitro.timestamp.future',
  'nitro.debug',
  'nitro.measurement',
  'nitro.user-data',
  'nitro.nonce',
  'nitro.public-key',
] as const;
type CheckId = (typeof NITRO_VALIDATE_CHECKS)[number];

export interface NitroValidation {
  readonly checks: readonly Check[];
  /** Name of the measurement that matched, where one was asked for. */
  readonly measurement: string | null;
}

/** Throws `UsageError` where a time bound is no safe non-negative integer. */
export function validateNitro(claims: NitroClaims, nowMs: number, policy: NitroPolicy): NitroValidation {
  const { pcrs, timestampMs } = claims;
  const measured = measurementOf(pcrs, policy.measurements);
  const { digest } = claims;
  const checks = [
    check('nitro.digest', 'nitro.digest', digest === 'SHA384', 'SHA384', digest),
    boundCheck('nitro.timestamp.age', 'nitro.too-old', nowMs - timestampMs, policy.maxAgeMs),
    boundCheck('nitro.timestamp.future', 'nitro.from-future', timestampMs - nowMs, policy.maxFutureSkewMs),
    debugCheck(claims, policy.allowDebug),
    measured.check,
    bytesCheck('nitro.user-data', claims.userData, policy.userData),
    bytesCheck('nitro.nonce', claims.nonce, policy.nonce),
    bytesCheck('nitro.public-key', claims.publicKey, policy.publicKey),
  ];
  return { checks, measurement: measured.name };
}

function withoutExpectation(id: CheckId, expected: 'allow-any' | 'not-given'): Check {
  return expected === 'allow-any'
    ? notApplicable(id, 'the policy allows any value')
    : skipped(id, 'policy.not-given', 'the policy gives no expected value');
}

function boundCheck(id: CheckId, code: string, differenceMs: number, maxMs: Expected<number>): Check {
  if (typeof maxMs === 'string') return withoutExpectation(id, maxMs);
  if (!Number.isSafeInteger(maxMs) || maxMs < 0) throw new UsageError(`${maxMs} is no bound in milliseconds`);
  return check(id, code, differenceMs <= maxMs, `at most ${maxMs} ms`, `${differenceMs} ms`);
}

function debugCheck({ isDebug }: NitroClaims, allowDebug: boolean): Check {
  if (allowDebug) return notApplicable('nitro.debug', 'the policy allows debug mode');
  const got = isDebug ? 'a missing or zero one' : 'all three set';
  return check('nitro.debug', 'nitro.debug-mode', !isDebug, 'PCR0, PCR1 and PCR2 set', got);
}

function measurementOf(
  pcrs: ReadonlyMap<number, Uint8Array>,
  expected: NitroPolicy['measurements'],
): { readonly check: Check; readonly name: string | null } {
  const id = 'nitro.measurement';
  if (typeof expected === 'string') return { check: withoutExpectation(id, expected), name: null };
  const found = expected.find((measurement) => matches(pcrs, measurement));
  const names =
    expected.length === 0 ? 'an approved measurement; none is' : expected.map(({ name }) => name).join(' | ');
  if (found !== undefined) return { check: check(id, '', true, names, found.name), name: found.name };
  return { check: failed(id, 'nitro.measurement', names, pcrText(pcrs)), name: null };
}

function matches(pcrs: ReadonlyMap<number, Uint8Array>, measurement: NitroMeasurement): boolean {
  const isWhole = [0, 1, 2].every((index) => measurement.pcrs.some(([listed]) => listed === index));
  return (
    isWhole &&
    measurement.pcrs.every(([index, value]) => {
      const pcr = pcrs.get(index);
      return pcr !== undefined && bytesEqual(pcr, value);
    })
  );
}

function pcrText(pcrs: ReadonlyMap<number, Uint8Array>): string {
  return [0, 1, 2].map((index) => `PCR${index}=${shortHex(pcrs.get(index) ?? null)}`).join(' ');
}

function bytesCheck(id: CheckId, got: Uint8Array | null, expected: Expected<Uint8Array | null>): Check {
  if (typeof expected === 'string') return withoutExpectation(id, expected);
  const holds = got === null || expected === null ? got === expected : bytesEqual(got, expected);
  return check(id, `${id}`, holds, shortHex(expected), shortHex(got));
}

function shortHex(bytes: Uint8Array | null): string {
  if (bytes === null) return 'absent';
  const hex = toHex(bytes.subarray(0, 64));
  return bytes.length > 64 ? `${hex}... (${bytes.length} bytes)` : hex;
}
