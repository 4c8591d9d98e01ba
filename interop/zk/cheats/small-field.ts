/**
 * The lookup argument in miniature, over a prime field so small that all challenges can be tried: fractions, their tree,
 * its layers by sumcheck. Written from the specification alone; no code of the verifier is in it. The prover lies as well
 * as it can: where a claim is false, what it sends differs from the truth by a polynomial with as many roots as its
 * degree allows.
 */

export interface Field {
  readonly p: number;
  readonly reduce: (value: number) => number;
  /** Of zero: zero. */
  readonly inverse: (value: number) => number;
}

export function smallField(p: number): Field {
  const reduce = (value: number): number => ((value % p) + p) % p;
  const power = (value: number): number => {
    let result = 1;
    for (let i = 0; i < p - 2; i++) result = (result * value) % p;
    return result;
  };
  const inverses = Array.from({ length: p }, (_, value) => (value === 0 ? 0 : power(value)));
  return { p, reduce, inverse: (value) => inverses[reduce(value)] as number };
}

/** Averages what follows over challenges: over all of them, or over one drawn at random. */
export type Challenges = (next: (challenge: number) => number) => number;

export const allOf =
  ({ p }: Field): Challenges =>
  (next) => {
    let sum = 0;
    for (let challenge = 0; challenge < p; challenge++) sum += next(challenge);
    return sum / p;
  };

export const oneOf =
  ({ p }: Field, random: () => number): Challenges =>
  (next) =>
    next(Math.floor(random() * p));

/** Binds the first variable, the most significant bit of the index. */
function bind({ reduce }: Field, values: readonly number[], r: number): number[] {
  const half = values.length / 2;
  return Array.from({ length: half }, (_, i) =>
    reduce((values[i] as number) + r * ((values[i + half] as number) - (values[i] as number))),
  );
}

/** A polynomial of degree 2 by its values at 0, 1 and 2. */
type Quadratic = readonly [number, number, number];

function at({ reduce, inverse }: Field, [y0, y1, y2]: Quadratic, x: number): number {
  const second = reduce((y2 - 2 * y1 + y0) * inverse(2));
  return reduce(y0 + x * reduce(y1 - y0 - second) + second * reduce(x * x));
}

/** What a prover sends so that w0 · s(0) + w1 · s(1) is the claim: the truth, or with two roots of the difference to it. */
function message(field: Field, truth: Quadratic, claim: number, w0: number, w1: number): Quadratic {
  const { reduce, inverse } = field;
  const difference = reduce(claim - w0 * truth[0] - w1 * truth[1]);
  if (difference === 0) return truth;
  for (let root = 2; ; root++) {
    const shape = (x: number): number => reduce((x - root) * (x - root - 1));
    const total = reduce(w0 * shape(0) + w1 * shape(1));
    if (total === 0) continue;
    const scale = reduce(difference * inverse(total));
    const lie = (x: 0 | 1 | 2): number => reduce(truth[x] + scale * shape(x));
    return [lie(0), lie(1), lie(2)];
  }
}

/** The share of challenges for which a claim on Σ a·b is accepted that is `off` the truth. */
export function acceptedProducts(
  field: Field,
  a: readonly number[],
  b: readonly number[],
  off: number,
  challenges: Challenges,
): number {
  const { reduce } = field;
  const productAt = (left: readonly number[], right: readonly number[]): number =>
    left.reduce((sum, each, i) => reduce(sum + each * (right[i] as number)), 0);
  const round = (left: readonly number[], right: readonly number[], claim: number): number => {
    if (left.length === 1) return claim === productAt(left, right) ? 1 : 0;
    const value = (x: number): number => productAt(bind(field, left, x), bind(field, right, x));
    const sent = message(field, [value(0), value(1), value(2)], claim, 1, 1);
    if (reduce(sent[0] + sent[1]) !== claim) return 0;
    return challenges((c) => round(bind(field, left, c), bind(field, right, c), at(field, sent, c)));
  };
  return round(a, b, reduce(productAt(a, b) + off));
}

export interface Fractions {
  readonly numerators: readonly number[];
  readonly denominators: readonly number[];
}

/** Levels of the tree, the two nodes below the root first; node i is the sum of the nodes i and i + half below. */
export function levelsOf({ reduce }: Field, leaves: Fractions): Fractions[] {
  const levels = [leaves];
  for (let { numerators: n, denominators: d } = leaves; n.length > 2; ) {
    const half = n.length / 2;
    const indices = Array.from({ length: half }, (_, i) => i);
    const v = (list: readonly number[], i: number): number => list[i] as number;
    const level = {
      numerators: indices.map((i) => reduce(v(n, i) * v(d, i + half) + v(n, i + half) * v(d, i))),
      denominators: indices.map((i) => reduce(v(d, i) * v(d, i + half))),
    };
    levels.unshift(level);
    ({ numerators: n, denominators: d } = level);
  }
  return levels;
}

interface Children {
  readonly p0: number;
  readonly p1: number;
  readonly q0: number;
  readonly q1: number;
}

