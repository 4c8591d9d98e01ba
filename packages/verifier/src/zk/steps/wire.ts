/** A claim on y[o] = Σ x[i] over related i: SC2 over the axes of x that no axis of y equals. */
import type { PlanTensor, RelationAxis, WireStep } from '@haca/circuit';
import { EXT_ONE, type Ext, extMul, LABELS } from '@haca/primitives/zk';
import { Rejection } from '../checks.ts';
import { fillSlots, type StepContext } from '../fill.ts';
import { axisPoints } from '../points.ts';
import { relationAt } from '../relation.ts';
import { sumcheck } from '../sumchecks.ts';

export function verifyWire(context: StepContext, step: WireStep): void {
  const { reader, state, gate, place } = context;
  const rounds = step.summed.flatMap((axis) => axis.rounds);
  const claim = state.slot(step.claim.slot);
  const reduced = sumcheck(reader, LABELS.OP_ROUND, 'SC2', claim, rounds.length);
  state.setCoordinates(rounds, reduced.point);
  fillSlots(context, [step.x], LABELS.OP_VALUES);
  const product = extMul(state.slot(step.x.slot), relations(context, step));
  gate.requireEqual('wire', product, reduced.claim, place);
}

function relations({ program, state, place }: StepContext, step: WireStep): Ext {
  const y = program.tensors[step.claim.tensor] as PlanTensor;
  if (y.definition.kind !== 'wire') throw new Rejection('plan', `${place} on no wire`);
  const x = program.tensors[step.x.tensor] as PlanTensor;
  const onY = axisPoints(state.pointOf(step.claim.point), y.axisBits);
  const onX = axisPoints(state.pointOf(step.x.point), x.axisBits);
  const pointOf = ({ side, axis }: RelationAxis): readonly Ext[] =>
    (side === 'x' ? onX : onY)[axis] as readonly Ext[];
  let product = EXT_ONE;
  for (const relation of y.definition.relations) {
    if (relation.kind === 'same') continue;
    const value = relationAt(relation, {
      long: pointOf(relation.long),
      position: pointOf(relation.position),
      tap: relation.tap.side === 'summed' ? null : pointOf(relation.tap),
    });
    product = extMul(product, value);
  }
  return product;
}
