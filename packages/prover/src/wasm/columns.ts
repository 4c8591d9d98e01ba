/** Committed columns: put together from pieces, combined, evaluated. */
import { UsageError } from '@haca/primitives';
import { EXT_ONE, EXT_ZERO, type Ext, eqList, extAdd, extMul } from '@haca/primitives/zk';
import type { Column, Vector } from '../backend.ts';
import {
  addIntegers,
  baseOf,
  blocksOf,
  type Engine,
  type ExtBlocks,
  eqTableOf,
  filled,
  type Integers,
  TYPE_WORD,
  widthOf,
} from './engine.ts';

/** Integers of a whole column: in place where it is one piece, else a copy as words that `release` frees. */
export interface ColumnCells extends Integers {
  readonly release: () => void;
}

/** Rows of the tables in `evaluateIntegers`: their weights stay in the second-level cache. */
const LOW_BITS = 13;

export function columnCells(engine: Engine, { pieces }: Column, columnBits: number): ColumnCells {
  const length = 2 ** columnBits;
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined && only.length === length && only.offset === 0) {
    const { type, address } = baseOf(only.vector);
    return { type, address: address + only.from * widthOf(type), release: () => {} };
  }
  const { heap, kernels } = engine.pool;
  const address = heap.allocate(4 * length);
  heap.words().fill(0, address / 4, address / 4 + length);
  for (const { vector, from, length: count, offset } of pieces) {
    const { type, address: source, length: available } = baseOf(vector);
    if (from + count > available || offset + count > length)
      throw new UsageError('a piece outside its column');
    kernels.widen(type, source + from * widthOf(type), count, address + 4 * offset);
  }
  return { type: TYPE_WORD, address, release: () => heap.free(address) };
}

/** target += sum of weight * column. Columns shorter than a block need `target` to have no more lanes than they have. */
export function addColumns(
  engine: Engine,
  target: number,
  columnBits: number,
  columns: readonly Column[],
  weights: readonly Ext[],
): void {
  const cells = columns.map((column) => columnCells(engine, column, columnBits));
  addIntegers(
    engine,
    target,
    2 ** columnBits,
    cells.map(({ type, address }, c) => ({ type, address, weight: weights[c] as Ext })),
  );
  for (const column of cells) column.release();
}

export function combineColumns(
  engine: Engine,
  columns: readonly Column[],
  columnBits: number,
  weights: readonly Ext[],
): ExtBlocks {
  const sum = filled(engine, 2 ** columnBits, EXT_ZERO);
  addColumns(engine, sum.address, columnBits, columns, weights);
  return sum;
}

export function evaluateColumns(engine: Engine, columns: readonly Column[], point: readonly Ext[]): Ext[] {
  const cells = columns.map((column) => columnCells(engine, column, point.length));
  const values = evaluateAll(
    engine,
    cells.map(({ type, address }) => ({ kernel: 'dotRows', type, address })),
    point,
  );
  for (const column of cells) column.release();
  return values;
}

export function evaluateVectors(engine: Engine, vectors: readonly Vector[], point: readonly Ext[]): Ext[] {
  for (const { length } of vectors) {
    if (length !== 2 ** point.length) {
      throw new UsageError(`${length} cells at a point of ${point.length} coordinates`);
    }
  }
  const rows = vectors.map(
    (vector): Rows =>
      vector.field === 'base'
        ? { kernel: 'dotRows', type: baseOf(vector).type, address: baseOf(vector).address }
        : { kernel: 'dotRowsExt', type: 0, address: (vector as ExtBlocks).address },
  );
  return evaluateAll(engine, rows, point);
}

interface Rows {
  readonly kernel: 'dotRows' | 'dotRowsExt';
  readonly type: number;
  readonly address: number;
}

/** MLEs at one point: dot products of rows with the weights of the last coordinates, then of those with the first. */
function evaluateAll(engine: Engine, vectors: readonly Rows[], point: readonly Ext[]): Ext[] {
  const { pool } = engine;
  const lowBits = Math.min(LOW_BITS, point.length);
  const rows = 2 ** (point.length - lowBits);
  const low = eqTableOf(engine, point.slice(point.length - lowBits), EXT_ONE);
  const high = eqList(point.slice(0, point.length - lowBits));
  const out = pool.heap.allocate(20 * rows);
  const values = vectors.map(({ kernel, type, address }) => {
    const stride = kernel === 'dotRows' ? low.length * widthOf(type) : 20 * low.length;
    const blocks = blocksOf(low.length);
    pool.run(
      kernel,
      rows,
      (from, to) => [
        ...(kernel === 'dotRows' ? [type] : []),
        ...[address, stride, low.address, blocks, out, from, to],
      ],
      rows * blocks,
    );
    const sums = engine.readElements(out, rows);
    return sums.reduce((sum, element, row) => extAdd(sum, extMul(element, high[row] as Ext)), EXT_ZERO);
  });
  pool.heap.free(out);
  engine.release(low);
  return values;
}
