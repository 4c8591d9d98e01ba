/**
 * A full node on CometBFT: the application in a process of its own, CometBFT beside it, and the gateway in front. Where either
 * process dies both are started again, the application first; what they had promised is on their disks.
 */
import { closeSync, fstatSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  AppProcessError,
  type ListenOptions,
  type ProgramProcess,
  spawnApp,
  spawnProgram,
} from '@haca/platform';
import type { StaticPage } from '../rpc/server.ts';
import { APPLICATION_PROCESS } from './application-process.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { type CometBftSettings, writeCometBftHome } from './home.ts';
import type { PeerId } from './keys.ts';
import { writeFileDurably } from './write-file.ts';

export interface CometBftNodeOptions {
  /** Folder of this node alone; made if it is not there. */
  readonly home: string;
  readonly genesisFile: string;
  /** Seed of the consensus key, 32 bytes. A node votes only where the chain's state gives this key power. */
  readonly validatorSeed: Uint8Array;
  /** Where its RPC is to listen. */
  readonly rpc: ListenOptions;
  readonly settings: CometBftSettings;
  /** Path of CometBFT's program. */
  readonly cometBft: string;
  /** The program that serves ABCI: gets its configuration file and the path of its socket, and says when it is ready. */
  readonly application: { readonly entry: string; readonly configFile: string };
  readonly pages?: ReadonlyMap<string, StaticPage>;
  readonly log: (line: string) => void;
}

export interface CometBftNode {
  readonly rpcUrl: string;
  readonly peerId: PeerId;
  /** Stops CometBFT, then the application, then the gateway. */
  readonly close: () => Promise<void>;
}

const SOCKET = 'abci.sock';
/** 103 on the systems that allow least. */
const SOCKET_PATH_BYTES_MAX = 100;
const APPLICATION = 'application';
const COMETBFT = 'CometBFT';
/** Starts that may fail before a node that never worked is given up. */
const FIRST_STARTS_MAX = 3;
const BACKOFF_MS = { first: 200, most: 10_000, forgottenAfter: 30_000 };
const RPC_POLL_MS = 50;
const LOG_TAIL_BYTES = 2_000;
/**
 * CometBFT goes on answering after its consensus gave up; a node in that state is of no use to anybody. Only as the message
 * of a line: further on it quotes what peers and callers sent, who could otherwise have every node start again.
 */
const CONSENSUS_FAILURE = /^E\[[^\]]*\] CONSENSUS FAILURE!!! /;

