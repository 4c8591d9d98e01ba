/** Test enclaves of every shape, and what a verifier needs to accept them: roots, collateral and policies. */
import {
  createDstackTestEnclave,
  createNvidiaTestGpus,
  createNvidiaTestRoot,
  createSgxTestEnclave,
  createSnpTestEnclave,
  createSnpTestRoot,
  createTdxTestEnclave,
  createTdxTestRoot,
  createTestEnclave,
  createTestRoot,
  type IntelTestCollateralOptions,
  type IntelTestRoot,
  measureSnpTestImage,
  measureTdxTestImage,
  measureTestImage,
  mintAmdCollateral,
  mintSgxCollateral,
  mintTdxCollateral,
  SNP_TEST_CSP_ID,
  snpRegisters,
  type TestRoot,
  tdxRegisters,
} from '@haca/attester';
import { nodeCrypto } from '@haca/platform';
import { bytesEqual, concatBytes, sha256, toHex, utf8Decode, utf8Encode } from '@haca/primitives';
import { type Collateral, type CollateralRef, type EvidenceKind, pcrRegisters } from '@haca/protocol';
import {
  type AzurePolicy,
  appraiseEvidence,
  type CollateralSource,
  type DstackPolicy,
  type EvidenceContext,
  genesisTrustRoots,
  type NitroPolicy,
  type NvidiaPolicy,
  type SgxPolicy,
  type SnpPolicy,
  type TdxPolicy,
} from '@haca/verifier';

export const NOW_MS: number = Date.UTC(2026, 10, 21, 9, 30);
export const DAY_MS = 86_400_000;
const SEED = new Uint8Array(32).fill(1);
const IMAGE = utf8Encode('image of these tests');

export const ROOTS = {
  nitro: createTestRoot(SEED),
  intel: createTdxTestRoot(SEED),
  genoa: createSnpTestRoot(SEED, 'genoa'),
  turin: createSnpTestRoot(SEED, 'turin'),
  hopper: createNvidiaTestRoot(SEED, 'hopper'),
  blackwell: createNvidiaTestRoot(SEED, 'blackwell'),
} as const;

export const TEST_ROOTS: readonly Uint8Array[] = Object.values(ROOTS).map(
  ({ sha256: hash }: TestRoot) => hash,
);

export const ASKED = {
  bindingHash: Uint8Array.from({ length: 64 }, (_, i) => i + 1),
  signPublicKey: new Uint8Array(32).fill(4),
  refBlockHash: new Uint8Array(32).fill(5),
};
export const NONCE: Uint8Array = new Uint8Array(32).fill(6);

const common = { seed: new Uint8Array(32).fill(2), nowMs: (): number => NOW_MS };
const tdImage = measureTdxTestImage(IMAGE);
const snpMeasurement = measureSnpTestImage(IMAGE);
const nitroMeasurement = measureTestImage(IMAGE);
const composeHash = sha256(utf8Encode('docker compose file'));
const keyProvider = utf8Encode('{"name":"none","id":""}');
const nothing = new Uint8Array(0);

export const DSTACK_EVENTS = [
  { name: 'system-preparing', payload: nothing },
  { name: 'app-id', payload: composeHash.slice(0, 20) },
  { name: 'compose-hash', payload: composeHash },
  { name: 'instance-id', payload: new Uint8Array(20).fill(7) },
  { name: 'boot-mr-done', payload: nothing },
  { name: 'key-provider', payload: keyProvider },
  { name: 'system-ready', payload: nothing },
] as const;

/** What tests change of an enclave. */
export interface ShapeOptions {
  readonly debug?: boolean;
  readonly root?: TestRoot;
}

export interface Shape {
  readonly name: string;
  readonly kind: EvidenceKind;
  /** A document over `ASKED`, or over `NONCE` for GPUs. */
  readonly document: (options?: ShapeOptions) => Promise<Uint8Array>;
}

