import { MalformedError } from '@haca/primitives';
import { asInteger, asRecord, asText, type JsonRecord } from './json.ts';

/** Byte-level BPE. Ids 0 to 255 are the bytes, then one id per merge, then the special tokens. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly special: ReadonlyMap<string, number>;
  /** No token stands for more bytes than this. */
  readonly maxTokenBytes: number;
  /** Never yields a special token, whatever the text says. */
  readonly encode: (text: string) => number[];
  /** The bytes an id stands for; none for special tokens and ids outside the vocabulary. */
  readonly bytesOf: (id: number) => Uint8Array;
}

/** The one way of cutting text into pieces that type `haca-byte-bpe` version 1 knows; see `cutEnd`. */
const SPLIT = ' ?[A-Za-z\\x80-\\xff]+|[\\s\\S]';
const VOCAB_MAX = 1 << 20;
const TOKEN_BYTES_MAX = 256;
const NO_BYTES = new Uint8Array(0);

interface MergeTable {
  /** Rank of a pair by `first * VOCAB_MAX + second`; the pair's merged id is 256 + rank. */
  readonly ranks: ReadonlyMap<number, number>;
  readonly tokenBytes: readonly Uint8Array[];
}

/** Parses the content of a `tokenizer.json`. Throws `MalformedError`. */
export function parseTokenizer(json: unknown): Tokenizer {
  const spec = asRecord(json, 'tokenizer');
  const type = `${asText(spec['type'], 'tokenizer.type')} ${asInteger(spec['version'], 'tokenizer.version', 0, 99)}`;
  if (type !== 'haca-byte-bpe 1') {
    throw new MalformedError('tokenizer.type', 'tokenizer.type', 'haca-byte-bpe 1', type);
  }
  const split = asText(spec['split'], 'tokenizer.split');
  if (split !== SPLIT) throw new MalformedError('tokenizer.split', 'tokenizer.split', SPLIT, split);
  const table = parseMerges(spec['merges']);
  const special = parseSpecial(spec, table.tokenBytes.length);
  const vocabSize = table.tokenBytes.length + special.size;
  if (spec['vocabSize'] !== vocabSize) {
    throw new MalformedError('tokenizer.size', 'tokenizer.vocabSize', `${vocabSize}`, `${spec['vocabSize']}`);
  }
  return {
    vocabSize,
    special,
    maxTokenBytes: table.tokenBytes.reduce((most, { length }) => Math.max(most, length), 1),
    encode: (text) => encodeText(table.ranks, new TextEncoder().encode(text)),
    bytesOf: (id) => table.tokenBytes[id] ?? NO_BYTES,
  };
}

function parseMerges(json: unknown): MergeTable {
  const path = 'tokenizer.merges';
  if (!Array.isArray(json) || json.length > VOCAB_MAX - 512) {
    throw new MalformedError('tokenizer.merges', path, `a list of at most ${VOCAB_MAX - 512}`, typeof json);
  }
  const ranks = new Map<number, number>();
  const tokenBytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  for (const [rank, pair] of json.entries()) {
    const at = `${path}[${rank}]`;
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new MalformedError('tokenizer.merge', at, 'two ids', 'other');
    const first = asInteger(pair[0], at, 0, 255 + rank);
    const second = asInteger(pair[1], at, 0, 255 + rank);
    const bytes = Uint8Array.of(...(tokenBytes[first] as Uint8Array), ...(tokenBytes[second] as Uint8Array));
    if (bytes.length > TOKEN_BYTES_MAX) {
      throw new MalformedError(
        'tokenizer.merge',
        at,
        `at most ${TOKEN_BYTES_MAX} bytes a token`,
        `${bytes.length}`,
      );
    }
    const key = first * VOCAB_MAX + second;
    if (ranks.has(key)) throw new MalformedError('tokenizer.merge', at, 'each pair once', 'a repeated pair');
    ranks.set(key, rank);
    tokenBytes.push(bytes);
  }
  return { ranks, tokenBytes };
}

function parseSpecial(spec: JsonRecord, firstId: number): Map<string, number> {
  const special = new Map<string, number>();
  const entries = Object.entries(asRecord(spec['special'], 'tokenizer.special'));
  for (const [index, [name, id]] of entries.entries()) {
    if (id !== firstId + index) {
      throw new MalformedError(
        'tokenizer.special',
        `tokenizer.special.${name}`,
        `${firstId + index}`,
        `${id}`,
      );
    }
    special.set(name, firstId + index);
  }
  return special;
}

function encodeText(ranks: MergeTable['ranks'], bytes: Uint8Array): number[] {
  const ids: number[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = cutEnd(bytes, start);
    if (end - start === 1) ids.push(bytes[start] as number);
    else mergePiece(ranks, bytes.subarray(start, end), ids);
    start = end;
  }
  return ids;
}

/** Where the piece that begins at `start` ends: an optional space with a run of letters or non-ASCII bytes, or one byte. */
function cutEnd(bytes: Uint8Array, start: number): number {
  let end = bytes[start] === 0x20 ? start + 1 : start;
  if (!isWordByte(bytes[end])) return start + 1;
  while (isWordByte(bytes[end])) end++;
  return end;
}

function isWordByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return byte >= 0x80 || (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a);
}

/**
 * Replaces the pair of lowest rank, the leftmost of equals, until none is left. A heap of candidates makes it
 * O(n log n), so that one long word costs no more than many short ones; outdated candidates are skipped when they come up.
 */
function mergePiece(ranks: MergeTable['ranks'], piece: Uint8Array, out: number[]): void {
  const ids = Int32Array.from(piece);
  const next = Int32Array.from(piece, (_, at) => at + 1);
  const previous = Int32Array.from(piece, (_, at) => at - 1);
  const heap: number[] = [];
  const rankAt = (at: number): number | undefined => {
    const right = next[at] as number;
    if (right >= ids.length) return undefined;
    return ranks.get((ids[at] as number) * VOCAB_MAX + (ids[right] as number));
  };
  const propose = (at: number): void => {
    const rank = rankAt(at);
    if (rank !== undefined) heapPush(heap, rank * CANDIDATE_STRIDE + at);
  };
  for (let at = 0; at + 1 < piece.length; at++) propose(at);
  while (heap.length > 0) {
    const candidate = heapPop(heap);
    const at = candidate % CANDIDATE_STRIDE;
    const rank = (candidate - at) / CANDIDATE_STRIDE;
    // A position that was merged away holds an id that is in no pair.
    if (rankAt(at) !== rank) continue;
    const right = next[at] as number;
    const after = next[right] as number;
    ids[at] = 256 + rank;
    ids[right] = MERGED_AWAY;
    next[at] = after;
    if (after < ids.length) previous[after] = at;
    propose(at);
    if (at > 0) propose(previous[at] as number);
  }
  for (let at = 0; at < ids.length; at = next[at] as number) out.push(ids[at] as number);
}

const MERGED_AWAY = -1;
/** Above any position in a piece; times 2^20 ranks it stays a safe integer. */
const CANDIDATE_STRIDE = 2 ** 32;

function heapPush(heap: number[], value: number): void {
  let at = heap.length;
  heap.push(value);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as number;
    if (above <= value) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = value;
}

function heapPop(heap: number[]): number {
  const least = heap[0] as number;
  const value = heap.pop() as number;
  const size = heap.length;
  if (size === 0) return least;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= size) break;
    if (child + 1 < size && (heap[child + 1] as number) < (heap[child] as number)) child++;
    if ((heap[child] as number) >= value) break;
    heap[at] = heap[child] as number;
    at = child;
  }
  heap[at] = value;
  return least;
}
