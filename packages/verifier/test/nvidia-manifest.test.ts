/** Reference manifests by themselves: form, canonical form, chain, signature. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { concatBytes, fromHex, MalformedError, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import { truncationsAndExtensions } from '@haca/testkit';
import fc from 'fast-check';
import {
  NVIDIA_DEVICE_ROOT,
  NVIDIA_MANIFEST_CHECKS,
  NVIDIA_RIM_ROOT,
  type NvidiaManifest,
  type NvidiaManifestTrust,
  parseCertificate,
  parseNvidiaManifest,
  parsePemCertificates,
  verifyNvidiaManifest,
} from '../src/index.ts';
import { canonicalXml } from '../src/tee/nvidia/rim-canonical.ts';
import { parseNarrowXml, type XmlElement } from '../src/tee/nvidia/rim-xml.ts';
import { CA_EXTENSIONS, generalizedTime, LEAF_EXTENSIONS, newKey, utcTime } from './nvidia-fixture.ts';
import {
  DRIVER_MANIFEST,
  type ManifestPlan,
  mintManifest,
  mintManifestSigner,
  type RecordPlan,
  SIGNER_END_MS,
  type SignerChanges,
  SPACES,
  VBIOS_MANIFEST,
} from './nvidia-manifest-fixture.ts';
import { readVectorFile, vectorsMissing } from './nvidia-vectors.ts';

const skip = vectorsMissing;
const GENUINE = 'rim-vbios-1010_0200_882_96005E0001.swidtag';
/** The signer's last second: 2025-06-22T09:30:33Z. */
const GENUINE_END_MS = Date.UTC(2025, 5, 22, 9, 30, 33);
const GENUINE_START_MS = Date.UTC(2023, 5, 23, 9, 30, 33);
const MINTED_MS = Date.UTC(2026, 10, 20);

const genuineTrust: NvidiaManifestTrust = {
  crypto: nodeCrypto,
  nowMs: GENUINE_END_MS,
  roots: [NVIDIA_RIM_ROOT],
  revoked: [],
};

type Judged = ReturnType<typeof verifyNvidiaManifest>;

/** `id:code` of the failed checks without their common head, in order. */
function failuresOf({ checks }: Pick<Judged, 'checks'>): readonly string[] {
  return checks
    .filter(({ status }) => status === 'failed')
    .map(({ id, code }) => `${id}:${code}`.replace('nvidia.rim.', ''));
}

const signer = mintManifestSigner();
const mintedTrust: NvidiaManifestTrust = {
  crypto: nodeCrypto,
  nowMs: MINTED_MS,
  roots: [signer.root],
  revoked: [],
};

function judgeText(text: string, trust = mintedTrust): Judged {
  return verifyNvidiaManifest(utf8Encode(text), trust);
}

const minted = utf8Decode(mintManifest(signer, VBIOS_MANIFEST));

/** Failures of the minted manifest with one part of its text replaced; the part has to be there. */
function withText(part: string | RegExp, by: string): readonly string[] {
  const changed = minted.replace(part, () => by);
  assert.notEqual(changed, minted, `${part}`);
  return failuresOf(judgeText(changed));
}

function withPlan(change: Partial<ManifestPlan>): Judged {
  return verifyNvidiaManifest(mintManifest(signer, { ...VBIOS_MANIFEST, ...change }), mintedTrust);
}

function withRecord(change: Partial<RecordPlan>): readonly string[] {
  const [first, ...rest] = VBIOS_MANIFEST.records;
  return failuresOf(withPlan({ records: [{ ...(first as RecordPlan), ...change }, ...rest] }));
}

test('NVIDIA-33 NVIDIA-34 the genuine manifest, as long as its signer holds', { skip }, () => {
  const bytes = readVectorFile(GENUINE);
  const { checks, claims } = verifyNvidiaManifest(bytes, genuineTrust);
  assert.deepEqual(
    checks.map(({ id, status }) => `${id} ${status}`),
    NVIDIA_MANIFEST_CHECKS.map((id) => `${id} passed`),
  );
  const { measurements, certificateSha256, ...rest } = claims as NvidiaManifest;
  assert.deepEqual(rest, {
    kind: 'vbios',
    tagId: '560b6686b372407d02dea1bd3bcedf3865fff39a281705348b27edd21e5f32c6541642eb5db0a494a24884d60b009cfe',
    product: 'GH100',
    version: '96.00.5E.00.01',
    minimums: [],
    isSimulated: false,
    endMs: GENUINE_END_MS,
  });
  assert.equal(certificateSha256.length, 4);
  assert.deepEqual(
    measurements.map(({ index }) => index),
    Array.from({ length: 64 }, (_, index) => index),
  );
  assert.deepEqual(
    measurements.filter(({ active }) => active).map(({ index, values }) => [index, values.length]),
    [...[0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11].map((index) => [index, 1]), [12, 4]],
  );
  assert.equal(
    toHex(measurements[1]?.values[0] as Uint8Array),
    'c3f65ef79a19c029868cd7ce54b10e44f192444edb3506dde29cef2aac4e916c90a4f438e55aa7581a9e384c74d82db6',
  );
  assert.deepEqual(verifyNvidiaManifest(bytes, { ...genuineTrust, crypto: portableCrypto }), {
    checks,
    claims,
  });
  const at = (nowMs: number) => verifyNvidiaManifest(bytes, { ...genuineTrust, nowMs });
  assert.deepEqual(failuresOf(at(GENUINE_START_MS)), []);
  assert.deepEqual(failuresOf(at(GENUINE_START_MS - 1)), ['window:certificate.not-yet-valid']);
  const late = at(GENUINE_END_MS + 1);
  assert.deepEqual(failuresOf(late), ['window:certificate.expired']);
  assert.deepEqual(late.claims, claims, 'authentic all the same');
});

