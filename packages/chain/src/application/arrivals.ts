/**
 * Transactions with heavy evidence, verified when they arrive: one at a time, between other work. Only a proposer waits for
 * it, by leaving out what is not verified yet; nothing here can refuse a transaction or change a result.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

export interface ArrivalLimits {
  /** Transactions waiting to be verified, and their bytes. Above it they are asked for again when a block is proposed. */
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Names of verified transactions that are remembered. */
  readonly ready: number;
}

export const ARRIVAL_LIMITS: ArrivalLimits = { waiting: 512, waitingBytes: 8 * 1024 * 1024, ready: 4_096 };

export interface Arrivals {
  /** Queues the transaction unless it is ready, waiting, or there is no room. Answers at once. */
  readonly add: (hash: string, tx: Uint8Array) => void;
  /** All its checks have verdicts, good or bad. */
  readonly isReady: (hash: string) => boolean;
}

/** `verify` resolves when everything the transaction needs verified has a verdict. */
export function createArrivals(
  verify: (tx: Uint8Array) => Promise<unknown>,
  limits: ArrivalLimits = ARRIVAL_LIMITS,
): Arrivals {
  const waiting = new Map<string, Uint8Array>();
  const ready = new Set<string>();
  let waitingBytes = 0;
  let isRunning = false;

  const remember = (hash: string): void => {
    ready.add(hash);
    if (ready.size <= limits.ready) return;
    for (const oldest of ready) {
      ready.delete(oldest);
      return;
    }
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    for (const [hash, tx] of waiting) {
      await nextTurn();
      // What can't be verified now gets no verdict: it is asked for again, and in a block it stops the process.
      const isVerified = await verify(tx).then(
        () => true,
        () => false,
      );
      if (isVerified) remember(hash);
      waiting.delete(hash);
      waitingBytes -= tx.length;
    }
    isRunning = false;
  };

  return {
    add: (hash, tx) => {
      if (ready.has(hash) || waiting.has(hash)) return;
      if (waiting.size >= limits.waiting || waitingBytes + tx.length > limits.waitingBytes) return;
      waiting.set(hash, tx);
      waitingBytes += tx.length;
      if (!isRunning) void run();
    },
    isReady: (hash) => ready.has(hash),
  };
}
