/** Small graphs, one for each operator in its variants, to hold evaluation and quantization against onnxruntime. */
import { type ModelInit, type NodeInit, onnxModel, randomTensor, type TensorInit } from './onnx-writer.ts';

export interface GraphCase {
  readonly name: string;
  readonly model: Uint8Array;
  readonly shape: readonly number[];
  /** Values the input is drawn from. */
  readonly range: readonly [number, number];
  /** Whole numbers. */
  readonly ids?: number;
  /** Largest error of the integer model, as a share of the output's root mean square; absent: it has no integer form. */
  readonly error?: number;
}

interface Options {
  readonly shape?: readonly number[];
  readonly range?: readonly [number, number];
  readonly ids?: number;
  readonly error?: number | undefined;
  readonly opset?: number;
  readonly initializers?: Readonly<Record<string, TensorInit>>;
  readonly mlOpset?: number;
}

/** A graph from `x` to `y`. */
function graph(name: string, nodes: readonly NodeInit[], options: Options): GraphCase {
  const { shape = [8], range = [-1, 1], ids, opset, mlOpset } = options;
  // A key has at least one weight: graphs without get a constant added in front.
  const hasWeights = Object.values(options.initializers ?? {}).some(
    ({ values, type }) => type !== 'int64' && values.length > 1,
  );
  const needsWeight = options.error !== undefined && !hasWeights;
  const front = { op: 'Add', inputs: ['x', 'front'], outputs: ['x0'] };
  const behind = (each: NodeInit): NodeInit => ({
    ...each,
    inputs: each.inputs.map((input) => (input === 'x' ? 'x0' : input)),
  });
  const initializers = needsWeight
    ? { ...options.initializers, front: randomTensor(9, shape, 0.1) }
    : options.initializers;
  const init: ModelInit = {
    nodes: needsWeight ? [front, ...nodes.map(behind)] : nodes,
    inputs: [{ name: 'x', dims: ['n', ...shape], type: ids === undefined ? 'float' : 'int64' }],
    outputs: [{ name: 'y', dims: [] }],
    ...(opset === undefined ? {} : { opset }),
    ...(mlOpset === undefined ? {} : { mlOpset }),
    ...(initializers === undefined ? {} : { initializers }),
  };
  const model = onnxModel(init);
  return {
    name,
    model,
    shape,
    range,
    ...(ids === undefined ? {} : { ids }),
    ...(options.error === undefined ? {} : { error: options.error }),
  };
}

const node = (
  op: string,
  inputs: string,
  outputs: string,
  attributes: NodeInit['attributes'] = {},
): NodeInit => ({
  op,
  inputs: inputs === '' ? [] : inputs.split(' ').map((input) => (input === '_' ? '' : input)),
  outputs: outputs.split(' '),
  attributes,
});

const ints = (...values: readonly number[]): TensorInit => ({ dims: [values.length], values, type: 'int64' });
const image = [3, 7, 6] as const;

function single(op: string, attributes: NodeInit['attributes'], options: Options, tag = ''): GraphCase {
  return graph(`${op}${tag}`, [node(op, 'x', 'y', attributes)], options);
}

function conv(
  tag: string,
  weight: readonly number[],
  attributes: NodeInit['attributes'],
  shape: readonly number[] = image,
): GraphCase {
  return graph(`Conv ${tag}`, [node('Conv', 'x w b', 'y', attributes)], {
    shape,
    error: 0.03,
    initializers: { w: randomTensor(5, weight, 0.5), b: randomTensor(6, [weight[0] as number]) },
  });
}

