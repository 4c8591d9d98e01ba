import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Claim,
  COORDINATE_ZERO,
  type Coordinate,
  capDigests,
  FIRST_CHALLENGE,
  foldDepths,
  type Program,
  plan,
  planRegistration,
  type Slot,
  type SlotFill,
  type Step,
  type VerifyingKey,
} from '@haca/circuit';
import { createZkGraph, lenet5, moe, transformerBlock, twoInput } from '@haca/testkit';
import { randomKey } from './random-graphs.ts';
import { dense, KEYS, plain, range } from './support.ts';

function programs(): Program[] {
  const random = range(60)
    .map((seed) => randomKey(seed + 1, 4 + (seed % 9)))
    .filter((key): key is VerifyingKey => key !== null);
  assert.ok(random.length > 40, `${random.length} random keys`);
  const examples = [lenet5().key, transformerBlock().key, moe().key, twoInput().key];
  const keys = [...Object.values(KEYS).map((key) => key()), ...examples, ...random];
  return keys.flatMap((key, i) => [
    plan(key, 1 + (i % Math.min(4, key.maxBatch))),
    ...(i % 8 === 0 ? [planRegistration(key)] : []),
  ]);
}

const PROGRAMS = programs();

/** Slots that a step fills, those it needs, the claims it makes and those it settles, coordinates it draws. */
interface Effects {
  readonly filled: readonly Slot[];
  readonly needed: readonly Slot[];
  readonly made: readonly Claim[];
  readonly settled: readonly Claim[];
  readonly drawn: readonly Coordinate[];
  readonly fills: readonly SlotFill[];
  readonly elements: number;
  readonly degrees: number;
}

function effectsOf(step: Step, program: Program): Effects {
  const none = {
    filled: [],
    needed: [],
    made: [],
    settled: [],
    drawn: [],
    fills: [],
    elements: 0,
    degrees: 0,
  };
  const storageOf = (tensor: number): string => program.tensors[tensor]?.storage ?? '';
  const fillsOf = (fills: readonly SlotFill[]): Pick<Effects, 'filled' | 'needed' | 'made' | 'fills'> => ({
    fills,
    filled: fills.filter(({ from }) => from !== 'known').map(({ slot }) => slot),
    needed: fills.filter(({ from }) => from === 'known').map(({ slot }) => slot),
    made: fills
      .filter(({ from }) => from === 'sent')
      .map(({ tensor, point, slot }) => ({ tensor, point, slot })),
  });
  const sent = (fills: readonly SlotFill[]): number => fills.filter(({ from }) => from === 'sent').length;
  switch (step.kind) {
    case 'handover':
      return { ...none, ...fillsOf(step.fills), elements: sent(step.fills) };
    case 'sum': {
      const effects = fillsOf(step.fills);
      const { definition } = program.tensors[step.claim.tensor] as Program['tensors'][number];
      assert.equal(definition.kind, 'sum');
      const last = definition.terms[definition.terms.length - 1];
      assert.ok(last);
      const point = last.bits.map((bit) => (bit < 2 ? bit : (step.claim.point[bit - 2] as Coordinate)));
      const slot = step.slots[step.slots.length - 1] as Slot;
      const derived = step.solvesLast ? [{ tensor: last.tensor, point, slot }] : [];
      return {
        ...none,
        ...effects,
        needed: [
          ...step.slots.filter(
            (each) => !effects.filled.includes(each) && (!step.solvesLast || each !== slot),
          ),
        ],
        filled: [...effects.filled, ...derived.map((each) => each.slot)],
        made: [...effects.made, ...derived],
        settled: [step.claim],
        elements: sent(step.fills),
      };
    }
    case 'aggregate':
      return {
        ...none,
        drawn: step.rounds,
        filled: [step.out.slot],
        made: [step.out],
        settled: step.claims,
        elements: 2 * step.rounds.length + 1,
        degrees: 2 * step.rounds.length,
      };
    case 'contract': {
      const fills = [step.a, ...(step.c === null ? [] : [step.c])];
      const inner = step.contracted.flatMap(({ rounds }) => rounds);
      const each = step.format === 'SC3' ? 3 : 2;
      assert.equal(step.eqPoint.length, step.eqRounds.length);
      assert.ok(!step.eqPoint.includes(COORDINATE_ZERO), 'an EQ round against the constant 0');
      return {
        ...none,
        ...fillsOf(fills),
        needed: fills
          .filter(({ from, slot }, i) => from === 'known' && (i === 0 || slot !== step.a.slot))
          .map(({ slot }) => slot),
        settled: [step.claim],
        drawn: [...step.eqRounds, ...inner],
        elements: 2 * step.eqRounds.length + each * inner.length + sent(fills),
        degrees: 2 * step.eqRounds.length + each * inner.length,
      };
    }
    case 'wire': {
      const rounds = step.summed.flatMap((axis) => axis.rounds);
      const count = 2 * rounds.length;
      return {
        ...none,
        ...fillsOf([step.x]),
        settled: [step.claim],
        drawn: rounds,
        elements: count + sent([step.x]),
        degrees: count,
      };
    }
    case 'gather': {
      const count = 2 * step.rounds.length;
      return {
        ...none,
        ...fillsOf([step.table]),
        settled: [step.claim],
        drawn: step.rounds,
        elements: count + sent([step.table]),
        degrees: count,
      };
    }
    case 'tie': {
      const side = 'from' in step.side ? fillsOf([step.side]) : { ...none, filled: [step.side.slot] };
      return {
        ...none,
        ...side,
        made: [...side.made, step.claim],
        drawn: step.fresh,
        elements: 'from' in step.side ? sent([step.side]) : 0,
      };
    }
    case 'output':
      return {
        ...none,
        filled: [step.out.slot],
        made: [step.out],
        drawn: [...step.fresh, ...step.rounds],
        elements: 2 * step.rounds.length + 1,
        degrees: 2 * step.rounds.length,
      };
    case 'public':
      assert.equal(storageOf(step.claim.tensor), 'public');
      return { ...none, needed: [step.claim.slot], settled: [step.claim] };
  }
}

