/**
 * Each check of the verifier stops a lie that nothing else stops: a proof of something false is refused by that check,
 * and accepted by a verifier that lacks it and nothing else.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Ext,
  extInverse,
  extMul,
  extNeg,
  keyedHash,
  P,
  portableZkKernels,
  type ZkKernels,
} from '@haca/primitives/zk';
import { commitProgramWeights } from '@haca/prover';
import { assign, createIntegerModel, runModel } from '@haca/runtime';
import { CHECKS, type CheckName } from '@haca/verifier/zk-testing';
import {
  addTo,
  falseDigit,
  falseResult,
  falseStatement,
  type Lies,
  NETWORKS,
  solveFor,
  treeOver,
  withLies,
} from './verify-cheats.ts';
import {
  assertAccepted,
  failureOf,
  proofOf,
  type Subject,
  smallest,
  subjectOf,
  verdictOn,
} from './verify-harness.ts';

const shown = new Set<CheckName>();

/** Refused by `name` alone. */
async function assertStoppedBy(name: CheckName, lying: Subject, asked: Subject = lying): Promise<void> {
  assertStopped(name, asked, await proofOf(lying));
}

function assertStopped(name: CheckName, subject: Subject, proof: Uint8Array): void {
  const verdict = verdictOn(subject, proof);
  const failed = verdict.checks.find(({ status }) => status === 'failed');
  assert.equal(failureOf(verdict), CHECKS[name].id, JSON.stringify(failed));
  assert.equal(failed?.expected, CHECKS[name].expected);
  assertAccepted(verdictOn(subject, proof, { omit: new Set([name]) }));
  shown.add(name);
}

for (const [name, network] of Object.entries(NETWORKS))
  test(`ZK-24: ${name}: a false digit in front of an output`, async () => {
    for (const batchSize of [1, 3]) {
      const honest = await subjectOf(network(), { batchSize });
      assertAccepted(verdictOn(honest, await proofOf(honest)));
      await assertStoppedBy(name as CheckName, falseDigit(honest));
    }
  });

test('ZK-24: output: an output that the linear op does not give', async () => {
  for (const batchSize of [1, 3])
    await assertStoppedBy('output', falseStatement(await subjectOf(smallest(), { batchSize })));
});

test('ZK-24: gkr-root: an output that is not in the table', async () => {
  await assertStoppedBy('gkr-root', falseResult(await subjectOf(NETWORKS.rows())));
});

/** Makes the two fractions of the root cancel each other out. */
const cancelled: Lies = {
  top: ([, p1, q0, q1]) => [
    extNeg(extMul(extMul(p1 as Ext, q0 as Ext), extInverse(q1 as Ext))),
    p1 as Ext,
    q0 as Ext,
    q1 as Ext,
  ],
};

/** Repairs the layers up to `levels` by a lie about numerators; the last of them about denominators if asked to. */
async function repairLayers(
  lying: Subject,
  levels: number,
  last: 'numerator' | 'denominator',
): Promise<Lies> {
  let lies = cancelled;
  for (let level = 1; level <= levels; level++) {
    const before = lies;
    const index = level === levels && last === 'denominator' ? 2 : 0;
    lies = await solveFor('gkr-layer', lying, (delta) => ({
      ...before,
      layer: (at, values) =>
        at === level ? addTo(values, index, delta) : (before.layer?.(at, values) ?? values),
    }));
  }
  return lies;
}

test('ZK-24: gkr-layer, numerator, denominator: the same lie carried down the tree', async () => {
  const lying = falseResult(await subjectOf(NETWORKS.rows()));
  await assertStoppedBy('gkr-layer', withLies(lying, cancelled));
  const levels = lying.program.treeBits - 1;
  for (const name of ['numerator', 'denominator'] as const)
    await assertStoppedBy(name, withLies(lying, await repairLayers(lying, levels, name)));
});

