/** The compiled kernels: what the module exports, and how it is loaded. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type WasmMemory, type WasmModule, webAssembly } from '@haca/platform/web-assembly';
import { UsageError } from '@haca/primitives';

const MODULE_FILE = fileURLToPath(new URL('../../build/kernels.wasm', import.meta.url));

/** Names of the kernels, in the order by which threads know them. Arguments: see `packages/prover/assembly`. */
export const KERNEL_NAMES = [
  'addScaled',
  'addVectors',
  'affine',
  'combine',
  'combineExt',
  'combineNumerators',
  'dotExt',
  'dotRows',
  'dotRowsExt',
  'encodeBlocks',
  'encodeColumns',
  'eqTable',
  'exportPlanes',
  'fillVector',
  'foldBase',
  'foldExt',
  'fractionLeaves',
  'fractionLevel',
  'gatherAdd',
  'grind',
  'hashBlocks',
  'hashColumns',
  'hashMany',
  'importBase',
  'importPlanes',
  'joinBlocks',
  'joinColumns',
  'layerFirstRound',
  'layerFoldRound',
  'layerRound',
  'leavesFirstRound',
  'leavesFold',
  'matrixRows',
  'matrixRuns',
  'multiplyVectors',
  'packElements',
  'pairTwiddles',
  'prepareScalars',
  'productRound',
  'quadTwiddles',
  'setScratch',
  'shrinkWeights',
  'splitBlock',
  'tripleRound',
  'weightedProductRound',
  'weightedRound',
  'widen',
] as const;

export type KernelName = (typeof KERNEL_NAMES)[number];
export type Kernel = (...args: readonly number[]) => number;
export type Kernels = Readonly<Record<KernelName, Kernel>>;

/** Compiles the module. Throws `UsageError` where it was not built. */
export function compileKernels(file: string = MODULE_FILE): WasmModule {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = new Uint8Array(readFileSync(file));
  } catch {
    throw new UsageError(`no kernels at ${file}: run \`node tools/build-wasm.mjs\``);
  }
  return new webAssembly.Module(bytes);
}

/** An instance for one thread, over the memory that all share, with `scratch` as its working memory. */
export function instantiateKernels(module: WasmModule, memory: WasmMemory, scratch: number): Kernels {
  const { exports } = new webAssembly.Instance(module, { env: { memory } });
  const kernels = exports as unknown as Kernels;
  for (const name of KERNEL_NAMES) {
    if (typeof kernels[name] !== 'function') throw new UsageError(`the module has no kernel ${name}`);
  }
  kernels.setScratch(scratch);
  return kernels;
}
