import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import {
  INTEGER_BOUND,
  plan,
  planRegistration,
  planWith,
  type TensorSpec,
  type VerifyingKey,
} from '@haca/circuit';
import { createZkGraph, type ZkGraph } from '@haca/testkit';
import { createBuilder, term } from '../src/lowering/builder.ts';
import { lowerTable } from '../src/lowering/pointwise.ts';
import { lowerRequantize } from '../src/lowering/requantize.ts';
import { listOf, rangeTable, unsignedTable } from '../src/lowering/tables.ts';
import { requireSecurity } from '../src/plan.ts';
import { type ScheduleInput, schedule } from '../src/schedule.ts';
import { profileParameters } from '../src/soundness.ts';
import {
  causalKey,
  changed,
  dense,
  EXPONENTIALS,
  gatherKey,
  layerKey,
  linearOutputKey,
  type MutableKey,
  maxKey,
  opOf,
  PLAIN,
  plain,
  range,
  refusalOf,
  requantize16Key,
  softmaxKey,
  sumKey,
  tableKey,
  tensorOf,
  top1Key,
  wireKey,
} from './support.ts';

const seen = new Set<string>();

function refuses(name: string, expected: string, run: () => unknown): void {
  test(name, () => {
    const refusal = refusalOf(run);
    seen.add(refusal.site);
    assert.equal(`${refusal.code} ${refusal.rule}`, expected);
  });
}

/** The key is valid, and refused after one change. */
function refusesKey(
  name: string,
  expected: string,
  base: () => VerifyingKey,
  change: (key: MutableKey) => void,
  batchSize = 1,
): void {
  refuses(name, expected, () => {
    plan(base(), 1);
    return plan(changed(base(), change), batchSize);
  });
}

const refusesGraph = (name: string, expected: string, build: (g: ZkGraph) => void): void =>
  refuses(name, expected, () => build(createZkGraph()));

const NUMBERS = { stride: 1, dilation: 1, pad: 0, start: 0 };
const fill = (key: MutableKey, index: number, change: Partial<TensorSpec>): void => {
  Object.assign(tensorOf(key, index), change);
};

// Form and parameters
refusesKey('ZK-5 a key of version 0', 'E_KEY form', layerKey, (key) => {
  key.version = 0;
});
refusesKey('ZK-5 a key of profile 0', 'E_KEY parameters', layerKey, (key) => {
  key.profile = 0;
});
for (const limbBits of [0, 7, 13])
  refusesKey(`ZK-5 limbs of ${limbBits} bits`, 'E_KEY parameters', layerKey, (key) => {
    key.limbBits = limbBits;
  });
refuses('ZK-12 a registration with limbs of no width ends', 'E_KEY parameters', () =>
  planRegistration(
    changed(sumKey(), (key) => {
      key.limbBits = 0;
      fill(key, 1, { kind: 'i32', lo: -(2 ** 15), hi: 2 ** 15 - 1 });
    }),
  ),
);
refusesKey('ZK-5 no batch at all', 'E_KEY batch', layerKey, (key) => {
  key.maxBatch = 0;
});
for (const batchSize of [0, 5, 1.5, -1, Number.NaN, 2 ** 32 - 1])
  refusesKey(`ZK-5 a batch of ${batchSize}`, 'E_KEY batch', layerKey, () => {}, batchSize);
refusesKey('ZK-5 a fold layer of no bits', 'E_KEY parameters', layerKey, (key) => {
  key.folds = [0, ...key.folds];
});
refusesKey('ZK-5 folds that do not add up', 'E_KEY parameters', layerKey, (key) => {
  key.columnBits++;
});
refusesKey('ZK-5 a weight cap of another length', 'E_KEY weight-cap', layerKey, (key) => {
  key.weightCap = key.weightCap.subarray(32);
});
refuses('ZK-11 one query less', 'E_KEY security', () => {
  const parameters = profileParameters(1);
  return requireSecurity(planWith(layerKey(), 1, { ...parameters, queries: parameters.queries - 1 }));
});
refuses('ZK-12 a codeword beyond the roots of unity', 'E_LIMIT codeword', () =>
  planWith(layerKey(), 1, { blowupBits: 22, queries: 10, grindingBits: 0 }),
);

