import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { MalformedError, toHex } from '@haca/primitives';
import type { MeasurementRegister } from '@haca/protocol';
import {
  parseNitroEnvelope,
  parseNitroPayload,
  parseNitroPolicy,
  parsePemCertificates,
} from '../src/index.ts';
import { vector, vectorsMissing } from './nitro-vectors.ts';

const PCR = 'ab'.repeat(48);
const NOT_GIVEN = {
  allowDebug: false,
  measurements: 'not-given',
  maxAgeMs: 'not-given',
  maxFutureSkewMs: 'not-given',
  userData: 'not-given',
  nonce: 'not-given',
  publicKey: 'not-given',
};

test('NITRO-17 a policy file that says nothing expects nothing and allows nothing', () => {
  assert.deepEqual(parseNitroPolicy({}), NOT_GIVEN);
});

test('a policy file gives expected values, absence and waivers', () => {
  const policy = parseNitroPolicy({
    allowDebug: true,
    measurements: [{ name: 'release', pcrs: { 0: PCR, 1: PCR, 2: PCR, 16: PCR } }],
    maxAgeMs: 300_000,
    maxFutureSkewMs: 'allow-any',
    userData: null,
    nonce: '00ff',
    publicKey: '',
  });
  assert.equal(policy.allowDebug, true);
  assert.ok(Array.isArray(policy.measurements));
  assert.deepEqual(
    policy.measurements[0].registers.map(({ register, value }: MeasurementRegister) => [
      register,
      toHex(value),
    ]),
    ['pcr0', 'pcr1', 'pcr16', 'pcr2'].map((register) => [register, PCR]),
  );
  assert.deepEqual([policy.maxAgeMs, policy.maxFutureSkewMs], [300_000, 'allow-any']);
  assert.deepEqual(
    [policy.userData, policy.nonce, policy.publicKey],
    [null, Uint8Array.of(0, 255), new Uint8Array()],
  );
});

const BAD_POLICIES: readonly unknown[] = [
  null,
  [],
  'allow-any',
  { debug: true },
  { allowdebug: true },
  { allowDebug: 'true' },
  { allowDebug: 1 },
  { measurements: {} },
  { measurements: 'any' },
  { measurements: [null] },
  { measurements: [{ name: 'x' }] },
  { measurements: [{ pcrs: {} }] },
  { measurements: [{ name: '', pcrs: {} }] },
  { measurements: [{ name: 'x', pcrs: {}, more: 1 }] },
  { measurements: [{ name: 'x', pcrs: { 32: PCR } }] },
  { measurements: [{ name: 'x', pcrs: { '00': PCR } }] },
  { measurements: [{ name: 'x', pcrs: { 0: PCR.slice(2) } }] },
  { measurements: [{ name: 'x', pcrs: { 0: PCR.toUpperCase() } }] },
  { maxAgeMs: -1 },
  { maxAgeMs: 0.5 },
  { maxAgeMs: '1' },
  { maxAgeMs: null },
  { nonce: '0' },
  { nonce: '0x00' },
  { nonce: 'zz' },
  { nonce: 0 },
  { userData: '00'.repeat(1025) },
];

test('a policy file of another form is refused, never read halfway', () => {
  for (const bad of BAD_POLICIES)
    assert.throws(() => parseNitroPolicy(bad), MalformedError, JSON.stringify(bad));
});

test('PEM roots read as OpenSSL wrote them', { skip: vectorsMissing }, () => {
  const { cabundle } = parseNitroPayload(parseNitroEnvelope(vector('prod-2024-12').bytes).payload);
  const text = cabundle.map((der) => new X509Certificate(der).toString()).join('');
  assert.deepEqual(parsePemCertificates(text, 'roots'), cabundle);
  assert.deepEqual(parsePemCertificates(text.replaceAll('\n', '\r\n'), 'roots'), cabundle);
});

test('PEM of another form is refused', () => {
  const pem = (body: string) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
  assert.deepEqual(parsePemCertificates(pem('MAA='), ''), [Uint8Array.of(0x30, 0)]);
  const bad = [
    '',
    'x',
    pem(''),
    pem('MAA'),
    pem('MAA=='),
    pem('MAB='),
    pem('MA=A'),
    pem('M A='),
    pem('MA-_'),
    pem('M==='),
  ];
  bad.push(
    `junk\n${pem('MAA=')}`,
    `${pem('MAA=')}junk`,
    pem('MAA=').slice(0, -3),
    pem('MAA=').replace('\n', ''),
  );
  bad.push(pem('MAA=').replaceAll('CERTIFICATE', 'PRIVATE KEY'), pem('A'.repeat(68)), pem(pem('MAA=')));
  for (const text of bad) assert.throws(() => parsePemCertificates(text, 'roots'), MalformedError, text);
});
