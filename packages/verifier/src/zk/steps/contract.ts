/**
 * A claim on y = Σ a · c · mask: EQ2 rounds over the labels that a, c and y share, then rounds over the contracted
 * labels; what is left is the product of the operands' values and the masks.
 */
import type { ContractDefinition, ContractStep } from '@haca/circuit';
import { EXT_ONE, type Ext, extMul, indexValueAt, LABELS, lessThan } from '@haca/primitives/zk';
import { Rejection } from '../checks.ts';
import { fillSlots, type StepContext } from '../fill.ts';
import { eqSumcheck, sumcheck } from '../sumchecks.ts';

export function verifyContract(context: StepContext, step: ContractStep): void {
  const { program, reader, state, gate, place } = context;
  const definition = program.tensors[step.claim.tensor]?.definition;
  if (definition?.kind !== 'contract') throw new Rejection('plan', `${place} on no contraction`);
  const claim = state.slot(step.claim.slot);
  const eqPoint = state.pointOf(step.eqPoint);
  const shared = eqSumcheck(reader, gate, LABELS.OP_ROUND, claim, eqPoint, place);
  state.setCoordinates(step.eqRounds, shared.point);
  const rounds = step.contracted.flatMap((label) => label.rounds);
  const reduced = sumcheck(reader, LABELS.OP_ROUND, step.format, shared.claim, rounds.length);
  state.setCoordinates(rounds, reduced.point);
  fillSlots(context, step.c === null ? [step.a] : [step.a, step.c], LABELS.OP_VALUES);
  const a = state.slot(step.a.slot);
  const product = extMul(extMul(a, secondFactor(context, step, definition)), masks(context, step));
  gate.requireEqual('contract', product, reduced.claim, place);
}

function secondFactor(
  { state, place }: StepContext,
  step: ContractStep,
  definition: ContractDefinition,
): Ext {
  if (step.c !== null) return state.slot(step.c.slot);
  if (definition.c === 'ones') return EXT_ONE;
  const index = step.contracted.find(({ label }) => label === definition.indexLabel);
  if (definition.c !== 'index' || index === undefined)
    throw new Rejection('plan', `${place} lacks its second operand`);
  return indexValueAt(state.pointOf(index.rounds));
}

function masks({ state }: StepContext, step: ContractStep): Ext {
  let product = EXT_ONE;
  for (const { masked, extent, rounds } of step.contracted)
    if (masked) product = extMul(product, lessThan(extent, state.pointOf(rounds)));
  return product;
}
