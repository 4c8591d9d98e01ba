/** Files that hold a document as it is: Nitro's COSE, quotes of Intel. */

import { check } from '@haca/protocol';
import { quoteEnd } from '../tee/intel/quote.ts';
import { blobIn, blobOfFile, jsonObjects, jsonOf } from './blobs.ts';
import { looksLikeCose, looksLikeQuote } from './kinds.ts';
import { type EvidenceReading, oneDocument } from './reading.ts';

const NITRO_NAMES = ['document', 'attestationdocument', 'attestationdoc', 'attestation', 'evidence', 'doc'];
const QUOTE_NAMES = ['quote', 'tdquote', 'tdxquote', 'intelquote', 'sgxquote', 'evidence'];

/** Throws `MalformedError` for JSON in which there is no document. */
export function readNitroFile(file: Uint8Array): EvidenceReading {
  const json = jsonOf(file);
  const { bytes, form } =
    json === null ? blobOfFile(file) : blobIn(json, NITRO_NAMES, 'a Nitro document', looksLikeCose);
  return oneDocument(bytes, form);
}

/** Throws `MalformedError` for JSON in which there is no quote. */
export function readQuoteFile(file: Uint8Array): EvidenceReading {
  const json = jsonOf(file);
  const { bytes, form } =
    json === null ? blobOfFile(file) : blobIn(json, QUOTE_NAMES, 'a quote', looksLikeQuote);
  const bare = behindOpenEnclaveHead(bytes);
  const quote = bare.subarray(0, quoteEnd(bare) ?? bare.length);
  const rest = bare.subarray(quote.length);
  const isPadding = rest.every((byte) => byte === 0);
  const notes = rest.length > 0 && isPadding ? [`stripped ${rest.length} zero bytes after the quote`] : [];
  if (bare !== bytes) notes.push('the head that Open Enclave puts before a quote was left out');
  const hasLog = json !== null && jsonObjects(json).some((members) => members.has('eventlog'));
  if (hasLog) notes.push('the event log beside the quote was not replayed: --kind dstack does');
  // What stands before other bytes is judged all the same: one look shows all that is wrong with a file.
  const got = isPadding ? `${rest.length} zero bytes` : `${rest.length} bytes, not all zero`;
  const checks = [check('evidence.padding', 'evidence.trailing-bytes', isPadding, 'zeros or nothing', got)];
  return { ...oneDocument(quote, form, notes), checks };
}

const OPEN_ENCLAVE_HEAD_BYTES = 16;
const REMOTE_REPORT = 2;

/** `oe_report_header_t`: version 1, type 2 (remote), the size of what follows in eight bytes. */
function behindOpenEnclaveHead(bytes: Uint8Array): Uint8Array {
  const u32 = (at: number): number =>
    [3, 2, 1, 0].reduce((value, i) => value * 256 + (bytes[at + i] ?? 0), 0);
  const left = bytes.length - OPEN_ENCLAVE_HEAD_BYTES;
  const isHead = u32(0) === 1 && u32(4) === REMOTE_REPORT && left > 0 && u32(8) === left && u32(12) === 0;
  return isHead ? bytes.subarray(OPEN_ENCLAVE_HEAD_BYTES) : bytes;
}
