/**
 * Puts a verifying key together op by op. Intervals are followed as the contract recomputes them, so that shifts and
 * overflow widths can be chosen to fit and every key that comes out is one that `plan` accepts.
 */
import {
  type AxisRelation,
  bitsOfExtent,
  INTEGER_BOUND,
  type Op,
  type OpOf,
  type RequantizeMode,
  type TensorKind,
  type TensorSpec,
  type TensorValues,
} from '@haca/circuit';
import { MalformedError, UsageError } from '@haca/primitives';

/** A tensor of the key: extents without the batch, and the interval its integers lie in. */
export interface KeyTensor {
  readonly id: number;
  readonly extents: readonly number[];
  readonly lo: number;
  readonly hi: number;
}

export interface KeyParts {
  readonly tensors: readonly TensorSpec[];
  readonly ops: readonly Op[];
  readonly lists: readonly (readonly number[])[];
  /** Dense, row-major, in the order of the tensors of role weight. */
  readonly weights: readonly TensorValues[];
}

export interface SumTerm {
  readonly x: KeyTensor;
  readonly coefficient: number;
  readonly bits: readonly number[];
}

export interface RequantizeRequest {
  readonly x: KeyTensor;
  readonly shift: number;
  readonly offset: number;
  readonly window: number;
  readonly values: readonly number[];
  readonly output: boolean;
}

export interface KeyBuilder {
  readonly input: (kind: TensorKind, extents: readonly number[], lo: number, hi: number) => KeyTensor;
  readonly weight: (
    extents: readonly number[],
    lo: number,
    hi: number,
    values: TensorValues,
    kind: TensorKind,
  ) => KeyTensor;
  readonly sum: (
    terms: readonly SumTerm[],
    extents: readonly number[],
    constant: number,
    output?: boolean,
  ) => KeyTensor;
  readonly contract: (request: {
    readonly a: KeyTensor;
    readonly c: KeyTensor | null;
    readonly labelsA: readonly number[];
    readonly labelsC: readonly number[];
    readonly indexLabel?: number;
    readonly extents: readonly number[];
    readonly output?: boolean;
  }) => KeyTensor;
  readonly wire: (x: KeyTensor, relations: readonly AxisRelation[], extents: readonly number[]) => KeyTensor;
  readonly gather: (table: KeyTensor, ids: KeyTensor) => KeyTensor;
  readonly requantize: (request: RequantizeRequest) => KeyTensor;
  readonly max: (a: KeyTensor, b: KeyTensor) => KeyTensor;
  readonly softmax: (
    x: KeyTensor,
    keyBits: number,
    exponentials: readonly number[],
    causal: boolean,
    output: boolean,
  ) => KeyTensor;
  readonly top1: (x: KeyTensor, output: boolean) => KeyTensor;
  readonly table: (x: KeyTensor, values: readonly number[], output: boolean) => KeyTensor;
  /** Whether something was rounded or looked up yet. */
  readonly hasLookups: () => boolean;
  readonly finish: () => KeyParts;
}

const KINDS: readonly (readonly [TensorKind, number, number])[] = [
  ['i8', -128, 127],
  ['u8', 0, 255],
  ['i16', -32_768, 32_767],
];

export function kindFor(lo: number, hi: number): TensorKind {
  return KINDS.find(([, min, max]) => lo >= min && hi <= max)?.[0] ?? 'i32';
}

/** Digits of a requantization lie in an interval of 2^30 at most. */
const DIGIT_BITS = 30;
const OVERFLOW_BITS_MAX = 16;

export interface OverflowChoice {
  readonly mode: RequantizeMode;
  readonly overflowBits: number;
}

/** How a value in [lo, hi] is requantized by `shift` to a window of `window` bits; undefined if it does not fit. */
export function chooseOverflow(
  lo: number,
  hi: number,
  shift: number,
  window: number,
): OverflowChoice | undefined {
  const topBits = shift + window;
  const top = 2 ** topBits;
  if (lo >= 0 && hi < top && topBits <= DIGIT_BITS) return { mode: 'exact', overflowBits: 0 };
  for (let bits = 1; bits <= OVERFLOW_BITS_MAX && topBits + bits <= DIGIT_BITS; bits++) {
    if (lo >= 0 && hi < 2 ** bits * top) return { mode: 'unsigned', overflowBits: bits };
    const half = 2 ** (bits - 1) * top;
    if (lo >= -half && hi < half) return { mode: 'saturating', overflowBits: bits };
  }
  return undefined;
}

