/**
 * The nodes of the tree in typed arrays. A reference is one integer: 0 the empty subtree, positive an inner node,
 * negative a leaf. Nodes are never changed once made; a new version of the tree shares all it did not touch.
 */
import { createEntryHeap, type EntryHeap, type EntryPlace } from './entry-heap.ts';
import { HASH_WORDS, hashBytes, hashPair, hashTriple } from './sha256-words.ts';

export const EMPTY_REF = 0;

const CHUNK_BITS = 14;
const CHUNK_NODES = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_NODES - 1;

/** Words of an inner node: hash, left, right. */
const INNER_WORDS = HASH_WORDS + 2;
const LEFT = HASH_WORDS;
const RIGHT = HASH_WORDS + 1;

/** Words of a leaf: key hash, leaf hash, page and offset of its entry, key and value lengths. */
const LEAF_WORDS = 2 * HASH_WORDS + 4;
const LEAF_HASH = HASH_WORDS;
const LEAF_PAGE = 2 * HASH_WORDS;
const LEAF_OFFSET = LEAF_PAGE + 1;
const LEAF_KEY_BYTES = LEAF_PAGE + 2;
const LEAF_VALUE_BYTES = LEAF_PAGE + 3;

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
  readonly place: EntryPlace;
}

export function createNodeStore(leafTag: Int32Array): NodeStore {
  return {
    inner: createPool(INNER_WORDS),
    leaves: createPool(LEAF_WORDS),
    heap: createEntryHeap(),
    leafTag,
    valueHash: new Int32Array(HASH_WORDS),
    place: { page: 0, offset: 0 },
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
  return ref === EMPTY_REF ? 0 : ref > 0 ? innerAt(ref) : leafAt(ref) + LEAF_HASH;
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
  for (let i = 0; i < HASH_WORDS; i++) chunk[at + i] = keyHashes[keyHashOffset + i] as number;
  hashBytes(value, store.valueHash, 0);
  hashTriple(store.leafTag, chunk, at, store.valueHash, chunk, at + LEAF_HASH);
  store.heap.store(key, value, store.place);
  chunk[at + LEAF_PAGE] = store.place.page;
  chunk[at + LEAF_OFFSET] = store.place.offset;
  chunk[at + LEAF_KEY_BYTES] = key.length;
  chunk[at + LEAF_VALUE_BYTES] = value.length;
  return ref;
}

export function releaseNode(store: NodeStore, ref: number): void {
  if (ref > 0) {
    store.inner.free.push(ref);
    return;
  }
  const chunk = leafChunk(store, ref);
  const at = leafAt(ref);
  const sizeBytes = (chunk[at + LEAF_KEY_BYTES] as number) + (chunk[at + LEAF_VALUE_BYTES] as number);
  store.heap.release(chunk[at + LEAF_PAGE] as number, chunk[at + LEAF_OFFSET] as number, sizeBytes);
  store.leaves.free.push(-ref);
}

export function leafHasKeyHash(
  store: NodeStore,
  ref: number,
  keyHashes: Int32Array,
  offset: number,
): boolean {
  const chunk = leafChunk(store, ref);
  const at = leafAt(ref);
  for (let i = 0; i < HASH_WORDS; i++) if (chunk[at + i] !== keyHashes[offset + i]) return false;
  return true;
}

/** Bit `depth` of a leaf's key hash, from the most significant. */
export function leafBit(store: NodeStore, ref: number, depth: number): number {
  return bitAt(leafChunk(store, ref), leafAt(ref), depth);
}

export function bitAt(words: Int32Array, offset: number, depth: number): number {
  return ((words[offset + (depth >> 5)] as number) >>> (31 - (depth & 31))) & 1;
}

export function leafKeyHash(store: NodeStore, ref: number): { words: Int32Array; offset: number } {
  return { words: leafChunk(store, ref), offset: leafAt(ref) };
}

/** Key and value as copies. */
export function leafEntry(store: NodeStore, ref: number): readonly [key: Uint8Array, value: Uint8Array] {
  const keyBytes = leafChunk(store, ref)[leafAt(ref) + LEAF_KEY_BYTES] as number;
  return [entryView(store, ref).slice(0, keyBytes), leafValue(store, ref)];
}

/** The value as a copy. */
export function leafValue(store: NodeStore, ref: number): Uint8Array {
  return entryView(store, ref).slice(leafChunk(store, ref)[leafAt(ref) + LEAF_KEY_BYTES]);
}

/** Key and value, one after the other, not a copy. */
function entryView(store: NodeStore, ref: number): Uint8Array {
  const chunk = leafChunk(store, ref);
  const at = leafAt(ref);
  const sizeBytes = (chunk[at + LEAF_KEY_BYTES] as number) + (chunk[at + LEAF_VALUE_BYTES] as number);
  return store.heap.view(chunk[at + LEAF_PAGE] as number, chunk[at + LEAF_OFFSET] as number, sizeBytes);
}

/** Whether a leaf's value is these bytes. */
export function leafHasValue(store: NodeStore, ref: number, value: Uint8Array): boolean {
  const chunk = leafChunk(store, ref);
  const at = leafAt(ref);
  if (chunk[at + LEAF_VALUE_BYTES] !== value.length) return false;
  const keyBytes = chunk[at + LEAF_KEY_BYTES] as number;
  const bytes = entryView(store, ref);
  for (let i = 0; i < value.length; i++) if (bytes[keyBytes + i] !== value[i]) return false;
  return true;
}

/** Memory of nodes and entries, free ones included. */
export function storeSizeBytes(store: NodeStore): number {
  const inner = store.inner.chunks.length * CHUNK_NODES * INNER_WORDS * 4;
  return inner + store.leaves.chunks.length * CHUNK_NODES * LEAF_WORDS * 4 + store.heap.sizeBytes();
}
