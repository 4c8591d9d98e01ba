/**
 * One inference through everything: a key with its registration proof, a claim, and the prover's proof of exactly what was
 * answered, over RPC at a full node that verifies on worker threads.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { makeGenesisDocument, startFullNode } from '@haca/chain';
import { planRegistration, verifyingKeyHash, zkPlanningUnits, zkRegistrationGas } from '@haca/circuit';
import { parseGenesisDocument } from '@haca/light-client';
import { connectRpc, ed25519SignerFromSeed, nodeCrypto, type RpcClient } from '@haca/platform';
import { decode, merkleLeafHash, merkleRoot } from '@haca/primitives';
import {
  accountIdOf,
  bindZkClaim,
  type ClaimRecord,
  claimRecordCodec,
  credit,
  DEFAULT_PARAMS,
  encodeZkRequest,
  encodeZkResponse,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  nodeIdOf,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  type OpOf,
  possessionMessage,
  RECEIPT,
  type Receipt,
  type RegistrationBinding,
  receiptLeafHash,
  recordKey,
  registrationBindingHash,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  STATEMENT,
  signTransaction,
  type VerifyingKeyRecord,
  verifyingKeyRecordCodec,
  ZERO_DIGEST,
  zkClaimIdOf,
  zkKeyGas,
  zkRow,
} from '@haca/protocol';
import { proveRegistration } from '@haca/prover';
import { assign } from '@haca/runtime';
import { mlp } from '@haca/testkit';
import { type Network, openNetwork, proveHonestly, statementFor } from './prove-harness.ts';

const CHAIN = 'haca-interop-zk';
const VALIDATOR_SEED = new Uint8Array(32).fill(1);
const OPERATOR = ed25519SignerFromSeed(new Uint8Array(32).fill(2));
const OPERATOR_KEY = { algorithm: 'ed25519' as const, publicKey: OPERATOR.publicKey };
const OPERATOR_ID = accountIdOf(OPERATOR_KEY);
const NODE_ID = nodeIdOf(CHAIN, OPERATOR_ID, 0);
const SIGNER = ed25519SignerFromSeed(new Uint8Array(32).fill(3));
const KEY_ID = keyIdOf(CHAIN, NODE_ID, 1, SIGNER.publicKey);
const BATCH = 2;

interface Chain {
  readonly rpc: RpcClient;
  /** Code name of the outcome in a block, or of the refusal at admission; `OK` where it was applied. */
  readonly submit: (ops: readonly Op[]) => Promise<string>;
  readonly record: (key: Uint8Array) => Promise<Uint8Array>;
}

async function startChain(t: TestContext): Promise<Chain> {
  const home = mkdtempSync(join(tmpdir(), 'haca-interop-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const selfBond = DEFAULT_PARAMS.validatorBondMin;
  const funds = 100_000n * 10n ** 9n;
  const consensusKey = ed25519SignerFromSeed(VALIDATOR_SEED).publicKey;
  const app = {
    simulated: true,
    params: { ...DEFAULT_PARAMS, proveWindow: 10_000, withdrawDelay: 60_000 },
    reserveNopg: OPG_SUPPLY_NOPG - selfBond - funds,
    accounts: [{ accountId: OPERATOR_ID, nopg: funds }],
    validators: [{ consensusKey, operator: OPERATOR_ID, selfBond }],
    assets: [],
    measurements: [],
    testRoots: [],
  };
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: Date.now(), app });
  const genesis = parseGenesisDocument(JSON.parse(JSON.stringify(document)));
  const node = await startFullNode({ home, genesis, validatorSeed: VALIDATOR_SEED, blockIntervalMs: 5 });
  t.after(node.close);
  const rpc = connectRpc(node.rpcUrl);
  let nonce = 0;
  const submit = async (ops: readonly Op[]): Promise<string> => {
    const { height } = await rpc.status();
    const body = {
      version: 1 as const,
      chainId: CHAIN,
      sender: OPERATOR_KEY,
      nonce: nonce++,
      validUntil: height + 1_000,
      maxFee: nopg(100_000n),
      tipCap: nopg(0n),
      feePayer: null,
      ops: [...ops],
    };
    const { bytes } = signTransaction(body, OPERATOR.sign);
    const { code, log, hash } = await rpc.broadcastTx(bytes);
    if (code !== 0) return log.split(':')[0] ?? '';
    for (;;) {
      const result = await rpc.tx(hash);
      if (result !== null) return result.code === 0 ? 'OK' : (result.log.split(':')[0] ?? '');
      await delay(2);
    }
  };
  const record = async (key: Uint8Array): Promise<Uint8Array> => (await rpc.query('/record', key)).value;
  const bond = nopg(DEFAULT_PARAMS.nodeBondMin);
  const register: Op = {
    kind: 'register-node',
    name: 'n',
    endpoint: 'http://127.0.0.1:1',
    payout: OPERATOR_ID,
    bond,
  };
  assert.equal(await submit([register]), 'OK');
  return { rpc, submit, record };
}

