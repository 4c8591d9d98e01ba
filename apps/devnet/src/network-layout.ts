/**
 * Everything a local network needs on disk before its first process starts: keys, genesis, configurations. All keys are made
 * here and stay below the home folder; nothing of it is worth anything anywhere else.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createValidatorKeyFile, makeGenesisDocument } from '@haca/chain';
import { toHex, UsageError } from '@haca/primitives';
import { type AppGenesis, accountIdOf, DEFAULT_PARAMS, NOPG_PER_OPG, OPG_SUPPLY_NOPG } from '@haca/protocol';
import { createWalletFile } from '@haca/sdk/node';
import type { Consensus } from './options.ts';
import { type TestHardware, testHardwareOf } from './test-hardware.ts';

export const DEVNET_ASSET = 1;
export const DEVNET_ASSET_SYMBOL = 'CREDIT';
export const NODE_COUNT = 2;
const CONSENSUS_FILE = 'consensus.json';
const ROOT_SEED_FILE = 'test-root.seed';

const opg = (amount: bigint): bigint => amount * NOPG_PER_OPG;
const RESERVE = opg(100_000_000n);
const VALIDATOR_BOND = opg(1_000_000n);
const OPERATOR_FUNDS = opg(60_000n);
export const NODE_BOND = opg(50_000n);
const WALLET_FUNDS = opg(100n);

export interface FullNodeLayout {
  readonly name: string;
  /** Names below the home folder. */
  readonly folder: string;
  readonly configFile: string;
  readonly validatorKeyFile: string;
}

export interface NetworkLayout {
  readonly home: string;
  readonly chainId: string;
  /** False where an earlier network was found in the same folder and is continued. */
  readonly isNew: boolean;
  readonly consensus: Consensus;
  readonly genesisFile: string;
  readonly fullNodes: readonly FullNodeLayout[];
  readonly walletFile: string;
  readonly faucetFile: string;
  readonly operatorFiles: readonly string[];
  readonly testRootSeedFile: string;
  readonly nodeFolder: (index: number) => string;
  readonly logFile: (name: string) => string;
}

/**
 * Lays out a fresh network in `home`, or reads back the one that is there; `keep` says whether that is wanted. Throws
 * `UsageError` where the one that is there has another consensus.
 */
export async function layOutNetwork(
  home: string,
  keep: boolean,
  consensus: Consensus,
  nowMs: number,
): Promise<NetworkLayout> {
  const genesisFile = join(home, 'genesis.json');
  const fullNodes = Array.from({ length: consensus.validators }, (_, index) => fullNodeLayout(index));
  const isNew = !keep || !existsSync(genesisFile);
  if (isNew) {
    rmSync(home, { recursive: true, force: true });
    mkdirSync(join(home, 'logs'), { recursive: true });
    const rootSeed = new Uint8Array(randomBytes(32));
    writeFileSync(join(home, ROOT_SEED_FILE), `${toHex(rootSeed)}\n`, { mode: 0o600 });
    writeKeysAndGenesis(home, genesisFile, fullNodes, nowMs, await testHardwareOf(rootSeed));
    writeFileSync(join(home, CONSENSUS_FILE), `${JSON.stringify(consensus)}\n`);
  } else requireConsensus(home, consensus);
  const genesis = JSON.parse(readFileSync(genesisFile, 'utf8')) as { chain_id: string };
  return {
    home,
    chainId: genesis.chain_id,
    isNew,
    consensus,
    genesisFile,
    fullNodes,
    walletFile: join(home, 'wallet.json'),
    faucetFile: join(home, 'faucet.json'),
    operatorFiles: operatorFiles(home),
    testRootSeedFile: join(home, ROOT_SEED_FILE),
    nodeFolder: (index) => join(home, `node-${index + 1}`),
    logFile: (name) => join(home, 'logs', `${name.replaceAll(' ', '-')}.log`),
  };
}

function fullNodeLayout(index: number): FullNodeLayout {
  const suffix = index === 0 ? '' : `-${index + 1}`;
  return {
    name: `full node${suffix.replace('-', ' ')}`,
    folder: `full-node${suffix}`,
    configFile: `full-node${suffix}.json`,
    validatorKeyFile: `validator${suffix}.json`,
  };
}

function requireConsensus(home: string, { engine, validators }: Consensus): void {
  const kept = JSON.parse(readFileSync(join(home, CONSENSUS_FILE), 'utf8')) as Consensus;
  if (kept.engine === engine && kept.validators === validators) return;
  throw new UsageError(
    `the network in ${home} was made with --engine ${kept.engine} --validators ${kept.validators}; ` +
      'use these again, or another folder',
  );
}

function operatorFiles(home: string): readonly string[] {
  return Array.from({ length: NODE_COUNT }, (_, index) => join(home, `operator-${index + 1}.json`));
}

function writeKeysAndGenesis(
  home: string,
  genesisFile: string,
  fullNodes: readonly FullNodeLayout[],
  nowMs: number,
  { testRoots, measurements }: TestHardware,
): void {
  const wallet = createWalletFile(join(home, 'wallet.json'));
  const faucet = createWalletFile(join(home, 'faucet.json'));
  const operators = operatorFiles(home).map((file) => createWalletFile(file));
  const validators = fullNodes.map(({ validatorKeyFile }) =>
    createValidatorKeyFile(join(home, validatorKeyFile)),
  );
  const spent =
    RESERVE +
    VALIDATOR_BOND * BigInt(validators.length) +
    WALLET_FUNDS +
    OPERATOR_FUNDS * BigInt(operators.length);
  const app: AppGenesis = {
    simulated: true,
    params: DEFAULT_PARAMS,
    reserveNopg: RESERVE,
    accounts: [
      { accountId: wallet.accountId, nopg: WALLET_FUNDS },
      { accountId: faucet.accountId, nopg: OPG_SUPPLY_NOPG - spent },
      ...operators.map(({ accountId }) => ({ accountId, nopg: OPERATOR_FUNDS })),
    ],
    validators: validators.map(({ publicKey }) => ({
      consensusKey: publicKey,
      operator: accountIdOf({ algorithm: 'ed25519', publicKey }),
      selfBond: VALIDATOR_BOND,
    })),
    assets: [{ asset: DEVNET_ASSET, symbol: DEVNET_ASSET_SYMBOL, issuer: faucet.accountId }],
    measurements,
    testRoots,
  };
  const chainId = `haca-devnet-${toHex(new Uint8Array(randomBytes(4)))}`;
  const document = makeGenesisDocument({ chainId, genesisTimeMs: nowMs, app });
  writeFileSync(genesisFile, `${JSON.stringify(document, null, 2)}\n`);
}
