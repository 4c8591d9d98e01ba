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

interface ProposalHead {
  readonly txs: readonly Uint8Array[];
  readonly height: number;
  readonly time: Timestamp;
  readonly proposerAddress: Uint8Array;
}

export interface PrepareProposalRequest extends ProposalHead {
  /** Most bytes of all transactions together, as the block encodes them. */
  readonly maxTxBytes: number;
}

/** A whole block: proposed (ProcessProposal) or decided (FinalizeBlock). The same hash means the same block. */
export interface BlockRequest extends ProposalHead {
  /** Hash of the block, 32 bytes. */
  readonly hash: Uint8Array;
  /** Who signed the commit that this block carries: of the block before. */
  readonly lastCommit: readonly VoteInfo[];
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

export interface Snapshot {
  /** Of the state in it. */
  readonly height: number;
  readonly format: number;
  readonly chunks: number;
  /** Names the snapshot: equal on every node that took it at this height in this format. */
  readonly hash: Uint8Array;
  /** At most 4 MB. */
  readonly metadata: Uint8Array;
}

export interface OfferSnapshotRequest {
  readonly snapshot: Snapshot;
  /** App hash at the snapshot's height as the light client verified it: the only thing here that can be trusted. */
  readonly appHash: Uint8Array;
}

export type OfferSnapshotResult = 'accept' | 'abort' | 'reject' | 'reject-format' | 'reject-sender';

export interface SnapshotChunkRequest {
  readonly height: number;
  readonly format: number;
  /** From 0. */
  readonly chunk: number;
}

export interface ApplySnapshotChunkRequest {
  /** From 0. */
  readonly index: number;
  readonly chunk: Uint8Array;
  /** P2P id of whoever sent it. */
  readonly sender: string;
}

export interface ApplySnapshotChunkResponse {
  readonly result: 'accept' | 'abort' | 'retry' | 'retry-snapshot' | 'reject-snapshot';
  readonly refetchChunks: readonly number[];
  readonly rejectSenders: readonly string[];
}

/**
 * Methods that return a promise are awaited before the next call of the consensus connection. A throw or rejection is
 * fail-stop: the caller ends the process rather than go on with another state than the network's.
 */
export interface Application {
  readonly info: () => InfoResponse;
  readonly initChain: (request: InitChainRequest) => InitChainResponse;
  /** Cheap: never waits for a proof. */
  readonly checkTx: (tx: Uint8Array, kind: 'new' | 'recheck') => CheckTxResponse;
  readonly prepareProposal: (request: PrepareProposalRequest) => Promise<readonly Uint8Array[]>;
  readonly processProposal: (request: BlockRequest) => Promise<'accept' | 'reject'>;
  readonly finalizeBlock: (request: BlockRequest) => Promise<FinalizeBlockResponse>;
  /** Makes the finalized block durable, then visible. Rejects if it could not: the caller must stop. */
  readonly commit: (attachment?: BlockAttachment) => Promise<{ readonly retainHeight: number }>;
  readonly query: (request: QueryRequest) => QueryResponse;
  readonly listSnapshots: () => readonly Snapshot[];
  /** Empty where there is no such chunk. */
  readonly loadSnapshotChunk: (request: SnapshotChunkRequest) => Promise<Uint8Array>;
  readonly offerSnapshot: (request: OfferSnapshotRequest) => Promise<OfferSnapshotResult>;
  readonly applySnapshotChunk: (request: ApplySnapshotChunkRequest) => Promise<ApplySnapshotChunkResponse>;
}
