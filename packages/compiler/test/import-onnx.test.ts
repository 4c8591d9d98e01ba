import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  decodeTensor,
  encodeHzk,
  type HzkModel,
  parseHzk,
  plan,
  publicTensorShapes,
  type TensorShape,
  validateVerifyingKey,
} from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import { createIntegerModel, runModel } from '@haca/runtime';

import { type ImportedKey, type ImportProgress, importOnnx, quantizeInput } from '../src/import-onnx.ts';
import { FIXTURE_NAMES, inputsOf, readDigits, readFixture } from './fixtures.ts';
import { onnxModel, randomTensor } from './onnx-writer.ts';

const calibration = readDigits('calibration');
const heldOut = readDigits('heldOut');
const CALIBRATION_ROWS = 64;
const HELD_OUT_ROWS = 64;

function calibrationOf(name: string): {
  readonly inputs: Record<string, number[][]>;
  readonly labels: number[];
} {
  const tensors = inputsOf(readFixture(name), calibration, 0, CALIBRATION_ROWS);
  const rows = ([key, { data }]: [string, { data: ArrayLike<number> }]): [string, number[][]] => {
    const width = data.length / CALIBRATION_ROWS;
    const all = Array.from(data);
    return [key, Array.from({ length: CALIBRATION_ROWS }, (_, i) => all.slice(i * width, (i + 1) * width))];
  };
  return {
    inputs: Object.fromEntries([...tensors].map(rows)),
    labels: Array.from(calibration.labels.subarray(0, CALIBRATION_ROWS)),
  };
}

/** Classes that an imported model gives for rows of a tensor per input. */
function classify(imported: ImportedKey, data: readonly ArrayLike<number>[], rows: number): number[] {
  const model = createIntegerModel({ key: imported.key, weights: imported.weights });
  const shapes = publicTensorShapes(imported.key);
  const inputs = imported.inputs.map((port, i) =>
    quantizeInput(port, shapes.inputs[i] as TensorShape, { data: data[i] as ArrayLike<number> }),
  );
  const shape = shapes.outputs[0] as TensorShape;
  const scores = decodeTensor(shape, runModel(model, inputs, rows)[0] as Uint8Array, rows, 'scores');
  const classes = scores.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const own = Array.from(scores.subarray(row * classes, (row + 1) * classes));
    return own.indexOf(Math.max(...own));
  });
}

for (const name of FIXTURE_NAMES) {
  test(`${name}: the integer model answers held-out images as the float model does`, async () => {
    const fixture = readFixture(name);
    const imported = await importOnnx({
      model: fixture.onnx,
      calibration: calibrationOf(name),
      options: { activationBits: 8 },
    });
    validateVerifyingKey(imported.key);
    assert.ok(plan(imported.key, 1).securityBits >= 100);
    assert.ok(imported.report.agreement >= 0.98, `agreement ${imported.report.agreement}`);
    const tensors = inputsOf(fixture, heldOut, 0, HELD_OUT_ROWS);
    const data = imported.inputs.map((port) => tensors.get(port.name)?.data ?? []);
    const classes = classify(imported, data, HELD_OUT_ROWS);
    const right = classes.filter((each, i) => each === heldOut.labels[i]).length / HELD_OUT_ROWS;
    assert.ok(right >= fixture.heldOutAccuracy - 0.08, `${right} right, float ${fixture.heldOutAccuracy}`);
  });
}

const DIGITS = join(import.meta.dirname, '..', '..', '..', 'models', 'digits');

test('the digit classifier of the devnet keeps its accuracy on held-out samples', async () => {
  const model = new Uint8Array(readFileSync(join(DIGITS, 'model.onnx')));
  const text = readFileSync(join(DIGITS, 'calibration.json'), 'utf8');
  const imported = await importOnnx({ model, calibration: text, options: { activationBits: 8 } });
  assert.deepEqual(
    imported.inputs.map(({ name, scale }) => [name, scale]),
    [['pixels', 1]],
  );
  const samples = readFileSync(join(DIGITS, 'samples.bin'));
  const count = samples.readUInt32LE(0);
  const pixels = Array.from({ length: count }, (_, i) => [
    ...samples.subarray(4 + 785 * i + 1, 4 + 785 * (i + 1)),
  ]);
  let right = 0;
  for (let at = 0; at < count; at += 50) {
    const classes = classify(imported, [pixels.slice(at, at + 50).flat()], 50);
    right += classes.filter((each, i) => each === samples[4 + 785 * (at + i)]).length;
  }
  assert.ok(right / count >= 0.97, `${right} of ${count}`);
});

