/** The JSON that CometBFT's RPC speaks, for the parts of blocks a light client verifies: both directions. */
import { bytesEqual, MalformedError, utf8Encode } from '@haca/primitives';
import { flagNumber, flagOfNumber } from './encoding.ts';
import type { TxProof } from './hashing.ts';
import {
  isAbsent,
  type JsonNode,
  member,
  readBase64,
  readHeight,
  readHex,
  readHexUpTo,
  readInt64,
  readListOrNull,
  readSmallInteger,
  readText,
  toBase64,
  toUpperHex,
} from './json-reader.ts';
import { formatTimestamp, parseTimestamp, type Timestamp } from './timestamp.ts';
import {
  type Block,
  type BlockId,
  type Commit,
  type CommitSig,
  type DuplicateVoteEvidence,
  type Header,
  LIMITS,
  type SignedHeader,
  type Vote,
  ZERO_BLOCK_ID,
} from './types.ts';
import { type IndexedValidator, type Validator, validatorAddress } from './validator-set.ts';

const INT32_MAX = 2 ** 31 - 1;
const UINT32_MAX = 2 ** 32 - 1;
const HASH_OR_NOTHING = [0, 32] as const;
const ADDRESS_BYTES = 20;
const TX_BYTES_MAX = 1 << 26;
const ED25519_KEY_TYPE = 'tendermint/PubKeyEd25519';
const DUPLICATE_VOTE_TYPE = 'tendermint/DuplicateVoteEvidence';

/** JSON as `JSON.stringify` takes it. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** `header` of a `block`, `commit` or `header` answer. Throws `MalformedError`, as every decoder here. */
export function decodeHeader(json: unknown, path = 'header'): Header {
  const node: JsonNode = { value: json, path };
  const version = member(node, 'version');
  const hash = (name: string) => readHex(member(node, name), HASH_OR_NOTHING);
  return {
    version: { block: readHeightOr0(member(version, 'block')), app: readHeightOr0(member(version, 'app')) },
    chainId: readChainId(member(node, 'chain_id')),
    height: readHeight(member(node, 'height')),
    time: readTime(member(node, 'time')),
    lastBlockId: readBlockIdOrNull(member(node, 'last_block_id')),
    lastCommitHash: hash('last_commit_hash'),
    dataHash: hash('data_hash'),
    validatorsHash: hash('validators_hash'),
    nextValidatorsHash: hash('next_validators_hash'),
    consensusHash: hash('consensus_hash'),
    appHash: readHexUpTo(member(node, 'app_hash'), LIMITS.appHashBytes),
    lastResultsHash: hash('last_results_hash'),
    evidenceHash: hash('evidence_hash'),
    proposerAddress: readHex(member(node, 'proposer_address'), [ADDRESS_BYTES]),
  };
}

export function encodeHeaderJson(header: Header) {
  return {
    version: { block: `${header.version.block}`, app: `${header.version.app}` },
    chain_id: header.chainId,
    height: `${header.height}`,
    time: formatTimestamp(header.time),
    last_block_id: encodeBlockIdJson(header.lastBlockId),
    last_commit_hash: toUpperHex(header.lastCommitHash),
    data_hash: toUpperHex(header.dataHash),
    validators_hash: toUpperHex(header.validatorsHash),
    next_validators_hash: toUpperHex(header.nextValidatorsHash),
    consensus_hash: toUpperHex(header.consensusHash),
    app_hash: toUpperHex(header.appHash),
    last_results_hash: toUpperHex(header.lastResultsHash),
    evidence_hash: toUpperHex(header.evidenceHash),
    proposer_address: toUpperHex(header.proposerAddress),
  } satisfies JsonValue;
}

export function decodeBlockId(json: unknown, path = 'block_id'): BlockId {
  return readBlockId({ value: json, path });
}

export function encodeBlockIdJson(id: BlockId) {
  return {
    hash: toUpperHex(id.hash),
    parts: { total: id.parts.total, hash: toUpperHex(id.parts.hash) },
  } satisfies JsonValue;
}

export function decodeCommit(json: unknown, path = 'commit'): Commit {
  const node: JsonNode = { value: json, path };
  return {
    height: readHeight(member(node, 'height')),
    round: readSmallInteger(member(node, 'round'), 0, INT32_MAX),
    blockId: readBlockId(member(node, 'block_id')),
    signatures: readListOrNull(member(node, 'signatures'), LIMITS.validators).map(readCommitSig),
  };
}

export function encodeCommitJson(commit: Commit) {
  return {
    height: `${commit.height}`,
    round: commit.round,
    block_id: encodeBlockIdJson(commit.blockId),
    signatures: commit.signatures.map((sig) => ({
      block_id_flag: flagNumber(sig.flag),
      validator_address: toUpperHex(sig.validatorAddress),
      timestamp: formatTimestamp(sig.timestamp),
      signature: sig.signature.length === 0 ? null : toBase64(sig.signature),
    })),
  } satisfies JsonValue;
}

