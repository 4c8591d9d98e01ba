/**
 * Certificate chains of fixed order, root first: no path search, every certificate used once. Each function looks at one
 * property of the whole chain and returns the first certificate that breaks it, or null. Which root is trusted is not
 * decided here: compare the first certificate with a pin before anything else.
 */
import { bytesEqual, type CryptoProvider, MalformedError, toHex, UsageError } from '@haca/primitives';
import { type Certificate, EXTENSION_OID, hasKeyUsage, KEY_USAGE } from './certificate.ts';
import { ecdsaSignatureFromDer } from './ecdsa-signature.ts';

/** How certificates of a vendor are signed. */
export interface SignatureAlgorithm {
  readonly oid: string;
  /** Whether these are the parameters (DER; null: absent) the vendor writes. */
  readonly acceptsParameters: (parameters: Uint8Array | null) => boolean;
  /** Content of the signature BIT STRING to what `verify` takes. Throws `MalformedError`. */
  readonly rawSignature: (content: Uint8Array) => Uint8Array;
  readonly verify: (
    crypto: CryptoProvider,
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ) => boolean;
}

/** What a subject's key may be. */
export interface KeyAlgorithm {
  readonly oid: string;
  /** DER of the key parameters; for elliptic curves the named curve. */
  readonly parameters: Uint8Array;
  /** In words, for faults. */
  readonly form: string;
  readonly isWellFormed: (publicKey: Uint8Array) => boolean;
}

/** A vendor's fixed choice for every position of its chain. */
export interface ChainProfile {
  readonly signature: SignatureAlgorithm;
  readonly caKey: KeyAlgorithm;
  readonly leafKey: KeyAlgorithm;
  /** Vendors that write no keyUsage into leaves; where it is written it must be right all the same. */
  readonly leafKeyUsageOptional?: boolean;
  /** Critical extensions that the caller understands beyond basicConstraints and keyUsage. */
  readonly understoodCritical?: readonly string[];
}

function ecdsaSignature(
  oid: string,
  coordinateBytes: number,
  verify: SignatureAlgorithm['verify'],
): SignatureAlgorithm {
  return {
    oid,
    acceptsParameters: (parameters) => parameters === null,
    rawSignature: (content) => ecdsaSignatureFromDer(content, coordinateBytes, 'signature'),
    verify,
  };
}

function curveKey(curve: Uint8Array, pointBytes: number): KeyAlgorithm {
  return {
    oid: '1.2.840.10045.2.1',
    parameters: curve,
    form: `an uncompressed point of ${pointBytes} bytes`,
    isWellFormed: (publicKey) => publicKey.length === pointBytes && publicKey[0] === 4,
  };
}

/** ECDSA with SHA-256 and SHA-384 (RFC 5758), as certificates of Intel and of AWS and NVIDIA are signed. */
export const ECDSA_P256_SHA256: SignatureAlgorithm = ecdsaSignature(
  '1.2.840.10045.4.3.2',
  32,
  (crypto, publicKey, message, signature) => crypto.verifyEcdsaP256(publicKey, message, signature),
);
export const ECDSA_P384_SHA384: SignatureAlgorithm = ecdsaSignature(
  '1.2.840.10045.4.3.3',
  48,
  (crypto, publicKey, message, signature) => crypto.verifyEcdsaP384(publicKey, message, signature),
);

/** Keys on named curves (RFC 5480). */
export const P256_KEY: KeyAlgorithm = curveKey(
  Uint8Array.of(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07),
  65,
);
export const P384_KEY: KeyAlgorithm = curveKey(Uint8Array.of(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22), 97);

export const P256_SHA256_PROFILE: ChainProfile = {
  signature: ECDSA_P256_SHA256,
  caKey: P256_KEY,
  leafKey: P256_KEY,
};
export const P384_SHA384_PROFILE: ChainProfile = {
  signature: ECDSA_P384_SHA384,
  caKey: P384_KEY,
  leafKey: P384_KEY,
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
  /** Big-endian; leading zeros don't count. */
  readonly serial: Uint8Array;
}

const UNDERSTOOD_CRITICAL: readonly string[] = [EXTENSION_OID.basicConstraints, EXTENSION_OID.keyUsage];

type Fault = Omit<ChainFault, 'position'> | null;

function firstFault<T>(
  chain: readonly T[],
  faultOf: (certificate: T, position: number) => Fault,
): ChainFault | null {
  if (chain.length < 2) throw new UsageError('a chain has at least a root and a leaf');
  for (const [position, certificate] of chain.entries()) {
    const fault = faultOf(certificate, position);
    if (fault !== null) return { ...fault, position };
  }
  return null;
}

