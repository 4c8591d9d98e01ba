/**
 * From the normal form to a verifying key with weights. A value is computed where it is first needed: either rounded to
 * few bits (`anchored`), or as the sum it is made of (`expressionOf`), which the next rounding takes up.
 */
import { type AxisRelation, softmaxScales } from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import { cellsOf, type Tensor, walk } from '../float/tensor.ts';
import type { Window2d } from '../float/window.ts';
import {
  type ContractOp,
  type ConvOp,
  type NormalGraph,
  type NormalNode,
  type NormalOp,
  type NormalValue,
  operandsOf,
} from '../normal/normal-graph.ts';
import { type Atoms, findAtoms, isAligned, isTrivialWindow } from './atoms.ts';
import {
  type BiasTerm,
  bestTop,
  type Expression,
  type FixedTerm,
  type FreeTerm,
  functionTarget,
  plainTarget,
  publishExpression,
  type Quantized,
  requantizeExpression,
  scaledExpression,
  type Target,
} from './expression.ts';
import {
  createKeyBuilder,
  type KeyBuilder,
  type KeyParts,
  type KeyTensor,
  kindFor,
  sameBits,
} from './key-builder.ts';
import { bestMagnitude, type Distribution, type Ranges } from './ranges.ts';
import { axisBits, recut, type Shift, shifted, viewed } from './views.ts';

export interface LowerOptions {
  /** Bits of activations between layers, 8 to 12. */
  readonly activationBits: number;
  /** Bits of the steps in which a function's argument is read, 8 to 12. */
  readonly functionBits: number;
  /** Bits of weights, 8 to 12. */
  readonly weightBits: number;
  /** Whether the first axis of inputs and outputs is a batch. */
  readonly batched: boolean;
}

/** How an input or output of the model is told in integers: real = scale · integer. */
export interface Port {
  readonly name: string;
  readonly tensor: number;
  readonly scale: number;
  /** As the model declares it, without a batch. */
  readonly shape: readonly number[];
}

export interface Layer {
  readonly place: string;
  readonly kind: string;
  readonly extents: readonly number[];
  readonly lo: number;
  readonly hi: number;
  readonly scale: number;
}

export interface Lowered {
  readonly parts: KeyParts;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly layers: readonly Layer[];
}

interface State {
  readonly graph: NormalGraph;
  readonly ranges: Ranges;
  readonly options: LowerOptions;
  readonly atoms: Atoms;
  readonly builder: KeyBuilder;
  readonly producers: ReadonlyMap<number, NormalNode>;
  readonly positions: ReadonlyMap<NormalNode, number>;
  readonly uses: ReadonlyMap<number, number>;
  readonly readers: ReadonlyMap<number, readonly NormalOp[]>;
  readonly termCounts: Map<number, number>;
  readonly anchors: Map<number, Quantized>;
  readonly layers: Layer[];
  /** Values that feed a maximum, which compares bytes. */
  readonly bytes: ReadonlySet<number>;
}

/** Throws `MalformedError` (`model.accumulator`, `model.too-large`, `onnx.unsupported`). */
export function lower(graph: NormalGraph, ranges: Ranges, options: LowerOptions): Lowered {
  if (graph.nodes.length > NODES_MAX)
    throw new MalformedError(
      'model.too-large',
      'model.graph',
      `at most ${NODES_MAX} operators`,
      `${graph.nodes.length}`,
    );
  const uses = new Map<number, number>();
  const readers = new Map<number, NormalOp[]>();
  for (const { op } of graph.nodes) {
    for (const x of operandsOf(op)) {
      uses.set(x, (uses.get(x) ?? 0) + 1);
      readers.set(x, [...(readers.get(x) ?? []), op]);
    }
  }
  for (const y of graph.outputs) uses.set(y, (uses.get(y) ?? 0) + 1);
  const state: State = {
    graph,
    ranges,
    options,
    atoms: findAtoms(graph),
    builder: createKeyBuilder(),
    producers: new Map(graph.nodes.map((node) => [node.y, node])),
    positions: new Map(graph.nodes.map((node, i) => [node, i])),
    uses,
    readers,
    termCounts: new Map(),
    anchors: new Map(),
    layers: [],
    bytes: findBytes(graph),
  };
  const inputs = graph.inputs.map((value) => declareInput(state, value));
  // In the model's order, so that recursion stays shallow however deep the model is.
  for (const node of graph.nodes) if (isAnchoredEagerly(state, node)) anchored(state, node.y);
  const outputs = graph.outputs.map((value) => declareOutput(state, value));
  return { parts: state.builder.finish(), inputs, outputs, layers: state.layers };
}

/** Operators of the normal form: recursion stays shallow, and no key holds more. */
const NODES_MAX = 2_048;
/** Operands of one sum. */
const INLINE_TERMS = 12;
const CONCAT_MAX = 48;
/** Bits of values of which only the largest counts: rounding makes ties. */
const COMPARED_BITS = 12;
/** Bits of an output that has to be rounded though nothing else is. */
const OUTPUT_BITS = 12;
const OUTPUT_ROOM = 4;

function at(
  state: State,
  place: string,
): { readonly place: string; readonly output: boolean; readonly weightMax: number } {
  return { place, output: false, weightMax: 2 ** (state.options.weightBits - 1) - 1 };
}

const LINEAR: ReadonlySet<NormalOp['kind']> = new Set([
  'contract',
  'conv',
  'gather',
  'add',
  'affine',
  'mean',
  'averagePool',
  'concat',
]);

function isLinear(state: State, value: number): boolean {
  const op = state.producers.get(value)?.op;
  if (op === undefined) return false;
  return LINEAR.has(op.kind) || (op.kind === 'reshape' && passesThrough(state, op.x, value));
}

/** Whether a value may be taken up by its one reader instead of being rounded. */
function isInline(state: State, value: number): boolean {
  const isTakenOnce = state.uses.get(value) === 1 && !state.graph.outputs.includes(value);
  return isTakenOnce && isLinear(state, value) && termCount(state, value) <= INLINE_TERMS;
}

/** How many products and operands the sum behind a value has. */
function termCount(state: State, value: number): number {
  const known = state.termCounts.get(value);
  if (known !== undefined) return known;
  // Values that are no sums, or are being counted, are one operand.
  state.termCounts.set(value, 1);
  const op = state.producers.get(value)?.op;
  const inner = (x: number): number => (isInline(state, x) ? termCount(state, x) : 1);
  let count = 1;
  if (op?.kind === 'add') count = inner(op.a) + inner(op.b);
  else if (op?.kind === 'affine' || op?.kind === 'reshape') count = inner(op.x);
  else if (op?.kind === 'concat') count = op.xs.length;
  state.termCounts.set(value, count);
  return count;
}

/** Values that a maximum compares must lie within 255 of each other: so must what they are merely moved from. */
function findBytes(graph: NormalGraph): Set<number> {
  const bytes = new Set<number>();
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const { op, y } = graph.nodes[i] as NormalNode;
    if (op.kind === 'maxPool') bytes.add(op.x);
    else if (bytes.has(y) && 'x' in op && MOVING.has(op.kind)) bytes.add(op.x);
  }
  return bytes;
}

const MOVING: ReadonlySet<NormalOp['kind']> = new Set([
  'reshape',
  'transpose',
  'slice',
  'expand',
  'pad',
  'affine',
]);

/** A reshape of a sum that is read once, and whose axes are cut alike: the sum itself under other names. */
function passesThrough(state: State, x: number, y: number): boolean {
  return isInline(state, x) && flat(state, x).join() === flat(state, y).join();
}

