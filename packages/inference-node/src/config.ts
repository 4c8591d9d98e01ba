/** The configuration file of an inference node, parsed strictly: an unknown member is a typing mistake. */
import { dirname, resolve } from 'node:path';
import type { ListenOptions } from '@haca/platform';
import { GPUS_MAX, ZK_BATCH_MAX } from '@haca/protocol';

export interface UpstreamConfig {
  readonly kind: 'upstream';
  readonly baseUrl: string;
  readonly apiKeyEnv: string | null;
  /** False only if the upstream runs inside the same measured host. */
  readonly proxied: boolean;
  readonly models: readonly {
    readonly name: string;
    readonly upstreamName: string;
    readonly contextTokens: number;
    readonly license: string;
  }[];
}

/** A model whose answers are proved: a file with verifying key and weights. */
export interface ZkConfig {
  readonly kind: 'zk';
  readonly file: string;
  /** Base units for one inference; null: the node's price for a request. */
  readonly price: bigint | null;
  /** Most inferences that are proved together; the verifying key may allow fewer. */
  readonly batchMaxCount: number;
  readonly license: string;
  /** Threads that a proof is made with; null: as many as the machine has cores, less one. */
  readonly proverThreads: number | null;
}

export type ChatEngineConfig = { readonly kind: 'onnx'; readonly dir: string } | UpstreamConfig;
export type EngineConfig = ChatEngineConfig | ZkConfig;

/** Where evidence comes from (docs/attester.md). */
export type AttesterConfig =
  | { readonly kind: 'none' }
  | ((TestEnclaveConfig | TsmConfig | DstackConfig | NitroConfig) & { readonly gpu: GpuConfig | null });

/** Proves nothing; for networks whose genesis says that they are simulated. */
export interface TestEnclaveConfig {
  readonly kind: 'test-enclave';
  readonly shape: 'nitro' | 'tdx' | 'snp';
  readonly rootSeedFile: string;
  readonly image: string;
  /** Of shape `tdx`: the platform it stands on, read anew for each document (docs/attester.md); null: one of its own. */
  readonly platformFile: string | null;
}

/** A confidential guest of Linux 6.7 or later. */
export interface TsmConfig {
  readonly kind: 'tsm';
  readonly guest: 'tdx' | 'snp';
  /** SNP: VMPL to ask for; null: the kernel's choice. */
  readonly privlevel: number | null;
  /** SNP: folder with the certificates that the host does not bring. */
  readonly certificatesDir: string | null;
}

export interface DstackConfig {
  readonly kind: 'dstack';
  readonly socketPath: string;
}

export interface NitroConfig {
  readonly kind: 'nitro';
  /** Program and arguments of the bridge to the Nitro Security Module. */
  readonly bridge: readonly [string, ...string[]];
}

/** GPUs beside the enclave: a command that prints their evidence, or test GPUs beside a test enclave. */
export type GpuConfig =
  | { readonly kind: 'command'; readonly command: readonly [string, ...string[]]; readonly timeoutMs: number }
  | { readonly kind: 'test'; readonly count: number };

