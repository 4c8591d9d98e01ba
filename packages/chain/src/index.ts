export type {
  AbciEvent,
  Application,
  BlockRequest,
  CheckTxResponse,
  ExecTxResult,
  FinalizeBlockResponse,
  ProofOp,
  QueryRequest,
  QueryResponse,
} from './abci.ts';
export {
  type CallFacts,
  type CallLog,
  type CallLogEntry,
  type CallRecorder,
  callLogEntries,
  openCallLog,
  readCallLog,
} from './abci-socket/call-log.ts';
export {
  checkAbciGrammar,
  type GrammarOptions,
  type GrammarVerdict,
} from './abci-socket/grammar.ts';
export type { AbciAddress } from './abci-socket/listen.ts';
export {
  ABCI_LIMITS,
  type AbciLimits,
  type AbciServer,
  type AbciServerOptions,
  serveAbci,
} from './abci-socket/server.ts';
export { eventTags } from './application/event-tags.ts';
export { EVIDENCE_VERIFIER } from './application/evidence.ts';
export { type InvariantReport, STATE_PROOF_TYPE } from './application/queries.ts';
export type { RetentionOptions } from './application/retention.ts';
export { ZK_BACKEND, type ZkBackend } from './application/zk-backend.ts';
export {
  APP_VERSION,
  type ApplicationOptions,
  type HacaApplication,
  openApplication,
} from './application.ts';
export { APPLICATION_PROCESS } from './cometbft/application-process.ts';
export {
  buildCometBft,
  COMETBFT_VERSION,
  COMETBFT_VERSIONS,
  CometBftBuildError,
  type CometBftProgram,
  type CometBftVersion,
  findCometBft,
  parseCometBftVersion,
} from './cometbft/binary.ts';
export {
  type CometBftHome,
  type CometBftHomeOptions,
  type CometBftSettings,
  nodeKeyFile,
  type StateSyncOptions,
  TIMINGS,
  type Timing,
  writeCometBftHome,
} from './cometbft/home.ts';
export { ensureNodeKey, type PeerId, readPeerId } from './cometbft/keys.ts';
export { type CometBftNode, type CometBftNodeOptions, startCometBftNode } from './cometbft/supervisor.ts';
export { type BlockReader, createBlockReader, HeightError } from './engine/block-reader.ts';
export type { ChainTip } from './engine/chain-tip.ts';
export { type CommittedBlock, type Engine, type EngineOptions, startEngine } from './engine/engine.ts';
export { type Mempool, MempoolError } from './engine/mempool.ts';
export { DoubleSignError, openSignGuard, type SignGuard } from './engine/sign-guard.ts';
export { createValidatorKeyFile, readValidatorKeyFile } from './engine/validator-key.ts';
export { type FullNode, type FullNodeOptions, NODE_VERSION, startFullNode } from './full-node.ts';
export {
  BLOCK_MAX_BYTES_DEFAULT,
  type GenesisOptions,
  genesisHash,
  makeGenesisDocument,
} from './genesis-document.ts';
export { RPC_LIMITS, type RpcLimits, type RpcServer, type StaticPage, startRpcServer } from './rpc/server.ts';
export type { SnapshotOptions } from './snapshots/index.ts';
export {
  applyGenesis,
  type BlockInput,
  type BlockOutput,
  type ChainConfig,
  type Change,
  checkInvariants,
  decodeRecordValue,
  type EvidenceClaims,
  type EvidenceExpectations,
  type EvidenceVerifier,
  type ExecutionContext,
  executeBlock,
  type KeyPhase,
  keyPhase,
  openAdmission,
  readChainConfig,
  refuseAllEvidence,
  refuseAllProofs,
  type StateEvidenceRules,
  type StateView,
  type ZkKeyFacts,
  type ZkProofSystem,
} from './state-machine/index.ts';
export { createStateTree, type StateTree } from './state-tree/index.ts';
export {
  openStore,
  type RolledBack,
  restoreStateTree,
  rollbackStore,
  StorageCorruptError,
  StorageFailedError,
  type Store,
  type StoreOptions,
} from './storage/index.ts';
