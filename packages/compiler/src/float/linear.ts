/** Products: Gemm, MatMul, Conv, Einsum of two operands, and the linear models of ai.onnx.ml. */
import { MalformedError } from '@haca/primitives';
import { expanded } from './elementwise.ts';
import {
  badShapes,
  floatAttribute,
  floatsAttribute,
  intAttribute,
  type OpCall,
  type Operand,
  type Operands,
  type OpTable,
  required,
  requiredTensor,
  textAttribute,
  unsupported,
} from './op.ts';
import {
  broadcastShape,
  cellsOf,
  checkShape,
  emptyTensor,
  type Tensor,
  type TensorType,
  walk,
} from './tensor.ts';
import { type Window2d, window2d } from './window.ts';

export const LINEAR_OPS: OpTable = {
  MatMul: { infer: inferMatMul, evaluate: evaluateMatMul },
  Gemm: { infer: inferGemm, evaluate: evaluateGemm },
  Conv: { infer: inferConv, evaluate: evaluateConv },
  Einsum: { infer: inferEinsum, evaluate: evaluateEinsum },
  Scaler: {
    infer: (call, inputs) => [{ type: 'float', shape: required(call, inputs, 0).shape }],
    evaluate: evaluateScaler,
  },
};

type Numbers = Float32Array | Float64Array;

/** Below this many columns a product is computed as dot products. */
const FEW_COLUMNS = 16;

/** out[i][j] += Σ_k a[i][k] · b[k][j], all row-major; `out` starts as zeros or as the bias. */
export function multiplyInto(
  out: Numbers,
  outOffset: number,
  a: Numbers,
  aOffset: number,
  b: Numbers,
  bOffset: number,
  rows: number,
  inner: number,
  columns: number,
): void {
  if (columns < FEW_COLUMNS && rows >= 4) {
    const turned = new Float32Array(inner * columns);
    for (let k = 0; k < inner; k++) {
      for (let j = 0; j < columns; j++) turned[j * inner + k] = b[bOffset + k * columns + j] as number;
    }
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const at = outOffset + i * columns + j;
        out[at] = (out[at] as number) + dot(a, aOffset + i * inner, turned, j * inner, inner);
      }
    }
    return;
  }
  const sums = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    const outRow = outOffset + i * columns;
    for (let j = 0; j < columns; j++) sums[j] = out[outRow + j] as number;
    addRow(sums, a, aOffset + i * inner, b, bOffset, inner, columns);
    for (let j = 0; j < columns; j++) out[outRow + j] = sums[j] as number;
  }
}

/** sums[j] += Σ_k a[k] · b[k][j], four rows of b at a time so that the sums are read and written less often. */
function addRow(
  sums: Float64Array,
  a: Numbers,
  aOffset: number,
  b: Numbers,
  bOffset: number,
  inner: number,
  columns: number,
): void {
  let k = 0;
  for (; k + 4 <= inner; k += 4) {
    const x0 = a[aOffset + k] as number;
    const x1 = a[aOffset + k + 1] as number;
    const x2 = a[aOffset + k + 2] as number;
    const x3 = a[aOffset + k + 3] as number;
    if (x0 === 0 && x1 === 0 && x2 === 0 && x3 === 0) continue;
    const r0 = bOffset + k * columns;
    const r1 = r0 + columns;
    const r2 = r1 + columns;
    const r3 = r2 + columns;
    for (let j = 0; j < columns; j++) {
      sums[j] =
        (sums[j] as number) +
        x0 * (b[r0 + j] as number) +
        x1 * (b[r1 + j] as number) +
        x2 * (b[r2 + j] as number) +
        x3 * (b[r3 + j] as number);
    }
  }
  for (; k < inner; k++) {
    const x = a[aOffset + k] as number;
    const row = bOffset + k * columns;
    for (let j = 0; j < columns; j++) sums[j] = (sums[j] as number) + x * (b[row + j] as number);
  }
}

