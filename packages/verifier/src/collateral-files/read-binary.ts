/** Certificates and revocation lists in DER and PEM. */
import { MalformedError, utf8Encode } from '@haca/primitives';
import { AMD_DEVIATIONS, type Certificate, parseCertificate } from '../der/certificate.ts';
import { DerReader, TAG } from '../der/reader.ts';
import { pemBlocks } from '../file-forms/pem-blocks.ts';
import { describeRevocationList } from './describe.ts';
import type { LibraryDraft, RevocationListEntry } from './library.ts';

const CHAIN_BYTES_MAX = 4096;

/** Null where the bytes are no certificate. What AMD does differently is let through: it is judged later. */
export function certificateOf(der: Uint8Array): Certificate | null {
  try {
    return parseCertificate(der, 'certificate', AMD_DEVIATIONS);
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

/** Whether any was one. */
export function addCertificates(ders: readonly Uint8Array[], origin: string, draft: LibraryDraft): boolean {
  let found = false;
  for (const der of ders) {
    const certificate = certificateOf(der);
    if (certificate === null) continue;
    draft.certificates.push({ origin, certificate });
    found = true;
  }
  return found;
}

export function addRevocationList(
  crl: Uint8Array,
  origin: string,
  draft: LibraryDraft,
  role: RevocationListEntry['role'] = null,
  issuerChain: readonly Uint8Array[] | null = null,
): void {
  draft.revocationLists.push({ origin, crl, role, issuerChain, ...describeRevocationList(crl) });
}

/**
 * The chain that stands beside a piece, root first; files have the signer first, as TLS does. What is no PEM stays as it is, so
 * that it fails as a certificate.
 */
export function issuerChainOf(text: string): readonly Uint8Array[] {
  const { certificates } = pemBlocks(text);
  if (certificates.length === 0)
    return text === '' ? [] : [utf8Encode(text.toWellFormed()).slice(0, CHAIN_BYTES_MAX)];
  return rootFirst(certificates);
}

function rootFirst(ders: readonly Uint8Array[]): readonly Uint8Array[] {
  const first = certificateOf(ders[0] as Uint8Array);
  const isRootFirst = first !== null && isSelfIssued(first) && ders.length > 1;
  return isRootFirst ? ders : ders.toReversed();
}

export function isSelfIssued({ issuer, subject }: Certificate): boolean {
  return issuer.length === subject.length && issuer.every((byte, i) => byte === subject[i]);
}

/** Certificates and lists, one after another with nothing between. Whether that is all that the bytes hold. */
export function readDer(bytes: Uint8Array, origin: string, draft: LibraryDraft): boolean {
  const elements = derElements(bytes);
  if (elements === null) return false;
  const read = elements.map((der) => ({ der, isCertificate: certificateOf(der) !== null }));
  const isKnown = read.every(
    ({ der, isCertificate }) => isCertificate || describeRevocationList(der).facts !== null,
  );
  if (!isKnown) return false;
  for (const { der, isCertificate } of read) {
    if (isCertificate) addCertificates([der], origin, draft);
    else addRevocationList(der, origin, draft);
  }
  return true;
}

const ELEMENTS_MAX = 64;
const SEQUENCE = 0x30;

/** The SEQUENCEs that the bytes consist of; null where they do not. */
export function derElements(bytes: Uint8Array): readonly Uint8Array[] | null {
  const elements: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    if (length === null || at + length > bytes.length || elements.length === ELEMENTS_MAX) return null;
    elements.push(bytes.subarray(at, at + length));
    at += length;
  }
  return elements.length === 0 ? null : elements;
}

/** Of the whole element, its head included. */
function sequenceLength(bytes: Uint8Array, at: number): number | null {
  const first = bytes[at + 1];
  if (bytes[at] !== SEQUENCE || first === undefined) return null;
  if (first < 0x80) return 2 + first;
  const octets = first & 0x7f;
  if (octets < 1 || octets > 3) return null;
  let length = 0;
  for (let i = 0; i < octets; i++) length = length * 256 + (bytes[at + 2 + i] ?? 0);
  return 2 + octets + length;
}

/** The parts of a signed DER structure: RFC 5280 sections 4.1 and 5.1. Null where it is none. */
export function signedPartOf(
  der: Uint8Array,
): { readonly tbs: Uint8Array; readonly signature: Uint8Array } | null {
  try {
    const input = new DerReader(der, 'signed');
    const outer = input.sequence('outer');
    const tbs = outer.element(TAG.sequence, 'tbs').raw;
    outer.element(TAG.sequence, 'algorithm');
    return { tbs, signature: outer.bitString('signature').bytes };
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}
