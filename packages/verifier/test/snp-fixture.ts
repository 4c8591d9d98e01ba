/** A made-up AMD: product lines with root keys, endorsement keys of both kinds, reports and revocation lists, each open to change. */
import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { concatBytes, encode, fromHex, utf8Encode } from '@haca/primitives';
import { type CollateralOf, type SnpProduct, snpDocumentCodec } from '@haca/protocol';
import type { TrustRoot } from '../src/index.ts';

export function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content);
  const { length } = body;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...head), body);
}

const hex = (text: string): Uint8Array => fromHex(text);
const sequence = (...content: readonly Uint8Array[]): Uint8Array => der(0x30, ...content);

export function integer(value: number): Uint8Array {
  const digits = value.toString(16);
  const bytes = hex(digits.padStart(digits.length + (digits.length % 2), '0'));
  return der(0x02, (bytes[0] as number) >= 0x80 ? concatBytes(Uint8Array.of(0), bytes) : bytes);
}

const ia5 = (text: string): Uint8Array => der(0x16, utf8Encode(text));

function arcBytes(arc: number): readonly number[] {
  return arc < 0x80 ? [arc] : [0x80 | (arc >> 7), arc & 0x7f];
}

/** Below 1.3.6.1.4.1.3704.1. */
const amdOid = (...arcs: readonly number[]): Uint8Array =>
  der(0x06, hex('2b060104019c7801'), Uint8Array.from(arcs.flatMap(arcBytes)));

const PSS_BODY =
  'a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130';
/** AlgorithmIdentifiers of RSASSA-PSS as AMD writes them, and others. */
export const PSS = {
  plain: hex(`304106092a864886f70d01010a3034${PSS_BODY}`),
  withTrailer: hex(`304606092a864886f70d01010a3039${PSS_BODY}a303020101`),
  salt32: hex(`304106092a864886f70d01010a3034${PSS_BODY.slice(0, -2)}20`),
  sha256: hex(`304106092a864886f70d01010a3034${PSS_BODY.replaceAll('0402020500', '0402010500')}`),
  withoutParameters: hex('300b06092a864886f70d01010a'),
  pkcs1: hex('300d06092a864886f70d01010c0500'),
} as const;

/** Attributes in AMD's order; only the common name differs. */
export function amdName(commonName: string): Uint8Array {
  const attribute = (oid: string, tag: number, text: string): Uint8Array =>
    der(0x31, sequence(hex(`0603${oid}`), der(tag, utf8Encode(text))));
  return sequence(
    attribute('55040b', 0x0c, 'Engineering'),
    attribute('550406', 0x13, 'US'),
    attribute('550407', 0x0c, 'Santa Clara'),
    attribute('550408', 0x0c, 'CA'),
    attribute('55040a', 0x0c, 'Advanced Micro Devices'),
    attribute('550403', 0x0c, commonName),
  );
}

export function utcTime(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().slice(2, 19).replaceAll(/[-:T]/g, '');
  return der(0x17, utf8Encode(`${digits}Z`));
}

const extension = (oid: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array =>
  sequence(oid, ...(critical ? [hex('0101ff')] : []), der(0x04, value));
const BASIC_CONSTRAINTS = hex('0603551d13');
const KEY_USAGE = hex('0603551d0f');

/** Extensions of a CA at each place, in AMD's encoding: the ASK's keyUsage has a zero bit behind its last. */
export const CA_EXTENSIONS = {
  ark: [extension(KEY_USAGE, true, hex('03020106')), extension(BASIC_CONSTRAINTS, true, hex('30030101ff'))],
  ask: [
    extension(BASIC_CONSTRAINTS, true, hex('30060101ff020100')),
    extension(KEY_USAGE, true, hex('03020104')),
  ],
} as const;
export const caExtension = { basicConstraints: BASIC_CONSTRAINTS, keyUsage: KEY_USAGE, of: extension };

interface RsaKey {
  readonly privateKey: KeyObject;
  readonly spki: Uint8Array;
}

export function newRsaKey(modulusLength = 4096): RsaKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
  return { privateKey, spki: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })) };
}

