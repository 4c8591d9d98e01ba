/** LogUp-GKR: leaves, levels upward, sumchecks downward. */
import { UsageError } from '@haca/primitives';
import { EXT_ONE, type Ext, extAdd, extMul, extScale, extSub, neg } from '@haca/primitives/zk';
import type { FractionTree, LeafSegment, Sumcheck } from '../backend.ts';
import {
  addIntegers,
  BLOCK_BYTES,
  baseOf,
  bindFirst,
  blocksOf,
  type Engine,
  type ExtBlocks,
  sumOfParts,
  TYPE_WORD,
  type WeightedIntegers,
  widthOf,
} from './engine.ts';
import { eqWeights } from './eq-weights.ts';
import { fillMask } from './masks.ts';

/** Above the leaves a layer's tables must have this many elements for the kernels that keep numerators as words. */
const LEAF_TABLE_MIN = 8;

interface Level {
  /** Blocks; of the leaves, words. */
  readonly p: number;
  readonly q: number;
  readonly areWords: boolean;
}

export function fractionTree(
  engine: Engine,
  treeBits: number,
  segments: readonly LeafSegment[],
): FractionTree {
  if (treeBits < 1) throw new UsageError('a tree has at least two leaves');
  const { heap } = engine.pool;
  const levels: (Level | undefined)[] = [];
  levels[treeBits] = leavesOf(engine, treeBits, segments);
  for (let level = treeBits - 1; level >= 1; level--) {
    levels[level] = above(engine, levels[level + 1] as Level, 2 ** level);
  }
  const drop = (level: number): void => {
    const known = levels[level];
    levels[level] = undefined;
    if (known === undefined) return;
    heap.free(known.p);
    heap.free(known.q);
  };
  return {
    top: topOf(engine, levels[1] as Level),
    layer: (level, lambda, point) => {
      const below = levels[level + 1];
      if (level < 1 || below === undefined || point.length !== level)
        throw new UsageError(`no layer ${level}`);
      drop(level);
      levels[level + 1] = undefined;
      return layerSumcheck(engine, below, lambda, point);
    },
    release: () => {
      for (let level = 1; level <= treeBits; level++) drop(level);
    },
  };
}

function topOf(engine: Engine, { p, q }: Level): [Ext, Ext, Ext, Ext] {
  const [ps, qs] = [p, q].map((address): ExtBlocks => ({ field: 'extension', length: 2, address })) as [
    ExtBlocks,
    ExtBlocks,
  ];
  return [engine.elementAt(ps, 0), engine.elementAt(ps, 1), engine.elementAt(qs, 0), engine.elementAt(qs, 1)];
}

function above(engine: Engine, { p, q, areWords }: Level, size: number): Level {
  const { pool } = engine;
  const pOut = engine.allocateBlocks(size).address;
  const qOut = engine.allocateBlocks(size).address;
  const kernel = areWords ? 'fractionLeaves' : 'fractionLevel';
  pool.run(kernel, blocksOf(size), (from, to) => [p, q, size, pOut, qOut, from, to]);
  return { p: pOut, q: qOut, areWords: false };
}

function leavesOf(engine: Engine, treeBits: number, segments: readonly LeafSegment[]): Level {
  const { heap, kernels } = engine.pool;
  const size = 2 ** treeBits;
  const q = engine.allocateBlocks(size);
  fillGaps(engine, size, segments, q.address);
  const p = heap.allocate(4 * Math.max(4, size));
  heap.words().fill(0, p / 4, p / 4 + size);
  for (const segment of segments) writeSegment(engine, segment, p, q.address);
  if (size / 2 >= LEAF_TABLE_MIN) return { p, q: q.address, areWords: true };
  const numerators = engine.allocateBlocks(size);
  kernels.importBase(TYPE_WORD, p, size, numerators.address);
  heap.free(p);
  return { p: numerators.address, q: q.address, areWords: false };
}

/** Ones where no segment lies, whole blocks: a segment that shares one with a gap is written afterwards. */
function fillGaps(engine: Engine, size: number, segments: readonly LeafSegment[], q: number): void {
  const at = engine.writeElements([EXT_ONE]);
  const fill = (from: number, to: number): void => {
    if (from >= to) return;
    const first = Math.floor(from / 4);
    const start = q + BLOCK_BYTES * first;
    engine.pool.run('fillVector', blocksOf(to) - first, (begin, end) => [at, start, begin, end]);
  };
  let filledTo = 0;
  for (const { offset, bits } of [...segments].sort((a, b) => a.offset - b.offset)) {
    fill(filledTo, offset);
    filledTo = offset + 2 ** bits;
  }
  fill(filledTo, Math.max(4, size));
}

