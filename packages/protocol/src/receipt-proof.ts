import {
  arrayOf,
  bytesOf,
  type CryptoProvider,
  decode,
  encode,
  field,
  frontierRoot,
  MERKLE_PATH_MAX,
  struct,
  type TypeOf,
  toHex,
  uint,
  verifyMerkleInclusion,
} from '@haca/primitives';
import { digest32, version } from './common.ts';
import { RECEIPT } from './receipt.ts';
import type { NodeKeyRecord } from './records.ts';
import { receiptLeafHash, STATEMENT, STATEMENT_MAX_BYTES, statementLeafHash } from './statement.ts';
import { check, failed, passed, type Verdict, verdictOf } from './verdict.ts';

/** Shows that one receipt is in a settled batch of its key: receipt, path to the batch root, statement, path to the log. */
export const receiptProofCodec = struct({
  version: field(0, version),
  receipt: field(1, bytesOf(1, 4096)),
  receiptPath: field(2, arrayOf(digest32, MERKLE_PATH_MAX)),
  statement: field(3, bytesOf(1, STATEMENT_MAX_BYTES + 128)),
  /** Index of the statement in the key's log, and the log's size the path is for. */
  logIndex: field(4, uint()),
  logSize: field(5, uint()),
  logPath: field(6, arrayOf(digest32, MERKLE_PATH_MAX)),
});
export type ReceiptProof = TypeOf<typeof receiptProofCodec>;

export function encodeReceiptProof(proof: ReceiptProof): Uint8Array {
  return encode(receiptProofCodec, proof);
}

export function decodeReceiptProof(bytes: Uint8Array): ReceiptProof {
  return decode(receiptProofCodec, bytes, 'receipt-proof');
}

/**
 * Holds a receipt proof against the key's record, which the caller got from the chain with a store proof. Says that the
 * receipt with this hash is settled under this key; whether it is verified follows from the record's open and unpaid
 * ranges, which are checked too. Total on anything that decodes.
 */
export function verifyReceiptProof(
  crypto: CryptoProvider,
  proof: ReceiptProof,
  key: NodeKeyRecord,
  expectedReceiptHash: Uint8Array,
): Verdict {
  const receipt = RECEIPT.decode(proof.receipt);
  const statement = STATEMENT.decode(proof.statement);
  const { batch } = statement.value;
  const { seq } = receipt.value;
  if (batch === null) {
    return verdictOf([
      failed('receipt-proof.batch', 'E_LEAF', 'a statement with a batch', 'a redeem-only statement'),
    ]);
  }
  const inRange = (ranges: NodeKeyRecord['openClaims']): boolean =>
    ranges.some(({ first, last }) => seq >= first && seq <= last);
  const lastSeq = batch.firstSeq + batch.count - 1;
  const root = frontierRoot({ size: key.logSize, roots: key.logFrontier });
  return verdictOf([
    check(
      'receipt-proof.hash',
      'E_LEAF',
      toHex(receipt.hash) === toHex(expectedReceiptHash),
      toHex(expectedReceiptHash),
      toHex(receipt.hash),
    ),
    check(
      'receipt-proof.receipt-signature',
      'E_SIG',
      RECEIPT.verify(crypto, receipt, key.publicKey),
      'a signature by the registered key',
      'see status',
    ),
    check(
      'receipt-proof.statement-signature',
      'E_SIG',
      STATEMENT.verify(crypto, statement, key.publicKey),
      'a signature by the registered key',
      'see status',
    ),
    check(
      'receipt-proof.range',
      'E_LEAF',
      seq >= batch.firstSeq && seq <= lastSeq && lastSeq <= key.settledSeq,
      `seq in ${batch.firstSeq}..${lastSeq}, settled to ${key.settledSeq}`,
      `${seq}`,
    ),
    check(
      'receipt-proof.inclusion',
      'E_LEAF',
      verifyMerkleInclusion(
        receiptLeafHash(receipt.hash),
        seq - batch.firstSeq,
        batch.count,
        proof.receiptPath,
        batch.receiptsRoot,
      ),
      `the batch root ${toHex(batch.receiptsRoot)}`,
      'see status',
    ),
    check(
      'receipt-proof.log',
      'E_LEAF',
      proof.logSize === key.logSize &&
        verifyMerkleInclusion(
          statementLeafHash(statement.hash),
          proof.logIndex,
          proof.logSize,
          proof.logPath,
          root,
        ),
      `the log root ${toHex(root)} of size ${key.logSize}`,
      `a path for size ${proof.logSize}`,
    ),
    inRange(key.openClaims) || inRange(key.unpaidRanges)
      ? failed('receipt-proof.verified', 'E_NOT_VERIFIED', 'a verified range', 'an open or unpaid claim')
      : passed('receipt-proof.verified'),
  ]);
}
