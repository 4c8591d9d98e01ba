/** Tables of the axis relations of wires: which index along the long axis belongs to which position and tap. */
import type { PlanRelation } from '@haca/circuit';
import { bitsOfExtent } from '@haca/circuit';
import {
  EXT_ONE,
  type Ext,
  type ExtVector,
  eqList,
  extAdd,
  extMul,
  extVector,
  getExt,
  setExt,
} from '@haca/primitives/zk';

export type LinearRelation = Exclude<PlanRelation, { readonly kind: 'same' }>;

/** A point that an axis is evaluated at, or null: the axis stays. */
export type AxisPoint = readonly Ext[] | null;

/** Larger matrices are not worth what they save. */
const MOST_CELLS = 2 ** 20;

/** Calls `visit` for all i, j, k that belong together. */
function forEachPartner(
  { long, position, tap, stride, dilation, start, pad }: LinearRelation,
  visit: (i: number, j: number, k: number) => void,
): void {
  for (let j = 0; j < position.extent; j++)
    for (let k = 0; k < tap.extent; k++) {
      const i = stride * j + dilation * k + start - pad;
      if (i >= 0 && i < long.extent) visit(i, j, k);
    }
}

function addTo(table: ExtVector, index: number, value: Ext): void {
  setExt(table, index, extAdd(getExt(table, index), value));
}

/**
 * Weights of the long axis with position and tap at points; where the taps are summed up, `tap` is not read.
 */
export function longWeights(relation: LinearRelation, position: readonly Ext[], tap: AxisPoint): ExtVector {
  const table = extVector(2 ** bitsOfExtent(relation.long.extent));
  const ofPosition = eqList(position);
  const ofTap = tap === null ? null : eqList(tap);
  forEachPartner(relation, (i, j, k) => {
    const weight = ofPosition[j] as Ext;
    addTo(table, i, ofTap === null ? weight : extMul(weight, ofTap[k] as Ext));
  });
  return table;
}

/** Rows: the axis that stays (position or tap), columns: the long axis. Null where the matrix is too large. */
export function longMatrix(relation: LinearRelation, position: AxisPoint, tap: AxisPoint): ExtVector | null {
  const staying = position === null ? relation.position : relation.tap;
  const size = 2 ** bitsOfExtent(relation.long.extent);
  const rows = 2 ** bitsOfExtent(staying.extent);
  if (rows * size > MOST_CELLS) return null;
  const table = extVector(rows * size);
  const ofPosition = position === null ? null : eqList(position);
  const ofTap = tap === null ? null : eqList(tap);
  forEachPartner(relation, (i, j, k) => {
    const row = ofPosition === null ? j : k;
    const weight = ofPosition !== null ? ofPosition[j] : ofTap === null ? EXT_ONE : ofTap[k];
    addTo(table, row * size + i, weight as Ext);
  });
  return table;
}

/** Over position and tap, these two being neighbours in this order: weights with the long axis at a point. */
export function pairWeights(relation: LinearRelation, long: readonly Ext[]): ExtVector {
  const taps = 2 ** bitsOfExtent(relation.tap.extent);
  const table = extVector(taps * 2 ** bitsOfExtent(relation.position.extent));
  const ofLong = eqList(long);
  forEachPartner(relation, (i, j, k) => addTo(table, j * taps + k, ofLong[i] as Ext));
  return table;
}

/** Rows: the long axis, columns: position and tap. Null where the matrix is too large. */
export function pairMatrix(relation: LinearRelation): ExtVector | null {
  const taps = 2 ** bitsOfExtent(relation.tap.extent);
  const size = taps * 2 ** bitsOfExtent(relation.position.extent);
  const rows = 2 ** bitsOfExtent(relation.long.extent);
  if (rows * size > MOST_CELLS) return null;
  const table = extVector(rows * size);
  forEachPartner(relation, (i, j, k) => setExt(table, i * size + j * taps + k, EXT_ONE));
  return table;
}
