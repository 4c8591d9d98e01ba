/** What a set of files holds of collateral, each piece with where it stood. Nothing here is verified or trusted. */
import type { Certificate } from '../der/certificate.ts';
import type { NrasKey } from '../tee/nvidia/nras-token.ts';
import type { NvidiaManifestRef } from '../tee/nvidia/rim-checks.ts';

export interface CollateralFile {
  /** For people only: what is in a file is seen from its content. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface CertificateEntry {
  readonly origin: string;
  readonly certificate: Certificate;
}

/** What a piece says of its time and version. */
export interface PieceFacts {
  readonly issuedMs: number;
  readonly nextUpdateMs: number;
  /** The higher the newer, before the time of issue is looked at. */
  readonly version: number;
}

export interface SignedJsonEntry {
  readonly origin: string;
  readonly kind: 'intel-tcb-info' | 'intel-qe-identity';
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
  /** As it was given beside the body, root first; null where the file has none. */
  readonly issuerChain: readonly Uint8Array[] | null;
  /** As in `CollateralRef.scope`, as far as it can be told; null where it cannot. */
  readonly scope: Uint8Array | null;
  /** Null where the body is not what it should be. */
  readonly facts: PieceFacts | null;
}

export interface RevocationListEntry {
  readonly origin: string;
  readonly crl: Uint8Array;
  /** Which list of a bundle it was given as. */
  readonly role: 'root' | 'intermediate' | null;
  readonly issuerChain: readonly Uint8Array[] | null;
  /** DER of the issuer's Name; null where it cannot be told. */
  readonly scope: Uint8Array | null;
  readonly facts: PieceFacts | null;
}

/** A reference manifest of NVIDIA, as its bytes stand. */
export interface ManifestEntry {
  readonly origin: string;
  readonly bytes: Uint8Array;
  /** What it says it is for; null where it cannot be told, because it is no manifest as they have to be. */
  readonly about: NvidiaManifestRef | null;
}

/** Keys of NVIDIA's attestation service. They are trusted only where a policy names them. */
export interface ServiceKeysEntry {
  readonly origin: string;
  readonly keys: readonly NrasKey[];
}

export interface IgnoredFile {
  readonly name: string;
  readonly reason: string;
}

export interface CollateralLibrary {
  readonly certificates: readonly CertificateEntry[];
  readonly signedJson: readonly SignedJsonEntry[];
  readonly revocationLists: readonly RevocationListEntry[];
  readonly manifests: readonly ManifestEntry[];
  readonly serviceKeys: readonly ServiceKeysEntry[];
  /** Files in which nothing was found. */
  readonly ignored: readonly IgnoredFile[];
}

/** A library under construction. */
export interface LibraryDraft {
  readonly certificates: CertificateEntry[];
  readonly signedJson: SignedJsonEntry[];
  readonly revocationLists: RevocationListEntry[];
  readonly manifests: ManifestEntry[];
  readonly serviceKeys: ServiceKeysEntry[];
}

export function emptyDraft(): LibraryDraft {
  return { certificates: [], signedJson: [], revocationLists: [], manifests: [], serviceKeys: [] };
}

export const EMPTY_LIBRARY: CollateralLibrary = { ...emptyDraft(), ignored: [] };
