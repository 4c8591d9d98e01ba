/**
 * The key-value store that CometBFT's own tests expect of an application, in memory: a transaction is `key=value` or
 * `key:value`, its effect the pair; the app hash is the number of transactions so far. `val=ed25519!BASE64!POWER` changes a
 * validator. Written from the behaviour of CometBFT's example so that its golden files can be held against our server.
 */
import { fromBase64, toBase64, type Validator, validatorAddress } from '@haca/light-client';
import { toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import type { AbciEvent, Application, BlockRequest, ExecTxResult, ValidatorPower } from '../src/abci.ts';

const OK = 0;
const INVALID_TX = 2;
const NOTHING = new Uint8Array(0);
const EQUALS = 0x3d;
const COLON = 0x3a;
const VALIDATOR_TX = /^val=([^!]*)!([^!]*)!(\d+)$/;

export function kvstoreApplication(): Application {
  const pairs = new Map<string, string>();
  const validators = new Map<string, Validator>();
  let size = 0;
  let height = 0;
  let staged: readonly (readonly [string, string])[] = [];
  let updates: readonly ValidatorPower[] = [];

  const finalizeBlock = async (block: BlockRequest) => {
    staged = block.txs.filter((tx) => validatorOf(tx) === null).map(pairOf);
    updates = [
      ...block.misbehavior.flatMap(({ kind, address }) => {
        const validator = validators.get(toHex(address));
        if (kind !== 'duplicate-vote' || validator === undefined) return [];
        return [{ publicKey: validator.publicKey, power: validator.power - 1n }];
      }),
      ...block.txs.map(validatorOf).filter((update) => update !== null),
    ];
    size += block.txs.length;
    height = block.height;
    return {
      events: [],
      txResults: block.txs.map(resultOf),
      validatorUpdates: updates,
      appHash: hashOf(size),
    };
  };

  const setValidator = ({ publicKey, power }: ValidatorPower): void => {
    const address = toHex(validatorAddress(publicKey));
    if (power === 0n) validators.delete(address);
    else validators.set(address, { publicKey, power });
  };

  return {
    info: () => ({
      data: JSON.stringify({ size }),
      version: '2.0.0',
      appVersion: 1,
      lastBlockHeight: height,
      lastBlockAppHash: hashOf(size),
    }),
    initChain: (request) => {
      for (const validator of request.validators) setValidator(validator);
      return { validators: [], appHash: hashOf(size) };
    },
    checkTx: (tx) => ({
      code: isValidTx(tx) ? OK : INVALID_TX,
      log: '',
      codespace: '',
      gasWanted: isValidTx(tx) ? 1n : 0n,
    }),
    prepareProposal: async ({ txs }) => txs.filter(isValidTx).map(withEquals),
    processProposal: async ({ txs }) => (txs.every(isValidTx) ? 'accept' : 'reject'),
    finalizeBlock,
    commit: async () => {
      for (const update of updates) setValidator(update);
      for (const [key, value] of staged) pairs.set(key, value);
      return { retainHeight: 0 };
    },
    query: ({ data }) => {
      const value = pairs.get(utf8Decode(data));
      return {
        code: OK,
        log: value === undefined ? 'does not exist' : 'exists',
        info: '',
        key: data,
        value: value === undefined ? NOTHING : utf8Encode(value),
        proofOps: null,
        height,
        codespace: '',
      };
    },
    listSnapshots: () => [],
    loadSnapshotChunk: async () => NOTHING,
    offerSnapshot: async () => 'abort',
    applySnapshotChunk: async () => ({ result: 'abort', refetchChunks: [], rejectSenders: [] }),
  };
}

/** Exactly one `=` or one `:`, neither first nor last; or a well-formed change of a validator. */
function isValidTx(tx: Uint8Array): boolean {
  if (textOf(tx).startsWith('val=')) return validatorOf(tx) !== null;
  const separators = tx.filter((byte) => byte === EQUALS || byte === COLON);
  const ends = [tx[0], tx.at(-1)];
  return separators.length === 1 && !ends.includes(separators[0]);
}

function withEquals(tx: Uint8Array): Uint8Array {
  return tx.map((byte) => (byte === COLON ? EQUALS : byte));
}

function validatorOf(tx: Uint8Array): ValidatorPower | null {
  const [, kind, key, power] = VALIDATOR_TX.exec(textOf(tx)) ?? [];
  if (kind !== 'ed25519' || key === undefined || power === undefined) return null;
  const publicKey = fromBase64(key, 'validator key');
  return publicKey.length === 32 && toBase64(publicKey) === key ? { publicKey, power: BigInt(power) } : null;
}

function pairOf(tx: Uint8Array): readonly [string, string] {
  const parts = textOf(tx).split('=');
  const [key, value] = parts as [string, string];
  return parts.length === 2 ? [key, value] : [textOf(tx), textOf(tx)];
}

function resultOf(tx: Uint8Array): ExecTxResult {
  const [key, value] = pairOf(tx);
  return {
    code: OK,
    data: NOTHING,
    log: '',
    info: '',
    gasWanted: 0n,
    gasUsed: 0n,
    events: [eventOf('Cosmoshi Netowoko', key), eventOf('Cosmoshi', value)],
    codespace: '',
  };
}

function eventOf(creator: string, key: string): AbciEvent {
  return {
    type: 'app',
    attributes: [
      { key: 'creator', value: creator, index: true },
      { key: 'key', value: key, index: true },
      { key: 'index_key', value: 'index is working', index: true },
      { key: 'noindex_key', value: 'index is working', index: false },
    ],
  };
}

/** The number of transactions as a zigzag varint in eight bytes, as Go's `binary.PutVarint` leaves it. */
function hashOf(size: number): Uint8Array {
  const hash = new Uint8Array(8);
  let rest = 2 * size;
  let i = 0;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) hash[i++] = (rest % 128) | 0x80;
  hash[i] = rest;
  return hash;
}

function textOf(tx: Uint8Array): string {
  return Buffer.from(tx).toString('latin1');
}
