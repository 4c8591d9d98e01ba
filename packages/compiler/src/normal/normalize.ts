/** From the float graph to its normal form. */
import { MalformedError } from '@haca/primitives';
import type { FloatGraph, FloatNode, FloatValue } from '../float/graph.ts';
import { callOf } from '../float/graph.ts';
import { INDEX_MAPS, padsOf } from '../float/layout.ts';
import { planConv, planEinsum, scalerOf } from '../float/linear.ts';
import { axisOf, floatAttribute, intAttribute, type Operands } from '../float/op.ts';
import { batchNormAffine, planPool, reduction } from '../float/reduce.ts';
import {
  cellsOf,
  formatShape,
  reshaped,
  sameShape,
  stridesOf,
  type Tensor,
  tensorOf,
} from '../float/tensor.ts';
import { pruned } from '../onnx/import-graph.ts';
import { foldAffines } from './fold.ts';
import type { NormalGraph, NormalNode, NormalOp, NormalValue } from './normal-graph.ts';
import { type FoundNorm, findNorms } from './norms.ts';
import { affineOf, findChains, functionOf, type PointwiseChain } from './pointwise.ts';

/** A value at or below this that is added before a softmax means "not this one". */
const MASKED_BELOW = -1e4;

export interface NormalizeOptions {
  /** Names of the outputs to keep; absent: all that are numbers with a fraction, or else all. */
  readonly outputs?: readonly string[] | undefined;
}

/** Throws `MalformedError` (`onnx.unsupported`, `onnx.output`) with the place of what has no integer form. */
export function normalize(model: FloatGraph, options: NormalizeOptions = {}): NormalGraph {
  const { outputs: chosen, notes } = chooseOutputs(model, options.outputs);
  const graph = pruned({ ...model, outputs: chosen });
  const norms = findNorms(graph);
  const chains = findChains(graph, new Set(norms.map(({ y }) => y)));
  const state: State = {
    graph,
    chains,
    norms: new Map(norms.map((norm) => [norm.y, norm])),
    covered: new Set(norms.flatMap(({ nodes }) => [...nodes])),
    readers: readersOf(graph),
    values: [],
    nodes: [],
    normalOf: new Map(),
    producers: new Map(),
    notes,
  };
  for (const input of graph.inputs)
    state.normalOf.set(input, addValue(state, graph.values[input] as FloatValue, input));
  for (const [position, node] of graph.nodes.entries()) convertNode(state, node, position);
  const outputs = graph.outputs.map((index) => convertedOutput(state, index));
  return foldAffines({
    values: state.values,
    nodes: state.nodes,
    inputs: graph.inputs.map((input) => state.normalOf.get(input) as number),
    outputs,
    result: graph.outputs[0] as number,
    notes: state.notes,
  });
}

function readersOf(graph: FloatGraph): Map<number, FloatNode[]> {
  const readers = new Map<number, FloatNode[]>();
  for (const node of graph.nodes) {
    for (const index of new Set(node.inputs)) {
      if (index === undefined) continue;
      const known = readers.get(index);
      if (known === undefined) readers.set(index, [node]);
      else known.push(node);
    }
  }
  return readers;
}

interface State {
  readonly graph: FloatGraph;
  readonly chains: ReadonlyMap<number, PointwiseChain>;
  readonly norms: ReadonlyMap<number, FoundNorm>;
  readonly covered: ReadonlySet<number>;
  /** Nodes of the float graph by a value they read. */
  readonly readers: ReadonlyMap<number, readonly FloatNode[]>;
  readonly values: NormalValue[];
  readonly nodes: NormalNode[];
  /** Normal value by value of the float graph. */
  readonly normalOf: Map<number, number>;
  readonly producers: Map<number, NormalNode>;
  readonly notes: string[];
}

function addValue(
  state: State,
  { name, shape }: { name: string; shape: readonly number[] },
  float?: number,
): number {
  state.values.push({ name, shape, float });
  return state.values.length - 1;
}

function emit(state: State, op: NormalOp, shape: readonly number[], node: FloatNode, float?: number): number {
  const name =
    float === undefined ? `${node.place} ${op.kind}` : (state.graph.values[float] as FloatValue).name;
  const y = addValue(state, { name, shape }, float);
  const made: NormalNode = { op, y, place: node.place };
  state.nodes.push(made);
  state.producers.set(y, made);
  return y;
}

