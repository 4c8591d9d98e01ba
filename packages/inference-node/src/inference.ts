/**
 * One paid request from voucher to receipt. Order is everything: checks in memory, reservation, engine, receipt on disk, and
 * only then the last bytes.
 */
import { randomBytes } from 'node:crypto';
import { base64url, fromBase64url } from '@haca/platform';
import { MalformedError, toHex, utf8Encode } from '@haca/primitives';
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
} from '@haca/protocol';
import { type EndEvent, type Engine, EngineError, type EngineEvent } from '@haca/runtime';
import { ApiError, errorBody } from './api-error.ts';
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
import type { ReplayCache } from './replay-cache.ts';

export interface ServedModel {
  readonly name: string;
  readonly modelId: Uint8Array;
  readonly manifest: ModelManifest;
  readonly engine: Engine;
  readonly offer: SignedObject<Offer>;
}

export interface InferenceContext {
  readonly chain: NodeChainView;
  readonly nodeId: Uint8Array;
  readonly method: 'tee' | 'signed';
  readonly book: PaymentBook;
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly replays: ReplayCache;
  readonly metrics: Metrics;
  readonly nowMs: () => number;
  /** The stream that signs now; throws `ApiError` while the node can't keep a promise. */
  readonly activeStream: () => KeyStream;
  readonly onReceipt: () => void;
}

export interface InferenceRequest {
  readonly body: Uint8Array;
  readonly voucherHeader: string | undefined;
  readonly idempotencyKey: string | undefined;
  readonly startedAt: number;
}

/** Where an answer goes. `write` resolves when more may be written; it never rejects: a gone client aborts `signal`. */
export interface AnswerSink {
  readonly head: (status: number, headers: Readonly<Record<string, string>>) => void;
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly end: () => void;
  readonly signal: AbortSignal;
}

const CHECKPOINT_TOKENS = 64;
const CHECKPOINT_MS = 1_000;

export async function serveChat(
  context: InferenceContext,
  request: InferenceRequest,
  sink: AnswerSink,
): Promise<void> {
  const stream = context.activeStream();
  const parsed = parseChatRequest(request.body);
  const model = context.models.get(parsed.chat.model);
  if (model === undefined) {
    throw new ApiError('E_MODEL_UNKNOWN', `Served here: ${[...context.models.keys()].join(', ')}.`, {
      param: 'model',
    });
  }
  const requestHash = requestHashOf(request.body);
  const reserve = reserveFor(model.offer.value, inputTokensBound(request.body), parsed.chat.maxOutputTokens);
  const voucher = voucherOf(request, stream, model, reserve, requestHash);
  const { channelId, lane, cumulative } = voucher.value;
  const replayKey = `${toHex(channelId)}/${toHex(voucher.value.keyId)}/${lane}/${cumulative}/${toHex(requestHash)}`;
  if (await context.replays.replay(replayKey, sink)) return;

  const authorization = await context.book.authorize({
    voucher,
    keyId: stream.identity.keyId,
    requestHash,
    reserve,
    asset: model.offer.value.asset,
  });
  const recorded = context.replays.record(replayKey, sink);
  const run: Run = {
    context,
    stream,
    model,
    parsed,
    requestHash,
    authorization,
    sink: recorded,
    receiptId: `rcpt_${randomBytes(16).toString('hex')}`,
    head: {
      id: `chatcmpl-${randomBytes(12).toString('hex')}`,
      created: Math.floor(context.nowMs() / 1000),
      model: model.name,
    },
    receivedAtMs: context.nowMs(),
    startedAt: request.startedAt,
    engineMs: 0,
    idempotencyKey: request.idempotencyKey === undefined ? null : utf8Encode(request.idempotencyKey),
  };
  try {
    await (parsed.stream ? answerStream(run) : answerWhole(run));
  } finally {
    recorded.finish();
    context.onReceipt();
  }
}

interface Run {
  readonly context: InferenceContext;
  readonly stream: KeyStream;
  readonly model: ServedModel;
  readonly parsed: ParsedRequest;
  readonly requestHash: Uint8Array;
  readonly authorization: Authorization;
  readonly sink: AnswerSink;
  readonly receiptId: string;
  readonly head: CompletionHead;
  readonly receivedAtMs: number;
  readonly startedAt: number;
  engineMs: number;
  readonly idempotencyKey: Uint8Array | null;
}