// References, order, roles, coverage
refusesKey('ZK-5 an op that produces no tensor of the key', 'E_KEY reference', layerKey, (key) => {
  opOf(key, 'contract').y = 99;
});
refusesKey('ZK-5 an op that reads what is produced later', 'E_KEY order', layerKey, (key) => {
  key.ops.reverse();
});
refusesKey('ZK-5 an op that reads its own result', 'E_KEY order', layerKey, (key) => {
  opOf(key, 'contract').a = 2;
});
refusesKey('ZK-5 a tensor produced twice', 'E_KEY order', layerKey, (key) => {
  key.ops.push(structuredClone(opOf(key, 'requantize')));
});
refusesKey('ZK-5 a weight produced by an op', 'E_KEY role', layerKey, (key) => {
  opOf(key, 'contract').y = 1;
});
refusesKey('ZK-5 requantize16 to a virtual tensor', 'E_KEY role', requantize16Key, (key) => {
  fill(key, 3, { role: 'virtual', kind: 'i32', lo: 0, hi: 0 });
});
refusesKey('ZK-5 a linear anchor', 'E_KEY role', layerKey, (key) => {
  fill(key, 2, { role: 'anchor', lo: -INTEGER_BOUND, hi: INTEGER_BOUND });
});
refusesKey('ZK-5 a virtual tensor that is looked up into being', 'E_KEY role', layerKey, (key) => {
  fill(key, 3, { role: 'virtual', kind: 'i32', lo: 0, hi: 0 });
});
refusesKey('ZK-5 a looked-up op on a weight', 'E_KEY operands', layerKey, (key) => {
  opOf(key, 'requantize').x = 1;
});
refusesKey('ZK-5 max with a weight', 'E_KEY operands', maxKey, (key) => {
  opOf(key, 'max').b = 2;
});
refusesKey('ZK-5 a list that is not there', 'E_KEY reference', layerKey, (key) => {
  opOf(key, 'requantize').values = 1;
});
refusesKey('ZK-5 a tensor that nobody produces', 'E_KEY coverage', layerKey, (key) => {
  key.tensors.push({ role: 'output', kind: 'i8', lo: 0, hi: 1, extents: [] });
});
refusesKey('ZK-5 an input that nobody reads', 'E_KEY coverage', layerKey, (key) => {
  key.tensors.push({ role: 'input', kind: 'i8', lo: 0, hi: 1, extents: [] });
});
refusesKey('ZK-5 a list that nobody uses', 'E_KEY coverage', layerKey, (key) => {
  key.lists.push([1, 2, 3]);
});
refusesKey('ZK-5 no tensors at all', 'E_KEY coverage', layerKey, (key) => {
  Object.assign(key, { tensors: [], ops: [], lists: [] });
});
refuses('ZK-5 nothing that is looked up', 'E_KEY coverage', () => {
  const g = createZkGraph();
  return g.finish([dense(g, g.input('i8', [4]), 3)]);
});
refuses('ZK-5 no weight', 'E_KEY coverage', () => {
  const g = createZkGraph();
  return g.finish([g.table(g.input('i8', [4], 0, 3), 0, range(4))]);
});
refusesKey('ZK-6 a list twice', 'E_KEY duplicate', layerKey, (key) => {
  key.lists.push([...(key.lists[0] as number[])]);
});

// Tensors
refusesKey('ZK-7 an empty axis', 'E_KEY shape', layerKey, (key) => {
  fill(key, 0, { extents: [0] });
});
for (const [kind, lo, hi] of [
  ['i8', 5, 4],
  ['i8', -129, 0],
  ['u8', -1, 5],
  ['u8', 0, 256],
  ['i16', 0, 32_768],
  ['i32', -INTEGER_BOUND - 1, 0],
  ['i32', 0, INTEGER_BOUND + 1],
] as const)
  refusesKey(`ZK-8 [${lo}, ${hi}] as an interval of ${kind}`, 'E_KEY interval', layerKey, (key) => {
    fill(key, 3, { kind, lo, hi });
  });
