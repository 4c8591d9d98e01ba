import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { bytesEqual, concatBytes, fromHex, MalformedError, toHex } from '@haca/primitives';
import type { CollateralOf, SnpProduct } from '@haca/protocol';
import fc from 'fast-check';
import {
  AMD_ARK_MILAN,
  AMD_DEVIATIONS,
  appraiseAmdCrl,
  appraiseSnp,
  type CollateralSource,
  commonNameOf,
  decodeTcb,
  parseCertificate,
  parseSnpReport,
  rescoreEvidence,
  rescoreSnp,
  SNP_VALIDATE_CHECKS,
  SNP_VERIFY_CHECKS,
  type SnpContext,
  type SnpPolicy,
  snpVekExtensions,
  type TrustRoot,
} from '../src/index.ts';
import {
  amdName,
  CA_EXTENSIONS,
  CA_KEYS,
  CSP_ID,
  caExtension,
  chipIdOf,
  crlItem,
  der,
  integer,
  type Minted,
  mint,
  mintArk,
  mintAsk,
  mintCrl,
  NOW_MS,
  newEcKey,
  newRsaKey,
  PSS,
  type Shape,
  signReport,
  TCB,
  type Tcb,
  tcbBytes,
  vekExtensions,
} from './snp-fixture.ts';
import { contextAt, failures, OPEN_POLICY, patched, withStatus } from './snp-vectors.ts';

const DAY_MS = 86_400_000;
const PRODUCTS: readonly SnpProduct[] = ['milan', 'genoa', 'turin'];

function collateralOf(item: CollateralOf<'amd-crl'> | null): CollateralSource {
  return ((ref: { readonly kind: string }) => (ref.kind === 'amd-crl' ? item : null)) as CollateralSource;
}

function context(
  { root }: Pick<Minted, 'root'>,
  product: SnpProduct = 'milan',
  changes: Partial<SnpContext> = {},
): SnpContext {
  const collateral = collateralOf(crlItem(mintCrl(product)));
  return { ...contextAt(NOW_MS), roots: [root], collateral, ...changes };
}

function appraised(shape: Shape = {}, changes: Partial<SnpContext> = {}) {
  const minted = mint(shape);
  return appraiseSnp(minted.document, context(minted, shape.product, changes));
}

/** `id:code` of what fails for evidence of this shape. */
const refusal = (shape: Shape): readonly string[] => failures(appraised(shape));

for (const product of PRODUCTS)
  for (const signer of ['vcek', 'vlek'] as const)
    test(`SNP-4 SNP-15 SNP-33 ${product} under a ${signer} is accepted in every version`, () => {
      for (const version of [2, 3, 4, 5, 6]) {
        const minted = mint({ product, signer, version });
        for (const crypto of [nodeCrypto, portableCrypto]) {
          const { verdict, claims } = appraiseSnp(minted.document, context(minted, product, { crypto }));
          assert.equal(verdict.ok, true, JSON.stringify(verdict.checks.filter((c) => c.status === 'failed')));
          assert.deepEqual(
            [claims?.product, claims?.signingKey, claims?.version],
            [product, signer, version],
          );
          assert.equal(claims?.isSimulated, true);
          assert.equal(claims?.cloud, null, 'a test root vouches for no cloud');
          assert.equal(claims?.cspId, signer === 'vlek' ? CSP_ID : null);
          const id = chipIdOf(product);
          assert.deepEqual(claims?.hardware, signer === 'vlek' ? [] : [{ vendor: 'amd', id }]);
          assert.equal(claims?.currentMitigations, version < 5 ? null : 0x3fn);
          const { fmc, ...rest } = TCB;
          assert.deepEqual(claims?.reportedTcb, { fmc: product === 'turin' ? fmc : null, ...rest });
          assert.ok((claims?.facts.length ?? 0) <= 4096);
          assert.equal(claims?.collateralEndMs, NOW_MS + 30 * DAY_MS);
        }
      }
    });

test('SNP-4 the extended TCB versions of version 6 are signed and not looked at', () => {
  const filled = (at: number): Shape => ({ version: 6, ...changed(at, 'ff'.repeat(32)) });
  for (const at of [0x220, 0x240, 0x260]) assert.deepEqual(refusal(filled(at)), [], `${at}`);
});

test('SNP-33 a root listed both as simulated and not counts as simulated', () => {
  const minted = mint();
  const genuine: TrustRoot = { ...minted.root, simulated: false };
  const roots = [genuine, minted.root];
  assert.equal(appraiseSnp(minted.document, context(minted, 'milan', { roots })).claims?.isSimulated, true);
  const alone = appraiseSnp(minted.document, context(minted, 'milan', { roots: [genuine] }));
  assert.equal(alone.claims?.isSimulated, false);
  const vlek = mint({ signer: 'vlek' });
  const asGenuine = context(vlek, 'milan', { roots: [{ ...vlek.root, simulated: false }] });
  assert.equal(appraiseSnp(vlek.document, asGenuine).claims?.cloud, CSP_ID);
  const amd = appraiseSnp(minted.document, context(minted, 'milan', { roots: [AMD_ARK_MILAN] }));
  assert.deepEqual(failures(amd), ['snp.chain.root:snp.root-untrusted']);
});

const changed = (at: number, bytes: string): Shape => ({ report: (report) => patched(report, at, bytes) });

