/** Proofs with something changed, left out, added, swapped or asked about something else: all refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeVerifyingKey, foldDepths, planWith, verifyingKeyHash, type ZkStatement } from '@haca/circuit';
import { EXT_BYTES, P } from '@haca/primitives/zk';
import { createRandom, mlp, softmaxOnly, tinyConv } from '@haca/testkit';
import { verifyZkProof } from '@haca/verifier';
import { executeVerifier } from '@haca/verifier/zk-testing';
import { absorbedFrames } from './verify-frames.ts';
import {
  assertAccepted,
  FEW_QUERIES,
  failureOf,
  proofOf,
  type Subject,
  smallest,
  subjectOf,
  verdictOn,
} from './verify-harness.ts';

const changedAt = (proof: Uint8Array, at: number, bits: number): Uint8Array => {
  const changed = proof.slice();
  changed[at] = (changed[at] as number) ^ bits;
  return changed;
};

test('ZK-24: every byte of a small proof with one bit flipped is refused', async (t) => {
  const subject = await subjectOf(smallest(), { batchSize: 2 });
  const proof = await proofOf(subject);
  assertAccepted(verdictOn(subject, proof));
  const random = createRandom(1);
  const byCheck = new Map<string, number>();
  for (let at = 0; at < proof.length; at++) {
    const id = failureOf(verdictOn(subject, changedAt(proof, at, 2 ** Math.floor(8 * random()))));
    byCheck.set(id, (byCheck.get(id) ?? 0) + 1);
  }
  t.diagnostic(`${proof.length} bytes: ${[...byCheck].map(([id, count]) => `${id} ${count}`).join(', ')}`);
});

for (const [name, example] of [
  ['mlp', () => mlp([7, 5, 3])],
  ['convolution', () => tinyConv()],
  ['causal softmax', () => softmaxOnly(4, true)],
] as const)
  test(`${name}: bytes here and there of a proof at full strength flipped are refused`, async () => {
    const subject = await subjectOf(example(), {
      parameters: { blowupBits: 3, queries: 102, grindingBits: 16 },
    });
    const verifyingKey = encodeVerifyingKey(subject.key);
    const proof = await proofOf(subject);
    const { statement } = subject;
    assertAccepted(verifyZkProof({ verifyingKey, statement, proof }));
    const random = createRandom(2);
    for (let at = 0; at < proof.length; at += 1 + Math.floor(200 * random())) {
      const changed = changedAt(proof, at, 1 + Math.floor(255 * random()));
      failureOf(verifyZkProof({ verifyingKey, statement, proof: changed }));
    }
  });

test('ZK-1: the other encoding of each element, x + p, is refused as such', async () => {
  const subject = await subjectOf(smallest());
  const proof = await proofOf(subject);
  const frames = absorbedFrames(subject, proof);
  let words = 0;
  for (const { offset, length, isElements } of frames) {
    if (!isElements) continue;
    for (let at = offset; at < offset + length; at += 4, words++) {
      const changed = proof.slice();
      const view = new DataView(changed.buffer);
      view.setUint32(at, view.getUint32(at, true) + P, true);
      assert.equal(failureOf(verdictOn(subject, changed)), 'zk.encoding');
    }
  }
  const { opening } = subject.program;
  const row = frames.reduce((end, { offset, length }) => Math.max(end, offset + length), 0);
  for (let c = 0; c < opening.weightColumns; c++, words++) {
    const changed = proof.slice();
    const view = new DataView(changed.buffer);
    view.setUint32(row + 4 * c, view.getUint32(row + 4 * c, true) + P, true);
    assert.equal(failureOf(verdictOn(subject, changed)), 'zk.encoding');
  }
  assert.ok(words > 200);
});

test('ZK-20: a proof that is cut or continued anywhere is refused', async () => {
  const subject = await subjectOf(smallest());
  const proof = await proofOf(subject);
  for (const length of [0, 1, 8, 9, 100, proof.length - 32, proof.length - 1])
    assert.equal(failureOf(verdictOn(subject, proof.subarray(0, length))), 'zk.length');
  for (const more of [1, 20, 32, 4096]) {
    const longer = new Uint8Array(proof.length + more);
    longer.set(proof);
    assert.equal(failureOf(verdictOn(subject, longer)), 'zk.length');
    longer.set(proof, more);
    assert.equal(failureOf(verdictOn(subject, longer)), 'zk.length');
  }
});

function swapped(proof: Uint8Array, a: number, b: number, length: number): Uint8Array | null {
  const changed = proof.slice();
  changed.copyWithin(a, b, b + length);
  changed.set(proof.subarray(a, a + length), b);
  return changed.every((byte, i) => byte === proof[i]) ? null : changed;
}

test('messages, elements, digests and queries in another order are refused', async () => {
  const subject = await subjectOf(mlp([6, 4, 4, 3]), { parameters: { ...FEW_QUERIES, queries: 6 } });
  const proof = await proofOf(subject);
  assertAccepted(verdictOn(subject, proof));
  const frames = absorbedFrames(subject, proof);
  let count = 0;
  const refused = (a: number, b: number, length: number): void => {
    const changed = swapped(proof, a, b, length);
    if (changed === null) return;
    failureOf(verdictOn(subject, changed));
    count++;
  };
  for (const [i, first] of frames.entries()) {
    const second = frames
      .slice(i + 1)
      .find(({ length, label }) => length === first.length && label === first.label);
    if (second !== undefined) refused(first.offset, second.offset, first.length);
    const unit = first.isElements ? EXT_BYTES : 32;
    if (first.length >= 2 * unit) refused(first.offset, first.offset + unit, unit);
  }
  const queriesAt = frames.reduce((end, { offset, length }) => Math.max(end, offset + length), 0);
  const bytes = (proof.length - queriesAt) / subject.program.opening.queries;
  for (let query = 1; query < 6; query++) refused(queriesAt, queriesAt + query * bytes, bytes);
  for (const [a, b, length] of partsOfQuery(subject)) refused(queriesAt + a, queriesAt + b, length);
  assert.ok(count > 60, `${count} swaps`);
});

/** Pairs of parts of the first query that are equally long: both paths, siblings, values of a layer. */
function partsOfQuery({ program: { opening } }: Subject): (readonly [number, number, number])[] {
  const path = 32 * Math.max(0, opening.columnBits + opening.blowupBits - 7);
  const weightPath = 4 * opening.weightColumns;
  const witnessPath = weightPath + path + 4 * opening.witnessColumns;
  const firstLayer = witnessPath + path;
  const depths = foldDepths(opening);
  return [
    [weightPath, witnessPath, path],
    [weightPath, weightPath + 32, 32],
    [0, 4, 4],
    [weightPath + path, weightPath + path + 4, 4],
    ...(2 ** (opening.folds[0] as number) > 2
      ? [[firstLayer, firstLayer + EXT_BYTES, EXT_BYTES] as const]
      : []),
    ...((depths[0] as number) > 8
      ? [[firstLayer + EXT_BYTES * (2 ** (opening.folds[0] as number) - 1), weightPath, 32] as const]
      : []),
  ];
}

