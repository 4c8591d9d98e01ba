import { sha256 as portableSha256 } from '@noble/hashes/sha2.js';
import { bytesEqual, utf8Encode } from './bytes.ts';
import { UsageError } from './errors.ts';
import { fromHex } from './hex.ts';

export type HashFunction = (bytes: Uint8Array) => Uint8Array;

let implementation: HashFunction = portableSha256;

/** SHA-256 (FIPS 180-4), 32 bytes. Portable unless a platform installed a faster implementation. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return implementation(bytes);
}

/**
 * Installs a faster SHA-256 for this process. A hash is a fixed function, so which implementation runs can be seen in
 * time only; the published digests below are checked first. See docs/adr/0003-sha256-is-installed-once.md.
 */
export function installSha256(faster: HashFunction): void {
  for (const [text, digest] of SHA256_KNOWN_ANSWERS) {
    if (!bytesEqual(faster(utf8Encode(text)), fromHex(digest))) {
      throw new UsageError(`the SHA-256 to install gives a wrong digest for ${JSON.stringify(text)}`);
    }
  }
  implementation = faster;
}

/** FIPS 180-4 examples. */
const SHA256_KNOWN_ANSWERS: readonly (readonly [string, string])[] = [
  ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
  [
    'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq',
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  ],
];

const domainPrefixes = new Map<string, Uint8Array>();

/**
 * `domain || 0x00`, the prefix of everything that is hashed or signed outside COSE. Domains are printable ASCII such as
 * `haca/receipt/1`, so no domain with its terminator is a prefix of another and no two uses share an input.
 */
export function domainPrefix(domain: string): Uint8Array {
  const known = domainPrefixes.get(domain);
  if (known !== undefined) return known;
  if (!/^haca\/[a-z0-9-]+(\/[a-z0-9-]+)*\/[0-9]+$/.test(domain)) {
    throw new UsageError(`a domain looks like haca/receipt/1, this is ${JSON.stringify(domain)}`);
  }
  const prefix = utf8Encode(`${domain}\0`);
  domainPrefixes.set(domain, prefix);
  return prefix;
}

/** SHA-256(domain || 0x00 || bytes): 32 bytes. `bytes` must be an injective encoding of what is hashed. */
export function domainHash(domain: string, bytes: Uint8Array): Uint8Array {
  const prefix = domainPrefix(domain);
  const input = new Uint8Array(prefix.length + bytes.length);
  input.set(prefix);
  input.set(bytes, prefix.length);
  return sha256(input);
}
