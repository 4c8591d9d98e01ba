/**
 * Base64 (RFC 4648) with one spelling for each byte string: what the encoder makes is all the decoder takes. By table, since
 * every request of a node carries some of it and what all runtimes have in common (`btoa`, `atob`) is slow for bytes.
 */
import { MalformedError } from '@haca/primitives';

interface Alphabet {
  readonly name: string;
  /** Character codes of the 64 digits. */
  readonly digits: Uint8Array;
  /** Value of each character code, or 255. */
  readonly values: Uint8Array;
  readonly isPadded: boolean;
}

const LETTERS_AND_DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const PADDING = 0x3d;
const NO_DIGIT = 255;
const ascii = new TextDecoder();

const STANDARD = alphabetOf('base64', '+/', true);
const URL_SAFE = alphabetOf('base64url', '-_', false);

function alphabetOf(name: string, last: string, isPadded: boolean): Alphabet {
  const digits = Uint8Array.from(LETTERS_AND_DIGITS + last, (digit) => digit.charCodeAt(0));
  const values = new Uint8Array(256).fill(NO_DIGIT);
  digits.forEach((code, value) => {
    values[code] = value;
  });
  return { name, digits, values, isPadded };
}

/** Standard base64 with padding, as CometBFT's JSON-RPC uses it. */
export function base64(bytes: Uint8Array): string {
  return encodeDigits(STANDARD, bytes);
}

/** Throws `MalformedError` for what `base64` would not make. */
export function fromBase64(text: string): Uint8Array {
  return decodeDigits(STANDARD, text);
}

/** base64url without padding, as headers and JSON of this project use it. */
export function base64url(bytes: Uint8Array): string {
  return encodeDigits(URL_SAFE, bytes);
}

/** Strict: the alphabet of RFC 4648 section 5, no padding, no stray bits. Throws `MalformedError`. */
export function fromBase64url(text: string): Uint8Array {
  return decodeDigits(URL_SAFE, text);
}

function encodeDigits({ digits, isPadded }: Alphabet, bytes: Uint8Array): string {
  const { length } = bytes;
  const digitCount = Math.ceil((length * 4) / 3);
  const codes = new Uint8Array(isPadded ? Math.ceil(length / 3) * 4 : digitCount).fill(PADDING, digitCount);
  let at = 0;
  for (let i = 0; i < length; i += 3) {
    // Bytes after the last one read as 0, digits after the last one are not written.
    const group = ((bytes[i] as number) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    for (let shift = 18; shift >= 0 && at < digitCount; shift -= 6) {
      codes[at++] = digits[(group >> shift) & 63] as number;
    }
  }
  return ascii.decode(codes);
}

function decodeDigits({ name, values, isPadded }: Alphabet, text: string): Uint8Array {
  const digitCount = isPadded ? paddedDigits(text) : text.length;
  if (digitCount % 4 === 1 || (isPadded && text.length % 4 !== 0)) throw malformed(name, text);
  const bytes = new Uint8Array((digitCount * 3) >> 2);
  let group = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < digitCount; i++) {
    const value = values[text.charCodeAt(i)] ?? NO_DIGIT;
    if (value === NO_DIGIT) throw malformed(name, text);
    group = ((group << 6) | value) & 0x3fff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = group >> bits;
  }
  if ((group & ((1 << bits) - 1)) !== 0)
    throw new MalformedError(
      `${name}.stray-bits`,
      '',
      `canonical ${name}`,
      JSON.stringify(text.slice(0, 40)),
    );
  return bytes;
}

function paddedDigits(text: string): number {
  if (text.charCodeAt(text.length - 1) !== PADDING) return text.length;
  return text.charCodeAt(text.length - 2) === PADDING ? text.length - 2 : text.length - 1;
}

function malformed(name: string, text: string): MalformedError {
  return new MalformedError(`${name}.invalid`, '', name, JSON.stringify(text.slice(0, 40)));
}
