/**
 * X.509 version 3 certificates (RFC 5280 section 4.1) as data. Parsing checks form only: who issued what, when it holds
 * and what its key may do is judged in `chain.ts` against a fixed profile.
 */
import { bytesEqual } from '@haca/primitives';
import { contextTag, DerReader, TAG } from './reader.ts';

export const CERTIFICATE_MAX_BYTES = 16 * 1024;
/** RFC 5280 section 4.1.2.2. */
const SERIAL_MAX_BYTES = 20;
const EXTENSIONS_MAX = 32;
/** So that every certificate can be named where it has to be: in facts and revocations. */
const NAME_MAX_BYTES = 512;

export const EXTENSION_OID = { keyUsage: '2.5.29.15', basicConstraints: '2.5.29.19' } as const;

/** Bits of the keyUsage extension (RFC 5280 section 4.2.1.3), as positions. */
export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;
const KEY_USAGE_BITS_MAX = 9;

export interface AlgorithmIdentifier {
  readonly oid: string;
  /** DER of the parameters; null where they are absent. */
  readonly parameters: Uint8Array | null;
}

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  /** Content of the extnValue OCTET STRING. */
  readonly value: Uint8Array;
}

export interface BasicConstraints {
  readonly critical: boolean;
  readonly ca: boolean;
  readonly pathLen: number | null;
}

/** Byte fields are views into the parsed input. */
export interface Certificate {
  /** The whole certificate. */
  readonly der: Uint8Array;
  /** What the issuer signed. */
  readonly tbs: Uint8Array;
  /** Big-endian, no leading zero; positive, or one zero byte where that is tolerated. */
  readonly serial: Uint8Array;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  /** DER of the Name: names are compared as bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** First and last millisecond of validity. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly keyAlgorithm: AlgorithmIdentifier;
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Extension[];
  readonly basicConstraints: BasicConstraints | null;
  /** Bit `n` of the number is named bit `n`; null where the extension is absent. */
  readonly keyUsage: number | null;
  /** Content of the signature BIT STRING, in the algorithm's own form. */
  readonly signature: Uint8Array;
}

/**
 * What a vendor writes although the standards forbid it: serial 0 (RFC 5280 section 4.1.2.2), a keyUsage with zero bits behind
 * its last one (X.690 section 11.2.2), and GeneralizedTime for times before 2050 (RFC 5280 section 4.1.2.5).
 */
export type CertificateDeviation = 'zero-serial' | 'key-usage-tail' | 'generalized-time';

/** AMD: its endorsement keys all have serial 0, and its signing CAs such a keyUsage. */
export const AMD_DEVIATIONS: readonly CertificateDeviation[] = ['zero-serial', 'key-usage-tail'];

/** NVIDIA: the CAs above the signers of its reference manifests. */
export const NVIDIA_MANIFEST_DEVIATIONS: readonly CertificateDeviation[] = ['generalized-time'];

