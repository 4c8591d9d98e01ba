/**
 * What differs between AMD's product lines: which processors belong to one, how it lays out TCB_VERSION (56860, table
 * "Structure of the TCB_VERSION"), how long its chip ids are, and what its endorsement certificates say (57230).
 */
import { bytesEqual, MalformedError } from '@haca/primitives';
import { SNP_PRODUCTS, type SnpProduct, type SnpTcbFloor } from '@haca/protocol';
import type { SnpCpuid, SnpFirmwareVersion } from './parse.ts';

/** Security versions of what a platform trusts, 0 to 255 each; `fmc` (first mutable code) is Turin's, null elsewhere. */
export type SnpTcb = SnpTcbFloor;

interface ProductLine {
  /** As it stands in common names, e.g. `ARK-Milan`. Bergamo and Siena are of Genoa's line. */
  readonly name: string;
  /** First part of the product names in endorsement certificates. */
  readonly productNames: readonly string[];
  readonly structVersion: number;
  readonly chipIdBytes: number;
  /** Family, then inclusive ranges of models. */
  readonly family: number;
  readonly models: readonly (readonly [first: number, last: number])[];
  /** Byte of TCB_VERSION for each security patch level of the certificate: the last arc of 1.3.6.1.4.1.3704.1.3. */
  readonly tcbBytes: ReadonlyMap<number, number>;
}

/** Last arcs of the security patch levels. 4 to 7 stand for reserved bytes. */
const SPL = { bootloader: 1, tee: 2, snp: 3, microcode: 8, fmc: 9 } as const;

const TCB_BYTES_STRUCT_0: ReadonlyMap<number, number> = new Map([
  [SPL.bootloader, 0],
  [SPL.tee, 1],
  [4, 2],
  [5, 3],
  [6, 4],
  [7, 5],
  [SPL.snp, 6],
  [SPL.microcode, 7],
]);
const TCB_BYTES_STRUCT_1: ReadonlyMap<number, number> = new Map([
  [SPL.fmc, 0],
  [SPL.bootloader, 1],
  [SPL.tee, 2],
  [SPL.snp, 3],
  [5, 4],
  [6, 5],
  [7, 6],
  [SPL.microcode, 7],
]);

const PRODUCT_LINES: Readonly<Record<SnpProduct, ProductLine>> = {
  milan: {
    name: 'Milan',
    productNames: ['Milan'],
    structVersion: 0,
    chipIdBytes: 64,
    family: 0x19,
    models: [[0x00, 0x0f]],
    tcbBytes: TCB_BYTES_STRUCT_0,
  },
  genoa: {
    name: 'Genoa',
    productNames: ['Genoa', 'Bergamo', 'Siena'],
    structVersion: 0,
    chipIdBytes: 64,
    family: 0x19,
    models: [
      [0x10, 0x1f],
      [0xa0, 0xaf],
    ],
    tcbBytes: TCB_BYTES_STRUCT_0,
  },
  turin: {
    name: 'Turin',
    productNames: ['Turin'],
    structVersion: 1,
    chipIdBytes: 8,
    family: 0x1a,
    models: [[0x00, 0x1f]],
    tcbBytes: TCB_BYTES_STRUCT_1,
  },
};

export function productLine(product: SnpProduct): ProductLine {
  return PRODUCT_LINES[product];
}

/** The product line whose root has this common name, or null. */
export function productOfRootName(commonName: string | null): SnpProduct | null {
  return SNP_PRODUCTS.find((product) => commonName === `ARK-${PRODUCT_LINES[product].name}`) ?? null;
}

/**
 * The product line that an endorsement certificate names, with or without a stepping: `Milan-B0`, `Genoa`. AMD's key service
 * writes the stepping where it pleases, and not always the chip's, so it is not compared with anything.
 */
export function productOfProductName(productName: string): SnpProduct | null {
  const [, line] = /^([A-Z][a-z]{2,15})(?:-[A-Z][0-9])?$/.exec(productName) ?? [];
  if (line === undefined) return null;
  return SNP_PRODUCTS.find((product) => PRODUCT_LINES[product].productNames.includes(line)) ?? null;
}

export function isProcessorOf(product: SnpProduct, { family, model }: SnpCpuid): boolean {
  const line = PRODUCT_LINES[product];
  return family === line.family && line.models.some(([first, last]) => model >= first && model <= last);
}

const TCB_BYTES = 8;

/** TCB_VERSION of 8 bytes; reserved bytes must be zero. Throws `MalformedError`. */
export function decodeTcb(product: SnpProduct, bytes: Uint8Array, path: string): SnpTcb {
  if (bytes.length !== TCB_BYTES)
    throw new MalformedError('snp.tcb-size', path, `${TCB_BYTES} bytes`, `${bytes.length}`);
  const { tcbBytes } = PRODUCT_LINES[product];
  for (const [spl, at] of tcbBytes) {
    if (spl >= 4 && spl <= 7 && bytes[at] !== 0)
      throw new MalformedError('snp.tcb-reserved', path, `byte ${at} of zero`, `${bytes[at]}`);
  }
  const component = (spl: number): number | undefined => {
    const at = tcbBytes.get(spl);
    return at === undefined ? undefined : bytes[at];
  };
  return {
    fmc: component(SPL.fmc) ?? null,
    bootloader: component(SPL.bootloader) as number,
    tee: component(SPL.tee) as number,
    snp: component(SPL.snp) as number,
    microcode: component(SPL.microcode) as number,
  };
}

const COMPONENTS = ['fmc', 'bootloader', 'tee', 'snp', 'microcode'] as const;

/** Every component at least that of `floor`: never compared as one number. A component one of the two lacks counts as 0. */
export function isTcbAtLeast(tcb: SnpTcb, floor: SnpTcb): boolean {
  return COMPONENTS.every((component) => (tcb[component] ?? 0) >= (floor[component] ?? 0));
}

export function tcbText(tcb: SnpTcb): string {
  return COMPONENTS.filter((component) => tcb[component] !== null)
    .map((component) => `${component}=${tcb[component]}`)
    .join(' ');
}

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`. */
export function compareFirmware(a: SnpFirmwareVersion, b: SnpFirmwareVersion): number {
  return a.major - b.major || a.minor - b.minor || a.build - b.build;
}

export function firmwareText({ major, minor, build }: SnpFirmwareVersion): string {
  return `${major}.${minor}.${build}`;
}

/** Whether the report's chip id is this one; on Turin it is padded with zeros to 64 bytes. */
export function isChipId(chipId: Uint8Array, hardwareId: Uint8Array): boolean {
  const { length } = hardwareId;
  return bytesEqual(chipId.subarray(0, length), hardwareId) && isZero(chipId.subarray(length));
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
