/**
 * A made-up Intel platform: a TDX quote over any report data, the collateral it is judged by, and what it measures. Roots and keys
 * are fresh with every platform; nothing of it hangs on a root that production trusts.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { concatBytes, fromHex, toHex, utf8Encode } from '@haca/primitives';
import type { Collateral, CollateralRef, Hardware, Measurement } from '@haca/protocol';

export interface TdxCollateralOptions {
  /** Issued then; Unix milliseconds. */
  readonly issuedMs: number;
  /** Until its next update; 30 days without. */
  readonly lifeMs?: number;
  /** 17 without. */
  readonly evaluation?: number;
  /** Of the level that the platform has; `UpToDate` without. */
  readonly status?: string;
  /** The platform's own certificate is on the list. */
  readonly isRevoked?: boolean;
  /** Of the revocation lists; 1 without. */
  readonly crlNumber?: number;
}

export interface CollateralPiece {
  readonly ref: CollateralRef;
  readonly item: Collateral;
}

export interface TdxPlatform {
  /** SHA-256 of the root certificate. */
  readonly rootSha256: Uint8Array;
  readonly hardware: Hardware;
  readonly measurement: Measurement;
  readonly quote: (reportData: Uint8Array) => Uint8Array;
  /** In an order in which each piece rests on those before it: lists of the root and the CA, TCB information, QE identity. */
  readonly collateral: (options: TdxCollateralOptions) => readonly CollateralPiece[];
}

interface KeyPair {
  readonly privateKey: KeyObject;
  /** X9.62, uncompressed. */
  readonly point: Uint8Array;
}

const hex = fromHex;
const DAY_MS = 86_400_000;
const PCK_SERIAL = 3;
const FMSPC = hex('90c06f000000');
const SVNS: readonly number[] = [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
const TD_SVNS: readonly number[] = [6, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const NAMES = {
  root: 'Kit SGX Root CA',
  ca: 'Kit SGX PCK Platform CA',
  pck: 'Kit SGX PCK Certificate',
  signer: 'Kit SGX TCB Signing',
} as const;

/** Certificates hold for 400 days before and after `aroundMs`. */
export function createTdxPlatform(
  aroundMs: number,
  ppid: Uint8Array = new Uint8Array(16).fill(7),
): TdxPlatform {
  const keys = { root: newKey(), ca: newKey(), pck: newKey(), signer: newKey(), attestation: newKey() };
  const window = { fromMs: aroundMs - 400 * DAY_MS, toMs: aroundMs + 400 * DAY_MS };
  const issue = (name: keyof typeof NAMES, issuer: 'root' | 'ca', serial: number, extra: Uint8Array[] = []) =>
    certificate({
      ...window,
      subject: NAMES[name],
      issuer: NAMES[issuer],
      point: keys[name].point,
      issuerKey: keys[issuer],
      serial,
      isCa: name === 'root' || name === 'ca',
      extra,
    });
  const root = issue('root', 'root', 1);
  const ca = issue('ca', 'root', 2);
  const pck = issue('pck', 'ca', PCK_SERIAL, [pckExtension(ppid)]);
  const signer = issue('signer', 'root', 4);
  const chainText = pem([pck, ca, root]);
  const signedPiece = (kind: 'intel-tcb-info' | 'intel-qe-identity', scope: string, content: object) => {
    const body = utf8Encode(JSON.stringify(content));
    const signature = rawSignature(keys.signer, body);
    return {
      ref: { kind, rootCertificate: root, scope: utf8Encode(scope) },
      item: { kind, body, signature, issuerChain: [root, signer] },
    };
  };
  const list = (name: 'root' | 'ca', serials: readonly number[], options: TdxCollateralOptions) => ({
    ref: { kind: 'intel-crl' as const, rootCertificate: root, scope: nameOf(NAMES[name]) },
    item: {
      kind: 'intel-crl' as const,
      crl: revocationList(NAMES[name], keys[name], serials, options),
      issuerChain: name === 'root' ? [root] : [root, ca],
    },
  });
  return {
    rootSha256: new Uint8Array(createHash('sha256').update(root).digest()),
    hardware: { vendor: 'intel', id: ppid },
    measurement: MEASUREMENT,
    quote: (reportData) => quote(keys, chainText, reportData),
    collateral: (options) => [
      list('root', [99], options),
      list('ca', options.isRevoked === true ? [PCK_SERIAL] : [99], options),
      signedPiece('intel-tcb-info', `TDX:${toHex(FMSPC)}`, tcbInfo(options)),
      signedPiece('intel-qe-identity', 'TD_QE', qeIdentity(options)),
    ],
  };
}

const register = (byte: number): Uint8Array => new Uint8Array(48).fill(byte);

const MEASUREMENT: Measurement = {
  kind: 'tdx',
  name: 'kit-release',
  registers: ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'].map((name, i) => ({
    register: name,
    value: register(0x10 + i),
  })),
};

