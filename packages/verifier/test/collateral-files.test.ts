import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MalformedError, toHex } from '@haca/primitives';
import fc from 'fast-check';
import { type CollateralFile, type EvidenceFileReport, readCollateral } from '../src/index.ts';
import {
  allFiles,
  bytesOf,
  failedOf,
  fileOf,
  folder,
  judge,
  skippedOf,
  statusOf,
  textFile,
  UP_TO_DATE,
  vectorsMissing,
} from './evidence-file-vectors.ts';

const skip = vectorsMissing;
const { atMs } = UP_TO_DATE;

type Bundle = Readonly<Record<string, string>>;

function bundleOf(path: string = UP_TO_DATE.bundle): Bundle {
  return JSON.parse(new TextDecoder().decode(bytesOf(path))) as Bundle;
}

function judged(files: readonly CollateralFile[], at: number = atMs): EvidenceFileReport {
  return judge('tdx', bytesOf(UP_TO_DATE.quote), at, files);
}

function jsonFile(value: unknown, space?: number): CollateralFile {
  return textFile('any-name', JSON.stringify(value, null, space));
}

const member = (bundle: Bundle, name: string): string => bundle[name] as string;
const hexBytes = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const pem = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${base64(der).replaceAll(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`;
const camel = (name: string): string =>
  name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const renamed = (bundle: Bundle, rename: (name: string) => string): Bundle =>
  Object.fromEntries(Object.entries(bundle).map(([name, value]) => [rename(name), value]));

/** The same collateral in every shape the field has it. */
function shapes(): ReadonlyMap<string, readonly CollateralFile[]> {
  const bundle = bundleOf();
  const [rootCrl, pckCrl] = ['root_ca_crl', 'pck_crl'].map((name) => hexBytes(member(bundle, name))) as [
    Uint8Array,
    Uint8Array,
  ];
  const tcbAnswer = `{"tcbInfo":${member(bundle, 'tcb_info')},"signature":"${member(bundle, 'tcb_info_signature')}"}`;
  const qeAnswer = `{"enclaveIdentity":${member(bundle, 'qe_identity')},"signature":"${member(bundle, 'qe_identity_signature')}"}`;
  const chain = member(bundle, 'tcb_info_issuer_chain');
  const signerOnly = chain.slice(0, chain.indexOf('-----END CERTIFICATE-----') + 26);
  const lists = [
    { name: 'a', bytes: rootCrl },
    { name: 'b', bytes: pckCrl },
  ];
  const { tcb_info_issuer_chain: _, qe_identity_issuer_chain: __, ...noChains } = bundle;
  return new Map<string, readonly CollateralFile[]>([
    ['bundle', [jsonFile(bundle)]],
    ['indented bundle', [jsonFile(bundle, 4)]],
    ['bundle with a byte order mark', [textFile('x', `\ufeff${JSON.stringify(bundle)}`)]],
    ['camel case', [jsonFile(renamed(bundle, camel))]],
    ['inside an answer', [jsonFile({ quote: '00', quote_collateral: bundle })]],
    ['as text inside an answer', [jsonFile({ result: { collateral: JSON.stringify(bundle) } })]],
    [
      'with more members',
      [jsonFile({ ...bundle, pck_certificate_chain: chain, fmspc: 'b0c06f000000', version: 3 })],
    ],
    [
      'signatures inside the objects',
      [
        jsonFile({
          ...bundle,
          tcb_info: tcbAnswer,
          qe_identity: qeAnswer,
          tcb_info_signature: '',
          qe_identity_signature: '',
        }),
      ],
    ],
    ['lists in base64', [jsonFile({ ...bundle, root_ca_crl: base64(rootCrl), pck_crl: base64(pckCrl) })]],
    [
      'lists in PEM',
      [jsonFile({ ...bundle, root_ca_crl: pem('X509 CRL', rootCrl), pck_crl: pem('X509 CRL', pckCrl) })],
    ],
    [
      'bytes as numbers',
      [
        jsonFile({
          ...bundle,
          root_ca_crl: [...rootCrl],
          pck_crl: [...pckCrl],
          tcb_info_signature: [...hexBytes(member(bundle, 'tcb_info_signature'))],
        }),
      ],
    ],
    [
      'as C has it: everything as signed bytes with a zero at the end',
      [
        jsonFile({
          major_version: 3,
          tee_type: 129,
          ...Object.fromEntries(
            Object.entries({ ...bundle, tcb_info: tcbAnswer, qe_identity: qeAnswer, root_ca_crl: undefined })
              .filter(([, value]) => value !== undefined)
              .map(([name, value]) => [name, [...new TextEncoder().encode(value), 0]]),
          ),
          root_ca_crl: [...new Int8Array(rootCrl)],
        }),
      ],
    ],
    [
      'as contracts keep it',
      [
        jsonFile({
          tcbInfoStr: member(bundle, 'tcb_info'),
          signature: `0x${member(bundle, 'tcb_info_signature')}`,
        }),
        jsonFile({
          identityStr: member(bundle, 'qe_identity'),
          signature: `0x${member(bundle, 'qe_identity_signature')}`,
        }),
        textFile('c', chain),
        ...lists,
      ],
    ],
    ['upper-case hex', [jsonFile({ ...bundle, pck_crl: member(bundle, 'pck_crl').toUpperCase() })]],
    [
      'chains without the root',
      [jsonFile({ ...bundle, tcb_info_issuer_chain: signerOnly, qe_identity_issuer_chain: signerOnly })],
    ],
    [
      'chains with more than it takes',
      [jsonFile({ ...bundle, tcb_info_issuer_chain: chain + member(bundle, 'pck_crl_issuer_chain') })],
    ],
    ['chains in another file', [jsonFile(noChains), textFile('chain', chain)]],
    [
      'chain root first',
      [
        jsonFile({
          ...bundle,
          tcb_info_issuer_chain: chain
            .split(/(?<=-----END CERTIFICATE-----\n)/)
            .toReversed()
            .join(''),
        }),
      ],
    ],
    [
      'chains URL-encoded as headers carry them',
      [
        jsonFile(noChains),
        textFile('headers', `TCB-Info-Issuer-Chain: ${encodeURIComponent(chain)}\r\nRequest-ID: 7\r\n`),
      ],
    ],
    [
      'chains of headers in JSON',
      [jsonFile({ ...noChains, headers: { 'Tcb-Info-Issuer-Chain': [encodeURIComponent(chain)] } })],
    ],
    [
      'answers and lists',
      [textFile('t', tcbAnswer), textFile('q', qeAnswer), textFile('c', chain), ...lists],
    ],
    [
      'recorded answers',
      [
        textFile(
          't',
          `HTTP/1.1 200 OK\r\nTCB-Info-Issuer-Chain: ${encodeURIComponent(chain)}\r\n\r\n${tcbAnswer}`,
        ),
        textFile('q', qeAnswer),
        ...lists,
      ],
    ],
    [
      'lists as hex text',
      [
        textFile('t', tcbAnswer),
        textFile('q', qeAnswer),
        textFile('c', chain),
        textFile('1', `${toHex(rootCrl)}\n`),
        textFile('2', toHex(pckCrl)),
      ],
    ],
    [
      'lists as base64 text',
      [
        textFile('t', tcbAnswer),
        textFile('q', qeAnswer),
        textFile('c', chain),
        textFile('1', base64(rootCrl)),
        textFile('2', base64(pckCrl)),
      ],
    ],
    [
      'lists in one PEM file with the chain',
      [
        textFile('t', tcbAnswer),
        textFile('q', qeAnswer),
        textFile('all', `Subject: somebody\n${chain}\n${pem('X509 CRL', rootCrl)}${pem('X509 CRL', pckCrl)}`),
      ],
    ],
    [
      'all DER one after another',
      [
        textFile('t', tcbAnswer),
        textFile('q', qeAnswer),
        fileOf('tdx/intel-tcb-signing-2025.der'),
        { name: 'x', bytes: new Uint8Array([...rootCrl, ...pckCrl]) },
      ],
    ],
    [
      'amid other files',
      [
        jsonFile(bundle),
        ...[
          'tdx/manifest.json',
          UP_TO_DATE.quote,
          'mutations.json',
          'snp/chain-milan.pem',
          'nitro/prod-2024-12.bin',
          'dstack/quote-report.json',
        ].map(fileOf),
      ],
    ],
  ]);
}

test('collateral of the same contents gives the same verdict in every shape', { skip }, () => {
  const expected = judged([fileOf(UP_TO_DATE.bundle)]).verdict;
  assert.equal(expected.ok, true);
  for (const [shape, files] of shapes()) assert.deepEqual(judged(files).verdict, expected, shape);
});

test(
  'what is signed is cut out byte for byte: other blanks in the file fail, as the vendor says',
  { skip },
  () => {
    const path = 'tdx/tcbinfo-tdx-00806f050000-2025-06.json';
    const quote = bytesOf('tdx/v4-outofdate-padded-2025-06.quote.bin');
    const others = ['tdx/tdqe-2025-06.json', 'tdx/intel-tcb-signing-2025.der'].map(fileOf);
    const text = new TextDecoder().decode(bytesOf(path));
    const at = 1_749_034_298_000;
    const around = text
      .replace('{"tcbInfo":', '\n{ "tcbInfo" :\t')
      .replace(',"signature":', ' , "signature" : ');
    assert.equal(
      statusOf(judge('tdx', quote, at, [textFile('t', around), ...others]), 'tdx.tcb-info.signature'),
      'passed',
    );
    const pretty = JSON.stringify(JSON.parse(text), null, 2);
    assert.equal(
      statusOf(judge('tdx', quote, at, [textFile('t', pretty), ...others]), 'tdx.tcb-info.signature'),
      'failed',
    );
  },
);

test(
  'a list of a bundle that is empty, garbage or falsely signed fails and is never missing',
  { skip },
  () => {
    const bundle = bundleOf();
    const flipped = (hex: string): string => `${hex.slice(0, -2)}${hex.endsWith('00') ? '01' : '00'}`;
    for (const [name, part] of [
      ['root_ca_crl', 'root-crl'],
      ['pck_crl', 'pck-crl'],
    ] as const) {
      const genuine = member(bundle, name);
      for (const value of [
        '',
        null,
        '00',
        'not a list',
        'ff'.repeat(300),
        genuine.slice(2),
        `${genuine}00`,
        flipped(genuine),
        [],
        [1, 2],
        7,
        {},
        true,
      ]) {
        const report = judged([jsonFile({ ...bundle, [name]: value })]);
        const fails = failedOf(report).filter((id) => id.startsWith(`tdx.${part}`));
        assert.notDeepEqual(fails, [], `${name} = ${JSON.stringify(value).slice(0, 40)}`);
      }
      const { [name]: _, ...without } = bundle;
      assert.equal(
        statusOf(judged([jsonFile(without)]), `tdx.${part}`),
        'skipped',
        'only what is not there is missing',
      );
    }
  },
);

test(
  'lists of the other CA, TCB information of the other kind and identities of the other enclave fail',
  { skip },
  () => {
    const [tdx, sgx] = [bundleOf(), bundleOf('sgx/v3-confsw-2025-06.collateral.json')];
    const swapped = (...names: readonly string[]): EvidenceFileReport =>
      judged([jsonFile({ ...tdx, ...Object.fromEntries(names.map((name) => [name, sgx[name]])) })]);
    for (const [names, part] of [
      [['pck_crl', 'pck_crl_issuer_chain'], 'pck-crl'],
      [['tcb_info', 'tcb_info_signature'], 'tcb-info'],
      [['qe_identity', 'qe_identity_signature'], 'qe-identity'],
    ] as const) {
      const report = swapped(...names);
      assert.ok(
        failedOf(report).some((id) => id.startsWith(`tdx.${part}`)),
        `${part}: ${failedOf(report).join(' ')}`,
      );
    }
  },
);

test(
  'one character of what is signed, one digit of a signature, another chain: failed, not missing',
  { skip },
  () => {
    const bundle = bundleOf();
    const changed = (name: string, from: string, to: string): EvidenceFileReport =>
      judged([jsonFile({ ...bundle, [name]: member(bundle, name).replace(from, to) })]);
    const cases = [
      ['tcb_info', '"pcesvn":11', '"pcesvn":10'],
      ['tcb_info', '"version":3', '"version":4'],
      ['tcb_info', '"fmspc"', '"fmspd"'],
      ['tcb_info', '{"id"', '{"ie"'],
      ['qe_identity', '"isvprodid":2', '"isvprodid":3'],
      ['qe_identity', 'TD_QE', 'TD_QF'],
      ['tcb_info_signature', '02', '03'],
      ['qe_identity_signature', 'd6', 'd7'],
      ['tcb_info_issuer_chain', 'MII', 'MIJ'],
      ['tcb_info_issuer_chain', '-----BEGIN', '-----BEGUN'],
      ['qe_identity_issuer_chain', 'BEGIN', 'START'],
    ] as const;
    for (const [name, from, to] of cases) {
      assert.ok(member(bundle, name).includes(from), name);
      const report = changed(name, from, to);
      const part = name.startsWith('tcb') ? 'tdx.tcb-info' : 'tdx.qe-identity';
      assert.ok(
        failedOf(report).some((id) => id.startsWith(part)),
        `${name} ${from}: ${failedOf(report).join(' ')}`,
      );
    }
    // The issuer of the PCK list is in the quote itself, so the chain beside it is not needed.
    for (const name of Object.keys(bundle).filter((each) => each !== 'pck_crl_issuer_chain'))
      for (const value of ['', 'garbage'])
        assert.equal(
          judged([jsonFile({ ...bundle, [name]: value })]).verdict.ok,
          false,
          `${name} = ${value}`,
        );
  },
);
test(
  'files whose contents are damaged fail where they are the only ones, wherever the damage is',
  { skip },
  () => {
    const files = shapes().get('answers and lists') as readonly CollateralFile[];
    const kinds = ['tdx.tcb-info', 'tdx.qe-identity', null, 'tdx.root-crl', 'tdx.pck-crl'];
    for (const [i, file] of files.entries()) {
      const prefix = kinds[i];
      if (prefix === null || prefix === undefined) continue;
      // Within the name of an issuer a list becomes that of somebody else, which is missing.
      const places = [0, 1, 5, 10, 200, file.bytes.length - 30, file.bytes.length - 2];
      for (const place of places.filter((at) => at < file.bytes.length)) {
        const bytes = file.bytes.with(place, (file.bytes[place] as number) ^ 1);
        const report = judged(files.with(i, { ...file, bytes }));
        assert.equal(report.verdict.ok, false, `${prefix} at ${place}`);
        assert.ok(
          failedOf(report).some((id) => id.startsWith(prefix)),
          `${prefix} at ${place}: ${failedOf(report).join(' ')}`,
        );
      }
    }
  },
);

interface ManifestVector {
  readonly id: string;
  readonly files: readonly { readonly file: string }[];
  readonly expect: {
    readonly verify_at_s?: number;
    readonly tcb?: { readonly converged: string; readonly advisories: readonly string[] };
    readonly trailing_all_zero?: boolean;
  };
}

function manifest(kind: 'tdx' | 'sgx'): readonly ManifestVector[] {
  const { vectors } = JSON.parse(new TextDecoder().decode(bytesOf(`${kind}/manifest.json`))) as {
    readonly vectors: readonly ManifestVector[];
  };
  return vectors;
}

test(
  'every quote finds its own collateral among that of all, of several dates and another root',
  { skip },
  () => {
    let compared = 0;
    const everything = [...allFiles('tdx'), ...allFiles('sgx')];
    for (const kind of ['tdx', 'sgx'] as const) {
      for (const { id, files, expect } of manifest(kind)) {
        const { tcb, verify_at_s: seconds, trailing_all_zero: isPadding } = expect;
        if (tcb === undefined || seconds === undefined || isPadding === false) continue;
        const [quote] = files as readonly [{ readonly file: string }];
        const sets = {
          own: files.map(({ file }) => fileOf(`${kind}/${file}`)),
          folder: allFiles(kind),
          everything,
        };
        for (const [which, collateral] of Object.entries(sets)) {
          const tcbStatuses = tcb.converged === 'Unsupported' ? ['UpToDate'] : [tcb.converged];
          const policy = { others: 'any', allowDebug: true, tcbStatuses };
          const report = judge(kind, bytesOf(`${kind}/${quote.file}`), seconds * 1000, collateral, policy);
          const claims = report.judged[0]?.claims as
            | { readonly tcb: { readonly status: string; readonly advisoryIds: readonly string[] } }
            | undefined;
          assert.equal(claims?.tcb.status, tcb.converged, `${id} ${which}`);
          assert.deepEqual(claims?.tcb.advisoryIds.toSorted(), tcb.advisories.toSorted(), `${id} ${which}`);
          const fails = failedOf(report);
          const hopeless: readonly string[] =
            tcb.converged === 'Unsupported' ? [`${kind}.tcb.level`, `${kind}.tcb.status`] : [];
          // A list of another date is the nearest there is where the vector has none of its own.
          const others = fails.filter((each) => which === 'own' || !each.endsWith('-crl.window'));
          assert.deepEqual(others, hopeless, `${id} ${which}`);
          compared++;
        }
      }
    }
    assert.ok(compared >= 20, `${compared}`);
  },
);

test(
  'of several dates the one that holds at the time, before and after the one that shows why not',
  { skip },
  () => {
    const quote = bytesOf('tdx/v4-azure-noseptve-2025-10.quote.bin');
    const at = (time: string, id: string): unknown => {
      const report = judge('tdx', quote, Date.parse(time), allFiles('tdx'));
      const { status, code } = report.verdict.checks.find((check) => check.id === id) ?? {};
      return [report.collateral.used.find((name) => name.startsWith('tcbinfo')), status, code];
    };
    const [june, october] = ['2025-06', '2025-10'].map(
      (date) => `tcbinfo-tdx-00806f050000-${date}.json#tcbInfo`,
    );
    const id = 'tdx.tcb-info.window';
    assert.deepEqual(at('2025-06-20T00:00:00Z', id), [june, 'passed', undefined]);
    assert.deepEqual(at('2025-10-20T00:00:00Z', id), [october, 'passed', undefined]);
    assert.deepEqual(at('2025-08-01T00:00:00Z', id), [june, 'failed', 'collateral.expired']);
    assert.deepEqual(at('2026-08-01T00:00:00Z', id), [october, 'failed', 'collateral.expired']);
    assert.deepEqual(at('2025-01-01T00:00:00Z', id), [june, 'failed', 'collateral.not-yet-valid']);
  },
);

