/** Whole proofs by the compiled backend: the same bytes as by the reference backend, and no memory left behind. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  encodeVerifyingKey,
  publicTensorShapes,
  tensorRowBytes,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { createIntegerModel, runModel } from '@haca/runtime';
import { lenet5, mlp, moe, residualNet, softmaxOnly, tinyConv, type ZkExample } from '@haca/testkit';
import type { ProverBackend } from '../src/backend.ts';
import { commitWeights, type ProveRequest, prove } from '../src/index.ts';
import { referenceBackend } from '../src/reference-backend.ts';
import { wasmBackend } from '../src/wasm/backend.ts';

const one = wasmBackend();
const three = wasmBackend({ threads: 3, parallelWork: 32 });
after(three.close);

interface Ready {
  readonly request: ProveRequest;
  readonly release: () => void;
}

/** A model with its weights committed, and a statement to prove. */
async function ready(
  { key: draft, weights }: ZkExample,
  batchSize: number,
  backend: ProverBackend,
): Promise<Ready> {
  const committed = await commitWeights({
    key: { ...draft, weightCap: new Uint8Array(0) },
    weights,
    backend,
  });
  const key = { ...draft, weightCap: committed.cap };
  const keyBytes = encodeVerifyingKey(key);
  const model = createIntegerModel({ key, weights });
  const inputs = publicTensorShapes(key).inputs.map((shape) =>
    Uint8Array.from({ length: batchSize * tensorRowBytes(shape) }, (_, i) => (17 * i + (i >> 4)) % 100),
  );
  const statement: ZkStatement = {
    chainId: new Uint8Array(32),
    claimId: new Uint8Array(32),
    nonce: new Uint8Array(32),
    verifyingKeyHash: verifyingKeyHash(keyBytes),
    batchSize,
    inputs,
    outputs: runModel(model, inputs, batchSize),
  };
  return { request: { keyBytes, model, committed, statement, backend }, release: committed.release };
}

/** Proves a batch twice, and says what the backend has in use after each. */
async function proofs(
  example: ZkExample,
  batchSize: number,
  backend: ProverBackend,
  inUse: () => number,
): Promise<{ readonly proof: Uint8Array; readonly used: readonly number[] }> {
  const before = inUse();
  const { request, release } = await ready(example, batchSize, backend);
  await prove(request);
  const first = inUse();
  const proof = await prove(request);
  const second = inUse();
  release();
  return { proof, used: [second - first, inUse() - before] };
}

const EXAMPLES: readonly (readonly [name: string, example: ZkExample, batchSize: number])[] = [
  ['a perceptron', mlp([8, 6, 4]), 3],
  ['a convolution', tinyConv(), 2],
  ['a residual network', residualNet(), 1],
  ['a softmax', softmaxOnly(), 2],
  ['a mixture of experts', moe(), 1],
  ['LeNet-5', lenet5(), 1],
];

for (const [name, example, batchSize] of EXAMPLES) {
  test(`${name}: the proof is that of the reference, on one thread and on three`, async () => {
    const expected = await proofs(example, batchSize, referenceBackend(), () => 0);
    // Twiddles, made once for each length, stay: the first run is not counted.
    for (const backend of [one, three]) {
      await proofs(example, batchSize, backend, () => 0);
      const { proof, used } = await proofs(example, batchSize, backend, () => backend.usage().bytes);
      assert.deepEqual(proof, expected.proof);
      assert.deepEqual(used, [0, 0], 'bytes left after a proof, and after the weights went');
    }
  });
}

test('a proof that is stopped at any point leaves nothing allocated', async () => {
  const { request, release } = await ready(residualNet(), 2, one);
  const reports: number[] = [];
  await prove({ ...request, onProgress: () => reports.push(reports.length) });
  const before = one.usage().bytes;
  for (const at of reports) {
    const stop = new AbortController();
    let seen = 0;
    const onProgress = (): void => {
      if (seen++ === at) stop.abort(new Error(`stopped at ${at}`));
    };
    await prove({ ...request, onProgress, signal: stop.signal }).catch((error: unknown) => {
      assert.match(String(error), /stopped at/);
    });
    assert.ok(stop.signal.aborted);
    assert.equal(one.usage().bytes, before, `stopped at report ${at} of ${reports.length}`);
  }
  release();
});
