/**
 * What a vendor signs about its platforms and everybody needs to judge evidence: TCB levels, identities, revocation lists. It
 * authenticates itself, so anybody may bring it; whose it is and which is newer is decided by its contents.
 */
import {
  arrayOf,
  bytesOf,
  CborWriter,
  domainHash,
  field,
  sha256,
  struct,
  type TypeOf,
  union,
  variant,
} from '@haca/primitives';

export const COLLATERAL_MAX_BYTES = 64 * 1024;
const certificatesCodec = arrayOf(bytesOf(1, 4096), 4);

const signedJsonCodec = struct({
  /** The object that was signed, byte for byte as the vendor sent it: UTF-8 JSON. */
  body: field(0, bytesOf(2, COLLATERAL_MAX_BYTES)),
  /** ECDSA P-256 with SHA-256, r || s. */
  signature: field(1, bytesOf(64)),
  /** DER, root first, the certificate of the signer last. */
  issuerChain: field(2, certificatesCodec),
});
export type SignedJson = TypeOf<typeof signedJsonCodec>;

const revocationListCodec = struct({
  /** DER CertificateList (RFC 5280 section 5). */
  crl: field(0, bytesOf(0, COLLATERAL_MAX_BYTES)),
  /** DER, root first, its issuer last. May be empty beside evidence, whose own chain holds the issuer. */
  issuerChain: field(1, certificatesCodec),
});
export type SignedRevocationList = TypeOf<typeof revocationListCodec>;

export const collateralCodec = union({
  'intel-tcb-info': variant(1, signedJsonCodec),
  'intel-qe-identity': variant(2, signedJsonCodec),
  'intel-crl': variant(3, revocationListCodec),
  'amd-crl': variant(4, revocationListCodec),
});
export type Collateral = TypeOf<typeof collateralCodec>;
export type CollateralKind = Collateral['kind'];
export type CollateralOf<K extends CollateralKind> = Extract<Collateral, { readonly kind: K }>;

/**
 * Names a piece of collateral without its version. The root is part of the name: what a test root signed never takes the place
 * of what a vendor signed.
 */
export interface CollateralRef {
  readonly kind: CollateralKind;
  /** DER of the root certificate it hangs on. */
  readonly rootCertificate: Uint8Array;
  /**
   * `intel-tcb-info`: ASCII `TDX:` or `SGX:` and the FMSPC in lower-case hex; `intel-qe-identity`: ASCII `QE`, `QVE` or `TD_QE`;
   * a revocation list: DER of its issuer's Name.
   */
  readonly scope: Uint8Array;
}

/** 32 bytes. */
export function collateralIdOf({ kind, rootCertificate, scope }: CollateralRef): Uint8Array {
  const writer = new CborWriter();
  writer.arrayHead(3);
  writer.text(kind);
  writer.bytes(sha256(rootCertificate));
  writer.bytes(scope);
  return domainHash('haca/collateral-id/1', writer.finish());
}
