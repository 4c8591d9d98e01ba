/** Starts the processes of the local network in the order they need each other, and stops them in reverse. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type AppProcess, connectRpc, spawnApp } from '@haca/platform';
import { fromHex, utf8Decode } from '@haca/primitives';
import type { NetworkFile } from '@haca/sdk';
import { DEVNET_ASSET, type NetworkLayout, NODE_BOND, NODE_COUNT, TEST_IMAGE } from './network-layout.ts';
import { freePort } from './ports.ts';
import type { Terminal } from './terminal.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const RPC_PORT = 26657;
const FIRST_NODE_PORT = 8081;

interface RunningChild extends Omit<AppProcess, 'ready'> {
  /** The JSON object it printed when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
}

async function startChild(
  name: string,
  entry: string,
  configFile: string,
  logFile: string,
): Promise<RunningChild> {
  const child = spawnApp({ name, entry, configFile, logFile });
  return { ...child, ready: await child.ready };
}

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
  const children: RunningChild[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.reverse()) await child.stop();
  };
  try {
    const fullNode = await startFullNode(layout, terminal);
    children.push(fullNode);
    const rpcUrl = String(fullNode.ready['rpcUrl']);
    // Nodes register with their own operators and do not need each other.
    const nodes = await Promise.all(
      Array.from({ length: NODE_COUNT }, (_, index) => startNode(layout, terminal, index, rpcUrl)),
    );
    children.push(...nodes);
    return {
      file: networkFile(layout, fullNode, nodes),
      invariants: () => readInvariants(rpcUrl),
      rssMb: () => totalRssMb([process.pid, ...children.map(({ pid }) => pid)]),
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

async function startFullNode(layout: NetworkLayout, terminal: Terminal): Promise<RunningChild> {
  const done = terminal.step('full node');
  writeConfig(layout.fullNodeConfigFile, {
    home: 'full-node',
    genesisFile: 'genesis.json',
    validatorKeyFile: 'validator.json',
    host: '127.0.0.1',
    rpcPort: await freePort(RPC_PORT),
    checkInvariants: true,
  });
  const entry = join(ROOT, 'apps/full-node/src/main.ts');
  const child = await startChild('full node', entry, layout.fullNodeConfigFile, layout.logFile('full-node'));
  done(`${child.ready['rpcUrl']}  chain ${layout.chainId}`);
  return child;
}

async function startNode(
  layout: NetworkLayout,
  terminal: Terminal,
  index: number,
  rpcUrl: string,
): Promise<RunningChild> {
  const name = `inference node ${index + 1}`;
  const folder = layout.nodeFolder(index);
  mkdirSync(folder, { recursive: true });
  const configFile = join(folder, 'config.json');
  writeConfig(configFile, nodeConfig(layout, index, rpcUrl, await freePort(FIRST_NODE_PORT + index)));
  const entry = join(ROOT, 'apps/inference-node/src/main.ts');
  const done = terminal.step(name);
  const child = await startChild(name, entry, configFile, layout.logFile(`inference-node-${index + 1}`));
  done(`${child.ready['url']}  key attested (simulated)`);
  return child;
}

/** Prices of a small model: 0.02 credits for a million prompt tokens, 0.06 for a million output tokens. */
function nodeConfig(layout: NetworkLayout, index: number, rpcUrl: string, port: number): object {
  return {
    dataDir: 'data',
    rpcUrl,
    operatorFile: layout.operatorFiles[index],
    name: `devnet node ${index + 1}`,
    host: '127.0.0.1',
    port,
    bondNopg: `${NODE_BOND}`,
    attester: { kind: 'test-enclave', rootSeedFile: layout.testRootSeedFile, image: TEST_IMAGE },
    engines: [{ kind: 'onnx', dir: join(ROOT, 'models/tiny-chat') }],
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

async function readInvariants(rpcUrl: string): Promise<string> {
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
