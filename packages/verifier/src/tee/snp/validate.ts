/**
 * Validation of verified SNP claims against a policy. Every expected value comes from the caller; a value he did not give is a
 * skipped check, and one he waives by name is not applicable. All checks run, so one look shows all that is wrong.
 */
import { UsageError } from '@haca/primitives';
import {
  type Check,
  check,
  type Measurement,
  notApplicable,
  type SnpProduct,
  type SnpTcbFloor,
  skipped,
} from '@haca/protocol';
import type { Validation } from '../check-run.ts';
import { checkBytes, checkWithoutExpectation, type Expected } from '../expected.ts';
import { checkMeasurement } from '../measurements.ts';
import type { SnpClaims } from './claims.ts';
import { SNP_PLATFORM_BITS, type SnpFirmwareVersion, type SnpGuestPolicy } from './parse.ts';
import { compareFirmware, firmwareText, isTcbAtLeast, isZero, type SnpTcb, tcbText } from './product.ts';

/** The least TCB of each product line. */
export type SnpTcbFloors = readonly { readonly product: SnpProduct; readonly floor: SnpTcbFloor }[];

/** Restrictions that a guest's launcher can lay upon the host: bits 20 and 22 to 25 of GUEST_POLICY. */
export const SNP_GUEST_RESTRICTIONS = [
  'single-socket',
  'aes-256-xts',
  'rapl-disabled',
  'ciphertext-hiding',
  'page-swap-disabled',
] as const;
export type SnpGuestRestriction = (typeof SNP_GUEST_RESTRICTIONS)[number];

/** Bits of PLATFORM_INFO by name. */
export type SnpPlatformBit = keyof typeof SNP_PLATFORM_BITS;

export interface SnpPolicy {
  /** Accept guests whose memory their host may read: GUEST_POLICY bit 19. */
  readonly allowDebug: boolean;
  /** Accept guests that may be moved by a migration agent, which then holds their keys: bit 18. */
  readonly allowMigrationAgent: boolean;
  /** Accept guests whose cores the host may share between threads: bit 16. Most clouds set it. */
  readonly allowSmt: boolean;
  /** Accept guests whose memory may be behind CXL: bit 21. */
  readonly allowCxl: boolean;
  /** Accept platforms that run firmware they can still roll back: current above committed. */
  readonly allowProvisionalFirmware: boolean;
  /** Restrictions that must be in GUEST_POLICY. */
  readonly guestRestrictions: Expected<readonly SnpGuestRestriction[]>;
  /** Bits of PLATFORM_INFO that must be set, and ones that must not be. */
  readonly platform: Expected<{
    readonly required: readonly SnpPlatformBit[];
    readonly forbidden: readonly SnpPlatformBit[];
  }>;
  /** Privilege level of who asked for the report: 0 to 3. Exactly this one. */
  readonly vmpl: Expected<number>;
  /**
   * Compared component by component with the reported TCB, which the signing key proves, and with the committed one, behind which the
   * platform can't go back. A product line that is not listed is skipped.
   */
  readonly tcbFloors: Expected<SnpTcbFloors>;
  /** The same for the TCB at which the guest was launched. */
  readonly launchTcbFloors: Expected<SnpTcbFloors>;
  /** The least firmware ABI that GUEST_POLICY lets the guest run on, wherever it is moved. */
  readonly minGuestAbi: Expected<Pick<SnpFirmwareVersion, 'major' | 'minor'>>;
  /** The oldest firmware the platform may have committed to. */
  readonly minFirmware: Expected<SnpFirmwareVersion>;
  /** Mitigations that must have been in place at launch and still are; reports before version 5 say of none that it is. */
  readonly mitigations: Expected<bigint>;
  /** The lowest GUEST_SVN. */
  readonly minGuestSvn: Expected<number>;
  /** Providers whose keys are accepted, as AMD certified them, e.g. `CN=cc-us-east-2.amazonaws.com`. A VCEK needs none. */
  readonly cspIds: Expected<readonly string[]>;
  /** 16 bytes each. */
  readonly familyId: Expected<Uint8Array>;
  readonly imageId: Expected<Uint8Array>;
  /** 48 bytes; `null` demands that the guest was launched without an ID block, or without an author key. */
  readonly idKeyDigest: Expected<Uint8Array | null>;
  readonly authorKeyDigest: Expected<Uint8Array | null>;
  /** 32 bytes. */
  readonly hostData: Expected<Uint8Array>;
  /** Accepted if one of these matches. */
  readonly measurements: Expected<readonly Measurement[]>;
  /** 64 bytes. */
  readonly reportData: Expected<Uint8Array>;
}

