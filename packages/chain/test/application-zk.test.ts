/** Method `zk` at the seam to consensus: who verifies a proof when, and what may be proposed. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { verifyStoreProof } from '@haca/light-client';
import { decode, sha256, toHex, utf8Encode } from '@haca/primitives';
import { codeNumber, decodeTransaction, type OpOf, recordKey, verifyingKeyRecordCodec } from '@haca/protocol';
import { eventTags } from '../src/application/event-tags.ts';
import type { ZkBackend } from '../src/application/zk-backend.ts';
import type { HacaApplication } from '../src/application.ts';
import { initChainRequest, requestOf } from './consensus-drivers.ts';
import { temporaryFolder, testApplication } from './engine-fixture.ts';
import { SHORT_PARAMS, testGenesis, type World } from './state-machine-world.ts';
import { DEADLY_PROOF, TEST_BACKEND, TEST_PROOF_SYSTEM } from './test-proof-system.ts';
import {
  batchOf,
  claimRow,
  type Exchange,
  laneLine,
  openedClaim,
  PATIENT,
  proveOp,
  ranges,
  registerZkOp,
  serveMany,
  voucherFor,
  type ZkMarket,
  zkMarket,
  zkModel,
} from './zk-world.ts';

const GENESIS = testGenesis({ ...SHORT_PARAMS, ...PATIENT });

/** The proof system, with what it is asked on the main thread counted. */
function countedBackend() {
  const here: string[] = [];
  const backend: ZkBackend = {
    module: TEST_BACKEND.module,
    system: {
      ...TEST_PROOF_SYSTEM,
      verifyProof: (check) => {
        here.push('proof');
        return TEST_PROOF_SYSTEM.verifyProof(check);
      },
      appraiseKey: (key) => {
        here.push('key');
        return TEST_PROOF_SYSTEM.appraiseKey(key);
      },
    },
  };
  return { here, backend };
}

/** A world, and an application that was driven through the same blocks. */
async function mirrored(t: TestContext, folder = temporaryFolder(t)) {
  const market = zkMarket({ genesis: GENESIS });
  const { here, backend } = countedBackend();
  const { application, store } = testApplication(t, { folder, over: { zk: backend } });
  t.after(() => application.close());
  application.initChain(initChainRequest({ genesis: GENESIS, genesisTimeMs: 1_700_000_000_000 }));
  let done = 0;
  const follow = async (): Promise<void> => {
    for (const input of market.world.inputs.slice(done)) {
      const { appHash } = await application.finalizeBlock(requestOf(input));
      await application.commit();
      assert.equal(appHash.length, 32);
      done++;
    }
    assert.equal(application.invariants().ok, true);
  };
  await follow();
  here.length = 0;
  return { ...market, application, store, folder, here, follow };
}

type Mirrored = Awaited<ReturnType<typeof mirrored>>;

function prepare({ application, world }: Mirrored, txs: readonly Uint8Array[]) {
  const { hash: _hash, lastCommit: _votes, misbehavior: _faults, ...head } = nextRequest(world, txs);
  return application.prepareProposal({ ...head, maxTxBytes: 2_000_000 });
}

function nextRequest(world: World, txs: readonly Uint8Array[]) {
  const last = requestOf(world.inputs.at(-1) as (typeof world.inputs)[number]);
  const height = world.height() + 1;
  return { ...last, height, txs, hash: sha256(utf8Encode(`block ${height}`)), misbehavior: [] };
}

async function untilProposed(mirror: Mirrored, tx: Uint8Array): Promise<void> {
  while (!(await prepare(mirror, [tx])).includes(tx)) await nextTurn();
}

async function withClaim(t: TestContext): Promise<Mirrored & { readonly good: OpOf<'prove'> }> {
  const mirror = await mirrored(t);
  const claim = openedClaim(mirror.world, mirror.key, mirror.channel, 2);
  await mirror.follow();
  return { ...mirror, good: proveOp(mirror.world, mirror.key, claim) };
}

