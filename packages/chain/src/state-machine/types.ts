/** What goes into and comes out of the state machine. Everything here is data; nothing of it reads a clock or a disk. */
import type { CryptoProvider } from '@haca/primitives';
import type {
  ChainConfigRecord,
  Collateral,
  CollateralRef,
  ErrorCode,
  EvidenceEnvelope,
  EvidenceKind,
  Hardware,
  Measurement,
  OpKind,
  QueueTask,
  RegistrationBinding,
  SignedObject,
  Statement,
  Transaction,
  TransactionClass,
  Verdict,
  VerifyingKeyRecord,
  ZkStatement,
} from '@haca/protocol';
import type { EvidenceRules } from '@haca/verifier';
import type { Refusal } from './refusal.ts';

export type { EvidenceRules };

/** State as of the block before. `get` returns bytes the callee will not change; it is asked by exact key only. */
export interface StateView {
  readonly get: (key: Uint8Array) => Uint8Array | undefined;
}

/** A view that can also be walked, for recomputing invariants and for tools. Any order. */
export interface EnumerableView extends StateView {
  readonly entries: () => Iterable<readonly [key: Uint8Array, value: Uint8Array]>;
}

/** `null` removes the record. */
export type Change = readonly [key: Uint8Array, value: Uint8Array | null];

/** What genesis fixed, as the state holds it (record `params`). */
export type ChainConfig = ChainConfigRecord;

/** Rules out of the state. Lists of a block are the same objects as long as they are not changed. */
export interface StateEvidenceRules extends EvidenceRules {
  /** Which of the evaluations that are good `collateral` gives. */
  readonly evaluation: 'in-force' | 'newest-superseded' | 'oldest-superseded';
}

/** What evidence must show, all of it from the chain and the transaction, none of it from the evidence. */
export interface EvidenceExpectations extends StateEvidenceRules {
  readonly binding: RegistrationBinding;
  /** `registrationBindingHash`: 64 bytes of user or report data. */
  readonly bindingHash: Uint8Array;
}

/** What accepted evidence says, as far as the chain keeps it. */
export interface EvidenceClaims {
  /** 32 bytes naming the verified claims whatever their encoding. */
  readonly claimsDigest: Uint8Array;
  /** Block time from which the evidence backs no new batch, whatever becomes of the collateral. */
  readonly endMs: number;
  /** Earliest `nextUpdate` of the collateral it was judged by; null where none was used. */
  readonly collateralEndMs: number | null;
  /** It was accepted under a test root. */
  readonly simulated: boolean;
  /** The approved measurement it matched: one of those expected. */
  readonly measurement: Measurement;
  /** What it is judged by again, at most 4 KiB. */
  readonly facts: Uint8Array;
  /** The cloud in whose data centre it provably runs. */
  readonly cloud: string | null;
  readonly hardware: readonly Hardware[];
}

export interface EvidenceAppraisal {
  readonly verdict: Verdict;
  /** Null unless the verdict is ok. */
  readonly claims: EvidenceClaims | null;
  /** Of authentic evidence, also where it is refused; null where its kind has none. */
  readonly tcbStatus: string | null;
}

/** Total and pure: hostile bytes give a verdict, and signatures are verified by `crypto` and nothing else. */
export type AppraiseEvidence = (
  envelope: EvidenceEnvelope,
  expectations: EvidenceExpectations,
  crypto: CryptoProvider,
) => EvidenceAppraisal;

/** What is wrong with evidence that was good once. */
export type EvidenceFault = 'stale-collateral' | 'tcb-out-of-date' | 'certificate-revoked';

export interface EvidenceRescoring {
  /** Null where it is still good. */
  readonly fault: EvidenceFault | null;
  readonly tcbStatus: string | null;
  readonly collateralEndMs: number | null;
}

