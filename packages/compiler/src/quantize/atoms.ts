/**
 * In which axes the tensors of the key are cut. A reshape that joins or splits axes costs nothing if the tensor already
 * has the finer axes: so cuts wanted by reshapes are carried through the graph to where the tensor is made, as far as the
 * operators on the way allow. Axes of extent 1 vanish.
 */
import { cellsOf } from '../float/tensor.ts';
import type { Window2d } from '../float/window.ts';
import type { NormalGraph, NormalNode, NormalValue } from '../normal/normal-graph.ts';

/** By value, by axis: the extents it is cut into, outermost first; their product is the axis' extent. */
export type Atoms = readonly (readonly (readonly number[])[])[];

interface Cuts {
  /** By value, by axis: sizes of the inner parts, e.g. 12 cut as 3 x 2 x 2 has 4 and 2. */
  readonly inner: Set<number>[][];
  readonly rigid: Set<number>[];
  changed: boolean;
}

const ROUNDS_MAX = 64;

export function findAtoms(graph: NormalGraph): Atoms {
  const cuts: Cuts = {
    inner: graph.values.map(({ shape }) => shape.map(() => new Set<number>())),
    rigid: graph.values.map(() => new Set<number>()),
    changed: true,
  };
  for (const node of graph.nodes) markRigid(graph, cuts, node);
  for (let round = 0; cuts.changed && round < ROUNDS_MAX; round++) {
    cuts.changed = false;
    for (const node of graph.nodes) propagate(graph, cuts, node);
  }
  return graph.values.map(({ shape }, value) =>
    shape.map((extent, axis) => {
      const sizes = [...(cuts.inner[value]?.[axis] as Set<number>)].sort((a, b) => b - a);
      const ends = [extent, ...sizes, 1];
      return ends
        .slice(0, -1)
        .flatMap((size, i) => (size === ends[i + 1] ? [] : [size / (ends[i + 1] as number)]));
    }),
  );
}

function shapeOf(graph: NormalGraph, value: number): readonly number[] {
  return (graph.values[value] as NormalValue).shape;
}

function addCut(graph: NormalGraph, cuts: Cuts, value: number, axis: number, size: number): void {
  const extent = shapeOf(graph, value)[axis] as number;
  const own = cuts.inner[value]?.[axis] as Set<number>;
  if (size <= 1 || size >= extent || extent % size !== 0 || own.has(size)) return;
  if (cuts.rigid[value]?.has(axis)) return;
  for (const other of own) if (other % size !== 0 && size % other !== 0) return;
  own.add(size);
  cuts.changed = true;
}

/** Cuts of one axis hold on the other too. */
function link(graph: NormalGraph, cuts: Cuts, a: number, axisA: number, b: number, axisB: number): void {
  for (const size of cuts.inner[a]?.[axisA] ?? []) addCut(graph, cuts, b, axisB, size);
  for (const size of cuts.inner[b]?.[axisB] ?? []) addCut(graph, cuts, a, axisA, size);
}

export function isTrivialWindow(w: Window2d): boolean {
  return (
    w.kernelHeight * w.kernelWidth * w.strideY * w.strideX === 1 &&
    w.padTop + w.padLeft + w.padBottom + w.padRight === 0
  );
}

function markRigid(graph: NormalGraph, cuts: Cuts, { op, y }: NormalNode): void {
  const rigid = (value: number, axis: number): void => {
    cuts.rigid[value]?.add(axis);
  };
  const last = shapeOf(graph, y).length - 1;
  switch (op.kind) {
    case 'softmax':
    case 'top1':
      rigid(op.x, last);
      rigid(y, last);
      if (op.kind === 'softmax' && op.causal) {
        rigid(op.x, last - 1);
        rigid(y, last - 1);
      }
      break;
    case 'index':
      rigid(op.x, last);
      break;
    case 'conv': {
      const { groups, weight } = op;
      const channels = shapeOf(graph, op.x)[1] as number;
      const out = weight.shape[0] as number;
      if (groups > 1 && !(groups === channels && out === channels)) {
        addCut(graph, cuts, op.x, 1, channels / groups);
        addCut(graph, cuts, y, 1, out / groups);
        rigid(op.x, 1);
        rigid(y, 1);
      }
      if (!isTrivialWindow(op.window)) rigidSpatial(graph, rigid, op.x, y);
      break;
    }
    case 'averagePool':
    case 'maxPool':
      rigidSpatial(graph, rigid, op.x, y);
      break;
    case 'concat':
      for (const x of op.xs) rigid(x, op.axis);
      rigid(y, op.axis);
      break;
    case 'pad':
      for (const [axis, extent] of shapeOf(graph, y).entries()) {
        if (extent === shapeOf(graph, op.x)[axis]) continue;
        rigid(op.x, axis);
        rigid(y, axis);
      }
      break;
    case 'slice':
      for (const [axis, extent] of shapeOf(graph, y).entries()) {
        const from = shapeOf(graph, op.x)[axis] as number;
        if (from === extent || isAligned(from, extent, op.starts[axis] as number, op.steps[axis] as number))
          continue;
        rigid(op.x, axis);
        rigid(y, axis);
      }
      break;
    default:
  }
}

