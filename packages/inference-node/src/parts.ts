/** What an inference node is made of, as its configuration says: engines, attester, operator, connection to the chain. */
import { readFileSync } from 'node:fs';
import {
  type Attester,
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createSnpTestEnclave,
  createSnpTestRoot,
  createTdxTestEnclave,
  createTdxTestRoot,
  createTestEnclave,
  createTestRoot,
  type GpuAttester,
  measureSnpTestImage,
  measureTdxTestImage,
  measureTestImage,
  openDstackAttester,
  openNitroAttester,
  openNvidiaAttester,
  openTsmAttester,
} from '@haca/attester';
import { parseHzk } from '@haca/circuit';
import { connectRpc, type Ed25519Signer, ed25519SignerFromSeed, type RpcClient } from '@haca/platform';
import { domainHash, fromHex, toHex, utf8Encode } from '@haca/primitives';
import { credit, type ModelManifest, modelIdOf, OFFER } from '@haca/protocol';
import { type Engine, openOnnxChatEngine, openUpstreamEngine } from '@haca/runtime';
import type { NodeChainView } from './chain-view.ts';
import { type ChatEngineConfig, ConfigError, type NodeConfig, type TestEnclaveConfig } from './config.ts';
import type { PricedModel } from './inference.ts';
import type { Operator } from './operator.ts';
import { openTdxTestEnclave } from './test-platform.ts';
import { readTlsIdentity, type TlsIdentity } from './tls-files.ts';
import { openProvableModel, type ProvableModel } from './zk/provable-model.ts';

export interface NodeParts {
  readonly engines: readonly Engine[];
  /** Models whose answers are proved. */
  readonly provable: readonly ProvableModel[];
  /** Null: keys are software keys, and answers merely signed. */
  readonly attester: Attester | null;
  /** Null: the enclave has no GPUs. */
  readonly gpuAttester: GpuAttester | null;
  /** Null: the node speaks plain HTTP. */
  readonly tls: TlsIdentity | null;
  readonly operatorSigner: Ed25519Signer;
  readonly rpc: RpcClient;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Milliseconds on a clock that only goes forward. */
  readonly monotonicMs: () => number;
}

export async function openParts(config: NodeConfig): Promise<NodeParts> {
  const provable = config.engines
    .filter((engine) => engine.kind === 'zk')
    .map((engine) => openProvableModel(parseHzk(new Uint8Array(readFileSync(engine.file))), engine));
  const ids = new Set(provable.map(({ modelId }) => toHex(modelId)));
  if (ids.size < provable.length) throw new ConfigError('configuration: engines name one proved model twice');
  return {
    engines: await Promise.all(config.engines.filter((engine) => engine.kind !== 'zk').map(openEngine)),
    provable,
    attester: openAttester(config),
    gpuAttester: openGpuAttester(config),
    tls: config.tls === null ? null : readTlsIdentity(config.tls),
    operatorSigner: readOperator(config.operatorFile),
    rpc: connectRpc(config.rpcUrl),
    nowMs: Date.now,
    monotonicMs: () => performance.now(),
  };
}

function openEngine(config: ChatEngineConfig): Promise<Engine> {
  if (config.kind === 'onnx') return openOnnxChatEngine({ dir: config.dir });
  const apiKey = config.apiKeyEnv === null ? undefined : process.env[config.apiKeyEnv];
  return Promise.resolve(
    openUpstreamEngine({
      baseUrl: config.baseUrl,
      proxied: config.proxied,
      ...(apiKey === undefined ? {} : { apiKey }),
      models: config.models.map(({ name, upstreamName, contextTokens, license }) => ({
        name,
        upstreamName,
        manifest: upstreamManifest(config.baseUrl, name, contextTokens, license),
      })),
    }),
  );
}

/** The weights behind somebody else's server are not known here: the commitment names the service, nothing more. */
function upstreamManifest(
  baseUrl: string,
  name: string,
  contextTokens: number,
  license: string,
): ModelManifest {
  return {
    version: 1,
    name,
    task: 'chat',
    weights: {
      kind: 'sha256',
      digest: domainHash('haca/upstream-model/1', utf8Encode(`${baseUrl} ${name}`)),
    },
    tokenizerHash: null,
    methods: ['tee', 'signed'],
    contextTokens,
    license,
  };
}

