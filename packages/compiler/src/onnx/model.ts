/**
 * ONNX files (onnx.proto3, IR versions 3 to 13) as plain data. Only what an inference graph needs is kept; whatever would
 * change the meaning of the graph and is not understood here (external data, sparse or string tensors, subgraphs,
 * functions) is an error that says where it stands.
 */
import { MalformedError } from '@haca/primitives';
import {
  cellsOf,
  checkShape,
  type ElementType,
  formatShape,
  TENSOR_CELLS_MAX,
  type Tensor,
} from '../float/tensor.ts';
import {
  asBytes,
  asFloat,
  asInt,
  asMessage,
  asText,
  type ProtoField,
  type ProtoSpan,
  pushFloats,
  pushInts,
  readFields,
  viewOf,
} from './protobuf.ts';

export const MODEL_BYTES_MAX = 1_073_741_824;
const NODES_MAX = 10_000;
const VALUES_MAX = 40_000;
const ATTRIBUTES_MAX = 64;
const OPERANDS_MAX = 4_096;
const LIST_MAX = 2 ** 20;
const IR_VERSIONS = { min: 3, max: 13 } as const;
/** Default-domain operator sets whose operators mean what this importer takes them to mean. */
export const OPSETS = { min: 13, max: 21 } as const;
const ML_OPSETS = { min: 1, max: 5 } as const;

export type AttributeValue =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'tensor'; readonly value: Tensor }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'texts'; readonly value: readonly string[] }
  | { readonly kind: 'other' };

export interface OnnxNode {
  readonly name: string;
  readonly opType: string;
  /** `''` for the default domain. */
  readonly domain: string;
  /** Names of values; `''` for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeValue>;
  /** For errors: `model.graph.node[3] "/conv1/Conv" (Conv)`. */
  readonly place: string;
}

/** `undefined` in a shape is a dynamic extent. */
export interface OnnxValueInfo {
  readonly name: string;
  readonly type: ElementType | undefined;
  readonly shape: readonly (number | undefined)[] | undefined;
}

export interface OnnxModel {
  readonly irVersion: number;
  readonly producer: string;
  /** Version of the default domain. */
  readonly opset: number;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, Tensor>;
  /** Without those that are initializers too. */
  readonly inputs: readonly OnnxValueInfo[];
  readonly outputs: readonly OnnxValueInfo[];
}

/** Reads a whole ONNX file. Throws `MalformedError` with a code that begins with `onnx.` or is `model.too-large`. */
export function parseOnnx(bytes: Uint8Array): OnnxModel {
  if (bytes.length > MODEL_BYTES_MAX)
    throw new MalformedError(
      'model.too-large',
      'model',
      `at most ${MODEL_BYTES_MAX} bytes`,
      `${bytes.length}`,
    );
  const span: ProtoSpan = { bytes, start: 0, end: bytes.length, path: 'model' };
  let irVersion = 0;
  let producer = '';
  let graph: ProtoSpan | undefined;
  const opsets = new Map<string, number>();
  readFields(span, (field) => {
    if (field.number === 1) irVersion = asInt(span, field, 'ir_version');
    else if (field.number === 2) producer = `${asText(span, field, 'producer_name')}${producer}`;
    else if (field.number === 3) producer = `${producer} ${asText(span, field, 'producer_version')}`;
    else if (field.number === 7) {
      if (graph !== undefined) throw new MalformedError('onnx.model', 'model', 'one graph', 'two');
      graph = asMessage(span, field, 'graph');
    } else if (field.number === 8) readOpset(asMessage(span, field, 'opset_import'), opsets);
  });
  if (graph === undefined) throw new MalformedError('onnx.model', 'model', 'a model with a graph', 'none');
  if (irVersion < IR_VERSIONS.min || irVersion > IR_VERSIONS.max) {
    const range = `IR version ${IR_VERSIONS.min} to ${IR_VERSIONS.max}`;
    throw new MalformedError('onnx.ir-version', 'model.ir_version', range, `${irVersion}`);
  }
  const opset = checkOpsets(opsets);
  return { irVersion, producer: producer.trim(), opset, ...readGraph(graph) };
}

