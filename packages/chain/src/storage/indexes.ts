/**
 * Indexes of transactions by hash and of transactions by event, written behind commits with a height of their own. What is
 * in them follows from the block records, so they can be made anew at any time.
 */
import { hash } from 'node:crypto';
import {
  decodeStoredBlock,
  decodeTxPlace,
  encodeTxPlace,
  heightKey,
  heightOfKey,
  type StoredBlock,
  type TxPlace,
} from './records.ts';
import { copyOf, firstHeight, INDEX_HEIGHT_KEY, type Tables } from './tables.ts';

/** Event tags of one block's results, each with the places of the transactions it is found by, ascending. */
export type EventTags = (results: Uint8Array) => ReadonlyMap<string, readonly number[]>;

/** A block in which a tag occurs, and at which places. */
export interface EventRow {
  readonly height: number;
  readonly indexes: readonly number[];
}

const TAG_BYTES = 12;
const HEIGHT_BYTES = 8;
/** Which indexes there are; of another number, should tags be made otherwise one day. */
const KIND_TXS = 1;
const KIND_EVENTS = 2;
/** One write holds at most about this much of blocks and results. */
const GROUP_BYTES = 1 << 20;
const GROUP_HEIGHTS = 64;

export interface Indexes {
  /** Up to here they are complete; of events, where there are tags for them. */
  readonly height: () => number;
  readonly hasEvents: boolean;
  readonly place: (txHash: Uint8Array) => TxPlace | undefined;
  /** Writes the next group of blocks up to `latest`; gives the new height. */
  readonly advance: (latest: number) => Promise<number>;
  /** Forgets everything, to be made anew from the first block kept. */
  readonly clear: () => Promise<void>;
  /** Takes out what one block put in; within a write. */
  readonly drop: (height: number, block: StoredBlock) => void;
  /** Rows of a tag within heights, the newest first. */
  readonly rows: (tag: string, first: number, last: number) => Iterable<EventRow>;
  readonly rowAt: (tag: string, height: number) => EventRow | undefined;
  /** How many rows a tag has within heights, counted up to `limit`. */
  readonly countRows: (tag: string, first: number, last: number, limit: number) => number;
}

export function openIndexes(tables: Tables, eventTags: EventTags | undefined): Indexes {
  const { blocks, txs, events, meta } = tables;
  const kind = eventTags === undefined ? KIND_TXS : KIND_EVENTS;
  let indexed = indexedBefore() ?? Math.max(0, firstHeight(blocks) - 1);

  /** What was indexed without events, or otherwise than now, has to be indexed again. */
  function indexedBefore(): number | undefined {
    const bytes = meta.get(INDEX_HEIGHT_KEY);
    return bytes === undefined || bytes[HEIGHT_BYTES] !== kind ? undefined : heightOfKey(bytes);
  }

  const tagsOf = (results: Uint8Array): ReadonlyMap<string, readonly number[]> =>
    eventTags === undefined || results.length === 0 ? new Map() : eventTags(results);

  const range = (tag: string, first: number, last: number) => {
    const prefix = tagHash(tag);
    // Reverse ranges begin at the start, that is at the higher key, and leave the end out.
    return { start: rowKey(prefix, last), end: rowKey(prefix, Math.max(0, first - 1)), reverse: true };
  };

  async function advance(latest: number): Promise<number> {
    const from = indexed + 1;
    const group: (readonly [height: number, block: StoredBlock])[] = [];
    let sizeBytes = 0;
    let upTo = indexed;
    while (upTo < latest && group.length < GROUP_HEIGHTS && sizeBytes < GROUP_BYTES) {
      const bytes = blocks.get(heightKey(++upTo));
      if (bytes === undefined) continue;
      const block = decodeStoredBlock(copyOf(bytes));
      group.push([upTo, block]);
      sizeBytes += bytes.length;
    }
    if (upTo < from) return indexed;
    await txs.batch(() => {
      for (const [height, block] of group) {
        block.txHashes.forEach((txHash, index) => {
          txs.put(txHash, encodeTxPlace({ height, index }));
        });
        for (const [tag, indexes] of tagsOf(block.results))
          events.put(rowKey(tagHash(tag), height), encodeIndexes(indexes));
      }
      meta.put(INDEX_HEIGHT_KEY, Uint8Array.of(...heightKey(upTo), kind));
    });
    indexed = upTo;
    return indexed;
  }

  return {
    height: () => indexed,
    hasEvents: eventTags !== undefined,
    place: (txHash) => {
      const bytes = txHash.length === 32 ? txs.get(txHash) : undefined;
      return bytes === undefined ? undefined : decodeTxPlace(bytes);
    },
    advance,
    clear: async () => {
      await meta.remove(INDEX_HEIGHT_KEY);
      await txs.clearAsync();
      await events.clearAsync();
      indexed = Math.max(0, firstHeight(blocks) - 1);
    },
    drop: (height, block) => {
      for (const txHash of block.txHashes) {
        const place = txs.get(txHash);
        // A transaction included again higher up stays.
        if (place !== undefined && decodeTxPlace(place).height === height) txs.remove(txHash);
      }
      for (const tag of tagsOf(block.results).keys()) events.remove(rowKey(tagHash(tag), height));
    },
    *rows(tag, first, last) {
      for (const { key, value } of events.getRange(range(tag, first, last)))
        yield { height: heightOfKey(key.subarray(TAG_BYTES)), indexes: decodeIndexes(value) };
    },
    rowAt: (tag, height) => {
      const bytes = events.get(rowKey(tagHash(tag), height));
      return bytes === undefined ? undefined : { height, indexes: decodeIndexes(bytes) };
    },
    countRows: (tag, first, last, limit) => [...events.getKeys({ ...range(tag, first, last), limit })].length,
  };
}

/** Tags are kept by hash: two with the same one would share rows, so whoever reads rows looks at the events as well. */
function tagHash(tag: string): Uint8Array {
  return hash('sha256', tag, 'buffer').subarray(0, TAG_BYTES);
}

function rowKey(prefix: Uint8Array, height: number): Uint8Array {
  const key = new Uint8Array(TAG_BYTES + HEIGHT_BYTES);
  key.set(prefix);
  key.set(heightKey(height), TAG_BYTES);
  return key;
}

function encodeIndexes(indexes: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * indexes.length);
  const view = new DataView(bytes.buffer);
  indexes.forEach((index, i) => {
    view.setUint32(4 * i, index);
  });
  return bytes;
}

function decodeIndexes(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(4 * i));
}
