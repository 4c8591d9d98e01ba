import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { concatBytes, domainHash, encode, fromHex, toHex, UsageError, utf8Encode } from '@haca/primitives';
import { gpuNonceOf, type Measurement, nvidiaDocumentCodec, type RegistrationBinding } from '@haca/protocol';
import fc from 'fast-check';
import {
  appraiseNvidia,
  type GoldenMeasurement,
  NVIDIA_DEVICE_ROOT,
  NVIDIA_VALIDATE_CHECKS,
  NVIDIA_VERIFY_CHECKS,
  type NvidiaPolicy,
  nvidiaRegistrationPolicy,
} from '../src/index.ts';
import {
  BLACKWELL,
  compositeDeviceId,
  type DevicePlan,
  der,
  diceExtension,
  diceTcbInfo,
  digestBlock,
  FWID,
  fwidOf,
  GPU_FIELDS,
  GPU_REPORT,
  HOPPER,
  LS10,
  type MintedDevice,
  mintDevice,
  mintDocument,
  NONCE,
  newKey,
  OID,
  opaqueOf,
  opaqueWithHeader,
  type ReportPlan,
  requestOf,
  SWITCH_FIELDS,
  SWITCH_REPORT,
  signReport,
  withFields,
} from './nvidia-fixture.ts';
import { encoded, failures, OPEN_POLICY, RECORDED_MS, statusOf } from './nvidia-vectors.ts';

const hopper = mintDevice(HOPPER);
const blackwell = mintDevice(BLACKWELL);
const ls10 = mintDevice(LS10);

function judge(
  device: MintedDevice,
  plan: ReportPlan,
  policy: Partial<NvidiaPolicy> = {},
): ReturnType<typeof appraiseNvidia> {
  return appraiseNvidia(encoded(mintDocument(device, plan)), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [device.root],
    revoked: [],
    policy: { ...OPEN_POLICY, ...policy },
  });
}

/** Failures of a Hopper GPU's report with this changed. */
function reportFailures(change: Partial<ReportPlan>): readonly string[] {
  return failures(judge(hopper, { ...GPU_REPORT, ...change }));
}

/** Failures of a device that was made another way. */
function deviceFailures(change: Partial<DevicePlan>, plan: ReportPlan = GPU_REPORT): readonly string[] {
  return failures(judge(mintDevice({ ...HOPPER, ...change }), plan));
}

test('NVIDIA-22 devices of a test root are accepted where it is trusted, and marked', () => {
  for (const [device, plan] of [
    [hopper, GPU_REPORT],
    [blackwell, GPU_REPORT],
    [ls10, SWITCH_REPORT],
  ] as const) {
    const result = judge(device, plan);
    assert.deepEqual(failures(result), []);
    assert.equal(result.verdict.ok, true);
    assert.equal(result.claims?.isSimulated, true);
  }
  const production = appraiseNvidia(encoded(mintDocument(hopper, GPU_REPORT)), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [NVIDIA_DEVICE_ROOT],
    revoked: [],
    policy: OPEN_POLICY,
  });
  assert.deepEqual(failures(production), ['nvidia.chain.root:nvidia.root-untrusted']);
  assert.equal(production.verdict.checks.length, NVIDIA_VERIFY_CHECKS.length + NVIDIA_VALIDATE_CHECKS.length);
  assert.equal(statusOf(production, 'nvidia.golden'), 'skipped');
});

test('NVIDIA-1 NVIDIA-3 documents that are too long, or none', () => {
  const context = {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [hopper.root],
    revoked: [],
    policy: OPEN_POLICY,
  };
  const result = appraiseNvidia(new Uint8Array(24_577), context);
  assert.deepEqual(failures(result), ['nvidia.size:nvidia.too-large']);
  assert.deepEqual(failures(appraiseNvidia(new Uint8Array(0), context)), ['nvidia.document:cbor.truncated']);
  assert.throws(() => appraiseNvidia(new Uint8Array(0), { ...context, nowMs: Number.NaN }), UsageError);
  const roots = [{ sha256: new Uint8Array(31), simulated: false }];
  assert.throws(() => appraiseNvidia(new Uint8Array(0), { ...context, roots }), UsageError);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      assert.equal(appraiseNvidia(bytes, context).verdict.ok, false);
    }),
    { numRuns: 300 },
  );
});

