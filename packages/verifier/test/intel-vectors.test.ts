import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { bytesEqual, toHex, utf8Encode } from '@haca/primitives';
import {
  appraiseCollateral,
  appraiseEvidence,
  INTEL_COLLATERAL_CHECKS,
  INTEL_SGX_ROOT,
  isNewer,
  parseCertificate,
  parseCrl,
  parseQuote,
  rescoreEvidence,
  rescoreIntel,
  SGX_VALIDATE_CHECKS,
  SGX_VERIFY_CHECKS,
  type SgxClaims,
  stripQuotePadding,
  TDX_VALIDATE_CHECKS,
  TDX_VERIFY_CHECKS,
  type TdxClaims,
} from '../src/index.ts';
import {
  appraiseVector,
  collateralOf,
  crlPiece,
  failures,
  type IntelVector,
  intelName,
  intelRoot,
  intelVector,
  mutationsFile,
  OPEN_SGX,
  OPEN_TDX,
  type Piece,
  readIntelVectors,
  recordedTimeMs,
  skips,
  sourceOf,
  stripped,
  trustFor,
  vectorFile,
  vectorsMissing,
} from './intel-vectors.ts';

const skip = vectorsMissing;
const vectors = readIntelVectors();

test('the recorded quotes and files are there, unchanged', { skip }, () => {
  assert.ok(vectors.length >= 10, `saw ${vectors.length} quotes`);
  for (const { kind, files } of vectors)
    for (const { file, sha256 } of files)
      assert.equal(createHash('sha256').update(vectorFile(kind, file)).digest('hex'), sha256, file);
});

/** What each quote comes to under the open policy, by what the manifest says of its TCB, mode and time. */
function expectedFailures({ kind, expect }: IntelVector): readonly string[] {
  const expired = expect.window_empty ? [`${kind}.tcb-info.window:collateral.expired`] : [];
  const unmatched =
    expect.tcb.converged === 'Unsupported'
      ? [`${kind}.tcb.level:tcb.level`, `${kind}.tcb.status:tcb.status`]
      : [];
  const debug = expect.debug ? [`${kind}.debug:intel.debug-mode`] : [];
  return [...expired, ...unmatched, ...debug];
}

for (const crypto of [nodeCrypto, portableCrypto]) {
  for (const each of vectors) {
    test(`INTEL-1 INTEL-13 INTEL-28 INTEL-34 ${crypto.name}: ${each.id} gives its recorded outcome`, () => {
      const { expect, kind } = each;
      const result = appraiseVector(each, { crypto });
      const { claims, verdict } = result;
      const ids =
        kind === 'tdx'
          ? [...TDX_VERIFY_CHECKS, ...TDX_VALIDATE_CHECKS]
          : [...SGX_VERIFY_CHECKS, ...SGX_VALIDATE_CHECKS];
      assert.deepEqual(
        verdict.checks.map(({ id }) => id),
        ids,
        'INTEL-2: every check in order',
      );
      assert.deepEqual(failures(result), expectedFailures(each));
      assert.ok(
        skips(result).every((each) => each.endsWith(':collateral.missing')),
        `${skips(result)}`,
      );
      assert.equal(verdict.ok, failures(result).length === 0 && skips(result).length === 0);
      const tcb = claims?.tcb;
      assert.ok(tcb !== undefined && tcb !== null);
      assert.equal(tcb.status, expect.tcb.converged);
      assert.equal(tcb.platformStatus, expect.tcb.platform.replace('NoMatch', 'Unsupported'));
      const module = expect.tcb.tdx_module ?? '(v0)';
      assert.equal(tcb.moduleStatus, module === '(v0)' ? null : module);
      assert.equal(tcb.qeStatus, expect.tcb.qe);
      assert.equal(tcb.tcbDateMs, expect.tcb.tcb_date === undefined ? null : Date.parse(expect.tcb.tcb_date));
      assert.deepEqual(tcb.advisoryIds, expect.tcb.advisories);
    });
  }
}