test('a model file holds the model and nothing else', async () => {
  const fixture = readFixture('torch-lenet-dynamo-20');
  const imported = await importOnnx({
    model: fixture.onnx,
    calibration: calibrationOf('torch-lenet-dynamo-20'),
    options: { activationBits: 8 },
  });
  const model: HzkModel = {
    name: 'lenet',
    sourceHash: new Uint8Array(32).fill(7),
    key: imported.key,
    weights: imported.weights,
    inputs: imported.inputs.map((port) => ({ ...port, labels: [] })),
    outputs: imported.outputs.map((port) => ({ ...port, labels: Array.from('0123456789') })),
  };
  const file = encodeHzk(model);
  assert.deepEqual(parseHzk(file), model);
  const refused = (bytes: Uint8Array, code: RegExp): void => {
    assert.throws(
      () => parseHzk(bytes),
      (error: unknown) => error instanceof MalformedError && code.test(error.code),
    );
  };
  refused(file.subarray(0, file.length - 1), /hzk\.length/);
  refused(Uint8Array.of(...file, 0), /hzk\.length/);
  refused(file.subarray(0, 7), /hzk\.magic/);
  refused(Uint8Array.of(...'HZK2'.split('').map((c) => c.charCodeAt(0)), ...file.subarray(4)), /hzk\.magic/);
  // Every byte of the header, and some of the weights: refused, or another file that says the same of itself.
  const headerEnd = 8 + new DataView(file.buffer).getUint32(4, true);
  for (let at = 0; at < headerEnd + 200; at += at < headerEnd ? 3 : 11) {
    const bytes = file.slice();
    bytes[at] = (bytes[at] as number) ^ 0x81;
    try {
      assert.deepEqual(encodeHzk(parseHzk(bytes)), bytes);
    } catch (error) {
      assert.ok(error instanceof MalformedError, `byte ${at}: ${error}`);
    }
  }
});

test('progress is told stage by stage, and an aborted signal ends the import', async () => {
  const name = 'torch-mlp-dynamo-18';
  const request = {
    model: readFixture(name).onnx,
    calibration: calibrationOf(name),
    options: { activationBits: 8 },
  };
  const stages: ImportProgress['stage'][] = [];
  await importOnnx({ ...request, onProgress: ({ stage }) => stages.push(stage) });
  assert.deepEqual([...new Set(stages)], ['read', 'calibrate', 'quantize', 'evaluate']);
  const controller = new AbortController();
  const stopped = importOnnx({
    ...request,
    signal: controller.signal,
    onProgress: ({ stage, done }) => {
      if (stage === 'calibrate' && done === 3) controller.abort(new Error('enough'));
    },
  });
  await assert.rejects(stopped, /enough/);
});

