import { hkdfSync } from 'node:crypto';
import { UsageError } from '@haca/primitives';
import { p384 } from '@noble/curves/nist.js';

/** A P-384 key pair; the private half stays inside. */
export interface P384Signer {
  /** Uncompressed point, 97 bytes. */
  readonly publicKey: Uint8Array;
  /** ECDSA over SHA-384 of the message: r || s, 96 bytes. Deterministic (RFC 6979), s as it falls. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** Bytes of key material that leave no bias when reduced to a P-384 scalar. */
const KEY_MATERIAL_BYTES = 72;

/** The key that `seed` (at least 16 bytes) and `label` name: HKDF-SHA-512 (RFC 5869), reduced. */
export function p384SignerFromSeed(seed: Uint8Array, label: string): P384Signer {
  if (seed.length < 16) throw new UsageError(`a seed has at least 16 bytes, this has ${seed.length}`);
  const material = new Uint8Array(hkdfSync('sha512', seed, '', label, KEY_MATERIAL_BYTES));
  const secretKey = p384.utils.randomSecretKey(material);
  return {
    publicKey: p384.getPublicKey(secretKey, false),
    sign: (message) => p384.sign(message, secretKey, { lowS: false, format: 'compact' }),
  };
}
