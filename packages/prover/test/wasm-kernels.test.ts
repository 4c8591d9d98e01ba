/** Kernels at sizes and values where their arithmetic could fail: extremes, long sums, blocks and tiles that join. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '@haca/primitives';
import {
  type BaseValues,
  codeword,
  codewordExt,
  dotBase,
  dotExt,
  EXT_ONE,
  type Ext,
  type ExtVector,
  eqTable,
  extAdd,
  extMul,
  extVector,
  extVectorOf,
  extVectorToList,
  foldVector,
  getExt,
  P,
  setExt,
} from '@haca/primitives/zk';
import { createRandom } from '@haca/testkit';
import type { ProverBackend } from '../src/backend.ts';
import { referenceBackend } from '../src/reference-backend.ts';
import { wasmBackend } from '../src/wasm/backend.ts';
import { createCodewords } from '../src/wasm/codewords.ts';
import {
  blocksOf,
  createEngine,
  download,
  type ExtBlocks,
  eqTableOf,
  uploadBase,
  uploadExtension,
} from '../src/wasm/engine.ts';
import { createSharedHeap } from '../src/wasm/memory.ts';

const engine = createEngine({ threads: 1 });
const { kernels, heap } = engine.pool;

const EDGES = [0, 1, 2, P - 1, P - 2, (P - 1) / 2, (P + 1) / 2, 0x40000000, 1 << 16, 65535];

function randomVector(length: number, seed: number): ExtVector {
  const uniform = createRandom(seed);
  const data = Uint32Array.from({ length: 5 * length }, () => {
    const pick = Math.floor(uniform() * 30);
    return pick < EDGES.length ? (EDGES[pick] as number) : Math.floor(uniform() * P);
  });
  return { length, data };
}

const constantVector = (length: number, word: number): ExtVector => ({
  length,
  data: new Uint32Array(5 * length).fill(word),
});

test('products of all pairs of edge values, and of random elements', () => {
  const pairs = EDGES.flatMap((a) => EDGES.map((b) => [a, b] as const));
  const edges = (side: 0 | 1): ExtVector =>
    extVectorOf(pairs.map((pair): Ext => [pair[side], pair[side], pair[side], pair[side], pair[side]]));
  for (const [a, b] of [
    [edges(0), edges(1)],
    [randomVector(400, 1), randomVector(400, 2)],
  ] as const) {
    const [x, y] = [uploadExtension(engine, a), uploadExtension(engine, b)];
    const out = engine.allocateBlocks(a.length);
    kernels.multiplyVectors(x.address, y.address, out.address, 0, blocksOf(a.length));
    const expected = extVectorToList(a).map((element, i) => extMul(element, getExt(b, i)));
    assert.deepEqual(extVectorToList(download(engine, out)), expected);
    for (const vector of [x, y, out]) engine.release(vector);
  }
});

test('long sums of the largest products stay exact', () => {
  for (const length of [1, 2, 3, 5, 255, 256, 257, 1024, 5000]) {
    for (const word of [P - 1, (P - 1) / 2, 1]) {
      const a = constantVector(length, word);
      const b = constantVector(length, P - 1);
      const [x, y] = [uploadExtension(engine, a), uploadExtension(engine, b)];
      const out = heap.allocate(20);
      kernels.dotExt(x.address, y.address, 0, blocksOf(length), out);
      assert.deepEqual(engine.readElements(out, 1)[0], dotExt(a, b), `${length} times ${word}`);
      heap.free(out);
      engine.release(x);
      engine.release(y);
    }
  }
});

test('dot products with integers of every width, at their extremes', () => {
  const length = 9000;
  const extremes: readonly BaseValues[] = [
    new Int8Array(length).fill(-128),
    new Int8Array(length).fill(127),
    new Uint8Array(length).fill(255),
    new Int16Array(length).fill(-32768),
    new Int16Array(length).fill(32767),
    new Uint16Array(length).fill(65535),
    new Int32Array(length).fill(-(P - 1) / 2),
    new Int32Array(length).fill((P - 1) / 2),
    new Uint32Array(length).fill(P - 1),
  ];
  for (const weights of [constantVector(length, P - 1), randomVector(length, 3)]) {
    const table = uploadExtension(engine, weights);
    for (const values of extremes) {
      const vector = uploadBase(engine, values);
      const out = heap.allocate(20);
      kernels.dotRows(vector.type, vector.address, 0, table.address, blocksOf(length), out, 0, 1);
      assert.deepEqual(engine.readElements(out, 1)[0], dotBase(values, weights), values.constructor.name);
      heap.free(out);
      engine.release(vector);
    }
    engine.release(table);
  }
});

test('combinations of 256 columns at their extremes', () => {
  const backend = wasmBackend();
  const reference = referenceBackend();
  const weights = Array.from({ length: 256 }, (): Ext => [P - 1, 1, P - 1, 0, P - 2]);
  for (const values of [
    new Int8Array(16).fill(-128),
    new Uint8Array(16).fill(255),
    new Uint16Array(16).fill(65535),
    new Int16Array(16).fill(-32768),
    new Uint32Array(16).fill(P - 1),
  ]) {
    const combined = (on: ProverBackend): Ext[] => {
      const vector = on.upload(values);
      const columns = weights.map(() => ({ pieces: [{ vector, from: 0, length: 16, offset: 0 }] }));
      return extVectorToList(on.download(on.combineColumns(columns, 4, weights)));
    };
    assert.deepEqual(combined(backend), combined(reference), values.constructor.name);
  }
});

test('eq tables of 0 to 10 variables', () => {
  for (let n = 0; n <= 10; n++) {
    const point = extVectorToList(randomVector(n, n + 10));
    const table = eqTableOf(engine, point, EXT_ONE);
    assert.deepEqual(extVectorToList(download(engine, table)), extVectorToList(eqTable(point)), `${n}`);
    engine.release(table);
  }
});

test('folds of vectors over F and of integers', () => {
  const challenge: Ext = [P - 1, 12345, 0, P - 1, 77];
  const at = engine.writeElements([challenge]);
  for (const length of [2, 4, 8, 64]) {
    const values = randomVector(length, length);
    const vector = uploadExtension(engine, values);
    const out = engine.allocateBlocks(length / 2);
    kernels.foldExt(vector.address, length, at, out.address, 0, blocksOf(length / 2));
    assert.deepEqual(extVectorToList(download(engine, out)), extVectorToList(foldVector(values, challenge)));
    engine.release(vector);
    engine.release(out);
  }
  for (const values of [
    Int8Array.from({ length: 64 }, (_, i) => (i % 2 ? 127 : -128)),
    Uint8Array.from({ length: 64 }, (_, i) => (i % 3 ? 255 : 0)),
    Int16Array.from({ length: 64 }, (_, i) => (i < 32 ? -32768 : 32767)),
    Uint16Array.from({ length: 64 }, (_, i) => (i < 32 ? 65535 : i)),
    Int32Array.from({ length: 64 }, (_, i) => (i < 32 ? -(P - 1) / 2 : (P - 1) / 2)),
    Uint32Array.from({ length: 64 }, (_, i) => (i < 32 ? P - 1 : i)),
  ]) {
    const vector = uploadBase(engine, values);
    const out = engine.allocateBlocks(32);
    kernels.foldBase(vector.type, vector.address, 64, at, out.address, 0, 8);
    const lifted = extVector(64);
    values.forEach((value, i) => {
      setExt(lifted, i, [((value % P) + P) % P, 0, 0, 0, 0]);
    });
    assert.deepEqual(extVectorToList(download(engine, out)), extVectorToList(foldVector(lifted, challenge)));
    engine.release(vector);
    engine.release(out);
  }
});

test('codewords whose blocks and tiles are joined', () => {
  const codewords = createCodewords(engine);
  for (const [h, blowup] of [
    [15, 3],
    [16, 2],
    [16, 3],
  ] as const) {
    const uniform = createRandom(h);
    const residues = Uint32Array.from({ length: 2 ** h }, () => Math.floor(uniform() * P));
    const bytes = Int8Array.from({ length: 2 ** h }, () => Math.floor(uniform() * 256) - 128);
    const columns = [uploadBase(engine, residues), uploadBase(engine, bytes)];
    const words = codewords.encodeColumns(columns, h, blowup);
    const lifted = Uint32Array.from(bytes, (byte) => (byte < 0 ? byte + P : byte));
    for (const [c, column] of [residues, lifted].entries()) {
      const at = (words[c] as number) / 4;
      const expected = codeword(column, blowup);
      assert.ok(
        Buffer.from(heap.words().slice(at, at + expected.length).buffer).equals(Buffer.from(expected.buffer)),
      );
    }
    for (const column of columns) engine.release(column);
    for (const word of words) heap.free(word);
  }
  for (const [h, blowup] of [
    [11, 3],
    [12, 3],
    [13, 2],
  ] as const) {
    const values = randomVector(2 ** h, h);
    const column = uploadExtension(engine, values);
    const address = codewords.encodeExtension(column.address, h, blowup);
    const length = 2 ** (h + blowup);
    const blocks: ExtBlocks = { field: 'extension', length, address };
    const word = download(engine, blocks);
    assert.ok(Buffer.from(word.data.buffer).equals(Buffer.from(codewordExt(values, blowup).data.buffer)));
    engine.release(column);
    heap.free(address);
  }
});

test('a tree of 2^13 leaves on two threads, against the reference', async () => {
  const backend = wasmBackend({ threads: 2, parallelWork: 64 });
  await backend.ready();
  const run = (on: ProverBackend): unknown => {
    const uniform = createRandom(5);
    const ext = (): Ext => {
      const word = (): number => Math.floor(uniform() * P);
      return [word(), word(), word(), word(), word()];
    };
    const vector = on.upload(Int8Array.from({ length: 4096 }, () => Math.floor(uniform() * 256) - 128));
    const segment = (bits: number, offset: number) => ({
      bits,
      offset,
      numerator: { kind: 'mask' } as const,
      mask: { axisBits: [bits], extents: [2 ** bits - 5] },
      constant: ext(),
      terms: [{ coefficient: ext(), vector }],
      maskCoefficient: null,
    });
    const tree = on.fractionTree(13, [segment(12, 0), segment(11, 4096)]);
    const seen: unknown[] = [tree.top];
    for (const level of [11, 12]) {
      const layer = tree.layer(level, ext(), Array.from({ length: level }, ext));
      for (let round = 0; round < level; round++) {
        seen.push(layer.round());
        layer.bind(ext());
      }
      seen.push(layer.finals());
      layer.release();
    }
    tree.release();
    on.release(vector);
    return seen;
  };
  assert.deepEqual(run(backend), run(referenceBackend()));
  await backend.close();
  // Closed, it goes on working, on this thread.
  assert.deepEqual(backend.evaluate([backend.upload(Int8Array.of(3))], []), [[3, 0, 0, 0, 0]]);
});

test('everything that is allocated can be freed, and freed memory is used again', () => {
  const shared = createSharedHeap(1000);
  const uniform = createRandom(9);
  const live: number[] = [];
  for (let i = 0; i < 500; i++) {
    if (uniform() < 0.55 || live.length === 0) live.push(shared.allocate(Math.floor(uniform() * 300_000)));
    else shared.free(live.splice(Math.floor(uniform() * live.length), 1)[0] as number);
  }
  assert.ok(live.every((address) => address % 64 === 0 && address >= 1000));
  for (const address of live) shared.free(address);
  const { bytes, memoryBytes, peakBytes } = shared.usage();
  assert.equal(bytes, 0);
  assert.ok(peakBytes > 0);
  // One free range again: all of it can be had at once, and the memory does not grow.
  const whole = shared.allocate(memoryBytes - 1024 - 128);
  assert.equal(shared.usage().memoryBytes, memoryBytes);
  shared.free(whole);
  assert.throws(() => shared.free(whole), UsageError);
  assert.throws(() => shared.allocate(-1), UsageError);
  assert.throws(() => shared.allocate(5 * 2 ** 30), UsageError);
});

test('the sum of a vector and of its parts agree', () => {
  const values = randomVector(37, 21);
  const vector = uploadExtension(engine, values);
  assert.deepEqual(download(engine, vector), values);
  const total = extVectorToList(values).reduce((sum, element) => extAdd(sum, element));
  const ones = uploadExtension(engine, extVectorOf(Array.from({ length: 37 }, () => EXT_ONE)));
  const out = heap.allocate(20);
  kernels.dotExt(vector.address, ones.address, 0, blocksOf(37), out);
  assert.deepEqual(engine.readElements(out, 1)[0], total);
});
