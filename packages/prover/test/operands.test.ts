/** Operands evaluated through wires and sums against the same tensors built cell by cell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PlanTensor, type Program, publicTensorShapes, tensorRowBytes } from '@haca/circuit';
import { type Ext, evaluateMultilinear, extVectorToList } from '@haca/primitives/zk';
import { assign, createIntegerModel } from '@haca/runtime';
import { createZkGraph, PLAIN_LIST, type ZkExample, type ZkNode } from '@haca/testkit';
import type { AxisUse } from '../src/backend.ts';
import { evaluateOperand, evaluateTensor } from '../src/operands.ts';
import { referenceBackend } from '../src/reference-backend.ts';
import { createTensorStore, type TensorStore } from '../src/tensor-store.ts';
import { type Random, randomOf } from './backend-conformance.ts';

const tap = { stride: 1, dilation: 1, pad: 0, start: 0 };

/** Wires of all kinds and sums of them, each read by something. */
function network(): ZkExample {
  const g = createZkGraph({ seed: 3 });
  const x = g.input('i8', [3, 6, 5]);
  const w = g.weight('i8', [3, 6, 5], -20, 20);
  const a = g.requantize(g.sum([{ x }, { x: w }], [3, 6, 5]), { shift: 1, offset: 128, values: PLAIN_LIST });
  const patches = g.wire(
    a,
    [
      { kind: 'same', x: 0, y: 0 },
      { kind: 'window', x: 1, yPosition: 1, yTap: 3, stride: 2, dilation: 1, pad: 1, start: 0 },
      { kind: 'window', x: 2, yPosition: 2, yTap: 4, stride: 1, dilation: 2, pad: 0, start: 1 },
    ],
    [3, 3, 2, 3, 2],
  );
  const pooled = g.wire(
    a,
    [
      { kind: 'pool', x: 0, y: 0, taps: 2, ...tap },
      { kind: 'pool', x: 1, y: 1, taps: 1, stride: 1, dilation: 1, pad: 0, start: 2 },
      { kind: 'same', x: 2, y: 2 },
    ],
    [2, 4, 5],
  );
  const joined = g.wire(
    a,
    [
      { kind: 'merge', xPosition: 0, xTap: 1, y: 0, ...tap, stride: 6 },
      { kind: 'same', x: 2, y: 1 },
    ],
    [18, 5],
  );
  // [2, 4, 5] has bits 1, 2, 3: turned around, with a broadcast of its first half.
  const turned = g.sum([{ x: pooled, bits: [7, 5, 6, 2, 3, 4] }], [5, 4, 2]);
  const mixed = g.sum(
    [
      { x: turned, coefficient: 3 },
      { x: turned, coefficient: -2, bits: [2, 3, 4, 6, 5, 0] },
    ],
    [5, 4, 2],
    9,
  );
  const sums = [patches, joined, mixed].map((y: ZkNode) =>
    g.contract({ a: y, labelsA: y.extents.map((_, axis) => axis), extents: [y.extents[0] as number] }),
  );
  return g.finish(sums.map((y) => g.requantize(y, { shift: 4, offset: 128, values: PLAIN_LIST })));
}

function open(): { readonly program: Program; readonly store: TensorStore; readonly built: Set<number> } {
  const { key, weights } = network();
  const model = createIntegerModel({ key, weights });
  const program = model.program(3);
  const random = randomOf(1);
  const inputs = publicTensorShapes(key).inputs.map((shape) =>
    Uint8Array.from({ length: 3 * tensorRowBytes(shape) }, () => random.integer(0, 255)),
  );
  const honest = assign(program, model, inputs);
  const built = new Set<number>();
  const assignment = {
    values: (id: number) => {
      built.add(id);
      return honest.values(id);
    },
  };
  const vectors = program.tensors
    .filter(({ storage }) => storage === 'weight')
    .map(({ id }) => backend.upload(honest.values(id)));
  return { program, store: createTensorStore(backend, program, assignment, vectors), built };
}

const backend = referenceBackend();

const virtual = ({ tensors }: Program): PlanTensor[] =>
  tensors.filter(({ storage, definition }) => storage === 'virtual' && /wire|sum/.test(definition.kind));

function randomUses(tensor: PlanTensor, random: Random): { points: (Ext[] | null)[]; order: number[] } {
  const points = tensor.axisBits.map((bits) => (random.integer(0, 1) === 0 ? null : random.point(bits)));
  const order = points.flatMap((point, axis) => (point === null ? [axis] : []));
  if (random.integer(0, 1) === 0) order.reverse();
  return { points, order };
}

