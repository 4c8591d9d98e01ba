/**
 * How evidence behind a registration is judged, in one place for full nodes and clients: from what a chain's records say to the roots
 * and policies of every kind. Debug modes are refused everywhere.
 */
import type { CryptoProvider } from '@haca/primitives';
import {
  DEFAULT_TCB_STATUSES,
  type EvidenceKind,
  type EvidencePolicyRecord,
  type Measurement,
  type RegistrationBinding,
  SNP_PRODUCTS,
  type SnpTcbFloor,
  type TcbStatusKind,
} from '@haca/protocol';
import type { RevokedCertificate } from './der/chain.ts';
import type { EvidenceContext } from './evidence.ts';
import { azureRegistrationPolicy } from './tee/azure/registration-policy.ts';
import type { AzurePolicy } from './tee/azure/validate.ts';
import type { CollateralSource } from './tee/collateral.ts';
import { dstackRegistrationPolicy } from './tee/dstack/registration-policy.ts';
import type { Expected } from './tee/expected.ts';
import type { IntelTcbPolicy } from './tee/intel/policy.ts';
import { intelRegistrationPolicy } from './tee/intel/registration-policy.ts';
import type { SgxPolicy } from './tee/intel/sgx.ts';
import type { TdxPolicy } from './tee/intel/tdx.ts';
import { nitroRegistrationPolicy } from './tee/nitro/registration-policy.ts';
import { nvidiaRegistrationPolicy } from './tee/nvidia/registration-policy.ts';
import type { NvidiaPolicy } from './tee/nvidia/validate.ts';
import { snpRegistrationPolicy } from './tee/snp/registration-policy.ts';
import type { SnpPolicy } from './tee/snp/validate.ts';
import type { Acceptance } from './tee/trust.ts';
import { genesisTrustRoots, type TrustRoot } from './tee/trust-root.ts';

/** What the records of a chain say about evidence as of a block. */
export interface EvidenceRules {
  /** Of genesis: whether test roots are accepted, and which, by SHA-256. */
  readonly simulated: boolean;
  readonly testRoots: readonly Uint8Array[];
  /** Those that may open a key now. */
  readonly measurements: readonly Measurement[];
  readonly revoked: readonly RevokedCertificate[];
  readonly collateral: CollateralSource;
  readonly collateralGraceMs: number;
  readonly tcbStatuses: EvidencePolicyRecord['tcbStatuses'];
  readonly tcbFloors: EvidencePolicyRecord['tcbFloors'];
  /** Bounds on the evidence's own time, where it carries one. */
  readonly evidenceAgeMaxMs: number;
  readonly evidenceSkewMaxMs: number;
  /** Block time. */
  readonly nowMs: number;
}

/** Roots that genesis allows for a piece of collateral: Intel's and AMD's, and test roots where it is simulated. */
export function collateralRoots(rules: Pick<EvidenceRules, 'simulated' | 'testRoots'>): readonly TrustRoot[] {
  return genesisTrustRoots('azure', rules);
}

/** Everything to appraise the documents behind a registration by. */
export function registrationContext(
  crypto: CryptoProvider,
  binding: RegistrationBinding,
  rules: EvidenceRules,
): EvidenceContext {
  return contextOf(crypto, rules, {
    measurements: rules.measurements,
    nitro: nitroRegistrationPolicy(crypto, binding),
    reportData: intelRegistrationPolicy(crypto, binding).reportData,
    snp: snpRegistrationPolicy(crypto, binding),
    dstack: dstackRegistrationPolicy(crypto, binding),
    azure: azureRegistrationPolicy(crypto, binding),
    nvidia: nvidiaRegistrationPolicy(binding),
  });
}

/** Everything to judge facts again by (`rescoreEvidence`): what was proved before is not asked for. */
export function rescoringContext(crypto: CryptoProvider, rules: EvidenceRules): EvidenceContext {
  return contextOf(crypto, rules, {
    measurements: 'not-given',
    nitro: { userData: 'not-given', nonce: 'not-given', publicKey: 'not-given' },
    reportData: 'not-given',
    snp: { reportData: 'not-given', vmpl: 0 },
    dstack: { reportData: 'not-given' },
    azure: { extraData: 'not-given' },
    nvidia: { nonce: 'not-given' },
  });
}

/** What is expected of the documents themselves. */
interface Expectations {
  readonly measurements: Expected<readonly Measurement[]>;
  readonly nitro: ReturnType<typeof nitroRegistrationPolicy>;
  readonly reportData: Expected<Uint8Array>;
  readonly snp: ReturnType<typeof snpRegistrationPolicy>;
  readonly dstack: ReturnType<typeof dstackRegistrationPolicy>;
  readonly azure: ReturnType<typeof azureRegistrationPolicy>;
  readonly nvidia: ReturnType<typeof nvidiaRegistrationPolicy>;
}

