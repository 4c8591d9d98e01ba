/** What a node does before it takes work: its models and itself on chain, and a fresh key with evidence in a final block. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Attester, GpuAttester } from '@haca/attester';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { makeSealingKey } from '@haca/platform/sealing';
import {
  compareBytes,
  decode,
  domainHash,
  encode,
  merkleLeafHash,
  merkleRoot,
  toHex,
  utf8Encode,
} from '@haca/primitives';
import {
  type EvidenceEnvelope,
  gpuEvidenceRootOf,
  gpuNonceOf,
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  nodeIdOf,
  nopg,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingHash,
  type VerifyingKeyRecord,
  zkKeyGas,
} from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';
import { type KeyFile, keyFileCodec } from './journal.ts';
import type { KeyIdentity } from './key-stream.ts';
import { codeNameOf, type Operator, pause, TransactionRefusedError } from './operator.ts';

export interface NodeProfile {
  readonly name: string;
  readonly endpoint: string;
  readonly bondNopg: bigint;
}

/** Registers the models that are not on chain yet; returns all ids, ascending. */
export async function ensureModels(
  chain: NodeChainView,
  operator: Operator,
  manifests: readonly ModelManifest[],
  signal: AbortSignal,
): Promise<readonly Uint8Array[]> {
  const ids: Uint8Array[] = [];
  for (const manifest of manifests) {
    const modelId = modelIdOf(manifest);
    ids.push(modelId);
    if ((await chain.model(modelId)) !== undefined) continue;
    await operator.submit([{ kind: 'register-model', manifest }], signal).catch(async (error: unknown) => {
      // Another node may have registered the same model in the meantime.
      if ((await chain.model(modelId)) === undefined) throw error;
    });
  }
  return ids.sort(compareBytes);
}

/** What registering a model that can be proved takes beyond its manifest. */
export interface ProvableRegistration {
  readonly manifest: ModelManifest;
  readonly modelId: Uint8Array;
  readonly verifyingKey: Uint8Array;
  /** `zkPlanningUnits` of the key. */
  readonly ops: number;
  readonly tensors: number;
  readonly batchMax: number;
  /** What verifying its registration proof costs. */
  readonly registrationGas: number;
  /** Made only where the chain does not have the model yet. */
  readonly registrationProof: (signal: AbortSignal) => Promise<Uint8Array>;
}

/** Registers a model with its verifying key, paid by the node's own bucket, and returns the key as the chain holds it. */
export async function ensureProvableModel(
  chain: NodeChainView,
  operator: Operator,
  nodeId: Uint8Array,
  model: ProvableRegistration,
  signal: AbortSignal,
): Promise<VerifyingKeyRecord> {
  const { manifest, modelId, verifyingKey } = model;
  if ((await chain.model(modelId)) === undefined) {
    const registrationProof = await model.registrationProof(signal);
    const verificationGas = zkKeyGas(model, model.registrationGas);
    const zk = { verifyingKey, registrationProof, nodeId, verificationGas };
    const op = { kind: 'register-model', manifest, zk } as const;
    const result = await operator.deliver(operator.sign([op], await operator.takeNonce()), signal);
    // Another node may have registered the same model in the meantime.
    if (result.code !== 0 && (await chain.model(modelId)) === undefined) {
      throw new TransactionRefusedError(codeNameOf(result), result.log);
    }
  }
  const record = await chain.verifyingKey(manifest.weights.digest);
  if (record === undefined) throw new Error(`the chain has no verifying key of ${manifest.name}`);
  return record;
}

