/** Merkle trees over codewords, folds, and proof of work. */
import { UsageError } from '@haca/primitives';
import {
  codeword,
  codewordExt,
  DIGEST_BYTES,
  EXT_BYTES,
  type Ext,
  extVectorToList,
  K_LEAF,
  K_NODE,
} from '@haca/primitives/zk';
import type { ColumnsRequest, CommittedTree, Folding, Vector } from '../backend.ts';
import { BLOWUP_MIN, type Codewords } from './codewords.ts';
import { columnCells } from './columns.ts';
import { bindFirst, bitsOfLength, download, type Engine, extensionOf, uploadExtension } from './engine.ts';
import { eqWeights } from './eq-weights.ts';
import { weightedRoundOf } from './sumchecks.ts';

const LEAF_BYTES_MAX = 1024;
const KEY_BYTES = 32;
/** Work of one compression of four messages, in blocks of four elements. */
const COMPRESSION_WORK = 4;

/** Digests of all levels, one level after another, leaves first. */
interface Digests {
  readonly address: number;
  readonly depth: number;
}

/** Room for two keys and a hash of a few messages. */
function allocateKeys(engine: Engine): { readonly leaf: number; readonly node: number } {
  const { heap } = engine.pool;
  const leaf = heap.allocate(2 * KEY_BYTES);
  heap.bytes().set(K_LEAF, leaf);
  heap.bytes().set(K_NODE, leaf + KEY_BYTES);
  return { leaf, node: leaf + KEY_BYTES };
}

/** Hashes `leaves` leaves by `hashLeaves` and builds the levels above. */
function buildDigests(
  engine: Engine,
  leaves: number,
  hashLeaves: (key: number, out: number) => void,
): Digests {
  const { pool } = engine;
  const { heap } = pool;
  const depth = bitsOfLength(leaves);
  const address = heap.allocate(2 * DIGEST_BYTES * leaves);
  const keys = allocateKeys(engine);
  hashLeaves(keys.leaf, address);
  let from = address;
  for (let count = leaves / 2; count >= 1; count /= 2) {
    const input = from;
    const output = from + 2 * count * DIGEST_BYTES;
    const groups = Math.max(1, count / 4);
    const size = Math.min(4, count);
    pool.run(
      'hashMany',
      groups,
      (first, last, thread) => [
        keys.node,
        input + first * size * 64,
        64,
        (last - first) * size,
        output + first * size * DIGEST_BYTES,
        hashScratch(engine, thread),
      ],
      groups * COMPRESSION_WORK,
    );
    from = output;
  }
  heap.free(keys.leaf);
  return { address, depth };
}

/** The upper half of a thread's results serves `hashMany` as working memory. */
function hashScratch({ pool }: Engine, thread: number): number {
  return pool.resultsOf(thread) + 2048;
}

function levelAt({ address, depth }: Digests, level: number): number {
  return address + DIGEST_BYTES * (2 ** (depth + 1) - 2 ** (depth + 1 - level));
}

function committedTree(
  engine: Engine,
  digests: Digests,
  capBits: number,
  leaf: (index: number) => Uint8Array,
  owned: readonly number[],
): CommittedTree {
  const { heap } = engine.pool;
  const { depth } = digests;
  const levels = Math.max(0, depth - capBits);
  const read = (at: number, bytes: number): Uint8Array =>
    new Uint8Array(heap.bytes().subarray(at, at + bytes));
  const checkIndex = (index: number): void => {
    if (!Number.isInteger(index) || index < 0 || index >= 2 ** depth) throw new UsageError(`leaf ${index}`);
  };
  return {
    cap: read(levelAt(digests, levels), DIGEST_BYTES * 2 ** (depth - levels)),
    leaf: (index) => {
      checkIndex(index);
      return leaf(index);
    },
    path: (index) => {
      checkIndex(index);
      const path = new Uint8Array(DIGEST_BYTES * levels);
      const bytes = heap.bytes();
      for (let level = 0; level < levels; level++) {
        const from = levelAt(digests, level) + DIGEST_BYTES * ((index >>> level) ^ 1);
        const to = DIGEST_BYTES * level;
        for (let i = 0; i < DIGEST_BYTES; i++) path[to + i] = bytes[from + i] as number;
      }
      return path;
    },
    release: () => {
      heap.free(digests.address);
      for (const address of owned) heap.free(address);
    },
  };
}

export function commitColumns(engine: Engine, codewords: Codewords, request: ColumnsRequest): CommittedTree {
  const { columns, columnBits, blowupBits, capBits } = request;
  const { pool } = engine;
  const { heap } = pool;
  const count = columns.length;
  if (count < 1 || 4 * count > LEAF_BYTES_MAX) throw new UsageError(`a commitment to ${count} columns`);
  const cells = columns.map((column) => columnCells(engine, column, columnBits));
  const words =
    blowupBits >= BLOWUP_MIN
      ? codewords.encodeColumns(cells, columnBits, blowupBits)
      : cells.map((integers) => encodePlainly(engine, integers, columnBits, blowupBits));
  for (const column of cells) column.release();
  const rows = 2 ** (columnBits + blowupBits);
  const list = heap.allocate(4 * count);
  heap.words().set(words, list / 4);
  const digests = buildDigests(engine, rows, (key, out) => {
    const groups = Math.ceil(rows / 4);
    const target = rows >= 4 ? out : heap.allocate(4 * DIGEST_BYTES);
    const work = groups * Math.ceil(count / 16) * COMPRESSION_WORK;
    pool.run('hashColumns', groups, (from, to) => [key, list, count, target, from, to], work);
    if (target !== out) {
      heap.bytes().copyWithin(out, target, target + DIGEST_BYTES * rows);
      heap.free(target);
    }
  });
  heap.free(list);
  const leaf = (index: number): Uint8Array => {
    const row = new Uint32Array(count);
    const memory = heap.words();
    for (let c = 0; c < count; c++) row[c] = memory[(words[c] as number) / 4 + index] as number;
    return bytesOf(row);
  };
  return committedTree(engine, digests, capBits, leaf, words);
}

