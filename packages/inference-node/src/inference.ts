/**
 * One paid request from voucher to receipt. Order is everything: checks in memory, reservation, engine, receipt on disk, and
 * only then the last bytes.
 */
import { hash } from 'node:crypto';
import { base64url, fromBase64url } from '@haca/platform';
import { bytesEqual, MalformedError, toHex, utf8Encode } from '@haca/primitives';
import {
  type Credit,
  chargeFor,
  credit,
  inputTokensBound,
  type ModelManifest,
  type Offer,
  requestHashOf,
  reserveFor,
  responseHashOf,
  type SignedObject,
  STREAM_CHECKPOINT,
  streamNext,
  streamStart,
  type Usage,
  type Voucher,
} from '@haca/protocol';
import { type EndEvent, type Engine, EngineError, type EngineEvent } from '@haca/runtime';
import type { AnswerSink } from './answer-sink.ts';
import { ApiError, apiErrorOf, errorBody, errorHeaders } from './api-error.ts';
import type { NodeChainView } from './chain-view.ts';
import {
  type CompletionHead,
  chunkEvent,
  completionJson,
  DONE_EVENT,
  type ParsedRequest,
  parseChatRequest,
  usageEvent,
} from './completion.ts';
import type { KeyStream, ReceiptContent } from './key-stream.ts';
import type { Metrics } from './metrics.ts';
import { type Authorization, type PaymentBook, parseVoucher } from './payment-book.ts';
import { randomHex } from './random-hex.ts';
import type { ReplayCache } from './replay-cache.ts';

/** A model under the offer that holds for one key. */
export interface PricedModel {
  readonly name: string;
  readonly modelId: Uint8Array;
  readonly manifest: ModelManifest;
  readonly offer: SignedObject<Offer>;
}

export interface ServedModel extends PricedModel {
  readonly engine: Engine;
}

/** A node key that takes work, with the offers that were made under it. */
export interface ServingKey {
  readonly stream: KeyStream;
  readonly method: 'tee' | 'signed' | 'zk';
  readonly models: ReadonlyMap<string, PricedModel>;
  readonly onReceipt: () => void;
}

export interface InferenceContext {
  readonly chain: Pick<NodeChainView, 'head'>;
  readonly book: PaymentBook;
  readonly replays: ReplayCache;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
  /** What answers under this name; undefined where nothing does. */
  readonly engineOf: (name: string) => Engine | undefined;
  /** The key for new clients; throws `ApiError` while the node can't keep a promise. */
  readonly advertisedKey: () => ServingKey;
  /** The key a voucher names; throws `ApiError` where it takes no work. */
  readonly keyFor: (voucher: SignedObject<Voucher>) => Promise<ServingKey>;
  /** An error nobody foresaw. */
  readonly report: (error: unknown) => void;
}

export interface InferenceRequest {
  readonly body: Uint8Array;
  readonly voucherHeader: string | undefined;
  readonly idempotencyKey: string | undefined;
  readonly startedAt: number;
}

const CHECKPOINT_TOKENS = 64;
const CHECKPOINT_MS = 1_000;

export async function serveChat(
  context: InferenceContext,
  request: InferenceRequest,
  sink: AnswerSink,
): Promise<void> {
  const parsed = parseChatRequest(request.body);
  const requestHash = requestHashOf(request.body);
  const { voucherHeader } = request;
  if (voucherHeader === undefined)
    throw voucherRequired(context, context.advertisedKey(), parsed, request, requestHash);
  const voucher = voucherOf(voucherHeader);
  if (!bytesEqual(voucher.value.requestHash, requestHash)) {
    throw new ApiError('E_REQUEST_HASH', 'Hash the raw body bytes exactly as sent.');
  }
  // Over the signature too: who gets an answer again has the payer's own voucher.
  const replayKey = hash('sha256', voucher.bytes, 'base64');
  if (await context.replays.replay(replayKey, sink)) return;

  const key = await context.keyFor(voucher);
  const model = modelOf(context, key, parsed);
  const authorization = await authorize(context, key, model, parsed, voucher, request, requestHash);
  const recorded = context.replays.record(replayKey, sink);
  const run = openRun(context, key, model, parsed, authorization, request, requestHash, recorded);
  let isKept = false;
  try {
    isKept = await (parsed.stream ? answerStream(run) : answerWhole(run));
  } finally {
    authorization.release();
    recorded.finish(isKept);
    key.onReceipt();
  }
}