/** Facts of accepted evidence, judged again. Total and pure. */
export type RescoreEvidence = (
  kind: EvidenceKind,
  facts: Uint8Array,
  rules: StateEvidenceRules,
  crypto: CryptoProvider,
) => EvidenceRescoring;

/** What authentic and current collateral says of itself. */
export interface CollateralFacts {
  readonly ref: CollateralRef;
  readonly simulated: boolean;
  /** `tcbEvaluationDataNumber` or the number of a revocation list, and the time of issue. */
  readonly version: readonly [number: number, issuedMs: number];
  readonly nextUpdateMs: number;
}

/** Total and pure. Facts are null unless the verdict is ok. */
export type AppraiseCollateral = (
  item: Collateral,
  rules: StateEvidenceRules,
  crypto: CryptoProvider,
) => { readonly verdict: Verdict; readonly facts: CollateralFacts | null };

/** Evidence as the state machine asks about it. */
export interface EvidenceVerifier {
  readonly appraise: AppraiseEvidence;
  readonly rescore: RescoreEvidence;
  readonly appraiseCollateral: AppraiseCollateral;
}

/** What the circuit derives from a verifying key: the chain keeps it, so that nobody has to derive it again. */
export type ZkKeyFacts = Pick<
  VerifyingKeyRecord,
  'batchMax' | 'verificationGas' | 'proofBytes' | 'inputRowBytes' | 'outputRowBytes'
>;

export interface ZkKeyOutline {
  /** And what counts as more than one of them. */
  readonly ops: number;
  readonly tensors: number;
  readonly batchMax: number;
}

export type ZkKeyAppraisal =
  | {
      readonly ok: true;
      readonly hash: Uint8Array;
      readonly facts: ZkKeyFacts;
      /** What verifying a registration proof of the key costs. */
      readonly registrationGas: number;
    }
  | { readonly ok: false; readonly info: string };

export interface ZkProofCheck {
  readonly verifyingKey: Uint8Array;
  readonly statement: ZkStatement;
  readonly proof: Uint8Array;
}

export interface ZkRegistrationCheck {
  readonly verifyingKey: Uint8Array;
  readonly proof: Uint8Array;
}

/**
 * The proof system as the state machine asks it. Every answer is a function of the arguments alone, total on hostile bytes and of
 * bounded cost; the same on every machine, or nodes would differ.
 */
export interface ZkProofSystem {
  /** What the cost of checking a key hangs on, by reading it once; undefined where the bytes are no key at all. */
  readonly outlineKey: (verifyingKey: Uint8Array) => ZkKeyOutline | undefined;
  /** Every rule that a verifying key has to keep, its hash, and what its proofs cost. */
  readonly appraiseKey: (verifyingKey: Uint8Array) => ZkKeyAppraisal;
  /** Why the tensors (as in a statement) are not values of the key's public tensors; undefined where they are. */
  readonly checkTensors: (
    verifyingKey: Uint8Array,
    tensors: Pick<ZkStatement, 'inputs' | 'outputs' | 'batchSize'>,
  ) => string | undefined;
  readonly verifyProof: (check: ZkProofCheck) => boolean;
  /** Null where the proof system has none: then none is asked for. */
  readonly verifyRegistration: ((check: ZkRegistrationCheck) => boolean) | null;
}

export interface DecodedTransaction {
  readonly transaction: Transaction;
  /** The statement of each `settle`, and of each `prove` that redeems, by index of its operation. */
  readonly statements: readonly (SignedObject<Statement> | undefined)[];
}

/** What does not change from block to block. */
export interface ExecutionContext {
  readonly crypto: CryptoProvider;
  readonly config: ChainConfig;
  readonly evidence: EvidenceVerifier;
  readonly zk: ZkProofSystem;
  /** Gives what `decodeForAdmission` gives, perhaps from memory; that function itself if not said. */
  readonly decode?: (tx: Uint8Array) => DecodedTransaction | Refusal;
  /** Collect the postings of every step into the block's output (tests, devnet, explorers). */
  readonly collectPostings?: boolean;
}

