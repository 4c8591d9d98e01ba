/** Matching measured registers with approved measurements: never one register alone, always the whole tuple of a kind. */
import { bytesEqual } from '@haca/primitives';
import { type Check, check, type EvidenceKind, failed, type Measurement } from '@haca/protocol';
import type { TeeClaims } from './claims.ts';
import { checkWithoutExpectation, type Expected, shortHex } from './expected.ts';

/** A measurement that leaves one of these out matches nothing. */
const REQUIRED_REGISTERS: Readonly<Record<EvidenceKind, readonly string[]>> = {
  nitro: ['pcr0', 'pcr1', 'pcr2'],
  tdx: ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'],
  sgx: ['mrenclave', 'mrsigner', 'isvprodid', 'isvsvn'],
  snp: ['measurement', 'host-data'],
  nvidia: ['driver-version', 'vbios-version', 'measurements'],
  dstack: ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'compose-hash', 'key-provider'],
  azure: ['measurement', 'pcr4', 'pcr8', 'pcr9', 'pcr11', 'pcr12'],
};

export function requiredRegisters(kind: EvidenceKind): readonly string[] {
  return REQUIRED_REGISTERS[kind];
}

/** Id and code of the check are `<kind>.measurement`. */
export function checkMeasurement(
  { kind, registers }: Pick<TeeClaims, 'kind' | 'registers'>,
  expected: Expected<readonly Measurement[]>,
): { readonly check: Check; readonly name: string | null } {
  const id = `${kind}.measurement`;
  if (typeof expected === 'string') return { check: checkWithoutExpectation(id, expected), name: null };
  const ofKind = expected.filter((measurement) => measurement.kind === kind);
  const found = ofKind.find((measurement) => matches(registers, measurement));
  const names =
    ofKind.length === 0 ? 'an approved measurement; none is' : ofKind.map(({ name }) => name).join(' | ');
  if (found !== undefined) return { check: check(id, '', true, names, found.name), name: found.name };
  return { check: failed(id, id, names, registersText(kind, registers)), name: null };
}

function matches(registers: ReadonlyMap<string, Uint8Array>, measurement: Measurement): boolean {
  const isWhole = REQUIRED_REGISTERS[measurement.kind].every((required) =>
    measurement.registers.some(({ register }) => register === required),
  );
  return (
    isWhole &&
    measurement.registers.every(({ register, value }) => {
      const measured = registers.get(register);
      return measured !== undefined && bytesEqual(measured, value);
    })
  );
}

function registersText(kind: EvidenceKind, registers: ReadonlyMap<string, Uint8Array>): string {
  return REQUIRED_REGISTERS[kind]
    .map((register) => `${register}=${shortHex(registers.get(register) ?? null)}`)
    .join(' ');
}
