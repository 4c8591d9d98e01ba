/** The first command anybody runs: one JSON object, of which every line is true. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
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

test('--once --json runs the whole way and its books balance', async () => {
  const home = mkdtempSync(join(tmpdir(), 'haca-e2e-'));
  try {
    const { code, stdout, stderr } = await runDevnet(home, '--once', '--json');
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout) as Json;
    assert.deepEqual(Object.keys(report), [
      ...['engine', 'chat', 'money', 'lightClient', 'invariants', 'rssMb'],
    ]);
    assert.equal(report['engine'], 'embedded');
    assert.equal(report['invariants'], 'ok');
    assert.ok((report['rssMb'] as number) > 0);
    assert.equal((report['lightClient'] as Json)['verified'], true);
    checkChat(report['chat'] as Json);
    checkMoney(report['money'] as Record<string, string>);
    assert.equal(existsSync(join(home, 'devnet', 'network.json')), false, 'a stopped network has no file');
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

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
  const engine = await runDevnet(home, '--engine', 'cometbft');
  assert.equal(engine.code, 2);
  assert.equal(existsSync(home), false);
});
