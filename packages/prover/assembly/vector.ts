/** Vectors over F and vectors of integers: tables of eq, folds, dot products, linear combinations. */
import { loadFour, loadOne, WORD, widthOf, I8, U8, I16, U16 } from './base';
import {
  clearAccumulator,
  difference,
  finish,
  foldBlocks,
  multiply,
  multiplyAdd,
  prepareScalar,
  finishPlus,
  scale,
  scaleAdd,
  subBlocks,
  sumLanes,
  addBlocks,
} from './ext';
import {
  ACCUMULATOR_TERMS,
  addMod,
  BLOCK,
  canonical,
  highDoubles,
  imadd,
  inverseOfP,
  lowDoubles,
  lowWords,
  madd,
  modulus,
  P,
  reduce,
  rounding,
} from './field';
import { scratch } from './scratch';

/** Five planes of `length` words to blocks; unused lanes of the last block become zero. */
export function importPlanes(planes: usize, length: usize, blocks: usize): void {
  const whole = length & ~3;
  for (let k: usize = 0; k < 5; k++) {
    const plane = planes + 4 * length * k;
    const to = blocks + 16 * k;
    for (let i: usize = 0; i < whole; i += 4) v128.store(to + i * 20, v128.load(plane + 4 * i));
    if (whole == length) continue;
    const last = to + whole * 20;
    for (let lane: usize = 0; lane < 4; lane++) {
      const word = whole + lane < length ? load<u32>(plane + 4 * (whole + lane)) : 0;
      store<u32>(last + 4 * lane, word);
    }
  }
}

/** Blocks to five planes of `length` words. */
export function exportPlanes(blocks: usize, length: usize, planes: usize): void {
  const whole = length & ~3;
  for (let k: usize = 0; k < 5; k++) {
    const plane = planes + 4 * length * k;
    const from = blocks + 16 * k;
    for (let i: usize = 0; i < whole; i += 4) v128.store(plane + 4 * i, v128.load(from + i * 20));
    for (let i = whole; i < length; i++) {
      store<u32>(plane + 4 * i, load<u32>(from + whole * 20 + 4 * (i - whole)));
    }
  }
}

/** Integers to blocks: elements of the base field. Unused lanes become zero. */
export function importBase(type: u32, values: usize, length: usize, blocks: usize): void {
  const p = modulus();
  const zero = i32x4.splat(0);
  for (let i: usize = 0; i < length; i += 4) {
    let words = zero;
    if (i + 4 <= length) words = canonical(loadFourOf(type, values + i * widthOf(type)), p);
    const to = blocks + i * 20;
    v128.store(to, words);
    v128.store(to, zero, 16);
    v128.store(to, zero, 32);
    v128.store(to, zero, 48);
    v128.store(to, zero, 64);
    if (i + 4 <= length) continue;
    for (let lane: usize = 0; i + lane < length; lane++) {
      const value = loadOneOf(type, values + (i + lane) * widthOf(type));
      store<u32>(to + 4 * lane, value < 0 ? <u32>value + P : <u32>value);
    }
  }
}

function loadFourOf(type: u32, at: usize): v128 {
  return loadFour(type, at);
}

function loadOneOf(type: u32, at: usize): i32 {
  return loadOne(type, at);
}

/** The halves of a vector of 2 or 4 elements as a block each, unused lanes zero: 160 bytes at `out`. */
export function splitBlock(block: usize, length: usize, out: usize): void {
  const zero = i32x4.splat(0);
  for (let k: usize = 0; k < 80; k += 16) {
    const x = v128.load(block + k);
    if (length == 4) {
      v128.store(out + k, v128.shuffle<u32>(x, zero, 0, 1, 4, 4));
      v128.store(out + k, v128.shuffle<u32>(x, zero, 2, 3, 4, 4), 80);
    } else {
      v128.store(out + k, v128.shuffle<u32>(x, zero, 0, 4, 4, 4));
      v128.store(out + k, v128.shuffle<u32>(x, zero, 1, 4, 4, 4), 80);
    }
  }
}

