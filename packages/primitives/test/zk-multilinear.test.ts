import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UsageError } from '../src/index.ts';
import {
  axpyBase,
  type BaseValues,
  dotBase,
  dotExt,
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  type ExtVector,
  eqList,
  eqPoint,
  eqTable,
  evaluateMultilinear,
  extAdd,
  extFromBase,
  extMul,
  extScale,
  extSub,
  extVector,
  extVectorOf,
  extVectorToList,
  foldVector,
  fromSigned,
  getExt,
  indexValueAt,
  lessOrEqual,
  lessThan,
  maskAt,
  P,
  setExt,
} from '../src/zk/index.ts';
import { anyBase, anyExt, anyPoint } from './zk-reference.ts';

/** Bits of x, the most significant first. */
function bitsOf(x: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(x / 2 ** (count - 1 - i)) % 2);
}

/** eq(r, x) by its definition. */
function eqAt(r: readonly Ext[], x: number): Ext {
  const bits = bitsOf(x, r.length);
  return r.reduce<Ext>(
    (product, coordinate, i) => extMul(product, bits[i] === 1 ? coordinate : extSub(EXT_ONE, coordinate)),
    EXT_ONE,
  );
}

/** The MLE at r of a function on indices, by its definition. */
function mleOf(r: readonly Ext[], valueAt: (x: number) => Ext): Ext {
  let sum = EXT_ZERO;
  for (let x = 0; x < 2 ** r.length; x++) sum = extAdd(sum, extMul(eqAt(r, x), valueAt(x)));
  return sum;
}

const indicator = (holds: boolean): Ext => (holds ? EXT_ONE : EXT_ZERO);

const wordOf = (min: number, max: number): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max));

/** Arrays of every kind, the extremes of their range included. */
const anyValues = (minLength: number, maxLength: number): fc.Arbitrary<BaseValues> => {
  const length = { minLength, maxLength };
  const half = 2 ** 31;
  return fc.oneof<fc.Arbitrary<BaseValues>[]>(
    fc.array(wordOf(-128, 127), length).map((list) => Int8Array.from(list)),
    fc.array(wordOf(0, 255), length).map((list) => Uint8Array.from(list)),
    fc.array(wordOf(-32768, 32767), length).map((list) => Int16Array.from(list)),
    fc.array(wordOf(0, 65535), length).map((list) => Uint16Array.from(list)),
    fc.array(wordOf(-half, half - 1), length).map((list) => Int32Array.from(list)),
    fc.array(anyBase, length).map((list) => Uint32Array.from(list)),
  );
};

const dotByDefinition = (values: BaseValues, weights: ExtVector): Ext =>
  [...values].reduce<Ext>(
    (sum, value, i) => extAdd(sum, extScale(getExt(weights, i), fromSigned(value))),
    EXT_ZERO,
  );

const withWeights = anyValues(0, 70).chain((values) =>
  fc.tuple(
    fc.constant(values),
    fc.array(anyExt, { minLength: values.length, maxLength: values.length }).map(extVectorOf),
  ),
);

test('elements of a vector are read and written plane by plane', () => {
  const vector = extVector(3);
  setExt(vector, 1, [1, 2, 3, 4, 5]);
  assert.deepEqual([...vector.data], [0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0]);
  assert.deepEqual(extVectorToList(vector), [EXT_ZERO, [1, 2, 3, 4, 5], EXT_ZERO]);
  for (const bad of [-1, 3, 0.5]) {
    assert.throws(() => getExt(vector, bad), UsageError);
    assert.throws(() => setExt(vector, bad, EXT_ONE), UsageError);
  }
});

test('eq: table, list and point agree with the definition', () => {
  fc.assert(
    fc.property(anyPoint(0, 6), (r) => {
      const table = extVectorToList(eqTable(r));
      assert.equal(table.length, 2 ** r.length);
      assert.deepEqual(eqList(r), table);
      for (const [x, weight] of table.entries()) {
        assert.deepEqual(weight, eqAt(r, x));
        assert.deepEqual(eqPoint(r, bitsOf(x, r.length).map(extFromBase)), weight);
      }
    }),
    { numRuns: 40 },
  );
  fc.assert(
    fc.property(anyPoint(3, 3), anyPoint(3, 3), (r, s) => {
      assert.deepEqual(eqPoint(r, s), eqPoint(s, r));
      assert.deepEqual(
        eqPoint(r, s),
        mleOf(s, (x) => eqAt(r, x)),
      );
    }),
  );
  assert.throws(() => eqPoint([EXT_ONE], []), UsageError);
});

