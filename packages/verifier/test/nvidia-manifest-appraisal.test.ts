/** Reports against reference manifests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { concatBytes, fromHex, toHex, UsageError, utf8Encode } from '@haca/primitives';
import { verdictExitCode } from '@haca/protocol';
import {
  appraiseEvidence,
  appraiseNvidia,
  NO_COLLATERAL,
  NVIDIA_DEVICE_ROOT,
  NVIDIA_RIM_CHECKS,
  NVIDIA_RIM_ROOT,
  NVIDIA_VALIDATE_CHECKS,
  type NvidiaContext,
  type NvidiaManifestRef,
  type NvidiaPolicy,
  parseCertificate,
} from '../src/index.ts';
import {
  BLACKWELL,
  digestBlock,
  GPU_FIELDS,
  GPU_REPORT,
  HOPPER,
  LS10,
  type MintedDevice,
  mintDevice,
  mintDocument,
  opaqueOf,
  type ReportPlan,
  SWITCH_REPORT,
  withFields,
} from './nvidia-fixture.ts';
import {
  DRIVER_MANIFEST,
  type ManifestPlan,
  mintManifest,
  mintManifestSigner,
  type RecordPlan,
  recordsOf,
  SIGNER_END_MS,
  VBIOS_MANIFEST,
} from './nvidia-manifest-fixture.ts';
import {
  encoded,
  failures,
  OPEN_POLICY,
  RECORDED_MS,
  readVectorFile,
  statusOf,
  vector,
  vectorsMissing,
} from './nvidia-vectors.ts';

const hopper = mintDevice(HOPPER);
const ls10 = mintDevice(LS10);
const signer = mintManifestSigner();
const driver = mintManifest(signer, DRIVER_MANIFEST);
const vbios = mintManifest(signer, VBIOS_MANIFEST);

/** Manifests alone say what is good. */
const ASKED: NvidiaPolicy = { ...OPEN_POLICY, manifests: 'required', goldenMeasurements: 'not-given' };

interface Situation {
  readonly device?: MintedDevice;
  readonly report?: ReportPlan;
  readonly driver?: Uint8Array | null;
  readonly vbios?: Uint8Array | null;
  readonly policy?: Partial<NvidiaPolicy>;
  readonly context?: Partial<NvidiaContext>;
}

function judge(situation: Situation = {}): ReturnType<typeof appraiseNvidia> {
  const { device = hopper, report = GPU_REPORT, policy, context } = situation;
  const given = { driver, vbios, ...situation };
  return appraiseNvidia(encoded(mintDocument(device, report)), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [device.root],
    revoked: [],
    manifests: ({ kind }) => given[kind],
    manifestRoots: [signer.root],
    policy: { ...ASKED, ...policy },
    ...context,
  });
}

/** Checks about manifests that are neither passed nor not applicable, as `rest of id:status`. */
function open(result: ReturnType<typeof judge>): readonly string[] {
  return result.verdict.checks
    .filter(
      ({ id, status }) =>
        /^nvidia\.(rim|golden)/.test(id) && status !== 'passed' && status !== 'not-applicable',
    )
    .map(({ id, status, code }) => `${id.replace('nvidia.', '')}:${status === 'failed' ? code : status}`);
}

function withVbios(change: Partial<ManifestPlan>): Situation {
  return { vbios: mintManifest(signer, { ...VBIOS_MANIFEST, ...change }) };
}

