/** Responses of ABCI 2.0 (`tendermint.abci.Response`, CometBFT v0.38 to v0.40), each written as one whole frame. */
import { UsageError } from '@haca/primitives';
import type {
  AbciEvent,
  ApplySnapshotChunkResponse,
  CheckTxResponse,
  ExecTxResult,
  FinalizeBlockResponse,
  InfoResponse,
  InitChainResponse,
  OfferSnapshotResult,
  ProofOp,
  QueryResponse,
  Snapshot,
  ValidatorPower,
} from '../abci.ts';
import {
  closeMessage,
  openFrame,
  openMessage,
  type WireWriter,
  writeBool,
  writeBytes,
  writeBytesAlways,
  writeInt64,
  writePackedUint32,
  writeText,
  writeTextAlways,
  writeUint,
  writeUint32,
} from './wire-writer.ts';

const OFFER_RESULTS: Readonly<Record<OfferSnapshotResult, number>> = {
  accept: 1,
  abort: 2,
  reject: 3,
  'reject-format': 4,
  'reject-sender': 5,
};
const APPLY_RESULTS: Readonly<Record<ApplySnapshotChunkResponse['result'], number>> = {
  accept: 1,
  abort: 2,
  retry: 3,
  'retry-snapshot': 4,
  'reject-snapshot': 5,
};
const STATUSES = { accept: 1, reject: 2 } as const;

/** One frame with one message in it. `lengthBytes`: how many bytes the lengths will likely take. */
function writeFrame(out: WireWriter, field: number, writeContent: () => void, lengthBytes = 1): void {
  const before = out.length;
  try {
    const frame = openFrame(out, lengthBytes);
    const message = openMessage(out, (field << 3) | 2, lengthBytes);
    writeContent();
    closeMessage(out, message, lengthBytes);
    closeMessage(out, frame, lengthBytes);
  } catch (error) {
    // A value that the format cannot carry must not leave half a frame behind.
    out.length = before;
    throw error;
  }
}

export function writeException(out: WireWriter, error: string): void {
  writeFrame(out, 1, () => writeText(out, 0x0a, error));
}

export function writeEcho(out: WireWriter, message: Uint8Array): void {
  writeFrame(out, 2, () => writeBytes(out, 0x0a, message));
}

export function writeFlush(out: WireWriter): void {
  writeFrame(out, 3, () => undefined);
}

export function writeInfo(out: WireWriter, info: InfoResponse): void {
  writeFrame(out, 4, () => {
    writeText(out, 0x0a, info.data);
    writeText(out, 0x12, info.version);
    writeUint(out, 0x18, info.appVersion);
    writeUint(out, 0x20, info.lastBlockHeight);
    writeBytes(out, 0x2a, info.lastBlockAppHash);
  });
}

export function writeInitChain(out: WireWriter, response: InitChainResponse): void {
  writeFrame(out, 6, () => {
    for (const validator of response.validators) writeValidatorUpdate(out, 0x12, validator);
    writeBytes(out, 0x1a, response.appHash);
  });
}

export function writeQuery(out: WireWriter, response: QueryResponse): void {
  writeFrame(out, 7, () => {
    writeUint32(out, 0x08, response.code);
    writeText(out, 0x1a, response.log);
    writeText(out, 0x22, response.info);
    writeBytes(out, 0x32, response.key);
    writeBytes(out, 0x3a, response.value);
    if (response.proofOps !== null) writeProofOps(out, 0x42, response.proofOps);
    writeUint(out, 0x48, response.height);
    writeText(out, 0x52, response.codespace);
  });
}

export function writeCheckTx(out: WireWriter, response: CheckTxResponse): void {
  writeFrame(out, 9, () => {
    writeUint32(out, 0x08, response.code);
    writeText(out, 0x1a, response.log);
    writeInt64(out, 0x28, response.gasWanted);
    writeText(out, 0x42, response.codespace);
  });
}

export function writeCommit(out: WireWriter, retainHeight: number): void {
  writeFrame(out, 12, () => writeUint(out, 0x18, retainHeight));
}

export function writeListSnapshots(out: WireWriter, snapshots: readonly Snapshot[]): void {
  writeFrame(out, 13, () => {
    for (const { height, format, chunks, hash, metadata } of snapshots) {
      const start = openMessage(out, 0x0a);
      writeUint(out, 0x08, height);
      writeUint32(out, 0x10, format);
      writeUint32(out, 0x18, chunks);
      writeBytes(out, 0x22, hash);
      writeBytes(out, 0x2a, metadata);
      closeMessage(out, start);
    }
  });
}

