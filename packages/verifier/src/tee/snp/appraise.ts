/** Appraisal of SNP evidence: parse, verify, validate (spec/tee-snp.md). */
import { UsageError } from '@haca/primitives';
import { type Appraisal, appraisalOf } from '../check-run.ts';
import type { SnpClaims } from './claims.ts';
import { SNP_VALIDATE_CHECKS, type SnpPolicy, validateSnp } from './validate.ts';
import { type SnpTrust, verifySnp } from './verify.ts';

export interface SnpContext extends SnpTrust {
  readonly policy: SnpPolicy;
}

/**
 * `document` is CBOR of `snpDocumentCodec`. Total for every byte string; the verdict always lists every check. Throws
 * `UsageError` for a context that makes no sense.
 */
export function appraiseSnp(document: Uint8Array, context: SnpContext): Appraisal<SnpClaims> {
  const { nowMs, roots, policy } = context;
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (roots.some(({ sha256 }) => sha256.length !== 32)) throw new UsageError('a root is pinned by 32 bytes');
  return appraisalOf(verifySnp(document, context), SNP_VALIDATE_CHECKS, (claims) =>
    validateSnp(claims, policy),
  );
}
