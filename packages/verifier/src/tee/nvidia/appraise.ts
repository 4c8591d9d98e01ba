/** Appraisal of NVIDIA evidence: parse, verify, validate (spec/tee-nvidia.md). */
import { type Appraisal, appraisalOf } from '../check-run.ts';
import { assertTrust } from '../trust.ts';
import type { NvidiaClaims } from './claims.ts';
import { NVIDIA_VALIDATE_CHECKS, type NvidiaPolicy, validateNvidia } from './validate.ts';
import { type NvidiaTrust, verifyNvidia } from './verify.ts';

export interface NvidiaContext extends NvidiaTrust {
  readonly policy: NvidiaPolicy;
}

/**
 * `document` is CBOR of `nvidiaDocumentCodec`. Total for every byte string. The verdict always lists every check. At most five
 * signatures are verified. Throws `UsageError` for a context that makes no sense.
 */
export function appraiseNvidia(document: Uint8Array, context: NvidiaContext): Appraisal<NvidiaClaims> {
  const { policy } = context;
  assertTrust(context);
  return appraisalOf(verifyNvidia(document, context), NVIDIA_VALIDATE_CHECKS, (claims) =>
    validateNvidia(claims, policy),
  );
}
