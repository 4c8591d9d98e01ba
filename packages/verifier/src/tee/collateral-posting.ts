/**
 * What a chain takes of collateral that anybody posts (TC-1, TC-2): the one rule of full nodes, and of who asks before paying for a
 * transaction.
 */
import { MalformedError } from '@haca/primitives';
import { type Check, type Collateral, type CollateralRecord, failed, verdictOf } from '@haca/protocol';
import { AMD_DEVIATIONS, parseCertificate } from '../der/certificate.ts';
import { type RevokedCertificate, revocationFault } from '../der/chain.ts';
import {
  appraiseCollateral,
  type CollateralAppraisal,
  type CollateralFacts,
  type CollateralTrust,
  isNewer,
} from './collateral-appraisal.ts';

/** Id of the check of collateral that fails where its issuer was taken back, by its root or by decree. */
export const REVOKED_ISSUER_CHECK = 'collateral.issuer-revocation';

export interface PostingTrust extends CollateralTrust {
  /** Taken back by decree. */
  readonly revoked: readonly RevokedCertificate[];
}

/** As `appraiseCollateral`, and nothing in its chain was taken back by decree, and a row can hold it and it is current. Total. */
export function appraisePosted(item: Collateral, trust: PostingTrust): CollateralAppraisal {
  const { verdict, facts } = appraiseCollateral(item, trust);
  const more = [revokedByDecree(item, trust.revoked), facts === null ? null : unpostable(facts, trust.nowMs)];
  const faults = more.filter((fault) => fault !== null);
  return faults.length === 0
    ? { verdict, facts }
    : { verdict: verdictOf([...verdict.checks, ...faults]), facts: null };
}

/** What validators took back signs nothing any more; the lists of the root itself are `appraiseCollateral`'s to look at. */
function revokedByDecree({ issuerChain }: Collateral, revoked: readonly RevokedCertificate[]): Check | null {
  if (revoked.length === 0) return null;
  const chain = certificatesOf(issuerChain);
  const [root] = chain;
  if (root === undefined) return null;
  // A root may stand alone, which is no chain.
  const fault = revocationFault(chain.length === 1 ? [root, root] : chain, revoked);
  return fault === null ? null : failed(REVOKED_ISSUER_CHECK, fault.code, fault.expected, fault.got);
}

/** None where one is malformed: then the piece is refused for that. */
function certificatesOf(chain: readonly Uint8Array[]): readonly RevokedCertificate[] {
  try {
    return chain.map((der, i) => parseCertificate(der, `issuerChain.${i}`, AMD_DEVIATIONS));
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return [];
  }
}

function unpostable(facts: CollateralFacts, nowMs: number): Check | null {
  const fault = postingFault(facts, nowMs);
  return fault === null
    ? null
    : failed('collateral.posting', 'collateral.posting', fault.expected, fault.got);
}

export interface PostingFault {
  readonly expected: string;
  readonly got: string;
}

/** Why a piece of these facts is not to be posted at `nowMs`, whatever the row of its name holds; null where it may be. */
export function postingFault(
  { version: [number, issuedMs], nextUpdateMs }: Pick<CollateralFacts, 'version' | 'nextUpdateMs'>,
  nowMs: number,
): PostingFault | null {
  if (![number, issuedMs, nextUpdateMs].every((value) => Number.isSafeInteger(value) && value >= 0)) {
    return { expected: 'numbers and times that are safe integers', got: 'others' };
  }
  const isCurrent = issuedMs <= nowMs && nowMs < nextUpdateMs;
  return isCurrent ? null : { expected: `current at ${nowMs}`, got: `${issuedMs} to ${nextUpdateMs}` };
}

/** Whether a verdict on a piece says that its issuer was taken back: then what it signed keeps nothing out any more. */
export function isDisowned({ verdict }: Pick<CollateralAppraisal, 'verdict'>): boolean {
  return verdict.checks.some(({ id, status }) => id === REVOKED_ISSUER_CHECK && status === 'failed');
}

type Row = Pick<CollateralRecord, 'item' | 'version' | 'superseded'>;

/**
 * What a row holds that keeps a piece of this version out, being as new; null where the piece takes the row's place. Where the issuer of
 * the row's piece was taken back, however high its number, it keeps nothing genuine out: then only what it superseded counts,
 * which may come again. `isOut` says of what the row holds whether its issuer was taken back; it is asked only where that matters.
 */
export function whatKeepsOut(
  version: CollateralFacts['version'],
  { item, version: held, superseded }: Row,
  isOut: (item: Collateral) => boolean,
): CollateralRecord['version'] | null {
  if (isNewer({ version }, factsOf(held))) return null;
  if (!isOut(item)) return held;
  const newer = superseded.find((each) => isNewer(factsOf(each.version), { version }) && !isOut(each.item));
  return newer?.version ?? null;
}

function factsOf({ number, issuedMs }: CollateralRecord['version']): Pick<CollateralFacts, 'version'> {
  return { version: [number, issuedMs] };
}
