/** Decrees on their way into a block: nobody keeps a genuine one out, and finding out which ones are genuine costs little. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { timestampFromMs } from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { concatBytes, decode, sha256, toHex, utf8Encode } from '@haca/primitives';
import {
  type DecreeAction,
  decreeMessage,
  governanceRecordCodec,
  OPG_SUPPLY_NOPG,
  type Op,
  type OpOf,
  recordKey,
} from '@haca/protocol';
import fc from 'fast-check';
import { type ProposableTransaction, selectTransactions } from '../src/application/proposal.ts';
import type { HacaApplication } from '../src/application.ts';
import { makeGenesisDocument } from '../src/genesis-document.ts';
import { type AdmittedTransaction, consensusAddress } from '../src/state-machine/index.ts';
import {
  FAUCET,
  GENESIS_TIME_MS,
  type TxOptions,
  testApplication,
  transaction,
  transfer,
} from './engine-fixture.ts';
import { type Actor, actor, CHAIN, OPG, SHORT_PARAMS, testGenesis } from './state-machine-world.ts';

const VALIDATORS: readonly Actor[] = Array.from({ length: 12 }, (_, i) =>
  actor(`decree validator ${i}`),
).sort((a, b) => (toHex(addressOf(a)) < toHex(addressOf(b)) ? -1 : 1));
const SENDERS: readonly Actor[] = Array.from({ length: 24 }, (_, i) => actor(`decree sender ${i}`));
const [ALICE, BOB] = SENDERS as readonly [Actor, Actor];

function addressOf({ signer }: Actor): Uint8Array {
  return consensusAddress(signer.publicKey);
}

const revocation = (serial: number): DecreeAction => ({
  kind: 'revoke-certificate',
  certificate: { issuer: utf8Encode('issuer'), serial: Uint8Array.of(1, serial) },
});

interface DecreeOptions {
  readonly serial?: number;
  readonly action?: DecreeAction;
  readonly signers?: readonly Actor[];
  /** Validators whose signature is of something else. */
  readonly mangled?: readonly Actor[];
}

function decreeOp({
  serial = 1,
  action = revocation(7),
  signers = VALIDATORS,
  mangled = [],
}: DecreeOptions = {}): OpOf<'decree'> {
  const message = decreeMessage({ chainId: CHAIN, serial, action });
  const other = decreeMessage({ chainId: CHAIN, serial, action: revocation(200) });
  const signatures = signers.map((by) => ({
    validator: addressOf(by),
    signature: by.signer.sign(mangled.includes(by) ? other : message),
  }));
  return { kind: 'decree', serial, action, signatures };
}

interface TestApplication {
  readonly application: HacaApplication;
  readonly codeOf: (tx: Uint8Array) => string;
  /** What a proposer makes of these, finalized and committed; codes of what is in the block. */
  readonly block: (offered: readonly Uint8Array[]) => Promise<ReadonlyMap<string, number>>;
  readonly serial: () => number;
  /** Ed25519 signatures verified on the thread of the mempool. */
  readonly verified: () => number;
}

const nameOf = (tx: Uint8Array): string => toHex(sha256(tx));

