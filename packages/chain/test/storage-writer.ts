/**
 * The process that the crash test kills: opens a store, asserts what it finds, then commits blocks as fast as it can.
 * Prints `R <height>` once it has restored and `C <height>` for each commit that resolved.
 */

import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import type { Change } from '../src/state-tree/index.ts';
import { openStore, restoreStateTree, StorageCorruptError } from '../src/storage/index.ts';

const KEY_COUNT = 400;

function digest(text: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(text).digest());
}

/** What block `height` changes: known to writer and test alike. */
export function changesOfBlock(height: number): Change[] {
  const bytes = digest(`block ${height}`);
  const changes = new Map<number, Uint8Array | null>();
  for (let i = 0; i < 24; i++) {
    const number = ((bytes[i] as number) * 256 + (bytes[i + 1] as number)) % KEY_COUNT;
    const isRemoved = (bytes[i + 2] as number) % 4 === 0;
    changes.set(number, isRemoved ? null : digest(`${height}.${i}`).slice(0, (bytes[i + 3] as number) % 33));
  }
  return [...changes].map(([number, value]) => [digest(`key ${number}`), value]);
}

export function txHashesOfBlock(height: number): Uint8Array[] {
  return [digest(`tx ${height}`), digest(`tx ${height} second`)];
}

export const CRASH_STORE_OPTIONS = { flushBytes: 6000, flushHeights: 5, historyHeights: 7 };

async function writeUntilKilled(directory: string): Promise<void> {
  const store = openStore(directory, CRASH_STORE_OPTIONS);
  const tree = restoreStateTree(store, { versionsKept: 1 });
  for (let height = Math.max(1, store.latestHeight() - 20); height <= store.latestHeight(); height++) {
    if (store.blockAt(height) === undefined) throw new StorageCorruptError('test', `no block ${height}`);
  }
  writeSync(1, `R ${store.latestHeight()}\n`);
  for (let height = store.latestHeight() + 1; ; height++) {
    const changes = changesOfBlock(height);
    const appHash = tree.update(height, changes);
    const block = digest(`block ${height}`);
    await store.commit({
      height,
      appHash,
      changes,
      block,
      results: new Uint8Array(0),
      commit: new Uint8Array(0),
      txHashes: txHashesOfBlock(height),
    });
    writeSync(1, `C ${height}\n`);
  }
}

const directory = process.argv[2];
if (import.meta.main && directory !== undefined) await writeUntilKilled(directory);
