/**
 * Merkle trees of proofs: leaves are rows of up to 1024 bytes, nodes pairs of digests, both keyed BLAKE3 under keys of
 * their own. The commitment is a cap: all digests of the level with 2^min(capLog, depth) of them, left to right.
 */
import { bytesEqual } from '../bytes.ts';
import { UsageError } from '../errors.ts';
import { exactLog2 } from './bits.ts';
import { deriveKey } from './blake3.ts';
import type { ZkKernels } from './kernels.ts';

export const DIGEST_BYTES = 32;
const NODE_BYTES = 64;
export const K_LEAF: Uint8Array = deriveKey('haca zkml v1 merkle leaf', new Uint8Array(0));
export const K_NODE: Uint8Array = deriveKey('haca zkml v1 merkle node', new Uint8Array(0));

/** levels[0] are the 2^depth leaf digests, each next level half as many, the last one the root. */
export type MerkleLevels = readonly Uint8Array[];

/** The digest of each of `count` rows of `rowBytes` bytes that stand one after another. */
export function leafHashes(
  kernels: ZkKernels,
  rows: Uint8Array,
  rowBytes: number,
  count: number,
): Uint8Array {
  const out = new Uint8Array(DIGEST_BYTES * count);
  kernels.hashMany({ key: K_LEAF, messages: rows, messageBytes: rowBytes, count, out });
  return out;
}

/** All levels over 2^depth leaf digests. */
export function merkleLevels(kernels: ZkKernels, leaves: Uint8Array): MerkleLevels {
  const depth = exactLog2(leaves.length / DIGEST_BYTES);
  if (depth === undefined) throw new UsageError(`${leaves.length} bytes of leaf digests`);
  const levels = [leaves];
  for (let height = 1; height <= depth; height++) {
    const count = 2 ** (depth - height);
    const out = new Uint8Array(DIGEST_BYTES * count);
    const messages = levels[height - 1] as Uint8Array;
    kernels.hashMany({ key: K_NODE, messages, messageBytes: NODE_BYTES, count, out });
    levels.push(out);
  }
  return levels;
}

/** The 2^min(capLog, depth) digests of the cap. */
export function capOf(levels: MerkleLevels, capLog: number): Uint8Array {
  const depth = levels.length - 1;
  return levels[depth - Math.min(capLog, depth)] as Uint8Array;
}

/** The siblings from the leaf up to below the cap, 32 bytes each: depth - min(capLog, depth) of them. */
export function openPath(levels: MerkleLevels, index: number, capLog: number): Uint8Array {
  const depth = levels.length - 1;
  if (!Number.isInteger(index) || index < 0 || index >= 2 ** depth) {
    throw new UsageError(`leaf ${index} of 2^${depth}`);
  }
  const pathLength = depth - Math.min(capLog, depth);
  const path = new Uint8Array(DIGEST_BYTES * pathLength);
  for (let height = 0, at = index; height < pathLength; height++, at = Math.floor(at / 2)) {
    const sibling = DIGEST_BYTES * (at % 2 === 0 ? at + 1 : at - 1);
    path.set((levels[height] as Uint8Array).subarray(sibling, sibling + DIGEST_BYTES), DIGEST_BYTES * height);
  }
  return path;
}

export interface PathsRequest {
  readonly kernels: Pick<ZkKernels, 'hashMany'>;
  /** Comes from the caller's own commitment, never from beside the paths. */
  readonly cap: Uint8Array;
  readonly capLog: number;
  readonly depth: number;
  /** Leaf numbers, each below 2^depth; repetitions are allowed. */
  readonly indices: readonly number[];
  /** 32 bytes a query: the digests of the leaves, computed by the caller from the values opened. */
  readonly leafHashes: Uint8Array;
  /** The paths of all queries one after another, each as `openPath` gives it. */
  readonly paths: Uint8Array;
}

/**
 * Whether every path leads from its leaf to the cap, level by level over all queries. Throws `UsageError` where sizes or
 * indices do not fit the tree, and where there is no query: that would pass without a check.
 */
export function verifyPaths(request: PathsRequest): boolean {
  checkPaths(request);
  const { kernels, cap, capLog, depth, indices, paths } = request;
  const count = indices.length;
  const pathLength = depth - Math.min(capLog, depth);
  const digests = request.leafHashes.slice(0, DIGEST_BYTES * count);
  const pairs = new Uint8Array(NODE_BYTES * count);
  for (let height = 0; height < pathLength; height++) {
    for (let query = 0; query < count; query++) {
      const own = DIGEST_BYTES * query;
      const sibling = DIGEST_BYTES * (query * pathLength + height);
      const isRight = Math.floor((indices[query] as number) / 2 ** height) % 2;
      const ownAt = NODE_BYTES * query + DIGEST_BYTES * isRight;
      const siblingAt = NODE_BYTES * query + DIGEST_BYTES * (1 - isRight);
      for (let i = 0; i < DIGEST_BYTES; i++) {
        pairs[ownAt + i] = digests[own + i] as number;
        pairs[siblingAt + i] = paths[sibling + i] as number;
      }
    }
    kernels.hashMany({ key: K_NODE, messages: pairs, messageBytes: NODE_BYTES, count, out: digests });
  }
  return indices.every((index, query) => {
    const inCap = DIGEST_BYTES * Math.floor(index / 2 ** pathLength);
    const own = DIGEST_BYTES * query;
    return bytesEqual(digests.subarray(own, own + DIGEST_BYTES), cap.subarray(inCap, inCap + DIGEST_BYTES));
  });
}

function checkPaths({ cap, capLog, depth, indices, leafHashes: leaves, paths }: PathsRequest): void {
  if (!Number.isInteger(depth) || depth < 0 || depth > 32) throw new UsageError(`a tree of depth ${depth}`);
  if (indices.length === 0) throw new UsageError('no query');
  if (!Number.isInteger(capLog) || capLog < 0) throw new UsageError(`a cap of 2^${capLog}`);
  const capDepth = Math.min(capLog, depth);
  const pathBytes = DIGEST_BYTES * (depth - capDepth);
  if (cap.length !== DIGEST_BYTES * 2 ** capDepth) throw new UsageError(`a cap of ${cap.length} bytes`);
  if (leaves.length !== DIGEST_BYTES * indices.length) throw new UsageError('not one leaf digest a query');
  if (paths.length !== pathBytes * indices.length) throw new UsageError('not one path a query');
  for (const index of indices) {
    if (!Number.isInteger(index) || index < 0 || index >= 2 ** depth) {
      throw new UsageError(`leaf ${index} of 2^${depth}`);
    }
  }
}
