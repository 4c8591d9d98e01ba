/**
 * Intel quotes of version 3 (SGX), 4 (SGX and TDX) and 5 (any body), as Intel's ECDSA quote library writes them. Parsing
 * checks form and nothing else: every length is stated once or agrees with the others, and nothing trails.
 */
import { bytesEqual, concatBytes, fromHex, MalformedError, toHex } from '@haca/primitives';
import { FieldReader } from '../field-reader.ts';
import {
  parseSgxReport,
  parseTdReport,
  SGX_REPORT_BYTES,
  type SgxReport,
  TD_REPORT_10_BYTES,
  TD_REPORT_15_BYTES,
  TD_REPORT_15EX_BYTES,
  type TdReport,
} from './reports.ts';

export const QUOTE_MAX_BYTES = 16 * 1024;
const HEADER_BYTES = 48;
const BODY_DESCRIPTOR_BYTES = 6;
const SIGNATURE_BYTES = 64;
/** ECDSA with SHA-256 on P-256: the one key type that Intel's quoting enclaves use. */
const ECDSA_P256_KEY_TYPE = 2;
const TEE_TYPE_SGX = 0x00;
const TEE_TYPE_TDX = 0x81;
/** The quoting enclave is Intel's: 939a7233-f79c-4ca9-940a-0db3957f0607. */
export const INTEL_QE_VENDOR_ID: Uint8Array = fromHex('939a7233f79c4ca9940a0db3957f0607');

/** Certification data: 1 to 4 name the PCK by encrypted or clear PPID, 5 is its chain in PEM, 6 wraps the QE report. */
export const PCK_CHAIN_TYPE = 5;
const QE_REPORT_TYPE = 6;

export type TeeKind = 'sgx' | 'tdx';

/** The first 48 bytes, as they are. */
export interface QuoteHeader {
  readonly version: number;
  readonly attestationKeyType: number;
  readonly teeType: number;
  /** SVNs of the quoting enclave and the provisioning certification enclave in version 3; reserved later. */
  readonly qeSvn: number;
  readonly pceSvn: number;
  /** 16 bytes. */
  readonly qeVendorId: Uint8Array;
  /** 20 bytes of the quoting enclave's own. */
  readonly userData: Uint8Array;
}

/** Byte fields are views into the quote. */
export interface Quote {
  readonly header: QuoteHeader;
  readonly body: SgxReport | TdReport;
  /** Header and body: what the attestation key signed. */
  readonly signed: Uint8Array;
  /** r || s by the attestation key. */
  readonly signature: Uint8Array;
  /** Uncompressed P-256 point, 65 bytes. */
  readonly attestationKey: Uint8Array;
  readonly qeReport: SgxReport;
  /** r || s by the PCK key over the QE report. */
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  readonly certificationType: number;
  readonly certificationData: Uint8Array;
}

/** Throws `MalformedError` for less than 48 bytes; whether the values are accepted is `headerFault`'s to say. */
export function parseQuoteHeader(bytes: Uint8Array): QuoteHeader {
  const cursor = new FieldReader(bytes.subarray(0, HEADER_BYTES), 'quote.header', 'quote');
  return {
    version: cursor.little(2, 'version'),
    attestationKeyType: cursor.little(2, 'attestationKeyType'),
    teeType: cursor.little(4, 'teeType'),
    qeSvn: cursor.little(2, 'qeSvn'),
    pceSvn: cursor.little(2, 'pceSvn'),
    qeVendorId: cursor.take(16, 'qeVendorId'),
    userData: cursor.take(20, 'userData'),
  };
}

export interface HeaderRule {
  readonly name: 'version' | 'key-type' | 'tee-type' | 'qe-vendor';
  readonly expected: string;
  readonly got: (header: QuoteHeader) => string;
  readonly holds: (header: QuoteHeader) => boolean;
}

/** What Intel's verification library demands of a header, for evidence of one kind or of either. */
export function headerRules(kind: TeeKind | null): readonly HeaderRule[] {
  const versions = kind === 'tdx' ? [4, 5] : [3, 4, 5];
  const teeTypes = kind === null ? [TEE_TYPE_SGX, TEE_TYPE_TDX] : [teeTypeOf(kind)];
  return [
    {
      name: 'version',
      expected: versions.join(' | '),
      got: ({ version }) => `${version}`,
      holds: ({ version }) => versions.includes(version),
    },
    {
      name: 'key-type',
      expected: `${ECDSA_P256_KEY_TYPE} (ECDSA P-256)`,
      got: ({ attestationKeyType }) => `${attestationKeyType}`,
      holds: ({ attestationKeyType }) => attestationKeyType === ECDSA_P256_KEY_TYPE,
    },
    {
      name: 'tee-type',
      expected: teeTypes.map((type) => `0x${type.toString(16)}`).join(' | '),
      got: ({ teeType }) => `0x${teeType.toString(16)}`,
      holds: ({ teeType, version }) =>
        teeTypes.includes(teeType) && (version > 3 || teeType === TEE_TYPE_SGX),
    },
    {
      name: 'qe-vendor',
      expected: toHex(INTEL_QE_VENDOR_ID),
      got: ({ qeVendorId }) => toHex(qeVendorId),
      holds: ({ qeVendorId }) => bytesEqual(qeVendorId, INTEL_QE_VENDOR_ID),
    },
  ];
}

