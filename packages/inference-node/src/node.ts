/** An inference node: its parts, wired. Starts answering when its key is in a final block. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Attester, createTestEnclave, createTestRoot, measureTestImage } from '@haca/attester';
import { base64url, connectRpc, ed25519SignerFromSeed } from '@haca/platform';
import { domainHash, encode, fromHex, toHex, utf8Encode } from '@haca/primitives';
import {
  type Assurance,
  credit,
  type ModelManifest,
  modelIdOf,
  modelManifestCodec,
  type NodeKeyRecord,
  OFFER,
  type Receipt,
  registrationBindingCodec,
} from '@haca/protocol';
import { type Engine, openOnnxChatEngine, openUpstreamEngine } from '@haca/runtime';
import { ApiError } from './api-error.ts';
import { type NodeChainView, openChainView } from './chain-view.ts';
import type { EngineConfig, NodeConfig } from './config.ts';
import { startApiServer } from './http-server.ts';
import { type InferenceContext, type ServedModel, serveChat } from './inference.ts';
import { type KeyStream, openKeyStream, type ReceiptState, type ReceiptView } from './key-stream.ts';
import { openMetrics } from './metrics.ts';
import { type Operator, openOperator } from './operator.ts';
import { openPaymentBook, type PaymentBook } from './payment-book.ts';
import {
  configHashOf,
  ensureModels,
  ensureNode,
  listKeyDirs,
  openFreshKey,
  readKeyIdentity,
} from './registration.ts';
import { openReplayCache } from './replay-cache.ts';
import { type Settler, startSettler } from './settlement.ts';
import { openWriteAheadLog, type WriteAheadLog } from './write-ahead-log.ts';

export interface RunningNode {
  readonly url: string;
  readonly nodeId: Uint8Array;
  readonly keyId: () => Uint8Array;
  /** Takes no new work, finishes and settles what was accepted, then stops. `forced` skips the waiting. */
  readonly close: (forced?: boolean) => Promise<void>;
}

/** One key with its log and its settlement. */
interface LiveKey {
  readonly stream: KeyStream;
  readonly log: WriteAheadLog;
  readonly settler: Settler;
  readonly dir: string;
  readonly record: NodeKeyRecord | null;
}

const HEAD_AGE_MAX_MS = 60_000;
/** A new key is opened this long before evidence or key expire. */
const ROTATE_BEFORE_MS = 30 * 60_000;
const ROTATE_BEFORE_BLOCKS = 1_800;
const HOUSEKEEPING_MS = 1_000;
const FLUSH_TIMEOUT_MS = 15_000;

