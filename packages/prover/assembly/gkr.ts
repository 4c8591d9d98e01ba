/**
 * LogUp-GKR: a tree of fractions p/q. Level j has 2^j nodes; node i is the sum of nodes i and i + 2^j of level j + 1, so
 * the two halves of a level's arrays are the tables p0, p1 and q0, q1 of the layer above it.
 *
 * A layer proves the sum over x of eq(r, x) (p0 q1 + p1 q0 + lambda q0 q1)(x). With s1 = p1 + lambda q1 this is
 * p0 q1 + q0 s1: two products and one reduction. s1 takes the place of p1 in the first round. Weights eq of the variables
 * still unbound are never a table of full size: weight x = high * low size + low is eqHigh[high] * eqLow[low].
 */
import { loadFour, WORD } from './base';
import {
  addBlocks,
  clearAccumulator,
  difference,
  finish,
  finishFactor,
  foldBlocks,
  multiply,
  multiplyAdd,
  multiplyBase,
  prepareScalar,
  scale,
  splatElement,
  sumLanes,
  finishPlus,
} from './ext';
import { addMod, BLOCK, inverseOfP, modulus, reduce, rounding, lowDoubles, highDoubles } from './field';
import { scratch } from './scratch';
import { splitBlock } from './vector';

// Scratch: totals, weights, sums at 0 and at infinity, work.
const TOTALS: usize = 0;
const SPLAT: usize = 512;
const SUMS: usize = 640;
const WORK: usize = 2048;
const SPLIT: usize = 8192;
const SCALAR_AT: usize = 12288;

/** p = p0 q1 + p1 q0 and q = q0 q1 for blocks `from` to `to` of a level of `size` nodes. */
export function fractionLevel(
  p: usize,
  q: usize,
  size: usize,
  pOut: usize,
  qOut: usize,
  from: usize,
  to: usize,
): void {
  const work = scratch() + WORK;
  let p1 = p + size * 20;
  let q1 = q + size * 20;
  if (size < 4) {
    const copies = scratch() + SPLIT;
    splitBlock(p, 2 * size, copies);
    splitBlock(q, 2 * size, copies + 160);
    p = copies;
    p1 = copies + 80;
    q = copies + 160;
    q1 = copies + 240;
  }
  for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) {
    multiply(work, p + at, q1 + at);
    multiplyAdd(work, q + at, p1 + at);
    finish(work, pOut + at);
    multiply(work, q + at, q1 + at);
    finish(work, qOut + at);
  }
}

/** As `fractionLevel` above the leaves, whose numerators are residues of the base field. `size` is a multiple of 4. */
export function fractionLeaves(
  p: usize,
  q: usize,
  size: usize,
  pOut: usize,
  qOut: usize,
  from: usize,
  to: usize,
): void {
  const work = scratch() + WORK;
  const q1 = q + size * 20;
  for (let block = from; block < to; block++) {
    const at = block * BLOCK;
    multiplyBase(work, v128.load(p + block * 16), q1 + at, true);
    multiplyBase(work, v128.load(p + block * 16 + size * 4), q + at, false);
    finish(work, pOut + at);
    multiply(work, q + at, q1 + at);
    finish(work, qOut + at);
  }
}

/** table[i] += table[i + half]: weights eq of all variables become those of all but the first. */
export function shrinkWeights(table: usize, length: usize): void {
  if (length <= 4) {
    const copies = scratch() + SPLIT;
    splitBlock(table, length, copies);
    addBlocks(copies, copies + 80, table);
    return;
  }
  const half = length * 10;
  for (let at = table; at < table + half; at += BLOCK) addBlocks(at, at + half, at);
}

/** Adds E * g(0) and E * g(infinity) of one block to the two sums; `low`, `high`: p0, q0, s1, q1 in the halves. */
@inline
function evaluate(
  weight: usize,
  p0: usize,
  q0: usize,
  s1: usize,
  q1: usize,
  p0High: usize,
  q0High: usize,
  s1High: usize,
  q1High: usize,
  sums: usize,
  work: usize,
): void {
  const g = work + 240;
  const dp = work + 320;
  const dq = work + 400;
  const ds = work + 480;
  const dr = work + 560;
  multiply(work, p0, q1);
  multiplyAdd(work, q0, s1);
  finishFactor(work, g);
  multiplyAdd(sums, weight, g);
  difference(p0High, p0, dp);
  difference(q1High, q1, dr);
  multiply(work, dp, dr);
  difference(q0High, q0, dq);
  difference(s1High, s1, ds);
  multiplyAdd(work, dq, ds);
  finishFactor(work, g);
  multiplyAdd(sums + 240, weight, g);
}

