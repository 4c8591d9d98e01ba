import { bytesEqual, type CryptoProvider, concatBytes, isAdmissibleEd25519 } from '@haca/primitives';
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384 } from '@noble/curves/nist.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { verifyRsaPkcs1Sha256, verifyRsaPssSha384 } from './portable-rsa.ts';

function total(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}

/** encode(S*B - k*A) = R, the equation without cofactor: what native libraries evaluate. */
function verifyEd25519Equation(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const r = signature.subarray(0, 32);
  const order = ed25519.Point.Fn.ORDER;
  const s = littleEndian(signature.subarray(32));
  const k = littleEndian(sha512(concatBytes(r, publicKey, message))) % order;
  const a = ed25519.Point.fromBytes(publicKey);
  const sB = s === 0n ? ed25519.Point.ZERO : ed25519.Point.BASE.multiplyUnsafe(s);
  const kA = k === 0n ? ed25519.Point.ZERO : a.multiplyUnsafe(k);
  return bytesEqual(sB.subtract(kA).toBytes(), r);
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
  return value;
}

/** Pure JavaScript for browsers and for differential tests; 10 to 25 times slower than native. */
export const portableCrypto: CryptoProvider = {
  name: 'portable',
  sha256,
  sha384,
  sha512,
  verifyEd25519: (publicKey, message, signature) =>
    isAdmissibleEd25519(publicKey, signature) &&
    total(() => verifyEd25519Equation(publicKey, message, signature)),
  verifyEcdsaP256: (publicKey, message, signature) =>
    publicKey.length === 65 &&
    signature.length === 64 &&
    total(() =>
      p256.verify(signature, sha256(message), publicKey, {
        lowS: false,
        prehash: false,
        format: 'compact',
      }),
    ),
  verifyEcdsaP384: (publicKey, message, signature) =>
    publicKey.length === 97 &&
    signature.length === 96 &&
    total(() =>
      p384.verify(signature, sha384(message), publicKey, {
        lowS: false,
        prehash: false,
        format: 'compact',
      }),
    ),
  verifyRsaPssSha384,
  verifyRsaPkcs1Sha256,
};
