/** The fraction tree of the reference backend: every level is kept until its sumcheck is over. */
import { UsageError } from '@haca/primitives';
import {
  EXT_DEGREE,
  type ExtVector,
  extAdd,
  extMul,
  extVector,
  getExt,
  neg,
  setExt,
} from '@haca/primitives/zk';
import type { FractionTree, LeafSegment } from '../backend.ts';
import { fractionSumcheck } from './sumchecks.ts';
import { accumulate, baseOf, maskCells, ofBase } from './vectors.ts';

interface Level {
  readonly p: ExtVector;
  readonly q: ExtVector;
}

export function fractionTree(treeBits: number, segments: readonly LeafSegment[]): FractionTree {
  if (treeBits < 1) throw new UsageError('a tree has at least two leaves');
  const levels: (Level | undefined)[] = [];
  levels[treeBits] = leavesOf(treeBits, segments);
  for (let level = treeBits - 1; level >= 1; level--) levels[level] = above(levels[level + 1] as Level);
  const { p, q } = levels[1] as Level;
  return {
    top: [getExt(p, 0), getExt(p, 1), getExt(q, 0), getExt(q, 1)],
    layer: (level, lambda, point) => {
      const below = levels[level + 1];
      if (below === undefined || point.length !== level) throw new UsageError(`no layer ${level}`);
      levels[level] = undefined;
      levels[level + 1] = undefined;
      return fractionSumcheck([...halves(below.p), ...halves(below.q)], lambda, point);
    },
    release: () => {
      levels.length = 0;
    },
  };
}

function leavesOf(treeBits: number, segments: readonly LeafSegment[]): Level {
  const leaves = { p: extVector(2 ** treeBits), q: extVector(2 ** treeBits) };
  leaves.q.data.fill(1, 0, leaves.q.length);
  for (const segment of segments) {
    writeNumerators(leaves.p, segment);
    writeDenominators(leaves.q, segment);
  }
  return leaves;
}

/** Numerators lie in the base field: plane 0. */
function writeNumerators(p: ExtVector, { bits, offset, numerator, mask }: LeafSegment): void {
  switch (numerator.kind) {
    case 'mask':
      if (mask === null) throw new UsageError('a segment without its mask');
      p.data.set(maskCells(mask), offset);
      return;
    case 'blocks':
      for (const block of numerator.blocks) {
        const size = 2 ** numerator.blockBits;
        p.data.fill(1, offset + block * size, offset + (block + 1) * size);
      }
      return;
    case 'negated': {
      const values = baseOf(numerator.vector);
      for (let i = 0; i < 2 ** bits; i++) p.data[offset + i] = neg(values[i] as number);
    }
  }
}

function writeDenominators(
  q: ExtVector,
  { bits, offset, mask, constant, terms, maskCoefficient }: LeafSegment,
): void {
  const size = 2 ** bits;
  for (let k = 0; k < EXT_DEGREE; k++)
    q.data.fill(constant[k] as number, k * q.length + offset, k * q.length + offset + size);
  for (const { coefficient, vector } of terms) accumulate(q, offset, vector, 0, size, coefficient);
  if (maskCoefficient === null) return;
  if (mask === null) throw new UsageError('a segment without its mask');
  accumulate(q, offset, ofBase(maskCells(mask)), 0, size, maskCoefficient);
}

function halves(vector: ExtVector): [ExtVector, ExtVector] {
  const half = vector.length / 2;
  const parts: [ExtVector, ExtVector] = [extVector(half), extVector(half)];
  parts.forEach((part, side) => {
    for (let k = 0; k < EXT_DEGREE; k++) {
      const from = k * vector.length + side * half;
      part.data.set(vector.data.subarray(from, from + half), k * half);
    }
  });
  return parts;
}

/** Sums of the fractions i and i + half. */
function above({ p, q }: Level): Level {
  const half = q.length / 2;
  const sums = { p: extVector(half), q: extVector(half) };
  for (let i = 0; i < half; i++) {
    const left = getExt(q, i);
    const right = getExt(q, i + half);
    setExt(sums.p, i, extAdd(extMul(getExt(p, i), right), extMul(getExt(p, i + half), left)));
    setExt(sums.q, i, extMul(left, right));
  }
  return sums;
}
