export {
  type AdmissionMode,
  type AdmissionWindow,
  BLOCK_BYTES_MAX,
  BLOCK_PERMANENT_ROWS_MAX,
  baseFeeOf,
  blockGasLimits,
  decodeForAdmission,
  openAdmission,
} from './admission.ts';
export { executeBlock, executeProposal, rehearseTransactions } from './block.ts';
export { applyGenesis, type GenesisState } from './genesis.ts';
export { checkInvariants, decodeRecordValue, runningViolations, transitionViolations } from './invariants.ts';
export { type MeasurementPhase, measurementPhase } from './measurements.ts';
export { type KeyPhase, keyClosingAt, keyDrainedAt, keyPhase } from './node-keys.ts';
export { type AskedSignature, signaturesOfDecrees } from './ops/decree.ts';
export { assuranceOf } from './ops/keys.ts';
export {
  checkRunningTotals,
  type FeeState,
  feeState,
  keyStandingOf,
  readChainConfig,
  refuseAllEvidence,
  refuseAllProofs,
} from './queries.ts';
export type { Refusal } from './refusal.ts';
export { type KeyStanding, STANDINGS, type Standing } from './standing.ts';
export { StateCorruptError } from './state.ts';
export type * from './types.ts';
export { consensusAddress, NOPG_PER_POWER } from './validators.ts';
