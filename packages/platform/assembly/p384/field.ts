/**
 * Arithmetic modulo p = 2^384 - 2^128 - 2^96 + 2^32 - 1. A number is 14 limbs of 64 bits that count 28 bits each, the lowest first,
 * and stands for itself times R = 2^392 (Montgomery form).
 *
 * `Reduced` below: limbs 0 to 12 in [0, 2^28), the last one signed and small. Values are not unique: any of absolute value below 32 p
 * may occur. `multiply` and `square` give reduced numbers in (-p/4 - x, 5p/4 + x), x = |a b| / R, for limbs |a_i| < A 2^28 and |b_i| < B 2^28
 * with A B <= 9: then no column, the sum of 14 products and of what the reduction adds, reaches 2^63.
 */
import { P } from './constants';

export const NUMBER_BYTES: usize = 14 * 8;
const MASK: i64 = 0xfffffff;

@inline
function limb(a: usize, i: usize): i64 {
  return load<i64>(a + (i << 3));
}

@inline
function put(a: usize, i: usize, value: i64): void {
  store<i64>(a + (i << 3), value);
}

/** out = a b / R. */
export function multiply(out: usize, a: usize, b: usize): void {
  const a0 = limb(a, 0);
  const a1 = limb(a, 1);
  const a2 = limb(a, 2);
  const a3 = limb(a, 3);
  const a4 = limb(a, 4);
  const a5 = limb(a, 5);
  const a6 = limb(a, 6);
  const a7 = limb(a, 7);
  const a8 = limb(a, 8);
  const a9 = limb(a, 9);
  const a10 = limb(a, 10);
  const a11 = limb(a, 11);
  const a12 = limb(a, 12);
  const a13 = limb(a, 13);
  const b0 = limb(b, 0);
  const b1 = limb(b, 1);
  const b2 = limb(b, 2);
  const b3 = limb(b, 3);
  const b4 = limb(b, 4);
  const b5 = limb(b, 5);
  const b6 = limb(b, 6);
  const b7 = limb(b, 7);
  const b8 = limb(b, 8);
  const b9 = limb(b, 9);
  const b10 = limb(b, 10);
  const b11 = limb(b, 11);
  const b12 = limb(b, 12);
  const b13 = limb(b, 13);
  let c0 = a0 * b0;
  let c1 = a0 * b1 + a1 * b0;
  let c2 = a0 * b2 + a1 * b1 + a2 * b0;
  let c3 = a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0;
  let c4 = a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0;
  let c5 = a0 * b5 + a1 * b4 + a2 * b3 + a3 * b2 + a4 * b1 + a5 * b0;
  let c6 = a0 * b6 + a1 * b5 + a2 * b4 + a3 * b3 + a4 * b2 + a5 * b1 + a6 * b0;
  let c7 = a0 * b7 + a1 * b6 + a2 * b5 + a3 * b4 + a4 * b3 + a5 * b2 + a6 * b1 + a7 * b0;
  let c8 = a0 * b8 + a1 * b7 + a2 * b6 + a3 * b5 + a4 * b4 + a5 * b3 + a6 * b2 + a7 * b1 + a8 * b0;
  let c9 = a0 * b9 + a1 * b8 + a2 * b7 + a3 * b6 + a4 * b5 + a5 * b4 + a6 * b3 + a7 * b2 + a8 * b1 + a9 * b0;
  let c10 = a0 * b10 + a1 * b9 + a2 * b8 + a3 * b7 + a4 * b6 + a5 * b5 + a6 * b4 + a7 * b3 + a8 * b2 + a9 * b1 + a10 * b0;
  let c11 = a0 * b11 + a1 * b10 + a2 * b9 + a3 * b8 + a4 * b7 + a5 * b6 + a6 * b5 + a7 * b4 + a8 * b3 + a9 * b2 + a10 * b1 + a11 * b0;
  let c12 = a0 * b12 + a1 * b11 + a2 * b10 + a3 * b9 + a4 * b8 + a5 * b7 + a6 * b6 + a7 * b5 + a8 * b4 + a9 * b3 + a10 * b2 + a11 * b1 + a12 * b0;
  let c13 = a0 * b13 + a1 * b12 + a2 * b11 + a3 * b10 + a4 * b9 + a5 * b8 + a6 * b7 + a7 * b6 + a8 * b5 + a9 * b4 + a10 * b3 + a11 * b2 + a12 * b1 + a13 * b0;
  let c14 = a1 * b13 + a2 * b12 + a3 * b11 + a4 * b10 + a5 * b9 + a6 * b8 + a7 * b7 + a8 * b6 + a9 * b5 + a10 * b4 + a11 * b3 + a12 * b2 + a13 * b1;
  let c15 = a2 * b13 + a3 * b12 + a4 * b11 + a5 * b10 + a6 * b9 + a7 * b8 + a8 * b7 + a9 * b6 + a10 * b5 + a11 * b4 + a12 * b3 + a13 * b2;
  let c16 = a3 * b13 + a4 * b12 + a5 * b11 + a6 * b10 + a7 * b9 + a8 * b8 + a9 * b7 + a10 * b6 + a11 * b5 + a12 * b4 + a13 * b3;
  let c17 = a4 * b13 + a5 * b12 + a6 * b11 + a7 * b10 + a8 * b9 + a9 * b8 + a10 * b7 + a11 * b6 + a12 * b5 + a13 * b4;
  let c18 = a5 * b13 + a6 * b12 + a7 * b11 + a8 * b10 + a9 * b9 + a10 * b8 + a11 * b7 + a12 * b6 + a13 * b5;
  let c19 = a6 * b13 + a7 * b12 + a8 * b11 + a9 * b10 + a10 * b9 + a11 * b8 + a12 * b7 + a13 * b6;
  let c20 = a7 * b13 + a8 * b12 + a9 * b11 + a10 * b10 + a11 * b9 + a12 * b8 + a13 * b7;
  let c21 = a8 * b13 + a9 * b12 + a10 * b11 + a11 * b10 + a12 * b9 + a13 * b8;
  let c22 = a9 * b13 + a10 * b12 + a11 * b11 + a12 * b10 + a13 * b9;
  let c23 = a10 * b13 + a11 * b12 + a12 * b11 + a13 * b10;
  let c24 = a11 * b13 + a12 * b12 + a13 * b11;
  let c25 = a12 * b13 + a13 * b12;
  let c26 = a13 * b13;
  // p = -1 mod 2^28, so each column is itself what makes it vanish; the other terms of p are shifts.
  let m: i64;
  m = c0 & MASK;
  c1 += (c0 >> 28) + (m << 4);
  c3 -= m << 12;
  c4 -= m << 16;
  c13 += m << 20;
  m = c1 & MASK;
  c2 += (c1 >> 28) + (m << 4);
  c4 -= m << 12;
  c5 -= m << 16;
  c14 += m << 20;
  m = c2 & MASK;
  c3 += (c2 >> 28) + (m << 4);
  c5 -= m << 12;
  c6 -= m << 16;
  c15 += m << 20;
  m = c3 & MASK;
  c4 += (c3 >> 28) + (m << 4);
  c6 -= m << 12;
  c7 -= m << 16;
  c16 += m << 20;
  m = c4 & MASK;
  c5 += (c4 >> 28) + (m << 4);
  c7 -= m << 12;
  c8 -= m << 16;
  c17 += m << 20;
  m = c5 & MASK;
  c6 += (c5 >> 28) + (m << 4);
  c8 -= m << 12;
  c9 -= m << 16;
  c18 += m << 20;
  m = c6 & MASK;
  c7 += (c6 >> 28) + (m << 4);
  c9 -= m << 12;
  c10 -= m << 16;
  c19 += m << 20;
  m = c7 & MASK;
  c8 += (c7 >> 28) + (m << 4);
  c10 -= m << 12;
  c11 -= m << 16;
  c20 += m << 20;
  m = c8 & MASK;
  c9 += (c8 >> 28) + (m << 4);
  c11 -= m << 12;
  c12 -= m << 16;
  c21 += m << 20;
  m = c9 & MASK;
  c10 += (c9 >> 28) + (m << 4);
  c12 -= m << 12;
  c13 -= m << 16;
  c22 += m << 20;
  m = c10 & MASK;
  c11 += (c10 >> 28) + (m << 4);
  c13 -= m << 12;
  c14 -= m << 16;
  c23 += m << 20;
  m = c11 & MASK;
  c12 += (c11 >> 28) + (m << 4);
  c14 -= m << 12;
  c15 -= m << 16;
  c24 += m << 20;
  m = c12 & MASK;
  c13 += (c12 >> 28) + (m << 4);
  c15 -= m << 12;
  c16 -= m << 16;
  c25 += m << 20;
  m = c13 & MASK;
  c14 += (c13 >> 28) + (m << 4);
  c16 -= m << 12;
  c17 -= m << 16;
  c26 += m << 20;
  put(out, 0, c14 & MASK);
  c15 += c14 >> 28;
  put(out, 1, c15 & MASK);
  c16 += c15 >> 28;
  put(out, 2, c16 & MASK);
  c17 += c16 >> 28;
  put(out, 3, c17 & MASK);
  c18 += c17 >> 28;
  put(out, 4, c18 & MASK);
  c19 += c18 >> 28;
  put(out, 5, c19 & MASK);
  c20 += c19 >> 28;
  put(out, 6, c20 & MASK);
  c21 += c20 >> 28;
  put(out, 7, c21 & MASK);
  c22 += c21 >> 28;
  put(out, 8, c22 & MASK);
  c23 += c22 >> 28;
  put(out, 9, c23 & MASK);
  c24 += c23 >> 28;
  put(out, 10, c24 & MASK);
  c25 += c24 >> 28;
  put(out, 11, c25 & MASK);
  c26 += c25 >> 28;
  put(out, 12, c26 & MASK);
  put(out, 13, c26 >> 28);
}

