/** Lowering of rounding with saturation and activation, to one table's width or to sixteen bits. */
import { inversePowerOfTwo, multiplyResidues, toResidue } from '../integers.ts';
import type { OpOf } from '../key.ts';
import { REPRESENTATION_RANGE } from '../limits.ts';
import type { SumTerm } from '../program.ts';
import { type Builder, type BuiltTensor, refuse, term } from './builder.ts';
import { type Lists, limbWidths, type ResultPlace, rangeOfList, virtualSum, witness } from './digits.ts';
import type { LinearResult } from './linear.ts';
import { activationTable, listOf, rangeTable, signTable, unsignedTable } from './tables.ts';

interface RequantizeParts {
  readonly add: number;
  readonly windowBits: number;
  /** Terms of the identity that are committed: remainder limbs and the overflow digit. */
  readonly committed: readonly SumTerm[];
  /** Tuple coordinate of the overflow's sign. */
  readonly overflow: BuiltTensor | null;
}

/**
 * U = x + add = rem + 2^shift·(window digits) + 2^(shift+window)·overflow: the remainder's limbs and the overflow digit
 * with its sign, looked up; the window digit itself is left to the caller.
 */
function lowerRemainderAndOverflow(
  builder: Builder,
  op: OpOf<'requantize'> | OpOf<'requantize16'>,
  x: BuiltTensor,
  windowBits: number,
  name: string,
): RequantizeParts {
  const { shift, mode, overflowBits } = op;
  const add = (shift > 0 ? 2 ** (shift - 1) : 0) + op.offset * 2 ** shift;
  const top = 2 ** (shift + windowBits);
  checkRepresentation(x, add, top, mode, overflowBits, name);
  const table = rangeTable(builder);
  const committed: SumTerm[] = [];
  limbWidths(builder, shift).forEach((width, i) => {
    const from = i * builder.limbBits;
    const limb = witness(builder, x, `${name} remainder limb ${i}`, 0, 2 ** width - 1, {
      kind: 'digit',
      source: x.id,
      add,
      from,
      width,
    });
    builder.lookup(`${name} remainder limb ${i}`, table, limb, [limb.id, { kind: 'constant', value: width }]);
    committed.push(term(limb, -(2 ** from)));
  });
  if (mode === 'exact') return { add, windowBits, committed, overflow: null };
  const [lo, hi] =
    mode === 'saturating'
      ? [-(2 ** (overflowBits - 1)), 2 ** (overflowBits - 1) - 1]
      : [0, 2 ** overflowBits - 1];
  const digit = witness(builder, x, `${name} overflow`, lo, hi, {
    kind: 'digit',
    source: x.id,
    add,
    from: shift + windowBits,
    width: null,
  });
  const sign = witness(builder, x, `${name} overflow sign`, mode === 'saturating' ? -1 : 0, 1, {
    kind: 'sign',
    source: digit.id,
  });
  const signs =
    mode === 'saturating' ? signTable(builder, overflowBits) : unsignedTable(builder, overflowBits);
  builder.lookup(`${name} overflow`, signs, digit, [digit.id, sign.id]);
  committed.push(term(digit, -top));
  return { add, windowBits, committed, overflow: sign };
}

/** The representation rule: digits unique mod p, and none of x's values without digits. */
function checkRepresentation(
  x: BuiltTensor,
  add: number,
  top: number,
  mode: string,
  overflowBits: number,
  name: string,
): void {
  const lo = x.lo + add;
  const hi = x.hi + add;
  if (x.anyResidue) refuse('representation', `${name}: its input has no bounds`);
  if (mode === 'exact') {
    if (overflowBits !== 0) refuse('parameters', `${name}: overflow bits in exact mode`);
    if (top > REPRESENTATION_RANGE || lo < 0 || hi >= top)
      refuse('representation', `${name}: [${lo}, ${hi}] is outside [0, ${top})`);
    return;
  }
  if (overflowBits < 1) refuse('parameters', `${name}: an overflow digit has at least one bit`);
  const below = mode === 'saturating' ? 2 ** (overflowBits - 1) * top : 0;
  const above = (mode === 'saturating' ? 2 ** (overflowBits - 1) : 2 ** overflowBits) * top;
  if (below + above > REPRESENTATION_RANGE)
    refuse('representation', `${name}: digits range over ${below + above}`);
  if (lo < -below || hi >= above)
    refuse('representation', `${name}: [${lo}, ${hi}] is outside [${-below}, ${above})`);
}