test('NVIDIA-4 the request is the one question there is', () => {
  const cases: readonly (readonly [request: Uint8Array, code: string])[] = [
    [requestOf(NONCE, '12e001ff'), 'spdm.value'],
    [requestOf(NONCE, '10e001ff'), 'spdm.value'],
    [requestOf(NONCE, '11e101ff'), 'spdm.value'],
    [requestOf(NONCE, '11e000ff'), 'spdm.value'],
    [requestOf(NONCE, '11e003ff'), 'spdm.value'],
    [requestOf(NONCE, '11e001fe'), 'spdm.value'],
    [requestOf(NONCE, '11e001ff', 8), 'spdm.value'],
    // The slot of the answer is another.
    [requestOf(NONCE, '11e001ff', 1), 'spdm.value'],
    [requestOf(NONCE.subarray(1)), 'spdm.value'],
  ];
  for (const [request, code] of cases)
    assert.deepEqual(reportFailures({ request }), [`nvidia.report:${code}`]);
  const slot3 = { request: requestOf(NONCE, '11e001ff', 3), responseHead: fromHex('11600003') };
  assert.deepEqual(reportFailures(slot3), []);
});

test('NVIDIA-5 the response: every length agrees, blocks ascend without gaps', () => {
  const { blocks } = GPU_REPORT;
  const changed = (at: number, change: object) =>
    blocks.map((block, i) => (i === at ? { ...block, ...change } : block));
  const cases: readonly (readonly [change: Partial<ReportPlan>, code: string])[] = [
    [{ responseHead: fromHex('12600000') }, 'spdm.value'],
    [{ responseHead: fromHex('11610000') }, 'spdm.value'],
    [{ responseHead: fromHex('11600100') }, 'spdm.value'],
    [{ responseHead: fromHex('11600001') }, 'spdm.value'],
    [{ blocks: [], statedBlocks: 0 }, 'spdm.value'],
    [{ statedBlocks: 63 }, 'spdm.length'],
    [{ statedBlocks: 65 }, 'spdm.block-index'],
    [{ statedRecordBytes: 3519 }, 'spdm.length'],
    [{ statedRecordBytes: 3521 }, 'spdm.length'],
    [{ statedRecordBytes: 0xffffff }, 'spdm.length'],
    [{ blocks: changed(1, { index: 1 }) }, 'spdm.block-index'],
    [{ blocks: changed(1, { index: 3 }) }, 'spdm.block-index'],
    [{ blocks: changed(0, { index: 0 }) }, 'spdm.block-index'],
    [{ blocks: blocks.slice(1) }, 'spdm.block-index'],
    [{ blocks: [...blocks].reverse() }, 'spdm.block-index'],
    [{ blocks: changed(5, { specification: 2 }) }, 'spdm.value'],
    [{ blocks: changed(5, { statedSize: 50 }) }, 'spdm.length'],
    [{ blocks: changed(5, { statedSize: 52 }) }, 'spdm.length'],
    [{ blocks: changed(5, { value: new Uint8Array(47) }) }, 'spdm.length'],
    [{ blocks: changed(5, { value: new Uint8Array(49) }) }, 'spdm.length'],
    [{ blocks: changed(5, { value: new Uint8Array(0) }) }, 'spdm.length'],
    [{ blocks: changed(5, { type: 0x81, value: new Uint8Array(0) }) }, 'spdm.length'],
    [{ blocks: changed(5, { type: 0x81, value: new Uint8Array(1025) }) }, 'spdm.length'],
    [{ responderNonce: new Uint8Array(31) }, 'spdm.length'],
    [{ statedOpaqueBytes: GPU_REPORT.opaque.length - 1 }, 'spdm.truncated'],
    [{ statedOpaqueBytes: GPU_REPORT.opaque.length + 1 }, 'spdm.truncated'],
    [{ opaque: new Uint8Array(1028) }, 'spdm.length'],
    [{ trailing: Uint8Array.of(0) }, 'spdm.trailing-bytes'],
  ];
  for (const [i, [change, code]] of cases.entries())
    assert.deepEqual(reportFailures(change), [`nvidia.report:${code}`], `case ${i}`);
  assert.deepEqual(reportFailures({ blocks: changed(5, { type: 0x81, value: new Uint8Array(9) }) }), []);
  const all = Array.from({ length: 255 }, (_, i) => digestBlock(i + 1));
  assert.deepEqual(reportFailures({ blocks: all }), []);
});

