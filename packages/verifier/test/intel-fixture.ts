/** A made-up Intel: root, PCK CA, PCK, TCB signer, quotes and collateral, with everything a test may want to change. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { nodeCrypto } from '@haca/platform';
import { concatBytes, fromHex, toHex, utf8Encode } from '@haca/primitives';
import {
  type Appraisal,
  appraiseSgx,
  appraiseTdx,
  parseCertificate,
  type RootedTrust,
  type SgxClaims,
  type SgxPolicy,
  type TdxClaims,
  type TdxPolicy,
  type TrustRoot,
} from '../src/index.ts';
import { OPEN_SGX, OPEN_TDX, type Piece, sourceOf } from './intel-vectors.ts';

export const hex = (text: string): Uint8Array => fromHex(text);

export function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content);
  const { length } = body;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...head), body);
}

export const sequence = (...content: readonly Uint8Array[]): Uint8Array => der(0x30, ...content);
export const integer = (value: number): Uint8Array =>
  der(
    2,
    value < 0x80
      ? Uint8Array.of(value)
      : value < 0x100
        ? Uint8Array.of(0, value)
        : Uint8Array.of(value >> 8, value & 0xff),
  );
const octets = (content: Uint8Array): Uint8Array => der(4, content);
const bits = (content: Uint8Array): Uint8Array => der(3, Uint8Array.of(0), content);
const ECDSA_SHA256 = sequence(hex('06082a8648ce3d040302'));

export function name(commonName: string): Uint8Array {
  return sequence(der(0x31, sequence(hex('0603550403'), der(0x0c, utf8Encode(commonName)))));
}

/** UTCTime. */
export function time(ms: number): Uint8Array {
  const digits = new Date(ms)
    .toISOString()
    .replace(/[-T:]|\.\d+/g, '')
    .slice(2);
  return der(0x17, utf8Encode(digits));
}

export interface Key {
  readonly privateKey: KeyObject;
  /** 65 bytes. */
  readonly point: Uint8Array;
}

export function newKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return { privateKey, point: new Uint8Array(spki.subarray(spki.length - 65)) };
}

/** r || s. */
export function rawSignature(key: Key, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign('sha256', message, { key: key.privateKey, dsaEncoding: 'ieee-p1363' }));
}

function signed(tbs: Uint8Array, key: Key): Uint8Array {
  return sequence(tbs, ECDSA_SHA256, bits(new Uint8Array(sign('sha256', tbs, key.privateKey))));
}

export function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  return sequence(hex(oid), ...(critical ? [hex('0101ff')] : []), octets(value));
}

const usageExtension = (usage: string): Uint8Array => extension('0603551d0f', true, hex(usage));
const constraints = (isCa: boolean): Uint8Array =>
  extension('0603551d13', true, hex(isCa ? '30030101ff' : '3000'));

export interface CertificateOptions {
  readonly subject: string;
  readonly issuer: string;
  readonly key: Key;
  readonly issuerKey: Key;
  readonly serial: number;
  readonly isCa: boolean;
  /** Content of the keyUsage extension, where it is not the usual. */
  readonly usage?: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly extra: readonly Uint8Array[];
}

export function certificate(options: CertificateOptions): Uint8Array {
  const { subject, issuer, key, issuerKey, serial, isCa, fromMs, toMs, extra } = options;
  const spki = sequence(sequence(hex('06072a8648ce3d0201'), hex('06082a8648ce3d030107')), bits(key.point));
  const usage = options.usage ?? (isCa ? '03020106' : '030206c0');
  const extensions = [usageExtension(usage), constraints(isCa), ...extra];
  const tbs = sequence(
    hex('a003020102'),
    integer(serial),
    ECDSA_SHA256,
    name(issuer),
    sequence(time(fromMs), time(toMs)),
    name(subject),
    spki,
    der(0xa3, sequence(...extensions)),
  );
  return signed(tbs, issuerKey);
}

export interface CrlOptions {
  readonly issuer: string;
  readonly key: Key;
  readonly fromMs: number;
  readonly toMs: number;
  readonly serials: readonly number[];
  readonly number: number | null;
  readonly extra: readonly Uint8Array[];
}

export function crl({ issuer, key, fromMs, toMs, serials, number, extra }: CrlOptions): Uint8Array {
  const entries = serials.map((serial) =>
    sequence(integer(serial), time(fromMs), sequence(extension('0603551d15', false, hex('0a0101')))),
  );
  const numbers = number === null ? [] : [extension('0603551d14', false, integer(number))];
  const extensions = [...numbers, extension('0603551d23', false, hex('30028000')), ...extra];
  const tbs = sequence(
    integer(1),
    ECDSA_SHA256,
    name(issuer),
    time(fromMs),
    time(toMs),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    der(0xa0, sequence(...extensions)),
  );
  return signed(tbs, key);
}