function contextOf(crypto: CryptoProvider, rules: EvidenceRules, expected: Expectations): EvidenceContext {
  const { nowMs, revoked, collateral, collateralGraceMs } = rules;
  const { measurements } = expected;
  const accepted = <Policy>(kind: EvidenceKind, policy: Policy): Acceptance<Policy> => ({
    roots: genesisTrustRoots(kind, rules),
    policy,
  });
  const td = tdPolicy(rules);
  // Azure's paravisor takes the faults of its guest, so its TDs don't have SEPT_VE_DISABLE.
  const azureTd = { ...td, septVeDisable: 'allow-any' } as const;
  const snp = snpPolicy(rules);
  return {
    crypto,
    nowMs,
    revoked,
    collateral,
    collateralGraceMs,
    nitro: accepted('nitro', {
      allowDebug: false,
      measurements,
      maxAgeMs: rules.evidenceAgeMaxMs,
      maxFutureSkewMs: rules.evidenceSkewMaxMs,
      ...expected.nitro,
    }),
    tdx: accepted('tdx', { ...td, measurements, reportData: expected.reportData }),
    sgx: accepted('sgx', { ...sgxPolicy(rules), measurements, reportData: expected.reportData }),
    snp: accepted('snp', { ...snp, measurements, ...expected.snp }),
    // The compose hash is part of every measurement, so an application id of other making says nothing more.
    dstack: accepted('dstack', { ...td, measurements, requireAppIdFromCompose: false, ...expected.dstack }),
    azure: accepted('azure', { ...AZURE_CONFIGURATION, tdx: azureTd, snp, measurements, ...expected.azure }),
    nvidia: accepted('nvidia', { ...NVIDIA_DEVICE, measurements, ...expected.nvidia }),
  };
}

function tcbPolicy(kind: TcbStatusKind, { tcbStatuses }: EvidenceRules): IntelTcbPolicy {
  const known = tcbStatuses.find(({ evidenceKind }) => evidenceKind === kind);
  return {
    tcbStatuses: known?.statuses ?? DEFAULT_TCB_STATUSES,
    // What the chain holds never goes back.
    minTcbEvaluationDataNumber: 'allow-any',
  };
}

/**
 * A TD whose host can't take its pages away unseen, and that no service TD can move to another host. What else a TD may have is for
 * its measurement to say: `tdattributes`, `xfam` and `mrservicetd` are registers.
 */
function tdPolicy(rules: EvidenceRules): Omit<TdxPolicy, 'measurements' | 'reportData'> {
  return {
    ...tcbPolicy('tdx', rules),
    allowDebug: false,
    septVeDisable: true,
    migratable: false,
    xfam: 'allow-any',
    serviceTd: 'allow-any',
  };
}

function sgxPolicy(rules: EvidenceRules): Omit<SgxPolicy, 'measurements' | 'reportData'> {
  return { ...tcbPolicy('sgx', rules), allowDebug: false, provisionKey: 'allow-any' };
}

const NO_FLOOR: SnpTcbFloor = { bootloader: 0, tee: 0, snp: 0, microcode: 0, fmc: null };

/** A guest that no migration agent can move. The floors hold at launch as well. */
function snpPolicy({ tcbFloors: known }: EvidenceRules) {
  const tcbFloors = SNP_PRODUCTS.map((product) => ({
    product,
    floor: known.find((each) => each.product === product)?.floor ?? NO_FLOOR,
  }));
  return {
    allowDebug: false,
    allowMigrationAgent: false,
    // Clouds run guests with both threads of a core, and it is the guest's policy that says so.
    allowSmt: true,
    allowCxl: false,
    // Clouds run firmware before they commit to it. What it can be rolled back to is the committed TCB, which has to meet the floors.
    allowProvisionalFirmware: true,
    guestRestrictions: 'allow-any',
    platform: 'allow-any',
    tcbFloors,
    launchTcbFloors: tcbFloors,
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
  } as const satisfies Omit<SnpPolicy, 'measurements' | 'reportData' | 'vmpl'>;
}

/** What booted is in the measurement; how the host set the machine up tells no more. */
const AZURE_CONFIGURATION = {
  userData: 'allow-any',
  secureBoot: 'allow-any',
  consoleEnabled: 'allow-any',
  interactiveConsoleEnabled: 'allow-any',
  tpmPersisted: 'allow-any',
} as const satisfies Partial<AzurePolicy>;

/** NVIDIA revokes online only: what it revoked comes to a chain by decree, as issuer and serial. */
const NVIDIA_DEVICE = {
  allowDebug: false,
  revocation: 'allow-any',
  architectures: 'allow-any',
  modes: 'allow-any',
  goldenMeasurements: 'allow-any',
  // Who approves a measurement compares it with NVIDIA's manifests; what is on chain is the outcome.
  manifests: 'allow-any',
  serviceKeys: 'not-given',
} as const satisfies Partial<NvidiaPolicy>;
