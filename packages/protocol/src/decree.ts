import {
  bytesOf,
  concatBytes,
  domainPrefix,
  encode,
  field,
  oneOf,
  struct,
  type TypeOf,
  uint,
  union,
  variant,
} from '@haca/primitives';
import { chainIdCodec } from './common.ts';

/** Kinds of proof that can be disabled. */
export const PROOF_KINDS = ['zk'] as const;
export const proofKindCodec = oneOf(...PROOF_KINDS);
export type ProofKind = (typeof PROOF_KINDS)[number];

/** All that validators can decide by decree; nothing of it is about money. */
export const decreeActionCodec = union({
  /** From the next transaction on: no batch is settled and none proved; claims that come due end void. */
  'disable-proof-kind': variant(1, struct({ proofKind: field(0, proofKindCodec) })),
  'enable-proof-kind': variant(2, struct({ proofKind: field(0, proofKindCodec) })),
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