refusesKey('ZK-8 the interval of a virtual tensor', 'E_KEY form', layerKey, (key) => {
  fill(key, 2, { hi: 1 });
});
refusesKey('ZK-8 an output of ids', 'E_KEY kind', layerKey, (key) => {
  fill(key, 3, { kind: 'id', lo: 0 });
});
refusesKey('ZK-8 an input of 32 bits', 'E_KEY kind', layerKey, (key) => {
  fill(key, 0, { kind: 'i32' });
});
refusesKey('ZK-8 a weight of 4097 values', 'E_KEY interval', sumKey, (key) => {
  fill(key, 1, { kind: 'i16', lo: 0, hi: 4096 });
});
refusesKey('ZK-8 a weight of 2^30 values', 'E_KEY interval', sumKey, (key) => {
  fill(key, 1, { kind: 'i32', lo: -(2 ** 29), hi: 2 ** 29 - 1 });
});
refusesKey('ZK-7 a weight without an axis', 'E_KEY shape', sumKey, (key) => {
  fill(key, 1, { extents: [] });
});
refusesKey('ZK-8 a list value beyond half the modulus', 'E_KEY interval', layerKey, (key) => {
  (key.lists[0] as number[])[7] = INTEGER_BOUND + 1;
});
refusesKey('ZK-7 a result of another shape', 'E_KEY shape', layerKey, (key) => {
  fill(key, 3, { extents: [2] });
});
refusesKey('ZK-7 a result of another shape, 16 bits', 'E_KEY shape', requantize16Key, (key) => {
  fill(key, 3, { extents: [3, 1] });
});
refusesKey('ZK-8 a table that leaves the declared interval', 'E_KEY interval', layerKey, (key) => {
  fill(key, 3, { hi: 126 });
});
refusesKey('ZK-8 a sum that leaves the declared interval', 'E_KEY interval', linearOutputKey, (key) => {
  tensorOf(key, 3).hi--;
});
refusesGraph('ZK-8 an accumulator that could wrap', 'E_KEY interval', (g) => {
  g.finish([plain(g, dense(g, g.input('i8', [61_930]), 2), 20)]);
});
refusesGraph('ZK-10 a product of products', 'E_KEY degree', (g) => {
  const x = g.input('i8', [4], -3, 3);
  const product = { labelsA: [0], labelsC: [0], extents: [4] };
  const square = g.contract({ a: x, c: x, ...product });
  g.finish([plain(g, g.contract({ a: square, c: x, ...product }), 4)]);
});

// Sums
refusesKey('ZK-7 coefficient 0', 'E_KEY coefficient', sumKey, (key) => {
  (opOf(key, 'sum').terms[0] as { coefficient: number }).coefficient = 0;
});
refusesKey('ZK-7 a sum of weights', 'E_KEY operands', sumKey, (key) => {
  (opOf(key, 'sum').terms[0] as { x: number }).x = 1;
});
for (const [name, bits] of [
  ['one bit short', [2]],
  ['a bit the result lacks', [2, 4]],
  ['a bit twice', [2, 2]],
] as const)
  refusesKey(`ZK-7 a map with ${name}`, 'E_KEY bit-map', sumKey, (key) => {
    (opOf(key, 'sum').terms[0] as { bits: number[] }).bits = [...bits];
  });
refusesKey('ZK-7 a map into the padding', 'E_KEY bit-map', sumKey, (key) => {
  fill(key, 0, { extents: [3] });
});
refuses('ZK-8 sums that doubles would round', 'E_KEY interval', () => {
  const g = createZkGraph();
  const x = g.input('i16', [2]);
  const wide = g.sum([{ x, coefficient: 30_000 }, { x: g.weight('i8', [2], 0, 1) }], [2]);
  const { key } = g.finish([plain(g, x, 9), g.sum([{ x: wide, coefficient: 1 }], [2])]);
  return plan(
    changed(key, (copy) => {
      const last = copy.ops.find((op) => op.kind === 'sum' && op.terms.length === 1);
      assert.ok(last?.kind === 'sum');
      last.terms = range(64).map((i) => ({
        x: wide.id,
        coefficient: i < 32 ? 2 ** 20 : -(2 ** 20),
        bits: [2],
      }));
    }),
    1,
  );
});

