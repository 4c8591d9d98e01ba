/** The multilinear extension of an axis relation of a wire. */
import type { PlanRelation } from '@haca/circuit';
import { EXT_ZERO, type Ext, extAdd, extMul } from '@haca/primitives/zk';
import { eqWeights } from './eq-weights.ts';

export type LinearRelation = Exclude<PlanRelation, { readonly kind: 'same' }>;

export interface RelationPoints {
  readonly long: readonly Ext[];
  readonly position: readonly Ext[];
  /** Null where the taps are summed up. */
  readonly tap: readonly Ext[] | null;
}

/**
 * Σ over j < J and k < K with 0 ≤ i = stride · j + dilation · k + start - pad < I of eq(position, j) · eq(tap, k) ·
 * eq(long, i), without the factor of k where taps are summed. Padded indices of all three axes have no partner.
 */
export function relationAt(relation: LinearRelation, points: RelationPoints): Ext {
  const { long, position, tap, stride, dilation, start, pad } = relation;
  const longWeight = eqWeights(points.long);
  const positionWeight = eqWeights(points.position);
  const tapWeight = points.tap === null ? null : eqWeights(points.tap);
  let sum = EXT_ZERO;
  for (let j = 0; j < position.extent; j++) {
    let inner = EXT_ZERO;
    for (let k = 0; k < tap.extent; k++) {
      const i = stride * j + dilation * k + start - pad;
      if (i < 0) continue;
      if (i >= long.extent) break;
      const weight = longWeight(i);
      inner = extAdd(inner, tapWeight === null ? weight : extMul(tapWeight(k), weight));
    }
    sum = extAdd(sum, extMul(positionWeight(j), inner));
  }
  return sum;
}
