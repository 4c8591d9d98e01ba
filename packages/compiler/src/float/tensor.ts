/** Tensors of numbers and the index arithmetic on them: row-major, first axis slowest. */
import { MalformedError, UsageError } from '@haca/primitives';

export type ElementType = 'float' | 'int' | 'bool';

/** What is known of a value before it is computed. */
export interface TensorType {
  readonly type: ElementType;
  readonly shape: readonly number[];
}

/** Floats in single precision as the model has them; integers and truth values (0, 1) exact in doubles. */
export interface Tensor extends TensorType {
  readonly data: Float32Array | Float64Array;
}

/** Beyond this a tensor is refused before it is allocated. */
export const TENSOR_CELLS_MAX = 2 ** 28;
export const RANK_MAX = 8;

export function cellsOf(shape: readonly number[]): number {
  let cells = 1;
  for (const extent of shape) cells *= extent;
  return cells;
}

/** Throws `MalformedError` (`model.too-large`) where a tensor of this shape would not be worked on. */
export function checkShape(shape: readonly number[], path: string): void {
  if (shape.length > RANK_MAX)
    throw new MalformedError('model.too-large', path, `at most ${RANK_MAX} axes`, `${shape.length}`);
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 0)
      throw new MalformedError('onnx.shape', path, 'extents of at least 0', formatShape(shape));
  }
  if (cellsOf(shape) > TENSOR_CELLS_MAX)
    throw new MalformedError(
      'model.too-large',
      path,
      `at most ${TENSOR_CELLS_MAX} cells in a tensor`,
      formatShape(shape),
    );
}

export function emptyTensor(type: ElementType, shape: readonly number[]): Tensor {
  const cells = cellsOf(shape);
  return { type, shape, data: type === 'float' ? new Float32Array(cells) : new Float64Array(cells) };
}

export function tensorOf(type: ElementType, shape: readonly number[], values: ArrayLike<number>): Tensor {
  if (values.length !== cellsOf(shape))
    throw new UsageError(`${values.length} values for ${formatShape(shape)}`);
  return {
    type,
    shape,
    data: type === 'float' ? Float32Array.from(values) : Float64Array.from(values),
  };
}

export function scalarOf(type: ElementType, value: number): Tensor {
  return tensorOf(type, [], [value]);
}

/** The same cells under another shape; nothing is copied. */
export function reshaped(tensor: Tensor, shape: readonly number[]): Tensor {
  if (cellsOf(shape) !== tensor.data.length)
    throw new UsageError(`${formatShape(tensor.shape)} as ${formatShape(shape)}`);
  return { type: tensor.type, shape, data: tensor.data };
}

export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** How far apart neighbours along each axis lie. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = (strides[axis + 1] as number) * (shape[axis + 1] as number);
  }
  return strides;
}

/** The shape two operands have in common by NumPy's broadcasting; undefined if they have none. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}

/** Strides of an operand as seen from the broadcast shape: 0 along axes it is repeated on. */
export function broadcastStrides(operand: readonly number[], shape: readonly number[]): number[] {
  const own = stridesOf(operand);
  return shape.map((_, axis) => {
    const at = axis - (shape.length - operand.length);
    return at < 0 || operand[at] === 1 ? 0 : (own[at] as number);
  });
}

/**
 * Calls `visit(outIndex, inIndex)` for every cell of `shape` in order, where inIndex = offset + Σ position · stride. All
 * index maps (transpose, slice, broadcast, gather of one axis) are this walk with other strides.
 */
export function walk(
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  visit: (outIndex: number, inIndex: number) => void,
): void {
  const cells = cellsOf(shape);
  if (cells === 0) return;
  const rank = shape.length;
  const inner = rank === 0 ? 1 : (shape[rank - 1] as number);
  const innerStride = rank === 0 ? 0 : (strides[rank - 1] as number);
  const position = new Array<number>(Math.max(rank - 1, 0)).fill(0);
  let base = offset;
  for (let out = 0; out < cells; out += inner) {
    let index = base;
    for (let i = 0; i < inner; i++) {
      visit(out + i, index);
      index += innerStride;
    }
    for (let axis = rank - 2; axis >= 0; axis--) {
      const next = (position[axis] as number) + 1;
      const stride = strides[axis] as number;
      base += stride;
      if (next < (shape[axis] as number)) {
        position[axis] = next;
        break;
      }
      base -= next * stride;
      position[axis] = 0;
    }
  }
}

/** An axis that may be given from the end, as 0..rank−1; undefined when there is no such axis. */
export function normalAxis(axis: number, rank: number): number | undefined {
  const normal = axis < 0 ? axis + rank : axis;
  return Number.isInteger(normal) && normal >= 0 && normal < rank ? normal : undefined;
}
