/**
 * Validation of verified Nitro claims against a policy. Every expected value comes from the caller; a value he did not
 * give is a skipped check, and one he waives by name is not applicable. All checks run, so one look shows all that is wrong.
 */
import { type Check, check, type Measurement, notApplicable } from '@haca/protocol';
import type { Validation } from '../check-run.ts';
import { checkBoundMs, checkBytes, type Expected } from '../expected.ts';
import { checkMeasurement } from '../measurements.ts';
import type { NitroClaims } from './claims.ts';

export interface NitroPolicy {
  /** Accept enclaves in debug mode, whose memory their host can read. */
  readonly allowDebug: boolean;
  /** Accepted if one of these matches. */
  readonly measurements: Expected<readonly Measurement[]>;
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

/** Throws `UsageError` where a time bound is no safe non-negative integer. */
export function validateNitro(claims: NitroClaims, nowMs: number, policy: NitroPolicy): Validation {
  const { timestampMs, digest } = claims;
  const measured = checkMeasurement(claims, policy.measurements);
  const checks = [
    check('nitro.digest', 'nitro.digest', digest === 'SHA384', 'SHA384', digest),
    checkBoundMs('nitro.timestamp.age', 'nitro.too-old', nowMs - timestampMs, policy.maxAgeMs),
    checkBoundMs('nitro.timestamp.future', 'nitro.from-future', timestampMs - nowMs, policy.maxFutureSkewMs),
    debugCheck(claims, policy.allowDebug),
    measured.check,
    checkBytes('nitro.user-data', claims.userData, policy.userData),
    checkBytes('nitro.nonce', claims.nonce, policy.nonce),
    checkBytes('nitro.public-key', claims.publicKey, policy.publicKey),
  ];
  return { checks, measurement: measured.name };
}

function debugCheck({ isDebug }: NitroClaims, allowDebug: boolean): Check {
  if (allowDebug) return notApplicable('nitro.debug', 'the policy allows debug mode');
  const got = isDebug ? 'a missing or zero one' : 'all three set';
  return check('nitro.debug', 'nitro.debug-mode', !isDebug, 'PCR0, PCR1 and PCR2 set', got);
}
