/**
 * The validator set: rewards out of the reserve, by schedule and never by minting; what a proven double sign costs; and what
 * consensus is told about voting power.
 */
import { bytesEqual, compareBytes, sha256, toHex } from '@haca/primitives';
import {
  CONSENSUS_ADDRESS_BYTES,
  nopg,
  type ProtocolParams,
  type ValidatorRecord,
  type ValidatorSetRecord,
} from '@haca/protocol';
import { eventOf } from './events.ts';
import { accrueDust, accrueReward, slashValidator, slashValidatorUnbonding } from './opg-ledger.ts';
import type { State } from './state.ts';
import {
  putTotals,
  putValidatorSet,
  totalsOf,
  validatorSetOf,
  validators,
  validatorUnbondings,
} from './tables.ts';
import type { BlockInput, ChainEvent, ValidatorUpdate } from './types.ts';

/** A unit of voting power: 1,000 OPG. The supply bounds the power of all together to 10^6. */
export const NOPG_PER_POWER = 1_000_000_000_000n;
const DOUBLE_SIGN_BPS = 500n;
/** Consensus votes in block H + 2 with the power that it is told in block H. */
const UPDATE_DELAY_BLOCKS = 2;

type Member = ValidatorSetRecord['members'][number];
type Misbehavior = NonNullable<BlockInput['misbehavior']>;

/** CometBFT's address of an Ed25519 consensus key: the first 20 bytes of its SHA-256. */
export function consensusAddress(consensusKey: Uint8Array): Uint8Array {
  return sha256(consensusKey).slice(0, CONSENSUS_ADDRESS_BYTES);
}

export function powerOf(selfBond: bigint): number {
  return Number(selfBond / NOPG_PER_POWER);
}

/** What the validator has a right to vote with: nothing once it double signed. */
export function earnedPower(validator: Pick<ValidatorRecord, 'selfBond' | 'tombstoned'>): number {
  return validator.tombstoned === true ? 0 : powerOf(validator.selfBond);
}

/** Least bond of a validator in the set: the minimum, and never less than one unit of power. */
export function validatorBondFloor({ validatorBondMin }: ProtocolParams): bigint {
  return validatorBondMin > NOPG_PER_POWER ? validatorBondMin : NOPG_PER_POWER;
}

/** Whether the chain goes on without this validator: another one has earned power. */
export function isReplaceable(state: State, address: Uint8Array): boolean {
  return validatorSetOf(state).members.some((member) => {
    if (bytesEqual(member.address, address)) return false;
    const other = validators.get(state, member.address);
    return other !== undefined && earnedPower(other) > 0;
  });
}

/** Takes a seat of the set for a validator; it earns from the next epoch on. False where there is none left. */
export function takeSeat(state: State, address: Uint8Array, seats: number): boolean {
  const set = validatorSetOf(state);
  if (set.members.some((member) => bytesEqual(member.address, address))) return true;
  if (set.members.length >= seats) return false;
  putValidatorSet(state, { ...set, members: [...set.members, { address, signed: 0, leastPower: 0 }] });
  return true;
}

/**
 * In the first block with transactions of an epoch, pays the last epoch that had such blocks: a fixed fraction of the
 * reserve among validators that signed at least half of the commits those blocks carried, by the least power each had all
 * the while: who joins or adds to its bond within an epoch is paid for that from the next. Nobody qualifies: nothing is
 * paid.
 */
export function payEpoch(state: State, height: number, params: ProtocolParams, events: ChainEvent[]): void {
  const epoch = Math.floor(height / params.epochLength);
  const set = validatorSetOf(state);
  if (epoch <= set.epoch) return;
  const earners = set.members.filter(
    ({ signed, leastPower }) => leastPower > 0 && set.blocks > 0 && 2 * signed >= set.blocks,
  );
  const totalPower = earners.reduce((sum, { leastPower }) => sum + BigInt(leastPower), 0n);
  const payment = totalsOf(state).reserve / params.reserveDivisor;
  if (totalPower > 0n && payment > 0n) {
    let left = payment;
    for (const { address, leastPower } of earners) {
      const share = (payment * BigInt(leastPower)) / totalPower;
      left -= share;
      accrueReward(state, address, nopg(share));
    }
    accrueDust(state, nopg(left));
    events.push(eventOf('epoch', { epoch: set.epoch, amountNopg: payment, validators: earners.length }));
  }
  putTotals(state, { ...totalsOf(state), rewardedEpoch: epoch });
  const members = set.members.map(({ address }) => ({
    address,
    signed: 0,
    leastPower: paidPower(state, address),
  }));
  putValidatorSet(state, { epoch, blocks: 0, members });
}

/** The power it was last given, unless it only keeps it for the chain to go on. */
function paidPower(state: State, address: Uint8Array): number {
  const validator = validators.get(state, address);
  return validator === undefined || validator.tombstoned === true ? 0 : validator.power;
}