function readOpset(span: ProtoSpan, into: Map<string, number>): void {
  let domain = '';
  let version = 0;
  readFields(span, (field) => {
    if (field.number === 1) domain = asText(span, field, 'domain');
    else if (field.number === 2) version = asInt(span, field, 'version');
  });
  const name = domain === 'ai.onnx' ? '' : domain;
  const known = into.get(name);
  if (known !== undefined && known !== version)
    throw new MalformedError('onnx.opset', span.path, `one version of ${domain}`, `${known} and ${version}`);
  into.set(name, version);
}

/** Of other domains only nodes that use them are an error: exporters declare what they do not use. */
function checkOpsets(opsets: ReadonlyMap<string, number>): number {
  const version = opsets.get('');
  const path = 'model.opset_import';
  if (version === undefined || version < OPSETS.min || version > OPSETS.max) {
    const got = version === undefined ? 'none' : `${version}`;
    throw new MalformedError('onnx.opset', path, `ai.onnx opset ${OPSETS.min} to ${OPSETS.max}`, got);
  }
  const ml = opsets.get('ai.onnx.ml');
  if (ml !== undefined && (ml < ML_OPSETS.min || ml > ML_OPSETS.max)) {
    const range = `ai.onnx.ml opset ${ML_OPSETS.min} to ${ML_OPSETS.max}`;
    throw new MalformedError('onnx.opset', path, range, `${ml}`);
  }
  return version;
}

function readGraph(span: ProtoSpan): Pick<OnnxModel, 'nodes' | 'initializers' | 'inputs' | 'outputs'> {
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, Tensor>();
  const inputs: OnnxValueInfo[] = [];
  const outputs: OnnxValueInfo[] = [];
  readFields(span, (field) => {
    if (field.number === 1) {
      limit(nodes.length, NODES_MAX, span.path, 'nodes');
      nodes.push(readNode(asMessage(span, field, `node[${nodes.length}]`)));
    } else if (field.number === 5) {
      limit(initializers.size, VALUES_MAX, span.path, 'initializers');
      const message = asMessage(span, field, `initializer[${initializers.size}]`);
      const { name, tensor } = readTensor(message);
      if (name === '' || initializers.has(name))
        throw new MalformedError('onnx.model', message.path, 'a name of its own', JSON.stringify(name));
      initializers.set(name, tensor);
    } else if (field.number === 11) {
      limit(inputs.length, VALUES_MAX, span.path, 'inputs');
      inputs.push(readValueInfo(asMessage(span, field, `input[${inputs.length}]`)));
    } else if (field.number === 12) {
      limit(outputs.length, VALUES_MAX, span.path, 'outputs');
      outputs.push(readValueInfo(asMessage(span, field, `output[${outputs.length}]`)));
    } else if (field.number === 15) {
      throw new MalformedError('onnx.sparse', span.path, 'dense initializers', 'a sparse initializer');
    }
  });
  if (outputs.length === 0) throw new MalformedError('onnx.model', span.path, 'an output', 'none');
  return { nodes, initializers, inputs: inputs.filter(({ name }) => !initializers.has(name)), outputs };
}

function readNode(span: ProtoSpan): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, AttributeValue>();
  let name = '';
  let opType = '';
  let domain = '';
  readFields(span, (field) => {
    if (field.number === 1) {
      limit(inputs.length, OPERANDS_MAX, span.path, 'inputs');
      inputs.push(asText(span, field, 'input'));
    } else if (field.number === 2) {
      limit(outputs.length, OPERANDS_MAX, span.path, 'outputs');
      outputs.push(asText(span, field, 'output'));
    } else if (field.number === 3) name = asText(span, field, 'name');
    else if (field.number === 4) opType = asText(span, field, 'op_type');
    else if (field.number === 5) {
      limit(attributes.size, ATTRIBUTES_MAX, span.path, 'attributes');
      const attribute = readAttribute(asMessage(span, field, `attribute[${attributes.size}]`));
      attributes.set(attribute.name, attribute.value);
    } else if (field.number === 7) domain = asText(span, field, 'domain');
  });
  const place = `${span.path}${name === '' ? '' : ` ${JSON.stringify(name)}`} (${opType})`;
  return { name, opType, domain: domain === 'ai.onnx' ? '' : domain, inputs, outputs, attributes, place };
}

