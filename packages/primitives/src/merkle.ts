/**
 * The Merkle tree of RFC 9162 (Certificate Transparency 2.0), section 2.1: SHA-256, leaf hash over `0x00 || data`, node
 * hash over `0x01 || left || right`, and the tree of n leaves split at the largest power of two below n.
 */
import { bytesEqual } from './bytes.ts';
import { UsageError } from './errors.ts';
import { sha256 } from './sha256.ts';

const HASH_BYTES = 32;
/** A path in a tree of at most 2^32 leaves. */
export const MERKLE_PATH_MAX = 32;

/** The root of an empty tree: SHA-256 of nothing. */
export function emptyMerkleRoot(): Uint8Array {
  return sha256(new Uint8Array(0));
}

export function merkleLeafHash(data: Uint8Array): Uint8Array {
  const input = new Uint8Array(data.length + 1);
  input.set(data, 1);
  return sha256(input);
}

export function merkleNodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + 2 * HASH_BYTES);
  input[0] = 1;
  input.set(left, 1);
  input.set(right, 1 + HASH_BYTES);
  return sha256(input);
}

/** Root over leaf hashes (not leaf data). */
export function merkleRoot(leafHashes: readonly Uint8Array[]): Uint8Array {
  if (leafHashes.length === 0) return emptyMerkleRoot();
  // Level by level, an odd last node moving up unchanged, gives the same tree as the recursive definition.
  let level = leafHashes;
  while (level.length > 1) level = parentLevel(level);
  return level[0] as Uint8Array;
}

function parentLevel(level: readonly Uint8Array[]): Uint8Array[] {
  const parents: Uint8Array[] = [];
  for (let i = 0; i + 1 < level.length; i += 2) {
    parents.push(merkleNodeHash(level[i] as Uint8Array, level[i + 1] as Uint8Array));
  }
  if (level.length % 2 === 1) parents.push(level[level.length - 1] as Uint8Array);
  return parents;
}

/** The inclusion path of leaf `index`, from the leaf upwards (RFC 9162 section 2.1.3.1). */
export function merkleInclusionPath(leafHashes: readonly Uint8Array[], index: number): Uint8Array[] {
  if (!Number.isSafeInteger(index) || index < 0 || index >= leafHashes.length) {
    throw new UsageError(`leaf ${index} of ${leafHashes.length}`);
  }
  const path: Uint8Array[] = [];
  let level = leafHashes;
  for (let i = index; level.length > 1; i >>>= 1) {
    const sibling = level[i ^ 1];
    if (sibling !== undefined) path.push(sibling);
    level = parentLevel(level);
  }
  return path;
}

