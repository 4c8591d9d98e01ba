import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addNanos,
  compareTimestamps,
  decodeBlock,
  decodeBlockBytes,
  decodeBlockId,
  decodeCommit,
  decodeCommitBytes,
  decodeHeader,
  decodeSignedHeader,
  decodeTxProof,
  decodeValidator,
  decodeValidatorsPage,
  encodeBlock,
  encodeBlockJson,
  encodeCommit,
  encodeSignedHeaderJson,
  encodeValidatorJson,
  formatTimestamp,
  fromBase64,
  fromUpperHex,
  parseTimestamp,
  partSetHeaderOf,
  timestampFromMs,
  timestampToMs,
  toBase64,
  toUpperHex,
} from '@haca/light-client';
import { MalformedError } from '@haca/primitives';
import fc from 'fast-check';
import { lightBlockAt, setOf } from './test-chain.ts';

const SET = setOf({ 0: 10n, 1: 20n });
const { signedHeader } = lightBlockAt(
  5,
  () => SET,
  (_, i) => (i === 0 ? 'commit' : 'absent'),
);
const BLOCK = {
  header: signedHeader.header,
  txs: [Uint8Array.of(1, 2, 3), new Uint8Array(0), new Uint8Array(70_000)],
  evidence: [],
  lastCommit: signedHeader.commit,
};
const PAGE = {
  block_height: '5',
  validators: SET.validators.map((validator) => encodeValidatorJson(validator)),
  count: '2',
  total: '2',
};

function isRefusedOr(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof MalformedError, error instanceof Error ? error.stack : String(error));
  }
}

test('JSON both ways', () => {
  const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  assert.deepEqual(decodeSignedHeader(throughJson(encodeSignedHeaderJson(signedHeader))), signedHeader);
  assert.deepEqual(decodeBlock(throughJson(encodeBlockJson(BLOCK))), BLOCK);
  const page = decodeValidatorsPage(throughJson(PAGE));
  assert.equal(page.height, 5);
  assert.equal(page.total, 2);
  assert.deepEqual(
    page.validators,
    SET.validators.map(({ publicKey, power }) => ({ publicKey, power })),
  );
});

test('JSON that is not what CometBFT writes is refused with its place', () => {
  const header = encodeSignedHeaderJson(signedHeader).header;
  const refused: [object, string, string][] = [
    [{ height: 5 }, 'json.type', 'header.height'],
    [{ height: '05' }, 'json.int64', 'header.height'],
    [{ height: '-0' }, 'json.int64', 'header.height'],
    [{ height: '1e3' }, 'json.int64', 'header.height'],
    [{ height: '9223372036854775808' }, 'json.int64', 'header.height'],
    [{ height: '9007199254740992' }, 'json.range', 'header.height'],
    [{ height: '-1' }, 'json.range', 'header.height'],
    [{ chain_id: '' }, 'json.length', 'header.chain_id'],
    [{ chain_id: 'x'.repeat(51) }, 'json.length', 'header.chain_id'],
    [{ chain_id: 'é'.repeat(26) }, 'json.length', 'header.chain_id'],
    [{ chain_id: '\ud800' }, 'utf8.surrogate', 'header.chain_id'],
    [{ time: '2026-02-30T00:00:00Z' }, 'time.format', 'header.time'],
    [{ app_hash: 'ab' }, 'hex.format', 'header.app_hash'],
    [{ app_hash: 'ABC' }, 'hex.format', 'header.app_hash'],
    [{ data_hash: 'AB' }, 'json.length', 'header.data_hash'],
    [{ proposer_address: '' }, 'json.length', 'header.proposer_address'],
    [{ last_block_id: { hash: '' } }, 'json.type', 'header.last_block_id.parts'],
    [{ version: null }, 'json.type', 'header.version'],
  ];
  for (const [change, code, path] of refused) {
    assert.throws(() => decodeHeader({ ...header, ...change }), { name: 'MalformedError', code, path });
  }
  assert.throws(() => decodeHeader([]), { code: 'json.type', path: 'header' });
  assert.throws(() => decodeHeader(null), { code: 'json.type' });
  const { validators, ...page } = PAGE;
  const [validator] = validators;
  assert.throws(() => decodeValidator({ ...validator, address: '00'.repeat(20) }), {
    code: 'validators.address',
  });
  const wrongKey = { ...validator, pub_key: { type: 'tendermint/PubKeySecp256k1', value: 'AA==' } };
  assert.throws(() => decodeValidator(wrongKey), { code: 'validators.key-type' });
  assert.throws(() => decodeValidatorsPage({ ...page, validators: Array(10_001).fill(validator) }), {
    code: 'json.length',
  });
  assert.throws(() => decodeValidatorsPage({ ...page, validators, total: '1' }), { code: 'json.range' });
  const commit = encodeSignedHeaderJson(signedHeader).commit;
  const [sig] = commit.signatures;
  for (const block_id_flag of [0, 4, '2', null, 2.5]) {
    assert.throws(() => decodeCommit({ ...commit, signatures: [{ ...sig, block_id_flag }] }), {
      code: 'commit.flag',
    });
  }
  assert.throws(() => decodeCommit({ ...commit, round: -1 }), { code: 'json.range' });
  assert.throws(() => decodeCommit({ ...commit, round: 2 ** 31 }), { code: 'json.range' });
});

