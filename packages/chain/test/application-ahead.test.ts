/** Proofs verified ahead of need and blocks executed before they are decided, at the seam to consensus. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import { timestampFromMs } from '@haca/light-client';
import { nodeCrypto, type SignatureCheck, verifySignatureAsync } from '@haca/platform';
import { type CryptoProvider, decode, encode, sha256, toHex, utf8Encode } from '@haca/primitives';
import { codeNumber, nopg, recordKey, totalsRecordCodec } from '@haca/protocol';
import type { BlockRequest } from '../src/abci.ts';
import { encodeBlockResults } from '../src/application/block-results.ts';
import { moduleRoots } from '../src/application/module-roots.ts';
import type { ApplicationOptions, HacaApplication } from '../src/application.ts';
import { applyGenesis } from '../src/state-machine/index.ts';
import { createStateTree } from '../src/state-tree/index.ts';
import { openStore } from '../src/storage/index.ts';
import { operatorOf } from './application-ops.ts';
import {
  FAUCET,
  GENESIS_TIME_MS,
  genesisDocument,
  temporaryFolder,
  testApplication,
  transfer,
} from './engine-fixture.ts';
import { actor, OPG, PROPOSER, verifierOf } from './state-machine-world.ts';
import { appraiseSignatures, forgedEvidence, testEvidence } from './test-evidence.ts';

const GENESIS = genesisDocument();
const ALICE = actor('alice');
const BOB = actor('bob');
const NODE = operatorOf('node operator');
const MAX_TX_BYTES = 1_000_000;

function initChain(application: HacaApplication): Uint8Array {
  const { time, chainId, initialHeight } = GENESIS;
  const appState = utf8Encode(JSON.stringify(GENESIS.json['app_state']));
  const { validators } = GENESIS.validators;
  return application.initChain({ time, chainId, initialHeight, validators, appState }).appHash;
}

function blockOf(height: number, txs: readonly Uint8Array[], over: Partial<BlockRequest> = {}): BlockRequest {
  return {
    txs,
    height,
    time: timestampFromMs(GENESIS_TIME_MS + height * 1000),
    proposerAddress: PROPOSER,
    hash: sha256(utf8Encode(`block ${height}`)),
    lastCommit: [],
    misbehavior: [],
    ...over,
  };
}

async function makeBlock(application: HacaApplication, height: number, txs: readonly Uint8Array[]) {
  const response = await application.finalizeBlock(blockOf(height, txs));
  await application.commit();
  return response.txResults.map(({ code }) => code);
}

/** An application with a node that may open keys, all its signature checks counted by where they are made. */
async function withNode(t: TestContext, over: Partial<ApplicationOptions> = {}) {
  const here: string[] = [];
  const pool: SignatureCheck[] = [];
  const crypto: CryptoProvider = {
    ...nodeCrypto,
    verifyEcdsaP384: (publicKey, message, signature) => {
      here.push('p384');
      return nodeCrypto.verifyEcdsaP384(publicKey, message, signature);
    },
    verifyEd25519: (publicKey, message, signature) => {
      here.push('ed25519');
      return nodeCrypto.verifyEd25519(publicKey, message, signature);
    },
  };
  const verifyAsync = over.verifyAsync ?? verifySignatureAsync;
  let appraisals = 0;
  const opened = testApplication(t, {
    over: {
      ...over,
      crypto,
      verifyAsync: (check) => {
        pool.push(check);
        return verifyAsync(check);
      },
      evidence: verifierOf((envelope, expected, given) => {
        appraisals++;
        return appraiseSignatures(envelope, expected, given);
      }),
    },
  });
  const { application } = opened;
  initChain(application);
  assert.deepEqual(await makeBlock(application, 1, NODE.fund), [0, 0]);
  assert.deepEqual(await makeBlock(application, 2, [NODE.register]), [0]);
  here.length = 0;
  pool.length = 0;
  return { ...opened, here, pool, appraisals: () => appraisals };
}

