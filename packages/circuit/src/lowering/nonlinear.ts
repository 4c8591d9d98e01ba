/**
 * Lowering of the non-linear ops. Each states an integer identity between its input and a few digits. All digits but one
 * are committed; the remaining one is a virtual tensor that the identity defines, and looking it up proves identity and
 * range together (spec/zkml.md). What makes the digits unique is the representation rule: the range of the digit side,
 * from the widths really looked up, is at most 2^30 and contains every value the other side can take.
 */
import { inversePowerOfTwo, multiplyResidues, toResidue } from '../integers.ts';
import type { OpOf } from '../key.ts';
import { INTEGER_BOUND, REPRESENTATION_RANGE } from '../limits.ts';
import type { Definition, SumDefinition, SumTerm } from '../program.ts';
import {
  type Builder,
  type BuiltTensor,
  bitsOfExtent,
  refuse,
  sameBits,
  type TensorDraft,
  term,
} from './builder.ts';
import type { LinearResult } from './linear.ts';
import {
  activationTable,
  exponentialTable,
  listOf,
  maskOffset,
  rangeTable,
  reluTable,
  signTable,
  unsignedTable,
  valuesTable,
  zeroOrTable,
} from './tables.ts';

/** What an op puts in the place of its result: the key's tensor gets this definition and storage. */
export interface ResultPlace {
  readonly name: string;
  /** Makes the tensor of the op's result, committed or public, with the interval that its table allows. */
  readonly place: (definition: Definition, lo: number, hi: number) => BuiltTensor;
}

type Lists = readonly (readonly number[])[];

const rangeOfList = (values: readonly number[]): readonly [number, number] => {
  let lo = values[0] as number;
  let hi = lo;
  for (const value of values) {
    if (value < lo) lo = value;
    if (value > hi) hi = value;
  }
  return [lo, hi];
};

function witness(
  builder: Builder,
  like: BuiltTensor,
  name: string,
  lo: number,
  hi: number,
  definition: Definition,
): BuiltTensor {
  return builder.add({ storage: 'witness', name, extents: like.extents, lo, hi, definition });
}

