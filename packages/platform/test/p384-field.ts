/** The arithmetic of the P-384 module by itself, modulo p and modulo n, so that its bounds can be met exactly. */
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

export const LIMBS = 14;
export const R = 1n << 392n;

type Limbs = readonly bigint[];

export interface FieldModule {
  readonly multiply: (a: Limbs, b: Limbs) => Limbs;
  readonly square: (a: Limbs) => Limbs;
  readonly add: (a: Limbs, b: Limbs) => Limbs;
  readonly subtract: (a: Limbs, b: Limbs) => Limbs;
  readonly addTimes: (a: Limbs, b: Limbs, factor: number) => Limbs;
  readonly isZero: (a: Limbs) => boolean;
}

export interface OrderModule {
  readonly multiply: (a: Limbs, b: Limbs) => Limbs;
  readonly invert: (a: Limbs) => Limbs;
}

export function integerOf(limbs: Limbs): bigint {
  return limbs.reduce((sum, limb, i) => sum + (limb << (28n * BigInt(i))), 0n);
}

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Beyond everything that the module lays out itself. */
const OUT = 32_768;
const A = OUT + LIMBS * 8;
const B = A + LIMBS * 8;

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly multiply: (out: number, a: number, b: number) => void;
  readonly square: (out: number, a: number) => void;
  readonly add: (out: number, a: number, b: number) => void;
  readonly subtract: (out: number, a: number, b: number) => void;
  readonly addTimes: (out: number, a: number, b: number, factor: bigint) => void;
  readonly isZero: (a: number) => number;
}

interface OrderExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly multiplyN: (out: number, a: number, b: number) => void;
  readonly invertN: (out: number, a: number) => void;
}

interface Wasm {
  readonly instantiate: (bytes: Uint8Array) => Promise<{ readonly instance: { readonly exports: unknown } }>;
}

/** Compiles a file of `assembly/p384` as the module is compiled. */
async function compile(name: string): Promise<unknown> {
  const file = join(tmpdir(), `p384-${name}-${process.pid}.wasm`);
  const entry = `packages/platform/assembly/p384/${name}.ts`;
  const options = ['-O2', '--noAssert', '--runtime', 'stub', '--enable', 'simd'];
  const { error, stderr } = await main([entry, '--baseDir', ROOT, '--outFile', file, ...options]);
  if (error !== null) throw new Error(`${error.message}\n${stderr.toString()}`);
  const { WebAssembly: wasm } = globalThis as unknown as { readonly WebAssembly: Wasm };
  const { instance } = await wasm.instantiate(readFileSync(file));
  rmSync(file);
  return instance.exports;
}

export async function compileField(): Promise<FieldModule> {
  return fieldOf((await compile('field')) as Exports);
}

export async function compileOrder(): Promise<OrderModule> {
  const { memory, multiplyN, invertN } = (await compile('order')) as OrderExports;
  const view = new BigInt64Array(memory.buffer);
  const out = (): Limbs => [...view.subarray(OUT / 8, OUT / 8 + LIMBS)];
  return {
    multiply: (a, b) => {
      view.set(a, A / 8);
      view.set(b, B / 8);
      multiplyN(OUT, A, B);
      return out();
    },
    invert: (a) => {
      view.set(a, A / 8);
      invertN(OUT, A);
      return out();
    },
  };
}

function fieldOf(exports: Exports): FieldModule {
  const view = new BigInt64Array(exports.memory.buffer);
  const put = (at: number, limbs: Limbs): void => view.set(limbs, at / 8);
  const out = (): Limbs => [...view.subarray(OUT / 8, OUT / 8 + LIMBS)];
  const binary = (run: (out: number, a: number, b: number) => void) => (a: Limbs, b: Limbs) => {
    put(A, a);
    put(B, b);
    run(OUT, A, B);
    return out();
  };
  return {
    multiply: binary(exports.multiply),
    add: binary(exports.add),
    subtract: binary(exports.subtract),
    square: (a) => binary((to, from) => exports.square(to, from))(a, a),
    addTimes: (a, b, factor) => binary((to, x, y) => exports.addTimes(to, x, y, BigInt(factor)))(a, b),
    isZero: (a) => {
      put(A, a);
      return exports.isZero(A) === 1;
    },
  };
}
