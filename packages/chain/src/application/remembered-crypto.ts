import { boundedCache } from '@haca/platform';
import { type CryptoProvider, concatBytes, toHex } from '@haca/primitives';

const TRIPLES_MAX = 65_536;

/**
 * The same provider, remembering Ed25519 verifications: what CheckTx verified, the block need not verify again. The answer
 * is a pure function of the three values, so a cache, whatever it holds, never changes a result.
 */
export function rememberSignatures(crypto: CryptoProvider): CryptoProvider {
  const cached = boundedCache<boolean>(TRIPLES_MAX);
  return {
    ...crypto,
    verifyEd25519: (publicKey, message, signature) => {
      // Lengths are checked first: joined, the three must be unambiguous.
      if (publicKey.length !== 32 || signature.length !== 64) return false;
      const name = toHex(crypto.sha256(concatBytes(publicKey, signature, message)));
      return cached(name, () => crypto.verifyEd25519(publicKey, message, signature));
    },
  };
}
