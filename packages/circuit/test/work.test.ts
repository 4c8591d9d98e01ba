import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Program,
  plan,
  planRegistration,
  type VerifyingKey,
  zkPlanningUnits,
  zkProgramGas,
  zkRegistrationGas,
  zkVerificationGas,
} from '@haca/circuit';
import { createZkGraph, type ZkGraph, type ZkNode } from '@haca/testkit';
import { randomKey } from './random-graphs.ts';
import { dense, KEYS, plain, range } from './support.ts';

function work(build: (g: ZkGraph) => ZkNode): number {
  const g = createZkGraph({ maxBatch: 1 });
  return plan(g.finish([build(g)]).key, 1).verificationWork;
}

const ones = { labelsA: [0], extents: [] };
/** Something small that is looked up, of the sum of x and a weight. */
const ending = (g: ZkGraph, x: ZkNode): ZkNode =>
  plain(g, g.sum([{ x }, { x: g.weight('i8', [1], 0, 1), bits: [] }], []), 16);

test('ZK-12 the work of a verification grows with all that a verifier loops over', () => {
  const growth: Readonly<Record<string, readonly [number, (size: number) => (g: ZkGraph) => ZkNode]>> = {
    'public cells': [1, (size) => (g) => ending(g, g.contract({ a: g.input('u8', [size], 0, 1), ...ones }))],
    'ids of a gather': [
      3,
      (size) => (g) => {
        const rows = g.gather(g.weight('i8', [4], 0, 1), g.input('id', [size], 0, 3));
        return ending(g, g.contract({ a: rows, ...ones }));
      },
    ],
  };
  for (const [name, [each, build]] of Object.entries(growth)) {
    const [small, large] = [work(build(2 ** 10)), work(build(2 ** 13))];
    assert.ok(large - small >= each * (2 ** 13 - 2 ** 10), `${name}: ${small}, ${large}`);
  }
});

test('ZK-12 the pairs of a relation are paid for', () => {
  const windows = (taps: number): number =>
    work((g) => {
      const x = g.input('i8', [64], 0, 1);
      const numbers = { stride: 1, dilation: 1, pad: 0, start: 0 };
      const relation = { kind: 'window', x: 0, yPosition: 0, yTap: 1, ...numbers } as const;
      const wired = g.wire(x, [relation], [64, taps]);
      return ending(g, g.contract({ a: wired, labelsA: [0, 1], extents: [] }));
    });
  assert.ok(windows(128) - windows(64) >= 3 * 64 * 64);
});

test('ZK-12 rounds are paid for at the price of a hash, and claims at that of their point', () => {
  const layers = (count: number): Program => {
    const g = createZkGraph({ maxBatch: 1 });
    let x = g.input('i8', [16]);
    for (let i = 0; i < count; i++) x = plain(g, dense(g, x, 16), 8);
    return plan(g.finish([x]).key, 1);
  };
  const [few, many] = [layers(2), layers(12)];
  const rounds = many.coordinates - few.coordinates;
  const claims = many.openings.length - few.openings.length;
  assert.ok(rounds > 30 && claims > 30);
  assert.ok(many.verificationWork - few.verificationWork > 40 * rounds + 8 * claims);
});

test('gas is the work in units of 27 multiplications, and never less for a larger batch of the same bits', () => {
  for (const make of Object.values(KEYS)) {
    const key: VerifyingKey = make();
    const gas = range(key.maxBatch, 1).map((batchSize) => zkVerificationGas(key, batchSize));
    assert.equal(gas[0], Math.ceil(plan(key, 1).verificationWork / 27));
    assert.equal(zkProgramGas(plan(key, 2)), gas[1]);
    assert.ok((gas[3] as number) >= (gas[2] as number));
    assert.equal(zkRegistrationGas(key), Math.ceil(planRegistration(key).verificationWork / 27));
  }
});

test('ZKC-2 a key of long sums is as much to plan as one of many ops', () => {
  const units = (terms: number): number => {
    const g = createZkGraph({ maxBatch: 1 });
    let x: ZkNode = g.input('i8', [1], 0, 0);
    for (let i = 0; i < 10; i++)
      x = g.sum(
        range(terms).map(() => ({ x })),
        [1],
      );
    return zkPlanningUnits(
      g.finish([plain(g, g.sum([{ x }, { x: g.weight('i8', [1], 0, 1) }], [1]), 1)]).key,
    );
  };
  assert.equal(units(2), 12);
  assert.equal(units(60), 12 + 10 * 58);
});

test('ZK-11 what holds for batches of a power of two and for the largest holds for those in between', () => {
  const random = range(20).flatMap((seed) => randomKey(seed + 100, 6) ?? []);
  for (const key of [...Object.values(KEYS).map((make) => make()), ...random])
    for (let batchSize = 1; batchSize <= key.maxBatch; batchSize++) {
      const upper = plan(key, Math.min(key.maxBatch, 2 ** Math.ceil(Math.log2(batchSize))));
      const program = plan(key, batchSize);
      assert.ok(program.proofBytes <= upper.proofBytes);
      assert.ok(program.verificationWork <= upper.verificationWork);
      assert.ok(program.securityBits >= 100);
    }
});