/** Parses exactly one certificate; throws `MalformedError` whose path begins with `name`. */
export function parseCertificate(
  der: Uint8Array,
  name: string,
  tolerated: readonly CertificateDeviation[] = [],
): Certificate {
  const input = new DerReader(der, name);
  if (der.length > CERTIFICATE_MAX_BYTES)
    input.fail('der.too-large', '', `at most ${CERTIFICATE_MAX_BYTES} bytes`, `${der.length}`);
  const outer = input.sequence('certificate');
  input.end();
  const tbsElement = outer.element(TAG.sequence, 'tbs');
  const outerAlgorithm = outer.element(TAG.sequence, 'signatureAlgorithm');
  const signature = wholeBytes(outer, 'signature');
  outer.end();
  const tbs = outer.inside(tbsElement, 'tbs');
  readVersion3(tbs);
  const serial = tbs.unsigned('serial', SERIAL_MAX_BYTES);
  if (serial.length === 1 && serial[0] === 0 && !tolerated.includes('zero-serial'))
    tbs.fail('certificate.serial', 'serial', 'a positive number', '0');
  const innerAlgorithm = tbs.element(TAG.sequence, 'signature');
  if (!bytesEqual(innerAlgorithm.raw, outerAlgorithm.raw))
    tbs.fail('certificate.algorithm-mismatch', 'signature', 'the algorithm outside', 'another inside');
  const issuer = readName(tbs, 'issuer');
  const validity = readValidity(tbs.sequence('validity'), tolerated.includes('generalized-time'));
  const subject = readName(tbs, 'subject');
  const key = readPublicKey(tbs.sequence('subjectPublicKeyInfo'));
  const extensions = readExtensions(tbs.open(contextTag(3), 'extensions'));
  tbs.end();
  return {
    der,
    tbs: tbsElement.raw,
    serial,
    signatureAlgorithm: readAlgorithm(outer.inside(outerAlgorithm, 'signatureAlgorithm')),
    issuer,
    subject,
    ...validity,
    ...key,
    extensions,
    basicConstraints: readBasicConstraints(extensions, name),
    keyUsage: readKeyUsage(extensions, name, tolerated.includes('key-usage-tail')),
    signature,
  };
}

/** A Name: one or more relative names of one or more attributes. Their texts are opaque here. */
export function readName(tbs: DerReader, name: string): Uint8Array {
  const element = tbs.element(TAG.sequence, name);
  if (element.raw.length > NAME_MAX_BYTES)
    tbs.fail('certificate.name', name, `at most ${NAME_MAX_BYTES} bytes`, `${element.raw.length}`);
  const relativeNames = tbs.inside(element, name);
  if (relativeNames.isAtEnd) tbs.fail('certificate.name', name, 'at least one attribute', 'an empty name');
  while (!relativeNames.isAtEnd) {
    const attributes = relativeNames.open(TAG.set, 'relativeName');
    do {
      const attribute = attributes.sequence('attribute');
      attribute.skip('type', TAG.oid);
      attribute.skip('value');
      attribute.end();
    } while (!attributes.isAtEnd);
  }
  return element.raw;
}

function readVersion3(tbs: DerReader): void {
  const explicit = tbs.open(contextTag(0), 'version');
  const version = explicit.uint('number', 255);
  explicit.end();
  if (version !== 2) tbs.fail('certificate.version', 'version', 'version 3 (encoded as 2)', `${version}`);
}

/** A BIT STRING that holds whole bytes. */
export function wholeBytes(reader: DerReader, name: string): Uint8Array {
  const { bytes, unusedBits } = reader.bitString(name);
  if (unusedBits !== 0) reader.fail('der.bit-string', name, 'whole bytes', `${unusedBits} unused bits`);
  return bytes;
}

export function readAlgorithm(reader: DerReader): AlgorithmIdentifier {
  const oid = reader.oid('oid');
  const parameters = reader.isAtEnd ? null : reader.any('parameters').raw;
  reader.end();
  return { oid, parameters };
}

function readValidity(
  reader: DerReader,
  isGeneralTolerated: boolean,
): Pick<Certificate, 'notBeforeMs' | 'notAfterMs'> {
  const notBeforeMs = readCertificateTime(reader, 'notBefore', isGeneralTolerated);
  const notAfterMs = readCertificateTime(reader, 'notAfter', isGeneralTolerated);
  reader.end();
  return { notBeforeMs, notAfterMs };
}

/** 2050-01-01T00:00:00Z: from here on GeneralizedTime, before it UTCTime. */
const GENERALIZED_FROM_MS = 2_524_608_000_000;

export function readCertificateTime(reader: DerReader, name: string, isGeneralTolerated = false): number {
  const { ms, form } = reader.time(name);
  if (form === 'generalized' && ms < GENERALIZED_FROM_MS && !isGeneralTolerated)
    reader.fail('der.time', name, 'UTCTime through 2049', 'GeneralizedTime');
  return ms;
}

