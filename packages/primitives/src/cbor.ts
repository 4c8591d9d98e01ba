/**
 * Deterministic CBOR (RFC 8949 section 4.2.1), written and read one typed item at a time. Only what the protocol uses
 * exists: unsigned integers, byte strings, text strings, definite arrays and maps, false, true and null. Floats, negative
 * integers, tags, indefinite lengths and every non-minimal form are malformed.
 */
import { utf8Decode, utf8Encode } from './bytes.ts';
import { MalformedError, UsageError } from './errors.ts';

const MAJOR_UINT = 0;
const MAJOR_BYTES = 2;
const MAJOR_TEXT = 3;
const MAJOR_ARRAY = 4;
const MAJOR_MAP = 5;
const MAJOR_NAMES = [
  'uint',
  'negative int',
  'bytes',
  'text',
  'array',
  'map',
  'tag',
  'simple or float',
] as const;

const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
const U64_MAX = 0xffffffffffffffffn;
const MAX_SAFE = 0x1fffffffffffffn;

const SHORT_TEXT_CHARS = 64;
const SHORT_NAME_CHARS = 12;
/** What one encoding may leave behind for the next. */
const SPARE_BYTES = 4_096;

/** Nesting that any decoder of this protocol accepts at most. */
export const CBOR_DEPTH_MAX = 16;

export class CborWriter {
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
  }

  /** The bytes written so far, as a copy of exact length. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Forgets what was written, keeps the memory. */
  clear(): void {
    this.#length = 0;
  }

  /** An unsigned integer: a safe non-negative `number`, or a `bigint` below 2^64. */
  uint(value: number | bigint): void {
    this.#head(MAJOR_UINT, value);
  }

  bytes(value: Uint8Array): void {
    this.#head(MAJOR_BYTES, value.length);
    this.raw(value);
  }

  /** Returns the length in bytes of UTF-8. */
  text(value: string): number {
    if (value.length <= SHORT_TEXT_CHARS && this.#asciiText(value)) return value.length;
    const encoded = utf8Encode(value);
    this.#head(MAJOR_TEXT, encoded.length);
    this.raw(encoded);
    return encoded.length;
  }

  arrayHead(length: number): void {
    this.#head(MAJOR_ARRAY, length);
  }

  mapHead(size: number): void {
    this.#head(MAJOR_MAP, size);
  }

  boolean(value: boolean): void {
    this.#byte(value ? TRUE : FALSE);
  }

  null(): void {
    this.#byte(NULL);
  }

  /** Bytes that are an encoding already. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** Most texts are short names; the encoder of the platform costs more than they do. */
  #asciiText(value: string): boolean {
    const start = this.#length;
    this.#head(MAJOR_TEXT, value.length);
    this.#reserve(value.length);
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) {
        this.#length = start;
        return false;
      }
      this.#bytes[this.#length++] = code;
    }
    return true;
  }

  #head(major: number, value: number | bigint): void {
    const lead = major << 5;
    if (typeof value === 'bigint') {
      if (value < 0n || value > U64_MAX) throw new UsageError(`${value} is not an unsigned 64-bit integer`);
      if (value > MAX_SAFE) {
        this.#long(lead, Number(value >> 32n), Number(value & 0xffffffffn));
        return;
      }
      value = Number(value);
    }
    if (!Number.isSafeInteger(value) || value < 0)
      throw new UsageError(`${value} is not a safe unsigned integer`);
    if (value > 0xffffffff) {
      this.#long(lead, Math.floor(value / 2 ** 32), value % 2 ** 32);
      return;
    }
    this.#reserve(5);
    if (value < 24) {
      this.#bytes[this.#length++] = lead | value;
    } else if (value <= 0xff) {
      this.#bytes[this.#length++] = lead | 24;
      this.#bytes[this.#length++] = value;
    } else if (value <= 0xffff) {
      this.#bytes[this.#length++] = lead | 25;
      this.#bytes[this.#length++] = value >>> 8;
      this.#bytes[this.#length++] = value;
    } else {
      this.#bytes[this.#length++] = lead | 26;
      this.#word(value);
    }
  }

  #long(lead: number, high: number, low: number): void {
    this.#reserve(9);
    this.#bytes[this.#length++] = lead | 27;
    this.#word(high);
    this.#word(low);
  }

  /** 32 bits, big-endian; an array element keeps the low 8 bits of what is assigned. */
  #word(value: number): void {
    this.#bytes[this.#length++] = value >>> 24;
    this.#bytes[this.#length++] = value >>> 16;
    this.#bytes[this.#length++] = value >>> 8;
    this.#bytes[this.#length++] = value;
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #reserve(sizeBytes: number): void {
    const needed = this.#length + sizeBytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** Memory of the last encoding, for the next one. Taken while in use, so that an encoding may contain another. */
let spareWriter: CborWriter | undefined;

/** What `write` writes, as bytes. */
export function writeCbor(write: (writer: CborWriter) => void): Uint8Array {
  const writer = spareWriter ?? new CborWriter(SPARE_BYTES);
  spareWriter = undefined;
  writer.clear();
  write(writer);
  const bytes = writer.finish();
  if (bytes.length <= SPARE_BYTES) spareWriter = writer;
  return bytes;
}

export class CborReader {
  readonly #bytes: Uint8Array;
  #offset = 0;
  #depth = 0;
  readonly #path: string[] = [];