/** `signed_header` of a `commit` answer. */
export function decodeSignedHeader(json: unknown, path = 'signed_header'): SignedHeader {
  const node: JsonNode = { value: json, path };
  const header = member(node, 'header');
  const commit = member(node, 'commit');
  return { header: decodeHeader(header.value, header.path), commit: decodeCommit(commit.value, commit.path) };
}

export function encodeSignedHeaderJson({ header, commit }: SignedHeader) {
  return { header: encodeHeaderJson(header), commit: encodeCommitJson(commit) } satisfies JsonValue;
}

/** `block` of a `block` answer. Of evidence only duplicate votes are known. */
export function decodeBlock(json: unknown, path = 'block'): Block {
  const node: JsonNode = { value: json, path };
  const header = member(node, 'header');
  const lastCommit = member(node, 'last_commit');
  const evidence = member(member(node, 'evidence'), 'evidence');
  return {
    header: decodeHeader(header.value, header.path),
    txs: readListOrNull(member(member(node, 'data'), 'txs'), LIMITS.txs).map((tx) =>
      readBase64(tx, TX_BYTES_MAX),
    ),
    evidence: readListOrNull(evidence, LIMITS.evidence).map(readEvidence),
    lastCommit: decodeCommit(lastCommit.value, lastCommit.path),
  };
}

export function encodeBlockJson(block: Block) {
  return {
    header: encodeHeaderJson(block.header),
    data: { txs: block.txs.map(toBase64) },
    evidence: { evidence: block.evidence.map(encodeEvidenceJson) },
    last_commit: encodeCommitJson(block.lastCommit),
  } satisfies JsonValue;
}

/** One page of a `validators` answer. */
export interface ValidatorsPage {
  readonly height: number;
  /** In the order of the answer; `validatorSetOf` puts all pages together and in order. */
  readonly validators: readonly Validator[];
  /** How many there are on all pages. */
  readonly total: number;
}

/** `result` of a `validators` answer. An address that is not that of its key is malformed. */
export function decodeValidatorsPage(json: unknown, path = 'validators_page'): ValidatorsPage {
  const node: JsonNode = { value: json, path };
  const validators = readListOrNull(member(node, 'validators'), LIMITS.validators).map(readValidator);
  const total = readHeight(member(node, 'total'));
  if (total < validators.length || total > LIMITS.validators) {
    const expected = `${validators.length} to ${LIMITS.validators}`;
    throw new MalformedError('json.range', `${path}.total`, expected, `${total}`);
  }
  return { height: readHeight(member(node, 'block_height')), validators, total };
}

export function decodeValidator(json: unknown, path = 'validator'): Validator {
  return readValidator({ value: json, path });
}

export function encodeValidatorJson(validator: IndexedValidator, proposerPriority = 0n) {
  return {
    address: toUpperHex(validator.address),
    pub_key: { type: ED25519_KEY_TYPE, value: toBase64(validator.publicKey) },
    voting_power: `${validator.power}`,
    proposer_priority: `${proposerPriority}`,
  } satisfies JsonValue;
}

/** `proof` of a `tx` or `tx_search` answer. */
export function decodeTxProof(json: unknown, path = 'proof'): TxProof {
  const node: JsonNode = { value: json, path };
  const proof = member(node, 'proof');
  return {
    rootHash: readHex(member(node, 'root_hash'), [32]),
    tx: readBase64(member(node, 'data'), TX_BYTES_MAX),
    total: readHeight(member(proof, 'total')),
    index: readHeight(member(proof, 'index')),
    leafHash: readBase64(member(proof, 'leaf_hash'), 32),
    aunts: readListOrNull(member(proof, 'aunts'), LIMITS.merkleAunts).map((aunt) => readBase64(aunt, 32)),
  };
}

export function encodeTxProofJson(proof: TxProof) {
  return {
    root_hash: toUpperHex(proof.rootHash),
    data: toBase64(proof.tx),
    proof: {
      total: `${proof.total}`,
      index: `${proof.index}`,
      leaf_hash: toBase64(proof.leafHash),
      aunts: proof.aunts.map(toBase64),
    },
  } satisfies JsonValue;
}

function readHeightOr0(node: JsonNode): number {
  return isAbsent(node) ? 0 : readHeight(node);
}

function readChainId(node: JsonNode): string {
  const text = readText(node, LIMITS.chainIdBytes);
  const sizeBytes = utf8Encode(text, node.path).length;
  if (sizeBytes === 0 || sizeBytes > LIMITS.chainIdBytes) {
    throw new MalformedError('json.length', node.path, `1 to ${LIMITS.chainIdBytes} bytes`, `${sizeBytes}`);
  }
  return text;
}

function readTime(node: JsonNode): Timestamp {
  return parseTimestamp(readText(node, 30), node.path);
}

function readBlockIdOrNull(node: JsonNode): BlockId {
  return isAbsent(node) ? ZERO_BLOCK_ID : readBlockId(node);
}

