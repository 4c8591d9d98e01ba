/** A claim on a sum: all terms but the last are values already, the last is solved for or compared. */
import type {
  Claim,
  Coordinate,
  PlanTensor,
  PublicFunction,
  Slot,
  SumDefinition,
  SumStep,
} from '@haca/circuit';
import {
  EXT_ONE,
  type Ext,
  extFromBase,
  extScale,
  extSub,
  indexValueAt,
  inverse,
  LABELS,
  lessOrEqual,
  maskAt,
} from '@haca/primitives/zk';
import { Rejection } from '../checks.ts';
import { fillSlots, type StepContext } from '../fill.ts';
import { axisPoints } from '../points.ts';

export function verifySum(context: StepContext, step: SumStep): void {
  const { program, state, gate, place } = context;
  const definition = program.tensors[step.claim.tensor]?.definition;
  if (definition?.kind !== 'sum') throw new Rejection('plan', `${place} on no sum`);
  fillSlots(context, step.fills, LABELS.OP_VALUES);
  const last = definition.terms.length - 1;
  let rest = extSub(state.slot(step.claim.slot), extFromBase(definition.constant));
  for (const { coefficient, function: each } of definition.functions)
    rest = extSub(rest, extScale(functionAt(context, each, step.claim), coefficient));
  for (let i = 0; i < last; i++)
    rest = extSub(rest, extScale(state.slot(step.slots[i] as Slot), coefficientOf(definition, i)));
  const slot = step.slots[last] as Slot;
  const coefficient = coefficientOf(definition, last);
  if (step.solvesLast) state.setSlot(slot, divide(rest, coefficient));
  else gate.requireEqual('sum', extScale(state.slot(slot), coefficient), rest, place);
}

const coefficientOf = (definition: SumDefinition, term: number): number =>
  (definition.terms[term] as SumDefinition['terms'][number]).coefficient;

const divide = (value: Ext, by: number): Ext => (by === 1 ? value : extScale(value, inverse(by)));

/** Bits of the result are numbered from 2 on, 0 and 1 are constants. */
function functionAt({ program, state }: StepContext, each: PublicFunction, claim: Claim): Ext {
  const at = (bits: readonly number[]): Ext[] =>
    state.pointOf(bits.map((bit) => (bit < 2 ? bit : (claim.point[bit - 2] as Coordinate))));
  switch (each.kind) {
    case 'mask': {
      const { extents, axisBits } = program.tensors[claim.tensor] as PlanTensor;
      return maskAt(extents, axisPoints(state.pointOf(claim.point), axisBits));
    }
    case 'index':
      return indexValueAt(at(each.bits));
    case 'above-diagonal':
      return extSub(EXT_ONE, lessOrEqual(at(each.rowBits), at(each.columnBits)));
  }
}
