/**
 * Sums of linear operators, and how they become integers. Everything up to the next rounding is one accumulator: weights
 * are scaled so that no multiplier is needed, other operands come in with an integer coefficient, constants in the
 * accumulator's unit. Then one requantization rounds, saturates and applies the activation.
 */
import { INTEGER_BOUND, type TensorValues } from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import type { PointwiseFunction } from '../normal/pointwise.ts';
import { chooseOverflow, type KeyBuilder, type KeyTensor, type SumTerm, sumInterval } from './key-builder.ts';
import { axisBits } from './views.ts';

/** Integers that stand for real values: real = scale · integer. */
export interface Quantized {
  readonly tensor: KeyTensor;
  readonly scale: number;
}

/** Constants of a product, dense over `extents`. */
export interface WeightValues {
  readonly extents: readonly number[];
  readonly data: Float64Array | Float32Array;
}

/** A product with constants: the constants take any scale. */
export interface FreeTerm {
  readonly kind: 'free';
  readonly weight: WeightValues;
  /** Real value of 1 in the other operand; 1 where there is none. */
  readonly scale: number;
  /** Largest size of the other operand times the number of terms summed up. */
  readonly reach: number;
  /** Size of the largest constant that is represented; larger ones are cut off to it. */
  readonly top: number;
  readonly build: (weight: KeyTensor) => KeyTensor;
  readonly bits: readonly number[];
}

export interface FixedTerm {
  readonly kind: 'fixed';
  readonly tensor: KeyTensor;
  /** Real value of 1; negative where it is subtracted. */
  readonly unit: number;
  readonly bits: readonly number[];
}

/** A constant along some axes: extent 1 where it does not vary. */
export interface BiasTerm {
  readonly extents: readonly number[];
  readonly data: Float64Array | Float32Array;
}

export interface Expression {
  /** Axes of the key tensor it becomes. */
  readonly extents: readonly number[];
  readonly terms: readonly (FreeTerm | FixedTerm)[];
  readonly biases: readonly BiasTerm[];
}

export function scaledExpression(expression: Expression, by: number): Expression {
  return {
    extents: expression.extents,
    terms: expression.terms.map((term) =>
      term.kind === 'fixed'
        ? { ...term, unit: term.unit * by }
        : {
            ...term,
            top: term.top * Math.abs(by),
            weight: { ...term.weight, data: term.weight.data.map((w) => w * by) },
          },
    ),
    biases: expression.biases.map((bias) => ({ ...bias, data: bias.data.map((v) => v * by) })),
  };
}

/** What comes out of a requantization. */
export interface Target {
  /** Real value of one step of the window, and the index of real 0 in it. */
  readonly step: number;
  readonly offset: number;
  readonly window: number;
  readonly values: readonly number[];
  /** Real value of 1 in the result. */
  readonly scale: number;
}

/** How an expression is placed. */
export interface Placing {
  /** For errors. */
  readonly place: string;
  readonly output: boolean;
  /** Weights are integers up to this: 127 with 8 bits. */
  readonly weightMax: number;
}

/** Steps of a published sum are at most so many halvings below its finest operand's. */
const PUBLISHED_FINENESS = 8;
/** Coarser weights than this are not tried. */
const WEIGHT_LEAST = 7;
const SHIFT_MAX = 20;
const COEFFICIENT_MAX = 2 ** 20;
/** Coefficients of operands without weights are at least this where there is room: their error is half a unit. */
const COEFFICIENT_GOOD = 128;

interface Plan {
  readonly shift: number;
  readonly unit: number;
  /** By term: the coefficient in the sum, and for products with weights the weights' own unit. */
  readonly coefficients: readonly number[];
  readonly weightMax: number;
}

/** Emits the accumulator and the requantization. */
export function requantizeExpression(
  builder: KeyBuilder,
  expression: Expression,
  target: Target,
  { place, output, weightMax }: Placing,
): Quantized {
  const plan = choosePlan(expression, target, weightMax, place);
  const x = accumulate(builder, expression, plan, false);
  const { window, offset, values } = target;
  return {
    tensor: builder.requantize({ x, shift: plan.shift, offset, window, values, output }),
    scale: target.scale,
  };
}

