/**
 * The networks that are measured, all on this machine: four validators on CometBFT's built-in key-value store, four on this
 * project's application, and the embedded engine, which is its own only validator.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type CometBftSettings,
  createValidatorKeyFile,
  ensureNodeKey,
  makeGenesisDocument,
  nodeKeyFile,
} from '@haca/chain';
import { type GenesisDocument, parseGenesisDocument } from '@haca/light-client';
import { type AppProcess, spawnApp } from '@haca/platform';
import { type AppGenesis, accountIdOf, DEFAULT_PARAMS, NOPG_PER_OPG, OPG_SUPPLY_NOPG } from '@haca/protocol';
import { ASSET, CHAIN_ID, digest } from '../settling-nodes.ts';
import { connectRpc, type RpcLine } from './rpc-line.ts';

export type NetworkKind = 'kvstore' | 'haca' | 'embedded';

export interface Validator {
  readonly rpc: RpcLine;
  /** The node's public address; null for the key-value store, which has no gateway. */
  readonly rpcUrl: string | null;
  /** Null where there is no CometBFT. */
  readonly metricsUrl: string | null;
  readonly pids: {
    /** Supervisor and gateway of a full node; the whole node where the engine is embedded. */
    readonly supervisor: number;
    readonly cometBft: number | null;
    /** Null where the application is no process of its own. */
    readonly application: number | null;
  };
}