/** Ids of the checks of this step, in order. */
export const SNP_VALIDATE_CHECKS = [
  'snp.debug',
  'snp.migration-agent',
  'snp.smt',
  'snp.cxl',
  'snp.provisional-firmware',
  'snp.guest-restrictions',
  'snp.platform',
  'snp.vmpl',
  'snp.tcb.floor',
  'snp.tcb.launch-floor',
  'snp.guest-abi',
  'snp.firmware',
  'snp.mitigations',
  'snp.guest-svn',
  'snp.csp-id',
  'snp.family-id',
  'snp.image-id',
  'snp.id-key-digest',
  'snp.author-key-digest',
  'snp.host-data',
  'snp.measurement',
  'snp.report-data',
] as const;
type Id = (typeof SNP_VALIDATE_CHECKS)[number];

/** Throws `UsageError` for a policy that makes no sense. */
export function validateSnp(claims: SnpClaims, policy: SnpPolicy): Validation {
  const { guestPolicy, ...said } = claims;
  const measured = checkMeasurement(claims, policy.measurements);
  const checks = [
    allowance('snp.debug', policy.allowDebug, claims.isDebug, 'debugging'),
    migrationCheck(claims, policy.allowMigrationAgent),
    allowance('snp.smt', policy.allowSmt, guestPolicy.isSmtAllowed, 'shared cores'),
    allowance('snp.cxl', policy.allowCxl, guestPolicy.isCxlAllowed, 'memory behind CXL'),
    provisionalCheck(claims, policy.allowProvisionalFirmware),
    restrictionsCheck(guestPolicy, policy.guestRestrictions),
    platformCheck(said.platformInfo, policy.platform),
    vmplCheck(said.vmpl, policy.vmpl),
    floorCheck('snp.tcb.floor', said.product, [said.reportedTcb, said.committedTcb], policy.tcbFloors),
    floorCheck('snp.tcb.launch-floor', said.product, [said.launchTcb], policy.launchTcbFloors),
    guestAbiCheck(guestPolicy, policy.minGuestAbi),
    firmwareCheck(said.committedFirmware, policy.minFirmware),
    mitigationsCheck(claims, policy.mitigations),
    guestSvnCheck(said.guestSvn, policy.minGuestSvn),
    cspCheck(said.cspId, policy.cspIds),
    checkBytes('snp.family-id', said.familyId, policy.familyId),
    checkBytes('snp.image-id', said.imageId, policy.imageId),
    checkBytes('snp.id-key-digest', isZero(said.idKeyDigest) ? null : said.idKeyDigest, policy.idKeyDigest),
    checkBytes(
      'snp.author-key-digest',
      said.isAuthorKeyPresent ? said.authorKeyDigest : null,
      policy.authorKeyDigest,
    ),
    checkBytes('snp.host-data', said.hostData, policy.hostData),
    measured.check,
    checkBytes('snp.report-data', said.reportData, policy.reportData),
  ];
  return { checks, measurement: measured.name };
}

function allowance(id: Id, isAllowed: boolean, isSet: boolean, what: string): Check {
  if (isAllowed) return notApplicable(id, `the policy accepts ${what}`);
  const got = isSet ? 'allowed by the guest policy' : 'not allowed';
  return check(id, id, !isSet, `no ${what}`, got);
}

/** Firmware writes ones where no agent is associated; older one zeros. */
function migrationCheck({ guestPolicy, reportIdMa }: SnpClaims, isAllowed: boolean): Check {
  const id = 'snp.migration-agent';
  if (isAllowed) return notApplicable(id, 'the policy accepts a migration agent');
  const isAssociated = !isZero(reportIdMa) && !reportIdMa.every((byte) => byte === 0xff);
  const { isMigrationAgentAllowed } = guestPolicy;
  const got = isAssociated ? 'one is associated' : isMigrationAgentAllowed ? 'one is allowed' : 'none';
  return check(id, id, !isAssociated && !isMigrationAgentAllowed, 'no migration agent', got);
}

function provisionalCheck(claims: SnpClaims, isAllowed: boolean): Check {
  const id = 'snp.provisional-firmware';
  if (isAllowed) return notApplicable(id, 'the policy accepts firmware that can be rolled back');
  const { currentTcb, committedTcb, currentFirmware, committedFirmware } = claims;
  const text = (tcb: SnpTcb, firmware: SnpFirmwareVersion): string =>
    `${tcbText(tcb)} (${firmwareText(firmware)})`;
  const current = text(currentTcb, currentFirmware);
  const committed = text(committedTcb, committedFirmware);
  return check(id, id, current === committed, `committed ${current}`, `committed ${committed}`);
}

