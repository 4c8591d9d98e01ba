/** A copy with one bit flipped. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = bytes.slice();
  const at = Math.min(bit >> 3, copy.length - 1);
  copy[at] = (copy[at] as number) ^ (1 << (bit & 7));
  return copy;
}
