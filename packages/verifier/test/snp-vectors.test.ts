import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { bytesEqual, concatBytes, encode, fromHex, toHex } from '@haca/primitives';
import { snpDocumentCodec } from '@haca/protocol';
import { truncationsAndExtensions } from '@haca/testkit';
import {
  AMD_ARK_GENOA,
  AMD_ARK_MILAN,
  AMD_ARK_TURIN,
  AMD_DEVIATIONS,
  appraiseEvidence,
  appraiseSnp,
  commonNameOf,
  parseCertificate,
  parseSnpReport,
  SNP_VALIDATE_CHECKS,
  SNP_VERIFY_CHECKS,
  snpVekExtensions,
  vendorRoots,
} from '../src/index.ts';
import {
  amdChain,
  appraise,
  azureVector,
  contextAt,
  documentOf,
  failures,
  OPEN_POLICY,
  patched,
  readVectors,
  type SnpVector,
  vector,
  vectorsMissing,
  withStatus,
} from './snp-vectors.ts';

const skip = vectorsMissing;
const vectors = readVectors();
const isGenuine = ({ expect }: SnpVector): boolean => expect['vek_chain'] === 'milan';
const genuine = vectors.filter(isGenuine);
const P384_ORDER = BigInt(
  '0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
);

/** What the missing revocation list leaves open. */
const CRL_CHECKS = ['snp.crl.form', 'snp.crl.issuer', 'snp.crl.window', 'snp.chain.crl'];

test('the recorded reports are there', { skip }, () => {
  assert.equal(vectors.length, 3);
  assert.equal(genuine.length, 2);
});

for (const crypto of [nodeCrypto, portableCrypto]) {
  test(`SNP-1 SNP-19 ${crypto.name}: every recorded report has its recorded outcome`, { skip }, () => {
    for (const each of vectors) {
      const result = appraise(each, contextAt(undefined, crypto));
      const { expect, id } = each;
      assert.deepEqual(
        result.verdict.checks.map((check) => check.id),
        [...SNP_VERIFY_CHECKS, ...SNP_VALIDATE_CHECKS],
      );
      if (!isGenuine(each)) {
        assert.deepEqual(failures(result), ['snp.chain.signatures:certificate.signature'], id);
        assert.equal(result.claims, null);
        continue;
      }
      assert.deepEqual(failures(result), expect['debug_allowed'] === true ? ['snp.debug:snp.debug'] : [], id);
      assert.deepEqual(withStatus(result, 'skipped'), CRL_CHECKS, 'a missing list is skipped, never passed');
      assert.equal(result.verdict.ok, false);
      assert.equal(result.claims?.isDebug, expect['debug_allowed']);
      assert.equal(result.claims?.isSimulated, false);
    }
  });
}

test('SNP-4 SNP-6 SNP-7 reports say what the manifest says', { skip }, () => {
  for (const { id, report, expect } of vectors) {
    const parsed = parseSnpReport(report);
    const littleEndian = (bytes: Uint8Array): string => toHex(bytes.slice());
    assert.deepEqual(
      {
        version: parsed.version,
        signing_key: parsed.signingKey.toUpperCase(),
        policy: `0x${parsed.guestPolicy.bits.toString(16)}`,
        debug_allowed: parsed.guestPolicy.isDebugAllowed,
        migration_agent_allowed: parsed.guestPolicy.isMigrationAgentAllowed,
        vmpl: parsed.vmpl,
        platform_info: `0x${parsed.platformInfo.toString(16)}`,
        reported_tcb: littleEndian(parsed.reportedTcb),
        current_tcb: littleEndian(parsed.currentTcb),
        committed_tcb: littleEndian(parsed.committedTcb),
        measurement: toHex(parsed.measurement),
        report_data: toHex(parsed.reportData),
        chip_id: toHex(parsed.chipId),
      },
      {
        version: expect['report_version'],
        signing_key: expect['signing_key'],
        policy: expect['policy'],
        debug_allowed: expect['debug_allowed'],
        migration_agent_allowed: expect['migration_agent_allowed'],
        vmpl: expect['vmpl'],
        platform_info: expect['platform_info'],
        reported_tcb: expect['reported_tcb'],
        current_tcb: expect['current_tcb'],
        committed_tcb: expect['committed_tcb'],
        measurement: expect['measurement'],
        report_data: expect['report_data'],
        chip_id: expect['chip_id'],
      },
      id,
    );
  }
});