test('ZK-22: a proof of one statement is none of another', async () => {
  const subject = await subjectOf(mlp([5, 4, 3]), { batchSize: 2 });
  const proof = await proofOf(subject);
  const { statement, key, program } = subject;
  const refused = (changes: Partial<ZkStatement>, id: RegExp): void =>
    assert.match(failureOf(verdictOn(subject, proof, { statement: { ...statement, ...changes } })), id);
  for (const name of ['chainId', 'claimId', 'nonce', 'verifyingKeyHash'] as const)
    for (const at of [0, 31]) refused({ [name]: changedAt(statement[name], at, 1) }, /^zk\.gkr/);
  for (let at = 0; at < 10; at++)
    refused({ inputs: [changedAt(statement.inputs[0] as Uint8Array, at, 1)] }, /^zk\.gkr/);
  for (let at = 0; at < 24; at += 4)
    refused({ outputs: [changedAt(statement.outputs[0] as Uint8Array, at, 1)] }, /^zk\.gkr/);
  const rows = (bytes: Uint8Array): Uint8Array => {
    const half = bytes.length / 2;
    return new Uint8Array([...bytes.subarray(half), ...bytes.subarray(0, half)]);
  };
  refused({ inputs: statement.inputs.map(rows), outputs: statement.outputs.map(rows) }, /^zk\.gkr/);
  refused({ outputs: [] }, /^zk\.public/);
  refused({ inputs: [...statement.inputs, ...statement.inputs] }, /^zk\.public/);
  refused({ batchSize: 1 }, /^zk\.public/);

  const under = (otherKey: typeof key, batchSize = 2): string => {
    const other = planWith(otherKey, batchSize, FEW_QUERIES);
    return failureOf(executeVerifier(other, otherKey, { ...statement, batchSize }, proof));
  };
  assert.match(under(key, 1), /^zk\.(length|header)/);
  assert.match(under({ ...key, weightCap: changedAt(key.weightCap, 5, 1) }), /^zk\.gkr/);
  assert.match(under({ ...key, profile: 2 }), /^zk\.header/);
  const rescaled = key.ops.map((op) => (op.kind === 'requantize' ? { ...op, offset: op.offset + 1 } : op));
  // Under the old hash: nothing but the equations themselves notices.
  assert.match(under({ ...key, ops: rescaled }), /^zk\.(step|rows)/);
  assert.equal(program.batchSize, 2);
});

test('a key with one number changed does not take the proof, neither under its own hash nor under the old', async () => {
  const parameters = { blowupBits: 3, queries: 102, grindingBits: 16 };
  const subject = await subjectOf(mlp([5, 4, 3]), { parameters });
  const proof = await proofOf(subject);
  const { key, statement } = subject;
  const requantized = key.ops.findIndex(({ kind }) => kind === 'requantize');
  const changes = key.ops.flatMap((op, i) => {
    if (op.kind === 'requantize' && i === requantized)
      return [
        { ...op, offset: op.offset - 1 },
        { ...op, offset: op.offset + 1 },
        { ...op, shift: op.shift - 1, overflowBits: op.overflowBits + 1 },
      ].map((changed) => key.ops.with(i, changed));
    if (op.kind === 'sum') return [key.ops.with(i, { ...op, constant: op.constant + 1 })];
    return [];
  });
  const lists = key.lists.map((list, i) => (i === 0 ? list.with(200, (list[200] as number) + 1) : list));
  let planned = 0;
  for (const changed of [...changes.map((ops) => ({ ...key, ops })), { ...key, lists }]) {
    const verifyingKey = encodeVerifyingKey(changed);
    assert.match(failureOf(verifyZkProof({ verifyingKey, statement, proof })), /^zk\.key/);
    const own = { ...statement, verifyingKeyHash: verifyingKeyHash(verifyingKey) };
    const id = failureOf(verifyZkProof({ verifyingKey, statement: own, proof }));
    if (id !== 'zk.key') planned++;
  }
  assert.ok(planned >= 3, `${planned} of them mean something`);
});
