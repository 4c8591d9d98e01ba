/** Base64 and hexadecimal against those of the platform, and against every text that is one edit away from what they write. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  BASE64,
  BASE64URL,
  type Base64Fault,
  type Base64Form,
  fromHex,
  type HexForm,
  readBase64,
  readHex,
  toHex,
  writeBase64,
} from '../src/index.ts';

const RUNS = { numRuns: 2_000 };
const bytes = fc.uint8Array({ maxLength: 200 });
const LENIENT: Base64Form = { alphabet: 'either', padding: 'optional', blanks: 'skipped' };

function read(text: string, form: Base64Form): Uint8Array | null {
  const reading = readBase64(text, form);
  return reading.ok ? reading.bytes : null;
}

/** Texts near to base64: digits of both alphabets, padding, blanks, and others. */
const nearText = fc.string({
  unit: fc.constantFrom(
    ...'AQgwz09+/-_==',
    ' ',
    '\n',
    '\r',
    '\t',
    'é',
    '\u0100',
    '\u0141',
    '\ud800',
    '\0',
    '*',
  ),
  maxLength: 16,
});

test('RFC 4648 section 10', () => {
  const vectors = ['', 'f', 'fo', 'foo', 'foob', 'fooba', 'foobar'];
  const texts = ['', 'Zg==', 'Zm8=', 'Zm9v', 'Zm9vYg==', 'Zm9vYmE=', 'Zm9vYmFy'];
  for (const [i, text] of texts.entries()) {
    const plain = new TextEncoder().encode(vectors[i]);
    assert.equal(writeBase64(plain, BASE64), text);
    assert.deepEqual(read(text, BASE64), plain);
    assert.deepEqual(read(text.replaceAll('=', ''), BASE64URL), plain);
  }
});

test('what is written is what the platform writes, and is read back in every form that has it', () => {
  const property = fc.property(bytes, (plain) => {
    const standard = writeBase64(plain, BASE64);
    const url = writeBase64(plain, BASE64URL);
    assert.equal(standard, Buffer.from(plain).toString('base64'));
    assert.equal(url, Buffer.from(plain).toString('base64url'));
    assert.deepEqual(read(standard, BASE64), plain);
    assert.deepEqual(read(url, BASE64URL), plain);
    const lines = standard.replaceAll(/(.{7})/g, '$1\r\n \t\v\f');
    for (const text of [standard, url, lines]) assert.deepEqual(read(text, LENIENT), plain);
  });
  fc.assert(property, RUNS);
});

test('one text a byte string: whatever a strict form accepts is what it writes', () => {
  const edited = fc
    .tuple(bytes, fc.nat(), fc.constantFrom(...'=A/_-+\n9', '\u0141', ''), fc.boolean())
    .map(([plain, at, put, isCut]) => {
      const text = writeBase64(plain, at % 2 === 0 ? BASE64 : BASE64URL);
      const index = at % (text.length + 1);
      return text.slice(0, index) + put + text.slice(index + (isCut ? 1 : 0));
    });
  const property = fc.property(fc.oneof(nearText, edited), (text) => {
    for (const form of [BASE64, BASE64URL]) {
      const plain = read(text, form);
      if (plain !== null) assert.equal(writeBase64(plain, form), text);
      assert.equal(
        plain !== null,
        Buffer.from(text, 'base64').toString(form === BASE64 ? 'base64' : 'base64url') === text,
      );
    }
    const lenient = read(text, LENIENT);
    const [start = '', padding = ''] = text.replaceAll(/\s/g, '').split(/(?==*$)/);
    const plain = read(
      `${start}${padding}`.replaceAll('+', '-').replaceAll('/', '_').replaceAll(/=+$/g, ''),
      BASE64URL,
    );
    if (lenient !== null) assert.deepEqual(lenient, plain);
  });
  fc.assert(property, { numRuns: 10_000 });
});