test('NVIDIA-5 the last block may be a measurement manifest, which is measured like the rest', () => {
  const { blocks } = GPU_REPORT;
  const manifest = (length: number, change: object = {}) => ({
    index: 0xfd,
    specification: 1,
    type: 0x8a,
    value: new Uint8Array(length).fill(7),
    ...change,
  });
  const measured = (last: ReturnType<typeof manifest>) =>
    judge(hopper, { ...GPU_REPORT, blocks: [...blocks, last] });
  const { verdict, claims } = measured(manifest(8192));
  assert.equal(verdict.ok, true);
  assert.deepEqual([claims?.blocks.length, claims?.blocks.at(-1)?.index], [65, 252]);
  const digests = [measured(manifest(9)), measured(manifest(10)), judge(hopper, GPU_REPORT)].map((each) =>
    toHex(each.claims?.registers.get('measurements') ?? new Uint8Array(0)),
  );
  assert.equal(new Set(digests).size, 3);
  const refused: readonly (readonly [change: Partial<ReportPlan>, code: string])[] = [
    [{ blocks: [...blocks, manifest(8193)] }, 'spdm.length'],
    [{ blocks: [...blocks, manifest(0)] }, 'spdm.length'],
    [{ blocks: [...blocks, manifest(9, { index: 0xfe })] }, 'spdm.block-index'],
    [{ blocks: [...blocks, manifest(9, { type: 1 })] }, 'spdm.length'],
    [{ blocks: [...blocks, manifest(9), manifest(9)] }, 'spdm.block-index'],
    [{ blocks: [manifest(9), ...blocks] }, 'spdm.block-index'],
  ];
  for (const [i, [change, code]] of refused.entries())
    assert.deepEqual(reportFailures(change), [`nvidia.report:${code}`], `case ${i}`);
});

test('NVIDIA-6 opaque data: either form, each type once, unknown types kept', () => {
  const twice = opaqueOf([...GPU_FIELDS, [3, utf8Encode('1')]]);
  assert.deepEqual(reportFailures({ opaque: twice }), ['nvidia.report:nvidia.duplicate-field']);
  const many = opaqueOf(Array.from({ length: 129 }, (_, i) => [i + 100, new Uint8Array(0)]));
  assert.deepEqual(reportFailures({ opaque: many }), ['nvidia.report:nvidia.fields']);
  const cut = GPU_REPORT.opaque.subarray(0, GPU_REPORT.opaque.length - 2);
  assert.deepEqual(reportFailures({ opaque: cut }), ['nvidia.report:spdm.truncated']);
  const unknown = judge(hopper, { ...GPU_REPORT, opaque: opaqueOf([...GPU_FIELDS, [4711, NONCE]]) });
  assert.equal(unknown.verdict.ok, true);
  assert.deepEqual(unknown.claims?.opaque.fields.get(4711), { valueType: null, value: NONCE });
  const headed = judge(hopper, { ...GPU_REPORT, opaque: opaqueWithHeader(GPU_FIELDS) });
  assert.equal(headed.verdict.ok, true);
  assert.equal(headed.claims?.opaque.headerVersion, 2);
  assert.equal(headed.claims?.driverVersion, '550.90.07');
  assert.equal(headed.claims?.opaque.fields.get(3)?.valueType, 0x82);
  const heads: readonly (readonly [head: string, code: string])[] = [
    ['4e5644414f44010002000000', 'spdm.value'],
    ['4e5644414f44000003000000', 'nvidia.opaque-version'],
    ['4e5644414f44000002000100', 'spdm.value'],
    ['4e5644414f440000', 'nvidia.opaque-version'],
  ];
  for (const [head, code] of heads)
    assert.deepEqual(reportFailures({ opaque: opaqueWithHeader(GPU_FIELDS, head) }), [
      `nvidia.report:${code}`,
    ]);
});

