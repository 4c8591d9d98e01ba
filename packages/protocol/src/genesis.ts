/**
 * The application part of a genesis document (`app_state` in CometBFT's): JSON for people to read and diff, with amounts as
 * decimal strings and bytes as lower-case hex. Parsed strictly; every node derives the same first state from it.
 */
import { fromHex, MalformedError } from '@haca/primitives';
import { MEASUREMENT_REGISTERS_MAX, type Measurement } from './measurement.ts';
import { DEFAULT_PARAMS, type ProtocolParams, validateParams } from './params.ts';
import { EVIDENCE_KINDS } from './registration.ts';

export interface GenesisAccount {
  readonly accountId: Uint8Array;
  readonly nopg: bigint;
}

export interface GenesisValidator {
  /** Ed25519 consensus key. */
  readonly consensusKey: Uint8Array;
  readonly operator: Uint8Array;
  readonly selfBond: bigint;
}

export interface GenesisAsset {
  readonly asset: number;
  readonly symbol: string;
  readonly issuer: Uint8Array;
}

export interface AppGenesis {
  /** A network for development: test roots are accepted and every record says so. */
  readonly simulated: boolean;
  readonly params: ProtocolParams;
  readonly reserveNopg: bigint;
  readonly accounts: readonly GenesisAccount[];
  readonly validators: readonly GenesisValidator[];
  readonly assets: readonly GenesisAsset[];
  /** Approved from the first block on. */
  readonly measurements: readonly Measurement[];
  /** SHA-256 of root certificates of test enclaves; must be empty unless `simulated`. */
  readonly testRoots: readonly Uint8Array[];
}

type Json = { readonly [key: string]: unknown };

/** Throws `MalformedError` naming the member, or `UsageError` where the parameters contradict each other. */
export function parseAppGenesis(value: unknown): AppGenesis {
  const doc = object(value, 'app_state', [
    'simulated',
    'params',
    'reserveNopg',
    'accounts',
    'validators',
    'assets',
    'measurements',
    'testRoots',
  ]);
  const simulated = doc['simulated'];
  if (typeof simulated !== 'boolean') throw bad('app_state.simulated', 'true or false', simulated);
  const testRoots = list(doc['testRoots'], 'testRoots').map((root, i) => hex(root, `testRoots.${i}`, 32));
  if (!simulated && testRoots.length > 0) {
    throw bad('app_state.testRoots', 'no test roots unless simulated', `${testRoots.length}`);
  }
  const params = parseParams(doc['params']);
  validateParams(params);
  return {
    simulated,
    params,
    reserveNopg: amount(doc['reserveNopg'], 'reserveNopg'),
    accounts: list(doc['accounts'], 'accounts').map(parseAccount),
    validators: list(doc['validators'], 'validators').map(parseValidator),
    assets: list(doc['assets'], 'assets').map(parseAsset),
    measurements: list(doc['measurements'], 'measurements').map(parseMeasurement),
    testRoots,
  };
}

function parseAccount(value: unknown, i: number): GenesisAccount {
  const entry = object(value, `accounts.${i}`, ['accountId', 'nopg']);
  return {
    accountId: hex(entry['accountId'], `accounts.${i}.accountId`, 32),
    nopg: amount(entry['nopg'], `accounts.${i}.nopg`),
  };
}

function parseValidator(value: unknown, i: number): GenesisValidator {
  const path = `validators.${i}`;
  const entry = object(value, path, ['consensusKey', 'operator', 'selfBond']);
  return {
    consensusKey: hex(entry['consensusKey'], `${path}.consensusKey`, 32),
    operator: hex(entry['operator'], `${path}.operator`, 32),
    selfBond: amount(entry['selfBond'], `${path}.selfBond`),
  };
}

function parseAsset(value: unknown, i: number): GenesisAsset {
  const path = `assets.${i}`;
  const entry = object(value, path, ['asset', 'symbol', 'issuer']);
  return {
    asset: integer(entry['asset'], `${path}.asset`, 0xffff),
    symbol: text(entry['symbol'], `${path}.symbol`, 16),
    issuer: hex(entry['issuer'], `${path}.issuer`, 32),
  };
}

