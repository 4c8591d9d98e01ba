/** A cheat: one false witness, and the one equation of the program that it breaks. */
import assert from 'node:assert/strict';
import type { PlanTensor, Program } from '@haca/circuit';
import type { ZkExample } from '@haca/testkit';
import { proofOf, subjectOf } from '../verify-harness.ts';
import { type Forged, forge, type Lie, type Lies, withInputs } from './forged.ts';
import { withGiven, withoutDefinition, withoutLookups, withoutSteps } from './mutants.ts';

/** What a program must lack for the cheat to be accepted: lookups, the steps that define virtual tensors, ties. */
export interface Broken {
  readonly lookups?: readonly string[];
  /** A virtual tensor is not what its definition says. */
  readonly definition?: string;
  /** A virtual tensor is not what it is tied to. */
  readonly tie?: string;
}

export interface Cheat {
  readonly name: string;
  readonly network: () => ZkExample;
  readonly inputs: readonly (readonly number[])[];
  /** From the honest witness. */
  readonly lies: (honest: Forged) => Lies;
  readonly broken: Broken;
  /** Check that refuses it, by id. */
  readonly refusedBy: string;
  /** The lie does not show in the outputs: it would only make other lies possible. */
  readonly hidden?: boolean;
}

/** By name's end, lies about tensors. */
export function about(honest: Forged, lies: Readonly<Record<string, Lie>>): Lies {
  return new Map(Object.entries(lies).map(([name, lie]) => [idOf(honest.program, name), lie]));
}

export function idOf(program: Program, end: string): number {
  return tensorOf(program, end).id;
}

export function tensorOf(program: Program, end: string): PlanTensor {
  const found = program.tensors.filter(({ name }) => name.endsWith(end));
  assert.equal(found.length, 1, `'${end}': ${program.tensors.map(({ name }) => name).join(', ')}`);
  return found[0] as PlanTensor;
}

export const add =
  (cell: number, by: number): Lie =>
  (cells) => {
    cells[cell] = (cells[cell] as number) + by;
  };

export const set =
  (values: Readonly<Record<number, number>>): Lie =>
  (cells) => {
    for (const [cell, value] of Object.entries(values)) cells[Number(cell)] = value;
  };

export const valueAt = ({ program, read }: Forged, name: string, cell: number): number =>
  read(idOf(program, name))[cell] as number;

export interface Told {
  readonly honest: Forged;
  readonly lying: Forged;
}

/** Makes the witnesses of a cheat, honest and lying. */
export async function tell({ network, inputs, lies }: Cheat): Promise<Told> {
  const honest = forge(withInputs(await subjectOf(network()), inputs));
  return { honest, lying: forge(honest, lies(honest)) };
}

/** The program without what a cheat breaks. */
export function mutantFor(program: Program, { lookups, definition, tie }: Broken): Program {
  let mutant = program;
  if (lookups !== undefined) mutant = withoutLookups(mutant, (name) => lookups.includes(name));
  if (definition !== undefined) mutant = withoutDefinition(mutant, idOf(program, definition));
  if (tie !== undefined) {
    const tied = idOf(program, tie);
    mutant = withoutSteps(mutant, (step) => step.kind === 'tie' && step.claim.tensor === tied);
  }
  return mutant;
}

/** The proof of a lie: every message is that of the forged tensors. */
export function proofOfLie(forged: Forged, lies: Lies): Promise<Uint8Array> {
  const { program, copies } = withGiven(forged.program, [...lies.keys()]);
  const { assignment } = forged;
  const values: typeof assignment.values = (id) => assignment.values(copies.get(id) ?? id);
  return proofOf(forged, { program, assignment: { values } });
}

/** The cheat's witness under a mutant of its program: only multiplicities differ. */
export const tellUnder = (cheat: Cheat, { honest }: Told, program: Program): Forged =>
  forge(honest, cheat.lies(honest), program);
