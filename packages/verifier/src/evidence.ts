/** Evidence of any kind: dispatches on the kind, so that callers need not know which kinds there are. */
import { type EvidenceKind, failed, type Verdict, verdictOf } from '@haca/protocol';
import { appraiseAzure } from './tee/azure/appraise.ts';
import { rescoreAzure } from './tee/azure/rescore.ts';
import type { AzurePolicy } from './tee/azure/validate.ts';
import type { Appraisal } from './tee/check-run.ts';
import type { TeeClaims } from './tee/claims.ts';
import { appraiseDstack } from './tee/dstack/appraise.ts';
import { rescoreDstack } from './tee/dstack/rescore.ts';
import type { DstackPolicy } from './tee/dstack/validate.ts';
import { rescoreIntel } from './tee/intel/rescore.ts';
import { appraiseSgx, type SgxPolicy } from './tee/intel/sgx.ts';
import { appraiseTdx, type TdxPolicy } from './tee/intel/tdx.ts';
import { appraiseNitro } from './tee/nitro/appraise.ts';
import { rescoreNitro } from './tee/nitro/rescore.ts';
import type { NitroPolicy } from './tee/nitro/validate.ts';
import { appraiseNvidia } from './tee/nvidia/appraise.ts';
import { rescoreNvidia } from './tee/nvidia/rescore.ts';
import type { NvidiaManifestContext } from './tee/nvidia/rim-checks.ts';
import type { NvidiaPolicy } from './tee/nvidia/validate.ts';
import { appraiseSnp } from './tee/snp/appraise.ts';
import { rescoreSnp } from './tee/snp/rescore.ts';
import type { SnpPolicy } from './tee/snp/validate.ts';
import type { Acceptance, EvidenceTrust } from './tee/trust.ts';

/** As for any kind, with the manifests that are there and who may have signed them. */
export interface NvidiaAcceptance
  extends Acceptance<NvidiaPolicy>,
    Pick<NvidiaManifestContext, 'manifests' | 'manifestRoots'> {}

/** Roots and policy of each kind that is accepted; a kind left out is refused. */
export interface EvidenceContext extends EvidenceTrust {
  readonly nitro?: Acceptance<NitroPolicy>;
  readonly tdx?: Acceptance<TdxPolicy>;
  readonly sgx?: Acceptance<SgxPolicy>;
  readonly nvidia?: NvidiaAcceptance;
  readonly snp?: Acceptance<SnpPolicy>;
  readonly dstack?: Acceptance<DstackPolicy>;
  readonly azure?: Acceptance<AzurePolicy>;
}

type Appraise = (document: Uint8Array, context: EvidenceContext) => Appraisal<TeeClaims>;

/** Each kind with its acceptance, which is known to be there. */
function accepted<Accepted extends Acceptance<unknown>>(
  kind: keyof EvidenceContext & EvidenceKind,
  acceptance: (context: EvidenceContext) => Accepted | undefined,
  appraise: (document: Uint8Array, context: EvidenceTrust & Accepted) => Appraisal<TeeClaims>,
): Appraise {
  return (document, context) => {
    const given = acceptance(context);
    if (given === undefined)
      return refuse('evidence.kind-not-accepted', 'a kind with roots and policy', kind);
    return appraise(document, { ...trustOf(context), ...given });
  };
}

const APPRAISERS: Readonly<Partial<Record<EvidenceKind, Appraise>>> = {
  nitro: accepted('nitro', ({ nitro }) => nitro, appraiseNitro),
  tdx: accepted('tdx', ({ tdx }) => tdx, appraiseTdx),
  sgx: accepted('sgx', ({ sgx }) => sgx, appraiseSgx),
  nvidia: accepted('nvidia', ({ nvidia }) => nvidia, appraiseNvidia),
  snp: accepted('snp', ({ snp }) => snp, appraiseSnp),
  dstack: accepted('dstack', ({ dstack }) => dstack, appraiseDstack),
  azure: accepted('azure', ({ azure }) => azure, appraiseAzure),
};

/** What a judgement of facts gives. */
export interface Rescoring {
  /** The checks that hang on collateral, revocation and TCB policy. */
  readonly verdict: Verdict;
  /** As in `TeeClaims`. */
  readonly collateralEndMs: number | null;
}

type Rescore = (facts: Uint8Array, context: EvidenceContext) => Rescoring;

/** As `accepted`: facts of a kind that the context does not accept are refused. */
function rescored<Policy>(
  kind: keyof EvidenceContext & EvidenceKind,
  acceptance: (context: EvidenceContext) => Acceptance<Policy> | undefined,
  rescore: (facts: Uint8Array, context: EvidenceTrust & Acceptance<Policy>) => Rescoring,
): Rescore {
  return (facts, context) => {
    const given = acceptance(context);
    if (given !== undefined) return rescore(facts, { ...trustOf(context), ...given });
    const { verdict } = refuse('evidence.kind-not-accepted', 'a kind with roots and policy', kind);
    return { verdict, collateralEndMs: null };
  };
}

const RESCORERS: Readonly<Partial<Record<EvidenceKind, Rescore>>> = {
  nitro: (facts, { revoked }) => rescoreNitro(facts, revoked),
  tdx: rescored(
    'tdx',
    ({ tdx }) => tdx,
    (facts, context) => rescoreIntel(facts, context, 'tdx'),
  ),
  sgx: rescored(
    'sgx',
    ({ sgx }) => sgx,
    (facts, context) => rescoreIntel(facts, context, 'sgx'),
  ),
  nvidia: (facts, { revoked }) => rescoreNvidia(facts, revoked),
  snp: rescored('snp', ({ snp }) => snp, rescoreSnp),
  dstack: rescored('dstack', ({ dstack }) => dstack, rescoreDstack),
  azure: rescored('azure', ({ azure }) => azure, rescoreAzure),
};

/**
 * Judges the facts of evidence that was accepted before (`TeeClaims.facts`) against newer collateral, revocations and policy.
 * Signatures and measurements are not looked at again. Total: facts that are none are a failed check.
 */
export function rescoreEvidence(kind: EvidenceKind, facts: Uint8Array, context: EvidenceContext): Rescoring {
  const rescore = Object.hasOwn(RESCORERS, kind) ? RESCORERS[kind] : undefined;
  if (rescore === undefined) {
    const { verdict } = refuse('evidence.kind-unknown', APPRAISED_KINDS.join(' | '), kind);
    return { verdict, collateralEndMs: null };
  }
  return rescore(facts, context);
}

function trustOf({ crypto, nowMs, revoked, collateral, collateralGraceMs }: EvidenceContext): EvidenceTrust {
  return { crypto, nowMs, revoked, collateral, collateralGraceMs };
}

/** Kinds this build can appraise. */
export const APPRAISED_KINDS: readonly EvidenceKind[] = Object.keys(APPRAISERS) as EvidenceKind[];

/** Total for every kind and byte string: an unknown kind is a failed check. */
export function appraiseEvidence(
  kind: string,
  document: Uint8Array,
  context: EvidenceContext,
): Appraisal<TeeClaims> {
  const appraise = Object.hasOwn(APPRAISERS, kind) ? APPRAISERS[kind as EvidenceKind] : undefined;
  if (appraise === undefined)
    return refuse('evidence.kind-unknown', APPRAISED_KINDS.join(' | '), JSON.stringify(kind.slice(0, 32)));
  return appraise(document, context);
}

function refuse(code: string, expected: string, got: string): Appraisal<TeeClaims> {
  return {
    verdict: verdictOf([failed('evidence.kind', code, expected, got)]),
    claims: null,
    measurement: null,
  };
}
