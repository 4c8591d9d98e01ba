/** y = Σ over contracted labels of a · c, exact: as int32, else as doubles, else mod p. */
import { type ContractDefinition, INTEGER_BOUND } from '@haca/circuit';
import {
  type CellArray,
  type Cells,
  centred,
  integersOf,
  isRange,
  P,
  type Shape,
  sumTable,
} from './cells.ts';
import { multiplyExact, multiplyResidues } from './matrix-product.ts';
import { fastMultiplyInt16 } from './wasm-matrix-product.ts';

/** Packed weights, kept between evaluations: a weight is laid out for its contraction once. */
export type PackedWeights = Map<string, Int16Array>;

interface Operand {
  readonly data: CellArray;
  readonly lo: number;
  readonly hi: number;
  /** Stride of each label, 0 where the operand lacks it. */
  readonly strides: readonly number[];
  /** Under which packed cells are remembered; null: not at all. */
  readonly name: string | null;
}

export interface ContractionContext {
  readonly packed: PackedWeights;
  /** A name for a tensor whose cells never change, else null. */
  readonly nameOf: (tensor: number) => string | null;
}

export function evaluateContraction(
  definition: ContractDefinition,
  shape: Shape,
  operand: (id: number) => Cells,
  context: ContractionContext,
): Cells {
  const a = operand(definition.a);
  const c = typeof definition.c === 'number' ? operand(definition.c) : null;
  const results = shape.sizes.length;
  const clean = shape.extents.map(
    (_, label) =>
      cleanAlong(a, definition.labelsA, label) || (c !== null && cleanAlong(c, definition.labelsC, label)),
  );
  // Beyond the extent of a clean label the result is zero; contracted labels are masked.
  const sizes = definition.extents.map((extent, label) =>
    label < results && !clean[label] ? (shape.sizes[label] as number) : extent,
  );
  const left = operandOf(a, definition.labelsA, sizes.length, context.nameOf(definition.a));
  const right =
    c === null
      ? factorOf(definition, sizes)
      : operandOf(c, definition.labelsC, sizes.length, context.nameOf(definition.c as number));
  const terms = sizes.slice(results).reduce((count, size) => count * size, 1);
  const bound = terms * magnitudeOf(left) * magnitudeOf(right);
  const data = new Int32Array(shape.cells);
  if (sizes.length === results) multiplyCells(data, shape, sizes, left, right, bound);
  else contract(data, shape, sizes, left, right, bound, context.packed);
  const limit = Math.min(bound, INTEGER_BOUND);
  return { shape, data, lo: -limit, hi: limit, clean };
}

const magnitudeOf = ({ lo, hi }: Operand): number => Math.max(-lo, hi);

function cleanAlong(cells: Cells, labels: readonly number[], label: number): boolean {
  const axis = labels.indexOf(label);
  return axis >= 0 && cells.clean[axis] === true;
}

function operandOf(cells: Cells, labels: readonly number[], count: number, name: string | null): Operand {
  const strides: number[] = new Array(count).fill(0);
  labels.forEach((label, axis) => {
    strides[label] = cells.shape.strides[axis] as number;
  });
  return {
    data: cells.data,
    lo: cells.lo,
    hi: cells.hi,
    strides,
    name: name === null ? null : `${name} as ${labels}`,
  };
}

/** Ones, or the index along a label, as a second operand. */
function factorOf(definition: ContractDefinition, sizes: readonly number[]): Operand {
  const strides: number[] = new Array(sizes.length).fill(0);
  if (definition.indexLabel === null) return { data: new Int32Array([1]), lo: 1, hi: 1, strides, name: null };
  const extent = sizes[definition.indexLabel] as number;
  strides[definition.indexLabel] = 1;
  const data = Int32Array.from({ length: extent }, (_, i) => i);
  return { data, lo: 0, hi: extent - 1, strides, name: null };
}

/** Offsets over all coordinates of some labels, the last label fastest. */
const offsets = (
  labels: readonly number[],
  sizes: readonly number[],
  strides: readonly number[],
): Int32Array =>
  sumTable(
    labels.map((label) =>
      Int32Array.from({ length: sizes[label] as number }, (_, i) => i * (strides[label] as number)),
    ),
  );

