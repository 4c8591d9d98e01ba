/** Work on the data of a full node that is not running. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { buildCometBft, eventTags, openStore, rollbackStore } from '@haca/chain';
import { lockFolder } from '@haca/platform';
import { toHex, UsageError } from '@haca/primitives';
import { type FullNodeConfig, readConfig } from './config.ts';

export const MAINTAIN_HELP = `haca node full rollback --config FILE --to HEIGHT
  takes the newest blocks out of the application's state: for a node whose CometBFT lost blocks and refuses to
  start because the application is ahead. CometBFT hands the blocks over again.
haca node full reindex --config FILE
  makes the index of transactions and events anew out of the stored blocks.
  Both on a node that is stopped; both take --json.
`;

export async function rollbackFullNode(args: readonly string[]): Promise<string> {
  const { config, to, json } = readFlags(args);
  if (to === undefined || !/^[1-9][0-9]{0,15}$/.test(to)) throw new UsageError('--to HEIGHT is needed');
  const { height, appHash } = await whileStopped(config, () => rollbackStore(dataFolder(config), Number(to)));
  return report(
    json,
    { height, appHash: toHex(appHash) },
    `the application is at height ${height}, app hash ${toHex(appHash)}`,
  );
}

export async function reindexFullNode(args: readonly string[]): Promise<string> {
  const { config, json } = readFlags(args);
  const { engine } = config;
  await whileStopped(config, () => reindex(config));
  return report(json, { engine: engine.kind, reindexed: true }, 'the index is made anew');
}

async function reindex(config: FullNodeConfig): Promise<void> {
  const { engine, home } = config;
  if (engine.kind === 'cometbft') {
    const program = engine.binary ?? (await buildCometBft({ version: engine.version, log: say }));
    await promisify(execFile)(program, ['reindex-event', '--home', join(home, 'cometbft')]);
    return;
  }
  const store = openStore(dataFolder(config), { eventTags });
  await store.reindexEvents();
  await store.close();
}

/** Throws `FolderBusyError` where the node runs. */
async function whileStopped<T>(config: FullNodeConfig, work: () => Promise<T>): Promise<T> {
  dataFolder(config);
  const lock = await lockFolder(config.home);
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

function readFlags(args: readonly string[]): {
  config: FullNodeConfig;
  to: string | undefined;
  json: boolean;
} {
  const { values } = parseArgs({
    args: [...args],
    options: {
      config: { type: 'string' },
      to: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.config === undefined) throw new UsageError('--config FILE is needed');
  return { config: readConfig(values.config), to: values.to, json: values.json };
}

function dataFolder({ home }: FullNodeConfig): string {
  const folder = join(home, 'data');
  if (!existsSync(folder)) throw new UsageError(`there is no node in ${home}`);
  return folder;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function report(json: boolean, facts: object, text: string): string {
  return json ? `${JSON.stringify(facts)}\n` : `${text}\n`;
}
