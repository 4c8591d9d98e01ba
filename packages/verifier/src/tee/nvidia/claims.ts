import { arrayOf, bytesOf, domainHash, encode, field, struct, type TypeOf } from '@haca/primitives';
import type { TeeClaims } from '../claims.ts';
import type { NvidiaFields } from './fields.ts';
import type { NvidiaDevice } from './names.ts';
import type { OpaqueData } from './opaque-data.ts';
import type { MeasurementBlock } from './report.ts';

/** What an NVIDIA report says once its chain and signature were verified. */
export interface NvidiaClaims extends TeeClaims, NvidiaFields, Omit<NvidiaDevice, 'type'> {
  readonly kind: 'nvidia';
  readonly deviceType: NvidiaDevice['type'];
  /** Serial number of the certificate of the device's identity key: the same whatever firmware runs. */
  readonly deviceSerial: Uint8Array;
  /** The nonce it was asked with: 32 bytes. */
  readonly nonce: Uint8Array;
  readonly blocks: readonly MeasurementBlock[];
  /** Every field NVIDIA appended, by its type. */
  readonly opaque: OpaqueData;
  /** Flags of the firmware's statement that mean it can be tampered with; null where its form has no flags (Hopper, LS10). */
  readonly diceFlags: readonly string[] | null;
  /** SHA-256 of each certificate, root first, leaf last. */
  readonly certificateSha256: readonly Uint8Array[];
}

const identityCodec = struct({
  /** SHA-256 of what is signed of each certificate: a certificate's signature isn't covered by the report, and has a twin. */
  tbsSha256: field(0, arrayOf(bytesOf(32), 8)),
  signed: field(1, bytesOf(1, 16_384)),
});

/** SHA-256 over domain `haca/nvidia-claims/1` and the deterministic CBOR of what is signed: 32 bytes. */
export function nvidiaClaimsDigest(identity: TypeOf<typeof identityCodec>): Uint8Array {
  return domainHash('haca/nvidia-claims/1', encode(identityCodec, identity));
}
