/** The SDK with Node's defaults: native crypto, wallet files, and the file a running devnet leaves for its tools. */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fromBase64, type GenesisDocument, parseGenesisDocument } from '@haca/light-client';
import { ed25519SignerFromSeed, nodeCrypto, nodeZkKernels } from '@haca/platform';
import { bytesEqual, MalformedError, toHex, UsageError } from '@haca/primitives';
import { accountOf } from './chain/transactions.ts';
import {
  EMPTY_WALLET_STATE,
  formatWalletState,
  parseWalletState,
  type WalletKey,
  type WalletStore,
} from './chain/wallet.ts';
import { openHaca as openCore } from './client.ts';
import { asHex, asObject, parseJson } from './json.ts';
import { formatNetworkFile, type NetworkFile, parseNetworkFile } from './network-file.ts';
import type { Haca, HacaOptions } from './options.ts';
import type { Platform, Signer } from './platform.ts';

export * from './index.ts';

export const nodePlatform: Platform = {
  crypto: nodeCrypto,
  signerFromSeed: ed25519SignerFromSeed,
  zkKernels: nodeZkKernels,
};

/** `openHaca` with Node's crypto. */
export function openHaca(
  options: Omit<HacaOptions, 'platform'> & { readonly platform?: Platform },
): Promise<Haca> {
  return openCore({ platform: nodePlatform, ...options });
}

/** A wallet file, opened: pass it as `wallet` to `openHaca`. */
export interface WalletFile extends WalletKey {
  readonly path: string;
  readonly accountId: Uint8Array;
  readonly signer: Signer;
}

const PRIVATE_MODE = 0o600;

/** Writes a new wallet, readable by its owner only. Never overwrites: throws `UsageError` where the file exists. */
export function createWalletFile(
  path: string,
  seed: Uint8Array = new Uint8Array(randomBytes(32)),
): WalletFile {
  const signer = ed25519SignerFromSeed(seed);
  const text = JSON.stringify(
    {
      version: 1,
      kind: 'haca-wallet',
      accountId: toHex(accountOf(signer)),
      publicKey: toHex(signer.publicKey),
      seed: toHex(seed),
    },
    null,
    2,
  );
  mkdirSync(dirname(resolve(path)), { recursive: true });
  try {
    writeFileSync(path, `${text}\n`, { mode: PRIVATE_MODE, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new UsageError(`${path} exists already`);
    throw error;
  }
  return walletFileOf(path, signer);
}

/** Opens a wallet file; refuses one that others can read. */
export function readWalletFile(path: string): WalletFile {
  requirePrivate(path);
  const doc = asObject(parseJson(readFileSync(path, 'utf8'), path), path);
  if (doc['version'] !== 1 || doc['kind'] !== 'haca-wallet') {
    throw new MalformedError('wallet.kind', path, 'a haca-wallet file of version 1', String(doc['kind']));
  }
  const signer = ed25519SignerFromSeed(asHex(doc['seed'], `${path}.seed`, 32));
  if (doc['publicKey'] !== toHex(signer.publicKey)) {
    throw new MalformedError('wallet.key', path, toHex(signer.publicKey), String(doc['publicKey']));
  }
  return walletFileOf(path, signer);
}

function walletFileOf(path: string, signer: Signer): WalletFile {
  return { path, signer, accountId: accountOf(signer), store: openWalletStore(path) };
}

/** Session keys and channels of a wallet, in `<wallet>.state.json` beside it. */
export function openWalletStore(walletPath: string): WalletStore {
  const path = `${walletPath.replace(/\.json$/, '')}.state.json`;
  return {
    load: () =>
      Promise.resolve(
        existsSync(path) ? parseWalletState(parseJson(readFileSync(path, 'utf8'), path)) : EMPTY_WALLET_STATE,
      ),
    save: (state) => {
      writeAtomically(path, formatWalletState(state), PRIVATE_MODE);
      return Promise.resolve();
    },
  };
}

/** Readers see the old file or the new one, never half of one. */
function writeAtomically(path: string, text: string, mode: number): void {
  mkdirSync(dirname(resolve(path)), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode });
  chmodSync(temporary, mode);
  renameSync(temporary, path);
}

/** `$HACA_HOME`, or `.haca` in the root of the repository. */
export function hacaHome(): string {
  return process.env['HACA_HOME'] ?? resolve(import.meta.dirname, '..', '..', '..', '.haca');
}

export function networkFilePath(): string {
  return join(hacaHome(), 'devnet', 'network.json');
}

/** Reads a network file; its paths come back absolute. Null where there is none. */
export function readNetworkFile(path: string = networkFilePath()): NetworkFile | null {
  if (!existsSync(path)) return null;
  const network = parseNetworkFile(parseJson(readFileSync(path, 'utf8'), path));
  const absolute = (file: string): string => resolve(dirname(path), file);
  return {
    ...network,
    genesisFile: absolute(network.genesisFile),
    walletFile: network.walletFile === null ? null : absolute(network.walletFile),
    faucet: network.faucet === null ? null : { walletFile: absolute(network.faucet.walletFile) },
  };
}

export function writeNetworkFile(network: NetworkFile, path: string = networkFilePath()): void {
  writeAtomically(path, `${JSON.stringify(formatNetworkFile(network), null, 2)}\n`, 0o644);
}

const COMETBFT_PRIVATE_KEY = 'tendermint/PrivKeyEd25519';

/**
 * The key that a validator votes with: CometBFT's `priv_validator_key.json`, or a `haca-validator` file. Refuses one that
 * others can read.
 */
export function readConsensusKeyFile(path: string): Signer {
  requirePrivate(path);
  const doc = asObject(parseJson(readFileSync(path, 'utf8'), path), path);
  if (doc['kind'] === 'haca-validator' && doc['version'] === 1) {
    return ed25519SignerFromSeed(asHex(doc['seed'], `${path}.seed`, 32));
  }
  const key = asObject(doc['priv_key'] ?? {}, `${path}.priv_key`);
  const bytes =
    key['type'] === COMETBFT_PRIVATE_KEY && typeof key['value'] === 'string'
      ? fromBase64(key['value'], `${path}.priv_key.value`)
      : new Uint8Array(0);
  if (bytes.length !== 64) {
    throw new MalformedError(
      'consensus-key.form',
      path,
      `a haca-validator file, or priv_key of type ${COMETBFT_PRIVATE_KEY}`,
      'another document',
    );
  }
  const signer = ed25519SignerFromSeed(bytes.slice(0, 32));
  if (!bytesEqual(signer.publicKey, bytes.subarray(32))) {
    throw new MalformedError('consensus-key.key', path, toHex(signer.publicKey), toHex(bytes.subarray(32)));
  }
  return signer;
}

function requirePrivate(path: string): void {
  if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0) {
    throw new UsageError(`${path} can be read by others; run: chmod 600 ${path}`);
  }
}

export function readGenesisFile(path: string): GenesisDocument {
  return parseGenesisDocument(parseJson(readFileSync(path, 'utf8'), path));
}
