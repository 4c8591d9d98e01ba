import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { toHex } from '@haca/primitives';
import type { Collateral } from '@haca/protocol';
import { appraiseCollateral, rescoreEvidence, rescoreIntel, type TcbStatus } from '../src/index.ts';
import {
  appraiseMinted,
  type CertificateOptions,
  extension,
  hex,
  KEYS,
  levelJson,
  mint,
  mintedTrust,
  moduleIdentityJson,
  NOW_MS,
  name,
  newKey,
  pckExtension,
  pckMembers,
  pem,
  quoteOf,
  ROOT,
  rootCertificate,
  SERIAL,
  serialOf,
  signedPiece,
  signerCertificate,
  svnLevelJson,
  svns,
  tcbInfoJson,
  WORLD,
  type World,
  withPiece,
} from './intel-fixture.ts';
import { failures, OPEN_SGX, OPEN_TDX, type Piece, skips, sourceOf } from './intel-vectors.ts';

const DAY_MS = 86_400_000;
const of = (changes: Partial<World>) => failures(appraiseMinted(mint(changes)));
const qe = (changes: Partial<World['qe']>): Partial<World> => ({ qe: { ...WORLD.qe, ...changes } });
const td = (changes: Partial<World['td']>): Partial<World> => ({ td: { ...WORLD.td, ...changes } });
const pck = (changes: Partial<World['pck']>): Partial<World> => ({ pck: { ...WORLD.pck, ...changes } });

test('INTEL-6 INTEL-45 quotes of every version and body are accepted under their own root, and marked', () => {
  const worlds: readonly Partial<World>[] = [
    {},
    { version: 5 },
    { version: 5, ...td({ teeTcbSvn2: WORLD.td.teeTcbSvn }) },
    { version: 5, ...td({ teeTcbSvn2: WORLD.td.teeTcbSvn, extension: new Uint8Array(237) }) },
    { kind: 'sgx', version: 3 },
    { kind: 'sgx', version: 4 },
    { kind: 'sgx', version: 5 },
    pck({ isPlatform: false }),
  ];
  for (const world of worlds) {
    const { verdict, claims } = appraiseMinted(mint(world));
    assert.equal(
      verdict.ok,
      true,
      JSON.stringify(verdict.checks.filter(({ status }) => status !== 'passed')),
    );
    assert.equal(claims?.isSimulated, true);
    assert.equal(claims?.tcb?.status, 'UpToDate');
  }
});

test('INTEL-22 a revoked PCK, PCK CA or TCB signer is refused, also by an old list', () => {
  assert.deepEqual(of({ pckCrl: { serials: [77, SERIAL.pck] } }), [
    'tdx.pck-crl.revocation:certificate.revoked',
  ]);
  assert.deepEqual(of({ rootCrl: { serials: [SERIAL.ca] } }), [
    'tdx.root-crl.revocation:certificate.revoked',
  ]);
  assert.deepEqual(of({ rootCrl: { serials: [SERIAL.signer] } }), [
    'tdx.qe-identity.signer-revocation:certificate.revoked',
    'tdx.tcb-info.signer-revocation:certificate.revoked',
  ]);
  const old = { fromMs: NOW_MS - 9 * DAY_MS, toMs: NOW_MS - DAY_MS, serials: [SERIAL.pck] };
  assert.deepEqual(of({ pckCrl: old }), [
    'tdx.pck-crl.window:collateral.expired',
    'tdx.pck-crl.revocation:certificate.revoked',
  ]);
  assert.deepEqual(of({ pckCrl: { serials: [] } }), []);
  assert.deepEqual(of({ pckCrl: { serials: [SERIAL.ca, SERIAL.signer] } }), [], 'numbers of other issuers');
});

test('INTEL-21 a list needs a number, no critical extension, and the right issuer and key', () => {
  assert.deepEqual(of({ pckCrl: { number: null } }), ['tdx.pck-crl:crl.number']);
  assert.deepEqual(of({ pckCrl: { key: KEYS.root } }), ['tdx.pck-crl:crl.signature']);
  assert.deepEqual(of({ pckCrl: { issuer: 'Another CA' } }), ['tdx.pck-crl:crl.issuer']);
  const delta = extension('0603551d1b', true, hex('020101'));
  assert.deepEqual(of({ rootCrl: { extra: [delta] } }), ['tdx.root-crl:crl.critical-extension']);
  assert.deepEqual(of({ pckCrl: { fromMs: NOW_MS, toMs: NOW_MS } }), ['tdx.pck-crl:crl.window']);
  assert.deepEqual(of({ caCertificate: { usage: '03020204' } }), ['tdx.pck-crl:crl.issuer-key-usage']);
});

