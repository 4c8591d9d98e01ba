/**
 * Requests of ABCI 2.0 (`tendermint.abci.Request`, CometBFT v0.38 to v0.40) as bytes. Everything a CometBFT sends is taken,
 * with one exception: values our seam has no room for, such as validator keys that are not Ed25519.
 */
import type { Timestamp, Validator } from '@haca/light-client';
import { MalformedError } from '@haca/primitives';
import type {
  ApplySnapshotChunkRequest,
  BlockRequest,
  InitChainRequest,
  Misbehavior,
  PrepareProposalRequest,
  SnapshotChunkRequest,
  VoteInfo,
} from '../abci.ts';
import {
  EMPTY_BYTES,
  enterMessage,
  leaveMessage,
  readBool,
  readBytes,
  readInt64,
  readListedBytes,
  readTag,
  readText,
  readUint,
  skipField,
  type WireReader,
  wireReader,
} from './wire-reader.ts';

/** A query as a stranger may have put it: CometBFT's RPC passes any height on. */
export interface WireQuery {
  readonly path: string;
  readonly data: Uint8Array;
  readonly height: bigint;
  readonly prove: boolean;
}

/** A snapshot as a peer described it: any height. */
export interface WireSnapshot {
  readonly height: bigint;
  readonly format: number;
  readonly chunks: number;
  readonly hash: Uint8Array;
  readonly metadata: Uint8Array;
}

export type AbciRequest =
  | { readonly method: 'echo'; readonly message: Uint8Array }
  | { readonly method: 'flush' }
  | { readonly method: 'info' }
  | { readonly method: 'init-chain'; readonly chain: InitChainRequest }
  | { readonly method: 'query'; readonly query: WireQuery }
  | { readonly method: 'check-tx'; readonly tx: Uint8Array; readonly kind: 'new' | 'recheck' }
  | { readonly method: 'commit' }
  | { readonly method: 'list-snapshots' }
  | {
      readonly method: 'offer-snapshot';
      /** Null where the request names none. */
      readonly snapshot: WireSnapshot | null;
      readonly appHash: Uint8Array;
    }
  | {
      readonly method: 'load-snapshot-chunk';
      readonly chunk: Omit<SnapshotChunkRequest, 'height'> & { readonly height: bigint };
    }
  | { readonly method: 'apply-snapshot-chunk'; readonly chunk: ApplySnapshotChunkRequest }
  | { readonly method: 'prepare-proposal'; readonly proposal: PrepareProposalRequest & CommitOf }
  | { readonly method: 'process-proposal'; readonly block: BlockRequest }
  | { readonly method: 'extend-vote'; readonly height: number; readonly hash: Uint8Array }
  | {
      readonly method: 'verify-vote-extension';
      readonly height: number;
      readonly hash: Uint8Array;
      readonly extension: Uint8Array;
    }
  | { readonly method: 'finalize-block'; readonly block: BlockRequest }
  | { readonly method: 'insert-tx' }
  | { readonly method: 'reap-txs' };

export type AbciMethod = AbciRequest['method'];

export const ABCI_METHODS = [
  'echo',
  'flush',
  'info',
  'init-chain',
  'query',
  'check-tx',
  'commit',
  'list-snapshots',
  'offer-snapshot',
  'load-snapshot-chunk',
  'apply-snapshot-chunk',
  'prepare-proposal',
  'process-proposal',
  'extend-vote',
  'verify-vote-extension',
  'finalize-block',
  'insert-tx',
  'reap-txs',
] as const satisfies readonly AbciMethod[];

type CommitOf = Pick<BlockRequest, 'lastCommit' | 'misbehavior'>;

const EPOCH: Timestamp = { seconds: 0n, nanos: 0 };
const NO_COMMIT: readonly VoteInfo[] = [];
const BLOCK_ID_FLAG_COMMIT = 2;
const MISBEHAVIOR_KINDS = [undefined, 'duplicate-vote', 'light-client-attack'] as const;

/** Decodes the message of one frame; throws `MalformedError`. Nothing in the result refers to `frame`. */
export function decodeRequest(frame: Uint8Array): AbciRequest {
  const reader = wireReader(frame);
  let request: AbciRequest | undefined;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag % 8 !== 2) {
      skipField(reader, tag, 0);
      continue;
    }
    const outerEnd = enterMessage(reader);
    const decoded = decodeMethod(reader, tag);
    leaveMessage(reader, outerEnd);
    if (request !== undefined) {
      throw new MalformedError('abci-request.kind', '', 'one request', `${request.method} and another`);
    }
    request = decoded;
  }
  if (request !== undefined) return request;
  throw new MalformedError('abci-request.kind', '', 'a request of a known kind', 'none');
}