/** Twelve validators of equal power, and accounts with funds. */
async function start(t: TestContext): Promise<TestApplication> {
  let verified = 0;
  const crypto: typeof nodeCrypto = {
    ...nodeCrypto,
    verifyEd25519: (...args) => {
      verified++;
      return nodeCrypto.verifyEd25519(...args);
    },
  };
  const { application, store } = testApplication(t, { over: { crypto } });
  t.after(() => store.close());
  const params = { ...SHORT_PARAMS, validUntilAhead: 1_000_000 };
  const plain = testGenesis(params);
  const selfBond = 100_000n * OPG;
  const validators = VALIDATORS.map(({ signer, id }) => ({
    consensusKey: signer.publicKey,
    operator: id,
    selfBond,
  }));
  const nopg = OPG_SUPPLY_NOPG - plain.reserveNopg - selfBond * BigInt(validators.length);
  const app = { ...plain, validators, accounts: [{ accountId: FAUCET.id, nopg }] };
  const document = makeGenesisDocument({ chainId: CHAIN, genesisTimeMs: GENESIS_TIME_MS, app });
  application.initChain({
    time: timestampFromMs(GENESIS_TIME_MS),
    chainId: CHAIN,
    initialHeight: 1,
    validators: [],
    appState: utf8Encode(JSON.stringify(JSON.parse(JSON.stringify(document))['app_state'])),
  });
  let height = 0;
  const block = async (offered: readonly Uint8Array[]) => {
    height++;
    const proposal = {
      height,
      time: timestampFromMs(GENESIS_TIME_MS + height * 1_000),
      proposerAddress: addressOf(VALIDATORS[0] as Actor),
    };
    const txs = await application.prepareProposal({ ...proposal, txs: offered, maxTxBytes: 1_000_000 });
    const hash = sha256(utf8Encode(`block ${height}`));
    const { txResults } = await application.finalizeBlock({
      ...proposal,
      txs,
      hash,
      lastCommit: [],
      misbehavior: [],
    });
    await application.commit();
    return new Map(txs.map((tx, i) => [nameOf(tx), txResults[i]?.code ?? -1]));
  };
  const funding = SENDERS.map((to, i) => transfer(FAUCET, i, to, 1_000n * OPG));
  for (const tx of funding.slice(0, 12)) assert.equal(application.checkTx(tx, 'new').code, 0);
  assert.ok([...(await block(funding.slice(0, 12))).values()].every((code) => code === 0));
  for (const tx of funding.slice(12)) assert.equal(application.checkTx(tx, 'new').code, 0);
  assert.ok([...(await block(funding.slice(12))).values()].every((code) => code === 0));
  return {
    application,
    codeOf: (tx) => {
      const { code, log } = application.checkTx(tx, 'new');
      return code === 0 ? 'OK' : (log.split(':')[0] ?? '');
    },
    block,
    serial: () => {
      const { value } = application.query({
        path: '/record',
        data: recordKey.governance(),
        height: 0,
        prove: false,
      });
      return value.length === 0 ? 0 : decode(governanceRecordCodec, value, 'governance').serial;
    },
    verified: () => verified,
  };
}

/** Generous, so that whatever waits for the share of decrees goes before what is not. */
const EAGER: TxOptions = { maxFee: 100_000n, tipCap: 50_000n };

/** Of every kind of bogus decree one, by each of the senders but the first. */
function bogusDecrees(round: number): readonly (readonly [code: string, tx: Uint8Array])[] {
  const eight = VALIDATORS.slice(0, 8);
  const strangers = VALIDATORS.map((_, i) => actor(`stranger ${i}`)).sort((a, b) =>
    toHex(addressOf(a)) < toHex(addressOf(b)) ? -1 : 1,
  );
  return SENDERS.slice(1).flatMap((by, i) => {
    const action = revocation(10 + i);
    const kinds: readonly (readonly [string, readonly Op[]])[] = [
      ['E_SIG', [decreeOp({ action, mangled: VALIDATORS })]],
      ['E_SIG', [decreeOp({ mangled: VALIDATORS.slice(-1) })]],
      ['E_DECREE', [decreeOp({ signers: eight })]],
      ['E_DECREE', [decreeOp({ action, signers: VALIDATORS.slice(0, 1) })]],
      ['E_DECREE', [decreeOp({ action, serial: 2 })]],
      ['E_DECREE', [decreeOp({ action, serial: 0 })]],
      ['E_DECREE', [decreeOp({ signers: [...VALIDATORS].reverse() })]],
      ['E_DECREE', [decreeOp({ action: { kind: 'enable-proof-kind', proofKind: 'zk' } })]],
      ['E_VALIDATOR', [decreeOp({ action, signers: strangers })]],
      ['E_SIG', [decreeOp(), decreeOp({ serial: 2, action, mangled: VALIDATORS })]],
      ['E_DECREE', [decreeOp(), decreeOp()]],
    ];
    return kinds.map(([code, ops], k) => [code, transaction(by, 100 * round + k, ops, EAGER)] as const);
  });
}

