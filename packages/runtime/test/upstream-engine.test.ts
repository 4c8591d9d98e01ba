import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { UsageError } from '@haca/primitives';
import { type Engine, EngineError, openUpstreamEngine, type UpstreamEngineOptions } from '@haca/runtime';
import { answerOf, failureOf, chatRequest as requestOf, TEST_MANIFEST } from './answer.ts';
import {
  chunkOf,
  event,
  HELLO_STREAM,
  HELLO_TEXT,
  type OpenAiServer,
  type Reply,
  sseHead,
  startOpenAiServer,
  USAGE_CHUNK,
} from './openai-server.ts';

const MODEL = { name: 'test-model', manifest: TEST_MANIFEST, upstreamName: 'upstream-model' };
const chatRequest = (text: string, overrides: Parameters<typeof requestOf>[1] = {}) =>
  requestOf(text, {
    model: 'test-model',
    raw: { model: 'test-model', messages: [{ role: 'user', content: text }], stream: true },
    ...overrides,
  });

const opened: { readonly close: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

async function open(
  reply: Reply,
  options: Partial<UpstreamEngineOptions> = {},
): Promise<{ readonly engine: Engine; readonly server: OpenAiServer }> {
  const server = await startOpenAiServer(reply);
  const engine = openUpstreamEngine({ baseUrl: server.baseUrl, models: [MODEL], proxied: true, ...options });
  opened.push(server, engine);
  return { engine, server };
}

/** An engine whose server sends these bytes, in these pieces, and ends. */
const openStream = (...pieces: readonly (string | Uint8Array)[]) =>
  open(async (response) => {
    sseHead(response);
    for (const piece of pieces) {
      response.write(piece);
      if (pieces.length > 1) await delay(1);
    }
    response.end();
  });

test('a stream becomes deltas and an end with the usage the server tells', async () => {
  const { engine } = await openStream(HELLO_STREAM);
  const { text, tokens, end, events } = await answerOf(engine, chatRequest('hi'));
  assert.equal(text, HELLO_TEXT);
  assert.equal(tokens, 3);
  assert.deepEqual(end, {
    type: 'end',
    finishReason: 'stop',
    usage: { inputTokens: 11, cachedInputTokens: 4, outputTokens: 3 },
    systemFingerprint: 'fp_1',
  });
  assert.deepEqual(events[0], {
    type: 'delta',
    text: '',
    tokens: 0,
    delta: { role: 'assistant', content: '' },
  });
  assert.equal(engine.proxied, true);
});

test('byte by byte, in odd pieces, with CRLF, comments and split data lines it is the same answer', async () => {
  const crlf = `: hello\r\n\r\n${HELLO_STREAM.replaceAll('\n\n', '\r\n: ping\r\n\r\n').replaceAll('"choices":', '\r\ndata: "choices":')}`;
  for (const text of [HELLO_STREAM, crlf]) {
    const bytes = Buffer.from(text);
    const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
    const { engine } = await open((response) => {
      sseHead(response);
      for (const piece of single) response.write(piece);
      response.end();
    });
    assert.equal((await answerOf(engine, chatRequest('hi'))).text, HELLO_TEXT);
    const { engine: sevens } = await openStream(
      ...Array.from({ length: Math.ceil(bytes.length / 97) }, (_, i) => bytes.subarray(i * 97, (i + 1) * 97)),
    );
    const { text: got, end } = await answerOf(sevens, chatRequest('hi'));
    assert.equal(got, HELLO_TEXT);
    assert.equal(end.usage.outputTokens, 3);
  }
});

test('the body passes through with the fewest edits', async () => {
  const { engine, server } = await open(
    (response) => {
      sseHead(response);
      response.end(HELLO_STREAM);
    },
    { apiKey: 'sk-secret' },
  );
  const raw = {
    model: 'test-model',
    messages: [{ role: 'user', content: 'hi', name: 'x' }],
    max_completion_tokens: 99,
    stream: true,
    stream_options: { chunk_include_usage: true, include_usage: false },
    tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
    vendor_field: { a: [1, null] },
    n: 1,
  };
  await answerOf(engine, chatRequest('hi', { raw, maxOutputTokens: 50 }));
  const [got] = server.received;
  assert.deepEqual(got?.body, {
    ...raw,
    model: 'upstream-model',
    stream: true,
    stream_options: { chunk_include_usage: true, include_usage: true },
    max_completion_tokens: 50,
  });
  assert.equal(got?.path, '/v1/chat/completions');
  assert.equal(got?.headers.authorization, 'Bearer sk-secret');
});

test('an answer that is wanted in one piece is asked for in one piece', async () => {
  const message = { role: 'assistant', content: 'Hello there' };
  const { engine, server } = await open((response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }], usage: USAGE_CHUNK.usage }),
    );
  });
  for (const stream of [undefined, false, null]) {
    const raw = { model: 'test-model', messages: [{ role: 'user', content: 'hi' }], max_tokens: 9, stream };
    const { text } = await answerOf(engine, chatRequest('hi', { raw, maxOutputTokens: 9 }));
    assert.equal(text, 'Hello there');
    const body = server.received.at(-1)?.body;
    assert.deepEqual(body, JSON.parse(JSON.stringify({ ...raw, model: 'upstream-model' })));
  }
});

