/** The other end of `worker.ts`: starts the thread when it is needed, again after it died, and ends jobs that are cancelled. */
import { Worker } from 'node:worker_threads';
import type { FromWorker, WorkerJob, WorkerSetup } from './worker.ts';

/** A job failed in its thread, or the thread did not survive it. */
export class WorkerJobError extends Error {
  override readonly name = 'WorkerJobError';
  /** Name of the error as it was thrown there. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface JobOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly phase: string; readonly fraction: number }) => void;
}

export interface WorkerClient {
  /** Throws `WorkerJobError`, or the signal's reason. */
  readonly run: (job: WorkerJob, options?: JobOptions) => Promise<readonly Uint8Array[]>;
  readonly close: () => Promise<void>;
}

/** A job that does not heed its cancellation takes the thread with it. */
const CANCEL_MS = 2_000;

interface Waiting {
  readonly settle: (result: readonly Uint8Array[]) => void;
  readonly fail: (error: unknown) => void;
  readonly onProgress: JobOptions['onProgress'];
}

export function openWorkerClient(setup: WorkerSetup): WorkerClient {
  const waiting = new Map<number, Waiting>();
  let worker: Worker | undefined;
  let nextId = 1;
  let isClosed = false;

  const failAll = (reason: string): void => {
    for (const { fail } of waiting.values()) fail(new WorkerJobError('WorkerEnded', reason));
    waiting.clear();
  };
  const start = (): Worker => {
    const started = new Worker(new URL('./worker.ts', import.meta.url), { workerData: setup });
    const ended = (reason: string): void => {
      if (worker !== started) return;
      worker = undefined;
      failAll(reason);
    };
    started.on('message', (message: FromWorker) => take(waiting, message));
    started.on('error', (error: Error) => ended(`the thread failed: ${error.message}`));
    started.on('exit', (code) => ended(`the thread ended with ${code}`));
    started.unref();
    return started;
  };
  const run: WorkerClient['run'] = async (job, { signal, onProgress } = {}) => {
    signal?.throwIfAborted();
    if (isClosed) throw new WorkerJobError('WorkerEnded', 'the thread is closed');
    worker ??= start();
    const target = worker;
    const id = nextId++;
    const done = new Promise<readonly Uint8Array[]>((settle, fail) => {
      waiting.set(id, { settle, fail, onProgress });
    });
    // The process stays while a job runs, and not for the thread alone.
    target.ref();
    let timer: NodeJS.Timeout | undefined;
    const cancel = (): void => {
      target.postMessage({ id, kind: 'cancel' });
      timer = setTimeout(() => void target.terminate(), CANCEL_MS);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    target.postMessage({ id, ...job });
    try {
      return await done;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      if (waiting.size === 0) target.unref();
    }
  };
  return {
    run,
    close: async () => {
      isClosed = true;
      const last = worker;
      worker = undefined;
      failAll('the thread was closed');
      await last?.terminate();
    },
  };
}

function take(waiting: Map<number, Waiting>, message: FromWorker): void {
  const job = waiting.get(message.id);
  if (job === undefined) return;
  if (message.kind === 'progress') {
    job.onProgress?.(message);
    return;
  }
  waiting.delete(message.id);
  if (message.kind === 'done') job.settle(message.result);
  else job.fail(new WorkerJobError(message.name, message.message));
}
