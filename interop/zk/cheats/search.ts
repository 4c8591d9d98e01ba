/**
 * Lies found by machine: for an equation of any program, a witness that breaks it and nothing else. Where a lie would
 * show in a lookup, the looked-up value is lied about too.
 */
import type { PlanLookup, PlanTensor, Program } from '@haca/circuit';
import { UsageError } from '@haca/primitives';
import { realCells } from '../prove-evaluator.ts';
import { type Forged, falseLookups, forge, type Lie, type Lies } from './forged.ts';

const STEPS = [1, -1, 2, -2, 3, 8, -8, 16, 256, -256];

/** The forged subject, or null where the outputs leave the intervals that the key declares. */
function forged(honest: Forged, lies: Lies): Forged | null {
  try {
    const lying = forge(honest, lies);
    const within = lying.program.outputs.every(({ tensor, lo, hi }) =>
      lying.read(tensor).every((value) => value >= lo && value <= hi),
    );
    return within ? lying : null;
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** Every tie holds in every cell. */
function tiesHold({ program, read }: Forged): boolean {
  return program.steps.every((step) => {
    if (step.kind !== 'tie') return true;
    const tied = program.tensors[step.claim.tensor] as PlanTensor;
    const real = new Set(realCells(tied));
    const { side } = step;
    return read(tied.id).every((value, cell) =>
      'maskExtents' in side ? value === (real.has(cell) ? 1 : 0) : value === read(side.tensor)[cell],
    );
  });
}

const holds = (honest: Forged, lies: Lies): boolean => {
  const lying = forged(honest, lies);
  return lying !== null && falseLookups(lying).length === 0 && tiesHold(lying);
};

const add =
  (cell: number, by: number): Lie =>
  (cells) => {
    cells[cell] = (cells[cell] as number) + by;
  };

const put =
  (cell: number, value: number): Lie =>
  (cells) => {
    cells[cell] = value;
  };

const tensorsOf = ({ tuple }: PlanLookup): (number | null)[] =>
  tuple.map((entry) => (entry.kind === 'tensor' ? entry.tensor : null));

/** Lies that make a lookup of a changed first entry true: about the values that the table gives for it. */
function companions(honest: Forged, tensor: number, cell: number, value: number): Map<number, Lie> | null {
  const { program, read } = honest;
  const lies = new Map<number, Lie>();
  for (const lookup of program.lookups) {
    const [first, second, third] = tensorsOf(lookup);
    if (first !== tensor) continue;
    const table = program.tables[lookup.table] as Program['tables'][number];
    const [c0, c1, c2] = table.columns;
    const fixed = (place: 1 | 2, id: number | null | undefined): number =>
      id === null || id === undefined ? constantAt(lookup, place) : (read(id)[cell] as number);
    const row = [...c0.keys()].find(
      (at) =>
        c0[at] === value &&
        (table.kind === 'relu' || table.kind === 'values' || c1[at] === fixed(1, second)) &&
        (third === null || third === undefined ? c2[at] === constantAt(lookup, 2) : true),
    );
    if (row === undefined) return null;
    if (table.kind === 'relu' && typeof second === 'number') {
      // The excess is y - b: y moves as the excess does.
      const y = lastTerm(program, second);
      lies.set(y, add(cell, (c1[row] as number) - (read(second)[cell] as number)));
    } else if (typeof third === 'number') lies.set(third, put(cell, c2[row] as number));
  }
  return lies;
}

function constantAt({ tuple }: PlanLookup, place: 1 | 2): number {
  const entry = tuple[place];
  return entry.kind === 'constant' ? entry.value : 0;
}

function lastTerm(program: Program, id: number): number {
  const { definition } = program.tensors[id] as PlanTensor;
  return definition.kind === 'sum' ? (definition.terms[definition.terms.length - 1]?.tensor ?? id) : id;
}

function* candidates(honest: Forged, id: number): Generator<Lies> {
  const tensor = honest.program.tensors[id] as PlanTensor;
  for (const cell of realCells(tensor))
    for (const by of STEPS) {
      const lies = companions(honest, id, cell, (honest.read(id)[cell] as number) + by);
      if (lies !== null) yield new Map([...lies, [id, add(cell, by)]]);
    }
}

/** A virtual tensor that is not what its definition says, with all lookups true and all ties kept. */
export function lieAboutDefinition(honest: Forged, id: number): Lies | null {
  const { program } = honest;
  const tie = program.steps.find((step) => step.kind === 'tie' && step.claim.tensor === id);
  for (const lies of tie === undefined ? candidates(honest, id) : tied(honest, id)) {
    if (holds(honest, lies)) return lies;
  }
  return null;
}

/** A tensor that is tied keeps to what it is tied to: its operand or its other side lies. */
function* tied({ program, read }: Forged, id: number): Generator<Lies> {
  const step = program.steps.find((each) => each.kind === 'tie' && each.claim.tensor === id);
  const { definition } = program.tensors[id] as PlanTensor;
  if (step?.kind !== 'tie' || definition.kind !== 'contract') return;
  if (!('maskExtents' in step.side)) {
    const { tensor } = step.side;
    for (const by of STEPS)
      yield new Map([
        [tensor, add(0, by)],
        [id, add(0, by)],
      ]);
    return;
  }
  const ones = read(definition.a);
  for (const [cell, one] of ones.entries())
    if (one === 1)
      yield new Map([
        [definition.a, put(cell, 0)],
        [
          id,
          (cells): void => {
            cells.fill(1, 0, 1);
          },
        ],
      ]);
}

/** A tie that does not hold, with all lookups true and all definitions kept. */
export function lieAboutTie(honest: Forged, id: number): Lies | null {
  for (const lies of tied(honest, id)) {
    const others = new Map([...lies].filter(([tensor]) => tensor !== id));
    const lying = forged(honest, others);
    if (lying !== null && falseLookups(lying).length === 0) return others;
  }
  return null;
}

/** A witness of which one lookup is false, and no other. */
export function lieAboutLookup(honest: Forged, lookup: PlanLookup): Lies | null {
  const { program } = honest;
  const ids = tensorsOf(lookup).flatMap((id) => (id === null ? [] : [id, ...operandsOf(program, id)]));
  for (const id of new Set(ids)) {
    if ((program.tensors[id] as PlanTensor).storage === 'virtual') continue;
    for (const cell of realCells(program.tensors[id] as PlanTensor))
      for (const by of STEPS) {
        const lies = repaired(honest, new Map([[id, add(cell, by)]]), lookup.name, cell);
        const lying = lies === null ? null : forged(honest, lies);
        if (lies === null || lying === null) continue;
        const found = falseLookups(lying);
        if (found.length === 1 && found[0] === lookup.name && tiesHold(lying)) return lies;
      }
  }
  return null;
}

/** Lies about looked-up values too, so that the other lookups of the cell hold. */
function repaired(honest: Forged, lies: Lies, target: string, cell: number): Lies | null {
  const lying = forged(honest, lies);
  if (lying === null) return null;
  const more = new Map(lies);
  for (const lookup of honest.program.lookups) {
    const [first, second, third] = tensorsOf(lookup);
    const last = third;
    if (lookup.name === target || typeof last !== 'number' || first === null || first === undefined) continue;
    const at = (id: number | null | undefined, place: 1 | 2): number =>
      typeof id === 'number' ? (lying.read(id)[cell] as number) : constantAt(lookup, place);
    const [c0, c1, c2] = (honest.program.tables[lookup.table] as Program['tables'][number]).columns;
    const row = [...c0.keys()].find(
      (each) => c0[each] === lying.read(first)[cell] && c1[each] === at(second, 1),
    );
    if (row !== undefined && c2[row] !== lying.read(last)[cell]) more.set(last, put(cell, c2[row] as number));
  }
  return more;
}

function operandsOf(program: Program, id: number): number[] {
  const { definition, storage } = program.tensors[id] as PlanTensor;
  return storage === 'virtual' && definition.kind === 'sum'
    ? definition.terms.map(({ tensor }) => tensor)
    : [];
}
