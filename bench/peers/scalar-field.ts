/** The scalar field of BN254, which both peers compute in. */
export const SCALAR_MODULUS = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;

export function reduce(value: bigint): bigint {
  const rest = value % SCALAR_MODULUS;
  return rest < 0n ? rest + SCALAR_MODULUS : rest;
}

export function multiply(a: bigint, b: bigint): bigint {
  return (a * b) % SCALAR_MODULUS;
}

export function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = reduce(base), rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

export function invert(value: bigint): bigint {
  return power(value, SCALAR_MODULUS - 2n);
}

/** 32 bytes, little-endian, of the canonical representative. */
export function scalarBytes(value: bigint): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  let rest = reduce(value);
  for (let at = 0; at < 32; at += 8, rest >>= 64n) view.setBigUint64(at, BigInt.asUintN(64, rest), true);
  return bytes;
}
