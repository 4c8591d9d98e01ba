import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import {
  blockIdOf,
  commitHash,
  compareTimestamps,
  type Header,
  headerHash,
  parseGenesisDocument,
  timestampToMs,
  verifyCommit,
  ZERO_TIMESTAMP,
} from '@haca/light-client';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { sha256, toHex, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { createBlockReader } from '../src/engine/block-reader.ts';
import { type CommittedBlock, type Engine, startEngine } from '../src/engine/engine.ts';
import { createMempool, MempoolError } from '../src/engine/mempool.ts';
import { DoubleSignError, openSignGuard } from '../src/engine/sign-guard.ts';
import { createValidatorKeyFile, readValidatorKeyFile } from '../src/engine/validator-key.ts';
import { makeGenesisDocument } from '../src/genesis-document.ts';
import {
  FAUCET,
  genesisDocument,
  temporaryFolder,
  testApplication,
  testNode,
  transaction,
  transfer,
  VALIDATOR_SEED,
} from './engine-fixture.ts';
import { actor, CHAIN, consensusSigner, OPG, registerOp, testGenesis } from './state-machine-world.ts';

const ALICE = actor('alice');
const SIGNER = ed25519SignerFromSeed(VALIDATOR_SEED);

async function blocksUntil(engine: Engine, isEnough: (blocks: readonly CommittedBlock[]) => boolean) {
  const blocks: CommittedBlock[] = [];
  await new Promise<void>((resolve) => {
    const stop = engine.onBlock((block) => {
      blocks.push(block);
      if (!isEnough(blocks)) return;
      stop();
      resolve();
    });
  });
  return blocks;
}

/** Every block of a node's store: linked, signed, with results that its successor vouches for. */
function auditChain(t: TestContext, home: string, chainId: string): readonly Header[] {
  const { store } = testApplication(t, { folder: join(home, 'data') });
  const reader = createBlockReader(store);
  const headers: Header[] = [];
  for (let height = 1; height <= reader.latest(); height++) {
    const { block, blockId } = reader.block(height);
    assert.deepEqual(blockIdOf(block), blockId);
    const validators = reader.validators(height);
    const commit = reader.commit(height);
    const { verdict } = verifyCommit(nodeCrypto, { chainId, height, blockId, validators }, commit);
    assert.ok(verdict.ok, JSON.stringify(verdict));
    const last = headers.at(-1);
    if (last !== undefined) {
      assert.deepEqual(block.header.lastBlockId.hash, headerHash(last));
      assert.deepEqual(block.header.lastCommitHash, commitHash(reader.commit(height - 1)));
      assert.deepEqual(block.header.appHash, reader.results(height - 1).appHash);
      assert.ok(compareTimestamps(block.header.time, last.time) > 0, 'time rises');
      // BFT time: the time of the votes for the block before.
      assert.deepEqual(block.header.time, reader.commit(height - 1).signatures[0]?.timestamp);
    }
    headers.push(block.header);
  }
  return headers;
}

test('a block comes when a transaction waits, its proof right after, and nothing more until the idle time is over', async (t) => {
  const node = await testNode(t, { emptyBlockIntervalMs: 3_600_000 });
  assert.equal(node.engine.tip().height, 2, 'ready with a block and a header that proves its state');
  const seen = blocksUntil(
    node.engine,
    (blocks) => blocks.at(-1)?.block.txs.length === 0 && blocks.length > 1,
  );
  assert.equal((await node.engine.submit(transfer(FAUCET, 0, ALICE, OPG))).code, 0);
  const blocks = await seen;
  const counts = blocks.map(({ block }) => block.txs.length);
  assert.deepEqual(counts, [1, 0]);
  assert.deepEqual(blocks[1]?.block.header.appHash, blocks[0]?.results.appHash);
  assert.notDeepEqual(blocks[0]?.results.appHash, blocks[0]?.block.header.appHash);
  assert.deepEqual(
    blocks[1]?.results.appHash,
    blocks[0]?.results.appHash,
    'an empty block leaves the state alone',
  );
  await delay(50);
  assert.equal(node.engine.tip().height, 4, 'an idle chain stays where it is');
  await node.close();
  auditChain(t, node.home, node.chainId);
});

test('an idle chain makes an empty block when its time has come', async (t) => {
  const node = await testNode(t, { emptyBlockIntervalMs: 5 });
  const blocks = await blocksUntil(node.engine, (seen) => seen.length === 3);
  assert.ok(blocks.every(({ block }) => block.txs.length === 0));
  assert.equal(new Set(blocks.map(({ results }) => toHex(results.appHash))).size, 1);
});

test('header time follows the clock and rises even where the clock stands still or goes back', async (t) => {
  let nowMs = Date.UTC(2026, 5, 1);
  const genesis = genesisDocument(nowMs);
  const node = await testNode(t, { genesis, clock: () => nowMs, emptyBlockIntervalMs: 2 });
  await blocksUntil(node.engine, (seen) => seen.length === 3);
  nowMs -= 86_400_000;
  await blocksUntil(node.engine, (seen) => seen.length === 3);
  nowMs += 2 * 86_400_000;
  await blocksUntil(node.engine, (seen) => seen.length === 3);
  assert.equal(timestampToMs(node.engine.tip().time), nowMs + 1);
  await node.close();
  const headers = auditChain(t, node.home, node.chainId);
  assert.deepEqual(headers[0]?.time, genesis.time);
});

test('after an idle gap an empty block brings the time up before transactions are dated', async (t) => {
  let nowMs = Date.UTC(2026, 5, 1);
  const genesis = genesisDocument(nowMs);
  const node = await testNode(t, { genesis, clock: () => nowMs, emptyBlockIntervalMs: 3_600_000 });
  await delay(20);
  nowMs += 60_000;
  const seen = blocksUntil(node.engine, (blocks) => blocks.length === 3);
  await node.engine.submit(transfer(FAUCET, 0, ALICE, OPG));
  const [refresh, withTx] = await seen;
  assert.equal(refresh?.block.txs.length, 0);
  assert.equal(withTx?.block.txs.length, 1);
  assert.equal(timestampToMs(withTx?.block.header.time ?? ZERO_TIMESTAMP), nowMs);
});

test('a chain goes on where it was closed, and answers for its old blocks', async (t) => {
  const genesis = genesisDocument(Date.now());
  const first = await testNode(t, { genesis });
  const tx = transfer(FAUCET, 0, ALICE, OPG);
  const included = blocksUntil(first.engine, (blocks) => blocks.some(({ block }) => block.txs.length === 1));
  await first.engine.submit(tx);
  await included;
  await first.close();
  const { height } = first.engine.tip();
  const second = await testNode(t, { genesis, home: first.home });
  assert.ok(second.engine.tip().height >= height);
  assert.equal((await second.engine.submit(transfer(FAUCET, 1, ALICE, OPG))).code, 0);
  await blocksUntil(second.engine, (blocks) => blocks.some(({ block }) => block.txs.length === 1));
  await second.close();
  auditChain(t, first.home, first.chainId);
  const { store } = testApplication(t, { folder: join(first.home, 'data') });
  const reader = createBlockReader(store);
  const place = reader.txPlace(sha256(tx));
  assert.deepEqual(reader.block(place?.height ?? 0).block.txs[place?.index ?? 0], tx);
  assert.equal(reader.txPlace(headerHash(reader.block(2).block.header)), undefined);
  assert.equal(reader.heightOfHash(headerHash(reader.block(2).block.header)), 2);
  assert.equal(reader.heightOfHash(sha256(tx)), undefined);
});

/** Runs until the vote is on disk, then loses everything after it, as a power cut there would. */
test('a block that was voted for is the block of its height, whatever else waits after the crash', async (t) => {
  const genesis = genesisDocument(Date.now());
  const home = temporaryFolder(t);
  const node = await testNode(t, { genesis, home });
  await node.close();
  const { height } = node.engine.tip();
  const guard = await openSignGuard(join(home, 'sign-state'), SIGNER);
  const opened = testApplication(t, { folder: join(home, 'data') });
  const stopped = await crashAfterVote(opened, guard, genesis);
  await guard.close();
  await opened.store.close();
  assert.equal(stopped.height, height + 1);

  const again = await testNode(t, { genesis, home, emptyBlockIntervalMs: 3_600_000 });
  await again.close();
  const reader = createBlockReader(testApplication(t, { folder: join(home, 'data') }).store);
  const { blockId, block } = reader.block(height + 1);
  assert.equal(toHex(blockId.hash), toHex(stopped.blockHash), 'not another block');
  assert.deepEqual(block.txs, [stopped.tx]);
  assert.deepEqual(reader.commit(height + 1).signatures[0]?.signature, stopped.signature);
  auditChain(t, home, node.chainId);
});

async function crashAfterVote(
  { application, store }: ReturnType<typeof testApplication>,
  guard: Awaited<ReturnType<typeof openSignGuard>>,
  genesis: ReturnType<typeof genesisDocument>,
) {
  const tx = transfer(FAUCET, 0, ALICE, OPG);
  let blockHash: Uint8Array = new Uint8Array(0);
  await new Promise<void>((resolve, reject) => {
    const broken = {
      ...application,
      prepareProposal: async () => [tx],
      finalizeBlock: (request: Parameters<typeof application.finalizeBlock>[0]) => {
        blockHash = request.hash;
        return application.finalizeBlock(request);
      },
      commit: () => Promise.reject(new Error('power cut')),
    };
    const onFailure = ({ message }: Error): void => {
      if (message === 'power cut') resolve();
      else reject(new Error(message));
    };
    const options = { genesis, application: broken, store, guard, publicKey: SIGNER.publicKey, onFailure };
    startEngine({ ...options, clock: Date.now, blockIntervalMs: 1, emptyBlockIntervalMs: 1 }).catch(reject);
  });
  const vote = guard.latest();
  assert.ok(vote !== null);
  return { tx, blockHash, signature: vote.signature, height: vote.height };
}

test('a block that cannot be executed is not voted for', async (t) => {
  const genesis = genesisDocument(Date.now());
  const node = await testNode(t, { genesis });
  await node.close();
  const { height } = node.engine.tip();
  const guard = await openSignGuard(join(node.home, 'sign-state'), SIGNER);
  const { application, store } = testApplication(t, { folder: join(node.home, 'data') });
  await new Promise<void>((resolve, reject) => {
    const broken = { ...application, finalizeBlock: async () => assert.fail('cannot be executed') };
    const options = { genesis, application: broken, store, guard, publicKey: SIGNER.publicKey };
    const timing = { clock: Date.now, blockIntervalMs: 1, emptyBlockIntervalMs: 1 };
    startEngine({ ...options, ...timing, onFailure: () => resolve() }).catch(reject);
  });
  assert.equal(guard.latest()?.height, height);
  await guard.close();
  await store.close();
  const again = await testNode(t, { genesis, home: node.home, emptyBlockIntervalMs: 1 });
  await blocksUntil(again.engine, (blocks) => blocks.length === 2);
});

test('CHAIN-88: a block that would take the majority from the embedded key is not made; the chain goes on without it', async (t) => {
  const genesis = genesisDocument(Date.now());
  const failures: string[] = [];
  const node = await testNode(t, { genesis, onFailure: ({ message }) => void failures.push(message) });
  const register = (nonce: number, name: string, bond: bigint): Uint8Array =>
    transaction(FAUCET, nonce, [registerOp(FAUCET, consensusSigner(name), bond)]);
  const small = blocksUntil(node.engine, (blocks) => blocks.some(({ block }) => block.txs.length > 0));
  await node.engine.submit(register(0, 'small', 499_000n * OPG));
  await small;
  const { height } = node.engine.tip();
  await node.engine.submit(register(1, 'large', 101_000n * OPG));
  while (failures.length === 0) await delay(2);
  assert.match(
    failures.join(),
    /block \d+ was not made .*1000 of 1600, not more than 2\/3 of the voting power; use CometBFT/,
  );
  await node.close();
  const again = await testNode(t, { genesis, home: node.home, emptyBlockIntervalMs: 1 });
  await blocksUntil(again.engine, (blocks) => blocks.length === 5);
  const { validators, totalPower } = again.engine.tip().validators;
  assert.deepEqual([validators.length, totalPower], [2, 1_499n]);
  await again.close();
  assert.ok(auditChain(t, node.home, CHAIN).length > height, 'also with the commits of a set of two');
});

test('a folder belongs to one genesis', async (t) => {
  const genesis = genesisDocument(Date.now());
  const node = await testNode(t, { genesis });
  await node.close();
  const later = genesisDocument(Date.now() + 1);
  await assert.rejects(testNode(t, { genesis: later, home: node.home }), /belongs to another genesis/);
  const app = { ...(genesis.json['app_state'] as Record<string, unknown>), measurements: [] as unknown[] };
  app.measurements = [{ name: 'x', kind: 'nitro', registers: { pcr0: '00'.repeat(48) } }];
  const changed = parseGenesisDocument({ ...genesis.json, app_state: app });
  await assert.rejects(testNode(t, { genesis: changed, home: node.home }), /belongs to another genesis/);
  await (await testNode(t, { genesis, home: node.home })).close();
});

test('transactions are taken although the clock runs away', async (t) => {
  let nowMs = Date.UTC(2026, 5, 1);
  const clock = () => (nowMs += 10_000);
  const node = await testNode(t, { genesis: genesisDocument(nowMs), clock, emptyBlockIntervalMs: 3_600_000 });
  const seen = blocksUntil(node.engine, (blocks) => blocks.some(({ block }) => block.txs.length === 1));
  await node.engine.submit(transfer(FAUCET, 0, ALICE, OPG));
  assert.ok((await seen).length <= 3);
});

test('lost blocks under a sign state that knows of them stop the node', async (t) => {
  const genesis = genesisDocument(Date.now());
  const node = await testNode(t, { genesis });
  await node.close();
  const lost = temporaryFolder(t);
  cpSync(join(node.home, 'sign-state'), join(lost, 'sign-state'), { recursive: true });
  await assert.rejects(testNode(t, { genesis, home: lost }), /blocks were lost/);
});

test('a genesis whose validators are not those of its app_state, or not this key, starts nothing', async (t) => {
  const app = testGenesis();
  const json = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: 1, app });
  const [validator] = json['validators'] as Record<string, unknown>[];
  const changed = { ...json, validators: [{ ...validator, power: '5' }] };
  await assert.rejects(testNode(t, { genesis: parseGenesisDocument(changed) }), /not those of its app_state/);
  const stranger = new Uint8Array(32).fill(3);
  await assert.rejects(testNode(t, { validatorSeed: stranger }), /not more than 2\/3/);
});

