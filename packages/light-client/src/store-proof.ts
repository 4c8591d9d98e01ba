/**
 * Proofs that a key has a value, or is not there, in the state whose root is an app hash. The format is normative in
 * spec/state-tree.md; this is its verifier, and shares no code with the tree that makes the proofs.
 */
import { bytesEqual, concatBytes, domainHash, MalformedError, sha256, toHex } from '@haca/primitives';
import { type Check, check, failed, skipped, type Verdict, verdictOf } from '@haca/protocol';
import type { Header } from './cometbft/types.ts';

const HASH_BYTES = 32;
const DEPTH_MAX = 256;
const FORMAT_VERSION = 1;
const KIND_MEMBER = 0;
const KIND_ABSENT_EMPTY = 1;
const KIND_ABSENT_OTHER = 2;
const HEAD_BYTES = 4;
const EMPTY = new Uint8Array(HASH_BYTES);
const LEAF_TAG = domainHash('haca/state-leaf/1', new Uint8Array(0));

export const STORE_KEY_BYTES_MAX = 1024;
export const STORE_VALUE_BYTES_MAX = 1 << 20;
/** The longest encoding there is: 256 siblings and another leaf. */
export const STORE_PROOF_BYTES_MAX = HEAD_BYTES + DEPTH_MAX / 8 + DEPTH_MAX * HASH_BYTES + 2 * HASH_BYTES;

/** What stands at the end of the key's path: the key itself, nothing, or another key's leaf. */
export type StoreProofEnd =
  | { readonly kind: 'member' }
  | { readonly kind: 'absent-empty' }
  | { readonly kind: 'absent-other'; readonly keyHash: Uint8Array; readonly valueHash: Uint8Array };

export interface StoreProof {
  readonly end: StoreProofEnd;
  /** Sibling hashes from the root downwards, 32 zero bytes for an empty subtree; their number is the depth of the end. */
  readonly siblings: readonly Uint8Array[];
}

/** Bytes: version, kind, depth (2, big-endian), bitmap of the non-empty siblings, those siblings, the other leaf if any. */
export function encodeStoreProof({ end, siblings }: StoreProof): Uint8Array {
  const depth = siblings.length;
  const bitmap = new Uint8Array(Math.ceil(depth / 8));
  const present = siblings.filter((sibling, i) => {
    const isPresent = !bytesEqual(sibling, EMPTY);
    if (isPresent) bitmap[i >> 3] = (bitmap[i >> 3] as number) | (0x80 >> (i & 7));
    return isPresent;
  });
  const kind = { member: KIND_MEMBER, 'absent-empty': KIND_ABSENT_EMPTY, 'absent-other': KIND_ABSENT_OTHER }[
    end.kind
  ];
  const head = Uint8Array.from([FORMAT_VERSION, kind, depth >> 8, depth & 0xff]);
  const other = end.kind === 'absent-other' ? [end.keyHash, end.valueHash] : [];
  return concatBytes(head, bitmap, ...present, ...other);
}

/** Decodes exactly the bytes `encodeStoreProof` makes of a possible proof; throws `MalformedError` on any others. */
export function decodeStoreProof(bytes: Uint8Array, path = 'storeProof'): StoreProof {
  const fail = (what: string, expected: string, got: string): never => {
    throw new MalformedError(`store-proof.${what}`, path, expected, got);
  };
  const [version, kind, depthHigh, depthLow] = bytes;
  if (version === undefined || kind === undefined || depthHigh === undefined || depthLow === undefined) {
    return fail('length', `at least ${HEAD_BYTES} bytes`, `${bytes.length}`);
  }
  if (version !== FORMAT_VERSION) fail('version', `${FORMAT_VERSION}`, `${version}`);
  if (kind > KIND_ABSENT_OTHER) fail('kind', '0, 1 or 2', `${kind}`);
  const depth = depthHigh * 256 + depthLow;
  if (depth > DEPTH_MAX) fail('depth', `at most ${DEPTH_MAX}`, `${depth}`);
  const bitmap = bytes.subarray(HEAD_BYTES, HEAD_BYTES + Math.ceil(depth / 8));
  const bitAt = (i: number) => ((bitmap[i >> 3] ?? 0) >> (7 - (i & 7))) & 1;
  let count = 0;
  for (let i = 0; i < 8 * bitmap.length; i++) count += bitAt(i);
  const otherBytes = kind === KIND_ABSENT_OTHER ? 2 * HASH_BYTES : 0;
  const length = HEAD_BYTES + Math.ceil(depth / 8) + count * HASH_BYTES + otherBytes;
  if (bytes.length !== length) fail('length', `${length} bytes`, `${bytes.length}`);
  for (let i = depth; i < 8 * bitmap.length; i++)
    if (bitAt(i) === 1) fail('bitmap', 'unused bits zero', 'one set');
  // Where the last sibling is empty the end would stand one level higher.
  if (depth > 0 && bitAt(depth - 1) === 0) fail('bitmap', 'a last sibling', 'an empty one');
  let offset = HEAD_BYTES + bitmap.length;
  const take = (): Uint8Array => {
    offset += HASH_BYTES;
    return bytes.slice(offset - HASH_BYTES, offset);
  };
  const siblings = Array.from({ length: depth }, (_, i) => (bitAt(i) === 1 ? take() : EMPTY));
  if (siblings.some((sibling, i) => bitAt(i) === 1 && bytesEqual(sibling, EMPTY))) {
    fail('sibling', 'empty siblings left out', 'one written');
  }
  if (kind === KIND_MEMBER) return { end: { kind: 'member' }, siblings };
  if (kind === KIND_ABSENT_EMPTY) return { end: { kind: 'absent-empty' }, siblings };
  return { end: { kind: 'absent-other', keyHash: take(), valueHash: take() }, siblings };
}

