/** Keys whose evidence gains and loses its standing while a node serves, and the certificate that evidence names. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, hash, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from 'node:tls';
import {
  certificateParts,
  createTdxTestRoot,
  createTestEnclave,
  createTestRoot,
  derName,
  derOid,
  derSequence,
  intelTestPlatform,
  leafConstraints,
  measureTdxTestImage,
  measureTestImage,
  signCertificate,
} from '@haca/attester';
import { fromBase64url } from '@haca/platform';
import { decode, fromHex, toHex, utf8Encode } from '@haca/primitives';
import { type EvidenceKind, registrationBindingCodec } from '@haca/protocol';
import { ConfigError } from '../src/config.ts';
import {
  type EvidenceStanding,
  type EvidenceView,
  evidenceLeftMs,
  evidenceRefusal,
  isBeyondMending,
  isEvidenceDue,
  parseStanding,
  standingLine,
} from '../src/evidence-standing.ts';
import { TransactionRefusedError } from '../src/operator.ts';
import { registrationAdvice } from '../src/registration-advice.ts';
import { openTdxTestEnclave } from '../src/test-platform.ts';
import { readTlsIdentity } from '../src/tls-files.ts';
import { hello, startTestNode, type TestNode, type TestNodeOptions, until } from './test-node.ts';
import { readNodeInfo } from './test-payer.ts';

const HOUR_MS = 3_600_000;
const attester = createTestEnclave({
  root: createTestRoot(new Uint8Array(32).fill(1)),
  measurement: measureTestImage(utf8Encode('image')),
  nowMs: Date.now,
});

async function startAttested(t: TestContext, options: TestNodeOptions = {}): Promise<TestNode> {
  const node = await startTestNode({ ...options, parts: { attester, ...options.parts } });
  t.after(node.close);
  return node;
}

const good = (endInMs: number, tcbStatus: string | null = 'UpToDate'): EvidenceStanding => ({
  standing: 'good',
  isBacking: true,
  effectiveEndMs: Date.now() + endInMs,
  tcbStatus,
});
const lost = (standing: string): EvidenceStanding => ({ ...good(0), standing, isBacking: false });

interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

for (const [standing, move] of [
  ['measurement-revoked', /a release that is approved/],
  ['hardware-revoked', /another machine/],
  ['stale-collateral', /haca collateral post/],
] as const) {
  test(`HTTP-88 a key that is ${standing} promises nothing more, asks for no other, and serves again if it may`, async (t) => {
    const node = await startAttested(t);
    const payer = await node.payer('before');
    assert.equal((await payer.post(hello())).status, 200);
    await until(() => node.chain.statements.length === 1);
    const leftSeconds = async (): Promise<number> => {
      const text = await (await fetch(`${node.url}/metrics`)).text();
      return Number(/evidence_left_seconds (\d+)$/m.exec(text)?.[1]);
    };
    assert.ok((await leftSeconds()) > 10_000);
    node.chain.setStanding(() => lost(standing));
    await until(async () => (await fetch(`${node.url}/health/ready`)).status === 503);
    assert.equal(await leftSeconds(), 0);
    const refused = await payer.post(hello());
    const { error } = (await refused.json()) as ErrorBody;
    assert.deepEqual([refused.status, error.code], [503, 'E_UNAVAILABLE']);
    assert.match(error.message, new RegExp(standing));
    assert.match(error.message, move);
    assert.ok(node.lines.some((line) => line.includes(standing) && move.test(line)));
    assert.equal(node.chain.nodeKeys.size, 1, 'fresh evidence would be refused as well');
    node.chain.setStanding(() => good(HOUR_MS));
    await until(async () => (await fetch(`${node.url}/health/ready`)).status === 200);
    assert.equal((await payer.post(hello())).status, 200);
  });
}

test('HTTP-88 receipts of a key that backs nothing are not sent in vain, and settle once it does again', async (t) => {
  const node = await startAttested(t, { settlement: { batchMaxAgeMs: 300 } });
  const payer = await node.payer('in between');
  assert.equal((await payer.post(hello())).status, 200);
  node.chain.setStanding(() => lost('stale-collateral'));
  node.chain.refuseSettlements('E_KEY');
  await new Promise((settle) => setTimeout(settle, 700));
  assert.ok(!node.lines.some((line) => line.includes('E_KEY')), 'nothing was offered to a block');
  node.chain.refuseSettlements(null);
  node.chain.setStanding(() => good(HOUR_MS));
  await until(() => node.chain.statements.length === 1);
});

test('HTTP-88 before a grace ends there is a key with fresh evidence, and both serve', async (t) => {
  const node = await startAttested(t, { params: { tcbGraceMs: 24_000 } });
  const payer = await node.payer('loyal');
  const first = toHex(node.info.keyId);
  const endsMs = Date.now() + 8_000;
  const ending = { ...good(0, 'OutOfDate'), effectiveEndMs: endsMs };
  node.chain.setStanding((keyId) => (keyId === first ? ending : good(HOUR_MS)));
  assert.equal((await payer.post(hello())).status, 200, 'a grace is there to be used');
  const fresh = await until(async () => {
    const info = await readNodeInfo(node.url);
    return toHex(info.keyId) !== first && info;
  });
  assert.ok(Date.now() > endsMs - 7_000, 'not before the last quarter of it');
  assert.equal((await payer.post(hello())).status, 200, 'who knows only the old key is still served');
  assert.notEqual(toHex(fresh.keyId), first);
  await until(async () => (await payer.post(hello())).status === 503);
  assert.equal(node.chain.nodeKeys.size, 2);
});

test('HTTP-88 where fresh evidence ends as soon, it is not asked for again and again', async (t) => {
  const node = await startAttested(t, { params: { tcbGraceMs: 120_000 } });
  const endsMs = Date.now() + 25_000;
  node.chain.setStanding(() => ({ ...good(0, 'OutOfDate'), effectiveEndMs: endsMs }));
  await until(() => node.chain.nodeKeys.size === 2);
  await new Promise((settle) => setTimeout(settle, 3_000));
  assert.equal(node.chain.nodeKeys.size, 2);
});

test('HTTP-88 a key without standing is followed as soon as its platform is in order again', async (t) => {
  const node = await startAttested(t);
  const first = toHex(node.info.keyId);
  node.chain.refuseKeys('E_EVIDENCE');
  node.chain.setStanding((keyId) => (keyId === first ? lost('tcb-out-of-date') : good(HOUR_MS)));
  await until(() => node.lines.some((line) => line.includes('E_EVIDENCE')));
  assert.equal((await fetch(`${node.url}/health/ready`)).status, 503);
  node.chain.refuseKeys(null);
  node.clock.skewMs = 10_000;
  await until(async () => (await fetch(`${node.url}/health/ready`)).status === 200);
  assert.equal(node.chain.nodeKeys.size, 2);
});

test('HTTP-88 tries that failed while a key had no standing do not hold up its successor when it has', async (t) => {
  const node = await startAttested(t);
  const first = toHex(node.info.keyId);
  const all = new Map([[first, lost('tcb-out-of-date')]]);
  const standingOf = (keyId: string): EvidenceStanding => all.get(keyId) ?? good(HOUR_MS);
  node.chain.refuseKeys('E_EVIDENCE');
  node.chain.setStanding(standingOf);
  const tries = () => node.lines.filter((line) => line.includes('E_EVIDENCE')).length;
  for (const [failed, waitMs] of [5_000, 10_000, 20_000, 40_000, 80_000].entries()) {
    await until(() => tries() > failed);
    node.clock.skewMs += waitMs;
  }
  await until(() => tries() > 5);
  // The next one would be in minutes.
  node.chain.refuseKeys(null);
  all.set(first, good(25 * 60_000));
  node.chain.setStanding(standingOf);
  await until(() => node.chain.nodeKeys.size === 2);
});

test('HTTP-88 a full node that can not say leaves the end that the key was opened with', async (t) => {
  const node = await startAttested(t);
  const payer = await node.payer('plain');
  node.chain.setStanding(() => null);
  assert.equal((await payer.post(hello())).status, 200);
  await until(() => node.chain.statements.length === 1);
});

test('what a standing means is a matter of its word, its end, and the grace that the chain gives', () => {
  const nowMs = 1_000_000_000;
  const viewOf = (standing: EvidenceStanding | null, graceMs = 0): EvidenceView => ({
    evidence: { endMs: nowMs + 3 * HOUR_MS } as EvidenceView['evidence'],
    standing,
    params: { tcbGraceMs: graceMs, collateralGraceMs: 0 },
    nowMs,
  });
  const ending = (inMs: number): EvidenceStanding => ({ ...good(0), effectiveEndMs: nowMs + inMs });
  const states = (view: EvidenceView) => [isEvidenceDue(view), evidenceRefusal(view) !== undefined];
  assert.deepEqual(states(viewOf(null)), [false, false]);
  assert.deepEqual(states({ ...viewOf(null), nowMs: nowMs + 2.6 * HOUR_MS }), [true, false]);
  assert.deepEqual(states({ ...viewOf(null), nowMs: nowMs + 2.9 * HOUR_MS }), [true, true]);
  assert.deepEqual(states(viewOf(ending(31 * 60_000))), [false, false]);
  assert.deepEqual(states(viewOf(ending(29 * 60_000))), [true, false]);
  assert.deepEqual(states(viewOf(ending(9 * 60_000))), [true, true]);
  // A quarter and a twelfth of a grace of a minute.
  assert.deepEqual(states(viewOf(ending(16_000), 60_000)), [false, false]);
  assert.deepEqual(states(viewOf(ending(14_000), 60_000)), [true, false]);
  assert.deepEqual(states(viewOf(ending(4_000), 60_000)), [true, true]);
  assert.deepEqual(states({ ...viewOf(lost('expired')), evidence: null }), [false, false]);
  assert.equal(evidenceLeftMs({ ...viewOf(null), evidence: null }), Number.POSITIVE_INFINITY);
  assert.equal(evidenceLeftMs(viewOf(lost('expired'))), 0);
  for (const [word, isDue] of [
    ['expired', true],
    ['tcb-out-of-date', true],
    ['certificate-revoked', true],
    ['measurement-revoked', false],
    ['hardware-revoked', false],
    ['stale-collateral', false],
    ['a word of later', false],
  ] as const) {
    assert.deepEqual(states(viewOf(lost(word))), [isDue, true], word);
    assert.equal(isBeyondMending(lost(word)), !isDue, word);
    assert.match(standingLine(lost(word)), new RegExp(`${word}.*No new work is taken`));
  }
});

test('who runs a node is told what to do where its key is not opened', () => {
  const adviceOf = (code: string, log: string, kind: EvidenceKind | null = 'tdx') =>
    registrationAdvice(new TransactionRefusedError(code, log), kind);
  const missing = 'tdx.pck-crl: expected , got no revocation list to judge by';
  assert.match(adviceOf('E_EVIDENCE', missing) ?? '', /Intel's revocation lists.*haca collateral post/);
  const old = 'tdx.tcb-info.window: expected before 5, got 6';
  assert.match(adviceOf('E_EVIDENCE', old) ?? '', /haca collateral post/);
  const amd = 'snp.crl.form: expected , got no revocation list of the root is known';
  assert.match(adviceOf('E_EVIDENCE', amd, 'snp') ?? '', /AMD's.*haca collateral post/);
  assert.match(adviceOf('E_MEASUREMENT', 'tdx.measurement: x') ?? '', /not approved/);
  assert.match(adviceOf('E_HARDWARE', 'a chip that serves no other operator') ?? '', /one operator/);
  // What collateral can't help is not blamed on it.
  assert.equal(adviceOf('E_EVIDENCE', 'tdx.report-data: expected a, got b'), undefined);
  assert.equal(adviceOf('E_EVIDENCE', 'nitro.timestamp.window: expected a, got b', 'nitro'), undefined);
  assert.equal(adviceOf('E_BOND', 'at least 5'), undefined);
  assert.equal(registrationAdvice(new Error('no collateral'), 'tdx'), undefined);
});

test('an answer about a standing that has another form is an error, not a standing', () => {
  const answer = { standing: 'good', isBacking: true, effectiveEndMs: 5, tcbStatus: null };
  assert.deepEqual(parseStanding(JSON.stringify({ ...answer, tier: 'simulated', height: 3 })), answer);
  for (const wrong of [
    { ...answer, standing: 1 },
    { ...answer, isBacking: 'true' },
    { ...answer, effectiveEndMs: '5' },
    { ...answer, effectiveEndMs: undefined },
    { ...answer, tcbStatus: 7 },
    null,
  ])
    assert.throws(() => parseStanding(JSON.stringify(wrong)));
  assert.throws(() => parseStanding(''));
});

/** A self-signed certificate for 127.0.0.1, and its key. */
function writeTlsFiles(folder: string, name: string) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const algorithm = derSequence(derOid('1.2.840.10045.4.3.2'));
  const subject = derName('127.0.0.1');
  const parts = certificateParts({
    serial: Uint8Array.of(1),
    issuer: subject,
    subject,
    keyInfo: new Uint8Array(spki),
    algorithm,
    notBeforeMs: Date.now() - HOUR_MS,
    notAfterMs: Date.now() + HOUR_MS,
    extensions: [leafConstraints()],
  });
  const signatureBits = (message: Uint8Array) => new Uint8Array(sign('sha256', message, privateKey));
  const der = signCertificate(parts, { algorithm, keyInfo: new Uint8Array(spki), signatureBits });
  const files = { certificateFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) };
  writeFileSync(files.certificateFile, new X509Certificate(der).toString());
  writeFileSync(files.keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return { ...files, spkiHash: new Uint8Array(hash('sha256', spki, 'buffer')) };
}

