import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createValues,
  encodeTensor,
  planRegistration,
  publicTensorShapes,
  type TensorShape,
  type TensorValues,
} from '@haca/circuit';
import { assign, createIntegerModel, runModel } from '@haca/runtime';
import {
  createRandom,
  mlp,
  moe,
  requantize16Net,
  residualNet,
  softmaxOnly,
  tinyConv,
  transformerBlock,
  twoInput,
  type ZkExample,
} from '@haca/testkit';
import { checkAssignment } from './assignment-checks.ts';
import { evaluateKey } from './integer-semantics.ts';

const MODELS: Readonly<Record<string, () => ZkExample>> = {
  'multilayer perceptron': () => mlp([6, 5, 1, 3]),
  convolution: () => tinyConv(),
  'residual net': () => residualNet(5),
  'transformer block': () =>
    transformerBlock({ tokens: 3, width: 4, heads: 2, vocabulary: 5 }, { limbBits: 9 }),
  'routed experts': () => moe(),
  'two inputs': () => twoInput(),
  'sixteen bits': () => requantize16Net({ limbBits: 10 }),
  softmax: () => softmaxOnly(),
  'causal softmax': () => softmaxOnly(5, true),
};

/** Values at the ends of the interval more often than a uniform draw. */
function drawInput(shape: TensorShape, batchSize: number, random: () => number): TensorValues {
  const cells = shape.extents.reduce((product, extent) => product * extent, batchSize);
  const values = createValues(shape.kind, cells);
  for (let i = 0; i < cells; i++) {
    const way = random();
    values[i] =
      way < 0.1
        ? shape.lo
        : way < 0.2
          ? shape.hi
          : shape.lo + Math.floor(random() * (shape.hi - shape.lo + 1));
  }
  return values;
}

for (const [name, make] of Object.entries(MODELS))
  for (const batchSize of [1, 2, 3])
    test(`${name}, batch of ${batchSize}: outputs are those of the definitions, the witness meets every constraint`, () => {
      const { key, weights } = make();
      const model = createIntegerModel({ key, weights });
      const shapes = publicTensorShapes(key);
      const random = createRandom(batchSize);
      const inputs = shapes.inputs.map((shape) => drawInput(shape, batchSize, random));
      const bytes = inputs.map((values, i) => encodeTensor(shapes.inputs[i] as TensorShape, values));
      const reference = evaluateKey(key, weights, inputs, batchSize);
      const expected = key.tensors.flatMap(({ role }, id) =>
        role === 'output' ? [(reference[id]?.values ?? []).map(Number)] : [],
      );
      const outputs = runModel(model, bytes, batchSize);
      assert.deepEqual(
        outputs,
        expected.map((values, i) => encodeTensor(shapes.outputs[i] as TensorShape, values)),
      );
      const program = model.program(batchSize);
      checkAssignment(program, assign(program, model, bytes, outputs));
    });

for (const name of ['convolution', 'multilayer perceptron', 'routed experts'])
  test(`registration of the ${name}: the witness meets every constraint`, () => {
    const { key, weights } = (MODELS[name] as () => ZkExample)();
    const program = planRegistration(key);
    checkAssignment(program, assign(program, createIntegerModel({ key, weights }), []));
  });
