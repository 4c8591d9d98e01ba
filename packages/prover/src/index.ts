/** Proofs of inference. */
export type {
  AxisUse,
  CellMask,
  Column,
  ColumnsRequest,
  CommittedTree,
  Folding,
  FractionTree,
  LeafSegment,
  PartialEvaluation,
  ProductSumcheck,
  ProverBackend,
  RowSumcheck,
  Sumcheck,
  Vector,
} from './backend.ts';
export {
  type CommittedWeights,
  type CommitWeightsRequest,
  commitProgramWeights,
  commitWeights,
} from './commit-weights.ts';
export { PHASES, type ProgressOptions, type ProverPhase, type ProverProgress } from './progress.ts';
export {
  type AssignmentRequest,
  OutputMismatchError,
  type ProveRequest,
  prove,
  proveAssignment,
  proveRegistration,
} from './prove.ts';
export { referenceBackend } from './reference-backend.ts';
export type { Assignment } from './tensor-store.ts';
export { type MemoryUsage, type WasmBackend, type WasmBackendOptions, wasmBackend } from './wasm/backend.ts';
