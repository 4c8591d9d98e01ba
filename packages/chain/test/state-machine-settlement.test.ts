import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { sha256, utf8Encode } from '@haca/primitives';
import { credit, nopg, RECEIPTS_PER_BATCH_MAX, type RunningTotals, STATEMENT } from '@haca/protocol';
import {
  actor,
  allocationOf,
  CREDIT,
  createWorld,
  creditBalance,
  funded,
  keyOf,
  laneOf,
  line,
  lineCodes,
  market,
  nodeOf,
  OPG,
  openChannel,
  openKey,
  payoutOf,
  registerModel,
  registerNode,
  sessionSigner,
  settle,
  settleOp,
  statementOf,
  USDC,
  voucher,
} from './state-machine-world.ts';

test('CHAIN-64 CHAIN-76: a settled batch is verified at once, and its line pays the node everything', () => {
  const { world, node, key, channel } = market({ method: 'tee' });
  const result = settle(
    world,
    key,
    64,
    3n * CREDIT,
    [line(channel, 0, [1, 64], [0n, 3n * CREDIT])],
    [voucher(world, channel, key, 0, 4n * CREDIT)],
  );
  assert.equal(result.codeName, 'OK', result.info);
  assert.deepEqual(lineCodes(result), ['OK']);
  const row = keyOf(world, key.keyId);
  assert.equal(row.settledSeq, 64);
  assert.equal(row.logSize, 1);
  assert.deepEqual(row.settled, [[USDC, 3n * CREDIT]]);
  assert.deepEqual(row.verified, row.settled);
  assert.deepEqual(row.paid, row.settled);
  assert.equal(creditBalance(world, payoutOf(node.operator)), 3n * CREDIT);
  assert.deepEqual(laneOf(world, key.keyId, channel.channelId, 0), {
    mark: 3n * CREDIT,
    seq: 64,
    previous: null,
  });
  assert.equal(allocationOf(world, channel.channelId, node.nodeId)?.paid, 3n * CREDIT);
  const settled = result.events.find(({ type }) => type === 'settle');
  const shown = Object.fromEntries(settled?.attributes ?? []);
  assert.equal(shown['assurance'], 'tee-simulated');
  assert.equal(shown['state'], 'verified');
  assert.equal(shown['lastSeq'], '64');
  const pay = Object.fromEntries(result.events.find(({ type }) => type === 'pay')?.attributes ?? []);
  assert.equal(pay['amount'], `${3n * CREDIT}`);
});

test('CHAIN-64: a redeem-only statement appends nothing to the log and can be sent later', () => {
  const { world, key, channel } = market();
  settle(world, key, 5, CREDIT);
  const before = keyOf(world, key.keyId);
  const charge = line(channel, 3, [1, 5], [0n, CREDIT]);
  const result = settle(world, key, 0, 0n, [charge], [voucher(world, channel, key, 3, CREDIT)]);
  assert.deepEqual(lineCodes(result), ['OK']);
  const after = keyOf(world, key.keyId);
  assert.equal(after.logSize, before.logSize);
  assert.deepEqual(after.headHash, before.headHash);
});

test('CHAIN-62 attack 14 E_SEQ: every order of three batches but the right one, and every repetition, is refused', () => {
  const orders = [0, 1, 2].flatMap((a) => [0, 1, 2].flatMap((b) => [0, 1, 2].map((c) => [a, b, c])));
  for (const order of orders) {
    const { world, key } = market({ audit: false });
    const state = { ...key };
    const statements = [3, 4, 5].map((count) => {
      const { bytes, after } = statementOf(state, count, CREDIT);
      Object.assign(state, after);
      return bytes;
    });
    let next = 0;
    for (const index of order) {
      const result = world.run(key.node.operator, [settleOp(statements[index] as Uint8Array)]);
      assert.equal(result.codeName, index === next ? 'OK' : 'E_SEQ', `${order} at ${index}`);
      if (index === next) next++;
    }
    assert.equal(keyOf(world, key.keyId).logSize, next);
  }
});

