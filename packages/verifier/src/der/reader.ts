/**
 * Strict DER (X.690 sections 8, 10 and 11), read one typed element at a time. What DER forbids is malformed: indefinite
 * and non-minimal lengths, high tag numbers, padded integers, booleans other than 0x00 and 0xff, trailing bytes. Nesting
 * is bounded, and every length is checked against what encloses it, so work is linear in the input.
 */
import { MalformedError } from '@haca/primitives';
import { parseGeneralizedTime, parseUtcTime } from './time.ts';

export const DER_DEPTH_MAX = 12;
/** Longest length field read: three octets, so 16 MiB of content. */
const LENGTH_OCTETS_MAX = 3;

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The tag of `[number] EXPLICIT` and of other constructed context tags. */
export function contextTag(number: number): number {
  return 0xa0 | number;
}

export interface DerElement {
  readonly tag: number;
  /** Content octets; a view into the input. */
  readonly content: Uint8Array;
  /** Tag, length and content; a view into the input. */
  readonly raw: Uint8Array;
}

export interface BitString {
  readonly bytes: Uint8Array;
  /** Unused bits of the last byte, 0 to 7; they are zero. */
  readonly unusedBits: number;
}

export interface DerTime {
  readonly ms: number;
  readonly form: 'utc' | 'generalized';
}

