/** Blocks of four elements of F in memory: products, sums of products, linear combinations. */
import {
  addMod,
  canonical,
  highDoubles,
  imadd,
  inverseOfP,
  lowDoubles,
  lowWords,
  madd,
  modulus,
  P,
  rounding,
  subMod,
} from './field';

@inline
function double0(at: usize): v128 {
  return f64x2.convert_low_i32x4_s(v128.load64_zero(at));
}

@inline
function double1(at: usize): v128 {
  return f64x2.convert_low_i32x4_s(v128.load64_zero(at, 16));
}

@inline
function double2(at: usize): v128 {
  return f64x2.convert_low_i32x4_s(v128.load64_zero(at, 32));
}

@inline
function double3(at: usize): v128 {
  return f64x2.convert_low_i32x4_s(v128.load64_zero(at, 48));
}

@inline
function double4(at: usize): v128 {
  return f64x2.convert_low_i32x4_s(v128.load64_zero(at, 64));
}

/** Products of two of the four lanes: x^5 = 2, so what overflows comes back doubled. */
@inline
function multiplyDoubles(sum: usize, a: usize, b: usize, isFirst: bool): void {
  const a0 = double0(a);
  const a1 = double1(a);
  const a2 = double2(a);
  const a3 = double3(a);
  const a4 = double4(a);
  let y = double4(b);
  let z = f64x2.add(y, y);
  let c0 = isFirst ? f64x2.mul(a1, z) : madd(a1, z, v128.load(sum));
  let c1 = isFirst ? f64x2.mul(a2, z) : madd(a2, z, v128.load(sum, 16));
  let c2 = isFirst ? f64x2.mul(a3, z) : madd(a3, z, v128.load(sum, 32));
  let c3 = isFirst ? f64x2.mul(a4, z) : madd(a4, z, v128.load(sum, 48));
  let c4 = isFirst ? f64x2.mul(a0, y) : madd(a0, y, v128.load(sum, 64));
  y = double3(b);
  z = f64x2.add(y, y);
  c0 = madd(a2, z, c0);
  c1 = madd(a3, z, c1);
  c2 = madd(a4, z, c2);
  c3 = madd(a0, y, c3);
  c4 = madd(a1, y, c4);
  y = double2(b);
  z = f64x2.add(y, y);
  c0 = madd(a3, z, c0);
  c1 = madd(a4, z, c1);
  c2 = madd(a0, y, c2);
  c3 = madd(a1, y, c3);
  c4 = madd(a2, y, c4);
  y = double1(b);
  z = f64x2.add(y, y);
  c0 = madd(a4, z, c0);
  c1 = madd(a0, y, c1);
  c2 = madd(a1, y, c2);
  c3 = madd(a2, y, c3);
  c4 = madd(a3, y, c4);
  y = double0(b);
  v128.store(sum, madd(a0, y, c0));
  v128.store(sum, madd(a1, y, c1), 16);
  v128.store(sum, madd(a2, y, c2), 32);
  v128.store(sum, madd(a3, y, c3), 48);
  v128.store(sum, madd(a4, y, c4), 64);
}

