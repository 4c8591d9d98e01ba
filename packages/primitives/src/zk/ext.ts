/**
 * F = F_p[x] / (x^5 - 2), the field challenges are drawn from: 154.5 bits. An element is five canonical coefficients, the
 * constant one first; its encoding is five little-endian 32-bit words, each below p.
 */
import { UsageError } from '../errors.ts';
import { add, inverse, mul, neg, P, reduceSum, sub } from './babybear.ts';

export type Ext = readonly [number, number, number, number, number];

export const EXT_DEGREE = 5;
export const EXT_BYTES = 20;
export const EXT_ZERO: Ext = [0, 0, 0, 0, 0];
export const EXT_ONE: Ext = [1, 0, 0, 0, 0];

/** zeta = x^(p-1), of order five: the Frobenius map multiplies coefficient i by zeta^i. */
const ZETA = 815036133;
const ZETA_2 = 609564788;
const ZETA_3 = 1956349769;
const ZETA_4 = 645581151;

export function extFromBase(a: number): Ext {
  return [a | 0, 0, 0, 0, 0];
}

export function extAdd(a: Ext, b: Ext): Ext {
  return [add(a[0], b[0]), add(a[1], b[1]), add(a[2], b[2]), add(a[3], b[3]), add(a[4], b[4])];
}

export function extSub(a: Ext, b: Ext): Ext {
  return [sub(a[0], b[0]), sub(a[1], b[1]), sub(a[2], b[2]), sub(a[3], b[3]), sub(a[4], b[4])];
}

export function extNeg(a: Ext): Ext {
  return [neg(a[0]), neg(a[1]), neg(a[2]), neg(a[3]), neg(a[4])];
}

/** The product with a base field element. */
export function extScale(a: Ext, base: number): Ext {
  return [mul(a[0], base), mul(a[1], base), mul(a[2], base), mul(a[3], base), mul(a[4], base)];
}

export function extMul(a: Ext, b: Ext): Ext {
  const a0 = a[0];
  const a1 = a[1];
  const a2 = a[2];
  const a3 = a[3];
  const a4 = a[4];
  const b0 = b[0];
  const b1 = b[1];
  const b2 = b[2];
  const b3 = b[3];
  const b4 = b[4];
  // Products that overflow x^4 come back doubled, since x^5 = 2.
  const e1 = 2 * b1;
  const e2 = 2 * b2;
  const e3 = 2 * b3;
  const e4 = 2 * b4;
  return [
    reduceSum(
      a0 * b0 + a1 * e4 + a2 * e3 + a3 * e2 + a4 * e1,
      Math.imul(a0, b0) + Math.imul(a1, e4) + Math.imul(a2, e3) + Math.imul(a3, e2) + Math.imul(a4, e1),
    ),
    reduceSum(
      a0 * b1 + a1 * b0 + a2 * e4 + a3 * e3 + a4 * e2,
      Math.imul(a0, b1) + Math.imul(a1, b0) + Math.imul(a2, e4) + Math.imul(a3, e3) + Math.imul(a4, e2),
    ),
    reduceSum(
      a0 * b2 + a1 * b1 + a2 * b0 + a3 * e4 + a4 * e3,
      Math.imul(a0, b2) + Math.imul(a1, b1) + Math.imul(a2, b0) + Math.imul(a3, e4) + Math.imul(a4, e3),
    ),
    reduceSum(
      a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 + a4 * e4,
      Math.imul(a0, b3) + Math.imul(a1, b2) + Math.imul(a2, b1) + Math.imul(a3, b0) + Math.imul(a4, e4),
    ),
    reduceSum(
      a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0,
      Math.imul(a0, b4) + Math.imul(a1, b3) + Math.imul(a2, b2) + Math.imul(a3, b1) + Math.imul(a4, b0),
    ),
  ];
}

export function extSquare(a: Ext): Ext {
  return extMul(a, a);
}

