/** Proved inference against real processes: many at once, a node that dies between settling and proving, and one that never proves. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { decode, toHex } from '@haca/primitives';
import {
  allocationRecordCodec,
  decodeBundle,
  encodeBundle,
  nodeKeyRecordCodec,
  nopg,
  recordKey,
  totalsRecordCodec,
} from '@haca/protocol';
import {
  type Answer,
  connectNode,
  type Haca,
  NodeError,
  nodePlatform,
  readWalletFile,
  submitOps,
  TimeoutError,
  UnprovedError,
  VerificationError,
  verifyBundle,
} from '@haca/sdk/node';
import { type Service, startTestNetwork, type TestNetwork } from './network.ts';

const DIGITS = resolve(import.meta.dirname, '../models/digits');
const PRICE = 20_000n;
const PROVE_WINDOW = 40;
/** States that a full node can prove records of. */
const STATES_KEPT = 256;

let network: TestNetwork;
let node: Service;
let client: Haca;

before(async () => {
  network = await startTestNetwork({
    nodes: 1,
    params: {
      ...{ settleWindow: 100, proveWindow: PROVE_WINDOW, challengeWindow: 5, redeemWindow: 20, headLag: 60 },
      ...{ requestDuration: 20, withdrawDelay: 400, keyTtl: 100_000, keyDrain: 400 },
      ...{ evidenceWindow: 50_000, unbondingTime: 100_000 },
    },
    nodeConfig: {
      attester: { kind: 'none' },
      engines: [{ kind: 'zk', file: join(DIGITS, 'digits.hzk'), price: `${PRICE}` }],
    },
  });
  node = network.nodes[0] as Service;
  client = await network.openClient();
});

after(() => network.close());

const samples = readFileSync(join(DIGITS, 'samples.bin'));
function digit(index: number): { readonly label: number; readonly pixels: Uint8Array } {
  const at = 4 + 785 * (index % 400);
  return { label: samples[at] as number, pixels: new Uint8Array(samples.subarray(at + 1, at + 785)) };
}

function classOf(scores: ArrayLike<number>): number {
  return Array.from(scores).indexOf(Math.max(...Array.from(scores)));
}

const classify = (index: number) => client.infer({ model: 'digits', tensors: [digit(index).pixels] });

async function paidToNode({ receipt }: Answer): Promise<bigint> {
  await client.chain.sync();
  const { channelId, nodeId } = receipt.value;
  const { value } = await client.chain.record(recordKey.allocation(channelId, nodeId));
  return value === null ? 0n : decode(allocationRecordCodec, value, 'allocation').paid;
}

async function burnedSlash(): Promise<bigint> {
  await client.chain.sync();
  const { value } = await client.chain.record(recordKey.totals());
  return decode(totalsRecordCodec, value as Uint8Array, 'totals').burnedSlash;
}

async function invariants(): Promise<void> {
  const { value } = await client.chain.rpc.query('/invariants', new Uint8Array(0));
  const report = JSON.parse(new TextDecoder().decode(value)) as { enabled: boolean; ok: boolean };
  assert.deepEqual([report.enabled, report.ok], [true, true]);
}

test('many at once: answered at once, proved together, paid once they are proved', async () => {
  const results = await Promise.all(Array.from({ length: 12 }, (_, i) => classify(i)));
  const right = results.filter(({ outputs }, i) => classOf(outputs[0] ?? []) === digit(i).label);
  assert.ok(right.length >= 10, `${right.length} of 12 digits read`);
  for (const { answer } of results) {
    assert.ok(answer.verdict.ok);
    assert.equal(answer.assurance, 'signed');
    assert.equal(answer.receipt.value.amount, PRICE);
  }
  const lifecycles = await Promise.all(results.map(({ answer }) => answer.until('final')));
  assert.ok(lifecycles.every(({ verdict, proof }) => verdict.ok && proof?.verdict.ok === true));
  assert.ok(results.every(({ answer }) => answer.assurance === 'zk'));
  const claims = new Set(
    results.map(({ answer }) => toHex(answer.proof?.claim.claim.receiptsRoot ?? new Uint8Array())),
  );
  assert.ok(claims.size < results.length, `${claims.size} claims`);
  const [first] = results;
  assert.ok(first !== undefined);
  assert.equal(await paidToNode(first.answer), 12n * PRICE);
  await invariants();
});

