/** Protobuf encodings of CometBFT's `tendermint.types`, byte for byte as its Go code makes them. */
import { bytesEqual, MalformedError, utf8Decode, utf8Encode } from '@haca/primitives';
import {
  bytesField,
  joinBytes,
  lengthDelimited,
  messageField,
  type ProtoMessage,
  readProtoMessage,
  sfixed64Field,
  varintField,
} from './protobuf.ts';
import { isTimestamp, type Timestamp } from './timestamp.ts';
import type {
  Block,
  BlockId,
  BlockIdFlag,
  Commit,
  CommitSig,
  DuplicateVoteEvidence,
  HashedConsensusParams,
  Header,
  PartSetHeader,
  TxResult,
  Vote,
} from './types.ts';
import { LIMITS } from './types.ts';
import type { Validator } from './validator-set.ts';

const PRECOMMIT_TYPE = 2;
const FLAG_NUMBERS: Readonly<Record<BlockIdFlag, number>> = { absent: 1, commit: 2, nil: 3 };

export function encodeTimestamp(time: Timestamp): Uint8Array {
  return joinBytes([varintField(1, time.seconds), varintField(2, time.nanos)]);
}

function encodePartSetHeader(parts: PartSetHeader): Uint8Array {
  return joinBytes([varintField(1, parts.total), bytesField(2, parts.hash)]);
}

export function encodeBlockId(id: BlockId): Uint8Array {
  return joinBytes([bytesField(1, id.hash), messageField(2, encodePartSetHeader(id.parts))]);
}

export function encodeVersion(version: Header['version']): Uint8Array {
  return joinBytes([varintField(1, version.block), varintField(2, version.app)]);
}

export function encodeHeader(header: Header): Uint8Array {
  return joinBytes([
    messageField(1, encodeVersion(header.version)),
    bytesField(2, utf8Encode(header.chainId)),
    varintField(3, header.height),
    messageField(4, encodeTimestamp(header.time)),
    messageField(5, encodeBlockId(header.lastBlockId)),
    bytesField(6, header.lastCommitHash),
    bytesField(7, header.dataHash),
    bytesField(8, header.validatorsHash),
    bytesField(9, header.nextValidatorsHash),
    bytesField(10, header.consensusHash),
    bytesField(11, header.appHash),
    bytesField(12, header.lastResultsHash),
    bytesField(13, header.evidenceHash),
    bytesField(14, header.proposerAddress),
  ]);
}

export function encodeCommitSig(sig: CommitSig): Uint8Array {
  return joinBytes([
    varintField(1, FLAG_NUMBERS[sig.flag]),
    bytesField(2, sig.validatorAddress),
    messageField(3, encodeTimestamp(sig.timestamp)),
    bytesField(4, sig.signature),
  ]);
}

export function encodeCommit(commit: Commit): Uint8Array {
  return joinBytes([
    varintField(1, commit.height),
    varintField(2, commit.round),
    messageField(3, encodeBlockId(commit.blockId)),
    ...commit.signatures.map((sig) => messageField(4, encodeCommitSig(sig))),
  ]);
}

function encodeVote(vote: Vote): Uint8Array {
  return joinBytes([
    varintField(1, vote.type),
    varintField(2, vote.height),
    varintField(3, vote.round),
    messageField(4, encodeBlockId(vote.blockId)),
    messageField(5, encodeTimestamp(vote.timestamp)),
    bytesField(6, vote.validatorAddress),
    varintField(7, vote.validatorIndex),
    bytesField(8, vote.signature),
    bytesField(9, vote.extension),
    bytesField(10, vote.extensionSignature),
  ]);
}

export function encodeDuplicateVoteEvidence(evidence: DuplicateVoteEvidence): Uint8Array {
  return joinBytes([
    messageField(1, encodeVote(evidence.voteA)),
    messageField(2, encodeVote(evidence.voteB)),
    varintField(3, evidence.totalVotingPower),
    varintField(4, evidence.validatorPower),
    messageField(5, encodeTimestamp(evidence.timestamp)),
  ]);
}

/** The block as it is cut into parts and stored. */
export function encodeBlock(block: Block): Uint8Array {
  const data = joinBytes(block.txs.map((tx) => messageField(1, tx)));
  // Each piece of evidence sits in a oneof of its kind; 1 is duplicate votes.
  const evidence = joinBytes(
    block.evidence.map((each) => messageField(1, messageField(1, encodeDuplicateVoteEvidence(each)))),
  );
  return joinBytes([
    messageField(1, encodeHeader(block.header)),
    messageField(2, data),
    messageField(3, evidence),
    messageField(4, encodeCommit(block.lastCommit)),
  ]);
}

/** What the validator set hash covers of one validator (SimpleValidator). */
export function encodeSimpleValidator({ publicKey, power }: Validator): Uint8Array {
  return joinBytes([messageField(1, messageField(1, publicKey)), varintField(2, power)]);
}

/** The deterministic part of an ExecTxResult. */
export function encodeTxResult(result: TxResult): Uint8Array {
  return joinBytes([
    varintField(1, result.code),
    bytesField(2, result.data),
    varintField(5, result.gasWanted),
    varintField(6, result.gasUsed),
  ]);
}

export function encodeHashedParams(params: HashedConsensusParams): Uint8Array {
  return joinBytes([varintField(1, params.blockMaxBytes), varintField(2, params.blockMaxGas)]);
}

/** What a vote is for: everything its sign bytes hold but chain and time. A zero block id is a vote for no block. */
export interface VoteSubject {
  readonly height: number;
  readonly round: number;
  readonly blockId: BlockId;
}

