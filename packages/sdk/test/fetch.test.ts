import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { type Haca, memoryWalletStore, openHaca, parseGenesisDocument, VerificationError } from '@haca/sdk';
import { nodePlatform } from '@haca/sdk/node';
import OpenAI from 'openai';
import { type FakeNode, MODEL_NAME, startFakeNetwork, WORDS } from './fake-node.ts';
import { openTestClient } from './test-client.ts';

const TEXT = WORDS.join('');

function openAi(haca: Haca): OpenAI {
  return new OpenAI({ baseURL: haca.baseUrl, apiKey: 'haca', fetch: haca.fetch });
}

test('the official client works through the fetch, and the answer carries its receipt', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const completion = await openAi(haca).chat.completions.create({
    model: MODEL_NAME,
    messages: [{ role: 'user', content: 'hi' }],
  });
  assert.equal(completion.choices[0]?.message.content, TEXT);
  const answer = haca.lastAnswer;
  assert.ok(answer?.verdict.ok);
  assert.equal(answer.assurance, 'signed');
  assert.equal(answer.receipt.value.seq, 1);
  haca.close();
});

test('the official client streams, and the stream ends only after the receipt was verified', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const { data, response } = await openAi(haca)
    .chat.completions.create({
      model: MODEL_NAME,
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
    })
    .withResponse();
  let text = '';
  for await (const chunk of data) text += chunk.choices[0]?.delta.content ?? '';
  assert.equal(text, TEXT);
  const answer = await haca.answerOf(response)?.completed;
  assert.ok(answer?.verdict.ok);
  assert.equal(answer.receipt.value.responseForm, 'stream');
  assert.equal(answer, haca.lastAnswer);
});

test('models come from the chain, other paths do not leave the client', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const models = await openAi(haca).models.list();
  assert.deepEqual(
    models.data.map(({ id }) => id),
    [MODEL_NAME],
  );
  const other = await haca.fetch(`${haca.baseUrl}/files`);
  assert.equal(other.status, 404);
  assert.equal(node.requests(), 0);
});

test('the first request opens channel, session and allocation in one transaction, later ones open nothing', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  await haca.chat({ prompt: 'one' });
  await haca.chat({ prompt: 'two' });
  assert.deepEqual(
    node.chain.txs.map((ops) => ops.map(({ kind }) => kind)),
    [['open-channel', 'register-session', 'allocate']],
  );
  const [first, second] = node.receipts;
  assert.equal(second?.value.cumulative, (first?.value.amount ?? 0n) + (second?.value.amount ?? 0n));
});

test('requests at the same time go on lanes of their own', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  await haca.chat({ prompt: 'first' });
  await Promise.all(['a', 'b', 'c', 'd'].map((prompt) => haca.chat({ prompt })));
  assert.equal(new Set(node.receipts.map(({ value }) => value.lane)).size, 4);
  assert.equal(node.executions(), 5);
});

test('a wallet that was used before finds its channel, session and lanes again', async () => {
  const node = startFakeNetwork();
  const store = memoryWalletStore();
  const first = await openTestClient(node, { store });
  await first.chat({ prompt: 'one' });
  const second = await openTestClient(node, { store });
  const { answer } = await second.chat({ prompt: 'two' });
  assert.ok(answer.verdict.ok);
  assert.equal(node.chain.txs.length, 1);
  assert.equal(answer.receipt.value.lane, 0);
});

test('a wallet whose notes were lost registers a new session in its old channel', async () => {
  const node = startFakeNetwork();
  await (await openTestClient(node)).chat({ prompt: 'one' });
  const again = await openTestClient(node);
  const { answer } = await again.chat({ prompt: 'two' });
  assert.ok(answer.verdict.ok);
  assert.deepEqual(
    node.chain.txs[1]?.map(({ kind }) => kind),
    ['register-session'],
  );
});

test('a lane state that the own signature does not back is not believed', async () => {
  const node = startFakeNetwork();
  const store = memoryWalletStore();
  await (await openTestClient(node, { store })).chat({ prompt: 'one' });
  const haca = await openTestClient(node, { store });
  node.lies.lane = (state) => (state['voucher'] === null ? state : { ...state, charged: '999999999999' });
  const { answer } = await haca.chat({ prompt: 'two' });
  assert.equal(answer.receipt.value.lane, 1);
});

