import type { CryptoProvider } from '@haca/primitives';
import { type RegistrationBinding, registrationBindingHash } from '@haca/protocol';
import type { IntelPolicy } from './policy.ts';

/** What a quote must carry to back this registration: the binding hash as report data, all 64 bytes. */
export function intelRegistrationPolicy(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
): Pick<IntelPolicy, 'reportData'> {
  return { reportData: registrationBindingHash(crypto, binding) };
}
