/** Documents of the software test enclave against the production verifier: they meet here, as bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CertificateParts,
  caConstraints,
  certificateParts,
  createTestEnclave,
  createTestRoot,
  derBitString,
  derBoolean,
  derElement,
  derExplicit,
  derName,
  derOctetString,
  derOid,
  derSequence,
  derUnsigned,
  derUtf8,
  encodeNitroPayload,
  extension,
  KEY_USAGE_BIT,
  keyUsage,
  LEAF_LIFE_MS,
  leafConstraints,
  measureTestImage,
  type NitroDocumentFields,
  type P384Signer,
  p384SignerFromSeed,
  signCertificate,
  signNitroPayload,
} from '@haca/attester';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { type CryptoProvider, concatBytes, fromHex, toHex, utf8Encode } from '@haca/primitives';
import { pcrRegisters, type RegistrationBinding, registrationBindingHash } from '@haca/protocol';
import { singleBitFlips, truncationsAndExtensions } from '@haca/testkit';
import {
  AWS_NITRO_ROOT_G1,
  appraiseEvidence,
  appraiseNitro,
  genesisTrustRoots,
  type NitroContext,
  type NitroPolicy,
  NO_COLLATERAL,
  nitroRegistrationPolicy,
} from '@haca/verifier';

const NOW_MS = Date.UTC(2026, 10, 21, 9, 30, 0, 250);
const HOUR_MS = 3_600_000;
const root = createTestRoot(new Uint8Array(32).fill(1));
const enclaveSeed = new Uint8Array(32).fill(2);
const measurement = measureTestImage(utf8Encode('image of this test'));
const enclave = createTestEnclave({ root, measurement, nowMs: () => NOW_MS, seed: enclaveSeed });
const REQUEST = {
  userData: new Uint8Array(64).fill(3),
  publicKey: new Uint8Array(32).fill(4),
  nonce: new Uint8Array(32).fill(5),
};
const ASKED = {
  bindingHash: REQUEST.userData,
  signPublicKey: REQUEST.publicKey,
  refBlockHash: REQUEST.nonce,
};
const document = await enclave.attest(ASKED);

const policy: NitroPolicy = {
  allowDebug: false,
  measurements: [{ kind: 'nitro', name: 'this test', registers: pcrRegisters(measurement) }],
  maxAgeMs: 300_000,
  maxFutureSkewMs: 30_000,
  ...REQUEST,
};
const context: NitroContext = {
  crypto: nodeCrypto,
  nowMs: NOW_MS,
  roots: genesisTrustRoots('nitro', { simulated: true, testRoots: [root.sha256] }),
  revoked: [],
  policy,
};

function failures(bytes: Uint8Array, changes: Partial<NitroContext> = {}): readonly string[] {
  const { verdict } = appraiseNitro(bytes, { ...context, ...changes });
  const failed = verdict.checks
    .filter(({ status }) => status === 'failed')
    .map(({ id, code }) => `${id}:${code}`);
  assert.equal(verdict.ok, failed.length === 0 && verdict.checks.every(({ status }) => status !== 'skipped'));
  return failed;
}

for (const crypto of [nodeCrypto, portableCrypto]) {
  test(`NITRO-25 NITRO-1 ${crypto.name}: a test enclave passes the production verifier, marked as simulated`, () => {
    const { verdict, claims, measurement: matched } = appraiseNitro(document, { ...context, crypto });
    assert.deepEqual(
      verdict.checks.filter(({ status }) => status !== 'passed'),
      [],
    );
    assert.equal(verdict.ok, true);
    assert.equal(matched, 'this test');
    assert.equal(claims?.isSimulated, true);
    assert.equal(claims.evidenceEndMs, Math.floor((NOW_MS + LEAF_LIFE_MS) / 1000) * 1000);
    assert.equal(claims.evidenceEndMs, claims.leafNotAfterMs);
    assert.equal(claims.certificateSha256.length, 5);
    assert.deepEqual(claims.certificateSha256[0], root.sha256);
  });
}

test('NITRO-8 NITRO-25 only a simulated genesis makes a test root trusted', () => {
  const roots = genesisTrustRoots('nitro', { simulated: false, testRoots: [root.sha256] });
  assert.deepEqual(roots, [AWS_NITRO_ROOT_G1]);
  assert.deepEqual(failures(document, { roots }), ['nitro.chain.root:nitro.root-untrusted']);
  assert.deepEqual(failures(document, { roots: [] }), ['nitro.chain.root:nitro.root-untrusted']);
  const both = [{ sha256: root.sha256, simulated: false }, ...context.roots];
  assert.equal(appraiseNitro(document, { ...context, roots: both }).claims?.isSimulated, true);
});

test('NITRO-8 a root of the same name made from another seed is not trusted', async () => {
  const other = createTestRoot(new Uint8Array(32).fill(9));
  const forged = createTestEnclave({ root: other, measurement, nowMs: () => NOW_MS, seed: enclaveSeed });
  assert.deepEqual(failures(await forged.attest(ASKED)), ['nitro.chain.root:nitro.root-untrusted']);
});

test('NITRO-22 a registration is bound by user data, public key and nonce', async () => {
  const binding: RegistrationBinding = {
    chainId: 'haca-test',
    operator: new Uint8Array(32).fill(10),
    nodeId: new Uint8Array(32).fill(11),
    keyEpoch: 1,
    signPublicKey: new Uint8Array(32).fill(12),
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: new Uint8Array(32).fill(13),
    configHash: new Uint8Array(32).fill(14),
    gpuEvidenceRoot: null,
    refHeight: 7,
    refBlockHash: new Uint8Array(32).fill(15),
  };
  const bytes = await enclave.attest({
    bindingHash: registrationBindingHash(nodeCrypto, binding),
    signPublicKey: binding.signPublicKey,
    refBlockHash: binding.refBlockHash,
  });
  const judge = (changes: Partial<RegistrationBinding>) =>
    failures(bytes, {
      policy: { ...policy, ...nitroRegistrationPolicy(nodeCrypto, { ...binding, ...changes }) },
    });
  assert.deepEqual(judge({}), []);
  assert.deepEqual(judge({ operator: new Uint8Array(32) }), ['nitro.user-data:nitro.user-data']);
  assert.deepEqual(judge({ keyEpoch: 2 }), ['nitro.user-data:nitro.user-data']);
  assert.deepEqual(judge({ signPublicKey: new Uint8Array(32) }), [
    'nitro.user-data:nitro.user-data',
    'nitro.public-key:nitro.public-key',
  ]);
  assert.deepEqual(judge({ refBlockHash: new Uint8Array(32) }), [
    'nitro.user-data:nitro.user-data',
    'nitro.nonce:nitro.nonce',
  ]);
});

test('NITRO-20 a test enclave in debug mode is refused unless the policy allows it', async () => {
  const debug = createTestEnclave({ root, measurement, nowMs: () => NOW_MS, debug: true });
  const bytes = await debug.attest(ASKED);
  const open: NitroPolicy = { ...policy, measurements: 'allow-any' };
  assert.deepEqual(failures(bytes), ['nitro.debug:nitro.debug-mode', 'nitro.measurement:nitro.measurement']);
  assert.deepEqual(failures(bytes, { policy: open }), ['nitro.debug:nitro.debug-mode']);
  assert.deepEqual(failures(bytes, { policy: { ...open, allowDebug: true } }), []);
});

test('NITRO-21 another image is refused', async () => {
  const other = createTestEnclave({
    root,
    measurement: measureTestImage(Uint8Array.of(0)),
    nowMs: () => NOW_MS,
  });
  assert.deepEqual(failures(await other.attest(ASKED)), ['nitro.measurement:nitro.measurement']);
});

test('NITRO-19 NITRO-13 a document ages out, and its leaf after three hours', async () => {
  assert.deepEqual(failures(document, { nowMs: NOW_MS + 300_000 }), []);
  assert.deepEqual(failures(document, { nowMs: NOW_MS + 300_001 }), ['nitro.timestamp.age:nitro.too-old']);
  const lax: NitroPolicy = { ...policy, maxAgeMs: 'allow-any', maxFutureSkewMs: 1_000 };
  const end = Math.floor((NOW_MS + LEAF_LIFE_MS) / 1000) * 1000;
  assert.deepEqual(failures(document, { nowMs: end, policy: lax }), []);
  assert.deepEqual(failures(document, { nowMs: end + 1, policy: lax }), [
    'nitro.chain.window:certificate.expired',
  ]);
  assert.deepEqual(failures(document, { nowMs: NOW_MS - 1_000, policy: lax }), []);
  assert.deepEqual(failures(document, { nowMs: NOW_MS - 1_001, policy: lax }), [
    'nitro.timestamp.future:nitro.from-future',
  ]);
});

test('a long-lived enclave renews its leaf in time', async () => {
  let nowMs = NOW_MS;
  const living = createTestEnclave({ root, measurement, nowMs: () => nowMs });
  const ends = new Set<number | undefined>();
  for (let hour = 0; hour < 30; hour++) {
    const bytes = await living.attest(ASKED);
    const { verdict, claims } = appraiseNitro(bytes, { ...context, nowMs });
    assert.equal(verdict.ok, true, `hour ${hour}`);
    assert.ok((claims?.evidenceEndMs ?? 0) >= nowMs + 0.99 * HOUR_MS, `hour ${hour}`);
    ends.add(claims?.evidenceEndMs);
    nowMs += HOUR_MS;
  }
  assert.equal(ends.size, 10);
});

test('NITRO-26 evidence is dispatched by kind', () => {
  const nitro = { roots: context.roots, policy };
  const shared = {
    crypto: nodeCrypto,
    nowMs: NOW_MS,
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
  };
  assert.equal(appraiseEvidence('nitro', document, { ...shared, nitro }).verdict.ok, true);
  for (const kind of ['tpm', 'NITRO', '', 'constructor', '__proto__', 'toString']) {
    const { verdict, claims } = appraiseEvidence(kind, document, { ...shared, nitro });
    assert.deepEqual(
      [verdict.ok, verdict.checks[0]?.code, claims],
      [false, 'evidence.kind-unknown', null],
      kind,
    );
  }
  const closed = appraiseEvidence('nitro', document, shared);
  assert.deepEqual(
    [closed.verdict.ok, closed.verdict.checks[0]?.code],
    [false, 'evidence.kind-not-accepted'],
  );
});

// ---- Chains minted to be wrong -------------------------------------------------------------------------------------

interface Link {
  readonly parts: CertificateParts;
  readonly signer: P384Signer;
}

const MODULE_ID = 'i-0123456789abcdef0-enc0123456789abcdef';
const LEVELS = ['region', 'zone', 'instance', 'leaf'] as const;
type Level = (typeof LEVELS)[number];
const CA_USAGE = keyUsage(
  true,
  KEY_USAGE_BIT.digitalSignature,
  KEY_USAGE_BIT.keyCertSign,
  KEY_USAGE_BIT.crlSign,
);
const LEAF_USAGE = keyUsage(false, KEY_USAGE_BIT.digitalSignature, KEY_USAGE_BIT.nonRepudiation);

function link(level: Level): Link {
  const at = LEVELS.indexOf(level);
  const signer = p384SignerFromSeed(enclaveSeed, `minted ${level}`);
  const above = at === 0 ? root.subject : derName(`${LEVELS[at - 1]}.test`);
  const extensions = level === 'leaf' ? [leafConstraints(), LEAF_USAGE] : [caConstraints(2 - at), CA_USAGE];
  const parts = certificateParts({
    serial: Uint8Array.of(0x40 + at, 0xff),
    issuer: above,
    subject: derName(`${level}.test`),
    notBeforeMs: NOW_MS - HOUR_MS,
    notAfterMs: NOW_MS + HOUR_MS,
    keyInfo: signer.keyInfo,
    algorithm: signer.algorithm,
    extensions,
  });
  return { parts, signer };
}

type Change = (parts: CertificateParts) => Partial<CertificateParts>;

/** Certificates from root to leaf, each changed before it is signed by its proper issuer. */
function mintChain(changes: Partial<Record<Level, Change>> = {}): readonly Uint8Array[] {
  let issuer: P384Signer = root.signer;
  return [
    root.der,
    ...LEVELS.map((level) => {
      const { parts, signer } = link(level);
      const der = signCertificate({ ...parts, ...changes[level]?.(parts) }, issuer);
      issuer = signer;
      return der;
    }),
  ];
}

