/** Test enclaves of Intel, AMD and NVIDIA shapes judged by OpenSSL; the verifiers of this repository meet them in interop/. */
import assert from 'node:assert/strict';
import {
  createHash,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  verify,
  X509Certificate,
} from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { decode, toHex, UsageError } from '@haca/primitives';
import { dstackDocumentCodec, nvidiaDocumentCodec, snpDocumentCodec } from '@haca/protocol';
import {
  certificateParts,
  createDstackTestEnclave,
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createSgxTestEnclave,
  createSnpTestEnclave,
  createSnpTestRoot,
  createTdxTestEnclave,
  createTdxTestRoot,
  derBitString,
  derName,
  derOid,
  derSequence,
  measureSnpTestImage,
  measureTdxTestImage,
  mintAmdCollateral,
  mintTdxCollateral,
  openTsmAttester,
  rsaSignerFromSeed,
  signCertificate,
  snpRegisters,
  tdxRegisters,
} from '../src/index.ts';
import { makeFolder, memoryTsm } from './fake-tsm.ts';
import { ASKED } from './real-vectors.ts';

const NOW_MS = Date.UTC(2026, 10, 21, 12);
const seed = new Uint8Array(32).fill(1);
const IMAGE = Uint8Array.of(1, 2, 3);
const intel = createTdxTestRoot(seed);
const amd = createSnpTestRoot(seed, 'milan');
const nvidia = createNvidiaTestRoot(seed);
const FINGERPRINTS = {
  intel: 'b4faea3572c27b1e',
  amd: 'f1eec68aacd4247f',
  nvidia: '6f53c0cf51a89d83',
  turin: '4082b7e6e4e0f8cc',
};

function assertChain(ders: readonly Uint8Array[], rootSha256: Uint8Array): readonly X509Certificate[] {
  const chain = ders.map((der) => new X509Certificate(der));
  assert.deepEqual(
    new Uint8Array(
      createHash('sha256')
        .update(ders[0] as Uint8Array)
        .digest(),
    ),
    rootSha256,
  );
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[Math.max(i - 1, 0)] as X509Certificate;
    assert.equal(certificate.verify(issuer.publicKey), true, `signature of ${i}`);
    assert.equal(certificate.checkIssued(issuer), true, `issuer of ${i}`);
    assert.equal(certificate.ca, i < chain.length - 1, `CA of ${i}`);
    assert.ok(Date.parse(certificate.validFrom) < NOW_MS && NOW_MS < Date.parse(certificate.validTo), `${i}`);
  }
  return chain;
}

function verifies(algorithm: string, key: KeyObject, message: Uint8Array, signature: Uint8Array): boolean {
  return verify(algorithm, message, { key, dsaEncoding: 'ieee-p1363' }, signature);
}

/** An uncompressed P-256 point without its first byte. */
function p256Key(point: Uint8Array): KeyObject {
  const [x, y] = [point.subarray(0, 32), point.subarray(32)].map((half) =>
    Buffer.from(half).toString('base64url'),
  );
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y } as JsonWebKey, format: 'jwk' });
}

test('a seed names its roots for ever', () => {
  const names = { intel, amd, nvidia, turin: createSnpTestRoot(seed, 'turin') };
  const fingerprints = Object.fromEntries(
    Object.entries(names).map(([name, { sha256 }]) => [name, toHex(sha256).slice(0, 16)]),
  );
  assert.deepEqual(fingerprints, FINGERPRINTS);
  assert.notDeepEqual(createTdxTestRoot().sha256, createTdxTestRoot().sha256);
  for (const make of [createTdxTestRoot, createSnpTestRoot, createNvidiaTestRoot])
    assert.throws(() => make(new Uint8Array(15)), UsageError);
});

test('TDX quotes: PCK chain, QE report and quote are signed as DCAP has it, in version 4 and 5', async () => {
  const measurement = measureTdxTestImage(IMAGE);
  for (const version of [4, 5] as const) {
    const enclave = createTdxTestEnclave({ root: intel, measurement, seed, version });
    const quote = Buffer.from(await enclave.attest(ASKED));
    const bodyAt = version === 4 ? 48 : 54;
    const bodyBytes = version === 4 ? 584 : 648;
    const signed = quote.subarray(0, bodyAt + bodyBytes);
    const data = quote.subarray(signed.length + 4);
    assert.equal(quote.readUInt32LE(signed.length), data.length);
    assert.ok(verifies('sha256', p256Key(data.subarray(64, 128)), signed, data.subarray(0, 64)));
    const certification = data.subarray(134);
    assert.deepEqual([data.readUInt16LE(128), data.readUInt32LE(130)], [6, certification.length]);
    const [report, authBytes] = [certification.subarray(0, 384), certification.readUInt16LE(448)];
    const auth = certification.subarray(450, 450 + authBytes);
    const bound = createHash('sha256').update(data.subarray(64, 128)).update(auth).digest();
    assert.deepEqual(report.subarray(320, 352), bound);
    const pem = certification.subarray(456 + authBytes).toString();
    const pems = pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n/g) ?? [];
    const chain = assertChain(pems.map((each) => new X509Certificate(each).raw).reverse(), intel.sha256);
    const pck = chain[2] as X509Certificate;
    assert.ok(verifies('sha256', pck.publicKey, report, certification.subarray(384, 448)));
    assert.equal(BigInt(`0x${pck.serialNumber}`), BigInt(`0x${toHex(enclave.platform.pckSerial)}`));
    assert.deepEqual(new Uint8Array(quote.subarray(bodyAt + 136, bodyAt + 184)), measurement.mrtd);
    assert.deepEqual(new Uint8Array(quote.subarray(bodyAt + 520, bodyAt + 584)), ASKED.bindingHash);
  }
  const { mrtd, rtmrs } = measurement;
  assert.deepEqual(
    tdxRegisters(measurement).map(({ value }) => value),
    [mrtd, ...rtmrs],
  );
});