function readAttribute(span: ProtoSpan): { readonly name: string; readonly value: AttributeValue } {
  let name = '';
  let declared = 0;
  let found: AttributeValue = { kind: 'other' };
  const numbers: number[] = [];
  const texts: string[] = [];
  readFields(span, (field) => {
    switch (field.number) {
      case 1:
        name = asText(span, field, 'name');
        break;
      case 2:
        found = { kind: 'float', value: asFloat(span, field, 'f') };
        break;
      case 3:
        found = { kind: 'int', value: asInt(span, field, 'i') };
        break;
      case 4:
        found = textAttribute(span, field);
        break;
      case 5:
        found = { kind: 'tensor', value: readTensor(asMessage(span, field, 't')).tensor };
        break;
      case 7:
        pushFloats(span, field, 'floats', numbers, 'fixed32', LIST_MAX);
        break;
      case 8:
        pushInts(span, field, 'ints', numbers, LIST_MAX);
        break;
      case 9:
        limit(texts.length, LIST_MAX, span.path, 'strings');
        texts.push(asText(span, field, 'strings'));
        break;
      case 20:
        declared = asInt(span, field, 'type');
        break;
      case 21:
        throw new MalformedError(
          'onnx.function',
          span.path,
          'a value',
          'a reference to a function parameter',
        );
    }
  });
  if (declared === 6) return { name, value: { kind: 'floats', value: numbers } };
  if (declared === 7) return { name, value: { kind: 'ints', value: numbers } };
  if (declared === 8) return { name, value: { kind: 'texts', value: texts } };
  // Zero values are not written, so an absent value of a declared scalar type is its default.
  if (found.kind === 'other' && declared === 1) found = { kind: 'float', value: 0 };
  if (found.kind === 'other' && declared === 2) found = { kind: 'int', value: 0 };
  if (found.kind === 'other' && declared === 3) found = { kind: 'text', value: '' };
  return { name, value: found };
}

/** Some attributes carry bytes that are no text; none that this importer reads does. */
function textAttribute(span: ProtoSpan, field: ProtoField): AttributeValue {
  try {
    return { kind: 'text', value: asText(span, field, 's') };
  } catch (error) {
    if (error instanceof MalformedError) return { kind: 'other' };
    throw error;
  }
}

function readValueInfo(span: ProtoSpan): OnnxValueInfo {
  let name = '';
  let type: ElementType | undefined;
  let shape: (number | undefined)[] | undefined;
  readFields(span, (field) => {
    if (field.number === 1) name = asText(span, field, 'name');
    else if (field.number === 2) {
      const outer = asMessage(span, field, 'type');
      readFields(outer, (kind) => {
        if (kind.number !== 1) return;
        const tensor = asMessage(outer, kind, 'tensor_type');
        readFields(tensor, (part) => {
          if (part.number === 1) type = elementTypeOf(asInt(tensor, part, 'elem_type'));
          else if (part.number === 2) shape = readDims(asMessage(tensor, part, 'shape'));
        });
      });
    }
  });
  return { name, type, shape };
}

function readDims(span: ProtoSpan): (number | undefined)[] {
  const dims: (number | undefined)[] = [];
  readFields(span, (field) => {
    if (field.number !== 1) return;
    limit(dims.length, 16, span.path, 'axes');
    const dim = asMessage(span, field, `dim[${dims.length}]`);
    let extent: number | undefined;
    readFields(dim, (part) => {
      if (part.number === 1) extent = asInt(dim, part, 'dim_value');
    });
    // Some exporters write 0 or −1 for an extent they do not know.
    dims.push(extent !== undefined && extent > 0 ? extent : undefined);
  });
  return dims;
}

interface NumberFormat {
  readonly type: ElementType;
  readonly sizeBytes: number;
  readonly read: (view: DataView, at: number) => number;
}

/** TensorProto.DataType. */
const NUMBER_FORMATS: Readonly<Record<number, NumberFormat>> = {
  1: { type: 'float', sizeBytes: 4, read: (view, at) => view.getFloat32(at, true) },
  2: { type: 'int', sizeBytes: 1, read: (view, at) => view.getUint8(at) },
  3: { type: 'int', sizeBytes: 1, read: (view, at) => view.getInt8(at) },
  4: { type: 'int', sizeBytes: 2, read: (view, at) => view.getUint16(at, true) },
  5: { type: 'int', sizeBytes: 2, read: (view, at) => view.getInt16(at, true) },
  6: { type: 'int', sizeBytes: 4, read: (view, at) => view.getInt32(at, true) },
  7: { type: 'int', sizeBytes: 8, read: (view, at) => safeNumber(view.getBigInt64(at, true)) },
  9: { type: 'bool', sizeBytes: 1, read: (view, at) => (view.getUint8(at) === 0 ? 0 : 1) },
  10: { type: 'float', sizeBytes: 2, read: (view, at) => halfToNumber(view.getUint16(at, true)) },
  11: { type: 'float', sizeBytes: 8, read: (view, at) => view.getFloat64(at, true) },
  12: { type: 'int', sizeBytes: 4, read: (view, at) => view.getUint32(at, true) },
  13: { type: 'int', sizeBytes: 8, read: (view, at) => safeNumber(view.getBigUint64(at, true)) },
  16: { type: 'float', sizeBytes: 2, read: (view, at) => bfloatToNumber(view.getUint16(at, true)) },
};