test('CHAIN-86: a genesis of several validators has their powers, and keeps evidence as long as their stake', () => {
  const genesis = testGenesis();
  const selfBond = 100_000n * OPG;
  const more = ['a', 'b', 'c'].map((name) => ({
    consensusKey: actor(`consensus ${name}`).key.publicKey,
    operator: actor(name).id,
    selfBond,
  }));
  const app = {
    ...genesis,
    reserveNopg: genesis.reserveNopg - 3n * selfBond,
    validators: [...genesis.validators, ...more],
  };
  const made = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: 0, app });
  const json = JSON.parse(JSON.stringify(made)) as {
    consensus_params: { evidence: unknown };
    validators: { power: string }[];
  };
  assert.deepEqual(json.consensus_params.evidence, {
    max_age_num_blocks: `${app.params.unbondingTime - 2}`,
    max_age_duration: `${(app.params.unbondingTimeMs * 9) / 10}000000`,
    max_bytes: '1048576',
  });
  assert.deepEqual(
    json.validators.map(({ power }) => power),
    ['1000', '100', '100', '100'],
  );
  assert.deepEqual(parseGenesisDocument(json).app.validators, app.validators);
  const usual = { ...app, params: { ...app.params, unbondingTimeMs: 14 * 24 * 3_600_000 } };
  const hourLess = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: 0, app: usual });
  assert.match(JSON.stringify(hourLess), /"max_age_duration":"1206000000000000"/);
  const farOff = { ...app, params: { ...app.params, unbondingTimeMs: 10_000_000_000_000 } };
  const clamped = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: 0, app: farOff });
  assert.match(JSON.stringify(clamped), /"max_age_duration":"9223372036854775807"/);
});

