/** Files that hold a document as it is: Nitro's COSE, quotes of Intel. */
import { stripQuotePadding } from '../tee/intel/quote.ts';
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
  const quote = stripQuotePadding(bytes);
  const stripped = bytes.length - quote.length;
  const notes = stripped === 0 ? [] : [`stripped ${stripped} zero bytes after the quote`];
  const hasLog = json !== null && jsonObjects(json).some((members) => members.has('eventlog'));
  if (hasLog) notes.push('the event log beside the quote was not replayed: --kind dstack does');
  return oneDocument(quote, form, notes);
}
