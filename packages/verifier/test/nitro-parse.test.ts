import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, rememberSignatures } from '@haca/platform';
import { concatBytes, MalformedError, toHex } from '@haca/primitives';
import fc from 'fast-check';
import { appraiseNitro, NITRO_LIMITS, parseNitroEnvelope, parseNitroPayload } from '../src/index.ts';
import {
  array,
  byteString,
  type Entry,
  indefiniteArray,
  indefiniteMap,
  map,
  NULL,
  raw,
  smallUint,
  textString,
} from './cbor-text.ts';
import { appraiseChanged, contextAt, vector, vectorsMissing } from './nitro-vectors.ts';

const pcr = byteString(new Uint8Array(48).fill(7));
const pcrs = (...indices: readonly number[]): readonly Entry[] =>
  indices.map((index) => [smallUint(index), pcr]);
const certificate = byteString(Uint8Array.of(0x30, 0));

const MEMBERS: Readonly<Record<string, Uint8Array>> = {
  module_id: textString('i-1-enc2'),
  digest: textString('SHA384'),
  timestamp: smallUint(1000),
  pcrs: map(...pcrs(0, 1, 2)),
  certificate,
  cabundle: array(certificate, certificate),
  public_key: NULL,
  user_data: byteString(new Uint8Array(0)),
  nonce: byteString(Uint8Array.of(9)),
};

function entries(changes: Readonly<Record<string, Uint8Array | null>> = {}): readonly Entry[] {
  return Object.entries({ ...MEMBERS, ...changes }).flatMap(([key, value]) =>
    value === null ? [] : [[textString(key), value] as const],
  );
}

function codeOf(bytes: Uint8Array): string {
  try {
    parseNitroPayload(bytes);
    return 'accepted';
  } catch (error) {
    if (error instanceof MalformedError) return error.code;
    throw error;
  }
}

test('NITRO-6 NITRO-7 a payload is read in either length form and any order of keys', () => {
  const definite = parseNitroPayload(map(...entries()));
  assert.deepEqual([...definite.pcrs.keys()], [0, 1, 2]);
  assert.deepEqual([definite.publicKey, definite.userData?.length, definite.nonce?.length], [null, 0, 1]);
  const indefinite = indefiniteMap(
    ...entries({
      pcrs: indefiniteMap(...pcrs(0, 1, 2)),
      cabundle: indefiniteArray(certificate, certificate),
    }),
  );
  assert.deepEqual(parseNitroPayload(indefinite), definite);
  assert.deepEqual(parseNitroPayload(map(...entries().toReversed())), definite);
  assert.deepEqual(parseNitroPayload(map(...entries({ public_key: null }))), definite, 'absent is null');
});

const ones = (length: number): Uint8Array => new Uint8Array(length).fill(1);

