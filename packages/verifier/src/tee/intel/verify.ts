/**
 * Verification of a quote of either kind, in the order of spec/tee-intel.md: first what proves that it is authentic, where the
 * first check that fails ends it, then what judges an authentic one. Nothing inside a quote is believed as collateral.
 */
import { type CryptoProvider, concatBytes, MalformedError, toHex } from '@haca/primitives';
import { type Check, check } from '@haca/protocol';
import { type Certificate, parseCertificate } from '../../der/certificate.ts';
import {
  type ChainProfile,
  nameFault,
  P256_SHA256_PROFILE,
  profileFault,
  signatureFault,
  windowFault,
} from '../../der/chain.ts';
import { type CheckRun, openCheckRun } from '../check-run.ts';
import { assertTrust, type RootedTrust } from '../trust.ts';
import type { TrustRoot } from '../trust-root.ts';
import { PCK_CHAIN_PHRASES, phraseFault } from './certificates.ts';
import { type Judgement, judgePlatform } from './judge.ts';
import { type PckExtension, parsePckExtension } from './pck-extension.ts';
import { INTEL_CERTIFICATE_MAX_BYTES, type PlatformFacts } from './platform-facts.ts';
import {
  headerRules,
  PCK_CHAIN_TYPE,
  parseQuote,
  parseQuoteHeader,
  QUOTE_MAX_BYTES,
  type Quote,
  type TeeKind,
} from './quote.ts';
import { parseQuotePem } from './quote-pem.ts';

/** Ids of the checks that prove authenticity, without the kind before them, in order. */
export const AUTHENTICITY_CHECKS = [
  'size',
  'header',
  'version',
  'key-type',
  'tee-type',
  'qe-vendor',
  'quote',
  'certification-data',
  'chain.root',
  'chain.certificates',
  'chain.profile',
  'chain.names',
  'chain.subjects',
  'chain.window',
  'chain.signatures',
  'pck',
  'qe.report-signature',
  'qe.binding',
  'signature',
] as const;

export interface AuthenticQuote {
  readonly quote: Quote;
  readonly trustRoot: TrustRoot;
  /** Root, PCK CA, PCK. */
  readonly chain: readonly Certificate[];
  readonly certificateSha256: readonly Uint8Array[];
  readonly pck: PckExtension;
  readonly facts: PlatformFacts;
  readonly judgement: Judgement;
}

/** Total for every byte string. At most 10 signatures of P-256 are verified: 4 of the quote, 6 of collateral. */
export function verifyQuote(
  bytes: Uint8Array,
  tee: TeeKind,
  trust: RootedTrust,
  ids: readonly string[],
): { readonly checks: readonly Check[]; readonly authentic: AuthenticQuote | null } {
  assertTrust(trust);
  const run: CheckRun<string> = openCheckRun(ids);
  const authentic = runChecks(bytes, tee, trust, run);
  return { checks: run.checks(), authentic };
}

function runChecks(
  bytes: Uint8Array,
  tee: TeeKind,
  trust: RootedTrust,
  run: CheckRun<string>,
): AuthenticQuote | null {
  const quote = readQuote(bytes, tee, run);
  if (quote === null) return null;
  const ders = readChain(quote, tee, run);
  if (ders === null) return null;
  const certificateSha256 = ders.map(trust.crypto.sha256);
  const trustRoot = run.root(
    `${tee}.chain.root`,
    'intel.root-untrusted',
    certificateSha256[0] as Uint8Array,
    trust.roots,
  );
  if (trustRoot === null) return null;
  const chain = run.parse(`${tee}.chain.certificates`, () => parseChain(ders));
  if (chain === null || !verifyChain(chain, tee, trust, run)) return null;
  const leaf = chain[2] as Certificate;
  const pck = run.parse(`${tee}.pck`, () => parsePckExtension(leaf));
  if (pck === null || !verifySignatures(quote, leaf, tee, trust.crypto, run)) return null;
  const facts = factsOf(tee, quote, chain, pck);
  const judgement = judgePlatform(facts, trust, run);
  return { quote, trustRoot, chain, certificateSha256, pck, facts, judgement };
}

function readQuote(bytes: Uint8Array, tee: TeeKind, run: CheckRun<string>): Quote | null {
  if (bytes.length > QUOTE_MAX_BYTES) {
    run.fail(`${tee}.size`, 'quote.too-large', `at most ${QUOTE_MAX_BYTES} bytes`, `${bytes.length} bytes`);
    return null;
  }
  run.pass(`${tee}.size`, `${bytes.length} bytes`);
  const header = run.parse(`${tee}.header`, () => parseQuoteHeader(bytes));
  if (header === null) return null;
  for (const { name, expected, got, holds } of headerRules(tee)) {
    const result = check(`${tee}.${name}`, `quote.${name}`, holds(header), expected, got(header));
    if (!run.note(result)) return null;
  }
  return run.parse(`${tee}.quote`, () => parseQuote(bytes));
}