test('CHAIN-62 E_SEQ: another predecessor, a gap, a repetition, and an empty batch', () => {
  const { world, key } = market();
  for (const firstSeq of [0, 2, 3]) {
    const { batch } = STATEMENT.decode(statementOf(key, 1, CREDIT).bytes).value;
    assert.ok(batch !== null);
    const shifted = statementOf(key, 1, CREDIT, [], { batch: { ...batch, firstSeq } });
    assert.equal(world.run(key.node.operator, [settleOp(shifted.bytes)]).codeName, 'E_SEQ', `${firstSeq}`);
  }
  const other = statementOf({ ...key, head: sha256(utf8Encode('another')) }, 1, CREDIT);
  assert.equal(world.run(key.node.operator, [settleOp(other.bytes)]).codeName, 'E_SEQ');
  const batch = {
    firstSeq: 1,
    count: 0,
    prevReceiptHash: key.head,
    lastReceiptHash: key.head,
    receiptsRoot: key.head,
    running: [],
  };
  const empty = statementOf(key, 1, 0n, [], { batch });
  assert.equal(world.run(key.node.operator, [settleOp(empty.bytes)]).codeName, 'E_SEQ');
  assert.equal(settle(world, key, RECEIPTS_PER_BATCH_MAX, CREDIT).codeName, 'OK');
});

test('CHAIN-61 E_SIG, E_CHAIN, E_SENDER, E_KEY, E_COUNT: who may settle what', () => {
  const { world, key, channel, payer } = market();
  const { operator } = key.node;
  const thief = ed25519SignerFromSeed(sha256(utf8Encode('thief')));
  const forged = statementOf({ ...key, signer: thief }, 1, CREDIT);
  assert.equal(world.run(operator, [settleOp(forged.bytes)]).codeName, 'E_SIG');
  const elsewhere = statementOf(key, 1, CREDIT, [], { chainId: 'haca-other-1' });
  assert.equal(world.run(operator, [settleOp(elsewhere.bytes)]).codeName, 'E_CHAIN');
  const unknown = statementOf({ ...key, keyId: sha256(key.keyId) }, 1, CREDIT);
  assert.equal(world.run(operator, [settleOp(unknown.bytes)]).codeName, 'E_KEY');
  const charge = line(channel, 0, [1, 1], [0n, CREDIT]);
  const bare = statementOf(key, 1, CREDIT, [charge]);
  assert.equal(world.run(operator, [settleOp(bare.bytes)]).codeName, 'E_COUNT');
  const nothing = statementOf(key, 0, 0n);
  assert.equal(world.run(operator, [settleOp(nothing.bytes)]).codeName, 'E_COUNT');
  // In a mixture the first phase does not know the node; the effect refuses the stranger all the same.
  const good = statementOf(key, 1, CREDIT);
  const mixed = world.run(payer, [
    settleOp(good.bytes),
    { kind: 'transfer-opg', to: operator.id, amount: nopg(OPG) },
  ]);
  assert.equal(mixed.codeName, 'E_SENDER');
  assert.equal(keyOf(world, key.keyId).settledSeq, 0);
});

test('attack 25 CHAIN-12 E_SENDER: a stranger cannot settle for a key, nor use its bucket', () => {
  const { world, key, payer } = market();
  const before = nodeOf(world, key.node.nodeId).bucketGas;
  const result = world.run(payer, [settleOp(statementOf(key, 1, CREDIT).bytes)]);
  assert.equal(result.codeName, 'E_SENDER');
  assert.equal(result.gasUsed, 0);
  assert.equal(nodeOf(world, key.node.nodeId).bucketGas, before);
});

test('CHAIN-63 E_SUM attack 52: totals that fall, leave their range or name too many assets', () => {
  const { world, key } = market();
  const { operator } = key.node;
  settle(world, key, 1, CREDIT);
  const run = (running: RunningTotals): string =>
    world.run(operator, [settleOp(statementOf(key, 1, 0n, [], { running }).bytes)]).codeName;
  assert.equal(run([[USDC, credit(CREDIT - 1n)]]), 'E_SUM');
  assert.equal(run([[USDC, credit(1n << 63n)]]), 'E_SUM');
  const five: RunningTotals = [
    [2, credit(1n)],
    [3, credit(1n)],
    [4, credit(1n)],
    [5, credit(1n)],
  ];
  assert.equal(run(five), 'E_SUM', 'the key knows asset 1 already');
  assert.equal(run([[USDC, credit((1n << 63n) - 1n)]]), 'OK');
  assert.deepEqual(keyOf(world, key.keyId).settled, [[USDC, (1n << 63n) - 1n]]);
});

test('CHAIN-63: an asset that a batch leaves out is unchanged', () => {
  const { world, key } = market();
  settle(world, key, 1, CREDIT);
  const { bytes } = statementOf(key, 1, 0n, [], { running: [[2, credit(7n)]] });
  assert.equal(world.run(key.node.operator, [settleOp(bytes)]).codeName, 'OK');
  assert.deepEqual(keyOf(world, key.keyId).settled, [
    [USDC, CREDIT],
    [2, 7n],
  ]);
});

