/** From a key with weights to a proof and its verdict: prover and verifier meet here, as bytes. */
import assert from 'node:assert/strict';
import {
  encodeTensor,
  encodeVerifyingKey,
  type Program,
  plan,
  publicTensorShapes,
  type TensorShape,
  tensorRowBytes,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import type { Verdict } from '@haca/protocol';
import {
  type Assignment,
  type CommittedWeights,
  commitWeights,
  type ProverBackend,
  prove,
  proveAssignment,
  referenceBackend,
} from '@haca/prover';
import { assign, createIntegerModel, type IntegerModel, runModel } from '@haca/runtime';
import type { ZkExample } from '@haca/testkit';
import { verifyZkProof } from '@haca/verifier';

export interface Network {
  readonly key: VerifyingKey;
  readonly keyBytes: Uint8Array;
  readonly model: IntegerModel;
  readonly committed: CommittedWeights;
  readonly backend: ProverBackend;
}

export async function openNetwork(
  { key: draft, weights }: ZkExample,
  backend: ProverBackend = referenceBackend(),
): Promise<Network> {
  const committed = await commitWeights({ key: draft, weights, backend });
  const key = { ...draft, weightCap: committed.cap };
  return {
    key,
    keyBytes: encodeVerifyingKey(key),
    model: createIntegerModel({ key, weights }),
    committed,
    backend,
  };
}

/** Values in the whole interval of an input, from a small generator. */
function randomRows(shape: TensorShape, rows: number, seed: number): Uint8Array {
  const cells =
    (tensorRowBytes(shape) /
      (shape.kind === 'i16' ? 2 : shape.kind === 'i32' || shape.kind === 'id' ? 4 : 1)) *
    rows;
  let state = (seed * 2654435761 + 12345) >>> 0;
  const values = Array.from({ length: cells }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return shape.lo + Math.floor((state / 2 ** 32) * (shape.hi - shape.lo + 1));
  });
  return encodeTensor(shape, values);
}

export function statementFor(network: Network, batchSize: number, seed = 1): ZkStatement {
  const { key, keyBytes, model } = network;
  const inputs = publicTensorShapes(key).inputs.map((shape, i) => randomRows(shape, batchSize, seed + i));
  return {
    chainId: new Uint8Array(32).fill(1),
    claimId: new Uint8Array(32).fill(2),
    nonce: new Uint8Array(32).fill(3),
    verifyingKeyHash: verifyingKeyHash(keyBytes),
    batchSize,
    inputs,
    outputs: runModel(model, inputs, batchSize),
  };
}

export function proveHonestly(network: Network, statement: ZkStatement): Promise<Uint8Array> {
  const { keyBytes, model, committed, backend } = network;
  return prove({ keyBytes, model, committed, statement, backend });
}

export interface Tampered {
  /** Cells of tensors that the prover lies about, by tensor id. */
  readonly values: (
    program: Program,
    honest: Assignment,
  ) => ReadonlyMap<number, ReturnType<Assignment['values']>>;
  /** The statement that is proved, if not the honest one. */
  readonly statement?: ZkStatement;
}

/** A proof of an assignment in which some tensors are replaced. */
export function proveTampered(
  network: Network,
  honest: ZkStatement,
  tampered: Tampered,
): Promise<Uint8Array> {
  const { key, model, committed, backend } = network;
  const program = plan(key, honest.batchSize);
  const assignment = assign(program, model, honest.inputs);
  const replaced = tampered.values(program, assignment);
  const statement = tampered.statement ?? honest;
  return proveAssignment({
    program,
    key,
    committed,
    statement,
    backend,
    assignment: { values: (id) => replaced.get(id) ?? assignment.values(id) },
  });
}

export function verdictOn(network: Network, statement: ZkStatement, proof: Uint8Array): Verdict {
  return verifyZkProof({ verifyingKey: network.keyBytes, statement, proof });
}

/** What failed, for messages. */
export function failures(verdict: Verdict): string {
  return verdict.checks
    .filter(({ status }) => status === 'failed')
    .map(({ id, code, got }) => `${id} ${code}: ${got}`)
    .join('; ');
}

export function assertAccepted(verdict: Verdict, what: string): void {
  assert.equal(failures(verdict), '', what);
  assert.equal(verdict.ok, true, what);
}

/** @returns the code of the check that failed */
export function assertRefused(verdict: Verdict, what: string): string {
  assert.equal(verdict.ok, false, what);
  const failed = verdict.checks.find(({ status }) => status === 'failed');
  assert.ok(failed?.code !== undefined, `${what}: nothing failed`);
  assert.notEqual(failed.code, 'E_INTERNAL', what);
  return failed.code;
}
