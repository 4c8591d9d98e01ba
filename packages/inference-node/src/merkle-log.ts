/** An append-only RFC 9162 tree that keeps its inner nodes: a path costs a few lookups, however long the log has become. */
import { merkleNodeHash, UsageError } from '@haca/primitives';

export interface MerkleLog {
  readonly append: (leafHash: Uint8Array) => void;
  readonly size: () => number;
  /** Inclusion path of a leaf for the tree as it stands now; throws `UsageError` if there is no such leaf. */
  readonly path: (index: number) => Uint8Array[];
}

export function openMerkleLog(): MerkleLog {
  /** Roots of complete subtrees: level 0 are the leaves, level k covers 2^k of them. */
  const levels: Uint8Array[][] = [[]];
  const leaves = levels[0] as Uint8Array[];

  const append = (leafHash: Uint8Array): void => {
    leaves.push(leafHash);
    for (let k = 0; (levels[k] as Uint8Array[]).length % 2 === 0; k++) {
      const level = levels[k] as Uint8Array[];
      const [left, right] = level.slice(-2) as [Uint8Array, Uint8Array];
      const parents = levels[k + 1];
      const parent = merkleNodeHash(left, right);
      if (parents === undefined) levels.push([parent]);
      else parents.push(parent);
    }
  };

  const path = (index: number): Uint8Array[] => {
    if (!Number.isSafeInteger(index) || index < 0 || index >= leaves.length) {
      throw new UsageError(`leaf ${index} of ${leaves.length}`);
    }
    const siblings: Uint8Array[] = [];
    // The last node of each level stands for what is left over; an odd one moves up unchanged.
    let last = leaves[leaves.length - 1] as Uint8Array;
    let at = index;
    let width = leaves.length;
    for (let k = 0; width > 1; k++) {
      const level = levels[k] as Uint8Array[];
      const sibling = at ^ 1;
      if (sibling < width) siblings.push(sibling === width - 1 ? last : (level[sibling] as Uint8Array));
      if (width % 2 === 0) last = merkleNodeHash(level[width - 2] as Uint8Array, last);
      at >>>= 1;
      width = Math.ceil(width / 2);
    }
    return siblings;
  };
  return { append, size: () => leaves.length, path };
}
