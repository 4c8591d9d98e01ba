/**
 * The verification cycle: every movement of OPG, each through exactly two slots, so that their sum is the supply for ever.
 * Knows nothing of fee assets.
 */

import { UsageError } from '@haca/primitives';
import { type Nopg, nopg, type TotalsRecord, type ValidatorRecord } from '@haca/protocol';
import type { State } from './state.ts';
import {
  accounts,
  NEW_ACCOUNT,
  nodes,
  putTotals,
  totalsOf,
  unbondings,
  validators,
  validatorUnbondings,
} from './tables.ts';

export const OPG_SLOTS = [
  'liquid',
  'nodeBond',
  'nodeUnbonding',
  'valPool',
  'valUnbonding',
  'deposit',
  'restitution',
  'rewards',
  'reserve',
  'burnedFees',
  'burnedSlash',
  'burnedDeposit',
] as const satisfies readonly (keyof TotalsRecord)[];
export type OpgSlot = (typeof OPG_SLOTS)[number];

/** All OPG there is, in whatever slot. */
export function opgSum(totals: TotalsRecord): bigint {
  return OPG_SLOTS.reduce((sum, slot) => sum + totals[slot], 0n);
}

export function burnedSum(totals: TotalsRecord): bigint {
  return totals.burnedFees + totals.burnedSlash + totals.burnedDeposit;
}

function move(state: State, from: OpgSlot, to: OpgSlot, amount: Nopg): void {
  state.post('opg', from, -amount);
  state.post('opg', to, amount);
  if (from === to) return;
  const totals = totalsOf(state);
  putTotals(state, { ...totals, [from]: nopg(totals[from] - amount), [to]: nopg(totals[to] + amount) });
}

function addLiquid(state: State, accountId: Uint8Array, change: bigint): void {
  const account = accounts.get(state, accountId) ?? NEW_ACCOUNT;
  accounts.put(state, { ...account, nopg: nopg(account.nopg + change) }, accountId);
}

/** The base fee of a transaction: out of the payer's account, out of existence. */
export function burnFee(state: State, payer: Uint8Array, fee: Nopg): void {
  addLiquid(state, payer, -fee);
  move(state, 'liquid', 'burnedFees', fee);
}

/**
 * Takes a tip from its payer. The proposer gets all tips of the block together (`receiveTips`) after the first phase, so
 * that no transaction's admission hangs on another's tip; within the slot the sum is zero at once.
 */
export function takeTip(state: State, payer: Uint8Array, tip: Nopg): void {
  addLiquid(state, payer, -tip);
  move(state, 'liquid', 'liquid', tip);
}

export function receiveTips(state: State, proposer: Uint8Array, tips: Nopg): void {
  addLiquid(state, proposer, tips);
}

export function transferOpg(state: State, from: Uint8Array, to: Uint8Array, amount: Nopg): void {
  addLiquid(state, from, -amount);
  addLiquid(state, to, amount);
  move(state, 'liquid', 'liquid', amount);
}

export function bondNode(state: State, operator: Uint8Array, nodeId: Uint8Array, amount: Nopg): void {
  addLiquid(state, operator, -amount);
  const node = existing(nodes.get(state, nodeId), 'node');
  nodes.put(state, { ...node, bond: nopg(node.bond + amount) }, nodeId);
  move(state, 'liquid', 'nodeBond', amount);
}

/** Bond to unbonding; the entry of its due height, made or grown. */
export function beginUnbonding(
  state: State,
  nodeId: Uint8Array,
  amount: Nopg,
  due: number,
  since: { readonly height: number; readonly timeMs: number },
): void {
  const node = existing(nodes.get(state, nodeId), 'node');
  nodes.put(
    state,
    { ...node, bond: nopg(node.bond - amount), unbonding: nopg(node.unbonding + amount) },
    nodeId,
  );
  const entry = unbondings.get(state, nodeId, due);
  unbondings.put(
    state,
    { amount: nopg((entry?.amount ?? 0n) + amount), sinceHeight: since.height, sinceMs: since.timeMs },
    nodeId,
    due,
  );
  move(state, 'nodeBond', 'nodeUnbonding', amount);
}

/** A matured entry goes back to the operator; the entry's row is removed. Returns the amount. */
export function finishUnbonding(state: State, nodeId: Uint8Array, due: number): Nopg {
  const { amount } = existing(unbondings.get(state, nodeId, due), 'unbonding entry');
  const node = existing(nodes.get(state, nodeId), 'node');
  nodes.put(state, { ...node, unbonding: nopg(node.unbonding - amount) }, nodeId);
  unbondings.remove(state, nodeId, due);
  addLiquid(state, node.operator, amount);
  move(state, 'nodeUnbonding', 'liquid', amount);
  return amount;
}

