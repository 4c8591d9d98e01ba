import {
  arrayOf,
  bool,
  bytesOf,
  concatBytes,
  domainPrefix,
  encode,
  field,
  nullable,
  oneOf,
  struct,
  type TypeOf,
  textOf,
  uint,
  union,
  variant,
} from '@haca/primitives';
import { chainIdCodec, digest32, heightCodec } from './common.ts';
import {
  acceptedTcbStatusCodec,
  hardwareCodec,
  SNP_PRODUCTS,
  snpTcbFloorCodec,
  TCB_STATUS_KINDS,
  TCB_STATUSES,
} from './hardware.ts';
import { measurementCodec } from './measurement.ts';

/** Kinds of proof that can be disabled. */
export const PROOF_KINDS = ['zk'] as const;
export const proofKindCodec = oneOf(...PROOF_KINDS);
export type ProofKind = (typeof PROOF_KINDS)[number];

export const REBUILDS_MAX = 16;

/** How anybody can come to the same measurement: the source, the recipe, and who has done it. */
export const releaseInfoCodec = struct({
  /** Commit of the source, lower-case hex. */
  sourceCommit: field(0, textOf(1, 64)),
  /** URI, or path within the source, of what builds it. */
  recipe: field(1, textOf(1, 256)),
  /** SHA-256 of attestations by those who rebuilt it and got the same. */
  rebuilds: field(2, arrayOf(digest32, REBUILDS_MAX)),
});
export type ReleaseInfo = TypeOf<typeof releaseInfoCodec>;

/** A certificate by what its issuer calls it: neither re-encoding nor another signature makes it another. */
export const revokedCertificateCodec = struct({
  /** DER of the issuer's Name. */
  issuer: field(0, bytesOf(1, 512)),
  /** Content octets of the serial number. */
  serial: field(1, bytesOf(1, 20)),
});

/** Who answers for where a chip stands. */
const providerCodec = textOf(1, 64);

/** All that validators can decide by decree; nothing of it is about money. */
export const decreeActionCodec = union({
  /** From the next transaction on: no batch is settled and none proved; claims that come due end void. */
  'disable-proof-kind': variant(1, struct({ proofKind: field(0, proofKindCodec) })),
  'enable-proof-kind': variant(2, struct({ proofKind: field(0, proofKindCodec) })),
  /** Active after `measurementDelay` blocks; an emergency at once, for more than five sixths of the power. */
  'propose-measurement': variant(
    3,
    struct({
      measurement: field(0, measurementCodec),
      release: field(1, releaseInfoCodec),
      isEmergency: field(2, bool),
    }),
  ),
  /** From the height on it opens no key; keys that are open go on. */
  'deprecate-measurement': variant(
    4,
    struct({ measurementId: field(0, digest32), height: field(1, heightCodec) }),
  ),
  /** At once and for good: keys under it back nothing any more. */
  'revoke-measurement': variant(5, struct({ measurementId: field(0, digest32) })),
  /** What vendors publish only online. At once and for good. */
  'revoke-certificate': variant(6, struct({ certificate: field(0, revokedCertificateCodec) })),
  /** The least that platforms of a product line must be at; null: no floor. */
  'set-tcb-floor': variant(
    7,
    struct({ product: field(0, oneOf(...SNP_PRODUCTS)), floor: field(1, nullable(snpTcbFloorCodec)) }),
  ),
  'set-tcb-statuses': variant(
    8,
    struct({
      evidenceKind: field(0, oneOf(...TCB_STATUS_KINDS)),
      statuses: field(1, arrayOf(acceptedTcbStatusCodec, TCB_STATUSES.length)),
    }),
  ),
  /** The chip stands where the provider says. */
  'register-hardware': variant(
    9,
    struct({ hardware: field(0, hardwareCodec), provider: field(1, providerCodec) }),
  ),
  'unregister-hardware': variant(10, struct({ hardware: field(0, hardwareCodec) })),
  /** At once and for good: the chip's keys are out. */
  'revoke-hardware': variant(11, struct({ hardware: field(0, hardwareCodec) })),
});
export type DecreeAction = TypeOf<typeof decreeActionCodec>;

export const decreeSignatureCodec = struct({
  /** Consensus address. */
  validator: field(0, bytesOf(20)),
  /** By its consensus key over `decreeMessage`. */
  signature: field(1, bytesOf(64)),
});

const decreeCodec = struct({
  chainId: field(0, chainIdCodec),
  serial: field(1, uint()),
  action: field(2, decreeActionCodec),
});
export type Decree = TypeOf<typeof decreeCodec>;

/** What consensus keys sign. Never taken for a vote, as a validator's possession is not. */
export function decreeMessage(decree: Decree): Uint8Array {
  return concatBytes(domainPrefix('haca/decree/1'), encode(decreeCodec, decree));
}