function modelOf(
  { engineOf }: Pick<InferenceContext, 'engineOf'>,
  { models }: ServingKey,
  { chat }: ParsedRequest,
): ServedModel {
  const model = models.get(chat.model);
  const engine = engineOf(chat.model);
  if (model !== undefined && engine !== undefined) return { ...model, engine };
  throw new ApiError('E_MODEL_UNKNOWN', `Served here: ${[...models.keys()].join(', ')}.`, { param: 'model' });
}

function reserveOf(model: ServedModel, { chat }: ParsedRequest, body: Uint8Array): Credit {
  return reserveFor(model.offer.value, inputTokensBound(body), chat.maxOutputTokens);
}

async function authorize(
  { book }: InferenceContext,
  { stream }: ServingKey,
  model: ServedModel,
  parsed: ParsedRequest,
  voucher: SignedObject<Voucher>,
  { body }: InferenceRequest,
  requestHash: Uint8Array,
): Promise<Authorization> {
  const reserve = reserveOf(model, parsed, body);
  const { asset } = model.offer.value;
  try {
    return await book.authorize({ voucher, keyId: stream.identity.keyId, requestHash, reserve, asset });
  } catch (error) {
    const isRepeated = error instanceof ApiError && error.code === 'E_IDEMPOTENCY';
    const answered = isRepeated ? await stream.answeredBy(voucher) : undefined;
    throw answered === undefined ? error : alreadyAnswered(answered.id);
  }
}

/** The outcome is known and paid for, only the answer itself is no longer kept. */
export function alreadyAnswered(receiptId: string): ApiError {
  return new ApiError('E_IDEMPOTENCY', 'This request was answered and charged; the answer is not kept.', {
    details: { haca: { receiptId } },
  });
}

interface Run {
  readonly context: InferenceContext;
  readonly key: ServingKey;
  readonly model: ServedModel;
  readonly parsed: ParsedRequest;
  readonly requestHash: Uint8Array;
  readonly inputTokensMax: number;
  readonly authorization: Authorization;
  readonly sink: AnswerSink;
  readonly receiptId: string;
  readonly head: CompletionHead;
  readonly receivedAtMs: number;
  readonly startedAt: number;
  engineMs: number;
  readonly idempotencyKey: Uint8Array | null;
}

function openRun(
  context: InferenceContext,
  key: ServingKey,
  model: ServedModel,
  parsed: ParsedRequest,
  authorization: Authorization,
  { body, startedAt, idempotencyKey }: InferenceRequest,
  requestHash: Uint8Array,
  sink: AnswerSink,
): Run {
  const receivedAtMs = context.nowMs();
  return {
    context,
    key,
    model,
    parsed,
    requestHash,
    inputTokensMax: inputTokensBound(body),
    authorization,
    sink,
    receiptId: `rcpt_${randomHex(16)}`,
    head: {
      id: `chatcmpl-${randomHex(12)}`,
      created: Math.floor(receivedAtMs / 1000),
      model: model.name,
    },
    receivedAtMs,
    startedAt,
    engineMs: 0,
    idempotencyKey: idempotencyKey === undefined ? null : utf8Encode(idempotencyKey),
  };
}

function voucherRequired(
  context: InferenceContext,
  key: ServingKey,
  parsed: ParsedRequest,
  { body }: InferenceRequest,
  requestHash: Uint8Array,
): ApiError {
  const model = modelOf(context, key, parsed);
  const reserve = reserveOf(model, parsed, body);
  return new ApiError('E_VOUCHER_REQUIRED', `This request reserves ${reserve} base units.`, {
    details: {
      haca: {
        nodeId: toHex(key.stream.identity.nodeId),
        keyId: toHex(key.stream.identity.keyId),
        asset: model.offer.value.asset,
        reserve: `${reserve}`,
        requestHash: toHex(requestHash),
        offer: base64url(model.offer.bytes),
      },
    },
  });
}

export function voucherOf(header: string): SignedObject<Voucher> {
  try {
    return parseVoucher(fromBase64url(header));
  } catch (error) {
    if (error instanceof MalformedError) throw new ApiError('E_VOUCHER', error.message);
    throw error;
  }
}

/**
 * Runs to its end although the client may be gone: sent again, the request gets the answer it paid for. True where the
 * answer is one to give again.
 */
async function answerWhole(run: Run): Promise<boolean> {
  const events: EngineEvent[] = [];
  let end: EndEvent;
  try {
    end = await runEngine(run, (event) => {
      events.push(event);
      return undefined;
    });
    if (end.finishReason === 'abort') throw stopped();
  } catch (error) {
    return refuse(run, error);
  }
  const body = Buffer.from(JSON.stringify(completionJson(run.head, events, end)));
  await finishWhole(run, 200, { 'content-type': 'application/json' }, body, {
    outcome: 'completed',
    usage: end.usage,
    amount: chargeOf(run, end.usage),
    seed: end.seed,
  });
  return true;
}

