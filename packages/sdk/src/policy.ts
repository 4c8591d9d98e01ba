import type { Assurance, AssuranceTier, Check } from '@haca/protocol';
import { check, notApplicable, skipped } from '@haca/protocol';
import { isTierAtLeast } from './standing.ts';

/** What a caller demands of an answer before it is handed over. Everything has a safe default; loosening is explicit. */
export interface Policy {
  /** Weakest assurance that is accepted. */
  readonly minAssurance: Assurance;
  /** Whether a test enclave counts where `tee` is demanded. */
  readonly acceptSimulated: boolean;
  /**
   * Least that has to be known of who can touch the machine behind a `tee` answer. `unknown-host` asks nothing; a test enclave,
   * where it counts as `tee` at all, counts as that.
   */
  readonly minTier: AssuranceTier;
  /** Hand answers over although checks failed or were skipped; the verdict still says so. */
  readonly allowUnverified: boolean;
  /**
   * Most the vouchers of a single request may promise one node, base units of the fee asset; null: the reserve is at most
   * `channel.allocation`, and a node that refuses vouchers gets at most two.
   */
  readonly maxReserve: bigint | null;
  /** How many blocks behind the trusted head the receipt's reference block may lie. */
  readonly refBlockAgeMax: number;
  /** How old, by the caller's clock, the newest header may be when something is paid. */
  readonly headAgeMaxMs: number;
  /** Model ids by the name used in requests, hex. Without a pin the name registered first on chain is meant. */
  readonly models: Readonly<Record<string, string>>;
  /** What a stream releases: everything as it arrives, what a signed checkpoint covers, or nothing before the receipt. */
  readonly streamRelease: 'live' | 'attributed' | 'verified';
  readonly responseMaxBytes: number;
  /**
   * Whether requests are sealed to the key in the proven record of the node's key: where there is one, or else not asked of that
   * node at all, or never.
   */
  readonly seal: 'when-offered' | 'always' | 'never';
}

export const DEFAULT_POLICY: Policy = {
  minAssurance: 'tee',
  acceptSimulated: false,
  minTier: 'unknown-host',
  allowUnverified: false,
  maxReserve: null,
  refBlockAgeMax: 120,
  headAgeMaxMs: 600_000,
  models: {},
  streamRelease: 'live',
  responseMaxBytes: 32 * 1024 * 1024,
  seal: 'when-offered',
};

const STRENGTH: Readonly<Record<Assurance, number>> = {
  zk: 4,
  tee: 3,
  'tee-simulated': 2,
  signed: 1,
  proxied: 0,
};

/** Whether an assurance is enough. A simulated enclave passes for `tee` only where the policy says so. */
export function meetsPolicy(assurance: Assurance, policy: Policy): boolean {
  if (assurance === 'tee-simulated' && policy.acceptSimulated) {
    return STRENGTH[policy.minAssurance] <= STRENGTH.tee;
  }
  return STRENGTH[assurance] >= STRENGTH[policy.minAssurance];
}

export function assuranceCheck(assurance: Assurance, policy: Policy): Check {
  const simulated = policy.minAssurance === 'tee' && policy.acceptSimulated ? ' (or tee-simulated)' : '';
  return check(
    'assurance.minimum',
    'policy.assurance',
    meetsPolicy(assurance, policy),
    `at least ${policy.minAssurance}${simulated}`,
    assurance,
  );
}

/** Whether enough is known of the host; `tier` is null where there is no evidence. Asked of what is called `tee`, and of nothing else. */
export function tierCheck(assurance: Assurance, tier: AssuranceTier | null, policy: Policy): Check {
  const id = 'assurance.tier';
  const isTee = assurance === 'tee' || (assurance === 'tee-simulated' && policy.minAssurance === 'tee');
  if (!isTee) return notApplicable(id, `a '${assurance}' answer says nothing of a host`);
  if (tier === null) return skipped(id, 'evidence.unavailable', 'the evidence could not be judged');
  if (tier === 'simulated' && isTierAtLeast('unknown-host', policy.minTier))
    return notApplicable(id, 'a test enclave: see assurance.minimum');
  const holds = isTierAtLeast(tier, policy.minTier);
  return check(id, 'policy.tier', holds, `at least ${policy.minTier}`, tier);
}

/** All that a policy asks of an answer as such. */
export function policyChecks(
  assurance: Assurance,
  tier: AssuranceTier | null,
  policy: Policy,
): readonly Check[] {
  return [assuranceCheck(assurance, policy), tierCheck(assurance, tier, policy)];
}