const leafSigner = link('leaf').signer;

function fieldsOver(chain: readonly Uint8Array[]): NitroDocumentFields {
  return {
    moduleId: MODULE_ID,
    digest: 'SHA384',
    timestampMs: NOW_MS,
    pcrs: measurement,
    certificate: chain[chain.length - 1] as Uint8Array,
    cabundle: chain.slice(0, -1),
    ...REQUEST,
  };
}

function documentOver(chain: readonly Uint8Array[], changes: Partial<NitroDocumentFields> = {}): Uint8Array {
  return signNitroPayload(encodeNitroPayload({ ...fieldsOver(chain), ...changes }), leafSigner);
}

const extra =
  (...extensions: readonly Uint8Array[]): Change =>
  (parts) => ({
    extensions: [...parts.extensions, ...extensions],
  });
const only =
  (...extensions: readonly Uint8Array[]): Change =>
  () => ({ extensions });
const UNKNOWN = '1.3.6.1.4.1.55555.1';
const P384_ORDER =
  'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973';
const P256_KEY = derSequence(
  derSequence(derOid('1.2.840.10045.2.1'), derOid('1.2.840.10045.3.1.7')),
  derBitString(Uint8Array.of(4, ...new Uint8Array(64).fill(1))),
);
const compressed = (signer: P384Signer): Uint8Array =>
  derSequence(
    derSequence(derOid('1.2.840.10045.2.1'), derOid('1.3.132.0.34')),
    derBitString(
      Uint8Array.of(2 + ((signer.publicKey[96] as number) & 1), ...signer.publicKey.subarray(1, 49)),
    ),
  );
