/** Operators that move cells and compute nothing, and those that make or describe constants. */
import { MalformedError } from '@haca/primitives';
import {
  axisOf,
  badOperand,
  badShapes,
  constantOf,
  intAttribute,
  integersOf,
  intsAttribute,
  listOf,
  type OpCall,
  type OpDefinition,
  type Operands,
  type OpTable,
  required,
  requiredTensor,
  tensorAttribute,
  textAttribute,
  unsupported,
} from './op.ts';
import {
  broadcastShape,
  broadcastStrides,
  cellsOf,
  checkShape,
  emptyTensor,
  formatShape,
  reshaped,
  stridesOf,
  type Tensor,
  type TensorType,
  tensorOf,
  walk,
} from './tensor.ts';

/** A result whose every cell is a cell of the operand: position · strides + offset. */
export interface IndexMap {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** The index maps of operators with one data operand; one map for each result. */
export const INDEX_MAPS: Readonly<Record<string, (call: OpCall, inputs: Operands) => readonly IndexMap[]>> = {
  Identity: (call, inputs) => [sameCells(required(call, inputs, 0).shape)],
  Dropout: (call, inputs) => {
    if (call.outputCount > 1) throw unsupported(call, 'one result', 'a mask');
    return [sameCells(required(call, inputs, 0).shape)];
  },
  Reshape: (call, inputs) => [sameCells(reshapeTarget(call, inputs))],
  Flatten: (call, inputs) => {
    const { shape } = required(call, inputs, 0);
    const axis = intAttribute(call, 'axis', 1);
    const split = axis === shape.length ? axis : axisOf(call, axis, shape.length + 1);
    return [sameCells([cellsOf(shape.slice(0, split)), cellsOf(shape.slice(split))])];
  },
  Squeeze: (call, inputs) => {
    const { shape } = required(call, inputs, 0);
    const listed = listOf(call, inputs, 1, 'axes')?.map((axis) => axisOf(call, axis, shape.length));
    if (listed?.some((axis) => shape[axis] !== 1)) throw badShapes(call, 'axes of extent 1', inputs);
    return [sameCells(shape.filter((extent, axis) => (listed ? !listed.includes(axis) : extent !== 1)))];
  },
  Unsqueeze: (call, inputs) => {
    const { shape } = required(call, inputs, 0);
    const listed = listOf(call, inputs, 1, 'axes') ?? [];
    const rank = shape.length + listed.length;
    const added = listed.map((axis) => axisOf(call, axis, rank));
    if (new Set(added).size !== added.length) throw badOperand(call, 1, 'different axes', `${listed}`);
    let next = 0;
    return [
      sameCells(
        Array.from({ length: rank }, (_, axis) => (added.includes(axis) ? 1 : (shape[next++] as number))),
      ),
    ];
  },
  Transpose: (call, inputs) => {
    const { shape } = required(call, inputs, 0);
    const order = intsAttribute(
      call,
      'perm',
      shape.map((_, axis) => shape.length - 1 - axis),
    );
    if ([...order].sort((a, b) => a - b).join() !== shape.map((_, axis) => axis).join())
      throw new MalformedError(
        'onnx.attribute',
        call.place,
        `perm of ${shape.length} axes`,
        `[${order.join(', ')}]`,
      );
    const strides = stridesOf(shape);
    return [
      {
        shape: order.map((axis) => shape[axis] as number),
        strides: order.map((axis) => strides[axis] as number),
        offset: 0,
      },
    ];
  },
  Slice: (call, inputs) => [sliceMap(call, inputs)],
  Split: splitMaps,
  Expand: (call, inputs) => {
    const { shape } = required(call, inputs, 0);
    const wide = broadcastShape(shape, integersOf(call, inputs, 1));
    if (wide === undefined) throw badShapes(call, 'shapes that broadcast', inputs);
    checkShape(wide, call.place);
    return [{ shape: wide, strides: broadcastStrides(shape, wide), offset: 0 }];
  },
};

export const LAYOUT_OPS: OpTable = {
  ...Object.fromEntries(
    Object.entries(INDEX_MAPS).map(([op, mapsOf]) => [
      op,
      {
        infer: (call, inputs) =>
          mapsOf(call, inputs).map(({ shape }) => ({ type: required(call, inputs, 0).type, shape })),
        evaluate: (call, inputs) => {
          const from = requiredTensor(call, inputs, 0);
          return mapsOf(call, inputs).map((map) => mapped(from, map));
        },
      } satisfies OpDefinition,
    ]),
  ),
  Concat: { infer: inferConcat, evaluate: evaluateConcat },
  Pad: { infer: inferPad, evaluate: evaluatePad },
  Gather: { infer: inferGather, evaluate: evaluateGather },
  ArrayFeatureExtractor: {
    infer: (call, inputs) => {
      const lead = required(call, inputs, 0).shape.slice(0, -1);
      return [
        {
          type: required(call, inputs, 0).type,
          shape: [...(lead.length === 0 ? [1] : lead), cellsOf(required(call, inputs, 1).shape)],
        },
      ];
    },
    evaluate: (call, inputs) => {
      const [x, at] = [requiredTensor(call, inputs, 0), requiredTensor(call, inputs, 1)];
      const columns = x.shape.at(-1) ?? 1;
      const rows = x.data.length / columns;
      const picked = Array.from({ length: rows }, (_, row) =>
        Array.from(at.data, (column) => cellAt(call, x, row * columns, column, columns)),
      );
      const lead = x.shape.slice(0, -1);
      return [tensorOf(x.type, [...(lead.length === 0 ? [1] : lead), at.data.length], picked.flat())];
    },
  },
  Constant: {
    infer: (call) => [constantTensor(call)],
    evaluate: (call) => [constantTensor(call)],
  },
  ConstantOfShape: {
    infer: (call, inputs) => {
      const shape = integersOf(call, inputs, 0);
      checkShape(shape, call.place);
      return [{ type: tensorAttribute(call, 'value')?.type ?? 'float', shape }];
    },
    evaluate: (call, inputs) => {
      const value = tensorAttribute(call, 'value');
      const out = emptyTensor(value?.type ?? 'float', Array.from(requiredTensor(call, inputs, 0).data));
      out.data.fill(value?.data[0] ?? 0);
      return [out];
    },
  },
  Shape: {
    infer: (call, inputs) => [{ type: 'int', shape: [shapeSlice(call, inputs).length] }],
    evaluate: (call, inputs) => {
      const extents = shapeSlice(call, inputs);
      return [tensorOf('int', [extents.length], extents)];
    },
  },
  Size: {
    infer: () => [{ type: 'int', shape: [] }],
    evaluate: (call, inputs) => [tensorOf('int', [], [cellsOf(required(call, inputs, 0).shape)])],
  },
  Range: {
    infer: (call, inputs) => [
      { type: required(call, inputs, 0).type, shape: [rangeOf(call, inputs).length] },
    ],
    evaluate: (call, inputs) => {
      const values = rangeOf(call, inputs);
      return [tensorOf(required(call, inputs, 0).type, [values.length], values)];
    },
  },
  OneHot: { infer: inferOneHot, evaluate: evaluateOneHot },
  Tile: { infer: inferTile, evaluate: evaluateTile },
  Trilu: {
    infer: (call, inputs) => {
      const { type, shape } = required(call, inputs, 0);
      if (shape.length < 2) throw badShapes(call, 'matrices', inputs);
      return [{ type, shape }];
    },
    evaluate: evaluateTrilu,
  },
};

function mapped(from: Tensor, map: IndexMap): Tensor {
  if (map.strides.length === 0 && cellsOf(map.shape) === from.data.length && map.offset === 0)
    return reshaped(from, map.shape);
  const out = emptyTensor(from.type, map.shape);
  walk(map.shape, map.strides, map.offset, (o, i) => {
    out.data[o] = from.data[i] as number;
  });
  return out;
}

/** The identity on cells: no strides stand for "as they lie". */
function sameCells(shape: readonly number[]): IndexMap {
  return { shape, strides: [], offset: 0 };
}

function reshapeTarget(call: OpCall, inputs: Operands): number[] {
  const { shape } = required(call, inputs, 0);
  const wanted = integersOf(call, inputs, 1);
  const allowZero = intAttribute(call, 'allowzero', 0) !== 0;
  const target = wanted.map((extent, axis) => (extent === 0 && !allowZero ? (shape[axis] ?? -2) : extent));
  const unknown = target.indexOf(-1);
  if (unknown !== -1) {
    const known = target.reduce((cells, extent, axis) => (axis === unknown ? cells : cells * extent), 1);
    target[unknown] = cellsOf(shape) / known;
  }
  if (target.some((extent) => !Number.isInteger(extent) || extent < 0) || cellsOf(target) !== cellsOf(shape))
    throw badOperand(call, 1, `a shape of ${cellsOf(shape)} cells`, formatShape(wanted));
  return target;
}

function sliceMap(call: OpCall, inputs: Operands): IndexMap {
  const { shape } = required(call, inputs, 0);
  const starts = integersOf(call, inputs, 1);
  const ends = integersOf(call, inputs, 2);
  const axes = inputs[3] === undefined ? starts.map((_, i) => i) : integersOf(call, inputs, 3);
  const steps = inputs[4] === undefined ? starts.map(() => 1) : integersOf(call, inputs, 4);
  if ([ends, axes, steps].some((list) => list.length !== starts.length))
    throw badOperand(
      call,
      1,
      'lists of one length',
      `${starts.length}, ${ends.length}, ${axes.length}, ${steps.length}`,
    );
  const strides = stridesOf(shape);
  const out = [...shape];
  let offset = 0;
  for (let i = 0; i < starts.length; i++) {
    const axis = axisOf(call, axes[i] as number, shape.length);
    const [extent, step] = [shape[axis] as number, steps[i] as number];
    if (step === 0) throw badOperand(call, 4, 'steps that are not 0', '0');
    const bound = (value: number, low: number, high: number): number =>
      Math.min(Math.max(value < 0 ? value + extent : value, low), high);
    const start =
      step > 0 ? bound(starts[i] as number, 0, extent) : bound(starts[i] as number, 0, extent - 1);
    const end = step > 0 ? bound(ends[i] as number, 0, extent) : bound(ends[i] as number, -1, extent - 1);
    out[axis] = Math.max(0, Math.ceil((end - start) / step));
    offset += start * (strides[axis] as number);
    strides[axis] = (strides[axis] as number) * step;
  }
  if (cellsOf(out) === 0) throw badShapes(call, 'a slice with cells', inputs);
  return { shape: out, strides, offset };
}

function splitMaps(call: OpCall, inputs: Operands): IndexMap[] {
  const { shape } = required(call, inputs, 0);
  const axis = axisOf(call, intAttribute(call, 'axis', 0), shape.length);
  const extent = shape[axis] as number;
  const parts = intAttribute(call, 'num_outputs', call.outputCount);
  const even = Math.ceil(extent / parts);
  const sizes =
    listOf(call, inputs, 1, 'split') ??
    Array.from({ length: parts }, (_, i) => Math.min(even, extent - i * even));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total !== extent || sizes.length !== call.outputCount || sizes.some((size) => size < 1))
    throw badShapes(call, `${call.outputCount} parts of axis ${axis}, not [${sizes.join(', ')}],`, inputs);
  const strides = stridesOf(shape);
  let start = 0;
  return sizes.map((size) => {
    const offset = start * (strides[axis] as number);
    start += size;
    return { shape: shape.map((e, a) => (a === axis ? size : e)), strides, offset };
  });
}

