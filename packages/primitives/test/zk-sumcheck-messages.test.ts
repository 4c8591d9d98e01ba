import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UsageError } from '../src/index.ts';
import {
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  extAdd,
  extFromBase,
  extInverse,
  extIsZero,
  extMul,
  extSub,
  inverseCoordinates,
  nextClaim,
  SUMCHECK_MESSAGE_DEGREE,
  SUMCHECK_MESSAGE_LENGTH,
  type SumcheckFormat,
} from '../src/zk/index.ts';
import { anyExt, anyPoint } from './zk-reference.ts';

const TWO = extFromBase(2);

/** Coefficients from the constant one up. */
function evaluate(coefficients: readonly Ext[], x: Ext): Ext {
  return coefficients.reduceRight((value, each) => extAdd(each, extMul(value, x)), EXT_ZERO);
}

/** The message that an honest prover sends of this polynomial. */
function messageOf(format: SumcheckFormat, polynomial: readonly Ext[]): Ext[] {
  const atZero = polynomial[0] as Ext;
  const leading = polynomial.at(-1) as Ext;
  if (format === 'EV1') return [atZero, evaluate(polynomial, EXT_ONE)];
  return SUMCHECK_MESSAGE_DEGREE[format] === 2
    ? [atZero, leading]
    : [atZero, evaluate(polynomial, TWO), leading];
}

const instance = (format: SumcheckFormat): fc.Arbitrary<[Ext[], Ext, Ext]> => {
  const length = SUMCHECK_MESSAGE_DEGREE[format] + 1;
  return fc.tuple(anyPoint(length, length), anyExt, anyExt);
};

/** (1 - r) t(0) + r t(1). */
const eqSum = (polynomial: readonly Ext[], r: Ext): Ext => {
  const [atZero, atOne] = [evaluate(polynomial, EXT_ZERO), evaluate(polynomial, EXT_ONE)];
  return extAdd(atZero, extMul(r, extSub(atOne, atZero)));
};

for (const format of ['SC2', 'SC3'] as const) {
  test(`${format}: the next claim is the polynomial at the challenge`, () => {
    fc.assert(
      fc.property(instance(format), ([polynomial, challenge]) => {
        const claim = extAdd(evaluate(polynomial, EXT_ZERO), evaluate(polynomial, EXT_ONE));
        const message = messageOf(format, polynomial);
        assert.equal(message.length, SUMCHECK_MESSAGE_LENGTH[format]);
        assert.deepEqual(nextClaim(format, claim, message, challenge), evaluate(polynomial, challenge));
      }),
    );
  });

  test(`${format}: a false claim or a changed message gives another polynomial with the same sum`, () => {
    fc.assert(
      fc.property(instance(format), anyExt, ([polynomial, challenge, wrong], delta) => {
        const message = messageOf(format, polynomial);
        const next = (x: Ext): Ext => nextClaim(format, wrong, message, x) as Ext;
        assert.deepEqual(extAdd(next(EXT_ZERO), next(EXT_ONE)), wrong);
        if (extIsZero(delta) || extIsZero(challenge)) return;
        const claim = extAdd(evaluate(polynomial, EXT_ZERO), evaluate(polynomial, EXT_ONE));
        assert.notDeepEqual(
          nextClaim(format, extAdd(claim, delta), message, challenge),
          evaluate(polynomial, challenge),
        );
      }),
    );
  });
}

for (const format of ['EQ2', 'EQ3'] as const) {
  test(`${format}: the next claim is the part without eq at the challenge`, () => {
    fc.assert(
      fc.property(instance(format), ([polynomial, challenge, r]) => {
        if (extIsZero(r)) return;
        const claim = eqSum(polynomial, r);
        const message = messageOf(format, polynomial);
        const expected = evaluate(polynomial, challenge);
        assert.deepEqual(nextClaim(format, claim, message, challenge, r), expected);
        assert.deepEqual(nextClaim(format, claim, message, challenge, r, extInverse(r)), expected);
      }),
    );
  });

  test(`${format}: a coordinate that is zero is rejected, a missing one is a mistake`, () => {
    const message = Array.from({ length: SUMCHECK_MESSAGE_LENGTH[format] }, () => EXT_ONE);
    assert.equal(nextClaim(format, EXT_ONE, message, TWO, EXT_ZERO), undefined);
    assert.equal(nextClaim(format, EXT_ONE, message, TWO, EXT_ZERO, EXT_ONE), undefined);
    assert.throws(() => nextClaim(format, EXT_ONE, message, TWO), UsageError);
  });
}

test('EV1: the next claim is the line at the challenge, and a message that breaks the claim is rejected', () => {
  fc.assert(
    fc.property(instance('EV1'), anyExt, ([line, challenge, r], delta) => {
      const claim = eqSum(line, r);
      const message = messageOf('EV1', line);
      assert.deepEqual(nextClaim('EV1', claim, message, challenge, r), evaluate(line, challenge));
      if (extIsZero(delta)) return;
      assert.equal(nextClaim('EV1', extAdd(claim, delta), message, challenge, r), undefined);
      const [atZero, atOne] = message as [Ext, Ext];
      if (!extIsZero(r)) {
        assert.equal(nextClaim('EV1', claim, [atZero, extAdd(atOne, delta)], challenge, r), undefined);
      }
      if (!extIsZero(extSub(EXT_ONE, r))) {
        assert.equal(nextClaim('EV1', claim, [extAdd(atZero, delta), atOne], challenge, r), undefined);
      }
    }),
  );
  assert.deepEqual(nextClaim('EV1', EXT_ONE, [EXT_ONE, TWO], EXT_ZERO, EXT_ZERO), EXT_ONE);
  assert.throws(() => nextClaim('EV1', EXT_ONE, [EXT_ONE, TWO], EXT_ZERO), UsageError);
});

test('messages of another length are refused', () => {
  for (const format of ['SC2', 'SC3', 'EQ2', 'EQ3', 'EV1'] as const) {
    for (const length of [0, 1, 2, 3, 4]) {
      if (length === SUMCHECK_MESSAGE_LENGTH[format]) continue;
      const message = Array.from({ length }, () => EXT_ONE);
      assert.throws(() => nextClaim(format, EXT_ONE, message, TWO, TWO), UsageError);
    }
  }
});

test('inverses of the coordinates of a point, unless one is zero', () => {
  fc.assert(
    fc.property(anyPoint(0, 5), (point) => {
      const inverses = inverseCoordinates(point);
      if (point.some(extIsZero)) assert.equal(inverses, undefined);
      else assert.deepEqual(inverses, point.map(extInverse));
    }),
  );
  assert.equal(inverseCoordinates([EXT_ONE, EXT_ZERO]), undefined);
});
