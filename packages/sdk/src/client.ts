/** The client: picks a proven node, pays, calls, verifies, and only then hands over. */

import { headerHash } from '@haca/light-client';
import { connectRpc, fromBase64url, type RpcClient } from '@haca/platform/rpc';
import { bytesEqual, MalformedError, toHex, UsageError, utf8Encode } from '@haca/primitives';
import {
  type Assurance,
  check,
  failed,
  inputTokensBound,
  RECEIPT,
  type Receipt,
  requestHashOf,
  reserveFor,
  type SignedObject,
  type Verdict,
  type Voucher,
  verdictOf,
} from '@haca/protocol';
import { type Answer, openAnswer, type PendingAnswer } from './answer.ts';
import { type ChainView, headerTimeMs, openChainView } from './chain-view.ts';
import { type Directory, type ModelEntry, type NodeEntry, openDirectory, type Route } from './directory.ts';
import { NodeError, PaymentError, TimeoutError, VerificationError } from './errors.ts';
import { type AppraiseEvidence, appraiseRegistration } from './evidence.ts';
import type { Trust } from './genesis-document.ts';
import { parseJson } from './json.ts';
import { type Lane, type LaneLedger, openLaneLedger } from './lanes.ts';
import { nodeErrorOf, readBounded } from './node-api.ts';
import { type Platform, randomBytes, sleep } from './platform.ts';
import { assuranceCheck, DEFAULT_POLICY, type Policy } from './policy.ts';
import { bodyBytes, parseRequest, type RequestParams } from './request.ts';
import { verifiedStream } from './stream-verifier.ts';
import { type AnswerExpectations, assuranceOf, judge, verifyAnswer } from './verify-answer.ts';
import { type Channel, openWallet, type Wallet, type WalletKey } from './wallet.ts';

export interface ChannelOptions {
  readonly asset: number;
  /** Put into a channel that is opened or runs dry. */
  readonly deposit: bigint;
  /** Allocated to a node that has too little. */
  readonly allocation: bigint;
}

export interface HacaOptions {
  /** JSON-RPC of a full node. */
  readonly rpcUrl: string;
  readonly trust: Trust;
  readonly platform: Platform;
  /** Who pays; null to read and verify only. */
  readonly wallet: WalletKey | null;
  readonly policy?: Partial<Policy>;
  readonly channel?: Partial<ChannelOptions>;
  /** URLs of nodes to use; by default those in the chain's records. */
  readonly nodes?: readonly string[];
  readonly onAnswer?: (answer: Answer) => void;
  readonly clock?: () => number;
  readonly fetch?: typeof fetch;
  readonly rpc?: RpcClient;
  readonly trustingPeriodMs?: number;
  readonly appraise?: AppraiseEvidence;
}

export interface Haca {
  /** For `new OpenAI({ baseURL, apiKey: 'haca', fetch })`. The host does not exist: nothing leaves without this `fetch`. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
  readonly answerOf: (response: Response) => Answer | undefined;
  /** The answer that was completed last. */
  readonly lastAnswer: Answer | null;
  readonly chat: (request: ChatOptions) => Promise<ChatResult>;
  readonly models: () => Promise<readonly ModelEntry[]>;
  readonly nodes: () => Promise<readonly NodeEntry[]>;
  readonly directory: Directory;
  readonly chain: ChainView;
  readonly wallet: Wallet | null;
  readonly close: () => void;
}