test('the certificate that signed is the one of its time: both of Intel have one key', { skip }, () => {
  const files = [
    'tcbinfo-tdx-50806f000000-2023-06.json',
    'tdqe-2023-06.json',
    'pckcrl-platform-2023-06.der',
    'rootcrl-2023-04.der',
    'intel-tcb-signing-2025.der',
    'intel-tcb-signing-2018.pem',
  ].map((name) => fileOf(`tdx/${name}`));
  const padded = bytesOf('tdx/v4-nomatch-2023-06.quote.bin').subarray(0, 4935);
  const report = judge('tdx', padded, 1_687_081_378_000, files);
  assert.deepEqual(failedOf(report), ['tdx.tcb.level', 'tdx.tcb.status']);
  const early = judge('tdx', padded, 1_687_081_378_000, files.slice(0, 5));
  assert.ok(failedOf(early).includes('tdx.tcb-info.signer-window'), failedOf(early).join(' '));
});

test(
  'collateral of a test root alone fails as another root; it never stands in for what is missing',
  { skip },
  () => {
    const test = allFiles('tdx').filter(({ name }) => name.startsWith('inteltest-'));
    const report = judged(test);
    assert.equal(report.verdict.ok, false);
    assert.ok(
      failedOf(report).some((id) => id.startsWith('tdx.qe-identity')),
      failedOf(report).join(' '),
    );
  },
);