export async function startInferenceNode(
  config: NodeConfig,
  log: (line: string) => void,
): Promise<RunningNode> {
  const nowMs = Date.now;
  const engines = await Promise.all(config.engines.map(openEngine));
  const rpc = connectRpc(config.rpcUrl);
  const chain = await openChainView(rpc, () => performance.now(), log);
  const operator = openOperator(readOperator(config.operatorFile), chain, config.settlement.maxFeeNopg);
  const attester = openAttester(config);
  const keysDir = join(config.dataDir, 'keys');
  const keys: LiveKey[] = [];
  let active: LiveKey | undefined;
  let draining = false;

  const manifests = engines.flatMap(({ models }) => models.map(({ manifest }) => manifest));
  const metrics = openMetrics();
  let handlersReady: InferenceContext | undefined;
  const server = await startApiServer(config.host, config.port, {
    chat: (request, sink) => {
      if (handlersReady === undefined) throw new ApiError('E_UNAVAILABLE', 'The node is starting.');
      return serveChat(handlersReady, request, sink);
    },
    models: () => ({ object: 'list', data: [...served().values()].map((model) => modelJson(model)) }),
    model: (id) => modelJson(servedModel(served(), id)),
    info: () => nodeInfo(),
    receipt: (id) => receiptJson(keys, chain, id),
    attestation: (keyId) => attestationJson(keys, keyId),
    lane: (channelId, lane, keyId) => laneJson(handlersReady, channelId, lane, keyId),
    readiness: () => readiness(engines, chain, () => refusal()),
    metrics: () => metrics.format({ chain_height: chain.head().height, unsettled_receipts: unsettled(keys) }),
    refused: metrics.refusal,
  });
  const url = config.publicUrl ?? `http://${config.host}:${server.port}`;
  const served = (): ReadonlyMap<string, ServedModel> => handlersReady?.models ?? new Map();

  const modelIds = await ensureModels(chain, operator, manifests);
  const nodeId = await ensureNode(chain, operator, config.dataDir, {
    name: config.name,
    endpoint: url,
    bondNopg: config.bondNopg,
  });
  const book = openPaymentBook(chain, nodeId, nowMs);

  const startKey = async (
    dir: string,
    identity: KeyStream['identity'],
    record: NodeKeyRecord | null,
    signs: boolean,
  ): Promise<LiveKey> => {
    const { log: wal, records } = await openWriteAheadLog(join(dir, 'receipts.wal'));
    const stream = openKeyStream(identity, wal, records, signs);
    if (!signs) await restoreLanes(stream, book);
    const settler = startSettler(stream, chain, operator, book, config.settlement, nowMs, log);
    const key: LiveKey = { stream, log: wal, settler, dir, record };
    keys.push(key);
    return key;
  };
  for (const { dir } of listKeyDirs(keysDir)) await resumeKey(dir, chain, startKey, log);

  const rotate = async (): Promise<void> => {
    const fresh = await openFreshKey(
      chain,
      operator,
      nodeId,
      modelIds,
      configHashOf(engines),
      attester,
      keysDir,
    );
    active = await startKey(fresh.dir, fresh.identity, fresh.record, true);
    log(
      `key ${toHex(fresh.identity.keyId).slice(0, 12)} opened, epoch ${fresh.identity.keyEpoch}, ${assuranceOf(fresh.record)}`,
    );
  };
  await rotate();

  const refusal = (): ApiError | undefined => {
    if (draining || active === undefined)
      return new ApiError('E_UNAVAILABLE', 'The node is stopping or starting.');
    if (active.log.failure() !== undefined) return new ApiError('E_UNAVAILABLE', 'The disk failed.');
    if (performance.now() - chain.head().seenAtMs > HEAD_AGE_MAX_MS) {
      return new ApiError('E_HEAD_STALE', `The last block seen is ${chain.head().height}.`);
    }
    const { record } = active;
    if (record !== null && chain.head().height + chain.config.params.requestDuration >= record.notAfter) {
      return new ApiError('E_UNAVAILABLE', 'The key closes soon and no new one is open yet.');
    }
    return undefined;
  };

  handlersReady = {
    chain,
    nodeId,
    method: attester === null ? 'signed' : 'tee',
    book,
    models: servedModels(engines, config, chain, operator, nodeId),
    replays: openReplayCache(nowMs),
    metrics,
    nowMs,
    activeStream: () => {
      const refused = refusal();
      if (refused !== undefined) throw refused;
      return (active as LiveKey).stream;
    },
    onReceipt: () => active?.settler.poke(),
  };

  const nodeInfo = () => ({
    chainId: chain.chainId,
    nodeId: toHex(nodeId),
    operator: toHex(operator.accountId),
    keys: keys.filter(({ stream }) => stream.signsReceipts).map(keyJson),
    models: [...served().values()].map((model) => ({
      name: model.name,
      modelId: toHex(model.modelId),
      manifest: base64url(encode(modelManifestCodec, model.manifest)),
      offer: base64url(model.offer.bytes),
      keyId: active === undefined ? null : toHex(active.stream.identity.keyId),
    })),
    height: chain.head().height,
  });

  let isKeepingHouse = false;
  const timer = setInterval(() => {
    if (isKeepingHouse) return;
    isKeepingHouse = true;
    void keepHouse()
      .catch((error: unknown) =>
        log(`housekeeping: ${error instanceof Error ? error.message : String(error)}`),
      )
      .finally(() => {
        isKeepingHouse = false;
      });
  }, HOUSEKEEPING_MS);
  const keepHouse = async (): Promise<void> => {
    if (draining) return;
    if (active !== undefined && needsSuccessor(active, chain)) await rotate();
    for (const key of [...keys]) {
      if (key !== active && key.settler.isDone()) await retire(key, keys, chain, operator, log);
    }
  };
  chain.onFinalBlock(() => {
    for (const { settler } of keys) settler.poke();
  });

  return {
    url,
    nodeId,
    keyId: () => (active as LiveKey).stream.identity.keyId,
    close: async (forced = false) => {
      draining = true;
      clearInterval(timer);
      await server.close(forced);
      if (!forced)
        await Promise.race([
          Promise.all(keys.map(({ settler }) => settler.flush())),
          pause(FLUSH_TIMEOUT_MS),
        ]);
      await Promise.all(keys.map(({ settler }) => settler.stop()));
      await Promise.all(keys.map(({ log: wal }) => wal.close()));
      await Promise.all(engines.map((engine) => engine.close()));
      chain.close();
      rpc.close();
    },
  };
}

