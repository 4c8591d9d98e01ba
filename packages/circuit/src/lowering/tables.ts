/**
 * The tables. Each is a list of 3-tuples whose order is part of the protocol, padded to a power of two by repeating the
 * last row, never by zeros: a zero row would be one more tuple that passes.
 */
import type { PlanTable } from '../program.ts';
import { type Builder, bitsOfExtent, refuse, type TableDraft } from './builder.ts';

type Columns = readonly [Int32Array, Int32Array, Int32Array];

/** Makes a table of `rows` rows; `fill` is called once for each, in order. */
function tableOf(
  builder: Builder,
  name: string,
  kind: PlanTable['kind'],
  rows: number,
  fill: (enter: (c0: number, c1: number, c2: number) => void) => void,
  rowOf: PlanTable['rowOf'],
): number {
  return builder.table(name, rows, (): TableDraft => {
    const bits = bitsOfExtent(rows);
    const columns = [0, 1, 2].map(() => new Int32Array(2 ** bits)) as unknown as Columns;
    let at = 0;
    fill((c0, c1, c2) => {
      columns[0][at] = c0;
      columns[1][at] = c1;
      columns[2][at] = c2;
      at++;
    });
    for (const column of columns) column.fill(column[rows - 1] as number, rows);
    return { name, kind, rows, bits, columns, rowOf };
  });
}

const inside = (value: number, lo: number, hi: number): boolean => value >= lo && value <= hi;

/** (v, width, 0) for every width 0…limbBits and 0 ≤ v < 2^width. */
export function rangeTable(builder: Builder): number {
  const { limbBits } = builder;
  return tableOf(
    builder,
    `range ${limbBits}`,
    'range',
    2 ** (limbBits + 1) - 1,
    (enter) => {
      for (let width = 0; width <= limbBits; width++) for (let v = 0; v < 2 ** width; v++) enter(v, width, 0);
    },
    (v, width, zero) =>
      inside(width, 0, limbBits) && inside(v, 0, 2 ** width - 1) && zero === 0 ? 2 ** width - 1 + v : -1,
  );
}

/** (v, sign v, 0) for -2^(bits-1) ≤ v < 2^(bits-1). */
export function signTable(builder: Builder, bits: number): number {
  const half = 2 ** (bits - 1);
  return tableOf(
    builder,
    `sign ${bits}`,
    'sign',
    2 * half,
    (enter) => {
      for (let v = -half; v < half; v++) enter(v, Math.sign(v), 0);
    },
    (v, sign, zero) => (inside(v, -half, half - 1) && sign === Math.sign(v) && zero === 0 ? v + half : -1),
  );
}

/** (v, [v > 0], 0) for 0 ≤ v < 2^bits. */
export function unsignedTable(builder: Builder, bits: number): number {
  return tableOf(
    builder,
    `unsigned ${bits}`,
    'unsigned',
    2 ** bits,
    (enter) => {
      for (let v = 0; v < 2 ** bits; v++) enter(v, v > 0 ? 1 : 0, 0);
    },
    (v, sign, zero) => (inside(v, 0, 2 ** bits - 1) && sign === (v > 0 ? 1 : 0) && zero === 0 ? v : -1),
  );
}

/**
 * (d, overflow, value): without overflow values[d]; above, the last value; below, the first. Modes without one of the
 * two kinds of overflow have no rows for it.
 */
export function activationTable(
  builder: Builder,
  name: string,
  values: readonly number[],
  overflows: readonly (0 | 1 | -1)[],
): number {
  const size = values.length;
  const outputOf = (d: number, overflow: number): number =>
    (overflow === 0 ? values[d] : overflow > 0 ? values[size - 1] : values[0]) as number;
  return tableOf(
    builder,
    `activation ${name} ${overflows.join(',')}`,
    'activation',
    overflows.length * size,
    (enter) => {
      for (const overflow of overflows)
        for (let d = 0; d < size; d++) enter(d, overflow, outputOf(d, overflow));
    },
    (d, overflow, value) => {
      const block = overflows.indexOf(overflow as 0 | 1 | -1);
      return block >= 0 && inside(d, 0, size - 1) && value === outputOf(d, overflow) ? block * size + d : -1;
    },
  );
}

