/** Sliding windows of convolutions and pools: where the taps of each output pixel lie. */
import { MalformedError } from '@haca/primitives';
import { intAttribute, intsAttribute, type OpCall, textAttribute } from './op.ts';

/** A window over two axes; one over a single axis has height 1. */
export interface Window2d {
  readonly height: number;
  readonly width: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly strideY: number;
  readonly strideX: number;
  readonly dilationY: number;
  readonly dilationX: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly padBottom: number;
  readonly padRight: number;
  readonly outHeight: number;
  readonly outWidth: number;
  /** Spatial extents of the result, as many as the operand has. */
  readonly outShape: readonly number[];
}

/** Reads strides, dilations, pads, auto_pad and ceil_mode for `spatial` extents (one or two). */
export function window2d(call: OpCall, spatial: readonly number[], kernel: readonly number[]): Window2d {
  const rank = spatial.length;
  const ones = new Array<number>(rank).fill(1);
  const listed = (name: string, absent: readonly number[], min: number): readonly number[] => {
    const found = intsAttribute(call, name, []);
    const values = found.length === 0 ? absent : found;
    if (values.length !== absent.length || values.some((v) => v < min || v > 65_536))
      throw bad(call, `${name}: ${absent.length} integers of at least ${min}`, `[${values.join(', ')}]`);
    return values;
  };
  const declared = intsAttribute(call, 'kernel_shape', []);
  if (
    kernel.length !== rank ||
    kernel.some((k) => k < 1) ||
    (declared.length > 0 && declared.join() !== kernel.join())
  )
    throw bad(call, `kernel_shape over ${rank} axes`, `[${declared.join(', ')}] for [${kernel.join(', ')}]`);
  const strides = listed('strides', ones, 1);
  const dilations = listed('dilations', ones, 1);
  const reach = kernel.map((k, i) => (k - 1) * (dilations[i] as number) + 1);
  const pads = padding(call, spatial, strides, reach, listed('pads', new Array<number>(2 * rank).fill(0), 0));
  const ceil = intAttribute(call, 'ceil_mode', 0) !== 0;
  const out = spatial.map((extent, i) => {
    const [begin, end, stride] = [pads[i], pads[i + rank], strides[i]] as [number, number, number];
    const steps = (extent + begin + end - (reach[i] as number)) / stride;
    const count = (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
    // A window that would begin in the padding at the end is left out.
    return ceil && (count - 1) * stride >= extent + begin ? count - 1 : count;
  });
  if (out.some((extent) => extent < 1))
    throw bad(
      call,
      'a window inside the padded operand',
      `[${kernel.join(', ')}] over [${spatial.join(', ')}]`,
    );
  const two = (values: readonly number[], fill: number): [number, number] =>
    rank === 1 ? [fill, values[0] as number] : [values[0] as number, values[1] as number];
  const [height, width] = two(spatial, 1);
  const [kernelHeight, kernelWidth] = two(kernel, 1);
  const [strideY, strideX] = two(strides, 1);
  const [dilationY, dilationX] = two(dilations, 1);
  const [padTop, padLeft] = two(pads.slice(0, rank), 0);
  const [padBottom, padRight] = two(pads.slice(rank), 0);
  const [outHeight, outWidth] = two(out, 1);
  return {
    height,
    width,
    kernelHeight,
    kernelWidth,
    strideY,
    strideX,
    dilationY,
    dilationX,
    padTop,
    padLeft,
    padBottom,
    padRight,
    outHeight,
    outWidth,
    outShape: out,
  };
}

function padding(
  call: OpCall,
  spatial: readonly number[],
  strides: readonly number[],
  reach: readonly number[],
  pads: readonly number[],
): readonly number[] {
  const mode = textAttribute(call, 'auto_pad', 'NOTSET');
  if (mode === 'NOTSET' || mode === '') return pads;
  if (mode === 'VALID') return pads.map(() => 0);
  if (mode !== 'SAME_UPPER' && mode !== 'SAME_LOWER') throw bad(call, 'auto_pad of ONNX', mode);
  const totals = spatial.map((extent, i) => {
    const stride = strides[i] as number;
    return Math.max(0, (Math.ceil(extent / stride) - 1) * stride + (reach[i] as number) - extent);
  });
  const small = totals.map((total) => Math.floor(total / 2));
  const large = totals.map((total) => Math.ceil(total / 2));
  return mode === 'SAME_UPPER' ? [...small, ...large] : [...large, ...small];
}

function bad(call: OpCall, expected: string, got: string): MalformedError {
  return new MalformedError('onnx.attribute', call.place, expected, got);
}
