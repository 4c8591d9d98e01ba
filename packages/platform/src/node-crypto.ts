import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { type CryptoProvider, installSha256, isAdmissibleEd25519 } from '@haca/primitives';
import { boundedCache } from './bounded-cache.ts';

const digest = (algorithm: string) => (bytes: Uint8Array) => {
  const buffer = hash(algorithm, bytes, 'buffer');
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
};

const sha256 = digest('sha256');

const ED25519_SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const P256_SPKI_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
const P384_SPKI_PREFIX = Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex');

/** Keys recur (node keys, session keys, CA keys), and each import costs time and memory outside the heap. */
function openKeyImport(spkiPrefix: Buffer): (publicKey: Uint8Array) => KeyObject | null {
  const known = boundedCache<KeyObject | null>(4096);
  return (publicKey) => {
    const { buffer, byteOffset, length } = publicKey;
    return known(Buffer.from(buffer, byteOffset, length).toString('latin1'), () => {
      try {
        const key = Buffer.concat([spkiPrefix, publicKey]);
        return createPublicKey({ key, format: 'der', type: 'spki' });
      } catch {
        return null;
      }
    });
  };
}

const importEd25519 = openKeyImport(ED25519_SPKI_PREFIX);

function verifyEcdsa(spkiPrefix: Buffer, hashName: string, keyBytes: number, signatureBytes: number) {
  const importKey = openKeyImport(spkiPrefix);
  return (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
    if (publicKey.length !== keyBytes || publicKey[0] !== 4 || signature.length !== signatureBytes)
      return false;
    const key = importKey(publicKey);
    return key !== null && verify(hashName, message, { key, dsaEncoding: 'ieee-p1363' }, signature);
  };
}

/** Native crypto of Node: the implementation that nodes run. */
export const nodeCrypto: CryptoProvider = {
  name: 'node',
  sha256,
  sha384: digest('sha384'),
  sha512: digest('sha512'),
  verifyEd25519: (publicKey, message, signature) => {
    if (!isAdmissibleEd25519(publicKey, signature)) return false;
    const key = importEd25519(publicKey);
    return key !== null && verify(null, message, key, signature);
  },
  verifyEcdsaP256: verifyEcdsa(P256_SPKI_PREFIX, 'sha256', 65, 64),
  verifyEcdsaP384: verifyEcdsa(P384_SPKI_PREFIX, 'sha384', 97, 96),
};

installSha256(sha256);
