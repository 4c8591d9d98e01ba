/** Every op over random shapes, extents of one and no powers of two among them, against definitions written out here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createValues,
  decodeTensor,
  encodeTensor,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
} from '@haca/circuit';
import { assign, createIntegerModel, IntegerGraphError, runModel } from '@haca/runtime';
import {
  createRandom,
  createZkGraph,
  exponentialList,
  PLAIN_LIST,
  tinyConv,
  type ZkExample,
  type ZkGraph,
  type ZkNode,
} from '@haca/testkit';
import fc from 'fast-check';
import { checkAssignment } from './assignment-checks.ts';
import { evaluateKey } from './integer-semantics.ts';

const extent = fc.integer({ min: 1, max: 6 });
const seed = fc.nat();

/** A weight and a requantization beside the op under test: no key is without. */
function withWitness(g: ZkGraph, x: ZkNode): ZkNode {
  const one = g.weight('i8', [1], -1, 1);
  const bits = x.extents.reduce((sum, size) => sum + Math.ceil(Math.log2(size)), 0);
  const first = g.sum(
    [
      { x, bits: new Array(bits).fill(0) },
      { x: one, bits: [] },
    ],
    [1],
  );
  return g.requantize(first, { shift: 0, offset: 128, values: PLAIN_LIST });
}

const cellsOf = (extents: readonly number[]): number => extents.reduce((cells, size) => cells * size, 1);

/** Runs an example on the given dense inputs (one array per input, all rows) and checks the witness as well. */
function run(example: ZkExample, inputs: readonly ArrayLike<number>[], batchSize: number): TensorValues[] {
  const shapes = publicTensorShapes(example.key);
  const model = createIntegerModel(example);
  const bytes = inputs.map((values, i) => encodeTensor(shapes.inputs[i] as TensorShape, values));
  const outputs = runModel(model, bytes, batchSize);
  const program = model.program(batchSize);
  checkAssignment(program, assign(program, model, bytes, outputs));
  return outputs.map((each, i) => decodeTensor(shapes.outputs[i] as TensorShape, each, batchSize, 'output'));
}

/** Random inputs, both engines, all outputs. */
function compare(example: ZkExample, batchSize: number, from: number): void {
  const shapes = publicTensorShapes(example.key);
  const random = createRandom(from);
  const inputs = shapes.inputs.map(({ kind, lo, hi, extents }) => {
    const values = createValues(kind, batchSize * cellsOf(extents));
    return values.map(() =>
      random() < 0.2 ? (random() < 0.5 ? lo : hi) : lo + Math.floor(random() * (hi - lo + 1)),
    );
  });
  const tensors = evaluateKey(example.key, example.weights, inputs as TensorValues[], batchSize);
  const expected = example.key.tensors.flatMap(({ role }, id) =>
    role === 'output' ? [(tensors[id]?.values ?? []).map(Number)] : [],
  );
  assert.deepEqual(
    run(example, inputs, batchSize).map((values) => [...values]),
    expected,
  );
}

const batch = fc.integer({ min: 1, max: 3 });

test('rounding: halves go up, on both sides of zero', () => {
  const g = createZkGraph();
  const x = g.input('i8', [11]);
  const sum = g.sum([{ x }, { x: g.weight('i8', [11], -1, 1, new Int8Array(11)) }], [11]);
  const example = g.finish([g.requantize(sum, { shift: 1, offset: 128, values: PLAIN_LIST })]);
  const [y] = run(example, [[-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5]], 1);
  assert.deepEqual([...(y as TensorValues)], [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3]);
});

