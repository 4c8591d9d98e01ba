/**
 * Brings the receipts of one key on chain: batches by count and by age, one settlement in flight, lanes redeemed as soon as
 * it is worth a line. Whatever happens in between, the log says what was promised and the chain says what was settled.
 */
import type { RpcTxResult } from '@haca/platform';
import { bytesEqual, fromHex, toHex } from '@haca/primitives';
import { type ChargeLine, type NodeKeyRecord, ZERO_DIGEST } from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';
import type { SentSettlement } from './journal.ts';
import type { IssuedReceipt, KeyStream } from './key-stream.ts';
import {
  codeNameOf,
  type Operator,
  pause,
  TransactionExpiredError,
  TransactionRefusedError,
} from './operator.ts';
import type { PaymentBook } from './payment-book.ts';
import {
  closingAt,
  drainedAt,
  openRedemption,
  type Redemption,
  type RedemptionOptions,
} from './redemption.ts';
import { openRetryLoop } from './retry-loop.ts';

export interface SettlementOptions extends RedemptionOptions {
  readonly batchMaxCount: number;
  readonly batchMaxAgeMs: number;
}

/** What is different where receipts are proved: claims of a size that can be, and lines that show what they redeem. */
export interface ZkSettling {
  /** How many of these receipts the next claim may have; 0 while none may be opened. */
  readonly batchCount: (unsettled: readonly IssuedReceipt[]) => number;
  /** Verified receipts whose lanes were not paid with their proof. */
  readonly dueLines: (record: NodeKeyRecord) => Promise<readonly ZkLine[]>;
  readonly hasUnpaid: () => boolean;
  readonly hold: (line: ChargeLine, height: number) => void;
}

export interface ZkLine {
  readonly line: ChargeLine;
  readonly voucher: Uint8Array;
  /** Receipt proofs of its ends. */
  readonly receipts: readonly Uint8Array[];
}

export interface SettlerContext {
  readonly stream: KeyStream;
  readonly chain: NodeChainView;
  readonly operator: Pick<Operator, 'sign' | 'takeNonce' | 'deliver'>;
  readonly book: Pick<PaymentBook, 'chargedLane' | 'isUrgent'>;
  readonly options: SettlementOptions;
  /** Null for a key of any method but `zk`. */
  readonly zk: ZkSettling | null;
  readonly nowMs: () => number;
  readonly log: (line: string) => void;
}

export interface Settler {
  /** Looks whether there is something to do; called on each block, each receipt and by a timer. */
  readonly poke: () => void;
  /** Sends everything that can go out now, whatever its age or amount; resolves when nothing is left that could. */
  readonly flush: () => Promise<void>;
  /** Every receipt is in a block. */
  readonly isSettled: () => boolean;
  /** Nothing is unsettled or unpaid, or nothing of it can be had any more. */
  readonly isDone: () => boolean;
  readonly stop: () => Promise<void>;
}

const RETRY_MAX_MS = 60_000;
const TICK_MS = 100;
/** How often lanes are looked through for what is worth redeeming, where no batch is due. */
const SCAN_MS = 1_000;
/** How long a key that takes no batch is left alone. */
const BLOCKED_MS = 5_000;
/** How long a `zk` key waits that has enough open claims: they end with a block. */
const CLAIMS_BLOCKED_MS = 200;

export function startSettler(context: SettlerContext): Settler {
  const { stream, nowMs } = context;
  const stopping = new AbortController();
  const round = openRound(context, stopping.signal);
  const loop = openRetryLoop({
    turn: round.settleOnce,
    retryMaxMs: RETRY_MAX_MS,
    signal: stopping.signal,
    nowMs,
    log: (failure) => context.log(`${nameOf(stream)}: ${failure}`),
  });
  const poke = (): void => {
    if (stopping.signal.aborted || loop.isRunning() || !loop.isDue()) return;
    if (round.hasWork()) void loop.start();
  };
  const timer = setInterval(poke, TICK_MS);
  const isSettled = (): boolean =>
    stream.settledSeq() === stream.lastSeq() && stream.inFlight() === undefined;

  return {
    poke,
    isSettled,
    isDone: () => round.isDrained() || (isSettled() && !hasUnpaid(stream)),
    flush: async () => {
      round.hurry();
      await loop.idle();
      while (!stopping.signal.aborted) {
        if (loop.isDue() && !(await loop.start())) return;
        await pause(20);
      }
    },
    stop: async () => {
      stopping.abort();
      clearInterval(timer);
      await loop.idle();
    },
  };
}