/** totals[k] += eqHigh[high] * sums[k], and clears the sums. */
export function addWeighted(eqHigh: usize, high: usize, count: usize): void {
  const base = scratch();
  const work = base + WORK;
  splatElement(eqHigh, high, base + SPLAT);
  for (let k: usize = 0; k < count; k++) {
    const sum = base + SUMS + 240 * k;
    finish(sum, work);
    clearAccumulator(sum);
    multiply(work + 80, work, base + SPLAT);
    finish(work + 80, work);
    addBlocks(base + TOTALS + 80 * k, work, base + TOTALS + 80 * k);
  }
}

export function clearSums(count: usize): void {
  memory.fill(scratch() + TOTALS, 0, 80 * count);
  memory.fill(scratch() + SUMS, 0, 240 * count);
}

export function storeTotals(count: usize, out: usize): void {
  for (let k: usize = 0; k < count; k++) sumLanes(scratch() + TOTALS + 80 * k, out + 20 * k);
}

/** s1 = p1 + lambda q1 in place, for blocks `from` to `to` of a layer's tables. */
export function combineNumerators(p1: usize, q1: usize, lambda: usize, from: usize, to: usize): void {
  const scalar = scratch() + SCALAR_AT;
  const work = scratch() + WORK;
  prepareScalar(lambda, scalar);
  for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) {
    scale(work, q1 + at, scalar);
    finishPlus(work, p1 + at, p1 + at);
  }
}

/**
 * A round of a layer: the sums over the unbound variables but the first of eq * g, with the first 0 and "at infinity",
 * as two elements at `out`, for `high` from `from` to `to`. Tables of `size` elements. Not of layers above the leaves.
 */
export function layerRound(
  p0: usize,
  q0: usize,
  s1: usize,
  q1: usize,
  size: usize,
  eqLow: usize,
  lowBlocks: usize,
  eqHigh: usize,
  from: usize,
  to: usize,
  out: usize,
): void {
  const base = scratch();
  const sums = base + SUMS;
  const work = base + WORK;
  let half = size * 10;
  if (size <= 4) {
    const copies = base + SPLIT;
    splitBlock(p0, size, copies);
    splitBlock(q0, size, copies + 160);
    splitBlock(s1, size, copies + 320);
    splitBlock(q1, size, copies + 480);
    p0 = copies;
    q0 = copies + 160;
    s1 = copies + 320;
    q1 = copies + 480;
    half = BLOCK;
  }
  clearSums(2);
  for (let high = from; high < to; high++) {
    let at = high * lowBlocks * BLOCK;
    for (let low: usize = 0; low < lowBlocks * BLOCK; low += BLOCK, at += BLOCK) {
      const upper = at + half;
      evaluate(
        eqLow + low,
        p0 + at,
        q0 + at,
        s1 + at,
        q1 + at,
        p0 + upper,
        q0 + upper,
        s1 + upper,
        q1 + upper,
        sums,
        work,
      );
    }
    addWeighted(eqHigh, high, 2);
  }
  storeTotals(2, out);
}

/** First makes s1 of p1 in place (see `combineNumerators`), then as `layerRound`. `size` is at least 8. */
export function layerFirstRound(
  p0: usize,
  q0: usize,
  p1: usize,
  q1: usize,
  size: usize,
  lambda: usize,
  eqLow: usize,
  lowBlocks: usize,
  eqHigh: usize,
  from: usize,
  to: usize,
  out: usize,
): void {
  const base = scratch();
  const sums = base + SUMS;
  const work = base + WORK;
  const scalar = base + SCALAR_AT;
  const half = size * 10;
  prepareScalar(lambda, scalar);
  clearSums(2);
  for (let high = from; high < to; high++) {
    let at = high * lowBlocks * BLOCK;
    for (let low: usize = 0; low < lowBlocks * BLOCK; low += BLOCK, at += BLOCK) {
      const upper = at + half;
      scale(work, q1 + at, scalar);
      finishPlus(work, p1 + at, p1 + at);
      scale(work, q1 + upper, scalar);
      finishPlus(work, p1 + upper, p1 + upper);
      evaluate(
        eqLow + low,
        p0 + at,
        q0 + at,
        p1 + at,
        q1 + at,
        p0 + upper,
        q0 + upper,
        p1 + upper,
        q1 + upper,
        sums,
        work,
      );
    }
    addWeighted(eqHigh, high, 2);
  }
  storeTotals(2, out);
}

@inline
function foldAt(table: usize, at: usize, half: usize, scalar: usize, work: usize): void {
  foldBlocks(table + at, table + at + half, scalar, table + at, work);
}

/**
 * Binds the first variable of the four tables of `size` elements to `element`, in place, and evaluates the round of the
 * tables of half the size (`layerRound`) in the same pass. `size` is at least 16.
 */
