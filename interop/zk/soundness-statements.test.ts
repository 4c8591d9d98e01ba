/** Proofs of one statement shown as proofs of another, and proofs of other shapes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeTensor,
  encodeVerifyingKey,
  KeyError,
  type Op,
  type Program,
  planRegistration,
  planWith,
  publicTensorShapes,
  type TensorShape,
  type VerifyingKey,
  verifyingKeyHash,
  type ZkStatement,
} from '@haca/circuit';
import { bytesEqual } from '@haca/primitives';
import { keyedHash } from '@haca/primitives/zk';
import type { Verdict } from '@haca/protocol';
import { commitProgramWeights, proveAssignment, proveRegistration, referenceBackend } from '@haca/prover';
import { assign } from '@haca/runtime';
import { createZkGraph, mlp, type ZkExample } from '@haca/testkit';
import { verifyZkProof, verifyZkRegistration } from '@haca/verifier';
import { executeVerifier } from '@haca/verifier/zk-testing';
import { withInputs } from './cheats/forged.ts';
import { REQUANTIZE_INPUT, requantized } from './cheats/networks.ts';
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

const subject = async (batchSize = 1): Promise<Subject> => {
  const made = await subjectOf(requantized(false), { batchSize });
  const rows = Array.from({ length: batchSize }, (_, b) => REQUANTIZE_INPUT.map((value) => value - 2 * b));
  return withInputs(made, [rows.flat()]);
};

/** The verdict under another key, with the statement naming the key given or the old one. */
function under(
  key: VerifyingKey,
  { statement }: Subject,
  proof: Uint8Array,
  named: VerifyingKey = key,
): Verdict {
  const program = planWith(key, statement.batchSize, FEW_QUERIES);
  const hash = verifyingKeyHash(encodeVerifyingKey(named));
  return executeVerifier(program, key, { ...statement, verifyingKeyHash: hash }, proof);
}

test('ZK-22 a proof under another model of the same shape', async () => {
  const example = (seed: number): ZkExample => mlp([5, 4, 3], { seed });
  const [a, b] = [await subjectOf(example(1)), await subjectOf(example(2))];
  const proof = await proofOf(a);
  assertAccepted(under(a.key, a, proof));
  assert.match(failureOf(under(b.key, a, proof)), /^zk\.gkr/);
  assert.match(failureOf(under(b.key, a, proof, a.key)), /^zk\.gkr/);
  // Made for the key of b, with the weights of a: only the rows of the weights tell.
  const forged = await proofOf({
    ...a,
    key: b.key,
    statement: { ...a.statement, verifyingKeyHash: b.statement.verifyingKeyHash },
  });
  assert.equal(failureOf(under(b.key, a, forged)), 'zk.merkle');
});

/** Keys of the same shape that mean something else, by what was changed. */
function changedKeys(key: VerifyingKey): Record<string, VerifyingKey> {
  const op = <K extends Op['kind']>(kind: K, change: (op: Extract<Op, { kind: K }>) => Op): VerifyingKey => ({
    ...key,
    ops: key.ops.map((each) => (each.kind === kind ? change(each as Extract<Op, { kind: K }>) : each)),
  });
  const [list] = key.lists as [readonly number[]];
  const anchor = key.tensors.findIndex(({ role }) => role === 'anchor');
  const input = key.tensors.findIndex(({ role }) => role === 'input');
  const tensor = (at: number, change: Partial<VerifyingKey['tensors'][number]>): VerifyingKey => ({
    ...key,
    tensors: key.tensors.map((each, i) => (i === at ? { ...each, ...change } : each)),
  });
  return {
    offset: op('requantize', (each) => ({ ...each, offset: each.offset - 1 })),
    shift: op('requantize', (each) => ({ ...each, shift: 1, overflowBits: each.overflowBits + 1 })),
    constant: op('sum', (each) => ({ ...each, constant: 1 })),
    coefficient: op('sum', (each) => ({
      ...each,
      terms: each.terms.map((term) => ({ ...term, coefficient: -1 })),
    })),
    list: { ...key, lists: [[...list.slice(0, 7), 2]] },
    anchor: tensor(anchor, { hi: 4 }),
    input: tensor(input, { lo: -65 }),
    cap: { ...key, weightCap: key.weightCap.with(3, (key.weightCap[3] as number) ^ 1) },
    maxBatch: { ...key, maxBatch: key.maxBatch + 1 },
  };
}