/** Out of a node's bond, out of existence. */
export function slashNodeBond(state: State, nodeId: Uint8Array, amount: Nopg): void {
  const node = existing(nodes.get(state, nodeId), 'node');
  nodes.put(state, { ...node, bond: nopg(node.bond - amount) }, nodeId);
  move(state, 'nodeBond', 'burnedSlash', amount);
}

/** Out of an entry, whose row stays until it is due. */
export function slashNodeUnbonding(state: State, nodeId: Uint8Array, due: number, amount: Nopg): void {
  const entry = existing(unbondings.get(state, nodeId, due), 'unbonding entry');
  const node = existing(nodes.get(state, nodeId), 'node');
  unbondings.put(state, { ...entry, amount: nopg(entry.amount - amount) }, nodeId, due);
  nodes.put(state, { ...node, unbonding: nopg(node.unbonding - amount) }, nodeId);
  move(state, 'nodeUnbonding', 'burnedSlash', amount);
}

/** Out of the reserve into a validator's accrued rewards. */
export function accrueReward(state: State, address: Uint8Array, amount: Nopg): void {
  const validator = existingValidator(state, address);
  validators.put(state, { ...validator, rewards: nopg(validator.rewards + amount) }, address);
  move(state, 'reserve', 'rewards', amount);
}

/** What rounding left of an epoch's payment: inside `rewards`, nobody's yet. */
export function accrueDust(state: State, amount: Nopg): void {
  move(state, 'reserve', 'rewards', amount);
}

/** All accrued rewards of a validator to its operator. Returns the amount. */
export function claimRewards(state: State, address: Uint8Array): Nopg {
  const validator = existingValidator(state, address);
  validators.put(state, { ...validator, rewards: nopg(0n) }, address);
  addLiquid(state, validator.operator, validator.rewards);
  move(state, 'rewards', 'liquid', validator.rewards);
  return validator.rewards;
}

/** Out of the operator's account. */
export function bondValidator(state: State, address: Uint8Array, amount: Nopg): void {
  const validator = existingValidator(state, address);
  addLiquid(state, validator.operator, -amount);
  validators.put(state, { ...validator, selfBond: nopg(validator.selfBond + amount) }, address);
  move(state, 'liquid', 'valPool', amount);
}

/** Bond to unbonding; the entry of its due height, made or grown. */
export function beginValidatorUnbonding(
  state: State,
  address: Uint8Array,
  amount: Nopg,
  due: number,
  since: { readonly height: number; readonly timeMs: number },
): void {
  const validator = existingValidator(state, address);
  validators.put(state, { ...validator, selfBond: nopg(validator.selfBond - amount) }, address);
  const entry = validatorUnbondings.get(state, address, due);
  const grown = nopg((entry?.amount ?? 0n) + amount);
  validatorUnbondings.put(
    state,
    { amount: grown, sinceHeight: since.height, sinceMs: since.timeMs },
    address,
    due,
  );
  move(state, 'valPool', 'valUnbonding', amount);
}

/** A matured entry goes back to the operator; the entry's row is removed. Returns the amount. */
export function finishValidatorUnbonding(state: State, address: Uint8Array, due: number): Nopg {
  const { amount } = existing(validatorUnbondings.get(state, address, due), 'unbonding entry');
  const { operator } = existingValidator(state, address);
  validatorUnbondings.remove(state, address, due);
  addLiquid(state, operator, amount);
  move(state, 'valUnbonding', 'liquid', amount);
  return amount;
}

export function slashValidator(state: State, address: Uint8Array, amount: Nopg): void {
  const validator = existingValidator(state, address);
  validators.put(state, { ...validator, selfBond: nopg(validator.selfBond - amount) }, address);
  move(state, 'valPool', 'burnedSlash', amount);
}

export function slashValidatorUnbonding(state: State, address: Uint8Array, due: number, amount: Nopg): void {
  const entry = existing(validatorUnbondings.get(state, address, due), 'unbonding entry');
  validatorUnbondings.put(state, { ...entry, amount: nopg(entry.amount - amount) }, address, due);
  move(state, 'valUnbonding', 'burnedSlash', amount);
}

function existingValidator(state: State, address: Uint8Array): ValidatorRecord {
  return existing(validators.get(state, address), 'validator');
}

function existing<T>(record: T | undefined, name: string): T {
  if (record === undefined) throw new UsageError(`no such ${name}`);
  return record;
}