test('SNP-4 SNP-5 SNP-6 a report of another form is refused although its signature holds', () => {
  const cases: readonly (readonly [string, Shape, string])[] = [
    ['version 0', changed(0, '00000000'), 'snp.report-version'],
    ['version 1', changed(0, '01000000'), 'snp.report-version'],
    ['version 7', changed(0, '07000000'), 'snp.report-version'],
    ['version 0x103', changed(0, '03010000'), 'snp.report-version'],
    ['signature algorithm 0', changed(0x34, '00'), 'snp.signature-algorithm'],
    ['signature algorithm 2', changed(0x34, '02'), 'snp.signature-algorithm'],
    ['guest policy without bit 17', changed(0x0a, '01'), 'snp.guest-policy'],
    ['guest policy bit 26', changed(0x0b, '04'), 'snp.guest-policy'],
    ['guest policy bit 63', changed(0x0f, '80'), 'snp.guest-policy'],
    ['platform bit 8', changed(0x41, '01'), 'snp.platform-info'],
    ['platform bit 63', changed(0x47, '80'), 'snp.platform-info'],
    ['VMPL 4', changed(0x30, '04'), 'snp.vmpl'],
    ['a report the host asked for', changed(0x30, 'ffffffff'), 'snp.vmpl'],
    ['signing key 2', changed(0x48, '08'), 'snp.key-flags'],
    ['key flags bit 5', changed(0x48, '20'), 'snp.key-flags'],
    ['key flags bit 31', changed(0x4b, '80'), 'snp.key-flags'],
    ['bytes behind the flags', changed(0x4c, '01'), 'snp.reserved'],
    ['CPUID in version 2', { version: 2, ...changed(0x188, '19') }, 'snp.reserved'],
    ['mitigations in version 3', { version: 3, ...changed(0x1f8, '01') }, 'snp.reserved'],
    ['mitigations in version 4', { version: 4, ...changed(0x200, '01') }, 'snp.reserved'],
    ['behind the mitigations', { version: 5, ...changed(0x208, '01') }, 'snp.reserved'],
    ['extended TCB in version 5', { version: 5, ...changed(0x220, '01') }, 'snp.reserved'],
    ['before the extended TCBs', { version: 6, ...changed(0x21f, '01') }, 'snp.reserved'],
    ['behind the extended TCBs', { version: 6, ...changed(0x280, '01') }, 'snp.reserved'],
    ['behind the CPUID', { version: 5, ...changed(0x18b, '01') }, 'snp.reserved'],
    ['the fourth byte of a version', changed(0x1eb, '01'), 'snp.reserved'],
  ];
  for (const [what, shape, code] of cases) assert.deepEqual(refusal(shape), [`snp.report:${code}`], what);
  const parse = (length: number) => () => parseSnpReport(new Uint8Array(length));
  for (const length of [0, 1183, 1185]) assert.throws(parse(length), { code: 'snp.report-length' });
});

test('SNP-2 what proves authenticity ends the appraisal, what judges it does not', () => {
  const all = [...SNP_VERIFY_CHECKS, ...SNP_VALIDATE_CHECKS];
  const last = all.indexOf('snp.signature');
  const shapes: readonly Shape[] = [
    changed(0x4c, '01'),
    changed(0x48, '1c'),
    { askParts: { algorithm: PSS.pkcs1 } },
    { vekParts: { issuer: amdName('SEV-Other') } },
    { vek: () => new Map() },
    changed(0x48, '04'),
    { cpuid: [0x17, 1, 1] },
    changed(0x39 + 1, '01'),
    changed(0x180, 'ff'),
    { chipId: new Uint8Array(64).fill(1) },
  ];
  const ends = new Set<string>();
  for (const shape of shapes) {
    const { verdict, claims } = appraised(shape);
    const at = verdict.checks.findIndex(({ status }) => status === 'failed');
    assert.deepEqual(
      verdict.checks.map(({ id }) => id),
      all,
    );
    assert.ok(at <= last && claims === null);
    ends.add(all[at] as string);
    for (const { status, code } of verdict.checks.slice(at + 1))
      assert.deepEqual([status, code], ['skipped', 'not-reached']);
    assert.ok(verdict.checks.slice(0, at).every(({ status }) => status !== 'failed' && status !== 'skipped'));
  }
  assert.equal(ends.size, shapes.length, [...ends].join());
  const judged = appraised({ vekParts: { notAfterMs: NOW_MS - 1000 } });
  assert.deepEqual(withStatus(judged, 'skipped'), []);
  assert.notEqual(judged.claims, null);
});

test('SNP-7 an unsigned report and one under a masked chip key are refused', () => {
  assert.deepEqual(refusal(changed(0x48, '1c')), ['snp.signing-key:snp.unsigned']);
  assert.deepEqual(refusal(changed(0x48, '02')), ['snp.signing-key:snp.unsigned']);
  assert.deepEqual(
    refusal({ signer: 'vlek', ...changed(0x48, '06') }),
    [],
    "a provider's key is used all the same",
  );
  assert.deepEqual(refusal(changed(0x48, '01')), [], 'an author key');
});

test('SNP-14 a VCEK is no VLEK and a VLEK no VCEK', () => {
  assert.deepEqual(refusal({ signer: 'vlek', ...changed(0x48, '00') }), ['snp.vek.kind:snp.vek-kind']);
  assert.deepEqual(refusal({ signer: 'vcek', ...changed(0x48, '04') }), ['snp.vek.kind:snp.vek-kind']);
  const asVlek = (vek: Shape['vek']): Shape => ({ signer: 'vlek', vek: vek as NonNullable<Shape['vek']> });
  const vcekExtensions = vekExtensions('milan', 'vcek');
  const vlekExtensions = vekExtensions('milan', 'vlek');
  assert.deepEqual(refusal(asVlek(() => vcekExtensions)), ['snp.vek.kind:snp.vek-kind']);
  assert.deepEqual(refusal({ vek: () => vlekExtensions }), ['snp.vek.kind:snp.vek-kind']);
  assert.deepEqual(refusal({ vek: () => vlekExtensions, ...changed(0x48, '04') }), [
    'snp.vek.kind:snp.vek-kind',
  ]);
});