test('CHAIN-60 CHAIN-54 E_KEY: a closed key settles for settleWindow blocks more, and not after', () => {
  const { world, key } = market();
  world.ok(key.node.operator, [{ kind: 'close-key', keyId: key.keyId }]);
  const closingAt = world.height();
  assert.equal(keyOf(world, key.keyId).closingAt, closingAt);
  world.skip(2);
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'OK', 'at closingAt + settleWindow');
  assert.equal(world.height(), closingAt + 3);
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'E_KEY');
});

test('CHAIN-60 E_KEY: evidence that ended backs no new batch; redeeming goes on', () => {
  const { world, key, channel } = market({ method: 'tee' });
  settle(world, key, 2, CREDIT);
  world.block([], { timeMs: world.timeMs() + 40_000 });
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'E_KEY');
  const charge = line(channel, 0, [1, 2], [0n, CREDIT]);
  assert.deepEqual(
    lineCodes(settle(world, key, 0, 0n, [charge], [voucher(world, channel, key, 0, CREDIT)])),
    ['OK'],
  );
});

test('CHAIN-60 CHAIN-70 E_KEY E_KEY_PRUNED: an abandoned key settles nothing but redeems until it is drained', () => {
  const { world, key, channel } = market();
  settle(world, key, 4, 2n * CREDIT);
  world.ok(key.node.operator, [{ kind: 'abandon-key', keyId: key.keyId }]);
  const abandonedAt = world.height();
  assert.equal(settle(world, key, 1, CREDIT).codeName, 'E_KEY');
  const redeem = (from: bigint, to: bigint, seqs: [number, number]): ReturnType<typeof settle> =>
    settle(
      world,
      key,
      0,
      0n,
      [line(channel, 0, seqs, [from, to])],
      [voucher(world, channel, key, 0, 2n * CREDIT)],
    );
  assert.deepEqual(lineCodes(redeem(0n, CREDIT, [1, 2])), ['OK']);
  world.skip(abandonedAt + 22 - 2 - world.height());
  assert.deepEqual(lineCodes(redeem(CREDIT, CREDIT + 1n, [3, 3])), ['OK'], 'one block before drainedAt');
  assert.equal(redeem(CREDIT + 1n, 2n * CREDIT, [4, 4]).codeName, 'E_KEY_PRUNED');
});

test('attack 7 CHAIN-71 E_ALREADY_PAID: permuted, overlapping and repeated lines pay each unit once', () => {
  const { world, node, key, channel } = market();
  settle(world, key, 10, 5n * CREDIT);
  const unit = CREDIT / 2n;
  const attempt = (fromSeq: number, atSeq: number, from: bigint, to: bigint): readonly string[] =>
    lineCodes(
      settle(
        world,
        key,
        0,
        0n,
        [line(channel, 0, [fromSeq, atSeq], [from * unit, to * unit])],
        [voucher(world, channel, key, 0, 5n * CREDIT)],
      ),
    );
  assert.deepEqual(attempt(3, 4, 2n, 4n), ['E_ALREADY_PAID'], 'not from the mark');
  assert.deepEqual(attempt(1, 2, 0n, 2n), ['OK']);
  assert.deepEqual(attempt(1, 2, 0n, 2n), ['E_ALREADY_PAID'], 'again');
  assert.deepEqual(attempt(2, 3, 2n, 3n), ['E_ALREADY_PAID'], 'a seq that was paid');
  assert.deepEqual(attempt(3, 4, 1n, 4n), ['E_ALREADY_PAID'], 'overlapping below');
  assert.deepEqual(attempt(3, 4, 3n, 4n), ['E_ALREADY_PAID'], 'a gap');
  assert.deepEqual(attempt(3, 4, 2n, 2n), ['E_ALREADY_PAID'], 'nothing');
  assert.deepEqual(attempt(3, 4, 2n, 1n), ['E_ALREADY_PAID'], 'less than nothing');
  assert.deepEqual(attempt(3, 10, 2n, 10n), ['OK']);
  assert.equal(creditBalance(world, payoutOf(node.operator)), 5n * CREDIT);
});