test('NVIDIA-34 the root for manifests is the published one and vouches for nothing else', { skip }, () => {
  const [der] = parsePemCertificates(utf8Decode(readVectorFile('nvidia-rim-root.pem')), 'root');
  assert.deepEqual(nodeCrypto.sha256(der as Uint8Array), NVIDIA_RIM_ROOT.sha256);
  const bytes = readVectorFile(GENUINE);
  for (const roots of [[NVIDIA_DEVICE_ROOT], [signer.root], []]) {
    const refused = verifyNvidiaManifest(bytes, { ...genuineTrust, roots });
    assert.deepEqual(failuresOf(refused), ['root:nvidia.rim.root-untrusted']);
    assert.equal(refused.claims, null);
  }
  assert.deepEqual(failuresOf(judgeText(minted, genuineTrust)), ['root:nvidia.rim.root-untrusted']);
  const simulated = [NVIDIA_RIM_ROOT, { ...NVIDIA_RIM_ROOT, simulated: true }];
  assert.equal(verifyNvidiaManifest(bytes, { ...genuineTrust, roots: simulated }).claims?.isSimulated, true);
});

test('NVIDIA-39 no byte of the genuine manifest can change', { skip }, () => {
  const bytes = readVectorFile(GENUINE);
  const trust = { ...genuineTrust, crypto: rememberSignatures(nodeCrypto, 4096) };
  const accepted: number[] = [];
  const codes = new Set<string>();
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] = (changed[at] as number) ^ 1;
    const result = verifyNvidiaManifest(changed, trust);
    const failures = failuresOf(result);
    if (failures.length === 0) accepted.push(at);
    for (const failure of failures) codes.add(failure);
  }
  assert.deepEqual(accepted, []);
  assert.ok(codes.size >= 20, `failures came in ${codes.size} kinds only: ${[...codes].join(', ')}`);
});

test('NVIDIA-39 the portable provider refuses the same', { skip }, () => {
  const bytes = readVectorFile(GENUINE);
  const native = { ...genuineTrust, crypto: rememberSignatures(nodeCrypto, 1024) };
  const portable = { ...genuineTrust, crypto: rememberSignatures(portableCrypto, 1024) };
  for (let bit = 0; bit < bytes.length * 8; bit += 1511) {
    const changed = bytes.slice();
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    const expected = failuresOf(verifyNvidiaManifest(changed, native));
    assert.ok(expected.length > 0, `bit ${bit}`);
    assert.deepEqual(failuresOf(verifyNvidiaManifest(changed, portable)), expected, `bit ${bit}`);
  }
});

test('NVIDIA-30 no part of a manifest, and nothing behind it but one line feed', { skip }, () => {
  const bytes = readVectorFile(GENUINE);
  for (const changed of truncationsAndExtensions(bytes)) {
    if (changed.length === bytes.length - 1) assert.doesNotThrow(() => parseNvidiaManifest(changed));
    else assert.throws(() => parseNvidiaManifest(changed), MalformedError, `${changed.length}`);
  }
});

test('NVIDIA-33 a minted manifest holds under its own root and is marked', () => {
  for (const plan of [VBIOS_MANIFEST, DRIVER_MANIFEST]) {
    const bytes = mintManifest(signer, plan);
    const result = verifyNvidiaManifest(bytes, mintedTrust);
    assert.deepEqual(failuresOf(result), []);
    assert.equal(result.claims?.isSimulated, true);
    assert.equal(result.claims?.kind, plan === VBIOS_MANIFEST ? 'vbios' : 'driver');
    assert.equal(result.claims?.endMs, SIGNER_END_MS);
    assert.deepEqual(verifyNvidiaManifest(bytes, { ...mintedTrust, crypto: portableCrypto }), result);
  }
});

