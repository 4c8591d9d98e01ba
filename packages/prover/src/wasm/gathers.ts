/** Vectors whose entries stand elsewhere in others: views, broadcasts, products of axes. */
import { UsageError } from '@haca/primitives';
import { EXT_ONE, EXT_ZERO } from '@haca/primitives/zk';
import type { ProverBackend, Vector } from '../backend.ts';
import { baseOf, blocksOf, type Engine, type ExtBlocks, filled, TYPE_EXT } from './engine.ts';

/** Bits of an index that one of the two tables of offsets covers. */
const LOW_BITS = 10;

/**
 * target[i] += coefficient * vector[index(i)], where bit m of the index (the most significant first) is bit `bits[m]` of
 * the `totalBits` of i.
 */
export function gatherAdd(
  engine: Engine,
  target: ExtBlocks,
  totalBits: number,
  vector: Vector,
  coefficient: number,
  bits: readonly number[],
): void {
  if (vector.length !== 2 ** bits.length) throw new UsageError('a bit map of another length');
  if (bits.some((bit) => bit < 0 || bit >= totalBits))
    throw new UsageError('a bit map with a bit of no index');
  const { pool } = engine;
  const { heap } = pool;
  const lowBits = Math.min(LOW_BITS, totalBits);
  const high = offsets(bits, 0, totalBits - lowBits);
  const low = offsets(bits, totalBits - lowBits, totalBits);
  const tables = heap.allocate(4 * (high.length + low.length));
  heap.words().set(high, tables / 4);
  heap.words().set(low, tables / 4 + high.length);
  const [type, address] =
    vector.field === 'base'
      ? [baseOf(vector).type, baseOf(vector).address]
      : [TYPE_EXT, (vector as ExtBlocks).address];
  const lowAt = tables + 4 * high.length;
  const count = 2 ** totalBits;
  // Units of four elements: no two threads share a block.
  pool.run('gatherAdd', blocksOf(count), (from, to) => [
    ...[type, address, coefficient, tables, lowAt, lowBits, target.address],
    ...[4 * from, Math.min(4 * to, count)],
  ]);
  heap.free(tables);
}

/** What bits `from` to `to` (exclusive) of i, as a number of their own, add to the index. */
function offsets(bits: readonly number[], from: number, to: number): Uint32Array {
  const count = to - from;
  const table = new Uint32Array(2 ** count);
  for (let m = 0; m < bits.length; m++) {
    const bit = bits[m] as number;
    if (bit < from || bit >= to) continue;
    const weight = 2 ** (bits.length - 1 - m);
    const shift = to - 1 - bit;
    for (let i = 0; i < table.length; i++) if ((i >>> shift) & 1) table[i] = (table[i] as number) + weight;
  }
  return table;
}

export function combineTerms(
  engine: Engine,
  { bits, constant, terms }: Parameters<ProverBackend['combineTerms']>[0],
): ExtBlocks {
  const result = filled(engine, 2 ** bits, [constant, 0, 0, 0, 0]);
  for (const term of terms) gatherAdd(engine, result, bits, term.vector, term.coefficient, term.bits);
  return result;
}

export function outerProduct(
  engine: Engine,
  axisBits: readonly number[],
  tables: readonly { readonly vector: Vector; readonly axes: readonly number[] }[],
): ExtBlocks {
  const total = axisBits.reduce((sum, bits) => sum + bits, 0);
  const length = 2 ** total;
  let product: ExtBlocks | undefined;
  for (const { vector, axes } of tables) {
    const factor = filled(engine, length, EXT_ZERO);
    gatherAdd(engine, factor, total, vector, 1, bitsOfAxes(axisBits, axes));
    if (product === undefined) {
      product = factor;
      continue;
    }
    const to = product.address;
    engine.pool.run('multiplyVectors', blocksOf(length), (from, end) => [to, factor.address, to, from, end]);
    engine.release(factor);
  }
  return product ?? filled(engine, length, EXT_ONE);
}

/** The bits of an index over all axes that are those of some axes, in their order. */
export function bitsOfAxes(axisBits: readonly number[], axes: readonly number[]): number[] {
  return axes.flatMap((axis) => {
    const first = axisBits.slice(0, axis).reduce((sum, bits) => sum + bits, 0);
    return Array.from({ length: axisBits[axis] as number }, (_, bit) => first + bit);
  });
}

/** The vector with its axes in another order: axis m of the result is axis `order[m]`. Gives the vector back unmoved. */
export function permuted(
  engine: Engine,
  vector: ExtBlocks,
  axisBits: readonly number[],
  order: readonly number[],
): ExtBlocks {
  if (order.every((axis, m) => axis === m)) return vector;
  const total = axisBits.reduce((sum, bits) => sum + bits, 0);
  // Where each axis of the vector stands in the result.
  const first: number[] = [];
  let at = 0;
  for (const axis of order) {
    first[axis] = at;
    at += axisBits[axis] as number;
  }
  const bits = axisBits.flatMap((count, axis) =>
    Array.from({ length: count }, (_, bit) => (first[axis] as number) + bit),
  );
  const result = filled(engine, 2 ** total, EXT_ZERO);
  gatherAdd(engine, result, total, vector, 1, bits);
  return result;
}

/** Residues of a base vector. */
export function residuesOf({ pool: { heap, kernels } }: Engine, vector: Vector): Uint32Array {
  const { type, address, length } = baseOf(vector);
  const words = heap.allocate(4 * length);
  kernels.widen(type, address, length, words);
  const residues = heap.words().slice(words / 4, words / 4 + length);
  heap.free(words);
  return residues;
}