export function bitsOfExtents(extents: readonly number[]): number {
  return extents.reduce((bits, extent) => bits + bitsOfExtent(extent), 0);
}

export function sameBits(extents: readonly number[]): number[] {
  return Array.from({ length: bitsOfExtents(extents) }, (_, i) => 2 + i);
}

const LINEAR_KINDS: ReadonlySet<Op['kind']> = new Set(['sum', 'contract', 'wire', 'gather']);

interface Interval {
  readonly lo: number;
  readonly hi: number;
}

function scaled({ lo, hi }: Interval, by: number): Interval {
  return by >= 0 ? { lo: lo * by, hi: hi * by } : { lo: hi * by, hi: lo * by };
}

export function sumInterval(
  terms: readonly (Interval & { readonly coefficient: number })[],
  constant: number,
): Interval {
  let [lo, hi] = [constant, constant];
  for (const each of terms) {
    const own = scaled(each, each.coefficient);
    lo += own.lo;
    hi += own.hi;
  }
  return { lo, hi };
}

export function productInterval(a: Interval, c: Interval, count: number): Interval {
  const corners = [a.lo * c.lo, a.lo * c.hi, a.hi * c.lo, a.hi * c.hi];
  return scaled({ lo: Math.min(...corners), hi: Math.max(...corners) }, count);
}