/**
 * eq(point, x) * initial for every x of n bits, x_0 the most significant bit of the index. `point`: n elements of five
 * words; `initial`: one. A table shorter than a block has zeros in its unused lanes.
 */
export function eqTable(point: usize, n: u32, initial: usize, table: usize): void {
  const scalar = scratch();
  const accumulator = scalar + 288;
  const product = accumulator + 240;
  const zero = i32x4.splat(0);
  for (let k: usize = 0; k < 5; k++) {
    v128.store(table + 16 * k, i32x4.replace_lane(zero, 0, load<i32>(initial + 4 * k)));
  }
  let size: usize = 1;
  for (let i = n; i > 0; i--) {
    prepareScalar(point + 20 * <usize>(i - 1), scalar);
    if (size < 4) {
      scale(accumulator, table, scalar);
      finish(accumulator, product);
      subBlocks(table, product, table);
      for (let k: usize = 0; k < 80; k += 16) {
        const a = v128.load(table + k);
        const t = v128.load(product + k);
        const both = size == 1 ? v128.shuffle<u32>(a, t, 0, 4, 0, 4) : v128.shuffle<u32>(a, t, 0, 1, 4, 5);
        v128.store(table + k, size == 1 ? v128.shuffle<u32>(both, zero, 0, 1, 4, 4) : both);
      }
    } else {
      const end = table + size * 20;
      for (let at = table; at < end; at += 80) {
        const upper = at + size * 20;
        scale(accumulator, at, scalar);
        finish(accumulator, upper);
        subBlocks(at, upper, at);
      }
    }
    size *= 2;
  }
}

/**
 * Binds x_0: out[i] = v[i] + r (v[i + half] - v[i]) for blocks `from` to `to` of the result, which may be `v` itself.
 * `element`: r, five words.
 */
export function foldExt(v: usize, length: usize, element: usize, out: usize, from: usize, to: usize): void {
  const scalar = scratch();
  const work = scalar + 288;
  prepareScalar(element, scalar);
  let low = v;
  let high = v + length * 10;
  if (length <= 4) {
    low = work + 320;
    high = low + 80;
    splitBlock(v, length, low);
  }
  for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) {
    foldBlocks(low + at, high + at, scalar, out + at, work);
  }
}

@inline
function foldBaseOf(type: u32, v: usize, half: usize, scalar: usize, out: usize, from: usize, to: usize): void {
  const p = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  const width = widthOf(type);
  for (let i = from * 4; i < to * 4; i += 4) {
    const a = loadFour(type, v + i * width);
    const d = i32x4.sub(loadFour(type, v + (i + half) * width), a);
    const low = lowDoubles(d);
    const high = highDoubles(d);
    const at = out + i * 20;
    for (let k: usize = 0; k < 80; k += 16) {
      const s = v128.load(scalar + k);
      const w = v128.load(scalar + k, 144);
      const x = reduce(f64x2.mul(low, s), f64x2.mul(high, s), i32x4.mul(d, w), inverse, round, p);
      v128.store(at + k, k == 0 ? addMod(x, canonical(a, p), p) : x);
    }
  }
}

/** As `foldExt`, for a vector of integers; `length` is a multiple of 8. */
export function foldBase(
  type: u32,
  v: usize,
  length: usize,
  element: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const scalar = scratch();
  prepareScalar(element, scalar);
  if (type == I8) foldBaseOf(I8, v, length / 2, scalar, out, from, to);
  else if (type == U8) foldBaseOf(U8, v, length / 2, scalar, out, from, to);
  else if (type == I16) foldBaseOf(I16, v, length / 2, scalar, out, from, to);
  else if (type == U16) foldBaseOf(U16, v, length / 2, scalar, out, from, to);
  else foldBaseOf(WORD, v, length / 2, scalar, out, from, to);
}

