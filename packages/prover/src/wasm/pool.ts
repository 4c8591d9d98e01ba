/**
 * Threads over one memory. A job is one kernel over a range of units, cut into chunks; this thread and the others take one
 * chunk after another, and the call returns when all are done: a thread that the machine has no time for holds up one
 * chunk, not its share. Kernels compute exact sums in a field, so neither cuts nor order ever show in a result.
 *
 * Threads look out for jobs for some microseconds, then sleep. They do not keep the process alive.
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

/**
 * The board that threads read jobs from, in words. `next` holds the job's number (16 bits), its count of chunks and the
 * next chunk (8 bits each): whoever adds one owns the chunk that was there, if it is below the count, and the job's
 * entries do not change before that chunk is counted as done.
 */
export const BOARD = {
  posted: 0,
  next: 1,
  done: 2,
  failed: 3,
  stop: 4,
  up: 8,
  entries: 128,
  words: 8192,
} as const;
/** Words of an entry: kernel, count of arguments, arguments. */
export const ENTRY_WORDS = 64;
const CHUNKS_MAX = 96;
const CHUNKS_PER_THREAD = 4;

/** Below this much work (blocks of four elements, roughly) a job stays on this thread. */
const PARALLEL_WORK = 2048;
const THREADS_MAX = 64;

/** Constants of the module lie below; then results of each chunk and each thread's working memory. */
const CONSTANT_BYTES = 16384;
const RESULT_BYTES = 4096;
const SCRATCH_BYTES = 65536;

/** Looks before sleeping: some microseconds. */
const SPINS = 2000;
const JOB_TIMEOUT_MS = 120_000;

export interface ThreadData {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  readonly board: Int32Array;
  readonly thread: number;
  readonly scratch: number;
}

export interface KernelPool {
  readonly heap: SharedHeap;
  /** For calls on this thread. */
  readonly kernels: Kernels;
  readonly threads: number;
  /** Where chunk `chunk` leaves small results: RESULT_BYTES. */
  readonly resultsOf: (chunk: number) => number;
  /**
   * Runs a kernel over units 0 to `units`, `args` giving the arguments for a chunk. `work` is the job's size in blocks of
   * four elements, `units` unless given. Returns the number of chunks.
   */
  readonly run: (
    kernel: KernelName,
    units: number,
    args: (from: number, to: number, chunk: number) => readonly number[],
    work?: number,
  ) => number;
  /** Resolves when all threads look out for jobs. Until then jobs run on those that do. */
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
  const scratchAt = resultsAt + CHUNKS_MAX * RESULT_BYTES;
  const heap = createSharedHeap(scratchAt + threads * SCRATCH_BYTES);
  const module = compileKernels();
  const kernels = instantiateKernels(module, heap.memory, scratchAt);
  const board = new Int32Array(new SharedArrayBuffer(4 * BOARD.words));
  const workers = Array.from({ length: threads - 1 }, (_, i) => startWorker(i + 1));
  let open = true;
  let job = 0;

  function startWorker(thread: number): Worker {
    const scratch = scratchAt + thread * SCRATCH_BYTES;
    const workerData: ThreadData = { module, memory: heap.memory, board, thread, scratch };
    // Flags of this process are not the threads' (`--input-type` would even stop them).
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData, execArgv: [] });
    worker.unref();
    return worker;
  }

  function post(kernel: number, chunks: readonly (readonly number[])[]): void {
    for (const [chunk, args] of chunks.entries()) {
      const entry = BOARD.entries + chunk * ENTRY_WORDS;
      board[entry] = kernel;
      board[entry + 1] = args.length;
      for (let i = 0; i < args.length; i++) board[entry + 2 + i] = args[i] as number;
    }
    job = (job + 1) & 0xffff;
    Atomics.store(board, BOARD.done, 0);
    Atomics.store(board, BOARD.next, (job << 16) | (chunks.length << 8));
    Atomics.add(board, BOARD.posted, 1);
    Atomics.notify(board, BOARD.posted);
  }

  /** Takes chunks like any other thread, then waits for those that others took. */
  function finish(name: KernelName, chunks: readonly (readonly number[])[]): void {
    for (;;) {
      const chunk = Atomics.add(board, BOARD.next, 1) & 0xff;
      if (chunk >= chunks.length) break;
      kernels[name](...(chunks[chunk] as readonly number[]));
      Atomics.add(board, BOARD.done, 1);
    }
    for (let spin = 0; ; spin++) {
      const done = Atomics.load(board, BOARD.done);
      if (done === chunks.length) break;
      if (spin < SPINS) continue;
      if (Atomics.wait(board, BOARD.done, done, JOB_TIMEOUT_MS) === 'timed-out') {
        throw new Error('a thread of the prover does not answer');
      }
    }
    if (Atomics.load(board, BOARD.failed) !== 0) throw new Error('a kernel failed on a thread of the prover');
  }

  return {
    heap,
    kernels,
    threads,
    resultsOf: (chunk) => resultsAt + chunk * RESULT_BYTES,
    run: (name, units, args, work = units) => {
      const count = Math.min(units, CHUNKS_PER_THREAD * threads, CHUNKS_MAX);
      if (threads === 1 || count < 2 || work < parallelWork || !open) {
        kernels[name](...args(0, units, 0));
        return 1;
      }
      const cut = (chunk: number): number => Math.floor((units * chunk) / count);
      const chunks = Array.from({ length: count }, (_, chunk) => args(cut(chunk), cut(chunk + 1), chunk));
      post(KERNEL_NAMES.indexOf(name), chunks);
      finish(name, chunks);
      return count;
    },
    ready: async () => {
      const isUp = (i: number): boolean => Atomics.load(board, BOARD.up + i + 1) === 1;
      while (open && !workers.every((_, i) => isUp(i))) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
    close: async () => {
      if (!open) return;
      open = false;
      Atomics.store(board, BOARD.stop, 1);
      Atomics.add(board, BOARD.posted, 1);
      Atomics.notify(board, BOARD.posted);
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
