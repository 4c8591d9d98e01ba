import assert from 'node:assert/strict';
import { createHash, sign } from 'node:crypto';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { fromHex, toHex, UsageError, utf8Encode } from '@haca/primitives';
import fc from 'fast-check';
import { appraiseNrasToken, NRAS_CHECKS, type NrasContext } from '../src/index.ts';
import { type Key, newKey } from './nvidia-fixture.ts';
import { failures, readManifest, readVectorFile, statusOf, vectorsMissing } from './nvidia-vectors.ts';

const ISSUER = 'https://nras.attestation.nvidia.com';
const NONCE = 'cd'.repeat(32);
const KEY = newKey();
const NOW_MS = 1_750_000_100_000;
const KEYS = [{ kid: 'key-1', publicKey: KEY.point }] as const;

const base64url = (text: string | Uint8Array): string => Buffer.from(text).toString('base64url');

interface Plan {
  readonly header: unknown;
  readonly overall: Readonly<Record<string, unknown>>;
  readonly device: Readonly<Record<string, unknown>>;
  readonly key: Key;
}

const CLAIMS = { iss: ISSUER, eat_nonce: NONCE, iat: 1_750_000_000, nbf: 1_750_000_000, exp: 1_750_003_600 };
const PLAN: Plan = {
  header: { kid: 'key-1', alg: 'ES384' },
  overall: { ...CLAIMS, 'x-nvidia-overall-att-result': true },
  device: { ...CLAIMS, measres: 'success', dbgstat: 'disabled' },
  key: KEY,
};

