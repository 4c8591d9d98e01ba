/** SEV-SNP evidence: a report, alone, followed by certificates as a host hands them out, or in JSON beside them. */
import { MalformedError } from '@haca/primitives';
import { snpDocumentCodec } from '@haca/protocol';
import type { CertificateEntry, CollateralLibrary } from '../collateral-files/library.ts';
import { certificateOf, derElements } from '../collateral-files/read-binary.ts';
import { pemBlocks } from '../file-forms/pem-blocks.ts';
import { textOf } from '../file-forms/text-forms.ts';
import { parseSnpReport, SNP_REPORT_BYTES, type SnpReport } from '../tee/snp/parse.ts';
import { blobIn, blobOfFile, blobsOfJson, jsonOf, jsonStrings } from './blobs.ts';
import { looksLikeSnpReport } from './kinds.ts';
import { type EvidenceReading, encodeDocument, oneDocument, type ReadingTrust } from './reading.ts';
import { snpChainOf } from './snp-chain.ts';

const REPORT_NAMES = ['report', 'attestationreport', 'snpreport', 'evidence', 'rawreport', 'quote'];
const EMBEDDED = 'the evidence itself';

/** Throws `MalformedError` where the file holds no report of the one length there is, or something behind it. */
export function readSnpFile(
  file: Uint8Array,
  library: CollateralLibrary,
  trust: ReadingTrust,
): EvidenceReading {
  const json = jsonOf(file);
  const { bytes: given, form } =
    json === null ? blobOfFile(file) : blobIn(json, REPORT_NAMES, 'an SEV-SNP report', looksLikeSnpReport);
  const bytes = insideResponse(given);
  const report = bytes.subarray(0, SNP_REPORT_BYTES);
  if (report.length < SNP_REPORT_BYTES)
    throw new MalformedError('snp.report-length', 'report', `${SNP_REPORT_BYTES} bytes`, `${report.length}`);
  const { certificates, notes } = behindReport(bytes.subarray(SNP_REPORT_BYTES));
  const own = entriesOf([...certificates, ...(json === null ? [] : certificatesOfJson(json))]);
  const chain = snpChainOf(reportOrNull(report), own, library.certificates, trust);
  const document = encodeDocument(snpDocumentCodec, { report, certificates: chain.certificates });
  const alone =
    "no certificate of the key that signed the report was given: --collateral takes the chip's VCEK or the VLEK";
  return oneDocument(document, form, chain.certificates.length === 0 ? [...notes, alone] : notes, chain.used);
}

/** Certificates anywhere in JSON: PEM, or DER and PEM in base64 or hex. */
export function certificatesOfJson(json: string): readonly Uint8Array[] {
  const pem = jsonStrings(json).flatMap(({ value }) => pemBlocks(value).certificates);
  const encoded = blobsOfJson(json).flatMap(({ bytes }) => {
    const text = textOf(bytes);
    return text === null ? (derElements(bytes) ?? []) : pemBlocks(text).certificates;
  });
  return [...pem, ...encoded].filter((der) => certificateOf(der) !== null);
}

export function entriesOf(ders: readonly Uint8Array[]): readonly CertificateEntry[] {
  return ders
    .map((der) => certificateOf(der))
    .filter((certificate) => certificate !== null)
    .map((certificate) => ({ origin: EMBEDDED, certificate }));
}

const RESPONSE_HEAD_BYTES = 32;

/** The report inside the firmware's answer (MSG_REPORT_RSP): a status of 0, the size, reserved zeros, the report, padding. */
function insideResponse(bytes: Uint8Array): Uint8Array {
  const head = bytes.subarray(0, RESPONSE_HEAD_BYTES);
  const isHead = head.length === RESPONSE_HEAD_BYTES && u32(head, 4) === SNP_REPORT_BYTES;
  const isZero = head.every((byte, i) => byte === 0 || (i >= 4 && i < 8));
  return isHead && isZero ? bytes.subarray(RESPONSE_HEAD_BYTES) : bytes;
}

/** Null where the bytes are none. */
export function reportOrNull(report: Uint8Array): SnpReport | null {
  try {
    return parseSnpReport(report);
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

/** Nothing, zeros, certificates in DER or PEM, or the table of an extended report; anything else is refused. */
function behindReport(tail: Uint8Array): {
  readonly certificates: readonly Uint8Array[];
  readonly notes: readonly string[];
} {
  if (tail.length === 0) return { certificates: [], notes: [] };
  const end = tail.findLastIndex((byte) => byte !== 0) + 1;
  if (end === 0) return { certificates: [], notes: [`stripped ${tail.length} zero bytes after the report`] };
  const table = certificateTable(tail) ?? plainCertificates(tail.subarray(0, end)) ?? plainCertificates(tail);
  if (table !== null)
    return { certificates: table, notes: [`found ${table.length} certificates after the report`] };
  throw new MalformedError(
    'snp.trailing-bytes',
    'report',
    'certificates or nothing after it',
    `${tail.length} other bytes`,
  );
}

function plainCertificates(bytes: Uint8Array): readonly Uint8Array[] | null {
  const text = textOf(bytes);
  const ders = text === null ? derElements(bytes) : pemBlocks(text).certificates;
  if (ders === null || ders.length === 0) return null;
  return ders.every((der) => certificateOf(der) !== null) ? ders : null;
}

const ENTRY_BYTES = 24;
const GUID_BYTES = 16;
const ENTRIES_MAX = 16;

/**
 * The certificate table of an extended guest request (AMD 56421, section 4.1.8.1): entries of GUID, offset and length, a zero
 * one last, then what they point at.
 */
function certificateTable(bytes: Uint8Array): readonly Uint8Array[] | null {
  const ders: Uint8Array[] = [];
  for (let i = 0; i <= ENTRIES_MAX; i++) {
    const entry = bytes.subarray(i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES);
    if (entry.length < ENTRY_BYTES || i === ENTRIES_MAX) return null;
    if (entry.every((byte) => byte === 0)) break;
    const [offset, length] = [u32(entry, GUID_BYTES), u32(entry, GUID_BYTES + 4)];
    if (length === 0 || offset + length > bytes.length) return null;
    ders.push(bytes.subarray(offset, offset + length));
  }
  const known = ders.filter((der) => certificateOf(der) !== null);
  return known.length === 0 ? null : known;
}

function u32(bytes: Uint8Array, at: number): number {
  return [3, 2, 1, 0].reduce((value, i) => value * 256 + (bytes[at + i] ?? 0), 0);
}