const nameOf = ({ tensor, point, slot }: Claim): string => `${tensor}:${point.join()}:${slot}`;
const sorted = (names: readonly string[]): string[] => [...names].sort();

test('ZK-18 every claim is settled once: by its step, by a comparison, or by the opening', () => {
  for (const program of PROGRAMS) {
    const effects = program.steps.map((step) => effectsOf(step, program));
    const made = effects.flatMap((each) => each.made).map(nameOf);
    const settled = [...effects.flatMap((each) => each.settled), ...program.openings].map(nameOf);
    assert.deepEqual(sorted(settled), sorted(made));
    assert.equal(new Set(made).size, made.length);
    for (const claim of program.openings) {
      const storage = program.tensors[claim.tensor]?.storage;
      assert.ok(storage === 'weight' || storage === 'witness');
    }
  }
});

test('ZK-18 no tensor goes without a claim: virtual ones are reduced, committed ones opened', () => {
  for (const program of PROGRAMS) {
    const reached = new Set(
      program.steps.flatMap((step) => effectsOf(step, program).made).map(({ tensor }) => tensor),
    );
    for (const { id, storage, name } of program.tensors)
      if (storage !== 'public') assert.ok(reached.has(id), `${name} is free`);
  }
});

test('ZK-19 every slot is filled once, before it is needed', () => {
  for (const program of PROGRAMS) {
    const filled = new Set<Slot>();
    for (const step of program.steps) {
      const effects = effectsOf(step, program);
      for (const slot of effects.needed)
        assert.ok(filled.has(slot), `slot ${slot} is read before it is filled`);
      for (const { slot } of effects.settled) assert.ok(filled.has(slot));
      for (const slot of effects.filled) {
        assert.ok(!filled.has(slot), `slot ${slot} is filled twice`);
        filled.add(slot);
      }
      if (step.kind === 'handover')
        for (const slot of [...step.lookupSlots.flat(), ...step.tableSlots])
          assert.ok(slot === null || filled.has(slot));
    }
    assert.equal(filled.size, program.slots);
  }
});