function voucherOf(
  { voucherHeader }: InferenceRequest,
  stream: KeyStream,
  model: ServedModel,
  reserve: Credit,
  requestHash: Uint8Array,
) {
  if (voucherHeader === undefined) {
    throw new ApiError('E_VOUCHER_REQUIRED', `This request reserves ${reserve} base units.`, {
      details: {
        haca: {
          nodeId: toHex(stream.identity.nodeId),
          keyId: toHex(stream.identity.keyId),
          asset: model.offer.value.asset,
          reserve: `${reserve}`,
          requestHash: toHex(requestHash),
          offer: base64url(model.offer.bytes),
        },
      },
    });
  }
  try {
    return parseVoucher(fromBase64url(voucherHeader));
  } catch (error) {
    if (error instanceof MalformedError) throw new ApiError('E_VOUCHER', error.message);
    throw error;
  }
}

async function answerWhole(run: Run): Promise<void> {
  const events: EngineEvent[] = [];
  let end: EndEvent;
  try {
    end = await runEngine(run, (event) => {
      events.push(event);
      return undefined;
    });
  } catch (error) {
    await refuse(run, error);
    return;
  }
  const body = Buffer.from(JSON.stringify(completionJson(run.head, events, end)));
  const outcome = end.finishReason === 'abort' ? 'aborted' : 'completed';
  const usage = outcome === 'aborted' ? { ...end.usage, outputTokens: 0 } : end.usage;
  await finishWhole(run, 200, body, outcome, usage);
}

/** A whole answer leaves after its receipt is on disk. */
async function finishWhole(
  run: Run,
  status: number,
  body: Uint8Array,
  outcome: ReceiptContent['outcome'],
  usage: Usage | null,
): Promise<void> {
  const amount = usage === null ? credit(0n) : chargeOf(run, usage);
  const { receipt, durable } = issue(run, {
    responseHash: responseHashOf(body),
    responseForm: 'body',
    outcome,
    usage: usage ?? NO_USAGE,
    amount,
  });
  await durable;
  run.sink.head(status, {
    ...answerHeaders(run),
    'content-type': 'application/json',
    'content-length': `${body.length}`,
    'x-haca-receipt': base64url(receipt.bytes),
  });
  await run.sink.write(body);
  run.sink.end();
}

/** Also the prompt of an answer that did not reach its end, where the engine reports it. */
const NO_USAGE: Usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 };

/** The engine failed before the first byte: nothing is charged, and the stream of receipts says so too. */
async function refuse(run: Run, error: unknown): Promise<void> {
  const apiError = apiErrorOf(error);
  const body = Buffer.from(JSON.stringify(errorBody(apiError)));
  await finishWhole(run, apiError.status, body, 'failed', null);
}

export function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof EngineError) {
    return new ApiError(error.code, error.message, { status: error.status, param: error.param });
  }
  return new ApiError('E_ENGINE', '');
}

async function answerStream(run: Run): Promise<void> {
  const { sink, head, parsed } = run;
  const chain = openEventChain(run);
  let started = false;
  let deliveredTokens = 0;
  const begin = (): void => {
    if (started) return;
    started = true;
    sink.head(200, {
      ...answerHeaders(run),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
    });
  };
  let end: EndEvent;
  try {
    end = await runEngine(run, async (event) => {
      if (event.type !== 'delta') return;
      if (!started) {
        begin();
        await chain.event(chunkEvent(head, { role: 'assistant', content: '' }, null));
      }
      const delta = event.delta ?? { content: event.text };
      await chain.event(chunkEvent(head, delta, null, event.logprobs));
      deliveredTokens += event.tokens;
      await chain.checkpoint(deliveredTokens);
    });
  } catch (error) {
    if (!started) {
      await refuse(run, error);
      return;
    }
    const failure = `data: ${JSON.stringify(errorBody(apiErrorOf(error)))}\n\n`;
    const usage = { ...NO_USAGE, outputTokens: deliveredTokens };
    await finishStream(run, chain, [failure], 'failed', usage);
    return;
  }
  begin();
  if (sink.signal.aborted || end.finishReason === 'abort') {
    await finishStream(run, chain, [], 'aborted', { ...end.usage, outputTokens: deliveredTokens });
    return;
  }
  const last = [
    chunkEvent(head, {}, end.finishReason),
    ...(parsed.includeUsage ? [usageEvent(head, end.usage)] : []),
    DONE_EVENT,
  ];
  await finishStream(run, chain, last, 'completed', end.usage);
}