function dot(a: Numbers, aOffset: number, b: Numbers, bOffset: number, length: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let k = 0;
  for (; k + 4 <= length; k += 4) {
    s0 += (a[aOffset + k] as number) * (b[bOffset + k] as number);
    s1 += (a[aOffset + k + 1] as number) * (b[bOffset + k + 1] as number);
    s2 += (a[aOffset + k + 2] as number) * (b[bOffset + k + 2] as number);
    s3 += (a[aOffset + k + 3] as number) * (b[bOffset + k + 3] as number);
  }
  for (; k < length; k++) s0 += (a[aOffset + k] as number) * (b[bOffset + k] as number);
  return s0 + s1 + s2 + s3;
}

interface MatMulPlan {
  readonly type: TensorType['type'];
  readonly shape: readonly number[];
  readonly lead: readonly number[];
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  readonly aShape: readonly number[];
  readonly bShape: readonly number[];
}

function planMatMul(call: OpCall, inputs: Operands): MatMulPlan {
  const a = required(call, inputs, 0);
  const b = required(call, inputs, 1);
  if (a.shape.length === 0 || b.shape.length === 0) throw badShapes(call, 'operands with axes', inputs);
  const aShape = a.shape.length === 1 ? [1, ...a.shape] : a.shape;
  const bShape = b.shape.length === 1 ? [...b.shape, 1] : b.shape;
  const [rows, inner] = aShape.slice(-2) as [number, number];
  const [other, columns] = bShape.slice(-2) as [number, number];
  const lead = broadcastShape(aShape.slice(0, -2), bShape.slice(0, -2));
  if (inner !== other || lead === undefined) throw badShapes(call, 'shapes that multiply', inputs);
  const shape = [
    ...lead,
    ...(a.shape.length === 1 ? [] : [rows]),
    ...(b.shape.length === 1 ? [] : [columns]),
  ];
  return { type: a.type, shape, lead, rows, inner, columns, aShape, bShape };
}

function inferMatMul(call: OpCall, inputs: Operands): TensorType[] {
  const { type, shape } = planMatMul(call, inputs);
  return [{ type, shape }];
}

function evaluateMatMul(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const { type, shape, lead, rows, inner, columns, aShape, bShape } = planMatMul(call, inputs);
  const a = requiredTensor(call, inputs, 0);
  const b = requiredTensor(call, inputs, 1);
  const out = emptyTensor(type, shape);
  // Leading axes of the operands as one: weights have none, and then all rows are one product.
  if (bShape.length === 2) {
    multiplyInto(out.data, 0, a.data, 0, b.data, 0, rows * cellsOf(lead), inner, columns);
    return [out];
  }
  const aBlocks = leadIndex(aShape.slice(0, -2), lead);
  const bBlocks = leadIndex(bShape.slice(0, -2), lead);
  for (let block = 0; block < aBlocks.length; block++) {
    const aOffset = (aBlocks[block] as number) * rows * inner;
    const bOffset = (bBlocks[block] as number) * inner * columns;
    multiplyInto(out.data, block * rows * columns, a.data, aOffset, b.data, bOffset, rows, inner, columns);
  }
  return [out];
}

function leadIndex(own: readonly number[], lead: readonly number[]): Float64Array | Float32Array {
  const numbered = emptyTensor('int', own);
  for (let i = 0; i < numbered.data.length; i++) numbered.data[i] = i;
  return expanded(numbered, lead).data;
}

interface GemmPlan {
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  readonly transA: boolean;
  readonly transB: boolean;
}

