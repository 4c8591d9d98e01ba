/** RSA keys of 4096 bits made from a seed, and RSASSA-PSS (RFC 8017) with a salt made from key and message: one seed, one certificate. */
import { checkPrimeSync, constants, createPrivateKey, privateEncrypt } from 'node:crypto';
import { concatBytes, toHex, UsageError } from '@haca/primitives';
import { digest } from './authority.ts';
import { derBitString, derElement, derExplicit, derOid, derSequence, derUnsigned } from './der-writer.ts';
import { bytesFromSeed, type Signer } from './signers.ts';

const PRIME_BITS = 2048;
const MODULUS_BYTES = 512;
const EXPONENT = 65_537n;
const HASH_BYTES = 48;
const SIEVE_LIMIT = 20_000;

const NULL = derElement(0x05);
const SHA384 = derSequence(derOid('2.16.840.1.101.3.4.2.2'), NULL);
/** As AMD writes it: SHA-384, MGF1 with SHA-384, 48 bytes of salt, and the trailer field that DER would leave out. */
const PSS_SHA384 = derSequence(
  derOid('1.2.840.113549.1.1.10'),
  derSequence(
    derExplicit(0, SHA384),
    derExplicit(1, derSequence(derOid('1.2.840.113549.1.1.8'), SHA384)),
    derExplicit(2, derUnsigned(Uint8Array.of(HASH_BYTES))),
    derExplicit(3, derUnsigned(Uint8Array.of(1))),
  ),
);

/** Keys made before: roots of several product lines have them in common, and so have nodes of one process. */
const made = new Map<string, Signer>();
const MADE_MAX = 16;

/** The key that seed and label name. Takes about half a second, once in a process. */
export function rsaSignerFromSeed(seed: Uint8Array, label: string): Signer {
  const name = toHex(bytesFromSeed(seed, `${label} name`, 32));
  const signer = made.get(name) ?? makeSigner(seed, label);
  if (made.size < MADE_MAX) made.set(name, signer);
  return signer;
}

function makeSigner(seed: Uint8Array, label: string): Signer {
  const p = primeFromSeed(seed, `${label} p`);
  const q = primeFromSeed(seed, `${label} q`);
  if (p === q) throw new UsageError('two labels of one seed name the same prime');
  const modulus = p * q;
  const d = inverse(EXPONENT, (p - 1n) * (q - 1n));
  const jwk = {
    kty: 'RSA',
    n: base64url(modulus),
    e: base64url(EXPONENT),
    d: base64url(d),
    p: base64url(p),
    q: base64url(q),
    dp: base64url(d % (p - 1n)),
    dq: base64url(d % (q - 1n)),
    qi: base64url(inverse(q, p)),
  };
  const key = createPrivateKey({ key: jwk, format: 'jwk' });
  const saltSeed = bytesFromSeed(seed, `${label} salt`, 32);
  const publicKey = derSequence(derUnsigned(bytesOf(modulus)), derUnsigned(bytesOf(EXPONENT)));
  return {
    algorithm: PSS_SHA384,
    keyInfo: derSequence(derSequence(derOid('1.2.840.113549.1.1.1'), NULL), derBitString(publicKey)),
    signatureBits: (message) => {
      const salt = digest('sha384', concatBytes(saltSeed, message));
      const encoded = encodePss(message, salt);
      return new Uint8Array(privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, encoded));
    },
  };
}

/** EMSA-PSS (RFC 8017 section 9.1.1) for a modulus of 4096 bits. */
function encodePss(message: Uint8Array, salt: Uint8Array): Uint8Array {
  const hashed = digest('sha384', concatBytes(new Uint8Array(8), digest('sha384', message), salt));
  const block = new Uint8Array(MODULUS_BYTES - HASH_BYTES - 1);
  block[block.length - salt.length - 1] = 1;
  block.set(salt, block.length - salt.length);
  const mask = mgf1(hashed, block.length);
  const masked = block.map((byte, i) => byte ^ (mask[i] as number));
  masked[0] = (masked[0] as number) & 0x7f;
  return concatBytes(masked, hashed, Uint8Array.of(0xbc));
}

function mgf1(seed: Uint8Array, length: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(length / HASH_BYTES) }, (_, i) =>
    digest('sha384', concatBytes(seed, Uint8Array.of(i >>> 24, i >>> 16, i >>> 8, i))),
  );
  return concatBytes(...blocks).subarray(0, length);
}

const SMALL_PRIMES = smallPrimes(SIEVE_LIMIT);

/** The first prime at or above what seed and label name, with its two upper bits set. */
function primeFromSeed(seed: Uint8Array, label: string): bigint {
  const bytes = bytesFromSeed(seed, label, PRIME_BITS / 8);
  bytes[0] = (bytes[0] as number) | 0xc0;
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) | 1;
  const start = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  const remainders = SMALL_PRIMES.map((prime) => Number(start % BigInt(prime)));
  for (let step = 0; ; step += 2) {
    if (remainders.some((rest, i) => (rest + step) % (SMALL_PRIMES[i] as number) === 0)) continue;
    const candidate = start + BigInt(step);
    if (candidate % EXPONENT === 1n) continue;
    // One round throws out nearly all; the rest have to pass as many as the size asks for.
    if (checkPrimeSync(candidate, { checks: 1 }) && checkPrimeSync(candidate)) return candidate;
  }
}

function smallPrimes(limit: number): readonly number[] {
  const isComposite = new Uint8Array(limit);
  const primes: number[] = [];
  for (let candidate = 3; candidate < limit; candidate += 2) {
    if (isComposite[candidate] === 1) continue;
    primes.push(candidate);
    for (let multiple = candidate * candidate; multiple < limit; multiple += 2 * candidate)
      isComposite[multiple] = 1;
  }
  return primes;
}

/** Of `value` modulo `modulus`, by Euclid's algorithm. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b] = [value % modulus, modulus];
  let [x, y] = [1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b] = [b % a, a];
    [x, y] = [y - quotient * x, x];
  }
  return ((x % modulus) + modulus) % modulus;
}

function bytesOf(value: bigint): Uint8Array {
  const hex = value.toString(16);
  return new Uint8Array(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
}

function base64url(value: bigint): string {
  return Buffer.from(bytesOf(value)).toString('base64url');
}
