/** Appraisal of a Nitro attestation document: parse, verify, validate (spec/tee-nitro.md). */
import { UsageError } from '@haca/primitives';
import { type Appraisal, appraisalOf } from '../check-run.ts';
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
  const { nowMs, roots, policy } = context;
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (roots.some(({ sha256 }) => sha256.length !== 32)) throw new UsageError('a root is pinned by 32 bytes');
  return appraisalOf(verifyNitro(document, context), NITRO_VALIDATE_CHECKS, (claims) =>
    validateNitro(claims, nowMs, policy),
  );
}
