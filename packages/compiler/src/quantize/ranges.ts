/** What values the tensors of a model take on calibration data. */
import { MalformedError } from '@haca/primitives';
import { evaluateGraph, type FloatGraph } from '../float/graph.ts';
import type { Tensor } from '../float/tensor.ts';
import type { NormalGraph, NormalOp, NormalValue } from '../normal/normal-graph.ts';

/** A running distribution: extremes exactly, magnitudes in bins whose width doubles when they no longer suffice. */
export interface Distribution {
  min: number;
  max: number;
  count: number;
  isInteger: boolean;
  binWidth: number;
  readonly bins: Float64Array;
  /** Sums of squares by cell of the tensor, and how many were added; absent for large tensors. */
  squares: Float64Array | undefined;
  samples: number;
}

const BINS = 2_048;
/** Cells of one tensor of one sample that enter the histogram; extremes see all. */
const CELLS_SEEN = 8_192;
const SQUARES_MAX = 2 ** 18;

export function emptyDistribution(): Distribution {
  return {
    min: Number.POSITIVE_INFINITY,
    max: Number.NEGATIVE_INFINITY,
    count: 0,
    isInteger: true,
    binWidth: 2 ** -30,
    bins: new Float64Array(BINS),
    squares: undefined,
    samples: 0,
  };
}

/** Throws `MalformedError` (`calibration.not-finite`) at a value that is no finite number. */
export function addValues(into: Distribution, data: Float32Array | Float64Array, path: string): void {
  let { min, max, isInteger } = into;
  for (let i = 0; i < data.length; i++) {
    const value = data[i] as number;
    if (!Number.isFinite(value))
      throw new MalformedError('calibration.not-finite', path, 'finite numbers', `${value}`);
    if (value < min) min = value;
    if (value > max) max = value;
    if (isInteger && value !== Math.round(value)) isInteger = false;
  }
  into.min = min;
  into.max = max;
  into.isInteger = isInteger;
  into.count += data.length;
  if (data.length <= SQUARES_MAX && (into.squares === undefined || into.squares.length === data.length)) {
    into.squares ??= new Float64Array(data.length);
    for (let i = 0; i < data.length; i++)
      into.squares[i] = (into.squares[i] as number) + (data[i] as number) ** 2;
    into.samples++;
  }
  const top = Math.max(Math.abs(min), Math.abs(max));
  while (top >= into.binWidth * BINS) doubleBins(into);
  const stride = Math.max(1, Math.floor(data.length / CELLS_SEEN));
  for (let i = 0; i < data.length; i += stride) {
    const bin = Math.floor(Math.abs(data[i] as number) / into.binWidth);
    into.bins[bin] = (into.bins[bin] as number) + 1;
  }
}

function doubleBins(into: Distribution): void {
  const { bins } = into;
  for (let i = 0; i < BINS / 2; i++) bins[i] = (bins[2 * i] as number) + (bins[2 * i + 1] as number);
  bins.fill(0, BINS / 2);
  into.binWidth *= 2;
}

/**
 * The magnitude to represent up to with `levels` steps: where the squared error of rounding what is below and of cutting
 * off what is above is least.
 */
export function bestMagnitude(distribution: Distribution, levels: number): number {
  const top = Math.max(Math.abs(distribution.min), Math.abs(distribution.max));
  if (!(top > 0)) return 1;
  let best = top;
  let bestError = Number.POSITIVE_INFINITY;
  for (let tenth = 40; tenth >= 12; tenth--) {
    const limit = (top * tenth) / 40;
    const step = limit / levels;
    let error = 0;
    for (let bin = 0; bin < BINS; bin++) {
      const count = distribution.bins[bin] as number;
      if (count === 0) continue;
      const value = (bin + 0.5) * distribution.binWidth;
      error += count * (value > limit ? (value - limit) ** 2 : (step * step) / 12);
    }
    if (error < bestError) {
      best = limit;
      bestError = error;
    }
  }
  return best;
}

/** Per normalization: differences from the mean, and means of their squares. */
export interface NormStatistics {
  readonly differences: Distribution;
  readonly squares: Distribution;
}

export interface Ranges {
  /** By value of the normal graph. */
  readonly values: readonly (Distribution | undefined)[];
  /** By position of the normalization's node. */
  readonly norms: ReadonlyMap<number, NormStatistics>;
}

export interface CollectOptions {
  /** Called before each sample; may throw to cancel. */
  readonly checkpoint: (done: number, of: number) => Promise<void>;
  /** What the model gives for its first output of each sample. */
  readonly onResult: (data: Float32Array | Float64Array) => void;
}

