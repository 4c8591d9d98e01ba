/** What a node does before it takes work: its models and itself on chain, and a fresh key with evidence in a final block. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Attester } from '@haca/attester';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
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
  keyIdOf,
  type ModelManifest,
  modelIdOf,
  type NodeKeyRecord,
  nodeIdOf,
  nopg,
  possessionMessage,
  type RegistrationBinding,
  registrationBindingCodec,
  registrationBindingHash,
} from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';
import { type KeyFile, keyFileCodec } from './journal.ts';
import type { KeyIdentity } from './key-stream.ts';
import type { Operator } from './operator.ts';

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
): Promise<readonly Uint8Array[]> {
  const ids: Uint8Array[] = [];
  for (const manifest of manifests) {
    const modelId = modelIdOf(manifest);
    ids.push(modelId);
    if ((await chain.model(modelId)) !== undefined) continue;
    await operator.submit([{ kind: 'register-model', manifest }]).catch(async (error: unknown) => {
      // Another node may have registered the same model in the meantime.
      if ((await chain.model(modelId)) === undefined) throw error;
    });
  }
  return ids.sort(compareBytes);
}

/** The node's id: from its file if the chain knows it, else by registering it. */
export async function ensureNode(
  chain: NodeChainView,
  operator: Operator,
  dataDir: string,
  profile: NodeProfile,
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
        await operator.submit([change]);
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
  const result = await operator.deliver(operator.sign([op], nonce));
  if (result.code !== 0)
    throw new Error(`the chain refused to register the node: code ${result.code} ${result.log}`);
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

/** Makes a key that never existed before, gets evidence for it and opens it on chain; returns when that is final. */
export async function openFreshKey(
  chain: NodeChainView,
  operator: Operator,
  nodeId: Uint8Array,
  modelIds: readonly Uint8Array[],
  configHash: Uint8Array,
  attester: Attester | null,
  keysDir: string,
): Promise<{ readonly identity: KeyIdentity; readonly record: NodeKeyRecord; readonly dir: string }> {
  const seed = new Uint8Array(randomBytes(32));
  const signer = ed25519SignerFromSeed(seed);
  const node = await chain.node(nodeId);
  const keyEpoch = Math.max(node?.keyEpoch ?? 0, ...listKeyDirs(keysDir).map(({ epoch }) => epoch), 0) + 1;
  const { height: refHeight, blockHash: refBlockHash } = chain.head();
  const binding: RegistrationBinding = {
    chainId: chain.chainId,
    operator: operator.accountId,
    nodeId,
    keyEpoch,
    signPublicKey: signer.publicKey,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: merkleRoot(modelIds.map(merkleLeafHash)),
    configHash,
    gpuEvidenceRoot: null,
    refHeight,
    refBlockHash,
  };
  const bindingHash = registrationBindingHash(nodeCrypto, binding);
  const evidence = await attest(attester, bindingHash, binding);
  const keyId = keyIdOf(chain.chainId, nodeId, keyEpoch, signer.publicKey);
  const identity: KeyIdentity = {
    chainId: chain.chainId,
    nodeId,
    keyId,
    keyEpoch,
    signer,
    evidence,
    binding,
    modelIds,
  };
  const dir = join(keysDir, `${keyEpoch}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeAtomically(join(dir, 'key.cbor'), encode(keyFileCodec, keyFileOf(identity, seed)));
  const result = await operator.submit([
    {
      kind: 'open-key',
      binding,
      method: attester === null ? 'signed' : 'tee',
      modelId: null,
      modelIds,
      evidence,
      possession: signer.sign(possessionMessage(bindingHash)),
    },
  ]);
  while (chain.finalHeight() < result.height) await new Promise((settle) => setTimeout(settle, 10));
  const record = await chain.nodeKey(keyId, chain.finalHeight());
  if (record === undefined) throw new Error('the key is not in the final state it was opened in');
  return { identity, record, dir };
}

async function attest(
  attester: Attester | null,
  bindingHash: Uint8Array,
  { signPublicKey, refBlockHash }: RegistrationBinding,
): Promise<EvidenceEnvelope | null> {
  if (attester === null) return null;
  const document = await attester.attest({
    userData: bindingHash,
    publicKey: signPublicKey,
    nonce: refBlockHash,
  });
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

export function readKeyIdentity(dir: string, chainId: string): KeyIdentity {
  const file = decode(keyFileCodec, new Uint8Array(readFileSync(join(dir, 'key.cbor'))), 'key');
  const binding = decode(registrationBindingCodec, file.binding, 'key.binding');
  return {
    chainId,
    nodeId: binding.nodeId,
    keyId: file.keyId,
    keyEpoch: file.keyEpoch,
    signer: ed25519SignerFromSeed(file.seed),
    evidence: file.evidence.length === 0 ? null : { kind: 'nitro', document: file.evidence },
    binding,
    modelIds: file.modelIds,
  };
}

function keyFileOf({ keyId, keyEpoch, evidence, binding, modelIds }: KeyIdentity, seed: Uint8Array): KeyFile {
  return {
    seed,
    keyId,
    keyEpoch,
    evidence: evidence?.document ?? new Uint8Array(0),
    evidenceKind: evidence?.kind ?? '',
    binding: encode(registrationBindingCodec, binding),
    modelIds,
  };
}

/** What of the configuration the evidence stands for: engines and their versions. */
export function configHashOf(
  engines: readonly { readonly name: string; readonly version: string }[],
): Uint8Array {
  const text = engines.map(({ name, version }) => `${name} ${version}`).join('\n');
  return domainHash('haca/node-config/1', utf8Encode(text));
}

function writeAtomically(file: string, content: string | Uint8Array): void {
  writeFileSync(`${file}.new`, content, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}