function decodeMethod(reader: WireReader, tag: number): AbciRequest {
  switch (tag >> 3) {
    case 1:
      return { method: 'echo', message: decodeEcho(reader) };
    case 2:
      return withoutContent(reader, { method: 'flush' });
    case 3:
      return withoutContent(reader, { method: 'info' });
    case 5:
      return { method: 'init-chain', chain: decodeInitChain(reader) };
    case 6:
      return { method: 'query', query: decodeQuery(reader) };
    case 8:
      return decodeCheckTx(reader);
    case 11:
      return withoutContent(reader, { method: 'commit' });
    case 12:
      return withoutContent(reader, { method: 'list-snapshots' });
    case 13:
      return decodeOfferSnapshot(reader);
    case 14:
      return decodeLoadSnapshotChunk(reader);
    case 15:
      return { method: 'apply-snapshot-chunk', chunk: decodeApplySnapshotChunk(reader) };
    case 16:
      return { method: 'prepare-proposal', proposal: decodePrepareProposal(reader) };
    case 17:
      return { method: 'process-proposal', block: decodeBlock(reader) };
    case 18:
      return decodeExtendVote(reader);
    case 19:
      return decodeVerifyVoteExtension(reader);
    case 20:
      return { method: 'finalize-block', block: decodeBlock(reader) };
    case 21:
      return withoutContent(reader, { method: 'insert-tx' });
    case 22:
      return withoutContent(reader, { method: 'reap-txs' });
    default:
      throw new MalformedError('abci-request.kind', '', 'a request of a known kind', `number ${tag >> 3}`);
  }
}

/** A request whose content nobody asks for; it must still be a sequence of fields. */
function withoutContent<T extends AbciRequest>(reader: WireReader, request: T): T {
  while (reader.offset < reader.end) skipField(reader, readTag(reader), 0);
  return request;
}

function decodeEcho(reader: WireReader): Uint8Array {
  let message = EMPTY_BYTES;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) message = readBytes(reader);
    else skipField(reader, tag, 0b10);
  }
  return message;
}

function decodeCheckTx(reader: WireReader): AbciRequest {
  let tx = EMPTY_BYTES;
  let kind = 0;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) tx = readBytes(reader);
    else if (tag === 0x10) kind = readUint(reader);
    else skipField(reader, tag, 0b110);
  }
  if (kind > 1) throw new MalformedError('abci-request.enum', 'type', '0 (new) or 1 (recheck)', `${kind}`);
  return { method: 'check-tx', tx, kind: kind === 0 ? 'new' : 'recheck' };
}

function decodeQuery(reader: WireReader): WireQuery {
  let data = EMPTY_BYTES;
  let path = '';
  let height = 0n;
  let prove = false;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) data = readBytes(reader);
    else if (tag === 0x12) path = readText(reader);
    else if (tag === 0x18) height = readInt64(reader);
    else if (tag === 0x20) prove = readBool(reader);
    else skipField(reader, tag, 0b1_1110);
  }
  return { data, path, height, prove };
}

function decodeInitChain(reader: WireReader): InitChainRequest {
  let time = EPOCH;
  let chainId = '';
  let appState = EMPTY_BYTES;
  let initialHeight = 0;
  const validators: Validator[] = [];
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) time = decodeTimestamp(reader);
    else if (tag === 0x12) chainId = readText(reader);
    else if (tag === 0x22) validators.push(decodeValidatorUpdate(reader));
    else if (tag === 0x2a) appState = readBytes(reader);
    else if (tag === 0x30) initialHeight = readHeight(reader, 'initial_height');
    else skipField(reader, tag, 0b111_0110);
  }
  return { time, chainId, validators, appState, initialHeight };
}

function decodeValidatorUpdate(reader: WireReader): Validator {
  let publicKey = EMPTY_BYTES;
  let power = 0n;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) publicKey = decodePublicKey(reader);
    else if (tag === 0x10) power = readInt64(reader);
    else skipField(reader, tag, 0b110);
  }
  leaveMessage(reader, outerEnd);
  if (publicKey.length === 32) return { publicKey, power };
  throw new MalformedError(
    'abci-request.key',
    'pub_key',
    'an Ed25519 key of 32 bytes',
    `${publicKey.length}`,
  );
}