test('NVIDIA-35 NVIDIA-36 a GPU with both of its manifests is accepted, end to end', () => {
  const asked: NvidiaManifestRef[] = [];
  const manifests = (ref: NvidiaManifestRef): Uint8Array => {
    asked.push(ref);
    return ref.kind === 'driver' ? driver : vbios;
  };
  const result = judge({ context: { manifests } });
  assert.deepEqual(failures(result), []);
  assert.equal(result.verdict.ok, true);
  assert.deepEqual(asked, [
    { kind: 'driver', product: 'GH100', version: '550.90.07' },
    { kind: 'vbios', product: 'GH100', version: '96.00.9F.00.01' },
  ]);
  const passed = result.verdict.checks.filter(({ status }) => status === 'passed').map(({ id }) => id);
  for (const id of NVIDIA_RIM_CHECKS.filter((each) => !/revocation|minimums/.test(each)))
    assert.ok(passed.includes(id), id);
  assert.equal(statusOf(result, 'nvidia.golden'), 'not-applicable');
  assert.equal(result.claims?.collateralEndMs, SIGNER_END_MS);
  assert.deepEqual(judge({ context: { crypto: portableCrypto } }).verdict.ok, true);
  const { verdict } = appraiseEvidence('nvidia', encoded(mintDocument(hopper, GPU_REPORT)), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
    nvidia: { roots: [hopper.root], policy: ASKED, manifests, manifestRoots: [signer.root] },
  });
  assert.equal(verdict.ok, true);
});

test('NVIDIA-35 the checks are listed whatever was there, in their order', () => {
  for (const result of [
    judge(),
    judge({ driver: null, vbios: null }),
    judge({ driver: Uint8Array.of(1) }),
    judge({ context: { roots: [] } }),
  ]) {
    const ids = result.verdict.checks.map(({ id }) => id);
    assert.deepEqual(ids.slice(-NVIDIA_VALIDATE_CHECKS.length), [...NVIDIA_VALIDATE_CHECKS]);
    assert.deepEqual(ids.slice(-NVIDIA_RIM_CHECKS.length), NVIDIA_RIM_CHECKS);
  }
});

test('NVIDIA-35 a manifest that is missing is never a pass', () => {
  const ofKind = (kind: string) =>
    ['authentic', 'product', 'version', 'window', 'revocation'].map(
      (aspect) => `rim.${kind}.${aspect}:skipped`,
    );
  const compared = ['rim.measurements:skipped', 'rim.minimums:skipped'];
  for (const manifests of ['required', 'not-given'] as const) {
    const none = judge({ driver: null, vbios: null, policy: { manifests } });
    assert.deepEqual(open(none), ['golden:skipped', ...ofKind('driver'), ...ofKind('vbios'), ...compared]);
    assert.equal(verdictExitCode(none.verdict), 3);
    assert.equal(none.claims?.collateralEndMs, null);
    const one = judge({ driver: null, policy: { manifests } });
    assert.deepEqual(open(one), ['golden:skipped', ...ofKind('driver'), ...compared]);
    assert.equal(statusOf(one, 'nvidia.rim.vbios.authentic'), 'passed');
    const other = judge({ vbios: null, policy: { manifests } });
    assert.deepEqual(open(other), ['golden:skipped', ...ofKind('vbios'), ...compared]);
    assert.equal(other.verdict.ok, false);
  }
});

test('NVIDIA-35 golden measurements of a policy stand alone, or hold beside manifests', () => {
  const golden = [{ index: 0, values: [new Uint8Array(48).fill(1)] }];
  const wrong = [{ index: 0, values: [new Uint8Array(48).fill(2)] }];
  const none = { driver: null, vbios: null } as const;
  const stated = { manifests: 'not-given', goldenMeasurements: golden } as const;
  assert.equal(judge({ ...none, policy: stated }).verdict.ok, true);
  assert.equal(judge({ ...none, policy: { ...stated, goldenMeasurements: 'allow-any' } }).verdict.ok, true);
  assert.equal(judge({ ...none, policy: { ...stated, manifests: 'required' } }).verdict.ok, false);
  assert.equal(judge({ policy: stated }).verdict.ok, true);
  assert.equal(statusOf(judge({ policy: stated }), 'nvidia.rim.measurements'), 'passed');
  assert.deepEqual(failures(judge({ policy: { goldenMeasurements: wrong } })), [
    'nvidia.golden:nvidia.golden',
  ]);
  const other = judge({
    ...withVbios({ records: [{ index: 0, active: true, values: ['ff'.repeat(48)] }] }),
    policy: stated,
  });
  assert.deepEqual(failures(other), ['nvidia.rim.measurements:nvidia.rim.measurements']);
});

