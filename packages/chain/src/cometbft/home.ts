/** The home folder of CometBFT: its keys, its signer state and a configuration that says only what differs from its defaults. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { UsageError } from '@haca/primitives';
import { ensureNodeKey, type PeerId, writeValidatorKey } from './keys.ts';
import { writeFileDurably } from './write-file.ts';

/**
 * How patient consensus is. `local`: validators on one machine; `public`: validators around the world. A block with
 * transactions is made as soon as they are there.
 */
export const TIMINGS = {
  local: { proposeMs: 1_000, voteMs: 300, commitMs: 20, gossipSleepMs: 5, skipTimeoutCommit: true },
  public: { proposeMs: 2_000, voteMs: 500, commitMs: 500, gossipSleepMs: 50, skipTimeoutCommit: false },
} as const;
export type Timing = keyof typeof TIMINGS;

export interface StateSyncOptions {
  /** RPC URLs of two nodes or more; the second checks the first. */
  readonly rpcUrls: readonly string[];
  readonly trustHeight: number;
  /** Hash of the block at that height, hex. From somebody you trust: everything else is checked against it. */
  readonly trustHash: string;
  readonly trustPeriodHours: number;
}

export interface CometBftSettings {
  readonly moniker: string;
  readonly timing: Timing;
  /** Where peers connect, `host:port`. */
  readonly p2pAddress: string;
  /** What peers are told, if it is another address. */
  readonly externalAddress?: string;
  /** `id@host:port`, each held on to for ever. */
  readonly persistentPeers: readonly string[];
  /** `id@host:port`, asked for others' addresses. */
  readonly seeds: readonly string[];
  /** Several nodes behind one address, such as a network on one machine. */
  readonly sharedAddresses: boolean;
  /** Tell and ask peers for other peers' addresses; true if not said. Without it a node knows `persistentPeers` only. */
  readonly peerExchange?: boolean;
  readonly emptyBlockIntervalMs: number;
  readonly stateSync?: StateSyncOptions;
  /** Where CometBFT serves its metrics for Prometheus, `host:port`; nowhere if not said. */
  readonly metricsAddress?: string;
  /** CometBFT's levels, e.g. `error` or `consensus:info,*:error`. */
  readonly logLevel: string;
}

export interface CometBftHomeOptions {
  readonly folder: string;
  readonly genesisFile: string;
  /** 32 bytes. */
  readonly validatorSeed: Uint8Array;
  readonly applicationSocket: string;
  /** Where its RPC listens on 127.0.0.1. */
  readonly rpcPort: number;
  readonly settings: CometBftSettings;
}

export interface CometBftHome {
  readonly peerId: PeerId;
}

const RPC_BODY_BYTES_MAX = 1_500_000;
const NO_VOTES = { height: '0', round: 0, step: 0 };

/** Path of the node key below a home folder; may be made before the home is, to know a node's id. */
export function nodeKeyFile(folder: string): string {
  return join(folder, 'config', 'node_key.json');
}

/**
 * Writes what CometBFT reads at its start. Keys and signer state are made once; the signer state is never written again,
 * and never made beside blocks that exist, because a validator without its memory may sign twice.
 */
export function writeCometBftHome(options: CometBftHomeOptions): CometBftHome {
  const { folder, validatorSeed } = options;
  const data = join(folder, 'data');
  for (const each of [join(folder, 'config'), data]) mkdirSync(each, { recursive: true });
  const stateFile = join(data, 'priv_validator_state.json');
  if (!existsSync(stateFile)) {
    if (readdirSync(data).some((name) => name.endsWith('.db'))) {
      throw new UsageError(
        `${stateFile} is missing beside existing blocks: restore it, or remove ${data} and sync anew with another key`,
      );
    }
    writeFileDurably(stateFile, `${JSON.stringify(NO_VOTES)}\n`);
  }
  writeValidatorKey(join(folder, 'config', 'priv_validator_key.json'), validatorSeed);
  const peerId = ensureNodeKey(nodeKeyFile(folder));
  writeFileDurably(join(folder, 'config', 'config.toml'), configToml(options));
  return { peerId };
}

type TomlValue = string | number | boolean | readonly string[];

function configToml(options: CometBftHomeOptions): string {
  const { settings } = options;
  const timing = TIMINGS[settings.timing];
  return toml({
    '': {
      proxy_app: `unix://${options.applicationSocket}`,
      abci: 'socket',
      moniker: settings.moniker,
      genesis_file: resolve(options.genesisFile),
      log_level: settings.logLevel,
      log_format: 'plain',
    },
    rpc: {
      // CometBFT tells subscribers apart by their address, and all clients of a unix socket have the same.
      laddr: `tcp://127.0.0.1:${options.rpcPort}`,
      max_body_bytes: RPC_BODY_BYTES_MAX,
      max_request_batch_size: 20,
      max_open_connections: 1_100,
      max_subscription_clients: 500,
      pprof_laddr: '',
    },
    p2p: {
      laddr: `tcp://${settings.p2pAddress}`,
      external_address: settings.externalAddress ?? '',
      persistent_peers: settings.persistentPeers.join(','),
      seeds: settings.seeds.join(','),
      pex: settings.peerExchange ?? true,
      persistent_peers_max_dial_period: settings.sharedAddresses ? '1s' : '30s',
      addr_book_strict: !settings.sharedAddresses,
      allow_duplicate_ip: settings.sharedAddresses,
      flush_throttle_timeout: `${timing.gossipSleepMs}ms`,
    },
    mempool: { size: 5_000, max_txs_bytes: 64 * 1024 * 1024, cache_size: 10_000, max_tx_bytes: 1024 * 1024 },
    statesync: stateSyncTable(settings.stateSync),
    consensus: {
      timeout_propose: `${timing.proposeMs}ms`,
      timeout_propose_delta: `${timing.proposeMs / 2}ms`,
      timeout_prevote: `${timing.voteMs}ms`,
      timeout_prevote_delta: `${timing.voteMs / 2}ms`,
      timeout_precommit: `${timing.voteMs}ms`,
      timeout_precommit_delta: `${timing.voteMs / 2}ms`,
      timeout_commit: `${timing.commitMs}ms`,
      skip_timeout_commit: timing.skipTimeoutCommit,
      create_empty_blocks: false,
      create_empty_blocks_interval: `${settings.emptyBlockIntervalMs}ms`,
      peer_gossip_sleep_duration: `${timing.gossipSleepMs}ms`,
    },
    tx_index: { indexer: 'kv' },
    instrumentation:
      settings.metricsAddress === undefined
        ? { prometheus: false }
        : { prometheus: true, prometheus_listen_addr: settings.metricsAddress },
  });
}

function stateSyncTable(stateSync: StateSyncOptions | undefined): Readonly<Record<string, TomlValue>> {
  if (stateSync === undefined) return { enable: false };
  return {
    enable: true,
    rpc_servers: stateSync.rpcUrls.join(','),
    trust_height: stateSync.trustHeight,
    trust_hash: stateSync.trustHash,
    trust_period: `${stateSync.trustPeriodHours}h`,
    discovery_time: '5s',
  };
}

function toml(tables: Readonly<Record<string, Readonly<Record<string, TomlValue>>>>): string {
  return Object.entries(tables)
    .map(([name, table]) => {
      const lines = Object.entries(table).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
      return `${name === '' ? '' : `[${name}]\n`}${lines.join('\n')}\n`;
    })
    .join('\n');
}
