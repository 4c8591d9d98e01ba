/**
 * Cryptographic verification of a reference manifest: the chain of its signer to NVIDIA's root for manifests, the signature over
 * what names the digest, the digest of the rest. Everything that is read from a manifest is under that digest.
 */
import { bytesEqual, type CryptoProvider, toHex } from '@haca/primitives';
import { check } from '@haca/protocol';
import { type Certificate, NVIDIA_MANIFEST_DEVIATIONS, parseCertificate } from '../../der/certificate.ts';
import {
  nameFault,
  P384_SHA384_PROFILE,
  profileFault,
  type RevokedCertificate,
  revocationFault,
  signatureFault,
  windowFault,
} from '../../der/chain.ts';
import { type CheckRun, openCheckRun, type Verification } from '../check-run.ts';
import type { TrustRoot } from '../trust-root.ts';
import { canonicalXml } from './rim-canonical.ts';
import {
  type NvidiaManifestContent,
  type ParsedNvidiaManifest,
  parseNvidiaManifest,
} from './rim-manifest.ts';

/** Ids of the checks, in order. Two of them judge what is authentic and end nothing: `window` and `revoked`. */
export const NVIDIA_MANIFEST_CHECKS = [
  'nvidia.rim.form',
  'nvidia.rim.root',
  'nvidia.rim.certificates',
  'nvidia.rim.profile',
  'nvidia.rim.names',
  'nvidia.rim.window',
  'nvidia.rim.revoked',
  'nvidia.rim.signatures',
  'nvidia.rim.signature',
  'nvidia.rim.digest',
] as const;

export interface NvidiaManifestTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch. */
  readonly nowMs: number;
  /** Roots for manifests, which are others than those for devices. */
  readonly roots: readonly TrustRoot[];
  readonly revoked: readonly RevokedCertificate[];
}

/** What an authentic manifest says. */
export interface NvidiaManifest extends NvidiaManifestContent {
  /** It hangs on a test root. */
  readonly isSimulated: boolean;
  /** The earliest end of validity in the chain. Unix milliseconds. */
  readonly endMs: number;
  /** SHA-256 of each certificate, root first. */
  readonly certificateSha256: readonly Uint8Array[];
}

type Run = CheckRun<(typeof NVIDIA_MANIFEST_CHECKS)[number]>;

/**
 * Total for every byte string. At most four signatures are verified, over at most 256 KiB. An expired manifest is still
 * authentic: there are claims, and `nvidia.rim.window` has failed.
 */
export function verifyNvidiaManifest(
  bytes: Uint8Array,
  trust: NvidiaManifestTrust,
): Verification<NvidiaManifest> {
  const run = openCheckRun(NVIDIA_MANIFEST_CHECKS);
  const claims = runChecks(bytes, trust, run);
  return { checks: run.checks(), claims };
}

function runChecks(bytes: Uint8Array, trust: NvidiaManifestTrust, run: Run): NvidiaManifest | null {
  const { crypto } = trust;
  const manifest = run.parse('nvidia.rim.form', () => parseNvidiaManifest(bytes));
  if (manifest === null) return null;
  const certificateSha256 = manifest.certificates.map(crypto.sha256);
  const root = run.root(
    'nvidia.rim.root',
    'nvidia.rim.root-untrusted',
    certificateSha256[0] as Uint8Array,
    trust.roots,
  );
  if (root === null) return null;
  const chain = run.parse('nvidia.rim.certificates', () => parseChain(manifest.certificates));
  if (chain === null || !verifyChain(chain, trust, run)) return null;
  if (!checkSignature(manifest, chain, crypto, run) || !checkDigest(manifest, crypto, run)) return null;
  const { kind, tagId, product, version, measurements, minimums } = manifest;
  return {
    kind,
    tagId,
    product,
    version,
    measurements,
    minimums,
    isSimulated: root.simulated,
    endMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    certificateSha256,
  };
}

function parseChain(ders: readonly Uint8Array[]): readonly Certificate[] {
  return ders.map((der, i) => parseCertificate(der, `certificates.${i}`, NVIDIA_MANIFEST_DEVIATIONS));
}

function verifyChain(
  chain: readonly Certificate[],
  { nowMs, revoked, crypto }: NvidiaManifestTrust,
  run: Run,
): boolean {
  const { length } = chain;
  const isSound =
    run.chain('nvidia.rim.profile', profileFault(chain, P384_SHA384_PROFILE), length) &&
    run.chain('nvidia.rim.names', nameFault(chain), length);
  if (!isSound) return false;
  run.chain('nvidia.rim.window', windowFault(chain, nowMs), length);
  run.chain('nvidia.rim.revoked', revocationFault(chain, revoked), length);
  return run.chain('nvidia.rim.signatures', signatureFault(chain, P384_SHA384_PROFILE, crypto), length);
}

/** Over the canonical form of what names algorithms and digest, with the namespaces around it. */
function checkSignature(
  { signedInfo, signatureValue }: ParsedNvidiaManifest,
  chain: readonly Certificate[],
  crypto: CryptoProvider,
  run: Run,
): boolean {
  const id = 'nvidia.rim.signature';
  const { publicKey } = chain[chain.length - 1] as Certificate;
  const holds = crypto.verifyEcdsaP384(publicKey, canonicalXml(signedInfo, null), signatureValue);
  const got = holds ? 'one' : 'one that does not verify';
  return run.note(check(id, id, holds, 'a signature by the first certificate', got));
}

function checkDigest(
  { root, signature, digest }: ParsedNvidiaManifest,
  crypto: CryptoProvider,
  run: Run,
): boolean {
  const id = 'nvidia.rim.digest';
  const got = crypto.sha384(canonicalXml(root, signature));
  return run.note(check(id, id, bytesEqual(digest, got), toHex(digest), toHex(got)));
}