function writeSegment(engine: Engine, segment: LeafSegment, p: number, q: number): void {
  const { bits, offset, mask, constant, terms, maskCoefficient } = segment;
  const { heap, kernels } = engine.pool;
  const size = 2 ** bits;
  for (const { vector } of terms) {
    if (vector.length < size) throw new UsageError('a vector shorter than its segment');
  }
  writeNumerators(engine, segment, p / 4 + offset);
  const denominators: WeightedIntegers[] = terms.map(({ coefficient, vector }) => {
    const { type, address } = baseOf(vector);
    return { type, address, weight: coefficient };
  });
  let cells: number | undefined;
  if (maskCoefficient !== null) {
    if (mask === null) throw new UsageError('a segment without its mask');
    cells = heap.allocate(4 * Math.max(4, size));
    fillMask(heap.words(), cells / 4, mask);
    denominators.push({ type: TYPE_WORD, address: cells, weight: maskCoefficient });
  }
  if (size >= 4) {
    addIntegers(engine, q + 20 * offset, size, denominators, constant);
  } else {
    for (let i = 0; i < size; i++)
      writeDenominator(engine, q, offset + i, i, constant, denominators, kernels);
  }
  if (cells !== undefined) heap.free(cells);
}

/** One denominator of a segment that is shorter than a block. */
function writeDenominator(
  { pool: { heap } }: Engine,
  q: number,
  index: number,
  cell: number,
  constant: Ext,
  terms: readonly WeightedIntegers[],
  kernels: Engine['pool']['kernels'],
): void {
  const word = heap.allocate(4);
  let sum = constant;
  for (const { type, address, weight } of terms) {
    kernels.widen(type, address + cell * widthOf(type), 1, word);
    sum = extAdd(sum, extScale(weight, heap.words()[word / 4] as number));
  }
  const words = heap.words();
  const at = q / 4 + 20 * (index >>> 2) + (index & 3);
  for (let k = 0; k < 5; k++) words[at + 4 * k] = sum[k] as number;
  heap.free(word);
}

function writeNumerators({ pool: { heap, kernels } }: Engine, segment: LeafSegment, at: number): void {
  const { bits, numerator, mask } = segment;
  const words = heap.words();
  switch (numerator.kind) {
    case 'mask':
      if (mask === null) throw new UsageError('a segment without its mask');
      fillMask(words, at, mask);
      return;
    case 'blocks': {
      const size = 2 ** numerator.blockBits;
      for (const block of numerator.blocks) words.fill(1, at + block * size, at + (block + 1) * size);
      return;
    }
    case 'negated': {
      const { type, address, length } = baseOf(numerator.vector);
      if (length < 2 ** bits) throw new UsageError('multiplicities shorter than their segment');
      kernels.widen(type, address, 2 ** bits, 4 * at);
      for (let i = at; i < at + 2 ** bits; i++) words[i] = neg(words[i] as number);
    }
  }
}

/** The tables of a layer, each of `size` elements; `s1` is p1 + lambda q1 once the first round is over. */
interface LayerTables {
  p0: number;
  q0: number;
  s1: number;
  q1: number;
  size: number;
  readonly owned: number[];
}

function tablesOf(engine: Engine, { p, q, areWords }: Level, size: number): LayerTables {
  const { heap, kernels } = engine.pool;
  if (size >= 4) {
    return {
      p0: p,
      q0: q,
      s1: p + (areWords ? 4 : 20) * size,
      q1: q + 20 * size,
      size,
      owned: [p, q],
    };
  }
  // Halves of one block each get blocks of their own.
  const halves = heap.allocate(320);
  kernels.splitBlock(p, 2 * size, halves);
  kernels.splitBlock(q, 2 * size, halves + 160);
  heap.free(p);
  heap.free(q);
  return { p0: halves, s1: halves + 80, q0: halves + 160, q1: halves + 240, size, owned: [halves] };
}

