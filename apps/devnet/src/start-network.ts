/** Starts the processes of the local network in the order they need each other, and stops them in reverse. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { buildCometBft, COMETBFT_VERSION, ensureNodeKey, nodeKeyFile } from '@haca/chain';
import { type AppProcess, connectRpc, spawnApp } from '@haca/platform';
import { fromHex, utf8Decode } from '@haca/primitives';
import type { NetworkFile } from '@haca/sdk';
import { DIGITS_MODEL } from './digits.ts';
import {
  DEVNET_ASSET,
  type FullNodeLayout,
  type NetworkLayout,
  NODE_BOND,
  NODE_COUNT,
} from './network-layout.ts';
import { freePort } from './ports.ts';
import type { Terminal } from './terminal.ts';
import { type NodeHardware, nodeHardware, postTestCollateral } from './test-hardware.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const RPC_PORT = 26657;
const P2P_PORT = 26656;
const FIRST_BLOCKS_TIMEOUT_MS = 60_000;
const FIRST_NODE_PORT = 8081;

interface RunningChild extends Omit<AppProcess, 'ready'> {
  /** The JSON object it printed when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
}

/** `onSpawned` is told of the process at once: one that never gets ready has to be stopped too. */
async function startChild(
  name: string,
  entry: string,
  configFile: string,
  logFile: string,
  onSpawned: (child: Child) => void,
): Promise<RunningChild> {
  const child = spawnApp({ name, entry, configFile, logFile });
  onSpawned(child);
  return { ...child, ready: await child.ready };
}

type Child = Omit<AppProcess, 'ready'>;

export interface RunningNetwork {
  readonly file: NetworkFile;
  /** `ok`, or what the full node found broken. */
  readonly invariants: () => Promise<string>;
  /** Resident memory of all processes of the network together, MiB. */
  readonly rssMb: () => number;
  /** Fulfilled with a reason when a process dies that was not asked to. */
  readonly failed: Promise<string>;
  readonly stop: () => Promise<void>;
}

