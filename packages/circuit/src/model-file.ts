/**
 * The model file `.hzk`: a verifying key, its weights, and how the model's inputs and outputs are told in integers.
 *
 *   "HZKM" | u32 length of the header, little-endian | header, deterministic CBOR | weights
 *
 * The weights of the key's tensors of role weight follow one after the other in key order: row-major, unpadded, two's
 * complement, little-endian, 1, 2 or 4 bytes each by their kind. The header says everything else, so the length of a file
 * is known from its first bytes. Nothing in a file is trusted: a reader checks form, lengths and intervals; that the
 * weights are those of the key's cap is checked by whoever commits them.
 */
import {
  arrayOf,
  bytesEqual,
  bytesOf,
  type Codec,
  decode,
  encode,
  field,
  MalformedError,
  struct,
  type TypeOf,
  textOf,
  UsageError,
  uint,
  utf8Encode,
} from '@haca/primitives';
import {
  encodeVerifyingKey,
  parseVerifyingKey,
  type TensorKind,
  type TensorSpec,
  type VerifyingKey,
} from './key.ts';
import { LIMITS } from './limits.ts';
import { createValues, type TensorValues } from './statement.ts';

const MAGIC = utf8Encode('HZKM');
const PREFIX_BYTES = 8;
const HEADER_BYTES_MAX = 2 ** 20;
export const HZK_BYTES_MAX = 2 ** 30;
const PORTS_MAX = 64;
const NAME_BYTES_MAX = 256;

/** A positive number as odd · 2^(exponent − 1100): exact, and one spelling for each. */
const scaleCodec = struct({ odd: field(0, uint()), exponent: field(1, uint(2_200)) });

const portCodec = struct({
  name: field(0, textOf(0, NAME_BYTES_MAX)),
  /** Index of the key's tensor. */
  tensor: field(1, uint(LIMITS.tensors - 1)),
  scale: field(2, scaleCodec),
  /** As the original model declares it, without the batch. */
  shape: field(3, arrayOf(uint(LIMITS.extent), 8)),
  /** Names of the positions of a classifier's scores; empty where there are none. */
  labels: field(4, arrayOf(textOf(0, NAME_BYTES_MAX), 65_536)),
});

const headerCodec = struct({
  version: field(0, uint(1)),
  name: field(1, textOf(0, NAME_BYTES_MAX)),
  /** SHA-256 of the file the model was imported from. */
  sourceHash: field(2, bytesOf(32)),
  key: field(3, bytesOf(1, LIMITS.keyBytes)),
  inputs: field(4, arrayOf(portCodec, PORTS_MAX, 1)),
  outputs: field(5, arrayOf(portCodec, PORTS_MAX, 1)),
});

export const HZK_HEADER_CDDL: string = (headerCodec as Codec<TypeOf<typeof headerCodec>>).cddl;

/** How one public tensor is read by people: real value = scale · integer. */
export interface HzkPort {
  readonly name: string;
  readonly tensor: number;
  readonly scale: number;
  readonly shape: readonly number[];
  readonly labels: readonly string[];
}

export interface HzkModel {
  readonly name: string;
  readonly sourceHash: Uint8Array;
  readonly key: VerifyingKey;
  /** Dense, row-major, in the order of the key's tensors of role weight. */
  readonly weights: readonly TensorValues[];
  readonly inputs: readonly HzkPort[];
  readonly outputs: readonly HzkPort[];
}

/** @throws UsageError where parts do not belong together or a name is too long */
export function encodeHzk(model: HzkModel): Uint8Array {
  checkPorts(model.key, model.inputs, model.outputs, (_code, path, expected, got) => {
    throw new UsageError(`${path}: expected ${expected}, got ${got}`);
  });
  const port = ({ scale, shape, labels, ...rest }: HzkPort): TypeOf<typeof portCodec> => ({
    ...rest,
    scale: splitScale(scale),
    shape: [...shape],
    labels: [...labels],
  });
  const header = encode(headerCodec, {
    version: 1,
    name: model.name,
    sourceHash: model.sourceHash,
    key: encodeVerifyingKey(model.key),
    inputs: model.inputs.map(port),
    outputs: model.outputs.map(port),
  });
  const specs = weightSpecs(model.key);
  if (specs.length !== model.weights.length)
    throw new UsageError(`${model.weights.length} weight tensors, the key has ${specs.length}`);
  const bytes = new Uint8Array(
    PREFIX_BYTES + header.length + specs.reduce((sum, spec) => sum + weightBytes(spec), 0),
  );
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC, 0);
  view.setUint32(4, header.length, true);
  bytes.set(header, PREFIX_BYTES);
  let at = PREFIX_BYTES + header.length;
  for (const [i, spec] of specs.entries()) {
    const values = model.weights[i] as TensorValues;
    if (values.length !== cellsOf(spec))
      throw new UsageError(`weight ${i} has ${values.length} of ${cellsOf(spec)} values`);
    writeValues(view, at, spec.kind, values);
    at += weightBytes(spec);
  }
  return bytes;
}

