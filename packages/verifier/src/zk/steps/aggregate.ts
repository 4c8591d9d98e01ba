/** Several claims on one tensor become one: Σ_j α^j v_j = Σ_x T(x) · Σ_j α^j eq(point_j, x). */
import type { AggregateStep } from '@haca/circuit';
import { type Ext, eqPoint, extMul, LABELS } from '@haca/primitives/zk';
import type { StepContext } from '../fill.ts';
import { powersOf, weightedSum } from '../powers.ts';
import { sumcheck } from '../sumchecks.ts';

export function verifyAggregate({ reader, state, gate, place }: StepContext, step: AggregateStep): void {
  const powers = powersOf(reader.challengeExt(LABELS.AGGREGATE), step.claims.length);
  const values = step.claims.map(({ slot }) => state.slot(slot));
  const claim = weightedSum(values, powers);
  const reduced = sumcheck(reader, LABELS.OP_ROUND, 'SC2', claim, step.rounds.length);
  state.setCoordinates(step.rounds, reduced.point);
  const [out] = reader.readExts(LABELS.OP_VALUES, 1) as readonly [Ext];
  state.setSlot(step.out.slot, out);
  const weights = step.claims.map(({ point }) => eqPoint(state.pointOf(point), reduced.point));
  gate.requireEqual('aggregate', extMul(out, weightedSum(weights, powers)), reduced.claim, place);
}
