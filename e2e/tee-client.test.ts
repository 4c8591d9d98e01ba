/** Operators and users of a local network with a TDX guest and a GPU: the `haca` command from collateral to a refused node. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createTdxTestRoot, type IntelTestCollateralOptions, mintTdxCollateral } from '@haca/attester';
import { runCli } from '@haca/cli';
import { fromHex, toHex } from '@haca/primitives';
import type { Collateral } from '@haca/protocol';
import { type DevnetProcess, startDevnet } from './devnet-process.ts';

const home = mkdtempSync(join(tmpdir(), 'haca-e2e-tee-'));
process.env['HACA_HOME'] = home;
const genesis = join(home, 'devnet', 'genesis.json');
const DAY_MS = 86_400_000;
let devnet: DevnetProcess | undefined;

before(async () => {
  devnet = await startDevnet();
});

after(async () => {
  await devnet?.stop();
  rmSync(home, { recursive: true, force: true });
});

type Json = Record<string, unknown>;

interface Ran {
  readonly code: number;
  readonly json: Json;
  readonly out: string;
  readonly err: string;
}

/** In this process: the command starts as often as a day of an operator has it. */
async function haca(...args: string[]): Promise<Ran> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await runCli(args, {
    out: (line) => void lines.out.push(line),
    err: (line) => void lines.err.push(line),
  });
  const out = lines.out.join('\n');
  const json = args.includes('--json') ? (JSON.parse(out) as Json) : {};
  return { code, json, out, err: lines.err.join('\n') };
}

interface Shown {
  readonly id: string;
  readonly status: string;
}

/** The node on the TDX guest: the one whose key the chain judges by collateral. */
async function tdxNode(): Promise<{ readonly url: string; readonly keyId: string }> {
  const { json } = await haca('query', 'nodes', '--json');
  for (const { endpoint, keys } of json['nodes'] as { endpoint: string; keys: string[] }[]) {
    for (const keyId of keys) {
      const { value } = (await haca('query', 'key', keyId, '--json')).json as {
        value: { evidence: Json | null };
      };
      if (value.evidence?.['kind'] === 'tdx') return { url: endpoint, keyId };
    }
  }
  throw new Error('no node shows TDX evidence');
}

function ask(url: string, ...more: string[]): Promise<Ran> {
  return haca('chat', 'Hello', '--max-tokens', '8', '--node', url, '--json', ...more);
}

const bundle = join(home, 'tdx.haca');

test('an answer of the TDX guest is judged here by the records of the chain, its GPU too, and offline the same', async () => {
  const { url } = await tdxNode();
  const { code, json, err } = await ask(url, '--bundle', bundle);
  assert.equal(code, 0, err);
  assert.deepEqual(
    [json['assurance'], json['tier'], json['tcbStatus']],
    ['tee-simulated', 'simulated', 'UpToDate'],
  );
  const passed = ((json['verdict'] as Json)['checks'] as Shown[])
    .filter(({ status }) => status === 'passed')
    .map(({ id }) => id);
  for (const id of [
    'evidence.tdx.signature',
    'evidence.tdx.tcb.status',
    'evidence.tdx.pck-crl.revocation',
    'evidence.gpu.0.nvidia.signature',
    'evidence.gpu.0.measurement',
    'evidence.hardware.1',
    'evidence.standing',
  ])
    assert.ok(passed.includes(id), `${id} in ${passed.join(' ')}`);
  const offline = await haca('verify', bundle, '--genesis', genesis, '--accept-simulated', '--json');
  assert.equal(offline.code, 0, offline.out);
  assert.deepEqual([offline.json['tcbStatus'], offline.json['standing']], ['UpToDate', 'good']);
  assert.equal((await haca('verify', bundle, '--genesis', genesis)).code, 1);
  assert.equal((await ask(url, '--min-tier', 'cloud')).code, 1);
});

test('the chain lists what it judges by, and the standing of a key', async () => {
  const { keyId } = await tdxNode();
  const { code, json } = await haca('collateral', 'list', '--json');
  assert.equal(code, 0);
  const rows = json['collateral'] as { kind: string; scope: string; keys: string[]; number: number }[];
  assert.deepEqual(rows.map(({ kind }) => kind).sort(), [
    'intel-crl',
    'intel-crl',
    'intel-qe-identity',
    'intel-tcb-info',
  ]);
  for (const { keys } of rows) assert.ok(keys.includes(keyId));
  assert.deepEqual(json['missing'], []);
  const standing = await haca('query', 'key-standing', keyId, '--json');
  assert.deepEqual([standing.code, standing.json['standing']], [0, 'good']);
  const kept = (await haca('query', 'key-evidence', keyId, '--json')).json['value'] as {
    readonly measurement: string;
    readonly gpus: readonly Json[];
    readonly hardware: readonly string[];
  };
  assert.deepEqual(
    [kept.gpus.length, kept.hardware.length],
    [1, 2],
    'a GPU, and its chip beside that of the CPU',
  );
  const releases = (await haca('measurement', 'list', '--kind', 'tdx', '--json')).json[
    'measurements'
  ] as Json[];
  assert.deepEqual(
    releases.map(({ phase }) => phase),
    ['active'],
  );
  const [release] = releases as [Json];
  const shown = await haca('measurement', 'show', String(release['measurementId']), '--json');
  assert.deepEqual(shown.json['registers'], release['registers']);
});

const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;

