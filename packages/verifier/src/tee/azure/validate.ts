/** Validation of verified Azure claims: what the hardware is held to, what was launched and booted, and what the guest had signed. */
import { type Check, check, failed, type Measurement } from '@haca/protocol';
import type { Validation } from '../check-run.ts';
import { checkBytes, checkWithoutExpectation, type Expected } from '../expected.ts';
import { checksWithout } from '../inner-checks.ts';
import { TDX_VALIDATE_CHECKS, type TdxPolicy, validateTdx } from '../intel/tdx.ts';
import { checkMeasurement } from '../measurements.ts';
import { SNP_VALIDATE_CHECKS, type SnpPolicy, validateSnp } from '../snp/validate.ts';
import type { AzureClaims } from './claims.ts';
import type { AzureHardware } from './hcl-report.ts';
import type { AzureVmConfiguration } from './runtime-data.ts';

export interface AzurePolicy {
  /** What TDX is held to; without it, Azure evidence on TDX is refused. */
  readonly tdx?: Omit<TdxPolicy, 'measurements' | 'reportData'>;
  /** What SEV-SNP is held to; without it, Azure evidence on SEV-SNP is refused. */
  readonly snp?: Omit<SnpPolicy, 'measurements' | 'reportData' | 'vmpl'>;
  /**
   * Accepted if one of these matches: `measurement` (the paravisor; `mrtd` on TDX) and the PCRs of what booted at least. See
   * `requiredRegisters`.
   */
  readonly measurements: Expected<readonly Measurement[]>;
  /** What the TPM quote was asked for: freshness and binding come from here and nowhere else. */
  readonly extraData: Expected<Uint8Array>;
  /** What the guest had put into the runtime data; `null` demands that nothing is said. */
  readonly userData: Expected<Uint8Array | null>;
  /** Of the VM's configuration as the paravisor states it. `null` demands that it doesn't. */
  readonly secureBoot: Expected<boolean>;
  readonly consoleEnabled: Expected<boolean>;
  readonly interactiveConsoleEnabled: Expected<boolean | null>;
  readonly tpmPersisted: Expected<boolean | null>;
}

/** Of the hardware's checks, those that this kind makes in its own way. */
const REPLACED = ['tdx.measurement', 'tdx.report-data', 'snp.measurement', 'snp.report-data', 'snp.vmpl'];

const OWN_CHECKS = [
  'azure.measurement',
  'azure.extra-data',
  'azure.user-data',
  'azure.secure-boot',
  'azure.console',
  'azure.interactive-console',
  'azure.tpm-persisted',
] as const;

/** Ids of the checks of this step, in order; without those of the hardware where it is not known. */
export function azureValidateChecks(hardware: AzureHardware | null): readonly string[] {
  const ids = { tdx: TDX_VALIDATE_CHECKS, snp: SNP_VALIDATE_CHECKS };
  const inner = hardware === null ? [] : ids[hardware].filter((id) => !REPLACED.includes(id));
  return ['azure.hardware', ...inner, ...OWN_CHECKS];
}

/** Throws `UsageError` where `validateTdx` or `validateSnp` does. */
export function validateAzure(claims: AzureClaims, policy: AzurePolicy): Validation {
  const { extraData, userData, vmConfiguration } = claims;
  const measured = checkMeasurement(claims, policy.measurements);
  const checks = [
    ...hardwareChecks(claims, policy),
    measured.check,
    checkBytes('azure.extra-data', extraData, policy.extraData),
    checkBytes('azure.user-data', userData, policy.userData),
    ...configurationChecks(vmConfiguration, policy),
  ];
  return { checks, measurement: measured.name };
}

function hardwareChecks({ inner }: AzureClaims, policy: AzurePolicy): readonly Check[] {
  const id = 'azure.hardware';
  const waived = { measurements: 'allow-any', reportData: 'allow-any' } as const;
  const allowed = [policy.tdx === undefined ? [] : ['tdx'], policy.snp === undefined ? [] : ['snp']].flat();
  const expected = allowed.length === 0 ? 'hardware with a policy; none has one' : allowed.join(' | ');
  const validation =
    inner.kind === 'tdx'
      ? policy.tdx && validateTdx(inner, { ...policy.tdx, ...waived })
      : policy.snp && validateSnp(inner, { ...policy.snp, ...waived, vmpl: 0 });
  if (validation === undefined) return [failed(id, id, expected, inner.kind)];
  return [check(id, id, true, expected, inner.kind), ...checksWithout(validation.checks, REPLACED)];
}

function configurationChecks(vm: AzureVmConfiguration, policy: AzurePolicy): readonly Check[] {
  return [
    checkFlag('azure.secure-boot', vm.secureBoot, policy.secureBoot),
    checkFlag('azure.console', vm.consoleEnabled, policy.consoleEnabled),
    checkFlag('azure.interactive-console', vm.interactiveConsoleEnabled, policy.interactiveConsoleEnabled),
    checkFlag('azure.tpm-persisted', vm.tpmPersisted, policy.tpmPersisted),
  ];
}

function checkFlag(id: string, got: boolean | null, expected: Expected<boolean | null>): Check {
  if (typeof expected === 'string') return checkWithoutExpectation(id, expected);
  return check(id, id, got === expected, flagText(expected), flagText(got));
}

function flagText(flag: boolean | null): string {
  return flag === null ? 'nothing' : `${flag}`;
}
