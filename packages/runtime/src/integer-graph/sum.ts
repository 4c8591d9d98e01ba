/** y = constant + Σ coefficient · x[bits] + Σ coefficient · f, in every cell of the layout, mod p. */
import { INTEGER_BOUND, type PlanTensor, type PublicFunction, type SumDefinition } from '@haca/circuit';
import {
  type CellArray,
  type Cells,
  centred,
  integersOf,
  isRange,
  loadIntegers,
  P,
  type Shape,
  sumTable,
} from './cells.ts';

const INNER_CELLS = 4096;
const INVERSE_P = 1 / P;

/** Where the cells of a term lie: `outer` per block of the result, `inner` per cell of a block. */
interface Tables {
  readonly outer: Int32Array;
  readonly inner: Int32Array;
  /** Cells of a block stand one after the other. */
  readonly consecutive: boolean;
}

/** One summand, block by block. */
interface Summand {
  readonly coefficient: number;
  readonly magnitude: number;
  /** Values of block `block` as integers. */
  readonly load: (block: number, into: Int32Array) => void;
}

export function evaluateSum(
  tensor: PlanTensor,
  definition: SumDefinition,
  shape: Shape,
  operand: (id: number) => Cells,
): Cells {
  const split = splitOf(shape);
  const summands = [
    ...definition.terms.map(({ tensor: id, coefficient, bits }): Summand => {
      const x = operand(id);
      const tables = rememberedTables(bits, shape, x.shape, () =>
        tablesOf(shape, split, termWeights(x.shape, bits, tensor.bits)),
      );
      const magnitude = Math.max(Math.abs(x.lo), Math.abs(x.hi));
      return { coefficient: centred(coefficient), magnitude, load: termLoader(x.data, tables) };
    }),
    ...definition.functions.map(({ coefficient, function: each }): Summand => {
      const { magnitude, load } = functionLoader(each, shape, split, tensor.bits);
      return { coefficient: centred(coefficient), magnitude, load };
    }),
  ];
  const constant = centred(definition.constant);
  const bound = summands.reduce(
    (sum, { coefficient, magnitude }) => sum + Math.abs(coefficient) * magnitude,
    Math.abs(constant),
  );
  const data = tensor.anyResidue ? new Uint32Array(shape.cells) : new Int32Array(shape.cells);
  if (bound <= INTEGER_BOUND) addSmall(data, constant, summands, split);
  else addModular(data, constant, summands, split);
  const limit = Math.min(bound, INTEGER_BOUND);
  return { shape, data, lo: -limit, hi: limit, clean: cleanAxes(definition, shape, operand) };
}

interface Split {
  /** Axes from here on form the block. */
  readonly axis: number;
  readonly blocks: number;
  readonly length: number;
}

/** Trailing axes as long as a block stays small; at least the last one. */
function splitOf(shape: Shape): Split {
  let axis = shape.sizes.length;
  let length = 1;
  while (axis > 0 && (length === 1 || length * (shape.sizes[axis - 1] as number) <= INNER_CELLS))
    length *= shape.sizes[--axis] as number;
  return { axis, blocks: shape.cells / length, length };
}

/** What each bit of the result adds to the operand's offset, and what its constant bits add. */
interface BitWeights {
  readonly weights: readonly number[];
  readonly base: number;
}

function termWeights(x: Shape, map: readonly number[], resultBits: number): BitWeights {
  const weights: number[] = new Array(resultBits).fill(0);
  let base = 0;
  let at = 0;
  x.axisBits.forEach((bits, axis) => {
    for (let bit = 0; bit < bits; bit++) {
      const weight = (x.strides[axis] as number) * 2 ** (bits - 1 - bit);
      const source = map[at++] as number;
      if (source === 1) base += weight;
      else if (source >= 2) weights[source - 2] = (weights[source - 2] as number) + weight;
    }
  });
  return { weights, base };
}

/** By bit map, which belongs to one term of one program: tables are the same in every evaluation of a layout. */
const remembered = new WeakMap<readonly number[], Map<string, Tables>>();

function rememberedTables(map: readonly number[], shape: Shape, x: Shape, make: () => Tables): Tables {
  const ofMap = remembered.get(map) ?? new Map<string, Tables>();
  remembered.set(map, ofMap);
  const name = `${shape.sizes} ${x.strides}`;
  const tables = ofMap.get(name) ?? make();
  ofMap.set(name, tables);
  return tables;
}

function tablesOf(shape: Shape, split: Split, { weights, base }: BitWeights): Tables {
  let at = 0;
  const perAxis = shape.axisBits.map((bits, axis) => {
    const table = new Int32Array(shape.sizes[axis] as number);
    for (let i = 0; i < table.length; i++)
      for (let bit = 0; bit < bits; bit++)
        if ((i >> (bits - 1 - bit)) & 1) table[i] = (table[i] as number) + (weights[at + bit] as number);
    at += bits;
    return table;
  });
  const outer = sumTable(perAxis.slice(0, split.axis), base);
  const inner = sumTable(perAxis.slice(split.axis));
  return { outer, inner, consecutive: isRange(inner) };
}

