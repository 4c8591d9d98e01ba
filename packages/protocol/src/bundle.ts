import {
  arrayOf,
  bytesOf,
  decode,
  encode,
  field,
  MalformedError,
  nullable,
  optionalField,
  struct,
  type TypeOf,
} from '@haca/primitives';
import { chainIdCodec, heightCodec, version } from './common.ts';
import { keyEvidenceRecordCodec } from './records.ts';
import {
  EVIDENCE_MAX_BYTES,
  evidenceEnvelopeCodec,
  GPUS_MAX,
  registrationBindingCodec,
} from './registration.ts';
import { TRANSACTION_MAX_BYTES } from './transaction.ts';

export const BUNDLE_BODY_MAX_BYTES = 32 * 1024 * 1024;
/** Light blocks in a bundle: the way from the verifier's trusted header to the last header of the bundle. */
export const BUNDLE_HEADERS_MAX = 256;
export const BUNDLE_HEADER_MAX_BYTES = 4 * 1024 * 1024;
export const BUNDLE_EVIDENCE_RECORDS_MAX = 128;
export const BUNDLE_MAX_BYTES = 128 * 1024 * 1024;

/** A record of chain state with its proof against the app hash in header `stateHeight + 1`. */
export const provenRecordCodec = struct({
  key: field(0, bytesOf(1, 1024)),
  /** Null: the proof shows that there is no such record. */
  value: field(1, nullable(bytesOf(1, 1 << 20))),
  stateHeight: field(2, heightCodec),
  proof: field(3, bytesOf(1, 16_384)),
});
export type ProvenRecord = TypeOf<typeof provenRecordCodec>;

/**
 * Everything that is needed to check one answer without asking anybody: what was sent and received, the receipt and what it
 * refers to, the chain's records with proofs, and the headers that lead to them. Nothing in it is trusted: the verifier
 * brings its own genesis or trusted header, its roots and its time.
 */
export const bundleCodec = struct({
  version: field(0, version),
  chainId: field(1, chainIdCodec),
  /** Raw body bytes as sent; null where the payer keeps them private, and the check is then skipped. */
  request: field(2, nullable(bytesOf(0, BUNDLE_BODY_MAX_BYTES))),
  /** Raw body bytes as received; for a stream all server-sent events, with the comments between them. */
  response: field(3, nullable(bytesOf(0, BUNDLE_BODY_MAX_BYTES))),
  receipt: field(4, bytesOf(1, 4096)),
  offer: field(5, bytesOf(1, 1024)),
  voucher: field(6, nullable(bytesOf(1, 384))),
  /** The session key that signed the voucher, as the chain holds it; null without a voucher. */
  session: field(14, nullable(provenRecordCodec)),
  node: field(7, provenRecordCodec),
  key: field(8, provenRecordCodec),
  model: field(9, provenRecordCodec),
  /** The chain's settings: roots and parameters. */
  config: field(13, provenRecordCodec),
  /** The evidence document behind the key and what it binds; null for a `signed` key. */
  evidence: field(
    10,
    nullable(
      struct({ envelope: field(0, evidenceEnvelopeCodec), binding: field(1, registrationBindingCodec) }),
    ),
  ),
  /** `ReceiptProof` bytes; null before the receipt is settled. */
  receiptProof: field(11, nullable(bytesOf(1, 65_536))),
  /**
   * Of a receipt that was proved: its claim and verifying key as the chain held them, and the transaction with salts, tensors,
   * receipts and proof of the whole claim.
   */
  zk: optionalField(
    15,
    struct({
      claim: field(0, provenRecordCodec),
      verifyingKey: field(1, provenRecordCodec),
      transaction: field(2, bytesOf(1, TRANSACTION_MAX_BYTES)),
    }),
  ),
  /**
   * What evidence is judged by, as the chain held it: measurements, collateral, policy, revoked certificates, chips. Each record says
   * by its key what it is; their order means nothing.
   */
  evidenceRecords: optionalField(16, arrayOf(provenRecordCodec, BUNDLE_EVIDENCE_RECORDS_MAX, 1)),
  /** Documents of the node's GPUs, in the order of its registration. */
  gpuEvidence: optionalField(17, arrayOf(bytesOf(1, EVIDENCE_MAX_BYTES), GPUS_MAX, 1)),
  /** The row of the key's evidence, there exactly where the key's row has its hash: that is its proof. */
  keyEvidence: optionalField(18, keyEvidenceRecordCodec),
  /**
   * Light blocks in ascending height, each the UTF-8 JSON `{"signed_header","validators","next_validators"}` in CometBFT's
   * own shapes. Their bytes are covered by nothing: hashes and signatures inside decide.
   */
  headers: field(12, arrayOf(bytesOf(1, BUNDLE_HEADER_MAX_BYTES), BUNDLE_HEADERS_MAX, 1)),
});
export type Bundle = TypeOf<typeof bundleCodec>;

export function encodeBundle(bundle: Bundle): Uint8Array {
  return encode(bundleCodec, bundle);
}

/** Throws `MalformedError` on anything but the one canonical form. Verifies nothing. */
export function decodeBundle(bytes: Uint8Array): Bundle {
  if (bytes.length > BUNDLE_MAX_BYTES) {
    throw new MalformedError('bundle.size', 'bundle', `at most ${BUNDLE_MAX_BYTES} bytes`, `${bytes.length}`);
  }
  return decode(bundleCodec, bytes, 'bundle');
}
