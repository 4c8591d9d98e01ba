import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeTensor, publicTensorShapes, type TensorShape } from '@haca/circuit';
import { createIntegerModel, runModel } from '@haca/runtime';
import { evaluateGraph } from '../src/float/graph.ts';
import { type Tensor, tensorOf } from '../src/float/tensor.ts';
import { importOnnx, quantizeInput } from '../src/import-onnx.ts';
import { importGraph } from '../src/onnx/import-graph.ts';
import { CASES, type GraphCase } from './cases.ts';
import { randomFrom } from './onnx-writer.ts';
import { ORT_SKIP, runOnnxruntime } from './onnxruntime.ts';

function inputFor({ shape, range, ids }: GraphCase, seed: number): Tensor {
  const random = randomFrom(seed);
  const [low, high] = range;
  const cells = shape.reduce((product, extent) => product * extent, 1);
  const values = Array.from({ length: cells }, () =>
    ids === undefined ? Math.fround(low + (high - low) * random()) : Math.floor(ids * random()),
  );
  return tensorOf(ids === undefined ? 'float' : 'int', [1, ...shape], values);
}

for (const each of CASES) {
  test(`${each.name}: float as onnxruntime`, { skip: ORT_SKIP }, async () => {
    const { graph } = importGraph(each.model);
    for (const seed of [1, 2]) {
      const inputs = new Map([['x', inputFor(each, seed)]]);
      const got = evaluateGraph(graph, inputs).get('y')?.data ?? [];
      const want = (await runOnnxruntime(each.model, inputs)).get('y') ?? [];
      assert.equal(got.length, want.length);
      for (const [i, value] of [...got].entries()) {
        const expected = want[i] as number;
        assert.ok(
          Math.abs(value - expected) <= 1e-5 * (1 + Math.abs(expected)),
          `cell ${i}: ${value}, ${expected}`,
        );
      }
    }
  });
}

const QUANTIZED = CASES.filter(({ error }) => error !== undefined);
/** Again with the widest numbers: what has its own limits, and must be as near or nearer. */
const WIDE = QUANTIZED.filter(({ name }) =>
  /MaxPool|maximum|Norm|Softmax|Routing|padded|Embedding|Mul of/.test(name),
);

for (const [each, bits] of [...QUANTIZED.map((c) => [c, 8] as const), ...WIDE.map((c) => [c, 12] as const)]) {
  test(`${each.name}: integers of ${bits} bits near the float model`, async () => {
    const samples = Array.from({ length: 96 }, (_, i) => inputFor(each, 100 + i));
    const calibration = { inputs: { x: samples.map(({ data }) => Array.from(data)) } };
    const imported = await importOnnx({
      model: each.model,
      calibration,
      options: { activationBits: bits, weightBits: bits, maxBatch: 2 },
    });
    const model = createIntegerModel({ key: imported.key, weights: imported.weights });
    const shapes = publicTensorShapes(imported.key);
    const { graph } = importGraph(each.model);
    const [port] = imported.outputs;
    let [errors, squares] = [0, 0];
    // Two rows at once, of values that calibration has not seen.
    for (let seed = 1; seed <= 12; seed += 2) {
      const rows = [inputFor(each, seed), inputFor(each, seed + 1)];
      const bytes = quantizeInput(imported.inputs[0] as { scale: number }, shapes.inputs[0] as TensorShape, {
        data: rows.flatMap(({ data }) => [...data]),
      });
      const [out] = runModel(model, [bytes], 2) as [Uint8Array];
      const integers = decodeTensor(shapes.outputs[0] as TensorShape, out, 2, 'y');
      const floats = rows.flatMap((row) => [
        ...(evaluateGraph(graph, new Map([['x', row]])).get('y')?.data ?? []),
      ]);
      assert.equal(integers.length, floats.length);
      for (const [i, value] of floats.entries()) {
        errors += (value - (integers[i] as number) * (port?.scale as number)) ** 2;
        squares += value ** 2;
      }
    }
    const relative = Math.sqrt(errors / squares);
    assert.ok(relative <= (each.error as number), `relative error ${relative}`);
  });
}
