/** Every copy of `bytes` with exactly one bit changed. */
export function* singleBitFlips(
  bytes: Uint8Array,
): Generator<{ readonly bytes: Uint8Array; readonly bit: number }> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    yield { bytes: flipped, bit };
  }
}

/** Every proper prefix, and the bytes with one more byte behind. */
export function* truncationsAndExtensions(bytes: Uint8Array): Generator<Uint8Array> {
  for (let length = 0; length < bytes.length; length++) yield bytes.slice(0, length);
  for (const extra of [0x00, 0xf6, 0xff]) {
    const extended = new Uint8Array(bytes.length + 1);
    extended.set(bytes);
    extended[bytes.length] = extra;
    yield extended;
  }
}