test('genesis documents are parsed strictly', () => {
  const good = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: 1, app: testGenesis() });
  assert.equal(parseGenesisDocument(good).validators.validators.length, 1);
  const bad: Readonly<Record<string, unknown>>[] = [
    { ...good, chain_id: '' },
    { ...good, chain_id: 'x'.repeat(51) },
    { ...good, chain_id: 7 },
    { ...good, initial_height: '-1' },
    { ...good, initial_height: '01' },
    { ...good, genesis_time: 'yesterday' },
    { ...good, consensus_params: {} },
    { ...good, consensus_params: { block: { max_bytes: '1000', max_gas: '-1' } } },
    { ...good, consensus_params: { block: { max_bytes: '2000000', max_gas: '-2' } } },
    { ...good, validators: null },
    { ...good, validators: [...(good['validators'] as unknown[]), ...(good['validators'] as unknown[])] },
    { ...good, app_state: null },
  ];
  for (const document of bad) {
    assert.throws(
      () => parseGenesisDocument(document),
      { name: 'MalformedError' },
      JSON.stringify(document).slice(0, 200),
    );
  }
  for (const value of [null, [], 'x', 1])
    assert.throws(() => parseGenesisDocument(value), { name: 'MalformedError' });
});

const vote = (height: number, text: string) => ({
  height,
  timestamp: { seconds: 1_700_000_000n, nanos: 5 },
  signBytes: utf8Encode(text),
  block: utf8Encode(`block of ${text}`),
});

