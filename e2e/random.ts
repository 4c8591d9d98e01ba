/** A small seeded generator (mulberry32): one seed, one run. */
export interface RandomStream {
  /** An integer of 0 to `bound - 1`. */
  readonly below: (bound: number) => number;
}

export function randomStream(seed: number): RandomStream {
  let state = seed >>> 0;
  return {
    below: (bound) => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
    },
  };
}
