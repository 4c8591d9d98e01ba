/** The test enclave judged by OpenSSL and cborg; the verifier of this repository meets it in interop/. */
import assert from 'node:assert/strict';
import { createHash, verify, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { UsageError } from '@haca/primitives';
import * as cborg from 'cborg';
import fc from 'fast-check';
import {
  createTestEnclave,
  createTestRoot,
  derElement,
  derNamedBits,
  derOid,
  derTime,
  derUnsigned,
  measureTestImage,
  p384SignerFromSeed,
  type TestEnclaveOptions,
} from '../src/index.ts';

const NOW_MS = Date.UTC(2026, 10, 21, 12);
const seed = new Uint8Array(32).fill(1);
const root = createTestRoot(seed);
const measurement = measureTestImage(Uint8Array.of(1, 2, 3));
const REQUEST = {
  bindingHash: new Uint8Array(64).fill(3),
  signPublicKey: new Uint8Array(32).fill(4),
  refBlockHash: new Uint8Array(32).fill(5),
};

function enclaveOf(changes: Partial<TestEnclaveOptions> = {}) {
  return createTestEnclave({
    root,
    measurement,
    nowMs: () => NOW_MS,
    seed: new Uint8Array(16).fill(2),
    ...changes,
  });
}

interface Payload {
  readonly module_id: string;
  readonly digest: string;
  readonly timestamp: number;
  readonly pcrs: Map<number, Uint8Array>;
  readonly certificate: Uint8Array;
  readonly cabundle: readonly Uint8Array[];
  readonly public_key: Uint8Array | null;
  readonly user_data: Uint8Array | null;
  readonly nonce: Uint8Array | null;
}

function decoded(document: Uint8Array) {
  const [header, , payload, signature] = cborg.decode(document, { useMaps: true }) as [
    Uint8Array,
    Map<never, never>,
    Uint8Array,
    Uint8Array,
  ];
  const entries = cborg.decode(payload, { useMaps: true }) as Map<string, unknown>;
  return { header, payload, signature, members: Object.fromEntries(entries) as unknown as Payload };
}

test('a document holds what was asked for, signed by its leaf', async () => {
  const { header, payload, signature, members } = decoded(await enclaveOf().attest(REQUEST));
  assert.equal(members.digest, 'SHA384');
  assert.equal(members.timestamp, NOW_MS);
  assert.match(members.module_id, /^i-[0-9a-f]{17}-enc[0-9a-f]{16}$/);
  assert.deepEqual([...members.pcrs.keys()], [...Array(16).keys()]);
  for (const [index, value] of measurement) assert.deepEqual(members.pcrs.get(index), value);
  assert.deepEqual(
    [members.user_data, members.public_key, members.nonce],
    [REQUEST.bindingHash, REQUEST.signPublicKey, REQUEST.refBlockHash],
  );
  const structure = cborg.encode(['Signature1', header, new Uint8Array(0), payload]);
  const key = new X509Certificate(members.certificate).publicKey;
  assert.equal(verify('sha384', structure, { key, dsaEncoding: 'ieee-p1363' }, signature), true);
});

test('the chain verifies for OpenSSL, and the leaf lives three hours', async () => {
  const { members } = decoded(await enclaveOf().attest(REQUEST));
  const chain = [...members.cabundle, members.certificate].map((der) => new X509Certificate(der));
  assert.equal(chain.length, 5);
  assert.deepEqual(members.cabundle[0], root.der);
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[Math.max(i - 1, 0)] as X509Certificate;
    assert.equal(certificate.verify(issuer.publicKey), true, `${i}`);
    assert.equal(certificate.checkIssued(issuer), true, `${i}`);
    assert.equal(certificate.ca, i < 4, `${i}`);
    assert.ok(
      Date.parse(certificate.validFrom) <= NOW_MS && NOW_MS < Date.parse(certificate.validTo),
      `${i}`,
    );
    assert.ok(certificate.raw.length <= 1024);
  }
  assert.equal(Date.parse((chain[4] as X509Certificate).validTo), NOW_MS + 3 * 3_600_000);
});

