import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concatBytes, MalformedError, utf8Encode } from '@haca/primitives';
import { truncationsAndExtensions } from '@haca/testkit';
import fc from 'fast-check';
import {
  appraiseTdx,
  parseCertificate,
  parseCrl,
  parsePckExtension,
  parseQeIdentity,
  parseQuote,
  parseQuotePem,
  parseTcbInfo,
  stripQuotePadding,
} from '../src/index.ts';
import { parseCanonicalJson } from '../src/tee/intel/canonical-json.ts';
import { QUOTE_MAX_BYTES } from '../src/tee/intel/quote.ts';
import {
  certificate,
  crl,
  der,
  extension,
  hex,
  integer,
  KEYS,
  levelJson,
  mint,
  mintedTrust,
  moduleIdentityJson,
  NOW_MS,
  name,
  pckExtension,
  pckMembers,
  pem,
  qeIdentityJson,
  quoteOf,
  sequence,
  svnLevelJson,
  svns,
  tcbInfoJson,
  time,
  u16,
  u32,
  WORLD,
} from './intel-fixture.ts';
import { failures, OPEN_TDX } from './intel-vectors.ts';

function codeOf(parse: () => unknown): string {
  try {
    parse();
    return 'accepted';
  } catch (error) {
    if (error instanceof MalformedError) return error.code;
    throw error;
  }
}

const minted = mint();
const patched = (quote: Uint8Array, at: number, bytes: Uint8Array): Uint8Array => {
  const copy = quote.slice();
  copy.set(bytes, at);
  return copy;
};
const quoteCode = (quote: Uint8Array): string => codeOf(() => parseQuote(quote));

test('INTEL-4 every length is exact and nothing trails', () => {
  const { quote } = minted;
  for (const bytes of truncationsAndExtensions(quote)) assert.match(quoteCode(bytes), /^quote\./);
  const data = 48 + 584;
  const fields = [data, data + 4 + 128 + 2, data + 4 + 128 + 6 + 448, data + 4 + 128 + 6 + 448 + 2 + 3 + 2];
  const widths = [4, 4, 2, 4];
  for (const [i, at] of fields.entries()) {
    const value = quote.subarray(at, at + (widths[i] as number));
    for (const change of [1, -1, 0x4000]) {
      const number = (value[0] as number) + (value[1] as number) * 256 + change;
      const lying = patched(quote, at, u16(number & 0xffff));
      assert.match(
        quoteCode(lying),
        /^quote\.(truncated|trailing-bytes|certification-type|too-large)$/,
        `${i} ${change}`,
      );
    }
  }
  assert.equal(quoteCode(patched(quote, data, hex('ffffffff'))), 'quote.truncated');
  assert.equal(quoteCode(new Uint8Array(QUOTE_MAX_BYTES + 1)), 'quote.too-large');
  assert.equal(quoteCode(new Uint8Array(0)), 'quote.truncated');
});

test('INTEL-5 the header names an ECDSA quote by Intel for a TEE of its version', () => {
  const at = (offset: number, bytes: string) => quoteCode(patched(minted.quote, offset, hex(bytes)));
  for (const version of ['0200', '0600', '0000', '0401']) assert.equal(at(0, version), 'quote.version');
  assert.equal(at(0, '0300'), 'quote.tee-type', 'version 3 has no TDX');
  for (const type of ['0300', '0000', '0201']) assert.equal(at(2, type), 'quote.key-type');
  for (const type of ['01000000', '81010000', '82000000']) assert.equal(at(4, type), 'quote.tee-type');
  assert.equal(at(12, '00'), 'quote.qe-vendor');
  assert.equal(at(8, 'ffffffff'), 'accepted', 'signed, without meaning');
  assert.equal(at(28, 'ff'), 'accepted');
});

test('INTEL-6 bodies of version 5 have the size of their type, and a type of their TEE', () => {
  const tdx = mint({ version: 5 }).quote;
  const sgx = mint({ version: 5, kind: 'sgx' }).quote;
  assert.deepEqual([quoteCode(tdx), quoteCode(sgx)], ['accepted', 'accepted']);
  for (const type of [0, 1, 5, 0x102])
    assert.equal(quoteCode(patched(tdx, 48, u16(type))), 'quote.body-type');
  for (const type of [2, 3, 4]) assert.equal(quoteCode(patched(sgx, 48, u16(type))), 'quote.body-type');
  for (const size of [583, 648, 0]) assert.equal(quoteCode(patched(tdx, 50, u32(size))), 'quote.body-size');
  for (const type of [3, 4]) assert.equal(quoteCode(patched(tdx, 48, u16(type))), 'quote.body-size');
});

