import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto, rememberSignatures } from '@haca/platform';
import { bytesEqual, encode, fromHex, toHex, UsageError } from '@haca/primitives';
import { dstackDocumentCodec, type Measurement } from '@haca/protocol';
import { truncationsAndExtensions } from '@haca/testkit';
import {
  AMD_ARK_MILAN,
  appraiseDstack,
  appraiseEvidence,
  DSTACK_VALIDATE_CHECKS,
  DSTACK_VERIFY_CHECKS,
  type DstackClaims,
  dstackRegistrationPolicy,
  rescoreEvidence,
} from '../src/index.ts';
import {
  appraiseDstackChanged,
  BINDING,
  dstackContext,
  failures,
  genuineDstack,
  NO_COLLATERAL,
  patched,
  recorded,
  SIGNS_ANYTHING,
  vectorsMissing,
  withStatus,
} from './wrapped-fixtures.ts';

const skip = vectorsMissing;

function genuineBytes(): Uint8Array {
  return encode(dstackDocumentCodec, genuineDstack());
}

function genuineClaims(): DstackClaims {
  const { claims } = appraiseDstackChanged(genuineBytes());
  assert.ok(claims !== null);
  return claims;
}

test('DSTACK-1 DSTACK-7 DSTACK-11 the recorded evidence gives its recorded outcome', { skip }, () => {
  const expect = recorded('dstack', 'quote-report');
  const document = genuineDstack();
  assert.equal(document.events.length, expect['events']);
  const appraisal = appraiseDstackChanged(document);
  assert.deepEqual([appraisal.verdict.ok, failures(appraisal)], [true, []]);
  const claims = genuineClaims();
  assert.equal(claims.kind, 'dstack');
  assert.equal(toHex(claims.tdx.reportData), expect['report_data']);
  assert.equal(toHex(claims.appId), expect['app_id']);
  assert.equal(toHex(claims.composeHash), expect['compose_hash']);
  assert.equal(toHex(claims.tdx.pck.fmspc), expect['fmspc']);
  const runtime = document.events.filter(({ digest }) => digest === null).map(({ name }) => name);
  assert.deepEqual(runtime, expect['rtmr3_event_names']);
  assert.deepEqual(
    claims.applicationEvents.map(({ name }) => name),
    ['LIUM_MINER_HOTKEY'],
  );
  assert.equal(claims.tdx.tcb?.status, 'UpToDate');
  const { registers } = claims;
  assert.deepEqual(registers.get('compose-hash'), claims.composeHash);
  assert.deepEqual(registers.get('key-provider'), nodeCrypto.sha256(claims.keyProvider));
  assert.deepEqual(registers.get('rtmr3'), claims.tdx.rtmrs[3]);
  assert.equal(registers.has('os-image-hash'), false);
  assert.equal(registers.has('LIUM_MINER_HOTKEY'), false);
  assert.deepEqual([claims.isSimulated, claims.isDebug, claims.cloud], [false, false, null]);
  assert.deepEqual(claims.hardware, claims.tdx.hardware);
});

test('DSTACK-2 every check is listed in order, whatever fails', { skip }, () => {
  const ids = [...DSTACK_VERIFY_CHECKS, ...DSTACK_VALIDATE_CHECKS];
  const bytes = genuineBytes();
  for (const document of [bytes, bytes.subarray(1), new Uint8Array(0), new Uint8Array(30_000)]) {
    const { verdict } = appraiseDstackChanged(document);
    assert.deepEqual(
      verdict.checks.map(({ id }) => id),
      ids,
    );
  }
  assert.equal(ids.includes('tdx.measurement'), false);
  const { verdict, claims } = appraiseDstackChanged(bytes.subarray(1));
  assert.equal(claims, null);
  assert.deepEqual(
    verdict.checks.slice(2).map(({ status, code }) => `${status}:${code}`),
    ids.slice(2).map(() => 'skipped:not-reached'),
  );
});

test(
  'DSTACK-2 without collateral what is authentic is said, and what was not judged is skipped',
  { skip },
  () => {
    const appraisal = appraiseDstackChanged(genuineDstack(), { collateral: NO_COLLATERAL });
    assert.equal(appraisal.verdict.ok, false);
    assert.deepEqual(failures(appraisal), []);
    const skipped = withStatus(appraisal, 'skipped');
    assert.ok(skipped.includes('tdx.tcb-info.signature:collateral.missing'));
    assert.ok(skipped.every((check) => check.startsWith('tdx.')));
    assert.ok(appraisal.claims !== null);
  },
);

