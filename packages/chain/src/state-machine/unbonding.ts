import type { QueueTask } from '@haca/protocol';
import { eventOf } from './events.ts';
import { finishUnbonding } from './opg-ledger.ts';
import { schedule } from './queue.ts';
import type { State } from './state.ts';
import { nodes, unbondings } from './tables.ts';
import type { BlockHead, ChainEvent, ExecutionContext } from './types.ts';

/**
 * Pays out a bond whose unbonding time has passed by height and by block time, both. Where blocks came faster than one a
 * second, time is behind: the entry waits as many blocks as seconds are missing, and is looked at again.
 */
export function matureUnbonding(
  state: State,
  task: QueueTask,
  block: BlockHead,
  ctx: ExecutionContext,
  events: ChainEvent[],
): void {
  const { subject: nodeId, due } = task;
  const entry = unbondings.get(state, nodeId, due);
  const node = nodes.get(state, nodeId);
  if (entry === undefined || node === undefined) return;
  const missingMs = entry.sinceMs + ctx.config.params.unbondingTimeMs - block.timeMs;
  if (missingMs > 0) {
    schedule(state, block.height + Math.ceil(missingMs / 1_000), task);
    return;
  }
  nodes.put(state, { ...node, unbondingDue: node.unbondingDue.filter((other) => other !== due) }, nodeId);
  const amount = finishUnbonding(state, nodeId, due);
  events.push(eventOf('node', { action: 'unbonded', nodeId, operator: node.operator, amount }));
}
