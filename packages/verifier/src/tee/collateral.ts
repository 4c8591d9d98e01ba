import type { CollateralKind, CollateralOf, CollateralRef } from '@haca/protocol';

/**
 * Where verification takes collateral from: the chain's records, a bundle, a folder. Never the evidence itself. It must be a
 * function of the reference; what it returns is verified like anything else, so it need not be trusted. Null: there is none,
 * and whatever needs it is skipped.
 */
export type CollateralSource = <K extends CollateralKind>(
  ref: CollateralRef & { readonly kind: K },
) => CollateralOf<K> | null;

export const NO_COLLATERAL: CollateralSource = () => null;
