/**
 * Witnesses that lie. Every tensor of a program is computed from those before it, straight from the definitions; where a
 * lie is told, what comes after follows from it. So a forged assignment is false in the places named and nowhere else,
 * and the outputs it publishes are those that the lie leads to.
 */
import assert from 'node:assert/strict';
import {
  decodeTensor,
  encodeTensor,
  type PlanLookup,
  type PlanTensor,
  type Program,
  publicTensorShapes,
  type TensorShape,
  type WitnessDefinition,
  type ZkStatement,
} from '@haca/circuit';
import { fromSigned, P } from '@haca/primitives/zk';
import { assign, runModel } from '@haca/runtime';
import { evaluateDefinition, realCells } from '../prove-evaluator.ts';
import type { Subject } from '../verify-harness.ts';

/** The cells of one tensor as integers next to zero, over its padded cube. */
export type Cells = number[];

/** Changes the cells that the definition gave; `read` are tensors that stand before. */
export type Lie = (cells: Cells, read: (tensor: number) => Cells) => void;

/** By tensor id. */
export type Lies = ReadonlyMap<number, Lie>;

const centred = (residue: number): number => (residue > P / 2 ? residue - P : residue);

/** What a program says of one tensor, given the ones before. */
function follow(program: Program, tensor: PlanTensor, read: (id: number) => Cells): Cells {
  const { definition } = tensor;
  switch (definition.kind) {
    case 'sum':
    case 'contract':
    case 'wire':
    case 'gather': {
      const residues = evaluateDefinition(program, tensor.id, (id) => read(id).map(fromSigned));
      return Array.from(residues, centred);
    }
    case 'published':
      return onReal(tensor, (cell) => read(definition.source)[cell] as number);
    case 'given':
    case 'multiplicity':
      throw new Error(`${tensor.name} follows from nothing`);
    default:
      return witness(program, tensor, definition, read);
  }
}

function onReal(tensor: PlanTensor, at: (cell: number) => number): Cells {
  const cells: Cells = new Array(2 ** tensor.bits).fill(0);
  for (const cell of realCells(tensor)) cells[cell] = at(cell);
  return cells;
}

const clamp = (value: number, top: number): number => Math.min(top, Math.max(0, value));
const floorOf = (value: number, bits: number): number => Math.floor(value / 2 ** bits);
const modulo = (value: number, size: number): number => ((value % size) + size) % size;

function witness(
  program: Program,
  tensor: PlanTensor,
  definition: WitnessDefinition,
  read: (id: number) => Cells,
): Cells {
  const each = (id: number, at: (value: number) => number): Cells => {
    const source = read(id);
    return onReal(tensor, (cell) => at(source[cell] as number));
  };
  switch (definition.kind) {
    case 'digit': {
      const { source, add, from, width } = definition;
      return each(source, (value) => {
        const rest = floorOf(value + add, from);
        return width === null ? rest : modulo(rest, 2 ** width);
      });
    }
    case 'sign':
      return each(definition.source, Math.sign);
    case 'requantized': {
      const { source, add, from, width, values } = definition;
      return each(source, (value) => {
        const q = clamp(floorOf(value + add, from), 2 ** width - 1);
        return values === null ? q : (values[q] as number);
      });
    }
    case 'requantized-byte': {
      const { source, add, from, byte } = definition;
      return each(source, (value) =>
        modulo(floorOf(clamp(floorOf(value + add, from), 65_535), 8 * byte), 256),
      );
    }
    case 'maximum': {
      const [a, b] = [read(definition.a), read(definition.b)];
      return onReal(tensor, (cell) => Math.max(a[cell] as number, b[cell] as number));
    }
    case 'looked-up':
      return each(definition.source, (value) => definition.values[value - definition.lo] ?? 0);
    case 'reciprocal':
      return each(definition.source, (value) => (value === 0 ? 0 : Math.floor(definition.numerator / value)));
    default:
      return alongRows(program, tensor, definition, read);
  }
}

type RowDefinition = Extract<
  WitnessDefinition,
  { readonly kind: 'row-maximum' | 'one-hot' | 'exponential' | 'row-sum' | 'scaled-product' }
>;

function alongRows(
  program: Program,
  tensor: PlanTensor,
  definition: RowDefinition,
  read: (id: number) => Cells,
): Cells {
  const id = definition.kind === 'scaled-product' ? definition.a : definition.source;
  const { extents, axisBits } = program.tensors[id] as PlanTensor;
  const last = extents.length - 1;
  const width = 2 ** (axisBits[last] as number);
  const x = read(id);
  const causal = 'causal' in definition && definition.causal;
  const height = last === 0 ? 1 : 2 ** (axisBits[last - 1] as number);
  const entries = (row: number): number[] => {
    const count = causal ? Math.min((row % height) + 1, extents[last] as number) : (extents[last] as number);
    return Array.from({ length: count }, (_, j) => row * width + j);
  };
  const rowOf = (cell: number): number => Math.floor(cell / width);
  switch (definition.kind) {
    case 'row-maximum':
      return onReal(tensor, (row) => Math.max(...entries(row).map((cell) => x[cell] as number)));
    case 'row-sum':
      return onReal(tensor, (row) => entries(row).reduce((sum, cell) => sum + (x[cell] as number), 0));
    case 'one-hot': {
      const maximum = read(definition.maximum);
      const first = (row: number): number | undefined => entries(row).find((at) => x[at] === maximum[row]);
      return onReal(tensor, (cell) => (first(rowOf(cell)) === cell ? 1 : 0));
    }
    case 'exponential': {
      const maximum = read(definition.maximum);
      return onReal(tensor, (cell) => {
        if (!entries(rowOf(cell)).includes(cell)) return 0;
        return definition.values[(maximum[rowOf(cell)] as number) - (x[cell] as number)] ?? 0;
      });
    }
    case 'scaled-product': {
      const b = read(definition.b);
      return onReal(tensor, (cell) =>
        floorOf((x[cell] as number) * (b[rowOf(cell)] as number) + definition.add, definition.from),
      );
    }
  }
}

