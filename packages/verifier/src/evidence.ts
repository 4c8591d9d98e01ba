/** Evidence of any kind: dispatches on the kind, so that callers need not know which kinds there are. */
import type { CryptoProvider } from '@haca/primitives';
import { failed, type Verdict, verdictOf } from '@haca/protocol';
import type { RevokedCertificate } from './der/chain.ts';
import { appraiseNitro } from './tee/nitro/appraise.ts';
import type { NitroClaims } from './tee/nitro/claims.ts';
import type { NitroPolicy } from './tee/nitro/validate.ts';
import type { TrustRoot } from './tee/trust-root.ts';

/** Claims of every kind share `kind`, `isSimulated`, `evidenceEndMs` and `claimsDigest`. */
export type EvidenceClaims = NitroClaims;

export interface EvidenceContext {
  readonly crypto: CryptoProvider;
  readonly nowMs: number;
  readonly revoked: readonly RevokedCertificate[];
  /** Roots and policy of each kind that is accepted; a kind left out is refused. */
  readonly nitro?: { readonly roots: readonly TrustRoot[]; readonly policy: NitroPolicy };
}

export interface EvidenceAppraisal {
  readonly verdict: Verdict;
  /** Authentic but accepted only if `verdict.ok`. */
  readonly claims: EvidenceClaims | null;
  readonly measurement: string | null;
}

type Appraise = (document: Uint8Array, context: EvidenceContext) => EvidenceAppraisal;

const APPRAISERS: Readonly<Record<string, Appraise>> = {
  nitro: (document, { crypto, nowMs, revoked, nitro }) =>
    nitro === undefined
      ? refuse('evidence.kind-not-accepted', 'a kind with roots and policy', 'nitro')
      : appraiseNitro(document, { crypto, nowMs, revoked, ...nitro }),
};

/** Kinds this build can appraise. */
export const APPRAISED_KINDS: readonly string[] = Object.keys(APPRAISERS);

/** Total for every kind and byte string: an unknown kind is a failed check. */
export function appraiseEvidence(
  kind: string,
  document: Uint8Array,
  context: EvidenceContext,
): EvidenceAppraisal {
  const appraise = Object.hasOwn(APPRAISERS, kind) ? APPRAISERS[kind] : undefined;
  if (appraise === undefined)
    return refuse('evidence.kind-unknown', APPRAISED_KINDS.join(' | '), JSON.stringify(kind.slice(0, 32)));
  return appraise(document, context);
}

function refuse(code: string, expected: string, got: string): EvidenceAppraisal {
  return {
    verdict: verdictOf([failed('evidence.kind', code, expected, got)]),
    claims: null,
    measurement: null,
  };
}
