/**
 * The certificates that belong to an SNP report: from the table that the host gives its guests (GHCB standardization,
 * MSG_REPORT_REQ: GUID, offset and length of each), else from a folder of the operator's.
 */
import { verify, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '@haca/primitives';
import { AttesterError, messageOf } from './attester.ts';

export interface SnpCertificateSource {
  /** The host's table; null where it has none. */
  readonly table: Uint8Array | null;
  readonly certificatesDir: string | undefined;
}

/** GUIDs as the table holds them: the bytes of their text in order. */
const TABLE_GUIDS: ReadonlySet<string> = new Set([
  '63da758de6644564adc5f4b93be8accd', // VCEK
  'a8074bc2a25a483eaae639c045a0b8a1', // VLEK
  '4ab7b379bbac4fe4a02f05aef327c782', // ASK
  'c0b406a4a803495297433fb6014cd0ae', // ARK
]);
const ENTRY_BYTES = 24;
const END_OF_TABLE = '00'.repeat(16);
const ENTRIES_MAX = 32;
const CERTIFICATE_MAX_BYTES = 4_096;
const FILES_MAX = 64;
const FILE_MAX_BYTES = 64 * 1024;
const SIGNED_BYTES = 0x2a0;
const SCALAR_FIELD_BYTES = 72;
const SCALAR_BYTES = 48;

/** DER, root first: ARK, ASK or ASVK, and the key that signed the report. Throws `AttesterError` `attester.certificates`. */
export function snpCertificateChain(report: Uint8Array, source: SnpCertificateSource): readonly Uint8Array[] {
  const pool = [
    ...(source.table === null ? [] : tableCertificates(source.table)),
    ...(source.certificatesDir === undefined ? [] : folderCertificates(source.certificatesDir)),
  ];
  const signer = pool.find((each) => signs(each, report));
  if (signer === undefined) throw missing('the key that signed this report', signerHint(report), source);
  const intermediate = issuerOf(signer, pool);
  if (intermediate === undefined)
    throw missing('the issuer of the signing key', 'ASK or ASVK of the product line', source);
  const root = issuerOf(intermediate, pool);
  if (root === undefined) throw missing('the root', 'ARK of the product line', source);
  return [root, intermediate, signer].map(({ raw }) => new Uint8Array(raw));
}

/** Certificates of the table, whatever else it holds. Throws `AttesterError` where it is none. */
function tableCertificates(table: Uint8Array): readonly X509Certificate[] {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  const found: X509Certificate[] = [];
  for (let i = 0; i < ENTRIES_MAX; i++) {
    const at = i * ENTRY_BYTES;
    if (at + ENTRY_BYTES > table.length) throw malformedTable('it ends inside its list');
    const guid = toHex(table.subarray(at, at + 16));
    if (guid === END_OF_TABLE) return found;
    const offset = view.getUint32(at + 16, true);
    const length = view.getUint32(at + 20, true);
    if (offset + length > table.length) throw malformedTable(`entry ${i} reaches beyond it`);
    if (TABLE_GUIDS.has(guid))
      found.push(...readCertificates(table.subarray(offset, offset + length), 'the table'));
  }
  throw malformedTable(`it has more than ${ENTRIES_MAX} entries`);
}

function folderCertificates(folder: string): readonly X509Certificate[] {
  try {
    const names = readdirSync(folder).filter((name) => /\.(pem|der|crt|cer)$/i.test(name));
    if (names.length > FILES_MAX) throw new Error(`more than ${FILES_MAX} certificate files`);
    return names.sort().flatMap((name) => {
      const path = join(folder, name);
      if (statSync(path).size > FILE_MAX_BYTES) throw new Error(`${name} is too long for certificates`);
      return readCertificates(new Uint8Array(readFileSync(path)), path);
    });
  } catch (error) {
    if (error instanceof AttesterError) throw error;
    throw new AttesterError('attester.certificates', `${folder} can't be read: ${messageOf(error)}`, error);
  }
}

/** One DER certificate, or any number in PEM. */
function readCertificates(bytes: Uint8Array, where: string): readonly X509Certificate[] {
  const text = Buffer.from(bytes).toString('latin1');
  const pems = text.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g);
  try {
    const found = (pems ?? [bytes]).map((each) => new X509Certificate(each));
    // Read when it is first asked for: a key of a kind that nobody knows is found out here.
    for (const { publicKey } of found) publicKey.asymmetricKeyType;
    if (found.some(({ raw }) => raw.length > CERTIFICATE_MAX_BYTES))
      throw new Error('a certificate is too long');
    return found;
  } catch (error) {
    throw new AttesterError(
      'attester.certificates',
      `${where} holds no certificate: ${messageOf(error)}`,
      error,
    );
  }
}

