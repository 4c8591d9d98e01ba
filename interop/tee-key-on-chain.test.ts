/** Evidence of the test enclave, registered over RPC at a full node: what the chain accepts, what it marks, what it refuses. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createTestEnclave, createTestRoot, measureTestImage } from '@haca/attester';
import { makeGenesisDocument, startFullNode } from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import { connectRpc, ed25519SignerFromSeed, nodeCrypto, type RpcClient } from '@haca/platform';
import { decode, merkleLeafHash, merkleRoot, sha256, utf8Encode } from '@haca/primitives';
import {
  accountIdOf,
  DEFAULT_PARAMS,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  nodeIdOf,
  nodeKeyRecordCodec,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  pcrRegisters,
  possessionMessage,
  type RegistrationBinding,
  recordKey,
  registrationBindingHash,
  signTransaction,
  ZERO_DIGEST,
} from '@haca/protocol';

const CHAIN = 'haca-interop-1';
const VALIDATOR_SEED = new Uint8Array(32).fill(1);
const OPERATOR = ed25519SignerFromSeed(new Uint8Array(32).fill(2));
const OPERATOR_KEY = { algorithm: 'ed25519' as const, publicKey: OPERATOR.publicKey };
const OPERATOR_ID = accountIdOf(OPERATOR_KEY);
const NODE_ID = nodeIdOf(CHAIN, OPERATOR_ID, 0);
const NODE_SIGNER = ed25519SignerFromSeed(new Uint8Array(32).fill(3));
const ROOT = createTestRoot(new Uint8Array(32).fill(4));
const MEASUREMENT = measureTestImage(utf8Encode('approved image'));
const MODEL: ModelManifest = {
  version: 1,
  name: 'tiny',
  task: 'chat',
  weights: { kind: 'sha256', digest: sha256(utf8Encode('weights')) },
  tokenizerHash: null,
  methods: ['tee', 'signed'],
  contextTokens: 1024,
  license: 'Apache-2.0',
};

interface Network {
  readonly rpc: RpcClient;
  /** Code name of the outcome in a block, or of the refusal at admission; `OK` where it was applied. */
  readonly submit: (ops: readonly Op[]) => Promise<string>;
}

async function startNetwork(t: TestContext, simulated: boolean): Promise<Network> {
  const home = mkdtempSync(join(tmpdir(), 'haca-interop-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const selfBond = DEFAULT_PARAMS.validatorBondMin;
  const funds = 100_000n * 10n ** 9n;
  const app = {
    simulated,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - selfBond - funds,
    accounts: [{ accountId: OPERATOR_ID, nopg: funds }],
    validators: [
      { consensusKey: ed25519SignerFromSeed(VALIDATOR_SEED).publicKey, operator: OPERATOR_ID, selfBond },
    ],
    assets: [],
    measurements: [{ name: 'approved image', kind: 'nitro' as const, registers: pcrRegisters(MEASUREMENT) }],
    testRoots: simulated ? [ROOT.sha256] : [],
  };
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: Date.now(), app });
  const genesis = parseGenesisDocument(JSON.parse(JSON.stringify(document)));
  const node = await startFullNode({ home, genesis, validatorSeed: VALIDATOR_SEED, blockIntervalMs: 5 });
  t.after(node.close);
  const rpc = connectRpc(node.rpcUrl);
  let nonce = 0;
  const submit = async (ops: readonly Op[]): Promise<string> => {
    const { height } = await rpc.status();
    const fees = { maxFee: nopg(100_000n), tipCap: nopg(0n), feePayer: null };
    const body = {
      version: 1 as const,
      chainId: CHAIN,
      sender: OPERATOR_KEY,
      nonce: nonce++,
      validUntil: height + 100,
    };
    const { bytes } = signTransaction({ ...body, ...fees, ops: [...ops] }, OPERATOR.sign);
    const { code, log, hash } = await rpc.broadcastTx(bytes);
    if (code !== 0) return log.split(':')[0] ?? '';
    for (;;) {
      const result = await rpc.tx(hash);
      if (result !== null) return result.code === 0 ? 'OK' : (result.log.split(':')[0] ?? '');
      await delay(2);
    }
  };
  const payout = OPERATOR_ID;
  const bond = nopg(DEFAULT_PARAMS.nodeBondMin);
  assert.equal(
    await submit([{ kind: 'register-node', name: 'n', endpoint: 'http://127.0.0.1:1', payout, bond }]),
    'OK',
  );
  assert.equal(await submit([{ kind: 'register-model', manifest: MODEL }]), 'OK');
  return { rpc, submit };
}

