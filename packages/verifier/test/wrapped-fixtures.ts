/** What tests of dstack and Azure evidence share: the recorded evidence, its collateral, and crypto that helps to change it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCrypto } from '@haca/platform';
import { type CryptoProvider, encode } from '@haca/primitives';
import {
  type AzureDocument,
  azureDocumentCodec,
  type Check,
  type DstackDocument,
  type DstackEvent,
  dstackDocumentCodec,
  type RegistrationBinding,
} from '@haca/protocol';
import {
  AMD_ARK_MILAN,
  type Appraisal,
  type AzureClaims,
  type AzureContext,
  type AzurePolicy,
  appraiseAzure,
  appraiseDstack,
  type DstackClaims,
  type DstackContext,
  type DstackPolicy,
  INTEL_SGX_ROOT,
  NO_COLLATERAL,
  parseAzureJson,
  parseDstackDocument,
  parseDstackJson,
  parsePemCertificates,
  type SnpPolicy,
} from '../src/index.ts';
import { replayedRegisters } from '../src/tee/dstack/document.ts';
import { intelVector, OPEN_TDX, trustFor } from './intel-vectors.ts';

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDER = join(process.env['HACA_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'), 'tee');

/** False, or why tests against recorded evidence can't run: what `node:test` takes as `skip`. */
export const vectorsMissing: string | false = ['dstack', 'azure', 'tdx', 'snp'].every((kind) =>
  existsSync(join(FOLDER, kind)),
)
  ? false
  : `no recorded vectors at ${FOLDER}`;

/** What the manifest records of a vector. */
export function recorded(kind: 'dstack' | 'azure', id: string): Readonly<Record<string, unknown>> {
  const manifest = JSON.parse(vectorText(kind, 'manifest.json')) as {
    readonly vectors: readonly { readonly id: string; readonly expect: Readonly<Record<string, unknown>> }[];
  };
  const found = manifest.vectors.find((vector) => vector.id === id);
  if (found === undefined) throw new Error(`no vector ${id}`);
  return found.expect;
}

export function vectorText(kind: string, file: string): string {
  return readFileSync(join(FOLDER, kind, file), 'utf8');
}

/** ARK and ASK of Milan. */
export function milanIssuers(): readonly Uint8Array[] {
  return parsePemCertificates(vectorText('snp', 'chain-milan.pem'), 'chain-milan').toReversed();
}

export function genuineDstack(): DstackDocument {
  return parseDstackJson(vectorText('dstack', 'quote-report.json'));
}

export function genuineAzure(hardware: 'snp' | 'tdx'): AzureDocument {
  return parseAzureJson(vectorText('azure', `${hardware}-vtpm-2023.json`), milanIssuers());
}

const OPEN_DSTACK: DstackPolicy = { ...OPEN_TDX, requireAppIdFromCompose: true };

export const OPEN_SNP: Omit<SnpPolicy, 'measurements' | 'reportData' | 'vmpl'> = {
  allowDebug: false,
  allowMigrationAgent: false,
  allowSmt: true,
  allowCxl: false,
  allowProvisionalFirmware: true,
  guestRestrictions: 'allow-any',
  platform: 'allow-any',
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
};

export const OPEN_AZURE: AzurePolicy = {
  tdx: OPEN_TDX,
  snp: OPEN_SNP,
  measurements: 'allow-any',
  extraData: 'allow-any',
  userData: 'allow-any',
  secureBoot: 'allow-any',
  consoleEnabled: 'allow-any',
  interactiveConsoleEnabled: 'allow-any',
  tpmPersisted: 'allow-any',
};

/** When Intel's collateral for the platform was recorded; the evidence itself brings none. */
const COLLATERAL_OF = { dstack: 'v5-uptodate-2026-02', azure: 'v4-azure-noseptve-2025-10' } as const;

export interface DstackChange extends Partial<Omit<DstackContext, 'policy'>> {
  readonly policy?: Partial<DstackPolicy>;
}

