/** A client's check of a proved receipt: the truth passes, and every lie about what was proved is refused. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { plan, publicTensorShapes, tensorRowBytes } from '@haca/circuit';
import { generateEd25519Signer } from '@haca/platform';
import { concatBytes, domainHash, encode, merkleRoot, utf8Encode } from '@haca/primitives';
import {
  type ClaimRecord,
  credit,
  encodeZkRequest,
  encodeZkResponse,
  nopg,
  type Op,
  RECEIPT,
  type Receipt,
  receiptCodec,
  receiptLeafHash,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  signTransaction,
  type VerifyingKeyRecord,
  ZERO_DIGEST,
  type ZkStatement,
  zkChainDigest,
  zkRow,
} from '@haca/protocol';
import { runModel } from '@haca/runtime';
import { claimIdOfRecord, verifyZkReceipt, type ZkReceiptParts } from '@haca/sdk';
import { mlp } from '@haca/testkit';
import { type Network, openNetwork, proveHonestly, statementFor } from './prove-harness.ts';

const CHAIN_ID = 'haca-interop-1';
const COUNT = 3;
const digest = (name: string): Uint8Array => domainHash('haca/test/1', utf8Encode(name));
const keyId = digest('key');
const modelId = digest('model');
const signer = generateEd25519Signer();

let network: Network;
let honest: ZkReceiptParts;
let op: Extract<Op, { readonly kind: 'prove' }>;
let receipts: readonly SignedObject<Receipt>[];

function receiptOf(seq: number, request: Uint8Array, response: Uint8Array): SignedObject<Receipt> {
  return RECEIPT.sign(
    {
      version: 1,
      chainId: CHAIN_ID,
      nodeId: digest('node'),
      keyId,
      keyEpoch: 1,
      seq,
      prevReceiptHash: ZERO_DIGEST,
      refHeight: 5,
      refBlockHash: digest('block'),
      modelId,
      engine: { name: 'engine', version: '1', proxied: false },
      sampling: { maxOutputTokens: 0 },
      method: 'zk',
      requestHash: requestHashOf(request),
      responseHash: responseHashOf(response),
      responseForm: 'body',
      outcome: 'completed',
      usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 },
      offerHash: digest('offer'),
      asset: 1,
      amount: credit(10n),
      channelId: digest('channel'),
      lane: 0,
      cumulative: credit(10n * BigInt(seq)),
      running: [],
      idempotencyKey: null,
      receivedAtMs: 1,
      completedAtMs: 2,
    },
    signer.sign,
  );
}

function transactionOf(ops: readonly Op[]): Uint8Array {
  const body = {
    version: 1,
    chainId: CHAIN_ID,
    sender: { algorithm: 'ed25519', publicKey: signer.publicKey },
    nonce: 0,
    validUntil: 100,
    maxFee: nopg(1n),
    tipCap: nopg(0n),
    feePayer: null,
    ops,
  } as const;
  return signTransaction(body, signer.sign).bytes;
}

before(async () => {
  network = await openNetwork(mlp([8, 6, 4]));
  const { inputs } = statementFor(network, COUNT);
  const outputs = runModel(network.model, inputs, COUNT);
  const shapes = publicTensorShapes(network.key);
  const sizes = { inputs: shapes.inputs.map(tensorRowBytes), outputs: shapes.outputs.map(tensorRowBytes) };
  const salts = Array.from({ length: COUNT }, (_, b) => digest(`salt ${b}`));
  receipts = salts.map((salt, b) => {
    const rows = (tensors: readonly Uint8Array[], of: readonly number[]): Uint8Array[] =>
      tensors.map((tensor, i) => zkRow(tensor, of[i] as number, b));
    const request = encodeZkRequest({ modelId, salt, tensors: rows(inputs, sizes.inputs) });
    return receiptOf(7 + b, request, encodeZkResponse({ tensors: rows(outputs, sizes.outputs) }));
  });
  const claim: ClaimRecord = {
    keyId,
    firstSeq: 7,
    count: COUNT,
    receiptsRoot: merkleRoot(receipts.map(({ hash }) => receiptLeafHash(hash))),
    delta: [],
    openedAt: 20,
    nonce: digest('block 20'),
    due: 100,
    baseFee: 1n,
    extensions: 0,
    verificationGas: 1,
  };
  const verifying: VerifyingKeyRecord = {
    verifyingKey: network.keyBytes,
    batchMax: network.key.maxBatch,
    verificationGas: [1],
    proofBytes: [plan(network.key, COUNT).proofBytes],
    inputRowBytes: sizes.inputs,
    outputRowBytes: sizes.outputs,
    height: 3,
  };
  const statement: ZkStatement = {
    ...statementFor(network, COUNT),
    chainId: zkChainDigest(CHAIN_ID),
    claimId: claimIdOfRecord(CHAIN_ID, claim),
    nonce: claim.nonce,
    inputs,
    outputs,
  };
  op = {
    kind: 'prove',
    claimId: statement.claimId,
    salts,
    inputs,
    outputs,
    receipts: receipts.map(({ cose }) => cose.payload),
    proof: await proveHonestly(network, statement),
    verificationGas: 1,
    redeem: null,
  };
  honest = {
    chainId: CHAIN_ID,
    receipt: receipts[1] as SignedObject<Receipt>,
    key: { modelId, method: 'zk' },
    claim,
    verifyingKeyHash: statement.verifyingKeyHash,
    verifying,
    transaction: transactionOf([op]),
  };
});

test('each receipt of a proved claim is proved', () => {
  for (const receipt of receipts) {
    const { verdict, batchSize, proofBytes } = verifyZkReceipt({ ...honest, receipt });
    assert.ok(verdict.ok, JSON.stringify(verdict.checks.filter(({ status }) => status === 'failed')));
    assert.deepEqual([batchSize, proofBytes], [COUNT, op.proof.length]);
  }
});

/** The id of the check that fails. */
function refusedBy(lie: Partial<ZkReceiptParts>): string {
  const { verdict } = verifyZkReceipt({ ...honest, ...lie });
  assert.equal(verdict.ok, false);
  return verdict.checks.find(({ status }) => status === 'failed')?.id ?? 'none';
}