const intelRoot = ({ root }: ShapeOptions): IntelTestRoot => (root ?? ROOTS.intel) as IntelTestRoot;
const debugOf = ({ debug = false }: ShapeOptions): { readonly debug: boolean } => ({ debug });

export const SHAPES: readonly Shape[] = [
  {
    name: 'Nitro',
    kind: 'nitro',
    document: (options = {}) =>
      createTestEnclave({
        ...common,
        ...debugOf(options),
        root: (options.root ?? ROOTS.nitro) as typeof ROOTS.nitro,
        measurement: nitroMeasurement,
      }).attest(ASKED),
  },
  ...([4, 5] as const).map(
    (version): Shape => ({
      name: `TDX, quote version ${version}`,
      kind: 'tdx',
      document: (options = {}) =>
        createTdxTestEnclave({
          ...common,
          ...debugOf(options),
          root: intelRoot(options),
          measurement: tdImage,
          version,
        }).attest(ASKED),
    }),
  ),
  {
    name: 'SGX',
    kind: 'sgx',
    document: (options = {}) =>
      createSgxTestEnclave({
        ...common,
        ...debugOf(options),
        root: intelRoot(options),
        mrEnclave: new Uint8Array(32).fill(1),
        mrSigner: new Uint8Array(32).fill(2),
        isvProdId: 3,
        isvSvn: 4,
      }).attest(ASKED),
  },
  {
    name: 'dstack',
    kind: 'dstack',
    document: (options = {}) =>
      createDstackTestEnclave({
        ...common,
        ...debugOf(options),
        root: intelRoot(options),
        mrtd: tdImage.mrtd,
        bootDigests: [[tdImage.rtmrs[0]], [tdImage.rtmrs[1]], [tdImage.rtmrs[2], tdImage.rtmrs[3]]],
        events: DSTACK_EVENTS,
      }).attest(ASKED),
  },
  ...(
    [
      ['SNP, Genoa, report version 2', 'genoa', 'vcek', 2],
      ['SNP, Genoa, report version 3', 'genoa', 'vcek', 3],
      ['SNP, Genoa, key of a provider', 'genoa', 'vlek', 3],
      ['SNP, Turin, report version 5', 'turin', 'vcek', 5],
    ] as const
  ).map(
    ([name, product, signingKey, version]): Shape => ({
      name,
      kind: 'snp',
      document: (options = {}) =>
        createSnpTestEnclave({
          ...common,
          ...debugOf(options),
          root: (options.root ?? ROOTS[product]) as typeof ROOTS.genoa,
          measurement: snpMeasurement,
          signingKey,
          version,
        }).attest(ASKED),
    }),
  ),
  ...(['hopper', 'blackwell'] as const).map(
    (architecture): Shape => ({
      name: `NVIDIA ${architecture}`,
      kind: 'nvidia',
      document: async (options = {}) => {
        const root = (options.root ?? ROOTS[architecture]) as typeof ROOTS.hopper;
        const [document] = await createNvidiaTestGpus({ ...common, ...debugOf(options), root }).attest(NONCE);
        return document as Uint8Array;
      },
    }),
  ),
];

/** Collateral by what it says of itself. */
export function sourceOf(items: readonly Collateral[]): CollateralSource {
  const find = (ref: CollateralRef): Collateral | null =>
    items.find((item) => item.kind === ref.kind && isOfRoot(item, ref) && hasScope(item, ref.scope)) ?? null;
  return find as CollateralSource;
}

function isOfRoot({ issuerChain }: Collateral, { rootCertificate }: CollateralRef): boolean {
  return issuerChain[0] !== undefined && bytesEqual(issuerChain[0], rootCertificate);
}

function hasScope(item: Collateral, scope: Uint8Array): boolean {
  if (item.kind === 'intel-crl' || item.kind === 'amd-crl') return toHex(item.crl).includes(toHex(scope));
  const { id, fmspc } = JSON.parse(utf8Decode(item.body)) as { readonly id: string; readonly fmspc?: string };
  return utf8Decode(scope) === (fmspc === undefined ? id : `${id}:${fmspc}`);
}

