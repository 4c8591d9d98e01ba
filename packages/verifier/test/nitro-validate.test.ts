import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { UsageError } from '@haca/primitives';
import { pcrRegisters, verdictExitCode, verdictOf } from '@haca/protocol';
import { appraiseNitro, type NitroClaims, type NitroPolicy, validateNitro } from '../src/index.ts';
import { contextAt, OPEN_POLICY } from './nitro-vectors.ts';

const value = (byte: number): Uint8Array => new Uint8Array(48).fill(byte);
const NOW_MS = 1_000_000;

const MEASURED = new Map([0, 1, 2, 3, 16].map((index) => [index, value(index + 1)]));

const claims: NitroClaims = {
  kind: 'nitro',
  moduleId: 'i-1-enc1',
  timestampMs: NOW_MS,
  digest: 'SHA384',
  pcrs: MEASURED,
  registers: new Map([...MEASURED].map(([index, pcr]) => [`pcr${index}`, pcr])),
  collateralEndMs: null,
  cloud: 'aws',
  hardware: [],
  facts: new Uint8Array(0),
  publicKey: Uint8Array.of(1),
  userData: new Uint8Array(0),
  nonce: null,
  isDebug: false,
  certificateSha256: [],
  isSimulated: false,
  leafNotAfterMs: 0,
  evidenceEndMs: 0,
  claimsDigest: new Uint8Array(32),
};

function statuses(policy: Partial<NitroPolicy>, changes: Partial<NitroClaims> = {}, nowMs = NOW_MS) {
  const { checks } = validateNitro({ ...claims, ...changes }, nowMs, { ...OPEN_POLICY, ...policy });
  return Object.fromEntries(checks.map(({ id, status }) => [id.replace('nitro.', ''), status]));
}

const WHOLE = [0, 1, 2].map((index) => [index, value(index + 1)] as const);
const whole = { kind: 'nitro' as const, name: 'release', registers: pcrRegisters(WHOLE) };

test('NITRO-17 what the policy waives is not applicable, what it does not give is skipped and never ok', () => {
  const waived = validateNitro(claims, NOW_MS, OPEN_POLICY);
  assert.equal(verdictOf(waived.checks).ok, true);
  const fields = ['measurements', 'maxAgeMs', 'maxFutureSkewMs', 'userData', 'nonce', 'publicKey'] as const;
  for (const name of fields) {
    const { checks } = validateNitro(claims, NOW_MS, { ...OPEN_POLICY, [name]: 'not-given' });
    const verdict = verdictOf(checks);
    assert.equal(checks.filter(({ status }) => status === 'skipped').length, 1, name);
    assert.deepEqual([verdict.ok, verdictExitCode(verdict)], [false, 3], name);
  }
});

test('NITRO-21 a measurement matches as a whole or not at all', () => {
  const measured = (pcrs: readonly (readonly [number, Uint8Array])[]) =>
    statuses({ measurements: [{ kind: 'nitro', name: 'x', registers: pcrRegisters(pcrs) }] })['measurement'];
  assert.equal(measured(WHOLE), 'passed');
  assert.equal(measured([...WHOLE, [3, value(4)]]), 'passed');
  assert.equal(measured([...WHOLE, [16, value(17)]]), 'passed');
  assert.equal(measured([...WHOLE, [3, value(5)]]), 'failed');
  assert.equal(measured([...WHOLE, [8, value(9)]]), 'failed', 'PCR8 is absent');
  assert.equal(measured([...WHOLE, [8, value(0)]]), 'failed', 'absent is not zero');
  for (const index of [0, 1, 2]) {
    assert.equal(measured(WHOLE.filter(([each]) => each !== index)), 'failed', `without PCR${index}`);
    assert.equal(measured(WHOLE.map(([each, pcr]) => [each, each === index ? value(9) : pcr])), 'failed');
  }
  assert.equal(measured([]), 'failed');
  assert.equal(measured(WHOLE.map(([index, pcr]) => [index, pcr.subarray(0, 47)])), 'failed');
  assert.equal(statuses({ measurements: [] })['measurement'], 'failed');
});

