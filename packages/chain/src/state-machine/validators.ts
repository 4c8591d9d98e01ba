/** Rewards out of the reserve, by schedule and never by minting; and what a proven double sign costs. */
import { bytesEqual, toHex } from '@haca/primitives';
import { nopg, type ProtocolParams, type ValidatorRecord } from '@haca/protocol';
import { eventOf } from './events.ts';
import { accrueDust, accrueReward, slashValidator } from './opg-ledger.ts';
import type { State } from './state.ts';
import { putTotals, putValidatorSet, totalsOf, validatorSetOf, validators } from './tables.ts';
import type { BlockInput, ChainEvent, ValidatorUpdate } from './types.ts';

/** A unit of voting power: 1,000 OPG. */
export const NOPG_PER_POWER = 1_000_000_000_000n;
const DOUBLE_SIGN_BPS = 500n;

export function powerOf(selfBond: bigint): number {
  return Number(selfBond / NOPG_PER_POWER);
}

/**
 * In the first block with transactions of an epoch, pays the last epoch that had such blocks: a fixed fraction of the
 * reserve, by power, among validators that signed at least half of the commits those blocks carried. Nobody qualifies:
 * nothing is paid.
 */
export function payEpoch(state: State, height: number, params: ProtocolParams, events: ChainEvent[]): void {
  const epoch = Math.floor(height / params.epochLength);
  const set = validatorSetOf(state);
  if (epoch <= set.epoch) return;
  const earners = set.members
    .filter(({ signed }) => set.blocks > 0 && 2 * signed >= set.blocks)
    .map(({ address }) => ({ address, power: BigInt(validators.get(state, address)?.power ?? 0) }))
    .filter(({ power }) => power > 0n);
  const totalPower = earners.reduce((sum, { power }) => sum + power, 0n);
  const payment = totalsOf(state).reserve / params.reserveDivisor;
  if (totalPower > 0n && payment > 0n) {
    let left = payment;
    for (const { address, power } of earners) {
      const share = (payment * power) / totalPower;
      left -= share;
      accrueReward(state, address, nopg(share));
    }
    accrueDust(state, nopg(left));
    events.push(eventOf('epoch', { epoch: set.epoch, amountNopg: payment, validators: earners.length }));
  }
  putTotals(state, { ...totalsOf(state), rewardedEpoch: epoch });
  putValidatorSet(state, {
    epoch,
    blocks: 0,
    members: set.members.map(({ address }) => ({ address, signed: 0 })),
  });
}

/** Counts who signed the commit that this block carries. */
export function countParticipation(state: State, { lastCommit }: BlockInput): void {
  const set = validatorSetOf(state);
  const signers = new Set(lastCommit.filter(({ signed }) => signed).map(({ address }) => toHex(address)));
  const members = set.members.map(({ address, signed }) => ({
    address,
    signed: signers.has(toHex(address)) ? signed + 1 : signed,
  }));
  putValidatorSet(state, { ...set, blocks: set.blocks + 1, members });
}

/** V1 and V2: a fixed share of the bond burned, and never a validator again. The last one keeps power 1: an empty set stops the chain. */
export function punishMisbehavior(
  state: State,
  misbehavior: NonNullable<BlockInput['misbehavior']>,
  events: ChainEvent[],
): readonly ValidatorUpdate[] {
  const updates: ValidatorUpdate[] = [];
  for (const { address } of misbehavior) {
    const validator = validators.get(state, address);
    if (validator === undefined || validator.tombstoned === true) continue;
    const slashed = nopg((validator.selfBond * DOUBLE_SIGN_BPS) / 10_000n);
    slashValidator(state, address, slashed);
    const power = isLastWithPower(state, address) ? 1 : 0;
    const next = { ...(validators.get(state, address) as ValidatorRecord), power, tombstoned: true };
    validators.put(state, next, address);
    updates.push({ consensusKey: validator.consensusKey, power });
    events.push(eventOf('slash', { validator: address, amountNopg: slashed, power }));
  }
  return updates;
}

function isLastWithPower(state: State, address: Uint8Array): boolean {
  return validatorSetOf(state).members.every(
    (member) =>
      bytesEqual(member.address, address) || (validators.get(state, member.address)?.power ?? 0) === 0,
  );
}
