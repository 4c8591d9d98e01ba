/** Work due at a height. One list per height, bounded; what finds its height full is due at the next with room. */
import { compareBytes } from '@haca/primitives';
import { QUEUE_TASKS, QUEUE_TASKS_MAX, type QueueTask } from '@haca/protocol';
import type { State } from './state.ts';
import { queues } from './tables.ts';

export function schedule(state: State, height: number, task: QueueTask): void {
  let at = height;
  let list = queues.get(state, at) ?? [];
  while (list.length >= QUEUE_TASKS_MAX) list = queues.get(state, ++at) ?? [];
  if (list.some((other) => compareTasks(other, task) === 0)) return;
  queues.put(state, [...list, task].sort(compareTasks), at);
}

/** Takes back work that is done already, where it is due at its own height; elsewhere it finds nothing left to do. */
export function unschedule(state: State, task: QueueTask): void {
  const list = queues.get(state, task.due);
  const left = list?.filter((other) => compareTasks(other, task) !== 0);
  if (list === undefined || left === undefined || left.length === list.length) return;
  if (left.length === 0) queues.remove(state, task.due);
  else queues.put(state, left, task.due);
}

/** Takes the work of a height out of the queue, in its order. */
export function takeDue(state: State, height: number): readonly QueueTask[] {
  const tasks = queues.get(state, height);
  if (tasks === undefined) return [];
  queues.remove(state, height);
  return tasks;
}

function compareTasks(a: QueueTask, b: QueueTask): number {
  return (
    a.due - b.due ||
    compareBytes(a.subject, b.subject) ||
    QUEUE_TASKS.indexOf(a.task) - QUEUE_TASKS.indexOf(b.task)
  );
}
