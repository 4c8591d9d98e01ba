/**
 * Certificate revocation lists, version 2 (RFC 5280 section 5), as data, and what is asked of one before it is believed. Only
 * whole, direct lists: delta and indirect ones carry critical extensions, which are refused.
 */
import { bytesEqual, type CryptoProvider, MalformedError, toHex } from '@haca/primitives';
import {
  type AlgorithmIdentifier,
  type Certificate,
  type Extension,
  hasKeyUsage,
  KEY_USAGE,
  readAlgorithm,
  readCertificateTime,
  readExtensionList,
  readName,
  wholeBytes,
} from './certificate.ts';
import type { ChainFault, SignatureAlgorithm } from './chain.ts';
import { contextTag, DerReader, TAG } from './reader.ts';

export const CRL_MAX_BYTES = 64 * 1024;
export const CRL_ENTRIES_MAX = 2048;
const SERIAL_MAX_BYTES = 20;
const CRL_NUMBER_OID = '2.5.29.20';

export interface RevokedEntry {
  /** Big-endian without leading zeros. */
  readonly serial: Uint8Array;
  readonly revokedAtMs: number;
}

/** Byte fields are views into the parsed input. */
export interface RevocationList {
  readonly tbs: Uint8Array;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  /** DER of the Name. */
  readonly issuer: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly entries: readonly RevokedEntry[];
  readonly extensions: readonly Extension[];
  /** The cRLNumber extension; null where it is absent. */
  readonly number: bigint | null;
  /** Content of the signature BIT STRING. */
  readonly signature: Uint8Array;
}

/** Parses exactly one list; throws `MalformedError` whose path begins with `name`. */
export function parseCrl(der: Uint8Array, name: string): RevocationList {
  const input = new DerReader(der, name);
  if (der.length > CRL_MAX_BYTES)
    input.fail('der.too-large', '', `at most ${CRL_MAX_BYTES} bytes`, `${der.length}`);
  const outer = input.sequence('list');
  input.end();
  const tbsElement = outer.element(TAG.sequence, 'tbs');
  const outerAlgorithm = outer.element(TAG.sequence, 'signatureAlgorithm');
  const signature = wholeBytes(outer, 'signature');
  outer.end();
  const tbs = outer.inside(tbsElement, 'tbs');
  const version = tbs.uint('version', 255);
  if (version !== 1) tbs.fail('crl.version', 'version', 'version 2 (encoded as 1)', `${version}`);
  const innerAlgorithm = tbs.element(TAG.sequence, 'signature');
  if (!bytesEqual(innerAlgorithm.raw, outerAlgorithm.raw))
    tbs.fail('crl.algorithm-mismatch', 'signature', 'the algorithm outside', 'another inside');
  const issuer = readName(tbs, 'issuer');
  const thisUpdateMs = readCertificateTime(tbs, 'thisUpdate');
  const nextUpdateMs = readCertificateTime(tbs, 'nextUpdate');
  if (nextUpdateMs <= thisUpdateMs)
    tbs.fail('crl.window', 'nextUpdate', `after ${thisUpdateMs}`, `${nextUpdateMs}`);
  const entries = tbs.nextIs(TAG.sequence) ? readEntries(tbs.sequence('revoked')) : [];
  const explicit = tbs.open(contextTag(0), 'extensions');
  const extensions = readExtensionList(explicit.sequence('list'));
  explicit.end();
  tbs.end();
  return {
    tbs: tbsElement.raw,
    signatureAlgorithm: readAlgorithm(outer.inside(outerAlgorithm, 'signatureAlgorithm')),
    issuer,
    thisUpdateMs,
    nextUpdateMs,
    entries,
    extensions: withoutCritical(extensions, tbs),
    number: readNumber(extensions, name),
    signature,
  };
}

