/** Sliding windows: convolutions as products with patches, pools. */

import type { AxisRelation } from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import type { Window2d } from '../float/window.ts';
import type { ConvOp, NormalNode, NormalOp } from '../normal/normal-graph.ts';
import { type Atoms, isTrivialWindow } from './atoms.ts';
import {
  type BiasTerm,
  bestTop,
  type Expression,
  type FixedTerm,
  type FreeTerm,
  type Quantized,
} from './expression.ts';
import { type KeyBuilder, type KeyTensor, sameBits } from './key-builder.ts';
import { flat, levelsOf, reachOf, type State } from './lowering.ts';
import { axisBits, recut, recutWithOnes, type Shift, shifted, viewed } from './views.ts';

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
  const { tensor, scale } = state.anchored(x);
  // An axis of extent 1 is needed where padding makes it longer.
  const hasRows = Math.max(window.height, window.outHeight, window.kernelHeight) > 1;
  const hasColumns = Math.max(window.width, window.outWidth, window.kernelWidth) > 1;
  const spatial = [...(hasRows ? [window.height] : []), ...(hasColumns ? [window.width] : [])];
  const fitted = recutWithOnes(state.builder, tensor, [...channels, ...spatial]);
  const rowAxis = hasRows ? channels.length : -1;
  const columnAxis = hasColumns ? fitted.extents.length - 1 : -1;
  return { tensor: fitted, scale, rowAxis, columnAxis, channels };
}

export function convExpression(state: State, node: NormalNode, op: ConvOp): Expression {
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
  const target = flat(state, y);
  // One number: a factor, no product.
  const isNumber = weightExtents.every((extent) => extent === 1);
  const term: FreeTerm | FixedTerm = isNumber
    ? {
        kind: 'fixed',
        tensor: recut(builder, patches, target),
        unit: image.scale * (data[0] as number),
        bits: sameBits(target),
      }
    : {
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

export function averageExpression(
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
  const counts = tapCounts(window, op.includePad);
  const bits = sameBits(summed.extents);
  const [count] = counts as [number];
  if (counts.every((each) => each === count)) {
    return {
      extents: summed.extents,
      terms: [{ kind: 'fixed', tensor: summed, unit: image.scale / count, bits }],
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
export function maxPool(state: State, x: number, window: Window2d): Quantized {
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