const offCurve = derSequence(
  derSequence(derOid('1.2.840.10045.2.1'), derOid('1.3.132.0.34')),
  derBitString(Uint8Array.of(4, ...new Uint8Array(96).fill(7))),
);
const SHA256_ALGORITHM = derSequence(derOid('1.2.840.10045.4.3.2'));
const WITH_NULL = derSequence(derOid('1.2.840.10045.4.3.3'), derElement(0x05));
const utcTime = (text: string): Uint8Array => derElement(0x17, utf8Encode(text));
const generalizedTime = (text: string): Uint8Array => derElement(0x18, utf8Encode(text));

const BAD_CHAINS: readonly (readonly [
  what: string,
  requirement: string,
  changes: Partial<Record<Level, Change>>,
  failure: string,
])[] = [
  [
    'an expired zone CA',
    'NITRO-13',
    { zone: () => ({ notAfter: utcTime('261121092959Z') }) },
    'window:certificate.expired',
  ],
  [
    'a zone CA from tomorrow',
    'NITRO-13',
    { zone: () => ({ notBefore: utcTime('261122000000Z') }) },
    'window:certificate.not-yet-valid',
  ],
  [
    'an expired leaf',
    'NITRO-13',
    { leaf: () => ({ notAfter: utcTime('261121092959Z') }) },
    'window:certificate.expired',
  ],
  [
    'an issuer of another name',
    'NITRO-12',
    { zone: () => ({ issuer: derName('elsewhere') }) },
    'names:certificate.issuer',
  ],
  [
    'an issuer in another string type',
    'NITRO-12',
    {
      region: () => ({
        issuer: derSequence(
          derElement(
            0x31,
            derSequence(derOid('2.5.4.3'), derElement(0x13, utf8Encode('haca.test-enclaves'))),
          ),
        ),
      }),
    },
    'names:certificate.issuer',
  ],
  [
    'a self-issued intermediate',
    'NITRO-12',
    { region: (parts) => ({ subject: parts.issuer }) },
    'names:certificate.self-issued',
  ],
  [
    'a leaf that is a CA',
    'NITRO-11',
    { leaf: only(caConstraints(0), LEAF_USAGE) },
    'profile:certificate.leaf-is-ca',
  ],
  [
    'a leaf that may sign certificates',
    'NITRO-11',
    { leaf: only(leafConstraints(), CA_USAGE) },
    'profile:certificate.key-usage',
  ],
  ['a leaf without keyUsage', 'NITRO-11', { leaf: only(leafConstraints()) }, 'profile:certificate.key-usage'],
  [
    'a leaf that may not sign',
    'NITRO-11',
    { leaf: only(leafConstraints(), keyUsage(true, 1)) },
    'profile:certificate.key-usage',
  ],
  [
    'an intermediate that is no CA',
    'NITRO-11',
    { zone: only(leafConstraints(), CA_USAGE) },
    'profile:certificate.not-a-ca',
  ],
  [
    'an intermediate without basicConstraints',
    'NITRO-11',
    { zone: only(CA_USAGE) },
    'profile:certificate.not-a-ca',
  ],
  [
    'CA constraints that are not critical',
    'NITRO-11',
    { zone: only(extension('2.5.29.19', false, derSequence(derBoolean(true))), CA_USAGE) },
    'profile:certificate.not-a-ca',
  ],
  [
    'a path length one too short',
    'NITRO-11',
    { region: only(caConstraints(1), CA_USAGE) },
    'profile:certificate.path-length',
  ],
  [
    'a zone CA that allows no CA below',
    'NITRO-11',
    { zone: only(caConstraints(0), CA_USAGE) },
    'profile:certificate.path-length',
  ],
  [
    'a CA without keyUsage',
    'NITRO-11',
    { instance: only(caConstraints(0)) },
    'profile:certificate.key-usage',
  ],
  [
    'a CA that may not sign certificates',
    'NITRO-11',
    { instance: only(caConstraints(0), keyUsage(true, 0, 6)) },
    'profile:certificate.key-usage',
  ],
  [
    'an unknown critical extension',
    'NITRO-11',
    { zone: extra(extension(UNKNOWN, true, derSequence())) },
    'profile:certificate.critical-extension',
  ],
  [
    'critical name constraints',
    'NITRO-11',
    { region: extra(extension('2.5.29.30', true, derSequence())) },
    'profile:certificate.critical-extension',
  ],
  [
    'an unknown critical extension in the leaf',
    'NITRO-11',
    { leaf: extra(extension(UNKNOWN, true, derSequence())) },
    'profile:certificate.critical-extension',
  ],
  [
    'a P-256 key',
    'NITRO-11',
    { instance: () => ({ subjectPublicKeyInfo: P256_KEY }) },
    'profile:certificate.key-algorithm',
  ],
  [
    'a P-256 key in the leaf',
    'NITRO-11',
    { leaf: () => ({ subjectPublicKeyInfo: P256_KEY }) },
    'profile:certificate.key-algorithm',
  ],
  [
    'a compressed key',
    'NITRO-11',
    { leaf: () => ({ subjectPublicKeyInfo: compressed(leafSigner) }) },
    'profile:certificate.key',
  ],
  [
    'a key off the curve',
    'NITRO-15',
    { instance: () => ({ subjectPublicKeyInfo: offCurve }) },
    'signatures:certificate.signature',
  ],
  [
    'ecdsa-with-SHA256',
    'NITRO-11',
    { zone: () => ({ innerAlgorithm: SHA256_ALGORITHM, outerAlgorithm: SHA256_ALGORITHM }) },
    'profile:certificate.signature-algorithm',
  ],
  [
    'NULL parameters',
    'NITRO-11',
    { zone: () => ({ innerAlgorithm: WITH_NULL, outerAlgorithm: WITH_NULL }) },
    'profile:certificate.signature-algorithm',
  ],
  [
    'another algorithm outside',
    'NITRO-10',
    { zone: () => ({ outerAlgorithm: SHA256_ALGORITHM }) },
    'certificates:certificate.algorithm-mismatch',
  ],
  [
    'another algorithm inside',
    'NITRO-10',
    { zone: () => ({ innerAlgorithm: SHA256_ALGORITHM }) },
    'certificates:certificate.algorithm-mismatch',
  ],
  [
    'a repeated extension',
    'NITRO-10',
    { zone: (parts) => ({ extensions: [...parts.extensions, parts.extensions[0] as Uint8Array] }) },
    'certificates:certificate.duplicate-extension',
  ],
  [
    'a repeated unknown extension',
    'NITRO-10',
    { zone: extra(extension(UNKNOWN, false, derSequence()), extension(UNKNOWN, false, derSequence())) },
    'certificates:certificate.duplicate-extension',
  ],
  ['no extensions', 'NITRO-10', { leaf: only() }, 'certificates:certificate.extensions'],
  [
    'version 2',
    'NITRO-10',
    { zone: () => ({ version: derExplicit(0, derUnsigned(Uint8Array.of(1))) }) },
    'certificates:certificate.version',
  ],
  ['no version', 'NITRO-10', { zone: () => ({ version: new Uint8Array(0) }) }, 'certificates:der.tag'],
  [
    'a serial of zero',
    'NITRO-10',
    { zone: () => ({ serial: derUnsigned(Uint8Array.of(0)) }) },
    'certificates:certificate.serial',
  ],
  [
    'a negative serial',
    'NITRO-10',
    { zone: () => ({ serial: derElement(2, Uint8Array.of(0x80)) }) },
    'certificates:der.integer',
  ],
  [
    'a padded serial',
    'NITRO-9',
    { zone: () => ({ serial: derElement(2, Uint8Array.of(0, 1)) }) },
    'certificates:der.integer',
  ],
  [
    'a serial of 21 bytes',
    'NITRO-10',
    { zone: () => ({ serial: derUnsigned(new Uint8Array(21).fill(1)) }) },
    'certificates:der.integer',
  ],
  [
    'an empty subject',
    'NITRO-10',
    { leaf: () => ({ subject: derSequence() }) },
    'certificates:certificate.name',
  ],
  [
    'a name that is no set',
    'NITRO-10',
    { leaf: () => ({ subject: derSequence(derUtf8('leaf')) }) },
    'certificates:der.tag',
  ],
  [
    'February 30',
    'NITRO-10',
    { leaf: () => ({ notAfter: utcTime('270230000000Z') }) },
    'certificates:der.time',
  ],
  [
    'a time with an offset',
    'NITRO-10',
    { leaf: () => ({ notAfter: utcTime('2701010000+0000') }) },
    'certificates:der.time',
  ],
  [
    'a time without seconds',
    'NITRO-10',
    { leaf: () => ({ notAfter: utcTime('2701010000Z') }) },
    'certificates:der.time',
  ],
  [
    'GeneralizedTime before 2050',
    'NITRO-10',
    { leaf: () => ({ notAfter: generalizedTime('20270101000000Z') }) },
    'certificates:der.time',
  ],
  [
    'a unique identifier',
    'NITRO-10',
    {
      leaf: (parts) => ({
        subjectPublicKeyInfo: concatBytes(parts.subjectPublicKeyInfo, derElement(0x81, Uint8Array.of(0, 1))),
      }),
    },
    'certificates:der.tag',
  ],
  [
    'critical FALSE written out',
    'NITRO-9',
    { leaf: extra(derSequence(derOid(UNKNOWN), derBoolean(false), derOctetString(derSequence()))) },
    'certificates:der.default',
  ],
  [
    'CA FALSE written out',
    'NITRO-9',
    { leaf: only(extension('2.5.29.19', true, derSequence(derBoolean(false))), LEAF_USAGE) },
    'certificates:der.default',
  ],
  [
    'a boolean of 01',
    'NITRO-9',
    { zone: only(extension('2.5.29.19', true, derSequence(derElement(1, Uint8Array.of(1)))), CA_USAGE) },
    'certificates:der.boolean',
  ],
  [
    'keyUsage with trailing zero bits',
    'NITRO-9',
    { leaf: only(leafConstraints(), extension('2.5.29.15', false, derBitString(Uint8Array.of(0x80), 4))) },
    'certificates:certificate.key-usage',
  ],
  [
    'keyUsage with unused bits set',
    'NITRO-9',
    { leaf: only(leafConstraints(), extension('2.5.29.15', false, derBitString(Uint8Array.of(0x81), 7))) },
    'certificates:der.bit-string',
  ],
  [
    'keyUsage with bytes behind',
    'NITRO-9',
    {
      leaf: only(
        leafConstraints(),
        extension('2.5.29.15', false, concatBytes(derBitString(Uint8Array.of(0x80), 7), Uint8Array.of(0))),
      ),
    },
    'certificates:der.trailing-bytes',
  ],
  [
    'a path length without CA',
    'NITRO-10',
    { leaf: only(extension('2.5.29.19', true, derSequence(derUnsigned(Uint8Array.of(0)))), LEAF_USAGE) },
    'certificates:certificate.path-length',
  ],
  [
    'a key that is not whole bytes',
    'NITRO-10',
    {
      leaf: () => ({
        subjectPublicKeyInfo: derSequence(
          derSequence(derOid('1.2.840.10045.2.1'), derOid('1.3.132.0.34')),
          derBitString(Uint8Array.of(4, ...new Uint8Array(96)), 1),
        ),
      }),
    },
    'certificates:der.bit-string',
  ],
  [
    'an indefinite length',
    'NITRO-9',
    { leaf: () => ({ subject: fromHex('30803103020101') }) },
    'certificates:der.length',
  ],
  [
    'a length not in its shortest form',
    'NITRO-9',
    {
      leaf: () => ({
        subject: concatBytes(
          fromHex('308113'),
          fromHex('311130'),
          fromHex('0f0603550403'),
          derUtf8('minimal'),
        ),
      }),
    },
    'certificates:der.length',
  ],
];

