/**
 * How often each row of a table is looked up. A row is found from the tuple by arithmetic that depends on the kind of
 * table alone, and then compared with the table itself, so that no tuple outside the table is ever counted.
 */
import type { PlanLookup, PlanTable, TupleEntry } from '@haca/circuit';
import { type CellArray, loadIntegers, realRuns, type Shape, shapeOf } from './cells.ts';
import { IntegerGraphError } from './errors.ts';

const BLOCK = 4096;

/** A tuple (c0, c1, c2) can only stand in row c0 + offset. */
type RowRule = (c0: number, c1: number) => number;

export function countLookups(
  table: PlanTable,
  lookups: readonly PlanLookup[],
  cells: (tensor: number) => CellArray,
): Uint32Array {
  const counts = new Uint32Array(2 ** table.bits);
  const rule = rowRule(table);
  for (const lookup of lookups) {
    const shape = shapeOf(lookup, 'padded');
    forEachBlock(lookup, shape, (from, length, tuple) => {
      lookup.tuple.forEach((entry, c) => {
        loadEntry(entry, tuple[c] as Int32Array, shape, from, length, cells);
      });
      count(table, lookup, rule, tuple, length, from, counts);
    });
  }
  return counts;
}

type Tuple = readonly [Int32Array, Int32Array, Int32Array];

/** Visits all looked-up cells in runs of at most `BLOCK`. */
function forEachBlock(
  { numerator }: PlanLookup,
  shape: Shape,
  visit: (from: number, length: number, tuple: Tuple) => void,
): void {
  const tuple: Tuple = [new Int32Array(BLOCK), new Int32Array(BLOCK), new Int32Array(BLOCK)];
  const run = (from: number, length: number): void => {
    for (let at = 0; at < length; at += BLOCK) visit(from + at, Math.min(BLOCK, length - at), tuple);
  };
  if (numerator.kind === 'blocks') {
    const size = 2 ** numerator.blockBits;
    for (const block of numerator.blocks) run(block * size, size);
    return;
  }
  const { offsets, length } = realRuns(shape);
  for (const from of offsets) run(from, length);
}

function loadEntry(
  entry: TupleEntry,
  into: Int32Array,
  shape: Shape,
  from: number,
  length: number,
  cells: (tensor: number) => CellArray,
): void {
  if (entry.kind === 'tensor') loadIntegers(cells(entry.tensor), from, length, into);
  else if (entry.kind === 'constant') into.fill(entry.value, 0, length);
  else for (let i = 0; i < length; i++) into[i] = isReal(shape, from + i) ? 1 : 0;
}

function isReal(shape: Shape, cell: number): boolean {
  return shape.strides.every(
    (stride, axis) =>
      Math.floor(cell / stride) % (shape.sizes[axis] as number) < (shape.extents[axis] as number),
  );
}

function count(
  table: PlanTable,
  lookup: PlanLookup,
  rule: RowRule,
  [c0, c1, c2]: Tuple,
  length: number,
  from: number,
  counts: Uint32Array,
): void {
  const [t0, t1, t2] = table.columns;
  for (let i = 0; i < length; i++) {
    const x = c0[i] as number;
    const y = c1[i] as number;
    const row = rule(x, y);
    // Rows beyond the table read undefined, which equals nothing.
    if (t0[row] !== x || t1[row] !== y || t2[row] !== c2[i])
      throw new IntegerGraphError(
        'lookup',
        lookup.name,
        `(${x}, ${y}, ${c2[i]}) of cell ${from + i} is not in table ${table.name}`,
      );
    counts[row] = (counts[row] as number) + 1;
  }
}

function rowRule(table: PlanTable): RowRule {
  const [t0, t1] = table.columns;
  const first = t0[0] as number;
  switch (table.kind) {
    case 'sign':
    case 'unsigned':
    case 'relu':
    case 'values':
      return (c0) => c0 - first;
    case 'range':
      return (c0, width) => 2 ** width - 1 + c0;
    case 'activation': {
      const starts = [t1.indexOf(-1), t1.indexOf(0), t1.indexOf(1)];
      return (c0, overflow) => (starts[overflow + 1] ?? -1) + c0;
    }
    case 'exponential': {
      const maximum = t1.indexOf(1);
      const masked = maximum + 1 - (t0[maximum + 1] ?? 0);
      return (c0, place) => (place === 1 ? maximum : c0 < maximum ? c0 : c0 + masked);
    }
    case 'zero-or': {
      const zero = t1.indexOf(1);
      return (c0, flag) => (flag === 1 ? zero : c0);
    }
    case 'weights': {
      const padding = t1.indexOf(0);
      return (c0, real) => (real === 0 ? padding : c0 - first);
    }
  }
}
