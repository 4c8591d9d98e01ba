/** Key pairs that sign certificates and documents of test enclaves: made from a seed, so that one seed gives the same bytes. */
import { hkdfSync } from 'node:crypto';
import { UsageError } from '@haca/primitives';
import { p256, p384 } from '@noble/curves/nist.js';
import { derBitString, derOid, derSequence, derUnsigned } from './der-writer.ts';

/** What a certificate needs of the key that signs it, and of the key it is about. The private half stays inside. */
export interface Signer {
  /** AlgorithmIdentifier of its signatures, DER. */
  readonly algorithm: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly keyInfo: Uint8Array;
  /** Content of the BIT STRING of a signature over the message. */
  readonly signatureBits: (message: Uint8Array) => Uint8Array;
}

export interface EcSigner extends Signer {
  /** Uncompressed point: 65 bytes (P-256) or 97 (P-384). */
  readonly publicKey: Uint8Array;
  /** ECDSA over the hash of the curve's width: r || s. Deterministic (RFC 6979), s as it falls. */
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** ECDSA with SHA-384: signatures of 96 bytes. */
export type P384Signer = EcSigner;
/** ECDSA with SHA-256: signatures of 64 bytes. */
export type P256Signer = EcSigner;

const EC_PUBLIC_KEY = derOid('1.2.840.10045.2.1');
const SEED_MIN_BYTES = 16;

interface Curve {
  readonly point: typeof p384;
  /** Bytes of key material that leave no bias when reduced to a scalar. */
  readonly materialBytes: number;
  readonly oid: string;
  readonly algorithm: string;
}

const P384: Curve = { point: p384, materialBytes: 72, oid: '1.3.132.0.34', algorithm: '1.2.840.10045.4.3.3' };
const P256: Curve = {
  point: p256,
  materialBytes: 48,
  oid: '1.2.840.10045.3.1.7',
  algorithm: '1.2.840.10045.4.3.2',
};

/** The key that `seed` (at least 16 bytes) and `label` name: HKDF-SHA-512 (RFC 5869), reduced. */
export function p384SignerFromSeed(seed: Uint8Array, label: string): P384Signer {
  return ecSigner(P384, seed, label);
}

export function p256SignerFromSeed(seed: Uint8Array, label: string): P256Signer {
  return ecSigner(P256, seed, label);
}

/** `length` bytes that seed and label name. */
export function bytesFromSeed(seed: Uint8Array, label: string, length: number): Uint8Array {
  if (seed.length < SEED_MIN_BYTES)
    throw new UsageError(`a seed has at least ${SEED_MIN_BYTES} bytes, this has ${seed.length}`);
  return new Uint8Array(hkdfSync('sha512', seed, '', label, length));
}

function ecSigner(
  { point, materialBytes, oid, algorithm }: Curve,
  seed: Uint8Array,
  label: string,
): EcSigner {
  const secretKey = point.utils.randomSecretKey(bytesFromSeed(seed, label, materialBytes));
  const publicKey = point.getPublicKey(secretKey, false);
  const sign = (message: Uint8Array): Uint8Array =>
    point.sign(message, secretKey, { lowS: false, format: 'compact' });
  return {
    algorithm: derSequence(derOid(algorithm)),
    keyInfo: derSequence(derSequence(EC_PUBLIC_KEY, derOid(oid)), derBitString(publicKey)),
    publicKey,
    sign,
    signatureBits: (message) => ecdsaSignatureToDer(sign(message)),
  };
}

/** r || s to ECDSA-Sig-Value (RFC 3279 section 2.2.3). */
export function ecdsaSignatureToDer(signature: Uint8Array): Uint8Array {
  const half = signature.length / 2;
  return derSequence(derUnsigned(signature.subarray(0, half)), derUnsigned(signature.subarray(half)));
}