/** At least one: an empty list is written by leaving it out. */
function readEntries(list: DerReader): readonly RevokedEntry[] {
  const entries: RevokedEntry[] = [];
  do {
    if (entries.length === CRL_ENTRIES_MAX)
      list.fail('crl.too-many', '', `at most ${CRL_ENTRIES_MAX} entries`, 'more');
    const entry = list.sequence('entry');
    const serial = entry.unsigned('serial', SERIAL_MAX_BYTES);
    const revokedAtMs = readCertificateTime(entry, 'revocationDate');
    if (!entry.isAtEnd) withoutCritical(readExtensionList(entry.sequence('extensions')), entry);
    entry.end();
    entries.push({ serial, revokedAtMs });
  } while (!list.isAtEnd);
  return entries;
}

/** Not one critical extension is understood, so one that is there may change what the list means. */
function withoutCritical(extensions: readonly Extension[], reader: DerReader): readonly Extension[] {
  const critical = extensions.find((extension) => extension.critical);
  if (critical !== undefined)
    reader.fail('crl.critical-extension', 'extensions', 'no critical extension', critical.oid);
  return extensions;
}

function readNumber(extensions: readonly Extension[], name: string): bigint | null {
  const extension = extensions.find(({ oid }) => oid === CRL_NUMBER_OID);
  if (extension === undefined) return null;
  const reader = new DerReader(extension.value, `${name}.number`);
  const bytes = reader.unsigned('value', SERIAL_MAX_BYTES);
  reader.end();
  return BigInt(`0x${toHex(bytes)}`);
}

export function isOnList({ entries }: RevocationList, serial: Uint8Array): boolean {
  return entries.some((entry) => bytesEqual(entry.serial, serial));
}

type Fault = Omit<ChainFault, 'position'> | null;

/** What is wrong with a list that this certificate should have issued: name, right to sign lists, number, signature. */
export function crlFault(
  crl: RevocationList,
  issuer: Certificate,
  algorithm: SignatureAlgorithm,
  crypto: CryptoProvider,
): Fault {
  if (!bytesEqual(crl.issuer, issuer.subject))
    return { code: 'crl.issuer', expected: shortName(issuer.subject), got: shortName(crl.issuer) };
  if (!hasKeyUsage(issuer, KEY_USAGE.crlSign))
    return { code: 'crl.issuer-key-usage', expected: 'an issuer with cRLSign', got: 'one without' };
  if (crl.number === null) return { code: 'crl.number', expected: 'a cRLNumber', got: 'none' };
  const { oid, parameters } = crl.signatureAlgorithm;
  if (oid !== algorithm.oid || !algorithm.acceptsParameters(parameters))
    return { code: 'crl.signature-algorithm', expected: algorithm.oid, got: oid };
  return signatureFaultOf(crl, issuer, algorithm, crypto);
}

function signatureFaultOf(
  { tbs, signature }: RevocationList,
  { publicKey }: Certificate,
  algorithm: SignatureAlgorithm,
  crypto: CryptoProvider,
): Fault {
  try {
    if (algorithm.verify(crypto, publicKey, tbs, algorithm.rawSignature(signature))) return null;
    return {
      code: 'crl.signature',
      expected: "a signature by the issuer's key",
      got: 'one that does not verify',
    };
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return { code: error.code, expected: error.expected, got: error.got };
  }
}

/** `thisUpdate` to `nextUpdate`, both included, and `graceMs` beyond. */
export function crlWindowFault(
  { thisUpdateMs, nextUpdateMs }: RevocationList,
  nowMs: number,
  graceMs: number,
): Fault {
  return updateFault(thisUpdateMs, nextUpdateMs, nowMs, graceMs);
}

/** Collateral holds from its day of issue to its next update, both included, and `graceMs` beyond. */
export function updateFault(fromMs: number, nextUpdateMs: number, nowMs: number, graceMs: number): Fault {
  const got = `${nowMs}`;
  if (!(fromMs <= nowMs)) return { code: 'collateral.not-yet-valid', expected: `${fromMs} or later`, got };
  const endMs = nextUpdateMs + graceMs;
  if (!(nowMs <= endMs)) return { code: 'collateral.expired', expected: `${endMs} or earlier`, got };
  return null;
}

function shortName(der: Uint8Array): string {
  const hex = toHex(der.subarray(0, 48));
  return der.length > 48 ? `${hex}...` : hex;
}
