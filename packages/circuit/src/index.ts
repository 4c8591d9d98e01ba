/** The zkML statement: key, program, public tensors. */

export type { ZkStatement } from '@haca/protocol';
export { chooseOpening } from './choose-opening.ts';
export {
  type AxisRelation,
  encodeVerifyingKey,
  KEY_VERSION,
  type Op,
  type OpOf,
  parseVerifyingKey,
  type RequantizeMode,
  TENSOR_KINDS,
  TENSOR_ROLES,
  type TensorKind,
  type TensorRole,
  type TensorSpec,
  VERIFYING_KEY_CDDL,
  type VerifyingKey,
  verifyingKeyHash,
} from './key.ts';
export { blocksOf } from './layout.ts';
export { INTEGER_BOUND, LIMITS, REPRESENTATION_RANGE } from './limits.ts';
export { bitsOfExtent, KeyError } from './lowering/builder.ts';
export { softmaxScales } from './lowering/softmax.ts';
export {
  encodeHzk,
  HZK_BYTES_MAX,
  HZK_HEADER_CDDL,
  type HzkModel,
  type HzkPort,
  parseHzk,
} from './model-file.ts';
export {
  CAP_BITS,
  capDigests,
  foldDepths,
  PROOF_HEADER_BYTES,
  plan,
  planRegistration,
  planWith,
  validateVerifyingKey,
  zkPlanningUnits,
  zkProgramGas,
  zkRegistrationGas,
  zkVerificationGas,
} from './plan.ts';
export * from './program.ts';
export {
  encodeProofFile,
  HZP_BYTES_MAX,
  HZP_CDDL,
  isOfContext,
  offChainIds,
  type ProofFile,
  parseProofFile,
} from './proof-file.ts';
export {
  algebraicError,
  leastQueries,
  profileParameters,
  provenBits,
  type SecurityParameters,
  type SoundnessShape,
} from './soundness.ts';
export {
  createValues,
  decodeTensor,
  encodeTensor,
  forEachRun,
  padTensor,
  programDigest,
  publicTensorShapes,
  registrationHeader,
  registrationStatement,
  statementHeader,
  type TensorShape,
  type TensorValues,
  tensorRowBytes,
  unpadTensor,
} from './statement.ts';
