/**
 * A real CometBFT of each version, alone, with the key-value store behind our ABCI server: blocks are made, strangers ask
 * strange things by RPC, CometBFT and then the application are killed. The calls that came are held against the grammar.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { COMETBFT_VERSIONS, checkAbciGrammar, findCometBft, readCallLog } from '@haca/chain';

const KVSTORE = resolve(import.meta.dirname, '../../packages/chain/test/abci-kvstore-program.ts');
/** From this height on votes are extended, so that those calls come as well. */
const EXTENSIONS_HEIGHT = 3;
const DEADLINE_MS = 120_000;
const STOP_MS = 10_000;

interface Place {
  readonly folder: string;
  readonly program: string;
  readonly callLog: string;
  readonly rpcSocket: string;
}

async function prepare(t: TestContext, program: string): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'haca-kv-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  await promisify(execFile)(program, ['init', '--home', folder]);
  const config = join(folder, 'config/config.toml');
  writeFileSync(
    config,
    readFileSync(config, 'utf8').replace('timeout_commit = "1s"', 'timeout_commit = "20ms"'),
  );
  const genesis = join(folder, 'config/genesis.json');
  const document = JSON.parse(readFileSync(genesis, 'utf8')) as { consensus_params: Record<string, object> };
  document.consensus_params['abci'] = { vote_extensions_enable_height: `${EXTENSIONS_HEIGHT}` };
  writeFileSync(genesis, JSON.stringify(document));
  return { folder, program, callLog: join(folder, 'calls.log'), rpcSocket: join(folder, 'rpc.sock') };
}

async function startKvstore(t: TestContext, { folder, callLog }: Place): Promise<ChildProcess> {
  const args = [KVSTORE, '--path', join(folder, 'kv.sock'), '--call-log', callLog];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(createInterface({ input: child.stdout }), 'line');
  return child;
}

function startNode(t: TestContext, { folder, program, rpcSocket }: Place): ChildProcess {
  rmSync(rpcSocket, { force: true });
  const child = spawn(
    program,
    [
      ...['node', '--home', folder, '--proxy_app', `unix://${join(folder, 'kv.sock')}`],
      ...['--rpc.laddr', `unix://${rpcSocket}`, '--p2p.laddr', 'tcp://127.0.0.1:0', '--log_level', 'error'],
    ],
    { stdio: 'ignore' },
  );
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function rpc({ rpcSocket }: Place, path: string): Promise<unknown> {
  return new Promise((resolveWith, reject) => {
    const request = get({ socketPath: rpcSocket, path }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolveWith((JSON.parse(text) as { readonly result?: unknown }).result);
    });
    request.on('error', reject);
  });
}

async function heightOf(place: Place): Promise<number> {
  const status = (await rpc(place, '/status').catch(() => undefined)) as
    | { readonly sync_info: { readonly latest_block_height: string } }
    | undefined;
  return Number(status?.sync_info.latest_block_height ?? 0);
}

async function untilHeight(place: Place, height: number): Promise<number> {
  for (const deadline = performance.now() + DEADLINE_MS; ; await delay(50)) {
    const reached = await heightOf(place);
    if (reached >= height) return reached;
    assert.ok(performance.now() < deadline, `height ${reached} and not ${height}`);
  }
}

async function query(
  place: Place,
  parameters: string,
): Promise<{ readonly code: number; readonly log: string }> {
  const answer = await rpc(place, `/abci_query?${parameters}`);
  return (answer as { readonly response: { readonly code: number; readonly log: string } }).response;
}

for (const version of COMETBFT_VERSIONS) {
  const program = findCometBft({ version });
  const skip = program === undefined ? `CometBFT ${version} is not built on this machine` : false;
  test(
    `ABCI-3, ABCI-17: CometBFT ${version} makes blocks through kills, its calls in order`,
    { skip },
    async (t) => {
      const place = await prepare(t, program as string);
      const application = await startKvstore(t, place);
      let node = startNode(t, place);
      await untilHeight(place, EXTENSIONS_HEIGHT + 2);
      await rpc(place, '/broadcast_tx_commit?tx="k=v"');
      assert.equal((await query(place, 'data="k"')).log, 'exists');
      for (const strange of ['height=-1', 'height=9223372036854775807']) {
        assert.equal((await query(place, strange)).code, 1);
      }
      assert.equal((await query(place, 'path=0xff&data="nothing"')).log, 'does not exist');

      await kill(node);
      const before = Math.max(
        ...readCallLog(place.callLog).map((entry) => ('height' in entry ? (entry.height ?? 0) : 0)),
      );
      node = startNode(t, place);
      const later = await untilHeight(place, before + 3);

      // The store keeps nothing: CometBFT, which ends with it, gives it every block again.
      const ended = once(node, 'exit');
      await kill(application);
      // It may get stuck while it stops itself (seen with 0.38.25): then it is ended, as the supervisor would.
      await Promise.race([ended, delay(STOP_MS, undefined, { ref: false })]);
      node.kill('SIGKILL');
      await ended;
      await startKvstore(t, place);
      node = startNode(t, place);
      await untilHeight(place, later + 3);
      assert.equal((await query(place, 'data="k"')).log, 'exists');
      await kill(node);

      const entries = readCallLog(place.callLog);
      const verdict = checkAbciGrammar(entries, { isFirstRunClean: true });
      assert.ok(verdict.ok, JSON.stringify(verdict));
      assert.equal(verdict.runs, 3);
      const called = new Set(entries.flatMap((entry) => (entry.event === 'request' ? [entry.method] : [])));
      for (const method of [
        'check-tx',
        'extend-vote',
        'finalize-block',
        'init-chain',
        'prepare-proposal',
        'query',
      ] as const) {
        assert.ok(called.has(method), method);
      }
    },
  );
}
