/** The fields of a report that are judged, read from its opaque data by the kind of device. */
import { MalformedError, toHex } from '@haca/primitives';
import type { NvidiaDeviceType } from './names.ts';
import { OPAQUE_VERSION_MAX, type OpaqueData } from './opaque-data.ts';

/** Types of opaque fields, as NVIDIA numbers them. */
export const FIELD = {
  driverVersion: 3,
  vbiosVersion: 6,
  nvdec0Status: 11,
  fwid: 20,
  protectedPcieStatus: 21,
  opaqueVersion: 34,
  featureFlag: 36,
} as const;

const ENABLED = 0xaa;
const DISABLED = 0x55;
const FWID_BYTES = 48;
const VERSION_MAX_BYTES = 64;

/** How a GPU is used: alone, as one of several behind encrypted NVLink, or as one of several with protected PCIe. */
export type NvidiaMode = 'spt' | 'mpt' | 'ppcie' | 'unreported';
const FEATURE_FLAGS: readonly NvidiaMode[] = ['spt', 'mpt', 'ppcie'];

export interface NvidiaFields {
  /** Null for a switch. */
  readonly driverVersion: string | null;
  /** As NVIDIA prints it and names its reference manifests, e.g. `96.00.9F.00.01`. */
  readonly vbiosVersion: string;
  /** Null where a switch has none. */
  readonly fwid: Uint8Array | null;
  /** NVDEC0 is off, and with it the measurement of its firmware. */
  readonly nvdec0Disabled: boolean;
  readonly mode: NvidiaMode;
}

/** Throws `MalformedError` where a field that the kind of device has to have is missing or has no known form. */
export function readNvidiaFields(opaque: OpaqueData, type: NvidiaDeviceType): NvidiaFields {
  if (type === 'nvswitch')
    return {
      driverVersion: null,
      vbiosVersion: printable(required(opaque, 'vbiosVersion'), 'vbiosVersion'),
      fwid: fieldOf(opaque, 'fwid'),
      nvdec0Disabled: false,
      mode: 'unreported',
    };
  checkVersion(opaque);
  return {
    driverVersion: printable(required(opaque, 'driverVersion'), 'driverVersion'),
    vbiosVersion: gpuVbiosVersion(required(opaque, 'vbiosVersion')),
    fwid: sized(required(opaque, 'fwid'), FWID_BYTES, 'fwid'),
    nvdec0Disabled: !isEnabled(required(opaque, 'nvdec0Status'), 'nvdec0Status'),
    mode: modeOf(opaque),
  };
}

type FieldName = keyof typeof FIELD;

function fieldOf({ fields }: OpaqueData, name: FieldName): Uint8Array | null {
  return fields.get(FIELD[name])?.value ?? null;
}

function required(opaque: OpaqueData, name: FieldName): Uint8Array {
  return fieldOf(opaque, name) ?? fail(name, `field ${FIELD[name]}`, 'none');
}

function sized(value: Uint8Array, sizeBytes: number, name: FieldName): Uint8Array {
  return value.length === sizeBytes ? value : fail(name, `${sizeBytes} bytes`, `${value.length}`);
}

function checkVersion(opaque: OpaqueData): void {
  const value = fieldOf(opaque, 'opaqueVersion');
  // Behind a header the header's version counts; NVIDIA ignores the field there.
  if (value === null || opaque.headerVersion !== null) return;
  const version = littleEndian(value, 'opaqueVersion');
  if (version > OPAQUE_VERSION_MAX) fail('opaqueVersion', `at most ${OPAQUE_VERSION_MAX}`, `${version}`);
}

function isEnabled(value: Uint8Array, name: FieldName): boolean {
  const [status] = sized(value, 1, name);
  if (status !== ENABLED && status !== DISABLED) return fail(name, 'aa or 55', toHex(value));
  return status === ENABLED;
}

/** Older drivers report protected PCIe alone. */
function modeOf(opaque: OpaqueData): NvidiaMode {
  const flag = fieldOf(opaque, 'featureFlag');
  if (flag !== null) {
    const value = littleEndian(flag, 'featureFlag');
    return FEATURE_FLAGS[value] ?? fail('featureFlag', `0 to ${FEATURE_FLAGS.length - 1}`, `${value}`);
  }
  const status = fieldOf(opaque, 'protectedPcieStatus');
  return status !== null && isEnabled(status, 'protectedPcieStatus') ? 'ppcie' : 'unreported';
}

function littleEndian(value: Uint8Array, name: FieldName): number {
  if (value.length < 1 || value.length > 4) return fail(name, '1 to 4 bytes', `${value.length}`);
  return value.reduceRight((sum, octet) => sum * 256 + octet, 0);
}

/** ASCII without control characters; NVIDIA ends it with zero bytes. */
function printable(value: Uint8Array, name: FieldName): string {
  let length = value.length;
  while (length > 0 && value[length - 1] === 0) length--;
  const text = value.subarray(0, length);
  if (length === 0 || length > VERSION_MAX_BYTES || text.some((octet) => octet < 0x21 || octet > 0x7e))
    return fail(name, `1 to ${VERSION_MAX_BYTES} printable characters`, toHex(value.subarray(0, 32)));
  return String.fromCharCode(...text);
}

/** Eight bytes: a 32-bit version, little-endian, then the OEM's part in one byte, then three zero bytes. */
function gpuVbiosVersion(value: Uint8Array): string {
  const [d = 0, c = 0, b = 0, a = 0, oem = 0, ...rest] = sized(value, 8, 'vbiosVersion');
  if (rest.some((octet) => octet !== 0)) fail('vbiosVersion', 'three last bytes of zero', toHex(value));
  return [a, b, c, d, oem].map((octet) => octet.toString(16).toUpperCase().padStart(2, '0')).join('.');
}

function fail(name: FieldName, expected: string, got: string): never {
  throw new MalformedError('nvidia.field', `report.opaque.${name}`, expected, got);
}
