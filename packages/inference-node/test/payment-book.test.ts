/** The ledger of promises against payers, reordering, slow and silent full nodes: never more promised than can be redeemed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed, RpcError } from '@haca/platform';
import { toHex } from '@haca/primitives';
import { credit, nopg, type SignedObject, VOUCHER, type Voucher } from '@haca/protocol';
import fc from 'fast-check';
import { ApiError } from '../src/api-error.ts';
import { type Authorization, openPaymentBook, type PaymentBook, parseVoucher } from '../src/payment-book.ts';
import {
  allocationOf,
  CHANNEL,
  type FakeView,
  nodeOf,
  openFakeView,
  sessionOf,
  touching,
} from './fake-view.ts';
import { digest, identityOf, NODE_ID, voucherOf } from './stream-fixture.ts';

const { keyId } = identityOf();
const CHANNEL_ID = digest('channel');

function openWorld(amount: bigint, params: Parameters<typeof openFakeView>[0] = {}) {
  const fake = openFakeView(params);
  fake.block({
    channel: [CHANNEL_ID, CHANNEL],
    allocation: [CHANNEL_ID, allocationOf(amount)],
    session: [CHANNEL_ID, 0, sessionOf()],
  });
  return { fake, book: openPaymentBook(fake.view, NODE_ID) };
}

function ask(
  book: PaymentBook,
  lane: number,
  cumulative: bigint,
  reserve: bigint,
  change: Partial<Voucher> = {},
) {
  const voucher = voucherOf({ lane, cumulative: credit(cumulative), ...change });
  return askWith(book, voucher, reserve);
}

function askWith(book: PaymentBook, voucher: SignedObject<Voucher>, reserve: bigint): Promise<Authorization> {
  const { requestHash } = voucher.value;
  return book.authorize({ voucher, keyId, requestHash, reserve, asset: 1 });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'accepted',
    (error: unknown) => (error instanceof ApiError ? error.code : `${error}`),
  );
}

const nothing = (): void => undefined;
const turn = (): Promise<void> => new Promise((settle) => setImmediate(settle));

test('HTTP-32 a thousand requests at once on one allocation: what is promised fits, and all that fits is promised', async () => {
  const { fake, book } = openWorld(1_000n);
  let i = 0;
  fake.beforeRead = async () => {
    for (let turns = i++ % 5; turns > 0; turns--) await turn();
  };
  const codes = await Promise.all(
    Array.from({ length: 1_000 }, (_, n) =>
      codeOf(ask(book, n % 64, 30n, 30n, { requestHash: digest(`request ${n}`) })),
    ),
  );
  assert.equal(codes.filter((code) => code === 'accepted').length, 33);
  assert.equal(book.running(), 33);
  for (const code of codes) {
    assert.ok(['accepted', 'E_INSUFFICIENT', 'E_LANE_BUSY', 'E_IDEMPOTENCY'].includes(code), code);
  }
});

/** What the chain would say, and what the node promised, kept apart from the code under test. */
interface Model {
  amount: bigint;
  withdrawing: bigint;
  readonly lanes: {
    charged: bigint;
    paid: bigint;
    running: bigint;
    run: Authorization | null;
    seq: number;
  }[];
}

function promisedOf({ lanes }: Model): bigint {
  return lanes.reduce((sum, { charged, paid, running }) => sum + charged - paid + running, 0n);
}

function allocationRow({ amount, withdrawing, lanes }: Model) {
  const paid = lanes.reduce((sum, lane) => sum + lane.paid, 0n);
  return allocationOf(amount, { paid: credit(paid), withdrawing: credit(withdrawing) });
}

const LANES = 4;
const move = fc.record({
  kind: fc.constantFrom(
    'ask',
    'ask',
    'ask',
    'finish',
    'finish',
    'fail',
    'pay',
    'withdraw',
    'cancel',
    'top-up',
    'idle',
  ),
  lane: fc.nat(LANES - 1),
  value: fc.bigInt(1n, 400n),
  turns: fc.nat(4),
});

