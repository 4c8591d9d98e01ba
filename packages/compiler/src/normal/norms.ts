/**
 * Normalizations as exporters without LayerNormalization spell them: mean, difference, square, mean, root, quotient, in a
 * dozen arrangements. A candidate is found by its root, its extent by where its values are used, and what it computes by
 * trying: gain and shift are solved for, and the formula must then give the same numbers on other rows.
 */
import { evaluateNode, type FloatGraph, type FloatNode, type FloatValue } from '../float/graph.ts';
import { sameShape, type Tensor, tensorOf } from '../float/tensor.ts';

export interface FoundNorm {
  readonly x: number;
  readonly y: number;
  readonly centered: boolean;
  readonly epsilon: number;
  /** Along the last axis. */
  readonly gain: Float64Array;
  readonly shift: Float64Array;
  /** Positions of the nodes it stands for. */
  readonly nodes: ReadonlySet<number>;
}

const TOLERANCE = 1e-4;
const REGION_NODES_MAX = 64;

export function findNorms(graph: FloatGraph): FoundNorm[] {
  const producer = new Map<number, number>();
  for (const [position, node] of graph.nodes.entries())
    for (const y of node.outputs) producer.set(y, position);
  const found: FoundNorm[] = [];
  const taken = new Set<number>();
  for (const [position, node] of graph.nodes.entries()) {
    if (node.op !== 'Sqrt' || taken.has(position)) continue;
    const norm = normAround(graph, producer, position);
    if (norm === undefined) continue;
    for (const each of norm.nodes) taken.add(each);
    found.push(norm);
  }
  return found;
}

function normAround(
  graph: FloatGraph,
  producer: ReadonlyMap<number, number>,
  root: number,
): FoundNorm | undefined {
  const nodeOf = (index: number | undefined): FloatNode | undefined =>
    index === undefined ? undefined : graph.nodes[producer.get(index) ?? -1];
  const isConstant = (index: number | undefined): boolean =>
    index !== undefined && graph.values[index]?.constant !== undefined;
  const dataOperand = (node: FloatNode): number | undefined =>
    node.inputs.find((index) => !isConstant(index));

  // Up from the root: √(mean(c²) + epsilon), c = x or x − mean(x).
  const sum = nodeOf((graph.nodes[root] as FloatNode).inputs[0]);
  if (sum?.op !== 'Add') return undefined;
  const added = sum.inputs.find((index) => isConstant(index));
  const mean = nodeOf(dataOperand(sum));
  if (added === undefined || mean?.op !== 'ReduceMean') return undefined;
  const square = nodeOf(mean.inputs[0]);
  if (square === undefined || !isSquare(graph, square)) return undefined;
  const c = square.inputs[0] as number;
  const difference = nodeOf(c);
  const own = difference?.op === 'Sub' ? nodeOf(difference.inputs[1]) : undefined;
  const centered = own?.op === 'ReduceMean' && own.inputs[0] === difference?.inputs[0];
  const x = centered ? (difference?.inputs[0] as number) : c;
  const epsilon = (graph.values[added] as FloatValue).constant?.data[0] as number;

  const region = new Set<number>([
    root,
    ...[sum, mean, square].map((node) => producer.get(node.outputs[0] as number) as number),
  ]);
  if (centered) {
    region.add(producer.get(c) as number);
    region.add(producer.get(difference?.inputs[1] as number) as number);
  }
  const y = closeRegion(graph, region, x, root);
  return y === undefined ? undefined : fit(graph, region, x, y, centered, epsilon);
}

function isSquare(graph: FloatGraph, node: FloatNode): boolean {
  if (node.op === 'Mul') return node.inputs[0] === node.inputs[1];
  const exponent = node.inputs[1];
  return node.op === 'Pow' && exponent !== undefined && graph.values[exponent]?.constant?.data[0] === 2;
}