test('a broken connection is sent again with the same voucher: one execution, one charge', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  node.lies.breakAfterBlocks = 0;
  setTimeout(() => {
    delete node.lies.breakAfterBlocks;
  }, 50);
  const { answer, text } = await haca.chat({ prompt: 'one' });
  assert.equal(text, TEXT);
  assert.ok(answer.verdict.ok);
  assert.equal(node.executions(), 1);
});

test('a request whose outcome is unknown stays one request when the caller sends it again', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  node.lies.breakAfterBlocks = 0;
  await assert.rejects(haca.chat({ prompt: 'one' }), { name: 'NodeError', code: 'E_UNREACHABLE' });
  delete node.lies.breakAfterBlocks;
  const { answer } = await haca.chat({ prompt: 'one' });
  assert.ok(answer.verdict.ok);
  assert.equal(node.executions(), 1);
  const next = await haca.chat({ prompt: 'two' });
  assert.ok(next.answer.verdict.ok);
});

test('a stream that breaks is resumed without a repeated or missing word', async () => {
  for (const breakAfterBlocks of [1, 3, 5]) {
    const node = startFakeNetwork();
    const haca = await openTestClient(node);
    node.lies.breakAfterBlocks = breakAfterBlocks;
    const pieces: string[] = [];
    const { answer } = await haca.chat({ prompt: 'one', onText: (piece) => pieces.push(piece) });
    assert.equal(pieces.join(''), TEXT);
    assert.ok(answer.verdict.ok);
    assert.equal(node.executions(), 1);
  }
});

test('lane trouble is solved by asking the node, money trouble by one top-up', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  await haca.chat({ prompt: 'one' });
  for (const [status, code] of [
    [402, 'E_RESERVE'],
    [409, 'E_LANE_BUSY'],
    [409, 'E_IDEMPOTENCY'],
  ] as const) {
    const before = node.requests();
    node.lies.refuse = (request) => (request === before + 1 ? { status, code } : null);
    const { answer } = await haca.chat({ prompt: code });
    assert.ok(answer.verdict.ok, code);
  }
  const before = node.requests();
  node.lies.refuse = (request) => (request <= before + 3 ? { status: 402, code: 'E_INSUFFICIENT' } : null);
  await haca.chat({ prompt: 'more money' });
  assert.deepEqual(
    node.chain.txs[1]?.map(({ kind }) => kind),
    ['allocate'],
  );
});

test('an error of the node reaches the caller as it is, and nothing is charged twice', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  node.lies.refuse = () => ({ status: 400, code: 'E_REQUEST' });
  const client = new OpenAI({ baseURL: haca.baseUrl, apiKey: 'haca', fetch: haca.fetch });
  await assert.rejects(
    client.chat.completions.create({ model: MODEL_NAME, messages: [] }),
    (error: Error) => error instanceof OpenAI.BadRequestError && error.code === 'E_REQUEST',
  );
  assert.equal(node.executions(), 0);
});

test('an unknown model and an empty purse are the errors a client library knows, and are not tried again', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node, { policy: { maxReserve: 10n } });
  const messages = [{ role: 'user' as const, content: 'hi' }];
  await assert.rejects(
    openAi(haca).chat.completions.create({ model: 'nope', messages }),
    (error: Error) => error instanceof OpenAI.NotFoundError && error.code === 'E_MODEL_UNKNOWN',
  );
  await assert.rejects(
    openAi(haca).chat.completions.create({ model: MODEL_NAME, messages }),
    (error: Error) => error instanceof OpenAI.APIError && error.status === 402 && error.code === 'E_PRICE',
  );
  assert.equal(node.requests(), 0);
});

test('without a wallet nothing is sent; above the price limit nothing is signed', async () => {
  const node = startFakeNetwork();
  const reader = await openHaca({
    rpcUrl: 'fake:',
    rpc: node.chain.rpc,
    platform: nodePlatform,
    trust: { genesis: parseGenesisDocument(node.chain.genesis) },
    wallet: null,
    policy: { minAssurance: 'signed' },
    fetch: node.fetch,
    clock: node.chain.timeMs,
  });
  await assert.rejects(reader.chat({ prompt: 'hi' }), { name: 'PaymentError', code: 'E_VOUCHER_REQUIRED' });
  const careful = await openTestClient(node, { policy: { maxReserve: 10n } });
  await assert.rejects(careful.chat({ prompt: 'hi' }), { name: 'PaymentError', code: 'E_PRICE' });
  assert.equal(node.requests(), 0);
});