test('what is not collateral is ignored by name with a reason, and missing is skipped', { skip }, () => {
  const report = judged(['tdx/manifest.json', UP_TO_DATE.quote].map(fileOf));
  assert.deepEqual(report.collateral, {
    used: [],
    ignored: ['manifest.json', 'v4-uptodate-2025-06.quote.bin'].map((name) => ({
      name,
      reason: 'no collateral in it',
    })),
  });
  assert.deepEqual(failedOf(report), []);
  assert.ok(skippedOf(report).every(({ code }) => code === 'collateral.missing' || code === 'not-reached'));
  assert.ok(skippedOf(report).length > 10);
});

test('more files or bytes than are read are refused before they are looked at', () => {
  const many = Array.from({ length: 1001 }, (_, i) => textFile(`${i}`, ''));
  assert.throws(() => readCollateral(many), MalformedError);
  const large = new Uint8Array(33 * 1024 * 1024);
  assert.throws(
    () =>
      readCollateral([
        { name: 'a', bytes: large },
        { name: 'b', bytes: large },
      ]),
    MalformedError,
  );
});

test('any file is read to an end', { skip }, () => {
  const texts = [
    '{',
    '[',
    '"',
    '-----BEGIN CERTIFICATE-----',
    '{"tcbInfo":',
    '"signature":"',
    'tcb_info',
    '\\',
    '}',
    ']',
    ',',
    ':',
    '0',
    'MII',
    '%2',
    '\u0000',
    '\ud800',
  ];
  const anyText = fc.array(fc.constantFrom(...texts), { maxLength: 40 }).map((parts) => parts.join(''));
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    anyText.map((text) => new TextEncoder().encode(text)),
  );
  const name = fc.constantFrom('a', 'root.crl', 'tcbinfo.json', '../x/crl.der', '');
  const files = fc.array(fc.record({ name, bytes: anyBytes }), { maxLength: 6 });
  fc.assert(
    fc.property(files, (given) => void readCollateral(given)),
    { numRuns: 400 },
  );
  const json = fc.json({ maxDepth: 6 }).map((text) => [textFile('j', text)]);
  fc.assert(
    fc.property(json, (given) => void readCollateral(given)),
    { numRuns: 200 },
  );
});