function planGemm(call: OpCall, inputs: Operands): GemmPlan {
  const a = required(call, inputs, 0);
  const b = required(call, inputs, 1);
  if (a.shape.length !== 2 || b.shape.length !== 2) throw badShapes(call, 'two matrices', inputs);
  const transA = intAttribute(call, 'transA', 0) !== 0;
  const transB = intAttribute(call, 'transB', 0) !== 0;
  const [a0, a1, b0, b1] = [...a.shape, ...b.shape] as [number, number, number, number];
  const [rows, inner] = transA ? [a1, a0] : [a0, a1];
  const [other, columns] = transB ? [b1, b0] : [b0, b1];
  const c = inputs[2];
  const fits = c === undefined || broadcastShape(c.shape, [rows, columns])?.join() === `${rows},${columns}`;
  if (inner !== other || !fits) throw badShapes(call, 'shapes that multiply', inputs);
  return { rows, inner, columns, transA, transB };
}

function inferGemm(call: OpCall, inputs: Operands): TensorType[] {
  const { rows, columns } = planGemm(call, inputs);
  return [{ type: required(call, inputs, 0).type, shape: [rows, columns] }];
}

function evaluateGemm(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const { rows, inner, columns, transA, transB } = planGemm(call, inputs);
  const a = requiredTensor(call, inputs, 0);
  const b = requiredTensor(call, inputs, 1);
  const alpha = floatAttribute(call, 'alpha', 1);
  const beta = floatAttribute(call, 'beta', 1);
  const out = emptyTensor(a.type, [rows, columns]);
  const left = transA ? transposed(a) : a.data;
  if (transB) multiplyByRows(out.data, left, b.data, rows, inner, columns);
  else multiplyInto(out.data, 0, left, 0, b.data, 0, rows, inner, columns);
  const c = inputs[2] === undefined ? undefined : expanded(inputs[2], out.shape).data;
  for (let i = 0; i < out.data.length; i++) {
    out.data[i] = alpha * (out.data[i] as number) + beta * (c === undefined ? 0 : (c[i] as number));
  }
  return [out];
}

/** out[i][j] = Σ_k a[i][k] · b[j][k]: both read along rows. */
function multiplyByRows(
  out: Numbers,
  a: Numbers,
  b: Numbers,
  rows: number,
  inner: number,
  columns: number,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out[i * columns + j] = dot(a, i * inner, b, j * inner, inner);
  }
}

function transposed({ shape, data }: Tensor): Float32Array | Float64Array {
  const [rows, columns] = shape as [number, number];
  const out = data.slice();
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j] as number;
  return out;
}

export interface ConvPlan extends Window2d {
  readonly batch: number;
  readonly groups: number;
  readonly channelsIn: number;
  readonly channelsOut: number;
}

/** Convolutions over one or two axes, as over two. */
export function planConv(call: OpCall, inputs: Operands): ConvPlan {
  const x = required(call, inputs, 0);
  const w = required(call, inputs, 1);
  const groups = intAttribute(call, 'group', 1);
  const spatial = x.shape.slice(2);
  if ((spatial.length !== 1 && spatial.length !== 2) || w.shape.length !== x.shape.length)
    throw unsupported(
      call,
      'a convolution over one or two axes',
      inputs.map((i) => i?.shape.join('x')).join(' by '),
    );
  const [batch, channelsIn] = x.shape as [number, number];
  const [channelsOut, perGroup] = w.shape as [number, number];
  const wrongGroups = groups < 1 || channelsIn !== perGroup * groups || channelsOut % groups !== 0;
  const bias = inputs[2];
  if (wrongGroups || (bias !== undefined && bias.shape.join() !== `${channelsOut}`))
    throw badShapes(call, `channels that fit ${groups} groups`, inputs);
  const window = window2d(call, spatial, w.shape.slice(2));
  return { ...window, batch, groups, channelsIn, channelsOut };
}

function inferConv(call: OpCall, inputs: Operands): TensorType[] {
  const { batch, channelsOut, outShape } = planConv(call, inputs);
  return [{ type: required(call, inputs, 0).type, shape: [batch, channelsOut, ...outShape] }];
}

