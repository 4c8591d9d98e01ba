/**
 * Certificate chains of fixed order, root first: no path search, every certificate used once. Each function looks at one
 * property of the whole chain and returns the first certificate that breaks it, or null. Which root is trusted is not
 * decided here: compare the first certificate with a pin before anything else.
 */
import { bytesEqual, type CryptoProvider, MalformedError, toHex, UsageError } from '@haca/primitives';
import { type Certificate, EXTENSION_OID, hasKeyUsage, KEY_USAGE } from './certificate.ts';
import { ecdsaSignatureFromDer } from './ecdsa-signature.ts';

/** A vendor's fixed choice of algorithms, the same for every certificate of its chain. */
export interface ChainProfile {
  readonly signatureOid: string;
  readonly keyOid: string;
  /** DER of the key parameters: for elliptic curves the named curve. */
  readonly keyParameters: Uint8Array;
  /** Bytes of the uncompressed point, and of each of r and s. */
  readonly pointBytes: number;
  readonly coordinateBytes: number;
  readonly verify: (
    crypto: CryptoProvider,
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ) => boolean;
}

/** ECDSA on P-384 with SHA-384 throughout (RFC 5480, RFC 5758). */
export const P384_SHA384_PROFILE: ChainProfile = {
  signatureOid: '1.2.840.10045.4.3.3',
  keyOid: '1.2.840.10045.2.1',
  keyParameters: Uint8Array.of(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22),
  pointBytes: 97,
  coordinateBytes: 48,
  verify: (crypto, publicKey, message, signature) => crypto.verifyEcdsaP384(publicKey, message, signature),
};

export interface ChainFault {
  readonly code: string;
  /** Position in the chain; 0 is the root. */
  readonly position: number;
  readonly expected: string;
  readonly got: string;
}

/** A certificate taken back, named so that no re-encoding of it escapes. */
export interface RevokedCertificate {
  /** DER of the issuer's Name. */
  readonly issuer: Uint8Array;
  /** Big-endian without leading zeros. */
  readonly serial: Uint8Array;
}

const UNDERSTOOD_CRITICAL: readonly string[] = [EXTENSION_OID.basicConstraints, EXTENSION_OID.keyUsage];

type Fault = Omit<ChainFault, 'position'> | null;

function firstFault(
  chain: readonly Certificate[],
  faultOf: (certificate: Certificate, position: number) => Fault,
): ChainFault | null {
  if (chain.length < 2) throw new UsageError('a chain has at least a root and a leaf');
  for (const [position, certificate] of chain.entries()) {
    const fault = faultOf(certificate, position);
    if (fault !== null) return { ...fault, position };
  }
  return null;
}

/** Algorithms, curve, critical extensions, and what each position may do. The last certificate is the leaf. */
export function profileFault(chain: readonly Certificate[], profile: ChainProfile): ChainFault | null {
  const leafPosition = chain.length - 1;
  return firstFault(
    chain,
    (certificate, position) =>
      algorithmFault(certificate, profile) ??
      criticalFault(certificate) ??
      (position === leafPosition
        ? leafFault(certificate)
        : caFault(certificate, leafPosition - 1 - position)),
  );
}

function algorithmFault(certificate: Certificate, profile: ChainProfile): Fault {
  const { signatureAlgorithm, keyAlgorithm, publicKey } = certificate;
  if (signatureAlgorithm.oid !== profile.signatureOid || signatureAlgorithm.parameters !== null) {
    return fault(
      'certificate.signature-algorithm',
      `${profile.signatureOid} without parameters`,
      signatureAlgorithm.oid,
    );
  }
  const { parameters } = keyAlgorithm;
  if (
    keyAlgorithm.oid !== profile.keyOid ||
    parameters === null ||
    !bytesEqual(parameters, profile.keyParameters)
  ) {
    const got = `${keyAlgorithm.oid} ${parameters === null ? 'without parameters' : toHex(parameters).slice(0, 64)}`;
    return fault('certificate.key-algorithm', `${profile.keyOid} ${toHex(profile.keyParameters)}`, got);
  }
  if (publicKey.length !== profile.pointBytes || publicKey[0] !== 4) {
    const got = `${publicKey.length} bytes beginning with ${publicKey[0] ?? 'nothing'}`;
    return fault('certificate.point', `an uncompressed point of ${profile.pointBytes} bytes`, got);
  }
  return null;
}

function criticalFault(certificate: Certificate): Fault {
  const unknown = certificate.extensions.find(
    ({ critical, oid }) => critical && !UNDERSTOOD_CRITICAL.includes(oid),
  );
  if (unknown === undefined) return null;
  return fault('certificate.critical-extension', 'no critical extension that is not understood', unknown.oid);
}

