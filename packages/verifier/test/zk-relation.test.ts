import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXT_ONE, EXT_ZERO, type Ext, eqList, extAdd, extFromBase, extMul, P } from '@haca/primitives/zk';
import fc from 'fast-check';
import { eqAt, eqWeights } from '../src/zk/eq-weights.ts';
import { type LinearRelation, relationAt } from '../src/zk/relation.ts';

const residue = fc.nat(P - 1);
const element: fc.Arbitrary<Ext> = fc.tuple(residue, residue, residue, residue, residue);
const bitsOf = (extent: number): number => (extent <= 1 ? 0 : 32 - Math.clz32(extent - 1));

const numbers = fc.record({
  I: fc.integer({ min: 1, max: 19 }),
  J: fc.integer({ min: 1, max: 9 }),
  K: fc.integer({ min: 1, max: 5 }),
  stride: fc.integer({ min: 1, max: 8 }),
  dilation: fc.integer({ min: 1, max: 4 }),
  offset: fc.integer({ min: -20, max: 20 }),
  kind: fc.constantFrom('window' as const, 'merge' as const, 'pool' as const),
  seed: fc.array(element, { minLength: 15, maxLength: 15 }),
});

/** Σ over the whole padded cube of indicator · eq · eq · eq. */
function bruteForce(relation: LinearRelation, points: { long: Ext[]; position: Ext[]; tap: Ext[] }): Ext {
  const { long, position, tap, stride, dilation, pad, start } = relation;
  const [onLong, onPosition, onTap] = [eqList(points.long), eqList(points.position), eqList(points.tap)];
  const summed = tap.side === 'summed';
  let sum = EXT_ZERO;
  for (const [i, wi] of onLong.entries())
    for (const [j, wj] of onPosition.entries())
      for (let k = 0; k < (summed ? tap.extent : onTap.length); k++) {
        const related = i + pad === stride * j + dilation * k + start;
        if (!related || i >= long.extent || j >= position.extent || k >= tap.extent) continue;
        sum = extAdd(sum, extMul(extMul(wi, wj), summed ? EXT_ONE : (onTap[k] as Ext)));
      }
  return sum;
}

test('the extension of a relation is the sum over its real triples, for every stride, dilation, pad and start', () => {
  fc.assert(
    fc.property(numbers, ({ I, J, K, stride, dilation, offset, kind, seed }) => {
      const outer = kind === 'merge' ? 'x' : 'y';
      const relation: LinearRelation = {
        kind,
        long: { side: kind === 'merge' ? 'y' : 'x', axis: 1, extent: I },
        position: { side: outer, axis: 1, extent: J },
        tap: { side: kind === 'pool' ? 'summed' : outer, axis: 2, extent: K },
        stride,
        dilation,
        pad: Math.max(0, -offset),
        start: Math.max(0, offset),
      };
      const long = seed.slice(0, bitsOf(I));
      const position = seed.slice(5, 5 + bitsOf(J));
      const tap = kind === 'pool' ? [] : seed.slice(9, 9 + bitsOf(K));
      const value = relationAt(relation, { long, position, tap: kind === 'pool' ? null : tap });
      assert.deepEqual(value, bruteForce(relation, { long, position, tap }));
    }),
    { numRuns: 400 },
  );
});

test('at points of the cube a relation is its indicator', () => {
  const axis = (side: 'x' | 'y', extent: number) => ({ side, axis: 1, extent });
  const relation: LinearRelation = {
    kind: 'window',
    long: axis('x', 5),
    position: axis('y', 3),
    tap: axis('y', 3),
    stride: 2,
    dilation: 1,
    pad: 1,
    start: 0,
  };
  const corner = (index: number, bits: number): Ext[] =>
    Array.from({ length: bits }, (_, i) => extFromBase((index >> (bits - 1 - i)) & 1));
  for (let i = 0; i < 8; i++)
    for (let j = 0; j < 4; j++)
      for (let k = 0; k < 4; k++) {
        const value = relationAt(relation, { long: corner(i, 3), position: corner(j, 2), tap: corner(k, 2) });
        const related = i < 5 && j < 3 && k < 3 && i + 1 === 2 * j + k;
        assert.deepEqual(value, related ? EXT_ONE : EXT_ZERO, `${i} ${j} ${k}`);
      }
});

test('ZK-2: weights of single indices are those of the whole table, for few bits and for many', () => {
  fc.assert(
    fc.property(fc.array(element, { maxLength: 11 }), (point) => {
      const weight = eqWeights(point);
      for (const [index, expected] of eqList(point).entries()) {
        assert.deepEqual(weight(index), expected);
        if (index % 37 === 0) assert.deepEqual(eqAt(point, index), expected);
      }
    }),
    { numRuns: 30 },
  );
});

test('an axis of 2^24 cells needs no table of 2^24 elements', () => {
  const point = Array.from({ length: 24 }, (_, i): Ext => [i + 2, 1, 2, 3, 4]);
  const relation: LinearRelation = {
    kind: 'pool',
    long: { side: 'x', axis: 1, extent: 2 ** 24 },
    position: { side: 'y', axis: 1, extent: 8 },
    tap: { side: 'summed', axis: 0, extent: 1 },
    stride: 4096,
    dilation: 1,
    pad: 0,
    start: 65536,
  };
  const position = point.slice(0, 3);
  const expected = eqList(position)
    .map((weight, j) => extMul(weight, eqAt(point, 65536 + 4096 * j)))
    .reduce(extAdd);
  assert.deepEqual(relationAt(relation, { long: point, position, tap: null }), expected);
});
