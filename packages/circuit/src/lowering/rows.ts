/** Tensors over the rows of another: the same axes without the last. */
import { toResidue } from '../integers.ts';
import type { SumTerm } from '../program.ts';
import { type Builder, type BuiltTensor, sameBits } from './builder.ts';

/** Rows of a tensor: the same axes without the last. */
export const rowsOf = (x: BuiltTensor): { readonly extents: readonly number[]; readonly bits: number } => {
  const last = x.axisBits[x.axisBits.length - 1] as number;
  return { extents: x.extents.slice(0, -1), bits: x.bits - last };
};

/** A row tensor as a term of a sum over all cells. */
export const rowTerm = (row: BuiltTensor, coefficient: number): SumTerm => ({
  tensor: row.id,
  coefficient: toResidue(coefficient),
  bits: sameBits(row.bits),
});

/** Σ over the last axis: a contraction with ones. */
export function rowSum(builder: Builder, x: BuiltTensor, name: string, lo: number, hi: number): BuiltTensor {
  const labels = x.extents.map((_, axis) => axis);
  return builder.add({
    storage: 'virtual',
    name,
    extents: rowsOf(x).extents,
    lo,
    hi,
    degree: x.degree,
    definition: {
      kind: 'contract',
      a: x.id,
      c: 'ones',
      labelsA: labels,
      labelsC: [],
      indexLabel: null,
      extents: x.extents,
    },
  });
}

/** a · b, where b has the axes of a or lacks the last. */
export function times(
  builder: Builder,
  a: BuiltTensor,
  b: BuiltTensor,
  name: string,
  hi: number,
): BuiltTensor {
  const labels = a.extents.map((_, axis) => axis);
  return builder.add({
    storage: 'virtual',
    name,
    extents: a.extents,
    lo: 0,
    hi,
    degree: a.degree + b.degree,
    definition: {
      kind: 'contract',
      a: a.id,
      c: b.id,
      labelsA: labels,
      labelsC: labels.slice(0, b.extents.length),
      indexLabel: null,
      extents: a.extents,
    },
  });
}

/** The bit map of `count` bits of a result from bit `from` on. */
export const bitRange = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => 2 + from + i);
