import { gpuNonceOf, type RegistrationBinding } from '@haca/protocol';
import type { NvidiaPolicy } from './validate.ts';

/** What a report must carry to back this registration: the nonce made of its signing key and its reference block. */
export function nvidiaRegistrationPolicy(binding: RegistrationBinding): Pick<NvidiaPolicy, 'nonce'> {
  return { nonce: gpuNonceOf(binding) };
}
