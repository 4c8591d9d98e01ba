import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { COMMANDS, runCli } from '@haca/cli';
import { ed25519SignerFromSeed } from '@haca/platform';
import { base64url } from '@haca/platform/rpc';
import { toHex } from '@haca/primitives';
import { exampleKeys, makeExamples } from '@haca/testkit';

const ROOT = resolve(import.meta.dirname, '../../..');
const VECTORS = join(process.env['HACA_VECTORS'] ?? join(ROOT, '../shared/vectors'), 'tee/nitro');
const folder = mkdtempSync(join(tmpdir(), 'haca-cli-'));
process.env['HACA_HOME'] = join(folder, 'nothing-runs-here');
after(() => rmSync(folder, { recursive: true, force: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const lines = { out: [] as string[], err: [] as string[] };
  const code = await runCli(args, {
    out: (line) => void lines.out.push(line),
    err: (line) => void lines.err.push(line),
  });
  return { code, out: lines.out.join('\n'), err: lines.err.join('\n') };
}

const keys = exampleKeys(ed25519SignerFromSeed);
const [receipt] = makeExamples(keys).receipts;

test('every command has help with its flags and examples', async () => {
  for (const { name, examples, passThrough } of COMMANDS) {
    assert.ok(examples.length > 0, name);
    if (passThrough === true) continue;
    const { code, out } = await run(...name.split(' '), '--help');
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^Usage: haca ${name}`));
    assert.match(out, /--json/);
    assert.match(out, /Examples/);
  }
  const { code, out } = await run('--help');
  assert.equal(code, 0);
  for (const { name } of COMMANDS) assert.ok(out.includes(name), name);
});

test('the version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'packages/cli/package.json'), 'utf8')) as {
    readonly version: string;
  };
  assert.deepEqual(await run('--version'), { code: 0, out: `haca ${version}`, err: '' });
  assert.deepEqual(JSON.parse((await run('version', '--json')).out), { version });
});

test('what is mistyped is exit code 2 with what was meant', async () => {
  const cases = [
    [['chatt'], /did you mean chat\?/],
    [['chat', '--modle', 'x', 'hi'], /did you mean --model\?/],
    [['evidence', 'verfy'], /did you mean evidence verify\?/],
    [['query', 'suply'], /did you mean supply\?/],
    [['query', 'node', 'xyz'], /64 hex digits/],
    [['verify', '--at'], /--at/],
    [['wallet'], /wallet new, wallet show, wallet fund/],
    [
      ['chat', 'hi', '--max-tokens', 'many', '--rpc', 'http://127.0.0.1:1', '--genesis', '/nowhere'],
      /nowhere/,
    ],
    [['tx', 'bond-validator', 'abc', '--amount', '1'], /a validator is 40 hex digits, not abc/],
    [['tx', 'bond-validator', 'ab'.repeat(20)], /--amount is needed/],
    [['tx', 'bond-validator', 'ab'.repeat(20), '--amount', '1.0000000001'], /nine decimals/],
    [['tx', 'bond-validator', 'ab'.repeat(20), '--amount', '-1'], /--amount/],
    [['tx', 'unbond-validator', 'ab'.repeat(20)], /either --amount or --all/],
    [['tx', 'unbond-validator', 'ab'.repeat(20), '--amount', '1', '--all'], /either --amount or --all/],
    [['tx', 'register-validator', '--bond', '100000'], /--consensus-key is needed/],
    [['tx', 'register-validator', '--consensus-key', '/nowhere', '--bond', '1'], /nowhere/],
    [['tx', 'claim-rewards'], /a validator is 40 hex digits/],
    [['query', 'validatrs'], /did you mean validators\?/],
    [['tx', 'bond-validater'], /did you mean tx bond-validator\?/],
    [['tx', 'abc'], /64 hex digits/],
    [['infer'], /--input FILE/],
    [['infer', '--input', 'x', '--until', 'proved'], /--until is one of/],
    [['node', 'full'], /--config/],
    [[], undefined],
  ] as const;
  for (const [args, expected] of cases) {
    const { code, err } = await run(...args);
    assert.equal(code, 2, args.join(' '));
    if (expected !== undefined) assert.match(err, expected);
  }
});

test('without a network every command that needs one says how to get one', async () => {
  for (const args of [
    ['chat', 'hi'],
    ['query', 'supply'],
    ['wallet', 'show'],
    ['tx', '00'.repeat(32)],
    ['tx', 'claim-rewards', '00'.repeat(20)],
    ['query', 'validators'],
  ]) {
    const { code, err } = await run(...args);
    assert.equal(code, 2);
    assert.match(err, /npm start/);
  }
  const { code, err } = await run('query', 'supply', '--rpc', 'http://127.0.0.1:1');
  assert.equal(code, 2);
  assert.match(err, /--genesis FILE or --trust/);
});

test('doctor names what is missing and what to do', async () => {
  const { code, out } = await run('doctor', '--json');
  assert.equal(code, 1);
  const { ok, checks } = JSON.parse(out) as {
    ok: boolean;
    checks: { id: string; status: string; advice?: string }[];
  };
  assert.equal(ok, false);
  const found = checks.find(({ id }) => id === 'network.found');
  assert.equal(found?.status, 'failed');
  assert.match(found?.advice ?? '', /npm start/);
});

test('a wallet is made once, shown nowhere, and errors are JSON where JSON is asked for', async () => {
  const path = join(folder, 'wallet.json');
  const made = await run('wallet', 'new', '--wallet', path, '--json');
  assert.equal(made.code, 0);
  assert.match((JSON.parse(made.out) as { accountId: string }).accountId, /^[0-9a-f]{64}$/);
  assert.ok(!made.out.includes('seed'));
  const again = await run('wallet', 'new', '--wallet', path, '--json');
  assert.equal(again.code, 2);
  assert.equal((JSON.parse(again.out) as { ok: boolean }).ok, false);
});

test('a bare receipt is never called verified, and a wrong key fails', async () => {
  const path = join(folder, 'receipt.cose');
  writeFileSync(path, receipt.bytes);
  const right = await run('verify', path, '--key', toHex(keys.node.publicKey), '--json');
  assert.equal(right.code, 3);
  const text = join(folder, 'receipt.txt');
  writeFileSync(text, `${base64url(receipt.bytes)}\n`);
  assert.equal((await run('verify', text)).code, 3);
  assert.equal((await run('verify', path, '--key', toHex(keys.payer.publicKey))).code, 1);
  writeFileSync(path, receipt.bytes.subarray(0, -1));
  assert.equal((await run('verify', path)).code, 2);
  assert.equal((await run('verify', join(folder, 'missing'))).code, 2);
  writeFileSync(path, 'neither bundle nor receipt, but text');
  assert.equal((await run('verify', path)).code, 2);
});

const noVectors = existsSync(VECTORS) ? false : `no genuine documents at ${VECTORS}`;

test(
  'evidence verify: exit codes, and the vendor root is not replaced by a wish',
  { skip: noVectors },
  async () => {
    const file = join(VECTORS, 'prod-2022-10-pcr8.bin');
    const at = '1665651482136';
    const base = ['evidence', 'verify', '--kind', 'nitro', '--file', file];
    assert.equal((await run(...base, '--at', at)).code, 3);
    const any = {
      measurements: 'any',
      maxAgeMs: 300_000,
      maxFutureSkewMs: 30_000,
      userData: 'any',
      nonce: 'any',
      publicKey: 'any',
    };
    const accepted = await run(...base, '--at', at, '--policy', JSON.stringify(any), '--json');
    assert.equal(accepted.code, 0);
    const { ok, simulated, claims } = JSON.parse(accepted.out) as {
      ok: boolean;
      simulated: boolean;
      claims: { moduleId: string };
    };
    assert.deepEqual([ok, simulated], [true, false]);
    assert.match(claims.moduleId, /^i-/);
    assert.equal(
      (await run(...base, '--at', `${Number(at) + 86_400_000}`, '--policy', JSON.stringify(any))).code,
      1,
    );
    const wrong = {
      ...any,
      measurements: [{ name: 'mine', pcrs: { 0: '00'.repeat(48), 1: '00'.repeat(48), 2: '00'.repeat(48) } }],
    };
    assert.equal((await run(...base, '--at', at, '--policy', JSON.stringify(wrong))).code, 1);
    for (const bad of ['{', '[]', '{"nonse":"any"}', '{"maxAgeMs":-1}', '{"measurements":"none"}']) {
      assert.equal((await run(...base, '--at', at, '--policy', bad)).code, 2, bad);
    }
    assert.equal((await run('evidence', 'verify', '--kind', 'snp', '--file', file, '--at', at)).code, 1);
    assert.equal((await run('evidence', 'verify', '--kind', 'sev', '--file', file, '--at', at)).code, 2);
    assert.equal((await run(...base)).code, 2);
  },
);

test('the command runs through its launcher, in the folder of the caller', () => {
  const launcher = join(ROOT, 'packages/cli/bin/haca.mjs');
  const result = spawnSync(process.execPath, [launcher, 'wallet', 'new', '--wallet', 'here.json'], {
    cwd: folder,
    encoding: 'utf8',
  });
  assert.equal(result.status, 0, result.stderr);
  assert.ok(existsSync(join(folder, 'here.json')));
});
