/** What waits in the mempool, as the application sees it: who pays for it, and what must not pile up. */
import { sha256, toHex } from '@haca/primitives';
import {
  accountIdOf,
  codeNumber,
  decreeMessage,
  type ErrorCode,
  type Op,
  type OpOf,
  type SignedObject,
  type Statement,
  transactionClass,
} from '@haca/protocol';
import type { CheckTxResponse } from '../abci.ts';
import type { AdmissionWindow, AdmittedTransaction, Refusal } from '../state-machine/index.ts';
import type { KnownTransaction, KnownTransactions } from './known-transactions.ts';
import { CODESPACE } from './responses.ts';

export interface PendingLimits {
  /** Slots and bytes of the whole mempool; general transactions get half of each. */
  readonly slots: number;
  readonly bytes: number;
  /** General transactions of one payer. */
  readonly generalPerPayer: number;
}

export const PENDING_LIMITS: PendingLimits = { slots: 5_000, bytes: 64 * 1024 * 1024, generalPerPayer: 16 };

/** One part in so many of the whole mempool's slots and bytes is for decrees only. */
const DECREE_SHARE = 64;

/**
 * And never more bytes than this, of those that wait and of those that were replaced: CometBFT hands a proposer the oldest of
 * its mempool up to the bytes of a block (4 MiB), and what is behind them does not exist for it, whatever its class.
 */
const GENERAL_BYTES_MAX = 1024 * 1024;

export interface PendingTransaction {
  readonly hash: string;
  readonly admitted: AdmittedTransaction;
  /** It carries evidence or proofs, too dear to verify for the mempool. */
  readonly hasEvidence: boolean;
  /** In order, where it has nothing but decrees; else empty. */
  readonly decreeNames: readonly string[];
}

export interface PendingPool {
  /** After a block: forgets everything; what is still in the mempool comes back by recheck. */
  readonly reset: () => void;
  readonly check: (tx: Uint8Array, kind: 'new' | 'recheck') => CheckTxResponse;
  readonly find: (tx: Uint8Array) => PendingTransaction | undefined;
  /** The same for what does not wait but could, by itself; undefined if it could not, or was replaced. */
  readonly inspect: (tx: Uint8Array) => PendingTransaction | undefined;
}

export interface PendingContext {
  /** Opens phase 1 for the next block over the committed state. */
  readonly openWindow: () => AdmissionWindow;
  readonly known: KnownTransactions;
  /** Why the next block would not apply these decrees in their order; undefined where it would. */
  readonly decreeRefusal: (decrees: readonly OpOf<'decree'>[]) => Refusal | undefined;
}