function virtualSum(
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
function limbWidths(builder: Builder, bits: number): number[] {
  const widths: number[] = [];
  for (let at = 0; at < bits; at += builder.limbBits) widths.push(Math.min(builder.limbBits, bits - at));
  return widths;
}

/**
 * Proves 0 ≤ source < 2^bits for a virtual or committed `source`: limbs 1… are committed, limb 0 is what is left.
 */
function rangeCheck(builder: Builder, source: BuiltTensor, bits: number, name: string): void {
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

export function lowerMax(builder: Builder, a: BuiltTensor, b: BuiltTensor, result: ResultPlace): void {
  if (a.extents.join() !== b.extents.join())
    refuse('shape', `${result.name}: [${a.extents}] and [${b.extents}]`);
  if (a.hi - b.lo > 255 || b.hi - a.lo > 255)
    refuse('representation', `${result.name}: operands may differ by more than 255`);
  const y = result.place({ kind: 'maximum', a: a.id, b: b.id }, Math.max(a.lo, b.lo), Math.max(a.hi, b.hi));
  const difference = virtualSum(
    builder,
    a,
    `${result.name} a - b`,
    a.lo - b.hi,
    a.hi - b.lo,
    { constant: 0, terms: [term(b, -1), term(a, 1)] },
    false,
  );
  const excess = virtualSum(
    builder,
    a,
    `${result.name} y - b`,
    0,
    Math.max(0, a.hi - b.lo),
    { constant: 0, terms: [term(b, -1), term(y, 1)] },
    true,
  );
  builder.lookup(result.name, reluTable(builder), difference, [difference.id, excess.id]);
}

export function lowerTable(
  builder: Builder,
  op: OpOf<'table'>,
  x: BuiltTensor,
  lists: Lists,
  result: ResultPlace,
): void {
  const list = lists[op.values] ?? refuse('reference', `no list ${op.values}`);
  if (x.anyResidue || x.lo < op.lo || x.hi >= op.lo + list.length)
    refuse(
      'totality',
      `${result.name}: [${x.lo}, ${x.hi}] is not in the table's [${op.lo}, ${op.lo + list.length - 1}]`,
    );
  const y = result.place({ kind: 'looked-up', source: x.id, lo: op.lo, values: list }, ...rangeOfList(list));
  builder.lookup(result.name, valuesTable(builder, `${op.values}`, op.lo, list), x, [x.id, y.id]);
}

/** Rows of a tensor: the same axes without the last. */
const rowsOf = (x: BuiltTensor): { readonly extents: readonly number[]; readonly bits: number } => {
  const last = x.axisBits[x.axisBits.length - 1] as number;
  return { extents: x.extents.slice(0, -1), bits: x.bits - last };
};

/** A row tensor as a term of a sum over all cells. */
const rowTerm = (row: BuiltTensor, coefficient: number): SumTerm => ({
  tensor: row.id,
  coefficient: toResidue(coefficient),
  bits: sameBits(row.bits),
});

/** Σ over the last axis: a contraction with ones. */
function rowSum(builder: Builder, x: BuiltTensor, name: string, lo: number, hi: number): BuiltTensor {
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
function times(builder: Builder, a: BuiltTensor, b: BuiltTensor, name: string, hi: number): BuiltTensor {
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

/** log2 of the sum of n exponentials 2^first each, of a reciprocal's numerator, and of a probability's divisor. */
export function softmaxScales(
  n: number,
  first: number,
): { readonly numeratorBits: number; readonly productShift: number } {
  const numeratorBits = 29 - bitsOfExtent(n);
  const productShift = numeratorBits - 7;
  if (first < 1 || numeratorBits - first < 1 || productShift < 1)
    refuse('softmax', `exponentials of ${first} bits over ${n} entries`);
  return { numeratorBits, productShift };
}

export function lowerSoftmax(
  builder: Builder,
  op: OpOf<'softmax'>,
  x: BuiltTensor,
  lists: Lists,
  result: ResultPlace,
): void {
  const name = result.name;
  const causal = op.causal === 'yes';
  const n = x.extents[x.extents.length - 1] as number;
  if (x.extents.length < 2 || x.storage === 'weight')
    refuse('shape', `${name}: softmax over the last of at least one axis`);
  if (causal && (x.extents.length < 3 || x.extents[x.extents.length - 2] !== n))
    refuse('shape', `${name}: a causal mask needs a square`);
  const size = 2 ** op.keyBits;
  if (op.keyBits < 1 || x.anyResidue || x.hi - x.lo >= size)
    refuse('totality', `${name}: differences of [${x.lo}, ${x.hi}] exceed ${op.keyBits} bits`);
  const exponentials = listOf(lists, op.exponentials, size);
  const top = exponentials[0] as number;
  const topBits = bitsOfExtent(top);
  if (top !== 2 ** topBits || exponentials.some((value) => value < 0 || value > top))
    refuse('softmax', `${name}: exponentials start at a power of two and stay in [0, it]`);
  const { numeratorBits, productShift } = softmaxScales(n, topBits);
  const rows = rowsOf(x);
  const rowLike = { extents: rows.extents };
  const add = (
    over: { readonly extents: readonly number[] },
    part: string,
    lo: number,
    hi: number,
    definition: Definition,
  ): BuiltTensor =>
    builder.add({ storage: 'witness', name: `${name} ${part}`, extents: over.extents, lo, hi, definition });

  const maximum = add(rowLike, 'maximum', x.lo, x.hi, { kind: 'row-maximum', source: x.id, causal });
  const place = add(x, 'place of the maximum', 0, 1, {
    kind: 'one-hot',
    source: x.id,
    maximum: maximum.id,
    causal,
  });
  const exponential = add(x, 'exponential', 0, top, {
    kind: 'exponential',
    source: x.id,
    maximum: maximum.id,
    values: exponentials,
    causal,
  });
  const sum = add(rowLike, 'sum', top, n * top, { kind: 'row-sum', source: exponential.id });
  const numerator = 2 ** numeratorBits - 1;
  const reciprocal = add(rowLike, 'reciprocal', 0, 2 ** (numeratorBits - topBits) - 1, {
    kind: 'reciprocal',
    source: sum.id,
    numerator,
  });
  const half = 2 ** (productShift - 1);
  const y = result.place(
    { kind: 'scaled-product', a: exponential.id, b: reciprocal.id, add: half, from: productShift },
    0,
    128,
  );

  const rowBits = x.axisBits.slice(0, -2).reduce((bits, each) => bits + each, 0);
  const axis = x.axisBits[x.axisBits.length - 1] as number;
  const difference = virtualSum(
    builder,
    x,
    `${name} difference`,
    0,
    3 * size,
    {
      constant: 0,
      functions: causal
        ? [
            {
              coefficient: toResidue(maskOffset(size)),
              function: {
                kind: 'above-diagonal',
                rowBits: bitRange(rowBits, axis),
                columnBits: bitRange(rowBits + axis, axis),
              },
            },
          ]
        : [],
      terms: [rowTerm(maximum, 1), term(x, -1)],
    },
    true,
  );
  builder.lookup(
    `${name} exponential`,
    exponentialTable(builder, `${op.exponentials}`, exponentials, causal),
    difference,
    [difference.id, place.id, exponential.id],
  );
  builder.tie(rowSum(builder, place, `${name} places`, 0, n), null);
  builder.tie(rowSum(builder, exponential, `${name} row sum`, 0, n * top), sum);

  // numerator = reciprocal · sum + u, 0 ≤ u < sum. The width of the reciprocal bounds the product: without it false
  // quotients satisfy the equation mod p.
  rangeCheck(builder, reciprocal, numeratorBits - topBits, `${name} reciprocal`);
  const product = times(builder, reciprocal, sum, `${name} reciprocal times sum`, 2 ** 29);
  const sumBits = bitsOfExtent(n * top);
  const rest = virtualSum(
    builder,
    rowLike,
    `${name} division rest`,
    0,
    n * top,
    { constant: toResidue(numerator), terms: [term(product, -1)] },
    true,
  );
  rangeCheck(builder, rest, sumBits, `${name} division rest`);
  const gap = virtualSum(
    builder,
    rowLike,
    `${name} division gap`,
    0,
    n * top,
    { constant: toResidue(-1), terms: [term(sum, 1), term(rest, -1)] },
    true,
  );
  rangeCheck(builder, gap, sumBits, `${name} division gap`);

  const scaled = times(builder, exponential, reciprocal, `${name} scaled`, 2 ** 29);
  const remainder = virtualSum(
    builder,
    x,
    `${name} rounding`,
    0,
    2 ** productShift - 1,
    { constant: toResidue(half), terms: [term(y, -(2 ** productShift)), term(scaled, 1)] },
    true,
  );
  builder.lookup(`${name} probability`, rangeTable(builder), y, [y.id, { kind: 'constant', value: 8 }]);
  rangeCheck(builder, remainder, productShift, `${name} rounding`);
}

const bitRange = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => 2 + from + i);

export function lowerTop1(builder: Builder, x: BuiltTensor, result: ResultPlace): void {
  const name = result.name;
  const n = x.extents[x.extents.length - 1] as number;
  if (x.extents.length < 2 || x.storage === 'weight' || x.anyResidue)
    refuse('shape', `${name}: top-1 over the last of at least one axis`);
  const axis = x.axisBits[x.axisBits.length - 1] as number;
  const scale = 2 ** axis;
  const spread = (x.hi - x.lo + 1) * scale;
  if (spread > REPRESENTATION_RANGE) refuse('representation', `${name}: ${spread} keys`);
  const limbs = Math.max(1, Math.ceil(bitsOfExtent(spread) / builder.limbBits));
  // The maximum is committed, so a difference may be negative: p less the spread must be beyond what the limbs reach.
  if (2 ** (limbs * builder.limbBits) + spread > 2 * INTEGER_BOUND + 1)
    refuse('representation', `${name}: ${spread} keys in ${limbs} limbs of ${builder.limbBits} bits`);
  // Distinct keys, larger for a lower index: exactly one difference from the maximum is 0.
  const keys = virtualSum(
    builder,
    x,
    `${name} keys`,
    x.lo * scale,
    x.hi * scale + scale - 1,
    {
      constant: toResidue(scale - 1),
      functions: [
        { coefficient: toResidue(-1), function: { kind: 'index', bits: bitRange(x.bits - axis, axis) } },
      ],
      terms: [term(x, scale)],
    },
    false,
  );
  const maximum = builder.add({
    storage: 'witness',
    name: `${name} maximum`,
    extents: rowsOf(x).extents,
    lo: keys.lo,
    hi: keys.hi,
    definition: { kind: 'row-maximum', source: keys.id, causal: false },
  });
  const z = result.place({ kind: 'one-hot', source: keys.id, maximum: maximum.id, causal: false }, 0, 1);
  const difference = virtualSum(
    builder,
    x,
    `${name} difference`,
    0,
    keys.hi - keys.lo,
    { constant: 0, terms: [rowTerm(maximum, 1), term(keys, -1)] },
    true,
  );
  const table = zeroOrTable(builder);
  const upper = Array.from({ length: limbs - 1 }, (_, i) => {
    const from = (i + 1) * builder.limbBits;
    const limb = builder.add({
      storage: 'witness',
      name: `${name} limb ${i + 1}`,
      extents: x.extents,
      lo: 0,
      hi: 2 ** builder.limbBits - 1,
      definition: { kind: 'digit', source: difference.id, add: 0, from, width: builder.limbBits },
    });
    builder.lookup(`${name} limb ${i + 1}`, table, limb, [limb.id, z.id]);
    return { limb, from };
  });
  const lowest =
    upper.length === 0
      ? difference
      : virtualSum(
          builder,
          x,
          `${name} limb 0`,
          0,
          2 ** builder.limbBits - 1,
          {
            constant: 0,
            terms: [...upper.map(({ limb, from }) => term(limb, -(2 ** from))), term(difference, 1)],
          },
          true,
        );
  builder.lookup(`${name} limb 0`, table, lowest, [lowest.id, z.id]);
  builder.tie(rowSum(builder, z, `${name} places`, 0, n), null);
}