/** DER of the PCK chain, root first. */
function readChain(
  { certificationType, certificationData }: Quote,
  tee: TeeKind,
  run: CheckRun<string>,
): readonly Uint8Array[] | null {
  const id = `${tee}.certification-data`;
  if (certificationType === PCK_CHAIN_TYPE)
    return run.parse(id, () => [...parseQuotePem(certificationData)].reverse());
  const expected = `type ${PCK_CHAIN_TYPE}: the PCK chain itself`;
  run.fail(id, 'quote.certification-type', expected, `type ${certificationType}`);
  return null;
}

const NAMES = ['root', 'pckCa', 'pck'] as const;

function parseChain(ders: readonly Uint8Array[]): readonly Certificate[] {
  return ders.map((der, i) => parseIntelCertificate(der, NAMES[i] ?? `${i}`));
}

/** Throws `MalformedError`. */
export function parseIntelCertificate(der: Uint8Array, name: string): Certificate {
  if (der.length > INTEL_CERTIFICATE_MAX_BYTES) {
    const expected = `at most ${INTEL_CERTIFICATE_MAX_BYTES} bytes`;
    throw new MalformedError('certificate.too-large', name, expected, `${der.length}`);
  }
  return parseCertificate(der, name);
}

const PROFILE: ChainProfile = P256_SHA256_PROFILE;

/** A window that fails is noted and the rest goes on. */
function verifyChain(
  chain: readonly Certificate[],
  tee: TeeKind,
  { nowMs, crypto }: RootedTrust,
  run: CheckRun<string>,
): boolean {
  const { length } = chain;
  if (!run.chain(`${tee}.chain.profile`, profileFault(chain, PROFILE), length)) return false;
  if (!run.chain(`${tee}.chain.names`, nameFault(chain), length)) return false;
  if (!run.chain(`${tee}.chain.subjects`, phraseFault(chain, PCK_CHAIN_PHRASES), length)) return false;
  run.chain(`${tee}.chain.window`, windowFault(chain, nowMs), length);
  return run.chain(`${tee}.chain.signatures`, signatureFault(chain, PROFILE, crypto), length);
}

/** The PCK signs the quoting enclave's report, the report names the attestation key, the key signs the quote. */
function verifySignatures(
  quote: Quote,
  leaf: Certificate,
  tee: TeeKind,
  crypto: CryptoProvider,
  run: CheckRun<string>,
): boolean {
  const { qeReport, qeReportSignature, attestationKey, qeAuthData, signed, signature } = quote;
  const signatureCheck = (id: string, holds: boolean, by: string): boolean =>
    run.note(check(id, id, holds, `a signature by ${by}`, holds ? 'one' : 'one that does not verify'));
  const isQe = crypto.verifyEcdsaP256(leaf.publicKey, qeReport.bytes, qeReportSignature);
  if (!signatureCheck(`${tee}.qe.report-signature`, isQe, 'the PCK')) return false;
  const digest = crypto.sha256(concatBytes(attestationKey.subarray(1), qeAuthData));
  const expected = toHex(concatBytes(digest, new Uint8Array(32)));
  const got = toHex(qeReport.reportData);
  if (!run.note(check(`${tee}.qe.binding`, `${tee}.qe.binding`, got === expected, expected, got)))
    return false;
  const isQuote = crypto.verifyEcdsaP256(attestationKey, signed, signature);
  return signatureCheck(`${tee}.signature`, isQuote, 'the attestation key');
}

function factsOf(
  tee: TeeKind,
  { body, qeReport }: Quote,
  chain: readonly Certificate[],
  { fmspc, pceId, components, pceSvn }: PckExtension,
): PlatformFacts {
  const [root, pckCa, leaf] = chain as readonly [Certificate, Certificate, Certificate];
  const { miscSelect, attributes, mrSigner, isvProdId, isvSvn } = qeReport;
  const qe = { miscSelect, attributes, mrSigner, isvProdId, isvSvn };
  const common = { tee, root, pckCa, pckSerial: leaf.serial, fmspc, pceId, components, pceSvn, qe };
  if (body.kind === 'sgx') return { ...common, td: null };
  const { teeTcbSvn, teeTcbSvn2, mrSignerSeam, seamAttributes } = body;
  return { ...common, td: { teeTcbSvn, teeTcbSvn2, mrSignerSeam, seamAttributes } };
}
