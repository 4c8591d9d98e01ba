/** Appraisal of an Azure document: parse, verify, validate (spec/tee-azure.md). */
import { type Appraisal, appraisalOf } from '../check-run.ts';
import { assertTrust, type RootedTrust } from '../trust.ts';
import type { AzureClaims } from './claims.ts';
import { type AzurePolicy, azureValidateChecks, validateAzure } from './validate.ts';
import { verifyAzure } from './verify.ts';

export interface AzureContext extends RootedTrust {
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
