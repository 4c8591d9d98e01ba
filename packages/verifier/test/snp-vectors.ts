/** The recorded SNP evidence, and a policy that waives everything but what a test is about. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import { type CryptoProvider, encode, fromHex } from '@haca/primitives';
import { snpDocumentCodec } from '@haca/protocol';
import {
  type Appraisal,
  appraiseSnp,
  NO_COLLATERAL,
  parsePemCertificates,
  type SnpContext,
  type SnpPolicy,
  vendorRoots,
} from '../src/index.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee');

/** False, or why tests against recorded evidence can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = existsSync(join(FOLDER, 'snp'))
  ? false
  : `no recorded vectors at ${FOLDER}/snp`;

export interface SnpVector {
  readonly id: string;
  readonly report: Uint8Array;
  /** Root first. */
  readonly certificates: readonly Uint8Array[];
  readonly expect: Readonly<Record<string, unknown>>;
}

interface ManifestFile {
  readonly file: string;
  readonly sha256: string;
}
interface ManifestEntry {
  readonly id: string;
  readonly files: readonly ManifestFile[];
  readonly expect: Readonly<Record<string, unknown>>;
}

function readManifest(): readonly ManifestEntry[] {
  if (vectorsMissing !== false) return [];
  const text = readFileSync(join(FOLDER, 'snp/manifest.json'), 'utf8');
  return (JSON.parse(text) as { readonly vectors: readonly ManifestEntry[] }).vectors;
}

function readFile({ file, sha256 }: ManifestFile): Uint8Array {
  const bytes = new Uint8Array(readFileSync(join(FOLDER, 'snp', file)));
  const got = createHash('sha256').update(bytes).digest('hex');
  if (got !== sha256) throw new Error(`${file} has SHA-256 ${got}, the manifest says ${sha256}`);
  return bytes;
}

/** ARK and ASK of a product line as recorded: root first. */
export function amdChain(product: 'milan' | 'genoa'): readonly Uint8Array[] {
  const file = readManifest()
    .flatMap(({ files }) => files)
    .find((each) => each.file === `chain-${product}.pem`);
  if (file === undefined) throw new Error(`no chain of ${product}`);
  const text = new TextDecoder().decode(readFile(file));
  return [...parsePemCertificates(text, product)].reverse();
}

/** Every recorded report with the certificate that came with it, under the chain of Milan. */
export function readVectors(): readonly SnpVector[] {
  return readManifest()
    .filter(({ files }) => files.some(({ file }) => file.endsWith('.report.bin')))
    .map(({ id, files, expect }) => {
      const [report, vek] = files.map(readFile);
      if (report === undefined || vek === undefined) throw new Error(`${id} lacks a file`);
      return { id, expect, report, certificates: [...amdChain('milan'), vek] };
    });
}

export function vector(id: string): SnpVector {
  const found = readVectors().find((each) => each.id === id);
  if (found === undefined) throw new Error(`no vector ${id}`);
  return found;
}

/** The report and the VCEK inside the recorded evidence of an Azure confidential VM. */
export function azureVector(): Pick<SnpVector, 'report' | 'certificates'> {
  const text = readFileSync(join(FOLDER, 'azure/snp-vtpm-2023.json'), 'utf8');
  const { evidence } = JSON.parse(text) as { evidence: { hcl_report: string; vcek: string } };
  const hclReport = Uint8Array.from(Buffer.from(evidence.hcl_report, 'base64url'));
  const vcek = Uint8Array.from(Buffer.from(evidence.vcek, 'base64url'));
  return { report: hclReport.slice(32, 32 + 1184), certificates: [...amdChain('milan'), vcek] };
}

export function documentOf({ report, certificates }: Pick<SnpVector, 'report' | 'certificates'>): Uint8Array {
  return encode(snpDocumentCodec, { report, certificates });
}

/** Waives every expectation; nothing that has to be allowed is. */
export const OPEN_POLICY: SnpPolicy = {
  allowDebug: false,
  allowMigrationAgent: false,
  allowSmt: true,
  allowCxl: false,
  allowProvisionalFirmware: false,
  guestRestrictions: 'allow-any',
  platform: 'allow-any',
  vmpl: 'allow-any',
  tcbFloors: 'allow-any',
  launchTcbFloors: 'allow-any',
  minFirmware: 'allow-any',
  mitigations: 'allow-any',
  minGuestSvn: 'allow-any',
  minGuestAbi: 'allow-any',
  cspIds: 'allow-any',
  familyId: 'allow-any',
  imageId: 'allow-any',
  idKeyDigest: 'allow-any',
  authorKeyDigest: 'allow-any',
  hostData: 'allow-any',
  measurements: 'allow-any',
  reportData: 'allow-any',
};

/** A time at which every recorded certificate is valid. */
export const RECORDED_MS = Date.UTC(2024, 0, 1);

export function contextAt(nowMs = RECORDED_MS, crypto: CryptoProvider = nodeCrypto): SnpContext {
  return {
    crypto,
    nowMs,
    roots: vendorRoots('snp'),
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
    policy: OPEN_POLICY,
  };
}

/** `id:code` of the failed checks, in order. */
export function failures({ verdict }: Pick<Appraisal<unknown>, 'verdict'>): readonly string[] {
  return verdict.checks.filter(({ status }) => status === 'failed').map(({ id, code }) => `${id}:${code}`);
}

/** Ids of the checks with this status, in order. */
export function withStatus(
  { verdict }: Pick<Appraisal<unknown>, 'verdict'>,
  status: 'skipped' | 'not-applicable' | 'passed',
): readonly string[] {
  return verdict.checks.filter((check) => check.status === status).map(({ id }) => id);
}

export function appraise(
  evidence: Pick<SnpVector, 'report' | 'certificates'>,
  context: SnpContext = contextAt(),
): ReturnType<typeof appraiseSnp> {
  return appraiseSnp(documentOf(evidence), context);
}

export function flipped(bytes: Uint8Array, at: number, mask = 1): Uint8Array {
  const changed = bytes.slice();
  changed[at] = (changed[at] as number) ^ mask;
  return changed;
}

/** `bytes` with those of `hex` at `at`. */
export function patched(bytes: Uint8Array, at: number, hex: string): Uint8Array {
  const changed = bytes.slice();
  changed.set(fromHex(hex), at);
  return changed;
}