const SGX = '2a864886f84d010d01';
const member = (path: string, value: Uint8Array): Uint8Array =>
  sequence(concatBytes(Uint8Array.of(6, (SGX.length + path.length) / 2), hex(SGX + path)), value);

export interface PckOptions {
  readonly ppid: Uint8Array;
  readonly components: readonly number[];
  readonly pceSvn: number;
  readonly pceId: Uint8Array;
  readonly fmspc: Uint8Array;
  readonly sgxType: number;
  readonly isPlatform: boolean;
}

/** Members of the SGX extension by their numbers. */
export function pckMembers(options: PckOptions): ReadonlyMap<number, Uint8Array> {
  const { ppid, components, pceSvn, pceId, fmspc, sgxType, isPlatform } = options;
  const svns = components.map((svn, i) => member(`02${toHex(Uint8Array.of(i + 1))}`, integer(svn)));
  const tcb = sequence(
    ...svns,
    member('0211', integer(pceSvn)),
    member('0212', octets(Uint8Array.from(components))),
  );
  const flags = [1, 2, 3].map((i) => member(`070${i}`, hex('0101ff')));
  return new Map([
    [1, member('01', octets(ppid))],
    [2, member('02', tcb)],
    [3, member('03', octets(pceId))],
    [4, member('04', octets(fmspc))],
    [5, member('05', der(0x0a, Uint8Array.of(sgxType)))],
    ...(isPlatform
      ? ([
          [6, member('06', octets(new Uint8Array(16).fill(6)))],
          [7, member('07', sequence(...flags))],
        ] as const)
      : []),
  ]);
}

export function pckExtension(members: Iterable<Uint8Array>): Uint8Array {
  return extension(`0609${SGX}`, false, sequence(...members));
}

export function pem(ders: readonly Uint8Array[], lineEnd = '\n', ending = '\n\0'): Uint8Array {
  const blocks = ders.map((each) => {
    const lines =
      Buffer.from(each)
        .toString('base64')
        .match(/.{1,64}/g) ?? [];
    return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----'].join(lineEnd);
  });
  return utf8Encode(blocks.join(lineEnd) + ending);
}

export const u16 = (value: number): Uint8Array => Uint8Array.of(value & 0xff, value >> 8);
export const u32 = (value: number): Uint8Array => concatBytes(u16(value & 0xffff), u16(value >>> 16));

/** A report with these fields, all others zero. */
export interface SgxReportOptions {
  readonly miscSelect: Uint8Array;
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
}

export function sgxReport(options: SgxReportOptions): Uint8Array {
  const report = new Uint8Array(384);
  report.set(options.miscSelect, 16);
  report.set(options.attributes, 48);
  report.set(options.mrEnclave, 64);
  report.set(options.mrSigner, 128);
  report.set(u16(options.isvProdId), 256);
  report.set(u16(options.isvSvn), 258);
  report.set(options.reportData, 320);
  return report;
}

export interface TdReportOptions {
  readonly teeTcbSvn: Uint8Array;
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: Uint8Array;
  readonly reportData: Uint8Array;
  /** Null for TDX 1.0. */
  readonly teeTcbSvn2: Uint8Array | null;
  /** 237 bytes, with `teeTcbSvn2`: TDX 1.5ex. */
  readonly extension?: Uint8Array;
}

export function tdReport(options: TdReportOptions): Uint8Array {
  const report = new Uint8Array(options.teeTcbSvn2 === null ? 584 : 648);
  report.set(options.teeTcbSvn, 0);
  report.set(options.mrSignerSeam, 64);
  report.set(options.seamAttributes, 112);
  report.set(options.tdAttributes, 120);
  report.set(options.reportData, 520);
  if (options.teeTcbSvn2 !== null) report.set(options.teeTcbSvn2, 584);
  return concatBytes(report, options.extension ?? new Uint8Array(0));
}

const DAY_MS = 86_400_000;
export const NOW_MS = Date.parse('2026-05-01T00:00:00Z');
const jsonTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export interface Level {
  readonly sgx: readonly number[];
  readonly pce: number;
  readonly tdx?: readonly number[];
  readonly status: string;
  readonly advisories?: readonly string[];
}
export interface SvnLevelOptions {
  readonly svn: number;
  readonly status: string;
}

