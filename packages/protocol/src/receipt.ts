import {
  bool,
  bytesOf,
  concatBytes,
  domainHash,
  domainPrefix,
  field,
  nullable,
  oneOf,
  optionalField,
  sha256,
  struct,
  type TypeOf,
  textOf,
  u64,
  uint,
  uintMapOf,
} from '@haca/primitives';
import { chainIdCodec, digest32, heightCodec, methodCodec, version } from './common.ts';
import { signedKind } from './signed-object.ts';
import { ASSET_ID_MAX, creditCodec } from './units.ts';

/** At most this many fee assets per key, ever. */
export const KEY_ASSETS_MAX = 4;

/** Running totals per fee asset, ascending by asset; an absent asset is zero. */
export const runningTotalsCodec = uintMapOf(ASSET_ID_MAX, creditCodec, KEY_ASSETS_MAX);
export type RunningTotals = TypeOf<typeof runningTotalsCodec>;

export const usageCodec = struct({
  inputTokens: field(0, uint(0xffffffff)),
  cachedInputTokens: field(1, uint(0xffffffff)),
  outputTokens: field(2, uint(0xffffffff)),
});
export type Usage = TypeOf<typeof usageCodec>;

/** Sampling parameters as the engine used them; fractions in millionths, so that no float is ever signed. */
export const samplingCodec = struct({
  maxOutputTokens: field(0, uint(0xffffffff)),
  temperatureMicro: optionalField(1, uint(10_000_000)),
  topPMicro: optionalField(2, uint(1_000_000)),
  topK: optionalField(3, uint(0xffffffff)),
  seed: optionalField(4, u64),
});
export type Sampling = TypeOf<typeof samplingCodec>;

/**
 * One object closes the loop request, model, answer, usage, price, payment. `seq` is gapless per key from 1 and
 * `prevReceiptHash` chains the stream. `cumulative` is what the lane was charged in total after this receipt, `running`
 * what the key was owed in total. Hashes are over raw bytes: see `requestHashOf`, `responseHashOf`, `streamStart`.
 */
export const receiptCodec = struct({
  version: field(0, version),
  chainId: field(1, chainIdCodec),
  nodeId: field(2, digest32),
  keyId: field(3, digest32),
  keyEpoch: field(4, uint()),
  seq: field(5, uint()),
  prevReceiptHash: field(6, digest32),
  refHeight: field(7, heightCodec),
  refBlockHash: field(8, digest32),
  modelId: field(9, digest32),
  engine: field(
    10,
    struct({
      name: field(0, textOf(1, 64)),
      version: field(1, textOf(1, 64)),
      /** The engine is somebody else's service: the answer is that provider's claim. */
      proxied: field(2, bool),
    }),
  ),
  sampling: field(11, samplingCodec),
  method: field(12, methodCodec),
  requestHash: field(13, digest32),
  responseHash: field(14, digest32),
  responseForm: field(15, oneOf('body', 'stream')),
  outcome: field(16, oneOf('completed', 'aborted', 'failed')),
  usage: field(17, usageCodec),
  offerHash: field(18, digest32),
  asset: field(19, uint(ASSET_ID_MAX)),
  amount: field(20, creditCodec),
  channelId: field(21, digest32),
  lane: field(22, uint(63)),
  cumulative: field(23, creditCodec),
  running: field(24, runningTotalsCodec),
  idempotencyKey: field(25, nullable(bytesOf(1, 64))),
  receivedAtMs: field(26, uint()),
  completedAtMs: field(27, uint()),
});
export type Receipt = TypeOf<typeof receiptCodec>;

export const RECEIPT_MAX_BYTES = 2048;
export const RECEIPT = signedKind('receipt', receiptCodec, RECEIPT_MAX_BYTES);

/** Over the raw body bytes of the request, exactly as sent. */
export function requestHashOf(body: Uint8Array): Uint8Array {
  return domainHash('haca/request/1', body);
}

/** Over the raw body bytes of a response that is not a stream. */
export function responseHashOf(body: Uint8Array): Uint8Array {
  return domainHash('haca/response/1', body);
}

/** The start of a stream's chunk chain, bound to the request. */
export function streamStart(requestHash: Uint8Array): Uint8Array {
  return domainHash('haca/stream/1', requestHash);
}

/**
 * The chain head after one more server-sent event: `event` is its raw bytes up to and including the blank line. Comment
 * blocks (first byte `:`), which carry checkpoints and the receipt itself, are not part of the chain.
 */
export function streamNext(head: Uint8Array, event: Uint8Array): Uint8Array {
  return sha256(concatBytes(domainPrefix('haca/stream-chunk/1'), head, event));
}

/** Signed while a stream runs: all text up to `events` is attributable before the receipt exists. */
export const streamCheckpointCodec = struct({
  version: field(0, version),
  keyId: field(1, digest32),
  requestHash: field(2, digest32),
  events: field(3, uint(0xffffffff)),
  head: field(4, digest32),
  outputTokens: field(5, uint(0xffffffff)),
  /** What this request costs so far. */
  charged: field(6, creditCodec),
});
export type StreamCheckpoint = TypeOf<typeof streamCheckpointCodec>;

export const STREAM_CHECKPOINT = signedKind('stream-checkpoint', streamCheckpointCodec, 512);