function convertNode(state: State, node: FloatNode, position: number): void {
  const [y] = node.outputs as [number];
  const norm = state.norms.get(y);
  if (norm !== undefined) {
    convertNorm(state, node, norm);
    return;
  }
  if (state.covered.has(position)) return;
  const chain = state.chains.get(y) as PointwiseChain;
  if (chain.root !== y) {
    if (isNeeded(state, y, chain)) state.normalOf.set(y, convertChain(state, node, y, chain));
    return;
  }
  convertOp(state, node);
}

/** Whether something reads the value that is not itself a function of the same root. */
function isNeeded(state: State, y: number, chain: PointwiseChain): boolean {
  if (state.graph.outputs.includes(y)) return true;
  const readers = state.readers.get(y) ?? [];
  return readers.some((node) => node.outputs.some((out) => state.chains.get(out)?.root !== chain.root));
}

function convertChain(state: State, node: FloatNode, y: number, chain: PointwiseChain): number {
  const x = operand(state, node, chain.root);
  const made = functionOf(state.graph, chain, y);
  const { shape } = state.graph.values[y] as FloatValue;
  if (!chain.affine) return emit(state, { kind: 'pointwise', x, function: made }, shape, node, y);
  const { scale, shift } = affineOf(made);
  return scale === 1 && shift === 0
    ? x
    : affine(state, node, x, constant(shape, [scale]), constant(shape, [shift]), y);
}

/** A tensor with as many axes as `shape`, all of extent 1. */
function constant(shape: readonly number[], [value]: readonly [number]): Tensor {
  return tensorOf(
    'float',
    shape.map(() => 1),
    [value],
  );
}

function affine(state: State, node: FloatNode, x: number, scale: Tensor, shift: Tensor, y?: number): number {
  const { shape } =
    y === undefined ? (state.values[x] as NormalValue) : (state.graph.values[y] as FloatValue);
  return emit(state, { kind: 'affine', x, scale, shift }, shape, node, y);
}

function operand(state: State, node: FloatNode, index: number | undefined): number {
  const found = index === undefined ? undefined : state.normalOf.get(index);
  if (found === undefined) throw noForm(node, 'an operand computed from the inputs', 'a constant or nothing');
  return found;
}

function noForm(node: FloatNode, expected: string, got: string): MalformedError {
  return new MalformedError('onnx.unsupported', node.place, expected, got);
}

function typesOf(state: State, node: FloatNode): Operands {
  return node.inputs.map((index) => {
    if (index === undefined) return undefined;
    const { type, shape, constant: known } = state.graph.values[index] as FloatValue;
    return { type, shape, data: known?.data };
  });
}

function constantAt(state: State, node: FloatNode, index: number): Tensor | undefined {
  const value = node.inputs[index];
  return value === undefined ? undefined : (state.graph.values[value] as FloatValue).constant;
}

function convertNorm(state: State, node: FloatNode, norm: FoundNorm): void {
  const { shape } = state.graph.values[norm.y] as FloatValue;
  const x = operand(state, node, norm.x);
  const unit = emit(state, { kind: 'norm', x, centered: norm.centered, epsilon: norm.epsilon }, shape, node);
  const wide = shape.map((extent, axis) => (axis === shape.length - 1 ? extent : 1));
  const [gain, shift] = [norm.gain, norm.shift].map((values) => tensorOf('float', wide, values)) as [
    Tensor,
    Tensor,
  ];
  state.normalOf.set(norm.y, affine(state, node, unit, gain, shift, norm.y));
}

type Convert = (state: State, node: FloatNode, y: number) => number;

function convertOp(state: State, node: FloatNode): void {
  const [y] = node.outputs as [number];
  const map = INDEX_MAPS[node.op];
  if (map !== undefined) {
    convertIndexMap(state, node);
    return;
  }
  // A position of the largest: only what is made of it can be converted.
  if (node.op === 'ArgMax') {
    state.normalOf.set(y, convertArgMax(state, node, y));
    return;
  }
  const convert = Object.hasOwn(CONVERSIONS, node.op) ? CONVERSIONS[node.op] : undefined;
  if (convert === undefined) throw noForm(node, 'an operator with an integer form', node.op);
  state.normalOf.set(y, convert(state, node, y));
}