test('a chain minted without changes is accepted', () => {
  assert.deepEqual(failures(documentOver(mintChain())), []);
  assert.deepEqual(
    failures(documentOver(mintChain({ zone: extra(extension(UNKNOWN, false, derSequence())) }))),
    [],
  );
});

for (const [what, requirement, changes, failure] of BAD_CHAINS) {
  test(`${requirement} refused: ${what}`, () => {
    const bytes = documentOver(mintChain(changes));
    for (const crypto of [nodeCrypto, portableCrypto])
      assert.deepEqual(failures(bytes, { crypto }), [`nitro.chain.${failure}`], crypto.name);
  });
}

test('NITRO-12 refused: certificates in another order, left out, repeated or foreign', () => {
  const [first, region, zone, instance, leaf] = mintChain() as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const other = createTestRoot(new Uint8Array(32).fill(8)).der;
  const judge = (...chain: readonly Uint8Array[]) => failures(documentOver(chain));
  const wrongIssuer = ['nitro.chain.names:certificate.issuer'];
  const tooDeep = ['nitro.chain.profile:certificate.path-length'];
  assert.deepEqual(judge(first, zone, region, instance, leaf), tooDeep);
  assert.deepEqual(judge(first, region, instance, zone, leaf), tooDeep);
  assert.deepEqual(judge(region, first, zone, instance, leaf), ['nitro.chain.root:nitro.root-untrusted']);
  assert.deepEqual(judge(first, zone, instance, leaf), wrongIssuer);
  assert.deepEqual(judge(first, region, zone, leaf), wrongIssuer);
  assert.deepEqual(judge(first, leaf), wrongIssuer);
  assert.deepEqual(judge(first, region, region, zone, instance, leaf), tooDeep);
  assert.deepEqual(judge(first, first, region, zone, instance, leaf), [
    'nitro.chain.names:certificate.self-issued',
  ]);
  assert.deepEqual(judge(first, other, region, zone, instance, leaf), [
    'nitro.chain.names:certificate.self-issued',
  ]);
  assert.deepEqual(judge(first, region, zone, instance, leaf, leaf), tooDeep);
  assert.deepEqual(judge(first, region, zone, leaf, leaf), ['nitro.chain.profile:certificate.not-a-ca']);
  assert.deepEqual(judge(leaf), ['nitro.payload:cbor.length']);
  assert.deepEqual(
    judge(first, region, zone, instance, instance, instance, instance, instance, instance, leaf),
    ['nitro.payload:cbor.length'],
  );
});

