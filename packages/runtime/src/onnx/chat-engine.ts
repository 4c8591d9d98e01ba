import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { Method, Usage } from '@haca/protocol';
import {
  type ChatRequest,
  type Engine,
  EngineError,
  type EngineEvent,
  type EngineModel,
  validateChatRequest,
} from '../engine.ts';
import { type EventChannel, openEventChannel } from '../event-channel.ts';
import { chatJobOf } from './chat-job.ts';
import type { ErrorData, FromWorker, ToWorker, WorkerStart } from './messages.ts';
import { readModelFiles } from './model-files.ts';

export interface OnnxChatEngineOptions {
  /** A model directory: `manifest.json`, `model.onnx`, `tokenizer.json`. */
  readonly dir: string;
  /** Threads within one step; 1 unless given. The answers of a model this small do not get faster with more. */
  readonly threads?: number;
  /** Answers in the making at the same time; 8 unless given. Each holds its key/value cache in memory. */
  readonly maxConcurrent?: number;
  /** Requests that may wait beyond these; 256 unless given. Further ones get `E_UNAVAILABLE`. */
  readonly maxWaiting?: number;
  /** How answers of this model may be verified, for its manifest; `tee` and `signed` unless given. */
  readonly methods?: readonly Method[];
}

interface RunningAnswer {
  readonly channel: EventChannel<EngineEvent>;
  readonly seed: bigint | undefined;
  readonly release: () => void;
}

const NO_USAGE: Usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 };

/**
 * Opens the embedded chat engine: ONNX Runtime on a thread of its own. Greedy and so deterministic unless a request asks for
 * a temperature. Throws `EngineError` (`E_UNAVAILABLE`) if a file is missing or is not the one its manifest names, or if
 * onnxruntime-node is not installed. Call `close` when done.
 */
export async function openOnnxChatEngine(options: OnnxChatEngineOptions): Promise<Engine> {
  const { dir, threads = 1, maxConcurrent = 8, maxWaiting = 256, methods = ['tee', 'signed'] } = options;
  const files = await readModelFiles(dir, methods);
  const start: WorkerStart = {
    description: files.description,
    modelBytes: files.modelBytes,
    tokenizerJson: files.tokenizerJson,
    threads,
    maxConcurrent,
  };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: start,
    transferList: [files.modelBytes.buffer],
    name: 'onnx-engine',
  });
  const runtimeVersion = await started(worker);
  const models = [{ name: files.description.name, manifest: files.manifest }];
  return connect(worker, models, runtimeVersion, maxConcurrent + maxWaiting);
}

async function started(worker: Worker): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const onExit = (): void =>
    reject(new EngineError('E_UNAVAILABLE', 'the engine thread ended while it started'));
  const onMessage = (message: FromWorker): void => {
    if (message.type === 'ready') resolve(message.runtimeVersion);
    else if (message.type === 'unusable') reject(errorOf(message.error));
  };
  const onError = (cause: unknown): void =>
    reject(new EngineError('E_UNAVAILABLE', `the engine thread failed: ${String(cause)}`, { cause }));
  worker.once('error', onError);
  worker.once('exit', onExit);
  worker.once('message', onMessage);
  try {
    return await promise;
  } catch (error) {
    await worker.terminate();
    throw error;
  } finally {
    worker.off('error', onError);
    worker.off('exit', onExit);
  }
}

function connect(
  worker: Worker,
  models: readonly EngineModel[],
  runtimeVersion: string,
  maxOpen: number,
): Engine {
  const answers = new Map<number, RunningAnswer>();
  let nextId = 1;
  let down: EngineError | undefined;
  let closing: Promise<void> | undefined;
  const post = (message: ToWorker): void => worker.postMessage(message);

  const goDown = (error: EngineError): void => {
    down ??= error;
    for (const answer of answers.values()) {
      answer.release();
      answer.channel.fail(down);
    }
    answers.clear();
  };
  worker.on('message', (message: FromWorker) => deliver(answers, message));
  worker.on('error', (cause) =>
    goDown(new EngineError('E_ENGINE', `the engine thread failed: ${String(cause)}`, { cause })),
  );
  worker.on('exit', () => goDown(new EngineError('E_UNAVAILABLE', 'the engine is closed')));

  const begin = (request: ChatRequest, signal: AbortSignal, channel: EventChannel<EngineEvent>): number => {
    if (down !== undefined) throw down;
    validateChatRequest(request, models);
    const job = chatJobOf(request, () => randomBytes(8).readBigUInt64BE());
    if (answers.size >= maxOpen) {
      const message = `the engine has ${answers.size} requests running and waiting, its limit`;
      throw new EngineError('E_UNAVAILABLE', message, { retryAfterMs: 1000 });
    }
    if (signal.aborted) {
      channel.push({ type: 'end', finishReason: 'abort', usage: NO_USAGE });
      channel.end();
      return 0;
    }
    const id = nextId++;
    const cancel = (): void => post({ type: 'cancel', id });
    const release = (): void => signal.removeEventListener('abort', cancel);
    answers.set(id, { channel, seed: job.temperature === 0 ? undefined : job.seed, release });
    signal.addEventListener('abort', cancel, { once: true });
    post({ type: 'chat', id, job });
    return id;
  };
  return {
    name: 'onnxruntime-node',
    version: runtimeVersion,
    proxied: false,
    models,
    chat: (request, signal) => {
      let id = 0;
      const channel: EventChannel<EngineEvent> = openEventChannel({
        start: () => {
          id = begin(request, signal, channel);
        },
        cancel: () => post({ type: 'cancel', id }),
      });
      return channel.events;
    },
    ready: () => (down === undefined ? Promise.resolve() : Promise.reject(down)),
    close: () => {
      closing ??= closeWorker(worker, () => goDown(new EngineError('E_UNAVAILABLE', 'the engine is closed')));
      return closing;
    },
  };
}

function deliver(answers: Map<number, RunningAnswer>, message: FromWorker): void {
  if (message.type === 'ready' || message.type === 'unusable') return;
  const answer = answers.get(message.id);
  if (answer === undefined) return;
  if (message.type === 'delta') {
    answer.channel.push({ type: 'delta', text: message.text, tokens: message.tokens });
    return;
  }
  answers.delete(message.id);
  answer.release();
  if (message.type === 'failed') {
    answer.channel.fail(errorOf(message.error));
    return;
  }
  const { finishReason, inputTokens, outputTokens, droppedMessages } = message;
  answer.channel.push({
    type: 'end',
    finishReason,
    usage: { inputTokens, cachedInputTokens: 0, outputTokens },
    ...(answer.seed === undefined ? {} : { seed: answer.seed }),
    ...(droppedMessages === 0 ? {} : { droppedMessages }),
  });
  answer.channel.end();
}

/** Lets the thread put down the network itself; a step takes milliseconds, so it gets there soon. */
async function closeWorker(worker: Worker, goDown: () => void): Promise<void> {
  goDown();
  worker.postMessage({ type: 'close' } satisfies ToWorker);
  await worker.terminate();
}

function errorOf(data: ErrorData): EngineError {
  const { status, param, detailCode } = data;
  return new EngineError(data.code, data.message, { status, param, detailCode });
}