/** Sum over blocks `from` to `to` of a * b, as five words at `element`. Unused lanes of one of them must be zero. */
export function dotExt(a: usize, b: usize, from: usize, to: usize, element: usize): void {
  const accumulator = scratch();
  const partial = accumulator + 240;
  const total = partial + 80;
  memory.fill(total, 0, 80);
  for (let start = from; start < to; start += ACCUMULATOR_TERMS) {
    const end = min(start + ACCUMULATOR_TERMS, to);
    clearAccumulator(accumulator);
    for (let at = start * BLOCK; at < end * BLOCK; at += BLOCK) multiplyAdd(accumulator, a + at, b + at);
    finish(accumulator, partial);
    addBlocks(total, partial, total);
  }
  sumLanes(total, element);
}

/** out[i] = a[i] * b[i] for blocks `from` to `to`. */
export function multiplyVectors(a: usize, b: usize, out: usize, from: usize, to: usize): void {
  const accumulator = scratch();
  for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) {
    multiply(accumulator, a + at, b + at);
    finish(accumulator, out + at);
  }
}

/** out[i] += scalar * a[i] for blocks `from` to `to`. */
export function addScaled(a: usize, element: usize, out: usize, from: usize, to: usize): void {
  const scalar = scratch();
  const accumulator = scalar + 288;
  const product = accumulator + 240;
  prepareScalar(element, scalar);
  for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) {
    scale(accumulator, a + at, scalar);
    finish(accumulator, product);
    addBlocks(out + at, product, out + at);
  }
}

/** out[i] = a[i] + b[i] for blocks `from` to `to`. */
export function addVectors(a: usize, b: usize, out: usize, from: usize, to: usize): void {
  for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) addBlocks(a + at, b + at, out + at);
}

/** One element in all places of blocks `from` to `to`. */
export function fillVector(element: usize, out: usize, from: usize, to: usize): void {
  for (let k: usize = 0; k < 5; k++) {
    const x = v128.load32_splat(element + 4 * k);
    for (let block = from; block < to; block++) v128.store(out + block * BLOCK + 16 * k, x);
  }
}

/** out[i] += sum over c of scalar_c * vector_c[i], as `combine`, for vectors over F. */
export function combineExt(
  vectors: usize,
  count: usize,
  scalars: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const accumulator = scratch();
  for (let start: usize = 0; start < count; start += ACCUMULATOR_TERMS) {
    const end = min(start + ACCUMULATOR_TERMS, count);
    for (let at = from * BLOCK; at < to * BLOCK; at += BLOCK) {
      clearAccumulator(accumulator);
      for (let c = start; c < end; c++) {
        scaleAdd(accumulator, <usize>load<u32>(vectors + 4 * c) + at, scalars + 288 * c);
      }
      finishPlus(accumulator, out + at, out + at);
    }
  }
}

/** Row `row` times the weights, as `dotRows`, for rows over F. */
export function dotRowsExt(
  values: usize,
  stride: usize,
  weights: usize,
  blocks: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  for (let row = from; row < to; row++) dotExt(values + row * stride, weights, 0, blocks, out + row * 20);
}

@inline
function isZeroBlock(at: usize): bool {
  const some = v128.or(
    v128.or(v128.or(v128.load(at), v128.load(at, 16)), v128.or(v128.load(at, 32), v128.load(at, 48))),
    v128.load(at, 64),
  );
  return !v128.any_true(some);
}

/**
 * Products of a matrix of `rows` rows of `blocks` blocks, most of them zero, with the rows `from` to `to` of a vector over
 * F: element row * rows + k of `out` (five words each).
 */
