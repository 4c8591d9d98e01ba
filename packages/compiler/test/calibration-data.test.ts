import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MalformedError } from '@haca/primitives';
import fc from 'fast-check';
import { parseCalibration } from '../src/calibration-data.ts';
import { importGraph } from '../src/onnx/import-graph.ts';
import { onnxModel, randomTensor } from './onnx-writer.ts';

const { graph } = importGraph(
  onnxModel({
    nodes: [
      { op: 'Gather', inputs: ['table', 'ids'], outputs: ['e'] },
      { op: 'Add', inputs: ['e', 'image'], outputs: ['y'] },
    ],
    inputs: [
      { name: 'image', dims: ['n', 2, 3] },
      { name: 'ids', dims: ['n', 2], type: 'int64' },
    ],
    outputs: [{ name: 'y', dims: [] }],
    initializers: { table: randomTensor(1, [5, 3]) },
  }),
);

const GOOD = {
  image: [
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [0, 0, 0, 1, 1, 1],
  ],
  ids: [
    [0, 4],
    [1, 2],
  ],
};

function refused(file: unknown, code: string, expected: RegExp): void {
  const json = typeof file === 'string' ? file : JSON.stringify(file);
  assert.throws(
    () => parseCalibration(json, graph),
    (error: unknown) => {
      assert.ok(error instanceof MalformedError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, expected);
      return true;
    },
  );
}

test('rows nested, flat and packed', () => {
  const { samples, labels } = parseCalibration(JSON.stringify({ inputs: GOOD, labels: [1, 0] }), graph);
  assert.equal(samples.length, 2);
  assert.deepEqual(Array.from(samples[0]?.get('image')?.data ?? []), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(samples[1]?.get('image')?.shape, [1, 2, 3]);
  assert.deepEqual(labels, [1, 0]);
  const bytes = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  const packed = { shape: [2, 2, 3], type: 'u8', base64: bytes.toString('base64') };
  const again = parseCalibration(JSON.stringify({ inputs: { ...GOOD, image: packed } }), graph);
  assert.deepEqual(Array.from(again.samples[1]?.get('image')?.data ?? []), [7, 8, 9, 10, 11, 12]);
});

test('what does not fit is named: input, expected, got', () => {
  refused('{', 'calibration.json', /calibration/);
  refused([], 'calibration.json', /an object, got an array/);
  refused({ inputs: GOOD, extra: 1 }, 'calibration.json', /"extra"/);
  refused({ inputs: { image: GOOD.image } }, 'calibration.input', /calibration\.inputs\.ids/);
  refused({ inputs: { ...GOOD, other: [] } }, 'calibration.input', /"image", "ids", got "other"/);
  refused({ inputs: { ...GOOD, image: [] } }, 'calibration.rows', /1 to/);
  refused({ inputs: { ...GOOD, ids: [[0, 1]] } }, 'calibration.rows', /inputs\.ids.*2 rows.*got 1/);
  refused(
    {
      inputs: {
        ...GOOD,
        image: [
          [1, 2, 3],
          [1, 2, 3, 4, 5, 6],
        ],
      },
    },
    'calibration.shape',
    /inputs\.image\[0\].*\[2, 3\] or 6 numbers, got \[3\]/,
  );
  refused(
    {
      inputs: {
        ...GOOD,
        image: [
          [
            [1, 2],
            [3, 4],
            [5, 6],
          ],
          GOOD.image[1],
        ],
      },
    },
    'calibration.shape',
    /got \[3, 2\]/,
  );
  refused(
    {
      inputs: {
        ...GOOD,
        image: [
          [
            [1, 2, 3],
            [4, 5],
          ],
          GOOD.image[1],
        ],
      },
    },
    'calibration.shape',
    /one length along axis 1/,
  );
  refused(
    { inputs: { ...GOOD, image: [['a', 2, 3, 4, 5, 6], GOOD.image[1]] } },
    'calibration.value',
    /numbers, got string/,
  );
  refused(
    {
      inputs: {
        ...GOOD,
        ids: [
          [0, 1.5],
          [0, 0],
        ],
      },
    },
    'calibration.value',
    /ids\[0\].*integers, got 1.5/,
  );
  refused({ inputs: GOOD, labels: [1] }, 'calibration.labels', /2 labels, got 1/);
  refused({ inputs: GOOD, labels: [1, -1] }, 'calibration.labels', /got -1/);
  const packed = { shape: [2, 2, 3], type: 'u8', base64: 'AAAA' };
  refused({ inputs: { ...GOOD, image: packed } }, 'calibration.shape', /12 bytes, got 3/);
  refused(
    { inputs: { ...GOOD, image: { ...packed, type: 'u16' } } },
    'calibration.value',
    /u8, i8, i32, f32, got u16/,
  );
  refused(
    { inputs: { ...GOOD, image: { ...packed, shape: [2, 7] } } },
    'calibration.shape',
    /\[N, 2, 3\], got \[2, 7\]/,
  );
});

test('any JSON gives samples or a MalformedError', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const file of [value, { inputs: value }, { inputs: { image: value, ids: value } }]) {
        try {
          parseCalibration(JSON.stringify(file), graph);
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error;
        }
      }
    }),
  );
});
