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
import { multiplyExact, multiplyInt16, multiplyResidues } from './matrix-product.ts';

/** Packed weights, kept between evaluations: a weight is laid out for its contraction once. */
export type PackedWeights = Map<string, Int16Array>;

interface Operand {
  readonly data: CellArray;
  readonly magnitude: number;
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
  const bound = terms * left.magnitude * right.magnitude;
  const data = new Int32Array(shape.cells);
  if (sizes.length === results) multiplyCells(data, shape, sizes, left, right, bound);
  else contract(data, shape, sizes, left, right, bound, context.packed);
  const limit = Math.min(bound, INTEGER_BOUND);
  return { shape, data, lo: -limit, hi: limit, clean };
}

function cleanAlong(cells: Cells, labels: readonly number[], label: number): boolean {
  const axis = labels.indexOf(label);
  return axis >= 0 && cells.clean[axis] === true;
}

function operandOf(cells: Cells, labels: readonly number[], count: number, name: string | null): Operand {
  const strides: number[] = new Array(count).fill(0);
  labels.forEach((label, axis) => {
    strides[label] = cells.shape.strides[axis] as number;
  });
  const magnitude = Math.max(Math.abs(cells.lo), Math.abs(cells.hi));
  return { data: cells.data, magnitude, strides, name: name === null ? null : `${name} as ${labels}` };
}

/** Ones, or the index along a label, as a second operand. */
function factorOf(definition: ContractDefinition, sizes: readonly number[]): Operand {
  const strides: number[] = new Array(sizes.length).fill(0);
  if (definition.indexLabel === null) return { data: new Int32Array([1]), magnitude: 1, strides, name: null };
  const extent = sizes[definition.indexLabel] as number;
  strides[definition.indexLabel] = 1;
  const data = Int32Array.from({ length: extent }, (_, i) => i);
  return { data, magnitude: extent - 1, strides, name: null };
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
  const product = {
    batches: offsets(shared, sizes, shape.strides),
    rows: offsets(rows, sizes, shape.strides),
    columns: offsets(columns, sizes, shape.strides),
    terms: inner.reduce((count, label) => count * (sizes[label] as number), 1),
  };
  const orderA = [...shared, ...rows, ...inner];
  const orderC = [...shared, ...columns, ...inner];
  const offsetsA = (): Int32Array => offsets(orderA, sizes, a.strides);
  const offsetsC = (): Int32Array => offsets(orderC, sizes, c.strides);
  if (bound <= INTEGER_BOUND && a.magnitude <= 32_767 && c.magnitude <= 32_767) {
    const left = packInt16(a, orderA, sizes, offsetsA, packed);
    const right = packInt16(c, orderC, sizes, offsetsC, packed);
    multiplyInt16(data, product, left, right);
  } else if (bound < 2 ** 53) multiplyExact(data, product, pack(a, offsetsA()), pack(c, offsetsC()));
  else multiplyResidues(data, product, pack(a, offsetsA()), pack(c, offsetsC()));
}

function pack(operand: Operand, at: Int32Array): Int32Array {
  const integers = integersOf(operand.data);
  if (isRange(at) && at[0] === 0) return integers;
  const cells = new Int32Array(at.length);
  for (let i = 0; i < at.length; i++) cells[i] = integers[at[i] as number] as number;
  return cells;
}

function packInt16(
  operand: Operand,
  order: readonly number[],
  sizes: readonly number[],
  at: () => Int32Array,
  packed: PackedWeights,
): Int16Array {
  const name =
    operand.name === null
      ? null
      : `${operand.name}: ${order.map((label) => `${label}/${sizes[label]}`).join()}`;
  const found = name === null ? undefined : packed.get(name);
  if (found !== undefined) return found;
  const cells = gatherInt16(operand.data, at());
  if (name !== null) packed.set(name, cells);
  return cells;
}

function gatherInt16(data: CellArray, at: Int32Array): Int16Array {
  if (isRange(at) && at[0] === 0) {
    if (data instanceof Int16Array) return data;
    return new Int16Array(data.length === at.length ? data : data.subarray(0, at.length));
  }
  const cells = new Int16Array(at.length);
  const source = data instanceof Int16Array ? data : new Int16Array(data);
  for (let i = 0; i < at.length; i++) cells[i] = source[at[i] as number] as number;
  return cells;
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
