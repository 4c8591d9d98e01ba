/**
 * Threads over one memory. A job is one kernel over a range of units; each thread, this one among them, takes an equal
 * part, and the call returns when all are done. Kernels compute exact sums in a field, so how a range is cut never shows.
 *
 * A thread waits for jobs on a word of its own: it looks at it for some microseconds, then sleeps. Threads do not keep
 * the process alive.
 */
import { Worker } from 'node:worker_threads';
import type { WasmMemory, WasmModule } from '@haca/platform/web-assembly';
import { UsageError } from '@haca/primitives';
import {
  compileKernels,
  instantiateKernels,
  KERNEL_NAMES,
  type KernelName,
  type Kernels,
} from './kernels.ts';
import { createSharedHeap, type SharedHeap } from './memory.ts';

/** Layout of a thread's mailbox, in words. */
export const MAILBOX = { posted: 0, done: 1, failed: 2, kernel: 3, count: 4, args: 5, words: 64 } as const;
/** In place of a kernel: end the thread. */
export const STOP = -1;
/** Below this much work (blocks of four elements, roughly) a job stays on this thread. */
const PARALLEL_WORK = 2048;
const THREADS_MAX = 64;

/** Constants of the module lie below; then each thread's results and working memory. */
const CONSTANT_BYTES = 16384;
const RESULT_BYTES = 4096;
const SCRATCH_BYTES = 65536;

/** Looks before sleeping: a few dozen microseconds, the gap between two jobs of a proof. */
const SPINS = 2000;
const JOB_TIMEOUT_MS = 120_000;

export interface ThreadData {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  readonly mailboxes: Int32Array;
  readonly thread: number;
  readonly scratch: number;
}

export interface KernelPool {
  readonly heap: SharedHeap;
  /** For calls on this thread. */
  readonly kernels: Kernels;
  readonly threads: number;
  /** Where thread `thread` leaves small results: RESULT_BYTES. */
  readonly resultsOf: (thread: number) => number;
  /**
   * Runs a kernel over units 0 to `units`, `args` giving the arguments for a part. `work` is the job's size in blocks of
   * four elements, `units` unless given. Returns the number of parts; part k ran on thread k.
   */
  readonly run: (
    kernel: KernelName,
    units: number,
    args: (from: number, to: number, thread: number) => readonly number[],
    work?: number,
  ) => number;
  /** Resolves when all threads wait for jobs. Until then jobs run on those that do. */
  readonly ready: () => Promise<void>;
  /** Ends the threads. The pool then works on this thread alone. */
  readonly close: () => Promise<void>;
}

export interface PoolOptions {
  /** With this one: 1 to 64. */
  readonly threads: number;
  /** Jobs of less work stay on this thread: see `PARALLEL_WORK`. */
  readonly parallelWork?: number | undefined;
}

export function createKernelPool({ threads, parallelWork = PARALLEL_WORK }: PoolOptions): KernelPool {
  if (!Number.isInteger(threads) || threads < 1 || threads > THREADS_MAX) {
    throw new UsageError(`${threads} threads`);
  }
  const resultsAt = CONSTANT_BYTES;
  const scratchAt = resultsAt + threads * RESULT_BYTES;
  const heap = createSharedHeap(scratchAt + threads * SCRATCH_BYTES);
  const module = compileKernels();
  const kernels = instantiateKernels(module, heap.memory, scratchAt);
  const mailboxes = new Int32Array(new SharedArrayBuffer(4 * MAILBOX.words * threads));
  // A mailbox holds -1 until its thread is up.
  const workers = startWorkers();
  let open = true;

  function startWorkers(): readonly Worker[] {
    return Array.from({ length: threads - 1 }, (_, i) => {
      const thread = i + 1;
      Atomics.store(mailboxes, thread * MAILBOX.words + MAILBOX.done, -1);
      const workerData: ThreadData = {
        module,
        memory: heap.memory,
        mailboxes,
        thread,
        scratch: scratchAt + thread * SCRATCH_BYTES,
      };
      // Flags of this process are not the threads' (`--input-type` would even stop them).
      const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData, execArgv: [] });
      worker.unref();
      return worker;
    });
  }

  const isUp = (thread: number): boolean =>
    Atomics.load(mailboxes, thread * MAILBOX.words + MAILBOX.done) !== -1;

  function post(thread: number, kernel: number, args: readonly number[]): void {
    const base = thread * MAILBOX.words;
    mailboxes[base + MAILBOX.kernel] = kernel;
    mailboxes[base + MAILBOX.count] = args.length;
    for (let i = 0; i < args.length; i++) mailboxes[base + MAILBOX.args + i] = args[i] as number;
    Atomics.add(mailboxes, base + MAILBOX.posted, 1);
    Atomics.notify(mailboxes, base + MAILBOX.posted);
  }

  function awaitThread(thread: number): void {
    const base = thread * MAILBOX.words;
    const posted = Atomics.load(mailboxes, base + MAILBOX.posted);
    for (let spin = 0; ; spin++) {
      const done = Atomics.load(mailboxes, base + MAILBOX.done);
      if (done === posted) break;
      if (spin < SPINS) continue;
      if (Atomics.wait(mailboxes, base + MAILBOX.done, done, JOB_TIMEOUT_MS) === 'timed-out') {
        throw new Error(`thread ${thread} of the prover does not answer`);
      }
    }
    if (mailboxes[base + MAILBOX.failed] !== 0) throw new Error(`a kernel failed on thread ${thread}`);
  }

  function usable(units: number, work: number): number {
    if (work < parallelWork || !open) return 1;
    let count = 1;
    while (count < Math.min(threads, units) && isUp(count)) count++;
    return count;
  }

  return {
    heap,
    kernels,
    threads,
    resultsOf: (thread) => resultsAt + thread * RESULT_BYTES,
    run: (name, units, args, work = units) => {
      const parts = usable(units, work);
      const cut = (part: number): number => Math.floor((units * part) / parts);
      const index = KERNEL_NAMES.indexOf(name);
      for (let part = 1; part < parts; part++) post(part, index, args(cut(part), cut(part + 1), part));
      kernels[name](...args(0, cut(1), 0));
      for (let part = 1; part < parts; part++) awaitThread(part);
      return parts;
    },
    ready: async () => {
      while (open && workers.some((_, i) => !isUp(i + 1)))
        await new Promise((resolve) => setTimeout(resolve, 1));
    },
    close: async () => {
      if (!open) return;
      open = false;
      await Promise.all(
        workers.map(async (worker, i) => {
          if (isUp(i + 1)) post(i + 1, STOP, []);
          await worker.terminate();
        }),
      );
    },
  };
}
