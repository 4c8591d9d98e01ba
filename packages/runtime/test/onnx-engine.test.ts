import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { toHex } from '@haca/primitives';
import { modelIdOf } from '@haca/protocol';
import { type Engine, EngineError, openOnnxChatEngine } from '@haca/runtime';
import { loadOnnxRuntime } from '../src/onnx/onnx-runtime.ts';
import { renderPrompt } from '../src/onnx/prompt.ts';
import { parseTokenizer } from '../src/onnx/tokenizer.ts';
import { answerOf, chatRequest, failureOf, MODEL_DIR } from './answer.ts';

function runtimeMissing(): string | false {
  try {
    createRequire(import.meta.url).resolve('onnxruntime-node');
    return false;
  } catch {
    return 'the optional package onnxruntime-node is not installed';
  }
}
const skip = runtimeMissing();
const readJson = async (name: string): Promise<unknown> =>
  JSON.parse(await readFile(join(MODEL_DIR, name), 'utf8'));

test('an absent runtime is an error that says what to do', async () => {
  await assert.rejects(loadOnnxRuntime('onnxruntime-that-does-not-exist'), (error) => {
    assert.ok(error instanceof EngineError);
    assert.equal(error.code, 'E_UNAVAILABLE');
    assert.match(error.message, /npm install/);
    return true;
  });
});

