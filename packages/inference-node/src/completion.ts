/** The shapes of the OpenAI chat API, as official clients expect them. */

import { DEFAULT_MAX_OUTPUT_TOKENS, type Sampling, type Usage } from '@haca/protocol';
import type { ChatMessage, ChatRequest, EndEvent, EngineEvent } from '@haca/runtime';
import { ApiError } from './api-error.ts';

type Json = Readonly<Record<string, unknown>>;

export interface ParsedRequest {
  readonly chat: ChatRequest;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly sampling: Sampling;
}

/** Checks what this node relies on; everything else in the body is the engine's business. Throws `ApiError`. */
export function parseChatRequest(body: Uint8Array): ParsedRequest {
  const raw = parseJsonObject(body);
  const model = raw['model'];
  if (typeof model !== 'string' || model === '') throw bad('model', 'a model name');
  const messages = raw['messages'];
  if (!Array.isArray(messages) || messages.length === 0)
    throw bad('messages', 'a list of at least one message');
  messages.forEach(checkMessage);
  const n = raw['n'];
  if (n !== undefined && n !== null && n !== 1) throw bad('n', '1: each answer has its own receipt');
  const maxOutputTokens =
    integer(raw, 'max_completion_tokens', 1, 0xffff_ffff) ??
    integer(raw, 'max_tokens', 1, 0xffff_ffff) ??
    DEFAULT_MAX_OUTPUT_TOKENS;
  const temperature = fraction(raw, 'temperature', 0, 2);
  const topP = fraction(raw, 'top_p', 0, 1);
  const topK = integer(raw, 'top_k', 0, 0xffff_ffff);
  const seed = integer(raw, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const stream = flag(raw, 'stream');
  const streamOptions = raw['stream_options'];
  return {
    stream,
    includeUsage: isObject(streamOptions) && streamOptions['include_usage'] === true,
    chat: {
      model,
      messages: messages as readonly ChatMessage[],
      maxOutputTokens,
      ...(temperature === undefined ? {} : { temperature }),
      ...(topP === undefined ? {} : { topP }),
      ...(topK === undefined ? {} : { topK }),
      ...(seed === undefined ? {} : { seed }),
      ...stopOf(raw),
      raw,
    },
    sampling: {
      maxOutputTokens,
      ...(temperature === undefined ? {} : { temperatureMicro: Math.round(temperature * 1e6) }),
      ...(topP === undefined ? {} : { topPMicro: Math.round(topP * 1e6) }),
      ...(topK === undefined ? {} : { topK }),
      ...(seed === undefined ? {} : { seed: BigInt.asUintN(64, BigInt(seed)) }),
    },
  };
}

function parseJsonObject(body: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    throw new ApiError('E_REQUEST', 'The body must be a JSON object in UTF-8.');
  }
  if (!isObject(value)) throw new ApiError('E_REQUEST', 'The body must be a JSON object.');
  return value;
}

function checkMessage(message: unknown, i: number): void {
  if (!isObject(message) || typeof message['role'] !== 'string') throw bad(`messages[${i}].role`, 'a role');
  const { content } = message as { content?: unknown };
  if (typeof content === 'string' || content === null || content === undefined) return;
  if (Array.isArray(content) && content.every((part) => isObject(part) && typeof part['type'] === 'string'))
    return;
  throw bad(`messages[${i}].content`, 'text or a list of parts');
}

function stopOf(raw: Json): { readonly stop?: readonly string[] } {
  const stop = raw['stop'];
  if (stop === undefined || stop === null) return {};
  const list = typeof stop === 'string' ? [stop] : stop;
  if (
    !Array.isArray(list) ||
    list.length > 4 ||
    !list.every((text) => typeof text === 'string' && text !== '')
  ) {
    throw bad('stop', 'up to four texts');
  }
  return { stop: list as readonly string[] };
}

function integer(raw: Json, name: string, min: number, max: number): number | undefined {
  const value = raw[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw bad(name, `an integer of ${min} to ${max}`);
  }
  return value;
}