/** Reads a whole file. @throws MalformedError (`hzk.*`, `cbor.*`, `zk.*`) with the place */
export function parseHzk(bytes: Uint8Array): HzkModel {
  if (bytes.length > HZK_BYTES_MAX)
    throw new MalformedError('hzk.size', 'file', `at most ${HZK_BYTES_MAX} bytes`, `${bytes.length}`);
  if (bytes.length < PREFIX_BYTES || !bytesEqual(bytes.subarray(0, 4), MAGIC))
    throw new MalformedError('hzk.magic', 'file', 'a file that begins with HZKM', 'another');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = view.getUint32(4, true);
  if (headerBytes > HEADER_BYTES_MAX || headerBytes > bytes.length - PREFIX_BYTES)
    throw new MalformedError('hzk.header', 'file', 'a header inside the file', `${headerBytes} bytes`);
  const header = decode(headerCodec, bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + headerBytes), 'header');
  if (header.version !== 1)
    throw new MalformedError('hzk.version', 'header.version', '1', `${header.version}`);
  const key = parseVerifyingKey(header.key);
  const ports = (list: typeof header.inputs, name: string): HzkPort[] =>
    list.map((port, i) => ({ ...port, scale: joinScale(port.scale, `header.${name}.${i}.scale`) }));
  const [inputs, outputs] = [ports(header.inputs, 'inputs'), ports(header.outputs, 'outputs')];
  checkPorts(key, inputs, outputs, (code, path, expected, got) => {
    throw new MalformedError(code, path, expected, got);
  });
  const specs = weightSpecs(key);
  const start = PREFIX_BYTES + headerBytes;
  const expected = start + specs.reduce((sum, spec) => sum + weightBytes(spec), 0);
  if (bytes.length !== expected)
    throw new MalformedError('hzk.length', 'file', `${expected} bytes, as the key says`, `${bytes.length}`);
  let at = start;
  const weights = specs.map((spec, i) => {
    const values = readValues(view, at, spec, `weights.${i}`);
    at += weightBytes(spec);
    return values;
  });
  return { name: header.name, sourceHash: header.sourceHash, key, weights, inputs, outputs };
}

const CELL_BYTES: Readonly<Record<TensorKind, number>> = { i8: 1, u8: 1, i16: 2, i32: 4, id: 4 };

function weightSpecs(key: VerifyingKey): TensorSpec[] {
  return key.tensors.filter(({ role }) => role === 'weight');
}

function cellsOf({ extents }: TensorSpec): number {
  return extents.reduce((cells, extent) => cells * extent, 1);
}

function weightBytes(spec: TensorSpec): number {
  return cellsOf(spec) * CELL_BYTES[spec.kind];
}

function writeValues(view: DataView, at: number, kind: TensorKind, values: TensorValues): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (kind === 'i8' || kind === 'u8') view.setInt8(at + i, value);
    else if (kind === 'i16') view.setInt16(at + 2 * i, value, true);
    else view.setInt32(at + 4 * i, value, true);
  }
}

function readValues(view: DataView, at: number, spec: TensorSpec, path: string): TensorValues {
  const { kind, lo, hi } = spec;
  const values = createValues(kind, cellsOf(spec));
  for (let i = 0; i < values.length; i++) {
    let value: number;
    if (kind === 'i8') value = view.getInt8(at + i);
    else if (kind === 'u8') value = view.getUint8(at + i);
    else value = kind === 'i16' ? view.getInt16(at + 2 * i, true) : view.getInt32(at + 4 * i, true);
    if (value < lo || value > hi)
      throw new MalformedError('hzk.weight', `${path}.${i}`, `a value in [${lo}, ${hi}]`, `${value}`);
    values[i] = value;
  }
  return values;
}

type Report = (code: string, path: string, expected: string, got: string) => never;

/** One port for each public tensor, in key order, with as many cells. */
function checkPorts(
  key: VerifyingKey,
  inputs: readonly HzkPort[],
  outputs: readonly HzkPort[],
  fail: Report,
): void {
  for (const [role, ports] of [
    ['input', inputs],
    ['output', outputs],
  ] as const) {
    const indices = key.tensors.flatMap((spec, index) => (spec.role === role ? [index] : []));
    if (indices.length !== ports.length)
      fail('hzk.ports', `header.${role}s`, `${indices.length}, as the key has`, `${ports.length}`);
    const names = new Set<string>();
    for (const [i, port] of ports.entries()) {
      const path = `header.${role}s.${i}`;
      if (port.tensor !== indices[i])
        fail('hzk.ports', path, `tensor ${indices[i]}`, `tensor ${port.tensor}`);
      if (names.has(port.name)) fail('hzk.ports', path, 'a name of its own', JSON.stringify(port.name));
      names.add(port.name);
      const cells = cellsOf(key.tensors[port.tensor] as TensorSpec);
      const declared = port.shape.reduce((product, extent) => product * extent, 1);
      if (declared !== cells) fail('hzk.ports', path, `a shape of ${cells} cells`, `${declared}`);
      if (port.labels.length !== 0 && port.labels.length !== cells)
        fail('hzk.ports', path, `${cells} labels or none`, `${port.labels.length}`);
    }
  }
}

const EXPONENT_BIAS = 1_100;

function splitScale(scale: number): { readonly odd: number; readonly exponent: number } {
  if (!(scale > 0) || !Number.isFinite(scale)) throw new UsageError(`${scale} is no scale`);
  let [odd, exponent] = [scale, 0];
  while (!Number.isInteger(odd)) {
    odd *= 2;
    exponent--;
  }
  while (odd % 2 === 0) {
    odd /= 2;
    exponent++;
  }
  if (!Number.isSafeInteger(odd)) throw new UsageError(`${scale} is no scale`);
  return { odd, exponent: exponent + EXPONENT_BIAS };
}

function joinScale(
  { odd, exponent }: { readonly odd: number; readonly exponent: number },
  path: string,
): number {
  const scale = odd * 2 ** (exponent - EXPONENT_BIAS);
  if (odd % 2 !== 1 || !Number.isFinite(scale) || scale < 2 ** -1_000)
    throw new MalformedError(
      'hzk.scale',
      path,
      'an odd number times a power of two from 2^-1000 up',
      `${odd} · 2^${exponent - EXPONENT_BIAS}`,
    );
  return scale;
}
