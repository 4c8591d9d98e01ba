import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mlp, tinyConv, vgg16Size } from '@haca/testkit';
import { chooseOpening, KeyError, plan, type VerifyingKey } from '../src/index.ts';

/** All ways to fold `bits` bits, at most 4 a layer and 8 layers, down to a final vector of 1 to 8. */
function* openings(bits: number, folds: readonly number[] = []): Generator<readonly [number[], number]> {
  if (folds.length > 0 && bits >= 1 && bits <= 8) yield [[...folds], bits];
  if (folds.length === 8) return;
  for (let fold = 1; fold <= Math.min(4, bits - 1); fold++) yield* openings(bits - fold, [...folds, fold]);
}

function proofBytesOf(key: VerifyingKey, batchSize: number): number {
  try {
    return plan(key, batchSize).proofBytes;
  } catch (error) {
    assert.ok(error instanceof KeyError);
    return Number.POSITIVE_INFINITY;
  }
}

for (const [name, example, batchSize] of [
  ['perceptron', mlp([12, 7, 5]), 1],
  ['convolution', tinyConv(), 4],
  ['convolution of profile 2', tinyConv({ profile: 2 }), 2],
] as const)
  test(`no opening of a ${name} gives a smaller proof than the one chosen`, () => {
    const chosen = chooseOpening(example.key, batchSize);
    const { proofBytes } = plan(chosen, batchSize);
    for (let columnBits = 2; columnBits <= 9; columnBits++)
      for (const [folds, finalBits] of openings(columnBits)) {
        const depth = columnBits + (example.key.profile === 1 ? 3 : 2);
        const weightCap = new Uint8Array(32 * 2 ** Math.min(7, depth));
        const other = { ...example.key, columnBits, folds, finalBits, weightCap };
        assert.ok(proofBytesOf(other, batchSize) >= proofBytes, `${columnBits}: ${folds}, ${finalBits}`);
      }
  });

test('a choice holds at the largest batch too, and keeps a cap of the right length', () => {
  const { key } = tinyConv({ maxBatch: 64 });
  const chosen = chooseOpening(key, 1);
  plan(chosen, 64);
  const cap = new Uint8Array(chosen.weightCap.length).fill(7);
  assert.equal(chooseOpening({ ...chosen, weightCap: cap }, 1).weightCap, cap);
});

test('a large network has at most 256 columns of each kind', () => {
  const { key } = vgg16Size(2);
  const { opening } = plan(key, 1);
  assert.ok(opening.weightColumns <= 256 && opening.witnessColumns <= 256);
});

test('a key that no opening cures is refused with its reason', () => {
  const { key } = mlp([4, 3, 2]);
  assert.throws(() => chooseOpening({ ...key, ops: [] }, 1), KeyError);
});
