import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeCrypto } from '@haca/platform';
import { concatBytes, UsageError } from '@haca/primitives';
import {
  type RegistrationBinding,
  registrationBindingHash,
  type SnpTcbFloor,
  verdictExitCode,
  verdictOf,
} from '@haca/protocol';
import {
  isTcbAtLeast,
  SNP_VALIDATE_CHECKS,
  type SnpClaims,
  type SnpPolicy,
  snpRegistrationPolicy,
  validateSnp,
} from '../src/index.ts';
import { OPEN_POLICY } from './snp-vectors.ts';

const tcb: SnpTcbFloor = { fmc: null, bootloader: 3, tee: 2, snp: 8, microcode: 115 };
const firmware = { major: 1, minor: 55, build: 21 };
const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte);
const MEASURED = new Map([
  ['measurement', filled(48, 1)],
  ['host-data', filled(32, 2)],
  ['id-key-digest', filled(48, 3)],
  ['author-key-digest', filled(48, 4)],
  ['family-id', filled(16, 5)],
  ['image-id', filled(16, 6)],
]);

const claims: SnpClaims = {
  kind: 'snp',
  version: 5,
  guestSvn: 7,
  guestPolicy: {
    bits: 0x30000n,
    abiMajor: 0,
    abiMinor: 0,
    isSmtAllowed: false,
    isMigrationAgentAllowed: false,
    isDebugAllowed: false,
    isSingleSocketRequired: true,
    isCxlAllowed: false,
    isAes256XtsRequired: true,
    isRaplDisabled: false,
    isCiphertextHidingRequired: true,
    isPageSwapDisabled: false,
  },
  familyId: filled(16, 5),
  imageId: filled(16, 6),
  vmpl: 1,
  platformInfo: 0b0010_0101n,
  isAuthorKeyPresent: true,
  isChipKeyMasked: false,
  signingKey: 'vcek',
  reportData: filled(64, 7),
  measurement: filled(48, 1),
  hostData: filled(32, 2),
  idKeyDigest: filled(48, 3),
  authorKeyDigest: filled(48, 4),
  reportId: filled(32, 8),
  reportIdMa: filled(32, 0xff),
  cpuid: { family: 0x19, model: 1, stepping: 1 },
  chipId: filled(64, 9),
  currentFirmware: firmware,
  committedFirmware: firmware,
  launchMitigations: 0b0111n,
  currentMitigations: 0b1101n,
  product: 'milan',
  cspId: null,
  reportedTcb: tcb,
  currentTcb: tcb,
  committedTcb: tcb,
  launchTcb: { ...tcb, snp: 7 },
  certificateSha256: [],
  isSimulated: false,
  isDebug: false,
  registers: MEASURED,
  evidenceEndMs: 0,
  claimsDigest: new Uint8Array(32),
  collateralEndMs: null,
  cloud: null,
  hardware: [],
  facts: new Uint8Array(0),
};

const NOTHING_ALLOWED: SnpPolicy = { ...OPEN_POLICY, allowSmt: false };

function status(id: string, policy: Partial<SnpPolicy>, changes: Partial<SnpClaims> = {}): string {
  const { checks } = validateSnp({ ...claims, ...changes }, { ...NOTHING_ALLOWED, ...policy });
  assert.deepEqual(
    checks.map((check) => check.id),
    SNP_VALIDATE_CHECKS,
  );
  const found = checks.find((check) => check.id === `snp.${id}`);
  if (found?.status === 'failed') assert.equal(found.code, `snp.${id}`);
  return found?.status ?? 'no such check';
}

const guest = (changes: Partial<SnpClaims['guestPolicy']>): Partial<SnpClaims> => ({
  guestPolicy: { ...claims.guestPolicy, ...changes },
});

test('SNP-25 what the policy waives is not applicable, what it does not give is skipped and never ok', () => {
  assert.equal(verdictOf(validateSnp(claims, NOTHING_ALLOWED).checks).ok, true);
  const expectations = Object.entries(OPEN_POLICY).filter(([, value]) => typeof value === 'string');
  assert.equal(expectations.length, 17);
  for (const [name] of expectations) {
    const vlek: Partial<SnpClaims> = name === 'cspIds' ? { cspId: 'CN=a' } : {};
    const { checks } = validateSnp({ ...claims, ...vlek }, { ...NOTHING_ALLOWED, [name]: 'not-given' });
    const verdict = verdictOf(checks);
    assert.equal(checks.filter((check) => check.status === 'skipped').length, 1, name);
    assert.deepEqual([verdict.ok, verdictExitCode(verdict)], [false, 3], name);
  }
});

