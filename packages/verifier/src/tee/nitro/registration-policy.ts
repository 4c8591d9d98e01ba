import type { CryptoProvider } from '@haca/primitives';
import { type RegistrationBinding, registrationBindingHash } from '@haca/protocol';
import type { NitroPolicy } from './validate.ts';

/**
 * What a document must carry to back this registration: the binding hash as user data, the signing key as public key and
 * the reference block hash as nonce.
 */
export function nitroRegistrationPolicy(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
): Pick<NitroPolicy, 'userData' | 'publicKey' | 'nonce'> {
  return {
    userData: registrationBindingHash(crypto, binding),
    publicKey: binding.signPublicKey,
    nonce: binding.refBlockHash,
  };
}
