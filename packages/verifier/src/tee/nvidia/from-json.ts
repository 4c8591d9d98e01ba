/**
 * NVIDIA evidence as tools pass it around, to documents: JSON of NVIDIA's SDKs and of requests to its attestation service,
 * hex reports, PEM chains. Nothing here is trusted: members that are not needed are not looked at.
 */
import { MalformedError } from '@haca/primitives';
import type { NvidiaDocument } from '@haca/protocol';
import { parsePemCertificates } from '../../der/pem.ts';
import { jsonElements, jsonMembers, jsonString, jsonValue } from '../../file-forms/json-text.ts';
import { bytesOfText, hexOf, textOf } from '../../file-forms/text-forms.ts';
import { NONCE_BYTES } from './report.ts';

const TEXT_MAX_CHARS = 8 * 1024 * 1024;
const DEVICES_MAX = 64;
/** What a document has room for. */
const REPORT_MAX_BYTES = 16_384;
const CERTIFICATES_MAX = 8;
const CERTIFICATE_MAX_BYTES = 4096;

/** A device's evidence, with what was noted beside it. */
export interface NvidiaEvidence extends NvidiaDocument {
  /** What the device was to be asked with, by whoever wrote the file: 32 bytes. */
  readonly nonce: Uint8Array | null;
  /** E.g. `HOPPER`, by whoever wrote the file. */
  readonly arch: string | null;
}

type Members = ReadonlyMap<string, string>;

/** Marks a collection of the RATS conceptual message wrapper, in which each value is `[media type, base64url]`. */
export const CMW_COLLECTION_MEMBER = '__cmwc_t';

/**
 * Reads an array of `{evidence, certificate, nonce?, arch?}`, one such object, a request `{evidence_list, nonce?, arch?}`, or a
 * collection of NVIDIA's newer tools, whose members are such objects. `evidence` is a report in base64 or hex, `certificate` its
 * chain in PEM, leaf first, plain or in base64, `nonce` hex or base64; each may stand behind its media type. Throws
 * `MalformedError`, also for members that are there twice.
 */
export function parseNvidiaEvidenceJson(text: string): readonly NvidiaEvidence[] {
  if (text.length > TEXT_MAX_CHARS || jsonValue(text) === undefined)
    throw malformed('evidence', 'JSON', 'another text');
  const elements = jsonElements(text);
  if (elements !== null) return readDevices(elements, new Map(), 'evidence');
  const members = membersOf(text, 'evidence');
  if (members.has(CMW_COLLECTION_MEMBER) && !members.has('evidence'))
    return readDevices(
      [...members.values()].filter((each) => each.startsWith('{')),
      new Map(),
      'evidence',
    );
  const list = members.get('evidence_list');
  if (list === undefined) return readDevices([text], new Map(), 'evidence');
  const listed = jsonElements(list);
  if (listed === null) throw malformed('evidence.evidence_list', 'an array', 'another value');
  return readDevices(listed, members, 'evidence.evidence_list');
}

/** Hex digits, as NVIDIA's samples are. Throws `MalformedError`. */
export function parseNvidiaReportHex(text: string): Uint8Array {
  const bytes = text.length > TEXT_MAX_CHARS ? null : hexOf(text);
  if (bytes === null) throw malformed('report', 'hex digits', 'another text');
  return checkReport(bytes, 'report');
}

/** A chain in PEM, leaf first as NVIDIA writes it, to DER, root first. Throws `MalformedError`. */
export function parseNvidiaChainPem(text: string): readonly Uint8Array[] {
  if (text.length > TEXT_MAX_CHARS) throw malformed('chain', 'a shorter text', `${text.length} characters`);
  const certificates = [...parsePemCertificates(text, 'chain')].reverse();
  if (certificates.length > CERTIFICATES_MAX)
    throw malformed('chain', `at most ${CERTIFICATES_MAX} certificates`, `${certificates.length}`);
  const long = certificates.find((der) => der.length > CERTIFICATE_MAX_BYTES);
  if (long !== undefined)
    throw malformed('chain', `certificates of at most ${CERTIFICATE_MAX_BYTES} bytes`, `${long.length}`);
  return certificates;
}

function checkReport(report: Uint8Array, path: string): Uint8Array {
  if (report.length <= REPORT_MAX_BYTES) return report;
  throw malformed(path, `at most ${REPORT_MAX_BYTES} bytes`, `${report.length}`);
}

function readDevices(texts: readonly string[], shared: Members, path: string): readonly NvidiaEvidence[] {
  if (texts.length === 0 || texts.length > DEVICES_MAX)
    throw malformed(path, `1 to ${DEVICES_MAX} devices`, `${texts.length}`);
  return texts.map((text, i) =>
    readDevice(new Map([...shared, ...membersOf(text, `${path}.${i}`)]), `${path}.${i}`),
  );
}

function readDevice(members: Members, path: string): NvidiaEvidence {
  const report = bytesOfText(stringOf(members, 'evidence', path) ?? '');
  if (report === null) throw malformed(`${path}.evidence`, 'a report in base64 or hex', 'another value');
  const nonce = stringOf(members, 'nonce', path);
  return {
    report: checkReport(report, `${path}.evidence`),
    certificates: readChain(stringOf(members, 'certificate', path) ?? '', `${path}.certificate`),
    nonce: nonce === null ? null : readNonce(nonce, `${path}.nonce`),
    arch: stringOf(members, 'arch', path),
  };
}

function readChain(text: string, path: string): readonly Uint8Array[] {
  if (text.startsWith('-----BEGIN')) return parseNvidiaChainPem(text);
  const bytes = bytesOfText(text);
  const pem = bytes === null ? null : textOf(bytes);
  if (pem === null) throw malformed(path, 'a chain in PEM, plain or in base64', 'another value');
  return parseNvidiaChainPem(pem);
}

function readNonce(text: string, path: string): Uint8Array {
  const nonce = hexOf(text) ?? bytesOfText(text);
  if (nonce === null || nonce.length !== NONCE_BYTES)
    throw malformed(path, `${NONCE_BYTES} bytes as hex or base64`, `${text.length} characters`);
  return nonce;
}

function membersOf(text: string, path: string): Members {
  const members = jsonMembers(text);
  if (members === null) throw malformed(path, 'an object that names each member once', 'another value');
  return members;
}

/** Null where the member is not there. Of `[media type, value]` it is the value. */
function stringOf(members: Members, name: string, path: string): string | null {
  const text = members.get(name);
  if (text === undefined) return null;
  const [mediaType, typed, ...more] = jsonElements(text) ?? [];
  const isTyped = mediaType !== undefined && typed !== undefined && more.length === 0;
  const value = jsonString(isTyped && jsonString(mediaType) !== null ? typed : text);
  if (value === null) throw malformed(`${path}.${name}`, 'a string', 'another value');
  return value;
}

function malformed(path: string, expected: string, got: string): MalformedError {
  return new MalformedError('nvidia.json', path, expected, got);
}