export function matrixRows(
  matrix: usize,
  rows: usize,
  blocks: usize,
  v: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const accumulator = scratch();
  const partial = accumulator + 240;
  const total = partial + 80;
  const bytes = blocks * BLOCK;
  for (let row = from; row < to; row++) {
    const x = v + row * bytes;
    for (let k: usize = 0; k < rows; k++) {
      const m = matrix + k * bytes;
      let terms: usize = 0;
      memory.fill(total, 0, 80);
      clearAccumulator(accumulator);
      for (let at: usize = 0; at < bytes; at += BLOCK) {
        if (isZeroBlock(m + at)) continue;
        multiplyAdd(accumulator, m + at, x + at);
        if (++terms < ACCUMULATOR_TERMS) continue;
        finish(accumulator, partial);
        addBlocks(total, partial, total);
        clearAccumulator(accumulator);
        terms = 0;
      }
      finish(accumulator, partial);
      addBlocks(total, partial, total);
      sumLanes(total, out + (row * rows + k) * 20);
    }
  }
}

@inline
function weightedRuns(
  type: u32,
  v: usize,
  stride: usize,
  indices: usize,
  scalars: usize,
  count: usize,
  out: usize,
  blocks: usize,
): void {
  const p = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  const step = widthOf(type) * 4;
  for (let block: usize = 0; block < blocks; block++) {
    const at = out + block * BLOCK;
    for (let k: usize = 0; k < 80; k += 16) {
      let low = f64x2.splat(0);
      let high = f64x2.splat(0);
      let word = i32x4.splat(0);
      let s = scalars + k;
      for (let e: usize = 0; e < count; e++, s += 288) {
        const x = loadFour(type, v + <usize>load<u32>(indices + 4 * e) * stride + block * step);
        const y = v128.load(s);
        low = madd(lowDoubles(x), y, low);
        high = madd(highDoubles(x), y, high);
        word = imadd(x, v128.load(s, 144), word);
      }
      v128.store(at + k, addMod(v128.load(at + k), reduce(low, high, word, inverse, round, p), p));
    }
  }
}

function weightedExtRuns(
  v: usize,
  stride: usize,
  indices: usize,
  scalars: usize,
  count: usize,
  out: usize,
  blocks: usize,
): void {
  const accumulator = scratch();
  for (let at: usize = 0; at < blocks * BLOCK; at += BLOCK) {
    clearAccumulator(accumulator);
    for (let e: usize = 0; e < count; e++) {
      scaleAdd(accumulator, v + <usize>load<u32>(indices + 4 * e) * stride + at, scalars + 288 * e);
    }
    finishPlus(accumulator, out + at, out + at);
  }
}

/**
 * Linear combinations of runs: run k of outer row o gets the sum over entries e in [starts[k], starts[k + 1]) of
 * scalar_e * run indices[e] of row o, for rows `from` to `to`. Runs have `blocks` blocks of four cells, rows of `v` `size`
 * runs, rows of `out` `rows`; `out` is added to. Type 5: a vector over F.
 */
export function matrixRuns(
  type: u32,
  v: usize,
  size: usize,
  blocks: usize,
  rows: usize,
  starts: usize,
  indices: usize,
  scalars: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const stride = type > WORD ? blocks * BLOCK : blocks * 4 * widthOf(type);
  for (let row = from; row < to; row++) {
    const source = v + row * size * stride;
    for (let k: usize = 0; k < rows; k++) {
      const target = out + (row * rows + k) * blocks * BLOCK;
      const last = <usize>load<u32>(starts + 4 * (k + 1));
      for (let e = <usize>load<u32>(starts + 4 * k); e < last; e += ACCUMULATOR_TERMS) {
        const count = min(last - e, ACCUMULATOR_TERMS);
        const index = indices + 4 * e;
        const scalar = scalars + 288 * e;
        if (type == I8) weightedRuns(I8, source, stride, index, scalar, count, target, blocks);
        else if (type == U8) weightedRuns(U8, source, stride, index, scalar, count, target, blocks);
        else if (type == I16) weightedRuns(I16, source, stride, index, scalar, count, target, blocks);
        else if (type == U16) weightedRuns(U16, source, stride, index, scalar, count, target, blocks);
        else if (type == WORD) weightedRuns(WORD, source, stride, index, scalar, count, target, blocks);
        else weightedExtRuns(source, stride, index, scalar, count, target, blocks);
      }
    }
  }
}

