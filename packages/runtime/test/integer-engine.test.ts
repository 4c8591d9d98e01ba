import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelManifest } from '@haca/protocol';
import {
  createIntegerModel,
  EngineError,
  openIntegerEngine,
  runModel,
  type TensorEngine,
} from '@haca/runtime';
import { mlp, softmaxOnly, tinyConv } from '@haca/testkit';

const manifestOf = (name: string): ModelManifest => ({
  version: 1,
  name,
  task: 'classification',
  weights: { kind: 'zk-verifying-key', digest: new Uint8Array(32) },
  tokenizerHash: null,
  methods: ['zk'],
  contextTokens: 0,
  license: 'Apache-2.0',
});

const examples = { convolution: tinyConv(), softmax: softmaxOnly() };
const models = Object.entries(examples).map(([name, example]) => ({
  name,
  manifest: manifestOf(name),
  ...example,
}));
const never = new AbortController().signal;
const row = (length: number, from: number): Uint8Array => Uint8Array.from({ length }, (_, i) => from * i);

async function withEngine(use: (engine: TensorEngine) => Promise<void>, maxWaiting?: number): Promise<void> {
  const engine = await openIntegerEngine({ models, ...(maxWaiting === undefined ? {} : { maxWaiting }) });
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

const refused =
  (code: string, param: string | null = null) =>
  (error: unknown) =>
    error instanceof EngineError && error.code === code && error.param === param;

test("rows in, the model's rows out, many requests at once", () =>
  withEngine(async (engine) => {
    await engine.ready();
    const convolution = createIntegerModel(examples.convolution);
    const softmax = createIntegerModel(examples.softmax);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        i % 2 === 0
          ? engine.infer({ model: 'convolution', tensors: [row(60, i)] }, never)
          : engine.infer({ model: 'softmax', tensors: [row(10, i)] }, never),
      ),
    );
    answers.forEach((answer, i) => {
      const expected =
        i % 2 === 0 ? runModel(convolution, [row(60, i)], 1) : runModel(softmax, [row(10, i)], 1);
      assert.deepEqual(answer, expected);
    });
  }));

test('requests that name no model, or rows that are not its inputs, are refused by field', () =>
  withEngine(async (engine) => {
    const infer = (model: string, tensors: readonly Uint8Array[]): Promise<unknown> =>
      engine.infer({ model, tensors }, never);
    await assert.rejects(infer('none', []), refused('E_MODEL_UNKNOWN', 'model'));
    await assert.rejects(infer('convolution', []), refused('E_REQUEST', 'tensors'));
    await assert.rejects(infer('convolution', [row(61, 0)]), refused('E_REQUEST', 'tensors.0'));
  }));

test('an aborted request rejects with the reason, the others are answered', () =>
  withEngine(async (engine) => {
    const controller = new AbortController();
    const tensors = [row(60, 3)];
    const first = engine.infer({ model: 'convolution', tensors }, never);
    const second = engine.infer({ model: 'convolution', tensors }, controller.signal);
    const third = engine.infer({ model: 'convolution', tensors }, never);
    const reason = new Error('changed my mind');
    controller.abort(reason);
    await assert.rejects(second, reason);
    assert.deepEqual(await third, await first);
    await assert.rejects(engine.infer({ model: 'convolution', tensors }, controller.signal), reason);
  }));

test('beyond the limit of waiting requests, and once closed, requests are turned away', async () => {
  await withEngine(async (engine) => {
    const tensors = [row(60, 3)];
    const running = engine.infer({ model: 'convolution', tensors }, never);
    const waiting = engine.infer({ model: 'convolution', tensors }, never);
    await assert.rejects(engine.infer({ model: 'convolution', tensors }, never), refused('E_UNAVAILABLE'));
    assert.deepEqual(await waiting, await running);
    const cut = engine.infer({ model: 'convolution', tensors }, never);
    const [outcome] = await Promise.allSettled([cut, engine.close()]);
    assert.equal(outcome.status, 'rejected');
    await assert.rejects(engine.ready(), refused('E_UNAVAILABLE'));
    await assert.rejects(engine.infer({ model: 'convolution', tensors }, never), refused('E_UNAVAILABLE'));
  }, 1);
});

test('a model whose weights contradict its key is not opened', async () => {
  const { key } = mlp([3, 2, 2]);
  const broken = { name: 'broken', manifest: manifestOf('broken'), key, weights: [] };
  await assert.rejects(openIntegerEngine({ models: [broken] }), refused('E_UNAVAILABLE'));
});
