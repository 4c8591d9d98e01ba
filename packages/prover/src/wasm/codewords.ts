/** Reed-Solomon codewords in the shared memory. */
import { UsageError } from '@haca/primitives';
import { blocksOf, type Engine, type Integers } from './engine.ts';

const TWO_ADICITY = 27;
/** Log of the words of a block that one thread transforms on its own: half a second-level cache. */
const COLUMN_BLOCK_LOG = 17;
const EXT_BLOCK_LOG = 14;
const TILE_VECTORS = 64;
const QUAD_BYTES = 36;
const PAIR_BYTES = 12;

export interface Codewords {
  /** The words of columns of 2^h integers, 2^(h + blowup) canonical words each. `blowup` is at least 2. */
  readonly encodeColumns: (columns: readonly Integers[], h: number, blowup: number) => number[];
  /** The word of a column over F, as blocks. */
  readonly encodeExtension: (address: number, h: number, blowup: number) => number;
}

/** The smallest blow-up of the kernels. */
export const BLOWUP_MIN = 2;

export function createCodewords(engine: Engine): Codewords {
  const { pool } = engine;
  const { heap } = pool;
  // Twiddles, once made, serve every word. By log of the quarter or half that they belong to.
  const quads = new Map<number, number>();
  const pairs = new Map<number, number>();

  function quadTwiddles(log: number): number {
    const known = quads.get(log);
    if (known !== undefined) return known;
    const address = heap.allocate(QUAD_BYTES * 2 ** log);
    pool.run('quadTwiddles', 2 ** (log - 2), (from, to) => [log, address, from, to]);
    quads.set(log, address);
    return address;
  }

  function pairTwiddles(log: number): number {
    const known = pairs.get(log);
    if (known !== undefined) return known;
    const address = heap.allocate(PAIR_BYTES * 2 ** log);
    pool.kernels.pairTwiddles(log, address);
    pairs.set(log, address);
    return address;
  }

  /** Addresses of the twiddles of a word's passes, as `ntt.ts` of the kernels wants them: 33 words. */
  function tablesFor(h: number, blowup: number): number {
    const list = new Array<number>(33).fill(0);
    if (h % 2 === 1) list[32] = pairTwiddles(blowup);
    for (let log = blowup + (h % 2); log < h + blowup; log += 2) list[log] = quadTwiddles(log);
    const address = heap.allocate(4 * list.length);
    heap.words().set(list, address / 4);
    return address;
  }

  function checkLength(h: number, blowup: number): void {
    if (blowup < BLOWUP_MIN || h + blowup > TWO_ADICITY) {
      throw new UsageError(`a word of 2^(${h} + ${blowup}) values`);
    }
  }

  /** The largest block up to `most` that leaves whole passes of radix 4 above it. */
  function blockLog(h: number, blowup: number, most: number): number {
    let log = h + blowup;
    while (log > most && log - 2 >= blowup + (h % 2)) log -= 2;
    return log;
  }

  return {
    encodeColumns: (columns, h, blowup) => {
      checkLength(h, blowup);
      const total = h + blowup;
      const tables = tablesFor(h, blowup);
      const words = columns.map(() => heap.allocate(4 * 2 ** total));
      const list = heap.allocate(12 * columns.length);
      heap.words().set(
        columns.flatMap(({ type, address }, c) => [type, address, words[c] as number]),
        list / 4,
      );
      const log = blockLog(h, blowup, COLUMN_BLOCK_LOG);
      const units = columns.length * 2 ** (total - log);
      const work = columns.length * 2 ** (total - 2);
      pool.run('encodeColumns', units, (from, to) => [list, h, blowup, log, tables, from, to], work);
      for (let joined = log; joined < total; joined += 2) {
        const tiles = Math.ceil(2 ** (joined - 2) / TILE_VECTORS) * 2 ** (total - joined - 2);
        pool.run(
          'joinColumns',
          tiles,
          (from, to) => [list, columns.length, joined, total, tables, from, to],
          work,
        );
      }
      heap.free(list);
      heap.free(tables);
      return words;
    },
    encodeExtension: (address, h, blowup) => {
      checkLength(h, blowup);
      const total = h + blowup;
      const tables = tablesFor(h, blowup);
      const word = heap.allocate(80 * blocksOf(2 ** total));
      // Several blocks, so that several threads have work.
      const log = blockLog(h, blowup, Math.min(EXT_BLOCK_LOG, Math.max(total - 2, 12)));
      const work = 5 * 2 ** (total - 2);
      pool.run(
        'encodeBlocks',
        2 ** (total - log),
        (from, to) => [address, h, blowup, log, tables, word, from, to],
        work,
      );
      for (let joined = log; joined < total; joined += 2) {
        const tiles = Math.ceil(2 ** (joined - 2) / TILE_VECTORS) * 2 ** (total - joined - 2);
        pool.run('joinBlocks', tiles, (from, to) => [word, joined, total, tables, from, to], work);
      }
      heap.free(tables);
      return word;
    },
  };
}