for (const each of vectors) {
  test(`INTEL-5 INTEL-6 INTEL-16 INTEL-45 ${each.id} says what the manifest says`, () => {
    const { expect, kind } = each;
    const claims = appraiseVector(each).claims;
    assert.ok(claims !== null);
    assert.equal(claims.kind, kind);
    assert.equal(claims.header.version, expect.quote_version);
    assert.equal(claims.pckCa, expect.pck_ca);
    assert.equal(toHex(claims.pck.fmspc), expect.fmspc);
    assert.equal(claims.pck.pceSvn, expect.pce_svn);
    assert.equal(toHex(claims.pck.cpuSvn), expect.cpu_svn);
    assert.equal(toHex(claims.pck.components), expect.cpu_svn, 'on these processors the two are the same');
    assert.equal(claims.isDebug, expect.debug);
    assert.equal(toHex(claims.reportData), expect.report_data);
    assert.equal(claims.isSimulated, false);
    assert.equal(claims.cloud, null);
    assert.deepEqual(
      claims.hardware.map(({ vendor, id }) => [vendor, id]),
      [['intel', claims.pck.ppid]],
    );
    assert.equal(claims.evidenceEndMs, Date.parse(expect.pck_chain_valid_to));
    assert.ok(claims.facts.length <= 4096);
    if (!expect.window_empty) assert.ok((claims.collateralEndMs ?? 0) >= recordedTimeMs(each));
    if (claims.kind === 'tdx') assertTd(claims, each);
    else assertSgx(claims, each);
  });
}

function assertTd(claims: TdxClaims, { expect }: IntelVector): void {
  assert.equal(toHex(claims.mrTd), expect.measurement);
  assert.equal(toHex(claims.teeTcbSvn), expect.tee_tcb_svn);
  assert.equal(toHex(claims.tdAttributes), expect.td_attributes);
  assert.equal(claims.mrServiceTd !== null, expect.quote_version === 5);
  const names = [
    'mrtd',
    'rtmr0',
    'rtmr1',
    'rtmr2',
    'rtmr3',
    'mrconfigid',
    'mrowner',
    'mrownerconfig',
    'mrseam',
    'mrsignerseam',
  ];
  for (const name of names) assert.equal(claims.registers.get(name)?.length, 48, name);
  assert.equal(claims.registers.has('mrservicetd'), expect.quote_version === 5);
}

function assertSgx(claims: SgxClaims, { expect }: IntelVector): void {
  assert.equal(toHex(claims.mrEnclave), expect.measurement);
  assert.equal(toHex(claims.attributes), expect.sgx_attributes);
  const { isvProdId } = claims;
  assert.deepEqual(claims.registers.get('isvprodid'), Uint8Array.of(isvProdId & 0xff, isvProdId >> 8));
}

test('INTEL-9 INTEL-4 padding is stripped by the submitter and refused by the verifier', { skip }, () => {
  for (const each of vectors) {
    const { recorded, quote, expect, kind, id } = each;
    const [whole, cut] = [appraiseVector(each, { quote: recorded }), stripped(each)];
    if (expect.trailing_bytes === 0) assert.equal(cut.length, recorded.length, id);
    else assert.deepEqual(failures(whole), [`${kind}.quote:quote.trailing-bytes`], id);
    assert.equal(cut.length, expect.trailing_all_zero ? quote.length : recorded.length, id);
  }
});

test('INTEL-9 nothing but zero bytes behind a whole quote is stripped', { skip }, () => {
  const { quote } = intelVector('v4-debug-2023');
  const padded = (...tail: readonly number[]): Uint8Array => Uint8Array.from([...quote, ...tail]);
  assert.equal(stripQuotePadding(quote).length, quote.length);
  assert.equal(stripQuotePadding(padded(0, 0)).length, quote.length);
  assert.equal(stripQuotePadding(padded(0, 1)).length, quote.length + 2);
  assert.equal(stripQuotePadding(quote.subarray(0, 700)).length, 700);
  for (const bytes of [new Uint8Array(0), new Uint8Array(47), new Uint8Array(9000)])
    assert.equal(stripQuotePadding(bytes), bytes);
  assert.throws(() => parseQuote(padded(0)), /quote.trailing-bytes/);
});

const accepted = vectors.filter((each) => appraiseVector(each).verdict.ok);

test('INTEL-37 without accepted statuses only UpToDate passes', { skip }, () => {
  assert.ok(accepted.length >= 4);
  for (const each of accepted) {
    const change = { tcbStatuses: 'not-given' } as const;
    const result = appraiseVector(each, { tdx: change, sgx: change });
    assert.equal(result.verdict.ok, each.expect.tcb.converged === 'UpToDate', each.id);
    const only = { tcbStatuses: [each.expect.tcb.converged as 'OutOfDate'] } as const;
    assert.equal(appraiseVector(each, { tdx: only, sgx: only }).verdict.ok, true, each.id);
  }
});

