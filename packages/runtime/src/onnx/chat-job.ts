import { type ChatRequest, EngineError } from '../engine.ts';
import type { ChatJob } from './messages.ts';

const STOPS_MAX = 16;
const STOP_LENGTH_MAX = 256;

/** Request fields this engine cannot honour, with what they may hold nevertheless. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => boolean>> = {
  tools: isEmptyList,
  functions: isEmptyList,
  logprobs: (value) => value === false,
  top_logprobs: (value) => value === 0,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
  logit_bias: (value) => typeof value === 'object' && value !== null && Object.keys(value).length === 0,
  response_format: (value) => (value as { type?: unknown }).type === 'text',
  modalities: (value) => Array.isArray(value) && value.every((item) => item === 'text'),
  audio: () => false,
};

/**
 * Checks what the embedded model can do with a request. A field it would have to ignore is refused, because an answer that
 * silently lacks what was asked and paid for is worse than none. Throws `EngineError`.
 */
export function chatJobOf(request: ChatRequest, drawSeed: () => bigint): ChatJob {
  for (const [field, harmless] of Object.entries(UNSUPPORTED)) {
    const value = request.raw[field];
    if (value === undefined || value === null || harmless(value)) continue;
    throw new EngineError('E_REQUEST', `this model does not support ${field}`, {
      param: field,
      detailCode: 'unsupported_parameter',
    });
  }
  return {
    messages: request.messages,
    maxOutputTokens: request.maxOutputTokens,
    temperature: numberIn(request.temperature ?? 0, 'temperature', 0, 10),
    topP: numberIn(request.topP ?? 1, 'top_p', 0, 1),
    topK: integerIn(request.topK ?? 0, 'top_k', 0, 0xffffffff),
    seed: seedOf(request.seed, drawSeed),
    stop: stopsOf(request.stop ?? []),
  };
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function numberIn(value: number, param: string, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw new EngineError('E_REQUEST', `${param} must be from ${min} to ${max}, got ${value}`, { param });
}

function integerIn(value: number, param: string, min: number, max: number): number {
  if (Number.isInteger(value)) return numberIn(value, param, min, max);
  throw new EngineError('E_REQUEST', `${param} must be an integer, got ${value}`, { param });
}

function seedOf(seed: bigint | number | undefined, drawSeed: () => bigint): bigint {
  if (seed === undefined) return drawSeed();
  if (typeof seed === 'bigint') return BigInt.asUintN(64, seed);
  if (Number.isSafeInteger(seed)) return BigInt.asUintN(64, BigInt(seed));
  throw new EngineError('E_REQUEST', `seed must be an integer, got ${seed}`, { param: 'seed' });
}

function stopsOf(stop: readonly string[]): readonly string[] {
  const fits = (text: unknown): boolean =>
    typeof text === 'string' && text.length >= 1 && text.length <= STOP_LENGTH_MAX && text.isWellFormed();
  if (stop.length <= STOPS_MAX && stop.every(fits)) return [...stop];
  throw new EngineError(
    'E_REQUEST',
    `stop must be at most ${STOPS_MAX} texts of 1 to ${STOP_LENGTH_MAX} characters`,
    { param: 'stop' },
  );
}
