/**
 * Writes Protocol Buffers (proto3) into one growing buffer: fields in order, shortest varints, default values left out. The
 * length of a nested message is put in front of it once it is known.
 */
import { UsageError } from '@haca/primitives';

export interface WireWriter {
  buffer: Buffer;
  length: number;
}

const CAPACITY_BYTES = 32 * 1024;
/** Output up to this size is copied out, so that the buffer can be used again at once. */
const COPY_BYTES = 16 * 1024;
const SHORT_TEXT = 48;
const UINT32_MAX = 0xffff_ffff;
const INT64_LIMIT = 2n ** 63n;

export function wireWriter(): WireWriter {
  return { buffer: Buffer.allocUnsafeSlow(CAPACITY_BYTES), length: 0 };
}

/** What was written since the last call. */
export function takeOutput(writer: WireWriter): Buffer {
  const { buffer, length } = writer;
  writer.length = 0;
  if (length <= COPY_BYTES) return Buffer.from(buffer.subarray(0, length));
  writer.buffer = Buffer.allocUnsafeSlow(CAPACITY_BYTES);
  return buffer.subarray(0, length);
}

/** Begins a nested message; the result goes to `closeMessage`. `lengthBytes`: how many bytes its length will likely take. */
export function openMessage(writer: WireWriter, tag: number, lengthBytes = 1): number {
  reserve(writer, 10 + lengthBytes);
  putVarint(writer, tag);
  writer.length += lengthBytes;
  return writer.length;
}

/** Begins a frame, which is a message with its length in front of it. */
export function openFrame(writer: WireWriter, lengthBytes = 1): number {
  reserve(writer, lengthBytes);
  writer.length += lengthBytes;
  return writer.length;
}

/** `start` and `lengthBytes` as at the opening. */
export function closeMessage(writer: WireWriter, start: number, lengthBytes = 1): void {
  const length = writer.length - start;
  const needed = varintSize(length);
  if (needed !== lengthBytes) {
    reserve(writer, needed);
    const moved = start - lengthBytes + needed;
    writer.buffer.copyWithin(moved, start, writer.length);
    writer.length = moved + length;
  }
  const end = writer.length;
  writer.length = start - lengthBytes;
  putVarint(writer, length);
  writer.length = end;
}

export function writeUint32(writer: WireWriter, tag: number, value: number): void {
  if (value === 0) return;
  if (!(Number.isInteger(value) && value > 0 && value <= UINT32_MAX)) {
    throw new UsageError(`${value} is not an unsigned 32-bit integer`);
  }
  reserve(writer, 20);
  putVarint(writer, tag);
  putVarint(writer, value);
}

/** A non-negative int64 or uint64 field given as a safe integer. */
export function writeUint(writer: WireWriter, tag: number, value: number): void {
  if (value === 0) return;
  if (!(Number.isSafeInteger(value) && value > 0)) {
    throw new UsageError(`${value} is not a safe non-negative integer`);
  }
  reserve(writer, 20);
  putVarint(writer, tag);
  putVarint(writer, value);
}

export function writeInt64(writer: WireWriter, tag: number, value: bigint): void {
  if (value === 0n) return;
  if (value < -INT64_LIMIT || value >= INT64_LIMIT)
    throw new UsageError(`${value} is not a signed 64-bit integer`);
  reserve(writer, 20);
  putVarint(writer, tag);
  let rest = BigInt.asUintN(64, value);
  for (; rest > BigInt(Number.MAX_SAFE_INTEGER); rest >>= 7n) {
    writer.buffer[writer.length++] = Number(rest & 0x7fn) | 0x80;
  }
  putVarint(writer, Number(rest));
}

export function writeBool(writer: WireWriter, tag: number, value: boolean): void {
  if (value) writeUint32(writer, tag, 1);
}

export function writeBytes(writer: WireWriter, tag: number, value: Uint8Array): void {
  if (value.length > 0) writeBytesAlways(writer, tag, value);
}

/** An entry of a repeated field is written even where it is empty. */
export function writeBytesAlways(writer: WireWriter, tag: number, value: Uint8Array): void {
  reserve(writer, 20 + value.length);
  putVarint(writer, tag);
  putVarint(writer, value.length);
  writer.buffer.set(value, writer.length);
  writer.length += value.length;
}

/** Lone surrogates, which UTF-8 cannot carry, become U+FFFD. */
export function writeText(writer: WireWriter, tag: number, value: string): void {
  if (value.length > 0) writeTextAlways(writer, tag, value);
}

export function writeTextAlways(writer: WireWriter, tag: number, value: string): void {
  reserve(writer, 20 + 3 * value.length);
  putVarint(writer, tag);
  if (value.length > SHORT_TEXT || !putShortAscii(writer, value)) {
    const lengthBytes = varintSize(value.length);
    writer.length += lengthBytes;
    const start = writer.length;
    writer.length += writer.buffer.write(value, start, 'utf8');
    closeMessage(writer, start, lengthBytes);
  }
}

export function writePackedUint32(writer: WireWriter, tag: number, values: readonly number[]): void {
  if (values.length === 0) return;
  const start = openMessage(writer, tag);
  for (const value of values) {
    if (!(Number.isInteger(value) && value >= 0 && value <= UINT32_MAX)) {
      throw new UsageError(`${value} is not an unsigned 32-bit integer`);
    }
    reserve(writer, 5);
    putVarint(writer, value);
  }
  closeMessage(writer, start);
}

/** Whether the text was ASCII and is written. A call into the runtime costs more than these few characters. */
function putShortAscii(writer: WireWriter, value: string): boolean {
  const { buffer, length } = writer;
  buffer[length] = value.length;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code >= 0x80) return false;
    buffer[length + 1 + i] = code;
  }
  writer.length = length + 1 + value.length;
  return true;
}

function putVarint(writer: WireWriter, value: number): void {
  const { buffer } = writer;
  let rest = value;
  while (rest >= 0x80) {
    buffer[writer.length++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  buffer[writer.length++] = rest;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) size++;
  return size;
}

function reserve(writer: WireWriter, count: number): void {
  const needed = writer.length + count;
  if (needed <= writer.buffer.length) return;
  const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * writer.buffer.length));
  grown.set(writer.buffer.subarray(0, writer.length));
  writer.buffer = grown;
}
