/** A virtual output equals its public tensor on the real cells: EQ2 of mask · tensor at fresh coordinates. */
import type { OutputStep, PlanTensor } from '@haca/circuit';
import { type Ext, extMul, LABELS, maskAt } from '@haca/primitives/zk';
import type { StepContext } from '../fill.ts';
import { axisPoints } from '../points.ts';
import { eqSumcheck } from '../sumchecks.ts';

export function verifyOutput(context: StepContext, step: OutputStep): void {
  const { program, reader, state, publics, gate, place } = context;
  const fresh = step.fresh.length === 0 ? [] : reader.challengeExts(LABELS.OBLIGATION, step.fresh.length);
  state.setCoordinates(step.fresh, fresh);
  const claim = publics.evaluate(step.tensor, fresh);
  const reduced = eqSumcheck(reader, gate, LABELS.OP_ROUND, claim, fresh, place);
  state.setCoordinates(step.rounds, reduced.point);
  const [out] = reader.readExts(LABELS.OBLIGATION, 1) as readonly [Ext];
  state.setSlot(step.out.slot, out);
  const { extents, axisBits } = program.tensors[step.out.tensor] as PlanTensor;
  const mask = maskAt(extents, axisPoints(reduced.point, axisBits));
  gate.requireEqual('output', extMul(mask, out), reduced.claim, place);
}
