/** What the write-ahead log of one node key holds, and how it reads back. */
import {
  arrayOf,
  bytesOf,
  decode,
  encode,
  field,
  struct,
  type TypeOf,
  textOf,
  uint,
  union,
  variant,
} from '@haca/primitives';
import { digest32, STATEMENT_MAX_BYTES, VOUCHER_MAX_BYTES } from '@haca/protocol';

/** A receipt was signed: with the voucher that pays for it and the id its client knows it by. */
const receiptEntry = struct({
  id: field(0, textOf(1, 64)),
  receipt: field(1, bytesOf(1, 4096)),
  voucher: field(2, bytesOf(1, VOUCHER_MAX_BYTES)),
});

/** A statement was signed and is about to be sent; `settled` follows if a block took it. */
const sentEntry = struct({
  statement: field(0, bytesOf(1, STATEMENT_MAX_BYTES + 128)),
  txHash: field(1, digest32),
});

/** A block took the statement of this transaction at this place of the key's log. */
const settledEntry = struct({
  txHash: field(0, digest32),
  height: field(1, uint()),
});

export const journalEntryCodec = union({
  receipt: variant(1, receiptEntry),
  sent: variant(2, sentEntry),
  settled: variant(3, settledEntry),
});
export type JournalEntry = TypeOf<typeof journalEntryCodec>;

export function encodeJournalEntry(entry: JournalEntry): Uint8Array {
  return encode(journalEntryCodec, entry);
}

export function decodeJournalEntry(bytes: Uint8Array): JournalEntry {
  return decode(journalEntryCodec, bytes, 'journal');
}

/** Secrets and identity of a node key, in a file of its own beside the log. */
export const keyFileCodec = struct({
  seed: field(0, bytesOf(32)),
  keyId: field(1, digest32),
  keyEpoch: field(2, uint()),
  evidence: field(3, bytesOf(0, 32_768)),
  evidenceKind: field(4, textOf(0, 16)),
  binding: field(5, bytesOf(1, 1024)),
  modelIds: field(6, arrayOf(digest32, 64)),
});
export type KeyFile = TypeOf<typeof keyFileCodec>;