/** The accumulator itself as a public output, as fine as its operands allow. */
export function publishExpression(
  builder: KeyBuilder,
  expression: Expression,
  { place, weightMax }: Placing,
): Quantized {
  const units = expression.terms.map((term) =>
    term.kind === 'fixed' ? Math.abs(term.unit) : finestUnit(term, weightMax),
  );
  const finest = Math.min(...units);
  let best: Plan | undefined;
  // Operands whose units are no multiples of each other need a finer common one.
  for (let fineness = 0; fineness <= PUBLISHED_FINENESS; fineness++) {
    const unit = finest * 2 ** -fineness;
    const coefficients = expression.terms.map((term, i) =>
      term.kind === 'fixed'
        ? Math.round(term.unit / unit)
        : 2 ** Math.max(0, Math.ceil(Math.log2((units[i] as number) / unit) - 1e-9)),
    );
    const plan: Plan = { shift: 0, unit, coefficients, weightMax };
    const { lo, hi } = intervalOf(expression, plan);
    if (Math.max(-lo, hi) > INTEGER_BOUND || coefficients.some((c) => Math.abs(c) > COEFFICIENT_MAX)) break;
    best = plan;
    const isExact = expression.terms.every((term, i) => {
      const coefficient = coefficients[i] as number;
      return term.kind === 'free' || Math.abs(coefficient * unit - term.unit) <= Math.abs(term.unit) * 1e-6;
    });
    if (isExact) break;
  }
  if (best === undefined)
    throw new MalformedError(
      'model.accumulator',
      place,
      `an output within ±${INTEGER_BOUND}`,
      'a longer sum',
    );
  return { tensor: accumulate(builder, expression, best, true), scale: best.unit };
}

/** The unit at which the largest weight is `max`. */
function finestUnit({ top, scale }: FreeTerm, max: number): number {
  return (top * scale) / max;
}

/** Cells that are looked at to choose where weights are cut off. */
const WEIGHTS_SEEN = 2 ** 18;

/**
 * The size up to which weights are represented with `levels` steps: where rounding the small ones and cutting off the large
 * ones does least to the products. `importance` is the mean square of what a weight is multiplied by.
 */
export function bestTop(
  data: Float32Array | Float64Array,
  levels: number,
  importance?: (cell: number) => number,
): number {
  let top = 0;
  for (const w of data) top = Math.max(top, Math.abs(w));
  if (top === 0) return 1;
  const stride = Math.max(1, Math.ceil(data.length / WEIGHTS_SEEN));
  let best = top;
  let bestError = Number.POSITIVE_INFINITY;
  for (let limit = top; limit > top / 64; limit *= 0.85) {
    const step = limit / levels;
    let error = 0;
    for (let i = 0; i < data.length; i += stride) {
      const w = Math.abs(data[i] as number);
      const own = w > limit ? (w - limit) ** 2 : (step * step) / 12;
      error += importance === undefined ? own : own * importance(i);
    }
    if (error < bestError) {
      best = limit;
      bestError = error;
    }
  }
  return best;
}

/**
 * The finest shift at which all weights use their range and the accumulator keeps to what the digits of a requantization
 * can hold; coarser weights where a sum is so long that it would not.
 */
function choosePlan(expression: Expression, target: Target, weightMax: number, place: string): Plan {
  for (let max = weightMax; max >= WEIGHT_LEAST; max = (max - 1) / 2) {
    const found = planWithin(expression, target, max);
    if (found !== undefined) return found;
  }
  throw new MalformedError(
    'model.accumulator',
    place,
    'sums whose largest value fits 30 bits',
    'a longer sum',
  );
}

function planWithin(expression: Expression, target: Target, weightMax: number): Plan | undefined {
  const free = expression.terms.filter((term): term is FreeTerm => term.kind === 'free');
  const finest = free.map((term) => finestUnit(term, weightMax));
  const least = Math.min(...finest);
  let best: Plan | undefined;
  for (let shift = 0; shift <= SHIFT_MAX; shift++) {
    const unit = target.step * 2 ** -shift;
    // Finer than the finest weights would only shift in zeros.
    if (best !== undefined && free.length > 0 && unit < least * (1 - 1e-9)) break;
    let next = 0;
    const coefficients = expression.terms.map((term) => {
      if (term.kind === 'fixed') return Math.round(term.unit / unit);
      return 2 ** Math.max(0, Math.ceil(Math.log2((finest[next++] as number) / unit) - 1e-9));
    });
    if (coefficients.some((c) => Math.abs(c) > COEFFICIENT_MAX)) break;
    const plan: Plan = { shift, unit, coefficients, weightMax };
    const { lo, hi } = intervalOf(expression, plan);
    const constant = (shift > 0 ? 2 ** (shift - 1) : 0) + target.offset * 2 ** shift;
    const fits = chooseOverflow(lo + constant, hi + constant, shift, target.window) !== undefined;
    if (fits && coefficients.every((c) => c !== 0)) best = plan;
    else if (best !== undefined) break;
    if (best !== undefined && free.length === 0 && coefficients.every((c) => Math.abs(c) >= COEFFICIENT_GOOD))
      break;
  }
  return best;
}

