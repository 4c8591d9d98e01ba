/** The tables of the store, the keys of its own entries, and what is put right before anything else reads them. */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { StorageCorruptError } from './errors.ts';
import { heightKey, heightOfKey } from './records.ts';

export type Table = Database<Uint8Array, Uint8Array>;

export interface Tables {
  readonly root: RootDatabase<Uint8Array, Uint8Array>;
  /** Height to change record; those the flat table has not taken in. */
  readonly changes: Table;
  /** Height to block record. */
  readonly blocks: Table;
  /** Key to value: the state at the flat height. */
  readonly flat: Table;
  /** Hash to place. */
  readonly txs: Table;
  /** Event tag and height to places within the block. */
  readonly events: Table;
  readonly meta: Table;
}

const FORMAT = Uint8Array.of(1);
const FORMAT_KEY = nameKey('format');
/** Height that the flat table is at; absent until it was first written. */
export const FLAT_HEIGHT_KEY = nameKey('flat-height');
/** Height up to which the indexes of transactions and events are complete; absent: they must be made anew. */
export const INDEX_HEIGHT_KEY = nameKey('index-height');
/** There while a state is being restored: the flat table is of no height. */
export const RESTORING_KEY = nameKey('restoring');
/** Height of the state that was restored from a snapshot, if this store began with one. */
export const RESTORED_HEIGHT_KEY = nameKey('restored-height');

/** Address space for the file: it takes no memory, and while it is enough the file is not mapped a second time. */
const MAP_BYTES = 2 ** 34;

function nameKey(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}

export function openTables(directory: string): Tables {
  mkdirSync(directory, { recursive: true });
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  // Without overlapping sync a write resolves only after the disk has it.
  const root = open<Uint8Array, Uint8Array>({
    path: directory,
    noSubdir: false,
    overlappingSync: false,
    mapSize: MAP_BYTES,
    ...binary,
  });
  const table = (name: string): Table => root.openDB<Uint8Array, Uint8Array>({ name, ...binary });
  const tables: Tables = {
    root,
    changes: table('changes'),
    blocks: table('blocks'),
    flat: table('flat'),
    txs: table('txs'),
    events: table('events'),
    meta: table('meta'),
  };
  requireFormat(tables);
  discardHalfRestored(tables);
  return tables;
}

function requireFormat({ meta }: Tables): void {
  const format = meta.get(FORMAT_KEY);
  if (format === undefined) meta.putSync(FORMAT_KEY, FORMAT);
  else if (format.length !== 1 || format[0] !== FORMAT[0]) {
    throw new StorageCorruptError(
      'storage.format',
      `format ${[...format].join()}, this program knows ${FORMAT[0]}`,
    );
  }
}

/** A restore that did not come to its end leaves nothing behind. */
function discardHalfRestored({ meta, flat, txs, events }: Tables): void {
  if (meta.get(RESTORING_KEY) === undefined) return;
  for (const table of [flat, txs, events]) table.clearSync();
  meta.removeSync(INDEX_HEIGHT_KEY);
  meta.removeSync(RESTORING_KEY);
}

export function lastHeight(blocks: Table): number {
  for (const key of blocks.getKeys({ reverse: true, limit: 1 })) return heightOfKey(key);
  return 0;
}

export function firstHeight(blocks: Table): number {
  for (const key of blocks.getKeys({ limit: 1 })) return heightOfKey(key);
  return 0;
}

export function metaHeight(meta: Table, key: Uint8Array): number | undefined {
  const bytes = meta.get(key);
  return bytes === undefined ? undefined : heightOfKey(bytes);
}

export function putMetaHeight(meta: Table, key: Uint8Array, height: number): void {
  meta.put(key, heightKey(height));
}

/** The height the flat table is at. Before it was ever written: just below the first block. */
export function readFlatHeight({ meta, blocks }: Tables): number {
  return metaHeight(meta, FLAT_HEIGHT_KEY) ?? Math.max(0, firstHeight(blocks) - 1);
}

/** What the database returns are buffers whose `slice` does not copy; nothing but plain arrays leaves this folder. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** Bytes as a key of a map. */
export function mapKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
