/** The page from a disk in a real browser: real files, and the verdicts of the command line check by check. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import type { Check, EvidenceKind } from '@haca/protocol';
import { browserMissing, type DrivenPage, drivePage } from '@haca/testkit/browser';
import { appraiseEvidenceFile, evidenceFileView } from '@haca/verifier';
import { singleFilePage } from '../src/single-file.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const VECTORS = join(process.env['HACA_VECTORS'] ?? join(ROOT, '../shared/vectors'), 'tee');
const skip = browserMissing || (existsSync(VECTORS) ? false : `no genuine evidence at ${VECTORS}`);
const WAIVED = '{"others":"any"}';

interface Case {
  readonly kind: EvidenceKind;
  readonly evidence: string;
  readonly collateral: readonly string[];
  readonly atMs: number;
  readonly policy: string;
}

interface Vector {
  readonly files: readonly { readonly file: string }[];
  readonly expect: { readonly verify_at_s?: number; readonly verify_at_ms?: number };
}

/** Where a manifest gives no time, one at which every certificate of the vectors holds. */
const OTHERWISE_MS = Date.parse('2025-06-10T20:00:00Z');

function vectorCases(kind: EvidenceKind): readonly Case[] {
  const folder = join(VECTORS, kind);
  const { vectors } = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
    readonly vectors: readonly Vector[];
  };
  const all = readdirSync(folder).map((name) => join(folder, name));
  return vectors.map(({ files, expect }, i) => ({
    kind,
    evidence: join(folder, (files[0] as { file: string }).file),
    // Every other one with the whole folder, where what fits has to be chosen.
    collateral: i % 2 === 0 ? files.map(({ file }) => join(folder, file)) : all,
    atMs:
      expect.verify_at_ms ?? (expect.verify_at_s === undefined ? OTHERWISE_MS : expect.verify_at_s * 1000),
    policy: WAIVED,
  }));
}

/** A signed manifest of NVIDIA among the files, of another VBIOS than the report's. */
const MANIFEST_CASE: Case = {
  kind: 'nvidia',
  evidence: join(VECTORS, 'nvidia/hopper-550.report.hex.txt'),
  collateral: ['hopper-550.chain.pem', 'rim-vbios-1010_0200_882_96005E0001.swidtag'].map((name) =>
    join(VECTORS, 'nvidia', name),
  ),
  atMs: Date.UTC(2024, 0, 1),
  policy: '{"manifests":"required","others":"any"}',
};

function changedCases(base: Case, folder: string): readonly Case[] {
  const bytes = readFileSync(base.evidence);
  return [0, 100, 200, 640, 700].map((at) => {
    const path = join(folder, `${base.kind}-flipped-${at}`);
    writeFileSync(path, bytes.with(at, (bytes[at] as number) ^ 1));
    return { ...base, evidence: path };
  });
}

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(path));
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

function inNode({ kind, evidence, collateral, atMs, policy }: Case): unknown {
  const files = collateral.map((path) => ({ name: nameOf(path), bytes: read(path) }));
  const request = { crypto: nodeCrypto, kind, atMs, evidence: read(evidence), collateral: files };
  const view = evidenceFileView(appraiseEvidenceFile({ ...request, policy: JSON.parse(policy) as unknown }));
  return JSON.parse(JSON.stringify(view)) as unknown;
}

const DONE = `new Promise((resolve) => {
  const look = () => document.body.dataset.state === 'done' ? resolve() : setTimeout(look, 2);
  look();
})`;

async function inPage(page: DrivenPage, { kind, evidence, collateral, atMs, policy }: Case): Promise<string> {
  const set = (id: string, value: string): Promise<unknown> =>
    page.evaluate(`void (document.getElementById('${id}').value = ${JSON.stringify(value)})`);
  await set('at', '');
  await page.chooseFiles('#evidence', [evidence]);
  await page.chooseFiles('#collateral', collateral);
  await set('kind', kind);
  await set('policy', policy);
  await set('at', `${atMs}`);
  await page.evaluate(`document.getElementById('verify').click()`);
  await page.evaluate(DONE);
  return String(await page.evaluate(`document.getElementById('json').textContent`));
}