test('INTEL-20 INTEL-23 collateral under another root is worth nothing, whoever signed it', () => {
  const minted = mint();
  const foreign = { root: newKey(), signer: newKey() };
  const otherRoot = rootCertificate(foreign.root);
  const otherSigner = signerCertificate(foreign.signer, foreign.root);
  for (const index of [2, 3]) {
    const { item, ref } = minted.pieces[index] as Piece;
    assert.ok(item.kind === 'intel-tcb-info' || item.kind === 'intel-qe-identity');
    const { kind, issuerChain } = item;
    const [text, scope] = [item.body, ref.scope].map((bytes) => Buffer.from(bytes).toString()) as [
      string,
      string,
    ];
    const judged = (chain: readonly Uint8Array[], key: typeof foreign.signer) => {
      const forged = { ref, item: signedPiece(kind, scope, text, chain, key).item };
      return failures(appraiseMinted(minted, { pieces: withPiece(minted.pieces, index, forged) }))[0];
    };
    const name = kind.replace('intel-', 'tdx.');
    assert.equal(judged(issuerChain, KEYS.signer), undefined);
    assert.equal(judged([otherRoot, otherSigner], foreign.signer), `${name}.signer:collateral.other-root`);
    assert.equal(judged([ROOT, otherSigner], foreign.signer), `${name}.signer:certificate.signature`);
    assert.equal(judged(issuerChain, foreign.signer), `${name}.signature:collateral.signature`);
    for (const chain of [[], [ROOT], [...issuerChain, ROOT], [...issuerChain].reverse()])
      assert.match(`${judged(chain, KEYS.signer)}`, /signer:collateral.(chain|other-root)/);
  }
});

test('INTEL-23 the signer is no CA, signed by the root, named as one, and current', () => {
  const signer = (change: Partial<CertificateOptions>) => of({ signerCertificate: change });
  assert.deepEqual(signer({ isCa: true })[0], 'tdx.qe-identity.signer:certificate.leaf-is-ca');
  assert.deepEqual(signer({ issuerKey: KEYS.ca })[0], 'tdx.qe-identity.signer:certificate.signature');
  assert.deepEqual(signer({ issuer: 'Another' })[0], 'tdx.qe-identity.signer:certificate.issuer');
  assert.deepEqual(
    signer({ subject: 'Test SGX PCK Certificate' })[0],
    'tdx.qe-identity.signer:certificate.subject',
  );
  const late = { fromMs: NOW_MS - 9 * DAY_MS, toMs: NOW_MS - DAY_MS };
  assert.deepEqual(signer(late), [
    'tdx.qe-identity.signer-window:certificate.expired',
    'tdx.tcb-info.signer-window:certificate.expired',
  ]);
});

test('INTEL-23 the PCK is no signer of collateral, nor is its CA', () => {
  const minted = mint();
  const [leaf, ca, root] = minted.chain as readonly [Uint8Array, Uint8Array, Uint8Array];
  const text = JSON.stringify(tcbInfoJson(WORLD));
  for (const [certificate, key] of [
    [leaf, KEYS.pck],
    [ca, KEYS.ca],
    [root, KEYS.root],
  ] as const) {
    const piece = signedPiece('intel-tcb-info', 'TDX:90c06f000000', text, [root, certificate], key);
    const result = appraiseMinted(minted, { pieces: withPiece(minted.pieces, 2, piece) });
    assert.match(`${failures(result)}`, /tcb-info.signer:certificate/);
    assert.equal(result.claims?.tcb, null);
  }
});

