/** Operators that move cells, on values that are rounded already. */
import { cellsOf } from '../float/tensor.ts';
import type { NormalOp } from '../normal/normal-graph.ts';
import { type Atoms, isAligned } from './atoms.ts';
import type { Quantized } from './expression.ts';
import type { KeyTensor } from './key-builder.ts';
import { axesOf, flat, type State, shapeOf, spreadBits } from './lowering.ts';
import { axisBits, recut, recutWithOnes, type Shift, shifted, viewed } from './views.ts';

type Move = Extract<NormalOp, { kind: 'transpose' | 'slice' | 'expand' | 'pad' }>;

/** Operators that move cells, on a value that is rounded already. */
export function move(state: State, op: Move, y: number): Quantized {
  const { builder } = state;
  const { tensor, scale } = state.anchored(op.x);
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

export function slice(
  state: State,
  op: Extract<NormalOp, { kind: 'slice' }>,
  y: number,
  x: KeyTensor,
): KeyTensor {
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

export function pad(
  state: State,
  op: Extract<NormalOp, { kind: 'pad' }>,
  y: number,
  x: KeyTensor,
): KeyTensor {
  return placed(state, op.x, y, x, op.before);
}

/** x inside the axes of y, at an offset along each, zeros around it. */
export function placed(
  state: State,
  from: number,
  y: number,
  x: KeyTensor,
  before: readonly number[],
): KeyTensor {
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
