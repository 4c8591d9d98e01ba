/**
 * Limits of the zkML protocol: every list, tensor and sum is held against them before anything is allocated.
 * A verifying key comes from a stranger, so these are what makes its cost known beforehand (spec/zkml.md).
 */
export const LIMITS = {
  keyBytes: 256 * 1024,
  tensors: 4_096,
  ops: 1_024,
  axes: 6,
  extent: 2 ** 24,
  /** Cells of one padded tensor, as a power of two. */
  tensorBits: 28,
  lists: 64,
  listEntries: 2 ** 16,
  tables: 64,
  tableRows: 2 ** 16,
  tableRowsInAll: 2 ** 17,
  lookups: 2 ** 30,
  treeBits: 26,
  columns: 256,
  codewordBits: 27,
  maxBatch: 1_024,
  publicCells: 2 ** 22,
  /** Cells of public tensors times the claims evaluated on them. */
  publicWork: 2 ** 24,
  claims: 4_096,
  /** Claims on a sum up to which each is forwarded by itself; above, and on anything else, they are merged. */
  forwardedClaims: 4,
  aggregatedClaims: 64,
  steps: 8_192,
  /** Taps times positions of one axis relation of a wire. */
  relationCells: 2 ** 14,
  stride: 4_096,
  offset: 2 ** 16,
  proofBytes: 640 * 1024,
  /** Proven bits below which a key is refused. */
  securityBits: 100,
} as const;

/** The largest absolute value that has one residue: (p - 1) / 2 for BabyBear. */
export const INTEGER_BOUND = 1_006_632_960;

/** Both sides of an identity between digits and an integer lie in one interval shorter than p. */
export const REPRESENTATION_RANGE = 2 ** 30;