/** Children with p0 · q1 + p1 · q0 + λ · q0 · q1 = claim: the true ones, or with one numerator changed. */
function children(
  field: Field,
  { p0, p1, q0, q1 }: Children,
  lambda: number,
  claim: number,
): Children | null {
  const { reduce, inverse } = field;
  const difference = reduce(claim - (p0 * q1 + p1 * q0 + lambda * reduce(q0 * q1)));
  if (difference === 0) return { p0, p1, q0, q1 };
  if (q1 !== 0) return { p0: reduce(p0 + difference * inverse(q1)), p1, q0, q1 };
  if (q0 !== 0) return { p0, p1: reduce(p1 + difference * inverse(q0)), q0, q1 };
  return null;
}

/** The share of challenges for which the sum of fractions is accepted as zero; 1 where it is. */
export function acceptedSums(field: Field, leaves: Fractions, challenges: Challenges): number {
  const { reduce } = field;
  const levels = levelsOf(field, leaves);
  const [top] = levels as [Fractions];
  const [p0, p1] = top.numerators as [number, number];
  const [q0, q1] = top.denominators as [number, number];
  const root = children(field, { p0, p1, q0, q1 }, 0, 0);
  if (root === null || reduce(root.q0 * root.q1) === 0) return 0;
  return challenges((mu) => descend(field, levels, 1, [mu], lineAt(field, root, mu), challenges));
}

const lineAt = ({ reduce }: Field, { p0, p1, q0, q1 }: Children, mu: number): { p: number; q: number } => ({
  p: reduce(p0 + mu * (p1 - p0)),
  q: reduce(q0 + mu * (q1 - q0)),
});

/** From claims p, q on a level at a point to the leaves, where they are compared. */
function descend(
  field: Field,
  levels: readonly Fractions[],
  level: number,
  point: readonly number[],
  { p, q }: { readonly p: number; readonly q: number },
  challenges: Challenges,
): number {
  const { reduce } = field;
  const below = levels[level];
  if (below === undefined) {
    const leaves = levels[levels.length - 1] as Fractions;
    const value = (list: readonly number[]): number =>
      point.reduce((rest: readonly number[], r) => bind(field, rest, r), list)[0] as number;
    return value(leaves.numerators) === p && value(leaves.denominators) === q ? 1 : 0;
  }
  const half = below.numerators.length / 2;
  const parts = [
    below.numerators.slice(0, half),
    below.numerators.slice(half),
    below.denominators.slice(0, half),
    below.denominators.slice(half),
  ];
  return challenges((lambda) => {
    const rounds = (
      left: readonly (readonly number[])[],
      bound: readonly number[],
      claim: number,
    ): number => {
      const i = bound.length;
      if (i === point.length) {
        const [p0, p1, q0, q1] = left.map(([value]) => value) as [number, number, number, number];
        const sent = children(field, { p0, p1, q0, q1 }, lambda, claim);
        if (sent === null) return 0;
        return challenges((mu) =>
          descend(field, levels, level + 1, [mu, ...bound], lineAt(field, sent, mu), challenges),
        );
      }
      const value = (x: number): number =>
        innerSum(
          field,
          left.map((each) => bind(field, each, x)),
          point.slice(i + 1),
          lambda,
        );
      const r = point[i] as number;
      const sent = message(field, [value(0), value(1), value(2)], claim, reduce(1 - r), r);
      return challenges((c) =>
        rounds(
          left.map((each) => bind(field, each, c)),
          [...bound, c],
          at(field, sent, c),
        ),
      );
    };
    return rounds(parts, [], reduce(p + lambda * q));
  });
}

/** Σ eq(point, x) (p0 q1 + p1 q0 + λ q0 q1)(x). */
function innerSum(
  field: Field,
  [p0, p1, q0, q1]: readonly (readonly number[])[],
  point: readonly number[],
  lambda: number,
): number {
  const { reduce } = field;
  const values = Array.from({ length: 2 ** point.length }, (_, x) => {
    const v = (list: readonly number[] | undefined): number => (list as readonly number[])[x] as number;
    return reduce(v(p0) * v(q1) + v(p1) * v(q0) + lambda * reduce(v(q0) * v(q1)));
  });
  return point.reduce((rest: number[], r) => bind(field, rest, r), values)[0] as number;
}

/** A lookup of pairs in a table of pairs. */
export interface Lookup {
  readonly lookups: readonly (readonly [number, number])[];
  readonly table: readonly (readonly [number, number])[];
  readonly multiplicities: readonly number[];
}

/** The leaves under λ and γ; null where a denominator is zero, which a verifier refuses. Unused leaves are 0/1. */
export function leavesOf(
  { reduce }: Field,
  { lookups, table, multiplicities }: Lookup,
  lambda: number,
  gamma: number,
  bits: number,
): Fractions | null {
  const denominator = ([c0, c1]: readonly [number, number]): number => reduce(gamma - c0 - lambda * c1);
  const denominators = [...lookups, ...table].map(denominator);
  if (denominators.includes(0)) return null;
  const numerators = [...lookups.map(() => 1), ...multiplicities.map((count) => reduce(-count))];
  while (numerators.length < 2 ** bits) {
    numerators.push(0);
    denominators.push(1);
  }
  return { numerators, denominators };
}
