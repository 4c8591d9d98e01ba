import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import type { ModelManifest } from '@haca/protocol';
import {
  type ChatMessage,
  type ChatRequest,
  type Engine,
  EngineError,
  type EngineEvent,
} from '@haca/runtime';

export const MODEL_DIR = join(resolve(import.meta.dirname, '../../..'), 'models', 'tiny-chat');

/** An answer as a client would put it together. */
export interface Answer {
  readonly text: string;
  readonly tokens: number;
  readonly events: readonly EngineEvent[];
  readonly end: Extract<EngineEvent, { type: 'end' }>;
}

export function chatRequest(
  messages: string | readonly ChatMessage[],
  overrides: Partial<ChatRequest> = {},
): ChatRequest {
  const list = typeof messages === 'string' ? [{ role: 'user', content: messages }] : messages;
  return { model: 'haca-tiny-chat', messages: list, maxOutputTokens: 64, raw: {}, ...overrides };
}

export async function answerOf(
  engine: Engine,
  request: ChatRequest,
  signal: AbortSignal = new AbortController().signal,
): Promise<Answer> {
  const events: EngineEvent[] = [];
  for await (const event of engine.chat(request, signal)) events.push(event);
  const end = events.at(-1);
  assert.ok(end?.type === 'end', 'the last event is the end');
  const deltas = events.filter((event) => event.type === 'delta');
  assert.equal(deltas.length, events.length - 1, 'there is one end');
  return {
    text: deltas.map(({ text }) => text).join(''),
    tokens: deltas.reduce((sum, { tokens }) => sum + tokens, 0),
    events,
    end,
  };
}

export async function failureOf(engine: Engine, request: ChatRequest): Promise<EngineError> {
  try {
    await answerOf(engine, request);
  } catch (error) {
    assert.ok(error instanceof EngineError, `an EngineError, got ${String(error)}`);
    return error;
  }
  throw new assert.AssertionError({ message: 'the engine answered where it had to refuse' });
}

export const TEST_MANIFEST: ModelManifest = {
  version: 1,
  name: 'test-model',
  task: 'chat',
  weights: { kind: 'sha256', digest: new Uint8Array(32).fill(1) },
  tokenizerHash: null,
  methods: ['signed'],
  contextTokens: 4096,
  license: 'Apache-2.0',
};
