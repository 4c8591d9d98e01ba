/** A tree out of entries alone, each node hashed once: how a state is loaded. */
import { UsageError } from '@haca/primitives';
import { requireSizes } from './batch.ts';
import {
  bitAt,
  EMPTY_REF,
  joinNodes,
  leafKeyHash,
  makeLeaf,
  type NodeStore,
  releaseNode,
} from './node-store.ts';
import { HASH_WORDS, hashBytes } from './sha256-words.ts';

/** Leaves are sorted by the first bits of their paths in this many lots. */
const LOT_BITS = 8;
/** Of one lot: 32 bits of path and an index share the 53 bits of a float. */
const LOT_LEAVES_MAX = 1 << 21;
/** Words kept of a leaf until all are there: its reference and the first 64 bits of its path. */
const LEAF_WORDS = 3;
const KNOWN_BITS = 64;

interface Lot {
  words: Int32Array;
  count: number;
}

/** Leaves of one lot in the order of their paths. */
interface SortedLot {
  readonly store: NodeStore;
  readonly refs: Int32Array;
  /** Two words for each. */
  readonly paths: Int32Array;
}

/** Throws `UsageError` where a key comes twice or a size is out of bounds; the nodes are released then. */
export function buildTree(
  store: NodeStore,
  entries: Iterable<readonly [key: Uint8Array, value: Uint8Array]>,
): { readonly root: number; readonly size: number } {
  const lots = Array.from({ length: 1 << LOT_BITS }, (): Lot => ({ words: new Int32Array(0), count: 0 }));
  const path = new Int32Array(HASH_WORDS);
  let size = 0;
  try {
    for (const [key, value] of entries) {
      requireSizes(key, value);
      hashBytes(key, path, 0);
      const ref = makeLeaf(store, key, value, path, 0);
      addLeaf(lots[(path[0] as number) >>> (32 - LOT_BITS)] as Lot, ref, path);
      size++;
    }
    return { root: joinLots(store, lots), size };
  } catch (error) {
    for (const { words, count } of lots)
      for (let i = 0; i < count; i++) releaseNode(store, words[LEAF_WORDS * i] as number);
    throw error;
  }
}

function addLeaf(lot: Lot, ref: number, path: Int32Array): void {
  const at = LEAF_WORDS * lot.count;
  if (at === lot.words.length) {
    const words = new Int32Array(Math.max(64 * LEAF_WORDS, 2 * at));
    words.set(lot.words);
    lot.words = words;
  }
  lot.words[at] = ref;
  lot.words[at + 1] = path[0] as number;
  lot.words[at + 2] = path[1] as number;
  lot.count++;
}

/** All lots are sorted before the first inner node is made: a key that comes twice is found while there are leaves only. */
function joinLots(store: NodeStore, lots: readonly Lot[]): number {
  const sorted = lots.map((lot) => sortLot(store, lot));
  let level = sorted.map((lot) => joinLeaves(lot, 0, lot.refs.length, LOT_BITS));
  while (level.length > 1) {
    const above: number[] = [];
    for (let i = 0; i < level.length; i += 2)
      above.push(joinNodes(store, level[i] as number, level[i + 1] as number));
    level = above;
  }
  return level[0] as number;
}

function sortLot(store: NodeStore, { words, count }: Lot): SortedLot {
  if (count > LOT_LEAVES_MAX) throw new UsageError(`more than ${LOT_LEAVES_MAX << LOT_BITS} entries`);
  const sortKeys = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const first = words[LEAF_WORDS * i + 1] as number;
    const second = words[LEAF_WORDS * i + 2] as number;
    // Bits 8 to 39 of the path: the lot has the first eight in common.
    sortKeys[i] = (((first << LOT_BITS) | (second >>> (32 - LOT_BITS))) >>> 0) * LOT_LEAVES_MAX + i;
  }
  sortKeys.sort();
  const refs = new Int32Array(count);
  const paths = new Int32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const at = LEAF_WORDS * ((sortKeys[i] as number) % LOT_LEAVES_MAX);
    refs[i] = words[at] as number;
    paths[2 * i] = words[at + 1] as number;
    paths[2 * i + 1] = words[at + 2] as number;
  }
  const lot = { store, refs, paths };
  sortTies(lot);
  return lot;
}

/** The order is right by the first 40 bits; where those are equal, by the others. Equal paths are equal keys. */
function sortTies(lot: SortedLot): void {
  for (let i = 1; i < lot.refs.length; i++) {
    for (let j = i; j > 0; j--) {
      const difference = comparePaths(lot, j - 1, j);
      if (difference === 0) throw new UsageError('a key comes twice in the entries');
      if (difference < 0) break;
      swap(lot.refs, j - 1, j);
      swap(lot.paths, 2 * j - 2, 2 * j);
      swap(lot.paths, 2 * j - 1, 2 * j + 1);
    }
  }
}

function swap(words: Int32Array, i: number, j: number): void {
  const word = words[i] as number;
  words[i] = words[j] as number;
  words[j] = word;
}

function comparePaths({ store, refs, paths }: SortedLot, i: number, j: number): number {
  for (let word = 0; word < 2; word++) {
    const difference = ((paths[2 * i + word] as number) >>> 0) - ((paths[2 * j + word] as number) >>> 0);
    if (difference !== 0) return difference;
  }
  const first = leafKeyHash(store, refs[i] as number).slice();
  const second = leafKeyHash(store, refs[j] as number);
  for (let word = 2; word < HASH_WORDS; word++) {
    const difference = ((first[word] as number) >>> 0) - ((second[word] as number) >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function joinLeaves(lot: SortedLot, low: number, high: number, depth: number): number {
  if (low === high) return EMPTY_REF;
  if (high - low === 1) return lot.refs[low] as number;
  let from = low;
  let to = high;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (pathBit(lot, middle, depth) === 1) to = middle;
    else from = middle + 1;
  }
  const left = joinLeaves(lot, low, from, depth + 1);
  return joinNodes(lot.store, left, joinLeaves(lot, from, high, depth + 1));
}

function pathBit({ store, refs, paths }: SortedLot, index: number, depth: number): number {
  if (depth < KNOWN_BITS) return bitAt(paths, 2 * index, depth);
  return bitAt(leafKeyHash(store, refs[index] as number), 0, depth);
}