/** Elements that stand one after another, five words each, as blocks; unused lanes become zero. */
export function packElements(elements: usize, count: usize, out: usize): void {
  const end = (count + 3) & ~3;
  for (let i: usize = 0; i < end; i++) {
    const to = out + (i >> 2) * BLOCK + (i & 3) * 4;
    for (let k: usize = 0; k < 5; k++) {
      store<u32>(to + 16 * k, i < count ? load<u32>(elements + 20 * i + 4 * k) : 0);
    }
  }
}

/** Values as canonical words. */
export function widen(type: u32, values: usize, count: usize, out: usize): void {
  const width = widthOf(type);
  for (let i: usize = 0; i < count; i++) {
    const value = loadOneOf(type, values + i * width);
    store<u32>(out + 4 * i, value < 0 ? <u32>value + P : <u32>value);
  }
}

/**
 * out[i] += coefficient * v[high[i >> bits] + low[i & (2^bits - 1)]] for elements `from` to `to`. Type 5: a vector over F;
 * then any coefficient, else one of the base field too.
 */
export function gatherAdd(
  type: u32,
  v: usize,
  coefficient: u32,
  high: usize,
  low: usize,
  bits: u32,
  out: usize,
  from: usize,
  to: usize,
): void {
  const planes: usize = type > WORD ? 5 : 1;
  const width = widthOf(type);
  for (let i = from; i < to; i++) {
    const index =
      <usize>load<u32>(high + ((i >> bits) << 2)) + <usize>load<u32>(low + ((i & ((1 << bits) - 1)) << 2));
    const target = out + (i >> 2) * BLOCK + (i & 3) * 4;
    for (let k: usize = 0; k < planes; k++) {
      let value: u32;
      if (planes == 5) {
        value = load<u32>(v + (index >> 2) * BLOCK + (index & 3) * 4 + 16 * k);
      } else {
        const integer = loadOneOf(type, v + index * width);
        value = integer < 0 ? <u32>integer + P : <u32>integer;
      }
      const sum = <u64>load<u32>(target + 16 * k) + <u64>value * <u64>coefficient;
      store<u32>(target + 16 * k, <u32>(sum % <u64>P));
    }
  }
}

/** Terms of a sum of small integer times residue that a double holds exactly, below 2^51. */
@inline
function exactTerms(type: u32): usize {
  return type <= U8 ? 2048 : 16;
}

@inline
function dotSmallOf(type: u32, values: usize, weights: usize, blocks: usize, total: usize): void {
  const p = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  const terms: usize = exactTerms(type);
  const step = 4 * widthOf(type);
  for (let start: usize = 0; start < blocks; start += terms) {
    const end = weights + min(start + terms, blocks) * BLOCK;
    let at = values + start * step;
    let l0 = f64x2.splat(0);
    let l1 = l0;
    let l2 = l0;
    let l3 = l0;
    let l4 = l0;
    let h0 = l0;
    let h1 = l0;
    let h2 = l0;
    let h3 = l0;
    let h4 = l0;
    for (let w = weights + start * BLOCK; w < end; w += BLOCK, at += step) {
      const x = loadFour(type, at);
      const low = lowDoubles(x);
      const high = highDoubles(x);
      l0 = madd(low, lowDoubles(v128.load64_zero(w)), l0);
      h0 = madd(high, lowDoubles(v128.load64_zero(w, 8)), h0);
      l1 = madd(low, lowDoubles(v128.load64_zero(w, 16)), l1);
      h1 = madd(high, lowDoubles(v128.load64_zero(w, 24)), h1);
      l2 = madd(low, lowDoubles(v128.load64_zero(w, 32)), l2);
      h2 = madd(high, lowDoubles(v128.load64_zero(w, 40)), h2);
      l3 = madd(low, lowDoubles(v128.load64_zero(w, 48)), l3);
      h3 = madd(high, lowDoubles(v128.load64_zero(w, 56)), h3);
      l4 = madd(low, lowDoubles(v128.load64_zero(w, 64)), l4);
      h4 = madd(high, lowDoubles(v128.load64_zero(w, 72)), h4);
    }
    addExact(l0, h0, total, inverse, round, p);
    addExact(l1, h1, total + 16, inverse, round, p);
    addExact(l2, h2, total + 32, inverse, round, p);
    addExact(l3, h3, total + 48, inverse, round, p);
    addExact(l4, h4, total + 64, inverse, round, p);
  }
}

