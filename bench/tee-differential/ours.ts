/** Our own answer to a case. */
import { nodeCrypto, rememberSignatures } from '@haca/platform';
import { bytesEqual, encode, fromHex } from '@haca/primitives';
import { type Collateral, type CollateralRef, snpDocumentCodec } from '@haca/protocol';
import {
  type Appraisal,
  appraiseEvidence,
  type CollateralSource,
  type EvidenceContext,
  NO_COLLATERAL,
  parseCertificate,
  parsePemCertificates,
  parsePolicy,
  type TeeClaims,
  vendorRoots,
} from '@haca/verifier';
import { isAccepted } from '../../interop/tee-documents/genuine.ts';
import { pemChain } from '../../interop/tee-documents/vector-files.ts';
import {
  bodyBytes,
  type DifferentialCase,
  type IntelCase,
  intelRoot,
  type SignedText,
  type SnpCase,
} from './cases.ts';

export interface Answer {
  readonly accepted: boolean;
  /** TCB status, where one is given. */
  readonly status: string | null;
  /** Why it was refused. */
  readonly reason: string;
}

const crypto = rememberSignatures(nodeCrypto, 4096);

/** Whatever status has hope is accepted; debug is refused unless `allowDebug`. */
export function ourAnswer(each: DifferentialCase, allowDebug: boolean): Answer {
  const appraisal = each.kind === 'snp' ? appraiseSnpCase(each) : appraiseIntelCase(each, allowDebug);
  const failure = appraisal.verdict.checks.find(({ status }) => status === 'failed');
  const claims = appraisal.claims as
    | (TeeClaims & { readonly tcb?: { readonly status: string } | null })
    | null;
  return {
    accepted: isAccepted(appraisal),
    status: claims?.tcb?.status ?? null,
    reason: failure === undefined ? '' : `${failure.id}:${failure.code}`,
  };
}

function appraiseIntelCase(each: IntelCase, allowDebug: boolean): Appraisal<TeeClaims> {
  const { kind, quote, atMs } = each;
  const policy = parsePolicy(kind, { others: 'any', tcbStatuses: 'any', allowDebug });
  return appraiseEvidence(kind, quote, {
    crypto,
    nowMs: atMs,
    revoked: [],
    collateral: sourceOf(each),
    collateralGraceMs: 0,
    [kind]: { roots: vendorRoots(kind), policy },
  } as EvidenceContext);
}

function appraiseSnpCase({ report, certificate, atMs }: SnpCase): Appraisal<TeeClaims> {
  const certificates = [...[...pemChain('snp', 'chain-milan.pem')].reverse(), certificate];
  if (report.length !== 1184) return appraiseSnpDocument(report, atMs);
  return appraiseSnpDocument(encode(snpDocumentCodec, { report, certificates }), atMs);
}

function appraiseSnpDocument(document: Uint8Array, nowMs: number): Appraisal<TeeClaims> {
  const policy = parsePolicy('snp', { others: 'any', allowDebug: true });
  return appraiseEvidence('snp', document, {
    crypto,
    nowMs,
    revoked: [],
    collateral: NO_COLLATERAL,
    collateralGraceMs: 0,
    snp: { roots: vendorRoots('snp'), policy },
  });
}

function sourceOf({ collateral }: IntelCase): CollateralSource {
  const { tcbInfo, qeIdentity, rootCrl, pckCrl } = collateral;
  const rootName = parseCertificate(intelRoot(), 'root').subject;
  const find = (ref: CollateralRef): Collateral | null => {
    if (ref.kind === 'intel-tcb-info') return signed('intel-tcb-info', tcbInfo);
    if (ref.kind === 'intel-qe-identity') return signed('intel-qe-identity', qeIdentity);
    const crl = bytesEqual(ref.scope, rootName) ? rootCrl : pckCrl;
    return crl === null ? null : { kind: 'intel-crl', crl, issuerChain: [] };
  };
  return find as CollateralSource;
}

function signed(kind: 'intel-tcb-info' | 'intel-qe-identity', text: SignedText): Collateral {
  const issuerChain = [...parsePemCertificates(text.chain, 'chain')].reverse();
  return { kind, body: bodyBytes(text), signature: fromHex(text.signature), issuerChain };
}
