/** Sumchecks of the reference backend: all factors over F, one loop a round. */
import { UsageError } from '@haca/primitives';
import {
  EXT_ONE,
  EXT_ZERO,
  type Ext,
  type ExtVector,
  eqTable,
  extAdd,
  extMul,
  extSub,
  extVector,
  getExt,
} from '@haca/primitives/zk';
import type { ProductSumcheck, RowSumcheck, Sumcheck } from '../backend.ts';
import { addScaled, bindFirst, combineColumns, lift, maskCells, ofBase } from './vectors.ts';

/** Where a product is looked at: its variable is 0, 2 or "infinity", the leading coefficient. */
type Place = 'zero' | 'two' | 'infinity';

/** Values of the factors at cell i of the lower half. */
function valueAt(vector: ExtVector, i: number, place: Place): Ext {
  const low = getExt(vector, i);
  if (place === 'zero') return low;
  const rise = extSub(getExt(vector, i + vector.length / 2), low);
  return place === 'infinity' ? rise : extAdd(low, extAdd(rise, rise));
}

/** Runs rounds over vectors that are bound together; `message` sees them as they stand. */
export function boundTogether(
  vectors: ExtVector[],
  rounds: number,
  message: (vectors: readonly ExtVector[], round: number) => readonly Ext[],
): Sumcheck {
  let round = 0;
  return {
    rounds,
    round: () => {
      if (round === rounds) throw new UsageError(`round ${round} of ${rounds}`);
      return message(vectors, round);
    },
    bind: (challenge) => {
      if (round === rounds) throw new UsageError(`round ${round} of ${rounds}`);
      vectors.forEach((vector, i) => {
        vectors[i] = bindFirst(vector, challenge);
      });
      round++;
    },
    finals: () => {
      if (round !== rounds) throw new UsageError(`final values after ${round} of ${rounds} rounds`);
      return vectors.map((vector) => getExt(vector, 0));
    },
    release: () => {
      vectors.length = 0;
    },
  };
}

/** Σ over the lower half of eq · f(i); `eq` has one weight for each run of equal length. */
function weightedSum(half: number, eq: ExtVector | null, f: (i: number) => Ext): Ext {
  let sum = EXT_ZERO;
  for (let i = 0; i < half; i++) {
    const value = f(i);
    sum = extAdd(sum, eq === null ? value : extMul(getExt(eq, Math.floor((i * eq.length) / half)), value));
  }
  return sum;
}

export function productSumcheck({ eqPoint, format, a, c, mask }: ProductSumcheck): Sumcheck {
  const factors = [lift(a), ...(c === null ? [] : [lift(c)])];
  if (mask !== null) factors.push(lift(ofBase(maskCells(mask))));
  const rounds = Math.log2(a.length);
  if (factors.some(({ length }) => length !== a.length)) throw new UsageError('factors of different lengths');
  return boundTogether(factors, rounds, (vectors, round) => {
    const half = (vectors[0] as ExtVector).length / 2;
    const isEq = round < eqPoint.length;
    const eq = isEq ? eqTable(eqPoint.slice(round + 1)) : null;
    const degree = !isEq && format === 'SC3' ? 3 : 2;
    const product = (place: Place): Ext => {
      if (place === 'infinity' && vectors.length < degree) return EXT_ZERO;
      return weightedSum(half, eq, (i) =>
        vectors.reduce((sum: Ext, vector, k) => {
          // Of three factors in a round of degree 2 the mask does not depend on the variable.
          const at = place === 'infinity' && k >= degree ? 'zero' : place;
          return extMul(sum, valueAt(vector, i, at));
        }, EXT_ONE),
      );
    };
    return degree === 3
      ? [product('zero'), product('two'), product('infinity')]
      : [product('zero'), product('infinity')];
  });
}

/** p0·q1 + p1·q0 + lambda·q0·q1 at `point`; the vectors are p0, p1, q0, q1. */
export function fractionSumcheck(vectors: ExtVector[], lambda: Ext, point: readonly Ext[]): Sumcheck {
  return boundTogether(vectors, point.length, ([p0, p1, q0, q1], round) => {
    const eq = eqTable(point.slice(round + 1));
    const sum = (place: Place): Ext =>
      weightedSum(eq.length, eq, (i) => {
        const left = valueAt(q0 as ExtVector, i, place);
        const right = valueAt(q1 as ExtVector, i, place);
        const cross = extAdd(
          extMul(valueAt(p0 as ExtVector, i, place), right),
          extMul(valueAt(p1 as ExtVector, i, place), left),
        );
        return extAdd(cross, extMul(lambda, extMul(left, right)));
      });
    return [sum('zero'), sum('infinity')];
  });
}

export function rowSumcheck({ columnBits, groups }: RowSumcheck): Sumcheck {
  const vectors = groups.flatMap(({ columns, eqs }) => {
    const weights = extVector(2 ** columnBits);
    for (const { offset, point, weight } of eqs)
      addScaled(weights, offset, eqTable(point), 0, 2 ** point.length, weight);
    const combined = combineColumns(
      columns.map(({ column }) => column),
      columnBits,
      columns.map(({ weight }) => weight),
    );
    return [combined, weights];
  });
  return boundTogether(vectors, columnBits, (bound) => {
    const half = (bound[0] as ExtVector).length / 2;
    const sum = (place: Place): Ext => {
      let total = EXT_ZERO;
      for (let g = 0; g < bound.length; g += 2)
        total = extAdd(
          total,
          weightedSum(half, null, (i) =>
            extMul(valueAt(bound[g] as ExtVector, i, place), valueAt(bound[g + 1] as ExtVector, i, place)),
          ),
        );
      return total;
    };
    return [sum('zero'), sum('infinity')];
  });
}
