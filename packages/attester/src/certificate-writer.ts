/** X.509 version 3 certificates (RFC 5280) of test roots. */
import { createHash } from 'node:crypto';
import { concatBytes } from '@haca/primitives';
import {
  derBitString,
  derBoolean,
  derElement,
  derExplicit,
  derNamedBits,
  derOctetString,
  derOid,
  derSequence,
  derSet,
  derTime,
  derUnsigned,
  derUtf8,
} from './der-writer.ts';
import type { Signer } from './signers.ts';

const OID = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  country: '2.5.4.6',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',
  commonName: '2.5.4.3',
} as const;

/** Every part of a certificate, each a whole DER element unless said otherwise: what is put in is what comes out. */
export interface CertificateParts {
  readonly version: Uint8Array;
  readonly serial: Uint8Array;
  /** AlgorithmIdentifier inside the signed part, and beside the signature. */
  readonly innerAlgorithm: Uint8Array;
  readonly outerAlgorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly notBefore: Uint8Array;
  readonly notAfter: Uint8Array;
  readonly subject: Uint8Array;
  readonly subjectPublicKeyInfo: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

export interface CertificateFields {
  /** Big-endian magnitude. */
  readonly serial: Uint8Array;
  /** DER Names. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Of the key it is about, and of the key that signs it. */
  readonly keyInfo: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

export function certificateParts(fields: CertificateFields): CertificateParts {
  return {
    version: derExplicit(0, derUnsigned(Uint8Array.of(2))),
    serial: derUnsigned(fields.serial),
    innerAlgorithm: fields.algorithm,
    outerAlgorithm: fields.algorithm,
    issuer: fields.issuer,
    notBefore: derTime(fields.notBeforeMs),
    notAfter: derTime(fields.notAfterMs),
    subject: fields.subject,
    subjectPublicKeyInfo: fields.keyInfo,
    extensions: fields.extensions,
  };
}

/** The signed certificate, DER. Whatever `parts` say is signed: tests mint bad certificates with it. */
export function signCertificate(parts: CertificateParts, issuer: Signer): Uint8Array {
  const tbs = derSequence(
    parts.version,
    parts.serial,
    parts.innerAlgorithm,
    parts.issuer,
    derSequence(parts.notBefore, parts.notAfter),
    parts.subject,
    parts.subjectPublicKeyInfo,
    derExplicit(3, derSequence(...parts.extensions)),
  );
  return derSequence(tbs, parts.outerAlgorithm, derBitString(issuer.signatureBits(tbs)));
}

/** A Name that says what it is, with this common name. */
export function derName(commonName: string): Uint8Array {
  const attribute = (oid: string, text: string): Uint8Array =>
    derSet(derSequence(derOid(oid), derUtf8(text)));
  return derSequence(
    attribute(OID.country, 'XX'),
    attribute(OID.organization, 'HACA'),
    attribute(OID.organizationalUnit, 'Test enclave, proves nothing'),
    attribute(OID.commonName, commonName),
  );
}

export function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? derBoolean(true) : new Uint8Array(0);
  return derSequence(concatBytes(derOid(oid), flag, derOctetString(value)));
}

/** Critical, as RFC 5280 section 4.2.1.9 asks of a CA. */
export function caConstraints(pathLen: number | null): Uint8Array {
  const limit = pathLen === null ? new Uint8Array(0) : derUnsigned(Uint8Array.of(pathLen));
  return extension(OID.basicConstraints, true, derSequence(derBoolean(true), limit));
}

/** Critical, CA FALSE by leaving it out. */
export function leafConstraints(): Uint8Array {
  return extension(OID.basicConstraints, true, derSequence());
}

/** Positions of RFC 5280 section 4.2.1.3. */
export const KEY_USAGE_BIT = { digitalSignature: 0, nonRepudiation: 1, keyCertSign: 5, crlSign: 6 } as const;

export function keyUsage(critical: boolean, ...bits: readonly number[]): Uint8Array {
  return extension(OID.keyUsage, critical, derNamedBits(...bits));
}

/** 20 bytes naming a key (RFC 5280 section 4.2.1.2, method of our own choice). */
export function keyIdentifier({ keyInfo }: Pick<Signer, 'keyInfo'>): Uint8Array {
  return new Uint8Array(createHash('sha256').update(keyInfo).digest()).slice(0, 20);
}

/** Not critical, as RFC 5280 asks: subject and authority key identifiers. */
export function keyIdentifiers(
  subject: Pick<Signer, 'keyInfo'>,
  issuer: Pick<Signer, 'keyInfo'>,
): Uint8Array[] {
  const authority = derSequence(derElement(0x80, keyIdentifier(issuer)));
  return [
    extension(OID.subjectKeyIdentifier, false, derOctetString(keyIdentifier(subject))),
    extension(OID.authorityKeyIdentifier, false, authority),
  ];
}
