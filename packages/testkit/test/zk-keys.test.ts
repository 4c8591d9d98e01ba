import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plan } from '@haca/circuit';
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
  vgg16Size,
  type ZkExample,
} from '../src/index.ts';

const EXAMPLES: Readonly<Record<string, () => ZkExample>> = {
  mlp: () => mlp([12, 7, 5]),
  lenet5: () => lenet5(),
  tinyConv: () => tinyConv(),
  softmaxOnly: () => softmaxOnly(),
  causalSoftmax: () => softmaxOnly(5, true),
  residualNet: () => residualNet(),
  transformerBlock: () => transformerBlock(),
  moe: () => moe(),
  twoInput: () => twoInput(),
  requantize16Net: () => requantize16Net(),
  vgg16Size: () => vgg16Size(16),
};

for (const [name, make] of Object.entries(EXAMPLES))
  test(`${name} is a key that plans at every batch size`, () => {
    const { key, weights } = make();
    const shapes = key.tensors.filter(({ role }) => role === 'weight');
    assert.deepEqual(
      weights.map(({ length }) => length),
      shapes.map(({ extents }) => extents.reduce((cells, extent) => cells * extent, 1)),
    );
    for (const batchSize of [1, 2, 3, key.maxBatch].filter((size) => size <= key.maxBatch)) {
      const program = plan(key, batchSize);
      assert.ok(program.opening.weightColumns + program.opening.witnessColumns <= 256);
    }
  });
