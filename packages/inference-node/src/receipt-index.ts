/**
 * Where each receipt of a key lies in its log, and what it is called: 40 bytes for every receipt, and names for the newest
 * `NAMES_MAX` of them. The receipts themselves stay on disk.
 */
import { toHex } from '@haca/primitives';

export interface ReceiptIndex {
  readonly add: (id: string, hash: Uint8Array) => void;
  readonly place: (seq: number, place: number) => void;
  readonly count: () => number;
  readonly hashAt: (seq: number) => Uint8Array;
  /** Undefined until the receipt is on disk. */
  readonly placeOf: (seq: number) => number | undefined;
  /** By receipt id or receipt hash in hex. */
  readonly seqOf: (idOrHash: string) => number | undefined;
}

const HASH_BYTES = 32;
const CHUNK = 8_192;
export const NAMES_MAX = 1_000_000;

interface Chunk {
  readonly hashes: Uint8Array;
  /** Zero where not known: the file's mark lies there. */
  readonly places: Float64Array;
}

export function openReceiptIndex(namesMax = NAMES_MAX): ReceiptIndex {
  const chunks: Chunk[] = [];
  const names = new Map<string, number>();
  let count = 0;
  const chunkOf = (seq: number): Chunk => chunks[Math.floor((seq - 1) / CHUNK)] as Chunk;
  const offsetOf = (seq: number): number => (seq - 1) % CHUNK;
  const hashAt = (seq: number): Uint8Array => {
    const start = offsetOf(seq) * HASH_BYTES;
    return chunkOf(seq).hashes.subarray(start, start + HASH_BYTES);
  };
  return {
    add: (id, hash) => {
      if (count % CHUNK === 0) {
        chunks.push({ hashes: new Uint8Array(CHUNK * HASH_BYTES), places: new Float64Array(CHUNK) });
      }
      count++;
      chunkOf(count).hashes.set(hash, offsetOf(count) * HASH_BYTES);
      names.set(id, count).set(toHex(hash), count);
      // Names are in order of their making: the first are the oldest.
      for (const name of names.keys()) {
        if (names.size <= 2 * namesMax) break;
        names.delete(name);
      }
    },
    place: (seq, place) => {
      chunkOf(seq).places[offsetOf(seq)] = place;
    },
    count: () => count,
    hashAt,
    placeOf: (seq) => (seq < 1 || seq > count ? undefined : chunkOf(seq).places[offsetOf(seq)] || undefined),
    seqOf: (idOrHash) => names.get(idOrHash),
  };
}
