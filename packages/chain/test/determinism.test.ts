/**
 * The same blocks lead to the same state and results, whoever drives the application and whatever it did before: app hash,
 * results hash, validator updates, events, and a root per table of the state.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseGenesisDocument } from '@haca/light-client';
import { ed25519SignerFromSeed, nodeCrypto } from '@haca/platform';
import { sha256, toHex, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import type { Application, BlockRequest } from '../src/abci.ts';
import { openApplication } from '../src/application.ts';
import { startEngine } from '../src/engine/engine.ts';
import { openSignGuard } from '../src/engine/sign-guard.ts';
import { makeGenesisDocument } from '../src/genesis-document.ts';
import { createStateTree } from '../src/state-tree/index.ts';
import { openStore } from '../src/storage/index.ts';
import { operatorOf } from './application-ops.ts';
import {
  driveDirectly,
  driveOverSocket,
  recordBlocks,
  requestOf,
  type Scenario,
  type Way,
} from './consensus-drivers.ts';
import { FAUCET, GENESIS_TIME_MS, temporaryFolder, transfer, VALIDATOR_SEED } from './engine-fixture.ts';
import {
  EVIDENCE_HISTORY,
  HISTORY_PARAMS,
  type HistoryOptions,
  learn,
  randomTx,
  startHistory,
} from './random-history.ts';
import { actor, CHAIN, OPG, PROPOSER, SHORT_PARAMS, testGenesis, type World } from './state-machine-world.ts';
import { forgedEvidence, SIGNATURES_VERIFIER, testEvidence } from './test-evidence.ts';

interface Recorded {
  readonly scenario: Scenario;
  readonly world: World;
  /** Codes of the results, and names of what the history had in it. */
  readonly met: ReadonlySet<string>;
}

/** A random history, its blocks with votes and faults of validators; made by the state machine alone. */
function record(seed: number, blockCount: number, withProofs = false): Recorded {
  const genesis = testGenesis({ ...SHORT_PARAMS, ...HISTORY_PARAMS });
  const evidence = [testEvidence, testEvidence, forgedEvidence(0), forgedEvidence(2)];
  let opened = 0;
  return recordHistory(seed, blockCount, genesis, SIGNATURES_VERIFIER, {
    evidenceOf: (bindingHash) => (evidence[opened++ % evidence.length] as typeof testEvidence)(bindingHash),
    withStaking: true,
    withProofs,
  });
}

function recordHistory(
  seed: number,
  blockCount: number,
  genesis: Scenario['genesis'],
  evidence: Scenario['evidence'],
  options: HistoryOptions,
): Recorded {
  const history = startHistory(seed, { ...options, world: { genesis, evidence, audit: false } });
  const { world, random } = history;
  const met = new Set<string>();
  for (let i = 0; i < blockCount; i++) {
    const sent = Array.from({ length: random.below(7) }, () => randomTx(history));
    const height = world.height() + 1;
    const misbehavior = random.chance(0.05) ? [{ address: PROPOSER, height: height - 1 }] : [];
    const { results, validatorUpdates, events } = world.block(
      sent.map(({ tx }) => tx),
      {
        timeMs: world.timeMs() + random.below(3_000),
        lastCommit: random.chance(0.1) ? [] : [{ address: PROPOSER, signed: random.chance(0.9) }],
        misbehavior,
      },
    );
    for (const result of results) {
      met.add(result.codeName);
      for (const { type } of result.events) met.add(type);
    }
    for (const { type } of events) met.add(type);
    if (misbehavior.length > 0) met.add('misbehavior');
    if (validatorUpdates.length > 0) met.add('validator-updates');
    learn(history, sent, results);
  }
  const blocks = world.inputs.map(requestOf);
  const scenario = { genesis, genesisTimeMs: 1_700_000_000_000, blocks, evidence };
  return { scenario, world, met };
}

