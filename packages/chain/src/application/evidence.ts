import { appraiseEvidence, genesisTrustRoots, NO_COLLATERAL } from '@haca/verifier';
import type { AppraiseEvidence } from '../state-machine/index.ts';

/**
 * Evidence as the chain appraises it: roots pinned by what genesis allows, measurements out of genesis, freshness by block
 * time. Debug enclaves are refused everywhere. No revocation list is part of the state yet, so none is consulted.
 */
export const appraiseKeyEvidence: AppraiseEvidence = (envelope, expected, crypto) => {
  const appraisal = appraiseEvidence(envelope.kind, envelope.document, {
    crypto,
    nowMs: expected.nowMs,
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
    nitro: {
      roots: genesisTrustRoots('nitro', expected),
      policy: {
        allowDebug: false,
        measurements: expected.measurements.filter(({ kind }) => kind === 'nitro'),
        maxAgeMs: expected.evidenceAgeMaxMs,
        maxFutureSkewMs: expected.evidenceSkewMaxMs,
        userData: expected.bindingHash,
        nonce: expected.nonce,
        publicKey: expected.publicKey,
      },
    },
  });
  const { verdict, claims, measurement } = appraisal;
  if (!verdict.ok || claims === null || measurement === null) return { verdict, claims: null };
  const { claimsDigest, evidenceEndMs: endMs, isSimulated: simulated } = claims;
  return { verdict, claims: { claimsDigest, endMs, simulated, measurement } };
};