test('a fold binds the most significant bit', () => {
  const vectors = fc.nat(4).chain((n) => anyPoint(2 ** (n + 1), 2 ** (n + 1)));
  fc.assert(
    fc.property(vectors, anyExt, (elements, r) => {
      const half = elements.length / 2;
      const folded = extVectorToList(foldVector(extVectorOf(elements), r));
      for (const [i, value] of folded.entries()) {
        const [low, high] = [elements[i] as Ext, elements[i + half] as Ext];
        assert.deepEqual(value, extAdd(low, extMul(r, extSub(high, low))));
      }
    }),
  );
  assert.throws(() => foldVector(extVector(3), EXT_ONE), UsageError);
});

test('dot products are exact at every width', () => {
  fc.assert(
    fc.property(withWeights, ([values, weights]) => {
      assert.deepEqual(dotBase(values, weights), dotByDefinition(values, weights));
    }),
    { numRuns: 300 },
  );
  assert.throws(() => dotBase(new Int8Array(2), extVector(3)), UsageError);
});

test('dot products of the largest values stay exact over many blocks', () => {
  const length = 20_001;
  const weights = extVector(length);
  weights.data.fill(P - 1);
  const values: readonly BaseValues[] = [
    new Int8Array(length).fill(-128),
    new Uint8Array(length).fill(255),
    new Int16Array(length).fill(-32768),
    new Uint16Array(length).fill(65535),
    new Int32Array(length).fill(-(2 ** 31)),
    new Int32Array(length).fill(2 ** 31 - 1),
    new Uint32Array(length).fill(P - 1),
  ];
  for (const each of values) {
    // Each product is -v, so the sum is -v * length.
    const expected = Number(BigInt.asIntN(64, -BigInt(each[0] as number) * BigInt(length)) % BigInt(P));
    const word = fromSigned(expected);
    assert.deepEqual(dotBase(each, weights), [word, word, word, word, word]);
  }
  const squares = dotExt(weights, weights);
  const one: Ext = [P - 1, P - 1, P - 1, P - 1, P - 1];
  assert.deepEqual(squares, extScale(extMul(one, one), length));
});

test('multiples of small integers are added', () => {
  fc.assert(
    fc.property(withWeights, anyExt, ([values, sums], factor) => {
      const expected = [...values].map((value, i) =>
        extAdd(getExt(sums, i), extScale(factor, fromSigned(value))),
      );
      axpyBase(sums, values, factor);
      assert.deepEqual(extVectorToList(sums), expected);
    }),
    { numRuns: 300 },
  );
  assert.throws(() => axpyBase(extVector(1), new Int8Array(2), EXT_ONE), UsageError);
});

test('dot products of two vectors', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyExt, anyExt), { maxLength: 40 }), (pairs) => {
      const dot = dotExt(extVectorOf(pairs.map(([a]) => a)), extVectorOf(pairs.map(([, b]) => b)));
      const expected = pairs.reduce<Ext>((sum, [a, b]) => extAdd(sum, extMul(a, b)), EXT_ZERO);
      assert.deepEqual(dot, expected);
    }),
  );
  assert.throws(() => dotExt(extVector(1), extVector(2)), UsageError);
});

test('sums of sixteen products next to a multiple of p are reduced exactly', () => {
  const fifteen = fc.array(fc.tuple(anyBase, anyBase), { minLength: 15, maxLength: 15 });
  fc.assert(
    fc.property(fifteen, fc.constantFrom(0, 1, P - 1), (pairs, residue) => {
      const sum = pairs.reduce((total, [a, b]) => total + BigInt(a) * BigInt(b), 0n);
      const last = Number((((BigInt(residue) - sum) % BigInt(P)) + BigInt(P)) % BigInt(P));
      const left = Uint32Array.from([...pairs.map(([a]) => a), 1]);
      const right = extVectorOf([...pairs.map(([, b]) => b), last].map(extFromBase));
      assert.deepEqual(dotBase(left, right), extFromBase(residue));
    }),
    { numRuns: 1000 },
  );
});

