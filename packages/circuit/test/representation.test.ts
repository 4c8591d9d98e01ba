import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chooseOpening,
  INTEGER_BOUND,
  KeyError,
  type OpOf,
  type PlanLookup,
  type PlanTable,
  type Program,
  plan,
  REPRESENTATION_RANGE,
  softmaxScales,
  type VerifyingKey,
} from '@haca/circuit';
import { createZkGraph } from '@haca/testkit';
import fc from 'fast-check';
import { bitsOfExtent, createBuilder } from '../src/lowering/builder.ts';
import { lowerRequantize } from '../src/lowering/requantize.ts';
import {
  changed,
  dense,
  EXPONENTIALS,
  layerKey,
  maxKey,
  opOf,
  plain,
  range,
  requantize16Key,
  softmaxKey,
  tensorOf,
  top1Key,
} from './support.ts';

const P = 2 * INTEGER_BOUND + 1;
const residue = (value: number): number => ((value % P) + P) % P;

function admits(run: () => unknown): boolean {
  try {
    run();
    return true;
  } catch (error) {
    assert.ok(error instanceof KeyError, `${error}`);
    return false;
  }
}

type Digits = Pick<OpOf<'requantize'>, 'shift' | 'mode' | 'overflowBits' | 'window'>;

/** The digit side's range, from the widths that are looked up. */
function rangeOf({ shift, mode, overflowBits, window }: Digits): readonly [number, number] {
  const top = 2 ** (shift + window);
  if (mode === 'exact') return [0, top - 1];
  if (mode === 'unsigned') return [0, top * 2 ** overflowBits - 1];
  return [-top * 2 ** (overflowBits - 1), top * 2 ** (overflowBits - 1) - 1];
}

/** Whether an input of this interval is lowered with these digits. */
function admitsDigits(digits: Digits, lo: number, hi: number, offset = 0): boolean {
  const builder = createBuilder(1, 8);
  return admits(() => {
    const place = (name: string, from: number, to: number) =>
      builder.add({
        storage: 'public',
        name,
        extents: [1],
        lo: from,
        hi: to,
        definition: { kind: 'given' },
      });
    lowerRequantize(
      builder,
      { kind: 'requantize', y: 1, x: 0, offset, values: 0, ...digits },
      place('x', lo, hi),
      [range(2 ** digits.window)],
      { name: 'y', place: (_, from, to) => place('y', from, to) },
    );
  });
}

const digits: fc.Arbitrary<Digits> = fc
  .record({
    shift: fc.integer({ min: 0, max: 20 }),
    mode: fc.constantFrom('saturating' as const, 'exact' as const, 'unsigned' as const),
    overflowBits: fc.integer({ min: 1, max: 16 }),
    window: fc.integer({ min: 1, max: 12 }),
  })
  .map((each) => (each.mode === 'exact' ? { ...each, overflowBits: 0 } : each));

test('ZK-14 what is admitted has one integer among the digits for each residue, and digits for each value', () => {
  let admitted = 0;
  fc.assert(
    fc.property(digits, fc.integer({ min: -300, max: 300 }), (each, offset) => {
      const [lo, hi] = rangeOf(each);
      const add = (each.shift > 0 ? 2 ** (each.shift - 1) : 0) + offset * 2 ** each.shift;
      const inside = [lo - add, hi - add] as const;
      const isBounded = inside[0] >= -INTEGER_BOUND && inside[1] <= INTEGER_BOUND;
      const fits = hi - lo + 1 <= REPRESENTATION_RANGE && isBounded;
      assert.equal(admitsDigits(each, ...inside, offset), fits);
      assert.ok(!admitsDigits(each, inside[0] - 1, inside[1], offset));
      assert.ok(!admitsDigits(each, inside[0], inside[1] + 1, offset));
      if (!fits) return;
      admitted++;
      // Two integers of one residue differ by p at least.
      assert.ok(hi - lo < P);
    }),
    { numRuns: 400 },
  );
  assert.ok(admitted > 40, `${admitted} were admitted`);
});

test('ZK-14 small digits, one by one: every residue of an admitted value has one set of digits', () => {
  for (const mode of ['saturating', 'unsigned', 'exact'] as const) {
    const each: Digits = { shift: 3, window: 4, overflowBits: mode === 'exact' ? 0 : 3, mode };
    const [lo, hi] = rangeOf(each);
    const found = new Map<number, number>();
    const [from, to] = mode === 'exact' ? [0, 0] : mode === 'unsigned' ? [0, 7] : [-4, 3];
    for (let d1 = from; d1 <= to; d1++)
      for (let d0 = 0; d0 < 16; d0++)
        for (let rest = 0; rest < 8; rest++) {
          const side = residue(rest + 8 * d0 + 128 * d1);
          found.set(side, (found.get(side) ?? 0) + 1);
        }
    assert.ok(admitsDigits(each, lo - 4, hi - 4));
    for (let value = lo; value <= hi; value++) assert.equal(found.get(residue(value)), 1);
    assert.equal(found.size, hi - lo + 1);
  }
});

