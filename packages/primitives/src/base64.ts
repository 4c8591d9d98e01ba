/**
 * Base64 (RFC 4648): the one reader and the one writer. A text is read in a form that the caller names, and in that form each byte
 * string has one text, but for what the form itself leaves open (either alphabet, optional padding, blanks). By table, as what
 * all runtimes have in common (`btoa`, `atob`) is lax and slow for bytes.
 */
import { utf8Decode } from './bytes.ts';

export interface Base64Form {
  /** RFC 4648 section 4 (`+/`), section 5 (`-_`), or any mixture. */
  readonly alphabet: 'standard' | 'url' | 'either';
  readonly padding: 'required' | 'forbidden' | 'optional';
  /** Spaces, tabs and line ends. */
  readonly blanks: 'forbidden' | 'skipped';
}

export const BASE64: Base64Form = { alphabet: 'standard', padding: 'required', blanks: 'forbidden' };
export const BASE64URL: Base64Form = { alphabet: 'url', padding: 'forbidden', blanks: 'forbidden' };

/**
 * `digit`: a character that is none. `length`: digits that make no whole bytes, or lack padding. `padding`: such as the form or the digits
 * do not have. `stray-bits`: bits after the last byte that are not zero.
 */
export type Base64Fault = 'digit' | 'length' | 'padding' | 'stray-bits';

export type Base64Reading =
  | { readonly ok: true; readonly bytes: Uint8Array }
  /** `at`: index of the character where it cannot go on; of the end if it only lacks more. Blanks that are skipped do not count. */
  | { readonly ok: false; readonly fault: Base64Fault; readonly at: number };

const LETTERS_AND_DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const PADDING = 0x3d;
const NO_DIGIT = 255;

/** Values of character codes below 128. */
const VALUES: Readonly<Record<Base64Form['alphabet'], Uint8Array>> = {
  standard: valuesOf('+/'),
  url: valuesOf('-_'),
  either: valuesOf('+/', '-_'),
};

/** Character codes of the digits. */
const DIGITS = { standard: codesOf('+/'), url: codesOf('-_') } as const;

function codesOf(last: string): Uint8Array {
  return Uint8Array.from(LETTERS_AND_DIGITS + last, (digit) => digit.charCodeAt(0));
}

function valuesOf(...lasts: readonly string[]): Uint8Array {
  const values = new Uint8Array(128).fill(NO_DIGIT);
  for (const last of lasts) {
    codesOf(last).forEach((code, value) => {
      values[code] = value;
    });
  }
  return values;
}

/** Total. Time and memory are linear in the text, whose length is the caller's to bound. No text is no bytes. */
export function readBase64(given: string, { alphabet, padding, blanks }: Base64Form): Base64Reading {
  const text = blanks === 'skipped' ? given.replaceAll(/[\t-\r ]+/g, '') : given;
  const values = VALUES[alphabet];
  const padCount = paddingOf(text);
  const digitCount = text.length - padCount;
  const spareDigits = digitCount % 4;
  const bytes = new Uint8Array((digitCount * 3) >> 2);
  let out = 0;
  let at = 0;
  for (const end = digitCount - spareDigits; at < end; at += 4) {
    const a = values[text.charCodeAt(at)] ?? NO_DIGIT;
    const b = values[text.charCodeAt(at + 1)] ?? NO_DIGIT;
    const c = values[text.charCodeAt(at + 2)] ?? NO_DIGIT;
    const d = values[text.charCodeAt(at + 3)] ?? NO_DIGIT;
    if ((a | b | c | d) === NO_DIGIT) return noDigit(text, values, at);
    bytes[out] = (a << 2) | (b >> 4);
    bytes[out + 1] = (b << 4) | (c >> 2);
    bytes[out + 2] = (c << 6) | d;
    out += 3;
  }
  let group = 0;
  for (; at < digitCount; at++) {
    const value = values[text.charCodeAt(at)] ?? NO_DIGIT;
    if (value === NO_DIGIT) return { ok: false, fault: 'digit', at };
    group = (group << 6) | value;
  }
  const fault = paddingFault(digitCount, padCount, padding);
  if (fault !== null) return { ok: false, fault, at: digitCount };
  const strayBits = (spareDigits * 6) % 8;
  if ((group & ((1 << strayBits) - 1)) !== 0) return { ok: false, fault: 'stray-bits', at: text.length };
  if (spareDigits === 2) bytes[out] = group >> 4;
  if (spareDigits === 3) {
    bytes[out] = group >> 10;
    bytes[out + 1] = group >> 2;
  }
  return { ok: true, bytes };
}

/** At most two: a third stands where a digit should. */
function paddingOf(text: string): number {
  if (text.charCodeAt(text.length - 1) !== PADDING) return 0;
  return text.charCodeAt(text.length - 2) === PADDING ? 2 : 1;
}

function noDigit(text: string, values: Uint8Array, from: number): Base64Reading {
  let at = from;
  while ((values[text.charCodeAt(at)] ?? NO_DIGIT) !== NO_DIGIT) at++;
  return { ok: false, fault: 'digit', at };
}

function paddingFault(
  digitCount: number,
  padCount: number,
  padding: Base64Form['padding'],
): 'length' | 'padding' | null {
  if (padCount > 0) return padding === 'forbidden' || (digitCount + padCount) % 4 !== 0 ? 'padding' : null;
  if (digitCount % 4 === 1) return 'length';
  return padding === 'required' && digitCount % 4 !== 0 ? 'length' : null;
}

/** With padding unless it is forbidden, in the standard alphabet unless the URL's is asked for. */
export function writeBase64(bytes: Uint8Array, { alphabet, padding }: Base64Form): string {
  const digits = DIGITS[alphabet === 'url' ? 'url' : 'standard'];
  const { length } = bytes;
  const digitCount = Math.ceil((length * 4) / 3);
  const textLength = padding === 'forbidden' ? digitCount : Math.ceil(length / 3) * 4;
  const codes = new Uint8Array(textLength).fill(PADDING, digitCount);
  let at = 0;
  for (let i = 0; i < length; i += 3) {
    // Bytes after the last one read as 0, digits after the last one are not written.
    const group = ((bytes[i] as number) << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    codes[at] = digits[group >> 18] as number;
    codes[at + 1] = digits[(group >> 12) & 63] as number;
    if (at + 2 < digitCount) codes[at + 2] = digits[(group >> 6) & 63] as number;
    if (at + 3 < digitCount) codes[at + 3] = digits[group & 63] as number;
    at += 4;
  }
  return utf8Decode(codes);
}