test('INTEL-11 INTEL-12 INTEL-15 the PCK chain has its profile, names and signatures', () => {
  const ca = (change: Partial<CertificateOptions>) => of({ caCertificate: change });
  assert.deepEqual(
    ca({ usage: '03020102' }),
    ['tdx.chain.profile:certificate.key-usage'],
    'without keyCertSign',
  );
  const leaf = (change: Partial<CertificateOptions>) => of({ pckCertificate: change });
  assert.deepEqual(ca({ isCa: false }), ['tdx.chain.profile:certificate.not-a-ca']);
  assert.deepEqual(leaf({ isCa: true }), ['tdx.chain.profile:certificate.leaf-is-ca']);
  assert.deepEqual(ca({ issuerKey: KEYS.pck }), ['tdx.chain.signatures:certificate.signature']);
  assert.deepEqual(leaf({ issuerKey: KEYS.root }), ['tdx.chain.signatures:certificate.signature']);
  assert.deepEqual(leaf({ issuer: 'Another' }), ['tdx.chain.names:certificate.issuer']);
  assert.deepEqual(leaf({ subject: 'Test SGX TCB Signing' }), ['tdx.chain.subjects:certificate.subject']);
  const unknown = extension('06032a0304', true, hex('0500'));
  const members = pckExtension(pckMembers(WORLD.pck).values());
  assert.deepEqual(leaf({ extra: [members, unknown] }), ['tdx.chain.profile:certificate.critical-extension']);
  const large = extension('06032a0304', false, new Uint8Array(1500));
  assert.deepEqual(leaf({ extra: [members, large] }), ['tdx.chain.certificates:certificate.too-large']);
  const late = ca({ fromMs: NOW_MS - 9 * DAY_MS, toMs: NOW_MS - DAY_MS });
  assert.deepEqual(late, ['tdx.chain.window:certificate.expired'], 'INTEL-13: noted alone');
});

test('INTEL-12 the chain has one order and no other certificates', () => {
  const minted = mint();
  const [leaf, ca, root] = minted.chain as readonly [Uint8Array, Uint8Array, Uint8Array];
  const withChain = (chain: readonly Uint8Array[]) =>
    failures(appraiseMinted(minted, { quote: quoteOf(WORLD, pem(chain)) }));
  assert.deepEqual(withChain([leaf, ca, root]), []);
  assert.deepEqual(withChain([root, ca, leaf]), ['tdx.chain.root:intel.root-untrusted']);
  assert.deepEqual(withChain([ca, leaf, root]), ['tdx.chain.profile:certificate.not-a-ca']);
  for (const chain of [[leaf, ca], [leaf, ca, root, root], [leaf]])
    assert.deepEqual(withChain(chain), ['tdx.certification-data:pem.malformed']);
  assert.deepEqual(withChain([leaf, root, root]), ['tdx.chain.names:certificate.self-issued']);
});

test('INTEL-44 the texts of one chain give one digest, and it hangs on what was signed', () => {
  const minted = mint();
  const digest = (quote: Uint8Array) => {
    const { verdict, claims } = appraiseMinted(minted, { quote });
    assert.equal(verdict.ok, true);
    return toHex(claims?.claimsDigest ?? new Uint8Array(0));
  };
  const texts = [
    ['\n', '\n\0'],
    ['\n', '\n'],
    ['\n', ''],
    ['\n', '\0'],
    ['\r\n', '\r\n\0'],
    ['\r\n', ''],
  ] as const;
  const digests = texts.map(([lineEnd, ending]) =>
    digest(quoteOf(WORLD, pem(minted.chain, lineEnd, ending))),
  );
  assert.equal(new Set(digests).size, 1);
  const other = mint(td({ reportData: new Uint8Array(64).fill(6) }));
  assert.notEqual(toHex(appraiseMinted(other).claims?.claimsDigest ?? new Uint8Array(0)), digests[0]);
  for (const [lineEnd, ending] of [
    ['\n', '\n\n'],
    ['\n', '\0\0'],
    ['\n', '\r\n'],
    ['\r\n', '\n'],
    ['\n', ' '],
    ['\r', '\r'],
  ] as const)
    assert.match(
      `${failures(appraiseMinted(minted, { quote: quoteOf(WORLD, pem(minted.chain, lineEnd, ending)) }))}`,
      /pem.malformed/,
    );
});