function caFault(certificate: Certificate, casBelow: number): Fault {
  const constraints = certificate.basicConstraints;
  if (constraints === null || !constraints.ca || !constraints.critical)
    return fault('certificate.not-a-ca', 'critical basicConstraints with CA TRUE', 'none such');
  if (constraints.pathLen !== null && casBelow > constraints.pathLen) {
    const got = `${casBelow}`;
    return fault('certificate.path-length', `at most ${constraints.pathLen} CA certificates below`, got);
  }
  if (!hasKeyUsage(certificate, KEY_USAGE.keyCertSign))
    return fault('certificate.key-usage', 'keyUsage with keyCertSign', usageText(certificate));
  return null;
}

function leafFault(certificate: Certificate): Fault {
  if (certificate.basicConstraints?.ca === true)
    return fault('certificate.leaf-is-ca', 'a leaf that is no CA', 'CA TRUE');
  if (
    !hasKeyUsage(certificate, KEY_USAGE.digitalSignature) ||
    hasKeyUsage(certificate, KEY_USAGE.keyCertSign)
  ) {
    const got = usageText(certificate);
    return fault('certificate.key-usage', 'keyUsage with digitalSignature, without keyCertSign', got);
  }
  return null;
}

function usageText({ keyUsage }: Certificate): string {
  return keyUsage === null ? 'no keyUsage' : `bits ${keyUsage.toString(2)}`;
}

function fault(code: string, expected: string, got: string): Fault {
  return { code, expected, got };
}

/** Each issuer is the subject before it, byte for byte, and nobody below the root issues itself. */
export function nameFault(chain: readonly Certificate[]): ChainFault | null {
  return firstFault(chain, ({ issuer, subject }, position) => {
    if (position > 0 && bytesEqual(issuer, subject))
      return fault('certificate.self-issued', 'another subject than the issuer', 'a self-issued one');
    const above = chain[position - 1] ?? chain[0];
    if (above !== undefined && !bytesEqual(issuer, above.subject))
      return fault('certificate.issuer', nameText(above.subject), nameText(issuer));
    return null;
  });
}

function nameText(der: Uint8Array): string {
  const hex = toHex(der.subarray(0, 48));
  return der.length > 48 ? `${hex}...` : hex;
}

/** Every certificate holds at `nowMs`, its first and last millisecond included. */
export function windowFault(chain: readonly Certificate[], nowMs: number): ChainFault | null {
  return firstFault(chain, ({ notBeforeMs, notAfterMs }) => {
    const got = `${nowMs}`;
    if (!(notBeforeMs <= nowMs)) return fault('certificate.not-yet-valid', `${notBeforeMs} or later`, got);
    if (!(nowMs <= notAfterMs)) return fault('certificate.expired', `${notAfterMs} or earlier`, got);
    return null;
  });
}

/** No certificate is on the list, the root included. */
export function revocationFault(
  chain: readonly Certificate[],
  revoked: readonly RevokedCertificate[],
): ChainFault | null {
  return firstFault(chain, ({ issuer, serial }) => {
    const isRevoked = revoked.some(
      (entry) => bytesEqual(entry.serial, serial) && bytesEqual(entry.issuer, issuer),
    );
    return isRevoked ? fault('certificate.revoked', 'a certificate not revoked', toHex(serial)) : null;
  });
}

/**
 * Each certificate below the root is signed by the key above it: `chain.length - 1` verifications. The pin vouches for the
 * root; its signature over itself would add nothing.
 */
export function signatureFault(
  chain: readonly Certificate[],
  profile: ChainProfile,
  crypto: CryptoProvider,
): ChainFault | null {
  return firstFault(chain, ({ tbs, signature }, position) => {
    const issuer = chain[position - 1];
    if (issuer === undefined) return null;
    const raw = rawSignature(signature, profile);
    if (raw instanceof MalformedError) return { code: raw.code, expected: raw.expected, got: raw.got };
    if (profile.verify(crypto, issuer.publicKey, tbs, raw)) return null;
    return fault('certificate.signature', "a signature by the issuer's key", 'one that does not verify');
  });
}

function rawSignature(der: Uint8Array, profile: ChainProfile): Uint8Array | MalformedError {
  try {
    return ecdsaSignatureFromDer(der, profile.coordinateBytes, 'signature');
  } catch (error) {
    if (error instanceof MalformedError) return error;
    throw error;
  }
}
