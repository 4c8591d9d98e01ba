/** One thread of the prover: takes chunks of the jobs on the board. */
import { workerData } from 'node:worker_threads';
import { instantiateKernels, KERNEL_NAMES, type Kernel } from './kernels.ts';
import { BOARD, ENTRY_WORDS, type ThreadData } from './pool.ts';

/** Looks before sleeping: about as long as a prover takes from one job to the next. */
const SPINS = 20_000;

serve(workerData as ThreadData);

function serve({ module, memory, board, thread, scratch }: ThreadData): void {
  const instance = instantiateKernels(module, memory, scratch);
  const kernels: readonly Kernel[] = KERNEL_NAMES.map((name) => instance[name]);
  Atomics.store(board, BOARD.up + thread, 1);
  for (let seen = 0; ; ) {
    seen = nextJob(board, seen);
    if (Atomics.load(board, BOARD.stop) !== 0) return;
    takeChunks(board, kernels);
  }
}

function takeChunks(board: Int32Array, kernels: readonly Kernel[]): void {
  for (;;) {
    const next = Atomics.add(board, BOARD.next, 1);
    const chunk = next & 0xff;
    if (chunk >= ((next >>> 8) & 0xff)) return;
    const entry = BOARD.entries + chunk * ENTRY_WORDS;
    const args = board.subarray(entry + 2, entry + 2 + (board[entry + 1] as number));
    try {
      (kernels[board[entry] as number] as Kernel)(...args);
    } catch {
      Atomics.store(board, BOARD.failed, 1);
    }
    Atomics.add(board, BOARD.done, 1);
    Atomics.notify(board, BOARD.done);
  }
}

/** The count of jobs posted, as soon as it is another. */
function nextJob(board: Int32Array, seen: number): number {
  for (let spin = 0; ; spin++) {
    const posted = Atomics.load(board, BOARD.posted);
    if (posted !== seen) return posted;
    if (spin >= SPINS) Atomics.wait(board, BOARD.posted, seen);
  }
}
