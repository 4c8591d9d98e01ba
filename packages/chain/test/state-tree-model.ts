/** The state tree as spec/state-tree.md defines it, by the definition and nothing else: slow, and obviously right. */
import { createHash } from 'node:crypto';

export type Bytes = Uint8Array<ArrayBufferLike>;
export type Entry = readonly [key: Bytes, value: Bytes];

export function sha256Of(...parts: readonly Bytes[]): Bytes {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

const LEAF_TAG = sha256Of(new TextEncoder().encode('haca/state-leaf/1\0'));
const EMPTY = new Uint8Array(32);

function bit(keyHash: Bytes, depth: number): number {
  return ((keyHash[depth >> 3] as number) >> (7 - (depth % 8))) & 1;
}

/** TREE-3 to TREE-5: empty is zero, one entry is a leaf, more are split by the next bit. */
export function modelRoot(entries: readonly Entry[], depth = 0): Bytes {
  const [first] = entries;
  if (first === undefined) return EMPTY;
  if (entries.length === 1) return sha256Of(LEAF_TAG, sha256Of(first[0]), sha256Of(first[1]));
  const side = (wanted: number) => entries.filter(([key]) => bit(sha256Of(key), depth) === wanted);
  return sha256Of(modelRoot(side(0), depth + 1), modelRoot(side(1), depth + 1));
}
