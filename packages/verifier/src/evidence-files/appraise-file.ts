/**
 * Judges evidence as people hand it over, with the collateral, roots and policy that they hand over beside it: what the command
 * line and the page in a browser both do.
 */
import {
  bytesEqual,
  type Codec,
  type CryptoProvider,
  decode,
  MalformedError,
  toHex,
  UsageError,
} from '@haca/primitives';
import {
  azureDocumentCodec,
  type Check,
  check,
  dstackDocumentCodec,
  type EvidenceKind,
  evidenceEnvelopeCodec,
  failed,
  joinVerdicts,
  nvidiaDocumentCodec,
  passed,
  skipped,
  snpDocumentCodec,
  toJsonView,
  type Verdict,
  verdictOf,
} from '@haca/protocol';
import { collateralSource } from '../collateral-files/choose.ts';
import { manifestSource } from '../collateral-files/choose-manifest.ts';
import {
  type CollateralFile,
  type CollateralLibrary,
  EMPTY_LIBRARY,
  type IgnoredFile,
} from '../collateral-files/library.ts';
import { readCollateral } from '../collateral-files/read.ts';
import { certificateOf } from '../collateral-files/read-binary.ts';
import type { Certificate } from '../der/certificate.ts';
import {
  APPRAISED_KINDS,
  appraiseEvidence,
  type EvidenceContext,
  type NvidiaAcceptance,
} from '../evidence.ts';
import { pemBlocks } from '../file-forms/pem-blocks.ts';
import { textOf } from '../file-forms/text-forms.ts';
import { parsePolicy } from '../policy-json/evidence-policy.ts';
import type { Appraisal } from '../tee/check-run.ts';
import type { TeeClaims } from '../tee/claims.ts';
import { NVIDIA_RIM_ROOT, type TrustRoot, vendorRoots } from '../tee/trust-root.ts';
import { blobOfFile, EVIDENCE_FILE_MAX_BYTES, jsonOf } from './blobs.ts';
import { likelyKind, likelyKinds } from './kinds.ts';
import { readNvidiaFile } from './read-nvidia.ts';
import { readNitroFile, readQuoteFile } from './read-quote.ts';
import { readSnpFile } from './read-snp.ts';
import { readAzureFile, readDstackFile } from './read-wrapped.ts';
import {
  type EvidenceDocument,
  type EvidenceReading,
  isDocument,
  oneDocument,
  type ReadingTrust,
} from './reading.ts';

export interface EvidenceFileRequest {
  readonly crypto: CryptoProvider;
  readonly kind: EvidenceKind;
  /** The file, whatever its form. */
  readonly evidence: Uint8Array;
  /** Unix milliseconds to judge at. */
  readonly atMs: number;
  readonly collateral?: readonly CollateralFile[];
  /** Roots in PEM or DER to trust instead of the vendor's. */
  readonly roots?: Uint8Array;
  /** As `parsePolicy` reads it; left out: nothing is expected, so nothing can be ok. */
  readonly policy?: unknown;
}

/** The judgement of one device or document. */
export interface JudgedEvidence {
  readonly label: string;
  readonly verdict: Verdict;
  readonly claims: TeeClaims | null;
  /** Name of the approved measurement that matched. */
  readonly measurement: string | null;
}

export interface EvidenceFileReport {
  readonly kind: EvidenceKind;
  readonly atMs: number;
  /** Begins with `evidence.file`: whether the file could be read as evidence of this kind at all. */
  readonly verdict: Verdict;
  /** One, several for a file of several devices, none where the file could not be read. */
  readonly judged: readonly JudgedEvidence[];
  /** It hangs on a root that is not the vendor's; null where that was not seen. */
  readonly simulated: boolean | null;
  readonly collateral: { readonly used: readonly string[]; readonly ignored: readonly IgnoredFile[] };
  /** What people should know beside the checks. */
  readonly notes: readonly string[];
}

/**
 * Total for every evidence and every collateral: what is wrong with them is in the verdict. Throws `MalformedError` for a policy
 * or roots that are none and for more collateral than is read, `UsageError` where the evidence says of itself that it is of
 * another kind.
 */