function layerSumcheck(engine: Engine, below: Level, lambda: Ext, point: readonly Ext[]): Sumcheck {
  const { pool } = engine;
  const { heap } = pool;
  const rounds = point.length;
  const tables = tablesOf(engine, below, 2 ** rounds);
  const weights = eqWeights(engine, point.slice(1));
  let areWords = below.areWords;
  let hasLambda = false;
  let pending: Ext | undefined;
  let round = 0;

  /** Arguments behind the tables that all rounds share. */
  const rangeArgs = (from: number, to: number, thread: number): readonly number[] => [
    ...[weights.low(), weights.lowBlocks(), weights.high(), from, to],
    pool.resultsOf(thread),
  ];

  function firstRoundOfWords(): readonly Ext[] {
    const { p0, q0, s1, q1, size } = tables;
    const parts = pool.run(
      'leavesFirstRound',
      weights.highLength(),
      (from, to, thread) => [p0, q0, s1, q1, size, ...rangeArgs(from, to, thread)],
      blocksOf(size),
    );
    const [zero, infinity, zeroQ, infinityQ] = sumOfParts(engine, parts, 4) as [Ext, Ext, Ext, Ext];
    return [extAdd(zero, extMul(lambda, zeroQ)), extAdd(infinity, extMul(lambda, infinityQ))];
  }

  /** Binds tables that still have words as numerators. */
  function bindWords(challenge: Ext): void {
    const { p0, q0, s1, q1, size } = tables;
    const p0Out = engine.allocateBlocks(size / 2).address;
    const s1Out = engine.allocateBlocks(size / 2).address;
    const at = engine.writeElements([challenge, lambda]);
    pool.run('leavesFold', blocksOf(size / 2), (from, to) => [
      ...[p0, q0, s1, q1, size, at, at + 20, p0Out, s1Out, from, to],
    ]);
    heap.free(below.p);
    tables.owned.splice(tables.owned.indexOf(below.p), 1);
    tables.owned.push(p0Out, s1Out);
    tables.p0 = p0Out;
    tables.s1 = s1Out;
    tables.size /= 2;
    areWords = false;
    hasLambda = true;
  }

  function addLambda(): void {
    const at = engine.writeElements([lambda]);
    const { s1, q1, size } = tables;
    pool.run('combineNumerators', blocksOf(size), (from, to) => [s1, q1, at, from, to]);
    hasLambda = true;
  }

  function applyPending(): void {
    if (pending === undefined) return;
    const challenge = pending;
    pending = undefined;
    if (areWords) {
      bindWords(challenge);
      return;
    }
    if (!hasLambda) addLambda();
    const { p0, q0, s1, q1, size } = tables;
    for (const table of [p0, q0, s1, q1]) bindFirst(engine, table, size, challenge);
    tables.size /= 2;
  }

  function plainRound(
    kernel: 'layerRound' | 'layerFirstRound' | 'layerFoldRound',
    element: Ext | undefined,
  ): Ext[] {
    const { p0, q0, s1, q1, size } = tables;
    const scalar = element === undefined ? [] : [engine.writeElements([element])];
    const parts = pool.run(
      kernel,
      weights.highLength(),
      (from, to, thread) => [p0, q0, s1, q1, size, ...scalar, ...rangeArgs(from, to, thread)],
      blocksOf(size),
    );
    return sumOfParts(engine, parts, 2);
  }

  function message(): readonly Ext[] {
    if (areWords && pending === undefined) return firstRoundOfWords();
    if (pending !== undefined && !areWords && hasLambda && tables.size >= 16) {
      const challenge = pending;
      pending = undefined;
      const sums = plainRound('layerFoldRound', challenge);
      tables.size /= 2;
      return sums;
    }
    applyPending();
    if (hasLambda) return plainRound('layerRound', undefined);
    if (tables.size >= 8) {
      hasLambda = true;
      return plainRound('layerFirstRound', lambda);
    }
    addLambda();
    return plainRound('layerRound', undefined);
  }

  function finals(): readonly Ext[] {
    applyPending();
    if (!hasLambda && !areWords) addLambda();
    const [p0, s1, q0, q1] = [tables.p0, tables.s1, tables.q0, tables.q1].map((address) =>
      engine.elementAt({ field: 'extension', length: 1, address }, 0),
    ) as [Ext, Ext, Ext, Ext];
    return [p0, extSub(s1, extMul(lambda, q1)), q0, q1];
  }

  return {
    rounds,
    round: () => {
      if (round === rounds) throw new UsageError(`round ${round} of ${rounds}`);
      return message();
    },
    bind: (challenge) => {
      if (round === rounds) throw new UsageError(`round ${round} of ${rounds}`);
      applyPending();
      pending = challenge;
      weights.shrink();
      round++;
    },
    finals: () => {
      if (round !== rounds) throw new UsageError(`final values after ${round} of ${rounds} rounds`);
      return finals();
    },
    release: () => {
      for (const address of tables.owned) heap.free(address);
      tables.owned.length = 0;
      weights.release();
    },
  };
}
