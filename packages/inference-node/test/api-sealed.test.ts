/** Sealed requests from outside: what goes over the wire, what is under the receipt, and what can't be opened. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fromBase64url, nodeCrypto } from '@haca/platform';
import {
  type RequestPlace,
  SEALED_HEADER,
  SEALED_OVERHEAD_BYTES,
  SEALED_TYPE,
  type SealedRequest,
  sealRequest,
} from '@haca/platform/sealing';
import { toHex } from '@haca/primitives';
import {
  decodeZkResponse,
  RECEIPT,
  requestHashOf,
  responseHashOf,
  streamNext,
  streamStart,
} from '@haca/protocol';
import { CHAIN_ID } from './fake-chain.ts';
import { hello, startTestNode, type TestNode } from './test-node.ts';
import { type Payer, parseStream, receiptOf } from './test-payer.ts';
import { openZkPayer, zkEngine } from './zk-payer.ts';

let node: TestNode;
let payer: Payer;

before(async () => {
  node = await startTestNode();
  payer = await node.payer('sealed');
});
after(() => node.close());

const PATH = '/v1/chat/completions';
const bytesOf = (chat: object) => new Uint8Array(Buffer.from(JSON.stringify(chat)));
const keyOf = ({ chain, info }: TestNode): Uint8Array =>
  chain.nodeKeys.get(toHex(info.keyId))?.binding.hpkePublicKey as Uint8Array;

function seal(
  body: Uint8Array,
  voucher: string | null,
  { of = node, place = {} }: { readonly of?: TestNode; readonly place?: Partial<RequestPlace> } = {},
): Promise<SealedRequest> {
  const subject = { chainId: CHAIN_ID, keyId: of.info.keyId };
  return sealRequest(keyOf(of), subject, { path: PATH, voucher, idempotencyKey: null, ...place }, body);
}

function send(
  bytes: Uint8Array,
  voucher: string | null,
  { of = node, path = PATH }: { readonly of?: TestNode; readonly path?: string } = {},
): Promise<Response> {
  return fetch(`${of.url}${path}`, {
    method: 'POST',
    body: bytes as Uint8Array<ArrayBuffer>,
    headers: { 'content-type': SEALED_TYPE, ...(voucher === null ? {} : { 'x-haca-voucher': voucher }) },
  });
}

async function openWhole(sealed: SealedRequest, response: Response): Promise<Uint8Array> {
  assert.equal(response.headers.get('content-type'), SEALED_TYPE);
  const nonce = fromBase64url(response.headers.get(SEALED_HEADER) ?? '');
  const frames = await sealed.openAnswer(nonce, response.status, 'body');
  const { bytes, isLast } = await frames.open(new Uint8Array(await response.arrayBuffer()));
  assert.ok(isLast);
  return bytes;
}

const codeOf = (bytes: Uint8Array): string =>
  (JSON.parse(Buffer.from(bytes).toString()) as { error: { code: string } }).error.code;

/** Nothing was charged: the lane is where it was, so a voucher from there is taken. */
async function assertLaneUntouched(lane: number): Promise<void> {
  assert.equal((await payer.post(hello(), lane)).status, 200);
}

test('HTTP-102 HTTP-105 a whole answer comes back sealed, and the receipt is over what is inside', async () => {
  const body = bytesOf(hello('words 4'));
  const voucher = payer.voucher(body, 1);
  const sealed = await seal(body, voucher);
  assert.equal(sealed.bytes.length, body.length + SEALED_OVERHEAD_BYTES);
  const response = await send(sealed.bytes, voucher);
  assert.equal(response.status, 200);
  const raw = new Uint8Array(await response.clone().arrayBuffer());
  assert.ok(!Buffer.from(raw).includes('word0'));
  const answer = await openWhole(sealed, response);
  assert.match(Buffer.from(answer).toString(), /word0 word1 word2 word3/);
  const receipt = receiptOf(response);
  assert.ok(receipt !== undefined && RECEIPT.verify(nodeCrypto, receipt, node.info.publicKey));
  assert.deepEqual(receipt.value.requestHash, requestHashOf(body));
  assert.deepEqual(receipt.value.responseHash, responseHashOf(answer));
  assert.match(response.headers.get('access-control-expose-headers') ?? '', /x-haca-sealed/);
});

