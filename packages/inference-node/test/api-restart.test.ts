/** What a stop, a crash and a stubborn chain leave: nothing that was charged is lost, nothing settled twice. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { listenOn } from '@haca/platform';
import { toHex, utf8Encode } from '@haca/primitives';
import { credit, type Statement } from '@haca/protocol';
import { hello, startTestNode, type TestNode, until } from './test-node.ts';
import { receiptOf } from './test-payer.ts';

const HOURS = 3_600_000;

/** Every receipt of a key once and in order, whatever statements it went in. */
function settledOf(statements: readonly Statement[], keyId: Uint8Array): number {
  let last = 0;
  for (const { keyId: of, batch } of statements) {
    if (batch === null || toHex(of) !== toHex(keyId)) continue;
    assert.equal(batch.firstSeq, last + 1);
    last += batch.count;
  }
  return last;
}

async function withNode(
  options: Parameters<typeof startTestNode>[0],
  use: (node: TestNode) => Promise<TestNode>,
): Promise<void> {
  const first = await startTestNode(options);
  let last = first;
  try {
    last = await use(first);
  } finally {
    await last.close();
  }
}

test('HTTP-86 a clean stop settles and redeems everything it accepted', async () => {
  await withNode({ settlement: { batchMaxAgeMs: HOURS } }, async (node) => {
    const payer = await node.payer('stop');
    for (let lane = 0; lane < 5; lane++) assert.equal((await payer.post(hello('words 2'), lane)).status, 200);
    assert.equal(node.chain.statements.length, 0);
    const { keyId } = node.info;
    const again = await node.restart(false);
    assert.equal(settledOf(node.chain.statements, keyId), 5);
    for (const [lane, charged] of payer.charged) {
      assert.equal(node.chain.lane(keyId, payer.channelId, lane), charged);
    }
    return again;
  });
});

async function codeOf(response: Response): Promise<string | undefined> {
  return ((await response.json()) as { error?: { code?: string } }).error?.code;
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listenOn(server, { host: '127.0.0.1', port: 0 });
  await new Promise((settle) => server.close(settle));
  return port;
}

test('HTTP-43 a node that has not read its log yet decides nothing: E_BUSY, to what was answered before too', async () => {
  await withNode({ port: await freePort() }, async (node) => {
    const payer = await node.payer('early');
    const voucher = payer.voucher(utf8Encode(JSON.stringify(hello())));
    const ask = () => payer.post(hello(), 0, { headers: { 'x-haca-voucher': voucher } });
    assert.equal((await ask()).status, 200);
    node.chain.halt(true);
    const restarting = node.restart(true);
    const early = await until(() => ask().catch(() => null));
    assert.deepEqual([early.status, await codeOf(early)], [503, 'E_BUSY']);
    node.chain.halt(false);
    const again = await restarting;
    const late = await ask();
    assert.deepEqual([late.status, await codeOf(late)], [409, 'E_IDEMPOTENCY']);
    return again;
  });
});

test('HTTP-84 after a hard stop the next process settles under the old key and signs under a new one', async () => {
  await withNode({ settlement: { batchMaxAgeMs: HOURS } }, async (node) => {
    const payer = await node.payer('crash');
    const ids: string[] = [];
    for (let lane = 0; lane < 4; lane++) {
      const response = await payer.post(hello('words 2'), lane);
      ids.push(String(response.headers.get('x-haca-receipt-id')));
    }
    const old = node.info.keyId;
    const again = await node.restart(true);
    assert.notEqual(toHex(again.info.keyId), toHex(old));
    // Known again at once, before anything is settled.
    for (const id of ids) assert.equal((await fetch(`${again.url}/v1/receipts/${id}`)).status, 200);
    const fresh = await again.payer('crash-2');
    const receipt = receiptOf(await fresh.post(hello()));
    assert.equal(receipt?.value.seq, 1);
    assert.equal(toHex(receipt.value.keyId), toHex(again.info.keyId));

    const last = await again.restart(false);
    assert.equal(settledOf(node.chain.statements, old), 4);
    for (const [lane, charged] of payer.charged) {
      assert.equal(node.chain.lane(old, payer.channelId, lane), charged);
    }
    return last;
  });
});

