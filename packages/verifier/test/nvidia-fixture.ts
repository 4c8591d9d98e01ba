/** A made-up GPU: five certificates and reports that its key signs, with everything a test may want to change. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { concatBytes, fromHex, utf8Encode } from '@haca/primitives';
import type { NvidiaDocument } from '@haca/protocol';
import type { TrustRoot } from '../src/index.ts';

const KEY_OID = '06072a8648ce3d0201';
const CURVE_OID = '06052b81040022';
const SIGNATURE_OID = '06082a8648ce3d040303';
const SHA384_OID = '0609608648016503040202';

export function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content);
  const { length } = body;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...head), body);
}

const hex = (text: string): Uint8Array => fromHex(text);
const sequence = (...content: readonly Uint8Array[]): Uint8Array => der(0x30, ...content);
const octets = (content: Uint8Array): Uint8Array => der(0x04, content);

function name(commonName: string, stringTag = 0x0c): Uint8Array {
  const attribute = sequence(hex('0603550403'), der(stringTag, utf8Encode(commonName)));
  return sequence(der(0x31, attribute));
}

export interface Key {
  readonly privateKey: KeyObject;
  /** 97 bytes. */
  readonly point: Uint8Array;
}

export function newKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return { privateKey, point: new Uint8Array(spki.subarray(spki.length - 97)) };
}

function spki({ point }: Pick<Key, 'point'>): Uint8Array {
  return sequence(sequence(hex(KEY_OID), hex(CURVE_OID)), der(0x03, Uint8Array.of(0), point));
}

function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return sequence(hex(oid), ...(critical ? [hex('0101ff')] : []), octets(value));
}

export const CA_EXTENSIONS: readonly Uint8Array[] = [
  extension('0603551d13', true, hex('30030101ff')),
  extension('0603551d0f', true, hex('03020204')),
];
export const LEAF_EXTENSIONS: readonly Uint8Array[] = [extension('0603551d0f', true, hex('03020780'))];

export const OID = { dice: '0606678105050401', diceTcbInfo: '060767810505040101' } as const;

export function diceExtension(oid: string, value: Uint8Array): Uint8Array {
  return extension(oid, false, value);
}

export function fwidOf(digest: Uint8Array, algorithm = SHA384_OID): Uint8Array {
  return sequence(hex(algorithm), octets(digest));
}

/** As Hopper and LS10 have it. */
export function compositeDeviceId(key: Pick<Key, 'point'>, digest: Uint8Array, version = 1): Uint8Array {
  return sequence(der(0x02, Uint8Array.of(version)), spki(key), fwidOf(digest));
}

/** As Blackwell has it. `flags` is the content of the BIT STRING. */
export function diceTcbInfo(digests: readonly Uint8Array[], flags: Uint8Array | null): Uint8Array {
  return sequence(
    der(0x80, utf8Encode('NVIDIA')),
    der(0x83, Uint8Array.of(1)),
    der(0xa6, ...digests.map((digest) => fwidOf(digest))),
    ...(flags === null ? [] : [der(0x87, flags)]),
  );
}

export interface CertificatePlan {
  readonly subject: string;
  readonly issuer: string;
  readonly key: Key;
  readonly issuerKey: Key;
  readonly serial: Uint8Array;
  readonly extensions: readonly Uint8Array[];
  readonly nameTag?: number;
  /** First and last time, DER. */
  readonly validity?: readonly [Uint8Array, Uint8Array];
}

export function utcTime(time: string): Uint8Array {
  return der(0x17, utf8Encode(time));
}

export function generalizedTime(time: string): Uint8Array {
  return der(0x18, utf8Encode(time));
}

const ALWAYS = [utcTime('230101000000Z'), generalizedTime('99991231235959Z')] as const;