const LIMITS: readonly (readonly [key: string, value: Uint8Array, code: string])[] = [
  ['module_id', textString(''), 'cbor.length'],
  ['module_id', textString('x'.repeat(255)), 'accepted'],
  ['module_id', textString('x'.repeat(256)), 'cbor.length'],
  ['module_id', byteString(ones(4)), 'cbor.type'],
  ['module_id', raw('62c328'), 'utf8.invalid'],
  ['module_id', raw('7f6161ff'), 'cbor.indefinite'],
  ['module_id', NULL, 'cbor.type'],
  ['module_id', raw('780161'), 'cbor.not-minimal'],
  ['digest', textString(''), 'cbor.length'],
  ['digest', textString('x'.repeat(17)), 'cbor.length'],
  ['timestamp', smallUint(0), 'nitro.timestamp'],
  ['timestamp', raw('1b001fffffffffffff'), 'accepted'],
  ['timestamp', raw('1b0020000000000000'), 'cbor.range'],
  ['timestamp', raw('1bffffffffffffffff'), 'cbor.range'],
  ['timestamp', raw('1b00000000ffffffff'), 'cbor.not-minimal'],
  ['timestamp', raw('1a0000ffff'), 'cbor.not-minimal'],
  ['timestamp', raw('1900ff'), 'cbor.not-minimal'],
  ['timestamp', raw('1817'), 'cbor.not-minimal'],
  ['timestamp', raw('1c'), 'cbor.reserved'],
  ['timestamp', raw('1f'), 'cbor.reserved'],
  ['timestamp', raw('20'), 'cbor.type'],
  ['timestamp', raw('c11903e8'), 'cbor.tag'],
  ['timestamp', raw('c24101'), 'cbor.tag'],
  ['timestamp', raw('fb408f400000000000'), 'cbor.type'],
  ['timestamp', raw('f7'), 'cbor.type'],
  ['pcrs', map(), 'cbor.length'],
  ['pcrs', indefiniteMap(), 'cbor.length'],
  ['pcrs', map(...pcrs(...Array(32).keys())), 'accepted'],
  ['pcrs', map(...pcrs(31, 32)), 'cbor.range'],
  ['pcrs', map(...pcrs(...Array(33).keys())), 'cbor.length'],
  ['pcrs', indefiniteMap(...pcrs(...Array(32).keys())), 'accepted'],
  ['pcrs', indefiniteMap(...pcrs(...Array(32).keys(), 31)), 'cbor.length'],
  ['pcrs', map(...pcrs(0, 0, 1)), 'nitro.pcr-order'],
  ['pcrs', map(...pcrs(0, 2, 1)), 'nitro.pcr-order'],
  ['pcrs', map([textString('0'), pcr]), 'cbor.type'],
  ['pcrs', map([smallUint(0), byteString(ones(47))]), 'cbor.length'],
  ['pcrs', map([smallUint(0), byteString(ones(32))]), 'cbor.length'],
  ['pcrs', map([smallUint(0), byteString(ones(64))]), 'cbor.length'],
  ['pcrs', map([smallUint(0), NULL]), 'cbor.type'],
  ['pcrs', map([smallUint(0), concatBytes(raw('5f'), pcr, raw('ff'))]), 'cbor.indefinite'],
  ['pcrs', map([raw('1800'), pcr]), 'cbor.not-minimal'],
  ['pcrs', array(pcr), 'cbor.type'],
  ['certificate', byteString(ones(0)), 'cbor.length'],
  ['certificate', byteString(ones(1024)), 'accepted'],
  ['certificate', byteString(ones(1025)), 'cbor.length'],
  ['certificate', NULL, 'cbor.type'],
  ['cabundle', array(), 'cbor.length'],
  ['cabundle', indefiniteArray(), 'cbor.length'],
  ['cabundle', array(...Array(8).fill(certificate)), 'accepted'],
  ['cabundle', array(...Array(9).fill(certificate)), 'cbor.length'],
  ['cabundle', indefiniteArray(...Array(8).fill(certificate)), 'accepted'],
  ['cabundle', indefiniteArray(...Array(9).fill(certificate)), 'cbor.length'],
  ['cabundle', array(byteString(ones(0))), 'cbor.length'],
  ['cabundle', array(textString('-----BEGIN CERTIFICATE-----')), 'cbor.type'],
  ['cabundle', array(concatBytes(raw('5f'), certificate, raw('ff'))), 'cbor.indefinite'],
  ['cabundle', certificate, 'cbor.type'],
  ['cabundle', raw('9a00000001413000'), 'cbor.not-minimal'],
  ['public_key', byteString(ones(1024)), 'accepted'],
  ['public_key', byteString(ones(1025)), 'cbor.length'],
  ['public_key', byteString(ones(0)), 'accepted'],
  ['user_data', byteString(ones(1025)), 'cbor.length'],
  ['user_data', textString('x'), 'cbor.type'],
  ['user_data', raw('5f4101ff'), 'cbor.indefinite'],
  ['user_data', raw('5801ff'), 'cbor.not-minimal'],
  ['nonce', byteString(ones(1025)), 'cbor.length'],
  ['nonce', raw('f7'), 'cbor.type'],
  ['nonce', raw('f4'), 'cbor.type'],
  ['nonce', raw('d8404101'), 'cbor.tag'],
];

for (const [key, value, code] of LIMITS) {
  test(`NITRO-6 ${key} ${toHex(value.subarray(0, 10))} (${value.length} bytes): ${code}`, () => {
    assert.equal(codeOf(map(...entries({ [key]: value }))), code);
    assert.equal(codeOf(indefiniteMap(...entries({ [key]: value }))), code);
  });
}

test('NITRO-6 keys: unknown, repeated, missing and of another type are refused', () => {
  assert.equal(codeOf(map(...entries(), [textString('extra'), NULL])), 'cbor.length');
  assert.equal(codeOf(indefiniteMap(...entries(), [textString('extra'), NULL])), 'cbor.length');
  const withoutNonce = entries({ nonce: null });
  for (const unknown of ['Nonce', 'nonce ', 'constructor', '__proto__', 'toString', 'nitrotpm_pcrs'])
    assert.equal(codeOf(map(...withoutNonce, [textString(unknown), NULL])), 'nitro.unknown-key', unknown);
  assert.equal(codeOf(map(...withoutNonce, [byteString(ones(5)), NULL])), 'cbor.type');
  assert.equal(codeOf(map(...withoutNonce, [textString(''), NULL])), 'cbor.length');
  for (const repeated of ['module_id', 'pcrs', 'timestamp', 'user_data']) {
    const twice = [...withoutNonce, [textString(repeated), MEMBERS[repeated] as Uint8Array] as const];
    assert.equal(codeOf(map(...twice)), 'cbor.duplicate-key', repeated);
    assert.equal(codeOf(indefiniteMap(...twice)), 'cbor.duplicate-key', repeated);
  }
  for (const missing of ['module_id', 'digest', 'timestamp', 'pcrs', 'certificate', 'cabundle'])
    assert.equal(codeOf(map(...entries({ [missing]: null }))), 'nitro.missing-key', missing);
  const required = ['public_key', 'user_data', 'nonce'].map((key) => [key, null] as const);
  assert.equal(codeOf(map(...entries(Object.fromEntries(required)))), 'accepted');
});

