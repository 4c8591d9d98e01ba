import {
  arrayOf,
  bytesOf,
  domainHash,
  encode,
  field,
  nullable,
  struct,
  type TypeOf,
  textOf,
  uint,
  uintMapOf,
} from '@haca/primitives';
import type { TeeClaims } from '../claims.ts';
import { NITRO_LIMITS, type NitroPayload, PCR_BYTES } from './parse.ts';

/** What a Nitro document says once its chain and signature were verified. */
export interface NitroClaims extends TeeClaims, Omit<NitroPayload, 'certificate' | 'cabundle'> {
  readonly kind: 'nitro';
  /** PCR0, PCR1 or PCR2 is missing or zero: the enclave runs in debug mode. */
  readonly isDebug: boolean;
  /** SHA-256 of each certificate, root first, leaf last. */
  readonly certificateSha256: readonly Uint8Array[];
  readonly leafNotAfterMs: number;
}

const optionalBytes = nullable(bytesOf(0, NITRO_LIMITS.fieldBytes));

const identityCodec = struct({
  certificateSha256: field(0, arrayOf(bytesOf(32), NITRO_LIMITS.cabundleEntries + 1)),
  moduleId: field(1, textOf(1, NITRO_LIMITS.moduleIdBytes)),
  timestampMs: field(2, uint()),
  digest: field(3, textOf(1, 16)),
  pcrs: field(4, uintMapOf(NITRO_LIMITS.pcrs - 1, bytesOf(PCR_BYTES), NITRO_LIMITS.pcrs)),
  publicKey: field(5, optionalBytes),
  userData: field(6, optionalBytes),
  nonce: field(7, optionalBytes),
});

/** SHA-256 over domain `haca/nitro-claims/1` and the deterministic CBOR of the claims: 32 bytes. */
export function nitroClaimsDigest(
  claims: Omit<TypeOf<typeof identityCodec>, 'pcrs'> & Pick<NitroPayload, 'pcrs'>,
): Uint8Array {
  const pcrs = [...claims.pcrs].sort(([a], [b]) => a - b);
  return domainHash('haca/nitro-claims/1', encode(identityCodec, { ...claims, pcrs }));
}

/** A production enclave has measurements in PCR0 to PCR2; AWS zeroes them in debug mode. Any gap counts as debug. */
export function isDebugMode(pcrs: ReadonlyMap<number, Uint8Array>): boolean {
  return [0, 1, 2].some((index) => pcrs.get(index)?.every((byte) => byte === 0) ?? true);
}

/** PCRs as registers: `pcr0` to `pcr31`. */
export function pcrRegisters(pcrs: ReadonlyMap<number, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  return new Map([...pcrs].map(([index, value]) => [`pcr${index}`, value]));
}
