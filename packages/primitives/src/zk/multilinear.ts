/**
 * Multilinear extensions (MLE). A vector of length 2^n is indexed by n bits, x_0 the most significant; a point is n
 * elements of F in the same order.
 */
import { UsageError } from '../errors.ts';
import { EXT_ONE, EXT_ZERO, type Ext, extAdd, extMul, extSub } from './ext.ts';
import { type BaseValues, dotBaseRange, dotExtRange, type ExtVector, eqTable } from './ext-vector.ts';

/** eq(r, s) = product of r_i s_i + (1 - r_i)(1 - s_i). */
export function eqPoint(r: readonly Ext[], s: readonly Ext[]): Ext {
  checkSameLength(r, s);
  let product = EXT_ONE;
  for (const [i, coordinate] of r.entries()) product = extMul(product, eqCoordinate(coordinate, s[i] as Ext));
  return product;
}

function eqCoordinate(a: Ext, b: Ext): Ext {
  const product = extMul(a, b);
  return extAdd(extSub(extSub(EXT_ONE, a), b), extAdd(product, product));
}

/** The MLE of [x < bound] at r, 0 <= bound <= 2^n. */
export function lessThan(bound: number, r: readonly Ext[]): Ext {
  const size = 2 ** r.length;
  if (!Number.isSafeInteger(bound) || bound < 0 || bound > size) {
    throw new UsageError(`bound ${bound} of ${r.length} bits`);
  }
  if (bound === size) return EXT_ONE;
  let below = EXT_ZERO;
  let prefixEqual = EXT_ONE;
  let weight = size;
  for (const coordinate of r) {
    weight /= 2;
    const ifOne = extMul(prefixEqual, coordinate);
    const ifZero = extSub(prefixEqual, ifOne);
    if (Math.floor(bound / weight) % 2 === 1) {
      below = extAdd(below, ifZero);
      prefixEqual = ifOne;
    } else {
      prefixEqual = ifZero;
    }
  }
  return below;
}

/** The MLE of [x' <= x] at (r for x, r2 for x'). */
export function lessOrEqual(r: readonly Ext[], r2: readonly Ext[]): Ext {
  checkSameLength(r, r2);
  let sum = EXT_ZERO;
  let prefixEqual = EXT_ONE;
  for (const [i, x] of r.entries()) {
    const both = extMul(x, r2[i] as Ext);
    sum = extAdd(sum, extMul(prefixEqual, extSub(x, both)));
    prefixEqual = extMul(prefixEqual, eqCoordinate(x, r2[i] as Ext));
  }
  return extAdd(sum, prefixEqual);
}

/** The product of lessThan(extents[a], points[a]): 1 on the cells of a padded tensor that are real. */
export function maskAt(extents: readonly number[], points: readonly (readonly Ext[])[]): Ext {
  if (extents.length !== points.length) {
    throw new UsageError(`${extents.length} extents for ${points.length} points`);
  }
  let product = EXT_ONE;
  for (const [axis, extent] of extents.entries()) {
    const point = points[axis] as readonly Ext[];
    if (extent !== 2 ** point.length) product = extMul(product, lessThan(extent, point));
  }
  return product;
}

/** The MLE of x -> x at r: sum of r_i * 2^(n-1-i). At most 31 coordinates. */
export function indexValueAt(r: readonly Ext[]): Ext {
  if (r.length > 31) throw new UsageError(`an index of ${r.length} bits`);
  let value = EXT_ZERO;
  for (const coordinate of r) value = extAdd(extAdd(value, value), coordinate);
  return value;
}

/**
 * The MLE of a vector at a point of n coordinates. Of at most 2^n values; cells beyond them are zero. Keeps two tables of
 * 2^(n/2) weights instead of one of 2^n.
 */
export function evaluateMultilinear(values: BaseValues | ExtVector, point: readonly Ext[]): Ext {
  const { length } = values;
  if (length > 2 ** point.length) {
    throw new UsageError(`${length} values for ${point.length} coordinates`);
  }
  const highCount = point.length >>> 1;
  const high = eqList(point.slice(0, highCount));
  const low = eqTable(point.slice(highCount));
  let sum = EXT_ZERO;
  for (let row = 0; row * low.length < length; row++) {
    const start = row * low.length;
    const count = Math.min(low.length, length - start);
    const inner =
      'data' in values ? dotExtRange(values, start, low, count) : dotBaseRange(values, start, low, count);
    sum = extAdd(sum, extMul(high[row] as Ext, inner));
  }
  return sum;
}

/** The table of eq weights as a list, for use one at a time. */
export function eqList(point: readonly Ext[]): Ext[] {
  let list: Ext[] = [EXT_ONE];
  for (const coordinate of point) {
    list = list.flatMap((weight) => {
      const ifOne = extMul(weight, coordinate);
      return [extSub(weight, ifOne), ifOne];
    });
  }
  return list;
}

function checkSameLength(r: readonly Ext[], s: readonly Ext[]): void {
  if (r.length !== s.length) throw new UsageError(`points of ${r.length} and ${s.length} coordinates`);
}
