/** Powers of a challenge, and sums weighted with them. */
import { EXT_ONE, EXT_ZERO, type Ext, extAdd, extMul } from '@haca/primitives/zk';

/** 1, base, base², … */
export function powersOf(base: Ext, count: number): Ext[] {
  const powers: Ext[] = [];
  for (let power = EXT_ONE; powers.length < count; power = extMul(power, base)) powers.push(power);
  return powers;
}

/** Σ values[j] · weights[j]. */
export function weightedSum(values: readonly Ext[], weights: readonly Ext[]): Ext {
  let sum = EXT_ZERO;
  for (const [j, value] of values.entries()) sum = extAdd(sum, extMul(value, weights[j] as Ext));
  return sum;
}