test('ZK-19 coordinates are drawn once, in order, and used afterwards; no point uses one twice', () => {
  for (const program of PROGRAMS) {
    let next = FIRST_CHALLENGE + program.treeBits;
    for (const step of program.steps) {
      const { drawn, made, settled, fills } = effectsOf(step, program);
      for (const { point } of settled) assert.ok(point.every((coordinate) => coordinate < next));
      for (const coordinate of drawn) assert.equal(coordinate, next++);
      for (const { tensor, point } of [...made, ...fills]) {
        assert.ok(point.every((coordinate) => coordinate < next));
        assert.equal(point.length, program.tensors[tensor]?.bits);
        const challenges = point.filter((coordinate) => coordinate >= FIRST_CHALLENGE);
        assert.equal(new Set(challenges).size, challenges.length);
      }
    }
    assert.equal(next, program.coordinates);
  }
});

test('ZK-18 what is looked up has a slot at the tail of the tree, where its tensor is claimed', () => {
  for (const program of PROGRAMS) {
    const [handover] = program.steps;
    assert.equal(handover?.kind, 'handover');
    assert.equal(program.steps.filter(({ kind }) => kind === 'handover').length, 1);
    assert.equal(handover.lookupSlots.length, program.lookups.length);
    const fillOf = new Map(handover.fills.map((fill) => [fill.slot, fill]));
    const tail = (bits: number): number[] => range(bits, FIRST_CHALLENGE + program.treeBits - bits);
    for (const [i, lookup] of program.lookups.entries())
      for (const [c, entry] of lookup.tuple.entries()) {
        const slot: Slot | null | undefined = handover.lookupSlots[i]?.[c];
        if (entry.kind !== 'tensor') assert.equal(slot, null);
        else {
          const fill = fillOf.get(slot as Slot);
          assert.equal(fill?.tensor, entry.tensor);
          assert.deepEqual(fill?.point, tail(lookup.bits));
          assert.deepEqual(program.tensors[entry.tensor]?.extents, lookup.extents);
        }
      }
    for (const [i, table] of program.tables.entries()) {
      const fill = fillOf.get(handover.tableSlots[i] as Slot);
      assert.equal(fill?.tensor, table.multiplicity);
      assert.deepEqual(fill?.point, tail(table.bits));
    }
  }
});

test('ZK-19 a tensor is defined by tensors that stand before it, and is of degree two at most', () => {
  for (const { tensors } of PROGRAMS) {
    const degrees: number[] = [];
    for (const { id, storage, definition } of tensors) {
      const operands =
        definition.kind === 'sum'
          ? definition.terms.map(({ tensor }) => tensor)
          : definition.kind === 'contract'
            ? [definition.a, ...(typeof definition.c === 'number' ? [definition.c] : [])]
            : definition.kind === 'wire'
              ? [definition.x]
              : definition.kind === 'gather'
                ? [definition.table, definition.ids]
                : definition.kind === 'published'
                  ? [definition.source]
                  : [];
      for (const operand of operands) assert.ok(operand < id);
      const each = operands.map((operand) => degrees[operand] as number);
      if (storage === 'virtual') {
        degrees[id] =
          definition.kind === 'contract' || definition.kind === 'gather'
            ? each.reduce((sum, degree) => sum + degree, 0)
            : Math.max(...each);
        assert.ok((degrees[id] as number) <= 2, 'ZK-10');
      } else degrees[id] = storage === 'weight' ? 0 : 1;
    }
  }
});

test('ZK-20 the length of a proof is what its parts add up to', () => {
  for (const program of PROGRAMS) {
    const { opening, treeBits } = program;
    const columns = opening.weightColumns + opening.witnessColumns;
    const depth = opening.columnBits + opening.blowupBits;
    let elements = 4;
    for (let level = 1; level < treeBits; level++) elements += 2 * level + 4;
    for (const step of program.steps) elements += effectsOf(step, program).elements;
    elements += 2 * opening.columnBits + columns;
    for (const fold of opening.folds) elements += 2 * fold;
    elements += 2 ** opening.finalBits;
    let digests = capDigests(depth);
    let query = 4 * columns + 2 * 32 * Math.max(0, depth - 7);
    for (const [layer, each] of foldDepths(opening).entries()) {
      digests += capDigests(each);
      query += 20 * (2 ** (opening.folds[layer] as number) - 1) + 32 * Math.max(0, each - 7);
    }
    const bytes = 4 + 1 + 4 + 20 * elements + 32 * digests + 8 + opening.queries * query;
    assert.equal(program.proofBytes, bytes);
  }
});