async function play(
  moves: readonly { kind: string; lane: number; value: bigint; turns: number }[],
): Promise<void> {
  const { fake, book } = openWorld(1_000n);
  const model: Model = {
    amount: 1_000n,
    withdrawing: 0n,
    lanes: Array.from({ length: LANES }, () => ({ charged: 0n, paid: 0n, running: 0n, run: null, seq: 0 })),
  };
  let delay = 0;
  fake.beforeRead = async () => {
    for (let turns = delay++ % 4; turns > 0; turns--) await turn();
  };
  const pending: Promise<void>[] = [];
  const unpaid = (): bigint => model.amount - model.lanes.reduce((sum, { paid }) => sum + paid, 0n);
  for (const { kind, lane: index, value, turns } of moves) {
    const lane = model.lanes[index] as Model['lanes'][number];
    if (kind === 'ask' && lane.run === null && lane.running === 0n) {
      const { charged } = lane;
      const asked = ask(book, index, charged + value, value, { requestHash: digest(`${charged} ${value}`) });
      pending.push(
        asked.then(
          (run) => {
            // The promise is checked at the moment it is made, against the newest final block there is.
            assert.equal(lane.run, null, 'two requests on one lane');
            lane.run = run;
            lane.running = value;
            const usable = unpaid() - model.withdrawing;
            assert.ok(promisedOf(model) <= usable, `${promisedOf(model)} promised of ${usable}`);
          },
          (error: unknown) => assert.ok(error instanceof ApiError, `${error}`),
        ),
      );
    } else if ((kind === 'finish' || kind === 'fail') && lane.run !== null) {
      const amount = kind === 'fail' ? 0n : value < lane.running ? value : lane.running;
      lane.charged += amount;
      assert.equal(
        lane.run.settle(amount, (total) => total as bigint),
        lane.charged,
      );
      lane.running = 0n;
      lane.run = null;
    } else if (kind === 'pay' && lane.charged > lane.paid) {
      lane.paid = lane.charged;
      const row = { mark: credit(lane.paid), seq: ++lane.seq, previous: null };
      fake.block({ lane: [keyId, CHANNEL_ID, index, row], allocation: [CHANNEL_ID, allocationRow(model)] }, [
        touching(CHANNEL_ID, 'pay'),
      ]);
    } else if (kind === 'withdraw' || kind === 'cancel' || kind === 'top-up') {
      if (kind === 'withdraw') model.withdrawing = value < unpaid() ? value : unpaid();
      else if (kind === 'cancel') model.withdrawing = 0n;
      else model.amount += value;
      fake.block({ allocation: [CHANNEL_ID, allocationRow(model)] }, [touching(CHANNEL_ID)]);
    } else fake.pass(1);
    for (let i = 0; i < turns; i++) await turn();
  }
  await Promise.all(pending);
}

test('HTTP-32 in any interleaving of requests, charges, payments, withdrawals and slow reads, promises never exceed the money', async () => {
  await fc.assert(fc.asyncProperty(fc.array(move, { minLength: 5, maxLength: 60 }), play), { numRuns: 150 });
});

test('HTTP-33 a block that withdraws is obeyed although its reading is slow, overtaken, or fails', async () => {
  const { fake, book } = openWorld(1_000n);
  (await ask(book, 0, 10n, 10n)).release();
  const gone = allocationOf(1_000n, { withdrawing: credit(1_000n) });

  // The reading of another request began before the block and ends after it.
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  fake.beforeRead = () => gate;
  const early = codeOf(ask(book, 1, 10n, 10n, { session: 1 }));
  await turn();
  fake.beforeRead = nothing;
  fake.block({ allocation: [CHANNEL_ID, gone] }, [touching(CHANNEL_ID)]);
  const waiting = codeOf(ask(book, 2, 10n, 10n));
  open();
  assert.equal(await waiting, 'E_INSUFFICIENT');
  assert.equal(await early, 'E_SESSION');

  fake.block({ allocation: [CHANNEL_ID, allocationOf(1_000n)] }, [touching(CHANNEL_ID)]);
  (await ask(book, 3, 10n, 10n)).release();
  // A full node that does not answer: nothing is promised on what was known before.
  fake.beforeRead = () => {
    throw new RpcError('unreachable', 'gone');
  };
  fake.block({ allocation: [CHANNEL_ID, gone] }, [touching(CHANNEL_ID)]);
  await assert.rejects(ask(book, 3, 10n, 10n), RpcError);
  fake.beforeRead = nothing;
  assert.equal(await codeOf(ask(book, 3, 10n, 10n)), 'E_INSUFFICIENT');
});

test('HTTP-37 blocks that were skipped make everything be read again', async () => {
  const { fake, book } = openWorld(1_000n);
  (await ask(book, 0, 10n, 10n)).release();
  const reads = fake.reads;
  (await ask(book, 0, 10n, 10n)).release();
  assert.equal(fake.reads, reads, 'all checks of a known lane run in memory');
  fake.block({ allocation: [CHANNEL_ID, allocationOf(5n)] }, null);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n)), 'E_INSUFFICIENT');
});

