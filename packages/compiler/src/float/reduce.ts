/** Operators that see several cells at once: pools, reductions, softmax, normalizations, ArgMax. */
import { MalformedError } from '@haca/primitives';
import {
  axisOf,
  badShapes,
  floatAttribute,
  intAttribute,
  intsAttribute,
  listOf,
  type OpCall,
  type OpDefinition,
  type Operands,
  type OpTable,
  required,
  requiredTensor,
  textAttribute,
  unsupported,
} from './op.ts';
import { cellsOf, emptyTensor, stridesOf, type Tensor, type TensorType, walk } from './tensor.ts';
import { type Window2d, window2d } from './window.ts';

/** The cells of a tensor as [before][along][after] around one axis. */
interface AxisView {
  readonly before: number;
  readonly along: number;
  readonly after: number;
}

export const REDUCE_OPS: OpTable = {
  MaxPool: pool((call, plan, from, out) => poolMax(call, plan, from, out)),
  AveragePool: pool((call, plan, from, out) => poolAverage(call, plan, from, out)),
  GlobalAveragePool: {
    infer: (call, inputs) => {
      const { type, shape } = required(call, inputs, 0);
      if (shape.length < 3) throw badShapes(call, 'an operand with spatial axes', inputs);
      return [{ type, shape: shape.map((extent, axis) => (axis < 2 ? extent : 1)) }];
    },
    evaluate: (call, inputs) => {
      const x = requiredTensor(call, inputs, 0);
      return [reduce(x, x.shape.map((_, axis) => axis).slice(2), true, 'ReduceMean')];
    },
  },
  ...Object.fromEntries(
    [
      'ReduceMean',
      'ReduceSum',
      'ReduceMax',
      'ReduceMin',
      'ReduceProd',
      'ReduceSumSquare',
      'ReduceL1',
      'ReduceL2',
    ].map((op) => [
      op,
      {
        infer: (call, inputs) => {
          const { type, shape } = required(call, inputs, 0);
          const { axes, keep } = reduction(call, inputs);
          return [{ type, shape: reducedShape(shape, axes, keep) }];
        },
        evaluate: (call, inputs) => {
          const { axes, keep } = reduction(call, inputs);
          return [reduce(requiredTensor(call, inputs, 0), axes, keep, op)];
        },
      } satisfies OpDefinition,
    ]),
  ),
  ArgMax: { infer: inferArgMax, evaluate: evaluateArgMax },
  Softmax: softmaxOp((x, top, total) => Math.exp(x - top) / total),
  LogSoftmax: softmaxOp((x, top, total) => x - top - Math.log(total)),
  BatchNormalization: { infer: inferBatchNorm, evaluate: evaluateBatchNorm },
  LayerNormalization: norm('layer'),
  RMSNormalization: norm('rms'),
  Normalizer: {
    infer: (call, inputs) => {
      const { shape } = required(call, inputs, 0);
      const kind = textAttribute(call, 'norm', 'MAX');
      if (kind !== 'L1') throw unsupported(call, 'norm L1', kind);
      return [{ type: 'float', shape }];
    },
    evaluate: (call, inputs) => [normalizedL1(requiredTensor(call, inputs, 0))],
  },
};

function normalizedL1(x: Tensor): Tensor {
  const out = emptyTensor('float', x.shape);
  const columns = x.shape.at(-1) ?? 1;
  for (let row = 0; row < out.data.length; row += columns) {
    let total = 0;
    for (let j = 0; j < columns; j++) total += Math.abs(x.data[row + j] as number);
    for (let j = 0; j < columns; j++)
      out.data[row + j] = (x.data[row + j] as number) / (total === 0 ? 1 : total);
  }
  return out;
}

export interface PoolPlan extends Window2d {
  readonly planes: number;
}

export function planPool(call: OpCall, inputs: Operands): PoolPlan {
  const { shape } = required(call, inputs, 0);
  const spatial = shape.slice(2);
  if (spatial.length !== 1 && spatial.length !== 2)
    throw unsupported(call, 'a pool over one or two axes', `${spatial.length}`);
  const window = window2d(call, spatial, intsAttribute(call, 'kernel_shape', []));
  if (call.outputCount > 1) throw unsupported(call, 'one result', 'a result of positions');
  return { ...window, planes: (shape[0] as number) * (shape[1] as number) };
}

