import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  algebraicError,
  leastQueries,
  profileParameters,
  provenBits,
  type SoundnessShape,
} from '@haca/circuit';
import fc from 'fast-check';

/** 2^24 weights and as many witness cells, 2^22 lookups, 60 layers, 700 claims, 128 columns. */
const WORST: SoundnessShape = {
  ...profileParameters(1),
  treeBits: 23,
  columnBits: 18,
  selectorBits: 7,
  finalBits: 6,
  claims: 700,
  sumcheckDegrees: 60 * 40 * 3,
  freshCoordinates: 60 * 4,
};

const P = 2 ** 31 - 2 ** 27 + 1;

/** As provenBits, in floating point and by logarithms. */
function floatBits(shape: SoundnessShape): number {
  const field = (shape.extensionDegree ?? 5) * Math.log2(P);
  const { treeBits: n, columnBits: h, selectorBits: c, finalBits: m } = shape;
  const domain = 2 ** (h + shape.blowupBits);
  let error =
    5 * 2 ** n + shape.sumcheckDegrees + shape.freshCoordinates + shape.claims + 2 * h + c + c * domain;
  for (let j = 0; j < n; j++) error += 3 * j + 2;
  for (let i = 0; i < h - m; i++) error += domain / 2 ** i + 1;
  const queries = shape.queries * Math.log2((1 + 2 ** -shape.blowupBits) / 2) - shape.grindingBits;
  return -Math.log2(2 ** (Math.log2(error) - field) + 2 ** queries);
}

const shapes: fc.Arbitrary<SoundnessShape> = fc.record({
  blowupBits: fc.integer({ min: 1, max: 4 }),
  queries: fc.integer({ min: 1, max: 200 }),
  grindingBits: fc.integer({ min: 0, max: 24 }),
  treeBits: fc.integer({ min: 1, max: 26 }),
  columnBits: fc.integer({ min: 9, max: 24 }),
  selectorBits: fc.integer({ min: 1, max: 9 }),
  finalBits: fc.integer({ min: 1, max: 8 }),
  claims: fc.integer({ min: 1, max: 4_096 }),
  sumcheckDegrees: fc.integer({ min: 0, max: 10 ** 6 }),
  freshCoordinates: fc.integer({ min: 0, max: 10 ** 5 }),
  extensionDegree: fc.integer({ min: 1, max: 5 }),
});

test('ZK-28 proven bits are those of a floating-point sum, rounded down', () => {
  fc.assert(
    fc.property(shapes, (shape) => {
      const bits = floatBits(shape);
      if (bits < 0 || Math.abs(bits - Math.round(bits)) < 1e-6) return;
      assert.equal(provenBits(shape), Math.floor(bits));
    }),
    { numRuns: 300 },
  );
});

test('ZK-11 an exact boundary counts: an error of 2^-b has b bits, any more has b - 1', () => {
  const exact: SoundnessShape = { ...WORST, blowupBits: 0, queries: 1, grindingBits: 7 };
  // One query at rate 1 passes always: 2^-7 by grinding, and a little more from the field.
  assert.equal(provenBits(exact), 6);
  assert.equal(provenBits({ ...exact, grindingBits: 8 }), 7);
});

test('ZK-28 the queries are 102 at rate 1/8 and 124 at rate 1/4', () => {
  assert.equal(leastQueries(3, 84), 102);
  assert.equal(leastQueries(2, 84), 124);
  for (const [nu, count] of [
    [3, 102],
    [2, 124],
  ] as const) {
    const bits = (t: number): number => -t * Math.log2((1 + 2 ** -nu) / 2);
    assert.ok(bits(count) >= 84 && bits(count - 1) < 84);
  }
  assert.deepEqual(
    [1, 2].map((profile) => profileParameters(profile).queries),
    [102, 124],
  );
});

test('ZK-28 the worst shape has 100 bits in both profiles, and one knob turned back has less', () => {
  for (const profile of [1, 2]) {
    const shape = { ...WORST, ...profileParameters(profile) };
    assert.equal(provenBits(shape), 100);
    assert.equal(Math.round(floatBits(shape) * 100) / 100, profile === 1 ? 100.67 : 100.08);
    assert.ok(provenBits({ ...shape, queries: shape.queries - 1 }) < 100);
    assert.ok(provenBits({ ...shape, blowupBits: shape.blowupBits - 1 }) < 100);
    assert.ok(provenBits({ ...shape, grindingBits: shape.grindingBits - 1 }) < 100);
    assert.ok(provenBits({ ...shape, extensionDegree: 4 }) < 100);
  }
});

test('ZK-11 every term of the error counts', () => {
  const base = algebraicError(WORST);
  for (const more of [
    { treeBits: 24 },
    { columnBits: 19 },
    { selectorBits: 8 },
    { finalBits: 5 },
    { claims: 701 },
    { sumcheckDegrees: WORST.sumcheckDegrees + 1 },
    { freshCoordinates: WORST.freshCoordinates + 1 },
    { blowupBits: 4 },
  ])
    assert.ok(algebraicError({ ...WORST, ...more }) > base, Object.keys(more).join());
});
