import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { timestampFromMs } from '@haca/light-client';
import { sha256, toHex, utf8Encode } from '@haca/primitives';
import { recordKey } from '@haca/protocol';
import { createRetention } from '../src/application/retention.ts';
import type { ApplicationOptions, HacaApplication } from '../src/application.ts';
import { createSnapshotUse } from '../src/snapshots/in-use.ts';
import { operatorOf } from './application-ops.ts';
import { initChainRequest, requestOf } from './consensus-drivers.ts';
import {
  FAUCET,
  GENESIS_TIME_MS,
  genesisDocument,
  temporaryFolder,
  testApplication,
  transfer,
} from './engine-fixture.ts';
import { EVIDENCE_HISTORY, learn, randomTx, startHistory } from './random-history.ts';
import { announce } from './snapshot-fixture.ts';
import { actor, OPG, PROPOSER } from './state-machine-world.ts';

const GENESIS = genesisDocument();
const ALICE = actor('alice');

function node(
  t: TestContext,
  folder = temporaryFolder(t),
  intervalHeights = 1,
  more: Partial<ApplicationOptions> = {},
) {
  const lines: string[] = [];
  const snapshots = { directory: join(folder, 'snapshots'), intervalHeights };
  const log = (line: string) => lines.push(line);
  const opened = testApplication(t, { folder: join(folder, 'data'), over: { snapshots, log, ...more } });
  t.after(() => opened.application.close());
  const idle = async () => {
    while (opened.application.listSnapshots()[0]?.height !== opened.application.info().lastBlockHeight)
      await new Promise((resolve) => setTimeout(resolve, 1));
  };
  return { ...opened, folder, lines, idle };
}

function initChain(application: HacaApplication): void {
  const appState = utf8Encode(JSON.stringify(GENESIS.json['app_state']));
  const { time, chainId, initialHeight } = GENESIS;
  application.initChain({
    time,
    chainId,
    initialHeight,
    validators: GENESIS.validators.validators,
    appState,
  });
}

async function block(application: HacaApplication, height: number, txs: readonly Uint8Array[] = []) {
  const response = await application.finalizeBlock({
    txs,
    height,
    time: timestampFromMs(GENESIS_TIME_MS + height * 1000),
    proposerAddress: PROPOSER,
    hash: sha256(utf8Encode(`block ${height}`)),
    lastCommit: [],
    misbehavior: [],
  });
  await application.commit();
  return response;
}

/** Takes the newest snapshot of one node into another, as CometBFT would carry it. */
async function joinFrom(from: HacaApplication, to: HacaApplication, appHash = from.info().lastBlockAppHash) {
  const [snapshot] = from.listSnapshots();
  if (snapshot === undefined) throw new Error('there is no snapshot');
  const offered = await to.offerSnapshot({ snapshot, appHash });
  if (offered !== 'accept') return offered;
  for (let chunk = 0; chunk < snapshot.chunks; chunk++) {
    const { height, format } = snapshot;
    const bytes = await from.loadSnapshotChunk({ height, format, chunk });
    const { result } = await to.applySnapshotChunk({ index: chunk, chunk: bytes, sender: 'peer' });
    if (result !== 'accept') return result;
  }
  return 'accept';
}

test('TC-24: a node that joined by state sync judges evidence, collateral and decrees as the others do', async (t) => {
  const { genesis, evidence } = EVIDENCE_HISTORY.world ?? {};
  assert.ok(genesis !== undefined && evidence !== undefined);
  const history = startHistory(5, EVIDENCE_HISTORY);
  const { world, random } = history;
  for (let i = 0; i < 40; i++) {
    const sent = Array.from({ length: 1 + random.below(4) }, () => randomTx(history));
    learn(history, sent, world.block(sent.map(({ tx }) => tx)).results);
  }
  const requests = world.inputs.map(requestOf);
  // One snapshot, of the height at which the other joins: it is waited for.
  const joinHeight = requests.length - 15;
  const old = node(t, undefined, joinHeight, { evidence });
  old.application.initChain(initChainRequest({ genesis, genesisTimeMs: 1_700_000_000_000 }));
  for (const request of requests.slice(0, joinHeight)) {
    await old.application.finalizeBlock(request);
    await old.application.commit();
  }
  await old.idle();
  const fresh = node(t, undefined, joinHeight, { evidence });
  assert.equal(await joinFrom(old.application, fresh.application), 'accept');
  for (const request of requests.slice(joinHeight)) {
    const [here, there] = [
      await old.application.finalizeBlock(request),
      await fresh.application.finalizeBlock(request),
    ];
    assert.deepEqual(there, here);
    await old.application.commit();
    await fresh.application.commit();
  }
  assert.ok(history.keys.length > 0);
  for (const { keyId } of history.keys) {
    const ask = { path: '/key-standing', data: keyId, height: 0, prove: false };
    assert.deepEqual(fresh.application.query(ask), old.application.query(ask));
  }
});

