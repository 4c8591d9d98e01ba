/**
 * The PCK chain inside a quote: PEM text that no signature covers as text, so each accepted text is the one text of its
 * certificates. Base64 is canonical, lines have 64 characters but the last, line ends are the same throughout, and of the
 * ends that quoting libraries write (a line end, none; then a zero byte, none) none turns into another by a flipped bit.
 */
import { BASE64, MalformedError, readBase64, utf8Decode } from '@haca/primitives';

/** PCK, its CA, the root. */
export const QUOTE_CHAIN_LENGTH = 3;
const LINE = 64;
const LF = 0x0a;
const CR = 0x0d;
const BEGIN = codesOf('-----BEGIN CERTIFICATE-----');
const END = codesOf('-----END CERTIFICATE-----');

/** DER of the certificates in their order: leaf first, root last. Throws `MalformedError`. */
export function parseQuotePem(text: Uint8Array): readonly Uint8Array[] {
  const lineEnd = text[BEGIN.length] === CR ? [CR, LF] : [LF];
  const cursor = { text, characters: asciiOf(text), lineEnd, at: 0 };
  const certificates: Uint8Array[] = [];
  for (let i = 0; i < QUOTE_CHAIN_LENGTH; i++) {
    if (i > 0) expectBytes(cursor, lineEnd);
    expectBytes(cursor, BEGIN);
    expectBytes(cursor, lineEnd);
    certificates.push(readLines(cursor));
    expectBytes(cursor, END);
  }
  if (cursor.at < text.length && text[cursor.at] !== 0) expectBytes(cursor, lineEnd);
  if (cursor.at < text.length && text[cursor.at] === 0) cursor.at++;
  if (cursor.at !== text.length) fail(cursor, 'the end of the text');
  return certificates;
}

interface Cursor {
  readonly text: Uint8Array;
  /** The same, a character a byte. */
  readonly characters: string;
  readonly lineEnd: readonly number[];
  at: number;
}

function expectBytes(cursor: Cursor, expected: readonly number[]): void {
  for (const byte of expected) {
    if (cursor.text[cursor.at] !== byte) fail(cursor, `byte 0x${byte.toString(16).padStart(2, '0')}`);
    cursor.at++;
  }
}

/** Lines of base64 up to the one that is not full, or that `-` follows. */
function readLines(cursor: Cursor): Uint8Array {
  const start = cursor.at;
  const lines: string[] = [];
  for (;;) {
    const line = lineAt(cursor);
    if (line === '') fail(cursor, 'a line of base64');
    lines.push(line);
    cursor.at += line.length;
    const isLast = line.length < LINE || line.endsWith('=');
    expectBytes(cursor, cursor.lineEnd);
    if (isLast || cursor.text[cursor.at] === END[0]) break;
  }
  const reading = readBase64(lines.join(''), BASE64);
  if (reading.ok) return reading.bytes;
  const lineEnds = Math.min(Math.floor(reading.at / LINE), lines.length - 1);
  const at = start + reading.at + lineEnds * cursor.lineEnd.length;
  const expected = reading.fault === 'stray-bits' ? 'unused bits of zero' : 'a base64 character';
  return fail({ ...cursor, at }, expected);
}

const DIGITS = new RegExp(`[A-Za-z0-9+/]{0,${LINE}}`, 'y');

/** Digits as far as a line may go, and the padding that completes their last group. */
function lineAt({ characters, at }: Cursor): string {
  DIGITS.lastIndex = at;
  const digits = DIGITS.exec(characters)?.[0] ?? '';
  let end = at + digits.length;
  while ((end - at) % 4 !== 0 && characters[end] === '=') end++;
  return characters.slice(at, end);
}

function fail({ text, at }: Pick<Cursor, 'text' | 'at'>, expected: string): never {
  const byte = text[at];
  const got = byte === undefined ? 'the end' : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  throw new MalformedError('pem.malformed', `quote.pck.${at}`, expected, got);
}

function asciiOf(text: Uint8Array): string {
  for (let at = 0; at < text.length; at++) if ((text[at] as number) >= 0x80) fail({ text, at }, 'ASCII');
  return utf8Decode(text, 'quote.pck');
}

function codesOf(text: string): readonly number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}
