/** Appraisal of a Nitro attestation document: parse, verify, validate (spec/tee-nitro.md). */
import { type Appraisal, appraisalOf } from '../check-run.ts';
import { assertTrust } from '../trust.ts';
import type { NitroClaims } from './claims.ts';
import { NITRO_VALIDATE_CHECKS, type NitroPolicy, validateNitro } from './validate.ts';
import { type NitroTrust, verifyNitro } from './verify.ts';

export interface NitroContext extends NitroTrust {
  readonly policy: NitroPolicy;
}

/**
 * Total for every byte string. The verdict always lists every check; those after a failed cryptographic one are skipped.
 * At most `NITRO_LIMITS.cabundleEntries` + 1 signatures are verified. Throws `UsageError` for a context that makes no sense.
 */
export function appraiseNitro(document: Uint8Array, context: NitroContext): Appraisal<NitroClaims> {
  const { nowMs, policy } = context;
  assertTrust(context);
  return appraisalOf(verifyNitro(document, context), NITRO_VALIDATE_CHECKS, (claims) =>
    validateNitro(claims, nowMs, policy),
  );
}
