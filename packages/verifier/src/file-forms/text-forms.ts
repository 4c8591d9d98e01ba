/**
 * Bytes as people write them into files and JSON: hex, base64, plain. Tolerant of what tools add (line ends, `0x`, a byte
 * order mark), never of anything that would change a byte. What none of the forms fits is null, never a guess.
 */
import {
  BASE64URL,
  type Base64Form,
  type Base64Reading,
  type HexForm,
  type HexReading,
  readBase64,
  readHex,
  utf8Decode,
} from '@haca/primitives';

const LENIENT_HEX: HexForm = { digits: 'either', blanks: 'skipped' };
const LENIENT_BASE64: Base64Form = { alphabet: 'either', padding: 'optional', blanks: 'skipped' };

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
  return bytesIn(readHex(digits, LENIENT_HEX));
}

/** Base64 of either alphabet (RFC 4648), padded or not, line ends anywhere. No stray bits, so one text for each byte string. */
export function base64Of(text: string): Uint8Array | null {
  return bytesIn(readBase64(text, LENIENT_BASE64));
}

/** Base64url without padding (RFC 7515 section 2): one text for each byte string. */
export function base64UrlOf(text: string): Uint8Array | null {
  return bytesIn(readBase64(text, BASE64URL));
}

/** Bytes written as hex, else as base64. */
export function bytesOfText(text: string): Uint8Array | null {
  return hexOf(text) ?? base64Of(text);
}

function bytesIn(reading: HexReading | Base64Reading): Uint8Array | null {
  return reading.ok && reading.bytes.length > 0 ? reading.bytes : null;
}
