/**
 * Claims: settled batches of `zk` keys that wait for their proof. A claim leaves OPEN exactly once: verified by its proof, or
 * expired or void at its deadline. What was not verified stays in the key's unpaid ranges, so no charge line ever reaches it.
 */
import {
  type ClaimRecord,
  type NodeKeyRecord,
  OPEN_CLAIMS_MAX,
  type ProtocolParams,
  type QueueTask,
  type ReceiptBatch,
  type RunningTotals,
  type SeqRange,
  TRANSACTION_MAX_BYTES,
  UNPAID_RANGES_MAX,
  type VerifyingKeyRecord,
  zkBatchIndex,
  zkClaimIdOf,
  zkProveBytesLeast,
} from '@haca/protocol';
import { eventOf } from './events.ts';
import { isKindDisabled } from './governance.ts';
import { type DueBlock, freezeKey } from './node-keys.ts';
import type { Step } from './ops/step.ts';
import { schedule, unschedule } from './queue.ts';
import { type Refusal, refuse } from './refusal.ts';
import { totalsSum } from './running-totals.ts';
import { punishExpiry } from './slashing.ts';
import type { State } from './state.ts';
import { claims, models, nodeKeys, verifyingKeys } from './tables.ts';

/** Base fees above this many times that of the opening block count as congestion, which extends a deadline. */
const CONGESTION_FACTOR = 8n;
const EXTENSIONS_MAX = 3;

/** The verifying key behind a zk key, as the chain holds it. */
export function verifyingKeyOf(
  state: State,
  { modelId }: Pick<NodeKeyRecord, 'modelId'>,
): { readonly hash: Uint8Array; readonly record: VerifyingKeyRecord } | undefined {
  const model = modelId === null ? undefined : models.get(state, modelId);
  if (model === undefined) return undefined;
  const hash = model.manifest.weights.digest;
  const record = verifyingKeys.get(state, hash);
  return record === undefined ? undefined : { hash, record };
}

/** s6: room for one more claim, and a batch whose proof the key allows and a transaction can carry. */
export function checkClaim(
  state: State,
  key: NodeKeyRecord,
  count: number,
  params: ProtocolParams,
): Refusal | undefined {
  if (key.openClaims.length >= OPEN_CLAIMS_MAX) {
    return refuse('E_CLAIMS', `fewer than ${OPEN_CLAIMS_MAX} open claims`, key.openClaims.length);
  }
  const verifying = verifyingKeyOf(state, key);
  if (verifying === undefined) return refuse('E_VERIFYING_KEY', 'a verifying key', 'none');
  const { batchMax } = verifying.record;
  if (count > batchMax) return refuse('E_CLAIMS', `at most ${batchMax} receipts`, count);
  return checkProvable(verifying.record, count, params, 'E_CLAIMS');
}

/** A batch whose smallest possible proof fits no transaction, or no bucket, could only ever expire. */
export function checkProvable(
  record: VerifyingKeyRecord,
  count: number,
  { gasTarget }: ProtocolParams,
  code: 'E_CLAIMS' | 'E_VERIFYING_KEY',
): Refusal | undefined {
  const bytes = zkProveBytesLeast(record, count);
  if (bytes > TRANSACTION_MAX_BYTES) {
    return refuse(code, `a proof transaction of at most ${TRANSACTION_MAX_BYTES} bytes`, bytes);
  }
  const gasMax = Math.floor((gasTarget * 4) / 5);
  const gas = bytes + verificationGasOf(record, count);
  return gas > gasMax ? refuse(code, `a proof transaction of at most ${gasMax} gas`, gas) : undefined;
}

function verificationGasOf(record: VerifyingKeyRecord, count: number): number {
  return record.verificationGas[zkBatchIndex(count)] ?? Number.MAX_SAFE_INTEGER;
}

