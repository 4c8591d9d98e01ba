/**
 * Times of the kernels, the best of several runs each, beside what a survey of such kernels found on the same kind of
 * machine (M31 or BabyBear, degree 4, other layouts: for orientation).
 *
 *   node packages/prover/test/measure-kernels.ts [THREADS]
 */
import { type Ext, P } from '@haca/primitives/zk';
import { createRandom } from '@haca/testkit';
import { createCodewords } from '../src/wasm/codewords.ts';
import { createEngine, type ExtBlocks, preparedScalars, uploadExtension } from '../src/wasm/engine.ts';
import type { KernelName } from '../src/wasm/kernels.ts';

const threads = Number(process.argv[2] ?? 1);
const engine = createEngine({ threads });
const { pool } = engine;
const { heap, kernels } = pool;
await pool.ready();

const LOG = 20;
const N = 2 ** LOG;
const uniform = createRandom(1);
const words = Uint32Array.from({ length: 5 * N }, () => Math.floor(uniform() * P));

function extension(): ExtBlocks {
  return uploadExtension(engine, { length: N, data: words });
}

/** Best of `runs`, in nanoseconds an item. */
function measure(name: string, items: number, survey: string, body: () => void, runs = 15): void {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs + 3; run++) {
    const start = process.hrtime.bigint();
    body();
    const elapsed = Number(process.hrtime.bigint() - start);
    if (run >= 3) best = Math.min(best, elapsed);
  }
  const each = (best / items).toFixed(2).padStart(9);
  const all = (best / 1e6).toFixed(2).padStart(9);
  process.stdout.write(`${name.padEnd(50)}${each} ns${all} ms   ${survey}\n`);
}

type Arguments = (from: number, to: number, thread: number) => readonly number[];

function measureKernel(
  name: string,
  items: number,
  survey: string,
  kernel: KernelName,
  units: number,
  args: Arguments,
): void {
  measure(name, items, survey, () => pool.run(kernel, units, args, items));
}

const a = extension();
const b = extension();
const out = engine.allocateBlocks(N);
const challenge: Ext = [1234567, 89, 2000000000, 5, 77];
const at = engine.writeElements([challenge]);
const results = pool.resultsOf;
const [A, B, O] = [a.address, b.address, out.address];

process.stdout.write(`${threads} thread(s), 2^${LOG} elements\n`);
measureKernel('product over F', N, '', 'multiplyVectors', N / 4, (from, to) => [A, B, O, from, to]);
measureKernel('dot product over F', N, '', 'dotExt', N / 4, (from, to, t) => [A, B, from, to, results(t)]);
measureKernel('fold over F, an output', N / 2, 'QM31 4.8', 'foldExt', N / 8, (from, to) => [
  A,
  N,
  at,
  O,
  from,
  to,
]);
measureKernel(
  'sumcheck round of a product, a pair',
  N / 2,
  'QM31 10.7',
  'productRound',
  N / 8,
  (from, to, t) => [...[A, B, N, from, to], results(t)],
);
measure('eq table of 2^18', 2 ** 18, '', () => kernels.eqTable(A, 18, at, O));

const bytes = heap.allocate(64 * N);
heap.bytes().fill(0x5a, bytes, bytes + 64 * N);
const scalars = preparedScalars(
  engine,
  Array.from({ length: 32 }, () => challenge),
);
const columns = heap.allocate(4 * 32);
heap.words().set(
  Array.from({ length: 32 }, (_, c) => bytes + c * (N + 64)),
  columns / 4,
);
measureKernel('int8 columns times F, a cell', 8 * N, 'QM31 0.57', 'combine', N / 16, (from, to) => [
  ...[0, columns, 32, scalars, O, from, to],
]);
measureKernel('int8 rows of 2^13 times weights, a cell', N, '', 'dotRows', N / 8192, (from, to) => [
  ...[0, bytes, 8192, A, 2048, scalars, from, to],
]);
measureKernel('fold of int8 into F, an output', N / 2, 'QM31 1.2', 'foldBase', N / 8, (from, to) => [
  ...[0, bytes, N, at, O, from, to],
]);

const half = N / 2;
const tables = [A, B, A + 20 * half, B + 20 * half];
const [low, high] = [engine.allocateBlocks(256), engine.allocateBlocks(N / 256)];
const weights = [low.address, 64, high.address];
const [p, q] = [engine.allocateBlocks(half), engine.allocateBlocks(half)];
measureKernel('fraction tree, a node', half, '', 'fractionLevel', half / 4, (from, to) => [
  ...[A, B, half, p.address, q.address, from, to],
]);
measureKernel(
  'fraction layer, first round, a pair',
  half / 2,
  '',
  'layerFirstRound',
  half / 512,
  (from, to, t) => [...[...tables, half, at, ...weights, from, to], results(t)],
);
measureKernel(
  'fraction layer, fold and round, a pair',
  half / 4,
  '',
  'layerFoldRound',
  half / 1024,
  (from, to, t) => [...[...tables, half, at, ...weights, from, to], results(t)],
);

const codewords = createCodewords(engine);
for (const [h, count] of [
  [11, 23],
  [14, 8],
  [17, 4],
] as const) {
  const sources = Array.from({ length: count }, (_, c) => ({ type: 0, address: bytes + c * (N + 64) }));
  measure(
    `codewords at rate 1/8 of ${count} columns of 2^${h}, a word`,
    count * 2 ** (h + 3),
    'NTT 2^20: 4.3',
    () => {
      for (const word of codewords.encodeColumns(sources, h, 3)) heap.free(word);
    },
  );
}
measure('codeword at rate 1/8 over F, 2^14, an element', 2 ** 17, '', () =>
  heap.free(codewords.encodeExtension(A, 14, 3)),
);

const key = heap.allocate(32);
const digests = heap.allocate(32 * N);
const scratch = results(0) + 2048;
measure('BLAKE3 of a node', 2 ** 16, '35', () => kernels.hashMany(key, A, 64, 2 ** 16, digests, scratch));
measure('BLAKE3 of a kilobyte, a block', 2 ** 16, '35', () =>
  kernels.hashMany(key, A, 1024, 2 ** 12, digests, scratch),
);
measure('a nonce tried', 2 ** 16, '', () => kernels.grind(key, 32, 0, 2 ** 14));
await pool.close();