test('INTEL-44 the twin of a signature is the same quote', () => {
  const minted = mint();
  const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const quote = minted.quote.slice();
  const at = 48 + 584 + 4 + 32;
  const s = BigInt(`0x${toHex(quote.subarray(at, at + 32))}`);
  quote.set(hex((N - s).toString(16).padStart(64, '0')), at);
  const [a, b] = [appraiseMinted(minted), appraiseMinted(minted, { quote })];
  assert.equal(b.verdict.ok, true);
  assert.deepEqual(a.claims?.claimsDigest, b.claims?.claimsDigest);
});

test('INTEL-17 INTEL-18 INTEL-19 the quoting enclave binds the key that signs', () => {
  const minted = mint();
  const at = 48 + 584 + 4;
  const changed = (offset: number) => {
    const quote = minted.quote.slice();
    quote[at + offset] = (quote[at + offset] as number) ^ 1;
    return failures(appraiseMinted(minted, { quote }));
  };
  assert.deepEqual(changed(0), ['tdx.signature:tdx.signature']);
  assert.deepEqual(changed(64), ['tdx.qe.binding:tdx.qe.binding']);
  assert.deepEqual(changed(64 + 64 + 6 + 70), ['tdx.qe.report-signature:tdx.qe.report-signature']);
  assert.deepEqual(changed(64 + 64 + 6 + 384 + 64 + 2), ['tdx.qe.binding:tdx.qe.binding']);
  const tail = new Uint8Array(64);
  tail[0] = 1;
  assert.deepEqual(of(qe({ reportData: tail })), ['tdx.qe.binding:tdx.qe.binding']);
});

test('INTEL-30 the quoting enclave is the one of the identity, at a level, and not in debug mode', () => {
  const first = (changes: Partial<World>) => of(changes)[0];
  assert.equal(first(qe({ mrSigner: new Uint8Array(32) })), 'tdx.qe-identity.match:qe-identity.mr-signer');
  assert.equal(first(qe({ isvProdId: 1 })), 'tdx.qe-identity.match:qe-identity.isv-prod-id');
  assert.equal(first(qe({ miscSelect: hex('01000000') })), 'tdx.qe-identity.match:qe-identity.misc-select');
  const attributes = (first: string) => qe({ attributes: hex(`${first}00000000000000e700000000000000`) });
  assert.equal(first(attributes('35')), 'tdx.qe-identity.match:qe-identity.attributes');
  assert.equal(first(attributes('11')), undefined, 'a bit that the mask leaves out');
  const debug = of(attributes('17'));
  assert.ok(
    debug.includes('tdx.qe.debug:qe.debug') && debug.includes('tdx.qe-identity.match:qe-identity.attributes'),
  );
  const loose = { qeIdentity: { attributesMask: '00'.repeat(16), attributes: '00'.repeat(16) } };
  assert.deepEqual(of({ ...attributes('17'), ...loose }), ['tdx.qe.debug:qe.debug']);
  assert.deepEqual(of(qe({ isvSvn: 3 })), ['tdx.tcb.level:tcb.level', 'tdx.tcb.status:tcb.status']);
  for (const id of ['QE', 'QVE'])
    assert.equal(first({ qeIdentity: { id } }), 'tdx.qe-identity.match:qe-identity.id');
});

const statusOf = (changes: Partial<World>): TcbStatus | undefined =>
  appraiseMinted(mint(changes)).claims?.tcb?.status;

test('INTEL-30 INTEL-34 levels of the quoting enclave in the order given, and what they do to the platform', () => {
  const levels = (...statuses: readonly (readonly [number, string])[]): Partial<World> => ({
    qeIdentity: { tcbLevels: statuses.map(([svn, status]) => svnLevelJson({ svn, status })) },
  });
  assert.equal(statusOf(levels([5, 'UpToDate'], [4, 'OutOfDate'])), 'OutOfDate');
  assert.equal(
    statusOf(levels([3, 'OutOfDate'], [4, 'UpToDate'])),
    'OutOfDate',
    'the first that fits, not the best',
  );
  assert.equal(statusOf(levels([4, 'ConfigurationNeeded'])), 'UpToDate');
  assert.equal(statusOf(levels([4, 'OutOfDateConfigurationNeeded'])), 'OutOfDate');
  assert.equal(statusOf(levels([4, 'SWHardeningNeeded'])), 'Unsupported');
  assert.equal(statusOf(levels([4, 'Revoked'])), 'Revoked');
  assert.equal(statusOf(levels([5, 'UpToDate'])), 'Unsupported');
});