test('CHAIN-14: a flood of bogus decrees with high tips, by many, keeps a genuine one out of no block', async (t) => {
  const { application, codeOf, block, serial } = await start(t);
  const bogus = bogusDecrees(0);
  assert.ok(bogus.length > 200);
  for (const [code, tx] of bogus) assert.equal(codeOf(tx), code);
  const genuine = transaction(ALICE, 0, [decreeOp()]);
  assert.equal(codeOf(genuine), 'OK');
  for (const [, tx] of bogusDecrees(1)) assert.notEqual(codeOf(tx), 'OK');
  // Whatever got into somebody's mempool: a proposer leaves it out.
  const offered = [...bogus.map(([, tx]) => tx), genuine];
  assert.deepEqual(await block(offered), new Map([[nameOf(genuine), 0]]));
  assert.equal(serial(), 1);
  assert.notEqual(application.checkTx(genuine, 'recheck').code, 0);
});

test('CHAIN-14: one decree waits once, whoever brings it; another one of its serial beside it', async (t) => {
  const { codeOf, block, serial } = await start(t);
  const first = transaction(ALICE, 0, [decreeOp()]);
  assert.equal(codeOf(first), 'OK');
  for (const [i, by] of SENDERS.slice(1).entries()) {
    const signers = VALIDATORS.slice(0, 9 + (i % 4));
    assert.equal(codeOf(transaction(by, 0, [decreeOp({ signers })], EAGER)), 'E_CLASS');
  }
  const alternative = transaction(BOB, 1, [decreeOp({ action: revocation(8) })]);
  assert.equal(codeOf(alternative), 'OK');
  assert.equal((await block([first, alternative])).get(nameOf(first)), 0);
  assert.equal(serial(), 1);
  // After the block it is asked about anew.
  assert.equal(codeOf(transaction(BOB, 2, [decreeOp()])), 'E_DECREE');
  const two = [
    decreeOp({ serial: 2, action: revocation(9) }),
    decreeOp({ serial: 3, action: revocation(10) }),
  ];
  const both = transaction(BOB, 3, two);
  assert.equal(codeOf(both), 'OK');
  assert.deepEqual(await block([both]), new Map([[nameOf(both), 0]]));
  assert.equal(serial(), 3);
});

test('what waits as a decree is replaced by the same, proven, and by nothing else', async (t) => {
  const { codeOf, block, serial } = await start(t);
  const dearer = { maxFee: 20_000n };
  const first = transaction(ALICE, 0, [decreeOp()]);
  assert.equal(codeOf(first), 'OK');
  assert.equal(codeOf(transfer(ALICE, 0, BOB, OPG, dearer)), 'E_NONCE');
  assert.equal(codeOf(transaction(ALICE, 0, [decreeOp({ action: revocation(8) })], dearer)), 'E_NONCE');
  assert.equal(codeOf(transaction(ALICE, 0, [decreeOp({ mangled: VALIDATORS })], dearer)), 'E_SIG');
  assert.equal(
    codeOf(transaction(ALICE, 0, [decreeOp({ signers: VALIDATORS.slice(0, 8) })], dearer)),
    'E_DECREE',
  );
  assert.equal(codeOf(transfer(BOB, 0, ALICE, OPG)), 'OK');
  assert.equal(codeOf(transaction(BOB, 0, [decreeOp({ mangled: VALIDATORS })], dearer)), 'E_NONCE');
  const better = transaction(ALICE, 0, [decreeOp({ signers: VALIDATORS.slice(0, 9) })], dearer);
  assert.equal(codeOf(better), 'OK');
  assert.deepEqual(await block([first, better]), new Map([[nameOf(better), 0]]));
  assert.equal(serial(), 1);
});

test('a bogus decree costs one signature, however many good ones it copies', async (t) => {
  const { codeOf, verified } = await start(t);
  const { signatures: genuine, ...rest } = decreeOp();
  const before = verified();
  const count = 60;
  for (let i = 0; i < count; i++) {
    // Another one each time: whoever it is, all the others are good.
    const signatures = genuine.map((each, k) =>
      k === i % genuine.length ? { ...each, signature: sixtyFourBytes(`forged ${i}`) } : each,
    );
    assert.equal(codeOf(transaction(ALICE, i, [{ ...rest, signatures }])), 'E_SIG');
  }
  assert.ok(verified() - before <= count + VALIDATORS.length, `${verified() - before}`);
});

