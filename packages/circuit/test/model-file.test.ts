import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeHzk,
  type HzkModel,
  type HzkPort,
  KeyError,
  parseHzk,
  plan,
  type TensorSpec,
} from '@haca/circuit';
import { MalformedError, UsageError } from '@haca/primitives';
import { createRandom, mlp, twoInput, type ZkExample } from '@haca/testkit';

function modelOf({ key, weights }: ZkExample): HzkModel {
  const portsOf = (role: string): HzkPort[] =>
    key.tensors.flatMap((spec: TensorSpec, tensor) =>
      spec.role === role
        ? [
            {
              name: `${role} ${tensor}`,
              tensor,
              scale: 0.1 + tensor,
              shape: [1, ...spec.extents],
              labels: [],
            },
          ]
        : [],
    );
  const outputs = portsOf('output');
  const [first] = outputs as [HzkPort];
  const cells = first.shape.reduce((product, extent) => product * extent, 1);
  const labels = Array.from({ length: cells }, (_, i) => `label ${i}`);
  return {
    name: 'an example',
    sourceHash: new Uint8Array(32).fill(9),
    key,
    weights,
    inputs: portsOf('input'),
    outputs: [{ ...first, labels }, ...outputs.slice(1)],
  };
}

const example = modelOf(mlp([6, 4, 3]));

test('ZK-29 a model file comes back as it was, and has one encoding', () => {
  for (const model of [example, modelOf(mlp([20, 5, 4])), modelOf(twoInput())]) {
    const file = encodeHzk(model);
    const read = parseHzk(file);
    assert.deepEqual(read.inputs, model.inputs);
    assert.deepEqual(read.outputs, model.outputs);
    assert.deepEqual(read.key, model.key);
    assert.deepEqual(
      read.weights.map((values) => [...values]),
      model.weights.map((values) => [...values]),
    );
    assert.deepEqual(encodeHzk(read), file);
  }
});

test('every scale is kept to the last bit', () => {
  for (const scale of [1, 3, 0.1, 1 / 3, 2 ** -1_000, 2 ** 1_000, Number.MAX_SAFE_INTEGER, 5e-300]) {
    const inputs = example.inputs.map((port) => ({ ...port, scale }));
    assert.equal(parseHzk(encodeHzk({ ...example, inputs })).inputs[0]?.scale, scale);
  }
  for (const scale of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    const inputs = example.inputs.map((port) => ({ ...port, scale }));
    assert.throws(() => encodeHzk({ ...example, inputs }), UsageError, `${scale}`);
  }
});

test('ZK-29 cut and lengthened files are malformed', () => {
  const file = encodeHzk(example);
  for (let size = 0; size < file.length; size += size < 64 ? 1 : 37)
    assert.throws(() => parseHzk(file.subarray(0, size)), MalformedError, `${size} bytes`);
  assert.throws(() => parseHzk(file.subarray(0, file.length - 1)), /hzk\.length/);
  assert.throws(() => parseHzk(new Uint8Array([...file, 0])), /hzk\.length/);
});

test('ZK-29 a weight outside its interval is malformed', () => {
  const spec = example.key.tensors.find(({ role }) => role === 'weight') as TensorSpec;
  const file = encodeHzk(example);
  const weightBytes = example.weights.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const at = file.length - weightBytes;
  assert.ok(spec.kind === 'i8' && spec.lo > -128, 'the example leaves a byte out');
  assert.throws(() => parseHzk(file.with(at, 0x80)), /hzk\.weight/);
});

test('ports that are not those of the key are refused', () => {
  const [input] = example.inputs as [HzkPort];
  const changes: readonly Partial<HzkModel>[] = [
    { inputs: [] },
    { inputs: [input, input] },
    { inputs: [{ ...input, tensor: input.tensor + 1 }] },
    { inputs: [{ ...input, shape: [2, ...input.shape] }] },
    { inputs: [{ ...input, labels: ['one'] }] },
    { weights: example.weights.slice(1) },
  ];
  for (const change of changes) assert.throws(() => encodeHzk({ ...example, ...change }), UsageError);
});

test('changed bytes give an error of their kind, or a model that is written as it was read', () => {
  const file = encodeHzk(example);
  const random = createRandom(5);
  for (let round = 0; round < 2_000; round++) {
    const changed = file.slice();
    for (let count = 0; count < 1 + (round % 3); count++)
      changed[Math.floor(random() * file.length)] = Math.floor(random() * 256);
    let model: HzkModel;
    try {
      model = parseHzk(changed);
    } catch (error) {
      assert.ok(error instanceof MalformedError, `${error}`);
      continue;
    }
    assert.deepEqual(encodeHzk(model), changed);
    try {
      plan(model.key, 1);
    } catch (error) {
      assert.ok(error instanceof KeyError, `${error}`);
    }
  }
});
