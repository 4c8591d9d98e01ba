import { MalformedError, toHex, utf8Decode } from '@haca/primitives';
import {
  DEFAULT_MAX_OUTPUT_TOKENS,
  decodeZkRequest,
  inputTokensBound,
  type Offer,
  type Receipt,
  reserveFor,
} from '@haca/protocol';
import { asObject, bad, parseJson } from '../json.ts';

export interface RequestParams {
  readonly model: string;
  readonly stream: boolean;
  readonly maxOutputTokens: number;
  /** Prompt tokens at most. */
  readonly inputTokensMax: number;
}

/** Where requests of method `zk` go; their body is CBOR. */
export const ZK_PATH = '/zk/inferences';

const OUTPUT_TOKENS_MAX = 0xffffffff;

/** What paying and checking needs of a request body; throws `MalformedError` where it is not one. */
export function parseRequest(body: Uint8Array, path = ''): RequestParams {
  if (path === ZK_PATH) return zkParams(body);
  const doc = asObject(parseJson(utf8Decode(body, 'request'), 'request'), 'request');
  const model = doc['model'];
  if (typeof model !== 'string' || model === '') throw bad('request.model', 'the name of a model', model);
  const limit = doc['max_completion_tokens'] ?? doc['max_tokens'] ?? DEFAULT_MAX_OUTPUT_TOKENS;
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 0 || limit > OUTPUT_TOKENS_MAX) {
    throw bad('request.max_tokens', `an integer of 0 to ${OUTPUT_TOKENS_MAX}`, limit);
  }
  return {
    model,
    stream: doc['stream'] === true,
    maxOutputTokens: limit,
    inputTokensMax: inputTokensBound(body),
  };
}

/** An inference that is proved has no tokens: its price is the one for a request. */
function zkParams(body: Uint8Array): RequestParams {
  const { modelId } = decodeZkRequest(body);
  return { model: toHex(modelId), stream: false, maxOutputTokens: 0, inputTokensMax: 0 };
}

/** The output tokens a request reserves for, or null where the body is no JSON request. */
export function outputLimitOf(body: Uint8Array): number | null {
  try {
    return parseRequest(body).maxOutputTokens;
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

/** The most a request may cost under an offer; null where its body says nothing of that. */
export function reserveOf(offer: Offer, method: Receipt['method'], body: Uint8Array): bigint | null {
  if (method === 'zk') return reserveFor(offer, 0, 0);
  const limit = outputLimitOf(body);
  return limit === null ? null : reserveFor(offer, inputTokensBound(body), limit);
}

/** The raw bytes of a fetch body. They are sent as they are: nothing is parsed and written again. */
export async function bodyBytes(body: unknown): Promise<Uint8Array> {
  if (body === null || body === undefined) return new Uint8Array(0);
  if (typeof body === 'string') return new TextEncoder().encode(body);
  return new Uint8Array(await new Response(body as Blob).arrayBuffer());
}