test('a bundle of a proved answer verifies offline as zk; with another byte of proof, salt or claim it does not', async () => {
  const { answer } = await classify(20);
  await answer.until('final');
  const bytes = await answer.bundle();
  const context = { crypto: nodePlatform.crypto, trust: { genesis: network.genesis }, nowMs: Date.now() };
  const checked = verifyBundle(bytes, { ...context, policy: { minAssurance: 'zk' } });
  assert.deepEqual([checked.verdict.ok, checked.assurance], [true, 'zk']);
  const bundle = decodeBundle(bytes);
  assert.ok(bundle.zk !== undefined);
  for (const share of [0.02, 0.3, 0.6, 0.95]) {
    const transaction = bundle.zk.transaction.slice();
    const at = Math.floor(share * transaction.length);
    transaction[at] = (transaction[at] as number) ^ 1;
    const changed = encodeBundle({ ...bundle, zk: { ...bundle.zk, transaction } });
    const { verdict, assurance } = verifyBundle(changed, context);
    assert.deepEqual([verdict.ok, assurance], [false, 'signed'], `byte ${at}`);
  }
  const { zk: _, ...without } = bundle;
  assert.equal(verifyBundle(encodeBundle(without), context).assurance, 'signed');
  const other = encodeBundle({ ...bundle, zk: { ...bundle.zk, claim: bundle.zk.verifyingKey } });
  assert.throws(() => verifyBundle(other, context));
});

test('an answer that breaks off, before or after its head, is one request and one charge when it is asked for again', async () => {
  let fault: 'before' | 'after' | null = null;
  const flaky: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (fault === null || init?.method !== 'POST') return response;
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (fault === 'before') throw new TypeError('fetch failed');
    const half = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(bytes.slice(0, bytes.length / 2));
        controller.error(new TypeError('terminated'));
      },
    });
    return new Response(half, response);
  };
  const haca = await network.openClient({ fetch: flaky });
  const ask = () => haca.infer({ model: 'digits', tensors: [digit(3).pixels] });
  const requests = new Set<string>();
  let charged = 0n;
  for (const [where, code] of [
    ['before', 'E_UNREACHABLE'],
    ['after', 'E_INTERRUPTED'],
    [null, null],
  ] as const) {
    fault = where;
    if (code !== null) await assert.rejects(ask(), { name: 'NodeError', code });
    fault = null;
    const { answer } = await ask();
    charged += PRICE;
    const { lane, cumulative } = answer.receipt.value;
    assert.deepEqual([lane, cumulative], [0, charged]);
    requests.add(toHex(answer.request));
  }
  assert.equal(requests.size, 3, 'what was answered and is asked again is a request of its own');
});

test('what is no input of the model is an error without receipt or charge', async () => {
  const before = (await connectNode(String(node.ready()['url']), fetch).info()).height;
  await assert.rejects(client.infer({ model: 'digits', tensors: [new Uint8Array(783)] }));
  await assert.rejects(client.infer({ model: 'digits', tensors: [] }));
  await assert.rejects(client.infer({ model: 'no such', tensors: [] }), NodeError);
  const url = `${String(node.ready()['url'])}/v1/zk/inferences`;
  for (const [type, body] of [
    ['application/json', '{}'],
    ['application/cbor', 'not canonical'],
  ] as const) {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': type }, body });
    assert.equal(response.status, 400);
    assert.equal(response.headers.get('x-haca-receipt'), null);
  }
  assert.ok(before > 0);
});

/** A client whose node's answers are changed on the way. */
async function lying(change: (path: string, body: Buffer) => Buffer): Promise<Haca> {
  const changed: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const body = change(new URL(String(input)).pathname, Buffer.from(await response.arrayBuffer()));
    const headers = new Headers(response.headers);
    headers.delete('content-length');
    return new Response(new Uint8Array(body), { status: response.status, headers });
  };
  return network.openClient({ fetch: changed });
}

const statusLie =
  (change: (status: Record<string, unknown>) => object) =>
  (path: string, body: Buffer): Buffer => {
    if (!path.startsWith('/v1/receipts/') || path.endsWith('/proof')) return body;
    const status = JSON.parse(body.toString()) as Record<string, unknown>;
    return Buffer.from(JSON.stringify({ ...status, ...change(status) }));
  };