const CONVERSIONS: Readonly<Record<string, Convert>> = {
  MatMul: convertMatMul,
  Gemm: convertGemm,
  Einsum: convertEinsum,
  Conv: convertConv,
  Add: (state, node, y) => convertSum(state, node, y, 1),
  Sub: (state, node, y) => convertSum(state, node, y, -1),
  Mul: convertProduct,
  Div: convertProduct,
  Where: convertWhere,
  BatchNormalization: convertBatchNorm,
  Scaler: convertScaler,
  LayerNormalization: (state, node, y) => convertLayerNorm(state, node, y, true),
  RMSNormalization: (state, node, y) => convertLayerNorm(state, node, y, false),
  MaxPool: (state, node, y) => {
    const window = planPool(callOf(node), typesOf(state, node));
    return emit(
      state,
      { kind: 'maxPool', x: operand(state, node, node.inputs[0]), window },
      shapeOf(state, y),
      node,
      y,
    );
  },
  AveragePool: (state, node, y) => {
    const window = planPool(callOf(node), typesOf(state, node));
    const includePad = intAttribute(callOf(node), 'count_include_pad', 0) !== 0;
    const x = operand(state, node, node.inputs[0]);
    return emit(state, { kind: 'averagePool', x, window, includePad }, shapeOf(state, y), node, y);
  },
  GlobalAveragePool: (state, node, y) => {
    const x = operand(state, node, node.inputs[0]);
    const { shape } = state.values[x] as NormalValue;
    const axes = shape.map((_, axis) => axis).slice(2);
    return emit(
      state,
      { kind: 'mean', x, axes, divisor: cellsOf(shape.slice(2)) },
      shapeOf(state, y),
      node,
      y,
    );
  },
  ReduceMean: convertReduce,
  ReduceSum: convertReduce,
  Softmax: convertSoftmax,
  Normalizer: (state, node) => {
    state.notes.push(`${node.place}: probabilities that add up to 1 already are left as they are`);
    return operand(state, node, node.inputs[0]);
  },
  Gather: convertGather,
  Concat: (state, node, y) => {
    const xs = node.inputs.map((index) => operand(state, node, index));
    const shape = shapeOf(state, y);
    return emit(
      state,
      { kind: 'concat', xs, axis: axisOf(callOf(node), intAttribute(callOf(node), 'axis', 0), shape.length) },
      shape,
      node,
      y,
    );
  },
  Pad: (state, node, y) => {
    const { before } = padsOf(callOf(node), typesOf(state, node));
    const value = constantAt(state, node, 2)?.data[0] ?? 0;
    const x = operand(state, node, node.inputs[0]);
    const shape = shapeOf(state, y);
    const cut = shape.some(
      (extent, axis) => extent < ((state.values[x] as NormalValue).shape[axis] as number),
    );
    if (value !== 0 || cut || before.some((pad) => pad < 0))
      throw noForm(node, 'padding with zeros', `${value}`);
    return emit(state, { kind: 'pad', x, before }, shape, node, y);
  },
  Equal: convertOneHotByEqual,
  OneHot: convertOneHot,
  Cast: (state, node) => operand(state, node, node.inputs[0]),
};

function shapeOf(state: State, y: number): readonly number[] {
  return (state.graph.values[y] as FloatValue).shape;
}

/** Reshapes, transposes and slices: the strides say which. */
function convertIndexMap(state: State, node: FloatNode): void {
  const x = state.normalOf.get(node.inputs[0] as number);
  if (x === undefined) return;
  const types = typesOf(state, node);
  const maps = (INDEX_MAPS[node.op] as (typeof INDEX_MAPS)[string])(callOf(node), types);
  const from = (state.values[x] as NormalValue).shape;
  for (const [i, y] of node.outputs.entries()) {
    const map = maps[i];
    if (map === undefined) continue;
    const shape = shapeOf(state, y);
    let op: NormalOp;
    if (map.strides.length === 0) {
      if (sameShape(from, shape)) {
        state.normalOf.set(y, x);
        continue;
      }
      op = { kind: 'reshape', x };
    } else if (node.op === 'Transpose') {
      const order = callOf(node).attributes.get('perm');
      op = {
        kind: 'transpose',
        x,
        order: order?.kind === 'ints' ? order.value : from.map((_, axis) => from.length - 1 - axis),
      };
    } else if (node.op === 'Expand') {
      if (sameShape(from, shape)) {
        state.normalOf.set(y, x);
        continue;
      }
      op = { kind: 'expand', x };
    } else {
      const strides = stridesOf(from);
      let rest = map.offset;
      const starts = strides.map((stride, axis) => {
        const start = (from[axis] as number) === 1 ? 0 : Math.floor(rest / stride);
        rest -= start * stride;
        return start;
      });
      const steps = strides.map((stride, axis) => (map.strides[axis] as number) / stride);
      if (steps.some((step) => step < 1))
        throw noForm(node, 'slices with steps forward', `steps [${steps.join(', ')}]`);
      op = { kind: 'slice', x, starts, steps };
    }
    state.normalOf.set(y, emit(state, op, shape, node, y));
  }
}

