/** Sumchecks over products of tables and over the rows of the committed columns. */
import { UsageError } from '@haca/primitives';
import { EXT_ONE, EXT_ZERO, type Ext, eqPoint, extAdd, extMul, extSub } from '@haca/primitives/zk';
import type { ProductSumcheck, RowSumcheck, Sumcheck } from '../backend.ts';
import { combineColumns } from './columns.ts';
import {
  bindFirst,
  bitsOfLength,
  blocksOf,
  copied,
  type Engine,
  type ExtBlocks,
  eqTableOf,
  filled,
  lifted,
  sumOfParts,
} from './engine.ts';
import { type EqWeights, eqWeights } from './eq-weights.ts';
import { maskVector } from './masks.ts';

/** Tables of equal length whose first variable is bound together, in place. */
interface BoundTables {
  readonly tables: ExtBlocks[];
  length: number;
}

function bindAll(engine: Engine, bound: BoundTables, challenge: Ext): void {
  for (const { address } of bound.tables) bindFirst(engine, address, bound.length, challenge);
  bound.length /= 2;
}

function checkRound(round: number, rounds: number): void {
  if (round >= rounds) throw new UsageError(`round ${round} of ${rounds}`);
}

export function productRoundOf(engine: Engine, a: number, b: number, length: number): Ext[] {
  const parts = engine.pool.run('productRound', blocksOf(length / 2), (from, to, thread) => [
    ...[a, b, length, from, to],
    engine.pool.resultsOf(thread),
  ]);
  return sumOfParts(engine, parts, 2);
}

/** The two sums of a round with weights eq, of one table or of a product of two. */
export function weightedRoundOf(
  engine: Engine,
  tables: readonly [number] | readonly [number, number],
  length: number,
  weights: EqWeights,
): Ext[] {
  const kernel = tables.length === 1 ? 'weightedRound' : 'weightedProductRound';
  const parts = engine.pool.run(
    kernel,
    weights.highLength(),
    (from, to, thread) => [
      ...tables,
      ...[length, weights.low(), weights.lowBlocks(), weights.high(), from, to],
      engine.pool.resultsOf(thread),
    ],
    blocksOf(length / 2),
  );
  return sumOfParts(engine, parts, 2);
}

export function productSumcheck(engine: Engine, request: ProductSumcheck): Sumcheck {
  const { eqPoint, format, a, c, mask } = request;
  const rounds = bitsOfLength(a.length);
  // Vectors over F are consumed: bound in place and released with the sumcheck. A square needs a second copy.
  const factors = [lifted(engine, a)];
  if (c !== null) factors.push(c === a ? copied(engine, factors[0] as ExtBlocks) : lifted(engine, c));
  if (mask !== null) factors.push(maskVector(engine, mask));
  if (factors.some(({ length }) => length !== a.length) || eqPoint.length > rounds) {
    throw new UsageError('factors of different lengths');
  }
  const weights = eqWeights(engine, eqPoint.slice(1), eqPoint.length === 0 ? 0 : rounds - eqPoint.length);
  const bound: BoundTables = { tables: [...factors], length: a.length };
  // Where a round has degree 2 and there are three factors, the mask does not depend on its variable: it joins the first.
  const [first, second, third] = factors;
  let masked = third === undefined || first === undefined ? undefined : multiplied(engine, first, third);
  if (masked !== undefined) bound.tables.push(masked);
  let ones: ExtBlocks | undefined;
  let round = 0;

  const onesVector = (): ExtBlocks => {
    ones ??= filled(engine, bound.length, EXT_ONE);
    return ones;
  };

  function message(): readonly Ext[] {
    const { length } = bound;
    const a = (masked ?? (first as ExtBlocks)).address;
    if (round < eqPoint.length) {
      if (second === undefined) {
        const [zero] = weightedRoundOf(engine, [a], length, weights);
        return [zero as Ext, EXT_ZERO];
      }
      return weightedRoundOf(engine, [a, second.address], length, weights);
    }
    if (format === 'SC2') return productRoundOf(engine, a, (second ?? onesVector()).address, length);
    const tables = [first as ExtBlocks, second ?? onesVector(), third ?? onesVector()];
    const parts = engine.pool.run('tripleRound', blocksOf(length / 2), (from, to, thread) => [
      ...tables.map(({ address }) => address),
      ...[length, from, to],
      engine.pool.resultsOf(thread),
    ]);
    return sumOfParts(engine, parts, 3);
  }

  return {
    rounds,
    round: () => {
      checkRound(round, rounds);
      return message();
    },
    bind: (challenge) => {
      checkRound(round, rounds);
      bindAll(engine, bound, challenge);
      round++;
      if (round < eqPoint.length) weights.shrink();
      if (round === eqPoint.length && format === 'SC3' && masked !== undefined) {
        bound.tables.pop();
        engine.release(masked);
        masked = undefined;
      }
    },
    finals: () => {
      if (round !== rounds) throw new UsageError(`final values after ${round} of ${rounds} rounds`);
      return factors.map((factor) => engine.elementAt(factor, 0));
    },
    release: () => {
      for (const table of bound.tables) engine.release(table);
      bound.tables.length = 0;
      if (ones !== undefined) engine.release(ones);
      ones = undefined;
      weights.release();
    },
  };
}