export async function startNetwork(layout: NetworkLayout, terminal: Terminal): Promise<RunningNetwork> {
  const children: Child[] = [];
  const onSpawned = (child: Child): void => void children.push(child);
  const stop = async (): Promise<void> => {
    for (const child of children.reverse()) await child.stop();
  };
  try {
    const fullNodes = await startFullNodes(layout, terminal, onSpawned);
    const rpcUrls = fullNodes.map(({ ready }) => String(ready['rpcUrl']));
    const { genesisFile, chainId, testRootSeedFile: rootSeedFile, faucetFile: walletFile } = layout;
    const hardware = Array.from({ length: NODE_COUNT }, (_, index) =>
      nodeHardware(index, genesisFile, rootSeedFile),
    );
    const isJudged = hardware.some(({ needsCollateral }) => needsCollateral);
    const posted = isJudged
      ? postTestCollateral({ rpcUrl: rpcUrls[0] as string, chainId, rootSeedFile, walletFile })
      : Promise.resolve();
    // Nodes register with their own operators and do not need each other; each asks a full node of its own if there are enough.
    const nodes = await Promise.all(
      hardware.map(async (own, index) => {
        if (own.needsCollateral) await posted;
        const rpcUrl = rpcUrls[index % rpcUrls.length] as string;
        return startNode(layout, terminal, { index, rpcUrl, hardware: own }, onSpawned);
      }),
    );
    return {
      file: networkFile(layout, fullNodes[0] as RunningChild, nodes),
      invariants: () => readInvariants(rpcUrls),
      rssMb: () => totalRssMb([process.pid, ...children.map(({ pid }) => pid), ...supervisedPids(layout)]),
      failed: Promise.race(
        children.map(({ exited }) => exited.then((reason) => reason ?? new Promise<string>(() => undefined))),
      ),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** All of them at once: none can make a block before most of them are there. */
async function startFullNodes(
  layout: NetworkLayout,
  terminal: Terminal,
  onSpawned: (child: Child) => void,
): Promise<readonly RunningChild[]> {
  const { engine, validators } = layout.consensus;
  if (engine === 'cometbft') {
    const built = terminal.step(`CometBFT ${COMETBFT_VERSION}`);
    built(await buildCometBft({ log: (line) => terminal.line(`    ${line}`) }));
  }
  const peers =
    engine === 'cometbft'
      ? await Promise.all(layout.fullNodes.map((node, index) => peerOf(layout, node, index)))
      : [];
  const started = await Promise.all(
    layout.fullNodes.map(async (node, index) => {
      const done = terminal.step(node.name);
      const configFile = join(layout.home, node.configFile);
      writeConfig(configFile, {
        home: node.folder,
        genesisFile: 'genesis.json',
        validatorKeyFile: node.validatorKeyFile,
        host: '127.0.0.1',
        rpcPort: RPC_PORT + 10 * index,
        anyPortIfTaken: true,
        checkInvariants: true,
        engine,
        ...(engine === 'cometbft' ? { cometbft: cometBftConfig(peers, index, node.name) } : {}),
      });
      const entry = join(ROOT, 'apps/full-node/src/main.ts');
      const child = await startChild(node.name, entry, configFile, layout.logFile(node.name), onSpawned);
      done(`${child.ready['rpcUrl']}  chain ${layout.chainId}`);
      return child;
    }),
  );
  if (engine === 'cometbft') {
    const done = terminal.step('consensus');
    done(`${validators} validators, block ${await untilFirstBlock(String(started[0]?.ready['rpcUrl']))}`);
  }
  return started;
}

/** `id@host:port` of the peer-to-peer network. */
async function peerOf(layout: NetworkLayout, node: FullNodeLayout, index: number): Promise<string> {
  const keyFile = nodeKeyFile(join(layout.home, node.folder, 'cometbft'));
  mkdirSync(dirname(keyFile), { recursive: true });
  return `${ensureNodeKey(keyFile)}@127.0.0.1:${await freePort(P2P_PORT + 10 * index)}`;
}

function cometBftConfig(peers: readonly string[], index: number, moniker: string): object {
  return {
    moniker,
    timing: 'local',
    sharedAddresses: true,
    p2pAddress: peers[index]?.split('@')[1],
    persistentPeers: peers.filter((_, other) => other !== index),
  };
}

/** Waits until the validators agreed on a block; gives its height. */
async function untilFirstBlock(rpcUrl: string): Promise<number> {
  const rpc = connectRpc(rpcUrl);
  const deadline = performance.now() + FIRST_BLOCKS_TIMEOUT_MS;
  try {
    for (;;) {
      const { height } = await rpc.status();
      if (height >= 1) return height;
      if (performance.now() > deadline)
        throw new Error(`the validators agreed on no block in ${FIRST_BLOCKS_TIMEOUT_MS} ms`);
      await new Promise((settle) => setTimeout(settle, 50));
    }
  } finally {
    rpc.close();
  }
}

interface NodePlace {
  readonly index: number;
  readonly rpcUrl: string;
  readonly hardware: NodeHardware;
}

async function startNode(
  layout: NetworkLayout,
  terminal: Terminal,
  place: NodePlace,
  onSpawned: (child: Child) => void,
): Promise<RunningChild> {
  const { index, hardware } = place;
  const name = `inference node ${index + 1}`;
  const folder = layout.nodeFolder(index);
  mkdirSync(folder, { recursive: true });
  const configFile = join(folder, 'config.json');
  writeConfig(configFile, nodeConfig(layout, place, FIRST_NODE_PORT + index));
  const entry = join(ROOT, 'apps/inference-node/src/main.ts');
  const done = terminal.step(name);
  const logFile = layout.logFile(`inference-node-${index + 1}`);
  const child = await startChild(name, entry, configFile, logFile, onSpawned);
  const proves = index === NODE_COUNT - 1 ? ', proves digits' : '';
  done(`${child.ready['url']}  key attested by ${hardware.text} (simulated)${proves}`);
  return child;
}

/** Prices of a small model: 0.02 credits for a million prompt tokens, 0.06 for a million output tokens. */
function nodeConfig(layout: NetworkLayout, { index, rpcUrl, hardware }: NodePlace, port: number): object {
  return {
    dataDir: 'data',
    rpcUrl,
    operatorFile: layout.operatorFiles[index],
    name: `devnet node ${index + 1}`,
    host: '127.0.0.1',
    port,
    anyPortIfTaken: true,
    bondNopg: `${NODE_BOND}`,
    attester: hardware.attester,
    engines: enginesOf(index),
    prices: {
      asset: DEVNET_ASSET,
      inputPrice: '20000000',
      cachedInputPrice: '10000000',
      outputPrice: '60000000',
      requestPrice: '1000',
      minCharge: '1000',
    },
    settlement: { batchMaxAgeMs: 1000 },
  };
}

/** All nodes chat; the last one also classifies, with proofs. */
function enginesOf(index: number): readonly object[] {
  const chat = { kind: 'onnx', dir: join(ROOT, 'models/tiny-chat') };
  if (index < NODE_COUNT - 1) return [chat];
  return [chat, { kind: 'zk', file: DIGITS_MODEL, price: '20000', license: 'Apache-2.0' }];
}

function writeConfig(file: string, config: object): void {
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}

function networkFile(
  layout: NetworkLayout,
  fullNode: RunningChild,
  nodes: readonly RunningChild[],
): NetworkFile {
  return {
    chainId: layout.chainId,
    simulated: true,
    pid: process.pid,
    startedAtMs: Date.now(),
    rpcUrl: String(fullNode.ready['rpcUrl']),
    explorerUrl: typeof fullNode.ready['explorerUrl'] === 'string' ? fullNode.ready['explorerUrl'] : null,
    genesisFile: layout.genesisFile,
    walletFile: layout.walletFile,
    asset: DEVNET_ASSET,
    nodes: nodes.map(({ ready }) => ({
      url: String(ready['url']),
      nodeId: fromHex(String(ready['nodeId'])),
    })),
    faucet: { walletFile: layout.faucetFile },
  };
}

/** `ok` if every full node says so, else what the first says that does not. */
async function readInvariants(rpcUrls: readonly string[]): Promise<string> {
  const reports = await Promise.all(rpcUrls.map(readInvariantsOf));
  return reports.find((report) => report !== 'ok') ?? 'ok';
}

async function readInvariantsOf(rpcUrl: string): Promise<string> {
  const rpc = connectRpc(rpcUrl);
  const { value } = await rpc.query('/invariants', new Uint8Array(0));
  rpc.close();
  const report = JSON.parse(utf8Decode(value)) as {
    enabled: boolean;
    ok: boolean;
    violations?: readonly string[];
  };
  if (!report.enabled) return 'not checked';
  return report.ok ? 'ok' : `broken: ${(report.violations ?? []).join('; ')}`;
}

/** The application and CometBFT of each full node that has them. */
function supervisedPids({ home, fullNodes }: NetworkLayout): readonly number[] {
  return fullNodes.flatMap(({ folder }) => {
    const file = join(home, folder, 'processes.json');
    if (!existsSync(file)) return [];
    const { application, cometBft } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
    return [application, cometBft].filter((pid) => pid !== undefined);
  });
}

/** From the kernel's own accounting; 0 where it can not be read. */
function totalRssMb(pids: readonly number[]): number {
  const pages = pids.map((pid) => {
    try {
      return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      return 0;
    }
  });
  return Math.round(pages.reduce((sum, kb) => sum + kb, 0) / 1024);
}
