/**
 * A tiny evaluator of virtual tensors over their whole padded cubes, straight from the definitions: for assignments that
 * no honest engine would make.
 */
import type {
  ContractDefinition,
  GatherDefinition,
  PlanRelation,
  PlanTensor,
  Program,
  PublicFunction,
  SumDefinition,
  WireDefinition,
} from '@haca/circuit';
import { add, type BaseValues, fromSigned, mul } from '@haca/primitives/zk';

/** Residues of a tensor. */
type Cells = (tensor: number) => ArrayLike<number>;

export const residuesOf = (values: BaseValues): Uint32Array =>
  Uint32Array.from(values, (value) => fromSigned(value));

/** Index along each axis. */
function indicesOf(cell: number, axisBits: readonly number[]): number[] {
  const indices: number[] = new Array(axisBits.length);
  let rest = cell;
  for (let axis = axisBits.length - 1; axis >= 0; axis--) {
    const size = 2 ** (axisBits[axis] as number);
    indices[axis] = rest % size;
    rest = Math.floor(rest / size);
  }
  return indices;
}

const cellOf = (indices: readonly number[], axisBits: readonly number[]): number =>
  indices.reduce((cell, index, axis) => cell * 2 ** (axisBits[axis] as number) + index, 0);

export function evaluateDefinition(program: Program, id: number, cells: Cells): Uint32Array {
  const tensor = program.tensors[id] as PlanTensor;
  const { definition } = tensor;
  const result = new Uint32Array(2 ** tensor.bits);
  for (let cell = 0; cell < result.length; cell++) {
    if (definition.kind === 'sum') result[cell] = sumCell(tensor, definition, cell, cells);
    else if (definition.kind === 'contract')
      result[cell] = contractCell(program, tensor, definition, cell, cells);
    else if (definition.kind === 'wire') result[cell] = wireCell(program, tensor, definition, cell, cells);
    else if (definition.kind === 'gather')
      result[cell] = gatherCell(program, tensor, definition, cell, cells);
    else throw new Error(`${tensor.name} is not virtual`);
  }
  return result;
}

const bitOf = (cell: number, bits: number, source: number): number =>
  source < 2 ? source : Math.floor(cell / 2 ** (bits - 1 - (source - 2))) % 2;

const indexOf = (cell: number, bits: number, sources: readonly number[]): number =>
  sources.reduce((index, source) => 2 * index + bitOf(cell, bits, source), 0);

function functionAt(tensor: PlanTensor, each: PublicFunction, cell: number): number {
  const { bits, axisBits, extents } = tensor;
  if (each.kind === 'mask')
    return indicesOf(cell, axisBits).every((index, axis) => index < (extents[axis] as number)) ? 1 : 0;
  if (each.kind === 'index') return indexOf(cell, bits, each.bits);
  return indexOf(cell, bits, each.columnBits) > indexOf(cell, bits, each.rowBits) ? 1 : 0;
}

function sumCell(tensor: PlanTensor, definition: SumDefinition, cell: number, cells: Cells): number {
  let sum = definition.constant;
  for (const { coefficient, function: each } of definition.functions)
    sum = add(sum, mul(coefficient, functionAt(tensor, each, cell)));
  for (const { tensor: x, coefficient, bits } of definition.terms)
    sum = add(sum, mul(coefficient, cells(x)[indexOf(cell, tensor.bits, bits)] as number));
  return sum;
}

function contractCell(
  program: Program,
  tensor: PlanTensor,
  { a, c, labelsA, labelsC, indexLabel, extents }: ContractDefinition,
  cell: number,
  cells: Cells,
): number {
  const fixed = indicesOf(cell, tensor.axisBits);
  const inner = extents.slice(fixed.length);
  let sum = 0;
  for (let at = 0; at < inner.reduce((product, extent) => product * extent, 1); at++) {
    let rest = at;
    const contracted = [...inner]
      .reverse()
      .map((extent) => {
        const index = rest % extent;
        rest = Math.floor(rest / extent);
        return index;
      })
      .reverse();
    const labels = [...fixed, ...contracted];
    const read = (id: number, own: readonly number[]): number =>
      cells(id)[
        cellOf(
          own.map((label) => labels[label] as number),
          (program.tensors[id] as PlanTensor).axisBits,
        )
      ] as number;
    const factor =
      typeof c === 'number' ? read(c, labelsC) : c === 'index' ? (labels[indexLabel as number] as number) : 1;
    sum = add(sum, mul(read(a, labelsA), factor));
  }
  return sum;
}

function wireCell(
  program: Program,
  tensor: PlanTensor,
  { x, relations }: WireDefinition,
  cell: number,
  cells: Cells,
): number {
  const onY = indicesOf(cell, tensor.axisBits);
  const { axisBits } = program.tensors[x] as PlanTensor;
  let sum = 0;
  for (let from = 0; from < 2 ** axisBits.reduce((all, bits) => all + bits, 0); from++) {
    const onX = indicesOf(from, axisBits);
    const related = relations.reduce((count, relation) => count * partners(relation, onX, onY), 1);
    sum = add(sum, mul(related, cells(x)[from] as number));
  }
  return sum;
}

/** How often the indices stand in the relation. */
function partners(relation: PlanRelation, onX: readonly number[], onY: readonly number[]): number {
  if (relation.kind === 'same') return onX[relation.x] === onY[relation.y] ? 1 : 0;
  const { long, position, tap, stride, dilation, pad, start } = relation;
  const along = ({ side, axis }: { readonly side: string; readonly axis: number }): number =>
    (side === 'x' ? onX[axis] : onY[axis]) as number;
  const [i, j] = [along(long), along(position)];
  if (i >= long.extent || j >= position.extent) return 0;
  let count = 0;
  for (let k = 0; k < tap.extent; k++)
    if ((tap.side === 'summed' || along(tap) === k) && i + pad === stride * j + dilation * k + start) count++;
  return count;
}

function gatherCell(
  program: Program,
  tensor: PlanTensor,
  { table, ids }: GatherDefinition,
  cell: number,
  cells: Cells,
): number {
  const idTensor = program.tensors[ids] as PlanTensor;
  const indices = indicesOf(cell, tensor.axisBits);
  const own = indices.slice(0, idTensor.axisBits.length);
  if (own.some((index, axis) => index >= (idTensor.extents[axis] as number))) return 0;
  const row = cells(ids)[cellOf(own, idTensor.axisBits)] as number;
  const { axisBits } = program.tensors[table] as PlanTensor;
  return cells(table)[cellOf([row, ...indices.slice(own.length)], axisBits)] as number;
}

/** Cells that are no tensor's real ones. */
export function paddedCells({ extents, axisBits, bits }: PlanTensor): number[] {
  return Array.from({ length: 2 ** bits }, (_, cell) => cell).filter((cell) =>
    indicesOf(cell, axisBits).some((index, axis) => index >= (extents[axis] as number)),
  );
}

export function realCells(tensor: PlanTensor): number[] {
  const padded = new Set(paddedCells(tensor));
  return Array.from({ length: 2 ** tensor.bits }, (_, cell) => cell).filter((cell) => !padded.has(cell));
}
