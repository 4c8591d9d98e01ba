/** The first command anybody runs: one JSON object, of which every line is true. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const ENTRY = resolve(import.meta.dirname, '../apps/devnet/src/main.ts');

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function runDevnet(home: string, ...args: string[]): Promise<Run> {
  const env = { ...process.env, HACA_HOME: home };
  const child = spawn(process.execPath, [ENTRY, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text) => (stdout += String(text)));
  child.stderr.on('data', (text) => (stderr += String(text)));
  return new Promise((settle) => child.once('close', (code) => settle({ code, stdout, stderr })));
}

type Json = Readonly<Record<string, unknown>>;

const goMissing: string | false =
  spawnSync('go', ['version']).status === 0 ? false : 'no Go on the PATH, which CometBFT is built with';

const NETWORKS = [
  { engine: 'embedded', validators: 1, flags: [], skip: false },
  {
    engine: 'cometbft',
    validators: 4,
    flags: ['--engine', 'cometbft', '--validators', '4'],
    skip: goMissing,
  },
] as const;

for (const { engine, validators, flags, skip } of NETWORKS) {
  test(`--once --json runs the whole way on ${engine} and its books balance`, { skip }, async () => {
    const home = mkdtempSync(join(tmpdir(), 'haca-e2e-'));
    try {
      const { code, stdout, stderr } = await runDevnet(home, '--once', '--json', ...flags);
      assert.equal(code, 0, stderr);
      const report = JSON.parse(stdout) as Json;
      assert.deepEqual(Object.keys(report), [
        ...['engine', 'validators', 'chat', 'money', 'classification', 'lightClient', 'invariants', 'rssMb'],
      ]);
      assert.equal(report['engine'], engine);
      assert.equal(report['validators'], validators);
      assert.equal(report['invariants'], 'ok');
      assert.ok((report['rssMb'] as number) > 0);
      assert.equal((report['lightClient'] as Json)['verified'], true);
      checkChat(report['chat'] as Json);
      checkMoney(report['money'] as Record<string, string>);
      checkClassification(report['classification'] as Json);
      assert.equal(existsSync(join(home, 'devnet', 'network.json')), false, 'a stopped network has no file');
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
}

function checkChat(chat: Json): void {
  for (const name of ['model', 'tokens', 'answerMs', 'receiptId', 'assurance', 'lifecycle']) {
    assert.ok(name in chat, name);
  }
  assert.match(String(chat['receiptId']), /^rcpt_[0-9a-f]{32}$/);
  assert.equal(chat['assurance'], 'tee-simulated');
  assert.ok((chat['tokens'] as number) > 0);
  const lifecycle = chat['lifecycle'] as readonly { state: string; height: number | null; ms: number }[];
  assert.deepEqual(
    lifecycle.map(({ state }) => state),
    ['executed', 'settled', 'verified', 'final'],
  );
  const [executed, settled, verified, final] = lifecycle.map(({ height }) => height);
  assert.equal(executed, null);
  assert.equal(settled, verified);
  assert.ok((final ?? 0) > (settled ?? 0), 'final is a later header');
  const times = lifecycle.map(({ ms }) => ms);
  assert.deepEqual(
    times,
    [...times].sort((a, b) => a - b),
  );
}

/** Settled, then proved in a later block, then final in a later one still; paid for and burned apart. */
function checkClassification(classification: Json): void {
  const { digit, answer, assurance, proof, picture, lifecycle, paidByUser, receivedByNode, burnedNopg } =
    classification;
  assert.equal(assurance, 'zk');
  assert.ok(Number.isInteger(digit) && Number.isInteger(answer));
  assert.ok((picture as readonly string[]).length > 4);
  const steps = lifecycle as readonly { state: string; height: number | null; ms: number }[];
  assert.deepEqual(
    steps.map(({ state }) => state),
    ['executed', 'settled', 'verified', 'final'],
  );
  const heights = steps.slice(1).map(({ height }) => height as number);
  assert.deepEqual(
    heights,
    [...new Set(heights)].sort((a, b) => a - b),
  );
  const { inferences, bytes, proveMs, verifyMs } = proof as Record<string, number>;
  assert.equal(inferences, 1);
  assert.ok((bytes as number) > 10_000 && (proveMs as number) > 0 && (verifyMs as number) > 0);
  assert.equal(paidByUser, receivedByNode);
  assert.ok(BigInt(String(paidByUser)) > 0n && BigInt(String(burnedNopg)) > 0n);
}

function checkMoney(money: Record<string, string>): void {
  const { paidByUser, receivedByNode, burnedNopg, supplyBefore, supplyAfter } = money;
  assert.deepEqual(Object.keys(money), [
    ...['feeAsset', 'paidByUser', 'receivedByNode', 'burnedNopg', 'supplyBefore', 'supplyAfter'],
  ]);
  assert.equal(money['feeAsset'], 'CREDIT');
  assert.ok(BigInt(paidByUser ?? 0) > 0n);
  assert.equal(paidByUser, receivedByNode);
  assert.ok(BigInt(burnedNopg ?? 0) > 0n);
  assert.equal(BigInt(supplyAfter ?? 0), BigInt(supplyBefore ?? 0) - BigInt(burnedNopg ?? 0));
}

test('options that mean nothing are refused with a hint, and nothing starts', async () => {
  const home = join(tmpdir(), `haca-e2e-none-${process.pid}`);
  const unknown = await runDevnet(home, '--jsno');
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /Usage: npm start/);
  const engine = await runDevnet(home, '--engine', 'raft');
  assert.equal(engine.code, 2);
  assert.match(engine.stderr, /embedded or cometbft/);
  const several = await runDevnet(home, '--validators', '4');
  assert.equal(several.code, 2);
  assert.match(several.stderr, /--engine cometbft/);
  assert.equal(existsSync(home), false);
});