test('NVIDIA-35 manifests that are waived but there are judged all the same', () => {
  const waived = { manifests: 'allow-any', goldenMeasurements: 'allow-any' } as const;
  assert.equal(judge({ driver: null, vbios: null, policy: waived }).verdict.ok, true);
  const one = judge({ driver: null, policy: waived });
  assert.equal(one.verdict.ok, true);
  assert.equal(statusOf(one, 'nvidia.rim.measurements'), 'passed');
  assert.equal(
    judge({ driver: null, policy: { ...waived, goldenMeasurements: 'not-given' } }).verdict.ok,
    false,
  );
  for (const bad of [
    { vbios: Uint8Array.of(1) },
    withVbios({ version: '96.00.9F.00.02' }),
    withVbios({ records: [{ index: 5, active: true, values: ['00'.repeat(48)] }] }),
    { context: { nowMs: SIGNER_END_MS + 1 } },
  ])
    assert.equal(verdictExitCode(judge({ ...bad, policy: waived }).verdict), 1);
});

test('NVIDIA-35 a manifest that is not authentic: the first check that says so, and none after it', () => {
  const stranger = mintManifestSigner();
  const forged = vbios.slice();
  forged.set(utf8Encode('"True" '), Buffer.from(forged).indexOf('"False"'));
  const altered = Buffer.from(vbios).toString().replace('edition="GPU"', 'edition="CPU"');
  for (const [bytes, code] of [
    [new Uint8Array(0), 'xml.malformed'],
    [forged, 'xml.malformed'],
    [utf8Encode(altered), 'nvidia.rim.digest'],
    [mintManifest(stranger, VBIOS_MANIFEST), 'nvidia.rim.root-untrusted'],
    [mintManifest({ ...signer, key: stranger.key }, VBIOS_MANIFEST), 'nvidia.rim.signature'],
  ] as const) {
    const result = judge({ vbios: bytes });
    assert.deepEqual(failures(result), [`nvidia.rim.vbios.authentic:${code}`]);
    assert.equal(statusOf(result, 'nvidia.rim.vbios.window'), 'skipped');
    assert.equal(statusOf(result, 'nvidia.rim.measurements'), 'skipped');
    assert.equal(statusOf(result, 'nvidia.golden'), 'skipped');
  }
});

test('NVIDIA-34 the root that vouches for a device vouches for no manifest, nor the other way', () => {
  const asked = { manifestRoots: [hopper.root, NVIDIA_RIM_ROOT, NVIDIA_DEVICE_ROOT] };
  assert.deepEqual(failures(judge({ context: asked })), [
    'nvidia.rim.driver.authentic:nvidia.rim.root-untrusted',
    'nvidia.rim.vbios.authentic:nvidia.rim.root-untrusted',
  ]);
  const result = appraiseNvidia(encoded(mintDocument(hopper, GPU_REPORT)), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    revoked: [],
    manifests: ({ kind }) => (kind === 'driver' ? driver : vbios),
    policy: ASKED,
    roots: [hopper.root, signer.root],
  });
  assert.equal(failures(result).length, 2, 'without roots for manifests only those of NVIDIA');
  const roots = [{ sha256: new Uint8Array(31), simulated: true }];
  assert.throws(() => judge({ context: { manifestRoots: roots } }), UsageError);
});

