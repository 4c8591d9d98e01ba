/** How many receipts can be proved together: what does not fit one transaction, or the node's bucket, is never settled as one. */

import { toHex } from '@haca/primitives';
import {
  CHARGE_LINE_GAS,
  CLAIM_GAS,
  GAS,
  type ProtocolParams,
  TRANSACTION_MAX_BYTES,
  type VerifyingKeyRecord,
  VOUCHER_MAX_BYTES,
  ZK_SALT_BYTES,
  zkBatchIndex,
} from '@haca/protocol';
import type { IssuedReceipt } from '../key-stream.ts';

/** A charge line with its voucher and their frames. */
const LINE_BYTES = VOUCHER_MAX_BYTES + 160;
const ENVELOPE_BYTES = 4_096;
/** Length prefixes of a receipt's payload and salt. */
const ROW_FRAME_BYTES = 8;

export interface BatchLimits {
  /** Largest count to look at. */
  readonly countMax: number;
  /** Lanes that one transaction redeems. */
  readonly linesMax: number;
}

interface Size {
  readonly bytes: number;
  readonly gas: number;
}

/** What proving this many receipts of this size costs on chain, from above. */
export function proveCost(
  record: VerifyingKeyRecord,
  count: number,
  receiptBytes: number,
  lanes: number,
): Size {
  const index = zkBatchIndex(count);
  const rowBytes = [...record.inputRowBytes, ...record.outputRowBytes].reduce((sum, size) => sum + size, 0);
  const bytes =
    (record.proofBytes[index] ?? Number.POSITIVE_INFINITY) +
    count * (rowBytes + ZK_SALT_BYTES + ROW_FRAME_BYTES) +
    receiptBytes +
    lanes * LINE_BYTES +
    ENVELOPE_BYTES;
  const gas =
    GAS.transaction +
    bytes * GAS.byte +
    2 * GAS.ed25519 +
    (record.verificationGas[index] ?? Number.POSITIVE_INFINITY) +
    CLAIM_GAS +
    lanes * CHARGE_LINE_GAS;
  return { bytes, gas };
}

/** Gas that a node's bucket holds when it is full. */
export function bucketGas({ gasTarget }: Pick<ProtocolParams, 'gasTarget'>): number {
  return Math.floor((gasTarget * 4) / 5);
}

/** The most of these receipts, from the first on, that one claim can hold. 0 where not even one can be proved. */
export function provableCount(
  receipts: readonly IssuedReceipt[],
  record: VerifyingKeyRecord,
  params: Pick<ProtocolParams, 'gasTarget'>,
  { countMax, linesMax }: BatchLimits,
): number {
  const most = Math.min(receipts.length, countMax, record.batchMax);
  const lanes = new Set<string>();
  let receiptBytes = 0;
  let fitting = 0;
  for (let count = 1; count <= most; count++) {
    const { receipt } = receipts[count - 1] as IssuedReceipt;
    receiptBytes += receipt.cose.payload.length;
    if (receipt.value.amount > 0n) lanes.add(`${toHex(receipt.value.channelId)}/${receipt.value.lane}`);
    const { bytes, gas } = proveCost(record, count, receiptBytes, lanes.size);
    const fits = bytes <= TRANSACTION_MAX_BYTES && gas <= bucketGas(params) && lanes.size <= linesMax;
    if (!fits) break;
    fitting = count;
  }
  return fitting;
}
