/** What the write-ahead log of one node key holds, and how it reads back. */
import {
  arrayOf,
  bytesOf,
  decode,
  encode,
  field,
  MalformedError,
  nullable,
  optionalField,
  struct,
  type TypeOf,
  textOf,
  uint,
  union,
  variant,
} from '@haca/primitives';
import {
  decodeTransaction,
  digest32,
  EVIDENCE_MAX_BYTES,
  evidenceEnvelopeCodec,
  GPUS_MAX,
  registrationBindingCodec,
  type SignedObject,
  STATEMENT,
  type Statement,
  TRANSACTION_MAX_BYTES,
  type Transaction,
  transactionHash,
  VOUCHER_MAX_BYTES,
} from '@haca/protocol';

/** Whatever is proved fits a transaction, so no body of a request or response that is kept is larger. */
const EXCHANGE_MAX_BYTES = TRANSACTION_MAX_BYTES;

/** A receipt was signed: with the voucher that pays for it and the id its client knows it by. */
const receiptEntry = struct({
  id: field(0, textOf(1, 64)),
  receipt: field(1, bytesOf(1, 4096)),
  voucher: field(2, bytesOf(1, VOUCHER_MAX_BYTES)),
  /** Of a `zk` key: raw bodies of request and response, which a proof of the receipt is made from. */
  exchange: optionalField(
    3,
    struct({
      request: field(0, bytesOf(1, EXCHANGE_MAX_BYTES)),
      response: field(1, bytesOf(1, EXCHANGE_MAX_BYTES)),
    }),
  ),
});

/** A settlement is about to be sent. Whatever happens, it is these bytes that are sent again, never others beside them. */
const sentEntry = struct({
  transaction: field(0, bytesOf(1, TRANSACTION_MAX_BYTES)),
});

/** A block took the statement of this transaction. */
const settledEntry = struct({
  txHash: field(0, digest32),
  height: field(1, uint()),
});

/** The transaction of this hash was refused by a block, or is too old for any: it never settled anything. */
const droppedEntry = struct({
  txHash: field(0, digest32),
});

/** The proof of a claim is about to be sent: the transaction that proves receipts from `firstSeq` on, and redeems their lanes. */
const proofSentEntry = struct({
  firstSeq: field(0, uint()),
  transaction: field(1, bytesOf(1, TRANSACTION_MAX_BYTES)),
  /** What making the proof took. */
  proveMs: field(2, uint()),
});

/** A claim is over: verified by the transaction of this hash, or unpaid for good where there is none. */
const claimEndedEntry = struct({
  firstSeq: field(0, uint()),
  txHash: field(1, nullable(digest32)),
  height: field(2, uint()),
});

export const journalEntryCodec = union({
  receipt: variant(1, receiptEntry),
  sent: variant(2, sentEntry),
  settled: variant(3, settledEntry),
  dropped: variant(4, droppedEntry),
  'proof-sent': variant(5, proofSentEntry),
  'proof-dropped': variant(6, droppedEntry),
  'claim-ended': variant(7, claimEndedEntry),
});
export type JournalEntry = TypeOf<typeof journalEntryCodec>;

export function encodeJournalEntry(entry: JournalEntry): Uint8Array {
  return encode(journalEntryCodec, entry);
}

export function decodeJournalEntry(bytes: Uint8Array): JournalEntry {
  return decode(journalEntryCodec, bytes, 'journal');
}

/** A settlement on its way to a block. */
export interface SentSettlement {
  readonly transaction: Transaction;
  readonly txHash: Uint8Array;
  readonly statement: SignedObject<Statement>;
}

/** Throws `MalformedError` unless the transaction is one settlement and nothing else. */
export function sentSettlement(bytes: Uint8Array): SentSettlement {
  const transaction = decodeTransaction(bytes);
  const [op, ...more] = transaction.body.ops;
  if (op?.kind !== 'settle' || more.length > 0) {
    throw new MalformedError(
      'journal.sent',
      'journal',
      'one settlement',
      `${transaction.body.ops.length} ops`,
    );
  }
  return { transaction, txHash: transactionHash(bytes), statement: STATEMENT.decode(op.statement) };
}

/** The proof of a claim on its way to a block. */
export interface SentProof {
  readonly transaction: Transaction;
  readonly txHash: Uint8Array;
  readonly firstSeq: number;
  readonly proveMs: number;
}

/** Throws `MalformedError` unless the transaction is one proof and nothing else. */
export function sentProof(entry: Extract<JournalEntry, { readonly kind: 'proof-sent' }>): SentProof {
  const transaction = decodeTransaction(entry.transaction);
  const [op, ...more] = transaction.body.ops;
  if (op?.kind !== 'prove' || more.length > 0) {
    throw new MalformedError('journal.proof', 'journal', 'one proof', `${transaction.body.ops.length} ops`);
  }
  const { firstSeq, proveMs } = entry;
  return { transaction, txHash: transactionHash(entry.transaction), firstSeq, proveMs };
}

/** Secrets and identity of a node key, in a file of its own beside the log. */
export const keyFileCodec = struct({
  seed: field(0, bytesOf(32)),
  keyId: field(1, digest32),
  keyEpoch: field(2, uint()),
  evidence: field(3, nullable(evidenceEnvelopeCodec)),
  binding: field(4, registrationBindingCodec),
  modelIds: field(5, arrayOf(digest32, 64)),
  /** The model of a `zk` key. */
  zkModelId: optionalField(6, digest32),
  /** Documents of the GPUs, where there are any. */
  gpuEvidence: optionalField(7, arrayOf(bytesOf(1, EVIDENCE_MAX_BYTES), GPUS_MAX, 1)),
});
export type KeyFile = TypeOf<typeof keyFileCodec>;
