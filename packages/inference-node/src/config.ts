/** The configuration file of an inference node, parsed strictly: an unknown member is a typing mistake. */
import { dirname, resolve } from 'node:path';
import { ZK_BATCH_MAX } from '@haca/protocol';

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

export interface NodeConfig {
  readonly dataDir: string;
  readonly rpcUrl: string;
  /** Wallet file of the operator: pays for transactions, signs offers, receives the fees. */
  readonly operatorFile: string;
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** How clients reach it; host and port if null. */
  readonly publicUrl: string | null;
  readonly bondNopg: bigint;
  readonly attester:
    | { readonly kind: 'none' }
    | { readonly kind: 'test-enclave'; readonly rootSeedFile: string; readonly image: string };
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
    'publicUrl',
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
    host: text(doc, 'host', '127.0.0.1'),
    port: integer(doc, 'port', 65_535, 0),
    publicUrl: doc['publicUrl'] === undefined || doc['publicUrl'] === null ? null : text(doc, 'publicUrl'),
    bondNopg: amount(doc, 'bondNopg', 5_000_000_000_000n),
    attester: parseAttester(doc['attester'], folder),
    engines: engines.map((engine, i) => parseEngine(engine, `engines.${i}`, folder)),
    prices: parsePrices(doc['prices']),
    settlement: parseSettlement(doc['settlement'] ?? {}),
  };
}

function parseAttester(value: unknown, folder: string): NodeConfig['attester'] {
  const doc = object(value, 'attester', ['kind', 'rootSeedFile', 'image']);
  if (doc['kind'] === 'none') return { kind: 'none' };
  if (doc['kind'] !== 'test-enclave') throw bad('attester.kind', 'none or test-enclave');
  return {
    kind: 'test-enclave',
    rootSeedFile: resolve(folder, text(doc, 'rootSeedFile')),
    image: text(doc, 'image'),
  };
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

/** Base units as decimal text. */
function amount(doc: Json, name: string, fallback?: bigint): bigint {
  const value = doc[name];
  if (value === undefined && fallback !== undefined) return fallback;
  if (typeof value !== 'string' || !/^(0|[1-9][0-9]{0,18})$/.test(value))
    throw bad(name, 'base units as decimal text');
  return BigInt(value);
}
