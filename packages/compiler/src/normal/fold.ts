/**
 * Scales and shifts moved into weights: of BatchNorm, scalers, gains of normalizations, divisions by constants. What can
 * not be moved stays an operator of its own.
 */
import { broadcastStrides, cellsOf, type Tensor, tensorOf, walk } from '../float/tensor.ts';
import {
  type ContractOp,
  type ConvOp,
  type NormalGraph,
  type NormalNode,
  type NormalValue,
  operandsOf,
} from './normal-graph.ts';

type Affine = Extract<NormalNode['op'], { kind: 'affine' }>;

/** Folds until nothing changes and drops what is no longer read. */
export function foldAffines(graph: NormalGraph): NormalGraph {
  let current = prune(graph);
  for (;;) {
    const next = foldOnce(current);
    if (next === undefined) return current;
    current = prune(next);
  }
}

function foldOnce(graph: NormalGraph): NormalGraph | undefined {
  const uses = countUses(graph);
  const producers = new Map(graph.nodes.map((node) => [node.y, node]));
  for (const node of graph.nodes) {
    if (node.op.kind !== 'affine') continue;
    const before = producers.get(node.op.x);
    if (before !== undefined && uses.get(node.op.x) === 1) {
      const merged = afterInto(before, node.op);
      if (merged !== undefined)
        return replace(
          graph,
          new Map([
            [before, undefined],
            [node, { ...node, op: merged }],
          ]),
        );
    }
    const readers = graph.nodes.filter((each) => operandsOf(each.op).includes(node.y));
    if (readers.length === 0 || graph.outputs.includes(node.y)) continue;
    const moved = readers.length === 1 ? behindMove(graph, node, readers[0] as NormalNode) : undefined;
    if (moved !== undefined) return moved;
    const rewritten = readers.map((reader) => beforeInto(reader, node.y, node.op as Affine));
    if (rewritten.every((op) => op !== undefined)) {
      return replace(
        graph,
        new Map(readers.map((reader, i) => [reader, { ...reader, op: rewritten[i] as NormalNode['op'] }])),
      );
    }
  }
  return undefined;
}

/** The same scale and shift everywhere commute with operators that move cells: they come to stand behind. */
function behindMove(graph: NormalGraph, node: NormalNode, reader: NormalNode): NormalGraph | undefined {
  const affine = node.op as Affine;
  const { op } = reader;
  const moves =
    op.kind === 'reshape' || op.kind === 'transpose' || op.kind === 'slice' || op.kind === 'expand';
  if (!moves || affine.scale.data.length !== 1 || affine.shift.data.length !== 1) return undefined;
  const { name, shape } = graph.values[reader.y] as NormalValue;
  const between = graph.values.length;
  const ranked = (tensor: Tensor): Tensor => ({ ...tensor, shape: shape.map(() => 1) });
  const after: NormalNode = {
    ...node,
    op: { kind: 'affine', x: between, scale: ranked(affine.scale), shift: ranked(affine.shift) },
    y: reader.y,
  };
  return {
    ...graph,
    values: [...graph.values, { name: `${name} moved`, shape, float: undefined }],
    nodes: graph.nodes.flatMap((each) => {
      if (each === node) return [];
      return each === reader ? [{ ...reader, op: { ...op, x: affine.x }, y: between }, after] : [each];
    }),
  };
}

function replace(graph: NormalGraph, changes: ReadonlyMap<NormalNode, NormalNode | undefined>): NormalGraph {
  return {
    ...graph,
    nodes: graph.nodes.flatMap((node) => {
      if (!changes.has(node)) return [node];
      const changed = changes.get(node);
      return changed === undefined ? [] : [changed];
    }),
  };
}

function countUses(graph: NormalGraph): Map<number, number> {
  const uses = new Map<number, number>();
  const add = (value: number): void => {
    uses.set(value, (uses.get(value) ?? 0) + 1);
  };
  for (const node of graph.nodes) for (const value of operandsOf(node.op)) add(value);
  for (const output of graph.outputs) add(output);
  return uses;
}

function prune(graph: NormalGraph): NormalGraph {
  const needed = new Set(graph.outputs);
  const kept: NormalNode[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i] as NormalNode;
    if (!needed.has(node.y)) continue;
    kept.push(node);
    for (const value of operandsOf(node.op)) needed.add(value);
  }
  return { ...graph, nodes: kept.reverse() };
}

