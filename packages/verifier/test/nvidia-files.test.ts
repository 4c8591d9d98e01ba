import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MalformedError, toHex } from '@haca/primitives';
import fc from 'fast-check';
import { parseNvidiaChainPem, parseNvidiaEvidenceJson, parseNvidiaReportHex } from '../src/index.ts';
import { HOPPER, mintDevice } from './nvidia-fixture.ts';

const { certificates } = mintDevice(HOPPER);
const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');
const block = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${(base64(der).match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
const PEM = [...certificates].reverse().map(block).join('');
const REPORT = Uint8Array.of(0x11, 0xe0, 0x01, 0xff, 0xfb);
const NONCE = 'ab'.repeat(32);
const DEVICE = { arch: 'HOPPER', certificate: base64(PEM), evidence: base64(REPORT), nonce: NONCE };

function codeOf(read: () => unknown): string {
  try {
    read();
    return 'accepted';
  } catch (error) {
    if (error instanceof MalformedError) return `${error.code} ${error.path}`;
    throw error;
  }
}

test('NVIDIA-27 evidence as tools pass it around', () => {
  const expected = { report: REPORT, certificates, nonce: Buffer.from(NONCE, 'hex'), arch: 'HOPPER' };
  const plain = ({ nonce, ...rest }: ReturnType<typeof parseNvidiaEvidenceJson>[number]) => ({
    ...rest,
    nonce: nonce === null ? null : Buffer.from(nonce),
  });
  const { arch, nonce, ...bare } = DEVICE;
  for (const value of [
    [DEVICE],
    DEVICE,
    [{ ...DEVICE, certificate: PEM, version: '1.0', driver_version: '590.12', vbios_version: 'x' }],
    [{ ...DEVICE, evidence: toHex(REPORT), nonce: NONCE.toUpperCase() }],
    { nonce, arch, evidence_list: [bare], claims_version: '3.0' },
  ])
    assert.deepEqual(parseNvidiaEvidenceJson(JSON.stringify(value)).map(plain), [expected]);
  const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
  const item = {
    __cmwc_t: 'tag:nvidia.com,2026:evidence-item/v1',
    certificate: ['application/vnd.nvidia.pem-cert-chain', base64(PEM)],
    evidence: ['application/vnd.nvidia.spdm-measurement-transcript', base64url(REPORT)],
    nonce: ['application/octet-stream', base64url(Buffer.from(NONCE, 'hex'))],
  };
  const collection = {
    __cmwc_t: 'tag:nvidia.com,2026:verifier-input',
    gpu_0: item,
    gpu_1: item,
    nonce: item.nonce,
  };
  for (const [value, count] of [
    [collection, 2],
    [item, 1],
  ] as const) {
    const found = parseNvidiaEvidenceJson(JSON.stringify(value)).map(plain);
    assert.deepEqual(found, Array(count).fill({ ...expected, arch: null }));
  }
  const [silent] = parseNvidiaEvidenceJson(JSON.stringify([bare]));
  assert.deepEqual([silent?.nonce, silent?.arch], [null, null]);
  assert.equal(parseNvidiaEvidenceJson(JSON.stringify([DEVICE, bare, DEVICE])).length, 3);
});

test('NVIDIA-27 files that are none', () => {
  const json = (value: unknown) => codeOf(() => parseNvidiaEvidenceJson(JSON.stringify(value)));
  assert.equal(
    codeOf(() => parseNvidiaEvidenceJson('')),
    'nvidia.json evidence',
  );
  assert.equal(
    codeOf(() => parseNvidiaEvidenceJson('[{}')),
    'nvidia.json evidence',
  );
  assert.equal(json('text'), 'nvidia.json evidence');
  assert.equal(json(null), 'nvidia.json evidence');
  assert.equal(json([]), 'nvidia.json evidence');
  assert.equal(json(Array.from({ length: 65 }, () => DEVICE)), 'nvidia.json evidence');
  assert.equal(json([1]), 'nvidia.json evidence.0');
  assert.equal(json([{ ...DEVICE, evidence: undefined }]), 'nvidia.json evidence.0.evidence');
  assert.equal(json([{ ...DEVICE, evidence: 5 }]), 'nvidia.json evidence.0.evidence');
  assert.equal(json([{ ...DEVICE, evidence: 'EeAB/' }]), 'nvidia.json evidence.0.evidence');
  assert.equal(json([DEVICE, { ...DEVICE, certificate: '' }]), 'nvidia.json evidence.1.certificate');
  assert.equal(json([{ ...DEVICE, certificate: base64('nothing') }]), 'pem.malformed chain.0');
  assert.equal(json([{ ...DEVICE, nonce: 'abcd' }]), 'nvidia.json evidence.0.nonce');
  assert.equal(json([{ ...DEVICE, arch: 1 }]), 'nvidia.json evidence.0.arch');
  assert.equal(json([{ ...DEVICE, evidence: '00'.repeat(16_385) }]), 'nvidia.json evidence.0.evidence');
  const nine = PEM.repeat(2).split('-----END').slice(0, 9).join('-----END');
  assert.equal(json([{ ...DEVICE, certificate: `${nine}-----END CERTIFICATE-----\n` }]), 'nvidia.json chain');
  assert.equal(json([{ ...DEVICE, certificate: block(new Uint8Array(4097)) }]), 'nvidia.json chain');
  assert.equal(json({ __cmwc_t: 'x', nonce: ['a', 'AA'] }), 'nvidia.json evidence');
  assert.equal(json([{ ...DEVICE, evidence: ['type'] }]), 'nvidia.json evidence.0.evidence');
  assert.equal(json([{ ...DEVICE, evidence: ['a', 'b', 'c'] }]), 'nvidia.json evidence.0.evidence');
  assert.equal(json([{ ...DEVICE, nonce: ['type', 'AAAA'] }]), 'nvidia.json evidence.0.nonce');
  assert.equal(json({ evidence_list: 1 }), 'nvidia.json evidence.evidence_list');
  assert.equal(json({ evidence_list: [] }), 'nvidia.json evidence.evidence_list');
  const twice = `[{"evidence":"11e0","evidence":"11e0","certificate":${JSON.stringify(PEM)}}]`;
  assert.equal(
    codeOf(() => parseNvidiaEvidenceJson(twice)),
    'nvidia.json evidence.0',
  );
});

test('NVIDIA-27 a report in hex and a chain in PEM', () => {
  assert.deepEqual(parseNvidiaReportHex(`${toHex(REPORT)}\n`), REPORT);
  assert.deepEqual(parseNvidiaReportHex(toHex(REPORT).toUpperCase()), REPORT);
  for (const text of ['', '1', '11e', 'zz', '11,e0', '00'.repeat(16_385)])
    assert.throws(() => parseNvidiaReportHex(text), MalformedError);
  assert.deepEqual(parseNvidiaChainPem(PEM), certificates);
  for (const text of ['', PEM.slice(0, -10), `x${PEM}`])
    assert.throws(() => parseNvidiaChainPem(text), MalformedError);
});

test('NVIDIA-27 no text does anything but parse or throw', () => {
  const leaf = fc.oneof(fc.string(), fc.constant(NONCE), fc.constant(PEM), fc.integer(), fc.constant(null));
  const device = fc.dictionary(
    fc.constantFrom('evidence', 'certificate', 'nonce', 'arch', 'evidence_list', '__proto__'),
    leaf,
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.array(device).map((list) => JSON.stringify(list)),
      ),
      (text) => {
        codeOf(() => parseNvidiaEvidenceJson(text));
        codeOf(() => parseNvidiaReportHex(text));
        codeOf(() => parseNvidiaChainPem(text));
      },
    ),
    { numRuns: 300 },
  );
});
