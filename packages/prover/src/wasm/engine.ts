/**
 * Vectors in the shared memory and the operations on them that the parts of the backend have in common. A vector over F
 * of n elements takes ceil(n / 4) blocks of 80 bytes, with zeros in unused lanes of a vector shorter than a block.
 */
import { UsageError } from '@haca/primitives';
import { type BaseValues, EXT_ZERO, type Ext, type ExtVector, exactLog2, extAdd } from '@haca/primitives/zk';
import type { Vector } from '../backend.ts';
import { createKernelPool, type KernelPool, type PoolOptions } from './pool.ts';

export const BLOCK_BYTES = 80;
export const SCALAR_BYTES = 288;
const ELEMENT_BYTES = 20;
/** Room for the arguments of one call: elements, points, lists of addresses. */
const ARGUMENT_BYTES = 65536;

/** Types of the kernels. */
export const TYPE_WORD = 4;
export const TYPE_EXT = 5;
const WIDTHS = [1, 1, 2, 2, 4] as const;

export interface BaseVector extends Vector {
  readonly field: 'base';
  readonly type: number;
  readonly address: number;
}

export interface ExtBlocks extends Vector {
  readonly field: 'extension';
  readonly address: number;
}

export type WasmVector = BaseVector | ExtBlocks;

/** Integers in memory: part of a vector, or a column put together. */
export interface Integers {
  readonly type: number;
  readonly address: number;
}

export interface Engine {
  readonly pool: KernelPool;
  /** Writes words or addresses at the start of the argument area, `at` words in, and returns where. */
  readonly writeWords: (words: ArrayLike<number>, at?: number) => number;
  readonly writeElements: (elements: readonly Ext[], at?: number) => number;
  readonly readElements: (address: number, count: number) => Ext[];
  /** Element `index` of a vector. */
  readonly elementAt: (vector: ExtBlocks, index: number) => Ext;
  readonly allocateBlocks: (length: number) => ExtBlocks;
  readonly release: (vector: Vector) => void;
}

export const blocksOf = (length: number): number => Math.ceil(length / 4);
export const widthOf = (type: number): number => WIDTHS[type] as number;

export function typeOf(values: BaseValues): number {
  if (values instanceof Int8Array) return 0;
  if (values instanceof Uint8Array) return 1;
  if (values instanceof Int16Array) return 2;
  if (values instanceof Uint16Array) return 3;
  return TYPE_WORD;
}

export function bitsOfLength(length: number): number {
  const bits = exactLog2(length);
  if (bits === undefined) throw new UsageError(`a length of ${length}`);
  return bits;
}

export function extensionOf(vector: Vector): ExtBlocks {
  if (vector.field !== 'extension') throw new UsageError('integers where a vector over F is needed');
  return vector as ExtBlocks;
}

export function baseOf(vector: Vector): BaseVector {
  if (vector.field !== 'base') throw new UsageError('a vector over F where integers are needed');
  return vector as BaseVector;
}

export function createEngine(options: PoolOptions): Engine {
  const pool = createKernelPool(options);
  const { heap } = pool;
  const argumentsAt = heap.allocate(ARGUMENT_BYTES);

  function argumentAt(at: number, words: number): number {
    if (4 * (at + words) > ARGUMENT_BYTES) throw new UsageError(`${words} words of arguments`);
    return argumentsAt + 4 * at;
  }

  return {
    pool,
    writeWords: (words, at = 0) => {
      const address = argumentAt(at, words.length);
      heap.words().set(words, address / 4);
      return address;
    },
    writeElements: (elements, at = 0) => {
      const address = argumentAt(at, 5 * elements.length);
      const words = heap.words();
      for (let i = 0; i < elements.length; i++) words.set(elements[i] as Ext, address / 4 + 5 * i);
      return address;
    },
    readElements: (address, count) => {
      const words = heap.words();
      return Array.from({ length: count }, (_, i) => elementFrom(words, address / 4 + 5 * i, 1));
    },
    elementAt: ({ address }, index) =>
      elementFrom(heap.words(), address / 4 + 20 * (index >>> 2) + (index & 3), 4),
    allocateBlocks: (length) => ({
      field: 'extension',
      length,
      address: heap.allocate(BLOCK_BYTES * blocksOf(length)),
    }),
    release: (vector) => heap.free((vector as WasmVector).address),
  };
}

function elementFrom(words: Uint32Array, at: number, stride: number): Ext {
  return [
    words[at] as number,
    words[at + stride] as number,
    words[at + 2 * stride] as number,
    words[at + 3 * stride] as number,
    words[at + 4 * stride] as number,
  ];
}

export function uploadBase({ pool: { heap } }: Engine, values: BaseValues): BaseVector {
  const address = heap.allocate(values.byteLength);
  heap.bytes().set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), address);
  return { field: 'base', length: values.length, type: typeOf(values), address };
}

export function uploadExtension(engine: Engine, values: ExtVector): ExtBlocks {
  const { heap, kernels } = engine.pool;
  const vector = engine.allocateBlocks(values.length);
  const planes = heap.allocate(ELEMENT_BYTES * values.length);
  heap.words().set(values.data, planes / 4);
  kernels.importPlanes(planes, values.length, vector.address);
  heap.free(planes);
  return vector;
}

export function download(engine: Engine, vector: Vector): ExtVector {
  const { heap, kernels } = engine.pool;
  const { length } = vector;
  const blocks = lifted(engine, vector);
  const planes = heap.allocate(ELEMENT_BYTES * length);
  kernels.exportPlanes(blocks.address, length, planes);
  const data = heap.words().slice(planes / 4, planes / 4 + 5 * length);
  heap.free(planes);
  if (blocks !== vector) engine.release(blocks);
  return { length, data };
}

