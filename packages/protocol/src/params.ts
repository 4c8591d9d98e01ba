import { UsageError } from '@haca/primitives';

/**
 * Every constant of the chain that a genesis may choose. Heights, never clocks; a block is nominally one second. Amounts
 * in base units (nopg, ncr). Defaults and their derivation: spec/parameters.md.
 */
export interface ProtocolParams {
  /** Verification-gas target of a block; the limit is four times as much. */
  readonly gasTarget: number;
  /** Floor and ceiling of the base fee, nopg per gas. */
  readonly baseFeeMin: bigint;
  readonly baseFeeMax: bigint;
  /** Blocks a node has to settle a receipt (Ts), to prove a claim (Tz), to answer a challenge (Tc), to redeem (Tr). */
  readonly settleWindow: number;
  readonly proveWindow: number;
  readonly challengeWindow: number;
  readonly redeemWindow: number;
  /** How old the head a node works on may be, and how long a request may run once a withdrawal is pending (Td). */
  readonly headLag: number;
  readonly requestDuration: number;
  /** Blocks between asking for allocated money and getting it (W). */
  readonly withdrawDelay: number;
  /** Life of a node key, and how long after closing its charge lines can still be redeemed (Tk). */
  readonly keyTtl: number;
  readonly keyDrain: number;
  /** How long after closing evidence against a key is accepted (Te), and the unbonding time (U). */
  readonly evidenceWindow: number;
  readonly unbondingTime: number;
  /** Block time that has to pass as well before a bond is free, in milliseconds. */
  readonly unbondingTimeMs: number;
  readonly nodeBondMin: bigint;
  readonly validatorBondMin: bigint;
  readonly channelDepositMin: bigint;
  readonly allocationMin: bigint;
  readonly existentialNopg: bigint;
  readonly existentialNcr: bigint;
  /** Bonded nopg behind each lane row of a node. */
  readonly bondPerLaneRow: bigint;
  /** Longest life of a session key, and the furthest a transaction's validUntil may lie ahead. */
  readonly sessionTtlMax: number;
  readonly validUntilAhead: number;
  /** Blocks an epoch has, and the divisor of the reserve that one epoch pays to validators. */
  readonly epochLength: number;
  readonly reserveDivisor: bigint;
  /** Oldest evidence timestamp relative to block time that a registration accepts, and most it may lie ahead. */
  readonly evidenceAgeMaxMs: number;
  readonly evidenceSkewMaxMs: number;
  /** Live keys of a node, allocations of a channel. */
  readonly keysPerNodeMax: number;
  readonly allocationsPerChannelMax: number;
  /**
   * Block time that platforms have to take up a raised TCB evaluation, and that collateral is good for after its `nextUpdate`;
   * milliseconds.
   */
  readonly tcbGraceMs: number;
  readonly collateralGraceMs: number;
  /** Blocks between a measurement's proposal and its approval. */
  readonly measurementDelay: number;
}

export const DEFAULT_PARAMS: ProtocolParams = {
  gasTarget: 500_000,
  baseFeeMin: 2_000n,
  baseFeeMax: 2_000_000_000n,
  settleWindow: 300,
  proveWindow: 600,
  challengeWindow: 3_600,
  redeemWindow: 600,
  headLag: 60,
  requestDuration: 240,
  withdrawDelay: 3_600,
  keyTtl: 86_400,
  keyDrain: 86_400,
  evidenceWindow: 604_800,
  unbondingTime: 1_209_600,
  unbondingTimeMs: 1_209_600_000,
  nodeBondMin: 5_000_000_000_000n,
  validatorBondMin: 100_000_000_000_000n,
  channelDepositMin: 1_000_000_000n,
  allocationMin: 50_000_000n,
  existentialNopg: 100_000_000n,
  existentialNcr: 100_000_000n,
  bondPerLaneRow: 1_000_000_000n,
  sessionTtlMax: 2_592_000,
  validUntilAhead: 3_600,
  epochLength: 7_200,
  reserveDivisor: 50_000n,
  evidenceAgeMaxMs: 300_000,
  evidenceSkewMaxMs: 30_000,
  keysPerNodeMax: 16,
  allocationsPerChannelMax: 64,
  tcbGraceMs: 604_800_000,
  collateralGraceMs: 1_209_600_000,
  measurementDelay: 172_800,
};

/**
 * The inequalities that make redemption and slashing sound, checked at genesis. Throws `UsageError` naming the one broken.
 */
export function validateParams(params: ProtocolParams): void {
  const { settleWindow: ts, proveWindow: tz, challengeWindow: tc, redeemWindow: tr } = params;
  const rules: readonly (readonly [string, boolean])[] = [
    [
      'withdrawDelay >= headLag + requestDuration + settleWindow + 4*proveWindow + redeemWindow',
      params.withdrawDelay >= params.headLag + params.requestDuration + ts + 4 * tz + tr,
    ],
    [
      'unbondingTime > evidenceWindow + 4*challengeWindow + settleWindow',
      params.unbondingTime > params.evidenceWindow + 4 * tc + ts,
    ],
    [
      'keyDrain > settleWindow + 4*challengeWindow + 4*proveWindow + redeemWindow',
      params.keyDrain > ts + 4 * tc + 4 * tz + tr,
    ],
    ['0 < baseFeeMin <= baseFeeMax', params.baseFeeMin > 0n && params.baseFeeMin <= params.baseFeeMax],
    ['0 < gasTarget <= 1000000000', params.gasTarget > 0 && params.gasTarget <= 1_000_000_000],
    ['reserveDivisor > 0 and epochLength > 0', params.reserveDivisor > 0n && params.epochLength > 0],
    ['bondPerLaneRow > 0', params.bondPerLaneRow > 0n],
    [
      'every number is at most 10^13, so that heights stay safe integers',
      Object.values(params).every((value) => typeof value === 'bigint' || value <= 10_000_000_000_000),
    ],
  ];
  for (const [rule, holds] of rules) if (!holds) throw new UsageError(`genesis parameters break: ${rule}`);
}
