import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UsageError } from '../src/index.ts';
import {
  add,
  batchInverse,
  decodeExt,
  decodeExts,
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  encodeExt,
  encodeExts,
  extAdd,
  extBatchInverse,
  extEqual,
  extFrobenius,
  extFromBase,
  extInverse,
  extIsZero,
  extMul,
  extNeg,
  extPow,
  extScale,
  extSquare,
  extSub,
  fromSigned,
  GENERATOR,
  inverse,
  mul,
  neg,
  ONE_HALF,
  P,
  pow,
  rootOfUnity,
  sub,
  TWO_ADICITY,
  toCentred,
} from '../src/zk/index.ts';
import { anyBase, anyExt, bigExtMul, bigExtPow, FIELD, SMALL_FIELD, toBig } from './zk-reference.ts';

const EDGES = [0, 1, 2, 31, 65535, 65536, 2 ** 30, ONE_HALF, P - 65536, P - 2, P - 1];

test('constants are those of BabyBear', () => {
  assert.equal(P, 2 ** 31 - 2 ** 27 + 1);
  assert.equal((P - 1) % 2 ** TWO_ADICITY, 0);
  assert.equal(((P - 1) / 2 ** TWO_ADICITY) % 2, 1);
  assert.equal(mul(ONE_HALF, 2), 1);
  assert.deepEqual(
    [1, 2, 3, 4, 5, 10, 16, 20, 27].map(rootOfUnity),
    [2013265920, 1728404513, 1592366214, 196396260, 760005850, 341742893, 1421947380, 195061667, 440564289],
  );
  assert.equal(rootOfUnity(0), 1);
  assert.equal(inverse(rootOfUnity(27)), 1713844692);
  assert.equal(pow(GENERATOR, 15), rootOfUnity(27));
  for (const bad of [-1, 28, 1.5]) assert.throws(() => rootOfUnity(bad), UsageError);
});

test('products at the edges of the range agree with BigInt', () => {
  for (const a of EDGES) {
    for (const b of EDGES) {
      assert.equal(mul(a, b), Number((BigInt(a) * BigInt(b)) % BigInt(P)), `${a} * ${b}`);
      assert.equal(add(a, b), (a + b) % P);
      assert.equal(sub(a, b), (a - b + P) % P);
    }
  }
});

test('base operations agree with BigInt', () => {
  fc.assert(
    fc.property(anyBase, anyBase, (a, b) => {
      assert.equal(mul(a, b), Number((BigInt(a) * BigInt(b)) % BigInt(P)));
      assert.equal(add(a, b), (a + b) % P);
      assert.equal(sub(a, b), (a - b + P) % P);
      assert.equal(add(a, neg(a)), 0);
      if (a !== 0) assert.equal(mul(a, inverse(a)), 1);
    }),
    { numRuns: 2000 },
  );
});

test('products next to a multiple of p, where a quotient is most easily one off', () => {
  const unit = fc.integer({ min: 1, max: P - 1 });
  const near = fc.constantFrom(0, 1, 2, P - 2, P - 1);
  fc.assert(
    fc.property(unit, near, (a, residue) => {
      const b = Number((BigInt(residue) * BigInt(inverse(a))) % BigInt(P));
      assert.equal(mul(a, b), residue);
      const five = extMul([a, 0, 0, 0, 0], [b, b, b, b, b]);
      assert.deepEqual(five, [residue, residue, residue, residue, residue]);
    }),
    { numRuns: 2000 },
  );
});

test('powers and inverses', () => {
  assert.equal(pow(0, 0), 1);
  assert.equal(pow(5, P - 1), 1);
  assert.throws(() => inverse(0), UsageError);
  assert.throws(() => pow(2, -1), UsageError);
  assert.throws(() => pow(2, 0.5), UsageError);
  assert.throws(() => batchInverse(Uint32Array.of(1, 0)), UsageError);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: P - 1 }), { maxLength: 9 }), (elements) => {
      assert.deepEqual([...batchInverse(Uint32Array.from(elements))], elements.map(inverse));
    }),
  );
});

test('signed integers and centred values', () => {
  assert.equal(fromSigned(-1), P - 1);
  assert.ok(Object.is(fromSigned(-P), 0));
  assert.equal(toCentred((P - 1) / 2), (P - 1) / 2);
  assert.equal(toCentred((P + 1) / 2), -(P - 1) / 2);
  assert.throws(() => fromSigned(0.5), UsageError);
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const residue = fromSigned(value);
      assert.equal(BigInt(residue), ((BigInt(value) % BigInt(P)) + BigInt(P)) % BigInt(P));
      assert.equal(fromSigned(toCentred(residue)), residue);
    }),
  );
});