/** Algorithms, keys, critical extensions, and what each position may do. The last certificate is the leaf. */
export function profileFault(chain: readonly Certificate[], profile: ChainProfile): ChainFault | null {
  const leafPosition = chain.length - 1;
  return firstFault(
    chain,
    (certificate, position) =>
      signatureAlgorithmFault(certificate, profile.signature) ??
      keyFault(certificate, position === leafPosition ? profile.leafKey : profile.caKey) ??
      criticalFault(certificate, profile.understoodCritical ?? []) ??
      (position === leafPosition
        ? leafFault(certificate, profile.leafKeyUsageOptional ?? false)
        : caFault(certificate, leafPosition - 1 - position)),
  );
}

/** The same for one CA that stands at the end of a chain, with no other CA below it. */
export function authorityFault(
  certificate: Certificate,
  profile: ChainProfile,
): Omit<ChainFault, 'position'> | null {
  return (
    signatureAlgorithmFault(certificate, profile.signature) ??
    keyFault(certificate, profile.caKey) ??
    criticalFault(certificate, profile.understoodCritical ?? []) ??
    caFault(certificate, 0)
  );
}

function signatureAlgorithmFault({ signatureAlgorithm }: Certificate, expected: SignatureAlgorithm): Fault {
  const { oid, parameters } = signatureAlgorithm;
  if (oid === expected.oid && expected.acceptsParameters(parameters)) return null;
  return fault(
    'certificate.signature-algorithm',
    `${expected.oid} with the parameters of its vendor`,
    `${oid} ${parametersText(parameters)}`,
  );
}

function keyFault({ keyAlgorithm, publicKey }: Certificate, expected: KeyAlgorithm): Fault {
  const { oid, parameters } = keyAlgorithm;
  if (oid !== expected.oid || parameters === null || !bytesEqual(parameters, expected.parameters)) {
    const wanted = `${expected.oid} ${toHex(expected.parameters)}`;
    return fault('certificate.key-algorithm', wanted, `${oid} ${parametersText(parameters)}`);
  }
  if (expected.isWellFormed(publicKey)) return null;
  const got = `${publicKey.length} bytes beginning with ${publicKey[0] ?? 'nothing'}`;
  return fault('certificate.key', expected.form, got);
}

function parametersText(parameters: Uint8Array | null): string {
  return parameters === null ? 'without parameters' : toHex(parameters).slice(0, 64);
}

function criticalFault(certificate: Certificate, understood: readonly string[]): Fault {
  const unknown = certificate.extensions.find(
    ({ critical, oid }) => critical && !UNDERSTOOD_CRITICAL.includes(oid) && !understood.includes(oid),
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

function leafFault(certificate: Certificate, keyUsageOptional: boolean): Fault {
  if (certificate.basicConstraints?.ca === true)
    return fault('certificate.leaf-is-ca', 'a leaf that is no CA', 'CA TRUE');
  if (keyUsageOptional && certificate.keyUsage === null) return null;
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

/** No certificate is on the list, the root included. What has serial 0 is on none. */
export function revocationFault(
  chain: readonly RevokedCertificate[],
  revoked: readonly RevokedCertificate[],
): ChainFault | null {
  return firstFault(chain, ({ issuer, serial }) => {
    const isRevoked =
      namesOne(serial) &&
      revoked.some((entry) => sameNumber(entry.serial, serial) && bytesEqual(entry.issuer, issuer));
    return isRevoked ? fault('certificate.revoked', 'a certificate not revoked', toHex(serial)) : null;
  });
}

/** AMD's endorsement keys all have serial 0 (57230), so a revocation of serial 0 names none of them. */
function namesOne(serial: Uint8Array): boolean {
  return serial.some((byte) => byte !== 0);
}

/** Whoever writes a revocation down may copy the octets of the INTEGER, sign octet included. */
function sameNumber(a: Uint8Array, b: Uint8Array): boolean {
  return bytesEqual(withoutLeadingZeros(a), withoutLeadingZeros(b));
}

function withoutLeadingZeros(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length && bytes[start] === 0) start++;
  return bytes.subarray(start);
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
    const raw = rawSignature(signature, profile.signature);
    if (raw instanceof MalformedError) return { code: raw.code, expected: raw.expected, got: raw.got };
    if (profile.signature.verify(crypto, issuer.publicKey, tbs, raw)) return null;
    return fault('certificate.signature', "a signature by the issuer's key", 'one that does not verify');
  });
}

function rawSignature(content: Uint8Array, algorithm: SignatureAlgorithm): Uint8Array | MalformedError {
  try {
    return algorithm.rawSignature(content);
  } catch (error) {
    if (error instanceof MalformedError) return error;
    throw error;
  }
}