const flipped = (bytes: Uint8Array, at: number): Uint8Array => {
  const changed = bytes.slice();
  changed[at] = (changed[at] as number) ^ 1;
  return changed;
};

test('another claim, block, chain, model or key than those that were settled is refused', () => {
  const { claim } = honest;
  assert.equal(refusedBy({ claim: { ...claim, keyId: digest('other') } }), 'zk.claim-key');
  assert.equal(refusedBy({ claim: { ...claim, firstSeq: 9 } }), 'zk.claim-range');
  assert.equal(refusedBy({ claim: { ...claim, firstSeq: 6 } }), 'zk.binding');
  assert.equal(refusedBy({ claim: { ...claim, receiptsRoot: digest('other') } }), 'zk.binding');
  assert.equal(refusedBy({ claim: { ...claim, count: 2 } }), 'zk.binding');
  assert.match(refusedBy({ claim: { ...claim, nonce: digest('block 19') } }), /^zk\.proof/);
  assert.equal(refusedBy({ chainId: 'haca-interop-2' }), 'zk.binding');
  assert.equal(refusedBy({ key: { modelId: digest('other'), method: 'zk' } }), 'zk.binding');
  assert.equal(refusedBy({ key: { modelId: null, method: 'zk' } }), 'zk.method');
  assert.equal(refusedBy({ key: { modelId, method: 'signed' } }), 'zk.method');
  assert.match(refusedBy({ verifyingKeyHash: digest('other') }), /^zk\.proof/);
  const verifying = { ...honest.verifying, verifyingKey: flipped(network.keyBytes, 20) };
  assert.match(refusedBy({ verifying }), /^zk\.proof/);
});

test('a receipt that is not in the claim is not proved by it', () => {
  const { value } = receipts[1] as SignedObject<Receipt>;
  const twin = RECEIPT.sign({ ...value, amount: credit(11n) }, signer.sign);
  assert.equal(refusedBy({ receipt: twin }), 'zk.receipt');
});

test('other salts, tensors, receipts or proofs are refused, whatever else the bytes are too', () => {
  const withOp = (change: Partial<typeof op>): Partial<ZkReceiptParts> => ({
    transaction: transactionOf([{ ...op, ...change }]),
  });
  assert.equal(refusedBy(withOp({ salts: [...op.salts].reverse() })), 'zk.binding');
  assert.equal(refusedBy(withOp({ inputs: op.inputs.map((bytes) => flipped(bytes, 1)) })), 'zk.binding');
  assert.equal(refusedBy(withOp({ outputs: op.outputs.map((bytes) => flipped(bytes, 0)) })), 'zk.binding');
  assert.equal(refusedBy(withOp({ receipts: [...op.receipts].reverse() })), 'zk.binding');
  const other = encode(receiptCodec, { ...(receipts[0] as SignedObject<Receipt>).value, lane: 1 });
  assert.equal(refusedBy(withOp({ receipts: [other, ...op.receipts.slice(1)] })), 'zk.binding');
  for (const share of [0.01, 0.2, 0.5, 0.8, 0.99]) {
    const proof = flipped(op.proof, Math.floor(share * op.proof.length));
    assert.match(refusedBy(withOp({ proof })), /^zk\.proof/);
  }
  assert.match(refusedBy(withOp({ proof: concatBytes(op.proof, new Uint8Array(1)) })), /^zk\.proof/);
});

test('bytes that are no such transaction are a failed check, never an exception', () => {
  const transfer = { kind: 'transfer-opg', to: digest('to'), amount: nopg(1n) } as const;
  for (const transaction of [
    new Uint8Array(0),
    new Uint8Array(1_000).fill(0xff),
    transactionOf([transfer]),
    honest.transaction.subarray(0, honest.transaction.length - 1),
  ]) {
    assert.equal(refusedBy({ transaction }), 'zk.transaction');
  }
});
