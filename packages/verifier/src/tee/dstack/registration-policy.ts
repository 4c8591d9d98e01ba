import type { CryptoProvider } from '@haca/primitives';
import { type RegistrationBinding, registrationBindingHash } from '@haca/protocol';
import type { DstackPolicy } from './validate.ts';

/** What a dstack guest's quote must carry to back this registration: the binding hash as report data. */
export function dstackRegistrationPolicy(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
): Pick<DstackPolicy, 'reportData'> {
  return { reportData: registrationBindingHash(crypto, binding) };
}