test('the sign guard signs one block per height, across restarts', async (t) => {
  const folder = temporaryFolder(t);
  const first = await openSignGuard(folder, SIGNER);
  assert.equal(first.latest(), null);
  const a = await first.sign(vote(5, 'a'));
  assert.deepEqual(await first.sign(vote(5, 'a')), a, 'the same vote again');
  await assert.rejects(first.sign(vote(5, 'b')), DoubleSignError);
  await assert.rejects(first.sign(vote(4, 'a')), DoubleSignError);
  await first.sign(vote(6, 'c'));
  await first.close();
  const second = await openSignGuard(folder, SIGNER);
  assert.deepEqual(second.latest()?.block, utf8Encode('block of c'));
  await assert.rejects(second.sign(vote(6, 'd')), DoubleSignError);
  await second.sign(vote(7, 'e'));
  await second.close();
  const third = await openSignGuard(folder, SIGNER);
  assert.equal(third.latest()?.height, 7);
  await third.close();
});

test('a torn write of a vote leaves the vote before it', async (t) => {
  const folder = temporaryFolder(t);
  const guard = await openSignGuard(folder, SIGNER);
  for (let height = 1; height <= 4; height++) await guard.sign(vote(height, `vote ${height}`));
  await guard.close();
  const newest = ['vote-0', 'vote-1']
    .map((name) => join(folder, name))
    .find((path) => readFileSync(path).includes('vote 4'));
  assert.ok(newest !== undefined);
  const whole = readFileSync(newest);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(whole.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (at, flip, cut) => {
        const torn = Buffer.from(cut ? whole.subarray(0, at) : whole);
        if (!cut) torn[at] = (torn[at] as number) ^ flip;
        writeFileSync(newest, torn);
        const again = await openSignGuard(folder, SIGNER);
        const height = again.latest()?.height;
        await again.close();
        return height === 3;
      },
    ),
    { numRuns: 100 },
  );
  writeFileSync(newest, whole);
  const again = await openSignGuard(folder, SIGNER);
  assert.equal(again.latest()?.height, 4);
  await again.close();
});

