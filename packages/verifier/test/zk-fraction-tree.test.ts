/** The fraction tree against a prover that writes every level out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  eqList,
  evaluateMultilinear,
  extAdd,
  extInverse,
  extIsZero,
  extMul,
  extNeg,
  extSub,
  extVectorOf,
  LABELS,
  P,
} from '@haca/primitives/zk';
import fc from 'fast-check';
import { createGate, Rejection } from '../src/zk/checks.ts';
import { type LeafClaim, verifyFractionTree } from '../src/zk/fraction-tree.ts';
import type { StepReader } from '../src/zk/proof-reader.ts';

const residue = fc.nat(P - 1);
const element: fc.Arbitrary<Ext> = fc.tuple(residue, residue, residue, residue, residue);

interface Level {
  readonly p: readonly Ext[];
  readonly q: readonly Ext[];
}

const above = ({ p, q }: Level): Level => {
  const half = p.length / 2;
  const at = (values: readonly Ext[], i: number): Ext => values[i] as Ext;
  const indices = Array.from({ length: half }, (_, i) => i);
  return {
    p: indices.map((i) => extAdd(extMul(at(p, i), at(q, i + half)), extMul(at(p, i + half), at(q, i)))),
    q: indices.map((i) => extMul(at(q, i), at(q, i + half))),
  };
};

/** Levels 1 (two nodes) to n (the leaves). */
function levelsOf(leaves: Level): Level[] {
  const levels = [leaves];
  while ((levels[0] as Level).p.length > 2) levels.unshift(above(levels[0] as Level));
  return levels;
}

const bind = (values: readonly Ext[], r: Ext): Ext[] => {
  const half = values.length / 2;
  return values.slice(0, half).map((low, i) => extAdd(low, extMul(r, extSub(values[i + half] as Ext, low))));
};

/** Answers the verifier with honest messages; challenges are taken from a list. */
function provingReader(levels: readonly Level[], challenges: readonly Ext[]): StepReader {
  let level = 0;
  let next = 0;
  let tables: Ext[][] = [];
  let eq: Ext[] = [];
  let lambda = EXT_ZERO;
  let below: Ext[] = [];
  const halves = ({ p, q }: Level): Ext[][] => {
    const half = p.length / 2;
    return [p.slice(0, half), p.slice(half), q.slice(0, half), q.slice(half)];
  };
  const g = ([p0, p1, q0, q1]: readonly Ext[]): Ext =>
    extAdd(
      extAdd(extMul(p0 as Ext, q1 as Ext), extMul(p1 as Ext, q0 as Ext)),
      extMul(lambda, extMul(q0 as Ext, q1 as Ext)),
    );
  const round = (): Ext[] => {
    // Weights of the coordinates after the current one; the current factor of eq is left out.
    const half = (tables[0] as Ext[]).length / 2;
    const rest = eq.slice(1);
    const weights = eqList(rest);
    let atZero = EXT_ZERO;
    let leading = EXT_ZERO;
    for (let i = 0; i < half; i++) {
      const low = tables.map((table) => table[i] as Ext);
      const slope = tables.map((table, k) => extSub(table[i + half] as Ext, low[k] as Ext));
      atZero = extAdd(atZero, extMul(weights[i] as Ext, g(low)));
      leading = extAdd(leading, extMul(weights[i] as Ext, g(slope)));
    }
    return [atZero, leading];
  };
  return {
    readExts: (label, count) => {
      if (label === LABELS.GKR_ROUND) {
        assert.equal(count, 2);
        return round();
      }
      assert.equal(label, LABELS.GKR_VALUES);
      if (level === 0) tables = halves(levels[0] as Level);
      return tables.map((table) => {
        assert.equal(table.length, 1);
        return table[0] as Ext;
      });
    },
    challengeExt: (label) => {
      const challenge = challenges[next++] as Ext;
      if (label === LABELS.GKR_LAMBDA) {
        lambda = challenge;
        tables = halves(levels[level] as Level);
        eq = below;
        below = [];
      } else if (label === LABELS.GKR_ROUND) {
        tables = tables.map((table) => bind(table, challenge));
        eq = eq.slice(1);
        below = [...below, challenge];
      } else {
        level++;
        below = [challenge, ...below];
      }
      return challenge;
    },
    challengeExts: () => [],
  };
}