test('SNP-26 what a guest lets its host do is refused unless it is allowed', () => {
  const cases = [
    ['debug', 'allowDebug', { isDebug: true }],
    ['migration-agent', 'allowMigrationAgent', guest({ isMigrationAgentAllowed: true })],
    ['smt', 'allowSmt', guest({ isSmtAllowed: true })],
    ['cxl', 'allowCxl', guest({ isCxlAllowed: true })],
    ['provisional-firmware', 'allowProvisionalFirmware', { committedTcb: { ...tcb, snp: 7 } }],
  ] as const;
  for (const [id, allowance, changes] of cases) {
    assert.equal(status(id, {}), 'passed', id);
    assert.equal(status(id, {}, changes), 'failed', id);
    assert.equal(status(id, { [allowance]: true }, changes), 'not-applicable', id);
  }
});

test('SNP-26 a migration agent that is associated counts, zeros and ones mean none', () => {
  assert.equal(status('migration-agent', {}, { reportIdMa: filled(32, 0) }), 'passed');
  assert.equal(status('migration-agent', {}, { reportIdMa: filled(32, 0xff) }), 'passed');
  assert.equal(status('migration-agent', {}, { reportIdMa: filled(32, 1) }), 'failed');
  const almost = concatBytes(filled(31, 0xff), Uint8Array.of(0xfe));
  assert.equal(status('migration-agent', {}, { reportIdMa: almost }), 'failed');
});

test('SNP-26 provisional firmware is any difference between current and committed', () => {
  for (const component of ['bootloader', 'tee', 'snp', 'microcode'] as const) {
    const currentTcb = { ...tcb, [component]: tcb[component] + 1 };
    assert.equal(status('provisional-firmware', {}, { currentTcb }), 'failed', component);
  }
  for (const part of ['major', 'minor', 'build'] as const) {
    const currentFirmware = { ...firmware, [part]: firmware[part] + 1 };
    assert.equal(status('provisional-firmware', {}, { currentFirmware }), 'failed', part);
  }
});

test('SNP-27 restrictions upon the host must all be in the guest policy', () => {
  const restrictions = (...guestRestrictions: SnpPolicy['guestRestrictions'] & readonly unknown[]) =>
    status('guest-restrictions', { guestRestrictions } as Partial<SnpPolicy>);
  assert.equal(restrictions(), 'passed');
  assert.equal(restrictions('single-socket', 'aes-256-xts', 'ciphertext-hiding'), 'passed');
  assert.equal(restrictions('rapl-disabled'), 'failed');
  assert.equal(restrictions('single-socket', 'page-swap-disabled'), 'failed');
});

test('SNP-27 bits of the platform are required or forbidden by name', () => {
  const platform = (
    required: (SnpPolicy['platform'] & object)['required'],
    forbidden: (SnpPolicy['platform'] & object)['forbidden'],
  ) => status('platform', { platform: { required, forbidden } });
  assert.equal(platform([], []), 'passed');
  assert.equal(platform(['ecc', 'alias-check-complete'], ['tsme', 'tio']), 'passed');
  assert.equal(platform(['tsme'], []), 'failed');
  assert.equal(platform([], ['smt']), 'failed');
  assert.equal(platform(['iommu-write-safe'], []), 'failed');
  const all = { platformInfo: 0xffn };
  for (const [i, bit] of (['smt', 'tsme', 'ecc', 'rapl-disabled', 'ciphertext-hiding'] as const).entries()) {
    const required = { platform: { required: [bit], forbidden: [] } };
    assert.equal(status('platform', required, { platformInfo: 1n << BigInt(i) }), 'passed', bit);
    assert.equal(status('platform', { platform: { required: [], forbidden: [bit] } }, all), 'failed', bit);
  }
});

