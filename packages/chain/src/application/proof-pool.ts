/**
 * Proofs verified on worker threads. A pool answers or rejects: a worker that dies has given no verdict, and another takes its
 * place. Workers start with the first proof and keep no process alive.
 */
import { cpus } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { ProofCheck } from './proof-checks.ts';

export interface ProofPoolOptions {
  /** Module that exports `verifyProofCheck(check: ProofCheck): boolean`: the worker has nothing else of this process. */
  readonly module: URL;
  /** Worker threads at most; one, or two where there are more than two cores, if not said. */
  readonly threads?: number;
  /** Checks that may wait. */
  readonly waitingMax?: number;
}

export interface ProofPool {
  /** Rejects with `ProofPoolError` where there is no verdict: no room, a dead worker, a closed pool. */
  readonly verify: (check: ProofCheck) => Promise<boolean>;
  /** Ends all workers; what waits is rejected. */
  readonly close: () => Promise<void>;
}

export class ProofPoolError extends Error {
  override readonly name = 'ProofPoolError';
}

/** A block has at most a handful of proofs, and the mempool asks for one at a time. */
const WAITING_MAX = 64;
const WORKER = new URL('./proof-worker.ts', import.meta.url);

interface Job {
  readonly check: ProofCheck;
  readonly resolve: (holds: boolean) => void;
  readonly reject: (error: Error) => void;
}

interface Seat {
  readonly worker: Worker;
  job: Job | null;
}

export function createProofPool(options: ProofPoolOptions): ProofPool {
  const threads = options.threads ?? (cpus().length > 2 ? 2 : 1);
  const waitingMax = options.waitingMax ?? WAITING_MAX;
  const seats = new Set<Seat>();
  const waiting: Job[] = [];
  let isClosed = false;

  const openSeat = (): Seat => {
    const worker = new Worker(WORKER, { workerData: { module: options.module.href } });
    const seat: Seat = { worker, job: null };
    const fail = (cause: unknown): void => {
      if (!seats.delete(seat)) return;
      seat.job?.reject(new ProofPoolError('a worker ended before its verdict', { cause }));
      seat.job = null;
      void worker.terminate();
      next();
    };
    worker.on('message', (holds: boolean) => {
      const { job } = seat;
      seat.job = null;
      worker.unref();
      job?.resolve(holds);
      next();
    });
    worker.on('messageerror', fail);
    worker.on('error', fail);
    worker.on('exit', (code) => fail(new Error(`exit code ${code}`)));
    worker.unref();
    seats.add(seat);
    return seat;
  };

  /** Gives what waits to who is free, one check a worker. */
  const next = (): void => {
    while (waiting.length > 0 && !isClosed) {
      const idle = [...seats].find(({ job }) => job === null);
      const seat = idle ?? (seats.size < threads ? openSeat() : undefined);
      if (seat === undefined) return;
      const job = waiting.shift() as Job;
      seat.job = job;
      // A process that waits for a verdict must not end before it.
      seat.worker.ref();
      seat.worker.postMessage(job.check);
    }
  };

  return {
    verify: (check) =>
      new Promise((resolve, reject) => {
        if (isClosed) return reject(new ProofPoolError('the pool is closed'));
        if (waiting.length >= waitingMax)
          return reject(new ProofPoolError(`${waiting.length} proofs wait already`));
        waiting.push({ check, resolve, reject });
        next();
      }),
    close: async () => {
      isClosed = true;
      const error = new ProofPoolError('the pool is closed');
      for (const { reject } of waiting.splice(0)) reject(error);
      const ending = [...seats];
      seats.clear();
      for (const { job } of ending) job?.reject(error);
      await Promise.all(ending.map(({ worker }) => worker.terminate()));
    },
  };
}
