import {
  arrayOf,
  bytesOf,
  type CryptoProvider,
  domainHash,
  encode,
  field,
  struct,
  textOf,
  uint,
} from '@haca/primitives';
import type { TeeClaims } from '../claims.ts';
import type { TdxClaims } from '../intel/tdx.ts';
import type { SplitLog } from './boot-log.ts';
import type { DstackRuntimeEvent } from './document.ts';

/** What a dstack guest says once its quote was verified and its log replayed. */
export interface DstackClaims extends TeeClaims {
  readonly kind: 'dstack';
  /** The quote's. RTMR3 is in it; what went into it is below. */
  readonly tdx: TdxClaims;
  /** 20 bytes: which application. Without a key server anybody may choose it. */
  readonly appId: Uint8Array;
  /** SHA-256 of the application's `app-compose.json`: which code. */
  readonly composeHash: Uint8Array;
  /** 20 bytes, or none where the application asked to have none. */
  readonly instanceId: Uint8Array;
  /** JSON, as it was measured: who gave the guest its keys. */
  readonly keyProvider: Uint8Array;
  /** Each null in images that don't extend it. */
  readonly osImageHash: Uint8Array | null;
  readonly mrKms: Uint8Array | null;
  /** What the application extended after the image was done: its own word. */
  readonly applicationEvents: readonly DstackRuntimeEvent[];
}

const identityCodec = struct({
  tdx: field(0, bytesOf(32)),
  events: field(
    1,
    arrayOf(
      struct({
        version: field(0, uint(2)),
        name: field(1, textOf(0, 128)),
        payload: field(2, bytesOf(0, 4096)),
      }),
      256,
    ),
  ),
});

/** Events that become registers as they are, where an image extends them. */
const REGISTER_EVENTS = [
  'app-id',
  'compose-hash',
  'instance-id',
  'os-image-hash',
  'rootfs-hash',
  'mr-kms',
  'storage-fs',
] as const;

/** `log` is one that `imageLogFault` found nothing wrong with. */
export function dstackClaimsOf(tdx: TdxClaims, log: SplitLog, { sha256 }: CryptoProvider): DstackClaims {
  const payloads = new Map(log.image.map(({ name, payload }) => [name, payload]));
  const required = (name: string): Uint8Array => payloads.get(name) as Uint8Array;
  const registers = new Map(tdx.registers);
  for (const name of REGISTER_EVENTS) {
    const payload = payloads.get(name);
    if (payload !== undefined && payload.length > 0) registers.set(name, payload);
  }
  registers.set('key-provider', sha256(required('key-provider')));
  const events = [...log.image, ...log.application];
  const { isSimulated, isDebug, evidenceEndMs, collateralEndMs, cloud, hardware, facts } = tdx;
  return {
    kind: 'dstack',
    ...{ isSimulated, isDebug, evidenceEndMs, collateralEndMs, cloud, hardware, facts },
    tdx,
    registers,
    appId: required('app-id'),
    composeHash: required('compose-hash'),
    instanceId: required('instance-id'),
    keyProvider: required('key-provider'),
    osImageHash: payloads.get('os-image-hash') ?? null,
    mrKms: payloads.get('mr-kms') ?? null,
    applicationEvents: log.application,
    claimsDigest: domainHash(
      'haca/dstack-claims/1',
      encode(identityCodec, { tdx: tdx.claimsDigest, events }),
    ),
  };
}