test('requantization: any shift, offset and window of the three modes', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('saturating' as const, 'exact' as const, 'unsigned' as const),
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: -3, max: 3 }),
      fc.integer({ min: 8, max: 12 }),
      batch,
      seed,
      (mode, shift, window, middle, limbBits, batchSize, from) => {
        const g = createZkGraph({ seed: from, limbBits });
        const x = g.input('i16', [3, 2]);
        // Bounds of the sum fill the digits of the mode, as far as 16 bits of input go.
        const size = 2 ** (shift + window);
        const offset = mode === 'saturating' ? middle * 2 ** Math.max(0, window - 2) : 0;
        const reach = mode === 'exact' ? Math.floor(size / 2) - 2 ** shift : 2 ** 15;
        const scale = mode === 'exact' ? Math.max(1, Math.floor(reach / 2 ** 16)) : 1;
        const limit = mode === 'exact' ? Math.min(2 ** 15 - 1, Math.floor(reach / scale)) : 2 ** 15 - 1;
        fc.pre(limit >= 1);
        const narrow = g.input('i16', [3, 2], -limit, limit);
        const values = Array.from({ length: 2 ** window }, () => Math.floor(g.random() * 256) - 128);
        const zero = g.weight('i8', [3, 2], 0, 0);
        const sum = g.sum(
          [{ x: mode === 'exact' ? narrow : x, coefficient: scale }, { x: zero }],
          [3, 2],
          mode === 'saturating' ? 0 : scale * (mode === 'exact' ? limit : 2 ** 15),
        );
        const other = g.sum([{ x: mode === 'exact' ? x : narrow }], [3, 2]);
        const y = g.requantize(sum, { shift, offset, mode, window, values });
        compare(g.finish([y, other]), batchSize, from);
      },
    ),
    { numRuns: 60 },
  );
});

test('sixteen bits: any shift, signed and rectified', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0 as const, 32_768 as const),
      fc.integer({ min: 0, max: 8 }),
      batch,
      seed,
      (zero, shift, batchSize, from) => {
        const g = createZkGraph({ seed: from });
        const x = g.input('i16', [3]);
        const sum = g.sum([{ x, coefficient: 37 }, { x: g.weight('i8', [3], -9, 9) }], [3]);
        compare(g.finish([g.requantize16(sum, { shift, zero })]), batchSize, from);
      },
    ),
    { numRuns: 30 },
  );
});

test('sums: constants, coefficients, broadcasts, strided views and transposes by bits', () => {
  fc.assert(
    fc.property(
      extent,
      extent,
      fc.integer({ min: -1000, max: 1000 }),
      fc.integer({ min: -50, max: 50 }).filter((c) => c !== 0),
      batch,
      seed,
      (rows, columns, constant, coefficient, batchSize, from) => {
        const g = createZkGraph({ seed: from });
        const width = (size: number): number => Math.ceil(Math.log2(size));
        const [r, c] = [width(rows), width(columns)];
        const x = g.input('i8', [rows, columns]);
        const transposed = g.input('i8', [columns, rows]);
        const doubled = g.input('u8', [rows, 2 * columns]);
        const bias = g.weight('i8', [columns], -128, 127);
        const bitsOf = (first: number, count: number): number[] =>
          Array.from({ length: count }, (_, i) => 2 + first + i);
        const sum = g.sum(
          [
            { x, coefficient },
            { x: bias, bits: bitsOf(r, c) },
            { x: transposed, coefficient: -1, bits: [...bitsOf(r, c), ...bitsOf(0, r)] },
            { x: doubled, bits: [...bitsOf(0, r), ...bitsOf(r, c), 1] },
          ],
          [rows, columns],
          constant,
        );
        compare(g.finish([sum, withWitness(g, x)]), batchSize, from);
      },
    ),
    { numRuns: 40 },
  );
});

