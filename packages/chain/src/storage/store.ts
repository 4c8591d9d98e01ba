/**
 * The durable store. A block is committed by one synced transaction: its change record and its block record. The flat
 * table of the whole state follows some heights behind, in large batches with its own height, and change records it has
 * taken in are dropped. Wherever the process dies, flat table plus remaining change records give the committed state, and
 * each state since the flat table's: those are what a restarted node can prove and be rolled back to.
 */
import { UsageError } from '@haca/primitives';
import type { Change } from '../state-tree/index.ts';
import { StorageCorruptError, StorageFailedError } from './errors.ts';
import { type EventRow, type EventTags, openIndexes } from './indexes.ts';
import {
  decodeChanges,
  decodeStoredBlock,
  encodeChanges,
  encodeStoredBlock,
  heightKey,
  type StoredBlock,
  type TxPlace,
} from './records.ts';
import {
  copyOf,
  FLAT_HEIGHT_KEY,
  firstHeight,
  lastHeight,
  mapKey,
  metaHeight,
  openTables,
  putMetaHeight,
  RESTORED_HEIGHT_KEY,
  RESTORING_KEY,
  readFlatHeight,
  type Tables,
} from './tables.ts';

export interface BlockRecord extends StoredBlock {
  readonly height: number;
  /** Each key at most once; null removes. */
  readonly changes: readonly Change[];
}

export interface StoreOptions {
  /** The newest heights that the flat table leaves out, so that each of their states is known after a restart; 256. */
  readonly historyHeights?: number;
  /** Fewer, once their change records take more than this; 16 MiB if not said. */
  readonly historyBytes?: number;
  /** The flat table is brought on once this much waits for it; 2 MiB if not said. */
  readonly flushBytes?: number;
  /** Or once this many heights wait; 64 if not said. */
  readonly flushHeights?: number;
  /** What blocks are found by beside their hashes; no index of events if not given. */
  readonly eventTags?: EventTags;
  /** Whether transactions can be looked up by hash; true if not said. */
  readonly indexTxs?: boolean;
}

type Entries = Iterable<readonly [key: Uint8Array, value: Uint8Array]>;

export interface LoadedState {
  /** 0 where nothing was ever committed. */
  readonly height: number;
  /** Empty where nothing was ever committed. */
  readonly appHash: Uint8Array;
  /** All entries of the state at `height`, each key once, in no order. Read them before the next commit or flush. */
  readonly entries: Entries;
  /** The oldest state there is, unless that is the one before the first block. */
  readonly base: { readonly height: number; readonly appHash: Uint8Array; readonly entries: Entries } | null;
  /** What happened to it since, ascending and gapless up to `height`. */
  readonly changes: Iterable<{
    readonly height: number;
    readonly appHash: Uint8Array;
    readonly changes: readonly Change[];
  }>;
}

/** A state on its way in. Nothing of it is the store's until `finish`, whatever happens to the process. */
export interface StoreRestore {
  readonly put: (entries: readonly (readonly [key: Uint8Array, value: Uint8Array])[]) => Promise<void>;
  /** Resolves once what was put is durably the state of `height`, at which the store goes on. */
  readonly finish: (height: number, appHash: Uint8Array) => Promise<void>;
  /** Leaves the store as empty as it was. */
  readonly discard: () => Promise<void>;
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
  /** Height of the snapshot this store began with, or undefined; of that block nothing but the app hash is known. */
  readonly restoredHeight: () => number | undefined;
  /** Copies; undefined for a height not kept. */
  readonly blockAt: (height: number) => Uint8Array | undefined;
  readonly resultsAt: (height: number) => Uint8Array | undefined;
  readonly commitAt: (height: number) => Uint8Array | undefined;
  readonly appHashAt: (height: number) => Uint8Array | undefined;
  /** Where a transaction was included last. */
  readonly txByHash: (hash: Uint8Array) => TxPlace | undefined;
  /** Height up to which event rows are complete, 0 where there are none; above it, ask the blocks. */
  readonly indexedHeight: () => number;
  /** Blocks in which an event tag occurs, the newest first. Another tag may share the row: look at the events too. */
  readonly eventRows: (tag: string, first: number, last: number) => Iterable<EventRow>;
  readonly eventRowAt: (tag: string, height: number) => EventRow | undefined;
  readonly countEventRows: (tag: string, first: number, last: number, limit: number) => number;
  /** Makes the indexes of transactions and events anew out of the kept blocks. */
  readonly reindexEvents: () => Promise<void>;
  /** Forgets blocks below `retainHeight`, never the newest nor any the history needs. Gives how many it forgot. */
  readonly prune: (retainHeight: number) => Promise<number>;
  /** Starts taking in a state; only where there is none, or one that was restored and not built upon. */
  readonly beginRestore: () => Promise<StoreRestore>;
  /** Whether `beginRestore` would. */
  readonly canRestore: () => boolean;
  /** Resolves once indexes hold everything that is committed now, and the flat table all but the history. */
  readonly flush: () => Promise<void>;
  readonly close: () => Promise<void>;
}

