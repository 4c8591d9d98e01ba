import { setImmediate as nextTurn } from 'node:timers/promises';
import { sha256, toHex } from '@haca/primitives';
import type { Application, CheckTxResponse } from '../abci.ts';

export interface MempoolLimits {
  readonly txs: number;
  readonly bytes: number;
  readonly txBytes: number;
  /** Hashes of transactions seen before, so that the same bytes are not checked over and over. */
  readonly cache: number;
}

export const MEMPOOL_LIMITS: MempoolLimits = {
  txs: 5_000,
  bytes: 64 * 1024 * 1024,
  txBytes: 1024 * 1024,
  cache: 10_000,
};

/** The mempool does not even ask the application. Messages are CometBFT's: clients match on them. */
export class MempoolError extends Error {
  override readonly name = 'MempoolError';
  readonly code: 'in-cache' | 'full' | 'too-large';

  constructor(code: MempoolError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** First in, first out, as CometBFT's; order and priority are the application's business when a block is proposed. */
export interface Mempool {
  readonly size: () => number;
  readonly sizeBytes: () => number;
  /**
   * Waits for a recheck to end, so that what waits is asked about before what is new. Rejects with `MempoolError`; a refusal
   * by the application is an answer with a code.
   */
  readonly add: (tx: Uint8Array) => Promise<CheckTxResponse>;
  readonly txs: () => readonly Uint8Array[];
  /** Takes out what a block included, at once; then asks the application again about everything left, a slice at a time. */
  readonly update: (
    included: readonly { readonly tx: Uint8Array; readonly isApplied: boolean }[],
  ) => Promise<void>;
}

/** Rechecking a full mempool takes a while: between slices of this length the process does other things. */
const RECHECK_SLICE_MS = 5;

export function createMempool(
  checkTx: Application['checkTx'],
  limits: MempoolLimits = MEMPOOL_LIMITS,
): Mempool {
  const waiting = new Map<string, Uint8Array>();
  const seen = new Set<string>();
  let sizeBytes = 0;
  let rechecking: Promise<void> | null = null;

  const remember = (name: string): void => {
    seen.add(name);
    if (seen.size <= limits.cache) return;
    for (const oldest of seen) {
      seen.delete(oldest);
      return;
    }
  };
  const remove = (name: string): void => {
    sizeBytes -= waiting.get(name)?.length ?? 0;
    waiting.delete(name);
  };

  const recheck = async (): Promise<void> => {
    let sliceStart = performance.now();
    for (const [name, tx] of [...waiting]) {
      if (performance.now() - sliceStart >= RECHECK_SLICE_MS) {
        await nextTurn();
        sliceStart = performance.now();
      }
      if (checkTx(tx, 'recheck').code === 0) continue;
      remove(name);
      seen.delete(name);
    }
  };

  return {
    size: () => waiting.size,
    sizeBytes: () => sizeBytes,
    txs: () => [...waiting.values()],
    add: async (tx) => {
      while (rechecking !== null) await rechecking;
      if (tx.length > limits.txBytes) {
        throw new MempoolError(
          'too-large',
          `Tx too large. Max size is ${limits.txBytes}, but got ${tx.length}`,
        );
      }
      const name = toHex(sha256(tx));
      // What waits is known however many others were seen since.
      if (seen.has(name) || waiting.has(name))
        throw new MempoolError('in-cache', 'tx already exists in cache');
      if (waiting.size >= limits.txs || sizeBytes + tx.length > limits.bytes) {
        const got = `number of txs ${waiting.size} (max: ${limits.txs}), total txs bytes ${sizeBytes} (max: ${limits.bytes})`;
        throw new MempoolError('full', `mempool is full: ${got}`);
      }
      const response = checkTx(tx, 'new');
      if (response.code === 0) {
        remember(name);
        waiting.set(name, tx);
        sizeBytes += tx.length;
      }
      return response;
    },
    update: async (included) => {
      for (const { tx, isApplied } of included) {
        const name = toHex(sha256(tx));
        remove(name);
        // A transaction that was applied can't be again; one that failed may be sent again.
        if (isApplied) remember(name);
        else seen.delete(name);
      }
      rechecking = recheck();
      try {
        await rechecking;
      } finally {
        rechecking = null;
      }
    },
  };
}
