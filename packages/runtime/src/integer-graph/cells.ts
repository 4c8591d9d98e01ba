/**
 * Tensors in memory. The same operators run over two layouts: `dense`, real cells alone (inference), and `padded`, every
 * axis rounded up to a power of two (the cubes that a proof is about). Either way a tensor is an array with strides.
 */
import { createValues, INTEGER_BOUND, type PlanTensor, type TensorKind } from '@haca/circuit';

export const P = 2 * INTEGER_BOUND + 1;

export type CellArray = Int8Array | Uint8Array | Int16Array | Int32Array | Uint32Array;
export type Layout = 'dense' | 'padded';

export interface Shape {
  readonly extents: readonly number[];
  readonly axisBits: readonly number[];
  /** Cells along each axis in this layout. */
  readonly sizes: readonly number[];
  readonly strides: readonly number[];
  readonly cells: number;
}

export interface Cells {
  readonly shape: Shape;
  /** Signed integers; canonical residues where it is a Uint32Array. */
  readonly data: CellArray;
  /** Bounds of the integers in all cells, padding included. */
  readonly lo: number;
  readonly hi: number;
  /** Axes beyond whose extent all cells are 0. */
  readonly clean: readonly boolean[];
}

export function shapeOf(tensor: Pick<PlanTensor, 'extents' | 'axisBits'>, layout: Layout): Shape {
  const { extents, axisBits } = tensor;
  const sizes = layout === 'dense' ? extents : axisBits.map((bits) => 2 ** bits);
  const strides: number[] = new Array(sizes.length);
  let cells = 1;
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    strides[axis] = cells;
    cells *= sizes[axis] as number;
  }
  return { extents, axisBits, sizes, strides, cells };
}

export const allClean = (shape: Shape): boolean[] => shape.extents.map(() => true);

/** The narrowest array that holds [lo, hi], or the one of the tensor's kind. */
export function arrayFor(kind: TensorKind | null, lo: number, hi: number, length: number): CellArray {
  if (kind !== null) return createValues(kind, length);
  if (lo >= -128 && hi <= 127) return new Int8Array(length);
  if (lo >= 0 && hi <= 255) return new Uint8Array(length);
  return lo >= -32_768 && hi <= 32_767 ? new Int16Array(length) : new Int32Array(length);
}

/** The integer of a residue that is nearest to zero. */
export const centred = (residue: number): number => (residue > INTEGER_BOUND ? residue - P : residue);

/** Copies cells as integers, residues centred. */
export function loadIntegers(data: CellArray, from: number, length: number, into: Int32Array): void {
  into.set(length === data.length ? data : data.subarray(from, from + length));
  if (!(data instanceof Uint32Array)) return;
  for (let i = 0; i < length; i++) {
    const value = into[i] as number;
    if (value > INTEGER_BOUND) into[i] = value - P;
  }
}

/** All cells as integers: the array itself where it is one of those already. */
export function integersOf(data: CellArray): Int32Array {
  if (data instanceof Int32Array) return data;
  const integers = new Int32Array(data.length);
  loadIntegers(data, 0, data.length, integers);
  return integers;
}

/** Sets every cell outside the extents to 0. */
export function clearPadding(shape: Shape, data: CellArray): void {
  const { extents, sizes, strides, cells } = shape;
  for (let axis = 0; axis < sizes.length; axis++) {
    const stride = strides[axis] as number;
    const whole = (sizes[axis] as number) * stride;
    const real = (extents[axis] as number) * stride;
    if (real === whole) continue;
    if (whole - real < 16) {
      for (let at = 0; at < cells; at += whole) for (let i = at + real; i < at + whole; i++) data[i] = 0;
    } else for (let at = 0; at < cells; at += whole) data.fill(0, at + real, at + whole);
  }
}

/** Start and length of runs of real cells; all runs are of one length. */
export function realRuns(shape: Shape): { readonly offsets: Int32Array; readonly length: number } {
  const { extents, sizes, strides } = shape;
  let axis = sizes.length - 1;
  while (axis > 0 && sizes[axis] === extents[axis]) axis--;
  const length = sizes.length === 0 ? 1 : (extents[axis] as number) * (strides[axis] as number);
  return { offsets: offsetTable(extents.slice(0, Math.max(0, axis)), strides), length };
}

/** Σ stride · coordinate for all coordinates inside `extents`, row-major. */
export function offsetTable(extents: readonly number[], strides: readonly number[], base = 0): Int32Array {
  return sumTable(
    extents.map((extent, axis) =>
      Int32Array.from({ length: extent }, (_, i) => i * (strides[axis] as number)),
    ),
    base,
  );
}

/** Sums of one entry of each table, the last table fastest. */
export function sumTable(tables: readonly Int32Array[], base = 0): Int32Array {
  let sums = new Int32Array([base]);
  for (const table of tables) {
    if (table.length === 1 && table[0] === 0) continue;
    const next = new Int32Array(sums.length * table.length);
    let at = 0;
    for (const sum of sums) for (const each of table) next[at++] = sum + each;
    sums = next;
  }
  return sums;
}

export function isRange(table: Int32Array): boolean {
  const first = table[0] as number;
  for (let i = 1; i < table.length; i++) if (table[i] !== first + i) return false;
  return true;
}

/** Cells of a committed or public tensor: 0 in all padding, inside its interval in the rest. */
export function boundedCells(tensor: Pick<PlanTensor, 'lo' | 'hi'>, shape: Shape, data: CellArray): Cells {
  clearPadding(shape, data);
  return {
    shape,
    data,
    lo: Math.min(0, tensor.lo),
    hi: Math.max(0, tensor.hi),
    clean: allClean(shape),
  };
}
