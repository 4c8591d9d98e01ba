/** Integer models as an engine: rows of tensors in, rows of tensors out, on a thread of its own. */
import { Worker } from 'node:worker_threads';
import {
  decodeTensor,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
  type VerifyingKey,
} from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import type { ModelManifest } from '@haca/protocol';
import { EngineError, type TensorEngine, type TensorRequest } from '../engine.ts';
import { createIntegerModel } from './model.ts';

export interface IntegerModelData {
  readonly key: VerifyingKey;
  /** Dense, row-major, in key order. */
  readonly weights: readonly TensorValues[];
}

export interface IntegerEngineModel extends IntegerModelData {
  readonly name: string;
  readonly manifest: ModelManifest;
}

export interface IntegerEngineOptions {
  readonly models: readonly IntegerEngineModel[];
  /** Requests that may wait for the one that is computed; 256 unless given. Further ones get `E_UNAVAILABLE`. */
  readonly maxWaiting?: number;
}

export interface InferenceJob {
  readonly id: number;
  readonly model: number;
  readonly rows: readonly Uint8Array[];
}
export interface InferenceResult {
  readonly id: number;
  readonly rows: readonly Uint8Array[];
}
export interface InferenceFailure {
  readonly id: number;
  readonly error: string;
}

interface Waiting {
  readonly job: InferenceJob;
  readonly resolve: (rows: readonly Uint8Array[]) => void;
  readonly reject: (error: unknown) => void;
  readonly settled: () => boolean;
}

const VERSION = '1';

/**
 * The thread has its own copy of the weights. Call `close` when done.
 * @throws EngineError (`E_UNAVAILABLE`) where a key is refused or its weights contradict it
 */
export async function openIntegerEngine(options: IntegerEngineOptions): Promise<TensorEngine> {
  const { models, maxWaiting = 256 } = options;
  for (const { name, key, weights } of models) {
    try {
      createIntegerModel({ key, weights });
    } catch (cause) {
      throw new EngineError('E_UNAVAILABLE', `model '${name}': ${String(cause)}`, { cause });
    }
  }
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: models.map(({ key, weights }): IntegerModelData => ({ key, weights })),
    name: 'integer-engine',
  });
  return connect(worker, models, maxWaiting);
}

function connect(worker: Worker, models: readonly IntegerEngineModel[], maxWaiting: number): TensorEngine {
  const queue: Waiting[] = [];
  let running: Waiting | undefined;
  let down: EngineError | undefined;
  let nextId = 1;

  const advance = (): void => {
    running = undefined;
    while (running === undefined && queue.length > 0) {
      const next = queue.shift() as Waiting;
      if (next.settled()) continue;
      running = next;
      worker.postMessage(next.job);
    }
  };
  const goDown = (error: EngineError): void => {
    down ??= error;
    for (const each of [running, ...queue.splice(0)]) each?.reject(down);
    running = undefined;
  };
  worker.on('message', (message: InferenceResult | InferenceFailure) => {
    if (running?.job.id !== message.id) return;
    if ('rows' in message) running.resolve(message.rows);
    else running.reject(new EngineError('E_ENGINE', message.error));
    advance();
  });
  worker.on('error', (cause) =>
    goDown(new EngineError('E_ENGINE', `the engine thread failed: ${String(cause)}`, { cause })),
  );
  worker.on('exit', () => goDown(new EngineError('E_UNAVAILABLE', 'the engine is closed')));

  const infer = (request: TensorRequest, signal: AbortSignal): Promise<readonly Uint8Array[]> => {
    if (down !== undefined) return Promise.reject(down);
    const job = { id: nextId++, ...jobOf(request, models) };
    if (queue.length >= maxWaiting)
      throw new EngineError('E_UNAVAILABLE', `${queue.length} requests wait, the engine's limit`, {
        retryAfterMs: 1000,
      });
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (): void => {
        settled = true;
        signal.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        settle();
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      queue.push({
        job,
        settled: () => settled,
        resolve: (rows) => {
          settle();
          resolve(rows);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      if (running === undefined) advance();
    });
  };
  return {
    name: 'haca-integer',
    version: VERSION,
    proxied: false,
    models: models.map(({ name, manifest }) => ({ name, manifest })),
    infer: async (request, signal) => infer(request, signal),
    ready: () => (down === undefined ? Promise.resolve() : Promise.reject(down)),
    close: async () => {
      goDown(new EngineError('E_UNAVAILABLE', 'the engine is closed'));
      await worker.terminate();
    },
  };
}

/** Checks a request here, so that the thread gets none that fails. @throws EngineError */
function jobOf(
  { model: name, tensors }: TensorRequest,
  models: readonly IntegerEngineModel[],
): Omit<InferenceJob, 'id'> {
  const model = models.findIndex((each) => each.name === name);
  const chosen = models[model];
  if (chosen === undefined) {
    const names = models.map((each) => each.name).join(', ');
    throw new EngineError('E_MODEL_UNKNOWN', `model '${name}' is not served here; served: ${names}`, {
      param: 'model',
    });
  }
  const { inputs } = publicTensorShapes(chosen.key);
  if (tensors.length !== inputs.length)
    throw new EngineError('E_REQUEST', `the model has ${inputs.length} inputs, got ${tensors.length}`, {
      param: 'tensors',
    });
  inputs.forEach((shape, i) => {
    checkRow(shape, tensors[i] as Uint8Array, `tensors.${i}`);
  });
  return { model, rows: tensors };
}

function checkRow(shape: TensorShape, row: Uint8Array, param: string): void {
  try {
    decodeTensor(shape, row, 1, param);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new EngineError('E_REQUEST', error.message, { param, cause: error });
  }
}
