/**
 * Preparing a folder to join a network: keys of its own, the network's genesis, its peers, and where wished a point to sync
 * from. What is fetched from others is shown, so that a person can compare it with what somebody they trust says.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createValidatorKeyFile, ensureNodeKey, genesisHash, nodeKeyFile } from '@haca/chain';
import { parseGenesisDocument } from '@haca/light-client';
import { connectRpc, type RpcClient } from '@haca/platform';
import { toHex, UsageError } from '@haca/primitives';

export const INIT_HELP = `haca node full init: flags
  --home DIR            made; must not be there, or be empty of a node
  --from URL            RPC of a node of the network: its genesis and its peers; repeat it for more of them
  --genesis FILE        the genesis document, instead of the one that the first --from has
  --genesis-hash HEX    what the genesis must hash to: ask somebody you trust
  --peer ID@HOST:PORT   a peer besides those found; repeat it for more
  --state-sync          start from a recent state instead of every block; needs two --from, which must agree
  --p2p HOST:PORT       where peers connect (default 0.0.0.0:26656)
  --external HOST:PORT  what peers are told, where it differs
  --rpc-port PORT       of this node's RPC on 127.0.0.1 (default 26657)
  --moniker NAME        how this node is called
  --local               several nodes on one machine: short timeouts, peers may share an address
  --json                one JSON object

Examples
  haca node full init --home ~/haca --from http://a.example:26657 --from http://b.example:26657 --state-sync
  haca node full --config ~/haca/config.json
`;

/** Trusted that long after it was signed: well under the unbonding time, within which a signer can still be slashed. */
const TRUST_PERIOD_HOURS = 7 * 24;

type Flags = ReturnType<typeof readFlags>;

interface StateSyncPoint {
  readonly rpcUrls: readonly string[];
  readonly trustHeight: number;
  readonly trustHash: string;
  readonly trustPeriodHours: number;
}

/** Gives what to print. Throws `UsageError` before anything is written. */
export async function initFullNode(args: readonly string[]): Promise<string> {
  const flags = readFlags(args);
  if (flags.home === undefined) throw new UsageError('--home DIR is needed');
  const home = resolve(flags.home);
  const configFile = join(home, 'config.json');
  if (existsSync(configFile)) throw new UsageError(`${configFile} is there already: this folder has a node`);
  const document = flags.genesis === undefined ? await fetchGenesis(flags.from) : readJson(flags.genesis);
  const genesis = parseGenesisDocument(document);
  const hash = requireHash(toHex(genesisHash(genesis)), flags['genesis-hash']);
  const peers = [...flags.peer, ...(await Promise.all(flags.from.map(peerAt)))];
  const stateSync = flags['state-sync'] ? await agreedPoint(flags.from) : undefined;

  mkdirSync(home, { recursive: true, mode: 0o700 });
  const nodeKey = nodeKeyFile(join(home, 'node', 'cometbft'));
  mkdirSync(dirname(nodeKey), { recursive: true });
  const peerId = ensureNodeKey(nodeKey);
  const { publicKey } = createValidatorKeyFile(join(home, 'validator.json'));
  writeJson(join(home, 'genesis.json'), document);
  writeJson(configFile, configOf(flags, peers, stateSync));
  const facts = {
    chainId: genesis.chainId,
    genesisHash: hash,
    peerId,
    consensusKey: toHex(publicKey),
    peers,
  };
  return report(flags.json, { configFile, ...facts, stateSync: stateSync ?? null });
}

function readFlags(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        home: { type: 'string' },
        from: { type: 'string', multiple: true, default: [] },
        genesis: { type: 'string' },
        'genesis-hash': { type: 'string' },
        peer: { type: 'string', multiple: true, default: [] },
        'state-sync': { type: 'boolean', default: false },
        p2p: { type: 'string', default: '0.0.0.0:26656' },
        external: { type: 'string' },
        'rpc-port': { type: 'string', default: '26657' },
        moniker: { type: 'string', default: hostname() },
        local: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n\n${INIT_HELP}`);
  }
}

async function fetchGenesis([url]: readonly string[]): Promise<unknown> {
  if (url === undefined) throw new UsageError('--genesis FILE or --from URL is needed');
  return await withRpc(url, async (rpc) => ((await rpc.call('genesis')) as { genesis: unknown }).genesis);
}

function requireHash(hash: string, expected: string | undefined): string {
  if (expected === undefined || expected.toLowerCase() === hash) return hash;
  throw new UsageError(
    `the genesis has hash ${hash}, expected was ${expected}: another network's, or altered`,
  );
}

