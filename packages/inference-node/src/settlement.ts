/**
 * Brings the receipts of one key on chain: batches by count and by age, one settlement in flight, lanes redeemed as soon as
 * it is worth a line. Whatever happens in between, the log says what was promised and the chain says what was settled.
 */
import { toHex } from '@haca/primitives';
import {
  type ChargeLine,
  credit,
  type NodeKeyRecord,
  type SignedObject,
  type Statement,
  transactionHash,
} from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';
import type { IssuedReceipt, KeyStream } from './key-stream.ts';
import { type Operator, TransactionRefusedError } from './operator.ts';
import type { Lane, PaymentBook } from './payment-book.ts';

export interface SettlementOptions {
  readonly batchMaxCount: number;
  readonly batchMaxAgeMs: number;
  /** A lane is redeemed when this much is unpaid on it, or after `redeemMaxAgeMs`. */
  readonly redeemMinNcr: bigint;
  readonly redeemMaxAgeMs: number;
  readonly linesMax: number;
}

export interface Settler {
  /** Looks whether there is something to do; called on each block, each receipt and by a timer. */
  readonly poke: () => void;
  /** Everything unsettled goes out now; resolves when a block has all of it, or rejects when that can't be. */
  readonly flush: () => Promise<void>;
  /** Nothing unsettled and nothing unpaid. */
  readonly isDone: () => boolean;
  readonly stop: () => Promise<void>;
}

interface OpenLane {
  readonly channelId: Uint8Array;
  readonly lane: Lane;
  /** The newest receipt of the lane. */
  newest: IssuedReceipt;
  unpaidSinceMs: number;
}

const RETRY_MS = 500;
const TICK_MS = 100;