async function refusedImport(
  change: Partial<Parameters<typeof importOnnx>[0]>,
  code: string,
  text: RegExp,
): Promise<void> {
  const model = onnxModel({
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
    inputs: [{ name: 'x', dims: ['n', 4] }],
    outputs: [{ name: 'y', dims: [] }],
    initializers: { w: randomTensor(1, [4, 3]) },
  });
  const inputs = {
    x: [
      [1, 2, 3, 4],
      [0, 1, 0, 1],
    ],
  };
  await assert.rejects(importOnnx({ model, calibration: { inputs }, ...change }), (error: unknown) => {
    assert.ok(error instanceof MalformedError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  });
}

const graphOf = (
  nodes: Parameters<typeof onnxModel>[0]['nodes'],
  dims: readonly number[],
  initializers = {},
): Uint8Array =>
  onnxModel({
    nodes,
    inputs: [{ name: 'x', dims: ['n', ...dims] }],
    outputs: [{ name: 'y', dims: [] }],
    initializers,
  });

test('what can not be imported is named', async () => {
  await refusedImport({ options: { outputs: ['z'] } }, 'onnx.output', /"y", got "z"/);
  await refusedImport({ options: { activationBits: 7 } }, 'import.options', /activationBits.*8 to 12/);
  await refusedImport({ options: { weightBits: 20 } }, 'import.options', /weightBits/);
  const sine = graphOf([{ op: 'ReduceMax', inputs: ['x'], outputs: ['y'], name: 'top' }], [4]);
  await refusedImport({ model: sine }, 'onnx.unsupported', /"top" \(ReduceMax\).*integer form/);
  const rows = [
    { op: 'Softmax', inputs: ['x'], outputs: ['s'], attributes: { axis: 0 } },
    { op: 'MatMul', inputs: ['s', 'w'], outputs: ['y'] },
  ];
  await refusedImport(
    { model: graphOf(rows, [4], { w: randomTensor(1, [4, 3]) }) },
    'onnx.unsupported',
    /last axis/,
  );
  const mixing = [
    { op: 'ReduceMean', inputs: ['x'], outputs: ['m'], attributes: { axes: [0], keepdims: 1 } },
    { op: 'Sub', inputs: ['x', 'm'], outputs: ['d'] },
    { op: 'MatMul', inputs: ['d', 'w'], outputs: ['y'] },
  ];
  await refusedImport(
    { model: graphOf(mixing, [4], { w: randomTensor(1, [4, 3]) }) },
    'onnx.batch',
    /do not depend on each other/,
  );
  const later = { dims: [4, 4], values: Array.from({ length: 16 }, (_, i) => (i % 4 > i / 4 ? -1e9 : 0)) };
  const masked = (op: string, inputs: readonly string[]): Uint8Array =>
    graphOf(
      [
        { op, inputs, outputs: ['m'] },
        { op: 'Softmax', inputs: ['m'], outputs: ['s'] },
        { op: 'MatMul', inputs: ['s', 'w'], outputs: ['y'] },
      ],
      [4, 4],
      {
        mask: later,
        slope: { dims: [4, 4], values: later.values.map((v, i) => v || -i) },
        w: randomTensor(1, [4, 3]),
      },
    );
  const inputs = {
    x: [Array.from({ length: 16 }, (_, i) => Math.sin(i)), Array.from({ length: 16 }, (_, i) => Math.cos(i))],
  };
  await importOnnx({ model: masked('Add', ['x', 'mask']), calibration: { inputs } });
  await refusedImport(
    { model: masked('Sub', ['mask', 'x']), calibration: { inputs } },
    'onnx.unsupported',
    /causal/,
  );
  await refusedImport(
    { model: masked('Add', ['x', 'slope']), calibration: { inputs } },
    'onnx.unsupported',
    /causal/,
  );
  const unused = onnxModel({
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
    inputs: [
      { name: 'x', dims: ['n', 4] },
      { name: 'u', dims: ['n', 2] },
    ],
    outputs: [{ name: 'y', dims: [] }],
    initializers: { w: randomTensor(1, [4, 3]) },
  });
  await refusedImport({ model: unused }, 'onnx.input', /"u"/);
});

test('sums that are too long for digits, and models over the limits of proofs, are named', async () => {
  const width = 70_000;
  const model = graphOf(
    [
      { op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'], name: 'wide' },
      { op: 'Relu', inputs: ['h'], outputs: ['y'] },
    ],
    [width],
    {
      w: randomTensor(1, [width, 2]),
    },
  );
  const row = Array.from({ length: width }, (_, i) => (i % 7) - 3.5);
  const calibration = { inputs: { x: [row, row.map((v) => -v)] } };
  const imported = await importOnnx({ model, calibration, options: { activationBits: 8 } });
  // 7-bit weights are what a sum of 70,000 leaves room for.
  assert.ok(imported.key.tensors.some(({ role, hi }) => role === 'weight' && hi < 127));
  await refusedImport(
    { model, calibration, options: { activationBits: 8, maxBatch: 2_000_000 } },
    'model.too-large',
    /limits of proofs/,
  );
});

test('a model without a batch axis is one inference as it stands', async () => {
  const model = onnxModel({
    nodes: [
      { op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] },
      { op: 'Tanh', inputs: ['h'], outputs: ['y'] },
    ],
    inputs: [{ name: 'x', dims: [5, 4] }],
    outputs: [{ name: 'y', dims: [5, 3] }],
    initializers: { w: randomTensor(1, [4, 3]) },
  });
  const rows = Array.from({ length: 32 }, (_, i) =>
    Array.from({ length: 20 }, (_, j) => Math.sin(20 * i + j)),
  );
  const imported = await importOnnx({ model, calibration: { inputs: { x: rows } } });
  assert.deepEqual(imported.inputs[0]?.shape, [5, 4]);
  assert.deepEqual(imported.outputs[0]?.shape, [5, 3]);
  assert.ok(imported.report.relativeError < 0.02, `${imported.report.relativeError}`);
});

test('a number as output: agreement is nearness', async () => {
  const model = onnxModel({
    nodes: [
      { op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] },
      { op: 'Relu', inputs: ['h'], outputs: ['r'] },
      { op: 'MatMul', inputs: ['r', 'v'], outputs: ['y'] },
    ],
    inputs: [{ name: 'x', dims: ['n', 6] }],
    outputs: [{ name: 'y', dims: ['n', 1] }],
    initializers: { w: randomTensor(1, [6, 8]), v: randomTensor(2, [8, 1]) },
  });
  const rows = Array.from({ length: 64 }, (_, i) => Array.from({ length: 6 }, (_, j) => Math.sin(7 * i + j)));
  const { report } = await importOnnx({ model, calibration: { inputs: { x: rows } } });
  assert.ok(report.agreement >= 0.95 && report.relativeError < 0.02, JSON.stringify(report));
});
