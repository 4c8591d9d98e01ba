/**
 * BabyBear and its extension F = F_p[x] / (x^5 - 2), four elements at a time, without Montgomery form: memory holds
 * canonical residues everywhere.
 *
 * A product of 31-bit residues is taken twice: rounded, as a double, and modulo 2^32, as an integer. The rounded one gives
 * the quotient by p to within a fraction, the remainder follows in 32-bit arithmetic. Sums of products are added up in both
 * forms and reduced once. What bounds them is the rounding alone: a sum below 2^71 made of at most 640 additions has an
 * error below 2^27, so the quotient is off by less than 1/2 + 1/16 and the remainder stays inside (-p, p).
 * `relaxed_madd` may round once or twice, which the same bound covers: results do not depend on it.
 *
 * Elements of F lie in blocks of four: 80 bytes, coefficient k of element j at byte 16 k + 4 j. An accumulator holds sums
 * of products for a block: 240 bytes, five vectors of doubles for elements 0 and 1, five for 2 and 3, five of integers.
 */

export const P: u32 = 0x78000001;
export const BLOCK: usize = 80;
export const ACCUMULATOR: usize = 240;
/** Products of blocks that an accumulator takes before it must be reduced. */
export const ACCUMULATOR_TERMS: usize = 64;

const INVERSE: f64 = 1.0 / 2013265921.0;
/** Adding it leaves the nearest integer, modulo 2^32, in the low word of the double. */
const ROUND: f64 = 6755399441055744.0;
// Constants are loaded, not written as literals: the engine would build them anew at every use.
const DOUBLES = memory.data<f64>([INVERSE, INVERSE, ROUND, ROUND, 2013265921.0, 2013265921.0], 16);
const WORDS = memory.data<u32>([P, P, P, P], 16);

@inline
export function inverseOfP(): v128 {
  return v128.load(DOUBLES);
}

@inline
export function rounding(): v128 {
  return v128.load(DOUBLES, 16);
}

@inline
export function modulusDouble(): v128 {
  return v128.load(DOUBLES, 32);
}

@inline
export function modulus(): v128 {
  return v128.load(WORDS);
}

/** a * b + c. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  return f64x2.relaxed_madd(a, b, c);
}

/** a * b + c modulo 2^32. */
@inline
export function imadd(a: v128, b: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.mul(a, b));
}

/** The lower two of four integers, as doubles. */
@inline
export function lowDoubles(x: v128): v128 {
  return f64x2.convert_low_i32x4_s(x);
}

/** The upper two of four integers, as doubles. */
@inline
export function highDoubles(x: v128): v128 {
  return f64x2.convert_low_i32x4_s(v128.shuffle<u64>(x, x, 1, 1));
}

/** From (-p, p) to [0, p). */
@inline
export function canonical(x: v128, p: v128): v128 {
  return i32x4.min_u(x, i32x4.add(x, p));
}

/** Sum of residues. */
@inline
export function addMod(a: v128, b: v128, p: v128): v128 {
  const sum = i32x4.add(a, b);
  return i32x4.min_u(sum, i32x4.sub(sum, p));
}

/** Difference of residues. */
@inline
export function subMod(a: v128, b: v128, p: v128): v128 {
  return canonical(i32x4.sub(a, b), p);
}

/** The low words of four doubles. */
@inline
export function lowWords(low: v128, high: v128): v128 {
  return v128.shuffle<u32>(low, high, 0, 2, 4, 6);
}

/** The residue, in [0, p), of a sum of products given as doubles and modulo 2^32. */
@inline
export function reduce(low: v128, high: v128, word: v128, inverse: v128, round: v128, p: v128): v128 {
  const quotient = lowWords(madd(low, inverse, round), madd(high, inverse, round));
  return canonical(i32x4.sub(word, i32x4.mul(quotient, p)), p);
}

/** The product of residues (or of any 32-bit integers in signed form) in each lane. */
@inline
export function mulMod(a: v128, b: v128, inverse: v128, round: v128, p: v128): v128 {
  return reduce(
    f64x2.mul(lowDoubles(a), lowDoubles(b)),
    f64x2.mul(highDoubles(a), highDoubles(b)),
    i32x4.mul(a, b),
    inverse,
    round,
    p,
  );
}

/** One product of residues. */
export function mulWord(a: u32, b: u32): u32 {
  return <u32>((<u64>a * <u64>b) % <u64>P);
}

export function powWord(base: u32, exponent: u32): u32 {
  let result: u32 = 1;
  let square = base;
  for (let rest = exponent; rest > 0; rest >>= 1) {
    if ((rest & 1) == 1) result = mulWord(result, square);
    square = mulWord(square, square);
  }
  return result;
}

/** A root of unity of order 2^log. */
export function rootOfUnity(log: u32): u32 {
  let root: u32 = 440564289;
  for (let order: u32 = 27; order > log; order--) root = mulWord(root, root);
  return root;
}