interface Variation {
  readonly keyEpoch?: number;
  readonly image?: string;
  readonly root?: ReturnType<typeof createTestRoot>;
  readonly nowMs?: number;
  readonly nonce?: Uint8Array;
  readonly userData?: Uint8Array;
  readonly publicKey?: Uint8Array;
  readonly refBlockHash?: Uint8Array;
}

async function openKey(rpc: RpcClient, over: Variation = {}): Promise<Op> {
  const { height, blockHash } = await rpc.status();
  const modelIds = [modelIdOf(MODEL)];
  const binding: RegistrationBinding = {
    chainId: CHAIN,
    operator: OPERATOR_ID,
    nodeId: NODE_ID,
    keyEpoch: over.keyEpoch ?? 1,
    signPublicKey: NODE_SIGNER.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot(modelIds.map(merkleLeafHash)),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight: height,
    refBlockHash: over.refBlockHash ?? blockHash,
  };
  const bindingHash = registrationBindingHash(nodeCrypto, binding);
  const enclave = createTestEnclave({
    root: over.root ?? ROOT,
    measurement: over.image === undefined ? MEASUREMENT : measureTestImage(utf8Encode(over.image)),
    nowMs: () => over.nowMs ?? Date.now(),
    seed: new Uint8Array(32).fill(5),
  });
  const document = await enclave.attest({
    bindingHash: over.userData ?? bindingHash,
    signPublicKey: over.publicKey ?? NODE_SIGNER.publicKey,
    refBlockHash: over.nonce ?? binding.refBlockHash,
  });
  const possession = NODE_SIGNER.sign(possessionMessage(bindingHash));
  return {
    kind: 'open-key',
    binding,
    method: 'tee',
    modelId: null,
    modelIds,
    evidence: { kind: 'nitro', document },
    possession,
  };
}

test('a key with fresh evidence of an approved image is opened, and stays marked as simulated', async (t) => {
  const { rpc, submit } = await startNetwork(t, true);
  assert.equal(await submit([await openKey(rpc)]), 'OK');
  const keyId = keyIdOf(CHAIN, NODE_ID, 1, NODE_SIGNER.publicKey);
  const { value } = await rpc.query('/record', recordKey.nodeKey(keyId));
  const { evidence, method } = decode(nodeKeyRecordCodec, value, 'node key');
  assert.equal(method, 'tee');
  assert.equal(evidence?.simulated, true);
  assert.equal(evidence.measurement, 'approved image');
});

test('evidence that is not exactly for this key, image, block and time opens nothing', async (t) => {
  const { rpc, submit } = await startNetwork(t, true);
  const minuteMs = 60_000;
  const refused: readonly (readonly [string, Variation])[] = [
    ['another image', { image: 'another image' }],
    ['another root', { root: createTestRoot(new Uint8Array(32).fill(9)) }],
    ['too old', { nowMs: Date.now() - 6 * minuteMs }],
    ['from the future', { nowMs: Date.now() + 2 * minuteMs }],
    ['another nonce', { nonce: new Uint8Array(32).fill(1) }],
    ['another binding', { userData: new Uint8Array(64).fill(1) }],
    ['another signing key', { publicKey: new Uint8Array(32).fill(1) }],
    ['an unknown block', { refBlockHash: new Uint8Array(32).fill(1) }],
  ];
  const codes = new Map<string, string>();
  for (const [name, over] of refused) codes.set(name, await submit([await openKey(rpc, over)]));
  for (const [name, code] of codes) assert.notEqual(code, 'OK', name);
  assert.deepEqual(
    new Set(codes.values()),
    new Set(['E_EVIDENCE', 'E_MEASUREMENT', 'E_FRESHNESS']),
    JSON.stringify([...codes]),
  );
  // Nothing was applied: the same key epoch is still free.
  assert.equal(await submit([await openKey(rpc)]), 'OK');
  const answer = await rpc.query('/invariants', new Uint8Array(0));
  assert.equal((JSON.parse(new TextDecoder().decode(answer.value)) as { ok: boolean }).ok, true);
});

test('a network that is not simulated refuses the test enclave', async (t) => {
  const { rpc, submit } = await startNetwork(t, false);
  assert.equal(await submit([await openKey(rpc)]), 'E_EVIDENCE');
});
