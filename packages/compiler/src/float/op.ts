/** What an operator is to the importer: how its result is typed, and how it is computed. */
import { MalformedError } from '@haca/primitives';
import type { AttributeValue } from '../onnx/model.ts';
import { formatShape, normalAxis, type Tensor, type TensorType } from './tensor.ts';

/** One use of an operator. */
export interface OpCall {
  readonly op: string;
  readonly attributes: ReadonlyMap<string, AttributeValue>;
  /** Where it stands in the model, for errors. */
  readonly place: string;
  /** Version of the default domain that the node is written in. */
  readonly opset: number;
  /** How many results the node names. */
  readonly outputCount: number;
}

/** What is known of an operand: its type always, its data only when it is constant. */
export interface Operand extends TensorType {
  readonly data?: Float32Array | Float64Array | undefined;
}

export type Operands = readonly (Operand | undefined)[];

export interface OpDefinition {
  /** Types of the results. Throws `MalformedError` (`onnx.operand`, `onnx.attribute`, `onnx.unsupported`). */
  readonly infer: (call: OpCall, inputs: Operands) => readonly TensorType[];
  /** The results; called with operands that `infer` has accepted. */
  readonly evaluate: (call: OpCall, inputs: readonly (Tensor | undefined)[]) => readonly Tensor[];
}

export type OpTable = Readonly<Record<string, OpDefinition>>;

export function required(call: OpCall, inputs: Operands, index: number): Operand {
  const operand = inputs[index];
  if (operand === undefined) throw badOperand(call, index, 'an operand', 'none');
  return operand;
}

/** Like `required`, of operands that were computed. */
export function requiredTensor(call: OpCall, inputs: readonly (Tensor | undefined)[], index: number): Tensor {
  const tensor = inputs[index];
  if (tensor === undefined) throw badOperand(call, index, 'an operand', 'none');
  return tensor;
}

/** The numbers of an operand that must not depend on the model's inputs. */
export function constantOf(call: OpCall, inputs: Operands, index: number): Float32Array | Float64Array {
  const { data } = required(call, inputs, index);
  if (data === undefined) {
    const expected = `a constant as operand ${index}`;
    throw new MalformedError('onnx.data-dependent', call.place, expected, 'a value computed from the inputs');
  }
  return data;
}

/** The same of an operand that has to be integers. */
export function integersOf(call: OpCall, inputs: Operands, index: number): number[] {
  const values = Array.from(constantOf(call, inputs, index));
  const { type } = required(call, inputs, index);
  if (type !== 'int') throw badOperand(call, index, 'integers', type);
  return values;
}

/** A list of integers that is an operand in newer operator sets and was an attribute in older ones. */
export function listOf(
  call: OpCall,
  inputs: Operands,
  index: number,
  name: string,
): readonly number[] | undefined {
  if (inputs[index] !== undefined) return integersOf(call, inputs, index);
  return call.attributes.has(name) ? intsAttribute(call, name, []) : undefined;
}

export function badOperand(call: OpCall, index: number, expected: string, got: string): MalformedError {
  return new MalformedError('onnx.operand', call.place, `operand ${index}: ${expected}`, got);
}

export function badShapes(call: OpCall, expected: string, inputs: Operands): MalformedError {
  const got = inputs.map((input) => (input === undefined ? 'none' : formatShape(input.shape))).join(' and ');
  return new MalformedError('onnx.operand', call.place, expected, got);
}

export function unsupported(call: OpCall, expected: string, got: string): MalformedError {
  return new MalformedError('onnx.unsupported', call.place, expected, got);
}

export function axisOf(call: OpCall, axis: number, rank: number): number {
  const normal = normalAxis(axis, rank);
  if (normal === undefined)
    throw new MalformedError('onnx.attribute', call.place, `an axis of ${rank}`, `${axis}`);
  return normal;
}

function attribute<K extends AttributeValue['kind']>(
  call: OpCall,
  name: string,
  kind: K,
): Extract<AttributeValue, { kind: K }> | undefined {
  const found = call.attributes.get(name);
  if (found === undefined) return undefined;
  if (found.kind !== kind)
    throw new MalformedError('onnx.attribute', call.place, `${name} as ${kind}`, found.kind);
  return found as Extract<AttributeValue, { kind: K }>;
}

export function floatAttribute(call: OpCall, name: string, absent: number): number {
  return attribute(call, name, 'float')?.value ?? absent;
}

export function intAttribute(call: OpCall, name: string, absent: number): number {
  return attribute(call, name, 'int')?.value ?? absent;
}

export function textAttribute(call: OpCall, name: string, absent: string): string {
  return attribute(call, name, 'text')?.value ?? absent;
}

export function intsAttribute(call: OpCall, name: string, absent: readonly number[]): readonly number[] {
  return attribute(call, name, 'ints')?.value ?? absent;
}

export function floatsAttribute(call: OpCall, name: string, absent: readonly number[]): readonly number[] {
  return attribute(call, name, 'floats')?.value ?? absent;
}

export function tensorAttribute(call: OpCall, name: string): Tensor | undefined {
  return attribute(call, name, 'tensor')?.value;
}
