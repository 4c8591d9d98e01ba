/**
 * The error terms of section 10 of the specification, held against a model over small fields: false claims by the best
 * prover that is known, tried with all challenges, are accepted no more often than the terms say.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { algebraicError } from '@haca/circuit';
import { createRandom } from '@haca/testkit';
import {
  acceptedProducts,
  acceptedSums,
  allOf,
  type Field,
  type Lookup,
  leavesOf,
  levelsOf,
  oneOf,
  smallField,
} from './cheats/small-field.ts';

const cells = (random: () => number, field: Field, count: number, least = 0): number[] =>
  Array.from({ length: count }, () => least + Math.floor(random() * (field.p - least)));

test('ZK-28 sumcheck over 97 elements: all challenges, n up to 3', (t) => {
  const field = smallField(97);
  const random = createRandom(1);
  for (const n of [1, 2, 3])
    for (const off of [1, 5, 96]) {
      const [a, b] = [cells(random, field, 2 ** n), cells(random, field, 2 ** n)];
      assert.ok(acceptedProducts(field, a, b, 0, oneOf(field, random)) === 1, 'the truth');
      if (n === 3 && off !== 1) continue;
      const share = acceptedProducts(field, a, b, off, allOf(field));
      const bound = (2 * n) / field.p;
      t.diagnostic(`n ${n}: ${share.toFixed(4)} of at most ${bound.toFixed(4)}`);
      assert.ok(share <= bound, `${share} > ${bound}`);
      // The prover of the model is no straw man: it uses all roots that it may have.
      assert.ok(share > 0.9 * bound, `${share} < ${bound}`);
    }
});

/** The term of the tree as the program's bound has it: what a layer more adds. */
function treeError(bits: number): number {
  const shape = { blowupBits: 1, queries: 1, grindingBits: 0, columnBits: 1, selectorBits: 0, finalBits: 1 };
  const rest = { claims: 0, sumcheckDegrees: 0, freshCoordinates: 0 };
  const without = 5n * 2n ** BigInt(bits) + 2n;
  return Number(algebraicError({ ...shape, ...rest, treeBits: bits }) - without);
}

test('ZK-28 a tree of two leaves: a false root is accepted where its one challenge lets it', () => {
  const field = smallField(97);
  const share = acceptedSums(field, { numerators: [1, 5], denominators: [3, 7] }, allOf(field));
  assert.equal(share, 1 / 97);
  assert.equal(treeError(1), 2);
  assert.equal(treeError(3), 2 + 5 + 8);
});

test('ZK-28 the tree of fractions: all challenges over 31 elements, random ones over 997', (t) => {
  const small = smallField(31);
  const random = createRandom(2);
  for (let run = 0; run < 3; run++) {
    const leaves = { numerators: cells(random, small, 4), denominators: cells(random, small, 4, 1) };
    const [top] = levelsOf(small, leaves);
    const [p0, p1] = top?.numerators as [number, number];
    const [q0, q1] = top?.denominators as [number, number];
    if (small.reduce(p0 * q1 + p1 * q0) === 0) continue;
    const share = acceptedSums(small, leaves, allOf(small));
    t.diagnostic(`n 2: ${share.toFixed(4)} of at most ${(treeError(2) / 31).toFixed(4)}`);
    assert.ok(share > 0 && share <= treeError(2) / small.p, `${share}`);
  }
  const field = smallField(997);
  for (const bits of [2, 3, 4]) {
    let accepted = 0;
    const runs = 4_000;
    for (let run = 0; run < runs; run++) {
      const leaves = {
        numerators: cells(random, field, 2 ** bits),
        denominators: cells(random, field, 2 ** bits, 1),
      };
      accepted += acceptedSums(field, leaves, oneOf(field, random));
    }
    const bound = treeError(bits) / field.p + 1 / field.p;
    const noise = 4 * Math.sqrt(bound / runs);
    t.diagnostic(
      `n ${bits}: ${(accepted / runs).toFixed(4)} of at most ${bound.toFixed(4)} + ${noise.toFixed(4)}`,
    );
    assert.ok(accepted / runs <= bound + noise);
  }
});