const PRUNE_BATCH = 256;
/** One write of the flat table takes in at most about this much, so that no caller waits long. */
const FLAT_WRITE_BYTES = 512 << 10;
/** Indexes are written once this many heights or transactions wait. */
const INDEX_HEIGHTS = 64;
const INDEX_TXS = 2_000;
/** More unindexed heights than this at the start are not kept in memory: lookups wait for the index. */
const UNINDEXED_HEIGHTS_MAX = 1_024;

/** Opens the store in a directory, made if it is not there. One process at a time. */
export function openStore(directory: string, options: StoreOptions = {}): Store {
  const { historyHeights = 256, historyBytes = 16 << 20, flushBytes = 2 << 20, flushHeights = 64 } = options;
  const tables = openTables(directory);
  const indexes = openIndexes(tables, options.eventTags);
  let latest = lastHeight(tables.blocks);
  let flatHeight = readFlatHeight(tables);
  /** Sizes of the change records above the flat table, from `flatHeight + 1` on. */
  let sizes = readChangeSizes(tables, flatHeight, latest);
  let sizesBytes = sizes.reduce((sum, size) => sum + size, 0);
  /** Transactions of heights that the index does not hold yet. */
  const recentTxs = new Map<string, TxPlace>();
  let flushing: Promise<void> | undefined;
  let indexing: Promise<void> | undefined;
  let failure: unknown;
  let isCommitting = false;
  let isRestoring = false;
  let isClosed = false;

  function requireUsable(): void {
    if (isClosed) throw new UsageError('the store is closed');
    if (failure !== undefined) throw new StorageFailedError('an earlier write failed', { cause: failure });
  }

  /** Any failed write ends the store: what is on disk is consistent, what is in memory may be ahead of it. */
  async function durable<T>(write: Promise<T>): Promise<T> {
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
    if (isRestoring) throw new UsageError('a state is being restored');
    requireRecord(record, latest);
    const changes = encodeChanges(record.changes);
    const block = encodeStoredBlock(options.indexTxs === false ? { ...record, txHashes: [] } : record);
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
    if (latest === 0) flatHeight = record.height - 1;
    latest = record.height;
    sizes.push(changes.length);
    sizesBytes += changes.length;
    if (options.indexTxs !== false) rememberTxs(record.height, record.txHashes);
    if (sizes.length > historyHeights + flushHeights || sizesBytes > historyBytes + flushBytes) startFlush();
    if (latest - indexes.height() >= INDEX_HEIGHTS || recentTxs.size >= INDEX_TXS) startIndexing();
  }

  function rememberTxs(height: number, txHashes: readonly Uint8Array[]): void {
    txHashes.forEach((hash, index) => {
      recentTxs.set(mapKey(hash), { height, index });
    });
  }

  function startFlush(): void {
    flushing ??= flushDue().finally(() => {
      flushing = undefined;
    });
    flushing.catch(() => undefined);
  }

  /** Takes in the oldest change records until no more are left than the history is meant to hold. */
  async function flushDue(): Promise<void> {
    while (failure === undefined && (sizes.length > historyHeights || sizesBytes > historyBytes)) {
      let taken = 0;
      let takenBytes = 0;
      while (
        taken < sizes.length &&
        takenBytes < FLAT_WRITE_BYTES &&
        (sizes.length - taken > historyHeights || sizesBytes - takenBytes > historyBytes)
      )
        takenBytes += sizes[taken++] as number;
      const upTo = flatHeight + taken;
      await durable(writeFlat(tables, flatHeight, upTo));
      flatHeight = upTo;
      sizes.splice(0, taken);
      sizesBytes -= takenBytes;
    }
  }

  function startIndexing(): void {
    indexing ??= indexDue().finally(() => {
      indexing = undefined;
    });
    indexing.catch(() => undefined);
  }

  async function indexDue(): Promise<void> {
    while (failure === undefined && !isClosed && indexes.height() < latest) {
      const upTo = await durable(indexes.advance(latest));
      for (const [name, { height }] of recentTxs) if (height <= upTo) recentTxs.delete(name);
    }
  }

  async function flush(): Promise<void> {
    requireUsable();
    // What runs began before the newest commits.
    await Promise.all([flushing, indexing]);
    startFlush();
    startIndexing();
    await Promise.all([flushing, indexing]);
    requireUsable();
  }

  function storedAt(height: number): StoredBlock | undefined {
    if (!Number.isSafeInteger(height) || height < 1) return undefined;
    const bytes = tables.blocks.get(heightKey(height));
    return bytes === undefined ? undefined : decodeStoredBlock(copyOf(bytes));
  }

  function load(): LoadedState {
    requireUsable();
    const height = latest;
    const flatAt = flatHeight;
    const requireCurrent = (): void => {
      if (isClosed || height !== latest || flatAt !== flatHeight || flushing !== undefined)
        throw new UsageError('the store moved on before its entries were read');
    };
    const hasBase = metaHeight(tables.meta, FLAT_HEIGHT_KEY) !== undefined && height > 0;
    return {
      height,
      appHash: storedAt(height)?.appHash ?? new Uint8Array(0),
      entries: { [Symbol.iterator]: () => mergedEntries(tables, flatAt, height, requireCurrent) },
      base: hasBase
        ? {
            height: flatAt,
            appHash: storedAt(flatAt)?.appHash ?? new Uint8Array(0),
            entries: { [Symbol.iterator]: () => flatEntries(tables, requireCurrent) },
          }
        : null,
      changes: { [Symbol.iterator]: () => changesSince(flatAt, height, requireCurrent) },
    };
  }

  function* changesSince(from: number, upTo: number, requireCurrent: () => void) {
    for (let height = from + 1; height <= upTo; height++) {
      requireCurrent();
      const appHash = storedAt(height)?.appHash ?? new Uint8Array(0);
      yield { height, appHash, changes: readChanges(tables, height) };
    }
  }

  function txByHash(hash: Uint8Array): TxPlace | undefined {
    return recentTxs.get(mapKey(hash)) ?? indexes.place(hash);
  }

  async function reindexEvents(): Promise<void> {
    requireUsable();
    await indexing;
    await durable(indexes.clear());
    await flush();
  }

  async function prune(retainHeight: number): Promise<number> {
    await flush();
    const end = Math.min(retainHeight, flatHeight, indexes.height());
    let pruned = 0;
    for (let height = firstHeight(tables.blocks); height > 0 && height < end; ) {
      const upTo = Math.min(end, height + PRUNE_BATCH);
      await durable(
        tables.blocks.batch(() => {
          for (let dropped = height; dropped < upTo; dropped++) {
            const block = storedAt(dropped);
            if (block === undefined) continue;
            indexes.drop(dropped, block);
            tables.blocks.remove(heightKey(dropped));
          }
        }),
      );
      pruned += upTo - height;
      height = upTo;
    }
    return pruned;
  }

  const restoredHeight = (): number | undefined => metaHeight(tables.meta, RESTORED_HEIGHT_KEY);

  const canRestore = (): boolean =>
    !isRestoring && !isCommitting && (latest === 0 || restoredHeight() === latest);

  async function beginRestore(): Promise<StoreRestore> {
    requireUsable();
    if (!canRestore()) throw new UsageError('a state can be restored into an empty store only');
    isRestoring = true;
    await Promise.all([flushing, indexing]);
    await empty();
    const requireOpen = (): void => {
      requireUsable();
      if (!isRestoring) throw new UsageError('this restore has ended');
    };
    return {
      put: async (entries) => {
        requireOpen();
        await durable(
          tables.flat.batch(() => {
            for (const [key, value] of entries) tables.flat.put(key, value);
          }),
        );
      },
      finish: async (height, appHash) => {
        requireOpen();
        await durable(writeRestored(tables, height, appHash));
        [latest, flatHeight, sizes, sizesBytes] = [height, height, [], 0];
        isRestoring = false;
        startIndexing();
      },
      discard: async () => {
        if (!isRestoring) return;
        await empty();
        await durable(tables.meta.remove(RESTORING_KEY));
        isRestoring = false;
      },
    };
  }

  /** Marks the store as being restored, then empties it: a kill between the two is put right by the next start. */
  async function empty(): Promise<void> {
    const { meta, blocks, changes, flat } = tables;
    await durable(
      meta.batch(() => {
        putMetaHeight(meta, RESTORING_KEY, 0);
        for (const key of [FLAT_HEIGHT_KEY, RESTORED_HEIGHT_KEY]) meta.remove(key);
        if (latest > 0) {
          blocks.remove(heightKey(latest));
          changes.remove(heightKey(latest));
        }
      }),
    );
    await durable(flat.clearAsync());
    await durable(indexes.clear());
    recentTxs.clear();
    [latest, flatHeight, sizes, sizesBytes] = [0, 0, [], 0];
  }

  async function close(): Promise<void> {
    if (isClosed) return;
    try {
      if (failure === undefined && !isRestoring) await flush();
    } finally {
      isClosed = true;
      await tables.root.close();
    }
  }

  if (latest - indexes.height() <= UNINDEXED_HEIGHTS_MAX) {
    for (let height = indexes.height() + 1; height <= latest; height++)
      rememberTxs(height, storedAt(height)?.txHashes ?? []);
  }
  // A process that is killed at once and again would never index what it finds if it waited for new blocks.
  if (indexes.height() < latest) startIndexing();

  return {
    load,
    commit,
    latestHeight: () => latest,
    baseHeight: () => firstHeight(tables.blocks),
    restoredHeight,
    blockAt: (height) => storedAt(height)?.block,
    resultsAt: (height) => storedAt(height)?.results,
    commitAt: (height) => storedAt(height)?.commit,
    appHashAt: (height) => storedAt(height)?.appHash,
    txByHash,
    indexedHeight: () => (indexes.hasEvents ? indexes.height() : 0),
    eventRows: indexes.rows,
    eventRowAt: indexes.rowAt,
    countEventRows: indexes.countRows,
    reindexEvents,
    prune,
    beginRestore,
    canRestore,
    flush,
    close,
  };
}

