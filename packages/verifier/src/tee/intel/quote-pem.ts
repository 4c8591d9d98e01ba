/**
 * The PCK chain inside a quote: PEM text that no signature covers as text, so each accepted text is the one text of its
 * certificates. Base64 is canonical, lines have 64 characters but the last, line ends are the same throughout, and of the
 * ends that quoting libraries write (a line end, none; then a zero byte, none) none turns into another by a flipped bit.
 */
import { MalformedError } from '@haca/primitives';

/** PCK, its CA, the root. */
export const QUOTE_CHAIN_LENGTH = 3;
const LINE = 64;
const LF = 0x0a;
const CR = 0x0d;
const PADDING = 0x3d;
const NOT_BASE64 = 0xff;
const BEGIN = asciiOf('-----BEGIN CERTIFICATE-----');
const END = asciiOf('-----END CERTIFICATE-----');
const VALUES = base64Values();

/** DER of the certificates in their order: leaf first, root last. Throws `MalformedError`. */
export function parseQuotePem(text: Uint8Array): readonly Uint8Array[] {
  const lineEnd = text[BEGIN.length] === CR ? [CR, LF] : [LF];
  const cursor = { text, lineEnd, at: 0 };
  const certificates: Uint8Array[] = [];
  for (let i = 0; i < QUOTE_CHAIN_LENGTH; i++) {
    if (i > 0) expectBytes(cursor, lineEnd);
    expectBytes(cursor, BEGIN);
    expectBytes(cursor, lineEnd);
    certificates.push(readBase64(cursor));
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
function readBase64(cursor: Cursor): Uint8Array {
  const { text } = cursor;
  const bytes = new Uint8Array(Math.ceil(((text.length - cursor.at) * 3) / 4));
  let length = 0;
  for (;;) {
    const start = cursor.at;
    while (cursor.at - start < LINE && VALUES[text[cursor.at] ?? 0] !== NOT_BASE64) {
      length = readGroup(cursor, bytes, length);
      if (text[cursor.at - 1] === PADDING) break;
    }
    if (cursor.at === start) fail(cursor, 'a line of base64');
    const isLast = cursor.at - start < LINE || text[cursor.at - 1] === PADDING;
    expectBytes(cursor, cursor.lineEnd);
    if (isLast || text[cursor.at] === END[0]) return bytes.slice(0, length);
  }
}

/** Four characters to one, two or three bytes; the bits that padding leaves over are zero. */
function readGroup(cursor: Cursor, bytes: Uint8Array, length: number): number {
  const { text, at } = cursor;
  const isShort = text[at + 3] === PADDING;
  const isShorter = isShort && text[at + 2] === PADDING;
  const a = valueAt(cursor, at);
  const b = valueAt(cursor, at + 1);
  const c = isShorter ? 0 : valueAt(cursor, at + 2);
  const d = isShort ? 0 : valueAt(cursor, at + 3);
  cursor.at = at + 4;
  bytes[length] = (a << 2) | (b >> 4);
  bytes[length + 1] = ((b & 15) << 4) | (c >> 2);
  bytes[length + 2] = ((c & 3) << 6) | d;
  const unused = isShorter ? b & 15 : isShort ? c & 3 : 0;
  if (unused !== 0) fail(cursor, 'unused bits of zero');
  return length + (isShorter ? 1 : isShort ? 2 : 3);
}

function valueAt(cursor: Cursor, at: number): number {
  const value = VALUES[cursor.text[at] ?? 0] as number;
  if (value === NOT_BASE64) fail({ ...cursor, at }, 'a base64 character');
  return value;
}

function fail({ text, at }: Cursor, expected: string): never {
  const byte = text[at];
  const got = byte === undefined ? 'the end' : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  throw new MalformedError('pem.malformed', `quote.pck.${at}`, expected, got);
}

function base64Values(): Uint8Array {
  const values = new Uint8Array(256).fill(NOT_BASE64);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;
  return values;
}

function asciiOf(text: string): readonly number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}