// Contractions
refusesKey('ZK-7 a contraction of a weight', 'E_KEY operands', layerKey, (key) => {
  opOf(key, 'contract').a = 1;
});
refusesKey('ZK-7 labels of nothing', 'E_KEY labels', layerKey, (key) => {
  opOf(key, 'contract').c = null;
});
refusesKey('ZK-7 an index beside a second operand', 'E_KEY labels', layerKey, (key) => {
  opOf(key, 'contract').indexLabel = 1;
});
refusesKey('ZK-7 a label that no operand has', 'E_KEY labels', layerKey, (key) => {
  Object.assign(opOf(key, 'contract'), { c: null, labelsC: [] });
});
refusesGraph('ZK-7 a contracted label that the second operand lacks', 'E_KEY labels', (g) => {
  const x = g.input('i8', [3, 4], 0, 3);
  const c = g.weight('i8', [3], 0, 1);
  g.finish([plain(g, g.contract({ a: x, c, labelsA: [0, 1], labelsC: [0], extents: [3] }), 4)]);
});
refusesGraph('ZK-7 an index along a label of the result', 'E_KEY labels', (g) => {
  const x = g.input('i8', [3, 4], 0, 3);
  g.finish([plain(g, g.contract({ a: x, labelsA: [0, 1], indexLabel: 0, extents: [3] }), 4)]);
});
refusesKey('ZK-7 an axis without a label', 'E_KEY labels', layerKey, (key) => {
  opOf(key, 'contract').labelsC = [1];
});
refusesKey('ZK-7 a label on two axes', 'E_KEY labels', layerKey, (key) => {
  opOf(key, 'contract').labelsC = [1, 1];
});
refusesKey('ZK-7 a label left out', 'E_KEY labels', layerKey, (key) => {
  Object.assign(opOf(key, 'contract'), { labelsA: [2], labelsC: [0, 2] });
});
refusesKey('ZK-7 a label of two extents', 'E_KEY shape', layerKey, (key) => {
  fill(key, 1, { extents: [3, 5] });
});
refusesKey('ZK-12 thirteen labels', 'E_LIMIT labels', layerKey, (key) => {
  fill(key, 0, { extents: [1, 1, 1, 1, 1, 1] });
  fill(key, 2, { extents: [1, 1, 1, 1, 1, 1] });
  Object.assign(opOf(key, 'contract'), { c: null, labelsA: [6, 7, 8, 9, 10, 11], labelsC: [] });
});

// Wires
refusesKey('ZK-7 a wire from a weight', 'E_KEY operands', wireKey, (key) => {
  opOf(key, 'wire').x = 1;
});
refusesKey('ZK-7 an axis of a wire twice', 'E_KEY relations', wireKey, (key) => {
  opOf(key, 'wire').relations[1] = { kind: 'same', x: 0, y: 1 };
});
refusesKey('ZK-7 an axis that is not there', 'E_KEY relations', wireKey, (key) => {
  opOf(key, 'wire').relations[1] = { kind: 'same', x: 2, y: 1 };
});
refusesKey('ZK-7 equal axes of different extents', 'E_KEY shape', wireKey, (key) => {
  fill(key, 3, { extents: [6, 4, 3] });
});
refusesKey('ZK-7 an axis without a relation', 'E_KEY relations', wireKey, (key) => {
  opOf(key, 'wire').relations.pop();
});
refusesKey('ZK-7 a wire that only moves axes', 'E_KEY relations', wireKey, (key) => {
  fill(key, 3, { extents: [6, 5] });
  opOf(key, 'wire').relations = [
    { kind: 'same', x: 0, y: 0 },
    { kind: 'same', x: 1, y: 1 },
  ];
});
for (const [name, numbers] of [
  ['stride 0', { stride: 0 }],
  ['dilation 0', { dilation: 0 }],
  ['pad and start', { pad: 1, start: 1 }],
] as const)
  refusesKey(`ZK-7 a relation with ${name}`, 'E_KEY relations', wireKey, (key) => {
    Object.assign(opOf(key, 'wire').relations[0] as object, numbers);
  });
