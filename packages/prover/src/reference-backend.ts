/**
 * The backend in plain TypeScript: readable, slow, and the definition of what every other backend computes.
 *
 * Memory: a codeword takes 4·2^(columnBits+blowupBits) bytes a column and is kept with its tree; the fraction tree takes
 * 40 bytes a node, 80·2^treeBits in all; a sumcheck takes 20 bytes a cell and factor.
 */
import {
  type Ext,
  eqTable,
  extAdd,
  extMul,
  extVector,
  getExt,
  portableZkKernels,
  setExt,
  type ZkKernels,
} from '@haca/primitives/zk';
import type { ProverBackend, Vector } from './backend.ts';
import { commitColumns, fold, grind } from './reference/commitments.ts';
import { fractionTree } from './reference/fraction-tree.ts';
import { productSumcheck, rowSumcheck } from './reference/sumchecks.ts';
import {
  baseOf,
  combineColumns,
  combineEqs,
  combineTerms,
  copyOf,
  evaluateAt,
  evaluateColumnsAt,
  extensionOf,
  maskCells,
  ofBase,
  ofExtension,
  partialEvaluate,
} from './reference/vectors.ts';

/** `kernels`: the hash functions, portable unless given. */
export function referenceBackend(kernels: ZkKernels = portableZkKernels): ProverBackend {
  return {
    name: 'reference',
    upload: ofBase,
    uploadExtension: ofExtension,
    download: (vector) => copyOf(vector),
    release: () => {},
    commitColumns: (request) => commitColumns(kernels, request),
    evaluate: evaluateAt,
    evaluateColumns: evaluateColumnsAt,
    combineColumns: (columns, columnBits, weights) =>
      ofExtension(combineColumns(columns, columnBits, weights)),
    partialEvaluate,
    combineTerms: ({ bits, constant, terms }) => ofExtension(combineTerms(bits, constant, terms)),
    combineEqs: (terms) => ofExtension(combineEqs(terms)),
    outerProduct,
    scatterEq,
    productSumcheck,
    rowSumcheck,
    fractionTree,
    fold: (column, point) => fold(kernels, column, point),
    grind: (seed, bits) => grind(kernels, seed, bits),
  };
}

const outerProduct: ProverBackend['outerProduct'] = (axisBits, tables) => {
  const result = extVector(2 ** axisBits.reduce((sum, bits) => sum + bits, 0));
  for (let cell = 0; cell < result.length; cell++) {
    const indices: number[] = [];
    let rest = cell;
    for (let axis = axisBits.length - 1; axis >= 0; axis--) {
      const size = 2 ** (axisBits[axis] as number);
      indices[axis] = rest % size;
      rest = Math.floor(rest / size);
    }
    let product: Ext = [1, 0, 0, 0, 0];
    for (const { vector, axes } of tables) {
      const index = axes.reduce(
        (at, axis) => at * 2 ** (axisBits[axis] as number) + (indices[axis] as number),
        0,
      );
      product = extMul(product, getExt(extensionOf(vector), index));
    }
    setExt(result, cell, product);
  }
  return ofExtension(result);
};

const scatterEq: ProverBackend['scatterEq'] = ({ ids, mask, point, rowBits }): Vector => {
  const values = baseOf(ids);
  const eq = eqTable(point);
  const real = maskCells(mask);
  const result = extVector(2 ** rowBits);
  for (let i = 0; i < eq.length; i++) {
    if (real[i] === 0) continue;
    const id = values[i] as number;
    setExt(result, id, extAdd(getExt(result, id), getExt(eq, i)));
  }
  return ofExtension(result);
};