test('HTTP-89 a node that speaks TLS itself has the key it does so with in its evidence', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'haca-tls-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const files = writeTlsFiles(folder, 'node');
  const tls = readTlsIdentity(files);
  assert.deepEqual(tls.spkiHash, files.spkiHash);
  // The certificate is nobody's but its own: what counts here is what the evidence says of it.
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.after(() => {
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  });
  const node = await startAttested(t, { parts: { tls } });
  assert.match(node.url, /^https:/);
  assert.equal(await spkiHashOf(node.url), toHex(files.spkiHash), 'what a client sees');
  const path = `${node.url}/v1/attestation/${toHex(node.info.keyId)}`;
  const found = (await (await fetch(path)).json()) as { readonly binding: string };
  const binding = decode(registrationBindingCodec, fromBase64url(found.binding), 'binding');
  assert.deepEqual(binding.tlsSpkiHash, files.spkiHash);
  assert.equal(binding.hpkePublicKey?.length, 32, 'HTTP-100: a key that requests can be sealed to');
  const payer = await node.payer('encrypted');
  assert.equal((await payer.post(hello())).status, 200);
});

function spkiHashOf(url: string): Promise<string> {
  return new Promise((settle, fail) => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      const { raw } = socket.getPeerX509Certificate() as X509Certificate;
      const spki = new X509Certificate(raw).publicKey.export({ type: 'spki', format: 'der' });
      socket.destroy();
      settle(hash('sha256', spki));
    });
    socket.once('error', fail);
  });
}

