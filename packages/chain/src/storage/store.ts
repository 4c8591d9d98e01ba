/**
 * The durable store. A block is committed by one synced transaction: its change record and its block record. The flat
 * table of the whole state is written behind, in large batches with its own applied height, and change records it has
 * taken in are dropped. Wherever the process dies, flat table plus remaining change records give the committed state.
 */
import { mkdirSync } from 'node:fs';
import { UsageError } from '@haca/primitives';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { Change } from '../state-tree/index.ts';
import { StorageCorruptError, StorageFailedError } from './errors.ts';
import {
  decodeChanges,
  decodeStoredBlock,
  decodeTxPlace,
  encodeChanges,
  encodeStoredBlock,
  encodeTxPlace,
  heightKey,
  heightOfKey,
  type StoredBlock,
  type TxPlace,
} from './records.ts';

export interface BlockRecord extends StoredBlock {
  readonly height: number;
  /** Each key at most once; null removes. */
  readonly changes: readonly Change[];
}

export interface StoreOptions {
  /** The flat table is brought up to date once this much waits for it; 8 MiB if not said. */
  readonly flushBytes?: number;
  /** Or once this many heights wait; 64 if not said. */
  readonly flushHeights?: number;
}

export interface LoadedState {
  /** 0 where nothing was ever committed. */
  readonly height: number;
  /** Empty where nothing was ever committed. */
  readonly appHash: Uint8Array;
  /** All entries of the state at `height`, each key once, in no order. Read them before the next commit or flush. */
  readonly entries: Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
}

export interface Store {
  readonly load: () => LoadedState;
  /**
   * Resolves once the record is on disk. Heights are gapless; the first may be any from 1. Not concurrent: await each.
   * Rejects with `StorageFailedError` if it could not be written; the store then takes no more.
   */
  readonly commit: (record: BlockRecord) => Promise<void>;
  /** The newest and the oldest height that blocks are kept for; 0 where there are none. */
  readonly latestHeight: () => number;
  readonly baseHeight: () => number;
  /** Copies; undefined for a height not kept. */
  readonly blockAt: (height: number) => Uint8Array | undefined;
  readonly resultsAt: (height: number) => Uint8Array | undefined;
  readonly commitAt: (height: number) => Uint8Array | undefined;
  readonly appHashAt: (height: number) => Uint8Array | undefined;
  /** Where a transaction was included last. */
  readonly txByHash: (hash: Uint8Array) => TxPlace | undefined;
  /** Makes the transaction index anew out of the kept blocks. */
  readonly reindexTxs: () => Promise<void>;
  /** Forgets blocks below `retainHeight`, never the newest; the state is not touched. Gives how many it forgot. */
  readonly prune: (retainHeight: number) => Promise<number>;
  /** Resolves once the flat table holds everything that is committed now. */
  readonly flush: () => Promise<void>;
  readonly close: () => Promise<void>;
}

type Table = Database<Uint8Array, Uint8Array>;

interface Tables {
  readonly root: RootDatabase<Uint8Array, Uint8Array>;
  /** Height to change record; those the flat table has not taken in. */
  readonly changes: Table;
  /** Height to block record. */
  readonly blocks: Table;
  /** Key to value: the state at the flat height. */
  readonly flat: Table;
  readonly txs: Table;
  readonly meta: Table;
}

/** What was committed and the flat table has not yet: newest value by key, and transactions by hash. */
interface Behind {
  readonly changes: Map<string, Change>;
  readonly txs: Map<string, readonly [hash: Uint8Array, place: TxPlace]>;
  fromHeight: number;
  sizeBytes: number;
}

const FORMAT = Uint8Array.of(1);
const FORMAT_KEY = nameKey('format');
const FLAT_HEIGHT_KEY = nameKey('flat-height');
const PRUNE_BATCH = 256;

function nameKey(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}

function mapKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Opens the store in a directory, made if it is not there. One process at a time. */
export function openStore(directory: string, options: StoreOptions = {}): Store {
  const { flushBytes = 8 << 20, flushHeights = 64 } = options;
  const tables = openTables(directory);
  let latest = lastHeight(tables.blocks);
  let flatHeight = readFlatHeight(tables);
  let behind = readBehind(tables, flatHeight, latest);
  let flushing: Promise<void> | undefined;
  let inFlightTxs: Behind['txs'] | undefined;
  let failure: unknown;
  let isCommitting = false;
  let isClosed = false;

  function requireUsable(): void {
    if (isClosed) throw new UsageError('the store is closed');
    if (failure !== undefined) throw new StorageFailedError('an earlier write failed', { cause: failure });
  }

  /** Any failed write ends the store: what is on disk is consistent, what is in memory may be ahead of it. */
  async function durable(write: Promise<unknown>): Promise<unknown> {
    try {
      return await write;
    } catch (error) {
      failure ??= error;
      throw new StorageFailedError('a write did not become durable', { cause: error });
    }
  }

  async function commit(record: BlockRecord): Promise<void> {
    requireUsable();
    if (isCommitting) throw new UsageError('a commit is still running');
    requireRecord(record, latest);
    const changes = encodeChanges(record.changes);
    const block = encodeStoredBlock(record);
    const key = heightKey(record.height);
    isCommitting = true;
    try {
      // Written only where the height is free, so that two processes on one directory can't interleave their chains.
      const written = tables.blocks.ifNoExists(key, () => {
        tables.changes.put(key, changes);
        tables.blocks.put(key, block);
      });
      if ((await durable(written)) !== true) {
        failure = new StorageCorruptError(
          'storage.two-writers',
          `height ${record.height} was written by another`,
        );
        throw failure;
      }
    } finally {
      isCommitting = false;
    }
    latest = record.height;
    addBehind(behind, record.height, changes, decodeStoredBlock(block).txHashes);
    if (behind.sizeBytes >= flushBytes || latest - flatHeight >= flushHeights) startFlush();
  }

  function startFlush(): void {
    if (flushing !== undefined || behind.changes.size + behind.txs.size === 0) return;
    const taken = behind;
    const upTo = latest;
    behind = emptyBehind(upTo + 1);
    // Until the batch is durable, lookups of transactions go through what it takes along.
    inFlightTxs = taken.txs;
    flushing = durable(writeFlat(tables, taken, flatHeight, upTo)).then(
      () => {
        flatHeight = upTo;
        inFlightTxs = undefined;
        flushing = undefined;
      },
      () => {
        flushing = undefined;
      },
    );
  }

  async function flush(): Promise<void> {
    await flushing;
    startFlush();
    await flushing;
    requireUsable();
  }

  function storedAt(height: number): StoredBlock | undefined {
    if (!Number.isSafeInteger(height) || height < 1) return undefined;
    const bytes = tables.blocks.get(heightKey(height));
    return bytes === undefined ? undefined : decodeStoredBlock(copyOf(bytes));
  }

  function load(): LoadedState {
    requireUsable();
    const appHash = storedAt(latest)?.appHash ?? new Uint8Array(0);
    const height = latest;
    const flatAt = flatHeight;
    const isCurrent = () => !isClosed && height === latest && flatAt === flatHeight && flushing === undefined;
    return { height, appHash, entries: { [Symbol.iterator]: () => stateEntries(isCurrent) } };
  }

  function* stateEntries(isCurrent: () => boolean) {
    const requireCurrent = () => {
      if (!isCurrent()) throw new UsageError('the store moved on before its entries were read');
    };
    requireCurrent();
    for (const { key, value } of tables.flat.getRange({ snapshot: true })) {
      requireCurrent();
      if (!behind.changes.has(mapKey(key))) yield [copyOf(key), copyOf(value)] as const;
    }
    for (const [key, value] of behind.changes.values()) {
      requireCurrent();
      if (value !== null) yield [key, value] as const;
    }
  }

  function txByHash(hash: Uint8Array): TxPlace | undefined {
    const name = mapKey(hash);
    const recent = behind.txs.get(name) ?? inFlightTxs?.get(name);
    if (recent !== undefined) return recent[1];
    const bytes = hash.length === 32 ? tables.txs.get(hash) : undefined;
    return bytes === undefined ? undefined : decodeTxPlace(bytes);
  }

  async function reindexTxs(): Promise<void> {
    await flush();
    await durable(tables.txs.clearAsync());
    for (let height = firstHeight(tables.blocks); height <= flatHeight && height > 0; height++) {
      const hashes = storedAt(height)?.txHashes ?? [];
      await durable(
        tables.txs.batch(() => {
          hashes.forEach((hash, index) => {
            tables.txs.put(hash, encodeTxPlace({ height, index }));
          });
        }),
      );
    }
  }

  async function prune(retainHeight: number): Promise<number> {
    await flush();
    const end = Math.min(retainHeight, flatHeight);
    let pruned = 0;
    for (let height = firstHeight(tables.blocks); height > 0 && height < end; ) {
      const upTo = Math.min(end, height + PRUNE_BATCH);
      await durable(tables.blocks.batch(() => dropBlocks(tables, height, upTo)));
      pruned += upTo - height;
      height = upTo;
    }
    return pruned;
  }

  async function close(): Promise<void> {
    if (isClosed) return;
    try {
      if (failure === undefined) await flush();
    } finally {
      isClosed = true;
      await tables.root.close();
    }
  }

  return {
    load,
    commit,
    latestHeight: () => latest,
    baseHeight: () => firstHeight(tables.blocks),
    blockAt: (height) => storedAt(height)?.block,
    resultsAt: (height) => storedAt(height)?.results,
    commitAt: (height) => storedAt(height)?.commit,
    appHashAt: (height) => storedAt(height)?.appHash,
    txByHash,
    reindexTxs,
    prune,
    flush,
    close,
  };
}