function issuerOf(
  certificate: X509Certificate,
  pool: readonly X509Certificate[],
): X509Certificate | undefined {
  return pool.find((each) => certificate.checkIssued(each) && certificate.verify(each.publicKey));
}

/** ECDSA P-384 with SHA-384; the report holds r and s in little-endian fields of 72 bytes. */
function signs(certificate: X509Certificate, report: Uint8Array): boolean {
  const key = certificate.publicKey;
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'secp384r1') return false;
  const scalar = (at: number): Uint8Array => report.slice(at, at + SCALAR_BYTES).reverse();
  const signature = Buffer.concat([scalar(SIGNED_BYTES), scalar(SIGNED_BYTES + SCALAR_FIELD_BYTES)]);
  return verify('sha384', report.subarray(0, SIGNED_BYTES), { key, dsaEncoding: 'ieee-p1363' }, signature);
}

/** TCB_VERSION, byte by byte: the name of each security version in the query of AMD's key service; null where reserved. */
const TCB_OF_MILAN = ['blSPL', 'teeSPL', null, null, null, null, 'snpSPL', 'ucodeSPL'] as const;
const TCB_OF_TURIN = ['fmcSPL', 'blSPL', 'teeSPL', 'snpSPL', null, null, null, 'ucodeSPL'] as const;

/** What to fetch: AMD's key service names a VCEK by product, chip id and reported TCB. */
function signerHint(report: Uint8Array): string {
  const isVlek = ((report[0x48] as number) >> 2) % 8 === 1;
  if (isVlek) return 'VLEK, which the cloud provider gives to its guests';
  const product = productOf(report);
  const isTurin = product === 'Turin';
  const chip = toHex(report.subarray(0x1a0, isTurin ? 0x1a8 : 0x1e0));
  const tcb = report.subarray(0x180, 0x188);
  const query = (isTurin ? TCB_OF_TURIN : TCB_OF_MILAN)
    .flatMap((name, i) => (name === null ? [] : [`${name}=${tcb[i]}`]))
    .join('&');
  return `VCEK: https://kdsintf.amd.com/vcek/v1/${product}/${chip}?${query}`;
}

/** By CPUID, which reports have from version 3 on. */
function productOf(report: Uint8Array): string {
  const [version, family, model] = [report[0], report[0x188], report[0x189]] as [number, number, number];
  if (version < 3) return '<Milan or Genoa>';
  if (family === 0x1a) return 'Turin';
  return model < 0x10 ? 'Milan' : 'Genoa';
}

function missing(
  what: string,
  hint: string,
  { table, certificatesDir }: SnpCertificateSource,
): AttesterError {
  const host = table === null ? 'the host gives no certificates' : 'not among the certificates of the host';
  const folder =
    certificatesDir === undefined ? 'no folder of certificates is configured' : `not in ${certificatesDir}`;
  return new AttesterError('attester.certificates', `${what} is missing (${hint}): ${host}, ${folder}`);
}

function malformedTable(what: string): AttesterError {
  return new AttesterError('attester.malformed', `the host's certificate table can't be used: ${what}`);
}
