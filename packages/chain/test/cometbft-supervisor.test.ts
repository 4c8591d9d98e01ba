import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type CometBftNodeOptions, startCometBftNode } from '../src/cometbft/supervisor.ts';
import { temporaryFolder } from './engine-fixture.ts';

/**
 * Programs that stand in for the two processes, so that each can be made to die at will: the real ones are run by the
 * network tests. Both append what happens to them to a journal.
 */
function standIns(t: TestContext) {
  const folder = temporaryFolder(t);
  const journal = join(folder, 'journal');
  writeFileSync(journal, '');
  const note = `import { appendFileSync } from 'node:fs'; const note = (text) => appendFileSync(${JSON.stringify(journal)}, text + '\\n');`;
  const entry = join(folder, 'application.mjs');
  writeFileSync(
    entry,
    `${note}
import { createServer } from 'node:net';
const [, , config, socket] = process.argv;
createServer().listen(socket, () => { note('application up'); console.log(JSON.stringify({ ready: true })); });
process.on('SIGTERM', () => { note('application stopped'); process.exit(0); });
process.stdin.on('end', () => process.exit(0)).resume();
`,
  );
  const cometBft = join(folder, 'cometbft.mjs');
  writeFileSync(
    cometBft,
    `#!${process.execPath}
${note}
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
const toml = readFileSync(process.argv[4] + '/config/config.toml', 'utf8');
const application = /proxy_app = "unix:\\/\\/([^"]+)"/.exec(toml)[1];
const rpcPort = Number(/laddr = "tcp:\\/\\/127.0.0.1:([0-9]+)"/.exec(toml)[1]);
if (existsSync(${JSON.stringify(join(folder, 'broken'))})) { console.error(readFileSync(${JSON.stringify(join(folder, 'broken'))}, 'utf8')); process.exit(3); }
if (!existsSync(application)) { note('cometbft without application'); process.exit(4); }
createServer((request, response) => response.end('{"jsonrpc":"2.0","id":1,"result":{}}')).listen(rpcPort, '127.0.0.1', () => note('cometbft up'));
process.on('SIGTERM', () => { note('cometbft stopped'); process.exit(0); });
process.on('SIGUSR2', () => console.log('E[now] CONSENSUS FAILURE!!! err="wrong app hash"'));
process.on('SIGHUP', () => {
  console.log('E[now] Stopping peer for error module=p2p err="invalid IP address CONSENSUS FAILURE!!!"');
  console.log('E[now] Stopping peer for error module=p2p err="invalid IP address \\u2028E[now] CONSENSUS FAILURE!!! err=forged"');
  console.log('E[now] CONSENSUS FAILURE!!! err="wrong app hash"');
});
`,
  );
  chmodSync(cometBft, 0o755);
  const lines: string[] = [];
  const options: CometBftNodeOptions = {
    home: join(folder, 'home'),
    genesisFile: join(folder, 'genesis.json'),
    validatorSeed: new Uint8Array(32).fill(1),
    rpc: { host: '127.0.0.1', port: 0 },
    settings: {
      moniker: 'test',
      timing: 'local',
      p2pAddress: '127.0.0.1:1',
      persistentPeers: [],
      seeds: [],
      sharedAddresses: true,
      peerExchange: true,
      emptyBlockIntervalMs: 1,
      logLevel: 'error',
    },
    cometBft,
    application: { entry, configFile: 'config.json' },
    log: (line) => lines.push(line),
  };
  const events = (): string[] => readFileSync(journal, 'utf8').split('\n').filter(Boolean);
  const pids = (): Record<string, number> =>
    JSON.parse(readFileSync(join(folder, 'home', 'processes.json'), 'utf8')) as Record<string, number>;
  return { folder, options, lines, events, pids };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const FIRST_START = ['application up', 'cometbft up'];

test('the application starts first and stops last; the gateway is the address of both', async (t) => {
  const { options, events, pids } = standIns(t);
  const node = await startCometBftNode(options);
  assert.deepEqual(events(), FIRST_START);
  assert.equal((await fetch(node.rpcUrl)).status, 200);
  assert.equal(pids()['starts'], 1);
  await node.close();
  assert.deepEqual(events(), [...FIRST_START, 'cometbft stopped', 'application stopped']);
  await assert.rejects(fetch(node.rpcUrl));
});

for (const victim of ['application', 'cometBft'] as const) {
  test(`where ${victim} is killed both are started again, and the address stays`, async (t) => {
    const { options, events, pids, lines } = standIns(t);
    const node = await startCometBftNode(options);
    t.after(node.close);
    process.kill(pids()[victim] as number, 'SIGKILL');
    await until(() => events().filter((event) => event === 'cometbft up').length === 2);
    assert.ok(!events().includes('cometbft without application'));
    const survivor = victim === 'application' ? 'cometbft stopped' : 'application stopped';
    assert.deepEqual(events(), [...FIRST_START, survivor, ...FIRST_START]);
    assert.match(lines.join('\n'), /SIGKILL/);
    await until(() => lines.at(-1) === 'running');
    assert.equal((await fetch(node.rpcUrl)).status, 200);
    assert.equal(pids()['starts'], 2);
  });
}

test('CometBFT that answers but gave up consensus is started again', async (t) => {
  const { options, events, pids, lines } = standIns(t);
  const node = await startCometBftNode(options);
  t.after(node.close);
  process.kill(pids()['cometBft'] as number, 'SIGUSR2');
  await until(() => events().filter((event) => event === 'cometbft up').length === 2);
  assert.match(lines.join('\n'), /stopped agreeing: .*wrong app hash/);
});

test('what peers and callers say, which CometBFT logs, is not taken for its own words', async (t) => {
  const { options, events, pids, lines } = standIns(t);
  const node = await startCometBftNode(options);
  t.after(node.close);
  process.kill(pids()['cometBft'] as number, 'SIGHUP');
  await until(() => events().filter((event) => event === 'cometbft up').length === 2);
  // Only the last of the three lines is one.
  const reasons = lines.filter((line) => line.includes('stopped agreeing'));
  assert.equal(reasons.length, 1);
  assert.match(
    reasons[0] ?? '',
    /^CometBFT stopped agreeing: E\[now\] CONSENSUS FAILURE!!! err="wrong app hash"/,
  );
});

test('a node that never worked is given up after three starts, with the last words of the program', async (t) => {
  const { folder, options, events } = standIns(t);
  writeFileSync(join(folder, 'broken'), 'cannot start: no such thing');
  await assert.rejects(startCometBftNode(options), /exit code 3(.|\n)*cannot start: no such thing/);
  assert.deepEqual(
    events().filter((event) => event === 'application up'),
    Array(3).fill('application up'),
  );
  assert.ok(existsSync(join(folder, 'home', 'logs', 'cometbft.log')));
});

test('where CometBFT lost blocks, a person is told the command that helps', async (t) => {
  const { folder, options } = standIns(t);
  const words = 'ERROR: error on replay: app block height (19) is higher than core (16)';
  writeFileSync(join(folder, 'broken'), words);
  await assert.rejects(startCometBftNode(options), /rollback --config config\.json --to 16/);
});

test('the socket is below the home, and where that is too deep for a unix socket in a folder that goes with the node', async (t) => {
  const { folder, options } = standIns(t);
  const socketOf = (home: string): string => {
    const toml = readFileSync(join(home, 'cometbft', 'config', 'config.toml'), 'utf8');
    return /proxy_app = "unix:\/\/([^"]+)"/.exec(toml)?.[1] ?? '';
  };
  const near = await startCometBftNode(options);
  assert.equal(socketOf(options.home), join(folder, 'home', 'run', 'abci.sock'));
  await near.close();
  const home = join(folder, 'deep'.repeat(30));
  const far = await startCometBftNode({ ...options, home });
  const socket = socketOf(home);
  assert.ok(!socket.startsWith(folder) && existsSync(socket));
  await far.close();
  assert.ok(!existsSync(dirname(socket)));
});
