/**
 * Dot products of small integers with five planes of residues. Integers of up to 16 bits give sums that doubles hold
 * exactly; 32-bit ones are added up twice, as doubles for the quotient by p and modulo 2^32 for the remainder.
 */
const P: u64 = 0x78000001;
const INVERSE: f64 = 1.0 / 2013265921.0;
/** Adding it leaves the nearest integer, modulo 2^32, in the low word of a double. */
const ROUND: f64 = 6755399441055744.0;

@inline
function loadFour(type: u32, at: usize): v128 {
  if (type == 0) return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at)));
  if (type == 1) return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at)));
  if (type == 2) return v128.load16x4_s(at);
  if (type == 3) return v128.load16x4_u(at);
  return v128.load(at);
}

@inline
function loadOne(type: u32, at: usize): i32 {
  if (type == 0) return <i32>load<i8>(at);
  if (type == 1) return <i32>load<u8>(at);
  if (type == 2) return <i32>load<i16>(at);
  if (type == 3) return <i32>load<u16>(at);
  return load<i32>(at);
}

@inline
function widthOf(type: u32): usize {
  return type < 2 ? 1 : type < 4 ? 2 : 4;
}

/** The residue of a sum known as a double (to within a small part of p) and modulo 2^32. */
@inline
function residue(sum: f64, word: u32): u64 {
  const quotient = <u32>reinterpret<u64>(sum * INVERSE + ROUND);
  const rest = <i32>(word - quotient * <u32>P);
  return rest < 0 ? <u64>(rest + <i32>P) : <u64>rest;
}

@inline
function dotPlane(type: u32, values: usize, plane: usize, count: usize): u64 {
  const width = widthOf(type);
  // Sums of this many terms stay below 2^51 (small integers), or their rounding far below p (words).
  const terms: usize = type < 2 ? 4096 : type < 4 ? 8 : 128;
  const whole = count & ~3;
  let total: u64 = 0;
  for (let start: usize = 0; start < whole; start += terms) {
    const end = min(start + terms, whole);
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    let words = i32x4.splat(0);
    for (let i = start; i < end; i += 4) {
      const x = loadFour(type, values + i * width);
      const y = v128.load(plane + 4 * i);
      const xHigh = v128.shuffle<u64>(x, x, 1, 1);
      const yHigh = v128.shuffle<u64>(y, y, 1, 1);
      low = f64x2.add(low, f64x2.mul(f64x2.convert_low_i32x4_s(x), f64x2.convert_low_i32x4_s(y)));
      high = f64x2.add(high, f64x2.mul(f64x2.convert_low_i32x4_s(xHigh), f64x2.convert_low_i32x4_s(yHigh)));
      words = i32x4.add(words, i32x4.mul(x, y));
    }
    const both = f64x2.add(low, high);
    const sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
    const word =
      i32x4.extract_lane(words, 0) +
      i32x4.extract_lane(words, 1) +
      i32x4.extract_lane(words, 2) +
      i32x4.extract_lane(words, 3);
    total += residue(sum, <u32>word);
  }
  for (let i = whole; i < count; i++) {
    const x = loadOne(type, values + i * width);
    const y = load<u32>(plane + 4 * i);
    total += residue(<f64>x * <f64>y, <u32>x * y);
  }
  return total % P;
}

/** Type 0 to 5: signed and unsigned integers of 8, 16 and 32 bits. Planes `stride` bytes apart; five words at `out`. */
export function dotBase(
  type: u32,
  values: usize,
  planes: usize,
  stride: usize,
  count: usize,
  out: usize,
): void {
  for (let k: usize = 0; k < 5; k++) {
    const plane = planes + k * stride;
    let sum: u64;
    if (type == 0) sum = dotPlane(0, values, plane, count);
    else if (type == 1) sum = dotPlane(1, values, plane, count);
    else if (type == 2) sum = dotPlane(2, values, plane, count);
    else if (type == 3) sum = dotPlane(3, values, plane, count);
    else sum = dotPlane(4, values, plane, count);
    store<u32>(out + 4 * k, <u32>sum);
  }
}