export function layerFoldRound(
  p0: usize,
  q0: usize,
  s1: usize,
  q1: usize,
  size: usize,
  element: usize,
  eqLow: usize,
  lowBlocks: usize,
  eqHigh: usize,
  from: usize,
  to: usize,
  out: usize,
): void {
  const base = scratch();
  const sums = base + SUMS;
  const work = base + WORK;
  const scalar = base + SCALAR_AT;
  const half = size * 10;
  const quarter = size * 5;
  prepareScalar(element, scalar);
  clearSums(2);
  for (let high = from; high < to; high++) {
    let at = high * lowBlocks * BLOCK;
    for (let low: usize = 0; low < lowBlocks * BLOCK; low += BLOCK, at += BLOCK) {
      const upper = at + quarter;
      foldAt(p0, at, half, scalar, work);
      foldAt(q0, at, half, scalar, work);
      foldAt(s1, at, half, scalar, work);
      foldAt(q1, at, half, scalar, work);
      foldAt(p0, upper, half, scalar, work);
      foldAt(q0, upper, half, scalar, work);
      foldAt(s1, upper, half, scalar, work);
      foldAt(q1, upper, half, scalar, work);
      evaluate(
        eqLow + low,
        p0 + at,
        q0 + at,
        s1 + at,
        q1 + at,
        p0 + upper,
        q0 + upper,
        s1 + upper,
        q1 + upper,
        sums,
        work,
      );
    }
    addWeighted(eqHigh, high, 2);
  }
  storeTotals(2, out);
}

/**
 * The first round of the layer above the leaves, whose numerators are residues of the base field: four elements at `out`,
 * the sums of eq (p0 q1 + p1 q0) at 0 and at infinity, then those of eq q0 q1. `size` is at least 8.
 */
export function leavesFirstRound(
  p0: usize,
  q0: usize,
  p1: usize,
  q1: usize,
  size: usize,
  eqLow: usize,
  lowBlocks: usize,
  eqHigh: usize,
  from: usize,
  to: usize,
  out: usize,
): void {
  const base = scratch();
  const sums = base + SUMS;
  const work = base + WORK;
  const g = work + 240;
  const d0 = work + 320;
  const d1 = work + 400;
  const half = size * 10;
  const halfWords = size * 2;
  clearSums(4);
  for (let high = from; high < to; high++) {
    let block = high * lowBlocks;
    for (let low: usize = 0; low < lowBlocks * BLOCK; low += BLOCK, block++) {
      const at = block * BLOCK;
      const word = block * 16;
      const weight = eqLow + low;
      const a = v128.load(p0 + word);
      const b = v128.load(p1 + word);
      multiplyBase(work, a, q1 + at, true);
      multiplyBase(work, b, q0 + at, false);
      finishFactor(work, g);
      multiplyAdd(sums, weight, g);
      multiply(work, q0 + at, q1 + at);
      finishFactor(work, g);
      multiplyAdd(sums + 480, weight, g);
      difference(q0 + at + half, q0 + at, d0);
      difference(q1 + at + half, q1 + at, d1);
      multiplyBase(work, i32x4.sub(v128.load(p0 + word + halfWords), a), d1, true);
      multiplyBase(work, i32x4.sub(v128.load(p1 + word + halfWords), b), d0, false);
      finishFactor(work, g);
      multiplyAdd(sums + 240, weight, g);
      multiply(work, d0, d1);
      finishFactor(work, g);
      multiplyAdd(sums + 720, weight, g);
    }
    addWeighted(eqHigh, high, 4);
  }
  storeTotals(4, out);
}

@inline
function foldWords(p: usize, half: usize, scalar: usize, out: usize): void {
  const modulo = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  const a = v128.load(p);
  const d = i32x4.sub(v128.load(p + half), a);
  const low = lowDoubles(d);
  const high = highDoubles(d);
  for (let k: usize = 0; k < 80; k += 16) {
    const s = v128.load(scalar + k);
    const w = v128.load(scalar + k, 144);
    const x = reduce(f64x2.mul(low, s), f64x2.mul(high, s), i32x4.mul(d, w), inverse, round, modulo);
    v128.store(out + k, k == 0 ? addMod(x, a, modulo) : x);
  }
}

/**
 * Binds the first variable of the tables above the leaves: q0, q1 in place, p0 into `p0Out` and p1 + lambda q1 into
 * `s1Out`, for blocks `from` to `to` of the result. Tables of `size` elements, at least 8.
 */
export function leavesFold(
  p0: usize,
  q0: usize,
  p1: usize,
  q1: usize,
  size: usize,
  element: usize,
  lambda: usize,
  p0Out: usize,
  s1Out: usize,
  from: usize,
  to: usize,
): void {
  const base = scratch();
  const work = base + WORK;
  const scalar = base + SCALAR_AT;
  const lambdas = scalar + 288;
  const half = size * 10;
  prepareScalar(element, scalar);
  prepareScalar(lambda, lambdas);
  for (let block = from; block < to; block++) {
    const at = block * BLOCK;
    foldAt(q0, at, half, scalar, work);
    foldAt(q1, at, half, scalar, work);
    foldWords(p0 + block * 16, size * 2, scalar, p0Out + at);
    foldWords(p1 + block * 16, size * 2, scalar, s1Out + at);
    scale(work, q1 + at, lambdas);
    finishPlus(work, s1Out + at, s1Out + at);
  }
}