test('INTEL-38 older TCB information is a rollback, whatever its dates', { skip }, () => {
  for (const each of accepted) {
    const number = appraiseVector(each).claims?.tcb?.evaluationDataNumber ?? 0;
    const at = (floor: number) => {
      const change = { minTcbEvaluationDataNumber: floor };
      return failures(appraiseVector(each, { tdx: change, sgx: change }));
    };
    assert.deepEqual(at(number), []);
    assert.deepEqual(at(number + 1), [`${each.kind}.tcb.evaluation-number:tcb.evaluation-number`]);
  }
});

test('INTEL-28 collateral holds from its issue to its next update, and through the grace', { skip }, () => {
  for (const each of accepted.filter(({ expect }) => expect.crls !== undefined)) {
    const [fromMs, toMs] = [Date.parse(each.expect.window_from), Date.parse(each.expect.window_to)];
    assert.equal(appraiseVector(each, { nowMs: fromMs }).verdict.ok, true, each.id);
    assert.equal(appraiseVector(each, { nowMs: toMs }).verdict.ok, true, each.id);
    assert.match(`${failures(appraiseVector(each, { nowMs: fromMs - 1 }))}`, /collateral.not-yet-valid/);
    const late = appraiseVector(each, { nowMs: toMs + 1 });
    assert.match(`${failures(late)}`, /collateral.expired/);
    assert.equal(late.claims?.tcb?.status, each.expect.tcb.converged, 'the TCB is judged all the same');
    const trust = { collateralGraceMs: 86_400_000 };
    assert.equal(appraiseVector(each, { nowMs: toMs + 1, trust }).verdict.ok, true, each.id);
    assert.equal(appraiseVector(each, { nowMs: toMs + 86_400_001, trust }).verdict.ok, false, each.id);
  }
});

function replaced(each: IntelVector, index: number, change: (piece: Piece) => Piece): readonly Piece[] {
  return collateralOf(each).map((piece, i) => (i === index ? change(piece) : piece));
}

test(
  'INTEL-3 INTEL-21 lists that are empty, garbage or forged fail; lists that are missing are skipped',
  { skip },
  () => {
    for (const id of ['v4-uptodate-2025-06', 'v3-confsw-2025-06']) {
      const each = intelVector(id);
      for (const [index, name] of ['root-crl', 'pck-crl'].entries()) {
        const withCrl = (crl: Uint8Array) =>
          appraiseVector(each, {
            pieces: replaced(each, index, ({ ref }) => ({
              ref,
              item: { kind: 'intel-crl', crl, issuerChain: [] },
            })),
          });
        const { item } = collateralOf(each)[index] as Piece;
        const crl = item.kind === 'intel-crl' ? item.crl : new Uint8Array(0);
        const flipped = crl.slice();
        flipped[flipped.length - 1] = (flipped[flipped.length - 1] as number) ^ 1;
        for (const bad of [
          new Uint8Array(0),
          utf8Encode('not a list'),
          flipped,
          crl.subarray(1),
          Uint8Array.from([...crl, 0]),
        ])
          assert.ok(failures(withCrl(bad)).some((failure) => failure.startsWith(`${each.kind}.${name}:`)));
        const missing = appraiseVector(each, { pieces: collateralOf(each).filter((_, i) => i !== index) });
        assert.deepEqual([missing.verdict.ok, failures(missing)], [false, []]);
        assert.ok(skips(missing).includes(`${each.kind}.${name}:collateral.missing`));
      }
      const none = appraiseVector(each, { pieces: [] });
      assert.deepEqual([none.verdict.ok, failures(none), none.claims?.tcb], [false, [], null]);
    }
  },
);

test('INTEL-21 the list of another issuer is none', { skip }, () => {
  const each = intelVector('v4-uptodate-2025-06');
  const [root, pck] = collateralOf(each) as readonly [Piece, Piece];
  const at = (piece: Piece, other: Piece): Piece => ({ ref: piece.ref, item: other.item });
  const rest = collateralOf(each).slice(2);
  const swapped = appraiseVector(each, { pieces: [at(root, pck), at(pck, root), ...rest] });
  assert.deepEqual(failures(swapped).slice(0, 2), ['tdx.root-crl:crl.issuer', 'tdx.pck-crl:crl.issuer']);
  const processor = collateralOf(intelVector('v3-confsw-2025-06'))[1] as Piece;
  const other = appraiseVector(each, { pieces: [root, at(pck, processor), ...rest] });
  assert.deepEqual(failures(other), ['tdx.pck-crl:crl.issuer']);
  const test = crlPiece(vectorFile('tdx', 'inteltest-rootCaCrl.der'), 'Intel SGX Root CA');
  const simulated = appraiseVector(each, { pieces: [at(root, test), pck, ...rest] });
  assert.deepEqual(failures(simulated), ['tdx.root-crl:crl.signature']);
});

