/** The policy of every kind of evidence as JSON, read in one way (`haca evidence verify --policy`, files of operators). */
import { type EvidenceKind, SNP_PRODUCTS, type SnpTcbFloor } from '@haca/protocol';
import type { AzurePolicy } from '../tee/azure/validate.ts';
import type { DstackPolicy } from '../tee/dstack/validate.ts';
import type { IntelPolicy } from '../tee/intel/policy.ts';
import type { SgxPolicy } from '../tee/intel/sgx.ts';
import { TCB_STATUSES } from '../tee/intel/tcb-status.ts';
import type { TdxPolicy } from '../tee/intel/tdx.ts';
import { NITRO_LIMITS } from '../tee/nitro/parse.ts';
import type { NitroPolicy } from '../tee/nitro/validate.ts';
import type { GoldenMeasurement } from '../tee/nvidia/golden.ts';
import type { NvidiaPolicy } from '../tee/nvidia/validate.ts';
import { SNP_PLATFORM_BITS, type SnpFirmwareVersion } from '../tee/snp/parse.ts';
import { SNP_GUEST_RESTRICTIONS, type SnpPlatformBit, type SnpPolicy } from '../tee/snp/validate.ts';
import {
  bits64,
  expected,
  flag,
  hex,
  integer,
  listOf,
  measurements,
  milliseconds,
  nested,
  object,
  oneOf,
  orNull,
  type PolicyReaders,
  readPolicy,
  statedOnly,
  text,
  truth,
  waiver,
} from './read-members.ts';

const UINT8 = integer(0, 0xff);
const UINT32 = integer(0, 0xffff_ffff);
const nitroField = expected(orNull(hex(0, NITRO_LIMITS.fieldBytes)));

const NITRO_POLICY: PolicyReaders<NitroPolicy> = {
  allowDebug: flag(false),
  measurements: expected(measurements('nitro')),
  maxAgeMs: expected(milliseconds),
  maxFutureSkewMs: expected(milliseconds),
  userData: nitroField,
  nonce: nitroField,
  publicKey: nitroField,
};

const INTEL_MEMBERS: PolicyReaders<Omit<IntelPolicy, 'measurements' | 'reportData'>> = {
  allowDebug: flag(false),
  // Left out it means UpToDate and nothing else, so nothing but its own name may widen it.
  tcbStatuses: statedOnly(expected(listOf(oneOf(...TCB_STATUSES)))),
  minTcbEvaluationDataNumber: expected(UINT32),
};

const TD_MEMBERS: PolicyReaders<Omit<TdxPolicy, 'measurements' | 'reportData'>> = {
  ...INTEL_MEMBERS,
  septVeDisable: expected(truth),
  migratable: expected(truth),
  xfam: expected(hex(8)),
  serviceTd: expected(orNull(hex(48))),
};

const TDX_POLICY: PolicyReaders<TdxPolicy> = {
  ...TD_MEMBERS,
  measurements: expected(measurements('tdx')),
  reportData: expected(hex(64)),
};

const SGX_POLICY: PolicyReaders<SgxPolicy> = {
  ...INTEL_MEMBERS,
  provisionKey: expected(truth),
  measurements: expected(measurements('sgx')),
  reportData: expected(hex(64)),
};

const DSTACK_POLICY: PolicyReaders<DstackPolicy> = {
  ...TD_MEMBERS,
  measurements: expected(measurements('dstack')),
  reportData: expected(hex(64)),
  requireAppIdFromCompose: flag(true),
};

const SNP_PRODUCT = oneOf(...SNP_PRODUCTS);
const SNP_BITS = Object.keys(SNP_PLATFORM_BITS) as readonly SnpPlatformBit[];
const platformBits = listOf(oneOf(...SNP_BITS));
const tcbFloors = expected(
  listOf(
    object({
      product: SNP_PRODUCT,
      floor: object<SnpTcbFloor>({
        fmc: orNull(UINT8),
        bootloader: UINT8,
        tee: UINT8,
        snp: UINT8,
        microcode: UINT8,
      }),
    }),
  ),
);

