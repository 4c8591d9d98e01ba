import { setTimeout as delay } from 'node:timers/promises';
import type { Snapshot } from '../abci.ts';
import type { PinnedState } from '../state-tree/index.ts';
import type { SnapshotFolder } from './folder.ts';
import { createChunker } from './format.ts';

/** Work goes on this long at a time, then everything else has its turn. */
const SLICE_MS = 2;
const REST_MS = 4;
/** Looking at the clock costs as much as an entry. */
const ENTRIES_PER_LOOK = 32;

/**
 * Writes a pinned state as a snapshot while the node goes on, in slices of `SLICE_MS`. Rejects, leaving nothing, where it
 * can't be written, the state is pinned no more, or `signal` says stop.
 */
export async function writeSnapshot(
  pinned: PinnedState,
  folder: SnapshotFolder,
  signal: AbortSignal,
  chunkEntryBytes?: number,
): Promise<Snapshot> {
  const files = folder.begin(pinned.height);
  const chunker = createChunker(chunkEntryBytes);
  const cut = async (): Promise<void> => {
    const [key] = chunker.last() as readonly [Uint8Array, Uint8Array];
    await files.addChunk(chunker.cut(pinned.prove(key).proof));
  };
  try {
    let sliceFrom = performance.now();
    let untilLook = ENTRIES_PER_LOOK;
    for (const entry of pinned.entries()) {
      if (!chunker.add(entry)) {
        await cut();
        chunker.add(entry);
      }
      if (--untilLook > 0) continue;
      untilLook = ENTRIES_PER_LOOK;
      if (performance.now() - sliceFrom < SLICE_MS) continue;
      await delay(REST_MS, undefined, { ref: false, signal });
      sliceFrom = performance.now();
    }
    await cut();
    return await files.finish(pinned.root);
  } catch (error) {
    files.discard();
    throw error;
  }
}