test('SNP-11 SNP-14 names are those of their places', () => {
  const subject = (commonName: string): Partial<Shape> => ({ vekParts: { subject: amdName(commonName) } });
  for (const commonName of ['SEV-VLEK', 'SEV-Genoa', 'sev-vcek', 'SEV-VCEK '])
    assert.deepEqual(refusal(subject(commonName)), ['snp.vek.kind:snp.vek-kind'], commonName);
  const between = (commonName: string): Shape => ({
    askParts: { subject: amdName(commonName) },
    vekParts: { issuer: amdName(commonName) },
  });
  for (const commonName of ['SEV-Genoa', 'SEV-VLEK-Milan', 'SEV-milan'])
    assert.deepEqual(refusal(between(commonName)), ['snp.vek.kind:snp.vek-kind'], commonName);
  const root = amdName('ARK-Rome');
  assert.deepEqual(refusal({ arkParts: { subject: root, issuer: root }, askParts: { issuer: root } }), [
    'snp.product:snp.product',
  ]);
  assert.deepEqual(refusal({ vekParts: { issuer: amdName('SEV-Other') } }), [
    'snp.chain.names:certificate.issuer',
  ]);
  assert.deepEqual(refusal({ askParts: { issuer: amdName('ARK-Genoa') } }), [
    'snp.chain.names:certificate.issuer',
  ]);
});

test('SNP-11 a common name is read only where there is exactly one, as text', () => {
  const attribute = (tag: number, text: string): Uint8Array =>
    der(0x31, der(0x30, fromHex('0603550403'), der(tag, new TextEncoder().encode(text))));
  const name = (...attributes: readonly Uint8Array[]): Uint8Array => der(0x30, ...attributes);
  assert.equal(commonNameOf(name(attribute(0x0c, 'ARK-Milan'))), 'ARK-Milan');
  assert.equal(commonNameOf(name(attribute(0x13, 'ARK-Milan'))), 'ARK-Milan');
  assert.equal(commonNameOf(name(attribute(0x0c, 'ARK-Milan'), attribute(0x0c, 'ARK-Genoa'))), null);
  assert.equal(commonNameOf(name(attribute(0x1e, 'ARK-Milan'))), null);
  assert.equal(commonNameOf(name(attribute(0x0c, 'ARK-Milan\n'))), null);
  assert.equal(commonNameOf(name(attribute(0x0c, 'é'))), null);
  assert.equal(commonNameOf(name(attribute(0x0c, ''))), null);
});

test('SNP-9 SNP-11 names that a trusted CA made up are no way to an exception', () => {
  const cn = (text: string): Uint8Array =>
    der(0x31, der(0x30, fromHex('0603550403'), der(0x0c, new TextEncoder().encode(text))));
  const odd = (oid: string): Uint8Array => der(0x31, der(0x30, fromHex(oid), fromHex('0c0161')));
  for (const oid of ['0600', '06025580', '060155', `0641${'55'.repeat(65)}`]) {
    const subject = der(0x30, odd(oid), cn('SEV-VCEK'));
    assert.deepEqual(refusal({ vekParts: { subject } }), [], oid);
  }
  const long = der(
    0x30,
    cn('SEV-VCEK'),
    der(0x31, der(0x30, fromHex('060355040a'), der(0x0c, new Uint8Array(500)))),
  );
  for (const parts of ['askParts', 'vekParts'] as const)
    for (const place of ['issuer', 'subject'] as const)
      assert.deepEqual(refusal({ [parts]: { [place]: long } }), ['snp.chain.certificates:certificate.name']);
  const many = { arkParts: { serial: fromHex(`0214${'7f'.repeat(20)}`) } };
  assert.deepEqual(refusal(many), []);
  const large = caExtension.of(fromHex('0603551d23'), false, new Uint8Array(1500));
  assert.deepEqual(refusal({ arkParts: { extensions: [...CA_EXTENSIONS.ark, large] } }), [
    'snp.chain.certificates:der.too-large',
  ]);
});

test('SNP-10 PSS parameters are one of the two forms of AMD', () => {
  for (const algorithm of [PSS.plain, PSS.withTrailer]) {
    assert.deepEqual(refusal({ vekParts: { algorithm } }), []);
    assert.deepEqual(refusal({ askParts: { algorithm } }), []);
  }
  for (const algorithm of [PSS.salt32, PSS.sha256, PSS.withoutParameters, PSS.pkcs1]) {
    const failure = 'snp.chain.profile:certificate.signature-algorithm';
    assert.deepEqual(refusal({ vekParts: { algorithm } }), [failure]);
    assert.deepEqual(refusal({ askParts: { algorithm } }), [failure]);
    assert.deepEqual(refusal({ arkParts: { algorithm } }), [failure]);
  }
});

test('SNP-10 keys are RSA-4096 above and P-384 below', () => {
  const keyFailure = 'snp.chain.profile:certificate.key';
  for (const bits of [2048, 3072])
    assert.deepEqual(refusal({ askParts: { spki: newRsaKey(bits).spki } }), [keyFailure], `${bits} bits`);
  assert.deepEqual(refusal({ vekParts: { spki: newEcKey('P-256').spki } }), [`${keyFailure}-algorithm`]);
  assert.deepEqual(refusal({ vekParts: { spki: CA_KEYS.ask.spki } }), [`${keyFailure}-algorithm`]);
  assert.deepEqual(refusal({ askParts: { spki: newEcKey().spki } }), [`${keyFailure}-algorithm`]);
});