/** The change records above the flat table: exactly one for each height up to the newest block. */
function readChangeSizes(tables: Tables, flatHeight: number, latest: number): number[] {
  if (flatHeight > latest) {
    throw new StorageCorruptError(
      'storage.flat-ahead',
      `flat table at ${flatHeight}, newest block ${latest}`,
    );
  }
  const sizes: number[] = [];
  for (let height = flatHeight + 1; height <= latest; height++) {
    const key = heightKey(height);
    const changes = tables.changes.get(key);
    if (changes === undefined || !tables.blocks.doesExist(key)) {
      throw new StorageCorruptError(
        'storage.gap',
        `no record of height ${height} of ${flatHeight + 1} to ${latest}`,
      );
    }
    sizes.push(changes.length);
  }
  return sizes;
}

function readChanges(tables: Tables, height: number): Change[] {
  const bytes = tables.changes.get(heightKey(height));
  if (bytes === undefined) throw new StorageCorruptError('storage.gap', `no change record of ${height}`);
  return decodeChanges(copyOf(bytes));
}

/** Newest change of each key over some heights. */
function mergedChanges(tables: Tables, flatHeight: number, upTo: number): Map<string, Change> {
  const merged = new Map<string, Change>();
  for (let height = flatHeight + 1; height <= upTo; height++)
    for (const change of readChanges(tables, height)) merged.set(mapKey(change[0]), change);
  return merged;
}

