/** Signatures that verified once are not verified again: certificates and collateral recur. */
import type { CryptoProvider } from '@haca/primitives';

type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;

/**
 * `crypto`, whose positive answers are remembered, at most `entriesMax` of them (at least the newest half), by the SHA-256
 * over scheme, lengths, key, signature and message: about 100 bytes each. The answers are those of `crypto`, whatever is
 * remembered; a signature that does not verify is verified again each time, so a stream of bad ones drives out no good one.
 */
export function rememberSignatures(crypto: CryptoProvider, entriesMax: number): CryptoProvider {
  let recent = new Set<string>();
  let older = new Set<string>();
  const remember = (name: string): void => {
    if (2 * (recent.size + 1) > entriesMax) {
      older = recent;
      recent = new Set();
    }
    recent.add(name);
  };
  const remembering =
    (scheme: number, verify: Verify): Verify =>
    (publicKey, message, signature) => {
      const name = nameOf(crypto, scheme, publicKey, message, signature);
      if (recent.has(name)) return true;
      if (!older.has(name) && !verify(publicKey, message, signature)) return false;
      remember(name);
      return true;
    };
  return {
    ...crypto,
    verifyEd25519: remembering(1, crypto.verifyEd25519),
    verifyEcdsaP256: remembering(2, crypto.verifyEcdsaP256),
    verifyEcdsaP384: remembering(3, crypto.verifyEcdsaP384),
    verifyRsaPssSha384: remembering(4, crypto.verifyRsaPssSha384),
    verifyRsaPkcs1Sha256: remembering(5, crypto.verifyRsaPkcs1Sha256),
  };
}

/** Nobody finds two checks of one name: the lengths keep the parts apart. */
function nameOf(
  { sha256 }: CryptoProvider,
  scheme: number,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): string {
  const input = new Uint8Array(9 + publicKey.length + signature.length + message.length);
  const lengths = new DataView(input.buffer);
  lengths.setUint8(0, scheme);
  lengths.setUint32(1, publicKey.length);
  lengths.setUint32(5, signature.length);
  input.set(publicKey, 9);
  input.set(signature, 9 + publicKey.length);
  input.set(message, 9 + publicKey.length + signature.length);
  return String.fromCharCode(...sha256(input));
}