function multiplied(engine: Engine, a: ExtBlocks, b: ExtBlocks): ExtBlocks {
  const product = engine.allocateBlocks(a.length);
  engine.pool.run('multiplyVectors', blocksOf(a.length), (from, to) => [
    ...[a.address, b.address, product.address, from, to],
  ]);
  return product;
}

/** One factor of a row sumcheck's term, in place, and the other: a table, or eq weights that are never written out. */
interface RowGroup {
  readonly columns: ExtBlocks;
  readonly message: (length: number) => readonly Ext[];
  readonly bind: (length: number, challenge: Ext) => void;
  /** The second factor at the point of all challenges. */
  readonly final: () => Ext;
  readonly release: () => void;
}

export function rowSumcheck(engine: Engine, { columnBits, groups }: RowSumcheck): Sumcheck {
  let length = 2 ** columnBits;
  const terms = groups.map(({ columns, eqs }) => {
    const sum = combineColumns(
      engine,
      columns.map(({ column }) => column),
      columnBits,
      columns.map(({ weight }) => weight),
    );
    const [only] = eqs;
    return eqs.length === 1 && only !== undefined && only.point.length === columnBits
      ? weightedGroup(engine, sum, only.point, only.weight)
      : tableGroup(engine, sum, weightsOfGroup(engine, length, eqs));
  });
  let round = 0;
  return {
    rounds: columnBits,
    round: () => {
      checkRound(round, columnBits);
      let message: readonly Ext[] = [EXT_ZERO, EXT_ZERO];
      for (const term of terms) {
        const part = term.message(length);
        message = message.map((element, i) => extAdd(element, part[i] as Ext));
      }
      return message;
    },
    bind: (challenge) => {
      checkRound(round, columnBits);
      for (const term of terms) term.bind(length, challenge);
      length /= 2;
      round++;
    },
    finals: () => {
      if (round !== columnBits) throw new UsageError(`final values after ${round} of ${columnBits} rounds`);
      return terms.flatMap((term) => [engine.elementAt(term.columns, 0), term.final()]);
    },
    release: () => {
      for (const term of terms) term.release();
      terms.length = 0;
    },
  };
}

function tableGroup(engine: Engine, columns: ExtBlocks, table: ExtBlocks): RowGroup {
  return {
    columns,
    message: (length) => productRoundOf(engine, columns.address, table.address, length),
    bind: (length, challenge) => {
      bindFirst(engine, columns.address, length, challenge);
      bindFirst(engine, table.address, length, challenge);
    },
    final: () => engine.elementAt(table, 0),
    release: () => {
      engine.release(columns);
      engine.release(table);
    },
  };
}

/**
 * The second factor is weight * eq(point, .). In a round it is a line times weights of the variables behind: with t(0) and
 * t(1) the sums with those weights, the message is the line times t.
 */
function weightedGroup(engine: Engine, columns: ExtBlocks, point: readonly Ext[], weight: Ext): RowGroup {
  const weights = eqWeights(engine, point.slice(1));
  let bound = weight;
  let round = 0;
  return {
    columns,
    message: (length) => {
      const [zero, one] = weightedRoundOf(engine, [columns.address], length, weights) as [Ext, Ext];
      const r = point[round] as Ext;
      const atZero = extMul(bound, extSub(EXT_ONE, r));
      const slope = extSub(extMul(bound, r), atZero);
      return [extMul(atZero, zero), extMul(slope, extSub(one, zero))];
    },
    bind: (length, challenge) => {
      bindFirst(engine, columns.address, length, challenge);
      weights.shrink();
      const r = point[round] as Ext;
      bound = extMul(bound, eqPoint([r], [challenge]));
      round++;
    },
    final: () => bound,
    release: () => {
      engine.release(columns);
      weights.release();
    },
  };
}

/** The sum of weight * eq(point, .) in the cells from offset on. */
function weightsOfGroup(
  engine: Engine,
  length: number,
  eqs: RowSumcheck['groups'][number]['eqs'],
): ExtBlocks {
  const sum = filled(engine, length, EXT_ZERO);
  for (const { offset, point, weight } of eqs) {
    const table = eqTableOf(engine, point, weight);
    addAt(engine, sum, offset, table);
    engine.release(table);
  }
  return sum;
}

/** target[offset + i] += table[i]; `offset` is a multiple of the table's length, a power of two. */
export function addAt(engine: Engine, target: ExtBlocks, offset: number, table: ExtBlocks): void {
  const { heap, kernels } = engine.pool;
  if (table.length >= 4) {
    const at = target.address + 20 * offset;
    engine.pool.run('addVectors', table.length / 4, (from, to) => [at, table.address, at, from, to]);
    return;
  }
  // Shorter than a block: moved to its lanes first.
  const moved = engine.allocateBlocks(4);
  const words = heap.words();
  words.fill(0, moved.address / 4, moved.address / 4 + 20);
  for (let k = 0; k < 5; k++) {
    for (let i = 0; i < table.length; i++) {
      const lane = (offset & 3) + i;
      words[moved.address / 4 + 4 * k + lane] = words[table.address / 4 + 4 * k + i] as number;
    }
  }
  const at = target.address + 80 * (offset >>> 2);
  kernels.addVectors(at, moved.address, at, 0, 1);
  engine.release(moved);
}