function contract(
  data: Int32Array,
  shape: Shape,
  sizes: readonly number[],
  a: Operand,
  c: Operand,
  bound: number,
  packed: PackedWeights,
): void {
  const results = shape.sizes.length;
  const labels = sizes.map((_, label) => label);
  const inA = (label: number): boolean => a.strides[label] !== 0;
  const inC = (label: number): boolean => c.strides[label] !== 0;
  const shared = labels.filter((label) => label < results && inA(label) && inC(label));
  const rows = labels.filter((label) => label < results && inA(label) && !inC(label));
  const columns = labels.filter((label) => label < results && !inA(label));
  const inner = labels.slice(results);
  const terms = inner.reduce((count, label) => count * (sizes[label] as number), 1);
  const product = {
    batches: offsets(shared, sizes, shape.strides),
    rows: offsets(rows, sizes, shape.strides),
    columns: offsets(columns, sizes, shape.strides),
    terms,
    stride: strideOf(terms),
  };
  const left = { operand: a, outer: [...shared, ...rows], inner };
  const right = { operand: c, outer: [...shared, ...columns], inner };
  if (bound <= INTEGER_BOUND && fitsInt16(a) && fitsInt16(c))
    fastMultiplyInt16()(data, product, packInt16(left, sizes, packed), packInt16(right, sizes, packed));
  else {
    const multiply = bound < 2 ** 53 ? multiplyExact : multiplyResidues;
    multiply(data, product, packInt32(left, sizes), packInt32(right, sizes));
  }
}

const fitsInt16 = ({ lo, hi }: Operand): boolean => lo >= -32_768 && hi <= 32_767;

/** Rows of contracted cells, one per coordinate of the outer labels. */
interface Packing {
  readonly operand: Operand;
  readonly outer: readonly number[];
  readonly inner: readonly number[];
}

const strideOf = (terms: number): number => Math.ceil(terms / 8) * 8;

function packInt32({ operand, outer, inner }: Packing, sizes: readonly number[]): Int32Array {
  const rows = offsets(outer, sizes, operand.strides);
  const terms = offsets(inner, sizes, operand.strides);
  const cells = new Int32Array(rows.length * strideOf(terms.length));
  packRows(cells, integersOf(operand.data), rows, terms);
  return cells;
}

function packInt16(
  { operand, outer, inner }: Packing,
  sizes: readonly number[],
  packed: PackedWeights,
): Int16Array {
  const named = [...outer, ...inner].map((label) => `${label}/${sizes[label]}`).join();
  const name = operand.name === null ? null : `${operand.name}: ${named}`;
  const found = name === null ? undefined : packed.get(name);
  if (found !== undefined) return found;
  const rows = offsets(outer, sizes, operand.strides);
  const terms = offsets(inner, sizes, operand.strides);
  const source = operand.data instanceof Int16Array ? operand.data : new Int16Array(operand.data);
  const cells = new Int16Array(rows.length * strideOf(terms.length));
  packRows(cells, source, rows, terms);
  if (name !== null) packed.set(name, cells);
  return cells;
}

function packRows<T extends Int16Array | Int32Array>(
  cells: T,
  source: T,
  rows: Int32Array,
  terms: Int32Array,
): void {
  const stride = strideOf(terms.length);
  const whole = terms.length >= 32 && isRange(terms);
  for (let row = 0; row < rows.length; row++) {
    const from = rows[row] as number;
    const to = row * stride;
    if (whole) cells.set(source.subarray(from, from + terms.length), to);
    else for (let k = 0; k < terms.length; k++) cells[to + k] = source[from + (terms[k] as number)] as number;
  }
}

/** No label is contracted: a product cell by cell, operands repeated along labels they lack. */
function multiplyCells(
  data: Int32Array,
  shape: Shape,
  sizes: readonly number[],
  a: Operand,
  c: Operand,
  bound: number,
): void {
  const last = sizes.length - 1;
  const outer = sizes.slice(0, last).map((_, label) => label);
  const outerA = offsets(outer, sizes, a.strides);
  const outerC = offsets(outer, sizes, c.strides);
  const outerY = offsets(outer, sizes, shape.strides);
  const left = integersOf(a.data);
  const right = integersOf(c.data);
  const stepA = a.strides[last] as number;
  const stepC = c.strides[last] as number;
  const length = sizes[last] as number;
  for (let row = 0; row < outerY.length; row++) {
    let atA = outerA[row] as number;
    let atC = outerC[row] as number;
    const y = outerY[row] as number;
    for (let i = 0; i < length; i++) {
      const x = left[atA] as number;
      const w = right[atC] as number;
      data[y + i] = bound <= INTEGER_BOUND ? Math.imul(x, w) : productModulo(x, w);
      atA += stepA;
      atC += stepC;
    }
  }
}

function productModulo(x: number, w: number): number {
  const quotient = Math.floor((x * w) / P) | 0;
  const rest = (Math.imul(x, w) - Math.imul(quotient, P)) | 0;
  return centred(rest < 0 ? rest + P : rest >= P ? rest - P : rest);
}