test('contractions: matrix products, batched ones, elementwise ones, sums along axes, the index, squares', () => {
  fc.assert(
    fc.property(extent, extent, extent, extent, batch, seed, (s, m, n, k, batchSize, from) => {
      const g = createZkGraph({ seed: from });
      const x = g.input('i8', [s, m, k]);
      const w = g.weight('i8', [n, k], -127, 127);
      const each = g.weight('i8', [k, s, n], -127, 127);
      const y = g.input('i8', [k, s]);
      // Its padded cells are not 0: the constant is added there too.
      const shifted = g.sum([{ x }], x.extents, 1000);
      compare(
        g.finish([
          g.contract({ a: x, c: w, labelsA: [0, 1, 3], labelsC: [2, 3], extents: [s, m, n] }),
          g.contract({ a: x, c: each, labelsA: [1, 2, 3], labelsC: [3, 1, 0], extents: [n, s, m] }),
          g.contract({ a: x, c: y, labelsA: [0, 1, 2], labelsC: [2, 0], extents: [s, m] }),
          g.contract({ a: x, c: y, labelsA: [2, 1, 0], labelsC: [0, 2], extents: [k, m, s] }),
          g.contract({ a: y, c: w, labelsA: [0, 1], labelsC: [2, 0], extents: [k, s, n] }),
          g.contract({ a: x, labelsA: [1, 0, 2], extents: [m] }),
          g.contract({ a: x, labelsA: [0, 1, 2], indexLabel: 2, extents: [s] }),
          g.contract({
            a: shifted,
            c: shifted,
            labelsA: [0, 1, 2],
            labelsC: [0, 1, 2],
            extents: [s, m],
          }),
          g.contract({ a: shifted, c: w, labelsA: [0, 1, 3], labelsC: [2, 3], extents: [s, m, n] }),
          withWitness(g, x),
        ]),
        batchSize,
        from,
      );
    }),
    { numRuns: 25 },
  );
});

test('padded cells travel through sums and wires into contractions', () => {
  fc.assert(
    fc.property(extent, extent, extent, batch, seed, (m, n, k, batchSize, from) => {
      const g = createZkGraph({ seed: from });
      const x = g.input('i8', [m, n]);
      const wide = g.input('i8', [m, n + 2]);
      const weight = g.weight('i8', [k, n], -127, 127);
      const product = (a: ZkNode): ZkNode =>
        g.contract({ a, c: weight, labelsA: [0, 2], labelsC: [1, 2], extents: [m, k] });
      const turned = (a: ZkNode): ZkNode =>
        g.contract({
          a,
          c: g.weight('i8', [k, m], -127, 127),
          labelsA: [2, 0],
          labelsC: [1, 2],
          extents: [n, k],
        });
      const width = (size: number): number => Math.ceil(Math.log2(size));
      const lower = Array.from({ length: width(n) }, (_, i) => 2 + width(m) + i);
      const raised = g.sum([{ x }], [m, n], 9);
      const again = g.sum([{ x: raised, coefficient: 2 }], [m, n]);
      const repeated = g.sum([{ x, bits: [...new Array(width(m)).fill(0), ...lower] }], [m, n]);
      const narrow =
        width(n + 2) === width(n)
          ? g.sum([{ x: wide }], [m, n])
          : g.sum(
              [
                {
                  x: wide,
                  bits: [
                    ...Array.from({ length: width(m) }, (_, i) => 2 + i),
                    ...new Array(width(n + 2) - width(n)).fill(0),
                    ...lower,
                  ],
                },
              ],
              [m, n],
            );
      const along = g.wire(
        raised,
        [
          { kind: 'same', x: 0, y: 0 },
          { kind: 'pool', x: 1, y: 1, taps: 1, stride: 1, dilation: 1, pad: 0, start: 0 },
        ],
        [m, n],
      );
      const outputs = [again, repeated, narrow, along].flatMap((a) => [product(a), turned(a)]);
      compare(g.finish([...outputs, withWitness(g, x)]), batchSize, from);
    }),
    { numRuns: 25 },
  );
});

const relation = { stride: 1, dilation: 1, pad: 0, start: 0 };