export interface ChatOptions {
  readonly model?: string;
  readonly prompt?: string;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
  /** Given: the answer is streamed and each piece of text is passed on as it arrives. */
  readonly onText?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface ChatResult {
  readonly text: string;
  readonly finishReason: string | null;
  readonly answer: Answer;
}

export const HACA_BASE_URL = 'https://haca.invalid/v1';
const DEFAULT_CHANNEL: ChannelOptions = { asset: 1, deposit: 2_000_000_000n, allocation: 1_000_000_000n };
const PAID_PATHS: ReadonlySet<string> = new Set([
  '/chat/completions',
  '/completions',
  '/embeddings',
  '/responses',
]);

export async function openHaca(options: HacaOptions): Promise<Haca> {
  const session = openSession(options);
  const { chain, directory, wallet } = session;
  await chain.sync();
  const answers = new WeakMap<Response, Answer>();
  const hacaFetch: typeof fetch = async (input, init) => {
    const { url, method, headers, body, signal } = await requestOf(input, init);
    const path = pathOf(url);
    if (method === 'GET' && path === '/models') return modelList(directory);
    if (method !== 'POST' || path === null || !PAID_PATHS.has(path)) {
      return errorResponse(404, 'E_REQUEST', `${method} ${url} is not part of this API`);
    }
    const result = await infer(session, path, body, headers, signal);
    if (result.pending !== null) answers.set(result.response, result.pending.answer);
    return result.response;
  };
  const haca: Haca = {
    baseUrl: HACA_BASE_URL,
    fetch: hacaFetch,
    answerOf: (response) => answers.get(response),
    get lastAnswer() {
      return session.lastAnswer;
    },
    chat: (request) => chat(haca, directory, request),
    models: directory.models,
    nodes: directory.nodes,
    directory,
    chain,
    wallet,
    close: () => chain.rpc.close(),
  };
  return haca;
}

/** The parts of a fetch call. A body that is text or bytes stays exactly what it is. */
async function requestOf(...[input, init]: Parameters<typeof fetch>) {
  const given = input instanceof Request ? input : null;
  return {
    url: given?.url ?? String(input),
    method: (init?.method ?? given?.method ?? 'GET').toUpperCase(),
    headers: new Headers(init?.headers ?? given?.headers),
    body: await bodyBytes(init?.body ?? (given === null ? null : await given.arrayBuffer())),
    signal: init?.signal ?? given?.signal ?? new AbortController().signal,
  };
}

/** Everything a request needs; one per client. */
interface Session {
  readonly platform: Platform;
  readonly chain: ChainView;
  readonly directory: Directory;
  readonly wallet: Wallet | null;
  readonly lanes: LaneLedger;
  readonly policy: Policy;
  readonly channel: ChannelOptions;
  readonly clock: () => number;
  readonly fetch: typeof fetch;
  readonly channels: Map<string, Channel>;
  /** Requests whose outcome is unknown, by request hash: sent again they are the same request with the same voucher. */
  readonly unresolved: Map<string, Attempt>;
  /** Why the answer to a request was withheld, by request hash: a client library that retries does not pay for it again. */
  readonly withheld: Map<string, VerificationError>;
  /** Receipts seen, by key and sequence number. */
  readonly seen: Map<string, Uint8Array>;
  readonly onAnswer: (answer: Answer) => void;
  lastAnswer: Answer | null;
  syncedAtMs: number;
}

function openSession(options: HacaOptions): Session {
  const { platform, clock = Date.now } = options;
  const policy = { ...DEFAULT_POLICY, ...options.policy };
  const fetchFn = options.fetch ?? fetch;
  const chain = openChainView({
    crypto: platform.crypto,
    rpc: options.rpc ?? connectRpc(options.rpcUrl),
    trust: options.trust,
    clock,
    ...(options.trustingPeriodMs === undefined ? {} : { trustingPeriodMs: options.trustingPeriodMs }),
  });
  return {
    platform,
    chain,
    directory: openDirectory({
      crypto: platform.crypto,
      chain,
      appraise: options.appraise ?? appraiseRegistration,
      policy,
      clock,
      fetch: fetchFn,
      nodeUrls: options.nodes ?? null,
    }),
    wallet: options.wallet === null ? null : openWallet(platform, chain, options.wallet),
    lanes: openLaneLedger(platform.crypto),
    policy,
    channel: { ...DEFAULT_CHANNEL, ...options.channel },
    clock,
    fetch: fetchFn,
    channels: new Map(),
    unresolved: new Map(),
    withheld: new Map(),
    seen: new Map(),
    onAnswer: options.onAnswer ?? (() => undefined),
    lastAnswer: null,
    syncedAtMs: clock(),
  };
}

interface Inference {
  readonly response: Response;
  readonly pending: PendingAnswer | null;
}

/** One request that was, or is about to be, sent with one voucher. */
interface Attempt {
  readonly route: Route;
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: Headers;
  readonly params: RequestParams;
  readonly requestHash: Uint8Array;
  readonly lane: Lane;
  readonly voucher: SignedObject<Voucher>;
  readonly reserve: bigint;
  readonly idempotencyKey: string;
  readonly minRefHeight: number;
  readonly startedAtMs: number;
}

async function infer(
  session: Session,
  path: string,
  body: Uint8Array,
  headers: Headers,
  signal: AbortSignal,
): Promise<Inference> {
  let params: RequestParams;
  try {
    params = parseRequest(body);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return { response: errorResponse(400, 'E_REQUEST', error.message), pending: null };
  }
  const requestHash = requestHashOf(body);
  const unresolved = session.unresolved.get(toHex(requestHash));
  if (unresolved !== undefined) return sendAttempt(session, unresolved, signal);
  const withheld = session.withheld.get(toHex(requestHash));
  if (withheld !== undefined && isLibraryRetry(headers)) throw withheld;
  session.withheld.delete(toHex(requestHash));
  const excluded = new Set<string>();
  let refused: Error | Response | undefined;
  for await (const route of session.directory.routes(params.model, excluded)) {
    const unfit = unfitness(route, session.policy);
    if (unfit !== null) {
      refused ??= new VerificationError(`node ${route.node.name} was not asked`, unfit);
      continue;
    }
    const result = await tryRoute(session, route, { path, body, headers, params, requestHash }, signal);
    if (!(result instanceof Response)) return result;
    refused = result;
    excluded.add(toHex(route.nodeId));
  }
  if (refused instanceof Response) return { response: refused, pending: null };
  throw refused ?? new NodeError('E_UNAVAILABLE', `no node serves ${params.model}`);
}

/** The official client libraries count the attempts of one call in this header. */
function isLibraryRetry(headers: Headers): boolean {
  return Number(headers.get('x-stainless-retry-count') ?? 0) > 0;
}

/** What is known to be wrong with a route before anything is paid or sent; null where nothing is. */
function unfitness(route: Route, policy: Policy): Verdict | null {
  if (policy.allowUnverified) return null;
  const { method } = route.key;
  const assurance: Assurance =
    method === 'tee' ? (route.evidenceSimulated ? 'tee-simulated' : 'tee') : 'signed';
  const verdict = verdictOf([...route.checks, assuranceCheck(assurance, policy)]);
  return verdict.ok ? null : verdict;
}

type RequestParts = Pick<Attempt, 'path' | 'body' | 'headers' | 'params' | 'requestHash'>;

const SENDS_PER_NODE_MAX = 8;
const SYNC_EVERY_MS = 2_000;

/** A `Response` means: this node will not do it, and nothing was charged; ask another. */
async function tryRoute(
  session: Session,
  route: Route,
  request: RequestParts,
  signal: AbortSignal,
): Promise<Inference | Response> {
  let toppedUp = false;
  for (let tries = 1; ; tries++) {
    const attempt = await prepareAttempt(session, route, request);
    const result = await sendAttempt(session, attempt, signal);
    const { response, pending } = result;
    if (pending !== null || response.ok) return result;
    const code = await errorCodeOf(response);
    if (tries >= SENDS_PER_NODE_MAX) return result;
    switch (code) {
      case 'E_LANE_BUSY':
        attempt.lane.retire();
        continue;
      case 'E_RESERVE':
      case 'E_VOUCHER':
      case 'E_IDEMPOTENCY':
        // The lane is not as we thought; its state is asked for again, and believed only with our own signature.
        attempt.lane.distrust();
        await sleep(20 * tries, signal);
        continue;
      case 'E_INSUFFICIENT':
      case 'E_ALLOCATION':
      case 'E_CHANNEL':
      case 'E_SESSION':
        attempt.lane.distrust();
        // Once more money; after that only time, for a node that has not seen the block yet.
        if (!toppedUp && tries > 2) {
          await payIn(session, route, attempt.reserve, true);
          toppedUp = true;
        } else {
          await sleep(100 * tries, signal);
        }
        continue;
      case 'E_HEAD_STALE':
      case 'E_UNAVAILABLE':
      case 'E_MODEL_UNKNOWN':
        attempt.lane.distrust();
        session.directory.forget(route.nodeId);
        return response;
      default:
        attempt.lane.release(attempt.requestHash);
        return result;
    }
  }
}

async function prepareAttempt(session: Session, route: Route, request: RequestParts): Promise<Attempt> {
  const { policy, chain } = session;
  if (session.clock() - session.syncedAtMs > SYNC_EVERY_MS) {
    await chain.sync();
    session.syncedAtMs = session.clock();
  }
  const head = chain.head().height;
  const reserve = reserveFor(
    route.offer.value,
    inputTokensBound(request.body),
    request.params.maxOutputTokens,
  );
  if (policy.maxReserve !== null && reserve > policy.maxReserve) {
    throw new PaymentError(
      'E_PRICE',
      `the request may cost ${reserve}, the policy allows ${policy.maxReserve}`,
    );
  }
  const channel = await payIn(session, route, reserve, false);
  const lane = await session.lanes.acquire(route.api, channel, route.keyId, request.requestHash);
  const { withdrawDelay } = route.config.params;
  const voucher = channel.signVoucher({
    keyId: route.keyId,
    lane: lane.index,
    cumulative: (lane.charged + reserve) as Voucher['cumulative'],
    requestHash: request.requestHash,
    expiry: Math.min(channel.sessionExpiry, head + 4 * withdrawDelay),
  });
  return {
    ...request,
    route,
    lane,
    voucher,
    reserve,
    idempotencyKey: toHex(randomBytes(16)),
    minRefHeight: Math.max(0, head - policy.refBlockAgeMax),
    startedAtMs: session.clock(),
  };
}

/** The channel that pays this node; made or filled up where needed. */
async function payIn(session: Session, route: Route, reserve: bigint, force: boolean): Promise<Channel> {
  const { wallet, channel, chain } = session;
  if (wallet === null) throw new PaymentError('E_VOUCHER_REQUIRED', 'this client has no wallet to pay with');
  const { asset } = route.offer.value;
  const name = `${toHex(route.nodeId)} ${asset}`;
  const known = session.channels.get(name);
  const head = chain.head().height;
  const { withdrawDelay, sessionTtlMax } = route.config.params;
  const validUntil = head + 2 * withdrawDelay + EXPIRY_MARGIN_BLOCKS;
  if (!force && known !== undefined && known.sessionExpiry >= validUntil) return known;
  const wanted = larger(channel.allocation, 4n * reserve);
  const opened = await wallet.ensureChannel({
    asset,
    deposit: larger(channel.deposit, wanted),
    nodeId: route.nodeId,
    allocation: wanted,
    needed: reserve,
    force,
    validUntil,
    sessionTtlMax,
  });
  session.channels.set(name, opened);
  return opened;
}

const EXPIRY_MARGIN_BLOCKS = 100;
const RESENDS_MAX = 2;
const PENDING_WAITS_MAX = 60;

/** Sends one attempt. The same voucher with the same body is the same request, however often it is sent. */
async function sendAttempt(session: Session, attempt: Attempt, signal: AbortSignal): Promise<Inference> {
  const name = toHex(attempt.requestHash);
  let waits = 0;
  for (let sends = 0; ; sends++) {
    let response: Response;
    try {
      response = await post(session, attempt, signal);
    } catch (cause) {
      if (isConnectionRefused(cause)) {
        attempt.lane.release(attempt.requestHash);
        session.directory.forget(attempt.route.nodeId);
        return {
          response: errorResponse(503, 'E_UNAVAILABLE', `${attempt.route.api.url} is not there`),
          pending: null,
        };
      }
      session.unresolved.set(name, attempt);
      attempt.lane.distrust();
      if (signal.aborted) throw cause;
      if (sends >= RESENDS_MAX) {
        const where = attempt.route.api.url;
        throw new NodeError(
          'E_UNREACHABLE',
          `${where} did not answer; sent again it is the same request`,
          null,
          {
            cause,
          },
        );
      }
      await sleep(200 * (sends + 1), signal);
      continue;
    }
    const wasUnresolved = session.unresolved.has(name);
    if (wasUnresolved && response.status === 409 && waits++ < PENDING_WAITS_MAX) {
      await response.body?.cancel();
      await sleep(500, signal);
      continue;
    }
    session.unresolved.delete(name);
    return takeResponse(session, attempt, response, signal);
  }
}

function post(session: Session, attempt: Attempt, signal: AbortSignal): Promise<Response> {
  const headers = new Headers({
    'content-type': attempt.headers.get('content-type') ?? 'application/json',
    accept: attempt.headers.get('accept') ?? '*/*',
    'x-haca-voucher': toBase64url(attempt.voucher.bytes),
    'x-haca-idempotency-key': attempt.idempotencyKey,
  });
  return session.fetch(`${attempt.route.api.url}/v1${attempt.path}`, {
    method: 'POST',
    headers,
    body: attempt.body as Uint8Array<ArrayBuffer>,
    signal,
  });
}

async function takeResponse(
  session: Session,
  attempt: Attempt,
  response: Response,
  signal: AbortSignal,
): Promise<Inference> {
  const { route } = attempt;
  if (!response.ok || response.body === null) return { response, pending: null };
  const pending = openAnswer({
    crypto: session.platform.crypto,
    chain: session.chain,
    route,
    clock: session.clock,
    id: response.headers.get('x-haca-receipt-id') ?? '',
    request: attempt.body,
    voucher: attempt.voucher,
  });
  const isStream = (response.headers.get('content-type') ?? '').startsWith('text/event-stream');
  if (isStream !== attempt.params.stream) {
    const form = failed(
      'receipt.response-form',
      'response.form',
      attempt.params.stream ? 'a stream' : 'a body',
      isStream ? 'a stream' : 'a body',
    );
    await response.body.cancel();
    attempt.lane.distrust();
    const error = new VerificationError('the answer was withheld', verdictOf([form]), pending.answer.id);
    withhold(session, attempt, error);
    throw error;
  }
  return isStream
    ? takeStream(session, attempt, response, pending, signal)
    : takeBody(session, attempt, response, pending);
}

async function takeBody(
  session: Session,
  attempt: Attempt,
  response: Response,
  pending: PendingAnswer,
): Promise<Inference> {
  try {
    const body = await readBounded(response, session.policy.responseMaxBytes);
    const header = response.headers.get('x-haca-receipt');
    const receipt = header === null ? null : RECEIPT.decode(fromBase64url(header));
    await concludeAnswer(session, attempt, pending, { receipt, response: body, form: 'body', checks: [] });
    const { status, statusText, headers } = response;
    const handed = new Response(body as Uint8Array<ArrayBuffer>, {
      status,
      statusText,
      headers: handedHeaders(headers),
    });
    return { response: handed, pending };
  } catch (error) {
    attempt.lane.distrust();
    const withheld = asVerificationError(error, pending.answer.id);
    if (withheld instanceof VerificationError) withhold(session, attempt, withheld);
    pending.fail(withheld);
    throw withheld;
  }
}

function takeStream(
  session: Session,
  attempt: Attempt,
  response: Response,
  pending: PendingAnswer,
  signal: AbortSignal,
): Inference {
  const { route } = attempt;
  const body = verifiedStream({
    expectations: {
      crypto: session.platform.crypto,
      keyId: route.keyId,
      publicKey: route.key.publicKey,
      requestHash: attempt.requestHash,
      reserve: attempt.reserve,
      policy: session.policy,
    },
    body: response.body as ReadableStream<Uint8Array>,
    reopen: async () => {
      const again = await post(session, attempt, signal);
      if (again.ok && again.body !== null) return again.body;
      throw nodeErrorOf(again.status, null, `${route.api.url} could not resume the stream`);
    },
    finish: (outcome) => concludeAnswer(session, attempt, pending, { ...outcome, form: 'stream' }),
    abandon: (reason) => {
      attempt.lane.distrust();
      if (reason instanceof VerificationError) withhold(session, attempt, reason);
      pending.fail(reason ?? new UsageError('the stream was given up before its end'));
    },
  });
  const { status, statusText, headers } = response;
  const handed = new Response(body, { status, statusText, headers: handedHeaders(headers) });
  return { response: handed, pending };
}

const WITHHELD_MAX = 1_000;

function withhold(session: Session, attempt: Attempt, error: VerificationError): void {
  if (session.withheld.size >= WITHHELD_MAX) session.withheld.clear();
  session.withheld.set(toHex(attempt.requestHash), error);
}

/** The body was decoded and checked here; length and coding of the wire no longer apply. */
function handedHeaders(headers: Headers): Headers {
  const kept = new Headers(headers);
  kept.delete('content-encoding');
  kept.delete('content-length');
  return kept;
}

interface ReceivedAnswer {
  readonly receipt: SignedObject<Receipt> | null;
  readonly response: Uint8Array;
  readonly form: Receipt['responseForm'];
  readonly checks: Verdict['checks'];
}

/** Verifies a whole answer. Throws `VerificationError` unless it passed, or the policy explicitly allows it to fail. */
async function concludeAnswer(
  session: Session,
  attempt: Attempt,
  pending: PendingAnswer,
  received: ReceivedAnswer,
): Promise<void> {
  const startedAt = performance.now();
  const { receipt } = received;
  if (receipt === null) {
    const missing = failed('receipt.present', 'receipt.missing', 'a receipt', 'none');
    throw new VerificationError('the answer was withheld', verdictOf([missing]), pending.answer.id);
  }
  const { route } = attempt;
  const expected = await expectationsOf(session, attempt, received, receipt.value);
  const checks = verifyAnswer(
    session.platform.crypto,
    receipt,
    {
      chainId: session.chain.chainId,
      nodeId: route.nodeId,
      node: route.node,
      keyId: route.keyId,
      key: route.key,
      modelId: route.modelId,
      nowMs: headerTimeMs(session.chain.head()),
    },
    expected,
  );
  const assurance = assuranceOf(receipt.value, route.key, route.evidenceSimulated);
  const unique = uniqueCheck(session, receipt);
  const verdict = judge([...route.checks, ...received.checks, ...checks, unique], assurance, session.policy);
  if (!verdict.ok && !session.policy.allowUnverified) {
    session.directory.forget(route.nodeId);
    throw new VerificationError('the answer was withheld', verdict, pending.answer.id);
  }
  if (verdict.ok) attempt.lane.settle(receipt.value.cumulative);
  else attempt.lane.distrust();
  const timing = {
    totalMs: session.clock() - attempt.startedAtMs,
    verifyMs: performance.now() - startedAt,
  };
  pending.complete({ receipt, verdict, assurance, response: received.response, timing });
  session.lastAnswer = pending.answer;
  session.onAnswer(pending.answer);
}

async function expectationsOf(
  session: Session,
  attempt: Attempt,
  received: ReceivedAnswer,
  receipt: Receipt,
): Promise<AnswerExpectations> {
  return {
    request: attempt.body,
    response: received.response,
    form: received.form,
    offer: attempt.route.offer,
    voucher: attempt.voucher.value,
    chargedBefore: attempt.voucher.value.cumulative - attempt.reserve,
    idempotencyKey: utf8Encode(attempt.idempotencyKey),
    refBlockHash: await refBlockHash(session.chain, receipt.refHeight),
    minRefHeight: attempt.minRefHeight,
  };
}

const REF_WAIT_MS = 3_000;
const REF_AHEAD_MAX = 100;

/** The verified hash of a height, or null where no such header can be had. */
async function refBlockHash(chain: ChainView, height: number): Promise<Uint8Array | null> {
  try {
    if (height > chain.head().height + REF_AHEAD_MAX) return null;
    if (height > chain.head().height) await chain.sync({ minHeight: height, timeoutMs: REF_WAIT_MS });
    return headerHash(await chain.headerAt(height));
  } catch (error) {
    if (error instanceof VerificationError || error instanceof TimeoutError) return null;
    if (error instanceof Error && error.name === 'RpcError') return null;
    throw error;
  }
}

const SEEN_MAX = 100_000;

/** One receipt backs one answer, and a key signs one receipt per sequence number. */
function uniqueCheck(session: Session, receipt: SignedObject<Receipt>) {
  const name = `${toHex(receipt.value.keyId)}:${receipt.value.seq}`;
  const before = session.seen.get(name);
  if (session.seen.size >= SEEN_MAX) session.seen.clear();
  session.seen.set(name, before ?? receipt.hash);
  const isSame = before !== undefined && bytesEqual(before, receipt.hash);
  const got =
    before === undefined
      ? 'new'
      : isSame
        ? 'a receipt of an earlier answer'
        : 'another receipt with this seq';
  const code = isSame ? 'receipt.replayed' : 'receipt.equivocation';
  return check('receipt.unique', code, before === undefined, 'a receipt not seen before', got);
}

function asVerificationError(error: unknown, id: string): unknown {
  if (!(error instanceof MalformedError)) return error;
  const malformed = failed('receipt.format', error.code, error.expected, error.got);
  return new VerificationError('the answer was withheld', verdictOf([malformed]), id);
}

async function errorCodeOf(response: Response): Promise<string> {
  try {
    const bytes = await readBounded(response.clone(), 1 << 20);
    const body: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return nodeErrorOf(response.status, body, '').code;
  } catch {
    return `HTTP_${response.status}`;
  }
}

/** Certain that no byte of the request reached the node. */
function isConnectionRefused(error: unknown): boolean {
  const cause = (error as { cause?: { code?: unknown; errors?: readonly { code?: unknown }[] } } | null)
    ?.cause;
  const codes = [cause?.code, ...(cause?.errors ?? []).map(({ code }) => code)];
  return codes.includes('ECONNREFUSED') || codes.includes('ENOTFOUND');
}

function errorResponse(status: number, code: string, message: string): Response {
  const error = {
    message,
    type: status === 503 ? 'server_error' : 'invalid_request_error',
    param: null,
    code,
  };
  return new Response(JSON.stringify({ error }), {
    status,
    headers: { 'content-type': 'application/json', 'x-should-retry': 'false' },
  });
}

async function modelList(directory: Directory): Promise<Response> {
  const data = (await directory.models()).map(({ manifest, modelId }) => ({
    id: manifest.name,
    object: 'model',
    created: 0,
    owned_by: toHex(modelId),
  }));
  return new Response(JSON.stringify({ object: 'list', data }), {
    headers: { 'content-type': 'application/json' },
  });
}

/** The API path of a URL under any base that ends in `/v1`, or null. */
function pathOf(url: string): string | null {
  const { pathname } = new URL(url);
  const at = pathname.indexOf('/v1/');
  return at < 0 ? null : pathname.slice(at + 3);
}

function toBase64url(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

async function chat(haca: Haca, directory: Directory, options: ChatOptions): Promise<ChatResult> {
  const model = options.model ?? (await firstChatModel(directory));
  const messages = options.messages ?? [{ role: 'user', content: options.prompt ?? '' }];
  const isStream = options.onText !== undefined;
  const body = JSON.stringify({
    model,
    messages,
    stream: isStream,
    ...(options.maxOutputTokens === undefined ? {} : { max_tokens: options.maxOutputTokens }),
    ...(options.temperature === undefined ? {} : { temperature: options.temperature }),
    ...(options.seed === undefined ? {} : { seed: options.seed }),
  });
  const response = await haca.fetch(`${HACA_BASE_URL}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (!response.ok) {
    throw nodeErrorOf(response.status, await response.json().catch(() => null), 'chat');
  }
  const answer = haca.answerOf(response) as Answer;
  const said = isStream ? await readTextStream(response, options.onText) : textOf(await response.json());
  return { ...said, answer: await answer.completed };
}

async function firstChatModel(directory: Directory): Promise<string> {
  const first = (await directory.models()).find(({ manifest }) => manifest.task === 'chat');
  if (first === undefined)
    throw new NodeError('E_MODEL_UNKNOWN', 'no chat model is registered on this chain');
  return first.manifest.name;
}

interface Choice {
  readonly delta?: { readonly content?: unknown };
  readonly message?: { readonly content?: unknown };
  readonly finish_reason?: unknown;
}

function textOf(body: unknown): { readonly text: string; readonly finishReason: string | null } {
  const choice = (body as { choices?: readonly Choice[] } | null)?.choices?.[0];
  const { content } = choice?.message ?? {};
  const reason = choice?.finish_reason;
  return {
    text: typeof content === 'string' ? content : '',
    finishReason: typeof reason === 'string' ? reason : null,
  };
}

async function readTextStream(
  response: Response,
  onText: ChatOptions['onText'],
): Promise<{ readonly text: string; readonly finishReason: string | null }> {
  const decoder = new TextDecoder();
  let pending = '';
  let text = '';
  let finishReason: string | null = null;
  const take = (line: string): void => {
    if (!line.startsWith('data: ') || line === 'data: [DONE]') return;
    const choice = (parseJson(line.slice(6), 'stream event') as { choices?: readonly Choice[] }).choices?.[0];
    const piece = choice?.delta?.content;
    if (typeof choice?.finish_reason === 'string') finishReason = choice.finish_reason;
    if (typeof piece !== 'string' || piece === '') return;
    text += piece;
    onText?.(piece);
  };
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    pending += decoder.decode(chunk, { stream: true });
    const lines = pending.split('\n');
    pending = lines.pop() ?? '';
    lines.forEach(take);
  }
  return { text, finishReason };
}