test('ZK-14 the digits that the rule is there for: 1920 · 2^20 + 1 is the modulus', () => {
  assert.equal(residue(1 + 1920 * 2 ** 20), residue(0));
  const wide: Digits = { shift: 20, window: 11, overflowBits: 0, mode: 'exact' };
  assert.ok(!admitsDigits(wide, 0, 0));
  assert.ok(!admitsDigits({ ...wide, window: 12 }, 0, 0));
  assert.ok(admitsDigits({ ...wide, window: 10 }, 0, 2 ** 19 - 1));
  assert.ok(!admitsDigits({ shift: 15, window: 12, overflowBits: 4, mode: 'unsigned' }, 0, 0));
  assert.ok(admitsDigits({ shift: 15, window: 12, overflowBits: 3, mode: 'unsigned' }, 0, 0));
});

test('ZK-14 sixteen bits at a shift of 15 reach too far', () => {
  const key = (shift: number): VerifyingKey => {
    const g = createZkGraph();
    const { key } = g.finish([g.requantize16(dense(g, g.input('i8', [4]), 3), { shift: 3 })]);
    return changed(key, (copy) => {
      Object.assign(opOf(copy, 'requantize16'), { shift, overflowBits: 1, offset: 0 });
    });
  };
  assert.ok(admits(() => plan(key(13), 1)));
  for (const shift of [14, 15, 20]) assert.ok(!admits(() => plan(key(shift), 1)));
});

test('ZK-8 33,027 products of i8 and w8 have no digits', () => {
  const key = (terms: number): VerifyingKey =>
    changed(layerKey(), (copy) => {
      tensorOf(copy, 0).extents = [terms];
      tensorOf(copy, 1).extents = [3, terms];
      Object.assign(opOf(copy, 'requantize'), { shift: 14, overflowBits: 8, offset: 0 });
    });
  assert.ok(admits(() => chooseOpening(key(33_025), 1)));
  for (const terms of [33_027, 40_000, 62_000]) assert.ok(!admits(() => chooseOpening(key(terms), 1)));
});

test('ZK-9 max: one residue of y for every pair of operands, up to a difference of 255', () => {
  const table: PlanTable | undefined = plan(maxKey(), 1).tables.find(({ kind }) => kind === 'relu');
  assert.ok(table);
  for (const [a, b] of [
    [0, 255],
    [255, 0],
    [-128, 127],
    [7, 7],
  ] as const) {
    const rows: number[] = range(table.rows).filter((i) => table.columns[0][i] === a - b);
    assert.deepEqual(
      rows.map((i) => (table.columns[1][i] as number) + b),
      [Math.max(a, b)],
    );
  }
});

const widthsOf = ({ lookups, tables }: Program, name: string): number[] =>
  lookups
    .filter((lookup) => lookup.name.includes(name) && tables[lookup.table]?.kind === 'range')
    .map(({ tuple }: PlanLookup) => (tuple[1].kind === 'constant' ? tuple[1].value : Number.NaN));
const total = (values: readonly number[]): number => values.reduce((sum, each) => sum + each, 0);

test('ZK-14 softmax looks up widths that sum to what its divisions need, exactly', () => {
  for (const limbBits of [8, 9, 10, 11, 12])
    for (const n of [1, 2, 3, 5, 64, 65]) {
      const g = createZkGraph({ limbBits });
      const x = g.sum([{ x: g.input('i8', [n], 0, 6) }, { x: g.weight('i8', [n], 0, 9) }], [n]);
      const program = plan(g.finish([g.softmax(x, { keyBits: 4, exponentials: EXPONENTIALS })]).key, 1);
      const first = bitsOfExtent(EXPONENTIALS[0] as number);
      const { numeratorBits, productShift } = softmaxScales(n, first);
      assert.equal(total(widthsOf(program, 'reciprocal limb')), numeratorBits - first);
      const sumBits = bitsOfExtent(n * 2 ** first);
      assert.equal(total(widthsOf(program, 'division rest')), sumBits);
      assert.equal(total(widthsOf(program, 'division gap')), sumBits);
      assert.equal(total(widthsOf(program, 'rounding limb')), productShift);
      assert.deepEqual(widthsOf(program, 'probability'), [8]);
    }
});

test('ZK-14 softmax: one quotient passes, and with a wider reciprocal false ones would', () => {
  const passing = (numerator: number, sum: number, bits: number, sumBits: number): number[] =>
    range(2 ** bits).filter((r) => {
      const rest = residue(numerator - r * sum);
      return rest < 2 ** sumBits && residue(sum - 1 - rest) < 2 ** sumBits;
    });
  const n = 64;
  const first = 12;
  const { numeratorBits } = softmaxScales(n, first);
  const numerator = 2 ** numeratorBits - 1;
  for (const sum of [2 ** first, 2 ** first + 1, 99_999, n * 2 ** first - 1, n * 2 ** first])
    assert.deepEqual(passing(numerator, sum, numeratorBits - first, 18), [Math.floor(numerator / sum)]);
  assert.deepEqual(passing(2 ** 28 - 1, 2 ** 18, 16, 18).slice(0, 4), [1023, 8704, 16384, 24064]);
});

