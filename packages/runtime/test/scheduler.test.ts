import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EngineError } from '@haca/runtime';
import { PROMPT_CHUNK_TOKENS, startGeneration } from '../src/onnx/generation.ts';
import type { KeyValueCache, LanguageModel } from '../src/onnx/language-model.ts';
import type { ChatJob, FromWorker } from '../src/onnx/messages.ts';
import { createScheduler } from '../src/onnx/scheduler.ts';
import { parseTokenizer } from '../src/onnx/tokenizer.ts';
import { MODEL_DIR } from './answer.ts';

const tokenizer = parseTokenizer(JSON.parse(readFileSync(join(MODEL_DIR, 'tokenizer.json'), 'utf8')));
const CONTEXT = 512;
const LETTER_A = 97;
const STOP = tokenizer.special.get('<|end|>') as number;

interface Step {
  readonly ids: readonly number[];
  readonly past: number;
}

/** A network whose logits are what the test says: favourites in falling order. */
function networkOf(favourites: (step: Step) => readonly number[]): { network: LanguageModel; steps: Step[] } {
  const steps: Step[] = [];
  const tensor = { type: 'float32', data: new Float32Array(0), dims: [] };
  const cacheOf = (tokens: number): KeyValueCache => ({ tokens, keys: tensor, values: tensor });
  const network: LanguageModel = {
    runtimeVersion: 'test',
    emptyCache: cacheOf(0),
    step: async (ids, cache) => {
      const step = { ids, past: cache.tokens };
      steps.push(step);
      await new Promise((resolve) => setImmediate(resolve));
      const logits = new Float32Array(tokenizer.vocabSize);
      for (const [place, id] of favourites(step).entries()) logits[id] = 100 - place;
      return { logits, cache: cacheOf(cache.tokens + ids.length) };
    },
    release: () => Promise.resolve(),
  };
  return { network, steps };
}

const modelOf = (network: LanguageModel) => ({
  network,
  tokenizer,
  contextTokens: CONTEXT,
  stopToken: '<|end|>',
});
const job = (content: string, maxOutputTokens = 16): ChatJob => ({
  messages: [{ role: 'user', content }],
  maxOutputTokens,
  temperature: 0,
  topP: 1,
  topK: 0,
  seed: 0n,
  stop: [],
});

async function textOf(network: LanguageModel, of: ChatJob): Promise<{ text: string; tokens: number }> {
  const generation = startGeneration(modelOf(network), of);
  let text = '';
  for (;;) {
    const progress = await generation.advance();
    text += progress.text;
    if (progress.finishReason !== null) return { text, tokens: generation.usage().outputTokens };
  }
}

test('special tokens are never part of an answer, even if the network wants them', async () => {
  const unwanted = [...tokenizer.special.values()].filter((id) => id !== STOP);
  const { network } = networkOf(() => [...unwanted, LETTER_A]);
  assert.deepEqual(await textOf(network, job('hi', 5)), { text: 'aaaaa', tokens: 5 });
});

test('the stop token ends the answer and is not counted', async () => {
  const { network } = networkOf(({ past }) => [past < 10 ? LETTER_A : STOP]);
  const { text, tokens } = await textOf(network, job('hi'));
  assert.equal(text.length, tokens);
  assert.ok(tokens > 0 && tokens < 16);
});

test('prompt and answer never exceed the context', async () => {
  const { network, steps } = networkOf(() => [LETTER_A]);
  const { tokens } = await textOf(network, job('a.'.repeat(150), 100_000));
  const prompt = steps.filter(({ past }) => past < 300).reduce((sum, { ids }) => sum + ids.length, 0);
  assert.equal(prompt + tokens > 500, true);
  assert.ok(Math.max(...steps.map(({ ids, past }) => past + ids.length)) <= CONTEXT);
});

test('a long prompt is fed in pieces of one size, so that others get their turns', async () => {
  const { network, steps } = networkOf(() => [STOP]);
  await textOf(network, job('a.'.repeat(100)));
  assert.ok(steps.length >= 4);
  assert.deepEqual([...new Set(steps.slice(0, -1).map(({ ids }) => ids.length))], [PROMPT_CHUNK_TOKENS]);
});

test('a network that produces an id outside its vocabulary, or no numbers, is an error', async () => {
  const { network } = networkOf(() => []);
  const wide = {
    ...network,
    step: async () => ({
      logits: new Float32Array(2000).fill(0).fill(1, 1500),
      cache: { ...network.emptyCache, tokens: 9 },
    }),
  };
  await assert.rejects(textOf(wide, job('hi')), EngineError);
});

/** Runs jobs to their ends; returns all messages. */
async function runJobs(
  maxConcurrent: number,
  jobs: readonly ChatJob[],
  onMessage: (message: FromWorker, cancel: (id: number) => void) => void = () => {},
): Promise<{ messages: FromWorker[]; steps: Step[] }> {
  const { network, steps } = networkOf(() => [LETTER_A]);
  const messages: FromWorker[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  let open = jobs.length;
  const scheduler = createScheduler(modelOf(network), maxConcurrent, (message) => {
    messages.push(message);
    onMessage(message, scheduler.cancel);
    if ((message.type === 'end' || message.type === 'failed') && --open === 0) resolve();
  });
  for (const [id, each] of jobs.entries()) scheduler.add(id, each);
  await promise;
  return { messages, steps };
}

const idsOf = (messages: readonly FromWorker[], type: FromWorker['type']): number[] =>
  messages.filter((message) => message.type === type).map((message) => (message as { id: number }).id);

test('those that run take turns, the others wait in order', async () => {
  const { messages } = await runJobs(2, [job('x', 3), job('x', 3), job('x', 3), job('x', 1)]);
  // The first begins alone; whenever one ends, the next in line joins at the following round.
  assert.deepEqual(idsOf(messages, 'delta'), [0, 0, 1, 0, 1, 1, 2, 2, 3, 2]);
  assert.deepEqual(idsOf(messages, 'end'), [0, 1, 3, 2]);
});

test('a refused conversation fails alone', async () => {
  const { messages } = await runJobs(1, [job('x', 2), job('x'.repeat(1e6)), job('x', 2)]);
  assert.deepEqual(idsOf(messages, 'failed'), [1]);
  assert.deepEqual(idsOf(messages, 'end'), [0, 2]);
});

test('cancelling ends a running answer before its next step and a waiting one at once', async () => {
  const { messages, steps } = await runJobs(1, [job('x', 16), job('x', 16)], (message, cancel) => {
    if (message.type !== 'delta') return;
    cancel(1);
    cancel(0);
    cancel(99);
  });
  const ends = messages.filter((message) => message.type === 'end');
  assert.deepEqual(
    ends.map(({ id, finishReason, outputTokens }) => [id, finishReason, outputTokens]),
    [
      [1, 'abort', 0],
      [0, 'abort', 1],
    ],
  );
  assert.equal(steps.length, 1);
});