test('one seed gives one root, one seed and clock one document', async () => {
  assert.deepEqual(createTestRoot(seed).der, root.der);
  assert.deepEqual(new Uint8Array(createHash('sha256').update(root.der).digest()), root.sha256);
  assert.notDeepEqual(createTestRoot(new Uint8Array(32)).der, root.der);
  assert.notDeepEqual(createTestRoot().der, createTestRoot().der);
  assert.deepEqual(await enclaveOf().attest(REQUEST), await enclaveOf().attest(REQUEST));
  const { seed: _seed, ...unseeded } = { root, measurement, nowMs: () => NOW_MS, seed };
  const [one, other] = [createTestEnclave(unseeded), createTestEnclave(unseeded)];
  assert.notDeepEqual(await one.attest(REQUEST), await other.attest(REQUEST));
});

test('debug mode zeroes PCR0 to PCR2 and says it is simulated like any other', async () => {
  const debug = enclaveOf({ debug: true });
  assert.equal(debug.isSimulated, true);
  const { pcrs } = decoded(await debug.attest(REQUEST)).members;
  for (const index of [0, 1, 2]) assert.deepEqual(pcrs.get(index), new Uint8Array(48));
});

test('requests and measurements that no enclave could have are refused', async () => {
  const enclave = enclaveOf();
  for (const [name, bytes] of Object.entries(REQUEST)) {
    for (const length of [0, bytes.length - 1, bytes.length + 1])
      await assert.rejects(enclave.attest({ ...REQUEST, [name]: new Uint8Array(length) }), UsageError);
  }
  const zero = new Uint8Array(48);
  const bad = [[], measurement.slice(1), [...measurement.slice(0, 2), [2, zero] as const]];
  for (const each of bad) assert.throws(() => enclaveOf({ measurement: each }), UsageError);
  assert.throws(() => enclaveOf({ measurement: [...measurement, [16, zero]] }), UsageError);
  assert.throws(() => enclaveOf({ measurement: [...measurement, [3, new Uint8Array(32)]] }), UsageError);
  assert.throws(() => createTestRoot(new Uint8Array(15)), UsageError);
});

test('images measure apart, the same image alike', () => {
  assert.deepEqual(measureTestImage(Uint8Array.of(1, 2, 3)), measurement);
  const values = [measurement, measureTestImage(Uint8Array.of(1, 2))].flat().map(([, value]) => `${value}`);
  assert.equal(new Set(values).size, 6);
});

test('keys of one seed differ by label, and sign what OpenSSL verifies', () => {
  const [a, b] = [p384SignerFromSeed(seed, 'a'), p384SignerFromSeed(seed, 'b')];
  assert.notDeepEqual(a.publicKey, b.publicKey);
  assert.deepEqual(p384SignerFromSeed(seed, 'a').publicKey, a.publicKey);
  assert.deepEqual(a.sign(seed), a.sign(seed));
  assert.equal(a.publicKey.length, 97);
  assert.equal(a.sign(seed).length, 96);
});

test('the DER writer writes shortest forms', () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  assert.equal(hex(derElement(4, new Uint8Array(127))).slice(0, 4), '047f');
  assert.equal(hex(derElement(4, new Uint8Array(128))).slice(0, 6), '048180');
  assert.equal(hex(derElement(4, new Uint8Array(256))).slice(0, 8), '04820100');
  assert.equal(hex(derUnsigned(Uint8Array.of(0, 0, 0x80))), '02020080');
  assert.equal(hex(derUnsigned(new Uint8Array(3))), '020100');
  assert.equal(hex(derOid('1.2.840.10045.4.3.3')), '06082a8648ce3d040303');
  assert.equal(hex(derNamedBits(0, 5, 6)), '03020186');
  assert.equal(hex(derNamedBits(5)), '03020204');
  assert.equal(hex(derNamedBits(8)), '0303070080');
  assert.equal(
    Buffer.from(derTime(Date.UTC(2049, 11, 31, 23, 59, 59))).toString('latin1', 2),
    '491231235959Z',
  );
  assert.equal(Buffer.from(derTime(Date.UTC(2050, 0, 1))).toString('latin1', 2), '20500101000000Z');
  assert.throws(() => derOid('1'), UsageError);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const written = derElement(4, bytes);
      assert.deepEqual(written.subarray(written.length - bytes.length), bytes);
    }),
  );
});