/** Counts who signed the commit that this block carries. */
export function countParticipation(state: State, { lastCommit }: BlockInput): void {
  const set = validatorSetOf(state);
  const signers = new Set(lastCommit.filter(({ signed }) => signed).map(({ address }) => toHex(address)));
  const members = set.members.map((member) =>
    signers.has(toHex(member.address)) ? { ...member, signed: member.signed + 1 } : member,
  );
  putValidatorSet(state, { ...set, blocks: set.blocks + 1, members });
}

/**
 * V1 and V2: a fixed share burned of the bond and of what was still bonded at the fault, and never a validator again. Burned
 * whole, so that nobody gains by it. Returns whether anybody was punished.
 */
export function punishMisbehavior(state: State, misbehavior: Misbehavior, events: ChainEvent[]): boolean {
  let isPunished = false;
  for (const { address, height } of firstFaults(misbehavior)) {
    const validator = validators.get(state, address);
    if (validator === undefined) continue;
    const known = validator.faultHeight;
    if (known !== undefined && height >= known) continue;
    let burned = 0n;
    if (known === undefined) {
      const amount = slashOf(validator.selfBond);
      slashValidator(state, address, amount);
      burned += amount;
    }
    for (const due of validator.unbondingDue) burned += slashEntry(state, address, due, height, known);
    const slashed = validators.get(state, address) as ValidatorRecord;
    validators.put(state, { ...slashed, tombstoned: true, faultHeight: height }, address);
    events.push(eventOf('slash', { validator: address, amountNopg: burned, faultHeight: height }));
    isPunished = true;
  }
  return isPunished;
}

/** One fault a validator: the earliest, which the most of its stake was behind, in whatever order they come. */
function firstFaults(misbehavior: Misbehavior): Misbehavior {
  const first = new Map<string, Misbehavior[number]>();
  for (const fault of misbehavior) {
    const known = first.get(toHex(fault.address));
    if (known === undefined || fault.height < known.height) first.set(toHex(fault.address), fault);
  }
  return [...first.values()];
}

/**
 * Follows the stake: an entry is slashed if the bond still voted at the fault, which it did until the block after the one it
 * was unbonded in. Evidence of an earlier fault than the one known reaches further back, and takes what was spared then.
 */
function slashEntry(
  state: State,
  address: Uint8Array,
  due: number,
  faultHeight: number,
  known: number | undefined,
): bigint {
  const entry = validatorUnbondings.get(state, address, due);
  if (entry === undefined) return 0n;
  const voteless = entry.sinceHeight + UPDATE_DELAY_BLOCKS;
  if (voteless <= faultHeight || (known !== undefined && voteless > known)) return 0n;
  const amount = slashOf(entry.amount);
  slashValidatorUnbonding(state, address, due, amount);
  return amount;
}

function slashOf(amount: bigint) {
  return nopg((amount * DOUBLE_SIGN_BPS) / 10_000n);
}

/**
 * What consensus has to be told after a block in which stakes changed: each power that is another than before, once, by key.
 * An empty set stops the chain: where nobody has earned power, whoever had some and bonds most keeps 1, whatever it did.
 */
export function updateValidatorSet(state: State, events: ChainEvent[]): readonly ValidatorUpdate[] {
  const set = validatorSetOf(state);
  const seats = set.members.map((member) => {
    const validator = validators.get(state, member.address) as ValidatorRecord;
    return { member, validator, earned: earnedPower(validator) };
  });
  const keeper = seats.some(({ earned }) => earned > 0) ? undefined : lastKeeper(seats);
  const updates: ValidatorUpdate[] = [];
  const members: Member[] = [];
  for (const { member, validator, earned } of seats) {
    const { address } = member;
    const power = keeper !== undefined && bytesEqual(address, keeper) ? 1 : earned;
    if (power > 0) members.push({ ...member, leastPower: Math.min(member.leastPower, earned) });
    if (power === validator.power) continue;
    validators.put(state, { ...validator, power }, address);
    updates.push({ consensusKey: validator.consensusKey, power });
    events.push(eventOf('validator', { action: 'power', validator: address, power }));
  }
  putValidatorSet(state, { ...set, members });
  return updates.sort((a, b) => compareBytes(a.consensusKey, b.consensusKey));
}

interface Seat {
  readonly member: Member;
  readonly validator: ValidatorRecord;
}

function lastKeeper(seats: readonly Seat[]): Uint8Array | undefined {
  const [keeper] = seats
    .filter(({ validator }) => validator.power > 0)
    .sort(
      (a, b) =>
        Number(b.validator.selfBond - a.validator.selfBond) ||
        compareBytes(a.member.address, b.member.address),
    );
  return keeper?.member.address;
}
