/** What validators decided by decree. */
import type { ProofKind } from '@haca/protocol';
import type { State } from './state.ts';
import { governanceOf } from './tables.ts';

/** A kind of proof that is disabled is neither settled nor proved under, and its open claims end void. */
export function isKindDisabled(state: State, kind: ProofKind): boolean {
  return governanceOf(state)?.disabledKinds.includes(kind) ?? false;
}