function teeTypeOf(kind: TeeKind): number {
  return kind === 'tdx' ? TEE_TYPE_TDX : TEE_TYPE_SGX;
}

/** Parses one whole quote; throws `MalformedError`. */
export function parseQuote(bytes: Uint8Array): Quote {
  const cursor = new FieldReader(bytes, 'quote', 'quote');
  const quote = readQuote(bytes, cursor);
  cursor.end();
  return quote;
}

/**
 * The quote without the zero bytes that some hosts append up to a fixed size. What has other bytes behind it, or is no quote,
 * is returned as it is.
 */
export function stripQuotePadding(bytes: Uint8Array): Uint8Array {
  const end = quoteEnd(bytes);
  return end !== null && bytes.subarray(end).every((byte) => byte === 0) ? bytes.subarray(0, end) : bytes;
}

/** Where a quote ends by the sizes it states; null for what is none. */
export function quoteEnd(bytes: Uint8Array): number | null {
  try {
    const cursor = new FieldReader(bytes, 'quote', 'quote');
    readBody(bytes, cursor);
    cursor.take(cursor.little(4, 'signatureDataSize'), 'signatureData');
    return cursor.offset;
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

function readQuote(bytes: Uint8Array, cursor: FieldReader): Quote {
  if (bytes.length > QUOTE_MAX_BYTES)
    cursor.fail('quote.too-large', '', `at most ${QUOTE_MAX_BYTES} bytes`, `${bytes.length}`);
  const { header, body } = readBody(bytes, cursor);
  const signed = bytes.subarray(0, cursor.offset);
  const size = cursor.little(4, 'signatureDataSize');
  const data = new FieldReader(cursor.take(size, 'signatureData'), 'quote.signatureData', 'quote');
  const signature = data.take(SIGNATURE_BYTES, 'signature');
  const attestationKey = concatBytes(Uint8Array.of(4), data.take(64, 'attestationKey'));
  const certification = header.version === 3 ? data : openWrapped(data);
  const rest = readCertification(certification);
  data.end();
  return { header, body, signed, signature, attestationKey, ...rest };
}

function readBody(bytes: Uint8Array, cursor: FieldReader): Pick<Quote, 'header' | 'body'> {
  const header = parseQuoteHeader(cursor.take(Math.min(HEADER_BYTES, bytes.length), 'header'));
  const broken = headerRules(null).find((rule) => !rule.holds(header));
  if (broken !== undefined)
    cursor.fail(`quote.${broken.name}`, 'header', broken.expected, broken.got(header));
  const isTdx = header.teeType === TEE_TYPE_TDX;
  const size =
    header.version === 5 ? describedSize(cursor, isTdx) : isTdx ? TD_REPORT_10_BYTES : SGX_REPORT_BYTES;
  const report = cursor.take(size, 'body');
  const body = isTdx ? parseTdReport(report, 'quote.body') : parseSgxReport(report, 'quote.body');
  return { header, body };
}

/** Body types of version 5, and how long their bodies are. */
const BODY_TYPES = [
  { type: 1, isTdx: false, size: SGX_REPORT_BYTES },
  { type: 2, isTdx: true, size: TD_REPORT_10_BYTES },
  { type: 3, isTdx: true, size: TD_REPORT_15_BYTES },
  { type: 4, isTdx: true, size: TD_REPORT_15EX_BYTES },
] as const;

function describedSize(cursor: FieldReader, isTdx: boolean): number {
  const descriptor = new FieldReader(
    cursor.take(BODY_DESCRIPTOR_BYTES, 'bodyDescriptor'),
    'quote.body',
    'quote',
  );
  const type = descriptor.little(2, 'type');
  const size = descriptor.little(4, 'size');
  const known = BODY_TYPES.filter((each) => each.isTdx === isTdx);
  const found = known.find((each) => each.type === type);
  if (found === undefined)
    return cursor.fail('quote.body-type', 'body.type', known.map((each) => each.type).join(' | '), `${type}`);
  if (found.size !== size)
    cursor.fail('quote.body-size', 'body.size', `${found.size} bytes of type ${type}`, `${size}`);
  return size;
}

/** From version 4 on the QE report comes inside certification data of type 6, whose length is all that is left. */
function openWrapped(data: FieldReader): FieldReader {
  const type = data.little(2, 'certificationType');
  if (type !== QE_REPORT_TYPE)
    data.fail('quote.certification-type', 'certificationType', `${QE_REPORT_TYPE} (QE report)`, `${type}`);
  const size = data.little(4, 'certificationSize');
  return new FieldReader(data.take(size, 'certification'), 'quote.certification', 'quote');
}

type CertificationFields = Pick<
  Quote,
  'qeReport' | 'qeReportSignature' | 'qeAuthData' | 'certificationType' | 'certificationData'
>;

function readCertification(cursor: FieldReader): CertificationFields {
  const qeReport = parseSgxReport(cursor.take(SGX_REPORT_BYTES, 'qeReport'), 'quote.qeReport');
  const qeReportSignature = cursor.take(SIGNATURE_BYTES, 'qeReportSignature');
  const qeAuthData = cursor.take(cursor.little(2, 'qeAuthDataSize'), 'qeAuthData');
  const certificationType = cursor.little(2, 'pckType');
  const certificationData = cursor.take(cursor.little(4, 'pckSize'), 'pck');
  cursor.end();
  return { qeReport, qeReportSignature, qeAuthData, certificationType, certificationData };
}
