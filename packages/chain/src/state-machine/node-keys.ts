/**
 * The life of a node key. No transition is run by a timer: what a key may do is a function of its row and the height; the
 * queue only sweeps up rows that can no longer matter.
 */
import { bytesEqual } from '@haca/primitives';
import type { NodeKeyRecord, NodeRecord, ProtocolParams, QueueTask } from '@haca/protocol';
import { eventOf } from './events.ts';
import { releaseHardware } from './hardware.ts';
import { schedule } from './queue.ts';
import type { State } from './state.ts';
import { keyEvidences, lanes, nodeKeys, nodes } from './tables.ts';
import type { ChainEvent } from './types.ts';

export type KeyStop = NonNullable<NodeKeyRecord['stop']>;

/** First height at which the key takes no new receipts: its time was up, or it was closed or stopped before. */
export function keyClosingAt(key: Pick<NodeKeyRecord, 'notAfter' | 'closingAt'>): number {
  return Math.min(key.notAfter, key.closingAt ?? key.notAfter);
}

/** First height at which nothing can be redeemed on the key any more. */
export function keyDrainedAt(
  key: Pick<NodeKeyRecord, 'notAfter' | 'closingAt'>,
  params: Pick<ProtocolParams, 'keyDrain'>,
): number {
  return keyClosingAt(key) + params.keyDrain;
}

function keyDeletedAt(key: NodeKeyRecord, params: ProtocolParams): number {
  const lastEvidence = keyClosingAt(key) + params.evidenceWindow + 4 * params.challengeWindow;
  return Math.max(keyDrainedAt(key, params), lastEvidence);
}

export type KeyPhase = 'active' | 'closing' | 'stopped' | 'drained';

export function keyPhase(
  key: Pick<NodeKeyRecord, 'notAfter' | 'closingAt' | 'stop'>,
  height: number,
  params: Pick<ProtocolParams, 'keyDrain'>,
): KeyPhase {
  if (height >= keyDrainedAt(key, params)) return 'drained';
  if (key.stop !== undefined) return 'stopped';
  return height < keyClosingAt(key) ? 'active' : 'closing';
}

export function scheduleKey(
  state: State,
  keyId: Uint8Array,
  key: NodeKeyRecord,
  params: ProtocolParams,
): void {
  const drained = keyDrainedAt(key, params);
  const deleted = keyDeletedAt(key, params);
  schedule(state, drained, { task: 'drain-key', subject: keyId, due: drained });
  schedule(state, deleted, { task: 'delete-key', subject: keyId, due: deleted });
}

/** Closes a key, which may already be closing: the first closing height and the first stop stay. */
export function closeKey(
  state: State,
  keyId: Uint8Array,
  height: number,
  params: ProtocolParams,
  stop?: KeyStop,
): void {
  const key = nodeKeys.get(state, keyId);
  if (key === undefined) return;
  const isClosing = keyClosingAt(key) <= height;
  const stopped = key.stop ?? stop;
  if (isClosing && stopped === key.stop) return;
  const next: NodeKeyRecord = {
    ...key,
    ...(isClosing ? {} : { closingAt: height }),
    ...(stopped === undefined ? {} : { stop: stopped }),
  };
  nodeKeys.put(state, next, keyId);
  if (!isClosing) scheduleKey(state, keyId, next, params);
}

/** A block as the steps see it that it takes by itself. */
export interface DueBlock {
  readonly height: number;
  readonly baseFee: bigint;
  readonly params: ProtocolParams;
  readonly events: ChainEvent[];
}

/** No new receipts and no settlement; what is verified is still paid, what is open may still be proved. */
export function freezeKey(state: State, keyId: Uint8Array, { height, params, events }: DueBlock): void {
  const key = nodeKeys.get(state, keyId);
  if (key === undefined || key.stop !== undefined) return;
  closeKey(state, keyId, height, params, 'frozen');
  events.push(eventOf('close-key', { keyId, nodeId: key.nodeId, reason: 'frozen', closingAt: height }));
}

/** Keys of the node that still take receipts. */
export function liveKeys(state: State, node: NodeRecord, height: number): readonly Uint8Array[] {
  return node.keys.filter((keyId) => {
    const key = nodeKeys.get(state, keyId);
    return key !== undefined && key.stop === undefined && height < keyClosingAt(key);
  });
}

/** Lane rows that one block may delete. */
export const LANE_ROWS_SWEPT_MAX = 1_024;

export interface SweepBudget {
  laneRows: number;
}

/** Deletes lane rows of a drained key and takes it off its node's list; goes on in the next block where it has too many. */
export function drainKey(state: State, task: QueueTask, height: number, budget: SweepBudget): void {
  if (!sweepLanes(state, task.subject, budget)) {
    schedule(state, height + 1, task);
    return;
  }
  forgetUndrained(state, task.subject);
}

/** Removes the key's rows themselves. Its id can never return: it contains an epoch below the node's. */
export function deleteKey(state: State, task: QueueTask, height: number, budget: SweepBudget): void {
  if (!sweepLanes(state, task.subject, budget)) {
    schedule(state, height + 1, task);
    return;
  }
  forgetUndrained(state, task.subject);
  const key = nodeKeys.get(state, task.subject);
  if (key === undefined) return;
  nodeKeys.remove(state, task.subject);
  if (key.evidence !== null) keyEvidences.remove(state, task.subject);
}

/** Whether all lane rows of the key are gone. */
function sweepLanes(state: State, keyId: Uint8Array, budget: SweepBudget): boolean {
  const key = nodeKeys.get(state, keyId);
  if (key === undefined) return true;
  let lane = key.lastLane;
  let swept = 0;
  while (lane !== null && budget.laneRows > 0) {
    const row = lanes.get(state, keyId, lane.channelId, lane.lane);
    lanes.remove(state, keyId, lane.channelId, lane.lane);
    lane = row?.previous ?? null;
    budget.laneRows--;
    swept++;
  }
  if (swept > 0) {
    nodeKeys.put(state, { ...key, lastLane: lane }, keyId);
    const node = nodes.get(state, key.nodeId);
    if (node !== undefined) nodes.put(state, { ...node, laneRows: node.laneRows - swept }, key.nodeId);
  }
  return lane === null;
}

function forgetUndrained(state: State, keyId: Uint8Array): void {
  const key = nodeKeys.get(state, keyId);
  const node = key === undefined ? undefined : nodes.get(state, key.nodeId);
  if (key === undefined || node === undefined) return;
  const keys = node.keys.filter((other) => !bytesEqual(other, keyId));
  if (keys.length === node.keys.length) return;
  nodes.put(state, { ...node, keys }, key.nodeId);
  releaseHardware(state, keyId, key);
}
