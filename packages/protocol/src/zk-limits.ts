/** Sizes of what method `zk` carries. The limits of the proof system itself are in the circuit contract. */
export const VERIFYING_KEY_MAX_BYTES = 256 * 1024;
export const ZK_PROOF_MAX_BYTES = 640 * 1024;
/** Inferences of one claim, and of one proof. */
export const ZK_BATCH_MAX = 1_024;
/** Public input tensors of a model, and public output tensors. */
export const ZK_TENSORS_MAX = 64;
export const ZK_SALT_BYTES = 32;
