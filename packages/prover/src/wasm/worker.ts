/** One thread of the prover: runs the kernels that its mailbox names. */
import { workerData } from 'node:worker_threads';
import { instantiateKernels, KERNEL_NAMES, type Kernel } from './kernels.ts';
import { MAILBOX, STOP, type ThreadData } from './pool.ts';

const SPINS = 20_000;

serve(workerData as ThreadData);

function serve({ module, memory, mailboxes, thread, scratch }: ThreadData): void {
  const instance = instantiateKernels(module, memory, scratch);
  const kernels: readonly Kernel[] = KERNEL_NAMES.map((name) => instance[name]);
  const base = thread * MAILBOX.words;
  Atomics.store(mailboxes, base + MAILBOX.done, 0);
  for (let seen = 0; ; ) {
    seen = nextJob(mailboxes, base, seen);
    const kernel = mailboxes[base + MAILBOX.kernel] as number;
    if (kernel === STOP) return;
    const from = base + MAILBOX.args;
    const args = mailboxes.subarray(from, from + (mailboxes[base + MAILBOX.count] as number));
    try {
      (kernels[kernel] as Kernel)(...args);
    } catch {
      mailboxes[base + MAILBOX.failed] = 1;
    }
    Atomics.store(mailboxes, base + MAILBOX.done, seen);
    Atomics.notify(mailboxes, base + MAILBOX.done);
  }
}

/** The number of the next job, as soon as it is posted. */
function nextJob(mailboxes: Int32Array, base: number, seen: number): number {
  for (let spin = 0; ; spin++) {
    const posted = Atomics.load(mailboxes, base + MAILBOX.posted);
    if (posted !== seen) return posted;
    if (spin >= SPINS) Atomics.wait(mailboxes, base + MAILBOX.posted, seen);
  }
}
