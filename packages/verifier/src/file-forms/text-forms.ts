/**
 * Bytes as people write them into files and JSON: hex, base64, plain. Tolerant of what tools add (line ends, `0x`, a byte
 * order mark), never of anything that would change a byte. What none of the forms fits is null, never a guess.
 */
import { utf8Decode } from '@haca/primitives';

const NO_DIGIT = 255;
const BASE64_VALUES = new Uint8Array(128).fill(NO_DIGIT);
for (const [value, digit] of [
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
].entries())
  BASE64_VALUES[digit.charCodeAt(0)] = value;
BASE64_VALUES[0x2d] = 62;
BASE64_VALUES[0x5f] = 63;

/**
 * UTF-8 text without zero bytes and without a byte order mark, or UTF-16 that begins with one, as some shells redirect into files;
 * null for anything else.
 */
export function textOf(bytes: Uint8Array): string | null {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return utf16Of(bytes);
  if (bytes.includes(0)) return null;
  try {
    const text = utf8Decode(bytes);
    return text.startsWith('\ufeff') ? text.slice(1) : text;
  } catch {
    return null;
  }
}

function utf16Of(bytes: Uint8Array): string | null {
  const parts: string[] = [];
  for (let at = 2; at + 1 < bytes.length; at += 2)
    parts.push(String.fromCharCode((bytes[at] as number) | ((bytes[at + 1] as number) << 8)));
  const text = parts.join('');
  return bytes.length % 2 === 0 && text.isWellFormed() && !text.includes('\0') ? text : null;
}

/** Hex digits of either case, with or without `0x`, blanks and line ends anywhere between digits. At least one byte. */
export function hexOf(text: string): Uint8Array | null {
  const trimmed = text.trim();
  const digits = trimmed.startsWith('0x') || trimmed.startsWith('0X') ? trimmed.slice(2) : trimmed;
  const bytes = new Uint8Array(digits.length >> 1);
  let count = 0;
  for (let i = 0; i < digits.length; i++) {
    const code = digits.charCodeAt(i);
    if (isBlank(code)) continue;
    const value = hexDigit(code);
    if (value < 0) return null;
    const at = count >> 1;
    bytes[at] = ((bytes[at] ?? 0) << 4) | value;
    count++;
  }
  return count === 0 || count % 2 === 1 ? null : bytes.slice(0, count >> 1);
}

/** Base64 of either alphabet (RFC 4648), padded or not, line ends anywhere. No stray bits, so one text for each byte string. */
export function base64Of(text: string): Uint8Array | null {
  const bytes = new Uint8Array(Math.ceil((text.length * 3) / 4));
  let [digits, padding, group, at] = [0, 0, 0, 0];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (isBlank(code)) continue;
    if (code === 0x3d) {
      padding++;
      continue;
    }
    const value = BASE64_VALUES[code] ?? NO_DIGIT;
    if (value === NO_DIGIT || padding > 0) return null;
    group = ((group << 6) | value) & 0x3fff;
    digits++;
    const spare = (digits * 6) % 8;
    if (digits % 4 !== 1) bytes[at++] = group >> spare;
  }
  const spare = (digits * 6) % 8;
  const isWhole = digits > 0 && digits % 4 !== 1 && (group & ((1 << spare) - 1)) === 0;
  const isPadded = padding === 0 || (padding <= 2 && (digits + padding) % 4 === 0);
  return isWhole && isPadded ? bytes.slice(0, at) : null;
}

/** Base64url without padding (RFC 7515 section 2): one text for each byte string. */
export function base64UrlOf(text: string): Uint8Array | null {
  return /^[A-Za-z0-9_-]+$/.test(text) ? base64Of(text) : null;
}

/** Bytes written as hex, else as base64. */
export function bytesOfText(text: string): Uint8Array | null {
  return hexOf(text) ?? base64Of(text);
}

function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}
