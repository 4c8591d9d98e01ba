/** A node that lies in its charge lines: whatever it claims, a lane pays for receipts that were proved and for nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChargeLine, credit, STATEMENT } from '@haca/protocol';
import fc from 'fast-check';
import type { TxResult } from '../src/state-machine/index.ts';
import { CHAIN, CREDIT, laneOf, lineCodes, type TestChannel } from './state-machine-world.ts';
import {
  type Exchange,
  PATIENT,
  proveOp,
  ranges,
  receiptProofOf,
  serve,
  settleZk,
  voucherFor,
  type ZkClaim,
  type ZkKey,
  zkMarket,
} from './zk-world.ts';

const LANES = 2;

interface Batch {
  /** Lane and price of each receipt. */
  readonly receipts: readonly { readonly lane: number; readonly price: number }[];
  readonly isProved: boolean;
}

const batches = fc.array(
  fc.record({
    receipts: fc.array(fc.record({ lane: fc.nat(LANES - 1), price: fc.nat(3) }), {
      minLength: 1,
      maxLength: 4,
    }),
    isProved: fc.integer({ min: 0, max: 3 }).map((roll) => roll > 0),
  }),
  { minLength: 1, maxLength: 6 },
);

/** Ends as indices into all receipts; amounts as the cumulative charge of some receipt, or before it. */
const lies = fc.array(
  fc.record({
    first: fc.nat(),
    last: fc.nat(),
    fromOf: fc.option(fc.nat(), { freq: 1 }),
    toOf: fc.option(fc.nat(), { freq: 1 }),
    lane: fc.option(fc.nat(LANES - 1), { freq: 1 }),
  }),
  { minLength: 1, maxLength: 24 },
);

type Lie = typeof lies extends fc.Arbitrary<(infer T)[]> ? T : never;

function lineOf(key: ZkKey, channel: TestChannel, lie: Lie): ChargeLine {
  const at = (index: number): Exchange => key.exchanges[index % key.exchanges.length] as Exchange;
  const [a, b] = [at(lie.first).receipt.value, at(lie.last).receipt.value];
  const [first, last] = a.seq <= b.seq ? [a, b] : [b, a];
  const honestFrom = first.cumulative - first.amount;
  return {
    channelId: channel.channelId,
    lane: lie.lane ?? last.lane,
    fromSeq: first.seq,
    atSeq: last.seq,
    from: credit(lie.fromOf === null ? honestFrom : at(lie.fromOf).receipt.value.cumulative),
    to: credit(lie.toOf === null ? last.cumulative : at(lie.toOf).receipt.value.cumulative),
  };
}

test('ZKC-12 ZKC-13 attacks 11 and 13: no lines whatsoever collect what was not proved', () => {
  let paid = 0;
  fc.assert(
    fc.property(batches, lies, (drawn: readonly Batch[], wrong) => {
      const { world, key, channel } = zkMarket({ params: PATIENT });
      const open: { readonly claim: ZkClaim; readonly isProved: boolean }[] = [];
      for (const { receipts, isProved } of drawn) {
        for (const { lane, price } of receipts) {
          serve(world, key, { channel, lane, amount: (BigInt(price) * CREDIT) / 64n });
        }
        const { result, claim } = settleZk(world, key, receipts.length);
        assert.equal(result.codeName, 'OK', result.info);
        open.push({ claim, isProved });
      }
      for (const { claim, isProved } of open) {
        if (isProved) world.ok(key.node.operator, [proveOp(world, key, claim)]);
      }
      while (ranges(world, key).open.length > 0) world.block();

      const charges = wrong.map((lie) => lineOf(key, channel, lie));
      const statement = STATEMENT.sign(
        { version: 1, chainId: CHAIN, keyId: key.keyId, batch: null, charges },
        key.signer.sign,
      );
      const vouchers = charges.map(({ atSeq, lane }, i) => {
        // The one that belongs to the line, or the highest that the lane ever got: a node keeps them all.
        const newest = key.exchanges.findLast(({ receipt }) => receipt.value.lane === lane)?.receipt.value
          .seq;
        return voucherFor(world, key, channel, i % 2 === 0 ? atSeq : (newest ?? atSeq));
      });
      const receipts = charges.map(({ fromSeq, atSeq }) => [
        receiptProofOf(key, fromSeq),
        receiptProofOf(key, atSeq),
      ]);
      const result: TxResult = world.ok(key.node.operator, [
        { kind: 'settle', statement: statement.bytes, vouchers, receipts },
      ]);
      paid += lineCodes(result).filter((code) => code === 'OK').length;
      for (let lane = 0; lane < LANES; lane++) assertLane(key, channel, open, result, lane, laneMark(lane));

      function laneMark(lane: number): bigint {
        return laneOf(world, key.keyId, channel.channelId, lane)?.mark ?? 0n;
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(paid > 30, `${paid} lines were paid in all`);
});

function assertLane(
  key: ZkKey,
  { channelId }: TestChannel,
  claims: readonly { readonly claim: ZkClaim; readonly isProved: boolean }[],
  result: TxResult,
  lane: number,
  mark: bigint,
): void {
  const proved = claims
    .filter(({ isProved }) => isProved)
    .flatMap(({ claim }) => claim.exchanges)
    .filter(({ receipt }) => receipt.value.lane === lane)
    .reduce((sum, { receipt }) => sum + receipt.value.amount, 0n);
  const amounts = result.events
    .filter(({ type }) => type === 'pay')
    .map(({ attributes }) => Object.fromEntries(attributes))
    .filter((pay) => pay['lane'] === `${lane}`)
    .map((pay) => BigInt(pay['amount'] ?? '0'));
  const paid = amounts.reduce((sum, amount) => sum + amount, 0n);
  assert.ok(paid <= proved, `lane ${lane} of ${channelId.length} bytes: ${paid} paid, ${proved} proved`);
  const charged = key.exchanges.findLast(({ receipt }) => receipt.value.lane === lane)?.receipt.value
    .cumulative;
  assert.ok(mark <= (charged ?? 0n));
}