function prepare(application: HacaApplication, height: number, txs: readonly Uint8Array[]) {
  const { hash: _hash, lastCommit: _votes, misbehavior: _faults, ...head } = blockOf(height, txs);
  return application.prepareProposal({ ...head, maxTxBytes: MAX_TX_BYTES });
}

async function untilProposed(application: HacaApplication, height: number, tx: Uint8Array): Promise<void> {
  while (!(await prepare(application, height, [tx])).includes(tx)) await nextTurn();
}

const isP384 = ({ scheme }: SignatureCheck): boolean => scheme === 'ecdsa-p384';

test('CHAIN-90: CheckTx answers without the evidence, which is verified meanwhile on other threads', async (t) => {
  const { application, here, pool } = await withNode(t);
  const openKey = NODE.openTeeKey(1, 1, testEvidence);
  assert.equal(application.checkTx(openKey, 'new').code, 0);
  assert.deepEqual(here, ['ed25519'], 'the envelope, and nothing else');
  assert.deepEqual(pool, [], 'not within the call');
  while (pool.filter(isP384).length < 3) await nextTurn();
  await untilProposed(application, 3, openKey);
  assert.deepEqual(here, ['ed25519']);
  assert.equal(pool.filter(isP384).length, 3);
  const verified = pool.length;
  assert.equal(application.checkTx(openKey, 'recheck').code, 0);
  assert.equal(await application.processProposal(blockOf(3, [openKey])), 'accept');
  assert.deepEqual(await makeBlock(application, 3, [openKey]), [0]);
  assert.equal(pool.length, verified, 'the block verified nothing again');
  assert.deepEqual(here, ['ed25519']);
});

test('CHAIN-90: a refused transaction leaves no verdict behind, not even of a signature that holds', async (t) => {
  const { application, here } = await withNode(t);
  const sponsored = transfer(FAUCET, 9, BOB, OPG, { feePayer: ALICE });
  assert.deepEqual(await makeBlock(application, 3, [transfer(FAUCET, 8, ALICE, 10n * OPG)]), [0]);
  // Its last bytes are the payer's signature: the sender's holds.
  const forged = sponsored.with(sponsored.length - 5, (sponsored.at(-5) as number) ^ 1);
  here.length = 0;
  for (let i = 1; i <= 3; i++) {
    assert.equal(application.checkTx(forged, 'new').code, codeNumber('E_SIG'));
    assert.equal(here.length, 2 * i, 'both are verified each time');
  }
  assert.equal(application.checkTx(sponsored, 'new').code, 0);
  assert.equal(here.length, 8);
});

test('CHAIN-91: a proposer leaves evidence without a verdict for later, with what its sender sent after it, and nothing else', async (t) => {
  const { promise: gate, resolve: answer } = Promise.withResolvers<void>();
  const verifyAsync = async (check: SignatureCheck): Promise<boolean> => {
    if (isP384(check)) await gate;
    return verifySignatureAsync(check);
  };
  const { application } = await withNode(t, { verifyAsync });
  const openKey = NODE.openTeeKey(1, 1, testEvidence);
  const after = transfer(NODE.operator, 2, ALICE, OPG);
  const other = transfer(FAUCET, 9, BOB, OPG);
  for (const tx of [openKey, after, other]) assert.equal(application.checkTx(tx, 'new').code, 0);
  await delay(20);
  const waiting = [openKey, after, other];
  assert.deepEqual(await prepare(application, 3, waiting), [other]);
  // Blocks go on meanwhile, and the recheck does not wait either.
  assert.equal(await application.processProposal(blockOf(3, [other])), 'accept');
  assert.deepEqual(await makeBlock(application, 3, [other]), [0]);
  assert.equal(application.checkTx(openKey, 'recheck').code, 0);
  assert.deepEqual(await prepare(application, 4, waiting), []);
  answer();
  await untilProposed(application, 4, openKey);
  assert.deepEqual(await prepare(application, 4, waiting), [openKey, after]);
});