test('HTTP-84 what an earlier process was promised still counts against the allocation', async () => {
  await withNode({ settlement: { batchMaxAgeMs: HOURS } }, async (node) => {
    const chat = hello('words 60');
    const body = new Uint8Array(Buffer.from(JSON.stringify(chat)));
    const { reserve } = await node.payer('probe');
    // Enough for one request and what is left of it, not for two.
    const payer = await node.payer('memory', reserve(body) + reserve(body) / 4n);
    assert.equal((await payer.post(chat)).status, 200);
    node.chain.refuseSettlements('E_FEE');
    const again = await node.restart(true);
    const same = await again.payer('memory', 0n);
    const response = await same.post(chat);
    assert.equal(response.status, 402);
    const { error } = (await response.json()) as { error: { code: string } };
    assert.equal(error.code, 'E_INSUFFICIENT');
    node.chain.refuseSettlements(null);
    return again;
  });
});

test('HTTP-84 a channel whose money is gone keeps no node from starting', async () => {
  await withNode({ settlement: { batchMaxAgeMs: HOURS } }, async (node) => {
    const payer = await node.payer('gone');
    await payer.post(hello());
    node.chain.changeAllocation(payer.channelId, node.info.nodeId, { amount: credit(0n) });
    const again = await node.restart(true);
    const other = await again.payer('other');
    assert.equal((await other.post(hello())).status, 200);
    return again;
  });
});

test('HTTP-81 a settlement the chain refuses is tried again and goes through once it may, with nothing lost or doubled', async () => {
  await withNode({}, async (node) => {
    const payer = await node.payer('refused');
    node.chain.refuseSettlements('E_FEE');
    for (let i = 0; i < 3; i++) await payer.post(hello('words 1'));
    await until(() => node.lines.some((line) => /refused|trying|again/i.test(line)));
    await payer.post(hello('words 1'));
    assert.equal(node.chain.statements.length, 0);
    node.chain.refuseSettlements(null);
    await until(() => settledOf(node.chain.statements, node.info.keyId) === 4);
    await until(() => node.chain.lane(node.info.keyId, payer.channelId, 0) === payer.charged.get(0));
    return node;
  });
});

test('HTTP-82 a line the block does not pay is not sent again at once, over and over', async () => {
  await withNode({}, async (node) => {
    const payer = await node.payer('unpayable');
    node.chain.refuseLines(true);
    await payer.post(hello());
    await until(() => node.chain.statements.length > 0);
    await new Promise((settle) => setTimeout(settle, 600));
    // With each block, which is what "at once" means, it would be dozens.
    assert.ok(node.chain.statements.length <= 8, `${node.chain.statements.length} statements in 600 ms`);
    return node;
  });
});

test('HTTP-83 a withdrawal request makes the node redeem at once, however small the amount', async () => {
  const settlement = { redeemMinNcr: '1000000000', redeemMaxAgeMs: 10 * 60_000 };
  await withNode({ settlement }, async (node) => {
    const payer = await node.payer('urgent');
    await payer.post(hello());
    await until(() => node.chain.statements.length > 0);
    assert.equal(node.chain.lane(node.info.keyId, payer.channelId, 0), 0n);
    node.chain.changeAllocation(payer.channelId, node.info.nodeId, { withdrawing: credit(1_000n) });
    await until(() => node.chain.lane(node.info.keyId, payer.channelId, 0) === payer.charged.get(0));
    return node;
  });
});

test('HTTP-82 batches are full before they are old, and one statement follows the other', async () => {
  await withNode({ settlement: { batchMaxCount: 4, batchMaxAgeMs: 300 } }, async (node) => {
    const payer = await node.payer('batches');
    await Promise.all(Array.from({ length: 10 }, (_, lane) => payer.post(hello('words 1'), lane)));
    await until(() => settledOf(node.chain.statements, node.info.keyId) === 10);
    for (const { batch } of node.chain.statements) assert.ok((batch?.count ?? 0) <= 4);
    return node;
  });
});

test('HTTP-86 while the node stops, running answers end with a receipt and new ones are refused', async () => {
  await withNode({}, async (node) => {
    const payer = await node.payer('stopping');
    const streaming = payer.post(hello('words 20 wait 10', { stream: true }));
    await until(() => node.upstream.running() > 0);
    const stopped = node.restart(false);
    const text = await (await streaming).text();
    assert.match(text, /: haca-receipt /);
    return stopped;
  });
});