const checkAll = (application: Application, { txs }: BlockRequest): void => {
  for (const tx of txs) application.checkTx(tx, 'new');
};

/** A block that somebody else might have proposed at this height. */
function otherBlock(block: BlockRequest, i: number): BlockRequest {
  const txs = i === 0 ? [] : block.txs.filter((_, at) => at % (i + 1) !== 0);
  return { ...block, txs: [...txs].reverse(), hash: sha256(utf8Encode(`${toHex(block.hash)} ${i}`)) };
}

const WAYS: Readonly<Record<string, Way>> = {
  'decided blocks only, as on replay': {},
  'seen by the mempool, then proposed, then decided': {
    before: async (application, block) => {
      checkAll(application, block);
      await application.prepareProposal({ ...block, maxTxBytes: 1_000_000 });
      await application.processProposal(block);
    },
  },
  'other blocks were proposed before and after it': {
    before: async (application, block) => {
      await application.processProposal(otherBlock(block, 0));
      await application.processProposal(block);
      for (let i = 1; i < 4; i++) await application.processProposal(otherBlock(block, i));
    },
  },
  'its candidate was pushed out, and another block was finalized first': {
    before: async (application, block) => {
      await application.processProposal(block);
      for (let i = 0; i < 5; i++) await application.processProposal(otherBlock(block, i));
      await application.finalizeBlock(otherBlock(block, 2));
    },
  },
  'proposed with the same hash, but other votes and faults': {
    before: async (application, block) => {
      await application.processProposal({ ...block, lastCommit: [] });
      await application.processProposal({
        ...block,
        misbehavior: [{ kind: 'duplicate-vote', address: PROPOSER, height: block.height - 1 }],
      });
      await application.processProposal({ ...block, txs: block.txs.slice(1) });
    },
  },
  'closed and opened again after every height': { restartsAfterEach: true },
  'closed and opened again, its blocks seen and proposed': {
    before: async (application, block) => {
      checkAll(application, block);
      await application.processProposal(block);
    },
    restartsAfterEach: true,
  },
};

/** App hashes by the state machine's own changes, in a tree of their own. */
function expectedAppHashes({ world }: Recorded): readonly string[] {
  const tree = createStateTree();
  tree.update(0, world.genesisChanges);
  return world.outputs.map(({ changes }, i) => toHex(tree.update(i + 1, changes)));
}

async function compare(t: TestContext, recorded: Recorded): Promise<void> {
  const { scenario } = recorded;
  const overSocket = await driveOverSocket(t, scenario);
  assert.deepEqual(
    overSocket.map(({ appHash }) => appHash),
    expectedAppHashes(recorded),
    'the state machine alone',
  );
  for (const [name, way] of Object.entries(WAYS)) {
    const outcomes = await driveDirectly(t, scenario, way);
    for (const [i, outcome] of outcomes.entries())
      assert.deepEqual(outcome, overSocket[i], `${name}: height ${outcome.height}`);
    assert.equal(outcomes.length, overSocket.length);
  }
}

test('CHAIN-93: a fixed history, which meets what matters, gives one outcome per height in every way', async (t) => {
  const recorded = record(4, 40);
  const wanted = [
    'OK',
    'E_NONCE',
    'E_EVIDENCE',
    'E_MALFORMED',
    'E_KEY_PRUNED',
    'validator-updates',
    'misbehavior',
  ];
  const missing = wanted.filter((name) => !recorded.met.has(name));
  assert.deepEqual(missing, [], `the history met ${[...recorded.met].join(' ')}`);
  await compare(t, recorded);
});

test('ZKC-22 CHAIN-93: a fixed history with claims and proofs gives one outcome per height in every way', async (t) => {
  const recorded = record(1, 40, true);
  const wanted = ['OK', 'E_PROOF', 'E_BINDING', 'E_CLAIM', 'prove', 'claim', 'slash', 'pay'];
  const missing = wanted.filter((name) => !recorded.met.has(name));
  assert.deepEqual(missing, [], `the history met ${[...recorded.met].join(' ')}`);
  await compare(t, recorded);
});

