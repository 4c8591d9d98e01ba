/**
 * ECDSA verification on P-384 (FIPS 186-5 section 6.4.2), for one signature at a time. Nothing here is secret, so nothing is
 * constant-time.
 */
import { G_X, G_Y, N, P, P_MINUS_N, R_SQUARED_N, R_SQUARED_P } from './constants';
import { addPoint, doublePoint, hasX, isOnCurve, POINT_BYTES, setAffine, setPowers, SUM_IS_POINT } from './curve';
import { add, isBelow, multiply, NUMBER_BYTES, readBytes } from './field';
import { invertN, multiplyN } from './order';

/** x, y, r, s and the hash, 48 bytes each. */
const input: usize = memory.data(5 * 48);
const x: usize = memory.data(14 * 8);
const y: usize = memory.data(14 * 8);
const r: usize = memory.data(14 * 8);
const s: usize = memory.data(14 * 8);
const e: usize = memory.data(14 * 8);
const inverse: usize = memory.data(14 * 8);
/** One limb of zeros behind each, for `bitsAt`. */
const u1: usize = memory.data(15 * 8);
const u2: usize = memory.data(15 * 8);
const sum: usize = memory.data(5 * 14 * 8);

/** Bits of a scalar, and one for the last carry. */
const DIGITS: i32 = 14 * 28 + 1;
const G_WIDTH: i32 = 7;
const Q_WIDTH: i32 = 5;
const gDigits: usize = memory.data(393);
const qDigits: usize = memory.data(393);
/** Odd multiples: G to 63 G, Q to 15 Q. */
const gTable: usize = memory.data(32 * 5 * 14 * 8);
const qTable: usize = memory.data(8 * 5 * 14 * 8);
let hasBaseTable = false;

export function inputStart(): usize {
  return input;
}

/** 1 where the signature in the input verifies, 0 for every other input. */
export function verify(): i32 {
  readBytes(x, input);
  readBytes(y, input + 48);
  readBytes(r, input + 96);
  readBytes(s, input + 144);
  readBytes(e, input + 192);
  if (!isInOrder(r) || !isInOrder(s)) return 0;
  const p = changetype<usize>(P);
  if (!isBelow(x, p) || !isBelow(y, p)) return 0;
  multiply(x, x, changetype<usize>(R_SQUARED_P));
  multiply(y, y, changetype<usize>(R_SQUARED_P));
  if (!isOnCurve(x, y)) return 0;
  invertN(inverse, s);
  multiplyN(inverse, inverse, changetype<usize>(R_SQUARED_N));
  multiplyN(u1, e, inverse);
  multiplyN(u2, r, inverse);
  if (!hasBaseTable) {
    oddMultiples(gTable, 32, changetype<usize>(G_X), changetype<usize>(G_Y));
    hasBaseTable = true;
  }
  oddMultiples(qTable, 8, x, y);
  writeDigits(gDigits, u1, G_WIDTH);
  writeDigits(qDigits, u2, Q_WIDTH);
  return sumOfMultiples() && xIsR() ? 1 : 0;
}

/** 0 < a < n. */
function isInOrder(a: usize): bool {
  let bits: u64 = 0;
  for (let i: usize = 0; i < 14; i++) bits |= load<u64>(a + (i << 3));
  return bits != 0 && isBelow(a, changetype<usize>(N));
}

/** `count` odd multiples of (px, py): 1, 3, 5 ... times. None is infinity or equal to another, as the order is a large prime. */
function oddMultiples(table: usize, count: usize, px: usize, py: usize): void {
  setAffine(table, px, py);
  setAffine(sum, px, py);
  doublePoint(sum);
  setPowers(sum);
  for (let i: usize = 1; i < count; i++) {
    const point = table + i * POINT_BYTES;
    memory.copy(point, table + (i - 1) * POINT_BYTES, POINT_BYTES);
    addPoint(point, sum, false);
    setPowers(point);
  }
}

/** The `count` <= 28 bits of a scalar from `at` on. */
@inline
function bitsAt(scalar: usize, at: i32, count: i32): i32 {
  const limb = <usize>(at / 28) << 3;
  const both = load<u64>(scalar + limb) | (load<u64>(scalar + limb + 8) << 28);
  return <i32>((both >> (at % 28)) & ((1 << count) - 1));
}

/** Width-w non-adjacent form: odd digits below 2^(w-1) in absolute value, at least w - 1 zeros between them. */
function writeDigits(digits: usize, scalar: usize, width: i32): void {
  memory.fill(digits, 0, DIGITS);
  let carry = 0;
  let at = 0;
  while (at < DIGITS) {
    if (bitsAt(scalar, at, 1) == carry) {
      at++;
      continue;
    }
    const count = min(width, DIGITS - at);
    let digit = bitsAt(scalar, at, count) + carry;
    carry = (digit >> (width - 1)) & 1;
    digit -= carry << width;
    store<i8>(digits + at, <i8>digit);
    at += count;
  }
}

/** sum = u1 G + u2 Q; false where that is infinity. */
function sumOfMultiples(): bool {
  let isPoint = false;
  for (let at = DIGITS - 1; at >= 0; at--) {
    if (isPoint) doublePoint(sum);
    const g = <i32>load<i8>(gDigits + at);
    if (g != 0) isPoint = addDigit(gTable, g, isPoint);
    const q = <i32>load<i8>(qDigits + at);
    if (q != 0) isPoint = addDigit(qTable, q, isPoint);
  }
  return isPoint;
}

/** Adds an odd multiple to the sum; returns whether that is a point. */
function addDigit(table: usize, digit: i32, isPoint: bool): bool {
  const other = table + <usize>(abs(digit) >> 1) * POINT_BYTES;
  if (isPoint) return addPoint(sum, other, digit < 0) == SUM_IS_POINT;
  memory.copy(sum, other, POINT_BYTES);
  if (digit < 0) negateSum();
  return true;
}

function negateSum(): void {
  for (let i: usize = 0; i < 14; i++) {
    const at = sum + NUMBER_BYTES + (i << 3);
    store<i64>(at, -load<i64>(at));
  }
}

/** Whether the x of the sum is r modulo n: r itself, or r + n where that is below p. */
function xIsR(): bool {
  multiply(x, r, changetype<usize>(R_SQUARED_P));
  if (hasX(sum, x)) return true;
  if (!isBelow(r, changetype<usize>(P_MINUS_N))) return false;
  add(y, r, changetype<usize>(N));
  multiply(x, y, changetype<usize>(R_SQUARED_P));
  return hasX(sum, x);
}
