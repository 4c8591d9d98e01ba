/**
 * One fixed, fully populated example of every protocol object, made from fixed key seeds: the source of the golden vectors
 * and the starting point of tests that change one thing at a time.
 */
import { domainHash, merkleInclusionPath, merkleRoot, sha256, utf8Encode } from '@haca/primitives';
import {
  type AccountKey,
  accountIdOf,
  CONSENSUS_ADDRESS_BYTES,
  type Collateral,
  channelIdOf,
  credit,
  decreeMessage,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  nodeIdOf,
  nopg,
  OFFER,
  type Offer,
  type Op,
  possessionMessage,
  RECEIPT,
  type Receipt,
  type ReceiptProof,
  type RegistrationBinding,
  receiptLeafHash,
  requestHashOf,
  reserveFor,
  responseHashOf,
  type SignedObject,
  STATEMENT,
  STREAM_CHECKPOINT,
  type Statement,
  type StreamCheckpoint,
  signTransaction,
  statementLeafHash,
  streamNext,
  streamStart,
  type TransactionBody,
  VOUCHER,
  type Voucher,
  validatorPossessionMessage,
  ZERO_DIGEST,
} from '@haca/protocol';

/** What examples need to sign: an Ed25519 signer made from a 32-byte seed. */
export interface ExampleSigner {
  readonly publicKey: Uint8Array;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** A digest that says in its preimage what it stands for. */
export function exampleDigest(label: string): Uint8Array {
  return domainHash('haca/example/1', utf8Encode(label));
}

export interface ExampleKeys {
  readonly operator: ExampleSigner;
  readonly payer: ExampleSigner;
  readonly session: ExampleSigner;
  readonly node: ExampleSigner;
}

/** Seeds are 32 times the byte 1, 2, 3 and 4. */
export function exampleKeys(signerFromSeed: (seed: Uint8Array) => ExampleSigner): ExampleKeys {
  const signer = (byte: number): ExampleSigner => signerFromSeed(new Uint8Array(32).fill(byte));
  return { operator: signer(1), payer: signer(2), session: signer(3), node: signer(4) };
}

export const EXAMPLE_CHAIN_ID = 'haca-example-1';
export const EXAMPLE_REQUEST = utf8Encode(
  '{"model":"haca-tiny-chat","messages":[{"role":"user","content":"What is HACA?"}]}',
);
export const EXAMPLE_RESPONSE = utf8Encode(
  '{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"A network."}}]}',
);

/** Of the right form, signed by nobody. */
export const EXAMPLE_COLLATERAL: Collateral = {
  kind: 'intel-tcb-info',
  body: utf8Encode('{"tcbInfo":{}}'),
  signature: new Uint8Array(64).fill(5),
  issuerChain: [utf8Encode('root certificate'), utf8Encode('signing certificate')],
};

export interface Examples {
  readonly manifest: ModelManifest;
  readonly binding: RegistrationBinding;
  readonly offer: SignedObject<Offer>;
  readonly voucher: SignedObject<Voucher>;
  /** Two consecutive receipts of one key. */
  readonly receipts: readonly [SignedObject<Receipt>, SignedObject<Receipt>];
  readonly checkpoint: SignedObject<StreamCheckpoint>;
  readonly statement: SignedObject<Statement>;
  readonly redeemOnly: SignedObject<Statement>;
  readonly receiptProof: ReceiptProof;
  /** One transaction per kind of op. */
  readonly transactions: ReadonlyMap<Op['kind'], ReturnType<typeof signTransaction>>;
}

export function makeExamples(keys: ExampleKeys): Examples {
  const account = (signer: ExampleSigner): AccountKey => ({
    algorithm: 'ed25519',
    publicKey: signer.publicKey,
  });
  const operator = accountIdOf(account(keys.operator));
  const payer = accountIdOf(account(keys.payer));
  const nodeId = nodeIdOf(EXAMPLE_CHAIN_ID, operator, 1);
  const keyId = keyIdOf(EXAMPLE_CHAIN_ID, nodeId, 1, keys.node.publicKey);
  const channelId = channelIdOf(EXAMPLE_CHAIN_ID, payer, 1, 0);
  const manifest = exampleManifest();
  const modelId = modelIdOf(manifest);
  const ids = { operator, payer, nodeId, keyId, channelId, modelId };

  const offer = OFFER.sign(exampleOffer(ids), keys.operator.sign);
  const reserved = reserveFor(offer.value, EXAMPLE_REQUEST.length, 256);
  const voucher = VOUCHER.sign(
    {
      version: 1,
      chainId: EXAMPLE_CHAIN_ID,
      channelId,
      keyId,
      lane: 7,
      cumulative: reserved,
      requestHash: requestHashOf(EXAMPLE_REQUEST),
      expiry: 100_000,
      session: 0,
    },
    keys.session.sign,
  );
  const first = RECEIPT.sign(exampleReceipt(ids, offer.hash, 1, ZERO_DIGEST), keys.node.sign);
  const second = RECEIPT.sign(exampleReceipt(ids, offer.hash, 2, first.hash), keys.node.sign);
  const leaves = [first, second].map(({ hash }) => receiptLeafHash(hash));
  const statement = STATEMENT.sign(
    {
      version: 1,
      chainId: EXAMPLE_CHAIN_ID,
      keyId,
      batch: {
        firstSeq: 1,
        count: 2,
        prevReceiptHash: ZERO_DIGEST,
        lastReceiptHash: second.hash,
        receiptsRoot: merkleRoot(leaves),
        running: second.value.running,
      },
      charges: [{ channelId, lane: 7, fromSeq: 1, atSeq: 2, from: credit(0n), to: second.value.cumulative }],
    },
    keys.node.sign,
  );
  const redeemOnly = STATEMENT.sign({ ...statement.value, batch: null }, keys.node.sign);
  const requestHash = requestHashOf(EXAMPLE_REQUEST);
  const checkpoint = STREAM_CHECKPOINT.sign(
    {
      version: 1,
      keyId,
      requestHash,
      events: 1,
      head: streamNext(streamStart(requestHash), utf8Encode('data: {}\n\n')),
      outputTokens: 3,
      charged: credit(1_000n),
    },
    keys.node.sign,
  );
  const binding = exampleBinding(ids, keys.node.publicKey);
  return {
    manifest,
    binding,
    offer,
    voucher,
    receipts: [first, second],
    checkpoint,
    statement,
    redeemOnly,
    receiptProof: {
      version: 1,
      receipt: first.bytes,
      receiptPath: merkleInclusionPath(leaves, 0),
      statement: statement.bytes,
      logIndex: 0,
      logSize: 2,
      logPath: merkleInclusionPath(
        [statementLeafHash(statement.hash), statementLeafHash(exampleDigest('later'))],
        0,
      ),
    },
    transactions: exampleTransactions(keys, ids, { manifest, binding, statement, redeemOnly, voucher }),
  };
}

interface ExampleIds {
  readonly operator: Uint8Array;
  readonly payer: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly channelId: Uint8Array;
  readonly modelId: Uint8Array;
}

function exampleManifest(): ModelManifest {
  return {
    version: 1,
    name: 'haca-tiny-chat',
    task: 'chat',
    weights: { kind: 'sha256', digest: exampleDigest('weights') },
    tokenizerHash: exampleDigest('tokenizer'),
    methods: ['tee', 'signed'],
    contextTokens: 512,
    license: 'Apache-2.0',
  };
}

function exampleOffer({ nodeId, modelId }: ExampleIds): Offer {
  return {
    version: 1,
    chainId: EXAMPLE_CHAIN_ID,
    nodeId,
    modelId,
    asset: 1,
    inputPrice: credit(20_000_000n),
    cachedInputPrice: credit(10_000_000n),
    outputPrice: credit(60_000_000n),
    requestPrice: credit(1_000n),
    minCharge: credit(1_500n),
    validFrom: 1,
    validUntil: 1_000_000,
    tokenizerHash: exampleDigest('tokenizer'),
  };
}

function exampleReceipt(
  ids: ExampleIds,
  offerHash: Uint8Array,
  seq: number,
  prevReceiptHash: Uint8Array,
): Receipt {
  const total = credit(2_000n * BigInt(seq));
  return {
    version: 1,
    chainId: EXAMPLE_CHAIN_ID,
    nodeId: ids.nodeId,
    keyId: ids.keyId,
    keyEpoch: 1,
    seq,
    prevReceiptHash,
    refHeight: 41,
    refBlockHash: exampleDigest('block 41'),
    modelId: ids.modelId,
    engine: { name: 'onnxruntime', version: '1.30.0', proxied: false },
    sampling: { maxOutputTokens: 256, temperatureMicro: 700_000, topPMicro: 950_000, topK: 40, seed: 7n },
    method: 'tee',
    requestHash: requestHashOf(EXAMPLE_REQUEST),
    responseHash: responseHashOf(EXAMPLE_RESPONSE),
    responseForm: 'body',
    outcome: 'completed',
    usage: { inputTokens: 12, cachedInputTokens: 0, outputTokens: 9 },
    offerHash,
    asset: 1,
    amount: credit(2_000n),
    channelId: ids.channelId,
    lane: 7,
    cumulative: total,
    running: [[1, total]],
    idempotencyKey: utf8Encode('example-1'),
    receivedAtMs: 1_800_000_000_000,
    completedAtMs: 1_800_000_000_042,
  };
}

function exampleBinding({ operator, nodeId }: ExampleIds, signPublicKey: Uint8Array): RegistrationBinding {
  return {
    chainId: EXAMPLE_CHAIN_ID,
    operator,
    nodeId,
    keyEpoch: 1,
    signPublicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: exampleDigest('model set'),
    configHash: exampleDigest('config'),
    gpuEvidenceRoot: null,
    refHeight: 40,
    refBlockHash: exampleDigest('block 40'),
  };
}

function exampleTransactions(
  keys: ExampleKeys,
  ids: ExampleIds,
  objects: Pick<Examples, 'manifest' | 'binding' | 'statement' | 'redeemOnly' | 'voucher'>,
): Examples['transactions'] {
  const { payer, operator, nodeId, keyId, channelId } = ids;
  const amount = credit(5_000_000_000n);
  const validator = sha256(keys.node.publicKey).slice(0, CONSENSUS_ADDRESS_BYTES);
  const ops: readonly Op[] = [
    { kind: 'transfer-opg', to: operator, amount: nopg(3_000_000_000n) },
    { kind: 'transfer-credit', to: operator, asset: 1, amount },
    { kind: 'issue', to: payer, asset: 1, amount },
    { kind: 'retire', asset: 1, amount },
    { kind: 'open-channel', asset: 1, amount },
    { kind: 'deposit', channelId, amount },
    {
      kind: 'register-session',
      channelId,
      session: 0,
      publicKey: keys.session.publicKey,
      expiryHeight: 200_000,
    },
    { kind: 'revoke-session', channelId, session: 0 },
    { kind: 'allocate', channelId, nodeId, amount },
    {
      kind: 'release',
      channelId,
      nodeId,
      amount,
      allocationVersion: 2,
      expiry: 500,
      operatorSignature: keys.operator.sign(utf8Encode('release example')),
    },
    { kind: 'request-withdraw', channelId, nodeId, amount },
    { kind: 'finalize-withdraw', channelId, nodeId },
    { kind: 'withdraw-free', channelId, amount },
    { kind: 'close-channel', channelId },
    { kind: 'register-model', manifest: objects.manifest },
    {
      kind: 'register-node',
      name: 'example node',
      endpoint: 'https://node.example',
      payout: operator,
      bond: nopg(5_000_000_000_000n),
    },
    { kind: 'update-node', nodeId, name: 'renamed', endpoint: 'https://node.example', payout: operator },
    { kind: 'bond-node', nodeId, amount: nopg(1_000_000_000n) },
    { kind: 'unbond-node', nodeId, amount: nopg(1_000_000_000n) },
    {
      kind: 'open-key',
      binding: objects.binding,
      method: 'tee',
      modelId: null,
      modelIds: [ids.modelId],
      evidence: { kind: 'nitro', document: utf8Encode('a document') },
      possession: keys.node.sign(possessionMessage(exampleDigest('binding'))),
      gpuEvidence: [utf8Encode('a GPU document')],
    },
    { kind: 'close-key', keyId },
    { kind: 'abandon-key', keyId },
    { kind: 'post-collateral', items: [EXAMPLE_COLLATERAL] },
    { kind: 'settle', statement: objects.statement.bytes, vouchers: [objects.voucher.bytes] },
    {
      kind: 'prove',
      claimId: exampleDigest('claim'),
      salts: [exampleDigest('salt 1'), exampleDigest('salt 2')],
      inputs: [utf8Encode('input 1, input 2')],
      outputs: [utf8Encode('output 1, output 2')],
      receipts: [utf8Encode('receipt 1'), utf8Encode('receipt 2')],
      proof: utf8Encode('a proof'),
      verificationGas: 15_000,
      redeem: {
        statement: objects.redeemOnly.bytes,
        vouchers: [objects.voucher.bytes],
        receipts: [[]],
      },
    },
    {
      kind: 'decree',
      serial: 1,
      action: { kind: 'disable-proof-kind', proofKind: 'zk' },
      signatures: [
        {
          validator,
          signature: keys.node.sign(
            decreeMessage({
              chainId: EXAMPLE_CHAIN_ID,
              serial: 1,
              action: { kind: 'disable-proof-kind', proofKind: 'zk' },
            }),
          ),
        },
      ],
    },
    {
      kind: 'register-validator',
      consensusKey: keys.node.publicKey,
      bond: nopg(100_000_000_000_000n),
      possession: keys.node.sign(
        validatorPossessionMessage({
          chainId: EXAMPLE_CHAIN_ID,
          operator: payer,
          consensusKey: keys.node.publicKey,
        }),
      ),
    },
    { kind: 'bond-validator', validator, amount: nopg(1_000_000_000n) },
    { kind: 'unbond-validator', validator, amount: nopg(1_000_000_000n) },
    { kind: 'claim-rewards', validator },
  ];
  return new Map(
    ops.map((op, nonce) => [op.kind, signTransaction(exampleBody(keys, nonce, [op]), keys.payer.sign)]),
  );
}

/** A body around any ops, sent by the example payer. */
export function exampleBody(keys: ExampleKeys, nonce: number, ops: readonly Op[]): TransactionBody {
  return {
    version: 1,
    chainId: EXAMPLE_CHAIN_ID,
    sender: { algorithm: 'ed25519', publicKey: keys.payer.publicKey },
    nonce,
    validUntil: 1_000,
    maxFee: nopg(4_000n),
    tipCap: nopg(0n),
    feePayer: null,
    ops,
  };
}
