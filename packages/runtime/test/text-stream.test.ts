import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createTextStream } from '../src/onnx/text-stream.ts';

/** Pushes the bytes cut as told; returns the pieces, the last one from `finish`. */
function run(bytes: Uint8Array, cuts: readonly number[], stops: readonly string[] = []): string[] {
  const stream = createTextStream(stops);
  const pieces: string[] = [];
  let from = 0;
  for (const to of [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))]
    .sort((a, b) => a - b)
    .concat(bytes.length)) {
    const { text, stopped } = stream.push(bytes.subarray(from, to));
    pieces.push(text);
    if (stopped) return pieces;
    from = to;
  }
  return [...pieces, stream.finish()];
}

const cutsOf = fc.array(fc.nat(200), { maxLength: 40 });

test('text comes out whole however its bytes are cut, and no piece ends within a code point', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), cutsOf, (text, cuts) => {
      const pieces = run(new TextEncoder().encode(text), cuts);
      assert.equal(pieces.join(''), text.toWellFormed());
      for (const piece of pieces) assert.ok(piece.isWellFormed());
    }),
  );
});

test('a stop string ends the text before it, however the bytes are cut', () => {
  const stop = fc.constantFrom('END', '\n\n', '😀!', 'aab');
  const part = fc.constantFrom('E', 'EN', 'a', 'aa', '\n', '😀', 'x', 'END', '\n\n', 'aab', '😀!');
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 12 }),
      fc.uniqueArray(stop, { maxLength: 3 }),
      cutsOf,
      (parts, stops, cuts) => {
        const text = parts.join('');
        const ends = stops.map((each) => text.indexOf(each)).filter((at) => at >= 0);
        const pieces = run(new TextEncoder().encode(text), cuts, stops);
        assert.equal(pieces.join(''), ends.length === 0 ? text : text.slice(0, Math.min(...ends)));
        for (const piece of pieces) assert.ok(piece.isWellFormed());
      },
    ),
  );
});

test('an unfinished code point at the end is dropped; bytes that are no UTF-8 become U+FFFD', () => {
  const stream = createTextStream([]);
  assert.equal(stream.push(Uint8Array.of(0x61, 0xf0, 0x9f, 0x98)).text, 'a');
  assert.equal(stream.finish(), '');
  assert.equal(createTextStream([]).push(Uint8Array.of(0xff, 0x62)).text, '\ufffdb');
});
