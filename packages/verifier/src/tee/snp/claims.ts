import { bytesOf, domainHash, encode, field, struct } from '@haca/primitives';
import type { SnpProduct } from '@haca/protocol';
import type { TeeClaims } from '../claims.ts';
import { SNP_SIGNED_BYTES, type SnpReport } from './parse.ts';
import type { SnpTcb } from './product.ts';

type Raw =
  | 'signature'
  | 'signed'
  | 'signingKey'
  | 'reportedTcb'
  | 'currentTcb'
  | 'committedTcb'
  | 'launchTcb';

/** What an SNP report says once the chain of its signer and its signature were verified. */
export interface SnpClaims extends TeeClaims, Omit<SnpReport, Raw> {
  readonly kind: 'snp';
  readonly product: SnpProduct;
  /** The chip's own key, or one that AMD made for a cloud provider. */
  readonly signingKey: 'vcek' | 'vlek';
  /** The provider whose key signed, as AMD certified it; null for a VCEK. */
  readonly cspId: string | null;
  /** What the signing key was derived from: the platform proves to be at this level at least. */
  readonly reportedTcb: SnpTcb;
  readonly currentTcb: SnpTcb;
  /** What the platform can't go back behind. */
  readonly committedTcb: SnpTcb;
  readonly launchTcb: SnpTcb;
  /** SHA-256 of each certificate, root first. */
  readonly certificateSha256: readonly Uint8Array[];
}

const identityCodec = struct({
  rootSha256: field(0, bytesOf(32)),
  signed: field(1, bytesOf(SNP_SIGNED_BYTES)),
});

/**
 * SHA-256 over domain `haca/snp-claims/1` and the deterministic CBOR of the root's hash and the signed part of the report. Not the
 * certificates below the root: AMD issues another one for the same key to whoever asks again.
 */
export function snpClaimsDigest(rootSha256: Uint8Array, signed: Uint8Array): Uint8Array {
  return domainHash('haca/snp-claims/1', encode(identityCodec, { rootSha256, signed }));
}

/** Registers by their names in 56860, in lower case. */
export function snpRegisters(report: SnpReport): ReadonlyMap<string, Uint8Array> {
  return new Map([
    ['measurement', report.measurement],
    ['host-data', report.hostData],
    ['id-key-digest', report.idKeyDigest],
    ['author-key-digest', report.authorKeyDigest],
    ['family-id', report.familyId],
    ['image-id', report.imageId],
  ]);
}
