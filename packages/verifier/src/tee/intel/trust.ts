import type { CryptoProvider } from '@haca/primitives';
import { UsageError } from '@haca/primitives';
import type { RevokedCertificate } from '../../der/chain.ts';
import type { CollateralSource } from '../collateral.ts';
import type { TrustRoot } from '../trust-root.ts';

/** What quotes are verified against. */
export interface IntelTrust {
  readonly crypto: CryptoProvider;
  /** The time to judge at, milliseconds since the Unix epoch. */
  readonly nowMs: number;
  readonly roots: readonly TrustRoot[];
  readonly revoked: readonly RevokedCertificate[];
  readonly collateral: CollateralSource;
  /** How long after its `nextUpdate` collateral is still good. */
  readonly collateralGraceMs: number;
}

/** Throws `UsageError` for what no caller can mean. */
export function assertTrust({ nowMs, roots, collateralGraceMs }: IntelTrust): void {
  if (!Number.isSafeInteger(nowMs)) throw new UsageError(`${nowMs} is no time in milliseconds`);
  if (!Number.isSafeInteger(collateralGraceMs) || collateralGraceMs < 0)
    throw new UsageError(`${collateralGraceMs} is no grace in milliseconds`);
  if (roots.some(({ sha256 }) => sha256.length !== 32)) throw new UsageError('a root is pinned by 32 bytes');
}