test('NITRO-15 refused: a certificate signed by a key that is not its issuer', () => {
  const [first, ...below] = mintChain() as [Uint8Array, ...Uint8Array[]];
  for (const [at, level] of LEVELS.entries()) {
    const impostor = signCertificate(link(level).parts, p384SignerFromSeed(enclaveSeed, 'impostor'));
    const chain = [first, ...below.slice(0, at), impostor, ...below.slice(at + 1)];
    assert.deepEqual(failures(documentOver(chain)), ['nitro.chain.signatures:certificate.signature'], level);
  }
});

test('NITRO-15 refused: certificate signatures in another DER form', () => {
  const [first, region, ...below] = mintChain() as [Uint8Array, Uint8Array, ...Uint8Array[]];
  const { parts } = link('region');
  const tbs = derSequence(
    parts.version,
    parts.serial,
    parts.innerAlgorithm,
    parts.issuer,
    derSequence(parts.notBefore, parts.notAfter),
    parts.subject,
    parts.subjectPublicKeyInfo,
    derExplicit(3, derSequence(...parts.extensions)),
  );
  const signed = root.signer.sign(tbs);
  const [r, s] = [signed.subarray(0, 48), signed.subarray(48)];
  const judge = (signature: Uint8Array, crypto: CryptoProvider = nodeCrypto) =>
    failures(
      documentOver([first, derSequence(tbs, parts.outerAlgorithm, derBitString(signature)), ...below]),
      { crypto },
    );
  assert.deepEqual(judge(derSequence(derUnsigned(r), derUnsigned(s))), [], toHex(region));
  const padded = derElement(2, Uint8Array.of(0, 0), r);
  const faults: readonly (readonly [Uint8Array, string])[] = [
    [derSequence(padded, derUnsigned(s)), 'der.integer'],
    [derSequence(derUnsigned(r), derUnsigned(s), derUnsigned(s)), 'der.trailing-bytes'],
    [derSequence(derUnsigned(r)), 'der.tag'],
    [concatBytes(derSequence(derUnsigned(r), derUnsigned(s)), Uint8Array.of(0)), 'der.trailing-bytes'],
    [derSequence(derUnsigned(new Uint8Array(49).fill(1)), derUnsigned(s)), 'der.integer'],
    [derSequence(derElement(2), derUnsigned(s)), 'der.integer'],
    [derSequence(derUnsigned(Uint8Array.of(0)), derUnsigned(s)), 'certificate.signature'],
    [signed, 'der.tag'],
  ];
  for (const [signature, code] of faults)
    assert.deepEqual(judge(signature), [`nitro.chain.signatures:${code}`], toHex(signature));
  const [zero, order] = [derUnsigned(Uint8Array.of(0)), derUnsigned(fromHex(P384_ORDER))];
  const outOfRange = [
    derSequence(zero, zero),
    derSequence(order, derUnsigned(s)),
    derSequence(derUnsigned(r), order),
  ];
  for (const pair of outOfRange)
    for (const crypto of [nodeCrypto, portableCrypto])
      assert.deepEqual(judge(pair, crypto), ['nitro.chain.signatures:certificate.signature'], toHex(pair));
});