function readBlockId(node: JsonNode): BlockId {
  const parts = member(node, 'parts');
  return {
    hash: readHex(member(node, 'hash'), HASH_OR_NOTHING),
    parts: {
      total: readSmallInteger(member(parts, 'total'), 0, UINT32_MAX),
      hash: readHex(member(parts, 'hash'), HASH_OR_NOTHING),
    },
  };
}

function readCommitSig(node: JsonNode): CommitSig {
  const signature = member(node, 'signature');
  return {
    flag: flagOfNumber(member(node, 'block_id_flag').value, `${node.path}.block_id_flag`),
    validatorAddress: readHex(member(node, 'validator_address'), [0, ADDRESS_BYTES]),
    timestamp: readTime(member(node, 'timestamp')),
    signature: readBytesOrNull(signature, LIMITS.signatureBytes),
  };
}

function readBytesOrNull(node: JsonNode, maxBytes: number): Uint8Array {
  return isAbsent(node) ? new Uint8Array(0) : readBase64(node, maxBytes);
}

function readValidator(node: JsonNode): Validator {
  const key = member(node, 'pub_key');
  const type = readText(member(key, 'type'), 64);
  if (type !== ED25519_KEY_TYPE) {
    throw new MalformedError(
      'validators.key-type',
      `${key.path}.type`,
      ED25519_KEY_TYPE,
      JSON.stringify(type),
    );
  }
  const publicKey = readBase64(member(key, 'value'), 32);
  if (publicKey.length !== 32) {
    throw new MalformedError('validators.key', `${key.path}.value`, '32 bytes', `${publicKey.length}`);
  }
  const address = readHex(member(node, 'address'), [ADDRESS_BYTES]);
  const derived = validatorAddress(publicKey);
  if (!bytesEqual(address, derived)) {
    throw new MalformedError(
      'validators.address',
      `${node.path}.address`,
      toUpperHex(derived),
      toUpperHex(address),
    );
  }
  return { publicKey, power: readInt64(member(node, 'voting_power')) };
}

function readVote(node: JsonNode): Vote {
  return {
    type: readSmallInteger(member(node, 'type'), 1, 2),
    height: readHeight(member(node, 'height')),
    round: readSmallInteger(member(node, 'round'), 0, INT32_MAX),
    blockId: readBlockId(member(node, 'block_id')),
    timestamp: readTime(member(node, 'timestamp')),
    validatorAddress: readHex(member(node, 'validator_address'), [ADDRESS_BYTES]),
    validatorIndex: readSmallInteger(member(node, 'validator_index'), 0, INT32_MAX),
    signature: readBytesOrNull(member(node, 'signature'), LIMITS.signatureBytes),
    extension: readBytesOrNull(member(node, 'extension'), LIMITS.extensionBytes),
    extensionSignature: readBytesOrNull(member(node, 'extension_signature'), LIMITS.signatureBytes),
  };
}

function encodeVoteJson(vote: Vote) {
  return {
    type: vote.type,
    height: `${vote.height}`,
    round: vote.round,
    block_id: encodeBlockIdJson(vote.blockId),
    timestamp: formatTimestamp(vote.timestamp),
    validator_address: toUpperHex(vote.validatorAddress),
    validator_index: vote.validatorIndex,
    signature: toBase64(vote.signature),
    extension: vote.extension.length === 0 ? null : toBase64(vote.extension),
    extension_signature: vote.extensionSignature.length === 0 ? null : toBase64(vote.extensionSignature),
  } satisfies JsonValue;
}

/** v0.38 to v0.40 give the last three members no JSON names of their own, so they have Go's; v1 names them like the others. */
function readEvidence(node: JsonNode): DuplicateVoteEvidence {
  const type = readText(member(node, 'type'), 64);
  if (type !== DUPLICATE_VOTE_TYPE) {
    throw new MalformedError('evidence.kind', `${node.path}.type`, DUPLICATE_VOTE_TYPE, JSON.stringify(type));
  }
  const value = member(node, 'value');
  return {
    voteA: readVote(member(value, 'vote_a')),
    voteB: readVote(member(value, 'vote_b')),
    totalVotingPower: readInt64(eitherMember(value, 'TotalVotingPower', 'total_voting_power')),
    validatorPower: readInt64(eitherMember(value, 'ValidatorPower', 'validator_power')),
    timestamp: readTime(eitherMember(value, 'Timestamp', 'timestamp')),
  };
}

function eitherMember(node: JsonNode, name: string, otherName: string): JsonNode {
  const found = member(node, name);
  return isAbsent(found) ? member(node, otherName) : found;
}

/** As `broadcast_evidence` of CometBFT v0.38 to v0.40 takes it. */
export function encodeEvidenceJson(evidence: DuplicateVoteEvidence) {
  return {
    type: DUPLICATE_VOTE_TYPE,
    value: {
      vote_a: encodeVoteJson(evidence.voteA),
      vote_b: encodeVoteJson(evidence.voteB),
      TotalVotingPower: `${evidence.totalVotingPower}`,
      ValidatorPower: `${evidence.validatorPower}`,
      Timestamp: formatTimestamp(evidence.timestamp),
    },
  } satisfies JsonValue;
}