function openAttester({ attester }: NodeConfig): Attester | null {
  switch (attester.kind) {
    case 'none':
      return null;
    case 'test-enclave':
      return openTestEnclave(attester);
    case 'tsm': {
      const { guest, privlevel, certificatesDir } = attester;
      return openTsmAttester({
        kind: guest,
        ...(privlevel === null ? {} : { privlevel }),
        ...(certificatesDir === null ? {} : { certificatesDir }),
      });
    }
    case 'dstack':
      return openDstackAttester(attester);
    case 'nitro':
      return openNitroAttester(attester);
  }
}

function openTestEnclave(config: TestEnclaveConfig): Attester {
  const seed = readRootSeed(config);
  const image = utf8Encode(config.image);
  const nowMs = Date.now;
  if (config.shape === 'tdx') {
    const [root, measurement] = [createTdxTestRoot(seed), measureTdxTestImage(image)];
    const { platformFile } = config;
    return platformFile === null
      ? createTdxTestEnclave({ root, measurement })
      : openTdxTestEnclave(root, measurement, platformFile);
  }
  if (config.shape === 'snp')
    return createSnpTestEnclave({
      root: createSnpTestRoot(seed),
      measurement: measureSnpTestImage(image),
      nowMs,
    });
  return createTestEnclave({ root: createTestRoot(seed), measurement: measureTestImage(image), nowMs });
}

function openGpuAttester({ attester }: NodeConfig): GpuAttester | null {
  if (attester.kind === 'none' || attester.gpu === null) return null;
  const { gpu } = attester;
  if (gpu.kind === 'command') return openNvidiaAttester(gpu);
  // Configurations have test GPUs beside a test enclave only.
  if (attester.kind !== 'test-enclave') throw new ConfigError('configuration: test GPUs take a test enclave');
  return createNvidiaTestGpus({ root: createNvidiaTestRoot(readRootSeed(attester)), count: gpu.count });
}

function readRootSeed({ rootSeedFile }: TestEnclaveConfig): Uint8Array {
  return fromHex(readFileSync(rootSeedFile, 'utf8').trim());
}

function readOperator(file: string): Ed25519Signer {
  const { seed } = JSON.parse(readFileSync(file, 'utf8')) as { seed?: unknown };
  if (typeof seed !== 'string') throw new ConfigError(`${file} has no seed: is it a wallet file?`);
  return ed25519SignerFromSeed(fromHex(seed, file));
}

/** A model that is offered, and what one request of it costs at least; null: what the node asks for everything. */
export interface OfferedModel {
  readonly name: string;
  readonly manifest: ModelManifest;
  /** For a model whose inferences have one price each. */
  readonly price: bigint | null;
}

/** The offers of one key, valid a little beyond its life: who knows the key knows the prices that hold under it. */
export function signOffers(
  models: readonly OfferedModel[],
  prices: NodeConfig['prices'],
  chain: NodeChainView,
  operator: Operator,
  nodeId: Uint8Array,
): ReadonlyMap<string, PricedModel> {
  const { keyTtl, settleWindow } = chain.config.params;
  const { height } = chain.head();
  const terms = {
    version: 1,
    chainId: chain.chainId,
    nodeId,
    asset: prices.asset,
    validFrom: Math.max(1, height),
    validUntil: height + keyTtl + settleWindow,
  } as const;
  const served = models.map(({ name, manifest, price }) => {
    const modelId = modelIdOf(manifest);
    const subject = { ...terms, ...termsOf(prices, price), modelId, tokenizerHash: manifest.tokenizerHash };
    const offer = OFFER.sign(subject, operator.signer.sign);
    return [name, { name, modelId, manifest, offer }] as const;
  });
  return new Map(served);
}

function termsOf(prices: NodeConfig['prices'], price: bigint | null) {
  const perToken = price === null;
  return {
    inputPrice: credit(perToken ? prices.inputPrice : 0n),
    cachedInputPrice: credit(perToken ? prices.cachedInputPrice : 0n),
    outputPrice: credit(perToken ? prices.outputPrice : 0n),
    requestPrice: credit(price ?? prices.requestPrice),
    minCharge: credit(perToken ? prices.minCharge : 0n),
  };
}
