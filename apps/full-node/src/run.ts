/**
 * Running a full node. Prints one JSON line on stdout when it is ready, readable lines on stderr; stops cleanly on SIGTERM
 * and SIGINT, and goes on from what is on disk after anything else.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  buildCometBft,
  createValidatorKeyFile,
  readValidatorKeyFile,
  startCometBftNode,
  startFullNode,
} from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import { lockFolder, untilAskedToStop } from '@haca/platform';
import { type CometBftConfig, type EmbeddedConfig, type FullNodeConfig, readConfig } from './config.ts';
import { failWith, logLine } from './process-log.ts';
import { staticPages } from './static-pages.ts';

const EXPLORER_PATH = '/explorer';
const log = logLine('full-node');
const fail = failWith(log);

/** What is said of a node that is ready, and how it is stopped. */
interface RunningNode {
  readonly rpcUrl: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly close: () => Promise<void>;
}

async function startEmbedded(config: FullNodeConfig, engine: EmbeddedConfig): Promise<RunningNode> {
  const { rpc, home, emptyBlockIntervalMs, checkInvariants } = config;
  const node = await startFullNode({
    home,
    genesis: parseGenesisDocument(JSON.parse(readFileSync(config.genesisFile, 'utf8'))),
    validatorSeed: readValidatorKeyFile(config.validatorKeyFile),
    rpc,
    blockIntervalMs: engine.blockIntervalMs,
    emptyBlockIntervalMs,
    ...(checkInvariants === undefined ? {} : { checkInvariants }),
    pages: staticPages(EXPLORER_PATH),
    log,
    // What is on disk is consistent; the process that could not go on is not.
    onFailure: fail,
  });
  const { rpcUrl, chainId, close } = node;
  return { rpcUrl, facts: { chainId, height: node.engine.tip().height }, close };
}

async function startOnCometBft(
  configFile: string,
  config: FullNodeConfig,
  engine: CometBftConfig,
): Promise<RunningNode> {
  const { home, genesisFile, validatorKeyFile, rpc } = config;
  const { chainId } = parseGenesisDocument(JSON.parse(readFileSync(genesisFile, 'utf8')));
  const cometBft = engine.binary ?? (await buildCometBft({ version: engine.version, log }));
  if (!existsSync(validatorKeyFile)) {
    mkdirSync(dirname(validatorKeyFile), { recursive: true });
    createValidatorKeyFile(validatorKeyFile);
    log(`made a consensus key: ${validatorKeyFile}; keep it, and never run it in two places`);
  }
  const { rpcUrl, peerId, close } = await startCometBftNode({
    home,
    genesisFile,
    validatorSeed: readValidatorKeyFile(validatorKeyFile),
    rpc,
    settings: engine.settings,
    cometBft,
    application: { entry: join(import.meta.dirname, 'abci-app.ts'), configFile },
    pages: staticPages(EXPLORER_PATH),
    log,
  });
  return { rpcUrl, facts: { chainId, peerId, p2pAddress: engine.settings.p2pAddress }, close };
}

/** Until the process is asked to stop; never returns. */
export async function runFullNode(configFile: string): Promise<never> {
  // Asked for before anything starts, so that a stop while starting is clean too.
  const stopAsked = untilAskedToStop();
  const config = readConfig(configFile);
  mkdirSync(config.home, { recursive: true });
  await lockFolder(config.home).catch(fail);
  const { engine } = config;
  const starting =
    engine.kind === 'embedded' ? startEmbedded(config, engine) : startOnCometBft(configFile, config, engine);
  const { rpcUrl, facts, close } = await starting.catch(fail);
  const explorerUrl = `${rpcUrl}${EXPLORER_PATH}`;
  const ready = { ready: true, rpcUrl, explorerUrl, engine: engine.kind, ...facts };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  log(`chain ${facts['chainId']} on ${engine.kind}, RPC at ${rpcUrl}`);
  log(`stopping: ${await stopAsked}`);
  await close().catch(fail);
  process.exit(0);
}
