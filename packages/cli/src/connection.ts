/** Which network a command talks to: what flags say, else the devnet that runs here. */
import { readFileSync } from 'node:fs';
import { connectRpc } from '@haca/platform';
import { ASSURANCE_TIERS, ASSURANCES, type Assurance, type AssuranceTier } from '@haca/protocol';
import {
  type GenesisDocument,
  type Haca,
  type NetworkFile,
  networkFilePath,
  openHaca,
  type Policy,
  parseGenesisDocument,
  parseTrustedHeader,
  readNetworkFile,
  readWalletFile,
  type Trust,
  type WalletFile,
} from '@haca/sdk/node';
import { type Call, CommandLineError, type Flag } from './command.ts';

export const NETWORK_FLAGS: Readonly<Record<string, Flag>> = {
  rpc: { value: 'URL', help: 'JSON-RPC of a full node (default: the devnet running here)' },
  genesis: { value: 'FILE', help: 'trust the chain from this genesis document' },
  trust: { value: 'HEIGHT:HASH', help: 'trust this block instead of the genesis' },
};

export const POLICY_FLAGS: Readonly<Record<string, Flag>> = {
  'min-assurance': {
    value: 'LEVEL',
    help: `weakest assurance accepted: ${ASSURANCES.join(', ')} (default tee)`,
  },
  'min-tier': {
    value: 'TIER',
    help: 'least that is known of the host of a tee answer: unknown-host, registered-hardware, cloud (default unknown-host)',
  },
  'accept-simulated': { help: 'let a test enclave count as tee (default only on a simulated devnet)' },
};

export interface Network {
  readonly file: NetworkFile | null;
  readonly rpcUrl: string;
  readonly trust: Trust;
  readonly genesis: GenesisDocument | null;
}

export const NO_NETWORK = `no network is given and none runs here (${networkFilePath()}).
Start one:   npm start        (or: haca devnet)
Or name one: --rpc URL --genesis FILE`;

export async function findNetwork(call: Call): Promise<Network> {
  const rpcFlag = call.text('rpc');
  // A devnet's genesis says nothing about a chain that was named by URL.
  const file = rpcFlag === undefined ? readNetworkFile() : null;
  const rpcUrl = rpcFlag ?? file?.rpcUrl;
  if (rpcUrl === undefined) throw new CommandLineError(NO_NETWORK);
  const genesisFile = call.text('genesis') ?? file?.genesisFile;
  const genesis = genesisFile === undefined ? null : readGenesis(genesisFile);
  return { file, rpcUrl, genesis, trust: await findTrust(call, rpcUrl, genesis) };
}

async function findTrust(call: Call, rpcUrl: string, genesis: GenesisDocument | null): Promise<Trust> {
  const header = call.text('trust');
  if (header !== undefined) {
    const { chainId } = genesis ?? (await connectRpc(rpcUrl).status());
    return { ...parseTrustedHeader(header), chainId, ...(genesis === null ? {} : { genesis }) };
  }
  if (genesis !== null) return { genesis };
  throw new CommandLineError(
    'with --rpc say what you trust: --genesis FILE or --trust HEIGHT:HASH (the server is asked for bytes, never for trust)',
  );
}

export function readGenesis(path: string): GenesisDocument {
  return parseGenesisDocument(new Uint8Array(readFileSync(path)));
}

export function policyOf(call: Call, simulated: boolean): Partial<Policy> {
  const level = call.text('min-assurance');
  const minAssurance =
    level === undefined ? 'tee' : ASSURANCES.find((each): each is Assurance => each === level);
  if (minAssurance === undefined) {
    throw new CommandLineError(`--min-assurance is one of ${ASSURANCES.join(', ')}, not ${level}`);
  }
  const acceptSimulated = call.has('accept-simulated') || simulated;
  return { minAssurance, acceptSimulated, ...tierOf(call.text('min-tier')) };
}

function tierOf(text: string | undefined): Partial<Policy> {
  if (text === undefined) return {};
  const minTier = ASSURANCE_TIERS.find((each): each is AssuranceTier => each === text);
  if (minTier !== undefined) return { minTier };
  throw new CommandLineError(`--min-tier is one of ${ASSURANCE_TIERS.join(', ')}, not ${text}`);
}

export function findWallet(call: Call, network: Network): WalletFile {
  const path = call.text('wallet') ?? network.file?.walletFile ?? undefined;
  if (path === undefined) {
    throw new CommandLineError('which wallet pays? --wallet FILE (make one: haca wallet new --wallet FILE)');
  }
  return readWalletFile(path);
}

/** A client that reads and verifies, and pays if it has a wallet. */
export async function openClient(
  call: Call,
  network: Network,
  wallet: WalletFile | null,
  nodes: readonly string[] = [],
): Promise<Haca> {
  // Only the devnet's own file says "simulated" without being asked.
  const simulated = network.file?.simulated === true && network.genesis?.app.simulated === true;
  return openHaca({
    rpcUrl: network.rpcUrl,
    trust: network.trust,
    wallet,
    policy: policyOf(call, simulated),
    channel: { asset: network.file?.asset ?? 1 },
    ...(nodes.length === 0 ? {} : { nodes }),
  });
}