/** The root that `path` leads to, or undefined where the path has not exactly the length this leaf needs. */
export function merkleRootFromPath(
  leafHash: Uint8Array,
  index: number,
  treeSize: number,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!isIndex(index) || !isIndex(treeSize) || index >= treeSize) return undefined;
  if (leafHash.length !== HASH_BYTES || path.some((hash) => hash.length !== HASH_BYTES)) return undefined;
  let node = leafHash;
  let i = index;
  let last = treeSize - 1;
  for (const sibling of path) {
    if (last === 0) return undefined;
    if (i % 2 === 1 || i === last) {
      node = merkleNodeHash(sibling, node);
      // Where this subtree is the ragged right edge, levels without a sibling are skipped.
      while (i % 2 === 0 && i !== 0) {
        i = Math.floor(i / 2);
        last = Math.floor(last / 2);
      }
    } else {
      node = merkleNodeHash(node, sibling);
    }
    i = Math.floor(i / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? node : undefined;
}

/** RFC 9162 section 2.1.3.2. Total: false on anything that is not exactly a proof. */
export function verifyMerkleInclusion(
  leafHash: Uint8Array,
  index: number,
  treeSize: number,
  path: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  const computed = merkleRootFromPath(leafHash, index, treeSize, path);
  return computed !== undefined && bytesEqual(computed, root);
}

/** The consistency path from the first `oldSize` leaves to all of them (RFC 9162 section 2.1.4.1); 0 < oldSize <= n. */
export function merkleConsistencyPath(leafHashes: readonly Uint8Array[], oldSize: number): Uint8Array[] {
  if (!isIndex(oldSize) || oldSize < 1 || oldSize > leafHashes.length) {
    throw new UsageError(`consistency from ${oldSize} of ${leafHashes.length} leaves`);
  }
  return subproof(leafHashes, oldSize, true);
}

function subproof(leaves: readonly Uint8Array[], oldSize: number, isWholeOldTree: boolean): Uint8Array[] {
  if (oldSize === leaves.length) return isWholeOldTree ? [] : [merkleRoot(leaves)];
  const split = largestPowerOfTwoBelow(leaves.length);
  const left = leaves.slice(0, split);
  const right = leaves.slice(split);
  if (oldSize <= split) return [...subproof(left, oldSize, isWholeOldTree), merkleRoot(right)];
  return [...subproof(right, oldSize - split, false), merkleRoot(left)];
}

/** RFC 9162 section 2.1.4.2. Total: false on anything that is not exactly a proof. */
export function verifyMerkleConsistency(
  oldSize: number,
  oldRoot: Uint8Array,
  newSize: number,
  newRoot: Uint8Array,
  path: readonly Uint8Array[],
): boolean {
  if (!isIndex(oldSize) || !isIndex(newSize) || oldSize < 1 || oldSize > newSize) return false;
  if (path.some((hash) => hash.length !== HASH_BYTES)) return false;
  if (oldSize === newSize) return path.length === 0 && bytesEqual(oldRoot, newRoot);
  const steps = isPowerOfTwo(oldSize) ? [oldRoot, ...path] : path;
  let oldIndex = oldSize - 1;
  let newIndex = newSize - 1;
  while (oldIndex % 2 === 1) {
    oldIndex = Math.floor(oldIndex / 2);
    newIndex = Math.floor(newIndex / 2);
  }
  const [first, ...rest] = steps;
  if (first === undefined) return false;
  let oldNode = first;
  let newNode = first;
  for (const hash of rest) {
    if (newIndex === 0) return false;
    if (oldIndex % 2 === 1 || oldIndex === newIndex) {
      oldNode = merkleNodeHash(hash, oldNode);
      newNode = merkleNodeHash(hash, newNode);
      while (oldIndex % 2 === 0 && oldIndex !== 0) {
        oldIndex = Math.floor(oldIndex / 2);
        newIndex = Math.floor(newIndex / 2);
      }
    } else {
      newNode = merkleNodeHash(newNode, hash);
    }
    oldIndex = Math.floor(oldIndex / 2);
    newIndex = Math.floor(newIndex / 2);
  }
  return newIndex === 0 && bytesEqual(oldNode, oldRoot) && bytesEqual(newNode, newRoot);
}

/**
 * The frontier of an append-only log: the roots of its perfect subtrees, largest first, at most one per bit of the size.
 * It is all that is needed to append and to know the root.
 */
export interface MerkleFrontier {
  readonly size: number;
  readonly roots: readonly Uint8Array[];
}

export const EMPTY_MERKLE_FRONTIER: MerkleFrontier = { size: 0, roots: [] };

export function appendToFrontier(frontier: MerkleFrontier, leafHash: Uint8Array): MerkleFrontier {
  const roots = [...frontier.roots];
  let node = leafHash;
  for (let size = frontier.size; size % 2 === 1; size = Math.floor(size / 2)) {
    node = merkleNodeHash(roots.pop() as Uint8Array, node);
  }
  roots.push(node);
  return { size: frontier.size + 1, roots };
}

export function frontierRoot(frontier: MerkleFrontier): Uint8Array {
  if (frontier.roots.length === 0) return emptyMerkleRoot();
  return frontier.roots.reduceRight((right, left) => merkleNodeHash(left, right));
}

/** Whether a decoded frontier has exactly the roots its size calls for. */
export function isWellFormedFrontier(frontier: MerkleFrontier): boolean {
  let bits = 0;
  for (let size = frontier.size; size > 0; size = Math.floor(size / 2)) bits += size % 2;
  return isIndex(frontier.size) && frontier.roots.length === bits;
}

function largestPowerOfTwoBelow(n: number): number {
  let power = 1;
  while (2 * power < n) power *= 2;
  return power;
}

function isPowerOfTwo(n: number): boolean {
  return largestPowerOfTwoBelow(n + 1) === n;
}

function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= 2 ** MERKLE_PATH_MAX;
}