/** out = a a / R. */
export function square(out: usize, a: usize): void {
  const a0 = limb(a, 0);
  const a1 = limb(a, 1);
  const a2 = limb(a, 2);
  const a3 = limb(a, 3);
  const a4 = limb(a, 4);
  const a5 = limb(a, 5);
  const a6 = limb(a, 6);
  const a7 = limb(a, 7);
  const a8 = limb(a, 8);
  const a9 = limb(a, 9);
  const a10 = limb(a, 10);
  const a11 = limb(a, 11);
  const a12 = limb(a, 12);
  const a13 = limb(a, 13);
  let c0 = a0 * a0;
  let c1 = ((a0 * a1) << 1);
  let c2 = ((a0 * a2) << 1) + a1 * a1;
  let c3 = ((a0 * a3 + a1 * a2) << 1);
  let c4 = ((a0 * a4 + a1 * a3) << 1) + a2 * a2;
  let c5 = ((a0 * a5 + a1 * a4 + a2 * a3) << 1);
  let c6 = ((a0 * a6 + a1 * a5 + a2 * a4) << 1) + a3 * a3;
  let c7 = ((a0 * a7 + a1 * a6 + a2 * a5 + a3 * a4) << 1);
  let c8 = ((a0 * a8 + a1 * a7 + a2 * a6 + a3 * a5) << 1) + a4 * a4;
  let c9 = ((a0 * a9 + a1 * a8 + a2 * a7 + a3 * a6 + a4 * a5) << 1);
  let c10 = ((a0 * a10 + a1 * a9 + a2 * a8 + a3 * a7 + a4 * a6) << 1) + a5 * a5;
  let c11 = ((a0 * a11 + a1 * a10 + a2 * a9 + a3 * a8 + a4 * a7 + a5 * a6) << 1);
  let c12 = ((a0 * a12 + a1 * a11 + a2 * a10 + a3 * a9 + a4 * a8 + a5 * a7) << 1) + a6 * a6;
  let c13 = ((a0 * a13 + a1 * a12 + a2 * a11 + a3 * a10 + a4 * a9 + a5 * a8 + a6 * a7) << 1);
  let c14 = ((a1 * a13 + a2 * a12 + a3 * a11 + a4 * a10 + a5 * a9 + a6 * a8) << 1) + a7 * a7;
  let c15 = ((a2 * a13 + a3 * a12 + a4 * a11 + a5 * a10 + a6 * a9 + a7 * a8) << 1);
  let c16 = ((a3 * a13 + a4 * a12 + a5 * a11 + a6 * a10 + a7 * a9) << 1) + a8 * a8;
  let c17 = ((a4 * a13 + a5 * a12 + a6 * a11 + a7 * a10 + a8 * a9) << 1);
  let c18 = ((a5 * a13 + a6 * a12 + a7 * a11 + a8 * a10) << 1) + a9 * a9;
  let c19 = ((a6 * a13 + a7 * a12 + a8 * a11 + a9 * a10) << 1);
  let c20 = ((a7 * a13 + a8 * a12 + a9 * a11) << 1) + a10 * a10;
  let c21 = ((a8 * a13 + a9 * a12 + a10 * a11) << 1);
  let c22 = ((a9 * a13 + a10 * a12) << 1) + a11 * a11;
  let c23 = ((a10 * a13 + a11 * a12) << 1);
  let c24 = ((a11 * a13) << 1) + a12 * a12;
  let c25 = ((a12 * a13) << 1);
  let c26 = a13 * a13;
  // p = -1 mod 2^28, so each column is itself what makes it vanish; the other terms of p are shifts.
  let m: i64;
  m = c0 & MASK;
  c1 += (c0 >> 28) + (m << 4);
  c3 -= m << 12;
  c4 -= m << 16;
  c13 += m << 20;
  m = c1 & MASK;
  c2 += (c1 >> 28) + (m << 4);
  c4 -= m << 12;
  c5 -= m << 16;
  c14 += m << 20;
  m = c2 & MASK;
  c3 += (c2 >> 28) + (m << 4);
  c5 -= m << 12;
  c6 -= m << 16;
  c15 += m << 20;
  m = c3 & MASK;
  c4 += (c3 >> 28) + (m << 4);
  c6 -= m << 12;
  c7 -= m << 16;
  c16 += m << 20;
  m = c4 & MASK;
  c5 += (c4 >> 28) + (m << 4);
  c7 -= m << 12;
  c8 -= m << 16;
  c17 += m << 20;
  m = c5 & MASK;
  c6 += (c5 >> 28) + (m << 4);
  c8 -= m << 12;
  c9 -= m << 16;
  c18 += m << 20;
  m = c6 & MASK;
  c7 += (c6 >> 28) + (m << 4);
  c9 -= m << 12;
  c10 -= m << 16;
  c19 += m << 20;
  m = c7 & MASK;
  c8 += (c7 >> 28) + (m << 4);
  c10 -= m << 12;
  c11 -= m << 16;
  c20 += m << 20;
  m = c8 & MASK;
  c9 += (c8 >> 28) + (m << 4);
  c11 -= m << 12;
  c12 -= m << 16;
  c21 += m << 20;
  m = c9 & MASK;
  c10 += (c9 >> 28) + (m << 4);
  c12 -= m << 12;
  c13 -= m << 16;
  c22 += m << 20;
  m = c10 & MASK;
  c11 += (c10 >> 28) + (m << 4);
  c13 -= m << 12;
  c14 -= m << 16;
  c23 += m << 20;
  m = c11 & MASK;
  c12 += (c11 >> 28) + (m << 4);
  c14 -= m << 12;
  c15 -= m << 16;
  c24 += m << 20;
  m = c12 & MASK;
  c13 += (c12 >> 28) + (m << 4);
  c15 -= m << 12;
  c16 -= m << 16;
  c25 += m << 20;
  m = c13 & MASK;
  c14 += (c13 >> 28) + (m << 4);
  c16 -= m << 12;
  c17 -= m << 16;
  c26 += m << 20;
  put(out, 0, c14 & MASK);
  c15 += c14 >> 28;
  put(out, 1, c15 & MASK);
  c16 += c15 >> 28;
  put(out, 2, c16 & MASK);
  c17 += c16 >> 28;
  put(out, 3, c17 & MASK);
  c18 += c17 >> 28;
  put(out, 4, c18 & MASK);
  c19 += c18 >> 28;
  put(out, 5, c19 & MASK);
  c20 += c19 >> 28;
  put(out, 6, c20 & MASK);
  c21 += c20 >> 28;
  put(out, 7, c21 & MASK);
  c22 += c21 >> 28;
  put(out, 8, c22 & MASK);
  c23 += c22 >> 28;
  put(out, 9, c23 & MASK);
  c24 += c23 >> 28;
  put(out, 10, c24 & MASK);
  c25 += c24 >> 28;
  put(out, 11, c25 & MASK);
  c26 += c25 >> 28;
  put(out, 12, c26 & MASK);
  put(out, 13, c26 >> 28);
}

