/** Proofs for tests of the verifier: with parameters of one's own, so that they are small and quick to check. */
import assert from 'node:assert/strict';
import {
  encodeTensor,
  encodeVerifyingKey,
  type Program,
  planWith,
  publicTensorShapes,
  type SecurityParameters,
  type TensorShape,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import type { Verdict } from '@haca/protocol';
import {
  type Assignment,
  type CommittedWeights,
  commitProgramWeights,
  type ProverBackend,
  proveAssignment,
  referenceBackend,
} from '@haca/prover';
import { assign, createIntegerModel, type IntegerModel, runModel } from '@haca/runtime';
import { createRandom, createZkGraph, type ZkExample } from '@haca/testkit';
import { type ExecuteOptions, executeVerifier } from '@haca/verifier/zk-testing';

/** Proves next to nothing about the queries; everything else is as in a real proof. */
export const FEW_QUERIES: SecurityParameters = { blowupBits: 1, queries: 2, grindingBits: 4 };

export interface Subject {
  readonly key: VerifyingKey;
  readonly program: Program;
  readonly model: IntegerModel;
  readonly statement: ZkStatement;
  readonly assignment: Assignment;
  readonly committed: CommittedWeights;
  readonly backend: ProverBackend;
}

const DIGEST_BYTES = 32;

export async function subjectOf(
  example: ZkExample,
  { batchSize = 1, parameters = FEW_QUERIES }: { batchSize?: number; parameters?: SecurityParameters } = {},
): Promise<Subject> {
  const backend = referenceBackend();
  const depth = example.key.columnBits + parameters.blowupBits;
  const empty = { ...example.key, weightCap: new Uint8Array(DIGEST_BYTES * 2 ** Math.min(7, depth)) };
  const program = planWith(empty, batchSize, parameters);
  const committed = await commitProgramWeights({ program, weights: example.weights, backend });
  const key = { ...empty, weightCap: committed.cap };
  const model = createIntegerModel({ key: { ...key, weightCap: empty.weightCap }, weights: example.weights });
  const random = createRandom(7);
  const inputs = publicTensorShapes(key).inputs.map((shape) => randomRows(shape, batchSize, random));
  const statement = {
    chainId: new Uint8Array(32).fill(1),
    claimId: new Uint8Array(32).fill(2),
    nonce: new Uint8Array(32).fill(3),
    verifyingKeyHash: verifyingKeyHash(encodeVerifyingKey(key)),
    batchSize,
    inputs,
    outputs: runModel(model, inputs, batchSize),
  };
  const assignment = assign(program, model, inputs);
  return { key, program, model, statement, assignment, committed, backend };
}

function randomRows(shape: TensorShape, rows: number, random: () => number): Uint8Array {
  const cells = rows * shape.extents.reduce((product, extent) => product * extent, 1);
  const values = Array.from(
    { length: cells },
    () => shape.lo + Math.floor(random() * (shape.hi - shape.lo + 1)),
  );
  return encodeTensor(shape, values);
}

export const proofOf = (subject: Subject, changes: Partial<Subject> = {}): Promise<Uint8Array> =>
  proveAssignment({ ...subject, ...changes });

export function verdictOn(
  { program, key, statement }: Subject,
  proof: Uint8Array,
  options: ExecuteOptions & { readonly statement?: ZkStatement } = {},
): Verdict {
  const { statement: other, ...rest } = options;
  return executeVerifier(program, key, other ?? statement, proof, rest);
}

/** The id of the check that failed; asserts that one did, and that it was no fault of the verifier. */
export function failureOf(verdict: Verdict): string {
  const failed = verdict.checks.filter(({ status }) => status === 'failed');
  assert.equal(verdict.ok, false, 'accepted');
  assert.equal(failed.length, 1);
  assert.notEqual(failed[0]?.id, 'zk.internal', failed[0]?.got);
  return failed[0]?.id as string;
}

export function assertAccepted(verdict: Verdict): void {
  assert.deepEqual(
    verdict.checks.filter(({ status }) => status === 'failed' || status === 'skipped'),
    [],
  );
  assert.equal(verdict.ok, true);
}

/** A sum of a weight and the input, cut to 3 bits, and a dense layer behind: proofs of about 4 kB. */
export function smallest(): ZkExample {
  const g = createZkGraph({ maxBatch: 3 });
  const x = g.input('i8', [3], -4, 3);
  const bias = g.weight('i8', [3], -4, 3);
  const y = g.requantize(g.sum([{ x }, { x: bias }], [3]), {
    shift: 0,
    offset: 4,
    window: 3,
    values: [0, 1, 2, 3, 4, 5, 6, 7],
  });
  const weight = g.weight('i8', [2, 3], -3, 3);
  const example = g.finish([g.contract({ a: y, c: weight, labelsA: [1], labelsC: [0, 1], extents: [2] })]);
  return { ...example, key: { ...example.key, columnBits: 4, folds: [1, 1], finalBits: 2 } };
}
