/**
 * The report that the paravisor of an Azure confidential VM (HCL; OpenHCL in its open form) keeps for its guest: the hardware's
 * report, and runtime data whose hash the hardware's report carries. Header and lengths are measured by nobody, so each has one
 * accepted value or follows from the others.
 */
import { MalformedError } from '@haca/primitives';
import { FieldReader } from '../field-reader.ts';

/** 'HCLA', read little-endian. */
const SIGNATURE = 0x414c4348;
/** In a document; paravisors write 1 or 2, which differ in nothing and which nobody vouches for. */
const HEADER_VERSION = 1;
const OTHER_HEADER_VERSION = 2;
/** The paravisor made it to have its TPM attestation key certified: the one that guests can read. */
const AK_CERTIFICATE_REQUEST = 2;
const HEADER_BYTES = 32;
const HARDWARE_BYTES = 1184;
const RUNTIME_HEADER_BYTES = 20;
const RUNTIME_VERSION = 1;
const SHA_256 = 1;
const REPORT_TYPES: ReadonlyMap<number, AzureHardware> = new Map([
  [2, 'snp'],
  [4, 'tdx'],
]);

export const TDREPORT_BYTES = 1024;
/** CPUSVN and MAC of a TDREPORT (Intel TDX module ABI, REPORTMACSTRUCT): nobody but the CPU that made it can check them. */
export const TDREPORT_UNCHECKABLE: readonly (readonly [start: number, end: number])[] = [
  [16, 32],
  [224, 256],
];

export type AzureHardware = 'snp' | 'tdx';

export interface HclReport {
  readonly hardware: AzureHardware;
  /** SNP attestation report of 1,184 bytes, or TDREPORT of 1,024. */
  readonly hardwareReport: Uint8Array;
  /** JSON, as it was hashed. */
  readonly runtimeData: Uint8Array;
}

/** Exactly the report, without what follows it in the TPM's NV index. Throws `MalformedError`. */
export function parseHclReport(bytes: Uint8Array): HclReport {
  const path = 'hclReport';
  const reader = new FieldReader(bytes, path, 'azure');
  reader.expect(SIGNATURE, reader.little(4, 'signature'), 'signature');
  reader.expect(HEADER_VERSION, reader.little(4, 'version'), 'version');
  reader.expect(bytes.length, reader.little(4, 'reportSize'), 'reportSize');
  reader.expect(AK_CERTIFICATE_REQUEST, reader.little(4, 'requestType'), 'requestType');
  reader.zeros(16, 'statusAndReserved');
  const area = reader.take(HARDWARE_BYTES, 'hardwareReport');
  const dataSize = reader.little(4, 'dataSize');
  reader.expect(RUNTIME_VERSION, reader.little(4, 'dataVersion'), 'dataVersion');
  const type = reader.little(4, 'reportType');
  const hardware = REPORT_TYPES.get(type);
  if (hardware === undefined)
    throw new MalformedError('azure.report-type', `${path}.reportType`, '2 (SNP) | 4 (TDX)', `${type}`);
  reader.expect(SHA_256, reader.little(4, 'hashType'), 'hashType');
  const size = reader.little(4, 'variableSize');
  reader.expect(RUNTIME_HEADER_BYTES + size, dataSize, 'dataSize');
  const runtimeData = reader.take(size, 'runtimeData');
  reader.end();
  return { hardware, hardwareReport: reportIn(area, hardware), runtimeData };
}

function reportIn(area: Uint8Array, hardware: AzureHardware): Uint8Array {
  if (hardware === 'snp') return area;
  const reader = new FieldReader(area, 'hclReport.hardwareReport', 'azure');
  const report = reader.take(TDREPORT_BYTES, 'tdReport');
  reader.zeros(HARDWARE_BYTES - TDREPORT_BYTES, 'padding');
  return report;
}

/**
 * What a TPM's NV index holds as a document carries it: without the zeros behind the size it states, with 1 for the version of the
 * header, and, for TDX, with zeros for what nobody can check. What is no such report is returned as it is, for `parseHclReport` to refuse.
 */
export function canonicalHclReport(stored: Uint8Array): Uint8Array {
  if (stored.length < HEADER_BYTES + HARDWARE_BYTES + RUNTIME_HEADER_BYTES) return stored;
  const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength);
  const size = view.getUint32(8, true);
  if (size > stored.length || stored.subarray(size).some((byte) => byte !== 0)) return stored;
  const report = new Uint8Array(stored.subarray(0, size));
  if (view.getUint32(4, true) === OTHER_HEADER_VERSION) report[4] = HEADER_VERSION;
  if (REPORT_TYPES.get(view.getUint32(HEADER_BYTES + HARDWARE_BYTES + 8, true)) === 'tdx')
    for (const [start, end] of TDREPORT_UNCHECKABLE) report.fill(0, HEADER_BYTES + start, HEADER_BYTES + end);
  return report;
}
