/**
 * Chains of cell-by-cell operators on one value: however an exporter spells an activation (Erf and three products, a
 * Where with a Greater, Sigmoid and Mul), it is one function of one number, and will be one table.
 */
import { BINARY_OPS, UNARY_OPS } from '../float/elementwise.ts';
import { evaluateNode, type FloatGraph, type FloatNode, type FloatValue } from '../float/graph.ts';
import { sameShape, type Tensor } from '../float/tensor.ts';

export interface PointwiseFunction {
  /** For reports: `Relu`, `Div·Erf·Add·Mul·Mul`. */
  readonly label: string;
  /** Values at the points. */
  readonly of: (points: Float64Array) => Float64Array;
}

/** A value as a function of its root, cell by cell. */
export interface PointwiseChain {
  readonly root: number;
  /** Positions of its nodes in the graph, ascending; empty for a root itself. */
  readonly nodes: readonly number[];
  /** scale · x + shift. */
  readonly affine: boolean;
}

/** For each value of the graph that is computed, its chain. `own` values begin chains of their own. */
export function findChains(graph: FloatGraph, own: ReadonlySet<number>): Map<number, PointwiseChain> {
  const chains = new Map<number, PointwiseChain>();
  const rootChain = (value: number): PointwiseChain => ({ root: value, nodes: [], affine: true });
  for (const input of graph.inputs) chains.set(input, rootChain(input));
  for (const [position, node] of graph.nodes.entries()) {
    for (const y of node.outputs) {
      const chain = own.has(y) ? undefined : extend(graph, chains, node, position, y);
      chains.set(y, chain ?? rootChain(y));
    }
  }
  return chains;
}

const CHAIN_NODES_MAX = 256;

function extend(
  graph: FloatGraph,
  chains: ReadonlyMap<number, PointwiseChain>,
  node: FloatNode,
  position: number,
  y: number,
): PointwiseChain | undefined {
  if (!UNARY_OPS.has(node.op) && !BINARY_OPS.has(node.op)) return undefined;
  const data: PointwiseChain[] = [];
  for (const index of node.inputs) {
    if (index === undefined) continue;
    const value = graph.values[index] as FloatValue;
    if (value.constant === undefined) data.push(chains.get(index) as PointwiseChain);
    else if (!isUniform(value.constant)) return undefined;
  }
  const [first] = data;
  if (first === undefined || data.some(({ root }) => root !== first.root)) return undefined;
  const { type, shape } = graph.values[first.root] as FloatValue;
  if (type !== 'float' || !sameShape(shape, (graph.values[y] as FloatValue).shape)) return undefined;
  const nodes = [...new Set([...data.flatMap((chain) => chain.nodes), position])].sort((a, b) => a - b);
  if (nodes.length > CHAIN_NODES_MAX) return undefined;
  return {
    root: first.root,
    nodes,
    affine: data.every(({ affine }) => affine) && isAffine(graph, node, data),
  };
}

function isAffine(graph: FloatGraph, node: FloatNode, data: readonly PointwiseChain[]): boolean {
  const [a] = node.inputs;
  const leftIsData = a !== undefined && (graph.values[a] as FloatValue).constant === undefined;
  if (node.op === 'Add' || node.op === 'Sub' || node.op === 'Neg') return true;
  if (node.op === 'Mul') return data.length === 1;
  if (node.op === 'Div') return data.length === 1 && leftIsData;
  return node.op === 'Cast' && node.outputs.every((y) => (graph.values[y] as FloatValue).type === 'float');
}

export function isUniform({ data }: Tensor): boolean {
  const first = data[0];
  for (let i = 1; i < data.length; i++) if (data[i] !== first) return false;
  return true;
}

/** The function that a chain computes, on as many points at once as wanted. */
export function functionOf(graph: FloatGraph, chain: PointwiseChain, y: number): PointwiseFunction {
  const nodes = chain.nodes.map((position) => graph.nodes[position] as FloatNode);
  return {
    label: nodes.map(({ op }) => op).join('·'),
    of: (points) => {
      const computed = new Map<number, Tensor>([
        [chain.root, { type: 'float', shape: [points.length], data: points }],
      ]);
      for (const node of nodes) {
        const operands = node.inputs.map((index) => {
          if (index === undefined) return undefined;
          const { constant } = graph.values[index] as FloatValue;
          // Uniform whatever its shape was.
          return constant === undefined
            ? computed.get(index)
            : { type: constant.type, shape: [], data: constant.data.slice(0, 1) };
        });
        const results = evaluateNode(node, operands);
        for (const [i, output] of node.outputs.entries()) computed.set(output, results[i] as Tensor);
      }
      return Float64Array.from((computed.get(y) as Tensor).data);
    },
  };
}

/** Far from 0, so that a small scale is not lost beside a large shift. */
const FAR = 2 ** 20;

/** scale and shift of an affine chain. */
export function affineOf({ of }: PointwiseFunction): { readonly scale: number; readonly shift: number } {
  const [shift, far] = of(Float64Array.of(0, FAR)) as unknown as [number, number];
  return { scale: (far - shift) / FAR, shift };
}
