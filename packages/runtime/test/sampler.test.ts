import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '@haca/runtime';
import fc from 'fast-check';
import { createSampler, type SamplingOptions, xoshiro128 } from '../src/onnx/sampler.ts';

const anyId = (): boolean => true;
const options = (overrides: Partial<SamplingOptions> = {}): SamplingOptions => ({
  temperature: 1,
  topP: 1,
  topK: 0,
  seed: 42n,
  ...overrides,
});
const logits = fc
  .array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 50 })
  .map((row) => Float32Array.from(row));

function draws(of: Partial<SamplingOptions>, row: Float32Array, count: number): number[] {
  const sample = createSampler(options(of), anyId);
  return Array.from({ length: count }, () => sample(row));
}

test('temperature 0 takes the largest logit, the lowest id of equals', () => {
  const greedy = createSampler(options({ temperature: 0 }), anyId);
  assert.equal(greedy(Float32Array.of(1, 3, 3, 2)), 1);
  fc.assert(fc.property(logits, (row) => assert.equal(greedy(row), row.indexOf(Math.max(...row)))));
});

test('top_k 1 and a tiny top_p are greedy', () => {
  fc.assert(
    fc.property(logits, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (row, seed) => {
      const best = row.indexOf(Math.max(...row));
      assert.deepEqual(draws({ topK: 1, seed }, row, 3), [best, best, best]);
      assert.deepEqual(draws({ topP: 1e-9, seed }, row, 3), [best, best, best]);
      assert.deepEqual(draws({ topP: 0, seed }, row, 3), [best, best, best]);
    }),
  );
});

test('one seed gives one sequence, another seed another', () => {
  const row = new Float32Array(100);
  assert.deepEqual(draws({ seed: 7n }, row, 50), draws({ seed: 7n }, row, 50));
  assert.notDeepEqual(draws({ seed: 7n }, row, 50), draws({ seed: 8n }, row, 50));
});

test('tokens are drawn by their probabilities', () => {
  const row = Float32Array.of(Math.log(0.7), Math.log(0.2), Math.log(0.1));
  const counts = [0, 0, 0];
  for (const id of draws({}, row, 20_000)) counts[id] = (counts[id] ?? 0) + 1;
  for (const [id, share] of [0.7, 0.2, 0.1].entries()) {
    assert.ok(Math.abs((counts[id] as number) / 20_000 - share) < 0.015, `${counts}`);
  }
  assert.deepEqual([...new Set(draws({ topP: 0.85 }, row, 500))].sort(), [0, 1]);
  assert.deepEqual([...new Set(draws({ topK: 2 }, row, 500))].sort(), [0, 1]);
});

test('what may not be picked is never picked, not even if it is most likely', () => {
  const row = Float32Array.of(0, 50, 1);
  const mayPick = (id: number): boolean => id !== 1;
  assert.equal(createSampler(options({ temperature: 0 }), mayPick)(row), 2);
  const sample = createSampler(options(), mayPick);
  for (let i = 0; i < 200; i++) assert.notEqual(sample(row), 1);
});

test('logits that are no numbers are an error, not an answer', () => {
  for (const temperature of [0, 1]) {
    const sample = createSampler(options({ temperature }), anyId);
    assert.throws(() => sample(Float32Array.of(1, Number.NaN)), EngineError);
    assert.throws(() => sample(Float32Array.of(Number.NEGATIVE_INFINITY)), EngineError);
  }
});

test('the generator is uniform in [0, 1) and fixed by its seed', () => {
  const next = xoshiro128(1n);
  const values = Array.from({ length: 10_000 }, next);
  assert.ok(values.every((value) => value >= 0 && value < 1));
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  assert.ok(Math.abs(mean - 0.5) < 0.02, `${mean}`);
  assert.deepEqual(Array.from({ length: 10 }, xoshiro128(1n)), values.slice(0, 10));
});
