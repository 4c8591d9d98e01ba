/** An Intel-shaped test platform: its PCK certificate, its quoting enclave, and the quotes that this signs. */
import { concatBytes, fromHex, utf8Encode } from '@haca/primitives';
import { digest, issue, ROOT_NOT_AFTER_MS, ROOT_NOT_BEFORE_MS, serialOf } from './authority.ts';
import { extension } from './certificate-writer.ts';
import { derBoolean, derElement, derOctetString, derOid, derSequence, derUnsigned } from './der-writer.ts';
import { type IntelTestRoot, leafExtensions } from './intel-test-root.ts';
import { bytesFromSeed, type P256Signer, p256SignerFromSeed } from './signers.ts';

const SGX_EXTENSION = '1.2.840.113741.1.13.1';
const QE_VENDOR_ID = fromHex('939a7233f79c4ca9940a0db3957f0607');
const ECDSA_P256 = 2;
const PCK_CHAIN_PEM = 5;
const QE_REPORT = 6;
export const TEE_TYPE = { sgx: 0x00, tdx: 0x81 } as const;
/** INIT, MODE64BIT and PROVISION_KEY; XFRM of legacy, SSE, AVX and AVX-512. */
const QE_ATTRIBUTES = fromHex('1500000000000000e700000000000000');

