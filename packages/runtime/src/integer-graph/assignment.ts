/** The witness: every tensor of a program over its padded cube. */
import {
  encodeTensor,
  type PlanTensor,
  type Program,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
  unpadTensor,
} from '@haca/circuit';
import { bytesEqual } from '@haca/primitives';
import type { CellArray } from './cells.ts';
import { IntegerGraphError } from './errors.ts';
import { createEvaluation } from './evaluation.ts';
import { givenCells, givenValues, type IntegerModel } from './model.ts';
import { decodeInputs } from './run-model.ts';

export interface Assignment {
  /**
   * The 2^bits cells of a tensor, computed when first asked for and then kept. Committed and public tensors are 0 in
   * their padding; virtual ones follow their definition in every cell. Signed arrays and Uint8Array hold integers within
   * ±(p - 1) / 2, a Uint32Array canonical residues (multiplicities and solved digits). Do not write to it.
   *
   * @throws IntegerGraphError where the witness contradicts the program
   */
  readonly values: (tensor: number) => CellArray;
  /** Forgets a tensor: asked for again, it is computed again. */
  readonly release: (tensor: number) => void;
  /** Bytes of all kept tensors, at most 4 · 2^bits each; weights without padding are the model's own and count too. */
  readonly heldBytes: () => number;
}

/**
 * `inputs` as in `runModel`; none for a registration. Where `outputs` are given they must be the model's.
 * @throws MalformedError on malformed inputs, IntegerGraphError where outputs differ
 */
export function assign(
  program: Program,
  model: IntegerModel,
  inputs: readonly Uint8Array[],
  outputs?: readonly Uint8Array[],
): Assignment {
  const given = givenValues(program, model, decodeInputs(program, inputs));
  const evaluation = createEvaluation({
    program,
    layout: 'padded',
    given: (tensor, layout) => givenCells(tensor, given.get(tensor.id) as TensorValues, layout),
    packed: model.packed,
    checked: true,
  });
  const values = (tensor: number): CellArray => evaluation.cells(tensor).data;
  if (outputs !== undefined) checkOutputs(program, model, values, outputs);
  return { values, release: evaluation.release, heldBytes: evaluation.heldBytes };
}

function checkOutputs(
  program: Program,
  model: IntegerModel,
  values: Assignment['values'],
  outputs: readonly Uint8Array[],
): void {
  const shapes = publicTensorShapes(model.key).outputs;
  if (outputs.length !== shapes.length)
    throw new IntegerGraphError('outputs', 'statement', `${shapes.length} outputs, got ${outputs.length}`);
  program.outputs.forEach(({ tensor }, i) => {
    const real = unpadTensor(program.tensors[tensor] as PlanTensor, values(tensor));
    if (!bytesEqual(encodeTensor(shapes[i] as TensorShape, real), outputs[i] as Uint8Array))
      throw new IntegerGraphError('outputs', `output ${i}`, 'the model computes another value');
  });
}