/** scale · op + shift as one operator. */
function afterInto({ op }: NormalNode, { scale, shift }: Affine): NormalNode['op'] | undefined {
  if (op.kind === 'affine') {
    return { ...op, scale: product(op.scale, scale), shift: sum(product(op.shift, scale), shift) };
  }
  if (op.kind === 'contract' && typeof op.c !== 'number') return afterContract(op, op.c, scale, shift);
  if (op.kind === 'conv') return afterConv(op, scale, shift);
  if (op.kind === 'mean' && isOne(shift, 0) && scale.data.length === 1)
    return { ...op, divisor: op.divisor / (scale.data[0] as number) };
  return undefined;
}

function isOne({ data }: Tensor, value: number): boolean {
  return data.every((each) => each === value);
}

function afterContract(op: ContractOp, weight: Tensor, scale: Tensor, shift: Tensor): ContractOp | undefined {
  // The scale may vary along axes of y that the weight has.
  const varying = scale.shape.flatMap((extent, axis) => (extent === 1 ? [] : [op.labelsY[axis] as number]));
  if (varying.some((label) => !op.labelsC.includes(label))) return undefined;
  const bias = op.bias === undefined ? shift : sum(product(op.bias, scale), shift);
  const strides = labelStrides(scale, op.labelsY);
  return {
    ...op,
    c: scaledAlong(weight, op.labelsC, scale, strides),
    bias: isOne(bias, 0) ? undefined : bias,
  };
}

function labelStrides(tensor: Tensor, labels: readonly number[]): Map<number, number> {
  const strides = broadcastStrides(tensor.shape, tensor.shape);
  return new Map(labels.map((label, axis) => [label, strides[axis] as number]));
}

/** weight · factor, the factor read along the weight's labels. */
function scaledAlong(
  weight: Tensor,
  labels: readonly number[],
  factor: Tensor,
  strides: ReadonlyMap<number, number>,
): Tensor {
  const out = new Float32Array(weight.data.length);
  walk(
    weight.shape,
    labels.map((label) => strides.get(label) ?? 0),
    0,
    (at, from) => {
      out[at] = (weight.data[at] as number) * (factor.data[from] as number);
    },
  );
  return { type: 'float', shape: weight.shape, data: out };
}

/** Channels are axis 1 of y; the scale and shift may vary along them alone. */
function perChannel(tensor: Tensor, channels: number): Float64Array | undefined {
  if (tensor.shape.some((extent, axis) => axis !== 1 && extent !== 1)) return undefined;
  return Float64Array.from(
    { length: channels },
    (_, c) => tensor.data[tensor.data.length === 1 ? 0 : c] as number,
  );
}

function afterConv(op: ConvOp, scale: Tensor, shift: Tensor): ConvOp | undefined {
  const channels = op.weight.shape[0] as number;
  const [scales, shifts] = [perChannel(scale, channels), perChannel(shift, channels)];
  if (scales === undefined || shifts === undefined) return undefined;
  const inner = cellsOf(op.weight.shape) / channels;
  const weight = Float32Array.from(op.weight.data, (w, i) => w * (scales[Math.floor(i / inner)] as number));
  const bias = shifts.map((value, c) => value + (scales[c] as number) * (op.bias?.data[c] ?? 0));
  return { ...op, weight: { ...op.weight, data: weight }, bias: tensorOf('float', [channels], bias) };
}

/** op(scale · x + shift) as one operator on x. */
function beforeInto(reader: NormalNode, value: number, affine: Affine): NormalNode['op'] | undefined {
  const { op } = reader;
  const { scale, shift } = affine;
  if (op.kind === 'contract' && typeof op.c !== 'number' && op.a === value)
    return beforeContract(op, op.c, affine);
  if (op.kind === 'conv' && op.x === value) return beforeConv(op, affine);
  if (op.kind === 'pointwise' && scale.data.length === 1 && shift.data.length === 1) {
    const [by, plus] = [scale.data[0] as number, shift.data[0] as number];
    const inner = op.function;
    return {
      ...op,
      x: affine.x,
      function: { label: inner.label, of: (points) => inner.of(points.map((p) => by * p + plus)) },
    };
  }
  return undefined;
}