  constructor(bytes: Uint8Array) {
    // A subclass may slice without copying, as the Buffer of Node does.
    this.#bytes =
      bytes.constructor === Uint8Array
        ? bytes
        : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Throws unless every byte was read. */
  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) this.fail('cbor.trailing-bytes', 'the end of the input', `${left} more bytes`);
  }

  /** Names the part being read, for error paths; every `enter` has its `leave`. */
  enter(name: string): void {
    this.#path.push(name);
  }

  leave(): void {
    this.#path.pop();
  }

  fail(code: string, expected: string, got: string): never {
    throw new MalformedError(code, this.#path.join('.'), expected, got);
  }

  /** An unsigned integer no larger than `max`, itself a safe integer. */
  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#head(MAJOR_UINT);
    if (value > max) this.fail('cbor.range', `an integer of at most ${max}`, `${value}`);
    return Number(value);
  }

  u64(max: bigint = U64_MAX): bigint {
    const value = BigInt(this.#head(MAJOR_UINT));
    if (value > max) this.fail('cbor.range', `an integer of at most ${max}`, `${value}`);
    return value;
  }

  /** A copy, so that what was decoded never aliases a network buffer. */
  bytes(minBytes: number, maxBytes: number): Uint8Array {
    const start = this.#string(MAJOR_BYTES, minBytes, maxBytes);
    return this.#bytes.slice(start, this.#offset);
  }

  text(minBytes: number, maxBytes: number): string {
    const start = this.#string(MAJOR_TEXT, minBytes, maxBytes);
    return (
      this.#asciiText(start) ?? utf8Decode(this.#bytes.subarray(start, this.#offset), this.#path.join('.'))
    );
  }

  /** Opens an array; the caller reads exactly the number of items returned, then calls `close`. */
  openArray(minLength: number, maxLength: number): number {
    return this.#open(MAJOR_ARRAY, minLength, maxLength);
  }

  openMap(minSize: number, maxSize: number): number {
    return this.#open(MAJOR_MAP, minSize, maxSize);
  }

  close(): void {
    this.#depth--;
  }

  boolean(): boolean {
    const lead = this.#peek();
    if (lead !== TRUE && lead !== FALSE) this.fail('cbor.type', 'true or false', this.#describe(lead));
    this.#offset++;
    return lead === TRUE;
  }

  /** Reads a null if one is next and says whether it did. */
  takeNull(): boolean {
    if (this.#peek() !== NULL) return false;
    this.#offset++;
    return true;
  }

  #open(major: number, min: number, max: number): number {
    const count = this.#head(major);
    if (count < min || count > max) {
      this.fail('cbor.length', `${MAJOR_NAMES[major]} of ${range(min, max)} entries`, `${count}`);
    }
    if (++this.#depth > CBOR_DEPTH_MAX)
      this.fail('cbor.depth', `at most ${CBOR_DEPTH_MAX} levels`, 'deeper nesting');
    return Number(count);
  }

  /** The text from `start` to here if it is a short name, which is cheaper than to ask the decoder of the platform. */
  #asciiText(start: number): string | undefined {
    if (this.#offset - start > SHORT_NAME_CHARS) return undefined;
    let text = '';
    for (let i = start; i < this.#offset; i++) {
      const code = this.#bytes[i] as number;
      if (code > 0x7f) return undefined;
      text += String.fromCharCode(code);
    }
    return text;
  }

  /** Where the string begins; it ends where reading goes on. */
  #string(major: number, min: number, max: number): number {
    const length = this.#head(major);
    if (length < min || length > max) {
      this.fail('cbor.length', `${MAJOR_NAMES[major]} of ${range(min, max)} bytes`, `${length}`);
    }
    const start = this.#offset;
    const end = start + Number(length);
    if (end > this.#bytes.length) this.#truncated(Number(length));
    this.#offset = end;
    return start;
  }

  #head(major: number): number | bigint {
    const lead = this.#peek();
    if (lead >> 5 !== major) this.fail('cbor.type', MAJOR_NAMES[major] as string, this.#describe(lead));
    const info = lead & 31;
    if (info < 24) {
      this.#offset++;
      return info;
    }
    if (info > 27)
      this.fail('cbor.form', 'a definite length', info === 31 ? 'an indefinite one' : 'a reserved form');
    const width = 1 << (info - 24);
    if (this.#offset + 1 + width > this.#bytes.length) this.#truncated(1 + width);
    const at = this.#offset + 1;
    this.#offset = at + width;
    return this.#argument(width, at);
  }

  #argument(width: number, at: number): number | bigint {
    if (width === 1) return this.#minimal(this.#bytes[at] as number, 24);
    if (width === 2) return this.#minimal(this.#word(at - 2) & 0xffff, 0x100);
    const high = this.#word(at);
    if (width === 4) return this.#minimal(high, 0x10000);
    const low = this.#word(at + 4);
    if (high > 0x1fffff) return (BigInt(high) << 32n) | BigInt(low);
    return this.#minimal(high * 2 ** 32 + low, 0x100000000);
  }

  /** 32 bits, big-endian; bytes before the first read as 0. */
  #word(at: number): number {
    const bytes = this.#bytes;
    const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
    return high * 65_536 + (((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number));
  }

  #minimal<T extends number | bigint>(value: T, least: number): T {
    if (value < least) this.fail('cbor.non-minimal', 'the shortest form', `${value} in a longer one`);
    return value;
  }

  #peek(): number {
    const lead = this.#bytes[this.#offset];
    return lead === undefined ? this.#truncated(1) : lead;
  }

  #truncated(needed: number): never {
    return this.fail('cbor.truncated', `${needed} more bytes`, `${this.#bytes.length - this.#offset}`);
  }

  #describe(lead: number): string {
    if (lead === TRUE || lead === FALSE) return 'a boolean';
    if (lead === NULL) return 'null';
    return MAJOR_NAMES[lead >> 5] as string;
  }
}

function range(min: number, max: number): string {
  return min === max ? `${min}` : `${min} to ${max}`;
}