test('NVIDIA-35 manifests of another chip or another version', () => {
  assert.deepEqual(failures(judge(withVbios({ product: 'GB100' }))), [
    'nvidia.rim.vbios.product:nvidia.rim.product',
  ]);
  assert.deepEqual(failures(judge(withVbios({ version: '96.00.9F.00.02' }))), [
    'nvidia.rim.vbios.version:nvidia.rim.version',
  ]);
  assert.deepEqual(failures(judge(withVbios({ version: '96.00.9f.00.01' }))), []);
  // Each in the other's place, and one of them in both.
  for (const swapped of [{ driver: vbios, vbios: driver }, { driver: vbios }, { vbios: driver }]) {
    const codes = failures(judge(swapped));
    assert.ok(
      codes.length > 0 && codes.every((each) => each.endsWith('.version:nvidia.rim.version')),
      `${codes}`,
    );
  }
  // A device that states the version of a VBIOS as its driver's: the manifest is of that version, and of no driver.
  const opaque = opaqueOf(withFields(GPU_FIELDS, { 3: utf8Encode('96.00.5E.00.01\0') }));
  const lying = judge({
    report: { ...GPU_REPORT, opaque },
    driver: mintManifest(signer, {
      ...VBIOS_MANIFEST,
      version: '96.00.5E.00.01',
      records: DRIVER_MANIFEST.records,
    }),
  });
  assert.deepEqual(failures(lying), ['nvidia.rim.driver.version:nvidia.rim.version']);
  const result = judge({ device: mintDevice(BLACKWELL) });
  assert.deepEqual(failures(result), [
    'nvidia.rim.driver.product:nvidia.rim.product',
    'nvidia.rim.vbios.product:nvidia.rim.product',
  ]);
  assert.equal(statusOf(result, 'nvidia.rim.measurements'), 'skipped');
});

test('NVIDIA-34 NVIDIA-35 windows and revocation of signers', () => {
  const late = judge({ context: { nowMs: SIGNER_END_MS + 1 } });
  assert.deepEqual(failures(late), [
    'nvidia.rim.driver.window:certificate.expired',
    'nvidia.rim.vbios.window:certificate.expired',
  ]);
  assert.equal(statusOf(late, 'nvidia.rim.measurements'), 'passed', 'judged all the same');
  const asked = judge({ policy: { revocation: 'not-given' } });
  assert.deepEqual(open(asked), ['rim.driver.revocation:skipped', 'rim.vbios.revocation:skipped']);
  assert.equal(verdictExitCode(asked.verdict), 3);
  const { issuer, serial } = parseCertificate(signer.certificates[0] as Uint8Array, 'c');
  const revoked = judge({ context: { revoked: [{ issuer, serial }] } });
  assert.deepEqual(failures(revoked), [
    'nvidia.rim.driver.revocation:certificate.revoked',
    'nvidia.rim.vbios.revocation:certificate.revoked',
  ]);
});