test('a wire of patches and a contraction are a convolution', () => {
  const size = fc.integer({ min: 1, max: 7 });
  const kernel = fc.integer({ min: 1, max: 3 });
  const step = fc.integer({ min: 1, max: 2 });
  fc.assert(
    fc.property(
      size,
      size,
      kernel,
      kernel,
      step,
      step,
      fc.nat(2),
      batch,
      seed,
      (h, w, kh, kw, stride, dilation, pad, batchSize, from) => {
        const outer = (length: number, taps: number): number =>
          Math.floor((length + 2 * pad - (taps > 1 ? dilation : 1) * (taps - 1) - 1) / stride) + 1;
        const [oh, ow] = [outer(h, kh), outer(w, kw)];
        fc.pre(oh >= 1 && ow >= 1);
        const spread = (taps: number): number => (taps > 1 ? dilation : 1);
        const g = createZkGraph({ seed: from });
        const x = g.input('i8', [2, h, w]);
        const weight = g.weight('i8', [3, 2, kh, kw], -127, 127);
        const patches = g.wire(
          x,
          [
            { kind: 'same', x: 0, y: 0 },
            { kind: 'window', x: 1, yPosition: 1, yTap: 3, ...relation, stride, pad, dilation: spread(kh) },
            { kind: 'window', x: 2, yPosition: 2, yTap: 4, ...relation, stride, pad, dilation: spread(kw) },
          ],
          [2, oh, ow, kh, kw],
        );
        const y = g.contract({
          a: patches,
          c: weight,
          labelsA: [3, 1, 2, 4, 5],
          labelsC: [0, 3, 4, 5],
          extents: [3, oh, ow],
        });
        const example = g.finish([y, withWitness(g, x)]);
        const input = Int8Array.from(
          { length: batchSize * 2 * h * w },
          () => Math.floor(g.random() * 256) - 128,
        );
        const [output] = run(example, [input], batchSize);
        const filter = example.weights[0] as TensorValues;
        let cell = 0;
        for (let b = 0; b < batchSize; b++)
          for (let o = 0; o < 3; o++)
            for (let i = 0; i < oh; i++)
              for (let j = 0; j < ow; j++) {
                let sum = 0;
                for (let c = 0; c < 2; c++)
                  for (let p = 0; p < kh; p++)
                    for (let q = 0; q < kw; q++) {
                      const row = i * stride + p * dilation - pad;
                      const column = j * stride + q * dilation - pad;
                      if (row < 0 || row >= h || column < 0 || column >= w) continue;
                      sum +=
                        (input[((b * 2 + c) * h + row) * w + column] as number) *
                        (filter[((o * 2 + c) * kh + p) * kw + q] as number);
                    }
                assert.equal(output?.[cell++], sum);
              }
      },
    ),
    { numRuns: 40 },
  );
});

test('wires: sums over windows, slices, paddings, concatenations, joined, split and overlapping axes', () => {
  fc.assert(
    fc.property(
      extent,
      extent,
      extent,
      fc.integer({ min: 1, max: 3 }),
      batch,
      seed,
      (n, taps, stride, start, batchSize, from) => {
        const g = createZkGraph({ seed: from });
        const x = g.input('i8', [n, taps]);
        const y = g.input('u8', [taps, n]);
        // Padded cells of a bias are not 0, and travel along `same` axes.
        const raised = g.sum([{ x }], [n, taps], 7);
        const pool = (axes: object, more: object): never =>
          ({ kind: 'pool', ...axes, taps: 1, ...relation, ...more }) as never;
        const along = (a: number): never => ({ kind: 'same', x: a, y: a }) as never;
        const windows = Math.max(1, n - taps + 1);
        compare(
          g.finish([
            g.wire(
              raised,
              [pool({ x: 0, y: 0 }, { taps, stride, dilation: taps > 1 ? start : 1 }), along(1)],
              [windows, taps],
            ),
            g.wire(x, [pool({ x: 0, y: 0 }, { stride, start }), along(1)], [3, taps]),
            g.wire(raised, [along(0), pool({ x: 1, y: 1 }, { pad: start })], [n, taps + 5]),
            g.sum(
              [
                { x: g.wire(x, [pool({ x: 0, y: 0 }, {}), along(1)], [n + 2, taps]) },
                { x: g.wire(raised, [pool({ x: 0, y: 0 }, { pad: 2 }), along(1)], [n + 2, taps]) },
              ],
              [n + 2, taps],
            ),
            g.wire(
              x,
              [{ kind: 'merge', xPosition: 0, xTap: 1, y: 0, ...relation, stride: taps }],
              [n * taps],
            ),
            g.wire(raised, [{ kind: 'merge', xPosition: 0, xTap: 1, y: 0, ...relation, start }], [n + taps]),
            g.wire(
              y,
              [
                { kind: 'same', x: 0, y: 2 },
                { kind: 'window', x: 1, yPosition: 0, yTap: 1, ...relation, stride: 2 },
              ],
              [Math.ceil(n / 2), 2, taps],
            ),
            withWitness(g, x),
          ]),
          batchSize,
          from,
        );
      },
    ),
    { numRuns: 25 },
  );
});

