/** Payment channels: one escrow per payer and asset, session keys that sign vouchers, and an allocation per node. */
import { bytesEqual } from '@haca/primitives';
import {
  type ChannelRecord,
  channelIdOf,
  credit,
  type NodeRecord,
  type OpOf,
  type ProtocolParams,
  releaseMessage,
  SESSIONS_PER_CHANNEL,
  type SessionRecord,
} from '@haca/protocol';
import {
  creditOf,
  defundAllocation,
  defundChannel,
  fundAllocation,
  fundChannel,
  unpaidOf,
} from '../credit-ledger.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { accounts, allocations, assets, channels, nodes, sessions } from '../tables.ts';
import type { Outcome, Step } from './step.ts';

export function applyOpenChannel(step: Step, op: OpOf<'open-channel'>): Outcome {
  const { state, sender } = step;
  const { chainId, params } = step.ctx.config;
  if (assets.get(state, op.asset) === undefined) return refuse('E_ASSET', 'a fee asset', op.asset);
  if (op.amount < params.channelDepositMin) {
    return refuse('E_AMOUNT', `at least ${params.channelDepositMin} ncr`, op.amount);
  }
  const channelId = channelIdOf(chainId, sender, op.asset, step.nonce);
  if (channels.get(state, channelId) !== undefined) {
    return refuse('E_CHANNEL', 'one new channel of an asset in a transaction', 'two');
  }
  const balance = creditOf(accounts.get(state, sender), op.asset);
  if (op.amount > balance) return refuse('E_BALANCE', `at most ${balance} ncr`, op.amount);
  const empty = { payer: sender, asset: op.asset, free: credit(0n), allocations: 0, sessions: 0, version: 0 };
  channels.put(state, empty, channelId);
  fundChannel(state, channelId, op.amount);
  step.emit('channel', { action: 'open', channelId, payer: sender, asset: op.asset, amount: op.amount });
  return undefined;
}

export function applyDeposit(step: Step, op: OpOf<'deposit'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  const balance = creditOf(accounts.get(step.state, step.sender), channel.asset);
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > balance) return refuse('E_BALANCE', `at most ${balance} ncr`, op.amount);
  fundChannel(step.state, op.channelId, op.amount);
  step.emit('channel', {
    action: 'deposit',
    channelId: op.channelId,
    asset: channel.asset,
    amount: op.amount,
  });
  return undefined;
}

export function applyRegisterSession(step: Step, op: OpOf<'register-session'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  const { height } = step.block;
  const { params } = step.ctx.config;
  const latest = height + params.sessionTtlMax;
  if (op.expiryHeight <= height || op.expiryHeight > latest) {
    return refuse('E_SESSION', `an expiry of ${height + 1} to ${latest}`, op.expiryHeight);
  }
  const known = sessions.get(step.state, op.channelId, op.session);
  if (known !== undefined && !isSpentSession(known, height, params)) {
    return refuse('E_SESSION', 'a free slot', `slot ${op.session} in use`);
  }
  sessions.put(
    step.state,
    { publicKey: op.publicKey, expiryHeight: op.expiryHeight },
    op.channelId,
    op.session,
  );
  if (known === undefined) {
    channels.put(step.state, { ...channel, sessions: channel.sessions + 1 }, op.channelId);
  }
  step.emit('channel', {
    action: 'register-session',
    channelId: op.channelId,
    session: op.session,
    publicKey: op.publicKey,
    expiryHeight: op.expiryHeight,
  });
  return undefined;
}

/** Nothing signed by it can be redeemed any more, so its slot may be given to another key. */
function isSpentSession(session: SessionRecord, height: number, params: ProtocolParams): boolean {
  return (
    height > session.expiryHeight ||
    (session.revokedAt !== undefined && height > session.revokedAt + params.withdrawDelay)
  );
}

export function applyRevokeSession(step: Step, op: OpOf<'revoke-session'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  const session = sessions.get(step.state, op.channelId, op.session);
  if (session === undefined || session.revokedAt !== undefined) {
    return refuse(
      'E_SESSION',
      'a session that is not revoked',
      session === undefined ? 'none' : 'a revoked one',
    );
  }
  sessions.put(step.state, { ...session, revokedAt: step.block.height }, op.channelId, op.session);
  step.emit('channel', { action: 'revoke-session', channelId: op.channelId, session: op.session });
  return undefined;
}

const ALLOCATED_MAX = (1n << 64n) - 1n;

export function applyAllocate(step: Step, op: OpOf<'allocate'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  const { params } = step.ctx.config;
  const node = nodes.get(step.state, op.nodeId);
  if (node === undefined || !isLive(node, params)) return refuse('E_NODE', 'a live node', 'none');
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > channel.free) return refuse('E_BALANCE', `at most ${channel.free} ncr`, op.amount);
  const known = allocations.get(step.state, op.channelId, op.nodeId);
  const unpaid = known === undefined ? 0n : unpaidOf(known);
  // What was paid stays in the row's amount while something is unpaid, so it can grow past what is in being.
  const amount = (known?.amount ?? 0n) + op.amount;
  if (amount > ALLOCATED_MAX) return refuse('E_OVERFLOW', `at most ${ALLOCATED_MAX} in all`, amount);
  if (unpaid + op.amount < params.allocationMin) {
    return refuse('E_AMOUNT', `${params.allocationMin} ncr in all`, unpaid + op.amount);
  }
  if (known === undefined && channel.allocations >= params.allocationsPerChannelMax) {
    return refuse('E_ALLOCATION', `at most ${params.allocationsPerChannelMax}`, channel.allocations + 1);
  }
  fundAllocation(step.state, op.channelId, op.nodeId, op.amount);
  emitAllocation(step, 'allocate', op, channel.asset, op.amount);
  return undefined;
}

