/**
 * Programs that lack one equation. Both sides execute the same mutant, so that a cheat which only that equation stops is
 * accepted under it. What a deleted step would have tied together is sent instead and believed: the tensors on both sides
 * of it are still opened, only no longer compared.
 */
import assert from 'node:assert/strict';
import type { Claim, PlanTensor, Program, SlotFill, Step, TieStep } from '@haca/circuit';
import { EXT_BYTES } from '@haca/primitives/zk';

const isSent = ({ from }: SlotFill): boolean => from === 'sent';

/** Field elements that a step sends. */
function elementsOf(step: Step): number {
  const sent = (fills: readonly (SlotFill | null)[]): number =>
    fills.filter((each) => each !== null && isSent(each)).length;
  switch (step.kind) {
    case 'handover':
    case 'sum':
      return sent(step.fills);
    case 'aggregate':
    case 'output':
      return 2 * step.rounds.length + 1;
    case 'contract': {
      const inner = step.contracted.reduce((sum, { rounds }) => sum + rounds.length, 0);
      return 2 * step.eqRounds.length + (step.format === 'SC3' ? 3 : 2) * inner + sent([step.a, step.c]);
    }
    case 'wire':
      return 2 * step.summed.reduce((sum, { rounds }) => sum + rounds.length, 0) + sent([step.x]);
    case 'gather':
      return 2 * step.rounds.length + sent([step.table]);
    case 'tie':
      return 'maskExtents' in step.side ? 0 : sent([step.side]);
    case 'public':
      return 0;
  }
}

/** The program with other steps, and the length of proof that belongs to them. */
export function withSteps(program: Program, steps: readonly Step[]): Program {
  const count = (list: readonly Step[]): number => list.reduce((sum, step) => sum + elementsOf(step), 0);
  const proofBytes = program.proofBytes + EXT_BYTES * (count(steps) - count(program.steps));
  return { ...program, steps, proofBytes };
}

/** Draws the coordinates and takes each value as it is sent. */
function believed(fresh: readonly number[], fills: readonly SlotFill[]): TieStep[] {
  const [first] = fills;
  assert.ok(first !== undefined || fresh.length === 0, 'coordinates and no value');
  return fills.map((side, i) => ({ kind: 'tie', fresh: i === 0 ? fresh : [], side, claim: side }));
}

const sentClaim = (claim: Claim): SlotFill => ({ ...claim, from: 'sent' });

/** What is left of a step without its equation, and the openings that go with it. */
function withoutCheck(program: Program, step: Step): { steps: Step[]; dropped?: Claim } {
  switch (step.kind) {
    case 'handover':
      throw new Error('the hand-over is no single equation');
    case 'public':
      return { steps: [] };
    case 'aggregate':
      return { steps: believed(step.rounds, [sentClaim(step.out)]) };
    case 'output':
      return { steps: believed([...step.fresh, ...step.rounds], [sentClaim(step.out)]) };
    case 'contract': {
      const fresh = [...step.eqRounds, ...step.contracted.flatMap(({ rounds }) => rounds)];
      const fills = [step.a, ...(step.c === null ? [] : [step.c])];
      const needed = fills.filter(({ from }) => from !== 'known');
      return { steps: believed(fresh, needed) };
    }
    case 'wire':
      return {
        steps: believed(
          step.summed.flatMap(({ rounds }) => rounds),
          [step.x],
        ),
      };
    case 'gather':
      return { steps: believed(step.rounds, [step.table]) };
    case 'sum': {
      if (!step.solvesLast) return { steps: believed([], step.fills) };
      const { definition } = program.tensors[step.claim.tensor] as PlanTensor;
      assert.equal(definition.kind, 'sum');
      return { steps: believed([], [...step.fills, lastOf(program, step)]) };
    }
    case 'tie': {
      const side: SlotFill = { ...step.claim, from: 'sent' };
      const dropped = 'maskExtents' in step.side ? {} : { dropped: step.side };
      return { steps: [{ ...step, side }], ...dropped };
    }
  }
}

/** The term that a sum is solved for, as a value that is sent. */
function lastOf(program: Program, step: Extract<Step, { kind: 'sum' }>): SlotFill {
  const { definition } = program.tensors[step.claim.tensor] as PlanTensor;
  assert.ok(definition.kind === 'sum');
  const term = definition.terms[definition.terms.length - 1];
  assert.ok(term !== undefined);
  const point = term.bits.map((bit) => (bit < 2 ? bit : (step.claim.point[bit - 2] as number)));
  return { tensor: term.tensor, point, slot: step.slots[step.slots.length - 1] as number, from: 'sent' };
}

