/**
 * The seam between consensus and application: ABCI 2.0 (CometBFT v0.38 to v0.40) as TypeScript. The embedded engine calls
 * it in-process; a socket server can call the same object. Names and meaning follow the ABCI specification.
 */
import type { Timestamp, Validator } from '@haca/light-client';

export interface EventAttribute {
  readonly key: string;
  readonly value: string;
  /** Whether indexers keep it. */
  readonly index: boolean;
}

export interface AbciEvent {
  readonly type: string;
  readonly attributes: readonly EventAttribute[];
}

export interface ExecTxResult {
  readonly code: number;
  readonly data: Uint8Array;
  readonly log: string;
  readonly info: string;
  readonly gasWanted: bigint;
  readonly gasUsed: bigint;
  readonly events: readonly AbciEvent[];
  readonly codespace: string;
}

export interface ValidatorPower {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 0 removes the validator. */
  readonly power: bigint;
}

export interface VoteInfo {
  /** Validator address, 20 bytes. */
  readonly address: Uint8Array;
  readonly power: bigint;
  readonly signed: boolean;
}

export interface Misbehavior {
  readonly kind: 'duplicate-vote' | 'light-client-attack';
  readonly address: Uint8Array;
  readonly height: number;
}

export interface InfoResponse {
  readonly data: string;
  readonly version: string;
  readonly appVersion: number;
  /** Of the last durable Commit; 0 before the first. */
  readonly lastBlockHeight: number;
  readonly lastBlockAppHash: Uint8Array;
}

export interface InitChainRequest {
  readonly time: Timestamp;
  readonly chainId: string;
  readonly validators: readonly Validator[];
  /** The genesis document's `app_state` as JSON bytes. */
  readonly appState: Uint8Array;
  readonly initialHeight: number;
}

export interface InitChainResponse {
  readonly validators: readonly Validator[];
  readonly appHash: Uint8Array;
}

export interface CheckTxResponse {
  /** 0: keep it. */
  readonly code: number;
  readonly log: string;
  readonly codespace: string;
  readonly gasWanted: bigint;
}

export interface ProposalRequest {
  readonly txs: readonly Uint8Array[];
  readonly height: number;
  readonly time: Timestamp;
  readonly proposerAddress: Uint8Array;
}

export interface PrepareProposalRequest extends ProposalRequest {
  /** Most bytes of all transactions together, as the block encodes them. */
  readonly maxTxBytes: number;
}

export interface FinalizeBlockRequest extends ProposalRequest {
  /** Hash of the block, 32 bytes. */
  readonly hash: Uint8Array;
  readonly decidedLastCommit: readonly VoteInfo[];
  readonly misbehavior: readonly Misbehavior[];
}

export interface FinalizeBlockResponse {
  readonly events: readonly AbciEvent[];
  readonly txResults: readonly ExecTxResult[];
  readonly validatorUpdates: readonly ValidatorPower[];
  readonly appHash: Uint8Array;
}

/** What an in-process engine keeps of a block; written in the same synced record as the state it leads to. */
export interface BlockAttachment {
  readonly block: Uint8Array;
  readonly commit: Uint8Array;
}

export interface QueryRequest {
  readonly path: string;
  readonly data: Uint8Array;
  /** 0: the newest. */
  readonly height: number;
  readonly prove: boolean;
}

export interface ProofOp {
  readonly type: string;
  readonly key: Uint8Array;
  readonly data: Uint8Array;
}

export interface QueryResponse {
  readonly code: number;
  readonly log: string;
  readonly info: string;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly proofOps: readonly ProofOp[] | null;
  readonly height: number;
  readonly codespace: string;
}

export interface Application {
  readonly info: () => InfoResponse;
  readonly initChain: (request: InitChainRequest) => InitChainResponse;
  readonly checkTx: (tx: Uint8Array, kind: 'new' | 'recheck') => CheckTxResponse;
  readonly prepareProposal: (request: PrepareProposalRequest) => readonly Uint8Array[];
  readonly processProposal: (request: ProposalRequest) => 'accept' | 'reject';
  readonly finalizeBlock: (request: FinalizeBlockRequest) => FinalizeBlockResponse;
  /** Makes the finalized block durable, then visible. Rejects if it could not: the caller must stop. */
  readonly commit: (attachment?: BlockAttachment) => Promise<{ readonly retainHeight: number }>;
  readonly query: (request: QueryRequest) => QueryResponse;
}
