/** Lowering of the largest along the last axis: keys that differ, and the one difference from their maximum that is 0. */
import { toResidue } from '../integers.ts';
import { INTEGER_BOUND, REPRESENTATION_RANGE } from '../limits.ts';
import { type Builder, type BuiltTensor, bitsOfExtent, refuse, term } from './builder.ts';
import { type ResultPlace, virtualSum, witness } from './digits.ts';
import { bitRange, rowSum, rowsOf, rowTerm } from './rows.ts';
import { zeroOrTable } from './tables.ts';

export function lowerTop1(builder: Builder, x: BuiltTensor, result: ResultPlace): void {
  const { name } = result;
  const limbs = limbCount(builder, x, name);
  const keys = distinctKeys(builder, x, name);
  const maximum = builder.add({
    storage: 'witness',
    name: `${name} maximum`,
    extents: rowsOf(x).extents,
    lo: keys.lo,
    hi: keys.hi,
    definition: { kind: 'row-maximum', source: keys.id, causal: false },
  });
  const z = result.place({ kind: 'one-hot', source: keys.id, maximum: maximum.id, causal: false }, 0, 1);
  const parts = { constant: 0, terms: [rowTerm(maximum, 1), term(keys, -1)] };
  const difference = virtualSum(builder, x, `${name} difference`, 0, keys.hi - keys.lo, parts, true);
  zeroWhereChosen(builder, difference, z, limbs, name);
  builder.tie(rowSum(builder, z, `${name} places`, 0, x.extents[x.extents.length - 1] as number), null);
}

/** Limbs of a difference of keys. */
function limbCount(builder: Builder, x: BuiltTensor, name: string): number {
  if (x.extents.length < 2 || x.storage === 'weight' || x.anyResidue)
    refuse('shape', `${name}: top-1 over the last of at least one axis`);
  const spread = (x.hi - x.lo + 1) * scaleOf(x);
  if (spread > REPRESENTATION_RANGE) refuse('representation', `${name}: ${spread} keys`);
  const limbs = Math.max(1, Math.ceil(bitsOfExtent(spread) / builder.limbBits));
  // The maximum is committed, so a difference may be negative: p less the spread must be beyond what the limbs reach.
  if (2 ** (limbs * builder.limbBits) + spread > 2 * INTEGER_BOUND + 1)
    refuse('representation', `${name}: ${spread} keys in ${limbs} limbs of ${builder.limbBits} bits`);
  return limbs;
}

const axisOf = (x: BuiltTensor): number => x.axisBits[x.axisBits.length - 1] as number;
const scaleOf = (x: BuiltTensor): number => 2 ** axisOf(x);

/** Larger for a lower index among equals: exactly one difference from the maximum is 0. */
function distinctKeys(builder: Builder, x: BuiltTensor, name: string): BuiltTensor {
  const [axis, scale] = [axisOf(x), scaleOf(x)];
  const index = { kind: 'index', bits: bitRange(x.bits - axis, axis) } as const;
  const parts = {
    constant: toResidue(scale - 1),
    functions: [{ coefficient: toResidue(-1), function: index }],
    terms: [term(x, scale)],
  };
  return virtualSum(builder, x, `${name} keys`, x.lo * scale, x.hi * scale + scale - 1, parts, false);
}

/** The difference is in limbs, each of which is 0 where z is 1. */
function zeroWhereChosen(
  builder: Builder,
  difference: BuiltTensor,
  z: BuiltTensor,
  limbs: number,
  name: string,
): void {
  const { limbBits } = builder;
  const table = zeroOrTable(builder);
  const most = 2 ** limbBits - 1;
  const upper = Array.from({ length: limbs - 1 }, (_, i) => {
    const from = (i + 1) * limbBits;
    const digit = { kind: 'digit', source: difference.id, add: 0, from, width: limbBits } as const;
    const limb = witness(builder, difference, `${name} limb ${i + 1}`, 0, most, digit);
    builder.lookup(`${name} limb ${i + 1}`, table, limb, [limb.id, z.id]);
    return term(limb, -(2 ** from));
  });
  const parts = { constant: 0, terms: [...upper, term(difference, 1)] };
  const lowest =
    upper.length === 0 ? difference : virtualSum(builder, difference, `${name} limb 0`, 0, most, parts, true);
  builder.lookup(`${name} limb 0`, table, lowest, [lowest.id, z.id]);
}