refusesKey('ZK-7 a pool without taps', 'E_KEY relations', wireKey, (key) => {
  fill(key, 3, { extents: [6, 5] });
  opOf(key, 'wire').relations[0] = { kind: 'pool', x: 0, y: 0, taps: 0, ...NUMBERS };
});
refusesKey('ZK-7 a single tap with a dilation', 'E_KEY relations', wireKey, (key) => {
  fill(key, 3, { extents: [6, 5] });
  opOf(key, 'wire').relations[0] = { kind: 'pool', x: 0, y: 0, taps: 1, ...NUMBERS, dilation: 2 };
});
refusesKey('ZK-12 a relation of 2^14 and more pairs', 'E_LIMIT relation-cells', wireKey, (key) => {
  fill(key, 3, { extents: [6, 5] });
  opOf(key, 'wire').relations[0] = { kind: 'pool', x: 0, y: 0, taps: 2731, ...NUMBERS };
});

// Gather
refusesKey('ZK-7 a gather from an input', 'E_KEY operands', gatherKey, (key) => {
  opOf(key, 'gather').table = 0;
});
refusesKey('ZK-7 a gather by a tensor that is no id', 'E_KEY operands', gatherKey, (key) => {
  fill(key, 0, { kind: 'u8' });
});
for (const hi of [8, 10, 15])
  refusesKey(`ZK-8 ids to ${hi} of 10 rows`, 'E_KEY interval', gatherKey, (key) => {
    fill(key, 0, { hi });
  });
refusesKey('ZK-7 a gather of another shape', 'E_KEY shape', gatherKey, (key) => {
  fill(key, 2, { extents: [4, 3] });
});

// Requantize
refusesKey('ZK-14 an overflow digit in exact mode', 'E_KEY parameters', layerKey, (key) => {
  opOf(key, 'requantize').mode = 'exact';
});
refusesKey('ZK-14 a value outside the exact window', 'E_KEY representation', layerKey, (key) => {
  Object.assign(opOf(key, 'requantize'), { mode: 'exact', overflowBits: 0 });
});
refusesKey('ZK-14 an overflow digit of no bits', 'E_KEY parameters', layerKey, (key) => {
  opOf(key, 'requantize').overflowBits = 0;
});
refusesKey('ZK-14 digits that reach beyond 2^30', 'E_KEY representation', layerKey, (key) => {
  Object.assign(opOf(key, 'requantize'), { shift: 7, overflowBits: 16 });
});
refusesKey('ZK-14 a value that has no digits', 'E_KEY representation', layerKey, (key) => {
  opOf(key, 'requantize').overflowBits--;
});
refusesKey('ZK-14 a negative value in unsigned mode', 'E_KEY representation', layerKey, (key) => {
  opOf(key, 'requantize').mode = 'unsigned';
});
refusesKey('ZK-9 a window of no bits', 'E_KEY parameters', layerKey, (key) => {
  opOf(key, 'requantize').window = 0;
});
refusesKey('ZK-9 a list of another length', 'E_KEY list-length', layerKey, (key) => {
  opOf(key, 'requantize').window = 7;
});
refusesKey('ZK-9 a zero of 16 bits that is neither', 'E_KEY parameters', requantize16Key, (key) => {
  opOf(key, 'requantize16').zero = 1;
});
refuses('ZK-14 an input that may be any residue', 'E_KEY representation', () => {
  const builder = createBuilder(1, 8);
  const x = builder.add({
    storage: 'witness',
    name: 'x',
    extents: [1],
    lo: 0,
    hi: 0,
    anyResidue: true,
    definition: { kind: 'given' },
  });
  const op = opOf(layerKey() as MutableKey, 'requantize');
  return lowerRequantize(builder, op, x, [PLAIN], { name: 'y', place: () => x });
});

