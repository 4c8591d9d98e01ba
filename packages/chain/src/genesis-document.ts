/** CometBFT's genesis document, with this project's `app_state` inside. */
import {
  formatTimestamp,
  fromBase64,
  type HashedConsensusParams,
  parseTimestamp,
  type Timestamp,
  timestampFromMs,
  timestampToMs,
  toBase64,
  toUpperHex,
  type ValidatorSet,
  validatorSetOf,
} from '@haca/light-client';
import { MalformedError, toHex } from '@haca/primitives';
import { type AppGenesis, formatAppGenesis, parseAppGenesis } from '@haca/protocol';
import { applyGenesis } from './state-machine/index.ts';
import { createStateTree } from './state-tree/index.ts';

export const BLOCK_MAX_BYTES_DEFAULT = 4 * 1024 * 1024;
/** Room for the largest transaction and everything around it. */
const BLOCK_MAX_BYTES_LEAST = 1024 * 1024;
const BLOCK_MAX_BYTES_LIMIT = 100 * 1024 * 1024;

export interface GenesisDocument {
  readonly chainId: string;
  readonly initialHeight: number;
  readonly time: Timestamp;
  readonly consensusParams: HashedConsensusParams;
  readonly validators: ValidatorSet;
  readonly app: AppGenesis;
  /** The document as it came: what RPC `genesis` answers. */
  readonly json: Readonly<Record<string, unknown>>;
}

type Json = Readonly<Record<string, unknown>>;

/** Throws `MalformedError` naming the member. */
export function parseGenesisDocument(value: unknown): GenesisDocument {
  const json = object(value, 'genesis');
  const chainId = json['chain_id'];
  if (typeof chainId !== 'string' || !/^[\x21-\x7e]{1,50}$/.test(chainId)) {
    throw bad('chain_id', '1 to 50 printable characters', chainId);
  }
  const initialHeight = integer(json['initial_height'] ?? '1', 'initial_height', Number.MAX_SAFE_INTEGER);
  const block = object(
    object(json['consensus_params'], 'consensus_params')['block'],
    'consensus_params.block',
  );
  const blockMaxBytes = integer(
    block['max_bytes'],
    'consensus_params.block.max_bytes',
    BLOCK_MAX_BYTES_LIMIT,
  );
  if (blockMaxBytes < BLOCK_MAX_BYTES_LEAST) {
    throw bad('consensus_params.block.max_bytes', `at least ${BLOCK_MAX_BYTES_LEAST}`, `${blockMaxBytes}`);
  }
  const maxGas = block['max_gas'];
  const validators = json['validators'];
  if (!Array.isArray(validators)) throw bad('validators', 'a list', validators);
  return {
    chainId,
    initialHeight: Math.max(1, initialHeight),
    time: parseTimestamp(String(json['genesis_time']), 'genesis.genesis_time'),
    consensusParams: {
      blockMaxBytes: BigInt(blockMaxBytes),
      blockMaxGas: maxGas === '-1' ? -1n : BigInt(integer(maxGas, 'block.max_gas', Number.MAX_SAFE_INTEGER)),
    },
    validators: validatorSetOf(validators.map(parseValidator)),
    app: parseAppGenesis(json['app_state']),
    json,
  };
}

function parseValidator(value: unknown, i: number) {
  const path = `validators.${i}`;
  const entry = object(value, path);
  const key = object(entry['pub_key'], `${path}.pub_key`);
  if (key['type'] !== ED25519) throw bad(`${path}.pub_key.type`, ED25519, key['type']);
  return {
    publicKey: fromBase64(String(key['value']), `genesis.${path}.pub_key.value`),
    power: BigInt(integer(entry['power'], `${path}.power`, Number.MAX_SAFE_INTEGER)),
  };
}

const ED25519 = 'tendermint/PubKeyEd25519';

export interface GenesisOptions {
  readonly chainId: string;
  readonly genesisTimeMs: number;
  readonly app: AppGenesis;
  readonly blockMaxBytes?: number;
}

/**
 * The document for `app`: its validators with the power that the state machine gives them. Throws `UsageError` where `app`
 * is no valid first state, e.g. where its amounts do not add up to the supply.
 */
export function makeGenesisDocument(options: GenesisOptions): Json {
  const applied = applyGenesis(options.app, options.chainId, options.genesisTimeMs);
  const { validators } = validatorSetOf(
    applied.validators.map(({ consensusKey, power }) => ({ publicKey: consensusKey, power: BigInt(power) })),
  );
  return {
    genesis_time: formatTimestamp(timestampFromMs(options.genesisTimeMs)),
    chain_id: options.chainId,
    initial_height: '1',
    consensus_params: {
      block: { max_bytes: `${options.blockMaxBytes ?? BLOCK_MAX_BYTES_DEFAULT}`, max_gas: '-1' },
      evidence: { max_age_num_blocks: '100000', max_age_duration: '172800000000000', max_bytes: '1048576' },
      validator: { pub_key_types: ['ed25519'] },
      version: { app: '1' },
      abci: { vote_extensions_enable_height: '0' },
    },
    validators: validators.map(({ address, publicKey, power }) => ({
      address: toUpperHex(address),
      pub_key: { type: ED25519, value: toBase64(publicKey) },
      power: `${power}`,
      name: '',
    })),
    app_hash: '',
    app_state: formatAppGenesis(options.app, toHex),
  };
}

/** App hash of the state that a genesis begins with: what the first header proves. */
export function genesisAppHash({ app, chainId, time, initialHeight }: GenesisDocument): Uint8Array {
  const { changes } = applyGenesis(app, chainId, timestampToMs(time));
  return createStateTree().update(initialHeight - 1, changes);
}

function bad(path: string, expected: string, got: unknown): MalformedError {
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 80)) : typeof got;
  return new MalformedError('genesis.invalid', `genesis.${path}`, expected, shown);
}

function object(value: unknown, path: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(path, 'an object', value);
  return value as Json;
}

/** int64 of CometBFT's JSON: decimal text. */
function integer(value: unknown, path: string, max: number): number {
  const text = typeof value === 'number' ? `${value}` : value;
  if (typeof text !== 'string' || !/^(0|[1-9][0-9]{0,15})$/.test(text) || Number(text) > max) {
    throw bad(path, `an integer up to ${max} as decimal text`, value);
  }
  return Number(text);
}
