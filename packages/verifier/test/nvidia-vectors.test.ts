import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { nodeCrypto, portableCrypto } from '@haca/platform';
import { fromHex, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import type { Measurement } from '@haca/protocol';
import {
  APPRAISED_KINDS,
  appraiseEvidence,
  appraiseNvidia,
  type GoldenMeasurement,
  NO_COLLATERAL,
  NVIDIA_DEVICE_ROOT,
  NVIDIA_VALIDATE_CHECKS,
  NVIDIA_VERIFY_CHECKS,
  type NvidiaClaims,
  parsePemCertificates,
  requiredRegisters,
  rescoreEvidence,
  vendorRoots,
} from '../src/index.ts';
import {
  DEVICE_VECTORS,
  encoded,
  failures,
  OPEN_POLICY,
  readManifest,
  readVectorFile,
  recordedContext,
  statusOf,
  vector,
  vectorsMissing,
} from './nvidia-vectors.ts';

const GENUINE = DEVICE_VECTORS.filter((id) => id !== 'hopper-badsig');

test('the recorded files are what the manifest says', { skip: vectorsMissing }, () => {
  for (const { files } of readManifest().vectors) {
    for (const { file, sha256 } of files)
      assert.equal(createHash('sha256').update(readVectorFile(file)).digest('hex'), sha256, file);
  }
});

test('NVIDIA-7 the pinned root is the one that NVIDIA publishes', { skip: vectorsMissing }, () => {
  const [der] = parsePemCertificates(utf8Decode(readVectorFile('nvidia-device-root.pem')), 'root');
  const roots = readManifest().vectors.find(({ id }) => id === 'nvidia-roots');
  assert.equal(toHex(nodeCrypto.sha256(der as Uint8Array)), roots?.expect['device_root_sha256_der']);
  assert.equal(toHex(NVIDIA_DEVICE_ROOT.sha256), roots?.expect['device_root_sha256_der']);
  assert.deepEqual(vendorRoots('nvidia'), [NVIDIA_DEVICE_ROOT]);
});

for (const id of GENUINE) {
  test(`NVIDIA-1 NVIDIA-2 NVIDIA-13 ${id} is authentic`, { skip: vectorsMissing }, () => {
    const { document, expect, statedNonce } = vector(id);
    const result = appraiseNvidia(encoded(document), recordedContext());
    assert.deepEqual(failures(result), []);
    assert.equal(result.verdict.ok, true);
    assert.deepEqual(
      result.verdict.checks.map((check) => check.id),
      [...NVIDIA_VERIFY_CHECKS, ...NVIDIA_VALIDATE_CHECKS],
    );
    assert.equal(document.report.length, expect.report_bytes);
    assert.equal(document.certificates.length, expect.certs);
    checkClaims(result.claims as NvidiaClaims, id);
    if (statedNonce !== null) assert.deepEqual(statedNonce, result.claims?.nonce);
  });
}

function checkClaims(claims: NvidiaClaims, id: (typeof DEVICE_VECTORS)[number]): void {
  const { document, expect } = vector(id);
  assert.equal(claims.driverVersion, expect.driver_version ?? null);
  assert.equal(toHex(claims.nonce), expect.request_nonce);
  assert.equal(claims.blocks.length, expect.measurement_blocks);
  // The manifest has the bytes of the field as a little-endian number.
  const vbios = claims.opaque.fields.get(6)?.value.slice().reverse() as Uint8Array;
  assert.equal(toHex(vbios), expect.vbios_version_hex);
  const isGpu = expect.fwid_in_leaf_certificate === true;
  assert.equal(claims.fwid !== null, isGpu);
  assert.equal(claims.deviceType, isGpu ? 'gpu' : 'nvswitch');
  const leaf = new X509Certificate(document.certificates[4] as Uint8Array);
  assert.equal(leaf.subject.replaceAll('\n', ','), expect.leaf_subject);
  const device = new X509Certificate(document.certificates[3] as Uint8Array);
  assert.equal(toHex(claims.deviceSerial), device.serialNumber.toLowerCase());
  assert.ok(device.subject.includes(`CN=${claims.model}`));
  assert.ok(device.subject.includes(`serialNumber=${device.serialNumber}`));
  assert.deepEqual(claims.hardware, [{ vendor: 'nvidia', id: claims.deviceSerial }]);
  assert.equal(claims.isSimulated, false);
  assert.equal(claims.isDebug, false);
  assert.equal(claims.cloud, null);
  assert.equal(claims.collateralEndMs, null);
  assert.equal(claims.evidenceEndMs, Date.parse('9999-12-31T23:59:59Z'));
}

test('NVIDIA-14 what kind of device answered, with which firmware', { skip: vectorsMissing }, () => {
  const said = GENUINE.map((id) => {
    const { claims } = appraiseNvidia(encoded(vector(id).document), recordedContext());
    const { architecture, vbiosVersion, mode, nvdec0Disabled, diceFlags } = claims as NvidiaClaims;
    return [id, architecture, vbiosVersion, mode, nvdec0Disabled, diceFlags];
  });
  assert.deepEqual(said, [
    ['hopper-550', 'hopper', '96.00.9F.00.01', 'unreported', true, null],
    ['blackwell-575', 'blackwell', '97.00.88.00.0F', 'unreported', true, []],
    ['hopper-590-json', 'hopper', '96.00.A5.00.01', 'ppcie', true, null],
    ['switch-ls10-json', 'ls10', '96.10.55.00.01', 'unreported', false, null],
  ]);
});

test('NVIDIA-13 the report of one device with the chain of another', { skip: vectorsMissing }, () => {
  const bad = vector('hopper-badsig');
  const result = appraiseNvidia(encoded(bad.document), recordedContext());
  assert.deepEqual(failures(result), ['nvidia.signature:nvidia.signature']);
  assert.equal(statusOf(result, 'nvidia.chain.signatures'), 'passed');
  assert.equal(result.claims, null);
  for (const a of GENUINE) {
    for (const b of GENUINE.filter((id) => id !== a)) {
      const { report } = vector(a).document;
      const { certificates } = vector(b).document;
      const mixed = appraiseNvidia(encoded({ report, certificates }), recordedContext());
      assert.deepEqual(failures(mixed), ['nvidia.signature:nvidia.signature'], `${a} with ${b}`);
    }
  }
});

test('NVIDIA-17 a nonce that is not ours', { skip: vectorsMissing }, () => {
  const document = encoded(vector('hopper-550').document);
  const nonce = fromHex('931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb');
  const judged = (expected: Uint8Array | 'not-given') =>
    appraiseNvidia(document, { ...recordedContext(), policy: { ...OPEN_POLICY, nonce: expected } });
  assert.equal(judged(nonce).verdict.ok, true);
  for (const other of [new Uint8Array(32), nonce.subarray(0, 31), new Uint8Array(0)])
    assert.deepEqual(failures(judged(other)), ['nvidia.nonce:nvidia.nonce']);
  assert.equal(judged('not-given').verdict.ok, false);
  assert.equal(statusOf(judged('not-given'), 'nvidia.nonce'), 'skipped');
});

test('NVIDIA-18 revocation by OCSP is skipped, never passed', { skip: vectorsMissing }, () => {
  const document = encoded(vector('blackwell-575').document);
  const judged = (revocation: 'not-given' | 'allow-any') =>
    appraiseNvidia(document, { ...recordedContext(), policy: { ...OPEN_POLICY, revocation } });
  const skipped = judged('not-given').verdict;
  const check = skipped.checks.find(({ id }) => id === 'nvidia.revocation');
  assert.equal(skipped.ok, false);
  assert.deepEqual([check?.status, check?.code], ['skipped', 'nvidia.ocsp-offline']);
  assert.ok((check?.reason ?? '').includes('OCSP'));
  assert.equal(statusOf(judged('allow-any'), 'nvidia.revocation'), 'not-applicable');
  assert.equal(judged('allow-any').verdict.ok, true);
});

test('NVIDIA-11 NVIDIA-24 a certificate taken back, at once and later', { skip: vectorsMissing }, () => {
  const { document } = vector('hopper-590-json');
  const context = recordedContext();
  const { claims } = appraiseNvidia(encoded(document), context);
  const { facts } = claims as NvidiaClaims;
  assert.ok(facts.length <= 4096);
  const evidence = (revoked: typeof context.revoked) =>
    ({ ...context, revoked, collateral: NO_COLLATERAL, collateralGraceMs: 0 }) as const;
  assert.equal(rescoreEvidence('nvidia', facts, evidence([])).verdict.ok, true);
  for (let position = 0; position < document.certificates.length; position++) {
    const certificate = claimsChain(document.certificates)[position] as never;
    const result = appraiseNvidia(encoded(document), { ...context, revoked: [certificate] });
    assert.deepEqual(failures(result), ['nvidia.chain.revocation:certificate.revoked'], `${position}`);
    assert.notEqual(result.claims, null, 'authentic all the same');
    const again = rescoreEvidence('nvidia', facts, evidence([certificate]));
    assert.deepEqual(failures(again), ['nvidia.chain.revocation:certificate.revoked'], `${position}`);
    assert.equal(again.collateralEndMs, null);
  }
  for (const broken of [new Uint8Array(0), facts.subarray(1), Uint8Array.of(...facts, 0)])
    assert.deepEqual(failures(rescoreEvidence('nvidia', broken, evidence([]))).length, 1);
});

/** Issuer and serial of each certificate, read by another library. */
function claimsChain(ders: readonly Uint8Array[]): readonly { issuer: Uint8Array; serial: Uint8Array }[] {
  return ders.map((der) => {
    const { serialNumber } = new X509Certificate(der);
    return { issuer: issuerOf(der), serial: fromHex(serialNumber.toLowerCase()) };
  });
}

/** The fourth element of the signed part: version, serial, algorithm, issuer. */
function issuerOf(der: Uint8Array): Uint8Array {
  const header = (at: number): readonly [start: number, length: number] => {
    const first = der[at + 1] as number;
    if (first < 0x80) return [at + 2, first];
    const octets = first & 0x7f;
    let length = 0;
    for (let i = 0; i < octets; i++) length = length * 256 + (der[at + 2 + i] as number);
    return [at + 2 + octets, length];
  };
  let at = header(header(0)[0])[0];
  for (let i = 0; i < 3; i++) {
    const [start, length] = header(at);
    at = start + length;
  }
  const [start, length] = header(at);
  return der.subarray(at, start + length);
}

test('NVIDIA-10 the window of the chain', { skip: vectorsMissing }, () => {
  const document = encoded(vector('hopper-550').document);
  const at = (iso: string) => appraiseNvidia(document, { ...recordedContext(), nowMs: Date.parse(iso) });
  assert.deepEqual(failures(at('2022-03-01T00:00:00Z')), []);
  assert.deepEqual(failures(at('9999-12-31T23:59:59Z')), []);
  const early = at('2022-02-28T23:59:59Z');
  assert.deepEqual(failures(early), ['nvidia.chain.window:certificate.not-yet-valid']);
  assert.notEqual(early.claims, null, 'authentic is not accepted');
  assert.equal(early.verdict.ok, false);
});

test('NVIDIA-20 approved measurements', { skip: vectorsMissing }, () => {
  assert.deepEqual(requiredRegisters('nvidia'), ['driver-version', 'vbios-version', 'measurements']);
  const document = encoded(vector('hopper-590-json').document);
  const { registers } = appraiseNvidia(document, recordedContext()).claims as NvidiaClaims;
  assert.deepEqual(registers.get('driver-version'), utf8Encode('590.12'));
  assert.deepEqual(registers.get('vbios-version'), utf8Encode('96.00.A5.00.01'));
  assert.equal(registers.get('measurements')?.length, 48);
  const whole = [...registers].map(([register, value]) => ({ register, value }));
  const judged = (list: readonly Measurement['registers'][number][], by = document) =>
    appraiseNvidia(by, {
      ...recordedContext(),
      policy: { ...OPEN_POLICY, measurements: [{ kind: 'nvidia', name: 'release', registers: list }] },
    });
  assert.equal(judged(whole).measurement, 'release');
  assert.equal(judged(whole).verdict.ok, true);
  assert.deepEqual(registers.get('architecture'), utf8Encode('hopper'));
  assert.deepEqual(registers.get('mode'), utf8Encode('ppcie'));
  for (const { register } of whole) {
    const without = whole.filter((each) => each.register !== register);
    const isRequired = requiredRegisters('nvidia').includes(register);
    const expected = isRequired ? ['nvidia.measurement:nvidia.measurement'] : [];
    assert.deepEqual(failures(judged(without)), expected, `no ${register}`);
    const other = whole.map((each) =>
      each.register === register ? { register, value: new Uint8Array(each.value.length) } : each,
    );
    assert.deepEqual(failures(judged(other)), ['nvidia.measurement:nvidia.measurement'], register);
  }
  assert.deepEqual(failures(judged(whole, encoded(vector('hopper-550').document))), [
    'nvidia.measurement:nvidia.measurement',
  ]);
});

test('NVIDIA-20 a switch matches no measurement, whatever it says', { skip: vectorsMissing }, () => {
  const document = encoded(vector('switch-ls10-json').document);
  const { registers } = appraiseNvidia(document, recordedContext()).claims as NvidiaClaims;
  assert.deepEqual([...registers.keys()], ['architecture', 'vbios-version', 'measurements']);
  const list = [...registers].map(([register, value]) => ({ register, value }));
  const result = appraiseNvidia(document, {
    ...recordedContext(),
    policy: { ...OPEN_POLICY, measurements: [{ kind: 'nvidia', name: 'switch', registers: list }] },
  });
  assert.deepEqual(failures(result), ['nvidia.measurement:nvidia.measurement']);
});

test('NVIDIA-21 golden measurements of a manifest', { skip: vectorsMissing }, () => {
  const golden = activeMeasurements('rim-vbios-1010_0200_882_96005E0001.swidtag');
  assert.deepEqual(
    golden.map(({ index }) => index),
    [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12],
  );
  const judged = (list: readonly GoldenMeasurement[]) =>
    appraiseNvidia(encoded(vector('hopper-550').document), {
      ...recordedContext(),
      policy: { ...OPEN_POLICY, goldenMeasurements: list },
    });
  // The manifest is of an older VBIOS: firmware that did not change measures the same.
  const result = judged(golden);
  assert.deepEqual(failures(result), ['nvidia.golden:nvidia.golden']);
  const check = result.verdict.checks.find(({ id }) => id === 'nvidia.golden');
  assert.equal(check?.got, 'others at index 1, 2, 9, 11');
  const unchanged = golden.filter(({ index }) => ![1, 2, 9, 11].includes(index));
  assert.equal(judged(unchanged).verdict.ok, true);
});

/** Of a manifest whose signature was checked elsewhere; good enough for this file. */
function activeMeasurements(file: string): readonly GoldenMeasurement[] {
  const text = utf8Decode(readVectorFile(file));
  return [...text.matchAll(/<ns0:Resource ([^>]*active="True"[^>]*)\/>/g)].map(([, attributes = '']) => ({
    index: Number(/ index="(\d+)"/.exec(attributes)?.[1]),
    values: [...attributes.matchAll(/Hash\d+="([0-9a-f]+)"/g)].map(([, hex = '']) => fromHex(hex)),
  }));
}

test('NVIDIA-1 native and portable crypto agree', { skip: vectorsMissing }, () => {
  for (const id of DEVICE_VECTORS) {
    const document = encoded(vector(id).document);
    const native = appraiseNvidia(document, recordedContext());
    assert.deepEqual(appraiseNvidia(document, recordedContext(portableCrypto)), native, id);
  }
});

test('NVIDIA-25 by kind, and only where it is accepted', { skip: vectorsMissing }, () => {
  const document = encoded(vector('hopper-550').document);
  const { crypto, nowMs, revoked, roots, policy } = recordedContext();
  const trust = { crypto, nowMs, revoked, collateral: NO_COLLATERAL, collateralGraceMs: 0 };
  assert.ok(APPRAISED_KINDS.includes('nvidia'));
  assert.equal(
    appraiseEvidence('nvidia', document, { ...trust, nvidia: { roots, policy } }).verdict.ok,
    true,
  );
  const refused = appraiseEvidence('nvidia', document, trust);
  assert.deepEqual(failures(refused), ['evidence.kind:evidence.kind-not-accepted']);
  const unpinned = appraiseEvidence('nvidia', document, { ...trust, nvidia: { roots: [], policy } });
  assert.deepEqual(failures(unpinned), ['nvidia.chain.root:nvidia.root-untrusted']);
});

test('NVIDIA-13 NVIDIA-17 the recorded mutations are those tested above', { skip: vectorsMissing }, () => {
  const { mutations } = JSON.parse(utf8Decode(readVectorFile('../mutations.json'))) as {
    readonly mutations: readonly { readonly kind: string; readonly op: string; readonly expect: string }[];
  };
  assert.deepEqual(
    mutations.filter(({ kind }) => kind.split(',').includes('nvidia')),
    [
      {
        kind: 'nvidia',
        op: 'report of GPU A with chain of GPU B; nonce not derived from the CPU attestation',
        expect: 'reject',
      },
    ],
  );
});