test('ZK-18 residual sums of one shape keep every claim', () => {
  const g = createZkGraph();
  const a = plain(g, dense(g, g.input('i8', [4]), 4), 6);
  const b = plain(g, dense(g, a, 4), 6);
  const sum = g.sum(
    [
      { x: a, coefficient: 2 },
      { x: b, coefficient: 3 },
    ],
    [4],
  );
  const program = plan(g.finish([plain(g, sum, 2), plain(g, sum, 3)]).key, 1);
  // Both requantizations look up at one point: one finds the sum's value known, and the sum finds those of a and b.
  const sums = program.steps.filter((step) => step.kind === 'sum');
  assert.equal(sums.filter(({ solvesLast }) => !solvesLast).length, 2);
});

test('ZK-19 a slice of a product is claimed at a fresh point before its EQ rounds', () => {
  const g = createZkGraph();
  const x = plain(g, dense(g, g.input('i8', [4]), 4), 6);
  const square = g.contract({ a: x, c: x, labelsA: [0], labelsC: [0], extents: [4] });
  const half = g.sum([{ x: square, bits: [0, 2] }], [2]);
  const program = plan(g.finish([plain(g, half, 8)]).key, 1);
  const at = program.steps.findIndex((step) => step.kind === 'aggregate');
  const [aggregate, contract] = program.steps.slice(at);
  assert.equal(aggregate?.kind, 'aggregate');
  assert.equal(aggregate.claims.length, 1);
  assert.ok(aggregate.claims[0]?.point.includes(COORDINATE_ZERO));
  assert.equal(contract?.kind, 'contract');
  assert.deepEqual(contract.claim, aggregate.out);
});

/** Field elements as bigints; p is the BabyBear prime. */
const P = 2_013_265_921n;
const modulo = (value: bigint): bigint => ((value % P) + P) % P;

function evaluate(cells: readonly bigint[], point: readonly bigint[]): bigint {
  let values = cells;
  for (const r of point) {
    const half = values.length / 2;
    values = range(half).map((i) =>
      modulo((1n - r) * (values[i] as bigint) + r * (values[i + half] as bigint)),
    );
  }
  return values[0] as bigint;
}

test('ZK-7 the value of a sum at any point is that of its terms at the points of its bit maps', () => {
  let checked = 0;
  for (const { tensors } of PROGRAMS)
    for (const { bits, definition } of tensors) {
      if (definition.kind !== 'sum' || definition.functions.length > 0 || bits > 8) continue;
      const operands = definition.terms.map(({ tensor }) => {
        const size = 2 ** (tensors[tensor]?.bits as number);
        return range(size).map((i) => modulo(BigInt(tensor + 7) * BigInt(i * i + 3 * i + 11) ** 3n));
      });
      const coordinates = range(bits).map((k) => modulo(BigInt(k + 2) ** 40n));
      const indexOf = (map: readonly number[], cell: number): number =>
        map.reduce((index, bit) => 2 * index + (bit < 2 ? bit : (cell >> (bits - 1 - (bit - 2))) & 1), 0);
      const cells = range(2 ** bits).map((cell) =>
        definition.terms.reduce(
          (sum, { coefficient, bits: map }, i) =>
            modulo(sum + BigInt(coefficient) * (operands[i]?.[indexOf(map, cell)] as bigint)),
          BigInt(definition.constant),
        ),
      );
      const expected = definition.terms.reduce((sum, { coefficient, bits: map }, i) => {
        const point = map.map((bit) => (bit < 2 ? BigInt(bit) : (coordinates[bit - 2] as bigint)));
        return modulo(sum + BigInt(coefficient) * evaluate(operands[i] as bigint[], point));
      }, BigInt(definition.constant));
      assert.equal(evaluate(cells, coordinates), expected);
      checked++;
    }
  assert.ok(checked > 200, `${checked} sums`);
});
