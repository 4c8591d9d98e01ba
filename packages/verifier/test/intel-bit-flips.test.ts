import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import {
  appraiseVector,
  type Change,
  collateralOf,
  failures,
  readIntelVectors,
  recordedTimeMs,
  vectorsMissing,
} from './intel-vectors.ts';

const skip = vectorsMissing;

/** Bytes of genuine quotes that can be changed without notice: none. */
const ACCEPTED_FLIPS: Readonly<Record<string, readonly number[]>> = {};

for (const each of readIntelVectors()) {
  test(`INTEL-8 INTEL-19 no byte of ${each.id} can change`, { skip }, () => {
    const crypto = rememberSignatures(nodeCrypto, 64);
    const pieces = collateralOf(each);
    const untouched = failures(appraiseVector(each, { crypto, pieces }));
    const accepted: number[] = [];
    for (let at = 0; at < each.quote.length; at++) {
      const quote = each.quote.slice();
      quote[at] = (quote[at] as number) ^ 1;
      const result = appraiseVector(each, { quote, crypto, pieces });
      if (result.claims !== null || failures(result).length === 0) accepted.push(at);
    }
    assert.deepEqual(accepted, ACCEPTED_FLIPS[each.id] ?? []);
    assert.deepEqual(failures(appraiseVector(each, { crypto, pieces })), untouched);
  });
}

test('INTEL-8 no bit of the PEM text can change, nor of what frames it', { skip }, () => {
  const each = readIntelVectors().find(({ id }) => id === 'v4-uptodate-2025-06');
  assert.ok(each !== undefined);
  const crypto = rememberSignatures(nodeCrypto, 64);
  const pieces = collateralOf(each);
  for (let bit = 8 * (each.quote.length - 3690); bit < 8 * each.quote.length; bit++) {
    const quote = each.quote.slice();
    quote[bit >> 3] = (quote[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.equal(appraiseVector(each, { quote, crypto, pieces }).claims, null, `bit ${bit}`);
  }
});

test('INTEL-1 the portable provider refuses the same flips with the same codes', { skip }, () => {
  const each = readIntelVectors().find(({ id }) => id === 'v5-uptodate-2026-02');
  assert.ok(each !== undefined);
  const native = rememberSignatures(nodeCrypto, 64);
  const portable = rememberSignatures(portableCrypto, 64);
  const pieces = collateralOf(each);
  for (let bit = 0; bit < each.quote.length * 8; bit += 811) {
    const quote: Uint8Array = each.quote.slice();
    quote[bit >> 3] = (quote[bit >> 3] as number) ^ (1 << (bit & 7));
    const change: Change = { quote, pieces, nowMs: recordedTimeMs(each) };
    assert.deepEqual(
      failures(appraiseVector(each, { ...change, crypto: portable })),
      failures(appraiseVector(each, { ...change, crypto: native })),
      `bit ${bit}`,
    );
  }
});
