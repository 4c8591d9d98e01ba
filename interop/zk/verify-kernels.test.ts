/** The verifier answers the same whatever kernels it computes with, down to the text of the failure. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeZkKernels } from '@haca/platform';
import { portableZkKernels } from '@haca/primitives/zk';
import { createRandom, lenet5, mlp, transformerBlock } from '@haca/testkit';
import { assertAccepted, proofOf, subjectOf, verdictOn } from './verify-harness.ts';

const compiled = nodeZkKernels();
const options = compiled.name === 'portable' ? { skip: 'the compiled kernels are not built' } : {};

for (const [name, example] of [
  ['mlp', () => mlp([70, 30, 10], { maxBatch: 32 })],
  ['convolution', () => lenet5()],
  ['transformer', () => transformerBlock()],
] as const)
  test(`${name}: portable and compiled kernels give one verdict`, options, async () => {
    for (const batchSize of [1, 3]) {
      const subject = await subjectOf(example(), {
        batchSize,
        parameters: { blowupBits: 2, queries: 20, grindingBits: 8 },
      });
      const proof = await proofOf(subject);
      assertAccepted(verdictOn(subject, proof, { kernels: compiled }));
      const random = createRandom(3);
      for (let at = 0; at < proof.length; at += 1 + Math.floor((proof.length / 40) * random())) {
        const changed = proof.with(at, (proof[at] as number) ^ 1);
        const verdicts = [portableZkKernels, compiled].map((kernels) =>
          verdictOn(subject, changed, { kernels }),
        );
        assert.deepEqual(verdicts[0], verdicts[1]);
        assert.equal(verdicts[0]?.ok, false);
      }
    }
  });