interface NodeInfo {
  readonly id: string;
  readonly listen_addr: string;
  readonly channels: string;
}

/** Where the node behind an RPC is met by peers: its own word, at the host that the RPC was reached at. */
async function peerAt(url: string): Promise<string> {
  return await withRpc(url, async (rpc) => {
    const { node_info: info } = (await rpc.call('status')) as { readonly node_info: NodeInfo };
    const port = /:([0-9]{1,5})$/.exec(info.listen_addr)?.[1];
    // The embedded engine has no channels: nobody can be its peer.
    if (!/^[0-9a-f]{40}$/.test(info.id) || port === undefined || info.channels === '') {
      throw new UsageError(`${url} is no node on CometBFT: it can't be a peer`);
    }
    return `${info.id}@${new URL(url).hostname}:${port}`;
  });
}

/** A recent block that all of them have: its hash is what state sync trusts. */
async function agreedPoint(urls: readonly string[]): Promise<StateSyncPoint> {
  if (urls.length < 2) throw new UsageError('--state-sync needs two --from or more: one checks the other');
  const heights = await Promise.all(
    urls.map((url) => withRpc(url, async (rpc) => (await rpc.status()).height)),
  );
  const trustHeight = Math.max(1, Math.min(...heights) - 1);
  const hashes = await Promise.all(urls.map((url) => withRpc(url, (rpc) => blockHashAt(rpc, trustHeight))));
  const trustHash = hashes[0] as string;
  if (hashes.some((hash) => hash !== trustHash)) {
    throw new UsageError(
      `they do not agree on block ${trustHeight}: ${urls.map((url, i) => `${url} has ${hashes[i]}`).join(', ')}`,
    );
  }
  return { rpcUrls: urls, trustHeight, trustHash, trustPeriodHours: TRUST_PERIOD_HOURS };
}

async function blockHashAt(rpc: RpcClient, height: number): Promise<string> {
  const { block_id: id } = (await rpc.call('block', { height: `${height}` })) as {
    block_id: { hash: string };
  };
  return id.hash;
}

async function withRpc<T>(url: string, use: (rpc: RpcClient) => Promise<T>): Promise<T> {
  const rpc = connectRpc(url);
  try {
    return await use(rpc);
  } finally {
    rpc.close();
  }
}

function configOf(flags: Flags, peers: readonly string[], stateSync: StateSyncPoint | undefined): object {
  return {
    home: 'node',
    genesisFile: 'genesis.json',
    validatorKeyFile: 'validator.json',
    host: '127.0.0.1',
    rpcPort: Number(flags['rpc-port']),
    engine: 'cometbft',
    cometbft: {
      moniker: flags.moniker,
      timing: flags.local ? 'local' : 'public',
      p2pAddress: flags.p2p,
      ...(flags.external === undefined ? {} : { externalAddress: flags.external }),
      persistentPeers: peers,
      sharedAddresses: flags.local,
      ...(stateSync === undefined ? {} : { stateSync }),
    },
  };
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`, { flag: 'wx', mode: 0o600 });
}

function report(json: boolean, facts: Readonly<Record<string, unknown>>): string {
  if (json) return `${JSON.stringify(facts, null, 2)}\n`;
  const { configFile, chainId, genesisHash: hash, peerId, consensusKey, peers, stateSync } = facts;
  const sync = stateSync as StateSyncPoint | null;
  const lines = [
    `chain          ${chainId}`,
    `genesis hash   ${hash}`,
    ...(sync === null ? [] : [`trusted block  ${sync.trustHeight} ${sync.trustHash}`]),
    `               ↑ compare with what somebody you trust says`,
    `this node      ${peerId}, consensus key ${consensusKey}`,
    `peers          ${(peers as readonly string[]).join('\n               ') || 'none: add persistentPeers to the configuration'}`,
    '',
    `Start it       haca node full --config ${String(configFile)}`,
    'Keep           validator.json: it is the vote of this node. Never run it in two places.',
  ];
  return `${lines.join('\n')}\n`;
}