test('SNP-10 what a certificate may do is fixed by its place', () => {
  const { basicConstraints, keyUsage, of } = caExtension;
  const critical = of(fromHex('0603551d25'), true, fromHex('3000'));
  const cases: readonly (readonly [string, Shape, string])[] = [
    ['an ASK without basicConstraints', { askParts: { extensions: [CA_EXTENSIONS.ask[1]] } }, 'not-a-ca'],
    ['an ASK without keyUsage', { askParts: { extensions: [CA_EXTENSIONS.ask[0]] } }, 'key-usage'],
    [
      'an ASK with digitalSignature alone',
      { askParts: { extensions: [CA_EXTENSIONS.ask[0], of(keyUsage, true, fromHex('03020780'))] } },
      'key-usage',
    ],
    [
      'an ASK that is no CA',
      { askParts: { extensions: [of(basicConstraints, true, fromHex('3000')), CA_EXTENSIONS.ask[1]] } },
      'not-a-ca',
    ],
    [
      'an ARK with path length 0',
      {
        arkParts: {
          extensions: [CA_EXTENSIONS.ark[0], of(basicConstraints, true, fromHex('30060101ff020100'))],
        },
      },
      'path-length',
    ],
    [
      'an unknown critical extension',
      { askParts: { extensions: [...CA_EXTENSIONS.ask, critical] } },
      'critical-extension',
    ],
    ['an endorsement key that is a CA', { vekParts: { extensions: CA_EXTENSIONS.ask } }, 'leaf-is-ca'],
  ];
  for (const [what, shape, code] of cases)
    assert.deepEqual(refusal(shape), [`snp.chain.profile:certificate.${code}`], what);
});

test('SNP-12 SNP-19 each signature is by the key above', () => {
  const minted = mint();
  const [ark, ask, vek] = minted.certificates;
  const other = newRsaKey();
  const foreignAsk = mintAsk('milan', 'vcek', { spki: other.spki });
  const answer = (certificates: readonly Uint8Array[], report = minted.report) => {
    const document = mintDocument(report, certificates);
    return failures(appraiseSnp(document, context(minted)));
  };
  assert.deepEqual(answer([ark, ask, vek]), []);
  assert.deepEqual(answer([ark, foreignAsk, vek]), ['snp.chain.signatures:certificate.signature']);
  const selfMade = mintArk('milan', { spki: other.spki });
  assert.deepEqual(answer([selfMade, ask, vek]), ['snp.chain.root:snp.root-untrusted']);
  const resigned = signReport(minted.report, newEcKey().privateKey);
  assert.deepEqual(answer([ark, ask, vek], resigned), ['snp.signature:snp.signature']);
  const zero = minted.report.slice();
  zero.fill(0, 0x2a0);
  assert.deepEqual(answer([ark, ask, vek], zero), ['snp.signature:snp.signature']);
});

function mintDocument(report: Uint8Array, certificates: readonly Uint8Array[]): Uint8Array {
  const parts = certificates.map((each) =>
    concatBytes(Uint8Array.of(0x59, each.length >> 8, each.length & 0xff), each),
  );
  const head = Uint8Array.of(0xa2, 0x00, 0x59, 0x04, 0xa0);
  return concatBytes(head, report, Uint8Array.of(0x01, 0x80 | certificates.length), ...parts);
}

test('SNP-13 extensions of an endorsement key have one encoding each, and none is missing or too many', () => {
  const set = (arcs: string, value: Uint8Array | null): Shape => ({
    vek: (extensions) => {
      const next = new Map(extensions);
      if (value === null) next.delete(arcs);
      else next.set(arcs, value);
      return next;
    },
  });
  const chipId = chipIdOf('milan');
  const ia5 = (text: string): Uint8Array => der(0x16, new TextEncoder().encode(text));
  const cases: readonly (readonly [string, Shape, string])[] = [
    ...['1', '2', '3.1', '3.2', '3.3', '3.4', '3.5', '3.6', '3.7', '3.8'].map(
      (arcs) => [`without ${arcs}`, set(arcs, null), 'snp.vek-missing'] as const,
    ),
    ['without a hardware id', set('4', null), 'snp.vek-kind'],
    ['with a csp id too', set('5', ia5('CN=x')), 'snp.vek-kind'],
    ['an unknown patch level', set('3.10', integer(0)), 'snp.vek-unknown'],
    ["Turin's patch level", set('3.9', integer(0)), 'snp.vek-unknown'],
    ['an unknown extension', set('6', integer(0)), 'snp.vek-unknown'],
    ['a hardware id in an OCTET STRING', set('4', der(0x04, chipId)), 'snp.vek-hardware-id'],
    ['a short hardware id', set('4', chipId.subarray(1)), 'snp.vek-hardware-id'],
    ['a hardware id of zeros', set('4', new Uint8Array(64)), 'snp.vek-hardware-id'],
    ['a patch level as a byte', set('3.8', Uint8Array.of(219)), 'der.tag'],
    ['a negative patch level', set('3.8', fromHex('0201db')), 'der.integer'],
    ['a padded patch level', set('3.1', fromHex('02020003')), 'der.integer'],
    ['a patch level of 256', set('3.8', integer(256)), 'der.integer'],
    ['bytes behind a patch level', set('3.1', fromHex('02010300')), 'der.trailing-bytes'],
    ['struct version 1', set('1', integer(1)), 'snp.vek-product'],
    ['product name as UTF8String', set('2', der(0x0c, fromHex('4d696c616e'))), 'der.tag'],
    ['product Rome', set('2', ia5('Rome-B0')), 'snp.vek-product'],
    ['product Milan-', set('2', ia5('Milan-')), 'snp.vek-product'],
    ['product MilanX', set('2', ia5('MilanX')), 'snp.vek-product'],
    ['product of no text', set('2', ia5('')), 'snp.vek-text'],
    ['product with a line end', set('2', ia5('Milan\n')), 'snp.vek-text'],
  ];
  for (const [what, shape, code] of cases)
    assert.deepEqual(refusal(shape), [`snp.vek.extensions:${code}`], what);
  for (const name of ['Milan', 'Milan-B0', 'Milan-B1'])
    assert.deepEqual(refusal(set('2', ia5(name))), [], name);
  for (const name of ['Genoa', 'Genoa-B2', 'Bergamo-A1', 'Siena-A0'])
    assert.deepEqual(refusal({ product: 'genoa', ...set('2', ia5(name)) }), [], name);
});