test('HTTP-34 a session that is unknown, foreign, expired or revoked signs nothing; a slot used anew does', async () => {
  const { fake, book } = openWorld(1_000n);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n, { session: 5 })), 'E_SESSION');
  const thief = ed25519SignerFromSeed(new Uint8Array(32).fill(8));
  const stolen = VOUCHER.sign(voucherOf({ cumulative: credit(10n) }).value, thief.sign);
  assert.equal(await codeOf(askWith(book, stolen, 10n)), 'E_VOUCHER');
  (await ask(book, 0, 10n, 10n)).release();

  fake.block({ session: [CHANNEL_ID, 0, sessionOf({ revokedAt: 12 })] }, [touching(CHANNEL_ID)]);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n)), 'E_SESSION');
  fake.block({ session: [CHANNEL_ID, 0, sessionOf({ publicKey: thief.publicKey })] }, [touching(CHANNEL_ID)]);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n)), 'E_VOUCHER');
  (await askWith(book, stolen, 10n)).release();
  const soon = sessionOf({ expiryHeight: fake.view.head().height });
  fake.block({ session: [CHANNEL_ID, 0, soon] }, [touching(CHANNEL_ID)]);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n)), 'E_SESSION');
});

test('HTTP-34 a voucher has to live for two withdrawal delays, and to die with its session', async () => {
  const { fake, book } = openWorld(1_000n);
  const { height } = fake.view.head();
  const least = height + 2 * fake.view.config.params.withdrawDelay;
  assert.equal(await codeOf(ask(book, 0, 10n, 10n, { expiry: least - 1 })), 'E_VOUCHER');
  (await ask(book, 0, 10n, 10n, { expiry: least })).release();
  (await ask(book, 0, 10n, 10n, { expiry: 1_000_000 })).release();
  assert.equal(await codeOf(ask(book, 0, 10n, 10n, { expiry: 1_000_001 })), 'E_VOUCHER');
});

test('HTTP-30 each field of a voucher binds: chain, channel, key, request, lane', async () => {
  const { book } = openWorld(1_000n);
  const requestHash = digest('request');
  const withHash = (change: Partial<Voucher>) =>
    book.authorize({ voucher: voucherOf(change), keyId, requestHash, reserve: 100n, asset: 1 });
  assert.equal(await codeOf(withHash({ chainId: 'haca-other-1' })), 'E_CHAIN');
  assert.equal(await codeOf(withHash({ channelId: digest('no such channel') })), 'E_CHANNEL');
  assert.equal(await codeOf(withHash({ keyId: digest('another key') })), 'E_VOUCHER');
  assert.equal(await codeOf(withHash({ requestHash: digest('another') })), 'E_REQUEST_HASH');
  (await withHash({})).settle(100n, nothing);
  // The same promise on another lane would be a promise of its own, had the payer signed it.
  const { value, cose } = voucherOf();
  const moved = VOUCHER.decode(voucherOf({ ...value, lane: 3 }).bytes);
  const forged = { ...moved, cose: { ...moved.cose, signature: cose.signature } };
  assert.equal(await codeOf(askWith(book, forged, 100n)), 'E_VOUCHER');
  const other = { voucher: voucherOf({ lane: 4 }), keyId, requestHash, reserve: 100n, asset: 2 };
  assert.equal(await codeOf(book.authorize(other)), 'E_CHANNEL', 'the offer is in another asset');
});

test('HTTP-31 the amount continues the lane exactly; a used amount is a conflict, an answered request says so', async () => {
  const { book } = openWorld(1_000n);
  for (const cumulative of [49n, 51n, 0n, 2n ** 64n - 1n]) {
    assert.equal(await codeOf(ask(book, 0, cumulative, 50n)), 'E_RESERVE', `${cumulative}`);
  }
  const first = await ask(book, 0, 50n, 50n);
  assert.equal(await codeOf(ask(book, 0, 50n, 50n)), 'E_IDEMPOTENCY', 'running');
  assert.equal(await codeOf(ask(book, 0, 100n, 50n)), 'E_LANE_BUSY');
  assert.equal(
    first.settle(20n, (total) => total as bigint),
    20n,
  );
  assert.equal(await codeOf(ask(book, 0, 50n, 50n)), 'E_IDEMPOTENCY', 'answered');
  const another = { requestHash: digest('another request') };
  assert.equal(await codeOf(ask(book, 0, 50n, 50n, another)), 'E_IDEMPOTENCY', 'used with another request');
  // By chance the next amount equals the last one: that is no conflict.
  (await ask(book, 0, 50n, 30n, another)).release();
  (await ask(book, 0, 70n, 50n, another)).settle(0n, nothing);
  assert.deepEqual((await book.laneState(CHANNEL_ID, keyId, 0)).charged, 20n);
});

