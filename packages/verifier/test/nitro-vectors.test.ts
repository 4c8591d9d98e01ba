import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { concatBytes, fromHex, toHex, utf8Encode } from '@haca/primitives';
import { truncationsAndExtensions } from '@haca/testkit';
import {
  AWS_NITRO_ROOT_G1,
  AWS_NITRO_ROOT_G1_SHA256,
  appraiseNitro,
  NITRO_VALIDATE_CHECKS,
  NITRO_VERIFY_CHECKS,
  parseCertificate,
  parseNitroEnvelope,
  parseNitroPayload,
} from '../src/index.ts';
import {
  appraiseChanged,
  contextAt,
  failures,
  type NitroVector,
  OPEN_POLICY,
  readVectors,
  vector,
  vectorsMissing,
} from './nitro-vectors.ts';

const skip = vectorsMissing;
const vectors = readVectors();
const genuine = vectors.filter(({ expect }) => !expect.outcome.includes('untrusted root'));
const accepted = genuine.filter(({ expect }) => expect.outcome.startsWith('accept'));
const ALL_CHECKS = [...NITRO_VERIFY_CHECKS, ...NITRO_VALIDATE_CHECKS];

test('the recorded documents are there', { skip }, () => {
  assert.ok(accepted.length >= 4, `saw ${accepted.length} production documents`);
  for (const { id, bytes, sha256 } of vectors)
    assert.equal(createHash('sha256').update(bytes).digest('hex'), sha256, id);
});

for (const crypto of [nodeCrypto, portableCrypto]) {
  for (const each of accepted) {
    test(`NITRO-1 NITRO-16 ${crypto.name}: ${each.id} is accepted at its recorded time`, () => {
      const context = contextAt(each.expect.verify_at_ms, crypto);
      const policy = { ...OPEN_POLICY, maxAgeMs: 0, maxFutureSkewMs: 0 };
      const { verdict, claims } = appraiseNitro(each.bytes, { ...context, policy });
      assert.equal(
        verdict.ok,
        true,
        JSON.stringify(verdict.checks.filter(({ status }) => status === 'failed')),
      );
      assert.deepEqual(
        verdict.checks.map(({ id }) => id),
        ALL_CHECKS,
      );
      assert.equal(claims?.isSimulated, false);
      assert.equal(claims.isDebug, false);
    });
  }
}

for (const each of vectors) {
  test(`NITRO-6 NITRO-7 NITRO-24 ${each.id} says what the manifest says`, () => {
    const { expect } = each;
    const payload = parseNitroPayload(parseNitroEnvelope(each.bytes).payload);
    assert.equal(payload.moduleId, expect.module_id);
    assert.equal(payload.digest, expect.digest);
    assert.equal(payload.timestampMs, expect.verify_at_ms);
    const nonzero = [...payload.pcrs].filter(([, value]) => value.some((byte) => byte !== 0));
    assert.deepEqual(
      Object.fromEntries(nonzero.map(([index, value]) => [`${index}`, toHex(value)])),
      expect.pcrs_nonzero,
    );
    assertField(payload.userData, expect.user_data);
    assertField(payload.nonce, expect.nonce);
    assertField(payload.publicKey, expect.public_key);
    const chain = [...payload.cabundle, payload.certificate].map((der, i) => parseCertificate(der, `${i}`));
    assert.equal(
      Math.max(...chain.map(({ notBeforeMs }) => notBeforeMs)),
      Date.parse(expect.chain_valid_from),
    );
    assert.equal(Math.min(...chain.map(({ notAfterMs }) => notAfterMs)), Date.parse(expect.chain_valid_to));
    const { claims } = appraiseChanged(each, each.bytes);
    if (claims !== null) assert.equal(claims.evidenceEndMs, Date.parse(expect.chain_valid_to));
  });
}

/** The manifest cuts long values to a prefix, an ellipsis and the length. */
function assertField(got: Uint8Array | null, recorded: string | null): void {
  const [prefix = '', length] = (recorded ?? '').split('\u2026');
  assert.equal(got === null ? null : toHex(got).slice(0, prefix.length), recorded === null ? null : prefix);
  if (length !== undefined) assert.equal(`(${got?.length})`, length);
}

test('NITRO-20 the debug document is authentic and refused for debug mode alone', { skip }, () => {
  const debug = vector('debug-2022-10');
  const refused = appraiseChanged(debug, debug.bytes);
  assert.deepEqual(failures(refused), ['nitro.debug:nitro.debug-mode']);
  assert.equal(refused.claims?.isDebug, true);
  const context = contextAt(debug.expect.verify_at_ms);
  const allowed = appraiseNitro(debug.bytes, { ...context, policy: { ...OPEN_POLICY, allowDebug: true } });
  assert.equal(allowed.verdict.ok, true);
});