/** Reads the elements of one enclosing element (or of a whole input) in order. Throws `MalformedError` only. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #name: string;
  readonly #parent: DerReader | null;
  readonly #depth: number;
  readonly #end: number;
  #offset: number;

  /** Reads `bytes` from `start` to before `end`: all of them unless said otherwise. */
  constructor(
    bytes: Uint8Array,
    name: string,
    start = 0,
    end = bytes.length,
    parent: DerReader | null = null,
  ) {
    const depth = parent === null ? 0 : parent.#depth + 1;
    this.#bytes = bytes;
    this.#name = name;
    this.#parent = parent;
    this.#depth = depth;
    this.#offset = start;
    this.#end = end;
    if (depth > DER_DEPTH_MAX) this.fail('der.depth', '', `at most ${DER_DEPTH_MAX} levels`, 'more');
  }

  fail(code: string, name: string, expected: string, got: string): never {
    const path = this.#path();
    throw new MalformedError(code, name === '' ? path : `${path}.${name}`, expected, got);
  }

  /** Where this reader stands: only failures need to know. */
  #path(): string {
    return this.#parent === null ? this.#name : `${this.#parent.#path()}.${this.#name}`;
  }

  /** Throws unless every byte was read. */
  end(): void {
    const left = this.#end - this.#offset;
    if (left !== 0) this.fail('der.trailing-bytes', '', 'the end of the element', `${left} more bytes`);
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#end;
  }

  /** Whether the next element has this tag; false at the end. */
  nextIs(tag: number): boolean {
    return this.#offset < this.#end && this.#bytes[this.#offset] === tag;
  }

  /** The next element, whatever its tag. */
  any(name: string): DerElement {
    const start = this.#offset;
    const length = this.#header(name);
    const contentStart = this.#offset;
    this.#offset += length;
    return {
      tag: this.#bytes[start] as number,
      content: this.#bytes.subarray(contentStart, this.#offset),
      raw: this.#bytes.subarray(start, this.#offset),
    };
  }

  /** Passes over the next element, which has this tag, or any where none is given. */
  skip(name: string, tag?: number): void {
    if (tag !== undefined) this.#expect(tag, name);
    const length = this.#header(name);
    this.#offset += length;
  }

  element(tag: number, name: string): DerElement {
    this.#expect(tag, name);
    return this.any(name);
  }

  /** The content of the next element, which has this tag. */
  content(tag: number, name: string): Uint8Array {
    this.#expect(tag, name);
    const length = this.#header(name);
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  /** A reader over the content of a constructed element. */
  open(tag: number, name: string): DerReader {
    this.#expect(tag, name);
    const length = this.#header(name);
    const start = this.#offset;
    this.#offset += length;
    return new DerReader(this.#bytes, name, start, this.#offset, this);
  }

  sequence(name: string): DerReader {
    return this.open(TAG.sequence, name);
  }

  /** A reader over the content of `element`, one level deeper than this one. */
  inside(element: DerElement, name: string): DerReader {
    const { content } = element;
    return new DerReader(content, name, 0, content.length, this);
  }

  boolean(name: string): boolean {
    const content = this.content(TAG.boolean, name);
    if (content.length !== 1 || (content[0] !== 0x00 && content[0] !== 0xff))
      this.fail('der.boolean', name, '00 or ff', `${content.length} other bytes`);
    return content[0] === 0xff;
  }

  /** A non-negative INTEGER as big-endian bytes without leading zeros (zero is one zero byte). */
  unsigned(name: string, maxBytes: number): Uint8Array {
    const content = this.content(TAG.integer, name);
    const [first, second] = content;
    if (first === undefined) this.fail('der.integer', name, 'at least one byte', 'none');
    if (first >= 0x80) this.fail('der.integer', name, 'a non-negative integer', 'a negative one');
    if (first === 0 && second !== undefined && second < 0x80)
      this.fail('der.integer', name, 'the shortest form', 'a padded integer');
    const magnitude = first === 0 && second !== undefined ? content.subarray(1) : content;
    if (magnitude.length > maxBytes)
      this.fail('der.integer', name, `at most ${maxBytes} bytes`, `${magnitude.length}`);
    return magnitude;
  }

  /** A non-negative INTEGER up to `max`, itself below 2^31. */
  uint(name: string, max: number): number {
    const bytes = this.unsigned(name, 4);
    let value = 0;
    for (const byte of bytes) value = value * 256 + byte;
    if (value > max) this.fail('der.integer', name, `at most ${max}`, `${value}`);
    return value;
  }

  /** An OBJECT IDENTIFIER in dotted form. */
  oid(name: string): string {
    this.#expect(TAG.oid, name);
    const length = this.#header(name);
    if (length === 0 || length > 64) this.fail('der.oid', name, '1 to 64 bytes', `${length}`);
    const start = this.#offset;
    this.#offset += length;
    let text = '';
    let arc = 0;
    let isStart = true;
    for (let i = start; i < start + length; i++) {
      const byte = this.#bytes[i] as number;
      if (isStart && byte === 0x80) this.fail('der.oid', name, 'shortest arcs', 'a padded arc');
      arc = arc * 128 + (byte & 0x7f);
      isStart = byte < 0x80;
      if (!isStart) continue;
      // Beyond 2^53 the number is not exact.
      if (arc > Number.MAX_SAFE_INTEGER)
        return this.#largeOid(this.#bytes.subarray(start, start + length), name);
      text = text === '' ? rootArcs(arc) : `${text}.${arc}`;
      arc = 0;
    }
    if (!isStart) this.fail('der.oid', name, 'a complete last arc', 'a cut one');
    return text;
  }

  /** An OBJECT IDENTIFIER one arc of which is beyond 2^53. */
  #largeOid(content: Uint8Array, name: string): string {
    const arcs: bigint[] = [];
    let arc = 0n;
    let isStart = true;
    for (const byte of content) {
      if (isStart && byte === 0x80) this.fail('der.oid', name, 'shortest arcs', 'a padded arc');
      arc = (arc << 7n) | BigInt(byte & 0x7f);
      isStart = byte < 0x80;
      if (isStart) {
        arcs.push(arc);
        arc = 0n;
      }
    }
    if (!isStart) this.fail('der.oid', name, 'a complete last arc', 'a cut one');
    const [root = 0n, ...rest] = arcs;
    const top = root < 40n ? 0n : root < 80n ? 1n : 2n;
    return [top, root - 40n * top, ...rest].join('.');
  }

  octetString(name: string): Uint8Array {
    return this.content(TAG.octetString, name);
  }

  bitString(name: string): BitString {
    const content = this.content(TAG.bitString, name);
    const unusedBits = content[0];
    if (unusedBits === undefined || unusedBits > 7 || (unusedBits > 0 && content.length === 1))
      this.fail('der.bit-string', name, 'a count of 0 to 7 unused bits', 'none or another');
    const last = content[content.length - 1] as number;
    if (content.length > 1 && (last & ((1 << unusedBits) - 1)) !== 0)
      this.fail('der.bit-string', name, 'unused bits of zero', hexOctet(last));
    return { bytes: content.subarray(1), unusedBits };
  }

  /** UTCTime or GeneralizedTime in the one form DER and RFC 5280 section 4.1.2.5 leave: to the second, with `Z`. */
  time(name: string): DerTime {
    const tag = this.#bytes[this.#offset] as number;
    const length = this.#header(name);
    if (tag !== TAG.utcTime && tag !== TAG.generalizedTime)
      this.fail('der.tag', name, 'UTCTime or GeneralizedTime', hexOctet(tag));
    const start = this.#offset;
    this.#offset += length;
    const isUtc = tag === TAG.utcTime;
    const ms = isUtc
      ? parseUtcTime(this.#bytes, start, this.#offset)
      : parseGeneralizedTime(this.#bytes, start, this.#offset);
    if (ms === null) this.fail('der.time', name, 'an existing second, in UTC', 'another text');
    return { ms, form: isUtc ? 'utc' : 'generalized' };
  }

  #expect(tag: number, name: string): void {
    if (this.nextIs(tag)) return;
    const next = this.#offset < this.#end ? hexOctet(this.#bytes[this.#offset] as number) : 'the end';
    this.fail('der.tag', name, hexOctet(tag), next);
  }

  /** Reads tag and length of an element whose content is all there; returns the length of the content. */
  #header(name: string): number {
    const tag = this.#octet(name);
    if ((tag & 0x1f) === 0x1f) this.fail('der.tag', name, 'a tag number below 31', 'the long form');
    const length = this.#length(name);
    const left = this.#end - this.#offset;
    if (length > left) this.fail('der.truncated', name, `${length} bytes of content`, `${left}`);
    return length;
  }

  #octet(name: string): number {
    if (this.#offset >= this.#end) this.fail('der.truncated', name, 'more bytes', 'the end');
    return this.#bytes[this.#offset++] as number;
  }

  #length(name: string): number {
    const first = this.#octet(name);
    if (first < 0x80) return first;
    const octets = first & 0x7f;
    if (octets === 0) this.fail('der.length', name, 'a definite length', 'an indefinite one');
    if (octets > LENGTH_OCTETS_MAX)
      this.fail('der.length', name, `at most ${LENGTH_OCTETS_MAX} length octets`, `${octets}`);
    let length = 0;
    for (let i = 0; i < octets; i++) length = length * 256 + this.#octet(name);
    if (length < 0x80 || length < 256 ** (octets - 1))
      this.fail('der.length', name, 'the shortest form', `${octets} octets for ${length}`);
    return length;
  }
}

/** The first octets of an OID hold two arcs (X.690 section 8.19.4). */
function rootArcs(value: number): string {
  const top = value < 40 ? 0 : value < 80 ? 1 : 2;
  return `${top}.${value - 40 * top}`;
}

function hexOctet(octet: number): string {
  return `0x${octet.toString(16).padStart(2, '0')}`;
}
