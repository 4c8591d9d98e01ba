/** An inference node: its parts, wired. Starts answering when its key is in a final block. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { zkPlanningUnits, zkRegistrationGas } from '@haca/circuit';
import { lockFolder } from '@haca/platform';
import { bytesEqual, toHex } from '@haca/primitives';
import type { Engine } from '@haca/runtime';
import { ApiError } from './api-error.ts';
import {
  attestationJson,
  laneJson,
  modelJson,
  nodeJson,
  proofTransactionOf,
  receiptJson,
} from './api-views.ts';
import { type NodeChainView, openChainView } from './chain-view.ts';
import type { NodeConfig } from './config.ts';
import { evidenceLeftMs } from './evidence-standing.ts';
import { type ApiHandlers, type ApiServer, startApiServer } from './http-server.ts';
import { type InferenceContext, serveChat } from './inference.ts';
import { type KeyRing, type LiveKey, type OpenKey, openKeyRing, openOldKeys } from './key-ring.ts';
import { type Metrics, openMetrics } from './metrics.ts';
import { type Operator, openOperator, pause } from './operator.ts';
import { type NodeParts, openParts, signOffers } from './parts.ts';
import { openPaymentBook, type PaymentBook } from './payment-book.ts';
import { configHashOf, ensureModels, ensureNode, ensureProvableModel } from './registration.ts';
import { openReplayCache } from './replay-cache.ts';
import { openSealed } from './sealed.ts';
import { serveZkInference, type ZkInferenceContext } from './zk/inference.ts';
import type { ProvableModel } from './zk/provable-model.ts';
import { proofReserveNopg } from './zk/zk-key.ts';

export interface RunningNode {
  readonly url: string;
  readonly nodeId: Uint8Array;
  readonly keyId: () => Uint8Array;
  /** Takes no new work, finishes and settles what was accepted, then stops. `forced` skips the waiting. */
  readonly close: (forced?: boolean) => Promise<void>;
}

const HOUSEKEEPING_MS = 1_000;
/** How long running answers may take, and settling what is left, when the node stops. */
const DRAIN_MS = 20_000;
const FLUSH_MS = 15_000;
const STOPPING_MS = 5_000;

/** What is there once the node takes work; the API answers before that too. */
interface Serving {
  readonly nodeId: Uint8Array;
  readonly operatorId: Uint8Array;
  readonly book: PaymentBook;
  /** One for what is attested or signed, one for each model that is proved. */
  readonly rings: readonly KeyRing[];
  readonly inference: InferenceContext;
  readonly zkInference: ZkInferenceContext;
  readonly keepHouse: () => Promise<void>;
  readonly operatorNopg: () => bigint | null;
}

type Log = (line: string) => void;

export async function startInferenceNode(config: NodeConfig, log: Log): Promise<RunningNode> {
  return runInferenceNode(config, await openParts(config), log);
}