/** The node's id: from its file if the chain knows it, else by registering it. */
export async function ensureNode(
  chain: NodeChainView,
  operator: Operator,
  dataDir: string,
  profile: NodeProfile,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const file = join(dataDir, 'node.json');
  const known = readNodeFile(file, chain.chainId);
  if (known !== undefined) {
    const record = await chain.node(known);
    if (record !== undefined) {
      const { name, endpoint, payout } = record;
      if (name !== profile.name || endpoint !== profile.endpoint) {
        const change = {
          kind: 'update-node',
          nodeId: known,
          name: profile.name,
          endpoint: profile.endpoint,
          payout,
        } as const;
        await operator.submit([change], signal);
      }
      return known;
    }
  }
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const nonce = await operator.takeNonce();
  const nodeId = nodeIdOf(chain.chainId, operator.accountId, nonce);
  // Written first: after a crash the id is known, whether or not the transaction made it.
  writeAtomically(file, JSON.stringify({ version: 1, chainId: chain.chainId, nodeId: toHex(nodeId) }));
  const { name, endpoint, bondNopg } = profile;
  const op = {
    kind: 'register-node',
    name,
    endpoint,
    payout: operator.accountId,
    bond: nopg(bondNopg),
  } as const;
  const result = await operator.deliver(operator.sign([op], nonce), signal);
  if (result.code !== 0) throw new TransactionRefusedError(codeNameOf(result), result.log);
  return nodeId;
}

function readNodeFile(file: string, chainId: string): Uint8Array | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const { chainId: of, nodeId } = JSON.parse(text) as { chainId: string; nodeId: string };
  return of === chainId ? new Uint8Array(Buffer.from(nodeId, 'hex')) : undefined;
}

export interface FreshKeyParts {
  readonly chain: NodeChainView;
  readonly operator: Operator;
  readonly nodeId: Uint8Array;
  readonly method: 'tee' | 'signed' | 'zk';
  /** Of method `zk`: the one model it proves, alone in the list. */
  readonly modelIds: readonly Uint8Array[];
  readonly configHash: Uint8Array;
  /** Null where keys are not attested. */
  readonly attester: Attester | null;
  /** Null where the enclave has no GPUs. */
  readonly gpuAttester: GpuAttester | null;
  /** SHA-256 of the public key that the node speaks TLS with; null where it speaks plain HTTP. */
  readonly tlsSpkiHash: Uint8Array | null;
  readonly keysDir: string;
  readonly signal: AbortSignal;
}

