/**
 * Settling a batch of receipts and redeeming lanes. One signed statement does both: the batch moves the key forward as a
 * whole or not at all; each charge line stands alone.
 */
import { appendToFrontier, bytesEqual, MalformedError } from '@haca/primitives';
import {
  type ChargeLine,
  type Credit,
  credit,
  KEY_ASSETS_MAX,
  type NodeKeyRecord,
  type ReceiptBatch,
  type RunningTotals,
  type SignedObject,
  STATEMENT,
  type Statement,
  statementLeafHash,
  VOUCHER,
  type Voucher,
} from '@haca/protocol';
import { redeem } from '../credit-ledger.ts';
import { keyClosingAt, keyDrainedAt } from '../node-keys.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { allocations, channels, lanes, nodeKeys, nodes, sessions } from '../tables.ts';
import { assuranceOf, ownKey } from './keys.ts';
import type { Outcome, Step } from './step.ts';

const RUNNING_MAX = 1n << 63n;

export function applySettle(
  step: Step,
  statement: SignedObject<Statement>,
  vouchers: readonly Uint8Array[],
): Outcome {
  const { keyId, batch, charges, chainId } = statement.value;
  const key = ownKey(step, keyId);
  if ('code' in key) return key;
  if (chainId !== step.ctx.config.chainId) return refuse('E_CHAIN', step.ctx.config.chainId, chainId);
  if (key.method === 'zk') return refuse('E_UNSUPPORTED', 'a tee or signed key', 'zk');
  if (vouchers.length !== charges.length)
    return refuse('E_COUNT', `${charges.length} vouchers`, vouchers.length);
  const refusal = batch === null ? checkRedeemOnly(step, key, charges) : checkBatch(step, key, batch);
  if (refusal !== undefined) return refusal;
  if (!STATEMENT.verify(step.ctx.crypto, statement, key.publicKey)) {
    return refuse('E_SIG', 'a statement signed by the key', 'another signature');
  }
  if (batch !== null) settleBatch(step, keyId, key, batch, statement.hash);
  charges.forEach((line, index) => {
    const failed = payLine(step, keyId, line, vouchers[index] as Uint8Array);
    if (failed === undefined) return;
    const { channelId, lane } = line;
    step.emit('line-refused', { keyId, index, channelId, lane, code: failed.code, info: failed.info });
  });
  return undefined;
}

/** s1 for a statement that only redeems. */
function checkRedeemOnly(step: Step, key: NodeKeyRecord, charges: readonly ChargeLine[]): Outcome {
  const drainedAt = keyDrainedAt(key, step.ctx.config.params);
  if (step.block.height >= drainedAt) return refuse('E_KEY_PRUNED', `before ${drainedAt}`, step.block.height);
  return charges.length > 0 ? undefined : refuse('E_COUNT', 'a batch or charge lines', 'neither');
}

function checkBatch(step: Step, key: NodeKeyRecord, batch: ReceiptBatch): Outcome {
  if (batch.count === 0) return refuse('E_SEQ', 'at least one receipt', 0);
  const lastSeq = batch.firstSeq + batch.count - 1;
  const closed = checkOpen(step, key, lastSeq);
  if (closed !== undefined) return closed;
  if (batch.firstSeq !== key.settledSeq + 1) {
    return refuse('E_SEQ', `first seq ${key.settledSeq + 1}`, batch.firstSeq);
  }
  if (!bytesEqual(batch.prevReceiptHash, key.headHash)) {
    return refuse('E_SEQ', 'the hash of the last settled receipt', 'another hash');
  }
  return checkRunning(key.settled, batch.running);
}

/** s1 for a batch: whether the key takes receipts up to `lastSeq` at this height and time. */
function checkOpen({ block, ctx }: Step, key: NodeKeyRecord, lastSeq: number): Outcome {
  const { params } = ctx.config;
  if (key.stop !== undefined) return refuse('E_KEY', 'a key that was not stopped', key.stop);
  if (block.height >= keyDrainedAt(key, params))
    return refuse('E_KEY', 'a key that is not drained', 'drained');
  const inTime = block.height <= keyClosingAt(key) + params.settleWindow;
  const isBacked = key.method !== 'tee' || (key.evidence !== null && block.timeMs < key.evidence.endMs);
  const isForced = key.c1Due >= block.height && key.c1Seq > key.settledSeq && lastSeq <= key.c1Seq;
  if ((inTime && isBacked) || isForced) return undefined;
  return inTime
    ? refuse('E_KEY', `evidence until ${key.evidence?.endMs ?? 0} ms`, block.timeMs)
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
    // Both methods that exist here are verified by the statement itself: settled is verified, in the same block.
    verified: settled,
    logSize: log.size,
    logFrontier: log.roots,
  };
  nodeKeys.put(step.state, next, keyId);
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
    state: 'verified',
  });
}

