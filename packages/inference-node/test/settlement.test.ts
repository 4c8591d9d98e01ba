/** Settling against a chain that is slow, refuses, forgets or lands things late: each receipt once, each charge paid once. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ed25519SignerFromSeed, nodeCrypto, type RpcEvent, type RpcTxResult } from '@haca/platform';
import { appendToFrontier, bytesEqual, toHex } from '@haca/primitives';
import {
  codeNumber,
  credit,
  type ErrorCode,
  type NodeKeyRecord,
  nopg,
  STATEMENT,
  type Statement,
  signTransaction,
  statementLeafHash,
  type Transaction,
  transactionHash,
  VOUCHER,
  type Voucher,
  ZERO_DIGEST,
} from '@haca/protocol';
import { type KeyStream, openKeyStream } from '../src/key-stream.ts';
import { type Operator, TransactionExpiredError } from '../src/operator.ts';
import { openPaymentBook, type PaymentBook } from '../src/payment-book.ts';
import { type SettlementOptions, type Settler, startSettler } from '../src/settlement.ts';
import { allocationOf, CHANNEL, type FakeView, openFakeView, sessionOf } from './fake-view.ts';
import {
  CHAIN_ID,
  contentOf,
  digest,
  identityOf,
  NODE_ID,
  sessionSigner,
  voucherOf,
} from './stream-fixture.ts';

const dir = mkdtempSync(join(tmpdir(), 'haca-settle-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const CHANNEL_ID = digest('channel');
const identity = identityOf();
const operatorSigner = ed25519SignerFromSeed(new Uint8Array(32).fill(3));
const AMOUNT = 100_000n;
const NEVER = 3_600_000;

type Outcome = 'lands' | 'expires' | 'dies' | 'lands-unseen' | ErrorCode;

interface World {
  readonly fake: FakeView;
  readonly book: PaymentBook;
  stream: KeyStream;
  settler: Settler;
  /** What becomes of the next transactions, in order; then they land. */
  readonly outcomes: Outcome[];
  /** Everything that was sent, landed or not. */
  readonly delivered: Transaction[];
  /** What blocks made of it, by the bytes' name. */
  readonly results: Map<string, RpcTxResult>;
  readonly landed: Statement[];
  readonly lines: string[];
  record: NodeKeyRecord;
  readonly lanes: Map<number, { mark: bigint; seq: number }>;
  refusedLane: number | null;
  nowMs: number;
  readonly charge: (lane: number, amount: bigint, voucher?: Partial<Voucher>) => Promise<void>;
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
}

let files = 0;

async function openWorld(options: Partial<SettlementOptions> = {}): Promise<World> {
  const fake = openFakeView();
  const record = keyRecord();
  fake.block({
    channel: [CHANNEL_ID, CHANNEL],
    allocation: [CHANNEL_ID, allocationOf(AMOUNT)],
    session: [CHANNEL_ID, 0, sessionOf()],
    key: [identity.keyId, record],
  });
  const file = join(dir, `key-${files++}.wal`);
  const settlement: SettlementOptions = {
    batchMaxCount: 1_024,
    batchMaxAgeMs: 0,
    redeemMinNcr: 0n,
    redeemMaxAgeMs: NEVER,
    linesMax: 64,
    ...options,
  };
  const start = () =>
    startSettler({
      stream: world.stream,
      chain: fake.view,
      book: world.book,
      operator: fakeOperator(world),
      options: settlement,
      zk: null,
      nowMs: () => world.nowMs,
      log: (line) => world.lines.push(line),
    });
  const world: World = {
    fake,
    book: openPaymentBook(fake.view, NODE_ID),
    stream: await openKeyStream(identity, file, true),
    settler: undefined as unknown as Settler,
    outcomes: [],
    delivered: [],
    results: new Map(),
    landed: [],
    lines: [],
    record,
    lanes: new Map(),
    refusedLane: null,
    nowMs: 10_000,
    charge: async (lane, amount, change = {}) => {
      const { charged } = await world.book.laneState(CHANNEL_ID, identity.keyId, lane);
      const label = digest(`request ${lane} ${charged}`);
      const voucher = voucherOf({
        lane,
        cumulative: credit(charged + amount),
        requestHash: label,
        ...change,
      });
      const run = await world.book.authorize({
        voucher,
        keyId: identity.keyId,
        requestHash: label,
        reserve: amount,
        asset: 1,
      });
      const content = { completedAtMs: world.nowMs, refHeight: fake.view.head().height };
      const { durable } = run.settle(amount, (total) =>
        world.stream.issue(`rcpt_${lane}_${charged}`, contentOf(voucher, amount, total, content), voucher),
      );
      await durable;
    },
    restart: async () => {
      await world.settler.stop();
      await world.stream.close();
      world.stream = await openKeyStream(identity, file, false);
      world.settler = start();
    },
    close: async () => {
      await world.settler.stop();
      await world.stream.close();
    },
  };
  world.settler = start();
  return world;
}