function termLoader(data: CellArray, { outer, inner, consecutive }: Tables): Summand['load'] {
  if (consecutive) return (block, into) => loadIntegers(data, outer[block] as number, inner.length, into);
  const x = integersOf(data);
  return (block, into) => {
    const at = outer[block] as number;
    for (let i = 0; i < inner.length; i++) into[i] = x[at + (inner[i] as number)] as number;
  };
}

function functionLoader(
  each: PublicFunction,
  shape: Shape,
  split: Split,
  resultBits: number,
): Pick<Summand, 'magnitude' | 'load'> {
  const indexTables = (bits: readonly number[]): Tables => {
    const weights: number[] = new Array(resultBits).fill(0);
    bits.forEach((source, i) => {
      weights[source - 2] = 2 ** (bits.length - 1 - i);
    });
    return tablesOf(shape, split, { weights, base: 0 });
  };
  if (each.kind === 'mask') return maskLoader(shape, split);
  if (each.kind === 'index') {
    const { outer, inner } = indexTables(each.bits);
    return {
      magnitude: 2 ** each.bits.length,
      load: (block, into) => {
        for (let i = 0; i < inner.length; i++) into[i] = (outer[block] as number) + (inner[i] as number);
      },
    };
  }
  const row = indexTables(each.rowBits);
  const column = indexTables(each.columnBits);
  return {
    magnitude: 1,
    load: (block, into) => {
      const gap = (column.outer[block] as number) - (row.outer[block] as number);
      for (let i = 0; i < into.length; i++)
        into[i] = gap + (column.inner[i] as number) - (row.inner[i] as number) > 0 ? 1 : 0;
    },
  };
}

function maskLoader(shape: Shape, split: Split): Pick<Summand, 'magnitude' | 'load'> {
  const beyond = shape.sizes.map((size, axis) =>
    Int32Array.from({ length: size }, (_, i) => (i < (shape.extents[axis] as number) ? 0 : 1)),
  );
  const outer = sumTable(beyond.slice(0, split.axis));
  const inner = sumTable(beyond.slice(split.axis));
  return {
    magnitude: 1,
    load: (block, into) => {
      for (let i = 0; i < inner.length; i++)
        into[i] = (outer[block] as number) + (inner[i] as number) === 0 ? 1 : 0;
    },
  };
}

/** Every partial sum is an int32. */
function addSmall(data: CellArray, constant: number, summands: readonly Summand[], split: Split): void {
  const { blocks, length } = split;
  const values = new Int32Array(length);
  const sums = new Int32Array(length);
  for (let block = 0; block < blocks; block++) {
    sums.fill(constant);
    for (const { coefficient, load } of summands) {
      load(block, values);
      if (coefficient === 1)
        for (let i = 0; i < length; i++) sums[i] = (sums[i] as number) + (values[i] as number);
      else
        for (let i = 0; i < length; i++)
          sums[i] = (sums[i] as number) + Math.imul(coefficient, values[i] as number);
    }
    if (data instanceof Uint32Array)
      for (let i = 0; i < length; i++) if ((sums[i] as number) < 0) sums[i] = (sums[i] as number) + P;
    data.set(sums, block * length);
  }
}

/**
 * Any coefficients: each sum is kept as a double, which gives the quotient by p, and modulo 2^32, which gives the rest.
 * A sum of 70 terms is off by less than 2^16, 2^-15 of p, so the quotient is off by one at most, next to its edges.
 */
function addModular(data: CellArray, constant: number, summands: readonly Summand[], split: Split): void {
  const { blocks, length } = split;
  const values = new Int32Array(length);
  const low = new Int32Array(length);
  const sums = new Float64Array(length);
  const residues = data instanceof Uint32Array;
  for (let block = 0; block < blocks; block++) {
    low.fill(constant);
    sums.fill(constant);
    for (const { coefficient, load } of summands) {
      load(block, values);
      for (let i = 0; i < length; i++) {
        const value = values[i] as number;
        sums[i] = (sums[i] as number) + coefficient * value;
        low[i] = ((low[i] as number) + Math.imul(coefficient, value)) | 0;
      }
    }
    for (let i = 0; i < length; i++) {
      const quotient = Math.floor((sums[i] as number) * INVERSE_P) | 0;
      let rest = ((low[i] as number) - Math.imul(quotient, P)) | 0;
      if (rest < 0) rest += P;
      else if (rest >= P) rest -= P;
      low[i] = residues ? rest : centred(rest);
    }
    data.set(low, block * length);
  }
}

/** An axis stays zero beyond its extent where every term is, and nothing is added that is not zero there. */
function cleanAxes(definition: SumDefinition, shape: Shape, operand: (id: number) => Cells): boolean[] {
  if (definition.constant !== 0 || definition.functions.length > 0) return shape.extents.map(() => false);
  let first = 2;
  return shape.axisBits.map((bits, axis) => {
    const from = first;
    first += bits;
    return definition.terms.every(({ tensor, bits: map }) => {
      const x = operand(tensor);
      let at = 0;
      return x.shape.axisBits.some((width, k) => {
        const own = map.slice(at, at + width);
        at += width;
        return (
          x.clean[k] === true &&
          x.shape.extents[k] === shape.extents[axis] &&
          width === bits &&
          own.every((source, i) => source === from + i)
        );
      });
    });
  });
}
