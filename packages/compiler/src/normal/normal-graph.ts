/**
 * The normal form of a model: few operators, every constant multiplication folded into weights, every chain of
 * cell-by-cell arithmetic one function. Quantization works on this and sees no ONNX operator.
 *
 * Shapes keep axes of extent 1, the batch among them; cells are in row-major order as in the float graph.
 */
import type { Tensor } from '../float/tensor.ts';
import type { Window2d } from '../float/window.ts';
import type { PointwiseFunction } from './pointwise.ts';

export interface NormalValue {
  readonly name: string;
  readonly shape: readonly number[];
  /** The value of the float graph that has the same cells, where there is one: its range was calibrated. */
  readonly float: number | undefined;
}

/** y[labelsY] = Σ a[labelsA] · c[labelsC] over labels that y has not, plus a bias with the axes of y (extent 1: repeated). */
export interface ContractOp {
  readonly kind: 'contract';
  readonly a: number;
  readonly c: number | Tensor;
  readonly labelsA: readonly number[];
  readonly labelsC: readonly number[];
  readonly labelsY: readonly number[];
  readonly bias: Tensor | undefined;
}

/** Images [1, channels, height, width] (one spatial axis: height 1), weight [out, in / groups, ky, kx], zero padding. */
export interface ConvOp {
  readonly kind: 'conv';
  readonly x: number;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly groups: number;
  readonly window: Window2d;
}

export type NormalOp =
  | ContractOp
  | ConvOp
  /** y[i…, d…] = table[ids[i…], d…] */
  | { readonly kind: 'gather'; readonly ids: number; readonly table: Tensor }
  /** y = a + sign · b, extent 1 repeated. */
  | { readonly kind: 'add'; readonly a: number; readonly b: number; readonly sign: 1 | -1 }
  /** y = scale · x + shift; both have the axes of y, extent 1 repeated. */
  | { readonly kind: 'affine'; readonly x: number; readonly scale: Tensor; readonly shift: Tensor }
  /** Sum over `axes` (kept as extent 1) divided by `divisor`. */
  | { readonly kind: 'mean'; readonly x: number; readonly axes: readonly number[]; readonly divisor: number }
  | {
      readonly kind: 'averagePool';
      readonly x: number;
      readonly window: Window2d;
      readonly includePad: boolean;
    }
  | { readonly kind: 'maxPool'; readonly x: number; readonly window: Window2d }
  | { readonly kind: 'pointwise'; readonly x: number; readonly function: PointwiseFunction }
  /** Along the last axis; `causal` masks j > i of the last two. */
  | { readonly kind: 'softmax'; readonly x: number; readonly causal: boolean }
  /** Along the last axis: (x − mean) / √(variance + epsilon), without the mean when not centred. */
  | { readonly kind: 'norm'; readonly x: number; readonly centered: boolean; readonly epsilon: number }
  /** One-hot of the largest along the last axis, the first of equals. */
  | { readonly kind: 'top1'; readonly x: number }
  /** Σ j · x_j along the last axis (kept as extent 1): the position in a one-hot vector. */
  | { readonly kind: 'index'; readonly x: number }
  | { readonly kind: 'reshape'; readonly x: number }
  | { readonly kind: 'transpose'; readonly x: number; readonly order: readonly number[] }
  /** y[i] = x[start + step · i] along each axis. */
  | {
      readonly kind: 'slice';
      readonly x: number;
      readonly starts: readonly number[];
      readonly steps: readonly number[];
    }
  | { readonly kind: 'concat'; readonly xs: readonly number[]; readonly axis: number }
  /** Zeros added before and after each axis. */
  | { readonly kind: 'pad'; readonly x: number; readonly before: readonly number[] }
  | { readonly kind: 'expand'; readonly x: number };

export interface NormalNode {
  readonly op: NormalOp;
  readonly y: number;
  readonly place: string;
}

export interface NormalGraph {
  readonly values: readonly NormalValue[];
  readonly nodes: readonly NormalNode[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** The float graph's value of the first output that is kept. */
  readonly result: number;
  /** What was left out or changed, for the report. */
  readonly notes: readonly string[];
}

export function operandsOf(op: NormalOp): readonly number[] {
  switch (op.kind) {
    case 'contract':
      return typeof op.c === 'number' ? [op.a, op.c] : [op.a];
    case 'gather':
      return [op.ids];
    case 'add':
      return [op.a, op.b];
    case 'concat':
      return op.xs;
    default:
      return [op.x];
  }
}