export function createPendingPool(
  { openWindow, known, decreeRefusal }: PendingContext,
  limits: PendingLimits = PENDING_LIMITS,
): PendingPool {
  let window: AdmissionWindow | null = null;
  /** Of all classes but decrees. */
  let otherCount = 0;
  let otherBytes = 0;
  let generalCount = 0;
  let generalBytes = 0;
  /** Replaced since the last block: they fill the mempool until their recheck. */
  let staleCount = 0;
  let staleBytes = 0;
  const byHash = new Map<string, PendingTransaction>();
  const byNonce = new Map<string, PendingTransaction>();
  const generalOfPayer = new Map<string, number>();
  const settlementSlots = new Set<string>();
  const decreesWaiting = new Set<string>();
  const replaced = new Set<string>();
  /** As long as they are known. */
  const outlines = new WeakMap<KnownTransaction, Outline>();

  const outlineOf = (tx: Uint8Array): Outline | null => {
    const entry = known.lookUp(tx);
    const outline = outlines.get(entry) ?? makeOutline(entry);
    if (outline !== null) outlines.set(entry, outline);
    return outline;
  };

  const reset = (): void => {
    window = null;
    otherCount = 0;
    otherBytes = 0;
    generalCount = 0;
    generalBytes = 0;
    staleCount = 0;
    staleBytes = 0;
    for (const table of [byHash, byNonce, generalOfPayer, settlementSlots, decreesWaiting]) table.clear();
    // Those replaced leave by their recheck; what a block took all the same would stay for ever.
    if (replaced.size > limits.slots) replaced.clear();
  };

  /** Asked before the window counts the transaction in: a refusal leaves no trace. */
  const overLimit = (outline: Outline): CheckTxResponse | null => {
    if (outline.slots.some((slot) => settlementSlots.has(slot))) {
      return refused(
        'E_BUCKET',
        'a settlement, proof or key of the same subject waits: send the next after the block',
      );
    }
    if (outline.decrees.length > 0) return null;
    const isCrowded =
      DECREE_SHARE * (otherCount + staleCount + 1) > (DECREE_SHARE - 1) * limits.slots ||
      DECREE_SHARE * (otherBytes + staleBytes + outline.sizeBytes) > (DECREE_SHARE - 1) * limits.bytes;
    if (isCrowded) return refused('E_CLASS', 'the mempool has room left for decrees only');
    if (!outline.isGeneral) return null;
    const waiting = generalOfPayer.get(outline.payer) ?? 0;
    if (waiting >= limits.generalPerPayer) {
      return refused('E_CLASS', `${waiting} transactions of this payer wait already`);
    }
    const isFull =
      2 * (generalCount + 1) > limits.slots ||
      generalBytes + outline.sizeBytes > Math.min(limits.bytes / 2, GENERAL_BYTES_MAX);
    return isFull ? refused('E_CLASS', 'the mempool has no room left for general transactions') : null;
  };

  /** What takes room of the decrees is one, and waits once, whoever brings it: a second could only ever pay for nothing. */
  const decreeFault = (outline: Outline): CheckTxResponse | null => {
    if (outline.decrees.length === 0) return null;
    if (outline.decreeNames.some((name) => decreesWaiting.has(name))) {
      return refused('E_CLASS', 'this decree waits already, in another transaction');
    }
    const refusal = decreeRefusal(outline.decrees);
    return refusal === undefined ? null : refused(refusal.code, refusal.info);
  };

  const add = (outline: Outline, admitted: AdmittedTransaction): void => {
    const pending = pendingOf(outline, admitted);
    byHash.set(outline.hash, pending);
    byNonce.set(outline.nonceName, pending);
    for (const slot of outline.slots) settlementSlots.add(slot);
    for (const name of outline.decreeNames) decreesWaiting.add(name);
    if (outline.decrees.length === 0) {
      otherCount++;
      otherBytes += outline.sizeBytes;
    }
    if (!outline.isGeneral) return;
    generalOfPayer.set(outline.payer, (generalOfPayer.get(outline.payer) ?? 0) + 1);
    generalCount++;
    generalBytes += outline.sizeBytes;
  };

  /** It takes the place of `old`, and of its slots and fee, if it offers a quarter more and is payable by itself. */
  const replace = (outline: Outline, tx: Uint8Array, old: PendingTransaction): CheckTxResponse => {
    // Else a decree would come in without its proof, or keep its place for nothing.
    if (outline.decreeNames.join() !== old.decreeNames.join()) {
      return refused('E_NONCE', 'a transaction with this nonce waits that has not the same decrees');
    }
    const unproven = outline.decrees.length === 0 ? undefined : decreeRefusal(outline.decrees);
    if (unproven !== undefined) return refused(unproven.code, unproven.info);
    // Each leaves another one behind, so without a bound replacing would fill the room of every class.
    const isFull =
      4 * (staleCount + 1) > limits.slots ||
      staleBytes + outline.sizeBytes > Math.min(limits.bytes / 4, GENERAL_BYTES_MAX);
    if (isFull) {
      return refused(
        'E_CLASS',
        'too many transactions were replaced since the last block: wait for the next',
      );
    }
    const admission = openWindow().admit(tx);
    if (!admission.ok) return refused(admission.code, admission.info);
    if (admission.admitted.maxFee * 4n < old.admitted.maxFee * 5n) {
      return refused(
        'E_NONCE',
        `a waiting transaction has this nonce; to replace it offer 5/4 of ${old.admitted.maxFee}`,
      );
    }
    staleCount++;
    staleBytes += outline.sizeBytes;
    replaced.add(old.hash);
    const pending = pendingOf(outline, admission.admitted);
    byHash.delete(old.hash);
    byHash.set(outline.hash, pending);
    byNonce.set(outline.nonceName, pending);
    return accepted(admission.admitted);
  };

  const check = (tx: Uint8Array, kind: 'new' | 'recheck'): CheckTxResponse => {
    const outline = outlineOf(tx);
    if (outline === null) return refused('E_MALFORMED', 'not the canonical encoding of a transaction');
    const waiting = byHash.get(outline.hash);
    if (waiting !== undefined) return accepted(waiting.admitted);
    if (replaced.has(outline.hash)) {
      if (kind === 'recheck') replaced.delete(outline.hash);
      return refused('E_NONCE', 'replaced by a transaction with the same nonce');
    }
    const old = byNonce.get(outline.nonceName);
    if (old !== undefined) return replace(outline, tx, old);
    const limit = overLimit(outline) ?? decreeFault(outline);
    if (limit !== null) return limit;
    window ??= openWindow();
    const admission = window.admit(tx);
    if (!admission.ok) return refused(admission.code, admission.info);
    add(outline, admission.admitted);
    return accepted(admission.admitted);
  };

  const find = (tx: Uint8Array): PendingTransaction | undefined => byHash.get(toHex(sha256(tx)));

  const inspect = (tx: Uint8Array): PendingTransaction | undefined => {
    const waiting = find(tx);
    if (waiting !== undefined) return waiting;
    const outline = outlineOf(tx);
    if (outline === null || replaced.has(outline.hash)) return undefined;
    if (decreeFault(outline) !== null) return undefined;
    const admission = openWindow().admit(tx);
    return admission.ok ? pendingOf(outline, admission.admitted) : undefined;
  };

  return { reset, check, find, inspect };
}