test('collateral is signed by the TCB signer of the root', () => {
  const items = mintTdxCollateral(intel, { nowMs: NOW_MS, tcbEvaluationDataNumber: 21 });
  assert.deepEqual(
    items.map(({ kind }) => kind),
    ['intel-crl', 'intel-crl', 'intel-tcb-info', 'intel-qe-identity'],
  );
  for (const item of items) {
    if (!('body' in item)) continue;
    const chain = assertChain(item.issuerChain, intel.sha256);
    const key = (chain[1] as X509Certificate).publicKey;
    assert.ok(verifies('sha256', key, item.body, item.signature));
    const { issueDate, tcbEvaluationDataNumber } = JSON.parse(Buffer.from(item.body).toString());
    assert.deepEqual([issueDate, tcbEvaluationDataNumber], ['2026-11-21T12:00:00Z', 21]);
  }
  assert.equal(mintAmdCollateral(amd, { nowMs: NOW_MS })[0]?.kind, 'amd-crl');
});

test('SGX and dstack shapes share the platform of a TDX enclave', async () => {
  const shared = { root: intel, seed };
  const sgx = createSgxTestEnclave({
    ...shared,
    mrEnclave: new Uint8Array(32),
    mrSigner: new Uint8Array(32),
    isvProdId: 1,
    isvSvn: 1,
  });
  const register = new Uint8Array(48).fill(1);
  const events = [{ name: 'app-id', payload: IMAGE }];
  const dstack = createDstackTestEnclave({
    ...shared,
    mrtd: register,
    bootDigests: [[register], [], []],
    events,
  });
  assert.deepEqual(sgx.platform.pckSerial, dstack.platform.pckSerial);
  assert.equal(Buffer.from(await sgx.attest(ASKED)).readUInt16LE(0), 3);
  const document = decode(dstackDocumentCodec, await dstack.attest(ASKED), 'document');
  const rtmr3 = document.quote.subarray(48 + 472, 48 + 520);
  const type = Uint8Array.of(1, 0, 0, 8);
  const event = createHash('sha384').update(type).update(':app-id:').update(IMAGE).digest();
  assert.deepEqual(
    new Uint8Array(rtmr3),
    new Uint8Array(createHash('sha384').update(new Uint8Array(48)).update(event).digest()),
  );
  assert.deepEqual(
    document.events.map(({ imr }) => imr),
    [0, 3],
  );
});

async function snpParts(signingKey: 'vcek' | 'vlek') {
  const options = {
    root: amd,
    measurement: measureSnpTestImage(IMAGE),
    nowMs: () => NOW_MS,
    seed,
    signingKey,
  };
  return decode(snpDocumentCodec, await createSnpTestEnclave(options).attest(ASKED), 'document');
}

test('SNP reports are signed by keys that RSA-PSS certificates of 4096 bits vouch for', async () => {
  for (const signingKey of ['vcek', 'vlek'] as const) {
    const { report, certificates } = await snpParts(signingKey);
    const chain = assertChain(certificates, amd.sha256);
    assert.equal(chain[0]?.publicKey.asymmetricKeyDetails?.modulusLength, 4_096);
    const signature = Buffer.concat([
      report.slice(0x2a0, 0x2d0).reverse(),
      report.slice(0x2e8, 0x318).reverse(),
    ]);
    const key = (chain[2] as X509Certificate).publicKey;
    assert.ok(verifies('sha384', key, report.subarray(0, 0x2a0), signature));
  }
  const [hostData, measurement] = snpRegisters(measureSnpTestImage(IMAGE));
  assert.deepEqual([hostData?.register, measurement?.register], ['host-data', 'measurement']);
  const signer = rsaSignerFromSeed(seed, 'a');
  assert.deepEqual(signer.signatureBits(IMAGE), signer.signatureBits(IMAGE));
  assert.notDeepEqual(signer.keyInfo, rsaSignerFromSeed(seed, 'b').keyInfo);
});