/** WebAssembly memory is little-endian, and views of it are used as words: so is the machine. */
function bytesOf(words: Uint32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(words.buffer);
}

/** A word at a blow-up that the kernels do not have. */
function encodePlainly(
  { pool: { heap, kernels } }: Engine,
  { type, address }: { readonly type: number; readonly address: number },
  columnBits: number,
  blowupBits: number,
): number {
  const length = 2 ** columnBits;
  const cells = heap.allocate(4 * length);
  kernels.widen(type, address, length, cells);
  const word = codeword(heap.words().slice(cells / 4, cells / 4 + length), blowupBits);
  heap.free(cells);
  const out = heap.allocate(4 * word.length);
  heap.words().set(word, out / 4);
  return out;
}

export function fold(engine: Engine, codewords: Codewords, vector: Vector, point: readonly Ext[]): Folding {
  if (vector.length !== 2 ** point.length) throw new UsageError('a point of another length');
  // Consumed: bound in place and released with the fold.
  const column = extensionOf(vector);
  const weights = eqWeights(engine, point.slice(1));
  let { length } = column;
  return {
    commit: (arityBits, blowupBits, capBits) =>
      commitWord(engine, codewords, column.address, bitsOfLength(length), arityBits, blowupBits, capBits),
    round: () => {
      if (length === 1) throw new UsageError('a round of a column of one value');
      const [zero, one] = weightedRoundOf(engine, [column.address], length, weights);
      return [zero as Ext, one as Ext];
    },
    bind: (challenge) => {
      if (length === 1) throw new UsageError('a column of one value has no variable');
      bindFirst(engine, column.address, length, challenge);
      weights.shrink();
      length /= 2;
    },
    values: () => extVectorToList(download(engine, { ...column, length })),
    release: () => {
      engine.release(column);
      weights.release();
    },
  };
}

function commitWord(
  engine: Engine,
  codewords: Codewords,
  address: number,
  h: number,
  arityBits: number,
  blowupBits: number,
  capBits: number,
): CommittedTree {
  const { pool } = engine;
  const { heap } = pool;
  const total = h + blowupBits;
  const arity = 2 ** arityBits;
  const leaves = 2 ** (total - arityBits);
  if (arityBits > total || EXT_BYTES * arity > LEAF_BYTES_MAX)
    throw new UsageError(`leaves of ${arity} values`);
  const word =
    blowupBits >= BLOWUP_MIN
      ? codewords.encodeExtension(address, h, blowupBits)
      : encodeExtensionPlainly(engine, address, h, blowupBits);
  const leaf = (index: number): Uint8Array => {
    const row = new Uint32Array(5 * arity);
    const blocks = { field: 'extension', length: 2 ** total, address: word } as const;
    for (let k = 0; k < arity; k++) row.set(engine.elementAt(blocks, index + k * leaves), 5 * k);
    return bytesOf(row);
  };
  const digests = buildDigests(engine, leaves, (key, out) => {
    if (leaves >= 4) {
      const work = (leaves / 4) * Math.ceil((5 * arity) / 16) * COMPRESSION_WORK;
      pool.run('hashBlocks', leaves / 4, (from, to) => [key, word, leaves, arity, out, from, to], work);
      return;
    }
    const rows = heap.allocate(EXT_BYTES * arity * leaves);
    for (let i = 0; i < leaves; i++) heap.bytes().set(leaf(i), rows + EXT_BYTES * arity * i);
    pool.kernels.hashMany(key, rows, EXT_BYTES * arity, leaves, out, hashScratch(engine, 0));
    heap.free(rows);
  });
  return committedTree(engine, digests, capBits, leaf, [word]);
}

function encodeExtensionPlainly(engine: Engine, address: number, h: number, blowupBits: number): number {
  const column = download(engine, { field: 'extension', length: 2 ** h, address } as Vector);
  return uploadExtension(engine, codewordExt(column, blowupBits)).address;
}

const GRIND_GROUPS = 4096;
const NONCES = 2 ** 31;

/** The least nonce: one batch after another, on this thread. */
export function grind(engine: Engine, seed: Uint8Array, bits: number): Uint8Array {
  const { pool } = engine;
  if (seed.length !== KEY_BYTES || !Number.isInteger(bits) || bits < 0 || bits > 31) {
    throw new UsageError(`work of ${bits} bits under a seed of ${seed.length} bytes`);
  }
  const key = pool.heap.allocate(KEY_BYTES);
  pool.heap.bytes().set(seed, key);
  for (let from = 0; 4 * from < NONCES; from += GRIND_GROUPS) {
    const nonce = pool.kernels.grind(key, bits, from, from + GRIND_GROUPS);
    if (nonce < 0) continue;
    pool.heap.free(key);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setUint32(0, nonce, true);
    return bytes;
  }
  pool.heap.free(key);
  throw new UsageError(`no nonce below 2^31 has ${bits} bits of work`);
}