test('the page judges evidence of every kind as the command line does, from disk', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'haca-page-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'verify-evidence.html');
  writeFileSync(file, singleFilePage());
  const page = await drivePage(pathToFileURL(file).href);
  t.after(page.close);
  assert.equal(await page.evaluate('document.body.dataset.state'), 'ready', page.complaints.join('\n'));
  const kinds = ['nitro', 'tdx', 'sgx', 'snp', 'nvidia', 'dstack', 'azure'] as const;
  const genuine = kinds.map((kind) => ({ kind, cases: vectorCases(kind) }));
  let compared = 0;
  for (const { kind, cases } of genuine) {
    const outcomes = new Set<boolean>();
    const [first] = cases.filter(({ evidence }) => !evidence.endsWith('.pem'));
    for (const each of [...cases, ...changedCases(first as Case, folder)]) {
      const shown = JSON.parse(await inPage(page, each)) as { readonly ok: boolean };
      assert.deepEqual(shown, inNode(each), `${kind} ${nameOf(each.evidence)}`);
      outcomes.add(shown.ok);
      compared++;
    }
    assert.ok(outcomes.has(false), kind);
  }
  assert.ok(compared > 60, `${compared}`);
  const shown = JSON.parse(await inPage(page, MANIFEST_CASE)) as { readonly checks: readonly Check[] };
  assert.deepEqual(shown, inNode(MANIFEST_CASE));
  const authentic = shown.checks.find(({ id }) => id === 'nvidia.rim.vbios.authentic');
  assert.equal(authentic?.status, 'passed');
  const [tdx] = (genuine[1] as (typeof genuine)[number]).cases;
  await inPage(page, tdx as Case);
  const rows = await page.evaluate(`document.querySelectorAll('#result li').length`);
  assert.ok(typeof rows === 'number' && rows > 30, `${String(rows)} checks are shown`);
  assert.match(String(await page.evaluate(`document.getElementById('result').innerText`)), /ACCEPTED/);
  assert.deepEqual(page.complaints, []);
});

test(
  'what is missing or no policy is said in the page, and nothing is shown as judged',
  { skip },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'haca-page-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'verify-evidence.html');
    writeFileSync(file, singleFilePage());
    const page = await drivePage(pathToFileURL(file).href);
    t.after(page.close);
    const [base] = vectorCases('tdx') as readonly [Case];
    const said = async (): Promise<string> =>
      String(await page.evaluate(`document.getElementById('result').innerText`));
    await page.evaluate(`document.getElementById('verify').click()`);
    await page.evaluate(DONE);
    assert.match(await said(), /choose a file/);
    assert.equal(await inPage(page, { ...base, policy: '{"reportDate":"00"}' }), '');
    assert.match(await said(), /reportData/);
    assert.equal(await inPage(page, { ...base, policy: '{' }), '');
    const wrapped = join(VECTORS, 'azure/tdx-vtpm-2023.json');
    assert.equal(await inPage(page, { ...base, evidence: wrapped }), '');
    assert.match(await said(), /--kind azure/);
    const answer = await page.evaluate(
      `fetch('https://example.invalid/').then(() => 'connected', (error) => String(error))`,
    );
    assert.notEqual(answer, 'connected');
    assert.ok(page.complaints.some((each) => each.includes('Content Security Policy')));
  },
);

test('haca evidence page writes the page, and says what it did', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'haca-page-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const main = join(ROOT, 'apps/verify-evidence/src/main.ts');
  const out = join(folder, 'page.html');
  const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
  const { status, stdout, stderr } = run('--out', out, '--json');
  assert.deepEqual([status, stderr], [0, '']);
  const { path, sizeBytes } = JSON.parse(stdout) as { path: string; sizeBytes: number };
  assert.deepEqual([path, readFileSync(out).length], [out, sizeBytes]);
  assert.equal(run().status, 0);
  assert.ok(existsSync(join(folder, 'verify-evidence.html')));
  for (const bad of [['--ouput', out], ['--out', join(folder, 'no/such/folder.html')], ['--out']]) {
    const { status: code, stderr: reason } = run(...bad);
    assert.equal(code, 2);
    assert.ok(reason.startsWith('haca evidence page: ') && !/\n\s+at /.test(reason), reason);
  }
});