test('NVIDIA-30 one spelling of XML and no other', () => {
  const form = (code: string) => [`form:${code}`];
  const root = '<SoftwareIdentity ';
  for (const head of [
    '<?xml version="1.0"?>\n',
    '<!DOCTYPE a>',
    '<!-- c -->',
    '<?p d?>',
    ' ',
    '\n',
    '\ufeff',
  ])
    assert.match(
      failuresOf(judgeText(head + minted))[0] as string,
      /^form:xml\.(malformed|character)$/,
      head,
    );
  const bomb = `<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>${minted.replace('GPU', '&c;')}`;
  assert.deepEqual(failuresOf(judgeText(bomb)), form('xml.malformed'));
  for (const [part, by, code] of [
    ['GPU', '&amp;', 'xml.malformed'],
    ['GPU', '&#71;PU', 'xml.malformed'],
    ['GPU', 'G>U', 'xml.malformed'],
    ['GPU', 'G\nU', 'xml.malformed'],
    ['GPU', 'G\tU', 'xml.character'],
    ['GPU', 'G\rU', 'xml.character'],
    ['GPU', 'G\0U', 'xml.character'],
    ['GPU', 'GÜ', 'xml.character'],
    ['"GPU"', "'GPU'", 'xml.malformed'],
    ['"GPU"', '"GPU" ', 'xml.malformed'],
    ['edition="GPU"', 'edition ="GPU"', 'xml.malformed'],
    ['edition="GPU"', 'edition= "GPU"', 'xml.malformed'],
    ['edition="GPU"', 'edition="GPU"\n', 'xml.malformed'],
    ['edition="GPU"', 'edition="GPU" edition="GPU"', 'xml.duplicate-attribute'],
    ['edition="GPU"', 'ns2:a="1" SHA:a="1"', 'xml.prefix'],
    ['edition="GPU"', 'edition="GPU" xml:lang="en"', 'xml.prefix'],
    ['edition="GPU"', 'edition="GPU" xmlns:ns0="urn:x"', 'xml.namespace'],
    ['edition="GPU"', 'edition="GPU" xmlns:new=""', 'xml.namespace'],
    ['edition="GPU"', 'edition="GPU" xmlns:new="relative"', 'xml.namespace'],
    ['edition="GPU"', 'edition="GPU" xmlns:new="urn:with blank"', 'xml.namespace'],
    ['edition="GPU"', 'edition="GPU" xmlns:xml="urn:x"', 'xml.namespace'],
    [
      'edition="GPU"',
      'edition="GPU" xmlns:x="http://www.w3.org/XML/1998/namespace" x:lang="en"',
      'xml.namespace',
    ],
    ['edition="GPU"', 'edition="GPU" xmlns:xmlns="urn:x"', 'xml.namespace'],
    ['edition="GPU"', `edition="${'G'.repeat(1025)}"`, 'xml.value'],
    ['edition="GPU"', `${'e'.repeat(65)}="GPU"`, 'xml.name'],
    ['edition="GPU"', Array.from({ length: 70 }, (_, i) => `e${i}=""`).join(' '), 'xml.attributes'],
    [root, '<a:SoftwareIdentity ', 'xml.prefix'],
    ['</SoftwareIdentity>', '</SoftwareIdentity >', 'xml.malformed'],
    ['</SoftwareIdentity>', '</softwareIdentity>', 'xml.malformed'],
    ['</SoftwareIdentity>\n', '</SoftwareIdentity>\n\n', 'xml.trailing'],
    ['</SoftwareIdentity>\n', '</SoftwareIdentity><a/>', 'xml.trailing'],
    ['<ns0:Entity', '<ns0:Entity></ns0:Entity><ns0:Entity', 'xml.empty'],
    ['<ns0:Entity', '<!-- c --><ns0:Entity', 'xml.malformed'],
    ['<ns0:Entity', '<![CDATA[ ]]><ns0:Entity', 'xml.malformed'],
    ['<ns0:Entity', ']]><ns0:Entity', 'xml.malformed'],
    ['<ns0:Entity', `${'<ns0:a>'.repeat(9)}<ns0:Entity`, 'xml.depth'],
    ['<ns0:Entity', `${'<ns0:a/>'.repeat(2100)}<ns0:Entity`, 'xml.elements'],
    [' role=', '  role=', 'xml.malformed'],
    ['tagCreator"/>', 'tagCreator" />', 'xml.malformed'],
  ] as const)
    assert.deepEqual(withText(part, by), form(code), by.slice(0, 80));
  assert.deepEqual(failuresOf(judgeText(`${minted}${' '.repeat(256 * 1024)}`)), form('xml.too-large'));
  assert.deepEqual(failuresOf(judgeText('')), form('xml.malformed'));
  assert.deepEqual(failuresOf(judgeText('<'.repeat(200_000))), form('xml.malformed'));
  assert.deepEqual(failuresOf(judgeText('<a>'.repeat(60_000))), form('xml.depth'));
});