@inline
function multiplyWords(sum: usize, a: usize, b: usize, isFirst: bool): void {
  const a0 = v128.load(a);
  const a1 = v128.load(a, 16);
  const a2 = v128.load(a, 32);
  const a3 = v128.load(a, 48);
  const a4 = v128.load(a, 64);
  let y = v128.load(b, 64);
  let z = i32x4.add(y, y);
  let c0 = isFirst ? i32x4.mul(a1, z) : imadd(a1, z, v128.load(sum));
  let c1 = isFirst ? i32x4.mul(a2, z) : imadd(a2, z, v128.load(sum, 16));
  let c2 = isFirst ? i32x4.mul(a3, z) : imadd(a3, z, v128.load(sum, 32));
  let c3 = isFirst ? i32x4.mul(a4, z) : imadd(a4, z, v128.load(sum, 48));
  let c4 = isFirst ? i32x4.mul(a0, y) : imadd(a0, y, v128.load(sum, 64));
  y = v128.load(b, 48);
  z = i32x4.add(y, y);
  c0 = imadd(a2, z, c0);
  c1 = imadd(a3, z, c1);
  c2 = imadd(a4, z, c2);
  c3 = imadd(a0, y, c3);
  c4 = imadd(a1, y, c4);
  y = v128.load(b, 32);
  z = i32x4.add(y, y);
  c0 = imadd(a3, z, c0);
  c1 = imadd(a4, z, c1);
  c2 = imadd(a0, y, c2);
  c3 = imadd(a1, y, c3);
  c4 = imadd(a2, y, c4);
  y = v128.load(b, 16);
  z = i32x4.add(y, y);
  c0 = imadd(a4, z, c0);
  c1 = imadd(a0, y, c1);
  c2 = imadd(a1, y, c2);
  c3 = imadd(a2, y, c3);
  c4 = imadd(a3, y, c4);
  y = v128.load(b);
  v128.store(sum, imadd(a0, y, c0));
  v128.store(sum, imadd(a1, y, c1), 16);
  v128.store(sum, imadd(a2, y, c2), 32);
  v128.store(sum, imadd(a3, y, c3), 48);
  v128.store(sum, imadd(a4, y, c4), 64);
}

/** accumulator = a * b. Words are any 32-bit integers in signed form. */
@inline
export function multiply(accumulator: usize, a: usize, b: usize): void {
  multiplyDoubles(accumulator, a, b, true);
  multiplyDoubles(accumulator + 80, a + 8, b + 8, true);
  multiplyWords(accumulator + 160, a, b, true);
}

/** accumulator += a * b. */
@inline
export function multiplyAdd(accumulator: usize, a: usize, b: usize): void {
  multiplyDoubles(accumulator, a, b, false);
  multiplyDoubles(accumulator + 80, a + 8, b + 8, false);
  multiplyWords(accumulator + 160, a, b, false);
}

export function clearAccumulator(accumulator: usize): void {
  memory.fill(accumulator, 0, 240);
}

@inline
function remainder(accumulator: usize, inverse: v128, round: v128, p: v128): v128 {
  return canonical(signedRemainder(accumulator, inverse, round, p), p);
}

/** out = the accumulated sum, canonical. */
@inline
export function finish(accumulator: usize, out: usize): void {
  const inverse = inverseOfP();
  const round = rounding();
  const p = modulus();
  v128.store(out, remainder(accumulator, inverse, round, p));
  v128.store(out, remainder(accumulator + 16, inverse, round, p), 16);
  v128.store(out, remainder(accumulator + 32, inverse, round, p), 32);
  v128.store(out, remainder(accumulator + 48, inverse, round, p), 48);
  v128.store(out, remainder(accumulator + 64, inverse, round, p), 64);
}

@inline
function signedRemainder(accumulator: usize, inverse: v128, round: v128, p: v128): v128 {
  const low = madd(v128.load(accumulator), inverse, round);
  const high = madd(v128.load(accumulator, 80), inverse, round);
  return i32x4.sub(v128.load(accumulator, 160), i32x4.mul(lowWords(low, high), p));
}

/** out = the accumulated sum as integers in (-p, p): good as a factor, not canonical. */
@inline
export function finishFactor(accumulator: usize, out: usize): void {
  const inverse = inverseOfP();
  const round = rounding();
  const p = modulus();
  v128.store(out, signedRemainder(accumulator, inverse, round, p));
  v128.store(out, signedRemainder(accumulator + 16, inverse, round, p), 16);
  v128.store(out, signedRemainder(accumulator + 32, inverse, round, p), 32);
  v128.store(out, signedRemainder(accumulator + 48, inverse, round, p), 48);
  v128.store(out, signedRemainder(accumulator + 64, inverse, round, p), 64);
}

