/** The verifier in a real browser, from the same source files: the same verdicts as in Node, whatever kernels it uses. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  encodeProofFile,
  offChainIds,
  type ProofFile,
  parseProofFile,
  planRegistration,
  verifyingKeyHash,
} from '@haca/circuit';
import { nodeZkKernels } from '@haca/platform';
import { MalformedError, toHex } from '@haca/primitives';
import type { Verdict } from '@haca/protocol';
import { proveRegistration, wasmBackend } from '@haca/prover';
import { assign } from '@haca/runtime';
import { lenet5, mlp, type ZkExample } from '@haca/testkit';
import { browserMissing, openInBrowser, serveSources } from '@haca/testkit/browser';
import { verifyProofFile } from '@haca/verifier';
import { openNetwork, proveHonestly, statementFor } from './prove-harness.ts';

const MODULE = new URL('../../packages/platform/build/zk-kernels.wasm', import.meta.url);
const skip = browserMissing || (existsSync(MODULE) ? false : 'the compiled kernels are not built');
const CONTEXT = 'a browser';

async function proofFileOf(example: ZkExample, batchSize: number): Promise<ProofFile> {
  const network = await openNetwork(example, wasmBackend());
  const { key, keyBytes, model, committed, backend } = network;
  const statement = { ...statementFor(network, batchSize), ...offChainIds(CONTEXT) };
  const program = planRegistration(key);
  const assignment = assign(program, model, []);
  const { verifyingKeyHash: _, ...parts } = statement;
  return {
    ...parts,
    verifyingKey: keyBytes,
    proof: await proveHonestly(network, statement),
    registration: await proveRegistration({ program, key, assignment, committed, backend }),
  };
}

const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes[at] as number) ^ 4);

/** The file itself, and with one thing changed in each of its parts. */
function variants(file: ProofFile): ReadonlyMap<string, Uint8Array> {
  const { proof, registration = new Uint8Array(0), outputs, inputs } = file;
  const places = [0.0, 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.9999];
  const first = ([tensor, ...rest]: readonly Uint8Array[]): Uint8Array[] => [
    flipped(tensor as Uint8Array, 0),
    ...rest,
  ];
  const cases: [string, Uint8Array][] = [
    ['honest', encodeProofFile(file)],
    ['output', encodeProofFile({ ...file, outputs: first(outputs) })],
    ['input', encodeProofFile({ ...file, inputs: first(inputs) })],
    ['key', encodeProofFile({ ...file, verifyingKey: flipped(file.verifyingKey, 30) })],
    ['nonce', encodeProofFile({ ...file, nonce: flipped(file.nonce, 3) })],
    ['short', encodeProofFile({ ...file, proof: proof.subarray(1) })],
    ['trailing', new Uint8Array([...encodeProofFile(file), 0])],
    [
      'registration',
      encodeProofFile({ ...file, registration: flipped(registration, registration.length >> 1) }),
    ],
    ...places.map((place): [string, Uint8Array] => [
      `proof at ${place}`,
      encodeProofFile({ ...file, proof: flipped(proof, Math.floor(place * proof.length)) }),
    ]),
  ];
  return new Map(cases);
}

function inNode(bytes: Uint8Array, hash: Uint8Array): unknown {
  try {
    const expectation = { verifyingKeyHash: hash, context: CONTEXT, kernels: nodeZkKernels() };
    return verifyProofFile(parseProofFile(bytes), expectation);
  } catch (error) {
    if (error instanceof MalformedError) return { malformed: error.message };
    throw error;
  }
}

test('a browser gives the verdicts of Node on proofs and on tampered proofs', { skip }, async (t) => {
  const data: Record<string, () => unknown> = {
    kernels: () => readFileSync(MODULE).toString('base64'),
  };
  const expected = new Map<string, unknown>();
  for (const [network, example, batchSize] of [
    ['mlp', mlp([70, 30, 10], { maxBatch: 32 }), 3],
    ['convolution', lenet5(), 1],
  ] as const) {
    const file = await proofFileOf(example, batchSize);
    const hash = verifyingKeyHash(file.verifyingKey);
    for (const [change, bytes] of variants(file)) {
      const name = encodeURIComponent(`${network}-${change}`.replaceAll(' ', '-'));
      const text = Buffer.from(bytes).toString('base64');
      data[name] = () => ({ file: text, verifyingKeyHash: toHex(hash), context: CONTEXT });
      const outcome = inNode(bytes, hash);
      assert.equal((outcome as Partial<Verdict>).ok === true, change === 'honest', name);
      expected.set(name, outcome);
    }
  }
  const sources = await serveSources({ ...data, names: () => [...expected.keys()] });
  t.after(sources.close);
  t.after(openInBrowser(sources.pageUrl('/packages/verifier/test/zk-browser-page.ts')));
  const { error, userAgent, kernels, results } = (await sources.result) as {
    readonly error?: string;
    readonly userAgent: string;
    readonly kernels: readonly string[];
    readonly results: Readonly<Record<string, readonly unknown[]>>;
  };
  assert.equal(error, undefined);
  assert.match(userAgent, /Chrome/);
  assert.deepEqual(kernels, ['portable', 'wasm']);
  assert.deepEqual(Object.keys(results).sort(), [...expected.keys()].sort());
  for (const [name, outcome] of expected) {
    const text = JSON.parse(JSON.stringify(outcome)) as unknown;
    assert.deepEqual(results[name], [text, text], name);
  }
});
