/**
 * Vectors of which some axes are summed up. Axes are taken one after another: an axis is summed as a linear combination of
 * the runs behind it, or, where nothing is behind it, as dot products of rows.
 */
import { UsageError } from '@haca/primitives';
import { EXT_ONE, EXT_ZERO, type Ext } from '@haca/primitives/zk';
import type { AxisUse, PartialEvaluation, Vector } from '../backend.ts';
import {
  baseOf,
  blocksOf,
  copied,
  type Engine,
  type ExtBlocks,
  eqTableOf,
  extensionOf,
  filled,
  lifted,
  preparedScalars,
  TYPE_EXT,
  widthOf,
} from './engine.ts';
import { permuted } from './gathers.ts';

const bitsOf = (use: AxisUse): number => (use.kind === 'point' ? use.point.length : use.bits);
const sizeOf = (bits: readonly number[]): number => 2 ** bits.reduce((sum, each) => sum + each, 0);

/** Axes of runs shorter than a block are moved to the front of them first: kernels work on whole blocks. */
const RUN_MIN = 4;

export function partialEvaluate(engine: Engine, request: PartialEvaluation): ExtBlocks {
  const { vector, axes, order } = request;
  if (vector.length !== sizeOf(axes.map(bitsOf))) {
    throw new UsageError(`${vector.length} cells on axes of other sizes`);
  }
  const { uses, places } = mergedPoints(axes);
  const widths = uses.map(bitsOf);
  let current = vector;
  for (const axis of contractionOrder(uses)) {
    const use = uses[axis] as AxisUse;
    const next = applyAxis(
      engine,
      current,
      sizeOf(widths.slice(0, axis)),
      use,
      sizeOf(widths.slice(axis + 1)),
    );
    if (current !== vector) engine.release(current);
    current = next;
    widths[axis] = use.kind === 'matrix' ? use.rowBits : 0;
  }
  const kept = uses.map((_, axis) => axis).filter((axis) => isKept(uses[axis] as AxisUse));
  if (order.length !== kept.length) throw new UsageError('an order that leaves an axis out');
  const keptPlaces = kept.map((axis) => places[axis] as number);
  const blocks = current === vector ? copied(engine, current) : (current as ExtBlocks);
  const result = permuted(
    engine,
    blocks,
    kept.map((axis) => widths[axis] as number),
    order.map((place) => keptPlaces.indexOf(place)),
  );
  if (result !== blocks) engine.release(blocks);
  return result;
}

const isKept = (use: AxisUse): boolean => use.kind === 'keep' || use.kind === 'matrix';

/** Neighbouring axes that are summed with eq become one. */
function mergedPoints(axes: readonly AxisUse[]): { readonly uses: AxisUse[]; readonly places: number[] } {
  const uses: AxisUse[] = [];
  const places: number[] = [];
  axes.forEach((use, place) => {
    const last = uses.at(-1);
    if (use.kind === 'point' && last?.kind === 'point') {
      uses[uses.length - 1] = { kind: 'point', point: [...last.point, ...use.point] };
    } else {
      uses.push(use);
      places.push(place);
    }
  });
  return { uses, places };
}

/** What shrinks the vector most comes first: sums before matrices. */
function contractionOrder(uses: readonly AxisUse[]): number[] {
  const axes = uses.map((_, axis) => axis).filter((axis) => uses[axis]?.kind !== 'keep');
  const gain = (axis: number): number => {
    const use = uses[axis] as AxisUse;
    return bitsOf(use) - (use.kind === 'matrix' ? use.rowBits : 0);
  };
  return axes.sort((a, b) => gain(b) - gain(a) || a - b);
}

function applyAxis(engine: Engine, vector: Vector, outer: number, use: AxisUse, inner: number): Vector {
  const size = 2 ** bitsOf(use);
  if (inner > 1 && inner < RUN_MIN) return applyMoved(engine, vector, outer, use, inner);
  if (use.kind === 'matrix') return applyMatrix(engine, vector, outer, use, inner);
  const weights =
    use.kind === 'point'
      ? eqTableOf(engine, use.point, EXT_ONE)
      : extensionOf((use as Extract<AxisUse, { kind: 'weights' }>).weights);
  if (weights.length !== size) throw new UsageError(`${weights.length} weights for an axis of ${size}`);
  const result =
    inner === 1
      ? sumRows(engine, vector, outer, size, weights)
      : sumRuns(engine, vector, outer, inner, size, sparseRows(engine, weights, 1));
  if (use.kind === 'point') engine.release(weights);
  return result;
}

