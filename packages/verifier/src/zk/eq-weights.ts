/** Weights eq(point, index) of single indices. */
import { EXT_ONE, type Ext, eqList, extMul, extSub } from '@haca/primitives/zk';

/**
 * eq(point, index) for indices below 2^n, from two tables of half the bits: axes of 2^24 cells cost 2^13 elements.
 */
export function eqWeights(point: readonly Ext[]): (index: number) => Ext {
  const lowBits = point.length <= 8 ? point.length : Math.ceil(point.length / 2);
  const low = eqList(point.slice(point.length - lowBits));
  if (lowBits === point.length) return (index) => low[index] as Ext;
  const high = eqList(point.slice(0, point.length - lowBits));
  const size = low.length;
  return (index) => extMul(high[Math.floor(index / size)] as Ext, low[index % size] as Ext);
}

/** eq(point, index) for one index. */
export function eqAt(point: readonly Ext[], index: number): Ext {
  let product = EXT_ONE;
  for (let i = point.length - 1, rest = index; i >= 0; i--, rest = Math.floor(rest / 2)) {
    const coordinate = point[i] as Ext;
    product = extMul(product, rest % 2 === 1 ? coordinate : extSub(EXT_ONE, coordinate));
  }
  return product;
}
