/**
 * Format 1 of a snapshot: the entries of a state in the order of their paths, cut into chunks, each with a proof of its last
 * entry. Whoever holds the chunks before can tell by that proof, against the app hash alone, that a chunk has exactly the
 * entries it should. Normative in spec/snapshots.md.
 */
import {
  decodeStoreProof,
  STORE_KEY_BYTES_MAX,
  STORE_PROOF_BYTES_MAX,
  STORE_VALUE_BYTES_MAX,
} from '@haca/light-client';
import { concatBytes, domainHash, MalformedError } from '@haca/primitives';

export const SNAPSHOT_FORMAT = 1;
/** Most bytes of the entries of one chunk. */
export const CHUNK_ENTRY_BYTES = 4 << 20;
const CHUNK_HEAD_BYTES = 8;
export const CHUNK_BYTES_MAX = CHUNK_HEAD_BYTES + STORE_PROOF_BYTES_MAX + CHUNK_ENTRY_BYTES;
/** Most chunks of a snapshot: a state of 16 GiB. */
export const CHUNKS_MAX = 4_096;
const ENTRY_HEAD_BYTES = 6;
const HASH_BYTES = 32;

export type Entry = readonly [key: Uint8Array, value: Uint8Array];

export interface Metadata {
  readonly appHash: Uint8Array;
  /** SHA-256 of each chunk, in order. */
  readonly chunkHashes: readonly Uint8Array[];
}

export interface Chunk {
  /** Encoded store proof of the last entry in the whole state. */
  readonly proof: Uint8Array;
  /** At least one. */
  readonly entries: readonly Entry[];
}

/** SNAP-2. */
export function encodeMetadata({ appHash, chunkHashes }: Metadata): Uint8Array {
  return concatBytes(appHash, ...chunkHashes);
}

/** Throws `MalformedError` where these are not the metadata of `chunks` chunks. */
export function decodeMetadata(bytes: Uint8Array, chunks: number): Metadata {
  const fail = (expected: string, got: string): never => {
    throw new MalformedError('snapshot.metadata', 'metadata', expected, got);
  };
  if (!Number.isSafeInteger(chunks) || chunks < 1 || chunks > CHUNKS_MAX)
    fail(`1 to ${CHUNKS_MAX} chunks`, `${chunks}`);
  if (bytes.length !== HASH_BYTES * (1 + chunks))
    fail(`${HASH_BYTES * (1 + chunks)} bytes`, `${bytes.length}`);
  const hashAt = (index: number) => bytes.slice(HASH_BYTES * index, HASH_BYTES * (index + 1));
  return { appHash: hashAt(0), chunkHashes: Array.from({ length: chunks }, (_, i) => hashAt(i + 1)) };
}

/** SNAP-3: names a snapshot. */
export function snapshotHash(height: number, metadata: Uint8Array): Uint8Array {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setBigUint64(0, BigInt(height));
  return domainHash('haca/snapshot/1', concatBytes(head, metadata));
}

/** Gathers entries and cuts them into chunks; never holds more than one chunk. All nodes must cut at the same size. */
export function createChunker(chunkEntryBytes = CHUNK_ENTRY_BYTES) {
  const buffer = new Uint8Array(CHUNK_ENTRY_BYTES);
  const view = new DataView(buffer.buffer);
  let offset = 0;
  let count = 0;
  let last: Entry | null = null;
  return {
    /** The newest entry added since the last cut, or null. */
    last: (): Entry | null => last,
    /** False where the entry belongs to the next chunk. */
    add: (entry: Entry): boolean => {
      const [key, value] = entry;
      const end = offset + ENTRY_HEAD_BYTES + key.length + value.length;
      if (count > 0 && end > chunkEntryBytes) return false;
      view.setUint16(offset, key.length);
      view.setUint32(offset + 2, value.length);
      buffer.set(key, offset + ENTRY_HEAD_BYTES);
      buffer.set(value, end - value.length);
      offset = end;
      count++;
      last = entry;
      return true;
    },
    /** The chunk of the entries since the last cut, given the proof of the last one. */
    cut: (proof: Uint8Array): Uint8Array => {
      const chunk = new Uint8Array(CHUNK_HEAD_BYTES + proof.length + offset);
      const head = new DataView(chunk.buffer);
      head.setUint32(0, proof.length);
      head.setUint32(4, count);
      chunk.set(proof, CHUNK_HEAD_BYTES);
      chunk.set(buffer.subarray(0, offset), CHUNK_HEAD_BYTES + proof.length);
      [offset, count, last] = [0, 0, null];
      return chunk;
    },
  };
}

/** The parts of a chunk, views into `bytes`. Throws `MalformedError` on anything but one encoding of 1 entry or more. */
export function decodeChunk(bytes: Uint8Array): Chunk {
  const fail = (expected: string, got: string): never => {
    throw new MalformedError('snapshot.chunk', 'chunk', expected, got);
  };
  if (bytes.length < CHUNK_HEAD_BYTES || bytes.length > CHUNK_BYTES_MAX)
    fail(`${CHUNK_HEAD_BYTES} to ${CHUNK_BYTES_MAX} bytes`, `${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const proofBytes = view.getUint32(0);
  const count = view.getUint32(4);
  let offset = CHUNK_HEAD_BYTES + proofBytes;
  if (offset > bytes.length) fail('a whole proof', `${proofBytes} bytes of ${bytes.length}`);
  const proof = bytes.subarray(CHUNK_HEAD_BYTES, offset);
  decodeStoreProof(proof, 'chunk.proof');
  if (bytes.length - offset > CHUNK_ENTRY_BYTES)
    fail(`at most ${CHUNK_ENTRY_BYTES} bytes of entries`, `${bytes.length - offset}`);
  const entries: Entry[] = [];
  while (offset < bytes.length) {
    if (bytes.length - offset < ENTRY_HEAD_BYTES) fail('a whole entry', 'one cut short');
    const keyBytes = view.getUint16(offset);
    const valueBytes = view.getUint32(offset + 2);
    const keyAt = offset + ENTRY_HEAD_BYTES;
    if (keyBytes < 1 || keyBytes > STORE_KEY_BYTES_MAX || valueBytes > STORE_VALUE_BYTES_MAX)
      fail('an entry that can be in a state', `${keyBytes} and ${valueBytes} bytes`);
    offset = keyAt + keyBytes + valueBytes;
    if (offset > bytes.length) fail('a whole entry', 'one cut short');
    entries.push([bytes.subarray(keyAt, keyAt + keyBytes), bytes.subarray(keyAt + keyBytes, offset)]);
  }
  if (entries.length === 0 || entries.length !== count) fail(`${count} entries`, `${entries.length}`);
  return { proof, entries };
}