/** One of two or three lookups is in no row, with the multiplicities given. */
const falseLookup = (field: Field, random: () => number, bits: number): Lookup => {
  const table = Array.from({ length: 2 ** (bits - 1) }, (_, i): readonly [number, number] => [
    i,
    (i * i) % field.p,
  ]);
  const rows = Array.from(
    { length: 2 ** (bits - 1) - 1 },
    () => table[Math.floor(random() * table.length)] as readonly [number, number],
  );
  const multiplicities = table.map((row) => rows.filter((each) => each === row).length);
  const lie: readonly [number, number] = [2, 5];
  return { lookups: [...rows, lie], table, multiplicities };
};

test('ZK-28 lookups over 97 elements: all λ and γ, honest and any other counts', (t) => {
  const field = smallField(97);
  const random = createRandom(3);
  for (const bits of [2, 3]) {
    let most = 0;
    for (let run = 0; run < 24; run++) {
      const lookup = falseLookup(field, random, bits);
      // Counts may be any residues: the count of the lie may be put on any row, or spread.
      const multiplicities = lookup.multiplicities.map((count, i) =>
        run % 3 === 0
          ? count
          : run % 3 === 1
            ? count + (i === run % 4 ? 1 : 0)
            : Math.floor(random() * field.p),
      );
      let zeros = 0;
      for (let lambda = 0; lambda < field.p; lambda++)
        for (let gamma = 0; gamma < field.p; gamma++) {
          const leaves = leavesOf(field, { ...lookup, multiplicities }, lambda, gamma, bits);
          if (leaves === null) continue;
          const sum = leaves.numerators.reduce(
            (total, n, i) => field.reduce(total + n * field.inverse(leaves.denominators[i] as number)),
            0,
          );
          if (sum === 0) zeros++;
        }
      most = Math.max(most, zeros / field.p ** 2);
    }
    const bound = (5 * 2 ** bits) / field.p;
    t.diagnostic(`n ${bits}: ${most.toFixed(4)} of at most ${bound.toFixed(4)}`);
    assert.ok(most > 0 && most <= bound, `${most} > ${bound}`);
  }
});

test('ZK-28 the whole argument over 97 elements: a false lookup, random challenges', (t) => {
  const field = smallField(97);
  const random = createRandom(4);
  for (const bits of [2, 3]) {
    const runs = 20_000;
    let accepted = 0;
    for (let run = 0; run < runs; run++) {
      const lookup = falseLookup(field, random, bits);
      const [lambda, gamma] = cells(random, field, 2) as [number, number];
      const leaves = leavesOf(field, lookup, lambda, gamma, bits);
      if (leaves !== null) accepted += acceptedSums(field, leaves, oneOf(field, random));
    }
    const bound = (5 * 2 ** bits + treeError(bits)) / field.p;
    t.diagnostic(`n ${bits}: ${(accepted / runs).toFixed(4)} of at most ${bound.toFixed(4)}`);
    assert.ok(accepted > 0 && accepted / runs <= bound, `${accepted / runs} > ${bound}`);
  }
  // And the truth is accepted whatever the challenges are.
  for (let run = 0; run < 500; run++) {
    const table: Lookup['table'] = [
      [0, 0],
      [1, 1],
    ];
    const lookup: Lookup = {
      lookups: [
        [1, 1],
        [1, 1],
      ],
      table,
      multiplicities: [0, 2],
    };
    const [lambda, gamma] = cells(random, field, 2) as [number, number];
    const leaves = leavesOf(field, lookup, lambda, gamma, 2);
    if (leaves !== null) assert.equal(acceptedSums(field, leaves, oneOf(field, random)), 1);
  }
});
