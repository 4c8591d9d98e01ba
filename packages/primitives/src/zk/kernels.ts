/** What a faster machine may replace: the two hash functions and the dot product that the time of a proof goes into. */
import { type HashManyRequest, hashMany, keyedHash } from './blake3.ts';
import type { Ext } from './ext.ts';
import { type BaseValues, dotBase, type ExtVector } from './ext-vector.ts';

/** Every implementation gives the same results as `portableZkKernels`, to the last bit. */
export interface ZkKernels {
  /** Shown in measurements, e.g. `portable`. */
  readonly name: string;
  readonly hashMany: (request: HashManyRequest) => void;
  /** BLAKE3 under a 32-byte key with `outBytes` (default 32) of extendable output. */
  readonly keyedHash: (key: Uint8Array, bytes: Uint8Array, outBytes?: number) => Uint8Array;
  readonly dotBase: (values: BaseValues, weights: ExtVector) => Ext;
}

/** In plain TypeScript; runs everywhere. */
export const portableZkKernels: ZkKernels = { name: 'portable', hashMany, keyedHash, dotBase };
