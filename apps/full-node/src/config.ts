/** The configuration file of a full node: JSON, paths relative to the file's own folder. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import {
  COMETBFT_VERSION,
  type CometBftSettings,
  type CometBftVersion,
  parseCometBftVersion,
  type StateSyncOptions,
  TIMINGS,
  type Timing,
} from '@haca/chain';
import type { ListenOptions } from '@haca/platform';
import { UsageError } from '@haca/primitives';
import { type JsonObject, readObject } from './json-object.ts';

export interface FullNodeConfig {
  readonly home: string;
  readonly genesisFile: string;
  readonly validatorKeyFile: string;
  readonly rpc: ListenOptions;
  readonly emptyBlockIntervalMs: number;
  /** Undefined: whatever genesis says of `simulated`. */
  readonly checkInvariants: boolean | undefined;
  readonly engine: EmbeddedConfig | CometBftConfig;
}

export interface EmbeddedConfig {
  readonly kind: 'embedded';
  readonly blockIntervalMs: number;
}

export interface CometBftConfig {
  readonly kind: 'cometbft';
  readonly version: CometBftVersion;
  /** A program to run instead of building `version`. */
  readonly binary: string | undefined;
  /** Every ABCI call is written down here; grows without bound. */
  readonly callLogFile: string | undefined;
  readonly settings: CometBftSettings;
  /** How often the state is offered to nodes that join by state sync; 0: never. */
  readonly snapshotIntervalHeights: number;
  /** Newest blocks to keep; 0: all. */
  readonly retainBlocks: number;
}

const HOUR_MS = 3_600_000;

/** Throws `UsageError` naming the member that is wrong. */
export function readConfig(path: string): FullNodeConfig {
  const folder = dirname(resolve(path));
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${path} is not readable JSON`, { cause });
  }
  const config = readObject(path, json, [
    'home',
    'genesisFile',
    'validatorKeyFile',
    'host',
    'rpcPort',
    'anyPortIfTaken',
    'blockIntervalMs',
    'emptyBlockIntervalMs',
    'checkInvariants',
    'engine',
    'cometbft',
  ]);
  const emptyBlockIntervalMs = config.integer('emptyBlockIntervalMs', 0, HOUR_MS, 10_000);
  return {
    home: resolve(folder, config.text('home')),
    genesisFile: resolve(folder, config.text('genesisFile')),
    validatorKeyFile: resolve(folder, config.text('validatorKeyFile')),
    rpc: {
      host: config.text('host', '127.0.0.1'),
      port: config.integer('rpcPort', 0, 65_535, 26_657),
      anyPortIfTaken: config.flag('anyPortIfTaken', false),
    },
    emptyBlockIntervalMs,
    checkInvariants: config.has('checkInvariants') ? config.flag('checkInvariants', false) : undefined,
    engine:
      config.choice('engine', ['embedded', 'cometbft'], 'embedded') === 'embedded'
        ? embeddedConfig(path, config)
        : cometBftConfig(path, config, emptyBlockIntervalMs, folder),
  };
}

function embeddedConfig(path: string, config: JsonObject): EmbeddedConfig {
  if (config.has('cometbft')) throw new UsageError(`${path}: cometbft is for engine "cometbft"`);
  return { kind: 'embedded', blockIntervalMs: config.integer('blockIntervalMs', 0, HOUR_MS, 50) };
}

function cometBftConfig(
  path: string,
  config: JsonObject,
  emptyBlockIntervalMs: number,
  folder: string,
): CometBftConfig {
  if (config.has('blockIntervalMs'))
    throw new UsageError(`${path}: blockIntervalMs is for engine "embedded"; see cometbft.timing`);
  const member = config.object('cometbft', [
    'version',
    'binary',
    'callLogFile',
    'moniker',
    'timing',
    'p2pAddress',
    'externalAddress',
    'persistentPeers',
    'seeds',
    'sharedAddresses',
    'peerExchange',
    'stateSync',
    'metricsAddress',
    'logLevel',
    'snapshotIntervalHeights',
    'retainBlocks',
  ]);
  const stateSync = member.has('stateSync') ? stateSyncOptions(path, member) : undefined;
  return {
    kind: 'cometbft',
    version: parseCometBftVersion(member.text('version', COMETBFT_VERSION)),
    binary: member.has('binary') ? resolve(folder, member.text('binary')) : undefined,
    callLogFile: member.has('callLogFile') ? resolve(folder, member.text('callLogFile')) : undefined,
    snapshotIntervalHeights: member.integer('snapshotIntervalHeights', 0, Number.MAX_SAFE_INTEGER, 1_000),
    retainBlocks: member.integer('retainBlocks', 0, Number.MAX_SAFE_INTEGER, 0),
    settings: {
      moniker: member.text('moniker', 'haca-full-node'),
      timing: member.choice('timing', Object.keys(TIMINGS) as Timing[], 'public'),
      p2pAddress: member.text('p2pAddress', '0.0.0.0:26656'),
      ...(member.has('externalAddress') ? { externalAddress: member.text('externalAddress') } : {}),
      persistentPeers: member.texts('persistentPeers'),
      seeds: member.texts('seeds'),
      sharedAddresses: member.flag('sharedAddresses', false),
      peerExchange: member.flag('peerExchange', true),
      emptyBlockIntervalMs,
      ...(stateSync === undefined ? {} : { stateSync }),
      ...(member.has('metricsAddress') ? { metricsAddress: member.text('metricsAddress') } : {}),
      logLevel: member.text('logLevel', 'error'),
    },
  };
}

function stateSyncOptions(path: string, config: JsonObject): StateSyncOptions {
  const member = config.object('stateSync', ['rpcUrls', 'trustHeight', 'trustHash', 'trustPeriodHours']);
  const rpcUrls = member.texts('rpcUrls');
  const trustHash = member.text('trustHash');
  if (rpcUrls.length < 2)
    throw new UsageError(`${path}: stateSync.rpcUrls needs two nodes or more: one checks the other`);
  if (!/^[0-9a-fA-F]{64}$/.test(trustHash))
    throw new UsageError(`${path}: stateSync.trustHash must be the hash of a block, 64 hex digits`);
  return {
    rpcUrls,
    trustHeight: member.integer('trustHeight', 1, Number.MAX_SAFE_INTEGER),
    trustHash,
    trustPeriodHours: member.integer('trustPeriodHours', 1, 24 * 365, 24 * 7),
  };
}
