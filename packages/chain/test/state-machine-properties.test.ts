/** Random histories with faults. Each block is audited from scratch; the redemption oracle knows nothing of the code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '@haca/primitives';
import { channelIdOf, credit, type Op } from '@haca/protocol';
import * as fc from 'fast-check';
import { type ChainEvent, keyPhase } from '../src/state-machine/index.ts';
import {
  EVIDENCE_HISTORY,
  type History,
  type HistoryOptions,
  learn,
  randomTx,
  startHistory,
} from './random-history.ts';
import {
  type Actor,
  CHAIN,
  CREDIT,
  keyOf,
  line,
  nodeOf,
  openKeyOp,
  sessionSigner,
  settleOp,
  statementOf,
  type TestChannel,
  type TestNode,
  USDC,
  voucher,
  type World,
} from './state-machine-world.ts';

const BLOCKS = 200;

/** Runs a history block by block, then replays it (CHAIN-7). Returns what it met. */
function live(seed: number, options: HistoryOptions = {}): Map<string, number> {
  const met = new Map<string, number>();
  const history = startHistory(seed, options);
  const { world, random } = history;
  const beginning = world.height();
  const inputs: { readonly txs: readonly Uint8Array[]; readonly timeMs: number }[] = [];
  for (let i = 0; i < BLOCKS; i++) {
    const sent = Array.from({ length: random.below(6) }, () => randomTx(history));
    const txs = sent.map(({ tx }) => tx);
    const timeMs = world.timeMs() + random.below(3_000);
    const { results } = world.block(txs, { timeMs });
    inputs.push({ txs, timeMs });
    for (const { codeName, events } of results) {
      count(met, codeName);
      for (const event of events) count(met, lineCode(event) ?? event.type);
    }
    learn(history, sent, results);
  }
  for (const { events } of world.outputs)
    for (const event of events) count(met, claimState(event) ?? event.type);
  assertClaims(history);
  replay(seed, options, world, beginning, inputs);
  assert.ok(!met.has('E_INTERNAL'));
  return met;
}

test('CHAIN-32 CHAIN-30 CHAIN-31 CHAIN-76 attack 2: random histories with faults keep every invariant, never throw, and replay to the same bytes', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      live(seed);
    }),
    { numRuns: 4 },
  );
});

test('CHAIN-32: fixed histories, which meet what matters', () => {
  const met = new Map<string, number>();
  for (const seed of [1, 2, 3]) for (const [name, times] of live(seed)) count(met, name, times);
  const wanted = [
    ...[
      'OK',
      'E_NONCE',
      'E_SENDER',
      'E_KEY',
      'E_SEQ',
      'E_COUNT',
      'E_SIG',
      'E_MALFORMED',
      'E_BALANCE',
      'E_VERSION',
    ],
    ...['E_FEE', 'E_EXPIRED', 'E_AMOUNT', 'E_SESSION', 'E_WITHDRAW', 'E_ALLOCATION', 'E_NOT_EMPTY', 'E_BOND'],
    ...['E_OVERFLOW', 'line E_ALREADY_PAID', 'line E_NOT_VERIFIED', 'line E_VOUCHER', 'line E_UNDERFUNDED'],
    ...['line E_SUM', 'pay', 'settle', 'close-key', 'no-op'],
  ];
  const missing = wanted.filter((name) => !met.has(name));
  assert.deepEqual(missing, [], `the histories met ${[...met].join(' ')}`);
  assert.ok((met.get('pay') ?? 0) > 50, `${met.get('pay')} payments`);
});

/** I10, out of events alone: a claim is opened once and ends once, and all of a key's claims together tile what it settled. */
function assertClaims({ world, zkKeys }: History): void {
  const open = new Map<string, readonly [keyId: string, first: number, last: number]>();
  const ended = new Map<string, (readonly [first: number, last: number])[]>();
  const end = (claimId: string): void => {
    const claim = open.get(claimId);
    assert.ok(claim !== undefined, `claim ${claimId} ends while it is open`);
    open.delete(claimId);
    ended.set(claim[0], [...(ended.get(claim[0]) ?? []), [claim[1], claim[2]]]);
  };
  for (const { results, events } of world.outputs) {
    for (const event of [...results.flatMap((result) => result.events), ...events]) {
      const shown = Object.fromEntries(event.attributes);
      const claimId = shown['claimId'] ?? '';
      if (event.type === 'settle' && claimId !== '') {
        assert.ok(!open.has(claimId));
        open.set(claimId, [shown['keyId'] ?? '', Number(shown['firstSeq']), Number(shown['lastSeq'])]);
      }
      if (event.type === 'prove') end(claimId);
      if (event.type === 'claim' && shown['state'] !== 'extended') end(claimId);
    }
  }
  for (const { keyId } of zkKeys) {
    const id = toHex(keyId);
    const left = [...open.values()].filter(([owner]) => owner === id).map(([, first, last]) => [first, last]);
    const all = [...(ended.get(id) ?? []), ...left].sort(([a = 0], [b = 0]) => a - b);
    let next = 1;
    for (const [first, last = 0] of all) {
      assert.equal(first, next);
      next = last + 1;
    }
    const key = keyOf(world, keyId);
    if (key !== undefined) assert.equal(next, key.settledSeq + 1);
  }
}

const WITH_PROOFS: HistoryOptions = { withProofs: true };

test('ZKC-20 CHAIN-32 property: random histories with claims, good and bad proofs and deadlines keep every invariant and replay', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      live(seed, WITH_PROOFS);
    }),
    { numRuns: 4 },
  );
});

