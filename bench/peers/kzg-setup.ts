/**
 * A structured reference string for KZG on BN254, made here instead of downloaded: fit to measure with, and for nothing
 * else, because whoever makes it could forge proofs. The group operations are those of ffjavascript.
 */
import { randomBytes } from 'node:crypto';
import { loadPeer } from './install.ts';
import { invert, multiply, power, reduce, SCALAR_MODULUS, scalarBytes } from './scalar-field.ts';

/** Points are affine, coordinates in Montgomery form, little-endian: 64 bytes in G1, 128 in G2. */
export interface KzgSetup {
  /** The powers τ^0 … τ^(count − 1) in G1. */
  readonly powers: (count: number) => Uint8Array;
  /** The Lagrange basis of the domain of the 2^k-th roots of unity in G1. */
  readonly lagrangeBasis: (k: number) => Uint8Array;
  readonly generatorG2: Uint8Array;
  readonly tauG2: Uint8Array;
  /** The same points with plain big-endian coordinates; of the two halves of a G2 coordinate the imaginary one comes first. */
  readonly plainG1: (points: Uint8Array) => Uint8Array;
  readonly plainG2: (point: Uint8Array) => Uint8Array;
}

/** Of the multiplicative group of the scalar field; halo2 takes its roots of unity from it. */
const GENERATOR = 7n;
const AFFINE_BYTES = 64;
const JACOBIAN_BYTES = 96;
/** Bytes of a scalar, and the values of a byte that are not zero. */
const WINDOWS = 32;
const DIGITS = 255;
const CHUNK = 4096;
const WASM_PAGE = 65_536;

/** The part of ffjavascript that is used: its WebAssembly group operations on its own memory. */
interface Curve {
  readonly tm: {
    readonly memory: { readonly buffer: ArrayBuffer; readonly grow: (pages: number) => number };
    readonly instance: { readonly exports: GroupOperations };
    readonly pG1gen: number;
    u8: Uint8Array;
    u32: Uint32Array;
  };
  readonly G1: Group;
  readonly G2: Group;
}

interface Group {
  readonly g: Uint8Array;
  readonly timesScalar: (point: Uint8Array, scalar: Uint8Array) => Uint8Array;
  readonly toAffine: (point: Uint8Array) => Uint8Array;
  readonly toRprUncompressed: (to: Uint8Array, offset: number, point: Uint8Array) => void;
}

interface GroupOperations {
  readonly g1m_zero: (point: number) => void;
  readonly g1m_copy: (from: number, to: number) => void;
  readonly g1m_add: (a: number, b: number, to: number) => void;
  readonly g1m_addMixed: (a: number, affine: number, to: number) => void;
  readonly g1m_batchToAffine: (from: number, count: number, to: number) => void;
}

export async function makeKzgSetup(): Promise<KzgSetup> {
  const { buildBn128 } = loadPeer<{ buildBn128: (singleThread: boolean) => Promise<Curve> }>('ffjavascript');
  const curve = await buildBn128(true);
  const { G1, G2 } = curve;
  const tau = reduce(BigInt(`0x${randomBytes(40).toString('hex')}`));
  const multiplyGenerator = fixedBaseMultiplier(curve);
  return {
    powers: (count) => multiplyGenerator(powersOf(tau, count)),
    lagrangeBasis: (k) => multiplyGenerator(lagrangeAt(tau, k)),
    generatorG2: G2.toAffine(G2.g),
    tauG2: G2.toAffine(G2.timesScalar(G2.g, scalarBytes(tau))),
    plainG1: (points) => {
      const plain = new Uint8Array(points.length);
      for (let at = 0; at < points.length; at += AFFINE_BYTES) {
        G1.toRprUncompressed(plain, at, points.subarray(at, at + AFFINE_BYTES));
      }
      return plain;
    },
    plainG2: (point) => {
      const plain = new Uint8Array(point.length);
      G2.toRprUncompressed(plain, 0, point);
      return plain;
    },
  };
}

function powersOf(base: bigint, count: number): bigint[] {
  const powers = [1n];
  while (powers.length < count) powers.push(multiply(powers.at(-1) ?? 1n, base));
  return powers;
}

