/** Vouchers against the HTTP API: every way not to pay, and what is promised when many ask at once. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { domainHash, utf8Encode } from '@haca/primitives';
import { chargeFor, credit, RECEIPT, type Voucher } from '@haca/protocol';
import { hello, startTestNode, type TestNode, until } from './test-node.ts';
import { type Payer, parseStream, receiptOf } from './test-payer.ts';

let node: TestNode;

before(async () => {
  node = await startTestNode();
});
after(() => node.close());

const CHAT = hello('words 3');
const BODY = new Uint8Array(Buffer.from(JSON.stringify(CHAT)));

interface Refusal {
  readonly status: number;
  readonly code: string;
}

async function send(voucher: string | null, body: Uint8Array = BODY, more: object = {}): Promise<Response> {
  const headers: Record<string, string> = { 'content-type': 'application/json', ...more };
  if (voucher !== null) headers['x-haca-voucher'] = voucher;
  return fetch(`${node.url}/v1/chat/completions`, { method: 'POST', headers, body: new Uint8Array(body) });
}

async function refusalOf(response: Response): Promise<Refusal> {
  const { error } = (await response.json()) as { error: { code: string; message: string; type: string } };
  assert.equal(typeof error.message, 'string');
  return { status: response.status, code: error.code };
}

/** Attack 6: each signed field bound to something else. */
test('HTTP-30 HTTP-31 HTTP-34 a voucher that says anything else than this request, key, lane and chain is refused by name', async () => {
  const payer = await node.payer('fields');
  const other = domainHash('haca/test/1', utf8Encode('other'));
  const right = payer.reserve(BODY);
  const cases: readonly (readonly [Partial<Voucher>, number, string])[] = [
    [{ chainId: 'haca-other-1' }, 402, 'E_CHAIN'],
    [{ channelId: other }, 402, 'E_CHANNEL'],
    [{ keyId: other }, 402, 'E_VOUCHER'],
    [{ requestHash: other }, 402, 'E_REQUEST_HASH'],
    [{ cumulative: credit(right - 1n) }, 402, 'E_RESERVE'],
    [{ cumulative: credit(right + 1n) }, 402, 'E_RESERVE'],
    [{ session: 1 }, 402, 'E_SESSION'],
    [{ expiry: node.chain.height() + 2 * node.chain.params.withdrawDelay - 10 }, 402, 'E_VOUCHER'],
    [{ expiry: 1_000_001 }, 402, 'E_VOUCHER'],
  ];
  for (const [change, status, code] of cases) {
    const got = await refusalOf(await send(payer.voucher(BODY, 0, change)));
    assert.deepEqual(got, { status, code }, JSON.stringify(Object.keys(change)));
  }
  assert.equal((await payer.post(CHAT)).status, 200);
});

test('HTTP-30 HTTP-23 no voucher, no base64url, no CBOR, a bit of the signature flipped: nothing runs', async () => {
  const payer = await node.payer('garbage');
  const before = node.upstream.count();
  assert.deepEqual(await refusalOf(await send(null)), { status: 402, code: 'E_VOUCHER_REQUIRED' });
  const good = payer.voucher(BODY);
  const flipped = Buffer.from(good, 'base64url');
  flipped[flipped.length - 1] = (flipped.at(-1) as number) ^ 1;
  for (const bad of ['%%%', 'AAAA', `${good}=`, `${good}A`, `${good}AAAA`, flipped.toString('base64url')]) {
    assert.deepEqual(await refusalOf(await send(bad)), { status: 402, code: 'E_VOUCHER' }, bad.slice(-8));
  }
  assert.equal(node.upstream.count(), before);
});

/** Attack 2. */
test('HTTP-32 a thousand requests at once on one allocation never promise more than it holds', async () => {
  const lanes = 64;
  const body = new Uint8Array(Buffer.from(JSON.stringify(hello('words 1 wait 300'))));
  const probe = await node.payer('crowd-probe');
  const reserve = probe.reserve(body);
  const fits = 10n;
  const payer = await node.payer('crowd', reserve * fits + reserve / 2n);
  const responses = await Promise.all(
    Array.from({ length: 1_000 }, (_, i) =>
      send(payer.voucher(body, i % lanes), body).then(async (response) => {
        const receipt = receiptOf(response);
        return { status: response.status, code: receipt ? '' : (await refusalOf(response)).code, receipt };
      }),
    ),
  );
  const receipts = responses.flatMap(({ receipt }) => (receipt === undefined ? [] : [receipt]));
  const charged = new Map(receipts.map((receipt) => [receipt.value.lane, receipt.value.cumulative]));
  const total = [...charged.values()].reduce((sum, amount) => sum + amount, 0n);
  assert.ok(total <= reserve * fits + reserve / 2n, `${total}`);
  assert.ok(charged.size >= Number(fits), `only ${charged.size} lanes were served`);
  const executed = new Set(receipts.map(({ value }) => value.seq));
  for (const { value } of receipts) assert.ok(value.cumulative <= reserve);
  // One execution per lane: all else repeats its answer or is refused.
  assert.equal(executed.size, charged.size);
  for (const { status, code } of responses) {
    assert.ok(
      status === 200 || ['E_INSUFFICIENT', 'E_IDEMPOTENCY', 'E_RESERVE', 'E_LANE_BUSY'].includes(code),
      code,
    );
  }
});

