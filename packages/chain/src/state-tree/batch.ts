import { STORE_KEY_BYTES_MAX, STORE_VALUE_BYTES_MAX } from '@haca/light-client';
import { UsageError } from '@haca/primitives';
import { HASH_WORDS, hashBytes } from './sha256-words.ts';

/** One key's new value; null removes the key, whether it is there or not. */
export type Change = readonly [key: Uint8Array, value: Uint8Array | null];

/** Changes of at most this number are applied at once: index and first hash word share the 53 bits of a float. */
export const BATCH_CHANGES_MAX = 1 << 20;

/** Changes in the order of their key hashes. */
export interface SortedBatch {
  readonly changes: readonly Change[];
  /** Eight words for each change, in the order of `changes`. */
  readonly keyHashes: Int32Array;
  /** Indices into `changes`. */
  readonly order: Uint32Array;
}

/** Hashes and sorts; throws `UsageError` where a key comes twice or a size is out of bounds. */
export function sortBatch(changes: readonly Change[]): SortedBatch {
  if (changes.length > BATCH_CHANGES_MAX) {
    throw new UsageError(`${changes.length} changes in one batch, at most ${BATCH_CHANGES_MAX}`);
  }
  const keyHashes = new Int32Array(HASH_WORDS * changes.length);
  const sortKeys = new Float64Array(changes.length);
  for (let i = 0; i < changes.length; i++) {
    const [key, value] = changes[i] as Change;
    requireSizes(key, value);
    hashBytes(key, keyHashes, HASH_WORDS * i);
    sortKeys[i] = ((keyHashes[HASH_WORDS * i] as number) >>> 0) * BATCH_CHANGES_MAX + i;
  }
  sortKeys.sort();
  const order = Uint32Array.from(sortKeys, (key) => key % BATCH_CHANGES_MAX);
  sortTies(keyHashes, order);
  return { changes, keyHashes, order };
}

export function requireSizes(key: Uint8Array, value: Uint8Array | null): void {
  if (key.length < 1 || key.length > STORE_KEY_BYTES_MAX) {
    throw new UsageError(`a key of ${key.length} bytes; 1 to ${STORE_KEY_BYTES_MAX} are allowed`);
  }
  if (value !== null && value.length > STORE_VALUE_BYTES_MAX) {
    throw new UsageError(`a value of ${value.length} bytes; at most ${STORE_VALUE_BYTES_MAX} are allowed`);
  }
}

/** The order is right by the first word; where that is equal, by the others. Equal hashes are equal keys. */
function sortTies(keyHashes: Int32Array, order: Uint32Array): void {
  for (let i = 1; i < order.length; i++) {
    for (let j = i; j > 0; j--) {
      const difference = compareHashes(keyHashes, order[j - 1] as number, order[j] as number);
      if (difference === 0) throw new UsageError('a key comes twice in one batch');
      if (difference < 0) break;
      const swapped = order[j] as number;
      order[j] = order[j - 1] as number;
      order[j - 1] = swapped;
    }
  }
}

function compareHashes(keyHashes: Int32Array, a: number, b: number): number {
  for (let i = 0; i < HASH_WORDS; i++) {
    const difference =
      ((keyHashes[HASH_WORDS * a + i] as number) >>> 0) - ((keyHashes[HASH_WORDS * b + i] as number) >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