/** Everything of one platform at one time, before it is written down and signed. */
export interface World {
  readonly kind: 'tdx' | 'sgx';
  readonly version: 3 | 4 | 5;
  readonly pck: PckOptions;
  readonly qe: SgxReportOptions;
  readonly sgx: SgxReportOptions;
  readonly td: TdReportOptions;
  /** Members that replace those of the TCB information or the QE identity. */
  readonly tcbInfo: Readonly<Record<string, unknown>>;
  readonly qeIdentity: Readonly<Record<string, unknown>>;
  readonly rootCrl: Partial<CrlOptions>;
  readonly pckCrl: Partial<CrlOptions>;
  readonly caCertificate: Partial<CertificateOptions>;
  readonly pckCertificate: Partial<CertificateOptions>;
  readonly signerCertificate: Partial<CertificateOptions>;
  /** Of the collateral: from a day before to this many days after. */
  readonly collateralDays: number;
}

const zeros = (length: number): Uint8Array => new Uint8Array(length);
const bytes16 = (...first: readonly number[]): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => first[i] ?? 0);
export const svns = (...first: readonly number[]): readonly number[] =>
  Array.from({ length: 16 }, (_, i) => first[i] ?? 0);

const REPORT: SgxReportOptions = {
  miscSelect: zeros(4),
  attributes: bytes16(0x15, 0, 0, 0, 0, 0, 0, 0, 0xe7),
  mrEnclave: zeros(32).fill(1),
  mrSigner: zeros(32).fill(2),
  isvProdId: 2,
  isvSvn: 4,
  reportData: zeros(64),
};

export const WORLD: World = {
  kind: 'tdx',
  version: 4,
  pck: {
    ppid: zeros(16).fill(7),
    components: svns(3, 3, 2, 2, 4, 1, 0, 5),
    pceSvn: 13,
    pceId: zeros(2),
    fmspc: hex('90c06f000000'),
    sgxType: 1,
    isPlatform: true,
  },
  qe: REPORT,
  sgx: { ...REPORT, attributes: bytes16(0x05), isvProdId: 9, reportData: zeros(64).fill(5) },
  td: {
    teeTcbSvn: bytes16(6, 1, 3),
    mrSignerSeam: zeros(48),
    seamAttributes: zeros(8),
    tdAttributes: hex('0000001000000000'),
    reportData: zeros(64).fill(5),
    teeTcbSvn2: null,
  },
  tcbInfo: {},
  qeIdentity: {},
  rootCrl: {},
  pckCrl: {},
  caCertificate: {},
  pckCertificate: {},
  signerCertificate: {},
  collateralDays: 30,
};

export const KEYS = { root: newKey(), ca: newKey(), pck: newKey(), signer: newKey(), attestation: newKey() };
export const SERIAL = { root: 1, ca: 2, pck: 3, signer: 4 } as const;
const NAMES = {
  root: 'Test SGX Root CA',
  ca: 'Test SGX PCK Platform CA',
  pck: 'Test SGX PCK Certificate',
  signer: 'Test SGX TCB Signing',
} as const;

export interface Minted {
  readonly quote: Uint8Array;
  /** PCK first. */
  readonly chain: readonly Uint8Array[];
  readonly pieces: readonly Piece[];
  readonly root: TrustRoot;
}

/** A root certificate of this name and key. */
export function rootCertificate(key: Key): Uint8Array {
  const [fromMs, toMs] = [NOW_MS - 400 * DAY_MS, NOW_MS + 400 * DAY_MS];
  const names = { subject: NAMES.root, issuer: NAMES.root };
  return certificate({
    ...names,
    key,
    issuerKey: key,
    serial: SERIAL.root,
    isCa: true,
    fromMs,
    toMs,
    extra: [],
  });
}

/** One root for all that is minted in a run. */
export const ROOT: Uint8Array = rootCertificate(KEYS.root);

/** A TCB signer of this key under a root of that key. */
export function signerCertificate(key: Key, issuerKey: Key): Uint8Array {
  const [fromMs, toMs] = [NOW_MS - 400 * DAY_MS, NOW_MS + 400 * DAY_MS];
  const names = { subject: NAMES.signer, issuer: NAMES.root };
  return certificate({
    ...names,
    key,
    issuerKey,
    serial: SERIAL.signer,
    isCa: false,
    fromMs,
    toMs,
    extra: [],
  });
}

