/** State sync as the application sees it: when snapshots are taken, what is served of them, and how one is taken in. */
import type { Application, Snapshot } from '../abci.ts';
import type { StateTree, StateTreeOptions } from '../state-tree/index.ts';
import type { Store } from '../storage/index.ts';
import { openSnapshotFolder } from './folder.ts';
import { SNAPSHOT_FORMAT } from './format.ts';
import { createSnapshotUse } from './in-use.ts';
import { createSnapshotRestore } from './restore.ts';
import { writeSnapshot } from './writer.ts';

export interface SnapshotOptions {
  /** Folder of the snapshots alone; made if it is not there. */
  readonly directory: string;
  /** A snapshot is taken at the first height of each such interval whose block paid gas; 1,000 if not said, 0 for never. */
  readonly intervalHeights?: number;
}

export interface StateSyncOptions {
  readonly store: Store;
  readonly treeOptions: StateTreeOptions;
  /** Takes and serves none where absent; taking one in needs no folder. */
  readonly snapshots: SnapshotOptions | undefined;
  /** Height of the newest block that paid gas, as the state says. */
  readonly lastPaidHeight: (tree: StateTree) => number;
  /** The state was replaced by a restored one. */
  readonly adopt: (tree: StateTree) => void;
  readonly log: (line: string) => void;
}

type SnapshotMethods = Pick<
  Application,
  'listSnapshots' | 'loadSnapshotChunk' | 'offerSnapshot' | 'applySnapshotChunk'
>;

export interface StateSync extends SnapshotMethods {
  /** At the start, and after each commit: takes a snapshot where one is due, without being waited for. */
  readonly committed: (tree: StateTree) => void;
  /** Height of the oldest snapshot that is served: 1 until there is one, undefined where none is taken. */
  readonly oldestHeight: () => number | undefined;
  /** Resolves when no snapshot is being written. */
  readonly idle: () => Promise<void>;
  /** Gives up a snapshot that is being written, and takes no more. */
  readonly close: () => Promise<void>;
}

const INTERVAL_HEIGHTS = 1_000;
const SNAPSHOTS_KEPT = 2;

export function createStateSync(options: StateSyncOptions): StateSync {
  const { store, snapshots, log, lastPaidHeight } = options;
  const folder = snapshots === undefined ? null : openSnapshotFolder(snapshots.directory, log);
  const intervalHeights = snapshots?.intervalHeights ?? INTERVAL_HEIGHTS;
  const stopped = new AbortController();
  let writing: Promise<void> | null = null;
  let paidHeight: number | null = null;
  const inUse = createSnapshotUse();
  const keepSnapshots = (highest: number): void => {
    if (folder === null) return;
    const spared = inUse.spared(folder.list().slice(SNAPSHOTS_KEPT));
    folder.keep(SNAPSHOTS_KEPT, highest, (height) => spared.has(height));
  };
  keepSnapshots(store.latestHeight());

  const restore = createSnapshotRestore({
    store,
    treeOptions: options.treeOptions,
    log,
    // Execution asks for hashes of blocks since the last that paid gas, and they are not in the state (CHAIN-9).
    refusal: (tree, height) =>
      lastPaidHeight(tree) === height
        ? null
        : `its state is older than its height, of ${lastPaidHeight(tree)}`,
    adopt: (tree) => {
      paidHeight = lastPaidHeight(tree);
      options.adopt(tree);
    },
  });

  const write = async (tree: StateTree): Promise<void> => {
    if (folder === null) return;
    const pinned = tree.pin();
    const startedAt = performance.now();
    try {
      const { height, chunks } = await writeSnapshot(pinned, folder, stopped.signal);
      keepSnapshots(Number.MAX_SAFE_INTEGER);
      log(`snapshot ${height}: ${chunks} chunks in ${Math.round(performance.now() - startedAt)} ms`);
    } catch (error) {
      // The node is as good as before without it; the next one comes.
      if (!stopped.signal.aborted) log(`snapshot ${pinned.height} was not taken: ${String(error)}`);
    } finally {
      pinned.release();
    }
  };

  const committed = (tree: StateTree): void => {
    if (folder === null || intervalHeights === 0 || stopped.signal.aborted) return;
    const before = paidHeight;
    paidHeight = lastPaidHeight(tree);
    // Which heights have a snapshot follows from the chain alone, so that all nodes take the same ones.
    const isDue =
      before !== null &&
      paidHeight === tree.height &&
      Math.floor(before / intervalHeights) < Math.floor(paidHeight / intervalHeights);
    if (!isDue) return;
    if (writing !== null) {
      log(`snapshot ${tree.height} was left out: the one before is still being written`);
      return;
    }
    writing = write(tree).finally(() => {
      writing = null;
    });
  };

  const list = (): readonly Snapshot[] => folder?.list() ?? [];
  return {
    committed,
    oldestHeight: () => (folder === null || intervalHeights === 0 ? undefined : (list().at(-1)?.height ?? 1)),
    idle: async () => {
      await writing;
    },
    close: async () => {
      stopped.abort();
      await writing;
    },
    listSnapshots: list,
    loadSnapshotChunk: async ({ height, format, chunk }) => {
      if (folder === null || format !== SNAPSHOT_FORMAT) return new Uint8Array(0);
      if (folder.list().some((snapshot) => snapshot.height === height)) inUse.asked(height);
      return await folder.chunk(height, chunk);
    },
    offerSnapshot: restore.offer,
    applySnapshotChunk: restore.apply,
  };
}
