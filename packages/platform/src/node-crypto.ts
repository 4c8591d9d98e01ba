import { constants, createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type CryptoProvider, installSha256, isAdmissibleEd25519 } from '@haca/primitives';
import { boundedCache } from './bounded-cache.ts';
import { openFastP384, type VerifyP384Digest, withFastP384 } from './fast-p384.ts';
import { rsaModulus } from './rsa-key.ts';

const digest = (algorithm: string) => (bytes: Uint8Array) => {
  const buffer = hash(algorithm, bytes, 'buffer');
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
};

const sha256 = digest('sha256');

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

export type SignatureScheme = 'ed25519' | 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-pss-sha384' | 'rsa-pkcs1-sha256';

/** One signature check by value, with keys and signatures as `CryptoProvider` takes them. */
export interface SignatureCheck {
  readonly scheme: SignatureScheme;
  readonly publicKey: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

interface NativeScheme {
  readonly hashName: string | null;
  readonly admits: (publicKey: Uint8Array, signature: Uint8Array) => boolean;
  readonly importKey: (publicKey: Uint8Array) => KeyObject | null;
  /** As OpenSSL takes it. Naming its form in the key argument instead costs more than this and the call together. */
  readonly nativeSignature: (signature: Uint8Array) => Uint8Array;
  /** RSA only. */
  readonly padding?: { readonly padding: number; readonly saltLength?: number };
}

function ecdsa(spkiPrefix: string, hashName: string, keyBytes: number, signatureBytes: number): NativeScheme {
  return {
    hashName,
    admits: (publicKey, signature) =>
      publicKey.length === keyBytes && publicKey[0] === 4 && signature.length === signatureBytes,
    importKey: openKeyImport(Buffer.from(spkiPrefix, 'hex')),
    nativeSignature: derSignature,
  };
}

/** r || s as the DER of `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279 section 2.2.3), at most 104 bytes. */
function derSignature(signature: Uint8Array): Uint8Array {
  const width = signature.length / 2;
  const der = new Uint8Array(signature.length + 8);
  const middle = putInteger(der, 2, signature, 0, width);
  const end = putInteger(der, middle, signature, width, signature.length);
  der[0] = 0x30;
  der[1] = end - 2;
  return der.subarray(0, end);
}

/** Writes `bytes` from `from` to before `to` as a non-negative INTEGER at `at`; returns where the next goes. */
function putInteger(der: Uint8Array, at: number, bytes: Uint8Array, from: number, to: number): number {
  let first = from;
  while (first < to - 1 && bytes[first] === 0) first++;
  const padding = (bytes[first] as number) >= 0x80 ? 1 : 0;
  der[at] = 0x02;
  der[at + 1] = to - first + padding;
  for (let i = first; i < to; i++) der[at + 2 + padding + i - first] = bytes[i] as number;
  return at + 2 + padding + to - first;
}

type NativeSchemes = Readonly<Record<SignatureScheme, NativeScheme>>;

/** Each with imported keys of its own. */
function openSchemes(): NativeSchemes {
  const rsa = { admits: () => true, importKey: openRsaKeyImport(), nativeSignature: same };
  return {
    ed25519: {
      hashName: null,
      admits: isAdmissibleEd25519,
      importKey: openKeyImport(Buffer.from('302a300506032b6570032100', 'hex')),
      nativeSignature: same,
    },
    'ecdsa-p256': ecdsa('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'sha256', 65, 64),
    'ecdsa-p384': ecdsa('3076301006072a8648ce3d020106052b81040022036200', 'sha384', 97, 96),
    'rsa-pss-sha384': {
      ...rsa,
      hashName: 'sha384',
      padding: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 },
    },
    'rsa-pkcs1-sha256': { ...rsa, hashName: 'sha256', padding: { padding: constants.RSA_PKCS1_PADDING } },
  };
}

function same(signature: Uint8Array): Uint8Array {
  return signature;
}

function openRsaKeyImport(): (publicKey: Uint8Array) => KeyObject | null {
  const known = boundedCache<KeyObject | null>(256);
  return (publicKey) => {
    if (rsaModulus(publicKey) === null) return null;
    const key = Buffer.from(publicKey);
    return known(key.toString('latin1'), () => {
      try {
        return createPublicKey({ key, format: 'der', type: 'pkcs1' });
      } catch {
        return null;
      }
    });
  };
}

const SCHEMES = openSchemes();

/** What OpenSSL is asked, or null where the answer is no without asking. */
function nativeInput(schemes: NativeSchemes, { scheme, publicKey, signature }: SignatureCheck) {
  const { hashName, admits, importKey, nativeSignature, padding } = schemes[scheme];
  if (!admits(publicKey, signature)) return null;
  const imported = importKey(publicKey);
  if (imported === null) return null;
  const key = padding === undefined ? imported : { key: imported, ...padding };
  return { hashName, key, signature: nativeSignature(signature) };
}

function verifySignature(schemes: NativeSchemes, check: SignatureCheck): boolean {
  const input = nativeInput(schemes, check);
  return input !== null && verify(input.hashName, check.message, input.key, input.signature);
}

/**
 * The answer of `nodeCrypto`, computed on libuv's thread pool (`UV_THREADPOOL_SIZE`). A rejection says that no answer could
 * be computed, for want of memory or threads: it says nothing about the signature.
 */
export function verifySignatureAsync(check: SignatureCheck): Promise<boolean> {
  const input = nativeInput(SCHEMES, check);
  if (input === null) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(input.hashName, check.message, input.key, input.signature, (error, holds) => {
      if (error === null) resolve(holds);
      else reject(error);
    });
  });
}

const verifierOf =
  (schemes: NativeSchemes, scheme: SignatureScheme) =>
  (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
    verifySignature(schemes, { scheme, publicKey, message, signature });

const P384_MODULE = new URL('../build/p384.wasm', import.meta.url);
let fastP384: VerifyP384Digest | null | undefined;

/** The module of this version, or null where that can't be had: then OpenSSL answers, the same in twice the time. */
export function openP384File(file: URL): VerifyP384Digest | null {
  try {
    return openFastP384(readFileSync(file));
  } catch {
    return null;
  }
}

/** Opened at first use. */
function openNodeP384(): VerifyP384Digest | null {
  if (fastP384 === undefined) fastP384 = openP384File(P384_MODULE);
  return fastP384;
}

function providerOf(schemes: NativeSchemes): CryptoProvider {
  const native: CryptoProvider = {
    name: 'node',
    sha256,
    sha384: digest('sha384'),
    sha512: digest('sha512'),
    verifyEd25519: verifierOf(schemes, 'ed25519'),
    verifyEcdsaP256: verifierOf(schemes, 'ecdsa-p256'),
    verifyEcdsaP384: verifierOf(schemes, 'ecdsa-p384'),
    verifyRsaPssSha384: verifierOf(schemes, 'rsa-pss-sha384'),
    verifyRsaPkcs1Sha256: verifierOf(schemes, 'rsa-pkcs1-sha256'),
  };
  return withFastP384(native, openNodeP384);
}

/** Native crypto of Node: the implementation that nodes run. It keeps the keys it imported, a bounded number. */
export const nodeCrypto: CryptoProvider = providerOf(SCHEMES);

/** The same answers from a provider that has imported no key yet: what a first look at evidence costs. */
export function openNodeCrypto(): CryptoProvider {
  return providerOf(openSchemes());
}

installSha256(sha256);
