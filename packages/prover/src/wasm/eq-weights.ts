/**
 * Weights eq of the variables behind the one that a round is about, as the product of two tables: the last variables (at
 * most eight) in `low`, those before them in `high`. Binding a variable halves a table, since eq sums up to one.
 */
import { EXT_ONE, EXT_ZERO, type Ext } from '@haca/primitives/zk';
import { bitsOfLength, blocksOf, type Engine, type ExtBlocks, eqTableOf, filled } from './engine.ts';
import { gatherAdd } from './gathers.ts';

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

/** `rest`: the point without its first coordinate; `innerBits` variables behind it have weight one. */
export function eqWeights(engine: Engine, rest: readonly Ext[], innerBits = 0): EqWeights {
  const { kernels } = engine.pool;
  const lowBits = Math.min(LOW_BITS, rest.length + innerBits);
  const lowInner = Math.min(innerBits, lowBits);
  const cut = rest.length - (lowBits - lowInner);
  const low = repeated(engine, eqTableOf(engine, rest.slice(cut), EXT_ONE), lowInner);
  const high = repeated(engine, eqTableOf(engine, rest.slice(0, cut), EXT_ONE), innerBits - lowInner);
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

/** Every element 2^bits times; the table itself where bits is 0. */
function repeated(engine: Engine, table: ExtBlocks, bits: number): ExtBlocks {
  if (bits === 0) return table;
  const tableBits = bitsOfLength(table.length);
  const result = filled(engine, table.length * 2 ** bits, EXT_ZERO);
  const map = Array.from({ length: tableBits }, (_, bit) => bit);
  gatherAdd(engine, result, tableBits + bits, table, 1, map);
  engine.release(table);
  return result;
}