const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: 'float',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  8: 'string',
  9: 'bool',
  10: 'float16',
  11: 'double',
  14: 'complex64',
  15: 'complex128',
};

export function elementTypeOf(dataType: number): ElementType | undefined {
  return NUMBER_FORMATS[dataType]?.type;
}

function readTensor(span: ProtoSpan): { readonly name: string; readonly tensor: Tensor } {
  const dims: number[] = [];
  const listed: number[] = [];
  let dataType = 0;
  let name = '';
  let raw: Uint8Array | undefined;
  readFields(span, (field) => {
    if (field.number === 1) pushInts(span, field, 'dims', dims, 16);
    else if (field.number === 2) dataType = asInt(span, field, 'data_type');
    else if (field.number === 4) pushFloats(span, field, 'float_data', listed, 'fixed32', TENSOR_CELLS_MAX);
    else if (field.number === 5 || field.number === 7 || field.number === 11) {
      pushInts(span, field, 'int_data', listed, TENSOR_CELLS_MAX);
    } else if (field.number === 8) name = asText(span, field, 'name');
    else if (field.number === 9) raw = asBytes(span, field, 'raw_data');
    else if (field.number === 10) pushFloats(span, field, 'double_data', listed, 'fixed64', TENSOR_CELLS_MAX);
    else if (field.number === 13 || (field.number === 14 && asInt(span, field, 'data_location') !== 0)) {
      const path = `${span.path} ${JSON.stringify(name)}`;
      throw new MalformedError(
        'onnx.external-data',
        path,
        'weights inside the file',
        'a reference to another file',
      );
    }
  });
  const path = name === '' ? span.path : `${span.path} ${JSON.stringify(name)}`;
  checkShape(dims, path);
  const format = NUMBER_FORMATS[dataType];
  if (format === undefined) {
    const got = TYPE_NAMES[dataType] ?? `type ${dataType}`;
    throw new MalformedError('onnx.element-type', path, 'numbers or truth values', got);
  }
  const cells = cellsOf(dims);
  const have = raw === undefined ? listed.length : raw.length / format.sizeBytes;
  if (have !== cells)
    throw new MalformedError('onnx.tensor-data', path, `${cells} values for ${formatShape(dims)}`, `${have}`);
  return {
    name,
    tensor: { type: format.type, shape: dims, data: decodeNumbers(format, dataType, raw, listed, cells) },
  };
}

function decodeNumbers(
  format: NumberFormat,
  dataType: number,
  raw: Uint8Array | undefined,
  listed: readonly number[],
  cells: number,
): Float32Array | Float64Array {
  const data = format.type === 'float' ? new Float32Array(cells) : new Float64Array(cells);
  if (raw !== undefined) {
    const view = viewOf(raw);
    if (dataType === 1) new Uint8Array(data.buffer).set(raw);
    else for (let i = 0; i < cells; i++) data[i] = format.read(view, i * format.sizeBytes);
    return data;
  }
  for (let i = 0; i < cells; i++) {
    const value = listed[i] as number;
    // Half precision travels in int32_data as bit patterns.
    if (dataType === 10) data[i] = halfToNumber(value & 0xffff);
    else if (dataType === 16) data[i] = bfloatToNumber(value & 0xffff);
    else data[i] = value;
  }
  return data;
}

function safeNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const BFLOAT_VIEW = new DataView(new ArrayBuffer(4));

function bfloatToNumber(bits: number): number {
  BFLOAT_VIEW.setUint16(0, bits, false);
  return BFLOAT_VIEW.getFloat32(0, false);
}

function limit(count: number, max: number, path: string, what: string): void {
  if (count >= max) throw new MalformedError('model.too-large', path, `at most ${max} ${what}`, 'more');
}
