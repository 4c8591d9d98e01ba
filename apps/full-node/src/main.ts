/**
 * A full node: `main.ts CONFIG.json`. Prints one JSON line on stdout when it is ready, readable lines on stderr; stops
 * cleanly on SIGTERM and SIGINT, and goes on from what is on disk after anything else.
 */
import { readFileSync } from 'node:fs';
import { type FullNode, readValidatorKeyFile, startFullNode } from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import { untilAskedToStop } from '@haca/platform';
import { readConfig } from './config.ts';
import { staticPages } from './static-pages.ts';

const EXPLORER_PATH = '/explorer';

function log(line: string): void {
  process.stderr.write(`${new Date().toISOString()} full-node ${line}\n`);
}

function fail(error: unknown): never {
  log(`stopped: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}

async function start(configFile: string): Promise<FullNode> {
  const config = readConfig(configFile);
  const genesis = parseGenesisDocument(JSON.parse(readFileSync(config.genesisFile, 'utf8')));
  const { host, rpcPort: port, home, blockIntervalMs, emptyBlockIntervalMs, checkInvariants } = config;
  return await startFullNode({
    home,
    genesis,
    validatorSeed: readValidatorKeyFile(config.validatorKeyFile),
    host,
    port,
    blockIntervalMs,
    emptyBlockIntervalMs,
    ...(checkInvariants === undefined ? {} : { checkInvariants }),
    pages: staticPages(EXPLORER_PATH),
    log,
    // What is on disk is consistent; the process that could not go on is not.
    onFailure: fail,
  });
}

const [configFile] = process.argv.slice(2);
if (configFile === undefined) {
  process.stderr.write('usage: main.ts CONFIG.json\n');
  process.exit(2);
}
const node = await start(configFile).catch(fail);
void untilAskedToStop().then((reason) => {
  log(`stopping: ${reason}`);
  node.close().then(() => process.exit(0), fail);
});

const { rpcUrl, chainId } = node;
const explorerUrl = `${rpcUrl}${EXPLORER_PATH}`;
const height = node.engine.tip().height;
process.stdout.write(`${JSON.stringify({ ready: true, rpcUrl, explorerUrl, chainId, height })}\n`);
log(`chain ${chainId} at height ${height}, RPC at ${rpcUrl}`);
