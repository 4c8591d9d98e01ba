/**
 * A strict CBOR walker (RFC 8949) for the one document shape of Nitro. Everything is canonical but for one thing: where the
 * caller says so, an array or map may have indefinite length, because AWS has emitted both forms. Tags, floats, chunked
 * strings, reserved lengths and non-minimal lengths are malformed everywhere.
 */
import { MalformedError, utf8Decode } from '@haca/primitives';

const MAJOR = { uint: 0, bytes: 2, text: 3, array: 4, map: 5, tag: 6 } as const;
const MAJOR_NAMES = ['uint', 'negative int', 'bytes', 'text', 'array', 'map', 'tag', 'simple or float'];
const NULL = 0xf6;
const BREAK = 0xff;
/** Additional information of an indefinite length, and what stands for it once read. */
const INDEFINITE = 31;
const INDEFINITE_LENGTH = -1;

export type LengthRule = 'definite' | 'definite-or-indefinite';

export class CborWalker {
  readonly #bytes: Uint8Array;
  #offset = 0;
  #path: string;

  constructor(bytes: Uint8Array, path: string) {
    this.#bytes = bytes;
    this.#path = path;
  }

  /** Names the item read next in error paths. */
  at(path: string): void {
    this.#path = path;
  }

  fail(code: string, expected: string, got: string): never {
    throw new MalformedError(code, this.#path, expected, got);
  }

  end(): void {
    const left = this.#bytes.length - this.#offset;
    if (left !== 0) this.fail('cbor.trailing-bytes', 'the end of the input', `${left} more bytes`);
  }

  uint(max: number): number {
    const value = this.#head(MAJOR.uint, 'definite');
    if (value > max) this.fail('cbor.range', `an integer of at most ${max}`, `${value}`);
    return value;
  }

  /** A copy of a byte string of `min` to `max` bytes. */
  bytes(min: number, max: number): Uint8Array {
    // Not `slice`: on a Node Buffer that would be a view of the caller's memory.
    return new Uint8Array(this.#string(MAJOR.bytes, min, max));
  }

  text(min: number, max: number): string {
    return utf8Decode(this.#string(MAJOR.text, min, max), this.#path);
  }

  takeNull(): boolean {
    if (this.#bytes[this.#offset] !== NULL) return false;
    this.#offset++;
    return true;
  }

  /** The head of a definite array of exactly `length` items, which the caller reads next. */
  tuple(length: number): void {
    this.#checkCount(this.#head(MAJOR.array, 'definite'), length, length);
  }

  /** A definite map without entries. */
  emptyMap(): void {
    this.#checkCount(this.#head(MAJOR.map, 'definite'), 0, 0);
  }

  /** Calls `readItem` once for every item of an array of `min` to `max` items. */
  array(min: number, max: number, rule: LengthRule, readItem: (index: number) => void): void {
    this.#items(MAJOR.array, min, max, rule, readItem);
  }

  /** Calls `readEntry` once for every entry of a map; it reads key and value. */
  map(min: number, max: number, rule: LengthRule, readEntry: (index: number) => void): void {
    this.#items(MAJOR.map, min, max, rule, readEntry);
  }

  #items(major: number, min: number, max: number, rule: LengthRule, readItem: (index: number) => void): void {
    const path = this.#path;
    const declared = this.#head(major, rule);
    if (declared !== INDEFINITE_LENGTH) this.#checkCount(declared, min, max);
    let count = 0;
    while (declared === INDEFINITE_LENGTH ? !this.#takeBreak() : count < declared) {
      this.#path = path;
      this.#checkCount(count + 1, 0, max);
      readItem(count);
      count++;
    }
    this.#path = path;
    this.#checkCount(count, min, max);
  }

  #checkCount(count: number, min: number, max: number): void {
    if (count < min || count > max) this.fail('cbor.length', `${min} to ${max} items`, `${count}`);
  }

  #takeBreak(): boolean {
    if (this.#bytes[this.#offset] !== BREAK) return false;
    this.#offset++;
    return true;
  }

  #string(major: number, min: number, max: number): Uint8Array {
    const length = this.#head(major, 'definite');
    if (length < min || length > max) this.fail('cbor.length', `${min} to ${max} bytes`, `${length}`);
    const left = this.#bytes.length - this.#offset;
    if (length > left) this.fail('cbor.truncated', `${length} bytes`, `${left}`);
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  #head(major: number, rule: LengthRule): number {
    const lead = this.#bytes[this.#offset];
    if (lead === undefined) this.fail('cbor.truncated', MAJOR_NAMES[major] as string, 'the end');
    const got = lead >> 5;
    if (got !== major) {
      const code = got === MAJOR.tag ? 'cbor.tag' : 'cbor.type';
      this.fail(code, MAJOR_NAMES[major] as string, MAJOR_NAMES[got] as string);
    }
    this.#offset++;
    const info = lead & 0x1f;
    if (info < 24) return info;
    if (info === INDEFINITE && major !== MAJOR.uint) {
      if (rule === 'definite') this.fail('cbor.indefinite', 'a definite length', 'an indefinite one');
      return INDEFINITE_LENGTH;
    }
    if (info > 27) this.fail('cbor.reserved', 'additional information 0 to 27', `${info}`);
    return this.#argument(1 << (info - 24));
  }

  /** Exact below 2^53; a larger value stays larger than every limit that callers hold it against. */
  #argument(sizeBytes: number): number {
    const left = this.#bytes.length - this.#offset;
    if (left < sizeBytes) this.fail('cbor.truncated', `${sizeBytes} bytes`, `${left}`);
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value = value * 256 + (this.#bytes[this.#offset++] as number);
    const smallest = sizeBytes === 1 ? 24 : 256 ** (sizeBytes / 2);
    if (value < smallest)
      this.fail('cbor.not-minimal', 'the shortest form', `${sizeBytes} bytes for ${value}`);
    return value;
  }
}