/** Adds what is computed from the region alone until one value is all that is used outside; returns that value. */
function closeRegion(graph: FloatGraph, region: Set<number>, x: number, root: number): number | undefined {
  const inside = new Set<number>();
  for (const position of region) for (const y of (graph.nodes[position] as FloatNode).outputs) inside.add(y);
  const shape = (graph.values[x] as FloatValue).shape;
  const first = Math.min(...region);
  for (let position = first; position < graph.nodes.length; position++) {
    const node = graph.nodes[position] as FloatNode;
    if (!region.has(position)) {
      const data = node.inputs.filter(
        (index): index is number => index !== undefined && graph.values[index]?.constant === undefined,
      );
      const fromRegion =
        data.some((index) => inside.has(index)) && data.every((index) => index === x || inside.has(index));
      if (!fromRegion) continue;
      region.add(position);
      for (const y of node.outputs) inside.add(y);
      if (region.size > REGION_NODES_MAX) return undefined;
    }
    const y = node.outputs[0] as number;
    if (
      position > root &&
      sameShape((graph.values[y] as FloatValue).shape, shape) &&
      isOnlyExit(graph, region, inside, y)
    )
      return y;
  }
  return undefined;
}

function isOnlyExit(
  graph: FloatGraph,
  region: ReadonlySet<number>,
  inside: ReadonlySet<number>,
  y: number,
): boolean {
  for (const [position, node] of graph.nodes.entries()) {
    if (region.has(position)) continue;
    if (node.inputs.some((index) => index !== undefined && index !== y && inside.has(index))) return false;
  }
  return !graph.outputs.some((index) => index !== y && inside.has(index));
}

/** Solves gain and shift from the region's own values and checks them on other rows. */
function fit(
  graph: FloatGraph,
  region: ReadonlySet<number>,
  x: number,
  y: number,
  centered: boolean,
  epsilon: number,
): FoundNorm | undefined {
  const { shape } = graph.values[x] as FloatValue;
  const width = shape.at(-1) as number;
  const order = [...region].sort((a, b) => a - b);
  const run = (seed: number): { readonly unit: Float64Array; readonly out: Tensor } => {
    const input = wave(shape, seed);
    return {
      unit: normalizedRows(input, width, centered, epsilon),
      out: runRegion(graph, order, x, input, y),
    };
  };
  const [one, two, check] = [run(1), run(2), run(3)];
  const gain = new Float64Array(width);
  const shift = new Float64Array(width);
  for (let j = 0; j < width; j++) {
    const run = (one.unit[j] as number) - (two.unit[j] as number);
    if (Math.abs(run) < 1e-6) return undefined;
    gain[j] = ((one.out.data[j] as number) - (two.out.data[j] as number)) / run;
    shift[j] = (one.out.data[j] as number) - (gain[j] as number) * (one.unit[j] as number);
  }
  for (let i = 0; i < check.unit.length; i++) {
    const j = i % width;
    const expected = (check.unit[i] as number) * (gain[j] as number) + (shift[j] as number);
    if (!(Math.abs(expected - (check.out.data[i] as number)) <= TOLERANCE * (1 + Math.abs(expected))))
      return undefined;
  }
  return { x, y, centered, epsilon, gain, shift, nodes: region };
}

/** Some rows without a pattern, the same at every run. */
function wave(shape: readonly number[], seed: number): Tensor {
  const cells = shape.reduce((product, extent) => product * extent, 1);
  return tensorOf(
    'float',
    shape,
    Float64Array.from(
      { length: cells },
      (_, i) => Math.sin((i + 1) * (0.7 + 0.31 * seed) + seed) * (1 + 0.1 * seed) + 0.2,
    ),
  );
}

function normalizedRows({ data }: Tensor, width: number, centered: boolean, epsilon: number): Float64Array {
  const out = new Float64Array(data.length);
  for (let row = 0; row < data.length; row += width) {
    let mean = 0;
    for (let j = 0; centered && j < width; j++) mean += (data[row + j] as number) / width;
    let square = 0;
    for (let j = 0; j < width; j++) square += ((data[row + j] as number) - mean) ** 2 / width;
    for (let j = 0; j < width; j++)
      out[row + j] = ((data[row + j] as number) - mean) / Math.sqrt(square + epsilon);
  }
  return out;
}

function runRegion(graph: FloatGraph, order: readonly number[], x: number, input: Tensor, y: number): Tensor {
  const computed = new Map<number, Tensor>([[x, input]]);
  for (const position of order) {
    const node = graph.nodes[position] as FloatNode;
    const operands = node.inputs.map((index) =>
      index === undefined ? undefined : (computed.get(index) ?? graph.values[index]?.constant),
    );
    const results = evaluateNode(node, operands);
    for (const [i, output] of node.outputs.entries()) computed.set(output, results[i] as Tensor);
  }
  return computed.get(y) as Tensor;
}