test('products and inverses in F given by the specification', () => {
  assert.deepEqual(extMul([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), [234, 231, 210, 170, 110]);
  assert.deepEqual(extInverse([1, 2, 3, 4, 5]), [1293071973, 992495801, 353196386, 138063449, 308536401]);
  const x: Ext = [0, 1, 0, 0, 0];
  assert.deepEqual(extPow(x, 5), [2, 0, 0, 0, 0]);
  const most: Ext = [P - 1, P - 1, P - 1, P - 1, P - 1];
  assert.deepEqual(toBig(extSquare(most)), bigExtMul(FIELD, toBig(most), toBig(most)));
});

test('F is a field: ring laws, inverse, agreement with BigInt', () => {
  fc.assert(
    fc.property(anyExt, anyExt, anyExt, anyBase, (a, b, c, base) => {
      assert.deepEqual(toBig(extMul(a, b)), bigExtMul(FIELD, toBig(a), toBig(b)));
      assert.deepEqual(extMul(a, b), extMul(b, a));
      assert.deepEqual(extMul(extMul(a, b), c), extMul(a, extMul(b, c)));
      assert.deepEqual(extMul(a, extAdd(b, c)), extAdd(extMul(a, b), extMul(a, c)));
      assert.deepEqual(extSub(extAdd(a, b), b), a);
      assert.deepEqual(extAdd(a, extNeg(a)), EXT_ZERO);
      assert.deepEqual(extScale(a, base), extMul(a, extFromBase(base)));
      assert.deepEqual(extMul(a, EXT_ONE), a);
      if (!extIsZero(a)) assert.deepEqual(extMul(a, extInverse(a)), EXT_ONE);
    }),
    { numRuns: 500 },
  );
  assert.throws(() => extInverse(EXT_ZERO), UsageError);
  assert.throws(() => extBatchInverse([EXT_ONE, EXT_ZERO]), UsageError);
  assert.throws(() => extPow(EXT_ONE, -1), UsageError);
});

test('the reference agrees with its own field when the prime is small', () => {
  // x^5 - 2 is irreducible over F_11, where 5 divides p - 1: the reference is a field, not only a ring.
  const { p } = SMALL_FIELD;
  const element = fc.tuple(...Array.from({ length: 5 }, () => fc.bigInt({ min: 0n, max: p - 1n })));
  fc.assert(
    fc.property(element, (a) => {
      if (a.every((word) => word === 0n)) return;
      assert.deepEqual(bigExtPow(SMALL_FIELD, a, p ** 5n - 1n), [1n, 0n, 0n, 0n, 0n]);
    }),
  );
});

test('the Frobenius map is the p-th power, of order five', () => {
  fc.assert(
    fc.property(anyExt, (a) => {
      assert.deepEqual(extFrobenius(a), extPow(a, P));
      let turned = a;
      for (let i = 0; i < 5; i++) turned = extFrobenius(turned);
      assert.deepEqual(turned, a);
    }),
    { numRuns: 50 },
  );
});

test('one inversion serves many', () => {
  const nonZero = anyExt.filter((a) => !extIsZero(a));
  fc.assert(
    fc.property(fc.array(nonZero, { maxLength: 6 }), (elements) => {
      assert.deepEqual(extBatchInverse(elements), elements.map(extInverse));
    }),
    { numRuns: 50 },
  );
});

test('equality looks at every coefficient', () => {
  const a: Ext = [1, 2, 3, 4, 5];
  assert.ok(extEqual(a, [1, 2, 3, 4, 5]));
  for (let k = 0; k < 5; k++) {
    const other = a.map((word, i) => (i === k ? word + 1 : word)) as unknown as Ext;
    assert.ok(!extEqual(a, other));
    assert.ok(!extIsZero([0, 0, 0, 0, 0].map((_, i) => (i === k ? 1 : 0)) as unknown as Ext));
  }
});

test('elements survive encoding; words that are not below p are refused', () => {
  fc.assert(
    fc.property(fc.array(anyExt, { maxLength: 4 }), fc.nat(3), (elements, offset) => {
      const bytes = new Uint8Array(offset + 20 * elements.length);
      bytes.set(encodeExts(elements), offset);
      assert.deepEqual(decodeExts(bytes, elements.length, offset), elements);
      assert.equal(decodeExts(bytes, elements.length + 1, offset), undefined);
    }),
  );
  fc.assert(
    fc.property(anyExt, fc.nat(4), fc.integer({ min: P, max: 2 ** 32 - 1 }), (element, word, value) => {
      const bytes = encodeExts([element]);
      new DataView(bytes.buffer).setUint32(4 * word, value, true);
      assert.equal(decodeExt(bytes, 0), undefined);
    }),
  );
  const bytes = encodeExts([[1, 2, 3, 4, P - 1]]);
  assert.deepEqual(decodeExt(bytes, 0), [1, 2, 3, 4, P - 1]);
  assert.equal(decodeExt(bytes, 1), undefined);
  assert.equal(decodeExt(bytes, -1), undefined);
  assert.throws(() => encodeExt(EXT_ONE, new Uint8Array(20), 1), UsageError);
});