test('CHAIN-91: evidence that does not verify is proposed too: it fails in the block and pays for itself', async (t) => {
  for (const position of [0, 1, 2]) {
    const { application, store } = await withNode(t);
    const openKey = NODE.openTeeKey(1, 1, forgedEvidence(position));
    assert.equal(application.checkTx(openKey, 'new').code, 0);
    await untilProposed(application, 3, openKey);
    const block = blockOf(3, [openKey]);
    assert.equal(await application.processProposal(block), 'accept');
    const [result] = (await application.finalizeBlock(block)).txResults;
    assert.equal(result?.code, codeNumber('E_EVIDENCE'));
    assert.ok((result?.gasUsed ?? 0n) > 5_000n);
    await application.commit();
    await store.close();
  }
});

test('CHAIN-92: a proposal is accepted on a cold cache, verified on other threads, however slow they are', async (t) => {
  const verifyAsync = async (check: SignatureCheck): Promise<boolean> => {
    await delay(30);
    return verifySignatureAsync(check);
  };
  const { application, here, pool } = await withNode(t, { verifyAsync });
  const block = blockOf(3, [NODE.openTeeKey(1, 1, testEvidence), transfer(FAUCET, 9, BOB, OPG)]);
  assert.equal(await application.processProposal(block), 'accept');
  assert.deepEqual(here, []);
  assert.equal(pool.length, 3 + 1 + 2, 'evidence, possession, envelopes');
});

test('CHAIN-92: a proposal with a signature that does not hold is refused on a cold cache and on a warm one', async (t) => {
  const { application } = await withNode(t);
  const good = transfer(FAUCET, 9, BOB, OPG);
  const forged = transfer(FAUCET, 8, BOB, OPG);
  forged[forged.length - 5] = (forged[forged.length - 5] as number) ^ 1;
  for (let i = 0; i < 2; i++) {
    assert.equal(await application.processProposal(blockOf(3, [good, forged])), 'reject');
    assert.equal(await application.processProposal(blockOf(3, [good])), 'accept');
  }
  // Decided all the same, it is a no-op.
  assert.deepEqual(await makeBlock(application, 3, [good, forged]), [0, codeNumber('E_SIG')]);
});

test('CHAIN-92: where verification itself fails, consensus hears no verdict but an error', async (t) => {
  const verifyAsync = (check: SignatureCheck): Promise<boolean> =>
    isP384(check) ? Promise.reject(new Error('no thread')) : verifySignatureAsync(check);
  const { application } = await withNode(t, { verifyAsync });
  const block = blockOf(3, [NODE.openTeeKey(1, 1, testEvidence)]);
  await assert.rejects(application.processProposal(block), /could not be verified/);
  await assert.rejects(application.finalizeBlock(block), /could not be verified/);
  assert.equal(application.checkTx(transfer(FAUCET, 9, BOB, OPG), 'new').code, 0);
});

test('CHAIN-94: a block that was proposed is executed once; what differs in anything is executed anew', async (t) => {
  const { application, appraisals } = await withNode(t);
  const txs = [NODE.openTeeKey(1, 1, testEvidence)];
  const block = blockOf(3, txs);
  assert.equal(await application.processProposal(block), 'accept');
  assert.equal(await application.processProposal(block), 'accept');
  assert.equal(appraisals(), 1);
  const { appHash } = await application.finalizeBlock(block);
  assert.equal(appraisals(), 1);
  // Under the same hash, but with other votes: consensus says what counts, and says it here.
  const votes = [{ address: PROPOSER, power: 1n, signed: true }];
  const voted = await application.finalizeBlock({ ...block, lastCommit: votes });
  assert.equal(appraisals(), 2);
  assert.notEqual(toHex(voted.appHash), toHex(appHash));
  // The one before is still there.
  assert.deepEqual((await application.finalizeBlock(block)).appHash, appHash);
  assert.equal(appraisals(), 2);
  await application.commit();
  assert.deepEqual(application.info().lastBlockAppHash, appHash);
});

