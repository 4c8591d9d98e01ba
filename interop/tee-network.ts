/** A full node of a network of one, and an operator with a node and a model: where tests submit what they made. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Attester, GpuAttester } from '@haca/attester';
import { makeGenesisDocument, startFullNode } from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import {
  connectRpc,
  type Ed25519Signer,
  ed25519SignerFromSeed,
  nodeCrypto,
  type RpcClient,
} from '@haca/platform';
import { merkleLeafHash, merkleRoot, sha256, utf8Encode } from '@haca/primitives';
import {
  accountIdOf,
  DEFAULT_PARAMS,
  gpuEvidenceRootOf,
  gpuNonceOf,
  type Measurement,
  type ModelManifest,
  modelIdOf,
  nodeIdOf,
  nopg,
  OPG_SUPPLY_NOPG,
  type Op,
  type OpOf,
  type ProtocolParams,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  signTransaction,
  ZERO_DIGEST,
} from '@haca/protocol';

export const CHAIN = 'haca-interop-1';
const VALIDATOR_SEED = new Uint8Array(32).fill(1);
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

/** An account with a registered node. */
export interface TestOperator {
  readonly id: Uint8Array;
  readonly nodeId: Uint8Array;
  /** Code name of the outcome in a block, or of the refusal at admission; `OK` where it was applied. */
  readonly submit: (ops: readonly Op[]) => Promise<string>;
}

export interface TestNetwork {
  readonly rpc: RpcClient;
  readonly operators: readonly [TestOperator, TestOperator];
}

export interface TestNetworkOptions {
  readonly simulated: boolean;
  readonly testRoots: readonly Uint8Array[];
  readonly measurements: readonly Measurement[];
  readonly params?: Partial<ProtocolParams>;
}

export async function startTestNetwork(t: TestContext, options: TestNetworkOptions): Promise<TestNetwork> {
  const home = mkdtempSync(join(tmpdir(), 'haca-interop-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const signers = [2, 3].map((byte) => ed25519SignerFromSeed(new Uint8Array(32).fill(byte)));
  const ids = signers.map(accountOf);
  const params = { ...DEFAULT_PARAMS, ...options.params };
  const selfBond = params.validatorBondMin;
  const funds = 200_000n * 10n ** 9n;
  const { simulated, testRoots, measurements } = options;
  const app = {
    simulated,
    params,
    reserveNopg: OPG_SUPPLY_NOPG - selfBond - 2n * funds,
    accounts: ids.map((accountId) => ({ accountId, nopg: funds })),
    validators: [
      {
        consensusKey: ed25519SignerFromSeed(VALIDATOR_SEED).publicKey,
        operator: ids[0] as Uint8Array,
        selfBond,
      },
    ],
    assets: [],
    measurements,
    testRoots: simulated ? testRoots : [],
  };
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: Date.now(), app });
  const genesis = parseGenesisDocument(JSON.parse(JSON.stringify(document)));
  const node = await startFullNode({ home, genesis, validatorSeed: VALIDATOR_SEED, blockIntervalMs: 5 });
  t.after(node.close);
  const rpc = connectRpc(node.rpcUrl);
  const operators = signers.map((signer) => openOperator(rpc, signer)) as [TestOperator, TestOperator];
  for (const { id, submit } of operators) {
    const bond = nopg(params.nodeBondMin);
    const endpoint = 'http://127.0.0.1:1';
    assert.equal(await submit([{ kind: 'register-node', name: 'n', endpoint, payout: id, bond }]), 'OK');
  }
  assert.equal(await operators[0].submit([{ kind: 'register-model', manifest: MODEL }]), 'OK');
  return { rpc, operators };
}

function accountOf({ publicKey }: Ed25519Signer): Uint8Array {
  return accountIdOf({ algorithm: 'ed25519', publicKey });
}

function openOperator(rpc: RpcClient, signer: Ed25519Signer): TestOperator {
  const sender = { algorithm: 'ed25519' as const, publicKey: signer.publicKey };
  const id = accountOf(signer);
  let nonce = 0;
  const submit = async (ops: readonly Op[]): Promise<string> => {
    const { height } = await rpc.status();
    const fees = { maxFee: nopg(1_000_000n), tipCap: nopg(0n), feePayer: null };
    const body = { version: 1 as const, chainId: CHAIN, sender, nonce, validUntil: height + 100 };
    const { bytes } = signTransaction({ ...body, ...fees, ops: [...ops] }, signer.sign);
    const { code, log, hash } = await rpc.broadcastTx(bytes);
    if (code !== 0) return log.split(':')[0] ?? '';
    nonce++;
    for (;;) {
      const result = await rpc.tx(hash);
      if (result !== null) return result.code === 0 ? 'OK' : (result.log.split(':')[0] ?? '');
      await delay(2);
    }
  };
  return { id, nodeId: nodeIdOf(CHAIN, id, 0), submit };
}

export interface KeyParts {
  readonly rpc: RpcClient;
  readonly operator: Pick<TestOperator, 'id' | 'nodeId'>;
  readonly attester: Attester;
  readonly gpus?: GpuAttester;
  readonly keyEpoch?: number;
  /** In place of what was asked of the attester. */
  readonly over?: Partial<RegistrationBinding>;
}

/** The operation that opens a fresh key, the way an inference node makes it, and the key's public half. */
export async function openKeyOp(parts: KeyParts): Promise<OpOf<'open-key'>> {
  const { rpc, operator, attester, gpus, keyEpoch = 1, over = {} } = parts;
  const { height, blockHash } = await rpc.status();
  const modelIds = [modelIdOf(MODEL)];
  const signer = ed25519SignerFromSeed(sha256(Uint8Array.of(...operator.id, keyEpoch)));
  const binding: RegistrationBinding = {
    chainId: CHAIN,
    operator: operator.id,
    nodeId: operator.nodeId,
    keyEpoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot(modelIds.map(merkleLeafHash)),
    configHash: ZERO_DIGEST,
    gpuEvidenceRoot: null,
    refHeight: height,
    refBlockHash: blockHash,
  };
  const gpuEvidence = gpus === undefined ? [] : await gpus.attest(gpuNonceOf(binding));
  const bound = { ...binding, gpuEvidenceRoot: gpuEvidenceRootOf(gpuEvidence) };
  const { signPublicKey, refBlockHash } = bound;
  const bindingHash = registrationBindingHash(nodeCrypto, bound);
  const document = await attester.attest({ bindingHash, signPublicKey, refBlockHash });
  const stated = { ...bound, ...over };
  return {
    kind: 'open-key',
    binding: stated,
    method: 'tee',
    modelId: null,
    modelIds,
    evidence: { kind: attester.kind, document },
    possession: signer.sign(possessionMessage(registrationBindingHash(nodeCrypto, stated))),
    ...(gpuEvidence.length === 0 ? {} : { gpuEvidence: [...gpuEvidence] }),
  };
}