/** `tendermint.crypto.PublicKey`; Ed25519 is all this network knows. */
function decodePublicKey(reader: WireReader): Uint8Array {
  let key = EMPTY_BYTES;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) key = readBytes(reader);
    else throw new MalformedError('abci-request.key', 'pub_key', 'an Ed25519 key', `kind ${tag >> 3}`);
  }
  leaveMessage(reader, outerEnd);
  return key;
}

function decodePrepareProposal(reader: WireReader): PrepareProposalRequest & CommitOf {
  let maxTxBytes = 0;
  let lastCommit = NO_COMMIT;
  let height = 0;
  let time = EPOCH;
  let proposerAddress = EMPTY_BYTES;
  const txs: Uint8Array[] = [];
  const misbehavior: Misbehavior[] = [];
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x12) txs.push(readListedBytes(reader));
    else if (tag === 0x08) maxTxBytes = readHeight(reader, 'max_tx_bytes');
    else if (tag === 0x1a) lastCommit = decodeCommitInfo(reader, 0x28);
    else if (tag === 0x22) misbehavior.push(decodeMisbehavior(reader));
    else if (tag === 0x28) height = readHeight(reader, 'height');
    else if (tag === 0x32) time = decodeTimestamp(reader);
    else if (tag === 0x42) proposerAddress = readBytes(reader);
    else skipField(reader, tag, 0b1_0111_1110);
  }
  return { txs, maxTxBytes, lastCommit, misbehavior, height, time, proposerAddress };
}

/** ProcessProposal and FinalizeBlock have the same fields under the same numbers. */
function decodeBlock(reader: WireReader): BlockRequest {
  let lastCommit = NO_COMMIT;
  let hash = EMPTY_BYTES;
  let height = 0;
  let time = EPOCH;
  let proposerAddress = EMPTY_BYTES;
  const txs: Uint8Array[] = [];
  const misbehavior: Misbehavior[] = [];
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) txs.push(readListedBytes(reader));
    else if (tag === 0x12) lastCommit = decodeCommitInfo(reader, 0x18);
    else if (tag === 0x1a) misbehavior.push(decodeMisbehavior(reader));
    else if (tag === 0x22) hash = readBytes(reader);
    else if (tag === 0x28) height = readHeight(reader, 'height');
    else if (tag === 0x32) time = decodeTimestamp(reader);
    else if (tag === 0x42) proposerAddress = readBytes(reader);
    else skipField(reader, tag, 0b1_0111_1110);
  }
  return { txs, lastCommit, misbehavior, hash, height, time, proposerAddress };
}

/** CommitInfo, and ExtendedCommitInfo, which differs in where the flag is. */
function decodeCommitInfo(reader: WireReader, flagTag: number): readonly VoteInfo[] {
  const votes: VoteInfo[] = [];
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x12) votes.push(decodeVoteInfo(reader, flagTag));
    else skipField(reader, tag, 0b100);
  }
  leaveMessage(reader, outerEnd);
  return votes;
}

function decodeVoteInfo(reader: WireReader, flagTag: number): VoteInfo {
  let validator = NO_VALIDATOR;
  let flag = 0;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) validator = decodeValidator(reader);
    else if (tag === flagTag) flag = readUint(reader);
    else skipField(reader, tag, (1 << (flagTag >> 3)) | 0b10);
  }
  leaveMessage(reader, outerEnd);
  return { ...validator, signed: flag === BLOCK_ID_FLAG_COMMIT };
}

const NO_VALIDATOR = { address: EMPTY_BYTES, power: 0n };

function decodeValidator(reader: WireReader): { readonly address: Uint8Array; readonly power: bigint } {
  let address = EMPTY_BYTES;
  let power = 0n;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) address = readBytes(reader);
    else if (tag === 0x18) power = readInt64(reader);
    else skipField(reader, tag, 0b1010);
  }
  leaveMessage(reader, outerEnd);
  return { address, power };
}