export function intelCollateral(options: Partial<IntelTestCollateralOptions> = {}): readonly Collateral[] {
  const all = { nowMs: NOW_MS, ...options };
  return [...mintTdxCollateral(ROOTS.intel, all), ...mintSgxCollateral(ROOTS.intel, all).slice(2)];
}

export const AMD_COLLATERAL: readonly Collateral[] = [
  ...mintAmdCollateral(ROOTS.genoa, { nowMs: NOW_MS }),
  ...mintAmdCollateral(ROOTS.turin, { nowMs: NOW_MS }),
];
export const ALL_COLLATERAL: readonly Collateral[] = [...intelCollateral(), ...AMD_COLLATERAL];

const nitro: NitroPolicy = {
  allowDebug: false,
  measurements: [{ kind: 'nitro', name: 'test', registers: pcrRegisters(nitroMeasurement) }],
  maxAgeMs: 300_000,
  maxFutureSkewMs: 30_000,
  userData: ASKED.bindingHash,
  publicKey: ASKED.signPublicKey,
  nonce: ASKED.refBlockHash,
};
const td = {
  allowDebug: false,
  tcbStatuses: ['UpToDate'],
  minTcbEvaluationDataNumber: 17,
  septVeDisable: true,
  migratable: false,
  xfam: 'allow-any',
  serviceTd: 'allow-any',
} as const satisfies Partial<TdxPolicy>;
const tdx: TdxPolicy = {
  ...td,
  measurements: [{ kind: 'tdx', name: 'test', registers: tdxRegisters(tdImage) }],
  reportData: ASKED.bindingHash,
};
const sgx: SgxPolicy = {
  allowDebug: false,
  measurements: [
    {
      kind: 'sgx',
      name: 'test',
      registers: [
        { register: 'isvprodid', value: Uint8Array.of(3, 0) },
        { register: 'isvsvn', value: Uint8Array.of(4, 0) },
        { register: 'mrenclave', value: new Uint8Array(32).fill(1) },
        { register: 'mrsigner', value: new Uint8Array(32).fill(2) },
      ],
    },
  ],
  reportData: ASKED.bindingHash,
  tcbStatuses: ['UpToDate'],
  minTcbEvaluationDataNumber: 17,
  provisionKey: false,
};
const extended = (...digests: readonly Uint8Array[]): Uint8Array =>
  digests.reduce((register, each) => nodeCrypto.sha384(concatBytes(register, each)), new Uint8Array(48));