test('operands through wires and sums are those of the built tensor', () => {
  const { program, store } = open();
  const context = { backend, store };
  const random = randomOf(2);
  assert.ok(virtual(program).length >= 9);
  for (const tensor of virtual(program))
    for (let i = 0; i < 12; i++) {
      const { points, order } = randomUses(tensor, random);
      const axes = points.map(
        (point, axis): AxisUse =>
          point === null ? { kind: 'keep', bits: tensor.axisBits[axis] as number } : { kind: 'point', point },
      );
      const expected = backend.partialEvaluate({ vector: store.vector(tensor.id), axes, order });
      const { vector } = evaluateOperand(context, tensor.id, points, order);
      assert.deepEqual(
        extVectorToList(backend.download(vector)),
        extVectorToList(backend.download(expected)),
        `${tensor.name} at ${points.map((point) => point !== null)} in order ${order}`,
      );
    }
});

test('tensors at a point', () => {
  const { program, store } = open();
  const random = randomOf(4);
  const reference = open();
  for (const { id, bits, name } of program.tensors) {
    const point = random.point(bits);
    const values = backend.download(reference.store.vector(id));
    assert.deepEqual(evaluateTensor({ backend, store }, id, point), evaluateMultilinear(values, point), name);
  }
});

test('patches are not built where positions are at a point', () => {
  const { program, store, built } = open();
  const random = randomOf(6);
  const patches = program.tensors.find(({ extents }) => extents.length === 6) as PlanTensor;
  const [b, , y, x] = patches.axisBits as [number, number, number, number];
  const points = [random.point(b), null, random.point(y), random.point(x), null, null];
  const { vector } = evaluateOperand({ backend, store }, patches.id, points, [1, 4, 5]);
  assert.equal(vector.length, 2 ** (2 + 2 + 1));
  assert.ok(!built.has(patches.id));
  assert.ok(built.size > 0);
});

test('sums of sums are not followed along every way: their number doubles with each', () => {
  const g = createZkGraph();
  const input = g.input('i8', [2], 0, 0);
  const w = g.weight('i8', [2], 0, 1);
  let [before, last] = [input, g.sum([{ x: input }, { x: w }], [2])];
  for (let i = 0; i < 20; i++) [before, last] = [last, g.sum([{ x: last }, { x: before }], [2])];
  const { key, weights } = g.finish([g.requantize(last, { shift: 10, offset: 128, values: PLAIN_LIST })]);
  const model = createIntegerModel({ key, weights });
  const program = model.program(1);
  const honest = assign(program, model, [new Uint8Array(2)]);
  const store = createTensorStore(backend, program, honest, []);
  let combinations = 0;
  const counting = {
    ...backend,
    combineTerms: (terms: Parameters<typeof backend.combineTerms>[0]) => {
      combinations++;
      return backend.combineTerms(terms);
    },
  };
  const deepest = program.tensors.find(({ keyTensor }) => keyTensor === last.id) as PlanTensor;
  const point = randomOf(8).point(deepest.bits);
  const value = evaluateTensor({ backend: counting, store }, deepest.id, point);
  assert.deepEqual(value, evaluateMultilinear(backend.download(store.vector(deepest.id)), point));
  assert.ok(combinations <= 64, `${combinations} combinations`);
});

test('a view of small integers stays one', () => {
  const g = createZkGraph();
  const input = g.input('i8', [2, 4]);
  const w = g.weight('i8', [2, 4], -20, 20);
  const a = g.requantize(g.sum([{ x: input }, { x: w }], [2, 4]), {
    shift: 0,
    offset: 128,
    values: PLAIN_LIST,
  });
  const flat = g.sum([{ x: a }], [8]);
  const { key, weights } = g.finish([g.requantize(flat, { shift: 0, offset: 128, values: PLAIN_LIST })]);
  const model = createIntegerModel({ key, weights });
  const program = model.program(1);
  const honest = assign(program, model, [new Uint8Array(8)]);
  const store = createTensorStore(backend, program, honest, []);
  const view = program.tensors.find(
    ({ definition }) => definition.kind === 'sum' && definition.terms.length === 1,
  ) as PlanTensor;
  const { vector, owned } = evaluateOperand({ backend, store }, view.id, [[], null], [1]);
  assert.equal(vector.field, 'base');
  assert.equal(owned, false);
});
