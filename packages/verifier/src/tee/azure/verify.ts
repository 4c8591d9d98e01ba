/**
 * Verification of an Azure document, in the order of spec/tee-azure.md: forms, then the hardware's report, then what it vouches
 * for (runtime data), then what that vouches for (the key of the virtual TPM), then what that signed. The first check of these
 * that fails ends it.
 */
import { bytesEqual, concatBytes, decode, encode, MalformedError, toHex } from '@haca/primitives';
import {
  type AzureDocument,
  azureDocumentCodec,
  type Check,
  check,
  EVIDENCE_MAX_BYTES,
  notApplicable,
  snpDocumentCodec,
} from '@haca/protocol';
import { type CheckRun, openCheckRun, type Verification } from '../check-run.ts';
import { shortHex } from '../expected.ts';
import { notReached } from '../inner-checks.ts';
import { parseQuote } from '../intel/quote.ts';
import type { TdReport } from '../intel/reports.ts';
import { TDX_VERIFY_CHECKS, verifyTdx } from '../intel/tdx.ts';
import type { SnpClaims } from '../snp/claims.ts';
import { SNP_VERIFY_CHECKS, verifySnp } from '../snp/verify.ts';
import type { RootedTrust } from '../trust.ts';
import { type AzureClaims, type AzureHardwareClaims, azureClaimsOf } from './claims.ts';
import { type AzureHardware, type HclReport, parseHclReport } from './hcl-report.ts';
import { type AzureRuntimeData, parseRuntimeData } from './runtime-data.ts';
import { tdReportFault } from './td-report.ts';
import { parseTpmQuote, pcrDigestOf, type TpmQuote } from './tpm-quote.ts';

const FORM_CHECKS = [
  'azure.size',
  'azure.document',
  'azure.hcl-report',
  'azure.runtime-data',
  'azure.tpm-quote',
] as const;
const BOUND_CHECKS = [
  'azure.td-report',
  'azure.vmpl',
  'azure.runtime-data.hash',
  'azure.tpm-quote.signature',
  'azure.tpm-quote.pcrs',
] as const;
const OWN_CHECKS = [...FORM_CHECKS, ...BOUND_CHECKS] as const;

/** Ids of the checks of this step, in order; those of the hardware, where it is known, stand in the middle. */
export function azureVerifyChecks(hardware: AzureHardware | null): readonly string[] {
  return [...FORM_CHECKS, ...hardwareChecks(hardware), ...BOUND_CHECKS];
}

function hardwareChecks(hardware: AzureHardware | null): readonly string[] {
  if (hardware === null) return [];
  return hardware === 'tdx' ? TDX_VERIFY_CHECKS : SNP_VERIFY_CHECKS;
}

type Run = CheckRun<(typeof OWN_CHECKS)[number]>;

interface Parts {
  readonly document: AzureDocument;
  readonly hcl: HclReport;
  readonly runtime: AzureRuntimeData;
  readonly quote: TpmQuote;
}

export interface AzureVerification extends Verification<AzureClaims> {
  /** Null where the document does not even tell. */
  readonly hardware: AzureHardware | null;
}

/** Total for every byte string. As many signatures as `verifyTdx` or `verifySnp`, and one RSA signature of 2048 bits. */
export function verifyAzure(bytes: Uint8Array, trust: RootedTrust): AzureVerification {
  const run = openCheckRun(OWN_CHECKS);
  const document = readDocument(bytes, run);
  const hcl = document === null ? null : run.parse('azure.hcl-report', () => readHclReport(document));
  const parts = document === null || hcl === null ? null : readParts(document, hcl, run);
  const inner = parts === null ? null : verifyHardware(parts, trust);
  const claims =
    parts === null || inner === null || inner.claims === null
      ? null
      : checkBindings(parts, inner.claims, trust, run);
  const own = run.checks();
  const hardware = hcl?.hardware ?? null;
  const middle = inner?.checks ?? notReached(hardwareChecks(hardware));
  const checks = [...own.slice(0, FORM_CHECKS.length), ...middle, ...own.slice(FORM_CHECKS.length)];
  return { checks, claims, hardware };
}

function readDocument(bytes: Uint8Array, run: Run): AzureDocument | null {
  const got = `${bytes.length} bytes`;
  if (bytes.length > EVIDENCE_MAX_BYTES) {
    run.fail('azure.size', 'azure.too-large', `at most ${EVIDENCE_MAX_BYTES} bytes`, got);
    return null;
  }
  run.pass('azure.size', got);
  return run.parse('azure.document', () => decode(azureDocumentCodec, bytes, 'document'));
}