function manifestOf(network: Network): ModelManifest {
  return {
    version: 1,
    name: 'perceptron',
    task: 'classification',
    weights: { kind: 'zk-verifying-key', digest: verifyingKeyHash(network.keyBytes) },
    tokenizerHash: null,
    methods: ['zk'],
    contextTokens: 0,
    license: 'Apache-2.0',
  };
}

async function registrationOp(network: Network): Promise<OpOf<'register-model'>> {
  const { key, model, committed, backend, keyBytes } = network;
  const assignment = assign(planRegistration(key), model, []);
  const registrationProof = await proveRegistration({ key, assignment, committed, backend });
  const verificationGas = zkKeyGas(
    { ops: zkPlanningUnits(key), tensors: key.tensors.length, batchMax: key.maxBatch },
    zkRegistrationGas(key),
  );
  return {
    kind: 'register-model',
    manifest: manifestOf(network),
    zk: { verifyingKey: keyBytes, registrationProof, nodeId: NODE_ID, verificationGas },
  };
}

async function openKey({ rpc }: Chain, modelId: Uint8Array): Promise<Op> {
  const { height, blockHash } = await rpc.status();
  const binding: RegistrationBinding = {
    chainId: CHAIN,
    operator: OPERATOR_ID,
    nodeId: NODE_ID,
    keyEpoch: 1,
    signPublicKey: SIGNER.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot([merkleLeafHash(modelId)]),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight: height,
    refBlockHash: blockHash,
  };
  const possession = SIGNER.sign(possessionMessage(registrationBindingHash(nodeCrypto, binding)));
  return {
    kind: 'open-key',
    binding,
    method: 'zk',
    modelId,
    modelIds: [modelId],
    evidence: null,
    possession,
  };
}

interface Answered {
  readonly rows: Pick<OpOf<'prove'>, 'salts' | 'inputs' | 'outputs' | 'receipts'>;
  readonly receipts: readonly SignedObject<Receipt>[];
}

/** Receipts over a batch of requests, chained behind `previous`. */
function answer(
  modelId: Uint8Array,
  tensors: { readonly inputs: readonly Uint8Array[]; readonly outputs: readonly Uint8Array[] },
  previous: SignedObject<Receipt> | null,
): Answered {
  const receipts: SignedObject<Receipt>[] = [];
  const salts = Array.from({ length: BATCH }, (_, b) => new Uint8Array(32).fill(10 + b));
  const row = (list: readonly Uint8Array[], b: number): Uint8Array[] =>
    list.map((tensor) => zkRow(tensor, tensor.length / BATCH, b));
  for (let b = 0; b < BATCH; b++) {
    const last = receipts.at(-1) ?? previous;
    const request = encodeZkRequest({
      modelId,
      salt: salts[b] as Uint8Array,
      tensors: row(tensors.inputs, b),
    });
    const response = encodeZkResponse({ tensors: row(tensors.outputs, b) });
    receipts.push(
      RECEIPT.sign(
        {
          version: 1,
          chainId: CHAIN,
          nodeId: NODE_ID,
          keyId: KEY_ID,
          keyEpoch: 1,
          seq: (last?.value.seq ?? 0) + 1,
          prevReceiptHash: last?.hash ?? ZERO_DIGEST,
          refHeight: 1,
          refBlockHash: ZERO_DIGEST,
          modelId,
          engine: { name: 'integer-graph', version: '1', proxied: false },
          sampling: { maxOutputTokens: 0 },
          method: 'zk',
          requestHash: requestHashOf(request),
          responseHash: responseHashOf(response),
          responseForm: 'body',
          outcome: 'completed',
          usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 },
          offerHash: ZERO_DIGEST,
          asset: 1,
          amount: credit(0n),
          channelId: ZERO_DIGEST,
          lane: 0,
          cumulative: credit(0n),
          running: [],
          idempotencyKey: null,
          receivedAtMs: 0,
          completedAtMs: 0,
        },
        SIGNER.sign,
      ),
    );
  }
  const payloads = receipts.map(({ cose }) => cose.payload);
  return { rows: { salts, ...tensors, receipts: payloads }, receipts };
}

