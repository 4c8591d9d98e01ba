/**
 * From an ONNX model to a float graph of one inference: names resolved, operators checked, shapes inferred, constants
 * computed. Nothing here depends on data, so whatever is wrong with a model is said before any long work starts.
 */
import { MalformedError } from '@haca/primitives';
import {
  callOf,
  type FloatGraph,
  type FloatNode,
  type FloatValue,
  ML_OPS,
  multiplicationsOf,
  OPS,
} from '../float/graph.ts';
import { linearModelOf } from '../float/linear.ts';
import { type OpDefinition, type Operands, textAttribute } from '../float/op.ts';
import { cellsOf, checkShape, type Tensor, type TensorType, tensorOf } from '../float/tensor.ts';
import { type OnnxModel, type OnnxNode, type OnnxValueInfo, parseOnnx } from './model.ts';

/** Sum of the cells of all intermediate values of one inference. */
const ACTIVATION_CELLS_MAX = 2 ** 30;
/** Cells of constants that folding may add to those in the file. */
const FOLDED_CELLS_MAX = 2 ** 26;
/** Multiplications that folding may take, and one inference. */
const FOLDED_WORK_MAX = 2 ** 31;
const WORK_MAX = 2 ** 34;

export interface ImportedModel {
  readonly graph: FloatGraph;
  readonly producer: string;
  readonly opset: number;
  /** Whether the first axis of the inputs is a batch, of which the graph holds one. */
  readonly batched: boolean;
}

/** Reads, checks and types a model; a dynamic batch axis gets `batchSize`. Throws `MalformedError`; see the codes in README.md. */
export function importGraph(bytes: Uint8Array, batchSize = 1): ImportedModel {
  const model = parseOnnx(bytes);
  const state = createState();
  const batched = declareInputs(state, model.inputs, batchSize);
  for (const [name, constant] of model.initializers)
    declare(state, { ...constant, name, constant }, 'model.graph');
  for (const node of model.nodes)
    for (const each of expandLinearModel(state, model, node)) addNode(state, model, each);
  const outputs = model.outputs.map(({ name }, i) => {
    const index = state.byName.get(name);
    if (index === undefined)
      throw new MalformedError(
        'onnx.graph',
        `model.graph.output[${i}]`,
        'the name of a value',
        JSON.stringify(name),
      );
    return index;
  });
  const inputs = model.inputs.map(({ name }) => state.byName.get(name) as number);
  const graph = pruned({ values: state.values, nodes: state.nodes, inputs, outputs });
  const work = multiplicationsOf(graph);
  if (work > WORK_MAX)
    throw new MalformedError(
      'model.too-large',
      'model.graph',
      `at most ${WORK_MAX} multiplications`,
      `${work}`,
    );
  return { graph, producer: model.producer, opset: model.opset, batched };
}

interface State {
  readonly values: FloatValue[];
  readonly nodes: FloatNode[];
  readonly byName: Map<string, number>;
  activationCells: number;
  foldedCells: number;
  foldedWork: number;
}

function createState(): State {
  return { values: [], nodes: [], byName: new Map(), activationCells: 0, foldedCells: 0, foldedWork: 0 };
}

function declare(state: State, value: FloatValue, path: string): number {
  if (state.byName.has(value.name))
    throw new MalformedError('onnx.graph', path, 'a name used once', JSON.stringify(value.name));
  checkShape(value.shape, `${path} ${JSON.stringify(value.name)}`);
  state.byName.set(value.name, state.values.length);
  state.values.push(value);
  return state.values.length - 1;
}

