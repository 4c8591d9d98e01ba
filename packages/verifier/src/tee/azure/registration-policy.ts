import type { CryptoProvider } from '@haca/primitives';
import { type RegistrationBinding, registrationBindingHash } from '@haca/protocol';
import type { AzurePolicy } from './validate.ts';

/** What a TPM quote must carry to back this registration: all 64 bytes of the binding hash. */
export function azureRegistrationPolicy(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
): Pick<AzurePolicy, 'extraData'> {
  return { extraData: registrationBindingHash(crypto, binding) };
}