test('every request carries a limit on output tokens, as reserved', async () => {
  const reply: Reply = (response) => {
    sseHead(response);
    response.end(HELLO_STREAM);
  };
  const { engine, server } = await open(reply);
  const { engine: newer, server: newerServer } = await open(reply, { limitField: 'max_completion_tokens' });
  const limits = async (of: Engine, at: OpenAiServer, raw: object): Promise<unknown[]> => {
    await answerOf(of, chatRequest('hi', { raw: { messages: [], ...raw }, maxOutputTokens: 7 }));
    const body = at.received.at(-1)?.body;
    return [body?.['max_tokens'], body?.['max_completion_tokens']];
  };
  assert.deepEqual(await limits(engine, server, {}), [7, undefined]);
  assert.deepEqual(await limits(engine, server, { max_tokens: null }), [7, undefined]);
  assert.deepEqual(await limits(engine, server, { max_completion_tokens: 7 }), [undefined, 7]);
  assert.deepEqual(await limits(engine, server, { max_completion_tokens: 7, max_tokens: 1e9 }), [7, 7]);
  assert.deepEqual(await limits(newer, newerServer, {}), [undefined, 7]);
});

test('tool calls, reasoning and log-probabilities come through untouched', async () => {
  const call = {
    tool_calls: [{ index: 0, id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a"' } }],
  };
  const logprobs = {
    content: [
      { token: 'a', logprob: -0.5, bytes: [97], top_logprobs: [] },
      { token: 'b', logprob: -1 },
    ],
  };
  const { engine } = await openStream(
    event(chunkOf({ role: 'assistant', content: null, reasoning_content: 'hm' })),
    event(chunkOf(call)),
    event(chunkOf({ content: 'ab' }, null, { logprobs })),
    event(chunkOf({ content: '' }, 'tool_calls')),
    event(USAGE_CHUNK),
    event('[DONE]'),
  );
  const { events, end } = await answerOf(engine, chatRequest('hi'));
  assert.deepEqual(events.slice(0, -1), [
    {
      type: 'delta',
      text: '',
      tokens: 1,
      delta: { role: 'assistant', content: null, reasoning_content: 'hm' },
    },
    { type: 'delta', text: '', tokens: 1, delta: call },
    { type: 'delta', text: 'ab', tokens: 2, delta: { content: 'ab' }, logprobs },
    { type: 'delta', text: '', tokens: 0, delta: { content: '' } },
  ]);
  assert.equal(end.finishReason, 'tool_calls');
});

test('a server that does not stream is understood', async () => {
  const message = { role: 'assistant', content: 'Hello there' };
  const { engine } = await open((response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'length' }], usage: USAGE_CHUNK.usage }),
    );
  });
  const { text, events, end } = await answerOf(engine, chatRequest('hi'));
  assert.equal(text, 'Hello there');
  assert.deepEqual((events[0] as { delta?: unknown }).delta, message);
  assert.equal(end.finishReason, 'length');
  assert.equal(end.usage.inputTokens, 11);
});

