import type { CryptoProvider } from '@haca/primitives';
import { type RegistrationBinding, registrationBindingHash } from '@haca/protocol';
import type { SnpPolicy } from './validate.ts';

/** What a report must carry to back this registration: the binding hash as report data, asked for at the highest privilege. */
export function snpRegistrationPolicy(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
): Pick<SnpPolicy, 'reportData' | 'vmpl'> {
  return { reportData: registrationBindingHash(crypto, binding), vmpl: 0 };
}
