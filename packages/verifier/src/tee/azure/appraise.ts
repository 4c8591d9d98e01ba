/** Appraisal of an Azure document: parse, verify, validate (spec/tee-azure.md). */
import { type Appraisal, appraisalOf } from '../check-run.ts';
import { assertTrust } from '../intel/trust.ts';
import type { AzureClaims } from './claims.ts';
import { type AzurePolicy, azureValidateChecks, validateAzure } from './validate.ts';
import { type AzureTrust, verifyAzure } from './verify.ts';

export interface AzureContext extends AzureTrust {
  readonly policy: AzurePolicy;
}

/** Total for every byte string: CBOR of `azureDocumentCodec`. Throws `UsageError` for a context that makes no sense. */
export function appraiseAzure(document: Uint8Array, context: AzureContext): Appraisal<AzureClaims> {
  assertTrust(context);
  const { hardware, ...verification } = verifyAzure(document, context);
  return appraisalOf(verification, azureValidateChecks(hardware), (claims) =>
    validateAzure(claims, context.policy),
  );
}