test('usage that is missing or nonsense is estimated, and says so', async () => {
  const stream = (usage: unknown): string =>
    [
      event(chunkOf({ content: 'a' })),
      event(chunkOf({ content: 'b' }, 'stop')),
      event({ choices: [], usage }),
      event('[DONE]'),
    ].join('');
  const nonsense = [
    null,
    {},
    { prompt_tokens: -1, completion_tokens: 1 },
    { prompt_tokens: 1.5, completion_tokens: 1 },
    { prompt_tokens: 1, completion_tokens: 2 ** 33 },
    { prompt_tokens: '1' },
  ];
  for (const usage of nonsense) {
    const { engine } = await openStream(stream(usage));
    const { end } = await answerOf(engine, chatRequest('hi there'));
    assert.equal(end.usageEstimated, true, JSON.stringify(usage));
    assert.equal(end.usage.outputTokens, 2);
    assert.ok(end.usage.inputTokens > 0 && end.usage.inputTokens < 40);
    const capped = await answerOf(engine, chatRequest('hi there', { maxOutputTokens: 1 }));
    assert.equal(capped.end.usage.outputTokens, 1);
  }
  const { engine } = await openStream(
    stream({ prompt_tokens: 3, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 9 } }),
  );
  assert.deepEqual((await answerOf(engine, chatRequest('hi'))).end.usage, {
    inputTokens: 3,
    cachedInputTokens: 3,
    outputTokens: 2,
  });
});

test('a stream that is no answer is an error, after the deltas before it', async () => {
  const good = event(chunkOf({ content: 'a' }));
  const bad: readonly string[] = [
    'data: {not json\n\n',
    'data: 7\n\n',
    'data: []\n\n',
    event({ choices: {} }),
    event({ choices: [1] }),
    event({ choices: [{ index: 1, delta: { content: 'x' } }] }),
    event({
      choices: [
        { index: 0, delta: {} },
        { index: 1, delta: {} },
      ],
    }),
    event({ choices: [{ index: 0, delta: 'text' }] }),
    event({ error: { message: 'out of memory', code: 'oom' } }),
    event({ error: 'out of memory' }),
    `data: ${'x'.repeat(1 << 20)}\n\n`,
    `data: ${'['.repeat(500_000)}`,
    '',
  ];
  for (const text of bad) {
    const { engine } = await openStream(good + text);
    const seen: string[] = [];
    await assert.rejects(
      async () => {
        for await (const each of engine.chat(chatRequest('hi'), new AbortController().signal)) {
          seen.push(each.type === 'delta' ? each.text : each.type);
        }
      },
      (error) => error instanceof EngineError && error.code === 'E_ENGINE' && error.status === 502,
      text.slice(0, 50),
    );
    assert.deepEqual(seen, ['a'], text.slice(0, 50));
  }
});

test('an error inside a stream is told with its message and code', async () => {
  const { engine } = await openStream(event({ error: { message: 'out of memory', code: 'oom' } }));
  const error = await failureOf(engine, chatRequest('hi'));
  assert.match(error.message, /out of memory/);
  assert.equal(error.detailCode, 'oom');
});

test('an answer that ends without [DONE] but with a finish reason is whole', async () => {
  const { engine } = await openStream(event(chunkOf({ content: 'a' })), event(chunkOf({}, 'stop')));
  assert.equal((await answerOf(engine, chatRequest('hi'))).text, 'a');
  const { engine: bare } = await openStream(event(chunkOf({ content: 'a' })), event('[DONE]').trimEnd());
  assert.equal((await answerOf(bare, chatRequest('hi'))).end.finishReason, 'stop');
});