function decodeMisbehavior(reader: WireReader): Misbehavior {
  let kindNumber = 0;
  let { address } = NO_VALIDATOR;
  let height = 0;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x08) kindNumber = readUint(reader);
    else if (tag === 0x12) ({ address } = decodeValidator(reader));
    else if (tag === 0x18) height = readHeight(reader, 'misbehavior.height');
    else skipField(reader, tag, 0b1110);
  }
  leaveMessage(reader, outerEnd);
  const kind = MISBEHAVIOR_KINDS[kindNumber];
  if (kind !== undefined) return { kind, address, height };
  throw new MalformedError('abci-request.enum', 'misbehavior.type', '1 or 2', `${kindNumber}`);
}

function decodeExtendVote(reader: WireReader): AbciRequest {
  let hash = EMPTY_BYTES;
  let height = 0;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) hash = readBytes(reader);
    else if (tag === 0x10) height = readHeight(reader, 'height');
    else skipField(reader, tag, 0b110);
  }
  return { method: 'extend-vote', hash, height };
}

function decodeVerifyVoteExtension(reader: WireReader): AbciRequest {
  let hash = EMPTY_BYTES;
  let height = 0;
  let extension = EMPTY_BYTES;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) hash = readBytes(reader);
    else if (tag === 0x18) height = readHeight(reader, 'height');
    else if (tag === 0x22) extension = readBytes(reader);
    else skipField(reader, tag, 0b1_1010);
  }
  return { method: 'verify-vote-extension', hash, height, extension };
}

function decodeOfferSnapshot(reader: WireReader): AbciRequest {
  let snapshot: WireSnapshot | null = null;
  let appHash = EMPTY_BYTES;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x0a) snapshot = decodeSnapshot(reader);
    else if (tag === 0x12) appHash = readBytes(reader);
    else skipField(reader, tag, 0b110);
  }
  return { method: 'offer-snapshot', snapshot, appHash };
}

function decodeSnapshot(reader: WireReader): WireSnapshot {
  let height = 0n;
  let format = 0;
  let chunks = 0;
  let hash = EMPTY_BYTES;
  let metadata = EMPTY_BYTES;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x08) height = BigInt.asUintN(64, readInt64(reader));
    else if (tag === 0x10) format = readUint(reader);
    else if (tag === 0x18) chunks = readUint(reader);
    else if (tag === 0x22) hash = readBytes(reader);
    else if (tag === 0x2a) metadata = readBytes(reader);
    else skipField(reader, tag, 0b11_1110);
  }
  leaveMessage(reader, outerEnd);
  return { height, format, chunks, hash, metadata };
}

function decodeLoadSnapshotChunk(reader: WireReader): AbciRequest {
  let height = 0n;
  let format = 0;
  let chunk = 0;
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x08) height = BigInt.asUintN(64, readInt64(reader));
    else if (tag === 0x10) format = readUint(reader);
    else if (tag === 0x18) chunk = readUint(reader);
    else skipField(reader, tag, 0b1110);
  }
  return { method: 'load-snapshot-chunk', chunk: { height, format, chunk } };
}

function decodeApplySnapshotChunk(reader: WireReader): ApplySnapshotChunkRequest {
  let index = 0;
  let chunk = EMPTY_BYTES;
  let sender = '';
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x08) index = readUint(reader);
    else if (tag === 0x12) chunk = readBytes(reader);
    else if (tag === 0x1a) sender = readText(reader);
    else skipField(reader, tag, 0b1110);
  }
  return { index, chunk, sender };
}

function decodeTimestamp(reader: WireReader): Timestamp {
  let seconds = 0n;
  let nanos = 0;
  const outerEnd = enterMessage(reader);
  while (reader.offset < reader.end) {
    const tag = readTag(reader);
    if (tag === 0x08) seconds = readInt64(reader);
    else if (tag === 0x10) nanos = readUint(reader);
    else skipField(reader, tag, 0b110);
  }
  leaveMessage(reader, outerEnd);
  if (nanos <= 999_999_999) return { seconds, nanos };
  throw new MalformedError('abci-request.time', 'nanos', 'less than a second', `${nanos} ns`);
}

/** An int64 that must be a safe non-negative integer. */
function readHeight(reader: WireReader, path: string): number {
  const { offset } = reader;
  try {
    return readUint(reader);
  } catch (error) {
    if (!(error instanceof MalformedError) || error.code !== 'abci-wire.range') throw error;
    reader.offset = offset;
    const value = readInt64(reader);
    throw new MalformedError('abci-request.range', path, 'an integer from 0 to 2^53 - 1', `${value}`);
  }
}
