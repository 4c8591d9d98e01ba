/**
 * Full nodes on CometBFT as real processes on one machine, each wired to the others through proxies that can be cut. Nodes
 * know each other by these proxies alone: peer exchange is off.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createValidatorKeyFile, ensureNodeKey, makeGenesisDocument, nodeKeyFile } from '@haca/chain';
import { type GenesisDocument, parseGenesisDocument, validatorAddress } from '@haca/light-client';
import { type AppProcess, connectRpc, type RpcClient, spawnApp } from '@haca/platform';
import { freePort } from '../ports.ts';
import { type Cast, type CastSizes, castOf, genesisOf, type ValidatorActor } from './actors.ts';
import { type FailPoint, writeFailPointScript } from './fail-point.ts';
import { type ChildName, killAll, type NodePids, pidsOf, readPids, send } from './processes.ts';
import { type CutMode, startProxy, type TcpProxy } from './proxy.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const ENTRY = join(ROOT, 'apps/full-node/src/main.ts');
/** With no transactions a block comes this often: seldom enough that a network at rest stays at one height. */
const EMPTY_BLOCK_INTERVAL_MS = 60_000;
/** Two are kept, and have to outlive the time that a node needs to fetch one, while blocks come many times a second. */
export const SNAPSHOT_INTERVAL_HEIGHTS = 120;

export type NodeState = 'stopped' | 'running' | 'paused';

export interface NetworkNode {
  readonly name: string;
  /** From 0. */
  readonly index: number;
  readonly home: string;
  readonly rpcUrl: string;
  readonly rpc: RpcClient;
  readonly validator: ValidatorActor;
  /** Consensus address, 20 bytes. */
  readonly address: Uint8Array;
  readonly callLogFile: string;
  readonly failPoint: FailPoint;
  readonly state: () => NodeState;
  readonly pids: () => NodePids;
  /** Settles when its RPC answers; rejects where it dies before. */
  readonly start: () => Promise<void>;
  readonly stop: () => Promise<void>;
  /** SIGKILL of supervisor, application and CometBFT. */
  readonly kill: () => Promise<void>;
  /** SIGKILL of one process; false where it was not there. The supervisor brings it back. */
  readonly killChild: (name: ChildName) => boolean;
  /** SIGSTOP and SIGCONT of all three. */
  readonly pause: () => void;
  readonly resume: () => void;
}

export interface StateSyncTrust {
  readonly rpcUrls: readonly string[];
  readonly trustHeight: number;
  /** Hex. */
  readonly trustHash: string;
}

export interface CometNetwork {
  readonly home: string;
  readonly chainId: string;
  readonly genesis: GenesisDocument;
  readonly cast: Cast;
  readonly nodes: readonly NetworkNode[];
  readonly running: () => readonly NetworkNode[];
  /** Adds a node that is not running yet; without trust it replays all blocks. */
  readonly addNode: (stateSync?: StateSyncTrust) => Promise<NetworkNode>;
  /** Cuts every link between two groups of nodes, given by index. */
  readonly partition: (groups: readonly (readonly number[])[], mode: CutMode) => void;
  readonly heal: () => void;
  readonly setLatency: (ms: number) => void;
  readonly close: (options?: { readonly keepFiles?: boolean }) => Promise<void>;
}

export interface CometNetworkOptions {
  readonly cometBft: string;
  readonly seed: number;
  readonly sizes: CastSizes;
}

/** Both nodes of a link may dial the other: a proxy for each way. */
interface Cable {
  readonly ends: readonly [number, number];
  readonly proxy: TcpProxy;
}

interface Plan {
  readonly home: string;
  readonly genesisFile: string;
  readonly cometBft: string;
}

/** Lays out keys, genesis and configurations, and starts all validators. */
export async function startCometNetwork(options: CometNetworkOptions): Promise<CometNetwork> {
  const { seed, sizes, cometBft } = options;
  const home = mkdtempSync(join(tmpdir(), 'haca-e2e-'));
  mkdirSync(join(home, 't'));
  const cast = castOf(seed, sizes);
  const genesisFile = join(home, 'genesis.json');
  const chainId = `haca-e2e-${seed}`;
  const app = genesisOf(cast, sizes.validators);
  const document = makeGenesisDocument({ chainId, genesisTimeMs: Date.now(), app });
  writeJson(genesisFile, document);
  const plan: Plan = { home, genesisFile, cometBft };
  const nodes: NetworkNode[] = [];
  const p2pPorts: number[] = [];
  const cables: Cable[] = [];

  const lay = async (from: number, to: number): Promise<Cable> => {
    const cable: Cable = { ends: [from, to], proxy: await startProxy(p2pPorts[to] as number) };
    cables.push(cable);
    return cable;
  };
  const wire = async (index: number, others: readonly number[]): Promise<readonly string[]> =>
    Promise.all(
      others.map(async (other) => {
        const { proxy } = await lay(index, other);
        return `${peerIdOf(home, other)}@127.0.0.1:${proxy.port}`;
      }),
    );
  /** The validators of genesis dial each other, so that one that was started again need not wait; others dial these. */
  const addNode = async (stateSync?: StateSyncTrust): Promise<NetworkNode> => {
    const index = nodes.length;
    const validator = cast.validators[index];
    if (validator === undefined) throw new Error('the cast has no validator key left for another node');
    p2pPorts[index] ??= await freePort();
    const persistentPeers = await wire(
      index,
      Array.from({ length: sizes.validators }, (_, other) => other).filter((other) => other !== index),
    );
    const node = layOutNode(plan, {
      index,
      validator,
      rpcPort: await freePort(),
      p2pPort: p2pPorts[index] as number,
      persistentPeers,
      ...(stateSync === undefined ? {} : { stateSync }),
    });
    nodes.push(node);
    return node;
  };
  // Whatever ends this process takes the network with it.
  const killNow = (): void => {
    for (const pid of pidsOf([home])) send(pid, 'SIGKILL');
    rmSync(home, { recursive: true, force: true });
  };
  process.on('exit', killNow);
  const close: CometNetwork['close'] = async ({ keepFiles = false } = {}) => {
    for (const { rpc } of nodes) rpc.close();
    for (const node of nodes) node.resume();
    await Promise.all(nodes.map((node) => node.stop().catch(() => undefined)));
    await killAll(() => pidsOf([home]));
    process.off('exit', killNow);
    await Promise.all(cables.map(({ proxy }) => proxy.close()));
    if (!keepFiles) rmSync(home, { recursive: true, force: true });
  };
  const network: CometNetwork = {
    home,
    chainId,
    genesis: parseGenesisDocument(document),
    cast,
    nodes,
    running: () => nodes.filter((node) => node.state() === 'running'),
    addNode,
    partition: (groups, mode) => {
      const groupOf = (index: number): number => groups.findIndex((group) => group.includes(index));
      for (const { ends, proxy } of cables) if (groupOf(ends[0]) !== groupOf(ends[1])) proxy.cut(mode);
    },
    heal: () => {
      for (const { proxy } of cables) proxy.heal();
    },
    setLatency: (ms) => {
      for (const { proxy } of cables) proxy.setLatency(ms);
    },
    close,
  };
  try {
    for (let i = 0; i < sizes.validators; i++) p2pPorts.push(await freePort());
    for (let i = 0; i < sizes.validators; i++) await addNode();
    await Promise.all(nodes.map((node) => node.start()));
    return network;
  } catch (error) {
    await close({ keepFiles: true });
    throw new Error(`the network did not start; its logs are in ${home}`, { cause: error });
  }
}