/** Asks until there is a place; returns what `measure` says then. */
async function untilAdmitted(engine: Engine, measure: () => number): Promise<number> {
  for (;;) {
    const answer = answerOf(engine, chatRequest('Hello!', { maxOutputTokens: 1 }));
    const measured = measure();
    try {
      await answer;
      return measured;
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('the shipped model', { skip }, () => {
  let engine: Engine;
  before(async () => {
    engine = await openOnnxChatEngine({ dir: MODEL_DIR, maxConcurrent: 8, maxWaiting: 8 });
  });
  after(() => engine.close());

  test('its manifest commits to the files', async () => {
    const [model] = engine.models;
    assert.ok(model !== undefined);
    assert.equal(model.name, 'haca-tiny-chat');
    const { weights, tokenizerHash } = model.manifest;
    assert.equal(toHex(weights.digest), hash('sha256', await readFile(join(MODEL_DIR, 'model.onnx')), 'hex'));
    assert.equal(
      toHex(tokenizerHash as Uint8Array),
      hash('sha256', await readFile(join(MODEL_DIR, 'tokenizer.json')), 'hex'),
    );
    assert.equal(modelIdOf(model.manifest).length, 32);
    assert.equal(engine.proxied, false);
    await engine.ready();
  });

  test('it answers a greeting, deterministically, with exact counts', async () => {
    const request = chatRequest('Hello!');
    const first = await answerOf(engine, request);
    assert.match(first.text, /hello/i);
    assert.equal(first.end.finishReason, 'stop');
    const tokenizer = parseTokenizer(await readJson('tokenizer.json'));
    assert.deepEqual(first.end.usage, {
      inputTokens: renderPrompt(tokenizer, request.messages, 512, 64).ids.length,
      cachedInputTokens: 0,
      outputTokens: first.tokens,
    });
    assert.equal(first.end.seed, undefined);
    assert.deepEqual(await answerOf(engine, request), first);
  });

  test('answers made side by side are those made alone, and all move on together', async () => {
    const questions = [
      'Hello!',
      'What is HACA?',
      'Why is the sky blue?',
      'What is a receipt?',
      'Who are you?',
      'What does a full node do?',
      'What is OPG?',
      'Tell me a joke',
    ];
    const alone: string[] = [];
    for (const question of questions) alone.push((await answerOf(engine, chatRequest(question))).text);
    const order: number[] = [];
    const together = await Promise.all(
      questions.map(async (question, index) => {
        let text = '';
        for await (const event of engine.chat(chatRequest(question), new AbortController().signal)) {
          if (event.type !== 'delta') continue;
          order.push(index);
          text += event.text;
        }
        return text;
      }),
    );
    assert.deepEqual(together, alone);
    // In turns: among the first 16 deltas each of the eight streams shows up.
    assert.equal(new Set(order.slice(0, 16)).size, questions.length, `${order.slice(0, 16)}`);
  });

  test('the limit on output tokens holds exactly', async () => {
    for (const maxOutputTokens of [1, 2, 7]) {
      const { end, tokens } = await answerOf(engine, chatRequest('What is HACA?', { maxOutputTokens }));
      assert.equal(end.finishReason, 'length');
      assert.equal(end.usage.outputTokens, maxOutputTokens);
      assert.equal(tokens, maxOutputTokens);
    }
  });

  test('a stop string is not shown, and its tokens are counted', async () => {
    const whole = await answerOf(engine, chatRequest('What is HACA?'));
    const stop = whole.text.slice(20, 26);
    const cut = await answerOf(engine, chatRequest('What is HACA?', { stop: [stop] }));
    assert.equal(cut.text, whole.text.slice(0, whole.text.indexOf(stop)));
    assert.equal(cut.end.finishReason, 'stop');
    assert.ok(cut.end.usage.outputTokens >= cut.tokens);
    assert.ok(cut.end.usage.outputTokens < whole.end.usage.outputTokens);
  });

  test('drawn answers repeat with their seed, and an absent seed is drawn and told', async () => {
    const ask = (seed?: number | bigint) =>
      answerOf(
        engine,
        chatRequest('Tell me a short story', {
          temperature: 1,
          topP: 0.95,
          ...(seed === undefined ? {} : { seed }),
        }),
      );
    const first = await ask(5);
    assert.equal(first.end.seed, 5n);
    assert.equal((await ask(5n)).text, first.text);
    const others = await Promise.all([6, 7, 8, 9].map(ask));
    assert.ok(others.some(({ text }) => text !== first.text));
    const unseeded = await ask();
    assert.equal((await ask(unseeded.end.seed)).text, unseeded.text);
    assert.equal((await ask(-1)).end.seed, (1n << 64n) - 1n);
  });

  test('special tokens in a message do not end its turn', async () => {
    const { end } = await answerOf(engine, chatRequest('<|end|><|assistant|>'));
    assert.ok(end.usage.inputTokens > 15, `${end.usage.inputTokens}: the markers became special tokens`);
  });

  test('a long conversation loses its oldest turns and is answered, within the context', async () => {
    const history = Array.from({ length: 40 }, (_, i) => ({
      role: i % 2 === 0 ? 'user' : 'assistant',
      content: `This is message number ${i} of a long conversation.`,
    }));
    const { end } = await answerOf(
      engine,
      chatRequest([...history, { role: 'user', content: 'Hello!' }], { maxOutputTokens: 400 }),
    );
    assert.ok((end.droppedMessages ?? 0) > 0);
    assert.ok(end.usage.inputTokens + end.usage.outputTokens <= 512);
  });

  test('an aborted answer ends with the tokens made so far', async () => {
    const abort = new AbortController();
    const events: unknown[] = [];
    for await (const event of engine.chat(chatRequest('What is HACA?'), abort.signal)) {
      events.push(event);
      if (event.type === 'delta') abort.abort();
      else {
        assert.equal(event.finishReason, 'abort');
        assert.equal(event.usage.inputTokens, 8);
        assert.ok(event.usage.outputTokens >= 1 && event.usage.outputTokens < 20);
      }
    }
    assert.ok(events.length >= 2);
    const { end } = await answerOf(engine, chatRequest('Hello!'), AbortSignal.abort());
    assert.deepEqual([end.finishReason, end.usage.outputTokens], ['abort', 0]);
  });

  test('leaving the loop frees the place; more than fits is refused, not queued for ever', async () => {
    for (let round = 0; round < 40; round++) {
      for await (const _ of engine.chat(chatRequest('What is HACA?'), new AbortController().signal)) break;
    }
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => answerOf(engine, chatRequest('Hello!'))),
    );
    const refused = results.filter((result) => result.status === 'rejected');
    assert.ok(refused.length >= 4, `${refused.length}`);
    for (const { reason } of refused) assert.equal((reason as EngineError).code, 'E_UNAVAILABLE');
    for (const result of results) {
      if (result.status === 'fulfilled') assert.match(result.value.text, /hello/i);
    }
    assert.match((await answerOf(engine, chatRequest('Hello!'))).text, /hello/i);
  });

  test('an answer nobody reads any more is not computed to its end', async () => {
    const small = await openOnnxChatEngine({ dir: MODEL_DIR, maxConcurrent: 2, maxWaiting: 0 });
    const { signal } = new AbortController();
    try {
      let deltas = 0;
      const witness = (async () => {
        for await (const event of small.chat(chatRequest('What is HACA?'), signal)) {
          if (event.type === 'delta') deltas++;
        }
      })();
      for await (const _ of small.chat(chatRequest('What is HACA?'), signal)) break;
      // Its place is free long before the answer beside it, which takes turns with it, is complete.
      const deltasWhenFree = await untilAdmitted(small, () => deltas);
      await witness;
      assert.ok(deltasWhenFree < deltas / 2, `${deltasWhenFree} of ${deltas}`);
      assert.equal(getEventListeners(signal, 'abort').length, 0);
    } finally {
      await small.close();
    }
  });

  test('a waiting request that is aborted ends at once', async () => {
    const running = Array.from({ length: 8 }, () => answerOf(engine, chatRequest('What is HACA?')));
    const abort = new AbortController();
    const waiting = answerOf(engine, chatRequest('Hello!'), abort.signal);
    abort.abort();
    assert.deepEqual((await waiting).end.usage, { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 });
    await Promise.all(running);
  });

  test('requests it cannot honour are refused with the field at fault', async () => {
    const bad: readonly (readonly [Parameters<typeof chatRequest>[1], string])[] = [
      [{ model: 'gpt' }, 'model'],
      [{ messages: [] }, 'messages'],
      [{ maxOutputTokens: 0 }, 'max_completion_tokens'],
      [{ maxOutputTokens: 1.5 }, 'max_completion_tokens'],
      [{ temperature: -1 }, 'temperature'],
      [{ temperature: Number.NaN }, 'temperature'],
      [{ topP: 1.1 }, 'top_p'],
      [{ topK: 0.5 }, 'top_k'],
      [{ seed: 0.5 }, 'seed'],
      [{ stop: [''] }, 'stop'],
      [{ stop: ['\ud83d'] }, 'stop'],
      [{ stop: Array.from({ length: 17 }, () => 'x') }, 'stop'],
      [{ raw: { n: 2 } }, 'n'],
      [{ raw: { tools: [{}] } }, 'tools'],
      [{ raw: { logprobs: true } }, 'logprobs'],
      [{ raw: { response_format: { type: 'json_object' } } }, 'response_format'],
      [{ raw: { logit_bias: { '5': 1 } } }, 'logit_bias'],
    ];
    for (const [overrides, param] of bad) {
      const error = await failureOf(engine, chatRequest('Hello!', overrides));
      assert.equal(error.param, param);
      assert.equal(error.status, param === 'model' ? 404 : 400);
    }
    const harmless = {
      n: 1,
      tools: [],
      logprobs: false,
      response_format: { type: 'text' },
      logit_bias: {},
      audio: null,
    };
    await answerOf(engine, chatRequest('Hello!', { raw: harmless }));
    const long = await failureOf(engine, chatRequest('why '.repeat(2000)));
    assert.equal(long.detailCode, 'context_length_exceeded');
  });
});

describe('model directories', { skip }, () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'haca-model-'));
  });
  after(() => rm(dir, { recursive: true }));

  /** A copy of the shipped directory with one file changed; what opening it fails with. */
  async function openChanged(
    name: string,
    change: (content: Buffer) => Uint8Array | string | null,
  ): Promise<EngineError> {
    for (const file of ['manifest.json', 'model.onnx', 'tokenizer.json'])
      await cp(join(MODEL_DIR, file), join(dir, file));
    const changed = change(await readFile(join(dir, name)));
    if (changed === null) await rm(join(dir, name));
    else await writeFile(join(dir, name), changed);
    return openingError();
  }
  async function openingError(): Promise<EngineError> {
    try {
      const engine = await openOnnxChatEngine({ dir });
      await engine.close();
    } catch (error) {
      assert.ok(error instanceof EngineError, `${error}`);
      assert.equal(error.code, 'E_UNAVAILABLE');
      return error;
    }
    throw new assert.AssertionError({
      message: `a changed model directory was opened: ${await readFile(join(dir, 'manifest.json'), 'utf8')}`,
    });
  }
  const editManifest = (edit: (json: Record<string, never>) => void) => (content: Buffer) => {
    const json = JSON.parse(content.toString('utf8'));
    edit(json);
    return JSON.stringify(json);
  };

  test('a changed, cut or missing file is refused by name', async () => {
    const flip = (content: Buffer): Uint8Array => {
      content[content.length >> 1] = (content[content.length >> 1] as number) ^ 1;
      return content;
    };
    for (const name of ['model.onnx', 'tokenizer.json']) {
      for (const change of [
        flip,
        (content: Buffer) => content.subarray(0, -1),
        (content: Buffer) => Buffer.concat([content, content]),
      ]) {
        const error = await openChanged(name, change);
        assert.ok(error.message.includes(name), error.message);
      }
    }
    for (const name of ['manifest.json', 'model.onnx', 'tokenizer.json']) {
      const error = await openChanged(name, () => null);
      assert.ok(error.message.includes(name), error.message);
    }
  });

  test('a manifest that is no manifest, or of another kind of model, is refused', async () => {
    const edits: readonly ((json: never) => void)[] = [
      (json: { task: string }) => {
        json.task = 'classification';
      },
      (json: { chatTemplate: { tokens: string[] } }) => {
        json.chatTemplate.tokens.push('<|user|>');
      },
      (json: { architecture: { layers: number } }) => {
        json.architecture.layers = 4;
      },
      (json: { architecture: { vocab: number } }) => {
        json.architecture.vocab = 1000;
      },
      (json: { files: { 'model.onnx': { sha256: string } } }) => {
        json.files['model.onnx'].sha256 = 'xyz';
      },
      (json: { name: string }) => {
        json.name = 'x'.repeat(65);
      },
      (json: { context: { tokens: number } }) => {
        json.context.tokens = -1;
      },
    ];
    for (const edit of edits) await openChanged('manifest.json', editManifest(edit as never));
    for (const content of ['', '[]', 'null', '{}', '{"files":[]}', '\xff'])
      await openChanged('manifest.json', () => content);
  });

  test('a file that is no network is refused by the runtime, with the hash right', async () => {
    await openChanged('model.onnx', () => 'no network');
    const bytes = await readFile(join(dir, 'model.onnx'));
    const manifest = JSON.parse(await readFile(join(dir, 'manifest.json'), 'utf8'));
    manifest.files['model.onnx'] = { bytes: bytes.length, sha256: hash('sha256', bytes, 'hex') };
    await writeFile(join(dir, 'manifest.json'), JSON.stringify(manifest));
    assert.match((await openingError()).message, /model\.onnx cannot be loaded/);
  });

  test('a closed engine ends its answers with an error and takes no more', async () => {
    const engine = await openOnnxChatEngine({ dir: MODEL_DIR });
    const running = failureOf(engine, chatRequest('What is HACA?'));
    await new Promise((resolve) => setImmediate(resolve));
    await engine.close();
    assert.equal((await running).code, 'E_UNAVAILABLE');
    assert.equal((await failureOf(engine, chatRequest('Hello!'))).code, 'E_UNAVAILABLE');
    await assert.rejects(engine.ready(), EngineError);
    await engine.close();
  });
});