export interface Network {
  readonly kind: NetworkKind;
  readonly validators: readonly Validator[];
  readonly genesis: GenesisDocument;
  /** Stops its processes where they are, so that another network has the machine to itself; `resume` lets them go on. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Resolves when every validator knows all others: after a long pause they may have to find each other again. */
  readonly connected: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface NetworkOptions {
  readonly kind: NetworkKind;
  /** Folder of this network alone. */
  readonly home: string;
  readonly cometBft: string;
  /** Accounts that genesis funds. */
  readonly accounts: readonly { readonly accountId: Uint8Array; readonly nopg: bigint }[];
}

export const VALIDATORS = 4;
const ROOT = resolve(import.meta.dirname, '../..');
const GENESIS_FILE = 'genesis.json';
const EMPTY_BLOCK_INTERVAL_MS = 10_000;
const FIRST_BLOCK_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 30_000;
const CONNECT_PAUSE_MS = 300;
const SELF_BOND = 1_000_000n * NOPG_PER_OPG;

export async function startNetwork(options: NetworkOptions): Promise<Network> {
  const { kind, home } = options;
  const members = await layOut(options);
  const started: AppProcess[] = [];
  const validators: Validator[] = [];
  const signal = (name: NodeJS.Signals): void => {
    for (const { pids } of validators) {
      for (const pid of Object.values(pids)) if (pid !== null) signalProcess(pid, name);
    }
  };
  const stop = async (): Promise<void> => {
    // What is paused does not hear that it should stop.
    signal('SIGCONT');
    await Promise.all(validators.map(({ rpc }) => rpc.close()));
    await Promise.all(started.map((child) => child.stop()));
  };
  try {
    for (const { configFile, name } of members) {
      const entry = kind === 'kvstore' ? 'bench/chain/kvstore-node.ts' : 'apps/full-node/src/main.ts';
      const logFile = join(home, `${name}.log`);
      started.push(spawnApp({ name: `${kind} ${name}`, entry: join(ROOT, entry), configFile, logFile }));
    }
    for (const [i, child] of started.entries()) {
      validators.push(validatorOf(child.pid, await child.ready, members[i] as Member));
    }
    await untilFirstBlock(validators);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    kind,
    validators,
    genesis: parseGenesisDocument(readFileSync(join(home, GENESIS_FILE))),
    stop,
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    connected: () => untilConnected(validators),
  };
}

/** A process that is gone hears nothing. */
function signalProcess(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

interface Member {
  readonly name: string;
  readonly home: string;
  readonly configFile: string;
  readonly metricsUrl: string | null;
}

/** Keys, genesis and configurations. Both kinds get the same genesis; the key-value store does not read what is in `app_state`. */
async function layOut({ kind, home, cometBft, accounts }: NetworkOptions): Promise<readonly Member[]> {
  mkdirSync(home, { recursive: true });
  const count = kind === 'embedded' ? 1 : VALIDATORS;
  const ports = await freePorts(3 * count);
  const nodes = Array.from({ length: count }, (_, i) => {
    const folder = join(home, `validator-${i + 1}`);
    const keyFile = nodeKeyFile(join(folder, 'cometbft'));
    mkdirSync(dirname(keyFile), { recursive: true });
    return {
      name: `validator-${i + 1}`,
      home: folder,
      key: createValidatorKeyFile(join(home, `key-${i + 1}.json`)),
      peer: `${ensureNodeKey(keyFile)}@127.0.0.1:${ports[i]}`,
      metricsAddress: `127.0.0.1:${ports[count + i]}`,
    };
  });
  const genesisFile = join(home, GENESIS_FILE);
  const app = genesisOf(
    nodes.map(({ key }) => key.publicKey),
    accounts,
  );
  writeJson(genesisFile, makeGenesisDocument({ chainId: CHAIN_ID, genesisTimeMs: Date.now(), app }));
  return nodes.map((node, i) => {
    const settings: CometBftSettings = {
      moniker: node.name,
      timing: 'local',
      sharedAddresses: true,
      p2pAddress: node.peer.slice(node.peer.indexOf('@') + 1),
      persistentPeers: nodes.filter((_, other) => other !== i).map(({ peer }) => peer),
      seeds: [],
      emptyBlockIntervalMs: EMPTY_BLOCK_INTERVAL_MS,
      metricsAddress: node.metricsAddress,
      logLevel: 'error',
    };
    const common = { home: node.home, genesisFile, validatorKeyFile: join(home, `key-${i + 1}.json`) };
    const configFile = join(home, `${node.name}.json`);
    const config =
      kind === 'kvstore'
        ? { ...common, cometBft, settings, rpcPort: ports[2 * count + i] }
        : fullNodeConfig(common, kind === 'haca' ? { settings, binary: cometBft } : null);
    writeJson(configFile, config);
    const metricsUrl = kind === 'embedded' ? null : `http://${node.metricsAddress}/metrics`;
    return { name: node.name, home: node.home, configFile, metricsUrl };
  });
}

function fullNodeConfig(
  common: object,
  cometBft: { readonly settings: CometBftSettings; readonly binary: string } | null,
): object {
  const config = { ...common, host: '127.0.0.1', rpcPort: 0, checkInvariants: false };
  if (cometBft === null) return { ...config, emptyBlockIntervalMs: EMPTY_BLOCK_INTERVAL_MS };
  const { emptyBlockIntervalMs, ...settings } = cometBft.settings;
  const { binary } = cometBft;
  return { ...config, emptyBlockIntervalMs, engine: 'cometbft', cometbft: { ...settings, binary } };
}

export function genesisOf(
  validatorKeys: readonly Uint8Array[],
  accounts: NetworkOptions['accounts'],
): AppGenesis {
  const spent = accounts.reduce((sum, { nopg }) => sum + nopg, SELF_BOND * BigInt(validatorKeys.length));
  return {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: OPG_SUPPLY_NOPG - spent,
    accounts,
    validators: validatorKeys.map((consensusKey) => ({
      consensusKey,
      operator: accountIdOf({ algorithm: 'ed25519', publicKey: consensusKey }),
      selfBond: SELF_BOND,
    })),
    assets: [{ asset: ASSET, symbol: 'CREDIT', issuer: digest('issuer') }],
    measurements: [],
    testRoots: [],
  };
}

function validatorOf(
  supervisor: number,
  ready: Readonly<Record<string, unknown>>,
  { home, metricsUrl }: Member,
): Validator {
  if (typeof ready['directUrl'] === 'string') {
    const pids = { supervisor, cometBft: Number(ready['cometBft']), application: null };
    return { rpc: connectRpc(ready['directUrl']), rpcUrl: null, metricsUrl, pids };
  }
  const rpcUrl = String(ready['rpcUrl']);
  if (metricsUrl === null) {
    return {
      rpc: connectRpc(rpcUrl),
      rpcUrl,
      metricsUrl,
      pids: { supervisor, cometBft: null, application: null },
    };
  }
  const { application, cometBft } = JSON.parse(readFileSync(join(home, 'processes.json'), 'utf8')) as {
    readonly application: number;
    readonly cometBft: number;
  };
  const toml = readFileSync(join(home, 'cometbft/config/config.toml'), 'utf8');
  // The first is the RPC's.
  const address = /^laddr = "tcp:\/\/(.+)"$/m.exec(toml)?.[1];
  if (address === undefined) throw new Error(`no RPC address in ${home}`);
  return {
    rpc: connectRpc(`http://${address}`),
    rpcUrl,
    metricsUrl,
    pids: { supervisor, cometBft, application },
  };
}

async function untilFirstBlock(validators: readonly Validator[]): Promise<void> {
  const deadline = performance.now() + FIRST_BLOCK_TIMEOUT_MS;
  for (const { rpc } of validators) {
    while ((await latestHeight(rpc)) < 1) {
      if (performance.now() > deadline)
        throw new Error(`the validators agreed on no block in ${FIRST_BLOCK_TIMEOUT_MS} ms`);
      await delay(50);
    }
  }
}

async function untilConnected(validators: readonly Validator[]): Promise<void> {
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  // What a connection died of while it was paused shows a moment later.
  await delay(CONNECT_PAUSE_MS);
  for (const { rpc } of validators) {
    for (;;) {
      const { n_peers: peers } = (await rpc.call('net_info')) as { readonly n_peers: string };
      if (Number(peers) >= validators.length - 1) break;
      if (performance.now() > deadline) throw new Error('the validators did not find each other again');
      await delay(CONNECT_PAUSE_MS);
    }
  }
}

export async function latestHeight(rpc: RpcLine): Promise<number> {
  const { sync_info: info } = (await rpc.call('status')) as {
    readonly sync_info: { readonly latest_block_height: string };
  };
  return Number(info.latest_block_height);
}

/** Ports that are free now, all different. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((settle, fail) => {
          const server = createServer().once('error', fail);
          server.listen(0, '127.0.0.1', () => settle(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  });
  await Promise.all(servers.map((server) => new Promise((settle) => server.close(settle))));
  return ports;
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
}
