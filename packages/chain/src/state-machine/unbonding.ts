import type { QueueTask, UnbondingRecord } from '@haca/protocol';
import { eventOf } from './events.ts';
import { finishUnbonding, finishValidatorUnbonding } from './opg-ledger.ts';
import { schedule } from './queue.ts';
import type { State } from './state.ts';
import { nodes, unbondings, validators, validatorUnbondings } from './tables.ts';
import type { BlockHead, ChainEvent, ExecutionContext } from './types.ts';
import { consensusAddress } from './validators.ts';

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
  if (waitsForTime(state, task, entry, block, ctx)) return;
  nodes.put(state, { ...node, unbondingDue: node.unbondingDue.filter((other) => other !== due) }, nodeId);
  const amount = finishUnbonding(state, nodeId, due);
  events.push(eventOf('node', { action: 'unbonded', nodeId, operator: node.operator, amount }));
}

/** The same for an entry of a validator, which may have left since, or double signed. */
export function matureValidatorUnbonding(
  state: State,
  task: QueueTask,
  block: BlockHead,
  ctx: ExecutionContext,
  events: ChainEvent[],
): void {
  const { subject: consensusKey, due } = task;
  const address = consensusAddress(consensusKey);
  const entry = validatorUnbondings.get(state, address, due);
  const validator = validators.get(state, address);
  if (entry === undefined || validator === undefined) return;
  if (waitsForTime(state, task, entry, block, ctx)) return;
  const unbondingDue = validator.unbondingDue.filter((other) => other !== due);
  validators.put(state, { ...validator, unbondingDue }, address);
  const amount = finishValidatorUnbonding(state, address, due);
  events.push(
    eventOf('validator', { action: 'unbonded', validator: address, operator: validator.operator, amount }),
  );
}

function waitsForTime(
  state: State,
  task: QueueTask,
  entry: UnbondingRecord,
  block: BlockHead,
  ctx: ExecutionContext,
): boolean {
  const missingMs = entry.sinceMs + ctx.config.params.unbondingTimeMs - block.timeMs;
  if (missingMs > 0) schedule(state, block.height + Math.ceil(missingMs / 1_000), task);
  return missingMs > 0;
}
