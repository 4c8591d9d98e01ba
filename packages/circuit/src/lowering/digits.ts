/**
 * What the lowerings of all looked-up ops share. Each such op states an integer identity between its input and a few digits.
 * All digits but one are committed; the remaining one is a virtual tensor that the identity defines, and looking it up
 * proves identity and range together (spec/zkml.md). What makes the digits unique is the representation rule: the range of
 * the digit side, from the widths really looked up, is at most 2^30 and contains every value the other side can take.
 */
import type { Definition, SumDefinition } from '../program.ts';
import { type Builder, type BuiltTensor, type TensorDraft, term } from './builder.ts';
import { rangeTable } from './tables.ts';

/** What an op puts in the place of its result: the key's tensor gets this definition and storage. */
export interface ResultPlace {
  readonly name: string;
  /** Makes the tensor of the op's result, committed or public, with the interval that its table allows. */
  readonly place: (definition: Definition, lo: number, hi: number) => BuiltTensor;
}

export type Lists = readonly (readonly number[])[];

export const rangeOfList = (values: readonly number[]): readonly [number, number] => {
  let lo = values[0] as number;
  let hi = lo;
  for (const value of values) {
    if (value < lo) lo = value;
    if (value > hi) hi = value;
  }
  return [lo, hi];
};

export function witness(
  builder: Builder,
  like: BuiltTensor,
  name: string,
  lo: number,
  hi: number,
  definition: Definition,
): BuiltTensor {
  return builder.add({ storage: 'witness', name, extents: like.extents, lo, hi, definition });
}

export function virtualSum(
  builder: Builder,
  like: { readonly extents: readonly number[] },
  name: string,
  lo: number,
  hi: number,
  parts: Omit<SumDefinition, 'kind' | 'functions'> & Partial<Pick<SumDefinition, 'functions'>>,
  solved: boolean,
): BuiltTensor {
  const degree = Math.max(...parts.terms.map(({ tensor }) => builder.tensor(tensor).degree));
  const draft: TensorDraft = {
    storage: 'virtual',
    name,
    extents: like.extents,
    lo,
    hi,
    definition: { kind: 'sum', functions: [], ...parts },
    degree,
  };
  // A solved digit holds small integers for the honest prover alone: nothing downstream may rely on its bounds.
  return builder.add(solved ? { ...draft, anyResidue: true } : draft);
}

/** Widths of the limbs of a number of `bits` bits, low first; all but the last are full. */
export function limbWidths(builder: Builder, bits: number): number[] {
  const widths: number[] = [];
  for (let at = 0; at < bits; at += builder.limbBits) widths.push(Math.min(builder.limbBits, bits - at));
  return widths;
}

/**
 * Proves 0 ≤ source < 2^bits for a virtual or committed `source`: limbs 1… are committed, limb 0 is what is left.
 */
export function rangeCheck(builder: Builder, source: BuiltTensor, bits: number, name: string): void {
  const table = rangeTable(builder);
  const widths = limbWidths(builder, bits);
  const upper = widths.slice(1).map((width, i) => {
    const from = (i + 1) * builder.limbBits;
    const limb = witness(builder, source, `${name} limb ${i + 1}`, 0, 2 ** width - 1, {
      kind: 'digit',
      source: source.id,
      add: 0,
      from,
      width,
    });
    builder.lookup(`${name} limb ${i + 1}`, table, limb, [limb.id, { kind: 'constant', value: width }]);
    return { limb, from };
  });
  const lowest =
    upper.length === 0
      ? source
      : virtualSum(
          builder,
          source,
          `${name} limb 0`,
          0,
          2 ** (widths[0] as number) - 1,
          {
            constant: 0,
            terms: [...upper.map(({ limb, from }) => term(limb, -(2 ** from))), term(source, 1)],
          },
          true,
        );
  builder.lookup(`${name} limb 0`, table, lowest, [lowest.id, { kind: 'constant', value: widths[0] ?? 0 }]);
}