function pool(fill: (call: OpCall, plan: PoolPlan, from: Tensor, out: Tensor) => void): OpDefinition {
  const typeOf = (call: OpCall, inputs: Operands): TensorType => {
    const { type, shape } = required(call, inputs, 0);
    return { type, shape: [...shape.slice(0, 2), ...planPool(call, inputs).outShape] };
  };
  return {
    infer: (call, inputs) => [typeOf(call, inputs)],
    evaluate: (call, inputs) => {
      const from = requiredTensor(call, inputs, 0);
      const out = emptyTensor(from.type, typeOf(call, inputs).shape);
      fill(call, planPool(call, inputs), from, out);
      return [out];
    },
  };
}

/** Calls `visit(outIndex, inIndex)` for each tap inside the image. */
function eachTap(plan: PoolPlan, visit: (outIndex: number, inIndex: number) => void): void {
  const { planes, height, width, outHeight, outWidth } = plan;
  for (let p = 0; p < planes; p++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++) {
        const out = (p * outHeight + y) * outWidth + x;
        for (let ky = 0; ky < plan.kernelHeight; ky++) {
          const row = y * plan.strideY + ky * plan.dilationY - plan.padTop;
          if (row < 0 || row >= height) continue;
          for (let kx = 0; kx < plan.kernelWidth; kx++) {
            const column = x * plan.strideX + kx * plan.dilationX - plan.padLeft;
            if (column >= 0 && column < width) visit(out, (p * height + row) * width + column);
          }
        }
      }
    }
  }
}

function poolMax(_call: OpCall, plan: PoolPlan, from: Tensor, out: Tensor): void {
  out.data.fill(Number.NEGATIVE_INFINITY);
  eachTap(plan, (o, i) => {
    const value = from.data[i] as number;
    if (value > (out.data[o] as number)) out.data[o] = value;
  });
}

function poolAverage(call: OpCall, plan: PoolPlan, from: Tensor, out: Tensor): void {
  const counts = new Float64Array(out.data.length);
  const includePad = intAttribute(call, 'count_include_pad', 0) !== 0;
  eachTap(plan, (o, i) => {
    out.data[o] = (out.data[o] as number) + (from.data[i] as number);
    counts[o] = (counts[o] as number) + 1;
  });
  for (let o = 0; o < counts.length; o++) {
    out.data[o] = (out.data[o] as number) / (includePad ? paddedTaps(plan, o) : (counts[o] as number));
  }
}

/** Taps inside the padded image: with ceil_mode the last windows may reach beyond the padding too. */
export function paddedTaps(plan: Window2d, outIndex: number): number {
  const x = outIndex % plan.outWidth;
  const y = Math.floor(outIndex / plan.outWidth) % plan.outHeight;
  const along = (position: number, stride: number, kernel: number, dilation: number, end: number): number => {
    let taps = 0;
    for (let k = 0; k < kernel; k++) if (position * stride + k * dilation < end) taps++;
    return taps;
  };
  return (
    along(y, plan.strideY, plan.kernelHeight, plan.dilationY, plan.height + plan.padTop + plan.padBottom) *
    along(x, plan.strideX, plan.kernelWidth, plan.dilationX, plan.width + plan.padLeft + plan.padRight)
  );
}

/** The axes a reduction runs over (all when none are given) and whether they stay as extent 1. */
export function reduction(
  call: OpCall,
  inputs: Operands,
): { readonly axes: readonly number[]; readonly keep: boolean } {
  const { shape } = required(call, inputs, 0);
  const listed = listOf(call, inputs, 1, 'axes');
  const keep = intAttribute(call, 'keepdims', 1) !== 0;
  if (listed === undefined || listed.length === 0) {
    const none = intAttribute(call, 'noop_with_empty_axes', 0) !== 0;
    return { axes: none ? [] : shape.map((_, axis) => axis), keep };
  }
  const axes = listed.map((axis) => axisOf(call, axis, shape.length));
  if (new Set(axes).size !== axes.length)
    throw new MalformedError('onnx.attribute', call.place, 'different axes', `[${listed.join(', ')}]`);
  return { axes, keep };
}

