/** A key with its weights: what inference and proofs start from. */
import {
  capDigests,
  type PlanTensor,
  type Program,
  padTensor,
  planWith,
  profileParameters,
  type TensorSpec,
  type TensorValues,
  type VerifyingKey,
} from '@haca/circuit';
import { allClean, type Cells, type Layout, shapeOf } from './cells.ts';
import type { PackedWeights } from './contraction.ts';
import { IntegerGraphError } from './errors.ts';

const DIGEST_BYTES = 32;
/** Programs that are remembered, one per batch size. */
const MOST_PROGRAMS = 8;

export interface IntegerModel {
  readonly key: VerifyingKey;
  /** Dense, row-major, in key order. */
  readonly weights: readonly TensorValues[];
  /** The program of a batch size; @throws KeyError. The key's weight cap plays no part. */
  readonly program: (batchSize: number) => Program;
  /** Weights as contractions read them: 2 bytes per weight that has been used. */
  readonly packed: PackedWeights;
}

/**
 * `weights` of a key whose cap may still be empty. The arrays are kept, not copied.
 * @throws IntegerGraphError where their count, a length or a value contradicts the key, KeyError where the key is refused
 */
export function createIntegerModel(options: {
  readonly key: VerifyingKey;
  readonly weights: readonly TensorValues[];
}): IntegerModel {
  const { key, weights } = options;
  const specs = key.tensors.filter(({ role }) => role === 'weight');
  if (specs.length !== weights.length)
    throw new IntegerGraphError('weights', 'key', `${specs.length} weights, got ${weights.length}`);
  specs.forEach((spec, i) => {
    checkWeight(spec, weights[i] as TensorValues, `weight ${i}`);
  });
  const parameters = profileParameters(key.profile);
  const planned = {
    ...key,
    weightCap: new Uint8Array(DIGEST_BYTES * capDigests(key.columnBits + parameters.blowupBits)),
  };
  const programs = new Map<number, Program>();
  const program = (batchSize: number): Program => {
    const found = programs.get(batchSize);
    if (found !== undefined) return found;
    const made = planWith(planned, batchSize, parameters);
    const oldest = programs.keys().next();
    if (programs.size >= MOST_PROGRAMS && !oldest.done) programs.delete(oldest.value);
    programs.set(batchSize, made);
    return made;
  };
  program(1);
  return { key, weights, program, packed: new Map() };
}

function checkWeight(spec: TensorSpec, values: TensorValues, name: string): void {
  const expected = spec.extents.reduce((cells, extent) => cells * extent, 1);
  if (values.length !== expected)
    throw new IntegerGraphError('weights', name, `${values.length} values, expected ${expected}`);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (value < spec.lo || value > spec.hi)
      throw new IntegerGraphError(
        'weights',
        name,
        `value ${i} is ${value}, outside [${spec.lo}, ${spec.hi}]`,
      );
  }
}

/** Cells of a tensor that is given as real values. */
export function givenCells(tensor: PlanTensor, dense: TensorValues, layout: Layout): Cells {
  const shape = shapeOf(tensor, layout);
  return {
    shape,
    data: layout === 'dense' || shape.cells === dense.length ? dense : padTensor(tensor, dense),
    lo: Math.min(0, tensor.lo),
    hi: Math.max(0, tensor.hi),
    clean: allClean(shape),
  };
}

/** Weight and input tensors of a program by id, dense. */
export function givenValues(
  program: Program,
  model: IntegerModel,
  inputs: readonly TensorValues[],
): Map<number, TensorValues> {
  const values = new Map<number, TensorValues>();
  program.tensors
    .filter(({ storage }) => storage === 'weight')
    .forEach(({ id }, i) => {
      values.set(id, model.weights[i] as TensorValues);
    });
  program.inputs.forEach(({ tensor }, i) => {
    values.set(tensor, inputs[i] as TensorValues);
  });
  return values;
}