/** out = base + the accumulated sum, canonical; `base` is canonical. */
@inline
export function finishPlus(accumulator: usize, base: usize, out: usize): void {
  const inverse = inverseOfP();
  const round = rounding();
  const p = modulus();
  v128.store(out, addMod(v128.load(base), remainder(accumulator, inverse, round, p), p));
  v128.store(out, addMod(v128.load(base, 16), remainder(accumulator + 16, inverse, round, p), p), 16);
  v128.store(out, addMod(v128.load(base, 32), remainder(accumulator + 32, inverse, round, p), p), 32);
  v128.store(out, addMod(v128.load(base, 48), remainder(accumulator + 48, inverse, round, p), p), 48);
  v128.store(out, addMod(v128.load(base, 64), remainder(accumulator + 64, inverse, round, p), p), 64);
}

/**
 * A scalar of F made ready for many products, 288 bytes: its five coefficients and the doubles of the last four, as
 * vectors of doubles, then as vectors of words.
 */
export const SCALAR: usize = 288;

/** `element`: five words. */
export function prepareScalar(element: usize, scalar: usize): void {
  for (let k: usize = 0; k < 5; k++) {
    const word = load<u32>(element + 4 * k);
    v128.store(scalar + 16 * k, f64x2.splat(<f64>word));
    v128.store(scalar + 144 + 16 * k, i32x4.splat(word));
    if (k > 0) {
      v128.store(scalar + 64 + 16 * k, f64x2.splat(2.0 * <f64>word));
      v128.store(scalar + 208 + 16 * k, i32x4.splat(2 * word));
    }
  }
}

@inline
function scaleDoubles(sum: usize, a: usize, s: usize, isFirst: bool): void {
  const a0 = double0(a);
  const a1 = double1(a);
  const a2 = double2(a);
  const a3 = double3(a);
  const a4 = double4(a);
  let y = v128.load(s, 64);
  let z = v128.load(s, 128);
  let c0 = isFirst ? f64x2.mul(a1, z) : madd(a1, z, v128.load(sum));
  let c1 = isFirst ? f64x2.mul(a2, z) : madd(a2, z, v128.load(sum, 16));
  let c2 = isFirst ? f64x2.mul(a3, z) : madd(a3, z, v128.load(sum, 32));
  let c3 = isFirst ? f64x2.mul(a4, z) : madd(a4, z, v128.load(sum, 48));
  let c4 = isFirst ? f64x2.mul(a0, y) : madd(a0, y, v128.load(sum, 64));
  y = v128.load(s, 48);
  z = v128.load(s, 112);
  c0 = madd(a2, z, c0);
  c1 = madd(a3, z, c1);
  c2 = madd(a4, z, c2);
  c3 = madd(a0, y, c3);
  c4 = madd(a1, y, c4);
  y = v128.load(s, 32);
  z = v128.load(s, 96);
  c0 = madd(a3, z, c0);
  c1 = madd(a4, z, c1);
  c2 = madd(a0, y, c2);
  c3 = madd(a1, y, c3);
  c4 = madd(a2, y, c4);
  y = v128.load(s, 16);
  z = v128.load(s, 80);
  c0 = madd(a4, z, c0);
  c1 = madd(a0, y, c1);
  c2 = madd(a1, y, c2);
  c3 = madd(a2, y, c3);
  c4 = madd(a3, y, c4);
  y = v128.load(s);
  v128.store(sum, madd(a0, y, c0));
  v128.store(sum, madd(a1, y, c1), 16);
  v128.store(sum, madd(a2, y, c2), 32);
  v128.store(sum, madd(a3, y, c3), 48);
  v128.store(sum, madd(a4, y, c4), 64);
}

