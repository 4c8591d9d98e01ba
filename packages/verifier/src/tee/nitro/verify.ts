/**
 * Cryptographic verification of a Nitro document, in the order of spec/tee-nitro.md: cheap before dear, and nothing is
 * reported about contents that were not proved authentic. The first check that fails ends it.
 */
import { bytesEqual, CborWriter, type CryptoProvider, toHex } from '@haca/primitives';
import { check } from '@haca/protocol';
import { type Certificate, parseCertificate } from '../../der/certificate.ts';
import {
  nameFault,
  P384_SHA384_PROFILE,
  profileFault,
  type RevokedCertificate,
  revocationFault,
  signatureFault,
  windowFault,
} from '../../der/chain.ts';
import { encodeChainFacts } from '../chain-facts.ts';
import { type CheckRun, openCheckRun, type Verification } from '../check-run.ts';
import { AWS_NITRO_ROOT_G1, type TrustRoot } from '../trust-root.ts';
import { isDebugMode, type NitroClaims, nitroClaimsDigest, pcrRegisters } from './claims.ts';
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

export interface NitroTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch: block time on chain, the caller's choice elsewhere. */
  readonly nowMs: number;
  readonly roots: readonly TrustRoot[];
  readonly revoked: readonly RevokedCertificate[];
}

/** CBOR of `{1: -35}`: ES384 and nothing else (RFC 9053 section 2.1). */
const PROTECTED_HEADER = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);

/** Total for every byte string: returns failed checks, never throws for what is in `bytes`. */
export function verifyNitro(bytes: Uint8Array, trust: NitroTrust): Verification<NitroClaims> {
  const run = openCheckRun(NITRO_VERIFY_CHECKS);
  const claims = runChecks(bytes, trust, run);
  return { checks: run.checks(), claims };
}

type Run = CheckRun<(typeof NITRO_VERIFY_CHECKS)[number]>;

function runChecks(bytes: Uint8Array, trust: NitroTrust, run: Run): NitroClaims | null {
  const size = `at most ${NITRO_LIMITS.documentBytes} bytes`;
  if (bytes.length > NITRO_LIMITS.documentBytes) {
    run.fail('nitro.size', 'nitro.too-large', size, `${bytes.length} bytes`);
    return null;
  }
  run.pass('nitro.size', `${bytes.length} bytes`);
  const envelope = run.parse('nitro.envelope', () => parseNitroEnvelope(bytes));
  if (envelope === null || !checkHeader(envelope, run)) return null;
  const payload = run.parse('nitro.payload', () => parseNitroPayload(envelope.payload));
  if (payload === null) return null;
  const ders = [...payload.cabundle, payload.certificate];
  const certificateSha256 = ders.map(trust.crypto.sha256);
  const root = run.root(
    'nitro.chain.root',
    'nitro.root-untrusted',
    certificateSha256[0] as Uint8Array,
    trust.roots,
  );
  if (root === null) return null;
  const chain = run.parse('nitro.chain.certificates', () => parseChain(ders));
  if (chain === null || !verifyChain(chain, trust, run)) return null;
  if (!checkSignature(envelope, chain, trust.crypto, run)) return null;
  return claimsOf(payload, chain, certificateSha256, root);
}

function checkHeader({ protectedHeader }: NitroEnvelope, run: Run): boolean {
  const [expected, got] = [toHex(PROTECTED_HEADER), toHex(protectedHeader)];
  return run.note(check('nitro.header', 'nitro.header', expected === got, expected, got));
}

function parseChain(ders: readonly Uint8Array[]): readonly Certificate[] {
  return ders.map((der, i) => parseCertificate(der, i === ders.length - 1 ? 'certificate' : `cabundle.${i}`));
}

function verifyChain(
  chain: readonly Certificate[],
  { nowMs, revoked, crypto }: NitroTrust,
  run: Run,
): boolean {
  const { length } = chain;
  return (
    run.chain('nitro.chain.profile', profileFault(chain, P384_SHA384_PROFILE), length) &&
    run.chain('nitro.chain.names', nameFault(chain), length) &&
    run.chain('nitro.chain.window', windowFault(chain, nowMs), length) &&
    run.chain('nitro.chain.revocation', revocationFault(chain, revoked), length) &&
    run.chain('nitro.chain.signatures', signatureFault(chain, P384_SHA384_PROFILE, crypto), length)
  );
}

function checkSignature(
  envelope: NitroEnvelope,
  chain: readonly Certificate[],
  crypto: CryptoProvider,
  run: Run,
): boolean {
  const leaf = chain[chain.length - 1] as Certificate;
  const holds = crypto.verifyEcdsaP384(leaf.publicKey, sigStructure(envelope), envelope.signature);
  const got = holds ? 'one' : 'one that does not verify';
  return run.note(check('nitro.signature', 'nitro.signature', holds, "a signature by the leaf's key", got));
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
    registers: pcrRegisters(signed.pcrs),
    certificateSha256,
    isSimulated: root.simulated,
    leafNotAfterMs: (chain[chain.length - 1] as Certificate).notAfterMs,
    evidenceEndMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    claimsDigest: nitroClaimsDigest({ ...signed, certificateSha256 }),
    collateralEndMs: null,
    cloud: isRootOfAws(root) ? 'aws' : null,
    hardware: [],
    facts: encodeChainFacts(chain),
  };
}

/** A root that somebody else trusts says nothing about whose data centre it is. */
function isRootOfAws({ simulated, sha256 }: TrustRoot): boolean {
  return !simulated && bytesEqual(sha256, AWS_NITRO_ROOT_G1.sha256);
}