// Max, table, softmax, top-1
refusesKey('ZK-9 max of different shapes', 'E_KEY shape', maxKey, (key) => {
  fill(key, 1, { extents: [3] });
});
refusesKey('ZK-14 operands of max that differ by 256', 'E_KEY representation', maxKey, (key) => {
  fill(key, 1, { lo: -128, hi: 127 });
  fill(key, 0, { lo: 0, hi: 127 });
  fill(key, 2, { lo: 0, hi: 1 });
});
refusesKey('ZK-9 a value below the table', 'E_KEY totality', tableKey, (key) => {
  opOf(key, 'table').lo = 1;
});
refusesKey('ZK-9 a value above the table', 'E_KEY totality', tableKey, (key) => {
  (key.lists[0] as number[]).length = 7;
});
refuses('ZK-9 a table without a list', 'E_KEY reference', () => {
  const builder = createBuilder(1, 8);
  const x = builder.add({
    storage: 'public',
    name: 'x',
    extents: [1],
    lo: 0,
    hi: 0,
    definition: { kind: 'given' },
  });
  return lowerTable(builder, opOf(tableKey() as MutableKey, 'table'), x, [], { name: 'y', place: () => x });
});
refuses('ZK-9 a list by an index that is none', 'E_KEY reference', () => listOf([], 0, 1));
refusesGraph('ZK-9 softmax along the batch', 'E_KEY shape', (g) => {
  const x = g.sum([{ x: g.input('i8', [], 0, 3) }, { x: g.weight('i8', [1], 0, 1), bits: [] }], []);
  g.finish([g.softmax(x, { keyBits: 4, exponentials: EXPONENTIALS })]);
});
refusesKey('ZK-9 a causal mask on no square', 'E_KEY shape', causalKey, (key) => {
  for (const index of [0, 2, 3]) fill(key, index, { extents: [2, 3] });
  (opOf(key, 'sum').terms[0] as { bits: number[] }).bits = [2, 3, 4];
  (opOf(key, 'sum').terms[1] as { bits: number[] }).bits = [3, 4];
});
refusesKey('ZK-9 differences that the exponentials do not reach', 'E_KEY totality', softmaxKey, (key) => {
  fill(key, 0, { hi: 7 });
});
for (const [name, place, value] of [
  ['start at no power of two', 0, 255],
  ['start at zero', 0, 0],
  ['are negative', 3, -1],
  ['rise', 3, 257],
] as const)
  refusesKey(`ZK-14 exponentials that ${name}`, 'E_KEY softmax', softmaxKey, (key) => {
    (key.lists[0] as number[])[place] = value;
  });
refusesKey('ZK-14 exponentials of no bits', 'E_KEY softmax', softmaxKey, (key) => {
  key.lists[0] = range(16).map((i) => (i === 0 ? 1 : 0));
});
refusesKey('ZK-14 exponentials that leave the reciprocal no bits', 'E_KEY softmax', softmaxKey, (key) => {
  key.lists[0] = range(16).map((i) => 2 ** 27 - i);
});
refuses('ZK-14 softmax over so many that probabilities would be shifted by nothing', 'E_KEY softmax', () => {
  const g = createZkGraph();
  const x = g.input('i8', [2 ** 21 + 1], 0, 3);
  return g.finish([g.softmax(x, { keyBits: 2, exponentials: [4, 2, 1, 0] })]);
});
refusesGraph('ZK-9 top-1 along the batch', 'E_KEY shape', (g) => {
  g.finish([g.top1(g.sum([{ x: g.input('i8', []) }, { x: g.weight('i8', [1], 0, 1), bits: [] }], []))]);
});
refusesGraph('ZK-14 top-1 of keys beyond 2^30', 'E_KEY representation', (g) => {
  g.finish([g.top1(g.sum([{ x: g.input('i16', [4]), coefficient: 2 ** 13 }], [4]))]);
});
refusesKey('ZK-14 top-1 limbs that a negative difference reaches', 'E_KEY representation', top1Key, (key) => {
  key.limbBits = 12;
  fill(key, 0, { kind: 'i16', lo: -16_384, hi: 16_383 });
});

