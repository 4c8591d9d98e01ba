import { MalformedError, utf8Decode } from '@haca/primitives';
import { DEFAULT_MAX_OUTPUT_TOKENS } from '@haca/protocol';
import { asObject, bad, parseJson } from './json.ts';

export interface RequestParams {
  readonly model: string;
  readonly stream: boolean;
  readonly maxOutputTokens: number;
}

const OUTPUT_TOKENS_MAX = 0xffffffff;

/** What paying and checking needs of a request body; throws `MalformedError` where it is not one. */
export function parseRequest(body: Uint8Array): RequestParams {
  const doc = asObject(parseJson(utf8Decode(body, 'request'), 'request'), 'request');
  const model = doc['model'];
  if (typeof model !== 'string' || model === '') throw bad('request.model', 'the name of a model', model);
  const limit = doc['max_completion_tokens'] ?? doc['max_tokens'] ?? DEFAULT_MAX_OUTPUT_TOKENS;
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 0 || limit > OUTPUT_TOKENS_MAX) {
    throw bad('request.max_tokens', `an integer of 0 to ${OUTPUT_TOKENS_MAX}`, limit);
  }
  return { model, stream: doc['stream'] === true, maxOutputTokens: limit };
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

/** The raw bytes of a fetch body. They are sent as they are: nothing is parsed and written again. */
export async function bodyBytes(body: unknown): Promise<Uint8Array> {
  if (body === null || body === undefined) return new Uint8Array(0);
  if (typeof body === 'string') return new TextEncoder().encode(body);
  return new Uint8Array(await new Response(body as Blob).arrayBuffer());
}
