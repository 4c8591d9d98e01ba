import { field, nullable, struct, type TypeOf, uint } from '@haca/primitives';
import { chainIdCodec, digest32, heightCodec, version } from './common.ts';
import type { Usage } from './receipt.ts';
import { signedKind } from './signed-object.ts';
import { ASSET_ID_MAX, type Credit, credit, creditCodec } from './units.ts';

/** A price list for one model at one node, signed by the operator's account key. Prices in ncr per 10^6 tokens. */
export const offerCodec = struct({
  version: field(0, version),
  chainId: field(1, chainIdCodec),
  nodeId: field(2, digest32),
  modelId: field(3, digest32),
  asset: field(4, uint(ASSET_ID_MAX)),
  inputPrice: field(5, creditCodec),
  cachedInputPrice: field(6, creditCodec),
  outputPrice: field(7, creditCodec),
  /** Per request, whatever its size. */
  requestPrice: field(8, creditCodec),
  minCharge: field(9, creditCodec),
  validFrom: field(10, heightCodec),
  validUntil: field(11, heightCodec),
  tokenizerHash: field(12, nullable(digest32)),
});
export type Offer = TypeOf<typeof offerCodec>;

export const OFFER = signedKind('offer', offerCodec, 512);

const TOKENS_PER_PRICE = 1_000_000n;
const U64_MAX = (1n << 64n) - 1n;

/**
 * `max(minCharge, requestPrice + ceil((in*pIn + cached*pCached + out*pOut) / 10^6))`: one rounding, up, per request.
 * `inputTokens` counts all prompt tokens; `cachedInputTokens` of them are charged at the cached price. Saturates at 2^64-1,
 * which no allocation can cover.
 */
export function chargeFor(offer: Offer, usage: Usage): Credit {
  const cached = usage.cachedInputTokens > usage.inputTokens ? usage.inputTokens : usage.cachedInputTokens;
  const tokens =
    BigInt(usage.inputTokens - cached) * offer.inputPrice +
    BigInt(cached) * offer.cachedInputPrice +
    BigInt(usage.outputTokens) * offer.outputPrice;
  const charge = offer.requestPrice + (tokens + TOKENS_PER_PRICE - 1n) / TOKENS_PER_PRICE;
  const atLeast = charge > offer.minCharge ? charge : offer.minCharge;
  return credit(atLeast > U64_MAX ? U64_MAX : atLeast);
}

/** Output tokens reserved for where a request names no maximum. */
export const DEFAULT_MAX_OUTPUT_TOKENS = 256;

/** The most a request can cost: every prompt token uncached, every output token used. Client and node compute the same. */
export function reserveFor(offer: Offer, inputTokensBound: number, maxOutputTokens: number): Credit {
  return chargeFor(offer, {
    inputTokens: inputTokensBound,
    cachedInputTokens: 0,
    outputTokens: maxOutputTokens,
  });
}

/**
 * An upper bound on the prompt tokens of a request body that needs no tokenizer: a byte-level tokenizer makes at most one
 * token of a byte, and templates add a fixed amount per message, which is shorter than the JSON around it.
 */
export function inputTokensBound(requestBody: Uint8Array): number {
  return requestBody.length;
}
