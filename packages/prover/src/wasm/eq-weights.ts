/**
 * Weights eq of the variables behind the one that a round is about, as the product of two tables: the last variables (at
 * most eight) in `low`, those before them in `high`. Binding a variable halves a table, since eq sums up to one.
 */
import { EXT_ONE, type Ext } from '@haca/primitives/zk';
import { blocksOf, type Engine, eqTableOf } from './engine.ts';

const LOW_BITS = 8;

export interface EqWeights {
  readonly low: () => number;
  readonly lowBlocks: () => number;
  readonly high: () => number;
  /** Entries of `high`: the units of a round. */
  readonly highLength: () => number;
  /** After the current variable is bound. */
  readonly shrink: () => void;
  readonly release: () => void;
}

/** `rest`: the point without its first coordinate. */
export function eqWeights(engine: Engine, rest: readonly Ext[]): EqWeights {
  const { kernels } = engine.pool;
  const lowBits = Math.min(LOW_BITS, rest.length);
  const low = eqTableOf(engine, rest.slice(rest.length - lowBits), EXT_ONE);
  const high = eqTableOf(engine, rest.slice(0, rest.length - lowBits), EXT_ONE);
  let lowLength = low.length;
  let highLength = high.length;
  return {
    low: () => low.address,
    lowBlocks: () => blocksOf(lowLength),
    high: () => high.address,
    highLength: () => highLength,
    shrink: () => {
      if (highLength > 1) {
        kernels.shrinkWeights(high.address, highLength);
        highLength /= 2;
      } else if (lowLength > 1) {
        kernels.shrinkWeights(low.address, lowLength);
        lowLength /= 2;
      }
    },
    release: () => {
      engine.release(low);
      engine.release(high);
    },
  };
}