function inferConcat(call: OpCall, inputs: Operands): TensorType[] {
  const first = required(call, inputs, 0);
  const axis = axisOf(call, intAttribute(call, 'axis', 0), first.shape.length);
  let extent = 0;
  for (let i = 0; i < inputs.length; i++) {
    const { shape } = required(call, inputs, i);
    const fits =
      shape.length === first.shape.length && shape.every((e, a) => a === axis || e === first.shape[a]);
    if (!fits) throw badShapes(call, `shapes that differ along axis ${axis} only`, inputs);
    extent += shape[axis] as number;
  }
  return [{ type: first.type, shape: first.shape.map((e, a) => (a === axis ? extent : e)) }];
}

function evaluateConcat(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const [type] = inferConcat(call, inputs) as [TensorType];
  const out = emptyTensor(type.type, type.shape);
  const axis = axisOf(call, intAttribute(call, 'axis', 0), type.shape.length);
  const after = cellsOf(type.shape.slice(axis + 1));
  const row = (type.shape[axis] as number) * after;
  let start = 0;
  for (let i = 0; i < inputs.length; i++) {
    const part = requiredTensor(call, inputs, i);
    const width = (part.shape[axis] as number) * after;
    for (let from = 0, to = start; from < part.data.length; from += width, to += row) {
      out.data.set(part.data.subarray(from, from + width), to);
    }
    start += width;
  }
  return [out];
}

