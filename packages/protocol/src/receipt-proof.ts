import {
  arrayOf,
  bytesEqual,
  bytesOf,
  type CryptoProvider,
  decode,
  encode,
  field,
  frontierRoot,
  MalformedError,
  MERKLE_PATH_MAX,
  struct,
  type TypeOf,
  toHex,
  uint,
  verifyMerkleInclusion,
} from '@haca/primitives';
import { digest32, version } from './common.ts';
import { RECEIPT, type Receipt } from './receipt.ts';
import type { NodeKeyRecord } from './records.ts';
import type { SignedObject } from './signed-object.ts';
import {
  type ReceiptBatch,
  receiptLeafHash,
  STATEMENT,
  STATEMENT_MAX_BYTES,
  type Statement,
  statementLeafHash,
} from './statement.ts';
import { type Check, check, failed, passed, type Verdict, verdictOf } from './verdict.ts';

/** Largest encoding of a receipt proof: a statement with all its charge lines, and two paths. */
export const RECEIPT_PROOF_MAX_BYTES = 40_960;

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
 * ranges, which are checked too. Total: embedded objects that do not decode are a failed check.
 */
export function verifyReceiptProof(
  crypto: CryptoProvider,
  proof: ReceiptProof,
  key: NodeKeyRecord,
  expectedReceiptHash: Uint8Array,
): Verdict {
  let receipt: SignedObject<Receipt>;
  let statement: SignedObject<Statement>;
  try {
    receipt = RECEIPT.decode(proof.receipt);
    statement = STATEMENT.decode(proof.statement);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return verdictOf([failed('receipt-proof.encoding', error.code, error.expected, error.got)]);
  }
  const { batch } = statement.value;
  if (batch === null) {
    return verdictOf([
      failed('receipt-proof.batch', 'E_LEAF', 'a statement with a batch', 'a redeem-only statement'),
    ]);
  }
  return verdictOf([
    check(
      'receipt-proof.hash',
      'E_LEAF',
      bytesEqual(receipt.hash, expectedReceiptHash),
      toHex(expectedReceiptHash),
      toHex(receipt.hash),
    ),
    signatureCheck('receipt-proof.receipt-signature', RECEIPT.verify(crypto, receipt, key.publicKey)),
    signatureCheck('receipt-proof.statement-signature', STATEMENT.verify(crypto, statement, key.publicKey)),
    ...positionChecks(proof, receipt, batch, key),
    logCheck(proof, statement.hash, key),
  ]);
}

/**
 * How far a receipt of a key has come, by the key's record alone. `settled` and not more: its batch waits for a proof. `unpaid`: no
 * proof came in time, so nothing was paid and nothing will be.
 */
export type ReceiptState = 'executed' | 'settled' | 'verified' | 'unpaid';

export function receiptStateOf(
  key: Pick<NodeKeyRecord, 'settledSeq' | 'openClaims' | 'unpaidRanges'>,
  seq: number,
): ReceiptState {
  const covers = (ranges: NodeKeyRecord['openClaims']): boolean =>
    ranges.some(({ first, last }) => seq >= first && seq <= last);
  if (seq < 1 || seq > key.settledSeq) return 'executed';
  if (covers(key.openClaims)) return 'settled';
  return covers(key.unpaidRanges) ? 'unpaid' : 'verified';
}

function signatureCheck(id: string, verified: boolean): Check {
  return check(id, 'E_SIG', verified, 'a signature by the registered key', verified ? 'one' : 'none');
}

/** The receipt is in its batch, the batch in what was settled, and no open or unpaid claim covers it. */
function positionChecks(
  proof: ReceiptProof,
  receipt: SignedObject<Receipt>,
  batch: ReceiptBatch,
  key: NodeKeyRecord,
): readonly Check[] {
  const { seq } = receipt.value;
  const lastSeq = batch.firstSeq + batch.count - 1;
  const covers = (ranges: NodeKeyRecord['openClaims']): boolean =>
    ranges.some(({ first, last }) => seq >= first && seq <= last);
  const included = verifyMerkleInclusion(
    receiptLeafHash(receipt.hash),
    seq - batch.firstSeq,
    batch.count,
    proof.receiptPath,
    batch.receiptsRoot,
  );
  return [
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
      included,
      `a path to the batch root ${toHex(batch.receiptsRoot)}`,
      included ? 'one' : 'another root',
    ),
    covers(key.openClaims) || covers(key.unpaidRanges)
      ? failed('receipt-proof.verified', 'E_NOT_VERIFIED', 'a verified range', 'an open or unpaid claim')
      : passed('receipt-proof.verified'),
  ];
}

function logCheck(proof: ReceiptProof, statementHash: Uint8Array, key: NodeKeyRecord): Check {
  const root = frontierRoot({ size: key.logSize, roots: key.logFrontier });
  return check(
    'receipt-proof.log',
    'E_LEAF',
    proof.logSize === key.logSize &&
      verifyMerkleInclusion(
        statementLeafHash(statementHash),
        proof.logIndex,
        proof.logSize,
        proof.logPath,
        root,
      ),
    `a path to the log root ${toHex(root)} of size ${key.logSize}`,
    `a path for size ${proof.logSize}`,
  );
}