function isAnchoredEagerly(state: State, { op, y }: NormalNode): boolean {
  if (state.graph.outputs.includes(y)) return false;
  if (!isLinear(state, y)) return op.kind !== 'top1' && op.kind !== 'index';
  return !isInline(state, y);
}

function shapeOf(state: State, value: number): readonly number[] {
  return (state.graph.values[value] as NormalValue).shape;
}

/** Extents of a value in the key. */
function flat(state: State, value: number): readonly number[] {
  return (state.atoms[value] as Atoms[number]).flat();
}

function rangeOf(state: State, value: number, place: string): Distribution {
  const range = state.ranges.values[value];
  if (range === undefined || range.count === 0)
    throw new MalformedError(
      'onnx.unsupported',
      place,
      'a value whose range is known',
      'an intermediate one',
    );
  return range;
}

function declareInput(state: State, value: number): Port {
  const { name, shape } = state.graph.values[value] as NormalValue;
  const extents = flat(state, value);
  const readers = state.readers.get(value) ?? [];
  const tables = readers.flatMap((op) => (op.kind === 'gather' ? [op.table.shape[0] as number] : []));
  const port = (tensor: KeyTensor, scale: number): Port => {
    state.anchors.set(value, { tensor, scale });
    return { name, tensor: tensor.id, scale, shape: rowShape(state, shape) };
  };
  if (tables.length > 0) {
    const rows = tables[0] as number;
    if (tables.length < readers.length || tables.some((each) => each !== rows))
      throw new MalformedError(
        'onnx.unsupported',
        `input ${JSON.stringify(name)}`,
        'ids of one table',
        'ids used otherwise',
      );
    return port(state.builder.input('id', extents, 0, rows - 1), 1);
  }
  const range = rangeOf(state, value, `input ${JSON.stringify(name)}`);
  const top = Math.max(Math.abs(range.min), Math.abs(range.max), 1e-9);
  const signed = range.min < 0;
  if (range.isInteger && range.min >= -128 && range.max <= (signed ? 127 : 255)) {
    // Bytes as they are, in the least power of two that was seen: bounds on sums rest on it.
    const half = 2 ** Math.ceil(Math.log2(top + (range.max === top ? 1 : 0)));
    const [lo, hi] = signed ? [-half, half - 1] : [0, half - 1];
    return port(state.builder.input(kindFor(lo, hi), extents, lo, hi), 1);
  }
  const bits = state.bytes.has(value) ? 8 : state.options.activationBits;
  const [lo, hi] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  return port(state.builder.input(kindFor(lo, hi), extents, lo, hi), top / hi);
}

function declareOutput(state: State, value: number): Port {
  const { name, shape } = state.graph.values[value] as NormalValue;
  const place = state.producers.get(value)?.place ?? 'model.graph';
  const found = publish(state, value, place);
  return { name, tensor: found.tensor.id, scale: found.scale, shape: rowShape(state, shape) };
}

/** Without the batch axis, where there is one. */
function rowShape(state: State, shape: readonly number[]): readonly number[] {
  return state.options.batched && shape[0] === 1 ? shape.slice(1) : shape;
}

function publish(state: State, value: number, place: string): Quantized {
  const isRead = (state.uses.get(value) ?? 0) > 1;
  if (isLinear(state, value) && !isRead) {
    const expression = expressionOf(state, value);
    const made = state.builder.hasLookups()
      ? publishExpression(state.builder, expression, at(state, place))
      : roundedOutput(state, value, expression, place);
    note(state, value, 'output', made);
    return made;
  }
  const { tensor, scale } = anchored(state, value);
  // A sum with one term: the value again, as a public tensor.
  const output = state.builder.sum(
    [{ x: tensor, coefficient: 1, bits: sameBits(tensor.extents) }],
    tensor.extents,
    0,
    true,
  );
  return { tensor: output, scale };
}

/** Of a model without any rounding, which would leave nothing to prove it by; with room above what was seen. */
function roundedOutput(state: State, value: number, expression: Expression, place: string): Quantized {
  const range = rangeOf(state, value, place);
  const magnitude = OUTPUT_ROOM * Math.max(Math.abs(range.min), Math.abs(range.max), 1e-9);
  const target = plainTarget(magnitude, OUTPUT_BITS, true);
  return requantizeExpression(state.builder, expression, target, { ...at(state, place), output: true });
}

function note(state: State, value: number, kind: string, { tensor, scale }: Quantized): void {
  const place = state.producers.get(value)?.place ?? '';
  state.layers.push({ place, kind, extents: tensor.extents, lo: tensor.lo, hi: tensor.hi, scale });
}

/** The value in few bits, cut into its own axes. */
function anchored(state: State, value: number): Quantized {
  const known = state.anchors.get(value);
  if (known !== undefined) return known;
  const node = state.producers.get(value) as NormalNode;
  const made = anchor(state, node);
  const { tensor } = made;
  const fitted = { ...made, tensor: recut(state.builder, tensor, flat(state, value)) };
  state.anchors.set(value, fitted);
  return fitted;
}

function anchor(state: State, node: NormalNode): Quantized {
  const { op, y, place } = node;
  switch (op.kind) {
    case 'pointwise':
      return anchorPointwise(state, node, op);
    case 'maxPool':
      return maxPool(state, op.x, op.window);
    case 'softmax':
      return anchorSoftmax(state, node, op);
    case 'norm':
      return anchorNorm(state, node, op);
    case 'top1':
      return { tensor: state.builder.top1(anchored(state, op.x).tensor, false), scale: 1 };
    case 'index':
      return index(state, op.x);
    case 'reshape':
      if (passesThrough(state, op.x, y)) break;
      return anchored(state, op.x);
    case 'transpose':
    case 'slice':
    case 'expand':
    case 'pad':
      return move(state, op, y);
    case 'affine': {
      const rescaled = rescaledOperand(state, op);
      if (rescaled !== undefined) return rescaled;
      break;
    }
    default:
  }
  const target = plainFor(state, y, place);
  const made = requantizeExpression(state.builder, expressionOf(state, y), target, at(state, place));
  note(state, y, op.kind, made);
  return made;
}

/** A positive factor on a value that is rounded already: the same integers, each worth more or less. */
function rescaledOperand(state: State, op: Extract<NormalOp, { kind: 'affine' }>): Quantized | undefined {
  const factor = op.scale.data[0] as number;
  const isPlain =
    factor > 0 &&
    op.scale.data.every((value) => value === factor) &&
    op.shift.data.every((value) => value === 0);
  if (!isPlain || isInline(state, op.x) || state.bytes.has(op.x)) return undefined;
  const { tensor, scale } = anchored(state, op.x);
  return { tensor, scale: scale * factor };
}

function plainFor(state: State, value: number, place: string): Target {
  const range = rangeOf(state, value, place);
  const bits = bitsFor(state, value);
  const signed = range.min < 0;
  return plainTarget(bestMagnitude(range, signed ? 2 ** (bits - 1) : 2 ** bits), bits, signed);
}

/** What only functions read is read as finely as functions are. */
function bitsFor(state: State, value: number): number {
  if (state.bytes.has(value)) return 8;
  const { activationBits, functionBits } = state.options;
  const kinds = (state.readers.get(value) ?? []).map(({ kind }) => kind);
  if (kinds.length > 0 && kinds.every((kind) => kind === 'pointwise'))
    return Math.max(activationBits, functionBits);
  return kinds.length > 0 && kinds.every((kind) => kind === 'top1') ? COMPARED_BITS : activationBits;
}

