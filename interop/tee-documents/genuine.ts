/** Genuine evidence of every kind, each document with the time, collateral, trust and policy that it is judged by. */
import { nodeCrypto } from '@haca/platform';
import { type CryptoProvider, encode, toHex } from '@haca/primitives';
import {
  azureDocumentCodec,
  type Collateral,
  type CollateralRef,
  dstackDocumentCodec,
  type EvidenceKind,
  nvidiaDocumentCodec,
  snpDocumentCodec,
} from '@haca/protocol';
import {
  AMD_DEVIATIONS,
  type Appraisal,
  appraiseEvidence,
  type Certificate,
  type CollateralLibrary,
  type CollateralSource,
  collateralSource,
  type EvidenceContext,
  parseAzureJson,
  parseCertificate,
  parseDstackJson,
  parseNvidiaChainPem,
  parseNvidiaReportHex,
  parsePemCertificates,
  parsePolicy,
  readCollateral,
  stripQuotePadding,
  type TeeClaims,
  vendorRoots,
} from '@haca/verifier';
import {
  namedVectorFiles,
  pemChain,
  textOf,
  vectorFile,
  vectorManifest,
  vectorsMissing,
} from './vector-files.ts';

export interface GenuineDocument {
  readonly kind: EvidenceKind;
  /** Of the vector it is, or is made of. */
  readonly id: string;
  readonly bytes: Uint8Array;
  /** Every expectation waived; debug and TCBs without hope refused. */
  readonly context: Omit<EvidenceContext, 'crypto'>;
}

let documents: readonly GenuineDocument[] | undefined;

/** Of every kind at least one, read once; none where the vectors are missing. */
export function genuineDocuments(): readonly GenuineDocument[] {
  documents ??= vectorsMissing === false ? readDocuments() : [];
  return documents;
}

function readDocuments(): readonly GenuineDocument[] {
  return [
    ...nitroDocuments(),
    ...quotes('tdx', ['v4-uptodate-2025-06', 'v5-uptodate-2026-02', 'v4-azure-noseptve-2025-10']),
    ...quotes('sgx', ['v3-confsw-2025-06', 'v3-swhardening-2025-08']),
    ...snpDocuments(),
    ...nvidiaDocuments(),
    dstackDocument(),
    ...azureDocuments(),
  ];
}

export function appraiseGenuine(
  { kind, context }: GenuineDocument,
  bytes: Uint8Array,
  crypto: CryptoProvider,
): Appraisal<TeeClaims> {
  return appraiseEvidence(kind, bytes, { ...context, crypto });
}

/** Authentic, and no check failed. Checks for which nothing was recorded are skipped, so a verdict need not be ok. */
export function isAccepted({ verdict, claims }: Appraisal<TeeClaims>): boolean {
  return claims !== null && verdict.checks.every(({ status }) => status !== 'failed');
}

/** Collateral of an Intel quote as one JSON object, the form in which tools of the field pass it around. */
export function collateralJson(kind: string, id: string): Readonly<Record<string, string>> {
  return JSON.parse(textOf(vectorFile(kind, `${id}.collateral.json`))) as Readonly<Record<string, string>>;
}

function genuine(
  kind: EvidenceKind,
  id: string,
  bytes: Uint8Array,
  nowMs: number,
  waived: object = {},
): GenuineDocument {
  const policy = parsePolicy(kind, { others: 'any', ...waived });
  const context = {
    nowMs,
    revoked: [],
    collateral: recordedCollateral(bytes, nowMs),
    collateralGraceMs: 0,
    [kind]: { roots: vendorRoots(kind), policy },
  };
  return { kind, id, bytes, context };
}

function nitroDocuments(): readonly GenuineDocument[] {
  return vectorManifest<{ readonly verify_at_ms: number }>('nitro')
    .filter(({ id }) => id.includes('prod'))
    .map(({ id, files, expect }) =>
      genuine('nitro', id, vectorFile('nitro', files[0]?.file ?? ''), expect.verify_at_ms),
    );
}

const ANY_TCB = { tcbStatuses: 'any' };

