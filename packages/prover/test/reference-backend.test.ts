/** The reference backend against definitions: sums over cells written out, nothing shared with its code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  codeword,
  codewordExt,
  decodeExts,
  EXT_BYTES,
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  eqList,
  eqPoint,
  extAdd,
  extFromBase,
  extInverse,
  extMul,
  extNeg,
  extSub,
  extVectorToList,
  fromSigned,
  getExt,
  K_LEAF,
  keyedHash,
  nextClaim,
  portableZkKernels,
  verifyPaths,
} from '@haca/primitives/zk';
import type { AxisUse, CellMask, LeafSegment, ProductSumcheck, Vector } from '../src/backend.ts';
import { referenceBackend } from '../src/reference-backend.ts';
import { type Random, randomOf, testConformance } from './backend-conformance.ts';

const backend = referenceBackend();

// With itself: that the scenarios run, release and repeat.
testConformance(backend, referenceBackend());

const lifted = (vector: Vector): Ext[] => extVectorToList(backend.download(vector));
const sumOf = (values: readonly Ext[]): Ext => values.reduce(extAdd, EXT_ZERO);
const productOf = (values: readonly Ext[]): Ext => values.reduce(extMul, EXT_ONE);

/** Index of a cell along each axis. */
function indicesOf(cell: number, axisBits: readonly number[]): number[] {
  let rest = cell;
  return [...axisBits]
    .reverse()
    .map((bits) => {
      const index = rest % 2 ** bits;
      rest = Math.floor(rest / 2 ** bits);
      return index;
    })
    .reverse();
}

const cellOf = (indices: readonly number[], axisBits: readonly number[]): number =>
  indices.reduce((cell, index, axis) => cell * 2 ** (axisBits[axis] as number) + index, 0);

test('partial evaluation is the sum over the axes that go', () => {
  const random = randomOf(5);
  const axisBits = [2, 1, 3, 2, 1];
  const vector = backend.upload(random.base(512));
  const weights = backend.uploadExtension(random.extension(8));
  const matrix = backend.uploadExtension(random.extension(2 * 4));
  const point = random.point(2);
  const axes: AxisUse[] = [
    { kind: 'point', point },
    { kind: 'keep', bits: 1 },
    { kind: 'weights', bits: 3, weights },
    { kind: 'matrix', bits: 2, rowBits: 1, matrix },
    { kind: 'keep', bits: 1 },
  ];
  const got = lifted(backend.partialEvaluate({ vector, axes, order: [4, 3, 1] }));
  const expected: Ext[] = Array.from({ length: 8 }, () => EXT_ZERO);
  lifted(vector).forEach((value, cell) => {
    const [a, b, c, d, e] = indicesOf(cell, axisBits) as [number, number, number, number, number];
    const common = productOf([value, eqList(point)[a] as Ext, getExt(backend.download(weights), c)]);
    for (let k = 0; k < 2; k++) {
      const at = cellOf([e, k, b], [1, 1, 1]);
      expected[at] = extAdd(expected[at] as Ext, extMul(common, getExt(backend.download(matrix), k * 4 + d)));
    }
  });
  assert.deepEqual(got, expected);
});

/** 1 on real cells. */
function isReal(cell: number, { extents, axisBits }: CellMask): Ext {
  return indicesOf(cell, axisBits).every((index, axis) => index < (extents[axis] as number))
    ? EXT_ONE
    : EXT_ZERO;
}

/** The MLE of a list at a point, as a sum over all cells. */
const mleOf = (values: readonly Ext[], point: readonly Ext[]): Ext => {
  const eq = eqList(point);
  return sumOf(values.map((value, i) => extMul(value, eq[i] as Ext)));
};

/** Runs a sumcheck as the verifier does and returns the last claim. */
function reduceClaim(
  request: ProductSumcheck,
  claim: Ext,
  random: Random,
): { claim: Ext; point: Ext[]; finals: readonly Ext[] } {
  const sumcheck = backend.productSumcheck(request);
  const point: Ext[] = [];
  let current = claim;
  for (let round = 0; round < sumcheck.rounds; round++) {
    const challenge = random.ext();
    const eq = request.eqPoint[round];
    current = nextClaim(
      eq === undefined ? request.format : 'EQ2',
      current,
      sumcheck.round(),
      challenge,
      eq,
    ) as Ext;
    sumcheck.bind(challenge);
    point.push(challenge);
  }
  return { claim: current, point, finals: sumcheck.finals() };
}