/** Cells that a lookup counts. */
function countedCells({ numerator, extents, axisBits, bits }: PlanLookup): number[] {
  if (numerator.kind === 'real') return realCells({ extents, axisBits, bits } as PlanTensor);
  const size = 2 ** numerator.blockBits;
  return numerator.blocks.flatMap((block) => Array.from({ length: size }, (_, i) => block * size + i));
}

function tupleAt(
  { tuple, extents, axisBits, bits }: PlanLookup,
  cell: number,
  read: (id: number) => Cells,
): [number, number, number] {
  const entries = tuple.map((entry) => {
    if (entry.kind === 'constant') return entry.value;
    if (entry.kind === 'tensor') return read(entry.tensor)[cell] as number;
    return realCells({ extents, axisBits, bits } as PlanTensor).includes(cell) ? 1 : 0;
  });
  return entries as [number, number, number];
}

function countRows(program: Program, table: number, read: (id: number) => Cells): Cells {
  const { bits, rowOf } = program.tables[table] as Program['tables'][number];
  const counts: Cells = new Array(2 ** bits).fill(0);
  for (const lookup of program.lookups) {
    if (lookup.table !== table) continue;
    for (const cell of countedCells(lookup)) {
      const row = rowOf(...tupleAt(lookup, cell, read));
      if (row >= 0) counts[row] = (counts[row] as number) + 1;
    }
  }
  return counts;
}

export interface Forged extends Subject {
  readonly read: (tensor: number) => Cells;
}

/**
 * The subject with a witness that lies, under `program` if another is given. The statement publishes what the lie leads
 * to, the inputs stay unless `inputs` lie.
 */
export function forge(subject: Subject, lies: Lies = new Map(), program: Program = subject.program): Forged {
  const all = new Map<number, Cells>();
  const read = (id: number): Cells => {
    const found = all.get(id);
    if (found !== undefined) return found;
    const tensor = program.tensors[id] as PlanTensor;
    const { definition } = tensor;
    const cells =
      definition.kind === 'given'
        ? Array.from(subject.assignment.values(id), (value) => centred(fromSigned(value)))
        : definition.kind === 'multiplicity'
          ? countRows(program, definition.table, read)
          : follow(program, tensor, read);
    lies.get(id)?.(cells, read);
    all.set(id, cells);
    return cells;
  };
  for (const { id } of program.tensors) read(id);
  const residues = new Map([...all].map(([id, cells]) => [id, Uint32Array.from(cells, fromSigned)]));
  return {
    ...subject,
    program,
    statement: publish(subject, program, read),
    assignment: { values: (id) => residues.get(id) as Uint32Array },
    read,
  };
}

function publish({ statement, key }: Subject, program: Program, read: (id: number) => Cells): ZkStatement {
  const shapes = publicTensorShapes(key).outputs;
  const outputs = program.outputs.map(({ tensor }, i) => {
    const cells = read(tensor);
    const real = realCells(program.tensors[tensor] as PlanTensor).map((cell) => cells[cell] as number);
    const { kind } = shapes[i] as TensorShape;
    // What is outside the declared interval is published all the same.
    return encodeTensor({ ...(shapes[i] as TensorShape), ...WIDEST[kind] }, real);
  });
  return { ...statement, outputs };
}

const WIDEST = {
  i8: { lo: -128, hi: 127 },
  u8: { lo: 0, hi: 255 },
  i16: { lo: -32_768, hi: 32_767 },
  i32: { lo: -(2 ** 31), hi: 2 ** 31 - 1 },
  id: { lo: 0, hi: 2 ** 31 - 1 },
} as const;

/** Lookups of which some counted tuple stands in no row of the table. */
export function falseLookups({ program, read }: Forged): string[] {
  return program.lookups
    .filter((lookup) => {
      const { rowOf } = program.tables[lookup.table] as Program['tables'][number];
      return countedCells(lookup).some((cell) => rowOf(...tupleAt(lookup, cell, read)) < 0);
    })
    .map(({ name }) => name);
}

/** The honest subject for inputs of one's own, real cells of all rows one after the other. */
export function withInputs(subject: Subject, inputs: readonly (readonly number[])[]): Subject {
  const { key, program, model, statement } = subject;
  const bytes = publicTensorShapes(key).inputs.map((shape, i) => encodeTensor(shape, inputs[i] ?? []));
  return {
    ...subject,
    statement: { ...statement, inputs: bytes, outputs: runModel(model, bytes, statement.batchSize) },
    assignment: assign(program, model, bytes),
  };
}

/** The real cells of an output of the statement. */
export function outputOf({ key, statement }: Subject, output = 0): number[] {
  const shape = publicTensorShapes(key).outputs[output] as TensorShape;
  const bytes = statement.outputs[output] as Uint8Array;
  return [...decodeTensor({ ...shape, ...WIDEST[shape.kind] }, bytes, statement.batchSize, 'output')];
}

/** The one tensor whose name ends so. */
export function tensorNamed({ program }: Pick<Subject, 'program'>, end: string): PlanTensor {
  const found = program.tensors.filter(({ name }) => name.endsWith(end));
  assert.equal(
    found.length,
    1,
    `${found.length} tensors '${end}': ${program.tensors.map(({ name }) => name)}`,
  );
  return found[0] as PlanTensor;
}