test('NITRO-16 refused: a document signed by another key, or over other bytes', () => {
  const chain = mintChain();
  const payload = encodeNitroPayload(fieldsOver(chain));
  const failure = ['nitro.signature:nitro.signature'];
  assert.deepEqual(failures(signNitroPayload(payload, link('instance').signer)), failure);
  const signature = documentOver(chain, { timestampMs: NOW_MS + 1 }).subarray(-96);
  assert.deepEqual(failures(concatBytes(documentOver(chain).subarray(0, -96), signature)), failure);
  for (const r of ['00', 'ff']) {
    const bytes = concatBytes(documentOver(chain).subarray(0, -96), fromHex(r.repeat(96)));
    for (const crypto of [nodeCrypto, portableCrypto]) assert.deepEqual(failures(bytes, { crypto }), failure);
  }
});

test('NITRO-14 NITRO-15 a revoked CA is not saved by the twin of its signature', () => {
  const [first, ...below] = mintChain() as [Uint8Array, ...Uint8Array[]];
  const { parts } = link('region');
  const revoked = [{ issuer: parts.issuer, serial: Uint8Array.of(0x40, 0xff) }];
  assert.deepEqual(failures(documentOver([first, ...below]), { revoked }), [
    'nitro.chain.revocation:certificate.revoked',
  ]);
  const resigned = signCertificate({ ...parts, notAfter: utcTime('261121235959Z') }, root.signer);
  assert.deepEqual(failures(documentOver([first, resigned, ...below.slice(1)]), { revoked }), [
    'nitro.chain.revocation:certificate.revoked',
  ]);
});