test('SNAP-8 CHAIN-9 a node that joined by state sync executes as the others do, block hashes from before included', async (t) => {
  const { operator, fund, register, openKey } = operatorOf('node operator');
  const old = node(t);
  initChain(old.application);
  await block(old.application, 1, fund);
  await old.idle();
  await block(old.application, 2, [register]);
  await old.idle();

  const folder = temporaryFolder(t);
  const fresh = node(t, folder);
  const waiting = fresh.application.query({
    path: '/record',
    data: recordKey.account(ALICE.id),
    height: 0,
    prove: true,
  });
  assert.equal(waiting.code, 1, 'asked before there is a state');
  assert.equal(await joinFrom(old.application, fresh.application), 'accept');
  assert.deepEqual(fresh.application.info(), old.application.info());
  assert.equal(fresh.application.info().lastBlockHeight, 2);

  // It names block 1 by its hash, which only the state could tell the new node.
  const [here, there] = [
    await block(old.application, 3, [openKey]),
    await block(fresh.application, 3, [openKey]),
  ];
  assert.equal(here.txResults[0]?.code, 0, here.txResults[0]?.log);
  assert.deepEqual(there, here);
  await old.idle();
  await fresh.idle();
  assert.deepEqual(fresh.application.listSnapshots()[0], old.application.listSnapshots()[0], 'byte for byte');

  await fresh.application.close();
  await fresh.store.close();
  const again = node(t, folder);
  assert.deepEqual(again.application.info(), old.application.info());
  const rest = [[transfer(operator, 9, ALICE, OPG)], [], [transfer(operator, 10, ALICE, OPG)]];
  for (const [i, txs] of rest.entries())
    assert.deepEqual(await block(again.application, 4 + i, txs), await block(old.application, 4 + i, txs));
});