function beforeContract(op: ContractOp, weight: Tensor, affine: Affine): ContractOp | undefined {
  const { scale, shift } = affine;
  const varying = [scale, shift].flatMap(({ shape }) =>
    shape.flatMap((extent, axis) => (extent === 1 ? [] : [op.labelsA[axis] as number])),
  );
  if (varying.some((label) => !op.labelsC.includes(label))) return undefined;
  const scaled = scaledAlong(weight, op.labelsC, scale, labelStrides(scale, op.labelsA));
  const moved = isOne(shift, 0) ? undefined : contractedShift(op, weight, shift);
  const bias = moved === undefined ? op.bias : op.bias === undefined ? moved : sum(op.bias, moved);
  return { ...op, a: affine.x, c: scaled, bias };
}

/** Σ shift · weight over contracted labels: a bias along the result's axes that the weight has. */
function contractedShift(op: ContractOp, weight: Tensor, shift: Tensor): Tensor {
  const extents = new Map(op.labelsC.map((label, axis) => [label, weight.shape[axis] as number]));
  const shape = op.labelsY.map((label) => extents.get(label) ?? 1);
  const out = new Float64Array(cellsOf(shape));
  const outStrides = labelStrides({ type: 'float', shape, data: out }, op.labelsY);
  const shiftStrides = labelStrides(shift, op.labelsA);
  // An axis of x beside the weight's would repeat the same sum.
  const positions = new Float64Array(weight.data.length);
  walk(
    weight.shape,
    op.labelsC.map((label) => outStrides.get(label) ?? 0),
    0,
    (at, to) => {
      positions[at] = to;
    },
  );
  walk(
    weight.shape,
    op.labelsC.map((label) => shiftStrides.get(label) ?? 0),
    0,
    (at, from) => {
      const to = positions[at] as number;
      out[to] = (out[to] as number) + (weight.data[at] as number) * (shift.data[from] as number);
    },
  );
  return tensorOf('float', shape, out);
}

function beforeConv(op: ConvOp, { x, scale, shift }: Affine): ConvOp | undefined {
  const [out, perGroup] = op.weight.shape as [number, number];
  const channels = perGroup * op.groups;
  const [scales, shifts] = [perChannel(scale, channels), perChannel(shift, channels)];
  if (scales === undefined || shifts === undefined) return undefined;
  const { padTop, padBottom, padLeft, padRight } = op.window;
  // Padding stands for 0 after the shift, so it can not be moved past it.
  if (padTop + padBottom + padLeft + padRight > 0 && shifts.some((value) => value !== 0)) return undefined;
  const inner = cellsOf(op.weight.shape.slice(2));
  const bias = Float64Array.from({ length: out }, (_, o) => op.bias?.data[o] ?? 0);
  const weight = Float32Array.from(op.weight.data, (w, i) => {
    const o = Math.floor(i / (inner * perGroup));
    const group = Math.floor(o / (out / op.groups));
    const c = group * perGroup + (Math.floor(i / inner) % perGroup);
    bias[o] = (bias[o] as number) + w * (shifts[c] as number);
    return w * (scales[c] as number);
  });
  return { ...op, x, weight: { ...op.weight, data: weight }, bias: tensorOf('float', [out], bias) };
}

function product(a: Tensor, b: Tensor): Tensor {
  return combine(a, b, (x, y) => x * y);
}

function sum(a: Tensor, b: Tensor): Tensor {
  return combine(a, b, (x, y) => x + y);
}

function combine(a: Tensor, b: Tensor, of: (x: number, y: number) => number): Tensor {
  const shape = a.shape.map((extent, axis) => Math.max(extent, b.shape[axis] as number));
  const out = new Float64Array(cellsOf(shape));
  walk(shape, broadcastStrides(a.shape, shape), 0, (at, from) => {
    out[at] = a.data[from] as number;
  });
  walk(shape, broadcastStrides(b.shape, shape), 0, (at, from) => {
    out[at] = of(out[at] as number, b.data[from] as number);
  });
  return { type: 'float', shape, data: Float32Array.from(out) };
}
