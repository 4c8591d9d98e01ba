/** Inference: the outputs of a model, from the program's definitions over real cells alone. */
import {
  decodeTensor,
  encodeTensor,
  type PlanTensor,
  type Program,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
} from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import { createEvaluation, operandsOf } from './evaluation.ts';
import { givenCells, givenValues, type IntegerModel } from './model.ts';

/**
 * `inputs`: per input of the key, the tensor bytes of `batchSize` rows. Returns the same for its outputs. Digits and
 * other witnesses of a proof are not computed.
 *
 * @throws MalformedError on a wrong length or a value outside its interval, KeyError on a batch beyond the key's largest
 */
export function runModel(
  model: IntegerModel,
  inputs: readonly Uint8Array[],
  batchSize: number,
): Uint8Array[] {
  const program = model.program(batchSize);
  const values = decodeInputs(program, inputs);
  const given = givenValues(program, model, values);
  const evaluation = createEvaluation({
    program,
    layout: 'dense',
    given: (tensor, layout) => givenCells(tensor, given.get(tensor.id) as TensorValues, layout),
    packed: model.packed,
    checked: false,
  });
  const needed = neededTensors(program);
  const lastUse = new Map<number, number>();
  for (const id of needed) for (const operand of operandsOf(program, id)) lastUse.set(operand, id);
  const outputs = new Set(program.outputs.map(({ tensor }) => tensor));
  for (const id of needed) {
    evaluation.cells(id);
    for (const operand of operandsOf(program, id))
      if (lastUse.get(operand) === id && !outputs.has(operand)) evaluation.release(operand);
  }
  const shapes = publicTensorShapes(model.key).outputs;
  return program.outputs.map(({ tensor }, i) =>
    encodeTensor(shapes[i] as TensorShape, evaluation.cells(tensor).data),
  );
}

/** @throws MalformedError, UsageError on a wrong number of inputs */
export function decodeInputs(program: Program, inputs: readonly Uint8Array[]): TensorValues[] {
  if (inputs.length !== program.inputs.length)
    throw new UsageError(`the model has ${program.inputs.length} inputs, got ${inputs.length}`);
  return program.inputs.map((input, i) => {
    const { extents } = program.tensors[input.tensor] as PlanTensor;
    const row = { ...input, extents: extents.slice(1) };
    return decodeTensor(row, inputs[i] as Uint8Array, program.batchSize, `inputs[${i}]`);
  });
}

/** Tensors that the outputs depend on, in the program's order. */
function neededTensors(program: Program): number[] {
  const needed = new Set<number>(program.outputs.map(({ tensor }) => tensor));
  for (let id = program.tensors.length - 1; id >= 0; id--)
    if (needed.has(id)) for (const operand of operandsOf(program, id)) needed.add(operand);
  return program.tensors.filter(({ id }: PlanTensor) => needed.has(id)).map(({ id }) => id);
}
