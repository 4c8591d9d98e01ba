/**
 * A proof system for tests that proves nothing: a "proof" is a hash over key and statement that anybody can make, so that
 * tests can have good and bad ones at will. It lives in tests only.
 */
import { bytesEqual, concatBytes, sha256, utf8Encode } from '@haca/primitives';
import { encodeZkStatement, type ZkStatement, zkBatchIndex } from '@haca/protocol';
import { answerProofCheck, type ProofCheck } from '../src/application/proof-checks.ts';
import type { ZkBackend } from '../src/application/zk-backend.ts';
import type { ZkProofSystem } from '../src/state-machine/index.ts';
import '@haca/platform';

export interface TestKeyShape {
  readonly name: string;
  readonly batchMax: number;
  readonly gas: number;
  readonly proofBytes: number;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export const TEST_SHAPE: TestKeyShape = {
  name: 'one',
  batchMax: 8,
  gas: 5_000,
  proofBytes: 32,
  inputs: [4, 2],
  outputs: [3],
};

export function testVerifyingKey(shape: TestKeyShape = TEST_SHAPE): Uint8Array {
  return utf8Encode(`test key ${JSON.stringify(shape)}`);
}

export function testKeyHash(verifyingKey: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8Encode('test key hash'), verifyingKey));
}

/** The only proof of the statement that holds. */
export function testProof(verifyingKey: Uint8Array, statement: ZkStatement): Uint8Array {
  return sha256(
    concatBytes(utf8Encode('test proof'), testKeyHash(verifyingKey), encodeZkStatement(statement)),
  );
}

export function testRegistrationProof(verifyingKey: Uint8Array): Uint8Array {
  return sha256(concatBytes(utf8Encode('test registration'), verifyingKey));
}

function shapeOf(verifyingKey: Uint8Array): TestKeyShape | undefined {
  const text = new TextDecoder().decode(verifyingKey);
  return /^test key \{/.test(text) ? (JSON.parse(text.slice('test key '.length)) as TestKeyShape) : undefined;
}

/** Values of tensors are bytes below 255. */
export const TEST_PROOF_SYSTEM: ZkProofSystem = {
  outlineKey: (verifyingKey) => {
    const shape = shapeOf(verifyingKey);
    return shape === undefined ? undefined : { ops: 3, tensors: 5, batchMax: shape.batchMax };
  },
  appraiseKey: (verifyingKey) => {
    const shape = shapeOf(verifyingKey);
    if (shape === undefined || shape.name === 'meaningless') return { ok: false, info: 'not a test key' };
    const sizes = Array.from({ length: zkBatchIndex(shape.batchMax) + 1 }, (_, i) => i);
    return {
      ok: true,
      hash: testKeyHash(verifyingKey),
      registrationGas: 20_000,
      facts: {
        batchMax: shape.batchMax,
        verificationGas: sizes.map((i) => shape.gas + 100 * i),
        proofBytes: sizes.map(() => shape.proofBytes),
        inputRowBytes: shape.inputs,
        outputRowBytes: shape.outputs,
      },
    };
  },
  checkTensors: (_key, { inputs, outputs }) =>
    [...inputs, ...outputs].some((tensor) => tensor.includes(255)) ? 'a value of 255' : undefined,
  verifyProof: ({ verifyingKey, statement, proof }) => bytesEqual(proof, testProof(verifyingKey, statement)),
  verifyRegistration: ({ verifyingKey, proof }) => bytesEqual(proof, testRegistrationProof(verifyingKey)),
};

/** A proof that this system refuses, and that ends the worker which tries it. */
export const DEADLY_PROOF: Uint8Array = utf8Encode('a proof that no worker survives');

/** What worker threads call. */
export function verifyProofCheck(check: ProofCheck): boolean {
  if (bytesEqual(check.signature, DEADLY_PROOF)) process.exit(7);
  return answerProofCheck(TEST_PROOF_SYSTEM, check);
}

export const TEST_BACKEND: ZkBackend = {
  system: TEST_PROOF_SYSTEM,
  module: new URL(import.meta.url),
};