function openTables(directory: string): Tables {
  mkdirSync(directory, { recursive: true });
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  // Without overlapping sync a write resolves only after the disk has it.
  const root = open<Uint8Array, Uint8Array>({
    path: directory,
    noSubdir: false,
    overlappingSync: false,
    ...binary,
  });
  const table = (name: string): Table => root.openDB<Uint8Array, Uint8Array>({ name, ...binary });
  const tables: Tables = {
    root,
    changes: table('changes'),
    blocks: table('blocks'),
    flat: table('flat'),
    txs: table('txs'),
    meta: table('meta'),
  };
  const format = tables.meta.get(FORMAT_KEY);
  if (format === undefined) tables.meta.putSync(FORMAT_KEY, FORMAT);
  else if (format.length !== 1 || format[0] !== FORMAT[0]) {
    throw new StorageCorruptError(
      'storage.format',
      `format ${[...format].join()}, this program knows ${FORMAT[0]}`,
    );
  }
  return tables;
}

function lastHeight(blocks: Table): number {
  for (const key of blocks.getKeys({ reverse: true, limit: 1 })) return heightOfKey(key);
  return 0;
}

function firstHeight(blocks: Table): number {
  for (const key of blocks.getKeys({ limit: 1 })) return heightOfKey(key);
  return 0;
}

/** The height the flat table is at. Before it was ever written: just below the first block. */
function readFlatHeight({ meta, blocks }: Tables): number {
  const bytes = meta.get(FLAT_HEIGHT_KEY);
  if (bytes !== undefined) return heightOfKey(bytes);
  return Math.max(0, firstHeight(blocks) - 1);
}

/** The change records above the flat table: exactly one for each height up to the newest block. */
function readBehind(tables: Tables, flatHeight: number, latest: number): Behind {
  const behind = emptyBehind(flatHeight + 1);
  if (flatHeight > latest) {
    throw new StorageCorruptError(
      'storage.flat-ahead',
      `flat table at ${flatHeight}, newest block ${latest}`,
    );
  }
  for (let height = flatHeight + 1; height <= latest; height++) {
    const key = heightKey(height);
    const changes = tables.changes.get(key);
    const block = tables.blocks.get(key);
    if (changes === undefined || block === undefined) {
      throw new StorageCorruptError(
        'storage.gap',
        `no record of height ${height} of ${flatHeight + 1} to ${latest}`,
      );
    }
    addBehind(behind, height, copyOf(changes), decodeStoredBlock(copyOf(block)).txHashes);
  }
  return behind;
}

function emptyBehind(fromHeight: number): Behind {
  return { changes: new Map(), txs: new Map(), fromHeight, sizeBytes: 0 };
}

function addBehind(
  behind: Behind,
  height: number,
  changes: Uint8Array,
  txHashes: readonly Uint8Array[],
): void {
  for (const change of decodeChanges(changes)) behind.changes.set(mapKey(change[0]), change);
  txHashes.forEach((hash, index) => {
    behind.txs.set(mapKey(hash), [hash, { height, index }]);
  });
  behind.sizeBytes += changes.length + 64 * txHashes.length;
}

function writeFlat(tables: Tables, taken: Behind, flatHeight: number, upTo: number): Promise<boolean> {
  const { flat, txs, meta, changes } = tables;
  return flat.batch(() => {
    for (const [key, value] of taken.changes.values()) {
      if (value === null) flat.remove(key);
      else flat.put(key, value);
    }
    for (const [hash, place] of taken.txs.values()) txs.put(hash, encodeTxPlace(place));
    meta.put(FLAT_HEIGHT_KEY, heightKey(upTo));
    for (let height = flatHeight + 1; height <= upTo; height++) changes.remove(heightKey(height));
  });
}

/** A transaction included again higher up stays in the index. */
function dropBlocks({ blocks, txs }: Tables, from: number, upTo: number): void {
  for (let height = from; height < upTo; height++) {
    const bytes = blocks.get(heightKey(height));
    if (bytes === undefined) continue;
    for (const hash of decodeStoredBlock(copyOf(bytes)).txHashes) {
      const place = txs.get(hash);
      if (place !== undefined && decodeTxPlace(place).height === height) txs.remove(hash);
    }
    blocks.remove(heightKey(height));
  }
}

/** What the database returns are buffers whose `slice` does not copy; nothing but plain arrays leaves this file. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function requireRecord({ height, changes, txHashes }: BlockRecord, latest: number): void {
  const isNext = latest === 0 ? Number.isSafeInteger(height) && height >= 1 : height === latest + 1;
  if (!isNext) throw new UsageError(`height ${height} does not follow ${latest}`);
  if (txHashes.some((hash) => hash.length !== 32)) throw new UsageError('a transaction hash has 32 bytes');
  const keys = new Set<string>();
  for (const [key] of changes) {
    if (key.length < 1 || key.length > 1024) throw new UsageError(`a key of ${key.length} bytes`);
    keys.add(mapKey(key));
  }
  if (keys.size !== changes.length) throw new UsageError('a key comes twice in the changes of one block');
}
