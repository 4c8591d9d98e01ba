/**
 * Vectors over F as five planes of base field words: coefficient k of element i is `data[k * length + i]`. Sums of
 * products with small integers are added up exactly in doubles and reduced once a block.
 */
import { UsageError } from '../errors.ts';
import { INVERSE_P_LOW, P } from './babybear.ts';
import { signedWords } from './bits.ts';
import { EXT_DEGREE, EXT_ZERO, type Ext, extAdd } from './ext.ts';

// Constants of the module, for the speed of the loops: see babybear.ts.
const PRIME = P;
const INVERSE_LOW = INVERSE_P_LOW;

export interface ExtVector {
  readonly length: number;
  /** 5 * length canonical words. */
  readonly data: Uint32Array;
}

/** Small signed or unsigned integers; `Uint32Array` holds canonical residues. */
export type BaseValues = Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array;

/** A vector of zeros. */
export function extVector(length: number): ExtVector {
  const data = new Uint32Array(EXT_DEGREE * length);
  // An integer to the engine even where the caller's number, say 2 ** n, is a double: indices are made from it.
  return { length: length | 0, data };
}

export function extVectorOf(elements: readonly Ext[]): ExtVector {
  const vector = extVector(elements.length);
  for (const [i, element] of elements.entries()) setExt(vector, i, element);
  return vector;
}

export function extVectorToList(vector: ExtVector): Ext[] {
  return Array.from({ length: vector.length }, (_, i) => getExt(vector, i));
}

/** Throws `UsageError` outside the vector. */
export function getExt({ length, data }: ExtVector, index: number): Ext {
  checkIndex(length, index);
  return [
    (data[index] as number) | 0,
    (data[length + index] as number) | 0,
    (data[2 * length + index] as number) | 0,
    (data[3 * length + index] as number) | 0,
    (data[4 * length + index] as number) | 0,
  ];
}

/** Throws `UsageError` outside the vector. */
export function setExt({ length, data }: ExtVector, index: number, element: Ext): void {
  checkIndex(length, index);
  for (let k = 0; k < EXT_DEGREE; k++) data[k * length + index] = element[k] as number;
}

function checkIndex(length: number, index: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= length) {
    throw new UsageError(`index ${index} in a vector of ${length}`);
  }
}

/** eq(point, x) for every x in {0,1}^n, x_0 the most significant bit of the index. n is at most 28. */
export function eqTable(point: readonly Ext[]): ExtVector {
  if (point.length > 28) throw new UsageError(`a table of 2^${point.length} elements`);
  const length = 1 << point.length;
  const table = extVector(length);
  const data = signedWords(table.data);
  data[0] = 1;
  // From the last coordinate up: what stands so far is the table of the coordinates below, and doubles.
  for (let size = 1, i = point.length - 1; i >= 0; size <<= 1, i--) {
    scaleRange(table, 0, size, point[i] as Ext, table, size);
    for (let k = 0; k < EXT_DEGREE; k++) {
      const at = k * length;
      for (let j = at; j < at + size; j++) {
        const rest = ((data[j] as number) - (data[j + size] as number)) | 0;
        data[j] = rest + (PRIME & (rest >> 31));
      }
    }
  }
  return table;
}

/** Binds x_0 to r: element i of the result is v[i] + r * (v[i + half] - v[i]). The length must be even. */
export function foldVector(v: ExtVector, r: Ext): ExtVector {
  if (v.length % 2 !== 0) throw new UsageError(`${v.length} elements cannot be halved`);
  const half = v.length >>> 1;
  const folded = extVector(half);
  const from = signedWords(v.data);
  const to = signedWords(folded.data);
  for (let k = 0; k < EXT_DEGREE; k++) {
    const low = k * v.length;
    for (let i = 0; i < half; i++) {
      const difference = ((from[low + half + i] as number) - (from[low + i] as number)) | 0;
      to[k * half + i] = difference + (PRIME & (difference >> 31));
    }
  }
  scaleRange(folded, 0, half, r, folded, 0);
  for (let k = 0; k < EXT_DEGREE; k++) {
    const low = k * v.length;
    for (let i = 0; i < half; i++) {
      const sum = ((to[k * half + i] as number) - PRIME + (from[low + i] as number)) | 0;
      to[k * half + i] = sum + (PRIME & (sum >> 31));
    }
  }
  return folded;
}

