/** Bodies of the chat API: what is read out of them, and how answers are put together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_MAX_OUTPUT_TOKENS } from '@haca/protocol';
import type { EngineEvent } from '@haca/runtime';
import fc from 'fast-check';
import { ApiError } from '../src/api-error.ts';
import { chunkEvent, completionJson, parseChatRequest, usageEvent } from '../src/completion.ts';

const USER = [{ role: 'user', content: 'hi' }];
const parse = (body: object) => parseChatRequest(new Uint8Array(Buffer.from(JSON.stringify(body))));
const base = { model: 'm', messages: USER };

test('HTTP-22 the output limit is max_completion_tokens, else max_tokens, else the default; null is absent', () => {
  const limitOf = (more: object): number => parse({ ...base, ...more }).chat.maxOutputTokens;
  assert.equal(limitOf({}), DEFAULT_MAX_OUTPUT_TOKENS);
  assert.equal(limitOf({ max_tokens: 7 }), 7);
  assert.equal(limitOf({ max_tokens: 7, max_completion_tokens: 9 }), 9);
  assert.equal(limitOf({ max_tokens: 7, max_completion_tokens: null }), 7);
  assert.equal(limitOf({ max_tokens: null }), DEFAULT_MAX_OUTPUT_TOKENS);
});

test('HTTP-50 sampling goes into the receipt in integers, a negative seed modulo 2^64', () => {
  const { sampling, chat } = parse({ ...base, temperature: 0.7, top_p: 0.95, top_k: 40, seed: -1 });
  assert.deepEqual(sampling, {
    maxOutputTokens: 256,
    temperatureMicro: 700_000,
    topPMicro: 950_000,
    topK: 40,
    seed: 2n ** 64n - 1n,
  });
  assert.equal(chat.seed, -1);
  assert.deepEqual(parse(base).sampling, { maxOutputTokens: 256 });
});

test('HTTP-20 content is text, parts or nothing; everything the node does not know passes through', () => {
  const content = [
    { type: 'text', text: 'hi' },
    { type: 'image_url', image_url: { url: 'data:,x' } },
  ];
  const messages = [
    { role: 'assistant', content: null, tool_calls: [] },
    { role: 'user', content },
  ];
  const parsed = parse({ model: 'm', messages, tools: [{ type: 'function' }], stop: 'END', stream: true });
  assert.deepEqual(parsed.chat.messages, messages);
  assert.deepEqual(parsed.chat.raw['tools'], [{ type: 'function' }]);
  assert.deepEqual([parsed.stream, parsed.includeUsage, parsed.chat.stop], [true, false, ['END']]);
});

test('HTTP-5 any JSON and any bytes: a request or a named refusal', () => {
  const total = (body: Uint8Array): void => {
    try {
      parseChatRequest(body);
    } catch (error) {
      assert.ok(error instanceof ApiError && error.code === 'E_REQUEST', `${error}`);
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), total));
  fc.assert(fc.property(fc.json(), (text) => total(new Uint8Array(Buffer.from(text)))));
  const members = fc.record(
    {
      model: fc.oneof(fc.constant('m'), fc.jsonValue()),
      messages: fc.oneof(fc.constant(USER), fc.jsonValue()),
      max_tokens: fc.jsonValue(),
      stop: fc.jsonValue(),
      seed: fc.jsonValue(),
      stream_options: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  fc.assert(fc.property(members, (body) => total(new Uint8Array(Buffer.from(JSON.stringify(body))))));
  total(new Uint8Array(Buffer.from(`{"model":"m","messages":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)));
  total(new Uint8Array(Buffer.from('{"__proto__":{"model":"m"},"messages":[]}')));
});

const head = { id: 'chatcmpl-1', created: 5, model: 'm' };
const end = {
  type: 'end',
  finishReason: 'stop',
  usage: { inputTokens: 3, cachedInputTokens: 1, outputTokens: 2 },
} as const;

test('HTTP-50 a whole answer from deltas: text joined, tool calls merged by index, log-probabilities kept', () => {
  const call = (index: number, more: object) => ({ tool_calls: [{ index, ...more }] });
  const deltas: EngineEvent[] = [
    {
      type: 'delta',
      text: '',
      tokens: 1,
      delta: call(0, { id: 'a', type: 'function', function: { name: 'f', arguments: '' } }),
    },
    { type: 'delta', text: '', tokens: 1, delta: call(0, { function: { arguments: '{"x":' } }) },
    {
      type: 'delta',
      text: '',
      tokens: 1,
      delta: call(1, { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } }),
    },
    { type: 'delta', text: '', tokens: 1, delta: call(0, { function: { arguments: '1}' } }) },
  ];
  const [choice] = completionJson(head, deltas, end)['choices'] as [{ message: object }];
  assert.deepEqual(choice.message, {
    role: 'assistant',
    content: null,
    refusal: null,
    tool_calls: [
      { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
      { id: 'b', type: 'function', function: { name: 'g', arguments: '{}' } },
    ],
  });
  const spoken: EngineEvent[] = [
    { type: 'delta', text: 'He', tokens: 1, logprobs: { content: [{ token: 'He' }] } },
    { type: 'delta', text: 'llo', tokens: 1, logprobs: { content: [{ token: 'llo' }] } },
  ];
  const answer = completionJson(head, spoken, end);
  assert.deepEqual(answer['usage'], {
    prompt_tokens: 3,
    completion_tokens: 2,
    total_tokens: 5,
    prompt_tokens_details: { cached_tokens: 1 },
  });
  const [{ message, logprobs, finish_reason }] = answer['choices'] as [
    { message: { content: string }; logprobs: unknown; finish_reason: string },
  ];
  assert.deepEqual([message.content, finish_reason], ['Hello', 'stop']);
  assert.deepEqual(logprobs, { content: [{ token: 'He' }, { token: 'llo' }], refusal: null });
});

test('HTTP-60 an event is one line of data and a blank one, whatever the model says', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (content) => {
      const event = chunkEvent(head, { content }, null);
      assert.match(event, /^data: [^\n\r]*\n\n$/);
      const { choices } = JSON.parse(event.slice(6)) as { choices: [{ delta: { content: string } }] };
      assert.equal(choices[0].delta.content, content.isWellFormed() ? content : choices[0].delta.content);
    }),
  );
  assert.deepEqual(JSON.parse(usageEvent(head, end.usage).slice(6)).choices, []);
});