interface Round {
  readonly hasWork: () => boolean;
  /** One settlement from signing to its final block, or the rest of one that was begun. False where nothing was due. */
  readonly settleOnce: () => Promise<boolean>;
  /** From now on everything is due. */
  readonly hurry: () => void;
  readonly isDrained: () => boolean;
}

function openRound(context: SettlerContext, signal: AbortSignal): Round {
  const { stream, chain, options, nowMs } = context;
  const redemption = openRedemption(stream, chain, context.book, options, nowMs);
  let isHurried = false;
  let isDrained = false;
  let scanAtMs = 0;
  let blockedUntilMs = 0;

  const isBatchDue = (): boolean => {
    const oldest = stream.oldestUnsettled()?.receipt.value;
    if (oldest === undefined) return false;
    return (
      isHurried ||
      stream.lastSeq() - stream.settledSeq() >= options.batchMaxCount ||
      redemption.urgentSeq() > stream.settledSeq() ||
      nowMs() - oldest.completedAtMs >= options.batchMaxAgeMs ||
      chain.head().height - oldest.refHeight >= chain.config.params.settleWindow / 2
    );
  };
  const settleOnce = async (): Promise<boolean> => {
    const before = stream.inFlight();
    if (before !== undefined) {
      await deliver(context, redemption, before, signal);
      return true;
    }
    const record = await chain.nodeKey(stream.identity.keyId, chain.finalHeight());
    if (record === undefined) throw new Error('the newest final state has no such key');
    isDrained = chain.finalHeight() + 1 >= drainedAt(record, chain);
    if (isDrained) return false;
    checkAgainstChain(stream, record);
    const unsettled = stream.lastSeq() - stream.settledSeq();
    const isDue = isBatchDue();
    const isTaken = isDue && (await takesBatches(stream.identity.keyId, record, chain));
    if (isDue && !isTaken) blockedUntilMs = nowMs() + BLOCKED_MS;
    const count = isTaken ? Math.min(unsettled, options.batchMaxCount) : 0;
    scanAtMs = nowMs() + SCAN_MS;
    if (context.zk !== null) {
      const claimCount = count === 0 ? 0 : context.zk.batchCount(stream.unsettled().slice(0, count));
      if (count > 0 && claimCount === 0) blockedUntilMs = nowMs() + CLAIMS_BLOCKED_MS;
      const sent = await sendZk(context, context.zk, claimCount, record);
      if (sent !== undefined) await deliver(context, redemption, sent, signal);
      return sent !== undefined;
    }
    const charges = await redemption.dueLines(stream.settledSeq() + count, record, isHurried);
    const sent = await send(context, count, charges);
    if (sent === undefined) return false;
    await deliver(context, redemption, sent, signal);
    // What was paid is forgotten at the next look.
    scanAtMs = 0;
    return true;
  };
  return {
    hasWork: () =>
      !isDrained &&
      (stream.inFlight() !== undefined ||
        (isBatchDue() && nowMs() >= blockedUntilMs) ||
        (nowMs() >= scanAtMs && (context.zk?.hasUnpaid() ?? hasUnpaid(stream)))),
    settleOnce,
    hurry: () => {
      isHurried = true;
    },
    isDrained: () => isDrained,
  };
}

/** A claim, or lines alone: their receipt proofs are for the log as it stands, which a batch would move on. */
async function sendZk(
  { stream, operator }: SettlerContext,
  zk: ZkSettling,
  count: number,
  record: NodeKeyRecord,
): Promise<SentSettlement | undefined> {
  const lines = count > 0 ? [] : await zk.dueLines(record);
  if (count === 0 && lines.length === 0) return undefined;
  const nonce = await operator.takeNonce();
  const charges = lines.map(({ line }) => line);
  const statement = stream.signStatement(count, charges).bytes;
  const vouchers = lines.map(({ voucher }) => voucher);
  const receipts = lines.map((each) => each.receipts);
  await stream.recordSent(operator.sign([{ kind: 'settle', statement, vouchers, receipts }], nonce));
  return stream.inFlight();
}