/** Intel's collateral of the platform at its time, and the open policy, but for the change. */
export function dstackContext({ policy, ...trust }: DstackChange = {}): DstackContext {
  const recordedTrust = trustFor(intelVector(COLLATERAL_OF.dstack));
  return { ...recordedTrust, ...trust, policy: { ...OPEN_DSTACK, ...policy } };
}

export function appraiseDstackChanged(
  document: DstackDocument | Uint8Array,
  change?: DstackChange,
): Appraisal<DstackClaims> {
  const bytes = document instanceof Uint8Array ? document : encode(dstackDocumentCodec, document);
  return appraiseDstack(bytes, dstackContext(change));
}

export interface AzureChange extends Partial<Omit<AzureContext, 'policy'>> {
  readonly policy?: Partial<AzurePolicy>;
}

/** As for dstack, on TDX; on SEV-SNP no revocation list was recorded. */
export function azureContext({ policy, ...trust }: AzureChange = {}): AzureContext {
  const recordedTrust = trustFor(intelVector(COLLATERAL_OF.azure));
  const roots = [INTEL_SGX_ROOT, AMD_ARK_MILAN];
  return { ...recordedTrust, roots, ...trust, policy: { ...OPEN_AZURE, ...policy } };
}

export function appraiseAzureChanged(
  document: AzureDocument | Uint8Array,
  change?: AzureChange,
): Appraisal<AzureClaims> {
  const bytes = document instanceof Uint8Array ? document : encode(azureDocumentCodec, document);
  return appraiseAzure(bytes, azureContext(change));
}

export { NO_COLLATERAL };

/** `id:code` of the checks with this status, in order. */
export function withStatus(
  { verdict }: Pick<Appraisal<unknown>, 'verdict'>,
  status: Check['status'],
): readonly string[] {
  return verdict.checks.filter((each) => each.status === status).map(({ id, code }) => `${id}:${code}`);
}

export function failures(appraisal: Pick<Appraisal<unknown>, 'verdict'>): readonly string[] {
  return withStatus(appraisal, 'failed');
}

const SIGNATURES = [
  'verifyEcdsaP256',
  'verifyEcdsaP384',
  'verifyRsaPssSha384',
  'verifyRsaPkcs1Sha256',
] as const;

function withSignatures(
  crypto: CryptoProvider,
  change: (verify: CryptoProvider['verifyEcdsaP256'], name: string) => CryptoProvider['verifyEcdsaP256'],
): CryptoProvider {
  const changed = SIGNATURES.map((name) => [name, change(crypto[name], name)] as const);
  return { ...crypto, ...Object.fromEntries(changed) };
}

/** Every signature holds: what is left of the checks is what this kind has to notice without their help. */
export const SIGNS_ANYTHING: CryptoProvider = withSignatures(nodeCrypto, () => () => true);

const QUOTE_RTMR_AT = 48 + 328;
const RTMR_BYTES = 48;

/** The document with these events and a quote that says what they replay to: for `SIGNS_ANYTHING`. */
export function withEvents({ quote }: DstackDocument, events: readonly DstackEvent[]): DstackDocument {
  const log = parseDstackDocument(encode(dstackDocumentCodec, { quote, events }));
  const changed = new Uint8Array(quote);
  for (const [index, register] of replayedRegisters(log, nodeCrypto).entries())
    changed.set(register, QUOTE_RTMR_AT + index * RTMR_BYTES);
  return { quote: changed, events };
}

/** `bytes` with the bytes from `at` on replaced. */
export function patched(bytes: Uint8Array, at: number, replacement: Uint8Array): Uint8Array {
  const changed = new Uint8Array(bytes);
  changed.set(replacement, at);
  return changed;
}

export const BINDING: RegistrationBinding = {
  chainId: 'haca-test-1',
  operator: new Uint8Array(32).fill(1),
  nodeId: new Uint8Array(32).fill(2),
  keyEpoch: 3,
  signPublicKey: new Uint8Array(32).fill(4),
  hpkePublicKey: null,
  tlsSpkiHash: null,
  modelSetRoot: new Uint8Array(32).fill(5),
  configHash: new Uint8Array(32).fill(6),
  gpuEvidenceRoot: null,
  refHeight: 7,
  refBlockHash: new Uint8Array(32).fill(8),
};