function anchorPointwise(
  state: State,
  node: NormalNode,
  op: Extract<NormalOp, { kind: 'pointwise' }>,
): Quantized {
  const { y, place } = node;
  const plain = plainFor(state, y, place);
  const limits = { lo: Math.min(...plain.values), hi: Math.max(...plain.values) };
  if (!isInline(state, op.x)) return tableOn(state, node, op, plain.scale, limits);
  const from = rangeOf(state, op.x, place);
  const isRelu = limits.lo === 0 && isReluLike(op.function.of, from);
  const target = isRelu
    ? plain
    : functionTarget(op.function, from, state.options.functionBits, plain.scale, limits);
  const made = requantizeExpression(state.builder, expressionOf(state, op.x), target, at(state, place));
  note(state, y, op.function.label, made);
  return made;
}

/** A function that is max(x, 0) wherever it was seen: rounding and saturation alone do it. */
function isReluLike(of: (points: Float64Array) => Float64Array, { min, max }: Distribution): boolean {
  const points = Float64Array.from({ length: 65 }, (_, i) => min + ((max - min) * i) / 64);
  const got = of(points);
  return points.every((p, i) => Math.abs((got[i] as number) - Math.max(0, p)) <= 1e-5 * (1 + Math.abs(p)));
}

/** A function of a value that is rounded already: a table of all its values. */
function tableOn(
  state: State,
  { y }: NormalNode,
  op: Extract<NormalOp, { kind: 'pointwise' }>,
  scale: number,
  limits: { readonly lo: number; readonly hi: number },
): Quantized {
  const x = anchored(state, op.x);
  const count = x.tensor.hi - x.tensor.lo + 1;
  const points = Float64Array.from({ length: count }, (_, i) => (x.tensor.lo + i) * x.scale);
  const values = Array.from(op.function.of(points), (value) => {
    const rounded = Math.round((Number.isFinite(value) ? value : 0) / scale);
    return Math.max(limits.lo, Math.min(limits.hi, rounded)) + 0;
  });
  const made = { tensor: state.builder.table(x.tensor, values, false), scale };
  note(state, y, op.function.label, made);
  return made;
}

function expressionOf(state: State, value: number): Expression {
  const node = state.producers.get(value) as NormalNode;
  const { op } = node;
  const extents = flat(state, value);
  const alone = (term: FreeTerm | FixedTerm, biases: readonly BiasTerm[] = []): Expression => ({
    extents,
    terms: [term],
    biases,
  });
  switch (op.kind) {
    case 'contract':
      return contractExpression(state, node, op);
    case 'conv':
      return convExpression(state, node, op);
    case 'gather':
      return alone(gatherTerm(state, node.y, op));
    case 'add':
      return addExpression(state, node.y, op);
    case 'affine':
      return affineExpression(state, node, op);
    case 'mean': {
      const { tensor, scale } = anchored(state, op.x);
      return alone(sumTerm(state, node.y, op.x, op.axes, tensor, scale / op.divisor));
    }
    case 'averagePool':
      return averageExpression(state, node, op);
    case 'concat':
      return concatExpression(state, node.y, op);
    case 'reshape':
      return { ...expressionOf(state, op.x), extents };
    default:
      throw new MalformedError('onnx.unsupported', node.place, 'a linear operator', op.kind);
  }
}

/** The operand as a sum to be taken up, or rounded. */
function operandExpression(state: State, x: number, y: number): Expression {
  const [from, onto] = [shapeOf(state, x), shapeOf(state, y)];
  const extents = flat(state, y);
  const isSame = from.join() === onto.join() && flat(state, x).join() === extents.join();
  if (isSame && isInline(state, x)) return expressionOf(state, x);
  const { tensor, scale } = anchored(state, x);
  const fitted = recut(state.builder, tensor, axesOf(state, x, y).flat());
  return {
    extents,
    terms: [{ kind: 'fixed', tensor: fitted, unit: scale, bits: spreadBits(state, x, y) }],
    biases: [],
  };
}

/** Axes of x as y cuts them, none where x is repeated. */
function axesOf(state: State, x: number, y: number): readonly (readonly number[])[] {
  const [from, onto] = [shapeOf(state, x), shapeOf(state, y)];
  return from.map((extent, axis) =>
    extent === onto[axis + onto.length - from.length]
      ? ((state.atoms[y] as Atoms[number])[axis + onto.length - from.length] as readonly number[])
      : [],
  );
}

/** Bits of x, broadcast to y, as bits of y. */
function spreadBits(state: State, x: number, y: number): number[] {
  const [from, onto] = [shapeOf(state, x), shapeOf(state, y)];
  const bits = bitsByAxis(state, y);
  return from.flatMap((extent, axis) => {
    const at = axis + onto.length - from.length;
    return extent === onto[at] ? (bits[at] as number[]) : [];
  });
}

/** Bits of each axis of a value. */
function bitsByAxis(state: State, value: number): number[][] {
  const byAtom = axisBits(flat(state, value));
  let next = 0;
  return (state.atoms[value] as Atoms[number]).map((atoms) =>
    atoms.flatMap(() => byAtom[next++] as number[]),
  );
}

function addExpression(state: State, y: number, op: Extract<NormalOp, { kind: 'add' }>): Expression {
  const left = operandExpression(state, op.a, y);
  const right = operandExpression(state, op.b, y);
  const signed = op.sign === 1 ? right : scaledExpression(right, -1);
  return {
    extents: left.extents,
    terms: [...left.terms, ...signed.terms],
    biases: [...left.biases, ...signed.biases],
  };
}

/** A constant with the axes of y, cut as y is where it varies. */
function biasOf(state: State, y: number, constant: Tensor): BiasTerm {
  const shape = shapeOf(state, y);
  const extents = shape.flatMap((extent, axis) => {
    const atoms = (state.atoms[y] as Atoms[number])[axis] as readonly number[];
    return constant.shape[axis] === extent ? atoms : atoms.map(() => 1);
  });
  return { extents, data: constant.data };
}

function affineExpression(
  state: State,
  node: NormalNode,
  op: Extract<NormalOp, { kind: 'affine' }>,
): Expression {
  const { y } = node;
  const biases = op.shift.data.every((value) => value === 0) ? [] : [biasOf(state, y, op.shift)];
  if (op.scale.data.every((value) => value === op.scale.data[0])) {
    const inner = scaledExpression(operandExpression(state, op.x, y), op.scale.data[0] as number);
    return { ...inner, biases: [...inner.biases, ...biases] };
  }
  // A scale per cell along some axes: a product with a constant that has these axes.
  const x = anchored(state, op.x);
  const tensor = recut(state.builder, x.tensor, flat(state, y));
  const constant = biasOf(state, y, op.scale);
  const kept = constant.extents.flatMap((extent, axis) => (extent === 1 ? [] : [axis]));
  const labels = tensor.extents.map((_, axis) => axis);
  const term: FreeTerm = {
    kind: 'free',
    weight: { extents: kept.map((axis) => constant.extents[axis] as number), data: constant.data },
    scale: x.scale,
    reach: reachOf(tensor),
    top: bestTop(constant.data, levelsOf(state)),
    build: (c) =>
      state.builder.contract({ a: tensor, c, labelsA: labels, labelsC: kept, extents: tensor.extents }),
    bits: sameBits(tensor.extents),
  };
  return { extents: tensor.extents, terms: [term], biases };
}

