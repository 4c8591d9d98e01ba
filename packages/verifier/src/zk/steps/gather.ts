/** A claim on y[i, d] = table[ids[i], d]: SC2 over the rows of the table. */
import type { GatherStep } from '@haca/circuit';
import { extMul, LABELS } from '@haca/primitives/zk';
import { Rejection } from '../checks.ts';
import { fillSlots, type StepContext } from '../fill.ts';
import { sumcheck } from '../sumchecks.ts';

export function verifyGather(context: StepContext, step: GatherStep): void {
  const { program, reader, state, publics, gate, place } = context;
  const definition = program.tensors[step.claim.tensor]?.definition;
  if (definition?.kind !== 'gather') throw new Rejection('plan', `${place} on no gather`);
  const claim = state.slot(step.claim.slot);
  const reduced = sumcheck(reader, LABELS.OP_ROUND, 'SC2', claim, step.rounds.length);
  state.setCoordinates(step.rounds, reduced.point);
  fillSlots(context, [step.table], LABELS.OP_VALUES);
  const selection = publics.selection(definition.ids, state.pointOf(step.idPoint), reduced.point);
  gate.requireEqual('gather', extMul(state.slot(step.table.slot), selection), reduced.claim, place);
}
