/**
 * Everything that a program says about its tensors, checked cell by cell over the padded cubes and mod p: what a proof
 * would show, without a proof.
 */
import assert from 'node:assert/strict';
import type {
  ContractDefinition,
  PlanLookup,
  PlanRelation,
  PlanTensor,
  Program,
  PublicFunction,
  SumDefinition,
  WireDefinition,
} from '@haca/circuit';
import type { Assignment } from '@haca/runtime';
import { indices, partners } from './integer-semantics.ts';

const P = 2013265921n;
const HALF = (P - 1n) / 2n;
const modulo = (value: bigint): bigint => ((value % P) + P) % P;

interface Cube {
  readonly tensor: PlanTensor;
  /** Residues. */
  readonly cells: readonly bigint[];
}

export function checkAssignment(program: Program, assignment: Assignment): void {
  const cubes = program.tensors.map((tensor): Cube => {
    const values = assignment.values(tensor.id);
    assert.equal(values.length, 2 ** tensor.bits, tensor.name);
    if (tensor.anyResidue) assert.ok(values instanceof Uint32Array, tensor.name);
    return { tensor, cells: Array.from(values as ArrayLike<number>, (value) => modulo(BigInt(value))) };
  });
  for (const cube of cubes) {
    checkCells(cube);
    checkDefinition(cube, cubes);
  }
  checkSteps(program, cubes);
  for (const lookup of program.lookups) checkLookup(program, lookup, cubes);
  checkMultiplicities(program, cubes);
}

const signed = (residue: bigint): bigint => (residue > HALF ? residue - P : residue);

const cubeExtents = ({ axisBits }: { readonly axisBits: readonly number[] }): number[] =>
  axisBits.map((bits) => 2 ** bits);

function cellOf(axisBits: readonly number[], index: readonly number[]): number {
  return index.reduce((cell, i, axis) => cell * 2 ** (axisBits[axis] as number) + i, 0);
}

const isReal = (extents: readonly number[], index: readonly number[]): boolean =>
  index.every((i, axis) => i < (extents[axis] as number));

function checkCells({ tensor, cells }: Cube): void {
  for (const index of indices(cubeExtents(tensor))) {
    const value = cells[cellOf(tensor.axisBits, index)] as bigint;
    if (isReal(tensor.extents, index)) {
      if (tensor.definition.kind === 'multiplicity') continue;
      const integer = signed(value);
      assert.ok(integer >= tensor.lo && integer <= tensor.hi, `${tensor.name} [${index}] = ${integer}`);
    } else if (tensor.storage !== 'virtual') assert.equal(value, 0n, `padding of ${tensor.name} [${index}]`);
  }
}

const valueAt = (cube: Cube, index: readonly number[]): bigint =>
  cube.cells[cellOf(cube.tensor.axisBits, index)] as bigint;

/** The definition of a virtual tensor in every cell of its cube; digits on real cells. */
function checkDefinition(cube: Cube, cubes: readonly Cube[]): void {
  const { tensor } = cube;
  const { definition } = tensor;
  const of = (id: number): Cube => cubes[id] as Cube;
  for (const index of indices(cubeExtents(tensor))) {
    const name = `${tensor.name} [${index}]`;
    const value = valueAt(cube, index);
    switch (definition.kind) {
      case 'sum':
        assert.equal(value, sumAt(definition, tensor, of, index), name);
        break;
      case 'contract':
        assert.equal(value, contractionAt(definition, of, index), name);
        break;
      case 'wire':
        assert.equal(value, wireAt(definition, of(definition.x), index), name);
        break;
      case 'gather': {
        const ids = of(definition.ids);
        const place = index.slice(0, ids.tensor.extents.length);
        const row = [Number(valueAt(ids, place)), ...index.slice(place.length)];
        const expected = isReal(ids.tensor.extents, place) ? valueAt(of(definition.table), row) : 0n;
        assert.equal(value, expected, name);
        break;
      }
      case 'digit': {
        if (!isReal(tensor.extents, index)) break;
        const source = signed(valueAt(of(definition.source), index)) + BigInt(definition.add);
        const digit = source >> BigInt(definition.from);
        const expected =
          definition.width === null
            ? digit
            : ((digit % 2n ** BigInt(definition.width)) + 2n ** BigInt(definition.width)) %
              2n ** BigInt(definition.width);
        assert.equal(signed(value), expected, name);
        break;
      }
      default:
    }
  }
}

function bitsOf(tensor: PlanTensor, index: readonly number[]): number[] {
  return index.flatMap((i, axis) => {
    const width = tensor.axisBits[axis] as number;
    return Array.from({ length: width }, (_, bit) => (i >> (width - 1 - bit)) & 1);
  });
}

function sumAt(
  definition: SumDefinition,
  tensor: PlanTensor,
  of: (id: number) => Cube,
  index: readonly number[],
): bigint {
  const bits = bitsOf(tensor, index);
  const number = (sources: readonly number[]): number =>
    sources.reduce((sum, source) => 2 * sum + (source < 2 ? source : (bits[source - 2] as number)), 0);
  const functionAt = (each: PublicFunction): number => {
    if (each.kind === 'index') return number(each.bits);
    if (each.kind === 'mask') return isReal(tensor.extents, index) ? 1 : 0;
    return number(each.columnBits) > number(each.rowBits) ? 1 : 0;
  };
  let sum = BigInt(definition.constant);
  for (const { coefficient, function: each } of definition.functions)
    sum += BigInt(coefficient) * BigInt(functionAt(each));
  for (const { tensor: id, coefficient, bits: map } of definition.terms)
    sum += BigInt(coefficient) * (of(id).cells[number(map)] as bigint);
  return modulo(sum);
}