export function certificate(plan: CertificatePlan): Uint8Array {
  const { subject, issuer, key, issuerKey, serial, extensions, nameTag, validity = ALWAYS } = plan;
  const algorithm = sequence(hex(SIGNATURE_OID));
  const tbs = sequence(
    hex('a003020102'),
    der(0x02, serial),
    algorithm,
    name(issuer, nameTag),
    sequence(...validity),
    name(subject, nameTag),
    spki(key),
    der(0xa3, sequence(...extensions)),
  );
  const signature = new Uint8Array(sign('sha384', tbs, issuerKey.privateKey));
  return sequence(tbs, algorithm, der(0x03, Uint8Array.of(0), signature));
}

export interface DevicePlan {
  /** Common name of the device's certificate. */
  readonly model: string;
  /** Extensions of the leaf beyond keyUsage. */
  readonly leafExtensions: (keys: { readonly device: Key; readonly leaf: Key }) => readonly Uint8Array[];
  /** CA certificates beyond the usual three, below the provisioner. */
  readonly extraCas: number;
  readonly deviceIsCa: boolean;
  readonly nameTag: number;
  /** Serial number of the device's certificate. */
  readonly serial: Uint8Array;
}

export interface MintedDevice {
  readonly root: TrustRoot;
  /** DER, root first. */
  readonly certificates: readonly Uint8Array[];
  readonly leaf: Key;
}

export const FWID: Uint8Array = new Uint8Array(48).fill(0x5a);

export const HOPPER: DevicePlan = {
  model: 'GH100 A01 GSP BROM',
  leafExtensions: ({ device }) => [diceExtension(OID.dice, compositeDeviceId(device, FWID))],
  extraCas: 0,
  deviceIsCa: true,
  nameTag: 0x0c,
  serial: fromHex('41431d480fe5e87274'),
};

export const BLACKWELL: DevicePlan = {
  ...HOPPER,
  model: 'GB100 A01 GSP BROM',
  leafExtensions: () => [
    diceExtension(OID.diceTcbInfo, diceTcbInfo([FWID, new Uint8Array(48)], hex('0080000001'))),
  ],
};

export const LS10: DevicePlan = { ...HOPPER, model: 'LS_10 A01 FSP BROM', leafExtensions: () => [] };

export function mintDevice(plan: DevicePlan): MintedDevice {
  const names = [
    'Test Device Identity CA',
    'Test Identity',
    'Test Provisioner ICA 1',
    ...Array.from({ length: plan.extraCas }, (_, i) => `Test Extra CA ${i}`),
    plan.model,
    `${plan.model.replace(/ BROM$/, '')} FMC LF`,
  ];
  const keys = names.map(newKey);
  const last = names.length - 1;
  const [device, leaf] = [keys[last - 1] as Key, keys[last] as Key];
  const extensionsOf = (i: number): readonly Uint8Array[] => {
    if (i === last) return [...LEAF_EXTENSIONS, ...plan.leafExtensions({ device, leaf })];
    return i === last - 1 && !plan.deviceIsCa ? LEAF_EXTENSIONS : CA_EXTENSIONS;
  };
  const certificates = names.map((subject, i) =>
    certificate({
      subject,
      issuer: names[Math.max(0, i - 1)] as string,
      key: keys[i] as Key,
      issuerKey: keys[Math.max(0, i - 1)] as Key,
      serial: i === last - 1 ? plan.serial : Uint8Array.of(0x41, i + 1),
      extensions: extensionsOf(i),
      nameTag: plan.nameTag,
    }),
  );
  const sha256 = new Uint8Array(
    createHash('sha256')
      .update(certificates[0] as Uint8Array)
      .digest(),
  );
  return { root: { sha256, simulated: true }, certificates, leaf };
}

export type Field = readonly [type: number, value: Uint8Array];

const text = (value: string): Uint8Array => utf8Encode(`${value}\0`);

/** What a GPU appends, in NVIDIA's order. */
export const GPU_FIELDS: readonly Field[] = [
  [6, hex('009f009601000000')],
  [14, hex('b1030000')],
  [3, text('550.90.07')],
  [11, hex('55')],
  [20, FWID],
  [21, hex('55')],
];
export const SWITCH_FIELDS: readonly Field[] = [
  [6, utf8Encode('96.10.55.00.01')],
  [22, hex('203eb31ad9ed0008')],
];

