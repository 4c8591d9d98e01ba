/**
 * Cryptographic verification of a Nitro document, in the order of spec/tee-nitro.md: cheap before dear, and nothing is
 * reported about contents that were not proved authentic. The first check that fails ends it.
 */
import { bytesEqual, CborWriter, type CryptoProvider, MalformedError, toHex } from '@haca/primitives';
import { type Check, check, failed, passed } from '@haca/protocol';
import { type Certificate, parseCertificate } from '../../der/certificate.ts';
import {
  type ChainFault,
  nameFault,
  P384_SHA384_PROFILE,
  profileFault,
  type RevokedCertificate,
  revocationFault,
  signatureFault,
  windowFault,
} from '../../der/chain.ts';
import { findTrustRoot, type TrustRoot } from '../trust-root.ts';
import { isDebugMode, type NitroClaims, nitroClaimsDigest } from './claims.ts';
import {
  NITRO_LIMITS,
  type NitroEnvelope,
  type NitroPayload,
  parseNitroEnvelope,
  parseNitroPayload,
} from './parse.ts';

/** Ids of the checks of this step, in order. */
export const NITRO_VERIFY_CHECKS = [
  'nitro.size',
  'nitro.envelope',
  'nitro.header',
  'nitro.payload',
  'nitro.chain.root',
  'nitro.chain.certificates',
  'nitro.chain.profile',
  'nitro.chain.names',
  'nitro.chain.window',
  'nitro.chain.revocation',
  'nitro.chain.signatures',
  'nitro.signature',
] as const;
type CheckId = (typeof NITRO_VERIFY_CHECKS)[number];

export interface NitroTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch: block time on chain, the caller's choice elsewhere. */
  readonly nowMs: number;
  readonly roots: readonly TrustRoot[];
  readonly revoked: readonly RevokedCertificate[];
}

export interface NitroVerification {
  /** Up to the first that failed. */
  readonly checks: readonly Check[];
  /** Null unless every check passed. */
  readonly claims: NitroClaims | null;
}

/** CBOR of `{1: -35}`: ES384 and nothing else (RFC 9053 section 2.1). */
const PROTECTED_HEADER = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);

/** Total for every byte string: returns failed checks, never throws for what is in `bytes`. */
export function verifyNitro(bytes: Uint8Array, trust: NitroTrust): NitroVerification {
  const checks: Check[] = [];
  const claims = runChecks(bytes, trust, (result) => {
    checks.push(result);
    return result.status === 'passed';
  });
  return { checks, claims };
}

/** Notes a result; true if it passed. */
type Report = (result: Check) => boolean;

function runChecks(bytes: Uint8Array, trust: NitroTrust, report: Report): NitroClaims | null {
  const size = `at most ${NITRO_LIMITS.documentBytes} bytes`;
  const fits = bytes.length <= NITRO_LIMITS.documentBytes;
  if (!report(check('nitro.size', 'nitro.too-large', fits, size, `${bytes.length} bytes`))) return null;
  const envelope = attempt('nitro.envelope', report, () => parseNitroEnvelope(bytes));
  if (envelope === null || !report(headerCheck(envelope))) return null;
  const payload = attempt('nitro.payload', report, () => parseNitroPayload(envelope.payload));
  if (payload === null) return null;
  const ders = [...payload.cabundle, payload.certificate];
  const certificateSha256 = ders.map(trust.crypto.sha256);
  const root = findRoot(certificateSha256, trust.roots, report);
  if (root === null) return null;
  const chain = attempt('nitro.chain.certificates', report, () => parseChain(ders));
  if (chain === null || !verifyChain(chain, trust, report)) return null;
  if (!report(signatureCheck(envelope, chain, trust.crypto))) return null;
  return claimsOf(payload, chain, certificateSha256, root);
}

/** Runs a parser as a check: what it throws about its input is the failure. */
function attempt<T>(id: CheckId, report: Report, parse: () => T): T | null {
  try {
    const value = parse();
    report(passed(id));
    return value;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    const { code, path, expected, got } = error;
    report({ ...failed(id, code, expected, got), reason: `at ${path}` });
    return null;
  }
}

function headerCheck({ protectedHeader }: NitroEnvelope): Check {
  const holds = bytesEqual(protectedHeader, PROTECTED_HEADER);
  return check('nitro.header', 'nitro.header', holds, toHex(PROTECTED_HEADER), toHex(protectedHeader));
}

function findRoot(
  certificateSha256: readonly Uint8Array[],
  roots: readonly TrustRoot[],
  report: Report,
): TrustRoot | null {
  const sha256 = certificateSha256[0] as Uint8Array;
  const root = findTrustRoot(roots, sha256);
  const expected =
    roots.length === 0
      ? 'a trusted root; none is given'
      : roots.map((each) => toHex(each.sha256)).join(' | ');
  report(check('nitro.chain.root', 'nitro.root-untrusted', root !== undefined, expected, toHex(sha256)));
  return root ?? null;
}

function parseChain(ders: readonly Uint8Array[]): readonly Certificate[] {
  return ders.map((der, i) => parseCertificate(der, i === ders.length - 1 ? 'certificate' : `cabundle.${i}`));
}

function verifyChain(chain: readonly Certificate[], trust: NitroTrust, report: Report): boolean {
  const pass = (id: CheckId, findFault: () => ChainFault | null): boolean => {
    const fault = findFault();
    if (fault === null) return report(passed(id));
    const { code, position, expected, got } = fault;
    return report({
      ...failed(id, code, expected, got),
      reason: `certificate ${position} of ${chain.length - 1}`,
    });
  };
  return (
    pass('nitro.chain.profile', () => profileFault(chain, P384_SHA384_PROFILE)) &&
    pass('nitro.chain.names', () => nameFault(chain)) &&
    pass('nitro.chain.window', () => windowFault(chain, trust.nowMs)) &&
    pass('nitro.chain.revocation', () => revocationFault(chain, trust.revoked)) &&
    pass('nitro.chain.signatures', () => signatureFault(chain, P384_SHA384_PROFILE, trust.crypto))
  );
}

function signatureCheck(
  envelope: NitroEnvelope,
  chain: readonly Certificate[],
  crypto: CryptoProvider,
): Check {
  const leaf = chain[chain.length - 1] as Certificate;
  const holds = crypto.verifyEcdsaP384(leaf.publicKey, sigStructure(envelope), envelope.signature);
  const got = holds ? 'one' : 'one that does not verify';
  return check('nitro.signature', 'nitro.signature', holds, "a signature by the leaf's key", got);
}

/** RFC 9052 section 4.4, with empty external data. */
function sigStructure({ protectedHeader, payload }: NitroEnvelope): Uint8Array {
  const writer = new CborWriter(payload.length + 64);
  writer.arrayHead(4);
  writer.text('Signature1');
  writer.bytes(protectedHeader);
  writer.bytes(new Uint8Array(0));
  writer.bytes(payload);
  return writer.finish();
}

function claimsOf(
  payload: NitroPayload,
  chain: readonly Certificate[],
  certificateSha256: readonly Uint8Array[],
  root: TrustRoot,
): NitroClaims {
  const { certificate: _leaf, cabundle: _bundle, ...signed } = payload;
  return {
    kind: 'nitro',
    ...signed,
    isDebug: isDebugMode(signed.pcrs),
    certificateSha256,
    isSimulated: root.simulated,
    leafNotAfterMs: (chain[chain.length - 1] as Certificate).notAfterMs,
    evidenceEndMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    claimsDigest: nitroClaimsDigest({ ...signed, certificateSha256 }),
  };
}