function convertMatMul(state: State, node: FloatNode, y: number): number {
  const [left, right] = [constantAt(state, node, 0), constantAt(state, node, 1)];
  const shape = shapeOf(state, y);
  if (left !== undefined) throw noForm(node, 'weights as the second operand', 'weights as the first');
  const a = operand(state, node, node.inputs[0]);
  const aShape = (state.values[a] as NormalValue).shape;
  if (right !== undefined) {
    if (right.shape.length !== 2) throw noForm(node, 'a weight matrix', formatShape(right.shape));
    const lead = aShape.slice(0, -1).map((_, axis) => axis);
    const contracted = shape.length;
    const op: NormalOp = {
      kind: 'contract',
      a,
      c: right,
      labelsA: [...lead, contracted],
      labelsC: [contracted, lead.length],
      labelsY: [...lead, lead.length],
      bias: undefined,
    };
    return emit(state, op, shape, node, y);
  }
  const c = operand(state, node, node.inputs[1]);
  const cShape = (state.values[c] as NormalValue).shape;
  const lead = aShape.length - 2;
  if (
    lead < 0 ||
    cShape.length !== aShape.length ||
    aShape.slice(0, lead).some((extent, axis) => extent !== cShape[axis])
  )
    throw noForm(
      node,
      'operands with equal leading axes',
      `${formatShape(aShape)} and ${formatShape(cShape)}`,
    );
  const batch = Array.from({ length: lead }, (_, axis) => axis);
  const op: NormalOp = {
    kind: 'contract',
    a,
    c,
    labelsA: [...batch, lead, lead + 2],
    labelsC: [...batch, lead + 2, lead + 1],
    labelsY: [...batch, lead, lead + 1],
    bias: undefined,
  };
  return emit(state, op, shape, node, y);
}

function convertGemm(state: State, node: FloatNode, y: number): number {
  const call = callOf(node);
  const b = constantAt(state, node, 1);
  const c = constantAt(state, node, 2);
  if (b === undefined || (node.inputs[2] !== undefined && c === undefined))
    throw noForm(node, 'constant weights and bias', 'computed ones');
  if (intAttribute(call, 'transA', 0) !== 0) throw noForm(node, 'transA 0', '1');
  const alpha = floatAttribute(call, 'alpha', 1);
  const beta = floatAttribute(call, 'beta', 1);
  const transB = intAttribute(call, 'transB', 0) !== 0;
  const weight =
    alpha === 1
      ? b
      : tensorOf(
          'float',
          b.shape,
          b.data.map((w) => alpha * w),
        );
  const rank2 =
    c === undefined ? undefined : reshaped(c, [...new Array<number>(2 - c.shape.length).fill(1), ...c.shape]);
  const bias =
    rank2 === undefined || beta === 1
      ? rank2
      : tensorOf(
          'float',
          rank2.shape,
          rank2.data.map((v) => beta * v),
        );
  const op: NormalOp = {
    kind: 'contract',
    a: operand(state, node, node.inputs[0]),
    c: weight,
    labelsA: [0, 2],
    labelsC: transB ? [1, 2] : [2, 1],
    labelsY: [0, 1],
    bias,
  };
  return emit(state, op, shapeOf(state, y), node, y);
}

function convertEinsum(state: State, node: FloatNode, y: number): number {
  const plan = planEinsum(callOf(node), typesOf(state, node));
  const letters = [...new Set([...plan.out, ...plan.a, ...plan.b])];
  const labels = (text: string): number[] => [...text].map((letter) => letters.indexOf(letter));
  const swap = constantAt(state, node, 0) !== undefined;
  const [dataIndex, otherIndex] = swap ? [1, 0] : [0, 1];
  const op: NormalOp = {
    kind: 'contract',
    a: operand(state, node, node.inputs[dataIndex]),
    c: constantAt(state, node, otherIndex) ?? operand(state, node, node.inputs[otherIndex]),
    labelsA: labels(swap ? plan.b : plan.a),
    labelsC: labels(swap ? plan.a : plan.b),
    labelsY: labels(plan.out),
    bias: undefined,
  };
  return emit(state, op, shapeOf(state, y), node, y);
}