/** The digit left over: 2^-shift · (x + add - committed digits). */
function solvedWindow(
  builder: Builder,
  x: BuiltTensor,
  shift: number,
  parts: RequantizeParts,
  more: readonly SumTerm[],
  width: number,
  name: string,
): BuiltTensor {
  const inverse = inversePowerOfTwo(shift);
  const terms = [...parts.committed, ...more, term(x, 1)].map((each) => ({
    ...each,
    coefficient: multiplyResidues(each.coefficient, inverse),
  }));
  return virtualSum(
    builder,
    x,
    `${name} window`,
    0,
    2 ** width - 1,
    { constant: multiplyResidues(toResidue(parts.add), inverse), terms },
    true,
  );
}

const OVERFLOWS = { saturating: [0, 1, -1], exact: [0], unsigned: [0, 1] } as const;

export function lowerRequantize(
  builder: Builder,
  op: OpOf<'requantize'>,
  x: BuiltTensor,
  lists: Lists,
  result: ResultPlace,
): void {
  const { window, shift, mode } = op;
  if (window < 1) refuse('parameters', `${result.name}: a window of ${window} bits`);
  const values = listOf(lists, op.values, 2 ** window);
  const parts = lowerRemainderAndOverflow(builder, op, x, window, result.name);
  const y = result.place(
    { kind: 'requantized', source: x.id, add: parts.add, from: shift, width: window, values },
    ...rangeOfList(values),
  );
  const digit = solvedWindow(builder, x, shift, parts, [], window, result.name);
  const table = activationTable(builder, `${op.values}`, values, OVERFLOWS[mode]);
  builder.lookup(`${result.name} window`, table, digit, [
    digit.id,
    parts.overflow?.id ?? { kind: 'constant', value: 0 },
    y.id,
  ]);
}

const BYTES = Array.from({ length: 256 }, (_, i) => i);

export function lowerRequantize16(
  builder: Builder,
  op: OpOf<'requantize16'>,
  x: BuiltTensor,
  name: string,
): LinearResult {
  if (op.zero !== 0 && op.zero !== 2 ** 15) refuse('parameters', `${name}: zero is 0 or 32768`);
  const { shift, mode } = op;
  const parts = lowerRemainderAndOverflow(builder, op, x, 16, name);
  const high = witness(builder, x, `${name} high digit`, 0, 255, {
    kind: 'digit',
    source: x.id,
    add: parts.add,
    from: shift + 8,
    width: 8,
  });
  const bytes = ([0, 1] as const).map((byte) =>
    witness(builder, x, `${name} byte ${byte}`, 0, 255, {
      kind: 'requantized-byte',
      source: x.id,
      add: parts.add,
      from: shift,
      byte,
    }),
  );
  const low = solvedWindow(builder, x, shift, parts, [term(high, -(2 ** (shift + 8)))], 8, name);
  const table = activationTable(builder, 'byte', BYTES, OVERFLOWS[mode]);
  const overflow = parts.overflow?.id ?? ({ kind: 'constant', value: 0 } as const);
  builder.lookup(`${name} low`, table, low, [low.id, overflow, (bytes[0] as BuiltTensor).id]);
  builder.lookup(`${name} high`, table, high, [high.id, overflow, (bytes[1] as BuiltTensor).id]);
  return {
    definition: {
      kind: 'sum',
      constant: toResidue(-op.zero),
      functions: [],
      terms: [term(bytes[0] as BuiltTensor, 1), term(bytes[1] as BuiltTensor, 256)],
    },
    extents: x.extents,
    lo: -op.zero,
    hi: 65_535 - op.zero,
    degree: 1,
  };
}