function dotWords(values: usize, weights: usize, blocks: usize, total: usize): void {
  const p = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  for (let start: usize = 0; start < blocks; start += ACCUMULATOR_TERMS) {
    const end = min(start + ACCUMULATOR_TERMS, blocks);
    for (let k: usize = 0; k < 80; k += 16) {
      let low = f64x2.splat(0);
      let high = f64x2.splat(0);
      let word = i32x4.splat(0);
      for (let i = start; i < end; i++) {
        const x = v128.load(values + i * 16);
        const y = v128.load(weights + i * BLOCK + k);
        low = madd(lowDoubles(x), lowDoubles(y), low);
        high = madd(highDoubles(x), highDoubles(y), high);
        word = imadd(x, y, word);
      }
      v128.store(total + k, addMod(v128.load(total + k), reduce(low, high, word, inverse, round, p), p));
    }
  }
}

/**
 * Dot products of rows of integers with one vector of weights over F: element i of `out` (five words each, one after
 * another) is the sum over `blocks` blocks of weights[j] * values[i][j], rows `stride` bytes apart, rows `from` to `to`.
 * Lanes of the weights behind the last value of a row must be zero.
 */
export function dotRows(
  type: u32,
  values: usize,
  stride: usize,
  weights: usize,
  blocks: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const total = scratch();
  for (let row = from; row < to; row++) {
    const at = values + row * stride;
    memory.fill(total, 0, 80);
    if (type == I8) dotSmallOf(I8, at, weights, blocks, total);
    else if (type == U8) dotSmallOf(U8, at, weights, blocks, total);
    else if (type == I16) dotSmallOf(I16, at, weights, blocks, total);
    else if (type == U16) dotSmallOf(U16, at, weights, blocks, total);
    else dotWords(at, weights, blocks, total);
    sumLanes(total, out + row * 20);
  }
}

@inline
function combineSmall(
  type: u32,
  columns: usize,
  count: usize,
  scalars: usize,
  addend: usize,
  addendStep: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const p = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  const width = widthOf(type);
  for (let block = from; block < to; block++) {
    const offset = block * 4 * width;
    const at = out + block * BLOCK;
    const plus = addend + block * addendStep;
    let l0 = f64x2.splat(0);
    let l1 = l0;
    let l2 = l0;
    let l3 = l0;
    let l4 = l0;
    let h0 = l0;
    let h1 = l0;
    let h2 = l0;
    let h3 = l0;
    let h4 = l0;
    let s = scalars;
    for (let c: usize = 0; c < count; c++, s += 288) {
      const x = loadFour(type, <usize>load<u32>(columns + 4 * c) + offset);
      const low = lowDoubles(x);
      const high = highDoubles(x);
      let y = v128.load(s);
      l0 = madd(low, y, l0);
      h0 = madd(high, y, h0);
      y = v128.load(s, 16);
      l1 = madd(low, y, l1);
      h1 = madd(high, y, h1);
      y = v128.load(s, 32);
      l2 = madd(low, y, l2);
      h2 = madd(high, y, h2);
      y = v128.load(s, 48);
      l3 = madd(low, y, l3);
      h3 = madd(high, y, h3);
      y = v128.load(s, 64);
      l4 = madd(low, y, l4);
      h4 = madd(high, y, h4);
    }
    storeExact(l0, h0, plus, at, inverse, round, p);
    storeExact(l1, h1, plus + 16, at + 16, inverse, round, p);
    storeExact(l2, h2, plus + 32, at + 32, inverse, round, p);
    storeExact(l3, h3, plus + 48, at + 48, inverse, round, p);
    storeExact(l4, h4, plus + 64, at + 64, inverse, round, p);
  }
}