test('INTEL-31 the TDX module is the one of its identity', () => {
  const first = (changes: Partial<World>) => of(changes)[0];
  assert.equal(first(td({ mrSignerSeam: new Uint8Array(48).fill(1) })), 'tdx.module:module.mr-signer');
  assert.equal(first(td({ seamAttributes: hex('0100000000000000') })), 'tdx.module:module.attributes');
  assert.equal(first(td({ teeTcbSvn: Uint8Array.from(svns(6, 2, 3)) })), 'tdx.module:module.unknown');
  const identity = {
    ...moduleIdentityJson('TDX_01', [{ svn: 4, status: 'UpToDate' }]),
    attributes: '0100000000000000',
  };
  assert.equal(first({ tcbInfo: { tdxModuleIdentities: [identity] } }), 'tdx.module:module.attributes');
  assert.equal(
    first({
      tcbInfo: { tdxModuleIdentities: [identity] },
      ...td({ seamAttributes: hex('0100000000000000') }),
    }),
    'tdx.module:module.attributes',
    'zero is demanded whatever the identity says',
  );
  const versionZero = td({ teeTcbSvn: Uint8Array.from(svns(5, 0, 3)) });
  assert.deepEqual(of(versionZero), []);
  const module = { mrsigner: '01'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) };
  assert.equal(first({ ...versionZero, tcbInfo: { tdxModule: module } }), 'tdx.module:module.mr-signer');
  const lower = { tdxModuleIdentities: [moduleIdentityJson('tdx_01', [{ svn: 4, status: 'UpToDate' }])] };
  assert.deepEqual(of({ tcbInfo: lower }), [], 'ids are compared in upper case');
});

test('INTEL-29 TCB information of another family or PCE is not looked into', () => {
  const other = appraiseMinted(mint({ tcbInfo: { fmspc: '90c06f000001' } }));
  assert.deepEqual([failures(other), other.claims?.tcb], [['tdx.tcb-info.match:tcb-info.fmspc'], null]);
  assert.deepEqual(
    skips(other).filter((each) => !each.startsWith('tdx.tcb.')),
    ['tdx.module:not-reached'],
  );
  assert.deepEqual(of({ tcbInfo: { pceId: '0001' } }), ['tdx.tcb-info.match:tcb-info.pce-id']);
  assert.deepEqual(of({ tcbInfo: { fmspc: '90C06F000000' } }), []);
});

test('INTEL-39 INTEL-40 INTEL-41 attributes, debug mode and features are judged by policy', () => {
  const bits = (text: string, tdx = {}) =>
    failures(appraiseMinted(mint(td({ tdAttributes: hex(text) })), { tdx }));
  for (let bit = 0; bit < 8; bit++) {
    const text = `${toHex(Uint8Array.of(1 << bit))}00001000000000`;
    assert.deepEqual(bits(text), ['tdx.debug:intel.debug-mode'], text);
    assert.deepEqual(bits(text, { allowDebug: true }), []);
  }
  assert.deepEqual(bits('0001001000000000'), ['tdx.attributes.reserved:tdx.attributes.reserved']);
  assert.deepEqual(bits('0000001000000020'), ['tdx.attributes.reserved:tdx.attributes.reserved']);
  assert.deepEqual(bits('0000801000000000'), ['tdx.attributes.reserved:tdx.attributes.reserved']);
  assert.deepEqual(bits('0000011c00000000'), ['tdx.attributes.reserved:tdx.attributes.reserved']);
  assert.deepEqual(bits('00007ff8000000c0'), []);
  assert.deepEqual(bits('0000000000000000', { septVeDisable: true }), [
    'tdx.attributes.sept-ve-disable:tdx.attributes.sept-ve-disable',
  ]);
  assert.deepEqual(bits('0000001000000000', { septVeDisable: true, migratable: false }), []);
  assert.deepEqual(bits('0000003000000000', { migratable: false }), [
    'tdx.attributes.migratable:tdx.attributes.migratable',
  ]);
  assert.deepEqual(bits('0000001000000000', { xfam: new Uint8Array(8) }), []);
  assert.deepEqual(bits('0000001000000000', { xfam: hex('e700060000000000') }), ['tdx.xfam:tdx.xfam']);
  assert.deepEqual(bits('0000001000000000', { serviceTd: null }), []);
  assert.deepEqual(bits('0000001000000000', { serviceTd: new Uint8Array(48) }), [
    'tdx.service-td:tdx.service-td',
  ]);
  const tdx15 = mint({ version: 5, ...td({ teeTcbSvn2: WORLD.td.teeTcbSvn }) });
  assert.equal(appraiseMinted(tdx15, { tdx: { serviceTd: new Uint8Array(48) } }).verdict.ok, true);
  const enclave = (first: number, sgx = {}) => {
    const attributes = new Uint8Array(16);
    attributes[0] = first;
    return failures(
      appraiseMinted(mint({ kind: 'sgx', version: 3, sgx: { ...WORLD.sgx, attributes } }), { sgx }),
    );
  };
  assert.deepEqual(enclave(0x07), ['sgx.debug:intel.debug-mode']);
  assert.deepEqual(enclave(0x15, { provisionKey: false }), [
    'sgx.attributes.provision-key:sgx.attributes.provision-key',
  ]);
  assert.deepEqual(enclave(0x05, { provisionKey: false }), []);
});

