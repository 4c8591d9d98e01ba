import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineError } from '@haca/runtime';
import fc from 'fast-check';
import { createSseReader } from '../src/upstream/sse.ts';

const LIMIT = 1000;

function read(text: string | Uint8Array, cuts: readonly number[] = [], limit = LIMIT): string[] {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const events: string[] = [];
  const reader = createSseReader((data) => events.push(data), limit);
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const to of [...ends, bytes.length]) {
    // A copy that is overwritten afterwards: the reader may keep no view of it.
    const chunk = bytes.slice(from, to);
    reader.push(chunk);
    chunk.fill(0x21);
    from = to;
  }
  reader.finish();
  return events;
}

const cutsOf = fc.array(fc.nat(5000), { maxLength: 60 });

test('events come out alike however the bytes are cut and whatever ends the lines', () => {
  const dataLine = fc
    .string({ unit: 'grapheme', maxLength: 20 })
    .map((text) => text.toWellFormed().replaceAll(/[\r\n]/g, ''));
  const noise = fc.constantFrom(
    ': ping',
    ':',
    'event: message',
    'id: 7',
    'retry: 10',
    'datax: no',
    'dat',
    'unknown',
  );
  const eventOf = fc.record({
    lines: fc.array(dataLine, { minLength: 1, maxLength: 3 }),
    noise: fc.array(noise, { maxLength: 2 }),
  });
  fc.assert(
    fc.property(
      fc.array(eventOf, { maxLength: 6 }),
      fc.constantFrom('\n', '\r', '\r\n'),
      cutsOf,
      fc.boolean(),
      (events, newline, cuts, bom) => {
        const text = events
          .map(({ lines, noise: other }) =>
            [...other, ...lines.map((line) => `data: ${line}`), '', ''].join(newline),
          )
          .join('');
        const expected = events.map(({ lines }) => lines.join('\n'));
        assert.deepEqual(read(`${bom ? '\ufeff' : ''}${text}`, cuts), expected);
      },
    ),
    { numRuns: 500 },
  );
});

test('the forms of a data line', () => {
  assert.deepEqual(read('data:a\n\n'), ['a']);
  assert.deepEqual(read('data:  a\n\n'), [' a']);
  assert.deepEqual(read('data\n\n'), ['']);
  assert.deepEqual(read('data:\ndata:\n\n'), ['\n']);
  assert.deepEqual(read('data: a:b\n\n'), ['a:b']);
  assert.deepEqual(read(' data: a\n\n'), []);
  assert.deepEqual(read('Data: a\n\n'), []);
  assert.deepEqual(read(': only comments\n\n\n\n'), []);
});

test('a last event without its blank line counts', () => {
  assert.deepEqual(read('data: a\n\ndata: b\n'), ['a', 'b']);
  assert.deepEqual(read('data: a\n\ndata: b'), ['a', 'b']);
});

test('bytes that are no UTF-8 become U+FFFD', () => {
  assert.deepEqual(read(Uint8Array.of(...Buffer.from('data: '), 0xff, 0x0a, 0x0a)), ['\ufffd']);
});

test('neither a line nor an event grows without bound', () => {
  const exact = `data: ${'x'.repeat(94)}`;
  assert.deepEqual(read(`${exact}\n\n`, [], 100), ['x'.repeat(94)]);
  const tooLong: readonly string[] = [
    `${exact}x\n\n`,
    `${exact}x`,
    `: ${'x'.repeat(200)}`,
    `: ${'x'.repeat(200)}\n`,
    'data: 123456789\n'.repeat(11),
    'data\n'.repeat(101),
  ];
  for (const text of tooLong) {
    for (const cuts of [[], [50], Array.from({ length: text.length }, (_, at) => at)]) {
      assert.throws(() => read(text, cuts, 100), EngineError, `${text.slice(0, 20)}, ${cuts.length} cuts`);
    }
  }
});

test('no bytes make the reader fail otherwise', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), cutsOf, (bytes, cuts) => {
      assert.deepEqual(read(bytes, cuts), read(bytes));
    }),
  );
});