test('SNP-13 extensions that are not of AMD are not looked at', () => {
  const { of } = caExtension;
  const other = of(fromHex('0603551d23'), false, fromHex('3000'));
  const plain = mint().certificates[2];
  const { extensions } = parseCertificate(plain, '', AMD_DEVIATIONS);
  const withOther = [...extensions, { oid: '2.5.29.35', critical: false, value: other }];
  assert.deepEqual(snpVekExtensions({ extensions: withOther }), snpVekExtensions({ extensions }));
});

test('SNP-15 the product of root, endorsement key and processor is one', () => {
  for (const product of PRODUCTS)
    for (const other of PRODUCTS) {
      if (product === other) continue;
      const vek = (): ReadonlyMap<string, Uint8Array> => vekExtensions(other, 'vcek');
      assert.deepEqual(refusal({ product, vek }), ['snp.vek.kind:snp.vek-kind'], `${other} under ${product}`);
    }
  const processors: readonly (readonly [SnpProduct, number, number, boolean])[] = [
    ['milan', 0x19, 0x00, true],
    ['milan', 0x19, 0x0f, true],
    ['milan', 0x19, 0x10, false],
    ['milan', 0x1a, 0x01, false],
    ['milan', 0x17, 0x31, false],
    ['genoa', 0x19, 0x0f, false],
    ['genoa', 0x19, 0x10, true],
    ['genoa', 0x19, 0x1f, true],
    ['genoa', 0x19, 0xa0, true],
    ['genoa', 0x19, 0xaf, true],
    ['genoa', 0x19, 0xb0, false],
    ['turin', 0x1a, 0x02, true],
    ['turin', 0x1a, 0x11, true],
    ['turin', 0x1a, 0x50, false],
    ['turin', 0x19, 0x11, false],
  ];
  for (const [product, family, model, holds] of processors)
    assert.deepEqual(
      refusal({ product, cpuid: [family, model, 0] }),
      holds ? [] : ['snp.cpuid:snp.cpuid'],
      `${product} ${family} ${model}`,
    );
});

test('SNP-16 SNP-17 the certificate is for exactly the reported TCB, component by component', () => {
  for (const product of PRODUCTS) {
    const components = [
      'bootloader',
      'tee',
      'snp',
      'microcode',
      ...(product === 'turin' ? (['fmc'] as const) : []),
    ] as const;
    for (const component of components)
      for (const step of [-1, 1]) {
        const tcb: Tcb = { ...TCB, [component]: (TCB[component] ?? 0) + step };
        const vek = () => vekExtensions(product, 'vcek', tcb);
        assert.deepEqual(
          refusal({ product, vek }),
          ['snp.vek.tcb:snp.vek-tcb'],
          `${product} ${component} ${step}`,
        );
      }
    const reserved = product === 'turin' ? [4, 5, 6] : [2, 3, 4, 5];
    for (const at of reserved) {
      for (const field of [0x38, 0x180, 0x1e0, 0x1f0])
        assert.deepEqual(refusal({ product, ...changed(field + at, '01') }), [
          'snp.tcb.form:snp.tcb-reserved',
        ]);
      const level = product === 'turin' ? at + 1 : at + 2;
      const vek = () => new Map(vekExtensions(product, 'vcek')).set(`3.${level}`, integer(1));
      assert.deepEqual(refusal({ product, vek }), ['snp.tcb.form:snp.tcb-reserved'], `level ${level}`);
      const report = (bytes: Uint8Array) => patched(bytes, 0x180 + at, '01');
      assert.deepEqual(refusal({ product, vek, report }), ['snp.tcb.form:snp.tcb-reserved'], 'in both');
    }
  }
});

test('SNP-16 a TCB is read by the layout of its product', () => {
  const bytes = fromHex('0102030400000008');
  assert.deepEqual(decodeTcb('turin', bytes, ''), { fmc: 1, bootloader: 2, tee: 3, snp: 4, microcode: 8 });
  assert.throws(() => decodeTcb('milan', bytes, ''), { code: 'snp.tcb-reserved' });
  for (const size of [0, 7])
    assert.throws(() => decodeTcb('turin', bytes.subarray(0, size), ''), { code: 'snp.tcb-size' });
  const other = fromHex('0102000000000708');
  assert.deepEqual(decodeTcb('genoa', other, ''), { fmc: null, bootloader: 1, tee: 2, snp: 7, microcode: 8 });
  assert.throws(() => decodeTcb('turin', other, ''), { code: 'snp.tcb-reserved' });
});

test('SNP-18 the chip id is that of the certificate, or masked', () => {
  for (const product of PRODUCTS) {
    const id = chipIdOf(product);
    const padded = concatBytes(id, new Uint8Array(64 - id.length));
    for (const at of [0, id.length - 1])
      assert.deepEqual(refusal({ product, chipId: patched(padded, at, '00') }), [
        'snp.vek.chip-id:snp.chip-id',
      ]);
    if (product === 'turin')
      assert.deepEqual(refusal({ product, chipId: patched(padded, 63, '01') }), [
        'snp.vek.chip-id:snp.chip-id',
      ]);
    const masked = appraised({ product, chipId: new Uint8Array(64) });
    assert.deepEqual(failures(masked), []);
    assert.ok(withStatus(masked, 'not-applicable').includes('snp.vek.chip-id'));
    assert.deepEqual(masked.claims?.hardware, [{ vendor: 'amd', id }], 'the certificate names the chip');
  }
  const named = appraised({ signer: 'vlek', chipId: chipIdOf('milan') });
  assert.deepEqual(failures(named), []);
  assert.deepEqual(named.claims?.hardware, []);
});