export interface EcKey {
  readonly privateKey: KeyObject;
  readonly spki: Uint8Array;
}

export function newEcKey(namedCurve = 'P-384'): EcKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  return { privateKey, spki: new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })) };
}

function pssSign(key: KeyObject, message: Uint8Array): Uint8Array {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return new Uint8Array(sign('sha384', message, { key, padding, saltLength: 48 }));
}

export interface CertificateParts {
  readonly serial: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly spki: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

export function certificate(parts: CertificateParts, signer: KeyObject): Uint8Array {
  const tbs = sequence(
    hex('a003020102'),
    parts.serial,
    parts.algorithm,
    parts.issuer,
    sequence(utcTime(parts.notBeforeMs), utcTime(parts.notAfterMs)),
    parts.subject,
    parts.spki,
    der(0xa3, sequence(...parts.extensions)),
  );
  return sequence(tbs, parts.algorithm, der(0x03, Uint8Array.of(0), pssSign(signer, tbs)));
}

/** One pair of RSA keys for the whole process: making them is most of what these tests cost. */
const ARK_KEY = newRsaKey();
const ASK_KEY = newRsaKey();
export const CA_KEYS = { ark: ARK_KEY, ask: ASK_KEY };

export const NOW_MS = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;
const NAMES: Readonly<Record<SnpProduct, string>> = { milan: 'Milan', genoa: 'Genoa', turin: 'Turin' };

/** Versions by component; what a product lacks is left out. */
export interface Tcb {
  readonly fmc?: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}
export const TCB: Tcb = { fmc: 1, bootloader: 3, tee: 2, snp: 5, microcode: 219 };

export function tcbBytes(product: SnpProduct, { fmc, bootloader, tee, snp, microcode }: Tcb): Uint8Array {
  return product === 'turin'
    ? Uint8Array.of(fmc ?? 0, bootloader, tee, snp, 0, 0, 0, microcode)
    : Uint8Array.of(bootloader, tee, 0, 0, 0, 0, snp, microcode);
}

/** Extensions of an endorsement key by the arcs below AMD's own, in the order AMD writes them. */
export type VekExtensions = ReadonlyMap<string, Uint8Array>;

export function vekExtensions(
  product: SnpProduct,
  signer: 'vcek' | 'vlek',
  tcb: Tcb = TCB,
  id: Uint8Array = chipIdOf(product),
): VekExtensions {
  const isTurin = product === 'turin';
  const productName = signer === 'vlek' || isTurin ? NAMES[product] : `${NAMES[product]}-B0`;
  const levels: readonly (readonly [string, number])[] = [
    ...(isTurin ? [['3.9', tcb.fmc ?? 0] as const] : []),
    ['3.1', tcb.bootloader],
    ['3.2', tcb.tee],
    ...(isTurin ? [] : [['3.4', 0] as const]),
    ['3.5', 0],
    ['3.6', 0],
    ['3.7', 0],
    ['3.3', tcb.snp],
    ['3.8', tcb.microcode],
  ];
  return new Map([
    ['1', integer(isTurin ? 1 : 0)],
    ['2', ia5(productName)],
    ...levels.map(([arcs, level]) => [arcs, integer(level)] as const),
    signer === 'vcek' ? ['4', id] : ['5', ia5(CSP_ID)],
  ]);
}

export const CSP_ID = 'CN=cc-test.example.com';

export function chipIdOf(product: SnpProduct): Uint8Array {
  return new Uint8Array(product === 'turin' ? 8 : 64).map((_, i) => 0xa0 + i);
}

export interface Shape {
  readonly product?: SnpProduct;
  readonly signer?: 'vcek' | 'vlek';
  readonly version?: number;
  /** In the report, and in the certificate unless `vek` says otherwise. */
  readonly tcb?: Tcb;
  readonly cpuid?: readonly [family: number, model: number, stepping: number];
  readonly chipId?: Uint8Array;
  readonly vek?: (extensions: VekExtensions) => VekExtensions;
  readonly vekParts?: Partial<CertificateParts>;
  readonly askParts?: Partial<CertificateParts>;
  readonly arkParts?: Partial<CertificateParts>;
  /** Changes the report before it is signed. */
  readonly report?: (report: Uint8Array) => Uint8Array;
}

export interface Minted {
  readonly report: Uint8Array;
  readonly certificates: readonly [ark: Uint8Array, ask: Uint8Array, vek: Uint8Array];
  readonly root: TrustRoot;
  readonly document: Uint8Array;
}

const CPUIDS: Readonly<Record<SnpProduct, readonly [number, number, number]>> = {
  milan: [0x19, 0x01, 0x01],
  genoa: [0x19, 0x11, 0x01],
  turin: [0x1a, 0x02, 0x01],
};

export function mint(shape: Shape = {}): Minted {
  const { product = 'milan', signer = 'vcek' } = shape;
  const ark = mintArk(product, shape.arkParts);
  const ask = mintAsk(product, signer, shape.askParts);
  const vekKey = newEcKey();
  const vek = mintVek(product, signer, vekKey, shape);
  const report = signReport((shape.report ?? ((each) => each))(unsignedReport(shape)), vekKey.privateKey);
  const certificates = [ark, ask, vek] as const;
  const root = { sha256: sha256(ark), simulated: true };
  return { report, certificates, root, document: encode(snpDocumentCodec, { report, certificates }) };
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}

const known = new Map<string, Uint8Array>();

/** Certificates of CAs as they are by default, once. */
function once(key: string, isDefault: boolean, make: () => Uint8Array): Uint8Array {
  if (!isDefault) return make();
  const made = known.get(key) ?? make();
  known.set(key, made);
  return made;
}

export function mintArk(product: SnpProduct, changes?: Partial<CertificateParts>): Uint8Array {
  const name = amdName(`ARK-${NAMES[product]}`);
  return once(`ark ${product}`, changes === undefined, () =>
    certificate(
      {
        serial: hex('0203010000'),
        algorithm: PSS.withTrailer,
        issuer: name,
        subject: name,
        notBeforeMs: NOW_MS - 2000 * DAY_MS,
        notAfterMs: NOW_MS + 6000 * DAY_MS,
        spki: ARK_KEY.spki,
        extensions: CA_EXTENSIONS.ark,
        ...changes,
      },
      ARK_KEY.privateKey,
    ),
  );
}

export function mintAsk(
  product: SnpProduct,
  signer: 'vcek' | 'vlek',
  changes?: Partial<CertificateParts>,
): Uint8Array {
  const subject = signer === 'vlek' ? `SEV-VLEK-${NAMES[product]}` : `SEV-${NAMES[product]}`;
  return once(`ask ${product} ${signer}`, changes === undefined, () =>
    certificate(
      {
        serial: hex(signer === 'vlek' ? '0203010101' : '0203010001'),
        algorithm: PSS.withTrailer,
        issuer: amdName(`ARK-${NAMES[product]}`),
        subject: amdName(subject),
        notBeforeMs: NOW_MS - 1000 * DAY_MS,
        notAfterMs: NOW_MS + 5000 * DAY_MS,
        spki: ASK_KEY.spki,
        extensions: CA_EXTENSIONS.ask,
        ...changes,
      },
      ARK_KEY.privateKey,
    ),
  );
}

function mintVek(product: SnpProduct, signer: 'vcek' | 'vlek', key: EcKey, shape: Shape): Uint8Array {
  const issuer = signer === 'vlek' ? `SEV-VLEK-${NAMES[product]}` : `SEV-${NAMES[product]}`;
  const own = vekExtensions(product, signer, shape.tcb, chipIdOf(product));
  const extensions = [...(shape.vek ?? ((each) => each))(own)].map(([arcs, value]) =>
    extension(amdOid(...arcs.split('.').map(Number)), false, value),
  );
  return certificate(
    {
      serial: hex('020100'),
      algorithm: PSS.plain,
      issuer: amdName(issuer),
      subject: amdName(signer === 'vlek' ? 'SEV-VLEK' : 'SEV-VCEK'),
      notBeforeMs: NOW_MS - 100 * DAY_MS,
      notAfterMs: NOW_MS + (signer === 'vlek' ? 265 : 2455) * DAY_MS,
      spki: key.spki,
      extensions,
      ...shape.vekParts,
    },
    ASK_KEY.privateKey,
  );
}

function unsignedReport({
  product = 'milan',
  signer = 'vcek',
  version = 3,
  tcb = TCB,
  cpuid = CPUIDS[product],
  chipId = signer === 'vlek' ? new Uint8Array(64) : chipIdOf(product),
}: Shape): Uint8Array {
  const report = new Uint8Array(1184);
  const levels = tcbBytes(product, tcb);
  const firmware = Uint8Array.of(3, 58, 1, 0);
  report[0] = version;
  report.set(hex('0000030000000000'), 8);
  report[0x34] = 1;
  report.set(levels, 0x38);
  report[0x40] = 0x25;
  report[0x48] = signer === 'vlek' ? 4 : 0;
  report.set(new Uint8Array(64).fill(0x11), 0x50);
  report.set(new Uint8Array(48).fill(0x22), 0x90);
  report.set(new Uint8Array(32).fill(0x33), 0xc0);
  report.set(new Uint8Array(32).fill(0x44), 0x140);
  report.set(new Uint8Array(32).fill(0xff), 0x160);
  report.set(levels, 0x180);
  if (version >= 3) report.set(cpuid, 0x188);
  report.set(chipId, 0x1a0);
  report.set(levels, 0x1e0);
  report.set(concatBytes(firmware, firmware), 0x1e8);
  report.set(levels, 0x1f0);
  if (version >= 5) report.set(hex('3f000000000000003f00000000000000'), 0x1f8);
  return report;
}

/** Signs the first 672 bytes as firmware does: r and s little-endian in 72 bytes each. */
export function signReport(report: Uint8Array, privateKey: KeyObject): Uint8Array {
  const signed = report.slice();
  const raw = new Uint8Array(
    sign('sha384', report.subarray(0, 0x2a0), { key: privateKey, dsaEncoding: 'ieee-p1363' }),
  );
  signed.set(raw.slice(0, 48).reverse(), 0x2a0);
  signed.set(raw.slice(48).reverse(), 0x2e8);
  return signed;
}

export interface CrlParts {
  readonly issuer: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** DER INTEGERs. */
  readonly serials: readonly Uint8Array[];
  readonly extensions: readonly Uint8Array[];
}

/** As AMD writes it: version 2, a CRL number, entries without extensions. */
export function mintCrl(
  product: SnpProduct,
  changes: Partial<CrlParts> = {},
  signer: KeyObject = ARK_KEY.privateKey,
): Uint8Array {
  const parts: CrlParts = {
    issuer: amdName(`ARK-${NAMES[product]}`),
    algorithm: PSS.plain,
    thisUpdateMs: NOW_MS - 10 * DAY_MS,
    nextUpdateMs: NOW_MS + 30 * DAY_MS,
    serials: [],
    extensions: [extension(hex('0603551d14'), false, integer(9))],
    ...changes,
  };
  const entries = parts.serials.map((serial) => sequence(serial, utcTime(parts.thisUpdateMs)));
  const tbs = sequence(
    integer(1),
    parts.algorithm,
    parts.issuer,
    utcTime(parts.thisUpdateMs),
    utcTime(parts.nextUpdateMs),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    der(0xa0, sequence(...parts.extensions)),
  );
  return sequence(tbs, parts.algorithm, der(0x03, Uint8Array.of(0), pssSign(signer, tbs)));
}

export function crlItem(crl: Uint8Array, issuerChain: readonly Uint8Array[] = []): CollateralOf<'amd-crl'> {
  return { kind: 'amd-crl', crl, issuerChain };
}
