import { arrayOf, field, merkleLeafHash, nullable, struct, type TypeOf, uint } from '@haca/primitives';
import { chainIdCodec, digest32, version } from './common.ts';
import { runningTotalsCodec } from './receipt.ts';
import { signedKind } from './signed-object.ts';
import { creditCodec } from './units.ts';
import { LANES_PER_CHANNEL_AND_KEY } from './voucher.ts';

export const RECEIPTS_PER_BATCH_MAX = 4096;
export const CHARGE_LINES_MAX = 256;

/** Receipts `firstSeq .. firstSeq + count - 1`, by the RFC 9162 root over their hashes, and the totals after the last. */
export const receiptBatchCodec = struct({
  firstSeq: field(0, uint()),
  count: field(1, uint(RECEIPTS_PER_BATCH_MAX)),
  prevReceiptHash: field(2, digest32),
  lastReceiptHash: field(3, digest32),
  receiptsRoot: field(4, digest32),
  running: field(5, runningTotalsCodec),
});
export type ReceiptBatch = TypeOf<typeof receiptBatchCodec>;

/** Redeems one lane from `from` to `to`, for receipts `fromSeq .. atSeq` of the key. */
export const chargeLineCodec = struct({
  channelId: field(0, digest32),
  lane: field(1, uint(LANES_PER_CHANNEL_AND_KEY - 1)),
  fromSeq: field(2, uint()),
  atSeq: field(3, uint()),
  from: field(4, creditCodec),
  to: field(5, creditCodec),
});
export type ChargeLine = TypeOf<typeof chargeLineCodec>;

/** The batch statement. Without a batch it only redeems, and can be sent at any later time. */
export const statementCodec = struct({
  version: field(0, version),
  chainId: field(1, chainIdCodec),
  keyId: field(2, digest32),
  batch: field(3, nullable(receiptBatchCodec)),
  charges: field(4, arrayOf(chargeLineCodec, CHARGE_LINES_MAX)),
});
export type Statement = TypeOf<typeof statementCodec>;

export const STATEMENT_MAX_BYTES = 32_768;
export const STATEMENT = signedKind('statement', statementCodec, STATEMENT_MAX_BYTES);

/** The leaf of a receipt in its batch tree. */
export function receiptLeafHash(receiptHash: Uint8Array): Uint8Array {
  return merkleLeafHash(receiptHash);
}

/** The leaf of a statement in the log of its key. */
export function statementLeafHash(statementHash: Uint8Array): Uint8Array {
  return merkleLeafHash(statementHash);
}
