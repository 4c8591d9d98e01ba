/** The canonical bytes of method `zk`, the claim's name, and the binding of a proof to its receipts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import '@haca/platform';
import { MalformedError, sha256, toHex, UsageError, utf8Encode } from '@haca/primitives';
import { deriveKey } from '@haca/primitives/zk';
import fc from 'fast-check';
import {
  decodeZkRequest,
  decodeZkResponse,
  decodeZkStatement,
  encodeZkRequest,
  encodeZkResponse,
  encodeZkStatement,
  receiptStateOf,
  type VerifyingKeyRecord,
  zkBatchIndex,
  zkChainDigest,
  zkClaimIdOf,
  zkProveBytesLeast,
  zkRow,
} from '../src/index.ts';

const MODEL_ID = sha256(utf8Encode('model'));
const SALT = sha256(utf8Encode('salt'));
const REQUEST = { modelId: MODEL_ID, salt: SALT, tensors: [Uint8Array.of(1, 2, 3), Uint8Array.of(9)] };

test('ZKC-5: a request and a response have one encoding, shown in full', () => {
  const bytes = encodeZkRequest(REQUEST);
  assert.equal(toHex(bytes), `8401${'5820'}${toHex(MODEL_ID)}${'5820'}${toHex(SALT)}82430102034109`);
  assert.deepEqual(decodeZkRequest(bytes), REQUEST);
  const response = encodeZkResponse({ tensors: [Uint8Array.of(7)] });
  assert.equal(toHex(response), '8201814107');
  assert.deepEqual(decodeZkResponse(response), { tensors: [Uint8Array.of(7)] });
});

test('ZKC-5: every single bit, byte more and byte less of a request makes another request or none', () => {
  const bytes = encodeZkRequest(REQUEST);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = bytes.with(bit >> 3, (bytes[bit >> 3] as number) ^ (1 << (bit & 7)));
    let decoded: ReturnType<typeof decodeZkRequest>;
    try {
      decoded = decodeZkRequest(changed);
    } catch (error) {
      assert.ok(error instanceof MalformedError);
      continue;
    }
    assert.deepEqual(encodeZkRequest(decoded), changed, 'what decodes is the canonical form of itself');
  }
  for (const other of [bytes.slice(0, -1), Uint8Array.of(...bytes, 0), new Uint8Array(0)]) {
    assert.throws(() => decodeZkRequest(other), MalformedError);
  }
});

test('ZKC-5: forms that CBOR allows and the protocol does not are refused', () => {
  const id = `5820${toHex(MODEL_ID)}`;
  const salt = `5820${toHex(SALT)}`;
  const refused = [
    `8402${id}${salt}814101`,
    `8401${id}${salt}80`,
    `8401${id}${salt}8140`,
    `8401${id}${salt}815801${'01'}`,
    `9f01${id}${salt}814101ff`,
    `8401${id}581f${toHex(SALT).slice(2)}814101`,
    `8501${id}${salt}814101f6`,
    `8401${id}${salt}816101`,
  ];
  for (const hex of refused) {
    const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
    assert.throws(() => decodeZkRequest(bytes), MalformedError, hex);
  }
  assert.throws(() => encodeZkRequest({ ...REQUEST, salt: SALT.slice(1) }), UsageError);
  assert.throws(() => encodeZkRequest({ ...REQUEST, tensors: [] }), UsageError);
});

test('ZKC-6: the claim id is the key derivation over chain, key, range and root', () => {
  const keyId = sha256(utf8Encode('key'));
  const receiptsRoot = sha256(utf8Encode('root'));
  const claim = { chainId: 'haca-test-1', keyId, firstSeq: 258, count: 3, receiptsRoot };
  const material = Buffer.concat([
    deriveKey('haca zkml v1 chain', utf8Encode('haca-test-1')),
    keyId,
    Buffer.from('0201000000000000', 'hex'),
    Buffer.from('03000000', 'hex'),
    receiptsRoot,
  ]);
  const id = zkClaimIdOf(claim);
  assert.deepEqual(id, deriveKey('haca zkml v1 claim', new Uint8Array(material)));
  assert.equal(id.length, 32);
  const others = [
    { ...claim, chainId: 'haca-test-2' },
    { ...claim, keyId: receiptsRoot },
    { ...claim, firstSeq: 259 },
    { ...claim, count: 4 },
    { ...claim, receiptsRoot: keyId },
  ];
  for (const other of others) assert.notDeepEqual(zkClaimIdOf(other), id);
  assert.notDeepEqual(zkChainDigest('a'), zkChainDigest('b'));
});

test('ZKC-11: a statement has one encoding, and each member changes it', () => {
  const digest = (text: string): Uint8Array => sha256(utf8Encode(text));
  const statement = {
    chainId: digest('chain'),
    claimId: digest('claim'),
    nonce: digest('block'),
    verifyingKeyHash: digest('key'),
    batchSize: 2,
    inputs: [Uint8Array.of(1, 2)],
    outputs: [Uint8Array.of(3, 4)],
  };
  const bytes = encodeZkStatement(statement);
  assert.deepEqual(decodeZkStatement(bytes), statement);
  const others = [
    { ...statement, chainId: digest('x') },
    { ...statement, claimId: digest('x') },
    { ...statement, nonce: digest('x') },
    { ...statement, verifyingKeyHash: digest('x') },
    { ...statement, batchSize: 1 },
    { ...statement, inputs: statement.outputs },
    { ...statement, inputs: [Uint8Array.of(1), Uint8Array.of(2)] },
    { ...statement, outputs: statement.inputs },
  ];
  const seen = new Set([bytes, ...others.map(encodeZkStatement)].map(toHex));
  assert.equal(seen.size, others.length + 1);
  assert.throws(() => decodeZkStatement(bytes.slice(1)), MalformedError);
});

test('ZKC-8: costs are looked up by the next power of two of the batch', () => {
  assert.deepEqual([1, 2, 3, 4, 5, 8, 9, 1_024].map(zkBatchIndex), [0, 1, 2, 2, 3, 3, 4, 10]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_024 }), (count) => {
      const index = zkBatchIndex(count);
      assert.ok(count <= 2 ** index && (index === 0 || count > 2 ** (index - 1)));
    }),
  );
  const key: VerifyingKeyRecord = {
    verifyingKey: Uint8Array.of(1),
    batchMax: 2,
    verificationGas: [1, 2],
    proofBytes: [1_000, 2_000],
    inputRowBytes: [10, 20],
    outputRowBytes: [5],
    height: 1,
  };
  assert.equal(zkProveBytesLeast(key, 1), 1_000 + 35 + 32 + 400);
  assert.equal(zkProveBytesLeast(key, 2), 2_000 + 2 * (35 + 32 + 400));
  assert.ok(zkProveBytesLeast(key, 3) > 1e15, 'a batch that the key does not know');
  assert.deepEqual(zkRow(Uint8Array.of(1, 2, 3, 4, 5, 6), 2, 1), Uint8Array.of(3, 4));
});

test('ZKC-23: how far a receipt has come follows from its key record', () => {
  const key = {
    settledSeq: 9,
    openClaims: [{ first: 4, last: 5 }],
    unpaidRanges: [
      { first: 2, last: 2 },
      { first: 7, last: 8 },
    ],
  };
  const states = Array.from({ length: 11 }, (_, seq) => receiptStateOf(key, seq));
  assert.deepEqual(states, [
    'executed',
    'verified',
    'unpaid',
    'verified',
    'settled',
    'settled',
    'verified',
    'unpaid',
    'unpaid',
    'verified',
    'executed',
  ]);
});
