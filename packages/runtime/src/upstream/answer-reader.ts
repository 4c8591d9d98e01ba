import type { Usage } from '@haca/protocol';
import { type ChatMessage, EngineError, type EngineEvent } from '../engine.ts';
import { failureMidway } from './errors.ts';

/** Turns what an OpenAI-compatible server sends into engine events. */
export interface AnswerReader {
  /** The data of one server-sent event. Throws `EngineError` for what is no chat completion chunk. */
  readonly chunk: (data: string) => void;
  /** A whole answer in one JSON body, from servers that do not stream. */
  readonly body: (text: string) => void;
  /** `[DONE]` was seen, or a whole body. */
  readonly done: () => boolean;
  /** The answer has an end: a finish reason, or `[DONE]`. */
  readonly complete: () => boolean;
  readonly end: (finishReason?: string) => EngineEvent;
}

type JsonObject = Readonly<Record<string, unknown>>;

const U32_MAX = 0xffffffff;
const BYTES_PER_TOKEN = 4;

export function createAnswerReader(
  messages: readonly ChatMessage[],
  maxOutputTokens: number,
  push: (event: EngineEvent) => void,
): AnswerReader {
  let done = false;
  let finishReason: string | undefined;
  let fingerprint: string | undefined;
  let usage: Usage | undefined;
  let countedTokens = 0;

  const readCommon = (chunk: JsonObject): JsonObject | undefined => {
    if (isObject(chunk['error']) || typeof chunk['error'] === 'string') throw failureMidway(chunk);
    if (isObject(chunk['usage'])) usage = usageOf(chunk['usage']) ?? usage;
    const print = chunk['system_fingerprint'];
    if (typeof print === 'string' && print !== '') fingerprint = print;
    const choices = chunk['choices'];
    if (choices === undefined || choices === null) return undefined;
    if (!Array.isArray(choices) || choices.length > 1) throw malformed('one choice at most', choices);
    const choice: unknown = choices[0];
    if (choice === undefined) return undefined;
    if (!isObject(choice) || (choice['index'] ?? 0) !== 0) throw malformed('a choice with index 0', choice);
    if (typeof choice['finish_reason'] === 'string') finishReason = choice['finish_reason'];
    return choice;
  };
  const emit = (delta: JsonObject, logprobs: unknown, tokens: number): void => {
    const content = delta['content'];
    const text = typeof content === 'string' ? content : '';
    countedTokens += tokens;
    if (logprobs === undefined || logprobs === null) push({ type: 'delta', text, tokens, delta });
    else push({ type: 'delta', text, tokens, delta, logprobs });
  };
  const estimate = (): Usage => ({
    inputTokens: Math.min(U32_MAX, Math.ceil(byteLength(messages) / BYTES_PER_TOKEN)),
    cachedInputTokens: 0,
    outputTokens: Math.min(countedTokens, maxOutputTokens),
  });
  return {
    chunk: (data) => {
      if (done) return;
      if (data === '[DONE]') {
        done = true;
        return;
      }
      const choice = readCommon(parseObject(data));
      if (choice === undefined) return;
      const delta = choice['delta'] ?? {};
      if (!isObject(delta)) throw malformed('a delta object', delta);
      const logprobs = choice['logprobs'];
      if (isEmpty(delta) && (logprobs === undefined || logprobs === null)) return;
      emit(delta, logprobs, tokensOf(delta, logprobs));
    },
    body: (text) => {
      const choice = readCommon(parseObject(text));
      const message = choice?.['message'];
      if (!isObject(message)) throw malformed('an answer with a message', message);
      emit(message, choice?.['logprobs'], Math.ceil(byteLength(message) / BYTES_PER_TOKEN));
      done = true;
    },
    done: () => done,
    complete: () => done || finishReason !== undefined,
    end: (reason) => ({
      type: 'end',
      finishReason: reason ?? finishReason ?? 'stop',
      usage: usage ?? estimate(),
      ...(usage === undefined ? { usageEstimated: true } : {}),
      ...(fingerprint === undefined ? {} : { systemFingerprint: fingerprint }),
    }),
  };
}

/** Log-probabilities come one per token; without them a delta counts as one token if it carries anything new. */
function tokensOf(delta: JsonObject, logprobs: unknown): number {
  const content = isObject(logprobs) ? logprobs['content'] : undefined;
  if (Array.isArray(content) && content.length > 0) return content.length;
  for (const key in delta) {
    if (key === 'role') continue;
    const value = delta[key];
    if (value === null || value === undefined || value === '' || isEmpty(value)) continue;
    return 1;
  }
  return 0;
}

/** Undefined where a count is missing or no count: then the caller estimates rather than signs nonsense. */
function usageOf(usage: JsonObject): Usage | undefined {
  const inputTokens = countOf(usage['prompt_tokens']);
  const outputTokens = countOf(usage['completion_tokens'] ?? 0);
  if (inputTokens === undefined || outputTokens === undefined) return undefined;
  const details = usage['prompt_tokens_details'];
  const cached = isObject(details) ? (countOf(details['cached_tokens']) ?? 0) : 0;
  return { inputTokens, cachedInputTokens: Math.min(cached, inputTokens), outputTokens };
}

function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= U32_MAX
    ? value
    : undefined;
}

function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed('JSON', text);
  }
  if (!isObject(value)) throw malformed('a JSON object', value);
  return value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  for (const _ in value) return false;
  return true;
}

function byteLength(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

function malformed(expected: string, got: unknown): EngineError {
  const text = typeof got === 'string' ? got : JSON.stringify(got);
  return new EngineError(
    'E_ENGINE',
    `the upstream server sent what is no chat completion: expected ${expected}, got ${String(text).slice(0, 200)}`,
  );
}