/** The program without the equations of some steps. */
export function withoutSteps(program: Program, chosen: (step: Step, index: number) => boolean): Program {
  let openings = program.openings;
  const steps = program.steps.flatMap((step, index): readonly Step[] => {
    if (!chosen(step, index)) return [step];
    const left = withoutCheck(program, step);
    const { dropped } = left;
    if (dropped !== undefined)
      openings = openings.filter(({ tensor, slot }) => tensor !== dropped.tensor || slot !== dropped.slot);
    return left.steps;
  });
  return { ...withSteps(program, steps), openings };
}

/** The program in which some lookups count no cell. */
export function withoutLookups(program: Program, chosen: (name: string) => boolean): Program {
  const lookups = program.lookups.map((lookup) =>
    chosen(lookup.name)
      ? { ...lookup, numerator: { kind: 'blocks' as const, blockBits: 0, blocks: [] } }
      : lookup,
  );
  return { ...program, lookups };
}

/** The tensor that a step says something about; null for the hand-over. */
export function subjectTensor(step: Step): number | null {
  switch (step.kind) {
    case 'handover':
      return null;
    case 'output':
      return step.out.tensor;
    case 'aggregate':
      return step.tensor;
    default:
      return step.claim.tensor;
  }
}

/** The program without the steps that reduce claims on a virtual tensor to its operands. */
export const withoutDefinition = (program: Program, tensor: number): Program =>
  withoutSteps(
    program,
    (step) =>
      (step.kind === 'sum' || step.kind === 'contract' || step.kind === 'wire' || step.kind === 'gather') &&
      step.claim.tensor === tensor,
  );

/**
 * What a prover runs who shows some readers of a tensor another one: a copy of the tensor, which the readers chosen read
 * instead. Messages keep their shape, and what is opened is the tensor itself.
 */
export function withSplitReaders(
  program: Program,
  tensor: number,
  readers: readonly number[],
): { readonly program: Program; readonly copy: number } {
  const copy = program.tensors.length;
  const swap = (id: number): number => (id === tensor ? copy : id);
  const tensors = program.tensors.map((each) =>
    readers.includes(each.id) ? { ...each, definition: swapped(each, swap) } : each,
  );
  const original = program.tensors[tensor] as PlanTensor;
  const storage = original.storage === 'virtual' ? 'virtual' : 'witness';
  tensors.push({ ...original, id: copy, storage });
  const fill = <T extends SlotFill>(each: T): T => ({ ...each, tensor: swap(each.tensor) });
  const steps = program.steps.map((step): Step => {
    if (!('claim' in step) || !readers.includes(step.claim.tensor)) return step;
    if (step.kind === 'sum') return { ...step, fills: step.fills.map(fill) };
    if (step.kind === 'contract')
      return { ...step, a: fill(step.a), c: step.c === null ? null : fill(step.c) };
    if (step.kind === 'wire') return { ...step, x: fill(step.x) };
    return step;
  });
  return { program: { ...program, tensors, steps }, copy };
}

function swapped({ definition }: PlanTensor, swap: (id: number) => number): PlanTensor['definition'] {
  if (definition.kind === 'sum')
    return { ...definition, terms: definition.terms.map((term) => ({ ...term, tensor: swap(term.tensor) })) };
  if (definition.kind === 'contract')
    return {
      ...definition,
      a: swap(definition.a),
      c: typeof definition.c === 'number' ? swap(definition.c) : definition.c,
    };
  if (definition.kind === 'wire') return { ...definition, x: swap(definition.x) };
  if ('source' in definition) return { ...definition, source: swap(definition.source) };
  if ('a' in definition && 'b' in definition)
    return { ...definition, a: swap(definition.a), b: swap(definition.b) };
  return definition;
}

/** Tensors whose definitions read a tensor. */
export const readersOf = (program: Program, tensor: number): number[] =>
  program.tensors.filter((each) => reads(each, tensor)).map(({ id }) => id);

function reads(each: PlanTensor, tensor: number): boolean {
  let found = false;
  swapped(each, (id) => {
    found ||= id === tensor;
    return id;
  });
  return found;
}

/**
 * What a prover runs who lies about sums and wires: it would look through them at their operands, so their readers read
 * a copy whose cells are just given.
 */
export function withGiven(
  program: Program,
  tensors: readonly number[],
): { readonly program: Program; readonly copies: ReadonlyMap<number, number> } {
  let all = program;
  const copies = new Map<number, number>();
  for (const id of tensors) {
    const { storage, definition } = program.tensors[id] as PlanTensor;
    if (storage !== 'virtual' || (definition.kind !== 'wire' && definition.kind !== 'sum')) continue;
    const split = withSplitReaders(all, id, readersOf(all, id));
    const given = split.program.tensors.map((each) =>
      each.id === split.copy ? { ...each, definition: { kind: 'given' as const } } : each,
    );
    all = { ...split.program, tensors: given };
    copies.set(split.copy, id);
  }
  return { program: all, copies };
}
