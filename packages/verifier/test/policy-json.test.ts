import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { MalformedError, toHex } from '@haca/primitives';
import { EVIDENCE_KINDS, type MeasurementRegister } from '@haca/protocol';
import {
  parseNitroEnvelope,
  parseNitroPayload,
  parsePemCertificates,
  parsePolicy,
  policyMembers,
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
  assert.deepEqual(parsePolicy('nitro', {}), NOT_GIVEN);
});

test('a policy file gives expected values, absence and waivers', () => {
  const policy = parsePolicy('nitro', {
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

test('bytes may be written as tools write them, and "any" waives by name or for the rest', () => {
  const shouted = parsePolicy('nitro', {
    measurements: [{ pcrs: { 0: PCR.toUpperCase(), 1: `0x${PCR}`, 2: PCR } }],
    nonce: '0x00FF',
    userData: 'any',
  });
  assert.ok(Array.isArray(shouted.measurements));
  assert.equal(shouted.measurements[0].name, 'measurement 1');
  assert.deepEqual(
    shouted.measurements[0].registers.map(({ value }: MeasurementRegister) => toHex(value)),
    [PCR, PCR, PCR],
  );
  assert.deepEqual(
    [shouted.nonce, shouted.userData, shouted.publicKey],
    [Uint8Array.of(0, 255), 'allow-any', 'not-given'],
  );
  const rest = parsePolicy('nitro', { others: 'any', nonce: '00' });
  assert.deepEqual(
    [rest.nonce, rest.measurements, rest.maxAgeMs],
    [Uint8Array.of(0), 'allow-any', 'allow-any'],
  );
  assert.equal(rest.allowDebug, false);
});

test('waiving the rest never widens which TCB statuses are accepted, nor allows debug', () => {
  for (const kind of ['tdx', 'sgx', 'dstack'] as const) {
    const { tcbStatuses, allowDebug, reportData } = parsePolicy(kind, { others: 'any' });
    assert.deepEqual([tcbStatuses, allowDebug, reportData], ['not-given', false, 'allow-any'], kind);
  }
  const azure = parsePolicy('azure', { others: 'any' });
  assert.deepEqual(
    [azure.tdx?.tcbStatuses, azure.tdx?.xfam, azure.snp?.allowDebug],
    ['not-given', 'allow-any', false],
  );
  assert.equal(
    parsePolicy('azure', { others: 'any', tdx: { tcbStatuses: 'any' } }).tdx?.tcbStatuses,
    'allow-any',
  );
});

test('a policy of every kind says nothing by default, and refuses what it does not know by naming what it does', () => {
  for (const kind of EVIDENCE_KINDS) {
    const policy = parsePolicy(kind, {});
    assert.deepEqual(Object.keys(policy), policyMembers(kind));
    assert.equal(policy.measurements, 'not-given', kind);
    for (const bad of [
      { measurement: [] },
      { Others: 'any' },
      { measurements: 7 },
      { measurements: [{ registers: { x: '00' } }] },
      7,
      [],
      null,
    ])
      assert.throws(
        () => parsePolicy(kind, bad),
        (error: Error) =>
          error instanceof MalformedError &&
          (JSON.stringify(bad) !== '{"measurement":[]}' || error.message.includes('measurements')),
        `${kind} ${JSON.stringify(bad)}`,
      );
  }
});

test('policies of hardware kinds', () => {
  const mr = 'cd'.repeat(48);
  const registers = { mrtd: mr, rtmr0: mr, rtmr1: mr, rtmr2: mr, rtmr3: mr };
  const tdx = parsePolicy('tdx', {
    measurements: [{ name: 'release', registers }],
    reportData: '00'.repeat(64),
    tcbStatuses: ['UpToDate', 'SWHardeningNeeded'],
    minTcbEvaluationDataNumber: 17,
    serviceTd: null,
    septVeDisable: true,
  });
  assert.deepEqual(tdx.tcbStatuses, ['UpToDate', 'SWHardeningNeeded']);
  assert.deepEqual([tdx.serviceTd, tdx.septVeDisable, tdx.minTcbEvaluationDataNumber], [null, true, 17]);
  const { rtmr3: _, ...short } = registers;
  assert.throws(() => parsePolicy('tdx', { measurements: [{ registers: short }] }), /no rtmr3/);
  assert.throws(() => parsePolicy('tdx', { tcbStatuses: ['Fine'] }), /UpToDate \| /);
  assert.throws(() => parsePolicy('tdx', { reportData: '00' }), /64 bytes/);
  const sgx = parsePolicy('sgx', {
    measurements: [
      {
        registers: { mrenclave: '01'.repeat(32), mrsigner: '02'.repeat(32), isvprodid: 258, isvsvn: '0300' },
      },
    ],
  });
  assert.ok(Array.isArray(sgx.measurements));
  assert.deepEqual(
    sgx.measurements[0].registers.map(({ value }: MeasurementRegister) => toHex(value).slice(0, 4)),
    ['0201', '0300', '0101', '0202'],
  );
  const snp = parsePolicy('snp', {
    tcbFloors: [{ product: 'milan', floor: { bootloader: 3, tee: 0, snp: 8, microcode: 115, fmc: null } }],
    mitigations: '0x3',
    vmpl: 0,
    platform: { required: ['ecc'], forbidden: [] },
  });
  assert.deepEqual(
    [snp.mitigations, snp.vmpl, snp.allowDebug, snp.allowMigrationAgent],
    [3n, 0, false, false],
  );
  assert.throws(() => parsePolicy('snp', { mitigations: '0x10000000000000000' }), MalformedError);
  const nvidia = parsePolicy('nvidia', {
    revocation: 'any',
    goldenMeasurements: [{ index: 9, values: ['ab'.repeat(48)] }],
  });
  assert.equal(nvidia.revocation, 'allow-any');
  assert.throws(() => parsePolicy('nvidia', { revocation: 'good' }), MalformedError);
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
  { measurements: 'none' },
  { measurements: [null] },
  { measurements: [{ name: 'x' }] },
  { measurements: [{ pcrs: {} }] },
  { measurements: [{ name: '', pcrs: {} }] },
  { measurements: [{ name: 'x', pcrs: {}, more: 1 }] },
  { measurements: [{ name: 'x', pcrs: { 32: PCR } }] },
  { measurements: [{ name: 'x', pcrs: { '00': PCR } }] },
  { measurements: [{ name: 'x', pcrs: { 0: PCR, 1: PCR } }] },
  { measurements: [{ name: 'x', pcrs: { 0: PCR.slice(1), 1: PCR, 2: PCR } }] },
  { measurements: [{ name: 'x', registers: { pcr0: PCR, PCR1: PCR, pcr2: PCR } }] },
  { measurements: [{ name: 'x', registers: { pcr0: PCR }, pcrs: { 0: PCR, 1: PCR, 2: PCR } }] },
  { measurements: [{ name: 'x', kind: 'sev', pcrs: { 0: PCR, 1: PCR, 2: PCR } }] },
  { maxAgeMs: -1 },
  { maxAgeMs: 0.5 },
  { maxAgeMs: '1' },
  { maxAgeMs: null },
  { nonce: '0' },
  { nonce: '0x0' },
  { others: 'not-given' },
  { nonce: 'zz' },
  { nonce: 0 },
  { userData: '00'.repeat(1025) },
];

test('a policy file of another form is refused, never read halfway', () => {
  for (const bad of BAD_POLICIES)
    assert.throws(() => parsePolicy('nitro', bad), MalformedError, JSON.stringify(bad));
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
