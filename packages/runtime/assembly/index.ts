/**
 * Matrix products of 16-bit integers with 32-bit sums, for the integer engine. Memory belongs to the host: everything from
 * `heapStart()` on. a is [batch][row][term], c is [batch][column][term], y is [batch][row][column]; rows of terms are
 * `stride` values long, a multiple of 8, filled up with zeros.
 */

/** First byte that the module does not use itself. */
export function heapStart(): usize {
  return (__heap_base + 63) & ~63;
}

/** The four sums over lanes, in one vector. */
@inline
function lanes(s0: v128, s1: v128, s2: v128, s3: v128): v128 {
  const low = i32x4.add(v128.shuffle<i32>(s0, s1, 0, 4, 1, 5), v128.shuffle<i32>(s0, s1, 2, 6, 3, 7));
  const high = i32x4.add(v128.shuffle<i32>(s2, s3, 0, 4, 1, 5), v128.shuffle<i32>(s2, s3, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i32>(low, high, 0, 1, 4, 5), v128.shuffle<i32>(low, high, 2, 3, 6, 7));
}

@inline
function dot(a: usize, c: usize, width: usize): i32 {
  let sum = i32x4.splat(0);
  for (let k: usize = 0; k < width; k += 16)
    sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load(a + k), v128.load(c + k)));
  return i32x4.extract_lane(lanes(sum, sum, sum, sum), 0);
}

@inline
function twoRows(a0: usize, c: usize, y0: usize, columns: usize, width: usize): void {
  const a1 = a0 + width;
  const y1 = y0 + 4 * columns;
  let column: usize = 0;
  for (; column + 4 <= columns; column += 4) {
    const c0 = c + column * width;
    const c1 = c0 + width;
    const c2 = c1 + width;
    const c3 = c2 + width;
    let s00 = i32x4.splat(0);
    let s01 = i32x4.splat(0);
    let s02 = i32x4.splat(0);
    let s03 = i32x4.splat(0);
    let s10 = i32x4.splat(0);
    let s11 = i32x4.splat(0);
    let s12 = i32x4.splat(0);
    let s13 = i32x4.splat(0);
    for (let k: usize = 0; k < width; k += 16) {
      const x0 = v128.load(a0 + k);
      const x1 = v128.load(a1 + k);
      const w0 = v128.load(c0 + k);
      const w1 = v128.load(c1 + k);
      const w2 = v128.load(c2 + k);
      const w3 = v128.load(c3 + k);
      s00 = i32x4.add(s00, i32x4.dot_i16x8_s(x0, w0));
      s01 = i32x4.add(s01, i32x4.dot_i16x8_s(x0, w1));
      s02 = i32x4.add(s02, i32x4.dot_i16x8_s(x0, w2));
      s03 = i32x4.add(s03, i32x4.dot_i16x8_s(x0, w3));
      s10 = i32x4.add(s10, i32x4.dot_i16x8_s(x1, w0));
      s11 = i32x4.add(s11, i32x4.dot_i16x8_s(x1, w1));
      s12 = i32x4.add(s12, i32x4.dot_i16x8_s(x1, w2));
      s13 = i32x4.add(s13, i32x4.dot_i16x8_s(x1, w3));
    }
    v128.store(y0 + 4 * column, lanes(s00, s01, s02, s03));
    v128.store(y1 + 4 * column, lanes(s10, s11, s12, s13));
  }
  for (; column < columns; column++) {
    store<i32>(y0 + 4 * column, dot(a0, c + column * width, width));
    store<i32>(y1 + 4 * column, dot(a1, c + column * width, width));
  }
}

@inline
function oneRow(a0: usize, c: usize, y0: usize, columns: usize, width: usize): void {
  let column: usize = 0;
  for (; column + 4 <= columns; column += 4) {
    const c0 = c + column * width;
    const c1 = c0 + width;
    const c2 = c1 + width;
    const c3 = c2 + width;
    let s0 = i32x4.splat(0);
    let s1 = i32x4.splat(0);
    let s2 = i32x4.splat(0);
    let s3 = i32x4.splat(0);
    for (let k: usize = 0; k < width; k += 16) {
      const x = v128.load(a0 + k);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(x, v128.load(c0 + k)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(x, v128.load(c1 + k)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(x, v128.load(c2 + k)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(x, v128.load(c3 + k)));
    }
    v128.store(y0 + 4 * column, lanes(s0, s1, s2, s3));
  }
  for (; column < columns; column++) store<i32>(y0 + 4 * column, dot(a0, c + column * width, width));
}

/** Sums are modulo 2^32: the caller knows that they fit. */
export function multiply(
  a: usize,
  c: usize,
  y: usize,
  batches: usize,
  rows: usize,
  columns: usize,
  stride: usize,
): void {
  const width = 2 * stride;
  for (let batch: usize = 0; batch < batches; batch++) {
    let row: usize = 0;
    for (; row + 2 <= rows; row += 2) twoRows(a + row * width, c, y + 4 * row * columns, columns, width);
    if (row < rows) oneRow(a + row * width, c, y + 4 * row * columns, columns, width);
    a += rows * width;
    c += columns * width;
    y += 4 * rows * columns;
  }
}
