import { EngineError } from '../engine.ts';

export interface SamplingOptions {
  /** 0: the most likely token, always. */
  readonly temperature: number;
  /** In (0, 1]; 1 keeps all. */
  readonly topP: number;
  /** 0 keeps all. */
  readonly topK: number;
  readonly seed: bigint;
}

/** Picks a token from one row of logits. Equal logits are ordered by id, so that the pick is the same everywhere. */
export type Sampler = (logits: Float32Array) => number;

/** `mayPick` rules out tokens that are not text, such as those that open a turn. */
export function createSampler(options: SamplingOptions, mayPick: (id: number) => boolean): Sampler {
  if (options.temperature === 0) return (logits) => pickGreedy(logits, mayPick);
  const nextUniform = xoshiro128(options.seed);
  return (logits) => pickAtRandom(logits, mayPick, options, nextUniform());
}

function pickGreedy(logits: Float32Array, mayPick: (id: number) => boolean): number {
  let best = -1;
  let bestLogit = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (Number.isNaN(logit)) throw notANumber();
    if (logit > bestLogit && mayPick(id)) {
      best = id;
      bestLogit = logit;
    }
  }
  if (best < 0) throw notANumber();
  return best;
}

function pickAtRandom(
  logits: Float32Array,
  mayPick: (id: number) => boolean,
  { temperature, topP, topK }: SamplingOptions,
  uniform: number,
): number {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    if (Number.isNaN(logits[id])) throw notANumber();
    if (mayPick(id)) ids.push(id);
  }
  // Sorting is stable: equal logits stay in the order of their ids.
  ids.sort((a, b) => (logits[b] as number) - (logits[a] as number));
  if (topK > 0) ids.length = Math.min(ids.length, topK);
  const most = logits[ids[0] as number] as number;
  const weights = ids.map((id) => Math.exp(((logits[id] as number) - most) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0 && Number.isFinite(total))) throw notANumber();
  let kept = 0;
  let keptTotal = 0;
  while (kept < ids.length && (kept === 0 || keptTotal < topP * total))
    keptTotal += weights[kept++] as number;
  let left = uniform * keptTotal;
  for (let at = 0; at < kept; at++) {
    left -= weights[at] as number;
    if (left < 0) return ids[at] as number;
  }
  return ids[kept - 1] as number;
}

function notANumber(): EngineError {
  return new EngineError('E_ENGINE', 'the model computed no usable logits (not a number)');
}

/** xoshiro128** (Blackman, Vigna), seeded by SplitMix64; uniform in [0, 1) with 53 bits. Not for secrets. */
export function xoshiro128(seed: bigint): () => number {
  const state = new Uint32Array(4);
  let mix = BigInt.asUintN(64, seed);
  for (let i = 0; i < 4; i += 2) {
    mix = BigInt.asUintN(64, mix + 0x9e3779b97f4a7c15n);
    let z = mix;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    z ^= z >> 31n;
    state[i] = Number(z & 0xffffffffn);
    state[i + 1] = Number(z >> 32n);
  }
  const next32 = (): number => {
    const [s0, s1, s2, s3] = state as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    state[2] = s2 ^ s0;
    state[3] = s3 ^ s1;
    state[1] = s1 ^ (state[2] as number);
    state[0] = s0 ^ (state[3] as number);
    state[2] = (state[2] as number) ^ (s1 << 9);
    state[3] = rotateLeft(state[3] as number, 11);
    return result;
  };
  return () => ((next32() >>> 5) * 2 ** 26 + (next32() >>> 6)) / 2 ** 53;
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
