/** Makes a new version of a tree out of an old one and a batch, sharing every subtree that the batch does not touch. */
import type { Change, SortedBatch } from './batch.ts';
import {
  bitAt,
  EMPTY_REF,
  joinNodes,
  leafBit,
  leafHasKey,
  leafHasValue,
  leftOf,
  makeLeaf,
  type NodeStore,
  rightOf,
} from './node-store.ts';
import { HASH_WORDS } from './sha256-words.ts';

export interface AppliedBatch {
  readonly root: number;
  /** Nodes of the new version that the old one has not. */
  readonly created: readonly number[];
  /** Nodes of the old version that the new one has not. */
  readonly retired: readonly number[];
  /** Entries added less entries removed. */
  readonly sizeDelta: number;
}

interface Run extends SortedBatch {
  readonly store: NodeStore;
  readonly created: number[];
  readonly retired: number[];
  sizeDelta: number;
}

export function applyBatch(store: NodeStore, root: number, batch: SortedBatch): AppliedBatch {
  const run: Run = { ...batch, store, created: [], retired: [], sizeDelta: 0 };
  const newRoot = applyTo(run, root, 0, batch.order.length, 0);
  return { root: newRoot, created: run.created, retired: run.retired, sizeDelta: run.sizeDelta };
}

/** `ref` with the changes from `low` up to `high` applied, all of which lie below it at `depth`. */
function applyTo(run: Run, ref: number, low: number, high: number, depth: number): number {
  if (low === high) return ref;
  if (ref === EMPTY_REF) return build(run, low, high, depth);
  if (ref < 0) return applyToLeaf(run, ref, low, high, depth);
  const left = leftOf(run.store, ref);
  const right = rightOf(run.store, ref);
  const middle = splitAt(run, low, high, depth);
  const newLeft = applyTo(run, left, low, middle, depth + 1);
  const newRight = applyTo(run, right, middle, high, depth + 1);
  if (newLeft === left && newRight === right) return ref;
  run.retired.push(ref);
  return join(run, newLeft, newRight);
}

function applyToLeaf(run: Run, leaf: number, low: number, high: number, depth: number): number {
  if (low === high) return leaf;
  if (high - low === 1) {
    const index = run.order[low] as number;
    const [key, value] = run.changes[index] as Change;
    if (leafHasKey(run.store, leaf, key)) return replaceLeaf(run, leaf, index);
    if (value === null) return leaf;
  }
  const middle = splitAt(run, low, high, depth);
  if (leafBit(run.store, leaf, depth) === 0) {
    const left = applyToLeaf(run, leaf, low, middle, depth + 1);
    return join(run, left, build(run, middle, high, depth + 1));
  }
  const left = build(run, low, middle, depth + 1);
  return join(run, left, applyToLeaf(run, leaf, middle, high, depth + 1));
}

function replaceLeaf(run: Run, leaf: number, index: number): number {
  const value = (run.changes[index] as Change)[1];
  if (value !== null && leafHasValue(run.store, leaf, value)) return leaf;
  run.retired.push(leaf);
  run.sizeDelta--;
  return addLeaf(run, index);
}

function addLeaf(run: Run, index: number): number {
  const [key, value] = run.changes[index] as Change;
  if (value === null) return EMPTY_REF;
  const leaf = makeLeaf(run.store, key, value, run.keyHashes, HASH_WORDS * index);
  run.created.push(leaf);
  run.sizeDelta++;
  return leaf;
}

/** A subtree out of changes alone. */
function build(run: Run, low: number, high: number, depth: number): number {
  if (low === high) return EMPTY_REF;
  if (high - low === 1) return addLeaf(run, run.order[low] as number);
  const middle = splitAt(run, low, high, depth);
  const left = build(run, low, middle, depth + 1);
  return join(run, left, build(run, middle, high, depth + 1));
}

function join(run: Run, left: number, right: number): number {
  const ref = joinNodes(run.store, left, right);
  if (ref !== left && ref !== right) run.created.push(ref);
  return ref;
}

/** The first change from `low` up to `high` whose key hash has bit `depth` set. */
function splitAt(run: Run, low: number, high: number, depth: number): number {
  let from = low;
  let to = high;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (bitAt(run.keyHashes, HASH_WORDS * (run.order[middle] as number), depth) === 1) to = middle;
    else from = middle + 1;
  }
  return from;
}
