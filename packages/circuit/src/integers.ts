/** Residues of small integers mod the BabyBear prime, exact in doubles. */
import { INTEGER_BOUND } from './limits.ts';

const P = 2 * INTEGER_BOUND + 1;

/** The residue of a safe integer. */
export function toResidue(value: number): number {
  const rest = value % P;
  // Of a negative zero only the zero.
  return rest < 0 ? rest + P : rest + 0;
}

const HALF = (P + 1) / 2;

/** 2^-exponent mod p. */
export function inversePowerOfTwo(exponent: number): number {
  let value = 1n;
  for (let i = 0; i < exponent; i++) value = (value * BigInt(HALF)) % BigInt(P);
  return Number(value);
}

/** a · b mod p, for residues. */
export function multiplyResidues(a: number, b: number): number {
  return Number((BigInt(a) * BigInt(b)) % BigInt(P));
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && value < 2 ** 31 && (value & (value - 1)) === 0;
}