test('a changed bundle or folder never passes, and is judged to an end', { skip }, () => {
  const bundle = bytesOf(UP_TO_DATE.bundle);
  const at = fc.nat({ max: bundle.length - 1 });
  const change = fc.tuple(at, fc.integer({ min: 1, max: 255 }));
  const genuine = bundleOf();
  fc.assert(
    fc.property(change, ([place, bits]) => {
      const changed = bundle.with(place, (bundle[place] as number) ^ bits);
      const report = judged([{ name: 'b', bytes: changed }]);
      if (!report.verdict.ok) return;
      // What still passes says the same: line ends of PEM, blanks, the spelling of a name or of hex.
      const text = new TextDecoder().decode(changed);
      const parsed = JSON.parse(text) as Bundle;
      for (const name of ['tcb_info', 'qe_identity']) assert.equal(parsed[name], genuine[name]);
    }),
    { numRuns: 150 },
  );
});

test('JSON nested without end, or with a thousand pieces, is read in bounded time', { skip }, () => {
  const nested = `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`;
  const wide = JSON.stringify(
    Array.from({ length: 20_000 }, (_, i) => ({ tcb_info: `${i}`, signature: '' })),
  );
  const deepArray = '['.repeat(200_000);
  const { signedJson } = readCollateral([
    textFile('n', nested),
    textFile('w', wide),
    textFile('d', deepArray),
  ]);
  assert.equal(signedJson.length, 512);
  const report = judged([textFile('w', wide), fileOf(UP_TO_DATE.bundle)]);
  assert.equal(report.verdict.ok, true, 'what is signed goes before what is not');
  assert.ok(folder.length > 0);
});
