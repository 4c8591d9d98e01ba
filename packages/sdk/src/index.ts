export { type GenesisDocument, parseGenesisDocument } from '@haca/light-client';
export type {
  Answer,
  CompletedAnswer,
  Lifecycle,
  LifecycleStep,
  UntilOptions,
} from './answer.ts';
export { decodeLightBlock, encodeLightBlock } from './chain/light-block-json.ts';
export { listRecords } from './chain/record-list.ts';
export {
  accountKeyOf,
  accountOf,
  estimateFee,
  fetchAccount,
  fetchBaseFee,
  type SubmitOptions,
  sendTransaction,
  submitOps,
  type TxOutcome,
} from './chain/transactions.ts';
export { parseTrustedHeader, type Trust } from './chain/trust.ts';
export { anchorHeight, trustedChainId, verifyAnchor } from './chain/trust-anchor.ts';
export {
  listValidators,
  registerValidatorOp,
  type ValidatorEntry,
  type ValidatorRegistration,
  validatorAddressOf,
} from './chain/validators.ts';
export { type ChainView, type ChainViewOptions, headerTimeMs, openChainView } from './chain/view.ts';
export {
  type Channel,
  type ChannelWish,
  EMPTY_WALLET_STATE,
  formatWalletState,
  memoryWalletStore,
  openWallet,
  parseWalletState,
  type StoredChannel,
  type Wallet,
  type WalletKey,
  type WalletState,
  type WalletStore,
} from './chain/wallet.ts';
export { HACA_BASE_URL, openHaca } from './client.ts';
export {
  appraisePieces,
  type CollateralEntry,
  type CollateralPiece,
  collateralNeeds,
  collateralTransactions,
  isPostable,
  listCollateral,
  listRevokedCertificates,
  type PieceContext,
  type PieceState,
  scopeText,
  sizeOfTransaction,
  subjectOf,
} from './collateral.ts';
export {
  type DecreePower,
  type DecreeSignature,
  decreeOp,
  decreePower,
  nextDecreeSerial,
  signDecree,
} from './decrees.ts';
export type { Directory, ModelEntry, NodeEntry, Route } from './directory.ts';
export {
  NodeError,
  PaymentError,
  TimeoutError,
  TransactionError,
  UnprovedError,
  VerificationError,
} from './errors.ts';
export {
  type AppraisedDocuments,
  type EvidenceJudgement,
  type EvidenceRequest,
  judgeKeyEvidence,
  type KeyEvidence,
} from './evidence.ts';
export { type EvidenceRecords, type EvidenceTime, openEvidenceRecords } from './evidence-records.ts';
export { type JudgedKey, type KeyToJudge, openKeyJudge } from './key-judge.ts';
export { formatNetworkFile, type NetworkFile, parseNetworkFile } from './network-file.ts';
export {
  type ClaimStatus,
  connectNode,
  type LaneState,
  type NodeApi,
  type NodeAttestation,
  type NodeInfo,
  type ReceiptState,
  type ReceiptStatus,
} from './node-api.ts';
export type {
  ChannelOptions,
  ChatOptions,
  ChatResult,
  Haca,
  HacaOptions,
  InferOptions,
  InferResult,
  ModelShapes,
} from './options.ts';
export { type Platform, randomBytes, type Signer } from './platform.ts';
export { assuranceCheck, DEFAULT_POLICY, meetsPolicy, type Policy, tierCheck } from './policy.ts';
export { parseRequest, type RequestParams } from './request/body.ts';
export { commentText, isDoneEvent, type SseBlock, type SseSplitter, splitSse } from './request/sse.ts';
export {
  isTierAtLeast,
  type MeasurementPhase,
  measurementPhase,
  STANDINGS,
  type Standing,
} from './standing.ts';
export {
  type AnswerExpectations,
  type AnswerRecords,
  assuranceOf,
  judge,
  streamHeadOf,
  verifyAnswer,
} from './verify-answer.ts';
export { type BundleContext, type BundleVerification, verifyBundle } from './verify-bundle.ts';
export type { ProvenClaim, ProvenVerifyingKey, VerifiedZkProof } from './zk/proof.ts';
export type { TensorInput } from './zk/tensors.ts';
export {
  claimIdOfRecord,
  verifyZkReceipt,
  type ZkClaim,
  type ZkReceiptParts,
  type ZkReceiptVerification,
} from './zk/verify.ts';
