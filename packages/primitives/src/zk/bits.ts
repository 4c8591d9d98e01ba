/** The exponent of an exact power of two up to 2^52, or undefined. */
export function exactLog2(value: number): number | undefined {
  let exponent = 0;
  let power = 1;
  while (power < value && exponent < 52) {
    power *= 2;
    exponent++;
  }
  return power === value ? exponent : undefined;
}

/** `value` below 2^bits with its bits in the opposite order; at most 31 bits. */
export function reverseBits(value: number, bits: number): number {
  let reversed = 0;
  for (let i = 0; i < bits; i++) reversed = 2 * reversed + ((value >>> i) & 1);
  return reversed;
}

/**
 * The same canonical words as signed integers: they are below 2^31, so the values are equal, and machines handle signed
 * words about twice as fast.
 */
export function signedWords(words: Uint32Array): Int32Array {
  return new Int32Array(words.buffer, words.byteOffset, words.length);
}