/** out = a - b, limb by limb: |out_i| is at most the larger of what both may be. */
export function subtract(out: usize, a: usize, b: usize): void {
  put(out, 0, limb(a, 0) - limb(b, 0));
  put(out, 1, limb(a, 1) - limb(b, 1));
  put(out, 2, limb(a, 2) - limb(b, 2));
  put(out, 3, limb(a, 3) - limb(b, 3));
  put(out, 4, limb(a, 4) - limb(b, 4));
  put(out, 5, limb(a, 5) - limb(b, 5));
  put(out, 6, limb(a, 6) - limb(b, 6));
  put(out, 7, limb(a, 7) - limb(b, 7));
  put(out, 8, limb(a, 8) - limb(b, 8));
  put(out, 9, limb(a, 9) - limb(b, 9));
  put(out, 10, limb(a, 10) - limb(b, 10));
  put(out, 11, limb(a, 11) - limb(b, 11));
  put(out, 12, limb(a, 12) - limb(b, 12));
  put(out, 13, limb(a, 13) - limb(b, 13));
}

/** out = a + b, limb by limb. */
export function add(out: usize, a: usize, b: usize): void {
  put(out, 0, limb(a, 0) + limb(b, 0));
  put(out, 1, limb(a, 1) + limb(b, 1));
  put(out, 2, limb(a, 2) + limb(b, 2));
  put(out, 3, limb(a, 3) + limb(b, 3));
  put(out, 4, limb(a, 4) + limb(b, 4));
  put(out, 5, limb(a, 5) + limb(b, 5));
  put(out, 6, limb(a, 6) + limb(b, 6));
  put(out, 7, limb(a, 7) + limb(b, 7));
  put(out, 8, limb(a, 8) + limb(b, 8));
  put(out, 9, limb(a, 9) + limb(b, 9));
  put(out, 10, limb(a, 10) + limb(b, 10));
  put(out, 11, limb(a, 11) + limb(b, 11));
  put(out, 12, limb(a, 12) + limb(b, 12));
  put(out, 13, limb(a, 13) + limb(b, 13));
}