test('what the client can mend is told to it; what the operator has to mend is not', async () => {
  const cases: readonly (readonly [number, object | string, Partial<EngineError>])[] = [
    [
      400,
      { error: { message: 'too long', code: 'context_length_exceeded', param: 'messages' } },
      {
        code: 'E_REQUEST',
        status: 400,
        message: 'too long',
        detailCode: 'context_length_exceeded',
        param: 'messages',
      },
    ],
    [
      400,
      { object: 'error', message: 'bad', type: 'BadRequestError', code: 400 },
      { code: 'E_REQUEST', status: 400, message: 'bad', detailCode: '400' },
    ],
    [422, { detail: 'no such field' }, { code: 'E_REQUEST', status: 422, message: 'no such field' }],
    [413, '<html>', { code: 'E_REQUEST', status: 413 }],
    [401, { error: { message: 'bad key sk-secret' } }, { code: 'E_ENGINE', status: 502, detailCode: null }],
    [402, { error: { message: 'top up' } }, { code: 'E_ENGINE', status: 502 }],
    [404, { error: 'model not found' }, { code: 'E_ENGINE', status: 502 }],
    [
      429,
      { error: { message: 'slow down', type: 'rate_limit' } },
      { code: 'E_UNAVAILABLE', status: 429, retryAfterMs: 7000, detailCode: 'rate_limit' },
    ],
    [500, { error: { message: 'boom' } }, { code: 'E_ENGINE', status: 502 }],
    [503, '', { code: 'E_UNAVAILABLE', status: 503 }],
    [504, '', { code: 'E_ENGINE', status: 504 }],
    [302, '', { code: 'E_ENGINE', status: 502 }],
    [204, '', { code: 'E_ENGINE', status: 502 }],
    [400, 'x'.repeat(10_000_000), { code: 'E_REQUEST', status: 400 }],
  ];
  for (const [status, body, expected] of cases) {
    const { engine } = await open((response) => {
      response.writeHead(status, {
        'content-type': 'application/json',
        'retry-after': '7',
        location: '/elsewhere',
      });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
    const error = await failureOf(engine, chatRequest('hi'));
    for (const [key, value] of Object.entries(expected)) {
      assert.equal(error[key as keyof EngineError], value, `${status}: ${key}`);
    }
    assert.ok(!error.message.includes('sk-secret'));
  }
});

test('a response of another type or encoding is an error', async () => {
  const stream = { 'content-type': 'text/event-stream' };
  const bad: readonly (readonly [Record<string, string>, RegExp])[] = [
    [{ 'content-type': 'text/html' }, /content type 'text\/html'/],
    [{}, /content type ''/],
    [{ ...stream, 'content-encoding': 'gzip' }, /content encoding gzip/],
  ];
  for (const [headers, message] of bad) {
    const { engine } = await open((response) => {
      response.writeHead(200, headers);
      response.end(HELLO_STREAM);
    });
    assert.match((await failureOf(engine, chatRequest('hi'))).message, message);
  }
});

test('a server that is not there, cuts the connection or hangs is an error, not a wait for ever', async () => {
  const timeouts = { firstByteTimeoutMs: 80, idleTimeoutMs: 80, totalTimeoutMs: 400 };
  const { engine: silent } = await open(() => undefined, { timeouts });
  assert.equal((await failureOf(silent, chatRequest('hi'))).status, 504);

  const partial = event(chunkOf({ content: 'a' }));
  const { engine: stalls } = await open(
    (response) => {
      sseHead(response);
      response.write(partial);
    },
    { timeouts },
  );
  assert.equal((await failureOf(stalls, chatRequest('hi'))).status, 504);

  const { engine: pings } = await open(
    (response) => {
      sseHead(response);
      const timer = setInterval(() => response.write(': ping\n\n'), 20);
      response.once('close', () => clearInterval(timer));
    },
    { timeouts },
  );
  assert.match((await failureOf(pings, chatRequest('hi'))).message, /within 400 ms/);

  const { engine: cuts } = await open((response, socket) => {
    sseHead(response);
    response.write(partial, () => socket.destroy());
  });
  assert.equal((await failureOf(cuts, chatRequest('hi'))).status, 502);

  const { engine: gone, server } = await open(() => undefined);
  await server.close();
  const refused = await failureOf(gone, chatRequest('hi'));
  assert.deepEqual([refused.code, refused.status], ['E_UNAVAILABLE', 503]);
  await assert.rejects(gone.ready(), EngineError);
});

test('aborting closes the upstream connection and ends the answer', async () => {
  const { engine, server } = await open((response) => {
    sseHead(response);
    response.write(event(chunkOf({ content: 'a' })));
  });
  const abort = new AbortController();
  const seen: unknown[] = [];
  for await (const each of engine.chat(chatRequest('hi'), abort.signal)) {
    seen.push(
      each.type === 'end' ? [each.finishReason, each.usage.outputTokens, each.usageEstimated] : each.text,
    );
    abort.abort();
  }
  assert.deepEqual(seen, ['a', ['abort', 1, true]]);
  await server.received[0]?.closed;

  for await (const _ of engine.chat(chatRequest('hi'), new AbortController().signal)) break;
  await server.received[1]?.closed;

  const early = await answerOf(engine, chatRequest('hi'), AbortSignal.abort());
  assert.equal(early.end.finishReason, 'abort');
  assert.equal(server.received.length, 2);
});

test('aborting before the first byte closes the connection as well', async () => {
  const { promise: arrived, resolve } = Promise.withResolvers<void>();
  const { engine, server } = await open(() => resolve());
  const abort = new AbortController();
  const answer = answerOf(engine, chatRequest('hi'), abort.signal);
  await arrived;
  abort.abort();
  assert.equal((await answer).end.finishReason, 'abort');
  await server.received[0]?.closed;
});

test('aborting before the connection stands sends nothing', async () => {
  const { engine, server } = await open((response) => {
    sseHead(response);
    response.end(HELLO_STREAM);
  });
  const abort = new AbortController();
  const first = engine.chat(chatRequest('never sent'), abort.signal)[Symbol.asyncIterator]().next();
  abort.abort();
  assert.equal((await first).value?.type, 'end');
  assert.equal((await answerOf(engine, chatRequest('hi'))).text, HELLO_TEXT);
  assert.equal(server.received.length, 1);
});

test('an answer leaves no listener on the signal', async () => {
  const { engine, server } = await openStream(HELLO_STREAM);
  const { signal } = new AbortController();
  await answerOf(engine, chatRequest('hi'), signal);
  await server.received[0]?.closed;
  await delay(10);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a reader that is slow slows the server down instead of filling memory', async () => {
  const chunk = event(chunkOf({ content: 'x'.repeat(2000) }));
  const count = 10_000;
  let written = 0;
  const { engine } = await open(async (response) => {
    sseHead(response);
    for (; written < count; written++) {
      if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve));
    }
    response.end(event(chunkOf({}, 'stop')) + event('[DONE]'));
  });
  let deltas = 0;
  for await (const each of engine.chat(chatRequest('hi'), new AbortController().signal)) {
    if (each.type === 'delta') deltas++;
    if (deltas !== 1) continue;
    // Until the server is stuck: what is in flight fits into socket buffers.
    for (let before = -1; before !== written; ) {
      before = written;
      await delay(100);
    }
    assert.ok(written < count, `the server wrote all ${written} chunks with nobody reading`);
  }
  assert.equal(deltas, count);
});