test('NVIDIA-31 what is read is what is signed: wrapping, second signatures, other places', () => {
  const signature = minted.slice(minted.indexOf('<ds:Signature'), minted.indexOf('</SoftwareIdentity>'));
  const payload = minted.slice(minted.indexOf('<ns0:Payload'), minted.indexOf('<ds:Signature'));
  const meta = (minted.match(/<ns0:Meta [^>]*\/>/) as RegExpMatchArray)[0];
  const other = payload.replaceAll('"False"', '"True"');
  for (const [part, by, code] of [
    [signature, '', 'nvidia.rim.signature-form'],
    [signature, `${signature}${signature}`, 'nvidia.rim.element'],
    [signature, `${signature}${payload}`, 'nvidia.rim.signature-form'],
    [payload, `${payload}${payload}`, 'nvidia.rim.element'],
    [payload, `${other}${payload}`, 'nvidia.rim.element'],
    [payload, `<ns0:Payload xmlns:SHA384="${SPACES.sha384}"/>${payload}`, 'nvidia.rim.element'],
    [payload, '', 'nvidia.rim.element'],
    [meta, '', 'nvidia.rim.element'],
    [meta, `${meta}${meta}`, 'nvidia.rim.element'],
    [meta, `<ns0:Evidence>${payload}</ns0:Evidence>${meta}`, 'nvidia.rim.element'],
    [meta, `${meta.replace('/>', '>')} </ns0:Meta>`, 'nvidia.rim.element'],
    ['<ns0:Entity ', `<ns0:Resource type="Measurement"/><ns0:Entity `, 'nvidia.rim.element'],
    ['<ns0:Entity ', `<ns2:Entity `, 'nvidia.rim.element'],
    ['<ns0:Entity ', `text<ns0:Entity `, 'nvidia.rim.element'],
    ['<ns0:Resource ', `text<ns0:Resource `, 'nvidia.rim.element'],
    ['<ns0:Resource ', `<ns2:Resource `, 'nvidia.rim.element'],
    [
      '<ds:SignatureValue>',
      '<ds:Object><ns0:a/></ds:Object><ds:SignatureValue>',
      'nvidia.rim.signature-form',
    ],
    ['<ds:SignatureValue>', '\n<ds:SignatureValue>', 'nvidia.rim.signature-form'],
    ['</ds:KeyInfo>', '</ds:KeyInfo><ds:Object/>', 'nvidia.rim.signature-form'],
    ['<ds:X509Data>', '<ds:KeyName>k</ds:KeyName><ds:X509Data>', 'nvidia.rim.signature-form'],
    ['<ds:Reference URI="">', '<ds:Reference URI="#payload">', 'nvidia.rim.algorithm'],
    ['<ds:Reference URI="">', '<ds:Reference>', 'nvidia.rim.algorithm'],
    ['<ds:Reference URI="">', '<ds:Reference URI="" Id="a">', 'nvidia.rim.algorithm'],
    ['<ds:Signature xmlns:ds=', '<ds:Signature Id="a" xmlns:ds=', 'nvidia.rim.algorithm'],
    ['<ds:SignedInfo>', '<ds:SignedInfo Id="a">', 'nvidia.rim.algorithm'],
    ['<ds:SignedInfo>', '<ds:SignedInfo xmlns:new="urn:new">', 'nvidia.rim.signature-form'],
  ] as const)
    assert.deepEqual(withText(part, by), [`form:${code}`], by.slice(0, 80));
  const reference = (minted.match(/<ds:Reference .*<\/ds:Reference>/) as RegExpMatchArray)[0];
  assert.deepEqual(withText(reference, `${reference}${reference}`), ['form:nvidia.rim.signature-form']);
  const moved = minted.replace(signature, '').replace('<ns0:Entity', () => `${signature}<ns0:Entity`);
  assert.deepEqual(failuresOf(judgeText(moved)), ['form:nvidia.rim.signature-form']);
  const nested = minted
    .replace(signature, '')
    .replace('    </ns0:Payload>', () => `${signature}</ns0:Payload>`);
  assert.deepEqual(failuresOf(judgeText(nested)), ['form:nvidia.rim.signature-form']);
  // The whole signed document inside another one.
  const wrapped = `<SoftwareIdentity xmlns="${SPACES.swid}">${minted.trimEnd()}${signature}</SoftwareIdentity>`;
  assert.notDeepEqual(failuresOf(judgeText(wrapped)), []);
});

