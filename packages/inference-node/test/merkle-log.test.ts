import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  merkleInclusionPath,
  merkleLeafHash,
  merkleRoot,
  UsageError,
  verifyMerkleInclusion,
} from '@haca/primitives';
import { openMerkleLog } from '../src/merkle-log.ts';
import { openReceiptIndex } from '../src/receipt-index.ts';

const leaf = (i: number): Uint8Array => merkleLeafHash(Uint8Array.of(i >> 8, i & 255));

test('paths are those of the whole tree, at every size and for every leaf', () => {
  const log = openMerkleLog();
  const leaves: Uint8Array[] = [];
  for (let size = 1; size <= 130; size++) {
    leaves.push(leaf(size));
    log.append(leaf(size));
    assert.equal(log.size(), size);
    for (let i = 0; i < size; i++)
      assert.deepEqual(log.path(i), merkleInclusionPath(leaves, i), `${i}/${size}`);
  }
  assert.ok(verifyMerkleInclusion(leaf(77), 76, 130, log.path(76), merkleRoot(leaves)));
  assert.throws(() => log.path(130), UsageError);
  assert.throws(() => log.path(-1), UsageError);
  assert.throws(() => openMerkleLog().path(0), UsageError);
});

test('the index knows every hash, places once they are known, and the newest names', () => {
  const index = openReceiptIndex(100);
  const count = 20_000;
  for (let i = 1; i <= count; i++) index.add(`rcpt_${i}`, leaf(i % 65_536));
  assert.equal(index.count(), count);
  assert.deepEqual(index.hashAt(1), leaf(1));
  assert.deepEqual(index.hashAt(count), leaf(count));
  assert.equal(index.seqOf(`rcpt_${count}`), count);
  assert.equal(index.seqOf('rcpt_1'), undefined, 'names are kept for the newest only');
  assert.equal(index.seqOf('__proto__'), undefined);
  assert.equal(index.placeOf(count), undefined);
  index.place(count, 12_345);
  assert.equal(index.placeOf(count), 12_345);
  assert.equal(index.placeOf(0), undefined);
  assert.equal(index.placeOf(count + 1), undefined);
});