test('SNP-27 VMPL is exactly the expected one; firmware and guest versions are lower bounds', () => {
  for (const vmpl of [0, 1, 2, 3]) assert.equal(status('vmpl', { vmpl }), vmpl === 1 ? 'passed' : 'failed');
  const min = (changes: Partial<typeof firmware>) =>
    status('firmware', { minFirmware: { ...firmware, ...changes } });
  assert.equal(min({}), 'passed');
  for (const above of [{ major: 2, minor: 0 }, { minor: 56, build: 0 }, { build: 22 }])
    assert.equal(min(above), 'failed');
  for (const below of [{ major: 0, minor: 99 }, { minor: 54, build: 99 }, { build: 20 }])
    assert.equal(min(below), 'passed');
  assert.equal(status('guest-svn', { minGuestSvn: 7 }), 'passed');
  assert.equal(status('guest-svn', { minGuestSvn: 8 }), 'failed');
});

test('SNP-27 the firmware ABI that the guest asks for is a lower bound', () => {
  const asks = guest({ abiMajor: 1, abiMinor: 31 });
  const abi = (major: number, minor: number) => status('guest-abi', { minGuestAbi: { major, minor } }, asks);
  for (const [major, minor] of [
    [1, 31],
    [1, 0],
    [0, 99],
  ] as const)
    assert.equal(abi(major, minor), 'passed');
  for (const [major, minor] of [
    [1, 32],
    [2, 0],
  ] as const)
    assert.equal(abi(major, minor), 'failed');
});

test('SNP-27 mitigations must have been there at launch and still be', () => {
  for (const [mitigations, expected] of [
    [0n, 'passed'],
    [0b0101n, 'passed'],
    [0b0010n, 'failed'],
    [0b1000n, 'failed'],
    [0b0111n, 'failed'],
  ] as const)
    assert.equal(status('mitigations', { mitigations }), expected, `${mitigations}`);
  const old = { launchMitigations: null, currentMitigations: null };
  assert.equal(status('mitigations', { mitigations: 1n }, old), 'failed');
  assert.equal(status('mitigations', { mitigations: 0n }, old), 'passed');
});

test('SNP-28 floors are compared component by component, never as one number', () => {
  const ids = ['tcb.floor', 'tcb.launch-floor'] as const;
  const at = (floor: SnpTcbFloor, product: 'milan' | 'genoa' = 'milan') => {
    const floors = [{ product, floor }];
    const policy = { tcbFloors: floors, launchTcbFloors: floors };
    return ids.map((id) => status(id, policy));
  };
  assert.deepEqual(at({ ...tcb, snp: 7 }), ['passed', 'passed']);
  assert.deepEqual(at(tcb), ['passed', 'failed'], 'launched below');
  for (const component of ['bootloader', 'tee', 'snp', 'microcode'] as const) {
    const floor = { fmc: null, bootloader: 0, tee: 0, snp: 0, microcode: 0, [component]: tcb[component] + 1 };
    assert.deepEqual(at(floor), ['failed', 'failed'], component);
  }
  assert.deepEqual(at(tcb, 'genoa'), ['skipped', 'skipped'], 'no floor for this product');
  assert.deepEqual(at({ ...tcb, snp: 7, fmc: 0 }), ['passed', 'passed']);
  assert.deepEqual(
    at({ ...tcb, snp: 7, fmc: 1 }),
    ['failed', 'failed'],
    'a component that the product lacks',
  );
  const floors = { tcbFloors: [{ product: 'milan' as const, floor: { ...tcb, snp: 7 } }] };
  assert.equal(
    status('tcb.floor', floors, { committedTcb: { ...tcb, snp: 6 } }),
    'failed',
    'can be rolled back',
  );
  assert.equal(status('tcb.floor', floors, { reportedTcb: { ...tcb, snp: 6 } }), 'failed');
  assert.equal(isTcbAtLeast({ ...tcb, fmc: 2 }, { ...tcb, fmc: 2 }), true);
  assert.equal(isTcbAtLeast({ ...tcb, fmc: 1 }, { ...tcb, fmc: 2 }), false);
});