test('NVIDIA-33 one set of algorithms', () => {
  const c14n = 'http://www.w3.org/2006/12/xml-c14n11';
  for (const [part, by] of [
    [
      `CanonicalizationMethod Algorithm="${c14n}"`,
      'CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"',
    ],
    [`CanonicalizationMethod Algorithm="${c14n}"`, `CanonicalizationMethod Algorithm="${c14n}#WithComments"`],
    [`Transform Algorithm="${c14n}"`, 'Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"'],
    ['#enveloped-signature', '#base64'],
    ['xmldsig-more#ecdsa-sha384', 'xmldsig-more#ecdsa-sha256'],
    ['xmldsig-more#ecdsa-sha384', 'xmldsig-more#hmac-sha384'],
    ['xmldsig-more#sha384', 'xmldsig-more#sha224'],
    [/Algorithm="[^"]*#ecdsa-sha384"/, 'Algorithm="" Algorithm2=""'],
  ] as const)
    assert.deepEqual(withText(part, by), ['form:nvidia.rim.algorithm'], by);
  const transform = `<ds:Transform Algorithm="${c14n}"/>`;
  assert.deepEqual(withText(transform, ''), ['form:nvidia.rim.signature-form']);
  assert.deepEqual(withText(transform, `${transform}${transform}`), ['form:nvidia.rim.signature-form']);
  assert.deepEqual(withText(transform, transform.replace('/>', '><ds:XPath/></ds:Transform>')), [
    'form:nvidia.rim.element',
  ]);
  assert.deepEqual(withText(/<ds:DigestValue>./, '<ds:DigestValue>'), ['form:nvidia.rim.base64']);
  assert.deepEqual(withText(/<ds:SignatureValue>./, '<ds:SignatureValue>\n'), ['form:nvidia.rim.base64']);
  assert.deepEqual(withText(/.<\/ds:SignatureValue>/, '=</ds:SignatureValue>'), ['form:nvidia.rim.base64']);
  assert.deepEqual(withText(/<ds:SignatureValue>[^<]*</, '<ds:SignatureValue><ds:a/><'), [
    'form:nvidia.rim.element',
  ]);
});

test('NVIDIA-33 everything that is not the signature is under the digest', () => {
  const digest = ['digest:nvidia.rim.digest'];
  for (const [part, by] of [
    ['edition="GPU"', 'edition="CPU"'],
    ['edition="GPU"', 'edition="GPU" added="1"'],
    ['active="True"', 'active="False"'],
    ['    <ns0:Entity', '   <ns0:Entity'],
    ['</ds:Signature>', '</ds:Signature>\n'],
    ['role="softwareCreator', 'role="softwareCreator '],
    ['xmlns:SHA384=', 'xmlns:SHA385='],
    ['<ns0:Entity ', '<ns0:Link href="a"/><ns0:Entity '],
    [/index="63" active="False"/, 'index="64" active="False"'],
    ['ns1:PlatformModel="GH100"', 'ns1:PlatformModel="GB100"'],
  ] as const)
    assert.deepEqual(withText(part, by), digest, by);
  // Prefixes and their namespaces are part of the canonical form, also where they are around the signed part alone.
  assert.deepEqual(withText(` xmlns:ns2=`, ` xmlns:ns9="urn:9" xmlns:ns2=`), [
    'signature:nvidia.rim.signature',
  ]);
  assert.deepEqual(failuresOf(judgeText(minted.replaceAll('ds:', 'dt:').replace('xmlns:ds', 'xmlns:dt'))), [
    'signature:nvidia.rim.signature',
  ]);
  const others = mintManifest({ ...signer, key: newKey() }, VBIOS_MANIFEST);
  assert.deepEqual(failuresOf(verifyNvidiaManifest(others, mintedTrust)), ['signature:nvidia.rim.signature']);
  assert.equal(verifyNvidiaManifest(others, mintedTrust).claims, null);
});

test('NVIDIA-39 what may change without notice, and changes nothing that is read', () => {
  const original = judgeText(minted).claims;
  for (const changed of [
    minted.replace('name="GH100" patch="false"', 'patch="false" name="GH100"'),
    minted.replace(/(xmlns:ns0="[^"]*") (xmlns:ns2="[^"]*")/, '$2 $1'),
    minted.trimEnd(),
    minted.replaceAll(
      /<ds:X509Certificate>([^<]*)</g,
      (_, body: string) => `<ds:X509Certificate>${body.replaceAll('\n', '')}<`,
    ),
    minted.replaceAll('\n</ds:X509Certificate>', '</ds:X509Certificate>'),
  ]) {
    assert.notEqual(changed, minted);
    const result = judgeText(changed);
    assert.deepEqual(failuresOf(result), []);
    assert.deepEqual(result.claims, original);
  }
  const order = BigInt(`0x${'f'.repeat(48)}c7634d81f4372ddf581a0db248b0a77aecec196accc52973`);
  const twin = minted.replace(/<ds:SignatureValue>([^<]*)</, (_, text: string) => {
    const value = Buffer.from(text, 'base64');
    const s = order - BigInt(`0x${value.subarray(48).toString('hex')}`);
    const other = concatBytes(value.subarray(0, 48), fromHex(s.toString(16).padStart(96, '0')));
    return `<ds:SignatureValue>${Buffer.from(other).toString('base64')}<`;
  });
  assert.notEqual(twin, minted);
  assert.deepEqual(judgeText(twin).claims, original);
});

