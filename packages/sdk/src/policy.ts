import type { Assurance, Check } from '@haca/protocol';
import { check } from '@haca/protocol';

/** What a caller demands of an answer before it is handed over. Everything has a safe default; loosening is explicit. */
export interface Policy {
  /** Weakest assurance that is accepted. */
  readonly minAssurance: Assurance;
  /** Whether a test enclave counts where `tee` is demanded. */
  readonly acceptSimulated: boolean;
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
}

export const DEFAULT_POLICY: Policy = {
  minAssurance: 'tee',
  acceptSimulated: false,
  allowUnverified: false,
  maxReserve: null,
  refBlockAgeMax: 120,
  headAgeMaxMs: 600_000,
  models: {},
  streamRelease: 'live',
  responseMaxBytes: 32 * 1024 * 1024,
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
