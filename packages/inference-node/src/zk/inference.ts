/**
 * One inference that will be proved, from voucher to receipt. What can't be proved is never signed: every error comes before a
 * receipt, and costs nothing.
 */
import { hash } from 'node:crypto';
import { base64url } from '@haca/platform';
import { bytesEqual, MalformedError, toHex, utf8Encode } from '@haca/primitives';
import {
  chargeFor,
  decodeZkRequest,
  encodeZkResponse,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  type Usage,
  type Voucher,
  type ZkRequest,
} from '@haca/protocol';
import type { AnswerSink } from '../answer-sink.ts';
import { ApiError } from '../api-error.ts';
import {
  alreadyAnswered,
  type InferenceContext,
  type InferenceRequest,
  type PricedModel,
  type ServingKey,
  voucherOf,
} from '../inference.ts';
import type { Authorization } from '../payment-book.ts';
import { randomHex } from '../random-hex.ts';
import type { ProvableModel } from './provable-model.ts';
import { WorkerJobError } from './worker-client.ts';

export interface ZkInferenceContext
  extends Pick<InferenceContext, 'chain' | 'book' | 'replays' | 'metrics' | 'nowMs'> {
  /** The model and its keys; undefined where it is not served here. */
  readonly served: (modelId: Uint8Array) => ServedProvable | undefined;
  readonly modelNames: () => readonly string[];
}

export interface ServedProvable {
  readonly model: ProvableModel;
  readonly advertisedKey: () => ServingKey;
  readonly keyFor: (voucher: SignedObject<Voucher>) => Promise<ServingKey>;
}

const NO_USAGE: Usage = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 };
const ENGINE = { name: 'haca-integer-graph', version: '1', proxied: false } as const;
export const ZK_CONTENT_TYPE = 'application/cbor';

export async function serveZkInference(
  context: ZkInferenceContext,
  request: InferenceRequest,
  sink: AnswerSink,
): Promise<void> {
  const parsed = parseRequest(request.body);
  const served = context.served(parsed.modelId);
  if (served === undefined) {
    const names = context.modelNames().join(', ');
    throw new ApiError('E_MODEL_UNKNOWN', `Proved here: ${names === '' ? 'nothing' : names}.`, {
      param: 'model',
    });
  }
  const requestHash = requestHashOf(request.body);
  if (request.voucherHeader === undefined) throw voucherRequired(served, requestHash);
  const voucher = voucherOf(request.voucherHeader);
  if (!bytesEqual(voucher.value.requestHash, requestHash)) {
    throw new ApiError('E_REQUEST_HASH', 'Hash the raw body bytes exactly as sent.');
  }
  const replayKey = hash('sha256', voucher.bytes, 'base64');
  if (await context.replays.replay(replayKey, sink)) return;
  const key = await served.keyFor(voucher);
  const priced = pricedModel(key, served.model);
  const authorization = await authorize(context, key, priced, voucher, requestHash);
  const recorded = context.replays.record(replayKey, sink);
  let isKept = false;
  try {
    await answer(
      { context, key, priced, authorization, request, requestHash, sink: recorded },
      served,
      parsed,
    );
    isKept = true;
  } finally {
    authorization.release();
    recorded.finish(isKept);
    key.onReceipt();
  }
}

function parseRequest(body: Uint8Array): ZkRequest {
  try {
    return decodeZkRequest(body);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw new ApiError('E_REQUEST', `The body is no canonical zk request: ${error.message}`);
  }
}

function pricedModel({ models }: ServingKey, { name }: ProvableModel): PricedModel {
  return models.get(name) as PricedModel;
}

/** An inference has one price, whatever its size. */
function priceOf({ offer }: PricedModel) {
  return chargeFor(offer.value, NO_USAGE);
}

function voucherRequired(served: ServedProvable, requestHash: Uint8Array): ApiError {
  const key = served.advertisedKey();
  const priced = pricedModel(key, served.model);
  const reserve = priceOf(priced);
  return new ApiError('E_VOUCHER_REQUIRED', `This request reserves ${reserve} base units.`, {
    details: {
      haca: {
        nodeId: toHex(key.stream.identity.nodeId),
        keyId: toHex(key.stream.identity.keyId),
        asset: priced.offer.value.asset,
        reserve: `${reserve}`,
        requestHash: toHex(requestHash),
        offer: base64url(priced.offer.bytes),
      },
    },
  });
}