/** The vector itself where it is over F, else a new one. */
export function lifted(engine: Engine, vector: Vector): ExtBlocks {
  if (vector.field === 'extension') return vector as ExtBlocks;
  const { type, address, length } = vector as BaseVector;
  const blocks = engine.allocateBlocks(length);
  engine.pool.kernels.importBase(type, address, length, blocks.address);
  return blocks;
}

/** A new vector over F with the same elements. */
export function copied(engine: Engine, vector: Vector): ExtBlocks {
  const blocks = lifted(engine, vector);
  if (blocks !== vector) return blocks;
  const copy = engine.allocateBlocks(vector.length);
  const bytes = BLOCK_BYTES * blocksOf(vector.length);
  engine.pool.heap.bytes().copyWithin(copy.address, blocks.address, blocks.address + bytes);
  return copy;
}

/** One element in all places; in a vector shorter than a block the unused lanes are zero. */
export function filled(engine: Engine, length: number, element: Ext): ExtBlocks {
  const vector = engine.allocateBlocks(length);
  const at = engine.writeElements([element]);
  engine.pool.run('fillVector', blocksOf(length), (from, to) => [at, vector.address, from, to]);
  if (length < 4) {
    const words = engine.pool.heap.words();
    for (let k = 0; k < 5; k++)
      words.fill(0, vector.address / 4 + 4 * k + length, vector.address / 4 + 4 * k + 4);
  }
  return vector;
}

/** initial * eq(point, x) for every x. */
export function eqTableOf(engine: Engine, point: readonly Ext[], initial: Ext): ExtBlocks {
  const table = engine.allocateBlocks(2 ** point.length);
  const at = engine.writeElements([initial, ...point]);
  engine.pool.kernels.eqTable(at + ELEMENT_BYTES, point.length, at, table.address);
  return table;
}

/** Binds the first variable in place; what is behind the result stays allocated. */
export function bindFirst(engine: Engine, address: number, length: number, challenge: Ext): void {
  const at = engine.writeElements([challenge]);
  const units = blocksOf(length / 2);
  engine.pool.run('foldExt', units, (from, to) => [address, length, at, address, from, to]);
}

/** The sum of `count` elements that `parts` chunks left in their results. */
export function sumOfParts(engine: Engine, parts: number, count: number): Ext[] {
  const sums: Ext[] = Array.from({ length: count }, () => EXT_ZERO);
  for (let part = 0; part < parts; part++) {
    engine.readElements(engine.pool.resultsOf(part), count).forEach((element, i) => {
      sums[i] = part === 0 ? element : extAdd(sums[i] as Ext, element);
    });
  }
  return sums;
}

/** Weighted integers to be added to a vector. */
export interface WeightedIntegers extends Integers {
  readonly weight: Ext;
}

/**
 * target[i] += sum of weight * integers[i] over `length` elements, from block `target` on; with a constant, target[i] is
 * set to that plus the sum. A length that is no multiple of 4 leaves anything in the unused lanes.
 */
export function addIntegers(
  engine: Engine,
  target: number,
  length: number,
  terms: readonly WeightedIntegers[],
  constant?: Ext,
): void {
  const { pool } = engine;
  const units = blocksOf(length);
  let first = constant;
  const types = new Set(terms.map((term) => term.type));
  if (types.size === 0 && constant !== undefined) types.add(TYPE_WORD);
  for (const type of types) {
    const same = terms.filter((term) => term.type === type);
    const addresses = same.map(({ address }) => address);
    const weights = same.map(({ weight }) => weight);
    addPrepared(engine, addresses, weights, (list, scalars) => {
      const head = [type, list, same.length, scalars];
      const element = first === undefined ? undefined : engine.writeElements([first]);
      const work = units * Math.max(1, same.length);
      if (element === undefined) pool.run('combine', units, (from, to) => [...head, target, from, to], work);
      else pool.run('affine', units, (from, to) => [...head, element, target, from, to], work);
    });
    first = undefined;
  }
}

/** As `addIntegers`, for blocks over F at the given addresses. */
export function addBlocksTimes(
  engine: Engine,
  target: number,
  length: number,
  addresses: readonly number[],
  weights: readonly Ext[],
): void {
  addPrepared(engine, addresses, weights, (at, scalars) => {
    engine.pool.run(
      'combineExt',
      blocksOf(length),
      (from, to) => [at, addresses.length, scalars, target, from, to],
      blocksOf(length) * addresses.length,
    );
  });
}

/** Scalars made ready for `combine` and its kin, in memory that the caller frees. */
export function preparedScalars({ pool: { heap, kernels } }: Engine, weights: readonly Ext[]): number {
  const elements = heap.allocate(ELEMENT_BYTES * weights.length);
  const scalars = heap.allocate(SCALAR_BYTES * weights.length);
  const words = heap.words();
  for (let i = 0; i < weights.length; i++) words.set(weights[i] as Ext, elements / 4 + 5 * i);
  kernels.prepareScalars(elements, weights.length, scalars);
  heap.free(elements);
  return scalars;
}

/** Prepares scalars and the list of addresses in memory of their own. */
function addPrepared(
  engine: Engine,
  addresses: readonly number[],
  weights: readonly Ext[],
  use: (addresses: number, scalars: number) => void,
): void {
  const { heap } = engine.pool;
  const list = heap.allocate(4 * addresses.length);
  heap.words().set(addresses, list / 4);
  const scalars = preparedScalars(engine, weights);
  use(list, scalars);
  heap.free(list);
  heap.free(scalars);
}
