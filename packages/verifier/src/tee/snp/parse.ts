/**
 * The SEV-SNP attestation report as bytes: ATTESTATION_REPORT of AMD's SEV-SNP firmware ABI (document 56860, table "Attestation
 * Report Structure"; versions 2 to 6). Integers are little-endian. Parsing checks form and nothing else; what a product defines
 * for itself (the layout of TCB_VERSION, how long a chip id is) is left to `product.ts`.
 */
import { MalformedError } from '@haca/primitives';

export const SNP_REPORT_BYTES = 1184;
/** What the signature covers, from the first byte. */
export const SNP_SIGNED_BYTES = 0x2a0;
/**
 * Versions read. 3 added the CPUID fields, 5 the mitigation vectors, 6 the extended TCB versions (current, launch, committed; 32
 * bytes each), which mean something on the product line after Turin alone and are not looked at; 4 is laid out as 3.
 */
export const SNP_REPORT_VERSIONS: readonly number[] = [2, 3, 4, 5, 6];
const EXTENDED_TCBS = [0x220, 0x280] as const;

/** Which key signed a report. */
export type SnpSigningKey = 'vcek' | 'vlek' | 'none';

/** What the launcher of a guest forbade or allowed its host: GUEST_POLICY. */
export interface SnpGuestPolicy {
  /** The 64 bits as they are. */
  readonly bits: bigint;
  /** The least firmware ABI the guest may run on. */
  readonly abiMajor: number;
  readonly abiMinor: number;
  readonly isSmtAllowed: boolean;
  readonly isMigrationAgentAllowed: boolean;
  readonly isDebugAllowed: boolean;
  readonly isSingleSocketRequired: boolean;
  readonly isCxlAllowed: boolean;
  readonly isAes256XtsRequired: boolean;
  readonly isRaplDisabled: boolean;
  readonly isCiphertextHidingRequired: boolean;
  readonly isPageSwapDisabled: boolean;
}

