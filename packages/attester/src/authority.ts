/** Certificate authorities of test roots. */
import { hash } from 'node:crypto';
import {
  caConstraints,
  certificateParts,
  derName,
  KEY_USAGE_BIT,
  keyUsage,
  signCertificate,
} from './certificate-writer.ts';
import type { Signer } from './signers.ts';

/** A certificate that others hang below, and its key. */
export interface Authority {
  readonly der: Uint8Array;
  /** DER Name. */
  readonly subject: Uint8Array;
  readonly signer: Signer;
}

/** The root of a test vendor. */
export interface TestRoot extends Authority {
  /** What a simulated genesis lists: SHA-256 of the DER. */
  readonly sha256: Uint8Array;
}

/** A fixed window, so that one seed always gives one root, byte for byte. */
export const ROOT_NOT_BEFORE_MS: number = Date.UTC(2020, 0, 1);
export const ROOT_NOT_AFTER_MS: number = Date.UTC(2049, 11, 31);

export interface IssueFields {
  readonly commonName: string;
  readonly signer: Signer;
  readonly extensions: readonly Uint8Array[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Big-endian magnitude; made from key and window without. */
  readonly serial?: Uint8Array;
}

/** The root that these fields make: it signs itself. */
export function selfSign(fields: IssueFields): TestRoot {
  const { signer } = fields;
  const subject = derName(fields.commonName);
  const authority = issue(
    { der: new Uint8Array(0), subject, signer },
    { serial: serialOf('root', signer), ...fields },
  );
  return { ...authority, sha256: digest('sha256', authority.der) };
}

/** A certificate below `issuer`, with its key: an authority if its extensions say so. */
export function issue(issuer: Authority, fields: IssueFields): Authority {
  const { commonName, signer, serial = serialOf(`${fields.notBeforeMs}`, signer) } = fields;
  const subject = derName(commonName);
  const { keyInfo } = signer;
  const { algorithm } = issuer.signer;
  const parts = certificateParts({ ...fields, serial, issuer: issuer.subject, subject, keyInfo, algorithm });
  return { der: signCertificate(parts, issuer.signer), subject, signer };
}

/** Extensions of a certificate authority: critical constraints and key usage. */
export function authorityExtensions(pathLen: number | null): readonly Uint8Array[] {
  const { digitalSignature, keyCertSign, crlSign } = KEY_USAGE_BIT;
  return [caConstraints(pathLen), keyUsage(true, digitalSignature, keyCertSign, crlSign)];
}

/** 16 bytes, positive and never zero. */
export function serialOf(label: string, { keyInfo }: Pick<Signer, 'keyInfo'>): Uint8Array {
  const serial = digest('sha256', Buffer.concat([Buffer.from(`${label}\0`), keyInfo])).slice(0, 16);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  return serial;
}

export function digest(algorithm: 'sha256' | 'sha384' | 'sha512', bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash(algorithm, bytes, 'buffer'));
}
