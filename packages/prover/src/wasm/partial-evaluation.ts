/**
 * Vectors of which some axes are summed up. Axes are taken one after another: an axis is summed as a linear combination of
 * the runs behind it, or, where nothing is behind it, as dot products of rows.
 */
import { UsageError } from '@haca/primitives';
import { EXT_ONE, EXT_ZERO, type Ext, extIsZero } from '@haca/primitives/zk';
import type { AxisUse, PartialEvaluation, Vector } from '../backend.ts';
import {
  addBlocksTimes,
  addIntegers,
  baseOf,
  blocksOf,
  copied,
  type Engine,
  type ExtBlocks,
  eqTableOf,
  extensionOf,
  filled,
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
      : sumRuns(engine, vector, outer, inner, [elementsOf(engine, weights)]);
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

function applyMatrix(
  engine: Engine,
  vector: Vector,
  outer: number,
  use: Extract<AxisUse, { readonly kind: 'matrix' }>,
  inner: number,
): ExtBlocks {
  const size = 2 ** use.bits;
  const rows = 2 ** use.rowBits;
  const entries = elementsOf(engine, extensionOf(use.matrix));
  if (entries.length !== rows * size) throw new UsageError('a matrix of another size');
  const lists = Array.from({ length: rows }, (_, k) => entries.slice(k * size, (k + 1) * size));
  if (inner > 1) return sumRuns(engine, vector, outer, inner, lists);
  // One table of weights a row of the matrix; the results of each are a run of the transposed result.
  const transposed = filled(engine, outer * rows, EXT_ZERO);
  const bits = [Math.log2(outer), use.rowBits];
  for (let k = 0; k < rows; k++) {
    const weights = engine.allocateBlocks(size);
    packInto(engine, lists[k] as Ext[], weights);
    const sums = sumRows(engine, vector, outer, size, weights);
    copyElements(engine, sums, transposed, k * outer);
    engine.release(sums);
    engine.release(weights);
  }
  const result = permuted(engine, transposed, [bits[1] as number, bits[0] as number], [1, 0]);
  if (result !== transposed) engine.release(transposed);
  return result;
}

function packInto({ pool: { heap, kernels } }: Engine, elements: readonly Ext[], to: ExtBlocks): void {
  const list = heap.allocate(20 * elements.length);
  const words = heap.words();
  elements.forEach((element, i) => {
    words.set(element, list / 4 + 5 * i);
  });
  kernels.packElements(list, elements.length, to.address);
  heap.free(list);
}

/** Elements of `from` to the places of `to` from `start` on. */
function copyElements({ pool: { heap } }: Engine, from: ExtBlocks, to: ExtBlocks, start: number): void {
  const words = heap.words();
  for (let i = 0; i < from.length; i++) {
    const source = from.address / 4 + 20 * (i >>> 2) + (i & 3);
    const target = to.address / 4 + 20 * ((start + i) >>> 2) + ((start + i) & 3);
    for (let k = 0; k < 20; k += 4) words[target + k] = words[source + k] as number;
  }
}

function elementsOf(engine: Engine, vector: ExtBlocks): Ext[] {
  return Array.from({ length: vector.length }, (_, i) => engine.elementAt(vector, i));
}

/** Dot products of `outer` rows of `size` cells with the weights. */
function sumRows(engine: Engine, vector: Vector, outer: number, size: number, weights: ExtBlocks): ExtBlocks {
  const { pool } = engine;
  if (vector.field === 'extension' && size < 4) return sumShortRows(engine, vector, outer, size, weights);
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

/** Rows over F that are shorter than a block: each column of them scaled and added. */
function sumShortRows(
  engine: Engine,
  vector: Vector,
  outer: number,
  size: number,
  weights: ExtBlocks,
): ExtBlocks {
  const outerBits = Math.log2(outer);
  const copy = copied(engine, vector);
  const transposed = permuted(engine, copy, [outerBits, Math.log2(size)], [1, 0]);
  if (transposed !== copy) engine.release(copy);
  const result = filled(engine, outer, EXT_ZERO);
  for (let i = 0; i < size; i++) {
    const column = filled(engine, outer, EXT_ZERO);
    copyFrom(engine, transposed, i * outer, column);
    addBlocksTimes(engine, result.address, outer, [column.address], [engine.elementAt(weights, i)]);
    engine.release(column);
  }
  engine.release(transposed);
  return result;
}

function copyFrom({ pool: { heap } }: Engine, from: ExtBlocks, start: number, to: ExtBlocks): void {
  const words = heap.words();
  for (let i = 0; i < to.length; i++) {
    const source = from.address / 4 + 20 * ((start + i) >>> 2) + ((start + i) & 3);
    const target = to.address / 4 + 20 * (i >>> 2) + (i & 3);
    for (let k = 0; k < 20; k += 4) words[target + k] = words[source + k] as number;
  }
}

/**
 * Linear combinations of runs of `inner` cells (a multiple of 4): run k of outer row o is the sum over i of
 * lists[k][i] * run i of row o.
 */
function sumRuns(
  engine: Engine,
  vector: Vector,
  outer: number,
  inner: number,
  lists: readonly (readonly Ext[])[],
): ExtBlocks {
  const size = (lists[0] as readonly Ext[]).length;
  const result = filled(engine, outer * lists.length * inner, EXT_ZERO);
  lists.forEach((weights, k) => {
    const used = weights.map((_, i) => i).filter((i) => !extIsZero(weights[i] as Ext));
    if (used.length === 0) return;
    for (let o = 0; o < outer; o++) {
      const target = result.address + 20 * (o * lists.length + k) * inner;
      const runAt = (i: number): number => (o * size + i) * inner;
      if (vector.field === 'base') {
        const { type, address } = baseOf(vector);
        addIntegers(
          engine,
          target,
          inner,
          used.map((i) => ({ type, address: address + runAt(i) * widthOf(type), weight: weights[i] as Ext })),
        );
      } else {
        const { address } = vector as ExtBlocks;
        addBlocksTimes(
          engine,
          target,
          inner,
          used.map((i) => address + 20 * runAt(i)),
          used.map((i) => weights[i] as Ext),
        );
      }
    }
  });
  return result;
}
