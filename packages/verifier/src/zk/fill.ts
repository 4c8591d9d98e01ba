/** What steps share: the context they run in, and how the slots of a step are filled. */
import type { Program, SlotFill } from '@haca/circuit';
import type { Ext } from '@haca/primitives/zk';
import type { Gate } from './checks.ts';
import type { StepReader } from './proof-reader.ts';
import type { PublicTensors } from './public-tensors.ts';
import type { State } from './state.ts';

export interface StepContext {
  readonly program: Program;
  readonly reader: StepReader;
  readonly gate: Gate;
  readonly state: State;
  readonly publics: PublicTensors;
  /** For messages, e.g. `step 3 contract`. */
  readonly place: string;
}

/** Reads what is sent in one frame (none if nothing is) and computes what is public. */
export function fillSlots(context: StepContext, fills: readonly SlotFill[], label: number): void {
  const { reader, state, publics } = context;
  const sent = fills.filter(({ from }) => from === 'sent');
  if (sent.length > 0) {
    const values = reader.readExts(label, sent.length);
    for (const [i, { slot }] of sent.entries()) state.setSlot(slot, values[i] as Ext);
  }
  for (const { from, tensor, point, slot } of fills)
    if (from === 'public') state.setSlot(slot, publics.evaluate(tensor, state.pointOf(point)));
}
