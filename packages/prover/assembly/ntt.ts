/**
 * Codewords: coefficients at bit-reversed positions, which is the natural order of a column, to values in natural order.
 * With blow-up b every coefficient fills a run of b words, the first butterflies being trivial; the rest are passes of
 * radix 4 (one of radix 2 at the bottom when their number is odd), depth first, so that blocks stay in the cache.
 *
 * Values between passes are integers in (-p - d, p + d), d growing by less than 2^12 a pass, far from 2^31. Twiddles w come
 * with w/p as a double: the product with any 32-bit integer is reduced with one rounding (`field.ts`).
 *
 * A word over F is five interleaved words over the base field: vector j of plane k at byte 80 j + 16 k.
 */
import { loadOne, widthOf, I8, U8, I16, U16, WORD } from './base';
import {
  canonical,
  highDoubles,
  lowDoubles,
  lowWords,
  madd,
  modulus,
  mulWord,
  P,
  powWord,
  rootOfUnity,
  rounding,
} from './field';

/** Bytes of the twiddles of four butterflies of radix 4: three times four words and four doubles. */
const QUAD: usize = 144;
const PAIR: usize = 48;
/** Vectors of a tile of a combining pass: its twiddles stay in the first-level cache while the columns take turns. */
export const TILE: usize = 64;
/** Blocks of up to this many bytes are transformed pass by pass, larger ones depth first. */
const CACHE_BYTES: usize = 24576;

const FOURTH: u32 = 1728404513;
const IMAGINARY = memory.data<u32>([FOURTH, FOURTH, FOURTH, FOURTH], 16);
const IMAGINARY_DOUBLES = memory.data<f64>([1728404513.0 / 2013265921.0, 1728404513.0 / 2013265921.0], 16);

function storeTwiddles(at: usize, step: u32, start: u32): u32 {
  let w = start;
  for (let lane: usize = 0; lane < 4; lane++) {
    store<u32>(at + 4 * lane, w);
    store<f64>(at + 16 + 8 * lane, <f64>w / 2013265921.0);
    w = mulWord(w, step);
  }
  return w;
}

/** Twiddles of the passes of radix 4 over quarters of 2^log words, log >= 2: 36 * 2^log bytes, for vectors `from` to `to`. */
export function quadTwiddles(log: u32, out: usize, from: usize, to: usize): void {
  const w = rootOfUnity(log + 2);
  const square = mulWord(w, w);
  const cube = mulWord(square, w);
  const start = powWord(w, <u32>from * 4);
  let a = start;
  let b = mulWord(start, start);
  let c = mulWord(b, start);
  for (let j = from; j < to; j++) {
    const at = out + j * QUAD;
    a = storeTwiddles(at, w, a);
    b = storeTwiddles(at + 48, square, b);
    c = storeTwiddles(at + 96, cube, c);
  }
}

/** Twiddles of the pass of radix 2 over halves of 2^log words, log >= 2: 12 * 2^log bytes. */
export function pairTwiddles(log: u32, out: usize): void {
  const w = rootOfUnity(log + 1);
  let a: u32 = 1;
  for (let j: usize = 0; j < <usize>1 << (log - 2); j++) a = storeTwiddles(out + j * PAIR, w, a);
}

/** x * w modulo p, in (-p/2 - 2^10, p/2 + 2^10). */
@inline
function twist(x: v128, w: v128, low: v128, high: v128, round: v128, p: v128): v128 {
  const quotient = lowWords(madd(lowDoubles(x), low, round), madd(highDoubles(x), high, round));
  return i32x4.sub(i32x4.mul(x, w), i32x4.mul(quotient, p));
}

/** Adds p to what is negative. */
@inline
function lift(x: v128, p: v128): v128 {
  return i32x4.add(x, v128.and(p, i32x4.shr_s(x, 31)));
}

/** From (-p - d, p + d) to [0, p). */
@inline
function settle(x: v128, p: v128): v128 {
  const lifted = canonical(lift(x, p), p);
  return i32x4.min_u(lifted, i32x4.sub(lifted, p));
}

/**
 * Butterflies of radix 4 of vectors `from` to `to` of four quarters of `m` vectors `step` bytes apart, in every run of four
 * quarters between `base` and `end`.
 */