function tokenOf({ header, key }: Plan, payload: unknown): string {
  const signed = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(payload))}`;
  const signature = sign('sha384', utf8Encode(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function detached(change: Partial<Plan> = {}): [[unknown, string], Record<string, string>] {
  const plan = { ...PLAN, ...change };
  const device = tokenOf(plan, plan.device);
  const submods = { 'GPU-0': ['DIGEST', ['SHA-256', sha256Hex(device)]] };
  return [['JWT', tokenOf(plan, { submods, ...plan.overall })], { 'GPU-0': device }];
}

const CONTEXT: NrasContext = { crypto: nodeCrypto, nowMs: NOW_MS, nonce: fromHex(NONCE), keys: KEYS };

function judge(value: unknown, context: Partial<NrasContext> = {}): ReturnType<typeof appraiseNrasToken> {
  return appraiseNrasToken(utf8Encode(JSON.stringify(value)), { ...CONTEXT, ...context });
}

test(
  'NVIDIA-28 the recorded token: parsed, bound, without keys unsigned, expired',
  { skip: vectorsMissing },
  () => {
    const { expect, files } = readManifest().vectors.find(
      ({ id }) => id === 'nras-eat-hopper-2025-06',
    ) as never as {
      expect: { nbf: number; exp: number; eat_nonce: string };
      files: readonly { file: string }[];
    };
    const bytes = readVectorFile(files[0]?.file as string);
    const at = (nowMs: number) =>
      appraiseNrasToken(bytes, { ...CONTEXT, nowMs, nonce: fromHex(expect.eat_nonce), keys: 'none' });
    const recorded = at(Date.parse('2026-11-20T00:00:00Z'));
    assert.deepEqual(failures(recorded), ['nvidia.eat.window:nvidia.eat.expired']);
    assert.equal(statusOf(recorded, 'nvidia.eat.signature'), 'skipped');
    assert.equal(statusOf(recorded, 'nvidia.eat.digests'), 'passed');
    assert.equal(statusOf(recorded, 'nvidia.eat.result'), 'passed');
    assert.equal(recorded.claims, null);
    for (const seconds of [expect.nbf, expect.exp - 1]) {
      const within = at(seconds * 1000);
      assert.deepEqual(failures(within), []);
      assert.equal(within.verdict.ok, false, 'unsigned');
    }
    assert.deepEqual(failures(at(expect.exp * 1000)), ['nvidia.eat.window:nvidia.eat.expired']);
    assert.deepEqual(failures(at(expect.nbf * 1000 - 1)), ['nvidia.eat.window:nvidia.eat.not-yet-valid']);
  },
);

test('NVIDIA-28 NVIDIA-29 a token whose keys are known', () => {
  const result = judge(detached());
  assert.equal(result.verdict.ok, true);
  assert.deepEqual(
    result.verdict.checks.map(({ id }) => id),
    [...NRAS_CHECKS],
  );
  assert.deepEqual(result.claims, {
    nonce: fromHex(NONCE),
    notBeforeMs: 1_750_000_000_000,
    expiresMs: 1_750_003_600_000,
    isOverallGood: true,
    devices: [{ name: 'GPU-0', isMeasuredAsExpected: true, isDebugDisabled: true }],
  });
  assert.deepEqual(judge(detached(), { crypto: portableCrypto }), result);
  assert.equal(judge(detached(), { keys: 'none' }).verdict.ok, false);
  assert.deepEqual(failures(judge(detached(), { keys: [] })), [
    'nvidia.eat.signature:nvidia.eat.key-unknown',
  ]);
  assert.deepEqual(failures(judge(detached(), { keys: [...KEYS, ...KEYS] })), [
    'nvidia.eat.signature:nvidia.eat.key-unknown',
  ]);
  const forged = judge(detached({ key: newKey() }));
  assert.deepEqual(failures(forged), ['nvidia.eat.signature:nvidia.eat.signature']);
  assert.equal(forged.claims, null);
  const publicKey = new Uint8Array(96);
  assert.throws(() => judge(detached(), { keys: [{ kid: 'key-1', publicKey }] }), UsageError);
  assert.throws(() => judge(detached(), { nowMs: 0.5 }), UsageError);
});

test('NVIDIA-29 each thing a token can say wrong', () => {
  const overall = (change: object) => failures(judge(detached({ overall: { ...PLAN.overall, ...change } })));
  const device = (change: object) => failures(judge(detached({ device: { ...PLAN.device, ...change } })));
  for (const change of [overall, device]) {
    assert.deepEqual(change({ iss: `${ISSUER}.example.com` }), ['nvidia.eat.issuer:nvidia.eat.issuer']);
    assert.deepEqual(change({ exp: NOW_MS / 1000 }), ['nvidia.eat.window:nvidia.eat.expired']);
    assert.deepEqual(change({ nbf: NOW_MS / 1000 + 1 }), ['nvidia.eat.window:nvidia.eat.not-yet-valid']);
    assert.deepEqual(change({ iat: NOW_MS / 1000 + 1 }), ['nvidia.eat.window:nvidia.eat.not-yet-valid']);
    assert.deepEqual(change({ eat_nonce: 'ee'.repeat(32) }), ['nvidia.eat.nonce:nvidia.eat.nonces-differ']);
  }
  const bad = ['nvidia.eat.result:nvidia.eat.result'];
  assert.deepEqual(overall({ 'x-nvidia-overall-att-result': false }), bad);
  for (const change of [
    { measres: 'fail' },
    { measres: null },
    { dbgstat: 'enabled' },
    { dbgstat: undefined },
  ])
    assert.deepEqual(device(change), bad);
  assert.deepEqual(failures(judge(detached(), { nonce: new Uint8Array(32) })), [
    'nvidia.eat.nonce:nvidia.eat.nonce',
  ]);
  assert.equal(statusOf(judge(detached(), { nonce: 'not-given' }), 'nvidia.eat.nonce'), 'skipped');
});

test('NVIDIA-28 device tokens are those that the overall token names', () => {
  const [overall, devices] = detached();
  const other = tokenOf(PLAN, { ...PLAN.device, jti: 'another' });
  const digests = ['nvidia.eat.digests:nvidia.eat.digests'];
  assert.deepEqual(failures(judge([overall, { 'GPU-0': other }])), digests);
  assert.deepEqual(failures(judge([overall, { 'GPU-1': devices['GPU-0'] }])), digests);
  assert.deepEqual(failures(judge([overall, { ...devices, 'GPU-1': other }])), digests);
  assert.deepEqual(failures(judge([overall, { ...devices, __proto__x: other }])), digests);
  const submods = {
    'GPU-0': ['DIGEST', ['SHA-256', sha256Hex(devices['GPU-0'] as string)]],
    'GPU-1': ['DIGEST', ['SHA-256', toHex(new Uint8Array(32))]],
  };
  assert.deepEqual(failures(judge([['JWT', tokenOf(PLAN, { ...PLAN.overall, submods })], devices])), digests);
});

test('NVIDIA-28 the form of a token has one spelling', () => {
  const form = ['nvidia.eat.form:nvidia.eat.form'];
  const [[, token], devices] = detached();
  const header = (value: unknown) => failures(judge(detached({ header: value })));
  for (const value of [
    { kid: 'key-1', alg: 'none' },
    { kid: 'key-1', alg: 'ES256' },
    { kid: 'key-1' },
    { alg: 'ES384' },
    { kid: '', alg: 'ES384' },
    { kid: 'k'.repeat(257), alg: 'ES384' },
    { kid: 'key-1', alg: 'ES384', crit: ['b64'] },
    { kid: 'key-1', alg: 'ES384', jwk: {} },
    ['ES384'],
    null,
  ])
    assert.deepEqual(header(value), form, JSON.stringify(value));
  assert.deepEqual(header({ kid: 'key-1', alg: 'ES384', typ: 'JWT' }), []);
  const overall = (change: object) => failures(judge(detached({ overall: { ...PLAN.overall, ...change } })));
  for (const change of [
    { iss: 1 },
    { iss: undefined },
    { eat_nonce: 'ab' },
    { eat_nonce: undefined },
    { exp: '1750003600' },
    { exp: 1e12 },
    { nbf: -1 },
    { iat: 1.5 },
    { iat: undefined },
    { 'x-nvidia-overall-att-result': 'true' },
    { 'x-nvidia-overall-att-result': undefined },
    { submods: [] },
    { submods: { 'GPU-0': ['DIGEST', ['SHA-1', 'ab']] } },
    { submods: { 'GPU-0': ['CLAIMS', ['SHA-256', 'ab']] } },
  ])
    assert.deepEqual(overall(change), form, JSON.stringify(change));
  for (const value of [
    {},
    [],
    [['JWT', token]],
    [['jwt', token], devices],
    [['JWT', token, 1], devices],
    [['JWT', token], {}],
    [['JWT', token], []],
    [['JWT', 1], devices],
    [['JWT', `${token}=`], devices],
    [['JWT', `${token}.`], devices],
    [['JWT', token.replace('.', '..')], devices],
    [['JWT', `${token} `], devices],
    [['JWT', token.slice(0, -1)], devices],
    [['JWT', `${token}AAAA`], devices],
    [['JWT', token], devices, 1],
  ])
    assert.deepEqual(failures(judge(value)), form, JSON.stringify(value).slice(0, 80));
  const twice = `[["JWT",${JSON.stringify(token)}],{"GPU-0":${JSON.stringify(devices['GPU-0'])},"GPU-0":"x"}]`;
  assert.deepEqual(failures(appraiseNrasToken(utf8Encode(twice), CONTEXT)), form);
  assert.deepEqual(failures(appraiseNrasToken(new Uint8Array(262_145), CONTEXT)), form);
  assert.deepEqual(failures(appraiseNrasToken(Uint8Array.of(0xff), CONTEXT)), [
    'nvidia.eat.form:utf8.invalid',
  ]);
});

test('NVIDIA-29 no character of a signed token can change, and no bytes do harm', () => {
  const bytes = utf8Encode(JSON.stringify(detached()));
  for (let at = 0; at < bytes.length; at += 3) {
    const changed = bytes.slice();
    changed[at] = (changed[at] as number) ^ 1;
    assert.equal(appraiseNrasToken(changed, CONTEXT).verdict.ok, false, `byte ${at}`);
  }
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => utf8Encode(text.toWellFormed())),
      ),
      (given) => {
        const { verdict } = appraiseNrasToken(given, CONTEXT);
        assert.equal(verdict.ok, false);
        assert.equal(verdict.checks.length, NRAS_CHECKS.length);
      },
    ),
    { numRuns: 200 },
  );
});