/** The Lagrange polynomials of the domain of 2^k roots of unity at τ: ω^i (τ^n − 1) / (n (τ − ω^i)). */
function lagrangeAt(tau: bigint, k: number): bigint[] {
  const n = 2 ** k;
  const omega = power(GENERATOR, (SCALAR_MODULUS - 1n) >> BigInt(k));
  const roots = powersOf(omega, n);
  const inverses = invertAll(roots.map((root) => reduce(tau - root)));
  const factor = multiply(reduce(power(tau, BigInt(n)) - 1n), invert(BigInt(n)));
  return roots.map((root, i) => multiply(multiply(root, factor), inverses[i] ?? 0n));
}

/** One inversion for all (Montgomery's trick). */
function invertAll(values: readonly bigint[]): bigint[] {
  const products = [1n];
  for (const value of values) products.push(multiply(products.at(-1) ?? 1n, value));
  let inverse = invert(products.at(-1) ?? 1n);
  const inverses = new Array<bigint>(values.length);
  for (let i = values.length - 1; i >= 0; i--) {
    inverses[i] = multiply(inverse, products[i] ?? 1n);
    inverse = multiply(inverse, values[i] ?? 1n);
  }
  return inverses;
}

/**
 * Multiplies the generator of G1 by many scalars: a table of d · 2^(8w) · G for every byte value d and byte position w,
 * then one addition a byte. Answers with affine points: x, y in Montgomery form, little-endian, as halo2 stores them.
 */
function fixedBaseMultiplier({ tm }: Curve): (scalars: readonly bigint[]) => Uint8Array {
  const group = tm.instance.exports;
  const entries = WINDOWS * DIGITS;
  const start = tm.memory.buffer.byteLength;
  const size = (entries + CHUNK) * (JACOBIAN_BYTES + AFFINE_BYTES);
  tm.memory.grow(Math.ceil(size / WASM_PAGE));
  tm.u8 = new Uint8Array(tm.memory.buffer);
  tm.u32 = new Uint32Array(tm.memory.buffer);
  const table = start;
  const sums = table + entries * AFFINE_BYTES;
  const results = sums + CHUNK * JACOBIAN_BYTES;
  fillTable(tm, results + CHUNK * AFFINE_BYTES, table);

  const accumulate = (scalar: bigint, sum: number): void => {
    group.g1m_zero(sum);
    let rest = scalar;
    for (let window = 0; rest > 0n; window++, rest >>= 8n) {
      const digit = Number(rest & 0xffn);
      if (digit > 0) group.g1m_addMixed(sum, table + (window * DIGITS + digit - 1) * AFFINE_BYTES, sum);
    }
  };
  return (scalars) => {
    const points = new Uint8Array(scalars.length * AFFINE_BYTES);
    for (let from = 0; from < scalars.length; from += CHUNK) {
      const chunk = scalars.slice(from, from + CHUNK);
      chunk.forEach((scalar, i) => void accumulate(scalar, sums + i * JACOBIAN_BYTES));
      group.g1m_batchToAffine(sums, chunk.length, results);
      points.set(tm.u8.subarray(results, results + chunk.length * AFFINE_BYTES), from * AFFINE_BYTES);
    }
    return points;
  };
}

function fillTable({ instance, pG1gen }: Curve['tm'], scratch: number, table: number): void {
  const group = instance.exports;
  const point = (window: number, digit: number): number =>
    scratch + (window * DIGITS + digit - 1) * JACOBIAN_BYTES;
  for (let window = 0; window < WINDOWS; window++) {
    if (window === 0) group.g1m_copy(pG1gen, point(0, 1));
    else group.g1m_add(point(window - 1, DIGITS), point(window - 1, 1), point(window, 1));
    for (let digit = 2; digit <= DIGITS; digit++) {
      group.g1m_add(point(window, digit - 1), point(window, 1), point(window, digit));
    }
  }
  group.g1m_batchToAffine(scratch, WINDOWS * DIGITS, table);
}