const CHIP_MEMBERS: PolicyReaders<Omit<SnpPolicy, 'measurements' | 'reportData' | 'vmpl'>> = {
  allowDebug: flag(false),
  allowMigrationAgent: flag(false),
  // Every cloud launches guests with it, and TCB floors judge firmware whether or not it can be rolled back.
  allowSmt: flag(true),
  allowProvisionalFirmware: flag(true),
  allowCxl: flag(false),
  guestRestrictions: expected(listOf(oneOf(...SNP_GUEST_RESTRICTIONS))),
  platform: expected(object({ required: platformBits, forbidden: platformBits })),
  tcbFloors,
  launchTcbFloors: tcbFloors,
  minFirmware: expected(object<SnpFirmwareVersion>({ major: UINT8, minor: UINT8, build: UINT8 })),
  mitigations: expected(bits64),
  minGuestSvn: expected(UINT32),
  minGuestAbi: expected(object({ major: UINT8, minor: UINT8 })),
  cspIds: expected(listOf(text(128))),
  familyId: expected(hex(16)),
  imageId: expected(hex(16)),
  idKeyDigest: expected(orNull(hex(48))),
  authorKeyDigest: expected(orNull(hex(48))),
  hostData: expected(hex(32)),
};

const SNP_POLICY: PolicyReaders<SnpPolicy> = {
  ...CHIP_MEMBERS,
  vmpl: expected(integer(0, 3)),
  measurements: expected(measurements('snp')),
  reportData: expected(hex(64)),
};

const NVIDIA_POLICY: PolicyReaders<NvidiaPolicy> = {
  allowDebug: flag(false),
  nonce: expected(hex(32)),
  revocation: waiver,
  architectures: expected(listOf(oneOf('hopper', 'blackwell', 'rubin', 'ls10'))),
  modes: expected(listOf(oneOf('spt', 'mpt', 'ppcie', 'unreported'))),
  measurements: expected(measurements('nvidia')),
  goldenMeasurements: expected(
    listOf(object<GoldenMeasurement>({ index: integer(0, 255), values: listOf(hex(1, 64)) })),
  ),
  manifests: expected(oneOf('required')),
  // A key that anybody may have put there makes tokens good, so nothing but its own name trusts it.
  serviceKeys: statedOnly(expected(listOf(hex(32)))),
};

const AZURE_POLICY: PolicyReaders<AzurePolicy> = {
  tdx: nested(TD_MEMBERS),
  snp: nested(CHIP_MEMBERS),
  measurements: expected(measurements('azure')),
  extraData: expected(hex(0, 64)),
  userData: expected(orNull(hex(0, 64))),
  secureBoot: expected(truth),
  consoleEnabled: expected(truth),
  interactiveConsoleEnabled: expected(orNull(truth)),
  tpmPersisted: expected(orNull(truth)),
};

/** What each kind is judged by. */
export interface EvidencePolicies {
  readonly nitro: NitroPolicy;
  readonly tdx: TdxPolicy;
  readonly sgx: SgxPolicy;
  readonly snp: SnpPolicy;
  readonly nvidia: NvidiaPolicy;
  readonly dstack: DstackPolicy;
  readonly azure: AzurePolicy;
}

const POLICY_READERS: { readonly [Kind in EvidenceKind]: PolicyReaders<EvidencePolicies[Kind]> } = {
  nitro: NITRO_POLICY,
  tdx: TDX_POLICY,
  sgx: SGX_POLICY,
  snp: SNP_POLICY,
  nvidia: NVIDIA_POLICY,
  dstack: DSTACK_POLICY,
  azure: AZURE_POLICY,
};

/** Members that a policy of this kind may have. */
export function policyMembers(kind: EvidenceKind): readonly string[] {
  return Object.keys(POLICY_READERS[kind]);
}

/**
 * Reads e.g. `{"measurements": [{"name": "release", "registers": {"mrtd": "ab..", ...}}], "reportData": "00..",
 * "allowDebug": false}`. A member left out is not given, so its check is skipped; `"any"` waives it, `"others": "any"` all that
 * are left out; debug mode is allowed only by `"allowDebug": true`. Throws `MalformedError` for unknown members and values of
 * another form.
 */
export function parsePolicy<Kind extends EvidenceKind>(kind: Kind, value: unknown): EvidencePolicies[Kind] {
  return readPolicy(value, POLICY_READERS[kind]);
}