function fraction(raw: Json, name: string, min: number, max: number): number | undefined {
  const value = raw[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !(value >= min && value <= max))
    throw bad(name, `a number of ${min} to ${max}`);
  return value;
}

function flag(raw: Json, name: string): boolean {
  const value = raw[name];
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw bad(name, 'true or false');
  return value;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(param: string, expected: string): ApiError {
  return new ApiError('E_REQUEST', `${param} must be ${expected}.`, { param });
}

/** Everything an answer says about itself, the same in all its chunks. */
export interface CompletionHead {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

export function usageJson({ inputTokens, cachedInputTokens, outputTokens }: Usage): Json {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedInputTokens },
  };
}

/** A whole answer from its deltas. */
export function completionJson(head: CompletionHead, deltas: readonly EngineEvent[], end: EndEvent): Json {
  return {
    id: head.id,
    object: 'chat.completion',
    created: head.created,
    model: head.model,
    choices: [
      {
        index: 0,
        message: messageOf(deltas),
        logprobs: logprobsOf(deltas),
        finish_reason: end.finishReason,
      },
    ],
    usage: usageJson(end.usage),
    system_fingerprint: end.systemFingerprint ?? null,
  };
}

function messageOf(events: readonly EngineEvent[]): Json {
  let content = '';
  let other: Record<string, unknown> = {};
  for (const event of events) {
    if (event.type !== 'delta') continue;
    content += event.text;
    if (event.delta !== undefined) other = mergeDelta(other, event.delta);
  }
  const { content: _, role: __, ...rest } = other;
  const hasToolCalls = Array.isArray(rest['tool_calls']);
  return {
    role: 'assistant',
    content: content === '' && hasToolCalls ? null : content,
    refusal: null,
    ...rest,
  };
}

/** Deltas of one message add up: texts are joined, calls are merged by their index. */
function mergeDelta(into: Record<string, unknown>, delta: Json): Record<string, unknown> {
  const merged = { ...into };
  for (const [name, value] of Object.entries(delta)) {
    const before = merged[name];
    if (typeof before === 'string' && typeof value === 'string' && name !== 'role')
      merged[name] = before + value;
    else if (Array.isArray(value) && name === 'tool_calls')
      merged[name] = mergeCalls(before, value as readonly Json[]);
    else if (isObject(before) && isObject(value)) merged[name] = mergeDelta({ ...before }, value);
    else if (value !== null && value !== undefined) merged[name] = value;
  }
  return merged;
}

function mergeCalls(before: unknown, calls: readonly Json[]): readonly unknown[] {
  const merged: Json[] = Array.isArray(before) ? [...(before as readonly Json[])] : [];
  for (const call of calls) {
    const { index, ...rest } = call;
    const at =
      typeof index === 'number' && Number.isSafeInteger(index) && index >= 0 && index < 128
        ? index
        : merged.length;
    const known = merged[at];
    merged[at] =
      known === undefined
        ? rest
        : mergeDelta({ ...known, type: undefined }, { ...rest, type: known['type'] });
  }
  return merged;
}

function logprobsOf(events: readonly EngineEvent[]): unknown {
  const content = events.flatMap((event) => {
    const logprobs =
      event.type === 'delta' && isObject(event.logprobs) ? event.logprobs['content'] : undefined;
    return Array.isArray(logprobs) ? logprobs : [];
  });
  return content.length === 0 ? null : { content, refusal: null };
}

/** One server-sent event of a stream, with its blank line. */
export function chunkEvent(
  head: CompletionHead,
  delta: Json,
  finishReason: string | null,
  logprobs?: unknown,
): string {
  const choice = { index: 0, delta, logprobs: logprobs ?? null, finish_reason: finishReason };
  return `data: ${JSON.stringify({ id: head.id, object: 'chat.completion.chunk', created: head.created, model: head.model, choices: [choice] })}\n\n`;
}

export function usageEvent(head: CompletionHead, usage: Usage): string {
  return `data: ${JSON.stringify({ id: head.id, object: 'chat.completion.chunk', created: head.created, model: head.model, choices: [], usage: usageJson(usage) })}\n\n`;
}

export const DONE_EVENT = 'data: [DONE]\n\n';
