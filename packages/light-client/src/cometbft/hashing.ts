/** Hashes of CometBFT blocks. Its Merkle tree is that of RFC 6962, which RFC 9162 kept. */
import {
  emptyMerkleRoot,
  merkleInclusionPath,
  merkleLeafHash,
  merkleRoot,
  sha256,
  UsageError,
  utf8Encode,
} from '@haca/primitives';
import {
  encodeBlock,
  encodeBlockId,
  encodeCommitSig,
  encodeDuplicateVoteEvidence,
  encodeHashedParams,
  encodeSimpleValidator,
  encodeTimestamp,
  encodeTxResult,
  encodeVersion,
} from './encoding.ts';
import { bytesField, varintField } from './protobuf.ts';
import type {
  Block,
  BlockId,
  Commit,
  DuplicateVoteEvidence,
  HashedConsensusParams,
  Header,
  PartSetHeader,
  TxResult,
} from './types.ts';
import type { ValidatorSet } from './validator-set.ts';

const PART_SIZE_BYTES = 65_536;

/** SHA-256 of nothing: the hash of every empty list (no transactions, no results, no evidence, no last commit). */
export const EMPTY_HASH: Uint8Array = emptyMerkleRoot();

function merkleOfItems(items: readonly Uint8Array[]): Uint8Array {
  return merkleRoot(items.map(merkleLeafHash));
}

/** The 14 fields of the header, each wrapped as protobuf, in a Merkle tree: the block's hash. 32 bytes. */
export function headerHash(header: Header): Uint8Array {
  return merkleOfItems([
    encodeVersion(header.version),
    bytesField(1, utf8Encode(header.chainId)),
    varintField(1, header.height),
    encodeTimestamp(header.time),
    encodeBlockId(header.lastBlockId),
    bytesField(1, header.lastCommitHash),
    bytesField(1, header.dataHash),
    bytesField(1, header.validatorsHash),
    bytesField(1, header.nextValidatorsHash),
    bytesField(1, header.consensusHash),
    bytesField(1, header.appHash),
    bytesField(1, header.lastResultsHash),
    bytesField(1, header.evidenceHash),
    bytesField(1, header.proposerAddress),
  ]);
}

export function validatorSetHash(set: ValidatorSet): Uint8Array {
  return merkleOfItems(set.validators.map(encodeSimpleValidator));
}

/** The next header's `lastCommitHash`. It covers the signatures only: height, round and block id are in the header. */
export function commitHash(commit: Commit): Uint8Array {
  return merkleOfItems(commit.signatures.map(encodeCommitSig));
}

export function txHash(tx: Uint8Array): Uint8Array {
  return sha256(tx);
}

/** A tree over the hashes of the transactions, not over the transactions. */
export function dataHash(txs: readonly Uint8Array[]): Uint8Array {
  return merkleOfItems(txs.map(txHash));
}

/** The next header's `lastResultsHash`. */
export function resultsHash(results: readonly TxResult[]): Uint8Array {
  return merkleOfItems(results.map(encodeTxResult));
}

export function evidenceHash(evidence: readonly DuplicateVoteEvidence[]): Uint8Array {
  return merkleOfItems(evidence.map(encodeDuplicateVoteEvidence));
}

export function consensusParamsHash(params: HashedConsensusParams): Uint8Array {
  return sha256(encodeHashedParams(params));
}

/** Of an encoded block: its parts of 64 KiB in a Merkle tree. */
export function partSetHeaderOf(blockBytes: Uint8Array): PartSetHeader {
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset < blockBytes.length; offset += PART_SIZE_BYTES) {
    parts.push(blockBytes.subarray(offset, offset + PART_SIZE_BYTES));
  }
  return { total: parts.length, hash: merkleOfItems(parts) };
}

export function blockIdOf(block: Block): BlockId {
  return { hash: headerHash(block.header), parts: partSetHeaderOf(encodeBlock(block)) };
}

/** Proof that a transaction is in a block, as CometBFT's RPC gives it. */
export interface TxProof {
  readonly rootHash: Uint8Array;
  readonly tx: Uint8Array;
  readonly total: number;
  readonly index: number;
  readonly leafHash: Uint8Array;
  /** Sibling hashes from the leaf upwards. */
  readonly aunts: readonly Uint8Array[];
}

export function txProofOf(txs: readonly Uint8Array[], index: number): TxProof {
  const tx = txs[index];
  if (tx === undefined) throw new UsageError(`transaction ${index} of ${txs.length}`);
  const leaves = txs.map((each) => merkleLeafHash(txHash(each)));
  return {
    rootHash: merkleRoot(leaves),
    tx,
    total: txs.length,
    index,
    leafHash: leaves[index] as Uint8Array,
    aunts: merkleInclusionPath(leaves, index),
  };
}
