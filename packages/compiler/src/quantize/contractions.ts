/** Products with summed axes, of a value with weights or with another value. */
import { bitsOfExtent } from '@haca/circuit';
import { cellsOf, type Tensor, walk } from '../float/tensor.ts';
import type { ContractOp, NormalNode } from '../normal/normal-graph.ts';
import type { Atoms } from './atoms.ts';
import { bestTop, type Expression, type FixedTerm, type FreeTerm } from './expression.ts';
import { sameBits } from './key-builder.ts';
import { biasOf, flat, isInline, levelsOf, reachOf, type State, shapeOf } from './lowering.ts';
import { axisBits, recut } from './views.ts';

/** Labels of the key for the labels of a contraction: one per cut of an axis, those of the result first. */
export interface Labels {
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

export function contractExpression(state: State, node: NormalNode, op: ContractOp): Expression {
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
  const a = state.anchored(op.a);
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
    const c = state.anchored(op.c);
    const tensorC = recut(builder, c.tensor, cutC.extents);
    const { keyLabels: labelsA } = cutA;
    const { keyLabels: labelsC } = cutC;
    const tensor = builder.contract({ a: tensorA, c: tensorC, labelsA, labelsC, extents });
    return { kind: 'fixed', tensor, unit: a.scale * c.scale, bits };
  }
  const summed = op.labelsA.reduce((n, label) => (op.labelsY.includes(label) ? n : n * extentOf(label)), 1);
  const arranged = arrangedWeight(op.c, op, labels);
  const weight = inFewestColumns(arranged);
  if (weight.extents.length === 0) {
    // One number: a factor, no product.
    const byAxis = axisBits(extents);
    const source = cutA.keyLabels.flatMap((label) => byAxis[label] as number[]);
    return { kind: 'fixed', tensor: tensorA, unit: a.scale * (weight.data[0] as number), bits: source };
  }
  return {
    kind: 'free',
    weight,
    scale: a.scale,
    reach: reachOf(tensorA) * summed,
    top: bestTop(weight.data, levelsOf(state), importanceOf(state, op, arranged)),
    build: (c) =>
      builder.contract({ a: tensorA, c, labelsA: cutA.keyLabels, labelsC: weight.labels, extents }),
    bits,
  };
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

interface ArrangedExtents {
  readonly extents: readonly number[];
  readonly data: Float32Array;
  readonly labels: readonly number[];
}

interface ArrangedWeight extends ArrangedExtents {
  /** Axes of the other operand along which is summed, in the order in which they stand first here. */
  readonly summed: readonly number[];
  /** Cells per place along the summed axes. */
  readonly block: number;
  /** How many of `extents` are summed; they stand first. */
  readonly summedExtents: number;
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
    summedExtents: summed.flatMap((axis) => labels.of.get(op.labelsC[axis] as number) ?? []).length,
  };
}

/**
 * The same weight with those summed axes first that their padding to a power of two makes longest: whole columns without a
 * real cell are not committed, and only what leading axes leave empty is whole columns.
 */
function inFewestColumns({ extents, labels, data, summedExtents }: ArrangedWeight): ArrangedExtents {
  const growth = (axis: number): number =>
    2 ** bitsOfExtent(extents[axis] as number) / (extents[axis] as number);
  const summed = extents.slice(0, summedExtents).map((_, axis) => axis);
  const order = [
    ...summed.sort((one, other) => growth(other) - growth(one) || one - other),
    ...extents.slice(summedExtents).map((_, axis) => summedExtents + axis),
  ];
  return {
    extents: order.map((axis) => extents[axis] as number),
    labels: order.map((axis) => labels[axis] as number),
    data: permuted({ shape: extents, data }, order),
  };
}

/** The tensor with its axes in another order; axes left out have extent 1. */
function permuted({ shape, data }: Pick<Tensor, 'shape' | 'data'>, order: readonly number[]): Float32Array {
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
