/** Commitments, folds and proof of work of the reference backend. */

import { UsageError } from '@haca/primitives';
import {
  capOf,
  codeword,
  codewordExt,
  EXT_BYTES,
  EXT_ZERO,
  type Ext,
  encodeExt,
  eqTable,
  extAdd,
  extMul,
  extVectorToList,
  getExt,
  leafHashes,
  merkleLevels,
  openPath,
  type ZkKernels,
} from '@haca/primitives/zk';
import type { ColumnsRequest, CommittedTree, Folding, Vector } from '../backend.ts';
import { bindFirst, columnCells, extensionOf } from './vectors.ts';

function treeOf(kernels: ZkKernels, rows: Uint8Array, leafBytes: number, capBits: number): CommittedTree {
  const levels = merkleLevels(kernels, leafHashes(kernels, rows, leafBytes, rows.length / leafBytes));
  return {
    cap: capOf(levels, capBits),
    leaf: (index) => rows.slice(index * leafBytes, (index + 1) * leafBytes),
    path: (index) => openPath(levels, index, capBits),
    release: () => {},
  };
}

export function commitColumns(
  kernels: ZkKernels,
  { columns, columnBits, blowupBits, capBits }: ColumnsRequest,
): CommittedTree {
  const count = columns.length;
  const rows = new Uint8Array(4 * count * 2 ** (columnBits + blowupBits));
  const view = new DataView(rows.buffer);
  columns.forEach((column, c) => {
    codeword(columnCells(column, columnBits), blowupBits).forEach((value, row) => {
      view.setUint32(4 * (row * count + c), value, true);
    });
  });
  return treeOf(kernels, rows, 4 * count, capBits);
}

/** EV1 rounds; the column is bound as they go. */
export function fold(kernels: ZkKernels, vector: Vector, point: readonly Ext[]): Folding {
  let column = extensionOf(vector);
  let round = 0;
  if (column.length !== 2 ** point.length) throw new UsageError('a point of another length');
  return {
    commit: (arityBits, blowupBits, capBits) => {
      const word = codewordExt(column, blowupBits);
      const arity = 2 ** arityBits;
      const leaves = word.length / arity;
      const rows = new Uint8Array(EXT_BYTES * word.length);
      for (let leaf = 0; leaf < leaves; leaf++)
        for (let k = 0; k < arity; k++)
          encodeExt(getExt(word, leaf + k * leaves), rows, EXT_BYTES * (leaf * arity + k));
      return treeOf(kernels, rows, EXT_BYTES * arity, capBits);
    },
    round: () => {
      const eq = eqTable(point.slice(round + 1));
      const side = (start: number): Ext => {
        let sum = EXT_ZERO;
        for (let i = 0; i < eq.length; i++)
          sum = extAdd(sum, extMul(getExt(eq, i), getExt(column, start + i)));
        return sum;
      };
      return [side(0), side(eq.length)];
    },
    bind: (challenge) => {
      column = bindFirst(column, challenge);
      round++;
    },
    values: () => extVectorToList(column),
    release: () => {},
  };
}

const GRIND_BATCH = 1024;

/** Tries nonces from 0 on. */
export function grind(kernels: ZkKernels, seed: Uint8Array, bits: number): Uint8Array {
  const messages = new Uint8Array(8 * GRIND_BATCH);
  const out = new Uint8Array(32 * GRIND_BATCH);
  const view = new DataView(messages.buffer);
  for (let from = 0; ; from += GRIND_BATCH) {
    for (let i = 0; i < GRIND_BATCH; i++) view.setBigUint64(8 * i, BigInt(from + i), true);
    kernels.hashMany({ key: seed, messages, messageBytes: 8, count: GRIND_BATCH, out });
    for (let i = 0; i < GRIND_BATCH; i++)
      if (leadingZeroBits(out.subarray(32 * i, 32 * i + 32)) >= bits) return messages.slice(8 * i, 8 * i + 8);
  }
}

function leadingZeroBits(digest: Uint8Array): number {
  const at = digest.findIndex((byte) => byte !== 0);
  return at < 0 ? 8 * digest.length : 8 * at + Math.clz32(digest[at] as number) - 24;
}
