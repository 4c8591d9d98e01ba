import { bytesEqual, fromHex } from '@haca/primitives';
import type { EvidenceKind } from '@haca/protocol';

/** A root certificate that is trusted, by the SHA-256 of its DER: pinned bytes, never a name or a key. */
export interface TrustRoot {
  readonly sha256: Uint8Array;
  /** The root of a software test enclave. The mark goes with every claim made under it. */
  readonly simulated: boolean;
}

function vendorRoot(sha256: string): TrustRoot {
  return { sha256: fromHex(sha256), simulated: false };
}

/** AWS Nitro Enclaves Root G1, as AWS publishes its fingerprint. */
export const AWS_NITRO_ROOT_G1_SHA256 = '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b';
export const AWS_NITRO_ROOT_G1: TrustRoot = vendorRoot(AWS_NITRO_ROOT_G1_SHA256);
/** Intel SGX Root CA, for SGX and TDX. */
export const INTEL_SGX_ROOT: TrustRoot = vendorRoot(
  '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3',
);
/** AMD root keys (ARK) of SEV-SNP, one per product line. */
export const AMD_ARK_MILAN: TrustRoot = vendorRoot(
  '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd',
);
export const AMD_ARK_GENOA: TrustRoot = vendorRoot(
  '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1',
);
export const AMD_ARK_TURIN: TrustRoot = vendorRoot(
  '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a',
);
/** NVIDIA Device Identity CA. */
export const NVIDIA_DEVICE_ROOT: TrustRoot = vendorRoot(
  '102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48',
);
/** NVIDIA CoRIM signing Root CA, for reference manifests: it vouches for no device, nor the other for a manifest. */
export const NVIDIA_RIM_ROOT: TrustRoot = vendorRoot(
  '12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1',
);

const INTEL_ROOTS = [INTEL_SGX_ROOT] as const;
const AMD_ROOTS = [AMD_ARK_MILAN, AMD_ARK_GENOA, AMD_ARK_TURIN] as const;

/** Roots of one vendor never vouch for evidence of another. */
const VENDOR_ROOTS: Readonly<Record<EvidenceKind, readonly TrustRoot[]>> = {
  nitro: [AWS_NITRO_ROOT_G1],
  tdx: INTEL_ROOTS,
  sgx: INTEL_ROOTS,
  dstack: INTEL_ROOTS,
  snp: AMD_ROOTS,
  nvidia: [NVIDIA_DEVICE_ROOT],
  azure: [...INTEL_ROOTS, ...AMD_ROOTS],
};

/** The roots that vendors publish for evidence of this kind. */
export function vendorRoots(kind: EvidenceKind): readonly TrustRoot[] {
  return VENDOR_ROOTS[kind];
}

/**
 * The roots that a genesis allows for evidence of this kind: always the vendor's, and the test roots of a simulated network.
 * `testRoots` are SHA-256 of DER; a genesis that is not simulated has none (its parser refuses them).
 */
export function genesisTrustRoots(
  kind: EvidenceKind,
  genesis: { readonly simulated: boolean; readonly testRoots: readonly Uint8Array[] },
): readonly TrustRoot[] {
  if (!genesis.simulated) return vendorRoots(kind);
  return [...vendorRoots(kind), ...genesis.testRoots.map((sha256) => ({ sha256, simulated: true }))];
}

/** The root with this fingerprint. A root listed both as simulated and not counts as simulated. */
export function findTrustRoot(roots: readonly TrustRoot[], sha256: Uint8Array): TrustRoot | undefined {
  const matches = roots.filter((root) => bytesEqual(root.sha256, sha256));
  return matches.find(({ simulated }) => simulated) ?? matches[0];
}