function keyRecord(): NodeKeyRecord {
  return {
    nodeId: NODE_ID,
    keyEpoch: 1,
    publicKey: identity.signer.publicKey,
    method: 'signed',
    modelId: null,
    modelIds: [],
    binding: identity.binding,
    evidence: null,
    openedAt: 1,
    notAfter: 50_000,
    settledSeq: 0,
    headHash: ZERO_DIGEST,
    settled: [],
    verified: [],
    paid: [],
    logSize: 0,
    logFrontier: [],
    unpaidRanges: [],
    openClaims: [],
    c1Seq: 0,
    c1Due: 0,
    faults: 0,
    lastLane: null,
  };
}

function fakeOperator(world: World): Pick<Operator, 'sign' | 'takeNonce' | 'deliver'> {
  let nonce = 0;
  const sender = { algorithm: 'ed25519', publicKey: operatorSigner.publicKey } as const;
  return {
    takeNonce: async () => nonce++,
    sign: (ops, nonce) =>
      signTransaction(
        {
          version: 1,
          chainId: CHAIN_ID,
          sender,
          nonce,
          validUntil: world.fake.view.head().height + 200,
          maxFee: nopg(1n),
          tipCap: nopg(0n),
          feePayer: null,
          ops,
        },
        operatorSigner.sign,
      ),
    deliver: async (transaction, signal) => {
      world.delivered.push(transaction);
      // What a block has, it has.
      const known = world.results.get(toHex(transactionHash(transaction.bytes)));
      if (known !== undefined) return known;
      const outcome = world.outcomes.shift() ?? 'lands';
      if (outcome === 'expires') throw new TransactionExpiredError('no block took it');
      if (outcome === 'lands' || outcome === 'lands-unseen') {
        const result = land(world, transaction);
        if (outcome === 'lands') return result;
      }
      if (outcome === 'dies' || outcome === 'lands-unseen') {
        // Nothing more is heard until the process ends.
        await new Promise((_, fail) => signal.addEventListener('abort', () => fail(signal.reason)));
      }
      const code = codeNumber(outcome as ErrorCode);
      return { height: world.fake.view.finalHeight(), code, log: outcome, gasUsed: 0, events: [] };
    },
  };
}

/** The chain's own rules s3 and r2 to r5, once more, so that a settlement which breaks one is seen. */
function land(world: World, transaction: Transaction): RpcTxResult {
  const [op] = transaction.body.ops;
  assert.ok(op?.kind === 'settle');
  const signed = STATEMENT.decode(op.statement);
  assert.ok(STATEMENT.verify(nodeCrypto, signed, identity.signer.publicKey));
  const { batch, charges } = signed.value;
  const height = world.fake.view.finalHeight() + 1;
  if (batch !== null) {
    const { settledSeq, headHash } = world.record;
    if (batch.firstSeq !== settledSeq + 1) {
      return { height, code: codeNumber('E_SEQ'), log: 'E_SEQ', gasUsed: 0, events: [] };
    }
    assert.deepEqual(batch.prevReceiptHash, headHash);
    const log = appendToFrontier(
      { size: world.record.logSize, roots: world.record.logFrontier },
      statementLeafHash(signed.hash),
    );
    world.record = {
      ...world.record,
      settledSeq: settledSeq + batch.count,
      headHash: batch.lastReceiptHash,
      logSize: log.size,
      logFrontier: log.roots,
    };
  }
  world.landed.push(signed.value);
  const events: RpcEvent[] = charges.map((line, i) => {
    const voucher = VOUCHER.decode(op.vouchers[i] as Uint8Array);
    return payLine(
      world,
      line,
      voucher.value,
      VOUCHER.verify(nodeCrypto, voucher, sessionSigner.publicKey),
      i,
    );
  });
  world.fake.block({ key: [identity.keyId, world.record] }, events);
  const result = { height, code: 0, log: '', gasUsed: 0, events };
  world.results.set(toHex(transactionHash(transaction.bytes)), result);
  return result;
}

