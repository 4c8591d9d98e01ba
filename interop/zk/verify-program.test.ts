import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyError, type Program, plan, planRegistration, type Step, type VerifyingKey } from '@haca/circuit';
import {
  lenet5,
  mlp,
  moe,
  requantize16Net,
  residualNet,
  softmaxOnly,
  tinyConv,
  transformerBlock,
  twoInput,
} from '@haca/testkit';
import { NETWORKS } from './verify-cheats.ts';
import { assertClosed } from './verify-program-closure.ts';
import { randomGraph } from './verify-random-graphs.ts';

const EXAMPLES = {
  mlp: () => mlp([20, 8, 8, 3]),
  convolution: () => tinyConv(),
  'lenet-5': () => lenet5(),
  residual: () => residualNet(),
  softmax: () => softmaxOnly(5),
  'causal softmax': () => softmaxOnly(4, true),
  transformer: () => transformerBlock(),
  experts: () => moe(),
  'two inputs': () => twoInput(),
  '16 bits': () => requantize16Net(),
  'one tensor read twice': NETWORKS.sum,
  'one tensor read at two points': NETWORKS.aggregate,
};

for (const [name, make] of Object.entries(EXAMPLES))
  test(`ZK-18: ${name}: every claim ends in an opening, a comparison or another claim`, () => {
    const { key } = make();
    for (const batchSize of new Set([1, key.maxBatch])) assertClosed(plan(key, batchSize));
    assertClosed(planRegistration(key));
  });

test('ZK-18: so it is in random networks', (t) => {
  let closed = 0;
  for (let seed = 1; seed <= 400; seed++) {
    let key: VerifyingKey;
    try {
      key = randomGraph(seed).key;
    } catch (error) {
      if (error instanceof KeyError) continue;
      throw error;
    }
    for (const batchSize of [1, 3]) assertClosed(plan(key, batchSize));
    closed++;
  }
  t.diagnostic(`${closed} networks`);
  assert.ok(closed > 200);
});

test('ZK-19: a program that lacks a step, or has one twice, is not closed', () => {
  for (const make of [EXAMPLES.transformer, EXAMPLES['two inputs'], EXAMPLES.experts]) {
    const program = plan(make().key, 2);
    const withSteps = (steps: readonly Step[]): Program => ({ ...program, steps });
    for (let i = 0; i < program.steps.length; i++) {
      assert.throws(() => assertClosed(withSteps(program.steps.toSpliced(i, 1))), { name: 'AssertionError' });
      assert.throws(() => assertClosed(withSteps(program.steps.toSpliced(i, 0, program.steps[i] as Step))), {
        name: 'AssertionError',
      });
    }
  }
});