test('ZK-22 a key with one number changed does not take the proof, under its own hash or the old one', async () => {
  const honest = await subject();
  const proof = await proofOf(honest);
  const meaningless: string[] = [];
  for (const [name, key] of Object.entries(changedKeys(honest.key))) {
    try {
      planWith(key, 1, FEW_QUERIES);
    } catch (error) {
      assert.ok(error instanceof KeyError);
      meaningless.push(name);
      continue;
    }
    assert.match(failureOf(under(key, honest, proof)), /^zk\.(gkr|length)/, name);
    const bytes = { verifyingKey: encodeVerifyingKey(key), statement: honest.statement, proof };
    assert.equal(failureOf(verifyZkProof(bytes)), 'zk.key', name);
    const old = under(key, honest, proof, honest.key);
    // Bounds and batch sizes are part of no equation: the hash of the key alone binds them.
    if (name === 'input' || name === 'maxBatch') assert.equal(old.ok, true, name);
    else
      assert.match(failureOf(old), /^zk\.(gkr|length|step|lookup|rows|public-evaluation|query|merkle)/, name);
  }
  // Its output would leave the interval declared for it.
  assert.deepEqual(meaningless, ['anchor']);
});

test('ZK-22 two ops in another order, the same function: another key, another proof', async () => {
  const example = (swap: boolean): ZkExample => {
    const g = createZkGraph();
    const x = g.input('i8', [3]);
    const make = (): ReturnType<typeof g.requantize> =>
      g.requantize(g.sum([{ x }, { x: g.weight('i8', [3], 0, 5) }], [3]), {
        shift: 1,
        offset: 128,
        values: Array.from({ length: 256 }, (_, i) => i - 128),
      });
    const [first, second] = [make(), make()];
    const graph = g.finish([g.sum([{ x: first }, { x: second, coefficient: 2 }], [3])]);
    if (!swap) return graph;
    const { ops } = graph.key;
    return {
      ...graph,
      key: { ...graph.key, ops: [ops[2], ops[3], ops[0], ops[1], ...ops.slice(4)] as Op[] },
    };
  };
  const [a, b] = [await subjectOf(example(false)), await subjectOf(example(true))];
  const proof = await proofOf(a);
  assertAccepted(under(a.key, a, proof));
  assert.deepEqual(a.statement.outputs, b.statement.outputs);
  assert.match(failureOf(under(b.key, a, proof)), /^zk\.gkr/);
  assert.equal(under(b.key, a, proof, a.key).ok, false);
});

/** Rows of all public tensors in another order. */
function permuted(
  statement: ZkStatement,
  order: readonly number[],
  which: 'inputs' | 'outputs',
): ZkStatement {
  const move = (bytes: Uint8Array): Uint8Array => {
    const size = bytes.length / statement.batchSize;
    return new Uint8Array(order.flatMap((row) => [...bytes.subarray(row * size, (row + 1) * size)]));
  };
  return { ...statement, [which]: statement[which].map(move) };
}

test('ZK-22 rows of a batch permuted, one row dropped or repeated, inputs and outputs off by one', async () => {
  const honest = await subject(3);
  const { statement, key } = honest;
  const proof = await proofOf(honest);
  assertAccepted(verdictOn(honest, proof));
  // The transcript is another; and so are the equations, were the prover to know the statement beforehand.
  const refused = async (changed: ZkStatement): Promise<void> => {
    assert.match(failureOf(verdictOn(honest, proof, { statement: changed })), /^zk\.gkr/);
    const lying = { ...honest, statement: changed };
    assert.match(failureOf(verdictOn(lying, await proofOf(lying))), /^zk\.(public-evaluation|output)/);
  };
  for (const order of [
    [1, 0, 2],
    [2, 1, 0],
    [1, 2, 0],
    [0, 0, 2],
    [0, 1, 1],
  ]) {
    await refused(permuted(statement, order, 'inputs'));
    await refused(permuted(statement, order, 'outputs'));
  }
  const shapes = publicTensorShapes(key);
  const nudge = (shape: TensorShape, bytes: Uint8Array, at: number, by: number): Uint8Array => {
    const size = shape.kind === 'i16' ? 2 : shape.kind === 'i32' ? 4 : 1;
    const cells = Array.from({ length: bytes.length / size }, (_, i) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      if (size === 1) return shape.kind === 'u8' ? view.getUint8(i) : view.getInt8(i);
      return size === 2 ? view.getInt16(2 * i, true) : view.getInt32(4 * i, true);
    });
    const value = (cells[at] as number) + by;
    cells[at] = value < shape.lo || value > shape.hi ? (cells[at] as number) - by : value;
    return encodeTensor(shape, cells);
  };
  for (const by of [1, -1])
    for (const cell of [0, 5]) {
      const [input, output] = [statement.inputs[0], statement.outputs[0]] as [Uint8Array, Uint8Array];
      await refused({ ...statement, inputs: [nudge(shapes.inputs[0] as TensorShape, input, cell, by)] });
      await refused({ ...statement, outputs: [nudge(shapes.outputs[0] as TensorShape, output, cell, by)] });
    }
});

