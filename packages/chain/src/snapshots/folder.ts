/**
 * Snapshots on disk: a folder for each, named by its height, with one file for each chunk and one for the metadata. It gets
 * its name when it is whole and synced; whatever has another name was left half-written and is thrown away.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesEqual, MalformedError } from '@haca/primitives';
import type { Snapshot } from '../abci.ts';
import { decodeMetadata, encodeMetadata, type Metadata, SNAPSHOT_FORMAT, snapshotHash } from './format.ts';

const METADATA_FILE = 'metadata';
const WRITING_SUFFIX = '.writing';
const WHOLE_NAME = /^[1-9][0-9]{0,15}$/;

export interface SnapshotFolder {
  /** The newest first. */
  readonly list: () => readonly Snapshot[];
  /** Bytes that hash to what the metadata says, or empty. */
  readonly chunk: (height: number, index: number) => Promise<Uint8Array>;
  readonly begin: (height: number) => SnapshotFiles;
  /** Removes all but the newest `count` and what `isInUse` spares, and those above a height. */
  readonly keep: (count: number, highest: number, isInUse: (height: number) => boolean) => void;
}

export interface SnapshotFiles {
  readonly addChunk: (chunk: Uint8Array) => Promise<void>;
  /** Resolves once the snapshot is there for good. */
  readonly finish: (appHash: Uint8Array) => Promise<Snapshot>;
  readonly discard: () => void;
}

export function openSnapshotFolder(directory: string, log: (line: string) => void): SnapshotFolder {
  mkdirSync(directory, { recursive: true });
  const whole = new Map<number, { readonly snapshot: Snapshot; readonly metadata: Metadata }>();

  const drop = (height: number): void => {
    whole.delete(height);
    rmSync(join(directory, `${height}`), { recursive: true, force: true });
  };

  for (const name of readdirSync(directory)) {
    const found = WHOLE_NAME.test(name) ? readWhole(join(directory, name), Number(name)) : null;
    if (found !== null) whole.set(found.snapshot.height, found);
    else if (WHOLE_NAME.test(name) || name.endsWith(WRITING_SUFFIX)) {
      log(`snapshot ${name} is not whole and was removed`);
      rmSync(join(directory, name), { recursive: true, force: true });
    }
  }

  const list = (): readonly Snapshot[] =>
    [...whole.values()].map(({ snapshot }) => snapshot).sort((a, b) => b.height - a.height);

  return {
    list,
    chunk: async (height, index) => {
      const nothing = new Uint8Array(0);
      const wanted = whole.get(height)?.metadata.chunkHashes[index];
      if (wanted === undefined) return nothing;
      const bytes = await readFile(join(directory, `${height}`, chunkName(index))).catch(() => nothing);
      if (bytesEqual(sha256(bytes), wanted))
        return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      // It may just have made way for a newer one.
      if (whole.has(height)) {
        log(`snapshot ${height} is damaged and was removed`);
        drop(height);
      }
      return nothing;
    },
    begin: (height) => {
      const writing = join(directory, `${height}${WRITING_SUFFIX}`);
      rmSync(writing, { recursive: true, force: true });
      mkdirSync(writing);
      const chunkHashes: Uint8Array[] = [];
      return {
        addChunk: async (chunk) => {
          await writeSynced(join(writing, chunkName(chunkHashes.length)), chunk);
          chunkHashes.push(
            new Uint8Array(
              await globalThis.crypto.subtle.digest('SHA-256', chunk as Uint8Array<ArrayBuffer>),
            ),
          );
        },
        finish: async (appHash) => {
          const metadata = { appHash, chunkHashes };
          await writeSynced(join(writing, METADATA_FILE), encodeMetadata(metadata));
          syncFolder(writing);
          drop(height);
          await rename(writing, join(directory, `${height}`));
          syncFolder(directory);
          const snapshot = snapshotOf(height, metadata);
          whole.set(height, { snapshot, metadata });
          return snapshot;
        },
        discard: () => rmSync(writing, { recursive: true, force: true }),
      };
    },
    keep: (count, highest, isInUse) => {
      for (const { height } of list()) if (height > highest) drop(height);
      for (const { height } of list().slice(count)) if (!isInUse(height)) drop(height);
    },
  };
}

function chunkName(index: number): string {
  return `chunk-${`${index}`.padStart(6, '0')}`;
}

function snapshotOf(height: number, metadata: Metadata): Snapshot {
  const bytes = encodeMetadata(metadata);
  return {
    height,
    format: SNAPSHOT_FORMAT,
    chunks: metadata.chunkHashes.length,
    hash: snapshotHash(height, bytes),
    metadata: bytes,
  };
}

/** Chunks are checked when they are asked for: here only that all are there. */
function readWhole(folder: string, height: number) {
  const file = join(folder, METADATA_FILE);
  if (!existsSync(file)) return null;
  try {
    const bytes = new Uint8Array(readFileSync(file));
    const metadata = decodeMetadata(bytes, bytes.length / 32 - 1);
    const isThere = metadata.chunkHashes.every((_, i) => statSync(join(folder, chunkName(i))).size > 0);
    return isThere ? { snapshot: snapshotOf(height, metadata), metadata } : null;
  } catch (error) {
    if (error instanceof MalformedError || (error as NodeJS.ErrnoException).code !== undefined) return null;
    throw error;
  }
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
