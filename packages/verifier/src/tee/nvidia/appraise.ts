/** Appraisal of NVIDIA evidence: parse, verify, validate (spec/tee-nvidia.md). */
import { type Appraisal, appraisalOf, type Validation } from '../check-run.ts';
import { assertTrust } from '../trust.ts';
import type { NvidiaClaims } from './claims.ts';
import { appraiseManifests, type NvidiaManifestContext } from './rim-checks.ts';
import { NVIDIA_VALIDATE_CHECKS, type NvidiaPolicy, validateNvidia } from './validate.ts';
import { type NvidiaTrust, verifyNvidia } from './verify.ts';

export interface NvidiaContext extends NvidiaTrust, NvidiaManifestContext {
  readonly policy: NvidiaPolicy;
}

/**
 * `document` is CBOR of `nvidiaDocumentCodec`. Total for every byte string and every manifest. The verdict always lists every
 * check. At most five signatures are verified, and eight more for manifests. Throws `UsageError` for a context that makes no sense.
 */
export function appraiseNvidia(document: Uint8Array, context: NvidiaContext): Appraisal<NvidiaClaims> {
  const { policy, nowMs, manifestRoots = [] } = context;
  assertTrust(context);
  assertTrust({ nowMs, roots: manifestRoots });
  const verified = verifyNvidia(document, context);
  const { claims } = verified;
  if (claims === null) return appraisalOf(verified, NVIDIA_VALIDATE_CHECKS, validateNothing);
  const manifests = appraiseManifests(claims, policy, context);
  const judged: NvidiaClaims = {
    ...claims,
    // A verdict that rests on a test root is marked, whichever of the roots it is.
    isSimulated: claims.isSimulated || manifests.held.some(({ isSimulated }) => isSimulated),
    collateralEndMs: endOf(manifests.held.map(({ endMs }) => endMs)),
  };
  return appraisalOf({ ...verified, claims: judged }, NVIDIA_VALIDATE_CHECKS, () =>
    validateNvidia(claims, policy, manifests),
  );
}

/** Where nothing is authentic. */
function validateNothing(): Validation {
  return { checks: [], measurement: null };
}

function endOf(ends: readonly number[]): number | null {
  return ends.length === 0 ? null : Math.min(...ends);
}