test('ZKC-20: fixed histories with proofs, which meet what matters', () => {
  const met = new Map<string, number>();
  for (const seed of [1, 2]) for (const [name, times] of live(seed, WITH_PROOFS)) count(met, name, times);
  const wanted = [
    ...[
      'prove',
      'claim expired',
      'slash',
      'E_CLAIM',
      'E_BINDING',
      'E_PROOF',
      'E_PROOF_GAS',
      'E_SENDER',
      'E_SEQ',
    ],
    ...['pay', 'line E_LEAF', 'line E_ALREADY_PAID', 'line E_NOT_VERIFIED'],
  ];
  const missing = wanted.filter((name) => !met.has(name));
  assert.deepEqual(missing, [], `the histories met ${[...met].join(' ')}`);
});

test('TC-17 CHAIN-32 property: random histories of evidence, collateral, chips and decrees keep every invariant and replay', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
      live(seed, EVIDENCE_HISTORY);
    }),
    { numRuns: 4 },
  );
});

test('TC-17: fixed histories of evidence, which meet what matters', () => {
  const met = new Map<string, number>();
  for (const seed of [1, 2])
    for (const [name, times] of live(seed, EVIDENCE_HISTORY)) count(met, name, times);
  const wanted = [
    ...['OK', 'open-key', 'collateral', 'decree', 'settle', 'close-key', 'pay'],
    ...['E_EVIDENCE', 'E_COLLATERAL', 'E_HARDWARE', 'E_MEASUREMENT', 'E_DECREE', 'E_KEY'],
  ];
  const missing = wanted.filter((name) => !met.has(name));
  assert.deepEqual(missing, [], `the histories met ${[...met].join(' ')}`);
});

function count(met: Map<string, number>, name: string, times = 1): void {
  met.set(name, (met.get(name) ?? 0) + times);
}

function claimState({ type, attributes }: ChainEvent): string | undefined {
  return type === 'claim' ? `claim ${attributes.find(([name]) => name === 'state')?.[1]}` : undefined;
}

function lineCode({ type, attributes }: ChainEvent): string | undefined {
  if (type !== 'line-refused') return undefined;
  return `line ${attributes.find(([name]) => name === 'code')?.[1]}`;
}

/** CHAIN-7: the same blocks on a fresh chain give the same changes and results. */
function replay(
  seed: number,
  options: HistoryOptions,
  original: World,
  beginning: number,
  inputs: readonly { readonly txs: readonly Uint8Array[]; readonly timeMs: number }[],
): void {
  const { world } = startHistory(seed, options);
  assert.equal(world.height(), beginning);
  inputs.forEach(({ txs, timeMs }, i) => {
    const output = world.block(txs, { timeMs });
    const expected = original.outputs[beginning + i];
    assert.deepEqual(output.changes, expected?.changes);
    assert.deepEqual(output.results, expected?.results);
  });
}

test('CHAIN-71 CHAIN-76 attack 7: any sequence of lines on one lane pays disjoint intervals up to the voucher', () => {
  const lines = fc.array(
    fc.record({
      fromSeq: fc.integer({ min: 0, max: 12 }),
      length: fc.integer({ min: -1, max: 6 }),
      from: fc.bigInt({ min: 0n, max: 12n }),
      to: fc.bigInt({ min: 0n, max: 14n }),
      cumulative: fc.bigInt({ min: 0n, max: 12n }),
    }),
    { minLength: 1, maxLength: 40 },
  );
  const history = startHistory(1);
  const { world, nodes, payers } = history;
  const node = nodes[0] as TestNode;
  const payer = payers[0] as Actor;
  fc.assert(
    fc.property(lines, (drawn) => {
      world.skip(3);
      const { op, key } = openKeyOp(world, node);
      const channelId = channelIdOf(CHAIN, payer.id, USDC, world.nonceOf(payer));
      const signer = sessionSigner(payer, 0);
      const setUp: Op[] = [
        { kind: 'open-channel', asset: USDC, amount: credit(CREDIT) },
        {
          kind: 'register-session',
          channelId,
          session: 0,
          publicKey: signer.publicKey,
          expiryHeight: world.height() + 50,
        },
        { kind: 'allocate', channelId, nodeId: node.nodeId, amount: credit(CREDIT) },
      ];
      world.ok(payer, setUp);
      world.ok(node.operator, [op]);
      const channel: TestChannel = { payer, channelId, sessions: [signer] };
      const charges = drawn.map(({ fromSeq, length, from, to }) =>
        line(channel, 0, [fromSeq, Math.max(0, fromSeq + length)], [from, to]),
      );
      const vouchers = drawn.map(({ cumulative }) => voucher(world, channel, key, 0, cumulative));
      const { bytes } = statementOf(key, 10, 20n, charges);
      const result = world.ok(node.operator, [settleOp(bytes, vouchers)]);
      const pays = result.events
        .filter(({ type }) => type === 'pay')
        .map(({ attributes }) => Object.fromEntries(attributes));
      let mark = 0n;
      for (const pay of pays) {
        assert.equal(BigInt(pay['from'] ?? ''), mark);
        mark = BigInt(pay['to'] ?? '');
      }
      const highest = drawn.reduce((top, { cumulative }) => (cumulative > top ? cumulative : top), 0n);
      assert.ok(mark <= highest);
      world.ok(node.operator, [{ kind: 'close-key', keyId: key.keyId }]);
      assert.equal(keyPhase(keyOf(world, key.keyId), world.height(), world.ctx.config.params), 'closing');
    }),
    { numRuns: 25 },
  );
  assert.ok(nodeOf(world, node.nodeId).keyEpoch >= 25);
});