/** A key of an earlier process: it settles and redeems what it promised, and signs no receipt any more. */
async function resumeKey(
  dir: string,
  chain: NodeChainView,
  startKey: (
    dir: string,
    identity: KeyStream['identity'],
    record: NodeKeyRecord | null,
    signs: boolean,
  ) => Promise<LiveKey>,
  log: (line: string) => void,
): Promise<void> {
  if (!existsSync(join(dir, 'key.cbor'))) {
    rmSync(dir, { recursive: true, force: true });
    return;
  }
  const identity = readKeyIdentity(dir, chain.chainId);
  const record = await chain.nodeKey(identity.keyId);
  if (record === undefined) {
    // It never reached a final block, so no request was taken under it, or it is long drained.
    rmSync(dir, { recursive: true, force: true });
    return;
  }
  const key = await startKey(dir, identity, record, false);
  const { stream } = key;
  log(`key epoch ${identity.keyEpoch} resumed: ${stream.lastSeq()} receipts, ${stream.settledSeq()} settled`);
}

/** What the log says was charged on each lane, so that the allocation is not promised twice. */
async function restoreLanes(stream: KeyStream, book: PaymentBook): Promise<void> {
  const newest = new Map<string, number>();
  for (let seq = 1; seq <= stream.lastSeq(); seq++) {
    const value = stream.receiptAt(seq)?.receipt.value as Receipt;
    if (value.amount > 0n) newest.set(`${toHex(value.channelId)}/${value.lane}`, seq);
  }
  for (const seq of newest.values()) {
    const issued = stream.receiptAt(seq);
    if (issued === undefined) continue;
    const { channelId, lane, cumulative, keyId } = issued.receipt.value;
    await book.restoreLane(channelId, keyId, lane, cumulative, issued.voucher);
  }
}

function needsSuccessor({ record }: LiveKey, chain: NodeChainView): boolean {
  if (record === null) return false;
  const { height, blockTimeMs } = chain.head();
  const evidenceLeftMs =
    record.evidence === null ? Number.POSITIVE_INFINITY : record.evidence.endMs - blockTimeMs;
  return evidenceLeftMs < ROTATE_BEFORE_MS || record.notAfter - height < ROTATE_BEFORE_BLOCKS;
}

/** Everything settled and paid: the key is closed on chain and its folder kept until nobody can ask for it any more. */
async function retire(
  key: LiveKey,
  keys: LiveKey[],
  chain: NodeChainView,
  operator: Operator,
  log: (line: string) => void,
): Promise<void> {
  const { keyId, keyEpoch } = key.stream.identity;
  const record = await chain.nodeKey(keyId);
  if (record === undefined) {
    await key.settler.stop();
    await key.log.close();
    keys.splice(keys.indexOf(key), 1);
    rmSync(key.dir, { recursive: true, force: true });
    return;
  }
  if (record.closingAt !== undefined || record.stop !== undefined || record.notAfter <= chain.head().height)
    return;
  await operator.submit([{ kind: 'close-key', keyId }]);
  log(`key epoch ${keyEpoch} closed: everything settled and paid`);
}

function servedModels(
  engines: readonly Engine[],
  config: NodeConfig,
  chain: NodeChainView,
  operator: Operator,
  nodeId: Uint8Array,
): ReadonlyMap<string, ServedModel> {
  const { asset, ...prices } = config.prices;
  const models = engines.flatMap((engine) => engine.models.map((model) => ({ engine, ...model })));
  return new Map(
    models.map(({ engine, name, manifest }) => {
      const modelId = modelIdOf(manifest);
      const offer = OFFER.sign(
        {
          version: 1,
          chainId: chain.chainId,
          nodeId,
          modelId,
          asset,
          inputPrice: credit(prices.inputPrice),
          cachedInputPrice: credit(prices.cachedInputPrice),
          outputPrice: credit(prices.outputPrice),
          requestPrice: credit(prices.requestPrice),
          minCharge: credit(prices.minCharge),
          validFrom: 1,
          validUntil: chain.head().height + chain.config.params.sessionTtlMax,
          tokenizerHash: manifest.tokenizerHash,
        },
        operator.signer.sign,
      );
      return [name, { name, modelId, manifest, engine, offer }];
    }),
  );
}

function openEngine(config: EngineConfig): Promise<Engine> {
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
  if (attester.kind === 'none') return null;
  const seed = fromHex(readFileSync(attester.rootSeedFile, 'utf8').trim());
  return createTestEnclave({
    root: createTestRoot(seed),
    measurement: measureTestImage(utf8Encode(attester.image)),
    nowMs: Date.now,
  });
}

