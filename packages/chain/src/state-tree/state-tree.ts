/**
 * The authenticated state: a map from byte keys to byte values with a Merkle root that depends on its content only, and
 * proofs for any key at any of the newest versions. Format and hashing are normative in spec/state-tree.md.
 */
import { encodeStoreProof, type StoreProofEnd } from '@haca/light-client';
import { domainHash, UsageError } from '@haca/primitives';
import { type AppliedBatch, applyBatch } from './apply-batch.ts';
import { type Change, sortBatch } from './batch.ts';
import { buildTree } from './build.ts';
import {
  bitAt,
  createNodeStore,
  EMPTY_REF,
  hashOf,
  leafEntry,
  leafHasKey,
  leafKeyHash,
  leafValue,
  leftOf,
  type NodeStore,
  releaseNode,
  rightOf,
  storeSizeBytes,
} from './node-store.ts';
import { HASH_WORDS, hashBytes, wordsOfBytes, wordsToBytes } from './sha256-words.ts';

/** First 32 bytes of every leaf's hash input. */
const LEAF_TAG = domainHash('haca/state-leaf/1', new Uint8Array(0));

/** A pinned version is given up once the forgotten ones since hold this many times `retiredNodesMax`. */
const PINNED_FACTOR = 4;

export interface StateTreeOptions {
  /** How many of the newest versions stay provable, at least 1; 16 if not said. */
  readonly versionsKept?: number;
  /** Older versions are forgotten before they hold more nodes than this beside the newest; 1,000,000 if not said. */
  readonly retiredNodesMax?: number;
}

export interface ProvenValue {
  /** Null where the key is not there. */
  readonly value: Uint8Array | null;
  /** Encoded store proof of the value or of its absence. */
  readonly proof: Uint8Array;
}

/** A committed version that stays whole, whatever is committed after it, until it is released. */
export interface PinnedState {
  readonly height: number;
  readonly root: Uint8Array;
  readonly size: number;
  /** All entries in the order of their paths. Throws `UsageError` once released, or given up because it held too much memory. */
  readonly entries: () => IterableIterator<readonly [key: Uint8Array, value: Uint8Array]>;
  readonly prove: (key: Uint8Array) => ProvenValue;
  readonly release: () => void;
}

/** A version that was computed and not committed: what a proposed block would make of the state. */
export interface StagedState {
  readonly root: Uint8Array;
  readonly size: number;
  readonly get: (key: Uint8Array) => Uint8Array | undefined;
}

export interface StateTree {
  /** Of the newest committed version, as are `root` and `height`. */
  readonly size: number;
  /** 32 bytes; all zero for an empty state. */
  readonly root: Uint8Array;
  readonly height: number;
  /** The value as a copy, or undefined. */
  readonly get: (key: Uint8Array) => Uint8Array | undefined;
  readonly has: (key: Uint8Array) => boolean;
  /** Fills an empty tree that has no version yet; gives the root. */
  readonly load: (height: number, entries: Iterable<readonly [Uint8Array, Uint8Array]>) => Uint8Array;
  /**
   * Adds entries to a tree that has one version, as if they had been loaded with it; gives the root. They come in the order of
   * their paths, and none may be there yet.
   */
  readonly extend: (entries: readonly (readonly [Uint8Array, Uint8Array])[]) => Uint8Array;
  /** Computes the version that the changes would make. Several may be staged on one base; commit one or discard all. */
  readonly stage: (changes: readonly Change[]) => StagedState;
  /** Makes a staged version the newest; every other staged version is discarded with that. */
  readonly commit: (staged: StagedState, height: number) => void;
  readonly discard: (staged: StagedState) => void;
  /** `stage` and `commit` in one; gives the root. */
  readonly update: (height: number, changes: readonly Change[]) => Uint8Array;
  /** Committed heights that `getAt`, `rootAt` and `prove` answer for, ascending. */
  readonly heights: () => readonly number[];
  readonly rootAt: (height: number) => Uint8Array;
  readonly getAt: (key: Uint8Array, height: number) => Uint8Array | undefined;
  /** At a kept height, the newest if not said; throws `UsageError` for any other. */
  readonly prove: (key: Uint8Array, height?: number) => ProvenValue;
  /** All entries of the newest version in the order of their key hashes; ends with a `UsageError` if the tree changes. */
  readonly entries: () => IterableIterator<readonly [key: Uint8Array, value: Uint8Array]>;
  /** Keeps the newest version for a reader that takes its time. */
  readonly pin: () => PinnedState;
  /** Memory that nodes and entries take, kept versions included. */
  readonly sizeBytes: () => number;
}