/** Asks until a place is free; a place is free once the response before has ended. */
async function answerWhenFree(engine: Engine): Promise<string> {
  for (;;) {
    try {
      return (await answerOf(engine, chatRequest('hi'))).text;
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'E_UNAVAILABLE') throw error;
      await delay(2);
    }
  }
}

test('a connection is used again, also after a server that lingers over the end', async () => {
  const { engine, server } = await open(
    (response) => {
      sseHead(response);
      response.write(HELLO_STREAM);
      setTimeout(() => response.end(), 10);
    },
    { maxConcurrent: 1 },
  );
  for (let i = 0; i < 5; i++) assert.equal(await answerWhenFree(engine), HELLO_TEXT);
  assert.equal(server.connections(), 1);
});

test('a server that never ends its response after [DONE] loses the connection', async () => {
  const { engine, server } = await open(
    (response) => {
      sseHead(response);
      response.write(HELLO_STREAM);
    },
    { maxConcurrent: 1 },
  );
  for (let i = 1; i <= 2; i++) {
    assert.equal(await answerWhenFree(engine), HELLO_TEXT);
    assert.equal(server.connections(), i);
  }
});

test('more requests than allowed are refused, and places become free again', async () => {
  const held: (() => void)[] = [];
  const { engine } = await open(
    (response) => {
      held.push(() => {
        sseHead(response);
        response.end(HELLO_STREAM);
      });
    },
    { maxConcurrent: 2 },
  );
  const running = [answerOf(engine, chatRequest('1')), answerOf(engine, chatRequest('2'))];
  const refused = await failureOf(engine, chatRequest('3'));
  assert.deepEqual([refused.code, refused.status, refused.retryAfterMs], ['E_UNAVAILABLE', 503, 1000]);
  while (held.length < 2) await delay(1);
  for (const release of held.splice(0)) release();
  for (const each of running) assert.equal((await each).text, HELLO_TEXT);
  const again = answerOf(engine, chatRequest('4'));
  while (held.length < 1) await delay(1);
  held.pop()?.();
  assert.equal((await again).text, HELLO_TEXT);
});

