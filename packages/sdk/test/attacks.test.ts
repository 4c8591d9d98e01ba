/** Attacks by a node, or by somebody on the way to it, that no single altered value makes: each is kept as it was found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { base64url, fromBase64url } from '@haca/platform/rpc';
import { encode, utf8Decode, utf8Encode } from '@haca/primitives';
import {
  credit,
  decodeModelManifest,
  modelIdOf,
  modelRecordCodec,
  OFFER,
  recordKey,
  type SignedObject,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import { type Haca, type Policy, VerificationError } from '@haca/sdk';
import { type FakeNode, MODEL_NAME, startFakeNetwork } from './fake-node.ts';
import { openTestClient } from './test-client.ts';

const forged = (text: string): Uint8Array =>
  utf8Encode(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: text } }] })}\n\n`);

const streamRequest = (haca: Haca): Promise<Response> =>
  haca.fetch(`${haca.baseUrl}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: MODEL_NAME, stream: true, messages: [{ role: 'user', content: 'hi' }] }),
  });

/** All that a consumer gets, and why it ended. */
async function consume(response: Response): Promise<{ readonly text: string; readonly error: unknown }> {
  let text = '';
  try {
    for await (const chunk of response.body as ReadableStream<Uint8Array>) text += utf8Decode(chunk);
  } catch (error) {
    return { text, error };
  }
  return { text, error: null };
}

for (const streamRelease of ['live', 'attributed', 'verified'] as const) {
  test(`forged events, a broken connection and then the true, shorter stream (${streamRelease})`, async () => {
    const node = startFakeNetwork();
    const haca = await openTestClient(node, { policy: { streamRelease } });
    const lie = Array.from({ length: 10 }, (_, i) => forged(`lie ${i} `));
    let connections = 0;
    node.lies.breakAfterBlocks = lie.length;
    node.lies.blocks = (honest) => (connections++ === 0 ? lie : honest);
    const response = await streamRequest(haca);
    const { text, error } = await consume(response);
    const completed = haca.answerOf(response)?.completed as Promise<unknown>;
    if (streamRelease === 'live') {
      // The lie is out, so the true answer is not what the consumer has: it must not end as verified.
      assert.ok(error instanceof VerificationError, `ended without an error: ${text}`);
      await assert.rejects(completed);
    } else {
      await completed;
      assert.equal(error, null);
      assert.ok(!text.includes('lie') && text.includes('Hello') && text.endsWith('data: [DONE]\n\n'));
    }
  });
}

for (const form of [
  'data: [DONE]\r\n\n',
  'data:[DONE]\n\n',
  'id: 1\ndata: [DONE]\n\n',
  'data: x\r\rdata: [DONE] \n\n',
]) {
  test(`an end that only some readers know is not passed on: ${JSON.stringify(form)}`, async () => {
    const node = startFakeNetwork();
    const haca = await openTestClient(node);
    node.lies.blocks = () => [forged('lie'), utf8Encode(form)];
    const { text, error } = await consume(await streamRequest(haca));
    assert.ok(error instanceof VerificationError);
    assert.ok(!text.includes('[DONE]'));
  });
}

/** What the vouchers of all requests so far let the node redeem: the highest promise of each lane. */
function authorised(vouchers: readonly SignedObject<Voucher>[]): bigint {
  const lanes = new Map<number, bigint>();
  for (const { value } of vouchers) {
    const before = lanes.get(value.lane) ?? 0n;
    if (value.cumulative > before) lanes.set(value.lane, value.cumulative);
  }
  return [...lanes.values()].reduce((sum, each) => sum + each, 0n);
}