test('ZK-14 softmax: one probability passes for every exponential and reciprocal', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(), (n, a, b) => {
      const first = 10;
      const { numeratorBits, productShift } = softmaxScales(n, first);
      const e = a % (2 ** first + 1);
      const r = b % 2 ** (numeratorBits - first);
      const scaled = e * r + 2 ** (productShift - 1);
      const passing = range(256).filter((y) => residue(scaled - y * 2 ** productShift) < 2 ** productShift);
      assert.deepEqual(passing, [Math.floor(scaled / 2 ** productShift)]);
    }),
  );
});

test('ZK-15 of every number in limbs the lowest is what the identity leaves, and all others are committed', () => {
  const storages = (program: Program): Map<string, string> =>
    new Map(
      program.lookups.map(({ name, tuple: [first] }) => [
        name.replace(/^op \d+ /, ''),
        first.kind === 'tensor' ? (program.tensors[first.tensor]?.storage ?? '') : '',
      ]),
    );
  const softmax = plan(softmaxKey(), 1);
  const found = storages(softmax);
  for (const family of ['reciprocal', 'division rest', 'division gap', 'rounding']) {
    const limbs = [...found].filter(([name]) => name.startsWith(`softmax ${family} limb`));
    assert.ok(limbs.length >= 2, family);
    for (const [name, storage] of limbs)
      assert.equal(storage, name.endsWith('limb 0') ? 'virtual' : 'witness', name);
  }
  // The gap S - 1 - u is computed from the rest u, not committed beside it.
  const rest = softmax.tensors.find(({ name }) => name.endsWith('division rest'));
  const gap = softmax.tensors.find(({ name }) => name.endsWith('division gap'));
  assert.equal(rest?.storage, 'virtual');
  assert.equal(gap?.definition.kind, 'sum');
  assert.ok(gap.definition.terms.some(({ tensor }) => tensor === rest.id));

  const layer = storages(plan(layerKey(), 1));
  assert.deepEqual(
    [...layer],
    [
      ['requantize remainder limb 0', 'witness'],
      ['requantize overflow', 'witness'],
      ['requantize window', 'virtual'],
    ],
  );
  const sixteen = storages(plan(requantize16Key(), 1));
  assert.equal(sixteen.get('requantize16 low'), 'virtual');
  assert.equal(sixteen.get('requantize16 high'), 'witness');
  const top1 = [...storages(plan(top1Key(), 1))];
  assert.ok(top1.length >= 2);
  for (const [name, storage] of top1) assert.equal(storage, name.endsWith('limb 0') ? 'virtual' : 'witness');
});

test('ZK-14 top-1: no difference of two keys but a true one stands in the limbs', () => {
  const admitted = (limbBits: number, spread: number): boolean => {
    const g = createZkGraph({ limbBits });
    // Keys of two entries, from 0 up to 2 · hi + 1.
    const x = g.sum([{ x: g.input('i16', [2], 0, 1), coefficient: spread / 2 - 1 }], [2]);
    return admits(() =>
      g.finish([
        g.top1(x),
        plain(g, g.sum([{ x: g.weight('i8', [2], 0, 1) }, { x: g.input('i8', [2]) }], [2]), 1),
      ]),
    );
  };
  const top = 2 ** 20;
  for (const limbBits of [8, 9, 10, 11, 12])
    for (const spread of [2 ** 8, 2 ** 18, top, 2 * top]) {
      const limbs = Math.max(1, Math.ceil(bitsOfExtent(spread) / limbBits));
      assert.ok(admitted(limbBits, spread), `${limbBits} ${spread}`);
      // The least negative difference of largest size.
      assert.ok(residue(1 - spread) >= 2 ** (limbs * limbBits));
    }
});

test('ZK-14 top-1: keys so far apart that the smaller one could be shown as the larger are refused', () => {
  const key = (highest: number): unknown => {
    const g = createZkGraph({ limbBits: 10 });
    const x = g.sum([{ x: g.input('i16', [2], 0, 30_000), coefficient: highest / 30_000 }], [2]);
    return g.finish([
      g.top1(x),
      plain(g, g.sum([{ x: g.weight('i8', [2], 0, 1) }, { x: g.input('i8', [2]) }], [2]), 1),
    ]);
  };
  const highest = 480_000_000;
  // Row (0, highest): with the first key as the maximum, the second differs by a residue of 30 bits.
  assert.ok(residue(2 * 0 + 1 - 2 * highest) < 2 ** 30);
  assert.ok(!admits(() => key(highest)));
  const less = 469_740_000;
  assert.ok(residue(1 - (2 * less + 1)) >= 2 ** 30);
  assert.ok(admits(() => key(less)));
});
