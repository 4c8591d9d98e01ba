/** Inputs and outputs of the statement: read once, evaluated at points of the program. */
import {
  blocksOf,
  decodeTensor,
  forEachRun,
  type PlanTensor,
  type Program,
  type PublicTensor,
  padTensor,
  type TensorValues,
  type ZkStatement,
} from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import { EXT_ZERO, type Ext, eqList, eqTable, extAdd, extMul, type ZkKernels } from '@haca/primitives/zk';
import { type Gate, Rejection } from './checks.ts';
import { eqWeights } from './eq-weights.ts';

export interface PublicTensors {
  /** The value of a public tensor's multilinear extension, 0 in padded cells. */
  readonly evaluate: (tensor: number, point: readonly Ext[]) => Ext;
  /** Σ over real cells i of eq(point, i) · eq(row, ids[i]): the selection of a gather. */
  readonly selection: (ids: number, point: readonly Ext[], row: readonly Ext[]) => Ext;
}

/** @throws Rejection where sizes or values do not fit the key */
export function readPublicTensors(
  program: Program,
  statement: Pick<ZkStatement, 'inputs' | 'outputs'>,
  gate: Gate,
  kernels: ZkKernels,
): PublicTensors {
  const { inputs, outputs, batchSize } = program;
  gate.require(
    'public-count',
    statement.inputs.length === inputs.length && statement.outputs.length === outputs.length,
    `${statement.inputs.length} inputs and ${statement.outputs.length} outputs`,
  );
  const found = new Map<number, TensorValues>();
  const read = (declared: PublicTensor, bytes: Uint8Array, name: string): void => {
    const { extents } = program.tensors[declared.tensor] as PlanTensor;
    const shape = { kind: declared.kind, lo: declared.lo, hi: declared.hi, extents: extents.slice(1) };
    try {
      found.set(declared.tensor, decodeTensor(shape, bytes, batchSize, name));
      gate.require('public-values', true, name);
    } catch (error) {
      if (error instanceof MalformedError) throw new Rejection('public-values', error.message);
      throw error;
    }
  };
  for (const [i, input] of inputs.entries()) read(input, statement.inputs[i] as Uint8Array, `input ${i}`);
  for (const [i, output] of outputs.entries())
    read(output, statement.outputs[i] as Uint8Array, `output ${i}`);

  const padded = new Map<number, TensorValues>();
  const tensorOf = (id: number): readonly [PlanTensor, TensorValues] => {
    const values = found.get(id);
    if (values === undefined) throw new Rejection('plan', `tensor ${id} is not public`);
    return [program.tensors[id] as PlanTensor, values];
  };
  return {
    evaluate: (id, point) => {
      const [tensor, dense] = tensorOf(id);
      const values = padded.get(id) ?? padTensor(tensor, dense);
      padded.set(id, values);
      return evaluatePadded(kernels, tensor, values, point);
    },
    selection: (id, point, row) => {
      const [tensor, dense] = tensorOf(id);
      return select(tensor, dense, point, row);
    },
  };
}

/** With two tables of eq weights instead of one of all cells; blocks without a real cell are passed over. */
function evaluatePadded(
  kernels: ZkKernels,
  tensor: PlanTensor,
  values: TensorValues,
  point: readonly Ext[],
): Ext {
  const lowBits = Math.ceil(tensor.bits / 2);
  const high = eqList(point.slice(0, tensor.bits - lowBits));
  const low = eqTable(point.slice(tensor.bits - lowBits));
  const size = low.length;
  let sum = EXT_ZERO;
  for (const [block, isReal] of blocksOf(tensor, lowBits).entries()) {
    if (!isReal) continue;
    const inner = kernels.dotBase(values.subarray(block * size, (block + 1) * size), low);
    sum = extAdd(sum, extMul(high[block] as Ext, inner));
  }
  return sum;
}

function select(tensor: PlanTensor, ids: TensorValues, point: readonly Ext[], row: readonly Ext[]): Ext {
  const cellWeight = eqWeights(point);
  const rowWeight = eqWeights(row);
  let sum = EXT_ZERO;
  forEachRun(tensor, (from, to, length) => {
    for (let i = 0; i < length; i++)
      sum = extAdd(sum, extMul(cellWeight(to + i), rowWeight(ids[from + i] as number)));
  });
  return sum;
}
