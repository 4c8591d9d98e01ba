/**
 * How evidence behind a registration is judged, in one place for full nodes and clients: from what a chain's records say to the roots
 * and policies of every kind. Debug modes are refused everywhere.
 */
import type { CryptoProvider } from '@haca/primitives';
import type { EvidenceKind, EvidencePolicyRecord, Measurement, RegistrationBinding } from '@haca/protocol';
import type { RevokedCertificate } from './der/chain.ts';
import type { EvidenceContext } from './evidence.ts';
import type { CollateralSource } from './tee/collateral.ts';
import type { Expected } from './tee/expected.ts';
import { nitroRegistrationPolicy } from './tee/nitro/registration-policy.ts';
import { genesisTrustRoots, type TrustRoot } from './tee/trust-root.ts';

/** What the records of a chain say about evidence as of a block. */
export interface EvidenceRules {
  /** Of genesis: whether test roots are accepted, and which, by SHA-256. */
  readonly simulated: boolean;
  readonly testRoots: readonly Uint8Array[];
  /** Those that may open a key now. */
  readonly measurements: readonly Measurement[];
  readonly revoked: readonly RevokedCertificate[];
  readonly collateral: CollateralSource;
  readonly collateralGraceMs: number;
  readonly tcbStatuses: EvidencePolicyRecord['tcbStatuses'];
  readonly tcbFloors: EvidencePolicyRecord['tcbFloors'];
  /** Bounds on the evidence's own time, where it carries one. */
  readonly evidenceAgeMaxMs: number;
  readonly evidenceSkewMaxMs: number;
  /** Block time. */
  readonly nowMs: number;
}

/** Roots that genesis allows for a piece of collateral: those of Intel and AMD, and test roots where it is simulated. */
export function collateralRoots(rules: Pick<EvidenceRules, 'simulated' | 'testRoots'>): readonly TrustRoot[] {
  return COLLATERAL_ROOT_KINDS.flatMap((kind, i) =>
    genesisTrustRoots(kind, i === 0 ? rules : { simulated: false, testRoots: [] }),
  );
}

const COLLATERAL_ROOT_KINDS = ['tdx', 'snp'] as const;

/** Everything to appraise the documents behind a registration by. */
export function registrationContext(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
  rules: EvidenceRules,
): EvidenceContext {
  return contextOf(crypto, rules, {
    measurements: rules.measurements,
    nitro: nitroRegistrationPolicy(crypto, binding),
  });
}

/** Everything to judge facts again by (`rescoreEvidence`): what was proved before is not asked for. */
export function rescoringContext(crypto: CryptoProvider, rules: EvidenceRules): EvidenceContext {
  return contextOf(crypto, rules, {
    measurements: 'not-given',
    nitro: { userData: 'not-given', nonce: 'not-given', publicKey: 'not-given' },
  });
}

/** What is expected of the documents themselves. */
interface Expectations {
  readonly measurements: Expected<readonly Measurement[]>;
  readonly nitro: ReturnType<typeof nitroRegistrationPolicy>;
}

function contextOf(crypto: CryptoProvider, rules: EvidenceRules, expected: Expectations): EvidenceContext {
  const { nowMs, revoked, collateral, collateralGraceMs } = rules;
  const roots = (kind: EvidenceKind): readonly TrustRoot[] => genesisTrustRoots(kind, rules);
  const { measurements } = expected;
  return {
    crypto,
    nowMs,
    revoked,
    collateral,
    collateralGraceMs,
    nitro: {
      roots: roots('nitro'),
      policy: {
        allowDebug: false,
        measurements,
        maxAgeMs: rules.evidenceAgeMaxMs,
        maxFutureSkewMs: rules.evidenceSkewMaxMs,
        ...expected.nitro,
      },
    },
  };
}
