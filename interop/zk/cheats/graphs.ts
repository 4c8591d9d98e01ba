/** Lies about maxima, tables, norms, patches, slices, joined axes, embeddings and contractions. */
import type { ZkExample } from '@haca/testkit';
import { about, add, type Cheat, set, valueAt } from './cheat.ts';
import type { Forged, Lie } from './forged.ts';
import { gathered, normed, POOL_INPUT, pooled, wired } from './networks.ts';

type Told = (honest: Forged) => Readonly<Record<string, Lie>>;

const cheat =
  (network: () => ZkExample, input: readonly number[]) =>
  (name: string, broken: Cheat['broken'], lies: Told, more: Partial<Cheat> = {}): Cheat => ({
    name,
    network,
    inputs: [input],
    broken,
    refusedBy: broken.lookups === undefined ? 'zk.step' : 'zk.gkr-root',
    lies: (honest) => about(honest, lies(honest)),
    ...more,
  });

// Pairs (3, -8), (5, 5), (-100, 20).
const pool = cheat(pooled, POOL_INPUT);
const MAX = 'op 3 max';
const VALUES = { lookups: ['op 4 table'] };
const SQUARES = 'op 4 table';

const POOL: readonly Cheat[] = [
  pool('the smaller of two', { lookups: [MAX] }, () => ({ [MAX]: set({ 0: -8 }) })),
  pool('the smaller of two, the other way round', { lookups: [MAX] }, () => ({ [MAX]: set({ 2: -100 }) })),
  pool('more than either', { lookups: [MAX] }, () => ({ [MAX]: set({ 0: 4 }) })),
  pool('less than either', { lookups: [MAX] }, () => ({ [MAX]: set({ 1: 4 }) })),
  pool(
    'another difference',
    { definition: `${MAX} a - b` },
    () => ({
      [MAX]: add(0, 1),
      [`${MAX} a - b`]: add(0, 1),
    }),
    { refusedBy: 'zk.public-evaluation' },
  ),
  pool(
    'another excess',
    { definition: `${MAX} y - b` },
    (honest) => ({
      [MAX]: add(0, 1),
      [`${MAX} y - b`]: set({ 0: valueAt(honest, `${MAX} y - b`, 0) }),
    }),
    { refusedBy: 'zk.step' },
  ),
  pool('another operand', { definition: 'op 1 sum' }, () => ({ 'op 1 sum': add(0, 7) }), {
    refusedBy: 'zk.public-evaluation',
  }),
  pool('another value of the table', VALUES, () => ({ [SQUARES]: add(1, 1) })),
  pool('the value of a neighbour', VALUES, (honest) => ({
    [SQUARES]: set({ 2: valueAt(honest, SQUARES, 1) }),
  })),
  pool('nothing, as if a row of zeros were in the table', VALUES, () => ({ [SQUARES]: set({ 1: 0 }) })),
];

// Squares sum up to 14 and 77 of windows 0 and 1.
const norm = cheat(normed, [1, -2, 3, 6, 5, -4]);
const NORM: readonly Cheat[] = [
  norm('the root of another sum of squares', { lookups: ['op 3 requantize window'] }, (honest) => ({
    'op 3 requantize': set({ 0: valueAt(honest, 'op 3 requantize', 1) }),
  })),
  norm('another sum of squares', { definition: 'op 2 contract' }, () => ({ 'op 2 contract': add(0, 8) })),
  norm('a row scaled by the root of the other', { definition: 'op 4 contract' }, (honest) => {
    const root = valueAt(honest, 'op 3 requantize', 1);
    const x = honest.read(honest.program.tensors.find(({ name }) => name === 'op 1 requantize')?.id ?? 0);
    return {
      'op 4 contract': set({
        0: root * (x[0] as number),
        1: root * (x[1] as number),
        2: root * (x[2] as number),
      }),
    };
  }),
];

// Two rows of five in cubes of eight.
const wire = cheat(wired, [10, 20, 30, 40, 50, -10, -20, -30, -40, -50]);
const PATCHES = 'op 1 wire';
/** Patches [2, 5, 3] in a cube of 2 · 8 · 4. */
const patch = (row: number, position: number, tap: number): number => 32 * row + 4 * position + tap;
const WIRES: readonly Cheat[] = [
  wire('a tap from the padding in front', { definition: PATCHES }, () => ({
    [PATCHES]: set({ [patch(0, 2, 2)]: 0, [patch(0, 3, 2)]: 0, [patch(1, 0, 0)]: 50 }),
  })),
  wire('a tap from the next row', { definition: PATCHES }, () => ({
    [PATCHES]: set({ [patch(0, 4, 2)]: -10 }),
  })),
  wire('two taps swapped', { definition: PATCHES }, () => ({
    [PATCHES]: set({ [patch(0, 2, 0)]: 40, [patch(0, 2, 2)]: 20 }),
  })),
  wire('a convolution off by 8', { definition: 'op 2 contract' }, () => ({ 'op 2 contract': add(3, 8) })),
  wire('a slice from one place further on', { definition: 'op 3 wire' }, (honest) => {
    const y = honest.read(honest.program.tensors.find(({ name }) => name === 'op 2 contract')?.id ?? 0);
    return { 'op 3 wire': set({ 0: y[3] as number, 1: y[4] as number, 2: y[5] as number }) };
  }),
  wire('axes joined the other way round', { definition: 'op 4 wire' }, (honest) => ({
    'op 4 wire': set({
      1: valueAt(honest, 'op 4 wire', 3),
      2: valueAt(honest, 'op 4 wire', 1),
      3: valueAt(honest, 'op 4 wire', 4),
      4: valueAt(honest, 'op 4 wire', 2),
    }),
  })),
];

const gather = cheat(gathered, [3, 0, 3]);
const EMBEDDING: readonly Cheat[] = [
  gather('the row of another id', { definition: 'op 0 gather' }, (honest) => {
    const table = honest.read(honest.program.tensors.find(({ storage }) => storage === 'weight')?.id ?? 0);
    return { 'op 0 gather': set({ 4: table[8] as number, 5: table[9] as number, 6: table[10] as number }) };
  }),
  gather('one cell of a row', { definition: 'op 0 gather' }, () => ({ 'op 0 gather': add(1, 2) })),
  gather('a sum over positions off by one', { definition: 'op 2 contract' }, () => ({
    'op 2 contract': add(0, 1),
  })),
];

export const GRAPH_CHEATS: readonly Cheat[] = [...POOL, ...NORM, ...WIRES, ...EMBEDDING];