test('INTEL-24 one changed character of a signed object breaks its signature', { skip }, () => {
  const each = intelVector('v4-uptodate-2025-06');
  for (const [index, name] of [
    [2, 'tcb-info'],
    [3, 'qe-identity'],
  ] as const) {
    const { item } = collateralOf(each)[index] as Piece;
    assert.ok(item.kind === 'intel-tcb-info' || item.kind === 'intel-qe-identity');
    for (let at = 0; at < item.body.length; at += 37) {
      const body = item.body.slice();
      body[at] = (body[at] as number) ^ 1;
      const pieces = replaced(each, index, ({ ref }) => ({ ref, item: { ...item, body } }));
      assert.deepEqual(failures(appraiseVector(each, { pieces })), [
        `tdx.${name}.signature:collateral.signature`,
      ]);
    }
    const pretty = utf8Encode(JSON.stringify(JSON.parse(Buffer.from(item.body).toString()), null, 2));
    const pieces = replaced(each, index, ({ ref }) => ({ ref, item: { ...item, body: pretty } }));
    assert.deepEqual(failures(appraiseVector(each, { pieces })), [
      `tdx.${name}.signature:collateral.signature`,
    ]);
  }
});

test('INTEL-29 INTEL-30 SGX collateral for a TDX quote, and the reverse, is refused', { skip }, () => {
  const tdx = intelVector('v4-uptodate-2025-06');
  const sgx = intelVector('v3-confsw-2025-06');
  for (const [each, other] of [
    [tdx, sgx],
    [sgx, tdx],
  ] as const) {
    const [root, pck, info, qe] = collateralOf(each) as readonly [Piece, Piece, Piece, Piece];
    const [, , otherInfo, otherQe] = collateralOf(other) as readonly [Piece, Piece, Piece, Piece];
    const wrongInfo = [root, pck, { ref: info.ref, item: otherInfo.item }, qe];
    assert.deepEqual(failures(appraiseVector(each, { pieces: wrongInfo })), [
      `${each.kind}.tcb-info.match:tcb-info.id`,
    ]);
    const wrongQe = [root, pck, info, { ref: qe.ref, item: otherQe.item }];
    const failed = failures(appraiseVector(each, { pieces: wrongQe }));
    assert.deepEqual(failed.slice(0, 2), [
      `${each.kind}.qe-identity.match:qe-identity.id`,
      `${each.kind}.tcb.level:tcb.level`,
    ]);
  }
  const other = collateralOf(intelVector('v5-nomatch-2026-02'))[2] as Piece;
  const pieces = replaced(tdx, 2, ({ ref }) => ({ ref, item: other.item }));
  assert.ok(failures(appraiseVector(tdx, { pieces })).includes('tdx.tcb-info.match:tcb-info.fmspc'));
});

test('INTEL-17 the PCK chain of another quote does not sign this one', { skip }, () => {
  const [a, b] = [intelVector('v5-nomatch-2026-02'), intelVector('v4-uptodate-2025-06')];
  const [chainA, chainB] = [a, b].map(({ quote }) => parseQuote(quote).certificationData) as [
    Uint8Array,
    Uint8Array,
  ];
  assert.equal(chainA.length, chainB.length, 'so the lengths stay true');
  const quote = a.quote.slice();
  quote.set(chainB, quote.length - chainB.length);
  assert.deepEqual(failures(appraiseVector(a, { quote })), [
    'tdx.qe.report-signature:tdx.qe.report-signature',
  ]);
});

test("INTEL-10 INTEL-7 Intel's own sample under its test root is refused", { skip }, () => {
  const each = intelVector('v4-uptodate-2025-06');
  const quote = vectorFile('tdx', 'inteltest-quote.dat');
  assert.deepEqual(failures(appraiseVector(each, { quote })), ['tdx.certification-data:pem.malformed']);
  const untrusted = appraiseVector(each, { trust: { roots: [] } });
  assert.deepEqual([failures(untrusted), untrusted.claims], [['tdx.chain.root:intel.root-untrusted'], null]);
  assert.deepEqual(createHash('sha256').update(intelRoot()).digest('hex'), toHex(INTEL_SGX_ROOT.sha256));
});

