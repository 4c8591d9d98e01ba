import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeGenesisDocument, readPeerId } from '@haca/chain';
import { DEFAULT_PARAMS, OPG_SUPPLY_NOPG } from '@haca/protocol';
import { readConfig } from '../src/config.ts';
import { initFullNode } from '../src/init.ts';

const PEER_ID = 'ab'.repeat(20);

type Json = Readonly<Record<string, unknown>>;

function genesisDocument(chainId: string): Json {
  const selfBond = DEFAULT_PARAMS.validatorBondMin;
  return makeGenesisDocument({
    chainId,
    genesisTimeMs: 1_700_000_000_000,
    app: {
      simulated: true,
      params: DEFAULT_PARAMS,
      reserveNopg: OPG_SUPPLY_NOPG - selfBond,
      accounts: [],
      validators: [
        { consensusKey: new Uint8Array(32).fill(3), operator: new Uint8Array(32).fill(4), selfBond },
      ],
      assets: [],
      measurements: [],
      testRoots: [],
    },
  });
}

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'haca-init-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An RPC that says what a node of the network would. */
async function rpcOf(t: TestContext, answers: Readonly<Record<string, unknown>>): Promise<string> {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += String(part);
    const { id, method } = JSON.parse(body) as { id: number; method: string };
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

function statusOf(height: number, channels = '4020') {
  return {
    node_info: { id: PEER_ID, listen_addr: 'tcp://0.0.0.0:26656', network: 'net', channels },
    sync_info: {
      latest_block_height: `${height}`,
      latest_block_hash: '00'.repeat(32),
      latest_block_time: '2026-01-01T00:00:00Z',
    },
  };
}

const init = (...args: readonly string[]): Promise<string> => initFullNode(args);

test('a folder made from a file has its own keys, a configuration that can be read, and is not made twice', async (t) => {
  const folder = temporaryFolder(t);
  const genesisFile = join(folder, 'given.json');
  writeFileSync(genesisFile, JSON.stringify(genesisDocument('net')));
  const home = join(folder, 'home');
  const flags = ['--home', home, '--genesis', genesisFile, '--peer', `${PEER_ID}@h:1`, '--json'];
  const facts = JSON.parse(await init(...flags)) as Record<string, string>;
  assert.equal(facts['chainId'], 'net');
  assert.equal(facts['peerId'], readPeerId(join(home, 'node', 'cometbft', 'config', 'node_key.json')));
  assert.equal(statSync(join(home, 'validator.json')).mode & 0o777, 0o600);
  const config = readConfig(join(home, 'config.json'));
  assert.ok(config.engine.kind === 'cometbft');
  assert.deepEqual(config.engine.settings.persistentPeers, [`${PEER_ID}@h:1`]);
  assert.equal(config.engine.settings.timing, 'public');
  const key = readFileSync(join(home, 'validator.json'), 'utf8');
  await assert.rejects(init(...flags), /is there already/);
  assert.equal(readFileSync(join(home, 'validator.json'), 'utf8'), key);
  const hash = facts['genesisHash'] as string;
  const checked = await init('--home', join(folder, 'b'), '--genesis', genesisFile, '--genesis-hash', hash);
  assert.match(checked, new RegExp(hash));
});

test('attack: another genesis than the expected one makes nothing', async (t) => {
  const folder = temporaryFolder(t);
  const files = ['net', 'other'].map((chainId) => {
    const file = join(folder, `${chainId}.json`);
    writeFileSync(file, JSON.stringify(genesisDocument(chainId)));
    return file;
  });
  const made = await init('--home', join(folder, 'a'), '--genesis', files[0] as string, '--json');
  const { genesisHash } = JSON.parse(made) as { genesisHash: string };
  const home = join(folder, 'b');
  await assert.rejects(
    init('--home', home, '--genesis', files[1] as string, '--genesis-hash', genesisHash),
    /another network's, or altered/,
  );
  assert.ok(!existsSync(home));
});

test('from nodes of the network: genesis, peers, and a block that all of them have', async (t) => {
  const folder = temporaryFolder(t);
  const genesis = { genesis: genesisDocument('net') };
  const block = { block_id: { hash: 'CD'.repeat(32) } };
  const a = await rpcOf(t, { genesis, block, status: statusOf(50) });
  const b = await rpcOf(t, { genesis, block, status: statusOf(40) });
  const home = join(folder, 'home');
  const made = await init('--home', home, '--from', a, '--from', b, '--state-sync');
  assert.match(made, /trusted block {2}39 (CD){32}/);
  const config = readConfig(join(home, 'config.json'));
  assert.ok(config.engine.kind === 'cometbft');
  const { persistentPeers, stateSync } = config.engine.settings;
  assert.deepEqual(persistentPeers, Array(2).fill(`${PEER_ID}@127.0.0.1:26656`));
  assert.deepEqual(stateSync?.rpcUrls, [a, b]);
  assert.equal(stateSync?.trustHeight, 39);

  const liar = await rpcOf(t, {
    genesis,
    block: { block_id: { hash: 'EF'.repeat(32) } },
    status: statusOf(50),
  });
  await assert.rejects(
    init('--home', join(folder, 'c'), '--from', a, '--from', liar, '--state-sync'),
    /do not agree on block 49/,
  );
  await assert.rejects(init('--home', join(folder, 'd'), '--from', a, '--state-sync'), /needs two --from/);
  const embedded = await rpcOf(t, { genesis, block, status: statusOf(50, '') });
  await assert.rejects(init('--home', join(folder, 'e'), '--from', embedded), /can't be a peer/);
  for (const name of ['c', 'd', 'e']) assert.ok(!existsSync(join(folder, name)), name);
});

test('what is missing or mistyped is a usage error that names the flag', async () => {
  await assert.rejects(init(), /--home DIR/);
  await assert.rejects(init('--nope'), /--nope(.|\n)*Examples/);
  await assert.rejects(init('--home', '/tmp/x'), /--genesis FILE or --from URL/);
});