/** Runs the float model on every sample. */
export async function collectRanges(
  graph: FloatGraph,
  normal: NormalGraph,
  samples: readonly ReadonlyMap<string, Tensor>[],
  { checkpoint, onResult }: CollectOptions,
): Promise<Ranges> {
  const byFloat = new Map<number, Distribution>();
  const norms = new Map<number, NormStatistics>();
  const normsOf = new Map<number, { readonly position: number; readonly centered: boolean }[]>();
  // Values that are still there: what was folded away may be infinite, as the masked scores of attention are.
  for (const index of [...normal.inputs, ...normal.nodes.map(({ y }) => y)]) {
    const { float } = normal.values[index] as NormalValue;
    if (float !== undefined) byFloat.set(float, emptyDistribution());
  }
  for (const [position, { op }] of normal.nodes.entries()) {
    if (op.kind !== 'norm') continue;
    norms.set(position, { differences: emptyDistribution(), squares: emptyDistribution() });
    const { float } = normal.values[op.x] as NormalValue;
    if (float !== undefined)
      normsOf.set(float, [...(normsOf.get(float) ?? []), { position, centered: op.centered }]);
  }
  const result = (normal.values[normal.outputs[0] as number] as NormalValue).float ?? normal.result;
  for (const [i, sample] of samples.entries()) {
    await checkpoint(i, samples.length);
    evaluateGraph(graph, sample, (index, tensor) => {
      if (index === result) onResult(tensor.data);
      const distribution = byFloat.get(index);
      if (distribution !== undefined)
        addValues(distribution, tensor.data, `calibration sample ${i}, ${graph.values[index]?.name ?? ''}`);
      for (const { position, centered } of normsOf.get(index) ?? []) {
        addRows(norms.get(position) as NormStatistics, tensor, centered);
      }
    });
  }
  const values = normal.values.map(({ float }) => (float === undefined ? undefined : byFloat.get(float)));
  return { values: inherited(normal, values), norms };
}

function addRows({ differences, squares }: NormStatistics, { shape, data }: Tensor, centered: boolean): void {
  const width = shape.at(-1) ?? 1;
  const rows = data.length / width;
  const deviations = new Float64Array(data.length);
  const means = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let mean = 0;
    for (let j = 0; centered && j < width; j++) mean += (data[row * width + j] as number) / width;
    for (let j = 0; j < width; j++) {
      const difference = (data[row * width + j] as number) - mean;
      deviations[row * width + j] = difference;
      means[row] = (means[row] as number) + difference ** 2 / width;
    }
  }
  addValues(differences, deviations, 'differences');
  addValues(squares, means, 'squares');
}

/** Values that no float value stands for have the range of what they are made of. */
function inherited(
  normal: NormalGraph,
  known: readonly (Distribution | undefined)[],
): (Distribution | undefined)[] {
  const values = [...known];
  for (const { op, y } of normal.nodes) {
    if (values[y] !== undefined && (values[y] as Distribution).count > 0) continue;
    values[y] = derived(op, values, normal);
  }
  return values;
}

function derived(
  op: NormalOp,
  values: readonly (Distribution | undefined)[],
  normal: NormalGraph,
): Distribution | undefined {
  const between = (min: number, max: number): Distribution => {
    const made = emptyDistribution();
    addValues(made, Float64Array.of(min, max), 'derived');
    return made;
  };
  switch (op.kind) {
    case 'reshape':
    case 'transpose':
    case 'slice':
    case 'expand':
    case 'pad':
    case 'maxPool':
    case 'averagePool':
      return values[op.x];
    case 'mean':
      return values[op.x];
    case 'norm': {
      const width = (normal.values[op.x] as NormalValue).shape.at(-1) ?? 1;
      const reach = Math.min(6, Math.sqrt(width));
      return between(-reach, reach);
    }
    case 'softmax':
    case 'top1':
      return between(0, 1);
    case 'affine': {
      const x = values[op.x];
      const [scale, shift] = [op.scale.data[0], op.shift.data[0]];
      if (
        x === undefined ||
        scale === undefined ||
        shift === undefined ||
        op.scale.data.length > 1 ||
        op.shift.data.length > 1
      )
        return undefined;
      const ends = [x.min * scale + shift, x.max * scale + shift];
      return between(Math.min(...ends), Math.max(...ends));
    }
    default:
      return undefined;
  }
}
