import { bytesEqual, toHex } from '@haca/primitives';
import { createStateTree, type StateTree, type StateTreeOptions } from '../state-tree/index.ts';
import { StorageCorruptError } from './errors.ts';
import type { Store } from './store.ts';

export interface RestoreOptions extends StateTreeOptions {
  /** Told about progress, once it takes longer than a second. */
  readonly log?: (line: string) => void;
}

const REPORT_MS = 1_000;

/**
 * Rebuilds the state tree of the newest committed height, with the versions before it that the store still knows, and
 * asserts that the root of each is the app hash that was committed with it. A store that nothing was committed to gives an
 * empty tree at height 0.
 */
export function restoreStateTree(store: Store, options: RestoreOptions = {}): StateTree {
  const tree = createStateTree(options);
  const { height, base, changes } = store.load();
  if (height === 0) return tree;
  const progress = reporter(options.log ?? (() => undefined));
  if (base !== null) {
    const entries = counted(base.entries, (count) =>
      progress(`state of height ${base.height}: ${count} records read`),
    );
    requireRoot(base.height, tree.load(base.height, entries), base.appHash);
  }
  for (const block of changes) {
    requireRoot(block.height, tree.update(block.height, block.changes), block.appHash);
    progress(`state of height ${block.height} of ${height}: ${tree.size} records`);
  }
  progress(`state of height ${height} is there: ${tree.size} records`, true);
  return tree;
}

function requireRoot(height: number, root: Uint8Array, appHash: Uint8Array): void {
  if (bytesEqual(root, appHash)) return;
  const message = `the state of height ${height} has root ${toHex(root)}, committed was ${toHex(appHash)}`;
  throw new StorageCorruptError('storage.root', message);
}

const COUNT_STEP = 10_000;

function* counted<T>(items: Iterable<T>, told: (count: number) => void): Iterable<T> {
  let count = 0;
  for (const item of items) {
    yield item;
    if (++count % COUNT_STEP === 0) told(count);
  }
}

/** Passes on at most one line a second, and the last one only if there was another before it or a second went by. */
function reporter(log: (line: string) => void): (line: string, isLast?: boolean) => void {
  const startedAt = performance.now();
  let reportedAt = startedAt;
  return (line, isLast = false) => {
    const now = performance.now();
    const isDue = isLast ? now - startedAt >= REPORT_MS : now - reportedAt >= REPORT_MS;
    if (!isDue) return;
    reportedAt = now;
    log(`${line} after ${((now - startedAt) / 1000).toFixed(1)} s`);
  };
}
