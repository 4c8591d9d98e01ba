/**
 * The nodes of the tree in typed arrays. A reference is one integer: 0 the empty subtree, positive an inner node,
 * negative a leaf. Nodes are never changed once made; a new version of the tree shares all it did not touch.
 */
import { createEntryHeap, type EntryHeap } from './entry-heap.ts';
import { HASH_WORDS, hashBytes, hashPair, hashTriple } from './sha256-words.ts';

export const EMPTY_REF = 0;

const CHUNK_BITS = 14;
const CHUNK_NODES = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_NODES - 1;

/** Words of an inner node: hash, left, right. */
const INNER_WORDS = HASH_WORDS + 2;
const LEFT = HASH_WORDS;
const RIGHT = HASH_WORDS + 1;

/**
 * Words of a leaf: leaf hash, address of its entry, lengths of key and value. Its path is hashed anew where it is needed,
 * which is seldom: keeping it would take 32 bytes a leaf.
 */
const LEAF_WORDS = HASH_WORDS + 2;
const LEAF_ADDRESS = HASH_WORDS;
const LEAF_LENGTHS = HASH_WORDS + 1;
/** Lengths in one word: the key's less one in 10 bits, the value's in 21. */
const VALUE_LENGTH_BITS = 21;
const VALUE_LENGTH_MASK = (1 << VALUE_LENGTH_BITS) - 1;

const EMPTY_HASH = new Int32Array(HASH_WORDS);

interface NodePool {
  readonly chunks: Int32Array[];
  readonly nodeWords: number;
  readonly free: number[];
  next: number;
}

function createPool(nodeWords: number): NodePool {
  return { chunks: [], nodeWords, free: [], next: 1 };
}

function takeNode(pool: NodePool): number {
  const free = pool.free.pop();
  if (free !== undefined) return free;
  const id = pool.next++;
  if (id >> CHUNK_BITS >= pool.chunks.length) pool.chunks.push(new Int32Array(CHUNK_NODES * pool.nodeWords));
  return id;
}

export interface NodeStore {
  readonly inner: NodePool;
  readonly leaves: NodePool;
  readonly heap: EntryHeap;
  readonly leafTag: Int32Array;
  readonly valueHash: Int32Array;
  /** Path of the leaf `pathOf`: asked for several times in a row while a leaf moves down. */
  readonly path: Int32Array;
  pathOf: number;
}

export function createNodeStore(leafTag: Int32Array): NodeStore {
  return {
    inner: createPool(INNER_WORDS),
    leaves: createPool(LEAF_WORDS),
    heap: createEntryHeap(),
    leafTag,
    valueHash: new Int32Array(HASH_WORDS),
    path: new Int32Array(HASH_WORDS),
    pathOf: EMPTY_REF,
  };
}

function innerChunk(store: NodeStore, ref: number): Int32Array {
  return store.inner.chunks[ref >> CHUNK_BITS] as Int32Array;
}

function innerAt(ref: number): number {
  return (ref & CHUNK_MASK) * INNER_WORDS;
}

function leafChunk(store: NodeStore, ref: number): Int32Array {
  return store.leaves.chunks[-ref >> CHUNK_BITS] as Int32Array;
}

function leafAt(ref: number): number {
  return (-ref & CHUNK_MASK) * LEAF_WORDS;
}

export function leftOf(store: NodeStore, ref: number): number {
  return innerChunk(store, ref)[innerAt(ref) + LEFT] as number;
}

export function rightOf(store: NodeStore, ref: number): number {
  return innerChunk(store, ref)[innerAt(ref) + RIGHT] as number;
}

function hashChunk(store: NodeStore, ref: number): Int32Array {
  return ref === EMPTY_REF ? EMPTY_HASH : ref > 0 ? innerChunk(store, ref) : leafChunk(store, ref);
}

function hashAt(ref: number): number {
  return ref === EMPTY_REF ? 0 : ref > 0 ? innerAt(ref) : leafAt(ref);
}

/** The hash of any subtree, as words of an array. */
export function hashOf(store: NodeStore, ref: number): { words: Int32Array; offset: number } {
  return { words: hashChunk(store, ref), offset: hashAt(ref) };
}

/** An inner node over two subtrees that are not both empty, nor one empty and the other a leaf. */
export function makeInner(store: NodeStore, left: number, right: number): number {
  const ref = takeNode(store.inner);
  const chunk = innerChunk(store, ref);
  const at = innerAt(ref);
  chunk[at + LEFT] = left;
  chunk[at + RIGHT] = right;
  hashPair(hashChunk(store, left), hashAt(left), hashChunk(store, right), hashAt(right), chunk, at);
  return ref;
}

