import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HzkModel, VerifyingKey } from '@haca/circuit';
import { MalformedError } from '@haca/primitives';
import { readInput } from '../src/input-data.ts';

/** Two inputs, or the first alone: an image of 2 x 2 bytes in steps of a half, and three tokens below 5. */
function modelOf(inputs: 1 | 2): HzkModel {
  const tensors: VerifyingKey['tensors'] = [
    { role: 'input', kind: 'i8', lo: -4, hi: 3, extents: [4] },
    { role: 'input', kind: 'id', lo: 0, hi: 4, extents: [3] },
  ];
  const key = { maxBatch: 4, tensors: tensors.slice(0, inputs) } as unknown as VerifyingKey;
  const ports = [
    { name: 'image', tensor: 0, scale: 0.5, shape: [2, 2], labels: [] },
    { name: 'tokens', tensor: 1, scale: 1, shape: [3], labels: [] },
  ];
  return {
    name: 'm',
    sourceHash: new Uint8Array(32),
    key,
    weights: [],
    inputs: ports.slice(0, inputs),
    outputs: [],
  };
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const read = (value: unknown, inputs: 1 | 2 = 1) => readInput(utf8(JSON.stringify(value)), modelOf(inputs));

test('real values are rounded to steps of the scale, and cut off with a count', () => {
  const { batchSize, inputs, clipped } = read({
    inputs: {
      image: [
        [0, 0.5, -0.6, 9],
        [
          [1, 1],
          [1, -9],
        ],
      ],
    },
  });
  assert.equal(batchSize, 2);
  assert.equal(clipped, 2);
  assert.deepEqual([...new Int8Array(inputs[0] as Uint8Array)], [0, 1, -1, 3, 2, 2, 2, -4]);
});

test('rows alone, one flat row, integers and an image are the same input', () => {
  const wanted = read({ inputs: { image: [[0, 1, 0.5, 1]] } });
  assert.deepEqual(read([[0, 1, 0.5, 1]]), wanted);
  assert.deepEqual(read([0, 1, 0.5, 1]), wanted);
  assert.deepEqual(read({ integers: { image: [[0, 2, 1, 2]] } }), wanted);
  const pgm = (head: string, ...pixels: number[]) =>
    readInput(new Uint8Array([...utf8(head), ...pixels]), modelOf(1));
  assert.deepEqual(pgm('P5 2 2 255\n', 0, 1, 0, 1), read([0, 1, 0, 1]));
  assert.deepEqual(pgm('P5\n# grey\n2 2\n255\n', 0, 1, 0, 1), read([0, 1, 0, 1]));
  assert.deepEqual(pgm('P5 2 2 300\n', 0, 0, 0, 1, 0, 0, 0, 1), read([0, 1, 0, 1]));
});

test('token ids are taken as they are', () => {
  const { inputs } = read({ inputs: { image: [[0, 0, 0, 0]], tokens: [[0, 4, 2]] } }, 2);
  assert.equal(inputs[1]?.length, 12);
});

test('what is no input is refused by name and place', () => {
  const rows = (count: number) => Array.from({ length: count }, () => [0, 0, 0, 0]);
  const cases: readonly (readonly [unknown, 1 | 2, string])[] = [
    [{ rows: [] }, 1, 'input.json'],
    [{ inputs: { image: rows(1) }, integers: { image: rows(1) } }, 1, 'input.json'],
    [3, 1, 'input.json'],
    [rows(1), 2, 'input.json'],
    [{ inputs: null }, 1, 'input.json'],
    [{ inputs: { picture: rows(1) } }, 1, 'input.input'],
    [{ inputs: { image: rows(1) } }, 2, 'input.input'],
    [{ inputs: { image: rows(2), tokens: [[0, 0, 0]] } }, 2, 'input.rows'],
    [rows(5), 1, 'input.rows'],
    [[], 1, 'input.rows'],
    [[[0, 0, 0]], 1, 'input.shape'],
    [[[0, 0, 0, 'x']], 1, 'input.value'],
    [[[0, 0, 0, null]], 1, 'input.value'],
    [{ integers: { image: [[0, 0, 0, 4]] } }, 1, 'input.value'],
    [{ integers: { image: [[0, 0, 0, 0.5]] } }, 1, 'input.value'],
    [{ inputs: { image: rows(1), tokens: [[0, 0, 5]] } }, 2, 'input.value'],
    [{ inputs: { image: rows(1), tokens: [[0, 0, -1]] } }, 2, 'input.value'],
  ];
  for (const [value, inputs, code] of cases)
    assert.throws(
      () => read(value, inputs),
      (error) => error instanceof MalformedError && error.code === code,
      JSON.stringify(value),
    );
  const texts = [
    '',
    '{',
    '\u0000',
    'P5',
    'P5 2 2 255\n',
    'P5 2 2 255\n\u0001\u0001\u0001',
    'P5 0 2 255\n',
    'P5 2 2 0\n1234',
  ];
  for (const text of texts) assert.throws(() => readInput(utf8(text), modelOf(1)), MalformedError, text);
  assert.throws(() => readInput(new Uint8Array([0xff, 0xfe]), modelOf(1)), /input\.json/);
  assert.throws(() => readInput(utf8('P5 2 2 255\n1234'), modelOf(2)), /input\.pgm/);
});
