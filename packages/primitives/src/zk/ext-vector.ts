/**
 * Vectors over F as five planes of base field words: coefficient k of element i is `data[k * length + i]`. Sums of
 * products with small integers are added up exactly in doubles and reduced once a block.
 */
import { UsageError } from '../errors.ts';
import { INVERSE_P_LOW, P } from './babybear.ts';
import { EXT_DEGREE, EXT_ONE, EXT_ZERO, type Ext, extAdd } from './ext.ts';

export interface ExtVector {
  readonly length: number;
  /** 5 * length canonical words. */
  readonly data: Uint32Array;
}

/** Small signed or unsigned integers; `Uint32Array` holds canonical residues. */
export type BaseValues = Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array;

/** A vector of zeros. */
export function extVector(length: number): ExtVector {
  return { length, data: new Uint32Array(EXT_DEGREE * length) };
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
    data[index] as number,
    data[length + index] as number,
    data[2 * length + index] as number,
    data[3 * length + index] as number,
    data[4 * length + index] as number,
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
  const length = 2 ** point.length;
  const table = extVector(length);
  setExt(table, 0, EXT_ONE);
  // From the last coordinate up: what stands so far is the table of the coordinates below, and doubles.
  for (let size = 1, i = point.length - 1; i >= 0; size *= 2, i--) {
    scaleRange(table, 0, size, point[i] as Ext, table, size);
    for (let k = 0; k < EXT_DEGREE; k++) {
      const plane = table.data.subarray(k * length, k * length + 2 * size);
      for (let j = 0; j < size; j++) {
        const rest = (plane[j] as number) - (plane[size + j] as number);
        plane[j] = rest < 0 ? rest + P : rest;
      }
    }
  }
  return table;
}

/** Binds x_0 to r: element i of the result is v[i] + r * (v[i + half] - v[i]). The length must be even. */
export function foldVector(v: ExtVector, r: Ext): ExtVector {
  if (v.length % 2 !== 0) throw new UsageError(`${v.length} elements cannot be halved`);
  const half = v.length / 2;
  const folded = extVector(half);
  for (let k = 0; k < EXT_DEGREE; k++) {
    const at = k * v.length;
    for (let i = 0; i < half; i++) {
      const difference = (v.data[at + half + i] as number) - (v.data[at + i] as number);
      folded.data[k * half + i] = difference < 0 ? difference + P : difference;
    }
  }
  scaleRange(folded, 0, half, r, folded, 0);
  for (let k = 0; k < EXT_DEGREE; k++) {
    const at = k * v.length;
    for (let i = 0; i < half; i++) {
      const sum = (folded.data[k * half + i] as number) - P + (v.data[at + i] as number);
      folded.data[k * half + i] = sum < 0 ? sum + P : sum;
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
  const source = from.data;
  const target = to.data;
  const [n, m] = [from.length, to.length];
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
  const quotient = (approximate * INVERSE_P_LOW) | 0;
  const remainder = ((low | 0) - Math.imul(quotient, P)) | 0;
  return remainder >= P ? remainder - P : remainder;
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
  { data, length: n }: ExtVector,
  count: number,
): Ext {
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

/** 32-bit values, as a high part (signed as the value is) and 16 low bits. */
function dotWords(
  values: Int32Array | Uint32Array,
  start: number,
  { data, length: n }: ExtVector,
  count: number,
): Ext {
  const isSigned = values instanceof Int32Array;
  const sums: number[] = [0, 0, 0, 0, 0];
  for (let k = 0; k < EXT_DEGREE; k++) {
    let total = 0;
    for (let from = 0; from < count; from += 16) {
      const end = Math.min(from + 16, count);
      let high = 0;
      let low = 0;
      for (let i = from; i < end; i++) {
        const value = values[start + i] as number;
        const weight = data[k * n + i] as number;
        high += (isSigned ? value >> 16 : value >>> 16) * weight;
        low += (value & 0xffff) * weight;
      }
      total = residue(residue(high) * 65536 + low + total);
    }
    sums[k] = total;
  }
  return [sums[0] as number, sums[1] as number, sums[2] as number, sums[3] as number, sums[4] as number];
}

/** The residue of an exact integer of magnitude up to 2^52. */
function residue(integer: number): number {
  const rest = integer - Math.floor(integer / P) * P;
  return rest < 0 ? rest + P : rest >= P ? rest - P : rest;
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
  const { data, length: n } = accumulator;
  for (let k = 0; k < EXT_DEGREE; k++) {
    const scale = factor[k] as number;
    if (scale === 0) continue;
    const at = k * n + start;
    for (let i = 0; i < count; i++) {
      // A negative value times a residue is reduced as the opposite of the positive product.
      const value = values[valuesStart + i] as number;
      const magnitude = value < 0 ? -value : value;
      const product = reduce(magnitude * scale, Math.imul(magnitude, scale));
      const sum = (data[at + i] as number) + (value < 0 ? -product : product - P);
      data[at + i] = sum < 0 ? sum + P : sum;
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
  const [n, m] = [a.length, b.length];
  // Coefficient k of the product before x^5 = 2: nine sums, the top four of which fold back doubled.
  const sums = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < EXT_DEGREE; i++) {
    for (let j = 0; j < EXT_DEGREE; j++) {
      const sum = dotPlanes(a.data, i * n + start, b.data, j * m, count);
      sums[i + j] = residue((sums[i + j] as number) + sum);
    }
  }
  const fold = (k: number): number => residue((sums[k] as number) + 2 * (sums[k + 5] ?? 0));
  return [fold(0), fold(1), fold(2), fold(3), fold(4)];
}

/** Products of residues, sixteen at a time: their sum stays below 2^66, its rounding far below a quotient of 2^-5. */
function dotPlanes(a: Uint32Array, aStart: number, b: Uint32Array, bStart: number, count: number): number {
  let total = 0;
  for (let from = 0; from < count; from += 16) {
    const end = Math.min(from + 16, count);
    let approximate = 0;
    let low = 0;
    for (let i = from; i < end; i++) {
      const x = a[aStart + i] as number;
      const y = b[bStart + i] as number;
      approximate += x * y;
      low = (low + Math.imul(x, y)) | 0;
    }
    total = residue(total + reduce(approximate, low));
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
