/** CometBFT's genesis document with this project's `app_state` inside: what a caller trusts when it trusts a chain from its start. */
import { MalformedError, utf8Decode } from '@haca/primitives';
import { type AppGenesis, parseAppGenesis } from '@haca/protocol';
import { fromBase64 } from './cometbft/json-reader.ts';
import { parseTimestamp, type Timestamp } from './cometbft/timestamp.ts';
import type { HashedConsensusParams } from './cometbft/types.ts';
import { type ValidatorSet, validatorSetOf } from './cometbft/validator-set.ts';

export const GENESIS_MAX_BYTES = 16 * 1024 * 1024;
/** Room for the largest transaction and everything around it. */
const BLOCK_MAX_BYTES_LEAST = 1024 * 1024;
const BLOCK_MAX_BYTES_LIMIT = 100 * 1024 * 1024;
export const ED25519_KEY_TYPE = 'tendermint/PubKeyEd25519';

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

/** From bytes, text or parsed JSON. Throws `MalformedError` naming the member. */
export function parseGenesisDocument(input: unknown): GenesisDocument {
  const json = object(parsed(input), 'genesis');
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
  if (key['type'] !== ED25519_KEY_TYPE) throw bad(`${path}.pub_key.type`, ED25519_KEY_TYPE, key['type']);
  return {
    publicKey: fromBase64(String(key['value']), `genesis.${path}.pub_key.value`),
    power: BigInt(integer(entry['power'], `${path}.power`, Number.MAX_SAFE_INTEGER)),
  };
}

function parsed(input: unknown): unknown {
  const text = input instanceof Uint8Array ? utf8Decode(input, 'genesis') : input;
  if (typeof text !== 'string') return text;
  if (text.length > GENESIS_MAX_BYTES) throw bad('', `at most ${GENESIS_MAX_BYTES} bytes`, text);
  try {
    return JSON.parse(text);
  } catch {
    throw bad('', 'JSON', text);
  }
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