test('DSTACK-3 a document that is too large is not read', { skip }, () => {
  const large = patched(new Uint8Array(24 * 1024 + 1), 0, genuineBytes());
  assert.deepEqual(failures(appraiseDstackChanged(large)), ['dstack.size:dstack.too-large']);
});

test('DSTACK-3 truncations and extensions are refused', { skip }, () => {
  const crypto = rememberSignatures(nodeCrypto, 1024);
  for (const bytes of truncationsAndExtensions(genuineBytes()))
    assert.equal(appraiseDstackChanged(bytes, { crypto }).verdict.ok, false, `${bytes.length} bytes`);
});

test('DSTACK-3 a quote with its padding is refused', { skip }, () => {
  const { quote, events } = genuineDstack();
  const padded = patched(new Uint8Array(5006), 0, quote);
  assert.deepEqual(failures(appraiseDstackChanged({ quote: padded, events })), [
    'tdx.quote:quote.trailing-bytes',
  ]);
});

test('DSTACK-1 DSTACK-4 DSTACK-5 no byte of the genuine document can change', { skip }, () => {
  const bytes = genuineBytes();
  const native = rememberSignatures(nodeCrypto, 1024);
  const portable = rememberSignatures(portableCrypto, 1024);
  const accepted: number[] = [];
  const codes = new Set<string>();
  for (let at = 0; at < bytes.length; at++) {
    const flipped = patched(bytes, at, Uint8Array.of((bytes[at] as number) ^ 1));
    const appraisal = appraiseDstackChanged(flipped, { crypto: native });
    if (appraisal.verdict.ok) accepted.push(at);
    for (const failure of failures(appraisal)) codes.add(failure);
    if (at % 211 !== 0) continue;
    assert.deepEqual(failures(appraiseDstackChanged(flipped, { crypto: portable })), failures(appraisal));
  }
  assert.deepEqual(accepted, []);
  for (const code of ['dstack.replay:dstack.replay', 'dstack.document:dstack.boot-event'])
    assert.ok(codes.has(code), code);
});

test('DSTACK-1 native and portable crypto agree', { skip }, () => {
  const [native, portable] = [nodeCrypto, portableCrypto].map((crypto) =>
    appraiseDstackChanged(genuineDstack(), { crypto }),
  );
  assert.deepEqual(portable?.verdict, native?.verdict);
  assert.deepEqual(portable?.claims?.claimsDigest, native?.claims?.claimsDigest);
});

test('DSTACK-2 a quote that is refused gives no claims, and its log is not replayed', { skip }, () => {
  const { quote, events } = genuineDstack();
  const changed = patched(quote, 600, Uint8Array.of((quote[600] as number) ^ 1));
  const appraisal = appraiseDstackChanged({ quote: changed, events });
  assert.deepEqual(failures(appraisal), ['tdx.signature:tdx.signature']);
  assert.equal(appraisal.claims, null);
  assert.ok(withStatus(appraisal, 'skipped').includes('dstack.replay:not-reached'));
  const otherRoot = appraiseDstackChanged({ quote, events }, { roots: [AMD_ARK_MILAN] });
  assert.equal(otherRoot.claims, null);
});

function measurementOf(claims: DstackClaims, names: readonly string[]): Measurement {
  const registers = names.toSorted().map((register) => {
    const value = claims.registers.get(register);
    assert.ok(value !== undefined, register);
    return { register, value };
  });
  return { kind: 'dstack', name: 'release', registers };
}

const WHOLE = ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'compose-hash', 'key-provider'];

