/** Making a genesis document, and the state it begins with. Reading one is the light client's. */
import {
  ED25519_KEY_TYPE,
  formatTimestamp,
  type GenesisDocument,
  timestampFromMs,
  timestampToMs,
  toBase64,
  toUpperHex,
  validatorSetHash,
  validatorSetOf,
} from '@haca/light-client';
import { domainHash, toHex, utf8Encode } from '@haca/primitives';
import { type AppGenesis, formatAppGenesis, type ProtocolParams } from '@haca/protocol';
import { applyGenesis } from './state-machine/index.ts';
import { createStateTree } from './state-tree/index.ts';

const EVIDENCE_MARGIN_MS = 3_600_000;
export const BLOCK_MAX_BYTES_DEFAULT = 4 * 1024 * 1024;
const INT64_MAX = (1n << 63n) - 1n;

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
export function makeGenesisDocument(options: GenesisOptions): Readonly<Record<string, unknown>> {
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
      evidence: { ...evidenceAge(options.app.params), max_bytes: '1048576' },
      validator: { pub_key_types: ['ed25519'] },
      version: { app: '1' },
      abci: { vote_extensions_enable_height: '0' },
    },
    validators: validators.map(({ address, publicKey, power }) => ({
      address: toUpperHex(address),
      pub_key: { type: ED25519_KEY_TYPE, value: toBase64(publicKey) },
      power: `${power}`,
      name: '',
    })),
    app_hash: '',
    app_state: formatAppGenesis(options.app, toHex),
  };
}

/**
 * Evidence is good for as long as the stake behind a fault can be slashed, and no longer. Stake that begins to unbond in a
 * block still votes in the next one, and CometBFT counts the age of evidence up to the block before: hence two blocks less,
 * and in time a margin for the distance of two blocks.
 */
function evidenceAge({ unbondingTime, unbondingTimeMs }: ProtocolParams) {
  const marginMs = Math.min(EVIDENCE_MARGIN_MS, Math.floor(unbondingTimeMs / 10));
  const nanos = BigInt(unbondingTimeMs - marginMs) * 1_000_000n;
  return {
    max_age_num_blocks: `${Math.max(1, unbondingTime - 2)}`,
    max_age_duration: `${nanos < 1n ? 1n : nanos > INT64_MAX ? INT64_MAX : nanos}`,
  };
}

/** App hash of the state that a genesis begins with: what the first header proves. */
export function genesisAppHash({ app, chainId, time, initialHeight }: GenesisDocument): Uint8Array {
  const { changes } = applyGenesis(app, chainId, timestampToMs(time));
  return createStateTree().update(initialHeight - 1, changes);
}

/**
 * Names a genesis by what nodes must agree on, whatever the spelling of its JSON: CometBFT adds members when it hands a
 * document on.
 */
export function genesisHash(genesis: GenesisDocument): Uint8Array {
  const { chainId, time, initialHeight, consensusParams, validators, json } = genesis;
  const { evidence } = json['consensus_params'] as { readonly evidence?: Readonly<Record<string, unknown>> };
  const said = {
    chainId,
    time: formatTimestamp(time),
    initialHeight,
    blockMaxBytes: `${consensusParams.blockMaxBytes}`,
    blockMaxGas: `${consensusParams.blockMaxGas}`,
    evidence: ['max_age_num_blocks', 'max_age_duration', 'max_bytes'].map((name) => `${evidence?.[name]}`),
    validators: toHex(validatorSetHash(validators)),
    appHash: toHex(genesisAppHash(genesis)),
  };
  return domainHash('haca/genesis/1', utf8Encode(JSON.stringify(said)));
}