function intervalOf(expression: Expression, plan: Plan): { readonly lo: number; readonly hi: number } {
  let bias = 0;
  for (const each of expression.biases) {
    let top = 0;
    for (const value of each.data) top = Math.max(top, Math.abs(value));
    // As the interval of its weight tensor: a power of two.
    bias += 2 ** Math.ceil(Math.log2(top / plan.unit + 2));
  }
  const { lo, hi } = sumInterval(
    expression.terms.map((term, i) => {
      const coefficient = plan.coefficients[i] as number;
      if (term.kind === 'fixed') return { lo: term.tensor.lo, hi: term.tensor.hi, coefficient };
      const reach = term.reach * plan.weightMax;
      return { lo: -reach, hi: reach, coefficient };
    }),
    0,
  );
  return { lo: lo - bias, hi: hi + bias };
}

function accumulate(builder: KeyBuilder, expression: Expression, plan: Plan, output: boolean): KeyTensor {
  const { extents } = expression;
  const terms: SumTerm[] = expression.terms.map((term, i) => {
    const coefficient = plan.coefficients[i] as number;
    if (term.kind === 'fixed') return { x: term.tensor, coefficient, bits: term.bits };
    const weight = integerWeights(builder, term, plan.unit * coefficient, plan.weightMax);
    return { x: term.build(weight), coefficient, bits: term.bits };
  });
  let constant = 0;
  for (const bias of expression.biases) {
    const term = biasTerm(builder, bias, plan.unit, extents);
    if (typeof term === 'number') constant += term;
    else terms.push(term);
  }
  const [only] = terms as [SumTerm];
  const isBare = terms.length === 1 && constant === 0 && only.coefficient === 1 && !output;
  if (isBare && only.bits.every((source, i) => source === 2 + i) && only.x.extents.join() === extents.join())
    return only.x;
  return builder.sum(terms, extents, constant, output);
}

function integerWeights(builder: KeyBuilder, term: FreeTerm, unit: number, max: number): KeyTensor {
  const values =
    max <= 127 ? new Int8Array(term.weight.data.length) : new Int16Array(term.weight.data.length);
  const by = term.scale / unit;
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.max(-max, Math.min(max, Math.round((term.weight.data[i] as number) * by)));
  }
  return builder.weight(term.weight.extents, -max, max, values, max <= 127 ? 'i8' : 'i16');
}

/** A constant in units of the accumulator: a number where it is the same everywhere. */
function biasTerm(
  builder: KeyBuilder,
  bias: BiasTerm,
  unit: number,
  extents: readonly number[],
): SumTerm | number {
  const kept = bias.extents.flatMap((extent, axis) => (extent === 1 ? [] : [axis]));
  if (kept.length === 0) return Math.round((bias.data[0] as number) / unit);
  const values: TensorValues = Int32Array.from(bias.data, (value) => Math.round(value / unit));
  let top = 0;
  for (const value of values) top = Math.max(top, value < 0 ? -value : value + 1);
  const half = 2 ** Math.ceil(Math.log2(Math.max(1, top)));
  const shape = kept.map((axis) => bias.extents[axis] as number);
  const weight = builder.weight(shape, -half, half - 1, values, 'i32');
  const bits = axisBits(extents);
  return { x: weight, coefficient: 1, bits: kept.flatMap((axis) => bits[axis] as number[]) };
}

/** A target that keeps values as they are: symmetric and signed, or from 0 up. */
export function plainTarget(magnitude: number, bits: number, signed: boolean): Target {
  const top = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const offset = signed ? 2 ** (bits - 1) : 0;
  const step = magnitude / top;
  return {
    step,
    offset,
    window: bits,
    values: Array.from({ length: 2 ** bits }, (_, q) => q - offset),
    scale: step,
  };
}

/** A target that applies a function: `window` steps over [min, max], results in steps of `scale` within [lo, hi]. */
export function functionTarget(
  { of }: PointwiseFunction,
  range: { readonly min: number; readonly max: number },
  window: number,
  scale: number,
  limits: { readonly lo: number; readonly hi: number },
): Target {
  const steps = 2 ** window - 1;
  const bound = 2 ** window;
  const span = Math.max(range.max - range.min, 1e-9);
  // A narrow range far from 0 is read in steps that the offset can reach.
  const step = Math.max(span / (steps - 1), Math.max(Math.abs(range.min), Math.abs(range.max)) / (bound - 1));
  const offset = Math.max(-bound, Math.min(bound, -Math.floor(range.min / step)));
  const points = Float64Array.from({ length: 2 ** window }, (_, q) => (q - offset) * step);
  const values = Array.from(of(points), (value) => {
    const rounded = Math.round((Number.isFinite(value) ? value : 0) / scale);
    return Math.max(limits.lo, Math.min(limits.hi, rounded)) + 0;
  });
  return { step, offset, window, values, scale };
}