export interface NodeConfig {
  readonly dataDir: string;
  readonly rpcUrl: string;
  /** Wallet file of the operator: pays for transactions, signs offers, receives the fees. */
  readonly operatorFile: string;
  readonly name: string;
  readonly listen: ListenOptions;
  /** How clients reach it; host and port if null. */
  readonly publicUrl: string | null;
  /** PEM files it speaks TLS with itself; null: plain HTTP. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  readonly bondNopg: bigint;
  readonly attester: AttesterConfig;
  readonly engines: readonly EngineConfig[];
  readonly prices: {
    readonly asset: number;
    readonly inputPrice: bigint;
    readonly cachedInputPrice: bigint;
    readonly outputPrice: bigint;
    readonly requestPrice: bigint;
    readonly minCharge: bigint;
  };
  readonly settlement: {
    readonly batchMaxCount: number;
    readonly batchMaxAgeMs: number;
    readonly redeemMinNcr: bigint;
    readonly redeemMaxAgeMs: number;
    readonly linesMax: number;
    readonly maxFeeNopg: bigint;
  };
}

/** A configuration that can't be used; names the member and what was expected there. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

type Json = Readonly<Record<string, unknown>>;

/** Paths in the file are relative to the file's own folder. */
export function parseNodeConfig(value: unknown, file: string): NodeConfig {
  const folder = dirname(resolve(file));
  const doc = object(value, '', [
    'dataDir',
    'rpcUrl',
    'operatorFile',
    'name',
    'host',
    'port',
    'anyPortIfTaken',
    'publicUrl',
    'tls',
    'bondNopg',
    'attester',
    'engines',
    'prices',
    'settlement',
  ]);
  const engines = doc['engines'];
  if (!Array.isArray(engines) || engines.length === 0) throw bad('engines', 'a list of at least one engine');
  return {
    dataDir: resolve(folder, text(doc, 'dataDir')),
    rpcUrl: text(doc, 'rpcUrl'),
    operatorFile: resolve(folder, text(doc, 'operatorFile')),
    name: text(doc, 'name'),
    listen: {
      host: text(doc, 'host', '127.0.0.1'),
      port: integer(doc, 'port', 65_535, 0),
      anyPortIfTaken: flag(doc, 'anyPortIfTaken'),
    },
    publicUrl: doc['publicUrl'] === undefined || doc['publicUrl'] === null ? null : text(doc, 'publicUrl'),
    tls: parseTls(doc['tls'], folder),
    bondNopg: amount(doc, 'bondNopg', 5_000_000_000_000n),
    attester: parseAttester(doc['attester'], folder),
    engines: engines.map((engine, i) => parseEngine(engine, `engines.${i}`, folder)),
    prices: parsePrices(doc['prices']),
    settlement: parseSettlement(doc['settlement'] ?? {}),
  };
}

function parseTls(value: unknown, folder: string): NodeConfig['tls'] {
  if (value === undefined || value === null) return null;
  const doc = object(value, 'tls', ['certificateFile', 'keyFile']);
  return {
    certificateFile: resolve(folder, text(doc, 'certificateFile')),
    keyFile: resolve(folder, text(doc, 'keyFile')),
  };
}

function parseAttester(value: unknown, folder: string): AttesterConfig {
  const { kind } = object(value, 'attester', null) as { kind?: unknown };
  if (kind === 'none') {
    object(value, 'attester', ['kind']);
    return { kind };
  }
  const members = (...names: readonly string[]): Json => object(value, 'attester', ['kind', 'gpu', ...names]);
  if (kind === 'test-enclave') {
    const doc = members('shape', 'rootSeedFile', 'image', 'platformFile');
    const shape = oneOf(doc, 'attester', 'shape', ['nitro', 'tdx', 'snp'], 'nitro');
    const hasPlatform = doc['platformFile'] !== undefined && doc['platformFile'] !== null;
    if (hasPlatform && shape !== 'tdx') throw bad('attester.platformFile', 'left out for this shape');
    return {
      kind,
      shape,
      platformFile: hasPlatform ? resolve(folder, text(doc, 'platformFile')) : null,
      rootSeedFile: resolve(folder, text(doc, 'rootSeedFile')),
      image: text(doc, 'image'),
      gpu: parseGpu(doc, true),
    };
  }
  if (kind === 'tsm') return parseTsm(members('guest', 'privlevel', 'certificatesDir'), folder);
  if (kind === 'dstack') {
    const doc = members('socketPath');
    return { kind, socketPath: text(doc, 'socketPath', '/var/run/dstack.sock'), gpu: parseGpu(doc, false) };
  }
  if (kind !== 'nitro') throw bad('attester.kind', 'none, test-enclave, tsm, dstack or nitro');
  const doc = members('bridge');
  return { kind, bridge: command(doc, 'attester', 'bridge'), gpu: parseGpu(doc, false) };
}

function parseTsm(doc: Json, folder: string): AttesterConfig {
  const guest = oneOf(doc, 'attester', 'guest', ['tdx', 'snp']);
  const has = (name: string): boolean => doc[name] !== undefined && doc[name] !== null;
  for (const name of ['privlevel', 'certificatesDir'])
    if (guest === 'tdx' && has(name)) throw bad(`attester.${name}`, 'left out for a TDX guest');
  return {
    kind: 'tsm',
    guest,
    privlevel: has('privlevel') ? integer(doc, 'privlevel', 3, 0) : null,
    certificatesDir: has('certificatesDir') ? resolve(folder, text(doc, 'certificatesDir')) : null,
    gpu: parseGpu(doc, false),
  };
}

function parseGpu(attester: Json, isTestEnclave: boolean): GpuConfig | null {
  const value = attester['gpu'];
  if (value === undefined || value === null) return null;
  const doc = object(value, 'attester.gpu', ['command', 'timeoutMs', 'testGpus']);
  if (doc['testGpus'] === undefined) {
    const timeoutMs = integer(doc, 'timeoutMs', 600_000, 60_000);
    return { kind: 'command', command: command(doc, 'attester.gpu', 'command'), timeoutMs };
  }
  if (!isTestEnclave) throw bad('attester.gpu.testGpus', 'beside a test enclave only');
  object(value, 'attester.gpu', ['testGpus']);
  const count = integer(doc, 'testGpus', GPUS_MAX, 0);
  if (count === 0) throw bad('attester.gpu.testGpus', `an integer of 1 to ${GPUS_MAX}`);
  return { kind: 'test', count };
}

function parseEngine(value: unknown, path: string, folder: string): EngineConfig {
  const { kind } = object(value, path, null) as { kind?: unknown };
  if (kind === 'onnx') {
    return { kind, dir: resolve(folder, text(object(value, path, ['kind', 'dir']), 'dir')) };
  }
  if (kind === 'zk') return parseZkEngine(value, path, folder);
  if (kind !== 'upstream') throw bad(`${path}.kind`, 'onnx, upstream or zk');
  const doc = object(value, path, ['kind', 'baseUrl', 'apiKeyEnv', 'proxied', 'models']);
  const models = doc['models'];
  if (!Array.isArray(models) || models.length === 0)
    throw bad(`${path}.models`, 'a list of at least one model');
  return {
    kind,
    baseUrl: text(doc, 'baseUrl'),
    apiKeyEnv: doc['apiKeyEnv'] === undefined || doc['apiKeyEnv'] === null ? null : text(doc, 'apiKeyEnv'),
    proxied: doc['proxied'] !== false,
    models: models.map((entry, i) => {
      const model = object(entry, `${path}.models.${i}`, [
        'name',
        'upstreamName',
        'contextTokens',
        'license',
      ]);
      const name = text(model, 'name');
      return {
        name,
        upstreamName: text(model, 'upstreamName', name),
        contextTokens: integer(model, 'contextTokens', 0xffff_ffff, 8_192),
        license: text(model, 'license', 'unknown'),
      };
    }),
  };
}

function parseZkEngine(value: unknown, path: string, folder: string): ZkConfig {
  const doc = object(value, path, ['kind', 'file', 'price', 'batchMaxCount', 'license', 'proverThreads']);
  const batchMaxCount = integer(doc, 'batchMaxCount', ZK_BATCH_MAX, 64);
  if (batchMaxCount < 1) throw bad(`${path}.batchMaxCount`, `an integer of 1 to ${ZK_BATCH_MAX}`);
  const hasThreads = doc['proverThreads'] !== undefined && doc['proverThreads'] !== null;
  return {
    kind: 'zk',
    file: resolve(folder, text(doc, 'file')),
    price: doc['price'] === undefined || doc['price'] === null ? null : amount(doc, 'price'),
    batchMaxCount,
    license: text(doc, 'license', 'unknown'),
    proverThreads: hasThreads ? integer(doc, 'proverThreads', 256, 1) : null,
  };
}

function parsePrices(value: unknown): NodeConfig['prices'] {
  const doc = object(value, 'prices', [
    'asset',
    'inputPrice',
    'cachedInputPrice',
    'outputPrice',
    'requestPrice',
    'minCharge',
  ]);
  const inputPrice = amount(doc, 'inputPrice');
  const cachedInputPrice = amount(doc, 'cachedInputPrice');
  // What a request reserves assumes that nothing is cached: that has to be the dearer case.
  if (cachedInputPrice > inputPrice) throw bad('cachedInputPrice', `at most inputPrice, ${inputPrice}`);
  return {
    asset: integer(doc, 'asset', 0xffff, 1),
    inputPrice,
    cachedInputPrice,
    outputPrice: amount(doc, 'outputPrice'),
    requestPrice: amount(doc, 'requestPrice', 0n),
    minCharge: amount(doc, 'minCharge', 0n),
  };
}

function parseSettlement(value: unknown): NodeConfig['settlement'] {
  const doc = object(value, 'settlement', [
    'batchMaxCount',
    'batchMaxAgeMs',
    'redeemMinNcr',
    'redeemMaxAgeMs',
    'linesMax',
    'maxFeeNopg',
  ]);
  return {
    batchMaxCount: integer(doc, 'batchMaxCount', 4_096, 1_024),
    batchMaxAgeMs: integer(doc, 'batchMaxAgeMs', 3_600_000, 1_000),
    redeemMinNcr: amount(doc, 'redeemMinNcr', 0n),
    redeemMaxAgeMs: integer(doc, 'redeemMaxAgeMs', 86_400_000, 600_000),
    linesMax: integer(doc, 'linesMax', 256, 64),
    maxFeeNopg: amount(doc, 'maxFeeNopg', 20_000n),
  };
}

function bad(path: string, expected: string): ConfigError {
  return new ConfigError(`configuration: ${path} must be ${expected}`);
}

function object(value: unknown, path: string, keys: readonly string[] | null): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(path === '' ? 'the file' : path, 'an object');
  const unknown = keys === null ? undefined : Object.keys(value).find((key) => !keys.includes(key));
  if (unknown !== undefined)
    throw bad(path === '' ? 'the file' : path, `without the unknown member '${unknown}'`);
  return value as Json;
}

