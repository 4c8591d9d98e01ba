import { encode, toHex } from '@haca/primitives';
import {
  encodeReceiptProof,
  modelIdOf,
  modelManifestCodec,
  type ProofEnvelope,
  proofEnvelopeCodec,
  registrationBindingCodec,
  type SignedObject,
  toJsonView,
  transactionHash,
} from '@haca/protocol';
import { type ExampleSigner, exampleDigest, exampleKeys, makeExamples } from './examples.ts';
import { type RecordVector, recordVectors } from './record-examples.ts';

/** One golden vector: the value for people, its bytes for machines. */
export interface GoldenVector {
  readonly name: string;
  /** JSON view: amounts as decimal text, bytes as hex. */
  readonly value: unknown;
  /** Deterministic CBOR of the value; for signed objects the COSE payload. */
  readonly encoding: string;
  /** The whole COSE_Sign1, or the whole transaction. */
  readonly signed?: string;
  /** The hash that names the object. */
  readonly hash?: string;
}

/** All golden vectors, from the fixed examples; the same on every machine. */
export function goldenVectors(
  signerFromSeed: (seed: Uint8Array) => ExampleSigner,
): readonly (GoldenVector | RecordVector)[] {
  const examples = makeExamples(exampleKeys(signerFromSeed));
  const signed = <T>(name: string, object: SignedObject<T>): GoldenVector => ({
    name,
    value: toJsonView(object.value),
    encoding: toHex(object.cose.payload),
    signed: toHex(object.bytes),
    hash: toHex(object.hash),
  });
  const { modelId, keyId } = examples.receipts[0].value;
  const proofEnvelope: ProofEnvelope = {
    version: 1,
    kind: 'zkml',
    modelId,
    keyId,
    firstSeq: 1,
    count: 2,
    publicInputs: [exampleDigest('input'), exampleDigest('output')],
    proof: exampleDigest('proof'),
  };
  return [
    {
      name: 'model-manifest',
      value: toJsonView(examples.manifest),
      encoding: toHex(encode(modelManifestCodec, examples.manifest)),
      hash: toHex(modelIdOf(examples.manifest)),
    },
    {
      name: 'registration-binding',
      value: toJsonView(examples.binding),
      encoding: toHex(encode(registrationBindingCodec, examples.binding)),
    },
    signed('offer', examples.offer),
    signed('voucher', examples.voucher),
    signed('receipt', examples.receipts[0]),
    signed('receipt-2', examples.receipts[1]),
    signed('stream-checkpoint', examples.checkpoint),
    signed('statement', examples.statement),
    signed('statement-redeem-only', examples.redeemOnly),
    {
      name: 'receipt-proof',
      value: toJsonView(examples.receiptProof),
      encoding: toHex(encodeReceiptProof(examples.receiptProof)),
    },
    {
      name: 'proof-envelope',
      value: toJsonView(proofEnvelope),
      encoding: toHex(encode(proofEnvelopeCodec, proofEnvelope)),
    },
    ...recordVectors(examples),
    ...[...examples.transactions].map(([kind, transaction]) => ({
      name: `transaction-${kind}`,
      value: toJsonView(transaction.body),
      encoding: toHex(transaction.bodyBytes),
      signed: toHex(transaction.bytes),
      hash: toHex(transactionHash(transaction.bytes)),
    })),
  ];
}