/** Attack 3. */
test('HTTP-33 money that is being withdrawn backs nothing any more', async () => {
  const payer = await node.payer('withdraw');
  assert.equal((await payer.post(CHAT)).status, 200);
  node.chain.changeAllocation(payer.channelId, node.info.nodeId, { withdrawing: credit(1_000_000_000n) });
  await node.synced();
  assert.deepEqual(await refusalOf(await payer.post(CHAT)), { status: 402, code: 'E_INSUFFICIENT' });
});

test('HTTP-34 a revoked session is refused as soon as its block is final', async () => {
  const payer = await node.payer('revoke');
  assert.equal((await payer.post(CHAT)).status, 200);
  node.chain.revokeSession(payer.channelId);
  await node.synced();
  assert.deepEqual(await refusalOf(await payer.post(CHAT)), { status: 402, code: 'E_SESSION' });
});

test('HTTP-32 a channel without allocation here is told so, and served once it has one', async () => {
  const payer = await node.payer('unallocated', 0n);
  assert.deepEqual(await refusalOf(await payer.post(CHAT)), { status: 402, code: 'E_CHANNEL' });
  const again = await node.payer('unallocated');
  assert.equal((await again.post(CHAT)).status, 200);
});

test('HTTP-35 a lane that runs takes no second request; another lane does', async () => {
  const payer = await node.payer('busy');
  const slow = payer.post(hello('words 3 wait 60'), 0);
  await until(() => node.upstream.running() > 0);
  assert.deepEqual(await refusalOf(await payer.post(hello('another request on the lane'), 0)), {
    status: 409,
    code: 'E_LANE_BUSY',
  });
  assert.equal((await payer.post(CHAT, 1)).status, 200);
  assert.equal((await slow).status, 200);
});

/** Attack 37. */
test('HTTP-40 the same voucher and body again: the same bytes, one execution, one charge', async () => {
  const payer = await node.payer('again');
  const voucher = payer.voucher(BODY);
  const first = await send(voucher);
  const bytes = await first.text();
  const executions = node.upstream.count();
  const second = await send(voucher);
  assert.equal(await second.text(), bytes);
  assert.equal(second.headers.get('x-haca-receipt'), first.headers.get('x-haca-receipt'));
  assert.equal(node.upstream.count(), executions);
});

test('HTTP-40 the same voucher twice at once is one execution, and both get an answer or a name to wait by', async () => {
  const payer = await node.payer('twice');
  const body = new Uint8Array(Buffer.from(JSON.stringify(hello('words 3 wait 40'))));
  const voucher = payer.voucher(body);
  const executions = node.upstream.count();
  const responses = await Promise.all([send(voucher, body), send(voucher, body)]);
  for (const response of responses) {
    if (response.status === 200) continue;
    assert.deepEqual(await refusalOf(response), { status: 409, code: 'E_IDEMPOTENCY' });
  }
  assert.ok(responses.some(({ status }) => status === 200));
  assert.equal(node.upstream.count(), executions + 1);
});

test('HTTP-41 a used voucher amount with another request is a conflict, and nothing is applied', async () => {
  const payer = await node.payer('reused');
  const first = await send(payer.voucher(BODY));
  const receipt = receiptOf(first);
  assert.ok(receipt !== undefined);
  // Another body of the same length: the same reserve, so the same cumulative amount.
  const other = new Uint8Array(Buffer.from(JSON.stringify(hello('words 4'))));
  assert.deepEqual(await refusalOf(await send(payer.voucher(other), other)), {
    status: 409,
    code: 'E_IDEMPOTENCY',
  });
  payer.charged.set(0, receipt.value.cumulative);
  assert.equal((await payer.post(hello('words 4'))).status, 200);
});

