/** Threads that run and prove a model: the same answers as here, ends that are heard, and a thread that died is replaced. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeVerifyingKey,
  plan,
  planRegistration,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import { createIntegerModel, runModel } from '@haca/runtime';
import { openProvableModel } from '../src/zk/provable-model.ts';
import { openModelProver } from '../src/zk/prover.ts';
import { openWorkerClient, WorkerJobError } from '../src/zk/worker-client.ts';
import { digits } from './zk-payer.ts';

const verifyingKey = encodeVerifyingKey(digits.key);
const setup = { verifyingKey, weights: digits.weights, threads: 1 };
const row = (fill: number): Uint8Array => new Uint8Array(784).fill(fill);
const here = createIntegerModel({ key: digits.key, weights: digits.weights });
const OPTIONS = { price: null, batchMaxCount: 64, proverThreads: 1, license: 'unknown' };

function statementOf(fill: number): ZkStatement {
  const inputs = [row(fill)];
  return {
    chainId: new Uint8Array(32).fill(1),
    claimId: new Uint8Array(32).fill(2),
    nonce: new Uint8Array(32).fill(3),
    verifyingKeyHash: verifyingKeyHash(verifyingKey),
    batchSize: 1,
    inputs,
    outputs: runModel(here, inputs, 1),
  };
}

test('a model that is slow runs in a thread, with the same answers and the same refusals', async () => {
  const threaded = openProvableModel(digits, { ...OPTIONS, mainThreadMaxMs: 0 });
  const direct = openProvableModel(digits, { ...OPTIONS, mainThreadMaxMs: Number.POSITIVE_INFINITY });
  try {
    for (const fill of [0, 1, 200, 255]) {
      assert.deepEqual(await threaded.run([row(fill)]), await direct.run([row(fill)]));
    }
    for (const model of [threaded, direct]) {
      await assert.rejects(model.run([new Uint8Array(783)]), MalformedError);
      assert.equal((await model.run([row(9)]))[0]?.length, 40);
    }
    assert.deepEqual(threaded.modelId, direct.modelId);
  } finally {
    await Promise.all([threaded.close(), direct.close()]);
  }
});

test('proofs are made one at a time, counted, and cancelled without harm to the next', async () => {
  const prover = openModelProver(setup);
  try {
    const phases = new Set<string>();
    const never = new AbortController().signal;
    const first = await prover.prove(statementOf(5), never, ({ phase }) => phases.add(phase));
    assert.equal(first.proof.length, plan(digits.key, 1).proofBytes);
    assert.ok(phases.has('commit') && phases.has('opening'), [...phases].join());
    const stop = new AbortController();
    const cancelled = prover.prove(statementOf(6), stop.signal, () => stop.abort(new Error('stopped')));
    await assert.rejects(cancelled, /stopped/);
    const again = await prover.prove(statementOf(5), never);
    assert.deepEqual(again.proof, first.proof);
    const lie = { ...statementOf(7), outputs: statementOf(8).outputs };
    await assert.rejects(prover.prove(lie, never), (error: Error) => {
      assert.ok(error instanceof WorkerJobError);
      return error.reason === 'OutputMismatchError';
    });
    const { proofs, failures, failuresInARow } = prover.stats();
    assert.deepEqual([proofs, failures, failuresInARow], [2, 1, 1]);
    const registration = await prover.proveRegistration(never);
    assert.equal(registration.length, planRegistration(digits.key).proofBytes);
  } finally {
    await prover.close();
  }
});

test('a thread that can not start fails its job, and a closed one takes none', async () => {
  const broken = openWorkerClient({ ...setup, weights: digits.weights.slice(1) });
  await assert.rejects(broken.run({ kind: 'run', inputs: [row(1)] }), WorkerJobError);
  await assert.rejects(broken.run({ kind: 'run', inputs: [row(1)] }), WorkerJobError);
  await broken.close();
  const closed = openWorkerClient(setup);
  assert.deepEqual(await closed.run({ kind: 'run', inputs: [row(1)] }), runModel(here, [row(1)], 1));
  await closed.close();
  await assert.rejects(closed.run({ kind: 'run', inputs: [row(1)] }), WorkerJobError);
});