function payLine(
  world: World,
  line: Statement['charges'][number],
  voucher: Voucher,
  isSigned: boolean,
  index: number,
): RpcEvent {
  const attributes = { keyId: toHex(identity.keyId), channelId: toHex(line.channelId), index: `${index}` };
  if (world.refusedLane === line.lane)
    return { type: 'line-refused', attributes: { ...attributes, code: 'E_VOUCHER' } };
  const row = world.lanes.get(line.lane) ?? { mark: 0n, seq: 0 };
  // A line that any of this fails for would be refused by the chain, and gas lost.
  assert.ok(isSigned && voucher.cumulative >= line.to && voucher.lane === line.lane);
  assert.ok(bytesEqual(voucher.keyId, identity.keyId) && voucher.expiry >= world.fake.view.head().height);
  assert.ok(line.fromSeq > row.seq && line.atSeq >= line.fromSeq && line.atSeq <= world.record.settledSeq);
  assert.equal(line.from, row.mark);
  assert.ok(line.to > line.from);
  world.lanes.set(line.lane, { mark: line.to, seq: line.atSeq });
  const paid = [...world.lanes.values()].reduce((sum, { mark }) => sum + mark, 0n);
  assert.ok(paid <= AMOUNT);
  const lane = { mark: line.to, seq: line.atSeq, previous: null };
  world.fake.block({
    lane: [identity.keyId, CHANNEL_ID, line.lane, lane],
    allocation: [CHANNEL_ID, allocationOf(AMOUNT, { paid: credit(paid) })],
  });
  return { type: 'pay', attributes };
}

async function until(look: () => boolean): Promise<void> {
  while (!look()) await new Promise((settle) => setTimeout(settle, 2));
}

/** Settled receipts tile 1..n, and each lane was paid what it was charged. */
function assertSettled(world: World, receipts: number, paid: Readonly<Record<number, bigint>>): void {
  let next = 1;
  for (const { batch } of world.landed) {
    if (batch === null) continue;
    assert.equal(batch.firstSeq, next);
    next += batch.count;
  }
  assert.equal(next - 1, receipts);
  const marks = Object.fromEntries([...world.lanes].map(([lane, { mark }]) => [lane, mark]));
  assert.deepEqual(marks, paid);
}

test('HTTP-82 receipts are settled in order and each lane is redeemed up to its newest receipt', async () => {
  const world = await openWorld();
  for (const lane of [0, 1, 0, 2, 0]) await world.charge(lane, 10n);
  await until(() => world.settler.isDone());
  assertSettled(world, 5, { 0: 30n, 1: 10n, 2: 10n });
  await world.charge(1, 5n);
  await until(() => world.settler.isDone());
  assertSettled(world, 6, { 0: 30n, 1: 15n, 2: 10n });
  await world.close();
});

test('HTTP-81 while a settlement is under way there is no other, and what came meanwhile goes in one batch', async () => {
  const world = await openWorld();
  world.outcomes.push('dies');
  await world.charge(0, 10n);
  await until(() => world.delivered.length === 1);
  for (let i = 0; i < 5; i++) await world.charge(1, 10n);
  await new Promise((settle) => setTimeout(settle, 250));
  assert.equal(world.delivered.length, 1);
  await world.restart();
  await until(() => world.settler.isDone());
  assert.equal(world.landed.length, 2);
  assertSettled(world, 6, { 0: 10n, 1: 50n });
  await world.close();
});

