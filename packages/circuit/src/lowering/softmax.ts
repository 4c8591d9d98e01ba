/**
 * Lowering of softmax: exponentials of the distance to the row's maximum, their sum, its reciprocal by a division with rest,
 * and the products rounded.
 */
import { toResidue } from '../integers.ts';
import type { OpOf } from '../key.ts';
import type { Definition } from '../program.ts';
import { type Builder, type BuiltTensor, bitsOfExtent, refuse, term } from './builder.ts';
import { type Lists, type ResultPlace, rangeCheck, virtualSum } from './digits.ts';
import { bitRange, rowSum, rowsOf, rowTerm, times } from './rows.ts';
import { exponentialTable, listOf, maskOffset, rangeTable } from './tables.ts';

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

/** What was read off the op and checked. */
interface Shape {
  readonly x: BuiltTensor;
  readonly name: string;
  readonly causal: boolean;
  /** Entries of a row. */
  readonly n: number;
  readonly exponentials: readonly number[];
  /** The list's number in the key: part of its table's name. */
  readonly list: number;
  /** The largest exponential, 2^topBits. */
  readonly top: number;
  readonly topBits: number;
  readonly numeratorBits: number;
  readonly productShift: number;
}

interface Committed {
  readonly maximum: BuiltTensor;
  readonly place: BuiltTensor;
  readonly exponential: BuiltTensor;
  readonly sum: BuiltTensor;
  readonly reciprocal: BuiltTensor;
  readonly y: BuiltTensor;
}

export function lowerSoftmax(
  builder: Builder,
  op: OpOf<'softmax'>,
  x: BuiltTensor,
  lists: Lists,
  result: ResultPlace,
): void {
  const shape = shapeOf(op, x, lists, result.name);
  const committed = commit(builder, shape, result);
  proveExponentials(builder, shape, committed);
  proveReciprocal(builder, shape, committed);
  proveProducts(builder, shape, committed);
}

function shapeOf(op: OpOf<'softmax'>, x: BuiltTensor, lists: Lists, name: string): Shape {
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
  const scales = softmaxScales(n, topBits);
  return { x, name, causal, n, exponentials, list: op.exponentials, top, topBits, ...scales };
}

function commit(builder: Builder, shape: Shape, result: ResultPlace): Committed {
  const { x, name, causal, n, exponentials, top, topBits, numeratorBits, productShift } = shape;
  const rowLike = rowsOf(x);
  const add = (
    over: { readonly extents: readonly number[] },
    part: string,
    lo: number,
    hi: number,
    definition: Definition,
  ): BuiltTensor =>
    builder.add({ storage: 'witness', name: `${name} ${part}`, extents: over.extents, lo, hi, definition });
  const maximum = add(rowLike, 'maximum', x.lo, x.hi, { kind: 'row-maximum', source: x.id, causal });
  const toMaximum = { source: x.id, maximum: maximum.id, causal };
  const place = add(x, 'place of the maximum', 0, 1, { kind: 'one-hot', ...toMaximum });
  const exponential = add(x, 'exponential', 0, top, {
    kind: 'exponential',
    ...toMaximum,
    values: exponentials,
  });
  const sum = add(rowLike, 'sum', top, n * top, { kind: 'row-sum', source: exponential.id });
  const reciprocal = add(rowLike, 'reciprocal', 0, 2 ** (numeratorBits - topBits) - 1, {
    kind: 'reciprocal',
    source: sum.id,
    numerator: numeratorOf(shape),
  });
  const y = result.place(
    { kind: 'scaled-product', a: exponential.id, b: reciprocal.id, add: halfOf(shape), from: productShift },
    0,
    128,
  );
  return { maximum, place, exponential, sum, reciprocal, y };
}

const numeratorOf = ({ numeratorBits }: Shape): number => 2 ** numeratorBits - 1;
const halfOf = ({ productShift }: Shape): number => 2 ** (productShift - 1);

/** Exponentials are those of the distances, one place of each row is the maximum's, and the sum is the sum. */
function proveExponentials(builder: Builder, shape: Shape, committed: Committed): void {
  const { x, name, causal, n, exponentials, list, top } = shape;
  const { maximum, place, exponential, sum } = committed;
  const size = exponentials.length;
  const rowBits = x.axisBits.slice(0, -2).reduce((bits, each) => bits + each, 0);
  const axis = x.axisBits[x.axisBits.length - 1] as number;
  const aboveDiagonal = {
    coefficient: toResidue(maskOffset(size)),
    function: {
      kind: 'above-diagonal',
      rowBits: bitRange(rowBits, axis),
      columnBits: bitRange(rowBits + axis, axis),
    },
  } as const;
  const terms = [rowTerm(maximum, 1), term(x, -1)];
  const parts = { constant: 0, functions: causal ? [aboveDiagonal] : [], terms };
  const difference = virtualSum(builder, x, `${name} difference`, 0, 3 * size, parts, true);
  const table = exponentialTable(builder, `${list}`, exponentials, causal);
  builder.lookup(`${name} exponential`, table, difference, [difference.id, place.id, exponential.id]);
  builder.tie(rowSum(builder, place, `${name} places`, 0, n), null);
  builder.tie(rowSum(builder, exponential, `${name} row sum`, 0, n * top), sum);
}

/**
 * numerator = reciprocal · sum + rest, 0 ≤ rest < sum. The width of the reciprocal bounds the product: without it false
 * quotients satisfy the equation mod p.
 */
function proveReciprocal(builder: Builder, shape: Shape, { reciprocal, sum }: Committed): void {
  const { x, name, n, top, topBits, numeratorBits } = shape;
  rangeCheck(builder, reciprocal, numeratorBits - topBits, `${name} reciprocal`);
  const product = times(builder, reciprocal, sum, `${name} reciprocal times sum`, 2 ** 29);
  const sumBits = bitsOfExtent(n * top);
  const checked = (
    part: string,
    constant: number,
    terms: readonly ReturnType<typeof term>[],
  ): BuiltTensor => {
    const parts = { constant: toResidue(constant), terms };
    const made = virtualSum(builder, rowsOf(x), `${name} ${part}`, 0, n * top, parts, true);
    rangeCheck(builder, made, sumBits, `${name} ${part}`);
    return made;
  };
  const rest = checked('division rest', numeratorOf(shape), [term(product, -1)]);
  checked('division gap', -1, [term(sum, 1), term(rest, -1)]);
}

/** y is exponential · reciprocal / 2^productShift, rounded. */
function proveProducts(builder: Builder, shape: Shape, { exponential, reciprocal, y }: Committed): void {
  const { x, name, productShift } = shape;
  const scaled = times(builder, exponential, reciprocal, `${name} scaled`, 2 ** 29);
  const parts = {
    constant: toResidue(halfOf(shape)),
    terms: [term(y, -(2 ** productShift)), term(scaled, 1)],
  };
  const remainder = virtualSum(builder, x, `${name} rounding`, 0, 2 ** productShift - 1, parts, true);
  builder.lookup(`${name} probability`, rangeTable(builder), y, [y.id, { kind: 'constant', value: 8 }]);
  rangeCheck(builder, remainder, productShift, `${name} rounding`);
}
