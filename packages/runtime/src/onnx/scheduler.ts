import { EngineError } from '../engine.ts';
import { type Generation, type GenerationModel, startGeneration } from './generation.ts';
import type { ChatJob, ErrorData, FromWorker } from './messages.ts';

/** Shares one network among answers. */
export interface Scheduler {
  readonly add: (id: number, job: ChatJob) => void;
  /** The answer ends with finish reason `abort`, at once or before its next step. Unknown ids are ignored. */
  readonly cancel: (id: number) => void;
}

interface Answer {
  readonly id: number;
  readonly job: ChatJob;
  cancelled: boolean;
}

/**
 * At most `maxConcurrent` answers run, the others wait in order. Those that run take turns, one step each, so that all
 * streams move on together whatever their lengths.
 */
export function createScheduler(
  model: GenerationModel,
  maxConcurrent: number,
  send: (message: FromWorker) => void,
): Scheduler {
  const waiting: Answer[] = [];
  const known = new Map<number, Answer>();
  let running = new Map<Answer, Generation>();
  let active = false;

  const finish = (answer: Answer, message: FromWorker): void => {
    running.delete(answer);
    known.delete(answer.id);
    send(message);
  };
  const end = (answer: Answer, generation: Generation | undefined, reason: 'stop' | 'length' | 'abort') => {
    const usage = generation?.usage() ?? { inputTokens: 0, outputTokens: 0 };
    const droppedMessages = generation?.droppedMessages ?? 0;
    finish(answer, { type: 'end', id: answer.id, finishReason: reason, ...usage, droppedMessages });
  };
  const fail = (answer: Answer, error: unknown): void =>
    finish(answer, { type: 'failed', id: answer.id, error: errorData(error) });

  const admit = (): void => {
    while (running.size < maxConcurrent && waiting.length > 0) {
      const answer = waiting.shift() as Answer;
      try {
        running.set(answer, startGeneration(model, answer.job));
      } catch (error) {
        fail(answer, error);
      }
    }
  };
  const takeTurn = async (answer: Answer, generation: Generation): Promise<void> => {
    if (answer.cancelled) return end(answer, generation, 'abort');
    try {
      const { text, tokens, finishReason } = await generation.advance();
      if (text !== '') send({ type: 'delta', id: answer.id, text, tokens });
      if (finishReason !== null) end(answer, generation, finishReason);
    } catch (error) {
      fail(answer, error);
    }
  };
  const work = async (): Promise<void> => {
    for (;;) {
      admit();
      if (running.size === 0) break;
      for (const [answer, generation] of [...running]) await takeTurn(answer, generation);
    }
    running = new Map();
    active = false;
  };
  return {
    add: (id, job) => {
      const answer: Answer = { id, job, cancelled: false };
      known.set(id, answer);
      waiting.push(answer);
      if (active) return;
      active = true;
      void work();
    },
    cancel: (id) => {
      const answer = known.get(id);
      if (answer === undefined) return;
      answer.cancelled = true;
      const place = waiting.indexOf(answer);
      if (place < 0) return;
      waiting.splice(place, 1);
      end(answer, undefined, 'abort');
    },
  };
}

export function errorData(error: unknown): ErrorData {
  const known =
    error instanceof EngineError
      ? error
      : new EngineError('E_ENGINE', error instanceof Error ? error.message : String(error));
  const { code, status, message, param, detailCode } = known;
  return { code, status, message, param, detailCode };
}