test('HTTP-81 after a crash the same bytes are sent again; what landed unseen is found, what lands late lands once', async () => {
  for (const outcome of ['dies', 'lands-unseen'] as const) {
    const world = await openWorld();
    world.outcomes.push(outcome);
    await world.charge(0, 10n);
    await until(() => world.delivered.length === 1);
    await world.restart();
    await until(() => world.settler.isDone());
    const [first, second] = world.delivered;
    assert.deepEqual(second?.bytes, first?.bytes, outcome);
    assert.equal(world.landed.length, 1);
    assertSettled(world, 1, { 0: 10n });
    await world.close();
  }
});

test('HTTP-81 only when no block can take it any more is a settlement replaced by another', async () => {
  const world = await openWorld();
  world.outcomes.push('expires');
  await world.charge(0, 10n);
  await until(() => world.lines.some((line) => line.includes('no block took it')));
  assert.equal(world.stream.inFlight(), undefined);
  world.nowMs += 1_000;
  await until(() => world.settler.isDone());
  const [first, second] = world.delivered;
  assert.notDeepEqual(second?.bytes, first?.bytes);
  assertSettled(world, 1, { 0: 10n });
  await world.close();
});

test('HTTP-81 a block that refuses is waited out, ever longer, and nothing is lost', async () => {
  const world = await openWorld();
  world.outcomes.push('E_FEE', 'E_BUCKET', 'E_KEY');
  await world.charge(0, 10n);
  for (const waitMs of [500, 1_000, 2_000]) {
    await until(() => world.lines.some((line) => line.includes(`trying again in ${waitMs} ms`)));
    const tries = world.delivered.length;
    world.nowMs += waitMs - 1;
    await new Promise((settle) => setTimeout(settle, 150));
    assert.equal(world.delivered.length, tries, 'not before its time');
    world.nowMs += 1;
  }
  await until(() => world.settler.isDone());
  assertSettled(world, 1, { 0: 10n });
  await world.close();
});

test('HTTP-82 a line that a block refused is left alone for a while, or until the lane has a newer voucher', async () => {
  const world = await openWorld();
  world.refusedLane = 0;
  await world.charge(0, 10n);
  await world.charge(1, 10n);
  await until(() => world.landed.length === 1);
  assert.deepEqual(Object.fromEntries(world.lanes), { 1: { mark: 10n, seq: 2 } });
  world.nowMs += 5_000;
  await new Promise((settle) => setTimeout(settle, 300));
  assert.equal(world.landed.length, 1, 'not sent again while held');
  world.fake.pass(61);
  world.nowMs += 5_000;
  await until(() => world.landed.length === 2);
  world.refusedLane = null;
  await world.charge(0, 7n);
  world.nowMs += 5_000;
  await until(() => world.settler.isDone());
  assertSettled(world, 3, { 0: 17n, 1: 10n });
  await world.close();
});

test('HTTP-83 small amounts wait for age; a withdrawal, a voucher near its end and a stop do not wait', async () => {
  const options = { batchMaxAgeMs: NEVER, redeemMinNcr: 1_000n };
  const aged = await openWorld({ ...options, batchMaxAgeMs: 0, redeemMaxAgeMs: 60_000 });
  await aged.charge(0, 10n);
  await until(() => aged.settler.isSettled());
  assert.equal(aged.lanes.size, 0);
  aged.nowMs += 61_000;
  await until(() => aged.lanes.size === 1);
  await aged.close();

  const withdrawn = await openWorld(options);
  await withdrawn.charge(0, 10n);
  const taken = allocationOf(AMOUNT, { withdrawing: credit(1n) });
  withdrawn.fake.block({ allocation: [CHANNEL_ID, taken] }, [
    { type: 'channel', attributes: { channelId: toHex(CHANNEL_ID) } },
  ]);
  withdrawn.nowMs += 1_000;
  await until(() => withdrawn.lanes.size === 1);
  await withdrawn.close();

  const ending = await openWorld(options);
  const { height } = ending.fake.view.head();
  const { withdrawDelay } = ending.fake.view.config.params;
  await ending.charge(0, 10n, { expiry: height + 2 * withdrawDelay });
  ending.fake.pass(withdrawDelay + 1);
  ending.nowMs += 1_000;
  await until(() => ending.lanes.size === 1);
  await ending.close();

  const stopped = await openWorld(options);
  await stopped.charge(0, 10n);
  await stopped.settler.flush();
  assertSettled(stopped, 1, { 0: 10n });
  await stopped.close();
});

