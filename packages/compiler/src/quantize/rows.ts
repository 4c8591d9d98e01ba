/** What looks at a whole row: softmax, normalizations, the position in a one-hot vector. */

import { softmaxScales } from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import type { NormalNode, NormalOp } from '../normal/normal-graph.ts';
import type { Atoms } from './atoms.ts';
import {
  type Expression,
  type FixedTerm,
  plainTarget,
  type Quantized,
  requantizeExpression,
} from './expression.ts';
import { sameBits } from './key-builder.ts';
import { at, flat, isInline, note, plainFor, rangeOf, type State, shapeOf } from './lowering.ts';
import type { Distribution } from './ranges.ts';
import { axisBits, recut } from './views.ts';

const SOFTMAX_BITS = 10;

const NORM_WINDOW = 12;

const NORM_FACTOR_MAX = 4_095;

export function anchorSoftmax(
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
    x = requantizeExpression(builder, state.expressionOf(op.x), target, at(state, place));
  } else x = state.anchored(op.x);
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

/** V = Σ c², R = 1 / √(V / n + ε) from a table, y = c · R. */
export function anchorNorm(
  state: State,
  node: NormalNode,
  op: Extract<NormalOp, { kind: 'norm' }>,
): Quantized {
  const { y, place } = node;
  const { builder } = state;
  const width = shapeOf(state, op.x).at(-1) as number;
  const statistics = state.ranges.norms.get(state.positions.get(node) as number);
  if (statistics === undefined || statistics.differences.count === 0)
    throw new MalformedError('onnx.unsupported', place, 'a normalization of a calibrated value', 'another');
  const x = state.anchored(op.x);
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
export function index(state: State, x: number): Quantized {
  const { tensor } = state.anchored(x);
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