test('NVIDIA-36 all active measurements of both, alternatives, no index in both', () => {
  const changed = (at: number): ReportPlan => ({
    ...GPU_REPORT,
    blocks: GPU_REPORT.blocks.map((block, i) =>
      i === at ? { ...block, value: new Uint8Array(48).fill(0xee) } : block,
    ),
  });
  for (let index = 0; index < 64; index++) {
    const result = judge({ report: changed(index) });
    // NVDEC0 is off in the fixture.
    const expected = index === 35 ? [] : ['nvidia.rim.measurements:nvidia.rim.measurements'];
    assert.deepEqual(failures(result), expected, `index ${index}`);
  }
  const enabled = { ...changed(35), opaque: opaqueOf(withFields(GPU_FIELDS, { 11: fromHex('aa') })) };
  assert.deepEqual(failures(judge({ report: enabled })), ['nvidia.rim.measurements:nvidia.rim.measurements']);
  const [first, ...rest] = VBIOS_MANIFEST.records as [RecordPlan, ...RecordPlan[]];
  const alternatives = withVbios({
    records: [{ ...first, values: ['00'.repeat(48), ...first.values] }, ...rest],
  });
  assert.deepEqual(failures(judge(alternatives)), []);
  const others = withVbios({ records: [{ ...first, values: ['00'.repeat(48), 'ff'.repeat(48)] }, ...rest] });
  assert.deepEqual(failures(judge(others)), ['nvidia.rim.measurements:nvidia.rim.measurements']);
  const conflict = withVbios({ records: recordsOf(GPU_REPORT.blocks, (index) => index <= 13) });
  assert.deepEqual(failures(judge(conflict)), ['nvidia.rim.measurements:nvidia.rim.conflict']);
  // Also where both say the same.
  const missing = withVbios({ records: [...rest, { ...first, index: 64 }] });
  assert.deepEqual(failures(judge(missing)), ['nvidia.rim.measurements:nvidia.rim.measurements']);
  const short = { ...GPU_REPORT, blocks: GPU_REPORT.blocks.slice(0, 63) };
  assert.deepEqual(failures(judge({ report: short })), ['nvidia.rim.measurements:nvidia.rim.measurements']);
  const inactive = withVbios({
    records: VBIOS_MANIFEST.records.map((each) =>
      each.index === 3 ? { ...each, active: false, values: ['ff'.repeat(48)] } : each,
    ),
  });
  assert.deepEqual(failures(judge(inactive)), []);
  const nvdecAlone = { index: 35, active: true, values: ['ff'.repeat(48)] };
  const nothing = { ...withVbios({ records: [nvdecAlone] }), driver: null };
  const waived = { manifests: 'allow-any' } as const;
  assert.deepEqual(failures(judge({ ...nothing, policy: waived })), [
    'nvidia.rim.measurements:nvidia.rim.empty',
  ]);
});

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

/** A report whose fields say the type of their value; `svn` is field 60. */
function reportWithSvn(svn: Uint8Array, valueType: number): ReportPlan {
  const typed = [
    ...GPU_FIELDS.map(([type, value]) => [type, value, 0x82] as const),
    [60, svn, valueType] as const,
  ];
  const opaque = concatBytes(
    fromHex('4e5644414f44000002000000'),
    ...typed.flatMap(([type, value, kind]) => [u16(type), u16(kind), u16(value.length), value]),
  );
  return { ...GPU_REPORT, opaque };
}

test('NVIDIA-37 fields that may not fall below a minimum', () => {
  const minimum = (value: number, change: Partial<RecordPlan> = {}): RecordPlan => ({
    index: 0x1000 + 60,
    active: true,
    values: [],
    minimum: value,
    name: 'GSP_SVN',
    ...change,
  });
  const stated = (value: number) => withVbios({ records: [...VBIOS_MANIFEST.records, minimum(value)] });
  const judged = (value: number, report: ReportPlan) => judge({ ...stated(value), report });
  const passing = judged(258, reportWithSvn(u16(258), 0x87));
  assert.deepEqual([passing.verdict.ok, statusOf(passing, 'nvidia.rim.minimums')], [true, 'passed']);
  assert.equal(statusOf(judge(), 'nvidia.rim.minimums'), 'not-applicable');
  for (const report of [
    reportWithSvn(u16(257), 0x87),
    reportWithSvn(u16(300), 0x82),
    reportWithSvn(Uint8Array.of(255), 0x87),
    reportWithSvn(Uint8Array.of(255, 255, 255), 0x87),
    GPU_REPORT,
  ])
    assert.deepEqual(failures(judged(258, report)), ['nvidia.rim.minimums:nvidia.rim.minimums']);
  const both = (change: Partial<RecordPlan>): Situation => ({
    ...stated(1),
    driver: mintManifest(signer, {
      ...DRIVER_MANIFEST,
      records: [...DRIVER_MANIFEST.records, minimum(1, change)],
    }),
    report: reportWithSvn(u16(9), 0x87),
  });
  for (const change of [{}, { index: 0x1000 + 61 }, { name: 'OTHER' }])
    assert.deepEqual(failures(judge(both(change))), ['nvidia.rim.minimums:nvidia.rim.conflict']);
});