export function createKeyBuilder(): KeyBuilder {
  const tensors: TensorSpec[] = [];
  const ops: Op[] = [];
  const lists: (readonly number[])[] = [];
  const listIndex = new Map<string, number>();
  const weights: TensorValues[] = [];

  const add = (spec: TensorSpec, interval: Interval): KeyTensor => {
    if (interval.lo < -INTEGER_BOUND || interval.hi > INTEGER_BOUND)
      throw new MalformedError(
        'model.accumulator',
        `tensor [${spec.extents.join(', ')}]`,
        `sums within ±${INTEGER_BOUND}`,
        `[${interval.lo}, ${interval.hi}]`,
      );
    tensors.push({ ...spec, extents: [...spec.extents] });
    return { id: tensors.length - 1, extents: spec.extents, lo: interval.lo, hi: interval.hi };
  };
  const virtual = (extents: readonly number[], interval: Interval, output: boolean): KeyTensor =>
    output
      ? add(
          {
            role: 'output',
            kind: kindFor(interval.lo, interval.hi),
            lo: interval.lo,
            hi: interval.hi,
            extents: [...extents],
          },
          interval,
        )
      : add({ role: 'virtual', kind: 'i32', lo: 0, hi: 0, extents: [...extents] }, interval);
  const anchor = (extents: readonly number[], lo: number, hi: number, output: boolean): KeyTensor =>
    add(
      { role: output ? 'output' : 'anchor', kind: kindFor(lo, hi), lo, hi, extents: [...extents] },
      { lo, hi },
    );
  const list = (values: readonly number[]): number => {
    const text = values.join();
    const found = listIndex.get(text);
    if (found !== undefined) return found;
    listIndex.set(text, lists.length);
    lists.push([...values]);
    return lists.length - 1;
  };

  return {
    input: (kind, extents, lo, hi) => add({ role: 'input', kind, lo, hi, extents: [...extents] }, { lo, hi }),
    weight: (extents, lo, hi, values, kind) => {
      weights.push(values);
      return add({ role: 'weight', kind, lo, hi, extents: [...extents] }, { lo, hi });
    },
    sum: (terms, extents, constant, output = false) => {
      const interval = sumInterval(
        terms.map(({ x, coefficient }) => ({ lo: x.lo, hi: x.hi, coefficient })),
        constant,
      );
      const y = virtual(extents, interval, output);
      const written = terms.map(({ x, coefficient, bits }) => ({ x: x.id, coefficient, bits: [...bits] }));
      ops.push({ kind: 'sum', y: y.id, constant, terms: written });
      return y;
    },
    contract: ({ a, c, labelsA, labelsC, indexLabel, extents, output = false }) => {
      const count = labelsA.reduce(
        (n, label, axis) => (label >= extents.length ? n * (a.extents[axis] as number) : n),
        1,
      );
      const along = indexLabel === undefined ? 1 : (a.extents[labelsA.indexOf(indexLabel)] as number) - 1;
      const factor = c ?? (indexLabel === undefined ? { lo: 1, hi: 1 } : { lo: 0, hi: along });
      const y = virtual(extents, productInterval(a, factor, count), output);
      ops.push({
        kind: 'contract',
        y: y.id,
        a: a.id,
        c: c === null ? null : c.id,
        labelsA: [...labelsA],
        labelsC: [...labelsC],
        indexLabel: indexLabel ?? null,
      });
      return y;
    },
    wire: (x, relations, extents) => {
      const partners = relations.reduce(
        (n, relation) => (relation.kind === 'pool' ? n * relation.taps : n),
        1,
      );
      const many = scaled(x, partners);
      const y = virtual(extents, { lo: Math.min(0, many.lo), hi: Math.max(0, many.hi) }, false);
      ops.push({ kind: 'wire', y: y.id, x: x.id, relations: [...relations] });
      return y;
    },
    gather: (table, ids) => {
      const y = virtual([...ids.extents, ...table.extents.slice(1)], table, false);
      ops.push({ kind: 'gather', y: y.id, table: table.id, ids: ids.id });
      return y;
    },
    requantize: ({ x, shift, offset, window, values, output }) => {
      const constant = (shift > 0 ? 2 ** (shift - 1) : 0) + offset * 2 ** shift;
      const choice = chooseOverflow(x.lo + constant, x.hi + constant, shift, window);
      if (choice === undefined)
        throw new UsageError(`[${x.lo}, ${x.hi}] has no digits at shift ${shift} and window ${window}`);
      const y = anchor(x.extents, Math.min(...values), Math.max(...values), output);
      ops.push({
        kind: 'requantize',
        y: y.id,
        x: x.id,
        shift,
        offset,
        window,
        values: list(values),
        ...choice,
      });
      return y;
    },
    max: (a, b) => {
      const y = anchor(a.extents, Math.max(a.lo, b.lo), Math.max(a.hi, b.hi), false);
      ops.push({ kind: 'max', y: y.id, a: a.id, b: b.id });
      return y;
    },
    softmax: (x, keyBits, exponentials, causal, output) => {
      const y = anchor(x.extents, 0, 128, output);
      ops.push({
        kind: 'softmax',
        y: y.id,
        x: x.id,
        keyBits,
        exponentials: list(exponentials),
        causal: causal ? 'yes' : 'no',
      });
      return y;
    },
    top1: (x, output) => {
      const y = anchor(x.extents, 0, 1, output);
      ops.push({ kind: 'top1', y: y.id, x: x.id });
      return y;
    },
    table: (x, values, output) => {
      if (values.length !== x.hi - x.lo + 1)
        throw new UsageError(`${values.length} values for [${x.lo}, ${x.hi}]`);
      const y = anchor(x.extents, Math.min(...values), Math.max(...values), output);
      ops.push({ kind: 'table', y: y.id, x: x.id, lo: x.lo, values: list(values) });
      return y;
    },
    hasLookups: () => ops.some(({ kind }) => !LINEAR_KINDS.has(kind)),
    finish: () => ({ tensors, ops: shareOverflow(tensors, ops), lists, weights }),
  };
}

/** One width of overflow digits, so one table of them, where the digits still fit. */
function shareOverflow(_tensors: readonly TensorSpec[], ops: readonly Op[]): Op[] {
  const isSaturating = (op: Op): op is OpOf<'requantize'> =>
    op.kind === 'requantize' && op.mode === 'saturating';
  const widest = Math.max(0, ...ops.filter(isSaturating).map(({ overflowBits }) => overflowBits));
  return ops.map((op) => {
    if (!isSaturating(op)) return op;
    const room = DIGIT_BITS - op.shift - op.window;
    return { ...op, overflowBits: widest <= room ? widest : op.overflowBits };
  });
}