test('gather: ids at both ends, tables of one row', () => {
  fc.assert(
    fc.property(extent, extent, extent, batch, seed, (rows, width, count, batchSize, from) => {
      const g = createZkGraph({ seed: from });
      const ids = g.input('id', [count], 0, rows - 1);
      const y = g.gather(g.weight('i8', [rows, width], -128, 127), ids);
      compare(g.finish([y, withWitness(g, y)]), batchSize, from);
    }),
    { numRuns: 30 },
  );
});

test('the larger of two, a table of values, the place of the largest with many ties', () => {
  fc.assert(
    fc.property(
      extent,
      extent,
      fc.integer({ min: 0, max: 3 }),
      batch,
      seed,
      (n, m, spread, batchSize, from) => {
        const g = createZkGraph({ seed: from });
        const a = g.input('i8', [m, n], -spread, spread);
        const b = g.input('i8', [m, n], -spread - 1, spread);
        const shifted = g.sum([{ x: a }, { x: g.weight('i8', [m, n], 0, 0) }], [m, n]);
        compare(
          g.finish([
            g.top1(shifted),
            g.max(a, b),
            g.table(a, -spread, [7, -3, 1000, 5, 5, 0, -9].slice(0, 2 * spread + 1)),
          ]),
          batchSize,
          from,
        );
      },
    ),
    { numRuns: 40 },
  );
});

test('top-1 of sums with many bits', () => {
  fc.assert(
    fc.property(extent, batch, seed, (n, batchSize, from) => {
      const g = createZkGraph({ seed: from, limbBits: 10 });
      const x = g.input('i16', [n]);
      const sum = g.sum([{ x, coefficient: 300 }, { x: g.weight('i8', [n], -1, 1) }], [n]);
      compare(g.finish([g.top1(sum)]), batchSize, from);
    }),
    { numRuns: 20 },
  );
});

