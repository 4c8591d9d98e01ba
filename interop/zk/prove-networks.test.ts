/** Honest proofs of every kind of network are accepted, for batches with and without padding. */
import { test } from 'node:test';
import { lenet5, mlp, softmaxOnly, tinyConv, type ZkExample } from '@haca/testkit';
import { assertAccepted, openNetwork, proveHonestly, statementFor, verdictOn } from './prove-harness.ts';

const NETWORKS: readonly (readonly [string, () => ZkExample, readonly number[]])[] = [
  ['mlp 8-6-4', () => mlp([8, 6, 4]), [1, 2, 3]],
  ['mlp 784-64-10', () => mlp([784, 64, 10]), [1, 2, 3]],
  ['tiny convolution', () => tinyConv(), [1, 2, 3]],
  ['softmax', () => softmaxOnly(10), [1, 3]],
  ['causal softmax', () => softmaxOnly(5, true), [1, 2]],
  ['lenet-5', () => lenet5(), [1]],
];

for (const [name, make, batches] of NETWORKS)
  test(`honest proofs of ${name} are accepted, batches of ${batches.join(', ')}`, async () => {
    const network = await openNetwork(make());
    for (const batchSize of batches) {
      const statement = statementFor(network, batchSize, batchSize);
      const proof = await proveHonestly(network, statement);
      assertAccepted(verdictOn(network, statement, proof), `batch of ${batchSize}`);
    }
  });