function certificatesOf(world: World) {
  const base = { fromMs: NOW_MS - 400 * DAY_MS, toMs: NOW_MS + 400 * DAY_MS, extra: [] };
  const root = ROOT;
  const ca = certificate({
    ...base,
    subject: NAMES.ca,
    issuer: NAMES.root,
    key: KEYS.ca,
    issuerKey: KEYS.root,
    serial: SERIAL.ca,
    isCa: true,
    ...world.caCertificate,
  });
  const extra = [pckExtension(pckMembers(world.pck).values())];
  const pck = certificate({
    ...base,
    subject: NAMES.pck,
    issuer: NAMES.ca,
    key: KEYS.pck,
    issuerKey: KEYS.ca,
    serial: SERIAL.pck,
    isCa: false,
    extra,
    ...world.pckCertificate,
  });
  const signer = certificate({
    ...base,
    subject: NAMES.signer,
    issuer: NAMES.root,
    key: KEYS.signer,
    issuerKey: KEYS.root,
    serial: SERIAL.signer,
    isCa: false,
    ...world.signerCertificate,
  });
  return { root, ca, pck, signer };
}

export function quoteOf(world: World, chainText: Uint8Array): Uint8Array {
  const isTdx = world.kind === 'tdx';
  const header = concatBytes(
    u16(world.version),
    u16(2),
    u32(isTdx ? 0x81 : 0),
    u32(0),
    hex('939a7233f79c4ca9940a0db3957f0607'),
    zeros(20),
  );
  const body = isTdx ? tdReport(world.td) : sgxReport(world.sgx);
  const tdType = world.td.extension !== undefined ? 4 : world.td.teeTcbSvn2 === null ? 2 : 3;
  const type = isTdx ? tdType : 1;
  const descriptor = world.version === 5 ? concatBytes(u16(type), u32(body.length)) : zeros(0);
  const signedPart = concatBytes(header, descriptor, body);
  const auth = Uint8Array.of(1, 2, 3);
  const attestationKey = KEYS.attestation.point.subarray(1);
  const binding = createHash('sha256').update(attestationKey).update(auth).digest();
  const reportData = world.qe.reportData.some((byte) => byte !== 0)
    ? world.qe.reportData
    : concatBytes(binding, zeros(32));
  const qe = sgxReport({ ...world.qe, reportData });
  const certification = concatBytes(
    qe,
    rawSignature(KEYS.pck, qe),
    u16(auth.length),
    auth,
    u16(5),
    u32(chainText.length),
    chainText,
  );
  const wrapped =
    world.version === 3 ? certification : concatBytes(u16(6), u32(certification.length), certification);
  const data = concatBytes(rawSignature(KEYS.attestation, signedPart), attestationKey, wrapped);
  return concatBytes(signedPart, u32(data.length), data);
}

export function levelJson({ sgx, pce, tdx, status, advisories }: Level): Readonly<Record<string, unknown>> {
  const components = (list: readonly number[]): readonly unknown[] => list.map((svn) => ({ svn }));
  const tcb = {
    sgxtcbcomponents: components(sgx),
    pcesvn: pce,
    ...(tdx ? { tdxtcbcomponents: components(tdx) } : {}),
  };
  const ids = advisories === undefined ? {} : { advisoryIDs: advisories };
  return { tcb, tcbDate: '2026-01-01T00:00:00Z', tcbStatus: status, ...ids };
}

export function svnLevelJson({ svn, status }: SvnLevelOptions): Readonly<Record<string, unknown>> {
  return { tcb: { isvsvn: svn }, tcbDate: '2026-01-01T00:00:00Z', tcbStatus: status };
}

export function moduleIdentityJson(
  id: string,
  levels: readonly SvnLevelOptions[],
): Readonly<Record<string, unknown>> {
  return { id, ...MODULE, tcbLevels: levels.map(svnLevelJson) };
}

const MODULE = { mrsigner: '00'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) };

export function tcbInfoJson(world: World): Readonly<Record<string, unknown>> {
  const isTdx = world.kind === 'tdx';
  return {
    id: isTdx ? 'TDX' : 'SGX',
    version: 3,
    issueDate: jsonTime(NOW_MS - DAY_MS),
    nextUpdate: jsonTime(NOW_MS + world.collateralDays * DAY_MS),
    fmspc: toHex(world.pck.fmspc).toUpperCase(),
    pceId: toHex(world.pck.pceId),
    tcbType: 0,
    tcbEvaluationDataNumber: 18,
    ...(isTdx
      ? {
          tdxModule: MODULE,
          tdxModuleIdentities: [moduleIdentityJson('TDX_01', [{ svn: 4, status: 'UpToDate' }])],
        }
      : {}),
    tcbLevels: [
      levelJson({
        sgx: svns(3, 3, 2, 2, 4, 1, 0, 5),
        pce: 13,
        status: 'UpToDate',
        ...(isTdx ? { tdx: svns(5, 0, 3) } : {}),
      }),
    ],
    ...world.tcbInfo,
  };
}

