/**
 * The execution cycle: every movement of a fee asset between accounts, channels and allocations. Knows nothing of OPG.
 * The caller has checked that what is moved is there.
 */
import { UsageError } from '@haca/primitives';
import {
  type AccountRecord,
  type AllocationRecord,
  type ChannelRecord,
  type Credit,
  credit,
  type TotalsRecord,
} from '@haca/protocol';
import type { State } from './state.ts';
import { accounts, allocations, channels, NEW_ACCOUNT, putTotals, totalsOf } from './tables.ts';

export const CREDIT_SLOTS = ['liquid', 'channelFree', 'allocUnpaid'] as const;
export type CreditSlot = (typeof CREDIT_SLOTS)[number];
export type AssetTotals = TotalsRecord['assets'][number][1];

/** Issued and not retired: what is in being of an asset may never pass this. */
export const ASSET_SUPPLY_MAX = 1n << 63n;

export function assetTotals(totals: TotalsRecord, asset: number): AssetTotals | undefined {
  return totals.assets.find(([id]) => id === asset)?.[1];
}

export function creditSum(totals: AssetTotals): bigint {
  return CREDIT_SLOTS.reduce((sum, slot) => sum + totals[slot], 0n);
}

export function creditOf(account: AccountRecord | undefined, asset: number): Credit {
  return account?.credits.find(([id]) => id === asset)?.[1] ?? credit(0n);
}

/** What is allocated and neither paid nor returned. */
export function unpaidOf(allocation: AllocationRecord): Credit {
  return credit(allocation.amount - allocation.paid);
}

export function issueCredit(state: State, asset: number, to: Uint8Array, amount: Credit): void {
  addLiquid(state, to, asset, amount);
  change(state, asset, { liquid: amount, issued: amount });
}

export function retireCredit(state: State, asset: number, from: Uint8Array, amount: Credit): void {
  addLiquid(state, from, asset, -amount);
  change(state, asset, { liquid: -amount, retired: amount });
}

export function transferCredit(
  state: State,
  asset: number,
  from: Uint8Array,
  to: Uint8Array,
  amount: Credit,
): void {
  addLiquid(state, from, asset, -amount);
  addLiquid(state, to, asset, amount);
  state.post(`credit/${asset}`, 'liquid', -amount);
  state.post(`credit/${asset}`, 'liquid', amount);
}

/** Payer's account to the channel's free balance. */
export function fundChannel(state: State, channelId: Uint8Array, amount: Credit): void {
  const channel = existing(channels.get(state, channelId), 'channel');
  addLiquid(state, channel.payer, channel.asset, -amount);
  channels.put(state, { ...channel, free: credit(channel.free + amount) }, channelId);
  change(state, channel.asset, { liquid: -amount, channelFree: amount });
}

/** The channel's free balance back to the payer's account. */
export function defundChannel(state: State, channelId: Uint8Array, amount: Credit): void {
  const channel = existing(channels.get(state, channelId), 'channel');
  channels.put(state, { ...channel, free: credit(channel.free - amount) }, channelId);
  addLiquid(state, channel.payer, channel.asset, amount);
  change(state, channel.asset, { channelFree: -amount, liquid: amount });
}

/** Free balance to a node's allocation, which it makes or grows; the allocation takes a new version. */
export function fundAllocation(
  state: State,
  channelId: Uint8Array,
  nodeId: Uint8Array,
  amount: Credit,
): void {
  const channel = existing(channels.get(state, channelId), 'channel');
  const known = allocations.get(state, channelId, nodeId);
  const allocation = known ?? { amount: 0n, paid: credit(0n), withdrawing: credit(0n), readyAt: 0 };
  const version = channel.version + 1;
  channels.put(
    state,
    {
      ...channel,
      version,
      free: credit(channel.free - amount),
      allocations: channel.allocations + (known === undefined ? 1 : 0),
    },
    channelId,
  );
  allocations.put(
    state,
    { ...allocation, amount: credit(allocation.amount + amount), version },
    channelId,
    nodeId,
  );
  change(state, channel.asset, { channelFree: -amount, allocUnpaid: amount });
}