test('validators who sign what no others do make nobody verify for it for long', async (t) => {
  const { codeOf, verified } = await start(t);
  const colluders = VALIDATORS.slice(0, 4);
  const others = VALIDATORS.slice(4);
  const before = verified();
  const count = 60;
  for (let i = 0; i < count; i++) {
    const op = decreeOp({ action: revocation(20 + i), mangled: others });
    assert.equal(codeOf(transaction(ALICE, i, [op])), 'E_SIG');
  }
  assert.ok(verified() - before <= count + colluders.length, `${verified() - before}`);
});

test('CHAIN-15: whatever waits, in whatever order of nonces: what a proposer makes of it, its peers accept', async (t) => {
  const { application } = await start(t);
  const actions = [revocation(7), revocation(8)];
  const tx = fc.record({
    by: fc.constantFrom(...SENDERS.slice(0, 3)),
    nonce: fc.oneof(fc.nat(4), fc.nat(140)),
    decree: fc.option(fc.constantFrom(...actions), { freq: 2 }),
    nopg: fc.constantFrom(1n, 400n * OPG, 999n * OPG),
    tipCap: fc.constantFrom(0n, 5_000n),
    maxFee: fc.constantFrom(10_000n, 2_000_000n),
  });
  const time = timestampFromMs(GENESIS_TIME_MS + 3_000);
  const isKnownProposer = [true, false];
  const lists = fc.tuple(fc.array(tx, { maxLength: 12 }), fc.constantFrom(...isKnownProposer));
  await fc.assert(
    fc.asyncProperty(lists, async ([list, isKnown]) => {
      const txs = list.map(({ by, nonce, decree, nopg, ...terms }) =>
        decree === null
          ? transfer(by, nonce, FAUCET, nopg, terms)
          : transaction(by, nonce, [decreeOp({ action: decree })], terms),
      );
      const proposerAddress = isKnown ? addressOf(VALIDATORS[0] as Actor) : new Uint8Array(20);
      const head = { height: 3, time, proposerAddress };
      const chosen = await application.prepareProposal({ ...head, txs, maxTxBytes: 1_000_000 });
      const hash = sha256(concatBytes(utf8Encode(`${isKnown}`), ...chosen));
      const block = { ...head, txs: chosen, hash, lastCommit: [], misbehavior: [] };
      assert.equal(await application.processProposal(block), 'accept');
      const first = list.find(({ decree }) => decree !== null);
      if (first !== undefined && first.maxFee < 1_000_000n) assert.ok(chosen.length > 0);
    }),
    { numRuns: 60 },
  );
});

function sixtyFourBytes(text: string): Uint8Array {
  const half = sha256(utf8Encode(text));
  return Uint8Array.from([...half, ...half]);
}

function proposable(
  name: string,
  over: Partial<AdmittedTransaction>,
  isReady = true,
): ProposableTransaction & { readonly name: string } {
  const admitted = {
    class: 'G',
    sender: utf8Encode(name),
    nonce: 0,
    tip: 0n,
    ...over,
  } as AdmittedTransaction;
  return { name, tx: utf8Encode(name), admitted, arrival: 0, isReady };
}

test('CHAIN-15: a proposer takes decrees first: no settlements fill their room, and no other transaction of a sender holds one back', () => {
  const sender = utf8Encode('sender');
  const all = [
    ...Array.from({ length: 5 }, (_, i) => proposable(`settle ${i}`, { class: 'S', tip: 9n })),
    proposable('waits for its evidence', { sender, nonce: 0 }, false),
    proposable('general', { sender, nonce: 1 }),
    proposable('decree', { class: 'E', sender, nonce: 2 }),
  ];
  let room = 3;
  const admit = (tx: Uint8Array) => {
    const found = all.find((each) => each.tx === tx);
    if (room === 0 || found === undefined) return { ok: false, code: 'E_CLASS', info: '' } as const;
    room--;
    return { ok: true, admitted: found.admitted } as const;
  };
  const chosen = selectTransactions(all, { baseFee: 1n, admit }, 1_000_000);
  assert.deepEqual(
    chosen.map((tx) => new TextDecoder().decode(tx)),
    ['decree', 'settle 0', 'settle 1'],
  );
});
