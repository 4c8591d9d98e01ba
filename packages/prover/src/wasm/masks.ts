/** The real cells of padded cubes. */
import { UsageError } from '@haca/primitives';
import type { CellMask } from '../backend.ts';
import { type Engine, type ExtBlocks, TYPE_WORD } from './engine.ts';

export const maskBits = ({ axisBits }: CellMask): number => axisBits.reduce((sum, bits) => sum + bits, 0);

/** Writes 1 into the real cells and 0 into the others, 2^maskBits words from `at` on. */
export function fillMask(words: Uint32Array, at: number, mask: CellMask): void {
  const { extents, axisBits } = mask;
  if (extents.length !== axisBits.length) throw new UsageError('a mask with an axis without extent');
  const size = 2 ** maskBits(mask);
  words.fill(0, at, at + size);
  // Full axes at the end are one run.
  let depth = axisBits.length;
  let run = 1;
  while (depth > 0 && (extents[depth - 1] as number) >= 2 ** (axisBits[depth - 1] as number)) {
    depth--;
    run *= 2 ** (axisBits[depth] as number);
  }
  fillAxis(0, at, size);

  function fillAxis(axis: number, start: number, length: number): void {
    if (axis === depth) {
      words.fill(1, start, start + run);
      return;
    }
    const step = length / 2 ** (axisBits[axis] as number);
    const extent = extents[axis] as number;
    if (axis === depth - 1) {
      words.fill(1, start, start + extent * run);
      return;
    }
    for (let i = 0; i < extent; i++) fillAxis(axis + 1, start + i * step, step);
  }
}

export function maskVector(engine: Engine, mask: CellMask): ExtBlocks {
  const { heap, kernels } = engine.pool;
  const length = 2 ** maskBits(mask);
  const cells = heap.allocate(4 * length);
  fillMask(heap.words(), cells / 4, mask);
  const vector = engine.allocateBlocks(length);
  kernels.importBase(TYPE_WORD, cells, length, vector.address);
  heap.free(cells);
  return vector;
}
