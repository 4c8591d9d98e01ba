/** y[i…, d…] = table[ids[i…], d…] at real ids, 0 elsewhere. */
import { allClean, type CellArray, type Cells, offsetTable, type Shape } from './cells.ts';

export function evaluateGather(shape: Shape, table: Cells, ids: Cells): Cells {
  const length = table.shape.strides[0] as number;
  const data = new (table.data.constructor as new (length: number) => CellArray)(shape.cells);
  const places = offsetTable(ids.shape.extents, ids.shape.strides);
  for (const at of places) {
    const from = (ids.data[at] as number) * length;
    data.set(table.data.subarray(from, from + length), at * length);
  }
  return {
    shape,
    data,
    lo: Math.min(0, table.lo),
    hi: Math.max(0, table.hi),
    clean: allClean(shape),
  };
}