function convertConv(state: State, node: FloatNode, y: number): number {
  const weight = constantAt(state, node, 1);
  const bias = constantAt(state, node, 2);
  if (weight === undefined || (node.inputs[2] !== undefined && bias === undefined))
    throw noForm(node, 'constant weights and bias', 'computed ones');
  const plan = planConv(callOf(node), typesOf(state, node));
  const [out, perGroup] = weight.shape as [number, number];
  const op: NormalOp = {
    kind: 'conv',
    x: operand(state, node, node.inputs[0]),
    weight: reshaped(weight, [out, perGroup, plan.kernelHeight, plan.kernelWidth]),
    bias,
    groups: plan.groups,
    window: plan,
  };
  return emit(state, op, shapeOf(state, y), node, y);
}

/** A constant with as many axes as the result. */
function widened(tensor: Tensor, rank: number): Tensor {
  return reshaped(tensor, [...new Array<number>(rank - tensor.shape.length).fill(1), ...tensor.shape]);
}

function convertSum(state: State, node: FloatNode, y: number, sign: 1 | -1): number {
  const shape = shapeOf(state, y);
  const [left, right] = [constantAt(state, node, 0), constantAt(state, node, 1)];
  if (left === undefined && right === undefined) {
    const [a, b] = [0, 1].map((i) => operand(state, node, node.inputs[i])) as [number, number];
    return emit(state, { kind: 'add', a, b, sign }, shape, node, y);
  }
  const known = widened((left ?? right) as Tensor, shape.length);
  const x = spread(state, node, operand(state, node, node.inputs[left === undefined ? 0 : 1]), shape);
  const data = right !== undefined && sign === -1 ? known.data.map((v) => -v) : known.data;
  const scale = left !== undefined ? sign : 1;
  return affine(state, node, x, constant(shape, [scale]), tensorOf('float', known.shape, data), y);
}

/** The value with the axes of a result it is broadcast to. */
function spread(state: State, node: FloatNode, x: number, shape: readonly number[]): number {
  const from = (state.values[x] as NormalValue).shape;
  if (sameShape(from, shape)) return x;
  const wide = [...new Array<number>(shape.length - from.length).fill(1), ...from];
  const ranked = from.length === shape.length ? x : emit(state, { kind: 'reshape', x }, wide, node);
  return sameShape(wide, shape) ? ranked : emit(state, { kind: 'expand', x: ranked }, shape, node);
}

function convertProduct(state: State, node: FloatNode, y: number): number {
  const shape = shapeOf(state, y);
  const [left, right] = [constantAt(state, node, 0), constantAt(state, node, 1)];
  const divides = node.op === 'Div';
  if (left === undefined && right === undefined) {
    if (divides) throw noForm(node, 'a constant divisor', 'a computed one');
    const ranked = [0, 1].map((i) =>
      rankedTo(state, node, operand(state, node, node.inputs[i]), shape.length),
    ) as [number, number];
    return emitProduct(state, node, ranked[0], ranked[1], shape, y);
  }
  if (divides && right === undefined) throw noForm(node, 'a constant divisor', 'a computed one');
  const known = widened((left ?? right) as Tensor, shape.length);
  const x = spread(state, node, operand(state, node, node.inputs[left === undefined ? 0 : 1]), shape);
  const scale = divides
    ? tensorOf(
        'float',
        known.shape,
        known.data.map((v) => 1 / v),
      )
    : known;
  return affine(state, node, x, scale, constant(shape, [0]), y);
}

function rankedTo(state: State, node: FloatNode, x: number, rank: number): number {
  const from = (state.values[x] as NormalValue).shape;
  if (from.length === rank) return x;
  return emit(
    state,
    { kind: 'reshape', x },
    [...new Array<number>(rank - from.length).fill(1), ...from],
    node,
  );
}

