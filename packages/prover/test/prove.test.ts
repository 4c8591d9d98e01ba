/** The interface of the prover: what it refuses, what it reports, how it is stopped. What it proves is in `interop/zk`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeVerifyingKey,
  plan,
  publicTensorShapes,
  tensorRowBytes,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import type { TranscriptRecord } from '@haca/primitives/zk';
import { assign, createIntegerModel, runModel } from '@haca/runtime';
import { mlp } from '@haca/testkit';
import {
  commitWeights,
  OutputMismatchError,
  PHASES,
  type ProveRequest,
  type ProverProgress,
  prove,
  proveAssignment,
  referenceBackend,
} from '../src/index.ts';

async function open(): Promise<ProveRequest> {
  const backend = referenceBackend();
  const { key: draft, weights } = mlp([8, 6, 4]);
  const committed = await commitWeights({
    key: { ...draft, weightCap: new Uint8Array(0) },
    weights,
    backend,
  });
  const key = { ...draft, weightCap: committed.cap };
  const keyBytes = encodeVerifyingKey(key);
  const model = createIntegerModel({ key, weights });
  const inputs = publicTensorShapes(key).inputs.map((shape) =>
    Uint8Array.from({ length: 2 * tensorRowBytes(shape) }, (_, i) => 17 * i),
  );
  const statement: ZkStatement = {
    chainId: new Uint8Array(32),
    claimId: new Uint8Array(32),
    nonce: new Uint8Array(32),
    verifyingKeyHash: verifyingKeyHash(keyBytes),
    batchSize: 2,
    inputs,
    outputs: runModel(model, inputs, 2),
  };
  return { keyBytes, model, committed, statement, backend };
}

test('a proof has the planned length and is the same each time', async () => {
  const request = await open();
  const proof = await prove(request);
  assert.equal(proof.length, plan(request.model.key, 2).proofBytes);
  assert.deepEqual(await prove(request), proof);
});

test('outputs that the model does not give are refused by name', async () => {
  const request = await open();
  const outputs = request.statement.outputs.map((bytes) => bytes.slice());
  (outputs[0] as Uint8Array)[0] = ((outputs[0] as Uint8Array)[0] as number) ^ 1;
  for (const wrong of [outputs, [], [...request.statement.outputs, new Uint8Array(1)]])
    await assert.rejects(
      prove({ ...request, statement: { ...request.statement, outputs: wrong } }),
      OutputMismatchError,
    );
});

test('key, weights and statement belong together', async () => {
  const request = await open();
  const statement = { ...request.statement, verifyingKeyHash: new Uint8Array(32) };
  await assert.rejects(prove({ ...request, statement }), UsageError);
  const other = await commitWeights({ ...mlp([8, 6, 4], { seed: 9 }), backend: request.backend });
  await assert.rejects(prove({ ...request, committed: other }), UsageError);
  await assert.rejects(prove({ ...request, backend: referenceBackend() }), UsageError);
});

test('weights have the shapes of the key', async () => {
  const backend = referenceBackend();
  const { key, weights } = mlp([8, 6, 4]);
  await assert.rejects(commitWeights({ key, weights: weights.slice(1), backend }), UsageError);
  const short = weights.map((values, i) => (i === 0 ? values.subarray(1) : values));
  await assert.rejects(commitWeights({ key, weights: short, backend }), UsageError);
});

test('progress goes through all phases, each from less to more', async () => {
  const reports: ProverProgress[] = [];
  await prove({ ...(await open()), onProgress: (progress) => reports.push(progress) });
  const order = reports.map(({ phase, fraction }) => PHASES.indexOf(phase) + fraction);
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  assert.deepEqual(new Set(reports.map(({ phase }) => phase)), new Set(PHASES));
  assert.deepEqual(reports[reports.length - 1], { phase: 'opening', fraction: 1 });
});

test('an aborted proof ends with the reason of the signal, wherever it is', async () => {
  const request = await open();
  let calls = 0;
  await prove({ ...request, onProgress: () => calls++ });
  for (let stop = 0; stop < calls; stop += 5) {
    const controller = new AbortController();
    const reason = new Error(`stopped at ${stop}`);
    let seen = 0;
    const onProgress = (): void => {
      if (seen++ === stop) controller.abort(reason);
    };
    const proving = prove({ ...request, onProgress, signal: controller.signal });
    if (stop < calls - 1) await assert.rejects(proving, reason);
    else await proving;
  }
  const aborted = AbortSignal.abort(new Error('before'));
  await assert.rejects(prove({ ...request, signal: aborted }), /before/);
  await assert.rejects(
    commitWeights({ ...mlp([8, 6, 4]), backend: request.backend, signal: aborted }),
    /before/,
  );
});

test('all bytes of a proof but header and openings are absorbed', async () => {
  const { model, committed, backend, statement } = await open();
  const { key } = model;
  const program = plan(key, 2);
  const frames: TranscriptRecord[] = [];
  const proof = await proveAssignment({
    program,
    key,
    committed,
    backend,
    statement,
    assignment: assign(program, model, statement.inputs),
    record: (frame) => frames.push(frame),
  });
  const absorbed = frames
    .filter(({ kind }) => kind === 'absorb')
    .reduce((sum, { length }) => sum + length, 0);
  const [header, cap] = frames as [TranscriptRecord, TranscriptRecord];
  assert.equal(cap.length, key.weightCap.length);
  const { opening } = program;
  const depth = opening.columnBits + opening.blowupBits;
  const folded = depth - (opening.folds[0] as number);
  assert.equal(opening.folds.length, 1);
  const query =
    4 * (opening.weightColumns + opening.witnessColumns) +
    2 * 32 * (depth - 7) +
    20 * (2 ** (opening.folds[0] as number) - 1) +
    32 * Math.max(0, folded - 7);
  assert.equal(absorbed - header.length - cap.length + 9 + opening.queries * query, proof.length);
});
