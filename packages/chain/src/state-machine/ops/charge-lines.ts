/** Charge lines: each redeems one lane, alone, by rules r1 to r7. */
import { bytesEqual, MalformedError } from '@haca/primitives';
import {
  type BoundReceipt,
  type ChargeLine,
  credit,
  decodeReceiptProof,
  type NodeKeyRecord,
  RECEIPT,
  type Receipt,
  type SignedObject,
  VOUCHER,
  type Voucher,
  verifyReceiptProof,
} from '@haca/protocol';
import { redeem } from '../credit-ledger.ts';
import { keyDrainedAt } from '../node-keys.ts';
import { type Refusal, refuse } from '../refusal.ts';
import { totalOf, withTotals } from '../running-totals.ts';
import { allocations, channels, lanes, nodeKeys, nodes, sessions } from '../tables.ts';
import type { Outcome, Step } from './step.ts';

export interface LinePayments {
  readonly keyId: Uint8Array;
  readonly charges: readonly ChargeLine[];
  /** One per line. */
  readonly vouchers: readonly Uint8Array[];
  /** Of a zk key, per line: receipt proofs of its ends. */
  readonly receipts: readonly (readonly Uint8Array[])[];
  /** Receipts that need no proof: those of the claim that this transaction proved. */
  readonly proved: readonly BoundReceipt[];
}

/** Pays every line that may be paid; the others are reported by an event and change nothing. */
export function payLines(step: Step, payments: LinePayments): void {
  const { keyId } = payments;
  payments.charges.forEach((line, index) => {
    const failed = payLine(step, payments, index);
    if (failed === undefined) return;
    const { channelId, lane } = line;
    step.emit('line-refused', { keyId, index, channelId, lane, code: failed.code, info: failed.info });
  });
}

/** Rules r1 to r7 of one charge line, all checked before any effect. */
function payLine(step: Step, payments: LinePayments, index: number): Outcome {
  const { state } = step;
  const { params } = step.ctx.config;
  const { keyId } = payments;
  const line = payments.charges[index] as ChargeLine;
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
  // On a zk key a later line may skip what belongs to unpaid ranges: that stays with the payer.
  const continues = key.method === 'zk' ? line.from >= mark : line.from === mark;
  if (!continues) return refuse('E_ALREADY_PAID', `from ${mark}`, line.from);

  const ends = key.method === 'zk' ? checkEnds(step, key, payments, index) : null;
  if (ends !== null && 'code' in ends) return ends;
  const voucher = checkVoucher(step, keyId, line, payments.vouchers[index] as Uint8Array);
  if ('code' in voucher) return voucher;
  if (ends !== null && !bytesEqual(ends.last.requestHash, voucher.value.requestHash)) {
    return refuse('E_LEAF', 'the request that the voucher names', 'another at the end of the line');
  }

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

/**
 * r3z: the receipts at both ends are of this lane and say where the amount begins and ends. Without them a node could place
 * vouchers of an expired batch inside a proved one.
 */
function checkEnds(
  step: Step,
  key: NodeKeyRecord,
  payments: LinePayments,
  index: number,
): { readonly last: Receipt } | Refusal {
  const line = payments.charges[index] as ChargeLine;
  const first = receiptAt(step, key, payments, index, line.fromSeq);
  if ('code' in first) return first;
  const last = line.atSeq === line.fromSeq ? first : receiptAt(step, key, payments, index, line.atSeq);
  if ('code' in last) return last;
  for (const { channelId, lane } of [first, last]) {
    if (!bytesEqual(channelId, line.channelId) || lane !== line.lane) {
      return refuse('E_LEAF', 'receipts of the lane at both ends', 'one of another lane');
    }
  }
  if (last.cumulative !== line.to) return refuse('E_LEAF', `${line.to} charged at the end`, last.cumulative);
  const begins = first.cumulative - first.amount;
  return begins === line.from ? { last } : refuse('E_LEAF', `${line.from} charged before the line`, begins);
}

function receiptAt(
  step: Step,
  key: NodeKeyRecord,
  { receipts, proved }: LinePayments,
  index: number,
  seq: number,
): Receipt | Refusal {
  const inClaim = proved.find(({ value }) => value.seq === seq);
  if (inClaim !== undefined) return inClaim.value;
  for (const bytes of receipts[index] ?? []) {
    try {
      const proof = decodeReceiptProof(bytes);
      const receipt = RECEIPT.decode(proof.receipt);
      if (receipt.value.seq !== seq) continue;
      const verdict = verifyReceiptProof(step.ctx.crypto, proof, key, receipt.hash);
      if (verdict.ok) return receipt.value;
      const failed = verdict.checks.find(({ status }) => status === 'failed');
      return refuse(
        'E_LEAF',
        `${failed?.id ?? 'a receipt proof'}: ${failed?.expected ?? ''}`,
        failed?.got ?? '',
      );
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return refuse('E_LEAF', 'a receipt proof', error.message);
    }
  }
  return refuse('E_LEAF', `a receipt proof of seq ${seq}`, 'none');
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