async function authorize(
  { book }: ZkInferenceContext,
  { stream }: ServingKey,
  priced: PricedModel,
  voucher: SignedObject<Voucher>,
  requestHash: Uint8Array,
): Promise<Authorization> {
  const { keyId } = stream.identity;
  const { asset } = priced.offer.value;
  try {
    return await book.authorize({ voucher, keyId, requestHash, reserve: priceOf(priced), asset });
  } catch (error) {
    const isRepeated = error instanceof ApiError && error.code === 'E_IDEMPOTENCY';
    const answered = isRepeated ? await stream.answeredBy(voucher) : undefined;
    throw answered === undefined ? error : alreadyAnswered(answered.id);
  }
}

interface Run {
  readonly context: ZkInferenceContext;
  readonly key: ServingKey;
  readonly priced: PricedModel;
  readonly authorization: Authorization;
  readonly request: InferenceRequest;
  readonly requestHash: Uint8Array;
  readonly sink: AnswerSink;
}

async function answer(run: Run, { model }: ServedProvable, parsed: ZkRequest): Promise<void> {
  const { context, sink, request, authorization, key } = run;
  const receivedAtMs = context.nowMs();
  const engineStartedAt = performance.now();
  const tensors = await runModel(model, parsed);
  const engineMs = performance.now() - engineStartedAt;
  if (authorization.signal.aborted) {
    throw new ApiError(
      'E_UNAVAILABLE',
      'The node is closing, or the voucher could no longer be redeemed in time.',
    );
  }
  const response = encodeZkResponse({ tensors });
  const receiptId = `rcpt_${randomHex(16)}`;
  const { receipt, durable } = issue(run, model, receiptId, receivedAtMs, response);
  await durable;
  const totalMs = performance.now() - request.startedAt;
  sink.head(200, {
    'content-type': ZK_CONTENT_TYPE,
    'content-length': `${response.length}`,
    'x-haca-receipt-id': receiptId,
    'x-haca-receipt': base64url(receipt.bytes),
    'x-haca-node-id': toHex(key.stream.identity.nodeId),
    'x-haca-overhead-us': `${Math.max(0, Math.round((totalMs - engineMs) * 1000))}`,
    'openai-processing-ms': `${Math.round(totalMs)}`,
  });
  await sink.write(response);
  sink.end();
}

async function runModel(model: ProvableModel, { tensors }: ZkRequest): Promise<readonly Uint8Array[]> {
  if (tensors.length !== model.inputs.length) {
    throw new ApiError(
      'E_REQUEST',
      `${model.name} has ${model.inputs.length} inputs, not ${tensors.length}.`,
    );
  }
  try {
    return await model.run(tensors);
  } catch (error) {
    if (error instanceof MalformedError)
      throw new ApiError('E_REQUEST', error.message, { param: error.path });
    if (error instanceof WorkerJobError) throw new ApiError('E_ENGINE', '');
    throw error;
  }
}

/** Settles the lane and takes the next place in the stream, in one turn of the event loop. */
function issue(
  run: Run,
  model: ProvableModel,
  receiptId: string,
  receivedAtMs: number,
  response: Uint8Array,
) {
  const { context, key, priced, authorization, request, requestHash } = run;
  const { height, blockHash } = context.chain.head();
  const { channelId, lane } = authorization.voucher.value;
  const amount = priceOf(priced);
  const issued = authorization.settle(amount, (cumulative) =>
    key.stream.issue(
      receiptId,
      {
        refHeight: height,
        refBlockHash: blockHash,
        modelId: model.modelId,
        engine: ENGINE,
        sampling: { maxOutputTokens: 0 },
        method: 'zk',
        requestHash,
        responseHash: responseHashOf(response),
        responseForm: 'body',
        outcome: 'completed',
        usage: NO_USAGE,
        offerHash: priced.offer.hash,
        asset: authorization.asset,
        amount,
        channelId,
        lane,
        cumulative,
        idempotencyKey: request.idempotencyKey === undefined ? null : utf8Encode(request.idempotencyKey),
        receivedAtMs,
        completedAtMs: Math.max(context.nowMs(), receivedAtMs),
      },
      authorization.voucher,
      { request: request.body, response },
    ),
  );
  context.metrics.receipt('completed', 0);
  return issued;
}