/** What goes with the hardware is there and nothing else is. */
function readHclReport({ hclReport, tdQuote, certificates }: AzureDocument): HclReport {
  const hcl = parseHclReport(hclReport);
  const isTdx = hcl.hardware === 'tdx';
  if (isTdx !== (tdQuote !== null) || isTdx !== (certificates.length === 0)) {
    const expected = isTdx ? 'a quote and no certificates' : 'certificates and no quote';
    const got = `${tdQuote === null ? 'no quote' : 'a quote'} and ${certificates.length} certificates`;
    throw new MalformedError('azure.hardware', 'document', expected, got);
  }
  return hcl;
}

function readParts(document: AzureDocument, hcl: HclReport, run: Run): Parts | null {
  const runtime = run.parse('azure.runtime-data', () => parseRuntimeData(hcl.runtimeData));
  if (runtime === null) return null;
  const quote = run.parse('azure.tpm-quote', () => parseTpmQuote(document.tpmQuote));
  return quote === null ? null : { document, hcl, runtime, quote };
}

function verifyHardware({ document, hcl }: Parts, trust: RootedTrust): Verification<AzureHardwareClaims> {
  if (document.tdQuote !== null) return verifyTdx(document.tdQuote, trust);
  const report = { report: hcl.hardwareReport, certificates: document.certificates };
  return verifySnp(encode(snpDocumentCodec, report), trust);
}

function checkBindings(
  parts: Parts,
  inner: AzureHardwareClaims,
  { crypto }: RootedTrust,
  run: Run,
): AzureClaims | null {
  const { document, hcl, runtime, quote } = parts;
  const runtimeDigest = crypto.sha256(hcl.runtimeData);
  const holds =
    run.note(tdReportCheck(parts, crypto)) &&
    run.note(vmplCheck(inner)) &&
    run.note(runtimeHashCheck(inner.reportData, runtimeDigest)) &&
    run.note(signatureCheck(parts, crypto)) &&
    run.note(pcrCheck(parts, crypto));
  if (!holds) return null;
  const { hardware: hardwareKind } = hcl;
  const { tpmQuote: signedQuote, pcrs } = document;
  return azureClaimsOf({ hardwareKind, inner, runtimeDigest, runtime, signedQuote, quote, pcrs });
}

function tdReportCheck({ document, hcl }: Parts, crypto: RootedTrust['crypto']): Check {
  const id = 'azure.td-report';
  if (document.tdQuote === null) return notApplicable(id, 'the hardware is SEV-SNP');
  const quoted = parseQuote(document.tdQuote).body as TdReport;
  const fault = tdReportFault(hcl.hardwareReport, quoted, crypto);
  if (fault === null) return check(id, id, true, 'the report that was quoted', 'the same');
  return check(id, id, false, fault.expected, fault.got);
}

/** The paravisor runs at level 0 and the guest above it: a report that a guest asked for itself vouches for nothing here. */
function vmplCheck(inner: AzureHardwareClaims): Check {
  const id = 'azure.vmpl';
  if (inner.kind === 'tdx') return notApplicable(id, 'the hardware is TDX');
  const { vmpl }: SnpClaims = inner;
  return check(id, id, vmpl === 0, '0', `${vmpl}`);
}

function runtimeHashCheck(reportData: Uint8Array, runtimeDigest: Uint8Array): Check {
  const id = 'azure.runtime-data.hash';
  const expected = concatBytes(runtimeDigest, new Uint8Array(32));
  return check(id, id, bytesEqual(reportData, expected), toHex(expected), toHex(reportData));
}

function signatureCheck({ document, runtime }: Parts, crypto: RootedTrust['crypto']): Check {
  const id = 'azure.tpm-quote.signature';
  const { tpmQuote, tpmSignature } = document;
  const holds = crypto.verifyRsaPkcs1Sha256(runtime.attestationKey, tpmQuote, tpmSignature);
  return check(id, id, holds, 'a signature by HCLAkPub', holds ? 'one' : 'one that does not verify');
}

function pcrCheck({ document, quote }: Parts, crypto: RootedTrust['crypto']): Check {
  const id = 'azure.tpm-quote.pcrs';
  const { pcrs } = document;
  const stray = pcrs.findIndex(
    (value, index) => !quote.selected.includes(index) && value.some((byte) => byte !== 0),
  );
  if (stray >= 0)
    return check(id, 'azure.pcr-not-quoted', false, `zeros for PCR ${stray}`, shortHex(pcrs[stray] ?? null));
  const digest = pcrDigestOf(quote.selected, pcrs, crypto);
  return check(
    id,
    'azure.pcr-digest',
    bytesEqual(digest, quote.pcrDigest),
    toHex(quote.pcrDigest),
    toHex(digest),
  );
}
