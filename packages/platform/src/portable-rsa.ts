/** RSA signature verification (RFC 8017) in plain JavaScript. Nothing here is secret, so nothing has to be constant in time. */
import { bytesEqual, concatBytes, fromHex, toHex } from '@haca/primitives';
import { sha256, sha384 } from '@noble/hashes/sha2.js';
import { rsaModulus } from './rsa-key.ts';

const HASH_BYTES = 48;
const SALT_BYTES = 48;
/** DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2, note 1). */
const SHA256_DIGEST_INFO = fromHex('3031300d060960864801650304020105000420');

/** signature^65537 mod n as bytes of the modulus' length; null where key or signature is not of its form. */
function encodedMessage(publicKey: Uint8Array, signature: Uint8Array): Uint8Array | null {
  const modulus = rsaModulus(publicKey);
  if (modulus === null || signature.length !== modulus.length) return null;
  const n = BigInt(`0x${toHex(modulus)}`);
  const s = BigInt(`0x${toHex(signature)}`);
  if (s >= n) return null;
  let power = s;
  for (let squaring = 0; squaring < 16; squaring++) power = (power * power) % n;
  return fromHex(((power * s) % n).toString(16).padStart(2 * modulus.length, '0'));
}

/** Section 9.1.2: the modulus has a multiple of 8 bits, so one bit of the first byte is left over. */
export function verifyRsaPssSha384(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encoded = encodedMessage(publicKey, signature);
  if (encoded === null || encoded[encoded.length - 1] !== 0xbc) return false;
  const maskedBytes = encoded.length - HASH_BYTES - 1;
  const digest = encoded.subarray(maskedBytes, encoded.length - 1);
  if ((encoded[0] as number) >= 0x80) return false;
  const block = xor(encoded.subarray(0, maskedBytes), mgf1(digest, maskedBytes));
  block[0] = (block[0] as number) & 0x7f;
  const saltAt = maskedBytes - SALT_BYTES;
  if (block[saltAt - 1] !== 1 || block.subarray(0, saltAt - 1).some((byte) => byte !== 0)) return false;
  const salted = concatBytes(new Uint8Array(8), sha384(message), block.subarray(saltAt));
  return bytesEqual(sha384(salted), digest);
}

function mgf1(seed: Uint8Array, sizeBytes: number): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (let counter = 0; counter * HASH_BYTES < sizeBytes; counter++) {
    blocks.push(sha384(concatBytes(seed, Uint8Array.of(0, 0, 0, counter))));
  }
  return concatBytes(...blocks).subarray(0, sizeBytes);
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, at) => byte ^ (b[at] as number));
}

/** Section 9.2: one encoding only, compared as a whole. */
export function verifyRsaPkcs1Sha256(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encoded = encodedMessage(publicKey, signature);
  if (encoded === null) return false;
  const tail = concatBytes(SHA256_DIGEST_INFO, sha256(message));
  const expected = new Uint8Array(encoded.length).fill(0xff);
  expected[0] = 0;
  expected[1] = 1;
  expected[expected.length - tail.length - 1] = 0;
  expected.set(tail, expected.length - tail.length);
  return bytesEqual(encoded, expected);
}
