/** An inference node: its parts, wired. Starts answering when its key is in a final block. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { lockFolder } from '@haca/platform';
import type { Engine } from '@haca/runtime';
import { ApiError } from './api-error.ts';
import { attestationJson, laneJson, modelJson, nodeJson, receiptJson } from './api-views.ts';
import { type NodeChainView, openChainView } from './chain-view.ts';
import type { NodeConfig } from './config.ts';
import { type ApiHandlers, type ApiServer, startApiServer } from './http-server.ts';
import { type InferenceContext, serveChat } from './inference.ts';
import { type KeyRing, type LiveKey, openKeyRing, openOldKeys } from './key-ring.ts';
import { type Metrics, openMetrics } from './metrics.ts';
import { openOperator, pause } from './operator.ts';
import { type NodeParts, openParts, signOffers } from './parts.ts';
import { openPaymentBook, type PaymentBook } from './payment-book.ts';
import { configHashOf, ensureModels, ensureNode } from './registration.ts';
import { openReplayCache } from './replay-cache.ts';

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
  readonly ring: KeyRing;
  readonly inference: InferenceContext;
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
  const handlers = openHandlers(parts.engines, chain, metrics, report, () => serving);
  const server = await startApiServer(config.host, config.port, handlers);
  const url = config.publicUrl ?? `http://${config.host}:${server.port}`;
  serving = await openServing(config, parts, chain, url, { metrics, report, log, signal: stopping.signal });
  const { ring, book, nodeId } = serving;
  const stopHouse = startHousekeeping(ring, log);
  return {
    url,
    nodeId,
    keyId: () => (ring.active() as LiveKey).stream.identity.keyId,
    close: async (forced = false) => {
      stopping.abort();
      await stopHouse();
      await drain(server, book, forced);
      if (!forced) await within(ring.flush(), FLUSH_MS);
      await ring.close();
      await Promise.all(parts.engines.map((engine) => engine.close()));
      chain.close();
      parts.rpc.close();
      await lock.release();
    },
  };
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
  const { engines, attester, nowMs, monotonicMs } = parts;
  const { dataDir, name, bondNopg, settlement, prices } = config;
  const operator = openOperator(parts.operatorSigner, chain, settlement.maxFeeNopg, log);
  const keysDir = join(dataDir, 'keys');
  // First of all: which nonces are taken by what may still be under way.
  const oldKeys = await openOldKeys(keysDir, chain, operator, log);
  const manifests = engines.flatMap(({ models }) => models.map(({ manifest }) => manifest));
  const modelIds = await ensureModels(chain, operator, manifests, signal);
  const nodeId = await ensureNode(chain, operator, dataDir, { name, endpoint: url, bondNopg }, signal);
  const book = openPaymentBook(chain, nodeId);
  const offers = () => signOffers(engines, prices, chain, operator, nodeId);
  const configHash = configHashOf(engines);
  const common = { chain, operator, nodeId, modelIds, configHash, attester, keysDir, signal };
  const ring = await openKeyRing({ ...common, book, settlement, offers, nowMs, monotonicMs, log }, oldKeys);
  await ring.keepHouse();
  const advertisedKey = (): LiveKey => {
    const active = ring.active();
    const refusal = ring.refusal(active);
    if (refusal !== undefined) throw refusal;
    return active as LiveKey;
  };
  const replays = openReplayCache(nowMs);
  const inference = { chain, book, replays, metrics, nowMs, advertisedKey, keyFor: ring.keyFor, report };
  return { nodeId, operatorId: operator.accountId, book, ring, inference };
}

function openHandlers(
  engines: readonly Engine[],
  chain: NodeChainView,
  metrics: Metrics,
  report: (error: unknown) => void,
  current: () => Serving | undefined,
): ApiHandlers {
  const started = (): Serving => {
    const serving = current();
    if (serving === undefined) throw new ApiError('E_UNAVAILABLE', 'The node is starting.');
    return serving;
  };
  const served = () => current()?.ring.active()?.models ?? new Map<string, never>();
  const keys = () => current()?.ring.all() ?? [];
  return {
    chat: (request, sink) => serveChat(started().inference, request, sink),
    models: () => ({ object: 'list', data: [...served().values()].map(modelJson) }),
    model: (id) => {
      const model = served().get(id);
      if (model === undefined) throw new ApiError('E_MODEL_UNKNOWN', '', { param: 'model' });
      return modelJson(model);
    },
    info: () => {
      const { nodeId, operatorId, ring } = started();
      return nodeJson(chain, nodeId, operatorId, ring);
    },
    receipt: (id) => receiptJson(keys(), chain, id),
    attestation: (keyId) => attestationJson(keys(), keyId),
    lane: (channelId, lane, keyId) => {
      const { ring, book } = started();
      return laneJson(ring, book, channelId, lane, keyId);
    },
    readiness: () => readiness(engines, current()?.ring),
    metrics: () =>
      metrics.format({
        chain_height: chain.head().height,
        running_requests: current()?.book.running() ?? 0,
        unsettled_receipts: keys().reduce(
          (sum, { stream }) => sum + stream.lastSeq() - stream.settledSeq(),
          0,
        ),
      }),
    refused: metrics.refusal,
    report,
  };
}

async function readiness(
  engines: readonly Engine[],
  ring: KeyRing | undefined,
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
  const refusal = ring?.refusal(ring.active());
  const work = ring === undefined ? 'the node is starting' : (refusal?.message ?? 'ok');
  return { work, ...Object.fromEntries(states) };
}

function startHousekeeping(ring: KeyRing, log: Log): () => Promise<void> {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= ring
      .keepHouse()
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
async function within(promise: Promise<void>, limitMs: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