test('HTTP-104 HTTP-105 each event of a sealed stream opens in its place, down to its last frame', async () => {
  const chat = hello('words 150', { stream: true, max_tokens: 200 });
  const body = bytesOf(chat);
  const voucher = payer.voucher(body, 2);
  const sealed = await seal(body, voucher);
  const response = await send(sealed.bytes, voucher);
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  const nonce = fromBase64url(response.headers.get(SEALED_HEADER) ?? '');
  const wire = await response.text();
  const blocks = wire.split(/(?<=\n\n)/);
  assert.ok(blocks.every((block) => /^data: [A-Za-z0-9_-]+\n\n$/.test(block)));
  const frames = await sealed.openAnswer(nonce, 200, 'stream');
  let text = '';
  for (const [i, block] of blocks.entries()) {
    const { bytes, isLast } = await frames.open(fromBase64url(block.slice(6, -2)));
    assert.equal(isLast, i === blocks.length - 1);
    text += Buffer.from(bytes).toString();
  }
  const { events, receipt, checkpoints } = parseStream(text);
  assert.equal(events.at(-1), 'data: [DONE]\n\n');
  assert.ok(checkpoints.length > 0);
  const head = events.reduce(
    (hash, event) => streamNext(hash, Buffer.from(event)),
    streamStart(requestHashOf(body)),
  );
  assert.deepEqual(receipt?.value.responseHash, new Uint8Array(head));
});

test('HTTP-104 what is refused after opening is told to the client alone', async () => {
  const failing = bytesOf(hello('fail 400 for a secret reason'));
  const voucher = payer.voucher(failing, 3);
  const sealed = await seal(failing, voucher);
  const response = await send(sealed.bytes, voucher);
  assert.ok(response.status >= 400);
  assert.ok(codeOf(await openWhole(sealed, response)).startsWith('E_'));
  const unpaid = await seal(failing, null);
  const asked = await send(unpaid.bytes, null);
  assert.equal(asked.status, 402);
  assert.equal(codeOf(await openWhole(unpaid, asked)), 'E_VOUCHER_REQUIRED');
  const noRequest = await seal(bytesOf({ model: 'a secret model' }), null);
  const refused = await send(noRequest.bytes, null);
  assert.equal(refused.status, 400);
  assert.equal(codeOf(await openWhole(noRequest, refused)), 'E_REQUEST');
});