test('NITRO-18 refused: another digest', () => {
  for (const digest of ['SHA256', 'SHA512', 'sha384'])
    assert.deepEqual(failures(documentOver(mintChain(), { digest })), ['nitro.digest:nitro.digest']);
});

test('NITRO-20 NITRO-21 refused: PCR0, PCR1 or PCR2 missing or zero', () => {
  for (const index of [0, 1, 2]) {
    const failure = ['nitro.debug:nitro.debug-mode', 'nitro.measurement:nitro.measurement'];
    const missing = measurement.filter(([each]) => each !== index);
    const zero = measurement.map(
      ([each, value]) => [each, each === index ? new Uint8Array(48) : value] as const,
    );
    assert.deepEqual(failures(documentOver(mintChain(), { pcrs: missing })), failure);
    assert.deepEqual(failures(documentOver(mintChain(), { pcrs: zero })), failure);
  }
});

// ---- Every bit -----------------------------------------------------------------------------------------------------

test('NITRO-1 NITRO-16 no single bit of a test-enclave document can change', () => {
  const crypto = rememberSignatures(nodeCrypto, 1024);
  const accepted: number[] = [];
  for (const { bytes, bit } of singleBitFlips(document)) {
    const { verdict } = appraiseNitro(bytes, { ...context, crypto });
    const isRefused = verdict.checks.some(({ status, code }) => status === 'failed' && code !== undefined);
    if (verdict.ok || !isRefused) accepted.push(bit);
  }
  assert.deepEqual(accepted, []);
});

test('NITRO-4 every truncation and extension of a test-enclave document is refused', () => {
  for (const bytes of truncationsAndExtensions(document)) assert.notDeepEqual(failures(bytes), []);
});
