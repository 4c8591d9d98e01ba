import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluateGraph } from '../src/float/graph.ts';
import { importGraph } from '../src/onnx/import-graph.ts';
import { FIXTURE_NAMES, inputsOf, readDigits, readFixture } from './fixtures.ts';

const digits = readDigits('heldOut');
/** Largest difference of a float32 result from onnxruntime's, relative to 1 + its size. */
const TOLERANCE = 2e-5;

for (const name of FIXTURE_NAMES) {
  test(`${name}: the float graph gives what onnxruntime gave`, () => {
    const fixture = readFixture(name);
    const { graph } = importGraph(fixture.onnx);
    const expected = fixture.outputs[fixture.scores] as {
      shape: readonly number[];
      values: readonly number[];
    };
    const rows = expected.shape[0] as number;
    const width = expected.values.length / rows;
    for (let row = 0; row < rows; row++) {
      const outputs = evaluateGraph(graph, inputsOf(fixture, digits, row, row + 1));
      const got = outputs.get(fixture.scores);
      assert.equal(got?.data.length, width);
      for (const [j, value] of [...got.data].entries()) {
        const want = expected.values[row * width + j] as number;
        assert.ok(
          Math.abs(value - want) <= TOLERANCE * (1 + Math.abs(want)),
          `row ${row} cell ${j}: ${value}, ${want}`,
        );
      }
    }
  });
}
