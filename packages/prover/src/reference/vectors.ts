/** Vectors of the reference backend: plain typed arrays, lifted to F wherever that is simplest. */
import { UsageError } from '@haca/primitives';
import {
  axpyBaseRange,
  type BaseValues,
  dotBaseRange,
  dotExtRange,
  EXT_DEGREE,
  type Ext,
  type ExtVector,
  eqTable,
  extAdd,
  extIsZero,
  extScale,
  extVector,
  foldVector,
  fromSigned,
  getExt,
  P,
  scaleRange,
  setExt,
} from '@haca/primitives/zk';
import type { AxisUse, CellMask, Column, PartialEvaluation, Vector } from '../backend.ts';

interface BaseVector extends Vector {
  readonly field: 'base';
  readonly values: BaseValues;
}

interface ExtensionVector extends Vector {
  readonly field: 'extension';
  readonly values: ExtVector;
}

export function ofBase(values: BaseValues): Vector {
  const vector: BaseVector = { field: 'base', length: values.length, values };
  return vector;
}

export function ofExtension(values: ExtVector): Vector {
  const vector: ExtensionVector = { field: 'extension', length: values.length, values };
  return vector;
}

/** @throws UsageError where the vector is over F */
export function baseOf(vector: Vector): BaseValues {
  if (vector.field !== 'base') throw new UsageError('a vector over F where integers are needed');
  return (vector as BaseVector).values;
}

/** @throws UsageError where the vector is not over F */
export function extensionOf(vector: Vector): ExtVector {
  if (vector.field !== 'extension') throw new UsageError('integers where a vector over F is needed');
  return (vector as ExtensionVector).values;
}

const residueOf = (values: BaseValues, index: number): number => {
  const value = values[index] as number;
  return value < 0 ? fromSigned(value) : value;
};

/** The vector over F, for integers a copy. */
export function lift(vector: Vector): ExtVector {
  if (vector.field === 'extension') return extensionOf(vector);
  const values = baseOf(vector);
  const lifted = extVector(values.length);
  for (let i = 0; i < values.length; i++) lifted.data[i] = residueOf(values, i);
  return lifted;
}

export function copyOf(vector: Vector): ExtVector {
  const lifted = lift(vector);
  return { length: lifted.length, data: lifted.data.slice() };
}

/** 1 in the real cells of a padded cube. */
export function maskCells({ extents, axisBits }: CellMask): Uint8Array {
  const cells = new Uint8Array(2 ** axisBits.reduce((sum, bits) => sum + bits, 0));
  for (let cell = 0; cell < cells.length; cell++) {
    let rest = cell;
    let real = 1;
    for (let axis = extents.length - 1; axis >= 0; axis--) {
      const size = 2 ** (axisBits[axis] as number);
      if (rest % size >= (extents[axis] as number)) real = 0;
      rest = Math.floor(rest / size);
    }
    cells[cell] = real;
  }
  return cells;
}

/** `to[start + i] += factor · from[fromStart + i]`, i < count. */
export function addScaled(
  to: ExtVector,
  start: number,
  from: ExtVector,
  fromStart: number,
  count: number,
  factor: Ext,
): void {
  const scaled = extVector(count);
  scaleRange(from, fromStart, count, factor, scaled, 0);
  for (let k = 0; k < EXT_DEGREE; k++) {
    const at = k * to.length + start;
    for (let i = 0; i < count; i++) {
      const sum = (to.data[at + i] as number) - P + (scaled.data[k * count + i] as number);
      to.data[at + i] = sum < 0 ? sum + P : sum;
    }
  }
}

/** `to[start + i] += factor · vector[from + i]`, i < count, the vector of either field. */
export function accumulate(
  to: ExtVector,
  start: number,
  vector: Vector,
  from: number,
  count: number,
  factor: Ext,
): void {
  if (vector.field === 'base') axpyBaseRange(to, start, baseOf(vector), from, factor, count);
  else addScaled(to, start, extensionOf(vector), from, count, factor);
}

/** Σ over i < count of vector[from + i] · weights[i]. */
function dotRange(vector: Vector, from: number, weights: ExtVector, count: number): Ext {
  return vector.field === 'base'
    ? dotBaseRange(baseOf(vector), from, weights, count)
    : dotExtRange(extensionOf(vector), from, weights, count);
}

export function evaluateAt(vectors: readonly Vector[], point: readonly Ext[]): Ext[] {
  const table = eqTable(point);
  return vectors.map((vector) => {
    if (vector.length !== table.length)
      throw new UsageError(`${vector.length} cells at a point of ${point.length} coordinates`);
    return dotRange(vector, 0, table, table.length);
  });
}

/** The residues of a column. */
export function columnCells(column: Column, columnBits: number): Uint32Array {
  const cells = new Uint32Array(2 ** columnBits);
  for (const { vector, from, length, offset } of column.pieces) {
    const values = baseOf(vector);
    for (let i = 0; i < length; i++) cells[offset + i] = residueOf(values, from + i);
  }
  return cells;
}

export function evaluateColumnsAt(columns: readonly Column[], point: readonly Ext[]): Ext[] {
  const table = eqTable(point);
  return columns.map((column) => dotBaseRange(columnCells(column, point.length), 0, table, table.length));
}

export function combineColumns(
  columns: readonly Column[],
  columnBits: number,
  weights: readonly Ext[],
): ExtVector {
  const sum = extVector(2 ** columnBits);
  columns.forEach(({ pieces }, c) => {
    for (const { vector, from, length, offset } of pieces)
      accumulate(sum, offset, vector, from, length, weights[c] as Ext);
  });
  return sum;
}