function reachOf({ lo, hi }: KeyTensor): number {
  return Math.max(-lo, hi, 1);
}

/** Labels of the key for the labels of a contraction: one per cut of an axis, those of the result first. */
interface Labels {
  readonly of: ReadonlyMap<number, readonly number[]>;
  readonly atomsOf: ReadonlyMap<number, readonly number[]>;
}

function labelsFor(
  state: State,
  y: number,
  labelsY: readonly number[],
  operandLabels: readonly number[],
  operandAtoms: readonly (readonly number[])[],
): Labels {
  const of = new Map<number, readonly number[]>();
  const atomsOf = new Map<number, readonly number[]>();
  let next = 0;
  const take = (label: number, atoms: readonly number[]): void => {
    if (of.has(label)) return;
    of.set(
      label,
      atoms.map(() => next++),
    );
    atomsOf.set(label, atoms);
  };
  for (const [axis, label] of labelsY.entries())
    take(label, (state.atoms[y] as Atoms[number])[axis] as readonly number[]);
  for (const [axis, label] of operandLabels.entries()) take(label, operandAtoms[axis] as readonly number[]);
  return { of, atomsOf };
}

/** Extents that operands of a contraction are cut into: along an axis they are repeated on, none. */
function cutFor(
  shape: readonly number[],
  labels: readonly number[],
  { of, atomsOf }: Labels,
  extentOf: (label: number) => number,
) {
  const extents: number[] = [];
  const keyLabels: number[] = [];
  for (const [axis, label] of labels.entries()) {
    if (shape[axis] !== extentOf(label)) continue;
    extents.push(...(atomsOf.get(label) as readonly number[]));
    keyLabels.push(...(of.get(label) as readonly number[]));
  }
  return { extents, keyLabels };
}

function contractExpression(state: State, node: NormalNode, op: ContractOp): Expression {
  const { y } = node;
  const biases = op.bias === undefined ? [] : [biasOf(state, y, op.bias)];
  const split = typeof op.c === 'number' ? undefined : concatOperand(state, op);
  if (split !== undefined) {
    const parts = split.map((part) => contractTerm(state, y, part));
    return { extents: flat(state, y), terms: parts, biases };
  }
  return { extents: flat(state, y), terms: [contractTerm(state, y, op)], biases };
}

/** A product with something joined along a summed axis is the sum of products with the parts. */
function concatOperand(state: State, op: ContractOp): ContractOp[] | undefined {
  const joined = state.producers.get(op.a)?.op;
  if (
    joined?.kind !== 'concat' ||
    !isInline(state, op.a) ||
    state.anchors.has(op.a) ||
    typeof op.c === 'number'
  )
    return undefined;
  const label = op.labelsA[joined.axis] as number;
  const axisC = op.labelsC.indexOf(label);
  if (op.labelsY.includes(label) || axisC === -1) return undefined;
  const weight = op.c;
  let start = 0;
  return joined.xs.map((x) => {
    const extent = shapeOf(state, x)[joined.axis] as number;
    const part = sliceWeight(weight, axisC, start, extent);
    start += extent;
    return { ...op, a: x, c: part, bias: undefined };
  });
}

function sliceWeight({ type, shape, data }: Tensor, axis: number, start: number, extent: number): Tensor {
  const after = cellsOf(shape.slice(axis + 1));
  const from = (shape[axis] as number) * after;
  const to = extent * after;
  const out = new Float32Array((data.length / from) * to);
  for (let block = 0; block * from < data.length; block++) {
    out.set(data.subarray(block * from + start * after, block * from + start * after + to), block * to);
  }
  return { type, shape: shape.map((e, a) => (a === axis ? extent : e)), data: out };
}

function contractTerm(state: State, y: number, op: ContractOp): FreeTerm | FixedTerm {
  const { builder } = state;
  const a = anchored(state, op.a);
  const shapeA = shapeOf(state, op.a);
  const shapeC = typeof op.c === 'number' ? shapeOf(state, op.c) : op.c.shape;
  const labels = labelsFor(state, y, op.labelsY, op.labelsA, state.atoms[op.a] as Atoms[number]);
  const extentOf = (label: number): number => {
    const [ya, aa, ca] = [op.labelsY.indexOf(label), op.labelsA.indexOf(label), op.labelsC.indexOf(label)];
    const extents = [
      ya >= 0 ? (shapeOf(state, y)[ya] as number) : 1,
      aa >= 0 ? (shapeA[aa] as number) : 1,
      ca >= 0 ? (shapeC[ca] as number) : 1,
    ];
    return Math.max(...extents);
  };
  const cutA = cutFor(shapeA, op.labelsA, labels, extentOf);
  const tensorA = recut(builder, a.tensor, cutA.extents);
  const extents = flat(state, y);
  const bits = sameBits(extents);
  const cutC = cutFor(shapeC, op.labelsC, labels, extentOf);
  if (typeof op.c === 'number') {
    const c = anchored(state, op.c);
    const tensorC = recut(builder, c.tensor, cutC.extents);
    const tensor = ordered(builder, tensorA, tensorC, cutA.keyLabels, cutC.keyLabels, extents);
    return { kind: 'fixed', tensor, unit: a.scale * c.scale, bits };
  }
  const summed = op.labelsA.reduce((n, label) => (op.labelsY.includes(label) ? n : n * extentOf(label)), 1);
  const weight = arrangedWeight(op.c, op, labels);
  return {
    kind: 'free',
    weight,
    scale: a.scale,
    reach: reachOf(tensorA) * summed,
    top: bestTop(weight.data, levelsOf(state), importanceOf(state, op, weight)),
    build: (c) =>
      builder.contract({ a: tensorA, c, labelsA: cutA.keyLabels, labelsC: weight.labels, extents }),
    bits,
  };
}

function levelsOf(state: State): number {
  return 2 ** (state.options.weightBits - 1) - 1;
}

