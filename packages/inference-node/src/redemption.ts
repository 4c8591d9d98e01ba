/** Which lanes of a key are worth a charge line now: lazily by amount and age, at once where the promise is about to end. */
import { toHex } from '@haca/primitives';
import { type ChargeLine, type Credit, credit, type NodeKeyRecord } from '@haca/protocol';
import type { NodeChainView } from './chain-view.ts';
import type { KeyStream } from './key-stream.ts';
import type { Lane, PaymentBook } from './payment-book.ts';

export interface RedemptionOptions {
  /** A lane is redeemed when this much is unpaid on it, or after `redeemMaxAgeMs`. */
  readonly redeemMinNcr: bigint;
  readonly redeemMaxAgeMs: number;
  readonly linesMax: number;
}

export interface Redemption {
  /**
   * Lines from the rows of the newest final state, for lanes whose newest charged receipt is at most `lastSeq`; `all` asks for
   * every lane, whatever the amount. Lanes that were paid in full are forgotten.
   */
  readonly dueLines: (lastSeq: number, record: NodeKeyRecord, all: boolean) => Promise<ChargeLine[]>;
  /** A block refused the line: the lane is tried again later, or at once with a newer voucher. */
  readonly hold: (line: ChargeLine, height: number) => void;
  /** Newest receipt of a lane that has to be redeemed now: its batch can't wait. */
  readonly urgentSeq: () => number;
}

interface LaneWatch {
  /** Paid amount when its present unpaid rest was first seen. */
  mark: bigint;
  sinceMs: number;
  heldSeq: number;
  heldUntil: number;
  refusals: number;
}

const HOLD_MIN_BLOCKS = 60;
const HOLD_MAX_BLOCKS = 7_200;

export function openRedemption(
  stream: KeyStream,
  chain: NodeChainView,
  book: Pick<PaymentBook, 'chargedLane' | 'isUrgent'>,
  options: RedemptionOptions,
  nowMs: () => number,
): Redemption {
  const watches = new Map<string, LaneWatch>();
  let urgentSeq = 0;

  const watchOf = ({ channelId, index, mark }: Lane): LaneWatch => {
    const name = `${toHex(channelId)}/${index}`;
    const known = watches.get(name);
    const watch = known ?? { mark, sinceMs: nowMs(), heldSeq: 0, heldUntil: 0, refusals: 0 };
    if (known === undefined) watches.set(name, watch);
    if (watch.mark !== mark) Object.assign(watch, { mark, sinceMs: nowMs(), refusals: 0 });
    return watch;
  };
  const isWorthALine = (lane: Lane, to: bigint, watch: LaneWatch, record: NodeKeyRecord): boolean =>
    to - lane.mark >= options.redeemMinNcr ||
    nowMs() - watch.sinceMs >= options.redeemMaxAgeMs ||
    drainedAt(record, chain) - chain.finalHeight() <= chain.config.params.withdrawDelay;

  return {
    dueLines: async (lastSeq, record, all) => {
      const lines: ChargeLine[] = [];
      for (const { receipt } of [...stream.unpaidHeads()]) {
        const { channelId, lane: index, seq, cumulative } = receipt.value;
        const lane = await book.chargedLane(channelId, stream.identity.keyId, index);
        if (lane === undefined) continue;
        if (lane.mark >= cumulative) {
          stream.forgetPaid(channelId, index, seq);
          watches.delete(`${toHex(channelId)}/${index}`);
          continue;
        }
        const isUrgent = book.isUrgent(lane);
        if (isUrgent) urgentSeq = Math.max(urgentSeq, seq);
        const watch = watchOf(lane);
        const isHeld = watch.heldSeq >= seq && watch.heldUntil > chain.finalHeight();
        if (isHeld || seq > lastSeq || lines.length >= options.linesMax) continue;
        if (all || isUrgent || isWorthALine(lane, cumulative, watch, record)) {
          lines.push(lineOf(lane, seq, cumulative));
        }
      }
      return lines;
    },
    hold: ({ channelId, lane, atSeq }, height) => {
      const watch = watches.get(`${toHex(channelId)}/${lane}`);
      if (watch === undefined) return;
      watch.heldSeq = atSeq;
      watch.heldUntil = height + Math.min(HOLD_MIN_BLOCKS * 2 ** watch.refusals, HOLD_MAX_BLOCKS);
      watch.refusals++;
    },
    urgentSeq: () => urgentSeq,
  };
}

function lineOf(lane: Lane, atSeq: number, to: Credit): ChargeLine {
  const { channelId, index, mark, markSeq } = lane;
  return { channelId, lane: index, fromSeq: markSeq + 1, atSeq, from: credit(mark), to };
}

/** First height at which nothing can be redeemed on the key any more. */
export function drainedAt(record: NodeKeyRecord, chain: Pick<NodeChainView, 'config'>): number {
  return closingAt(record) + chain.config.params.keyDrain;
}

/** First height at which the key takes no new work. */
export function closingAt({ notAfter, closingAt: closing }: NodeKeyRecord): number {
  return Math.min(notAfter, closing ?? notAfter);
}