test('HTTP-53 a request is settled once, at most at its reserve, and not at all if nothing could be signed', async () => {
  const { book } = openWorld(1_000n);
  const run = await ask(book, 0, 50n, 50n);
  assert.throws(() => run.settle(51n, nothing));
  assert.throws(() => run.settle(-1n, nothing));
  const unsigned = (): never => {
    throw new Error('no receipt');
  };
  assert.throws(() => run.settle(50n, unsigned), /no receipt/);
  assert.equal((await book.laneState(CHANNEL_ID, keyId, 0)).reserved, 50n, 'still reserved');
  run.release();
  assert.throws(() => run.settle(10n, nothing));
  const next = await ask(book, 0, 50n, 50n);
  next.settle(50n, nothing);
  next.release();
  assert.throws(() => next.settle(50n, nothing));
  const state = await book.laneState(CHANNEL_ID, keyId, 0);
  assert.deepEqual([state.charged, state.reserved], [50n, 0n]);
});

test('HTTP-36 no lane is served that could get no row to be paid on', async () => {
  const { fake, book } = openWorld(100_000n);
  fake.block({ node: nodeOf({ bond: nopg(5_000_000_000n), laneRows: 2 }) }, [touching(CHANNEL_ID)]);
  const runs = [await ask(book, 0, 10n, 10n), await ask(book, 1, 10n, 10n), await ask(book, 2, 10n, 10n)];
  assert.equal(await codeOf(ask(book, 3, 10n, 10n)), 'E_LANES');
  runs[0]?.release();
  (await ask(book, 3, 10n, 10n)).settle(10n, nothing);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n)), 'E_LANES', 'a charged lane keeps its place');
  // Its row is written: the place is taken by the row instead.
  const row = { mark: credit(10n), seq: 1, previous: null };
  const node = nodeOf({ bond: nopg(5_000_000_000n), laneRows: 3 });
  fake.block({ lane: [keyId, CHANNEL_ID, 3, row], node }, [touching(CHANNEL_ID, 'pay')]);
  assert.equal(await codeOf(ask(book, 0, 10n, 10n)), 'E_LANES');
  (await ask(book, 3, 20n, 10n)).release();
});

test('HTTP-65 a request is stopped in time when money or session are being taken away, or its voucher nears its end', async () => {
  const { fake, book } = openWorld(1_000n);
  const { requestDuration, withdrawDelay } = fake.view.config.params;
  const run = await ask(book, 0, 10n, 10n);
  const readyAt = fake.view.finalHeight() + 1 + withdrawDelay;
  const withdrawing = allocationOf(1_000n, { withdrawing: credit(100n), readyAt });
  fake.block({ allocation: [CHANNEL_ID, withdrawing] }, [touching(CHANNEL_ID)]);
  await turn();
  fake.pass(requestDuration - 1);
  assert.equal(run.signal.aborted, false);
  const later = await ask(book, 1, 10n, 10n);
  fake.pass(1);
  assert.equal(run.signal.aborted, true);
  assert.equal(later.signal.aborted, false, 'one that began later has its own time');
  fake.pass(requestDuration + 1);
  assert.equal(later.signal.aborted, true);
  for (const each of [run, later]) each.settle(10n, nothing);

  fake.block({ allocation: [CHANNEL_ID, allocationOf(1_000n)] }, [touching(CHANNEL_ID)]);
  const expiry = fake.view.head().height + 2 * withdrawDelay + 5;
  const long = await ask(book, 2, 10n, 10n, { expiry });
  fake.pass(expiry - withdrawDelay - fake.view.finalHeight() - 1);
  assert.equal(long.signal.aborted, false);
  fake.pass(1);
  assert.equal(long.signal.aborted, true);
});