export function appraiseEvidenceFile(request: EvidenceFileRequest): EvidenceFileReport {
  const { kind, evidence, atMs, crypto } = request;
  if (!APPRAISED_KINDS.includes(kind))
    throw new UsageError(`${kind} is none of ${APPRAISED_KINDS.join(', ')}`);
  const roots = request.roots === undefined ? vendorRoots(kind) : readRoots(request.roots, kind, crypto);
  const policy = parsePolicy(kind, request.policy ?? {});
  const library = request.collateral === undefined ? EMPTY_LIBRARY : readCollateral(request.collateral);
  refuseWrapped(kind, evidence);
  const trust: ReadingTrust = { crypto, nowMs: atMs, roots };
  const own = kind === 'nvidia' ? nvidiaRoots(roots) : { roots };
  const context = { crypto, nowMs: atMs, revoked: [], collateralGraceMs: 0, [kind]: { ...own, policy } };
  const reading = readEvidence(kind, evidence, library, trust);
  const notes = [...timeNotes(atMs), ...rootNotes(roots)];
  if (reading instanceof MalformedError) return unreadable(request, reading, notes, library, context);
  const judged = reading.documents.map((document) => judge(kind, document, library, context));
  const verdicts = judged.map(({ label, verdict }) => [label, verdict] as const);
  const distinct = judged.length > 1 ? [distinctDevices(judged)] : [];
  const joined = joinVerdicts([
    ['', verdictOf([passed('evidence.file', reading.form), ...(reading.checks ?? [])])],
    ...verdicts,
  ]);
  return {
    kind,
    atMs,
    verdict: verdictOf([...joined.checks, ...distinct]),
    judged,
    simulated: simulatedOf(judged),
    collateral: { used: [...new Set(judged.flatMap(({ used }) => used))], ignored: library.ignored },
    notes: [...notes, ...reading.notes, ...hints(kind, evidence, judged)],
  };
}

function readEvidence(
  kind: EvidenceKind,
  file: Uint8Array,
  library: CollateralLibrary,
  trust: ReadingTrust,
): EvidenceReading | MalformedError {
  try {
    if (file.length > EVIDENCE_FILE_MAX_BYTES)
      throw new MalformedError(
        'evidence.too-large',
        '',
        `at most ${EVIDENCE_FILE_MAX_BYTES} bytes`,
        `${file.length}`,
      );
    return readSubmitted(kind, file) ?? READERS[kind](file, library, trust);
  } catch (error) {
    if (error instanceof MalformedError) return error;
    throw error;
  }
}

const DOCUMENT_CODECS = {
  snp: snpDocumentCodec,
  nvidia: nvidiaDocumentCodec,
  dstack: dstackDocumentCodec,
  azure: azureDocumentCodec,
} as const;

/** Evidence as nodes of this network submit it: the document, or the envelope around it; null for any other. */
function readSubmitted(kind: EvidenceKind, file: Uint8Array): EvidenceReading | null {
  if (jsonOf(file) !== null) return null;
  const { bytes, form } = blobOfFile(file);
  if (bytes.length > SUBMITTED_MAX_BYTES) return null;
  if (isDocument(evidenceEnvelopeCodec, bytes)) {
    const envelope = decode(evidenceEnvelopeCodec, bytes, 'envelope');
    if (envelope.kind !== kind)
      throw new MalformedError('evidence.envelope', 'envelope.kind', kind, envelope.kind);
    return oneDocument(envelope.document, `${form} of an evidence envelope`);
  }
  const isOwn =
    kind in DOCUMENT_CODECS &&
    isDocument<unknown>(DOCUMENT_CODECS[kind as keyof typeof DOCUMENT_CODECS] as Codec<unknown>, bytes);
  return isOwn ? oneDocument(bytes, `${form} of a ${kind} document`) : null;
}

/** Above the longest envelope. */
const SUBMITTED_MAX_BYTES = 64 * 1024;

const READERS: Readonly<
  Record<EvidenceKind, (file: Uint8Array, library: CollateralLibrary, trust: ReadingTrust) => EvidenceReading>