/** Moves the axis behind the short run that follows it, and sums it there. */
function applyMoved(engine: Engine, vector: Vector, outer: number, use: AxisUse, inner: number): Vector {
  const bits = [Math.log2(outer), bitsOf(use), Math.log2(inner)];
  const blocks = copied(engine, vector);
  const moved = permuted(engine, blocks, bits, [0, 2, 1]);
  const summed = applyAxis(engine, moved, outer * inner, use, 1) as ExtBlocks;
  if (moved !== blocks) engine.release(moved);
  engine.release(blocks);
  if (use.kind !== 'matrix') return summed;
  const result = permuted(engine, summed, [bits[0] as number, bits[2] as number, use.rowBits], [0, 2, 1]);
  if (result !== summed) engine.release(summed);
  return result;
}

/** Entries of a matrix that are not zero, row by row: entries starts[k] to starts[k + 1] are those of row k. */
interface SparseRows {
  readonly starts: readonly number[];
  readonly indices: readonly number[];
  readonly weights: readonly Ext[];
}

function sparseRows({ pool: { heap }, elementAt }: Engine, matrix: ExtBlocks, rows: number): SparseRows {
  const size = matrix.length / rows;
  const words = heap.words();
  const starts = [0];
  const indices: number[] = [];
  const weights: Ext[] = [];
  for (let cell = 0; cell < matrix.length; cell++) {
    const at = matrix.address / 4 + 20 * (cell >>> 2) + (cell & 3);
    const some =
      (words[at] as number) |
      (words[at + 4] as number) |
      (words[at + 8] as number) |
      (words[at + 12] as number) |
      (words[at + 16] as number);
    if (some !== 0) {
      indices.push(cell % size);
      weights.push(elementAt(matrix, cell));
    }
    if ((cell + 1) % size === 0) starts.push(indices.length);
  }
  return { starts, indices, weights };
}

function applyMatrix(
  engine: Engine,
  vector: Vector,
  outer: number,
  use: Extract<AxisUse, { readonly kind: 'matrix' }>,
  inner: number,
): ExtBlocks {
  const size = 2 ** use.bits;
  const rows = 2 ** use.rowBits;
  const matrix = extensionOf(use.matrix);
  if (matrix.length !== rows * size) throw new UsageError('a matrix of another size');
  if (inner > 1) return sumRuns(engine, vector, outer, inner, size, sparseRows(engine, matrix, rows));
  if (size < 4) return applyShortMatrix(engine, vector, outer, matrix, rows);
  const { pool } = engine;
  const blocks = lifted(engine, vector);
  const sums = pool.heap.allocate(20 * outer * rows);
  pool.run(
    'matrixRows',
    outer,
    (from, to) => [matrix.address, rows, size / 4, blocks.address, sums, from, to],
    (outer * rows * size) / 16,
  );
  if (blocks !== vector) engine.release(blocks);
  const result = engine.allocateBlocks(outer * rows);
  pool.kernels.packElements(sums, outer * rows, result.address);
  pool.heap.free(sums);
  return result;
}

/** Rows of one or two cells: their columns become runs. */
function applyShortMatrix(
  engine: Engine,
  vector: Vector,
  outer: number,
  matrix: ExtBlocks,
  rows: number,
): ExtBlocks {
  const size = matrix.length / rows;
  const padded = Math.max(outer, RUN_MIN);
  const bits = [Math.log2(outer), Math.log2(size)];
  const copy = copied(engine, vector);
  const moved = permuted(engine, copy, bits, [1, 0]);
  // Runs of one or two elements are stretched to a block, of which only their own lanes count.
  const runs = filled(engine, size * padded, EXT_ZERO);
  for (let i = 0; i < size; i++) copyElements(engine, moved, i * outer, outer, runs, i * padded);
  const sums = sumRuns(engine, runs, 1, padded, size, sparseRows(engine, matrix, rows));
  const packed = filled(engine, rows * outer, EXT_ZERO);
  for (let k = 0; k < rows; k++) copyElements(engine, sums, k * padded, outer, packed, k * outer);
  const result = permuted(engine, packed, [Math.log2(rows), bits[0] as number], [1, 0]);
  for (const each of new Set([copy, moved, runs, sums, packed])) if (each !== result) engine.release(each);
  return result;
}

