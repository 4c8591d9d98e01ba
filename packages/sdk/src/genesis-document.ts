import {
  decodeValidator,
  fromBase64,
  parseTimestamp,
  type Timestamp,
  toUpperHex,
  type ValidatorSet,
  validatorAddress,
  validatorSetOf,
} from '@haca/light-client';
import { fromHex, utf8Decode } from '@haca/primitives';
import { type AppGenesis, parseAppGenesis } from '@haca/protocol';
import { asArray, asInteger, asObject, asText, bad, parseJson } from './json.ts';

/** A CometBFT genesis document with this project's `app_state`: what a caller trusts when it trusts a chain from its start. */
export interface GenesisDocument {
  readonly chainId: string;
  readonly initialHeight: number;
  readonly time: Timestamp;
  readonly validators: ValidatorSet;
  readonly app: AppGenesis;
}

export const GENESIS_MAX_BYTES = 16 * 1024 * 1024;

export function parseGenesisDocument(input: unknown): GenesisDocument {
  const value =
    input instanceof Uint8Array
      ? parseJson(utf8Decode(input, 'genesis'), 'genesis')
      : typeof input === 'string'
        ? parseJson(input, 'genesis')
        : input;
  const doc = asObject(value, 'genesis');
  const initialHeight = asInteger(doc['initial_height'] ?? '1', 'genesis.initial_height');
  const validators = asArray(doc['validators'], 'genesis.validators', 10_000).map((entry, i) => {
    const path = `genesis.validators.${i}`;
    const { pub_key, power } = asObject(entry, path) as { pub_key: unknown; power: unknown };
    const publicKey = fromBase64(asText(asObject(pub_key, path)['value'], `${path}.pub_key`), path);
    if (publicKey.length !== 32) throw bad(`${path}.pub_key.value`, '32 bytes', `${publicKey.length} bytes`);
    return decodeValidator(
      { address: toUpperHex(validatorAddress(publicKey)), pub_key, voting_power: `${power}` },
      path,
    );
  });
  return {
    chainId: asText(doc['chain_id'], 'genesis.chain_id', 50),
    initialHeight: initialHeight === 0 ? 1 : initialHeight,
    time: parseTimestamp(asText(doc['genesis_time'], 'genesis.genesis_time', 40), 'genesis.genesis_time'),
    validators: validatorSetOf(validators),
    app: parseAppGenesis(doc['app_state']),
  };
}

/** What a caller trusts to begin with. Nothing a server says replaces it. */
export type Trust =
  | { readonly genesis: GenesisDocument }
  | {
      readonly height: number;
      /** Block hash at `height`, 32 bytes. */
      readonly hash: Uint8Array;
      readonly chainId: string;
      /** Gives approved measurements and test roots to appraise evidence with. */
      readonly genesis?: GenesisDocument;
    };

/** `HEIGHT:HASH`, as people write a trusted header. */
export function parseTrustedHeader(text: string): { readonly height: number; readonly hash: Uint8Array } {
  const match = /^([1-9][0-9]{0,15}):([0-9a-fA-F]{64})$/.exec(text);
  if (match === null) throw bad('trust', 'HEIGHT:HASH with 64 hex digits', text);
  return { height: Number(match[1]), hash: fromHex((match[2] as string).toLowerCase()) };
}