/** a ⊙ c as a contraction: an axis on which one operand is repeated is an axis of the other alone. */
function emitProduct(
  state: State,
  node: FloatNode,
  a: number,
  c: number,
  shape: readonly number[],
  y: number,
): number {
  const labels = shape.map((_, axis) => axis);
  const op: NormalOp = {
    kind: 'contract',
    a,
    c,
    labelsA: labels,
    labelsC: labels,
    labelsY: labels,
    bias: undefined,
  };
  return emit(state, op, shape, node, y);
}

function convertWhere(state: State, node: FloatNode, y: number): number {
  const condition = constantAt(state, node, 0);
  const [a, b] = [constantAt(state, node, 1), constantAt(state, node, 2)];
  if (condition === undefined || (a === undefined) === (b === undefined))
    throw noForm(node, 'a constant condition between a constant and a value', 'computed ones');
  const shape = shapeOf(state, y);
  const x = spread(state, node, operand(state, node, node.inputs[a === undefined ? 1 : 2]), shape);
  const mask = widened(condition, shape.length);
  const fill = (a ?? b) as Tensor;
  if (fill.data.length !== 1) throw noForm(node, 'one number for the other cells', formatShape(fill.shape));
  const keeps = (cell: number): boolean => (cell !== 0) === (a === undefined);
  const scale = tensorOf(
    'float',
    mask.shape,
    mask.data.map((cell) => (keeps(cell) ? 1 : 0)),
  );
  const shift = tensorOf(
    'float',
    mask.shape,
    mask.data.map((cell) => (keeps(cell) ? 0 : (fill.data[0] as number))),
  );
  return affine(state, node, x, scale, shift, y);
}

function convertBatchNorm(state: State, node: FloatNode, y: number): number {
  const operands = [1, 2, 3, 4].map((i) => constantAt(state, node, i));
  if (operands.some((tensor) => tensor === undefined))
    throw noForm(node, 'constant statistics', 'computed ones');
  const { scale, shift } = batchNormAffine(callOf(node), operands as [Tensor, Tensor, Tensor, Tensor]);
  const shape = shapeOf(state, y);
  const wide = shape.map((extent, axis) => (axis === 1 ? extent : 1));
  return affine(
    state,
    node,
    operand(state, node, node.inputs[0]),
    tensorOf('float', wide, scale),
    tensorOf('float', wide, shift),
    y,
  );
}

function convertScaler(state: State, node: FloatNode, y: number): number {
  const shape = shapeOf(state, y);
  const columns = shape.at(-1) ?? 1;
  const { offset, scale } = scalerOf(callOf(node), columns);
  const wide = shape.map((extent, axis) => (axis === shape.length - 1 ? extent : 1));
  const shift = offset.map((value, j) => -value * (scale[j] as number));
  return affine(
    state,
    node,
    operand(state, node, node.inputs[0]),
    tensorOf('float', wide, scale),
    tensorOf('float', wide, shift),
    y,
  );
}

function convertLayerNorm(state: State, node: FloatNode, y: number, centered: boolean): number {
  const call = callOf(node);
  const shape = shapeOf(state, y);
  const axis = axisOf(call, intAttribute(call, 'axis', -1), shape.length);
  if (axis !== shape.length - 1)
    throw noForm(node, 'a normalization along the last axis', `from axis ${axis}`);
  const [gain, shift] = [constantAt(state, node, 1), constantAt(state, node, 2)];
  if (
    (node.inputs[1] !== undefined && gain === undefined) ||
    (node.inputs[2] !== undefined && shift === undefined)
  )
    throw noForm(node, 'constant gain and shift', 'computed ones');
  const x = operand(state, node, node.inputs[0]);
  const unit = emit(
    state,
    { kind: 'norm', x, centered, epsilon: floatAttribute(call, 'epsilon', 1e-5) },
    shape,
    node,
  );
  const one = constant(shape, [1]);
  const zero = constant(shape, [0]);
  return affine(
    state,
    node,
    unit,
    gain === undefined ? one : widened(gain, shape.length),
    shift === undefined ? zero : widened(shift, shape.length),
    y,
  );
}

function convertReduce(state: State, node: FloatNode, y: number): number {
  const types = typesOf(state, node);
  const { axes, keep } = reduction(callOf(node), types);
  const x = operand(state, node, node.inputs[0]);
  const { shape } = state.values[x] as NormalValue;
  const cells = cellsOf(axes.map((axis) => shape[axis] as number));
  const kept = shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  const op: NormalOp = { kind: 'mean', x, axes, divisor: node.op === 'ReduceMean' ? cells : 1 };
  if (keep) return emit(state, op, kept, node, y);
  const mean = emit(state, op, kept, node, y);
  return emit(state, { kind: 'reshape', x: mean }, shapeOf(state, y), node, y);
}