@inline
function quadPass(
  step: usize,
  base: usize,
  end: usize,
  m: usize,
  from: usize,
  to: usize,
  twiddles: usize,
  isLast: bool,
): void {
  const p = modulus();
  const round = rounding();
  const i = v128.load(IMAGINARY);
  const iDouble = v128.load(IMAGINARY_DOUBLES);
  const quarter = m * step;
  const count = (to - from) * step;
  for (let run = base + from * step; run < end; run += 4 * quarter) {
    let w = twiddles + from * QUAD;
    for (let at0 = run; at0 < run + count; at0 += step, w += QUAD) {
      const at1 = at0 + quarter;
      const at2 = at1 + quarter;
      const at3 = at2 + quarter;
      const t2 = canonical(
        twist(v128.load(at1), v128.load(w, 48), v128.load(w, 64), v128.load(w, 80), round, p),
        p,
      );
      const x0 = lift(v128.load(at0), p);
      const s = lift(i32x4.sub(i32x4.add(x0, t2), p), p);
      const d = lift(i32x4.sub(x0, t2), p);
      const t1 = twist(v128.load(at2), v128.load(w), v128.load(w, 16), v128.load(w, 32), round, p);
      const t3 = twist(v128.load(at3), v128.load(w, 96), v128.load(w, 112), v128.load(w, 128), round, p);
      const u = lift(i32x4.add(t1, t3), p);
      const v = canonical(twist(i32x4.sub(t1, t3), i, iDouble, iDouble, round, p), p);
      const y0 = i32x4.sub(i32x4.add(s, u), p);
      const y1 = i32x4.sub(i32x4.add(d, v), p);
      const y2 = i32x4.sub(s, u);
      const y3 = i32x4.sub(d, v);
      v128.store(at0, isLast ? settle(y0, p) : y0);
      v128.store(at1, isLast ? settle(y1, p) : y1);
      v128.store(at2, isLast ? settle(y2, p) : y2);
      v128.store(at3, isLast ? settle(y3, p) : y3);
    }
  }
}

@inline
function pairPass(step: usize, base: usize, end: usize, m: usize, twiddles: usize, isLast: bool): void {
  const p = modulus();
  const round = rounding();
  const half = m * step;
  for (let run = base; run < end; run += 2 * half) {
    let w = twiddles;
    for (let at = run; at < run + half; at += step, w += PAIR) {
      const t = canonical(
        twist(v128.load(at + half), v128.load(w), v128.load(w, 16), v128.load(w, 32), round, p),
        p,
      );
      const x = lift(v128.load(at), p);
      const sum = i32x4.sub(i32x4.add(x, t), p);
      const difference = i32x4.sub(x, t);
      v128.store(at, isLast ? settle(sum, p) : sum);
      v128.store(at + half, isLast ? settle(difference, p) : difference);
    }
  }
}

function quadWords(
  base: usize,
  end: usize,
  m: usize,
  from: usize,
  to: usize,
  twiddles: usize,
  isLast: bool,
): void {
  if (isLast) quadPass(16, base, end, m, from, to, twiddles, true);
  else quadPass(16, base, end, m, from, to, twiddles, false);
}

function quadPlane(
  base: usize,
  end: usize,
  m: usize,
  from: usize,
  to: usize,
  twiddles: usize,
  isLast: bool,
): void {
  if (isLast) quadPass(80, base, end, m, from, to, twiddles, true);
  else quadPass(80, base, end, m, from, to, twiddles, false);
}

function pairWords(base: usize, end: usize, m: usize, twiddles: usize, isLast: bool): void {
  pairPass(16, base, end, m, twiddles, isLast);
}

function pairPlane(base: usize, end: usize, m: usize, twiddles: usize, isLast: bool): void {
  pairPass(80, base, end, m, twiddles, isLast);
}

@inline
function pass(
  planes: usize,
  base: usize,
  end: usize,
  m: usize,
  from: usize,
  to: usize,
  twiddles: usize,
  isLast: bool,
): void {
  if (planes == 1) quadWords(base, end, m, from, to, twiddles, isLast);
  else {
    for (let start = from; start < to; start += TILE) {
      const stop = min(start + TILE, to);
      for (let k: usize = 0; k < 80; k += 16) quadPlane(base + k, end, m, start, stop, twiddles, isLast);
    }
  }
}

/**
 * All passes within a block of 2^log words whose runs are 2^blowup long. `tables`: addresses of the twiddles: [l] of the
 * quarters of 2^l words, [32] of the one pass of radix 2. `total`: log of the whole word's length.
 */
function transform(planes: usize, base: usize, log: u32, blowup: u32, total: u32, tables: usize): void {
  const step: usize = planes == 1 ? 16 : 80;
  const bytes = (<usize>1 << (log - 2)) * step;
  if (log >= blowup + 3 && bytes > CACHE_BYTES) {
    const quarter = bytes / 4;
    for (let k: usize = 0; k < 4; k++) transform(planes, base + k * quarter, log - 2, blowup, total, tables);
    const m = <usize>1 << (log - 4);
    const twiddles = <usize>load<u32>(tables + 4 * (log - 2));
    pass(planes, base, base + bytes, m, 0, m, twiddles, log == total);
    return;
  }
  const end = base + bytes;
  let done = blowup;
  if (((log - blowup) & 1) == 1) {
    const m = <usize>1 << (blowup - 2);
    const twiddles = <usize>load<u32>(tables, 128);
    const isLast = blowup + 1 == total;
    if (planes == 1) pairWords(base, end, m, twiddles, isLast);
    else for (let k: usize = 0; k < 80; k += 16) pairPlane(base + k, end, m, twiddles, isLast);
    done++;
  }
  for (; done < log; done += 2) {
    const m = <usize>1 << (done - 2);
    const twiddles = <usize>load<u32>(tables + 4 * done);
    const isLast = done + 2 == total;
    pass(planes, base, end, m, 0, m, twiddles, isLast);
  }
}

