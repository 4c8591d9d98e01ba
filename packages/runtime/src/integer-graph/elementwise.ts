/** Witness tensors with the axes of their source: cell by cell, padding zeroed afterwards. */
import type { PlanTensor, WitnessDefinition } from '@haca/circuit';
import { arrayFor, boundedCells, type CellArray, type Cells, loadIntegers, type Shape } from './cells.ts';

type ElementwiseDefinition = Extract<
  WitnessDefinition,
  { readonly kind: 'digit' | 'sign' | 'requantized' | 'requantized-byte' | 'maximum' | 'looked-up' }
>;

const BLOCK = 4096;

/** Turns integers into integers in place; padded cells hold anything. */
type Kernel = (values: Int32Array, second: Int32Array, length: number) => void;

export function evaluateElementwise(
  tensor: PlanTensor,
  definition: ElementwiseDefinition,
  shape: Shape,
  operands: readonly Cells[],
): Cells {
  const data = arrayFor(tensor.keyKind, tensor.lo, tensor.hi, shape.cells);
  const first = (operands[0] as Cells).data;
  const second = operands[1]?.data ?? null;
  mapBlocks(data, first, second, kernelOf(definition));
  return boundedCells(tensor, shape, data);
}

/** Operands of the block at work: nothing below calls back, so one of each is enough. */
const a = new Int32Array(BLOCK);
const b = new Int32Array(BLOCK);

function mapBlocks(data: CellArray, first: CellArray, second: CellArray | null, kernel: Kernel): void {
  for (let from = 0; from < data.length; from += BLOCK) {
    const length = Math.min(BLOCK, data.length - from);
    loadIntegers(first, from, length, a);
    if (second !== null) loadIntegers(second, from, length, b);
    kernel(a, b, length);
    data.set(length === BLOCK ? a : a.subarray(0, length), from);
  }
}

function kernelOf(definition: ElementwiseDefinition): Kernel {
  switch (definition.kind) {
    case 'digit':
      return digit(definition.add, definition.from, definition.width);
    case 'sign':
      return (values, _, length) => {
        for (let i = 0; i < length; i++) values[i] = Math.sign(values[i] as number);
      };
    case 'requantized':
      return requantized(definition.add, definition.from, definition.width, definition.values);
    case 'requantized-byte': {
      const { add, from, byte } = definition;
      return (values, _, length) => {
        for (let i = 0; i < length; i++) {
          const q = ((values[i] as number) + add) >> from;
          values[i] = ((q < 0 ? 0 : q > 65_535 ? 65_535 : q) >> (8 * byte)) & 255;
        }
      };
    }
    case 'maximum':
      return (values, second, length) => {
        for (let i = 0; i < length; i++) {
          const other = second[i] as number;
          if (other > (values[i] as number)) values[i] = other;
        }
      };
    case 'looked-up': {
      const { lo } = definition;
      const list = Int32Array.from(definition.values);
      return (values, _, length) => {
        for (let i = 0; i < length; i++) values[i] = list[(values[i] as number) - lo] as number;
      };
    }
  }
}

/** Real cells have |value + add| ≤ 2^30 by the representation rule, so the sum is an int32. */
function digit(add: number, from: number, width: number | null): Kernel {
  const mask = width === null ? -1 : 2 ** width - 1;
  return (values, _, length) => {
    for (let i = 0; i < length; i++) values[i] = (((values[i] as number) + add) >> from) & mask;
  };
}

function requantized(add: number, from: number, width: number, values: readonly number[] | null): Kernel {
  const top = 2 ** width - 1;
  const list = values === null ? null : Int32Array.from(values);
  if (list === null)
    return (cells, _, length) => {
      for (let i = 0; i < length; i++) {
        const q = ((cells[i] as number) + add) >> from;
        cells[i] = q < 0 ? 0 : q > top ? top : q;
      }
    };
  return (cells, _, length) => {
    for (let i = 0; i < length; i++) {
      const q = ((cells[i] as number) + add) >> from;
      cells[i] = list[q < 0 ? 0 : q > top ? top : q] as number;
    }
  };
}