export function combineEqs(
  terms: readonly { readonly point: readonly Ext[]; readonly weight: Ext }[],
): ExtVector {
  const sum = extVector(2 ** (terms[0]?.point.length ?? 0));
  for (const { point, weight } of terms) addScaled(sum, 0, eqTable(point), 0, sum.length, weight);
  return sum;
}

const bitsOf = (use: AxisUse): number => (use.kind === 'point' ? use.point.length : use.bits);

/** Axes next to each other that are summed with eq become one, axes without bits go. */
function mergePoints(axes: readonly AxisUse[]): { readonly uses: AxisUse[]; readonly places: number[] } {
  const uses: AxisUse[] = [];
  const places: number[] = [];
  axes.forEach((use, place) => {
    const last = uses[uses.length - 1];
    if (use.kind === 'point' && last?.kind === 'point')
      uses[uses.length - 1] = { kind: 'point', point: [...last.point, ...use.point] };
    else {
      uses.push(use);
      places.push(place);
    }
  });
  return { uses, places };
}

/** The vector with `axis` summed up or replaced; what stands before and behind it stays. */
function applyAxis(vector: Vector, outer: number, use: AxisUse, inner: number): Vector {
  const size = 2 ** bitsOf(use);
  if (use.kind === 'matrix') return applyMatrix(vector, outer, use, inner);
  const weights =
    use.kind === 'point' ? eqTable(use.point) : extensionOf((use as { weights: Vector }).weights);
  const result = extVector(outer * inner);
  for (let o = 0; o < outer; o++) {
    if (inner === 1) setExt(result, o, dotRange(vector, o * size, weights, size));
    else
      for (let i = 0; i < size; i++)
        accumulate(result, o * inner, vector, (o * size + i) * inner, inner, getExt(weights, i));
  }
  return ofExtension(result);
}

function applyMatrix(
  vector: Vector,
  outer: number,
  use: Extract<AxisUse, { readonly kind: 'matrix' }>,
  inner: number,
): Vector {
  const size = 2 ** use.bits;
  const rows = 2 ** use.rowBits;
  const matrix = extensionOf(use.matrix);
  const result = extVector(outer * rows * inner);
  for (let k = 0; k < rows; k++)
    for (let i = 0; i < size; i++) {
      const factor = getExt(matrix, k * size + i);
      if (extIsZero(factor)) continue;
      for (let o = 0; o < outer; o++)
        accumulate(result, (o * rows + k) * inner, vector, (o * size + i) * inner, inner, factor);
    }
  return ofExtension(result);
}

export function partialEvaluate({ vector, axes, order }: PartialEvaluation): Vector {
  const total = axes.reduce((sum, use) => sum + bitsOf(use), 0);
  if (vector.length !== 2 ** total) throw new UsageError(`${vector.length} cells on axes of ${total} bits`);
  const { uses, places } = mergePoints(axes);
  const widths = uses.map(bitsOf);
  let current = vector;
  uses.forEach((use, axis) => {
    if (use.kind === 'keep') return;
    const span = (list: readonly number[]): number => 2 ** list.reduce((sum, bits) => sum + bits, 0);
    current = applyAxis(current, span(widths.slice(0, axis)), use, span(widths.slice(axis + 1)));
    widths[axis] = use.kind === 'matrix' ? use.rowBits : 0;
  });
  const kept = places.filter((_, axis) => uses[axis]?.kind === 'keep' || uses[axis]?.kind === 'matrix');
  const keptBits = kept.map((place) => widths[places.indexOf(place)] as number);
  return ofExtension(
    permute(
      lift(current),
      keptBits,
      order.map((place) => kept.indexOf(place)),
    ),
  );
}

/** Axes in another order: axis m of the result is axis order[m] of the vector. */
function permute(vector: ExtVector, axisBits: readonly number[], order: readonly number[]): ExtVector {
  if (order.length !== axisBits.length) throw new UsageError('an order that leaves an axis out');
  if (order.every((axis, m) => axis === m)) return vector;
  const first: number[] = [];
  axisBits.reduce((sum, bits, axis) => {
    first[axis] = sum;
    return sum + bits;
  }, 0);
  // For each bit of the vector the bit of the result that it is.
  const map: number[] = [];
  let at = 0;
  for (const axis of order)
    for (let bit = 0; bit < (axisBits[axis] as number); bit++) map[(first[axis] as number) + bit] = at++;
  return combineTerms(at, 0, [{ vector: ofExtension(vector), coefficient: 1, bits: map }]);
}

export function combineTerms(
  bits: number,
  constant: number,
  terms: readonly {
    readonly vector: Vector;
    readonly coefficient: number;
    readonly bits: readonly number[];
  }[],
): ExtVector {
  const result = extVector(2 ** bits);
  result.data.fill(constant, 0, result.length);
  for (const { vector, coefficient, bits: map } of terms) {
    const values = lift(vector);
    if (values.length !== 2 ** map.length) throw new UsageError('a bit map of another length');
    for (let i = 0; i < result.length; i++) {
      let index = 0;
      for (const bit of map) index = 2 * index + (Math.floor(i / 2 ** (bits - 1 - bit)) % 2);
      setExt(result, i, extAdd(getExt(result, i), extScale(getExt(values, index), coefficient)));
    }
  }
  return result;
}

/** v[i] + r·(v[i + half] − v[i]). */
export const bindFirst: (vector: ExtVector, r: Ext) => ExtVector = foldVector;