test('a node that changes scores, claims a proof that is none, or says unpaid, is not believed', async () => {
  const scores = await lying((path, body) => {
    if (path === '/v1/zk/inferences' && body.length > 40) body[body.length - 1] = (body.at(-1) ?? 0) ^ 1;
    return body;
  });
  await assert.rejects(scores.infer({ model: 'digits', tensors: [digit(1).pixels] }), VerificationError);

  // The settlement itself is passed off as the proof.
  const proof = await lying(
    statusLie((status) => {
      const claim = status['claim'] as Record<string, unknown> | null;
      if (claim === null) return {};
      const proofTxHash = status['txHash'];
      return { state: 'verified', claim: { ...claim, endedAt: status['height'], proofTxHash } };
    }),
  );
  const { answer } = await proof.infer({ model: 'digits', tensors: [digit(2).pixels] });
  await assert.rejects(answer.until('verified'), (error: Error) => {
    assert.ok(error instanceof VerificationError);
    return error.verdict.checks.some(({ id, status }) => id === 'zk.transaction' && status === 'failed');
  });
  assert.equal(answer.assurance, 'signed');

  const claims = await lying(
    statusLie((status) => {
      const claim = status['claim'] as Record<string, unknown> | null;
      return claim === null ? {} : { claim: { ...claim, claimId: 'ab'.repeat(32) } };
    }),
  );
  const other = await claims.infer({ model: 'digits', tensors: [digit(3).pixels] });
  await assert.rejects(other.answer.until('verified'), VerificationError);

  const unpaid = await lying(statusLie(() => ({ state: 'unpaid' })));
  const kept = await unpaid.infer({ model: 'digits', tensors: [digit(4).pixels] });
  await assert.rejects(kept.answer.until('verified', { timeoutMs: 2_000 }), TimeoutError);
});

test('killed between settling and proving, the next process proves from the log', async () => {
  let hits = 0;
  for (let round = 0; round < 8 && hits === 0; round++) {
    const results = await Promise.all(Array.from({ length: 16 }, (_, i) => classify(40 + 16 * round + i)));
    const [first] = results;
    assert.ok(first !== undefined);
    const api = connectNode(String(node.ready()['url']), fetch);
    for (;;) {
      const { state } = await api.receipt(first.answer.id);
      if (state === 'executed') continue;
      await node.kill();
      if (state === 'settled' || state === 'proving') hits++;
      break;
    }
    await node.start();
    const lifecycles = await Promise.all(results.map(({ answer }) => answer.until('final')));
    assert.ok(lifecycles.every(({ verdict, proof }) => verdict.ok && proof?.verdict.ok === true));
  }
  assert.ok(hits > 0, 'no kill between settling and proving');
  await invariants();
});

test('where a full node has forgotten the state of the claim, the block that settled it will do', async () => {
  const { answer } = await classify(200);
  const api = connectNode(String(node.ready()['url']), fetch);
  while ((await api.receipt(answer.id)).state !== 'final')
    await new Promise((settle) => setTimeout(settle, 20));
  const { height } = await client.chain.sync();
  await makeBlocks(height + STATES_KEPT);
  await answer.until('final');
  assert.equal(answer.assurance, 'zk');
  assert.equal(answer.proof?.claim.record, null);
  const context = { crypto: nodePlatform.crypto, trust: { genesis: network.genesis }, nowMs: Date.now() };
  assert.equal(verifyBundle(await answer.bundle(), context).assurance, 'signed');
});

test('without a proof the claim expires: nothing is paid, bond is burned, and the node goes on', async () => {
  const { answer } = await classify(300);
  const paidBefore = await paidToNode(answer);
  const slashedBefore = await burnedSlash();
  const api = connectNode(String(node.ready()['url']), fetch);
  let settledAt: number | null = null;
  while (settledAt === null) settledAt = (await api.receipt(answer.id)).height;
  await node.kill();
  await makeBlocks(settledAt + PROVE_WINDOW + 4);
  const { value } = await client.chain.record(recordKey.nodeKey(answer.receipt.value.keyId));
  const key = decode(nodeKeyRecordCodec, value as Uint8Array, 'key');
  const { seq } = answer.receipt.value;
  assert.ok(key.unpaidRanges.some(({ first, last }) => first <= seq && seq <= last));
  assert.ok((await burnedSlash()) - slashedBefore >= 10_000_000_000n, 'bond is burned');
  await node.start();
  await assert.rejects(answer.until('final'), (error: Error) => {
    assert.ok(error instanceof UnprovedError);
    assert.equal(error.refund, PRICE);
    return true;
  });
  assert.equal(answer.assurance, 'signed');
  assert.equal(await paidToNode(answer), paidBefore, 'nothing was paid');
  const next = await classify(301);
  await next.answer.until('final');
  assert.equal(next.answer.assurance, 'zk');
  assert.equal(await paidToNode(next.answer), paidBefore + PRICE);
  await invariants();
});

/** Blocks come with transactions. */
async function makeBlocks(height: number): Promise<void> {
  const { signer, accountId } = readWalletFile(join(network.home, 'faucet.json'));
  const { rpc, chainId } = client.chain;
  for (;;) {
    const { height: now } = await client.chain.sync();
    if (now >= height) return;
    await submitOps({
      rpc,
      chainId,
      signer,
      ops: [{ kind: 'transfer-opg', to: accountId, amount: nopg(1n) }],
    });
  }
}