test('INTEL-14 INTEL-23 certificates that the caller takes back fail', { skip }, () => {
  const each = intelVector('v4-uptodate-2025-06');
  const leaf = parseCertificate(stripChain(each), 'pck');
  const revoked = [{ issuer: leaf.issuer, serial: leaf.serial }];
  assert.deepEqual(failures(appraiseVector(each, { trust: { revoked } })), [
    'tdx.chain.revocation:certificate.revoked',
  ]);
  const signer = parseCertificate(vectorFile('tdx', 'intel-tcb-signing-2025.der'), 'signer');
  const taken = appraiseVector(each, {
    trust: { revoked: [{ issuer: signer.issuer, serial: signer.serial }] },
  });
  assert.deepEqual(failures(taken), [
    'tdx.qe-identity.signer-revocation:certificate.revoked',
    'tdx.tcb-info.signer-revocation:certificate.revoked',
  ]);
});

function stripChain({ quote }: IntelVector): Uint8Array {
  const text = Buffer.from(parseQuote(quote).certificationData).toString('latin1');
  const base64 = text.split('-----END')[0]?.replace('-----BEGIN CERTIFICATE-----', '') ?? '';
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

test('INTEL-21 genuine lists are read whole', { skip }, () => {
  for (const { kind, files } of vectors)
    for (const { file } of files.filter((each) => /crl.*\.der$/.test(each.file))) {
      const list = parseCrl(vectorFile(kind, file), file);
      assert.equal(list.number, 1n, file);
      assert.equal(
        bytesEqual(
          list.issuer,
          intelName(file.startsWith('root') ? 'Intel SGX Root CA' : 'Intel SGX PCK Platform CA'),
        ),
        true,
      );
    }
  for (const each of vectors.filter(({ expect }) => expect.crls !== undefined)) {
    const lists = collateralOf(each).flatMap(({ item }) =>
      item.kind === 'intel-crl' ? [parseCrl(item.crl, 'crl')] : [],
    );
    const counts = lists.map(({ entries }) => entries.length).sort();
    assert.deepEqual(counts, (each.expect.crls ?? []).map(({ revoked }) => revoked).sort(), each.id);
  }
});

test('INTEL-46 facts give the same checks and the same TCB as the quote', { skip }, () => {
  for (const each of vectors) {
    const trust = trustFor(each);
    const whole = appraiseVector(each);
    assert.ok(whole.claims !== null);
    const policy = each.kind === 'tdx' ? OPEN_TDX : OPEN_SGX;
    const again = rescoreIntel(whole.claims.facts, { ...trust, policy });
    assert.deepEqual(again.tcb, whole.claims.tcb, each.id);
    assert.equal(again.collateralEndMs, whole.claims.collateralEndMs);
    const known = new Map(whole.verdict.checks.map((check) => [check.id, check]));
    for (const check of again.verdict.checks.filter(
      ({ id }) => id !== 'intel.facts' && !id.endsWith('chain.root'),
    ))
      assert.deepEqual(check, known.get(check.id), `${each.id} ${check.id}`);
    const acceptance = { [each.kind]: { roots: trust.roots, policy } };
    const { verdict } = rescoreEvidence(each.kind, whole.claims.facts, { ...trust, ...acceptance });
    assert.deepEqual(verdict, again.verdict);
    const untrusted = rescoreIntel(whole.claims.facts, { ...trust, roots: [], policy });
    assert.equal(untrusted.verdict.ok, false);
  }
});

test('INTEL-47 INTEL-48 genuine collateral stands alone, and says how new it is', { skip }, () => {
  const each = intelVector('v4-uptodate-2025-06');
  const pieces = collateralOf(each);
  const nowMs = recordedTimeMs(each);
  const trust = { crypto: nodeCrypto, nowMs, roots: [INTEL_SGX_ROOT], collateral: sourceOf(pieces) };
  const chain = parseQuoteChain(each);
  for (const [index, { ref, item }] of pieces.entries()) {
    const issuerChain = item.kind === 'intel-crl' ? chain.slice(0, index + 1) : item.issuerChain;
    const { verdict, facts } = appraiseCollateral({ ...item, issuerChain }, trust);
    assert.equal(verdict.ok, true, JSON.stringify(verdict.checks));
    assert.deepEqual(
      verdict.checks.map(({ id }) => id),
      [...INTEL_COLLATERAL_CHECKS],
    );
    assert.deepEqual(facts?.ref, ref);
    assert.equal(facts?.simulated, false);
    assert.equal(facts?.version[0], item.kind === 'intel-crl' ? 1 : 17);
    assert.equal(facts?.version[1], facts?.issuedMs);
    const late = appraiseCollateral({ ...item, issuerChain }, { ...trust, nowMs: facts?.nextUpdateMs ?? 0 });
    const later = appraiseCollateral(
      { ...item, issuerChain },
      { ...trust, nowMs: (facts?.nextUpdateMs ?? 0) + 1 },
    );
    assert.deepEqual([late.verdict.ok, later.verdict.ok, later.facts], [true, false, null]);
    const alone = appraiseCollateral({ ...item, issuerChain }, { ...trust, collateral: () => null });
    assert.equal(alone.verdict.ok, index === 0, 'only the list of the root needs no other');
  }
  const version = (a: number, b: number) => ({ version: [a, b] as const });
  assert.equal(isNewer(version(18, 1), version(17, 9)), true);
  assert.equal(isNewer(version(17, 9), version(18, 1)), false);
  assert.equal(isNewer(version(17, 9), version(17, 8)), true);
  assert.equal(isNewer(version(17, 8), version(17, 8)), false);
});

/** Root first. */
function parseQuoteChain({ quote }: IntelVector): readonly Uint8Array[] {
  const text = Buffer.from(parseQuote(quote).certificationData).toString('latin1');
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*/g) ?? [];
  return blocks
    .map((block) => new Uint8Array(Buffer.from(block.replace('-----BEGIN CERTIFICATE-----', ''), 'base64')))
    .reverse();
}