> = {
  nitro: readNitroFile,
  tdx: readQuoteFile,
  sgx: readQuoteFile,
  snp: readSnpFile,
  nvidia: readNvidiaFile,
  dstack: readDstackFile,
  azure: readAzureFile,
};

/** JSON that names itself another kind was given by mistake; what is in it may be fine. */
function refuseWrapped(kind: EvidenceKind, file: Uint8Array): void {
  if (file.length > EVIDENCE_FILE_MAX_BYTES || jsonOf(file) === null) return;
  const kinds = likelyKinds(file);
  const [likely] = kinds;
  if (likely === undefined || kinds.includes(kind)) return;
  throw new UsageError(`the file is JSON with ${likely} evidence: --kind ${likely}`);
}

function judge(
  kind: EvidenceKind,
  { label, document, used, appraise }: EvidenceDocument,
  library: CollateralLibrary,
  context: Omit<EvidenceContext, 'collateral'>,
): JudgedEvidence & { readonly used: readonly string[] } {
  const certificates = embeddedCertificates(document);
  const chosen = collateralSource(library, { ...context, certificates });
  const { crypto, nowMs, revoked, nvidia } = context;
  const manifestTrust = { crypto, nowMs, revoked, roots: nvidia?.manifestRoots ?? [] };
  const manifests = manifestSource(library, nvidia?.policy.manifests !== 'allow-any', manifestTrust);
  const full: EvidenceContext = {
    ...context,
    collateral: chosen.source,
    ...(nvidia === undefined ? {} : { nvidia: { ...nvidia, manifests: manifests.source } }),
  };
  const appraisal: Appraisal<TeeClaims> = appraise?.(full) ?? appraiseEvidence(kind, document, full);
  return { label, ...appraisal, used: [...used, ...chosen.used(), ...manifests.used()] };
}

const CHUNK_BYTES = 8192;

/** PEM certificates that the evidence carries. */
function embeddedCertificates(document: Uint8Array): readonly Certificate[] {
  let text = '';
  for (let at = 0; at < document.length; at += CHUNK_BYTES)
    text += String.fromCharCode(...document.subarray(at, at + CHUNK_BYTES));
  return pemBlocks(text)
    .certificates.map((der) => certificateOf(der))
    .filter((certificate) => certificate !== null);
}

/** One device may not stand for two. */
function distinctDevices(judged: readonly JudgedEvidence[]): Check {
  const id = 'evidence.devices';
  const ids = judged.map(
    ({ claims }) => claims?.hardware.map((each) => `${each.vendor} ${toHex(each.id)}`) ?? [],
  );
  if (ids.some((own) => own.length === 0))
    return skipped(id, 'evidence.devices-unknown', 'a device could not be told from the others');
  const all = ids.flat();
  const twice = all.find((each, i) => all.indexOf(each) !== i);
  return check(
    id,
    'evidence.device-twice',
    twice === undefined,
    'each device once',
    twice ?? `${all.length} devices`,
  );
}

function simulatedOf(judged: readonly JudgedEvidence[]): boolean | null {
  const known = judged.map(({ claims }) => claims?.isSimulated).filter((each) => each !== undefined);
  return known.length === 0 ? null : known.includes(true);
}

/** Every check of the kind is listed, the file's own failed before it. */
function unreadable(
  { kind, atMs, evidence }: EvidenceFileRequest,
  { code, path, expected, got }: MalformedError,
  notes: readonly string[],
  library: CollateralLibrary,
  context: Omit<EvidenceContext, 'collateral'>,
): EvidenceFileReport {
  const { verdict } = appraiseEvidence(kind, new Uint8Array(0), { ...context, collateral: () => null });
  const rest = verdict.checks.map(({ id }) => skipped(id, 'not-reached', 'an earlier check failed'));
  const own: Check = {
    ...failed('evidence.file', code, expected, got),
    ...(path === '' ? {} : { reason: `at ${path}` }),
  };
  return {
    kind,
    atMs,
    verdict: verdictOf([own, ...rest]),
    judged: [],
    simulated: null,
    collateral: { used: [], ignored: library.ignored },
    notes: [...notes, ...hints(kind, evidence, [])],
  };
}