test('NITRO-6 bytes behind, missing breaks and stray breaks are refused', () => {
  assert.equal(codeOf(concatBytes(map(...entries()), raw('00'))), 'cbor.trailing-bytes');
  assert.equal(codeOf(concatBytes(indefiniteMap(...entries()), raw('ff'))), 'cbor.trailing-bytes');
  assert.equal(codeOf(indefiniteMap(...entries({ nonce: null })).slice(0, -1)), 'cbor.truncated');
  const keyThenBreak = concatBytes(raw('bf'), ...entries().flat().slice(0, -1), raw('ff'));
  assert.equal(codeOf(keyThenBreak), 'cbor.type');
  assert.equal(codeOf(raw('bfff')), 'cbor.length');
  assert.equal(codeOf(raw('a0')), 'cbor.length');
  for (const cut of [
    '',
    'b8',
    'b9',
    'b900',
    'ba000000',
    'bb00000000000000',
    'bf',
    'bf66',
    'bf666e6f6e63',
    'a66e6f',
  ])
    assert.equal(codeOf(raw(cut)), 'cbor.truncated', cut);
  const short = entries({ nonce: null, user_data: null, public_key: null }).flat();
  assert.equal(
    codeOf(concatBytes(raw('a6'), ...short.slice(0, -1), raw('81423000'.slice(0, 6)))),
    'cbor.truncated',
  );
  assert.equal(codeOf(concatBytes(raw('d9d9f7'), map(...entries()))), 'cbor.tag');
});

test('NITRO-1 huge lengths and deep nesting are refused at once', () => {
  const hostile = [
    '9bffffffffffffffff',
    'bbffffffffffffffff',
    '5bffffffffffffffff',
    '845bffffffffffffffff',
    '8444a1013822a05bffffffffffffffff',
    '8444a1013822a05a7fffffff',
    '81'.repeat(12_000),
    '9f'.repeat(12_000),
    'bf'.repeat(12_000),
    `8444a1013822${'a1'.repeat(10_000)}`,
    `8444a1013822a0592710${'bf'.repeat(10_000)}`,
    'c6'.repeat(12_000),
  ];
  for (const hex of hostile) {
    const { verdict } = appraiseNitro(raw(hex), contextAt(0));
    assert.deepEqual(
      [verdict.ok, verdict.checks.filter(({ status }) => status === 'failed').length],
      [false, 1],
    );
  }
});

test('NITRO-1 random bytes and random CBOR always get a verdict', () => {
  const wrapped = fc
    .uint8Array({ maxLength: 600 })
    .map((bytes) => concatBytes(raw('8444a1013822a0'), byteString(bytes), byteString(new Uint8Array(96))));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), wrapped), (bytes) => {
      const { verdict, claims } = appraiseNitro(bytes, contextAt(0));
      assert.equal(verdict.ok, false);
      assert.equal(claims, null);
      assert.equal(verdict.checks.filter(({ status }) => status === 'failed').length, 1);
    }),
    { numRuns: 2000 },
  );
});

test(
  'NITRO-1 a genuine document with spans overwritten, cut out or doubled is refused',
  { skip: vectorsMissing },
  () => {
    const each = vector('prod-2025-11-indef-pcr16');
    const crypto = rememberSignatures(nodeCrypto, 1024);
    const { length } = each.bytes;
    const span = fc.tuple(
      fc.nat(length - 1),
      fc.integer({ min: 1, max: 40 }),
      fc.uint8Array({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(fc.array(span, { minLength: 1, maxLength: 3 }), (spans) => {
        let bytes = each.bytes;
        for (const [at, cut, put] of spans)
          bytes = concatBytes(bytes.subarray(0, at), put, bytes.subarray(at + cut));
        fc.pre(toHex(bytes) !== toHex(each.bytes));
        assert.equal(appraiseChanged(each, bytes, crypto).verdict.ok, false);
      }),
      { numRuns: 1500 },
    );
  },
);

test(
  'NITRO-1 parsed values do not alias the document, whatever kind of array it is',
  { skip: vectorsMissing },
  () => {
    const { bytes } = vector('prod-2024-12');
    for (const input of [new Uint8Array(bytes), Buffer.from(bytes)]) {
      const before = parseNitroPayload(parseNitroEnvelope(input).payload);
      const copy = structuredClone(before);
      input.fill(0);
      assert.deepEqual(before, copy);
    }
  },
);

test('NITRO-3 the limits leave room for the largest document', () => {
  const { cabundleEntries, certificateBytes, fieldBytes, payloadBytes, documentBytes } = NITRO_LIMITS;
  assert.ok(
    (cabundleEntries + 1) * (certificateBytes + 3) + 3 * (fieldBytes + 3) + 32 * 52 + 512 <= payloadBytes,
  );
  assert.ok(payloadBytes + 200 <= documentBytes);
});