test('NVIDIA-8 NVIDIA-9 five certificates, of one profile, in order', () => {
  assert.deepEqual(deviceFailures({ extraCas: 1 }), ['nvidia.document:nvidia.chain-length']);
  const { report, certificates } = mintDocument(hopper, GPU_REPORT);
  const context = {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [hopper.root],
    revoked: [],
    policy: OPEN_POLICY,
  };
  const withChain = (chain: readonly Uint8Array[]) =>
    failures(appraiseNvidia(encode(nvidiaDocumentCodec, { report, certificates: chain }), context));
  const at = (i: number): Uint8Array => certificates[i] as Uint8Array;
  assert.deepEqual(withChain(certificates.slice(1)), ['nvidia.document:nvidia.chain-length']);
  assert.deepEqual(withChain([]), ['nvidia.document:nvidia.chain-length']);
  assert.deepEqual(withChain([...certificates].reverse()), ['nvidia.chain.root:nvidia.root-untrusted']);
  assert.deepEqual(withChain([at(0), at(2), at(1), at(3), at(4)]), ['nvidia.chain.names:certificate.issuer']);
  assert.deepEqual(withChain([at(0), at(0), at(1), at(2), at(3)]), [
    'nvidia.chain.profile:certificate.leaf-is-ca',
  ]);
  const trailing = concatBytes(at(4), Uint8Array.of(0));
  assert.deepEqual(withChain([...certificates.slice(0, 4), trailing]), [
    'nvidia.chain.certificates:der.trailing-bytes',
  ]);
  const other = mintDevice(HOPPER);
  assert.deepEqual(withChain([...certificates.slice(0, 4), other.certificates[4] as Uint8Array]), [
    'nvidia.chain.signatures:certificate.signature',
  ]);
  assert.deepEqual(deviceFailures({ deviceIsCa: false }), ['nvidia.chain.profile:certificate.not-a-ca']);
});

test('NVIDIA-14 devices by the name that NVIDIA certified', () => {
  for (const model of [
    'GA100 A01 GSP BROM',
    'GX100 A01 GSP BROM',
    'GH100 A01 GSP FMC LF',
    'GH100',
    'LS_10X A01 FSP BROM',
    'xGH100 A01 GSP BROM',
    'GH100 A01 GSP BROM ',
  ])
    assert.deepEqual(deviceFailures({ model }), ['nvidia.device:nvidia.device-unknown'], model);
  assert.deepEqual(deviceFailures({ nameTag: 0x13 }), []);
  assert.deepEqual(deviceFailures({ nameTag: 0x1e }), ['nvidia.device:nvidia.device-unknown']);
  for (const model of ['GB202 A01 GSP BROM', 'GB20X A01 GSP BROM', 'GH200 B01 GSP BROM'])
    assert.deepEqual(deviceFailures({ model }), [], model);
  const rubin = judge(mintDevice({ ...BLACKWELL, model: 'GR100 A01 GSP BROM' }), GPU_REPORT, {
    architectures: ['rubin'],
  });
  assert.deepEqual([rubin.verdict.ok, rubin.claims?.architecture], [true, 'rubin']);
  assert.deepEqual(deviceFailures({ serial: Uint8Array.of(0) }), [
    'nvidia.chain.certificates:certificate.serial',
  ]);
  const { claims } = judge(hopper, GPU_REPORT);
  assert.deepEqual(claims?.hardware, [{ vendor: 'nvidia', id: HOPPER.serial }]);
});