test('TLS files that are missing, no PEM, or not of each other are refused by name', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'haca-tls-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [one, other] = [writeTlsFiles(folder, 'one'), writeTlsFiles(folder, 'other')];
  const text = join(folder, 'text');
  writeFileSync(text, 'no PEM');
  for (const [files, message] of [
    [{ ...one, certificateFile: join(folder, 'nowhere') }, /tls must be a readable file, .*nowhere/],
    [{ ...one, certificateFile: text }, /tls\.certificateFile must be a PEM certificate/],
    [{ ...one, keyFile: text }, /tls\.keyFile must be a PEM private key/],
    [{ ...one, keyFile: other.keyFile }, /tls\.keyFile must be the key of/],
  ] as const) {
    assert.throws(
      () => readTlsIdentity(files),
      (error: unknown) => error instanceof ConfigError && message.test(error.message),
      `${message}`,
    );
  }
});

test('a test platform stands in a file: it outlives the process, and is quoted as it is when asked', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'haca-platform-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'platform.json');
  const root = createTdxTestRoot(new Uint8Array(32).fill(3));
  const measurement = measureTdxTestImage(utf8Encode('image'));
  const asked = {
    bindingHash: new Uint8Array(64),
    signPublicKey: new Uint8Array(32),
    refBlockHash: new Uint8Array(32),
  };
  const enclave = openTdxTestEnclave(root, measurement, file);
  const { seed } = JSON.parse(readFileSync(file, 'utf8')) as { readonly seed: string };
  const certificateOf = (patches: number): Buffer =>
    Buffer.from(
      new X509Certificate(intelTestPlatform(root, fromHex(seed), patches).chain[0] as Uint8Array).toString(),
    );
  const quoteHas = async (patches: number): Promise<boolean> =>
    Buffer.from(await enclave.attest(asked)).includes(certificateOf(patches));
  assert.deepEqual([await quoteHas(0), await quoteHas(1)], [true, false]);
  writeFileSync(file, JSON.stringify({ seed, patches: 1 }));
  assert.deepEqual([await quoteHas(0), await quoteHas(1)], [false, true]);
  const again = await openTdxTestEnclave(root, measurement, file).attest(asked);
  assert.ok(Buffer.from(again).includes(certificateOf(1)), 'the same platform');
  for (const wrong of ['{}', `{"seed":"${seed}","patches":-1}`, `{"seed":"${seed}","patches":0.5}`]) {
    writeFileSync(file, wrong);
    await assert.rejects(async () => enclave.attest(asked), ConfigError);
  }
});