/** A dynamic first axis is a batch; no other axis may be dynamic. */
function declareInputs(state: State, inputs: readonly OnnxValueInfo[], batchSize: number): boolean {
  if (inputs.length === 0) throw new MalformedError('onnx.graph', 'model.graph', 'an input', 'none');
  let batched: boolean | undefined;
  for (const [i, { name, type, shape }] of inputs.entries()) {
    const path = `model.graph.input[${i}] ${JSON.stringify(name)}`;
    if (type === undefined || shape === undefined)
      throw new MalformedError('onnx.input', path, 'a tensor of numbers with a shape', 'something else');
    const dynamic = shape.findIndex((extent, axis) => axis > 0 && extent === undefined);
    if (dynamic !== -1)
      throw new MalformedError(
        'onnx.dynamic-axis',
        path,
        'dynamic extents in axis 0 only',
        `axis ${dynamic}`,
      );
    const own = shape.length > 1 && (shape[0] === undefined || shape[0] === 1);
    if (shape.length > 0 && shape[0] === undefined && shape.length === 1)
      throw new MalformedError(
        'onnx.dynamic-axis',
        path,
        'an input with axes beside the batch',
        'a dynamic vector',
      );
    if (batched !== undefined && batched !== own)
      throw new MalformedError('onnx.input', path, 'a batch axis on every input or none', 'both');
    batched = own;
    const extents = shape.map((extent) => extent ?? batchSize);
    declare(state, { name, type, shape: extents }, path);
    addActivation(state, extents, path);
  }
  return batched ?? false;
}

function addActivation(state: State, shape: readonly number[], path: string): void {
  state.activationCells += cellsOf(shape);
  if (state.activationCells > ACTIVATION_CELLS_MAX) {
    const limit = `at most ${ACTIVATION_CELLS_MAX} cells in all values`;
    throw new MalformedError('model.too-large', path, limit, `${state.activationCells}`);
  }
}

/** The linear models of ai.onnx.ml as a product, an activation and, for labels, the position of the largest score. */
function expandLinearModel(state: State, model: OnnxModel, node: OnnxNode): readonly OnnxNode[] {
  if (node.domain !== 'ai.onnx.ml' || !/^Linear(?:Classifier|Regressor)$/.test(node.opType)) return [node];
  const isClassifier = node.opType === 'LinearClassifier';
  const call = {
    op: node.opType,
    attributes: node.attributes,
    place: node.place,
    opset: model.opset,
    outputCount: 1,
  };
  const index = state.byName.get(node.inputs[0] ?? '');
  const { coefficients, intercepts, classes, features } = linearModelOf(call, [
    index === undefined ? undefined : state.values[index],
  ]);
  const post = textAttribute(call, 'post_transform', 'NONE');
  const activation = { NONE: 'Identity', SOFTMAX: 'Softmax', LOGISTIC: 'Sigmoid' }[post];
  if (activation === undefined || (isClassifier && classes < 2)) {
    const expected = 'a score per class, post_transform NONE, SOFTMAX or LOGISTIC';
    throw new MalformedError('onnx.unsupported', node.place, expected, `${classes} of ${post}`);
  }
  const name = (suffix: string): string => `${node.place} ${suffix}`;
  const constant = (suffix: string, tensor: Tensor): string => {
    declare(state, { ...tensor, name: name(suffix), constant: tensor }, node.place);
    return name(suffix);
  };
  const weight = constant('coefficients', tensorOf('float', [classes, features], coefficients));
  const zeros = new Float64Array(classes);
  const bias = constant(
    'intercepts',
    tensorOf('float', [classes], intercepts.length === 0 ? zeros : intercepts),
  );
  const make = (
    opType: string,
    inputs: readonly string[],
    output: string,
    attributes: OnnxNode['attributes'],
  ): OnnxNode => ({
    ...node,
    domain: '',
    opType,
    inputs,
    outputs: [output],
    attributes,
  });
  const [labels, scores] = isClassifier ? [node.outputs[0], node.outputs[1]] : [undefined, node.outputs[0]];
  const transB = new Map([['transB', { kind: 'int', value: 1 } as const]]);
  const lastAxis = new Map([
    ['axis', { kind: 'int', value: 1 } as const],
    ['keepdims', { kind: 'int', value: 0 } as const],
  ]);
  return [
    make('Gemm', [node.inputs[0] as string, weight, bias], name('scores'), transB),
    make(
      activation,
      [name('scores')],
      scores === undefined || scores === '' ? name('result') : scores,
      new Map(),
    ),
    ...(labels === undefined || labels === '' ? [] : [make('ArgMax', [name('scores')], labels, lastAxis)]),
  ];
}