/** Settles the batch and reads its claim back. */
async function settle(
  chain: Chain,
  { receipts }: Answered,
  previous: SignedObject<Receipt> | null,
): Promise<{ readonly claimId: Uint8Array; readonly claim: ClaimRecord }> {
  const [first, last] = [receipts[0], receipts.at(-1)];
  assert.ok(first !== undefined && last !== undefined);
  const firstSeq = first.value.seq;
  const receiptsRoot = merkleRoot(receipts.map(({ hash }) => receiptLeafHash(hash)));
  const prevReceiptHash = previous?.hash ?? ZERO_DIGEST;
  const batch = {
    firstSeq,
    count: BATCH,
    prevReceiptHash,
    lastReceiptHash: last.hash,
    receiptsRoot,
    running: [],
  };
  const statement = STATEMENT.sign(
    { version: 1, chainId: CHAIN, keyId: KEY_ID, batch, charges: [] },
    SIGNER.sign,
  );
  const op: Op = { kind: 'settle', statement: statement.bytes, vouchers: [], receipts: [] };
  assert.equal(await chain.submit([op]), 'OK');
  const claimId = zkClaimIdOf({ chainId: CHAIN, keyId: KEY_ID, firstSeq, count: BATCH, receiptsRoot });
  return { claimId, claim: decode(claimRecordCodec, await chain.record(recordKey.claim(claimId)), 'claim') };
}

test('ZKC-9 ZKC-3: a registered model answers, its claim is settled, proved and verified; nothing else passes', async (t) => {
  const chain = await startChain(t);
  const network = await openNetwork(mlp([20, 7, 3], { maxBatch: 4 }));
  const { keyBytes } = network;
  const registration = await registrationOp(network);
  const zk = registration.zk as NonNullable<typeof registration.zk>;
  const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes[at] as number) ^ 1);

  const unproved = { ...registration, zk: { ...zk, registrationProof: null } };
  assert.equal(await chain.submit([unproved]), 'E_REGISTRATION_PROOF');
  const forged = flipped(zk.registrationProof as Uint8Array, 1_000);
  assert.equal(
    await chain.submit([{ ...registration, zk: { ...zk, registrationProof: forged } }]),
    'E_REGISTRATION_PROOF',
  );
  const cut = { ...registration, zk: { ...zk, verifyingKey: keyBytes.slice(0, -1) } };
  assert.equal(await chain.submit([cut]), 'E_VERIFYING_KEY');
  assert.equal(await chain.submit([registration]), 'OK');

  const modelId = modelIdOf(registration.manifest);
  const hash = verifyingKeyHash(keyBytes);
  const row: VerifyingKeyRecord = decode(
    verifyingKeyRecordCodec,
    await chain.record(recordKey.verifyingKey(hash)),
    'key',
  );
  assert.deepEqual(
    [row.verifyingKey, row.batchMax, row.inputRowBytes, row.outputRowBytes],
    [keyBytes, 4, [20], [12]],
  );
  assert.equal(await chain.submit([await openKey(chain, modelId)]), 'OK');

  const { inputs, outputs } = statementFor(network, BATCH);
  const honest = answer(modelId, { inputs, outputs }, null);
  const { claimId, claim } = await settle(chain, honest, null);
  const context = { chainId: CHAIN, claimId, claim, modelId, verifyingKeyHash: hash, shapes: row };
  const bound = bindZkClaim(context, honest.rows);
  assert.ok(bound.ok);
  const proof = await proveHonestly(network, bound.statement);
  assert.equal(proof.length, row.proofBytes[1], 'as long as the chain reckoned');
  const op: OpOf<'prove'> = {
    kind: 'prove',
    claimId,
    ...honest.rows,
    proof,
    verificationGas: claim.verificationGas,
    redeem: null,
  };

  const bond = async (): Promise<bigint> =>
    decode(nodeRecordCodec, await chain.record(recordKey.node(NODE_ID)), 'node').bond;
  const before = await bond();
  const other = await proveHonestly(network, { ...bound.statement, nonce: new Uint8Array(32).fill(9) });
  for (const bad of [flipped(proof, proof.length >> 1), proof.slice(0, -1), other]) {
    assert.equal(await chain.submit([{ ...op, proof: bad }]), 'E_PROOF');
  }
  assert.ok((await bond()) < before, 'each of them cost bond');
  assert.equal(
    await chain.submit([{ ...op, outputs: outputs.map((each) => flipped(each, 0)) }]),
    'E_BINDING',
  );
  assert.equal(await chain.submit([op]), 'OK');
  const key = decode(nodeKeyRecordCodec, await chain.record(recordKey.nodeKey(KEY_ID)), 'key');
  assert.deepEqual([key.settledSeq, key.openClaims, key.unpaidRanges], [BATCH, [], []]);

  // Something else was answered than the model gives: no proof of it exists, and one of the truth is not bound to it.
  const last = honest.receipts.at(-1) as SignedObject<Receipt>;
  const lie = answer(modelId, { inputs, outputs: outputs.map((each) => flipped(each, 0)) }, last);
  const lied = await settle(chain, lie, last);
  const about = bindZkClaim({ ...context, ...lied }, lie.rows);
  assert.ok(about.ok);
  const truth = await proveHonestly(network, { ...about.statement, outputs });
  const attempt = { ...op, claimId: lied.claimId, ...lie.rows, proof: truth };
  assert.equal(await chain.submit([attempt]), 'E_PROOF');
  assert.equal(await chain.submit([{ ...attempt, outputs }]), 'E_BINDING');
});