test('SNAP-8 there is no snapshot of a height without gas, and a state offered as that of one is refused', async (t) => {
  const old = node(t);
  initChain(old.application);
  await block(old.application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
  await old.idle();
  const appHash = old.application.info().lastBlockAppHash;
  const { appHash: same } = await block(old.application, 2);
  assert.deepEqual(same, appHash);
  assert.deepEqual(
    old.application.listSnapshots().map(({ height }) => height),
    [1],
  );

  // The state of height 2 is that of height 1, but for the hash of block 2, which it does not hold.
  const fresh = node(t);
  const chunk = await old.application.loadSnapshotChunk({ height: 1, format: 1, chunk: 0 });
  const { snapshot } = announce(2, appHash, [chunk]);
  assert.equal(await fresh.application.offerSnapshot({ snapshot, appHash }), 'accept');
  const { result } = await fresh.application.applySnapshotChunk({ index: 0, chunk, sender: 'mallory' });
  assert.equal(result, 'reject-snapshot');
  assert.equal(fresh.application.info().lastBlockHeight, 0);
  assert.match(fresh.lines.join('\n'), /older than its height/);
  assert.equal(await joinFrom(old.application, fresh.application, appHash), 'accept');
  assert.equal(fresh.application.info().lastBlockHeight, 1);
});

test('SNAP-9 which heights have a snapshot follows from the chain: the first with gas of each interval, the newest two', async (t) => {
  const folders = [temporaryFolder(t), temporaryFolder(t)];
  const taken: string[][] = [];
  for (const [i, folder] of folders.entries()) {
    let opened = node(t, folder, 4);
    initChain(opened.application);
    const seen = new Set<string>();
    for (let height = 1; height <= 14; height++) {
      // Gas in 1, 5, 6, 7, 13, 14: due are 5 and 13.
      const nonce = [1, 5, 6, 7, 13, 14].indexOf(height);
      await block(opened.application, height, nonce < 0 ? [] : [transfer(FAUCET, nonce, ALICE, 10n * OPG)]);
      if (height === 5 || height === 13) await opened.idle();
      for (const { height: at, hash } of opened.application.listSnapshots()) seen.add(`${at} ${toHex(hash)}`);
      if (i === 1 && height % 3 === 0) {
        await opened.application.close();
        await opened.store.close();
        opened = node(t, folder, 4);
      }
    }
    taken.push([...seen]);
    assert.deepEqual(
      opened.application.listSnapshots().map(({ height }) => height),
      [13, 5],
    );
  }
  assert.deepEqual(taken[0], taken[1], 'restarts make no difference');
});

test('a node with blocks of its own takes no snapshot, and after a refused one a chain can begin from genesis', async (t) => {
  const old = node(t);
  initChain(old.application);
  await block(old.application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
  await old.idle();
  assert.equal(await joinFrom(old.application, old.application), 'abort');
  const fresh = node(t);
  assert.equal(await joinFrom(old.application, fresh.application, sha256(utf8Encode('another'))), 'reject');
  initChain(fresh.application);
  await block(fresh.application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
  assert.deepEqual(fresh.application.info(), old.application.info());
});

test('SNAP-9 a snapshot that a joining node is fetching outlives two newer ones, and fetching keeps two old ones at most', async (t) => {
  const { application, idle } = node(t);
  initChain(application);
  const grow = async (height: number): Promise<void> => {
    await block(application, height, [transfer(FAUCET, height - 1, ALICE, 10n * OPG)]);
    await idle();
  };
  const heights = (): number[] => application.listSnapshots().map(({ height }) => height);
  const ask = (height: number) => application.loadSnapshotChunk({ height, format: 1, chunk: 0 });
  await grow(1);
  assert.ok((await ask(1)).length > 0);
  for (let height = 2; height <= 4; height++) await grow(height);
  assert.deepEqual(heights(), [4, 3, 1]);
  for (const height of [3, 4, 999]) await ask(height);
  for (let height = 5; height <= 8; height++) await grow(height);
  assert.deepEqual(heights(), [8, 7, 4, 3]);
});

test('a snapshot nobody asked for in ten minutes is in use no more', () => {
  let now = 0;
  const use = createSnapshotUse(() => now);
  use.asked(7);
  const old = [{ height: 7 }, { height: 6 }];
  now = 10 * 60_000 - 1;
  assert.deepEqual([...use.spared(old)], [7]);
  now++;
  assert.deepEqual([...use.spared(old)], []);
});

test('blocks are let go once neither age, evidence, execution nor a snapshot needs them', async (t) => {
  const opened = testApplication(t, { over: { retention: { retainBlocks: 5 } } });
  initChain(opened.application);
  for (let height = 1; height <= 20; height++) await block(opened.application, height);
  assert.equal(opened.store.baseHeight(), 1, 'evidence counts as long as bonds unbond');

  const HOUR_MS = 3_600_000;
  const params = { settleWindow: 3, unbondingTime: 4, unbondingTimeMs: 6_000 };
  const make = (
    retainBlocks: number,
    over: Partial<typeof params> = {},
    oldest: number | undefined = undefined,
  ) =>
    createRetention(
      { retainBlocks },
      { store: opened.store, params: () => ({ ...params, ...over }), oldestSnapshot: () => oldest },
    );
  const timeMs = GENESIS_TIME_MS + 20_000;
  const settled = (retention: ReturnType<typeof make>, at = timeMs): number => {
    let retain = 0;
    for (let i = 0; i < 20; i++) retain = retention.committed(20, at);
    return retain;
  };
  assert.equal(settled(make(0)), 0);
  assert.equal(settled(make(1)), 14, 'blocks of the last 6 s');
  assert.equal(settled(make(1), timeMs + HOUR_MS), 16, 'and at least 4 of them');
  assert.equal(settled(make(1, { unbondingTime: 0 }), timeMs + HOUR_MS), 17, 'hashes for execution');
  assert.equal(settled(make(8)), 13);
  assert.equal(settled(make(1, {}, 9)), 9, 'a snapshot that is served');
  assert.equal(settled(make(1, {}, 1)), 1, 'everything, until there is a snapshot to begin from');
  assert.equal(settled(make(100)), 0);
  await opened.application.close();
});