/** An exact sum below 2^51 plus the residues at `plus`, at `at`. */
@inline
function storeExact(
  low: v128,
  high: v128,
  plus: usize,
  at: usize,
  inverse: v128,
  round: v128,
  p: v128,
): void {
  const word = lowWords(f64x2.add(low, round), f64x2.add(high, round));
  v128.store(at, addMod(v128.load(plus), reduce(low, high, word, inverse, round, p), p));
}

@inline
function addExact(low: v128, high: v128, at: usize, inverse: v128, round: v128, p: v128): void {
  storeExact(low, high, at, at, inverse, round, p);
}

function combineWords(
  columns: usize,
  count: usize,
  scalars: usize,
  addend: usize,
  addendStep: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const p = modulus();
  const inverse = inverseOfP();
  const round = rounding();
  for (let block = from; block < to; block++) {
    const offset = block * 16;
    const at = out + block * BLOCK;
    const plus = addend + block * addendStep;
    for (let k: usize = 0; k < 80; k += 16) {
      let low = f64x2.splat(0);
      let high = f64x2.splat(0);
      let word = i32x4.splat(0);
      let s = scalars + k;
      for (let c: usize = 0; c < count; c++, s += 288) {
        const x = v128.load(<usize>load<u32>(columns + 4 * c) + offset);
        const y = v128.load(s);
        low = madd(lowDoubles(x), y, low);
        high = madd(highDoubles(x), y, high);
        word = imadd(x, v128.load(s, 144), word);
      }
      v128.store(at + k, addMod(v128.load(plus + k), reduce(low, high, word, inverse, round, p), p));
    }
  }
}

/** The first sum of at most `most` columns is added to `addend` (a block every `addendStep` bytes), the others to `out`. */
function combineFrom(
  type: u32,
  columns: usize,
  count: usize,
  scalars: usize,
  addend: usize,
  addendStep: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const most: usize = type == WORD ? 64 : type <= U8 ? 128 : 16;
  let start: usize = 0;
  do {
    const some = min(most, count - start);
    const c = columns + 4 * start;
    const s = scalars + 288 * start;
    if (type == I8) combineSmall(I8, c, some, s, addend, addendStep, out, from, to);
    else if (type == U8) combineSmall(U8, c, some, s, addend, addendStep, out, from, to);
    else if (type == I16) combineSmall(I16, c, some, s, addend, addendStep, out, from, to);
    else if (type == U16) combineSmall(U16, c, some, s, addend, addendStep, out, from, to);
    else combineWords(c, some, s, addend, addendStep, out, from, to);
    addend = out;
    addendStep = BLOCK;
    start += some;
  } while (start < count);
}

/**
 * out[i] += sum over c of scalar_c * column_c[i] for blocks `from` to `to`. `columns`: addresses of `count` columns of
 * one type; `scalars`: as many prepared ones.
 */
export function combine(
  type: u32,
  columns: usize,
  count: usize,
  scalars: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  combineFrom(type, columns, count, scalars, out, BLOCK, out, from, to);
}

/** As `combine`, but out[i] = element + the sum; of no columns too. */
export function affine(
  type: u32,
  columns: usize,
  count: usize,
  scalars: usize,
  element: usize,
  out: usize,
  from: usize,
  to: usize,
): void {
  const block = scratch();
  for (let k: usize = 0; k < 5; k++) v128.store(block + 16 * k, v128.load32_splat(element + 4 * k));
  combineFrom(type, columns, count, scalars, block, 0, out, from, to);
}

/** Prepares `count` scalars, five words each, for `combine`. */
export function prepareScalars(elements: usize, count: usize, scalars: usize): void {
  for (let c: usize = 0; c < count; c++) prepareScalar(elements + 20 * c, scalars + 288 * c);
}