function reducedShape(shape: readonly number[], axes: readonly number[], keep: boolean): number[] {
  const kept = shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  return keep ? kept : kept.filter((_, axis) => !axes.includes(axis));
}

function reduce(x: Tensor, axes: readonly number[], keep: boolean, op: string): Tensor {
  const others = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const strides = stridesOf(x.shape);
  const order = [...others, ...axes];
  const shape = order.map((axis) => x.shape[axis] as number);
  const inner = cellsOf(axes.map((axis) => x.shape[axis] as number));
  const sums = new Float64Array(cellsOf(others.map((axis) => x.shape[axis] as number)));
  const isFirst = op === 'ReduceMax' || op === 'ReduceMin' ? new Uint8Array(sums.length).fill(1) : undefined;
  if (op === 'ReduceProd') sums.fill(1);
  walk(
    shape,
    order.map((axis) => strides[axis] as number),
    0,
    (o, i) => {
      const at = Math.floor(o / inner);
      const value = x.data[i] as number;
      const sum = sums[at] as number;
      if (isFirst !== undefined) {
        const better = isFirst[at] === 1 || (op === 'ReduceMax' ? value > sum : value < sum);
        if (better) sums[at] = value;
        isFirst[at] = 0;
      } else if (op === 'ReduceProd') sums[at] = sum * value;
      else if (op === 'ReduceSumSquare' || op === 'ReduceL2') sums[at] = sum + value * value;
      else sums[at] = sum + (op === 'ReduceL1' ? Math.abs(value) : value);
    },
  );
  const out = emptyTensor(x.type, reducedShape(x.shape, axes, keep));
  for (let i = 0; i < sums.length; i++) {
    const sum = sums[i] as number;
    if (op === 'ReduceMean') out.data[i] = sum / inner;
    else out.data[i] = op === 'ReduceL2' ? Math.sqrt(sum) : sum;
  }
  return out;
}

function viewAround(shape: readonly number[], axis: number): AxisView {
  return {
    before: cellsOf(shape.slice(0, axis)),
    along: shape[axis] as number,
    after: cellsOf(shape.slice(axis + 1)),
  };
}

function inferArgMax(call: OpCall, inputs: Operands): TensorType[] {
  const { shape } = required(call, inputs, 0);
  const axis = axisOf(call, intAttribute(call, 'axis', 0), shape.length);
  if (intAttribute(call, 'select_last_index', 0) !== 0)
    throw unsupported(call, 'the first of equal values (select_last_index 0)', 'the last');
  return [{ type: 'int', shape: reducedShape(shape, [axis], intAttribute(call, 'keepdims', 1) !== 0) }];
}

function evaluateArgMax(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const x = requiredTensor(call, inputs, 0);
  const [type] = inferArgMax(call, inputs) as [TensorType];
  const { before, along, after } = viewAround(
    x.shape,
    axisOf(call, intAttribute(call, 'axis', 0), x.shape.length),
  );
  const out = emptyTensor('int', type.shape);
  for (let b = 0; b < before; b++) {
    for (let a = 0; a < after; a++) {
      let best = 0;
      for (let k = 1; k < along; k++) {
        if (
          (x.data[(b * along + k) * after + a] as number) > (x.data[(b * along + best) * after + a] as number)
        )
          best = k;
      }
      out.data[b * after + a] = best;
    }
  }
  return [out];
}

function softmaxOp(of: (x: number, top: number, total: number) => number): OpDefinition {
  const axis = (call: OpCall, rank: number): number => axisOf(call, intAttribute(call, 'axis', -1), rank);
  return {
    infer: (call, inputs) => {
      const { type, shape } = required(call, inputs, 0);
      axis(call, shape.length);
      return [{ type, shape }];
    },
    evaluate: (call, inputs) => {
      const x = requiredTensor(call, inputs, 0);
      const out = emptyTensor(x.type, x.shape);
      const { before, along, after } = viewAround(x.shape, axis(call, x.shape.length));
      for (let b = 0; b < before; b++) {
        for (let a = 0; a < after; a++) {
          const at = (k: number): number => (b * along + k) * after + a;
          let top = Number.NEGATIVE_INFINITY;
          for (let k = 0; k < along; k++) top = Math.max(top, x.data[at(k)] as number);
          let total = 0;
          for (let k = 0; k < along; k++) total += Math.exp((x.data[at(k)] as number) - top);
          for (let k = 0; k < along; k++) out.data[at(k)] = of(x.data[at(k)] as number, top, total);
        }
      }
      return [out];
    },
  };
}