test('NVIDIA-34 certificates: number, order, encoding', () => {
  const [first] = minted.match(/<ds:X509Certificate>[^<]*<\/ds:X509Certificate>/) as RegExpMatchArray;
  const form = ['form:nvidia.rim.signature-form'];
  assert.deepEqual(withText(first, ''), form);
  assert.deepEqual(withText(first, `${first}${first}`), form);
  const base64 = ['form:nvidia.rim.base64'];
  for (const by of [
    '<ds:X509Certificate>\n',
    '<ds:X509Certificate> ',
    '<ds:X509Certificate>-',
    '<ds:X509Certificate>A',
  ])
    assert.deepEqual(withText('<ds:X509Certificate>', by), base64, by);
  assert.deepEqual(withText(first, first.replace('\n', '')), base64);
  assert.deepEqual(withText(first, first.replace('\n</', '\n\n</')), base64);
  assert.deepEqual(withText(first, `<ds:X509Certificate>${'A'.repeat(6000)}</ds:X509Certificate>`), base64);
  assert.deepEqual(withText(first, '<ds:X509Certificate>AAAA</ds:X509Certificate>'), [
    'certificates:der.tag',
  ]);
  const reversed = { ...signer, certificates: [...signer.certificates].reverse() };
  assert.deepEqual(failuresOf(verifyNvidiaManifest(mintManifest(reversed, VBIOS_MANIFEST), mintedTrust)), [
    'root:nvidia.rim.root-untrusted',
  ]);
});

function signedBy(changes: SignerChanges): readonly string[] {
  const own = mintManifestSigner(changes);
  const trust = { ...mintedTrust, roots: [own.root] };
  return failuresOf(verifyNvidiaManifest(mintManifest(own, VBIOS_MANIFEST), trust));
}

test('NVIDIA-34 the chain is held to what every position may be', () => {
  assert.deepEqual(signedBy({}), []);
  assert.deepEqual(signedBy({ 0: { extensions: CA_EXTENSIONS } }), ['profile:certificate.leaf-is-ca']);
  assert.deepEqual(signedBy({ 1: { extensions: LEAF_EXTENSIONS } }), ['profile:certificate.not-a-ca']);
  assert.deepEqual(signedBy({ 2: { extensions: LEAF_EXTENSIONS } }), ['profile:certificate.not-a-ca']);
  assert.deepEqual(signedBy({ 0: { issuer: 'Somebody' } }), ['names:certificate.issuer']);
  assert.deepEqual(signedBy({ 0: { subject: 'Test Reference Value L3' } }), [
    'names:certificate.self-issued',
  ]);
  assert.deepEqual(signedBy({ 0: { issuerKey: newKey() } }), ['signatures:certificate.signature']);
  assert.deepEqual(signedBy({ 2: { issuerKey: newKey() } }), ['signatures:certificate.signature']);
  const ended = [utcTime('240101000000Z'), utcTime('250101000000Z')] as const;
  for (const at of [0, 1, 2, 3]) {
    assert.deepEqual(signedBy({ [at]: { validity: ended } }), ['window:certificate.expired'], `${at}`);
  }
  const later = [generalizedTime('20270101000000Z'), generalizedTime('20330101000000Z')] as const;
  assert.deepEqual(signedBy({ 1: { validity: later } }), ['window:certificate.not-yet-valid']);
});

test('NVIDIA-34 times before 2050 in the longer form are for manifests alone', { skip }, () => {
  const [, , issuer] = parseNvidiaManifest(readVectorFile(GENUINE)).certificates;
  assert.throws(() => parseCertificate(issuer as Uint8Array, 'certificate'), MalformedError);
});

test('NVIDIA-34 certificates that are known to be revoked', () => {
  for (const der of signer.certificates) {
    const { issuer, serial } = parseCertificate(der, 'c', ['generalized-time']);
    const trust = { ...mintedTrust, revoked: [{ issuer, serial }] };
    const result = verifyNvidiaManifest(utf8Encode(minted), trust);
    assert.deepEqual(failuresOf(result), ['revoked:certificate.revoked']);
    assert.notEqual(result.claims, null);
  }
});