test('CHAIN-70 attack 12 E_NOT_VERIFIED: lines beyond what settled, from 0, or backwards', () => {
  const { world, key, channel } = market();
  settle(world, key, 4, 2n * CREDIT);
  for (const seqs of [
    [1, 5],
    [0, 2],
    [3, 2],
    [5, 5],
  ] as const) {
    const charge = line(channel, 0, seqs, [0n, CREDIT]);
    const result = settle(world, key, 0, 0n, [charge], [voucher(world, channel, key, 0, CREDIT)]);
    assert.deepEqual(lineCodes(result), ['E_NOT_VERIFIED'], seqs.join());
  }
});

test('attack 6 CHAIN-72 E_VOUCHER: every field of a voucher that is not exactly this lane', () => {
  const { world, key, channel, payer } = market();
  settle(world, key, 4, 2n * CREDIT);
  const second = openKey(world, key.node);
  const otherChannel = openChannel(world, payer, [key.node]);
  const good = voucher(world, channel, key, 0, CREDIT);
  const height = world.height();
  const wrong: readonly (readonly [string, Uint8Array])[] = [
    ['not a voucher', Uint8Array.of(1)],
    ['truncated', good.slice(0, -1)],
    ['chain', voucher(world, channel, key, 0, CREDIT, { chainId: 'haca-other-1' })],
    ['key', voucher(world, channel, key, 0, CREDIT, { keyId: second.keyId })],
    ['channel', voucher(world, otherChannel, key, 0, CREDIT)],
    ['lane', voucher(world, channel, key, 0, CREDIT, { lane: 1 })],
    ['cumulative', voucher(world, channel, key, 0, CREDIT - 1n)],
    ['session', voucher(world, channel, key, 0, CREDIT, { session: 5 })],
    ['signer', voucher(world, channel, key, 0, CREDIT, { signer: sessionSigner(payer, 9) })],
    ['expired', voucher(world, channel, key, 0, CREDIT, { expiry: height })],
    ['beyond the session', voucher(world, channel, key, 0, CREDIT, { expiry: height + 1_000 })],
  ];
  for (const [name, bytes] of wrong) {
    const charge = line(channel, 0, [1, 4], [0n, CREDIT]);
    assert.deepEqual(lineCodes(settle(world, key, 0, 0n, [charge], [bytes])), ['E_VOUCHER'], name);
  }
  const charge = line(channel, 0, [1, 4], [0n, CREDIT]);
  assert.deepEqual(lineCodes(settle(world, key, 0, 0n, [charge], [good])), ['OK']);
});

test('CHAIN-72: every single-bit change of a voucher is refused', () => {
  const { world, key, channel } = market({ audit: false });
  settle(world, key, 1, CREDIT);
  const good = voucher(world, channel, key, 0, CREDIT);
  const flips = Array.from({ length: good.length * 8 }, (_, bit) => {
    const bytes = good.slice();
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    return bytes;
  });
  for (let at = 0; at < flips.length; at += 200) {
    const vouchers = flips.slice(at, at + 200);
    const charge = line(channel, 0, [1, 1], [0n, CREDIT]);
    const result = settle(
      world,
      key,
      0,
      0n,
      vouchers.map(() => charge),
      vouchers,
    );
    assert.equal(result.codeName, 'OK', result.info);
    assert.ok(lineCodes(result).every((code) => code === 'E_VOUCHER'));
    world.skip(1);
  }
});

test('attack 5 CHAIN-72 CHAIN-41: vouchers of a revoked session are redeemable for withdrawDelay blocks and no longer', () => {
  const { world, key, channel, payer } = market();
  settle(world, key, 4, 2n * CREDIT);
  const promise = voucher(world, channel, key, 0, 2n * CREDIT);
  world.ok(payer, [{ kind: 'revoke-session', channelId: channel.channelId, session: 0 }]);
  const revokedAt = world.height();
  world.skip(15);
  const first = settle(world, key, 0, 0n, [line(channel, 0, [1, 2], [0n, CREDIT])], [promise]);
  assert.equal(world.height(), revokedAt + 16);
  assert.deepEqual(lineCodes(first), ['OK']);
  const second = settle(world, key, 0, 0n, [line(channel, 0, [3, 4], [CREDIT, 2n * CREDIT])], [promise]);
  assert.deepEqual(lineCodes(second), ['E_VOUCHER']);
});