// Limits
refusesKey('ZK-12 a tensor of 2^29 cells', 'E_LIMIT tensor-cells', layerKey, (key) => {
  fill(key, 0, { extents: [2 ** 24, 32] });
});
refuses('ZK-12 more tensors than a program may have', 'E_LIMIT tensors', () => {
  const builder = createBuilder(1, 8);
  for (;;)
    builder.add({ storage: 'witness', name: '', extents: [], lo: 0, hi: 0, definition: { kind: 'given' } });
});
refuses('ZK-12 more tables than a program may have', 'E_LIMIT tables', () => {
  const builder = createBuilder(1, 8);
  for (let i = 0; ; i++) builder.table(`${i}`, 1, () => null as never);
});
refuses('ZK-12 a table of more than 2^16 rows', 'E_LIMIT table-rows', () =>
  createBuilder(1, 8).table('', 2 ** 16 + 1, () => assert.fail('made before it was counted')),
);
refuses('ZK-12 tables of more than 2^17 rows together, before the last is made', 'E_LIMIT table-rows', () => {
  const builder = createBuilder(1, 8);
  rangeTable(builder);
  unsignedTable(builder, 16);
  return builder.table('more', 2 ** 15 + 2 ** 14, () => assert.fail('made before it was counted'));
});
refusesKey('ZK-12 2^30 lookups', 'E_LIMIT lookups', sumKey, (key) => {
  for (const index of [0, 1, 2, 3]) fill(key, index, { extents: [2 ** 24, 16] });
  for (const each of opOf(key, 'sum').terms) each.bits = range(28, 2);
  opOf(key, 'requantize').shift = 9;
});
refusesKey('ZK-12 a tree of 2^27 leaves', 'E_LIMIT tree', sumKey, (key) => {
  for (const index of [0, 1, 2, 3]) fill(key, index, { extents: [2 ** 24, 2] });
  for (const each of opOf(key, 'sum').terms) each.bits = range(25, 2);
});
refusesKey('ZK-12 more than 256 columns', 'E_LIMIT columns', layerKey, (key) => {
  fill(key, 1, { extents: [8_000, 4] });
  fill(key, 2, { extents: [8_000] });
  fill(key, 3, { extents: [8_000] });
});
refuses('ZK-12 more than 256 columns, registered', 'E_LIMIT columns', () =>
  planRegistration(changed(layerKey(), (key) => fill(key, 1, { extents: [8_000, 4] }))),
);
refuses('ZK-12 more than 256 columns of which none alone has so many, registered', 'E_LIMIT columns', () =>
  planRegistration(
    changed(layerKey(), (key) => {
      for (let i = 0; i < 4_000; i++)
        key.tensors.push({ role: 'weight', kind: 'i8', lo: 0, hi: 1, extents: [2 ** 12] });
    }),
  ),
);
refusesKey('ZK-12 a tensor of more than 2^16 blocks', 'E_LIMIT blocks', layerKey, (key) => {
  fill(key, 1, { extents: [2 ** 21, 4] });
  fill(key, 2, { extents: [2 ** 21] });
  fill(key, 3, { extents: [2 ** 21] });
});
refuses('ZK-12 a proof of more than 640 KiB', 'E_LIMIT proof-bytes', () =>
  plan(
    changed(layerKey(), (key) => {
      Object.assign(key, { profile: 2, columnBits: 24, folds: [1, 1, 1, 1, 1, 3, 4, 4], finalBits: 8 });
    }),
    1,
  ),
);
const ones = { labelsA: [0], extents: [] };
refusesGraph('ZK-12 more than 2^22 public cells', 'E_LIMIT public-cells', (g) => {
  const sums = range(3).map(() => g.contract({ a: g.input('u8', [2 ** 21], 0, 1), ...ones }));
  const total = g.sum([...sums.map((x) => ({ x })), { x: g.weight('i8', [1], 0, 1) }], []);
  g.finish([plain(g, total, 16)]);
});
refusesGraph('ZK-12 public cells evaluated more than 2^24 times', 'E_LIMIT public-work', (g) => {
  const x = g.input('u8', [2 ** 22], 0, 1);
  const sums = range(5).map(() => g.contract({ a: x, ...ones }));
  g.finish([
    plain(g, g.sum([...sums.map((each) => ({ x: each })), { x: g.weight('i8', [1], 0, 1) }], []), 16),
  ]);
});
const readBy = (count: number, linear: (g: ZkGraph) => ReturnType<ZkGraph['sum']>) => (g: ZkGraph) => {
  const x = linear(g);
  const sums = range(count).map(() => g.contract({ a: x, ...ones }));
  const terms = sums.map((each) => ({ x: each }));
  const parts = range(Math.ceil(count / 60), 0).map((i) => g.sum(terms.slice(60 * i, 60 * i + 60), []));
  g.finish([
    plain(g, g.sum([...parts.map((each) => ({ x: each })), { x: g.weight('i8', [1], 0, 1) }], []), 12),
  ]);
};
refusesGraph(
  'ZK-12 sixty-five claims on a sum',
  'E_LIMIT aggregated-claims',
  readBy(65, (g) => g.sum([{ x: g.input('i8', [4]) }], [4])),
);
refusesGraph(
  'ZK-12 sixty-five claims on a product',
  'E_LIMIT aggregated-claims',
  readBy(65, (g) => dense(g, g.input('i8', [4]), 4)),
);