test('NVIDIA-32 records: indices, alternatives, sizes', () => {
  const code = (name: string) => [`form:nvidia.rim.${name}`];
  const value = 'ab'.repeat(48);
  assert.deepEqual(withRecord({ values: [value, value.toUpperCase()] }), []);
  assert.deepEqual(withRecord({ values: [value, 'ab'.repeat(47)] }), code('size'));
  assert.deepEqual(withRecord({ values: [`${value.slice(0, 95)}g`] }), ['form:hex.digit']);
  assert.deepEqual(withRecord({ values: [] }), code('alternatives'));
  assert.deepEqual(withRecord({ values: [`${value}00`] }), code('attribute'));
  assert.deepEqual(withRecord({ values: Array.from({ length: 33 }, () => value) }), code('attribute'));
  assert.deepEqual(withRecord({ index: 1 }), code('duplicate-index'));
  assert.deepEqual(withRecord({ index: 255 }), code('record'));
  assert.deepEqual(withRecord({ index: 4095 }), code('record'));
  assert.deepEqual(withRecord({ index: 0x1000 + 0x1_0000 }), code('attribute'));
  assert.deepEqual(failuresOf(withPlan({ records: [] })), code('empty'));
  const inactive = VBIOS_MANIFEST.records.map((each) => ({ ...each, active: false }));
  assert.deepEqual(failuresOf(withPlan({ records: inactive })), code('empty'));
  const many = Array.from({ length: 513 }, (_, i) => ({
    index: 0x1000 + i,
    active: true,
    values: [],
    minimum: 1,
  }));
  assert.deepEqual(failuresOf(withPlan({ records: many })), code('records'));
  for (const [part, by, expected] of [
    ['index="0"', 'index="00"', 'attribute'],
    ['index="0"', 'index="-1"', 'attribute'],
    ['index="0"', 'index="0x0"', 'attribute'],
    ['index="0"', 'index=""', 'attribute'],
    [' index="0"', '', 'attribute'],
    ['active="True"', 'active="true"', 'record'],
    ['active="True"', 'active=""', 'attribute'],
    ['active="True" ', '', 'attribute'],
    ['alternatives="1"', 'alternatives="0"', 'alternatives'],
    ['alternatives="1"', 'alternatives="2"', 'alternatives'],
    [' ns2:Hash0=', ' ns2:Hash1=', 'attribute'],
    [' ns2:Hash0=', ' ns2:hash0=', 'record'],
    [' ns2:Hash0=', ' Hash0=', 'record'],
    [' ns2:Hash0=', ' ns2:Hash1="00" ns2:Hash0=', 'alternatives'],
    [' ns2:Hash0=', ' ns3:minSvn="1" ns2:Hash0=', 'alternatives'],
    [' ns2:Hash0=', ' SHA384:Hash1="00" alternativesTo="1" ns2:Hash0=', 'record'],
    ['type="Measurement"', 'type="Certificate"', 'record'],
    ['size="48"', 'size="47"', 'size'],
    ['size="48"', 'size="0"', 'size'],
    ['name="Measurement_0" ', '', 'attribute'],
    [' colloquialVersion="96.00.9F.00.01"', '', 'attribute'],
    ['colloquialVersion="96.00.9F.00.01"', 'colloquialVersion="96.00.9F.00"', 'version-form'],
    ['colloquialVersion="96.00.9F.00.01"', 'colloquialVersion="5500.90"', 'version-form'],
    [' product="GH100"', '', 'attribute'],
    [` tagId="${VBIOS_MANIFEST.tagId}"`, '', 'attribute'],
  ] as const)
    assert.deepEqual(withText(part, by), code(expected), by);
  assert.deepEqual(withText(' ns2:Hash0=', ' SHA384:Hash0="00" ns2:Hash0='), [
    'form:xml.duplicate-attribute',
  ]);
});

test('NVIDIA-37 minimums of fields are records of their own', () => {
  const field = (change: Partial<RecordPlan>): Judged =>
    withPlan({
      records: [
        ...VBIOS_MANIFEST.records,
        { index: 0x1000 + 60, active: true, values: [], minimum: 7, ...change },
      ],
    });
  assert.deepEqual(failuresOf(field({ name: 'GSP_SVN' })), []);
  assert.deepEqual(field({ name: 'GSP_SVN' }).claims?.minimums, [
    { fieldType: 60, name: 'GSP_SVN', minimum: 7 },
  ]);
  assert.deepEqual(field({ active: false }).claims?.minimums, []);
  assert.deepEqual(failuresOf(field({ minimum: -1 })), ['form:nvidia.rim.attribute']);
  assert.deepEqual(failuresOf(field({ minimum: 1.5 })), ['form:nvidia.rim.attribute']);
  assert.deepEqual(failuresOf(field({ index: 3 })), ['form:nvidia.rim.duplicate-index']);
  const digest: RecordPlan = { index: 0x1000, active: true, values: ['ab'.repeat(48)] };
  assert.deepEqual(failuresOf(withPlan({ records: [...VBIOS_MANIFEST.records, digest] })), [
    'form:nvidia.rim.record',
  ]);
});