function* flatEntries({ flat }: Tables, requireCurrent: () => void) {
  requireCurrent();
  for (const { key, value } of flat.getRange({ snapshot: true })) {
    requireCurrent();
    yield [copyOf(key), copyOf(value)] as const;
  }
}

function* mergedEntries(tables: Tables, flatHeight: number, upTo: number, requireCurrent: () => void) {
  requireCurrent();
  const changes = mergedChanges(tables, flatHeight, upTo);
  for (const entry of flatEntries(tables, requireCurrent)) if (!changes.has(mapKey(entry[0]))) yield entry;
  for (const [key, value] of changes.values()) {
    requireCurrent();
    if (value !== null) yield [key, value] as const;
  }
}

function writeFlat(tables: Tables, flatHeight: number, upTo: number): Promise<boolean> {
  const { flat, meta, changes } = tables;
  const merged = mergedChanges(tables, flatHeight, upTo);
  return flat.batch(() => {
    for (const [key, value] of merged.values()) {
      if (value === null) flat.remove(key);
      else flat.put(key, value);
    }
    putMetaHeight(meta, FLAT_HEIGHT_KEY, upTo);
    for (let height = flatHeight + 1; height <= upTo; height++) changes.remove(heightKey(height));
  });
}

/** Of the block at a restored height only the app hash is known. */
function writeRestored({ blocks, meta }: Tables, height: number, appHash: Uint8Array): Promise<boolean> {
  const nothing = new Uint8Array(0);
  const block = encodeStoredBlock({
    appHash,
    block: nothing,
    results: nothing,
    commit: nothing,
    txHashes: [],
  });
  return blocks.batch(() => {
    blocks.put(heightKey(height), block);
    for (const key of [FLAT_HEIGHT_KEY, RESTORED_HEIGHT_KEY]) putMetaHeight(meta, key, height);
    meta.remove(RESTORING_KEY);
  });
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
