import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Program, plan, planRegistration, type Step } from '@haca/circuit';
import { EXAMPLES } from './zk-fixtures.ts';
import { assertClosed } from './zk-program-closure.ts';

for (const [name, make] of Object.entries(EXAMPLES))
  test(`ZK-18: ${name}: every claim ends in an opening, a comparison or another claim`, () => {
    const { key } = make();
    for (const batchSize of new Set([1, key.maxBatch])) assertClosed(plan(key, batchSize));
    assertClosed(planRegistration(key));
  });

test('ZK-19: a program that lacks a step, or has one twice, is not closed', () => {
  const program = plan((EXAMPLES['oddments'] as () => { key: Parameters<typeof plan>[0] })().key, 2);
  const withSteps = (steps: readonly Step[]): Program => ({ ...program, steps });
  for (let i = 0; i < program.steps.length; i++) {
    assert.throws(() => assertClosed(withSteps(program.steps.toSpliced(i, 1))), { name: 'AssertionError' });
    assert.throws(() => assertClosed(withSteps(program.steps.toSpliced(i, 0, program.steps[i] as Step))), {
      name: 'AssertionError',
    });
  }
});