/** The fields of a TD report 1.5ex, each filled with another byte. */
function extensionOf(currentServiceTd: number): Uint8Array {
  const lengths = [1, 32, 48, 48, 8, 16, 16, 12, 48, 8];
  const fills = lengths.map((_, i) => (i === 0 ? 2 : i === 8 ? currentServiceTd : 0xa0 + i));
  return Uint8Array.from(lengths.flatMap((length, i) => Array(length).fill(fills[i])));
}

test('INTEL-6 a TD report 1.5ex says which launch it is of and which service TD is bound by now', () => {
  const extended = (extension: Uint8Array, changes: Partial<World['td']> = {}) =>
    mint({ version: 5, ...td({ teeTcbSvn2: WORLD.td.teeTcbSvn, extension, ...changes }) });
  const { verdict, claims } = appraiseMinted(extended(extensionOf(0xa8)));
  assert.equal(verdict.ok, true);
  const got = claims?.kind === 'tdx' ? claims.extension : null;
  assert.equal(got?.vmId, 2);
  const { vmId: _vmId, ...fields } = got ?? { vmId: 0 };
  assert.deepEqual(
    Object.entries(fields).map(([name, value]) => [name, value.length, value[0], value.at(-1)]),
    [
      ['tdId', 32, 0xa1, 0xa1],
      ['deviceInfo', 48, 0xa2, 0xa2],
      ['initialServiceTd', 48, 0xa3, 0xa3],
      ['initialServiceTdAttributes', 8, 0xa4, 0xa4],
      ['initialCpuSvn', 16, 0xa5, 0xa5],
      ['initialTeeTcbSvn', 16, 0xa6, 0xa6],
      ['initialModel', 12, 0xa7, 0xa7],
      ['currentServiceTd', 48, 0xa8, 0xa8],
      ['currentServiceTdAttributes', 8, 0xa9, 0xa9],
    ],
  );
  assert.equal(toHex(claims?.registers.get('currentservicetd') ?? new Uint8Array(0)), 'a8'.repeat(48));
  const { quote } = extended(extensionOf(0));
  for (const at of [54 + 648, 54 + 884]) {
    const flipped = Uint8Array.from(quote);
    flipped[at] = (flipped[at] as number) ^ 1;
    assert.deepEqual(failures(appraiseMinted({ ...extended(extensionOf(0)), quote: flipped })), [
      'tdx.signature:tdx.signature',
    ]);
  }
  const bound = (currentServiceTd: number, tdAttributes: string) => {
    const minted = extended(extensionOf(currentServiceTd), { tdAttributes: hex(tdAttributes) });
    return failures(appraiseMinted(minted, { tdx: { serviceTd: new Uint8Array(48) } }));
  };
  assert.deepEqual(bound(0xa8, '0000021000000000'), ['tdx.service-td:tdx.service-td']);
  assert.deepEqual(bound(0, '0000021000000000'), []);
  assert.deepEqual(bound(0xa8, '0000001000000000'), [], 'without SERVTD_EXT these fields say nothing');
});