test('a validator key file is made once, private, and read back', (t) => {
  const path = join(temporaryFolder(t), 'validator.json');
  const signer = createValidatorKeyFile(path);
  assert.deepEqual(ed25519SignerFromSeed(readValidatorKeyFile(path)).publicKey, signer.publicKey);
  assert.throws(() => createValidatorKeyFile(path), { code: 'EEXIST' });
  for (const text of ['{}', 'null', '{"version":1,"kind":"haca-validator","seed":"00"}']) {
    writeFileSync(path, text);
    assert.throws(() => readValidatorKeyFile(path), { name: 'MalformedError' });
  }
});

test('the mempool is first in, first out, bounded, and knows what it saw', async () => {
  const refused = new Set<string>();
  const accept = { code: 0, log: '', codespace: '', gasWanted: 0n };
  const limits = { txs: 3, bytes: 100, txBytes: 50, cache: 4 };
  const mempool = createMempool((tx) => (refused.has(toHex(tx)) ? { ...accept, code: 1 } : accept), limits);
  const tx = (byte: number, length = 10) => new Uint8Array(length).fill(byte);
  const fails = (bytes: Uint8Array, code: MempoolError['code']) =>
    assert.rejects(mempool.add(bytes), (error) => error instanceof MempoolError && error.code === code);
  assert.equal((await mempool.add(tx(1))).code, 0);
  await fails(tx(1), 'in-cache');
  await fails(tx(2, 51), 'too-large');
  refused.add(toHex(tx(9)));
  assert.equal((await mempool.add(tx(9))).code, 1);
  refused.clear();
  assert.equal((await mempool.add(tx(9))).code, 0, 'what was refused may be tried again');
  assert.equal((await mempool.add(tx(3))).code, 0);
  await fails(tx(4), 'full');
  assert.deepEqual(mempool.txs(), [tx(1), tx(9), tx(3)]);
  refused.add(toHex(tx(3)));
  await mempool.update([
    { tx: tx(1), isApplied: true },
    { tx: tx(7), isApplied: false },
  ]);
  assert.deepEqual(mempool.txs(), [tx(9)]);
  assert.equal(mempool.sizeBytes(), 10);
  await fails(tx(1), 'in-cache');
  refused.clear();
  assert.equal((await mempool.add(tx(3))).code, 0, 'what the recheck threw out may come back');
  for (let i = 20; i < 30; i++) {
    refused.delete(toHex(tx(i)));
    await mempool.update([{ tx: tx(i), isApplied: true }]);
  }
  await fails(tx(9), 'in-cache');
  assert.equal((await mempool.add(tx(1))).code, 0, 'the cache forgets the oldest');
});