test('products of two and three factors end at the product of their values', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomOf(seed);
    const eqBits = seed % 3;
    const inner = [1 + (seed % 2), seed % 4];
    const bits = eqBits + inner.reduce((sum, each) => sum + each, 0);
    const a = backend.upload(random.base(2 ** bits));
    const c = seed % 5 === 0 ? null : backend.uploadExtension(random.extension(2 ** bits));
    const mask: CellMask = {
      axisBits: [eqBits, ...inner],
      extents: [2 ** eqBits, ...inner.map((each) => (each === 0 ? 1 : 2 ** (each - 1) + 1))],
    };
    const format = c === null ? 'SC2' : 'SC3';
    const eqPoint = random.point(eqBits);
    const eq = eqList(eqPoint);
    const cells = lifted(a).map((value, i) =>
      productOf([value, c === null ? EXT_ONE : (lifted(c)[i] as Ext), isReal(i, mask)]),
    );
    const claim = sumOf(
      cells.map((value, i) => extMul(value, eq[Math.floor(i / 2 ** (bits - eqBits))] as Ext)),
    );
    const factors = [lifted(a), c === null ? null : lifted(c), cells.map((_, i) => isReal(i, mask))];
    const reduced = reduceClaim({ eqPoint, format, a, c, mask }, claim, random);
    const values = factors.flatMap((factor) => (factor === null ? [] : [mleOf(factor, reduced.point)]));
    assert.deepEqual(reduced.claim, productOf(values), `seed ${seed}`);
    assert.deepEqual(reduced.finals[0], values[0]);
    if (c !== null) assert.deepEqual(reduced.finals[1], values[1]);
  }
});

test('the fraction tree adds up its leaves, and its layers lead from the root to them', () => {
  const random = randomOf(9);
  const columns = [random.base(16), random.base(16), random.base(4)];
  const [first, second, third] = columns.map((each) => backend.upload(each)) as [Vector, Vector, Vector];
  const mask = { extents: [3, 3], axisBits: [2, 2] };
  const [constant, x, y, z] = random.point(4) as [Ext, Ext, Ext, Ext];
  const multiplicities = Uint32Array.from([1, 2, 0, 5]);
  const segments: LeafSegment[] = [
    {
      bits: 4,
      offset: 0,
      numerator: { kind: 'mask' },
      mask,
      constant,
      terms: [
        { coefficient: x, vector: first },
        { coefficient: y, vector: second },
      ],
      maskCoefficient: z,
    },
    {
      bits: 2,
      offset: 16,
      numerator: { kind: 'negated', vector: backend.upload(multiplicities) },
      mask: null,
      constant,
      terms: [{ coefficient: x, vector: third }],
      maskCoefficient: null,
    },
  ];
  const at = (vector: Vector, i: number): Ext => lifted(vector)[i] as Ext;
  const p: Ext[] = [];
  const q: Ext[] = [];
  for (let i = 0; i < 32; i++) {
    if (i < 16) {
      p.push(isReal(i, mask));
      q.push(
        sumOf([constant, extMul(x, at(first, i)), extMul(y, at(second, i)), extMul(z, isReal(i, mask))]),
      );
    } else if (i < 20) {
      p.push(extNeg(extFromBase(multiplicities[i - 16] as number)));
      q.push(extAdd(constant, extMul(x, at(third, i - 16))));
    } else {
      p.push(EXT_ZERO);
      q.push(EXT_ONE);
    }
  }
  const tree = backend.fractionTree(5, segments);
  const [p0, p1, q0, q1] = tree.top;
  const sum = extAdd(extMul(p0, q1), extMul(p1, q0));
  assert.deepEqual(extMul(q0, q1), productOf(q));
  assert.deepEqual(
    sum,
    extMul(sumOf(p.map((each, i) => extMul(each, extInverse(q[i] as Ext)))), productOf(q)),
  );
  let values: readonly Ext[] = tree.top;
  let point: Ext[] = [];
  for (let level = 1; level <= 5; level++) {
    const mu = random.ext();
    const between = (low: Ext, high: Ext): Ext => extAdd(low, extMul(mu, extSub(high, low)));
    const numerator = between(values[0] as Ext, values[1] as Ext);
    const denominator = between(values[2] as Ext, values[3] as Ext);
    point = [mu, ...point];
    if (level === 5) {
      assert.deepEqual(numerator, mleOf(p, point));
      assert.deepEqual(denominator, mleOf(q, point));
      break;
    }
    const lambda = random.ext();
    const layer = tree.layer(level, lambda, point);
    let claim = extAdd(numerator, extMul(lambda, denominator));
    const challenges: Ext[] = [];
    for (let round = 0; round < level; round++) {
      const challenge = random.ext();
      claim = nextClaim('EQ2', claim, layer.round(), challenge, point[round]) as Ext;
      layer.bind(challenge);
      challenges.push(challenge);
    }
    values = layer.finals();
    const [n0, n1, d0, d1] = values as [Ext, Ext, Ext, Ext];
    assert.deepEqual(
      claim,
      sumOf([extMul(n0, d1), extMul(n1, d0), extMul(lambda, extMul(d0, d1))]),
      `level ${level}`,
    );
    point = challenges;
  }
});

