/** A claim on a public tensor that another step derived. */
import type { PublicStep } from '@haca/circuit';
import type { StepContext } from '../fill.ts';

export function verifyPublic({ state, publics, gate, place }: StepContext, { claim }: PublicStep): void {
  const value = publics.evaluate(claim.tensor, state.pointOf(claim.point));
  gate.requireEqual('public-evaluation', state.slot(claim.slot), value, place);
}
