/**
 * Cryptographic verification of SNP evidence, in the order of spec/tee-snp.md. What proves authenticity ends it where it fails;
 * what judges authentic evidence (validity windows, revocation, the order of TCB versions) is noted, and the rest goes on.
 */
import { bytesEqual, decode, MalformedError, toHex } from '@haca/primitives';
import { check, notApplicable, type SnpDocument, type SnpProduct, snpDocumentCodec } from '@haca/protocol';
import { AMD_DEVIATIONS, type Certificate, parseCertificate } from '../../der/certificate.ts';
import { nameFault, profileFault, revocationFault, signatureFault, windowFault } from '../../der/chain.ts';
import { type CheckRun, openCheckRun, type Verification } from '../check-run.ts';
import { shortHex } from '../expected.ts';
import type { RootedTrust } from '../trust.ts';
import type { TrustRoot } from '../trust-root.ts';
import { AMD_PROFILE } from './chain-profile.ts';
import { type SnpClaims, snpClaimsDigest, snpRegisters } from './claims.ts';
import { commonNameOf, type SnpVekExtensions, snpVekExtensions } from './endorsement.ts';
import { encodeSnpFacts, SNP_ROOT_MAX_BYTES } from './facts.ts';
import { parseSnpReport, type SnpReport } from './parse.ts';
import {
  compareFirmware,
  decodeTcb,
  firmwareText,
  isChipId,
  isProcessorOf,
  isTcbAtLeast,
  isZero,
  productLine,
  productOfRootName,
  type SnpTcb,
  tcbText,
} from './product.ts';
import { checkRevocationList, SNP_CRL_CHECKS } from './revocation-list.ts';

/** Ids of the checks of this step, in order. The ones down to `snp.signature` prove authenticity. */
export const SNP_VERIFY_CHECKS = [
  'snp.document',
  'snp.report',
  'snp.signing-key',
  'snp.chain.root',
  'snp.chain.certificates',
  'snp.chain.profile',
  'snp.chain.names',
  'snp.chain.signatures',
  'snp.vek.extensions',
  'snp.vek.kind',
  'snp.product',
  'snp.cpuid',
  'snp.tcb.form',
  'snp.vek.tcb',
  'snp.vek.chip-id',
  'snp.signature',
  'snp.chain.window',
  'snp.vek.lifetime',
  'snp.chain.revocation',
  ...SNP_CRL_CHECKS,
  'snp.tcb.order',
] as const;

/** ARK, ASK or ASVK, endorsement key. */
const CERTIFICATES = 3;
/** What they are called in faults. */
const PLACES = ['ark', 'ask', 'vek'] as const;
/** AMD gives a provider's key one year; a day more for rounding. */
const VLEK_LIFETIME_MAX_MS = 367 * 86_400_000;

type Run = CheckRun<(typeof SNP_VERIFY_CHECKS)[number]>;

/**
 * `bytes` is CBOR of `snpDocumentCodec`. Total for every byte string: returns failed checks, never throws for what is in it. Four
 * signatures are verified at most: two RSA-4096 of the chain, one P-384 of the report, one RSA-4096 of the revocation list.
 */
export function verifySnp(bytes: Uint8Array, trust: RootedTrust): Verification<SnpClaims> {
  const run = openCheckRun(SNP_VERIFY_CHECKS);
  const claims = runChecks(bytes, trust, run);
  return { checks: run.checks(), claims };
}

function runChecks(bytes: Uint8Array, trust: RootedTrust, run: Run): SnpClaims | null {
  const document = run.parse('snp.document', () => parseDocument(bytes));
  if (document === null) return null;
  const report = run.parse('snp.report', () => parseSnpReport(document.report));
  if (report === null || !checkSigningKey(report, run)) return null;
  const certificateSha256 = document.certificates.map(trust.crypto.sha256);
  const root = run.root(
    'snp.chain.root',
    'snp.root-untrusted',
    certificateSha256[0] as Uint8Array,
    trust.roots,
  );
  if (root === null) return null;
  const chain = run.parse('snp.chain.certificates', () => parseChain(document.certificates));
  if (chain === null || !verifyChain(chain, trust, run)) return null;
  const endorsement = checkEndorsement(chain, report, run);
  if (endorsement === null) return null;
  const tcbs = checkTcb(endorsement, report, run);
  if (tcbs === null || !checkChipId(endorsement, report, run)) return null;
  if (!checkSignature(chain, report, trust, run)) return null;
  const collateralEndMs = judge(chain, report, tcbs, trust, run);
  return claimsOf({ report, chain, certificateSha256, root, endorsement, tcbs, collateralEndMs });
}