/** One JSON bundle, as DCAP tools write it. */
function bundleOf(items: readonly Collateral[]): string {
  const [root, ca, info, identity] = items as [Collateral, Collateral, Collateral, Collateral];
  const chain = ({ issuerChain }: Collateral): string => [...issuerChain].reverse().map(pem).join('');
  const list = (item: Collateral): string => ('crl' in item ? toHex(item.crl) : '');
  const signed = (item: Collateral): readonly [string, string] =>
    'body' in item ? [new TextDecoder().decode(item.body), toHex(item.signature)] : ['', ''];
  const [[tcb, tcbSignature], [qe, qeSignature]] = [signed(info), signed(identity)];
  return JSON.stringify({
    root_ca_crl: list(root),
    pck_crl: list(ca),
    pck_crl_issuer_chain: chain(ca),
    tcb_info: tcb,
    tcb_info_signature: tcbSignature,
    tcb_info_issuer_chain: chain(info),
    qe_identity: qe,
    qe_identity_signature: qeSignature,
    qe_identity_issuer_chain: chain(identity),
  });
}

function writeCollateral(name: string, options: Partial<IntelTestCollateralOptions>): string {
  const seed = readFileSync(join(home, 'devnet', 'test-root.seed'), 'utf8').trim();
  const nowMs = Date.now() - DAY_MS / 2;
  const items = mintTdxCollateral(createTdxTestRoot(fromHex(seed)), { nowMs, ...options });
  const folder = join(home, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'collateral.json'), bundleOf(items));
  return folder;
}

const statesOf = (json: Json): string[] =>
  (json['pieces'] as { state: string }[]).map(({ state }) => state).sort();

test('TCB recovery: newer collateral from a file, a grace for platforms, and everybody says what the status is', async () => {
  const { url, keyId } = await tdxNode();
  const raised = writeCollateral('raised', { tcbEvaluationDataNumber: 18, platformStatus: 'OutOfDate' });
  const dry = await haca('collateral', 'post', raised, '--dry-run', '--json');
  assert.equal(dry.code, 0, dry.out);
  assert.deepEqual(statesOf(dry.json), ['newer', 'newer', 'newer', 'newer']);
  const posted = await haca('collateral', 'post', raised, '--json');
  assert.equal(posted.code, 0, posted.out + posted.err);
  assert.equal((posted.json['transactions'] as unknown[]).length, 1);
  const again = await haca('collateral', 'post', raised, '--json');
  assert.equal(again.code, 0);
  assert.deepEqual(statesOf(again.json), ['same', 'same', 'same', 'same']);
  assert.deepEqual(again.json['transactions'], []);
  const old = writeCollateral('old', { nowMs: Date.now() - 3 * DAY_MS });
  assert.deepEqual(statesOf((await haca('collateral', 'post', old, '--json')).json), [
    'older',
    'older',
    'older',
    'older',
  ]);

  const standing = await haca('query', 'key-standing', keyId, '--json');
  assert.deepEqual([standing.code, standing.json['tcbStatus']], [0, 'OutOfDate']);
  const { code, json, out } = await ask(url);
  assert.equal(code, 0, out);
  assert.equal(json['tcbStatus'], 'OutOfDate');
  const grace = ((json['verdict'] as Json)['checks'] as Shown[]).find(
    ({ id }) => id === 'evidence.tcb-grace',
  );
  assert.equal(grace?.status, 'passed');
});

test('collateral that is forged or of another root is refused before it is sent', async () => {
  const forged = writeCollateral('forged', { tcbEvaluationDataNumber: 19 });
  const path = join(forged, 'collateral.json');
  writeFileSync(path, readFileSync(path, 'utf8').replace('OutOfDate', 'Revoked\u0020\u0020'));
  const { code, json } = await haca('collateral', 'post', forged, '--dry-run', '--json');
  assert.equal(code, 1);
  assert.ok(statesOf(json).includes('refused'));
  const foreign = join(home, 'foreign');
  mkdirSync(foreign);
  const items = mintTdxCollateral(createTdxTestRoot(new Uint8Array(32).fill(9)), {
    nowMs: Date.now() - DAY_MS,
  });
  writeFileSync(join(foreign, 'collateral.json'), bundleOf(items));
  const other = await haca('collateral', 'post', foreign, '--dry-run', '--json');
  assert.equal(other.code, 1);
  assert.deepEqual(other.json['transactions'], []);
});

test('validators revoke a release by decree, and its node is trusted by nobody from then on', async () => {
  const { url, keyId } = await tdxNode();
  const [release] = (await haca('measurement', 'list', '--kind', 'tdx', '--json')).json['measurements'] as [
    Json,
  ];
  const action = JSON.stringify({ kind: 'revoke-measurement', measurementId: release['measurementId'] });
  const file = join(home, 'decree.json');
  assert.equal((await haca('decree', 'make', '--action', action, '--out', file)).code, 0);
  assert.equal((await haca('decree', 'submit', file, '--json')).code, 1);
  const key = join(home, 'devnet', 'validator.json');
  assert.equal((await haca('decree', 'sign', '--key', key, file)).code, 0);
  const submitted = await haca('decree', 'submit', file, '--json');
  assert.equal(submitted.code, 0, submitted.out + submitted.err);
  assert.equal((await haca('decree', 'submit', file, '--json')).code, 1);

  assert.equal((await haca('query', 'governance', '--json')).code, 0);
  const standing = await haca('query', 'key-standing', keyId, '--json');
  assert.deepEqual([standing.code, standing.json['standing']], [1, 'measurement-revoked']);
  const refused = await ask(url);
  assert.equal(refused.code, 1);
  const failed = (refused.json['checks'] as Shown[]).filter(({ status }) => status === 'failed');
  assert.deepEqual(
    failed.map(({ id }) => id),
    ['evidence.measurement', 'evidence.standing'],
  );
  // What was answered before stays what it was.
  assert.equal((await haca('verify', bundle, '--genesis', genesis, '--accept-simulated')).code, 0);
});
