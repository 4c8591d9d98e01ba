import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  createValidatorKeyFile,
  makeGenesisDocument,
  readValidatorKeyFile,
  startFullNode,
} from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import { connectRpc, FolderBusyError, lockFolder } from '@haca/platform';
import { DEFAULT_PARAMS, OPG_SUPPLY_NOPG } from '@haca/protocol';
import { reindexFullNode, rollbackFullNode } from '../src/maintain.ts';

/** The folder of a node that made a few blocks and was stopped, and the app hash that each header proves. */
async function stoppedNode(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'haca-maintain-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const validatorKeyFile = join(folder, 'validator.json');
  const { publicKey: consensusKey } = createValidatorKeyFile(validatorKeyFile);
  const selfBond = DEFAULT_PARAMS.validatorBondMin;
  const app = {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - selfBond,
    accounts: [],
    validators: [{ consensusKey, operator: new Uint8Array(32).fill(4), selfBond }],
    assets: [],
    measurements: [],
    testRoots: [],
  };
  const document = makeGenesisDocument({ chainId: 'maintained', genesisTimeMs: Date.now(), app });
  writeFileSync(join(folder, 'genesis.json'), JSON.stringify(document));
  const config = join(folder, 'config.json');
  writeFileSync(config, JSON.stringify({ home: 'home', genesisFile: 'genesis.json', validatorKeyFile }));
  const node = await startFullNode({
    home: join(folder, 'home'),
    genesis: parseGenesisDocument(document),
    validatorSeed: readValidatorKeyFile(validatorKeyFile),
    emptyBlockIntervalMs: 1,
  });
  const rpc = connectRpc(node.rpcUrl);
  while ((await rpc.status()).height < 6) await new Promise((resolve) => setTimeout(resolve, 5));
  const { block } = (await rpc.call('block', { height: '5' })) as { block: { header: { app_hash: string } } };
  rpc.close();
  await node.close();
  return { config, appHashOf4: block.header.app_hash.toLowerCase() };
}

test('rollback takes the state back to a height and says its app hash, which the next header proves', async (t) => {
  const { config, appHashOf4 } = await stoppedNode(t);
  const flags = ['--config', config, '--json'];
  assert.deepEqual(JSON.parse(await rollbackFullNode([...flags, '--to', '4'])), {
    height: 4,
    appHash: appHashOf4,
  });
  await assert.rejects(rollbackFullNode([...flags, '--to', '5']), /can't be rolled back to: 1 to 4 can/);
});

test('the index is made anew on a node that is stopped', async (t) => {
  const { config } = await stoppedNode(t);
  const report = JSON.parse(await reindexFullNode(['--config', config, '--json'])) as object;
  assert.deepEqual(report, { engine: 'embedded', reindexed: true });
});

test('nothing is mended under a node that runs', async (t) => {
  const { config } = await stoppedNode(t);
  const lock = await lockFolder(join(dirname(config), 'home'));
  t.after(lock.release);
  await assert.rejects(rollbackFullNode(['--config', config, '--to', '4']), FolderBusyError);
  await assert.rejects(reindexFullNode(['--config', config]), FolderBusyError);
});

test('what is missing is said by name', async (t) => {
  await assert.rejects(rollbackFullNode(['--to', '4']), /--config FILE is needed/);
  const folder = mkdtempSync(join(tmpdir(), 'haca-maintain-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, 'config.json');
  writeFileSync(config, JSON.stringify({ home: 'home', genesisFile: 'g.json', validatorKeyFile: 'v.json' }));
  await assert.rejects(rollbackFullNode(['--config', config]), /--to HEIGHT is needed/);
  await assert.rejects(rollbackFullNode(['--config', config, '--to', '4']), /there is no node in/);
});