/** `to[toStart + i] = from[fromStart + i] * factor` for i < count; the ranges are equal or disjoint. */
export function scaleRange(
  from: ExtVector,
  fromStart: number,
  count: number,
  factor: Ext,
  to: ExtVector,
  toStart: number,
): void {
  checkRange(from, fromStart, count);
  checkRange(to, toStart, count);
  const source = signedWords(from.data);
  const target = signedWords(to.data);
  const n = from.length;
  const m = to.length;
  const b0 = factor[0];
  const b1 = factor[1];
  const b2 = factor[2];
  const b3 = factor[3];
  const b4 = factor[4];
  const e1 = 2 * b1;
  const e2 = 2 * b2;
  const e3 = 2 * b3;
  const e4 = 2 * b4;
  for (let i = 0; i < count; i++) {
    const at = fromStart + i;
    const a0 = source[at] as number;
    const a1 = source[at + n] as number;
    const a2 = source[at + 2 * n] as number;
    const a3 = source[at + 3 * n] as number;
    const a4 = source[at + 4 * n] as number;
    target[toStart + i] = reduce(
      a0 * b0 + a1 * e4 + a2 * e3 + a3 * e2 + a4 * e1,
      Math.imul(a0, b0) + Math.imul(a1, e4) + Math.imul(a2, e3) + Math.imul(a3, e2) + Math.imul(a4, e1),
    );
    target[toStart + i + m] = reduce(
      a0 * b1 + a1 * b0 + a2 * e4 + a3 * e3 + a4 * e2,
      Math.imul(a0, b1) + Math.imul(a1, b0) + Math.imul(a2, e4) + Math.imul(a3, e3) + Math.imul(a4, e2),
    );
    target[toStart + i + 2 * m] = reduce(
      a0 * b2 + a1 * b1 + a2 * b0 + a3 * e4 + a4 * e3,
      Math.imul(a0, b2) + Math.imul(a1, b1) + Math.imul(a2, b0) + Math.imul(a3, e4) + Math.imul(a4, e3),
    );
    target[toStart + i + 3 * m] = reduce(
      a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 + a4 * e4,
      Math.imul(a0, b3) + Math.imul(a1, b2) + Math.imul(a2, b1) + Math.imul(a3, b0) + Math.imul(a4, e4),
    );
    target[toStart + i + 4 * m] = reduce(
      a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0,
      Math.imul(a0, b4) + Math.imul(a1, b3) + Math.imul(a2, b2) + Math.imul(a3, b1) + Math.imul(a4, b0),
    );
  }
}

/** As `reduceSum` of the base field: a copy, so that the loops of this file inline it. */
function reduce(approximate: number, low: number): number {
  const quotient = (approximate * INVERSE_LOW) | 0;
  const remainder = ((low | 0) - Math.imul(quotient, PRIME)) | 0;
  return remainder >= PRIME ? remainder - PRIME : remainder;
}

/** sum of values[i] * weights[i]. The lengths must be equal. */
export function dotBase(values: BaseValues, weights: ExtVector): Ext {
  if (values.length !== weights.length) {
    throw new UsageError(`${values.length} values for ${weights.length} weights`);
  }
  return dotBaseRange(values, 0, weights, values.length);
}

/** sum over i < count of values[valuesStart + i] * weights[i]. */
export function dotBaseRange(
  values: BaseValues,
  valuesStart: number,
  weights: ExtVector,
  count: number,
): Ext {
  checkRange(values, valuesStart, count);
  checkRange(weights, 0, count);
  return values.BYTES_PER_ELEMENT === 4
    ? dotWords(values as Int32Array | Uint32Array, valuesStart, weights, count)
    : dotSmall(values as Int8Array, valuesStart, weights, count);
}

/** Integers of up to 16 bits: a block of sums stays below 2^52, so that doubles add it exactly. */
function dotSmall(
  values: Int8Array | Int16Array | Uint8Array | Uint16Array,
  start: number,
  weights: ExtVector,
  count: number,
): Ext {
  const data = signedWords(weights.data);
  const n = weights.length;
  const blockLength = values.BYTES_PER_ELEMENT === 1 ? 8192 : 32;
  let sum = EXT_ZERO;
  for (let from = 0; from < count; from += blockLength) {
    const end = Math.min(from + blockLength, count);
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    let s4 = 0;
    for (let i = from; i < end; i++) {
      const value = values[start + i] as number;
      s0 += value * (data[i] as number);
      s1 += value * (data[n + i] as number);
      s2 += value * (data[2 * n + i] as number);
      s3 += value * (data[3 * n + i] as number);
      s4 += value * (data[4 * n + i] as number);
    }
    sum = extAdd(sum, [residue(s0), residue(s1), residue(s2), residue(s3), residue(s4)]);
  }
  return sum;
}