/** After the batch was settled. The nonce is the hash of this very block: nobody knew it when the answers were given. */
export function openClaim(
  step: Step,
  keyId: Uint8Array,
  batch: ReceiptBatch,
  delta: RunningTotals,
): { readonly claimId: Uint8Array; readonly due: number } {
  const { state, block, baseFee } = step;
  const { chainId, params } = step.ctx.config;
  const { firstSeq, count, receiptsRoot } = batch;
  const key = existing(nodeKeys.get(state, keyId));
  const { record } = existing(verifyingKeyOf(state, key));
  const claimId = zkClaimIdOf({ chainId, keyId, firstSeq, count, receiptsRoot });
  const due = block.height + params.proveWindow;
  const claim: ClaimRecord = {
    keyId,
    firstSeq,
    count,
    receiptsRoot,
    delta,
    openedAt: block.height,
    nonce: block.hash,
    due,
    baseFee,
    extensions: 0,
    verificationGas: verificationGasOf(record, count),
  };
  claims.put(state, claim, claimId);
  nodeKeys.put(state, { ...key, openClaims: [...key.openClaims, rangeOf(claim)] }, keyId);
  schedule(state, due, { task: 'expire-claim', subject: claimId, due });
  return { claimId, due };
}

/** The proof holds: what the batch added is verified from now on. */
export function verifyClaim(state: State, claimId: Uint8Array, claim: ClaimRecord): void {
  const key = closeClaim(state, claimId, claim);
  unschedule(state, { task: 'expire-claim', subject: claimId, due: claim.due });
  nodeKeys.put(state, { ...key, verified: totalsSum(key.verified, claim.delta) }, claim.keyId);
}

function closeClaim(state: State, claimId: Uint8Array, claim: ClaimRecord): NodeKeyRecord {
  const key = existing(nodeKeys.get(state, claim.keyId));
  const openClaims = key.openClaims.filter(({ first }) => first !== claim.firstSeq);
  const next = { ...key, openClaims };
  claims.remove(state, claimId);
  nodeKeys.put(state, next, claim.keyId);
  return next;
}

/** A deadline. A claim that was proved meanwhile has no row any more, and nothing is left to do. */
export function expireClaim(state: State, task: QueueTask, block: DueBlock): void {
  const { subject: claimId, due } = task;
  const claim = claims.get(state, claimId);
  if (claim === undefined || claim.due !== due) return;
  const isCongested = block.baseFee > CONGESTION_FACTOR * claim.baseFee;
  if (isCongested && claim.extensions < EXTENSIONS_MAX) extendClaim(state, claimId, claim, block);
  else if (isKindDisabled(state, 'zk')) endUnpaid(state, claimId, claim, 'void', block);
  else endUnpaid(state, claimId, claim, 'expired', block);
}

function extendClaim(state: State, claimId: Uint8Array, claim: ClaimRecord, block: DueBlock): void {
  const due = claim.due + block.params.proveWindow;
  claims.put(state, { ...claim, due, extensions: claim.extensions + 1 }, claimId);
  schedule(state, Math.max(due, block.height + 1), { task: 'expire-claim', subject: claimId, due });
  emit(block, claimId, claim, 'extended', due);
}

function endUnpaid(
  state: State,
  claimId: Uint8Array,
  claim: ClaimRecord,
  ending: 'expired' | 'void',
  block: DueBlock,
): void {
  const { keyId } = claim;
  const key = closeClaim(state, claimId, claim);
  const unpaidRanges = withRange(key.unpaidRanges, rangeOf(claim));
  nodeKeys.put(state, { ...key, unpaidRanges }, keyId);
  emit(block, claimId, claim, ending);
  if (ending === 'expired' && key.stop !== 'frozen') punishExpiry(state, claim, key.nodeId, block);
  if (unpaidRanges.length > UNPAID_RANGES_MAX) freezeKey(state, keyId, block);
}

function emit(
  block: DueBlock,
  claimId: Uint8Array,
  claim: ClaimRecord,
  state: 'expired' | 'void' | 'extended',
  due?: number,
): void {
  const { keyId, firstSeq, count } = claim;
  const lastSeq = firstSeq + count - 1;
  block.events.push(eventOf('claim', { claimId, keyId, state, firstSeq, lastSeq, due }));
}

function rangeOf({ firstSeq, count }: Pick<ClaimRecord, 'firstSeq' | 'count'>): SeqRange {
  return { first: firstSeq, last: firstSeq + count - 1 };
}

/** Ascending, neighbours merged. */
export function withRange(ranges: readonly SeqRange[], added: SeqRange): readonly SeqRange[] {
  const merged: SeqRange[] = [];
  for (const range of [...ranges, added].sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before !== undefined && before.last + 1 === range.first) {
      merged[merged.length - 1] = { first: before.first, last: range.last };
    } else merged.push(range);
  }
  return merged;
}

function existing<T>(record: T | undefined): T {
  if (record === undefined) throw new Error('a claim without its key');
  return record;
}