function readOperator(file: string) {
  const { seed } = JSON.parse(readFileSync(file, 'utf8')) as { seed?: unknown };
  if (typeof seed !== 'string') throw new Error(`${file} has no seed: is it a wallet file?`);
  return ed25519SignerFromSeed(fromHex(seed, file));
}

async function readiness(
  engines: readonly Engine[],
  chain: NodeChainView,
  refusal: () => ApiError | undefined,
): Promise<Readonly<Record<string, string>>> {
  const engineStates = await Promise.all(
    engines.map((engine) =>
      engine.ready().then(
        () => 'ok',
        (error: unknown) => (error instanceof Error ? error.message : 'failed'),
      ),
    ),
  );
  return {
    chain: chain.head().height > 0 ? 'ok' : 'no block seen',
    work: refusal()?.message ?? 'ok',
    ...Object.fromEntries(engineStates.map((state, i) => [`engine ${engines[i]?.name}`, state])),
  };
}

function modelJson({ name, manifest }: ServedModel) {
  return { id: name, object: 'model', created: 0, owned_by: 'haca', license: manifest.license };
}

function servedModel(models: ReadonlyMap<string, ServedModel>, id: string): ServedModel {
  const model = models.get(id);
  if (model === undefined) throw new ApiError('E_MODEL_UNKNOWN', id, { param: 'model' });
  return model;
}

function assuranceOf({ method, evidence }: Pick<NodeKeyRecord, 'method' | 'evidence'>): Assurance {
  return method === 'tee' ? (evidence?.simulated === false ? 'tee' : 'tee-simulated') : method;
}

function keyJson({ stream, record }: LiveKey) {
  const { keyId, keyEpoch, signer, evidence } = stream.identity;
  return {
    keyId: toHex(keyId),
    keyEpoch,
    publicKey: toHex(signer.publicKey),
    method: record?.method ?? 'signed',
    assurance: record === null ? 'signed' : assuranceOf(record),
    evidenceKind: evidence?.kind ?? null,
  };
}

function receiptJson(keys: readonly LiveKey[], chain: NodeChainView, id: string) {
  for (const { stream } of keys) {
    const view = stream.byId(id);
    if (view === undefined) continue;
    const proof = stream.proof(view.receipt.value.seq);
    return {
      id: view.id,
      receipt: base64url(view.receipt.bytes),
      hash: toHex(view.receipt.hash),
      state: stateOf(view, chain),
      height: view.batch?.height ?? null,
      txHash: view.batch === null ? null : toHex(view.batch.txHash),
      proof: proof === null ? null : base64url(proof),
    };
  }
  throw new ApiError('E_RECEIPT_UNKNOWN', id);
}

/** For `tee` and `signed` the block that settles also verifies; the next header makes it final. */
function stateOf({ batch }: ReceiptView, chain: NodeChainView): ReceiptState {
  if (batch === null) return 'executed';
  return chain.finalHeight() >= batch.height ? 'final' : 'verified';
}

function attestationJson(keys: readonly LiveKey[], keyId: string) {
  const key = keys.find(({ stream }) => toHex(stream.identity.keyId) === keyId);
  const evidence = key?.stream.identity.evidence ?? null;
  if (key === undefined || evidence === null) {
    throw new ApiError('E_RECEIPT_UNKNOWN', 'No evidence for this key is kept here.');
  }
  return {
    keyId,
    kind: evidence.kind,
    document: base64url(evidence.document),
    binding: base64url(encode(registrationBindingCodec, key.stream.identity.binding)),
  };
}

async function laneJson(
  context: InferenceContext | undefined,
  channelId: string,
  lane: string,
  keyId: string,
) {
  if (context === undefined) throw new ApiError('E_UNAVAILABLE', 'The node is starting.');
  if (
    !/^[0-9a-f]{64}$/.test(channelId) ||
    !/^[0-9a-f]{64}$/.test(keyId) ||
    !/^([0-9]|[1-5][0-9]|6[0-3])$/.test(lane)
  ) {
    throw new ApiError(
      'E_REQUEST',
      'Expected /v1/lanes/CHANNEL/LANE?key=KEY with 32-byte ids in hex and a lane of 0 to 63.',
    );
  }
  const { charged, reserved, voucher } = await context.book.laneState(
    fromHex(channelId),
    fromHex(keyId),
    Number(lane),
  );
  return {
    charged: `${charged}`,
    reserved: `${reserved}`,
    voucher: voucher === null ? null : base64url(voucher.bytes),
  };
}

function unsettled(keys: readonly LiveKey[]): number {
  return keys.reduce((sum, { stream }) => sum + stream.lastSeq() - stream.settledSeq(), 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((settle) => setTimeout(settle, ms));
}
