/** Tensors as people have them and as they are sent. */
import {
  decodeTensor,
  encodeTensor,
  type TensorShape,
  type TensorValues,
  tensorRowBytes,
} from '@haca/circuit';
import { MalformedError, UsageError } from '@haca/primitives';
import { decodeZkResponse } from '@haca/protocol';

/** Integers of one tensor, row-major, or its bytes as they are sent. */
export type TensorInput = Uint8Array | ArrayLike<number>;

/** Throws `UsageError` on a wrong number of values, or one outside its interval. */
export function encodeInputs(shapes: readonly TensorShape[], given: readonly TensorInput[]): Uint8Array[] {
  if (given.length !== shapes.length) {
    throw new UsageError(`the model has ${shapes.length} inputs, ${given.length} are given`);
  }
  return shapes.map((shape, i) => {
    const values = given[i] as TensorInput;
    const bytes = isRow(shape, values) ? values : encodeTensor(shape, values);
    try {
      decodeTensor(shape, bytes, 1, `tensors.${i}`);
    } catch (error) {
      if (error instanceof MalformedError) throw new UsageError(error.message);
      throw error;
    }
    return bytes;
  });
}

function isRow(shape: TensorShape, values: TensorInput): values is Uint8Array {
  return values instanceof Uint8Array && values.length === tensorRowBytes(shape);
}

/** Throws `MalformedError` where the bytes are no response of the model. */
export function decodeOutputs(shapes: readonly TensorShape[], response: Uint8Array): TensorValues[] {
  const { tensors } = decodeZkResponse(response);
  if (tensors.length !== shapes.length) {
    throw new MalformedError('zk.outputs', 'tensors', `${shapes.length} tensors`, `${tensors.length}`);
  }
  return shapes.map((shape, i) => decodeTensor(shape, tensors[i] as Uint8Array, 1, `tensors.${i}`));
}