/** How many cells are added before and after each axis (negative: cut off). */
export function padsOf(
  call: OpCall,
  inputs: Operands,
): { readonly before: readonly number[]; readonly after: readonly number[] } {
  const { shape } = required(call, inputs, 0);
  const mode = textAttribute(call, 'mode', 'constant');
  if (mode !== 'constant') throw unsupported(call, 'mode constant', mode);
  const listed = integersOf(call, inputs, 1);
  const axes =
    inputs[3] === undefined
      ? shape.map((_, axis) => axis)
      : integersOf(call, inputs, 3).map((axis) => axisOf(call, axis, shape.length));
  if (listed.length !== 2 * axes.length)
    throw badOperand(call, 1, `${2 * axes.length} pads`, `${listed.length}`);
  const before = shape.map(() => 0);
  const after = shape.map(() => 0);
  for (const [i, axis] of axes.entries()) {
    before[axis] = listed[i] as number;
    after[axis] = listed[i + axes.length] as number;
  }
  return { before, after };
}

function inferPad(call: OpCall, inputs: Operands): TensorType[] {
  const { type, shape } = required(call, inputs, 0);
  const { before, after } = padsOf(call, inputs);
  const out = shape.map((extent, axis) => extent + (before[axis] as number) + (after[axis] as number));
  checkShape(out, call.place);
  if (inputs[2] !== undefined) constantOf(call, inputs, 2);
  return [{ type, shape: out }];
}

