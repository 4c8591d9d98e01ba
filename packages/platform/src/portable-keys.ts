import { UsageError } from '@haca/primitives';
import { ed25519 } from '@noble/curves/ed25519.js';

/** The same key as `ed25519SignerFromSeed` of the Node side, in pure JavaScript: for browsers. */
export function portableSignerFromSeed(seed: Uint8Array): {
  readonly publicKey: Uint8Array;
  readonly sign: (message: Uint8Array) => Uint8Array;
} {
  if (seed.length !== 32) throw new UsageError(`an Ed25519 seed has 32 bytes, this has ${seed.length}`);
  const secret = seed.slice();
  return { publicKey: ed25519.getPublicKey(secret), sign: (message) => ed25519.sign(message, secret) };
}
