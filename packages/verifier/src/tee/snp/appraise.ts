/** Appraisal of SNP evidence: parse, verify, validate (spec/tee-snp.md). */
import { type Appraisal, appraisalOf } from '../check-run.ts';
import { assertTrust, type RootedTrust } from '../trust.ts';
import type { SnpClaims } from './claims.ts';
import { SNP_VALIDATE_CHECKS, type SnpPolicy, validateSnp } from './validate.ts';
import { verifySnp } from './verify.ts';

export interface SnpContext extends RootedTrust {
  readonly policy: SnpPolicy;
}

/**
 * `document` is CBOR of `snpDocumentCodec`. Total for every byte string; the verdict always lists every check. Throws
 * `UsageError` for a context that makes no sense.
 */
export function appraiseSnp(document: Uint8Array, context: SnpContext): Appraisal<SnpClaims> {
  const { policy } = context;
  assertTrust(context);
  return appraisalOf(verifySnp(document, context), SNP_VALIDATE_CHECKS, (claims) =>
    validateSnp(claims, policy),
  );
}
