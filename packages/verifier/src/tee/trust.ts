import { type CryptoProvider, UsageError } from '@haca/primitives';
import type { RevokedCertificate } from '../der/chain.ts';
import type { CollateralSource } from './collateral.ts';
import type { TrustRoot } from './trust-root.ts';

/** What every kind is verified against. */
export interface EvidenceTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch: block time on chain, the caller's choice elsewhere. */
  readonly nowMs: number;
  /** Certificates taken back by other ways than the vendors' revocation lists. */
  readonly revoked: readonly RevokedCertificate[];
  readonly collateral: CollateralSource;
  /** How long after its `nextUpdate` collateral is still good; 0 for the vendors' own rule. */
  readonly collateralGraceMs: number;
}

/** The same for one kind, with the roots that vouch for it. */
export interface RootedTrust extends EvidenceTrust {
  readonly roots: readonly TrustRoot[];
}

/** What a caller accepts evidence of a kind by. */
export interface Acceptance<Policy> {
  readonly roots: readonly TrustRoot[];
  readonly policy: Policy;
}

/** Throws `UsageError` for what no caller can mean. */
export function assertTrust({
  nowMs,
  roots,
  collateralGraceMs = 0,
}: Pick<RootedTrust, 'nowMs' | 'roots'> & { readonly collateralGraceMs?: number }): void {
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (!Number.isSafeInteger(collateralGraceMs) || collateralGraceMs < 0)
    throw new UsageError(`${collateralGraceMs} is no grace in milliseconds`);
  if (roots.some(({ sha256 }) => sha256.length !== 32)) throw new UsageError('a root is pinned by 32 bytes');
}