/** How large, on average, what each weight is multiplied by is: by place along the summed axes. */
function importanceOf(
  state: State,
  op: ContractOp,
  weight: { readonly summed: readonly number[]; readonly block: number },
): ((cell: number) => number) | undefined {
  const shape = shapeOf(state, op.a);
  const squares = state.ranges.values[op.a]?.squares;
  if (squares === undefined || squares.length !== cellsOf(shape) || weight.summed.length === 0)
    return undefined;
  const means = new Float64Array(cellsOf(weight.summed.map((axis) => shape[axis] as number)));
  const strides = shape.map(() => 0);
  let stride = 1;
  for (const axis of [...weight.summed].reverse()) {
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  walk(shape, strides, 0, (cell, place) => {
    means[place] = (means[place] as number) + (squares[cell] as number);
  });
  return (cell) => means[Math.floor(cell / weight.block)] as number;
}

/** Both operands with summed labels ascending in the order of the first. */
function ordered(
  builder: KeyBuilder,
  a: KeyTensor,
  c: KeyTensor,
  labelsA: readonly number[],
  labelsC: readonly number[],
  extents: readonly number[],
): KeyTensor {
  // A result axis that only the second operand has must still be one of the first's or of its own: both are allowed.
  return builder.contract({ a, c, labelsA, labelsC, extents });
}

interface ArrangedWeight {
  readonly extents: readonly number[];
  readonly data: Float32Array;
  readonly labels: readonly number[];
  /** Axes of the other operand along which is summed, in the order in which they stand first here. */
  readonly summed: readonly number[];
  /** Cells per place along the summed axes. */
  readonly block: number;
}

/** Weights with summed axes first, then those of the result, each as it is cut. */
function arrangedWeight(weight: Tensor, op: ContractOp, labels: Labels): ArrangedWeight {
  const axes = op.labelsC.map((_, axis) => axis).filter((axis) => weight.shape[axis] !== 1);
  const isSummed = (axis: number): boolean => !op.labelsY.includes(op.labelsC[axis] as number);
  const [summed, kept] = [axes.filter(isSummed), axes.filter((axis) => !isSummed(axis))];
  const order = [...summed, ...kept];
  return {
    extents: order.flatMap((axis) => labels.atomsOf.get(op.labelsC[axis] as number) as readonly number[]),
    labels: order.flatMap((axis) => labels.of.get(op.labelsC[axis] as number) as readonly number[]),
    data: permuted(weight, order),
    summed: summed.map((axis) => op.labelsA.indexOf(op.labelsC[axis] as number)),
    block: cellsOf(kept.map((axis) => weight.shape[axis] as number)),
  };
}

/** The tensor with its axes in another order; axes left out have extent 1. */
function permuted({ shape, data }: Tensor, order: readonly number[]): Float32Array {
  const strides = shape.map((_, axis) => cellsOf(shape.slice(axis + 1)));
  const out = new Float32Array(data.length);
  const extents = order.map((axis) => shape[axis] as number);
  const position = order.map(() => 0);
  let from = 0;
  for (let at = 0; at < out.length; at++) {
    out[at] = data[from] as number;
    for (let i = order.length - 1; i >= 0; i--) {
      const stride = strides[order[i] as number] as number;
      position[i] = (position[i] as number) + 1;
      from += stride;
      if ((position[i] as number) < (extents[i] as number)) break;
      from -= stride * (extents[i] as number);
      position[i] = 0;
    }
  }
  return out;
}

function gatherTerm(state: State, y: number, op: Extract<NormalOp, { kind: 'gather' }>): FreeTerm {
  const ids = anchored(state, op.ids).tensor;
  const { table } = op;
  const rank = shapeOf(state, op.ids).length;
  const inner = (state.atoms[y] as Atoms[number]).slice(rank).flat();
  return {
    kind: 'free',
    weight: { extents: [table.shape[0] as number, ...inner], data: table.data },
    scale: 1,
    reach: 1,
    top: bestTop(table.data, levelsOf(state)),
    build: (c) => state.builder.gather(c, ids),
    bits: sameBits([...ids.extents, ...inner]),
  };
}

/** Sums along axes: a contraction with nothing. */
function sumTerm(
  state: State,
  y: number,
  x: number,
  axes: readonly number[],
  tensor: KeyTensor,
  unit: number,
): FixedTerm {
  const atoms = state.atoms[x] as Atoms[number];
  const kept = atoms.flatMap((own, axis) => (axes.includes(axis) ? [] : own));
  let nextKept = 0;
  let nextSummed = kept.length;
  const labels = atoms.flatMap((own, axis) =>
    own.map(() => (axes.includes(axis) ? nextSummed++ : nextKept++)),
  );
  const isNothing = nextSummed === kept.length;
  const sum = isNothing
    ? tensor
    : state.builder.contract({ a: tensor, c: null, labelsA: labels, labelsC: [], extents: kept });
  const fitted = recut(state.builder, sum, flat(state, y));
  return { kind: 'fixed', tensor: fitted, unit, bits: sameBits(fitted.extents) };
}

/** Spatial axes of a value as the last two atoms, absent where the extent is 1. */
interface Image {
  readonly tensor: KeyTensor;
  readonly scale: number;
  /** Position of the height and width axes in the key tensor; −1 where the extent is 1. */
  readonly rowAxis: number;
  readonly columnAxis: number;
  readonly channels: readonly number[];
}

function imageOf(state: State, x: number, channels: readonly number[], window: Window2d): Image {
  const { tensor, scale } = anchored(state, x);
  const spatial = [window.height, window.width].filter((extent) => extent !== 1);
  const fitted = recut(state.builder, tensor, [...channels, ...spatial]);
  const rowAxis = window.height === 1 ? -1 : channels.length;
  const columnAxis = window.width === 1 ? -1 : fitted.extents.length - 1;
  return { tensor: fitted, scale, rowAxis, columnAxis, channels };
}

function convExpression(state: State, node: NormalNode, op: ConvOp): Expression {
  const { y, place } = node;
  const { builder } = state;
  const { window, groups } = op;
  const [out, perGroup] = op.weight.shape as [number, number];
  const channels = perGroup * groups;
  const isDepthwise = groups > 1 && groups === channels && out === channels;
  const yAtoms = state.atoms[y] as Atoms[number];
  const outChannels =
    groups === 1 || isDepthwise
      ? (yAtoms[1] as readonly number[])
      : [groups, out / groups].filter((e) => e > 1);
  const inChannels =
    groups === 1
      ? ((state.atoms[op.x] as Atoms[number])[1] as readonly number[])
      : isDepthwise
        ? outChannels
        : [groups, perGroup].filter((e) => e > 1);
  const image = imageOf(state, op.x, inChannels, window);
  const { patches, row, column, tapRow, tapColumn } = patchesOf(builder, image, window);

  // Labels: result channels, rows, columns; then what is summed in the order of the patches' axes.
  const rows = [window.outHeight, window.outWidth].filter((extent) => extent !== 1);
  const extents = [...outChannels, ...rows];
  const groupAtoms = groups === 1 ? 0 : isDepthwise ? outChannels.length : 1;
  const labelsA: number[] = [];
  let next = extents.length;
  let tapRowLabel = -1;
  let tapColumnLabel = -1;
  const inLabels: number[] = [];
  for (let axis = 0; axis < patches.extents.length; axis++) {
    if (axis < groupAtoms) labelsA.push(axis);
    else if (axis < inChannels.length) {
      inLabels.push(next);
      labelsA.push(next++);
    } else if (axis === row) labelsA.push(outChannels.length);
    else if (axis === column) labelsA.push(extents.length - 1);
    else if (axis === tapRow) {
      tapRowLabel = next++;
      labelsA.push(tapRowLabel);
    } else if (axis === tapColumn) {
      tapColumnLabel = next++;
      labelsA.push(tapColumnLabel);
    }
  }
  const [kernelHeight, kernelWidth] = [window.kernelHeight, window.kernelWidth];
  const rowsOut = window.outHeight === 1 ? -1 : outChannels.length;
  if (row === -1 && rowsOut !== -1) throw new MalformedError('onnx.unsupported', place, 'rows', 'none');

  // Stored as kernel axes, then input channels of a group, then groups and output channels.
  const ownOut = outChannels.slice(groupAtoms);
  const weightExtents = [
    ...(tapRowLabel >= 0 ? [kernelHeight] : []),
    ...(tapColumnLabel >= 0 ? [kernelWidth] : []),
    ...inChannels.slice(groupAtoms),
    ...outChannels.slice(0, groupAtoms),
    ...ownOut,
  ];
  const labelsC = [
    ...(tapRowLabel >= 0 ? [tapRowLabel] : []),
    ...(tapColumnLabel >= 0 ? [tapColumnLabel] : []),
    ...inLabels,
    ...outChannels.map((_, i) => i),
  ];
  const data = kernelData(op, window);
  const summed = perGroup * kernelHeight * kernelWidth;
  const term: FreeTerm = {
    kind: 'free',
    weight: { extents: weightExtents, data },
    scale: image.scale,
    reach: reachOf(patches) * summed,
    top: bestTop(data, levelsOf(state)),
    build: (c) =>
      recut(builder, builder.contract({ a: patches, c, labelsA, labelsC, extents }), flat(state, y)),
    bits: sameBits(flat(state, y)),
  };
  const biases: BiasTerm[] = [];
  if (op.bias !== undefined) {
    const perAxis = yAtoms.flatMap((atoms, axis) => (axis === 1 ? atoms : atoms.map(() => 1)));
    biases.push({ extents: perAxis, data: op.bias.data });
  }
  return { extents: flat(state, y), terms: [term], biases };
}

/** [out, in / groups, ky, kx] as [ky, kx, in / groups, out]; taps that always lie in the padding are left out. */
function kernelData(op: ConvOp, window: Window2d): Float32Array {
  const [out, perGroup] = op.weight.shape as [number, number];
  const { kernelHeight, kernelWidth } = window;
  const data = new Float32Array(op.weight.data.length);
  for (let o = 0; o < out; o++) {
    for (let c = 0; c < perGroup; c++) {
      for (let ky = 0; ky < kernelHeight; ky++) {
        for (let kx = 0; kx < kernelWidth; kx++) {
          const from = ((o * perGroup + c) * kernelHeight + ky) * kernelWidth + kx;
          data[((ky * kernelWidth + kx) * perGroup + c) * out + o] = op.weight.data[from] as number;
        }
      }
    }
  }
  return data;
}

interface Patches {
  readonly patches: KeyTensor;
  readonly row: number;
  readonly column: number;
  readonly tapRow: number;
  readonly tapColumn: number;
}

/** The image's cells under each tap: axes channels, (row, tap), (column, tap), those of extent 1 absent. */
function patchesOf(builder: KeyBuilder, image: Image, window: Window2d): Patches {
  const { tensor, channels } = image;
  if (isTrivialWindow(window)) {
    return { patches: tensor, row: image.rowAxis, column: image.columnAxis, tapRow: -1, tapColumn: -1 };
  }
  const relations: AxisRelation[] = channels.map((_, axis) => ({ kind: 'same', x: axis, y: axis }));
  const extents = [...channels];
  const place = { row: -1, column: -1, tapRow: -1, tapColumn: -1 };
  // Axes of extent 1 are needed by the wire and gone afterwards.
  let gone = 0;
  const along = (
    x: number,
    taps: number,
    positions: number,
    numbers: { readonly stride: number; readonly dilation: number; readonly pad: number },
    names: readonly ['row', 'tapRow'] | readonly ['column', 'tapColumn'],
  ): void => {
    if (x === -1) return;
    const y = extents.length;
    const { stride, dilation, pad } = numbers;
    if (taps > 1 && positions > 1) {
      extents.push(positions, taps);
      [place[names[0]], place[names[1]]] = [y - gone, y + 1 - gone];
      relations.push({ kind: 'window', x, yPosition: y, yTap: y + 1, stride, dilation, pad, start: 0 });
      return;
    }
    const extent = Math.max(taps, positions);
    extents.push(extent);
    if (extent === 1) gone++;
    else place[names[taps > 1 ? 1 : 0]] = y - gone;
    // A single position runs over the taps as others run over positions.
    const step = taps > 1 ? dilation : stride;
    if (extent === tensor.extents[x] && step === 1 && pad === 0) relations.push({ kind: 'same', x, y });
    else relations.push({ kind: 'pool', x, y, taps: 1, stride: step, dilation: 1, pad, start: 0 });
  };
  const { strideY, strideX, dilationY, dilationX, padTop, padLeft } = window;
  along(
    image.rowAxis,
    window.kernelHeight,
    window.outHeight,
    { stride: strideY, dilation: dilationY, pad: padTop },
    ['row', 'tapRow'],
  );
  along(
    image.columnAxis,
    window.kernelWidth,
    window.outWidth,
    { stride: strideX, dilation: dilationX, pad: padLeft },
    ['column', 'tapColumn'],
  );
  const isPlain = relations.every(({ kind }) => kind === 'same');
  const wired = isPlain ? tensor : builder.wire(tensor, relations, extents);
  const solid = extents.filter((extent) => extent !== 1);
  return { patches: recut(builder, wired, solid), ...place };
}

function averageExpression(
  state: State,
  node: NormalNode,
  op: Extract<NormalOp, { kind: 'averagePool' }>,
): Expression {
  const { y } = node;
  const { window } = op;
  const channels = (state.atoms[y] as Atoms[number]).slice(0, 2).flat();
  const image = imageOf(state, op.x, channels, window);
  const shifts: Shift[] = [];
  if (image.rowAxis >= 0) {
    const {
      outHeight: extent,
      strideY: stride,
      padTop: pad,
      kernelHeight: taps,
      dilationY: dilation,
    } = window;
    shifts.push({ axis: image.rowAxis, extent, stride, start: 0, pad, taps, dilation });
  }
  if (image.columnAxis >= 0) {
    const {
      outWidth: extent,
      strideX: stride,
      padLeft: pad,
      kernelWidth: taps,
      dilationX: dilation,
    } = window;
    shifts.push({ axis: image.columnAxis, extent, stride, start: 0, pad, taps, dilation });
  }
  const summed = recut(state.builder, shifted(state.builder, image.tensor, shifts), flat(state, y));
  const full = window.kernelHeight * window.kernelWidth;
  const counts = tapCounts(window, op.includePad);
  const bits = sameBits(summed.extents);
  if (counts.every((count) => count === full)) {
    return {
      extents: summed.extents,
      terms: [{ kind: 'fixed', tensor: summed, unit: image.scale / full, bits }],
      biases: [],
    };
  }
  // Fewer taps at the edges: a factor for each pixel.
  const spatial = summed.extents.slice(channels.length);
  const labels = summed.extents.map((_, axis) => axis);
  const term: FreeTerm = {
    kind: 'free',
    weight: { extents: spatial, data: Float64Array.from(counts, (count) => 1 / count) },
    scale: image.scale,
    reach: reachOf(summed),
    top: 1 / Math.min(...counts),
    build: (c) =>
      state.builder.contract({
        a: summed,
        c,
        labelsA: labels,
        labelsC: labels.slice(channels.length),
        extents: summed.extents,
      }),
    bits,
  };
  return { extents: summed.extents, terms: [term], biases: [] };
}

function tapCounts(window: Window2d, includePad: boolean): number[] {
  const along = (
    positions: number,
    stride: number,
    kernel: number,
    dilation: number,
    begin: number,
    size: number,
    end: number,
  ): number[] =>
    Array.from({ length: positions }, (_, j) => {
      let taps = 0;
      for (let k = 0; k < kernel; k++) {
        const at = j * stride + k * dilation - begin;
        if (includePad ? at < size + end : at >= 0 && at < size) taps++;
      }
      return taps;
    });
  const rows = along(
    window.outHeight,
    window.strideY,
    window.kernelHeight,
    window.dilationY,
    window.padTop,
    window.height,
    window.padBottom,
  );
  const columns = along(
    window.outWidth,
    window.strideX,
    window.kernelWidth,
    window.dilationX,
    window.padLeft,
    window.width,
    window.padRight,
  );
  return rows.flatMap((row) => columns.map((column) => row * column));
}

/** Whether a tap lies outside the image: in padding, or beyond it in the last window of ceil_mode. */
function readsPadding(window: Window2d): boolean {
  const beyond = (
    positions: number,
    stride: number,
    taps: number,
    dilation: number,
    pad: number,
    size: number,
  ) => pad > 0 || (positions - 1) * stride + (taps - 1) * dilation - pad >= size;
  return (
    beyond(
      window.outHeight,
      window.strideY,
      window.kernelHeight,
      window.dilationY,
      window.padTop,
      window.height,
    ) ||
    beyond(
      window.outWidth,
      window.strideX,
      window.kernelWidth,
      window.dilationX,
      window.padLeft,
      window.width,
    )
  );
}

/** The largest of each window, one tap after the other, columns after rows. */
function maxPool(state: State, x: number, window: Window2d): Quantized {
  const { builder } = state;
  const channels = (state.atoms[x] as Atoms[number]).slice(0, 2).flat();
  const image = imageOf(state, x, channels, window);
  const { lo } = image.tensor;
  // Padding reads as 0, which must not be larger than any value.
  const isPadded = readsPadding(window);
  const lifted = isPadded && lo < 0;
  let current = lifted
    ? builder.sum(
        [{ x: image.tensor, coefficient: 1, bits: sameBits(image.tensor.extents) }],
        image.tensor.extents,
        -lo,
      )
    : image.tensor;
  const axes = [
    [image.rowAxis, window.kernelHeight, window.outHeight, window.strideY, window.dilationY, window.padTop],
    [image.columnAxis, window.kernelWidth, window.outWidth, window.strideX, window.dilationX, window.padLeft],
  ] as const;
  for (const [axis, taps, extent, stride, dilation, pad] of axes) {
    if (axis === -1 || (taps === 1 && stride === 1)) continue;
    let best: KeyTensor | undefined;
    for (let k = 0; k < taps; k++) {
      const at = k * dilation - pad;
      const shift: Shift = {
        axis,
        extent,
        stride,
        start: Math.max(0, at),
        pad: Math.max(0, -at),
        taps: 1,
        dilation: 1,
      };
      const tap = pickTap(builder, current, shift);
      best = best === undefined ? tap : builder.max(best, tap);
    }
    current = best as KeyTensor;
  }
  const lowered = lifted
    ? builder.sum([{ x: current, coefficient: 1, bits: sameBits(current.extents) }], current.extents, lo)
    : current;
  return { tensor: lowered, scale: image.scale };
}

/** Every second cell of an even axis is a choice of its lowest bit; other steps are wires. */
function pickTap(builder: KeyBuilder, x: KeyTensor, shift: Shift): KeyTensor {
  const extent = x.extents[shift.axis] as number;
  const isHalf = shift.stride === 2 && shift.pad === 0 && shift.start < 2 && extent === 2 * shift.extent;
  if (!isHalf) return shifted(builder, x, [shift]);
  const extents = x.extents.map((e, axis) => (axis === shift.axis ? shift.extent : e));
  const bits = axisBits(extents).flatMap((own, axis) => (axis === shift.axis ? [...own, shift.start] : own));
  return viewed(builder, x, bits, extents);
}

const SOFTMAX_BITS = 10;

function anchorSoftmax(
  state: State,
  node: NormalNode,
  op: Extract<NormalOp, { kind: 'softmax' }>,
): Quantized {
  const { place, y } = node;
  const { builder } = state;
  const n = shapeOf(state, y).at(-1) as number;
  const first = n <= 64 ? 12 : 10;
  softmaxScales(n, first);
  let x: Quantized;
  if (isInline(state, op.x)) {
    const target = plainTarget(Math.max(magnitudeOf(state, op.x, place), 1e-3), SOFTMAX_BITS, true);
    x = requantizeExpression(builder, expressionOf(state, op.x), target, at(state, place));
  } else x = anchored(state, op.x);
  const tensor = recut(builder, x.tensor, flat(state, y));
  const keyBits = Math.max(1, Math.ceil(Math.log2(tensor.hi - tensor.lo + 1)));
  const exponentials = Array.from({ length: 2 ** keyBits }, (_, delta) =>
    Math.round(2 ** first * Math.exp(-delta * x.scale)),
  );
  const made = { tensor: builder.softmax(tensor, keyBits, exponentials, op.causal, false), scale: 1 / 128 };
  note(state, y, op.causal ? 'softmax (causal)' : 'softmax', made);
  return made;
}

/** Scores that a mask replaces by −∞ do not count. */
function magnitudeOf(state: State, value: number, place: string): number {
  const range = rangeOf(state, value, place);
  return Math.max(Math.abs(range.min), Math.abs(range.max));
}

const NORM_WINDOW = 12;
const NORM_FACTOR_MAX = 4_095;

/** V = Σ c², R = 1 / √(V / n + ε) from a table, y = c · R. */
function anchorNorm(state: State, node: NormalNode, op: Extract<NormalOp, { kind: 'norm' }>): Quantized {
  const { y, place } = node;
  const { builder } = state;
  const width = shapeOf(state, op.x).at(-1) as number;
  const statistics = state.ranges.norms.get(state.positions.get(node) as number);
  if (statistics === undefined || statistics.differences.count === 0)
    throw new MalformedError('onnx.unsupported', place, 'a normalization of a calibrated value', 'another');
  const x = anchored(state, op.x);
  const atoms = state.atoms[op.x] as Atoms[number];
  const rowAtoms = atoms.slice(0, -1).flat();
  const labels = x.tensor.extents.map((_, axis) => axis);
  // Differences in as many bits as leave the sum of their squares below 2^29.
  const bits = Math.min(12, Math.floor((29 - Math.ceil(Math.log2(width))) / 2) + 1);
  const c = normDifferences(state, node, op, x, rowAtoms, bits, width, statistics.differences);
  const squares = builder.contract({
    a: c.tensor,
    c: c.tensor,
    labelsA: labels,
    labelsC: labels,
    extents: rowAtoms,
  });
  const meanSquare = (c.scale * c.scale) / width;
  const [least, most] = [statistics.squares.min, statistics.squares.max];
  const shift = Math.max(0, Math.ceil(Math.log2(((most / meanSquare) * 1.25) / 2 ** NORM_WINDOW)));
  const epsilon = op.epsilon;
  const root = (square: number): number => 1 / Math.sqrt(square + epsilon);
  const step = NORM_FACTOR_MAX * (1 / root(Math.max(least * 0.5, meanSquare * 2 ** shift * 0.5)));
  const values = Array.from({ length: 2 ** NORM_WINDOW }, (_, q) =>
    Math.max(
      1,
      Math.min(NORM_FACTOR_MAX, Math.round(step * root((q === 0 ? 0.25 : q) * meanSquare * 2 ** shift))),
    ),
  );
  const factor = builder.requantize({
    x: squares,
    shift,
    offset: 0,
    window: NORM_WINDOW,
    values,
    output: false,
  });
  const product = builder.contract({
    a: c.tensor,
    c: factor,
    labelsA: labels,
    labelsC: labels.slice(0, rowAtoms.length),
    extents: c.tensor.extents,
  });
  const expression: Expression = {
    extents: product.extents,
    terms: [{ kind: 'fixed', tensor: product, unit: c.scale / step, bits: sameBits(product.extents) }],
    biases: [],
  };
  const made = requantizeExpression(builder, expression, plainFor(state, y, place), at(state, place));
  note(state, y, op.centered ? 'layer norm' : 'rms norm', made);
  return made;
}

function normDifferences(
  state: State,
  node: NormalNode,
  op: Extract<NormalOp, { kind: 'norm' }>,
  x: Quantized,
  rowAtoms: readonly number[],
  bits: number,
  width: number,
  differences: Distribution,
): Quantized {
  const { builder } = state;
  const { tensor, scale } = x;
  const isNarrow = Math.max(-tensor.lo, tensor.hi) < 2 ** (bits - 1) + 1;
  if (!op.centered && isNarrow) return x;
  const all = sameBits(tensor.extents);
  const terms: FixedTerm[] = [{ kind: 'fixed', tensor, unit: scale, bits: all }];
  if (op.centered) {
    const labels = tensor.extents.map((_, axis) => axis);
    const total = builder.contract({ a: tensor, c: null, labelsA: labels, labelsC: [], extents: rowAtoms });
    const rowBits = axisBits(tensor.extents).slice(0, rowAtoms.length).flat();
    terms.push({ kind: 'fixed', tensor: total, unit: -scale / width, bits: rowBits });
  }
  const magnitude = Math.max(Math.abs(differences.min), Math.abs(differences.max), 1e-6);
  const target = plainTarget(magnitude, bits, true);
  return requantizeExpression(
    builder,
    { extents: tensor.extents, terms, biases: [] },
    target,
    at(state, node.place),
  );
}

/** Σ j · x_j along the last axis. */
function index(state: State, x: number): Quantized {
  const { tensor } = anchored(state, x);
  const extents = tensor.extents.slice(0, -1);
  const labels = tensor.extents.map((_, axis) => axis);
  const made = state.builder.contract({
    a: tensor,
    c: null,
    labelsA: labels,
    labelsC: [],
    indexLabel: extents.length,
    extents,
  });
  return { tensor: made, scale: 1 };
}

type Move = Extract<NormalOp, { kind: 'transpose' | 'slice' | 'expand' | 'pad' }>;

/** Operators that move cells, on a value that is rounded already. */
function move(state: State, op: Move, y: number): Quantized {
  const { builder } = state;
  const { tensor, scale } = anchored(state, op.x);
  const xAtoms = state.atoms[op.x] as Atoms[number];
  switch (op.kind) {
    case 'transpose': {
      const extents = op.order.flatMap((axis) => xAtoms[axis] as readonly number[]);
      const at = new Map<number, number[]>();
      let next = 0;
      const bits = axisBits(extents);
      for (const axis of op.order)
        at.set(
          axis,
          (xAtoms[axis] as readonly number[]).flatMap(() => bits[next++] as number[]),
        );
      const sources = xAtoms.flatMap((_, axis) => at.get(axis) as number[]);
      return { tensor: viewed(builder, tensor, sources, extents), scale };
    }
    case 'expand': {
      const fitted = recut(builder, tensor, axesOf(state, op.x, y).flat());
      return { tensor: viewed(builder, fitted, spreadBits(state, op.x, y), flat(state, y)), scale };
    }
    case 'slice':
      return { tensor: slice(state, op, y, tensor), scale };
    case 'pad':
      return { tensor: pad(state, op, y, tensor), scale };
  }
}

function slice(state: State, op: Extract<NormalOp, { kind: 'slice' }>, y: number, x: KeyTensor): KeyTensor {
  const [from, onto] = [shapeOf(state, op.x), shapeOf(state, y)];
  const xAtoms = state.atoms[op.x] as Atoms[number];
  // First the axes that a choice of bits can do, then the others by wires.
  const extents: number[] = [];
  const sources: ((bits: number[][]) => number[])[] = [];
  const wires: Shift[] = [];
  for (const [axis, atoms] of xAtoms.entries()) {
    const [extent, start, step] = [onto[axis] as number, op.starts[axis] as number, op.steps[axis] as number];
    const at = extents.length;
    const wholeFrom = atoms.findIndex((_, i) => cellsOf(atoms.slice(i)) === extent);
    const keeps = extent === 1 ? atoms.length : wholeFrom;
    const isWhole = extent === from[axis];
    const canSelect = !isWhole && keeps !== -1 && isAligned(from[axis] as number, extent, start, step);
    if (canSelect) {
      let block = Math.floor(start / extent);
      const chosen: number[][] = [];
      for (let i = keeps - 1; i >= 0; i--) {
        const size = atoms[i] as number;
        chosen.unshift(constantBits(block % size, size));
        block = Math.floor(block / size);
      }
      const rest = atoms.slice(keeps);
      extents.push(...rest);
      sources.push((bits) => [...chosen.flat(), ...rest.flatMap((_, i) => bits[at + i] as number[])]);
      continue;
    }
    extents.push(...atoms);
    sources.push((bits) => atoms.flatMap((_, i) => bits[at + i] as number[]));
    if (!isWhole) wires.push({ axis: at, extent, stride: step, start, pad: 0, taps: 1, dilation: 1 });
  }
  const bits = axisBits(extents);
  const selected = viewed(
    state.builder,
    x,
    sources.flatMap((source) => source(bits)),
    extents,
  );
  return shifted(state.builder, selected, wires);
}

/** An index as bits that are constants of a bit map. */
function constantBits(value: number, extent: number): number[] {
  const width = Math.ceil(Math.log2(extent));
  return Array.from({ length: width }, (_, i) => (value >> (width - 1 - i)) & 1);
}

function pad(state: State, op: Extract<NormalOp, { kind: 'pad' }>, y: number, x: KeyTensor): KeyTensor {
  return placed(state, op.x, y, x, op.before);
}

/** x inside the axes of y, at an offset along each, zeros around it. */
function placed(state: State, from: number, y: number, x: KeyTensor, before: readonly number[]): KeyTensor {
  const [small, large] = [shapeOf(state, from), shapeOf(state, y)];
  const xAtoms = state.atoms[from] as Atoms[number];
  // An axis of extent 1 has no axis in the key: it is put back, so that it can be placed.
  const extents = xAtoms.flatMap((atoms, axis) =>
    small[axis] === large[axis] ? atoms : [small[axis] as number],
  );
  const wide = recutWithOnes(state.builder, x, extents);
  const shifts: Shift[] = [];
  let at = 0;
  for (const [axis, atoms] of xAtoms.entries()) {
    if (small[axis] === large[axis]) {
      at += atoms.length;
      continue;
    }
    shifts.push({
      axis: at,
      extent: large[axis] as number,
      stride: 1,
      start: 0,
      pad: before[axis] as number,
      taps: 1,
      dilation: 1,
    });
    at += 1;
  }
  return recut(state.builder, shifted(state.builder, wide, shifts), flat(state, y));
}

/** Axes of extent 1 have no bits: adding them changes nothing but the list of extents. */
function recutWithOnes(builder: KeyBuilder, x: KeyTensor, extents: readonly number[]): KeyTensor {
  const solid = recut(
    builder,
    x,
    extents.filter((extent) => extent !== 1),
  );
  return viewed(builder, solid, sameBits(solid.extents), extents);
}

function concatExpression(state: State, y: number, op: Extract<NormalOp, { kind: 'concat' }>): Expression {
  if (op.xs.length > CONCAT_MAX)
    throw new MalformedError(
      'onnx.unsupported',
      state.producers.get(y)?.place ?? '',
      `at most ${CONCAT_MAX} parts`,
      `${op.xs.length}`,
    );
  let start = 0;
  const extents = flat(state, y);
  const terms = op.xs.map((x): FixedTerm => {
    const { tensor, scale } = anchored(state, x);
    const shape = shapeOf(state, x);
    const before = shape.map((_, axis) => (axis === op.axis ? start : 0));
    start += shape[op.axis] as number;
    return {
      kind: 'fixed',
      tensor: placed(state, x, y, tensor, before),
      unit: scale,
      bits: sameBits(extents),
    };
  });
  return { extents, terms, biases: [] };
}