/** Makes a key that never existed before, gets evidence for it and opens it on chain; returns when that is final. */
export async function openFreshKey(parts: FreshKeyParts): Promise<KeyIdentity> {
  const { chain, operator, nodeId, method, modelIds, keysDir, signal } = parts;
  const seed = new Uint8Array(randomBytes(32));
  const node = await chain.node(nodeId);
  const keyEpoch = Math.max(node?.keyEpoch ?? 0, ...listKeyDirs(keysDir).map(({ epoch }) => epoch), 0) + 1;
  const identity = await identify(parts, keyEpoch, seed);
  const { binding, evidence, gpuEvidence } = identity;
  const dir = keyDir(keysDir, keyEpoch);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeAtomically(join(dir, 'key.cbor'), encode(keyFileCodec, keyFileOf(identity, seed)));
  const possession = identity.signer.sign(possessionMessage(registrationBindingHash(nodeCrypto, binding)));
  const modelId = identity.zkModelId;
  try {
    const ofGpus = gpuEvidence.length === 0 ? {} : { gpuEvidence };
    const key = { binding, method, modelId, modelIds, evidence, possession };
    const op = { kind: 'open-key', ...key, ...ofGpus } as const;
    const result = await operator.submit([op], signal);
    while (chain.finalHeight() < result.height) {
      signal.throwIfAborted();
      await pause(10);
    }
  } catch (error) {
    // It never was a key: nobody can have been promised anything under it.
    if (error instanceof TransactionRefusedError) rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  return identity;
}

export function keyDir(keysDir: string, keyEpoch: number): string {
  return join(keysDir, `${keyEpoch}`);
}

async function identify(parts: FreshKeyParts, keyEpoch: number, seed: Uint8Array): Promise<KeyIdentity> {
  const { chain, operator, nodeId, method, modelIds, configHash, attester, gpuAttester } = parts;
  const signer = ed25519SignerFromSeed(seed);
  // In memory only: a process that comes after this one opens a key of its own.
  const sealing = await makeSealingKey();
  const { height: refHeight, blockHash: refBlockHash } = chain.head();
  const common: RegistrationBinding = {
    chainId: chain.chainId,
    operator: operator.accountId,
    nodeId,
    keyEpoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: sealing.publicKey,
    tlsSpkiHash: parts.tlsSpkiHash,
    modelSetRoot: merkleRoot(modelIds.map(merkleLeafHash)),
    configHash,
    gpuEvidenceRoot: null,
    refHeight,
    refBlockHash,
  };
  // Asked first: the evidence of the enclave is over theirs.
  const gpuEvidence = gpuAttester === null ? [] : await gpuAttester.attest(gpuNonceOf(common));
  const binding = { ...common, gpuEvidenceRoot: gpuEvidenceRootOf(gpuEvidence) };
  const evidence = await attest(attester, registrationBindingHash(nodeCrypto, binding), binding);
  const keyId = keyIdOf(chain.chainId, nodeId, keyEpoch, signer.publicKey);
  const zkModelId = method === 'zk' ? (modelIds[0] as Uint8Array) : null;
  const { chainId } = chain;
  const documents = { evidence, gpuEvidence };
  return { chainId, nodeId, keyId, keyEpoch, signer, ...documents, binding, sealing, modelIds, zkModelId };
}

async function attest(
  attester: Attester | null,
  bindingHash: Uint8Array,
  { signPublicKey, refBlockHash }: RegistrationBinding,
): Promise<EvidenceEnvelope | null> {
  if (attester === null) return null;
  const document = await attester.attest({ bindingHash, signPublicKey, refBlockHash });
  return { kind: attester.kind, document };
}

/** The keys of earlier processes in this folder, oldest first. */
export function listKeyDirs(keysDir: string): readonly { readonly epoch: number; readonly dir: string }[] {
  mkdirSync(keysDir, { recursive: true, mode: 0o700 });
  return readdirSync(keysDir)
    .filter((name) => /^[1-9][0-9]*$/.test(name))
    .map((name) => ({ epoch: Number(name), dir: join(keysDir, name) }))
    .sort((a, b) => a.epoch - b.epoch);
}

/** The key in this folder. Its chain is the one it was made for, whichever that is. */
export function readKeyIdentity(dir: string): KeyIdentity {
  const file = decode(keyFileCodec, new Uint8Array(readFileSync(join(dir, 'key.cbor'))), 'key');
  const { seed, binding, keyId, keyEpoch, evidence, gpuEvidence = [], modelIds, zkModelId } = file;
  const { chainId, nodeId } = binding;
  return {
    chainId,
    nodeId,
    keyId,
    keyEpoch,
    signer: ed25519SignerFromSeed(seed),
    evidence,
    gpuEvidence,
    binding,
    sealing: null,
    modelIds,
    zkModelId: zkModelId ?? null,
  };
}

function keyFileOf(identity: KeyIdentity, seed: Uint8Array): KeyFile {
  const { keyId, keyEpoch, evidence, gpuEvidence, binding, modelIds, zkModelId } = identity;
  const ofZk = zkModelId === null ? {} : { zkModelId };
  const ofGpus = gpuEvidence.length === 0 ? {} : { gpuEvidence };
  return { seed, keyId, keyEpoch, evidence, binding, modelIds, ...ofZk, ...ofGpus };
}

/** What of the configuration the evidence stands for: engines and their versions. */
export function configHashOf(
  engines: readonly { readonly name: string; readonly version: string }[],
): Uint8Array {
  const text = engines.map(({ name, version }) => `${name} ${version}`).join('\n');
  return domainHash('haca/node-config/1', utf8Encode(text));
}

/** The file is there as a whole or not at all, also after a loss of power. */
function writeAtomically(file: string, content: string | Uint8Array): void {
  writeFileSync(`${file}.new`, content, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
  const folder = openSync(dirname(file), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
