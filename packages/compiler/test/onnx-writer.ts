/** Writes small ONNX files, right and wrong ones. */
import { concatBytes, utf8Encode } from '@haca/primitives';

export function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

export function message(number: number, content: Uint8Array): Uint8Array {
  return concatBytes(varint(8 * number + 2), varint(content.length), content);
}

export function text(number: number, value: string): Uint8Array {
  return message(number, utf8Encode(value));
}

export function integer(number: number, value: number | bigint): Uint8Array {
  return concatBytes(varint(8 * number), varint(value));
}

function float(number: number, value: number): Uint8Array {
  return concatBytes(varint(8 * number + 5), new Uint8Array(Float32Array.of(value).buffer));
}

export interface TensorInit {
  readonly dims: readonly number[];
  readonly values: readonly number[];
  readonly type?: 'float' | 'int64' | 'bool';
}

const DATA_TYPES = { float: 1, int64: 7, bool: 9 } as const;

export function tensorProto(name: string, { dims, values, type = 'float' }: TensorInit): Uint8Array {
  const raw =
    type === 'float'
      ? new Uint8Array(Float32Array.from(values).buffer)
      : type === 'int64'
        ? new Uint8Array(BigInt64Array.from(values, (v) => BigInt(v)).buffer)
        : Uint8Array.from(values);
  return concatBytes(
    ...dims.map((d) => integer(1, d)),
    integer(2, DATA_TYPES[type]),
    text(8, name),
    message(9, raw),
  );
}

export type Attribute = number | string | readonly number[] | { readonly float: number } | TensorInit;

function attributeProto(name: string, value: Attribute): Uint8Array {
  if (typeof value === 'number') return concatBytes(text(1, name), integer(3, value), integer(20, 2));
  if (typeof value === 'string') return concatBytes(text(1, name), text(4, value), integer(20, 3));
  if (Array.isArray(value))
    return concatBytes(text(1, name), ...(value as number[]).map((v) => integer(8, v)), integer(20, 7));
  if ('float' in value) return concatBytes(text(1, name), float(2, value.float), integer(20, 1));
  return concatBytes(text(1, name), message(5, tensorProto('', value as TensorInit)), integer(20, 4));
}

export interface NodeInit {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
  readonly name?: string;
}

export function nodeProto({
  op,
  inputs,
  outputs,
  attributes = {},
  domain = '',
  name = '',
}: NodeInit): Uint8Array {
  return concatBytes(
    ...inputs.map((input) => text(1, input)),
    ...outputs.map((output) => text(2, output)),
    text(3, name),
    text(4, op),
    ...Object.entries(attributes).map(([key, value]) => message(5, attributeProto(key, value))),
    text(7, domain),
  );
}

/** Extents; a string is a dynamic one. */
export interface PortInit {
  readonly name: string;
  readonly dims: readonly (number | string)[];
  readonly type?: 'float' | 'int64' | 'bool';
}

export function valueInfo({ name, dims, type = 'float' }: PortInit): Uint8Array {
  const shape = concatBytes(
    ...dims.map((d) => message(1, typeof d === 'number' ? integer(1, d) : text(2, d))),
  );
  const tensor = concatBytes(integer(1, DATA_TYPES[type]), message(2, shape));
  return concatBytes(text(1, name), message(2, message(1, tensor)));
}

export interface ModelInit {
  readonly nodes: readonly NodeInit[];
  readonly inputs: readonly PortInit[];
  readonly outputs: readonly PortInit[];
  readonly initializers?: Readonly<Record<string, TensorInit>>;
  readonly opset?: number;
  readonly mlOpset?: number;
  readonly irVersion?: number;
  /** Further fields of the graph. */
  readonly graphExtra?: Uint8Array;
}

export function onnxModel(init: ModelInit): Uint8Array {
  const { nodes, inputs, outputs, initializers = {}, opset = 17, mlOpset, irVersion = 8 } = init;
  const graph = concatBytes(
    ...nodes.map((node) => message(1, nodeProto(node))),
    text(2, 'test'),
    ...Object.entries(initializers).map(([name, tensor]) => message(5, tensorProto(name, tensor))),
    ...inputs.map((port) => message(11, valueInfo(port))),
    ...outputs.map((port) => message(12, valueInfo(port))),
    init.graphExtra ?? new Uint8Array(0),
  );
  return concatBytes(
    integer(1, irVersion),
    text(2, 'test'),
    message(7, graph),
    message(8, concatBytes(text(1, ''), integer(2, opset))),
    ...(mlOpset === undefined ? [] : [message(8, concatBytes(text(1, 'ai.onnx.ml'), integer(2, mlOpset)))]),
  );
}

/** Mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomTensor(seed: number, dims: readonly number[], scale = 1): TensorInit {
  const random = randomFrom(seed);
  const cells = dims.reduce((product, extent) => product * extent, 1);
  return { dims, values: Array.from({ length: cells }, () => (random() * 2 - 1) * scale) };
}
