/** Where committed tensors lie in columns of 2^columnBits cells. */
import { LIMITS } from './limits.ts';
import { overLimit } from './lowering/builder.ts';
import type { Placement, PlanTensor } from './program.ts';

export interface Layout {
  readonly placements: readonly Placement[];
  readonly columns: number;
}

/**
 * Largest first, ties in the order given. A tensor of at least one column takes one column per block of consecutive
 * cells, except void blocks, which hold no real cell and count as zero. Smaller ones fill columns one after the other,
 * so that every offset is a multiple of the size.
 */
export function layOut(tensors: readonly PlanTensor[], columnBits: number): Layout {
  const sorted = tensors
    .map((tensor, order) => ({ tensor, order }))
    .sort((a, b) => b.tensor.bits - a.tensor.bits || a.order - b.order);
  const size = 2 ** columnBits;
  const placements: Placement[] = new Array(tensors.length);
  let columns = 0;
  let offset = size;
  for (const { tensor, order } of sorted) {
    if (tensor.bits >= columnBits) {
      const blocks = blocksOf(tensor, columnBits).map((real) => (real ? columns++ : null));
      placements[order] = { tensor: tensor.id, at: { kind: 'blocks', columns: blocks } };
    } else {
      if (offset === size) {
        columns++;
        offset = 0;
      }
      placements[order] = { tensor: tensor.id, at: { kind: 'part', column: columns - 1, offset } };
      offset += 2 ** tensor.bits;
    }
    if (columns > LIMITS.columns) overLimit('columns', LIMITS.columns, columns);
  }
  return { placements, columns };
}

/** Along each of seven axes fewer than half of the blocks are void: with more than these, more than 256 are real. */
const BLOCKS = LIMITS.columns * 2 ** (LIMITS.axes + 1);

/** For each block of 2^columnBits cells whether it has a real cell. */
export function blocksOf(tensor: PlanTensor, columnBits: number): boolean[] {
  const count = 2 ** (tensor.bits - columnBits);
  if (count > BLOCKS) overLimit('blocks', BLOCKS, count);
  return Array.from({ length: count }, (_, block) => !isVoid(tensor, block * 2 ** columnBits));
}

/** Void: some axis has its smallest coordinate in the block, which is that of the block's first cell, at or beyond its extent. */
function isVoid(tensor: PlanTensor, firstCell: number): boolean {
  let rest = firstCell;
  for (let axis = tensor.extents.length - 1; axis >= 0; axis--) {
    const size = 2 ** (tensor.axisBits[axis] as number);
    if (rest % size >= (tensor.extents[axis] as number)) return true;
    rest = Math.floor(rest / size);
  }
  return false;
}