export function startSettler(
  stream: KeyStream,
  chain: NodeChainView,
  operator: Operator,
  book: PaymentBook,
  options: SettlementOptions,
  nowMs: () => number,
  log: (line: string) => void,
): Settler {
  const name = `key ${toHex(stream.identity.keyId).slice(0, 12)}`;
  const lanes = new Map<string, OpenLane>();
  let seen = 0;
  let running: Promise<void> | undefined;
  let stopped = false;
  let flushing = false;
  let retryAtMs = 0;
  let resolved = stream.unresolved().length === 0;

  /** New receipts, by lane. */
  const collect = (): void => {
    for (; seen < stream.lastSeq(); seen++) {
      const issued = stream.receiptAt(seen + 1) as IssuedReceipt;
      const { channelId, lane, amount } = issued.receipt.value;
      if (amount === 0n) continue;
      const key = `${toHex(channelId)}/${lane}`;
      const known = lanes.get(key);
      const entry = book.lane(channelId, stream.identity.keyId, lane);
      if (known !== undefined) known.newest = issued;
      else if (entry !== undefined)
        lanes.set(key, { channelId, lane: entry, newest: issued, unpaidSinceMs: issued.issuedAtMs });
    }
  };

  const dueLines = (lastSeq: number): ChargeLine[] => {
    const now = nowMs();
    const lines: ChargeLine[] = [];
    for (const [key, open] of lanes) {
      const { lane, channelId, newest } = open;
      const { seq, cumulative } = newest.receipt.value;
      if (lane.mark >= cumulative) {
        lanes.delete(key);
        continue;
      }
      const unpaid = cumulative - lane.mark;
      const isWorthIt = unpaid >= options.redeemMinNcr || now - open.unpaidSinceMs >= options.redeemMaxAgeMs;
      if (seq > lastSeq || !(isWorthIt || flushing) || lines.length >= options.linesMax) continue;
      lines.push({
        channelId,
        lane: lane.index,
        fromSeq: lane.markSeq + 1,
        atSeq: seq,
        from: credit(lane.mark),
        to: cumulative,
      });
    }
    return lines;
  };

  const isDue = (): boolean => {
    const waiting = stream.lastSeq() - stream.settledSeq();
    if (waiting >= options.batchMaxCount || (waiting > 0 && flushing)) return true;
    const oldest = stream.oldestUnsettledMs();
    return oldest !== undefined && nowMs() - oldest >= options.batchMaxAgeMs;
  };

  const settleOnce = async (): Promise<void> => {
    if (!resolved) {
      await resolveAfterCrash(stream, chain, log, name);
      resolved = true;
    }
    collect();
    const withBatch = isDue();
    const count = withBatch ? Math.min(stream.lastSeq() - stream.settledSeq(), options.batchMaxCount) : 0;
    const charges = dueLines(stream.settledSeq() + count);
    if (count === 0 && charges.length === 0) return;
    const statement = stream.signStatement(count, charges);
    await send(statement, charges);
  };

  const send = async (statement: SignedObject<Statement>, charges: readonly ChargeLine[]): Promise<void> => {
    const vouchers = charges.map(({ atSeq }) => (stream.receiptAt(atSeq) as IssuedReceipt).voucher.bytes);
    const op = { kind: 'settle', statement: statement.bytes, vouchers } as const;
    const transaction = operator.sign([op], await operator.takeNonce());
    const txHash = transactionHash(transaction.bytes);
    await stream.recordSent(statement, txHash);
    const result = await operator.deliver(transaction);
    if (result.code !== 0) {
      stream.forgetUnresolved(txHash);
      throw new TransactionRefusedError(
        `${result.code}`,
        `settlement refused with code ${result.code}: ${result.log}`,
      );
    }
    await stream.recordSettled(statement, txHash, result.height);
    const { batch } = statement.value;
    log(
      `${name}: ${batch === null ? 'redeemed' : `settled ${batch.firstSeq}..${batch.firstSeq + batch.count - 1}`}, ${charges.length} lanes, block ${result.height}`,
    );
    // Marks are read from final state only, so one lane never has two lines under way.
    while (chain.finalHeight() < result.height && !stopped) await pause(10);
    const touched = new Map(charges.map(({ channelId }) => [toHex(channelId), channelId]));
    await Promise.all([...touched.values()].map((channelId) => book.refresh(channelId)));
  };

  const run = async (): Promise<void> => {
    try {
      await settleOnce();
    } catch (error) {
      if (stopped) return;
      log(`${name}: ${error instanceof Error ? error.message : String(error)}; trying again`);
      retryAtMs = nowMs() + RETRY_MS;
      resolved = false;
    }
  };

  const poke = (): void => {
    if (stopped || running !== undefined || nowMs() < retryAtMs) return;
    collect();
    if (resolved && !isDue() && lanes.size === 0) return;
    running = run().finally(() => {
      running = undefined;
    });
  };
  const timer = setInterval(poke, TICK_MS);

  const isDone = (): boolean => {
    collect();
    return (
      resolved &&
      stream.settledSeq() === stream.lastSeq() &&
      [...lanes.values()].every(({ lane, newest }) => lane.mark >= newest.receipt.value.cumulative)
    );
  };
  return {
    poke,
    isDone,
    flush: async () => {
      flushing = true;
      while (!stopped && !isDone()) {
        poke();
        await pause(20);
      }
    },
    stop: async () => {
      stopped = true;
      clearInterval(timer);
      await running;
    },
  };
}

/**
 * After a crash or a lost answer: which of the statements that were sent did a block take? The key record says up to which
 * receipt the chain has settled; the transactions say by which statement.
 */
async function resolveAfterCrash(
  stream: KeyStream,
  chain: NodeChainView,
  log: (line: string) => void,
  name: string,
): Promise<void> {
  for (const { statement, txHash } of stream.unresolved()) {
    const result = await chain.rpc.tx(txHash);
    if (result?.code === 0) {
      while (chain.finalHeight() < result.height) await pause(10);
      await stream.recordSettled(statement, txHash, result.height);
      log(`${name}: an earlier settlement is in block ${result.height}`);
    } else if (result !== null) {
      stream.forgetUnresolved(txHash);
    }
  }
  const record = await chain.nodeKey(stream.identity.keyId);
  checkAgainstChain(stream, record);
}

/** The log and the chain must tell one story; where they do not, nothing more is signed under this key. */
function checkAgainstChain(stream: KeyStream, record: NodeKeyRecord | undefined): void {
  if (record === undefined) return;
  if (record.settledSeq > stream.lastSeq()) {
    throw new Error(
      `the chain settled receipt ${record.settledSeq}, the log ends at ${stream.lastSeq()}: is it an old copy?`,
    );
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((settle) => setTimeout(settle, ms));
}