/** Signs, and has it on disk before anybody sees it; undefined where there is nothing to say. */
async function send(
  { stream, operator }: SettlerContext,
  count: number,
  charges: readonly ChargeLine[],
): Promise<SentSettlement | undefined> {
  const nonce = count > 0 || charges.length > 0 ? await operator.takeNonce() : 0;
  const heads = new Map<number, IssuedReceipt>();
  for (const head of stream.unpaidHeads()) heads.set(head.receipt.value.seq, head);
  // A lane that was charged again while the lines were read has a newer head: it waits for the next settlement.
  const lines = charges.filter(({ atSeq }) => heads.has(atSeq));
  if (count === 0 && lines.length === 0) return undefined;
  const statement = stream.signStatement(count, lines).bytes;
  const vouchers = lines.map(({ atSeq }) => (heads.get(atSeq) as IssuedReceipt).voucher.bytes);
  await stream.recordSent(operator.sign([{ kind: 'settle', statement, vouchers }], nonce));
  return stream.inFlight();
}

async function deliver(
  context: SettlerContext,
  redemption: Redemption,
  sent: SentSettlement,
  signal: AbortSignal,
): Promise<void> {
  const { stream } = context;
  let result: RpcTxResult;
  try {
    result = await context.operator.deliver(sent.transaction, signal);
  } catch (error) {
    if (error instanceof TransactionExpiredError) await stream.recordDropped(sent.txHash);
    throw error;
  }
  if (result.code !== 0) {
    await stream.recordDropped(sent.txHash);
    throw new TransactionRefusedError(codeNameOf(result), result.log);
  }
  await stream.recordSettled(sent.txHash, result.height);
  report(context, redemption, sent, result);
  // Marks are read from final state only, so a lane never has two lines under way.
  while (context.chain.finalHeight() < result.height) {
    signal.throwIfAborted();
    await pause(10);
  }
}

function report(
  { stream, log, zk }: SettlerContext,
  redemption: Redemption,
  sent: SentSettlement,
  { events, height }: RpcTxResult,
): void {
  const { batch, charges } = sent.statement.value;
  for (const { type, attributes } of events) {
    if (type !== 'line-refused') continue;
    const line = charges[Number(attributes['index'])];
    if (line === undefined || !bytesEqual(fromHex(attributes['keyId'] ?? ''), stream.identity.keyId))
      continue;
    if (zk === null) redemption.hold(line, height);
    else zk.hold(line, height);
    const lane = `${toHex(line.channelId).slice(0, 12)}/${line.lane}`;
    log(`${nameOf(stream)}: lane ${lane} was not paid: ${attributes['code']} ${attributes['info'] ?? ''}`);
  }
  const what = batch === null ? 'redeemed' : `settled ${batch.firstSeq}..${batch.firstSeq + batch.count - 1}`;
  log(`${nameOf(stream)}: ${what}, ${charges.length} lanes, block ${height}`);
}

/** Whether the next block would take a batch of this key: else sending one only costs gas. */
async function takesBatches(
  keyId: Uint8Array,
  record: NodeKeyRecord,
  chain: NodeChainView,
): Promise<boolean> {
  const { height, blockTimeMs } = chain.head();
  const isInTime = height < closingAt(record) + chain.config.params.settleWindow;
  const isForced = record.c1Due > height && record.c1Seq > record.settledSeq;
  if (record.stop !== undefined || !(isInTime || isForced)) return false;
  if (isForced || record.evidence === null) return true;
  const isBacked = blockTimeMs < record.evidence.endMs;
  return isBacked && (await chain.keyStanding(keyId))?.isBacking !== false;
}

/** The log and the chain must tell one story; where they do not, nothing more is signed under this key. */
function checkAgainstChain(stream: KeyStream, { settledSeq, headHash }: NodeKeyRecord): void {
  const ours = stream.settledSeq();
  if (settledSeq !== ours) {
    throw new Error(
      `the chain settled up to receipt ${settledSeq}, the log says ${ours}: is it an old copy?`,
    );
  }
  if (!bytesEqual(headHash, stream.settledHead() ?? ZERO_DIGEST)) {
    throw new Error(`the chain settled another receipt ${settledSeq} than the one in the log`);
  }
}

function hasUnpaid(stream: KeyStream): boolean {
  for (const _ of stream.unpaidHeads()) return true;
  return false;
}

function nameOf({ identity }: KeyStream): string {
  return `key ${toHex(identity.keyId).slice(0, 12)}`;
}