function parseDocument(bytes: Uint8Array): SnpDocument {
  const document = decode(snpDocumentCodec, bytes, 'document');
  const { length } = document.certificates;
  if (length !== CERTIFICATES)
    throw new MalformedError('snp.certificates', 'document.certificates', `${CERTIFICATES}`, `${length}`);
  return document;
}

function checkSigningKey({ signingKey, isChipKeyMasked }: SnpReport, run: Run): boolean {
  const isMasked = signingKey === 'vcek' && isChipKeyMasked;
  const got = isMasked ? 'vcek, which the platform masks' : signingKey;
  const holds = signingKey !== 'none' && !isMasked;
  return run.note(check('snp.signing-key', 'snp.unsigned', holds, 'vcek | vlek', got));
}

function parseChain(ders: readonly Uint8Array[]): readonly Certificate[] {
  const [root] = ders;
  if (root !== undefined && root.length > SNP_ROOT_MAX_BYTES)
    throw new MalformedError('der.too-large', 'ark', `at most ${SNP_ROOT_MAX_BYTES} bytes`, `${root.length}`);
  return ders.map((der, i) => parseCertificate(der, PLACES[i] ?? `${i}`, AMD_DEVIATIONS));
}

function verifyChain(chain: readonly Certificate[], { crypto }: RootedTrust, run: Run): boolean {
  const { length } = chain;
  return (
    run.chain('snp.chain.profile', profileFault(chain, AMD_PROFILE), length) &&
    run.chain('snp.chain.names', nameFault(chain), length) &&
    run.chain('snp.chain.signatures', signatureFault(chain, AMD_PROFILE, crypto), length)
  );
}

function leafOf(chain: readonly Certificate[]): Certificate {
  return chain[chain.length - 1] as Certificate;
}

/** What the endorsement key is: its extensions, its kind, its product line. */
function checkEndorsement(
  chain: readonly Certificate[],
  report: SnpReport,
  run: Run,
): SnpVekExtensions | null {
  const vek = run.parse('snp.vek.extensions', () => snpVekExtensions(leafOf(chain)));
  if (vek === null) return null;
  const [rootName, caName, leafName] = chain.map(({ subject }) => commonNameOf(subject));
  const { name } = productLine(vek.product);
  const isVlek = vek.cspId !== null;
  const names = isVlek ? `SEV-VLEK-${name} over SEV-VLEK` : `SEV-${name} over SEV-VCEK`;
  const kind = isVlek ? 'vlek' : 'vcek';
  const expected = `${report.signingKey}; ${names}`;
  const got = `${kind}; ${caName} over ${leafName}`;
  if (!run.note(check('snp.vek.kind', 'snp.vek-kind', expected === got, expected, got))) return null;
  const product = productOfRootName(rootName ?? null);
  const isOfRoot = product === vek.product;
  if (!run.note(check('snp.product', 'snp.product', isOfRoot, `ARK-${name}`, `${rootName}`))) return null;
  return checkProcessor(report, vek.product, run) ? vek : null;
}

function checkProcessor({ cpuid }: SnpReport, product: SnpProduct, run: Run): boolean {
  const id = 'snp.cpuid';
  if (cpuid === null) return run.note(notApplicable(id, 'a report of version 2 does not say it'));
  const got = `family 0x${cpuid.family.toString(16)} model 0x${cpuid.model.toString(16)}`;
  return run.note(check(id, 'snp.cpuid', isProcessorOf(product, cpuid), `a processor of ${product}`, got));
}

interface Tcbs {
  readonly reportedTcb: SnpTcb;
  readonly currentTcb: SnpTcb;
  readonly committedTcb: SnpTcb;
  readonly launchTcb: SnpTcb;
}

/** The signing key was derived from the reported TCB, so its certificate has to be for exactly that one. */
function checkTcb({ product, tcb }: SnpVekExtensions, report: SnpReport, run: Run): Tcbs | null {
  const tcbs = run.parse('snp.tcb.form', () => {
    decodeTcb(product, tcb, 'vek.tcb');
    return {
      reportedTcb: decodeTcb(product, report.reportedTcb, 'report.reportedTcb'),
      currentTcb: decodeTcb(product, report.currentTcb, 'report.currentTcb'),
      committedTcb: decodeTcb(product, report.committedTcb, 'report.committedTcb'),
      launchTcb: decodeTcb(product, report.launchTcb, 'report.launchTcb'),
    };
  });
  if (tcbs === null) return null;
  const isSame = bytesEqual(tcb, report.reportedTcb);
  const expected = tcbText(decodeTcb(product, tcb, 'vek.tcb'));
  const got = tcbText(tcbs.reportedTcb);
  return run.note(check('snp.vek.tcb', 'snp.vek-tcb', isSame, expected, got)) ? tcbs : null;
}

