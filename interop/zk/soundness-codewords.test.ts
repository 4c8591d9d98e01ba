/**
 * Words that are no codewords. With few queries, so that acceptance can be counted: how often a proof with corrupted rows,
 * or with a final vector that is false but agrees with the fold in as many places as it can, is accepted.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SecurityParameters } from '@haca/circuit';
import { type Ext, extFromBase, extMul, mul, P, rootOfUnity, sub } from '@haca/primitives/zk';
import type { CommittedTree } from '@haca/prover';
import { createRandom, type ZkExample } from '@haca/testkit';
import { addTo, falseDigit, type Lies, NETWORKS, solveFor, treeOver, withLies } from './verify-cheats.ts';
import { failureOf, proofOf, type Subject, smallest, subjectOf, verdictOn } from './verify-harness.ts';

const THREE: SecurityParameters = { blowupBits: 1, queries: 3, grindingBits: 0 };
const RUNS = 120;

/** Four standard deviations of a count of acceptances: one test in ten thousand fails by chance, and seeds are fixed. */
const noise = (share: number, runs: number): number => 4 * Math.sqrt((share * (1 - share)) / runs);

function network(): ZkExample {
  const example = smallest();
  return { ...example, key: { ...example.key, columnBits: 6, folds: [2, 1], finalBits: 3 } };
}

interface Corrupted extends CommittedTree {
  /** Whether a corrupted row was opened since the last call. */
  readonly wasMet: () => boolean;
}

/** A share of the rows with another first word; the paths are those of the corrupted rows. */
function corrupted(tree: CommittedTree, leaves: number, share: number, capBits: number): Corrupted {
  const random = createRandom(Math.round(1_000 * share));
  const order = Array.from({ length: leaves }, (_, i) => ({ i, at: random() })).sort((a, b) => a.at - b.at);
  const bad = new Set(order.slice(0, Math.round(share * leaves)).map(({ i }) => i));
  let met = false;
  const leafOf = (index: number): Uint8Array => {
    const row = tree.leaf(index).slice();
    if (!bad.has(index)) return row;
    const view = new DataView(row.buffer);
    view.setUint32(0, (view.getUint32(0, true) + 1 + index) % P, true);
    met = true;
    return row;
  };
  const over = treeOver(leafOf, leaves, capBits);
  met = false;
  const wasMet = (): boolean => {
    const before = met;
    met = false;
    return before;
  };
  return { ...over, wasMet };
}

const nonceOf = (run: number): Uint8Array => new Uint8Array(32).fill(run % 256).fill(run >> 8, 0, 1);

/** Accepted are exactly the proofs whose queries meet no corrupted row. */
async function acceptance(
  honest: Subject,
  corrupt: (subject: Subject) => { readonly subject: Subject; readonly wasMet: () => boolean },
): Promise<number> {
  let accepted = 0;
  for (let run = 0; run < RUNS; run++) {
    const statement = { ...honest.statement, nonce: nonceOf(run) };
    const { subject, wasMet } = corrupt({ ...honest, statement });
    const verdict = verdictOn(subject, await proofOf(subject));
    assert.equal(verdict.ok, !wasMet());
    if (verdict.ok) accepted++;
    else assert.equal(failureOf(verdict), 'zk.merkle');
  }
  return accepted / RUNS;
}

/** The prover commits to a corrupted witness. */
function corruptWitness(subject: Subject, share: number): ReturnType<Parameters<typeof acceptance>[1]> {
  let made: Corrupted | undefined;
  const { capBits } = subject.program.opening;
  const lies: Lies = {
    witnessTree: (tree, leaves) => {
      made = corrupted(tree, leaves, share, capBits);
      return made;
    },
  };
  return { subject: withLies(subject, lies), wasMet: () => made?.wasMet() === true };
}

