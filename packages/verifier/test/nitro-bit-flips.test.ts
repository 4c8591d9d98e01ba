import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { singleBitFlips } from '@haca/testkit';
import { appraiseChanged, failures, vector, vectorsMissing } from './nitro-vectors.ts';

test('NITRO-1 NITRO-16 no single bit of a genuine document can change', { skip: vectorsMissing }, () => {
  const each = vector('prod-2025-11-indef-pcr16');
  const crypto = rememberSignatures(nodeCrypto, 1024);
  const accepted: number[] = [];
  const codes = new Set<string>();
  for (const { bytes, bit } of singleBitFlips(each.bytes)) {
    const result = appraiseChanged(each, bytes, crypto);
    if (result.verdict.ok) accepted.push(bit);
    for (const failure of failures(result)) codes.add(failure);
  }
  assert.deepEqual(accepted, []);
  assert.ok(codes.size >= 20, `failures came in ${codes.size} kinds only: ${[...codes].join(', ')}`);
});

test(
  'NITRO-1 the portable provider refuses the same flips with the same codes',
  { skip: vectorsMissing },
  () => {
    const each = vector('prod-2024-04');
    const native = rememberSignatures(nodeCrypto, 1024);
    const portable = rememberSignatures(portableCrypto, 1024);
    for (let bit = 0; bit < each.bytes.length * 8; bit += 149) {
      const bytes = each.bytes.slice();
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      const expected = failures(appraiseChanged(each, bytes, native));
      assert.equal(expected.length, 1, `bit ${bit}`);
      assert.deepEqual(failures(appraiseChanged(each, bytes, portable)), expected, `bit ${bit}`);
    }
  },
);