function parseMeasurement(value: unknown, i: number): Measurement {
  const path = `measurements.${i}`;
  const entry = object(value, path, ['name', 'kind', 'registers']);
  const kind = EVIDENCE_KINDS.find((known) => known === entry['kind']);
  if (kind === undefined) throw bad(`${path}.kind`, EVIDENCE_KINDS.join(' | '), entry['kind']);
  const registers = Object.entries(object(entry['registers'], `${path}.registers`, null));
  if (registers.length === 0 || registers.length > MEASUREMENT_REGISTERS_MAX)
    throw bad(`${path}.registers`, `1 to ${MEASUREMENT_REGISTERS_MAX} registers`, `${registers.length}`);
  return {
    name: text(entry['name'], `${path}.name`, 64),
    kind,
    registers: registers
      .map(([register, measured]) => ({
        register: text(register, `${path}.registers`, 32),
        value: shortHex(measured, `${path}.registers.${register}`),
      }))
      .sort((a, b) => (a.register < b.register ? -1 : 1)),
  };
}

/** 1 to 64 bytes. */
function shortHex(value: unknown, path: string): Uint8Array {
  if (typeof value !== 'string' || value.length < 2 || value.length > 128)
    throw bad(path, '1 to 64 bytes as hex', value);
  return fromHex(value, path);
}

/** Members left out keep their default. */
function parseParams(value: unknown): ProtocolParams {
  const given = object(value, 'params', null);
  const params: Record<string, number | bigint> = { ...DEFAULT_PARAMS };
  for (const [name, member] of Object.entries(given)) {
    const known = Object.hasOwn(DEFAULT_PARAMS, name)
      ? DEFAULT_PARAMS[name as keyof ProtocolParams]
      : undefined;
    if (known === undefined) throw bad(`params.${name}`, 'a known parameter', name);
    params[name] =
      typeof known === 'bigint'
        ? amount(member, `params.${name}`)
        : integer(member, `params.${name}`, Number.MAX_SAFE_INTEGER);
  }
  return params as unknown as ProtocolParams;
}

/** The same document as JSON, every parameter written out. */
export function formatAppGenesis(genesis: AppGenesis, toHex: (bytes: Uint8Array) => string): Json {
  return {
    simulated: genesis.simulated,
    params: Object.fromEntries(
      Object.entries(genesis.params).map(([name, value]) => [
        name,
        typeof value === 'bigint' ? `${value}` : value,
      ]),
    ),
    reserveNopg: `${genesis.reserveNopg}`,
    accounts: genesis.accounts.map(({ accountId, nopg }) => ({
      accountId: toHex(accountId),
      nopg: `${nopg}`,
    })),
    validators: genesis.validators.map(({ consensusKey, operator, selfBond }) => ({
      consensusKey: toHex(consensusKey),
      operator: toHex(operator),
      selfBond: `${selfBond}`,
    })),
    assets: genesis.assets.map(({ asset, symbol, issuer }) => ({ asset, symbol, issuer: toHex(issuer) })),
    measurements: genesis.measurements.map(({ name, kind, registers }) => ({
      name,
      kind,
      registers: Object.fromEntries(registers.map(({ register, value }) => [register, toHex(value)])),
    })),
    testRoots: genesis.testRoots.map(toHex),
  };
}

function bad(path: string, expected: string, got: unknown): MalformedError {
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 80)) : typeof got;
  return new MalformedError('genesis.invalid', path, expected, shown);
}

function object(value: unknown, path: string, keys: readonly string[] | null): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(path, 'an object', value);
  if (keys !== null) {
    for (const key of keys) if (!Object.hasOwn(value, key)) throw bad(`${path}.${key}`, 'a value', undefined);
    for (const key of Object.keys(value)) if (!keys.includes(key)) throw bad(path, 'known members only', key);
  }
  return value as Json;
}

function list(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length > 100_000) throw bad(path, 'a list', value);
  return value;
}

function amount(value: unknown, path: string): bigint {
  if (typeof value !== 'string' || !/^(0|[1-9][0-9]{0,19})$/.test(value) || BigInt(value) >= 1n << 64n) {
    throw bad(path, 'an amount in base units as decimal text', value);
  }
  return BigInt(value);
}

function integer(value: unknown, path: string, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
    throw bad(path, `an integer of 0 to ${max}`, value);
  }
  return value;
}

function text(value: unknown, path: string, maxLength: number): string {
  if (typeof value !== 'string' || value === '' || value.length > maxLength) {
    throw bad(path, `1 to ${maxLength} characters`, value);
  }
  return value;
}

function hex(value: unknown, path: string, sizeBytes: number): Uint8Array {
  if (typeof value !== 'string' || value.length !== 2 * sizeBytes)
    throw bad(path, `${sizeBytes} bytes as hex`, value);
  return fromHex(value, path);
}