test('each fault has its name and its place', () => {
  const cases: readonly (readonly [string, Base64Form, Base64Fault, number])[] = [
    ['AA*A', BASE64, 'digit', 2],
    ['AAAAAA*A', BASE64, 'digit', 6],
    ['AAAAA*', BASE64, 'digit', 5],
    ['AA-_', BASE64, 'digit', 2],
    ['AA+/', BASE64URL, 'digit', 2],
    ['AA AA', BASE64, 'digit', 2],
    ['=AAA', BASE64, 'digit', 0],
    ['A===', BASE64, 'digit', 1],
    ['====', BASE64, 'digit', 0],
    ['A', BASE64, 'length', 1],
    ['AA', BASE64, 'length', 2],
    ['AAAAA', BASE64URL, 'length', 5],
    ['A', LENIENT, 'length', 1],
    ['AA=', BASE64, 'padding', 2],
    ['AA=', LENIENT, 'padding', 2],
    ['==', LENIENT, 'padding', 0],
    ['AAAA=', BASE64, 'padding', 4],
    ['AA==', BASE64URL, 'padding', 2],
    ['AB==', BASE64, 'stray-bits', 4],
    ['AAB=', BASE64, 'stray-bits', 4],
    ['AB', BASE64URL, 'stray-bits', 2],
    ['A A B', LENIENT, 'stray-bits', 3],
  ];
  for (const [text, form, fault, at] of cases) {
    assert.deepEqual(readBase64(text, form), { ok: false, fault, at }, JSON.stringify(text));
  }
});

test('any text has a reading, at a place within it, and every digit of 16 bits but its own is none', () => {
  const property = fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
    for (const form of [BASE64, BASE64URL, LENIENT]) {
      const reading = readBase64(text, form);
      if (!reading.ok) assert.ok(reading.at >= 0 && reading.at <= text.length);
    }
    readHex(text, { digits: 'either', blanks: 'skipped' });
  });
  fc.assert(property, RUNS);
  let count = 0;
  for (let code = 0; code < 0x10000; code++) {
    if (read(`AAA${String.fromCharCode(code)}`, { ...BASE64, padding: 'forbidden' }) !== null) count++;
  }
  assert.equal(count, 64);
});

const LOWER: HexForm = { digits: 'lower', blanks: 'forbidden' };
const UPPER: HexForm = { digits: 'upper', blanks: 'forbidden' };
const ANY: HexForm = { digits: 'either', blanks: 'skipped' };

test('hexadecimal is that of the platform, in its case alone unless both are asked for', () => {
  const property = fc.property(bytes, (plain) => {
    const text = toHex(plain);
    assert.equal(text, Buffer.from(plain).toString('hex'));
    assert.deepEqual(fromHex(text), plain);
    assert.deepEqual(readHex(text.toUpperCase(), UPPER), { ok: true, bytes: plain });
    assert.deepEqual(readHex(text.toUpperCase().replaceAll(/(.{3})/g, '$1\n '), ANY), {
      ok: true,
      bytes: plain,
    });
    const isSame = text === text.toUpperCase();
    assert.equal(readHex(text, UPPER).ok, isSame);
    assert.equal(readHex(text.toUpperCase(), LOWER).ok, isSame);
  });
  fc.assert(property, RUNS);
  assert.deepEqual(readHex('0g', LOWER), { ok: false, fault: 'digit', at: 1 });
  assert.deepEqual(readHex('00G0', UPPER), { ok: false, fault: 'digit', at: 2 });
  assert.deepEqual(readHex('000', LOWER), { ok: false, fault: 'length', at: 3 });
  assert.deepEqual(readHex('00 0', LOWER), { ok: false, fault: 'digit', at: 2 });
  assert.throws(() => fromHex('00AB', 'there'), { code: 'hex.digit', path: 'there', got: "'AB'" });
  assert.throws(() => fromHex('000', 'there'), { code: 'hex.length', path: 'there', got: '3' });
});
