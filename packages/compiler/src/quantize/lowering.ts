/** What all parts of the lowering share: the state, and what is known of a value without computing it. */

import { MalformedError } from '@haca/primitives';
import type { Tensor } from '../float/tensor.ts';
import type { NormalGraph, NormalNode, NormalOp, NormalValue } from '../normal/normal-graph.ts';
import type { Atoms } from './atoms.ts';
import { type BiasTerm, type Expression, plainTarget, type Quantized, type Target } from './expression.ts';
import type { KeyBuilder, KeyParts, KeyTensor } from './key-builder.ts';
import { bestMagnitude, type Distribution, type Ranges } from './ranges.ts';
import { axisBits } from './views.ts';

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

/** A lowering under way. */
export interface State {
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
  /** The value in few bits, cut into its own axes; made where it is first asked for. */
  readonly anchored: (value: number) => Quantized;
  /** The value as the sum it is made of. */
  readonly expressionOf: (value: number) => Expression;
  readonly layers: Layer[];
  /** Values that feed a maximum, which compares bytes. */
  readonly bytes: ReadonlySet<number>;
}

/** Operands of one sum. */
const INLINE_TERMS = 12;

/** Bits of values of which only the largest counts: rounding makes ties. */
const COMPARED_BITS = 12;

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

export function isLinear(state: State, value: number): boolean {
  const op = state.producers.get(value)?.op;
  if (op === undefined) return false;
  return LINEAR.has(op.kind) || (op.kind === 'reshape' && passesThrough(state, op.x, value));
}

/** Whether a value may be taken up by its one reader instead of being rounded. */
export function isInline(state: State, value: number): boolean {
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

/** A reshape of a sum that is read once, and whose axes are cut alike: the sum itself under other names. */
export function passesThrough(state: State, x: number, y: number): boolean {
  return isInline(state, x) && flat(state, x).join() === flat(state, y).join();
}

export function shapeOf(state: State, value: number): readonly number[] {
  return (state.graph.values[value] as NormalValue).shape;
}

/** Extents of a value in the key. */
export function flat(state: State, value: number): readonly number[] {
  return (state.atoms[value] as Atoms[number]).flat();
}

export function rangeOf(state: State, value: number, place: string): Distribution {
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

export function note(state: State, value: number, kind: string, { tensor, scale }: Quantized): void {
  const place = state.producers.get(value)?.place ?? '';
  state.layers.push({ place, kind, extents: tensor.extents, lo: tensor.lo, hi: tensor.hi, scale });
}

export function at(
  state: State,
  place: string,
): { readonly place: string; readonly output: boolean; readonly weightMax: number } {
  return { place, output: false, weightMax: 2 ** (state.options.weightBits - 1) - 1 };
}

export function reachOf({ lo, hi }: KeyTensor): number {
  return Math.max(-lo, hi, 1);
}

export function levelsOf(state: State): number {
  return 2 ** (state.options.weightBits - 1) - 1;
}

export function plainFor(state: State, value: number, place: string): Target {
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

/** Axes of x as y cuts them, none where x is repeated. */
export function axesOf(state: State, x: number, y: number): readonly (readonly number[])[] {
  const [from, onto] = [shapeOf(state, x), shapeOf(state, y)];
  return from.map((extent, axis) =>
    extent === onto[axis + onto.length - from.length]
      ? ((state.atoms[y] as Atoms[number])[axis + onto.length - from.length] as readonly number[])
      : [],
  );
}

/** Bits of x, broadcast to y, as bits of y. */
export function spreadBits(state: State, x: number, y: number): number[] {
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

/** A constant with the axes of y, cut as y is where it varies. */
export function biasOf(state: State, y: number, constant: Tensor): BiasTerm {
  const shape = shapeOf(state, y);
  const extents = shape.flatMap((extent, axis) => {
    const atoms = (state.atoms[y] as Atoms[number])[axis] as readonly number[];
    return constant.shape[axis] === extent ? atoms : atoms.map(() => 1);
  });
  return { extents, data: constant.data };
}