/** Resolves once CometBFT's RPC answers; rejects with `AppProcessError` where the first starts all fail. */
export async function startCometBftNode(options: CometBftNodeOptions): Promise<CometBftNode> {
  const { home, log } = options;
  mkdirSync(join(home, 'logs'), { recursive: true });
  const runFolder = makeRunFolder(home);
  const applicationSocket = join(runFolder, SOCKET);
  const writeHome = (rpcPort: number) =>
    writeCometBftHome({
      folder: join(home, 'cometbft'),
      genesisFile: options.genesisFile,
      validatorSeed: options.validatorSeed,
      applicationSocket,
      rpcPort,
      settings: options.settings,
    });
  let rpcPort = await freePort();
  const { peerId } = writeHome(rpcPort);
  /** A new port for every start: another program may have taken the last one. */
  const prepare = async (): Promise<number> => {
    rpcPort = await freePort();
    writeHome(rpcPort);
    return rpcPort;
  };
  let state = 'starting';
  let gateway: Gateway | undefined;
  const processes = superviseProcesses(options, { applicationSocket, prepare }, (next) => {
    state = next;
    log(next);
  });
  const close = async (): Promise<void> => {
    await processes.stop();
    await gateway?.close();
    rmSync(runFolder, { recursive: true, force: true });
  };
  try {
    const { rpc, pages } = options;
    gateway = await startGateway({
      ...rpc,
      rpcPort: () => rpcPort,
      state: () => state,
      ...(pages === undefined ? {} : { pages }),
    });
    await processes.ready;
    return { rpcUrl: gateway.url, peerId, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Below the home, but where that makes a path too long for a unix socket. */
function makeRunFolder(home: string): string {
  const folder = resolve(home, 'run');
  if (Buffer.byteLength(join(folder, SOCKET)) > SOCKET_PATH_BYTES_MAX)
    return mkdtempSync(join(tmpdir(), 'haca-'));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return folder;
}

interface Places {
  readonly applicationSocket: string;
  /** Before each start: gives the port of CometBFT's RPC. */
  readonly prepare: () => Promise<number>;
}

interface SupervisedProcesses {
  readonly ready: Promise<void>;
  readonly stop: () => Promise<void>;
}

function superviseProcesses(
  options: CometBftNodeOptions,
  { applicationSocket, prepare }: Places,
  tell: (state: string) => void,
): SupervisedProcesses {
  const { home } = options;
  const logFiles = {
    application: join(home, 'logs', 'application.log'),
    cometBft: join(home, 'logs', 'cometbft.log'),
  };
  /** In the order they were started. */
  let running: readonly ProgramProcess[] = [];
  let isStopping = false;
  let wasReady = false;
  let starts = 0;
  const { promise: stopAsked, resolve: askStop } = Promise.withResolvers<void>();
  const { promise: ready, resolve: settleReady, reject: failReady } = Promise.withResolvers<void>();
  // Whoever closes before it was ready does not wait for it to be.
  ready.catch(() => undefined);

  const start = (process: ProgramProcess): void => {
    running = [...running, process];
    const [application, cometBft] = running.map(({ pid }) => pid);
    const pids = { supervisor: globalThis.process.pid, application, cometBft, starts };
    writeFileDurably(join(home, 'processes.json'), `${JSON.stringify(pids)}\n`);
  };

  /** Why one of them died; undefined where they were asked to stop. */
  const runOnce = async (): Promise<string | undefined> => {
    starts++;
    rmSync(applicationSocket, { force: true });
    const rpcPort = await prepare();
    if (isStopping) return undefined;
    const { entry, configFile } = options.application;
    const application = spawnApp({
      name: APPLICATION,
      entry,
      configFile,
      args: [applicationSocket],
      ...APPLICATION_PROCESS,
      logFile: logFiles.application,
    });
    start(application);
    await application.ready;
    if (isStopping) return undefined;
    const { promise: halted, resolve: halt } = Promise.withResolvers<string>();
    const cometBft = spawnProgram({
      name: COMETBFT,
      command: options.cometBft,
      args: ['node', '--home', join(home, 'cometbft')],
      logFile: logFiles.cometBft,
      onLine: (line) => {
        if (CONSENSUS_FAILURE.test(line)) halt(`${COMETBFT} stopped agreeing: ${line.slice(0, 500)}`);
      },
    });
    start(cometBft);
    const died = Promise.race([application.exited, cometBft.exited, halted]);
    if (await untilRpcAnswers(rpcPort, died)) {
      wasReady = true;
      tell('running');
      settleReady();
    }
    return await died;
  };

  const stopRunning = async (): Promise<void> => {
    for (const process of running.toReversed()) await process.stop();
    running = [];
  };

  const loop = async (): Promise<void> => {
    let backoffMs = BACKOFF_MS.first;
    while (!isStopping) {
      tell(starts === 0 ? 'starting the application and CometBFT' : 'starting again');
      const startedAt = performance.now();
      const reason = await runOnce().catch((error: unknown) =>
        error instanceof Error ? error.message : String(error),
      );
      if (isStopping) break;
      await stopRunning();
      const lastWords = lastLine(reason?.startsWith(APPLICATION) ? logFiles.application : logFiles.cometBft);
      const advice = adviceOn(lastWords, options.application.configFile);
      const why = [reason ?? 'a process ended', lastWords, advice].filter((line) => line !== '').join('\n  ');
      if (!wasReady && starts >= FIRST_STARTS_MAX) {
        failReady(new AppProcessError(why));
        return;
      }
      if (performance.now() - startedAt > BACKOFF_MS.forgottenAfter) backoffMs = BACKOFF_MS.first;
      tell(`${why}\n  starting again in ${backoffMs} ms`);
      await Promise.race([new Promise((resolve) => setTimeout(resolve, backoffMs)), stopAsked]);
      backoffMs = Math.min(2 * backoffMs, BACKOFF_MS.most);
    }
  };
  const finished = loop();

  return {
    ready,
    stop: async () => {
      isStopping = true;
      askStop();
      await stopRunning();
      failReady(new AppProcessError('stopped before it was ready'));
      await finished;
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** False where a process died before. */
async function untilRpcAnswers(port: number, died: Promise<unknown>): Promise<boolean> {
  let isDead = false;
  void died.then(() => {
    isDead = true;
  });
  while (!isDead) {
    const answers = await new Promise<boolean>((resolve) => {
      const request = get({ host: '127.0.0.1', port, path: '/health' }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.once('error', () => resolve(false));
    });
    if (answers) return true;
    await new Promise((resolve) => setTimeout(resolve, RPC_POLL_MS));
  }
  return false;
}

/** What a person can do where a start alone does not help; empty where nothing is known. */
function adviceOn(lastWords: string, configFile: string): string {
  const ahead = /app block height \(\d+\) is higher than core \((\d+)\)/.exec(lastWords);
  if (ahead === null) return '';
  return `CometBFT lost blocks that the application has. Take it back: haca node full rollback --config ${configFile} --to ${ahead[1]}`;
}

/** The last line of a log, for the reader of another one. */
function lastLine(path: string): string {
  try {
    const file = openSync(path, 'r');
    try {
      const { size } = fstatSync(file);
      const bytes = Buffer.alloc(Math.min(size, LOG_TAIL_BYTES));
      readSync(file, bytes, 0, bytes.length, size - bytes.length);
      return bytes.toString('utf8').trimEnd().split('\n').at(-1) ?? '';
    } finally {
      closeSync(file);
    }
  } catch {
    return '';
  }
}
