/** Witness tensors of softmax and top-1: maxima, places, exponentials, sums and reciprocals of rows along the last axis. */
import type { PlanTensor, WitnessDefinition } from '@haca/circuit';
import { arrayFor, boundedCells, type CellArray, type Cells, integersOf, type Shape } from './cells.ts';

type RowDefinition = Extract<
  WitnessDefinition,
  {
    readonly kind: 'row-maximum' | 'one-hot' | 'exponential' | 'row-sum' | 'reciprocal' | 'scaled-product';
  }
>;

interface Rows {
  readonly count: number;
  readonly size: number;
  /** Entries of row r that count: all, or up to the diagonal. */
  readonly entries: (row: number) => number;
}

function rowsOf(shape: Shape, causal: boolean): Rows {
  const last = shape.sizes.length - 1;
  const size = shape.sizes[last] as number;
  const extent = shape.extents[last] as number;
  const height = causal ? (shape.sizes[last - 1] as number) : 1;
  return {
    count: shape.cells / size,
    size,
    entries: causal ? (row) => Math.min((row % height) + 1, extent) : () => extent,
  };
}

export function evaluateRows(
  tensor: PlanTensor,
  definition: RowDefinition,
  shape: Shape,
  operands: readonly Cells[],
): Cells {
  const data = arrayFor(tensor.keyKind, tensor.lo, tensor.hi, shape.cells);
  fill(data, definition, operands, shape);
  return boundedCells(tensor, shape, data);
}

function fill(data: CellArray, definition: RowDefinition, operands: readonly Cells[], shape: Shape): void {
  const first = operands[0] as Cells;
  const second = operands[1] as Cells;
  const x = integersOf(first.data);
  if (definition.kind === 'row-maximum') rowMaximum(data, x, rowsOf(first.shape, definition.causal));
  else if (definition.kind === 'one-hot') oneHot(data, x, second, rowsOf(shape, definition.causal));
  else if (definition.kind === 'exponential')
    exponential(data, x, second, rowsOf(shape, definition.causal), Int32Array.from(definition.values));
  else if (definition.kind === 'row-sum') rowSum(data, x, rowsOf(first.shape, false));
  else if (definition.kind === 'reciprocal') reciprocal(data, x, definition.numerator);
  else scaledProduct(data, x, integersOf(second.data), rowsOf(shape, false), definition);
}

function reciprocal(data: CellArray, x: Int32Array, numerator: number): void {
  for (let i = 0; i < data.length; i++) data[i] = x[i] === 0 ? 0 : Math.floor(numerator / (x[i] as number));
}

function scaledProduct(
  data: CellArray,
  a: Int32Array,
  b: Int32Array,
  rows: Rows,
  { add, from }: { readonly add: number; readonly from: number },
): void {
  for (let row = 0; row < rows.count; row++)
    for (let i = row * rows.size; i < (row + 1) * rows.size; i++)
      data[i] = Math.floor(((a[i] as number) * (b[row] as number) + add) / 2 ** from);
}

function rowMaximum(data: CellArray, x: Int32Array, rows: Rows): void {
  for (let row = 0; row < rows.count; row++) {
    const at = row * rows.size;
    const end = at + rows.entries(row);
    let maximum = x[at] as number;
    for (let i = at + 1; i < end; i++) if ((x[i] as number) > maximum) maximum = x[i] as number;
    data[row] = maximum;
  }
}

function oneHot(data: CellArray, x: Int32Array, maximum: Cells, rows: Rows): void {
  for (let row = 0; row < rows.count; row++) {
    const at = row * rows.size;
    const end = at + rows.entries(row);
    for (let i = at; i < end; i++)
      if (x[i] === maximum.data[row]) {
        data[i] = 1;
        break;
      }
  }
}

function exponential(data: CellArray, x: Int32Array, maximum: Cells, rows: Rows, values: Int32Array): void {
  for (let row = 0; row < rows.count; row++) {
    const at = row * rows.size;
    const end = at + rows.entries(row);
    const top = maximum.data[row] as number;
    for (let i = at; i < end; i++) data[i] = values[top - (x[i] as number)] as number;
  }
}

function rowSum(data: CellArray, x: Int32Array, rows: Rows): void {
  for (let row = 0; row < rows.count; row++) {
    const at = row * rows.size;
    const end = at + rows.entries(row);
    let sum = 0;
    for (let i = at; i < end; i++) sum += x[i] as number;
    data[row] = sum;
  }
}