function stopped(): ApiError {
  return new ApiError(
    'E_UNAVAILABLE',
    'The answer was stopped: the node is closing, or the voucher could no longer be redeemed in time.',
  );
}

/** A whole answer leaves after its receipt is on disk. */
async function finishWhole(
  run: Run,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  result: Omit<Result, 'responseHash' | 'responseForm'>,
): Promise<void> {
  const { receipt, durable } = issue(run, {
    ...result,
    responseHash: responseHashOf(body),
    responseForm: 'body',
  });
  await durable;
  run.sink.head(status, {
    ...answerHeaders(run),
    ...headers,
    'content-length': `${body.length}`,
    'x-haca-receipt': base64url(receipt.bytes),
  });
  await run.sink.write(body);
  run.sink.end();
}

const NO_USAGE: Usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 };

/** Nothing was delivered, so nothing is charged, and the stream of receipts says so too. */
async function refuse(run: Run, error: unknown): Promise<boolean> {
  const apiError = apiErrorOf(error, run.context.report);
  await finishWhole(run, apiError.status, errorHeaders(apiError), errorBody(apiError), {
    outcome: 'failed',
    usage: NO_USAGE,
    amount: credit(0n),
    seed: undefined,
  });
  return false;
}

async function answerStream(run: Run): Promise<boolean> {
  const { sink, head, parsed, authorization } = run;
  const chain = openEventChain(run);
  sink.signal.addEventListener('abort', authorization.stop, { once: true });
  if (sink.signal.aborted) authorization.stop();
  let deliveredTokens = 0;
  let end: EndEvent;
  try {
    end = await runEngine(run, async (event) => {
      if (event.type !== 'delta') return;
      await chain.begin();
      await chain.event(chunkEvent(head, event.delta ?? { content: event.text }, null, event.logprobs));
      deliveredTokens += event.tokens;
      await chain.checkpoint(deliveredTokens);
    });
    if (end.finishReason === 'abort' && !chain.hasBegun()) throw stopped();
  } catch (error) {
    if (!chain.hasBegun()) return refuse(run, error);
    const failure = `data: ${errorBody(apiErrorOf(error, run.context.report)).toString()}\n\n`;
    await finishStream(run, chain, [failure], 'failed', { ...NO_USAGE, outputTokens: deliveredTokens });
    return true;
  }
  if (end.finishReason === 'abort') {
    await finishStream(run, chain, [], 'aborted', { ...end.usage, outputTokens: deliveredTokens });
    return true;
  }
  await chain.begin();
  const last = [
    chunkEvent(head, {}, end.finishReason),
    ...(parsed.includeUsage ? [usageEvent(head, end.usage)] : []),
    DONE_EVENT,
  ];
  await finishStream(run, chain, last, 'completed', end.usage, end.seed);
  return true;
}

/** The last events wait for the receipt that covers them to be on disk. */
async function finishStream(
  run: Run,
  chain: EventChain,
  lastEvents: readonly string[],
  outcome: ReceiptContent['outcome'],
  usage: Usage,
  seed?: bigint,
): Promise<void> {
  const last = lastEvents.map((event) => Buffer.from(event));
  const { receipt, durable } = issue(run, {
    responseHash: last.reduce<Uint8Array>(streamNext, chain.headHash()),
    responseForm: 'stream',
    outcome,
    usage: billable(run, usage),
    amount: chargeOf(run, billable(run, usage)),
    seed,
  });
  await durable;
  const comment = Buffer.from(`: haca-receipt ${base64url(receipt.bytes)}\n\n`);
  await run.sink.write(Buffer.concat([...last, comment]));
  run.sink.end();
}

interface EventChain {
  /** Sends the head and the first chunk, once. */
  readonly begin: () => Promise<void>;
  readonly hasBegun: () => boolean;
  readonly event: (text: string) => Promise<void>;
  /** Signs what was written so far, every 64 tokens or each second. */
  readonly checkpoint: (outputTokens: number) => Promise<void>;
  readonly headHash: () => Uint8Array;
}

const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