function evaluatePad(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const x = requiredTensor(call, inputs, 0);
  const [type] = inferPad(call, inputs) as [TensorType];
  const { before } = padsOf(call, inputs);
  const out = emptyTensor(x.type, type.shape);
  out.data.fill(inputs[2]?.data[0] ?? 0);
  const strides = stridesOf(type.shape);
  const position = new Array<number>(x.shape.length).fill(0);
  for (let i = 0; i < x.data.length; i++) {
    let at = 0;
    let inside = true;
    for (let axis = 0; axis < position.length; axis++) {
      const moved = (position[axis] as number) + (before[axis] as number);
      inside &&= moved >= 0 && moved < (type.shape[axis] as number);
      at += moved * (strides[axis] as number);
    }
    if (inside) out.data[at] = x.data[i] as number;
    for (let axis = position.length - 1; axis >= 0; axis--) {
      position[axis] = (position[axis] as number) + 1;
      if ((position[axis] as number) < (x.shape[axis] as number)) break;
      position[axis] = 0;
    }
  }
  return [out];
}

function inferGather(call: OpCall, inputs: Operands): TensorType[] {
  const data = required(call, inputs, 0);
  const indices = required(call, inputs, 1);
  if (indices.type !== 'int') throw badOperand(call, 1, 'integers', indices.type);
  const axis = axisOf(call, intAttribute(call, 'axis', 0), data.shape.length);
  const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
  return [{ type: data.type, shape }];
}

function evaluateGather(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const [data, indices] = [requiredTensor(call, inputs, 0), requiredTensor(call, inputs, 1)];
  const [type] = inferGather(call, inputs) as [TensorType];
  const axis = axisOf(call, intAttribute(call, 'axis', 0), data.shape.length);
  const extent = data.shape[axis] as number;
  const after = cellsOf(data.shape.slice(axis + 1));
  const out = emptyTensor(data.type, type.shape);
  let to = 0;
  for (let block = 0; block < cellsOf(data.shape.slice(0, axis)); block++) {
    for (let i = 0; i < indices.data.length; i++) {
      const index = positionIn(call, indices.data[i] as number, extent);
      const from = (block * extent + index) * after;
      out.data.set(data.data.subarray(from, from + after), to);
      to += after;
    }
  }
  return [out];
}

function positionIn(call: OpCall, index: number, extent: number): number {
  const position = index < 0 ? index + extent : index;
  if (!(position >= 0 && position < extent))
    throw new MalformedError('onnx.index', call.place, `an index below ${extent}`, `${index}`);
  return position;
}

function cellAt(call: OpCall, tensor: Tensor, offset: number, index: number, extent: number): number {
  return tensor.data[offset + positionIn(call, index, extent)] as number;
}

function constantTensor(call: OpCall): Tensor {
  const value = tensorAttribute(call, 'value');
  if (value !== undefined) return value;
  for (const [name, type] of [
    ['value_float', 'float'],
    ['value_int', 'int'],
    ['value_floats', 'float'],
    ['value_ints', 'int'],
  ] as const) {
    const found = call.attributes.get(name);
    if (found?.kind === 'float' || found?.kind === 'int') return tensorOf(type, [], [found.value]);
    if (found?.kind === 'floats' || found?.kind === 'ints')
      return tensorOf(type, [found.value.length], found.value);
  }
  throw unsupported(call, 'a constant of numbers', [...call.attributes.keys()].join(', '));
}