/** The bytes a validator signs for a precommit: CanonicalVote with its length in front. */
export function precommitSignBytes(chainId: string, subject: VoteSubject, timestamp: Timestamp): Uint8Array {
  return voteSignBytes(PRECOMMIT_TYPE, chainId, subject, timestamp);
}

export function voteSignBytes(
  type: number,
  chainId: string,
  subject: VoteSubject,
  timestamp: Timestamp,
): Uint8Array {
  const { height, round, blockId } = subject;
  const isNil = blockId.hash.length === 0 && blockId.parts.total === 0 && blockId.parts.hash.length === 0;
  return lengthDelimited(
    joinBytes([
      varintField(1, type),
      sfixed64Field(2, height),
      sfixed64Field(3, round),
      isNil ? new Uint8Array(0) : messageField(4, encodeBlockId(blockId)),
      messageField(5, encodeTimestamp(timestamp)),
      bytesField(6, utf8Encode(chainId)),
    ]),
  );
}

/** Decodes exactly the bytes `encodeBlock` makes; throws `MalformedError` on any others. */
export function decodeBlockBytes(bytes: Uint8Array, path = 'block'): Block {
  const message = readProtoMessage(bytes, path);
  const block: Block = {
    header: readHeader(message.message(1, 'header')),
    txs: message.message(2, 'data').repeated(1, LIMITS.txs),
    evidence: message.message(3, 'evidence').repeated(1, LIMITS.evidence).map(readEvidence),
    lastCommit: readCommit(message.message(4, 'lastCommit')),
  };
  requireCanonical(encodeBlock(block), bytes, path);
  return block;
}

/** Decodes exactly the bytes `encodeCommit` makes. */
export function decodeCommitBytes(bytes: Uint8Array, path = 'commit'): Commit {
  const commit = readCommit(readProtoMessage(bytes, path));
  requireCanonical(encodeCommit(commit), bytes, path);
  return commit;
}

function requireCanonical(again: Uint8Array, bytes: Uint8Array, path: string): void {
  if (!bytesEqual(again, bytes)) {
    throw new MalformedError(
      'protobuf.non-canonical',
      path,
      'the canonical encoding',
      'another of the same content',
    );
  }
}

function readTimestamp(message: ProtoMessage): Timestamp {
  const time = { seconds: message.int64(1), nanos: Number(message.int64(2)) };
  if (!isTimestamp(time))
    throw new MalformedError('time.range', message.path, 'a time of years 1 to 9999', 'another');
  return time;
}

function readBlockId(message: ProtoMessage): BlockId {
  const parts = message.message(2, 'parts');
  return { hash: message.bytes(1), parts: { total: parts.uint(1), hash: parts.bytes(2) } };
}

function readHeader(message: ProtoMessage): Header {
  const version = message.message(1, 'version');
  return {
    version: { block: version.uint(1), app: version.uint(2) },
    chainId: utf8Decode(message.bytes(2), `${message.path}.chainId`),
    height: message.uint(3),
    time: readTimestamp(message.message(4, 'time')),
    lastBlockId: readBlockId(message.message(5, 'lastBlockId')),
    lastCommitHash: message.bytes(6),
    dataHash: message.bytes(7),
    validatorsHash: message.bytes(8),
    nextValidatorsHash: message.bytes(9),
    consensusHash: message.bytes(10),
    appHash: message.bytes(11),
    lastResultsHash: message.bytes(12),
    evidenceHash: message.bytes(13),
    proposerAddress: message.bytes(14),
  };
}

function readCommitSig(bytes: Uint8Array, index: number): CommitSig {
  const path = `signatures[${index}]`;
  const message = readProtoMessage(bytes, path);
  return {
    flag: flagOfNumber(message.uint(1), path),
    validatorAddress: message.bytes(2),
    timestamp: readTimestamp(message.message(3, 'timestamp')),
    signature: message.bytes(4),
  };
}

function readCommit(message: ProtoMessage): Commit {
  return {
    height: message.uint(1),
    round: message.uint(2),
    blockId: readBlockId(message.message(3, 'blockId')),
    signatures: message.repeated(4, LIMITS.validators).map(readCommitSig),
  };
}

function readVote(message: ProtoMessage): Vote {
  return {
    type: message.uint(1),
    height: message.uint(2),
    round: message.uint(3),
    blockId: readBlockId(message.message(4, 'blockId')),
    timestamp: readTimestamp(message.message(5, 'timestamp')),
    validatorAddress: message.bytes(6),
    validatorIndex: message.uint(7),
    signature: message.bytes(8),
    extension: message.bytes(9),
    extensionSignature: message.bytes(10),
  };
}

function readEvidence(bytes: Uint8Array, index: number): DuplicateVoteEvidence {
  const message = readProtoMessage(bytes, `evidence[${index}]`).message(1, 'duplicateVote');
  return {
    voteA: readVote(message.message(1, 'voteA')),
    voteB: readVote(message.message(2, 'voteB')),
    totalVotingPower: message.int64(3),
    validatorPower: message.int64(4),
    timestamp: readTimestamp(message.message(5, 'timestamp')),
  };
}

/** The wire number of a flag, and back. */
export function flagNumber(flag: BlockIdFlag): number {
  return FLAG_NUMBERS[flag];
}

export function flagOfNumber(value: unknown, path: string): BlockIdFlag {
  if (value === 1) return 'absent';
  if (value === 2) return 'commit';
  if (value === 3) return 'nil';
  throw new MalformedError(
    'commit.flag',
    path,
    '1, 2 or 3',
    typeof value === 'number' ? `${value}` : typeof value,
  );
}