test('INTEL-6 reserved bytes of SGX reports are zero', () => {
  const { quote } = mint({ kind: 'sgx', version: 3 });
  const reserved = [...Array(12).keys()].map((i) => 20 + i).concat([96, 127, 160, 191, 262, 303]);
  for (const offset of reserved) {
    assert.equal(quoteCode(patched(quote, 48 + offset, hex('01'))), 'quote.reserved', `body ${offset}`);
    assert.equal(
      quoteCode(patched(quote, 48 + 384 + 4 + 128 + offset, hex('01'))),
      'quote.reserved',
      `QE ${offset}`,
    );
  }
});

test('INTEL-7 only a PCK chain tells the PCK', () => {
  const at = minted.quote.length - 6 - pem(minted.chain).length;
  for (const type of [1, 2, 3, 4, 6, 7]) {
    const quote = patched(minted.quote, at, u16(type));
    assert.equal(parseQuote(quote).certificationType, type);
    const { verdict } = appraiseTdx(quote, { ...mintedTrust(minted), policy: OPEN_TDX });
    assert.deepEqual(failures({ verdict }), ['tdx.certification-data:quote.certification-type']);
  }
  assert.equal(quoteCode(patched(minted.quote, 48 + 584 + 4 + 128, u16(5))), 'quote.certification-type');
});

test('INTEL-8 PEM has one spelling', () => {
  const text = Buffer.from(pem(minted.chain, '\n', '\n')).toString();
  const code = (changed: string) => codeOf(() => parseQuotePem(utf8Encode(changed)));
  assert.equal(code(text), 'accepted');
  assert.deepEqual(
    parseQuotePem(utf8Encode(text)).map((each) => [...each]),
    minted.chain.map((each) => [...each]),
  );
  const lines = text.split('\n');
  const wrapped = [
    ...lines.slice(0, 1),
    (lines[1] as string).slice(0, 32),
    (lines[1] as string).slice(32),
    ...lines.slice(2),
  ];
  const joined = [...lines.slice(0, 1), `${lines[1]}${lines[2]}`, ...lines.slice(3)];
  const bad = [
    '',
    wrapped.join('\n'),
    joined.join('\n'),
    ` ${text}`,
    text.replace('\n', ' \n'),
    text.replace('\n', '\r\n'),
    text.replace('-----BEGIN', '-----begin'),
    text.replace('CERTIFICATE', 'TRUSTED CERTIFICATE'),
    text.replace('-----END CERTIFICATE-----\n', '-----END CERTIFICATE-----'),
    text.replace('-----END CERTIFICATE-----\n', '-----END CERTIFICATE-----\n\n'),
    text.slice(0, -30),
    `${text}x`,
  ];
  for (const each of bad) assert.equal(code(each), 'pem.malformed', JSON.stringify(each.slice(0, 80)));
});