@inline
function spreadOf(type: u32, from: usize, count: usize, blowup: u32, out: usize): void {
  const p = modulus();
  const run = <usize>16 << (blowup - 2);
  for (let i: usize = 0; i < count; i++) {
    const x = canonical(i32x4.splat(loadOne(type, from + i * widthOf(type))), p);
    const to = out + i * run;
    for (let at: usize = 0; at < run; at += 16) v128.store(to + at, x);
  }
}

/** Values of integers in runs of 2^blowup words. */
function spread(type: u32, from: usize, count: usize, blowup: u32, out: usize): void {
  if (type == I8) spreadOf(I8, from, count, blowup, out);
  else if (type == U8) spreadOf(U8, from, count, blowup, out);
  else if (type == I16) spreadOf(I16, from, count, blowup, out);
  else if (type == U16) spreadOf(U16, from, count, blowup, out);
  else spreadOf(WORD, from, count, blowup, out);
}

/** Elements of F in runs of 2^blowup. */
function spreadBlocks(from: usize, start: usize, count: usize, blowup: u32, out: usize): void {
  const run = <usize>1 << (blowup - 2);
  for (let i = start; i < start + count; i++) {
    const at = from + (i >> 2) * 80 + (i & 3) * 4;
    for (let k: usize = 0; k < 80; k += 16) {
      const x = v128.load32_splat(at + k);
      for (let j: usize = 0; j < run; j++) v128.store(out + j * 80 + k, x);
    }
    out += run * 80;
  }
}

/**
 * Units `from` to `to` of the words of `count` columns of 2^h integers: unit u is block u % blocks of column
 * u / blocks, blocks of 2^log words. `columns`: type, source and target of each, three words. blowup >= 2.
 */
export function encodeColumns(
  columns: usize,
  h: u32,
  blowup: u32,
  log: u32,
  tables: usize,
  from: usize,
  to: usize,
): void {
  const total = h + blowup;
  const blocks = <usize>1 << (total - log);
  for (let unit = from; unit < to; unit++) {
    const column = columns + 12 * (unit / blocks);
    const block = unit % blocks;
    const type = load<u32>(column);
    const count = <usize>1 << (log - blowup);
    const out = <usize>load<u32>(column, 8) + (block << (log + 2));
    spread(type, <usize>load<u32>(column, 4) + block * count * widthOfAny(type), count, blowup, out);
    transform(1, out, log, blowup, total, tables);
  }
}

function widthOfAny(type: u32): usize {
  return widthOf(type);
}

/**
 * One pass of radix 4 over quarters of 2^log words, which joins the blocks of `encodeColumns`: tiles `from` to `to` of
 * the word's 2^total, each for all columns.
 */
export function joinColumns(
  columns: usize,
  count: usize,
  log: u32,
  total: u32,
  tables: usize,
  from: usize,
  to: usize,
): void {
  const m = <usize>1 << (log - 2);
  const tiles = (m + TILE - 1) / TILE;
  const twiddles = <usize>load<u32>(tables + 4 * log);
  const isLast = log + 2 == total;
  for (let unit = from; unit < to; unit++) {
    const block = unit / tiles;
    const start = (unit % tiles) * TILE;
    const end = min(start + TILE, m);
    for (let c: usize = 0; c < count; c++) {
      const base = <usize>load<u32>(columns + 12 * c, 8) + (block << (log + 4));
      quadWords(base, base + 16 * 4 * m, m, start, end, twiddles, isLast);
    }
  }
}

/** As `encodeColumns`, for one column over F. */
export function encodeBlocks(
  source: usize,
  h: u32,
  blowup: u32,
  log: u32,
  tables: usize,
  target: usize,
  from: usize,
  to: usize,
): void {
  const count = <usize>1 << (log - blowup);
  for (let block = from; block < to; block++) {
    const out = target + (block << (log - 2)) * 80;
    spreadBlocks(source, block * count, count, blowup, out);
    transform(5, out, log, blowup, h + blowup, tables);
  }
}

/** As `joinColumns`, for one word over F. */
export function joinBlocks(target: usize, log: u32, total: u32, tables: usize, from: usize, to: usize): void {
  const m = <usize>1 << (log - 2);
  const tiles = (m + TILE - 1) / TILE;
  const twiddles = <usize>load<u32>(tables + 4 * log);
  const isLast = log + 2 == total;
  for (let unit = from; unit < to; unit++) {
    const base = target + ((unit / tiles) << log) * 80;
    const start = (unit % tiles) * TILE;
    pass(5, base, base + 80 * 4 * m, m, start, min(start + TILE, m), twiddles, isLast);
  }
}
