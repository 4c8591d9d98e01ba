/** Proofs on worker threads: the same verdicts, whatever becomes of the threads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeVerifyingKey, verifyingKeyHash } from '@haca/circuit';
import { nodeCrypto, verifySignatureAsync } from '@haca/platform';
import { sha256, utf8Encode } from '@haca/primitives';
import { encodeZkStatement, failed, passed, verdictOf, type ZkStatement } from '@haca/protocol';
import { mlp } from '@haca/testkit';
import { answerProofCheck, checkedProofSystem, type ProofCheck } from '../src/application/proof-checks.ts';
import { createProofPool, ProofPoolError } from '../src/application/proof-pool.ts';
import { verdictName } from '../src/application/verdict-cache.ts';
import {
  createVerification,
  VERIFICATION_LIMITS,
  VerificationFailedError,
} from '../src/application/verification.ts';
import { holds, ZK_BACKEND } from '../src/application/zk-backend.ts';
import {
  DEADLY_PROOF,
  TEST_BACKEND,
  TEST_PROOF_SYSTEM,
  TEST_SHAPE,
  testProof,
  testRegistrationProof,
  testVerifyingKey,
} from './test-proof-system.ts';

const KEY = testVerifyingKey();
const digest = (text: string): Uint8Array => sha256(utf8Encode(text));

function statement(text: string): ZkStatement {
  const of = {
    chainId: digest('chain'),
    nonce: digest('nonce'),
    verifyingKeyHash: digest('key'),
    batchSize: 1,
  };
  return { ...of, claimId: digest(text), inputs: [Uint8Array.of(1)], outputs: [Uint8Array.of(2)] };
}

function checkOf(text: string, proof?: Uint8Array): ProofCheck {
  const about = statement(text);
  const message = encodeZkStatement(about);
  return { scheme: 'zk-proof', publicKey: KEY, message, signature: proof ?? testProof(KEY, about) };
}

test('ZKC-22: a pool gives the verdicts of the proof system, of many checks at a time', async () => {
  const pool = createProofPool({ module: TEST_BACKEND.module, threads: 2 });
  const checks = Array.from({ length: 12 }, (_, i) =>
    i % 3 === 0 ? checkOf(`${i}`, new Uint8Array(32)) : checkOf(`${i}`),
  );
  const verdicts = await Promise.all(checks.map(pool.verify));
  assert.deepEqual(
    verdicts,
    checks.map((check) => answerProofCheck(TEST_PROOF_SYSTEM, check)),
  );
  assert.deepEqual(new Set(verdicts), new Set([true, false]));
  const registration: ProofCheck = {
    scheme: 'zk-registration',
    publicKey: KEY,
    message: new Uint8Array(0),
    signature: testRegistrationProof(KEY),
  };
  assert.equal(await pool.verify(registration), true);
  assert.equal(await pool.verify({ ...registration, publicKey: digest('other') }), false);
  assert.equal(await pool.verify({ ...registration, scheme: 'zk-proof' }), false, 'one is not the other');
  assert.equal(
    await pool.verify({ ...checkOf('1'), message: Uint8Array.of(1) }),
    false,
    'no statement at all',
  );
  await pool.close();
});

test('ZKC-22: a worker that dies has given no verdict, and another takes its place', async () => {
  const pool = createProofPool({ module: TEST_BACKEND.module, threads: 1 });
  const deadly = pool.verify(checkOf('deadly', DEADLY_PROOF));
  const after = pool.verify(checkOf('after'));
  await assert.rejects(deadly, ProofPoolError);
  assert.equal(await after, true, 'what waited behind it');
  assert.equal(await pool.verify(checkOf('later')), true);
  await pool.close();
});

test('ZKC-22: a worker that can not even start gives no verdict', async () => {
  const pool = createProofPool({ module: new URL('file:///there/is/no/such/module.ts'), threads: 1 });
  await assert.rejects(pool.verify(checkOf('a')), ProofPoolError);
  await assert.rejects(pool.verify(checkOf('b')), ProofPoolError);
  await pool.close();
});

test('ZKC-22: more than there is room for is refused at once, and a closed pool takes nothing', async () => {
  const pool = createProofPool({ module: TEST_BACKEND.module, threads: 1, waitingMax: 2 });
  const asked = [0, 1, 2, 3, 4, 5].map((i) => pool.verify(checkOf(`${i}`)).catch((error: unknown) => error));
  const answers = await Promise.all(asked);
  assert.deepEqual(answers.slice(0, 3), [true, true, true], 'one in work and two that wait');
  assert.ok(answers.slice(3).every((answer) => answer instanceof ProofPoolError));
  const pending = pool.verify(checkOf('pending')).catch((error: unknown) => error);
  const waiting = pool.verify(checkOf('waiting')).catch((error: unknown) => error);
  await pool.close();
  assert.ok((await pending) instanceof ProofPoolError);
  assert.ok((await waiting) instanceof ProofPoolError);
  await assert.rejects(pool.verify(checkOf('late')), ProofPoolError);
  await pool.close();
});

function verificationOf(pool: { readonly verify: (check: ProofCheck) => Promise<boolean> }) {
  const here: ProofCheck[] = [];
  const verification = createVerification(nodeCrypto, verifySignatureAsync, VERIFICATION_LIMITS, {
    verifyAsync: pool.verify,
    verifyNow: (check) => {
      here.push(check);
      return answerProofCheck(TEST_PROOF_SYSTEM, check);
    },
  });
  return { verification, here };
}

test('ZKC-22: a run that asks for proofs is run on the guess that they hold, and again where one does not', async () => {
  const pool = createProofPool({ module: TEST_BACKEND.module, threads: 2 });
  const { verification, here } = verificationOf(pool);
  const bad = { verifyingKey: KEY, statement: statement('bad'), proof: new Uint8Array(32) };
  const good = { verifyingKey: KEY, statement: statement('good'), proof: testProof(KEY, statement('good')) };
  let runs = 0;
  const answers = await verification.ahead('block', (checker) => {
    runs++;
    const system = checkedProofSystem(TEST_PROOF_SYSTEM, checker);
    return [good, bad, good].map(system.verifyProof);
  });
  assert.deepEqual([answers, runs], [[true, false, true], 2]);
  const again = await verification.ahead('block', (checker) => {
    runs++;
    return [bad, good].map(checkedProofSystem(TEST_PROOF_SYSTEM, checker).verifyProof);
  });
  assert.deepEqual([again, runs], [[false, true], 3], 'both verdicts are known');
  assert.deepEqual(here, [], 'nothing was verified on this thread');
  await pool.close();
});

test('ZKC-22: what no worker survives is verified here, and the verdict is the same', async () => {
  const pool = createProofPool({ module: TEST_BACKEND.module, threads: 1 });
  const { verification, here } = verificationOf(pool);
  const deadly = { verifyingKey: KEY, statement: statement('deadly'), proof: DEADLY_PROOF };
  const answer = await verification.ahead('block', (checker) =>
    checkedProofSystem(TEST_PROOF_SYSTEM, checker).verifyProof(deadly),
  );
  assert.equal(answer, false);
  assert.equal(here.length, 1);
  await pool.close();
});

test('ZKC-22: where there is no verdict in any way, the run ends instead of guessing', async () => {
  const verification = createVerification(nodeCrypto, verifySignatureAsync, {
    ...VERIFICATION_LIMITS,
    attempts: 1,
  });
  const check = { verifyingKey: KEY, statement: statement('x'), proof: new Uint8Array(32) };
  await assert.rejects(
    verification.ahead('block', (checker) =>
      checkedProofSystem(TEST_PROOF_SYSTEM, checker).verifyProof(check),
    ),
    VerificationFailedError,
  );
});

test('ZKC-11: the name of a verdict changes with every part of the check', () => {
  const check = checkOf('a');
  const others: readonly ProofCheck[] = [
    check,
    { ...check, scheme: 'zk-registration' },
    { ...check, publicKey: testVerifyingKey({ ...TEST_SHAPE, name: 'other' }) },
    { ...check, message: checkOf('b').message },
    { ...check, signature: checkOf('b').signature },
    { ...check, message: new Uint8Array([...check.message, 0]) },
    { ...check, signature: new Uint8Array([...check.signature, 0]) },
    // The same bytes, divided otherwise.
    { ...check, message: check.message.slice(0, -1), signature: new Uint8Array([1, ...check.signature]) },
  ];
  const names = others.map((each) => verdictName(nodeCrypto.sha256, each));
  assert.equal(new Set(names).size, others.length);
});

test('ZKC-22: a verifier that met a fault of its own ends a worker, and on the main thread refuses the proof', () => {
  const faulty = verdictOf([failed('zk.plan', 'E_INTERNAL', 'a verdict', 'RangeError: out of memory')]);
  const refused = verdictOf([failed('zk.root', 'E_PROOF', 'a root', 'another')]);
  assert.throws(() => holds(faulty, 'end'), /no verdict/);
  assert.equal(holds(faulty, 'refuse'), false);
  for (const onFault of ['end', 'refuse'] as const) {
    assert.equal(holds(refused, onFault), false);
    assert.equal(holds(verdictOf([passed('zk.root')]), onFault), true);
  }
});

test('ZKC-1 ZKC-10: the proof system of the software reads hostile keys and tensors without an exception', () => {
  const { system } = ZK_BACKEND;
  for (const bytes of [new Uint8Array(0), Uint8Array.of(0xff), new Uint8Array(1_000), utf8Encode('a key')]) {
    assert.equal(system.outlineKey(bytes), undefined);
    assert.equal(system.appraiseKey(bytes).ok, false);
    assert.equal(system.verifyProof({ verifyingKey: bytes, statement: statement('x'), proof: bytes }), false);
    assert.equal(system.verifyRegistration?.({ verifyingKey: bytes, proof: bytes }), false);
  }
  const { key } = mlp([5, 3, 2], { maxBatch: 4 });
  const bytes = encodeVerifyingKey(key);
  const appraisal = system.appraiseKey(bytes);
  assert.ok(appraisal.ok);
  assert.deepEqual(appraisal.hash, verifyingKeyHash(bytes));
  const { inputRowBytes, outputRowBytes, verificationGas, proofBytes } = appraisal.facts;
  assert.deepEqual(
    [inputRowBytes, outputRowBytes, verificationGas.length, proofBytes.length],
    [[5], [8], 3, 3],
  );
  assert.deepEqual(system.outlineKey(bytes), {
    ops: key.ops.length,
    tensors: key.tensors.length,
    batchMax: 4,
  });
  const tensors = { batchSize: 2, inputs: [new Uint8Array(10)], outputs: [new Uint8Array(16)] };
  assert.equal(system.checkTensors(bytes, tensors), undefined);
  assert.match(system.checkTensors(bytes, { ...tensors, inputs: [new Uint8Array(9)] }) ?? '', /10 bytes/);
  assert.match(system.checkTensors(bytes, { ...tensors, inputs: [] }) ?? '', /0 input tensors/);
  const wild = new Uint8Array(16).fill(0x7f);
  assert.ok(
    system.checkTensors(bytes, { ...tensors, outputs: [wild] }) !== undefined,
    'outside its interval',
  );
  for (let cut = 1; cut < bytes.length; cut += 97) {
    assert.equal(system.appraiseKey(bytes.slice(0, cut)).ok, false);
    system.appraiseKey(bytes.with(cut, (bytes[cut] as number) ^ 1));
  }
});
