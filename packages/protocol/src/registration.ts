import {
  bytesOf,
  CborWriter,
  type CryptoProvider,
  concatBytes,
  domainHash,
  domainPrefix,
  encode,
  field,
  merkleLeafHash,
  merkleRoot,
  nullable,
  oneOf,
  struct,
  type TypeOf,
  uint,
} from '@haca/primitives';
import { chainIdCodec, digest32, heightCodec } from './common.ts';

/** `dstack` and `azure` wrap a TDX or SNP report with what was measured above it. */
export const EVIDENCE_KINDS = ['nitro', 'tdx', 'sgx', 'snp', 'nvidia', 'dstack', 'azure'] as const;
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number];
export const evidenceKindCodec = oneOf(...EVIDENCE_KINDS);
export const EVIDENCE_MAX_BYTES = 24 * 1024;
/** GPUs that one node key can show. */
export const GPUS_MAX = 16;

/** Attestation evidence as a node submits it. */
export const evidenceEnvelopeCodec = struct({
  kind: field(0, evidenceKindCodec),
  document: field(1, bytesOf(1, EVIDENCE_MAX_BYTES)),
});
export type EvidenceEnvelope = TypeOf<typeof evidenceEnvelopeCodec>;

/** Everything a node key stands for, bound by the evidence as one value. */
export const registrationBindingCodec = struct({
  chainId: field(0, chainIdCodec),
  operator: field(1, digest32),
  nodeId: field(2, digest32),
  keyEpoch: field(3, uint()),
  /** Ed25519 key that signs receipts and statements, made fresh in the enclave. */
  signPublicKey: field(4, bytesOf(32)),
  /** X25519 key that prompts can be sealed to. */
  hpkePublicKey: field(5, nullable(bytesOf(32))),
  tlsSpkiHash: field(6, nullable(digest32)),
  /** RFC 9162 root over the ids of the models it may serve, ascending. */
  modelSetRoot: field(7, digest32),
  configHash: field(8, digest32),
  gpuEvidenceRoot: field(9, nullable(digest32)),
  refHeight: field(10, heightCodec),
  refBlockHash: field(11, digest32),
});
export type RegistrationBinding = TypeOf<typeof registrationBindingCodec>;

/**
 * 64 bytes that the evidence carries: TDX and SNP as report data, Nitro as `user_data` (with `public_key` the signing key
 * and `nonce` the reference block hash).
 */
export function registrationBindingHash(crypto: CryptoProvider, binding: RegistrationBinding): Uint8Array {
  return crypto.sha512(
    concatBytes(domainPrefix('haca/registration/1'), encode(registrationBindingCodec, binding)),
  );
}

/** What each GPU of a node is asked over: the key that signs the receipts, and a recent block. 32 bytes. */
export function gpuNonceOf({ signPublicKey, refBlockHash }: RegistrationBinding): Uint8Array {
  return domainHash('haca/gpu-nonce/1', concatBytes(signPublicKey, refBlockHash));
}

/** RFC 9162 root over the documents of a node's GPUs, in their order; null where it has none. */
export function gpuEvidenceRootOf(documents: readonly Uint8Array[]): Uint8Array | null {
  return documents.length === 0 ? null : merkleRoot(documents.map(merkleLeafHash));
}

/** What the node key itself signs to show that it exists and consents. */
export function possessionMessage(bindingHash: Uint8Array): Uint8Array {
  return concatBytes(domainPrefix('haca/key-possession/1'), bindingHash);
}

/** `number` disambiguates several nodes of an operator: the nonce of the registering transaction. */
export function nodeIdOf(chainId: string, operator: Uint8Array, nonce: number): Uint8Array {
  return idOf('haca/node-id/1', (writer) => {
    writer.arrayHead(3);
    writer.text(chainId);
    writer.bytes(operator);
    writer.uint(nonce);
  });
}

/** A key that comes back under another epoch is another key. */
export function keyIdOf(
  chainId: string,
  nodeId: Uint8Array,
  keyEpoch: number,
  publicKey: Uint8Array,
): Uint8Array {
  return idOf('haca/key-id/1', (writer) => {
    writer.arrayHead(4);
    writer.text(chainId);
    writer.bytes(nodeId);
    writer.uint(keyEpoch);
    writer.bytes(publicKey);
  });
}

/** Named by the opening transaction's nonce, so no channel is ever the same twice. */
export function channelIdOf(chainId: string, payer: Uint8Array, asset: number, nonce: number): Uint8Array {
  return idOf('haca/channel-id/1', (writer) => {
    writer.arrayHead(4);
    writer.text(chainId);
    writer.bytes(payer);
    writer.uint(asset);
    writer.uint(nonce);
  });
}

function idOf(domain: string, write: (writer: CborWriter) => void): Uint8Array {
  const writer = new CborWriter();
  write(writer);
  return domainHash(domain, writer.finish());
}