/**
 * Unpaid allocated money back to the channel. An allocation with nothing unpaid is removed. `renew` gives what is left a
 * new version, so that no other signed release of the old one can follow.
 */
export function defundAllocation(
  state: State,
  channelId: Uint8Array,
  nodeId: Uint8Array,
  amount: Credit,
  renew: boolean,
): void {
  const channel = existing(channels.get(state, channelId), 'channel');
  const allocation = existing(allocations.get(state, channelId, nodeId), 'allocation');
  const version = renew ? channel.version + 1 : channel.version;
  const left = credit(allocation.amount - allocation.paid - amount);
  putAllocation(state, { ...channel, version, free: credit(channel.free + amount) }, channelId, nodeId, {
    ...allocation,
    amount: credit(allocation.amount - amount),
    withdrawing: allocation.withdrawing < left ? allocation.withdrawing : left,
    version: renew ? version : allocation.version,
  });
  change(state, channel.asset, { allocUnpaid: -amount, channelFree: amount });
}

/** Allocated money to the node's payout account: all of it, nothing is kept by anybody on the way. */
export function redeem(
  state: State,
  channelId: Uint8Array,
  nodeId: Uint8Array,
  payout: Uint8Array,
  amount: Credit,
): void {
  const channel = existing(channels.get(state, channelId), 'channel');
  const allocation = existing(allocations.get(state, channelId, nodeId), 'allocation');
  const paid = credit(allocation.paid + amount);
  const left = credit(allocation.amount - paid);
  const withdrawing = allocation.withdrawing < left ? allocation.withdrawing : left;
  putAllocation(state, channel, channelId, nodeId, { ...allocation, paid, withdrawing });
  addLiquid(state, payout, channel.asset, amount);
  change(state, channel.asset, { allocUnpaid: -amount, liquid: amount });
}

function putAllocation(
  state: State,
  channel: ChannelRecord,
  channelId: Uint8Array,
  nodeId: Uint8Array,
  allocation: AllocationRecord,
): void {
  const isSpent = allocation.amount === allocation.paid;
  if (isSpent) allocations.remove(state, channelId, nodeId);
  else allocations.put(state, allocation, channelId, nodeId);
  const next = isSpent ? { ...channel, allocations: channel.allocations - 1 } : channel;
  if (next !== channels.get(state, channelId)) channels.put(state, next, channelId);
}

function addLiquid(state: State, accountId: Uint8Array, asset: number, delta: bigint): void {
  const account = accounts.get(state, accountId) ?? NEW_ACCOUNT;
  const balance = credit(creditOf(account, asset) + delta);
  const others = account.credits.filter(([id]) => id !== asset);
  const credits = balance === 0n ? others : [...others, [asset, balance] as const].sort(([a], [b]) => a - b);
  accounts.put(state, { ...account, credits }, accountId);
}

function change(
  state: State,
  asset: number,
  deltas: { readonly [slot in keyof AssetTotals]?: bigint },
): void {
  const totals = totalsOf(state);
  const next = totals.assets.map(([id, slots]) => {
    if (id !== asset) return [id, slots] as const;
    return [
      id,
      {
        liquid: credit(slots.liquid + (deltas.liquid ?? 0n)),
        channelFree: credit(slots.channelFree + (deltas.channelFree ?? 0n)),
        allocUnpaid: credit(slots.allocUnpaid + (deltas.allocUnpaid ?? 0n)),
        issued: slots.issued + (deltas.issued ?? 0n),
        retired: slots.retired + (deltas.retired ?? 0n),
      },
    ] as const;
  });
  putTotals(state, { ...totals, assets: next });
  for (const slot of CREDIT_SLOTS) state.post(`credit/${asset}`, slot, deltas[slot] ?? 0n);
}

function existing<T>(record: T | undefined, name: string): T {
  if (record === undefined) throw new UsageError(`no such ${name}`);
  return record;
}
