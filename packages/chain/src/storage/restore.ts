import { bytesEqual, toHex } from '@haca/primitives';
import { createStateTree, type StateTree, type StateTreeOptions } from '../state-tree/index.ts';
import { StorageCorruptError } from './errors.ts';
import type { Store } from './store.ts';

/**
 * Rebuilds the state tree of the newest committed height and asserts that its root is the app hash that was committed
 * with it. A store that nothing was committed to gives an empty tree at height 0.
 */
export function restoreStateTree(store: Store, options: StateTreeOptions = {}): StateTree {
  const tree = createStateTree(options);
  const { height, appHash, entries } = store.load();
  if (height === 0) return tree;
  const root = tree.load(height, entries);
  if (!bytesEqual(root, appHash)) {
    const message = `the state of height ${height} has root ${toHex(root)}, committed was ${toHex(appHash)}`;
    throw new StorageCorruptError('storage.root', message);
  }
  return tree;
}
