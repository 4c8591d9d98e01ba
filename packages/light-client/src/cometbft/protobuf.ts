/**
 * The little of Protocol Buffers (proto3) that CometBFT's hashed and signed messages need. Writers give the canonical
 * form: fields in order, shortest varints, default values left out. The reader is lenient; whoever decodes with it
 * compares the re-encoding with the input, so only canonical bytes get through.
 */
import { MalformedError } from '@haca/primitives';

const NOTHING = new Uint8Array(0);
const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;

/** Like `concatBytes`, for lists too long to be passed as arguments. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Base-128 varint of a 64-bit integer; a negative one as its two's complement, ten bytes. */
export function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

export function varintField(field: number, value: number | bigint): Uint8Array {
  return BigInt(value) === 0n ? NOTHING : joinBytes([varint((field << 3) | WIRE_VARINT), varint(value)]);
}

export function bytesField(field: number, value: Uint8Array): Uint8Array {
  return value.length === 0 ? NOTHING : messageField(field, value);
}

/** A submessage that is written even where it is empty (gogoproto `nullable = false`). */
export function messageField(field: number, value: Uint8Array): Uint8Array {
  return joinBytes([varint((field << 3) | WIRE_BYTES), varint(value.length), value]);
}

export function sfixed64Field(field: number, value: number | bigint): Uint8Array {
  if (BigInt(value) === 0n) return NOTHING;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value), true);
  return joinBytes([varint((field << 3) | WIRE_FIXED64), bytes]);
}

/** The message with its length in front, as CometBFT signs it. */
export function lengthDelimited(message: Uint8Array): Uint8Array {
  return joinBytes([varint(message.length), message]);
}

interface ProtoField {
  readonly number: number;
  /** A varint's value or a byte string; the two wire types the decoded messages use. */
  readonly value: bigint | Uint8Array;
}

/** Splits a message into its fields; throws `MalformedError` on anything that is not a sequence of them. */
export function readProtoFields(bytes: Uint8Array, path: string): readonly ProtoField[] {
  const fields: ProtoField[] = [];
  let offset = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[offset++];
      if (byte === undefined)
        throw new MalformedError('protobuf.truncated', path, 'a whole varint', 'the end');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new MalformedError('protobuf.varint', path, 'a varint of at most 10 bytes', 'a longer one');
  };
  while (offset < bytes.length) {
    const tag = Number(readVarint());
    const wire = tag % 8;
    const number = (tag - wire) / 8;
    if (wire !== WIRE_VARINT && wire !== WIRE_BYTES) {
      throw new MalformedError('protobuf.wire-type', path, 'a varint or a byte string', `wire type ${wire}`);
    }
    const value = readVarint();
    if (wire === WIRE_VARINT) {
      fields.push({ number, value });
      continue;
    }
    if (value > BigInt(bytes.length - offset)) {
      throw new MalformedError('protobuf.truncated', path, `${value} more bytes`, `${bytes.length - offset}`);
    }
    fields.push({ number, value: bytes.slice(offset, offset + Number(value)) });
    offset += Number(value);
  }
  return fields;
}

/** Typed access to the fields of one message; a missing field has its default value, as proto3 has it. */
export interface ProtoMessage {
  readonly path: string;
  readonly int64: (field: number) => bigint;
  /** An integer that must be a safe non-negative `number`. */
  readonly uint: (field: number) => number;
  readonly bytes: (field: number) => Uint8Array;
  readonly message: (field: number, name: string) => ProtoMessage;
  readonly repeated: (field: number, max: number) => readonly Uint8Array[];
}

export function readProtoMessage(bytes: Uint8Array, path: string): ProtoMessage {
  const byNumber = new Map<number, (bigint | Uint8Array)[]>();
  for (const { number, value } of readProtoFields(bytes, path)) {
    const known = byNumber.get(number);
    if (known === undefined) byNumber.set(number, [value]);
    else known.push(value);
  }
  const single = (field: number) => byNumber.get(field)?.at(-1);
  const wrongType = (field: number) =>
    new MalformedError('protobuf.type', `${path}#${field}`, 'the wire type of the field', 'another');
  const int64 = (field: number): bigint => {
    const value = single(field) ?? 0n;
    if (typeof value !== 'bigint') throw wrongType(field);
    return BigInt.asIntN(64, value);
  };
  const bytesOf = (field: number): Uint8Array => {
    const value = single(field) ?? NOTHING;
    if (typeof value === 'bigint') throw wrongType(field);
    return value;
  };
  return {
    path,
    int64,
    uint: (field) => {
      const value = int64(field);
      if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
      throw new MalformedError(
        'protobuf.range',
        `${path}#${field}`,
        'a safe non-negative integer',
        `${value}`,
      );
    },
    bytes: bytesOf,
    message: (field, name) => readProtoMessage(bytesOf(field), `${path}.${name}`),
    repeated: (field, max) => {
      const values = byNumber.get(field) ?? [];
      if (values.length > max) {
        throw new MalformedError(
          'protobuf.length',
          `${path}#${field}`,
          `at most ${max} entries`,
          `${values.length}`,
        );
      }
      return values.map((value) => {
        if (typeof value === 'bigint') throw wrongType(field);
        return value;
      });
    },
  };
}
