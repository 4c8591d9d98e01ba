/**
 * Reads Protocol Buffers (proto3) in place, without an object per field. A reader walks one message: the nested ones are
 * walked by narrowing `end`. Unknown fields are skipped, as the format demands of a receiver; a known field with another
 * wire type, a group, an overlong varint or a field that reaches past its message is refused.
 */
import { MalformedError } from '@haca/primitives';

export interface WireReader {
  readonly bytes: Uint8Array;
  offset: number;
  /** End of the message that is being read. */
  end: number;
  /** A copy of the bytes from `slabStart` on, which small byte strings of a long list are cut from. */
  slab: ArrayBuffer;
  slabStart: number;
}

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);
const SLAB_BYTES = 64 * 1024;
const SLAB_STRING_BYTES_MAX = 4 * 1024;
const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;
// Bytes that are not UTF-8 become U+FFFD: text in a request may come from strangers, through CometBFT's RPC.
const text = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

export function wireReader(bytes: Uint8Array): WireReader {
  // `slice` of a Buffer is a view, of a plain array a copy.
  const plain = Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
  return { bytes: plain, offset: 0, end: bytes.length, slab: new ArrayBuffer(0), slabStart: 0 };
}

/** The next field's number and wire type as one number: `number << 3 | type`. There must be one: `offset < end`. */
export function readTag(reader: WireReader): number {
  const first = reader.bytes[reader.offset] as number;
  if (first < 0x80 && first >= 8) {
    reader.offset++;
    return first;
  }
  const tag = readUint(reader);
  if (tag >= 8 && tag <= 0xffff_ffff) return tag;
  throw new MalformedError('abci-wire.tag', '', 'a field number from 1 to 2^29 - 1', `${tag}`);
}

/** A varint from 0 to 2^53 - 1. */
export function readUint(reader: WireReader): number {
  const { bytes, end } = reader;
  let value = 0;
  let scale = 1;
  for (let i = reader.offset; i < end; i++) {
    const byte = bytes[i] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      if (value > Number.MAX_SAFE_INTEGER) break;
      reader.offset = i + 1;
      return value;
    }
    scale *= 128;
    // Nine bytes can hold 2^56 at least: too much whatever follows.
    if (i - reader.offset >= 8) break;
  }
  throw varintError(reader);
}

/** A 64-bit varint in two's complement. */
export function readInt64(reader: WireReader): bigint {
  const { bytes, end, offset } = reader;
  let low = 0;
  let scale = 1;
  let i = offset;
  // Seven bytes hold 49 bits: exact as a number.
  for (; i < end && i < offset + 7; i++) {
    const byte = bytes[i] as number;
    low += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      reader.offset = i + 1;
      return BigInt(low);
    }
    scale *= 128;
  }
  let value = BigInt(low);
  for (let shift = 49n; i < end && i < offset + 10; i++, shift += 7n) {
    const byte = bytes[i] as number;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) {
      reader.offset = i + 1;
      return BigInt.asIntN(64, value);
    }
  }
  throw varintError(reader);
}

export function readBool(reader: WireReader): boolean {
  return readUint(reader) !== 0;
}

/** A copy: what is returned outlives the buffer it was read from. */
export function readBytes(reader: WireReader): Uint8Array {
  const end = readLength(reader);
  const start = reader.offset;
  reader.offset = end;
  return start === end ? EMPTY_BYTES : reader.bytes.slice(start, end);
}

/**
 * A copy too, several times quicker where there are thousands: byte strings of up to 4 kB share memory with their neighbours
 * in the message, 64 kB of it at most.
 */
export function readListedBytes(reader: WireReader): Uint8Array {
  const end = readLength(reader);
  const start = reader.offset;
  const length = end - start;
  reader.offset = end;
  if (length === 0) return EMPTY_BYTES;
  if (length > SLAB_STRING_BYTES_MAX) return reader.bytes.slice(start, end);
  if (start < reader.slabStart || end > reader.slabStart + reader.slab.byteLength) {
    reader.slab = reader.bytes.slice(start, Math.min(start + SLAB_BYTES, reader.end)).buffer;
    reader.slabStart = start;
  }
  return new Uint8Array(reader.slab, start - reader.slabStart, length);
}

/** Never throws for what the bytes are; see above. */
export function readText(reader: WireReader): string {
  const end = readLength(reader);
  const start = reader.offset;
  reader.offset = end;
  return start === end ? '' : text.decode(reader.bytes.subarray(start, end));
}

/** Narrows the reader to the nested message that begins here; returns what `leaveMessage` needs. */
export function enterMessage(reader: WireReader): number {
  const outerEnd = reader.end;
  reader.end = readLength(reader);
  return outerEnd;
}

export function leaveMessage(reader: WireReader, outerEnd: number): void {
  reader.end = outerEnd;
}

/**
 * Skips a field whose tag matched no known one. `knownFields` has bit n set where field n is known: then only its wire type
 * did not match, and the message is refused.
 */
export function skipField(reader: WireReader, tag: number, knownFields: number): void {
  const field = Math.floor(tag / 8);
  const wireType = tag % 8;
  if (field < 32 && ((knownFields >>> field) & 1) === 1) {
    throw new MalformedError('abci-wire.type', `#${field}`, "the field's wire type", `wire type ${wireType}`);
  }
  if (wireType === WIRE_VARINT) readInt64(reader);
  else if (wireType === WIRE_BYTES) reader.offset = readLength(reader);
  else if (wireType === WIRE_FIXED64) skipBytes(reader, 8);
  else if (wireType === WIRE_FIXED32) skipBytes(reader, 4);
  else throw new MalformedError('abci-wire.type', `#${field}`, 'wire type 0, 1, 2 or 5', `${wireType}`);
}

/** Where the byte string that begins here ends; the reader is then at its first byte. */
export function readLength(reader: WireReader): number {
  const length = readUint(reader);
  const rest = reader.end - reader.offset;
  if (length > rest) throw new MalformedError('abci-wire.truncated', '', `${length} more bytes`, `${rest}`);
  return reader.offset + length;
}

function skipBytes(reader: WireReader, count: number): void {
  const rest = reader.end - reader.offset;
  if (rest < count) throw new MalformedError('abci-wire.truncated', '', `${count} more bytes`, `${rest}`);
  reader.offset += count;
}

function varintError(reader: WireReader): MalformedError {
  const rest = reader.bytes.subarray(reader.offset, reader.end);
  const stop = rest.findIndex((byte) => byte < 0x80);
  if (stop < 0 && rest.length < 10) {
    return new MalformedError('abci-wire.truncated', '', 'a whole varint', `${rest.length} bytes of one`);
  }
  if (stop < 0 || stop > 9) {
    return new MalformedError('abci-wire.varint', '', 'a varint of at most 10 bytes', 'a longer one');
  }
  return new MalformedError('abci-wire.range', '', 'an integer from 0 to 2^53 - 1', 'one out of that range');
}
