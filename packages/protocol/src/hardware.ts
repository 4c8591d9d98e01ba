/** Pieces of hardware by the numbers that their vendors gave them, and the TCB levels that validators may ask of them. */
import {
  bytesOf,
  CborWriter,
  domainHash,
  field,
  nullable,
  oneOf,
  struct,
  type TypeOf,
  uint,
} from '@haca/primitives';

export const HARDWARE_VENDORS = ['intel', 'amd', 'nvidia'] as const;
export type HardwareVendor = (typeof HARDWARE_VENDORS)[number];

/** PPID (16 bytes), AMD chip id (8 or 64 bytes), NVIDIA device identity. */
export const hardwareCodec = struct({
  vendor: field(0, oneOf(...HARDWARE_VENDORS)),
  id: field(1, bytesOf(1, 64)),
});
export type Hardware = TypeOf<typeof hardwareCodec>;

/** 32 bytes. What a test enclave makes up never takes the place of a chip. */
export function hardwareIdOf({ vendor, id }: Hardware, isSimulated: boolean): Uint8Array {
  const writer = new CborWriter();
  writer.arrayHead(3);
  writer.text(vendor);
  writer.bytes(id);
  writer.boolean(isSimulated);
  return domainHash('haca/hardware-id/1', writer.finish());
}

/** Product lines of AMD EPYC with SEV-SNP. */
export const SNP_PRODUCTS = ['milan', 'genoa', 'turin'] as const;
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

const svn = uint(255);

/** Security versions of a platform's firmware, each on its own: a platform is at a floor if none is below it. */
export const snpTcbFloorCodec = struct({
  bootloader: field(0, svn),
  tee: field(1, svn),
  snp: field(2, svn),
  microcode: field(3, svn),
  /** Turin only; null elsewhere. */
  fmc: field(4, nullable(svn)),
});
export type SnpTcbFloor = TypeOf<typeof snpTcbFloorCodec>;

/** Words for how good a platform's TCB is, as Intel uses them. `Revoked` is one too, and never accepted. */
export const TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'RelaunchAdvised',
  'RelaunchAdvisedConfigurationNeeded',
] as const;
export const acceptedTcbStatusCodec = oneOf(...TCB_STATUSES);
export type AcceptedTcbStatus = (typeof TCB_STATUSES)[number];

/** What Intel quotes come in; evidence that wraps a quote goes by `tdx`. */
export const TCB_STATUS_KINDS = ['tdx', 'sgx'] as const;
export type TcbStatusKind = (typeof TCB_STATUS_KINDS)[number];

/** Accepted where the validators decided nothing else. */
export const DEFAULT_TCB_STATUSES: readonly AcceptedTcbStatus[] = ['UpToDate', 'SWHardeningNeeded'];
