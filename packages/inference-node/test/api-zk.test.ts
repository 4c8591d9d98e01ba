/** Inference that is proved, from outside: real model, real proofs; what verifying them comes to is tested where both halves meet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesEqual } from '@haca/primitives';
import {
  decodeTransaction,
  decodeZkResponse,
  encodeZkRequest,
  RECEIPT,
  requestHashOf,
  responseHashOf,
} from '@haca/protocol';
import type { FakeChain } from './fake-chain.ts';
import { startTestNode, type TestNode, type TestNodeOptions, until } from './test-node.ts';
import { receiptOf } from './test-payer.ts';
import { digits, openZkPayer, PRICE, type ZkPayer, zkEngine } from './zk-payer.ts';

const PLENTY = 1_000_000_000n;

async function startZkNode(
  options: TestNodeOptions = {},
  engine: object = {},
): Promise<{ readonly node: TestNode; readonly payer: ZkPayer; readonly channelId: Uint8Array }> {
  const node = await startTestNode({ engines: [zkEngine(engine)], ...options });
  const base = await node.payer('alice', PLENTY);
  return { node, payer: await openZkPayer(node, base), channelId: base.channelId };
}

interface Status {
  readonly state: string;
  readonly height: number | null;
  readonly claim: {
    readonly claimId: string;
    readonly count: number;
    readonly proveMs: number | null;
  } | null;
}

async function statusOf({ url }: TestNode, id: string): Promise<Status> {
  return (await (await fetch(`${url}/v1/receipts/${id}`)).json()) as Status;
}

const reach = (node: TestNode, id: string, state: string): Promise<Status> =>
  until(async () => {
    const status = await statusOf(node, id);
    return status.state === state ? status : undefined;
  });

const idOf = (response: Response): string => response.headers.get('x-haca-receipt-id') ?? '';
const seqs = ({ proofs }: FakeChain): number[] =>
  proofs.flatMap(({ receipts }) => receipts.map((payload) => RECEIPT.hashOfPayload(payload).length));

test('HTTP-90 HTTP-91 HTTP-93 HTTP-98 canonical bytes in and out, one price, and a transaction that proves exactly them', async () => {
  const { node, payer } = await startZkNode();
  try {
    const body = payer.request(7);
    const response = await payer.post(body, { 'x-haca-voucher': payer.voucher(body) });
    assert.equal(response.status, 200, await response.clone().text());
    assert.equal(response.headers.get('content-type'), 'application/cbor');
    const answer = new Uint8Array(await response.arrayBuffer());
    assert.equal(decodeZkResponse(answer).tensors[0]?.length, 40);
    const receipt = receiptOf(response);
    assert.ok(receipt !== undefined);
    const { value } = receipt;
    assert.ok(bytesEqual(value.requestHash, requestHashOf(body)));
    assert.ok(bytesEqual(value.responseHash, responseHashOf(answer)));
    assert.deepEqual(
      [value.method, value.amount, value.usage, value.sampling, value.outcome],
      [
        'zk',
        PRICE,
        { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 },
        { maxOutputTokens: 0 },
        'completed',
      ],
    );
    const status = await reach(node, idOf(response), 'final');
    assert.ok((status.claim?.proveMs ?? 0) > 0);
    const proof = await fetch(`${node.url}/v1/receipts/${idOf(response)}/proof`);
    assert.equal(proof.headers.get('content-type'), 'application/cbor');
    const [op] = decodeTransaction(new Uint8Array(await proof.arrayBuffer())).body.ops;
    assert.ok(op?.kind === 'prove');
    assert.ok(bytesEqual(RECEIPT.hashOfPayload(op.receipts[0] as Uint8Array), receipt.hash));
    assert.equal((await fetch(`${node.url}/v1/receipts/nobody/proof`)).status, 404);
    const again = await payer.post(body, { 'x-haca-voucher': payer.voucher(body) });
    assert.deepEqual([again.status, again.headers.get('x-haca-replayed')], [200, 'true']);
    assert.match(await (await fetch(`${node.url}/metrics`)).text(), /haca_zk_verified_claims 1/);
  } finally {
    await node.close();
  }
});

test('HTTP-92 what can not be run is refused without a receipt, and nothing is charged', async () => {
  const { node, payer } = await startZkNode();
  try {
    const { modelId } = payer;
    const salt = new Uint8Array(32);
    const wrong: readonly (readonly [Uint8Array, number, string])[] = [
      [new Uint8Array(0), 400, 'E_REQUEST'],
      [new Uint8Array([0xff]), 400, 'E_REQUEST'],
      [Uint8Array.of(...payer.request(1), 0), 400, 'E_REQUEST'],
      [encodeZkRequest({ modelId, salt, tensors: [new Uint8Array(783)] }), 400, 'E_REQUEST'],
      [
        encodeZkRequest({ modelId, salt, tensors: [new Uint8Array(784), new Uint8Array(1)] }),
        400,
        'E_REQUEST',
      ],
      [encodeZkRequest({ modelId: salt, salt, tensors: [new Uint8Array(784)] }), 404, 'E_MODEL_UNKNOWN'],
    ];
    for (const [body, status, code] of wrong) {
      const response = await payer.post(body, { 'x-haca-voucher': payer.voucher(body) });
      const { error } = (await response.json()) as { error: { code: string } };
      assert.deepEqual([response.status, error.code], [status, code]);
      assert.equal(receiptOf(response), undefined);
    }
    const typed = await payer.post(payer.request(1), { 'content-type': 'application/json' });
    assert.equal(typed.status, 400);
    const unpaid = await payer.post(payer.request(1));
    const { haca } = (await unpaid.json()) as { haca: { reserve: string } };
    assert.deepEqual([unpaid.status, haca.reserve], [402, `${PRICE}`]);
    const other = await payer.post(payer.request(1), { 'x-haca-voucher': payer.voucher(payer.request(2)) });
    assert.equal(other.status, 402);
    const chat = await fetch(`${node.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: digits.name, messages: [{ role: 'user', content: 'hi' }] }),
    });
    assert.equal(chat.status, 404);
    assert.equal(receiptOf(await payer.infer(3))?.value.seq, 1, 'the first receipt of the key');
  } finally {
    await node.close();
  }
});

test('HTTP-94 HTTP-95 claims of what one proof holds, in order, each lane redeemed with its proof', async () => {
  const settlement = { batchMaxAgeMs: 60_000, batchMaxCount: 4 };
  const { node, payer, channelId } = await startZkNode({ settlement }, { batchMaxCount: 4 });
  try {
    const responses = [];
    for (let i = 0; i < 8; i++) responses.push(await payer.infer(i, i % 3));
    assert.ok(responses.every(({ status }) => status === 200));
    for (const response of responses) await reach(node, idOf(response), 'final');
    assert.deepEqual(
      node.chain.proofs.map(({ receipts }) => receipts.length),
      [4, 4],
    );
    const [first, second] = node.chain.proofs;
    assert.ok(first?.redeem != null && second?.redeem != null);
    assert.deepEqual([first.redeem.vouchers.length, second.redeem.vouchers.length], [3, 3]);
    const { keyId } = node.info;
    const paid = [0, 1, 2].map((lane) => node.chain.lane(keyId, channelId, lane));
    assert.deepEqual(paid, [3n * PRICE, 3n * PRICE, 2n * PRICE]);
    const settled = node.chain.statements.filter(({ batch }) => batch !== null);
    assert.ok(settled.every(({ charges }) => charges.length === 0));
  } finally {
    await node.close();
  }
});

test('HTTP-95 a lane that was not paid with its proof is redeemed later, with receipt proofs of both ends', async () => {
  const { node, payer, channelId } = await startZkNode();
  try {
    node.chain.refuseLines(true);
    const first = await payer.infer(1);
    await reach(node, idOf(first), 'final');
    assert.equal(node.chain.lane(node.info.keyId, channelId, 0), 0n);
    node.chain.refuseLines(false);
    const second = await payer.infer(2);
    await reach(node, idOf(second), 'final');
    await until(() => node.chain.lane(node.info.keyId, channelId, 0) >= 2n * PRICE);
    assert.ok(node.lines.some((line) => line.includes('was not paid: E_UNDERFUNDED')));
  } finally {
    await node.close();
  }
});

test('HTTP-93 HTTP-95 killed while a claim is open, the next process proves it from the log', async () => {
  const { node, payer, channelId } = await startZkNode();
  node.chain.refuseProofs('E_BUCKET');
  const response = await payer.infer(9, 5);
  await until(() => node.chain.claims.size === 1);
  await until(async () => (await statusOf(node, idOf(response))).state !== 'executed');
  const { keyId } = node.info;
  const next = await node.restart(true);
  try {
    assert.equal(next.chain.proofs.length, 0);
    next.chain.refuseProofs(null);
    await reach(next, idOf(response), 'final');
    assert.equal(next.chain.proofs.length, 1);
    assert.equal(next.chain.lane(keyId, channelId, 5), PRICE);
    assert.equal(seqs(next.chain).length, 1);
  } finally {
    await next.close();
  }
});

test('HTTP-97 a claim that ends without a proof is charged to nobody, also after a restart', async () => {
  const { node, payer } = await startZkNode({}, {});
  node.chain.refuseProofs('E_BUCKET');
  const response = await payer.infer(9);
  await until(() => node.chain.claims.size === 1);
  node.chain.expireClaims();
  await reach(node, idOf(response), 'unpaid');
  assert.equal((await fetch(`${node.url}/v1/receipts/${idOf(response)}/proof`)).status, 404);
  node.chain.refuseProofs(null);
  const next = await node.restart(true);
  try {
    assert.equal((await statusOf(next, idOf(response))).state, 'unpaid');
    const again = await openZkPayer(next, await next.payer('bob', PRICE));
    const paid = await again.infer(1);
    assert.equal(paid.status, 200, 'the whole allocation is there');
    await reach(next, idOf(paid), 'final');
  } finally {
    await next.close();
  }
});

test('HTTP-97 what is not charged any more can be spent again', async () => {
  const node = await startTestNode({ engines: [zkEngine()] });
  try {
    const base = await node.payer('carol', 2n * PRICE);
    const payer = await openZkPayer(node, base);
    node.chain.refuseProofs('E_BUCKET');
    const lost = await payer.infer(1);
    assert.equal((await payer.infer(2)).status, 200);
    assert.equal((await payer.infer(3)).status, 402, 'the allocation is used up');
    await until(() => node.chain.claims.size > 0);
    await until(async () => (await statusOf(node, idOf(lost))).state !== 'executed');
    node.chain.expireClaims();
    await reach(node, idOf(lost), 'unpaid');
    node.chain.refuseProofs(null);
    await until(async () => (await payer.infer(4)).status === 200);
  } finally {
    await node.close();
  }
});

test('HTTP-96 without money for proofs, or where the chain refused one, nothing is promised', async () => {
  const { node, payer } = await startZkNode();
  try {
    assert.equal((await payer.infer(1)).status, 200);
    node.chain.setBalance(1_000n);
    await until(() => node.chain.proofs.length === 1);
    const refused = await until(async () => {
      const response = await payer.infer(2);
      return response.status === 503 ? response : undefined;
    });
    const { error } = (await refused.json()) as { error: { code: string; message: string } };
    assert.equal(error.code, 'E_UNAVAILABLE');
    assert.match(error.message, /proofs need [0-9]+ nopg/);
    assert.equal(receiptOf(refused), undefined);
  } finally {
    await node.close();
  }
  const broken = await startZkNode();
  try {
    broken.node.chain.refuseProofs('E_PROOF');
    assert.equal((await broken.payer.infer(1)).status, 200);
    const refused = await until(async () => {
      const response = await broken.payer.infer(2);
      return response.status === 503 ? response : undefined;
    });
    assert.match(await refused.text(), /refused the proof/);
  } finally {
    await broken.node.close();
  }
});

test('HTTP-86 asked to stop, a node whose proofs are quick leaves no claim open and nothing unsettled', async () => {
  const { node, payer } = await startZkNode({ settlement: { batchMaxAgeMs: 400 } });
  await reach(node, idOf(await payer.infer(1)), 'final');
  const last = await payer.infer(2);
  assert.equal(last.status, 200);
  const next = await node.restart(false);
  try {
    assert.equal(next.chain.proofs.length, 2);
    assert.equal(next.chain.claims.size, 0);
    assert.ok(next.lines.every((line) => !line.includes('proving receipt')));
    assert.equal((await statusOf(next, idOf(last))).state, 'final');
  } finally {
    await next.close();
  }
});