test('CHAIN-73 E_UNDERFUNDED attack 1: an allocation pays all of a line or none of it, and never more than it holds', () => {
  const { world, node, key, payer } = market();
  const channel = openChannel(world, payer, [node], { allocate: CREDIT });
  settle(world, key, 4, 5n * CREDIT);
  const promise = voucher(world, channel, key, 0, 5n * CREDIT);
  const all = settle(world, key, 0, 0n, [line(channel, 0, [1, 4], [0n, CREDIT + 1n])], [promise]);
  assert.deepEqual(lineCodes(all), ['E_UNDERFUNDED']);
  const exact = settle(world, key, 0, 0n, [line(channel, 0, [1, 3], [0n, CREDIT])], [promise]);
  assert.deepEqual(lineCodes(exact), ['OK']);
  assert.equal(
    allocationOf(world, channel.channelId, node.nodeId),
    undefined,
    'a spent allocation is removed',
  );
  const more = settle(world, key, 0, 0n, [line(channel, 0, [4, 4], [CREDIT, CREDIT + 1n])], [promise]);
  assert.deepEqual(lineCodes(more), ['E_UNDERFUNDED']);
});

test('CHAIN-74 E_SUM attack 13: a key is paid no more than the totals it signed, whoever pays', () => {
  const { world, node, key, channel } = market();
  const second = openChannel(world, funded(world, 'second payer', 10n * OPG), [node]);
  settle(world, key, 4, CREDIT);
  const charges = [line(channel, 0, [1, 2], [0n, CREDIT / 2n]), line(second, 0, [3, 4], [0n, CREDIT])];
  const result = settle(world, key, 0, 0n, charges, [
    voucher(world, channel, key, 0, CREDIT),
    voucher(world, second, key, 0, CREDIT),
  ]);
  assert.deepEqual(lineCodes(result), ['OK', 'E_SUM']);
});

test('CHAIN-75 attack 23 E_LANES: lane rows of a node are bound by its bond', () => {
  const { world, key, channel } = market({ params: { bondPerLaneRow: 2_000n * OPG } });
  settle(world, key, 4, 10n * CREDIT);
  const charges = [0, 1, 2, 3].map((lane) => line(channel, lane, [1, 4], [0n, CREDIT / 100n]));
  const vouchers = [0, 1, 2, 3].map((lane) => voucher(world, channel, key, lane, CREDIT));
  const result = settle(world, key, 0, 0n, charges, vouchers);
  assert.deepEqual(lineCodes(result), ['OK', 'OK', 'OK', 'E_LANES']);
  const again = settle(
    world,
    key,
    0,
    0n,
    [line(channel, 2, [5, 5], [CREDIT / 100n, CREDIT / 50n])],
    [voucher(world, channel, key, 2, CREDIT)],
  );
  assert.deepEqual(lineCodes(again), ['E_NOT_VERIFIED']);
});

test('attack 42: of 256 lines each failing in turn, exactly that one is unpaid', () => {
  const { world, node, key, channel } = market({ audit: false });
  const payout = payoutOf(node.operator);
  settle(world, key, 1, 9n * CREDIT);
  const lanes = Array.from({ length: 64 }, (_, lane) => lane);
  const channels = [channel];
  for (let i = 0; i < 3; i++) {
    channels.push(openChannel(world, funded(world, `payer ${i}`, 10n * OPG), [node]));
  }
  const all = channels.flatMap((each) => lanes.map((lane) => ({ each, lane })));
  for (const bad of [0, 100, 255]) {
    const fresh = openKey(world, node);
    settle(world, fresh, 1, 9n * CREDIT);
    const before = creditBalance(world, payout);
    const vouchers = all.map(({ each, lane }, i) =>
      voucher(world, each, fresh, lane, i === bad ? 0n : 1_000n),
    );
    const result = settle(
      world,
      fresh,
      0,
      0n,
      all.map(({ each, lane }) => line(each, lane, [1, 1], [0n, 1_000n])),
      vouchers,
    );
    const codes = lineCodes(result);
    assert.equal(codes.length, 256);
    assert.ok(codes.every((code, i) => code === (i === bad ? 'E_VOUCHER' : 'OK')));
    assert.equal(creditBalance(world, payout) - before, 255_000n);
    world.skip(4);
  }
});

test('attack 51: quiet lanes of tiny amounts are redeemed like any other', () => {
  const { world, node, key, channel } = market();
  settle(world, key, 64, CREDIT);
  const tiny = 900_000n;
  const charges = Array.from({ length: 64 }, (_, i) => line(channel, i, [i + 1, i + 1], [0n, tiny]));
  const vouchers = charges.map((_, i) => voucher(world, channel, key, i, tiny));
  const result = settle(world, key, 0, 0n, charges, vouchers);
  assert.ok(lineCodes(result).every((code) => code === 'OK'));
  assert.equal(creditBalance(world, payoutOf(node.operator)), 64n * tiny);
});

