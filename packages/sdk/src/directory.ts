/**
 * Which node to ask: found by listing chain records, believed only after each record of the chosen one was proven and its
 * evidence appraised.
 */
import { bytesEqual, type CryptoProvider, decode, fromHex, toHex } from '@haca/primitives';
import {
  type AssuranceTier,
  type ChainConfigRecord,
  type Check,
  chainConfigRecordCodec,
  type KeyEvidenceRecord,
  type ModelManifest,
  modelIdOf,
  modelRecordCodec,
  type NodeKeyRecord,
  type NodeRecord,
  nodeKeyRecordCodec,
  nodeRecordCodec,
  type Offer,
  type ProvenRecord,
  passed,
  recordKey,
  type SignedObject,
  tablePrefix,
  verdictOf,
} from '@haca/protocol';
import { listRecords } from './chain/record-list.ts';
import type { ChainView } from './chain/view.ts';
import { NodeError, VerificationError } from './errors.ts';
import type { KeyEvidence } from './evidence.ts';
import { type JudgedKey, openKeyJudge } from './key-judge.ts';
import { connectNode, type NodeApi, type NodeInfo } from './node-api.ts';
import type { Policy } from './policy.ts';
import { offerChecks } from './verify-answer.ts';

/** A node key that serves a model, with everything that was proven about it. */
export interface Route {
  readonly api: NodeApi;
  readonly nodeId: Uint8Array;
  readonly keyId: Uint8Array;
  readonly modelId: Uint8Array;
  readonly manifest: ModelManifest;
  readonly offer: SignedObject<Offer>;
  readonly node: NodeRecord;
  readonly key: NodeKeyRecord;
  readonly config: ChainConfigRecord;
  readonly evidence: KeyEvidence | null;
  /** What the chain keeps of it, as the hash in `key` shows. */
  readonly evidenceRecord: KeyEvidenceRecord | null;
  readonly evidenceSimulated: boolean;
  /** Null for keys without evidence, and where it could not be judged. */
  readonly tier: AssuranceTier | null;
  readonly tcbStatus: string | null;
  readonly proofs: {
    readonly node: ProvenRecord;
    readonly key: ProvenRecord;
    readonly model: ProvenRecord;
    readonly config: ProvenRecord;
    /** What the evidence is judged by. */
    readonly evidence: readonly ProvenRecord[];
  };
  /** Proofs, headers and evidence; part of every verdict on an answer of this key. */
  readonly checks: readonly Check[];
  readonly provenAtMs: number;
}

export interface ModelEntry {
  readonly modelId: Uint8Array;
  readonly manifest: ModelManifest;
  readonly registeredAt: number;
}

export interface NodeEntry {
  readonly nodeId: Uint8Array;
  readonly record: NodeRecord;
}

export interface Directory {
  /** Unproven lists, to find candidates by. */
  readonly models: () => Promise<readonly ModelEntry[]>;
  readonly nodes: () => Promise<readonly NodeEntry[]>;
  readonly config: () => Promise<{ readonly record: ChainConfigRecord; readonly proof: ProvenRecord }>;
  readonly resolveModel: (name: string) => Promise<ModelEntry>;
  /** Proven routes to a model, best first; `excluded` node ids (hex) are left out. */
  readonly routes: (modelName: string, excluded: ReadonlySet<string>) => AsyncIterable<Route>;
  /** The same node and model under another key: a node that was started again has a new one. Null where there is none. */
  readonly renewed: (route: Route) => Promise<Route | null>;
  /** Forgets what is known of a node, e.g. after its key changed. */
  readonly forget: (nodeId: Uint8Array) => void;
}

export interface DirectoryOptions {
  readonly crypto: CryptoProvider;
  readonly chain: ChainView;
  readonly policy: Policy;
  readonly clock: () => number;
  readonly fetch: typeof fetch;
  /** Only nodes at these URLs; null for all on chain. */
  readonly nodeUrls: readonly string[] | null;
}

const LIST_TTL_MS = 15_000;
const ROUTE_TTL_MS = 30_000;
/** How often it is looked whether what evidence is judged by has changed. */
const POLICY_LOOK_MS = 2_000;
const LOOKS_MAX = 1_000;