/** Whoever saw a voucher on chain or at the lane endpoint and guesses the prompt must not get the answer. */
test('HTTP-42 an answer is repeated only to a voucher with a valid signature', async () => {
  const payer = await node.payer('forged');
  const voucher = payer.voucher(BODY);
  assert.equal((await send(voucher)).status, 200);
  const forged = Buffer.from(voucher, 'base64url');
  forged[forged.length - 3] = (forged.at(-3) as number) ^ 0x40;
  assert.deepEqual(await refusalOf(await send(forged.toString('base64url'))), {
    status: 402,
    code: 'E_VOUCHER',
  });
});

test('HTTP-54 an engine failure before the first byte costs nothing, and trying again is a new execution', async () => {
  const payer = await node.payer('free-failure');
  const failing = hello('fail 503');
  for (let i = 0; i < 2; i++) {
    const executions = node.upstream.count();
    const response = await payer.post(failing);
    assert.ok(response.status >= 500);
    assert.equal(receiptOf(response)?.value.amount, 0n);
    assert.equal(receiptOf(response)?.value.outcome, 'failed');
    assert.equal(node.upstream.count(), executions + 1);
  }
  assert.equal((await payer.post(CHAT)).status, 200);
});

test('HTTP-53 an engine that reports more than was reserved is not believed: price and usage still agree', async () => {
  const payer = await node.payer('over-report');
  const reserve = payer.reserve(
    new Uint8Array(Buffer.from(JSON.stringify(hello('words 3 usage 99999 99999')))),
  );
  const response = await payer.post(hello('words 3 usage 99999 99999'));
  const { value } = receiptOf(response) ?? {};
  assert.ok(value !== undefined);
  assert.ok(value.amount <= reserve);
  assert.equal(value.amount, chargeFor(node.info.offer, value.usage));
});

test('HTTP-63 a client that leaves in the middle pays for what was delivered, as aborted', async () => {
  const payer = await node.payer('leaver');
  const abort = new AbortController();
  const chat = hello('words 60 wait 10', { stream: true });
  const response = await payer.post(chat, 0, { signal: abort.signal });
  const id = String(response.headers.get('x-haca-receipt-id'));
  const reader = response.body?.getReader();
  for (let i = 0; i < 4; i++) await reader?.read();
  abort.abort();
  const found = await until(async () => {
    const answer = await fetch(`${node.url}/v1/receipts/${id}`);
    return answer.ok && ((await answer.json()) as { receipt: string });
  });
  const { value } = RECEIPT.decode(new Uint8Array(Buffer.from(found.receipt, 'base64url')));
  assert.equal(value.outcome, 'aborted');
  assert.ok(value.usage.outputTokens >= 1 && value.usage.outputTokens < 60, `${value.usage.outputTokens}`);
  await until(() => node.upstream.running() === 0);
});

test('HTTP-64 a stream that breaks inside the engine ends with an error event, is charged as delivered, and has a receipt', async () => {
  const payer = await node.payer('broken');
  const response = await payer.post(hello('words 9 break 3 wait 15', { stream: true }));
  const { events, receipt } = parseStream(await response.text());
  assert.match(String(events.at(-1)), /"error"/);
  assert.ok(!events.includes('data: [DONE]\n\n'));
  assert.equal(receipt?.value.outcome, 'failed');
  assert.ok((receipt?.value.usage.outputTokens ?? 99) <= 3);
});

test('HTTP-13 asking about lanes tells of lanes, and makes nothing up for keys and channels that are not', async () => {
  const payer: Payer = await node.payer('asked');
  await payer.post(CHAT, 7);
  const key = Buffer.from(node.info.keyId).toString('hex');
  const channel = Buffer.from(payer.channelId).toString('hex');
  const lane = (await (await fetch(`${node.url}/v1/lanes/${channel}/7?key=${key}`)).json()) as Lane;
  assert.equal(lane.charged, `${payer.charged.get(7)}`);
  assert.equal(lane.reserved, '0');
  for (const path of [
    `${channel}/64?key=${key}`,
    `${channel}/7?key=zz`,
    `abc/7?key=${key}`,
    `${channel}/-1?key=${key}`,
  ]) {
    const response = await fetch(`${node.url}/v1/lanes/${path}`);
    assert.deepEqual(await refusalOf(response), { status: 400, code: 'E_REQUEST' }, path);
  }
});

interface Lane {
  readonly charged: string;
  readonly reserved: string;
  readonly voucher: string | null;
}