test('SNP-20 SNP-21 windows and the life of a VLEK are judged, and the rest goes on', () => {
  const late = (parts: 'vekParts' | 'askParts' | 'arkParts') =>
    refusal({ [parts]: { notAfterMs: NOW_MS - 1000 } });
  for (const parts of ['vekParts', 'askParts', 'arkParts'] as const)
    assert.deepEqual(late(parts), ['snp.chain.window:certificate.expired'], parts);
  const vlek = (days: number) =>
    refusal({
      signer: 'vlek',
      vekParts: { notBeforeMs: NOW_MS - DAY_MS, notAfterMs: NOW_MS + (days - 1) * DAY_MS },
    });
  assert.deepEqual(vlek(366), []);
  assert.deepEqual(vlek(367), []);
  assert.deepEqual(vlek(368), ['snp.vek.lifetime:snp.vlek-lifetime']);
  assert.deepEqual(vlek(2555), ['snp.vek.lifetime:snp.vlek-lifetime']);
  const shape = { vekParts: { notAfterMs: NOW_MS - 1000 }, tcb: TCB, ...changed(0x1e0, 'ff') };
  assert.deepEqual(refusal(shape), [
    'snp.chain.window:certificate.expired',
    'snp.tcb.order:snp.tcb-order',
    'snp.provisional-firmware:snp.provisional-firmware',
  ]);
});

test('SNP-24 firmware reports and commits to no more than it runs', () => {
  const policy = { ...OPEN_POLICY, allowProvisionalFirmware: true };
  const order = (shape: Shape) => failures(appraised(shape, { policy }));
  const level = (tcb: Tcb): string => toHex(tcbBytes('milan', tcb));
  const order1 = ['snp.tcb.order:snp.tcb-order'];
  for (const component of ['bootloader', 'tee', 'snp', 'microcode'] as const) {
    const above = level({ ...TCB, [component]: TCB[component] + 1 });
    const below = level({ ...TCB, [component]: TCB[component] - 1 });
    assert.deepEqual(order(changed(0x38, above)), [], `current ${component} above`);
    assert.deepEqual(order(changed(0x38, below)), order1, `current ${component} below`);
    assert.deepEqual(order(changed(0x1e0, above)), order1, `committed ${component} above`);
    assert.deepEqual(order(changed(0x1e0, below)), [], `committed ${component} below`);
  }
  const mixed = level({ ...TCB, microcode: TCB.microcode + 1, bootloader: TCB.bootloader - 1 });
  assert.deepEqual(order(changed(0x38, mixed)), order1, 'one above does not make up for one below');
  assert.deepEqual(order(changed(0x1ec, '043a01')), order1, 'committed build above');
  assert.deepEqual(order(changed(0x1ec, 'ff3901')), [], 'committed minor below');
  assert.deepEqual(order(changed(0x1ec, '000002')), order1, 'committed major above');
});

test('SNP-31 a certificate issued again for the same key changes no digest, another report does', () => {
  const key = newEcKey();
  const issued = (days: number) =>
    mint({ vekParts: { spki: key.spki, notAfterMs: NOW_MS + days * DAY_MS } }).certificates;
  const [a, b] = [issued(100), issued(200)];
  const report = signReport(mint().report, key.privateKey);
  const other = signReport(patched(mint().report, 0x50, 'ff'), key.privateKey);
  const root = { root: mint().root };
  const claims = (certificates: readonly Uint8Array[], of = report) =>
    appraiseSnp(mintDocument(of, certificates), context(root)).claims;
  assert.equal(bytesEqual(a[2], b[2]), false);
  assert.deepEqual(claims(a)?.claimsDigest, claims(b)?.claimsDigest);
  assert.notDeepEqual(claims(a)?.claimsDigest, claims(a, other)?.claimsDigest);
  assert.equal(claims(a)?.evidenceEndMs, NOW_MS + 100 * DAY_MS);
});

const crlFailures = (
  item: CollateralOf<'amd-crl'> | null,
  changes: Partial<SnpContext> = {},
  shape: Shape = {},
) => failures(appraised(shape, { collateral: collateralOf(item), ...changes }));

test('SNP-23 a revocation list that is not genuine, not current or not of this root fails', () => {
  const crl = mintCrl('milan');
  const { basicConstraints, of } = caExtension;
  const cases: readonly (readonly [string, CollateralOf<'amd-crl'>, string])[] = [
    ['empty', crlItem(new Uint8Array(0)), 'snp.crl.form:der.tag'],
    ['garbage', crlItem(new Uint8Array(64).fill(0x30)), 'snp.crl.form:der.trailing-bytes'],
    ['a byte behind', crlItem(concatBytes(crl, Uint8Array.of(0))), 'snp.crl.form:der.trailing-bytes'],
    [
      'a changed signature',
      crlItem(patched(crl, crl.length - 1, crl[crl.length - 1] === 0 ? '01' : '00')),
      'snp.crl.issuer:crl.signature',
    ],
    [
      "the ASK's signature",
      crlItem(mintCrl('milan', {}, CA_KEYS.ask.privateKey)),
      'snp.crl.issuer:crl.signature',
    ],
    ['of another root', crlItem(mintCrl('genoa')), 'snp.crl.issuer:crl.issuer'],
    ['with the chain of another root', crlItem(crl, [mintArk('genoa')]), 'snp.crl.issuer:snp.crl-root'],
    [
      'with a longer chain',
      crlItem(crl, [mintArk('milan'), mintAsk('milan', 'vcek')]),
      'snp.crl.issuer:snp.crl-root',
    ],
    [
      'without a number',
      crlItem(mintCrl('milan', { extensions: [of(basicConstraints, false, fromHex('3000'))] })),
      'snp.crl.issuer:crl.number',
    ],
    [
      'with other PSS parameters',
      crlItem(mintCrl('milan', { algorithm: PSS.salt32 })),
      'snp.crl.issuer:crl.signature-algorithm',
    ],
    [
      'not yet valid',
      crlItem(mintCrl('milan', { thisUpdateMs: NOW_MS + 1000 })),
      'snp.crl.window:collateral.not-yet-valid',
    ],
    [
      'no longer valid',
      crlItem(mintCrl('milan', { nextUpdateMs: NOW_MS - 1000 })),
      'snp.crl.window:collateral.expired',
    ],
  ];
  for (const [what, item, failure] of cases) {
    assert.deepEqual(crlFailures(item), [failure], what);
    assert.notEqual(
      appraised({}, { collateral: collateralOf(item) }).claims,
      null,
      'claims are authentic all the same',
    );
  }
  for (const algorithm of [PSS.plain, PSS.withTrailer])
    assert.deepEqual(crlFailures(crlItem(mintCrl('milan', { algorithm }), [mintArk('milan')])), []);
  const missing = appraised({}, { collateral: collateralOf(null) });
  assert.deepEqual(withStatus(missing, 'skipped'), [
    'snp.crl.form',
    'snp.crl.issuer',
    'snp.crl.window',
    'snp.chain.crl',
  ]);
  assert.equal(missing.verdict.ok, false);
  assert.equal(missing.claims?.collateralEndMs, null);
});