function convertSoftmax(state: State, node: FloatNode, y: number): number {
  const shape = shapeOf(state, y);
  const axis = axisOf(callOf(node), intAttribute(callOf(node), 'axis', -1), shape.length);
  let x = operand(state, node, node.inputs[0]);
  if (axis !== shape.length - 1)
    throw noForm(node, 'a softmax along the last axis', `axis ${axis} of ${shape.length}`);
  const masked = state.producers.get(x)?.op;
  let causal = false;
  if (masked?.kind === 'affine' && masked.shift.data.some((value) => value <= MASKED_BELOW)) {
    if (!isCausal(masked.shift) || !keepsUnmasked(masked.scale, masked.shift))
      throw noForm(node, 'a mask of the later positions (causal)', 'another mask');
    causal = true;
    x = masked.x;
  }
  return emit(state, { kind: 'softmax', x, causal }, shape, node, y);
}

/** What is not masked is left as it is. */
function keepsUnmasked(scale: Tensor, shift: Tensor): boolean {
  if (scale.data.length === 1) return scale.data[0] === 1;
  return (
    scale.data.length === shift.data.length &&
    scale.data.every((by, i) => by === 1 || (shift.data[i] as number) <= MASKED_BELOW)
  );
}

/** Masked exactly where the last index exceeds the one before it. */
function isCausal({ shape, data }: Tensor): boolean {
  const [rows, columns] = shape.slice(-2);
  if (rows === undefined || columns === undefined || rows !== columns || data.length % (rows * columns) !== 0)
    return false;
  for (let i = 0; i < data.length; i++) {
    const isLater = i % columns > Math.floor(i / columns) % rows;
    const value = data[i] as number;
    if (isLater ? value > MASKED_BELOW : value !== 0) return false;
  }
  return true;
}

function convertGather(state: State, node: FloatNode, y: number): number {
  const [table, indices] = [constantAt(state, node, 0), constantAt(state, node, 1)];
  const call = callOf(node);
  const shape = shapeOf(state, y);
  if (table !== undefined) {
    const axis = axisOf(call, intAttribute(call, 'axis', 0), table.shape.length);
    if (axis !== 0 || table.type !== 'float')
      throw noForm(node, 'rows of a table of numbers', `axis ${axis} of ${table.type}`);
    return emit(state, { kind: 'gather', ids: operand(state, node, node.inputs[1]), table }, shape, node, y);
  }
  const x = operand(state, node, node.inputs[0]);
  const from = (state.values[x] as NormalValue).shape;
  if (indices === undefined) throw noForm(node, 'a constant table or constant positions', 'both computed');
  const axis = axisOf(call, intAttribute(call, 'axis', 0), from.length);
  const extent = from[axis] as number;
  const positions = Array.from(indices.data, (index) => (index < 0 ? index + extent : index));
  const step = positions.length > 1 ? (positions[1] as number) - (positions[0] as number) : 1;
  if (step < 1 || positions.some((position, i) => position !== (positions[0] as number) + i * step))
    throw noForm(node, 'positions at equal steps forward', `[${positions.slice(0, 8).join(', ')}]`);
  const starts = from.map((_, a) => (a === axis ? (positions[0] as number) : 0));
  const steps = from.map((_, a) => (a === axis ? step : 1));
  const cut = from.map((e, a) => (a === axis ? positions.length : e));
  const sliced = emit(
    state,
    { kind: 'slice', x, starts, steps },
    cut,
    node,
    sameShape(cut, shape) ? y : undefined,
  );
  return sameShape(cut, shape) ? sliced : emit(state, { kind: 'reshape', x: sliced }, shape, node, y);
}

function convertArgMax(state: State, node: FloatNode, y: number): number {
  const x = operand(state, node, node.inputs[0]);
  const { shape } = state.values[x] as NormalValue;
  const axis = axisOf(callOf(node), intAttribute(callOf(node), 'axis', 0), shape.length);
  if (axis !== shape.length - 1)
    throw noForm(node, 'an ArgMax along the last axis', `axis ${axis} of ${shape.length}`);
  const hot = emit(state, { kind: 'top1', x }, shape, node);
  const kept = shape.map((extent, a) => (a === axis ? 1 : extent));
  const index = emit(state, { kind: 'index', x: hot }, kept, node, y);
  const out = shapeOf(state, y);
  return sameShape(kept, out) ? index : emit(state, { kind: 'reshape', x: index }, out, node, y);
}

