/**
 * How often each row of a table is looked up. A row is found from the tuple by arithmetic that depends on the kind of
 * table alone, and then compared with the table itself, so that no tuple outside the table is ever counted.
 */
import type { PlanLookup, PlanTable, TupleEntry } from '@haca/circuit';
import { type CellArray, loadIntegers, realRuns, type Shape, shapeOf } from './cells.ts';
import { IntegerGraphError } from './errors.ts';

const BLOCK = 4096;

/** Writes for each tuple (c0, c1, …) the one row that it can stand in; any number where there is none. */
type RowRule = (c0: Int32Array, c1: Int32Array, rows: Int32Array, length: number) => void;

export function countLookups(
  table: PlanTable,
  lookups: readonly PlanLookup[],
  cells: (tensor: number) => CellArray,
): Uint32Array {
  const counts = new Uint32Array(2 ** table.bits);
  const rule = rowRule(table);
  const rows = new Int32Array(BLOCK);
  const tuple: Tuple = [new Int32Array(BLOCK), new Int32Array(BLOCK), new Int32Array(BLOCK)];
  const masks = new Map<string, Uint8Array>();
  for (const lookup of lookups) {
    const shape = shapeOf(lookup, 'padded');
    const mask = maskOf(lookup, shape, masks);
    lookup.tuple.forEach((entry, c) => {
      if (entry.kind === 'constant') tuple[c]?.fill(entry.value);
    });
    for (let from = 0; from < shape.cells; from += BLOCK) {
      const length = Math.min(BLOCK, shape.cells - from);
      lookup.tuple.forEach((entry, c) => {
        loadEntry(entry, tuple[c] as Int32Array, shape, from, length, cells);
      });
      rule(tuple[0], tuple[1], rows, length);
      const stray = count(table, tuple, rows, mask.subarray(from, from + length), counts);
      if (stray >= 0) refuse(table, lookup, tuple, stray, from);
    }
  }
  return counts;
}

type Tuple = readonly [Int32Array, Int32Array, Int32Array];

/** 1 on the cells that are looked up. `masks` remembers those of real cells by extents. */
function maskOf(
  { numerator, extents }: PlanLookup,
  shape: Shape,
  masks: Map<string, Uint8Array>,
): Uint8Array {
  const name = numerator.kind === 'real' ? extents.join() : '';
  const found = masks.get(name);
  if (found !== undefined) return found;
  const mask = new Uint8Array(shape.cells);
  if (numerator.kind === 'blocks') {
    const size = 2 ** numerator.blockBits;
    for (const block of numerator.blocks) mask.fill(1, block * size, (block + 1) * size);
    return mask;
  }
  const { offsets, length } = realRuns(shape);
  for (const from of offsets) mask.fill(1, from, from + length);
  masks.set(name, mask);
  return mask;
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
  else if (entry.kind === 'mask') for (let i = 0; i < length; i++) into[i] = isReal(shape, from + i) ? 1 : 0;
}

function isReal(shape: Shape, cell: number): boolean {
  return shape.strides.every(
    (stride, axis) =>
      Math.floor(cell / stride) % (shape.sizes[axis] as number) < (shape.extents[axis] as number),
  );
}

/** Counts the tuples of the mask up to the first that is not the one in its row; returns its place, or -1. */
function count(
  { columns: [t0, t1, t2] }: PlanTable,
  [c0, c1, c2]: Tuple,
  rows: Int32Array,
  mask: Uint8Array,
  counts: Uint32Array,
): number {
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === 0) continue;
    const row = rows[i] as number;
    // Rows beyond the table read undefined, which equals nothing.
    if (t0[row] !== c0[i] || t1[row] !== c1[i] || t2[row] !== c2[i]) return i;
    counts[row] = (counts[row] as number) + 1;
  }
  return -1;
}

function refuse(table: PlanTable, lookup: PlanLookup, tuple: Tuple, at: number, from: number): never {
  const values = tuple.map((each) => each[at]).join(', ');
  throw new IntegerGraphError(
    'lookup',
    lookup.name,
    `(${values}) of cell ${from + at} is not in table ${table.name}`,
  );
}

/** row = c0 + start[c1 + 1], where c1 is -1, 0, 1 or a width. */
const byStart =
  (starts: ArrayLike<number>): RowRule =>
  (c0, c1, rows, length) => {
    for (let i = 0; i < length; i++) rows[i] = (c0[i] as number) + (starts[(c1[i] as number) + 1] ?? -1);
  };

function rowRule(table: PlanTable): RowRule {
  const [t0, t1] = table.columns;
  const first = t0[0] as number;
  /** What to add to c0 where c1 is -1, 0, 1: the first row with this c1, less its c0. */
  const start = (c1: number): number => {
    const row = t1.indexOf(c1);
    return row < 0 ? t1.length : row - (t0[row] as number);
  };
  switch (table.kind) {
    case 'sign':
    case 'unsigned':
    case 'relu':
    case 'values':
      return (c0, _, rows, length) => {
        for (let i = 0; i < length; i++) rows[i] = (c0[i] as number) - first;
      };
    case 'range':
      return byStart(Array.from({ length: 33 }, (_, width) => (width === 0 ? -1 : 2 ** (width - 1) - 1)));
    case 'activation':
    case 'zero-or':
    case 'weights':
      return byStart([start(-1), start(0), start(1)]);
    case 'exponential': {
      // Masked rows have the same c1 as the unmasked ones before them.
      const maximum = t1.indexOf(1);
      const masked = maximum + 1 - (t0[maximum + 1] ?? 0);
      return (c0, c1, rows, length) => {
        for (let i = 0; i < length; i++) {
          const x = c0[i] as number;
          rows[i] = c1[i] === 1 ? maximum : x < maximum ? x : x + masked;
        }
      };
    }
  }
}