function evaluateConv(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const plan = planConv(call, inputs);
  const x = requiredTensor(call, inputs, 0);
  const w = requiredTensor(call, inputs, 1);
  const bias = inputs[2];
  const { batch, groups, channelsIn, channelsOut, outHeight, outWidth, outShape } = plan;
  const pixels = outHeight * outWidth;
  const [groupIn, groupOut] = [channelsIn / groups, channelsOut / groups];
  const inner = groupIn * plan.kernelHeight * plan.kernelWidth;
  const patches = new Float32Array(inner * pixels);
  const out = emptyTensor(x.type, [batch, channelsOut, ...outShape]);
  for (let n = 0; n < batch; n++) {
    for (let g = 0; g < groups; g++) {
      gatherPatches(plan, x.data, n * channelsIn + g * groupIn, groupIn, patches);
      const outOffset = (n * channelsOut + g * groupOut) * pixels;
      for (let o = 0; bias !== undefined && o < groupOut; o++) {
        out.data.fill(
          bias.data[g * groupOut + o] as number,
          outOffset + o * pixels,
          outOffset + (o + 1) * pixels,
        );
      }
      multiplyInto(out.data, outOffset, w.data, g * groupOut * inner, patches, 0, groupOut, inner, pixels);
    }
  }
  return [out];
}

/** patches[(c, ky, kx)][(y, x)]: the input cell under each tap of the window; zero outside the image. */
function gatherPatches(
  plan: ConvPlan,
  image: Float32Array | Float64Array,
  firstChannel: number,
  channels: number,
  patches: Float32Array,
): void {
  const { height, width, outHeight, outWidth, kernelHeight, kernelWidth } = plan;
  let at = 0;
  for (let c = 0; c < channels; c++) {
    const plane = (firstChannel + c) * height * width;
    for (let ky = 0; ky < kernelHeight; ky++) {
      for (let kx = 0; kx < kernelWidth; kx++) {
        for (let y = 0; y < outHeight; y++) {
          const row = y * plan.strideY + ky * plan.dilationY - plan.padTop;
          if (row < 0 || row >= height) {
            patches.fill(0, at, at + outWidth);
            at += outWidth;
            continue;
          }
          for (let x = 0; x < outWidth; x++) {
            const column = x * plan.strideX + kx * plan.dilationX - plan.padLeft;
            patches[at++] =
              column < 0 || column >= width ? 0 : (image[plane + row * width + column] as number);
          }
        }
      }
    }
  }
}

export interface EinsumPlan {
  readonly a: string;
  readonly b: string;
  readonly out: string;
  /** Extent of each letter. */
  readonly extents: ReadonlyMap<string, number>;
}

/** Two operands, explicit result, no repeated letters, no ellipsis. */
export function planEinsum(call: OpCall, inputs: Operands): EinsumPlan {
  const equation = textAttribute(call, 'equation', '').replaceAll(' ', '');
  const match = /^([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]*)$/.exec(equation);
  if (match === null || inputs.length !== 2)
    throw unsupported(call, 'an equation of two operands like ab,bc->ac', JSON.stringify(equation));
  const [, a, b, out] = match as unknown as [string, string, string, string];
  const extents = new Map<string, number>();
  for (const [letters, index] of [
    [a, 0],
    [b, 1],
  ] as const) {
    const { shape } = required(call, inputs, index);
    const clash =
      letters.length !== shape.length ||
      new Set(letters).size !== letters.length ||
      [...letters].some((letter, axis) => (extents.get(letter) ?? shape[axis]) !== shape[axis]);
    if (clash) throw badShapes(call, `operands of ${equation}`, inputs);
    for (const [axis, letter] of [...letters].entries()) extents.set(letter, shape[axis] as number);
  }
  if (new Set(out).size !== out.length || [...out].some((letter) => !extents.has(letter)))
    throw unsupported(call, 'a result made of letters of the operands', equation);
  checkShape([...extents.values()], call.place);
  return { a, b, out, extents };
}

