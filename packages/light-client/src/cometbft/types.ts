/** The parts of CometBFT v0.38 to v0.40 blocks that are hashed or signed. Heights are numbers, voting powers bigints. */
import { type Timestamp, ZERO_TIMESTAMP } from './timestamp.ts';

const NOTHING = new Uint8Array(0);

/** A block is gossiped in parts; their Merkle root is part of its identity. */
export interface PartSetHeader {
  readonly total: number;
  readonly hash: Uint8Array;
}

export interface BlockId {
  /** The header hash: 32 bytes, or none for "no block" (a nil vote, or the predecessor of the first block). */
  readonly hash: Uint8Array;
  readonly parts: PartSetHeader;
}

export const ZERO_BLOCK_ID: BlockId = { hash: NOTHING, parts: { total: 0, hash: NOTHING } };

export interface Header {
  readonly version: { readonly block: number; readonly app: number };
  readonly chainId: string;
  readonly height: number;
  /** Median time of the votes for the previous block. */
  readonly time: Timestamp;
  readonly lastBlockId: BlockId;
  readonly lastCommitHash: Uint8Array;
  readonly dataHash: Uint8Array;
  readonly validatorsHash: Uint8Array;
  readonly nextValidatorsHash: Uint8Array;
  readonly consensusHash: Uint8Array;
  /** Root of the state after the *previous* block. */
  readonly appHash: Uint8Array;
  readonly lastResultsHash: Uint8Array;
  readonly evidenceHash: Uint8Array;
  /** 20 bytes. */
  readonly proposerAddress: Uint8Array;
}

/** The block protocol version of CometBFT v0.34 to v0.40. */
export const BLOCK_PROTOCOL = 11;

export type BlockIdFlag = 'absent' | 'commit' | 'nil';

/** One validator's precommit as a commit carries it; its place in the list is its validator's place in the set. */
export interface CommitSig {
  readonly flag: BlockIdFlag;
  readonly validatorAddress: Uint8Array;
  readonly timestamp: Timestamp;
  readonly signature: Uint8Array;
}

/** What stands for a validator that did not vote. */
export const ABSENT_COMMIT_SIG: CommitSig = {
  flag: 'absent',
  validatorAddress: NOTHING,
  timestamp: ZERO_TIMESTAMP,
  signature: NOTHING,
};

export interface Commit {
  readonly height: number;
  readonly round: number;
  readonly blockId: BlockId;
  readonly signatures: readonly CommitSig[];
}

/** The last commit of a chain's first block. */
export const EMPTY_COMMIT: Commit = { height: 0, round: 0, blockId: ZERO_BLOCK_ID, signatures: [] };

export interface SignedHeader {
  readonly header: Header;
  readonly commit: Commit;
}

export interface Vote {
  /** 1 prevote, 2 precommit. */
  readonly type: number;
  readonly height: number;
  readonly round: number;
  readonly blockId: BlockId;
  readonly timestamp: Timestamp;
  readonly validatorAddress: Uint8Array;
  readonly validatorIndex: number;
  readonly signature: Uint8Array;
  readonly extension: Uint8Array;
  readonly extensionSignature: Uint8Array;
}

/** Two different votes of one validator for one height and round. */
export interface DuplicateVoteEvidence {
  readonly voteA: Vote;
  readonly voteB: Vote;
  readonly totalVotingPower: bigint;
  readonly validatorPower: bigint;
  readonly timestamp: Timestamp;
}

export interface Block {
  readonly header: Header;
  readonly txs: readonly Uint8Array[];
  readonly evidence: readonly DuplicateVoteEvidence[];
  readonly lastCommit: Commit;
}

/** The fields of an ExecTxResult that LastResultsHash covers; log, info, events and codespace are not. */
export interface TxResult {
  readonly code: number;
  readonly data: Uint8Array;
  readonly gasWanted: bigint;
  readonly gasUsed: bigint;
}

/** The consensus parameters that ConsensusHash covers. */
export interface HashedConsensusParams {
  readonly blockMaxBytes: bigint;
  /** -1: no limit. */
  readonly blockMaxGas: bigint;
}

/** Limits that decoders hold every input to. */
export const LIMITS = {
  chainIdBytes: 50,
  validators: 10_000,
  appHashBytes: 64,
  signatureBytes: 64,
  txs: 1_000_000,
  evidence: 1_000,
  extensionBytes: 1 << 20,
  merkleAunts: 100,
} as const;