/** The TCB that every test platform has; collateral of the test root is written around it. */
export const TEST_TCB = {
  fmspc: fromHex('7e57000000ac'),
  pceId: Uint8Array.of(0, 0),
  components: Uint8Array.of(5, 5, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0),
  pceSvn: 13,
  cpuSvn: fromHex('05050202040100050000000000000000'),
  /** SVN and major version of the TDX module, then its components. */
  teeTcbSvn: Uint8Array.of(5, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  qe: {
    sgx: { mrSigner: digest('sha256', utf8Encode('haca test QE')), isvProdId: 1, isvSvn: 8 },
    tdx: { mrSigner: digest('sha256', utf8Encode('haca test TD QE')), isvProdId: 2, isvSvn: 4 },
  },
} as const;

export interface IntelTestPlatform {
  /** 16 bytes. */
  readonly ppid: Uint8Array;
  /** Big-endian: what a revocation list names. */
  readonly pckSerial: Uint8Array;
  /** PCK, Platform CA, root. */
  readonly chain: readonly Uint8Array[];
  readonly pck: P256Signer;
}

/**
 * One seed, one platform. `patches` counts the microcode updates it has had beyond `TEST_TCB`: each raises the first component
 * by one, and has a PCK of its own.
 */
export function intelTestPlatform(root: IntelTestRoot, seed: Uint8Array, patches = 0): IntelTestPlatform {
  const pck = p256SignerFromSeed(seed, `haca test intel pck${patches === 0 ? '' : ` ${patches}`}`);
  const ppid = bytesFromSeed(seed, 'haca test intel ppid', 16);
  const pckSerial = serialOf('pck', pck);
  const { der } = issue(root.platformCa, {
    commonName: 'HACA test SGX PCK Certificate',
    signer: pck,
    serial: pckSerial,
    notBeforeMs: ROOT_NOT_BEFORE_MS,
    notAfterMs: ROOT_NOT_AFTER_MS,
    extensions: [
      ...leafExtensions(pck, root.platformCa.signer),
      extension(
        SGX_EXTENSION,
        false,
        sgxExtension(ppid, bytesFromSeed(seed, 'haca test intel instance', 16), patches),
      ),
    ],
  });
  return { ppid, pckSerial, pck, chain: [der, root.platformCa.der, root.der] };
}

/** Intel SGX PCK Certificate Profile, section 1.3.5. */
function sgxExtension(ppid: Uint8Array, instanceId: Uint8Array, patches: number): Uint8Array {
  const raised = (svns: Uint8Array): Uint8Array => svns.map((svn, i) => (i === 0 ? svn + patches : svn));
  const member = (path: string, value: Uint8Array): Uint8Array =>
    derSequence(derOid(`${SGX_EXTENSION}.${path}`), value);
  const count = (value: number): Uint8Array => derUnsigned(Uint8Array.of(value));
  const svns = Array.from(raised(TEST_TCB.components), (svn, i) => member(`2.${i + 1}`, count(svn)));
  const flags = [1, 2, 3].map((i) => member(`7.${i}`, derBoolean(true)));
  return derSequence(
    member('1', derOctetString(ppid)),
    member(
      '2',
      derSequence(
        ...svns,
        member('2.17', count(TEST_TCB.pceSvn)),
        member('2.18', derOctetString(raised(TEST_TCB.cpuSvn))),
      ),
    ),
    member('3', derOctetString(TEST_TCB.pceId)),
    member('4', derOctetString(TEST_TCB.fmspc)),
    member('5', derElement(0x0a, Uint8Array.of(1))),
    member('6', derOctetString(instanceId)),
    member('7', derSequence(...flags)),
  );
}

export interface QuoteParts {
  readonly version: 3 | 4 | 5;
  readonly tee: keyof typeof TEE_TYPE;
  /** SGX or TD report, and its type in a version 5 quote. */
  readonly body: Uint8Array;
  readonly bodyType?: number;
}

/** Signs a quote the way a quoting enclave does, with an attestation key that `bootSeed` names. */
export function signQuote(platform: IntelTestPlatform, bootSeed: Uint8Array, parts: QuoteParts): Uint8Array {
  const { version, tee, body, bodyType } = parts;
  const attestationKey = p256SignerFromSeed(bootSeed, 'haca test intel attestation key');
  const userData = bytesFromSeed(bootSeed, 'haca test intel qe id', 20);
  const header = concatBytes(
    u16(version),
    u16(ECDSA_P256),
    u32(TEE_TYPE[tee]),
    u32(0),
    QE_VENDOR_ID,
    userData,
  );
  const described = bodyType === undefined ? body : concatBytes(u16(bodyType), u32(body.length), body);
  const signed = concatBytes(header, described);
  const key = attestationKey.publicKey.subarray(1);
  const signature = concatBytes(attestationKey.sign(signed), key);
  const certification = certificationData(platform, tee, key);
  const wrapped =
    version === 3 ? certification : concatBytes(u16(QE_REPORT), u32(certification.length), certification);
  return concatBytes(signed, u32(signature.length + wrapped.length), signature, wrapped);
}

/** QE report, its signature by the PCK, what the QE added, and the chain. */
function certificationData(platform: IntelTestPlatform, tee: 'sgx' | 'tdx', key: Uint8Array): Uint8Array {
  const authData = Uint8Array.from({ length: 32 }, (_, i) => i);
  const { mrSigner, isvProdId, isvSvn } = TEST_TCB.qe[tee];
  const report = sgxReport({
    attributes: QE_ATTRIBUTES,
    mrEnclave: digest('sha256', utf8Encode(`haca test ${tee} quoting enclave`)),
    mrSigner,
    isvProdId,
    isvSvn,
    reportData: concatBytes(digest('sha256', concatBytes(key, authData)), new Uint8Array(32)),
  });
  const pem = utf8Encode(pemOf(platform.chain));
  return concatBytes(
    report,
    platform.pck.sign(report),
    u16(authData.length),
    authData,
    u16(PCK_CHAIN_PEM),
    u32(pem.length),
    pem,
  );
}

export interface SgxReportFields {
  readonly attributes: Uint8Array;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
}

/** REPORTBODY, 384 bytes. */
export function sgxReport(fields: SgxReportFields): Uint8Array {
  const report = new Uint8Array(384);
  report.set(TEST_TCB.cpuSvn, 0);
  report.set(fields.attributes, 48);
  report.set(fields.mrEnclave, 64);
  report.set(fields.mrSigner, 128);
  report.set(u16(fields.isvProdId), 256);
  report.set(u16(fields.isvSvn), 258);
  report.set(fields.reportData, 320);
  return report;
}

/** PEM with lines of 64 characters, each certificate ended by a line feed. */
export function pemOf(chain: readonly Uint8Array[]): string {
  return chain
    .map((der) => {
      const lines =
        Buffer.from(der)
          .toString('base64')
          .match(/.{1,64}/g) ?? [];
      return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
    })
    .join('');
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}