test('SNP-13 SNP-17 SNP-18 endorsement certificates say what the manifest says', { skip }, () => {
  for (const { id, report, certificates, expect } of vectors) {
    const { reportedTcb, chipId } = parseSnpReport(report);
    const certificate = parseCertificate(certificates[2] as Uint8Array, 'vek', AMD_DEVIATIONS);
    const vek = snpVekExtensions(certificate);
    assert.equal(vek.productName, expect['product_name_ext'], id);
    assert.equal(bytesEqual(vek.tcb, reportedTcb), expect['vek_tcb_matches_reported'], id);
    assert.equal(bytesEqual(vek.hardwareId as Uint8Array, chipId), expect['vek_hwid_matches_chip_id'], id);
    assert.equal(new Date(certificate.notBeforeMs).toISOString(), expect['vek_valid_from'], id);
    assert.equal(new Date(certificate.notAfterMs).toISOString(), expect['vek_valid_to'], id);
  }
});

test("SNP-8 SNP-33 the production roots are AMD's published ones, and no others", { skip }, () => {
  const published = [
    '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd',
    '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1',
    '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a',
  ];
  const pins = [AMD_ARK_MILAN, AMD_ARK_GENOA, AMD_ARK_TURIN];
  assert.deepEqual(vendorRoots('snp'), pins);
  assert.deepEqual(
    pins.map(({ sha256 }) => toHex(sha256)),
    published,
  );
  assert.ok(pins.every(({ simulated }) => !simulated));
  for (const [i, product] of (['milan', 'genoa'] as const).entries()) {
    const [ark, ask] = amdChain(product).map((der) => parseCertificate(der, product, AMD_DEVIATIONS));
    assert.ok(ark !== undefined && ask !== undefined);
    assert.equal(toHex(nodeCrypto.sha256(ark.der)), published[i]);
    const name = product === 'milan' ? 'Milan' : 'Genoa';
    assert.deepEqual(
      [ark, ask].map(({ subject }) => commonNameOf(subject)),
      [`ARK-${name}`, `SEV-${name}`],
    );
    for (const { tbs, signature } of [ark, ask])
      assert.equal(nodeCrypto.verifyRsaPssSha384(ark.publicKey, tbs, signature), true, product);
  }
});

test('SNP-8 a root that is not trusted is refused, also one of another product', { skip }, () => {
  const each = vector('milan-v2');
  for (const roots of [[], [AMD_ARK_GENOA], [AMD_ARK_TURIN, AMD_ARK_GENOA]])
    assert.deepEqual(failures(appraise(each, { ...contextAt(), roots })), [
      'snp.chain.root:snp.root-untrusted',
    ]);
  const certificates = [...amdChain('genoa'), each.certificates[2] as Uint8Array];
  assert.deepEqual(failures(appraise({ ...each, certificates })), ['snp.chain.names:certificate.issuer']);
});

test('SNP-19 SNP-26 SNP-32 a genuine Azure host report verifies', { skip }, () => {
  for (const crypto of [nodeCrypto, portableCrypto]) {
    const result = appraise(azureVector(), contextAt(undefined, crypto));
    assert.deepEqual(failures(result), ['snp.provisional-firmware:snp.provisional-firmware']);
    const { claims } = result;
    assert.deepEqual(
      [claims?.product, claims?.signingKey, claims?.vmpl, claims?.cloud, claims?.cspId],
      ['milan', 'vcek', 0, null, null],
    );
    assert.deepEqual(claims?.hardware, [{ vendor: 'amd', id: claims?.chipId }]);
    assert.equal(claims?.evidenceEndMs, Date.parse('2030-05-02T21:22:19Z'));
  }
});

