/** Sums of values: additions, scales and shifts, embeddings, means, joined values. */

import { MalformedError } from '@haca/primitives';
import type { NormalNode, NormalOp } from '../normal/normal-graph.ts';
import type { Atoms } from './atoms.ts';
import { bestTop, type Expression, type FixedTerm, type FreeTerm, scaledExpression } from './expression.ts';
import { type KeyTensor, sameBits } from './key-builder.ts';
import {
  axesOf,
  biasOf,
  flat,
  isInline,
  levelsOf,
  reachOf,
  type State,
  shapeOf,
  spreadBits,
} from './lowering.ts';
import { placed } from './moves.ts';
import { recut } from './views.ts';

const CONCAT_MAX = 48;

/** The operand as a sum to be taken up, or rounded. */
function operandExpression(state: State, x: number, y: number): Expression {
  const [from, onto] = [shapeOf(state, x), shapeOf(state, y)];
  const extents = flat(state, y);
  const isSame = from.join() === onto.join() && flat(state, x).join() === extents.join();
  if (isSame && isInline(state, x)) return state.expressionOf(x);
  const { tensor, scale } = state.anchored(x);
  const fitted = recut(state.builder, tensor, axesOf(state, x, y).flat());
  return {
    extents,
    terms: [{ kind: 'fixed', tensor: fitted, unit: scale, bits: spreadBits(state, x, y) }],
    biases: [],
  };
}

export function addExpression(state: State, y: number, op: Extract<NormalOp, { kind: 'add' }>): Expression {
  const left = operandExpression(state, op.a, y);
  const right = operandExpression(state, op.b, y);
  const signed = op.sign === 1 ? right : scaledExpression(right, -1);
  return {
    extents: left.extents,
    terms: [...left.terms, ...signed.terms],
    biases: [...left.biases, ...signed.biases],
  };
}

export function affineExpression(
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
  const x = state.anchored(op.x);
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

export function gatherTerm(state: State, y: number, op: Extract<NormalOp, { kind: 'gather' }>): FreeTerm {
  const ids = state.anchored(op.ids).tensor;
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
export function sumTerm(
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

export function concatExpression(
  state: State,
  y: number,
  op: Extract<NormalOp, { kind: 'concat' }>,
): Expression {
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
    const { tensor, scale } = state.anchored(x);
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