test('softmax stays within 0.71/128 of the real one, row by row, with and without a mask', () => {
  fc.assert(
    fc.property(
      fc.oneof(extent, fc.integer({ min: 60, max: 70 })),
      fc.boolean(),
      batch,
      seed,
      (n, causal, batchSize, from) => {
        const g = createZkGraph({ seed: from });
        const rows = causal ? Math.min(n, 6) : 2;
        const width = causal ? rows : n;
        const extents = [rows, width];
        const x = g.input('i8', extents);
        const sum = g.sum([{ x }, { x: g.weight('i8', extents, 0, 0) }], extents);
        const scale = 1 / 24;
        const exponentials = exponentialList(8, width <= 64 ? 12 : 10, scale);
        const example = g.finish([g.softmax(sum, { keyBits: 8, exponentials, causal })]);
        compare(example, batchSize, from);
        const input = Int8Array.from(
          { length: batchSize * rows * width },
          () => Math.floor(g.random() * 256) - 128,
        );
        const [output] = run(example, [input], batchSize);
        for (let row = 0; row < batchSize * rows; row++) {
          const entries = causal ? (row % rows) + 1 : width;
          const real = Array.from({ length: entries }, (_, j) =>
            Math.exp((input[row * width + j] as number) * scale),
          );
          const total = real.reduce((a, b) => a + b);
          for (let j = 0; j < width; j++) {
            const got = output?.[row * width + j] as number;
            if (j >= entries) assert.equal(got, 0);
            else assert.ok(Math.abs(got - (128 * (real[j] as number)) / total) <= 0.71, `${got} of ${j}`);
          }
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("malformed inputs and weights are refused, and outputs that are not the model's", () => {
  const { key, weights } = tinyConv();
  const model = createIntegerModel({ key, weights });
  const input = new Uint8Array(60);
  const code = (expected: string) => (error: unknown) =>
    error instanceof IntegerGraphError && error.code === expected;
  assert.throws(() => runModel(model, [input.subarray(1)], 1), { code: 'zk.tensor-length' });
  assert.throws(() => runModel(model, [input], 2), { code: 'zk.tensor-length' });
  assert.throws(() => runModel(model, [], 1), { name: 'UsageError' });
  assert.throws(() => runModel(model, [new Uint8Array(60 * 5)], 5), { name: 'KeyError' });
  assert.throws(() => createIntegerModel({ key, weights: weights.slice(1) }), code('weights'));
  const short = weights.map((values, i) => (i === 0 ? values.slice(1) : values));
  assert.throws(() => createIntegerModel({ key, weights: short }), code('weights'));
  const outside = weights.map((values, i) => (i === 0 ? values.map(() => -128) : values));
  assert.throws(() => createIntegerModel({ key, weights: outside as TensorValues[] }), code('weights'));
  const outputs = runModel(model, [input], 1);
  const program = model.program(1);
  assign(program, model, [input], outputs);
  const wrong = outputs.map((bytes) => bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte)));
  assert.throws(() => assign(program, model, [input], wrong), code('outputs'));
  assert.throws(() => assign(program, model, [input], []), code('outputs'));
});

test('a witness that contradicts its program is a named error, never an assignment', () => {
  const { key, weights } = tinyConv();
  const model = createIntegerModel({ key, weights });
  const program = model.program(1);
  const input = [Uint8Array.from({ length: 60 }, (_, i) => 4 * i)];
  const everything = (changed: typeof program): void => {
    const { values } = assign(changed, model, input);
    for (const { id } of changed.tensors) values(id);
  };
  everything(program);
  const narrow = program.tensors.map((tensor) =>
    tensor.name.endsWith('overflow') ? { ...tensor, lo: 5, hi: 5 } : tensor,
  );
  assert.throws(() => everything({ ...program, tensors: narrow }), { code: 'interval', place: /overflow/ });
  const shifted = program.tensors.map((tensor) =>
    tensor.definition.kind === 'requantized'
      ? { ...tensor, definition: { ...tensor.definition, values: [...PLAIN_LIST].reverse() } }
      : tensor,
  );
  assert.throws(() => everything({ ...program, tensors: shifted }), { name: 'IntegerGraphError' });
  const moved = program.lookups.map((lookup) =>
    lookup.name.endsWith('window')
      ? { ...lookup, table: program.tables.findIndex(({ kind }) => kind === 'sign') }
      : lookup,
  );
  assert.throws(() => everything({ ...program, lookups: moved }), { code: 'lookup', place: /window/ });
});

test('tensors are remembered until they are released', () => {
  const { key, weights } = tinyConv();
  const model = createIntegerModel({ key, weights });
  const program = model.program(1);
  const assignment = assign(program, model, [new Uint8Array(60)]);
  const { id } = program.tensors.find(({ definition }) => definition.kind === 'requantized') ?? { id: 0 };
  const first = assignment.values(id);
  assert.equal(assignment.values(id), first);
  const held = assignment.heldBytes();
  assignment.release(id);
  assert.equal(assignment.heldBytes(), held - first.byteLength);
  assert.notEqual(assignment.values(id), first);
  assert.deepEqual(assignment.values(id), first);
});