test('ZK-24: fold, final, query: a false claim on a weight carried through the opening', async () => {
  const lying = falseDigit(await subjectOf(NETWORKS.rows()));
  let lies = await solveFor('rows', lying, (delta) => ({
    columnValues: (values) => addTo(values, 0, delta),
  }));
  await assertStoppedBy('fold', withLies(lying, lies));
  const { folds } = lying.program.opening;
  const rounds = folds.reduce((sum, fold) => sum + fold, 0);
  for (let round = 0; round < rounds; round++) {
    const before = lies;
    lies = await solveFor('fold', lying, (delta) => ({
      ...before,
      foldRound: (at, line) =>
        at === round ? addTo(line, 0, delta) : (before.foldRound?.(at, line) ?? line),
    }));
  }
  await assertStoppedBy('final', withLies(lying, lies));
  const folded = lies;
  lies = await solveFor('final', lying, (delta) => ({
    ...folded,
    final: (values) => addTo(values, 0, delta),
  }));
  await assertStoppedBy('query', withLies(lying, lies));
});

test('ZK-4: merkle-weights: other weights than those of the key', async () => {
  const honest = await subjectOf(NETWORKS.rows());
  const { program, backend } = honest;
  const other = NETWORKS.rows();
  const weights = other.weights.map((values) => values.map((value) => (value + 1) % 4));
  const committed = await commitProgramWeights({
    program,
    weights: weights as typeof other.weights,
    backend,
  });
  const model = createIntegerModel({ key: other.key, weights: weights as typeof other.weights });
  const { inputs, batchSize } = honest.statement;
  const statement = { ...honest.statement, outputs: runModel(model, inputs, batchSize) };
  assert.notDeepEqual(statement.outputs, honest.statement.outputs);
  await assertStoppedBy('merkle-weights', {
    ...honest,
    committed,
    statement,
    assignment: assign(program, model, inputs),
  });
});

const blank = (cap: Uint8Array): Uint8Array => new Uint8Array(cap.length);

test('ZK-4: merkle-witness: a cap of nothing, so that the witness may be chosen after the challenges', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  const lies: Lies = { witnessTree: (tree) => ({ ...tree, cap: blank(tree.cap) }) };
  await assertStoppedBy('merkle-witness', withLies(honest, lies));
});

test('ZK-4: merkle-fold: the caps of fold layers', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  for (const layer of [0, 1]) {
    const lies: Lies = { foldTree: (at, tree) => (at === layer ? { ...tree, cap: blank(tree.cap) } : tree) };
    await assertStoppedBy('merkle-fold', withLies(honest, lies));
  }
});

test('ZK-24: pow: a nonce without work', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  const idle = (seed: Uint8Array): Uint8Array => {
    const nonce = new Uint8Array(8);
    while ((keyedHash(seed, nonce)[0] as number) < 16) nonce[0] = (nonce[0] as number) + 1;
    return nonce;
  };
  await assertStoppedBy('pow', withLies(honest, { nonce: idle }));
});

test('ZK-1: encoding: rows of words that are not below p', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  const { capBits } = honest.program.opening;
  const lies: Lies = {
    witnessTree: (tree, leaves) => {
      const leafOf = (index: number): Uint8Array => {
        const row = tree.leaf(index).slice();
        const view = new DataView(row.buffer);
        view.setUint32(0, view.getUint32(0, true) + P, true);
        return row;
      };
      return treeOver(leafOf, leaves, capBits);
    },
  };
  await assertStoppedBy('encoding', withLies(honest, lies));
});

test('ZK-24: magic, profile, batch: the header of the bytes', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  const proof = await proofOf(honest);
  for (const [at, name] of [
    [0, 'magic'],
    [3, 'magic'],
    [4, 'profile'],
    [5, 'batch'],
    [8, 'batch'],
  ] as const)
    assertStopped(name, honest, proof.with(at, (proof[at] as number) ^ 2));
});

