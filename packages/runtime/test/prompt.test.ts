import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ChatMessage, EngineError } from '@haca/runtime';
import fc from 'fast-check';
import { renderPrompt } from '../src/onnx/prompt.ts';
import { parseTokenizer } from '../src/onnx/tokenizer.ts';
import { MODEL_DIR } from './answer.ts';

const readJson = (name: string): unknown => JSON.parse(readFileSync(join(MODEL_DIR, name), 'utf8'));
const tokenizer = parseTokenizer(readJson('tokenizer.json'));
const { prompts } = readJson('tokenizer-vectors.json') as {
  readonly prompts: readonly { readonly messages: readonly ChatMessage[]; readonly ids: readonly number[] }[];
};
const CONTEXT = 512;
const render = (messages: readonly ChatMessage[], maxOutputTokens = 64, context = CONTEXT) =>
  renderPrompt(tokenizer, messages, context, maxOutputTokens);
const user = (content: string): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });
const system = (content: string): ChatMessage => ({ role: 'system', content });

test('the published prompts give their ids', () => {
  assert.ok(prompts.length >= 4);
  for (const { messages, ids } of prompts) assert.deepEqual(render(messages), { ids, droppedMessages: 0 });
});

test('system and developer messages become one system text, neighbours of one role one turn', () => {
  assert.deepEqual(
    render([system('Be brief.'), user('a'), user(' b '), { role: 'developer', content: 'Be kind.' }]),
    render([system('Be brief.\nBe kind.'), user('a\nb')]),
  );
});

test('lists of text parts are joined', () => {
  const parts = [
    { type: 'text', text: 'What is ' },
    { type: 'text', text: 'HACA?' },
  ];
  assert.deepEqual(render([{ role: 'user', content: parts }]), render([user('What is HACA?')]));
});

test('what the template cannot express is refused', () => {
  const bad: readonly (readonly ChatMessage[])[] = [
    [assistant('hi')],
    [system('hi')],
    [user('hi'), assistant('there')],
    [{ role: 'tool', content: '{}' }, user('hi')],
    [{ role: '<|end|>', content: 'x' }, user('hi')],
    [{ role: 'user', content: null }],
    [{ role: 'user' }],
    [{ role: 'user', content: [{ type: 'image_url' }] }],
    [{ role: 'user', content: [{ type: 'text' }] }],
  ];
  for (const messages of bad) {
    assert.throws(
      () => render(messages),
      (error) => error instanceof EngineError && error.code === 'E_REQUEST' && error.param === 'messages',
      JSON.stringify(messages),
    );
  }
});

test('the oldest turns are left out, system text and last question stay, and there is room to answer', () => {
  const history = Array.from({ length: 120 }, (_, i) =>
    i % 2 === 0 ? user(`question ${i}`) : assistant(`answer ${i}`),
  );
  const { ids, droppedMessages } = render([system('Be brief.'), ...history, user('last')], 64);
  assert.ok(droppedMessages > 0 && droppedMessages % 2 === 0, `${droppedMessages}`);
  assert.ok(ids.length <= CONTEXT - 64);
  assert.deepEqual(
    ids,
    render([system('Be brief.'), ...history.slice(droppedMessages), user('last')], 64).ids,
  );
});

test('a great many tiny messages are little work', () => {
  const { droppedMessages } = render([
    ...Array.from({ length: 300_000 }, () => user('x')),
    assistant('y'),
    user('z'),
  ]);
  assert.equal(droppedMessages, 300_001);
});

test('any conversation is rendered within the context', () => {
  const framed = (text: string): number => tokenizer.encode(text.trim()).length + 2;
  const role = fc.constantFrom('system', 'user', 'assistant');
  const message = fc.record({ role, content: fc.string({ unit: 'grapheme', maxLength: 30 }) });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), fc.integer({ min: 1, max: 300 }), (messages, most) => {
      const texts = messages.filter((each) => each.role === 'system').map(({ content }) => content.trim());
      const fixed = texts.length === 0 ? 0 : framed(texts.join('\n'));
      fc.pre(fixed < 60);
      const { ids, droppedMessages } = render([...messages, assistant('.'), user('?')], most, 128);
      assert.ok(ids.length < 128 && droppedMessages <= messages.length + 1);
      assert.equal(ids.at(-1), tokenizer.special.get('<|assistant|>'));
      assert.equal(ids.filter((id) => id === tokenizer.special.get('<|bos|>')).length, 1);
    }),
  );
});

test('a question longer than the context is refused, however long', () => {
  for (const text of ['x1'.repeat(300), 'x'.repeat(5_000_000)]) {
    for (const messages of [[user(text)], [system(text), user('hi')]]) {
      assert.throws(
        () => render(messages),
        (error) => error instanceof EngineError && error.detailCode === 'context_length_exceeded',
      );
    }
  }
});