function isLive(node: NodeRecord, params: ProtocolParams): boolean {
  return node.tombstoned !== true && node.bond >= params.nodeBondMin / 2n;
}

export function applyRelease(step: Step, op: OpOf<'release'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  const allocation = allocations.get(step.state, op.channelId, op.nodeId);
  const node = nodes.get(step.state, op.nodeId);
  if (allocation === undefined || node === undefined) return refuse('E_ALLOCATION', 'an allocation', 'none');
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.allocationVersion !== allocation.version) {
    return refuse('E_VERSION', `version ${allocation.version}`, op.allocationVersion);
  }
  const unpaid = unpaidOf(allocation);
  if (op.amount > unpaid) return refuse('E_WITHDRAW', `at most ${unpaid} ncr`, op.amount);
  if (step.block.height > op.expiry) return refuse('E_EXPIRED', `height ${op.expiry}`, step.block.height);
  const message = releaseMessage({
    chainId: step.ctx.config.chainId,
    channelId: op.channelId,
    nodeId: op.nodeId,
    amount: op.amount,
    allocationVersion: op.allocationVersion,
    expiry: op.expiry,
  });
  if (!step.ctx.crypto.verifyEd25519(node.operatorKey.publicKey, message, op.operatorSignature)) {
    return refuse('E_SIG', "the operator's signature over the release", 'another');
  }
  defundAllocation(step.state, op.channelId, op.nodeId, op.amount, true);
  emitAllocation(step, 'release', op, channel.asset, op.amount);
  return undefined;
}

export function applyRequestWithdraw(step: Step, op: OpOf<'request-withdraw'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  const allocation = allocations.get(step.state, op.channelId, op.nodeId);
  if (allocation === undefined) return refuse('E_ALLOCATION', 'an allocation', 'none');
  const unpaid = unpaidOf(allocation);
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > unpaid) return refuse('E_WITHDRAW', `at most ${unpaid} ncr`, op.amount);
  const readyAt = step.block.height + step.ctx.config.params.withdrawDelay;
  allocations.put(step.state, { ...allocation, withdrawing: op.amount, readyAt }, op.channelId, op.nodeId);
  emitAllocation(step, 'request-withdraw', op, channel.asset, op.amount, readyAt);
  return undefined;
}

/** By anyone: the money only ever goes back to its channel. Where nothing waits, somebody else was first: no failure. */
export function applyFinalizeWithdraw(step: Step, op: OpOf<'finalize-withdraw'>): Outcome {
  const channel = channels.get(step.state, op.channelId);
  const allocation = allocations.get(step.state, op.channelId, op.nodeId);
  if (channel === undefined || allocation === undefined || allocation.withdrawing === 0n) {
    step.emit('no-op', { op: op.kind, channelId: op.channelId, nodeId: op.nodeId, code: 'E_WITHDRAW' });
    return undefined;
  }
  if (step.block.height < allocation.readyAt) {
    return refuse('E_WITHDRAW', `height ${allocation.readyAt}`, step.block.height);
  }
  const unpaid = unpaidOf(allocation);
  const amount = allocation.withdrawing < unpaid ? allocation.withdrawing : unpaid;
  allocations.put(
    step.state,
    { ...allocation, withdrawing: credit(0n), readyAt: 0 },
    op.channelId,
    op.nodeId,
  );
  defundAllocation(step.state, op.channelId, op.nodeId, amount, false);
  emitAllocation(step, 'finalize-withdraw', op, channel.asset, amount);
  return undefined;
}

export function applyWithdrawFree(step: Step, op: OpOf<'withdraw-free'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > channel.free) return refuse('E_BALANCE', `at most ${channel.free} ncr`, op.amount);
  defundChannel(step.state, op.channelId, op.amount);
  step.emit('channel', {
    action: 'withdraw-free',
    channelId: op.channelId,
    asset: channel.asset,
    amount: op.amount,
  });
  return undefined;
}

export function applyCloseChannel(step: Step, op: OpOf<'close-channel'>): Outcome {
  const channel = ownChannel(step, op.channelId);
  if ('code' in channel) return channel;
  if (channel.free > 0n || channel.allocations > 0) {
    return refuse(
      'E_NOT_EMPTY',
      'an empty channel',
      `${channel.free} ncr, ${channel.allocations} allocations`,
    );
  }
  for (let slot = 0; slot < SESSIONS_PER_CHANNEL && channel.sessions > 0; slot++) {
    if (sessions.get(step.state, op.channelId, slot) !== undefined) {
      sessions.remove(step.state, op.channelId, slot);
    }
  }
  channels.remove(step.state, op.channelId);
  step.emit('channel', { action: 'close', channelId: op.channelId, asset: channel.asset });
  return undefined;
}

function ownChannel(step: Step, channelId: Uint8Array): ChannelRecord | Refusal {
  const channel = channels.get(step.state, channelId);
  if (channel === undefined) return refuse('E_CHANNEL', 'a channel', 'none');
  return bytesEqual(channel.payer, step.sender)
    ? channel
    : refuse('E_SENDER', "the channel's payer", 'another account');
}

function emitAllocation(
  step: Step,
  action: string,
  op: { readonly channelId: Uint8Array; readonly nodeId: Uint8Array },
  asset: number,
  amount: bigint,
  readyAt?: number,
): void {
  step.emit('channel', { action, channelId: op.channelId, nodeId: op.nodeId, asset, amount, readyAt });
}
