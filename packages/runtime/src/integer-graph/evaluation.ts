/** Evaluates tensors of a program on demand: each once, operands first, without recursion. */
import type { ContractDefinition, Definition, PlanTensor, Program } from '@haca/circuit';
import {
  allClean,
  arrayFor,
  boundedCells,
  type Cells,
  type Layout,
  realRuns,
  type Shape,
  shapeOf,
} from './cells.ts';
import { evaluateContraction, type PackedWeights } from './contraction.ts';
import { evaluateElementwise } from './elementwise.ts';
import { IntegerGraphError } from './errors.ts';
import { evaluateGather } from './gather.ts';
import { countLookups } from './multiplicity.ts';
import { evaluateRows } from './rows.ts';
import { evaluateSum } from './sum.ts';
import { evaluateWire } from './wire.ts';

export interface EvaluationOptions {
  readonly program: Program;
  readonly layout: Layout;
  /** Cells of weights and inputs. */
  readonly given: (tensor: PlanTensor, layout: Layout) => Cells;
  readonly packed: PackedWeights;
  /** Whether every real cell is held against its tensor's interval. */
  readonly checked: boolean;
}

export interface Evaluation {
  /** @throws IntegerGraphError */
  readonly cells: (id: number) => Cells;
  /** Forgets a tensor; asked for again, it is computed again. */
  readonly release: (id: number) => void;
  /** Bytes of all tensors that are remembered. */
  readonly heldBytes: () => number;
}

export function createEvaluation(options: EvaluationOptions): Evaluation {
  const { program } = options;
  const held = new Map<number, Cells>();
  const cells = (id: number): Cells => {
    const waiting = [id];
    while (waiting.length > 0) {
      const next = waiting[waiting.length - 1] as number;
      const missing = held.has(next) ? [] : neededCells(program, next).filter((each) => !held.has(each));
      if (missing.length > 0) {
        waiting.push(...missing);
        continue;
      }
      waiting.pop();
      if (!held.has(next))
        held.set(
          next,
          evaluate(options, next, (each) => held.get(each) as Cells),
        );
    }
    return held.get(id) as Cells;
  };
  return {
    cells,
    release: (id) => {
      held.delete(id);
    },
    heldBytes: () => [...held.values()].reduce((bytes, { data }) => bytes + data.byteLength, 0),
  };
}

/** Tensors that a tensor is computed from. */
export function operandsOf(program: Program, id: number): number[] {
  const { definition } = program.tensors[id] as PlanTensor;
  switch (definition.kind) {
    case 'given':
      return [];
    case 'multiplicity':
      return program.lookups.flatMap(({ table, tuple }) =>
        table === definition.table
          ? tuple.flatMap((entry) => (entry.kind === 'tensor' ? [entry.tensor] : []))
          : [],
      );
    case 'sum':
      return definition.terms.map(({ tensor }) => tensor);
    case 'contract':
      return typeof definition.c === 'number' ? [definition.a, definition.c] : [definition.a];
    case 'wire':
      return [definition.x];
    case 'gather':
      return [definition.table, definition.ids];
    case 'maximum':
    case 'scaled-product':
      return [definition.a, definition.b];
    case 'one-hot':
    case 'exponential':
      return [definition.source, definition.maximum];
    default:
      return [definition.source];
  }
}

/** A contraction reads weights without padding, straight from the model. */
const isWeightOfContraction = ({ tensors }: Program, by: Definition, id: number): boolean =>
  by.kind === 'contract' && tensors[id]?.storage === 'weight';

function neededCells(program: Program, id: number): number[] {
  const { definition } = program.tensors[id] as PlanTensor;
  return operandsOf(program, id).filter((each) => !isWeightOfContraction(program, definition, each));
}

function evaluate(options: EvaluationOptions, id: number, operand: (id: number) => Cells): Cells {
  const tensor = options.program.tensors[id] as PlanTensor;
  const cells = dispatch(options, tensor, tensor.definition, operand);
  if (options.checked && tensor.definition.kind !== 'multiplicity') checkInterval(tensor, cells);
  return cells;
}

function dispatch(
  options: EvaluationOptions,
  tensor: PlanTensor,
  definition: Definition,
  operand: (id: number) => Cells,
): Cells {
  const { program, layout } = options;
  const shape = shapeOf(tensor, layout);
  switch (definition.kind) {
    case 'given':
      return options.given(tensor, layout);
    case 'sum':
      return evaluateSum(tensor, definition, shape, operand);
    case 'contract':
      return contractCells(options, definition, shape, operand);
    case 'wire':
      return evaluateWire(definition, shape, operand(definition.x));
    case 'gather':
      return evaluateGather(shape, operand(definition.table), operand(definition.ids));
    case 'published':
      return publish(tensor, operand(definition.source));
    case 'multiplicity': {
      const table = program.tables[definition.table] as Program['tables'][number];
      const lookups = program.lookups.filter((lookup) => lookup.table === definition.table);
      const data = countLookups(table, lookups, (each) => operand(each).data);
      return { shape, data, lo: 0, hi: 2 ** 30, clean: allClean(shape) };
    }
    case 'digit':
    case 'sign':
    case 'requantized':
    case 'requantized-byte':
    case 'maximum':
    case 'looked-up':
      return evaluateElementwise(tensor, definition, shape, operandsOf(program, tensor.id).map(operand));
    default:
      return evaluateRows(tensor, definition, shape, operandsOf(program, tensor.id).map(operand));
  }
}

function contractCells(
  { program, given, packed }: EvaluationOptions,
  definition: ContractDefinition,
  shape: Shape,
  operand: (id: number) => Cells,
): Cells {
  const isWeight = (id: number): boolean => isWeightOfContraction(program, definition, id);
  return evaluateContraction(
    definition,
    shape,
    (id) => (isWeight(id) ? given(program.tensors[id] as PlanTensor, 'dense') : operand(id)),
    { packed, nameOf: (id) => (isWeight(id) ? `weight ${id}` : null) },
  );
}

/** Real cells of a virtual output, as its public tensor. */
function publish(tensor: PlanTensor, source: Cells): Cells {
  const { shape } = source;
  const data = arrayFor(tensor.keyKind, tensor.lo, tensor.hi, shape.cells);
  data.set(source.data);
  return boundedCells(tensor, shape, data);
}

function checkInterval(tensor: PlanTensor, { shape, data, lo, hi }: Cells): void {
  if (lo >= tensor.lo && hi <= tensor.hi) return;
  const { offsets, length } = realRuns(shape);
  for (const from of offsets)
    for (let at = from; at < from + length; at++) {
      const value = data[at] as number;
      if (value < tensor.lo || value > tensor.hi)
        throw new IntegerGraphError(
          'interval',
          tensor.name,
          `cell ${at} is ${value}, outside [${tensor.lo}, ${tensor.hi}]`,
        );
    }
}
