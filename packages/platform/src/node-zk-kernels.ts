/** The verifier's kernels for Node: compiled where the build is there, else portable ones with the same results. */
import { readFileSync } from 'node:fs';
import { portableZkKernels, type ZkKernels } from '@haca/primitives/zk';
import { wasmZkKernels } from './zk-kernels.ts';

const MODULE_FILE = new URL('../build/zk-kernels.wasm', import.meta.url);

/** `name` says which ones these are: `wasm` or `portable`. */
export function nodeZkKernels(): ZkKernels {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(MODULE_FILE);
  } catch {
    return portableZkKernels;
  }
  return wasmZkKernels(bytes);
}
