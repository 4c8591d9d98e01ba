/** How block records lie in the store: fixed-width big-endian lengths in front of opaque bytes. */
import type { Change } from '../state-tree/index.ts';
import { StorageCorruptError } from './errors.ts';

export interface StoredBlock {
  readonly appHash: Uint8Array;
  /** As the engine encodes it; empty where CometBFT keeps the blocks. So are results and commit. */
  readonly block: Uint8Array;
  readonly results: Uint8Array;
  readonly commit: Uint8Array;
  /** 32 bytes each, in the order of the block. */
  readonly txHashes: readonly Uint8Array[];
}

const TX_HASH_BYTES = 32;
const REMOVED = 0xffffffff;

/** Eight bytes, so that byte order is numerical order. */
export function heightKey(height: number): Uint8Array {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setBigUint64(0, BigInt(height));
  return key;
}

export function heightOfKey(key: Uint8Array): number {
  return Number(viewOf(key).getBigUint64(0));
}

export function encodeStoredBlock({ appHash, block, results, commit, txHashes }: StoredBlock): Uint8Array {
  const parts = [appHash, block, results, commit];
  const lengthBytes = parts.reduce((sum, part) => sum + 4 + part.length, 4 + TX_HASH_BYTES * txHashes.length);
  const bytes = new Uint8Array(lengthBytes);
  const view = viewOf(bytes);
  let offset = 0;
  for (const part of parts) {
    view.setUint32(offset, part.length);
    bytes.set(part, offset + 4);
    offset += 4 + part.length;
  }
  view.setUint32(offset, txHashes.length);
  offset += 4;
  for (const hash of txHashes) {
    bytes.set(hash, offset);
    offset += TX_HASH_BYTES;
  }
  return bytes;
}

/** Parts of a stored block, without copying them. */
export function decodeStoredBlock(bytes: Uint8Array): StoredBlock {
  const read = readerOf(bytes);
  const [appHash, block, results, commit] = [0, 0, 0, 0].map(() => read.bytes(read.uint32()));
  const count = read.uint32();
  const txHashes = Array.from({ length: count }, () => read.bytes(TX_HASH_BYTES));
  read.end();
  return { appHash, block, results, commit, txHashes } as StoredBlock;
}

export function encodeChanges(changes: readonly Change[]): Uint8Array {
  let sizeBytes = 4;
  for (const [key, value] of changes) sizeBytes += 8 + key.length + (value?.length ?? 0);
  const bytes = new Uint8Array(sizeBytes);
  const view = viewOf(bytes);
  view.setUint32(0, changes.length);
  let offset = 4;
  for (const [key, value] of changes) {
    view.setUint32(offset, key.length);
    view.setUint32(offset + 4, value === null ? REMOVED : value.length);
    bytes.set(key, offset + 8);
    offset += 8 + key.length;
    if (value === null) continue;
    bytes.set(value, offset);
    offset += value.length;
  }
  return bytes;
}

/** The changes without copying them: views into `bytes`. */
export function decodeChanges(bytes: Uint8Array): Change[] {
  const read = readerOf(bytes);
  const changes: Change[] = [];
  for (let left = read.uint32(); left > 0; left--) {
    const keyBytes = read.uint32();
    const valueBytes = read.uint32();
    const key = read.bytes(keyBytes);
    changes.push([key, valueBytes === REMOVED ? null : read.bytes(valueBytes)]);
  }
  read.end();
  return changes;
}

export interface TxPlace {
  readonly height: number;
  readonly index: number;
}

export function encodeTxPlace({ height, index }: TxPlace): Uint8Array {
  const bytes = new Uint8Array(12);
  bytes.set(heightKey(height));
  viewOf(bytes).setUint32(8, index);
  return bytes;
}

export function decodeTxPlace(bytes: Uint8Array): TxPlace {
  return { height: heightOfKey(bytes), index: viewOf(bytes).getUint32(8) };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function readerOf(bytes: Uint8Array) {
  const view = viewOf(bytes);
  let offset = 0;
  const advance = (count: number): number => {
    if (count > bytes.length - offset)
      throw new StorageCorruptError('storage.record', 'a record is cut short');
    offset += count;
    return offset - count;
  };
  return {
    uint32: () => view.getUint32(advance(4)),
    bytes: (count: number) => {
      const start = advance(count);
      return bytes.subarray(start, start + count);
    },
    end: () => {
      if (offset !== bytes.length) throw new StorageCorruptError('storage.record', 'a record is too long');
    },
  };
}