test('ZK-22 another batch size, chain, claim, nonce or key hash', async () => {
  const honest = await subject(2);
  const proof = await proofOf(honest);
  for (const batchSize of [1, 3, 4]) {
    const program = planWith(honest.key, batchSize, FEW_QUERIES);
    const statement = { ...honest.statement, batchSize };
    assert.match(
      failureOf(executeVerifier(program, honest.key, statement, proof)),
      /^zk\.(length|header|public)/,
    );
    // As many bytes and the header of the other batch, with rows repeated or left out.
    const resized = proof.slice();
    resized[5] = batchSize;
    assert.match(failureOf(executeVerifier(program, honest.key, statement, resized)), /^zk\.(length|public)/);
  }
  for (const name of ['chainId', 'claimId', 'nonce', 'verifyingKeyHash'] as const)
    for (let at = 0; at < 32; at += 5) {
      const id = honest.statement[name];
      const statement = { ...honest.statement, [name]: id.with(at, (id[at] as number) ^ 0x80) };
      assert.match(failureOf(verdictOn(honest, proof, { statement })), /^zk\.gkr/);
    }
});

test('ZK-26 a registration proof is no inference proof, nor the other way round', async () => {
  const example = mlp([6, 4, 3]);
  const parameters = { blowupBits: 3, queries: 102, grindingBits: 16 };
  const inference = await subjectOf(example, { parameters });
  const { key, model, committed, backend, statement } = inference;
  const program = planRegistration(key);
  const assignment = assign(program, model, []);
  const registration = await proveRegistration({ key, assignment, committed, backend });
  const proof = await proofOf(inference);
  const verifyingKey = encodeVerifyingKey(key);
  assert.equal(verifyZkRegistration({ verifyingKey, proof: registration }).ok, true);
  assertAccepted(verdictOn(inference, proof));
  assert.equal(failureOf(verifyZkRegistration({ verifyingKey, proof })), 'zk.length');
  assert.equal(failureOf(verdictOn(inference, registration)), 'zk.length');
  // Under one program the first frame alone differs.
  const asInference: Program = { ...program, purpose: 'inference' };
  assert.match(
    failureOf(executeVerifier(asInference, key, statementOf(statement), registration)),
    /^zk\.(public|gkr)/,
  );
  const crossed = await proveAssignment({
    program,
    key,
    assignment,
    committed,
    backend,
    statement: statementOf(statement),
  });
  assert.match(failureOf(verifyZkRegistration({ verifyingKey, proof: crossed })), /^zk\.gkr/);
  assert.equal(failureOf(executeVerifier(program, key, statementOf(statement), registration)), 'zk.public');
  assert.equal(failureOf(executeVerifier(inference.program, key, null, proof)), 'zk.public');
});

const statementOf = (statement: ZkStatement): ZkStatement => ({
  ...statement,
  batchSize: 1,
  inputs: [],
  outputs: [],
});

/** The program with another opening, and what it would be long. */
async function withOpening(honest: Subject, key: Partial<VerifyingKey>, queries: number): Promise<Subject> {
  const backend = referenceBackend();
  const changed = { ...honest.key, ...key };
  const program = planWith(changed, honest.statement.batchSize, { ...FEW_QUERIES, queries });
  const weights = program.tensors
    .filter(({ storage }) => storage === 'weight')
    .map(({ id }) => Int32Array.from(honest.assignment.values(id)));
  const dense = weights.map((cells, i) => {
    const { extents } = program.tensors.filter(({ storage }) => storage === 'weight')[
      i
    ] as Program['tensors'][number];
    return cells.slice(
      0,
      extents.reduce((count, extent) => count * extent, 1),
    );
  });
  const committed = await commitProgramWeights({ program, weights: dense, backend });
  return { ...honest, program, committed, backend };
}