test('CHAIN-94 attack: a height with many proposals keeps four states, and any of them may be decided', async (t) => {
  const { application, appraisals } = await withNode(t);
  const txs = [NODE.openTeeKey(1, 1, testEvidence)];
  const blocks = Array.from({ length: 12 }, (_, i) =>
    blockOf(3, txs, { hash: sha256(utf8Encode(`proposal ${i}`)) }),
  );
  for (const block of blocks) assert.equal(await application.processProposal(block), 'accept');
  assert.equal(appraisals(), 12);
  const finalize = async (i: number) =>
    toHex((await application.finalizeBlock(blocks[i] as BlockRequest)).appHash);
  const newest = await finalize(8);
  assert.equal(appraisals(), 12);
  const oldest = await finalize(0);
  assert.equal(appraisals(), 13);
  assert.notEqual(oldest, newest, 'the hash of a block is part of the state');
  for (let i = 0; i < 12; i++) assert.equal((await finalize(i)).length, 64);
  assert.equal(await finalize(0), oldest);
  await application.commit();
  assert.equal(toHex(application.info().lastBlockAppHash), oldest);
  // Nothing of the height before is left: the next blocks find their own state, however many are proposed.
  assert.equal(await application.processProposal(blocks[0] as BlockRequest), 'reject');
  for (let i = 0; i < 6; i++) {
    const block = blockOf(4, [], { hash: sha256(utf8Encode(`proposal ${i} of the next height`)) });
    assert.equal(await application.processProposal(block), 'accept');
  }
  assert.deepEqual(await makeBlock(application, 4, [transfer(FAUCET, 9, BOB, OPG)]), [0]);
});

test('CHAIN-96: InitChain comes again after a proposal: what was executed on the first genesis is gone', async (t) => {
  const { application, store } = testApplication(t);
  const genesisHash = initChain(application);
  const block = blockOf(1, [transfer(FAUCET, 0, ALICE, OPG)]);
  assert.equal(await application.processProposal(block), 'accept');
  const first = await application.finalizeBlock(block);
  assert.deepEqual(initChain(application), genesisHash);
  await assert.rejects(application.commit(), /Commit without FinalizeBlock/);
  // A proposal that was executed on it is gone too.
  assert.equal(await application.processProposal(block), 'accept');
  assert.deepEqual(initChain(application), genesisHash);
  const second = await application.finalizeBlock(block);
  assert.deepEqual(second, first);
  await application.commit();
  assert.equal(store.latestHeight(), 1);
});

test('Info and CheckTx before InitChain: no height, and a refusal to guess', (t) => {
  const { application } = testApplication(t);
  assert.equal(application.info().lastBlockHeight, 0);
  assert.equal(application.info().lastBlockAppHash.length, 0);
  const refused = application.checkTx(transfer(FAUCET, 0, ALICE, OPG), 'new');
  assert.equal(refused.code, codeNumber('E_UNAVAILABLE'));
});

test('CHAIN-96: whatever it was doing, after a restart it is where the last Commit left it, and the block is made again', async (t) => {
  const doings: readonly ((application: HacaApplication, block: BlockRequest) => unknown)[] = [
    () => undefined,
    (application, { txs }) => application.checkTx(txs[0] as Uint8Array, 'new'),
    (application, { txs }) => prepare(application, 2, txs),
    (application, block) => application.processProposal(block),
    (application, block) => application.finalizeBlock(block),
    async (application, block) => {
      await application.processProposal({ ...block, hash: sha256(utf8Encode('another')) });
      await application.processProposal(block);
      await application.finalizeBlock(block);
    },
  ];
  const hashes = new Set<string>();
  for (const doing of doings) {
    const folder = temporaryFolder(t);
    const first = testApplication(t, { folder });
    initChain(first.application);
    await makeBlock(first.application, 1, [transfer(FAUCET, 0, ALICE, 10n * OPG)]);
    const committed = first.application.info();
    const block = blockOf(2, [transfer(ALICE, 0, BOB, OPG)]);
    await doing(first.application, block);
    await first.store.close();
    const again = testApplication(t, { folder });
    assert.deepEqual(again.application.info(), committed);
    const key = recordKey.account(BOB.id);
    assert.equal(
      again.application.query({ path: '/record', data: key, height: 0, prove: false }).value.length,
      0,
    );
    hashes.add(toHex((await again.application.finalizeBlock(block)).appHash));
    await again.application.commit();
    await again.store.close();
  }
  assert.equal(hashes.size, 1);
});