function newKey(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return { privateKey, point: new Uint8Array(spki.subarray(spki.length - 65)) };
}

function rawSignature({ privateKey }: KeyPair, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }));
}

function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(...content);
  const { length } = body;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.of(tag, ...head), body);
}

const sequence = (...content: readonly Uint8Array[]): Uint8Array => der(0x30, ...content);
const integer = (value: number): Uint8Array =>
  der(2, value < 0x80 ? Uint8Array.of(value) : Uint8Array.of(0, value));
const bits = (content: Uint8Array): Uint8Array => der(3, Uint8Array.of(0), content);
const ECDSA_SHA256 = sequence(hex('06082a8648ce3d040302'));
const EC_P256 = sequence(hex('06072a8648ce3d0201'), hex('06082a8648ce3d030107'));

function nameOf(commonName: string): Uint8Array {
  return sequence(der(0x31, sequence(hex('0603550403'), der(0x0c, utf8Encode(commonName)))));
}

/** UTCTime. */
function utcTime(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/[-T:]|\.\d+/g, '');
  return der(0x17, utf8Encode(digits.slice(2)));
}

function signedDer(tbs: Uint8Array, { privateKey }: KeyPair): Uint8Array {
  return sequence(tbs, ECDSA_SHA256, bits(new Uint8Array(sign('sha256', tbs, privateKey))));
}

function extension(oid: string, isCritical: boolean, value: Uint8Array): Uint8Array {
  return sequence(hex(oid), ...(isCritical ? [hex('0101ff')] : []), der(4, value));
}

interface CertificateOptions {
  readonly subject: string;
  readonly issuer: string;
  readonly point: Uint8Array;
  readonly issuerKey: KeyPair;
  readonly serial: number;
  readonly isCa: boolean;
  readonly fromMs: number;
  readonly toMs: number;
  readonly extra: readonly Uint8Array[];
}

function certificate(options: CertificateOptions): Uint8Array {
  const { subject, issuer, point, issuerKey, serial, isCa, fromMs, toMs, extra } = options;
  const extensions = [
    extension('0603551d0f', true, hex(isCa ? '03020106' : '030206c0')),
    extension('0603551d13', true, hex(isCa ? '30030101ff' : '3000')),
    ...extra,
  ];
  const tbs = sequence(
    hex('a003020102'),
    integer(serial),
    ECDSA_SHA256,
    nameOf(issuer),
    sequence(utcTime(fromMs), utcTime(toMs)),
    nameOf(subject),
    sequence(EC_P256, bits(point)),
    der(0xa3, sequence(...extensions)),
  );
  return signedDer(tbs, issuerKey);
}

const SGX_OID = '2a864886f84d010d01';

/** Intel's extension of a PCK certificate. */
function pckExtension(ppid: Uint8Array): Uint8Array {
  const member = (path: string, value: Uint8Array): Uint8Array =>
    sequence(der(6, hex(SGX_OID + path)), value);
  const octets = (value: Uint8Array): Uint8Array => der(4, value);
  const svns = SVNS.map((svn, i) => member(`02${toHex(Uint8Array.of(i + 1))}`, integer(svn)));
  const tcb = sequence(...svns, member('0211', integer(13)), member('0212', octets(Uint8Array.from(SVNS))));
  const flags = [1, 2, 3].map((i) => member(`070${i}`, hex('0101ff')));
  const members = [
    member('01', octets(ppid)),
    member('02', tcb),
    member('03', octets(new Uint8Array(2))),
    member('04', octets(FMSPC)),
    member('05', der(0x0a, Uint8Array.of(1))),
    member('06', octets(new Uint8Array(16).fill(6))),
    member('07', sequence(...flags)),
  ];
  return extension(`0609${SGX_OID}`, false, sequence(...members));
}

function revocationList(
  issuer: string,
  key: KeyPair,
  serials: readonly number[],
  { issuedMs, lifeMs = 30 * DAY_MS, crlNumber = 1 }: TdxCollateralOptions,
): Uint8Array {
  const reason = sequence(extension('0603551d15', false, hex('0a0101')));
  const entries = serials.map((serial) => sequence(integer(serial), utcTime(issuedMs), reason));
  const extensions = [
    extension('0603551d14', false, integer(crlNumber)),
    extension('0603551d23', false, hex('30028000')),
  ];
  const tbs = sequence(
    integer(1),
    ECDSA_SHA256,
    nameOf(issuer),
    utcTime(issuedMs),
    utcTime(issuedMs + lifeMs),
    sequence(...entries),
    der(0xa0, sequence(...extensions)),
  );
  return signedDer(tbs, key);
}