function inferBatchNorm(call: OpCall, inputs: Operands): TensorType[] {
  const { type, shape } = required(call, inputs, 0);
  const channels = shape[1];
  if (shape.length < 2 || [1, 2, 3, 4].some((i) => required(call, inputs, i).shape.join() !== `${channels}`))
    throw badShapes(call, 'scale, shift, mean and variance per channel', inputs);
  if (intAttribute(call, 'training_mode', 0) !== 0 || call.outputCount > 1)
    throw unsupported(call, 'a model exported for inference', 'training mode');
  return [{ type, shape }];
}

/** y = x · scale + shift per channel (axis 1). */
export function batchNormAffine(
  call: OpCall,
  operands: readonly [gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor],
): { readonly scale: Float64Array; readonly shift: Float64Array } {
  const [gamma, beta, mean, variance] = operands;
  const epsilon = floatAttribute(call, 'epsilon', 1e-5);
  const scale = Float64Array.from(
    gamma.data,
    (g, c) => g / Math.sqrt((variance.data[c] as number) + epsilon),
  );
  const shift = Float64Array.from(beta.data, (b, c) => b - (mean.data[c] as number) * (scale[c] as number));
  return { scale, shift };
}

function evaluateBatchNorm(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const x = requiredTensor(call, inputs, 0);
  const operands = [1, 2, 3, 4].map((i) => requiredTensor(call, inputs, i)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const { scale, shift } = batchNormAffine(call, operands);
  const { along: channels, after } = viewAround(x.shape, 1);
  const out = emptyTensor(x.type, x.shape);
  for (let i = 0; i < out.data.length; i++) {
    const c = Math.floor(i / after) % channels;
    out.data[i] = (x.data[i] as number) * (scale[c] as number) + (shift[c] as number);
  }
  return [out];
}

function norm(kind: 'layer' | 'rms'): OpDefinition {
  const axisFor = (call: OpCall, rank: number): number => axisOf(call, intAttribute(call, 'axis', -1), rank);
  return {
    infer: (call, inputs) => {
      const { type, shape } = required(call, inputs, 0);
      const inner = cellsOf(shape.slice(axisFor(call, shape.length)));
      if ([1, 2].some((i) => inputs[i] !== undefined && cellsOf(inputs[i].shape) !== inner))
        throw badShapes(call, 'gain and shift over the normalized axes', inputs);
      if (call.outputCount > 1) throw unsupported(call, 'one result', 'results of mean and deviation');
      return [{ type, shape }];
    },
    evaluate: (call, inputs) => {
      const x = requiredTensor(call, inputs, 0);
      const inner = cellsOf(x.shape.slice(axisFor(call, x.shape.length)));
      return [normalized(x, inner, kind, floatAttribute(call, 'epsilon', 1e-5), inputs[1], inputs[2])];
    },
  };
}

function normalized(
  x: Tensor,
  inner: number,
  kind: 'layer' | 'rms',
  epsilon: number,
  gain: Tensor | undefined,
  shift: Tensor | undefined,
): Tensor {
  const out = emptyTensor(x.type, x.shape);
  for (let row = 0; row < out.data.length; row += inner) {
    let mean = 0;
    if (kind === 'layer') {
      for (let j = 0; j < inner; j++) mean += (x.data[row + j] as number) / inner;
    }
    let square = 0;
    for (let j = 0; j < inner; j++) square += ((x.data[row + j] as number) - mean) ** 2 / inner;
    const scale = 1 / Math.sqrt(square + epsilon);
    for (let j = 0; j < inner; j++) {
      const unit = ((x.data[row + j] as number) - mean) * scale;
      out.data[row + j] = unit * (gain?.data[j] ?? 1) + (shift?.data[j] ?? 0);
    }
  }
  return out;
}
