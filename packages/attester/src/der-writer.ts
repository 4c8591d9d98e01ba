/** DER (X.690) as far as certificates need it: each function returns one whole element. */
import { concatBytes, UsageError, utf8Encode } from '@haca/primitives';

export function derElement(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...contents);
  return concatBytes(Uint8Array.of(tag), lengthOctets(content.length), content);
}

function lengthOctets(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const octets = bigEndian(length);
  return Uint8Array.of(0x80 | octets.length, ...octets);
}

function bigEndian(value: number): number[] {
  const octets: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return octets;
}

export function derSequence(...elements: readonly Uint8Array[]): Uint8Array {
  return derElement(0x30, ...elements);
}

export function derSet(...elements: readonly Uint8Array[]): Uint8Array {
  return derElement(0x31, ...elements);
}

/** `[number] EXPLICIT`. */
export function derExplicit(number: number, element: Uint8Array): Uint8Array {
  return derElement(0xa0 | number, element);
}

/** A non-negative INTEGER from its big-endian magnitude, with or without leading zeros. */
export function derUnsigned(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0);
  const digits = start < 0 ? Uint8Array.of(0) : magnitude.subarray(start);
  const needsSign = (digits[0] as number) >= 0x80;
  return derElement(0x02, needsSign ? Uint8Array.of(0) : new Uint8Array(0), digits);
}

export function derBoolean(value: boolean): Uint8Array {
  return derElement(0x01, Uint8Array.of(value ? 0xff : 0x00));
}

export function derOid(dotted: string): Uint8Array {
  const arcs = dotted.split('.').map(Number);
  const [first, second, ...rest] = arcs;
  if (
    first === undefined ||
    second === undefined ||
    arcs.some((arc) => !Number.isSafeInteger(arc) || arc < 0)
  )
    throw new UsageError(`${dotted} is no object identifier`);
  return derElement(0x06, Uint8Array.from([40 * first + second, ...rest].flatMap(base128)));
}

function base128(arc: number): number[] {
  const octets = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    octets.unshift(0x80 | (rest % 128));
  return octets;
}

export function derOctetString(bytes: Uint8Array): Uint8Array {
  return derElement(0x04, bytes);
}

export function derBitString(bytes: Uint8Array, unusedBits = 0): Uint8Array {
  return derElement(0x03, Uint8Array.of(unusedBits), bytes);
}

/** A named bit list: positions of the bits that are one, trailing zero bits dropped. */
export function derNamedBits(...positions: readonly number[]): Uint8Array {
  if (positions.length === 0) return derBitString(new Uint8Array(0));
  const bitCount = Math.max(...positions) + 1;
  const bytes = new Uint8Array(Math.ceil(bitCount / 8));
  for (const position of positions) {
    const at = position >> 3;
    bytes[at] = (bytes[at] as number) | (0x80 >> (position & 7));
  }
  return derBitString(bytes, bytes.length * 8 - bitCount);
}

export function derUtf8(text: string): Uint8Array {
  return derElement(0x0c, utf8Encode(text));
}

/** UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5). Cut to whole seconds. */
export function derTime(ms: number): Uint8Array {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  const year = Number(digits.slice(0, 4));
  return year >= 1950 && year < 2050
    ? derElement(0x17, utf8Encode(digits.slice(2)))
    : derElement(0x18, utf8Encode(digits));
}