test('committed columns are codewords by rows, and their paths lead to the cap', () => {
  const random = randomOf(3);
  const whole = random.base(8);
  const part = random.base(4);
  const columns = [
    { pieces: [{ vector: backend.upload(whole), from: 0, length: 8, offset: 0 }] },
    { pieces: [{ vector: backend.upload(part), from: 0, length: 4, offset: 4 }] },
  ];
  const tree = backend.commitColumns({ columns, columnBits: 3, blowupBits: 2, capBits: 2 });
  const words = [
    codeword(
      Uint32Array.from(whole, (value) => fromSigned(value)),
      2,
    ),
    codeword(Uint32Array.from([0, 0, 0, 0, ...Array.from(part, (value) => fromSigned(value))]), 2),
  ];
  for (let index = 0; index < 32; index++) {
    const row = new DataView(tree.leaf(index).buffer);
    assert.deepEqual(
      [row.getUint32(0, true), row.getUint32(4, true)],
      words.map((word) => word[index]),
    );
    assert.ok(
      verifyPaths({
        kernels: portableZkKernels,
        cap: tree.cap,
        capLog: 2,
        depth: 5,
        indices: [index],
        leafHashes: keyedHash(K_LEAF, tree.leaf(index)),
        paths: tree.path(index),
      }),
    );
  }
});

test('a fold sends the halves of its claim and commits the codeword of what is left', () => {
  const random = randomOf(11);
  const column = random.extension(16);
  const point = random.point(4);
  const folding = backend.fold(backend.uploadExtension(column), point);
  let claim = mleOf(extVectorToList(column), point);
  const word = codewordExt(column, 1);
  const tree = folding.commit(2, 1, 7);
  assert.deepEqual(
    decodeExts(tree.leaf(3), 4),
    [3, 11, 19, 27].map((position) => getExt(word, position)),
  );
  assert.equal(tree.leaf(3).length, 4 * EXT_BYTES);
  const challenges = random.point(2);
  for (const [round, challenge] of challenges.entries()) {
    claim = nextClaim('EV1', claim, folding.round(), challenge, point[round]) as Ext;
    folding.bind(challenge);
  }
  assert.deepEqual(mleOf(folding.values(), point.slice(2)), claim);
  assert.ok(eqPoint(challenges, challenges).length === 5);
});

test('rows: the sum over all groups is what the rounds start from and end at', () => {
  const random = randomOf(21);
  const [a, b] = [random.base(8), random.base(8)];
  const columns = [a, b].map((values) => ({
    pieces: [{ vector: backend.upload(values), from: 0, length: 8, offset: 0 }],
  }));
  const lists = columns.map(({ pieces }) => lifted(pieces[0]?.vector as Vector));
  const [u, v, w] = random.point(3) as [Ext, Ext, Ext];
  const [whole, small] = [random.point(3), random.point(1)];
  const groups = [
    {
      columns: [
        { column: columns[0] as (typeof columns)[0], weight: u },
        { column: columns[1] as (typeof columns)[0], weight: v },
      ],
      eqs: [{ offset: 0, point: whole, weight: EXT_ONE }],
    },
    {
      columns: [{ column: columns[1] as (typeof columns)[0], weight: EXT_ONE }],
      eqs: [{ offset: 6, point: small, weight: w }],
    },
  ];
  const left = (x: readonly Ext[]): Ext =>
    extAdd(extMul(u, mleOf(lists[0] as Ext[], x)), extMul(v, mleOf(lists[1] as Ext[], x)));
  const part = (lists[1] as Ext[]).slice(6);
  let claim = extAdd(left(whole), extMul(w, mleOf(part, small)));
  const sumcheck = backend.rowSumcheck({ columnBits: 3, groups });
  const point: Ext[] = [];
  for (let round = 0; round < 3; round++) {
    const challenge = random.ext();
    claim = nextClaim('SC2', claim, sumcheck.round(), challenge) as Ext;
    sumcheck.bind(challenge);
    point.push(challenge);
  }
  const head = eqPoint(point.slice(0, 2), [EXT_ONE, EXT_ONE]);
  const second = productOf([w, mleOf(lists[1] as Ext[], point), head, eqPoint(point.slice(2), small)]);
  assert.deepEqual(claim, extAdd(extMul(left(point), eqPoint(point, whole)), second));
});

test('the nonce is the least that carries the work', () => {
  const seed = new Uint8Array(32).fill(7);
  const nonce = new DataView(backend.grind(seed, 10).buffer).getBigUint64(0, true);
  for (let tried = 0n; tried <= nonce; tried++) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, tried, true);
    const [first, second] = keyedHash(seed, bytes) as unknown as [number, number];
    assert.equal(first === 0 && second < 64, tried === nonce);
  }
});