function hints(kind: EvidenceKind, file: Uint8Array, judged: readonly JudgedEvidence[]): readonly string[] {
  if (judged.some(({ claims }) => claims !== null) || file.length > EVIDENCE_FILE_MAX_BYTES) return [];
  const likely = likelyKind(file);
  return likely === null || likely === kind
    ? []
    : [`the file looks like ${likely} evidence: --kind ${likely}`];
}

/** Seconds of today are milliseconds of 1970. */
const SECONDS_MAX = 100_000_000_000;

function timeNotes(atMs: number): readonly string[] {
  return atMs > 0 && atMs < SECONDS_MAX
    ? [`the time ${atMs} is taken as milliseconds: was it meant in seconds?`]
    : [];
}

function rootNotes(roots: readonly TrustRoot[]): readonly string[] {
  return roots.some(({ simulated }) => simulated)
    ? ["roots other than the vendor's are trusted: what hangs on them is SIMULATED, no proof of hardware"]
    : [];
}

/**
 * NVIDIA's root for manifests counts beside roots that were given for devices, and vouches for no device; test roots vouch for
 * either.
 */
function nvidiaRoots(
  given: readonly TrustRoot[],
): Pick<NvidiaAcceptance, 'roots'> & { readonly manifestRoots: readonly TrustRoot[] } {
  return {
    roots: given.filter(({ sha256 }) => !bytesEqual(sha256, NVIDIA_RIM_ROOT.sha256)),
    manifestRoots: [NVIDIA_RIM_ROOT, ...given.filter(({ simulated }) => simulated)],
  };
}

/** Throws `MalformedError` where there is no certificate in it. */
function readRoots(file: Uint8Array, kind: EvidenceKind, crypto: CryptoProvider): readonly TrustRoot[] {
  const text = textOf(file);
  const ders = text === null ? [file] : pemBlocks(text).certificates;
  const roots = ders.filter((der) => certificateOf(der) !== null).map(crypto.sha256);
  if (roots.length === 0 || roots.length !== ders.length)
    throw new MalformedError('roots.malformed', 'roots', 'certificates in PEM or DER', 'something else');
  const vendors = kind === 'nvidia' ? [...vendorRoots(kind), NVIDIA_RIM_ROOT] : vendorRoots(kind);
  return roots.map((sha256) => ({
    sha256,
    simulated: !vendors.some((vendor) => bytesEqual(vendor.sha256, sha256)),
  }));
}

/** What `haca evidence verify --json` prints. */
export interface EvidenceFileView {
  readonly kind: EvidenceKind;
  readonly atMs: number;
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly measurement: string | null;
  readonly simulated: boolean | null;
  readonly claims: unknown;
  /** Of a file of several devices, whose claims stand here alone. */
  readonly devices?: readonly object[];
  readonly collateral: EvidenceFileReport['collateral'];
  readonly notes: readonly string[];
}

export function evidenceFileView(report: EvidenceFileReport): EvidenceFileView {
  const { kind, atMs, verdict, judged, simulated, collateral, notes } = report;
  const [only] = judged.length === 1 ? judged : [];
  const devices = judged.map(({ label, verdict: own, measurement, claims }) => ({
    device: label,
    ok: own.ok,
    measurement,
    simulated: claims?.isSimulated ?? null,
    claims: viewOf(claims),
  }));
  return {
    kind,
    atMs,
    ok: verdict.ok,
    checks: verdict.checks,
    measurement: only?.measurement ?? null,
    simulated,
    claims: viewOf(only?.claims ?? null),
    ...(judged.length > 1 ? { devices } : {}),
    collateral,
    notes,
  };
}

/** Maps as objects, all else as everywhere in JSON of this project. */
function viewOf(value: unknown): unknown {
  if (value instanceof Map)
    return viewOf(Object.fromEntries([...value].map(([key, member]) => [String(key), member])));
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return toJsonView(value);
  if (Array.isArray(value)) return value.map(viewOf);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, viewOf(member)]));
}
