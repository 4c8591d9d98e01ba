/** Nodes and node bonds. */
import { bytesEqual } from '@haca/primitives';
import { type NodeRecord, nodeIdOf, nopg, type OpOf, UNBONDING_ENTRIES_MAX } from '@haca/protocol';
import { closeKey, liveKeys } from '../node-keys.ts';
import { beginUnbonding, bondNode } from '../opg-ledger.ts';
import { schedule } from '../queue.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { accounts, nodes } from '../tables.ts';
import type { Outcome, Step } from './step.ts';

export function applyRegisterNode(step: Step, op: OpOf<'register-node'>): Outcome {
  const { state, sender } = step;
  const { chainId, params } = step.ctx.config;
  const nodeId = nodeIdOf(chainId, sender, step.nonce);
  if (nodes.get(state, nodeId) !== undefined) return refuse('E_NODE', 'one new node in a transaction', 'two');
  if (op.bond < params.nodeBondMin) return refuse('E_BOND', `at least ${params.nodeBondMin} nopg`, op.bond);
  const liquid = accounts.get(state, sender)?.nopg ?? 0n;
  if (op.bond > liquid) return refuse('E_BALANCE', `at most ${liquid} nopg`, op.bond);
  const node: NodeRecord = {
    operator: sender,
    operatorKey: step.senderKey,
    name: op.name,
    endpoint: op.endpoint,
    payout: op.payout,
    bond: nopg(0n),
    unbonding: nopg(0n),
    keyEpoch: 0,
    keys: [],
    laneRows: 0,
    bucketGas: nodeBucket(params.gasTarget).capacity,
    bucketHeight: step.block.height,
    unbondingDue: [],
  };
  nodes.put(state, node, nodeId);
  bondNode(state, sender, nodeId, op.bond);
  step.emit('node', { action: 'register', nodeId, operator: sender, name: op.name, bond: op.bond });
  return undefined;
}

/** Verification gas a node may use for its own keys: a burst, refilled every block. */
export function nodeBucket(gasTarget: number): { readonly capacity: number; readonly refill: number } {
  return { capacity: Math.floor((gasTarget * 4) / 5), refill: Math.floor(gasTarget / 5) };
}

export function applyUpdateNode(step: Step, op: OpOf<'update-node'>): Outcome {
  const node = ownNode(step, op.nodeId);
  if ('code' in node) return node;
  const { name, endpoint, payout } = op;
  nodes.put(step.state, { ...node, name, endpoint, payout }, op.nodeId);
  step.emit('node', { action: 'update', nodeId: op.nodeId, name, payout });
  return undefined;
}

export function applyBondNode(step: Step, op: OpOf<'bond-node'>): Outcome {
  const node = ownNode(step, op.nodeId);
  if ('code' in node) return node;
  if (node.tombstoned === true) return refuse('E_NODE', 'a node in standing', 'a tombstoned one');
  const liquid = accounts.get(step.state, step.sender)?.nopg ?? 0n;
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > liquid) return refuse('E_BALANCE', `at most ${liquid} nopg`, op.amount);
  bondNode(step.state, step.sender, op.nodeId, op.amount);
  step.emit('node', { action: 'bond', nodeId: op.nodeId, amount: op.amount });
  return undefined;
}

/** Starts the unbonding time. Below half the minimum bond the node's keys close: the node leaves. */
export function applyUnbondNode(step: Step, op: OpOf<'unbond-node'>): Outcome {
  const node = ownNode(step, op.nodeId);
  if ('code' in node) return node;
  const { height, timeMs } = step.block;
  const { params } = step.ctx.config;
  if (op.amount === 0n) return refuse('E_AMOUNT', 'an amount above zero', 0);
  if (op.amount > node.bond) return refuse('E_BOND', `at most ${node.bond} nopg`, op.amount);
  const due = height + params.unbondingTime;
  const isNewEntry = !node.unbondingDue.includes(due);
  if (isNewEntry && node.unbondingDue.length >= UNBONDING_ENTRIES_MAX) {
    return refuse(
      'E_BOND',
      `at most ${UNBONDING_ENTRIES_MAX} entries at a time`,
      node.unbondingDue.length + 1,
    );
  }
  if (isNewEntry) {
    nodes.put(step.state, { ...node, unbondingDue: [...node.unbondingDue, due] }, op.nodeId);
    schedule(step.state, due, { task: 'mature-unbonding', subject: op.nodeId, due });
  }
  beginUnbonding(step.state, op.nodeId, op.amount, due, { height, timeMs });
  step.emit('node', { action: 'unbond', nodeId: op.nodeId, amount: op.amount, due });
  if (node.bond - op.amount < params.nodeBondMin / 2n) {
    for (const keyId of liveKeys(step.state, node, height)) {
      closeKey(step.state, keyId, height, params);
      step.emit('close-key', { keyId, nodeId: op.nodeId, reason: 'bond', closingAt: height });
    }
  }
  return undefined;
}

export function ownNode(step: Step, nodeId: Uint8Array): NodeRecord | Refusal {
  const node = nodes.get(step.state, nodeId);
  if (node === undefined) return refuse('E_NODE', 'a node', 'none');
  return bytesEqual(node.operator, step.sender)
    ? node
    : refuse('E_SENDER', "the node's operator", 'another account');
}
