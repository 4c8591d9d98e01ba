/**
 * BLAKE3, keyed, four messages at a time: lane k of every vector belongs to message k. Messages of one chunk (at most 1024
 * bytes), so the counter is always zero and the last block carries ROOT.
 */

export const CHUNK_START: u32 = 1;
export const CHUNK_END: u32 = 2;
export const ROOT: u32 = 8;
export const KEYED_HASH: u32 = 16;

/** Four copies of each of IV 0..3. */
const IV = memory.data<u32>(
  [
    0x6a09e667, 0x6a09e667, 0x6a09e667, 0x6a09e667, 0xbb67ae85, 0xbb67ae85, 0xbb67ae85, 0xbb67ae85,
    0x3c6ef372, 0x3c6ef372, 0x3c6ef372, 0x3c6ef372, 0xa54ff53a, 0xa54ff53a, 0xa54ff53a, 0xa54ff53a,
  ],
  16,
);

/** Byte orders of rotations by 16 and by 8. */
const ROTATIONS = memory.data<u8>(
  [
    2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
    1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12,
  ],
  16,
);

@inline
function rotate16(x: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(x, v128.load(ROTATIONS));
  return v128.shuffle<u16>(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
}

@inline
function rotate8(x: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(x, v128.load(ROTATIONS, 16));
  return v128.or(i32x4.shr_u(x, 8), i32x4.shl(x, 24));
}

@inline
function rotate12(x: v128): v128 {
  return v128.or(i32x4.shr_u(x, 12), i32x4.shl(x, 20));
}

@inline
function rotate7(x: v128): v128 {
  return v128.or(i32x4.shr_u(x, 7), i32x4.shl(x, 25));
}

/** `b` is what comes last in the chain of dependencies: it waits for nothing else. */
@inline
function sum3(a: v128, b: v128, c: v128): v128 {
  return i32x4.add(i32x4.add(a, c), b);
}

/**
 * One compression in each lane. `chaining`: eight vectors, replaced by the new chaining values; `block`: sixteen vectors
 * of message words; `size`: bytes of message in the block.
 */
@inline
export function compress4(chaining: usize, block: usize, size: u32, flags: u32): void {
  mix4(chaining, block, size, flags, i32x4.splat(0), chaining, false);
}

/**
 * As `compress4`, with a counter for each lane and the result at `out`: eight vectors, or, for output that goes on, all
 * sixteen.
 */
export function mix4(
  chaining: usize,
  block: usize,
  size: u32,
  flags: u32,
  counter: v128,
  out: usize,
  isWide: bool,
): void {
  let v0 = v128.load(chaining);
  let v1 = v128.load(chaining, 16);
  let v2 = v128.load(chaining, 32);
  let v3 = v128.load(chaining, 48);
  let v4 = v128.load(chaining, 64);
  let v5 = v128.load(chaining, 80);
  let v6 = v128.load(chaining, 96);
  let v7 = v128.load(chaining, 112);
  let v8 = v128.load(IV);
  let v9 = v128.load(IV, 16);
  let v10 = v128.load(IV, 32);
  let v11 = v128.load(IV, 48);
  let v12 = counter;
  let v13 = i32x4.splat(0);
  let v14 = i32x4.splat(size);
  let v15 = i32x4.splat(flags);
  v0 = sum3(v0, v4, v128.load(block));
  v1 = sum3(v1, v5, v128.load(block, 32));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 16));
  v1 = sum3(v1, v5, v128.load(block, 48));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 64));
  v3 = sum3(v3, v7, v128.load(block, 96));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block, 80));
  v3 = sum3(v3, v7, v128.load(block, 112));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 128));
  v1 = sum3(v1, v6, v128.load(block, 160));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block, 144));
  v1 = sum3(v1, v6, v128.load(block, 176));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block, 192));
  v3 = sum3(v3, v4, v128.load(block, 224));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 208));
  v3 = sum3(v3, v4, v128.load(block, 240));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  v0 = sum3(v0, v4, v128.load(block, 32));
  v1 = sum3(v1, v5, v128.load(block, 48));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 96));
  v1 = sum3(v1, v5, v128.load(block, 160));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 112));
  v3 = sum3(v3, v7, v128.load(block, 64));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block));
  v3 = sum3(v3, v7, v128.load(block, 208));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 16));
  v1 = sum3(v1, v6, v128.load(block, 192));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block, 176));
  v1 = sum3(v1, v6, v128.load(block, 80));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block, 144));
  v3 = sum3(v3, v4, v128.load(block, 240));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 224));
  v3 = sum3(v3, v4, v128.load(block, 128));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  v0 = sum3(v0, v4, v128.load(block, 48));
  v1 = sum3(v1, v5, v128.load(block, 160));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 64));
  v1 = sum3(v1, v5, v128.load(block, 192));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 208));
  v3 = sum3(v3, v7, v128.load(block, 112));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block, 32));
  v3 = sum3(v3, v7, v128.load(block, 224));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 96));
  v1 = sum3(v1, v6, v128.load(block, 144));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block, 80));
  v1 = sum3(v1, v6, v128.load(block));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block, 176));
  v3 = sum3(v3, v4, v128.load(block, 128));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 240));
  v3 = sum3(v3, v4, v128.load(block, 16));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  v0 = sum3(v0, v4, v128.load(block, 160));
  v1 = sum3(v1, v5, v128.load(block, 192));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 112));
  v1 = sum3(v1, v5, v128.load(block, 144));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 224));
  v3 = sum3(v3, v7, v128.load(block, 208));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block, 48));
  v3 = sum3(v3, v7, v128.load(block, 240));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 64));
  v1 = sum3(v1, v6, v128.load(block, 176));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block));
  v1 = sum3(v1, v6, v128.load(block, 32));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block, 80));
  v3 = sum3(v3, v4, v128.load(block, 16));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 128));
  v3 = sum3(v3, v4, v128.load(block, 96));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  v0 = sum3(v0, v4, v128.load(block, 192));
  v1 = sum3(v1, v5, v128.load(block, 144));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 208));
  v1 = sum3(v1, v5, v128.load(block, 176));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 240));
  v3 = sum3(v3, v7, v128.load(block, 224));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block, 160));
  v3 = sum3(v3, v7, v128.load(block, 128));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 112));
  v1 = sum3(v1, v6, v128.load(block, 80));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block, 32));
  v1 = sum3(v1, v6, v128.load(block, 48));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block));
  v3 = sum3(v3, v4, v128.load(block, 96));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 16));
  v3 = sum3(v3, v4, v128.load(block, 64));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  v0 = sum3(v0, v4, v128.load(block, 144));
  v1 = sum3(v1, v5, v128.load(block, 176));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 224));
  v1 = sum3(v1, v5, v128.load(block, 80));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 128));
  v3 = sum3(v3, v7, v128.load(block, 240));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block, 192));
  v3 = sum3(v3, v7, v128.load(block, 16));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 208));
  v1 = sum3(v1, v6, v128.load(block));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block, 48));
  v1 = sum3(v1, v6, v128.load(block, 160));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block, 32));
  v3 = sum3(v3, v4, v128.load(block, 64));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 96));
  v3 = sum3(v3, v4, v128.load(block, 112));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  v0 = sum3(v0, v4, v128.load(block, 176));
  v1 = sum3(v1, v5, v128.load(block, 80));
  v12 = rotate16(v128.xor(v12, v0));
  v13 = rotate16(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate12(v128.xor(v4, v8));
  v5 = rotate12(v128.xor(v5, v9));
  v0 = sum3(v0, v4, v128.load(block, 240));
  v1 = sum3(v1, v5, v128.load(block));
  v12 = rotate8(v128.xor(v12, v0));
  v13 = rotate8(v128.xor(v13, v1));
  v8 = i32x4.add(v8, v12);
  v9 = i32x4.add(v9, v13);
  v4 = rotate7(v128.xor(v4, v8));
  v5 = rotate7(v128.xor(v5, v9));
  v2 = sum3(v2, v6, v128.load(block, 16));
  v3 = sum3(v3, v7, v128.load(block, 128));
  v14 = rotate16(v128.xor(v14, v2));
  v15 = rotate16(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate12(v128.xor(v6, v10));
  v7 = rotate12(v128.xor(v7, v11));
  v2 = sum3(v2, v6, v128.load(block, 144));
  v3 = sum3(v3, v7, v128.load(block, 96));
  v14 = rotate8(v128.xor(v14, v2));
  v15 = rotate8(v128.xor(v15, v3));
  v10 = i32x4.add(v10, v14);
  v11 = i32x4.add(v11, v15);
  v6 = rotate7(v128.xor(v6, v10));
  v7 = rotate7(v128.xor(v7, v11));
  v0 = sum3(v0, v5, v128.load(block, 224));
  v1 = sum3(v1, v6, v128.load(block, 32));
  v15 = rotate16(v128.xor(v15, v0));
  v12 = rotate16(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate12(v128.xor(v5, v10));
  v6 = rotate12(v128.xor(v6, v11));
  v0 = sum3(v0, v5, v128.load(block, 160));
  v1 = sum3(v1, v6, v128.load(block, 192));
  v15 = rotate8(v128.xor(v15, v0));
  v12 = rotate8(v128.xor(v12, v1));
  v10 = i32x4.add(v10, v15);
  v11 = i32x4.add(v11, v12);
  v5 = rotate7(v128.xor(v5, v10));
  v6 = rotate7(v128.xor(v6, v11));
  v2 = sum3(v2, v7, v128.load(block, 48));
  v3 = sum3(v3, v4, v128.load(block, 112));
  v13 = rotate16(v128.xor(v13, v2));
  v14 = rotate16(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate12(v128.xor(v7, v8));
  v4 = rotate12(v128.xor(v4, v9));
  v2 = sum3(v2, v7, v128.load(block, 64));
  v3 = sum3(v3, v4, v128.load(block, 208));
  v13 = rotate8(v128.xor(v13, v2));
  v14 = rotate8(v128.xor(v14, v3));
  v8 = i32x4.add(v8, v13);
  v9 = i32x4.add(v9, v14);
  v7 = rotate7(v128.xor(v7, v8));
  v4 = rotate7(v128.xor(v4, v9));
  if (isWide) {
    v128.store(out, v128.xor(v8, v128.load(chaining)), 128);
    v128.store(out, v128.xor(v9, v128.load(chaining, 16)), 144);
    v128.store(out, v128.xor(v10, v128.load(chaining, 32)), 160);
    v128.store(out, v128.xor(v11, v128.load(chaining, 48)), 176);
    v128.store(out, v128.xor(v12, v128.load(chaining, 64)), 192);
    v128.store(out, v128.xor(v13, v128.load(chaining, 80)), 208);
    v128.store(out, v128.xor(v14, v128.load(chaining, 96)), 224);
    v128.store(out, v128.xor(v15, v128.load(chaining, 112)), 240);
  }
  v128.store(out, v128.xor(v0, v8));
  v128.store(out, v128.xor(v1, v9), 16);
  v128.store(out, v128.xor(v2, v10), 32);
  v128.store(out, v128.xor(v3, v11), 48);
  v128.store(out, v128.xor(v4, v12), 64);
  v128.store(out, v128.xor(v5, v13), 80);
  v128.store(out, v128.xor(v6, v14), 96);
  v128.store(out, v128.xor(v7, v15), 112);
}

/** Loads the key, eight words, into all lanes of `chaining`. */
export function startKeyed4(chaining: usize, key: usize): void {
  for (let k: usize = 0; k < 8; k++) v128.store(chaining + 16 * k, v128.load32_splat(key + 4 * k));
}

/** Four rows of four words each become four vectors of one word of each row. */
@inline
function transpose(r0: v128, r1: v128, r2: v128, r3: v128, to: usize): void {
  const low01 = v128.shuffle<u32>(r0, r1, 0, 4, 1, 5);
  const high01 = v128.shuffle<u32>(r0, r1, 2, 6, 3, 7);
  const low23 = v128.shuffle<u32>(r2, r3, 0, 4, 1, 5);
  const high23 = v128.shuffle<u32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<u64>(low01, low23, 0, 2));
  v128.store(to, v128.shuffle<u64>(low01, low23, 1, 3), 16);
  v128.store(to, v128.shuffle<u64>(high01, high23, 0, 2), 32);
  v128.store(to, v128.shuffle<u64>(high01, high23, 1, 3), 48);
}

/** 64 bytes of each of four messages `stride` bytes apart. */
export function loadBlock4(from: usize, stride: usize, block: usize): void {
  const b = from + stride;
  const c = b + stride;
  const d = c + stride;
  transpose(v128.load(from), v128.load(b), v128.load(c), v128.load(d), block);
  transpose(v128.load(from, 16), v128.load(b, 16), v128.load(c, 16), v128.load(d, 16), block + 64);
  transpose(v128.load(from, 32), v128.load(b, 32), v128.load(c, 32), v128.load(d, 32), block + 128);
  transpose(v128.load(from, 48), v128.load(b, 48), v128.load(c, 48), v128.load(d, 48), block + 192);
}

/** Four digests, one after another, out of the vectors of chaining values. */
export function storeDigests4(chaining: usize, out: usize): void {
  const words = chaining;
  const scratch = chaining + 128;
  transpose(v128.load(words), v128.load(words, 16), v128.load(words, 32), v128.load(words, 48), scratch);
  transpose(v128.load(words, 64), v128.load(words, 80), v128.load(words, 96), v128.load(words, 112), scratch + 64);
  for (let lane: usize = 0; lane < 4; lane++) {
    v128.store(out + 32 * lane, v128.load(scratch + 16 * lane));
    v128.store(out + 32 * lane + 16, v128.load(scratch + 64 + 16 * lane));
  }
}

/** Bytes of working memory that `hashRows4` needs: chaining values, room for their transposition, a block, a tail. */
export const HASH_SCRATCH_BYTES: usize = 256 + 256 + 256;

/**
 * Keyed digests of four messages of `messageBytes` (0 to 1024) bytes, `stride` apart. Reads nothing behind a message's
 * end. `scratch`: HASH_SCRATCH_BYTES, aligned to 16.
 */
export function hashRows4(
  key: usize,
  messages: usize,
  messageBytes: usize,
  stride: usize,
  out: usize,
  scratch: usize,
): void {
  const block = scratch + 256;
  const tail = scratch + 512;
  startKeyed4(scratch, key);
  let flags: u32 = KEYED_HASH | CHUNK_START;
  let at: usize = 0;
  while (messageBytes > at + 64) {
    loadBlock4(messages + at, stride, block);
    compress4(scratch, block, 64, flags);
    flags = KEYED_HASH;
    at += 64;
  }
  const rest = messageBytes - at;
  flags |= CHUNK_END | ROOT;
  if (rest == 64) {
    loadBlock4(messages + at, stride, block);
  } else {
    memory.fill(tail, 0, 256);
    for (let lane: usize = 0; lane < 4; lane++) {
      memory.copy(tail + 64 * lane, messages + lane * stride + at, rest);
    }
    loadBlock4(tail, 64, block);
  }
  compress4(scratch, block, <u32>rest, flags);
  storeDigests4(scratch, out);
}

/** Keyed digests of `count` messages of one size that stand one after another. The last few take a whole group's time. */
export function hashMany(
  key: usize,
  messages: usize,
  messageBytes: usize,
  count: usize,
  out: usize,
  scratch: usize,
): void {
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) {
    hashRows4(key, messages + i * messageBytes, messageBytes, messageBytes, out + 32 * i, scratch);
  }
  if (i == count) return;
  const digests = scratch + HASH_SCRATCH_BYTES;
  for (; i < count; i++) {
    hashRows4(key, messages + i * messageBytes, messageBytes, 0, digests, scratch);
    memory.copy(out + 32 * i, digests, 32);
  }
}

/** As HASH_SCRATCH_BYTES, for `hashMany`. */
export const HASH_MANY_SCRATCH_BYTES: usize = HASH_SCRATCH_BYTES + 128;

/**
 * Keyed hash of one message of at most 1024 bytes with `blocks` blocks of 64 bytes of extendable output. `scratch`: as
 * for `hashMany`.
 */
export function keyedHash(
  key: usize,
  message: usize,
  messageBytes: usize,
  out: usize,
  blocks: usize,
  scratch: usize,
): void {
  const block = scratch + 256;
  const tail = scratch + 512;
  startKeyed4(scratch, key);
  let flags: u32 = KEYED_HASH | CHUNK_START;
  let at: usize = 0;
  for (; messageBytes > at + 64; at += 64) {
    loadBlock4(message + at, 0, block);
    compress4(scratch, block, 64, flags);
    flags = KEYED_HASH;
  }
  const rest = messageBytes - at;
  memory.fill(tail, 0, 64);
  memory.copy(tail, message + at, rest);
  loadBlock4(tail, 0, block);
  const wide = tail;
  for (let group: usize = 0; group < blocks; group += 4) {
    const counter = i32x4.add(i32x4.splat(<i32>group), v128.load(LANES));
    mix4(scratch, block, <u32>rest, flags | CHUNK_END | ROOT, counter, wide, true);
    const lanes = min<usize>(4, blocks - group);
    for (let lane: usize = 0; lane < lanes; lane++) {
      const to = out + 64 * (group + lane);
      for (let word: usize = 0; word < 16; word++) {
        store<u32>(to + 4 * word, load<u32>(wide + 16 * word + 4 * lane));
      }
    }
  }
}

const LANES = memory.data<u32>([0, 1, 2, 3], 16);