/** A node that refuses every request with `code`, keeps the vouchers and says they were used up. */
async function collector(code: string, status: number, policy: Partial<Policy>) {
  const node = startFakeNetwork();
  const vouchers: SignedObject<Voucher>[] = [];
  const honest = node.fetch;
  const spying: typeof fetch = async (input, init) => {
    const header = new Headers(init?.headers).get('x-haca-voucher');
    if (header !== null) vouchers.push(VOUCHER.decode(fromBase64url(header)));
    return honest(input, init);
  };
  node.lies.refuse = () => ({ status, code });
  node.lies.lane = (state) => {
    const last = vouchers.at(-1);
    if (last === undefined || code === 'E_LANE_BUSY') return state;
    return { charged: `${last.value.cumulative}`, reserved: '0', voucher: base64url(last.bytes) };
  };
  const haca = await openTestClient({ ...node, fetch: spying }, { policy });
  return { haca, vouchers };
}

for (const [code, status] of [
  ['E_VOUCHER', 402],
  ['E_RESERVE', 402],
  ['E_IDEMPOTENCY', 409],
  ['E_LANE_BUSY', 409],
  ['E_INSUFFICIENT', 402],
  ['E_SESSION', 402],
] as const) {
  test(`a node that refuses with ${code} and keeps the vouchers gets no more than the policy's reserve`, async () => {
    const first = await collector(code, status, {});
    await first.haca.chat({ prompt: 'hi' }).catch(() => undefined);
    const reserve = first.vouchers[0]?.value.cumulative as bigint;
    assert.ok(authorised(first.vouchers) <= 2n * reserve, `${authorised(first.vouchers)} for ${reserve}`);

    const limited = await collector(code, status, { maxReserve: reserve });
    await limited.haca.chat({ prompt: 'hi' }).catch(() => undefined);
    assert.equal(authorised(limited.vouchers), reserve);
  });
}

test('a price list that the operator did not sign moves no money', async () => {
  const stranger = ed25519SignerFromSeed(new Uint8Array(32).fill(66));
  const node: FakeNode = startFakeNetwork();
  node.lies.info = (info) => {
    const [model] = info['models'] as [Record<string, unknown>];
    const dear = { ...node.offer.value, outputPrice: credit(1n << 50n) };
    return { ...info, models: [{ ...model, offer: base64url(OFFER.sign(dear, stranger.sign).bytes) }] };
  };
  const haca = await openTestClient(node);
  await assert.rejects(haca.chat({ prompt: 'hi' }), VerificationError);
  assert.equal(node.chain.txs.length, 0);
  assert.equal(node.requests(), 0);
});

test('a price that no caller agreed to moves no money: without a limit the allocation is one', async () => {
  const node = startFakeNetwork();
  const haca = await openTestClient(node);
  await assert.rejects(haca.chat({ prompt: 'hi', maxOutputTokens: 100_000_000 }), { code: 'E_PRICE' });
  assert.equal(node.chain.txs.length, 0);
});

test('a full node that stops showing new blocks is found out before anything is paid', async () => {
  const node = startFakeNetwork();
  let nowMs = node.chain.timeMs();
  const haca = await openTestClient({ ...node, chain: { ...node.chain, timeMs: () => nowMs } });
  nowMs += 3_600_000;
  await assert.rejects(haca.chat({ prompt: 'hi' }), VerificationError);
  assert.equal(node.requests(), 0);
  assert.equal(node.chain.txs.length, 0);
});

test('a thousand cheap models under the same name do not hide the one registered first', async () => {
  const node = startFakeNetwork();
  const info = (await (await node.fetch(`${node.url}/v1/haca`)).json()) as { models: [{ manifest: string }] };
  const manifest = decodeModelManifest(fromBase64url(info.models[0].manifest));
  const crowd = Array.from({ length: 1_200 }, (_, i) => ({ ...manifest, license: `copy ${i}` }));
  node.chain.change(
    crowd.map((copy) => [
      recordKey.model(modelIdOf(copy)),
      encode(modelRecordCodec, { manifest: copy, registrant: node.nodeId, height: 5 }),
    ]),
  );
  const haca = await openTestClient(node);
  assert.equal((await haca.models()).length, 1_201);
  assert.deepEqual((await haca.directory.resolveModel(MODEL_NAME)).modelId, node.modelId);
});