test('NVIDIA-15 what a GPU has to say of itself', () => {
  const changed = (changes: Readonly<Record<number, Uint8Array | null>>, fields = GPU_FIELDS) =>
    reportFailures({ opaque: opaqueOf(withFields(fields, changes)) });
  const malformed = ['nvidia.fields:nvidia.field'];
  for (const type of [3, 6, 11, 20])
    assert.deepEqual(changed({ [type]: null }), malformed, `no field ${type}`);
  for (const change of [
    { 3: new Uint8Array(0) },
    { 3: new Uint8Array(4) },
    { 3: utf8Encode('550 90') },
    { 3: utf8Encode('550\0.90') },
    { 3: Uint8Array.of(0x35, 0xff) },
    { 3: utf8Encode('5'.repeat(65)) },
    { 6: fromHex('009f0096010000') },
    { 6: fromHex('009f009601000001') },
    { 11: fromHex('00') },
    { 11: fromHex('5500') },
    { 20: FWID.subarray(1) },
    { 21: fromHex('56') },
    { 34: fromHex('0300') },
    { 34: new Uint8Array(0) },
    { 34: new Uint8Array(5) },
    { 36: fromHex('0300') },
    { 36: fromHex('ffffffff') },
  ])
    assert.deepEqual(changed(change), malformed, JSON.stringify(change));
  const modeOf = (changes: Readonly<Record<number, Uint8Array | null>>) =>
    judge(hopper, { ...GPU_REPORT, opaque: opaqueOf(withFields(GPU_FIELDS, changes)) }).claims?.mode;
  assert.equal(modeOf({}), 'unreported');
  assert.equal(modeOf({ 21: null }), 'unreported');
  assert.equal(modeOf({ 21: fromHex('aa') }), 'ppcie');
  assert.deepEqual(
    ['0000', '01', '0200'].map((flag) => modeOf({ 34: fromHex('0100'), 36: fromHex(flag) })),
    ['spt', 'mpt', 'ppcie'],
  );
  const noBios = { ...SWITCH_REPORT, opaque: opaqueOf(withFields(SWITCH_FIELDS, { 6: null })) };
  assert.deepEqual(failures(judge(ls10, noBios)), malformed);
});

test('NVIDIA-16 the firmware of the report is the firmware of the certificate', () => {
  const other = FWID.slice().fill(1);
  const fwid = ['nvidia.fwid:nvidia.fwid'];
  assert.deepEqual(reportFailures({ opaque: opaqueOf(withFields(GPU_FIELDS, { 20: other })) }), fwid);
  const leaf = (make: DevicePlan['leafExtensions']) => deviceFailures({ leafExtensions: make });
  assert.deepEqual(
    leaf(() => []),
    fwid,
  );
  assert.deepEqual(
    leaf(({ device }) => [diceExtension(OID.dice, compositeDeviceId(device, other))]),
    fwid,
  );
  assert.deepEqual(
    leaf(() => [diceExtension(OID.dice, compositeDeviceId(newKey(), FWID))]),
    fwid,
  );
  assert.deepEqual(
    leaf(({ leaf: own }) => [diceExtension(OID.dice, compositeDeviceId(own, FWID))]),
    fwid,
  );
  // Not the first of several.
  assert.deepEqual(
    leaf(() => [diceExtension(OID.diceTcbInfo, diceTcbInfo([other, FWID], null))]),
    fwid,
  );
  assert.deepEqual(
    leaf(() => [diceExtension(OID.dice, diceTcbInfo([FWID], null))]),
    [],
  );
  const zeros = new Uint8Array(48);
  const unmeasured = mintDevice({
    ...HOPPER,
    leafExtensions: ({ device }) => [diceExtension(OID.dice, compositeDeviceId(device, zeros))],
  });
  const opaque = opaqueOf(withFields(GPU_FIELDS, { 20: zeros }));
  assert.deepEqual(failures(judge(unmeasured, { ...GPU_REPORT, opaque })), fwid);
});