test('requests that cannot be served are refused before the server sees them', async () => {
  const { engine, server } = await open(() => undefined);
  let nested: unknown = 1;
  for (let i = 0; i < 200_000; i++) nested = [nested];
  const bad: readonly (readonly [Parameters<typeof requestOf>[1], string])[] = [
    [{ model: 'upstream-model' }, 'E_MODEL_UNKNOWN'],
    [{ messages: [] }, 'E_REQUEST'],
    [{ maxOutputTokens: 0 }, 'E_REQUEST'],
    [{ raw: { n: 2 } }, 'E_REQUEST'],
    [{ raw: { messages: nested } }, 'E_REQUEST'],
  ];
  for (const [overrides, code] of bad)
    assert.equal((await failureOf(engine, chatRequest('hi', overrides))).code, code);
  assert.equal(server.received.length, 0);
});

test('ready asks for the models and tells which is missing', async () => {
  const listing = (status: number, body: unknown) =>
    open((response) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
  for (const [status, body] of [
    [200, { data: [{ id: 'other' }, { id: 'upstream-model' }] }],
    [200, { data: [] }],
    [404, {}],
  ] as const) {
    const { engine, server } = await listing(status, body);
    await engine.ready();
    assert.equal(server.received[0]?.path, '/v1/models');
  }
  for (const [status, body] of [
    [200, { data: [{ id: 'other' }, null] }],
    [401, {}],
    [500, {}],
    [503, null],
  ] as const) {
    const { engine } = await listing(status, body);
    await assert.rejects(engine.ready(), EngineError, `${status}`);
  }
});

test('closing ends running answers with an error', async () => {
  const { promise: arrived, resolve } = Promise.withResolvers<void>();
  const { engine } = await open(() => resolve());
  const running = failureOf(engine, chatRequest('hi'));
  await arrived;
  await engine.close();
  assert.equal((await running).code, 'E_UNAVAILABLE');
  assert.equal((await failureOf(engine, chatRequest('hi'))).code, 'E_UNAVAILABLE');
});

test('options that make no sense are a programmer mistake', () => {
  const good: UpstreamEngineOptions = { baseUrl: 'http://127.0.0.1:1/v1', models: [MODEL], proxied: true };
  const bad: readonly Partial<UpstreamEngineOptions>[] = [
    { baseUrl: 'nothing' },
    { baseUrl: 'ftp://host/v1' },
    { baseUrl: 'http://user:pass@host/v1' },
    { baseUrl: 'http://host/v1?key=1' },
    { models: [] },
    { models: [MODEL, MODEL] },
    { apiKey: 'a\r\nb' },
    { software: { name: 'vllm', version: '' } },
    { software: { name: 'é'.repeat(33), version: '1' } },
  ];
  for (const each of bad)
    assert.throws(() => openUpstreamEngine({ ...good, ...each }), UsageError, JSON.stringify(each));
});
