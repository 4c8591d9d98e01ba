/**
 * The prime field of p = 2^31 - 2^27 + 1 (BabyBear). An element is a canonical `number`, 0 <= a < p; functions take and
 * give canonical elements only, and a caller that passes anything else gets an unspecified number back.
 *
 * A product has up to 62 bits, more than a double holds, so it is reduced from two sides: the quotient by p is taken
 * from the rounded product, the remainder from the low 32 bits, which `Math.imul` gives exactly. Results
 * are made 32-bit integers (`| 0`) wherever they might be doubles to the engine: elements that change between the two are
 * three times as slow to work with.
 */
import { UsageError } from '../errors.ts';

// Engines fold a constant of the module into compiled code, but read an exported or imported one again at each use: hot
// loops therefore have their own.
const PRIME = 2013265921;

export const P = PRIME;
/** p - 1 = 2^27 * 15. */
export const TWO_ADICITY = 27;
/** Smallest generator of the multiplicative group. */
export const GENERATOR = 31;
/** The inverse of two. */
export const ONE_HALF = 1006632961;
/** Centred values are at most this far from zero. */
export const CENTRED_MAX = 1006632960;

/**
 * A little less than 1/p, so that a quotient taken with it is never too large and one conditional subtraction of p
 * repairs the remainder. Good for sums of up to sixteen products: their quotient stays below 2^35.1, of which
 * 2^-45 is less than 2^-9, and more than all rounding of the sum (relative 2^-48).
 */
const INVERSE_LOW = (1 - 2 ** -45) / 2013265921;

export const INVERSE_P_LOW = INVERSE_LOW;

/** Order 2^27. */
const ROOT_27 = 440564289;

export function add(a: number, b: number): number {
  const sum = (a - PRIME + b) | 0;
  return sum + (PRIME & (sum >> 31));
}

export function sub(a: number, b: number): number {
  const difference = (a - b) | 0;
  return difference + (PRIME & (difference >> 31));
}

export function neg(a: number): number {
  return a === 0 ? 0 : (PRIME - a) | 0;
}

export function mul(a: number, b: number): number {
  return reduceSum(a * b, Math.imul(a, b));
}

/**
 * The residue of a sum of at most sixteen products of canonical elements: `approximate` is the sum as a double adds it,
 * `low` the same sum modulo 2^32.
 */
export function reduceSum(approximate: number, low: number): number {
  const quotient = (approximate * INVERSE_LOW) | 0;
  const remainder = ((low | 0) - Math.imul(quotient, PRIME)) | 0;
  return remainder >= PRIME ? remainder - PRIME : remainder;
}

/** `exponent` is a non-negative safe integer. */
export function pow(a: number, exponent: number): number {
  if (!Number.isSafeInteger(exponent) || exponent < 0) {
    throw new UsageError(`exponent ${exponent} is no non-negative safe integer`);
  }
  let result = 1;
  let square = a;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = mul(result, square);
    square = mul(square, square);
  }
  return result;
}

/** Throws `UsageError` on zero. */
export function inverse(a: number): number {
  if (a === 0) throw new UsageError('zero has no inverse');
  return pow(a, PRIME - 2);
}

/** The inverse of each element with one inversion in all. Throws `UsageError` if one of them is zero. */
export function batchInverse(elements: Uint32Array): Uint32Array {
  const inverses = new Uint32Array(elements.length);
  let product = 1;
  for (let i = 0; i < elements.length; i++) {
    inverses[i] = product;
    product = mul(product, elements[i] as number);
  }
  let rest = inverse(product);
  for (let i = elements.length - 1; i >= 0; i--) {
    inverses[i] = mul(rest, inverses[i] as number);
    rest = mul(rest, elements[i] as number);
  }
  return inverses;
}

/** The residue of a signed integer of any safe size. */
export function fromSigned(value: number): number {
  if (!Number.isSafeInteger(value)) throw new UsageError(`${value} is no safe integer`);
  const remainder = value % PRIME;
  return (remainder < 0 ? remainder + PRIME : remainder) | 0;
}

/** The integer of least magnitude with this residue: |v| <= (p - 1) / 2. */
export function toCentred(a: number): number {
  return a <= CENTRED_MAX ? a : a - PRIME;
}

/** A root of unity of order 2^log2Order; each is the square of the next. `log2Order` is 0 to 27. */
export function rootOfUnity(log2Order: number): number {
  if (!Number.isInteger(log2Order) || log2Order < 0 || log2Order > TWO_ADICITY) {
    throw new UsageError(`no root of unity of order 2^${log2Order}`);
  }
  let root = ROOT_27;
  for (let order = TWO_ADICITY; order > log2Order; order--) root = mul(root, root);
  return root;
}
