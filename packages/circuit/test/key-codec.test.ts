import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import {
  encodeVerifyingKey,
  LIMITS,
  parseVerifyingKey,
  plan,
  planRegistration,
  VERIFYING_KEY_CDDL,
  type VerifyingKey,
  validateVerifyingKey,
  verifyingKeyHash,
} from '@haca/circuit';
import { decode, encode, MalformedError, toHex, UsageError } from '@haca/primitives';
import fc from 'fast-check';
import { sint } from '../src/key.ts';
import { changed, KEYS, layerKey } from './support.ts';

for (const [name, make] of Object.entries(KEYS))
  test(`ZK-5 ${name} keeps its bytes, is valid at every batch size, and its weights can be registered`, () => {
    const key = make();
    const bytes = encodeVerifyingKey(key);
    assert.deepEqual(parseVerifyingKey(bytes), key);
    validateVerifyingKey(parseVerifyingKey(bytes));
    for (let batchSize = 1; batchSize <= key.maxBatch; batchSize++)
      assert.ok(plan(key, batchSize).proofBytes <= LIMITS.proofBytes);
    assert.equal(planRegistration(key).purpose, 'registration');
  });

const parsed = (bytes: Uint8Array): VerifyingKey | null => {
  try {
    return parseVerifyingKey(bytes);
  } catch (error) {
    assert.ok(error instanceof MalformedError, `${error}`);
    return null;
  }
};

test('ZK-6 every flipped bit of a key is refused or another key under another hash', () => {
  const bytes = encodeVerifyingKey(layerKey());
  const hash = toHex(verifyingKeyHash(bytes));
  let readable = 0;
  // The cap is any bytes; of its 4096 bytes a few stand for all.
  for (let at = 0; at < bytes.length; at += at < 1_000 || at > bytes.length - 8 ? 1 : 97)
    for (let bit = 0; bit < 8; bit++) {
      const flipped = bytes.slice();
      flipped[at] = (flipped[at] as number) ^ (1 << bit);
      const key = parsed(flipped);
      if (key === null) continue;
      readable++;
      assert.deepEqual(encodeVerifyingKey(key), flipped);
      assert.notEqual(toHex(verifyingKeyHash(flipped)), hash);
    }
  assert.ok(readable > 50, `${readable} keys could be read`);
});

test('ZK-6 a key cut off, or with a byte more, is refused', () => {
  const bytes = encodeVerifyingKey(layerKey());
  for (let length = 0; length < bytes.length; length += length < 400 ? 1 : 211)
    assert.equal(parsed(bytes.subarray(0, length)), null);
  assert.equal(parsed(Uint8Array.of(...bytes, 0)), null);
});

test('ZK-12 a key of more than 256 KiB is refused by its length', () => {
  assert.throws(
    () => parseVerifyingKey(new Uint8Array(LIMITS.keyBytes + 1)),
    (error) => error instanceof MalformedError && error.code === 'zk.key-size',
  );
});

test('ZK-5 a value beyond its field is not encoded', () => {
  const wide = changed(layerKey(), (key) => {
    key.limbBits = 13;
  });
  assert.throws(() => encodeVerifyingKey(wide), UsageError);
});

test('signed integers are zigzag-coded, one encoding each', () => {
  const codec = sint(1_000);
  assert.deepEqual(
    [0, -1, 1, -2, 2].map((value) => encode(codec, value)[0]),
    [0, 1, 2, 3, 4],
  );
  fc.assert(
    fc.property(fc.integer({ min: -1_000, max: 1_000 }), (value) => {
      assert.equal(decode(codec, encode(codec, value), 'value'), value);
    }),
  );
  for (const value of [-1_001, 1_001]) assert.throws(() => encode(codec, value), UsageError);
});

test('ZK-5 the shape of a key in spec/ is that of the codec', () => {
  const spec = readFileSync(resolve(import.meta.dirname, '../../../spec/zkml.cddl'), 'utf8');
  assert.ok(spec.includes(`verifying-key = ${VERIFYING_KEY_CDDL}`));
});
