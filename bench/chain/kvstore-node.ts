/**
 * A validator that runs CometBFT's built-in key-value store: `kvstore-node.ts CONFIG.json`. Same home, same configuration as a
 * full node's; the application is inside CometBFT. Prints one JSON line when it is ready.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CometBftSettings, readValidatorKeyFile, writeCometBftHome } from '@haca/chain';
import { spawnProgram, untilAskedToStop } from '@haca/platform';
import { connectRpcSocket } from './rpc-socket.ts';

export interface KvstoreNodeConfig {
  readonly home: string;
  readonly genesisFile: string;
  readonly validatorKeyFile: string;
  /** Path of CometBFT's program. */
  readonly cometBft: string;
  readonly settings: CometBftSettings;
}

const POLL_MS = 50;

const [configFile] = process.argv.slice(2);
if (configFile === undefined) {
  process.stderr.write('usage: kvstore-node.ts CONFIG.json\n');
  process.exit(2);
}
const stopAsked = untilAskedToStop();
const config = JSON.parse(readFileSync(configFile, 'utf8')) as KvstoreNodeConfig;
const runFolder = mkdtempSync(join(tmpdir(), 'haca-'));
const rpcSocket = join(runFolder, 'rpc.sock');
writeCometBftHome({
  folder: join(config.home, 'cometbft'),
  genesisFile: config.genesisFile,
  validatorSeed: readValidatorKeyFile(config.validatorKeyFile),
  applicationSocket: join(runFolder, 'none.sock'),
  rpcSocket,
  settings: config.settings,
});
const cometBft = spawnProgram({
  name: 'CometBFT',
  command: config.cometBft,
  args: ['node', '--home', join(config.home, 'cometbft'), '--proxy_app', 'kvstore'],
  logFile: join(config.home, 'cometbft.log'),
});
const ended = Promise.race([stopAsked.then(() => undefined), cometBft.exited]);
let hasEnded = false;
void ended.then(async (reason) => {
  hasEnded = true;
  await cometBft.stop();
  rmSync(runFolder, { recursive: true, force: true });
  if (reason !== undefined) process.stderr.write(`${reason}\n`);
  process.exit(reason === undefined ? 0 : 1);
});
const rpc = connectRpcSocket(rpcSocket);
while (!hasEnded) {
  const isUp = await rpc.call('health').then(
    () => true,
    () => false,
  );
  if (isUp) {
    process.stdout.write(`${JSON.stringify({ ready: true, rpcSocket, cometBft: cometBft.pid })}\n`);
    break;
  }
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
await rpc.close();
