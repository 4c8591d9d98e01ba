import { arrayOf, bytesOf, domainHash, encode, field, struct } from '@haca/primitives';
import type { HardwareIdentity, TeeClaims } from '../claims.ts';
import { commonNameOf } from './certificates.ts';
import type { PckExtension } from './pck-extension.ts';
import { encodePlatformFacts } from './platform-facts.ts';
import type { QuoteHeader } from './quote.ts';
import { SGX_REPORT_BYTES } from './reports.ts';
import type { TcbClaims } from './tcb-level.ts';
import type { AuthenticQuote } from './verify.ts';

/** What every quote says once it was verified, beside its body. */
export interface QuoteClaims extends TeeClaims {
  readonly header: QuoteHeader;
  /** 64 bytes that the enclave or trust domain chose. */
  readonly reportData: Uint8Array;
  readonly pck: PckExtension;
  /** Common name of the CA of the PCK, e.g. `Intel SGX PCK Platform CA`. */
  readonly pckCa: string;
  /** Of the quoting enclave. */
  readonly qe: { readonly mrSigner: Uint8Array; readonly isvProdId: number; readonly isvSvn: number };
  /** SHA-256 of each certificate, root first, PCK last. */
  readonly certificateSha256: readonly Uint8Array[];
  /**
   * What collateral says of the TCB, whatever its dates; null where there was none that was authentic and of this platform.
   * Like all claims only to be acted on if the verdict is ok.
   */
  readonly tcb: TcbClaims | null;
}

const identityCodec = struct({
  certificateSha256: field(0, arrayOf(bytesOf(32), 3, 3)),
  /** Header and body. */
  signed: field(1, bytesOf(1, 1024)),
  qeReport: field(2, bytesOf(SGX_REPORT_BYTES)),
});

/** The claims that both kinds have in common, but for what each derives from its body. */
export function quoteClaims(authentic: AuthenticQuote): Omit<QuoteClaims, 'kind' | 'isDebug' | 'registers'> {
  const { quote, chain, certificateSha256, pck, facts, judgement, trustRoot } = authentic;
  const { header, body, signed, qeReport } = quote;
  const { mrSigner, isvProdId, isvSvn } = qeReport;
  const identity = { certificateSha256, signed, qeReport: qeReport.bytes };
  return {
    header,
    reportData: body.reportData,
    pck,
    pckCa: commonNameOf(facts.pckCa.subject),
    qe: { mrSigner, isvProdId, isvSvn },
    certificateSha256,
    tcb: judgement.tcb,
    isSimulated: trustRoot.simulated,
    evidenceEndMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)),
    claimsDigest: domainHash(`haca/${body.kind}-claims/1`, encode(identityCodec, identity)),
    collateralEndMs: judgement.collateralEndMs,
    cloud: null,
    hardware: hardwareOf(pck),
    facts: encodePlatformFacts(facts),
  };
}

function hardwareOf({ ppid }: PckExtension): readonly HardwareIdentity[] {
  return ppid.every((byte) => byte === 0) ? [] : [{ vendor: 'intel', id: ppid }];
}
