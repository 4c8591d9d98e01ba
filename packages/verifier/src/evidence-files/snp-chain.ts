/** Which certificates belong to an SEV-SNP report. Whatever is chosen is verified afterwards, so the nearest is as good as none. */
import { bytesEqual, MalformedError } from '@haca/primitives';
import type { CertificateEntry } from '../collateral-files/library.ts';
import { isSelfIssued } from '../collateral-files/read-binary.ts';
import type { Certificate } from '../der/certificate.ts';
import { snpVekExtensions } from '../tee/snp/endorsement.ts';
import type { SnpReport } from '../tee/snp/parse.ts';
import { isChipId } from '../tee/snp/product.ts';
import { findTrustRoot } from '../tee/trust-root.ts';
import { amdCertificates } from './amd-certificates.ts';
import type { ReadingTrust } from './reading.ts';

const AMD_ARC = '1.3.6.1.4.1.3704.1.';

export interface SnpChain {
  /** DER, root first, as far as it was found. */
  readonly certificates: readonly Uint8Array[];
  readonly used: readonly string[];
}

/**
 * `own` came with the report and goes first. The endorsement key: of the kind that signed, of this chip, for the reported TCB;
 * its issuers by their names, the root among those that are trusted; AMD's own where the files have none.
 */
export function snpChainOf(
  report: Pick<SnpReport, 'signingKey' | 'chipId' | 'reportedTcb'> | null,
  own: readonly CertificateEntry[],
  library: readonly CertificateEntry[],
  trust: Pick<ReadingTrust, 'crypto' | 'roots'>,
): SnpChain {
  const isVek = ({ certificate }: CertificateEntry): boolean =>
    certificate.extensions.some(({ oid }) => oid.startsWith(AMD_ARC));
  const given = own.filter(isVek);
  const veks = given.length > 0 ? given : library.filter(isVek);
  const vek = best(veks, ({ certificate }) => fitness(certificate, report));
  if (vek === undefined) return { certificates: [], used: [] };
  const all = [...own, ...library, ...amdCertificates()];
  const ask = best(issuersOf(vek.certificate, all), ({ certificate }) => Number(!isSelfIssued(certificate)));
  const ark =
    ask === undefined
      ? undefined
      : best(issuersOf(ask.certificate, all), ({ certificate }) => rootFitness(certificate, trust));
  const chain = [ark, ask, vek].filter((entry) => entry !== undefined);
  return {
    certificates: chain.map(({ certificate }) => certificate.der),
    used: [...new Set(chain.filter((entry) => !own.includes(entry)).map(({ origin }) => origin))],
  };
}

/** Issuers of a chip's certificate that the evidence does not carry: root and intermediate, root first. */
export function amdIssuersOf(
  vek: Certificate,
  library: readonly CertificateEntry[],
  trust: Pick<ReadingTrust, 'crypto' | 'roots'>,
): SnpChain {
  const { certificates, used } = snpChainOf(null, [{ origin: '', certificate: vek }], library, trust);
  return { certificates: certificates.slice(0, -1), used };
}

function issuersOf(
  { issuer }: Certificate,
  entries: readonly CertificateEntry[],
): readonly CertificateEntry[] {
  return entries.filter(({ certificate }) => bytesEqual(certificate.subject, issuer));
}

function rootFitness(
  certificate: Certificate,
  { crypto, roots }: Pick<ReadingTrust, 'crypto' | 'roots'>,
): number {
  const isTrusted = findTrustRoot(roots, crypto.sha256(certificate.der)) !== undefined;
  return 2 * Number(isTrusted) + Number(isSelfIssued(certificate));
}

function fitness(certificate: Certificate, report: Parameters<typeof snpChainOf>[0]): number {
  const extensions = readExtensions(certificate);
  if (extensions === null) return -1;
  if (report === null) return 0;
  const { hardwareId, cspId, tcb } = extensions;
  const isKind = report.signingKey === (cspId === null ? 'vcek' : 'vlek');
  const isOfChip = hardwareId !== null && isChipId(report.chipId, hardwareId);
  return 4 * Number(isKind) + 2 * Number(isOfChip) + Number(bytesEqual(tcb, report.reportedTcb));
}

function readExtensions(certificate: Certificate): ReturnType<typeof snpVekExtensions> | null {
  try {
    return snpVekExtensions(certificate);
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

/** The first of the highest score. */
function best<T>(entries: readonly T[], score: (entry: T) => number): T | undefined {
  let [found, highest]: [T | undefined, number] = [undefined, Number.NEGATIVE_INFINITY];
  for (const entry of entries) {
    const value = score(entry);
    if (value > highest) [found, highest] = [entry, value];
  }
  return found;
}
