import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fromBase64, validatorAddress } from '@haca/light-client';
import { ed25519SignerFromSeed } from '@haca/platform';
import { concatBytes, toHex, UsageError } from '@haca/primitives';
import { buildCometBft, parseCometBftVersion } from '../src/cometbft/binary.ts';
import { type CometBftSettings, nodeKeyFile, writeCometBftHome } from '../src/cometbft/home.ts';
import { ensureNodeKey, readPeerId } from '../src/cometbft/keys.ts';
import { temporaryFolder } from './engine-fixture.ts';

const SEED = new Uint8Array(32).fill(5);
const SETTINGS: CometBftSettings = {
  moniker: 'a "quoted" name',
  timing: 'local',
  p2pAddress: '127.0.0.1:1',
  persistentPeers: ['a@h:1', 'b@h:2'],
  seeds: [],
  sharedAddresses: true,
  emptyBlockIntervalMs: 10_000,
  logLevel: 'error',
};

function write(folder: string, settings: Partial<CometBftSettings> = {}, validatorSeed = SEED) {
  return writeCometBftHome({
    folder,
    genesisFile: 'genesis.json',
    validatorSeed,
    applicationSocket: '/tmp/a',
    rpcPort: 4567,
    settings: { ...SETTINGS, ...settings },
  });
}

function read(...path: string[]): Record<string, unknown> {
  return JSON.parse(readFileSync(join(...path), 'utf8')) as Record<string, unknown>;
}

test('the home of CometBFT has the consensus key, a node key that stays, and secrets for their owner only', (t) => {
  const folder = temporaryFolder(t);
  const { peerId } = write(folder);
  const key = read(folder, 'config', 'priv_validator_key.json') as {
    address: string;
    pub_key: { value: string };
    priv_key: { value: string };
  };
  const { publicKey } = ed25519SignerFromSeed(SEED);
  assert.equal(key.address.toLowerCase(), toHex(validatorAddress(publicKey)));
  assert.deepEqual(fromBase64(key.pub_key.value, 'pub_key'), publicKey);
  assert.deepEqual(fromBase64(key.priv_key.value, 'priv_key'), concatBytes(SEED, publicKey));
  for (const name of [
    'config/priv_validator_key.json',
    'config/node_key.json',
    'data/priv_validator_state.json',
  ]) {
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
  }
  assert.equal(write(folder).peerId, peerId);
  assert.equal(readPeerId(nodeKeyFile(folder)), peerId);
});

test('a node key is named by the address of its public key; another document is refused', (t) => {
  const path = join(temporaryFolder(t), 'node_key.json');
  const { publicKey } = ed25519SignerFromSeed(SEED);
  assert.equal(ensureNodeKey(path, SEED), toHex(validatorAddress(publicKey)));
  assert.equal(ensureNodeKey(path), toHex(validatorAddress(publicKey)), 'made once');
  writeFileSync(path, '{"priv_key":{"type":"tendermint/PrivKeySecp256k1","value":"AA=="}}');
  assert.throws(() => readPeerId(path), /node-key.form/);
});

test('attack on oneself: the signer state is never written again, nor made anew beside blocks', (t) => {
  const folder = temporaryFolder(t);
  write(folder);
  const stateFile = join(folder, 'data', 'priv_validator_state.json');
  assert.deepEqual(read(stateFile), { height: '0', round: 0, step: 0 });
  writeFileSync(stateFile, '{"height":"7","round":1,"step":3}');
  write(folder);
  assert.equal(read(stateFile)['height'], '7');
  mkdirSync(join(folder, 'data', 'blockstore.db'));
  rmSync(stateFile);
  assert.throws(() => write(folder), UsageError);
  assert.ok(!existsSync(stateFile));
});

test('the configuration says what the settings say, escaped', (t) => {
  const folder = temporaryFolder(t);
  const stateSync = {
    rpcUrls: ['http://a', 'http://b'],
    trustHeight: 5,
    trustHash: 'AB',
    trustPeriodHours: 3,
  };
  write(folder, { stateSync });
  const text = readFileSync(join(folder, 'config', 'config.toml'), 'utf8');
  for (const line of [
    'moniker = "a \\"quoted\\" name"',
    'proxy_app = "unix:///tmp/a"',
    'laddr = "tcp://127.0.0.1:4567"',
    'persistent_peers = "a@h:1,b@h:2"',
    'allow_duplicate_ip = true',
    'create_empty_blocks = false',
    'create_empty_blocks_interval = "10000ms"',
    'rpc_servers = "http://a,http://b"',
    'trust_period = "3h"',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
  write(folder);
  assert.match(readFileSync(join(folder, 'config', 'config.toml'), 'utf8'), /\[statesync\]\nenable = false/);
});

test('versions not tested here are refused; without Go the message says what to install', async (t: TestContext) => {
  assert.throws(() => parseCometBftVersion('1.0.1'), /0.39.4/);
  const { PATH } = process.env;
  process.env['PATH'] = '';
  t.after(() => {
    process.env['PATH'] = PATH;
  });
  await assert.rejects(buildCometBft({ cacheFolder: temporaryFolder(t) }), /Install Go 1\.25/);
});