/** out = a + factor b, reduced; the limbs of a and of factor b below 2^62. */
export function addTimes(out: usize, a: usize, b: usize, factor: i64): void {
  let sum = limb(a, 0) + factor * limb(b, 0);
  put(out, 0, sum & MASK);
  sum = (sum >> 28) + limb(a, 1) + factor * limb(b, 1);
  put(out, 1, sum & MASK);
  sum = (sum >> 28) + limb(a, 2) + factor * limb(b, 2);
  put(out, 2, sum & MASK);
  sum = (sum >> 28) + limb(a, 3) + factor * limb(b, 3);
  put(out, 3, sum & MASK);
  sum = (sum >> 28) + limb(a, 4) + factor * limb(b, 4);
  put(out, 4, sum & MASK);
  sum = (sum >> 28) + limb(a, 5) + factor * limb(b, 5);
  put(out, 5, sum & MASK);
  sum = (sum >> 28) + limb(a, 6) + factor * limb(b, 6);
  put(out, 6, sum & MASK);
  sum = (sum >> 28) + limb(a, 7) + factor * limb(b, 7);
  put(out, 7, sum & MASK);
  sum = (sum >> 28) + limb(a, 8) + factor * limb(b, 8);
  put(out, 8, sum & MASK);
  sum = (sum >> 28) + limb(a, 9) + factor * limb(b, 9);
  put(out, 9, sum & MASK);
  sum = (sum >> 28) + limb(a, 10) + factor * limb(b, 10);
  put(out, 10, sum & MASK);
  sum = (sum >> 28) + limb(a, 11) + factor * limb(b, 11);
  put(out, 11, sum & MASK);
  sum = (sum >> 28) + limb(a, 12) + factor * limb(b, 12);
  put(out, 12, sum & MASK);
  put(out, 13, (sum >> 28) + limb(a, 13) + factor * limb(b, 13));
}