test('INTEL-36 INTEL-42 INTEL-43 what the policy does not give is skipped, and tuples match whole', () => {
  const minted = mint();
  for (const field of [
    'measurements',
    'reportData',
    'minTcbEvaluationDataNumber',
    'septVeDisable',
    'migratable',
    'xfam',
    'serviceTd',
  ] as const) {
    const result = appraiseMinted(minted, { tdx: { [field]: 'not-given' } });
    assert.deepEqual([result.verdict.ok, failures(result), skips(result).length], [false, [], 1], field);
  }
  const { claims } = appraiseMinted(minted);
  const registers = [...(claims?.registers ?? [])].map(([register, value]) => ({ register, value }));
  const required = registers.filter(({ register }) => /^(mrtd|rtmr)/.test(register));
  const match = (tuple: typeof registers) =>
    appraiseMinted(minted, { tdx: { measurements: [{ kind: 'tdx', name: 'release', registers: tuple }] } });
  assert.equal(match(required).measurement, 'release');
  assert.equal(match(registers).measurement, 'release');
  for (const left of required)
    assert.equal(match(required.filter((each) => each !== left)).verdict.ok, false, left.register);
  const wrong = required.map((each) =>
    each.register === 'rtmr2' ? { ...each, value: new Uint8Array(48).fill(1) } : each,
  );
  assert.equal(match(wrong).verdict.ok, false);
});

test('INTEL-46 facts are judged again by newer collateral, and are refused where they are none', () => {
  const { claims } = appraiseMinted(mint());
  assert.ok(claims !== null);
  const again = (changes: Partial<World>) => {
    const trust = mintedTrust(mint(changes));
    return failures(rescoreIntel(claims.facts, { ...trust, policy: OPEN_TDX }));
  };
  assert.deepEqual(again({}), []);
  assert.deepEqual(again({ pckCrl: { serials: [SERIAL.pck] } }), [
    'tdx.pck-crl.revocation:certificate.revoked',
  ]);
  assert.deepEqual(again({ rootCrl: { serials: [SERIAL.ca] } }), [
    'tdx.root-crl.revocation:certificate.revoked',
  ]);
  const raised = {
    tcbLevels: [levelJson({ sgx: svns(9), pce: 13, tdx: svns(5, 0, 3), status: 'UpToDate' })],
  };
  assert.deepEqual(again({ tcbInfo: raised }), ['tdx.tcb.level:tcb.level', 'tdx.tcb.status:tcb.status']);
  const foreign = rescoreIntel(claims.facts, { ...mintedTrust(mint()), roots: [], policy: OPEN_TDX });
  assert.deepEqual(failures(foreign), ['tdx.chain.root:intel.root-untrusted']);
  const policy = OPEN_TDX;
  for (const facts of [new Uint8Array(0), claims.facts.subarray(1), Uint8Array.from([...claims.facts, 0])]) {
    const { verdict, tcb } = rescoreIntel(facts, { ...mintedTrust(mint()), policy });
    assert.deepEqual([failures({ verdict }).length, tcb], [1, null]);
    assert.equal(verdict.checks[0]?.id, 'intel.facts');
  }
});