test('NVIDIA-35 a switch has a manifest of its BIOS, and no driver', () => {
  const bios = mintManifest(signer, {
    product: 'LS10',
    version: '96.10.55.00.01',
    tagId: 'cc',
    records: recordsOf(SWITCH_REPORT.blocks, () => true),
  });
  const asked: string[] = [];
  const context = {
    manifests: ({ kind, product, version }: NvidiaManifestRef) => {
      asked.push(`${kind} ${product} ${version}`);
      return bios;
    },
  };
  const result = judge({ device: ls10, report: SWITCH_REPORT, context });
  assert.deepEqual(failures(result), []);
  assert.equal(result.verdict.ok, true);
  assert.deepEqual(asked, ['vbios LS_10 96.10.55.00.01']);
  assert.equal(statusOf(result, 'nvidia.rim.driver.authentic'), 'not-applicable');
  const none = judge({ device: ls10, report: SWITCH_REPORT, vbios: null });
  assert.equal(none.verdict.ok, false);
  const wrong = {
    ...SWITCH_REPORT,
    blocks: [...SWITCH_REPORT.blocks.slice(0, 30), digestBlock(31)].map((block, i) =>
      i === 7 ? { ...block, value: new Uint8Array(48) } : block,
    ),
  };
  assert.deepEqual(failures(judge({ device: ls10, report: wrong, context })), [
    'nvidia.rim.measurements:nvidia.rim.measurements',
  ]);
});

test('NVIDIA-38 what rests on a test root for manifests is marked', { skip: vectorsMissing }, () => {
  const genuine = vector('hopper-550');
  const { claims: measured } = appraiseNvidia(encoded(genuine.document), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [NVIDIA_DEVICE_ROOT],
    revoked: [],
    policy: OPEN_POLICY,
  });
  const records = (isActive: (index: number) => boolean): readonly RecordPlan[] =>
    (measured?.blocks ?? []).map(({ index, value }) => ({
      index,
      active: isActive(index),
      values: [toHex(value)],
    }));
  const own = {
    driver: mintManifest(signer, { ...DRIVER_MANIFEST, records: records((index) => index > 20) }),
    vbios: mintManifest(signer, { ...VBIOS_MANIFEST, records: records((index) => index <= 20) }),
  };
  const result = appraiseNvidia(encoded(genuine.document), {
    crypto: nodeCrypto,
    nowMs: RECORDED_MS,
    roots: [NVIDIA_DEVICE_ROOT],
    revoked: [],
    manifests: ({ kind }) => own[kind],
    manifestRoots: [signer.root],
    policy: ASKED,
  });
  assert.equal(result.verdict.ok, true);
  assert.equal(result.claims?.isSimulated, true);
  assert.equal(measured?.isSimulated, false);
});

test(
  'NVIDIA-35 the genuine manifest is of another VBIOS than any genuine report',
  { skip: vectorsMissing },
  () => {
    const bytes = readVectorFile('rim-vbios-1010_0200_882_96005E0001.swidtag');
    for (const id of ['hopper-550', 'hopper-590-json', 'blackwell-575'] as const) {
      const result = appraiseNvidia(encoded(vector(id).document), {
        crypto: nodeCrypto,
        nowMs: Date.UTC(2024, 0, 1),
        roots: [NVIDIA_DEVICE_ROOT],
        revoked: [],
        manifests: ({ kind }) => (kind === 'vbios' ? bytes : null),
        policy: ASKED,
      });
      const wrong = failures(result);
      assert.ok(wrong.includes('nvidia.rim.vbios.version:nvidia.rim.version'), id);
      assert.equal(wrong.includes('nvidia.rim.vbios.product:nvidia.rim.product'), id === 'blackwell-575');
      assert.equal(statusOf(result, 'nvidia.rim.vbios.authentic'), 'passed');
      assert.equal(statusOf(result, 'nvidia.rim.vbios.window'), 'passed');
    }
  },
);