test("a guest with a provider's key takes its ASVK and ARK from the operator's folder", async () => {
  const { report, certificates } = await snpParts('vlek');
  const [ark, asvk, vlek] = certificates as [Uint8Array, Uint8Array, Uint8Array];
  const table = new Uint8Array(48 + vlek.length);
  table.set(Buffer.from('a8074bc2a25a483eaae639c045a0b8a1', 'hex'));
  new DataView(table.buffer).setUint32(16, 48, true);
  new DataView(table.buffer).setUint32(20, vlek.length, true);
  table.set(vlek, 48);
  const tsm = memoryTsm({ provider: 'sev_guest', auxblob: table, outblob: () => report });
  const certificatesDir = makeFolder();
  try {
    writeFileSync(join(certificatesDir, 'ark.der'), ark);
    writeFileSync(join(certificatesDir, 'asvk.der'), asvk);
    const options = { kind: 'snp', root: tsm.root, files: tsm.files } as const;
    const document = await openTsmAttester({ ...options, certificatesDir }).attest(ASKED);
    assert.deepEqual(decode(snpDocumentCodec, document, 'document'), { report, certificates });
    await assert.rejects(openTsmAttester(options).attest(ASKED), {
      code: 'attester.certificates',
      message: /ASK or ASVK/,
    });
  } finally {
    rmSync(certificatesDir, { recursive: true, force: true });
  }
});

test('a certificate with a key that nobody knows is named, not stumbled over', async () => {
  const { report } = await snpParts('vcek');
  const parts = certificateParts({
    serial: Uint8Array.of(1),
    issuer: derName('a'),
    subject: derName('a'),
    notBeforeMs: NOW_MS,
    notAfterMs: NOW_MS,
    keyInfo: derSequence(derSequence(derOid('1.3.6.1.4.1.55555.1')), derBitString(IMAGE)),
    algorithm: intel.signer.algorithm,
    extensions: [],
  });
  const odd = signCertificate(parts, intel.signer);
  const folder = makeFolder();
  try {
    writeFileSync(join(folder, 'odd.der'), odd);
    const tsm = memoryTsm({ provider: 'sev_guest', outblob: () => report });
    const options = { kind: 'snp', root: tsm.root, files: tsm.files, certificatesDir: folder } as const;
    await assert.rejects(openTsmAttester(options).attest(ASKED), {
      code: 'attester.certificates',
      message: /odd\.der holds no certificate/,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('the error of a missing VCEK says where to get it, for every product line', async () => {
  for (const [product, expected] of [
    ['milan', /\/Milan\/[0-9a-f]{128}\?blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84\)/],
    ['genoa', /\/Genoa\/[0-9a-f]{128}\?blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84\)/],
    ['turin', /\/Turin\/[0-9a-f]{16}\?fmcSPL=1&blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84\)/],
  ] as const) {
    const root = createSnpTestRoot(seed, product);
    const enclave = createSnpTestEnclave({
      root,
      measurement: new Uint8Array(48),
      nowMs: () => NOW_MS,
      seed,
    });
    const { report } = decode(snpDocumentCodec, await enclave.attest(ASKED), 'document');
    const tsm = memoryTsm({ provider: 'sev_guest', outblob: () => report });
    const attester = openTsmAttester({ kind: 'snp', root: tsm.root, files: tsm.files });
    await assert.rejects(attester.attest(ASKED), { code: 'attester.certificates', message: expected });
  }
});

test('GPU reports are signed by a key that the device certifies', async () => {
  const documents = await createNvidiaTestGpus({ root: nvidia, seed, count: 2 }).attest(ASKED.refBlockHash);
  assert.equal(documents.length, 2);
  for (const bytes of documents) {
    const { report, certificates } = decode(nvidiaDocumentCodec, bytes, 'document');
    const chain = certificates.map((der) => new X509Certificate(der));
    assert.equal(chain.length, 5);
    for (const [i, certificate] of chain.entries())
      assert.ok(certificate.verify((chain[Math.max(i - 1, 0)] as X509Certificate).publicKey), `${i}`);
    const signed = report.subarray(0, -96);
    assert.ok(verifies('sha384', (chain[4] as X509Certificate).publicKey, signed, report.subarray(-96)));
    assert.deepEqual(new Uint8Array(report.subarray(4, 36)), ASKED.refBlockHash);
  }
});

test('what no enclave could have is refused', async () => {
  const register = new Uint8Array(48);
  const rtmrs = [register, register, register, register] as const;
  const bad: readonly (() => unknown)[] = [
    () => createTdxTestEnclave({ root: intel, measurement: { mrtd: new Uint8Array(32), rtmrs } }),
    () =>
      createSgxTestEnclave({ root: intel, mrEnclave: register, mrSigner: register, isvProdId: 1, isvSvn: 1 }),
    () => createSnpTestEnclave({ root: amd, measurement: new Uint8Array(32), nowMs: () => NOW_MS }),
    () => createSnpTestEnclave({ root: amd, measurement: register, nowMs: () => NOW_MS, vmpl: 4 }),
    () => createSnpTestEnclave({ root: amd, measurement: register, nowMs: () => NOW_MS, hostData: register }),
    () => createNvidiaTestGpus({ root: nvidia, debug: true }),
    () => createNvidiaTestGpus({ root: nvidia, vbiosVersion: IMAGE }),
  ];
  for (const make of bad) assert.throws(make, UsageError);
  await assert.rejects(createNvidiaTestGpus({ root: nvidia }).attest(IMAGE), UsageError);
});
