/**
 * The float graph: a model as nodes over numbered values, every shape known, constants computed. It stands for one
 * inference: a batch axis, if the model has one, has extent 1.
 */
import { MalformedError, UsageError } from '@haca/primitives';
import type { AttributeValue } from '../onnx/model.ts';
import { ELEMENTWISE_OPS } from './elementwise.ts';
import { LAYOUT_OPS } from './layout.ts';
import { LINEAR_OPS } from './linear.ts';
import type { OpCall, OpDefinition, OpTable } from './op.ts';
import { REDUCE_OPS } from './reduce.ts';
import { cellsOf, formatShape, sameShape, type Tensor, type TensorType } from './tensor.ts';

export interface FloatValue extends TensorType {
  readonly name: string;
  /** Present when it does not depend on the model's inputs. */
  readonly constant?: Tensor | undefined;
}

export interface FloatNode {
  readonly op: string;
  readonly attributes: ReadonlyMap<string, AttributeValue>;
  readonly place: string;
  readonly opset: number;
  /** Values by index; undefined is an optional operand left out. */
  readonly inputs: readonly (number | undefined)[];
  readonly outputs: readonly number[];
}

export interface FloatGraph {
  readonly values: readonly FloatValue[];
  /** In an order in which operands come before what reads them. */
  readonly nodes: readonly FloatNode[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** The operators that can be read: by ONNX name, of the domains `''` and `ai.onnx.ml`, whose names do not clash. */
export const OPS: OpTable = { ...ELEMENTWISE_OPS, ...LINEAR_OPS, ...REDUCE_OPS, ...LAYOUT_OPS };

export const ML_OPS: ReadonlySet<string> = new Set(['Scaler', 'Normalizer', 'ArrayFeatureExtractor']);

export function callOf(node: FloatNode): OpCall {
  const { op, attributes, place, opset, outputs } = node;
  return { op, attributes, place, opset, outputCount: outputs.length };
}

export function valueAt(graph: FloatGraph, index: number): FloatValue {
  const value = graph.values[index];
  if (value === undefined) throw new UsageError(`no value ${index}`);
  return value;
}

/** Every value of one inference by index; `keep` says which to keep, all outputs are. */
export function evaluateGraph(
  graph: FloatGraph,
  inputs: ReadonlyMap<string, Tensor>,
  onValue?: (index: number, tensor: Tensor) => void,
): Map<string, Tensor> {
  const tensors = new Map<number, Tensor>();
  for (const index of graph.inputs) {
    const { name, shape } = valueAt(graph, index);
    const given = inputs.get(name);
    if (given === undefined || !sameShape(given.shape, shape))
      throw new MalformedError(
        'input.shape',
        `inputs.${name}`,
        formatShape(shape),
        given === undefined ? 'nothing' : formatShape(given.shape),
      );
    tensors.set(index, given);
    onValue?.(index, given);
  }
  const lastUse = lastUses(graph);
  for (const [position, node] of graph.nodes.entries()) {
    const operands = node.inputs.map((index) =>
      index === undefined ? undefined : (tensors.get(index) ?? valueAt(graph, index).constant),
    );
    const results = evaluateNode(node, operands);
    for (const [i, index] of node.outputs.entries()) {
      const result = results[i];
      if (result === undefined) continue;
      tensors.set(index, result);
      onValue?.(index, result);
    }
    for (const index of node.inputs) {
      if (index !== undefined && lastUse.get(index) === position) tensors.delete(index);
    }
  }
  return new Map(
    graph.outputs.map((index) => {
      const value = valueAt(graph, index);
      return [value.name, (tensors.get(index) ?? value.constant) as Tensor];
    }),
  );
}

function lastUses(graph: FloatGraph): Map<number, number> {
  const last = new Map<number, number>();
  for (const [position, node] of graph.nodes.entries()) {
    for (const index of node.inputs) if (index !== undefined) last.set(index, position);
  }
  for (const index of graph.outputs) last.set(index, Number.POSITIVE_INFINITY);
  return last;
}

export function evaluateNode(node: FloatNode, operands: readonly (Tensor | undefined)[]): readonly Tensor[] {
  return (OPS[node.op] as OpDefinition).evaluate(callOf(node), operands);
}

/** Multiplications of one inference: what its evaluation costs. */
export function multiplicationsOf(graph: FloatGraph): number {
  let total = 0;
  for (const node of graph.nodes) {
    const [out] = node.outputs;
    const [, w] = node.inputs;
    const cells = out === undefined ? 0 : cellsOf(valueAt(graph, out).shape);
    if (w === undefined) total += cells;
    else if (node.op === 'Conv') total += cells * cellsOf(valueAt(graph, w).shape.slice(1));
    else if (node.op === 'MatMul' || node.op === 'Gemm')
      total += cells * (valueAt(graph, node.inputs[0] as number).shape.at(-1) ?? 1);
    else total += cells;
  }
  return total;
}
