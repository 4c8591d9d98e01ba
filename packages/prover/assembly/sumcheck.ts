/** Rounds of sumchecks over tables of F: sums over the unbound variables but the first. */
import {
  addBlocks,
  clearAccumulator,
  difference,
  finish,
  finishFactor,
  multiply,
  multiplyAdd,
  sumLanes,
} from './ext';
import { ACCUMULATOR_TERMS, addMod, BLOCK, canonical, modulus } from './field';
import { addWeighted, clearSums, storeTotals } from './gkr';
import { scratch } from './scratch';
import { splitBlock } from './vector';

const TOTALS: usize = 0;
const SUMS: usize = 640;
const WORK: usize = 2048;
const SPLIT: usize = 8192;

/** Reduces `count` accumulators into their totals. */
function settle(count: usize): void {
  const base = scratch();
  for (let k: usize = 0; k < count; k++) {
    const total = base + TOTALS + 80 * k;
    finish(base + SUMS + 240 * k, base + WORK);
    clearAccumulator(base + SUMS + 240 * k);
    addBlocks(total, base + WORK, total);
  }
}

/** The product of two tables of `length` elements: sums at 0 and at infinity, two elements at `out`. */
export function productRound(a: usize, b: usize, length: usize, from: usize, to: usize, out: usize): void {
  const base = scratch();
  const sums = base + SUMS;
  const work = base + WORK;
  let half = length * 10;
  if (length <= 4) {
    splitBlock(a, length, base + SPLIT);
    splitBlock(b, length, base + SPLIT + 160);
    a = base + SPLIT;
    b = a + 160;
    half = BLOCK;
  }
  clearSums(2);
  for (let start = from; start < to; start += ACCUMULATOR_TERMS) {
    const end = min(start + ACCUMULATOR_TERMS, to);
    for (let at = start * BLOCK; at < end * BLOCK; at += BLOCK) {
      multiplyAdd(sums, a + at, b + at);
      difference(a + at + half, a + at, work);
      difference(b + at + half, b + at, work + 80);
      multiplyAdd(sums + 240, work, work + 80);
    }
    settle(2);
  }
  storeTotals(2, out);
}

/** The value at 2 of a line given at 0 and 1, as integers in (-p, p). */
@inline
function extrapolate(low: usize, high: usize, out: usize): void {
  const p = modulus();
  for (let k: usize = 0; k < 80; k += 16) {
    const a = v128.load(low + k);
    const b = v128.load(high + k);
    // b + (b - a), with the difference made canonical so that nothing leaves 32 bits.
    v128.store(out + k, addMod(b, canonical(i32x4.sub(b, a), p), p));
  }
}

/** The product of three tables: sums at 0, at 2 and at infinity, three elements at `out`. */
export function tripleRound(
  a: usize,
  b: usize,
  c: usize,
  length: usize,
  from: usize,
  to: usize,
  out: usize,
): void {
  const base = scratch();
  const sums = base + SUMS;
  const work = base + WORK;
  const g = work + 240;
  const x = work + 320;
  const y = work + 400;
  const z = work + 480;
  let half = length * 10;
  if (length <= 4) {
    splitBlock(a, length, base + SPLIT);
    splitBlock(b, length, base + SPLIT + 160);
    splitBlock(c, length, base + SPLIT + 320);
    a = base + SPLIT;
    b = a + 160;
    c = a + 320;
    half = BLOCK;
  }
  clearSums(3);
  for (let start = from; start < to; start += ACCUMULATOR_TERMS) {
    const end = min(start + ACCUMULATOR_TERMS, to);
    for (let at = start * BLOCK; at < end * BLOCK; at += BLOCK) {
      multiply(work, a + at, b + at);
      finishFactor(work, g);
      multiplyAdd(sums, g, c + at);
      extrapolate(a + at, a + at + half, x);
      extrapolate(b + at, b + at + half, y);
      extrapolate(c + at, c + at + half, z);
      multiply(work, x, y);
      finishFactor(work, g);
      multiplyAdd(sums + 240, g, z);
      difference(a + at + half, a + at, x);
      difference(b + at + half, b + at, y);
      difference(c + at + half, c + at, z);
      multiply(work, x, y);
      finishFactor(work, g);
      multiplyAdd(sums + 480, g, z);
    }
    settle(3);
  }
  storeTotals(3, out);
}

/**
 * One table against eq weights (see gkr.ts): the sums of eq * f with the first variable 0 and 1, two elements at `out`, for
 * `high` from `from` to `to`.
 */
export function weightedRound(
  f: usize,
  length: usize,
  eqLow: usize,
  lowBlocks: usize,
  eqHigh: usize,
  from: usize,
  to: usize,
  out: usize,
): void {
  const base = scratch();
  const sums = base + SUMS;
  let half = length * 10;
  if (length <= 4) {
    splitBlock(f, length, base + SPLIT);
    f = base + SPLIT;
    half = BLOCK;
  }
  clearSums(2);
  for (let high = from; high < to; high++) {
    let at = f + high * lowBlocks * BLOCK;
    for (let low: usize = 0; low < lowBlocks * BLOCK; low += BLOCK, at += BLOCK) {
      multiplyAdd(sums, eqLow + low, at);
      multiplyAdd(sums + 240, eqLow + low, at + half);
    }
    addWeighted(eqHigh, high, 2);
  }
  storeTotals(2, out);
}

/** eq weights times the product of two tables: t(0) and t(infinity), two elements at `out`. */
export function weightedProductRound(
  a: usize,
  b: usize,
  length: usize,
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
  const x = work + 320;
  const y = work + 400;
  let half = length * 10;
  if (length <= 4) {
    splitBlock(a, length, base + SPLIT);
    splitBlock(b, length, base + SPLIT + 160);
    a = base + SPLIT;
    b = a + 160;
    half = BLOCK;
  }
  clearSums(2);
  for (let high = from; high < to; high++) {
    let at = high * lowBlocks * BLOCK;
    for (let low: usize = 0; low < lowBlocks * BLOCK; low += BLOCK, at += BLOCK) {
      multiply(work, a + at, b + at);
      finishFactor(work, g);
      multiplyAdd(sums, eqLow + low, g);
      difference(a + at + half, a + at, x);
      difference(b + at + half, b + at, y);
      multiply(work, x, y);
      finishFactor(work, g);
      multiplyAdd(sums + 240, eqLow + low, g);
    }
    addWeighted(eqHigh, high, 2);
  }
  storeTotals(2, out);
}