function readPublicKey(reader: DerReader): Pick<Certificate, 'keyAlgorithm' | 'publicKey'> {
  const keyAlgorithm = readAlgorithm(reader.sequence('algorithm'));
  const publicKey = wholeBytes(reader, 'subjectPublicKey');
  reader.end();
  return { keyAlgorithm, publicKey };
}

function readExtensions(explicit: DerReader): readonly Extension[] {
  const list = explicit.sequence('list');
  explicit.end();
  return readExtensionList(list);
}

/** Extensions (RFC 5280 section 4.1.2.9) of a certificate, a revocation list or one of its entries: one at least. */
export function readExtensionList(list: DerReader): readonly Extension[] {
  const extensions: Extension[] = [];
  while (!list.isAtEnd) {
    const name = `${extensions.length}`;
    if (extensions.length === EXTENSIONS_MAX)
      list.fail('certificate.extensions', name, `at most ${EXTENSIONS_MAX} extensions`, 'more');
    const entry = list.sequence(name);
    const oid = entry.oid('oid');
    if (extensions.some((other) => other.oid === oid))
      list.fail('certificate.duplicate-extension', name, 'each extension once', `${oid} again`);
    const critical = readTrueOrAbsent(entry, 'critical');
    const value = entry.octetString('value');
    entry.end();
    extensions.push({ oid, critical, value });
  }
  if (extensions.length === 0) list.fail('certificate.extensions', '', 'at least one extension', 'none');
  return extensions;
}

function readBasicConstraints(extensions: readonly Extension[], name: string): BasicConstraints | null {
  const extension = extensions.find(({ oid }) => oid === EXTENSION_OID.basicConstraints);
  if (extension === undefined) return null;
  const path = `${name}.basicConstraints`;
  const value = new DerReader(extension.value, path);
  const fields = value.sequence('value');
  value.end();
  const ca = readTrueOrAbsent(fields, 'ca');
  const pathLen = fields.isAtEnd ? null : fields.uint('pathLen', 255);
  fields.end();
  if (pathLen !== null && !ca) fields.fail('certificate.path-length', 'pathLen', 'a CA', 'no CA');
  return { critical: extension.critical, ca, pathLen };
}

/** BOOLEAN DEFAULT FALSE: DER leaves the default out (X.690 section 11.5), so a written FALSE is malformed. */
function readTrueOrAbsent(reader: DerReader, name: string): boolean {
  if (!reader.nextIs(TAG.boolean)) return false;
  if (!reader.boolean(name)) reader.fail('der.default', name, 'a default left out', 'FALSE written out');
  return true;
}

function readKeyUsage(
  extensions: readonly Extension[],
  name: string,
  isTailTolerated: boolean,
): number | null {
  const extension = extensions.find(({ oid }) => oid === EXTENSION_OID.keyUsage);
  if (extension === undefined) return null;
  const value = new DerReader(extension.value, `${name}.keyUsage`);
  const { bytes, unusedBits } = value.bitString('value');
  value.end();
  const bitCount = bytes.length * 8 - unusedBits;
  if (bitCount < 1 || bitCount > KEY_USAGE_BITS_MAX)
    value.fail('certificate.key-usage', '', `1 to ${KEY_USAGE_BITS_MAX} bits`, `${bitCount}`);
  let usage = 0;
  for (let bit = 0; bit < bitCount; bit++) {
    if (((bytes[bit >> 3] as number) & (0x80 >> (bit & 7))) !== 0) usage |= 1 << bit;
  }
  // A named bit list drops trailing zero bits (X.690 section 11.2.2).
  if ((usage & (1 << (bitCount - 1))) === 0 && !isTailTolerated)
    value.fail('certificate.key-usage', '', 'a last bit of one', 'trailing zero bits');
  return usage;
}

export function hasKeyUsage(certificate: Certificate, bit: number): boolean {
  return certificate.keyUsage !== null && (certificate.keyUsage & (1 << bit)) !== 0;
}