function text(doc: Json, name: string, fallback?: string): string {
  const value = doc[name] ?? fallback;
  if (typeof value !== 'string' || value === '') throw bad(name, 'a text');
  return value;
}

function integer(doc: Json, name: string, max: number, fallback: number): number {
  const value = doc[name] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
    throw bad(name, `an integer of 0 to ${max}`);
  }
  return value;
}

function flag(doc: Json, name: string): boolean {
  const value = doc[name] ?? false;
  if (typeof value !== 'boolean') throw bad(name, 'true or false');
  return value;
}

function oneOf<T extends string>(
  doc: Json,
  path: string,
  name: string,
  choices: readonly T[],
  fallback?: T,
): T {
  const value = doc[name] ?? fallback;
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw bad(`${path}.${name}`, choices.join(' or '));
  return found;
}

/** A program and its arguments, as no shell sees them. */
function command(doc: Json, path: string, name: string): readonly [string, ...string[]] {
  const value = doc[name];
  const isCommand =
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((part) => typeof part === 'string' && part !== '');
  if (!isCommand) throw bad(`${path}.${name}`, 'a list of a program and its arguments');
  return value as unknown as readonly [string, ...string[]];
}

/** Base units as decimal text. */
function amount(doc: Json, name: string, fallback?: bigint): bigint {
  const value = doc[name];
  if (value === undefined && fallback !== undefined) return fallback;
  if (typeof value !== 'string' || !/^(0|[1-9][0-9]{0,18})$/.test(value))
    throw bad(name, 'base units as decimal text');
  return BigInt(value);
}
