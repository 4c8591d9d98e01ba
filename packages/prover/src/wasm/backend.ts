/**
 * The backend of the compiled kernels: same results as the reference backend, to the last bit. Vectors live in one
 * WebAssembly memory of at most 4 GiB; `usage` says how much of it a proof took.
 */
import { EXT_ONE, EXT_ZERO, extAdd, getExt, setExt } from '@haca/primitives/zk';
import type { ProverBackend } from '../backend.ts';
import { createCodewords } from './codewords.ts';
import { combineColumns, evaluateColumns, evaluateVectors } from './columns.ts';
import { commitColumns, fold, grind } from './commitments.ts';
import {
  addBlocksTimes,
  createEngine,
  download,
  type Engine,
  type ExtBlocks,
  eqTableOf,
  filled,
  uploadBase,
  uploadExtension,
} from './engine.ts';
import { fractionTree } from './fraction-tree.ts';
import { combineTerms, outerProduct, residuesOf } from './gathers.ts';
import { fillMask, maskBits } from './masks.ts';
import { partialEvaluate } from './partial-evaluation.ts';
import { productSumcheck, rowSumcheck } from './sumchecks.ts';

export interface MemoryUsage {
  /** Taken by vectors and trees now. */
  readonly bytes: number;
  /** The most since the start or the last `resetPeak`. */
  readonly peakBytes: number;
  /** Of the WebAssembly memory, which never shrinks. */
  readonly memoryBytes: number;
}

export interface WasmBackend extends ProverBackend {
  readonly threads: number;
  /** Resolves when all threads are up; jobs before that run on those that are. */
  readonly ready: () => Promise<void>;
  /** Ends the threads, after which the backend works on the calling one. They never keep the process alive. */
  readonly close: () => Promise<void>;
  readonly usage: () => MemoryUsage;
  readonly resetPeak: () => void;
}

export interface WasmBackendOptions {
  /** With the calling one: 1 to 64, 1 unless given. */
  readonly threads?: number;
  /** Work, in blocks of four elements, below which one thread is faster than several. For tests: 0. */
  readonly parallelWork?: number;
}

/** Throws `UsageError` where the kernels were not built. */
export function wasmBackend({ threads = 1, parallelWork }: WasmBackendOptions = {}): WasmBackend {
  const engine = createEngine({ threads, parallelWork });
  const codewords = createCodewords(engine);
  const { pool } = engine;
  return {
    name: `wasm-${threads}`,
    threads,
    ready: pool.ready,
    close: pool.close,
    usage: pool.heap.usage,
    resetPeak: pool.heap.resetPeak,
    upload: (values) => uploadBase(engine, values),
    uploadExtension: (values) => uploadExtension(engine, values),
    download: (vector) => download(engine, vector),
    release: (vector) => engine.release(vector),
    commitColumns: (request) => commitColumns(engine, codewords, request),
    evaluate: (vectors, point) => evaluateVectors(engine, vectors, point),
    evaluateColumns: (columns, point) => evaluateColumns(engine, columns, point),
    combineColumns: (columns, columnBits, weights) => combineColumns(engine, columns, columnBits, weights),
    partialEvaluate: (request) => partialEvaluate(engine, request),
    combineTerms: (request) => combineTerms(engine, request),
    combineEqs: (terms) => combineEqs(engine, terms),
    outerProduct: (axisBits, tables) => outerProduct(engine, axisBits, tables),
    scatterEq: (request) => scatterEq(engine, request),
    productSumcheck: (request) => productSumcheck(engine, request),
    rowSumcheck: (request) => rowSumcheck(engine, request),
    fractionTree: (treeBits, segments) => fractionTree(engine, treeBits, segments),
    fold: (column, point) => fold(engine, codewords, column, point),
    grind: (seed, bits) => grind(engine, seed, bits),
  };
}

function combineEqs(engine: Engine, terms: Parameters<ProverBackend['combineEqs']>[0]): ExtBlocks {
  const [first, ...others] = terms;
  if (first === undefined) return filled(engine, 1, EXT_ZERO);
  const sum = eqTableOf(engine, first.point, first.weight);
  for (const { point, weight } of others) {
    const table = eqTableOf(engine, point, weight);
    addBlocksTimes(engine, sum.address, sum.length, [table.address], [EXT_ONE]);
    engine.release(table);
  }
  return sum;
}

function scatterEq(
  engine: Engine,
  { ids, mask, point, rowBits }: Parameters<ProverBackend['scatterEq']>[0],
): ExtBlocks {
  const eq = eqTableOf(engine, point, EXT_ONE);
  const weights = download(engine, eq);
  engine.release(eq);
  const real = new Uint32Array(2 ** maskBits(mask));
  fillMask(real, 0, mask);
  const rows = { length: 2 ** rowBits, data: new Uint32Array(5 * 2 ** rowBits) };
  residuesOf(engine, ids).forEach((id, i) => {
    if (real[i] === 1) setExt(rows, id, extAdd(getExt(rows, id), getExt(weights, i)));
  });
  return uploadExtension(engine, rows);
}