test('ZKC-21: CheckTx answers without the proof; a proposer takes it when it has a verdict, on other threads', async (t) => {
  const mirror = await withClaim(t);
  const { application, world, key, good, here } = mirror;
  const tx = world.tx(key.node.operator, [good]);
  assert.equal(application.checkTx(tx, 'new').code, 0);
  assert.deepEqual(await prepare(mirror, [tx]), [], 'not before its verdict');
  await untilProposed(mirror, tx);
  assert.deepEqual(here, [], 'nothing of it on this thread');
  assert.equal(await application.processProposal(nextRequest(world, [tx])), 'accept');
  const { txResults } = await application.finalizeBlock(nextRequest(world, [tx]));
  assert.deepEqual([txResults[0]?.code, here], [0, []]);
});

test('ZKC-21: a proof that does not hold is proposed all the same, pays and costs bond', async (t) => {
  const mirror = await withClaim(t);
  const { application, world, key, good } = mirror;
  const tx = world.tx(key.node.operator, [{ ...good, proof: new Uint8Array(32) }]);
  assert.equal(application.checkTx(tx, 'new').code, 0);
  await untilProposed(mirror, tx);
  assert.equal(await application.processProposal(nextRequest(world, [tx])), 'accept');
  const { txResults } = await application.finalizeBlock(nextRequest(world, [tx]));
  assert.equal(txResults[0]?.code, codeNumber('E_PROOF'));
  assert.ok((txResults[0]?.gasUsed ?? 0n) > 0n);
  assert.ok(txResults[0]?.events.some(({ type }) => type === 'slash'));
});

test('ZKC-21: what was never seen before is verified when it is proposed, and when it is decided', async (t) => {
  const mirror = await withClaim(t);
  const { application, world, key, good, here } = mirror;
  const tx = world.tx(key.node.operator, [good]);
  assert.equal(await application.processProposal(nextRequest(world, [tx])), 'accept');
  const other = { ...nextRequest(world, [tx]), hash: sha256(utf8Encode('another block of this height')) };
  const { txResults } = await application.finalizeBlock(other);
  assert.deepEqual([txResults[0]?.code, here], [0, []]);
});

test('ZKC-22: a proof that kills workers leads to the same block', async (t) => {
  const mirror = await withClaim(t);
  const { application, world, key, good, here, follow } = mirror;
  const deadly = world.tx(key.node.operator, [{ ...good, proof: DEADLY_PROOF }]);
  assert.equal(application.checkTx(deadly, 'new').code, 0);
  const results = world.block([deadly]).results.map(({ codeName }) => codeName);
  assert.deepEqual(results, ['E_PROOF']);
  await follow();
  assert.equal(toHex(application.info().lastBlockAppHash).length, 64);
  assert.ok(here.includes('proof'), 'in the end it was verified on this thread');
  const tx = world.tx(key.node.operator, [good]);
  assert.equal(world.block([tx]).results[0]?.codeName, 'OK');
  await follow();
});

test('ZKC-21: one proof of a claim waits at a time; batches and other claims are not in its way', async (t) => {
  const mirror = await mirrored(t);
  const { application, world, key, channel, node, follow } = mirror;
  const first = openedClaim(world, key, channel, 1);
  const second = openedClaim(world, key, channel, 1);
  serveMany(world, key, channel, 1);
  await follow();
  const send = (op: OpOf<'prove'> | OpOf<'settle'>): number =>
    application.checkTx(world.tx(node.operator, [op]), 'new').code;
  const redeeming = {
    charges: [laneLine(key, channel, 1, 1)],
    vouchers: [voucherFor(world, key, channel, 1)],
  };
  const good = proveOp(world, key, first, {}, redeeming);
  assert.equal(send(good), 0);
  assert.equal(send(good), codeNumber('E_BUCKET'));
  const lines = { charges: [laneLine(key, channel, 2, 2)], vouchers: [voucherFor(world, key, channel, 2)] };
  assert.equal(send(proveOp(world, key, second, {}, lines)), 0);
  const { statement } = batchOf(key, 1);
  assert.equal(send({ kind: 'settle', statement: statement.bytes, vouchers: [], receipts: [] }), 0);
});

