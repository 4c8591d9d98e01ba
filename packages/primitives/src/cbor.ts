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

/** Nesting that any decoder of this protocol accepts at most. */
export const CBOR_DEPTH_MAX = 16;

export class CborWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** The bytes written so far, as a copy of exact length. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** An unsigned integer: a safe non-negative `number`, or a `bigint` below 2^64. */
  uint(value: number | bigint): void {
    this.#head(MAJOR_UINT, value);
  }

  bytes(value: Uint8Array): void {
    this.#head(MAJOR_BYTES, value.length);
    this.#raw(value);
  }

  text(value: string): void {
    const encoded = utf8Encode(value);
    this.#head(MAJOR_TEXT, encoded.length);
    this.#raw(encoded);
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

  #head(major: number, value: number | bigint): void {
    const lead = major << 5;
    if (typeof value === 'bigint') {
      if (value < 0n || value > U64_MAX) throw new UsageError(`${value} is not an unsigned 64-bit integer`);
      if (value > 0xffffffffn) {
        this.#byte(lead | 27);
        this.#reserve(8);
        this.#view.setBigUint64(this.#length, value);
        this.#length += 8;
        return;
      }
      value = Number(value);
    }
    if (!Number.isSafeInteger(value) || value < 0)
      throw new UsageError(`${value} is not a safe unsigned integer`);
    if (value < 24) {
      this.#byte(lead | value);
      return;
    }
    if (value <= 0xff) {
      this.#byte(lead | 24);
      this.#byte(value);
      return;
    }
    this.#reserve(9);
    if (value <= 0xffff) {
      this.#bytes[this.#length] = lead | 25;
      this.#view.setUint16(this.#length + 1, value);
      this.#length += 3;
    } else if (value <= 0xffffffff) {
      this.#bytes[this.#length] = lead | 26;
      this.#view.setUint32(this.#length + 1, value);
      this.#length += 5;
    } else {
      this.#bytes[this.#length] = lead | 27;
      this.#view.setUint32(this.#length + 1, Math.floor(value / 2 ** 32));
      this.#view.setUint32(this.#length + 5, value % 2 ** 32);
      this.#length += 9;
    }
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  #raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  #reserve(sizeBytes: number): void {
    const needed = this.#length + sizeBytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

export class CborReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  #depth = 0;
  readonly #path: string[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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
    return this.#string(MAJOR_BYTES, minBytes, maxBytes).slice();
  }

  text(minBytes: number, maxBytes: number): string {
    return utf8Decode(this.#string(MAJOR_TEXT, minBytes, maxBytes), this.#path.join('.'));
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

  #string(major: number, min: number, max: number): Uint8Array {
    const length = this.#head(major);
    if (length < min || length > max) {
      this.fail('cbor.length', `${MAJOR_NAMES[major]} of ${range(min, max)} bytes`, `${length}`);
    }
    const start = this.#offset;
    const end = start + Number(length);
    if (end > this.#bytes.length) this.#truncated(Number(length));
    this.#offset = end;
    return this.#bytes.subarray(start, end);
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
    if (width === 1) return this.#minimal(this.#view.getUint8(at), 24);
    if (width === 2) return this.#minimal(this.#view.getUint16(at), 0x100);
    if (width === 4) return this.#minimal(this.#view.getUint32(at), 0x10000);
    const value = this.#view.getBigUint64(at);
    return this.#minimal(value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value, 0x100000000);
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