test('SNP-23 grace lies behind nextUpdate, and the reference asks for the root of the evidence', () => {
  const old = crlItem(mintCrl('milan', { nextUpdateMs: NOW_MS - DAY_MS }));
  assert.deepEqual(crlFailures(old, { collateralGraceMs: DAY_MS }), []);
  assert.deepEqual(crlFailures(old, { collateralGraceMs: DAY_MS - 1 }), [
    'snp.crl.window:collateral.expired',
  ]);
  const minted = mint();
  const asked: unknown[] = [];
  const collateral = ((ref: unknown) => {
    asked.push(ref);
    return null;
  }) as CollateralSource;
  appraiseSnp(minted.document, context(minted, 'milan', { collateral }));
  assert.deepEqual(asked, [
    { kind: 'amd-crl', rootCertificate: minted.certificates[0], scope: amdName('ARK-Milan') },
  ]);
});

test('SNP-23 a listed signing CA is refused; an endorsement key is not what the list is about', () => {
  const listed = (...serials: readonly string[]) =>
    crlItem(mintCrl('milan', { serials: serials.map((serial) => fromHex(serial)) }));
  const failure = ['snp.chain.crl:certificate.revoked'];
  assert.deepEqual(crlFailures(listed('0203010001')), failure, 'the ASK');
  assert.deepEqual(crlFailures(listed('0203010101')), [], 'the ASVK, for a VCEK');
  assert.deepEqual(
    crlFailures(listed('0203010101'), {}, { signer: 'vlek' }),
    failure,
    'the ASVK, for a VLEK',
  );
  assert.deepEqual(crlFailures(listed('0203010000')), failure, 'the ARK itself');
  assert.deepEqual(crlFailures(listed('020107', '0203010001', '020109')), failure, 'among others');
  assert.deepEqual(crlFailures(listed('020100')), [], 'serial 0 of another issuer');
  const expired = crlItem(
    mintCrl('milan', { nextUpdateMs: NOW_MS - 1000, serials: [fromHex('0203010001')] }),
  );
  assert.deepEqual(crlFailures(expired), ['snp.crl.window:collateral.expired', ...failure]);
});

const FLOOR = {
  product: 'milan' as const,
  floor: { fmc: null, bootloader: 3, tee: 2, snp: 5, microcode: 219 },
};

test('SNP-34 facts are judged again by root, revocations, list and floors', () => {
  const minted = mint();
  const base = context(minted, 'milan', { policy: { ...OPEN_POLICY, tcbFloors: [FLOOR] } });
  const { claims } = appraiseSnp(minted.document, base);
  assert.ok(claims !== null);
  const rescored = (changes: Partial<SnpContext>, facts = claims.facts) =>
    rescoreSnp(facts, { ...base, ...changes });
  const good = rescored({});
  assert.equal(good.verdict.ok, true);
  assert.equal(good.collateralEndMs, NOW_MS + 30 * DAY_MS);
  const { roots, policy, ...trust } = base;
  assert.equal(rescoreEvidence('snp', claims.facts, { ...trust, snp: { roots, policy } }).verdict.ok, true);
  assert.deepEqual(failures(rescoreEvidence('snp', claims.facts, trust)), [
    'evidence.kind:evidence.kind-not-accepted',
  ]);
  assert.deepEqual(failures(rescored({ roots: [AMD_ARK_MILAN] })), ['snp.chain.root:snp.root-untrusted']);
  for (const [i, der] of minted.certificates.entries()) {
    const { issuer, serial } = parseCertificate(der, '', AMD_DEVIATIONS);
    // The endorsement key has serial 0, as all of its kind: a revocation of it would take back every chip.
    const expected = i === 2 ? [] : ['snp.chain.revocation:certificate.revoked'];
    for (const spelled of [serial, Uint8Array.of(0, ...serial)])
      assert.deepEqual(failures(rescored({ revoked: [{ issuer, serial: spelled }] })), expected, `${i}`);
  }
  const { issuer } = parseCertificate(minted.certificates[2] as Uint8Array, '', AMD_DEVIATIONS);
  assert.deepEqual(failures(rescored({ revoked: [{ issuer, serial: new Uint8Array(0) }] })), []);
  const listed = collateralOf(crlItem(mintCrl('milan', { serials: [fromHex('0203010001')] })));
  assert.deepEqual(failures(rescored({ collateral: listed })), ['snp.chain.crl:certificate.revoked']);
  const higher: SnpPolicy['tcbFloors'] = [{ ...FLOOR, floor: { ...FLOOR.floor, microcode: 220 } }];
  assert.deepEqual(failures(rescored({ policy: { ...OPEN_POLICY, tcbFloors: higher } })), [
    'snp.tcb.floor:snp.tcb.floor',
  ]);
  const provisional = context(minted, 'milan', {
    policy: { ...base.policy, allowProvisionalFirmware: true },
  });
  const lower = mint({
    report: (report) => patched(report, 0x1e0, toHex(tcbBytes('milan', { ...TCB, snp: 4 }))),
  });
  const behind = appraiseSnp(lower.document, {
    ...provisional,
    policy: { ...provisional.policy, tcbFloors: 'allow-any' },
  });
  assert.deepEqual(failures(behind), []);
  assert.deepEqual(
    failures(rescored({}, behind.claims?.facts)),
    ['snp.tcb.floor:snp.tcb.floor'],
    'committed below',
  );
  const missing = rescored({ collateral: collateralOf(null) });
  assert.deepEqual([missing.verdict.ok, missing.collateralEndMs], [false, null]);
  for (const bytes of [
    new Uint8Array(0),
    claims.facts.subarray(1),
    concatBytes(claims.facts, Uint8Array.of(0)),
  ]) {
    const result = rescored({}, bytes);
    assert.equal(failures(result)[0]?.split(':')[0], 'snp.facts');
    assert.equal(result.verdict.ok, false);
  }
});