export function writeOfferSnapshot(out: WireWriter, result: OfferSnapshotResult): void {
  writeFrame(out, 14, () => writeUint32(out, 0x08, enumOf(OFFER_RESULTS, result)));
}

export function writeLoadSnapshotChunk(out: WireWriter, chunk: Uint8Array): void {
  writeFrame(out, 15, () => writeBytes(out, 0x0a, chunk), 4);
}

export function writeApplySnapshotChunk(out: WireWriter, response: ApplySnapshotChunkResponse): void {
  writeFrame(out, 16, () => {
    writeUint32(out, 0x08, enumOf(APPLY_RESULTS, response.result));
    writePackedUint32(out, 0x12, response.refetchChunks);
    for (const sender of response.rejectSenders) writeTextAlways(out, 0x1a, sender);
  });
}

export function writePrepareProposal(out: WireWriter, txs: readonly Uint8Array[]): void {
  const writeTxs = (): void => {
    for (const tx of txs) writeBytesAlways(out, 0x0a, tx);
  };
  writeFrame(out, 17, writeTxs, txs.length === 0 ? 1 : 3);
}

export function writeProcessProposal(out: WireWriter, status: 'accept' | 'reject'): void {
  writeFrame(out, 18, () => writeUint32(out, 0x08, enumOf(STATUSES, status)));
}

/** Always the empty extension. */
export function writeExtendVote(out: WireWriter): void {
  writeFrame(out, 19, () => undefined);
}

export function writeVerifyVoteExtension(out: WireWriter, status: 'accept' | 'reject'): void {
  writeFrame(out, 20, () => writeUint32(out, 0x08, enumOf(STATUSES, status)));
}

export function writeFinalizeBlock(out: WireWriter, response: FinalizeBlockResponse): void {
  const writeContent = (): void => {
    for (const event of response.events) writeEvent(out, 0x0a, event);
    for (const result of response.txResults) writeExecTxResult(out, 0x12, result);
    for (const update of response.validatorUpdates) writeValidatorUpdate(out, 0x1a, update);
    writeBytes(out, 0x2a, response.appHash);
  };
  writeFrame(out, 21, writeContent, response.txResults.length < 100 ? 2 : 3);
}

function writeExecTxResult(out: WireWriter, tag: number, result: ExecTxResult): void {
  const start = openMessage(out, tag);
  writeUint32(out, 0x08, result.code);
  writeBytes(out, 0x12, result.data);
  writeText(out, 0x1a, result.log);
  writeText(out, 0x22, result.info);
  writeInt64(out, 0x28, result.gasWanted);
  writeInt64(out, 0x30, result.gasUsed);
  for (const event of result.events) writeEvent(out, 0x3a, event);
  writeText(out, 0x42, result.codespace);
  closeMessage(out, start);
}

function writeEvent(out: WireWriter, tag: number, event: AbciEvent): void {
  const start = openMessage(out, tag);
  writeText(out, 0x0a, event.type);
  for (const { key, value, index } of event.attributes) {
    const attribute = openMessage(out, 0x12);
    writeText(out, 0x0a, key);
    writeText(out, 0x12, value);
    writeBool(out, 0x18, index);
    closeMessage(out, attribute);
  }
  closeMessage(out, start);
}

function writeValidatorUpdate(out: WireWriter, tag: number, { publicKey, power }: ValidatorPower): void {
  const start = openMessage(out, tag);
  const key = openMessage(out, 0x0a);
  writeBytesAlways(out, 0x0a, publicKey);
  closeMessage(out, key);
  writeInt64(out, 0x10, power);
  closeMessage(out, start);
}

function writeProofOps(out: WireWriter, tag: number, ops: readonly ProofOp[]): void {
  const start = openMessage(out, tag);
  for (const { type, key, data } of ops) {
    const op = openMessage(out, 0x0a);
    writeText(out, 0x0a, type);
    writeBytes(out, 0x12, key);
    writeBytes(out, 0x1a, data);
    closeMessage(out, op);
  }
  closeMessage(out, start);
}

function enumOf<K extends string>(numbers: Readonly<Record<K, number>>, name: K): number {
  const number = numbers[name];
  if (number !== undefined) return number;
  throw new UsageError(`${JSON.stringify(name)} is not one of ${Object.keys(numbers).join(', ')}`);
}