test('decoders of JSON give MalformedError on anything else', () => {
  const decoders: ((json: unknown) => unknown)[] = [
    decodeHeader,
    decodeCommit,
    decodeBlock,
    decodeBlockId,
    decodeSignedHeader,
    decodeTxProof,
    decodeValidator,
    decodeValidatorsPage,
  ];
  fc.assert(
    fc.property(fc.jsonValue(), (json) => {
      for (const decode of decoders) assert.throws(() => decode(json), MalformedError);
    }),
    { numRuns: 300 },
  );
  // Answers that are nearly right: one member anywhere replaced by something else.
  const documents: [(json: unknown) => unknown, unknown][] = [
    [decodeSignedHeader, encodeSignedHeaderJson(signedHeader)],
    [decodeBlock, encodeBlockJson({ ...BLOCK, txs: BLOCK.txs.slice(0, 2) })],
    [decodeValidatorsPage, PAGE],
  ];
  fc.assert(
    fc.property(fc.nat(), fc.jsonValue(), (pick, replacement) => {
      for (const [decode, document] of documents) {
        const text = JSON.stringify(document);
        let seen = 0;
        const count = [...text.matchAll(/[:[,]/g)].length;
        const changed: unknown = JSON.parse(text, (_, value) =>
          seen++ === pick % count ? replacement : value,
        );
        isRefusedOr(() => decode(changed));
      }
    }),
    { numRuns: 500 },
  );
});

test('protobuf bytes are taken in their canonical form only', () => {
  const bytes = encodeBlock({ ...BLOCK, txs: BLOCK.txs.slice(0, 2) });
  assert.deepEqual(encodeBlock(decodeBlockBytes(bytes)), bytes);
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const changed = bytes.slice();
      changed[at % bytes.length] = byte;
      isRefusedOr(() => assert.deepEqual(encodeBlock(decodeBlockBytes(changed)), changed));
    }),
    { numRuns: 1000 },
  );
  for (let length = 0; length < bytes.length; length++) {
    isRefusedOr(() => {
      decodeBlockBytes(bytes.subarray(0, length));
      assert.fail(`cut to ${length} bytes`);
    });
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (random) => isRefusedOr(() => decodeBlockBytes(random))),
  );
  const commit = encodeCommit(signedHeader.commit);
  assert.deepEqual(decodeCommitBytes(commit), signedHeader.commit);
  assert.throws(() => decodeCommitBytes(Uint8Array.of(...commit, 8, 5)), { code: 'protobuf.non-canonical' });
});

test('a block of several parts', () => {
  const { total } = partSetHeaderOf(encodeBlock(BLOCK));
  assert.equal(total, 2);
  assert.equal(partSetHeaderOf(new Uint8Array(65_536)).total, 1);
  assert.equal(partSetHeaderOf(new Uint8Array(65_537)).total, 2);
});

test('times are RFC 3339 with nanoseconds, each in one spelling', () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date(-62135596800000), max: new Date(253402300799999), noInvalidDate: true }),
      (date) => {
        const time = timestampFromMs(date.getTime());
        assert.equal(timestampToMs(time), date.getTime());
        assert.equal(formatTimestamp(time), date.toISOString().replace(/\.?0+Z$/, 'Z'));
        assert.deepEqual(parseTimestamp(formatTimestamp(time)), time);
        const later = addNanos(time, 1n);
        assert.ok(compareTimestamps(time, later) < 0 || time.seconds === 253402300799n);
        assert.deepEqual(parseTimestamp(formatTimestamp(later)), later);
      },
    ),
    { numRuns: 500 },
  );
  assert.equal(formatTimestamp(parseTimestamp('0001-01-01T00:00:00Z')), '0001-01-01T00:00:00Z');
  const refused = [
    '',
    '2026-01-01',
    '2026-01-01T00:00:00',
    '2026-01-01T00:00:00+00:00',
    '2026-01-01t00:00:00z',
    '2026-01-01T00:00:00.Z',
    '2026-01-01T00:00:00.0Z',
    '2026-01-01T00:00:00.1234567891Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '1900-02-29T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:60Z',
    '0000-01-01T00:00:00Z',
    ' 2026-01-01T00:00:00Z',
    '2026-01-01T00:00:00Z\n',
  ];
  for (const text of refused) assert.throws(() => parseTimestamp(text), { code: 'time.format' }, text);
  assert.equal(parseTimestamp('2024-02-29T23:59:59.000000001Z').nanos, 1);
});

test('base64 and upper-case hexadecimal', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      assert.equal(toBase64(bytes), Buffer.from(bytes).toString('base64'));
      assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
      assert.deepEqual(fromUpperHex(toUpperHex(bytes)), bytes);
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), (text) => {
      isRefusedOr(() => assert.equal(toBase64(fromBase64(text)), text));
      isRefusedOr(() => assert.equal(toUpperHex(fromUpperHex(text)), text));
    }),
    { numRuns: 2000 },
  );
  for (const text of [
    'A',
    'AA',
    'AAA',
    'AB==',
    'AAB=',
    '====',
    'AA=A',
    'A===',
    'AAAA=',
    '=AAA',
    'AA\n=',
    'AA-_',
  ]) {
    assert.throws(() => fromBase64(text), { code: 'base64.format' }, text);
  }
});
