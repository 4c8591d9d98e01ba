/** Tensors of the key seen otherwise: axes permuted, repeated, cut, joined, selected. All of it is free or nearly so. */
import { type AxisRelation, bitsOfExtent } from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import { type KeyBuilder, type KeyTensor, sameBits } from './key-builder.ts';

/** Bits of each axis of a result, as the sources 2 + k that a bit map names. */
export function axisBits(extents: readonly number[]): number[][] {
  let next = 2;
  return extents.map((extent) => Array.from({ length: bitsOfExtent(extent) }, () => next++));
}

export function sameExtents(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** x with other bits, as a tensor of its own. */
export function viewed(
  builder: KeyBuilder,
  x: KeyTensor,
  bits: readonly number[],
  extents: readonly number[],
): KeyTensor {
  const isSame = sameExtents(x.extents, extents) && bits.every((source, i) => source === 2 + i);
  return isSame ? x : builder.sum([{ x, coefficient: 1, bits }], extents, 0);
}

/** The same cells in row-major order under other axes of the same cell count. */
export function recut(builder: KeyBuilder, x: KeyTensor, extents: readonly number[]): KeyTensor {
  if (sameExtents(x.extents, extents)) return x;
  // Axes of extent 1 have no bits.
  const solid = x.extents.filter((extent) => extent !== 1);
  let current = viewed(builder, x, sameBits(solid), solid);
  // Runs of axes on both sides with equal products; only those that differ need work.
  for (let at = 0, to = 0; at < current.extents.length || to < extents.length; ) {
    let [from, onto] = [at + 1, to + 1];
    let [have, want] = [current.extents[at] as number, extents[to] as number];
    while (have !== want) {
      const isShorter = have < want;
      const next = isShorter ? current.extents[from++] : extents[onto++];
      if (next === undefined) throw new UsageError(`[${x.extents}] as [${extents}]`);
      if (isShorter) have *= next;
      else want *= next;
    }
    const [old, now] = [current.extents.slice(at, from), extents.slice(to, onto)];
    if (!sameExtents(old, now)) current = replaceRun(builder, current, at, old, now);
    at += now.length;
    to = onto;
  }
  return current;
}

/** Axes of extent 1 have no bits: adding them changes nothing but the list of extents. */
export function recutWithOnes(builder: KeyBuilder, x: KeyTensor, extents: readonly number[]): KeyTensor {
  const solid = recut(
    builder,
    x,
    extents.filter((extent) => extent !== 1),
  );
  return viewed(builder, solid, sameBits(solid.extents), extents);
}

function replaceRun(
  builder: KeyBuilder,
  x: KeyTensor,
  at: number,
  old: readonly number[],
  now: readonly number[],
): KeyTensor {
  if (sameExtents(old, now)) return x;
  const around = (run: readonly number[]): number[] => [
    ...x.extents.slice(0, at),
    ...run,
    ...x.extents.slice(at + old.length),
  ];
  // A split leaves the index bits where they are if the inner parts are powers of two; so does everything if all are.
  const isPower = (extent: number): boolean => 2 ** bitsOfExtent(extent) === extent;
  if ((old.length === 1 && now.slice(1).every(isPower)) || [...old, ...now].every(isPower)) {
    const extents = around(now);
    return builder.sum([{ x, coefficient: 1, bits: sameBits(extents) }], extents, 0);
  }
  let current = x;
  for (let width = old.length; width > 1; width--) current = joinAxes(builder, current, at);
  if (old.length > 1) return replaceRun(builder, current, at, current.extents.slice(at, at + 1), now);
  let rest = current.extents[at] as number;
  for (const [i, extent] of now.slice(0, -1).entries()) {
    rest /= extent;
    current = splitAxis(builder, current, at + i, extent, rest);
  }
  return current;
}

const PLAIN = { dilation: 1, pad: 0, start: 0 } as const;

/** Axes `at` and `at + 1` as one. */
function joinAxes(builder: KeyBuilder, x: KeyTensor, at: number): KeyTensor {
  const [outer, inner] = x.extents.slice(at, at + 2) as [number, number];
  const extents = [...x.extents.slice(0, at), outer * inner, ...x.extents.slice(at + 2)];
  const relations = x.extents.flatMap((_, axis): AxisRelation[] => {
    if (axis === at) return [{ kind: 'merge', xPosition: at, xTap: at + 1, y: at, stride: inner, ...PLAIN }];
    if (axis === at + 1) return [];
    return [{ kind: 'same', x: axis, y: axis < at ? axis : axis - 1 }];
  });
  return builder.wire(x, relations, extents);
}

/** Axis `at` as `outer` x `inner`. */
function splitAxis(builder: KeyBuilder, x: KeyTensor, at: number, outer: number, inner: number): KeyTensor {
  const extents = [...x.extents.slice(0, at), outer, inner, ...x.extents.slice(at + 1)];
  const relations = x.extents.map((_, axis): AxisRelation => {
    if (axis === at) return { kind: 'window', x: at, yPosition: at, yTap: at + 1, stride: inner, ...PLAIN };
    return { kind: 'same', x: axis, y: axis < at ? axis : axis + 1 };
  });
  return builder.wire(x, relations, extents);
}

/** One axis read at start + stride · j, or written at an offset `pad`; cells outside are 0. */
export interface Shift {
  readonly axis: number;
  readonly extent: number;
  readonly stride: number;
  readonly start: number;
  readonly pad: number;
  /** Values summed up per cell. */
  readonly taps: number;
  readonly dilation: number;
}

/** Several axes shifted at once. */
export function shifted(builder: KeyBuilder, x: KeyTensor, shifts: readonly Shift[]): KeyTensor {
  const moving = shifts.filter(
    ({ axis, extent, stride, start, pad, taps }) =>
      extent !== x.extents[axis] || stride !== 1 || start !== 0 || pad !== 0 || taps !== 1,
  );
  if (moving.length === 0) return x;
  const extents = [...x.extents];
  const relations = x.extents.map((_, axis): AxisRelation => {
    const shift = moving.find((each) => each.axis === axis);
    if (shift === undefined) return { kind: 'same', x: axis, y: axis };
    extents[axis] = shift.extent;
    const { stride, start, pad, taps, dilation } = shift;
    return { kind: 'pool', x: axis, y: axis, taps, stride, dilation: taps === 1 ? 1 : dilation, pad, start };
  });
  return builder.wire(x, relations, extents);
}
