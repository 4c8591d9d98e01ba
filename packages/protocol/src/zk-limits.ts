/** Sizes of what method `zk` carries. The limits of the proof system itself are in the circuit contract. */
export const VERIFYING_KEY_MAX_BYTES = 256 * 1024;
export const ZK_PROOF_MAX_BYTES = 640 * 1024;
/** Inferences of one claim, and of one proof. */
export const ZK_BATCH_MAX = 1_024;
/** Public input tensors of a model, and public output tensors. */
export const ZK_TENSORS_MAX = 64;
export const ZK_SALT_BYTES = 32;

/** Index of the entry of a per-batch list (`verificationGas`, `proofBytes` of a verifying key) that is for `count`. */
export function zkBatchIndex(count: number): number {
  return count <= 1 ? 0 : 32 - Math.clz32(count - 1);
}