/** The last events wait for the receipt that covers them to be on disk. */
async function finishStream(
  run: Run,
  chain: EventChain,
  lastEvents: readonly string[],
  outcome: ReceiptContent['outcome'],
  usage: Usage,
): Promise<void> {
  const last = lastEvents.map((event) => Buffer.from(event));
  const responseHash = last.reduce(streamNext, chain.headHash());
  const { receipt, durable } = issue(run, {
    responseHash,
    responseForm: 'stream',
    outcome,
    usage,
    amount: chargeOf(run, usage),
  });
  await durable;
  await run.sink.write(
    Buffer.concat([...last, Buffer.from(`: haca-receipt ${base64url(receipt.bytes)}\n\n`)]),
  );
  run.sink.end();
}

interface EventChain {
  readonly event: (text: string) => Promise<void>;
  /** Signs what was written so far, every 64 tokens or each second. */
  readonly checkpoint: (outputTokens: number) => Promise<void>;
  readonly headHash: () => Uint8Array;
}

function openEventChain(run: Run): EventChain {
  const { sink, stream, requestHash, context } = run;
  let head = streamStart(requestHash);
  let events = 0;
  let tokensAtLast = 0;
  let lastAtMs = context.nowMs();
  return {
    event: (text) => {
      const bytes = Buffer.from(text);
      head = streamNext(head, bytes);
      events++;
      return sink.write(bytes);
    },
    checkpoint: async (outputTokens) => {
      const now = context.nowMs();
      if (outputTokens - tokensAtLast < CHECKPOINT_TOKENS && now - lastAtMs < CHECKPOINT_MS) return;
      tokensAtLast = outputTokens;
      lastAtMs = now;
      const charged = chargeOf(run, { ...NO_USAGE, outputTokens });
      const checkpoint = STREAM_CHECKPOINT.sign(
        { version: 1, keyId: stream.identity.keyId, requestHash, events, head, outputTokens, charged },
        stream.identity.signer.sign,
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
  const { model, parsed, sink } = run;
  let waitingSince = performance.now();
  for await (const event of model.engine.chat(parsed.chat, sink.signal)) {
    run.engineMs += performance.now() - waitingSince;
    if (event.type === 'end') return event;
    await take(event);
    waitingSince = performance.now();
  }
  throw new EngineError('E_ENGINE', 'the engine stopped without an end');
}

function chargeOf({ model, authorization }: Run, usage: Usage): Credit {
  const charge = chargeFor(model.offer.value, usage);
  const { reserved } = authorization.lane;
  return charge > reserved ? credit(reserved) : charge;
}

type Result = Pick<ReceiptContent, 'responseHash' | 'responseForm' | 'outcome' | 'usage' | 'amount'>;

/** Settles the lane and takes the next place in the stream, in one turn of the event loop. */
function issue(run: Run, result: Result) {
  const { context, stream, model, authorization, parsed } = run;
  const { height, blockHash } = context.chain.head();
  const { channelId, lane } = authorization.voucher.value;
  const cumulative = authorization.settle(result.amount);
  context.metrics.receipt(result.outcome, result.usage.outputTokens);
  return stream.issue(
    run.receiptId,
    {
      refHeight: height,
      refBlockHash: blockHash,
      modelId: model.modelId,
      engine: { name: model.engine.name, version: model.engine.version, proxied: model.engine.proxied },
      sampling: parsed.sampling,
      method: context.method,
      requestHash: run.requestHash,
      offerHash: model.offer.hash,
      asset: authorization.asset,
      channelId,
      lane,
      cumulative,
      idempotencyKey: run.idempotencyKey,
      receivedAtMs: run.receivedAtMs,
      completedAtMs: context.nowMs(),
      ...result,
    },
    authorization.voucher,
  );
}

function answerHeaders(run: Run): Readonly<Record<string, string>> {
  const totalMs = performance.now() - run.startedAt;
  return {
    'x-haca-receipt-id': run.receiptId,
    'x-haca-node-id': toHex(run.context.nodeId),
    'x-haca-overhead-us': `${Math.max(0, Math.round((totalMs - run.engineMs) * 1000))}`,
    'openai-processing-ms': `${Math.round(totalMs)}`,
  };
}
