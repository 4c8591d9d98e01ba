/** An RSA key in the one form that providers take: modulus of 2048, 3072 or 4096 bits, exponent 65537. */

/** What stands before the modulus in DER RSAPublicKey, by its size: SEQUENCE, INTEGER, and the zero that keeps it positive. */
const HEADS: ReadonlyMap<number, readonly number[]> = new Map([
  [256, [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]],
  [384, [0x30, 0x82, 0x01, 0x8a, 0x02, 0x82, 0x01, 0x81, 0x00]],
  [512, [0x30, 0x82, 0x02, 0x0a, 0x02, 0x82, 0x02, 0x01, 0x00]],
]);
/** INTEGER 65537. */
const EXPONENT: readonly number[] = [0x02, 0x03, 0x01, 0x00, 0x01];

/** The modulus, big-endian, its highest bit and its lowest bit set; null for every other form. */
export function rsaModulus(publicKey: Uint8Array): Uint8Array | null {
  for (const [sizeBytes, head] of HEADS) {
    const end = head.length + sizeBytes;
    if (publicKey.length !== end + EXPONENT.length) continue;
    const modulus = publicKey.subarray(head.length, end);
    const isCanonical =
      head.every((byte, at) => publicKey[at] === byte) &&
      EXPONENT.every((byte, at) => publicKey[end + at] === byte) &&
      (modulus[0] as number) >= 0x80 &&
      ((modulus[sizeBytes - 1] as number) & 1) === 1;
    return isCanonical ? modulus : null;
  }
  return null;
}