/** Rules r1 to r7 of one charge line, all checked before any effect. */
function payLine(step: Step, keyId: Uint8Array, line: ChargeLine, voucherBytes: Uint8Array): Outcome {
  const { state } = step;
  const { params } = step.ctx.config;
  const key = nodeKeys.get(state, keyId);
  if (key === undefined || step.block.height >= keyDrainedAt(key, params)) {
    return refuse('E_KEY_PRUNED', 'a key that is not drained', 'another');
  }
  const unverified = checkVerified(key, line);
  if (unverified !== undefined) return unverified;

  const row = lanes.get(state, keyId, line.channelId, line.lane);
  const mark = row?.mark ?? 0n;
  if (line.fromSeq <= (row?.seq ?? 0))
    return refuse('E_ALREADY_PAID', `a seq above ${row?.seq}`, line.fromSeq);
  if (line.to <= line.from) return refuse('E_ALREADY_PAID', `more than ${line.from}`, line.to);
  if (line.from !== mark) return refuse('E_ALREADY_PAID', `from ${mark}`, line.from);

  const voucher = checkVoucher(step, keyId, line, voucherBytes);
  if ('code' in voucher) return voucher;

  const amount = credit(line.to - line.from);
  const allocation = allocations.get(state, line.channelId, key.nodeId);
  const unpaid = allocation === undefined ? 0n : allocation.amount - allocation.paid;
  if (amount > unpaid) return refuse('E_UNDERFUNDED', `at most ${unpaid} ncr`, amount);

  const channel = channels.get(state, line.channelId);
  const node = nodes.get(state, key.nodeId);
  if (channel === undefined || node === undefined) return refuse('E_VOUCHER', 'a channel', 'none');
  const paid = totalOf(key.paid, channel.asset) + amount;
  const verified = totalOf(key.verified, channel.asset);
  if (paid > verified) return refuse('E_SUM', `at most ${verified} paid of asset ${channel.asset}`, paid);
  const rowsMax = (node.bond + node.unbonding) / params.bondPerLaneRow;
  if (row === undefined && BigInt(node.laneRows) >= rowsMax) {
    return refuse('E_LANES', `at most ${rowsMax} lane rows`, node.laneRows + 1);
  }

  if (row === undefined) nodes.put(state, { ...node, laneRows: node.laneRows + 1 }, key.nodeId);
  const previous = row === undefined ? key.lastLane : row.previous;
  lanes.put(state, { mark: line.to, seq: line.atSeq, previous }, keyId, line.channelId, line.lane);
  const lastLane = row === undefined ? { channelId: line.channelId, lane: line.lane } : key.lastLane;
  nodeKeys.put(
    state,
    { ...key, paid: withTotals(key.paid, [[channel.asset, credit(paid)]]), lastLane },
    keyId,
  );
  redeem(state, line.channelId, key.nodeId, node.payout, amount);
  step.emit('pay', {
    channelId: line.channelId,
    lane: line.lane,
    keyId,
    nodeId: key.nodeId,
    asset: channel.asset,
    amount,
    payer: channel.payer,
    payout: node.payout,
    from: line.from,
    to: line.to,
    atSeq: line.atSeq,
  });
  return undefined;
}

/** r2: the receipts of the line are settled, and none lies in an open, expired or void claim. */
function checkVerified(key: NodeKeyRecord, { fromSeq, atSeq }: ChargeLine): Outcome {
  if (fromSeq < 1 || fromSeq > atSeq || atSeq > key.settledSeq) {
    return refuse('E_NOT_VERIFIED', `a range within 1..${key.settledSeq}`, `${fromSeq}..${atSeq}`);
  }
  const isTouched = [...key.openClaims, ...key.unpaidRanges].some(
    ({ first, last }) => fromSeq <= last && first <= atSeq,
  );
  return isTouched ? refuse('E_NOT_VERIFIED', 'verified receipts', 'an open or unpaid claim') : undefined;
}

/** r4: the payer promised at least this much, on exactly this lane, and the promise still stands. */
function checkVoucher(
  step: Step,
  keyId: Uint8Array,
  line: ChargeLine,
  bytes: Uint8Array,
): SignedObject<Voucher> | Refusal {
  const { height } = step.block;
  const { chainId, params } = step.ctx.config;
  let signed: SignedObject<Voucher>;
  try {
    signed = VOUCHER.decode(bytes);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return refuse('E_VOUCHER', 'a voucher', error.message);
  }
  const voucher = signed.value;
  if (voucher.chainId !== chainId) return refuse('E_VOUCHER', chainId, voucher.chainId);
  if (!bytesEqual(voucher.keyId, keyId)) return refuse('E_VOUCHER', 'a voucher for this key', 'for another');
  if (!bytesEqual(voucher.channelId, line.channelId)) {
    return refuse('E_VOUCHER', 'a voucher of this channel', 'of another');
  }
  if (voucher.lane !== line.lane) return refuse('E_VOUCHER', `lane ${line.lane}`, voucher.lane);
  if (voucher.cumulative < line.to) return refuse('E_VOUCHER', `at least ${line.to}`, voucher.cumulative);
  const session = sessions.get(step.state, line.channelId, voucher.session);
  if (session === undefined) return refuse('E_VOUCHER', 'a registered session', `slot ${voucher.session}`);
  if (session.revokedAt !== undefined && height > session.revokedAt + params.withdrawDelay) {
    return refuse('E_VOUCHER', `revoked no earlier than ${height - params.withdrawDelay}`, session.revokedAt);
  }
  if (height > voucher.expiry || voucher.expiry > session.expiryHeight) {
    return refuse('E_VOUCHER', `an expiry of ${height} to ${session.expiryHeight}`, voucher.expiry);
  }
  return VOUCHER.verify(step.ctx.crypto, signed, session.publicKey)
    ? signed
    : refuse('E_VOUCHER', 'a signature by the session key', 'another');
}

function totalOf(totals: RunningTotals, asset: number): bigint {
  return totals.find(([id]) => id === asset)?.[1] ?? 0n;
}

/** `totals` with the entries of `update` in their place, ascending by asset. */
function withTotals(totals: RunningTotals, update: RunningTotals): RunningTotals {
  const kept = totals.filter(([asset]) => update.every(([other]) => other !== asset));
  const merged: (readonly [number, Credit])[] = [...kept, ...update];
  return merged.sort(([a], [b]) => a - b);
}