test('a recheck lets the process breathe, and whoever comes meanwhile is asked about after all that waited', async () => {
  const asked: string[] = [];
  let isSlow = false;
  const check = (tx: Uint8Array, kind: 'new' | 'recheck') => {
    asked.push(`${kind} ${tx[0]}`);
    if (isSlow) for (const start = performance.now(); performance.now() - start < 2; );
    // One that is refused leaves room for the one after.
    return { code: kind === 'recheck' && tx[0] === 1 ? 1 : 0, log: '', codespace: '', gasWanted: 0n };
  };
  const mempool = createMempool(check);
  const tx = (byte: number) => new Uint8Array(10).fill(byte);
  for (let i = 0; i < 20; i++) await mempool.add(tx(i));
  asked.length = 0;
  isSlow = true;
  let isOver = false;
  const updated = mempool.update([{ tx: tx(0), isApplied: true }]).then(() => {
    isOver = true;
  });
  assert.ok(!mempool.txs().some(([byte]) => byte === 0), 'what the block took is gone at once');
  const added = [mempool.add(tx(30)), mempool.add(tx(31))];
  let turns = 0;
  while (!isOver) {
    await nextTurn();
    turns++;
  }
  await Promise.all([updated, ...added]);
  assert.ok(turns > 2, `${turns} turns`);
  const rechecked = Array.from({ length: 19 }, (_, i) => `recheck ${i + 1}`);
  assert.deepEqual(asked, [...rechecked, 'new 30', 'new 31']);
  assert.deepEqual(
    mempool.txs().map(([byte]) => byte),
    [...Array.from({ length: 18 }, (_, i) => i + 2), 30, 31],
  );
});