function copyElements(
  { pool: { heap } }: Engine,
  from: ExtBlocks,
  fromStart: number,
  count: number,
  to: ExtBlocks,
  toStart: number,
): void {
  const words = heap.words();
  for (let i = 0; i < count; i++) {
    const source = from.address / 4 + 20 * ((fromStart + i) >>> 2) + ((fromStart + i) & 3);
    const target = to.address / 4 + 20 * ((toStart + i) >>> 2) + ((toStart + i) & 3);
    for (let k = 0; k < 20; k += 4) words[target + k] = words[source + k] as number;
  }
}

/** Dot products of `outer` rows of `size` cells with the weights. */
function sumRows(engine: Engine, vector: Vector, outer: number, size: number, weights: ExtBlocks): ExtBlocks {
  const { pool } = engine;
  if (vector.field === 'extension' && size < 4) return applyShortMatrix(engine, vector, outer, weights, 1);
  const sums = pool.heap.allocate(20 * outer);
  const blocks = blocksOf(size);
  const work = outer * blocks;
  if (vector.field === 'base') {
    const { type, address } = baseOf(vector);
    const stride = size * widthOf(type);
    const tail = [weights.address, blocks, sums];
    pool.run('dotRows', outer, (from, to) => [type, address, stride, ...tail, from, to], work);
  } else {
    const { address } = vector as ExtBlocks;
    pool.run(
      'dotRowsExt',
      outer,
      (from, to) => [address, 20 * size, weights.address, blocks, sums, from, to],
      work,
    );
  }
  const result = engine.allocateBlocks(outer);
  pool.kernels.packElements(sums, outer, result.address);
  pool.heap.free(sums);
  return result;
}

/** Linear combinations of runs of `inner` cells, a multiple of 4: run k of an outer row is that of row k of the matrix. */
function sumRuns(
  engine: Engine,
  vector: Vector,
  outer: number,
  inner: number,
  size: number,
  { starts, indices, weights }: SparseRows,
): ExtBlocks {
  const { pool } = engine;
  const { heap } = pool;
  const rows = starts.length - 1;
  const result = filled(engine, outer * rows * inner, EXT_ZERO);
  const lists = heap.allocate(4 * (starts.length + indices.length));
  heap.words().set(starts, lists / 4);
  heap.words().set(indices, lists / 4 + starts.length);
  const scalars = preparedScalars(engine, weights);
  const [type, address] =
    vector.field === 'base'
      ? [baseOf(vector).type, baseOf(vector).address]
      : [TYPE_EXT, (vector as ExtBlocks).address];
  const tables = [lists, lists + 4 * starts.length, scalars];
  if (outer === 1 && rows === 1) sumOneRun(engine, type, address, inner, indices, scalars, result.address);
  else
    pool.run(
      'matrixRuns',
      outer,
      (from, to) => [type, address, size, inner / 4, rows, ...tables, result.address, from, to],
      (outer * inner * indices.length) / 4,
    );
  heap.free(lists);
  heap.free(scalars);
  return result;
}

/** One combination of long runs: cut within the runs, so that all threads have a part. */
function sumOneRun(
  { pool }: Engine,
  type: number,
  address: number,
  inner: number,
  indices: readonly number[],
  scalars: number,
  out: number,
): void {
  const { heap } = pool;
  const bytes = type === TYPE_EXT ? 20 * inner : inner * widthOf(type);
  const list = heap.allocate(4 * indices.length);
  heap.words().set(
    indices.map((i) => address + i * bytes),
    list / 4,
  );
  const kernel = type === TYPE_EXT ? 'combineExt' : 'combine';
  pool.run(
    kernel,
    inner / 4,
    (from, to) => [...(type === TYPE_EXT ? [] : [type]), ...[list, indices.length, scalars, out, from, to]],
    (inner / 4) * indices.length,
  );
  heap.free(list);
}