/** When the collateral that was recorded with a quote holds, milliseconds. */
function recordedAtMs(kind: 'tdx' | 'sgx', id: string): number {
  const found = vectorManifest<{ readonly verify_at_s: number }>(kind).find((entry) => entry.id === id);
  if (found === undefined) throw new RangeError(`no vector ${id}`);
  return found.expect.verify_at_s * 1000;
}

function quotes(kind: 'tdx' | 'sgx', ids: readonly string[]): readonly GenuineDocument[] {
  return ids.map((id) => {
    const quote = stripQuotePadding(vectorFile(kind, `${id}.quote.bin`));
    return genuine(kind, id, quote, recordedAtMs(kind, id), ANY_TCB);
  });
}

/** Within the lives of the recorded certificates of NVIDIA. */
const RECORDED_MS = Date.UTC(2025, 9, 19, 18);

function milanIssuers(): readonly Uint8Array[] {
  return [...pemChain('snp', 'chain-milan.pem')].reverse();
}

function snpDocuments(): readonly GenuineDocument[] {
  const id = 'milan-v2';
  const report = vectorFile('snp', `${id}.report.bin`);
  const certificates = [...milanIssuers(), vectorFile('snp', `${id}.vek.der`)];
  const vek = parseCertificate(certificates[2] as Uint8Array, 'vek', AMD_DEVIATIONS);
  const document = encode(snpDocumentCodec, { report, certificates });
  return [genuine('snp', id, document, vek.notBeforeMs + 86_400_000)];
}

function nvidiaDocuments(): readonly GenuineDocument[] {
  return ['hopper-550', 'blackwell-575'].map((id) => {
    const report = parseNvidiaReportHex(textOf(vectorFile('nvidia', `${id}.report.hex.txt`)));
    const certificates = parseNvidiaChainPem(textOf(vectorFile('nvidia', `${id}.chain.pem`)));
    return genuine('nvidia', id, encode(nvidiaDocumentCodec, { report, certificates }), RECORDED_MS);
  });
}

/** The quote came without collateral; what was recorded for a platform of its sort holds for it. */
function dstackDocument(): GenuineDocument {
  const document = parseDstackJson(textOf(vectorFile('dstack', 'quote-report.json')));
  const nowMs = recordedAtMs('tdx', 'v5-uptodate-2026-02');
  return genuine('dstack', 'quote-report', encode(dstackDocumentCodec, document), nowMs, ANY_TCB);
}

function azureDocuments(): readonly GenuineDocument[] {
  const nowMs = recordedAtMs('tdx', 'v4-azure-noseptve-2025-10');
  return ['tdx-vtpm-2023', 'snp-vtpm-2023'].map((id) => {
    const document = parseAzureJson(textOf(vectorFile('azure', `${id}.json`)), milanIssuers());
    const policy = { tdx: { others: 'any', ...ANY_TCB }, snp: { others: 'any' } };
    return genuine('azure', id, encode(azureDocumentCodec, document), nowMs, policy);
  });
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Certificates that evidence carries in PEM: they tell whose a revocation list is. */
export function carriedCertificates(bytes: Uint8Array): readonly Certificate[] {
  const text = new TextDecoder('latin1').decode(bytes);
  const ders = (text.match(PEM) ?? []).flatMap((pem) => parsePemCertificates(pem, 'carried'));
  return ders.map((der) => parseCertificate(der, 'carried'));
}

let library: CollateralLibrary | undefined;

/** What was recorded beside all quotes; of each reference what holds at `nowMs`, chosen once. */
function recordedCollateral(bytes: Uint8Array, nowMs: number): CollateralSource {
  library ??= readCollateral([...namedVectorFiles('tdx'), ...namedVectorFiles('sgx')]);
  const certificates = carriedCertificates(bytes);
  const { source } = collateralSource(library, { crypto: nodeCrypto, nowMs, certificates });
  const chosen = new Map<string, Collateral | null>();
  const find = (ref: CollateralRef): Collateral | null => {
    const name = `${ref.kind}:${toHex(ref.scope)}`;
    const known = chosen.get(name);
    if (known !== undefined) return known;
    const found = source(ref as never);
    chosen.set(name, found);
    return found;
  };
  return find as CollateralSource;
}
