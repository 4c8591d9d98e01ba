/** Appraisal of a dstack document: parse, verify, validate (spec/tee-dstack.md). */
import { type Appraisal, appraisalOf } from '../check-run.ts';
import { assertTrust, type RootedTrust } from '../trust.ts';
import type { DstackClaims } from './claims.ts';
import { DSTACK_VALIDATE_CHECKS, type DstackPolicy, validateDstack } from './validate.ts';
import { verifyDstack } from './verify.ts';

export interface DstackContext extends RootedTrust {
  readonly policy: DstackPolicy;
}

/** Total for every byte string: CBOR of `dstackDocumentCodec`. Throws `UsageError` for a context that makes no sense. */
export function appraiseDstack(document: Uint8Array, context: DstackContext): Appraisal<DstackClaims> {
  assertTrust(context);
  return appraisalOf(verifyDstack(document, context), DSTACK_VALIDATE_CHECKS, (claims) =>
    validateDstack(claims, context.policy),
  );
}
