/** What collateral is judged against: a platform, its quoting enclave and its TDX module, as a quote proved them. */
import {
  bytesOf,
  decode,
  encode,
  field,
  MalformedError,
  nullable,
  oneOf,
  struct,
  type TypeOf,
  uint,
} from '@haca/primitives';
import { type Certificate, parseCertificate } from '../../der/certificate.ts';
import type { RevokedCertificate } from '../../der/chain.ts';

/** Intel's have 1,300 at most; the facts have to fit in 4 KiB. */
export const INTEL_CERTIFICATE_MAX_BYTES = 1500;

const qeFactsCodec = struct({
  miscSelect: field(0, bytesOf(4)),
  attributes: field(1, bytesOf(16)),
  mrSigner: field(2, bytesOf(32)),
  isvProdId: field(3, uint(0xffff)),
  isvSvn: field(4, uint(0xffff)),
});
export type QeFacts = TypeOf<typeof qeFactsCodec>;

const tdFactsCodec = struct({
  teeTcbSvn: field(0, bytesOf(16)),
  teeTcbSvn2: field(1, nullable(bytesOf(16))),
  mrSignerSeam: field(2, bytesOf(48)),
  seamAttributes: field(3, bytesOf(8)),
});
export type TdFacts = TypeOf<typeof tdFactsCodec>;

const platformFactsCodec = struct({
  tee: field(0, oneOf('sgx', 'tdx')),
  rootCertificate: field(1, bytesOf(1, INTEL_CERTIFICATE_MAX_BYTES)),
  pckCaCertificate: field(2, bytesOf(1, INTEL_CERTIFICATE_MAX_BYTES)),
  pckSerial: field(3, bytesOf(1, 20)),
  fmspc: field(4, bytesOf(6)),
  pceId: field(5, bytesOf(2)),
  /** SVNs of the 16 components, from the PCK certificate. */
  components: field(6, bytesOf(16)),
  pceSvn: field(7, uint(0xffff)),
  qe: field(8, qeFactsCodec),
  td: field(9, nullable(tdFactsCodec)),
});
type EncodedFacts = TypeOf<typeof platformFactsCodec>;

export interface PlatformFacts extends Omit<EncodedFacts, 'rootCertificate' | 'pckCaCertificate'> {
  readonly root: Certificate;
  readonly pckCa: Certificate;
}

/** Canonical CBOR, at most 4 KiB. */
export function encodePlatformFacts({ root, pckCa, ...rest }: PlatformFacts): Uint8Array {
  return encode(platformFactsCodec, { ...rest, rootCertificate: root.der, pckCaCertificate: pckCa.der });
}

/** Throws `MalformedError`. */
export function decodePlatformFacts(facts: Uint8Array): PlatformFacts {
  const { rootCertificate, pckCaCertificate, ...rest } = decode(platformFactsCodec, facts, 'facts');
  if ((rest.tee === 'tdx') !== (rest.td !== null))
    throw new MalformedError('facts.td', 'facts.td', 'facts of a TD for TDX alone', `others for ${rest.tee}`);
  return {
    ...rest,
    root: parseCertificate(rootCertificate, 'facts.rootCertificate'),
    pckCa: parseCertificate(pckCaCertificate, 'facts.pckCaCertificate'),
  };
}

/** Root, PCK CA, PCK: issuers and serials. */
export function pckChainOf({ root, pckCa, pckSerial }: PlatformFacts): readonly RevokedCertificate[] {
  return [
    { issuer: root.issuer, serial: root.serial },
    { issuer: pckCa.issuer, serial: pckCa.serial },
    { issuer: pckCa.subject, serial: pckSerial },
  ];
}