test('INTEL-43 a quote of either kind is appraised through the one entry', { skip }, () => {
  for (const each of accepted) {
    const { quote, kind, expect } = each;
    const trust = trustFor(each);
    const policy = {
      ...OPEN_TDX,
      ...OPEN_SGX,
      reportData: new Uint8Array(Buffer.from(expect.report_data, 'hex')),
    };
    const context = { ...trust, [kind]: { roots: trust.roots, policy } };
    assert.equal(appraiseEvidence(kind, quote, context).verdict.ok, true, each.id);
    const other = kind === 'tdx' ? 'sgx' : 'tdx';
    assert.match(`${failures(appraiseEvidence(other, quote, context))}`, /evidence.kind-not-accepted/);
    const swapped = appraiseEvidence(other, quote, { ...trust, [other]: { roots: trust.roots, policy } });
    assert.match(`${failures(swapped)}`, /quote\.(version|tee-type)/);
    assert.match(
      `${failures(appraiseVector(each, { tdx: { reportData: new Uint8Array(64).fill(9) }, sgx: { reportData: new Uint8Array(64).fill(9) } }))}`,
      /report-data/,
    );
  }
});

/** Every mutation that has to be rejected, by the words of `mutations.json`, and the tests that show it. */
const MUTATIONS: Readonly<Record<string, string>> = {
  'flip a bit in header / body / report_data / QE report / qe_auth_data / att key':
    'INTEL-8 INTEL-19 no byte can change',
  'swap PCK chain for that of another quote': 'INTEL-17',
  'replace CRLs by empty bytes, garbage, or a CRL whose signature is flipped': 'INTEL-3 INTEL-21',
  'change one character of tcbInfo or enclaveIdentity': 'INTEL-24',
  'use SGX tcbInfo for a TDX quote; use QE identity for TD_QE': 'INTEL-29 INTEL-30',
  'collateral older than the highest tcbEvaluationDataNumber on chain': 'INTEL-38',
  'append non-zero bytes after the quote': 'INTEL-4 INTEL-9',
};

test('INTEL-9 every mutation listed for quotes has its test', { skip }, () => {
  const listed = (
    JSON.parse(Buffer.from(mutationsFile()).toString()) as {
      readonly mutations: readonly { readonly kind: string; readonly op: string }[];
    }
  ).mutations;
  const ours = listed.filter(({ kind }) => kind.includes('tdx') || kind.includes('sgx'));
  assert.deepEqual(ours.map(({ op }) => op).sort(), Object.keys(MUTATIONS).sort());
});