test('NITRO-8 NITRO-2 a document under a foreign root is refused there and then', { skip }, () => {
  const foreign = vector('customroot-2024-12');
  const { verdict, claims } = appraiseChanged(foreign, foreign.bytes);
  assert.deepEqual(failures({ verdict }), ['nitro.chain.root:nitro.root-untrusted']);
  assert.equal(claims, null);
  assert.deepEqual(
    verdict.checks.map(({ id }) => id),
    ALL_CHECKS,
  );
  const after = verdict.checks.slice(ALL_CHECKS.indexOf('nitro.chain.root') + 1);
  assert.ok(after.every(({ status, code }) => status === 'skipped' && code === 'not-reached'));
});

test(
  'NITRO-25 the foreign document passes the same code once its root is trusted, and stays marked',
  { skip },
  () => {
    const foreign = vector('customroot-2024-12');
    const sha256 = fromHex('024a7c97261ad34de885537fa08b8bd35121a28d9dc2017e688e4813fda28c96');
    const context = {
      ...contextAt(foreign.expect.verify_at_ms),
      roots: [AWS_NITRO_ROOT_G1, { sha256, simulated: true }],
    };
    const result = appraiseNitro(foreign.bytes, context);
    assert.deepEqual(failures(result), ['nitro.debug:nitro.debug-mode'], 'its PCR0 is zero');
    assert.equal(result.claims?.isSimulated, true);
  },
);

test(
  'NITRO-8 the compiled-in root is the published one, and the first of every genuine bundle',
  { skip },
  () => {
    assert.match(AWS_NITRO_ROOT_G1_SHA256, /^641a0321a3e244efe456463195d60631.*79bb5b$/);
    for (const { bytes } of genuine) {
      const [root] = parseNitroPayload(parseNitroEnvelope(bytes).payload).cabundle;
      assert.equal(
        createHash('sha256')
          .update(root as Uint8Array)
          .digest('hex'),
        AWS_NITRO_ROOT_G1_SHA256,
      );
    }
  },
);

for (const each of accepted) {
  test(`NITRO-13 ${each.id} is refused one millisecond outside its chain's validity`, () => {
    const from = Date.parse(each.expect.chain_valid_from);
    const to = Date.parse(each.expect.chain_valid_to);
    const code = (nowMs: number) => failures(appraiseNitro(each.bytes, contextAt(nowMs)));
    assert.deepEqual(code(from - 1), ['nitro.chain.window:certificate.not-yet-valid']);
    assert.deepEqual(code(from), []);
    assert.deepEqual(code(to), []);
    assert.deepEqual(code(to + 1), ['nitro.chain.window:certificate.expired']);
  });
}

const P384_ORDER =
  0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n;

/** The document with (r, n - s): the only other bytes that carry the same signed content. */
function twin(bytes: Uint8Array): Uint8Array {
  const s = BigInt(`0x${toHex(bytes.subarray(-48))}`);
  return concatBytes(bytes.subarray(0, -48), fromHex((P384_ORDER - s).toString(16).padStart(96, '0')));
}

for (const crypto of [nodeCrypto, portableCrypto]) {
  test(
    `NITRO-23 ${crypto.name}: the twin signature gives the same claims digest from other bytes`,
    { skip },
    () => {
      for (const each of accepted) {
        const original = appraiseChanged(each, each.bytes, crypto);
        const other = appraiseChanged(each, twin(each.bytes), crypto);
        assert.equal(other.verdict.ok, true, each.id);
        assert.deepEqual(other.claims?.claimsDigest, original.claims?.claimsDigest);
        assert.notDeepEqual(nodeCrypto.sha256(twin(each.bytes)), nodeCrypto.sha256(each.bytes));
      }
    },
  );
}

test('NITRO-23 different documents have different claims digests', { skip }, () => {
  const digests = accepted.map((each) =>
    toHex(appraiseChanged(each, each.bytes).claims?.claimsDigest ?? new Uint8Array()),
  );
  assert.equal(new Set(digests).size, accepted.length);
});

test('NITRO-23 both halves of s occur in genuine documents, so neither can be refused', { skip }, () => {
  const isHigh = ({ bytes }: NitroVector) => BigInt(`0x${toHex(bytes.subarray(-48))}`) > P384_ORDER / 2n;
  assert.ok(genuine.some(isHigh) && !genuine.every(isHigh));
});

test('NITRO-14 a revoked certificate is refused at every position, whatever the document', { skip }, () => {
  const each = vector('prod-2024-12');
  const { cabundle, certificate } = parseNitroPayload(parseNitroEnvelope(each.bytes).payload);
  for (const der of [...cabundle, certificate]) {
    const { issuer, serial } = parseCertificate(der, '');
    const revoked = [{ issuer, serial }];
    const context = contextAt(each.expect.verify_at_ms);
    assert.deepEqual(failures(appraiseNitro(each.bytes, { ...context, revoked })), [
      'nitro.chain.revocation:certificate.revoked',
    ]);
    const otherIssuer = [{ issuer: concatBytes(issuer, Uint8Array.of(0)), serial }];
    assert.equal(appraiseNitro(each.bytes, { ...context, revoked: otherIssuer }).verdict.ok, true);
  }
});

