/**
 * A validator that runs CometBFT's built-in key-value store: `kvstore-node.ts CONFIG.json`. Same home, same configuration as a
 * full node's; the application is inside CometBFT. Prints one JSON line when it is ready.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CometBftSettings, readValidatorKeyFile, writeCometBftHome } from '@haca/chain';
import { spawnProgram, untilAskedToStop } from '@haca/platform';
import { connectRpc } from './rpc-line.ts';

export interface KvstoreNodeConfig {
  readonly home: string;
  readonly genesisFile: string;
  readonly validatorKeyFile: string;
  /** Path of CometBFT's program. */
  readonly cometBft: string;
  readonly settings: CometBftSettings;
  readonly rpcPort: number;
}

const POLL_MS = 50;

const [configFile] = process.argv.slice(2);
if (configFile === undefined) {
  process.stderr.write('usage: kvstore-node.ts CONFIG.json\n');
  process.exit(2);
}
const stopAsked = untilAskedToStop();
const config = JSON.parse(readFileSync(configFile, 'utf8')) as KvstoreNodeConfig;
writeCometBftHome({
  folder: join(config.home, 'cometbft'),
  genesisFile: config.genesisFile,
  validatorSeed: readValidatorKeyFile(config.validatorKeyFile),
  // Not used: the application is said below.
  applicationSocket: join(config.home, 'none.sock'),
  rpcPort: config.rpcPort,
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
  if (reason !== undefined) process.stderr.write(`${reason}\n`);
  process.exit(reason === undefined ? 0 : 1);
});
const directUrl = `http://127.0.0.1:${config.rpcPort}`;
const rpc = connectRpc(directUrl);
while (!hasEnded) {
  const isUp = await rpc.call('health').then(
    () => true,
    () => false,
  );
  if (isUp) {
    process.stdout.write(`${JSON.stringify({ ready: true, directUrl, cometBft: cometBft.pid })}\n`);
    break;
  }
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
await rpc.close();
