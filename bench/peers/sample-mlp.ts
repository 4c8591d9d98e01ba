/** The perceptron that is proved: int8 weights from a fixed seed, rescaling and ReLU after hidden layers. */
import type { MlpSize } from './peer-result.ts';

export interface Layer {
  /** One row of weights per output. */
  readonly weights: readonly (readonly number[])[];
  readonly biases: readonly number[];
  /** A hidden layer divides by this, rounding to the nearest integer, and cuts off what is negative. */
  readonly divisor?: number;
}

export interface SampleMlp {
  readonly input: readonly number[];
  readonly layers: readonly Layer[];
  /** What the layers make of the input, in exact integers. */
  readonly output: readonly number[];
}

const INT8_MAX = 127;
const BIAS_MAX = 1_000;

export function sampleMlp(size: MlpSize): SampleMlp {
  const widths = size.split('-').map(Number);
  const next = integers(0x5eed);
  const input = Array.from({ length: widths[0] ?? 0 }, () => next(INT8_MAX));
  const layers = widths.slice(1).map((outputs, at): Layer => {
    const inputs = widths[at] ?? 0;
    return {
      weights: Array.from({ length: outputs }, () => Array.from({ length: inputs }, () => next(INT8_MAX))),
      biases: Array.from({ length: outputs }, () => next(BIAS_MAX)),
      ...(at + 2 < widths.length ? { divisor: divisorFor(inputs) } : {}),
    };
  });
  return { input, layers, output: layers.reduce<readonly number[]>(applyLayer, input) };
}

/** A power of two that brings most sums of so many products back to int8. */
function divisorFor(inputs: number): number {
  return 64 * 2 ** Math.round(Math.log2(inputs) / 2);
}

/** Multiplications of one inference. */
export function multiplications({ layers }: SampleMlp): number {
  return layers.reduce((sum, { weights }) => sum + weights.length * (weights[0]?.length ?? 0), 0);
}

function applyLayer(values: readonly number[], { weights, biases, divisor }: Layer): number[] {
  return weights.map((row, at) => {
    const sum = row.reduce((total, weight, i) => total + weight * (values[i] ?? 0), biases[at] ?? 0);
    return divisor === undefined ? sum : Math.max(0, Math.round(sum / divisor));
  });
}

/** Uniform integers of −max … max, from a linear congruential generator (the constants of Numerical Recipes). */
function integers(seed: number): (max: number) => number {
  let state = seed;
  return (max) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * (2 * max + 1)) - max;
  };
}
