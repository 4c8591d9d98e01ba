/** Appraisal of NVIDIA evidence: parse, verify, validate (spec/tee-nvidia.md). */
import { UsageError } from '@haca/primitives';
import { type Appraisal, appraisalOf } from '../check-run.ts';
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
  const { nowMs, roots, policy } = context;
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (roots.some(({ sha256 }) => sha256.length !== 32)) throw new UsageError('a root is pinned by 32 bytes');
  return appraisalOf(verifyNvidia(document, context), NVIDIA_VALIDATE_CHECKS, (claims) =>
    validateNvidia(claims, policy),
  );
}