function shapeSlice(call: OpCall, inputs: Operands): readonly number[] {
  const { shape } = required(call, inputs, 0);
  const end = intAttribute(call, 'end', shape.length);
  return shape.slice(intAttribute(call, 'start', 0), end);
}

const RANGE_MAX = 2 ** 24;

function rangeOf(call: OpCall, inputs: Operands): number[] {
  const [start, limit, step] = [0, 1, 2].map((i) => constantOf(call, inputs, i)[0]) as [
    number,
    number,
    number,
  ];
  const count = Math.max(0, Math.ceil((limit - start) / step));
  if (!(count <= RANGE_MAX))
    throw new MalformedError('model.too-large', call.place, `a range of at most ${RANGE_MAX}`, `${count}`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

function oneHotAxis(call: OpCall, inputs: Operands): { readonly axis: number; readonly depth: number } {
  const { shape } = required(call, inputs, 0);
  const depth = constantOf(call, inputs, 1)[0] ?? 0;
  if (!Number.isInteger(depth) || depth < 1) throw badOperand(call, 1, 'a depth of at least 1', `${depth}`);
  return { axis: axisOf(call, intAttribute(call, 'axis', -1), shape.length + 1), depth };
}

function inferOneHot(call: OpCall, inputs: Operands): TensorType[] {
  const { shape } = required(call, inputs, 0);
  const { axis, depth } = oneHotAxis(call, inputs);
  constantOf(call, inputs, 2);
  const out = [...shape.slice(0, axis), depth, ...shape.slice(axis)];
  checkShape(out, call.place);
  return [{ type: required(call, inputs, 2).type, shape: out }];
}

function evaluateOneHot(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const [indices, , values] = [0, 1, 2].map((i) => requiredTensor(call, inputs, i)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const { axis, depth } = oneHotAxis(call, inputs);
  const [type] = inferOneHot(call, inputs) as [TensorType];
  const out = emptyTensor(values.type, type.shape);
  const [off, on] = [values.data[0] ?? 0, values.data[1] ?? 1];
  out.data.fill(off);
  const after = cellsOf(indices.shape.slice(axis));
  for (let i = 0; i < indices.data.length; i++) {
    const index = indices.data[i] as number;
    const k = index < 0 ? index + depth : index;
    const block = Math.floor(i / after);
    if (k >= 0 && k < depth) out.data[(block * depth + k) * after + (i % after)] = on;
  }
  return [out];
}

function inferTile(call: OpCall, inputs: Operands): TensorType[] {
  const { type, shape } = required(call, inputs, 0);
  const repeats = integersOf(call, inputs, 1);
  if (repeats.length !== shape.length)
    throw badOperand(call, 1, `${shape.length} repeats`, `${repeats.length}`);
  const out = shape.map((extent, axis) => extent * (repeats[axis] as number));
  checkShape(out, call.place);
  return [{ type, shape: out }];
}

function evaluateTile(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const x = requiredTensor(call, inputs, 0);
  const repeats = Array.from(requiredTensor(call, inputs, 1).data);
  // As [repeat, extent] pairs of axes, repeats with stride 0.
  const strides = stridesOf(x.shape);
  const shape = x.shape.flatMap((extent, axis) => [repeats[axis] as number, extent]);
  const out = emptyTensor(
    x.type,
    x.shape.map((extent, axis) => extent * (repeats[axis] as number)),
  );
  walk(
    shape,
    strides.flatMap((stride) => [0, stride]),
    0,
    (o, i) => {
      out.data[o] = x.data[i] as number;
    },
  );
  return [out];
}

function evaluateTrilu(call: OpCall, inputs: readonly (Tensor | undefined)[]): Tensor[] {
  const x = requiredTensor(call, inputs, 0);
  const k = inputs[1]?.data[0] ?? 0;
  const upper = intAttribute(call, 'upper', 1) !== 0;
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const out = emptyTensor(x.type, x.shape);
  for (let i = 0; i < out.data.length; i++) {
    const column = i % columns;
    const row = Math.floor(i / columns) % rows;
    if (upper ? column - row >= k : column - row <= k) out.data[i] = x.data[i] as number;
  }
  return [out];
}