test('HTTP-103 what can not be opened is E_SEALED, costs nothing and runs nothing', async () => {
  const body = bytesOf(hello());
  const voucher = payer.voucher(body, 4);
  const { bytes } = await seal(body, voucher);
  const before = node.upstream.count();
  const flip = (at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
  const positions = [0, 31, 32, 63, 64, 65, bytes.length >> 1, bytes.length - 17, bytes.length - 1];
  const broken = [
    ...positions.map(flip),
    new Uint8Array(0),
    bytes.slice(0, 79),
    bytes.slice(0, -1),
    new Uint8Array([...bytes, 0]),
    body,
  ];
  for (const each of broken) {
    const response = await send(each, voucher);
    assert.equal(response.status, 400);
    assert.equal(response.headers.get(SEALED_HEADER), null);
    assert.equal(response.headers.get('x-should-retry'), 'false');
    assert.equal(codeOf(new Uint8Array(await response.arrayBuffer())), 'E_SEALED');
  }
  assert.equal(node.upstream.count(), before);
  await assertLaneUntouched(4);
});

test('HTTP-101 a sealed body moved to another path, voucher or idempotency key does not open', async () => {
  const body = bytesOf(hello());
  const voucher = payer.voucher(body, 5);
  const { bytes } = await seal(body, voucher);
  const moved = [
    send(bytes, voucher, { path: '/v1/zk/inferences' }),
    send(bytes, payer.voucher(body, 6)),
    send(bytes, null),
    fetch(`${node.url}${PATH}`, {
      method: 'POST',
      body: bytes as Uint8Array<ArrayBuffer>,
      headers: { 'content-type': SEALED_TYPE, 'x-haca-voucher': voucher, 'x-haca-idempotency-key': 'mine' },
    }),
  ];
  for (const response of await Promise.all(moved)) {
    assert.equal(codeOf(new Uint8Array(await response.arrayBuffer())), 'E_SEALED');
  }
  await assertLaneUntouched(5);
});

test('HTTP-106 the same sealed bytes again are the same request: one execution, and no key is used twice', async () => {
  for (const stream of [false, true]) {
    const body = bytesOf(hello('words 2', { stream }));
    const lane = stream ? 8 : 7;
    const voucher = payer.voucher(body, lane);
    const sealed = await seal(body, voucher);
    const before = node.upstream.count();
    const first = await send(sealed.bytes, voucher);
    const wire = await first.text();
    const second = await send(sealed.bytes, voucher);
    const again = await second.text();
    assert.equal(second.headers.get('x-haca-replayed'), 'true');
    assert.equal(node.upstream.count(), before + 1);
    assert.notEqual(first.headers.get(SEALED_HEADER), second.headers.get(SEALED_HEADER));
    assert.notEqual(wire, again);
    assert.equal(second.headers.get('x-haca-receipt-id'), first.headers.get('x-haca-receipt-id'));
  }
});

test('HTTP-101 a request for the proved path is sealed the same way', async (t) => {
  const proving = await startTestNode({ engines: [zkEngine()] });
  t.after(() => proving.close());
  const zk = await openZkPayer(proving, await proving.payer('alice'));
  const body = zk.request(3);
  const voucher = zk.voucher(body);
  const path = '/v1/zk/inferences';
  const sealed = await seal(body, voucher, { of: proving, place: { path } });
  const response = await send(sealed.bytes, voucher, { of: proving, path });
  assert.equal(response.status, 200);
  assert.equal(decodeZkResponse(await openWhole(sealed, response)).tensors.length, 1);
});

test('HTTP-103 HTTP-43 a request that an earlier process answered is not run again, though nobody can open it', async (t) => {
  const own = await startTestNode();
  const body = bytesOf(hello());
  const alice = await own.payer('alice');
  const voucher = alice.voucher(body);
  const sealed = await seal(body, voucher, { of: own });
  const first = await send(sealed.bytes, voucher, { of: own });
  assert.equal(first.status, 200);
  await first.arrayBuffer();
  const next = await own.restart(true);
  t.after(() => next.close());
  const again = await send(sealed.bytes, voucher, { of: next });
  assert.equal(again.status, 409);
  const refusal = (await again.json()) as { error: { code: string }; haca: { receiptId: string } };
  assert.equal(refusal.error.code, 'E_IDEMPOTENCY');
  assert.equal(refusal.haca.receiptId, first.headers.get('x-haca-receipt-id'));
  const other = await send(sealed.bytes, alice.voucher(body, 1), { of: next });
  assert.equal(
    codeOf(new Uint8Array(await other.arrayBuffer())),
    'E_UNAVAILABLE',
    'not charged, and never will be',
  );
  const unknown = await send(new Uint8Array(100), null, { of: next });
  assert.equal(codeOf(new Uint8Array(await unknown.arrayBuffer())), 'E_SEALED');
});

test('HTTP-100 each process has a sealing key of its own, in the record of its key, and none of an earlier one', async (t) => {
  const own = await startTestNode();
  const key = keyOf(own);
  assert.equal(key.length, 32);
  const body = bytesOf(hello());
  const toOld = await seal(body, null, { of: own });
  const next = await own.restart(true);
  t.after(() => next.close());
  assert.notDeepEqual(keyOf(next), key);
  const response = await send(toOld.bytes, null, { of: next });
  assert.equal(codeOf(new Uint8Array(await response.arrayBuffer())), 'E_UNAVAILABLE');
  const toNew = await seal(body, null, { of: next });
  const asked = await send(toNew.bytes, null, { of: next });
  assert.equal(codeOf(await openWhole(toNew, asked)), 'E_VOUCHER_REQUIRED');
});