/** What the bytes say of themselves, before anything is verified. */
interface Outline {
  readonly hash: string;
  readonly payer: string;
  readonly nonceName: string;
  readonly isGeneral: boolean;
  readonly sizeBytes: number;
  readonly hasEvidence: boolean;
  /** Settlement slots it takes: per node key one statement with a batch and one without, per claim one proof. And
   * one verifying key per sender: each keeps this thread busy for a while. */
  readonly slots: readonly string[];
  /** Where it has nothing else. */
  readonly decrees: readonly OpOf<'decree'>[];
  /** What was signed names them. */
  readonly decreeNames: readonly string[];
}

function makeOutline({ hash, decoded }: KnownTransaction): Outline | null {
  if ('code' in decoded) return null;
  const { transaction, statements } = decoded;
  const { sender, feePayer, nonce, ops } = transaction.body;
  // Only class S takes settlement slots: its sender must own the node, so nobody can block another's settlement.
  const kind = transactionClass(transaction);
  const isGeneral = kind === 'G';
  const decrees = kind === 'E' ? ops.filter((op) => op.kind === 'decree') : [];
  const senderName = toHex(accountIdOf(sender));
  return {
    hash,
    payer: feePayer === null ? senderName : toHex(accountIdOf(feePayer)),
    nonceName: `${senderName}/${nonce}`,
    isGeneral,
    sizeBytes: transaction.bytes.length,
    hasEvidence: ops.some(isDear),
    slots: [
      ...(isGeneral ? [] : ops.flatMap((op, i) => settlementSlot(op, statements[i]))),
      ...(ops.some((op) => op.kind === 'register-model' && op.zk !== undefined) ? [`${senderName}/key`] : []),
    ],
    decrees,
    decreeNames: decrees.map(({ serial, action }) =>
      toHex(sha256(decreeMessage({ chainId: transaction.body.chainId, serial, action }))),
    ),
  };
}

function pendingOf(
  { hash, hasEvidence, decreeNames }: Outline,
  admitted: AdmittedTransaction,
): PendingTransaction {
  return { hash, admitted, hasEvidence, decreeNames };
}

function isDear(op: Op): boolean {
  if (op.kind === 'open-key') return op.evidence !== null || op.gpuEvidence !== undefined;
  if (op.kind === 'post-collateral') return true;
  return op.kind === 'prove' || (op.kind === 'register-model' && op.zk !== undefined);
}

/** One proof of a claim waits at a time: of two, one could only ever pay for nothing. */
function settlementSlot(op: Op, statement: SignedObject<Statement> | undefined): readonly string[] {
  if (op.kind === 'prove') return [`${toHex(op.claimId)}/prove`];
  if (statement === undefined) return [];
  const { keyId, batch } = statement.value;
  return [`${toHex(keyId)}/${batch === null ? 'redeem' : 'batch'}`];
}

function accepted(admitted: AdmittedTransaction): CheckTxResponse {
  return { code: 0, log: '', codespace: '', gasWanted: BigInt(admitted.gas) };
}

export function refused(code: ErrorCode, info: string): CheckTxResponse {
  return { code: codeNumber(code), log: `${code}: ${info}`, codespace: CODESPACE, gasWanted: 0n };
}