test('NVIDIA-16 statements of firmware that are malformed', () => {
  const leaf = (make: DevicePlan['leafExtensions']) => deviceFailures({ leafExtensions: make });
  const raw = (oid: string, value: Uint8Array) => leaf(() => [diceExtension(oid, value)]);
  const composite = compositeDeviceId(newKey(), FWID);
  const dice = ['nvidia.fwid:nvidia.dice'];
  assert.deepEqual(
    leaf(({ device }) => [
      diceExtension(OID.dice, compositeDeviceId(device, FWID)),
      diceExtension(OID.diceTcbInfo, diceTcbInfo([FWID], null)),
    ]),
    dice,
  );
  assert.deepEqual(
    leaf(({ device }) => [diceExtension(OID.dice, compositeDeviceId(device, FWID, 2))]),
    dice,
  );
  assert.deepEqual(raw(OID.dice, concatBytes(composite, Uint8Array.of(0))), [
    'nvidia.fwid:der.trailing-bytes',
  ]);
  assert.deepEqual(raw(OID.diceTcbInfo, composite), dice);
  assert.deepEqual(raw(OID.diceTcbInfo, FWID), ['nvidia.fwid:der.tag']);
  const tcbInfo = (...fields: readonly Uint8Array[]) => raw(OID.diceTcbInfo, der(0x30, ...fields));
  const fwids = der(0xa6, fwidOf(FWID));
  assert.deepEqual(tcbInfo(fwids), []);
  assert.deepEqual(tcbInfo(der(0x83, Uint8Array.of(1))), dice);
  assert.deepEqual(tcbInfo(der(0xa6)), dice);
  assert.deepEqual(tcbInfo(fwids, fwids), dice);
  assert.deepEqual(tcbInfo(fwids, der(0x83, Uint8Array.of(1))), dice);
  assert.deepEqual(tcbInfo(fwids, der(0x8c, FWID)), dice);
  assert.deepEqual(tcbInfo(der(0x86, fwidOf(FWID))), dice);
  assert.deepEqual(tcbInfo(der(0xa6, fwidOf(FWID.subarray(1)))), dice);
  assert.deepEqual(tcbInfo(der(0xa6, fwidOf(FWID, '0609608648016503040201'))), dice);
  assert.deepEqual(tcbInfo(der(0xa6, ...Array.from({ length: 17 }, () => fwidOf(FWID)))), dice);
  assert.deepEqual(tcbInfo(fwids, der(0x87)), ['nvidia.fwid:der.bit-string']);
  assert.deepEqual(tcbInfo(fwids, der(0x87, fromHex('0880'))), ['nvidia.fwid:der.bit-string']);
  assert.deepEqual(tcbInfo(fwids, der(0x87, fromHex('01ff'))), ['nvidia.fwid:der.bit-string']);
});

test('NVIDIA-16 a switch that names its firmware is held to it', () => {
  const opaque = opaqueOf([...SWITCH_FIELDS, [20, FWID]]);
  assert.deepEqual(failures(judge(ls10, { ...SWITCH_REPORT, opaque })), ['nvidia.fwid:nvidia.fwid']);
  assert.equal(statusOf(judge(ls10, SWITCH_REPORT), 'nvidia.fwid'), 'not-applicable');
  const named = mintDevice({ ...HOPPER, model: LS10.model });
  assert.deepEqual(failures(judge(named, { ...SWITCH_REPORT, opaque })), []);
});

test('NVIDIA-19 firmware in debug mode, where it says so', () => {
  const debugOf = (flags: string | null, allowDebug = false) => {
    const value = flags === null ? null : fromHex(flags);
    const leafExtensions = () => [diceExtension(OID.diceTcbInfo, diceTcbInfo([FWID], value))];
    return judge(mintDevice({ ...BLACKWELL, leafExtensions }), GPU_REPORT, { allowDebug });
  };
  const debug = ['nvidia.debug:nvidia.debug-mode'];
  for (const flags of ['0480', '0080000001', '0188', '00'])
    assert.deepEqual(failures(debugOf(flags)), [], flags);
  for (const flags of ['0410', '0520', '0640', '0090000001']) {
    const result = debugOf(flags);
    assert.deepEqual(failures(result), debug, flags);
    assert.equal(result.claims?.isDebug, true);
    assert.equal(debugOf(flags, true).verdict.ok, true);
  }
  const silent = debugOf(null);
  assert.equal(statusOf(silent, 'nvidia.debug'), 'not-applicable');
  assert.equal(statusOf(judge(hopper, GPU_REPORT), 'nvidia.debug'), 'not-applicable');
});

