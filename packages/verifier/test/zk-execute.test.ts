import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planRegistration, type ZkStatement } from '@haca/circuit';
import type { Verdict } from '@haca/protocol';
import { executeVerifier } from '../src/zk/execute.ts';
import { emptyProof, fixture } from './zk-fixtures.ts';

const failure = ({ checks }: Verdict): string => {
  const failed = checks.find(({ status }) => status === 'failed');
  return `${failed?.id} ${failed?.expected}`;
};

const made = fixture('mlp 5-3-2');
const proof = emptyProof(made, (length) => new Uint8Array(length));

test('a program of one purpose does not take a statement of the other', () => {
  const purpose = 'zk.public a statement of the purpose of the program';
  assert.equal(failure(executeVerifier(made.program, made.key, null, proof)), purpose);
  const program = planRegistration(made.key);
  const registration = emptyProof({ ...made, program }, (length) => new Uint8Array(length));
  assert.equal(failure(executeVerifier(program, made.key, made.statement, registration)), purpose);
  assert.match(failure(executeVerifier(program, made.key, null, registration)), /^zk\.degenerate/);
});

test('a statement of another batch size than the program’s is refused', () => {
  const statement: ZkStatement = { ...made.statement, batchSize: 2 };
  const id = failure(executeVerifier(made.program, made.key, statement, proof));
  assert.equal(id, 'zk.public the batch size of the program');
});

test('a fault of the verifier itself is a failed check, never an acceptance', () => {
  const broken = { ...made.statement, inputs: [null as unknown as Uint8Array] };
  const { ok, checks } = executeVerifier(made.program, made.key, broken, proof);
  assert.equal(ok, false);
  assert.equal(checks.find(({ status }) => status === 'failed')?.code, 'E_INTERNAL');
  const withoutSteps = { ...made.program, steps: made.program.steps.slice(1) };
  assert.equal(executeVerifier(withoutSteps, made.key, made.statement, proof).ok, false);
});

test('what was not checked is skipped, never passed', () => {
  const { checks } = executeVerifier(made.program, made.key, made.statement, proof);
  const at = checks.findIndex(({ status }) => status === 'failed');
  assert.deepEqual(
    checks.map(({ status }) => status).filter((status) => status !== 'skipped'),
    ['passed', 'passed', 'passed', 'passed', 'failed'],
  );
  assert.equal(checks[at]?.id, 'zk.degenerate');
});