interface PlannedElement {
  readonly name: string;
  readonly declared: readonly string[];
  readonly attributes: readonly string[];
  readonly children: readonly (PlannedElement | string)[];
}

const { element: plannedElement } = fc.letrec<{ element: PlannedElement }>((tie) => ({
  element: fc.record({
    name: fc.constantFrom('a', 'b', 'p:a', 'q:b'),
    declared: fc.uniqueArray(fc.constantFrom('', 'r', 's', 't'), { maxLength: 3 }),
    attributes: fc.uniqueArray(fc.constantFrom('a', 'B', 'c1', 'c10', 'p:a', 'q:a', 'p:Z', 'q:_'), {
      maxLength: 5,
    }),
    children: fc.array(fc.oneof({ maxDepth: 3 }, fc.constantFrom('x', ' ', '\n', '"]\''), tie('element')), {
      maxLength: 3,
    }),
  }),
}));

/** Prefixes that are in scope are not declared again, and texts do not meet. `turn` changes orders alone. */
function written(
  { name, declared, attributes, children }: PlannedElement,
  turn: number,
  known: readonly string[],
): string {
  const fresh = declared.filter((prefix) => !known.includes(prefix));
  const items = [
    ...fresh.map((prefix) => (prefix === '' ? 'xmlns="urn:d"' : `xmlns:${prefix}="urn:${prefix}"`)),
    ...attributes.map((attribute, i) => `${attribute}="v${i}"`),
  ];
  const turned = [...items.slice(turn % (items.length + 1)), ...items.slice(0, turn % (items.length + 1))];
  const head = [name, ...turned].join(' ');
  const inside = children
    .filter((child, i) => typeof child !== 'string' || typeof children[i - 1] !== 'string')
    .map((child) => (typeof child === 'string' ? child : written(child, turn, [...known, ...fresh])));
  return inside.length === 0 ? `<${head}/>` : `<${head}>${inside.join('')}</${name}>`;
}

test('NVIDIA-33 the canonical form depends on no order, and is its own canonical form', () => {
  const canonical = (text: string): string =>
    utf8Decode(canonicalXml(parseNarrowXml(utf8Encode(text), 'test'), null));
  const document = (plan: PlannedElement, turn: number): string =>
    `<root xmlns:q="urn:1" xmlns:p="urn:2">${written(plan, turn, ['q', 'p'])}</root>`;
  fc.assert(
    fc.property(plannedElement, fc.nat(8), (plan, turn) => {
      const form = canonical(document(plan, 0));
      assert.equal(canonical(document(plan, turn)), form);
      assert.equal(canonical(form.replaceAll(/<([a-z:]+)((?: [^<>]*)?)><\/\1>/g, '<$1$2/>')), form);
    }),
    { numRuns: 300 },
  );
});

test('NVIDIA-33 the canonical form by hand', () => {
  const text =
    '<r xmlns:b="urn:1" z="1" xmlns="urn:d" xmlns:a="urn:2" b:z="2" a:a="3" A="4" Hash10="5" Hash1="6"><e/>\n t<b:f xmlns:c="urn:0" c:x="7" b:y="8">"</b:f></r>';
  const root = parseNarrowXml(utf8Encode(text), 'test');
  const inner = '<b:f xmlns:c="urn:0" c:x="7" b:y="8">"</b:f>';
  const head =
    '<r xmlns="urn:d" xmlns:a="urn:2" xmlns:b="urn:1" A="4" Hash1="6" Hash10="5" z="1" b:z="2" a:a="3">';
  assert.equal(utf8Decode(canonicalXml(root, null)), `${head}<e></e>\n t${inner}</r>`);
  const last = root.children.at(-1) as XmlElement;
  assert.equal(utf8Decode(canonicalXml(root, last)), `${head}<e></e>\n t</r>`);
  const own = '<b:f xmlns="urn:d" xmlns:a="urn:2" xmlns:b="urn:1" xmlns:c="urn:0" c:x="7" b:y="8">"</b:f>';
  assert.equal(utf8Decode(canonicalXml(last, null)), own);
});

test('NVIDIA-30 total for every byte string', () => {
  const isRefused = (bytes: Uint8Array): void => {
    const { claims } = verifyNvidiaManifest(bytes, {
      ...mintedTrust,
      crypto: rememberSignatures(nodeCrypto, 64),
    });
    assert.equal(claims, null);
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), isRefused), { numRuns: 200 });
  const pieces = [
    '<',
    '>',
    '/',
    '=',
    '"',
    ' ',
    '\n',
    ':',
    'a',
    'xmlns',
    'ds:Signature',
    '<a>',
    '</a>',
    '<a b="c"/>',
    '&',
    ']]>',
    '-->',
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 60 }), (parts) =>
      isRefused(utf8Encode(parts.join(''))),
    ),
    { numRuns: 300 },
  );
});
