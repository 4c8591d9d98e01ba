import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes, MalformedError } from '@haca/primitives';
import fc from 'fast-check';
import { importGraph } from '../src/onnx/import-graph.ts';
import { parseOnnx } from '../src/onnx/model.ts';
import { FIXTURE_NAMES, readFixture } from './fixtures.ts';
import {
  integer,
  type ModelInit,
  message,
  onnxModel,
  randomTensor,
  tensorProto,
  text,
  varint,
} from './onnx-writer.ts';

const PLAIN: ModelInit = {
  nodes: [{ op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'], name: 'dense' }],
  inputs: [{ name: 'x', dims: ['n', 4] }],
  outputs: [{ name: 'y', dims: ['n', 3] }],
  initializers: { w: randomTensor(1, [4, 3]) },
};

function refused(bytes: Uint8Array, code: string, expected: RegExp): void {
  assert.throws(
    () => importGraph(bytes),
    (error: unknown) => {
      assert.ok(error instanceof MalformedError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, expected);
      return true;
    },
  );
}

const changed = (change: Partial<ModelInit>): Uint8Array => onnxModel({ ...PLAIN, ...change });

test('a plain model is read', () => {
  const { graph, opset, batched } = importGraph(onnxModel(PLAIN));
  assert.equal(graph.nodes.length, 1);
  assert.equal(opset, 17);
  assert.equal(batched, true);
});

test('files that are no ONNX are refused with the byte that does not fit', () => {
  refused(new Uint8Array(0), 'onnx.model', /a model with a graph/);
  refused(new Uint8Array([0xff, 0xff]), 'onnx.protobuf', /at model/);
  refused(onnxModel(PLAIN).subarray(0, 60), 'onnx.protobuf', /bytes of content|more bytes/);
  refused(concatBytes(onnxModel(PLAIN), Uint8Array.of(0x0b)), 'onnx.protobuf', /a field tag/);
  refused(
    concatBytes(onnxModel(PLAIN), varint(8 * 90 + 2), varint(2n ** 63n)),
    'onnx.protobuf',
    /9223372036854775808/,
  );
  refused(concatBytes(Uint8Array.of(8), new Uint8Array(11).fill(0xff)), 'onnx.protobuf', /at most 10 bytes/);
});

test('versions outside the range are refused', () => {
  for (const opset of [1, 12, 22])
    refused(changed({ opset }), 'onnx.opset', new RegExp(`13 to 21, got ${opset}`));
  for (const opset of [13, 17, 21]) assert.equal(importGraph(changed({ opset })).opset, opset);
  refused(changed({ irVersion: 2 }), 'onnx.ir-version', /got 2/);
  refused(changed({ mlOpset: 9 }), 'onnx.opset', /ai.onnx.ml/);
});

test('an operator that is not known is named with its node and place', () => {
  const node = { op: 'LSTM', inputs: ['x'], outputs: ['y'], name: '/encoder/LSTM' };
  refused(
    changed({ nodes: [node] }),
    'onnx.unsupported-op',
    /model\.graph\.node\[0\] "\/encoder\/LSTM" \(LSTM\).*got LSTM/,
  );
  const foreign = { op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'], domain: 'com.microsoft' };
  refused(changed({ nodes: [foreign] }), 'onnx.unsupported-op', /got com\.microsoft\.Gemm/);
  for (const op of ['toString', 'constructor', '__proto__'])
    refused(changed({ nodes: [{ op, inputs: ['x'], outputs: ['y'] }] }), 'onnx.unsupported-op', /operator/);
});

test('weights in another file, sparse or of text are refused', () => {
  const outside = concatBytes(
    integer(1, 4),
    integer(1, 3),
    integer(2, 1),
    text(8, 'w'),
    message(13, text(1, 'location')),
  );
  refused(changed({ initializers: {}, graphExtra: message(5, outside) }), 'onnx.external-data', /"w"/);
  const located = concatBytes(integer(1, 1), integer(2, 1), text(8, 'w'), integer(14, 1));
  refused(changed({ initializers: {}, graphExtra: message(5, located) }), 'onnx.external-data', /"w"/);
  refused(changed({ graphExtra: message(15, new Uint8Array(0)) }), 'onnx.sparse', /dense/);
  const words = concatBytes(integer(1, 1), integer(2, 8), text(8, 'w'), message(6, new Uint8Array(1)));
  refused(changed({ initializers: {}, graphExtra: message(5, words) }), 'onnx.element-type', /got string/);
});

test('tensors whose data do not fit their shape are refused before they are made', () => {
  const short = tensorProto('w', { dims: [4, 3], values: [1, 2] });
  refused(
    changed({ initializers: {}, graphExtra: message(5, short) }),
    'onnx.tensor-data',
    /12 values.*got 2/,
  );
  const huge = concatBytes(integer(1, 2 ** 20), integer(1, 2 ** 20), integer(2, 1), text(8, 'w'));
  refused(changed({ initializers: {}, graphExtra: message(5, huge) }), 'model.too-large', /"w"/);
  const negative = concatBytes(integer(1, -4), integer(2, 1), text(8, 'w'));
  refused(changed({ initializers: {}, graphExtra: message(5, negative) }), 'onnx.shape', /\[-4\]/);
});

test('shapes: the batch alone may be dynamic, and operands must fit', () => {
  refused(changed({ inputs: [{ name: 'x', dims: ['n', 'length'] }] }), 'onnx.dynamic-axis', /axis 1/);
  refused(
    changed({ inputs: [{ name: 'x', dims: ['n', 5] }] }),
    'onnx.operand',
    /"dense".*\[1, 5\] and \[4, 3\]/,
  );
  refused(changed({ inputs: [{ name: 'x', dims: ['n'] }] }), 'onnx.dynamic-axis', /beside the batch/);
  const reshape = { op: 'Reshape', inputs: ['x', 'x'], outputs: ['y'] };
  refused(changed({ nodes: [reshape] }), 'onnx.data-dependent', /a constant as operand 1/);
});

test('constants that would take long to compute are refused before they are', () => {
  const big = { op: 'ConstantOfShape', inputs: ['s'], outputs: ['a'] };
  const product = { op: 'MatMul', inputs: ['a', 'a'], outputs: ['b'] };
  const again = { op: 'MatMul', inputs: ['b', 'a'], outputs: ['c'] };
  const s = { dims: [2], values: [1_400, 1_400], type: 'int64' as const };
  refused(
    changed({ nodes: [big, product, again], initializers: { s } }),
    'model.too-large',
    /multiplications/,
  );
  const huge = { dims: [2], values: [2 ** 20, 2 ** 20], type: 'int64' as const };
  refused(changed({ nodes: [big], initializers: { s: huge } }), 'model.too-large', /cells/);
});

test('names: unknown, reused and missing ones are refused', () => {
  const node = { op: 'Relu', inputs: ['nowhere'], outputs: ['y'] };
  refused(changed({ nodes: [node] }), 'onnx.graph', /"nowhere"/);
  const twice = { op: 'Relu', inputs: ['x'], outputs: ['x'] };
  refused(changed({ nodes: [twice] }), 'onnx.graph', /used once, got "x"/);
  refused(changed({ outputs: [{ name: 'z', dims: [] }] }), 'onnx.graph', /output\[0\].*"z"/);
  refused(changed({ inputs: [] }), 'onnx.graph', /an input, got none/);
});

test('attributes of the wrong kind or range are refused', () => {
  const conv = (attributes: Record<string, number | string | readonly number[]>): Uint8Array =>
    onnxModel({
      nodes: [{ op: 'Conv', inputs: ['x', 'w'], outputs: ['y'], attributes }],
      inputs: [{ name: 'x', dims: ['n', 2, 5, 5] }],
      outputs: [{ name: 'y', dims: [] }],
      initializers: { w: randomTensor(1, [2, 2, 3, 3]) },
    });
  refused(conv({ strides: 2 }), 'onnx.attribute', /strides as ints, got int/);
  refused(conv({ strides: [0, 1] }), 'onnx.attribute', /strides/);
  refused(conv({ pads: [1, 1] }), 'onnx.attribute', /pads/);
  refused(conv({ kernel_shape: [5, 5] }), 'onnx.attribute', /kernel_shape/);
  refused(conv({ dilations: [4, 4] }), 'onnx.attribute', /a window inside/);
  refused(conv({ auto_pad: 'ALL' }), 'onnx.attribute', /auto_pad/);
  refused(conv({ group: 3 }), 'onnx.operand', /groups/);
});

test('whatever the bytes are, the answer is a model or a MalformedError', () => {
  const seeds = FIXTURE_NAMES.filter((_, i) => i % 3 === 0).map((name) => readFixture(name).onnx);
  const attempt = (bytes: Uint8Array): void => {
    try {
      importGraph(bytes);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
    }
  };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => attempt(bytes)),
    { numRuns: 300 },
  );
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.constantFrom(...seeds), edits, fc.option(fc.nat()), (seed, changes, cut) => {
      const bytes = seed.slice(0, cut === null ? seed.length : cut % seed.length);
      for (const [at, value] of changes) {
        // The first kilobytes hold nodes and shapes; what follows is mostly weights.
        if (bytes.length > 0) bytes[at % Math.min(bytes.length, 6_000)] = value;
      }
      attempt(bytes);
    }),
    { numRuns: 400 },
  );
});

test('every prefix of a small model is refused or read, never a crash', () => {
  const bytes = onnxModel(PLAIN);
  for (let length = 0; length < bytes.length; length++) {
    try {
      parseOnnx(bytes.subarray(0, length));
    } catch (error) {
      assert.ok(error instanceof MalformedError, String(error));
    }
  }
});
