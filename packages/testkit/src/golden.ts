import { encode, toHex } from '@haca/primitives';
import {
  encodeReceiptProof,
  encodeZkRequest,
  encodeZkResponse,
  encodeZkStatement,
  modelIdOf,
  modelManifestCodec,
  registrationBindingCodec,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  toJsonView,
  transactionHash,
  zkChainDigest,
  zkClaimIdOf,
} from '@haca/protocol';
import {
  EXAMPLE_CHAIN_ID,
  type ExampleSigner,
  exampleDigest,
  exampleKeys,
  makeExamples,
} from './examples.ts';
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
    ...zkVectors(modelId, keyId),
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

/** Method `zk`: canonical request and response with their hashes, and the claim of a batch. */
function zkVectors(modelId: Uint8Array, keyId: Uint8Array): readonly GoldenVector[] {
  const request = {
    modelId,
    salt: exampleDigest('salt'),
    tensors: [Uint8Array.of(1, 2, 3), Uint8Array.of(255)],
  };
  const response = { tensors: [Uint8Array.of(0, 128)] };
  const claim = {
    chainId: EXAMPLE_CHAIN_ID,
    keyId,
    firstSeq: 3,
    count: 2,
    receiptsRoot: exampleDigest('receipts'),
  };
  const statement = {
    chainId: zkChainDigest(EXAMPLE_CHAIN_ID),
    claimId: zkClaimIdOf(claim),
    nonce: exampleDigest('block 50'),
    verifyingKeyHash: exampleDigest('key hash'),
    batchSize: 2,
    inputs: [Uint8Array.of(1, 2, 3, 4, 5, 6), Uint8Array.of(255, 254)],
    outputs: [Uint8Array.of(0, 128, 1, 127)],
  };
  const [requestBytes, responseBytes] = [encodeZkRequest(request), encodeZkResponse(response)];
  return [
    {
      name: 'zk-request',
      value: toJsonView(request),
      encoding: toHex(requestBytes),
      hash: toHex(requestHashOf(requestBytes)),
    },
    {
      name: 'zk-response',
      value: toJsonView(response),
      encoding: toHex(responseBytes),
      hash: toHex(responseHashOf(responseBytes)),
    },
    {
      name: 'zk-statement',
      value: toJsonView({ claim, statement }),
      encoding: toHex(encodeZkStatement(statement)),
      hash: toHex(statement.claimId),
    },
  ];
}
