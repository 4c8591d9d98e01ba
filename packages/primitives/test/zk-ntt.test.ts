import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UsageError } from '../src/index.ts';
import {
  add,
  codeword,
  codewordExt,
  columnOfCodeword,
  type Ext,
  extAdd,
  extMul,
  extScale,
  extSub,
  extVectorOf,
  extVectorToList,
  foldVector,
  getExt,
  inverse,
  mul,
  ONE_HALF,
  P,
  pow,
  reverseBits,
  rootOfUnity,
} from '../src/zk/index.ts';
import { anyBase, anyExt, anyPoint } from './zk-reference.ts';

const column = fc
  .nat(5)
  .chain((h) => fc.array(anyBase, { minLength: 2 ** h, maxLength: 2 ** h }))
  .map((list) => Uint32Array.from(list));
const blowup = fc.nat(3);

test('the word of (1, 2, 3, 4) given by the specification', () => {
  assert.deepEqual(
    [...codeword(Uint32Array.of(1, 2, 3, 4), 1)],
    [10, 1027736761, 284861407, 1534559492, 2013265917, 1859349451, 1728404512, 1618152063],
  );
});

test('ZK-3 a codeword holds the values of the polynomial', () => {
  fc.assert(
    fc.property(column, blowup, (a, nu) => {
      const h = Math.log2(a.length);
      const root = rootOfUnity(h + nu);
      const word = codeword(a, nu);
      assert.equal(word.length, a.length * 2 ** nu);
      for (const [j, value] of word.entries()) {
        const x = pow(root, j);
        const expected = a.reduce((sum, each, i) => add(sum, mul(each, pow(x, reverseBits(i, h)))), 0);
        assert.equal(value, expected);
      }
    }),
    { numRuns: 40 },
  );
});

test('codewords are canonical and linear, and give their column back', () => {
  fc.assert(
    fc.property(column, blowup, anyBase, (a, nu, factor) => {
      const word = codeword(a, nu);
      assert.ok(word.every((value) => value < P));
      assert.deepEqual(
        codeword(
          a.map((each) => mul(each, factor)),
          nu,
        ),
        word.map((each) => mul(each, factor)),
      );
      assert.deepEqual(columnOfCodeword(word, nu), a);
      if (nu > 0) {
        word[0] = add(word[0] as number, 1);
        assert.throws(() => columnOfCodeword(word, nu), UsageError);
      }
    }),
    { numRuns: 60 },
  );
});

test('a word of the largest values is exact', () => {
  const a = new Uint32Array(2 ** 10).fill(P - 1);
  const word = codeword(a, 2);
  assert.deepEqual(columnOfCodeword(word, 2), a);
  // A(1) = -2^10, and A vanishes at the other roots of unity of order 2^10.
  assert.equal(word[0], P - 1024);
  for (let j = 4; j < word.length; j += 4) assert.equal(word[j], 0);
});

test('the codeword over F is that of each plane', () => {
  const elements = fc.nat(4).chain((h) => anyPoint(2 ** h, 2 ** h));
  fc.assert(
    fc.property(elements, blowup, (a, nu) => {
      const word = codewordExt(extVectorOf(a), nu);
      for (let k = 0; k < 5; k++) {
        const plane = Uint32Array.from(a, (element) => element[k] as number);
        assert.deepEqual(
          Uint32Array.from(extVectorToList(word), (element) => element[k] as number),
          codeword(plane, nu),
        );
      }
    }),
    { numRuns: 30 },
  );
});

test('folding a codeword gives the codeword of the folded column', () => {
  const elements = fc.integer({ min: 1, max: 4 }).chain((h) => anyPoint(2 ** h, 2 ** h));
  fc.assert(
    fc.property(elements, blowup, anyExt, (a, nu, r) => {
      const vector = extVectorOf(a);
      const word = codewordExt(vector, nu);
      const folded = codewordExt(foldVector(vector, r), nu);
      const root = rootOfUnity(Math.log2(a.length) + nu);
      for (let j = 0; j < folded.length; j++) {
        const here = getExt(word, j);
        const opposite = getExt(word, j + folded.length);
        const even = extScale(extAdd(here, opposite), ONE_HALF);
        const odd = extScale(extSub(here, opposite), mul(ONE_HALF, inverse(pow(root, j))));
        const expected: Ext = extAdd(even, extMul(r, extSub(odd, even)));
        assert.deepEqual(getExt(folded, j), expected);
      }
    }),
    { numRuns: 30 },
  );
});

test('lengths that are no powers of two, or too long, are refused', () => {
  assert.throws(() => codeword(new Uint32Array(3), 1), UsageError);
  assert.throws(() => codeword(new Uint32Array(0), 1), UsageError);
  assert.throws(() => codeword(new Uint32Array(2), 27), UsageError);
  assert.throws(() => codeword(new Uint32Array(2), -1), UsageError);
  assert.throws(() => columnOfCodeword(new Uint32Array(3), 1), UsageError);
  assert.throws(() => columnOfCodeword(new Uint32Array(2), 2), UsageError);
});