/** Whoever registers the model commits to corrupted weights. */
function corruptWeights(subject: Subject, share: number): ReturnType<Parameters<typeof acceptance>[1]> {
  const { capBits, columnBits, blowupBits } = subject.program.opening;
  const tree = corrupted(subject.committed.tree, 2 ** (columnBits + blowupBits), share, capBits);
  const { cap, wasMet } = tree;
  const key = { ...subject.key, weightCap: cap };
  return { subject: { ...subject, key, committed: { ...subject.committed, tree, cap } }, wasMet };
}

for (const [root, corrupt] of [
  ['witness', corruptWitness],
  ['weights', corruptWeights],
] as const)
  test(`ZK-4 corrupted rows of the ${root} are met by each query as often as they are many`, async (t) => {
    const honest = await subjectOf(network(), { parameters: THREE });
    const { blowupBits, queries } = honest.program.opening;
    for (const share of [0.125, 0.375, 0.625]) {
      const found = await acceptance(honest, (subject) => corrupt(subject, share));
      const expected = (1 - share) ** queries;
      t.diagnostic(`${share}: accepted ${found.toFixed(3)}, expected ${expected.toFixed(3)}`);
      assert.ok(Math.abs(found - expected) <= noise(expected, RUNS), `${found}, expected ${expected}`);
      const bound = ((1 + 2 ** -blowupBits) / 2) ** queries;
      if (share >= (1 - 2 ** -blowupBits) / 2) assert.ok(found <= bound, `${found} > ${bound}`);
    }
  });

/** Coefficients, in the order of a column, of the polynomial of degree 3 that is zero at w^0, w^1 and w^2. */
function vanishing(root: number): number[] {
  let coefficients = [1];
  for (let i = 0, x = 1; i < 3; i++, x = mul(x, root)) {
    const shifted = [0, ...coefficients];
    coefficients = shifted.map((each, k) => sub(each, mul(x, coefficients[k] ?? 0)));
  }
  const [c0, c1, c2, c3] = coefficients as [number, number, number, number];
  return [c0, c2, c1, c3];
}

test('ZK-24 a false final vector passes a query where it agrees with the fold, and nowhere else', async (t) => {
  const one: SecurityParameters = { blowupBits: 1, queries: 1, grindingBits: 0 };
  const honest = await subjectOf(NETWORKS.rows(), { parameters: one });
  const { columnBits, finalBits, blowupBits, folds } = honest.program.opening;
  assert.deepEqual([columnBits, finalBits, folds], [4, 2, [1, 1]]);
  const size = 2 ** (finalBits + blowupBits);
  const error = vanishing(rootOfUnity(finalBits + blowupBits)).map(extFromBase);
  const runs = 60;
  let accepted = 0;
  for (let run = 0; run < runs; run++) {
    const statement = { ...honest.statement, nonce: nonceOf(run) };
    const lying = falseDigit({ ...honest, statement });
    let lies = await solveFor('rows', lying, (delta) => ({
      columnValues: (values) => addTo(values, 0, delta),
    }));
    for (const round of [0, 1]) {
      const before = lies;
      lies = await solveFor('fold', lying, (delta) => ({
        ...before,
        foldRound: (at, line) =>
          at === round ? addTo(line, 0, delta) : (before.foldRound?.(at, line) ?? line),
      }));
    }
    const folded = lies;
    lies = await solveFor('final', lying, (delta) => ({
      ...folded,
      final: (values) =>
        values.map((value, i) => addTo([value], 0, extMul(delta, error[i] as Ext))[0] as Ext),
    }));
    const subject = withLies(lying, lies);
    const verdict = verdictOn(subject, await proofOf(subject));
    if (verdict.ok) accepted++;
    else assert.equal(failureOf(verdict), 'zk.query');
  }
  const expected = (2 ** finalBits - 1) / size;
  const bound = (1 + 2 ** -blowupBits) / 2;
  t.diagnostic(`accepted ${(accepted / runs).toFixed(3)}, expected ${expected}, bound ${bound}`);
  assert.ok(Math.abs(accepted / runs - expected) <= noise(expected, runs));
  assert.ok(accepted / runs <= bound);
});