/** The block that is being built or executed. */
export interface BlockHead {
  readonly height: number;
  readonly timeMs: number;
}

export interface BlockInput extends BlockHead {
  readonly txs: readonly Uint8Array[];
  /** Consensus address (20 bytes) of the proposer. */
  readonly proposer: Uint8Array;
  /** Who signed the commit this block carries: of the block before. Empty at the first height. */
  readonly lastCommit: readonly { readonly address: Uint8Array; readonly signed: boolean }[];
  /** Double signs and light-client attacks that the consensus engine proved. */
  readonly misbehavior?: readonly { readonly address: Uint8Array; readonly height: number }[];
  /** Hash of this block, 32 bytes. */
  readonly hash: Uint8Array;
  /**
   * Hash of the block at a height among the last `settleWindow`. Asked only for blocks since the last one that paid gas: the
   * state holds the others. Undefined for heights before the first block; it MUST know all others, or nodes would differ.
   */
  readonly recentBlockHash: (height: number) => Uint8Array | undefined;
}

export interface ChainEvent {
  readonly type: string;
  readonly attributes: readonly (readonly [name: string, value: string])[];
}

export interface TxResult {
  /** 0 if applied; else the number of `codeName`. */
  readonly code: number;
  readonly codeName: ErrorCode;
  /** Verification gas charged; 0 where the transaction was not payable and is a no-op. */
  readonly gasUsed: number;
  readonly gasWanted: number;
  readonly events: readonly ChainEvent[];
  /** For people; no part of consensus. */
  readonly info: string;
}

/** One movement: which slot of which ledger, by how much. */
export interface Posting {
  readonly ledger: 'opg' | `credit/${number}`;
  readonly slot: string;
  readonly amount: bigint;
}

/** The postings of one step: the fee of a transaction, one of its operations, or one end-of-block step. */
export interface PostingStep {
  readonly step: 'genesis' | 'fee' | OpKind | 'slash' | 'epoch' | 'misbehavior' | QueueTask['task'];
  /** Index of the transaction; absent for steps of the block itself. */
  readonly txIndex?: number;
  readonly postings: readonly Posting[];
}

export interface ValidatorUpdate {
  /** Ed25519 consensus key. */
  readonly consensusKey: Uint8Array;
  /** 0 removes it. */
  readonly power: number;
}

export interface BlockOutput {
  /** Sorted bytewise by key, no key twice, every value different from what was there. */
  readonly changes: readonly Change[];
  /** One per transaction, in order. */
  readonly results: readonly TxResult[];
  readonly validatorUpdates: readonly ValidatorUpdate[];
  /** Events of the block's own steps. */
  readonly events: readonly ChainEvent[];
  readonly gasUsed: number;
  readonly baseFee: bigint;
  /** OPG taken out of existence by this block, fees and slashes. */
  readonly burnedNopg: bigint;
  /** Broken running totals (I1, I2): always empty unless the state machine itself is wrong. */
  readonly violations: readonly string[];
  readonly postings?: readonly PostingStep[];
}

/** A transaction that is payable at this point of the block. */
export interface AdmittedTransaction {
  /** Account of the sender and of whoever pays the fee. */
  readonly sender: Uint8Array;
  readonly payer: Uint8Array;
  readonly nonce: number;
  readonly validUntil: number;
  readonly class: TransactionClass;
  /** The node whose bucket it draws on; class S only. */
  readonly nodeId: Uint8Array | null;
  readonly gas: number;
  readonly sizeBytes: number;
  readonly maxFee: bigint;
  /** Per gas, what the proposer gets: for ordering. */
  readonly tip: bigint;
}

export type Admission =
  | { readonly ok: true; readonly admitted: AdmittedTransaction }
  | { readonly ok: false; readonly code: ErrorCode; readonly info: string };
