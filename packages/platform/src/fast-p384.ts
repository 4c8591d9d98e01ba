/**
 * ECDSA on P-384 in a small WebAssembly module: half the time of OpenSSL, which has no fast code for this curve, and a tenth of
 * that of portable JavaScript. For Node and browsers; the caller brings the bytes of `build/p384.wasm` of this package.
 */
import { type CryptoProvider, sha256, toHex, UsageError } from '@haca/primitives';
import { type WasmMemory, webAssembly } from './web-assembly.ts';

/**
 * SHA-256 of the module. Nodes must agree on every answer, so only the code that was reviewed and tested answers, never one of other
 * sources or a damaged one. The build gives the same bytes everywhere; who changes sources, options or compiler changes this.
 */
const MODULE_SHA256 = '995cee5be86b219eadacf86aa0b2ef4826c36f054321e51bc3a3033031c9acd5';

const COORDINATE_BYTES = 48;
const KEY_BYTES = 1 + 2 * COORDINATE_BYTES;
const SIGNATURE_BYTES = 2 * COORDINATE_BYTES;

interface Exports {
  readonly memory: WasmMemory;
  readonly inputStart: () => number;
  readonly verify: () => number;
}

/** Key 97 bytes (0x04 || x || y), SHA-384 digest 48 bytes, signature r || s 96 bytes; false for all other inputs. */
export type VerifyP384Digest = (publicKey: Uint8Array, digest: Uint8Array, signature: Uint8Array) => boolean;

/** Throws `UsageError` where the bytes are not those of this version's module. */
export function openFastP384(moduleBytes: Uint8Array): VerifyP384Digest {
  const bytes = new Uint8Array(moduleBytes);
  const digest = toHex(sha256(bytes));
  if (digest !== MODULE_SHA256)
    throw new UsageError(`the P-384 module has SHA-256 ${digest}, where this version has ${MODULE_SHA256}`);
  const module = new webAssembly.Module(bytes);
  const { memory, inputStart, verify } = new webAssembly.Instance(module).exports as unknown as Exports;
  const input = new Uint8Array(memory.buffer, inputStart(), 5 * COORDINATE_BYTES);
  return (publicKey, digest, signature) => {
    if (publicKey.length !== KEY_BYTES || publicKey[0] !== 4) return false;
    if (signature.length !== SIGNATURE_BYTES || digest.length !== COORDINATE_BYTES) return false;
    input.set(publicKey.subarray(1));
    input.set(signature, 2 * COORDINATE_BYTES);
    input.set(digest, 4 * COORDINATE_BYTES);
    return verify() === 1;
  };
}

/** `crypto` with P-384 verified by the module that `open` gives, asked each time; where it gives null, by `crypto` itself. */
export function withFastP384(crypto: CryptoProvider, open: () => VerifyP384Digest | null): CryptoProvider {
  return {
    ...crypto,
    verifyEcdsaP384: (publicKey, message, signature) => {
      const verifyDigest = open();
      return verifyDigest === null
        ? crypto.verifyEcdsaP384(publicKey, message, signature)
        : verifyDigest(publicKey, crypto.sha384(message), signature);
    },
  };
}