test('INTEL-8 base64 is canonical: no other text gives the same bytes', () => {
  const code = (text: string) => codeOf(() => parseQuotePem(utf8Encode(text)));
  const block = (base64: string) => `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
  const three = (base64: string) => block(base64).repeat(3);
  for (const good of ['AAAA', 'AAA=', 'AA==', 'A'.repeat(64), `${'A'.repeat(64)}\nAA==`])
    assert.equal(code(three(good)), 'accepted', good);
  for (const wrong of [
    '',
    'A',
    'AA',
    'AAA',
    'AAB=',
    'AB==',
    'A===',
    '====',
    'AA=A',
    'AA==AAAA',
    'AA-_',
    'A'.repeat(68),
    `${'A'.repeat(64)}\n`,
    `AA==\n${'A'.repeat(64)}`,
    `AAAA\nAAAA`,
  ])
    assert.equal(code(three(wrong)), 'pem.malformed', wrong);
});

const base = {
  subject: 'Leaf',
  issuer: 'CA',
  key: KEYS.pck,
  issuerKey: KEYS.ca,
  serial: 5,
  isCa: false,
  fromMs: 0,
  toMs: 1000,
  extra: [],
};
const extensionCode = (extra: readonly Uint8Array[]) =>
  codeOf(() => parsePckExtension(parseCertificate(certificate({ ...base, extra }), 'pck')));

test('INTEL-16 the SGX extension has each member once and no other', () => {
  const members = pckMembers(WORLD.pck);
  const all = [...members.values()];
  const without = (...numbers: readonly number[]) =>
    [...members].flatMap(([number, value]) => (numbers.includes(number) ? [] : [value]));
  assert.equal(extensionCode([pckExtension(all)]), 'accepted');
  assert.equal(extensionCode([pckExtension([...all].reverse())]), 'accepted');
  assert.equal(extensionCode([pckExtension(without(6, 7))]), 'accepted');
  assert.equal(extensionCode([]), 'pck.extension');
  for (const number of [1, 2, 3, 4, 5, 6, 7])
    assert.equal(extensionCode([pckExtension(without(number))]), 'pck.missing-member', `${number}`);
  for (const value of all)
    assert.equal(extensionCode([pckExtension([...all, value])]), 'pck.duplicate-member');
  const odd = (oid: string) => sequence(hex(oid), hex('0400'));
  for (const oid of [
    '060a2a864886f84d010d0108',
    '06092a864886f84d010d01',
    '060b2a864886f84d010d010101',
    '06032a0304',
  ])
    assert.equal(extensionCode([pckExtension([...all, odd(oid)])]), 'pck.unknown-member', oid);
});

test('INTEL-16 members have their lengths and ranges', () => {
  const code = (change: Partial<typeof WORLD.pck>) =>
    extensionCode([pckExtension(pckMembers({ ...WORLD.pck, ...change }).values())]);
  assert.equal(code({ ppid: new Uint8Array(15) }), 'pck.length');
  assert.equal(code({ fmspc: new Uint8Array(7) }), 'pck.length');
  assert.equal(code({ pceId: new Uint8Array(3) }), 'pck.length');
  assert.equal(code({ sgxType: 3 }), 'pck.sgx-type');
  assert.equal(code({ components: svns(256) }), 'der.integer');
  assert.equal(code({ components: svns(1).slice(0, 15) }), 'pck.length', 'the CPU SVN has 15 bytes then');
  assert.equal(code({ components: [...svns(1), 0] }), 'pck.duplicate-member', 'component 17 is the PCE SVN');
});

const jsonCode = (text: string | Uint8Array) =>
  codeOf(() => parseCanonicalJson(typeof text === 'string' ? utf8Encode(text) : text, 'json'));

test('INTEL-25 JSON has one spelling', () => {
  for (const good of ['{}', '{"a":1}', '{"a":[1,2,{"b":"x y/z"}],"c":true,"d":null}'])
    assert.equal(jsonCode(good), 'accepted', good);
  const bad: readonly (readonly [string, string])[] = [
    ['{"a":1,"a":2}', 'json.not-canonical'],
    ['{"a":1,"b":2,"a":1}', 'json.not-canonical'],
    ['{"a":{"b":1,"b":1}}', 'json.not-canonical'],
    ['{ "a":1}', 'json.not-canonical'],
    ['{"a": 1}', 'json.not-canonical'],
    ['{"a":1e2}', 'json.not-canonical'],
    ['{"a":-0}', 'json.not-canonical'],
    ['{"a":1.0}', 'json.not-canonical'],
    ['{"a":9007199254740993}', 'json.not-canonical'],
    ['{"b":0,"1":0}', 'json.not-canonical'],
    ['{"a":01}', 'json.malformed'],
    ['{"a":+1}', 'json.malformed'],
    ['{"a":NaN}', 'json.malformed'],
    ['{"a":1,}', 'json.malformed'],
    ['{"a":1}{}', 'json.malformed'],
    ['{"a":1', 'json.malformed'],
    ['', 'json.malformed'],
    ['{"\\u0061":1}', 'json.character'],
    ['{"a":"\\n"}', 'json.character'],
    ['{"a":1}\n', 'json.character'],
    ['{"a":"\u00e9"}', 'json.character'],
    ['\ufeff{}', 'json.character'],
    ['[]', 'json.type'],
    ['1', 'json.type'],
    ['null', 'json.type'],
    [`{"a":${'['.repeat(12)}${']'.repeat(12)}}`, 'json.depth'],
    ['['.repeat(60_000), 'json.depth'],
  ];
  for (const [text, code] of bad) assert.equal(jsonCode(text), code, text.slice(0, 60));
  assert.equal(jsonCode(Uint8Array.of(0x7b, 0xff, 0x7d)), 'utf8.invalid');
  assert.equal(jsonCode('{"__proto__":{"x":1}}'), 'accepted', 'a member like any other');
});

const tcbCode = (change: Record<string, unknown>, kind: 'tdx' | 'sgx' = 'tdx') =>
  codeOf(() => parseTcbInfo(utf8Encode(JSON.stringify({ ...tcbInfoJson({ ...WORLD, kind }), ...change }))));
const LEVEL = { sgx: svns(1), pce: 1, tdx: svns(1), status: 'UpToDate' };

test('INTEL-26 TCB information has its members, within their ranges', () => {
  assert.deepEqual([tcbCode({}), tcbCode({}, 'sgx')], ['accepted', 'accepted']);
  assert.equal(tcbCode({ somethingNew: [{ a: 1.5 }] }), 'accepted', 'a member that nobody asks for');
  const bad: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ version: 1 }, 'tcb-info.version'],
    [{ version: 4 }, 'tcb-info.version'],
    [{ version: 2 }, 'tcb-info.tdx-module'],
    [{ version: '3' }, 'json.number'],
    [{ id: 'QE' }, 'json.value'],
    [{ id: undefined }, 'json.missing'],
    [{ tcbType: 1 }, 'tcb-info.type'],
    [{ fmspc: '90c06f0000' }, 'json.hex'],
    [{ fmspc: '90c06f00000g' }, 'hex.digit'],
    [{ pceId: 0 }, 'json.type'],
    [{ issueDate: '2026-02-30T00:00:00Z' }, 'json.time'],
    [{ nextUpdate: '2026-05-01' }, 'json.time'],
    [{ nextUpdate: '2026-05-01T00:00:00z' }, 'json.time'],
    [{ nextUpdate: '2026-05-01T00:00:0aZ' }, 'json.time'],
    [{ nextUpdate: '2026/05/01T00:00:00Z' }, 'json.time'],
    [{ nextUpdate: 1 }, 'json.type'],
    [{ tcbEvaluationDataNumber: -1 }, 'json.number'],
    [{ tcbEvaluationDataNumber: 1.5 }, 'json.number'],
    [{ tcbLevels: [] }, 'json.length'],
    [{ tcbLevels: {} }, 'json.type'],
    [{ tcbLevels: [1] }, 'json.type'],
    [{ tcbLevels: [levelJson({ ...LEVEL, advisories: Array(257).fill('A') })] }, 'json.length'],
    [{ tcbLevels: [levelJson(LEVEL), levelJson(LEVEL)] }, 'tcb-info.duplicate-level'],
    [{ tcbLevels: [levelJson({ ...LEVEL, sgx: svns(256) })] }, 'json.number'],
    [{ tcbLevels: [levelJson({ ...LEVEL, sgx: svns(1).slice(1) })] }, 'tcb-info.components'],
    [{ tcbLevels: [levelJson({ ...LEVEL, tdx: [...svns(1), 0] })] }, 'tcb-info.components'],
    [{ tcbLevels: [levelJson({ sgx: svns(1), pce: 1, status: 'UpToDate' })] }, 'json.missing'],
    [{ tcbLevels: [levelJson({ ...LEVEL, pce: 65_536 })] }, 'json.number'],
    [{ tcbLevels: [levelJson({ ...LEVEL, status: 'Fine' })] }, 'json.value'],
    [{ tcbLevels: [levelJson({ ...LEVEL, status: 'RelaunchAdvised' })] }, 'json.value'],
    [{ tcbLevels: [levelJson({ ...LEVEL, status: 'Unsupported' })] }, 'json.value'],
    [{ tcbLevels: [{ ...levelJson(LEVEL), advisoryIDs: [1] }] }, 'json.type'],
    [{ tdxModule: undefined }, 'json.missing'],
    [{ tdxModuleIdentities: [] }, 'json.length'],
    [{ tdxModuleIdentities: [moduleIdentityJson('TDX_01', [])] }, 'json.length'],
    [
      {
        tdxModuleIdentities: [1, 2].map(() => moduleIdentityJson('TDX_01', [{ svn: 1, status: 'UpToDate' }])),
      },
      'tcb-info.duplicate-identity',
    ],
  ];
  for (const [change, code] of bad) assert.equal(tcbCode(change), code, JSON.stringify(change).slice(0, 80));
  assert.equal(tcbCode({ tdxModuleIdentities: undefined }), 'accepted');
  assert.equal(tcbCode({ tdxModule: {} }, 'sgx'), 'tcb-info.tdx-module');
});

test('INTEL-26 version 2 has numbered components, no id and no TDX', () => {
  const components = Object.fromEntries(
    svns(14, 15).map((svn, i) => [`sgxtcbcomp${`${i + 1}`.padStart(2, '0')}svn`, svn]),
  );
  const { id: _id, ...rest } = tcbInfoJson({ ...WORLD, kind: 'sgx' });
  const level = {
    tcb: { ...components, pcesvn: 13 },
    tcbDate: '2026-01-01T00:00:00Z',
    tcbStatus: 'UpToDate',
  };
  const parse = (tcbLevels: unknown) =>
    parseTcbInfo(utf8Encode(JSON.stringify({ ...rest, version: 2, tcbLevels })));
  const info = parse([level]);
  assert.deepEqual(
    [info.id, info.levels[0]?.tdxComponents, [...(info.levels[0]?.sgxComponents ?? [])]],
    ['SGX', null, svns(14, 15)],
  );
  assert.equal(
    codeOf(() => parse([{ ...level, tcb: { ...components, pcesvn: 13, sgxtcbcomp07svn: 256 } }])),
    'json.number',
  );
  assert.equal(
    codeOf(() => parse([levelJson(LEVEL)])),
    'json.missing',
  );
  assert.equal(
    codeOf(() => parseTcbInfo(new Uint8Array(65_537).fill(0x20))),
    'json.too-large',
  );
});

test('INTEL-27 a QE identity has its members, within their ranges', () => {
  const code = (change: Record<string, unknown>) =>
    codeOf(() => parseQeIdentity(utf8Encode(JSON.stringify({ ...qeIdentityJson(WORLD), ...change }))));
  assert.equal(code({}), 'accepted');
  const bad: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ version: 1 }, 'qe-identity.version'],
    [{ id: 'TDX' }, 'json.value'],
    [{ miscselect: '0000' }, 'json.hex'],
    [{ attributesMask: undefined }, 'json.missing'],
    [{ mrsigner: '02'.repeat(31) }, 'json.hex'],
    [{ isvprodid: 65_536 }, 'json.number'],
    [{ tcbLevels: [] }, 'json.length'],
    [{ tcbLevels: [{ ...svnLevelJson({ svn: 1, status: 'UpToDate' }), tcb: {} }] }, 'json.missing'],
    [{ tcbLevels: [svnLevelJson({ svn: -1, status: 'UpToDate' })] }, 'json.number'],
  ];
  for (const [change, expected] of bad) assert.equal(code(change), expected, JSON.stringify(change));
});

const CRL_BASE = {
  issuer: 'CA',
  key: KEYS.ca,
  fromMs: NOW_MS,
  toMs: NOW_MS + 1000,
  serials: [1, 2, 200],
  number: 7,
  extra: [],
};

test('INTEL-21 revocation lists are strict DER', () => {
  const list = crl(CRL_BASE);
  const parsed = parseCrl(list, 'crl');
  assert.deepEqual(
    parsed.entries.map(({ serial }) => [...serial]),
    [[1], [2], [200]],
  );
  assert.deepEqual([parsed.number, parsed.thisUpdateMs, parsed.nextUpdateMs], [7n, NOW_MS, NOW_MS + 1000]);
  for (const bytes of truncationsAndExtensions(list))
    assert.notEqual(
      codeOf(() => parseCrl(bytes, 'crl')),
      'accepted',
    );
  assert.equal(
    codeOf(() => parseCrl(new Uint8Array(65_537), 'crl')),
    'der.too-large',
  );
  const critical = extension('0603551d1c', true, hex('3000'));
  assert.equal(
    codeOf(() => parseCrl(crl({ ...CRL_BASE, extra: [critical] }), 'crl')),
    'crl.critical-extension',
  );
  assert.equal(
    codeOf(() => parseCrl(crl({ ...CRL_BASE, toMs: NOW_MS }), 'crl')),
    'crl.window',
  );
  assert.equal(
    codeOf(() => parseCrl(certificate(base), 'crl')),
    'der.tag',
  );
});

test('INTEL-21 lists of another version or shape are refused', () => {
  const algorithm = sequence(hex('06082a8648ce3d040302'));
  const tbs = (...parts: readonly Uint8Array[]) => sequence(sequence(...parts), algorithm, hex('030100'));
  const code = (bytes: Uint8Array) => codeOf(() => parseCrl(bytes, 'crl'));
  const dates = [time(NOW_MS), time(NOW_MS + 1000)];
  const extensions = der(0xa0, sequence(extension('0603551d14', false, hex('020101'))));
  const head = [integer(1), algorithm, name('CA'), ...dates];
  assert.equal(code(tbs(...head, extensions)), 'accepted');
  assert.equal(code(tbs(integer(0), ...head.slice(1), extensions)), 'crl.version');
  assert.equal(
    code(tbs(integer(1), sequence(hex('06082a8648ce3d040303')), ...head.slice(2), extensions)),
    'crl.algorithm-mismatch',
  );
  assert.equal(code(tbs(...head)), 'der.tag', 'extensions have to be there');
  assert.equal(code(tbs(...head, sequence(), extensions)), 'der.tag', 'an empty list is left out');
  const entry = sequence(integer(5), time(NOW_MS));
  assert.equal(code(tbs(...head, sequence(entry), extensions)), 'accepted');
  assert.equal(
    code(tbs(...head, sequence(sequence(hex('0202ff00'), time(NOW_MS))), extensions)),
    'der.integer',
  );
  const indirect = sequence(integer(5), time(NOW_MS), sequence(extension('0603551d1d', true, hex('3000'))));
  assert.equal(code(tbs(...head, sequence(indirect), extensions)), 'crl.critical-extension');
  const many = sequence(...Array.from({ length: 2049 }, () => entry));
  assert.equal(code(tbs(...head, many, extensions)), 'crl.too-many');
  assert.equal(code(tbs(...head, extensions, extensions)), 'der.trailing-bytes');
});

test('INTEL-1 no input gets past the parsers but as MalformedError', () => {
  const parsers: readonly ((bytes: Uint8Array) => unknown)[] = [
    parseQuote,
    stripQuotePadding,
    parseQuotePem,
    parseTcbInfo,
    parseQeIdentity,
    (bytes) => parseCrl(bytes, 'crl'),
    (bytes) =>
      parsePckExtension({
        ...parseCertificate(minted.chain[0] as Uint8Array, 'pck'),
        extensions: [{ oid: '1.2.840.113741.1.13.1', critical: false, value: bytes }],
      }),
  ];
  const genuine = [
    minted.quote,
    pem(minted.chain),
    utf8Encode(JSON.stringify(tcbInfoJson(WORLD))),
    utf8Encode(JSON.stringify(qeIdentityJson(WORLD))),
    crl(CRL_BASE),
    concatBytes(...pckMembers(WORLD.pck).values()),
  ];
  const mutated = fc
    .tuple(
      fc.constantFrom(...genuine),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      fc.nat(40),
    )
    .map(([bytes, changes, cut]) => {
      const copy = bytes.slice(0, bytes.length - cut);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 700 })), (bytes) => {
      for (const parse of parsers)
        assert.match(
          codeOf(() => parse(bytes)),
          /^[a-z0-9-]+(\.[a-z0-9-]+)?$/,
        );
    }),
    { numRuns: 1500 },
  );
});

test('INTEL-1 a verdict for every quote, however wrong', () => {
  const context = { ...mintedTrust(minted), policy: OPEN_TDX };
  const mutated = fc
    .tuple(fc.nat(), fc.nat(255))
    .map(([at, value]) => patched(minted.quote, at % minted.quote.length, Uint8Array.of(value)));
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 5000 })), (quote) => {
      const { verdict, claims } = appraiseTdx(quote, context);
      assert.equal(verdict.ok, claims !== null, 'what is changed is not authentic');
    }),
    { numRuns: 300 },
  );
  assert.ok(quoteOf(WORLD, pem(minted.chain)).length > 0);
});

test('a context that makes no sense is a mistake of the caller', () => {
  const context = { ...mintedTrust(minted), policy: OPEN_TDX };
  for (const nowMs of [Number.NaN, 0.5, Number.POSITIVE_INFINITY])
    assert.throws(() => appraiseTdx(minted.quote, { ...context, nowMs }), { name: 'UsageError' });
  for (const collateralGraceMs of [-1, 0.5, Number.NaN])
    assert.throws(() => appraiseTdx(minted.quote, { ...context, collateralGraceMs }), { name: 'UsageError' });
  assert.throws(
    () =>
      appraiseTdx(minted.quote, { ...context, roots: [{ sha256: new Uint8Array(31), simulated: false }] }),
    { name: 'UsageError' },
  );
  assert.throws(
    () => appraiseTdx(minted.quote, { ...context, policy: { ...OPEN_TDX, minTcbEvaluationDataNumber: -1 } }),
    { name: 'UsageError' },
  );
});