test('DSTACK-12 the whole tuple is pinned or nothing matches', { skip }, () => {
  const claims = genuineClaims();
  const appraise = (measurements: readonly Measurement[]) =>
    appraiseDstackChanged(genuineDstack(), { policy: { measurements } });
  for (const names of [WHOLE, [...WHOLE, 'app-id', 'instance-id', 'rtmr3', 'mrconfigid']]) {
    const appraisal = appraise([measurementOf(claims, names)]);
    assert.deepEqual([appraisal.verdict.ok, appraisal.measurement], [true, 'release'], names.join());
  }
  for (const missing of WHOLE) {
    const partial = measurementOf(
      claims,
      WHOLE.filter((name) => name !== missing),
    );
    assert.deepEqual(failures(appraise([partial])), ['dstack.measurement:dstack.measurement'], missing);
  }
  for (const wrong of [...WHOLE, 'app-id']) {
    const whole = measurementOf(claims, [...new Set([...WHOLE, wrong])]);
    const registers = whole.registers.map(({ register, value }) =>
      register === wrong ? { register, value: value.map((byte) => byte ^ 1) } : { register, value },
    );
    assert.deepEqual(failures(appraise([{ ...whole, registers }])), [
      'dstack.measurement:dstack.measurement',
    ]);
  }
  const ofTdx = {
    ...measurementOf(claims, ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3']),
    kind: 'tdx',
  } as const;
  assert.deepEqual(failures(appraise([ofTdx])), ['dstack.measurement:dstack.measurement']);
  const notGiven = appraiseDstackChanged(genuineDstack(), { policy: { measurements: 'not-given' } });
  assert.deepEqual(withStatus(notGiven, 'skipped'), ['dstack.measurement:policy.not-given']);
});

test('DSTACK-14 report data binds a registration', { skip }, () => {
  const policy = dstackRegistrationPolicy(nodeCrypto, BINDING);
  assert.equal((policy.reportData as Uint8Array).length, 64);
  assert.deepEqual(failures(appraiseDstackChanged(genuineDstack(), { policy })), [
    'tdx.report-data:tdx.report-data',
  ]);
  const reportData = fromHex(recorded('dstack', 'quote-report')['report_data'] as string);
  assert.equal(appraiseDstackChanged(genuineDstack(), { policy: { reportData } }).verdict.ok, true);
});

test('DSTACK-13 an application id of other making is refused unless the policy allows it', { skip }, () => {
  const document = genuineDstack();
  const { requireAppIdFromCompose } = dstackContext().policy;
  assert.equal(requireAppIdFromCompose, true);
  const { verdict } = appraiseDstackChanged(document, { policy: { requireAppIdFromCompose: false } });
  assert.equal(verdict.checks.find(({ id }) => id === 'dstack.app-id')?.status, 'not-applicable');
  assert.equal(verdict.ok, true);
});

test('DSTACK-15 claims have one digest, whatever carried them', { skip }, () => {
  const claims = genuineClaims();
  const again = appraiseDstackChanged(genuineDstack(), { crypto: portableCrypto }).claims;
  assert.ok(again !== null && bytesEqual(again.claimsDigest, claims.claimsDigest));
  assert.equal(claims.claimsDigest.length, 32);
  assert.notDeepEqual(claims.claimsDigest, claims.tdx.claimsDigest);
});

test('DSTACK-16 facts are judged again as the facts of the quote', { skip }, () => {
  const { facts } = genuineClaims();
  const { policy, ...trust } = dstackContext();
  const { roots, ...rest } = trust;
  const context = { ...rest, dstack: { roots, policy } };
  assert.equal(rescoreEvidence('dstack', facts, context).verdict.ok, true);
  const bare = { ...context, collateral: NO_COLLATERAL };
  assert.equal(rescoreEvidence('dstack', facts, bare).verdict.ok, false);
  const late = { ...context, nowMs: context.nowMs + 365 * 86_400_000 };
  assert.equal(rescoreEvidence('dstack', facts, late).verdict.ok, false);
  assert.equal(rescoreEvidence('dstack', new Uint8Array(3), context).verdict.ok, false);
  assert.equal(rescoreEvidence('dstack', facts, rest).verdict.ok, false);
  assert.ok(facts.length <= 4096);
});

test('DSTACK-1 the dispatcher appraises it, and refuses it where it is not accepted', { skip }, () => {
  const { policy, roots, ...trust } = dstackContext();
  const bytes = genuineBytes();
  assert.equal(appraiseEvidence('dstack', bytes, { ...trust, dstack: { roots, policy } }).verdict.ok, true);
  const refused = appraiseEvidence('dstack', bytes, trust);
  assert.deepEqual(failures(refused), ['evidence.kind:evidence.kind-not-accepted']);
});

test('DSTACK-1 a context that makes no sense is a mistake of the caller', { skip }, () => {
  assert.throws(() => appraiseDstack(genuineBytes(), dstackContext({ nowMs: Number.NaN })), UsageError);
  const roots = [{ sha256: new Uint8Array(20), simulated: false }];
  assert.throws(() => appraiseDstack(new Uint8Array(0), dstackContext({ roots })), UsageError);
});

test('DSTACK-2 debug mode is refused though everything is signed', { skip }, () => {
  const { quote, events } = genuineDstack();
  const debug = patched(quote, 48 + 120, Uint8Array.of(1));
  const appraisal = appraiseDstackChanged({ quote: debug, events }, { crypto: SIGNS_ANYTHING });
  assert.deepEqual(failures(appraisal), ['tdx.debug:intel.debug-mode']);
  assert.equal(appraisal.claims?.isDebug, true);
});