const scratch: usize = memory.data(14 * 8);
const one: usize = memory.data(14 * 8);

/** Whether a is a multiple of p; its limbs below 2^30 and its value below 32 p, both in absolute value. */
export function isZero(a: usize): bool {
  // a / R mod p lies in (-p/8, p]: where a is a multiple of p it is 0 or p.
  put(one, 0, 1);
  multiply(scratch, a, one);
  let zero: i64 = 0;
  let prime: i64 = 0;
  for (let i: usize = 0; i < 14; i++) {
    zero |= limb(scratch, i);
    prime |= limb(scratch, i) ^ <i64>unchecked(P[<i32>i]);
  }
  return zero == 0 || prime == 0;
}

export function copy(out: usize, a: usize): void {
  memory.copy(out, a, NUMBER_BYTES);
}

/** 48 bytes, the highest first, as limbs. */
export function readBytes(out: usize, bytes: usize): void {
  for (let i: usize = 0; i < 14; i++) {
    let value: u64 = 0;
    for (let bit: usize = 28 * i; bit < 28 * i + 28 && bit < 384; bit += 4) {
      const byte = load<u8>(bytes + 47 - (bit >> 3));
      const half: u64 = (bit & 4) == 0 ? byte & 15 : byte >> 4;
      value |= half << (bit - 28 * i);
    }
    put(out, i, value);
  }
}

/** Whether a < b, both with limbs in [0, 2^28). */
export function isBelow(a: usize, b: usize): bool {
  for (let i: i32 = 13; i >= 0; i--) {
    const x = limb(a, i);
    const y = limb(b, i);
    if (x != y) return x < y;
  }
  return false;
}