/** `exponent` is a non-negative safe integer. */
export function extPow(a: Ext, exponent: number): Ext {
  if (!Number.isSafeInteger(exponent) || exponent < 0) {
    throw new UsageError(`exponent ${exponent} is no non-negative safe integer`);
  }
  let result = EXT_ONE;
  let square = a;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = extMul(result, square);
    square = extSquare(square);
  }
  return result;
}

/** a^p. */
export function extFrobenius(a: Ext): Ext {
  return [a[0], mul(a[1], ZETA), mul(a[2], ZETA_2), mul(a[3], ZETA_3), mul(a[4], ZETA_4)];
}

/** Throws `UsageError` on zero. */
export function extInverse(a: Ext): Ext {
  if (extIsZero(a)) throw new UsageError('zero has no inverse');
  // The product of all five conjugates is the norm, which lies in the base field.
  const first = extFrobenius(a);
  const second = extFrobenius(first);
  const firstTwo = extMul(first, second);
  const others = extMul(firstTwo, extFrobenius(extFrobenius(firstTwo)));
  return extScale(others, inverse(extMul(a, others)[0]));
}

/** The inverse of each element with one inversion in all. Throws `UsageError` if one of them is zero. */
export function extBatchInverse(elements: readonly Ext[]): Ext[] {
  const inverses: Ext[] = [];
  let product = EXT_ONE;
  for (const element of elements) {
    inverses.push(product);
    product = extMul(product, element);
  }
  let rest = extInverse(product);
  for (let i = elements.length - 1; i >= 0; i--) {
    inverses[i] = extMul(rest, inverses[i] as Ext);
    rest = extMul(rest, elements[i] as Ext);
  }
  return inverses;
}

export function extEqual(a: Ext, b: Ext): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3] && a[4] === b[4];
}

export function extIsZero(a: Ext): boolean {
  return (a[0] | a[1] | a[2] | a[3] | a[4]) === 0;
}

/** Writes 20 bytes at `offset`. */
export function encodeExt(a: Ext, out: Uint8Array, offset: number): void {
  if (offset < 0 || offset + EXT_BYTES > out.length)
    throw new UsageError(`no room for an element at ${offset}`);
  for (let i = 0; i < EXT_DEGREE; i++) {
    const word = a[i] as number;
    const at = offset + 4 * i;
    out[at] = word;
    out[at + 1] = word >>> 8;
    out[at + 2] = word >>> 16;
    out[at + 3] = word >>> 24;
  }
}

/** Undefined when a word is not below p, or when `bytes` ends before the element does. */
export function decodeExt(bytes: Uint8Array, offset: number): Ext | undefined {
  if (offset < 0 || offset + EXT_BYTES > bytes.length) return undefined;
  const a0 = readWord(bytes, offset);
  const a1 = readWord(bytes, offset + 4);
  const a2 = readWord(bytes, offset + 8);
  const a3 = readWord(bytes, offset + 12);
  const a4 = readWord(bytes, offset + 16);
  if (a0 >= P || a1 >= P || a2 >= P || a3 >= P || a4 >= P) return undefined;
  return [a0 | 0, a1 | 0, a2 | 0, a3 | 0, a4 | 0];
}

function readWord(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  return low + ((bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8)) * 65536;
}

/** The encodings one after another. */
export function encodeExts(elements: readonly Ext[]): Uint8Array {
  const out = new Uint8Array(EXT_BYTES * elements.length);
  for (const [i, element] of elements.entries()) encodeExt(element, out, EXT_BYTES * i);
  return out;
}

/** `count` elements from `offset` on, or undefined if one of them is missing or not canonical. */
export function decodeExts(bytes: Uint8Array, count: number, offset = 0): Ext[] | undefined {
  const elements: Ext[] = [];
  for (let i = 0; i < count; i++) {
    const element = decodeExt(bytes, offset + EXT_BYTES * i);
    if (element === undefined) return undefined;
    elements.push(element);
  }
  return elements;
}