/** A network whose weights have no padded cells, so that they can be read back from their cubes. */
function powersOfTwo(): ZkExample {
  const g = createZkGraph();
  const x = g.input('i8', [4], -20, 20);
  const y = g.sum([{ x: g.weight('i8', [4], -5, 5) }, { x }], [4]);
  const example = g.finish([
    g.requantize(y, { shift: 1, offset: 16, window: 5, values: Array.from({ length: 32 }, (_, i) => i) }),
  ]);
  return { ...example, key: { ...example.key, columnBits: 10, folds: [2, 2], finalBits: 6 } };
}

test('ZK-20 a fold layer, a query or a round more or less than the key says', async () => {
  const honest = await subjectOf(powersOfTwo());
  assertAccepted(verdictOn(honest, await proofOf(honest)));
  const shapes: readonly (readonly [Partial<VerifyingKey>, number])[] = [
    [{ folds: [2], finalBits: 8 }, 2],
    [{ folds: [2, 2, 2], finalBits: 4 }, 2],
    [{ folds: [2, 1], finalBits: 7 }, 2],
    [{ folds: [1, 2], finalBits: 7 }, 2],
    [{}, 1],
    [{}, 3],
    [{ folds: [3, 1] }, 2],
  ];
  for (const [key, queries] of shapes) {
    const other = await withOpening(honest, key, queries);
    assert.ok(bytesEqual(other.committed.cap, honest.key.weightCap));
    const proof = await proofOf(other);
    assertAccepted(verdictOn(other, proof));
    assert.notEqual(proof.length, honest.program.proofBytes);
    assert.equal(failureOf(verdictOn(honest, proof)), 'zk.length');
    // Cut or filled up to the right length it is refused all the same.
    const fitted = new Uint8Array(honest.program.proofBytes);
    fitted.set(proof.subarray(0, fitted.length));
    assert.match(failureOf(verdictOn(honest, fitted)), /^zk\./);
  }
});

test('ZK-24 queries are drawn with replacement: equal indices are opened and checked each by itself', async () => {
  // 32 positions and 40 queries: some position is asked twice.
  const made = await subjectOf(smallest());
  const depth = made.program.opening.columnBits + made.program.opening.blowupBits;
  const queries = 2 ** depth + 8;
  const program = planWith(made.key, 1, { ...FEW_QUERIES, queries });
  const few = { ...made, program };
  const proof = await proofOf(few);
  assert.equal(proof.length, program.proofBytes);
  assertAccepted(verdictOn(few, proof));
  const rest = made.program.proofBytes - proofLengthOfQueries(made.program);
  assert.equal(
    proof.length,
    rest + (queries * proofLengthOfQueries(made.program)) / made.program.opening.queries,
  );
});

function proofLengthOfQueries({ opening }: Program): number {
  const depth = opening.columnBits + opening.blowupBits;
  const path = (leaves: number): number => 32 * Math.max(0, leaves - 7);
  let at = depth;
  const layers = opening.folds.reduce((sum, fold) => {
    at -= fold;
    return sum + 20 * (2 ** fold - 1) + path(at);
  }, 0);
  return opening.queries * (4 * (opening.weightColumns + opening.witnessColumns) + 2 * path(depth) + layers);
}

test('ZK-24 a nonce one further has no work, or other queries', async () => {
  const honest = await subject();
  const seen = new Map<string, number>();
  for (const by of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const grind = (seed: Uint8Array, bits: number): Uint8Array => {
      const nonce = honest.backend.grind(seed, bits);
      assert.equal((keyedHash(seed, nonce)[0] as number) >> (8 - bits), 0);
      return nonce.with(0, ((nonce[0] as number) + by) % 256);
    };
    const backend = { ...honest.backend, grind };
    const proof = await proofOf(honest);
    const other = await proofOf({ ...honest, backend, committed: { ...honest.committed, backend } });
    const verdict = verdictOn(honest, other);
    const id = verdict.ok ? 'another nonce with work' : failureOf(verdict);
    seen.set(id, (seen.get(id) ?? 0) + 1);
    // The queries of one nonce under the other.
    const at = proof.length - proofLengthOfQueries(honest.program) - 8;
    const mixed = proof.slice();
    mixed.set(other.subarray(at, at + 8), at);
    assert.match(failureOf(verdictOn(honest, mixed)), /^zk\.(pow|merkle)/);
  }
  assert.ok((seen.get('zk.pow') ?? 0) >= 6, JSON.stringify([...seen]));
});
