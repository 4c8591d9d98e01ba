/** Where the chain stands between two blocks, and how it is kept with each block. */

import type { GenesisDocument } from '@haca/light-client';
import {
  type BlockId,
  type Commit,
  decodeBlockBytes,
  decodeCommitBytes,
  EMPTY_COMMIT,
  EMPTY_HASH,
  encodeCommit,
  resultsHash,
  type Timestamp,
  type Validator,
  type ValidatorSet,
  validatorSetOf,
  ZERO_BLOCK_ID,
} from '@haca/light-client';
import { arrayOf, bytesOf, decode, encode, field, struct, toHex, u64 } from '@haca/primitives';
import type { ValidatorPower } from '../abci.ts';
import { decodeBlockResults, hashedResults } from '../application/block-results.ts';
import type { Store } from '../storage/index.ts';

export interface ChainTip {
  /** Of the newest block; before the first, one below the initial height. */
  readonly height: number;
  readonly blockId: BlockId;
  /** Header time of that block; of genesis before the first. */
  readonly time: Timestamp;
  /** The commit for that block. */
  readonly commit: Commit;
  /** State before that block, which its header proves; empty before the first. */
  readonly provenAppHash: Uint8Array;
  /** State after that block, and its results: both go into the next header. */
  readonly appHash: Uint8Array;
  readonly lastResultsHash: Uint8Array;
  /** Validators of that block, of the next and of the one after that. */
  readonly validators: ValidatorSet;
  readonly nextValidators: ValidatorSet;
  readonly afterNextValidators: ValidatorSet;
}

export function genesisTip(
  genesis: GenesisDocument,
  validators: readonly Validator[],
  appHash: Uint8Array,
): ChainTip {
  const set = validatorSetOf(validators);
  return {
    height: genesis.initialHeight - 1,
    blockId: ZERO_BLOCK_ID,
    time: genesis.time,
    commit: EMPTY_COMMIT,
    provenAppHash: EMPTY_COMMIT.blockId.hash,
    appHash,
    lastResultsHash: EMPTY_HASH,
    validators: validatorSetOf([]),
    nextValidators: set,
    afterNextValidators: set,
  };
}

/** A set with updates applied: power 0 removes. Throws `MalformedError` where the result is no validator set. */
export function updatedValidators(set: ValidatorSet, updates: readonly ValidatorPower[]): ValidatorSet {
  if (updates.length === 0) return set;
  const powers = new Map(
    set.validators.map((validator) => [toHex(validator.publicKey), validator as Validator]),
  );
  for (const { publicKey, power } of updates) {
    if (power === 0n) powers.delete(toHex(publicKey));
    else powers.set(toHex(publicKey), { publicKey, power });
  }
  return validatorSetOf([...powers.values()]);
}

const validatorsCodec = arrayOf(struct({ publicKey: field(0, bytesOf(32)), power: field(1, u64) }), 10_000);

const commitRecordCodec = struct({
  commit: field(0, bytesOf(1, 16 * 1024 * 1024)),
  validators: field(1, validatorsCodec),
  nextValidators: field(2, validatorsCodec),
  afterNextValidators: field(3, validatorsCodec),
});

/** What is kept beside a block: its commit and the validator sets around it. */
export type CommitRecord = Pick<ChainTip, 'commit' | 'validators' | 'nextValidators' | 'afterNextValidators'>;

export function encodeCommitRecord(record: CommitRecord): Uint8Array {
  return encode(commitRecordCodec, {
    commit: encodeCommit(record.commit),
    validators: record.validators.validators,
    nextValidators: record.nextValidators.validators,
    afterNextValidators: record.afterNextValidators.validators,
  });
}

export function decodeCommitRecord(bytes: Uint8Array): CommitRecord {
  const record = decode(commitRecordCodec, bytes, 'commit');
  return {
    commit: decodeCommitBytes(record.commit),
    validators: validatorSetOf(record.validators),
    nextValidators: validatorSetOf(record.nextValidators),
    afterNextValidators: validatorSetOf(record.afterNextValidators),
  };
}

/** The tip as the newest stored block left it. */
export function storedTip(store: Store): ChainTip {
  const height = store.latestHeight();
  const block = decodeBlockBytes(required(store.blockAt(height), height));
  const results = decodeBlockResults(required(store.resultsAt(height), height));
  const record = decodeCommitRecord(required(store.commitAt(height), height));
  return {
    ...record,
    height,
    blockId: record.commit.blockId,
    time: block.header.time,
    provenAppHash: block.header.appHash,
    appHash: results.appHash,
    lastResultsHash: resultsHash(hashedResults(results.txResults)),
  };
}

function required(bytes: Uint8Array | undefined, height: number): Uint8Array {
  if (bytes === undefined || bytes.length === 0)
    throw new Error(`block ${height} is not complete in the store`);
  return bytes;
}
