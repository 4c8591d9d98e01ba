/** The arithmetic mod p that valid keys reach in padded cells alone, or never. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bitsOfExtent, INTEGER_BOUND } from '@haca/circuit';
import { createRandom } from '@haca/testkit';
import fc from 'fast-check';
import { allClean, type Cells, loadIntegers, shapeOf } from '../src/integer-graph/cells.ts';
import { evaluateContraction } from '../src/integer-graph/contraction.ts';
import { multiplyExact, multiplyInt16, multiplyResidues } from '../src/integer-graph/matrix-product.ts';
import { loadKernel } from '../src/integer-graph/wasm-matrix-product.ts';
import { evaluateWire } from '../src/integer-graph/wire.ts';

const P = 2013265921n;

function centred(value: bigint): number {
  const residue = ((value % P) + P) % P;
  return Number(residue > BigInt(INTEGER_BOUND) ? residue - P : residue);
}

const integer = (bound: number): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min: -bound, max: bound }), fc.constantFrom(-bound, bound, 0, 1, -1));

const product = (rows: number, columns: number, terms: number) => ({
  batches: Int32Array.of(0),
  rows: Int32Array.from({ length: rows }, (_, row) => row * columns),
  columns: Int32Array.from({ length: columns }, (_, column) => column),
  terms,
  stride: terms,
});

function expected(a: readonly number[], c: readonly number[], terms: number): number[] {
  const cells: number[] = [];
  for (let row = 0; row < a.length; row += terms)
    for (let column = 0; column < c.length; column += terms) {
      let sum = 0n;
      for (let k = 0; k < terms; k++) sum += BigInt(a[row + k] as number) * BigInt(c[column + k] as number);
      cells.push(centred(sum));
    }
  return cells;
}

for (const [name, multiply, bound] of [
  ['doubles', multiplyExact, 2 ** 25],
  ['residues', multiplyResidues, INTEGER_BOUND],
] as const)
  test(`matrix products by ${name} are those of integers, mod p`, () => {
    const operand = (cells: number): fc.Arbitrary<number[]> =>
      fc.array(integer(bound), { minLength: cells, maxLength: cells });
    fc.assert(
      fc.property(operand(6), operand(9), (a, c) => {
        const y = new Int32Array(6);
        multiply(y, product(2, 3, 3), Int32Array.from(a), Int32Array.from(c));
        assert.deepEqual([...y], expected(a, c, 3));
      }),
      { numRuns: 300 },
    );
  });

test('the compiled kernel and the plain one give the same products, in pieces too', () => {
  const kernel = loadKernel();
  assert.ok(kernel !== null, 'the module is built before any test');
  const count = fc.integer({ min: 1, max: 20 });
  const random = createRandom(5);
  const compare = (batches: number, rows: number, columns: number, terms: number): void => {
    const stride = 8 * Math.ceil(terms / 8);
    const pack = (length: number): Int16Array =>
      Int16Array.from({ length: length * stride }, (_, i) =>
        i % stride < terms ? Math.floor(random() * 256) - 128 : 0,
      );
    const [a, c] = [pack(batches * rows), pack(batches * columns)];
    const shape = {
      batches: Int32Array.from({ length: batches }, (_, i) => i * rows * columns),
      rows: Int32Array.from({ length: rows }, (_, i) => i),
      columns: Int32Array.from({ length: columns }, (_, i) => i * rows),
      terms,
      stride,
    };
    const [plain, compiled] = [
      new Int32Array(batches * rows * columns),
      new Int32Array(batches * rows * columns),
    ];
    multiplyInt16(plain, shape, a, c);
    kernel(compiled, shape, a, c);
    assert.deepEqual(compiled, plain);
  };
  fc.assert(fc.property(count, count, count, fc.integer({ min: 1, max: 70 }), compare), { numRuns: 50 });
  compare(1, 1100, 3, 2000);
  compare(1, 3, 1500, 1500);
  compare(300, 40, 40, 20);
});

test('the compiled kernel is exact at the ends of 16 bits', () => {
  const shape = product(20, 4, 32);
  const a = new Int16Array(20 * 32).fill(-32_768);
  const c = new Int16Array(4 * 32);
  for (let column = 0; column < 4; column++) c[33 * column] = column % 2 === 0 ? 30_000 : -30_000;
  for (const multiply of [multiplyInt16, loadKernel()]) {
    const y = new Int32Array(80);
    multiply?.(y, shape, a, c);
    assert.deepEqual([...y.subarray(0, 4)], [-983_040_000, 983_040_000, -983_040_000, 983_040_000]);
  }
});

function cellsOf(extents: readonly number[], values: readonly number[]): Cells {
  const shape = shapeOf({ extents, axisBits: extents.map(bitsOfExtent) }, 'dense');
  return {
    shape,
    data: Int32Array.from(values),
    lo: -INTEGER_BOUND,
    hi: INTEGER_BOUND,
    clean: allClean(shape),
  };
}

test('products cell by cell are those of integers, mod p', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(integer(INTEGER_BOUND), integer(INTEGER_BOUND)), { minLength: 1 }),
      (pairs) => {
        const a = cellsOf(
          [pairs.length],
          pairs.map(([each]) => each),
        );
        const c = cellsOf(
          [pairs.length],
          pairs.map(([, each]) => each),
        );
        const definition = {
          kind: 'contract' as const,
          a: 0,
          c: 1,
          labelsA: [0],
          labelsC: [0],
          indexLabel: null,
          extents: [pairs.length],
        };
        const context = { packed: new Map(), nameOf: () => null };
        const y = evaluateContraction(definition, a.shape, (id) => (id === 0 ? a : c), context);
        assert.deepEqual(
          [...y.data],
          pairs.map(([x, w]) => centred(BigInt(x) * BigInt(w))),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test('sums of a wire beyond the centred range are taken mod p', () => {
  fc.assert(
    fc.property(fc.array(integer(INTEGER_BOUND), { minLength: 3, maxLength: 8 }), (values) => {
      const x = cellsOf([values.length], values);
      const y = shapeOf({ extents: [values.length - 2], axisBits: [3] }, 'dense');
      const definition = {
        kind: 'wire' as const,
        x: 0,
        relations: [
          {
            kind: 'pool' as const,
            long: { side: 'x' as const, axis: 0, extent: values.length },
            position: { side: 'y' as const, axis: 0, extent: values.length - 2 },
            tap: { side: 'summed' as const, axis: 0, extent: 3 },
            stride: 1,
            dilation: 1,
            pad: 0,
            start: 0,
          },
        ],
      };
      assert.deepEqual(
        [...evaluateWire(definition, y, x).data],
        values
          .slice(2)
          .map((_, j) => centred(values.slice(j, j + 3).reduce((sum, each) => sum + BigInt(each), 0n))),
      );
    }),
  );
});

test('residues are read as the integers nearest to zero', () => {
  const into = new Int32Array(4);
  const residues = Uint32Array.of(0, INTEGER_BOUND, INTEGER_BOUND + 1, Number(P) - 1);
  loadIntegers(residues, 0, 4, into);
  assert.deepEqual([...into], [0, INTEGER_BOUND, -INTEGER_BOUND, -1]);
});
