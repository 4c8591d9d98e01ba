/** The configuration file of a full node: JSON, paths relative to the file's own folder. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { UsageError } from '@haca/primitives';

export interface FullNodeConfig {
  readonly home: string;
  readonly genesisFile: string;
  readonly validatorKeyFile: string;
  readonly host: string;
  /** 0: any free port. */
  readonly rpcPort: number;
  readonly blockIntervalMs: number;
  readonly emptyBlockIntervalMs: number;
  /** Undefined: whatever genesis says of `simulated`. */
  readonly checkInvariants: boolean | undefined;
}

type Json = Readonly<Record<string, unknown>>;

const MEMBERS = [
  'home',
  'genesisFile',
  'validatorKeyFile',
  'host',
  'rpcPort',
  'blockIntervalMs',
  'emptyBlockIntervalMs',
  'checkInvariants',
];

/** Throws `UsageError` naming the member that is wrong. */
export function readConfig(path: string): FullNodeConfig {
  const folder = dirname(resolve(path));
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${path} is not readable JSON`, { cause });
  }
  if (typeof json !== 'object' || json === null) throw new UsageError(`${path} is not an object`);
  const config = json as Json;
  for (const name of Object.keys(config)) {
    if (!MEMBERS.includes(name))
      throw new UsageError(`${path}: unknown member ${name}; known: ${MEMBERS.join(', ')}`);
  }
  const text = (name: string, otherwise?: string): string => {
    const value = config[name] ?? otherwise;
    if (typeof value !== 'string' || value === '') throw new UsageError(`${path}: ${name} must be text`);
    return value;
  };
  const integer = (name: string, otherwise: number, max: number): number => {
    const value = config[name] ?? otherwise;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw new UsageError(`${path}: ${name} must be an integer of 0 to ${max}`);
  };
  const checkInvariants = config['checkInvariants'];
  if (checkInvariants !== undefined && typeof checkInvariants !== 'boolean') {
    throw new UsageError(`${path}: checkInvariants must be true or false`);
  }
  return {
    home: resolve(folder, text('home')),
    genesisFile: resolve(folder, text('genesisFile')),
    validatorKeyFile: resolve(folder, text('validatorKeyFile')),
    host: text('host', '127.0.0.1'),
    rpcPort: integer('rpcPort', 26_657, 65_535),
    blockIntervalMs: integer('blockIntervalMs', 50, 3_600_000),
    emptyBlockIntervalMs: integer('emptyBlockIntervalMs', 10_000, 3_600_000),
    checkInvariants,
  };
}