function dotWords(values: Int32Array | Uint32Array, start: number, weights: ExtVector, count: number): Ext {
  const words = values instanceof Int32Array ? values : signedWords(values);
  const data = signedWords(weights.data);
  const n = weights.length;
  return [
    dotPlanes(words, start, data, 0, count),
    dotPlanes(words, start, data, n, count),
    dotPlanes(words, start, data, 2 * n, count),
    dotPlanes(words, start, data, 3 * n, count),
    dotPlanes(words, start, data, 4 * n, count),
  ];
}

/** The residue of an exact integer of magnitude up to 2^52. */
function residue(integer: number): number {
  const rest = integer - Math.floor(integer / PRIME) * PRIME;
  return (rest < 0 ? rest + PRIME : rest >= PRIME ? rest - PRIME : rest) | 0;
}

/** `accumulator[i] += values[i] * factor`. The lengths must be equal. */
export function axpyBase(accumulator: ExtVector, values: BaseValues, factor: Ext): void {
  if (values.length !== accumulator.length) {
    throw new UsageError(`${values.length} values for ${accumulator.length} sums`);
  }
  axpyBaseRange(accumulator, 0, values, 0, factor, values.length);
}

/** `accumulator[start + i] += values[valuesStart + i] * factor` for i < count. */
export function axpyBaseRange(
  accumulator: ExtVector,
  start: number,
  values: BaseValues,
  valuesStart: number,
  factor: Ext,
  count: number,
): void {
  checkRange(accumulator, start, count);
  checkRange(values, valuesStart, count);
  const data = signedWords(accumulator.data);
  const n = accumulator.length;
  for (let k = 0; k < EXT_DEGREE; k++) {
    const scale = factor[k] as number;
    if (scale === 0) continue;
    const at = k * n + start;
    for (let i = 0; i < count; i++) {
      // A negative value times a residue is reduced as the opposite of the positive product.
      const value = values[valuesStart + i] as number;
      const magnitude = value < 0 ? -value : value;
      const product = reduce(magnitude * scale, Math.imul(magnitude, scale));
      const sum = ((data[at + i] as number) + (value < 0 ? -product : product - PRIME)) | 0;
      data[at + i] = sum + (PRIME & (sum >> 31));
    }
  }
}

/** sum of a[i] * b[i]. The lengths must be equal. */
export function dotExt(a: ExtVector, b: ExtVector): Ext {
  if (a.length !== b.length) throw new UsageError(`vectors of ${a.length} and ${b.length}`);
  return dotExtRange(a, 0, b, a.length);
}

/** sum over i < count of a[start + i] * b[i]. */
export function dotExtRange(a: ExtVector, start: number, b: ExtVector, count: number): Ext {
  checkRange(a, start, count);
  checkRange(b, 0, count);
  const n = a.length;
  const m = b.length;
  const left = signedWords(a.data);
  const right = signedWords(b.data);
  // Coefficient k of the product before x^5 = 2: nine sums, the top four of which fold back doubled.
  const sums = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < EXT_DEGREE; i++) {
    for (let j = 0; j < EXT_DEGREE; j++) {
      const sum = dotPlanes(left, i * n + start, right, j * m, count);
      sums[i + j] = residue((sums[i + j] as number) + sum);
    }
  }
  const fold = (k: number): number => residue((sums[k] as number) + 2 * (sums[k + 5] ?? 0));
  return [fold(0), fold(1), fold(2), fold(3), fold(4)];
}

/**
 * Products of any 32-bit integers `a` with residues `b`, sixteen at a time: a sum stays below 2^66, its rounding far below
 * what `reduce` bears.
 */
function dotPlanes(a: Int32Array, aStart: number, b: Int32Array, bStart: number, count: number): number {
  let total = 0;
  for (let from = 0; from < count; from += 16) {
    const end = Math.min(from + 16, count);
    let approximate = 0;
    let low = 0;
    for (let i = from; i < end; i++) {
      const integer = a[aStart + i] as number;
      // Twice, since the most negative integers are below -p.
      const once = (integer + (PRIME & (integer >> 31))) | 0;
      const x = (once + (PRIME & (once >> 31))) | 0;
      const y = b[bStart + i] as number;
      approximate += x * y;
      low = (low + Math.imul(x, y)) | 0;
    }
    total = (total - PRIME + reduce(approximate, low)) | 0;
    total += PRIME & (total >> 31);
  }
  return total;
}

function checkRange({ length }: { readonly length: number }, start: number, count: number): void {
  if (
    !Number.isInteger(start) ||
    !Number.isInteger(count) ||
    start < 0 ||
    count < 0 ||
    start + count > length
  ) {
    throw new UsageError(`${count} elements from ${start} in ${length}`);
  }
}