/** (v, max(v, 0), 0) for |v| ≤ 255. */
export function reluTable(builder: Builder): number {
  return tableOf(
    builder,
    'relu',
    'relu',
    511,
    (enter) => {
      for (let v = -255; v <= 255; v++) enter(v, Math.max(0, v), 0);
    },
    (v, r, zero) => (inside(v, -255, 255) && r === Math.max(0, v) && zero === 0 ? v + 255 : -1),
  );
}

/**
 * (δ, 0, values[δ]); (0, 1, values[0]) for the place of the maximum; where causal, masked places, whose δ carries the
 * offset `maskOffset`: (δ, 0, 0) for maskOffset - size < δ < maskOffset + size.
 */
export function exponentialTable(
  builder: Builder,
  name: string,
  values: readonly number[],
  causal: boolean,
): number {
  const size = values.length;
  const lowest = maskOffset(size) - size + 1;
  const highest = maskOffset(size) + size - 1;
  return tableOf(
    builder,
    `exponential ${name} ${causal ? 'causal' : 'plain'}`,
    'exponential',
    size + 1 + (causal ? 2 * size - 1 : 0),
    (enter) => {
      for (let delta = 0; delta < size; delta++) enter(delta, 0, values[delta] as number);
      enter(0, 1, values[0] as number);
      if (causal) for (let delta = lowest; delta <= highest; delta++) enter(delta, 0, 0);
    },
    (delta, z, value) => {
      if (z === 1) return delta === 0 && value === values[0] ? size : -1;
      if (z !== 0) return -1;
      if (inside(delta, 0, size - 1)) return value === values[delta] ? delta : -1;
      return causal && value === 0 && inside(delta, lowest, highest) ? size + 1 + delta - lowest : -1;
    },
  );
}

/** What δ of a masked place is raised by: no unmasked δ in (-size, size) reaches a masked row. */
export const maskOffset = (size: number): number => 2 * size;

/** (lo + i, values[i], 0). */
export function valuesTable(builder: Builder, name: string, lo: number, values: readonly number[]): number {
  return tableOf(
    builder,
    `values ${name} from ${lo}`,
    'values',
    values.length,
    (enter) => {
      values.forEach((value, i) => {
        enter(lo + i, value, 0);
      });
    },
    (x, value, zero) =>
      inside(x, lo, lo + values.length - 1) && value === values[x - lo] && zero === 0 ? x - lo : -1,
  );
}

/** (v, 0, 0) for 0 ≤ v < 2^limbBits, and (0, 1, 0): a limb that is anything where the flag is 0, and 0 where it is 1. */
export function zeroOrTable(builder: Builder): number {
  const size = 2 ** builder.limbBits;
  return tableOf(
    builder,
    `zero-or ${builder.limbBits}`,
    'zero-or',
    size + 1,
    (enter) => {
      for (let v = 0; v < size; v++) enter(v, 0, 0);
      enter(0, 1, 0);
    },
    (v, flag, zero) => {
      if (zero !== 0) return -1;
      if (flag === 1) return v === 0 ? size : -1;
      return flag === 0 && inside(v, 0, size - 1) ? v : -1;
    },
  );
}

/** (v, 1, 0) for lo ≤ v ≤ hi, and (0, 0, 0): a weight in its real cells, 0 in its padding (registration). */
export function weightsTable(builder: Builder, lo: number, hi: number): number {
  const last = hi - lo + 1;
  return tableOf(
    builder,
    `weights ${lo} ${hi}`,
    'weights',
    last + 1,
    (enter) => {
      for (let v = lo; v <= hi; v++) enter(v, 1, 0);
      enter(0, 0, 0);
    },
    (v, real, zero) => {
      if (zero !== 0) return -1;
      if (real === 0) return v === 0 ? last : -1;
      return real === 1 && inside(v, lo, hi) ? v - lo : -1;
    },
  );
}

/** A list of the key, checked for its expected length. */
export function listOf(
  lists: readonly (readonly number[])[],
  index: number,
  length: number,
): readonly number[] {
  const list = lists[index];
  if (list === undefined) refuse('reference', `no list ${index}`);
  if (list.length !== length)
    refuse('list-length', `list ${index} has ${list.length} entries, the op needs ${length}`);
  return list;
}
