import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { UsageError } from '@haca/primitives';

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

/** An Ed25519 key pair that signs; the private half stays inside. */
export interface Ed25519Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes; deterministic (RFC 8032). */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

function signerOf(privateKey: KeyObject): Ed25519Signer {
  const spki = createPublicKey(privateKey).export({
    format: 'der',
    type: 'spki',
  });
  return {
    publicKey: new Uint8Array(spki.subarray(spki.length - 32)),
    sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  };
}

/** A fresh key from the operating system's randomness. */
export function generateEd25519Signer(): Ed25519Signer {
  return signerOf(generateKeyPairSync('ed25519').privateKey);
}

/** The key of a 32-byte secret seed (RFC 8032 section 5.1.5). */
export function ed25519SignerFromSeed(seed: Uint8Array): Ed25519Signer {
  if (seed.length !== 32) throw new UsageError(`an Ed25519 seed has 32 bytes, this has ${seed.length}`);
  const der = Buffer.concat([PKCS8_PREFIX, seed]);
  return signerOf(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
}