/** The node over parts that somebody else made. */
export async function runInferenceNode(config: NodeConfig, parts: NodeParts, log: Log): Promise<RunningNode> {
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockFolder(config.dataDir);
  const stopping = new AbortController();
  const chain = await openChainView(parts.rpc, parts.monotonicMs, log);
  const metrics = openMetrics();
  const report = (error: unknown): void => {
    log(`not foreseen: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  };
  let serving: Serving | undefined;
  const handlers = openHandlers(parts, chain, metrics, report, () => serving);
  const server = await startApiServer(config.listen, handlers, undefined, parts.tls);
  const scheme = parts.tls === null ? 'http' : 'https';
  const url = config.publicUrl ?? `${scheme}://${config.listen.host}:${server.port}`;
  serving = await openServing(config, parts, chain, url, { metrics, report, log, signal: stopping.signal });
  const { rings, book, nodeId } = serving;
  const stopHouse = startHousekeeping(serving.keepHouse, log);
  return {
    url,
    nodeId,
    keyId: () => (activeKeys(rings)[0] as LiveKey).stream.identity.keyId,
    close: async (forced = false) => {
      stopping.abort();
      await stopHouse();
      await drain(server, book, forced);
      if (!forced) await within(Promise.all(rings.map((ring) => ring.flush())), FLUSH_MS);
      await Promise.all(rings.map((ring) => ring.close()));
      await Promise.all([...parts.engines, ...parts.provable].map((engine) => engine.close()));
      chain.close();
      parts.rpc.close();
      await lock.release();
    },
  };
}

function activeKeys(rings: readonly KeyRing[]): readonly LiveKey[] {
  return rings.map((ring) => ring.active()).filter((key) => key !== undefined);
}

interface Surroundings {
  readonly metrics: Metrics;
  readonly report: (error: unknown) => void;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Everything on chain that has to be there before work is taken, and everything earlier processes left. */
async function openServing(
  config: NodeConfig,
  parts: NodeParts,
  chain: NodeChainView,
  url: string,
  { metrics, report, log, signal }: Surroundings,
): Promise<Serving> {
  const { engines, provable, nowMs } = parts;
  const { dataDir, name, bondNopg, settlement } = config;
  const operator = openOperator(parts.operatorSigner, chain, settlement.maxFeeNopg, log);
  const keysDir = join(dataDir, 'keys');
  // First of all: which nonces are taken by what may still be under way.
  const oldKeys = await openOldKeys(keysDir, chain, operator, log);
  const manifests = engines.flatMap(({ models }) => models.map(({ manifest }) => manifest));
  const modelIds = await ensureModels(chain, operator, manifests, signal);
  const nodeId = await ensureNode(chain, operator, dataDir, { name, endpoint: url, bondNopg }, signal);
  const book = openPaymentBook(chain, nodeId);
  const money = openProofMoney(chain, operator.accountId);
  const common = { config, parts, chain, operator, nodeId, keysDir, book, money, log, signal };
  const rings: KeyRing[] = [];
  if (modelIds.length > 0) rings.push(await openChatRing(common, modelIds, oldKeys));
  const proved: { readonly model: ProvableModel; readonly ring: KeyRing }[] = [];
  for (const model of provable) {
    const ring = await openProvableRing(common, model, oldKeys);
    rings.push(ring);
    proved.push({ model, ring });
  }
  await leaveAlone(oldKeys, rings, log);
  const keepHouse = async (): Promise<void> => {
    if (provable.length > 0) await money.look();
    // One after the other: each key gets an epoch of its own.
    for (const ring of rings) await ring.keepHouse();
  };
  await keepHouse();
  const chatRing = modelIds.length > 0 ? rings[0] : undefined;
  const shared = { chain, book, replays: openReplayCache(nowMs), metrics, nowMs };
  const served = proved.map(({ model, ring }) => ({
    model,
    advertisedKey: () => advertisedKey(ring),
    keyFor: ring.keyFor,
  }));
  return {
    nodeId,
    operatorId: operator.accountId,
    book,
    rings,
    inference: {
      ...shared,
      engineOf: (wanted) => engines.find(({ models }) => models.some((each) => each.name === wanted)),
      advertisedKey: () => advertisedKey(chatRing),
      keyFor: (voucher) => (chatRing === undefined ? Promise.reject(noChat()) : chatRing.keyFor(voucher)),
      report,
    },
    zkInference: {
      ...shared,
      served: (modelId) => served.find(({ model }) => bytesEqual(model.modelId, modelId)),
      modelNames: () => provable.map((model) => model.name),
    },
    keepHouse,
    operatorNopg: money.nopg,
  };
}

function noChat(): ApiError {
  return new ApiError('E_MODEL_UNKNOWN', 'No chat model is served here.', { param: 'model' });
}

function advertisedKey(ring: KeyRing | undefined): LiveKey {
  if (ring === undefined) throw noChat();
  const active = ring.active();
  const refusal = ring.refusal(active);
  if (refusal !== undefined) throw refusal;
  return active as LiveKey;
}

interface RingParts {
  readonly config: NodeConfig;
  readonly parts: NodeParts;
  readonly chain: NodeChainView;
  readonly operator: Operator;
  readonly nodeId: Uint8Array;
  readonly keysDir: string;
  readonly book: PaymentBook;
  readonly money: ProofMoney;
  readonly log: Log;
  readonly signal: AbortSignal;
}

function openChatRing(
  common: RingParts,
  modelIds: readonly Uint8Array[],
  oldKeys: readonly OpenKey[],
): Promise<KeyRing> {
  const { config, parts, chain, operator, nodeId } = common;
  const { engines, attester, gpuAttester, tls, nowMs, monotonicMs } = parts;
  const models = engines.flatMap((engine) => engine.models.map((model) => ({ ...model, price: null })));
  return openKeyRing(
    {
      ...common,
      method: attester === null ? 'signed' : 'tee',
      modelIds,
      configHash: configHashOf(engines),
      attester,
      gpuAttester,
      tlsSpkiHash: tls?.spkiHash ?? null,
      settlement: config.settlement,
      offers: () => signOffers(models, config.prices, chain, operator, nodeId),
      provable: null,
      moneyRefusal: () => undefined,
      nowMs,
      monotonicMs,
    },
    oldKeys.filter(({ stream }) => stream.identity.zkModelId === null),
  );
}

async function openProvableRing(
  common: RingParts,
  model: ProvableModel,
  oldKeys: readonly OpenKey[],
): Promise<KeyRing> {
  const { config, parts, chain, operator, nodeId, money, log, signal } = common;
  const { prover, key } = model;
  const registration = {
    ...model,
    ops: zkPlanningUnits(key),
    tensors: key.tensors.length,
    batchMax: key.maxBatch,
    registrationGas: zkRegistrationGas(key),
    registrationProof: async (stop: AbortSignal): Promise<Uint8Array> => {
      log(`${model.name}: proving that its weights are what its key says`);
      return prover.proveRegistration(stop);
    },
  };
  const verifying = await ensureProvableModel(chain, operator, nodeId, registration, signal);
  const { price = null } = model;
  const offered = [
    { name: model.name, manifest: model.manifest, price: price ?? config.prices.requestPrice },
  ];
  money.reserve(proofReserveNopg(verifying, chain.config.params));
  return openKeyRing(
    {
      ...common,
      method: 'zk',
      modelIds: [model.modelId],
      configHash: configHashOf([{ name: model.name, version: toHex(model.verifyingKeyHash) }]),
      attester: null,
      gpuAttester: null,
      tlsSpkiHash: parts.tls?.spkiHash ?? null,
      settlement: config.settlement,
      offers: () => signOffers(offered, config.prices, chain, operator, nodeId),
      provable: { model, verifying },
      moneyRefusal: money.refusal,
      nowMs: parts.nowMs,
      monotonicMs: parts.monotonicMs,
    },
    oldKeys.filter(({ stream }) => {
      const { zkModelId } = stream.identity;
      return zkModelId !== null && bytesEqual(zkModelId, model.modelId);
    }),
  );
}

/** Keys of models that are no longer in the configuration can neither be served nor proved. */
async function leaveAlone(oldKeys: readonly OpenKey[], rings: readonly KeyRing[], log: Log): Promise<void> {
  for (const { stream, dir } of oldKeys) {
    const { keyId, zkModelId } = stream.identity;
    if (zkModelId === null || rings.some((ring) => ring.find(keyId) !== undefined)) continue;
    const open = stream.openClaims().length;
    if (open > 0) log(`${dir}: ${open} claims can not be proved: their model is not in the configuration`);
    await stream.close().catch(() => undefined);
  }
}

/** Whether the operator can pay for the proofs of what it promises. */
interface ProofMoney {
  /** Reads the balance of the newest final state. */
  readonly look: () => Promise<void>;
  readonly reserve: (nopg: bigint) => void;
  readonly refusal: () => ApiError | undefined;
  readonly nopg: () => bigint | null;
}

function openProofMoney(chain: NodeChainView, accountId: Uint8Array): ProofMoney {
  let balance: bigint | null = null;
  let reserve = 0n;
  return {
    look: async () => {
      balance = (await chain.account(accountId))?.nopg ?? 0n;
    },
    reserve: (nopg) => {
      reserve += nopg;
    },
    refusal: () =>
      balance !== null && balance < reserve
        ? new ApiError(
            'E_UNAVAILABLE',
            `Nothing was run: proofs need ${reserve} nopg, the operator has ${balance}.`,
          )
        : undefined,
    nopg: () => balance,
  };
}

function openHandlers(
  { engines }: NodeParts,
  chain: NodeChainView,
  metrics: Metrics,
  report: (error: unknown) => void,
  current: () => Serving | undefined,
): ApiHandlers {
  const started = (): Serving => {
    const serving = current();
    if (serving === undefined) throw new ApiError('E_BUSY', 'It is starting.');
    return serving;
  };
  const rings = () => current()?.rings ?? [];
  const served = () => activeKeys(rings()).flatMap(({ models }) => [...models.values()]);
  const keys = () => rings().flatMap((ring) => ring.all());
  return {
    chat: (request, sink) => serveChat(started().inference, request, sink),
    zkInference: (request, sink) => serveZkInference(started().zkInference, request, sink),
    openSealed: async (sealed, place) => {
      started();
      return openSealed(keys(), sealed, place);
    },
    models: () => ({ object: 'list', data: served().map(modelJson) }),
    model: (id) => {
      const model = served().find(({ name }) => name === id);
      if (model === undefined) throw new ApiError('E_MODEL_UNKNOWN', '', { param: 'model' });
      return modelJson(model);
    },
    info: () => {
      const { nodeId, operatorId } = started();
      return nodeJson(chain, nodeId, operatorId, rings());
    },
    receipt: (id) => receiptJson(keys(), chain, id),
    proofTransaction: (id) => proofTransactionOf(keys(), id),
    attestation: (keyId) => attestationJson(keys(), keyId),
    lane: (channelId, lane, keyId) => laneJson(started().rings, started().book, channelId, lane, keyId),
    readiness: () => readiness(engines, rings()),
    metrics: () =>
      metrics.format({
        chain_height: chain.head().height,
        running_requests: current()?.book.running() ?? 0,
        unsettled_receipts: keys().reduce(
          (sum, { stream }) => sum + stream.lastSeq() - stream.settledSeq(),
          0,
        ),
        ...evidenceGauges(activeKeys(rings()), chain),
        ...zkGauges(keys(), current()?.operatorNopg() ?? null),
      }),
    refused: metrics.refusal,
    report,
  };
}

/** Of nodes with evidence: how long it still backs what they promise, as things are. */
function evidenceGauges(active: readonly LiveKey[], chain: NodeChainView): Readonly<Record<string, number>> {
  const { params } = chain.config;
  const { blockTimeMs: nowMs } = chain.head();
  const left = active
    .map(({ record, standing }) =>
      evidenceLeftMs({ evidence: record?.evidence ?? null, standing, params, nowMs }),
    )
    .filter(Number.isFinite);
  return left.length === 0 ? {} : { evidence_left_seconds: Math.floor(Math.min(...left) / 1000) };
}

/** Of nodes that prove: what waits for a proof, and how proving goes. */
function zkGauges(keys: readonly LiveKey[], operatorNopg: bigint | null): Readonly<Record<string, number>> {
  const proved = keys.flatMap(({ zk, stream }) => (zk === null ? [] : [{ zk, stream }]));
  if (proved.length === 0) return {};
  const batches = proved.flatMap(({ stream }) => stream.batches());
  const ended = (state: string): number => batches.filter(({ ending }) => ending?.state === state).length;
  const stats = [...new Set(proved.map(({ zk }) => zk.prover))].map((prover) => prover.stats());
  return {
    zk_open_claims: batches.filter(({ ending }) => ending === null).length,
    zk_verified_claims: ended('verified'),
    zk_unpaid_claims: ended('unpaid'),
    zk_proofs: stats.reduce((sum, { proofs }) => sum + proofs, 0),
    zk_proof_failures: stats.reduce((sum, { failures }) => sum + failures, 0),
    zk_last_proof_ms: stats.reduce((most, { lastMs }) => Math.max(most, lastMs ?? 0), 0),
    ...(operatorNopg === null ? {} : { operator_nopg: Number(operatorNopg) }),
  };
}

async function readiness(
  engines: readonly Engine[],
  rings: readonly KeyRing[],
): Promise<Readonly<Record<string, string>>> {
  const states = await Promise.all(
    engines.map(async (engine) => {
      const state = await engine.ready().then(
        () => 'ok',
        (error: unknown) => (error instanceof Error ? error.message : 'failed'),
      );
      return [`engine ${engine.name}`, state] as const;
    }),
  );
  const refusal = rings.map((ring) => ring.refusal(ring.active())).find((each) => each !== undefined);
  const work = rings.length === 0 ? 'the node is starting' : (refusal?.message ?? 'ok');
  return { work, ...Object.fromEntries(states) };
}

function startHousekeeping(keepHouse: () => Promise<void>, log: Log): () => Promise<void> {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= keepHouse()
      .catch((error: unknown) => {
        log(`housekeeping: ${error instanceof Error ? error.message : String(error)}`);
      })
      .finally(() => {
        running = undefined;
      });
  }, HOUSEKEEPING_MS);
  return async () => {
    clearInterval(timer);
    await running;
  };
}

/** Lets running answers end, then ends them: each with a receipt over what was delivered. */
async function drain(server: ApiServer, book: PaymentBook, forced: boolean): Promise<void> {
  const drained = server.drain();
  const isOver = async (limitMs: number): Promise<void> => {
    const endsAtMs = performance.now() + limitMs;
    await within(drained, limitMs);
    while (book.running() > 0 && performance.now() < endsAtMs) await pause(10);
  };
  if (!forced) await isOver(DRAIN_MS);
  book.stopAll();
  await isOver(forced ? 500 : STOPPING_MS);
  server.closeAll();
  await isOver(STOPPING_MS);
}

/** Waits for the promise, and no longer than this. */
async function within(promise: Promise<unknown>, limitMs: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