function contractionAt(
  definition: ContractDefinition,
  of: (id: number) => Cube,
  index: readonly number[],
): bigint {
  let sum = 0n;
  for (const k of indices(definition.extents.slice(index.length))) {
    const labels = [...index, ...k];
    const operand = (id: number, own: readonly number[]): bigint =>
      valueAt(
        of(id),
        own.map((label) => labels[label] as number),
      );
    const second =
      definition.c === 'ones'
        ? 1n
        : definition.c === 'index'
          ? BigInt(labels[definition.indexLabel as number] as number)
          : operand(definition.c, definition.labelsC);
    sum += operand(definition.a, definition.labelsA) * second;
  }
  return modulo(sum);
}

function wireAt(definition: WireDefinition, x: Cube, o: readonly number[]): bigint {
  const axesOf = (relation: PlanRelation): number[] =>
    relation.kind === 'same'
      ? [relation.x]
      : [relation.long, relation.position, relation.tap].flatMap(({ side, axis }) =>
          side === 'x' ? [axis] : [],
        );
  const times = (relation: PlanRelation, i: readonly number[]): number => solutions(relation, i, o);
  let sum = 0n;
  for (const each of partners(definition.relations, axesOf, times, cubeExtents(x.tensor)))
    sum += BigInt(each.times) * valueAt(x, each.index);
  return modulo(sum);
}

function solutions(relation: PlanRelation, x: readonly number[], y: readonly number[]): number {
  if (relation.kind === 'same') return x[relation.x] === y[relation.y] ? 1 : 0;
  const { long, position, tap, stride, dilation, pad, start } = relation;
  const of = (axis: typeof long): number => (axis.side === 'x' ? x : y)[axis.axis] as number;
  let count = 0;
  const taps = tap.side === 'summed' ? Array.from({ length: tap.extent }, (_, k) => k) : [of(tap)];
  for (const k of taps)
    if (
      of(position) < position.extent &&
      k < tap.extent &&
      of(long) < long.extent &&
      of(long) + pad === stride * of(position) + dilation * k + start
    )
      count++;
  return count;
}

function checkSteps(program: Program, cubes: readonly Cube[]): void {
  for (const step of program.steps) {
    if (step.kind === 'tie') {
      const virtual = cubes[step.claim.tensor] as Cube;
      for (const index of indices(cubeExtents(virtual.tensor))) {
        const side: bigint =
          'maskExtents' in step.side
            ? isReal(step.side.maskExtents, index)
              ? 1n
              : 0n
            : valueAt(cubes[step.side.tensor] as Cube, index);
        assert.equal(valueAt(virtual, index), side, `tie of ${virtual.tensor.name} [${index}]`);
      }
    } else if (step.kind === 'output') {
      const virtual = cubes[step.out.tensor] as Cube;
      const published = cubes[step.tensor] as Cube;
      for (const index of indices(virtual.tensor.extents))
        assert.equal(valueAt(virtual, index), valueAt(published, index), virtual.tensor.name);
    }
  }
}

const isLookedUp = (lookup: PlanLookup, index: readonly number[]): boolean =>
  lookup.numerator.kind === 'real'
    ? isReal(lookup.extents, index)
    : lookup.numerator.blocks.includes(
        Math.floor(cellOf(lookup.axisBits, index) / 2 ** lookup.numerator.blockBits),
      );

function tuplesOf(lookup: PlanLookup, cubes: readonly Cube[]): string[] {
  return [...indices(cubeExtents(lookup))].flatMap((index) => {
    if (!isLookedUp(lookup, index)) return [];
    const tuple = lookup.tuple.map((entry) =>
      entry.kind === 'tensor'
        ? signed(valueAt(cubes[entry.tensor] as Cube, index))
        : entry.kind === 'constant'
          ? BigInt(entry.value)
          : isReal(lookup.extents, index)
            ? 1n
            : 0n,
    );
    return [tuple.join()];
  });
}

function rowsOf(program: Program, table: number): string[] {
  const { columns, rows } = program.tables[table] as Program['tables'][number];
  return Array.from({ length: rows }, (_, row) => columns.map((column) => column[row]).join());
}

function checkLookup(program: Program, lookup: PlanLookup, cubes: readonly Cube[]): void {
  const rows = new Set(rowsOf(program, lookup.table));
  for (const tuple of tuplesOf(lookup, cubes))
    assert.ok(rows.has(tuple), `${lookup.name}: (${tuple}) is not in the table`);
}

function checkMultiplicities(program: Program, cubes: readonly Cube[]): void {
  program.tables.forEach((table, index) => {
    const places = new Map<string, number>();
    rowsOf(program, index).forEach((row, place) => {
      if (!places.has(row)) places.set(row, place);
    });
    const counts = new Array<bigint>(2 ** table.bits).fill(0n);
    for (const lookup of program.lookups)
      if (lookup.table === index)
        for (const tuple of tuplesOf(lookup, cubes))
          counts[places.get(tuple) as number] = (counts[places.get(tuple) as number] as bigint) + 1n;
    assert.deepEqual((cubes[table.multiplicity] as Cube).cells, counts, table.name);
  });
}