export interface StoreStatement {
  /** Root of the state: the app hash of the state after height H, which header H + 1 carries. */
  readonly appHash: Uint8Array;
  readonly key: Uint8Array;
  /** The value the key must have, or null: the key must not be there. */
  readonly value: Uint8Array | null;
  /** Encoded. */
  readonly proof: Uint8Array;
}

/** Total: any bytes give a verdict. */
export function verifyStoreProof({ appHash, key, value, proof: bytes }: StoreStatement): Verdict {
  const input = inputCheck(key, value);
  if (input.status !== 'passed') return verdictOf([input, ...unverified('store.input')]);
  let proof: StoreProof;
  try {
    proof = decodeStoreProof(bytes);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    const malformed = failed('store.proof', error.code, error.expected, error.got);
    return verdictOf([input, malformed, skipped('store.root', error.code, 'no proof to compute it from')]);
  }
  const keyHash = sha256(key);
  const end = endCheck(proof, keyHash, value);
  if (end.status !== 'passed')
    return verdictOf([input, end, skipped('store.root', 'store.end', 'the wrong end')]);
  const root = rootOf(proof.siblings, keyHash, endHash(proof.end, keyHash, value));
  const isRoot = bytesEqual(root, appHash);
  return verdictOf([
    input,
    end,
    check('store.root', 'store.root-mismatch', isRoot, toHex(appHash), toHex(root)),
  ]);
}

export interface StateStatement {
  /** A header that the light client trusts. */
  readonly header: Header;
  /** The height after whose block the state is meant: the header's height less one. */
  readonly stateHeight: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
  readonly proof: Uint8Array;
}

/** `verifyStoreProof` against a trusted header; the state after height H is in header H + 1. */
export function verifyStateProof({ header, stateHeight, ...statement }: StateStatement): Verdict {
  const isNext = header.height === stateHeight + 1;
  const height = check(
    'store.height',
    'store.height-mismatch',
    isNext,
    `header ${stateHeight + 1}`,
    `header ${header.height}`,
  );
  return verdictOf([height, ...verifyStoreProof({ appHash: header.appHash, ...statement }).checks]);
}

function inputCheck(key: Uint8Array, value: Uint8Array | null): Check {
  const expected = `a key of 1 to ${STORE_KEY_BYTES_MAX} bytes and a value of at most ${STORE_VALUE_BYTES_MAX}`;
  const isKey = key.length >= 1 && key.length <= STORE_KEY_BYTES_MAX;
  const isValue = value === null || value.length <= STORE_VALUE_BYTES_MAX;
  const got = `${key.length} and ${value === null ? 'none' : value.length}`;
  return check('store.input', 'store.size', isKey && isValue, expected, got);
}

function unverified(code: string): Check[] {
  return ['store.proof', 'store.root'].map((id) =>
    skipped(id, code, 'no such key or value can be in the state'),
  );
}

/** Whether the proof's end is one that can show what is claimed about the key. */
function endCheck({ end, siblings }: StoreProof, keyHash: Uint8Array, value: Uint8Array | null): Check {
  const claimed = value === null ? 'absence' : 'membership';
  const shown = end.kind === 'member' ? 'membership' : 'absence';
  if (claimed !== shown)
    return failed('store.proof', 'store.proof-kind', `a proof of ${claimed}`, `one of ${shown}`);
  if (end.kind === 'absent-other') {
    const shared = sharedBits(end.keyHash, keyHash);
    const isElsewhere = shared < siblings.length || shared === DEPTH_MAX;
    const expected = `another key with ${siblings.length} bits of the path`;
    if (isElsewhere) return failed('store.proof', 'store.other-leaf', expected, `${shared} bits shared`);
  }
  return check('store.proof', 'store.proof-kind', true, `a proof of ${claimed}`, `one of ${shown}`);
}

function sharedBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < HASH_BYTES; i++) {
    const difference = (a[i] as number) ^ (b[i] as number);
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24;
  }
  return DEPTH_MAX;
}

function endHash(end: StoreProofEnd, keyHash: Uint8Array, value: Uint8Array | null): Uint8Array {
  if (end.kind === 'absent-other') return leafHash(end.keyHash, end.valueHash);
  return value === null ? EMPTY : leafHash(keyHash, sha256(value));
}

function leafHash(keyHash: Uint8Array, valueHash: Uint8Array): Uint8Array {
  return sha256(concatBytes(LEAF_TAG, keyHash, valueHash));
}

function rootOf(siblings: readonly Uint8Array[], keyHash: Uint8Array, end: Uint8Array): Uint8Array {
  return siblings.reduceRight((node, sibling, depth) => {
    const isRight = (((keyHash[depth >> 3] as number) >> (7 - (depth & 7))) & 1) === 1;
    return sha256(isRight ? concatBytes(sibling, node) : concatBytes(node, sibling));
  }, end);
}
