/**
 * Settling a batch of receipts and redeeming lanes. One signed statement does both: the batch moves the key forward as a
 * whole or not at all; each charge line stands alone.
 */
import { appendToFrontier, bytesEqual } from '@haca/primitives';
import {
  type ChargeLine,
  KEY_ASSETS_MAX,
  type NodeKeyRecord,
  type OpOf,
  type ReceiptBatch,
  type RunningTotals,
  type SignedObject,
  STATEMENT,
  type Statement,
  statementLeafHash,
} from '@haca/protocol';
import { checkClaim, openClaim } from '../claims.ts';
import { isKindDisabled } from '../governance.ts';
import { keyClosingAt, keyDrainedAt } from '../node-keys.ts';
import { refuse } from '../refusal.ts';
import { totalOf, totalsBetween, withTotals } from '../running-totals.ts';
import { keyStanding } from '../standing.ts';
import { nodeKeys } from '../tables.ts';
import { payLines } from './charge-lines.ts';
import { assuranceOf, ownKey } from './keys.ts';
import type { Outcome, Step } from './step.ts';

const RUNNING_MAX = 1n << 63n;

export function applySettle(
  step: Step,
  statement: SignedObject<Statement>,
  { vouchers, receipts }: OpOf<'settle'>,
): Outcome {
  const { keyId, batch, charges, chainId } = statement.value;
  const key = ownKey(step, keyId);
  if ('code' in key) return key;
  if (chainId !== step.ctx.config.chainId) return refuse('E_CHAIN', step.ctx.config.chainId, chainId);
  if (vouchers.length !== charges.length)
    return refuse('E_COUNT', `${charges.length} vouchers`, vouchers.length);
  const ends = key.method === 'zk' ? charges.length : undefined;
  if (receipts?.length !== ends) {
    return refuse('E_COUNT', `receipts of ${ends ?? 'no'} lines`, receipts?.length ?? 'none');
  }
  const refusal = batch === null ? checkRedeemOnly(step, key, charges) : checkBatch(step, keyId, key, batch);
  if (refusal !== undefined) return refusal;
  if (!STATEMENT.verify(step.ctx.crypto, statement, key.publicKey)) {
    return refuse('E_SIG', 'a statement signed by the key', 'another signature');
  }
  if (batch !== null) settleBatch(step, keyId, key, batch, statement.hash);
  payLines(step, { keyId, charges, vouchers, receipts: receipts ?? [], proved: [] });
  return undefined;
}

/** s1 for a statement that only redeems. */
function checkRedeemOnly(step: Step, key: NodeKeyRecord, charges: readonly ChargeLine[]): Outcome {
  const drainedAt = keyDrainedAt(key, step.ctx.config.params);
  if (step.block.height >= drainedAt) return refuse('E_KEY_PRUNED', `before ${drainedAt}`, step.block.height);
  return charges.length > 0 ? undefined : refuse('E_COUNT', 'a batch or charge lines', 'neither');
}

function checkBatch(step: Step, keyId: Uint8Array, key: NodeKeyRecord, batch: ReceiptBatch): Outcome {
  if (batch.count === 0) return refuse('E_SEQ', 'at least one receipt', 0);
  const lastSeq = batch.firstSeq + batch.count - 1;
  const closed = checkOpen(step, keyId, key, lastSeq);
  if (closed !== undefined) return closed;
  if (batch.firstSeq !== key.settledSeq + 1) {
    return refuse('E_SEQ', `first seq ${key.settledSeq + 1}`, batch.firstSeq);
  }
  if (!bytesEqual(batch.prevReceiptHash, key.headHash)) {
    return refuse('E_SEQ', 'the hash of the last settled receipt', 'another hash');
  }
  return (
    checkRunning(key.settled, batch.running) ??
    (key.method === 'zk' ? checkZkBatch(step, key, batch) : undefined)
  );
}

/** s1 and s6 of a batch that has to be proved. */
function checkZkBatch(step: Step, key: NodeKeyRecord, batch: ReceiptBatch): Outcome {
  if (isKindDisabled(step.state, 'zk')) return refuse('E_DISABLED', 'an enabled kind of proof', 'zk');
  return checkClaim(step.state, key, batch.count, step.ctx.config.params);
}

/** s1 for a batch: whether the key takes receipts up to `lastSeq` at this height and time. */
function checkOpen(
  { state, block, ctx }: Step,
  keyId: Uint8Array,
  key: NodeKeyRecord,
  lastSeq: number,
): Outcome {
  const { params } = ctx.config;
  if (key.stop !== undefined) return refuse('E_KEY', 'a key that was not stopped', key.stop);
  if (block.height >= keyDrainedAt(key, params))
    return refuse('E_KEY', 'a key that is not drained', 'drained');
  const inTime = block.height <= keyClosingAt(key) + params.settleWindow;
  const { standing, isBacking, effectiveEndMs } = keyStanding(state, ctx, keyId, key, block);
  const isForced = key.c1Due >= block.height && key.c1Seq > key.settledSeq && lastSeq <= key.c1Seq;
  if ((inTime && isBacking) || isForced) return undefined;
  return inTime
    ? refuse(
        'E_KEY',
        'evidence in good standing',
        `${standing} at ${block.timeMs}, until ${effectiveEndMs ?? 0} ms`,
      )
    : refuse('E_KEY', `until height ${keyClosingAt(key) + params.settleWindow}`, block.height);
}

/** s4: totals never fall, stay in range, and a key knows few assets. An asset that is left out is unchanged. */
function checkRunning(settled: RunningTotals, running: RunningTotals): Outcome {
  for (const [asset, total] of running) {
    const before = totalOf(settled, asset);
    if (total < before) return refuse('E_SUM', `at least ${before} of asset ${asset}`, total);
    if (total >= RUNNING_MAX) return refuse('E_SUM', `less than ${RUNNING_MAX} of asset ${asset}`, total);
  }
  const assetCount = withTotals(settled, running).length;
  return assetCount <= KEY_ASSETS_MAX
    ? undefined
    : refuse('E_SUM', `at most ${KEY_ASSETS_MAX} assets`, assetCount);
}

function settleBatch(
  step: Step,
  keyId: Uint8Array,
  key: NodeKeyRecord,
  batch: ReceiptBatch,
  statementHash: Uint8Array,
): void {
  const settled = withTotals(key.settled, batch.running);
  const log = appendToFrontier(
    { size: key.logSize, roots: key.logFrontier },
    statementLeafHash(statementHash),
  );
  const lastSeq = batch.firstSeq + batch.count - 1;
  const next: NodeKeyRecord = {
    ...key,
    settledSeq: lastSeq,
    headHash: batch.lastReceiptHash,
    settled,
    // Where the statement is all there is to verify, settled is verified in the same block.
    verified: key.method === 'zk' ? key.verified : settled,
    logSize: log.size,
    logFrontier: log.roots,
  };
  nodeKeys.put(step.state, next, keyId);
  const claim =
    key.method === 'zk' ? openClaim(step, keyId, batch, totalsBetween(key.settled, settled)) : null;
  step.emit('settle', {
    keyId,
    nodeId: key.nodeId,
    firstSeq: batch.firstSeq,
    lastSeq,
    count: batch.count,
    logIndex: key.logSize,
    statementHash,
    receiptsRoot: batch.receiptsRoot,
    method: key.method,
    assurance: assuranceOf(key),
    state: claim === null ? 'verified' : 'settled',
    claimId: claim?.claimId,
    due: claim?.due,
  });
}
