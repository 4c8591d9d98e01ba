import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake3 as independent } from '@noble/hashes/blake3.js';
import fc from 'fast-check';
import { fromHex, toHex, UsageError, utf8Encode } from '../src/index.ts';
import { blake3, deriveKey, hashMany, keyedHash } from '../src/zk/index.ts';

/** The bytes 0, 1, ..., 250, 0, ... of the official test vectors. */
const PATTERN = Uint8Array.from({ length: 6000 }, (_, i) => i % 251);
const KEY = utf8Encode('whats the Elvish word for friend');
const CONTEXT = 'BLAKE3 2019-12-27 16:29:52 test vectors context';

test('known digests', () => {
  assert.equal(
    toHex(blake3(new Uint8Array(0))),
    'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262',
  );
  assert.equal(
    toHex(blake3(utf8Encode('abc'))),
    '6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85',
  );
});

test('every length from 0 to 3000 in every mode', () => {
  for (let length = 0; length <= 3000; length++) {
    const bytes = PATTERN.subarray(0, length);
    assert.deepEqual(blake3(bytes), independent(bytes), `hash of ${length} bytes`);
    if (length % 16 > 1 && length % 64 !== 63) continue;
    assert.deepEqual(keyedHash(KEY, bytes), independent(bytes, { key: KEY }), `keyed ${length}`);
    assert.deepEqual(
      deriveKey(CONTEXT, bytes),
      independent(bytes, { context: utf8Encode(CONTEXT) }),
      `derive ${length}`,
    );
  }
});

test('long inputs and outputs of any size', () => {
  const long = Uint8Array.from({ length: 70_000 }, (_, i) => (i * i) >>> 3);
  const cut = fc.tuple(fc.nat(40_000), fc.nat(30_000));
  fc.assert(
    fc.property(cut, fc.nat(400), ([start, length], outBytes) => {
      const bytes = long.subarray(start, start + length);
      assert.deepEqual(blake3(bytes, outBytes), independent(bytes, { dkLen: outBytes }));
      assert.deepEqual(keyedHash(KEY, bytes, outBytes), independent(bytes, { key: KEY, dkLen: outBytes }));
    }),
    { numRuns: 100 },
  );
});

test('many messages give the digests of each, whatever the alignment', () => {
  const shape = fc.record({
    messageBytes: fc.oneof(fc.nat(1024), fc.constantFrom(0, 63, 64, 65, 128, 960, 1024)),
    count: fc.nat(5),
    shift: fc.nat(3),
    outShift: fc.nat(3),
    wordKey: fc.boolean(),
  });
  fc.assert(
    fc.property(shape, ({ messageBytes, count, shift, outShift, wordKey }) => {
      const messages = PATTERN.slice(0, shift + messageBytes * count).subarray(shift);
      const out = new Uint8Array(outShift + 32 * count).subarray(outShift);
      const key = wordKey ? new Uint32Array(KEY.slice().buffer) : KEY;
      hashMany({ key, messages, messageBytes, count, out });
      for (let i = 0; i < count; i++) {
        const message = messages.subarray(i * messageBytes, (i + 1) * messageBytes);
        assert.deepEqual(out.slice(32 * i, 32 * i + 32), independent(message, { key: KEY }));
      }
    }),
    { numRuns: 200 },
  );
});

test('sizes that do not fit are refused', () => {
  const request = {
    key: KEY,
    messages: new Uint8Array(64),
    messageBytes: 64,
    count: 1,
    out: new Uint8Array(32),
  };
  for (const wrong of [
    { key: KEY.subarray(1) },
    { messageBytes: 1025, messages: new Uint8Array(1025) },
    { messageBytes: -1 },
    { messageBytes: 1.5 },
    { count: 2 },
    { count: 2 ** 26 },
    { count: -1 },
    { out: new Uint8Array(31) },
  ]) {
    assert.throws(() => hashMany({ ...request, ...wrong }), UsageError);
  }
  assert.throws(() => keyedHash(fromHex('00'), PATTERN), UsageError);
  assert.throws(() => blake3(PATTERN, -1), UsageError);
  assert.throws(() => blake3(PATTERN, 0.5), UsageError);
});