test('SNP-35 a revocation list is appraised on its own', () => {
  const ark = mintArk('milan');
  const root = mint().root;
  const trust = { crypto: nodeCrypto, nowMs: NOW_MS, roots: [root] };
  const crl = mintCrl('milan');
  const { verdict, facts } = appraiseAmdCrl(crlItem(crl, [ark]), trust);
  assert.equal(verdict.ok, true);
  assert.deepEqual(facts, {
    ref: { kind: 'amd-crl', rootCertificate: ark, scope: amdName('ARK-Milan') },
    simulated: true,
    version: [9, NOW_MS - 10 * DAY_MS],
    issuedMs: NOW_MS - 10 * DAY_MS,
    nextUpdateMs: NOW_MS + 30 * DAY_MS,
  });
  const large = caExtension.of(fromHex('0603551d14'), false, fromHex('020900ffffffffffffffff'));
  const cases: readonly (readonly [string, CollateralOf<'amd-crl'>, Partial<typeof trust>, string])[] = [
    ['no root', crlItem(crl), {}, 'amd-crl.chain:amd-crl.chain'],
    ['two certificates', crlItem(crl, [ark, ark]), {}, 'amd-crl.chain:amd-crl.chain'],
    ['no certificate', crlItem(crl, [crl]), {}, 'amd-crl.chain:der.tag'],
    [
      'a root not trusted',
      crlItem(crl, [ark]),
      { roots: [AMD_ARK_MILAN] },
      'amd-crl.root:snp.root-untrusted',
    ],
    ['no list', crlItem(new Uint8Array(0), [ark]), {}, 'amd-crl.form:der.tag'],
    [
      'a number beyond 2^53',
      crlItem(mintCrl('milan', { extensions: [large] }), [ark]),
      {},
      'amd-crl.form:crl.number',
    ],
    [
      "the ASK's signature",
      crlItem(mintCrl('milan', {}, CA_KEYS.ask.privateKey), [ark]),
      {},
      'amd-crl.signature:crl.signature',
    ],
    [
      'too early',
      crlItem(crl, [ark]),
      { nowMs: NOW_MS - 11 * DAY_MS },
      'amd-crl.window:collateral.not-yet-valid',
    ],
    ['too late', crlItem(crl, [ark]), { nowMs: NOW_MS + 31 * DAY_MS }, 'amd-crl.window:collateral.expired'],
  ];
  for (const [what, item, changes, failure] of cases) {
    const result = appraiseAmdCrl(item, { ...trust, ...changes });
    assert.deepEqual(failures(result), [failure], what);
    assert.equal(result.facts, null, what);
  }
  const portable = appraiseAmdCrl(crlItem(crl, [ark]), { ...trust, crypto: portableCrypto });
  assert.deepEqual(portable, { verdict, facts });
});

test('SNP-1 any bytes as document, report, extension or facts are an answer', () => {
  const minted = mint();
  const base = context(minted);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000 }), (bytes) => {
      assert.equal(appraiseSnp(bytes, base).verdict.ok, false);
      assert.equal(rescoreSnp(bytes, base).verdict.ok, false);
    }),
    { numRuns: 200 },
  );
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1184, maxLength: 1184 }),
      fc.integer({ min: 0, max: 6 }),
      (bytes, version) => {
        bytes.set([version, 0, 0, 0]);
        try {
          parseSnpReport(bytes);
        } catch (error) {
          assert.ok(error instanceof MalformedError);
        }
      },
    ),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(
      fc.constantFrom('1', '2', '3.1', '3.8', '4', '5', '7', '3.99'),
      fc.uint8Array({ maxLength: 80 }),
      (arcs, value) => {
        const extensions = [{ oid: `1.3.6.1.4.1.3704.1.${arcs}`, critical: false, value }];
        assert.throws(() => snpVekExtensions({ extensions }), MalformedError);
      },
    ),
    { numRuns: 200 },
  );
});

test('SNP-1 evidence with bytes changed at random is refused, whatever the place', () => {
  const minted = mint({ product: 'turin', version: 5 });
  const base = context(minted, 'turin');
  fc.assert(
    fc.property(fc.nat({ max: minted.document.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const document = minted.document.slice();
      document[at] = (document[at] as number) ^ mask;
      assert.equal(appraiseSnp(document, base).verdict.ok, false, `${at} ${mask}`);
    }),
    { numRuns: 300 },
  );
});
