/**
 * The PCK chain inside a quote: PEM text that no signature covers as text, so each accepted text is the one text of its
 * certificates. Base64 is canonical, lines have 64 characters but the last, line ends are the same throughout, and of the
 * ends that quoting libraries write (a line end, none; then a zero byte, none) none turns into another by a flipped bit.
 */
import { BASE64, concatBytes, MalformedError, readBase64 } from '@haca/primitives';

/** PCK, its CA, the root. */
export const QUOTE_CHAIN_LENGTH = 3;
const LINE = 64;
const LF = 0x0a;
const CR = 0x0d;
const BEGIN = asciiOf('-----BEGIN CERTIFICATE-----');
const END = asciiOf('-----END CERTIFICATE-----');

/** DER of the certificates in their order: leaf first, root last. Throws `MalformedError`. */
export function parseQuotePem(text: Uint8Array): readonly Uint8Array[] {
  const lineEnd = text[BEGIN.length] === CR ? [CR, LF] : [LF];
  const cursor = { text, lineEnd, at: 0 };
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
  const parts: Uint8Array[] = [];
  for (;;) {
    const line = lineAt(cursor);
    if (line === '') fail(cursor, 'a line of base64');
    const reading = readBase64(line, BASE64);
    if (!reading.ok) {
      const expected = reading.fault === 'stray-bits' ? 'unused bits of zero' : 'a base64 character';
      return fail({ ...cursor, at: cursor.at + reading.at }, expected);
    }
    parts.push(reading.bytes);
    cursor.at += line.length;
    const isLast = line.length < LINE || line.endsWith('=');
    expectBytes(cursor, cursor.lineEnd);
    if (isLast || cursor.text[cursor.at] === END[0]) return concatBytes(...parts);
  }
}

/** Digits as far as a line may go, and the padding that completes their last group. */
function lineAt({ text, at }: Cursor): string {
  const chunk = String.fromCharCode(...text.subarray(at, at + LINE));
  const [digits = ''] = /^[A-Za-z0-9+/]*/.exec(chunk) ?? [];
  let end = digits.length;
  while (end % 4 !== 0 && chunk[end] === '=') end++;
  return chunk.slice(0, end);
}

function fail({ text, at }: Cursor, expected: string): never {
  const byte = text[at];
  const got = byte === undefined ? 'the end' : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  throw new MalformedError('pem.malformed', `quote.pck.${at}`, expected, got);
}

function asciiOf(text: string): readonly number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}
