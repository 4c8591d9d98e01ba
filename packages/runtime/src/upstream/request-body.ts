import { type ChatRequest, EngineError } from '../engine.ts';

/** The server streams where the client does: for an answer wanted in one piece, pieces would only cost both sides work. */
export function isStreamed({ raw }: ChatRequest): boolean {
  return raw['stream'] === true;
}

/**
 * The client's body with the fewest edits: the server's name for the model, usage with a stream, and a limit on output
 * tokens, since the payer reserved for no more. Fields that are not known here stay as they are.
 */
export function upstreamBody(request: ChatRequest, upstreamModel: string, limitField: string): string {
  const { raw, maxOutputTokens } = request;
  const body: Record<string, unknown> = { ...raw, model: upstreamModel };
  if (isStreamed(request)) {
    const options = raw['stream_options'];
    body['stream_options'] = { ...(typeof options === 'object' ? options : {}), include_usage: true };
  }
  const given = ['max_completion_tokens', 'max_tokens'].filter(
    (field) => raw[field] !== undefined && raw[field] !== null,
  );
  for (const field of given.length === 0 ? [limitField] : given) body[field] = maxOutputTokens;
  try {
    return JSON.stringify(body);
  } catch (cause) {
    throw new EngineError('E_REQUEST', 'the request body is nested too deeply', { cause });
  }
}