function addNode(state: State, model: OnnxModel, node: OnnxNode): void {
  const definition = OPS[node.opType];
  const known =
    node.domain === '' ? !ML_OPS.has(node.opType) : node.domain === 'ai.onnx.ml' && ML_OPS.has(node.opType);
  if (definition === undefined || !known || !Object.hasOwn(OPS, node.opType)) {
    const got = node.domain === '' ? node.opType : `${node.domain}.${node.opType}`;
    throw new MalformedError('onnx.unsupported-op', node.place, 'an operator that can be imported', got);
  }
  const inputs = node.inputs.map((name) => {
    if (name === '') return undefined;
    const index = state.byName.get(name);
    if (index === undefined)
      throw new MalformedError(
        'onnx.graph',
        node.place,
        'operands that stand before the node',
        JSON.stringify(name),
      );
    return index;
  });
  while (inputs.length > 0 && inputs[inputs.length - 1] === undefined) inputs.pop();
  const named = [...node.outputs];
  while (named.length > 1 && named[named.length - 1] === '') named.pop();
  const typed: FloatNode = {
    op: node.opType,
    attributes: node.attributes,
    place: node.place,
    opset: model.opset,
    inputs,
    outputs: named.map((_, i) => i),
  };
  addResults(state, typed, definition, named);
}

/** At least the multiplications of a product of constants. */
function workOf(op: string, operands: Operands, types: readonly TensorType[]): number {
  const cells = types.reduce((sum, { shape }) => sum + cellsOf(shape), 0);
  const [a, b] = operands;
  if (op === 'MatMul' || op === 'Gemm') return cells * Math.max(...(a?.shape ?? [1]));
  if (op === 'Conv' || op === 'Einsum') return cells * cellsOf(b?.shape ?? []);
  return cells;
}

/** Operators whose result depends on the operand's shape alone. */
const SHAPE_OPS: ReadonlySet<string> = new Set(['Shape', 'Size']);

function addResults(state: State, node: FloatNode, definition: OpDefinition, names: readonly string[]): void {
  const call = callOf(node);
  const operands = node.inputs.map((index) => {
    const value = index === undefined ? undefined : (state.values[index] as FloatValue);
    return value === undefined
      ? undefined
      : { type: value.type, shape: value.shape, data: value.constant?.data };
  });
  const types = definition.infer(call, operands);
  for (const { shape } of types) checkShape(shape, node.place);
  const isConstant = operands.every((operand) => operand === undefined || operand.data !== undefined);
  let constants: readonly Tensor[] | undefined;
  if (isConstant || SHAPE_OPS.has(node.op)) {
    state.foldedCells += types.reduce((cells, { shape }) => cells + cellsOf(shape), 0);
    if (state.foldedCells > FOLDED_CELLS_MAX)
      throw new MalformedError(
        'model.too-large',
        node.place,
        `at most ${FOLDED_CELLS_MAX} computed constants`,
        'more',
      );
    state.foldedWork += workOf(node.op, operands, types);
    if (state.foldedWork > FOLDED_WORK_MAX)
      throw new MalformedError(
        'model.too-large',
        node.place,
        `constants of ${FOLDED_WORK_MAX} multiplications`,
        'more',
      );
    constants = definition.evaluate(call, operands as readonly (Tensor | undefined)[]);
  }
  const outputs = names.map((name, i) => {
    const type = types[i];
    if (type === undefined)
      throw new MalformedError(
        'onnx.graph',
        node.place,
        `at most ${types.length} results`,
        `${names.length}`,
      );
    if (constants === undefined) addActivation(state, type.shape, node.place);
    const own = name === '' ? `${node.place}#${i}` : name;
    return declare(
      state,
      { name: own, type: type.type, shape: type.shape, constant: constants?.[i] },
      node.place,
    );
  });
  if (constants === undefined) state.nodes.push({ ...node, outputs });
}

/** Without nodes that no output depends on. */
export function pruned(graph: FloatGraph): FloatGraph {
  const needed = new Set(graph.outputs);
  const kept: FloatNode[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i] as FloatNode;
    if (!node.outputs.some((index) => needed.has(index))) continue;
    kept.push(node);
    for (const index of node.inputs) if (index !== undefined) needed.add(index);
  }
  return { ...graph, nodes: kept.reverse() };
}