function inferEinsum(call: OpCall, inputs: Operands): TensorType[] {
  const { out, extents } = planEinsum(call, inputs);
  const shape = [...out].map((letter) => extents.get(letter) as number);
  return [{ type: required(call, inputs, 0).type, shape }];
}

function evaluateEinsum(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const { a, b, out, extents } = planEinsum(call, inputs);
  const [x, y] = [requiredTensor(call, inputs, 0), requiredTensor(call, inputs, 1)];
  const summed = [...extents.keys()].filter((letter) => !out.includes(letter));
  const letters = [...out, ...summed];
  const shape = letters.map((letter) => extents.get(letter) as number);
  const [xs, ys] = [
    [a, x],
    [b, y],
  ].map(([own, tensor]) => {
    const strides = letterStrides(own as string, (tensor as Tensor).shape);
    const spread = emptyTensor('float', shape);
    const stride = letters.map((letter) => strides.get(letter) ?? 0);
    walk(shape, stride, 0, (o, i) => {
      spread.data[o] = (tensor as Tensor).data[i] as number;
    });
    return spread.data;
  }) as [Float32Array, Float32Array];
  const result = emptyTensor(
    x.type,
    [...out].map((letter) => extents.get(letter) as number),
  );
  const inner = summed.reduce((cells, letter) => cells * (extents.get(letter) as number), 1);
  for (let o = 0; o < result.data.length; o++) {
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += (xs[o * inner + k] as number) * (ys[o * inner + k] as number);
    result.data[o] = sum;
  }
  return [result];
}

function letterStrides(letters: string, shape: readonly number[]): Map<string, number> {
  const strides = new Map<string, number>();
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides.set(letters[axis] as string, stride);
    stride *= shape[axis] as number;
  }
  return strides;
}

/** ai.onnx.ml Scaler: (x − offset) · scale, one value for all columns or one each. */
export function scalerOf(
  call: OpCall,
  columns: number,
): { readonly offset: readonly number[]; readonly scale: readonly number[] } {
  const widen = (values: readonly number[], name: string): readonly number[] => {
    if (values.length === columns) return values;
    if (values.length === 1) return new Array<number>(columns).fill(values[0] as number);
    throw new MalformedError(
      'onnx.attribute',
      call.place,
      `${name} with ${columns} entries`,
      `${values.length}`,
    );
  };
  return {
    offset: widen(floatsAttribute(call, 'offset', [0]), 'offset'),
    scale: widen(floatsAttribute(call, 'scale', [1]), 'scale'),
  };
}

function evaluateScaler(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const x = requiredTensor(call, inputs, 0);
  const columns = x.shape.at(-1) ?? 1;
  const { offset, scale } = scalerOf(call, columns);
  const out = emptyTensor('float', x.shape);
  for (let i = 0; i < out.data.length; i++) {
    const column = i % columns;
    out.data[i] = ((x.data[i] as number) - (offset[column] as number)) * (scale[column] as number);
  }
  return [out];
}

export interface LinearModel {
  readonly coefficients: readonly number[];
  readonly intercepts: readonly number[];
  readonly rows: number;
  readonly classes: number;
  readonly features: number;
}

/** The linear models of ai.onnx.ml as coefficients[class][feature]. */
export function linearModelOf(call: OpCall, inputs: Operands): LinearModel {
  const { shape } = required(call, inputs, 0) satisfies Operand;
  const features = shape.at(-1) ?? 0;
  const coefficients = floatsAttribute(call, 'coefficients', []);
  const intercepts = floatsAttribute(call, 'intercepts', []);
  const classes = coefficients.length / features;
  if (shape.length !== 2 || !Number.isInteger(classes) || classes < 1)
    throw badShapes(call, `rows of features for ${coefficients.length} coefficients`, inputs);
  if (intercepts.length !== 0 && intercepts.length !== classes)
    throw new MalformedError('onnx.attribute', call.place, `${classes} intercepts`, `${intercepts.length}`);
  return { coefficients, intercepts, rows: shape[0] as number, classes, features };
}
