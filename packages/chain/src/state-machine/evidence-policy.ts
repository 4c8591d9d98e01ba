/** Changes of what evidence is judged by, each of which makes another version of it. */
import { concatBytes, domainHash } from '@haca/primitives';
import type { EvidencePolicyRecord } from '@haca/protocol';
import type { State } from './state.ts';
import { evidencePolicyOf, putEvidencePolicy } from './tables.ts';

/** `change` is the hash of all that was written besides, under a domain of its own; 32 bytes. */
export function changeEvidencePolicy(
  state: State,
  change: Uint8Array,
  members: Partial<Omit<EvidencePolicyRecord, 'version'>> = {},
): void {
  const policy = evidencePolicyOf(state);
  const version = domainHash('haca/evidence-policy/1', concatBytes(policy.version, change));
  putEvidencePolicy(state, { ...policy, ...members, version });
}