test(
  'SNP-20 authentic evidence outside a validity window fails that check, and claims are given',
  { skip },
  () => {
    const each = vector('milan-v2');
    const at = (nowMs: number) => appraise(each, contextAt(nowMs));
    const from = Date.parse(each.expect['vek_valid_from'] as string);
    const to = Date.parse(each.expect['vek_valid_to'] as string);
    for (const nowMs of [from, to]) assert.deepEqual(failures(at(nowMs)), [], `${nowMs}`);
    assert.deepEqual(failures(at(from - 1)), ['snp.chain.window:certificate.not-yet-valid']);
    assert.deepEqual(failures(at(to + 1000)), ['snp.chain.window:certificate.expired']);
    assert.notEqual(at(to + 1000).claims, null);
    assert.equal(at(to + 1000).claims?.evidenceEndMs, to);
  },
);

test(
  'SNP-22 a revoked root or ASK is refused; serial 0, that all endorsement keys have, revokes none of them',
  { skip },
  () => {
    const each = vector('milan-v2');
    for (const [i, der] of each.certificates.entries()) {
      const { issuer, serial } = parseCertificate(der, '', AMD_DEVIATIONS);
      const context = { ...contextAt(), revoked: [{ issuer, serial }] };
      const expected = i === 2 ? [] : ['snp.chain.revocation:certificate.revoked'];
      assert.deepEqual(failures(appraise(each, context)), expected, `${i}`);
      const other = [{ issuer: concatBytes(issuer, Uint8Array.of(0)), serial }];
      assert.deepEqual(failures(appraise(each, { ...contextAt(), revoked: other })), []);
    }
  },
);

test('SNP-17 SNP-18 SNP-19 the certificate of another chip or another level is refused', { skip }, () => {
  const [one, two, azure] = [vector('milan-v2'), vector('milan-v2-debug'), azureVector()];
  const other = (to: Pick<SnpVector, 'certificates'>) =>
    failures(appraise({ ...one, ...{ certificates: to.certificates } }));
  assert.deepEqual(other(two), ['snp.vek.tcb:snp.vek-tcb']);
  assert.deepEqual(other(azure), ['snp.vek.chip-id:snp.chip-id'], 'the same level on another chip');
});

test('SNP-14 a report that says another key signed it is refused before its signature', { skip }, () => {
  const each = vector('milan-v2');
  const flags = (byte: string) => failures(appraise({ ...each, report: patched(each.report, 0x48, byte) }));
  assert.deepEqual(flags('04'), ['snp.vek.kind:snp.vek-kind'], 'VLEK over a VCEK certificate');
  assert.deepEqual(flags('1c'), ['snp.signing-key:snp.unsigned'], 'not signed');
  assert.deepEqual(flags('02'), ['snp.signing-key:snp.unsigned'], 'the chip key is masked');
  assert.deepEqual(flags('08'), ['snp.report:snp.key-flags'], 'a reserved key');
  assert.deepEqual(flags('20'), ['snp.report:snp.key-flags'], 'a reserved bit');
});

test('SNP-5 bytes in the padding of r and s and in every reserved range are refused', { skip }, () => {
  const each = vector('milan-v2');
  const ranges = [
    [0x4c, 0x50],
    [0x188, 0x1a0],
    [0x1eb, 0x1ec],
    [0x1ef, 0x1f0],
    [0x1f8, 0x2a0],
    [0x2a0 + 48, 0x2a0 + 72],
    [0x2e8 + 48, 0x2e8 + 72],
    [0x330, 1184],
  ] as const;
  for (const [from, to] of ranges)
    for (let at = from; at < to; at++)
      for (const byte of ['01', '80'])
        assert.deepEqual(
          failures(appraise({ ...each, report: patched(each.report, at, byte) })),
          ['snp.report:snp.reserved'],
          `0x${at.toString(16)}`,
        );
});

test(
  'SNP-31 the signature with n - s says the same in other bytes, and claims have one digest',
  { skip },
  () => {
    for (const each of [vector('milan-v2'), vector('milan-v2-debug')]) {
      const s = BigInt(`0x${toHex(each.report.slice(0x2e8, 0x2e8 + 48).reverse())}`);
      const other = fromHex((P384_ORDER - s).toString(16).padStart(96, '0')).reverse();
      const twin = patched(each.report, 0x2e8, toHex(other));
      const [a, b] = [appraise(each), appraise({ ...each, report: twin })];
      assert.deepEqual(failures(b), failures(a));
      assert.notEqual(toHex(twin), toHex(each.report));
      assert.deepEqual(b.claims, a.claims);
      assert.equal(a.claims?.claimsDigest.length, 32);
    }
  },
);

