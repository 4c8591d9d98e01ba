/**
 * The tables. Each is a list of 3-tuples whose order is part of the protocol, padded to a power of two by repeating the
 * last row, never by zeros: a zero row would be one more tuple that passes.
 */
import type { PlanTable } from '../program.ts';
import { type Builder, bitsOfExtent, refuse, type TableDraft } from './builder.ts';

type Row = readonly [number, number, number];

function tableOf(
  name: string,
  kind: PlanTable['kind'],
  rows: readonly Row[],
  rowOf: PlanTable['rowOf'],
): TableDraft {
  const bits = bitsOfExtent(rows.length);
  const columns = [0, 1, 2].map((c) => {
    const column = new Int32Array(2 ** bits);
    for (let i = 0; i < column.length; i++)
      column[i] = (rows[Math.min(i, rows.length - 1)] as Row)[c] as number;
    return column;
  });
  return { name, kind, rows: rows.length, bits, columns: columns as unknown as PlanTable['columns'], rowOf };
}

const inside = (value: number, lo: number, hi: number): boolean => value >= lo && value <= hi;

/** (v, width, 0) for every width 0…limbBits and 0 ≤ v < 2^width. */
export function rangeTable(builder: Builder): number {
  const { limbBits } = builder;
  return builder.table(`range ${limbBits}`, () => {
    const rows: Row[] = [];
    for (let width = 0; width <= limbBits; width++)
      for (let v = 0; v < 2 ** width; v++) rows.push([v, width, 0]);
    return tableOf(`range ${limbBits}`, 'range', rows, (v, width, zero) =>
      inside(width, 0, limbBits) && inside(v, 0, 2 ** width - 1) && zero === 0 ? 2 ** width - 1 + v : -1,
    );
  });
}

/** (v, sign v, 0) for -2^(bits-1) ≤ v < 2^(bits-1). */
export function signTable(builder: Builder, bits: number): number {
  const half = 2 ** (bits - 1);
  return builder.table(`sign ${bits}`, () => {
    const rows = Array.from({ length: 2 * half }, (_, i): Row => [i - half, Math.sign(i - half), 0]);
    return tableOf(`sign ${bits}`, 'sign', rows, (v, sign, zero) =>
      inside(v, -half, half - 1) && sign === Math.sign(v) && zero === 0 ? v + half : -1,
    );
  });
}

/** (v, [v > 0], 0) for 0 ≤ v < 2^bits. */
export function unsignedTable(builder: Builder, bits: number): number {
  return builder.table(`unsigned ${bits}`, () => {
    const rows = Array.from({ length: 2 ** bits }, (_, v): Row => [v, v > 0 ? 1 : 0, 0]);
    return tableOf(`unsigned ${bits}`, 'unsigned', rows, (v, sign, zero) =>
      inside(v, 0, 2 ** bits - 1) && sign === (v > 0 ? 1 : 0) && zero === 0 ? v : -1,
    );
  });
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
  const full = `activation ${name} ${overflows.join(',')}`;
  return builder.table(full, () => {
    const outputOf = (d: number, overflow: number): number =>
      (overflow === 0 ? values[d] : overflow > 0 ? values[size - 1] : values[0]) as number;
    const rows = overflows.flatMap((overflow) =>
      values.map((_, d): Row => [d, overflow, outputOf(d, overflow)]),
    );
    return tableOf(full, 'activation', rows, (d, overflow, value) => {
      const block = overflows.indexOf(overflow as 0 | 1 | -1);
      return block >= 0 && inside(d, 0, size - 1) && value === outputOf(d, overflow) ? block * size + d : -1;
    });
  });
}

/** (v, max(v, 0), 0) for |v| ≤ 255. */
export function reluTable(builder: Builder): number {
  return builder.table('relu', () => {
    const rows = Array.from({ length: 511 }, (_, i): Row => [i - 255, Math.max(0, i - 255), 0]);
    return tableOf('relu', 'relu', rows, (v, r, zero) =>
      inside(v, -255, 255) && r === Math.max(0, v) && zero === 0 ? v + 255 : -1,
    );
  });
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
  const offset = maskOffset(size);
  const full = `exponential ${name} ${causal ? 'causal' : 'plain'}`;
  return builder.table(full, () => {
    const rows: Row[] = values.map((value, delta): Row => [delta, 0, value]);
    rows.push([0, 1, values[0] as number]);
    if (causal) for (let delta = offset - size + 1; delta < offset + size; delta++) rows.push([delta, 0, 0]);
    return tableOf(full, 'exponential', rows, (delta, z, value) => {
      if (z === 1) return delta === 0 && value === values[0] ? size : -1;
      if (z !== 0) return -1;
      if (inside(delta, 0, size - 1)) return value === values[delta] ? delta : -1;
      return causal && value === 0 && inside(delta, offset - size + 1, offset + size - 1)
        ? size + 1 + delta - (offset - size + 1)
        : -1;
    });
  });
}

/** What δ of a masked place is raised by: no unmasked δ in (-size, size) reaches a masked row. */
export const maskOffset = (size: number): number => 2 * size;

/** (lo + i, values[i], 0). */
export function valuesTable(builder: Builder, name: string, lo: number, values: readonly number[]): number {
  const full = `values ${name} from ${lo}`;
  return builder.table(full, () => {
    const rows = values.map((value, i): Row => [lo + i, value, 0]);
    return tableOf(full, 'values', rows, (x, value, zero) =>
      inside(x, lo, lo + values.length - 1) && value === values[x - lo] && zero === 0 ? x - lo : -1,
    );
  });
}

/** (v, 0, 0) for 0 ≤ v < 2^limbBits, and (0, 1, 0): a limb that is anything where the flag is 0, and 0 where it is 1. */
export function zeroOrTable(builder: Builder): number {
  const size = 2 ** builder.limbBits;
  const name = `zero-or ${builder.limbBits}`;
  return builder.table(name, () => {
    const rows = Array.from({ length: size }, (_, v): Row => [v, 0, 0]);
    rows.push([0, 1, 0]);
    return tableOf(name, 'zero-or', rows, (v, flag, zero) => {
      if (zero !== 0) return -1;
      if (flag === 1) return v === 0 ? size : -1;
      return flag === 0 && inside(v, 0, size - 1) ? v : -1;
    });
  });
}

/** (v, 1, 0) for lo ≤ v ≤ hi, and (0, 0, 0): a weight in its real cells, 0 in its padding (registration). */
export function weightsTable(builder: Builder, lo: number, hi: number): number {
  const name = `weights ${lo} ${hi}`;
  return builder.table(name, () => {
    const rows = Array.from({ length: hi - lo + 1 }, (_, i): Row => [lo + i, 1, 0]);
    rows.push([0, 0, 0]);
    return tableOf(name, 'weights', rows, (v, real, zero) => {
      if (zero !== 0) return -1;
      if (real === 0) return v === 0 ? rows.length - 1 : -1;
      return real === 1 && inside(v, lo, hi) ? v - lo : -1;
    });
  });
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
