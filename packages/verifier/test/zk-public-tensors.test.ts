import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlanTensor, Program, TensorKind } from '@haca/circuit';
import {
  EXT_ZERO,
  type Ext,
  eqList,
  extAdd,
  extMul,
  extScale,
  fromSigned,
  P,
  portableZkKernels,
} from '@haca/primitives/zk';
import fc from 'fast-check';
import { createGate, Rejection } from '../src/zk/checks.ts';
import { type PublicTensors, readPublicTensors } from '../src/zk/public-tensors.ts';

const residue = fc.nat(P - 1);
const element: fc.Arbitrary<Ext> = fc.tuple(residue, residue, residue, residue, residue);
const bitsOf = (extent: number): number => (extent <= 1 ? 0 : 32 - Math.clz32(extent - 1));

const BOUNDS: Readonly<Record<TensorKind, readonly [number, number]>> = {
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32768, 32767],
  i32: [-1_006_632_960, 1_006_632_960],
  id: [0, 6],
};

function programWith(kind: TensorKind, extents: readonly number[]): Program {
  const [lo, hi] = BOUNDS[kind];
  const axisBits = extents.map(bitsOf);
  const bits = axisBits.reduce((sum, each) => sum + each, 0);
  const tensor = { id: 0, storage: 'public', extents, axisBits, bits } as unknown as PlanTensor;
  return {
    batchSize: extents[0] as number,
    tensors: [tensor],
    inputs: [{ tensor: 0, kind, lo, hi }],
    outputs: [],
  } as unknown as Program;
}

const SIZES: Readonly<Record<TensorKind, number>> = { i8: 1, u8: 1, i16: 2, i32: 4, id: 4 };

function encode(kind: TensorKind, values: readonly number[]): Uint8Array {
  const size = SIZES[kind];
  const bytes = new Uint8Array(size * values.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries())
    if (size === 1) view.setUint8(i, value & 255);
    else if (size === 2) view.setInt16(2 * i, value, true);
    else view.setInt32(4 * i, value, true);
  return bytes;
}

const read = (program: Program, bytes: Uint8Array): PublicTensors =>
  readPublicTensors(program, { inputs: [bytes], outputs: [] }, createGate(), portableZkKernels);

/** Calls back with the position among the real cells and the index in the padded cube. */
function eachCell(extents: readonly number[], visit: (dense: number, padded: number) => void): void {
  const count = extents.reduce((product, extent) => product * extent, 1);
  for (let dense = 0; dense < count; dense++) {
    let rest = dense;
    let padded = 0;
    let scale = 1;
    for (let axis = extents.length - 1; axis >= 0; axis--) {
      const extent = extents[axis] as number;
      padded += scale * (rest % extent);
      rest = Math.floor(rest / extent);
      scale *= 2 ** bitsOf(extent);
    }
    visit(dense, padded);
  }
}

const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });

test('a public tensor is evaluated as the sum over its real cells, in every kind and shape', () => {
  const cases = fc.record({
    kind: fc.constantFrom('i8' as const, 'u8' as const, 'i16' as const, 'i32' as const),
    extents: shapes,
    numbers: fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
    point: fc.infiniteStream(element),
  });
  fc.assert(
    fc.property(cases, ({ kind, extents, numbers, point: elements }) => {
      const program = programWith(kind, extents);
      const [lo, hi] = BOUNDS[kind];
      const bits = (program.tensors[0] as PlanTensor).bits;
      const count = extents.reduce((product, extent) => product * extent, 1);
      const values = Array.from({ length: count }, () => {
        const at = numbers.next().value;
        return at < 0.1 ? lo : at > 0.9 ? hi : Math.round(lo + at * (hi - lo));
      });
      const point = Array.from({ length: bits }, () => elements.next().value);
      const weights = eqList(point);
      let expected = EXT_ZERO;
      eachCell(extents, (dense, padded) => {
        expected = extAdd(expected, extScale(weights[padded] as Ext, fromSigned(values[dense] as number)));
      });
      assert.deepEqual(read(program, encode(kind, values)).evaluate(0, point), expected);
    }),
    { numRuns: 150 },
  );
});

test('the selection of a gather is the sum over real ids', () => {
  const cases = fc.tuple(shapes, fc.infiniteStream(fc.nat(6)), fc.infiniteStream(element));
  fc.assert(
    fc.property(cases, ([extents, ids, elements]) => {
      const program = programWith('id', extents);
      const count = extents.reduce((product, extent) => product * extent, 1);
      const values = Array.from({ length: count }, () => ids.next().value);
      const next = (length: number): Ext[] => Array.from({ length }, () => elements.next().value);
      const point = next((program.tensors[0] as PlanTensor).bits);
      const row = next(3);
      const [onCell, onRow] = [eqList(point), eqList(row)];
      let expected = EXT_ZERO;
      eachCell(extents, (dense, padded) => {
        const weight = extMul(onCell[padded] as Ext, onRow[values[dense] as number] as Ext);
        expected = extAdd(expected, weight);
      });
      assert.deepEqual(read(program, encode('id', values)).selection(0, point, row), expected);
    }),
    { numRuns: 60 },
  );
});

test('ZK-23: wrong lengths, values outside the interval and a wrong number of tensors are refused', () => {
  const program = programWith('i32', [1, 3]);
  const good = encode('i32', [5, -1_006_632_960, 1_006_632_960]);
  read(program, good);
  for (const values of [
    [5, 0, 1_006_632_961],
    [5, -1_006_632_961, 0],
    [5 - P, 0, 0],
    [5, 0],
    [5, 0, 0, 0],
  ])
    assert.throws(() => read(program, encode('i32', values)), Rejection, `${values}`);
  assert.throws(() => read(program, good.subarray(1)), Rejection);
  const gate = createGate();
  for (const inputs of [[], [good, good]])
    assert.throws(
      () => readPublicTensors(program, { inputs, outputs: [] }, gate, portableZkKernels),
      Rejection,
    );
  assert.throws(
    () => readPublicTensors(program, { inputs: [good], outputs: [good] }, gate, portableZkKernels),
    Rejection,
  );
});