test('HTTP-82 batches are due by count, by age and before the chain calls them late', async () => {
  const world = await openWorld({ batchMaxCount: 3, batchMaxAgeMs: NEVER });
  for (let i = 0; i < 7; i++) await world.charge(i, 1n);
  await until(() => world.stream.settledSeq() === 6);
  assert.deepEqual(
    world.landed.map(({ batch }) => batch?.count),
    [3, 3],
  );
  world.fake.pass(world.fake.view.config.params.settleWindow / 2);
  await until(() => world.settler.isDone());
  assert.equal(world.stream.settledSeq(), 7);
  await world.close();
});

test('HTTP-82 a key whose window is over sends no batch that could only cost gas, and redeems what was settled', async () => {
  const world = await openWorld();
  await world.charge(0, 10n);
  await until(() => world.settler.isDone());
  await world.charge(0, 10n, { expiry: 900_000 });
  world.record = { ...world.record, stop: 'frozen' };
  world.fake.block({ key: [identity.keyId, world.record] });
  const sent = world.delivered.length;
  world.nowMs += 60_000;
  await new Promise((settle) => setTimeout(settle, 300));
  assert.equal(world.delivered.length, sent);
  assert.equal(world.settler.isDone(), false);
  // Drained: nothing can be had any more, and the key is done.
  world.record = { ...world.record, closingAt: 1 };
  world.fake.block({ key: [identity.keyId, world.record] });
  world.fake.pass(world.fake.view.config.params.keyDrain);
  world.nowMs += 60_000;
  await until(() => world.settler.isDone());
  assert.equal(world.delivered.length, sent);
  await world.close();
});

test('HTTP-81 a log and a chain that disagree: nothing more is signed under the key', async () => {
  for (const change of [{ settledSeq: 5 }, { headHash: digest('another receipt') }]) {
    const world = await openWorld();
    world.record = { ...world.record, ...change };
    world.fake.block({ key: [identity.keyId, world.record] });
    await world.charge(0, 10n);
    await until(() => world.lines.some((line) => /the chain settled/.test(line)));
    assert.equal(world.delivered.length, 0);
    await world.close();
  }
});

test('HTTP-84 whatever happens to each settlement, in the end each receipt is settled and each charge paid once', async () => {
  const fates: readonly (readonly Outcome[])[] = [
    ['expires', 'lands-unseen', 'E_SEQ', 'lands'],
    ['lands', 'dies', 'expires', 'dies', 'lands-unseen'],
    ['E_FEE', 'lands-unseen', 'lands', 'expires'],
  ];
  for (const fate of fates) {
    const world = await openWorld();
    const charged: Record<number, bigint> = {};
    const charge = async (lane: number): Promise<void> => {
      await world.charge(lane, 10n);
      charged[lane] = (charged[lane] ?? 0n) + 10n;
    };
    for (const lane of [0, 1, 2, 0]) await charge(lane);
    world.outcomes.push(...fate);
    for (let round = 0; round < 12 && !world.settler.isDone(); round++) {
      world.nowMs += 70_000;
      await new Promise((settle) => setTimeout(settle, 130));
      const isStuck = world.stream.inFlight() !== undefined;
      if (isStuck) await world.restart();
    }
    await until(() => world.settler.isDone());
    assertSettled(world, 4, charged);
    await world.close();
  }
});
