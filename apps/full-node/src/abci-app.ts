/**
 * The application of a full node on CometBFT: `abci-app.ts CONFIG.json SOCKET`. Started and watched by `main.ts`; ends when
 * it can't go on, because a node that answers wrong is worse than one that is started again.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EVIDENCE_VERIFIER, openApplication, openCallLog, openStore, serveAbci } from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import { lockFolder, nodeCrypto, untilAskedToStop } from '@haca/platform';
import { UsageError } from '@haca/primitives';
import { readConfig } from './config.ts';
import { failWith, logLine } from './process-log.ts';

const PREDECESSOR_WAIT_MS = 20_000;
const log = logLine('application');
const fail: (error: unknown) => never = failWith(log);

const [configFile, socketPath] = process.argv.slice(2);
if (configFile === undefined || socketPath === undefined) {
  process.stderr.write('usage: abci-app.ts CONFIG.json SOCKET\n');
  process.exit(2);
}

const stopAsked = untilAskedToStop();
const { home, genesisFile, checkInvariants, engine } = readConfig(configFile);
if (engine.kind !== 'cometbft') fail(new UsageError(`${configFile} is for the embedded engine`));
const { app } = parseGenesisDocument(JSON.parse(readFileSync(genesisFile, 'utf8')));
const data = join(home, 'data');
mkdirSync(data, { recursive: true });
// An application whose supervisor was killed may still be at its last block.
await lockFolder(data, PREDECESSOR_WAIT_MS).catch(fail);
// CometBFT keeps the blocks and looks transactions up.
const store = openStore(data, { indexTxs: false });
const application = openApplication({
  store,
  crypto: nodeCrypto,
  evidence: EVIDENCE_VERIFIER,
  checkInvariants: checkInvariants ?? app.simulated,
  snapshots: { directory: join(home, 'snapshots'), intervalHeights: engine.snapshotIntervalHeights },
  retention: { retainBlocks: engine.retainBlocks },
  log,
});
const { callLogFile } = engine;
const recorder = callLogFile === undefined ? undefined : openCallLog(callLogFile, log);
const server = await serveAbci({
  application,
  address: { path: socketPath },
  log,
  onFatal: fail,
  ...(recorder === undefined ? {} : { recorder }),
}).catch(fail);

process.stdout.write(`${JSON.stringify({ ready: true, height: application.info().lastBlockHeight })}\n`);
log(`serving ABCI at height ${application.info().lastBlockHeight}`);
const reason = await stopAsked;
log(`stopping: ${reason}`);
await server.close();
recorder?.close();
await application.close();
await store.close().catch(fail);
process.exit(0);
