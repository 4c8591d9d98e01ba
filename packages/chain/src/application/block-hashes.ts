/** Hashes of the newest blocks, which execution may ask for: from memory, else from the store. */
import type { Store } from '../storage/index.ts';
import { decodeBlockResults } from './block-results.ts';

export interface BlockHashes {
  /** Undefined for heights before the first block and below the oldest that is stored. */
  readonly at: (height: number) => Uint8Array | undefined;
  /** Of the newest block; the `window` before it stay in memory. */
  readonly add: (height: number, hash: Uint8Array, window: number) => void;
  readonly clear: () => void;
}

export function createBlockHashes(store: Store): BlockHashes {
  const known = new Map<number, Uint8Array>();
  return {
    at: (height) => {
      const hash = known.get(height);
      if (hash !== undefined || height < 1 || height > store.latestHeight()) return hash;
      const bytes = store.resultsAt(height);
      if (bytes === undefined || bytes.length === 0) {
        // A node that does not know what others know must not go on as if there were nothing to know.
        if (height >= store.baseHeight()) throw new Error(`the store has lost the hash of block ${height}`);
        return undefined;
      }
      const { blockHash } = decodeBlockResults(bytes);
      known.set(height, blockHash);
      return blockHash;
    },
    add: (height, hash, window) => {
      known.set(height, hash);
      known.delete(height - window - 1);
      if (known.size > 2 * window + 2)
        for (const old of known.keys()) if (old < height - window) known.delete(old);
    },
    clear: () => known.clear(),
  };
}