const RESTRICTION_BITS: Readonly<Record<SnpGuestRestriction, (policy: SnpGuestPolicy) => boolean>> = {
  'single-socket': (policy) => policy.isSingleSocketRequired,
  'aes-256-xts': (policy) => policy.isAes256XtsRequired,
  'rapl-disabled': (policy) => policy.isRaplDisabled,
  'ciphertext-hiding': (policy) => policy.isCiphertextHidingRequired,
  'page-swap-disabled': (policy) => policy.isPageSwapDisabled,
};

function restrictionsCheck(
  guestPolicy: SnpGuestPolicy,
  expected: Expected<readonly SnpGuestRestriction[]>,
): Check {
  const id = 'snp.guest-restrictions';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const got = SNP_GUEST_RESTRICTIONS.filter((each) => RESTRICTION_BITS[each](guestPolicy));
  const holds = expected.every((each) => got.includes(each));
  return check(id, id, holds, listText(expected), listText(got));
}

function platformCheck(platformInfo: bigint, expected: SnpPolicy['platform']): Check {
  const id = 'snp.platform';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const isSet = (bit: SnpPlatformBit): boolean => {
    if (!Object.hasOwn(SNP_PLATFORM_BITS, bit)) throw new UsageError(`${bit} is no bit of a platform`);
    return ((platformInfo >> BigInt(SNP_PLATFORM_BITS[bit])) & 1n) === 1n;
  };
  const { required, forbidden } = expected;
  const holds = required.every(isSet) && !forbidden.some(isSet);
  const got = (Object.keys(SNP_PLATFORM_BITS) as SnpPlatformBit[]).filter(isSet);
  return check(id, id, holds, `${listText(required)}; not ${listText(forbidden)}`, listText(got));
}

function listText(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ');
}

function vmplCheck(vmpl: number, expected: Expected<number>): Check {
  if (typeof expected === 'string') return checkWithoutExpectation('snp.vmpl', expected);
  return check('snp.vmpl', 'snp.vmpl', vmpl === integer(expected), `${expected}`, `${vmpl}`);
}

/** Shared with rescoring. */
export function floorCheck(
  id: Id,
  product: SnpProduct,
  tcbs: readonly SnpTcb[],
  floors: Expected<SnpTcbFloors>,
): Check {
  if (typeof floors === 'string') return checkWithoutExpectation(id, floors);
  const found = floors.find((each) => each.product === product);
  if (found === undefined) return skipped(id, 'policy.not-given', `the policy gives no floor for ${product}`);
  const holds = tcbs.every((tcb) => isTcbAtLeast(tcb, found.floor));
  return check(id, id, holds, `at least ${tcbText(found.floor)}`, tcbs.map(tcbText).join('; '));
}

function guestAbiCheck({ abiMajor, abiMinor }: SnpGuestPolicy, expected: SnpPolicy['minGuestAbi']): Check {
  const id = 'snp.guest-abi';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const { major, minor } = expected;
  const holds = abiMajor > major || (abiMajor === major && abiMinor >= minor);
  return check(id, id, holds, `${major}.${minor} or later`, `${abiMajor}.${abiMinor}`);
}

function firmwareCheck(committed: SnpFirmwareVersion, expected: Expected<SnpFirmwareVersion>): Check {
  const id = 'snp.firmware';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  const holds = compareFirmware(committed, expected) >= 0;
  return check(id, id, holds, `${firmwareText(expected)} or later`, firmwareText(committed));
}

function mitigationsCheck(
  { launchMitigations, currentMitigations }: SnpClaims,
  expected: Expected<bigint>,
): Check {
  const id = 'snp.mitigations';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  if (expected < 0n) throw new UsageError(`${expected} is no set of bits`);
  const got = (launchMitigations ?? 0n) & (currentMitigations ?? 0n);
  const holds = (got & expected) === expected;
  return check(id, id, holds, `0x${expected.toString(16)}`, `0x${got.toString(16)}`);
}

function guestSvnCheck(guestSvn: number, expected: Expected<number>): Check {
  const id = 'snp.guest-svn';
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  return check(id, id, guestSvn >= integer(expected), `${expected} or above`, `${guestSvn}`);
}

function cspCheck(cspId: string | null, expected: Expected<readonly string[]>): Check {
  const id = 'snp.csp-id';
  if (cspId === null) return notApplicable(id, "signed by the chip's own key");
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  return check(id, id, expected.includes(cspId), listText(expected), cspId);
}

function integer(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new UsageError(`${value} is no number to compare with`);
  return value;
}