export function openDirectory(options: DirectoryOptions): Directory {
  const { crypto, chain, policy, clock } = options;
  const listModels = cached(clock, () => fetchModels(chain));
  const listNodes = cached(clock, () => fetchNodes(chain));
  const judgeKey = openKeyJudge(crypto, chain);
  const routeCache = new Map<string, Route>();

  const config = cached(clock, async () => {
    const proof = await chain.record(recordKey.params());
    if (proof.value === null) throw new NodeError('E_CHAIN', 'the chain holds no settings record');
    return { record: decode(chainConfigRecordCodec, proof.value, 'config'), proof };
  });

  const resolveModel: Directory['resolveModel'] = async (name) => {
    const entries = await listModels();
    const pinned = policy.models[name] ?? (/^[0-9a-f]{64}$/.test(name) ? name : undefined);
    if (pinned !== undefined) {
      const modelId = fromHex(pinned);
      const found = entries.find((entry) => bytesEqual(entry.modelId, modelId));
      if (found === undefined) throw unknownModel(name, entries);
      return found;
    }
    // Anybody may register another model under a taken name; the first registration is the one that is meant.
    const [first] = entries
      .filter(({ manifest }) => manifest.name === name)
      .sort((a, b) => a.registeredAt - b.registeredAt || (toHex(a.modelId) < toHex(b.modelId) ? -1 : 1));
    if (first === undefined) throw unknownModel(name, entries);
    return first;
  };

  const proveRoute = async (
    api: NodeApi,
    info: NodeInfo,
    model: Pick<ModelEntry, 'modelId'>,
  ): Promise<Route> => {
    const served = info.models.find(({ modelId }) => bytesEqual(modelId, model.modelId));
    if (served === undefined) throw new NodeError('E_MODEL_UNKNOWN', `${api.url} does not serve this model`);
    const settings = await config();
    const stateHeight = (await chain.sync({ minHeight: 2 })).height - 1;
    const [nodeProof, keyProof, modelProof] = await Promise.all([
      chain.record(recordKey.node(info.nodeId), stateHeight),
      chain.record(recordKey.nodeKey(served.keyId), stateHeight),
      chain.record(recordKey.model(model.modelId), stateHeight),
    ]);
    const node = decode(nodeRecordCodec, present(nodeProof, 'node'), 'node');
    const key = decode(nodeKeyRecordCodec, present(keyProof, 'node key'), 'node-key');
    const { manifest } = decode(modelRecordCodec, present(modelProof, 'model'), 'model');
    const subject = { nodeId: info.nodeId, modelId: model.modelId, chainId: chain.chainId };
    // Money is set aside by the price list, so it is checked before, not only with the answer.
    const offered = verdictOf(offerChecks(crypto, served.offer, node, subject));
    if (!offered.ok) throw new VerificationError(`${api.url} shows a price list that is not good`, offered);
    const judged = await judgeKey({ api, keyId: served.keyId, key, config: settings.record, stateHeight });
    return {
      api,
      nodeId: info.nodeId,
      keyId: served.keyId,
      modelId: model.modelId,
      manifest,
      offer: served.offer,
      node,
      key,
      config: settings.record,
      ...evidenceOf(judged),
      proofs: {
        node: nodeProof,
        key: keyProof,
        model: modelProof,
        config: settings.proof,
        evidence: judged.records,
      },
      checks: [
        passed('chain.header', `height ${chain.head().height}, > 2/3 of the voting power`),
        passed('node.proof', `state ${stateHeight}`),
        passed('key.proof', `state ${stateHeight}`),
        modelCheck(manifest, model.modelId, stateHeight),
        ...judged.judgement.verdict.checks,
      ],
      provenAtMs: clock(),
    };
  };

  const lookedAtMs = new Map<string, number>();
  /** Whether what the key's evidence was judged by is still what the chain holds: one record names all of it. */
  const isJudgedByNow = async ({ proofs, keyId, provenAtMs }: Route): Promise<boolean> => {
    const policyKey = recordKey.evidencePolicy();
    const judgedBy = proofs.evidence.find(({ key }) => bytesEqual(key, policyKey));
    const name = toHex(keyId);
    const lookedAt = Math.max(lookedAtMs.get(name) ?? 0, provenAtMs);
    if (judgedBy === undefined || clock() - lookedAt < POLICY_LOOK_MS) return true;
    if (lookedAtMs.size >= LOOKS_MAX) lookedAtMs.clear();
    lookedAtMs.set(name, clock());
    const { value } = await chain.record(policyKey);
    return value === null || judgedBy.value === null
      ? value === judgedBy.value
      : bytesEqual(value, judgedBy.value);
  };

  const routeOf = async (
    url: string,
    model: Pick<ModelEntry, 'modelId'>,
    wantedNode: Uint8Array | null,
  ): Promise<Route> => {
    const cacheKey = `${url} ${toHex(model.modelId)}`;
    const known = routeCache.get(cacheKey);
    if (known !== undefined && clock() - known.provenAtMs < ROUTE_TTL_MS && (await isJudgedByNow(known))) {
      return known;
    }
    const api = connectNode(url, options.fetch);
    const info = await api.info();
    if (info.chainId !== chain.chainId) throw new NodeError('E_CHAIN', `${url} is a node of ${info.chainId}`);
    if (wantedNode !== null && !bytesEqual(info.nodeId, wantedNode)) {
      throw new NodeError('E_NODE', `${url} says it is another node than the chain lists there`);
    }
    const route = await proveRoute(api, info, model);
    // What did not pass may have failed for a reason of the moment: it is looked at again.
    if (verdictOf(route.checks).ok) routeCache.set(cacheKey, route);
    return route;
  };

  const forget = (nodeId: Uint8Array): void => {
    for (const [cacheKey, route] of routeCache)
      if (bytesEqual(route.nodeId, nodeId)) routeCache.delete(cacheKey);
    listNodes.forget();
  };

  async function* routes(modelName: string, excluded: ReadonlySet<string>): AsyncIterable<Route> {
    const model = await resolveModel(modelName);
    const candidates =
      options.nodeUrls?.map((url) => ({ url, nodeId: null })) ??
      (await listNodes())
        .filter(({ record }) => record.keys.length > 0 && record.tombstoned !== true)
        .map(({ nodeId, record }) => ({ url: record.endpoint, nodeId }));
    const problems: string[] = [];
    const others: string[] = [];
    let disproof: VerificationError | undefined;
    let found = 0;
    for (const { url, nodeId } of candidates) {
      if (nodeId !== null && excluded.has(toHex(nodeId))) continue;
      try {
        const route = await routeOf(url, model, nodeId);
        found++;
        if (!excluded.has(toHex(route.nodeId))) yield route;
      } catch (error) {
        // Other nodes serve other models: that is nothing to tell where one was found.
        const servesOthers = error instanceof NodeError && error.code === 'E_MODEL_UNKNOWN';
        if (servesOthers) others.push(`${url}: ${error.message}`);
        if (servesOthers) continue;
        if (error instanceof VerificationError) disproof ??= error;
        problems.push(`${url}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    if (problems.length === 0 && found > 0) return;
    if (disproof !== undefined) throw disproof;
    // Every node that could be asked was left out by the caller.
    if (problems.length + others.length === 0 && candidates.length > 0) return;
    const why = [...problems, ...others].join('; ') || 'no node is registered';
    throw new NodeError('E_UNAVAILABLE', `no node can be used for ${modelName}: ${why}`);
  }

  return {
    models: listModels,
    nodes: listNodes,
    config,
    resolveModel,
    routes,
    renewed: async (route) => {
      forget(route.nodeId);
      const fresh = await routeOf(route.api.url, route, route.nodeId).catch(() => null);
      return fresh === null || bytesEqual(fresh.keyId, route.keyId) ? null : fresh;
    },
    forget,
  };
}

function evidenceOf({ evidence, record, judgement }: JudgedKey) {
  const { simulated, tier, tcbStatus } = judgement;
  return { evidence, evidenceRecord: record, evidenceSimulated: simulated, tier, tcbStatus };
}

function modelCheck(manifest: ModelManifest, modelId: Uint8Array, stateHeight: number): Check {
  const derived = modelIdOf(manifest);
  if (!bytesEqual(derived, modelId)) throw new NodeError('E_MODEL', 'a model record under another id');
  return passed('model.proof', `${manifest.name}, state ${stateHeight}`);
}

function present(proof: ProvenRecord, what: string): Uint8Array {
  if (proof.value === null) throw new NodeError('E_KEY', `the chain proves that there is no such ${what}`);
  return proof.value;
}

function unknownModel(name: string, entries: readonly ModelEntry[]): NodeError {
  const names = [...new Set(entries.map(({ manifest }) => manifest.name))].slice(0, 10).join(', ');
  return new NodeError(
    'E_MODEL_UNKNOWN',
    `no model '${name}' is registered; there is: ${names || 'none'}`,
    404,
  );
}

interface Cached<T> {
  (): Promise<T>;
  readonly forget: () => void;
}

/** Remembers a success for a while; a failure is not remembered. */
function cached<T>(clock: () => number, fetchValue: () => Promise<T>): Cached<T> {
  let value: Promise<T> | undefined;
  let atMs = 0;
  const get = (): Promise<T> => {
    if (value === undefined || clock() - atMs >= LIST_TTL_MS) {
      atMs = clock();
      value = fetchValue().catch((error: unknown) => {
        value = undefined;
        throw error;
      });
    }
    return value;
  };
  return Object.assign(get, {
    forget: () => {
      value = undefined;
    },
  });
}

async function fetchModels(chain: ChainView): Promise<readonly ModelEntry[]> {
  return (await listRecords(chain.rpc, tablePrefix('model'))).map(([, bytes]) => {
    const { manifest, height } = decode(modelRecordCodec, bytes, 'model');
    return { modelId: modelIdOf(manifest), manifest, registeredAt: height };
  });
}

async function fetchNodes(chain: ChainView): Promise<readonly NodeEntry[]> {
  return (await listRecords(chain.rpc, tablePrefix('node'))).map(([key, bytes]) => ({
    nodeId: key.slice(1),
    record: decode(nodeRecordCodec, bytes, 'node'),
  }));
}
