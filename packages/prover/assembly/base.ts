/**
 * Vectors of integers in the width they are stored in. A value is taken as the integer it is; 32-bit ones lie in (-p, p),
 * or are canonical residues. Kernels read up to 15 bytes behind the last value.
 */
export const I8: u32 = 0;
export const U8: u32 = 1;
export const I16: u32 = 2;
export const U16: u32 = 3;
export const WORD: u32 = 4;

@inline
export function widthOf(type: u32): usize {
  return type <= U8 ? 1 : type <= U16 ? 2 : 4;
}

/** Four values from `at` on as 32-bit integers. */
@inline
export function loadFour(type: u32, at: usize): v128 {
  if (type == I8) return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at)));
  if (type == U8) return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at)));
  if (type == I16) return v128.load16x4_s(at);
  if (type == U16) return v128.load16x4_u(at);
  return v128.load(at);
}

/** One value. */
@inline
export function loadOne(type: u32, at: usize): i32 {
  if (type == I8) return <i32>load<i8>(at);
  if (type == U8) return <i32>load<u8>(at);
  if (type == I16) return <i32>load<i16>(at);
  if (type == U16) return <i32>load<u16>(at);
  return load<i32>(at);
}