test('attack 10 attack 8: without a settled receipt a voucher is worth nothing', () => {
  const { world, key, channel } = market();
  const charge = line(channel, 0, [1, 1], [0n, CREDIT]);
  const result = settle(world, key, 0, 0n, [charge], [voucher(world, channel, key, 0, CREDIT)]);
  assert.deepEqual(lineCodes(result), ['E_NOT_VERIFIED']);
});

test('attack 4: a node that redeems within withdrawDelay is paid, one block later the money is gone', () => {
  for (const late of [false, true]) {
    const { world, node, key, payer, channel } = market();
    settle(world, key, 1, 10n * CREDIT);
    const promise = voucher(world, channel, key, 0, 10n * CREDIT);
    world.ok(payer, [
      {
        kind: 'request-withdraw',
        channelId: channel.channelId,
        nodeId: node.nodeId,
        amount: credit(10n * CREDIT),
      },
    ]);
    world.skip(15);
    const finalize = world.tx(payer, [
      { kind: 'finalize-withdraw', channelId: channel.channelId, nodeId: node.nodeId },
    ]);
    const redeem = world.tx(key.node.operator, [
      settleOp(statementOf(key, 0, 0n, [line(channel, 0, [1, 1], [0n, 10n * CREDIT])]).bytes, [promise]),
    ]);
    const { results } = world.block(late ? [finalize, redeem] : [redeem, finalize]);
    assert.ok(results.every(({ codeName }) => codeName === 'OK'));
    const codes = lineCodes(results[late ? 1 : 0] as (typeof results)[number]);
    assert.deepEqual(codes, [late ? 'E_UNDERFUNDED' : 'OK']);
  }
});

test('attack 50 CHAIN-52 E_EPOCH: a key never comes back under its epoch, and lanes of a new key start at zero', () => {
  const { world, node, key, channel } = market();
  settle(world, key, 2, CREDIT);
  settle(
    world,
    key,
    0,
    0n,
    [line(channel, 0, [1, 2], [0n, CREDIT])],
    [voucher(world, channel, key, 0, CREDIT)],
  );
  const again = openKey(world, node, { signer: key.signer });
  assert.notDeepEqual(again.keyId, key.keyId);
  settle(world, again, 2, CREDIT);
  const stolen = settle(
    world,
    again,
    0,
    0n,
    [line(channel, 0, [1, 2], [0n, CREDIT])],
    [voucher(world, channel, key, 0, CREDIT)],
  );
  assert.deepEqual(lineCodes(stolen), ['E_VOUCHER'], 'the old voucher names the old key');
});

test('CHAIN-8: every single-bit change of a statement is refused', () => {
  const { world, key } = market({ audit: false });
  const { bytes } = statementOf(key, 3, CREDIT);
  assert.equal(STATEMENT.decode(bytes).value.batch?.count, 3);
  const txs: Uint8Array[] = [];
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    txs.push(world.tx(key.node.operator, [settleOp(flipped)]));
  }
  while (txs.length > 0) {
    const { results } = world.block(txs.splice(0, 50));
    for (const { codeName } of results) assert.notEqual(codeName, 'OK');
  }
  assert.equal(keyOf(world, key.keyId).settledSeq, 0);
});

test('two nodes are paid out of disjoint allocations of one channel (attack 1)', () => {
  const world = createWorld();
  registerModel(world);
  const nodes = ['a', 'b'].map((name) =>
    registerNode(world, funded(world, `operator ${name}`, 50_000n * OPG, 0n)),
  );
  const payer = funded(world, 'payer', 100n * OPG, 20n * CREDIT);
  const channel = openChannel(world, payer, nodes, { deposit: 2n * CREDIT, allocate: CREDIT });
  for (const node of nodes) {
    const key = openKey(world, node);
    settle(world, key, 1, 2n * CREDIT);
    const attempt = (to: bigint): readonly string[] =>
      lineCodes(
        settle(
          world,
          key,
          0,
          0n,
          [line(channel, 0, [1, 1], [0n, to])],
          [voucher(world, channel, key, 0, 2n * CREDIT)],
        ),
      );
    assert.deepEqual(attempt(2n * CREDIT), ['E_UNDERFUNDED']);
    assert.deepEqual(attempt(CREDIT), ['OK']);
    assert.equal(creditBalance(world, payoutOf(node.operator)), CREDIT);
  }
  assert.equal(creditBalance(world, actor('payer')), 18n * CREDIT);
});