test('less-than agrees with the definition at every bound', () => {
  fc.assert(
    fc.property(anyPoint(0, 4), (r) => {
      for (let bound = 0; bound <= 2 ** r.length; bound++) {
        assert.deepEqual(
          lessThan(bound, r),
          mleOf(r, (x) => indicator(x < bound)),
        );
      }
      for (const bad of [-1, 2 ** r.length + 1, 0.5]) assert.throws(() => lessThan(bad, r), UsageError);
    }),
    { numRuns: 20 },
  );
});

test('less-or-equal agrees with the definition', () => {
  const pair = fc.nat(3).chain((n) => fc.tuple(anyPoint(n, n), anyPoint(n, n)));
  fc.assert(
    fc.property(pair, ([r, r2]) => {
      const expected = mleOf(r, (x) => mleOf(r2, (x2) => indicator(x2 <= x)));
      assert.deepEqual(lessOrEqual(r, r2), expected);
    }),
    { numRuns: 50 },
  );
  assert.throws(() => lessOrEqual([EXT_ONE], []), UsageError);
});

test('the mask of a padded tensor is 1 on its real cells', () => {
  const axis = fc.integer({ min: 1, max: 5 });
  const tensor = fc.tuple(axis, axis).chain(([a, b]) => {
    const bits = [a, b].map((extent) => Math.ceil(Math.log2(extent))) as [number, number];
    return fc.tuple(fc.constant([a, b]), anyPoint(bits[0], bits[0]), anyPoint(bits[1], bits[1]));
  });
  fc.assert(
    fc.property(tensor, ([extents, first, second]) => {
      const [a, b] = extents as [number, number];
      const size = 2 ** second.length;
      const expected = mleOf([...first, ...second], (x) => indicator(x < a * size && x % size < b));
      assert.deepEqual(maskAt(extents, [first, second]), expected);
    }),
    { numRuns: 50 },
  );
  assert.throws(() => maskAt([1], []), UsageError);
});

test('the MLE of the index', () => {
  fc.assert(
    fc.property(anyPoint(0, 5), (r) => {
      assert.deepEqual(indexValueAt(r), mleOf(r, extFromBase));
    }),
    { numRuns: 50 },
  );
});

test('evaluation of vectors of any kind, shorter ones continued with zeros', () => {
  const instance = fc.nat(5).chain((n) => fc.tuple(anyPoint(n, n), anyValues(0, 2 ** n)));
  fc.assert(
    fc.property(instance, ([r, values]) => {
      const expected = mleOf(r, (x) => extFromBase(fromSigned(values[x] ?? 0)));
      assert.deepEqual(evaluateMultilinear(values, r), expected);
    }),
    { numRuns: 100 },
  );
  const extInstance = fc.nat(5).chain((n) => fc.tuple(anyPoint(n, n), anyPoint(0, 2 ** n)));
  fc.assert(
    fc.property(extInstance, ([r, elements]) => {
      const expected = mleOf(r, (x) => elements[x] ?? EXT_ZERO);
      assert.deepEqual(evaluateMultilinear(extVectorOf(elements), r), expected);
    }),
    { numRuns: 50 },
  );
  assert.throws(() => evaluateMultilinear(new Int8Array(3), [EXT_ONE]), UsageError);
});

test('folding coordinate by coordinate is evaluation', () => {
  const instance = fc.nat(5).chain((n) => fc.tuple(anyPoint(n, n), anyPoint(2 ** n, 2 ** n)));
  fc.assert(
    fc.property(instance, ([r, elements]) => {
      const vector = extVectorOf(elements);
      const folded = r.reduce(foldVector, vector);
      assert.deepEqual(getExt(folded, 0), evaluateMultilinear(vector, r));
      assert.deepEqual(getExt(folded, 0), dotExt(vector, eqTable(r)));
    }),
    { numRuns: 50 },
  );
});