test('ZKC-21: nobody but the operator can have a proof verified by the mempool, and none for a claim that is not there', async (t) => {
  const mirror = await withClaim(t);
  const { application, world, payer, key, good } = mirror;
  assert.equal(application.checkTx(world.tx(payer, [good]), 'new').code, codeNumber('E_SENDER'));
  const unknown = { ...good, claimId: sha256(good.claimId) };
  assert.equal(
    application.checkTx(world.tx(key.node.operator, [unknown]), 'new').code,
    codeNumber('E_CLAIM'),
  );
});

test('ZKC-23: claims are listed while they are open, and found by their id in blocks', async (t) => {
  const mirror = await withClaim(t);
  const { application, world, key, channel, follow, good, store } = mirror;
  const list = (): Uint8Array =>
    application.query({ path: '/records', data: Uint8Array.of(18), height: 0, prove: false }).value;
  assert.ok(toHex(list()).includes(toHex(good.claimId)));
  assert.equal(world.block([world.tx(key.node.operator, [good])]).results[0]?.codeName, 'OK');
  await follow();
  assert.ok(!toHex(list()).includes(toHex(good.claimId)));
  const tags = (height: number): readonly string[] => [
    ...eventTags(store.resultsAt(height) as Uint8Array).keys(),
  ];
  assert.ok(tags(world.height()).includes(`prove.claimId=${toHex(good.claimId)}`));
  assert.ok(tags(world.height() - 1).includes(`settle.claimId=${toHex(good.claimId)}`));
  const lost = openedClaim(world, key, channel, 1);
  while (claimRow(world, lost) !== undefined) world.block();
  await follow();
  assert.deepEqual(ranges(world, key).unpaid, ['3..3']);
});

test('ZKC-22 CHAIN-96: a process that ended between settling and proving goes on where it was', async (t) => {
  const mirror = await withClaim(t);
  const { application, store, folder, world, key, good } = mirror;
  const before = toHex(application.info().lastBlockAppHash);
  await application.close();
  await store.close();
  const { application: reopened } = testApplication(t, { folder, over: { zk: TEST_BACKEND } });
  t.after(() => reopened.close());
  assert.equal(toHex(reopened.info().lastBlockAppHash), before);
  const tx = world.tx(key.node.operator, [good]);
  const { txResults } = await reopened.finalizeBlock(nextRequest(world, [tx]));
  assert.equal(txResults[0]?.code, 0, 'the nonce of the claim was in the state');
});

test('ZKC-23: what a proof carries is in the transaction for everybody to read', async (t) => {
  const mirror: ZkMarket & { readonly good: OpOf<'prove'> } = await withClaim(t);
  const { world, key, good } = mirror;
  const [op] = decodeTransaction(world.tx(key.node.operator, [good])).body.ops;
  assert.ok(op?.kind === 'prove');
  const exchanges: readonly Exchange[] = key.exchanges;
  assert.deepEqual(op.salts[0], exchanges[0]?.salt);
});

test('ZKC-1: a key of 200 kB is kept, proved to whoever asks, and there again after a restart', async (t) => {
  const mirror = await mirrored(t);
  const { application, store, folder, world, node, follow } = mirror;
  const large = zkModel({ name: 'x'.repeat(200_000) });
  world.ok(node.operator, [registerZkOp(large, { nodeId: node.nodeId })]);
  world.block();
  await follow();
  const key = recordKey.verifyingKey(large.verifyingKeyHash);
  const ask = (from: HacaApplication) => {
    const { value, proofOps } = from.query({ path: '/record', data: key, height: 0, prove: true });
    const proof = proofOps?.[0]?.data;
    assert.ok(proof !== undefined);
    const { ok } = verifyStoreProof({ proof, key, value, appHash: from.info().lastBlockAppHash });
    assert.ok(ok);
    return decode(verifyingKeyRecordCodec, value, 'key').verifyingKey;
  };
  assert.deepEqual(ask(application), large.verifyingKey);
  await application.close();
  await store.close();
  const { application: reopened } = testApplication(t, { folder, over: { zk: TEST_BACKEND } });
  t.after(() => reopened.close());
  assert.deepEqual(ask(reopened), large.verifyingKey);
});
