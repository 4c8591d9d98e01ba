/** The proof that committed weights are integers of their intervals. */
import { test } from 'node:test';
import {
  encodeVerifyingKey,
  type PlanTensor,
  planRegistration,
  type TensorValues,
  type VerifyingKey,
} from '@haca/circuit';
import { commitWeights, proveRegistration, referenceBackend } from '@haca/prover';
import { assign, createIntegerModel } from '@haca/runtime';
import { createZkGraph, mlp, PLAIN_LIST, tinyConv, type ZkExample } from '@haca/testkit';
import { verifyZkRegistration } from '@haca/verifier';
import { assertAccepted, assertRefused } from './prove-harness.ts';

/** Weights of several columns, with void blocks, beside small ones. */
function wide(): ZkExample {
  const g = createZkGraph({ seed: 2 });
  const x = g.input('i8', [40]);
  const w = g.weight('i8', [9, 40], -100, 100);
  const y = g.contract({ a: x, c: w, labelsA: [1], labelsC: [0, 1], extents: [9] });
  return g.finish([g.requantize(y, { shift: 9, offset: 128, values: PLAIN_LIST })]);
}

async function register(
  { key: draft, weights }: ZkExample,
  change: (tensor: PlanTensor, values: TensorValues) => TensorValues = (_, values) => values,
): Promise<{ readonly key: VerifyingKey; readonly proof: Uint8Array }> {
  const backend = referenceBackend();
  const model = createIntegerModel({ key: draft, weights });
  const program = planRegistration({ ...draft });
  const tensors = program.tensors.filter(({ storage }) => storage === 'weight');
  const changed = weights.map((values, i) => change(tensors[i] as PlanTensor, values));
  const committed = await commitWeights({ key: draft, weights: changed, backend });
  const key = { ...draft, weightCap: committed.cap };
  const assignment = assign(program, model, []);
  return { key, proof: await proveRegistration({ key, assignment, committed, backend }) };
}

const EXAMPLES = { mlp: () => mlp([20, 7, 3]), convolution: () => tinyConv(), wide };

for (const [name, make] of Object.entries(EXAMPLES)) {
  test(`${name}: honest weights are registered`, async () => {
    const { key, proof } = await register(make());
    assertAccepted(verifyZkRegistration({ verifyingKey: encodeVerifyingKey(key), proof }), name);
  });

  test(`ZK-27 ${name}: a weight outside its interval is not`, async () => {
    const { key, proof } = await register(make(), (tensor, values) => {
      const wider = Int32Array.from(values);
      wider[wider.length - 1] = tensor.hi + 1;
      return wider;
    });
    assertRefused(verifyZkRegistration({ verifyingKey: encodeVerifyingKey(key), proof }), name);
  });
}
