/**
 * The one acceptance rule for Ed25519 in this protocol, so that every implementation gives the same answer on every
 * input. RFC 8032 leaves edge cases open and libraries differ on them; this filter removes those cases before the
 * signature equation is evaluated.
 *
 * Accepted iff: public key and R are canonical encodings (y < p, and not "x = 0 with the sign bit set") of points that are
 * not of small order; S < L; and encode(S*B - k*A) equals R byte for byte (no cofactor).
 */
import { toHex } from './hex.ts';

/** The eight points of small order, canonical encodings (order 1, 2, 4, 4, 8, 8, 8, 8). */
const SMALL_ORDER_POINTS: ReadonlySet<string> = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
]);

/** The order of the base point, L = 2^252 + 27742317777372353535851937790883648493, little-endian. */
const GROUP_ORDER_LE = Uint8Array.from([
  0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
]);

/** Whether key (32 bytes) and signature (64 bytes) pass the filter; the signature equation is still to be checked. */
export function isAdmissibleEd25519(publicKey: Uint8Array, signature: Uint8Array): boolean {
  return (
    publicKey.length === 32 &&
    signature.length === 64 &&
    isAdmissiblePoint(publicKey) &&
    isAdmissiblePoint(signature.subarray(0, 32)) &&
    isBelowLittleEndian(signature.subarray(32), GROUP_ORDER_LE)
  );
}

function isAdmissiblePoint(encoded: Uint8Array): boolean {
  if (!isCanonicalY(encoded)) return false;
  // All small-order encodings begin or end in one of few bytes; only then is the set worth asking.
  const first = encoded[0] as number;
  if (first > 1 && first !== 0xec && first !== 0x26 && first !== 0xc7) return true;
  const text = toHex(encoded);
  // y = 1 or y = -1 with the sign bit set encode x = 0 a second time.
  const isNegativeZero =
    text === '0100000000000000000000000000000000000000000000000000000000000080' ||
    text === 'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff';
  return !isNegativeZero && !SMALL_ORDER_POINTS.has(text);
}

/** y < p = 2^255 - 19, the sign bit aside. */
function isCanonicalY(encoded: Uint8Array): boolean {
  if (((encoded[31] as number) & 0x7f) !== 0x7f) return true;
  for (let i = 30; i > 0; i--) if (encoded[i] !== 0xff) return true;
  return (encoded[0] as number) < 0xed;
}

function isBelowLittleEndian(value: Uint8Array, bound: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) {
    const difference = (value[i] as number) - (bound[i] as number);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