export interface SnpFirmwareVersion {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

/** CPUID Fn0000_0001_EAX of the processor, its extended parts added. */
export interface SnpCpuid {
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
}

/** Byte fields are copies. TCB versions are 8 bytes as they stand in the report. */
export interface SnpReport {
  readonly version: number;
  readonly guestSvn: number;
  readonly guestPolicy: SnpGuestPolicy;
  /** 16 bytes each, given at launch. */
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  /** Privilege level that asked for the report: 0 (most) to 3. */
  readonly vmpl: number;
  readonly currentTcb: Uint8Array;
  /** PLATFORM_INFO: bits of `SNP_PLATFORM_BITS`. */
  readonly platformInfo: bigint;
  readonly isAuthorKeyPresent: boolean;
  /** The chip's own key is not used on this platform. */
  readonly isChipKeyMasked: boolean;
  readonly signingKey: SnpSigningKey;
  /** 64 bytes by the guest. */
  readonly reportData: Uint8Array;
  /** 48 bytes: the launch digest. */
  readonly measurement: Uint8Array;
  /** 32 bytes by the host at launch. */
  readonly hostData: Uint8Array;
  /** 48 bytes each: SHA-384 of the keys that signed the ID block; zero without one. */
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  /** 32 bytes each: this guest and its migration agent (all 0xff: none). */
  readonly reportId: Uint8Array;
  readonly reportIdMa: Uint8Array;
  readonly reportedTcb: Uint8Array;
  /** Null in version 2. */
  readonly cpuid: SnpCpuid | null;
  /** 64 bytes; all zero where the platform hides it. */
  readonly chipId: Uint8Array;
  readonly committedTcb: Uint8Array;
  readonly currentFirmware: SnpFirmwareVersion;
  readonly committedFirmware: SnpFirmwareVersion;
  readonly launchTcb: Uint8Array;
  /** One bit for each mitigation that is in place; null before version 5. */
  readonly launchMitigations: bigint | null;
  readonly currentMitigations: bigint | null;
  /** 96 bytes: r || s, big-endian. */
  readonly signature: Uint8Array;
  /** The first 672 bytes. */
  readonly signed: Uint8Array;
}

const GUEST_POLICY_RESERVED_ONE = 17n;
const GUEST_POLICY_BITS = 26n;
/** Named bits of PLATFORM_INFO. Bit 6 is named by no public revision of 56860; Turin sets it where IOMMU writes are checked. */
export const SNP_PLATFORM_BITS = {
  smt: 0,
  tsme: 1,
  ecc: 2,
  'rapl-disabled': 3,
  'ciphertext-hiding': 4,
  'alias-check-complete': 5,
  'iommu-write-safe': 6,
  tio: 7,
} as const;
const PLATFORM_INFO_BITS = 8n;
const KEY_FLAGS_BITS = 5;
const SIGNING_KEYS: ReadonlyMap<number, SnpSigningKey> = new Map([
  [0, 'vcek'],
  [1, 'vlek'],
  [7, 'none'],
]);
/** ECDSA with P-384 and SHA-384. */
const SIGNATURE_ALGORITHM = 1;
const VMPL_MAX = 3;
const SIGNATURE_AT = SNP_SIGNED_BYTES;
/** Each of r and s has 72 bytes for its 48. */
const COORDINATE_BYTES = 72;
const P384_BYTES = 48;

/** Exactly one report, in the one form its version has: what is reserved is zero. Throws `MalformedError`. */
export function parseSnpReport(bytes: Uint8Array): SnpReport {
  if (bytes.length !== SNP_REPORT_BYTES)
    malformed('snp.report-length', 'report', `${SNP_REPORT_BYTES} bytes`, `${bytes.length}`);
  const version = u32(bytes, 0);
  if (!SNP_REPORT_VERSIONS.includes(version))
    malformed('snp.report-version', 'report.version', SNP_REPORT_VERSIONS.join(' | '), `${version}`);
  checkReserved(bytes, version);
  const algorithm = u32(bytes, 0x34);
  if (algorithm !== SIGNATURE_ALGORITHM)
    malformed(
      'snp.signature-algorithm',
      'report.signatureAlgo',
      '1: ECDSA P-384 with SHA-384',
      `${algorithm}`,
    );
  const take = (from: number, length: number): Uint8Array => copy(bytes, from, length);
  return {
    version,
    guestSvn: u32(bytes, 4),
    guestPolicy: readGuestPolicy(u64(bytes, 8)),
    familyId: take(0x10, 16),
    imageId: take(0x20, 16),
    vmpl: readVmpl(bytes),
    currentTcb: take(0x38, 8),
    platformInfo: readPlatformInfo(bytes),
    ...readKeyFlags(u32(bytes, 0x48)),
    reportData: take(0x50, 64),
    measurement: take(0x90, 48),
    hostData: take(0xc0, 32),
    idKeyDigest: take(0xe0, 48),
    authorKeyDigest: take(0x110, 48),
    reportId: take(0x140, 32),
    reportIdMa: take(0x160, 32),
    reportedTcb: take(0x180, 8),
    cpuid: version < 3 ? null : readCpuid(bytes),
    chipId: take(0x1a0, 64),
    committedTcb: take(0x1e0, 8),
    currentFirmware: readFirmwareVersion(bytes, 0x1e8),
    committedFirmware: readFirmwareVersion(bytes, 0x1ec),
    launchTcb: take(0x1f0, 8),
    launchMitigations: version < 5 ? null : u64(bytes, 0x1f8),
    currentMitigations: version < 5 ? null : u64(bytes, 0x200),
    signature: readSignature(bytes),
    signed: take(0, SNP_SIGNED_BYTES),
  };
}

/** Every byte that a version leaves to the future, and the tails of r, s and the signature field. */
function checkReserved(bytes: Uint8Array, version: number): void {
  const ranges: readonly (readonly [from: number, to: number])[] = [
    [0x4c, 0x50],
    [version < 3 ? 0x188 : 0x18b, 0x1a0],
    [0x1eb, 0x1ec],
    [0x1ef, 0x1f0],
    [version < 5 ? 0x1f8 : 0x208, version < 6 ? SIGNATURE_AT : EXTENDED_TCBS[0]],
    [version < 6 ? SIGNATURE_AT : EXTENDED_TCBS[1], SIGNATURE_AT],
    [SIGNATURE_AT + P384_BYTES, SIGNATURE_AT + COORDINATE_BYTES],
    [SIGNATURE_AT + COORDINATE_BYTES + P384_BYTES, SNP_REPORT_BYTES],
  ];
  for (const [from, to] of ranges) {
    for (let at = from; at < to; at++) {
      if (bytes[at] !== 0) malformed('snp.reserved', `report.${hex(at)}`, '0', `${bytes[at]}`);
    }
  }
}

function readGuestPolicy(bits: bigint): SnpGuestPolicy {
  const isSet = (bit: bigint): boolean => ((bits >> bit) & 1n) === 1n;
  if (!isSet(GUEST_POLICY_RESERVED_ONE) || bits >> GUEST_POLICY_BITS !== 0n) {
    const expected = `bit ${GUEST_POLICY_RESERVED_ONE} set and none from ${GUEST_POLICY_BITS} on`;
    malformed('snp.guest-policy', 'report.guestPolicy', expected, `0x${bits.toString(16)}`);
  }
  return {
    bits,
    abiMajor: Number((bits >> 8n) & 0xffn),
    abiMinor: Number(bits & 0xffn),
    isSmtAllowed: isSet(16n),
    isMigrationAgentAllowed: isSet(18n),
    isDebugAllowed: isSet(19n),
    isSingleSocketRequired: isSet(20n),
    isCxlAllowed: isSet(21n),
    isAes256XtsRequired: isSet(22n),
    isRaplDisabled: isSet(23n),
    isCiphertextHidingRequired: isSet(24n),
    isPageSwapDisabled: isSet(25n),
  };
}

/** A report that the host asked for has 0xffffffff here: no guest stands behind it. */
function readVmpl(bytes: Uint8Array): number {
  const vmpl = u32(bytes, 0x30);
  if (vmpl > VMPL_MAX) malformed('snp.vmpl', 'report.vmpl', `at most ${VMPL_MAX}`, `${vmpl}`);
  return vmpl;
}

function readPlatformInfo(bytes: Uint8Array): bigint {
  const bits = u64(bytes, 0x40);
  if (bits >> PLATFORM_INFO_BITS !== 0n)
    malformed(
      'snp.platform-info',
      'report.platformInfo',
      `no bit from ${PLATFORM_INFO_BITS} on`,
      `0x${bits.toString(16)}`,
    );
  return bits;
}

function readKeyFlags(
  flags: number,
): Pick<SnpReport, 'isAuthorKeyPresent' | 'isChipKeyMasked' | 'signingKey'> {
  const signingKey = SIGNING_KEYS.get((flags >>> 2) & 7);
  if (signingKey === undefined || flags >>> KEY_FLAGS_BITS !== 0)
    malformed('snp.key-flags', 'report.keyFlags', 'signing key 0, 1 or 7 and no reserved bit', hex(flags));
  return { isAuthorKeyPresent: (flags & 1) !== 0, isChipKeyMasked: (flags & 2) !== 0, signingKey };
}

function readCpuid(bytes: Uint8Array): SnpCpuid {
  return { family: u8(bytes, 0x188), model: u8(bytes, 0x189), stepping: u8(bytes, 0x18a) };
}

function readFirmwareVersion(bytes: Uint8Array, at: number): SnpFirmwareVersion {
  return { build: u8(bytes, at), minor: u8(bytes, at + 1), major: u8(bytes, at + 2) };
}

function readSignature(bytes: Uint8Array): Uint8Array {
  const r = copy(bytes, SIGNATURE_AT, P384_BYTES).reverse();
  const s = copy(bytes, SIGNATURE_AT + COORDINATE_BYTES, P384_BYTES).reverse();
  const signature = new Uint8Array(2 * P384_BYTES);
  signature.set(r);
  signature.set(s, P384_BYTES);
  return signature;
}

/** Not `slice`: on a Node Buffer that would be a view of the caller's memory. */
function copy(bytes: Uint8Array, from: number, length: number): Uint8Array {
  return new Uint8Array(bytes.subarray(from, from + length));
}

function u8(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (u8(bytes, at) | (u8(bytes, at + 1) << 8) | (u8(bytes, at + 2) << 16)) + u8(bytes, at + 3) * 0x1000000
  );
}

function u64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(u32(bytes, at + 4)) << 32n) | BigInt(u32(bytes, at));
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function malformed(code: string, path: string, expected: string, got: string): never {
  throw new MalformedError(code, path, expected, got);
}
