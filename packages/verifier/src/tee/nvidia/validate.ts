/**
 * Validation of verified NVIDIA claims against a policy. Every expected value comes from the caller; a value he did not give
 * is a skipped check, and one he waives by name is not applicable. All checks run, so one look shows all that is wrong.
 */
import { type Check, check, type Measurement, notApplicable, skipped } from '@haca/protocol';
import type { Validation } from '../check-run.ts';
import { checkBytes, checkWithoutExpectation, type Expected } from '../expected.ts';
import { checkMeasurement } from '../measurements.ts';
import type { NvidiaClaims } from './claims.ts';
import type { NvidiaMode } from './fields.ts';
import { checkGolden, type GoldenMeasurement } from './golden.ts';
import type { NvidiaArchitecture } from './names.ts';
import { type ManifestsAppraisal, NVIDIA_RIM_CHECKS, type NvidiaManifestPolicy } from './rim-checks.ts';

export interface NvidiaPolicy extends NvidiaManifestPolicy {
  /** Accept firmware that says it runs in debug or recovery mode or unsecured. */
  readonly allowDebug: boolean;
  /** The 32 bytes the device was to be asked with. */
  readonly nonce: Expected<Uint8Array>;
  /**
   * NVIDIA takes devices and signers of manifests back by OCSP alone, which needs a network: the check is skipped unless the policy waives it by name.
   * Certificates that are known to be revoked are refused either way.
   */
  readonly revocation: 'not-given' | 'allow-any';
  readonly architectures: Expected<readonly NvidiaArchitecture[]>;
  /** How a GPU may be used; not asked of a switch. */
  readonly modes: Expected<readonly NvidiaMode[]>;
  /** Accepted if one of these matches: registers `driver-version`, `vbios-version`, `measurements`, `mode`, `architecture`. */
  readonly measurements: Expected<readonly Measurement[]>;
  /** Golden measurements that the caller knows himself. Not asked for where signed manifests give them. */
  readonly goldenMeasurements: Expected<readonly GoldenMeasurement[]>;
  /**
   * Keys of the attestation service that its tokens may be signed with, by SHA-256 (RFC 7638). Not given: none is trusted, wherever
   * it was found. No evidence of a device is judged by it.
   */
  readonly serviceKeys: Expected<readonly Uint8Array[]>;
}

/** Ids of the checks of this step, in order. */
export const NVIDIA_VALIDATE_CHECKS = [
  'nvidia.nonce',
  'nvidia.revocation',
  'nvidia.debug',
  'nvidia.architecture',
  'nvidia.mode',
  'nvidia.measurement',
  'nvidia.golden',
  ...NVIDIA_RIM_CHECKS,
] as const;

/** `manifests` is what `appraiseManifests` gives for these claims and this policy. */
export function validateNvidia(
  claims: NvidiaClaims,
  policy: NvidiaPolicy,
  manifests: ManifestsAppraisal,
): Validation {
  const measured = checkMeasurement(claims, policy.measurements);
  const checks = [
    checkBytes('nvidia.nonce', claims.nonce, policy.nonce),
    revocationCheck(policy),
    debugCheck(claims, policy),
    checkOneOf('nvidia.architecture', claims.architecture, policy.architectures),
    modeCheck(claims, policy),
    measured.check,
    goldenCheck(claims, policy, manifests),
    ...manifests.checks,
  ];
  return { checks, measurement: measured.name };
}

function goldenCheck(
  claims: NvidiaClaims,
  { goldenMeasurements }: NvidiaPolicy,
  { isWhole }: ManifestsAppraisal,
): Check {
  return goldenMeasurements === 'not-given' && isWhole
    ? notApplicable('nvidia.golden', 'the manifests give them')
    : checkGolden(claims, goldenMeasurements);
}

function revocationCheck({ revocation }: NvidiaPolicy): Check {
  const id = 'nvidia.revocation';
  return revocation === 'allow-any'
    ? notApplicable(id, 'the policy waives it: known revocations were looked at, OCSP was not asked')
    : skipped(id, 'nvidia.ocsp-offline', 'NVIDIA revokes by OCSP, which can not be asked offline');
}

function debugCheck({ diceFlags }: NvidiaClaims, { allowDebug }: NvidiaPolicy): Check {
  const id = 'nvidia.debug';
  if (allowDebug) return notApplicable(id, 'the policy allows debug mode');
  if (diceFlags === null)
    return notApplicable(id, 'evidence of this device has no debug flag: its measurements tell');
  const got = diceFlags.length === 0 ? 'none of them' : diceFlags.join(', ');
  return check(id, 'nvidia.debug-mode', diceFlags.length === 0, 'not notSecure, recovery or debug', got);
}

function modeCheck({ deviceType, mode }: NvidiaClaims, { modes }: NvidiaPolicy): Check {
  return deviceType === 'gpu'
    ? checkOneOf('nvidia.mode', mode, modes)
    : notApplicable('nvidia.mode', 'a switch has no such mode');
}

function checkOneOf<T extends string>(id: string, got: T, expected: Expected<readonly T[]>): Check {
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  return check(id, id, expected.includes(got), expected.length === 0 ? 'none' : expected.join(' | '), got);
}