interface NodePlan {
  readonly index: number;
  readonly validator: ValidatorActor;
  readonly rpcPort: number;
  readonly p2pPort: number;
  readonly persistentPeers: readonly string[];
  readonly stateSync?: StateSyncTrust;
}

function nodeName(index: number): string {
  return `full-node-${index + 1}`;
}

/** Its key is made where there is none yet. */
function peerIdOf(home: string, index: number): string {
  const file = nodeKeyFile(join(home, nodeName(index), 'cometbft'));
  mkdirSync(dirname(file), { recursive: true });
  return ensureNodeKey(file);
}

function layOutNode({ home, genesisFile, cometBft }: Plan, plan: NodePlan): NetworkNode {
  const { index, validator, rpcPort, p2pPort, persistentPeers, stateSync } = plan;
  const name = nodeName(index);
  const folder = join(home, name);
  const configFile = join(home, `${name}.json`);
  const callLogFile = join(home, `${name}.calls`);
  const logFile = join(home, `${name}.log`);
  peerIdOf(home, index);
  createValidatorKeyFile(join(home, `${name}.key.json`), validator.seed);
  const failPoint = writeFailPointScript(join(home, `${name}.cometbft.sh`), cometBft);
  writeJson(configFile, {
    home: name,
    genesisFile,
    validatorKeyFile: `${name}.key.json`,
    host: '127.0.0.1',
    rpcPort,
    emptyBlockIntervalMs: EMPTY_BLOCK_INTERVAL_MS,
    checkInvariants: true,
    engine: 'cometbft',
    cometbft: {
      binary: failPoint.binary,
      callLogFile,
      snapshotIntervalHeights: SNAPSHOT_INTERVAL_HEIGHTS,
      moniker: name,
      timing: 'local',
      sharedAddresses: true,
      peerExchange: false,
      p2pAddress: `127.0.0.1:${p2pPort}`,
      persistentPeers,
      ...(stateSync === undefined ? {} : { stateSync }),
    },
  });
  const rpcUrl = `http://127.0.0.1:${rpcPort}`;
  const pids = (): NodePids => readPids(join(folder, 'processes.json'));
  const signalAll = (signal: NodeJS.Signals): void => {
    const { supervisor: main, application, cometBft: comet } = pids();
    for (const pid of [main, application, comet]) send(pid, signal);
  };
  let state: NodeState = 'stopped';
  let supervisor: AppProcess | undefined;
  return {
    name,
    index,
    home: folder,
    rpcUrl,
    rpc: connectRpc(rpcUrl),
    validator,
    address: validatorAddress(validator.consensus.publicKey),
    callLogFile,
    failPoint,
    state: () => state,
    pids,
    start: async () => {
      // Where sockets are: what a killed supervisor leaves there goes with the network.
      const env = { TMPDIR: join(home, 't') };
      supervisor = spawnApp({ name, entry: ENTRY, configFile, env, logFile });
      await supervisor.ready;
      state = 'running';
    },
    stop: async () => {
      state = 'stopped';
      await supervisor?.stop();
    },
    kill: async () => {
      state = 'stopped';
      // The supervisor first: it would start the others again.
      const killed = supervisor?.kill();
      const { application, cometBft: comet } = pids();
      for (const pid of [application, comet]) send(pid, 'SIGKILL');
      await killed;
      await killAll(() => pidsOf([configFile, join(folder, 'cometbft')]));
    },
    killChild: (child) => send(pids()[child], 'SIGKILL'),
    pause: () => {
      if (state !== 'running') return;
      state = 'paused';
      signalAll('SIGSTOP');
    },
    resume: () => {
      if (state !== 'paused') return;
      signalAll('SIGCONT');
      state = 'running';
    },
  };
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
}