const activations: readonly GraphCase[] = [
  single('Relu', {}, { error: 0.02 }),
  single('LeakyRelu', { alpha: { float: 0.2 } }, { error: 0.02 }),
  single('Elu', { alpha: { float: 1.3 } }, { error: 0.02 }),
  single('Selu', {}, { error: 0.02 }),
  single('HardSigmoid', {}, { range: [-4, 4], error: 0.02 }),
  single('HardSwish', {}, { range: [-5, 5], error: 0.02 }),
  single('Sigmoid', {}, { range: [-6, 6], error: 0.02 }),
  single('Tanh', {}, { range: [-3, 3], error: 0.02 }),
  single('Softplus', {}, { range: [-4, 4], error: 0.02 }),
  single('Softsign', {}, { range: [-4, 4], error: 0.02 }),
  single('Erf', {}, { range: [-4, 4], error: 0.02 }),
  single('Gelu', {}, { range: [-4, 4], opset: 20, error: 0.02 }),
  single('Gelu', { approximate: 'tanh' }, { range: [-4, 4], opset: 20, error: 0.02 }, ' by tanh'),
  single('Mish', {}, { range: [-4, 4], opset: 18, error: 0.02 }),
  single('Exp', {}, { error: 0.02 }),
  single('Abs', {}, { error: 0.02 }),
  single('Neg', {}, { error: 0.02 }),
  single('Floor', {}, { range: [-3, 3] }),
  single('Round', {}, { range: [-3, 3] }),
  graph('Clip', [node('Clip', 'x lo hi', 'y')], {
    error: 0.02,
    initializers: { lo: { dims: [], values: [-0.5] }, hi: { dims: [], values: [0.25] } },
  }),
  graph('PRelu', [node('PRelu', 'x slope', 'y')], {
    error: 0.02,
    initializers: { slope: { dims: [1], values: [0.3] } },
  }),
  graph('Pow', [node('Pow', 'x two', 'y')], {
    error: 0.03,
    initializers: { two: { dims: [], values: [2] } },
  }),
];

const products: readonly GraphCase[] = [
  graph('MatMul', [node('MatMul', 'x w', 'y')], {
    shape: [5, 6],
    error: 0.02,
    initializers: { w: randomTensor(1, [6, 7]) },
  }),
  graph('Gemm', [node('Gemm', 'x w b', 'y', { transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } })], {
    error: 0.02,
    initializers: { w: randomTensor(1, [5, 8]), b: randomTensor(2, [5]) },
  }),
  graph('Gemm without bias', [node('Gemm', 'x w', 'y')], {
    error: 0.02,
    initializers: { w: randomTensor(1, [8, 3]) },
  }),
  graph(
    'MatMul of two values',
    [node('Transpose', 'x', 't', { perm: [0, 2, 1] }), node('MatMul', 'x t', 'y')],
    {
      shape: [5, 6],
      error: 0.03,
    },
  ),
  graph('Einsum with weights', [node('Einsum', 'x w', 'y', { equation: 'bij,kj->bki' })], {
    shape: [5, 6],
    error: 0.02,
    initializers: { w: randomTensor(1, [4, 6]) },
  }),
  conv('plain', [4, 3, 3, 3], {}),
  conv('padded', [4, 3, 3, 3], { pads: [1, 1, 1, 1] }),
  conv('strided', [4, 3, 3, 2], { strides: [2, 2], pads: [1, 0, 1, 1] }),
  conv('dilated', [2, 3, 2, 2], { dilations: [2, 3] }),
  conv('SAME_UPPER', [2, 3, 3, 2], { auto_pad: 'SAME_UPPER', strides: [2, 2] }),
  conv('SAME_LOWER', [2, 3, 2, 2], { auto_pad: 'SAME_LOWER' }),
  conv('1x1', [5, 3, 1, 1], {}),
  conv('1x1 strided', [5, 3, 1, 1], { strides: [2, 2] }),
  conv('in two groups', [4, 2, 3, 3], { group: 2 }, [4, 6, 6]),
  conv('depthwise', [3, 1, 3, 3], { group: 3, pads: [1, 1, 1, 1] }),
  conv('depthwise with multiplier', [6, 1, 3, 3], { group: 3 }),
  conv('of the whole image', [5, 3, 7, 6], {}),
  conv('one row', [2, 3, 1, 3], {}),
  conv('one axis', [4, 3, 3], { pads: [1, 1] }, [3, 9]),
];