function checkChipId({ hardwareId }: SnpVekExtensions, { chipId }: SnpReport, run: Run): boolean {
  const id = 'snp.vek.chip-id';
  if (hardwareId === null)
    return run.note(notApplicable(id, "a provider's key signs for all chips of the provider"));
  if (isZero(chipId))
    return run.note(notApplicable(id, 'the platform masks it; the certificate of the key names the chip'));
  const holds = isChipId(chipId, hardwareId);
  return run.note(check(id, 'snp.chip-id', holds, toHex(hardwareId), shortHex(chipId)));
}

function checkSignature(
  chain: readonly Certificate[],
  { signed, signature }: SnpReport,
  { crypto }: RootedTrust,
  run: Run,
): boolean {
  const holds = crypto.verifyEcdsaP384(leafOf(chain).publicKey, signed, signature);
  const got = holds ? 'one' : 'one that does not verify';
  return run.note(check('snp.signature', 'snp.signature', holds, 'a signature by the endorsement key', got));
}

/** What may be wrong with authentic evidence. Returns when the collateral that was used ends. */
function judge(
  chain: readonly Certificate[],
  report: SnpReport,
  tcbs: Tcbs,
  trust: RootedTrust,
  run: Run,
): number | null {
  const { length } = chain;
  run.chain('snp.chain.window', windowFault(chain, trust.nowMs), length);
  checkLifetime(leafOf(chain), report, run);
  run.chain('snp.chain.revocation', revocationFault(chain, trust.revoked), length);
  const collateralEndMs = checkRevocationList(chain[0] as Certificate, chain, trust, run);
  checkOrder(report, tcbs, run);
  return collateralEndMs;
}

function checkLifetime({ notBeforeMs, notAfterMs }: Certificate, { signingKey }: SnpReport, run: Run): void {
  const id = 'snp.vek.lifetime';
  if (signingKey === 'vcek') {
    run.note(notApplicable(id, "a chip's key lives as long as its level is accepted"));
    return;
  }
  const lifetimeMs = notAfterMs - notBeforeMs;
  const holds = lifetimeMs <= VLEK_LIFETIME_MAX_MS;
  run.note(check(id, 'snp.vlek-lifetime', holds, `at most ${VLEK_LIFETIME_MAX_MS} ms`, `${lifetimeMs} ms`));
}

/** Firmware reports no more than it runs, and never commits to what it does not run. */
function checkOrder(
  { currentFirmware, committedFirmware }: SnpReport,
  { reportedTcb, currentTcb, committedTcb }: Tcbs,
  run: Run,
): void {
  const holds =
    isTcbAtLeast(currentTcb, reportedTcb) &&
    isTcbAtLeast(currentTcb, committedTcb) &&
    compareFirmware(currentFirmware, committedFirmware) >= 0;
  const got = [
    `reported ${tcbText(reportedTcb)}`,
    `committed ${tcbText(committedTcb)} (${firmwareText(committedFirmware)})`,
    `current ${tcbText(currentTcb)} (${firmwareText(currentFirmware)})`,
  ].join('; ');
  const expected = 'reported and committed at most current';
  run.note(check('snp.tcb.order', 'snp.tcb-order', holds, expected, got));
}

interface Verified {
  readonly report: SnpReport;
  readonly chain: readonly Certificate[];
  readonly certificateSha256: readonly Uint8Array[];
  readonly root: TrustRoot;
  readonly endorsement: SnpVekExtensions;
  readonly tcbs: Tcbs;
  readonly collateralEndMs: number | null;
}

function claimsOf(verified: Verified): SnpClaims {
  const { report, chain, certificateSha256, root, endorsement, tcbs, collateralEndMs } = verified;
  const { signature: _signature, signed, signingKey: _signingKey, ...fields } = report;
  const { product, cspId, hardwareId } = endorsement;
  return {
    kind: 'snp',
    ...fields,
    ...tcbs,
    product,
    signingKey: cspId === null ? 'vcek' : 'vlek',
    cspId,
    certificateSha256,
    isSimulated: root.simulated,
    isDebug: report.guestPolicy.isDebugAllowed,
    registers: snpRegisters(report),
    evidenceEndMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    claimsDigest: snpClaimsDigest(certificateSha256[0] as Uint8Array, signed),
    collateralEndMs,
    cloud: root.simulated ? null : cspId,
    hardware: hardwareId === null ? [] : [{ vendor: 'amd', id: hardwareId }],
    facts: encodeSnpFacts(chain, product, report),
  };
}
