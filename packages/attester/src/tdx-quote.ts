/** As much of an Intel quote as its carrier has to know: how long it is and what it is over. Judging it is the verifier's. */
import { bytesEqual, toHex } from '@haca/primitives';
import { AttesterError } from './attester.ts';

const HEADER_BYTES = 48;
const TEE_TDX = 0x81;
const REPORT_DATA_BYTES = 64;
/** Where the report data begins in a TD report body, of TDX 1.0, 1.5 and 1.5ex. */
const REPORT_DATA_AT = 520;
/** Lengths of the body by its type in a version 5 quote. */
const V5_BODIES: Readonly<Record<number, number>> = { 2: 584, 3: 648, 4: 885 };
const V4_BODY_BYTES = 584;

/**
 * The quote without what its host appended: zero bytes beyond the lengths it states. Throws `AttesterError` where it is no TDX
 * quote of version 4 or 5, ends early, is over other report data, or is followed by anything but zeros.
 */
export function trimTdxQuote(bytes: Uint8Array, reportData: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES + 6) throw malformed(`${bytes.length} bytes are no quote`);
  const version = view.getUint16(0, true);
  if (view.getUint32(4, true) !== TEE_TDX) throw malformed('it is no TDX quote');
  const [bodyAt, bodyBytes] = bodyOf(version, view);
  const lengthAt = bodyAt + bodyBytes;
  if (bytes.length < lengthAt + 4) throw malformed(`it ends after ${bytes.length} bytes`);
  const end = lengthAt + 4 + view.getUint32(lengthAt, true);
  if (end > bytes.length) throw malformed(`it states ${end} bytes and has ${bytes.length}`);
  if (bytes.subarray(end).some((byte) => byte !== 0)) throw malformed('something follows it');
  const from = bodyAt + REPORT_DATA_AT;
  requireReportData(bytes.subarray(from, from + REPORT_DATA_BYTES), reportData);
  return new Uint8Array(bytes.subarray(0, end));
}

function bodyOf(version: number, view: DataView): readonly [at: number, length: number] {
  if (version === 4) return [HEADER_BYTES, V4_BODY_BYTES];
  if (version !== 5) throw malformed(`version ${version} is neither 4 nor 5`);
  const type = view.getUint16(HEADER_BYTES, true);
  const length = V5_BODIES[type];
  if (length === undefined || view.getUint32(HEADER_BYTES + 2, true) !== length)
    throw malformed(`type ${type} is no TD report of its length`);
  return [HEADER_BYTES + 6, length];
}

/** Evidence over something else would be refused by everybody: better said here. */
export function requireReportData(got: Uint8Array, expected: Uint8Array): void {
  if (bytesEqual(got, expected)) return;
  throw new AttesterError(
    'attester.mismatch',
    `the report is over ${toHex(got)}, asked was ${toHex(expected)}: ask again, with nobody else using the same entry`,
  );
}

function malformed(what: string): AttesterError {
  return new AttesterError('attester.malformed', `the quote can't be used: ${what}`);
}
