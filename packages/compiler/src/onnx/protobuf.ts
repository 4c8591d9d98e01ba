/**
 * A bounded reader of the protobuf wire format (encoding v3, https://protobuf.dev/programming-guides/encoding): what ONNX
 * files are made of. It copies nothing and allocates nothing but what the caller keeps, so that a hostile length can not
 * make it reserve memory. Groups, which protobuf gave up, are refused; unknown fields are skipped.
 */
import { MalformedError, utf8Decode } from '@haca/primitives';

export type WireType = 'varint' | 'fixed64' | 'bytes' | 'fixed32';

/** One field as it lies in the file: `start` and `end` are the bounds of its content in `bytes`. */
export interface ProtoField {
  readonly number: number;
  readonly wire: WireType;
  readonly start: number;
  readonly end: number;
  /** The value of a varint, 0 for others. Exact up to 64 bits. */
  readonly varint: bigint;
}

/** A part of the file that is one message. */
export interface ProtoSpan {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Where in the model, for errors: `model.graph.node[3]`. */
  readonly path: string;
}

const WIRE_TYPES: readonly (WireType | undefined)[] = [
  'varint',
  'fixed64',
  'bytes',
  undefined,
  undefined,
  'fixed32',
];
const VARINT_BYTES_MAX = 10;
const TEXT_BYTES_MAX = 8_192;

/** Calls `visit` for each field of the message, in file order. Throws `MalformedError` (`onnx.protobuf`). */
export function readFields(span: ProtoSpan, visit: (field: ProtoField) => void): void {
  let at = span.start;
  while (at < span.end) {
    const tag = readVarint(span, at);
    const number = Number(tag.value >> 3n);
    const wire = WIRE_TYPES[Number(tag.value & 7n)];
    if (wire === undefined || number === 0 || tag.value > 0xffff_ffffn) {
      throw corrupt(span, 'a field tag', `tag ${tag.value} at byte ${at}`);
    }
    at = tag.next;
    const { start, end, varint } = contentOf(span, at, wire);
    visit({ number, wire, start, end, varint });
    at = end;
  }
}

function contentOf(
  span: ProtoSpan,
  at: number,
  wire: WireType,
): { readonly start: number; readonly end: number; readonly varint: bigint } {
  if (wire === 'varint') {
    const { value, next } = readVarint(span, at);
    return { start: at, end: next, varint: value };
  }
  let start = at;
  let length = wire === 'fixed64' ? 8n : 4n;
  if (wire === 'bytes') {
    const prefix = readVarint(span, at);
    start = prefix.next;
    length = prefix.value;
  }
  if (length > BigInt(span.end - start)) {
    throw corrupt(span, `at most ${span.end - start} bytes of content`, `${length} at byte ${at}`);
  }
  return { start, end: start + Number(length), varint: 0n };
}

function readVarint(span: ProtoSpan, at: number): { readonly value: bigint; readonly next: number } {
  let low = 0;
  // Up to 28 bits are plain numbers, which nearly all are.
  for (let i = 0; i < 4; i++) {
    const byte = byteAt(span, at + i);
    low += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value: BigInt(low), next: at + i + 1 };
  }
  let value = BigInt(low);
  for (let i = 4; i < VARINT_BYTES_MAX; i++) {
    const byte = byteAt(span, at + i);
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) return { value: BigInt.asUintN(64, value), next: at + i + 1 };
  }
  throw corrupt(span, `an integer of at most ${VARINT_BYTES_MAX} bytes`, `more at byte ${at}`);
}

function byteAt(span: ProtoSpan, at: number): number {
  if (at >= span.end) throw corrupt(span, 'more bytes', `the end at byte ${at}`);
  return span.bytes[at] as number;
}

export function asMessage(span: ProtoSpan, field: ProtoField, name: string): ProtoSpan {
  expectWire(span, field, 'bytes', name);
  return { bytes: span.bytes, start: field.start, end: field.end, path: `${span.path}.${name}` };
}

/** A view of the file, not a copy. */
export function asBytes(span: ProtoSpan, field: ProtoField, name: string): Uint8Array {
  expectWire(span, field, 'bytes', name);
  return span.bytes.subarray(field.start, field.end);
}

export function asText(span: ProtoSpan, field: ProtoField, name: string): string {
  const bytes = asBytes(span, field, name);
  if (bytes.length > TEXT_BYTES_MAX)
    throw corrupt(span, `${name} of at most ${TEXT_BYTES_MAX} bytes`, `${bytes.length}`);
  return utf8Decode(bytes, `${span.path}.${name}`);
}

/** A signed integer; those outside the safe range of a number become ±(2^53 − 1), as in `Slice` ends of "the end". */
export function asInt(span: ProtoSpan, field: ProtoField, name: string): number {
  expectWire(span, field, 'varint', name);
  return clampToSafe(BigInt.asIntN(64, field.varint));
}

export function asFloat(span: ProtoSpan, field: ProtoField, name: string): number {
  expectWire(span, field, 'fixed32', name);
  return viewOf(span.bytes).getFloat32(field.start, true);
}

/** Appends the integers of a repeated field, packed or not, to `into`. */
export function pushInts(
  span: ProtoSpan,
  field: ProtoField,
  name: string,
  into: number[],
  maxLength: number,
): void {
  if (field.wire === 'varint') {
    pushBounded(span, name, into, asInt(span, field, name), maxLength);
    return;
  }
  expectWire(span, field, 'bytes', name);
  const packed = { ...span, start: field.start, end: field.end };
  for (let at = field.start; at < field.end; ) {
    const { value, next } = readVarint(packed, at);
    pushBounded(span, name, into, clampToSafe(BigInt.asIntN(64, value)), maxLength);
    at = next;
  }
}

/** Appends the numbers of a repeated field of fixed width (`fixed32`: float, `fixed64`: double). */
export function pushFloats(
  span: ProtoSpan,
  field: ProtoField,
  name: string,
  into: number[],
  width: 'fixed32' | 'fixed64',
  maxLength: number,
): void {
  const size = width === 'fixed32' ? 4 : 8;
  if (field.wire !== width) expectWire(span, field, 'bytes', name);
  if ((field.end - field.start) % size !== 0) {
    throw corrupt(span, `${name} as a multiple of ${size} bytes`, `${field.end - field.start}`);
  }
  const view = viewOf(span.bytes);
  for (let at = field.start; at < field.end; at += size) {
    const value = size === 4 ? view.getFloat32(at, true) : view.getFloat64(at, true);
    pushBounded(span, name, into, value, maxLength);
  }
}

function pushBounded(span: ProtoSpan, name: string, into: number[], value: number, maxLength: number): void {
  if (into.length >= maxLength) throw corrupt(span, `at most ${maxLength} entries in ${name}`, 'more');
  into.push(value);
}

function clampToSafe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function expectWire(span: ProtoSpan, field: ProtoField, wire: WireType, name: string): void {
  if (field.wire !== wire) throw corrupt(span, `${name} as ${wire}`, `${field.wire} at byte ${field.start}`);
}

function corrupt(span: ProtoSpan, expected: string, got: string): MalformedError {
  return new MalformedError('onnx.protobuf', span.path, expected, got);
}
