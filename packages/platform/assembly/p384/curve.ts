/** Points of the curve y^2 = x^3 - 3x + b: Jacobian coordinates X, Y, Z (x = X / Z^2, y = Y / Z^3), then Z^2 and Z^3. */
import { B, ONE, THREE } from './constants';
import { add, addTimes, copy, isZero, multiply, NUMBER_BYTES, square, subtract } from './field';

const X: usize = 0;
const Y: usize = NUMBER_BYTES;
const Z: usize = 2 * NUMBER_BYTES;
const ZZ: usize = 3 * NUMBER_BYTES;
const ZZZ: usize = 4 * NUMBER_BYTES;
export const POINT_BYTES: usize = 5 * NUMBER_BYTES;

const t0: usize = memory.data(14 * 8);
const t1: usize = memory.data(14 * 8);
const t2: usize = memory.data(14 * 8);
const t3: usize = memory.data(14 * 8);
const t4: usize = memory.data(14 * 8);
const t5: usize = memory.data(14 * 8);
const t6: usize = memory.data(14 * 8);

/** Whether y^2 = x^3 - 3x + b, for reduced x and y. */
export function isOnCurve(x: usize, y: usize): bool {
  square(t0, x);
  subtract(t0, t0, changetype<usize>(THREE));
  multiply(t1, t0, x);
  square(t2, y);
  subtract(t2, t2, t1);
  subtract(t2, t2, changetype<usize>(B));
  return isZero(t2);
}

/** The point (x, y). */
export function setAffine(point: usize, x: usize, y: usize): void {
  copy(point + X, x);
  copy(point + Y, y);
  copy(point + Z, changetype<usize>(ONE));
  copy(point + ZZ, changetype<usize>(ONE));
  copy(point + ZZZ, changetype<usize>(ONE));
}

/** Fills in the powers of Z, which `addPoint` wants of its second point. */
export function setPowers(point: usize): void {
  square(point + ZZ, point + Z);
  multiply(point + ZZZ, point + ZZ, point + Z);
}

/** point = 2 point. No point but infinity, which is not among these, has order 2. Values stay within 11 p. */
export function doublePoint(point: usize): void {
  const delta = t0;
  const gamma = t1;
  const beta = t2;
  const alpha = t3;
  square(delta, point + Z);
  square(gamma, point + Y);
  multiply(beta, point + X, gamma);
  // 3 (X - delta) (X + delta)
  subtract(t4, point + X, delta);
  add(t5, point + X, delta);
  add(t6, t5, t5);
  add(t6, t6, t5);
  multiply(alpha, t4, t6);
  // Z = (Y + Z)^2 - gamma - delta
  add(t4, point + Y, point + Z);
  square(t5, t4);
  subtract(t5, t5, gamma);
  addTimes(point + Z, t5, delta, -1);
  // X = alpha^2 - 8 beta
  square(t4, alpha);
  addTimes(point + X, t4, beta, -8);
  // Y = alpha (4 beta - X) - 8 gamma^2
  add(t4, beta, beta);
  add(t4, t4, t4);
  subtract(t4, t4, point + X);
  multiply(t5, alpha, t4);
  square(t6, gamma);
  addTimes(point + Y, t5, t6, -8);
}

/** What `addPoint` came to. */
export const SUM_IS_POINT: i32 = 0;
export const SUM_IS_INFINITY: i32 = 1;

/** point = point + other, or - other where `negative`; `other` with its powers of Z. All cases of the group law. */
export function addPoint(point: usize, other: usize, negative: bool): i32 {
  const h = t2;
  const r = t3;
  square(t0, point + Z);
  multiply(t1, point + X, other + ZZ);
  multiply(t4, other + X, t0);
  subtract(h, t4, t1);
  multiply(t4, t0, point + Z);
  multiply(t5, other + Y, t4);
  multiply(t4, point + Y, other + ZZZ);
  // r = S2 - S1, with S2 of the point that is added.
  if (negative) {
    add(r, t5, t4);
    addTimes(r, r, r, -2);
  } else subtract(r, t5, t4);
  if (isZero(h)) {
    if (!isZero(r)) return SUM_IS_INFINITY;
    doublePoint(point);
    return SUM_IS_POINT;
  }
  // t1 = U1, t4 = S1
  square(t0, h);
  multiply(t5, h, t0);
  multiply(t6, t1, t0);
  // Z = h Z1 Z2
  multiply(t0, point + Z, other + Z);
  multiply(point + Z, t0, h);
  // X = r^2 - h^3 - 2 U1 h^2
  square(t0, r);
  subtract(t0, t0, t5);
  addTimes(point + X, t0, t6, -2);
  // Y = r (U1 h^2 - X) - S1 h^3
  subtract(t6, t6, point + X);
  multiply(t0, r, t6);
  multiply(t1, t4, t5);
  addTimes(point + Y, t0, t1, -1);
  return SUM_IS_POINT;
}

/** Whether X / Z^2 = x modulo p, for reduced x. */
export function hasX(point: usize, x: usize): bool {
  square(t0, point + Z);
  multiply(t1, x, t0);
  subtract(t1, t1, point + X);
  return isZero(t1);
}