const pools: readonly GraphCase[] = [
  single('MaxPool', { kernel_shape: [2, 2], strides: [2, 2] }, { shape: [3, 8, 6], error: 0.02 }, ' 2x2'),
  single('MaxPool', { kernel_shape: [2, 2] }, { shape: [3, 5, 5], error: 0.02 }, ' stride 1'),
  single(
    'MaxPool',
    { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
    { shape: image, error: 0.02 },
    ' padded',
  ),
  single(
    'MaxPool',
    { kernel_shape: [3, 2], strides: [2, 2], ceil_mode: 1 },
    { shape: [3, 8, 6], range: [-2, -1], error: 0.02 },
    ' ceil',
  ),
  single('MaxPool', { kernel_shape: [3] }, { shape: [4, 9], error: 0.02 }, ' one axis'),
  single('MaxPool', { kernel_shape: [7, 6] }, { shape: image, error: 0.02 }, ' global'),
  single('AveragePool', { kernel_shape: [2, 2], strides: [2, 2] }, { shape: [3, 8, 6], error: 0.03 }, ' 2x2'),
  single(
    'AveragePool',
    { kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
    { shape: image, error: 0.05 },
    ' without padding',
  ),
  single(
    'AveragePool',
    { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: 1 },
    { shape: image, error: 0.03 },
    ' with padding',
  ),
  single('GlobalAveragePool', {}, { shape: image, range: [-1, 2], error: 0.04 }),
  single(
    'ReduceMean',
    { axes: [-1], keepdims: 0 },
    { shape: [5, 6], range: [-1, 2], error: 0.04 },
    ' attribute',
  ),
  graph('ReduceMean operand', [node('ReduceMean', 'x axes', 'y')], {
    shape: [5, 6],
    opset: 18,
    range: [-1, 2],
    error: 0.04,
    initializers: { axes: ints(1) },
  }),
  graph('ReduceSum', [node('ReduceSum', 'x axes', 'y', { keepdims: 0 })], {
    shape: [5, 6],
    error: 0.02,
    initializers: { axes: ints(1, 2) },
  }),
  single('ReduceMax', { axes: [1] }, { shape: [5, 6] }),
  single('ReduceL2', { axes: [1] }, { shape: [5, 6] }),
];

const layouts: readonly GraphCase[] = [
  single('Flatten', {}, { shape: [3, 4, 5], error: 0.01 }),
  single('Transpose', { perm: [0, 2, 3, 1] }, { shape: [3, 4, 5], error: 0.01 }),
  graph('Reshape', [node('Reshape', 'x s', 'y')], {
    shape: [4, 6],
    error: 0.01,
    initializers: { s: ints(0, -1, 3) },
  }),
  graph(
    'Reshape across axes',
    [
      node('Relu', 'x', 'r'),
      node('Reshape', 'r s', 't'),
      node('Softmax', 't', 'p'),
      node('MatMul', 'p w', 'y'),
    ],
    {
      shape: [4, 6],
      error: 0.06,
      initializers: { s: ints(0, 3, 8), w: randomTensor(3, [8, 4]) },
    },
  ),
  graph('Squeeze and Unsqueeze', [node('Unsqueeze', 'x a', 'u'), node('Squeeze', 'u b', 'y')], {
    shape: [5, 1],
    error: 0.01,
    initializers: { a: ints(1), b: ints(3) },
  }),
  graph('Slice aligned', [node('Slice', 'x s e a', 'y')], {
    shape: [6, 5],
    error: 0.01,
    initializers: { s: ints(2), e: ints(4), a: ints(1) },
  }),
  graph('Slice', [node('Slice', 'x s e a st', 'y')], {
    shape: [7, 6],
    error: 0.01,
    initializers: { s: ints(1, 0), e: ints(6, -1), a: ints(1, 2), st: ints(2, 1) },
  }),
  graph('Gather of one position', [node('Gather', 'x i', 'y', { axis: 1 })], {
    shape: [7, 6],
    error: 0.01,
    initializers: { i: { dims: [], values: [-2], type: 'int64' } },
  }),
  graph('Split', [node('Split', 'x s', 'a b', { axis: 1 }), node('Sub', 'a b', 'y')], {
    shape: [6, 4],
    error: 0.02,
    initializers: { s: ints(3, 3) },
  }),
  graph(
    'Concat of unlike parts',
    [node('Relu', 'x', 'a'), node('Tanh', 'x', 'b'), node('Concat', 'a b', 'y', { axis: 1 })],
    {
      shape: [3, 5],
      error: 0.03,
    },
  ),
  graph(
    'Concat before a product',
    [
      node('Relu', 'x', 'a'),
      node('Tanh', 'x', 'b'),
      node('Concat', 'a b', 'c', { axis: 1 }),
      node('MatMul', 'c w', 'y'),
    ],
    {
      shape: [5],
      error: 0.03,
      initializers: { w: randomTensor(3, [10, 4]) },
    },
  ),
  graph('Pad', [node('Pad', 'x p', 'y')], {
    shape: [3, 4],
    error: 0.01,
    initializers: { p: ints(0, 1, 0, 0, 0, 2) },
  }),
  graph('Expand', [node('Expand', 'x s', 'y')], {
    shape: [1, 4],
    error: 0.01,
    initializers: { s: ints(1, 3, 4) },
  }),
  graph(
    'Shape arithmetic',
    [
      node('Shape', 'x', 's'),
      node('Gather', 's zero', 'n'),
      node('Concat', 'n m', 't', { axis: 0 }),
      node('Reshape', 'x t', 'y'),
    ],
    {
      shape: [3, 4],
      error: 0.01,
      initializers: { zero: ints(0), m: ints(12) },
    },
  ),
];

const norm = (
  op: string,
  tag: string,
  nodes: readonly NodeInit[],
  initializers: Record<string, TensorInit>,
  opset = 17,
): GraphCase =>
  graph(`${op}${tag}`, nodes, { shape: [5, 12], range: [-2, 3], error: 0.05, opset, initializers });

const others: readonly GraphCase[] = [
  graph('Add broadcast', [node('Add', 'x b', 'y')], {
    shape: [5, 6],
    error: 0.02,
    initializers: { b: randomTensor(1, [5, 1]) },
  }),
  graph('Sub from a constant', [node('Sub', 'b x', 'y')], {
    shape: [5, 6],
    error: 0.02,
    initializers: { b: randomTensor(1, [6]) },
  }),
  graph('Mul by a vector', [node('Mul', 'x b', 'y')], {
    shape: [5, 6],
    error: 0.02,
    initializers: { b: randomTensor(1, [6]) },
  }),
  graph('Div by a constant', [node('Div', 'x b', 'y')], {
    shape: [5, 6],
    error: 0.02,
    initializers: { b: { dims: [], values: [3] } },
  }),
  graph('Add of two values', [node('Tanh', 'x', 'a'), node('Add', 'x a', 'y')], { error: 0.03 }),
  graph('Mul of two values', [node('Transpose', 'x', 'a', { perm: [0, 2, 1] }), node('Mul', 'x a', 'y')], {
    shape: [6, 6],
    error: 0.04,
  }),
  graph('Mul broadcast', [node('ReduceMean', 'x', 'm', { axes: [2] }), node('Mul', 'x m', 'y')], {
    shape: [4, 6],
    range: [-1, 2],
    error: 0.06,
  }),
  graph('Where', [node('Where', 'c x zero', 'y')], {
    shape: [4],
    error: 0.02,
    initializers: { c: { dims: [4], values: [1, 0, 1, 1], type: 'bool' }, zero: { dims: [], values: [0] } },
  }),
  graph('BatchNormalization', [node('BatchNormalization', 'x g b m v', 'y')], {
    shape: image,
    error: 0.03,
    initializers: {
      g: randomTensor(1, [3]),
      b: randomTensor(2, [3]),
      m: randomTensor(3, [3]),
      v: { dims: [3], values: [0.5, 1, 2] },
    },
  }),
  graph('Softmax in the middle', [node('Softmax', 'x', 'p'), node('MatMul', 'p w', 'y')], {
    shape: [4, 10],
    range: [-4, 4],
    error: 0.05,
    initializers: { w: randomTensor(1, [10, 3]) },
  }),
  graph('Softmax over many', [node('Softmax', 'x', 'p'), node('MatMul', 'p w', 'y')], {
    shape: [3, 70],
    range: [-4, 6],
    error: 0.08,
    initializers: { w: randomTensor(1, [70, 3]) },
  }),
  norm('LayerNormalization', '', [node('LayerNormalization', 'x g b', 'y')], {
    g: randomTensor(1, [12]),
    b: randomTensor(2, [12]),
  }),
  norm(
    'LayerNormalization',
    ' spelled out',
    [
      node('ReduceMean', 'x', 'm', { axes: [-1] }),
      node('Sub', 'x m', 'd'),
      node('Mul', 'd d', 's'),
      node('ReduceMean', 's', 'v', { axes: [-1] }),
      node('Add', 'v e', 've'),
      node('Sqrt', 've', 'r'),
      node('Div', 'd r', 'u'),
      node('Mul', 'u g', 'w'),
      node('Add', 'w b', 'y'),
    ],
    { g: randomTensor(1, [12]), b: randomTensor(2, [12]), e: { dims: [], values: [1e-5] } },
  ),
  norm(
    'RMSNorm',
    ' spelled out',
    [
      node('Pow', 'x two', 's'),
      node('ReduceMean', 's', 'v', { axes: [-1] }),
      node('Add', 'v e', 've'),
      node('Sqrt', 've', 'r'),
      node('Reciprocal', 'r', 'i'),
      node('Mul', 'x i', 'u'),
      node('Mul', 'g u', 'y'),
    ],
    { g: randomTensor(1, [12]), two: { dims: [], values: [2] }, e: { dims: [], values: [1e-6] } },
  ),
  graph('Embedding', [node('Gather', 't x', 'e'), node('Relu', 'e', 'y')], {
    shape: [5],
    ids: 11,
    error: 0.02,
    initializers: { t: randomTensor(1, [11, 6]) },
  }),
  graph(
    'Routing',
    [
      node('MatMul', 'x w', 's'),
      node('ArgMax', 's', 'i', { axis: -1, keepdims: 0 }),
      node('OneHot', 'i d v', 'z'),
      node('Mul', 's z', 'y'),
    ],
    {
      shape: [6],
      error: 0.05,
      initializers: {
        w: randomTensor(1, [6, 4]),
        d: { dims: [], values: [4], type: 'int64' },
        v: { dims: [2], values: [0, 1] },
      },
    },
  ),
  graph(
    'GELU spelled out',
    [
      node('Div', 'x r', 'a'),
      node('Erf', 'a', 'e'),
      node('Add', 'e one', 'f'),
      node('Mul', 'x f', 'g'),
      node('Mul', 'g half', 'y'),
    ],
    {
      range: [-4, 4],
      error: 0.02,
      initializers: {
        r: { dims: [], values: [Math.SQRT2] },
        one: { dims: [], values: [1] },
        half: { dims: [], values: [0.5] },
      },
    },
  ),
  graph(
    'A value read by two functions and a product',
    [
      node('MatMul', 'x w', 'h'),
      node('Sigmoid', 'h', 'a'),
      node('Tanh', 'h', 'b'),
      node('Mul', 'a b', 'c'),
      node('Add', 'c h', 'y'),
    ],
    { shape: [6], error: 0.04, initializers: { w: randomTensor(1, [6, 6]) } },
  ),
  graph(
    'Ops without integer form',
    [node('Sin', 'x', 'a'), node('Trilu', 'a', 'b'), node('Tile', 'b r', 'y')],
    {
      shape: [3, 4],
      initializers: { r: ints(1, 2, 1) },
    },
  ),
];

export const CASES: readonly GraphCase[] = [...activations, ...products, ...pools, ...layouts, ...others];