export function qeIdentityJson(world: World): Readonly<Record<string, unknown>> {
  return {
    id: world.kind === 'tdx' ? 'TD_QE' : 'QE',
    version: 2,
    issueDate: jsonTime(NOW_MS - DAY_MS),
    nextUpdate: jsonTime(NOW_MS + world.collateralDays * DAY_MS),
    tcbEvaluationDataNumber: 18,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: '02'.repeat(32),
    isvprodid: 2,
    tcbLevels: [svnLevelJson({ svn: 4, status: 'UpToDate' })],
    ...world.qeIdentity,
  };
}

/** Signs a text as the TCB signer would, whatever it says, to be found under `scope`. */
export function signedPiece(
  kind: 'intel-tcb-info' | 'intel-qe-identity',
  scope: string,
  text: string,
  chain: readonly Uint8Array[],
  key: Key = KEYS.signer,
): Piece {
  const body = utf8Encode(text);
  const ref = { kind, rootCertificate: chain[0] as Uint8Array, scope: utf8Encode(scope) };
  return { ref, item: { kind, body, signature: rawSignature(key, body), issuerChain: chain } };
}

export function mint(changes: Partial<World> = {}): Minted {
  const world = { ...WORLD, ...changes };
  const { root, ca, pck, signer } = certificatesOf(world);
  const chain = [pck, ca, root];
  const list = (issuer: string, key: Key, change: Partial<CrlOptions>): Uint8Array =>
    crl({
      issuer,
      key,
      fromMs: NOW_MS - DAY_MS,
      toMs: NOW_MS + world.collateralDays * DAY_MS,
      serials: [99],
      number: 1,
      extra: [],
      ...change,
    });
  const crlPiece = (
    issuer: string,
    key: Key,
    change: Partial<CrlOptions>,
    issuerChain: readonly Uint8Array[],
  ): Piece => ({
    ref: { kind: 'intel-crl', rootCertificate: root, scope: name(issuer) },
    item: { kind: 'intel-crl', crl: list(issuer, key, change), issuerChain },
  });
  const scope = `${world.kind === 'tdx' ? 'TDX' : 'SGX'}:${toHex(world.pck.fmspc)}`;
  const qeScope = world.kind === 'tdx' ? 'TD_QE' : 'QE';
  return {
    quote: quoteOf(world, pem(chain)),
    chain,
    pieces: [
      crlPiece(NAMES.root, KEYS.root, world.rootCrl, [root]),
      crlPiece(NAMES.ca, KEYS.ca, world.pckCrl, [root, ca]),
      signedPiece('intel-tcb-info', scope, JSON.stringify(tcbInfoJson(world)), [root, signer]),
      signedPiece('intel-qe-identity', qeScope, JSON.stringify(qeIdentityJson(world)), [root, signer]),
    ],
    root: { sha256: nodeCrypto.sha256(root), simulated: true },
  };
}

export interface MintedChange {
  readonly quote?: Uint8Array;
  readonly pieces?: readonly Piece[];
  readonly trust?: Partial<RootedTrust>;
  readonly tdx?: Partial<TdxPolicy>;
  readonly sgx?: Partial<SgxPolicy>;
}

export function mintedTrust({ root, pieces }: Minted, change: MintedChange = {}): RootedTrust {
  return {
    crypto: nodeCrypto,
    nowMs: NOW_MS,
    roots: [root],
    revoked: [],
    collateral: sourceOf(change.pieces ?? pieces),
    collateralGraceMs: 0,
    ...change.trust,
  };
}

/** Appraises by the header's TEE type, under the open policy but for the change. */
export function appraiseMinted(minted: Minted, change: MintedChange = {}): Appraisal<TdxClaims | SgxClaims> {
  const quote = change.quote ?? minted.quote;
  const trust = mintedTrust(minted, change);
  return minted.quote[4] === 0x81
    ? appraiseTdx(quote, { ...trust, policy: { ...OPEN_TDX, ...change.tdx } })
    : appraiseSgx(quote, { ...trust, policy: { ...OPEN_SGX, ...change.sgx } });
}

/** The piece of this kind replaced: CRLs by position, 0 the root's. */
export function withPiece(pieces: readonly Piece[], index: number, piece: Piece | null): readonly Piece[] {
  return pieces.flatMap((each, i) => (i === index ? (piece === null ? [] : [piece]) : [each]));
}

export function serialOf(certificateDer: Uint8Array): {
  readonly issuer: Uint8Array;
  readonly serial: Uint8Array;
} {
  const { issuer, serial } = parseCertificate(certificateDer, 'certificate');
  return { issuer, serial };
}