test('streams release by policy: live, attributed, or verified', async () => {
  for (const streamRelease of ['live', 'attributed', 'verified'] as const) {
    const node = startFakeNetwork();
    const haca = await openTestClient(node, { policy: { streamRelease } });
    node.lies.signer = ed25519SignerFromSeed(new Uint8Array(32).fill(66));
    const pieces: string[] = [];
    await assert.rejects(
      haca.chat({ prompt: 'hi', onText: (piece) => pieces.push(piece) }),
      (error: Error) => error instanceof VerificationError,
    );
    assert.equal(pieces.length, streamRelease === 'live' ? 2 : 0, streamRelease);
  }
});

test('an aborted stream is given up, and the next request goes on with what the node was promised', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  const controller = new AbortController();
  const response = await haca.fetch(`${haca.baseUrl}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: MODEL_NAME, messages: [], stream: true }),
    signal: controller.signal,
  });
  const reader = response.body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await assert.rejects(haca.answerOf(response)?.completed as Promise<unknown>);
  const { answer } = await haca.chat({ prompt: 'next' });
  assert.ok(answer.verdict.ok);
});

test('an answer without a stream that breaks off half way is the same request when it is sent again', async () => {
  const node = startFakeNetwork();
  const original = node.fetch;
  let broken = 0;
  const flaky: typeof fetch = async (input, init) => {
    const response = await original(input, init);
    if (init?.method !== 'POST' || broken++ > 0) return response;
    const half = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(new Uint8Array(10));
        controller.error(new TypeError('connection reset'));
      },
    });
    return new Response(half, { headers: response.headers });
  };
  const haca = await openTestClient({ ...node, fetch: flaky });
  const { answer } = await haca.chat({ prompt: 'hi' });
  assert.ok(answer.verdict.ok);
  assert.equal(node.executions(), 1);
});

test('prompt and voucher follow no redirect', async () => {
  const node = startFakeNetwork();
  const modes: unknown[] = [];
  const watching: typeof fetch = (input, init) => {
    modes.push(init?.redirect);
    return node.fetch(input, init);
  };
  const haca = await openTestClient({ ...node, fetch: watching });
  await haca.chat({ prompt: 'hi' });
  assert.ok(modes.length > 2);
  assert.ok(modes.every((mode) => mode === 'error'));
});

test('an empty success is no answer', async () => {
  const node = startFakeNetwork();
  const empty: typeof fetch = async (input, init) =>
    init?.method === 'POST' ? new Response(null, { status: 204 }) : node.fetch(input, init);
  const haca = await openTestClient({ ...node, fetch: empty });
  await assert.rejects(haca.chat({ prompt: 'hi' }), (error: Error) => error instanceof VerificationError);
});

test('a stream ends with its receipt, also where the connection stays open, and nothing after it gets through', async () => {
  const node = startFakeNetwork();
  const open: typeof fetch = async (input, init) => {
    const response = await node.fetch(input, init);
    if (init?.method !== 'POST') return response;
    const all = new Uint8Array(await response.arrayBuffer());
    const chunks = [all, new TextEncoder().encode('data: {"choices":[]}\n\n')];
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const chunk = chunks.shift();
        if (chunk !== undefined) controller.enqueue(chunk);
      },
    });
    return new Response(body, { headers: response.headers });
  };
  const haca = await openTestClient({ ...node, fetch: open });
  const { text, answer } = await haca.chat({ prompt: 'hi', onText: () => undefined });
  assert.equal(text, TEXT);
  assert.ok(answer.verdict.ok);
});

test('a node that has not seen the block with the new channel yet is asked again', async () => {
  const node = startFakeNetwork();
  let refusals = 0;
  const behind: FakeNode = {
    ...node,
    fetch: async (...args) => {
      if (!String(args[0]).includes('/v1/lanes/') || refusals >= 2) return node.fetch(...args);
      refusals++;
      const error = { code: 'E_CHANNEL', message: 'E_CHANNEL: the newest final block has no such channel' };
      return Response.json({ error }, { status: 402 });
    },
  };
  const haca = await openTestClient(behind);
  const { answer } = await haca.chat({ prompt: 'hi' });
  assert.ok(answer.verdict.ok);
  assert.deepEqual([refusals, node.executions()], [2, 1]);
});