test('INTEL-47 collateral alone: every signer, root and list is judged', () => {
  const minted = mint();
  const trust = {
    crypto: nodeCrypto,
    nowMs: NOW_MS,
    roots: [minted.root],
    collateral: sourceOf(minted.pieces),
  };
  const judged = (item: Collateral, other: Partial<typeof trust> = {}) =>
    failures({ verdict: appraiseCollateral(item, { ...trust, ...other }).verdict });
  for (const { item, ref } of minted.pieces) {
    const { verdict, facts } = appraiseCollateral(item, trust);
    assert.equal(verdict.ok, true, JSON.stringify(verdict.checks));
    assert.deepEqual(facts?.ref, ref);
    assert.equal(facts?.simulated, true);
    assert.deepEqual(judged(item, { roots: [] }), ['collateral.root:intel.root-untrusted']);
    assert.deepEqual(judged({ ...item, issuerChain: [] }), ['collateral.root-certificate:collateral.chain']);
    assert.deepEqual(judged(item, { nowMs: NOW_MS + 31 * DAY_MS }), ['collateral.window:collateral.expired']);
    assert.deepEqual(judged(item, { nowMs: NOW_MS - 2 * DAY_MS }), [
      'collateral.window:collateral.not-yet-valid',
    ]);
    assert.match(
      `${judged(item, { nowMs: NOW_MS + 500 * DAY_MS })}`,
      /collateral.issuer-window:certificate.expired/,
    );
    const tooLong = { ...item, issuerChain: [...item.issuerChain, ...minted.chain.slice(0, 2)] };
    assert.match(`${judged(tooLong)}`, /collateral.issuer:collateral.chain/);
  }
  const [rootCrl, pckCrl] = [0, 1].map((index) => (minted.pieces[index] as Piece).item) as [
    Collateral,
    Collateral,
  ];
  const [leaf, , root] = minted.chain as readonly [Uint8Array, Uint8Array, Uint8Array];
  assert.deepEqual(judged({ ...pckCrl, issuerChain: [root] }), ['collateral.signature:crl.issuer']);
  assert.deepEqual(judged({ ...rootCrl, issuerChain: pckCrl.issuerChain }), [
    'collateral.signature:crl.issuer',
  ]);
  assert.deepEqual(judged({ ...pckCrl, issuerChain: [root, leaf] }), [
    'collateral.issuer:certificate.not-a-ca',
  ]);
});

test('INTEL-47 a revoked issuer or a forged list of the root stops collateral', () => {
  for (const [serial, index] of [
    [SERIAL.ca, 1],
    [SERIAL.signer, 2],
  ] as const) {
    const minted = mint({ rootCrl: { serials: [serial] } });
    const trust = {
      crypto: nodeCrypto,
      nowMs: NOW_MS,
      roots: [minted.root],
      collateral: sourceOf(minted.pieces),
    };
    const { verdict, facts } = appraiseCollateral((minted.pieces[index] as Piece).item, trust);
    assert.deepEqual(
      [failures({ verdict }), facts],
      [['collateral.issuer-revocation:certificate.revoked'], null],
    );
  }
  const minted = mint({ rootCrl: { key: KEYS.ca } });
  const trust = {
    crypto: nodeCrypto,
    nowMs: NOW_MS,
    roots: [minted.root],
    collateral: sourceOf(minted.pieces),
  };
  const { verdict } = appraiseCollateral((minted.pieces[2] as Piece).item, trust);
  assert.deepEqual(failures({ verdict }), ['collateral.issuer-revocation:crl.signature']);
});

test('INTEL-38 an older QE identity is a rollback as older TCB information is', () => {
  const at = (info: number, identity: number, floor: number) =>
    failures(
      appraiseMinted(
        mint({
          tcbInfo: { tcbEvaluationDataNumber: info },
          qeIdentity: { tcbEvaluationDataNumber: identity },
        }),
        { tdx: { minTcbEvaluationDataNumber: floor } },
      ),
    );
  assert.deepEqual(at(18, 18, 18), []);
  for (const [info, identity] of [
    [17, 18],
    [18, 17],
  ] as const)
    assert.deepEqual(at(info, identity, 18), ['tdx.tcb.evaluation-number:tcb.evaluation-number']);
});

test('INTEL-46 facts of the other TEE are none', () => {
  const minted = mint();
  const facts = appraiseMinted(minted).claims?.facts ?? new Uint8Array(0);
  const trust = mintedTrust(minted);
  const acceptance = { roots: trust.roots, policy: { ...OPEN_TDX, ...OPEN_SGX } };
  const context = { ...trust, tdx: acceptance, sgx: acceptance };
  assert.deepEqual(failures(rescoreEvidence('tdx', facts, context)), []);
  assert.deepEqual(failures(rescoreEvidence('sgx', facts, context)), ['intel.facts:facts.tee']);
});

test('INTEL-14 names and serials are compared, never bytes', () => {
  const minted = mint();
  const leaf = serialOf(minted.chain[0] as Uint8Array);
  const at = (revoked: { issuer: Uint8Array; serial: Uint8Array }[]) =>
    failures(appraiseMinted(minted, { trust: { revoked } }));
  assert.deepEqual(at([leaf]), ['tdx.chain.revocation:certificate.revoked']);
  assert.deepEqual(at([{ issuer: name('Other'), serial: leaf.serial }]), []);
});
