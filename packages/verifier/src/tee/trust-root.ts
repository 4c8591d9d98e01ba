import { bytesEqual, fromHex } from '@haca/primitives';

/** A root certificate that is trusted, by the SHA-256 of its DER: pinned bytes, never a name or a key. */
export interface TrustRoot {
  readonly sha256: Uint8Array;
  /** The root of a software test enclave. The mark goes with every claim made under it. */
  readonly simulated: boolean;
}

/** SHA-256 of the DER of the AWS Nitro Enclaves root G1, as AWS publishes it. */
export const AWS_NITRO_ROOT_G1_SHA256 = '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b';

export const AWS_NITRO_ROOT_G1: TrustRoot = {
  sha256: fromHex(AWS_NITRO_ROOT_G1_SHA256),
  simulated: false,
};

/**
 * The roots that a genesis allows for Nitro documents: always the one of AWS, and the test roots of a simulated network.
 * `testRoots` are SHA-256 of DER; a genesis that is not simulated has none (its parser refuses them).
 */
export function nitroTrustRoots(genesis: {
  readonly simulated: boolean;
  readonly testRoots: readonly Uint8Array[];
}): readonly TrustRoot[] {
  if (!genesis.simulated) return [AWS_NITRO_ROOT_G1];
  return [AWS_NITRO_ROOT_G1, ...genesis.testRoots.map((sha256) => ({ sha256, simulated: true }))];
}

/** The root with this fingerprint. A root listed both as simulated and not counts as simulated. */
export function findTrustRoot(roots: readonly TrustRoot[], sha256: Uint8Array): TrustRoot | undefined {
  const matches = roots.filter((root) => bytesEqual(root.sha256, sha256));
  return matches.find(({ simulated }) => simulated) ?? matches[0];
}
