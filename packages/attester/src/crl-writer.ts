/** Certificate revocation lists (RFC 5280 section 5), version 2, of test roots. */

import type { Authority } from './authority.ts';
import { keyIdentifier } from './certificate-writer.ts';
import {
  derBitString,
  derElement,
  derExplicit,
  derOctetString,
  derOid,
  derSequence,
  derTime,
  derUnsigned,
} from './der-writer.ts';

export interface RevocationListFields {
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly number: number;
  /** Serials, big-endian magnitudes. */
  readonly revoked: readonly Uint8Array[];
}

const OID = { crlNumber: '2.5.29.20', reasonCode: '2.5.29.21', authorityKeyIdentifier: '2.5.29.35' } as const;
const KEY_COMPROMISE = 1;

/** The list as DER, signed by its issuer. */
export function signRevocationList(issuer: Authority, fields: RevocationListFields): Uint8Array {
  const { thisUpdateMs, nextUpdateMs, number, revoked } = fields;
  const entries = revoked.map((serial) =>
    derSequence(derUnsigned(serial), derTime(thisUpdateMs), derSequence(reason(KEY_COMPROMISE))),
  );
  const { algorithm } = issuer.signer;
  const tbs = derSequence(
    derUnsigned(Uint8Array.of(1)),
    algorithm,
    issuer.subject,
    derTime(thisUpdateMs),
    derTime(nextUpdateMs),
    // An empty list is left out.
    ...(entries.length === 0 ? [] : [derSequence(...entries)]),
    derExplicit(0, derSequence(...listExtensions(issuer, number))),
  );
  return derSequence(tbs, algorithm, derBitString(issuer.signer.signatureBits(tbs)));
}

function listExtensions(issuer: Authority, number: number): readonly Uint8Array[] {
  const octets = Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);
  return [
    plain(OID.crlNumber, derUnsigned(octets)),
    plain(OID.authorityKeyIdentifier, derSequence(derElement(0x80, keyIdentifier(issuer.signer)))),
  ];
}

function reason(code: number): Uint8Array {
  return plain(OID.reasonCode, derElement(0x0a, Uint8Array.of(code)));
}

function plain(oid: string, value: Uint8Array): Uint8Array {
  return derSequence(derOid(oid), derOctetString(value));
}