test('ZK-24: length and trailing stop what is too long, either of them', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  const longer = new Uint8Array([...(await proofOf(honest)), 0]);
  assert.equal(failureOf(verdictOn(honest, longer)), 'zk.length');
  assert.equal(failureOf(verdictOn(honest, longer, { omit: new Set(['length'] as const) })), 'zk.trailing');
  assertAccepted(verdictOn(honest, longer, { omit: new Set(['length', 'trailing'] as const) }));
  shown.add('length').add('trailing');
});

/** The positions that a proof is opened at, as the verifier draws them. */
function queriesOf(subject: Subject, proof: Uint8Array): readonly number[] {
  const { queries, columnBits, blowupBits } = subject.program.opening;
  let drawn = new Uint8Array(0);
  const kernels: ZkKernels = {
    ...portableZkKernels,
    keyedHash: (key, bytes, outBytes) => {
      const out = keyedHash(key, bytes, outBytes);
      if (outBytes === 32 + 4 * queries) drawn = out.slice(32);
      return out;
    },
  };
  verdictOn(subject, proof, { kernels });
  const view = new DataView(drawn.buffer);
  return Array.from(
    { length: queries },
    (_, i) => view.getUint32(4 * i, true) % 2 ** (columnBits + blowupBits),
  );
}

/** Of a layer, one byte of one leaf is another, in the tree as in what is opened. */
function falseLeaf(
  subject: Subject,
  layer: number,
  leafCount: number,
  index: number,
  at: number,
  bits: number,
): Subject {
  const foldTree: Lies['foldTree'] = (which, tree) => {
    if (which !== layer) return tree;
    const leafOf = (leaf: number): Uint8Array => {
      const bytes = tree.leaf(leaf);
      return leaf === index ? bytes.with(at, (bytes[at] as number) ^ bits) : bytes;
    };
    return treeOver(leafOf, leafCount, subject.program.opening.capBits);
  };
  return withLies(subject, { foldTree });
}

test('ZK-24: one false leaf is refused if, and only if, a query meets it: every query is checked in every layer', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  const { columnBits, blowupBits } = honest.program.opening;
  const met = [0, 0];
  for (const [layer, flips] of [[1], [1, 2, 4, 8]].entries()) {
    const leafCount = 2 ** (columnBits + blowupBits - 1 - layer);
    for (let index = 0; index < leafCount; index++)
      for (const at of [0, 20])
        for (const bits of flips) {
          const subject = falseLeaf(honest, layer, leafCount, index, at, bits);
          const proof = await proofOf(subject);
          const hits = queriesOf(subject, proof).map((query) => query % leafCount === index);
          assert.equal(verdictOn(subject, proof).ok, !hits.includes(true));
          for (const [query, hit] of hits.entries()) if (hit) met[query] = (met[query] as number) + 1;
        }
  }
  assert.ok(
    met.every((count) => count >= 5),
    `met by the first query ${met[0]} times, by the second ${met[1]} times`,
  );
});

test('ZK-19: a program with a slot or a coordinate that no step writes is executed by nobody', async () => {
  const honest = await subjectOf(NETWORKS.contract());
  for (const name of ['slots', 'coordinates'] as const) {
    const program = { ...honest.program, [name]: honest.program[name] + 1 };
    const subject = { ...honest, program };
    const { checks } = verdictOn(subject, await proofOf(subject));
    assert.deepEqual(
      checks.filter(({ status }) => status === 'failed').map(({ id, code }) => [id, code]),
      [['zk.internal', 'E_PLAN']],
    );
  }
});

/** Checked before the protocol begins or impossible to bring about from outside; each has a test of its own. */
const ELSEWHERE: readonly CheckName[] = [
  'key',
  'key-hash',
  'ids',
  'public-count',
  'public-values',
  'purpose',
  'batch-statement',
  'zero-denominator',
  'zero-coordinate',
  'plan',
];

test('ZK-24: every check is shown to be needed', () => {
  const names = Object.keys(CHECKS) as CheckName[];
  assert.deepEqual(names.filter((name) => !shown.has(name)).toSorted(), ELSEWHERE.toSorted());
});
