import { toHex } from '@haca/primitives';
import { asArray, asHex, asInteger, asObject, asText, asTextOrNull, bad } from './json.ts';

/** Where a running network is: what a devnet writes for the tools that look for it. Paths as in the file. */
export interface NetworkFile {
  readonly chainId: string;
  readonly simulated: boolean;
  readonly pid: number;
  readonly startedAtMs: number;
  readonly rpcUrl: string;
  readonly explorerUrl: string | null;
  readonly genesisFile: string;
  readonly walletFile: string | null;
  readonly asset: number;
  readonly nodes: readonly { readonly url: string; readonly nodeId: Uint8Array }[];
  /** The wallet that gives money away on a devnet: holds OPG and issues the fee asset. */
  readonly faucet: { readonly walletFile: string } | null;
}

export function parseNetworkFile(value: unknown): NetworkFile {
  const doc = asObject(value, 'network');
  if (doc['version'] !== 1) throw bad('network.version', '1', doc['version']);
  const faucet = doc['faucet'] ?? null;
  return {
    chainId: asText(doc['chainId'], 'network.chainId', 50),
    simulated: doc['simulated'] === true,
    pid: asInteger(doc['pid'] ?? 0, 'network.pid'),
    startedAtMs: asInteger(doc['startedAtMs'] ?? 0, 'network.startedAtMs'),
    rpcUrl: asText(doc['rpcUrl'], 'network.rpcUrl'),
    explorerUrl: asTextOrNull(doc['explorerUrl'], 'network.explorerUrl'),
    genesisFile: asText(doc['genesisFile'], 'network.genesisFile', 4096),
    walletFile: asTextOrNull(doc['walletFile'], 'network.walletFile', 4096),
    asset: asInteger(doc['asset'] ?? 1, 'network.asset'),
    nodes: asArray(doc['nodes'] ?? [], 'network.nodes', 1000).map((entry, i) => {
      const path = `network.nodes.${i}`;
      const node = asObject(entry, path);
      return { url: asText(node['url'], `${path}.url`), nodeId: asHex(node['nodeId'], `${path}.nodeId`, 32) };
    }),
    faucet:
      faucet === null
        ? null
        : {
            walletFile: asText(
              asObject(faucet, 'network.faucet')['walletFile'],
              'network.faucet.walletFile',
              4096,
            ),
          },
  };
}

/** The JSON form of the same file. */
export function formatNetworkFile(network: NetworkFile): Readonly<Record<string, unknown>> {
  return {
    version: 1,
    ...network,
    nodes: network.nodes.map(({ url, nodeId }) => ({ url, nodeId: toHex(nodeId) })),
  };
}
