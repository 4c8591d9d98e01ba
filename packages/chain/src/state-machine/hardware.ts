/** One chip, one operator: rows of the chips that keys name, and of those that validators decided about. */
import { bytesEqual, toHex } from '@haca/primitives';
import {
  type AssuranceTier,
  type Hardware,
  type HardwareRecord,
  hardwareIdOf,
  KEY_HARDWARE_MAX,
  type NodeKeyRecord,
} from '@haca/protocol';
import { type Refusal, refuse } from './refusal.ts';
import type { State } from './state.ts';
import { hardwares, recordedEvidence } from './tables.ts';
import type { EvidenceClaims } from './types.ts';

interface Owner {
  readonly operator: Uint8Array;
  readonly nodeId: Uint8Array;
}

/**
 * Enters all chips that a key's evidence names under its operator, a GPU under its node as well; their ids in the order of the
 * evidence. A chip named twice, held by another or revoked is refused, and then nothing counts that was written.
 */
export function takeHardware(
  state: State,
  documents: readonly EvidenceClaims[],
  owner: Owner,
): readonly Uint8Array[] | Refusal {
  const ids: Uint8Array[] = [];
  for (const { hardware: chips, simulated } of documents) {
    for (const hardware of chips) {
      const id = hardwareIdOf(hardware, simulated);
      if (ids.some((other) => bytesEqual(other, id))) {
        return refuse('E_HARDWARE', 'each chip once', `${nameOf(hardware)} twice`);
      }
      const refusal = takeChip(state, id, hardware, simulated, owner);
      if (refusal !== undefined) return refusal;
      ids.push(id);
    }
  }
  return ids.length <= KEY_HARDWARE_MAX
    ? ids
    : refuse('E_HARDWARE', `at most ${KEY_HARDWARE_MAX} chips`, ids.length);
}

function takeChip(
  state: State,
  id: Uint8Array,
  hardware: Hardware,
  simulated: boolean,
  { operator, nodeId }: Owner,
): Refusal | undefined {
  const known = hardwares.get(state, id);
  if (known?.revokedAt !== undefined)
    return refuse('E_HARDWARE', 'a chip in standing', `${nameOf(hardware)}, revoked`);
  const servesOneNode = hardware.vendor === 'nvidia';
  const holder = known?.holder;
  if (holder !== undefined && !bytesEqual(holder.operator, operator)) {
    return refuse('E_HARDWARE', 'a chip that serves no other operator', nameOf(hardware));
  }
  if (
    holder !== undefined &&
    servesOneNode &&
    (holder.nodeId === null || !bytesEqual(holder.nodeId, nodeId))
  ) {
    return refuse('E_HARDWARE', 'a GPU that serves no other node', nameOf(hardware));
  }
  const next: HardwareRecord = {
    ...(known ?? { hardware, simulated }),
    holder: { operator, nodeId: servesOneNode ? nodeId : null, keys: (holder?.keys ?? 0) + 1 },
  };
  hardwares.put(state, next, id);
  return undefined;
}

function nameOf({ vendor, id }: Hardware): string {
  return `${vendor} ${toHex(id)}`;
}

/** When a key is drained: the last one frees the chip, and what nobody decided about is forgotten. */
export function releaseHardware(state: State, keyId: Uint8Array, key: Pick<NodeKeyRecord, 'evidence'>): void {
  for (const id of recordedEvidence(state, keyId, key)?.hardware ?? []) {
    const known = hardwares.get(state, id);
    if (known?.holder === undefined) continue;
    const { holder, ...rest } = known;
    if (holder.keys > 1) {
      hardwares.put(state, { ...rest, holder: { ...holder, keys: holder.keys - 1 } }, id);
    } else if (rest.provider !== undefined || rest.revokedAt !== undefined) {
      hardwares.put(state, rest, id);
    } else {
      hardwares.remove(state, id);
    }
  }
}

/** What the evidence and the registry say about who can touch the machine. GPUs stand where the machine stands. */
export function tierOf(
  state: State,
  { hardware, simulated, cloud }: EvidenceClaims,
  gpus: readonly EvidenceClaims[],
): AssuranceTier {
  if (simulated || gpus.some((gpu) => gpu.simulated)) return 'simulated';
  if (cloud !== null) return 'cloud';
  const isRegistered = hardware.map((chip) => hardwares.get(state, hardwareIdOf(chip, false))?.provider);
  return hardware.length > 0 && isRegistered.every((provider) => provider !== undefined)
    ? 'registered-hardware'
    : 'unknown-host';
}
