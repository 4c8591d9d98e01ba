/** States in small chunks, and a node that takes one in. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { sha256, utf8Encode } from '@haca/primitives';
import type { Snapshot } from '../src/abci.ts';
import { openSnapshotFolder } from '../src/snapshots/folder.ts';
import { encodeMetadata, snapshotHash } from '../src/snapshots/format.ts';
import { createSnapshotRestore } from '../src/snapshots/restore.ts';
import { writeSnapshot } from '../src/snapshots/writer.ts';
import { createStateTree, type StateTree } from '../src/state-tree/index.ts';
import { openStore, type Store } from '../src/storage/index.ts';

export type Entry = readonly [Uint8Array, Uint8Array];

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'haca-snapshot-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Known to every process that is given the count. */
export function entriesOf(count: number, valueBytes = 20): Entry[] {
  return Array.from({ length: count }, (_, i) => {
    const digest = sha256(utf8Encode(`entry ${i}`));
    return [digest, new Uint8Array(valueBytes).fill(digest[0] as number)] as const;
  });
}

export function treeOf(entries: Iterable<Entry>, height = 7): StateTree {
  const tree = createStateTree();
  tree.load(height, entries);
  return tree;
}

export interface Taken {
  readonly snapshot: Snapshot;
  readonly chunks: readonly Uint8Array[];
}

export async function take(t: TestContext, tree: StateTree, chunkEntryBytes?: number): Promise<Taken> {
  const folder = openSnapshotFolder(temporaryFolder(t), () => undefined);
  const pinned = tree.pin();
  const snapshot = await writeSnapshot(pinned, folder, new AbortController().signal, chunkEntryBytes);
  pinned.release();
  const chunks: Uint8Array[] = [];
  for (let i = 0; i < snapshot.chunks; i++) chunks.push(await folder.chunk(snapshot.height, i));
  return { snapshot, chunks };
}

/** What somebody would announce who wants these chunks to be taken for the state of `appHash`. */
export function announce(height: number, appHash: Uint8Array, chunks: readonly Uint8Array[]): Taken {
  const metadata = encodeMetadata({ appHash, chunkHashes: chunks.map((chunk) => sha256(chunk)) });
  const hash = snapshotHash(height, metadata);
  return { snapshot: { height, format: 1, chunks: chunks.length, hash, metadata }, chunks };
}

export interface Joiner {
  readonly store: Store;
  readonly lines: string[];
  readonly adopted: () => StateTree | null;
  /** What came of it: an offer's result other than accept, or that of the last chunk applied. */
  readonly run: (taken: Taken, appHash: Uint8Array) => Promise<string>;
  readonly restore: ReturnType<typeof createSnapshotRestore>;
}

export function joiner(store: Store, refusal: (tree: StateTree) => string | null = () => null): Joiner {
  let tree: StateTree | null = null;
  const lines: string[] = [];
  const restore = createSnapshotRestore({
    store,
    treeOptions: {},
    refusal,
    adopt: (restored) => {
      tree = restored;
    },
    log: (line) => lines.push(line),
  });
  return {
    store,
    lines,
    restore,
    adopted: () => tree,
    run: async ({ snapshot, chunks }, appHash) => {
      const offered = await restore.offer({ snapshot, appHash });
      if (offered !== 'accept') return offered;
      for (const [index, chunk] of chunks.entries()) {
        const { result } = await restore.apply({ index, chunk, sender: 'peer' });
        if (result !== 'accept') return result;
      }
      return 'accept';
    },
  };
}

export function openJoiner(t: TestContext, folder = temporaryFolder(t)): Joiner {
  const store = openStore(folder);
  t.after(() => store.close());
  return joiner(store);
}