test('NVIDIA-12 NVIDIA-13 signatures by other keys and of other texts', () => {
  const context = {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [hopper.root],
    revoked: [],
    policy: OPEN_POLICY,
  };
  const { certificates } = hopper;
  const report = signReport(newKey(), GPU_REPORT);
  const forged = appraiseNvidia(encoded({ report, certificates }), context);
  assert.deepEqual(failures(forged), ['nvidia.signature:nvidia.signature']);
  assert.equal(forged.claims, null);
  const genuine = signReport(hopper.leaf, GPU_REPORT);
  for (const filler of [0x00, 0xff]) {
    const weak = genuine.slice();
    weak.fill(filler, weak.length - 96);
    assert.deepEqual(failures(appraiseNvidia(encoded({ report: weak, certificates }), context)), [
      'nvidia.signature:nvidia.signature',
    ]);
  }
  const swapped = genuine.slice();
  swapped.set(genuine.subarray(genuine.length - 48), genuine.length - 96);
  swapped.set(genuine.subarray(genuine.length - 96, genuine.length - 48), genuine.length - 48);
  assert.deepEqual(failures(appraiseNvidia(encoded({ report: swapped, certificates }), context)), [
    'nvidia.signature:nvidia.signature',
  ]);
});

test('NVIDIA-21 golden measurements: all of them, alternatives, NVDEC0', () => {
  const golden = (...indexes: readonly number[]): readonly GoldenMeasurement[] =>
    indexes.map((index) => ({ index, values: [NONCE, new Uint8Array(48).fill(index + 1)] }));
  const wrong = (index: number): GoldenMeasurement => ({ index, values: [new Uint8Array(48)] });
  const judged = (goldenMeasurements: readonly GoldenMeasurement[], plan = GPU_REPORT) =>
    failures(judge(hopper, plan, { goldenMeasurements }));
  assert.deepEqual(judged(golden(0, 1, 63)), []);
  assert.deepEqual(judged([...golden(0), wrong(1)]), ['nvidia.golden:nvidia.golden']);
  assert.deepEqual(judged(golden(0, 64)), ['nvidia.golden:nvidia.golden']);
  assert.deepEqual(judged([{ index: 0, values: [] }]), ['nvidia.golden:nvidia.golden']);
  assert.deepEqual(judged([]), ['nvidia.golden:nvidia.golden-empty']);
  assert.deepEqual(judged(golden(3, 3)), ['nvidia.golden:nvidia.golden-conflict']);
  // Off in the fixture: not looked at, and nothing is shown by it alone.
  assert.deepEqual(judged([...golden(0), wrong(35)]), []);
  assert.deepEqual(judged([wrong(35)]), ['nvidia.golden:nvidia.golden-empty']);
  const enabled = { ...GPU_REPORT, opaque: opaqueOf(withFields(GPU_FIELDS, { 11: fromHex('aa') })) };
  assert.deepEqual(judged([...golden(0), wrong(35)], enabled), ['nvidia.golden:nvidia.golden']);
  assert.deepEqual(judged(golden(0, 35), enabled), []);
});

test('NVIDIA-20 the digest covers index, type and value of all measurements but a disabled NVDEC0', () => {
  const digestOf = (plan: Partial<ReportPlan>) =>
    Buffer.from(
      judge(hopper, { ...GPU_REPORT, ...plan }).claims?.registers.get('measurements') as Uint8Array,
    ).toString('hex');
  const changed = (at: number, change: object) =>
    GPU_REPORT.blocks.map((block, i) => (i === at ? { ...block, ...change } : block));
  const original = digestOf({});
  for (let i = 0; i < 64; i++) {
    const digest = digestOf({ blocks: changed(i, { value: new Uint8Array(48).fill(0xee) }) });
    assert.equal(digest === original, i === 35, `index ${i}`);
  }
  assert.notEqual(digestOf({ blocks: changed(0, { type: 2 }) }), original);
  assert.notEqual(digestOf({ blocks: GPU_REPORT.blocks.slice(0, 63) }), original);
  const enabled = opaqueOf(withFields(GPU_FIELDS, { 11: fromHex('aa') }));
  assert.notEqual(digestOf({ opaque: enabled }), original);
  // Nonces and fields are none of its business.
  assert.equal(digestOf({ request: requestOf(NONCE.slice().fill(1)), responderNonce: NONCE }), original);
});

