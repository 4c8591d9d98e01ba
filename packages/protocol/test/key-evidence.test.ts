import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519SignerFromSeed } from '@haca/platform';
import { decode, encode, MalformedError, toHex } from '@haca/primitives';
import {
  EXAMPLE_KEY_EVIDENCE,
  exampleKeyRecord,
  exampleKeys,
  makeExamples,
  singleBitFlips,
  truncationsAndExtensions,
} from '@haca/testkit';
import {
  ASSET_ID_MAX,
  credit,
  KEY_ASSETS_MAX,
  keyEvidenceHash,
  keyEvidenceRecordCodec,
  type NodeKeyRecord,
  nodeKeyRecordCodec,
  OPEN_CLAIMS_MAX,
  UNPAID_RANGES_MAX,
} from '../src/index.ts';

const key = exampleKeyRecord(makeExamples(exampleKeys(ed25519SignerFromSeed)));
const row = encode(keyEvidenceRecordCodec, EXAMPLE_KEY_EVIDENCE);

test('TC-22: the hash in the row of a key is over every bit of its row of evidence', () => {
  const expected = toHex(keyEvidenceHash(decode(keyEvidenceRecordCodec, row, 'row')));
  assert.equal(expected, toHex(key.evidence?.recordHash ?? new Uint8Array(0)));
  const flips = [...singleBitFlips(row)].map(({ bytes }) => bytes);
  for (const changed of [...flips, ...truncationsAndExtensions(row)]) {
    try {
      const got = toHex(keyEvidenceHash(decode(keyEvidenceRecordCodec, changed, 'row')));
      assert.notEqual(got, expected, toHex(changed));
    } catch (error) {
      assert.ok(error instanceof MalformedError, `${toHex(changed)}: ${error}`);
    }
  }
});

/** Everything that a key can hold to the full, of whatever method. */
function fullKey(): NodeKeyRecord {
  const id = new Uint8Array(32).fill(0xff);
  const most = Number.MAX_SAFE_INTEGER;
  const totals = Array.from(
    { length: KEY_ASSETS_MAX },
    (_, i) => [ASSET_ID_MAX - KEY_ASSETS_MAX + i + 1, credit((1n << 63n) - 1n)] as const,
  );
  const ranges = (count: number) => Array.from({ length: count }, () => ({ first: most, last: most }));
  const binding = {
    ...key.binding,
    chainId: 'c'.repeat(50),
    keyEpoch: most,
    hpkePublicKey: id,
    tlsSpkiHash: id,
    gpuEvidenceRoot: id,
    refHeight: most,
  };
  return {
    ...key,
    keyEpoch: most,
    modelId: id,
    modelIds: Array.from({ length: 64 }, () => id),
    binding,
    evidence: { kind: 'dstack', endMs: most, simulated: true, tier: 'registered-hardware', recordHash: id },
    openedAt: most,
    notAfter: most,
    closingAt: most,
    stop: 'abandoned',
    settledSeq: most,
    settled: totals,
    verified: totals,
    paid: totals,
    logSize: most,
    logFrontier: Array.from({ length: 32 }, () => id),
    unpaidRanges: ranges(UNPAID_RANGES_MAX + OPEN_CLAIMS_MAX),
    openClaims: ranges(OPEN_CLAIMS_MAX),
    c1Seq: most,
    c1Due: most,
    faults: 15,
    lastLane: { channelId: id, lane: 63 },
  };
}

test('TC-25: what a batch writes of a key has a bound, and evidence is no part of it', () => {
  const full = fullKey();
  const sizeOf = (record: NodeKeyRecord): number => encode(nodeKeyRecordCodec, record).length;
  assert.deepEqual(decode(nodeKeyRecordCodec, encode(nodeKeyRecordCodec, full), 'key'), full);
  const plain = { ...full, unpaidRanges: [], openClaims: [] };
  assert.deepEqual([sizeOf(full), sizeOf(plain), sizeOf({ ...plain, modelIds: [] })], [7_199, 4_173, 1_996]);
  assert.equal(sizeOf(full) - sizeOf({ ...full, evidence: null }), 76);
});
