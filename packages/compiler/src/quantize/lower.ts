/**
 * From the normal form to a verifying key with weights. A value is computed where it is first needed: either rounded to
 * few bits (`anchored`), or as the sum it is made of (`expressionOf`), which the next rounding takes up.
 */

import { MalformedError } from '@haca/primitives';
import {
  type NormalGraph,
  type NormalNode,
  type NormalOp,
  type NormalValue,
  operandsOf,
} from '../normal/normal-graph.ts';
import { findAtoms } from './atoms.ts';
import { contractExpression } from './contractions.ts';
import {
  type BiasTerm,
  type Expression,
  type FixedTerm,
  type FreeTerm,
  functionTarget,
  plainTarget,
  publishExpression,
  type Quantized,
  requantizeExpression,
} from './expression.ts';
import { createKeyBuilder, type KeyTensor, kindFor, sameBits } from './key-builder.ts';
import {
  at,
  flat,
  isInline,
  isLinear,
  type Lowered,
  type LowerOptions,
  note,
  type Port,
  passesThrough,
  plainFor,
  rangeOf,
  type State,
} from './lowering.ts';
import { move } from './moves.ts';
import type { Distribution, Ranges } from './ranges.ts';
import { anchorNorm, anchorSoftmax, index } from './rows.ts';
import { addExpression, affineExpression, concatExpression, gatherTerm, sumTerm } from './sums.ts';
import { recut } from './views.ts';
import { averageExpression, convExpression, maxPool } from './windows.ts';

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
    anchored: (value) => anchored(state, value),
    expressionOf: (value) => expressionOf(state, value),
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

/** Bits of an output that has to be rounded though nothing else is. */
const OUTPUT_BITS = 12;

const OUTPUT_ROOM = 4;

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

function isAnchoredEagerly(state: State, { op, y }: NormalNode): boolean {
  if (state.graph.outputs.includes(y)) return false;
  if (!isLinear(state, y)) return op.kind !== 'top1' && op.kind !== 'index';
  return !isInline(state, y);
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

/** The value in few bits, cut into its own axes. */
export function anchored(state: State, value: number): Quantized {
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

export function expressionOf(state: State, value: number): Expression {
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