interface Version {
  readonly height: number;
  readonly root: number;
  readonly size: number;
  /** Nodes of the version before that this one has not: free once that one is forgotten. */
  readonly retired: Int32Array;
}

const NONE_RETIRED = new Int32Array(0);
const NO_VERSION: Version = { height: 0, root: EMPTY_REF, size: 0, retired: NONE_RETIRED };

export function createStateTree(options: StateTreeOptions = {}): StateTree {
  const { versionsKept = 16, retiredNodesMax = 1_000_000 } = options;
  if (!Number.isSafeInteger(versionsKept) || versionsKept < 1)
    throw new UsageError('versionsKept is at least 1');
  const store = createNodeStore(wordsOfBytes(LEAF_TAG));
  const versions: Version[] = [];
  const pending = new Map<StagedState, AppliedBatch>();
  const pins = new Set<Version['height']>();
  let retiredNodes = 0;

  const newest = (): Version => versions.at(-1) ?? NO_VERSION;

  function versionAt(height: number): Version {
    const found = versions.find((version) => version.height === height);
    if (found === undefined)
      throw new UsageError(`height ${height} is not kept; kept are ${heights().join(', ')}`);
    return found;
  }

  function heights(): readonly number[] {
    return versions.map(({ height }) => height);
  }

  function stage(changes: readonly Change[]): StagedState {
    const base = newest();
    const applied = applyBatch(store, base.root, sortBatch(changes));
    const staged: StagedState = {
      root: rootBytes(store, applied.root),
      size: base.size + applied.sizeDelta,
      get: (key) => {
        if (!pending.has(staged)) throw new UsageError('the staged version was committed or discarded');
        return valueIn(store, applied.root, key);
      },
    };
    pending.set(staged, applied);
    return staged;
  }

  function takePending(staged: StagedState): AppliedBatch {
    const applied = pending.get(staged);
    if (applied === undefined) throw new UsageError('not staged here, or committed or discarded before');
    pending.delete(staged);
    return applied;
  }

  function discard(staged: StagedState): void {
    for (const ref of takePending(staged).created) releaseNode(store, ref);
  }

  function commit(staged: StagedState, height: number): void {
    requireNextHeight(height);
    const { root, retired } = takePending(staged);
    for (const other of [...pending.keys()]) discard(other);
    versions.push({ height, root, size: staged.size, retired: new Int32Array(retired) });
    retiredNodes += retired.length;
    forgetOld();
  }

  function forgetOld(): void {
    if (retiredNodes > PINNED_FACTOR * retiredNodesMax) pins.clear();
    while (versions.length > versionsKept || (retiredNodes > retiredNodesMax && versions.length > 1)) {
      if (pins.has((versions[0] as Version).height)) return;
      forgetOldest();
    }
  }

  function pin(): PinnedState {
    const version = newest();
    const { height } = version;
    if (version === NO_VERSION || pins.has(height)) throw new UsageError(`height ${height} can't be pinned`);
    pins.add(height);
    const requirePinned = (): void => {
      if (!pins.has(height)) throw new UsageError(`the state of height ${height} is pinned no more`);
    };
    return {
      height,
      root: rootBytes(store, version.root),
      size: version.size,
      entries: () => entriesOf(version.root, requirePinned),
      prove: (key) => {
        requirePinned();
        return prove(store, version.root, key);
      },
      release: () => {
        pins.delete(height);
        forgetOld();
      },
    };
  }

  function requireNextHeight(height: number): void {
    const last = versions.at(-1);
    if (!Number.isSafeInteger(height) || height < 0 || (last !== undefined && height <= last.height)) {
      throw new UsageError(`height ${height} after ${last === undefined ? 'none' : last.height}`);
    }
  }

  /** What the second oldest version retired belongs to the oldest alone. */
  function forgetOldest(): void {
    versions.shift();
    const oldest = versions[0] as Version;
    for (const ref of oldest.retired) releaseNode(store, ref);
    retiredNodes -= oldest.retired.length;
    versions[0] = { ...oldest, retired: NONE_RETIRED };
  }

  function load(height: number, entries: Iterable<readonly [Uint8Array, Uint8Array]>): Uint8Array {
    if (versions.length > 0 || pending.size > 0) throw new UsageError('only an empty tree can be loaded');
    requireNextHeight(height);
    const { root, size } = buildTree(store, entries);
    versions.push({ height, root, size, retired: NONE_RETIRED });
    return rootBytes(store, root);
  }

  function extend(entries: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array {
    const [version] = versions;
    if (version === undefined || versions.length > 1 || pending.size > 0 || pins.size > 0)
      throw new UsageError('only a tree with a single version can be extended');
    const batch = sortBatch(entries);
    if (batch.order.some((index, i) => index !== i))
      throw new UsageError('entries in the order of their paths');
    const applied = applyBatch(store, version.root, batch);
    if (applied.sizeDelta !== entries.length) {
      for (const ref of applied.created) releaseNode(store, ref);
      throw new UsageError('a key is there already');
    }
    for (const ref of applied.retired) releaseNode(store, ref);
    versions[0] = { ...version, root: applied.root, size: version.size + entries.length };
    return rootBytes(store, applied.root);
  }

  function entries(): IterableIterator<readonly [Uint8Array, Uint8Array]> {
    const version = newest();
    return entriesOf(version.root, () => {
      if (newest() !== version) throw new UsageError('the tree changed while its entries were read');
    });
  }

  function* entriesOf(root: number, requireUnchanged: () => void) {
    const waiting = [root];
    for (let ref = waiting.pop(); ref !== undefined; ref = waiting.pop()) {
      requireUnchanged();
      if (ref < 0) yield leafEntry(store, ref);
      else if (ref !== EMPTY_REF) waiting.push(rightOf(store, ref), leftOf(store, ref));
    }
  }

  return {
    get size() {
      return newest().size;
    },
    get root() {
      return rootBytes(store, newest().root);
    },
    get height() {
      return newest().height;
    },
    get: (key) => valueIn(store, newest().root, key),
    has: (key) => leafOf(store, newest().root, key) !== EMPTY_REF,
    load,
    extend,
    stage,
    commit,
    discard,
    update(height, changes) {
      requireNextHeight(height);
      const staged = stage(changes);
      commit(staged, height);
      return staged.root;
    },
    heights,
    rootAt: (height) => rootBytes(store, versionAt(height).root),
    getAt: (key, height) => valueIn(store, versionAt(height).root, key),
    prove: (key, height) => prove(store, (height === undefined ? newest() : versionAt(height)).root, key),
    entries,
    pin,
    sizeBytes: () => storeSizeBytes(store),
  };
}

function rootBytes(store: NodeStore, ref: number): Uint8Array {
  const { words, offset } = hashOf(store, ref);
  return wordsToBytes(words, offset);
}

const keyHash = new Int32Array(HASH_WORDS);

/** The leaf of a key, or the empty reference. */
function leafOf(store: NodeStore, root: number, key: Uint8Array): number {
  hashBytes(key, keyHash, 0);
  let ref = root;
  for (let depth = 0; ref > 0; depth++)
    ref = bitAt(keyHash, 0, depth) === 0 ? leftOf(store, ref) : rightOf(store, ref);
  return ref < 0 && leafHasKey(store, ref, key) ? ref : EMPTY_REF;
}

function valueIn(store: NodeStore, root: number, key: Uint8Array): Uint8Array | undefined {
  const leaf = leafOf(store, root, key);
  return leaf === EMPTY_REF ? undefined : leafValue(store, leaf);
}

function prove(store: NodeStore, root: number, key: Uint8Array): ProvenValue {
  hashBytes(key, keyHash, 0);
  const siblings: Uint8Array[] = [];
  let ref = root;
  for (let depth = 0; ref > 0; depth++) {
    const isRight = bitAt(keyHash, 0, depth) === 1;
    siblings.push(rootBytes(store, isRight ? leftOf(store, ref) : rightOf(store, ref)));
    ref = isRight ? rightOf(store, ref) : leftOf(store, ref);
  }
  const isThere = ref < 0 && leafHasKey(store, ref, key);
  const proof = encodeStoreProof({ end: endOf(store, ref, isThere), siblings });
  return { value: isThere ? leafValue(store, ref) : null, proof };
}

function endOf(store: NodeStore, ref: number, isThere: boolean): StoreProofEnd {
  if (isThere) return { kind: 'member' };
  if (ref === EMPTY_REF) return { kind: 'absent-empty' };
  const valueHash = new Int32Array(HASH_WORDS);
  hashBytes(leafValue(store, ref), valueHash, 0);
  return {
    kind: 'absent-other',
    keyHash: wordsToBytes(leafKeyHash(store, ref), 0),
    valueHash: wordsToBytes(valueHash, 0),
  };
}