/** The one-hot vector that a position of a largest was made from. */
function oneHotBehind(state: State, value: number): number | undefined {
  let at: number | undefined = value;
  while (at !== undefined) {
    const op: NormalOp | undefined = state.producers.get(at)?.op;
    if (op?.kind === 'index') return op.x;
    at = op?.kind === 'reshape' ? op.x : undefined;
  }
  return undefined;
}

function convertOneHotByEqual(state: State, node: FloatNode, y: number): number {
  const known = constantAt(state, node, 0) ?? constantAt(state, node, 1);
  const x = operand(state, node, node.inputs[constantAt(state, node, 0) === undefined ? 0 : 1]);
  const hot = oneHotBehind(state, x);
  const shape = shapeOf(state, y);
  const counts =
    known !== undefined && known.data.length === shape.at(-1) && known.data.every((v, i) => v === i);
  if (hot === undefined || !counts)
    throw noForm(node, 'a position of a largest against 0, 1, 2, …', 'another comparison');
  return sameCells(state, node, hot, shape, y);
}

function convertOneHot(state: State, node: FloatNode, y: number): number {
  const hot = oneHotBehind(state, operand(state, node, node.inputs[0]));
  const values = constantAt(state, node, 2);
  const shape = shapeOf(state, y);
  const axis = axisOf(callOf(node), intAttribute(callOf(node), 'axis', -1), shape.length);
  if (hot === undefined || values?.data[0] !== 0 || values.data[1] !== 1 || axis !== shape.length - 1)
    throw noForm(node, 'a one-hot vector of a largest, 0 and 1, along the last axis', 'another');
  return sameCells(state, node, hot, shape, y);
}

function sameCells(state: State, node: FloatNode, x: number, shape: readonly number[], y: number): number {
  const from = (state.values[x] as NormalValue).shape;
  if (cellsOf(from) !== cellsOf(shape)) throw noForm(node, `${formatShape(shape)}`, formatShape(from));
  return sameShape(from, shape) ? x : emit(state, { kind: 'reshape', x }, shape, node, y);
}

/** The outputs that were asked for, or those that are numbers with a fraction, or else all. */
function chooseOutputs(
  graph: FloatGraph,
  wanted: readonly string[] | undefined,
): { readonly outputs: readonly number[]; readonly notes: string[] } {
  const named = graph.outputs.map((index) => ({ index, value: graph.values[index] as FloatValue }));
  const floats = named.filter(({ value }) => value.type === 'float');
  const names = named.map(({ value }) => value.name);
  const missing = wanted?.find((name) => !names.includes(name));
  if (missing !== undefined) {
    const known = names.map((name) => JSON.stringify(name)).join(' or ');
    throw new MalformedError('onnx.output', 'options.outputs', known, JSON.stringify(missing));
  }
  const kept = wanted?.map((name) => named[names.indexOf(name)] as (typeof named)[number]);
  const chosen = kept ?? (floats.length > 0 ? floats : named);
  const dropped = named.filter((each) => !chosen.includes(each));
  return {
    outputs: chosen.map(({ index }) => index),
    notes: dropped.map(({ value }) => `output ${JSON.stringify(value.name)} is left out`),
  };
}

function convertedOutput(state: State, index: number): number {
  const found = state.normalOf.get(index);
  if (found === undefined) {
    const node = state.graph.nodes.find(({ outputs }) => outputs.includes(index));
    const got = node === undefined ? 'a constant' : node.op;
    throw new MalformedError(
      'onnx.unsupported',
      node?.place ?? 'model.graph',
      'an operator with an integer form',
      got,
    );
  }
  return beforeSoftmax(state, found, (state.graph.values[index] as FloatValue).name);
}

/** A softmax at the end does not change the order of scores, and its probabilities have few bits: scores are given. */
function beforeSoftmax(state: State, value: number, name: string): number {
  const op = state.producers.get(value)?.op;
  if (op?.kind !== 'softmax' || op.causal) return value;
  state.notes.push(
    `output ${JSON.stringify(name)} is given before its softmax, which does not change the order`,
  );
  return op.x;
}