test('SNP-3 the document has one encoding and exactly three certificates', { skip }, () => {
  const each = vector('milan-v2');
  const crypto = rememberSignatures(nodeCrypto, 1024);
  const context = contextAt(undefined, crypto);
  const refusal = (document: Uint8Array) =>
    failures(appraiseSnp(document, context)).map((f) => f.split(':')[0]);
  const [ark, ask, vek] = each.certificates as [Uint8Array, Uint8Array, Uint8Array];
  for (const certificates of [[], [vek], [ark, vek], [ask, vek]])
    assert.deepEqual(refusal(encode(snpDocumentCodec, { report: each.report, certificates })), [
      'snp.document',
    ]);
  const document = documentOf(each);
  let count = 0;
  for (const bytes of truncationsAndExtensions(document)) {
    if (count++ % 7 !== 0 && bytes.length < document.length) continue;
    assert.deepEqual(refusal(bytes), ['snp.document'], `${bytes.length} of ${document.length} bytes`);
  }
});

test(
  'SNP-9 SNP-11 certificates in another order, twice, as PEM or with a byte behind are refused',
  { skip },
  () => {
    const each = vector('milan-v2');
    const [ark, ask, vek] = each.certificates as [Uint8Array, Uint8Array, Uint8Array];
    const pem = new TextEncoder().encode(
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(vek).toString('base64')}\n-----END CERTIFICATE-----\n`,
    );
    const tail = Uint8Array.of(0);
    const cases: readonly (readonly [readonly Uint8Array[], string])[] = [
      [[ask, ark, vek], 'snp.chain.root:snp.root-untrusted'],
      [[vek, ask, ark], 'snp.chain.root:snp.root-untrusted'],
      [[ark, ark, vek], 'snp.chain.names:certificate.self-issued'],
      [[ark, vek, ask], 'snp.chain.profile:certificate.key-algorithm'],
      [[ark, ask, ask], 'snp.chain.profile:certificate.key-algorithm'],
      [[ark, ask, pem], 'snp.chain.certificates:der.tag'],
      [[ark, ask, concatBytes(vek, tail)], 'snp.chain.certificates:der.trailing-bytes'],
      [[ark, concatBytes(ask, tail), vek], 'snp.chain.certificates:der.trailing-bytes'],
      [[concatBytes(ark, tail), ask, vek], 'snp.chain.root:snp.root-untrusted'],
    ];
    for (const [certificates, failure] of cases)
      assert.deepEqual(failures(appraise({ ...each, certificates })), [failure]);
  },
);

test(
  'SNP-9 the strict reader refuses the two deviations of AMD where they are not tolerated',
  { skip },
  () => {
    const [, ask, vek] = vector('milan-v2').certificates as [Uint8Array, Uint8Array, Uint8Array];
    assert.throws(() => parseCertificate(vek, ''), { code: 'certificate.serial' });
    assert.throws(() => parseCertificate(ask, ''), { code: 'certificate.key-usage' });
  },
);

test('SNP-25 evidence of kind snp is appraised only where it is accepted', { skip }, () => {
  const each = vector('milan-v2');
  const { roots, policy, ...trust } = contextAt();
  assert.deepEqual(failures(appraiseEvidence('snp', documentOf(each), trust)), [
    'evidence.kind:evidence.kind-not-accepted',
  ]);
  const context = { ...trust, snp: { roots, policy } };
  assert.deepEqual(failures(appraiseEvidence('snp', documentOf(each), context)), []);
  assert.throws(() => appraise(each, { ...contextAt(), nowMs: 0.5 }), { name: 'UsageError' });
  const short = [{ sha256: new Uint8Array(31), simulated: false }];
  assert.throws(() => appraise(each, { ...contextAt(), roots: short }), { name: 'UsageError' });
});

test('SNP-26 a debugging guest is accepted where the policy says so', { skip }, () => {
  const policy = { ...OPEN_POLICY, allowDebug: true };
  const result = appraise(vector('milan-v2-debug'), { ...contextAt(), policy });
  assert.deepEqual(failures(result), []);
  assert.ok(withStatus(result, 'not-applicable').includes('snp.debug'));
});