test("SNP-29 a provider's key is accepted for the providers the policy names", () => {
  const provider = { signingKey: 'vlek', cspId: 'CN=a' } as const;
  assert.equal(status('csp-id', { cspIds: ['CN=b', 'CN=a'] }, provider), 'passed');
  assert.equal(status('csp-id', { cspIds: ['CN=b'] }, provider), 'failed');
  assert.equal(status('csp-id', { cspIds: [] }, provider), 'failed');
  assert.equal(status('csp-id', { cspIds: 'not-given' }, provider), 'skipped');
  assert.equal(status('csp-id', { cspIds: 'not-given' }), 'not-applicable');
});

test('SNP-30 fields must equal the expected bytes, or be absent where absence is expected', () => {
  const fields = [
    ['family-id', 'familyId', 16],
    ['image-id', 'imageId', 16],
    ['id-key-digest', 'idKeyDigest', 48],
    ['author-key-digest', 'authorKeyDigest', 48],
    ['host-data', 'hostData', 32],
    ['report-data', 'reportData', 64],
  ] as const;
  for (const [id, member, length] of fields) {
    assert.equal(status(id, { [member]: claims[member] }), 'passed', id);
    assert.equal(status(id, { [member]: claims[member].subarray(1) }), 'failed', id);
    assert.equal(status(id, { [member]: filled(length, 0xee) }), 'failed', id);
  }
  assert.equal(status('id-key-digest', { idKeyDigest: null }), 'failed');
  assert.equal(status('id-key-digest', { idKeyDigest: null }, { idKeyDigest: filled(48, 0) }), 'passed');
  assert.equal(status('author-key-digest', { authorKeyDigest: null }), 'failed');
  assert.equal(
    status('author-key-digest', { authorKeyDigest: null }, { isAuthorKeyPresent: false }),
    'passed',
  );
  const absent = { isAuthorKeyPresent: false };
  assert.equal(status('author-key-digest', { authorKeyDigest: claims.authorKeyDigest }, absent), 'failed');
});

test('SNP-30 a measurement matches as a whole or not at all', () => {
  const registers = [...MEASURED].map(([register, value]) => ({ register, value }));
  const measured = (...chosen: typeof registers) =>
    status('measurement', { measurements: [{ kind: 'snp', name: 'release', registers: chosen }] });
  const [measurement, hostData, ...rest] = registers as [(typeof registers)[0], (typeof registers)[0]];
  assert.equal(measured(measurement, hostData), 'passed');
  assert.equal(measured(measurement, hostData, ...rest), 'passed');
  assert.equal(measured(measurement), 'failed');
  assert.equal(measured(hostData), 'failed');
  assert.equal(measured(measurement, { ...hostData, value: filled(32, 9) }), 'failed');
  assert.equal(measured(measurement, hostData, { register: 'pcr0', value: filled(48, 1) }), 'failed');
  const tdx = [{ kind: 'tdx' as const, name: 'other', registers: [measurement, hostData] }];
  assert.equal(status('measurement', { measurements: tdx }), 'failed');
});

test('SNP-30 a registration binds all 64 bytes of report data, asked for at VMPL 0', () => {
  const digest = filled(32, 1);
  const binding: RegistrationBinding = {
    chainId: 'haca-test-1',
    operator: digest,
    nodeId: digest,
    keyEpoch: 0,
    signPublicKey: digest,
    hpkePublicKey: null,
    tlsSpkiHash: null,
    modelSetRoot: digest,
    configHash: digest,
    gpuEvidenceRoot: null,
    refHeight: 1,
    refBlockHash: digest,
  };
  assert.deepEqual(snpRegistrationPolicy(nodeCrypto, binding), {
    reportData: registrationBindingHash(nodeCrypto, binding),
    vmpl: 0,
  });
});

test('SNP-25 a policy that makes no sense is a mistake of the caller', () => {
  const policies: readonly Partial<SnpPolicy>[] = [
    { vmpl: -1 },
    { vmpl: 0.5 },
    { minGuestSvn: Number.NaN },
    { mitigations: -1n },
    { platform: { required: ['toString' as never], forbidden: [] } },
  ];
  for (const policy of policies)
    assert.throws(() => validateSnp(claims, { ...NOTHING_ALLOWED, ...policy }), UsageError);
});