function pem(ders: readonly Uint8Array[]): Uint8Array {
  const blocks = ders.map((each) => {
    const lines =
      Buffer.from(each)
        .toString('base64')
        .match(/.{1,64}/g) ?? [];
    return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----'].join('\n');
  });
  return utf8Encode(`${blocks.join('\n')}\n\0`);
}

const u16 = (value: number): Uint8Array => Uint8Array.of(value & 0xff, value >> 8);
const u32 = (value: number): Uint8Array => concatBytes(u16(value & 0xffff), u16(value >>> 16));

function withFields(
  size: number,
  fields: readonly (readonly [offset: number, value: Uint8Array])[],
): Uint8Array {
  const bytes = new Uint8Array(size);
  for (const [offset, value] of fields) bytes.set(value, offset);
  return bytes;
}

/** Version 4: header, TD report 1.0, and the signatures that lead to the PCK certificate. */
function quote(
  keys: Readonly<Record<'pck' | 'attestation', KeyPair>>,
  chainText: Uint8Array,
  reportData: Uint8Array,
): Uint8Array {
  const header = concatBytes(
    u16(4),
    u16(2),
    u32(0x81),
    u32(0),
    hex('939a7233f79c4ca9940a0db3957f0607'),
    new Uint8Array(20),
  );
  const measured = MEASUREMENT.registers.map(
    ({ value }, i) => [i === 0 ? 136 : 280 + 48 * i, value] as const,
  );
  const body = withFields(584, [
    [0, Uint8Array.from(TD_SVNS)],
    [120, hex('0000001000000000')],
    ...measured,
    [520, reportData],
  ]);
  const signed = concatBytes(header, body);
  const attestationKey = keys.attestation.point.subarray(1);
  const authData = Uint8Array.of(1, 2, 3);
  const binding = createHash('sha256').update(attestationKey).update(authData).digest();
  const qe = withFields(384, [
    [48, hex('1500000000000000e700000000000000')],
    [64, new Uint8Array(32).fill(1)],
    [128, new Uint8Array(32).fill(2)],
    [256, u16(2)],
    [258, u16(4)],
    [320, new Uint8Array(binding)],
  ]);
  const certification = concatBytes(
    qe,
    rawSignature(keys.pck, qe),
    u16(authData.length),
    authData,
    u16(5),
    u32(chainText.length),
    chainText,
  );
  const data = concatBytes(
    rawSignature(keys.attestation, signed),
    attestationKey,
    u16(6),
    u32(certification.length),
    certification,
  );
  return concatBytes(signed, u32(data.length), data);
}

const jsonTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
const MODULE = { mrsigner: '00'.repeat(48), attributes: '00'.repeat(8), attributesMask: 'FF'.repeat(8) };

function datesOf({ issuedMs, lifeMs = 30 * DAY_MS, evaluation = 17 }: TdxCollateralOptions) {
  return {
    issueDate: jsonTime(issuedMs),
    nextUpdate: jsonTime(issuedMs + lifeMs),
    tcbEvaluationDataNumber: evaluation,
  };
}

function svnLevel(isvsvn: number) {
  return { tcb: { isvsvn }, tcbDate: '2026-01-01T00:00:00Z', tcbStatus: 'UpToDate' };
}

function tcbInfo(options: TdxCollateralOptions): object {
  const { status = 'UpToDate' } = options;
  const level = (step: number, tcbStatus: string) => ({
    tcb: {
      sgxtcbcomponents: SVNS.map((svn, i) => ({ svn: i === 0 ? svn + step : svn })),
      pcesvn: 13,
      tdxtcbcomponents: TD_SVNS.map((svn, i) => ({ svn: i === 1 ? 0 : svn })),
    },
    tcbDate: '2026-01-01T00:00:00Z',
    tcbStatus,
  });
  return {
    id: 'TDX',
    version: 3,
    ...datesOf(options),
    fmspc: toHex(FMSPC).toUpperCase(),
    pceId: '0000',
    tcbType: 0,
    tdxModule: MODULE,
    tdxModuleIdentities: [{ id: 'TDX_01', ...MODULE, tcbLevels: [svnLevel(4)] }],
    tcbLevels: [...(status === 'UpToDate' ? [] : [level(1, 'UpToDate')]), level(0, status)],
  };
}

function qeIdentity(options: TdxCollateralOptions): object {
  return {
    id: 'TD_QE',
    version: 2,
    ...datesOf(options),
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: '02'.repeat(32),
    isvprodid: 2,
    tcbLevels: [svnLevel(4)],
  };
}