/** A leaf; the key hash is 8 words at `keyHashOffset` of `keyHashes`. */
export function makeLeaf(
  store: NodeStore,
  key: Uint8Array,
  value: Uint8Array,
  keyHashes: Int32Array,
  keyHashOffset: number,
): number {
  const ref = -takeNode(store.leaves);
  const chunk = leafChunk(store, ref);
  const at = leafAt(ref);
  hashBytes(value, store.valueHash, 0);
  hashTriple(store.leafTag, keyHashes, keyHashOffset, store.valueHash, chunk, at);
  chunk[at + LEAF_ADDRESS] = store.heap.store(key, value);
  chunk[at + LEAF_LENGTHS] = ((key.length - 1) << VALUE_LENGTH_BITS) | value.length;
  return ref;
}

/** A leaf that is alone below a node takes the node's place, so that the tree's form depends on its keys only. */
export function joinNodes(store: NodeStore, left: number, right: number): number {
  if (left === EMPTY_REF && right <= 0) return right;
  if (right === EMPTY_REF && left <= 0) return left;
  return makeInner(store, left, right);
}

export function releaseNode(store: NodeStore, ref: number): void {
  if (ref > 0) {
    store.inner.free.push(ref);
    return;
  }
  if (store.pathOf === ref) store.pathOf = EMPTY_REF;
  store.heap.release(addressOf(store, ref), keyLength(store, ref) + valueLength(store, ref));
  store.leaves.free.push(-ref);
}

function addressOf(store: NodeStore, leaf: number): number {
  return (leafChunk(store, leaf)[leafAt(leaf) + LEAF_ADDRESS] as number) >>> 0;
}

function keyLength(store: NodeStore, leaf: number): number {
  return ((leafChunk(store, leaf)[leafAt(leaf) + LEAF_LENGTHS] as number) >> VALUE_LENGTH_BITS) + 1;
}

function valueLength(store: NodeStore, leaf: number): number {
  return (leafChunk(store, leaf)[leafAt(leaf) + LEAF_LENGTHS] as number) & VALUE_LENGTH_MASK;
}

export function leafHasKey(store: NodeStore, ref: number, key: Uint8Array): boolean {
  const keyBytes = keyLength(store, ref);
  if (keyBytes !== key.length) return false;
  return store.heap.holds(addressOf(store, ref), keyBytes + valueLength(store, ref), 0, key);
}

/** Whether a leaf's value is these bytes. */
export function leafHasValue(store: NodeStore, ref: number, value: Uint8Array): boolean {
  if (valueLength(store, ref) !== value.length) return false;
  const keyBytes = keyLength(store, ref);
  return store.heap.holds(addressOf(store, ref), keyBytes + value.length, keyBytes, value);
}

/** Bit `depth` of a leaf's path, from the most significant. */
export function leafBit(store: NodeStore, ref: number, depth: number): number {
  return bitAt(leafKeyHash(store, ref), 0, depth);
}

export function bitAt(words: Int32Array, offset: number, depth: number): number {
  return ((words[offset + (depth >> 5)] as number) >>> (31 - (depth & 31))) & 1;
}

/** The path of a leaf: eight words that hold until the next call. */
export function leafKeyHash(store: NodeStore, ref: number): Int32Array {
  if (store.pathOf !== ref) {
    hashBytes(entryView(store, ref).subarray(0, keyLength(store, ref)), store.path, 0);
    store.pathOf = ref;
  }
  return store.path;
}

/** Key and value as copies. */
export function leafEntry(store: NodeStore, ref: number): readonly [key: Uint8Array, value: Uint8Array] {
  return [entryView(store, ref).slice(0, keyLength(store, ref)), leafValue(store, ref)];
}

/** The value as a copy. */
export function leafValue(store: NodeStore, ref: number): Uint8Array {
  return entryView(store, ref).slice(keyLength(store, ref));
}

/** Key and value, one after the other, not a copy. */
function entryView(store: NodeStore, ref: number): Uint8Array {
  return store.heap.view(addressOf(store, ref), keyLength(store, ref) + valueLength(store, ref));
}

/** Memory of nodes and entries, free ones included. */
export function storeSizeBytes(store: NodeStore): number {
  const inner = store.inner.chunks.length * CHUNK_NODES * INNER_WORDS * 4;
  return inner + store.leaves.chunks.length * CHUNK_NODES * LEAF_WORDS * 4 + store.heap.sizeBytes();
}
