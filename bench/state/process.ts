/**
 * `process.ts write|run DIR COUNT`: the application alone, on a state of COUNT accounts, in a process of its own so that its
 * memory is its own. Prints one line of JSON.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openApplication, openStore, refuseAllEvidence } from '@haca/chain';
import { timestampFromMs } from '@haca/light-client';
import { nodeCrypto } from '@haca/platform';
import { sha256, utf8Encode } from '@haca/primitives';
import { GENESIS_TIME_MS, transfers, writeAccounts } from './accounts.ts';

const BLOCKS = 400;
/** Two snapshots: one is written while blocks go on, the other after the last block, to see what it alone costs. */
const SNAPSHOT_INTERVAL = 200;
/** As many as the share of general transactions lets into a block. */
const TRANSFERS_PER_BLOCK = 50;

export interface Memory {
  readonly rssMb: number;
  /** Heap and typed arrays: what the process needs. */
  readonly anonMb: number;
  /** Programs, and pages of the database that the system may take back. */
  readonly fileMb: number;
}

export interface ProcessFigures {
  readonly startMs: number;
  readonly startCpuMs: number;
  readonly atStart: Memory;
  readonly afterBlocks: Memory;
  readonly highMb: number;
  readonly versions: number;
  readonly blockMs: readonly number[];
  readonly blockMsWithSnapshot: readonly number[];
  readonly snapshotMs: number;
  readonly snapshotChunks: number;
  readonly stallsMs: readonly number[];
}

function statusMb(name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return Number(match?.[1] ?? Number.NaN) / 1024;
}

function memory(): Memory {
  return { rssMb: statusMb('VmRSS'), anonMb: statusMb('RssAnon'), fileMb: statusMb('RssFile') };
}

async function run(directory: string, accounts: number): Promise<ProcessFigures> {
  const startedAt = performance.now();
  const cpuFrom = process.cpuUsage();
  const store = openStore(join(directory, 'data'), { indexTxs: false });
  const snapshotsMs: number[] = [];
  const application = openApplication({
    store,
    crypto: nodeCrypto,
    evidence: refuseAllEvidence,
    snapshots: { directory: join(directory, 'snapshots'), intervalHeights: SNAPSHOT_INTERVAL },
    log: (line) => {
      process.stderr.write(`${line}\n`);
      const match = /^snapshot \d+: .* in (\d+) ms$/.exec(line);
      if (match !== null) snapshotsMs.push(Number(match[1]));
    },
  });
  const startMs = performance.now() - startedAt;
  const startCpuMs = process.cpuUsage(cpuFrom).user / 1000;
  await delay(500);
  const atStart = memory();
  const [blockMs, blockMsWithSnapshot]: [number[], number[]] = [[], []];
  for (let height = 2; height <= BLOCKS; height++) {
    const txs = transfers(TRANSFERS_PER_BLOCK, (height - 2) * TRANSFERS_PER_BLOCK, accounts);
    for (const tx of txs) application.checkTx(tx, 'new');
    const isWriting = height > SNAPSHOT_INTERVAL && snapshotsMs.length === 0;
    if (height === BLOCKS) while (snapshotsMs.length === 0) await delay(10);
    const blockFrom = performance.now();
    const { txResults } = await application.finalizeBlock({
      txs,
      height,
      time: timestampFromMs(GENESIS_TIME_MS + height * 1_000),
      proposerAddress: new Uint8Array(20),
      hash: sha256(utf8Encode(`block ${height}`)),
      lastCommit: [],
      misbehavior: [],
    });
    await application.commit();
    (isWriting ? blockMsWithSnapshot : blockMs).push(performance.now() - blockFrom);
    const refused = txResults.find(({ code }) => code !== 0);
    if (refused !== undefined) throw new Error(`a transfer was refused: ${refused.log}`);
  }
  const afterBlocks = memory();
  const loop = watchLoop();
  while (snapshotsMs.length < BLOCKS / SNAPSHOT_INTERVAL) await delay(10);
  const stallsMs = loop.stop();
  const figures = {
    startMs,
    startCpuMs,
    atStart,
    afterBlocks,
    highMb: statusMb('VmHWM'),
    versions: BLOCKS,
    blockMs,
    blockMsWithSnapshot,
    snapshotMs: snapshotsMs.at(-1) ?? Number.NaN,
    snapshotChunks: application.listSnapshots()[0]?.chunks ?? 0,
    stallsMs,
  };
  await application.close();
  await store.close();
  return figures;
}

/** How much later than asked for a timer fires, again and again. */
function watchLoop() {
  const lateMs: number[] = [];
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    lateMs.push(Math.max(0, now - last - 1));
    last = now;
  }, 1);
  return {
    stop: () => {
      clearInterval(timer);
      return lateMs;
    },
  };
}

const [what, directory, count] = process.argv.slice(2);
if (import.meta.main && directory !== undefined) {
  const accounts = Number(count);
  if (what === 'write') await writeAccounts(join(directory, 'data'), accounts);
  else process.stdout.write(`${JSON.stringify(await run(directory, accounts))}\n`);
}
