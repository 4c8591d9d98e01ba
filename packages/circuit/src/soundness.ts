/**
 * The proven security of a program, exactly: the sum of all error terms as a rational number, compared with powers of
 * two. No logarithm in floating point decides whether a key is accepted (spec/zkml.md has the argument for each term).
 */
import { INTEGER_BOUND } from './limits.ts';

const P = 2n * BigInt(INTEGER_BOUND) + 1n;
export const EXTENSION_DEGREE = 5;

export interface SecurityParameters {
  /** log2 of the inverse rate. */
  readonly blowupBits: number;
  readonly queries: number;
  /** Leading zero bits of the proof of work before the queries. */
  readonly grindingBits: number;
}

const GRINDING_BITS = 16;
const TARGET_BITS = 100;

/** Profile 1: rate 1/8. Profile 2: rate 1/4. The number of queries is the least that gives the target. */
export function profileParameters(profile: number): SecurityParameters {
  const blowupBits = profile === 1 ? 3 : 2;
  return {
    blowupBits,
    queries: leastQueries(blowupBits, TARGET_BITS - GRINDING_BITS),
    grindingBits: GRINDING_BITS,
  };
}

/** The least t with ((1 + 2^-blowupBits) / 2)^t ≤ 2^-bits: unique decoding, one query passes with at most that. */
export function leastQueries(blowupBits: number, bits: number): number {
  const [numerator, denominator] = queryError(blowupBits);
  let top = 1n;
  let bottom = 1n;
  for (let t = 0; ; t++) {
    if (top << BigInt(bits) <= bottom) return t;
    top *= numerator;
    bottom *= denominator;
  }
}

const queryError = (blowupBits: number): readonly [bigint, bigint] => {
  const inverseRate = 1n << BigInt(blowupBits);
  return [inverseRate + 1n, 2n * inverseRate];
};

export interface SoundnessShape extends SecurityParameters {
  readonly treeBits: number;
  readonly columnBits: number;
  readonly selectorBits: number;
  readonly finalBits: number;
  readonly claims: number;
  readonly sumcheckDegrees: number;
  readonly freshCoordinates: number;
  /** Degree of the extension field; 5 but in tests. */
  readonly extensionDegree?: number;
}

/** Numerator, over |F|, of the error of everything but the queries. */
export function algebraicError(shape: SoundnessShape): bigint {
  const { treeBits, columnBits, blowupBits, selectorBits, finalBits } = shape;
  const leaves = 1n << BigInt(treeBits);
  const domain = 1n << BigInt(columnBits + blowupBits);
  let error = 4n * leaves + leaves;
  // Layer 0 is the root, whose two fractions are bound by a challenge too.
  for (let layer = 0; layer < treeBits; layer++) error += BigInt(3 * layer + 2);
  error += BigInt(shape.sumcheckDegrees + shape.freshCoordinates);
  error += BigInt(shape.claims + 2 * columnBits + selectorBits);
  error += BigInt(selectorBits) * domain;
  for (let round = 0; round < columnBits - finalBits; round++) error += domain >> BigInt(round);
  error += BigInt(columnBits - finalBits);
  return error;
}

/** The largest whole number of bits b such that the error of the whole proof is at most 2^-b. */
export function provenBits(shape: SoundnessShape): number {
  const field = P ** BigInt(shape.extensionDegree ?? EXTENSION_DEGREE);
  const [numerator, denominator] = queryError(shape.blowupBits);
  const queryTop = numerator ** BigInt(shape.queries);
  const queryBottom = (denominator ** BigInt(shape.queries)) << BigInt(shape.grindingBits);
  const top = algebraicError(shape) * queryBottom + queryTop * field;
  const bottom = field * queryBottom;
  let bits = 0;
  while (top << BigInt(bits + 1) <= bottom) bits++;
  return bits;
}