const verify = (leaves: Level, bits: number, challenges: readonly Ext[]): LeafClaim =>
  verifyFractionTree(provingReader(levelsOf(leaves), challenges), createGate(), bits);

const rejectedWith =
  (id: string) =>
  (error: unknown): boolean =>
    error instanceof Rejection && error.check.id === id;

/** Random leaves whose fractions add up to zero: the last numerator is what is missing. */
const zeroSum = (bits: number): fc.Arbitrary<Level> =>
  fc
    .tuple(
      fc.array(element, { minLength: 2 ** bits, maxLength: 2 ** bits }),
      fc.array(element, { minLength: 2 ** bits, maxLength: 2 ** bits }),
    )
    .map(([p, drawn]) => {
      const q = drawn.map((value) => (extIsZero(value) ? EXT_ONE : value));
      const last = q.length - 1;
      const sum = p
        .slice(0, last)
        .map((value, i) => extMul(value, extInverse(q[i] as Ext)))
        .reduce(extAdd, EXT_ZERO);
      return { p: p.with(last, extNeg(extMul(sum, q[last] as Ext))), q };
    });

const cases = fc.integer({ min: 1, max: 5 }).chain((bits) =>
  fc.record({
    bits: fc.constant(bits),
    leaves: zeroSum(bits),
    challenges: fc.array(element, { minLength: 40, maxLength: 40 }),
  }),
);

test('fractions that add up to zero lead to the extensions of the leaves at the point of the challenges', () => {
  fc.assert(
    fc.property(cases, ({ bits, leaves, challenges }) => {
      const { point, numerator, denominator } = verify(leaves, bits, challenges);
      assert.equal(point.length, bits);
      assert.deepEqual(numerator, evaluateMultilinear(extVectorOf(leaves.p), point));
      assert.deepEqual(denominator, evaluateMultilinear(extVectorOf(leaves.q), point));
    }),
    { numRuns: 40 },
  );
});

test('another sum is refused at the root', () => {
  fc.assert(
    fc.property(cases, fc.nat(), ({ bits, leaves, challenges }, at) => {
      const index = at % leaves.p.length;
      const p = leaves.p.with(index, extAdd(leaves.p[index] as Ext, EXT_ONE));
      assert.throws(() => verify({ ...leaves, p }, bits, challenges), rejectedWith('zk.gkr-root'));
    }),
    { numRuns: 20 },
  );
});

test('a denominator of zero is refused, also where two of them hide any numerator', () => {
  fc.assert(
    fc.property(cases, fc.nat(), ({ bits, leaves, challenges }, at) => {
      const other = 1 + (at % (leaves.q.length - 1));
      const isDegenerate = rejectedWith('zk.degenerate');
      const one = { p: leaves.p.map(() => EXT_ZERO), q: leaves.q.with(0, EXT_ZERO) };
      assert.throws(() => verify(one, bits, challenges), isDegenerate);
      const two = { p: leaves.p.with(0, EXT_ONE), q: leaves.q.with(0, EXT_ZERO).with(other, EXT_ZERO) };
      assert.throws(() => verify(two, bits, challenges), isDegenerate);
    }),
    { numRuns: 20 },
  );
});

test('a coordinate of zero is refused: it would leave a round free', () => {
  fc.assert(
    fc.property(zeroSum(3), fc.array(element, { minLength: 20, maxLength: 20 }), (leaves, challenges) => {
      // The first challenge is the first layer's point.
      assert.throws(() => verify(leaves, 3, challenges.with(0, EXT_ZERO)), rejectedWith('zk.degenerate'));
    }),
    { numRuns: 5 },
  );
});
