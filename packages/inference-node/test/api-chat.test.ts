/** What clients of the chat API rely on: shapes, streams, receipts, the official client. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fromBase64url, nodeCrypto } from '@haca/platform';
import { toHex } from '@haca/primitives';
import {
  chargeFor,
  RECEIPT,
  type Receipt,
  requestHashOf,
  responseHashOf,
  type SignedObject,
  STREAM_CHECKPOINT,
  streamNext,
  streamStart,
} from '@haca/protocol';
import OpenAI from 'openai';
import { hello, startTestNode, type TestNode, until } from './test-node.ts';
import { type Payer, parseStream, receiptOf } from './test-payer.ts';
import { MODEL } from './test-upstream.ts';

let node: TestNode;
let payer: Payer;

before(async () => {
  node = await startTestNode();
  payer = await node.payer('chat');
});
after(() => node.close());

const bytesOf = (chat: object) => new Uint8Array(Buffer.from(JSON.stringify(chat)));

test('HTTP-50 HTTP-53 a whole answer has the OpenAI shape, and its receipt is over exactly its bytes', async () => {
  const chat = hello('words 4');
  const response = await payer.post(chat);
  const raw = new Uint8Array(await response.arrayBuffer());
  assert.equal(response.status, 200);
  const body = JSON.parse(Buffer.from(raw).toString());
  assert.equal(body.object, 'chat.completion');
  assert.equal(body.choices[0].message.content, 'word0 word1 word2 word3 ');
  assert.equal(body.choices[0].finish_reason, 'stop');
  assert.deepEqual(
    [body.usage.prompt_tokens, body.usage.completion_tokens, body.usage.total_tokens],
    [7, 4, 11],
  );
  const receipt = receiptOf(response);
  assert.ok(receipt !== undefined && RECEIPT.verify(nodeCrypto, receipt, node.info.publicKey));
  const { value } = receipt;
  assert.deepEqual(value.requestHash, requestHashOf(bytesOf(chat)));
  assert.deepEqual(value.responseHash, responseHashOf(raw));
  assert.deepEqual(value.usage, { inputTokens: 7, cachedInputTokens: 0, outputTokens: 4 });
  assert.equal(value.amount, chargeFor(node.info.offer, value.usage));
  assert.equal(value.outcome, 'completed');
  for (const name of ['x-request-id', 'openai-processing-ms', 'x-haca-receipt-id', 'x-haca-overhead-us']) {
    assert.ok(response.headers.get(name), name);
  }
  assert.equal(response.headers.get('x-haca-node-id'), toHex(node.info.nodeId));
});

test('HTTP-51 receipts of a key are gapless and chained, totals add up', async () => {
  const receipts: (SignedObject<Receipt> | undefined)[] = [];
  for (let i = 0; i < 5; i++) receipts.push(receiptOf(await payer.post(hello(`words ${i + 1}`))));
  for (const [i, receipt] of receipts.entries()) {
    const before = receipts[i - 1];
    if (receipt === undefined || (i > 0 && before === undefined)) throw new Error('no receipt');
    if (before === undefined) continue;
    assert.equal(receipt.value.seq, before.value.seq + 1);
    assert.deepEqual(receipt.value.prevReceiptHash, before.hash);
    assert.equal(receipt.value.cumulative, before.value.cumulative + receipt.value.amount);
    assert.equal(receipt.value.running[0]?.[1], (before.value.running[0]?.[1] ?? 0n) + receipt.value.amount);
  }
});

test('HTTP-60 a stream: role first, deltas, finish reason, [DONE], then the receipt over its event chain', async () => {
  const chat = hello('words 3', { stream: true });
  const response = await payer.post(chat, 1);
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  const text = await response.text();
  const { events, receipt } = parseStream(text);
  assert.equal(events.at(-1), 'data: [DONE]\n\n');
  assert.match(text, /data: \[DONE\]\n\n: haca-receipt [A-Za-z0-9_-]+\n\n$/);
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event.slice(6)));
  assert.ok(
    chunks.every(({ object, choices }) => object === 'chat.completion.chunk' && choices.length === 1),
  );
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
  assert.equal(chunks.map(({ choices }) => choices[0].delta.content ?? '').join(''), 'word0 word1 word2 ');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
  assert.ok(receipt !== null && RECEIPT.verify(nodeCrypto, receipt, node.info.publicKey));
  const head = events.reduce(
    (hash, event) => streamNext(hash, Buffer.from(event)),
    streamStart(requestHashOf(bytesOf(chat))),
  );
  assert.deepEqual(receipt.value.responseHash, new Uint8Array(head));
  assert.equal(receipt.value.responseForm, 'stream');
});

test('HTTP-61 the usage chunk comes only if asked for, with no choices', async () => {
  const asked = hello('words 2', { stream: true, stream_options: { include_usage: true } });
  const { events } = parseStream(await (await payer.post(asked, 2)).text());
  const usage = events.flatMap((event) => (event.includes('"usage"') ? [JSON.parse(event.slice(6))] : []));
  assert.equal(usage.length, 1);
  assert.deepEqual(usage[0].choices, []);
  assert.equal(usage[0].usage.total_tokens, 9);
  assert.ok(events.indexOf('data: [DONE]\n\n') > events.findIndex((event) => event.includes('"usage"')));

  const unasked = parseStream(await (await payer.post(hello('words 2', { stream: true }), 3)).text());
  assert.ok(unasked.events.every((event) => !event.includes('"usage"')));
});

test('HTTP-62 long streams carry signed checkpoints of what was delivered so far', async () => {
  const chat = hello('words 150', { stream: true, max_tokens: 200 });
  const { events, checkpoints, receipt } = parseStream(await (await payer.post(chat, 4)).text());
  assert.ok(checkpoints.length >= 2);
  const requestHash = requestHashOf(bytesOf(chat));
  for (const text of checkpoints) {
    const checkpoint = STREAM_CHECKPOINT.decode(fromBase64url(text));
    assert.ok(STREAM_CHECKPOINT.verify(nodeCrypto, checkpoint, node.info.publicKey));
    const { value } = checkpoint;
    assert.deepEqual(value.requestHash, requestHash);
    const head = events
      .slice(0, value.events)
      .reduce((hash, event) => streamNext(hash, Buffer.from(event)), streamStart(requestHash));
    assert.deepEqual(value.head, new Uint8Array(head));
    assert.ok(receipt !== null && value.charged <= receipt.value.amount);
  }
});

test('HTTP-10 the official client works against the node with vouchers put in by fetch', async () => {
  const lane = 5;
  const ai = new OpenAI({
    baseURL: `${node.url}/v1`,
    apiKey: 'unused',
    maxRetries: 0,
    fetch: async (input, init) => {
      const headers = new Headers(init?.headers);
      const { body } = init ?? {};
      if (typeof body === 'string') {
        const bytes = new Uint8Array(Buffer.from(body));
        headers.set('x-haca-voucher', payer.voucher(bytes, lane));
      }
      const response = await fetch(input as string, { ...init, headers } as RequestInit);
      const receipt = receiptOf(response);
      if (receipt !== undefined) payer.charged.set(lane, receipt.value.cumulative);
      return response;
    },
  });
  assert.deepEqual(
    (await ai.models.list()).data.map(({ id }) => id),
    [MODEL],
  );
  assert.equal((await ai.models.retrieve(MODEL)).object, 'model');
  const messages = [{ role: 'user' as const, content: 'words 2' }];
  const whole = await ai.chat.completions.create({ model: MODEL, messages, max_tokens: 8 });
  assert.equal(whole.choices[0]?.message.content, 'word0 word1 ');
  const stream = await ai.chat.completions.create({ model: MODEL, messages, max_tokens: 8, stream: true });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  assert.equal(text, 'word0 word1 ');
});

test('HTTP-1 HTTP-23 the plain official client learns by the shape of the error that it has to pay', async () => {
  const ai = new OpenAI({ baseURL: `${node.url}/v1`, apiKey: 'unused', maxRetries: 0 });
  const asked = ai.chat.completions.create({ model: MODEL, messages: [{ role: 'user', content: 'hi' }] });
  await assert.rejects(
    asked,
    (error: unknown) =>
      error instanceof OpenAI.APIError && error.status === 402 && error.code === 'E_VOUCHER_REQUIRED',
  );
});

test('HTTP-70 a receipt is found by id and by hash, and is settled, proved and final after a while', async () => {
  const response = await payer.post(hello('words 2'), 6);
  const id = String(response.headers.get('x-haca-receipt-id'));
  const read = async (name: string) =>
    (await (await fetch(`${node.url}/v1/receipts/${name}`)).json()) as Found;
  const first = await read(id);
  assert.equal(first.receipt, response.headers.get('x-haca-receipt'));
  const settled = await until(async () => {
    const found = await read(first.hash);
    return found.state === 'final' && found;
  });
  assert.equal(settled.id, id);
  assert.ok(settled.proof !== null && settled.txHash !== null && settled.height !== null);
});

interface Found {
  readonly id: string;
  readonly receipt: string;
  readonly hash: string;
  readonly state: string;
  readonly height: number | null;
  readonly txHash: string | null;
  readonly proof: string | null;
}

test('HTTP-82 everything charged is paid, each lane up to its newest receipt', async () => {
  await until(() =>
    [0, 6].every(
      (lane) => node.chain.lane(node.info.keyId, payer.channelId, lane) === (payer.charged.get(lane) ?? 0n),
    ),
  );
  const seqs = node.chain.statements.flatMap(({ batch }) => (batch === null ? [] : [batch]));
  let next = 1;
  for (const { firstSeq, count } of seqs) {
    assert.equal(firstSeq, next);
    next += count;
  }
});