test('NVIDIA-17 policies on architecture and mode; what is not given is skipped', () => {
  const ppcie = { ...GPU_REPORT, opaque: opaqueOf(withFields(GPU_FIELDS, { 21: fromHex('aa') })) };
  assert.deepEqual(failures(judge(hopper, ppcie, { modes: ['ppcie'], architectures: ['hopper'] })), []);
  assert.deepEqual(failures(judge(hopper, ppcie, { modes: ['spt', 'mpt'] })), ['nvidia.mode:nvidia.mode']);
  assert.deepEqual(failures(judge(hopper, ppcie, { modes: [] })), ['nvidia.mode:nvidia.mode']);
  assert.deepEqual(failures(judge(ls10, SWITCH_REPORT, { architectures: ['hopper', 'blackwell'] })), [
    'nvidia.architecture:nvidia.architecture',
  ]);
  assert.equal(statusOf(judge(ls10, SWITCH_REPORT, { modes: [] }), 'nvidia.mode'), 'not-applicable');
  const nothing: NvidiaPolicy = {
    allowDebug: false,
    nonce: 'not-given',
    revocation: 'not-given',
    architectures: 'not-given',
    modes: 'not-given',
    measurements: 'not-given',
    goldenMeasurements: 'not-given',
    manifests: 'not-given',
    serviceKeys: 'not-given',
  };
  const result = judge(hopper, GPU_REPORT, nothing);
  assert.equal(result.verdict.ok, false);
  assert.deepEqual(
    NVIDIA_VALIDATE_CHECKS.map((id) => statusOf(result, id)),
    NVIDIA_VALIDATE_CHECKS.map((id) => (id === 'nvidia.debug' ? 'not-applicable' : 'skipped')),
  );
});

const BINDING: RegistrationBinding = {
  chainId: 'test-1',
  operator: new Uint8Array(32).fill(1),
  nodeId: new Uint8Array(32).fill(2),
  keyEpoch: 0,
  signPublicKey: new Uint8Array(32).fill(3),
  hpkePublicKey: null,
  tlsSpkiHash: null,
  modelSetRoot: new Uint8Array(32).fill(4),
  configHash: new Uint8Array(32).fill(5),
  gpuEvidenceRoot: null,
  refHeight: 7,
  refBlockHash: new Uint8Array(32).fill(6),
};

test('NVIDIA-26 a registration asks with the nonce of its key and block, and waives OCSP by name', () => {
  const nonce = domainHash('haca/gpu-nonce/1', concatBytes(BINDING.signPublicKey, BINDING.refBlockHash));
  assert.deepEqual(nvidiaRegistrationPolicy(BINDING), { nonce });
  assert.deepEqual(gpuNonceOf(BINDING), nonce);
  const plan = { ...GPU_REPORT, request: requestOf(nonce) };
  const { registers } = judge(hopper, plan).claims as { registers: ReadonlyMap<string, Uint8Array> };
  const measurements: readonly Measurement[] = [
    {
      kind: 'nvidia',
      name: 'gpu',
      registers: [...registers].map(([register, value]) => ({ register, value })),
    },
  ];
  const policy = { ...OPEN_POLICY, measurements, ...nvidiaRegistrationPolicy(BINDING) };
  assert.equal(judge(hopper, plan, policy).verdict.ok, true);
  const later = { ...BINDING, refBlockHash: BINDING.operator };
  assert.deepEqual(failures(judge(hopper, plan, { ...policy, ...nvidiaRegistrationPolicy(later) })), [
    'nvidia.nonce:nvidia.nonce',
  ]);
  assert.equal(judge(hopper, plan, { ...policy, revocation: 'not-given' }).verdict.ok, false);
});

test('NVIDIA-1 signed reports of any content give a verdict', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }),
      (opaque, values) => {
        const blocks = values.map((value, i) => ({ index: i + 1, specification: 1, type: 0x81, value }));
        const { verdict } = judge(hopper, { ...GPU_REPORT, opaque, blocks });
        assert.equal(verdict.checks.length, NVIDIA_VERIFY_CHECKS.length + NVIDIA_VALIDATE_CHECKS.length);
        assert.equal(verdict.ok, false);
      },
    ),
    { numRuns: 150 },
  );
});
