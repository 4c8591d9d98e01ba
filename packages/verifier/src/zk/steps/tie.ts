/** A virtual tensor equals another side in every cell: both have one value at fresh coordinates. */
import type { PlanTensor, TieStep } from '@haca/circuit';
import { LABELS, maskAt } from '@haca/primitives/zk';
import { fillSlots, type StepContext } from '../fill.ts';
import { axisPoints } from '../points.ts';

export function verifyTie(context: StepContext, step: TieStep): void {
  const { program, reader, state } = context;
  const fresh = step.fresh.length === 0 ? [] : reader.challengeExts(LABELS.OBLIGATION, step.fresh.length);
  state.setCoordinates(step.fresh, fresh);
  if (!('maskExtents' in step.side)) {
    fillSlots(context, [step.side], LABELS.OBLIGATION);
    return;
  }
  const { axisBits } = program.tensors[step.claim.tensor] as PlanTensor;
  state.setSlot(step.side.slot, maskAt(step.side.maskExtents, axisPoints(fresh, axisBits)));
}
