/**
 * ECDSA on P-384 in a small WebAssembly module: half the time of OpenSSL, which has no fast code for this curve, and a tenth of
 * that of portable JavaScript. For Node and browsers; the caller brings the bytes of `build/p384.wasm` of this package.
 */
import type { CryptoProvider } from '@haca/primitives';
import { type WasmMemory, webAssembly } from './web-assembly.ts';

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

/** Throws where the bytes are no module of this kind. */
export function openFastP384(moduleBytes: Uint8Array): VerifyP384Digest {
  const module = new webAssembly.Module(new Uint8Array(moduleBytes));
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