@inline
function scaleWords(sum: usize, a: usize, s: usize, isFirst: bool): void {
  const a0 = v128.load(a);
  const a1 = v128.load(a, 16);
  const a2 = v128.load(a, 32);
  const a3 = v128.load(a, 48);
  const a4 = v128.load(a, 64);
  let y = v128.load(s, 208);
  let z = v128.load(s, 272);
  let c0 = isFirst ? i32x4.mul(a1, z) : imadd(a1, z, v128.load(sum));
  let c1 = isFirst ? i32x4.mul(a2, z) : imadd(a2, z, v128.load(sum, 16));
  let c2 = isFirst ? i32x4.mul(a3, z) : imadd(a3, z, v128.load(sum, 32));
  let c3 = isFirst ? i32x4.mul(a4, z) : imadd(a4, z, v128.load(sum, 48));
  let c4 = isFirst ? i32x4.mul(a0, y) : imadd(a0, y, v128.load(sum, 64));
  y = v128.load(s, 192);
  z = v128.load(s, 256);
  c0 = imadd(a2, z, c0);
  c1 = imadd(a3, z, c1);
  c2 = imadd(a4, z, c2);
  c3 = imadd(a0, y, c3);
  c4 = imadd(a1, y, c4);
  y = v128.load(s, 176);
  z = v128.load(s, 240);
  c0 = imadd(a3, z, c0);
  c1 = imadd(a4, z, c1);
  c2 = imadd(a0, y, c2);
  c3 = imadd(a1, y, c3);
  c4 = imadd(a2, y, c4);
  y = v128.load(s, 160);
  z = v128.load(s, 224);
  c0 = imadd(a4, z, c0);
  c1 = imadd(a0, y, c1);
  c2 = imadd(a1, y, c2);
  c3 = imadd(a2, y, c3);
  c4 = imadd(a3, y, c4);
  y = v128.load(s, 144);
  v128.store(sum, imadd(a0, y, c0));
  v128.store(sum, imadd(a1, y, c1), 16);
  v128.store(sum, imadd(a2, y, c2), 32);
  v128.store(sum, imadd(a3, y, c3), 48);
  v128.store(sum, imadd(a4, y, c4), 64);
}

/** accumulator = a * scalar. */
@inline
export function scale(accumulator: usize, a: usize, scalar: usize): void {
  scaleDoubles(accumulator, a, scalar, true);
  scaleDoubles(accumulator + 80, a + 8, scalar, true);
  scaleWords(accumulator + 160, a, scalar, true);
}

/** accumulator += a * scalar. */
@inline
export function scaleAdd(accumulator: usize, a: usize, scalar: usize): void {
  scaleDoubles(accumulator, a, scalar, false);
  scaleDoubles(accumulator + 80, a + 8, scalar, false);
  scaleWords(accumulator + 160, a, scalar, false);
}

/** The products of a vector of integers with a block: five, of the 25. */
@inline
function multiplyBaseDoubles(sum: usize, x: v128, a: usize, isFirst: bool): void {
  v128.store(sum, isFirst ? f64x2.mul(x, double0(a)) : madd(x, double0(a), v128.load(sum)));
  v128.store(sum, isFirst ? f64x2.mul(x, double1(a)) : madd(x, double1(a), v128.load(sum, 16)), 16);
  v128.store(sum, isFirst ? f64x2.mul(x, double2(a)) : madd(x, double2(a), v128.load(sum, 32)), 32);
  v128.store(sum, isFirst ? f64x2.mul(x, double3(a)) : madd(x, double3(a), v128.load(sum, 48)), 48);
  v128.store(sum, isFirst ? f64x2.mul(x, double4(a)) : madd(x, double4(a), v128.load(sum, 64)), 64);
}