/** A store whose state was changed behind the back of the state machine: the totals name money that is nowhere. */
async function storeWithBrokenTotals(folder: string): Promise<void> {
  const store = openStore(folder);
  const { changes } = applyGenesis(GENESIS.app, GENESIS.chainId, GENESIS_TIME_MS);
  const key = recordKey.totals();
  const bytes = changes.find(([each]) => toHex(each) === toHex(key))?.[1];
  assert.ok(bytes instanceof Uint8Array);
  const totals = decode(totalsRecordCodec, bytes, 'totals');
  const broken = encode(totalsRecordCodec, { ...totals, reserve: nopg(totals.reserve + 1n) });
  const tampered = [...changes.filter(([each]) => toHex(each) !== toHex(key)), [key, broken] as const];
  const results = encodeBlockResults({
    events: [],
    txResults: [],
    validatorUpdates: [],
    appHash: new Uint8Array(32),
    blockHash: sha256(utf8Encode('block 1')),
    timeMs: GENESIS_TIME_MS,
  });
  const [block, commit] = [new Uint8Array(0), new Uint8Array(0)];
  const appHash = createStateTree().update(1, tampered);
  await store.commit({ height: 1, appHash, changes: tampered, block, results, commit, txHashes: [] });
  await store.close();
}

test('CHAIN-92: a proposal that breaks the running totals is refused; a decided one stops the node', async (t) => {
  const folder = temporaryFolder(t);
  await storeWithBrokenTotals(folder);
  const { application } = testApplication(t, { folder });
  const block = blockOf(2, [transfer(FAUCET, 0, ALICE, OPG)]);
  assert.equal(await application.processProposal(block), 'reject');
  await assert.rejects(application.finalizeBlock(block), /block 2 breaks an invariant/);
  await assert.rejects(application.commit(), /Commit without FinalizeBlock/);
});

test('roots of the tables say where two states differ, on nodes that walk their state anyway', async (t) => {
  const rootsOf = (application: HacaApplication) => {
    const answer = application.query({
      path: '/module-roots',
      data: new Uint8Array(0),
      height: 0,
      prove: false,
    });
    return {
      ...answer,
      roots: answer.code === 0 ? JSON.parse(new TextDecoder().decode(answer.value)) : null,
    };
  };
  const roots = [];
  for (const amount of [OPG, 2n * OPG]) {
    const { application } = testApplication(t);
    initChain(application);
    await makeBlock(application, 1, [transfer(FAUCET, 0, ALICE, amount)]);
    roots.push(rootsOf(application).roots as Record<string, string>);
  }
  const [first, second] = roots as [Record<string, string>, Record<string, string>];
  assert.deepEqual(Object.keys(first), Object.keys(second));
  assert.ok(Object.keys(first).length >= 6);
  for (const name of Object.keys(first)) assert.equal(first[name] === second[name], name !== 'account', name);
  const { application } = testApplication(t, { over: { checkInvariants: false } });
  initChain(application);
  await makeBlock(application, 1, []);
  const refused = rootsOf(application);
  assert.deepEqual([refused.code, refused.value.length], [1, 0]);
  assert.match(refused.log, /a node that checks invariants/);
});

test('the root of a table counts every byte of its keys and values, wherever one ends and the next begins', () => {
  const root = (...entries: readonly (readonly [string, string])[]) =>
    moduleRoots(entries.map(([key, value]) => [utf8Encode(`\x02${key}`), utf8Encode(value)])).get('account');
  const roots = [
    root(['a', 'bc']),
    root(['ab', 'c']),
    root(['a', 'b'], ['c', '']),
    root(['a', ''], ['bc', '']),
    root(['a', 'bd']),
  ];
  assert.equal(new Set(roots).size, roots.length);
  assert.equal(root(['a', '1'], ['b', '2']), root(['b', '2'], ['a', '1']), 'in whatever order they come');
});