// What no key leads to, but a change of the lowering might
function scheduled(lookedUp: 'all' | 'last' | 'none', sums: number): ScheduleInput {
  const builder = createBuilder(1, 8);
  const given = { name: '', extents: [], lo: 0, hi: 0 };
  let x = builder.add({ storage: 'witness', ...given, definition: { kind: 'given' } });
  for (let i = 1; i < sums; i++)
    x =
      lookedUp === 'all'
        ? builder.add({ storage: 'witness', ...given, definition: { kind: 'given' } })
        : builder.add({
            storage: 'virtual',
            ...given,
            definition: { kind: 'sum', constant: 0, functions: [], terms: [term(x, 1)] },
          });
  for (const tensor of builder.tensors)
    if (lookedUp === 'all' || (lookedUp === 'last' && tensor === x))
      builder.lookup('', 0, tensor, [tensor.id]);
  return { ...builder, virtualOutputs: [], tables: [], treeBits: 1 };
}

refuses('ZK-12 more than 4096 claims', 'E_LIMIT claims', () => schedule(scheduled('all', 4_097)));
refuses('ZK-12 more than 8192 steps', 'E_LIMIT steps', () => schedule(scheduled('last', 8_193)));
refuses('ZK-18 a virtual tensor without a claim', 'E_KEY coverage', () => schedule(scheduled('none', 2)));
refuses('ZK-18 a virtual tensor without a definition', 'E_KEY form', () => {
  const input = scheduled('last', 2);
  const [first, second] = input.tensors;
  assert.ok(first && second);
  return schedule({ ...input, tensors: [first, { ...second, definition: { kind: 'given' } }] });
});
refuses('ZK-5 a tensor by an index that is none', 'E_KEY reference', () => createBuilder(1, 8).tensor(0));

/** Every place that refuses has refused above. */
after(() => {
  const root = resolve(import.meta.dirname, '../src');
  const sites = globSync('**/*.ts', { cwd: root }).flatMap((file) =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .flatMap((line, i) =>
        /\b(refuse|overLimit)\(/.test(line) && !line.includes('export function') ? [`${file}:${i + 1}`] : [],
      ),
  );
  assert.ok(sites.length > 80, `saw ${sites.length} places`);
  assert.deepEqual(
    sites.filter((site) => !seen.has(site)),
    [],
    'places that no test reaches',
  );
});