function rigidSpatial(
  graph: NormalGraph,
  rigid: (value: number, axis: number) => void,
  x: number,
  y: number,
): void {
  for (let axis = 2; axis < shapeOf(graph, y).length; axis++) {
    rigid(x, axis);
    rigid(y, axis);
  }
}

/** Whether a slice is one of the equal parts that the axis can be cut into. */
export function isAligned(from: number, extent: number, start: number, step: number): boolean {
  if (extent === 1) return true;
  return step === 1 && from % extent === 0 && start % extent === 0;
}

function propagate(graph: NormalGraph, cuts: Cuts, { op, y }: NormalNode): void {
  const shape = shapeOf(graph, y);
  const sameAxes = (x: number): void => {
    const from = shapeOf(graph, x);
    for (const [axis, extent] of shape.entries())
      if (from[axis] === extent) link(graph, cuts, x, axis, y, axis);
  };
  switch (op.kind) {
    case 'contract':
      for (const [axisA, label] of op.labelsA.entries()) {
        const axisY = op.labelsY.indexOf(label);
        if (axisY >= 0 && shape[axisY] === shapeOf(graph, op.a)[axisA])
          link(graph, cuts, op.a, axisA, y, axisY);
        const axisC = op.labelsC.indexOf(label);
        if (
          typeof op.c === 'number' &&
          axisC >= 0 &&
          shapeOf(graph, op.c)[axisC] === shapeOf(graph, op.a)[axisA]
        )
          link(graph, cuts, op.a, axisA, op.c, axisC);
      }
      if (typeof op.c !== 'number') break;
      for (const [axisC, label] of op.labelsC.entries()) {
        const axisY = op.labelsY.indexOf(label);
        if (axisY >= 0 && shape[axisY] === shapeOf(graph, op.c)[axisC])
          link(graph, cuts, op.c, axisC, y, axisY);
      }
      break;
    case 'conv': {
      const out = op.weight.shape[0];
      if (op.groups > 1 && op.groups === out && out === shapeOf(graph, op.x)[1])
        link(graph, cuts, op.x, 1, y, 1);
      if (isTrivialWindow(op.window))
        for (let axis = 2; axis < shape.length; axis++) link(graph, cuts, op.x, axis, y, axis);
      break;
    }
    case 'gather':
      for (const [axis] of shapeOf(graph, op.ids).entries()) link(graph, cuts, op.ids, axis, y, axis);
      break;
    case 'add':
      sameAxes(op.a);
      sameAxes(op.b);
      break;
    case 'concat':
      for (const x of op.xs)
        for (const [axis] of shape.entries()) if (axis !== op.axis) link(graph, cuts, x, axis, y, axis);
      break;
    case 'transpose':
      for (const [axis, from] of op.order.entries()) link(graph, cuts, op.x, from, y, axis);
      break;
    case 'slice':
      for (const [axis, extent] of shape.entries()) {
        const from = shapeOf(graph, op.x)[axis] as number;
        if (
          extent > 1 &&
          extent < from &&
          isAligned(from, extent, op.starts[axis] as number, op.steps[axis] as number)
        )
          addCut(graph, cuts, op.x, axis, extent);
        link(graph, cuts, op.x, axis, y, axis);
      }
      break;
    case 'reshape':
      reshapeCuts(graph, cuts, op.x, y);
      reshapeCuts(graph, cuts, y, op.x);
      break;
    default:
      sameAxes(op.x);
  }
}

/** Every place where `from` is cut, its axes included, is a cut of `to`, counted in cells from the end. */
function reshapeCuts(graph: NormalGraph, cuts: Cuts, from: number, to: number): void {
  const shape = shapeOf(graph, from);
  const target = shapeOf(graph, to);
  for (const [axis] of shape.entries()) {
    const base = cellsOf(shape.slice(axis + 1));
    for (const size of [1, ...(cuts.inner[from]?.[axis] ?? [])]) {
      const place = base * size;
      const onto = target.findIndex((extent, a) => {
        const below = cellsOf(target.slice(a + 1));
        return place > below && place < below * extent;
      });
      if (onto === -1) continue;
      const below = cellsOf(target.slice(onto + 1));
      if (place % below === 0) addCut(graph, cuts, to, onto, place / below);
    }
  }
}