/** Puts another array head, header, unprotected map or tail around the genuine parts. */
function reassembled(
  bytes: Uint8Array,
  parts: Partial<Record<'head' | 'protected' | 'unprotected' | 'tail', string>>,
) {
  // 84 | 44 a1013822 | a0 | 59 llll payload | 58 60 signature
  return concatBytes(
    fromHex(parts.head ?? '84'),
    fromHex(parts.protected ?? '44a1013822'),
    fromHex(parts.unprotected ?? 'a0'),
    bytes.subarray(7),
    fromHex(parts.tail ?? ''),
  );
}

const ENVELOPE_CHANGES = [
  ['one byte behind', { tail: '00' }, 'nitro.envelope:cbor.trailing-bytes'],
  ['tag 18', { head: 'd284' }, 'nitro.envelope:cbor.tag'],
  ['tag 98', { head: 'd86284' }, 'nitro.envelope:cbor.tag'],
  ['indefinite array', { head: '9f', tail: 'ff' }, 'nitro.envelope:cbor.indefinite'],
  ['array length in two bytes', { head: '9804' }, 'nitro.envelope:cbor.not-minimal'],
  ['array of five', { head: '85', tail: 'f6' }, 'nitro.envelope:cbor.length'],
  ['array of three', { head: '83' }, 'nitro.envelope:cbor.length'],
  ['alg ES256', { protected: '43a10126' }, 'nitro.header:nitro.header'],
  ['alg EdDSA', { protected: '43a10127' }, 'nitro.header:nitro.header'],
  ['extra header', { protected: '46a20138220400' }, 'nitro.header:nitro.header'],
  ['crit header', { protected: '47a2013822028101' }, 'nitro.header:nitro.header'],
  ['empty header', { protected: '40' }, 'nitro.header:nitro.header'],
  ['alg not minimal', { protected: '45a101390022' }, 'nitro.header:nitro.header'],
  ['header as a map', { protected: 'a1013822' }, 'nitro.envelope:cbor.type'],
  ['header length in two bytes', { protected: '5804a1013822' }, 'nitro.envelope:cbor.not-minimal'],
  ['header chunked', { protected: '5f44a1013822ff' }, 'nitro.envelope:cbor.indefinite'],
  ['alg in the unprotected header', { unprotected: 'a1013822' }, 'nitro.envelope:cbor.length'],
  ['unprotected indefinite', { unprotected: 'bfff' }, 'nitro.envelope:cbor.indefinite'],
  ['unprotected null', { unprotected: 'f6' }, 'nitro.envelope:cbor.type'],
] as const;

for (const [what, parts, failure] of ENVELOPE_CHANGES) {
  test(`NITRO-4 NITRO-5 a genuine document is refused with ${what}`, { skip }, () => {
    for (const each of accepted)
      assert.deepEqual(failures(appraiseChanged(each, reassembled(each.bytes, parts))), [failure], each.id);
  });
}

test('NITRO-4 longer length forms of payload and signature are refused', { skip }, () => {
  const { bytes, ...rest } = vector('prod-2024-04');
  const each = { bytes, ...rest };
  const payload = bytes.subarray(10, -98);
  const long = concatBytes(
    bytes.subarray(0, 7),
    fromHex('5a0000'),
    bytes.subarray(8, 10),
    payload,
    bytes.subarray(-98),
  );
  assert.deepEqual(failures(appraiseChanged(each, long)), ['nitro.envelope:cbor.not-minimal']);
  const longSignature = concatBytes(bytes.subarray(0, -98), fromHex('590060'), bytes.subarray(-96));
  assert.deepEqual(failures(appraiseChanged(each, longSignature)), ['nitro.envelope:cbor.not-minimal']);
  const short = concatBytes(bytes.subarray(0, -98), fromHex('585f'), bytes.subarray(-95));
  assert.deepEqual(failures(appraiseChanged(each, short)), ['nitro.envelope:cbor.length']);
});

test('NITRO-3 a document over the limit is refused unread', { skip }, () => {
  const each = vector('prod-2024-04');
  const large = concatBytes(each.bytes, new Uint8Array(24 * 1024));
  assert.deepEqual(failures(appraiseChanged(each, large)), ['nitro.size:nitro.too-large']);
});

test('NITRO-4 NITRO-6 every truncation and extension is refused', { skip }, () => {
  const crypto = rememberSignatures(nodeCrypto, 1024);
  for (const each of [vector('prod-2024-04'), vector('prod-2025-11-indef-pcr16')])
    for (const bytes of truncationsAndExtensions(each.bytes)) {
      const { verdict } = appraiseChanged(each, bytes, crypto);
      assert.equal(verdict.ok, false, `${bytes.length} of ${each.bytes.length} bytes`);
    }
});

test('NITRO-9 a certificate as PEM or with a trailing byte is refused', { skip }, () => {
  const { cabundle, certificate } = parseNitroPayload(
    parseNitroEnvelope(vector('prod-2024-12').bytes).payload,
  );
  for (const der of [...cabundle, certificate]) {
    const base64 = Buffer.from(der).toString('base64');
    const pem = utf8Encode(`-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`);
    assert.throws(() => parseCertificate(pem, ''), { code: 'der.tag' });
    assert.throws(() => parseCertificate(concatBytes(der, Uint8Array.of(0)), ''), {
      code: 'der.trailing-bytes',
    });
  }
});
