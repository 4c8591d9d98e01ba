/** Manifests and keys of the attestation service among files, as people hand them over. */
import assert from 'node:assert/strict';
import { createHash, sign } from 'node:crypto';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { MalformedError, toHex, utf8Encode } from '@haca/primitives';
import { verdictExitCode } from '@haca/protocol';
import {
  appraiseEvidenceFile,
  type CollateralFile,
  type EvidenceFileReport,
  evidenceFileView,
  nrasKeyThumbprint,
  parseNrasKeys,
  readCollateral,
  summaryRows,
} from '../src/index.ts';
import {
  bytesOf,
  failedOf,
  fileOf,
  judge as judgeGenuine,
  statusOf,
  textFile,
  vectorsMissing,
} from './evidence-file-vectors.ts';
import { GPU_REPORT, HOPPER, type Key, mintDevice, mintDocument, newKey, utcTime } from './nvidia-fixture.ts';
import {
  DRIVER_MANIFEST,
  type ManifestPlan,
  type ManifestSigner,
  mintManifest,
  mintManifestSigner,
  VBIOS_MANIFEST,
} from './nvidia-manifest-fixture.ts';

const AT_MS = Date.UTC(2026, 10, 20);
const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');
const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${(base64(der).match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;

const device = mintDevice(HOPPER);
const signer = mintManifestSigner();
const { report, certificates } = mintDocument(device, GPU_REPORT);
const chain = [...certificates].reverse().map(pem).join('');
const evidence = utf8Encode(JSON.stringify([{ evidence: base64(report), certificate: base64(chain) }]));
const ROOTS = utf8Encode(`${pem(certificates[0] as Uint8Array)}${pem(signer.rootDer)}`);
const ASKED = { manifests: 'required', goldenMeasurements: 'not-given', others: 'any' };

const driver = mintManifest(signer, DRIVER_MANIFEST);
const vbios = mintManifest(signer, VBIOS_MANIFEST);
const other = (change: Partial<ManifestPlan>): CollateralFile => ({
  name: 'other.swidtag',
  bytes: mintManifest(signer, { ...VBIOS_MANIFEST, ...change }),
});
const BOTH: readonly CollateralFile[] = [
  { name: 'a/driver.swidtag', bytes: driver },
  { name: 'b/vbios.xml', bytes: vbios },
];

function judge(
  collateral: readonly CollateralFile[],
  policy: unknown = ASKED,
  roots: Uint8Array = ROOTS,
): EvidenceFileReport {
  return appraiseEvidenceFile({
    crypto: nodeCrypto,
    kind: 'nvidia',
    evidence,
    atMs: AT_MS,
    collateral,
    policy,
    roots,
  });
}

test('NVIDIA-41 manifests are found among files by their content, whatever form they came in', () => {
  const answer = (rim: Uint8Array): string =>
    JSON.stringify({ id: 'NV_GPU_DRIVER_GH100_550.90.07', rim: base64(rim), sha256: '00', request_id: 'x' });
  for (const [collateral, used] of [
    [BOTH, ['a/driver.swidtag', 'b/vbios.xml']],
    [[...BOTH].reverse(), ['a/driver.swidtag', 'b/vbios.xml']],
    [
      [textFile('driver.json', answer(driver)), textFile('v', answer(vbios))],
      ['driver.json#rim', 'v#rim'],
    ],
    [[textFile('all', `[${answer(driver)},${answer(vbios)}]`)], ['all.0#rim', 'all.1#rim']],
    [
      [textFile('d.b64', base64(driver)), textFile('v.hex', toHex(vbios))],
      ['d.b64', 'v.hex'],
    ],
    [
      [...BOTH, other({ version: '96.00.9F.00.02' }), other({ product: 'GB100' })],
      ['a/driver.swidtag', 'b/vbios.xml'],
    ],
    [
      [other({ product: 'GB100' }), ...BOTH],
      ['a/driver.swidtag', 'b/vbios.xml'],
    ],
  ] as const) {
    const result = judge(collateral);
    assert.deepEqual(failedOf(result), []);
    assert.equal(verdictExitCode(result.verdict), 0);
    assert.deepEqual(result.collateral, { used, ignored: [] });
    assert.equal(result.simulated, true);
  }
  const { checks } = evidenceFileView(judge(BOTH));
  const shown = checks.find(({ id }) => id === 'nvidia.rim.vbios.version');
  assert.deepEqual(shown, {
    id: 'nvidia.rim.vbios.version',
    status: 'passed',
    expected: 'vbios 96.00.9F.00.01',
    got: 'vbios 96.00.9F.00.01',
  });
  const rows = summaryRows(judge(BOTH.slice(1)), String).map(({ label, text }) => `${label}: ${text}`);
  assert.ok(rows.some((row) => /no manifest for driver 550.90.07 of GH100/.test(row)));
});

test('NVIDIA-41 what was meant and does not fit fails, what is not there is missing', () => {
  const [first, second] = BOTH as [CollateralFile, CollateralFile];
  const meant = judge([first, other({ version: '96.00.9F.00.02' })]);
  assert.deepEqual(failedOf(meant), ['nvidia.rim.vbios.version']);
  const two = judge([first, other({ version: '96.00.9F.00.02' }), other({ version: '96.00.9F.00.03' })]);
  assert.deepEqual(failedOf(two), []);
  assert.equal(statusOf(two, 'nvidia.rim.vbios.authentic'), 'skipped');
  assert.equal(verdictExitCode(two.verdict), 3);
  const waived = judge([first, other({ version: '96.00.9F.00.02' })], { others: 'any' });
  assert.equal(verdictExitCode(waived.verdict), 0);
  assert.equal(statusOf(waived, 'nvidia.rim.vbios.authentic'), 'not-applicable');
  assert.equal(statusOf(waived, 'nvidia.rim.driver.authentic'), 'passed');
  const damaged = second.bytes.slice();
  damaged[0] = 0x20;
  const broken = judge([first, { name: 'v', bytes: damaged }]);
  assert.deepEqual(failedOf(broken), ['nvidia.rim.vbios.authentic']);
  assert.deepEqual(broken.collateral.used, ['a/driver.swidtag', 'v']);
  const unread = { name: 'w', bytes: Uint8Array.of(...damaged, 0x20) };
  assert.deepEqual(failedOf(judge([{ name: 'v', bytes: damaged }, unread])), [
    'nvidia.rim.driver.authentic',
    'nvidia.rim.vbios.authentic',
  ]);
  const beside = [other({ version: '96.00.9F.00.02' }), other({ version: '96.00.9F.00.03' }), unread];
  assert.deepEqual(failedOf(judge([first, ...beside])), ['nvidia.rim.vbios.authentic']);
  const nothing = judge([]);
  assert.equal(verdictExitCode(nothing.verdict), 3);
  assert.equal(verdictExitCode(judge([], { ...ASKED, others: 'any', manifests: 'any' }).verdict), 3);
  assert.equal(verdictExitCode(judge([], { others: 'any' }).verdict), 0);
});

test('NVIDIA-41 of several for one version the one counts that holds', () => {
  const [first] = BOTH as [CollateralFile, CollateralFile];
  const ended = mintManifestSigner({ 0: { validity: [utcTime('230101000000Z'), utcTime('250101000000Z')] } });
  const stranger = mintManifestSigner();
  const file = (name: string, by: ManifestSigner, change: Partial<ManifestPlan> = {}): CollateralFile => ({
    name,
    bytes: mintManifest(by, { ...VBIOS_MANIFEST, ...change }),
  });
  const roots = utf8Encode([certificates[0] as Uint8Array, signer.rootDer, ended.rootDer].map(pem).join(''));
  const own = file('own', signer);
  const others = [
    file('forged', stranger),
    file('ended', ended),
    file('other', signer, { product: 'GB100' }),
  ];
  for (const collateral of [
    [first, ...others, own],
    [own, ...others, first],
    [first, own, ...others, own],
  ]) {
    const result = judge(collateral, ASKED, roots);
    assert.deepEqual([failedOf(result), result.collateral.used], [[], ['a/driver.swidtag', 'own']]);
  }
  const late = judge([first, ...others], ASKED, roots);
  assert.deepEqual(failedOf(late), ['nvidia.rim.vbios.window']);
  const many = Array.from({ length: 20 }, (_, i) => file(`forged-${i}`, stranger, { tagId: `t${i}` }));
  assert.deepEqual(failedOf(judge([first, ...many, own])), ['nvidia.rim.vbios.authentic']);
});

test(
  'NVIDIA-41 roots that are given count for both, but each of NVIDIA for its own',
  { skip: vectorsMissing },
  () => {
    const deviceAlone = judge(BOTH, ASKED, utf8Encode(pem(certificates[0] as Uint8Array)));
    assert.deepEqual(failedOf(deviceAlone), ['nvidia.rim.driver.authentic', 'nvidia.rim.vbios.authentic']);
    const ofDevices = bytesOf('nvidia/nvidia-device-root.pem');
    const ofManifests = bytesOf('nvidia/nvidia-rim-root.pem');
    const both = utf8Encode(`${Buffer.from(ofDevices).toString()}${Buffer.from(ofManifests).toString()}`);
    const genuine = (roots: Uint8Array): EvidenceFileReport =>
      appraiseEvidenceFile({
        crypto: nodeCrypto,
        kind: 'nvidia',
        evidence: bytesOf('nvidia/hopper-550.report.hex.txt'),
        atMs: Date.UTC(2024, 0, 1),
        collateral: [
          fileOf('nvidia/hopper-550.chain.pem'),
          fileOf('nvidia/rim-vbios-1010_0200_882_96005E0001.swidtag'),
        ],
        policy: { ...ASKED },
        roots,
      });
    const named = genuine(both);
    assert.deepEqual([named.simulated, named.notes], [false, []]);
    assert.equal(statusOf(named, 'nvidia.rim.vbios.authentic'), 'passed');
    assert.deepEqual(failedOf(named), ['nvidia.rim.vbios.version']);
    assert.deepEqual(failedOf(genuine(ofDevices)), ['nvidia.rim.vbios.version']);
    assert.deepEqual(failedOf(genuine(ofManifests)), ['nvidia.chain.root']);
  },
);

test(
  'NVIDIA-41 the genuine manifest beside genuine evidence: of another VBIOS, and ended',
  { skip: vectorsMissing },
  () => {
    const collateral = [
      fileOf('nvidia/hopper-550.chain.pem'),
      fileOf('nvidia/rim-vbios-1010_0200_882_96005E0001.swidtag'),
    ];
    const at = (atMs: number, policy: unknown) =>
      judgeGenuine('nvidia', bytesOf('nvidia/hopper-550.report.hex.txt'), atMs, collateral, policy);
    assert.deepEqual(failedOf(at(AT_MS, ASKED)), ['nvidia.rim.vbios.version', 'nvidia.rim.vbios.window']);
    assert.deepEqual(failedOf(at(Date.UTC(2024, 0, 1), ASKED)), ['nvidia.rim.vbios.version']);
    assert.equal(verdictExitCode(at(AT_MS, { others: 'any' }).verdict), 0);
  },
);

test('NVIDIA-41 what only looks like a manifest is none', () => {
  for (const text of [
    '<SoftwareIdentity/>',
    'SoftwareIdentity colloquialVersion="1" http://www.w3.org/2001/04/xmlenc#sha384',
    '<a>colloquialVersion="1" SoftwareIdentity</a>',
    `{"rim":"${base64('<a/>')}"}`,
    '{"rim":7}',
  ])
    assert.equal(readCollateral([textFile('f', text)]).ignored.length, 1, text);
  const large = { name: 'f', bytes: utf8Encode(`${Buffer.from(vbios).toString()}${' '.repeat(600_000)}`) };
  assert.equal(readCollateral([large]).manifests.length, 0);
});

const KEY = newKey();
const base64url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64url');

function jwkOf({ point }: Pick<Key, 'point'>, kid = 'key-1'): Record<string, unknown> {
  return {
    kty: 'EC',
    crv: 'P-384',
    kid,
    x: base64url(point.subarray(1, 49)),
    y: base64url(point.subarray(49)),
  };
}

const jwks = (...keys: readonly unknown[]): CollateralFile => textFile('jwks.json', JSON.stringify({ keys }));

const NONCE = 'cd'.repeat(32);
const CLAIMS = {
  iss: 'https://nras.attestation.nvidia.com',
  eat_nonce: NONCE,
  iat: 1_750_000_000,
  nbf: 1_750_000_000,
  exp: 1_750_003_600,
};

function token(key: Key, kid = 'key-1'): Uint8Array {
  const jwt = (payload: unknown): string => {
    const signed = `${base64url(JSON.stringify({ kid, alg: 'ES384' }))}.${base64url(JSON.stringify(payload))}`;
    const signature = sign('sha384', utf8Encode(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${base64url(new Uint8Array(signature))}`;
  };
  const own = jwt({ ...CLAIMS, measres: 'success', dbgstat: 'disabled' });
  const digest = createHash('sha256').update(own).digest('hex');
  const submods = { 'GPU-0': ['DIGEST', ['SHA-256', digest]] };
  const overall = jwt({ ...CLAIMS, 'x-nvidia-overall-att-result': true, submods });
  return utf8Encode(JSON.stringify([['JWT', overall], { 'GPU-0': own }]));
}

const THUMBPRINT = toHex(nrasKeyThumbprint({ kid: '', publicKey: KEY.point }, nodeCrypto));

function judgeToken(collateral: readonly CollateralFile[], policy: object, key = KEY): EvidenceFileReport {
  return judgeGenuine('nvidia', token(key), 1_750_000_100_000, collateral, policy);
}

test('NVIDIA-40 keys of the service count where the policy trusts them by name', () => {
  const keys = jwks({ ...jwkOf(KEY), alg: 'ES384', use: 'sig', x5c: ['MIIB'] });
  const trusting = { nonce: NONCE, serviceKeys: [THUMBPRINT] };
  const accepted = judgeToken([keys], trusting);
  assert.deepEqual([failedOf(accepted), verdictExitCode(accepted.verdict)], [[], 0]);
  assert.deepEqual(accepted.collateral, { used: ['jwks.json'], ignored: [] });
  assert.equal(verdictExitCode(judgeToken([keys], { nonce: NONCE, serviceKeys: 'any' }).verdict), 0);
  for (const [collateral, policy] of [
    [[keys], { nonce: NONCE }],
    [[keys], { others: 'any' }],
    [[], trusting],
    [[textFile('jwks.json', '{"keys":[{"kty":"EC"}]}')], trusting],
  ] as const) {
    const open = judgeToken(collateral, policy);
    assert.equal(statusOf(open, 'nvidia.eat.signature'), 'skipped');
    assert.equal(verdictExitCode(open.verdict), 3);
  }
  const unknown = judgeToken([keys], { nonce: NONCE, serviceKeys: ['00'.repeat(32)] });
  assert.deepEqual(failedOf(unknown), ['nvidia.eat.signature']);
  const others = jwks(jwkOf(KEY, 'key-2'));
  assert.deepEqual(failedOf(judgeToken([others], trusting)), ['nvidia.eat.signature']);
  const stranger = newKey();
  assert.deepEqual(failedOf(judgeToken([keys], trusting, stranger)), ['nvidia.eat.signature']);
  // The same set twice is one; another key of the same name is not trusted, or makes the name mean nothing.
  assert.equal(verdictExitCode(judgeToken([keys, keys], trusting).verdict), 0);
  assert.equal(verdictExitCode(judgeToken([jwks(jwkOf(stranger)), keys], trusting).verdict), 0);
  const both = judgeToken([jwks(jwkOf(stranger)), keys], { nonce: NONCE, serviceKeys: 'any' });
  assert.deepEqual(failedOf(both), ['nvidia.eat.signature']);
});

test('NVIDIA-40 the name of a key is its thumbprint by RFC 7638', () => {
  const { crv, kty, x, y } = jwkOf(KEY);
  const expected = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('hex');
  assert.equal(THUMBPRINT, expected);
});

test('NVIDIA-40 a set of keys is read strictly', () => {
  const read = (...keys: readonly unknown[]) => parseNrasKeys(JSON.stringify({ keys }));
  const own = jwkOf(KEY);
  assert.deepEqual(read(own), [{ kid: 'key-1', publicKey: KEY.point }]);
  const rsa = { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'r' };
  const p256 = { ...own, crv: 'P-256', kid: 'p' };
  assert.deepEqual(read(rsa, own, p256), read(own), 'keys of other kinds are none');
  for (const keys of [
    [],
    [rsa],
    [own, own],
    [{ ...own, d: 'AAAA' }],
    [own, { ...rsa, d: 'AAAA' }],
    [{ ...own, alg: 'ES256' }],
    [{ ...own, use: 'enc' }],
    [{ ...own, kid: '' }],
    [{ ...own, kid: 7 }],
    [{ ...own, kid: 'k'.repeat(257) }],
    [{ ...own, x: base64url(KEY.point.subarray(1, 48)) }],
    [{ ...own, x: `${own['x'] as string}=` }],
    [{ ...own, x: `${own['x'] as string}AAAA` }],
    [{ ...own, y: undefined }],
    ['key'],
    Array.from({ length: 65 }, (_, i) => jwkOf(KEY, `${i}`)),
  ])
    assert.throws(() => read(...keys), MalformedError, JSON.stringify(keys).slice(0, 120));
  for (const text of [
    '',
    '[]',
    '{}',
    '{"keys":{}}',
    '{"keys":[],"keys":[]}',
    `{"keys":[]} `.repeat(2),
    ' '.repeat(300_000),
  ])
    assert.throws(() => parseNrasKeys(text), MalformedError, text.slice(0, 40));
  const twice = JSON.stringify({ keys: [own] }).replace('"kty"', '"kid":"other","kty"');
  assert.throws(() => parseNrasKeys(twice), MalformedError);
});