test('NITRO-21 parts of two measurements make none', () => {
  const mixed = [0, 1, 2].map((wrong) => ({
    name: `${wrong}`,
    kind: 'nitro' as const,
    registers: pcrRegisters(WHOLE.map(([index, pcr]) => [index, index === wrong ? value(99) : pcr] as const)),
  }));
  assert.equal(statuses({ measurements: mixed })['measurement'], 'failed');
  const matched = validateNitro(claims, NOW_MS, { ...OPEN_POLICY, measurements: [...mixed, whole] });
  assert.equal(matched.measurement, 'release');
});

test('NITRO-19 the timestamp is bounded on both sides', () => {
  const bounds = { maxAgeMs: 10, maxFutureSkewMs: 5 };
  const at = (nowMs: number) => {
    const result = statuses(bounds, {}, nowMs);
    return [result['timestamp.age'], result['timestamp.future']];
  };
  assert.deepEqual(at(NOW_MS + 10), ['passed', 'passed']);
  assert.deepEqual(at(NOW_MS + 11), ['failed', 'passed']);
  assert.deepEqual(at(NOW_MS - 5), ['passed', 'passed']);
  assert.deepEqual(at(NOW_MS - 6), ['passed', 'failed']);
});

test('NITRO-22 fields equal the expected bytes, and absent is not empty', () => {
  const empty = new Uint8Array(0);
  assert.equal(statuses({ userData: empty })['user-data'], 'passed');
  assert.equal(statuses({ userData: null })['user-data'], 'failed');
  assert.equal(statuses({ userData: Uint8Array.of(0) })['user-data'], 'failed');
  assert.equal(statuses({ nonce: null })['nonce'], 'passed');
  assert.equal(statuses({ nonce: empty })['nonce'], 'failed');
  assert.equal(statuses({ publicKey: Uint8Array.of(1) })['public-key'], 'passed');
  assert.equal(statuses({ publicKey: Uint8Array.of(1, 0) })['public-key'], 'failed');
  assert.equal(statuses({ publicKey: Uint8Array.of(2) })['public-key'], 'failed');
});

test('NITRO-18 NITRO-20 digest and debug mode', () => {
  assert.equal(statuses({}, { digest: 'SHA512' })['digest'], 'failed');
  assert.equal(statuses({}, { isDebug: true })['debug'], 'failed');
  assert.equal(statuses({ allowDebug: true }, { isDebug: true })['debug'], 'not-applicable');
});

test('NITRO-2 every policy check runs even if one fails', () => {
  const { checks } = validateNitro({ ...claims, isDebug: true, digest: 'x' }, NOW_MS, {
    allowDebug: false,
    measurements: [],
    maxAgeMs: 0,
    maxFutureSkewMs: 0,
    userData: null,
    nonce: Uint8Array.of(1),
    publicKey: null,
  });
  assert.equal(checks.filter(({ status }) => status === 'failed').length, 6);
  assert.ok(checks.every(({ status, code }) => status !== 'failed' || (code ?? '') !== ''));
});

test('a context that makes no sense is a mistake of the caller', () => {
  const bytes = new Uint8Array(0);
  for (const nowMs of [Number.NaN, 0.5, Number.POSITIVE_INFINITY])
    assert.throws(() => appraiseNitro(bytes, contextAt(nowMs)), UsageError);
  const roots = [{ sha256: new Uint8Array(31), simulated: false }];
  assert.throws(() => appraiseNitro(bytes, { ...contextAt(0), roots, crypto: nodeCrypto }), UsageError);
  for (const maxAgeMs of [-1, Number.NaN, 0.5])
    assert.throws(() => validateNitro(claims, NOW_MS, { ...OPEN_POLICY, maxAgeMs }), UsageError);
});
