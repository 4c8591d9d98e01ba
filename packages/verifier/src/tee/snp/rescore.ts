import { toHex } from '@haca/primitives';
import { check, type Verdict, verdictOf } from '@haca/protocol';
import { AMD_DEVIATIONS, type Certificate, parseCertificate } from '../../der/certificate.ts';
import { revocationFault } from '../../der/chain.ts';
import { type CheckRun, openCheckRun } from '../check-run.ts';
import type { Expected } from '../expected.ts';
import type { EvidenceTrust } from '../trust.ts';
import { findTrustRoot, type TrustRoot } from '../trust-root.ts';
import { decodeSnpFacts, type SnpFacts } from './facts.ts';
import { decodeTcb, type SnpTcb } from './product.ts';
import { checkRevocationList, SNP_CRL_CHECKS } from './revocation-list.ts';
import { floorCheck, type SnpTcbFloors } from './validate.ts';

const SNP_RESCORE_CHECKS = [
  'snp.facts',
  'snp.chain.root',
  'snp.chain.revocation',
  ...SNP_CRL_CHECKS,
  'snp.tcb.floor',
] as const;

export interface SnpRescoring extends EvidenceTrust {
  readonly roots: readonly TrustRoot[];
  readonly policy: { readonly tcbFloors: Expected<SnpTcbFloors> };
}

interface Judged {
  readonly facts: SnpFacts;
  readonly root: Certificate;
  readonly tcbs: readonly SnpTcb[];
}

/**
 * SNP evidence changes its worth by four things: its root is no longer trusted, a certificate of its chain is taken back by decree or
 * on AMD's list, or the level its platform proved to be at is no longer enough. Total for every byte string.
 */
export function rescoreSnp(
  facts: Uint8Array,
  context: SnpRescoring,
): { readonly verdict: Verdict; readonly collateralEndMs: number | null } {
  const run = openCheckRun(SNP_RESCORE_CHECKS);
  const judged = run.parse('snp.facts', () => readFacts(facts));
  const collateralEndMs = judged === null ? null : rescore(judged, context, run);
  return { verdict: verdictOf(run.checks()), collateralEndMs };
}

function readFacts(bytes: Uint8Array): Judged {
  const facts = decodeSnpFacts(bytes);
  return {
    facts,
    root: parseCertificate(facts.rootCertificate, 'facts.rootCertificate', AMD_DEVIATIONS),
    tcbs: (['reportedTcb', 'committedTcb'] as const).map((name) =>
      decodeTcb(facts.product, facts[name], `facts.${name}`),
    ),
  };
}

function rescore(
  { facts, root, tcbs }: Judged,
  context: SnpRescoring,
  run: CheckRun<(typeof SNP_RESCORE_CHECKS)[number]>,
): number | null {
  const { chain, product, rootCertificate } = facts;
  const sha256 = context.crypto.sha256(rootCertificate);
  const isTrusted = findTrustRoot(context.roots, sha256) !== undefined;
  const expected = context.roots.map((each) => toHex(each.sha256)).join(' | ');
  run.note(check('snp.chain.root', 'snp.root-untrusted', isTrusted, expected, toHex(sha256)));
  run.chain('snp.chain.revocation', revocationFault(chain, context.revoked), chain.length);
  const collateralEndMs = checkRevocationList(root, chain, context, run);
  run.note(floorCheck('snp.tcb.floor', product, tcbs, context.policy.tcbFloors));
  return collateralEndMs;
}