/** accumulator = x * a, or accumulator += x * a: x four integers, a a block. */
@inline
export function multiplyBase(accumulator: usize, x: v128, a: usize, isFirst: bool): void {
  const sum = accumulator + 160;
  multiplyBaseDoubles(accumulator, lowDoubles(x), a, isFirst);
  multiplyBaseDoubles(accumulator + 80, highDoubles(x), a + 8, isFirst);
  const c0 = i32x4.mul(x, v128.load(a));
  const c1 = i32x4.mul(x, v128.load(a, 16));
  const c2 = i32x4.mul(x, v128.load(a, 32));
  const c3 = i32x4.mul(x, v128.load(a, 48));
  const c4 = i32x4.mul(x, v128.load(a, 64));
  v128.store(sum, isFirst ? c0 : i32x4.add(c0, v128.load(sum)));
  v128.store(sum, isFirst ? c1 : i32x4.add(c1, v128.load(sum, 16)), 16);
  v128.store(sum, isFirst ? c2 : i32x4.add(c2, v128.load(sum, 32)), 32);
  v128.store(sum, isFirst ? c3 : i32x4.add(c3, v128.load(sum, 48)), 48);
  v128.store(sum, isFirst ? c4 : i32x4.add(c4, v128.load(sum, 64)), 64);
}

/** out = a - b as integers in (-p, p): good as a factor, not canonical. */
@inline
export function difference(a: usize, b: usize, out: usize): void {
  v128.store(out, i32x4.sub(v128.load(a), v128.load(b)));
  v128.store(out, i32x4.sub(v128.load(a, 16), v128.load(b, 16)), 16);
  v128.store(out, i32x4.sub(v128.load(a, 32), v128.load(b, 32)), 32);
  v128.store(out, i32x4.sub(v128.load(a, 48), v128.load(b, 48)), 48);
  v128.store(out, i32x4.sub(v128.load(a, 64), v128.load(b, 64)), 64);
}

/** out = a + b, canonical. */
@inline
export function addBlocks(a: usize, b: usize, out: usize): void {
  const p = modulus();
  v128.store(out, addMod(v128.load(a), v128.load(b), p));
  v128.store(out, addMod(v128.load(a, 16), v128.load(b, 16), p), 16);
  v128.store(out, addMod(v128.load(a, 32), v128.load(b, 32), p), 32);
  v128.store(out, addMod(v128.load(a, 48), v128.load(b, 48), p), 48);
  v128.store(out, addMod(v128.load(a, 64), v128.load(b, 64), p), 64);
}

/** out = a - b, canonical. */
@inline
export function subBlocks(a: usize, b: usize, out: usize): void {
  const p = modulus();
  v128.store(out, subMod(v128.load(a), v128.load(b), p));
  v128.store(out, subMod(v128.load(a, 16), v128.load(b, 16), p), 16);
  v128.store(out, subMod(v128.load(a, 32), v128.load(b, 32), p), 32);
  v128.store(out, subMod(v128.load(a, 48), v128.load(b, 48), p), 48);
  v128.store(out, subMod(v128.load(a, 64), v128.load(b, 64), p), 64);
}

/** out = a + scalar * (b - a). `work`: 320 bytes; `out` may be `a` or `b`. */
@inline
export function foldBlocks(a: usize, b: usize, scalar: usize, out: usize, work: usize): void {
  difference(b, a, work);
  scale(work + 80, work, scalar);
  finishPlus(work + 80, a, out);
}

/** Element `index` of a vector in all four lanes of a block. */
export function splatElement(vector: usize, index: usize, block: usize): void {
  const at = vector + (index >> 2) * 80 + (index & 3) * 4;
  for (let k: usize = 0; k < 80; k += 16) v128.store(block + k, v128.load32_splat(at + k));
}

/** The sum of the four elements of a block, as five words. */
export function sumLanes(block: usize, element: usize): void {
  for (let k: usize = 0; k < 5; k++) {
    const at = block + 16 * k;
    const sum: u64 =
      <u64>load<u32>(at) + <u64>load<u32>(at, 4) + <u64>load<u32>(at, 8) + <u64>load<u32>(at, 12);
    store<u32>(element + 4 * k, <u32>(sum % <u64>P));
  }
}
