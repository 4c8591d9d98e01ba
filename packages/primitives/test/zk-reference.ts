/** A slow second opinion in BigInt, generic in the prime, and generators of field elements. */
import fc from 'fast-check';
import { type Ext, P } from '../src/zk/index.ts';

export interface BigField {
  readonly p: bigint;
}

export const FIELD: BigField = { p: BigInt(P) };
export const SMALL_FIELD: BigField = { p: 11n };

export type BigExt = readonly bigint[];

export function toBig(a: Ext): bigint[] {
  return a.map(BigInt);
}

/** The product in F_p[x] / (x^5 - 2). */
export function bigExtMul({ p }: BigField, a: BigExt, b: BigExt): bigint[] {
  const product = Array.from({ length: 5 }, () => 0n);
  for (const [i, x] of a.entries()) {
    for (const [j, y] of b.entries()) {
      const k = (i + j) % 5;
      product[k] = ((product[k] as bigint) + x * y * (i + j >= 5 ? 2n : 1n)) % p;
    }
  }
  return product;
}

export function bigExtPow(field: BigField, a: BigExt, exponent: bigint): bigint[] {
  let result = [1n, 0n, 0n, 0n, 0n];
  let square = [...a];
  for (let rest = exponent; rest > 0n; rest /= 2n) {
    if (rest % 2n === 1n) result = bigExtMul(field, result, square);
    square = bigExtMul(field, square, square);
  }
  return result;
}

/** Canonical elements, the ends of the range more often than by chance. */
export const anyBase: fc.Arbitrary<number> = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: P - 1 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: P - 4, max: P - 1 }) },
);

export const anyExt: fc.Arbitrary<Ext> = fc.tuple(anyBase, anyBase, anyBase, anyBase, anyBase);

export function anyPoint(minLength: number, maxLength: number): fc.Arbitrary<Ext[]> {
  return fc.array(anyExt, { minLength, maxLength });
}