/** `fields` with some replaced (by type) and some left out (null). */
export function withFields(
  fields: readonly Field[],
  changes: Readonly<Record<number, Uint8Array | null>>,
): readonly Field[] {
  const kept = fields.filter(([type]) => !Object.hasOwn(changes, type));
  const added = Object.entries(changes).flatMap(([type, value]) =>
    value === null ? [] : [[Number(type), value] as const],
  );
  return [...kept, ...added];
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

export function opaqueOf(fields: readonly Field[]): Uint8Array {
  return concatBytes(...fields.flatMap(([type, value]) => [u16(type), u16(value.length), value]));
}

/** With the header that newer drivers write. */
export function opaqueWithHeader(fields: readonly Field[], head = '4e5644414f44000002000000'): Uint8Array {
  return concatBytes(
    hex(head),
    ...fields.flatMap(([type, value]) => [u16(type), u16(0x82), u16(value.length), value]),
  );
}

export interface Block {
  readonly index: number;
  readonly specification: number;
  readonly type: number;
  readonly value: Uint8Array;
  /** What the block says its measurement's size is; as it is without. */
  readonly statedSize?: number;
}

export function digestBlock(index: number): Block {
  return { index, specification: 1, type: 1, value: new Uint8Array(48).fill(index) };
}

export interface ReportPlan {
  readonly request: Uint8Array;
  /** The four bytes before the number of blocks. */
  readonly responseHead: Uint8Array;
  readonly blocks: readonly Block[];
  readonly statedBlocks?: number;
  readonly statedRecordBytes?: number;
  readonly responderNonce: Uint8Array;
  readonly opaque: Uint8Array;
  readonly statedOpaqueBytes?: number;
  readonly trailing: Uint8Array;
}

export const NONCE: Uint8Array = new Uint8Array(32).fill(0x77);

export function requestOf(nonce: Uint8Array, head = '11e001ff', slot = 0): Uint8Array {
  return concatBytes(hex(head), nonce, Uint8Array.of(slot));
}

export const GPU_REPORT: ReportPlan = {
  request: requestOf(NONCE),
  responseHead: hex('11600000'),
  blocks: Array.from({ length: 64 }, (_, i) => digestBlock(i + 1)),
  responderNonce: new Uint8Array(32).fill(0x88),
  opaque: opaqueOf(GPU_FIELDS),
  trailing: new Uint8Array(0),
};
export const SWITCH_REPORT: ReportPlan = {
  ...GPU_REPORT,
  blocks: GPU_REPORT.blocks.slice(0, 31),
  opaque: opaqueOf(SWITCH_FIELDS),
};

/** The report without its signature. */
export function unsignedReport(plan: ReportPlan): Uint8Array {
  const record = concatBytes(
    ...plan.blocks.flatMap(({ index, specification, type, value, statedSize }) => [
      Uint8Array.of(index, specification),
      u16(statedSize ?? value.length + 3),
      Uint8Array.of(type),
      u16(value.length),
      value,
    ]),
  );
  const recordBytes = plan.statedRecordBytes ?? record.length;
  return concatBytes(
    plan.request,
    plan.responseHead,
    Uint8Array.of(plan.statedBlocks ?? plan.blocks.length),
    Uint8Array.of(recordBytes & 0xff, (recordBytes >> 8) & 0xff, recordBytes >> 16),
    record,
    plan.responderNonce,
    u16(plan.statedOpaqueBytes ?? plan.opaque.length),
    plan.opaque,
  );
}

export function signReport(key: Key, plan: ReportPlan): Uint8Array {
  const unsigned = unsignedReport(plan);
  const signature = sign('sha384', unsigned, { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return concatBytes(unsigned, new Uint8Array(signature), plan.trailing);
}

export function mintDocument({ certificates, leaf }: MintedDevice, plan: ReportPlan): NvidiaDocument {
  return { report: signReport(leaf, plan), certificates };
}