const dstack: DstackPolicy = {
  ...tdx,
  measurements: [
    {
      kind: 'dstack',
      name: 'test',
      registers: [
        { register: 'compose-hash', value: composeHash },
        { register: 'key-provider', value: sha256(keyProvider) },
        { register: 'mrtd', value: tdImage.mrtd },
        { register: 'rtmr0', value: extended(tdImage.rtmrs[0]) },
        { register: 'rtmr1', value: extended(tdImage.rtmrs[1]) },
        { register: 'rtmr2', value: extended(tdImage.rtmrs[2], tdImage.rtmrs[3]) },
      ],
    },
  ],
  requireAppIdFromCompose: true,
};
const snpGuest = {
  allowDebug: false,
  allowMigrationAgent: false,
  allowSmt: true,
  allowCxl: false,
  allowProvisionalFirmware: true,
  guestRestrictions: 'allow-any',
  platform: 'allow-any',
  tcbFloors: 'allow-any',
  launchTcbFloors: 'allow-any',
  minFirmware: { major: 1, minor: 55, build: 8 },
  mitigations: 'allow-any',
  minGuestSvn: 'allow-any',
  minGuestAbi: 'allow-any',
  cspIds: [SNP_TEST_CSP_ID],
  familyId: new Uint8Array(16),
  imageId: new Uint8Array(16),
  idKeyDigest: null,
  authorKeyDigest: null,
  hostData: new Uint8Array(32),
} as const satisfies Partial<SnpPolicy>;
const snp: SnpPolicy = {
  ...snpGuest,
  vmpl: 0,
  measurements: [{ kind: 'snp', name: 'test', registers: snpRegisters(snpMeasurement) }],
  reportData: ASKED.bindingHash,
};
/** No test enclave is of this kind: what it wraps is held to the same, but for what its paravisor takes over. */
const azure: AzurePolicy = {
  tdx: { ...td, septVeDisable: 'allow-any' },
  snp: snpGuest,
  measurements: [],
  extraData: ASKED.bindingHash,
  userData: 'allow-any',
  secureBoot: 'allow-any',
  consoleEnabled: 'allow-any',
  interactiveConsoleEnabled: 'allow-any',
  tpmPersisted: 'allow-any',
};
const nvidia: NvidiaPolicy = {
  allowDebug: false,
  nonce: NONCE,
  revocation: 'allow-any',
  architectures: ['hopper', 'blackwell'],
  modes: ['spt'],
  measurements: 'allow-any',
  goldenMeasurements: 'allow-any',
  manifests: 'allow-any',
  serviceKeys: 'not-given',
};

export const POLICIES = { nitro, tdx, sgx, dstack, snp, nvidia, azure } as const;

export interface WorldOptions {
  readonly simulated?: boolean;
  readonly testRoots?: readonly Uint8Array[];
  readonly collateral?: readonly Collateral[];
  readonly policies?: Partial<{ readonly [K in keyof typeof POLICIES]: Partial<(typeof POLICIES)[K]> }>;
  readonly trust?: Partial<Pick<EvidenceContext, 'crypto' | 'nowMs' | 'revoked' | 'collateralGraceMs'>>;
}

/** What the verifier of a network whose genesis lists the test roots judges by. */
export function contextOf(options: WorldOptions = {}): EvidenceContext {
  const { simulated = true, testRoots = TEST_ROOTS, collateral = ALL_COLLATERAL, policies = {} } = options;
  const roots = (kind: EvidenceKind) => genesisTrustRoots(kind, { simulated, testRoots });
  return {
    crypto: nodeCrypto,
    nowMs: NOW_MS,
    revoked: [],
    collateralGraceMs: 0,
    ...options.trust,
    collateral: sourceOf(collateral),
    nitro: { roots: roots('nitro'), policy: { ...nitro, ...policies.nitro } },
    tdx: { roots: roots('tdx'), policy: { ...tdx, ...policies.tdx } },
    sgx: { roots: roots('sgx'), policy: { ...sgx, ...policies.sgx } },
    dstack: { roots: roots('dstack'), policy: { ...dstack, ...policies.dstack } },
    snp: { roots: roots('snp'), policy: { ...snp, ...policies.snp } },
    nvidia: { roots: roots('nvidia'), policy: { ...nvidia, ...policies.nvidia } },
    azure: { roots: roots('azure'), policy: { ...azure, ...policies.azure } },
  };
}

export interface Judgement {
  readonly ok: boolean;
  /** `id:code` of every failed check. */
  readonly failures: readonly string[];
  /** `id:code` of every skipped check. */
  readonly skips: readonly string[];
  readonly claims: ReturnType<typeof appraiseEvidence>['claims'];
  readonly measurement: string | null;
}

export function judge(kind: EvidenceKind, document: Uint8Array, options: WorldOptions = {}): Judgement {
  const { verdict, claims, measurement } = appraiseEvidence(kind, document, contextOf(options));
  const of = (status: 'failed' | 'skipped'): readonly string[] =>
    verdict.checks.filter((each) => each.status === status).map(({ id, code }) => `${id}:${code}`);
  return { ok: verdict.ok, failures: of('failed'), skips: of('skipped'), claims, measurement };
}
