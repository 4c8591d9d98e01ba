import type { CryptoProvider } from '@haca/primitives';
import type { ZkKernels } from '@haca/primitives/zk';

/** A key that signs; the private half stays inside. */
export interface Signer {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** What differs between Node and browsers. `@haca/sdk/node` has it ready made. */
export interface Platform {
  readonly crypto: CryptoProvider;
  readonly signerFromSeed: (seed: Uint8Array) => Signer;
  /** Faster kernels for proofs, asked for once; plain TypeScript where left out. */
  readonly zkKernels?: () => ZkKernels;
}

export function randomBytes(sizeBytes: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(sizeBytes));
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason);
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
