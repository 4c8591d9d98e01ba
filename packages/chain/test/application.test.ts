import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { timestampFromMs, verifyStoreProof } from '@haca/light-client';
import { decode, sha256, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import { accountRecordCodec, codeNumber, recordKey, recordListCodec, tablePrefix } from '@haca/protocol';
import type { CheckTxResponse, QueryResponse } from '../src/abci.ts';
import { encodedTxBytes } from '../src/application/proposal.ts';
import type { HacaApplication } from '../src/application.ts';
import { restoreStateTree } from '../src/storage/index.ts';
import { operatorOf } from './application-ops.ts';
import {
  FAUCET,
  GENESIS_TIME_MS,
  genesisDocument,
  temporaryFolder,
  testApplication,
  transaction,
  transfer,
  transferOp,
} from './engine-fixture.ts';
import { actor, MODEL, OPG, PROPOSER } from './state-machine-world.ts';

const GENESIS = genesisDocument();
const NOTHING = new Uint8Array(0);

function initChain(application: HacaApplication): Uint8Array {
  const { time, chainId, initialHeight } = GENESIS;
  const appState = utf8Encode(JSON.stringify(GENESIS.json['app_state']));
  const { validators } = GENESIS.validators;
  return application.initChain({ time, chainId, initialHeight, validators, appState }).appHash;
}

function timeAt(height: number) {
  return timestampFromMs(GENESIS_TIME_MS + height * 1000);
}

function proposal(height: number, txs: readonly Uint8Array[]) {
  return { txs, height, time: timeAt(height), proposerAddress: PROPOSER };
}

function blockRequest(height: number, txs: readonly Uint8Array[]) {
  const hash = sha256(utf8Encode(`block ${height}`));
  return { ...proposal(height, txs), hash, lastCommit: [], misbehavior: [] };
}

function finalize(application: HacaApplication, height: number, txs: readonly Uint8Array[]) {
  return application.finalizeBlock(blockRequest(height, txs));
}

/** A block whose transactions must all be applied. */
async function block(application: HacaApplication, height: number, txs: readonly Uint8Array[] = []) {
  const response = await finalize(application, height, txs);
  for (const { code, log } of response.txResults) assert.equal(code, 0, log);
  await application.commit();
  return response;
}

function started(t: TestContext, options: Parameters<typeof testApplication>[1] = {}) {
  const opened = testApplication(t, options);
  t.after(() => opened.store.close());
  initChain(opened.application);
  return opened;
}

function query(
  application: HacaApplication,
  path: string,
  data: Uint8Array = NOTHING,
  over: { height?: number; prove?: boolean } = {},
): QueryResponse {
  return application.query({ path, data, height: over.height ?? 0, prove: over.prove ?? false });
}

function codeOf({ log }: CheckTxResponse): string {
  return log.split(':')[0] ?? '';
}

const ALICE = actor('alice');
const BOB = actor('bob');

test('a node that has no state yet refuses what peers send it, and takes it later', (t) => {
  const { application, store } = testApplication(t);
  t.after(() => store.close());
  const tx = transfer(FAUCET, 0, ALICE, OPG);
  for (const kind of ['new', 'recheck'] as const) {
    assert.equal(codeOf(application.checkTx(tx, kind)), 'E_UNAVAILABLE');
  }
  initChain(application);
  assert.equal(application.checkTx(tx, 'new').code, 0);
});

test('genesis is durable with the first block only, and a restart before it starts again', async (t) => {
  const folder = temporaryFolder(t);
  const first = testApplication(t, { folder });
  assert.equal(first.application.info().lastBlockHeight, 0);
  const genesisHash = initChain(first.application);
  await first.store.close();

  const second = testApplication(t, { folder });
  assert.equal(second.application.info().lastBlockHeight, 0);
  assert.deepEqual(initChain(second.application), genesisHash);
  assert.deepEqual(
    initChain(second.application),
    genesisHash,
    'InitChain may come again before the first block',
  );
  const { appHash } = await block(second.application, 1);
  assert.deepEqual(appHash, genesisHash, 'an empty block leaves the app hash alone');
  await second.store.close();

  const third = testApplication(t, { folder });
  t.after(() => third.store.close());
  assert.deepEqual(third.application.info().lastBlockAppHash, genesisHash);
  assert.equal(third.application.info().lastBlockHeight, 1);
  assert.throws(() => initChain(third.application), /InitChain on a chain that has blocks/);
});

test('after a restart each height of the history can be asked for with proof, and no other', async (t) => {
  const folder = temporaryFolder(t);
  const opened = testApplication(t, { folder });
  const genesisHash = initChain(opened.application);
  const appHashes = [genesisHash, (await block(opened.application, 1)).appHash];
  for (let height = 2; height <= 6; height++) {
    const txs = height % 2 === 0 ? [transfer(FAUCET, height / 2 - 1, ALICE, 10n * OPG)] : [];
    appHashes.push((await block(opened.application, height, txs)).appHash);
  }
  await opened.store.close();

  const { application, store } = testApplication(t, { folder });
  t.after(() => store.close());
  const key = recordKey.account(ALICE.id);
  const ask = (height: number) => application.query({ path: '/record', data: key, height, prove: true });
  for (let height = 1; height <= 6; height++) {
    const proven = ask(height);
    assert.deepEqual([proven.code, proven.height], [0, height]);
    const proof = proven.proofOps?.[0]?.data ?? NOTHING;
    const value = proven.value.length === 0 ? null : proven.value;
    assert.equal(value === null, height < 2);
    assert.ok(verifyStoreProof({ appHash: appHashes[height] as Uint8Array, key, value, proof }).ok);
  }
  assert.equal(ask(7).code, 1);
  assert.equal(ask(-1).code, 1);
});

test('a block is state after Commit, not before; what was not committed is gone after a restart', async (t) => {
  const folder = temporaryFolder(t);
  const opened = testApplication(t, { folder });
  const { application } = opened;
  initChain(application);
  await block(application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
  const committed = application.info().lastBlockAppHash;
  const pendingHash = (await finalize(application, 2, [transfer(FAUCET, 1, BOB, 10n * OPG)])).appHash;
  assert.notDeepEqual(pendingHash, committed);
  assert.deepEqual(query(application, '/record', recordKey.account(BOB.id)).value, NOTHING);
  assert.deepEqual(application.info().lastBlockAppHash, committed);
  await opened.store.close();

  const again = testApplication(t, { folder });
  t.after(() => again.store.close());
  assert.deepEqual(again.application.info().lastBlockAppHash, committed);
  // The same block on the same state gives the same hash, also when it is finalized twice.
  assert.deepEqual(
    (await finalize(again.application, 2, [transfer(FAUCET, 1, BOB, 10n * OPG)])).appHash,
    pendingHash,
  );
  assert.notDeepEqual((await finalize(again.application, 2, [])).appHash, pendingHash);
  assert.deepEqual(
    (await finalize(again.application, 2, [transfer(FAUCET, 1, BOB, 10n * OPG)])).appHash,
    pendingHash,
  );
  await again.application.commit();
  assert.deepEqual(again.application.info().lastBlockAppHash, pendingHash);
  assert.deepEqual(restoreStateTree(again.store).root, pendingHash);
});

test('finalizing a height out of turn and committing nothing are refused', async (t) => {
  const { application } = started(t);
  await assert.rejects(finalize(application, 2, []), /finalized on state of height 0/);
  await assert.rejects(application.commit(), /Commit without FinalizeBlock/);
  await block(application, 1);
  await assert.rejects(finalize(application, 1, []), /finalized on state of height 1/);
});

test('records come with proofs at every kept height, present and absent', async (t) => {
  const { application } = started(t, { versionsKept: 4 });
  const roots = new Map<number, Uint8Array>();
  for (let height = 1; height <= 6; height++) {
    const txs = height === 5 ? [] : [transfer(FAUCET, height, ALICE, BigInt(height) * OPG)];
    roots.set(height, (await block(application, height, txs)).appHash);
  }
  const balanceAt = (height: number) => {
    const answer = query(application, '/record', recordKey.account(ALICE.id), { height, prove: true });
    assert.equal(answer.code, 0, answer.log);
    assert.equal(answer.height, height === 0 ? 6 : height);
    const [op] = answer.proofOps ?? [];
    assert.equal(op?.type, 'haca:state');
    const appHash = roots.get(answer.height) as Uint8Array;
    const { value, key } = answer;
    assert.ok(verifyStoreProof({ appHash, key, value, proof: op?.data ?? NOTHING }).ok);
    // The proof is for this value at this height and no other.
    assert.ok(!verifyStoreProof({ appHash, key, value: null, proof: op?.data ?? NOTHING }).ok);
    if (answer.height === 6) {
      const wrong = roots.get(4) as Uint8Array;
      assert.ok(!verifyStoreProof({ appHash: wrong, key, value, proof: op?.data ?? NOTHING }).ok);
    }
    return decode(accountRecordCodec, value, 'account').nopg;
  };
  assert.equal(balanceAt(0), 16n * OPG);
  assert.equal(balanceAt(5), 10n * OPG);
  assert.equal(balanceAt(3), 6n * OPG);
  for (const height of [2, 7]) {
    const answer = query(application, '/record', recordKey.account(ALICE.id), { height });
    assert.equal(answer.code, 1);
    assert.match(answer.log, /a height of 3 to 6/);
  }
  const absent = query(application, '/record', recordKey.account(BOB.id), { prove: true });
  const key = recordKey.account(BOB.id);
  const proof = absent.proofOps?.[0]?.data ?? NOTHING;
  const appHash = roots.get(6) as Uint8Array;
  assert.deepEqual(absent.value, NOTHING);
  assert.ok(verifyStoreProof({ appHash, key, value: null, proof }).ok);
});

test('queries that make no sense have a code and say what to ask', async (t) => {
  const { application } = started(t);
  await block(application, 1);
  const refused: readonly (readonly [string, Uint8Array, { height?: number; prove?: boolean }])[] = [
    ['/nothing', NOTHING, {}],
    ['', NOTHING, {}],
    ['/record', NOTHING, {}],
    ['/record', new Uint8Array(1025), {}],
    ['/fee', NOTHING, { prove: true }],
    ['/records', NOTHING, {}],
    ['/records', Uint8Array.of(99), {}],
    ['/records', tablePrefix('account'), {}],
    ['/records', tablePrefix('node'), { prove: true }],
    ['/records/after/0G', tablePrefix('node'), {}],
    ['/key-standing', NOTHING, {}],
    ['/key-standing', new Uint8Array(32), {}],
    ['/key-standing', new Uint8Array(32), { prove: true }],
  ];
  for (const [path, data, over] of refused) {
    const answer = query(application, path, data, over);
    assert.equal(answer.code, 1, path);
    assert.match(answer.log, /expected/);
    assert.deepEqual(answer.value, NOTHING);
  }
});

test('fee, supply and invariants are answered from the newest state', async (t) => {
  const { application } = started(t);
  const json = (path: string) => JSON.parse(utf8Decode(query(application, path).value));
  await block(application, 1);
  assert.deepEqual(json('/fee'), { baseFee: '2000', height: 2, gasTarget: 500_000 });
  assert.equal(json('/supply').supplyNopg, '1000000000000000000');
  const { txResults } = await block(application, 2, [transfer(FAUCET, 0, ALICE, OPG)]);
  const burned = (txResults[0]?.gasUsed ?? 0n) * 2_000n;
  assert.equal(json('/supply').burnedNopg, `${burned}`);
  assert.equal(json('/supply').totals.burnedFees, `${burned}`);
  assert.equal(json('/supply').supplyNopg, `${10n ** 18n - burned}`);
  assert.deepEqual(json('/invariants'), { enabled: true, ok: true, height: 2, broken: [] });
});

test('TC-9: the standing of a key is answered as of the newest block', async (t) => {
  const { application } = started(t);
  const { fund, register, openKey, openTeeKey, teeKeyId, keyId } = operatorOf('standing');
  const standing = (of: Uint8Array) =>
    JSON.parse(utf8Decode(query(application, '/key-standing', of).value)) as Record<string, unknown>;
  await block(application, 1, fund);
  await block(application, 2, [register]);
  const { txResults } = await block(application, 3, [openKey, openTeeKey(2, 2, (hash) => hash)]);
  assert.deepEqual(
    txResults.map(({ code }) => code),
    [0, 0],
  );
  const common = { isBacking: true, standing: 'good', phase: 'active', height: 3, tcbStatus: null };
  const { timeMs } = standing(keyId);
  assert.deepEqual(standing(keyId), { ...common, timeMs, effectiveEndMs: null, tier: null });
  assert.deepEqual(standing(teeKeyId(2)), {
    ...common,
    timeMs,
    effectiveEndMs: Number(timeMs) + 30_000,
    tier: 'simulated',
  });
});

test('records of a table are listed in order, page by page, as the state changes and after a restart', async (t) => {
  const folder = temporaryFolder(t);
  const opened = testApplication(t, { folder });
  initChain(opened.application);
  const register = (nonce: number) =>
    transaction(FAUCET, nonce, [{ kind: 'register-model', manifest: { ...MODEL, name: `model ${nonce}` } }]);
  await block(opened.application, 1, [0, 1, 2].map(register));
  await block(opened.application, 2, [3, 4].map(register));
  const list = (application: HacaApplication, path = '/records', prefix = tablePrefix('model')) => {
    const answer = query(application, path, prefix);
    assert.equal(answer.code, 0, answer.log);
    return decode(recordListCodec, answer.value, 'records').map(([key]) => toHex(key));
  };
  const keys = list(opened.application);
  assert.equal(keys.length, 5);
  assert.deepEqual(keys, [...keys].sort());
  assert.deepEqual(list(opened.application, `/records/after/${keys[1]}`), keys.slice(2));
  const one = tablePrefix('model', Uint8Array.from(Buffer.from(keys[3]?.slice(2, 10) ?? '', 'hex')));
  assert.deepEqual(list(opened.application, '/records', one), [keys[3]]);
  await opened.store.close();
  const again = testApplication(t, { folder });
  t.after(() => again.store.close());
  assert.deepEqual(list(again.application), keys);
});

test('pending transactions of one payer are counted together', async (t) => {
  const { application } = started(t);
  await block(application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
  const check = (tx: Uint8Array) => application.checkTx(tx, 'new');
  assert.equal(check(transfer(ALICE, 0, BOB, OPG)).code, 0);
  // Same bytes: known. Same nonce, other bytes: taken.
  assert.equal(check(transfer(ALICE, 0, BOB, OPG)).code, 0);
  assert.equal(codeOf(check(transfer(ALICE, 0, BOB, 2n * OPG))), 'E_NONCE');
  // What waits may cost more than the balance only together: 3,500 gas at 1,500,000 nopg is over half of it.
  assert.equal(check(transfer(ALICE, 1, BOB, OPG, { maxFee: 1_500_000n })).code, 0);
  assert.equal(codeOf(check(transfer(ALICE, 2, BOB, OPG, { maxFee: 1_500_000n }))), 'E_BALANCE');
  assert.equal(check(transfer(ALICE, 2, BOB, OPG)).code, 0, 'the refused one left no trace');
  assert.equal(codeOf(check(transfer(BOB, 0, ALICE, 1n))), 'E_UNKNOWN_ACCOUNT');
  assert.equal(codeOf(check(transfer(ALICE, 3, BOB, OPG, { maxFee: 1_999n }))), 'E_FEE');
  assert.equal(codeOf(check(transfer(ALICE, 3, BOB, OPG, { chainId: 'other' }))), 'E_CHAIN');
  assert.equal(codeOf(check(transfer(ALICE, 3, BOB, OPG, { validUntil: 1 }))), 'E_EXPIRED');
  const forged = transfer(ALICE, 3, BOB, OPG);
  forged[forged.length - 5] = (forged[forged.length - 5] ?? 0) ^ 1;
  assert.equal(codeOf(check(forged)), 'E_SIG');
  assert.equal(codeOf(check(Uint8Array.of(1, 2, 3))), 'E_MALFORMED');
  assert.equal(check(Uint8Array.of(1, 2, 3)).code, codeNumber('E_MALFORMED'));
});

test('a payer has 16 general transactions waiting, and a block makes room', async (t) => {
  const { application } = started(t);
  const txs = Array.from({ length: 17 }, (_, nonce) => transfer(FAUCET, nonce, ALICE, OPG));
  const codes = () => txs.map((tx) => application.checkTx(tx, 'new').code);
  assert.deepEqual(codes(), [...Array.from({ length: 16 }, () => 0), codeNumber('E_CLASS')]);
  await block(application, 1, txs.slice(0, 3));
  const recheck = txs.slice(3, 16).map((tx) => application.checkTx(tx, 'recheck').code);
  assert.ok(recheck.every((code) => code === 0));
  assert.equal(application.checkTx(txs[16] as Uint8Array, 'new').code, 0);
  // A nonce that a block used does not come back.
  assert.equal(codeOf(application.checkTx(txs[0] as Uint8Array, 'new')), 'E_NONCE');
});

test('the fee payer is the one whose slots and balance count', async (t) => {
  const { application } = started(t);
  await block(application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
  const tx = transfer(ALICE, 0, BOB, OPG, { feePayer: FAUCET });
  assert.equal(application.checkTx(tx, 'new').code, 0);
  for (let nonce = 1; nonce <= 15; nonce++) {
    assert.equal(application.checkTx(transfer(FAUCET, nonce, ALICE, OPG), 'new').code, 0);
  }
  assert.equal(codeOf(application.checkTx(transfer(FAUCET, 16, ALICE, OPG), 'new')), 'E_CLASS');
  assert.equal(application.checkTx(transfer(ALICE, 1, BOB, OPG), 'new').code, 0);
});

test('a waiting transaction is replaced by one that offers a quarter more, and leaves at its recheck', async (t) => {
  const { application } = started(t);
  await block(application, 1);
  const cheap = transfer(FAUCET, 0, ALICE, OPG, { maxFee: 8_000n });
  const notEnough = transfer(FAUCET, 0, BOB, OPG, { maxFee: 9_999n });
  const enough = transfer(FAUCET, 0, BOB, OPG, { maxFee: 10_000n });
  assert.equal(application.checkTx(cheap, 'new').code, 0);
  assert.equal(codeOf(application.checkTx(notEnough, 'new')), 'E_NONCE');
  assert.equal(application.checkTx(enough, 'new').code, 0);
  const maxTxBytes = 1_000_000;
  assert.deepEqual(await application.prepareProposal({ ...proposal(2, [cheap, enough]), maxTxBytes }), [
    enough,
  ]);
  await block(application, 2);
  assert.equal(codeOf(application.checkTx(cheap, 'recheck')), 'E_NONCE');
  assert.equal(application.checkTx(enough, 'recheck').code, 0);
  await block(application, 3, [enough]);
});

test('attack: replacing one transaction over and over fills no more than a quarter of the mempool', async (t) => {
  const { application } = started(t, { pendingLimits: { slots: 40, bytes: 1 << 20, generalPerPayer: 4 } });
  await block(application, 1);
  let accepted = 0;
  for (let maxFee = 8_000n; maxFee < 8_000n * 2n ** 20n; maxFee = (maxFee * 5n) / 4n + 1n) {
    if (application.checkTx(transfer(FAUCET, 0, ALICE, OPG, { maxFee }), 'new').code === 0) accepted++;
  }
  assert.equal(accepted, 1 + 40 / 4);
  await block(application, 2);
  assert.equal(application.checkTx(transfer(FAUCET, 0, BOB, OPG, { maxFee: 8_000n }), 'new').code, 0);
  assert.equal(application.checkTx(transfer(FAUCET, 0, BOB, OPG, { maxFee: 10_000n }), 'new').code, 0);
});

test('a node key has one settlement waiting, whoever else pays for whatever', async (t) => {
  const { application } = started(t);
  const { operator, fund, register, openKey, settle } = operatorOf('node operator');
  await block(application, 1, fund);
  await block(application, 2, [register]);
  await block(application, 3, [openKey]);
  const first = settle(3, 1);
  const second = settle(4, 1);
  assert.equal(application.checkTx(first, 'new').code, 0);
  assert.equal(codeOf(application.checkTx(second, 'new')), 'E_BUCKET');
  assert.equal(application.checkTx(settle(4, 0), 'new').code, 0, 'a redemption has a slot of its own');
  assert.equal(application.checkTx(transfer(operator, 9, ALICE, OPG), 'new').code, 0);
  // S comes first in the block although it came last in the mempool.
  const txs = [transfer(FAUCET, 9, ALICE, OPG, { tipCap: 5_000n }), first];
  const chosen = await application.prepareProposal({ ...proposal(4, txs), maxTxBytes: 1_000_000 });
  assert.deepEqual(chosen, [first, txs[0]]);
});

test('a proposal holds what is payable: by tip, then arrival, by nonce within an account, and never too much', async (t) => {
  const { application } = started(t);
  await block(application, 1, [transfer(FAUCET, 0, ALICE, 100n * OPG), transfer(FAUCET, 1, BOB, 100n * OPG)]);
  const tip = (tipCap: bigint) => ({ tipCap, maxFee: 20_000n });
  const faucet = transfer(FAUCET, 2, ALICE, OPG, tip(10n));
  const alice2 = transfer(ALICE, 2, BOB, OPG, tip(9_000n));
  const alice1 = transfer(ALICE, 1, BOB, OPG, tip(1n));
  const bobHigh = transfer(BOB, 0, ALICE, OPG, tip(5_000n));
  const bobSame = transfer(BOB, 1, ALICE, OPG, tip(5_000n));
  const broken = Uint8Array.of(0x80);
  const unpayable = transfer(actor('nobody'), 0, ALICE, OPG);
  const waiting = [faucet, alice2, broken, alice1, unpayable, bobHigh, bobSame];
  const prepare = (maxTxBytes: number) =>
    application.prepareProposal({ ...proposal(2, waiting), maxTxBytes });
  const all = [alice1, alice2, bobHigh, bobSame, faucet];
  assert.deepEqual((await prepare(1_000_000)).map(toHex), all.map(toHex));
  const sizes = all.map((tx) => encodedTxBytes(tx.length));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  assert.deepEqual(await prepare(total), all);
  assert.deepEqual(await prepare(total - 1), all.slice(0, 4));
  assert.deepEqual(await prepare(0), []);
  assert.equal(await application.processProposal(blockRequest(2, all)), 'accept');
  for (const bad of [broken, unpayable, bobHigh]) {
    assert.equal(await application.processProposal(blockRequest(2, [...all, bad])), 'reject');
  }
  assert.equal(await application.processProposal(blockRequest(3, all)), 'reject', 'not the next height');
  const gas = Array.from({ length: 200 }, (_, i) => transfer(FAUCET, 3 + (i % 60), actor(`to ${i}`), OPG));
  const chosen = await application.prepareProposal({ ...proposal(2, gas), maxTxBytes: 10_000_000 });
  // General transactions take at most 3/8 of the gas target.
  assert.ok(chosen.length > 30 && chosen.length < 60, `${chosen.length}`);
  assert.equal(await application.processProposal(blockRequest(2, chosen)), 'accept');
  const others = gas.filter((tx) => !chosen.includes(tx));
  assert.equal(
    await application.processProposal(blockRequest(2, [...chosen, others[0] as Uint8Array])),
    'reject',
  );
});

test('what follows a transaction without room waits with it, other senders do not', async (t) => {
  const { application } = started(t);
  await block(application, 1, [transfer(FAUCET, 0, ALICE, 100n * OPG)]);
  const large = transaction(
    ALICE,
    0,
    Array.from({ length: 16 }, (_, i) => transferOp(actor(`to ${i}`), OPG)),
  );
  const after = transfer(ALICE, 1, BOB, OPG);
  const other = transfer(FAUCET, 1, BOB, OPG);
  const prepare = (maxTxBytes: number) =>
    application.prepareProposal({ ...proposal(2, [large, after, other]), maxTxBytes });
  assert.deepEqual(await prepare(large.length), [other]);
  assert.deepEqual(await prepare(100_000), [large, after, other]);
});

test('a decided block with transactions that are not payable executes: they are no-ops', async (t) => {
  const { application } = started(t);
  const ok = transfer(FAUCET, 0, ALICE, OPG);
  const { txResults, appHash } = await finalize(application, 1, [
    Uint8Array.of(1),
    ok,
    ok,
    transfer(BOB, 0, ALICE, 1n),
  ]);
  await application.commit();
  assert.deepEqual(
    txResults.map(({ code }) => code),
    [codeNumber('E_MALFORMED'), 0, codeNumber('E_NONCE'), codeNumber('E_UNKNOWN_ACCOUNT')],
  );
  assert.deepEqual(application.info().lastBlockAppHash, appHash);
  assert.equal(application.invariants().ok, true);
});

test('a transaction takes 1 byte of tag and its length before it in the block', () => {
  assert.equal(encodedTxBytes(0), 2);
  assert.equal(encodedTxBytes(127), 129);
  assert.equal(encodedTxBytes(128), 131);
  assert.equal(encodedTxBytes(16_384), 16_388);
});