test('HTTP-83 a charge is urgent as soon as the promise behind it is about to go', async () => {
  const { fake, book } = openWorld(1_000n);
  const expiry = fake.view.head().height + 2 * fake.view.config.params.withdrawDelay;
  (await ask(book, 0, 10n, 10n, { expiry })).settle(10n, nothing);
  const lane = async () => {
    const found = await book.chargedLane(CHANNEL_ID, keyId, 0);
    assert.ok(found !== undefined);
    return found;
  };
  assert.equal(book.isUrgent(await lane()), false);
  const withdrawing = allocationOf(1_000n, { withdrawing: credit(1n) });
  fake.block({ allocation: [CHANNEL_ID, withdrawing] }, [touching(CHANNEL_ID)]);
  assert.equal(book.isUrgent(await lane()), true);
  fake.block({ allocation: [CHANNEL_ID, allocationOf(1_000n)] }, [touching(CHANNEL_ID)]);
  assert.equal(book.isUrgent(await lane()), false);
  fake.block({ session: [CHANNEL_ID, 0, sessionOf({ revokedAt: 9 })] }, [touching(CHANNEL_ID)]);
  assert.equal(book.isUrgent(await lane()), true);
  fake.block({ session: [CHANNEL_ID, 0, sessionOf()] }, [touching(CHANNEL_ID)]);
  fake.pass(fake.view.config.params.withdrawDelay);
  assert.equal(book.isUrgent(await lane()), true, 'a withdrawal delay before the voucher ends');
});

test('HTTP-84 what earlier processes were promised counts, whether or not its channel is still there', async () => {
  const { fake, book } = openWorld(1_000n);
  const oldKey = identityOf(2).keyId;
  const row = { mark: credit(100n), seq: 4, previous: null };
  fake.block({
    lane: [oldKey, CHANNEL_ID, 0, row],
    allocation: [CHANNEL_ID, allocationOf(1_000n, { paid: credit(100n) })],
  });
  const promised = (lane: number, channelId = CHANNEL_ID) => voucherOf({ keyId: oldKey, lane, channelId });
  await book.restore([
    [promised(0), 400n],
    [promised(1), 300n],
    [promised(0, digest('closed channel')), 77n],
  ]);
  // 1000 - 100 paid - 300 - 300 promised.
  assert.equal(await codeOf(ask(book, 5, 301n, 301n)), 'E_INSUFFICIENT');
  (await ask(book, 5, 300n, 300n)).release();
  const lane = await book.chargedLane(CHANNEL_ID, oldKey, 0);
  assert.deepEqual([lane?.mark, lane?.markSeq, lane?.charged], [100n, 4, 400n]);
  assert.equal((await book.chargedLane(digest('closed channel'), oldKey, 0))?.charged, 77n);
  book.forgetKey(oldKey);
  (await ask(book, 5, 900n, 900n)).release();
});

test('HTTP-13 lanes that nobody uses are told from their rows; channels that do not exist are named so', async () => {
  const { fake, book } = openWorld(1_000n);
  const row = { mark: credit(123n), seq: 9, previous: null };
  fake.block({ lane: [keyId, CHANNEL_ID, 8, row] });
  assert.deepEqual(await book.laneState(CHANNEL_ID, keyId, 8), {
    charged: 123n,
    reserved: 0n,
    voucher: null,
  });
  assert.equal(await codeOf(book.laneState(digest('nowhere'), keyId, 0)), 'E_CHANNEL');
  (await ask(book, 8, 133n, 10n)).settle(10n, nothing);
  const { charged, voucher } = await book.laneState(CHANNEL_ID, keyId, 8);
  assert.deepEqual(
    [charged, toHex(voucher?.value.requestHash ?? new Uint8Array(0))],
    [133n, toHex(digest('request'))],
  );
});

test('HTTP-32 vouchers for channels that do not exist are refused by a bounded number of readings', async () => {
  const { fake, book }: { fake: FakeView; book: PaymentBook } = openWorld(1_000n);
  fake.beforeRead = turn;
  const codes = await Promise.all(
    Array.from({ length: 600 }, (_, i) =>
      codeOf(ask(book, 0, 10n, 10n, { channelId: digest(`random ${i}`) })),
    ),
  );
  assert.deepEqual([...new Set(codes)].sort(), ['E_CHANNEL', 'E_UNAVAILABLE']);
  (await ask(book, 0, 10n, 10n)).release();
});

test('voucher bytes that are none have one name', () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(300), voucherOf().bytes.subarray(1)]) {
    assert.throws(
      () => parseVoucher(bytes),
      (error: unknown) => error instanceof ApiError && error.code === 'E_VOUCHER',
    );
  }
});