function openEventChain(run: Run): EventChain {
  const { sink, requestHash, context } = run;
  const { keyId, signer } = run.key.stream.identity;
  let head = streamStart(requestHash);
  let events = 0;
  let hasBegun = false;
  let tokensAtLast = 0;
  let lastAtMs = context.nowMs();
  const event = (text: string): Promise<void> => {
    const bytes = Buffer.from(text);
    head = streamNext(head, bytes);
    events++;
    return sink.write(bytes);
  };
  return {
    event,
    hasBegun: () => hasBegun,
    begin: async () => {
      if (hasBegun) return;
      hasBegun = true;
      sink.head(200, { ...answerHeaders(run), ...STREAM_HEADERS });
      await event(chunkEvent(run.head, { role: 'assistant', content: '' }, null));
    },
    checkpoint: async (outputTokens) => {
      const now = context.nowMs();
      if (outputTokens - tokensAtLast < CHECKPOINT_TOKENS && now - lastAtMs < CHECKPOINT_MS) return;
      tokensAtLast = outputTokens;
      lastAtMs = now;
      const usage = billable(run, { ...NO_USAGE, outputTokens });
      const charged = chargeOf(run, usage);
      const checkpoint = STREAM_CHECKPOINT.sign(
        { version: 1, keyId, requestHash, events, head, outputTokens: usage.outputTokens, charged },
        signer.sign,
      );
      await sink.write(Buffer.from(`: haca-checkpoint ${base64url(checkpoint.bytes)}\n\n`));
    },
    headHash: () => head,
  };
}

/** Feeds events to `take`; returns the end. Time inside the engine is measured apart, to know the node's own share. */
async function runEngine(
  run: Run,
  take: (event: EngineEvent) => Promise<void> | undefined,
): Promise<EndEvent> {
  const { model, parsed, authorization } = run;
  let waitingSince = performance.now();
  for await (const event of model.engine.chat(parsed.chat, authorization.signal)) {
    run.engineMs += performance.now() - waitingSince;
    if (event.type === 'end') return { ...event, usage: billable(run, event.usage) };
    await take(event);
    waitingSince = performance.now();
  }
  throw new EngineError('E_ENGINE', 'the engine stopped without an end');
}

/**
 * What of an engine's count is charged for: never more than was reserved for, whatever an engine says. Price and amount of
 * the receipt then agree, and both are within the voucher.
 */
function billable({ inputTokensMax, parsed }: Run, usage: Usage): Usage {
  const within = (value: number, max: number): number =>
    Number.isSafeInteger(value) && value > 0 ? Math.min(value, max) : 0;
  const inputTokens = within(usage.inputTokens, inputTokensMax);
  return {
    inputTokens,
    cachedInputTokens: within(usage.cachedInputTokens, inputTokens),
    outputTokens: within(usage.outputTokens, parsed.chat.maxOutputTokens),
  };
}

function chargeOf({ model }: Run, usage: Usage): Credit {
  return chargeFor(model.offer.value, usage);
}

interface Result
  extends Pick<ReceiptContent, 'responseHash' | 'responseForm' | 'outcome' | 'usage' | 'amount'> {
  /** Drawn by the engine where the request named none. */
  readonly seed: bigint | undefined;
}

/** Settles the lane and takes the next place in the stream, in one turn of the event loop. */
function issue(run: Run, { seed, ...result }: Result) {
  const { context, key, model, authorization, parsed } = run;
  const { height, blockHash } = context.chain.head();
  const { channelId, lane } = authorization.voucher.value;
  const completedAtMs = Math.max(context.nowMs(), run.receivedAtMs);
  const sampling =
    seed === undefined ? parsed.sampling : { seed: BigInt.asUintN(64, seed), ...parsed.sampling };
  const { name, version, proxied } = model.engine;
  const issued = authorization.settle(result.amount, (cumulative) =>
    key.stream.issue(
      run.receiptId,
      {
        refHeight: height,
        refBlockHash: blockHash,
        modelId: model.modelId,
        engine: { name, version, proxied },
        sampling,
        method: key.method,
        requestHash: run.requestHash,
        offerHash: model.offer.hash,
        asset: authorization.asset,
        channelId,
        lane,
        cumulative,
        idempotencyKey: run.idempotencyKey,
        receivedAtMs: run.receivedAtMs,
        completedAtMs,
        ...result,
      },
      authorization.voucher,
    ),
  );
  context.metrics.receipt(result.outcome, result.usage.outputTokens);
  return issued;
}

function answerHeaders(run: Run): Readonly<Record<string, string>> {
  const totalMs = performance.now() - run.startedAt;
  return {
    'x-haca-receipt-id': run.receiptId,
    'x-haca-node-id': toHex(run.key.stream.identity.nodeId),
    'x-haca-overhead-us': `${Math.max(0, Math.round((totalMs - run.engineMs) * 1000))}`,
    'openai-processing-ms': `${Math.round(totalMs)}`,
  };
}