test('TC-24 CHAIN-93: a fixed history of evidence, collateral and decrees gives one outcome per height in every way', async (t) => {
  const { genesis, evidence } = EVIDENCE_HISTORY.world ?? {};
  assert.ok(genesis !== undefined && evidence !== undefined);
  const recorded = recordHistory(3, 40, genesis, evidence, { withEvidence: true });
  const wanted = [
    'OK',
    'E_EVIDENCE',
    'E_COLLATERAL',
    'E_HARDWARE',
    'collateral',
    'decree',
    'open-key',
    'settle',
  ];
  const missing = wanted.filter((name) => !recorded.met.has(name));
  assert.deepEqual(missing, [], `the history met ${[...recorded.met].join(' ')}`);
  await compare(t, recorded);
});

test('CHAIN-93 property: random histories give one outcome per height in every way', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.nat(2 ** 31 - 1), (seed) => compare(t, record(seed, 12, seed % 2 === 0))),
    { numRuns: 2 },
  );
});

test('CHAIN-93: blocks that the embedded engine makes lead to the same over the socket and on replay', async (t) => {
  const folder = temporaryFolder(t);
  const params = { ...SHORT_PARAMS, validUntilAhead: 1_000_000 };
  const app = testGenesis(params);
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: GENESIS_TIME_MS, app });
  const genesis = parseGenesisDocument(JSON.parse(JSON.stringify(document)));
  const signer = ed25519SignerFromSeed(VALIDATOR_SEED);
  const store = openStore(join(folder, 'data'));
  const guard = await openSignGuard(join(folder, 'sign-state'), signer);
  const application = openApplication({
    store,
    crypto: nodeCrypto,
    evidence: SIGNATURES_VERIFIER,
    checkInvariants: true,
  });
  const { recorded, blocks, outcomes } = recordBlocks(application);
  let now = GENESIS_TIME_MS;
  const engine = await startEngine({
    genesis,
    application: recorded,
    store,
    guard,
    publicKey: signer.publicKey,
    clock: () => {
      now += 700;
      return now;
    },
    blockIntervalMs: 1,
    emptyBlockIntervalMs: 5,
    onFailure: (error) => assert.fail(error),
  });
  const alice = actor('alice');
  const node = operatorOf('node operator');
  const steps: readonly ((ref: { height: number; hash: Uint8Array }) => readonly Uint8Array[])[] = [
    () => [...node.fund, transfer(FAUCET, 7, alice, 5n * OPG)],
    () => [node.register, transfer(alice, 0, FAUCET, OPG), Uint8Array.of(1, 2, 3)],
    (ref) => [node.openTeeKey(1, 1, testEvidence, ref), transfer(alice, 1, FAUCET, 50n * OPG)],
    (ref) => [node.openTeeKey(2, 2, forgedEvidence(1), ref), transfer(alice, 2, FAUCET, 1n, { tipCap: 5n })],
  ];
  for (const txsAt of steps) {
    const { height, blockId } = engine.tip();
    for (const tx of txsAt({ height, hash: blockId.hash })) await engine.submit(tx);
    while (engine.mempool.size() > 0 || engine.tip().height < height + 2) await nextTurn();
  }
  await engine.stop();
  await application.close();
  await guard.close();
  await store.close();
  assert.ok(blocks.some(({ txs }) => txs.length > 1));
  assert.ok(outcomes.at(-1)?.modules['nodeKey'] !== undefined, 'a key was opened');
  const scenario = { genesis: app, genesisTimeMs: GENESIS_TIME_MS, blocks, evidence: SIGNATURES_VERIFIER };
  assert.deepEqual(await driveOverSocket(t, scenario), outcomes);
  for (const way of Object.values(WAYS)) assert.deepEqual(await driveDirectly(t, scenario, way), outcomes);
});
