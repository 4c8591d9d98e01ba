/** A network of real processes for black-box tests: one full node, inference nodes, wallets; each can be killed and started again. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createTestRoot, measureTestImage } from '@haca/attester';
import { createValidatorKeyFile, makeGenesisDocument } from '@haca/chain';
import { type AppProcess, connectRpc, spawnApp } from '@haca/platform';
import { toHex, utf8Encode } from '@haca/primitives';
import {
  type AppGenesis,
  accountIdOf,
  credit,
  DEFAULT_PARAMS,
  NOPG_PER_OPG,
  OPG_SUPPLY_NOPG,
  type ProtocolParams,
  pcrRegisters,
} from '@haca/protocol';
import {
  createWalletFile,
  type Haca,
  openHaca,
  parseGenesisDocument,
  readWalletFile,
  submitOps,
} from '@haca/sdk/node';
import { freePort } from './ports.ts';

const ROOT = resolve(import.meta.dirname, '..');
const IMAGE = 'haca inference node under test';
const ASSET = 1;

/** One process of the network, through its deaths and rebirths. */
export interface Service {
  readonly name: string;
  readonly logFile: string;
  /** The JSON line of its last start. */
  readonly ready: () => Readonly<Record<string, unknown>>;
  /** Settles when it is ready; rejects where it dies before. */
  readonly start: () => Promise<void>;
  /** SIGKILL, at whatever it is doing; starting it again is up to the caller. */
  readonly kill: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface TestNetwork {
  readonly home: string;
  readonly chainId: string;
  readonly genesis: ReturnType<typeof parseGenesisDocument>;
  readonly genesisFile: string;
  /** Of the test roots. */
  readonly rootSeed: Uint8Array;
  readonly rpcUrl: string;
  readonly fullNode: Service;
  readonly nodes: readonly Service[];
  /** Where a node keeps its keys and logs. */
  readonly dataDir: (index: number) => string;
  /** A client with a wallet of its own, funded with OPG and the fee asset. */
  readonly openClient: (options?: Partial<Parameters<typeof openHaca>[0]>) => Promise<Haca>;
  readonly close: (options?: { readonly keepFiles?: boolean }) => Promise<void>;
}

export interface TestNetworkOptions {
  readonly nodes: number;
  readonly params?: Partial<ProtocolParams>;
  /** Changes to each node's configuration. */
  readonly nodeConfig?: Readonly<Record<string, unknown>>;
  /** Changes to that of one of them. */
  readonly configOf?: (index: number, rootSeedFile: string) => Readonly<Record<string, unknown>>;
  /** Beside the Nitro-shaped test enclave: what a genesis approves under the roots of a seed. */
  readonly hardware?: (rootSeed: Uint8Array) => Promise<Pick<AppGenesis, 'testRoots' | 'measurements'>>;
  /** False: no node is started. */
  readonly startNodes?: boolean;
}

/** Windows small enough that keys drain while a test watches; their rows stay, so that old receipts can still be proven. */
export const SHORT_WINDOWS: Partial<ProtocolParams> = {
  settleWindow: 100,
  proveWindow: 5,
  challengeWindow: 5,
  redeemWindow: 20,
  headLag: 60,
  requestDuration: 20,
  withdrawDelay: 250,
  keyTtl: 100_000,
  keyDrain: 300,
  evidenceWindow: 50_000,
  unbondingTime: 100_000,
};

export async function startTestNetwork(options: TestNetworkOptions): Promise<TestNetwork> {
  const home = mkdtempSync(join(tmpdir(), 'haca-e2e-'));
  const rpcPort = await freePort();
  const ports = await Promise.all(Array.from({ length: options.nodes }, freePort));
  const { chainId, genesisFile, document, rootSeed, rootSeedFile } = await writeGenesis(home, options);
  const rpcUrl = `http://127.0.0.1:${rpcPort}`;
  writeJson(join(home, 'full-node.json'), {
    home: 'full-node',
    genesisFile: 'genesis.json',
    validatorKeyFile: 'validator.json',
    host: '127.0.0.1',
    rpcPort,
    checkInvariants: true,
  });
  const fullNode = service(home, 'full-node', 'apps/full-node/src/main.ts', join(home, 'full-node.json'));
  const nodes = ports.map((port, i) => {
    const file = join(home, `node-${i}.json`);
    const own = options.configOf?.(i, rootSeedFile);
    writeJson(file, { ...nodeConfig(i, port, rpcUrl, rootSeedFile), ...options.nodeConfig, ...own });
    return service(home, `node-${i}`, 'apps/inference-node/src/main.ts', file);
  });
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()));
    await fullNode.stop();
  };
  try {
    await fullNode.start();
    if (options.startNodes !== false) await Promise.all(nodes.map((node) => node.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  const clients: Haca[] = [];
  return {
    home,
    chainId,
    genesis: parseGenesisDocument(document),
    genesisFile,
    rootSeed,
    rpcUrl,
    fullNode,
    nodes,
    dataDir: (index) => join(home, `node-${index}`),
    openClient: async (overrides = {}) => {
      const wallet = await fundedWallet(home, chainId, rpcUrl);
      const haca = await openHaca({
        rpcUrl,
        trust: { genesis: parseGenesisDocument(document) },
        wallet,
        policy: { acceptSimulated: true },
        ...overrides,
      });
      clients.push(haca);
      return haca;
    },
    close: async ({ keepFiles = false } = {}) => {
      for (const client of clients) client.close();
      await stop();
      if (!keepFiles) rmSync(home, { recursive: true, force: true });
    },
  };
}

async function writeGenesis(home: string, { nodes, params, hardware }: TestNetworkOptions) {
  const opg = (amount: bigint): bigint => amount * NOPG_PER_OPG;
  const faucet = createWalletFile(join(home, 'faucet.json'));
  const operators = Array.from({ length: nodes }, (_, i) =>
    createWalletFile(join(home, `operator-${i}.json`)),
  );
  const validator = createValidatorKeyFile(join(home, 'validator.json'));
  const rootSeed = new Uint8Array(randomBytes(32));
  const rootSeedFile = join(home, 'test-root.seed');
  writeFileSync(rootSeedFile, toHex(rootSeed), { mode: 0o600 });
  const more = await hardware?.(rootSeed);
  const given = opg(2_000_000n) + opg(60_000n) * BigInt(nodes);
  const app: AppGenesis = {
    simulated: true,
    params: { ...DEFAULT_PARAMS, ...params },
    reserveNopg: opg(1_000_000n),
    accounts: [
      { accountId: faucet.accountId, nopg: OPG_SUPPLY_NOPG - given },
      ...operators.map(({ accountId }) => ({ accountId, nopg: opg(60_000n) })),
    ],
    validators: [
      {
        consensusKey: validator.publicKey,
        operator: accountIdOf({ algorithm: 'ed25519', publicKey: validator.publicKey }),
        selfBond: opg(1_000_000n),
      },
    ],
    assets: [{ asset: ASSET, symbol: 'CREDIT', issuer: faucet.accountId }],
    measurements: [
      { name: IMAGE, kind: 'nitro', registers: pcrRegisters(measureTestImage(utf8Encode(IMAGE))) },
      ...(more?.measurements ?? []),
    ],
    testRoots: [createTestRoot(rootSeed).sha256, ...(more?.testRoots ?? [])],
  };
  const chainId = `haca-e2e-${toHex(new Uint8Array(randomBytes(4)))}`;
  const document = makeGenesisDocument({ chainId, genesisTimeMs: Date.now(), app });
  const genesisFile = join(home, 'genesis.json');
  writeJson(genesisFile, document);
  return { chainId, genesisFile, document, rootSeed, rootSeedFile };
}

function nodeConfig(index: number, port: number, rpcUrl: string, rootSeedFile: string): object {
  return {
    dataDir: `node-${index}`,
    rpcUrl,
    operatorFile: `operator-${index}.json`,
    name: `node ${index}`,
    host: '127.0.0.1',
    port,
    bondNopg: '50000000000000',
    attester: { kind: 'test-enclave', rootSeedFile, image: IMAGE },
    engines: [{ kind: 'onnx', dir: join(ROOT, 'models/tiny-chat') }],
    prices: {
      asset: ASSET,
      inputPrice: '20000000',
      cachedInputPrice: '10000000',
      outputPrice: '60000000',
      requestPrice: '1000',
      minCharge: '1000',
    },
    settlement: { batchMaxAgeMs: 300 },
  };
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
}

let walletCount = 0;
let faucetQueue: Promise<unknown> = Promise.resolve();

/** One after the other: the faucet's account has one nonce. */
async function fundedWallet(home: string, chainId: string, rpcUrl: string) {
  const file = join(home, `wallet-${walletCount++}.json`);
  const wallet = createWalletFile(file);
  const { signer } = readWalletFile(join(home, 'faucet.json'));
  const rpc = connectRpc(rpcUrl);
  const fund = async (): Promise<void> => {
    await submitOps({
      rpc,
      chainId,
      signer,
      ops: [
        { kind: 'transfer-opg', to: wallet.accountId, amount: (100n * NOPG_PER_OPG) as never },
        { kind: 'issue', to: wallet.accountId, asset: ASSET, amount: credit(50_000_000_000n) },
      ],
    });
  };
  const mine = faucetQueue.then(fund);
  faucetQueue = mine.catch(() => undefined);
  await mine;
  rpc.close();
  return wallet;
}

function service(home: string, name: string, entry: string, configFile: string): Service {
  let running: AppProcess | undefined;
  let ready: Readonly<Record<string, unknown>> = {};
  mkdirSync(join(home, 'logs'), { recursive: true });
  const logFile = join(home, 'logs', `${name}.log`);
  return {
    name,
    logFile,
    ready: () => ready,
    start: async () => {
      running = spawnApp({ name, entry: join(ROOT, entry), configFile, logFile });
      ready = await running.ready;
    },
    kill: async () => running?.kill(),
    stop: async () => running?.stop(),
  };
}
